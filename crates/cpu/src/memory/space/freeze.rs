//! Pages and address spaces as bytes, and back.
//!
//! Who shares a page with whom, and who may write it in place, comes back as it was; identities that only caches look at are
//! new. A page that belongs to others as well (a snapshot's, an image's) never comes back where it would be written in place.

use super::super::page::{PAGE_SIZE, PageRef};
use super::{LEAF, Leaf, OWNED, Prot, SHARED, Slot, Space, TOP};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use turncoat_freeze::{Damaged, Freeze, In, Out};

/// What a page at an address would be if nobody had written it: the page of the file that is mapped there.
pub type Expected<'a> = &'a mut dyn FnMut(u64) -> Option<PageRef>;

/// The page is the one that is expected at its address.
const EXPECTED: u8 = 0;
/// It is written like any other.
const OTHER: u8 = 1;

/// A page that was read: `foreign` if others than this world may see it.
struct Met {
    page: PageRef,
    foreign: bool,
}

impl Clone for Met {
    /// Without an end to the exclusive state: the reader's own list is nobody who looks at the page.
    fn clone(&self) -> Met {
        Met {
            page: self.page.clone_quiet(),
            foreign: self.foreign,
        }
    }
}

impl PageRef {
    /// The reader has this page as well. See [`Out::knows`].
    pub fn known_to(&self, out: &mut Out) {
        out.knows(self.id());
    }

    /// The writer had this page as well. See [`In::knows`].
    pub fn known_from(&self, from: &mut In<'_>) {
        from.knows(&Met {
            page: self.clone(),
            foreign: true,
        });
    }

    fn take_met(base: Option<&PageRef>, from: &mut In<'_>) -> Result<Met, Damaged> {
        let base = base.map(|page| Met {
            page: page.clone(),
            foreign: true,
        });
        let mut new = false;
        let met = from.shared(base.as_ref(), |from| {
            new = true;
            let flags = from.byte()?;
            let mut bytes = [0; PAGE_SIZE];
            match from.byte()? {
                0 => {}
                _ => bytes.copy_from_slice(from.raw(PAGE_SIZE)?),
            }
            from.spend(PAGE_SIZE)?;
            Ok(Met {
                page: PageRef::with_flags(bytes, flags),
                foreign: false,
            })
        })?;
        if !new {
            // A second handle.
            met.page.make_common();
        }
        Ok(met)
    }
}

impl Freeze for PageRef {
    fn put(&self, base: Option<&Self>, out: &mut Out) {
        let same = base.is_some_and(|b| b.ptr_eq(self));
        if out.failed() || !out.shared(self.id(), same) {
            return;
        }
        out.byte(self.flags());
        if self.is_zero() {
            out.byte(0);
        } else {
            let mut bytes = [0; PAGE_SIZE];
            self.read(0, &mut bytes);
            out.byte(1);
            out.raw(&bytes);
        }
    }

    fn take(base: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        PageRef::take_met(base, from).map(|met| met.page)
    }
}

/// Whether a page may stand for the one that is expected there: nobody can tell them apart, and neither is written in place.
fn stands_for(page: &PageRef, flags: u8, expected: &PageRef) -> bool {
    if page.ptr_eq(expected) {
        return true;
    }
    if flags & (OWNED | SHARED) != 0 || page.exclusive() {
        return false;
    }
    let (mut a, mut b) = ([0; PAGE_SIZE], [0; PAGE_SIZE]);
    page.read(0, &mut a);
    expected.read(0, &mut b);
    a == b
}

impl Leaf {
    /// Puts a page where none is.
    fn set(&mut self, i: usize, page: PageRef, flags: u8) {
        if let (Some(place), Some(f)) = (self.pages.get_mut(i), self.flags.get_mut(i)) {
            *place = Some(page);
            *f = flags;
            self.present |= 1 << i;
        }
    }
}

impl Space {
    /// Tables as they are to be written: key, table, and whether only this space holds it; and the pages copied since the last count.
    fn tables(&self) -> (impl ExactSizeIterator<Item = (u64, &Arc<Leaf>, bool)>, u64) {
        // What has no value of its own, or none that outlives the process, is left out by name.
        let Space {
            leaves,
            present: _,
            owned: _,
            copied,
            id: _,
            generation: _,
            code: _,
            text: _,
            origin: _,
            cloned,
        } = self;
        let ours = !cloned.load(Ordering::Acquire);
        let all = leaves
            .iter()
            .map(move |(&key, slot)| (key, &slot.leaf, ours && slot.owned));
        (all, *copied)
    }

    /// A space of these tables.
    fn of_tables(tables: Vec<(u64, Arc<Leaf>, bool)>, copied: u64) -> Space {
        let mut space = Space::new();
        space.copied = copied;
        for (key, leaf, owned) in tables {
            space.present += leaf.pages.iter().flatten().count();
            if owned {
                space.owned += leaf.flags.iter().filter(|f| *f & OWNED != 0).count();
            }
            space.leaves.insert(key, Slot { leaf, owned });
        }
        space
    }

    /// Writes the space.
    pub fn freeze(&self, expected: Expected<'_>, out: &mut Out) {
        let (tables, copied) = self.tables();
        out.number(copied);
        out.number(tables.len() as u64);
        for (key, leaf, owned) in tables {
            out.number(key);
            owned.put(None, out);
            if !out.shared(Arc::as_ptr(leaf) as usize, false) {
                continue;
            }
            let there = |i: &usize| leaf.pages[*i].is_some();
            out.byte((0..LEAF).filter(there).count() as u8);
            for i in (0..LEAF).filter(there) {
                let (Some(page), flags) = (&leaf.pages[i], leaf.flags[i]) else {
                    continue;
                };
                out.byte(i as u8);
                out.byte(flags);
                let va = (key * LEAF as u64 + i as u64) << 12;
                if expected(va).is_some_and(|e| stands_for(page, flags, &e)) {
                    out.byte(EXPECTED);
                } else {
                    out.byte(OTHER);
                    page.put(None, out);
                }
            }
        }
    }

