//! Worlds that rest: nothing has happened in them for a while, and their memory lies compressed until something does.
//!
//! A rest is no input and changes nothing: the world goes on exactly as it would have. Every door of [`World`] that may touch
//! memory ends it first.
//!
//! Shells of many worlds hold nearly the same, at other addresses. So addresses are written relative to their mapping
//! ([`relative`]), and what is left is compressed against the memory of another process of the same program that rested
//! before ([`specimen`]): a tenth of what it takes alone.

mod relative;
mod specimen;

use std::sync::Arc;

use crate::mm::Mm;
use crate::world::World;
use relative::Regions;
use specimen::Specimen;
use turncoat_cpu::{PAGE_SIZE, Resting};

/// Pages of one address space that rest.
#[derive(Clone)]
pub(crate) struct Asleep {
    mm: u32,
    pages: Resting,
    /// Numbers among `pages` of those whose addresses stayed as they were.
    plain: Box<[u32]>,
    /// What the pages are compressed against.
    against: Option<Arc<Specimen>>,
    packed: Box<[u8]>,
}

impl Asleep {
    /// Takes the pages of an address space that nobody else holds.
    fn lay(mm: u32, m: &mut Mm, bytes: &mut Vec<u8>) -> Option<Asleep> {
        bytes.clear();
        let pages = m.space.rest(bytes);
        if pages.is_empty() {
            return None;
        }
        let regions = Regions::of(m);
        let mut plain = Vec::new();
        for (n, page) in bytes.chunks_exact_mut(PAGE_SIZE).enumerate() {
            if !regions.relate(page) {
                plain.push(n as u32);
            }
        }
        let places: Vec<u64> = pages.addresses().map(|va| regions.place(va)).collect();
        let (against, packed) = specimen::pack(m.program(), &places, bytes);
        Some(Asleep {
            mm,
            pages,
            plain: plain.into(),
            against,
            packed,
        })
    }

    /// Puts the pages back.
    fn raise(&self, m: &mut Mm) {
        let regions = Regions::of(m);
        let places: Vec<u64> = self.pages.addresses().map(|va| regions.place(va)).collect();
        // We compressed it ourselves: were it damaged, the machine's own memory would be.
        let mut bytes = specimen::unpack(self.against.as_deref(), &places, &self.packed)
            .unwrap_or_else(|e| panic!("a resting page is not what it was: {e}"));
        let mut plain = self.plain.iter().copied().peekable();
        for (n, page) in bytes.chunks_exact_mut(PAGE_SIZE).enumerate() {
            if plain.next_if_eq(&(n as u32)).is_none() {
                regions.restore(page);
            }
        }
        m.space.rise(&self.pages, &bytes);
    }
}

impl World {
    /// Lays memory of processes to rest. Worth it for a world that has been idle for some seconds: it costs some milliseconds
    /// now and fewer at the next input, and saves most of the memory.
    pub fn rest(&mut self) {
        if !self.asleep.is_empty() || !self.runq.is_empty() {
            return;
        }
        let mut bytes = Vec::new();
        for (&mm, m) in &mut self.mms {
            self.asleep.extend(Asleep::lay(mm, m, &mut bytes));
        }
        self.asleep.shrink_to_fit();
        self.outputs.shrink_to_fit();
        self.facts.shrink_to_fit();
    }

    /// Ends a rest.
    pub(crate) fn rise(&mut self) {
        for a in std::mem::take(&mut self.asleep) {
            if let Some(m) = self.mms.get_mut(&a.mm) {
                a.raise(m);
            }
        }
    }
}
