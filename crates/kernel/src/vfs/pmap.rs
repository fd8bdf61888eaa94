//! A map from small integers to values that clones in constant time.
//!
//! A radix tree of 32-way nodes behind `Arc`: a clone shares the root, a change copies the nodes on its way. Iteration is in key
//! order. World state that must be cheap to clone (inodes, objects, pages of an object) lives in these.

use std::sync::Arc;

pub(super) const BITS: u32 = 5;
const MASK: u64 = 31;

#[derive(Clone)]
pub(super) enum Node<V> {
    Branch { map: u32, kids: Vec<Arc<Node<V>>> },
    Leaf { map: u32, vals: Vec<V> },
}

/// A persistent map `u64 -> V`.
#[derive(Clone)]
pub struct PMap<V> {
    pub(super) root: Option<Arc<Node<V>>>,
    /// Bits of the key that the root's index is shifted by.
    pub(super) shift: u32,
    pub(super) len: u64,
}

impl<V> Default for PMap<V> {
    fn default() -> Self {
        PMap {
            root: None,
            shift: 0,
            len: 0,
        }
    }
}

pub(super) fn slot(map: u32, i: u32) -> (bool, usize) {
    (map >> i & 1 == 1, (map & ((1u32 << i) - 1)).count_ones() as usize)
}

impl<V: Clone> PMap<V> {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }
    /// Number of entries.
    pub fn len(&self) -> u64 {
        self.len
    }
    /// True if there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn fits(&self, key: u64) -> bool {
        self.shift + BITS >= 64 || key >> (self.shift + BITS) == 0
    }

    /// The value at `key`.
    pub fn get(&self, key: u64) -> Option<&V> {
        if !self.fits(key) {
            return None;
        }
        let mut node = self.root.as_deref()?;
        let mut shift = self.shift;
        loop {
            let i = (key >> shift & MASK) as u32;
            match node {
                Node::Branch { map, kids } => {
                    let (has, at) = slot(*map, i);
                    if !has {
                        return None;
                    }
                    node = kids.get(at)?;
                    shift = shift.saturating_sub(BITS);
                }
                Node::Leaf { map, vals } => {
                    let (has, at) = slot(*map, i);
                    return if has { vals.get(at) } else { None };
                }
            }
        }
    }

    /// True if `key` has a value.
    pub fn contains(&self, key: u64) -> bool {
        self.get(key).is_some()
    }

    /// The value at `key` for change; unshares the nodes on the way to it.
    pub fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        if !self.contains(key) {
            return None;
        }
        let mut shift = self.shift;
        let mut node = Arc::make_mut(self.root.as_mut()?);
        loop {
            let i = (key >> shift & MASK) as u32;
            match node {
                Node::Branch { map, kids } => {
                    let (_, at) = slot(*map, i);
                    node = Arc::make_mut(kids.get_mut(at)?);
                    shift = shift.saturating_sub(BITS);
                }
                Node::Leaf { map, vals } => {
                    let (_, at) = slot(*map, i);
                    return vals.get_mut(at);
                }
            }
        }
    }

    /// Puts `value` at `key` and returns what was there.
    pub fn insert(&mut self, key: u64, value: V) -> Option<V> {
        while !self.fits(key) {
            if let Some(old) = self.root.take() {
                self.root = Some(Arc::new(Node::Branch {
                    map: 1,
                    kids: vec![old],
                }));
            }
            self.shift += BITS;
        }
        let shift = self.shift;
        let root = self.root.get_or_insert_with(|| Arc::new(empty(shift)));
        let old = put(Arc::make_mut(root), shift, key, value);
        if old.is_none() {
            self.len += 1;
        }
        old
    }

    /// Takes the value at `key` away.
    pub fn remove(&mut self, key: u64) -> Option<V> {
        if !self.contains(key) {
            return None;
        }
        let shift = self.shift;
        let root = self.root.as_mut()?;
        let (old, gone) = take(Arc::make_mut(root), shift, key);
        if gone {
            self.root = None;
            self.shift = 0;
        }
        if old.is_some() {
            self.len -= 1;
        }
        old
    }

    /// Entries with `key >= from` in key order.
    pub fn range(&self, from: u64) -> Iter<'_, V> {
        let mut it = Iter { stack: Vec::new() };
        let mut node = match self.root.as_deref() {
            Some(n) if self.fits(from) => n,
            _ => return it,
        };
        let mut shift = self.shift;
        let mut prefix = 0;
        loop {
            let i = (from >> shift & MASK) as u32;
            match node {
                Node::Branch { map, kids } => {
                    let (has, at) = slot(*map, i);
                    if !has {
                        it.stack.push((node, shift, prefix, at));
                        return it;
                    }
                    it.stack.push((node, shift, prefix, at + 1));
                    prefix |= (i as u64) << shift;
                    match kids.get(at) {
                        Some(k) => node = k,
                        None => return it,
                    }
                    shift = shift.saturating_sub(BITS);
                }
                Node::Leaf { map, .. } => {
                    let (_, at) = slot(*map, i);
                    it.stack.push((node, shift, prefix, at));
                    return it;
                }
            }
        }
    }

    /// All entries in key order.
    pub fn iter(&self) -> Iter<'_, V> {
        self.range(0)
    }

    /// Removes every entry with `key >= from`, calling `f` for each.
    pub fn split_off(&mut self, from: u64, mut f: impl FnMut(u64, V)) {
        let keys: Vec<u64> = self.range(from).map(|(k, _)| k).collect();
        for k in keys {
            if let Some(v) = self.remove(k) {
                f(k, v);
            }
        }
    }
}

