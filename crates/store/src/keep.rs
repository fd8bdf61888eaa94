//! What is kept and what goes: quotas, retention, pseudonyms, forgetting, backup and restore.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};
use turncoat_event::{SessionId, Sha256, Time, WorldId};

use crate::layout::make_private;
use crate::privacy::InstallKey;
use crate::writer::Writer;
use crate::{Layout, Result, Source, StoreError, journal, migrate, recording};

/// How much the record may hold.
#[derive(Debug, Clone, Copy)]
pub struct Quota {
    /// Bytes of database, recordings, journals and artifacts together.
    pub bytes: u64,
    /// Nanoseconds after which a closed session goes, where there is such a limit.
    pub age: Option<i64>,
    /// Nanoseconds after which the source's address of a closed session becomes a pseudonym.
    pub pseudonymise: Option<i64>,
}

/// How many bytes the record takes on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// The database and its log.
    pub database: u64,
    /// Recordings.
    pub recordings: u64,
    /// Journals of worlds.
    pub journals: u64,
    /// Artifacts.
    pub artifacts: u64,
}

impl Usage {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.database + self.recordings + self.journals + self.artifacts
    }
}

/// Measures the record. Walks the directories: not for every second.
pub fn usage(layout: &Layout) -> Usage {
    let database = ["record.db", "record.db-wal", "record.db-shm"]
        .iter()
        .map(|f| recording::size(&layout.root().join(f)))
        .sum();
    Usage {
        database,
        recordings: below(&layout.recordings(), 2),
        journals: below(&layout.journals(), 2),
        artifacts: below(&layout.artifacts(), 2),
    }
}

fn below(dir: &Path, depth: u32) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(m) if m.is_dir() && depth > 0 => below(&entry.path(), depth - 1),
            Ok(m) => m.len(),
            Err(_) => 0,
        })
        .sum()
}

/// What a round of keeping did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// Sessions that went for their age.
    pub aged: u64,
    /// Sessions that went for want of space.
    pub evicted: u64,
    /// Sessions whose source became a pseudonym.
    pub pseudonymised: u64,
}

/// How many sessions one transaction removes, so that the writer is never away for long.
const GROUP: usize = 200;

impl Writer {
    /// Removes closed sessions that are too old, then the oldest until the record fits; replaces old addresses by pseudonyms.
    /// Whole sessions go: events, search, recording, artifacts that no other session brought, and the journal of a world that has
    /// no session left.
    pub fn keep_within(&mut self, quota: &Quota, key: &InstallKey, now: Time) -> Result<Kept> {
        let mut kept = Kept::default();
        if let Some(age) = quota.age {
            loop {
                let old = self.closed_before(now.plus_nanos(-age), GROUP)?;
                if old.is_empty() {
                    break;
                }
                kept.aged += old.len() as u64;
                self.remove_sessions(&old)?;
            }
            self.database().execute(
                "DELETE FROM event WHERE session IS NULL AND time < ?1",
                [now.plus_nanos(-age).0],
            )?;
        }
        let mut total = usage(self.layout()).total();
        while total > quota.bytes {
            let oldest = self.closed_before(Time(i64::MAX), GROUP.min(20))?;
            if oldest.is_empty() {
                break;
            }
            kept.evicted += oldest.len() as u64;
            self.remove_sessions(&oldest)?;
            self.shrink()?;
            total = usage(self.layout()).total();
        }
        if let Some(age) = quota.pseudonymise {
            kept.pseudonymised = self.pseudonymise_before(now.plus_nanos(-age), key)?;
        }
        Ok(kept)
    }

