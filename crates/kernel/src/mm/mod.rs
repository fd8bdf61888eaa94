//! Memory of processes: mappings, demand paging, copies between kernel and user.
//!
//! A mapping says what lies where; pages come in at the first touch. File contents and shared memory belong to inodes of the
//! file system (anonymous shared memory is an unnamed tmpfs inode, as in Linux), so that read, write and mmap see the same
//! bytes.

mod calls;
mod user;

pub(crate) use calls::*;

use crate::abi::*;
use crate::object::ObjectId;
use crate::vfs::{Path as Loc, Vfs};
use crate::world::World;
use crate::{Errno, KResult};
use std::collections::BTreeMap;
use turncoat_cpu::{PageRef, Prot, Share, Space};
use turncoat_freeze::Freeze;

/// First address above user space, as TASK_SIZE_MAX with 47 bits.
pub(crate) const TASK_SIZE: u64 = 0x7fff_ffff_f000;
/// vm.mmap_min_addr.
pub(crate) const MMAP_MIN: u64 = 65536;
/// vm.max_map_count.
const MAX_MAPS: usize = 65530;

/// What lies behind a mapping.
#[derive(Clone, PartialEq, Debug, Freeze)]
pub(crate) enum Back {
    Anon,
    /// An object from this byte offset on. With `file` the inode is held for it, else the object; `label` is what
    /// /proc/PID/maps shows then.
    Obj {
        obj: ObjectId,
        file: Option<Loc>,
        off: u64,
        label: &'static str,
    },
}

/// One mapping.
#[derive(Clone, PartialEq, Debug, Freeze)]
pub(crate) struct Vma {
    pub start: u64,
    pub end: u64,
    /// PROT_* bits.
    pub prot: u8,
    /// PROT_* bits that mprotect may set.
    pub may: u8,
    pub shared: bool,
    pub grows_down: bool,
    pub locked: bool,
    pub dontfork: bool,
    pub wipeonfork: bool,
    pub noreserve: bool,
    pub back: Back,
    /// `[heap]`, `[stack]`, `[vdso]`.
    pub label: &'static str,
}

impl Vma {
    fn tail_at(&self, at: u64) -> Vma {
        let mut v = self.clone();
        v.start = at;
        if let Back::Obj { off, .. } = &mut v.back {
            *off += at - self.start;
        }
        v
    }
    fn joins(&self, n: &Vma) -> bool {
        let back = match (&self.back, &n.back) {
            (Back::Anon, Back::Anon) => true,
            // Two attachments of a segment stay two.
            (Back::Obj { label, .. }, _) if *label == crate::ipc::SEGMENT => false,
            (Back::Obj { obj: a, off: x, .. }, Back::Obj { obj: b, off: y, .. }) => {
                a == b && x + (self.end - self.start) == *y
            }
            _ => false,
        };
        back && self.end == n.start
            && self.prot == n.prot
            && self.may == n.may
            && self.shared == n.shared
            && self.grows_down == n.grows_down
            && self.locked == n.locked
            && self.dontfork == n.dontfork
            && self.wipeonfork == n.wipeonfork
            && self.noreserve == n.noreserve
            && self.label == n.label
    }
    /// Takes a hold on what is behind it.
    pub(crate) fn hold(&self, vfs: &mut Vfs) {
        match &self.back {
            Back::Obj { file: Some(f), .. } => vfs.hold(f.ino),
            Back::Obj { obj, .. } => vfs.objects.retain(*obj),
            Back::Anon => {}
        }
    }
    /// Ends a hold.
    pub(crate) fn release(&self, vfs: &mut Vfs) {
        match &self.back {
            Back::Obj { file: Some(f), .. } => vfs.release(f.ino),
            Back::Obj { obj, .. } => vfs.objects.release(*obj),
            Back::Anon => {}
        }
    }
}

/// An address space and what it is made of.
#[derive(Clone)]
pub(crate) struct Mm {
    pub users: u32,
    pub space: Space,
    pub vmas: BTreeMap<u64, Vma>,
    pub mmap_base: u64,
    pub start_brk: u64,
    pub brk: u64,
    pub start_code: u64,
    pub end_code: u64,
    pub start_data: u64,
    pub end_data: u64,
    pub start_stack: u64,
    pub arg: (u64, u64),
    pub env: (u64, u64),
    pub auxv: Vec<u8>,
    pub vdso: u64,
    /// The program; held.
    pub exe: Option<crate::vfs::Path>,
    pub peak: u64,
    pub hiwater_rss: u64,
}