fn empty<V>(shift: u32) -> Node<V> {
    if shift == 0 {
        Node::Leaf {
            map: 0,
            vals: Vec::new(),
        }
    } else {
        Node::Branch {
            map: 0,
            kids: Vec::new(),
        }
    }
}

fn put<V: Clone>(node: &mut Node<V>, shift: u32, key: u64, value: V) -> Option<V> {
    let i = (key >> shift & MASK) as u32;
    match node {
        Node::Branch { map, kids } => {
            let (has, at) = slot(*map, i);
            if !has {
                *map |= 1 << i;
                kids.insert(at, Arc::new(empty(shift.saturating_sub(BITS))));
            }
            let kid = kids.get_mut(at)?;
            put(Arc::make_mut(kid), shift.saturating_sub(BITS), key, value)
        }
        Node::Leaf { map, vals } => {
            let (has, at) = slot(*map, i);
            if has {
                return vals.get_mut(at).map(|v| std::mem::replace(v, value));
            }
            *map |= 1 << i;
            vals.insert(at, value);
            None
        }
    }
}

fn take<V: Clone>(node: &mut Node<V>, shift: u32, key: u64) -> (Option<V>, bool) {
    let i = (key >> shift & MASK) as u32;
    match node {
        Node::Branch { map, kids } => {
            let (has, at) = slot(*map, i);
            if !has {
                return (None, false);
            }
            let Some(kid) = kids.get_mut(at) else {
                return (None, false);
            };
            let (v, gone) = take(Arc::make_mut(kid), shift.saturating_sub(BITS), key);
            if gone {
                kids.remove(at);
                *map &= !(1 << i);
            }
            (v, kids.is_empty())
        }
        Node::Leaf { map, vals } => {
            let (has, at) = slot(*map, i);
            if !has {
                return (None, false);
            }
            *map &= !(1 << i);
            let v = vals.remove(at);
            (Some(v), vals.is_empty())
        }
    }
}

/// Entries in key order.
pub struct Iter<'a, V> {
    stack: Vec<(&'a Node<V>, u32, u64, usize)>,
}

impl<'a, V> Iterator for Iter<'a, V> {
    type Item = (u64, &'a V);
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (node, shift, prefix, at) = self.stack.pop()?;
            match node {
                Node::Branch { map, kids } => {
                    let Some(kid) = kids.get(at) else { continue };
                    let i = nth_bit(*map, at);
                    self.stack.push((node, shift, prefix, at + 1));
                    self.stack
                        .push((kid, shift.saturating_sub(BITS), prefix | (i as u64) << shift, 0));
                }
                Node::Leaf { map, vals } => {
                    let Some(v) = vals.get(at) else { continue };
                    let i = nth_bit(*map, at);
                    self.stack.push((node, shift, prefix, at + 1));
                    return Some((prefix | i as u64, v));
                }
            }
        }
    }
}

fn nth_bit(mut map: u32, n: usize) -> u32 {
    for _ in 0..n {
        map &= map.wrapping_sub(1);
    }
    map.trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn behaves_as_a_sorted_map_and_clones_apart() {
        let mut rng = 1u64;
        let mut next = move || {
            rng = rng
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            rng >> 33
        };
        let mut p: PMap<u64> = PMap::new();
        let mut b = BTreeMap::new();
        for round in 0..20_000u64 {
            let k = match next() % 3 {
                0 => next() % 64,
                1 => next() % 5_000,
                _ => next() << 20,
            };
            match next() % 3 {
                0 => assert_eq!(p.remove(k), b.remove(&k)),
                _ => assert_eq!(p.insert(k, round), b.insert(k, round)),
            }
            assert_eq!(p.len(), b.len() as u64);
            if round % 1000 == 0 {
                let q = p.clone();
                p.insert(3, 77);
                assert_eq!(q.get(3), b.get(&3));
                b.insert(3, 77);
                let from = next() % 6000;
                let x: Vec<_> = p.range(from).map(|(k, v)| (k, *v)).collect();
                let y: Vec<_> = b.range(from..).map(|(k, v)| (*k, *v)).collect();
                assert_eq!(x, y);
            }
        }
        let mut seen = 0;
        p.split_off(64, |k, v| {
            assert_eq!(b.remove(&k), Some(v));
            seen += 1;
        });
        assert!(seen > 100);
        assert!(p.iter().map(|(k, v)| (k, *v)).eq(b.iter().map(|(k, v)| (*k, *v))));
        assert_eq!(p.get(u64::MAX), None);
        p.insert(u64::MAX, 1);
        assert_eq!(p.get(u64::MAX), Some(&1));
    }
}
