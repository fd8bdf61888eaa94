//! What has a number, in the order of the numbers.
//!
//! A world looks a few of its tasks up, by number, several times for each system call, and nearly always those that it looked up last. So here
//! a look-up asks first whether it is the last one again, and else searches numbers that lie side by side.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use turncoat_freeze::{Damaged, Freeze, In, Out, put_pairs, take_pairs};

/// Values by number, in the order of the numbers. Putting one in anywhere but at the end moves those behind it.
pub(crate) struct Numbered<V> {
    numbers: Vec<u32>,
    values: Vec<V>,
    /// Where the last look-up found what it looked for: a guess, no part of the value.
    last: AtomicU32,
}

impl<V> Numbered<V> {
    pub(crate) fn new() -> Numbered<V> {
        Numbered {
            numbers: Vec::new(),
            values: Vec::new(),
            last: AtomicU32::new(0),
        }
    }

    /// Where `number` is, or where it would be.
    #[inline]
    fn find(&self, number: u32) -> Result<usize, usize> {
        let last = self.last.load(Ordering::Relaxed) as usize;
        if self.numbers.get(last) == Some(&number) {
            return Ok(last);
        }
        let at = self.numbers.binary_search(&number)?;
        self.last.store(at as u32, Ordering::Relaxed);
        Ok(at)
    }

    #[inline]
    pub(crate) fn get(&self, number: &u32) -> Option<&V> {
        self.values.get(self.find(*number).ok()?)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, number: &u32) -> Option<&mut V> {
        let at = self.find(*number).ok()?;
        self.values.get_mut(at)
    }

    pub(crate) fn contains_key(&self, number: &u32) -> bool {
        self.find(*number).is_ok()
    }

    /// Gives `number` a value, and back the one that it had.
    pub(crate) fn insert(&mut self, number: u32, value: V) -> Option<V> {
        match self.find(number) {
            Ok(at) => Some(std::mem::replace(&mut self.values[at], value)),
            Err(at) => {
                self.numbers.insert(at, number);
                self.values.insert(at, value);
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, number: &u32) -> Option<V> {
        let at = self.find(*number).ok()?;
        self.numbers.remove(at);
        Some(self.values.remove(at))
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(crate) fn keys(&self) -> std::slice::Iter<'_, u32> {
        self.numbers.iter()
    }

    pub(crate) fn values(&self) -> std::slice::Iter<'_, V> {
        self.values.iter()
    }

    pub(crate) fn values_mut(&mut self) -> std::slice::IterMut<'_, V> {
        self.values.iter_mut()
    }

    pub(crate) fn iter(&self) -> Pairs<'_, V> {
        self.numbers.iter().zip(&self.values)
    }
}

/// Numbers with their values, in order.
pub(crate) type Pairs<'a, V> = std::iter::Zip<std::slice::Iter<'a, u32>, std::slice::Iter<'a, V>>;

impl<'a, V> IntoIterator for &'a Numbered<V> {
    type Item = (&'a u32, &'a V);
    type IntoIter = Pairs<'a, V>;

    fn into_iter(self) -> Pairs<'a, V> {
        self.iter()
    }
}

impl<'a, V> IntoIterator for &'a mut Numbered<V> {
    type Item = (&'a u32, &'a mut V);
    type IntoIter = std::iter::Zip<std::slice::Iter<'a, u32>, std::slice::IterMut<'a, V>>;

    fn into_iter(self) -> Self::IntoIter {
        self.numbers.iter().zip(&mut self.values)
    }
}

impl<V: Clone> Clone for Numbered<V> {
    fn clone(&self) -> Numbered<V> {
        Numbered {
            numbers: self.numbers.clone(),
            values: self.values.clone(),
            last: AtomicU32::new(self.last.load(Ordering::Relaxed)),
        }
    }
}

impl<V> FromIterator<(u32, V)> for Numbered<V> {
    fn from_iter<I: IntoIterator<Item = (u32, V)>>(pairs: I) -> Numbered<V> {
        let sorted: BTreeMap<u32, V> = pairs.into_iter().collect();
        let (numbers, values) = sorted.into_iter().unzip();
        Numbered {
            numbers,
            values,
            last: AtomicU32::new(0),
        }
    }
}

impl<V: Freeze> Freeze for Numbered<V> {
    fn put(&self, base: Option<&Self>, out: &mut Out) {
        put_pairs(self.iter(), |number| base?.get(number), out);
    }

    fn take(base: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        take_pairs(|number| base?.get(number), from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_a_map_in_order() {
        let (mut a, mut map) = (Numbered::new(), BTreeMap::new());
        let mut seed = 1_u32;
        for n in 0..4000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let key = seed >> 20 & 63;
            match seed >> 8 & 7 {
                0..3 => assert_eq!(a.insert(key, n), map.insert(key, n)),
                3 => assert_eq!(a.remove(&key), map.remove(&key)),
                4 => assert_eq!(
                    a.get_mut(&key).map(|v| *v += 1),
                    map.get_mut(&key).map(|v| *v += 1)
                ),
                5 => a = a.clone(),
                _ => assert_eq!(a.get(&key), map.get(&key)),
            }
            assert_eq!(a.contains_key(&key), map.contains_key(&key));
            assert_eq!(a.len(), map.len());
        }
        assert!(a.iter().eq(map.iter()) && a.keys().eq(map.keys()) && a.values().eq(map.values()));
        assert!(a.values_mut().eq(map.values_mut()));
        let again: Numbered<i32> = map.into_iter().rev().collect();
        assert!(again.iter().eq(&a));
    }
}
