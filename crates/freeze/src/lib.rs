//! Plain data as bytes, written against the state that it began as.
//!
//! What runs as a world is a clone of a snapshot that has gone its own way: most of it still is the snapshot's, behind the same
//! `Arc`s. [`Freeze`] writes such a state beside its base (the snapshot): whatever is the base's own `Arc` at the same place is one
//! byte, and so is an `Arc` that was written before. What was shared is shared again when it is taken back; the rest is written
//! field by field. [`derive@Freeze`] does so for every field of a type, so that none is forgotten.
//!
//! The bytes belong to the build that wrote them and to the same base: both are to be checked by whoever reads them. Bytes that
//! are damaged all the same give [`Damaged`] or another state, never a panic; memory is bounded by [`In`]'s limits.

#[cfg(test)]
extern crate self as turncoat_freeze;

mod collections;
pub mod empty;
mod plain;

pub use collections::{put_pairs, take_pairs};
pub use turncoat_freeze_derive::Freeze;

use std::any::Any;
use std::collections::HashMap;

/// The bytes are not what [`Freeze::put`] wrote, or not for this base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged(pub &'static str);

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Damaged {}

/// Data that can be written and taken back.
pub trait Freeze: Sized + Send + Sync + 'static {
    /// Writes it; `base` is what stood in its place at the beginning.
    fn put(&self, base: Option<&Self>, out: &mut Out);

    /// Takes it back; `base` is equal to the one it was written with.
    ///
    /// # Errors
    /// The bytes are damaged.
    fn take(base: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged>;

    /// Writes many, without their number.
    fn put_all(all: &[Self], base: Option<&[Self]>, out: &mut Out) {
        for (i, one) in all.iter().enumerate() {
            one.put(base.and_then(|b| b.get(i)), out);
        }
    }

    /// Takes so many.
    ///
    /// # Errors
    /// The bytes are damaged.
    fn take_all(n: usize, base: Option<&[Self]>, from: &mut In<'_>) -> Result<Vec<Self>, Damaged> {
        let mut all = Vec::new();
        for i in 0..n {
            all.push(Self::take(base.and_then(|b| b.get(i)), from)?);
        }
        Ok(all)
    }
}

/// Where a state is written to.
pub struct Out {
    bytes: Vec<u8>,
    seen: HashMap<usize, u32>,
    most: usize,
    over: bool,
    lent: Option<Box<dyn Any>>,
}

impl Out {
    /// Takes at most `most` bytes.
    pub fn new(most: usize) -> Out {
        Out {
            bytes: Vec::new(),
            seen: HashMap::new(),
            most,
            over: false,
            lent: None,
        }
    }

    /// What was written; `None` if it was too much.
    pub fn done(self) -> Option<Vec<u8>> {
        (!self.over).then_some(self.bytes)
    }

    /// There is something that cannot be written: there will be no result.
    pub fn fail(&mut self) {
        self.over = true;
    }

    /// There will be no result: whoever has much to write may leave it.
    pub fn failed(&self) -> bool {
        self.over
    }

    /// Lends something to those who write: what they look at beside what they write.
    pub fn lend<T: 'static>(&mut self, one: T) {
        self.lent = Some(Box::new(one));
    }

    /// What was lent.
    pub fn lent<T: Clone + 'static>(&self) -> Option<T> {
        self.lent.as_ref()?.downcast_ref::<T>().cloned()
    }

    /// Writes bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() > self.most {
            self.over = true;
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Writes one byte.
    pub fn byte(&mut self, byte: u8) {
        self.raw(&[byte]);
    }

    /// Writes a number (LEB128).
    pub fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.byte(n as u8 | 0x80);
            n >>= 7;
        }
        self.byte(n as u8);
    }

    /// The number under which the thing at this address was written; `None` the first time, which gives it one. The thing must live
    /// as long as this.
    fn seen(&mut self, address: usize) -> Option<u32> {
        let next = self.seen.len() as u32;
        match self.seen.entry(address) {
            std::collections::hash_map::Entry::Occupied(e) => Some(*e.get()),
            std::collections::hash_map::Entry::Vacant(e) => {
                e.insert(next);
                None
            }
        }
    }

    /// Writes something that is shared: `address` is where it lies, `same` whether it is the base's own. True if what it holds is to
    /// follow.
    pub fn shared(&mut self, address: usize, same: bool) -> bool {
        match self.seen(address) {
            Some(n) => {
                self.byte(AGAIN);
                self.number(n.into());
                false
            }
            None => {
                self.byte(if same { SAME } else { NEW });
                !same
            }
        }
    }

    /// Something shared that the reader has as well, by its address: it is not written where it is met. In the same order as [`In::knows`].
    pub fn knows(&mut self, address: usize) {
        let _ = self.seen(address);
    }
}

/// A shared pointer is the base's own.
const SAME: u8 = 0;
/// It was met before, under this number.
const AGAIN: u8 = 1;
/// What is behind it follows.
const NEW: u8 = 2;

/// Deepest nesting of boxes.
const DEEPEST: u32 = 64;

