//! One address space's page tables: leaves of 64 entries in `Arc`s, copied on write, so that a fork is a clone of
//! the map of leaves.

mod freeze;

pub use freeze::Expected;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::page::{PAGE_SIZE, PageRef};
use crate::fault::{Fault, FaultKind};

const LEAF: usize = 64;
const PAGE_MASK: u64 = PAGE_SIZE as u64 - 1;
/// First address that no user mapping reaches (47 bits).
const TOP: u64 = 1 << 47;

/// Access rights of a page: a set of READ, WRITE and EXEC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Prot(u8);

impl Prot {
    /// No access.
    pub const NONE: Prot = Prot(0);
    /// Loads. As on the processor, WRITE and EXEC imply it.
    pub const READ: Prot = Prot(1);
    /// Stores.
    pub const WRITE: Prot = Prot(2);
    /// Instruction fetch.
    pub const EXEC: Prot = Prot(4);

    /// Whether every right in `other` is in `self`.
    pub const fn contains(self, other: Prot) -> bool {
        self.0 & other.0 == other.0
    }
    /// The set's bits: 1 READ, 2 WRITE, 4 EXEC.
    pub const fn bits(self) -> u8 {
        self.0
    }
    /// The set with these bits; others are ignored.
    pub const fn from_bits(bits: u8) -> Prot {
        Prot(bits & 7)
    }
    /// Whether no right is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl std::ops::BitOr for Prot {
    type Output = Prot;
    fn bitor(self, other: Prot) -> Prot {
        Prot(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for Prot {
    fn bitor_assign(&mut self, other: Prot) {
        self.0 |= other.0;
    }
}

impl std::ops::BitAnd for Prot {
    type Output = Prot;
    fn bitand(self, other: Prot) -> Prot {
        Prot(self.0 & other.0)
    }
}

impl std::fmt::Debug for Prot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bit = |m: u8, c: char| if self.0 & m != 0 { c } else { '-' };
        write!(f, "{}{}{}", bit(1, 'r'), bit(2, 'w'), bit(4, 'x'))
    }
}

/// What a write through a mapping does to the page.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Share {
    /// A page that others may see is copied first.
    Private,
    /// The page itself is written, seen by every mapper and by the object's owner.
    Shared,
}

/// Counts of one address space. All depend on the calls made alone, never on neighbours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Pages that are mapped.
    pub present: usize,
    /// Pages that this space made or copied itself and that no fork has shared since.
    pub owned: usize,
    /// Pages copied on write since the last call.
    pub copied: u64,
}

const SHARED: u8 = 8;
const OWNED: u8 = 16;
const EXEC: u8 = Prot::EXEC.bits();

#[derive(Clone)]
struct Leaf {
    present: u64,
    pages: [Option<PageRef>; LEAF],
    flags: [u8; LEAF],
}

impl Leaf {
    fn empty() -> Leaf {
        Leaf {
            present: 0,
            pages: [const { None }; LEAF],
            flags: [0; LEAF],
        }
    }
}

#[derive(Clone)]
struct Slot {
    leaf: Arc<Leaf>,
    /// Only this space holds the leaf.
    owned: bool,
}

/// Page tables of one address space.
///
/// Addresses are guest virtual addresses; all lengths are rounded up to pages.
pub struct Space {
    leaves: BTreeMap<u64, Slot>,
    present: usize,
    owned: usize,
    copied: u64,
    /// Unique in the process, for life.
    id: u64,
    /// Unique in the process; renewed whenever a pointer that was handed out may be stale.
    generation: AtomicU64,
    /// Renewed whenever an address may have come to mean other code.
    code: u64,
    /// Renewed with `code`, and whenever a page with code appears: spaces that have the same one have the same pages with code.
    text: u64,
    /// The space that this one is a copy of.
    origin: u64,
    /// A clone was made from a shared reference: leaves are not ours alone any more.
    cloned: AtomicBool,
}

static GENERATIONS: AtomicU64 = AtomicU64::new(1);

fn new_generation() -> u64 {
    GENERATIONS.fetch_add(1, Ordering::Relaxed)
}