    /// Removes everything of a source: sessions, events, recordings, artifacts that only it brought. Open sessions of it stay
    /// until they are closed; how many is the second number.
    pub fn forget(&mut self, source: &Source) -> Result<(u64, u64)> {
        let mut addresses: Vec<String> = Vec::new();
        {
            let mut query = self.database().prepare(
                "SELECT DISTINCT src_ip FROM session WHERE src_ip IS NOT NULL UNION SELECT DISTINCT src_ip FROM event WHERE src_ip IS NOT NULL",
            )?;
            for row in query.query_map([], |r| r.get::<_, String>(0))? {
                let text = row?;
                if text.parse::<IpAddr>().is_ok_and(|a| source.contains(a)) {
                    addresses.push(text);
                }
            }
        }
        let (mut gone, mut open) = (0, 0);
        for address in addresses {
            loop {
                let sessions = ids(
                    self.database(),
                    "SELECT id, uuid FROM session WHERE src_ip = ?1 AND closed IS NOT NULL LIMIT 200",
                    params![address],
                )?;
                if sessions.is_empty() {
                    break;
                }
                gone += sessions.len() as u64;
                self.remove_sessions(&sessions)?;
            }
            let db = self.database();
            db.execute("INSERT INTO typed(typed) VALUES ('optimize')", [])?;
            db.execute("DELETE FROM typed WHERE rowid IN (SELECT seq FROM event WHERE session IS NULL AND src_ip = ?1)", [&address])?;
            db.execute(
                "DELETE FROM event WHERE session IS NULL AND src_ip = ?1",
                [&address],
            )?;
            open += db.query_row(
                "SELECT count(*) FROM session WHERE src_ip = ?1",
                [&address],
                |r| r.get::<_, u64>(0),
            )?;
        }
        self.shrink()?;
        Ok((gone, open))
    }

    /// Replaces the address of sources whose sessions were closed before `time` by a keyed hash.
    fn pseudonymise_before(&mut self, time: Time, key: &InstallKey) -> Result<u64> {
        let mut rows: Vec<(i64, String)> = Vec::new();
        {
            let mut query = self.database().prepare(
                "SELECT id, src_ip FROM session WHERE closed < ?1 AND src_ip IS NOT NULL AND src_ip NOT LIKE '2001:db8:%'",
            )?;
            for row in query.query_map([time.0], |r| Ok((r.get(0)?, r.get(1)?)))? {
                rows.push(row?);
            }
        }
        for group in rows.chunks(GROUP) {
            let transaction = self.database().transaction()?;
            for (id, address) in group {
                if let Ok(address) = address.parse() {
                    transaction
                        .prepare_cached("UPDATE session SET src_ip = ?2, src_port = NULL WHERE id = ?1")?
                        .execute(params![id, key.pseudonym(address).to_string()])?;
                }
            }
            transaction.commit()?;
            self.remove_journals(group)?;
        }
        Ok(rows.len() as u64)
    }

    /// Removes the journals of worlds that one of these sessions was in: the source's address is in them.
    fn remove_journals(&mut self, sessions: &[(i64, String)]) -> Result<()> {
        let layout = self.layout().clone();
        for (id, _) in sessions {
            let world: Option<String> = self
                .database()
                .prepare_cached("SELECT world FROM session WHERE id = ?1 AND world IS NOT NULL")?
                .query_row([id], |r| r.get(0))
                .optional()?;
            if let Some(world) = world.and_then(|w| w.parse().ok()) {
                journal::remove(&layout, world)?;
                self.keep_world(world, "")?;
            }
        }
        Ok(())
    }

    fn closed_before(&mut self, time: Time, limit: usize) -> Result<Vec<(i64, SessionId)>> {
        ids(
            self.database(),
            "SELECT id, uuid FROM session WHERE closed < ?1 ORDER BY opened LIMIT ?2",
            params![time.0, limit],
        )
    }

