//! Messages for the outside that must survive everything.
//!
//! A message is put into the outbox in the transaction that records what it speaks of, and leaves it in the transaction that records
//! that its receiver took it. Each way (mail, webhook ...) has its own queue, in order: the oldest message holds up the others.

use rusqlite::{Connection, OptionalExtension, params};
use turncoat_event::Time;

use crate::Result;

/// Messages that one way's queue holds at most. Only a receiver that is away for very long brings it there.
pub const MOST: u64 = 20_000;

/// One message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// Number in the outbox.
    pub id: u64,
    /// What makes it once-only, as it was put in.
    pub key: String,
    /// The message.
    pub payload: String,
    /// When it was put in.
    pub created: Time,
    /// How often it was tried.
    pub attempts: u64,
}

/// How one way's queue is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Queue {
    /// The way.
    pub way: String,
    /// Messages that wait.
    pub waiting: u64,
    /// Since when the oldest waits.
    pub since: Time,
    /// What its receiver said last.
    pub error: Option<String>,
}

/// Puts a message in. False where its key is in the outbox already, or the queue is full.
///
/// # Errors
/// What the database says.
pub fn put(db: &Connection, way: &str, key: &str, payload: &str, now: Time) -> Result<bool> {
    let waiting: u64 = db
        .prepare_cached("SELECT count(*) FROM outbox WHERE way = ?1")?
        .query_row([way], |r| r.get(0))?;
    if waiting >= MOST {
        return Ok(false);
    }
    let put = db
        .prepare_cached(
            "INSERT OR IGNORE INTO outbox (way, key, payload, created, due) VALUES (?1, ?2, ?3, ?4, 0)",
        )?
        .execute(params![way, key, payload, now.0])?;
    Ok(put > 0)
}

/// The oldest message of a way, if it may be tried now.
///
/// # Errors
/// What the database says.
pub fn next(db: &Connection, way: &str, now: Time) -> Result<Option<Post>> {
    let found = db
        .prepare_cached(
            "SELECT id, key, payload, created, attempts, due FROM outbox WHERE way = ?1 ORDER BY id LIMIT 1",
        )?
        .query_row([way], |r| {
            let post = Post {
                id: r.get(0)?,
                key: r.get(1)?,
                payload: r.get(2)?,
                created: Time(r.get(3)?),
                attempts: r.get(4)?,
            };
            Ok((post, Time(r.get(5)?)))
        })
        .optional()?;
    Ok(found.filter(|(_, due)| *due <= now).map(|(post, _)| post))
}

/// Its receiver took a message, or it is given up: it leaves the outbox.
///
/// # Errors
/// What the database says.
pub fn remove(db: &Connection, id: u64) -> Result<()> {
    db.prepare_cached("DELETE FROM outbox WHERE id = ?1")?
        .execute([id])?;
    Ok(())
}

/// A message could not be handed over: it is tried again from `due` on.
///
/// # Errors
/// What the database says.
pub fn later(db: &Connection, id: u64, error: &str, due: Time) -> Result<()> {
    db.prepare_cached("UPDATE outbox SET attempts = attempts + 1, error = ?2, due = ?3 WHERE id = ?1")?
        .execute(params![id, error, due.0])?;
    Ok(())
}

/// All queues that are not empty.
///
/// # Errors
/// What the database says.
pub fn queues(db: &Connection) -> Result<Vec<Queue>> {
    let mut q = db.prepare_cached(
        "SELECT way, count(*), min(created), (SELECT error FROM outbox o WHERE o.way = outbox.way ORDER BY id LIMIT 1) \
         FROM outbox GROUP BY way ORDER BY way",
    )?;
    let rows = q.query_map([], |r| {
        Ok(Queue {
            way: r.get(0)?,
            waiting: r.get(1)?,
            since: Time(r.get(2)?),
            error: r.get(3)?,
        })
    })?;
    Ok(rows.collect::<std::result::Result<_, _>>()?)
}

/// What became of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its receiver took it, or it was withdrawn.
    Gone,
    /// It waits.
    Waiting,
    /// It, or the one before it, was tried, and not taken.
    Failed(String),
}

/// What became of the message with this key.
///
/// # Errors
/// What the database says.
pub fn state(db: &Connection, way: &str, key: &str) -> Result<State> {
    let there: bool = db
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM outbox WHERE key = ?1)")?
        .query_row([key], |r| r.get(0))?;
    if !there {
        return Ok(State::Gone);
    }
    let first: Option<(Option<String>, i64)> = db
        .prepare_cached("SELECT error, due FROM outbox WHERE way = ?1 ORDER BY id LIMIT 1")?
        .query_row([way], |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?;
    // Nothing but a failure makes the first one wait for a time.
    Ok(match first {
        Some((Some(error), due)) if due > 0 => State::Failed(error),
        _ => State::Waiting,
    })
}

/// Takes a message back that nobody took yet.
///
/// # Errors
/// What the database says.
pub fn withdraw(db: &Connection, key: &str) -> Result<()> {
    db.execute("DELETE FROM outbox WHERE key = ?1", [key])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_in_order_once_and_when_they_are_due() {
        let mut db = Connection::open_in_memory().unwrap();
        crate::migrate::migrate(&mut db, &crate::Layout::new("/nonexistent")).unwrap();
        let t = Time;
        assert!(put(&db, "mail", "mail/1", "a", t(1)).unwrap());
        assert!(!put(&db, "mail", "mail/1", "a", t(1)).unwrap(), "once");
        assert!(
            put(&db, "mail", "mail/2", "b", t(2)).unwrap() && put(&db, "cef", "cef/1", "c", t(2)).unwrap()
        );
        let first = next(&db, "mail", t(3)).unwrap().unwrap();
        assert_eq!((first.payload.as_str(), first.attempts), ("a", 0));
        assert_eq!(state(&db, "mail", "mail/2").unwrap(), State::Waiting);
        later(&db, first.id, "away", t(10)).unwrap();
        assert_eq!(
            next(&db, "mail", t(9)).unwrap(),
            None,
            "the first holds up the others"
        );
        assert_eq!(
            state(&db, "mail", "mail/2").unwrap(),
            State::Failed("away".into())
        );
        assert_eq!(next(&db, "mail", t(10)).unwrap().unwrap().attempts, 1);
        assert_eq!(queues(&db).unwrap().len(), 2);
        remove(&db, first.id).unwrap();
        assert_eq!(state(&db, "mail", "mail/1").unwrap(), State::Gone);
        assert_eq!(next(&db, "mail", t(10)).unwrap().unwrap().payload, "b");
        withdraw(&db, "mail/2").unwrap();
        assert_eq!(next(&db, "mail", t(10)).unwrap(), None);
    }
}
