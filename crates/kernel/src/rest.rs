//! Worlds that rest: nothing has happened in them for a while, and their memory lies compressed until something does.
//!
//! A rest is no input and changes nothing: the world goes on exactly as it would have. Every door of [`World`] that may touch
//! memory ends it first.

use crate::world::World;
use turncoat_cpu::{PAGE_SIZE, Resting};

/// Pages of one address space that rest.
#[derive(Clone)]
pub(crate) struct Asleep {
    mm: u32,
    pages: Resting,
    packed: Box<[u8]>,
}

impl World {
    /// Lays memory of processes to rest. Worth it for a world that has been idle for some seconds: it costs some milliseconds
    /// now and fewer at the next input, and saves two thirds of the memory.
    pub fn rest(&mut self) {
        if !self.asleep.is_empty() || !self.runq.is_empty() {
            return;
        }
        let mut bytes = Vec::new();
        for (&mm, m) in &mut self.mms {
            bytes.clear();
            let pages = m.space.rest(&mut bytes);
            if pages.is_empty() {
                continue;
            }
            let packed = lz4_flex::block::compress(&bytes).into_boxed_slice();
            self.asleep.push(Asleep { mm, pages, packed });
        }
        self.asleep.shrink_to_fit();
        self.outputs.shrink_to_fit();
        self.facts.shrink_to_fit();
    }

    /// Ends a rest.
    pub(crate) fn rise(&mut self) {
        for a in std::mem::take(&mut self.asleep) {
            let Some(m) = self.mms.get_mut(&a.mm) else {
                continue;
            };
            let size = a.pages.len() * PAGE_SIZE;
            // We compressed it ourselves: were it damaged, the machine's own memory would be.
            match lz4_flex::block::decompress(&a.packed, size) {
                Ok(bytes) => m.space.rise(&a.pages, &bytes),
                Err(e) => panic!("a resting page is not what it was: {e}"),
            }
        }
    }
}