/// What the interpreter's cache of translations is filled from.
pub(crate) struct Entry<'a> {
    pub page: &'a PageRef,
    pub prot: Prot,
    pub shared: bool,
}

/// A page that may be written in place now.
pub(crate) struct WriteTarget {
    pub ptr: *mut u8,
    /// The page that stood here before it was copied.
    pub replaced: Option<PageRef>,
    /// The page has decoded code, which the writer must take away.
    pub code: Option<PageRef>,
}

impl Default for Space {
    fn default() -> Self {
        Space::new()
    }
}

impl std::fmt::Debug for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Space")
            .field("present", &self.present)
            .field("owned", &self.owned)
            .finish()
    }
}

impl Clone for Space {
    /// The same as [`Space::fork`], from a shared reference.
    fn clone(&self) -> Space {
        self.cloned.store(true, Ordering::Release);
        self.generation.store(new_generation(), Ordering::Release);
        let leaves = self
            .leaves
            .iter()
            .map(|(&k, s)| {
                (
                    k,
                    Slot {
                        leaf: Arc::clone(&s.leaf),
                        owned: false,
                    },
                )
            })
            .collect();
        Space {
            leaves,
            present: self.present,
            owned: 0,
            copied: 0,
            id: new_generation(),
            generation: AtomicU64::new(new_generation()),
            code: self.code,
            text: self.text,
            origin: self.id,
            cloned: AtomicBool::new(false),
        }
    }
}

impl Space {
    /// An empty address space.
    pub fn new() -> Space {
        Space {
            leaves: BTreeMap::new(),
            present: 0,
            owned: 0,
            copied: 0,
            id: new_generation(),
            generation: AtomicU64::new(new_generation()),
            code: new_generation(),
            text: new_generation(),
            origin: 0,
            cloned: AtomicBool::new(false),
        }
    }

    /// A second space with the same contents. Tables are shared copy-on-write, and every private page becomes
    /// read-shared in both.
    pub fn fork(&mut self) -> Space {
        let child = self.clone();
        self.settle();
        child
    }

    /// Gives up ownership of leaves that a clone has shared.
    pub(crate) fn settle(&mut self) {
        if *self.cloned.get_mut() {
            *self.cloned.get_mut() = false;
            for slot in self.leaves.values_mut() {
                slot.owned = false;
            }
            self.owned = 0;
            self.renew();
        }
    }

    fn renew(&mut self) {
        *self.generation.get_mut() = new_generation();
    }

    /// What was code at some address is not, or is other code.
    fn renew_code(&mut self) {
        self.code = new_generation();
        self.text = self.code;
    }

    /// A number that no other space ever has.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// A number that changes whenever an address may have come to mean another page or other rights.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// A number that changes whenever an address may have come to mean other code, or code that may not be run.
    pub(crate) fn code(&self) -> u64 {
        self.code
    }

    /// A number that changes whenever a page with code comes or goes.
    pub(crate) fn text(&self) -> u64 {
        self.text
    }

    /// The id of the space that this one is a copy of. As long as [`Space::text`] of both is the same, the same addresses have the
    /// same pages with code.
    pub(crate) fn origin(&self) -> u64 {
        self.origin
    }

    /// Makes every cached translation of this space stale.
    pub(crate) fn renew_generation(&mut self) -> u64 {
        self.renew();
        self.generation()
    }

    /// The leaf at `key`, ours alone; made if absent.
    fn leaf_mut(&mut self, key: u64) -> &mut Leaf {
        let slot = self.leaves.entry(key).or_insert_with(|| Slot {
            leaf: Arc::new(Leaf::empty()),
            owned: true,
        });
        if !slot.owned {
            let mut leaf = (*slot.leaf).clone();
            for f in &mut leaf.flags {
                *f &= !OWNED;
            }
            slot.leaf = Arc::new(leaf);
            slot.owned = true;
        }
        Arc::make_mut(&mut slot.leaf)
    }