/// How an access failed: the signal to send.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bad {
    /// SIGSEGV, SEGV_MAPERR.
    NoMap,
    /// SIGSEGV, SEGV_ACCERR.
    Access,
    /// SIGBUS, BUS_ADRERR.
    Bus,
    /// No memory: the process is killed.
    Oom,
}

fn prot_of(p: u8) -> Prot {
    Prot::from_bits(p & 7)
}

impl Mm {
    pub fn new() -> Mm {
        Mm {
            users: 1,
            space: Space::new(),
            vmas: BTreeMap::new(),
            mmap_base: 0x7fff_f7ff_f000,
            start_brk: 0,
            brk: 0,
            start_code: 0,
            end_code: 0,
            start_data: 0,
            end_data: 0,
            start_stack: 0,
            arg: (0, 0),
            env: (0, 0),
            auxv: Vec::new(),
            vdso: 0,
            exe: None,
            peak: 0,
            hiwater_rss: 0,
        }
    }

    /// The mapping that contains `va`.
    pub fn find(&self, va: u64) -> Option<&Vma> {
        self.vmas
            .range(..=va)
            .next_back()
            .map(|(_, v)| v)
            .filter(|v| va < v.end)
    }

    /// Mappings that overlap a range, in order.
    pub fn overlapping(&self, start: u64, end: u64) -> Vec<u64> {
        let first = self.find(start).map_or(start, |v| v.start);
        self.vmas.range(first..end).map(|(k, _)| *k).collect()
    }

    /// Which program it runs: the number of its file, 0 for none.
    pub fn program(&self) -> u64 {
        self.exe.as_ref().map_or(0, |e| e.ino.num())
    }

    /// Total bytes mapped.
    pub fn total(&self) -> u64 {
        self.vmas.values().map(|v| v.end - v.start).sum()
    }

    /// Bytes present.
    pub fn rss(&mut self) -> u64 {
        self.space.stats().present as u64 * PAGE
    }

    /// Splits a mapping at `at`, if one contains it.
    fn split(&mut self, at: u64, vfs: &mut Vfs) {
        let Some(v) = self.find(at).cloned() else { return };
        if v.start == at {
            return;
        }
        let tail = v.tail_at(at);
        tail.hold(vfs);
        if let Some(head) = self.vmas.get_mut(&v.start) {
            head.end = at;
        }
        self.vmas.insert(at, tail);
    }

    /// Joins the mapping at `start` with its neighbours where Linux would.
    fn join(&mut self, start: u64, vfs: &mut Vfs) {
        let mut at = start;
        if let Some((k, p)) = self.vmas.range(..start).next_back()
            && self.vmas.get(&start).is_some_and(|v| p.joins(v))
        {
            at = *k;
            self.absorb(at, start, vfs);
        }
        let Some(end) = self.vmas.get(&at).map(|v| v.end) else {
            return;
        };
        if let Some(n) = self.vmas.get(&end)
            && self.vmas.get(&at).is_some_and(|v| v.joins(n))
        {
            self.absorb(at, end, vfs);
        }
    }

    fn absorb(&mut self, a: u64, b: u64, vfs: &mut Vfs) {
        if let Some(n) = self.vmas.remove(&b) {
            n.release(vfs);
            if let Some(v) = self.vmas.get_mut(&a) {
                v.end = n.end;
            }
        }
    }

    /// Removes everything in a range.
    pub fn unmap(&mut self, start: u64, end: u64, vfs: &mut Vfs) {
        self.split(start, vfs);
        self.split(end, vfs);
        let keys: Vec<u64> = self.vmas.range(start..end).map(|(k, _)| *k).collect();
        for k in keys {
            if let Some(v) = self.vmas.remove(&k) {
                v.release(vfs);
            }
        }
        self.space.unmap(start, end - start);
    }

