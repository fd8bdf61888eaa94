//! What cannot be recorded.

use std::io::Read;
use std::sync::mpsc::sync_channel;

use turncoat_event::record::Artifact;
use turncoat_event::{Committer, SensorId, Sha256};
use turncoat_store::Durability;

use super::*;
use crate::process::link::{Decoder, Message};
use crate::process::scribe::Scribe;

/// Invariant 1: what cannot be recorded is not acknowledged, and the writer ends instead of going on.
#[test]
fn a_refused_batch_is_never_acknowledged() {
    let dir = std::env::temp_dir().join(format!("turncoat-refused-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    let layout = Layout::new(dir.clone());
    let key = InstallKey::derive(&[7; 32], "secret");
    let sensor: SensorId = "test".parse().unwrap();
    let writer = Writer::open(&layout, &sensor, key.clone(), Durability::Process).unwrap();
    let (committer, committed) = Committer::new();
    let (close, _closed) = channel();
    let scribe = Scribe {
        writer,
        shared: Arc::new(Shared {
            layout,
            source_key: key,
            settings: RwLock::default(),
            committed,
            own_networks: Vec::new(),
            listening: Vec::new(),
            console: std::sync::OnceLock::new(),
            bell: crate::process::courier::Bell::default(),
            minded: crate::process::think::Minded::default(),
            rules: turncoat_intel::Rules::default(),
            networks: Arc::default(),
            tell_supervisor: Box::new(|_| {}),
            status: Mutex::default(),
            started: Instant::now(),
        }),
        committer,
        close,
        front: None,
        life: 0,
        mark: Mark::NONE,
    };
    let (mut front, to) = UnixStream::pair().unwrap();
    let (send, receive) = sync_channel(8);
    let wrong = Artifact {
        sha256: Sha256([0; 32]),
        content: "these bytes have another sum".into(),
    };
    send.send(Work::Begin { life: 1, to }).unwrap();
    let items = vec![(Mark(1), Item::Artifact(wrong))];
    send.send(Work::Items { life: 1, items }).unwrap();
    let why = scribe.run(&receive).unwrap_err();
    assert!(why.contains("cannot be recorded"), "{why}");

    let mut said = Vec::new();
    front.read_to_end(&mut said).unwrap();
    let mut decoder = Decoder::default();
    decoder.push(&said);
    while let Some(message) = decoder.next_message().unwrap() {
        assert!(
            !matches!(message, Message::Committed(_)),
            "acknowledged: {message:?}"
        );
    }
    let _ = std::fs::remove_dir_all(&dir);
}