    /// Reads what [`Space::freeze`] wrote.
    ///
    /// # Errors
    /// The bytes are damaged.
    pub fn thaw(expected: Expected<'_>, from: &mut In<'_>) -> Result<Space, Damaged> {
        let copied = from.number()?;
        let mut tables = Vec::new();
        for _ in 0..from.count()? {
            let key = from.number()?;
            if key >= TOP >> 18 {
                return Err(Damaged("no address of a user"));
            }
            let owned = bool::take(None, from)?;
            let leaf = from.shared(None, |from| {
                let mut leaf = Leaf::empty();
                for _ in 0..from.byte()? {
                    let (i, flags) = (usize::from(from.byte()?), from.byte()?);
                    if i >= LEAF || flags >= OWNED << 1 {
                        return Err(Damaged("no entry of a page table"));
                    }
                    let va = (key * LEAF as u64 + i as u64) << 12;
                    let met = match from.byte()? {
                        EXPECTED => Met {
                            page: expected(va).ok_or(Damaged("no page is expected there"))?,
                            foreign: true,
                        },
                        _ => PageRef::take_met(None, from)?,
                    };
                    if met.foreign && flags & SHARED != 0 && flags & Prot::WRITE.bits() != 0 {
                        return Err(Damaged("a page of others would be written"));
                    }
                    leaf.set(i, met.page, flags);
                }
                Ok(Arc::new(leaf))
            })?;
            tables.push((key, leaf, owned));
        }
        Ok(Space::of_tables(tables, copied))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Share;
    use super::*;

    const RW: Prot = Prot::from_bits(3);

    fn put(spaces: &[&Space], image: &PageRef) -> Vec<u8> {
        let mut out = Out::new(1 << 20);
        for s in spaces {
            s.freeze(&mut |va| (va == 0x30_0000).then(|| image.clone()), &mut out);
        }
        out.done().expect("it has room")
    }

    fn take(n: usize, bytes: &[u8], image: &PageRef) -> Result<Vec<Space>, Damaged> {
        let mut from = In::new(bytes, 1 << 20);
        (0..n)
            .map(|_| Space::thaw(&mut |va| (va == 0x30_0000).then(|| image.clone()), &mut from))
            .collect()
    }

    /// A family of spaces, after which nothing that can be told is different.
    #[test]
    fn what_is_shared_and_what_is_owned_comes_back() {
        let image = PageRef::from_slice(b"image");
        let mut a = Space::new();
        for i in 0..100u64 {
            a.map(
                0x10_0000 + i * 4096,
                PageRef::from_slice(&[i as u8; 50]),
                RW,
                Share::Private,
            );
        }
        let shared = PageRef::zeroed();
        a.map(0x20_0000, shared.clone(), RW, Share::Shared);
        a.map(0x30_0000, image.clone(), Prot::READ, Share::Private);
        let mut b = a.fork();
        a.write(0x10_0000, b"a's own").expect("mapped");
        b.write(0x10_1000, b"b's own").expect("mapped");
        let bytes = put(&[&a, &b], &image);
        assert!(bytes.len() < 110 * 4096, "what both have is written once");
        let mut back = take(2, &bytes, &image).expect("whole");
        let again = put(&[&back[0], &back[1]], &image);
        assert_eq!(again, bytes);
        let (mut y, mut x) = (back.pop().expect("two"), back.pop().expect("two"));
        for (was, is) in [(&mut a, &mut x), (&mut b, &mut y)] {
            for va in [0x10_0000u64, 0x10_1000, 0x10_2000, 0x20_0000, 0x30_0000] {
                assert_eq!(was.read_u64(va), is.read_u64(va));
            }
            // The first write to a page that the other has copies it, the second does not.
            for va in [0x10_0000, 0x10_1000, 0x10_2000, 0x10_2000, 0x20_0000] {
                was.write(va, b"w").expect("mapped");
                is.write(va, b"w").expect("mapped");
                assert_eq!(was.stats(), is.stats(), "{va:x}");
            }
        }
        x.write(0x20_0000, b"seen").expect("mapped");
        assert_eq!(y.read_u32(0x20_0000).ok(), Some(u32::from_le_bytes(*b"seen")));
    }

    #[test]
    fn damaged_bytes_do_no_harm() {
        let image = PageRef::from_slice(b"image");
        let mut a = Space::new();
        a.map(0x10_0000, PageRef::zeroed(), RW, Share::Private);
        a.map(0x10_1000, image.clone(), RW, Share::Private);
        a.map(0x30_0000, image.clone(), Prot::READ, Share::Shared);
        let bytes = put(&[&a], &image);
        // Miri is a thousand times slower.
        let step = if cfg!(miri) { 97 } else { 1 };
        for n in (0..bytes.len()).step_by(step) {
            assert!(take(1, &bytes[..n], &image).is_err());
        }
        for at in (0..bytes.len()).step_by(step) {
            for bit in 0..8 {
                let mut wrong = bytes.clone();
                wrong[at] ^= 1 << bit;
                if let Ok(mut all) = take(1, &wrong, &image) {
                    let _ = all[0].write(0x30_0000, b"mine");
                    let _ = all[0].write(0x10_1000, b"mine");
                }
            }
        }
        let mut head = [0; 5];
        image.read(0, &mut head);
        assert_eq!(&head, b"image", "what is not the world's own is never written");
    }
}
