//! Code decoded from one page: blocks by offset, published once, read without locks, freed with the page.

use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::op::Op;

const GROUP: usize = 64;
/// Operations kept for one page: overlapping decodes of a hostile page stop being kept there.
const OPS_MAX: usize = 8 * 1024;
/// Bytes of decoded code in the whole process: beyond it new code runs without being kept, which only costs time.
const BYTES_MAX: usize = 1 << 30;

static BYTES: AtomicUsize = AtomicUsize::new(0);

type Group = [AtomicPtr<Op>; GROUP];

/// Blocks decoded from one page for one dispatcher.
pub(crate) struct PageCode {
    groups: [AtomicPtr<Group>; 4096 / GROUP],
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    blocks: Vec<Box<[Op]>>,
    ops: usize,
}

// SAFETY: operations are immutable once published except their atomic link, which only ever points into the same
// `PageCode`.
unsafe impl Send for PageCode {}
// SAFETY: as above; the tables are atomics.
unsafe impl Sync for PageCode {}

impl Drop for PageCode {
    fn drop(&mut self) {
        let ops = self.made.get_mut().map_or(0, |m| m.ops);
        BYTES.fetch_sub(ops * size_of::<Op>(), Ordering::Relaxed);
        for g in &mut self.groups {
            let g = *g.get_mut();
            if !g.is_null() {
                // SAFETY: made by `Box::into_raw` in `insert`, freed once.
                drop(unsafe { Box::from_raw(g) });
            }
        }
    }
}

impl PageCode {
    pub fn new() -> Box<PageCode> {
        Box::new(PageCode {
            groups: [const { AtomicPtr::new(ptr::null_mut()) }; 4096 / GROUP],
            made: Mutex::new(Made::default()),
        })
    }

    /// The block at offset `off`, or null.
    pub fn get(&self, off: usize) -> *const Op {
        let g = self.groups[off / GROUP % (4096 / GROUP)].load(Ordering::Acquire);
        // SAFETY: a published group lives as long as `self`.
        unsafe { g.as_ref() }.map_or(ptr::null(), |g| {
            g[off % GROUP].load(Ordering::Acquire).cast_const()
        })
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        let groups = self
            .groups
            .iter()
            .filter(|g| !g.load(Ordering::Relaxed).is_null())
            .count();
        let ops = self
            .made
            .lock()
            .map_or(0, |m| m.ops * size_of::<Op>() + m.blocks.len() * 16);
        size_of::<PageCode>() + groups * size_of::<Group>() + ops
    }

    /// Whether another block may be kept.
    pub fn has_room(&self) -> bool {
        BYTES.load(Ordering::Relaxed) < BYTES_MAX && self.made.lock().is_ok_and(|m| m.ops < OPS_MAX)
    }

    /// Publishes a block at `off`, or returns the one that is there already.
    pub fn insert(&self, off: usize, ops: Box<[Op]>) -> *const Op {
        let Ok(mut made) = self.made.lock() else {
            return ptr::null();
        };
        let old = self.get(off);
        if !old.is_null() {
            return old;
        }
        let slot = &self.groups[off / GROUP % (4096 / GROUP)];
        let mut group = slot.load(Ordering::Acquire);
        if group.is_null() {
            group = Box::into_raw(Box::new([const { AtomicPtr::new(ptr::null_mut()) }; GROUP]));
            slot.store(group, Ordering::Release);
        }
        made.ops += ops.len();
        BYTES.fetch_add(ops.len() * size_of::<Op>(), Ordering::Relaxed);
        let first = ops.as_ptr();
        made.blocks.push(ops);
        // SAFETY: just made or published before; lives as long as `self`.
        let group = unsafe { &*group };
        group[off % GROUP].store(first.cast_mut(), Ordering::Release);
        first
    }
}
