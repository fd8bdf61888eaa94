//! The rows of a batch: events, and the sessions that they belong to.

use std::collections::HashMap;

use rusqlite::{Transaction, params};
use turncoat_event::{Bytes, Direction, Draft, Frame, Item, Kind, SessionId, Time};

use crate::privacy::InstallKey;
use crate::{Result, StoreError};

/// A session's row as it will be written.
#[derive(Debug, Clone)]
pub(super) struct Open {
    row: i64,
    world: Option<String>,
    last_seq: u64,
    events: u64,
    attempts: u64,
    logins: u64,
    user: Option<Bytes>,
    client: Option<Bytes>,
    commands: u64,
    artifacts: u64,
    bytes_in: u64,
    bytes_out: u64,
    pub(super) recorded: u64,
    pub(super) closed: Option<(Time, String)>,
    /// It was closed before this batch: its world had more to tell.
    pub(super) late: bool,
}

/// The rows of one batch.
pub(super) struct Rows<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    pub(super) sessions: &'a mut HashMap<SessionId, Open>,
    pub(super) sensor: i64,
    pub(super) key: &'a InstallKey,
    pub(super) touched: &'a mut Vec<SessionId>,
}

impl Rows<'_> {
    pub(super) fn event(&mut self, seq: u64, draft: &Draft) -> Result<()> {
        let origin = &draft.origin;
        let mut row = None;
        let mut same_world = false;
        if let Some(id) = origin.session {
            self.open(id, seq, draft)?;
            if let Some(open) = self.sessions.get_mut(&id) {
                open.last_seq = seq;
                open.events += 1;
                note(open, draft);
                row = Some(open.row);
                same_world = open.world == origin.world.map(|w| w.to_string());
                if let Kind::FileArtifact(it) = &draft.kind {
                    self.transaction
                        .prepare_cached("INSERT OR IGNORE INTO brought (session, sha256) VALUES (?1, ?2)")?
                        .execute(params![open.row, it.sha256.to_string()])?;
                }
            }
            self.touched.push(id);
        }
        let fields = self.fields(&draft.kind)?;
        let world = origin.world.filter(|_| !same_world).map(|w| w.to_string());
        let apart = row.is_none();
        self.transaction
            .prepare_cached(
                "INSERT INTO event (seq, time, kind, session, sensor, world, src_ip, src_port, dst_ip, dst_port, decoy, fields) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?
            .execute(params![
                seq,
                draft.time.0,
                draft.kind.name(),
                row,
                self.sensor,
                world,
                origin.src_ip.filter(|_| apart).map(|a| a.to_string()),
                origin.src_port.filter(|_| apart),
                origin.dst_ip.filter(|_| apart).map(|a| a.to_string()),
                origin.dst_port.filter(|_| apart),
                origin.decoy.as_ref().filter(|_| apart),
                fields,
            ])?;
        let mut text = String::new();
        draft.kind.each_field(&mut |field| {
            if field.search && !field.value.absent() {
                if !text.is_empty() {
                    text.push('\n');
                }
                field.value.text(&mut text);
            }
        });
        if !text.is_empty() {
            self.transaction
                .prepare_cached("INSERT INTO typed (rowid, text) VALUES (?1, ?2)")?
                .execute(params![seq, text])?;
        }
        Ok(())
    }

    /// The fields as JSON; a secret gets its keyed hash beside it.
    fn fields(&self, kind: &Kind) -> Result<String> {
        let text = match kind {
            Kind::AuthAttempt(it) if it.secret.is_some() && it.secret_hash.is_none() => {
                let mut it = it.clone();
                it.secret_hash = it.secret.as_ref().map(|s| self.key.secret(s.as_slice()));
                serde_json::to_string(&it)
            }
            kind => kind.fields_json(),
        };
        text.map_err(|e| StoreError::Refused(format!("an event has no written form: {e}")))
    }

    pub(super) fn frame(&mut self, frame: &Frame) {
        if let Some(open) = self.sessions.get_mut(&frame.session) {
            let bytes = frame.bytes.len() as u64;
            open.recorded += bytes;
            // What is known while the session runs; its end brings what really went over the network.
            match frame.direction {
                Direction::Input => open.bytes_in += bytes,
                Direction::Output => open.bytes_out += bytes,
                Direction::Resize => {}
            }
            self.touched.push(frame.session);
        }
    }

    /// Makes sure that the session's row is there and in memory.
    fn open(&mut self, id: SessionId, seq: u64, draft: &Draft) -> Result<()> {
        if self.sessions.contains_key(&id) {
            return Ok(());
        }
        use rusqlite::OptionalExtension;
        let uuid = id.to_string();
        let known = self
            .transaction
            .prepare_cached(
                "SELECT id, world, events, attempts, logins, user, client, commands, artifacts, bytes_in, bytes_out, recorded, \
                 closed, coalesce(reason, '') FROM session WHERE uuid = ?1",
            )?
            .query_row([&uuid], |r| {
                let closed = r.get::<_, Option<i64>>(12)?.map(Time);
                let closed = closed.zip(Some(r.get(13)?));
                Ok(Open {
                    row: r.get(0)?,
                    world: r.get(1)?,
                    last_seq: seq,
                    events: r.get(2)?,
                    attempts: r.get(3)?,
                    logins: r.get(4)?,
                    user: r.get::<_, Option<Vec<u8>>>(5)?.map(Bytes),
                    client: r.get::<_, Option<Vec<u8>>>(6)?.map(Bytes),
                    commands: r.get(7)?,
                    artifacts: r.get(8)?,
                    bytes_in: r.get(9)?,
                    bytes_out: r.get(10)?,
                    recorded: r.get(11)?,
                    late: closed.is_some(),
                    closed,
                })
            })
            .optional()?;
        let open = match known {
            Some(open) => open,
            None => {
                let o = &draft.origin;
                let row = self
                    .transaction
                    .prepare_cached(
                        "INSERT INTO session (uuid, sensor, world, src_ip, src_port, dst_ip, dst_port, decoy, opened, first_seq, last_seq) \
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)",
                    )?
                    .insert(params![
                        uuid,
                        self.sensor,
                        o.world.map(|w| w.to_string()),
                        o.src_ip.map(|a| a.to_string()),
                        o.src_port,
                        o.dst_ip.map(|a| a.to_string()),
                        o.dst_port,
                        o.decoy,
                        draft.time.0,
                        seq,
                    ])?;
                Open {
                    row,
                    world: o.world.map(|w| w.to_string()),
                    last_seq: seq,
                    events: 0,
                    attempts: 0,
                    logins: 0,
                    user: None,
                    client: None,
                    commands: 0,
                    artifacts: 0,
                    bytes_in: 0,
                    bytes_out: 0,
                    recorded: 0,
                    closed: None,
                    late: false,
                }
            }
        };
        self.sessions.insert(id, open);
        Ok(())
    }
}