    /// Adds a mapping over whatever was there. A file's inode must have been held for it.
    pub fn insert(&mut self, v: Vma, vfs: &mut Vfs) {
        self.unmap(v.start, v.end, vfs);
        let s = v.start;
        self.vmas.insert(s, v);
        self.join(s, vfs);
        self.peak = self.peak.max(self.total());
    }

    /// The highest free place of `len` bytes below the base, as the kernel's top-down search finds it.
    pub fn gap(&self, len: u64, low: bool) -> Option<u64> {
        let mut top = if low { 0x8000_0000 } else { self.mmap_base };
        for v in self.vmas.range(..top).rev().map(|(_, v)| v) {
            // A growing stack keeps its guard gap.
            let guard = if v.grows_down { 256 * PAGE } else { 0 };
            if v.end <= top && top - v.end >= len {
                return Some(top - len);
            }
            top = top.min(v.start.saturating_sub(guard));
        }
        (top >= len + MMAP_MIN)
            .then(|| top - len)
            .or_else(|| self.gap_up(len))
    }

    fn gap_up(&self, len: u64) -> Option<u64> {
        let mut at = self.mmap_base;
        for v in self.vmas.range(at..).map(|(_, v)| v) {
            if v.start >= at && v.start - at >= len {
                return Some(at);
            }
            at = at.max(v.end);
        }
        (TASK_SIZE.saturating_sub(at) >= len).then_some(at)
    }

    /// True if nothing is mapped in the range.
    pub fn is_free(&self, start: u64, end: u64) -> bool {
        self.overlapping(start, end).is_empty()
    }

    /// Brings the page at `va` in for an access (PROT_* bits). `grow` says how far a stack may grow.
    pub fn fault(&mut self, va: u64, want: u8, zero: &PageRef, vfs: &mut Vfs, grow: u64) -> Result<(), Bad> {
        let page = page_down(va);
        if self.find(va).is_none() {
            self.grow_stack(page, grow)?;
        }
        let v = self.find(va).ok_or(Bad::NoMap)?;
        let readable = v.prot & 7 != 0;
        let ok = match want {
            w if w & PROT_WRITE as u8 != 0 => v.prot & PROT_WRITE as u8 != 0,
            w if w & PROT_EXEC as u8 != 0 => v.prot & PROT_EXEC as u8 != 0,
            _ => readable,
        };
        if !ok {
            return Err(Bad::Access);
        }
        let prot = prot_of(v.prot);
        if let Some((have, _)) = self.space.rights(page)
            && have == prot
        {
            return Ok(());
        }
        let write = want & PROT_WRITE as u8 != 0;
        let (frame, share) = match &v.back {
            Back::Anon => {
                let p = if write { PageRef::zeroed() } else { zero.clone() };
                (p, Share::Private)
            }
            Back::Obj { obj, off, .. } => {
                let idx = (off + (page - v.start)) / PAGE;
                if v.shared && v.prot & PROT_WRITE as u8 != 0 {
                    let p = vfs.objects.write_page(*obj, idx).map_err(bus)?;
                    (p, Share::Shared)
                } else {
                    let p = vfs.objects.page(*obj, idx).ok_or(Bad::Bus)?;
                    (p, if v.shared { Share::Shared } else { Share::Private })
                }
            }
        };
        self.space.map(page, frame, prot, share);
        Ok(())
    }

    fn grow_stack(&mut self, page: u64, limit: u64) -> Result<(), Bad> {
        let (start, end) = match self.vmas.range(page..).next() {
            Some((_, v)) if v.grows_down => (v.start, v.end),
            _ => return Err(Bad::NoMap),
        };
        if end - page > limit || page < MMAP_MIN {
            return Err(Bad::NoMap);
        }
        // The guard gap below.
        if let Some((_, p)) = self.vmas.range(..page).next_back()
            && p.end + 256 * PAGE > page
            && p.prot != 0
        {
            return Err(Bad::NoMap);
        }
        if let Some(mut v) = self.vmas.remove(&start) {
            v.start = page;
            self.vmas.insert(page, v);
        }
        Ok(())
    }
}

fn bus(e: Errno) -> Bad {
    match e {
        Errno::ENOMEM | Errno::ENOSPC => Bad::Oom,
        _ => Bad::Bus,
    }
}

