//! The one writer of the record.
//!
//! [`Writer::append`] is the whole of it: a batch of items becomes durable together, in order, or not at all.
//! Session rows are kept in memory while their sessions are open and written once a batch (`rows`).

mod rows;
mod tape;

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::net::IpAddr;

use rusqlite::{Connection, Transaction, params};
use turncoat_event::kinds::SessionClose;
use turncoat_event::{Artifact, Bytes, Draft, Item, SensorId, SessionId, Sha256, Time, WorldId};

use crate::journal::Journals;
use crate::privacy::InstallKey;
use crate::{Layout, Result, StoreError, artifact, migrate, recording};
use rows::{CloneTouched, Open, Rows, write_session};
use tape::{Tape, private, tape};

/// What a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// `kill -9` of every process of the program.
    #[default]
    Process,
    /// A loss of power: every commit waits for the disk.
    Power,
}

/// What one batch brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The number of the last event in the record now.
    pub last_seq: u64,
}

/// The one writer of a record. While it lives, no other process can open one on the same directory.
pub struct Writer {
    layout: Layout,
    db: Connection,
    durability: Durability,
    sensor: i64,
    key: InstallKey,
    next_seq: u64,
    sessions: HashMap<SessionId, Open>,
    tapes: HashMap<SessionId, Tape>,
    journals: Journals,
    ended: Vec<WorldId>,
    batches: u64,
    _lock: File,
}

impl Writer {
    /// Opens the record, makes it where there is none, brings an older one to the present schema.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::Newer`], or what the disk says.
    pub fn open(
        layout: &Layout,
        sensor: &SensorId,
        key: InstallKey,
        durability: Durability,
    ) -> Result<Writer> {
        layout.create()?;
        let path = layout.lock();
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(StoreError::io(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(layout.root().to_owned())),
            Err(TryLockError::Error(source)) => return Err(StoreError::Io { path, source }),
        }
        let mut db = Connection::open(layout.database())?;
        private(layout.database());
        // Before anything is written: a newer program's record is left as it is.
        let (found, known) = (migrate::found(&db)?, migrate::version());
        if found > known {
            return Err(StoreError::Newer { found, known });
        }
        // Takes effect only on a new file: freed pages can then be given back while running.
        db.pragma_update(None, "auto_vacuum", "incremental")?;
        db.pragma_update(None, "journal_mode", "wal")?;
        db.pragma_update(
            None,
            "synchronous",
            if durability == Durability::Power {
                "full"
            } else {
                "normal"
            },
        )?;
        db.pragma_update(None, "temp_store", "memory")?;
        db.pragma_update(None, "foreign_keys", "off")?;
        db.pragma_update(None, "cache_size", -32_768)?;
        // The log is folded back every 4,000 pages (16 MiB) and cut to 64 MiB.
        db.pragma_update(None, "wal_autocheckpoint", 4_000)?;
        db.pragma_update(None, "journal_size_limit", 64 << 20)?;
        db.busy_timeout(std::time::Duration::from_secs(10))?;
        db.set_prepared_statement_cache_capacity(64);
        migrate::migrate(&mut db, layout)?;
        db.execute(
            "INSERT OR IGNORE INTO sensor (name) VALUES (?1)",
            [sensor.as_str()],
        )?;
        let sensor = db.query_row("SELECT id FROM sensor WHERE name = ?1", [sensor.as_str()], |r| {
            r.get(0)
        })?;
        // Numbers are never given twice, also when the newest events were forgotten.
        let last: i64 = db.query_row(
            "SELECT max(coalesce((SELECT max(seq) FROM event), 0), \
             coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'last_seq'), 0))",
            [],
            |r| r.get(0),
        )?;
        Ok(Writer {
            layout: layout.clone(),
            db,
            durability,
            sensor,
            key,
            next_seq: u64::try_from(last).unwrap_or(0) + 1,
            sessions: HashMap::new(),
            tapes: HashMap::new(),
            journals: Journals::default(),
            ended: Vec::new(),
            batches: 0,
            _lock: lock,
        })
    }

