//! Worlds that outlive the process that runs them: what is known of each, its journal as far as it is committed, and its disk.
//!
//! The disk is a file beside the journal, written anew as a whole. Journal and disk go together ([`crate::journal`]).

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;

use rusqlite::{OptionalExtension, params};
use turncoat_event::WorldId;

use crate::writer::Writer;
use crate::{Layout, Result, StoreError, journal};

/// The longest disk that is kept, in bytes.
pub const DISK_MAX: usize = 128 << 20;

/// Where a world's disk lies.
pub(crate) fn disk(layout: &Layout, world: WorldId) -> PathBuf {
    layout.journal(world).with_extension("disk")
}

impl Writer {
    /// Remembers what the decoys want to know of a world; empty: nobody will ask for it again, and its disk goes.
    pub fn keep_world(&mut self, world: WorldId, kept: &str) -> Result<()> {
        let uuid = world.to_string();
        if kept.is_empty() {
            self.database()
                .prepare_cached("DELETE FROM world WHERE uuid = ?1")?
                .execute([uuid])?;
            return remove(&disk(self.layout(), world));
        }
        self.database()
            .prepare_cached(
                "INSERT INTO world (uuid, kept) VALUES (?1, ?2) ON CONFLICT (uuid) DO UPDATE SET kept = excluded.kept",
            )?
            .execute(params![uuid, kept])?;
        Ok(())
    }

    /// Remembers a world's disk in place of the one before.
    pub fn keep_disk(&mut self, world: WorldId, bytes: &[u8]) -> Result<()> {
        let path = disk(self.layout(), world);
        let fresh = path.with_extension("disk.new");
        if let Some(dir) = path.parent() {
            crate::layout::make_private(dir)?;
        }
        let write = || {
            use std::os::unix::fs::OpenOptionsExt;
            let mut file = fs::OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&fresh)?;
            file.write_all(bytes)?;
            fs::rename(&fresh, &path)
        };
        write().map_err(StoreError::io(&path))
    }

    /// Worlds that are remembered, and what of each. What their journals hold beyond what is committed is cut off: it was never
    /// answered. To be called while nobody writes journals.
    pub fn kept_worlds(&mut self) -> Result<Vec<(WorldId, String)>> {
        let rows: Vec<(String, u64, Option<String>)> = self
            .database()
            .prepare("SELECT uuid, journal, kept FROM world")?
            .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let layout = self.layout().clone();
        let mut kept = Vec::new();
        for (uuid, committed, said) in rows {
            let Ok(world) = uuid.parse::<WorldId>() else {
                continue;
            };
            let (raw, packed) = (layout.journal(world), layout.journal_closed(world));
            let there = raw.exists() || packed.exists() || disk(&layout, world).exists();
            // Its last session was forgotten, and with it the world.
            let Some(said) = said.filter(|_| there) else {
                self.database()
                    .execute("DELETE FROM world WHERE uuid = ?1", [uuid])?;
                continue;
            };
            if let Ok(file) = fs::OpenOptions::new().write(true).open(&raw)
                && file.metadata().is_ok_and(|m| m.len() > committed)
            {
                file.set_len(committed).map_err(StoreError::io(&raw))?;
            }
            kept.push((world, said));
        }
        Ok(kept)
    }

    /// A world's journal as far as it is committed, and its disk; empty where there is none.
    pub fn stored_world(&mut self, world: WorldId) -> Result<(Vec<u8>, Vec<u8>)> {
        let committed: Option<u64> = self
            .database()
            .prepare_cached("SELECT journal FROM world WHERE uuid = ?1")?
            .query_row([world.to_string()], |r| r.get(0))
            .optional()?;
        let mut bytes = journal::read(self.layout(), world)?.unwrap_or_default();
        bytes.truncate(usize::try_from(committed.unwrap_or(0)).unwrap_or(usize::MAX));
        let path = disk(self.layout(), world);
        let mut image = Vec::new();
        match fs::File::open(&path) {
            Ok(file) => {
                file.take(DISK_MAX as u64)
                    .read_to_end(&mut image)
                    .map_err(StoreError::io(&path))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(StoreError::Io { path, source }),
        }
        Ok((bytes, image))
    }

    /// Worlds whose journals will be written on.
    pub(crate) fn living(&mut self) -> Result<BTreeSet<String>> {
        Ok(self
            .database()
            .prepare("SELECT uuid FROM world WHERE kept IS NOT NULL")?
            .query_map([], |r| r.get(0))?
            .collect::<rusqlite::Result<_>>()?)
    }
}

/// Removes a file that may not be there.
pub(crate) fn remove(path: &std::path::Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StoreError::Io {
            path: path.to_owned(),
            source: error,
        }),
        _ => Ok(()),
    }
}