    /// Replaces the entry of the page that holds `va`. A page handle that was never cloned becomes this space's own
    /// and is written in place; any other page that is mapped `Private` is copied before the first write.
    /// Addresses at or above 2^47 are ignored.
    pub fn map(&mut self, va: u64, page: PageRef, prot: Prot, share: Share) {
        if va >= TOP {
            return;
        }
        self.settle();
        let mut flags = prot.bits();
        match share {
            Share::Shared => {
                flags |= SHARED;
                if prot.contains(Prot::WRITE) {
                    page.set_shared_writable();
                }
            }
            Share::Private if page.exclusive() => flags |= OWNED,
            Share::Private => {}
        }
        let vpn = va >> 12;
        let i = (vpn % LEAF as u64) as usize;
        let leaf = self.leaf_mut(vpn / LEAF as u64);
        let before = leaf.pages[i].replace(page);
        let old = std::mem::replace(&mut leaf.flags[i], flags);
        leaf.present |= 1 << i;
        self.owned += usize::from(flags & OWNED != 0);
        if before.is_some() {
            self.owned -= usize::from(old & OWNED != 0);
            self.renew();
            if (flags | old) & EXEC != 0 {
                self.renew_code();
            }
        } else {
            self.present += 1;
            if flags & EXEC != 0 {
                self.text = new_generation();
            }
        }
    }

    /// Keys of leaves that `[va, va+len)` touches.
    fn keys(&self, first: u64, last: u64) -> Vec<u64> {
        self.leaves
            .range(first / LEAF as u64..=last / LEAF as u64)
            .map(|(&k, _)| k)
            .collect()
    }

    /// First and last page number of a range; `None` if it is empty. Clipped to user addresses.
    fn span(va: u64, len: u64) -> Option<(u64, u64)> {
        if len == 0 || va >= TOP {
            return None;
        }
        let end = va.saturating_add(len).min(TOP);
        Some((va >> 12, (end - 1) >> 12))
    }

    /// Removes every entry in `[va, va + len)`.
    pub fn unmap(&mut self, va: u64, len: u64) {
        self.settle();
        let Some((first, last)) = Self::span(va, len) else {
            return;
        };
        let (mut changed, mut had_code) = (false, false);
        for key in self.keys(first, last) {
            let base = key * LEAF as u64;
            let lo = first.saturating_sub(base) as usize;
            let hi = (last - base).min(LEAF as u64 - 1) as usize;
            let mask = (u64::MAX << lo) & (u64::MAX >> (63 - hi));
            let Some(slot) = self.leaves.get(&key) else {
                continue;
            };
            let hit = slot.leaf.present & mask;
            if hit == 0 {
                continue;
            }
            changed = true;
            had_code |= (lo..=hi).any(|i| slot.leaf.flags[i] & EXEC != 0);
            self.present -= hit.count_ones() as usize;
            if slot.owned {
                let owned = (lo..=hi).filter(|&i| slot.leaf.flags[i] & OWNED != 0).count();
                self.owned -= owned;
            }
            if slot.leaf.present & !mask == 0 {
                self.leaves.remove(&key);
                continue;
            }
            let leaf = self.leaf_mut(key);
            for i in lo..=hi {
                leaf.pages[i] = None;
                leaf.flags[i] = 0;
            }
            leaf.present &= !mask;
        }
        if changed {
            self.renew();
        }
        if had_code {
            self.renew_code();
        }
    }

    /// Changes the rights of the pages present in `[va, va + len)`.
    pub fn protect(&mut self, va: u64, len: u64, prot: Prot) {
        self.settle();
        let Some((first, last)) = Self::span(va, len) else {
            return;
        };
        let (mut changed, mut code) = (false, prot.contains(Prot::EXEC));
        for key in self.keys(first, last) {
            let base = key * LEAF as u64;
            let lo = first.saturating_sub(base) as usize;
            let hi = (last - base).min(LEAF as u64 - 1) as usize;
            let Some(slot) = self.leaves.get(&key) else {
                continue;
            };
            let differs =
                (lo..=hi).any(|i| slot.leaf.pages[i].is_some() && slot.leaf.flags[i] & 7 != prot.bits());
            if !differs {
                continue;
            }
            changed = true;
            code |= (lo..=hi).any(|i| slot.leaf.flags[i] & EXEC != 0);
            let leaf = self.leaf_mut(key);
            for i in lo..=hi {
                if let Some(page) = &leaf.pages[i] {
                    leaf.flags[i] = leaf.flags[i] & !7 | prot.bits();
                    if leaf.flags[i] & SHARED != 0 && prot.contains(Prot::WRITE) {
                        page.set_shared_writable();
                    }
                }
            }
        }
        if changed {
            self.renew();
            if code {
                self.renew_code();
            }
        }
    }

