//! Journals of worlds: what came into each of them, in the bytes that the decoys wrote.
//!
//! A journal lies raw while its world lives and is compressed (gzip) when that is over. It goes with the last session of its
//! world, and when a source becomes a pseudonym: what the source typed and where it came from is in it.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use flate2::read::GzDecoder;
use turncoat_event::WorldId;
use turncoat_event::record::Journal;

use crate::{Layout, Result, StoreError, recording};

/// Journals whose files are kept open.
const OPEN_FILES: usize = 128;
/// The longest journal that is read, in bytes before compression.
const LONGEST: u64 = 1 << 30;

struct Kept {
    file: File,
    length: u64,
    used: u64,
}

/// The journals that are being written.
#[derive(Default)]
pub(crate) struct Journals {
    open: HashMap<WorldId, Kept>,
}

impl Journals {
    /// Appends a piece. Gives the length that the file had before, for [`Journals::cut`]. `now` counts batches.
    pub fn append(&mut self, layout: &Layout, piece: &Journal, sync: bool, now: u64) -> Result<u64> {
        let path = layout.journal(piece.world);
        if !self.open.contains_key(&piece.world) {
            if self.open.len() >= OPEN_FILES {
                let mut ages: Vec<(u64, WorldId)> = self.open.iter().map(|(id, k)| (k.used, *id)).collect();
                ages.sort_unstable();
                for (_, id) in ages.iter().take(OPEN_FILES / 2).filter(|(used, _)| *used != now) {
                    self.open.remove(id);
                }
            }
            if let Some(dir) = path.parent() {
                crate::layout::make_private(dir)?;
            }
            let file = {
                use std::os::unix::fs::OpenOptionsExt;
                OpenOptions::new()
                    .create(true)
                    .append(true)
                    .mode(0o600)
                    .open(&path)
                    .map_err(StoreError::io(&path))?
            };
            let length = file.metadata().map_err(StoreError::io(&path))?.len();
            let kept = Kept {
                file,
                length,
                used: now,
            };
            self.open.insert(piece.world, kept);
        }
        let Some(kept) = self.open.get_mut(&piece.world) else {
            return Ok(0);
        };
        let before = kept.length;
        kept.used = now;
        kept.file.write_all(&piece.bytes).map_err(StoreError::io(&path))?;
        kept.length += piece.bytes.len() as u64;
        if sync {
            kept.file.sync_data().map_err(StoreError::io(&path))?;
        }
        Ok(before)
    }

    /// Takes back what a batch that failed has written.
    pub fn cut(&mut self, world: WorldId, length: u64) {
        if let Some(kept) = self.open.get_mut(&world)
            && kept.file.set_len(length).is_ok()
        {
            kept.length = length;
        } else {
            self.open.remove(&world);
        }
    }

    /// Nothing more comes for this world.
    pub fn end(&mut self, world: WorldId) {
        self.open.remove(&world);
    }

    /// Nothing more comes for any world.
    pub fn end_all(&mut self) {
        self.open.clear();
    }
}

/// Compresses the journal of a world that is over. Does nothing when there is no raw file.
pub fn compress(layout: &Layout, world: WorldId) -> Result<()> {
    recording::pack(&layout.journal(world), &layout.journal_closed(world))
}

/// Worlds whose journals lie raw: those that live, or what an earlier run left.
pub fn raw(layout: &Layout) -> Vec<WorldId> {
    let entries = |dir: &Path| {
        fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
    };
    entries(&layout.journals())
        .flat_map(|shard| entries(&shard).collect::<Vec<_>>())
        .filter(|path| path.extension().is_some_and(|e| e == "raw"))
        .filter_map(|path| path.file_stem()?.to_str()?.parse().ok())
        .collect()
}

/// A world's journal as far as it was written; `None` where there is none.
///
/// # Errors
/// What the disk says; a journal longer than any that is written.
pub fn read(layout: &Layout, world: WorldId) -> Result<Option<Vec<u8>>> {
    // It may be compressed between the two looks: then the second look finds it.
    for path in [
        layout.journal(world),
        layout.journal_closed(world),
        layout.journal(world),
    ] {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => return Err(StoreError::Io { path, source }),
        };
        let mut bytes = Vec::new();
        let packed = path.extension().is_some_and(|e| e == "gz");
        let read = if packed {
            GzDecoder::new(file).take(LONGEST).read_to_end(&mut bytes)
        } else {
            file.take(LONGEST).read_to_end(&mut bytes)
        };
        read.map_err(StoreError::io(&path))?;
        return Ok(Some(bytes));
    }
    Ok(None)
}

/// Removes a world's journal, its checkpoints, and its disk.
pub(crate) fn remove(layout: &Layout, world: WorldId) -> Result<()> {
    for path in [
        layout.journal(world),
        layout.journal_closed(world),
        crate::world::disk(layout, world),
    ] {
        crate::world::remove(&path)?;
    }
    for (_, path) in crate::world::checkpoints(layout, world) {
        crate::world::remove(&path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use turncoat_event::Time;

    #[test]
    fn a_journal_grows_is_compressed_and_goes() {
        let dir = std::env::temp_dir().join(format!("turncoat-journal-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let layout = Layout::new(&dir);
        let world = WorldId::new(Time(0), [4; 10]);
        let piece = |bytes: &[u8]| Journal {
            world,
            bytes: bytes.to_vec(),
            last: false,
        };
        let mut j = Journals::default();
        assert_eq!(j.append(&layout, &piece(b"one"), false, 1).unwrap(), 0);
        let before = j.append(&layout, &piece(b"lost"), false, 2).unwrap();
        j.cut(world, before);
        j.end(world);
        j.append(&layout, &piece(b"two"), true, 3).unwrap();
        assert_eq!(read(&layout, world).unwrap().unwrap(), b"onetwo");
        assert_eq!(raw(&layout), vec![world]);
        j.end_all();
        compress(&layout, world).unwrap();
        assert!(raw(&layout).is_empty());
        assert_eq!(read(&layout, world).unwrap().unwrap(), b"onetwo");
        remove(&layout, world).unwrap();
        assert!(read(&layout, world).unwrap().is_none());
        let _ = std::fs::remove_dir_all(&dir);
    }
}