    fn remove_sessions(&mut self, sessions: &[(i64, SessionId)]) -> Result<()> {
        let layout = self.layout().clone();
        let mut orphans: Vec<String> = Vec::new();
        let mut worlds: BTreeSet<String> = BTreeSet::new();
        let last = self.last_seq();
        let transaction = self.database().transaction()?;
        transaction.execute(
            "INSERT OR REPLACE INTO meta (name, value) VALUES ('last_seq', ?1)",
            [last.to_string()],
        )?;
        for (id, _) in sessions {
            transaction
                .prepare_cached(
                    "DELETE FROM typed WHERE rowid IN (SELECT seq FROM event WHERE session = ?1)",
                )?
                .execute([id])?;
            transaction
                .prepare_cached("DELETE FROM event WHERE session = ?1")?
                .execute([id])?;
            {
                let mut query = transaction.prepare_cached(
                    "SELECT sha256 FROM brought b WHERE session = ?1 \
                     AND NOT EXISTS (SELECT 1 FROM brought o WHERE o.sha256 = b.sha256 AND o.session != ?1)",
                )?;
                for row in query.query_map([id], |r| r.get::<_, String>(0))? {
                    orphans.push(row?);
                }
            }
            transaction
                .prepare_cached("DELETE FROM brought WHERE session = ?1")?
                .execute([id])?;
            worlds.extend(
                transaction
                    .prepare_cached("SELECT world FROM session WHERE id = ?1 AND world IS NOT NULL")?
                    .query_row([id], |r| r.get::<_, String>(0))
                    .optional()?,
            );
            transaction
                .prepare_cached("DELETE FROM session WHERE id = ?1")?
                .execute([id])?;
        }
        let mut empty: Vec<String> = Vec::new();
        for world in worlds {
            let more: bool = transaction
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM session WHERE world = ?1)")?
                .query_row([&world], |r| r.get(0))?;
            if !more {
                empty.push(world);
            }
        }
        for sha in &orphans {
            transaction
                .prepare_cached("DELETE FROM artifact WHERE sha256 = ?1")?
                .execute([sha])?;
        }
        transaction.commit()?;
        // Files last: should this be interrupted, a file too many stays, never a row without its file.
        for (_, session) in sessions {
            recording::remove(&layout, *session)?;
        }
        for world in empty {
            if let Ok(world) = world.parse() {
                journal::remove(&layout, world)?;
                self.keep_world(world, "")?;
            }
        }
        for sha in orphans {
            if let Ok(sha) = sha.parse::<Sha256>() {
                let _ = fs::remove_file(layout.artifact(sha));
            }
        }
        Ok(())
    }

    /// Gives the space of removed rows back to the file system, as far as it can be done while running.
    fn shrink(&mut self) -> Result<()> {
        let db = self.database();
        let free: u64 = db.pragma_query_value(None, "freelist_count", |r| r.get(0))?;
        if free > 0 {
            let _ = db.execute_batch("PRAGMA incremental_vacuum");
        }
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }
}

