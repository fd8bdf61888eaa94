//! Shared memory segments: shmget, shmat, shmdt, shmctl (shmop(2), ipc/shm.c).
//!
//! A segment is an object whose holders are counted: each mapping that comes or goes is told by `Objects::attachments`, and
//! [`World::shm_settle`] keeps the segment's counters by it. So fork, exec, exit, munmap and mremap need to know nothing of segments.

use super::*;
use crate::mm::{Back, TASK_SIZE, Vma, may_grow};
use crate::object::Objects;
use turncoat_freeze::Freeze;

/// What marks a mapping of a segment, as /proc/PID/maps begins its name.
pub(crate) const SEGMENT: &str = "/SYSV";

const SHM_RDONLY: u64 = 0o10000;
const SHM_RND: u64 = 0o20000;
const SHM_REMAP: u64 = 0o40000;
const SHM_EXEC: u64 = 0o100000;
const SHM_HUGETLB: u32 = 0o4000;
const SHM_NORESERVE: u32 = 0o10000;
const SHM_DEST: u32 = 0o1000;
const SHM_LOCKED: u32 = 0o2000;

/// One segment.
#[derive(Clone, Debug, Freeze)]
pub(crate) struct Segment {
    pub perm: Perm,
    pub object: ObjectId,
    pub size: u64,
    pub atime: i64,
    pub dtime: i64,
    pub ctime: i64,
    pub cpid: u32,
    pub lpid: u32,
    /// Mappings of it.
    pub attached: u64,
    /// The key that it was made with; its own becomes IPC_PRIVATE when it is removed.
    named: i32,
}

impl Object for Segment {
    fn perm(&self) -> &Perm {
        &self.perm
    }
    fn perm_mut(&mut self) -> &mut Perm {
        &mut self.perm
    }
    /// As `struct shmid64_ds`.
    fn stat(&self) -> Enc {
        let mut e = Enc::new();
        self.perm.put(&mut e);
        e.u64(self.size);
        e.i64(self.atime).i64(self.dtime).i64(self.ctime);
        e.u32(self.cpid).u32(self.lpid).u64(self.attached);
        e.pad_to(112);
        e
    }
}

impl Ipc {
    /// All segments.
    pub(super) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.shm.objects.values()
    }

    /// The name and number of the segment with this content, as /proc/PID/maps shows a mapping of it.
    pub fn segment_name(&self, object: ObjectId) -> Option<(String, u32)> {
        let id = *self.segments.get(&object)?;
        let s = self.shm.objects.get(&(id & (MOST as u32 - 1)))?;
        Some((format!("{SEGMENT}{:08x} (deleted)", s.named), id))
    }
}

impl World {
    /// Counts the mappings of segments that came and went by what process `pid` did.
    pub(crate) fn shm_settle(&mut self, pid: u32) {
        if self.vfs.objects.attachments.is_empty() {
            return;
        }
        let now = self.ipc_now();
        let forced = self.ipc_knob("kernel.shm_rmid_forced").is_ok_and(|[n]| n != 0);
        for (object, came) in std::mem::take(&mut self.vfs.objects.attachments) {
            let Some(id) = self.ipc.segments.get(&object).copied() else {
                continue;
            };
            let Ok(s) = self.ipc.shm.by_id(id as i32) else {
                continue;
            };
            s.lpid = pid;
            if came {
                s.attached += 1;
                s.atime = now;
            } else {
                s.attached = s.attached.saturating_sub(1);
                s.dtime = now;
                if s.attached == 0 && (forced || s.perm.mode & SHM_DEST != 0) {
                    self.shm_destroy(id);
                }
            }
        }
    }

    fn shm_destroy(&mut self, id: u32) {
        if let Some(s) = self.ipc.shm.remove(id) {
            self.ipc.segments.remove(&s.object);
            self.vfs.objects.release_segment(s.object);
            self.ipc_uncharge(OBJECT_COST);
        }
    }

    /// A process is gone: with kernel.shm_rmid_forced nothing stays of what only it could have removed.
    pub(crate) fn shm_exit(&mut self, pid: u32) {
        let mine = |s: &&Segment| s.cpid == pid && s.attached == 0;
        if self.ipc.segments().find(mine).is_none() {
            return;
        }
        if self.ipc_knob("kernel.shm_rmid_forced").is_ok_and(|[n]| n != 0) {
            let ids: Vec<u32> = self.ipc.segments().filter(mine).map(|s| s.perm.id).collect();
            for id in ids {
                self.shm_destroy(id);
            }
        }
    }

