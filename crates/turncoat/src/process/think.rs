//! Campaigns, kept while the program runs: a thread of the process that writes the record.
//!
//! It follows the record by its own cursor, so that a restart goes on where it was. What it finds becomes events of the program
//! (`campaign.change`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use turncoat_event::{Draft, Event, Mark};
use turncoat_intel::{Keeper, Rules, keeper};
use turncoat_store::{Filter, Reader};

use super::record::{Pen, Shared};
use super::say;

/// Events taken in at once.
const BATCH: usize = 2_000;

/// Runs until the record ends.
pub fn run(shared: &Shared, pen: &Pen) {
    loop {
        match follow(shared, pen) {
            Ok(()) => return,
            Err(why) => {
                say("record", &format!("campaigns: {why}; tried again in ten seconds"));
                std::thread::sleep(Duration::from_secs(10));
            }
        }
    }
}

fn follow(shared: &Shared, pen: &Pen) -> Result<(), String> {
    let rules = Rules::built_in().map_err(|e| e.to_string())?;
    let Some(opened) = pen.ask(move |writer| {
        let cursor = writer.cursor(keeper::CURSOR)?.0;
        Ok::<_, turncoat_store::StoreError>((Keeper::open(writer.database(), rules)?, cursor))
    }) else {
        return Ok(());
    };
    let (keeper, mut cursor) = opened.map_err(|e| e.to_string())?;
    let keeper = Arc::new(Mutex::new(keeper));
    let reader = Reader::open(&shared.layout).map_err(|e| e.to_string())?;
    loop {
        match shared.committed.wait(Mark(cursor + 1), Duration::from_secs(60)) {
            Err(_) => return Ok(()),
            Ok(false) => continue,
            Ok(true) => {}
        }
        let filter = Filter {
            after: Some(cursor),
            ..Filter::default()
        };
        let (events, seen): (Vec<Event>, u64) = reader.events(&filter, BATCH).map_err(|e| e.to_string())?;
        cursor = seen.max(events.last().map_or(0, |e| e.seq)).max(cursor);
        if events.is_empty() {
            continue;
        }
        let at_work = keeper.clone();
        let Some(done) = pen.ask(move |writer| {
            at_work
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .add(writer.database(), &events)
        }) else {
            return Ok(());
        };
        for change in done.map_err(|e| e.to_string())? {
            let mut draft = Draft::of_system(super::now(), change.kind());
            draft.origin.session = change.session;
            pen.own(draft);
        }
    }
}
