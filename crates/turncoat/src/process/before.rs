//! What a `front` is told of the time before it began: what was sent to each source today, and who took which bait.

use std::collections::BTreeMap;

use turncoat_event::{Kind, SessionId, Time};
use turncoat_store::{Filter, Layout, Reader, StoreError, Writer};

use super::link::{Message, encode};
use super::{now, say};

/// A day in nanoseconds.
const DAY: i64 = 86_400_000_000_000;

/// So many of the newest events that tell of baits are looked at.
const READ: usize = 20_000;

/// Appends the messages that tell it.
pub fn tell(writer: &Writer, layout: &Layout, bytes: &mut Vec<u8>) {
    let day = now().0.div_euclid(DAY);
    match writer.sent_since(Time(day * DAY)) {
        Ok(sent) => sent.into_iter().for_each(|(source, sent)| {
            let sent = Message::Sent {
                day,
                source,
                bytes: sent,
            };
            encode(&sent, bytes);
        }),
        Err(error) => say("record", &format!("what was sent today: {error}")),
    }
    match taken(layout) {
        Ok(taken) => taken
            .into_iter()
            .for_each(|(bait, session)| encode(&Message::Taken { bait, session }, bytes)),
        Err(error) => say("record", &format!("who took which bait: {error}")),
    }
}

/// The session that last read each bait.
fn taken(layout: &Layout) -> Result<BTreeMap<String, SessionId>, StoreError> {
    let reader = Reader::open(layout)?;
    let mut filter = Filter {
        kinds: vec!["bait.read".into()],
        newest_first: true,
        ..Filter::default()
    };
    let mut last = BTreeMap::new();
    for _ in 0..READ / 2_000 {
        let (events, _) = reader.events(&filter, 2_000)?;
        let Some(oldest) = events.last() else { break };
        filter.before = Some(oldest.seq);
        for event in events {
            if let (Kind::BaitRead(read), Some(session)) = (event.kind, event.origin.session) {
                last.entry(read.bait).or_insert(session);
            }
        }
    }
    Ok(last)
}