    /// Bytes of memory that segments hold.
    pub(crate) fn shm_resident(&self, objects: &Objects) -> u64 {
        self.ipc
            .segments()
            .map(|s| objects.pages_used(s.object) * PAGE)
            .sum()
    }
}

pub(crate) fn shmget(w: &mut World, c: &mut Call) -> SysRes {
    let (size, flags) = (c.a[1], c.a[2] as u32);
    let pid = w.tgid(c.tid);
    let fits = |s: &Segment| {
        if s.size < size { Err(Errno::EINVAL) } else { Ok(()) }
    };
    get(
        w,
        c,
        |w| &w.ipc.shm,
        flags,
        fits,
        |w, perm| {
            let [max] = w.ipc_knob("kernel.shmmax")?;
            let [all] = w.ipc_knob("kernel.shmall")?;
            let [most] = w.ipc_knob("kernel.shmmni")?;
            if size == 0 || size > max {
                return Err(Errno::EINVAL);
            }
            let pages = size.div_ceil(PAGE);
            let in_use: u64 = w.ipc.segments().map(|s| s.size.div_ceil(PAGE)).sum();
            if in_use.checked_add(pages).is_none_or(|n| n > all) {
                return Err(Errno::ENOSPC);
            }
            if size > i64::MAX as u64 {
                return Err(Errno::EINVAL);
            }
            if flags & SHM_HUGETLB != 0 {
                // No huge pages are set aside.
                return Err(Errno::ENOMEM);
            }
            // What the machine could never hold is refused, as by vm.overcommit_memory=0.
            let memory = w.machine_mem();
            if flags & SHM_NORESERVE == 0 && size > memory.total + memory.swap_total {
                return Err(Errno::ENOMEM);
            }
            w.ipc_charge(OBJECT_COST)?;
            let object = w.vfs.objects.create_segment(size);
            let made = Segment {
                object,
                size,
                atime: 0,
                dtime: 0,
                ctime: w.ipc_now(),
                cpid: pid,
                lpid: 0,
                attached: 0,
                named: perm.key,
                perm,
            };
            match w.ipc.shm.insert(made, most) {
                Ok(id) => {
                    w.ipc.segments.insert(object, id);
                    Ok(id)
                }
                Err(e) => {
                    w.vfs.objects.release_segment(object);
                    w.ipc_uncharge(OBJECT_COST);
                    Err(e)
                }
            }
        },
    )
}

pub(crate) fn shmat(w: &mut World, c: &mut Call) -> SysRes {
    let [id, mut addr, flags, ..] = c.a;
    let id = id as i32;
    if id < 0 {
        return Err(Errno::EINVAL.into());
    }
    if !addr.is_multiple_of(PAGE) {
        if flags & SHM_RND == 0 {
            return Err(Errno::EINVAL.into());
        }
        addr = page_down(addr);
        if addr == 0 && flags & SHM_REMAP != 0 {
            return Err(Errno::EINVAL.into());
        }
    }
    let fixed = c.a[1] != 0;
    if !fixed && flags & SHM_REMAP != 0 {
        return Err(Errno::EINVAL.into());
    }
    let read_only = flags & SHM_RDONLY != 0;
    let (mut prot, mut want) = if read_only {
        (PROT_READ, S_IRUGO)
    } else {
        (PROT_READ | PROT_WRITE, S_IRUGO | S_IWUGO)
    };
    if flags & SHM_EXEC != 0 {
        prot |= PROT_EXEC;
        want |= 0o111;
    }
    let creds = w.creds(c.tid)?;
    let s = w.ipc.shm.by_id(id)?;
    s.perm.allows(&creds, want)?;
    let (object, len) = (s.object, page_up(s.size));
    let mm = w.t(c.tid)?.mm.ok_or(Errno::ENOMEM)?;
    may_grow(w, c.tid, mm, len)?;
    let m = w.mms.get_mut(&mm).ok_or(Errno::ENOMEM)?;
    let at = if fixed {
        let end = addr.checked_add(len).ok_or(Errno::EINVAL)?;
        if flags & SHM_REMAP == 0 && !m.is_free(addr, end) {
            return Err(Errno::EINVAL.into());
        }
        if end > TASK_SIZE {
            return Err(Errno::ENOMEM.into());
        }
        if addr < crate::mm::MMAP_MIN {
            return Err(Errno::EPERM.into());
        }
        addr
    } else {
        m.gap(len, false).ok_or(Errno::ENOMEM)?
    };
    w.vfs.objects.retain(object);
    m.insert(
        Vma {
            start: at,
            end: at + len,
            prot: prot as u8,
            may: if read_only { 5 } else { 7 },
            shared: true,
            grows_down: false,
            locked: false,
            dontfork: false,
            wipeonfork: false,
            noreserve: false,
            back: Back::Obj {
                obj: object,
                file: None,
                off: 0,
                label: SEGMENT,
            },
            label: "",
        },
        &mut w.vfs,
    );
    Ok(at as i64)
}

