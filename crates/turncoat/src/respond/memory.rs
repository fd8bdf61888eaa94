//! What the engine must not forget over a restart, in tables of its own in the record: open incidents, and what was done once.

use turncoat_event::{Kind, Time};
use turncoat_store::rusqlite::{Connection, OptionalExtension, params};
use turncoat_store::{Filter, Reader, Result};

use super::engine::{BY_HAND, Engine};
use super::incident::Incidents;
use super::net::Net;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS respond_incident (key TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS respond_done (n INTEGER PRIMARY KEY, rule TEXT NOT NULL, what TEXT NOT NULL, UNIQUE (rule, what));
";

/// Rows of what was done once that are kept.
const DONE: i64 = 100_000;

/// Makes the tables, where they are not there, and gives the engine what it knew.
///
/// # Errors
/// What the database says.
pub fn load(db: &Connection, engine: &mut Engine) -> Result<()> {
    db.execute_batch(TABLES)?;
    let opened: Option<String> = db
        .query_row("SELECT value FROM meta WHERE name = 'incidents'", [], |r| {
            r.get(0)
        })
        .optional()?;
    let mut q = db.prepare("SELECT body FROM respond_incident")?;
    let rows: Vec<String> = q.query_map([], |r| r.get(0))?.filter_map(|r| r.ok()).collect();
    engine.incidents = Incidents::restore(opened.and_then(|n| n.parse().ok()).unwrap_or(0), rows);
    let mut q = db.prepare("SELECT rule, what FROM respond_done ORDER BY n")?;
    let mut rows = q.query([])?;
    while let Some(r) = rows.next()? {
        engine.remember(r.get(0)?, r.get(1)?);
    }
    Ok(())
}

/// Writes what has changed since the last call. To be called in the transaction that records what was decided.
///
/// # Errors
/// What the database says.
pub fn save(db: &Connection, engine: &mut Engine) -> Result<()> {
    let changes = engine.incidents.changes();
    if !changes.is_empty() {
        db.prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES ('incidents', ?1)")?
            .execute([engine.incidents.opened().to_string()])?;
    }
    for (key, body) in changes {
        match body {
            Some(body) => db
                .prepare_cached("INSERT OR REPLACE INTO respond_incident (key, body) VALUES (?1, ?2)")?
                .execute(params![key, body])?,
            None => db
                .prepare_cached("DELETE FROM respond_incident WHERE key = ?1")?
                .execute([key])?,
        };
    }
    let fresh = engine.fresh();
    for (rule, what) in &fresh {
        db.prepare_cached("INSERT OR IGNORE INTO respond_done (rule, what) VALUES (?1, ?2)")?
            .execute(params![rule, what])?;
    }
    if !fresh.is_empty() {
        db.prepare_cached("DELETE FROM respond_done WHERE n <= (SELECT max(n) FROM respond_done) - ?1")?
            .execute([DONE])?;
    }
    Ok(())
}

/// Blocks that were decided and are not over, from the record; those that an operator lifted stay lifted.
///
/// # Errors
/// What the record says.
pub fn restore_blocks(engine: &mut Engine, reader: &Reader, now: Time) -> Result<()> {
    let filter = Filter {
        kinds: vec!["response.decide".into(), "response.result".into()],
        ..Filter::default()
    };
    let mut after = None;
    loop {
        let (events, seen) = reader.events(
            &Filter {
                after,
                ..filter.clone()
            },
            1000,
        )?;
        for e in &events {
            match &e.kind {
                Kind::ResponseDecide(d) if d.action == "block" && !d.dry_run => {
                    if let (Some(target), Some(until)) = (&d.target, d.until)
                        && until > now
                        && let Ok(net) = target.parse::<Net>()
                    {
                        let campaign = d.campaign.clone();
                        // Refused is what the allow-list of today, or the cap, no longer permits.
                        let _ = match &d.rule {
                            Some(rule) => engine.blocks.block(net.address(), e.time, until, campaign, rule),
                            None => engine.blocks.close(net, e.time, until, campaign, BY_HAND),
                        };
                    }
                }
                Kind::ResponseResult(r) if r.result == "undone" => {
                    if let Some(net) = r.response.rsplit_once(UNDO).and_then(|(_, n)| n.parse().ok()) {
                        engine.blocks.lift(&net);
                    }
                }
                _ => {}
            }
        }
        if events.is_empty() {
            return Ok(());
        }
        after = Some(seen);
    }
}

/// What stands before the network in the id of a response that an operator undid.
pub const UNDO: &str = "lift ";
