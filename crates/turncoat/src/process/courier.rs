//! Letters from the outbox to `out`: threads of the process that writes the record, one for each way of alerts.
//!
//! The oldest letter of a way goes first and holds up the others. What its receiver took leaves the outbox in the transaction that records
//! `alert.sent`; what he did not take is tried again, later each time, until it is given up. When `out` or this process dies in
//! between, the letter is still there and goes out again with the same id.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use turncoat_event::kinds::AlertSent;
use turncoat_event::{Draft, Time};
use turncoat_store::outbox::{self, Post};
use turncoat_store::{Reader, StoreError};

use super::link::Message;
use super::out::Line;
use super::record::{Pen, Shared};
use super::{now, say, thread};
use crate::alert::{self, Letter};

/// Between two signs of life.
const ALIVE: Duration = Duration::from_secs(5);
/// The longest pause between two tries, in seconds.
const PAUSE: i64 = 300;

/// Wakes the couriers.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<u64>,
    changed: Condvar,
}

impl Bell {
    /// There is a letter.
    pub fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    /// How often it rang so far.
    fn count(&self) -> u64 {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it rings again, at most a second.
    fn wait(&self, heard: u64) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self
            .changed
            .wait_timeout_while(rung, Duration::from_secs(1), |rung| *rung == heard)
            .unwrap_or_else(PoisonError::into_inner);
    }
}

/// Starts the couriers of one life of the stream to `out`, and the signs of life.
pub(super) fn start(line: &Arc<Line>, shared: &Arc<Shared>, pen: &Pen) {
    for (number, way) in (0u8..).zip(alert::configured(&shared.settings())) {
        let (line, shared, pen) = (line.clone(), shared.clone(), pen.clone());
        thread("courier", move || {
            if let Err(why) = carry(number, way, &line, &shared, &pen) {
                say("record", &format!("alerts by {way}: {why}"));
            }
        });
    }
    let (line, pen) = (line.clone(), pen.clone());
    thread("alive", move || {
        // The writer itself must answer: a record that cannot write gives no sign.
        while pen.ask(|_| ()).is_some() && line.send(&Message::Alive) {
            std::thread::sleep(ALIVE);
        }
    });
}

fn carry(number: u8, way: &'static str, line: &Line, shared: &Shared, pen: &Pen) -> Result<(), String> {
    let reader = Reader::open(&shared.layout).map_err(|e| e.to_string())?;
    loop {
        if line.ended() {
            return Ok(());
        }
        let heard = shared.bell.count();
        let Some(post) = outbox::next(reader.database(), way, now()).map_err(|e| e.to_string())? else {
            shared.bell.wait(heard);
            continue;
        };
        let letter = post.payload.clone();
        if !line.send(&Message::Post {
            way: number,
            id: post.id,
            letter,
        }) {
            return Ok(());
        }
        let Some(error) = line.posted(post.id) else {
            return Ok(());
        };
        let give_up = shared.settings().alert.give_up.nanos();
        let settled = pen.ask(move |writer| {
            writer.append_with(|tx| {
                let events = settle(tx, way, &post, &error, give_up)?;
                Ok(((), events))
            })
        });
        match settled {
            Some(done) => done.map_err(|e| e.to_string())?,
            None => return Ok(()),
        }
    }
}

/// Notes what became of a letter. Told is the first failure, that it was given up, and that it was taken.
fn settle(
    db: &turncoat_store::rusqlite::Connection,
    way: &str,
    post: &Post,
    error: &str,
    give_up: Option<i64>,
) -> Result<Vec<Draft>, StoreError> {
    let at = now();
    let incident = serde_json::from_str::<Letter>(&post.payload)
        .map_or_else(|_| post.key.clone(), |l| l.message.incident);
    let told = |delivered: bool, detail: Option<String>| {
        let sent = AlertSent {
            alert: incident.clone(),
            way: way.to_owned(),
            delivered,
            detail,
        };
        vec![Draft::of_system(at, sent)]
    };
    if error.is_empty() {
        outbox::remove(db, post.id)?;
        let tries = (post.attempts > 0).then(|| format!("taken at try {}", post.attempts + 1));
        return Ok(told(true, tries));
    }
    if give_up.is_some_and(|most| at.since(post.created) > most) {
        outbox::remove(db, post.id)?;
        return Ok(told(
            false,
            Some(format!("given up after {} tries: {error}", post.attempts + 1)),
        ));
    }
    outbox::later(db, post.id, error, later(at, post.attempts))?;
    Ok(if post.attempts == 0 {
        told(false, Some(error.to_owned()))
    } else {
        Vec::new()
    })
}

/// When a letter that was tried so often is tried again: after 1, 2, 4 ... seconds, at most five minutes.
fn later(at: Time, attempts: u64) -> Time {
    let seconds = 1i64
        .checked_shl(attempts.min(16) as u32)
        .unwrap_or(PAUSE)
        .min(PAUSE);
    at.plus_nanos(seconds * 1_000_000_000)
}