    /// Moves the entries of `[from, from + len)` to `to` as they are (for mremap); what stood there is replaced.
    /// Both addresses are page-aligned.
    pub fn relocate(&mut self, from: u64, to: u64, len: u64) {
        if from == to {
            return;
        }
        let mut moved = Vec::new();
        self.settle();
        let Some((first, last)) = Self::span(from, len) else {
            return;
        };
        for key in self.keys(first, last) {
            let base = key * LEAF as u64;
            let lo = first.saturating_sub(base) as usize;
            let hi = (last - base).min(LEAF as u64 - 1) as usize;
            let leaf = self.leaf_mut(key);
            for i in lo..=hi {
                if let Some(page) = leaf.pages[i].take() {
                    moved.push((base + i as u64, page, leaf.flags[i]));
                    leaf.flags[i] = 0;
                    leaf.present &= !(1 << i);
                }
            }
            self.present -= moved.iter().filter(|m| m.0 / LEAF as u64 == key).count();
            self.owned -= moved
                .iter()
                .filter(|m| m.0 / LEAF as u64 == key && m.2 & OWNED != 0)
                .count();
            if self.leaves.get(&key).is_some_and(|s| s.leaf.present == 0) {
                self.leaves.remove(&key);
            }
        }
        self.unmap(to, len);
        if moved.iter().any(|m| m.2 & EXEC != 0) {
            self.renew_code();
        }
        for (vpn, page, flags) in moved {
            let va = to.wrapping_add((vpn << 12).wrapping_sub(from & !PAGE_MASK));
            let share = if flags & SHARED != 0 {
                Share::Shared
            } else {
                Share::Private
            };
            self.map(va, page, Prot::from_bits(flags), share);
        }
        self.renew();
    }

    /// The entry of the page that holds `va`. The handle is a view: if the page was exclusive to this space, it is
    /// not any more, and the next private write copies it.
    pub fn page(&self, va: u64) -> Option<(PageRef, Prot, Share)> {
        let e = self.entry(va >> 12)?;
        if e.page.exclusive() {
            self.generation.store(new_generation(), Ordering::Release);
        }
        let share = if e.shared { Share::Shared } else { Share::Private };
        Some((e.page.clone(), e.prot, share))
    }

    /// Rights and kind of the entry of the page that holds `va`, without a handle.
    pub fn rights(&self, va: u64) -> Option<(Prot, Share)> {
        let e = self.entry(va >> 12)?;
        Some((e.prot, if e.shared { Share::Shared } else { Share::Private }))
    }

