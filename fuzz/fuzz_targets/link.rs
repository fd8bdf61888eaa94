//! Any bytes on the stream between two processes: messages or an end, however the stream is cut.
#![no_main]

use turncoat::process::link::{Decoder, Message, VERSION, encode};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut bytes = Vec::new();
    encode(&Message::Hello(VERSION), &mut bytes);
    bytes.extend_from_slice(data);
    let read = |cut: usize| {
        let (mut decoder, mut found) = (Decoder::default(), Vec::new());
        for piece in bytes.chunks(cut) {
            decoder.push(piece);
            loop {
                match decoder.next_message() {
                    Ok(Some(message)) => found.push(message),
                    Ok(None) => break,
                    Err(_) => return found,
                }
            }
        }
        found
    };
    assert_eq!(read(bytes.len()), read(7));
});