/// What an event means for its session's row.
fn note(open: &mut Open, draft: &Draft) {
    if open.world.is_none() {
        open.world = draft.origin.world.map(|w| w.to_string());
    }
    match &draft.kind {
        Kind::AuthAttempt(it) if it.probe != Some(true) && it.method != "none" => {
            open.attempts += 1;
            if it.accepted {
                open.logins += 1;
                open.user = Some(it.user.clone());
            }
        }
        Kind::AuthAttempt(it) if it.accepted && it.probe != Some(true) => {
            open.logins += 1;
            open.user = Some(it.user.clone());
        }
        Kind::ClientVersion(it) => open.client = Some(it.version.clone()),
        Kind::CommandInput(_) | Kind::CommandExec(_) => open.commands += 1,
        Kind::FileArtifact(_) => open.artifacts += 1,
        Kind::SessionClose(it) => {
            (open.bytes_in, open.bytes_out) = (it.bytes_in, it.bytes_out);
            open.closed = Some((draft.time, it.reason.clone()));
        }
        _ => {}
    }
}

pub(super) fn write_session(transaction: &Transaction<'_>, open: &Open) -> Result<()> {
    let closed = open.closed.as_ref();
    transaction
        .prepare_cached(
            "UPDATE session SET world = ?2, last_seq = ?3, events = ?4, attempts = ?5, logins = ?6, user = ?7, client = ?8, \
             commands = ?9, artifacts = ?10, bytes_in = ?11, bytes_out = ?12, recorded = ?13, closed = ?14, reason = ?15 WHERE id = ?1",
        )?
        .execute(params![
            open.row,
            open.world,
            open.last_seq,
            open.events,
            open.attempts,
            open.logins,
            open.user.as_ref().map(Bytes::as_slice),
            open.client.as_ref().map(Bytes::as_slice),
            open.commands,
            open.artifacts,
            open.bytes_in,
            open.bytes_out,
            open.recorded,
            closed.map(|c| c.0.0),
            closed.map(|c| &c.1),
        ])?;
    Ok(())
}

pub(super) trait CloneTouched {
    fn clone_touched(&self, items: &[Item]) -> Vec<(SessionId, Option<Open>)>;
}

impl CloneTouched for HashMap<SessionId, Open> {
    /// The rows that a batch will change, as they are before it.
    fn clone_touched(&self, items: &[Item]) -> Vec<(SessionId, Option<Open>)> {
        let mut ids: Vec<SessionId> = items
            .iter()
            .filter_map(|item| match item {
                Item::Event(draft) => draft.origin.session,
                Item::Frame(frame) => Some(frame.session),
                Item::Artifact(_) | Item::Journal(_) => None,
            })
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().map(|id| (id, self.get(&id).cloned())).collect()
    }
}
