//! A vector of slots that clones in time proportional to its chunks, not its contents.
//!
//! Kernel state lives in slabs and refers to itself by index, so that a world can be cloned, hashed and written.
//! Slots are handed out lowest first: the same history gives the same indices.

use std::collections::BTreeSet;
use std::sync::Arc;
use turncoat_freeze::{Damaged, Freeze, In, Out};

const CHUNK: usize = 32;

/// Slots of `T`, addressed by `u32`, shared copy-on-write between clones chunk by chunk.
#[derive(Clone)]
pub struct Slab<T> {
    chunks: Vec<Arc<Vec<Option<T>>>>,
    free: BTreeSet<u32>,
    len: u32,
}

impl<T: Clone> Slab<T> {
    /// An empty slab.
    pub fn new() -> Self {
        Slab {
            chunks: Vec::new(),
            free: Default::default(),
            len: 0,
        }
    }

    /// Stores `value` in the lowest free slot and returns its index.
    pub fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if let Some(i) = self.free.pop_first() {
            Arc::make_mut(&mut self.chunks[i as usize / CHUNK])[i as usize % CHUNK] = Some(value);
            return i;
        }
        match self.chunks.last_mut() {
            Some(c) if c.len() < CHUNK => Arc::make_mut(c).push(Some(value)),
            _ => self.chunks.push(Arc::new(vec![Some(value)])),
        }
        let last = self.chunks.last().map_or(0, |c| c.len());
        ((self.chunks.len() - 1) * CHUNK + last - 1) as u32
    }

    /// The value in slot `i`, if there is one.
    pub fn get(&self, i: u32) -> Option<&T> {
        self.chunks
            .get(i as usize / CHUNK)?
            .get(i as usize % CHUNK)?
            .as_ref()
    }

    /// The value in slot `i` for change; unshares its chunk.
    pub fn get_mut(&mut self, i: u32) -> Option<&mut T> {
        self.get(i)?;
        Arc::make_mut(&mut self.chunks[i as usize / CHUNK])[i as usize % CHUNK].as_mut()
    }

    /// Empties slot `i` and returns what was there.
    pub fn remove(&mut self, i: u32) -> Option<T> {
        self.get(i)?;
        self.len -= 1;
        self.free.insert(i);
        Arc::make_mut(&mut self.chunks[i as usize / CHUNK])[i as usize % CHUNK].take()
    }

    /// Occupied slots in index order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.chunks.iter().enumerate().flat_map(|(c, v)| {
            v.iter()
                .enumerate()
                .filter_map(move |(i, s)| Some(((c * CHUNK + i) as u32, s.as_ref()?)))
        })
    }

    /// Number of occupied slots.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// True if nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<T: Clone + Freeze> Freeze for Slab<T> {
    fn put(&self, base: Option<&Self>, out: &mut Out) {
        let Slab { chunks, free, len: _ } = self;
        chunks.put(base.map(|b| &b.chunks), out);
        free.put(None, out);
    }

    fn take(base: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        let chunks = Vec::<Arc<Vec<Option<T>>>>::take(base.map(|b| &b.chunks), from)?;
        let free: BTreeSet<u32> = Freeze::take(None, from)?;
        let before = chunks.len().saturating_sub(1);
        let fits = chunks.iter().take(before).all(|c| c.len() == CHUNK)
            && chunks.last().is_none_or(|c| (1..=CHUNK).contains(&c.len()));
        let mut slab = Slab { chunks, free, len: 0 };
        slab.len = slab.iter().count() as u32;
        let slots: usize = slab.chunks.iter().map(|c| c.len()).sum();
        let empty = |i: &u32| (*i as usize) < slots && slab.get(*i).is_none();
        if !fits || !slab.free.iter().all(empty) || slab.len() + slab.free.len() != slots {
            return Err(Damaged("slots that are neither free nor taken"));
        }
        Ok(slab)
    }
}

impl<T: Clone> Default for Slab<T> {
    fn default() -> Self {
        Slab::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowest_slot_first_and_clones_apart() {
        let mut a: Slab<u64> = Slab::new();
        for i in 0..100 {
            assert_eq!(a.insert(i), i as u32);
        }
        assert_eq!(a.remove(40), Some(40));
        assert_eq!(a.remove(7), Some(7));
        let mut b = a.clone();
        assert_eq!(b.insert(1000), 7);
        assert_eq!(a.get(7), None);
        assert_eq!(b.get(7), Some(&1000));
        assert_eq!((a.len(), b.len()), (98, 99));
        *b.get_mut(99).unwrap() = 5;
        assert_eq!(a.get(99), Some(&99));
    }
}