impl World {
    /// Copies an address space for fork.
    pub(crate) fn fork_mm(&mut self, id: u32) -> KResult<u32> {
        let m = self.mms.get_mut(&id).ok_or(Errno::ENOMEM)?;
        let space = m.space.fork();
        let mut n = m.clone_without_space(space);
        n.users = 1;
        let drop: Vec<(u64, u64)> = n
            .vmas
            .values()
            .filter(|v| v.dontfork)
            .map(|v| (v.start, v.end))
            .collect();
        let wipe: Vec<(u64, u64)> = n
            .vmas
            .values()
            .filter(|v| v.wipeonfork)
            .map(|v| (v.start, v.end))
            .collect();
        for v in n.vmas.values() {
            v.hold(&mut self.vfs);
        }
        if let Some(e) = n.exe.clone() {
            self.vfs_hold(&e);
        }
        for (s, e) in drop {
            n.unmap(s, e, &mut self.vfs);
        }
        for (s, e) in wipe {
            n.space.unmap(s, e - s);
        }
        let nid = self.fresh_id();
        self.mms.insert(nid, Box::new(n));
        Ok(nid)
    }

    /// A thread lets go of its memory.
    pub(crate) fn drop_mm(&mut self, tid: u32) {
        let Some(id) = self.tm(tid).ok().and_then(|t| t.mm.take()) else {
            return;
        };
        let Some(m) = self.mms.get_mut(&id) else { return };
        m.users = m.users.saturating_sub(1);
        if m.users == 0
            && let Some(m) = self.mms.remove(&id)
        {
            for v in m.vmas.values() {
                v.release(&mut self.vfs);
            }
            if let Some(e) = &m.exe {
                self.vfs_release(e);
            }
            let tgid = self.tgid(tid);
            self.shm_settle(tgid);
        }
    }

    /// Resident bytes of a process.
    pub(crate) fn rss_of(&mut self, tgid: u32) -> u64 {
        let Some(id) = self.t(tgid).ok().and_then(|t| t.mm) else {
            return 0;
        };
        self.mms.get_mut(&id).map_or(0, |m| m.rss())
    }

    /// Brings in a page for thread `tid`.
    pub(crate) fn fault_in(&mut self, tid: u32, va: u64, want: u8) -> Result<(), Bad> {
        let t = self.tm(tid).map_err(|_| Bad::NoMap)?;
        t.minflt += 1;
        let (mm, tgid) = (t.mm.ok_or(Bad::NoMap)?, t.tgid);
        let grow = self.p(tgid).map_or(8 << 20, |p| p.limits[RLIMIT_STACK].0);
        let m = self.mms.get_mut(&mm).ok_or(Bad::NoMap)?;
        m.fault(va, want, &self.zero, &mut self.vfs, grow.min(64 << 20))
    }

    /// Pages of objects that changed identity (truncated, or an image's page made our own) leave the page tables.
    pub(crate) fn refresh_mappings(&mut self) {
        if self.vfs.objects.invalid.is_empty() {
            return;
        }
        for (o, from, to) in std::mem::take(&mut self.vfs.objects.invalid) {
            let (lo_b, hi_b) = (from.saturating_mul(PAGE), to.saturating_mul(PAGE));
            for m in self.mms.values_mut() {
                let ranges: Vec<(u64, u64)> = m
                    .vmas
                    .values()
                    .filter_map(|v| match &v.back {
                        Back::Obj { obj, off, .. } if *obj == o => {
                            let lo = lo_b.max(*off);
                            let hi = hi_b.min(off + (v.end - v.start));
                            (lo < hi).then(|| (v.start + (lo - off), v.start + (hi - off)))
                        }
                        _ => None,
                    })
                    .collect();
                for (s, e) in ranges {
                    m.space.unmap(s, e - s);
                }
            }
        }
    }
}

impl Mm {
    fn clone_without_space(&self, space: Space) -> Mm {
        Mm {
            users: 1,
            space,
            vmas: self.vmas.clone(),
            auxv: self.auxv.clone(),
            exe: self.exe.clone(),
            ..*self
        }
    }
}
