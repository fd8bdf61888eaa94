//! Worlds that outlive the process that runs them: what is known of each, its journal as far as it is committed, and its disk.
//!
//! The disk is a file beside the journal, written anew as a whole, and so is each checkpoint. They go together ([`crate::journal`]).

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

/// Checkpoints of one world that are kept at most.
const CHECKPOINTS: usize = 64;

/// The checkpoints in a world's journal: the byte that each stands at, and where it lies, in order.
pub fn checkpoints(layout: &Layout, world: WorldId) -> Vec<(u64, PathBuf)> {
    let journal = layout.journal(world);
    let (Some(dir), Some(name)) = (journal.parent(), journal.file_stem().and_then(|n| n.to_str())) else {
        return Vec::new();
    };
    let mut found: Vec<(u64, PathBuf)> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| {
            let file = e.file_name();
            let at = file.to_str()?.strip_prefix(name)?.strip_prefix('.')?;
            let at = at.strip_suffix(".checkpoint")?.parse().ok()?;
            Some((at, e.path()))
        })
        .collect();
    found.sort_unstable();
    found
}

/// Where a checkpoint lies that stands at byte `at` of a world's journal.
fn checkpoint_at(layout: &Layout, world: WorldId, at: u64) -> PathBuf {
    layout
        .journal(world)
        .with_extension(format!("{at:012}.checkpoint"))
}

/// A checkpoint as it lies there.
///
/// # Errors
/// What the disk says.
pub fn checkpoint(path: &std::path::Path) -> Result<Vec<u8>> {
    read_whole(path).map_err(StoreError::io(path))
}

/// Reads what [`write_whole`] wrote.
fn read_whole(path: &std::path::Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(DISK_MAX as u64)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

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
        write_whole(&disk(self.layout(), world), bytes, false)
    }

    /// Remembers a checkpoint that stands at byte `at` of a world's journal. Where all of them are more than `most` bytes, the oldest
    /// go; one that is more by itself is not kept.
    pub fn keep_checkpoint(&mut self, world: WorldId, at: u64, bytes: &[u8], most: u64) -> Result<()> {
        let layout = self.layout().clone();
        // Without a journal (its last session was forgotten meanwhile) it is worth nothing.
        if bytes.len() as u64 > most || !layout.journal(world).exists() {
            return Ok(());
        }
        let path = checkpoint_at(&layout, world, at);
        write_whole(&path, bytes, false)?;
        let there = checkpoints(&layout, world);
        let mut room = most;
        for (n, (_, path)) in there.iter().rev().enumerate() {
            let size = fs::metadata(path).map_or(0, |m| m.len());
            match room.checked_sub(size).filter(|_| n < CHECKPOINTS) {
                Some(left) => room = left,
                None => {
                    room = 0;
                    remove(path)?;
                }
            }
        }
        Ok(())
    }

    /// Drops what lies in a world's journal before byte `from`, puts `head` in its place, and with it goes every checkpoint but this
    /// one, which stands at the end of `head` then. Everything that was written to the journal has to be committed. Does nothing
    /// where the journal has no such byte: then its head stays, and nothing is lost.
    ///
    /// # Errors
    /// What the disk says. Whatever is there then can be read: a checkpoint that does not fit its journal is passed over.
    pub fn cut_journal(&mut self, world: WorldId, from: u64, head: &[u8], checkpoint: &[u8]) -> Result<()> {
        let layout = self.layout().clone();
        let path = layout.journal(world);
        // One that is over is not written on.
        if !path.exists() {
            return Ok(());
        }
        let before = journal::read(&layout, world)?.unwrap_or_default();
        let Some(tail) = usize::try_from(from).ok().and_then(|from| before.get(from..)) else {
            return Ok(());
        };
        let whole = [head, tail].concat();
        let point = checkpoint_at(&layout, world, head.len() as u64);
        write_whole(&point, checkpoint, self.syncs())?;
        for (_, other) in checkpoints(&layout, world).iter().filter(|c| c.1 != point) {
            remove(other)?;
        }
        // Whoever appends to it finds the new one.
        self.journals().end(world);
        write_whole(&path, &whole, self.syncs())?;
        self.database()
            .prepare_cached("UPDATE world SET journal = ?2 WHERE uuid = ?1")?
            .execute(params![world.to_string(), whole.len() as u64])?;
        Ok(())
    }
}

/// Writes a file anew as a whole; with `sync` it is on the disk before it takes the place of the one before.
fn write_whole(path: &std::path::Path, bytes: &[u8], sync: bool) -> Result<()> {
    let fresh = path.with_extension("new");
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
        if sync {
            file.sync_data()?;
        }
        fs::rename(&fresh, path)
    };
    write().map_err(StoreError::io(path))
}