    /// Where the record lies.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The number of the last event.
    pub fn last_seq(&self) -> u64 {
        self.next_seq - 1
    }

    /// How many sessions are open.
    pub fn open_sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Whether what is committed waits for the disk.
    pub(crate) fn syncs(&self) -> bool {
        self.durability == Durability::Power
    }

    /// The journals that are being written.
    pub(crate) fn journals(&mut self) -> &mut Journals {
        &mut self.journals
    }

    /// The database, for tables of those who keep their own in the record. Nobody else writes the tables of the schema.
    pub fn database(&mut self) -> &mut Connection {
        &mut self.db
    }

    /// Commits a batch: afterwards all of it is durable. Returns the sessions with recordings that the batch closed beside what was
    /// committed; they may now be compressed ([`recording::compress`]).
    ///
    /// # Errors
    /// Nothing of the batch is in the record then, and it may be tried again.
    pub fn append(&mut self, items: &[Item]) -> Result<(Committed, Vec<SessionId>)> {
        self.batches += 1;
        let mut lengths = HashMap::new();
        let mut journals = Vec::new();
        let kept = self.sessions.clone_touched(items);
        match self.try_append(items, &mut lengths, &mut journals) {
            Ok(done) => Ok(done),
            Err(error) => {
                // Back to before: cut the recordings, forget what the rows had become.
                for (session, length) in lengths {
                    if let Some(tape) = self.tapes.get_mut(&session)
                        && tape.file.set_len(length).is_ok()
                    {
                        tape.length = length;
                    } else {
                        self.tapes.remove(&session);
                    }
                }
                for (world, length) in journals.into_iter().rev() {
                    self.journals.cut(world, length);
                }
                for (session, before) in kept {
                    match before {
                        Some(row) => self.sessions.insert(session, row),
                        None => self.sessions.remove(&session),
                    };
                }
                Err(error)
            }
        }
    }