    /// The entry of page number `vpn`.
    pub(crate) fn entry(&self, vpn: u64) -> Option<Entry<'_>> {
        let slot = self.leaves.get(&(vpn / LEAF as u64))?;
        let i = (vpn % LEAF as u64) as usize;
        let page = slot.leaf.pages[i].as_ref()?;
        let flags = slot.leaf.flags[i];
        Some(Entry {
            page,
            prot: Prot::from_bits(flags),
            shared: flags & SHARED != 0,
        })
    }

    /// The pages present in `[va, va + len)` in order of address.
    pub fn present(&self, va: u64, len: u64) -> impl Iterator<Item = (u64, &PageRef, Prot, Share)> + '_ {
        let (first, last) = Self::span(va, len).unwrap_or((1, 0));
        let keys = if first > last {
            1..1
        } else {
            first / LEAF as u64..last / LEAF as u64 + 1
        };
        self.leaves.range(keys).flat_map(move |(&key, slot)| {
            let leaf = &*slot.leaf;
            (0..LEAF).filter_map(move |i| {
                let vpn = key * LEAF as u64 + i as u64;
                let page = leaf.pages[i].as_ref()?;
                let flags = leaf.flags[i];
                let share = if flags & SHARED != 0 {
                    Share::Shared
                } else {
                    Share::Private
                };
                (first..=last)
                    .contains(&vpn)
                    .then_some((vpn << 12, page, Prot::from_bits(flags), share))
            })
        })
    }

    /// Counts; the number of copies starts anew.
    pub fn stats(&mut self) -> Stats {
        self.settle();
        Stats {
            present: self.present,
            owned: self.owned,
            copied: std::mem::take(&mut self.copied),
        }
    }

    /// Leaves of the page table, each of 64 entries.
    pub fn leaves(&self) -> usize {
        self.leaves.len()
    }

    /// Takes the private pages out that nobody else holds, in order of address; their entries stay.
    pub(super) fn take_sole(&mut self, take: &mut dyn FnMut(u64, PageRef)) {
        self.settle();
        let mut code = false;
        for (&key, slot) in &mut self.leaves {
            // A leaf that another space shares stays whole.
            let Some(leaf) = Arc::get_mut(&mut slot.leaf) else {
                continue;
            };
            for i in 0..LEAF {
                if leaf.flags[i] & SHARED == 0
                    && let Some(page) = leaf.pages[i].take_if(|p| p.sole())
                {
                    code |= leaf.flags[i] & EXEC != 0;
                    take(key * LEAF as u64 + i as u64, page);
                }
            }
        }
        self.renew();
        if code {
            self.renew_code();
        }
    }

    /// Puts a page back that [`Space::take_sole`] took.
    pub(super) fn put_back(&mut self, vpn: u64, page: PageRef) {
        if let Some(slot) = self.leaves.get_mut(&(vpn / LEAF as u64))
            && let Some(leaf) = Arc::get_mut(&mut slot.leaf)
        {
            leaf.pages[(vpn % LEAF as u64) as usize] = Some(page);
        }
    }

    /// Makes page `vpn` writable in place, copying it if others may see it.
    ///
    /// The caller has checked nothing: an absent page or one without WRITE gives `None`.
    pub(crate) fn writable(&mut self, vpn: u64) -> Option<WriteTarget> {
        self.settle();
        let key = vpn / LEAF as u64;
        let i = (vpn % LEAF as u64) as usize;
        let slot = self.leaves.get_mut(&key)?;
        let flags = slot.leaf.flags[i];
        let page = slot.leaf.pages[i].as_ref()?;
        if flags & Prot::WRITE.bits() == 0 {
            return None;
        }
        if flags & SHARED != 0 || slot.owned && flags & OWNED != 0 && page.exclusive() {
            let code = page.has_code().then(|| PageRef::clone_quiet(page));
            return Some(WriteTarget {
                ptr: page.as_ptr(),
                replaced: None,
                code,
            });
        }
        let was_owned = slot.owned && flags & OWNED != 0;
        let leaf = self.leaf_mut(key);
        let old = leaf.pages[i].take()?;
        let new = old.copy();
        let ptr = new.as_ptr();
        leaf.pages[i] = Some(new);
        leaf.flags[i] |= OWNED;
        self.copied += 1;
        self.owned += usize::from(!was_owned);
        self.renew();
        if flags & EXEC != 0 {
            self.renew_code();
        }
        Some(WriteTarget {
            ptr,
            replaced: Some(old),
            code: None,
        })
    }

    fn fault(&self, addr: u64, write: bool, done: usize) -> Fault {
        let present = addr < TOP && self.entry(addr >> 12).is_some();
        let error_code = u32::from(present) | if write { 2 } else { 0 } | 4;
        Fault {
            kind: FaultKind::Page,
            addr,
            error_code,
            done,
        }
    }

    /// Copies guest memory at `va` into `buf`.
    ///
    /// # Errors
    /// A page fault at the first address that cannot be read; `done` bytes were copied before it.
    pub fn read(&self, va: u64, buf: &mut [u8]) -> Result<(), Fault> {
        let mut done = 0;
        while done < buf.len() {
            let addr = va.wrapping_add(done as u64);
            let entry = if addr < TOP { self.entry(addr >> 12) } else { None };
            let Some(e) = entry.filter(|e| !e.prot.is_empty()) else {
                return Err(self.fault(addr, false, done));
            };
            done += e.page.read((addr & PAGE_MASK) as usize, &mut buf[done..]);
        }
        Ok(())
    }

    /// Copies `bytes` to guest memory at `va`, copying pages that others may see.
    ///
    /// # Errors
    /// A page fault at the first address that cannot be written; `done` bytes were written before it.
    pub fn write(&mut self, va: u64, bytes: &[u8]) -> Result<(), Fault> {
        let mut done = 0;
        while done < bytes.len() {
            let addr = va.wrapping_add(done as u64);
            let target = if addr < TOP {
                self.writable(addr >> 12)
            } else {
                None
            };
            let Some(target) = target else {
                return Err(self.fault(addr, true, done));
            };
            if let Some(page) = target.code {
                page.forget_code();
            }
            let off = (addr & PAGE_MASK) as usize;
            let n = (bytes.len() - done).min(PAGE_SIZE - off);
            // SAFETY: the target is a whole page that may be written in place, off + n <= PAGE_SIZE.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr().add(done), target.ptr.add(off), n) };
            done += n;
        }
        Ok(())
    }

    /// Reads a little-endian `u32`.
    ///
    /// # Errors
    /// As [`Space::read`].
    pub fn read_u32(&self, va: u64) -> Result<u32, Fault> {
        let mut b = [0; 4];
        self.read(va, &mut b).map(|()| u32::from_le_bytes(b))
    }

    /// Reads a little-endian `u64`.
    ///
    /// # Errors
    /// As [`Space::read`].
    pub fn read_u64(&self, va: u64) -> Result<u64, Fault> {
        let mut b = [0; 8];
        self.read(va, &mut b).map(|()| u64::from_le_bytes(b))
    }

    /// Writes a little-endian `u32`.
    ///
    /// # Errors
    /// As [`Space::write`].
    pub fn write_u32(&mut self, va: u64, value: u32) -> Result<(), Fault> {
        self.write(va, &value.to_le_bytes())
    }

    /// Writes a little-endian `u64`.
    ///
    /// # Errors
    /// As [`Space::write`].
    pub fn write_u64(&mut self, va: u64, value: u64) -> Result<(), Fault> {
        self.write(va, &value.to_le_bytes())
    }

    /// Compares the word at `va` with `expected` and, if equal, stores `new`; returns the word before. The page must
    /// be writable either way, as the processor demands of `cmpxchg`.
    ///
    /// # Errors
    /// As [`Space::write`].
    pub fn cmpxchg_u32(&mut self, va: u64, expected: u32, new: u32) -> Result<u32, Fault> {
        let old = self.read_u32(va)?;
        self.write_u32(va, if old == expected { new } else { old })?;
        Ok(old)
    }

    /// Reads bytes up to a zero byte, which is not returned, or up to `max` bytes: then `Ok(None)`.
    ///
    /// # Errors
    /// As [`Space::read`]; `done` counts the bytes before the fault.
    pub fn read_cstr(&self, va: u64, max: usize) -> Result<Option<Vec<u8>>, Fault> {
        let mut out = Vec::new();
        let mut chunk = [0; PAGE_SIZE];
        while out.len() < max {
            let addr = va.wrapping_add(out.len() as u64);
            let n = (PAGE_SIZE - (addr & PAGE_MASK) as usize).min(max - out.len());
            self.read(addr, &mut chunk[..n]).map_err(|f| Fault {
                done: out.len() + f.done,
                ..f
            })?;
            if let Some(end) = chunk[..n].iter().position(|&b| b == 0) {
                out.extend_from_slice(&chunk[..end]);
                return Ok(Some(out));
            }
            out.extend_from_slice(&chunk[..n]);
        }
        Ok(None)
    }
}