pub(crate) fn shmdt(w: &mut World, c: &mut Call) -> SysRes {
    let addr = c.a[0];
    if !addr.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL.into());
    }
    let mm = w.t(c.tid)?.mm.ok_or(Errno::EINVAL)?;
    let m = w.mms.get_mut(&mm).ok_or(Errno::EINVAL)?;
    // Pieces of the attachment that began at `addr`: those of the segment of the first one that lie where it put them.
    let pieces = m.vmas.range(addr..).filter_map(|(_, v)| match &v.back {
        Back::Obj { obj, off, label, .. } if *label == SEGMENT && v.start - addr == *off => {
            Some((*obj, v.start, v.end))
        }
        _ => None,
    });
    let all: Vec<_> = pieces.collect();
    let &(object, ..) = all.first().ok_or(Errno::EINVAL)?;
    let end = addr.saturating_add(page_up(w.vfs.objects.len(object)));
    for (_, from, to) in all.into_iter().filter(|p| p.0 == object && p.2 <= end) {
        m.unmap(from, to, &mut w.vfs);
    }
    Ok(0)
}

pub(crate) fn shmctl(w: &mut World, c: &mut Call) -> SysRes {
    let (id, cmd, buf) = (c.a[0] as i32, c.a[1] as i32, c.a[2]);
    if id < 0 || cmd < 0 {
        return Err(Errno::EINVAL.into());
    }
    let creds = w.creds(c.tid)?;
    match cmd {
        IPC_INFO => {
            let [max] = w.ipc_knob("kernel.shmmax")?;
            let [all] = w.ipc_knob("kernel.shmall")?;
            let [most] = w.ipc_knob("kernel.shmmni")?;
            let mut e = Enc::new();
            e.u64(max).u64(1).u64(most).u64(most).u64(all).pad_to(72);
            w.copy_out(c.tid, buf, &e.0)?;
            Ok(w.ipc.shm.highest())
        }
        // SHM_INFO
        14 => {
            let pages: u64 = w.ipc.segments().map(|s| s.size.div_ceil(PAGE)).sum();
            let resident = w.shm_resident(&w.vfs.objects) / PAGE;
            let mut e = Enc::new();
            e.u64(w.ipc.shm.objects.len() as u64).u64(pages).u64(resident);
            e.pad_to(48);
            w.copy_out(c.tid, buf, &e.0)?;
            Ok(w.ipc.shm.highest())
        }
        // SHM_STAT, SHM_STAT_ANY
        IPC_STAT | 13 | 15 => {
            let (e, answer) = w.ipc.shm.for_stat(&creds, id, cmd != IPC_STAT, cmd == 15)?;
            w.copy_out(c.tid, buf, &e.0)?;
            Ok(answer)
        }
        IPC_SET => {
            let mut b = [0; 112];
            w.copy_in(c.tid, buf, &mut b)?;
            let now = w.ipc_now();
            let s = w.ipc.shm.by_id(id)?;
            s.perm.owned_by(&creds)?;
            s.perm.update(&b)?;
            s.ctime = now;
            Ok(0)
        }
        IPC_RMID => {
            let s = w.ipc.shm.by_id(id)?;
            s.perm.owned_by(&creds)?;
            if s.attached == 0 {
                w.shm_destroy(id as u32);
            } else {
                s.perm.mode |= SHM_DEST;
                s.perm.key = 0;
            }
            Ok(0)
        }
        // SHM_LOCK, SHM_UNLOCK
        11 | 12 => {
            let limit = w.p(w.tgid(c.tid))?.limits[RLIMIT_MEMLOCK].0;
            let s = w.ipc.shm.by_id(id)?;
            let may = creds.capable(cap::IPC_LOCK);
            if !may && (creds.euid != s.perm.uid && creds.euid != s.perm.cuid || cmd == 11 && limit == 0) {
                return Err(Errno::EPERM.into());
            }
            if cmd == 12 {
                s.perm.mode &= !SHM_LOCKED;
            } else if !may && s.size > limit {
                return Err(Errno::ENOMEM.into());
            } else {
                s.perm.mode |= SHM_LOCKED;
            }
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}