/// Where a state is read from.
pub struct In<'a> {
    bytes: &'a [u8],
    seen: Vec<Box<dyn Any>>,
    depth: u32,
    /// Bytes that may still be made of fewer.
    room: usize,
    lent: Option<Box<dyn Any>>,
}

impl<'a> In<'a> {
    /// Reads these bytes. What they stand for beyond themselves (a page of zeros is one byte) may be at most `room` bytes.
    pub fn new(bytes: &'a [u8], room: usize) -> In<'a> {
        In {
            bytes,
            seen: Vec::new(),
            depth: 0,
            room,
            lent: None,
        }
    }

    /// As [`Out::lend`].
    pub fn lend<T: 'static>(&mut self, one: T) {
        self.lent = Some(Box::new(one));
    }

    /// As [`Out::lent`].
    pub fn lent<T: Clone + 'static>(&self) -> Option<T> {
        self.lent.as_ref()?.downcast_ref::<T>().cloned()
    }

    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.bytes.len()
    }

    /// Nothing is left.
    ///
    /// # Errors
    /// Something is.
    pub fn end(&self) -> Result<(), Damaged> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(Damaged("bytes behind the end"))
        }
    }

    /// So many bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn raw(&mut self, n: usize) -> Result<&'a [u8], Damaged> {
        let (head, rest) = self.bytes.split_at_checked(n).ok_or(Damaged("cut off"))?;
        self.bytes = rest;
        Ok(head)
    }

    /// One byte.
    ///
    /// # Errors
    /// There is none.
    pub fn byte(&mut self) -> Result<u8, Damaged> {
        self.raw(1).map(|b| b.first().copied().unwrap_or(0))
    }

    /// A number.
    ///
    /// # Errors
    /// It is cut off or too large.
    pub fn number(&mut self) -> Result<u64, Damaged> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let b = self.byte()?;
            let part = u64::from(b & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            n |= part << shift;
            if b & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(Damaged("a number is too large"))
    }

    /// Which variant of an enumeration follows.
    ///
    /// # Errors
    /// As [`In::number`].
    pub fn variant(&mut self) -> Result<u32, Damaged> {
        u32::try_from(self.number()?).map_err(|_| Damaged("no such variant"))
    }

    /// How many follow, each of at least one byte.
    ///
    /// # Errors
    /// More than there are bytes.
    pub fn count(&mut self) -> Result<usize, Damaged> {
        usize::try_from(self.number()?)
            .ok()
            .filter(|n| *n <= self.bytes.len())
            .ok_or(Damaged("more than there is"))
    }

    /// Takes so much of what may be made of fewer bytes.
    ///
    /// # Errors
    /// There is no more.
    pub fn spend(&mut self, bytes: usize) -> Result<(), Damaged> {
        self.room = self
            .room
            .checked_sub(bytes)
            .ok_or(Damaged("it grows too large"))?;
        Ok(())
    }

    /// Remembers something under the next number.
    fn remember<T: Clone + 'static>(&mut self, one: &T) {
        self.seen.push(Box::new(one.clone()));
    }

    /// What was remembered under a number.
    ///
    /// # Errors
    /// Nothing was, or something else.
    fn remembered<T: Clone + 'static>(&self, n: u64) -> Result<T, Damaged> {
        usize::try_from(n)
            .ok()
            .and_then(|n| self.seen.get(n))
            .and_then(|one| one.downcast_ref::<T>())
            .cloned()
            .ok_or(Damaged("a reference to nothing"))
    }

    /// Takes what [`Out::shared`] wrote; `new` reads what follows.
    ///
    /// # Errors
    /// The bytes are damaged.
    pub fn shared<S: Clone + 'static>(
        &mut self,
        base: Option<&S>,
        new: impl FnOnce(&mut Self) -> Result<S, Damaged>,
    ) -> Result<S, Damaged> {
        match self.byte()? {
            SAME => {
                let one = base.cloned().ok_or(Damaged("nothing to begin with"))?;
                self.remember(&one);
                Ok(one)
            }
            AGAIN => {
                let n = self.number()?;
                self.remembered(n)
            }
            NEW => {
                // Its number is that of its beginning: what is inside it comes later.
                let at = self.seen.len();
                self.seen.push(Box::new(()));
                let one = self.deeper(new)?;
                if let Some(place) = self.seen.get_mut(at) {
                    *place = Box::new(one.clone());
                }
                Ok(one)
            }
            _ => Err(Damaged("no kind of reference")),
        }
    }

    /// As [`Out::knows`].
    pub fn knows<T: Clone + 'static>(&mut self, one: &T) {
        self.remember(one);
    }

    /// Reads something nested.
    ///
    /// # Errors
    /// It is nested too deeply, or `f`'s.
    pub fn deeper<R>(&mut self, f: impl FnOnce(&mut Self) -> Result<R, Damaged>) -> Result<R, Damaged> {
        if self.depth >= DEEPEST {
            return Err(Damaged("nested too deeply"));
        }
        self.depth += 1;
        let r = f(self);
        self.depth -= 1;
        r
    }
}

#[cfg(test)]
mod tests;