fn ids(db: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<Vec<(i64, SessionId)>> {
    let mut query = db.prepare_cached(sql)?;
    let mut found = Vec::new();
    for row in query.query_map(values, |r| Ok((r.get::<_, i64>(0)?, r.get::<_, String>(1)?)))? {
        let (id, uuid) = row?;
        if let Ok(session) = uuid.parse() {
            found.push((id, session));
        }
    }
    Ok(found)
}

/// Copies the record to an empty directory while it may be written: the database as of one moment, then recordings, journals and artifacts.
/// Images are left out (they can be built again); the seed is in it.
pub fn backup(layout: &Layout, to: &Path) -> Result<Usage> {
    if to.exists() && fs::read_dir(to).map_err(StoreError::io(to))?.next().is_some() {
        return Err(StoreError::Refused(format!(
            "{} is not empty: a backup wants a directory of its own",
            to.display()
        )));
    }
    let target = Layout::new(to);
    make_private(to)?;
    let from = Connection::open_with_flags(layout.database(), rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    from.busy_timeout(std::time::Duration::from_secs(10))?;
    let mut copy = Connection::open(target.database())?;
    {
        let backup = rusqlite::backup::Backup::new(&from, &mut copy)?;
        // One step: a consistent copy under one read transaction, which the writer does not wait for.
        loop {
            use rusqlite::backup::StepResult;
            match backup.step(-1)? {
                StepResult::Done => break,
                _ => std::thread::sleep(std::time::Duration::from_millis(20)),
            }
        }
    }
    // Recordings of sessions in the copy, whatever form they have by now; artifacts by their rows.
    let sessions = ids(&copy, "SELECT id, uuid FROM session WHERE recorded > 0", [])?;
    for (_, session) in sessions {
        // It may be compressed while we look: then the second form is there.
        for _ in 0..2 {
            if copy_file(
                &layout.recording_closed(session),
                &target.recording_closed(session),
            )? || copy_file(&layout.recording(session), &target.recording(session))?
            {
                break;
            }
        }
    }
    let mut worlds: Vec<WorldId> = Vec::new();
    {
        let mut query = copy.prepare("SELECT DISTINCT world FROM session WHERE world IS NOT NULL")?;
        for row in query.query_map([], |r| r.get::<_, String>(0))? {
            worlds.extend(row?.parse::<WorldId>());
        }
    }
    for world in worlds {
        for _ in 0..2 {
            if copy_file(&layout.journal_closed(world), &target.journal_closed(world))?
                || copy_file(&layout.journal(world), &target.journal(world))?
            {
                break;
            }
        }
    }
    let mut artifacts: Vec<String> = Vec::new();
    {
        let mut query = copy.prepare("SELECT sha256 FROM artifact")?;
        for row in query.query_map([], |r| r.get(0))? {
            artifacts.push(row?);
        }
    }
    for sha in artifacts {
        if let Ok(sha) = sha.parse::<Sha256>() {
            copy_file(&layout.artifact(sha), &target.artifact(sha))?;
        }
    }
    copy_file(&layout.seed(), &target.seed())?;
    drop(copy);
    Ok(usage(&target))
}

fn copy_file(from: &Path, to: &Path) -> Result<bool> {
    if let Some(dir) = to.parent() {
        make_private(dir)?;
    }
    match fs::copy(from, to) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(StoreError::Io {
            path: from.to_owned(),
            source,
        }),
    }
}

/// Brings a backup into a data directory that has no record. The backup stays as it is.
pub fn restore(from: &Path, layout: &Layout) -> Result<Usage> {
    let source = Layout::new(from);
    if !source.database().exists() {
        return Err(StoreError::Refused(format!(
            "{} holds no backup (there is no record.db)",
            from.display()
        )));
    }
    if layout.database().exists() {
        return Err(StoreError::Refused(format!(
            "{} already has a record: move it away first, or restore into another directory with --data",
            layout.root().display()
        )));
    }
    {
        let db = Connection::open_with_flags(source.database(), rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let (found, known) = (migrate::found(&db)?, migrate::version());
        if found > known {
            return Err(StoreError::Newer { found, known });
        }
        let said: String = db.query_row("PRAGMA quick_check(1)", [], |r| r.get(0))?;
        if said != "ok" {
            return Err(StoreError::Damaged(format!("the backup's database: {said}")));
        }
    }
    layout.create()?;
    for (a, b) in [
        (source.recordings(), layout.recordings()),
        (source.journals(), layout.journals()),
        (source.artifacts(), layout.artifacts()),
    ] {
        let Ok(shards) = fs::read_dir(&a) else { continue };
        for shard in shards.flatten() {
            let Ok(files) = fs::read_dir(shard.path()) else {
                continue;
            };
            for file in files.flatten() {
                copy_file(&file.path(), &b.join(shard.file_name()).join(file.file_name()))?;
            }
        }
    }
    copy_file(&source.seed(), &layout.seed())?;
    // The database last: with it, the restored record is there.
    let part = layout.root().join("record.db.part");
    copy_file(&source.database(), &part)?;
    fs::rename(&part, layout.database()).map_err(StoreError::io(&part))?;
    Ok(usage(layout))
}
