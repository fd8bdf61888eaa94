//! The pages of an image in memory: bounded, checked, shared by all worlds and threads.
//!
//! Two stages. A page that somebody asked for stays, as the [`PageRef`] that was given out, until the bound is reached and the
//! clock hand finds it unused since its last round. Behind it a few unpacked chunks are kept, because neighbours of a page are
//! asked for next. Nothing here decides what a world sees: a page that is gone is read again and has the same bytes.
//!
//! Locks: one for each of 16 shards of the pages, one for the chunks; none is held while another is taken or the file is read.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use super::format::{CHUNK_PAGES, Chunk, HOLE};
use super::{ImageError, PAGE, PageRef};

const SHARDS: usize = 16;
/// Unpacked chunks that are kept: 4 MiB.
const CHUNKS_KEPT: usize = 64;

/// Counters of a page cache since the image was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Pages given out of the cache.
    pub hits: u64,
    /// Pages that had to be unpacked.
    pub misses: u64,
    /// Chunks that were read from the file and checked.
    pub chunk_reads: u64,
    /// Pages in the cache now.
    pub pages: u64,
    /// Pages that the cache may hold.
    pub limit: u64,
}

struct Slot {
    number: u32,
    used: bool,
    page: PageRef,
}

#[derive(Default)]
struct Shard {
    index: HashMap<u32, usize>,
    slots: Vec<Slot>,
    hand: usize,
}

impl Shard {
    fn find(&mut self, number: u32) -> Option<PageRef> {
        let slot = self.slots.get_mut(*self.index.get(&number)?)?;
        slot.used = true;
        Some(slot.page.clone())
    }

    /// Keeps a page; if another thread was first, its page is the one that counts.
    fn keep(&mut self, number: u32, page: PageRef, limit: usize) -> PageRef {
        if let Some(first) = self.find(number) {
            return first;
        }
        let slot = Slot {
            number,
            used: false,
            page: page.clone(),
        };
        if self.slots.len() < limit {
            self.index.insert(number, self.slots.len());
            self.slots.push(slot);
            return page;
        }
        // Two rounds at most: the first takes every mark away.
        for _ in 0..=2 * self.slots.len() {
            self.hand = (self.hand + 1) % self.slots.len().max(1);
            let Some(old) = self.slots.get_mut(self.hand) else {
                break;
            };
            if !std::mem::take(&mut old.used) {
                self.index.remove(&old.number);
                self.index.insert(number, self.hand);
                *old = slot;
                break;
            }
        }
        page
    }
}

struct Kept {
    chunk: u32,
    stamp: u64,
    raw: Arc<[u8]>,
}

#[derive(Default)]
struct ChunkCache {
    kept: Vec<Kept>,
    clock: u64,
}

/// All pages of one image.
pub(super) struct Pages {
    file: File,
    chunks: Box<[Chunk]>,
    shards: [Mutex<Shard>; SHARDS],
    recent: Mutex<ChunkCache>,
    shard_limit: usize,
    zero: PageRef,
    hits: AtomicU64,
    misses: AtomicU64,
    chunk_reads: AtomicU64,
}

/// A panic elsewhere leaves the maps whole: every change to them is complete before anything can fail.
fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pages {
    pub fn new(file: File, chunks: Box<[Chunk]>, bytes: usize) -> Pages {
        Pages {
            file,
            chunks,
            shards: Default::default(),
            recent: Mutex::default(),
            shard_limit: (bytes / PAGE / SHARDS).max(1),
            zero: PageRef::zeroed(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            chunk_reads: AtomicU64::new(0),
        }
    }

    pub fn chunk_count(&self) -> u32 {
        self.chunks.len() as u32
    }

    /// The page of this number.
    pub fn page(&self, number: u32) -> Result<PageRef, ImageError> {
        if number == HOLE {
            return Ok(self.zero.clone());
        }
        let Some(shard) = self.shards.get(number as usize % SHARDS) else {
            return Err(ImageError::Corrupt("page number"));
        };
        if let Some(found) = lock(shard).find(number) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(found);
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let raw = self.chunk(number / CHUNK_PAGES)?;
        let at = (number % CHUNK_PAGES) as usize * PAGE;
        let bytes = raw.get(at..at + PAGE).ok_or(ImageError::Corrupt("page number"))?;
        let page = PageRef::from_slice(bytes);
        Ok(lock(shard).keep(number, page, self.shard_limit))
    }

    fn chunk(&self, chunk: u32) -> Result<Arc<[u8]>, ImageError> {
        {
            let mut recent = lock(&self.recent);
            recent.clock += 1;
            let stamp = recent.clock;
            if let Some(kept) = recent.kept.iter_mut().find(|k| k.chunk == chunk) {
                kept.stamp = stamp;
                return Ok(kept.raw.clone());
            }
        }
        let raw: Arc<[u8]> = self.read_chunk(chunk)?.into();
        let mut recent = lock(&self.recent);
        let stamp = recent.clock;
        let new = Kept {
            chunk,
            stamp,
            raw: raw.clone(),
        };
        if recent.kept.len() < CHUNKS_KEPT {
            recent.kept.push(new);
        } else if let Some(oldest) = recent.kept.iter_mut().min_by_key(|k| k.stamp) {
            *oldest = new;
        }
        Ok(raw)
    }

    fn read_chunk(&self, chunk: u32) -> Result<Vec<u8>, ImageError> {
        self.chunk_reads.fetch_add(1, Ordering::Relaxed);
        let c = self
            .chunks
            .get(chunk as usize)
            .ok_or(ImageError::Corrupt("chunk number"))?;
        let mut stored = vec![0; c.stored as usize];
        self.file.read_exact_at(&mut stored, c.off)?;
        unpack(c, chunk, &stored)
    }

    /// Reads a chunk from the file and checks it, past the cache.
    pub fn check(&self, chunk: u32) -> Result<(), ImageError> {
        self.read_chunk(chunk).map(drop)
    }

    pub fn data_bytes(&self) -> (u64, u64) {
        let sum = |f: fn(&Chunk) -> u32| self.chunks.iter().map(|c| u64::from(f(c))).sum();
        (sum(|c| c.raw), sum(|c| c.stored))
    }

    pub fn stats(&self) -> CacheStats {
        CacheStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            chunk_reads: self.chunk_reads.load(Ordering::Relaxed),
            pages: self.shards.iter().map(|s| lock(s).slots.len() as u64).sum(),
            limit: (self.shard_limit * SHARDS) as u64,
        }
    }
}

/// The bytes of a chunk, if what was stored is what was written.
pub(super) fn unpack(c: &Chunk, index: u32, stored: &[u8]) -> Result<Vec<u8>, ImageError> {
    if <[u8; 32]>::from(Sha256::digest(stored)) != c.sha {
        return Err(ImageError::Hash {
            what: "chunk",
            index: u64::from(index),
        });
    }
    let mut raw = vec![0; c.raw as usize];
    match lz4_flex::block::decompress_into(stored, &mut raw) {
        Ok(n) if n == raw.len() => Ok(raw),
        _ => Err(ImageError::Corrupt("compressed chunk")),
    }
}
