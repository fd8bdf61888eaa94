//! Code decoded from one page: blocks by offset, published once, read without locks, freed with the page.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::op::Op;

/// Slots of a page's first table, and of its last: a page has at most half as many offsets.
const TABLE_MIN: u32 = 5;
const TABLE_MAX: u32 = 13;
/// Operations kept for one page: overlapping decodes of a hostile page stop being kept there.
const OPS_MAX: usize = 8 * 1024;
/// Bytes of decoded code in the whole process: beyond it new code runs without being kept, which only costs time.
const BYTES_MAX: usize = 1 << 30;

static BYTES: AtomicUsize = AtomicUsize::new(0);

/// Blocks by their offsets: open addressing, never more than half full. A block's first slot follows from its offset in such a way that
/// blocks that lie together in the page lie together here. Each slot is 0, or the address of the first operation with the offset in the upper 16
/// bits. Whoever makes one frees it.
#[derive(Clone, Copy)]
struct Table {
    slots: *const AtomicU64,
    log: u32,
}

impl Table {
    fn new(log: u32) -> Table {
        let slots: Box<[AtomicU64]> = (0..1usize << log).map(|_| AtomicU64::new(0)).collect();
        Table {
            slots: Box::into_raw(slots).cast(),
            log,
        }
    }

    /// In one word: where the slots are, with the logarithm of their number in the upper 16 bits.
    fn word(self) -> u64 {
        self.slots as u64 | u64::from(self.log) << 48
    }

    #[inline(always)]
    fn of(word: u64) -> Option<Table> {
        (word != 0).then_some(Table {
            slots: (word & ((1 << 48) - 1)) as *const AtomicU64,
            log: (word >> 48) as u32,
        })
    }

    /// # Safety
    ///
    /// The table was not freed.
    unsafe fn slots<'a>(self) -> &'a [AtomicU64] {
        // SAFETY: made with so many slots.
        unsafe { std::slice::from_raw_parts(self.slots, 1 << self.log) }
    }

    /// The slot of `off`, or the empty one where it belongs.
    ///
    /// # Safety
    ///
    /// The table was not freed.
    #[inline(always)]
    unsafe fn slot<'a>(self, off: usize) -> &'a AtomicU64 {
        let mut at = off << 1 >> (TABLE_MAX - self.log);
        loop {
            // SAFETY: inside the table.
            let slot = unsafe { &*self.slots.add(at & ((1 << self.log) - 1)) };
            let held = slot.load(Ordering::Acquire);
            if held == 0 || (held >> 48) as usize == off {
                return slot;
            }
            at += 1;
        }
    }
}

/// Blocks decoded from one page for one dispatcher.
pub(crate) struct PageCode {
    /// [`Table::word`] of the one in use, or 0.
    table: AtomicU64,
    made: Mutex<Made>,
}

/// Two operations, as they lie in one line of the processor's cache.
#[repr(C, align(64))]
struct Line([MaybeUninit<Op>; 2]);

/// Operations of the first chunk of a page; each that follows has twice as many, up to [`CHUNK_MAX`].
const CHUNK_MIN: usize = 16;
const CHUNK_MAX: usize = 256;

/// Blocks lie one behind the other in the order in which they were first run, which is about the order in which they run again.
#[derive(Default)]
struct Made {
    /// From `Box<[Line]>`, and how many lines each has.
    chunks: Vec<(*mut Line, usize)>,
    /// Operations in the last chunk that are taken.
    used: usize,
    /// Operations kept in all.
    ops: usize,
    /// Bytes of the chunks.
    bytes: usize,
    /// Blocks kept.
    blocks: usize,
    /// The last is the one in use, and somebody may still read in the others.
    tables: Vec<Table>,
}

