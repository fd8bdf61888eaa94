//! Any bytes where the record has rows, recordings and artifacts: each is read, or left out, and what is read can be shown everywhere.
#![no_main]

use turncoat_event::{Event, Kind, Origin, SCHEMA_VERSION, SessionId, Time};
use turncoat_store::recording::{Frames, MAGIC, asciicast};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let session = SessionId([7; 16]);
    let text = String::from_utf8_lossy(data);
    if let Some((kind, fields)) = text.split_once('\n')
        && let Some(Ok(kind)) = Kind::from_parts(kind, fields)
    {
        let event = Event {
            schema: SCHEMA_VERSION,
            seq: 1,
            time: Time(i64::MAX),
            sensor: "fuzz".parse().unwrap(),
            origin: Origin { session: Some(session), ..Origin::default() },
            kind,
        };
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
        let _ = turncoat::output::cowrie::translate(&event);
        let _ = turncoat::output::network::message(&event, &json, 16);
        assert!(!turncoat::show::line(&json).contains('\u{1b}'));
    }
    let recording = [MAGIC, data].concat();
    for bytes in [recording.clone(), data.to_vec()] {
        if let Ok(frames) = Frames::new(session, Box::new(std::io::Cursor::new(bytes))) {
            assert!(frames.map(|f| f.bytes.len()).sum::<usize>() <= data.len());
        }
    }
    if let Ok(frames) = Frames::new(session, Box::new(std::io::Cursor::new(recording))) {
        let mut cast = Vec::new();
        let _ = asciicast(frames, 0, true, "t", &mut cast);
    }
    let _ = turncoat_store::artifact::decode(data);
});