impl Writer {
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
            // The journal will go on otherwise there.
            for (_, path) in checkpoints(&layout, world).iter().filter(|c| c.0 > committed) {
                remove(path)?;
            }
            kept.push((world, said));
        }
        Ok(kept)
    }

    /// A world's journal as far as it is committed, its disk, and the newest checkpoint in the journal; empty where there is none.
    pub fn stored_world(&mut self, world: WorldId) -> Result<(Vec<u8>, Vec<u8>, Vec<u8>)> {
        let committed: Option<u64> = self
            .database()
            .prepare_cached("SELECT journal FROM world WHERE uuid = ?1")?
            .query_row([world.to_string()], |r| r.get(0))
            .optional()?;
        let mut bytes = journal::read(self.layout(), world)?.unwrap_or_default();
        bytes.truncate(usize::try_from(committed.unwrap_or(0)).unwrap_or(usize::MAX));
        let path = disk(self.layout(), world);
        let image = match read_whole(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(StoreError::io(&path))?,
        };
        let newest = checkpoints(self.layout(), world)
            .into_iter()
            .rfind(|(at, _)| *at <= bytes.len() as u64);
        let point = newest.map(|(_, path)| checkpoint(&path)).transpose()?;
        Ok((bytes, image, point.unwrap_or_default()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Durability, InstallKey};
    use turncoat_event::record::Journal;
    use turncoat_event::{Item, Time};

    #[test]
    fn checkpoints_are_bounded_and_go_with_the_journal() {
        let dir = std::env::temp_dir().join(format!("turncoat-checkpoints-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let layout = Layout::new(&dir);
        let key = InstallKey::derive(&[7; 32], "test");
        let sensor = "test".parse().expect("a name");
        let mut writer = Writer::open(&layout, &sensor, key, Durability::Process).expect("a record");
        let world = WorldId::new(Time(0), [4; 10]);
        let there = |layout: &Layout| -> Vec<u64> {
            let all = checkpoints(layout, world).into_iter();
            all.map(|(at, _)| at).collect()
        };
        let keep = |writer: &mut Writer, at, bytes: &[u8]| {
            writer
                .keep_checkpoint(world, at, bytes, 100)
                .expect("it is written");
        };
        keep(&mut writer, 1, &[1; 10]);
        assert!(there(&layout).is_empty(), "there is no journal");
        let piece = Journal {
            world,
            bytes: vec![0; 1_000],
            last: false,
        };
        writer.append(&[Item::Journal(piece)]).expect("it is recorded");
        writer.keep_world(world, "{}").expect("it is remembered");
        for at in [10, 200, 999] {
            keep(&mut writer, at, &[at as u8; 40]);
        }
        assert_eq!(there(&layout), [200, 999], "the oldest goes");
        keep(&mut writer, 1_000, &[1; 101]);
        assert_eq!(there(&layout), [200, 999], "one that is too large is not kept");
        // Behind what is committed none is of use: nobody saw what led there.
        keep(&mut writer, 1_001, &[3; 10]);
        assert_eq!(
            writer.stored_world(world).expect("it is read").2,
            [999u64 as u8; 40]
        );
        assert_eq!(writer.kept_worlds().expect("they are read").len(), 1);
        assert_eq!(there(&layout), [200, 999]);
        // Cut at a byte that it does not have: nothing happens.
        writer
            .cut_journal(world, 1_001, b"head", b"point")
            .expect("it is no error");
        assert_eq!(there(&layout), [200, 999]);
        writer
            .cut_journal(world, 990, b"head", b"point")
            .expect("it is cut");
        let cut = [&b"head"[..], &[0; 10]].concat();
        let stored = writer.stored_world(world).expect("it is read");
        assert_eq!((stored.0, stored.2), (cut.clone(), b"point".to_vec()));
        assert_eq!(there(&layout), [4]);
        // It grows on there.
        let more = Journal {
            world,
            bytes: b"more".to_vec(),
            last: false,
        };
        writer.append(&[Item::Journal(more)]).expect("it is recorded");
        let grown = [&cut[..], b"more"].concat();
        assert_eq!(writer.stored_world(world).expect("it is read").0, grown);
        assert_eq!(writer.kept_worlds().expect("they are read").len(), 1);
        assert_eq!(writer.stored_world(world).expect("it is read").0, grown);
        journal::remove(&layout, world).expect("it goes");
        assert!(there(&layout).is_empty());
        assert_eq!(
            writer.stored_world(world).expect("it is read"),
            Default::default()
        );
        let _ = fs::remove_dir_all(&dir);
    }
}