impl Made {
    /// Puts a block behind the last one.
    fn keep(&mut self, block: Vec<Op>) -> *const Op {
        let n = block.len();
        let room = self.chunks.last().map_or(0, |c| 2 * c.1);
        if room - self.used < n {
            let lines = (2 * room).clamp(CHUNK_MIN, CHUNK_MAX).max(n).div_ceil(2);
            let chunk: Box<[Line]> = (0..lines)
                .map(|_| Line([MaybeUninit::uninit(), MaybeUninit::uninit()]))
                .collect();
            self.chunks.push((Box::into_raw(chunk).cast(), lines));
            self.bytes += lines * size_of::<Line>();
            BYTES.fetch_add(lines * size_of::<Line>(), Ordering::Relaxed);
            self.used = 0;
        }
        let (chunk, _) = self.chunks[self.chunks.len() - 1];
        // SAFETY: the chunk has room for `n` more behind those that are taken, and nobody reads there yet.
        let first = unsafe {
            let first = chunk.cast::<Op>().add(self.used);
            ptr::copy_nonoverlapping(block.as_ptr(), first, n);
            first
        };
        self.used += n;
        self.ops += n;
        first
    }
}

// `keep` copies operations, and frees them with their chunk.
const _: () = assert!(!std::mem::needs_drop::<Op>() && size_of::<Line>() == 2 * size_of::<Op>());

// SAFETY: operations are immutable once published except their atomic link, which only ever points into the same
// `PageCode`.
unsafe impl Send for PageCode {}
// SAFETY: as above; the tables are atomics.
unsafe impl Sync for PageCode {}

impl Drop for PageCode {
    fn drop(&mut self) {
        let made = match self.made.get_mut() {
            Ok(made) => made,
            Err(broken) => broken.into_inner(),
        };
        BYTES.fetch_sub(made.bytes, Ordering::Relaxed);
        for (chunk, lines) in made.chunks.drain(..) {
            // SAFETY: made by `Box::into_raw` in `keep`, freed once.
            drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(chunk, lines)) });
        }
        for table in made.tables.drain(..) {
            // SAFETY: made of a box with so many slots in `Table::new`, freed once.
            drop(unsafe {
                Box::from_raw(ptr::slice_from_raw_parts_mut(
                    table.slots.cast_mut(),
                    1 << table.log,
                ))
            });
        }
    }
}

impl PageCode {
    pub fn new() -> Box<PageCode> {
        Box::new(PageCode {
            table: AtomicU64::new(0),
            made: Mutex::new(Made::default()),
        })
    }

    /// The block at offset `off`, or null.
    #[inline(always)]
    pub fn get(&self, off: usize) -> *const Op {
        let table = Table::of(self.table.load(Ordering::Acquire));
        table.map_or(ptr::null(), |t| {
            // SAFETY: a published table lives as long as `self`.
            let slot = unsafe { t.slot(off) };
            (slot.load(Ordering::Acquire) & ((1 << 48) - 1)) as *const Op
        })
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        let inside = self.made.lock().map_or(0, |m| {
            m.bytes + m.tables.iter().map(|t| 8 << t.log).sum::<usize>()
        });
        size_of::<PageCode>() + inside
    }

    /// Whether another block may be kept.
    pub fn has_room(&self) -> bool {
        BYTES.load(Ordering::Relaxed) < BYTES_MAX && self.made.lock().is_ok_and(|m| m.ops < OPS_MAX)
    }

    /// Publishes a block at `off`, or returns the one that is there already.
    pub fn insert(&self, off: usize, ops: Vec<Op>) -> *const Op {
        let Ok(mut made) = self.made.lock() else {
            return ptr::null();
        };
        let old = self.get(off);
        if !old.is_null() {
            return old;
        }
        #[cfg(feature = "counts")]
        let handlers = ops.iter().map(|op| op.h as usize).collect();
        let first = made.keep(ops);
        #[cfg(feature = "counts")]
        super::counts::block(first, handlers);
        made.blocks += 1;
        let mut table = Table::of(self.table.load(Ordering::Acquire));
        // SAFETY: tables live as long as `self`.
        unsafe {
            if table.is_none_or(|t| made.blocks * 2 > 1 << t.log) {
                let log = table.map_or(TABLE_MIN, |t| t.log + 2).min(TABLE_MAX);
                let larger = Table::new(log);
                for held in table.iter().flat_map(|t| t.slots()) {
                    let held = held.load(Ordering::Relaxed);
                    if held != 0 {
                        larger.slot((held >> 48) as usize).store(held, Ordering::Relaxed);
                    }
                }
                made.tables.push(larger);
                self.table.store(larger.word(), Ordering::Release);
                table = Some(larger);
            }
            if let Some(table) = table {
                table
                    .slot(off)
                    .store(first as u64 | (off as u64) << 48, Ordering::Release);
            }
        }
        first
    }
}