    fn try_append(
        &mut self,
        items: &[Item],
        lengths: &mut HashMap<SessionId, u64>,
        journals: &mut Vec<(WorldId, u64)>,
    ) -> Result<(Committed, Vec<SessionId>)> {
        let sync = self.syncs();
        let mut new_artifacts = Vec::new();
        let mut pieces: HashMap<SessionId, Vec<u8>> = HashMap::new();
        for item in items {
            match item {
                Item::Artifact(Artifact { sha256, content }) => {
                    if artifact::sha256(content.as_slice()) != *sha256 {
                        return Err(StoreError::Refused(format!(
                            "an artifact is not what its name {sha256} says"
                        )));
                    }
                    if artifact::keep(&self.layout, *sha256, content.as_slice(), sync)? {
                        new_artifacts.push((*sha256, content.len()));
                    }
                }
                Item::Frame(frame) => {
                    recording::encode_frame(frame, pieces.entry(frame.session).or_default())
                }
                Item::Journal(piece) => {
                    let before = self.journals.append(&self.layout, piece, sync, self.batches)?;
                    journals.push((piece.world, before));
                }
                Item::Event(_) => {}
            }
        }
        for (session, bytes) in &pieces {
            let tape = tape(&mut self.tapes, &self.layout, *session, self.batches)?;
            lengths.insert(*session, tape.length);
            tape.file
                .write_all(bytes)
                .map_err(StoreError::io(self.layout.recording(*session)))?;
            tape.length += bytes.len() as u64;
            if sync {
                tape.file
                    .sync_data()
                    .map_err(StoreError::io(self.layout.recording(*session)))?;
            }
        }

        let mut next_seq = self.next_seq;
        let transaction = self.db.transaction()?;
        let mut touched: Vec<SessionId> = Vec::new();
        let mut writing = Rows {
            transaction: &transaction,
            sessions: &mut self.sessions,
            sensor: self.sensor,
            key: &self.key,
            touched: &mut touched,
        };
        let mut newest = Time::default();
        for item in items {
            match item {
                Item::Event(draft) => {
                    newest = newest.max(draft.time);
                    writing.event(next_seq, draft)?;
                    next_seq += 1;
                }
                Item::Frame(frame) => writing.frame(frame),
                Item::Artifact(_) | Item::Journal(_) => {}
            }
        }
        // How much of each journal is committed, in order: a world's last word counts.
        let mut before = journals.iter();
        for item in items {
            if let Item::Journal(piece) = item
                && let Some((world, length)) = before.next()
            {
                let uuid = world.to_string();
                if piece.last {
                    transaction
                        .prepare_cached("DELETE FROM world WHERE uuid = ?1")?
                        .execute([uuid])?;
                } else {
                    transaction
                        .prepare_cached(
                            "INSERT INTO world (uuid, journal) VALUES (?1, ?2) ON CONFLICT (uuid) DO UPDATE SET journal = excluded.journal",
                        )?
                        .execute(params![uuid, length + piece.bytes.len() as u64])?;
                }
            }
        }
        for (sha, size) in new_artifacts {
            transaction
                .prepare_cached("INSERT OR IGNORE INTO artifact (sha256, size, first) VALUES (?1, ?2, ?3)")?
                .execute(params![sha.to_string(), size, newest.0])?;
        }
        let mut closed = Vec::new();
        touched.sort_unstable();
        touched.dedup();
        for session in touched {
            if let Some(open) = self.sessions.get(&session) {
                write_session(&transaction, open)?;
                if open.closed.is_some() {
                    let compress = !open.late && open.recorded > 0;
                    closed.push((session, compress));
                }
            }
        }
        transaction.commit()?;
        self.next_seq = next_seq;
        for (session, _) in &closed {
            self.sessions.remove(session);
            self.tapes.remove(session);
        }
        // What came late is compressed anew where the recording grew.
        let grown = lengths.keys().filter(|s| !self.sessions.contains_key(s));
        let mut over: Vec<SessionId> = grown.copied().collect();
        for session in &over {
            self.tapes.remove(session);
        }
        over.extend(
            closed
                .into_iter()
                .filter_map(|(s, compress)| compress.then_some(s)),
        );
        over.sort_unstable();
        over.dedup();
        for item in items {
            if let Item::Journal(piece) = item
                && piece.last
            {
                self.journals.end(piece.world);
                self.ended.push(piece.world);
            }
        }
        Ok((
            Committed {
                last_seq: next_seq - 1,
            },
            over,
        ))
    }

    /// Worlds that ended since the last call: their journals may now be compressed ([`crate::journal::compress`]).
    pub fn ended_worlds(&mut self) -> Vec<WorldId> {
        std::mem::take(&mut self.ended)
    }

    /// The front that held the worlds is gone. Gives those that nobody will go on with and whose journals lie raw.
    pub fn end_worlds(&mut self) -> Vec<WorldId> {
        self.journals.end_all();
        self.ended.clear();
        let living = self.living().unwrap_or_default();
        let raw = crate::journal::raw(&self.layout);
        raw.into_iter()
            .filter(|w| !living.contains(&w.to_string()))
            .collect()
    }

    /// Runs `work` in a transaction and records the events that it gives in the same one: both are durable afterwards, or neither.
    /// The events are the program's own, without a session.
    ///
    /// # Errors
    /// What `work` says, or the database; then nothing of it is in the record.
    pub fn append_with<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<(T, Vec<Draft>)>,
    ) -> Result<T> {
        let transaction = self.db.transaction()?;
        let (done, drafts) = work(&transaction)?;
        let mut next_seq = self.next_seq;
        let mut touched = Vec::new();
        let mut writing = Rows {
            transaction: &transaction,
            sessions: &mut self.sessions,
            sensor: self.sensor,
            key: &self.key,
            touched: &mut touched,
        };
        for draft in &drafts {
            if draft.origin.session.is_some() {
                return Err(StoreError::Refused(
                    "an event of a session belongs into a batch".into(),
                ));
            }
            writing.event(next_seq, draft)?;
            next_seq += 1;
        }
        transaction.commit()?;
        self.next_seq = next_seq;
        Ok(done)
    }

    /// Closes in the record what an earlier run (or a front that died) left open: each session gets its `session.close` with the
    /// reason `interrupted`. Returns them.
    pub fn close_interrupted(&mut self, now: Time) -> Result<Vec<SessionId>> {
        let mut left: Vec<(SessionId, i64, u64, u64)> = Vec::new();
        {
            let mut query = self
                .db
                .prepare("SELECT uuid, opened, bytes_in, bytes_out FROM session WHERE closed IS NULL")?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                if let Ok(id) = row.get::<_, String>(0)?.parse() {
                    let opened = row.get::<_, Option<i64>>(1)?.unwrap_or(now.0);
                    left.push((id, opened, row.get(2)?, row.get(3)?));
                }
            }
        }
        for group in left.chunks(1_000) {
            let items: Vec<Item> = group
                .iter()
                .map(|(session, opened, bytes_in, bytes_out)| {
                    let kind = SessionClose {
                        reason: "interrupted".into(),
                        // Nobody can tell what went over the network any more: what was recorded of it.
                        bytes_in: *bytes_in,
                        bytes_out: *bytes_out,
                        duration_ms: u64::try_from(now.since(Time(*opened)) / 1_000_000).unwrap_or(0),
                    };
                    let origin = turncoat_event::Origin {
                        session: Some(*session),
                        ..Default::default()
                    };
                    Item::from(origin.at(now, kind))
                })
                .collect();
            self.append(&items)?;
        }
        Ok(left.into_iter().map(|(id, ..)| id).collect())
    }

    /// Bytes that were sent to each source in sessions that were closed since `midnight`.
    ///
    /// # Errors
    /// What the database says.
    pub fn sent_since(&self, midnight: Time) -> Result<HashMap<IpAddr, u64>> {
        let mut sent: HashMap<IpAddr, u64> = HashMap::new();
        // From the newest back: what is read is the day, however long the record is.
        let mut query = self.db.prepare_cached(
            "SELECT e.time, s.src_ip, s.bytes_out FROM event e JOIN session s ON s.id = e.session \
             WHERE e.kind = 'session.close' ORDER BY e.seq DESC",
        )?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            if row.get::<_, i64>(0)? < midnight.0 {
                break;
            }
            let source = row.get::<_, Option<String>>(1)?.and_then(|s| s.parse().ok());
            if let Some(source) = source {
                let all = sent.entry(source).or_default();
                *all = all.saturating_add(row.get(2)?);
            }
        }
        Ok(sent)
    }

    /// How far the reader `name` has come: event number and a position of its own.
    pub fn cursor(&self, name: &str) -> Result<(u64, Option<String>)> {
        use rusqlite::OptionalExtension;
        let found = self
            .db
            .prepare_cached("SELECT seq, position FROM cursor WHERE name = ?1")?
            .query_row([name], |r| Ok((r.get::<_, u64>(0)?, r.get(1)?)))
            .optional()?;
        Ok(found.unwrap_or_default())
    }

    /// Notes how far the reader `name` has come.
    pub fn set_cursor(&mut self, name: &str, seq: u64, position: Option<&str>) -> Result<()> {
        self.db
            .prepare_cached(
                "INSERT INTO cursor (name, seq, position) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (name) DO UPDATE SET seq = excluded.seq, position = excluded.position",
            )?
            .execute(params![name, seq, position])?;
        Ok(())
    }
}

/// An artifact for the record, named by its own hash.
pub fn artifact_of(content: Vec<u8>) -> (Sha256, Artifact) {
    let sha256 = artifact::sha256(&content);
    (
        sha256,
        Artifact {
            sha256,
            content: Bytes(content),
        },
    )
}
