//! mmap and its relatives.

use super::*;
use crate::sys::{Call, SysRes};
use crate::task::cap;

fn mm_of(w: &World, tid: u32) -> Result<u32, Errno> {
    w.t(tid)?.mm.ok_or(Errno::ENOMEM)
}

/// RLIMIT_AS and the bound on mappings.
pub(crate) fn may_grow(w: &mut World, tid: u32, mm: u32, len: u64) -> Result<(), Errno> {
    let limit = w.p(w.tgid(tid))?.limits[RLIMIT_AS].0;
    let ram = w.limits.memory;
    let m = w.mms.get(&mm).ok_or(Errno::ENOMEM)?;
    if m.vmas.len() >= MAX_MAPS || m.total().saturating_add(len) > limit {
        return Err(Errno::ENOMEM);
    }
    let _ = ram;
    Ok(())
}

pub(crate) fn mmap(w: &mut World, c: &mut Call) -> SysRes {
    let [addr, len, prot, flags, fd, off] = c.a;
    if len == 0 || off % PAGE != 0 {
        return Err(Errno::EINVAL.into());
    }
    let len = page_up(len);
    if len == 0 || len > TASK_SIZE {
        return Err(Errno::ENOMEM.into());
    }
    let kind = flags & MAP_TYPE;
    if !matches!(kind, MAP_SHARED | MAP_PRIVATE | MAP_SHARED_VALIDATE) {
        return Err(Errno::EINVAL.into());
    }
    let shared = kind != MAP_PRIVATE;
    let mm = mm_of(w, c.tid)?;
    let tgid = w.tgid(c.tid);
    may_grow(w, c.tid, mm, len)?;
    // An inaccessible or NORESERVE mapping costs nothing; anything else that could never be backed is refused at once.
    if flags & MAP_ANONYMOUS != 0
        && flags & MAP_NORESERVE == 0
        && prot & PROT_WRITE != 0
        && len > w.limits.commit
    {
        return Err(Errno::ENOMEM.into());
    }
    if flags & MAP_HUGETLB != 0 {
        return Err(Errno::ENOMEM.into());
    }
    let mut prot = (prot & 7) as u8;
    if w.p(tgid)?.personality & 0x0040_0000 != 0 && prot & 1 != 0 {
        prot |= PROT_EXEC as u8;
    }
    let mut may = 7u8;
    let back = if flags & MAP_ANONYMOUS != 0 {
        if shared {
            Back::Obj {
                obj: w.vfs.objects.create(len),
                file: None,
                off: 0,
                label: "/dev/zero (deleted)",
            }
        } else {
            Back::Anon
        }
    } else {
        match w.map_target(c.tid, fd as i32)? {
            crate::fd::MapTarget::Zero if !shared => Back::Anon,
            crate::fd::MapTarget::Zero => Back::Obj {
                obj: w.vfs.objects.create(len),
                file: None,
                off: 0,
                label: "/dev/zero (deleted)",
            },
            crate::fd::MapTarget::File {
                loc,
                readable,
                writable,
                append,
            } => {
                if !readable {
                    return Err(Errno::EACCES.into());
                }
                if shared && !writable {
                    if prot & PROT_WRITE as u8 != 0 {
                        return Err(Errno::EACCES.into());
                    }
                    may &= !(PROT_WRITE as u8);
                }
                if shared && append && prot & PROT_WRITE as u8 != 0 && !writable {
                    return Err(Errno::EACCES.into());
                }
                if off.checked_add(len).is_none_or(|e| e > i64::MAX as u64) {
                    return Err(Errno::EOVERFLOW.into());
                }
                let obj = w.object_of(&loc)?;
                w.bait_taken(c.tid, &loc);
                w.vfs.hold(loc.ino);
                Back::Obj {
                    obj,
                    file: Some(loc),
                    off,
                    label: "",
                }
            }
        }
    };
    let m = w.mms.get_mut(&mm).ok_or(Errno::ENOMEM)?;
    let place = if flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) != 0 {
        let fits = addr % PAGE == 0 && addr.checked_add(len).is_some_and(|e| e <= TASK_SIZE);
        if addr % PAGE != 0 {
            Err(Errno::EINVAL)
        } else if !fits {
            Err(Errno::ENOMEM)
        } else if addr < MMAP_MIN {
            Err(Errno::EPERM)
        } else if flags & MAP_FIXED_NOREPLACE != 0 && !m.is_free(addr, addr + len) {
            Err(Errno::EEXIST)
        } else {
            Ok(addr)
        }
    } else {
        let hint = page_up(addr);
        let usable = hint >= MMAP_MIN && hint.checked_add(len).is_some_and(|e| e <= TASK_SIZE);
        if usable && m.is_free(hint, hint + len) {
            Ok(hint)
        } else {
            m.gap(len, flags & MAP_32BIT != 0).ok_or(Errno::ENOMEM)
        }
    };
    let at = match place {
        Ok(a) => a,
        Err(e) => {
            match back {
                Back::Obj { file: Some(f), .. } => w.vfs.release(f.ino),
                Back::Obj { obj, .. } => w.vfs.objects.release(obj),
                Back::Anon => {}
            }
            return Err(e.into());
        }
    };
    m.insert(
        Vma {
            start: at,
            end: at + len,
            prot,
            may,
            shared,
            grows_down: flags & MAP_GROWSDOWN != 0,
            locked: flags & MAP_LOCKED != 0,
            dontfork: false,
            wipeonfork: false,
            noreserve: flags & MAP_NORESERVE != 0,
            back,
            label: "",
        },
        &mut w.vfs,
    );
    if flags & MAP_POPULATE != 0 {
        let want = PROT_READ as u8;
        for i in 0..(len / PAGE).min(1024) {
            if w.fault_in(c.tid, at + i * PAGE, want).is_err() {
                break;
            }
        }
    }
    c.work(len / PAGE / 64);
    Ok(at as i64)
}

pub(crate) fn munmap(w: &mut World, c: &mut Call) -> SysRes {
    let (addr, len) = (c.a[0], c.a[1]);
    if addr % PAGE != 0 || len == 0 || len > TASK_SIZE || addr > TASK_SIZE - page_up(len).min(TASK_SIZE) {
        return Err(Errno::EINVAL.into());
    }
    let mm = mm_of(w, c.tid)?;
    let m = w.mms.get_mut(&mm).ok_or(Errno::ENOMEM)?;
    m.unmap(addr, addr + page_up(len), &mut w.vfs);
    Ok(0)
}

/// Applies `f` to every mapping in a range after splitting at its ends; ENOMEM if there is a hole.
fn each(
    w: &mut World,
    mm: u32,
    start: u64,
    end: u64,
    mut f: impl FnMut(&mut Vma, &mut Space) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let m = w.mms.get_mut(&mm).ok_or(Errno::ENOMEM)?;
    m.split(start, &mut w.vfs);
    m.split(end, &mut w.vfs);
    let keys: Vec<u64> = m.vmas.range(start..end).map(|(k, _)| *k).collect();
    let mut at = start;
    let mut res = Ok(());
    for k in &keys {
        if *k != at {
            res = Err(Errno::ENOMEM);
            break;
        }
        if let Some(v) = m.vmas.get_mut(k) {
            at = v.end;
            if let Err(e) = f(v, &mut m.space) {
                res = Err(e);
                break;
            }
        }
    }
    for k in keys {
        if m.vmas.contains_key(&k) {
            m.join(k, &mut w.vfs);
        }
    }
    if res.is_ok() && at < end {
        return Err(Errno::ENOMEM);
    }
    res
}

pub(crate) fn mprotect(w: &mut World, c: &mut Call) -> SysRes {
    let [addr, len, prot, ..] = c.a;
    if addr % PAGE != 0 || prot & !(7 | PROT_GROWSDOWN | 0x0200_0000) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let len = page_up(len);
    if len == 0 {
        return Ok(0);
    }
    let end = addr.checked_add(len).ok_or(Errno::ENOMEM)?;
    let mm = mm_of(w, c.tid)?;
    let p = (prot & 7) as u8;
    let mut start = addr;
    if prot & PROT_GROWSDOWN != 0
        && let Some(v) = w.mms.get(&mm).and_then(|m| m.find(addr))
        && v.grows_down
    {
        start = v.start;
    }
    // Refused before anything is split: pieces of a segment do not join again.
    let first = w.mms.get(&mm).and_then(|m| m.find(start));
    if first.is_some_and(|v| p & !v.may != 0) {
        return Err(Errno::EACCES.into());
    }
    each(w, mm, start, end, |v, s| {
        if p & !v.may != 0 {
            return Err(Errno::EACCES);
        }
        let was = v.prot;
        v.prot = p;
        if v.shared && p & 2 != 0 && was & 2 == 0 {
            // Pages come in again as writable ones of the object.
            s.unmap(v.start, v.end - v.start);
        } else {
            s.protect(v.start, v.end - v.start, prot_of(p));
        }
        Ok(())
    })?;
    Ok(0)
}

pub(crate) fn brk(w: &mut World, c: &mut Call) -> SysRes {
    let mm = mm_of(w, c.tid)?;
    let data = w.p(w.tgid(c.tid))?.limits[RLIMIT_DATA].0;
    let commit = w.limits.commit;
    let m = w.mms.get_mut(&mm).ok_or(Errno::ENOMEM)?;
    let old = m.brk;
    let new = c.a[0];
    if new < m.start_brk || new > TASK_SIZE || new - m.start_brk > data.min(commit) {
        return Ok(old as i64);
    }
    let (po, pn) = (page_up(old), page_up(new));
    if pn < po {
        m.unmap(pn, po, &mut w.vfs);
    } else if pn > po {
        if !m.is_free(po, pn + PAGE) {
            return Ok(old as i64);
        }
        m.insert(
            Vma {
                start: po,
                end: pn,
                prot: 3,
                may: 7,
                shared: false,
                grows_down: false,
                locked: false,
                dontfork: false,
                wipeonfork: false,
                noreserve: false,
                back: Back::Anon,
                label: "[heap]",
            },
            &mut w.vfs,
        );
    }
    m.brk = new;
    Ok(new as i64)
}

pub(crate) fn mremap(w: &mut World, c: &mut Call) -> SysRes {
    let [old, old_len, new_len, flags, new_addr, _] = c.a;
    const MAYMOVE: u64 = 1;
    const FIXED: u64 = 2;
    const DONTUNMAP: u64 = 4;
    if flags & !7 != 0
        || old % PAGE != 0
        || page_up(new_len) == 0
        || (flags & FIXED != 0 && flags & MAYMOVE == 0)
    {
        return Err(Errno::EINVAL.into());
    }
    let (old_len, new_len) = (page_up(old_len), page_up(new_len));
    if flags & DONTUNMAP != 0 && old_len != new_len {
        return Err(Errno::EINVAL.into());
    }
    let mm = mm_of(w, c.tid)?;
    if new_len > old_len {
        may_grow(w, c.tid, mm, new_len - old_len)?;
    }
    let m = w.mms.get_mut(&mm).ok_or(Errno::ENOMEM)?;
    let v = m.find(old).cloned().ok_or(Errno::EFAULT)?;
    if old_len == 0 && !v.shared {
        return Err(Errno::EINVAL.into());
    }
    let end = old.checked_add(old_len).ok_or(Errno::EINVAL)?;
    if end > v.end {
        return Err(Errno::EFAULT.into());
    }
    if flags & FIXED == 0 && flags & DONTUNMAP == 0 {
        if new_len <= old_len {
            if new_len < old_len {
                m.unmap(old + new_len, end, &mut w.vfs);
            }
            return Ok(old as i64);
        }
        let grown = old + new_len;
        if end == v.end && grown <= TASK_SIZE && m.is_free(end, grown) {
            if let Some(x) = m.vmas.get_mut(&v.start) {
                x.end = grown;
            }
            m.join(v.start, &mut w.vfs);
            return Ok(old as i64);
        }
        if flags & MAYMOVE == 0 {
            return Err(Errno::ENOMEM.into());
        }
    }
    let to = if flags & FIXED != 0 {
        if new_addr % PAGE != 0
            || new_addr > TASK_SIZE - new_len
            || (new_addr < end && old < new_addr + new_len)
        {
            return Err(Errno::EINVAL.into());
        }
        m.unmap(new_addr, new_addr + new_len, &mut w.vfs);
        new_addr
    } else {
        m.gap(new_len, false).ok_or(Errno::ENOMEM)?
    };
    let mut n = v.tail_at(old);
    let shift = n.back.clone();
    n.start = to;
    n.end = to + new_len;
    n.back = shift;
    n.hold(&mut w.vfs);
    m.insert(n, &mut w.vfs);
    let moved = old_len.min(new_len);
    if moved > 0 {
        m.space.relocate(old, to, moved);
    }
    if flags & DONTUNMAP == 0 {
        m.unmap(old, end, &mut w.vfs);
    }
    Ok(to as i64)
}

pub(crate) fn madvise(w: &mut World, c: &mut Call) -> SysRes {
    let [addr, len, advice, ..] = c.a;
    if addr % PAGE != 0 {
        return Err(Errno::EINVAL.into());
    }
    let known = matches!(advice, 0..=4 | 8..=21 | 100 | 101);
    if !known {
        return Err(Errno::EINVAL.into());
    }
    if matches!(advice, 100 | 101) && !w.creds(c.tid)?.capable(cap::SYS_ADMIN) {
        return Err(Errno::EPERM.into());
    }
    let len = page_up(len);
    if len == 0 {
        return Ok(0);
    }
    let end = addr.checked_add(len).ok_or(Errno::EINVAL)?;
    let mm = mm_of(w, c.tid)?;
    match advice {
        // MADV_DONTNEED, MADV_FREE: pages are dropped; private ones read as zero or as the file again.
        4 | 8 => {
            let m = w.mms.get_mut(&mm).ok_or(Errno::ENOMEM)?;
            let mut hole = false;
            let mut at = addr;
            for k in m.overlapping(addr, end) {
                let Some(v) = m.vmas.get(&k) else { continue };
                hole |= v.start > at;
                at = v.end;
                if v.locked || (advice == 8 && v.back != Back::Anon) {
                    return Err(Errno::EINVAL.into());
                }
                if advice == 4 {
                    let (s, e) = (v.start.max(addr), v.end.min(end));
                    m.space.unmap(s, e - s);
                }
            }
            if hole || at < end {
                return Err(Errno::ENOMEM.into());
            }
        }
        10 => each(w, mm, addr, end, |v, _| {
            v.dontfork = true;
            Ok(())
        })?,
        11 => each(w, mm, addr, end, |v, _| {
            v.dontfork = false;
            Ok(())
        })?,
        18 => each(w, mm, addr, end, |v, _| {
            if v.back != Back::Anon {
                return Err(Errno::EINVAL);
            }
            v.wipeonfork = true;
            Ok(())
        })?,
        19 => each(w, mm, addr, end, |v, _| {
            v.wipeonfork = false;
            Ok(())
        })?,
        _ => {
            let m = w.mms.get(&mm).ok_or(Errno::ENOMEM)?;
            if m.is_free(addr, end) {
                return Err(Errno::ENOMEM.into());
            }
        }
    }
    Ok(0)
}

pub(crate) fn mincore(w: &mut World, c: &mut Call) -> SysRes {
    let [addr, len, vec, ..] = c.a;
    if addr % PAGE != 0 {
        return Err(Errno::EINVAL.into());
    }
    let len = page_up(len);
    let end = addr.checked_add(len).ok_or(Errno::ENOMEM)?;
    if end > TASK_SIZE || len / PAGE > 1 << 20 {
        return Err(Errno::ENOMEM.into());
    }
    let mm = mm_of(w, c.tid)?;
    let m = w.mms.get(&mm).ok_or(Errno::ENOMEM)?;
    let mut out = Vec::with_capacity((len / PAGE) as usize);
    let mut at = addr;
    while at < end {
        let v = m.find(at).ok_or(Errno::ENOMEM)?;
        // File pages are in the page cache; private anonymous ones only once touched.
        let present = v.back != Back::Anon || m.space.rights(at).is_some();
        out.push(u8::from(present));
        at += PAGE;
    }
    w.copy_out(c.tid, vec, &out)?;
    Ok(0)
}

pub(crate) fn msync(w: &mut World, c: &mut Call) -> SysRes {
    let [addr, len, flags, ..] = c.a;
    if addr % PAGE != 0 || flags & !7 != 0 || flags & 5 == 5 {
        return Err(Errno::EINVAL.into());
    }
    let end = addr.checked_add(page_up(len)).ok_or(Errno::ENOMEM)?;
    let mm = mm_of(w, c.tid)?;
    let m = w.mms.get(&mm).ok_or(Errno::ENOMEM)?;
    let mut at = addr;
    while at < end {
        at = m.find(at).ok_or(Errno::ENOMEM)?.end;
    }
    Ok(0)
}

pub(crate) fn mlock(w: &mut World, c: &mut Call) -> SysRes {
    let mm = mm_of(w, c.tid)?;
    if matches!(c.nr, 151 | 152) {
        return Ok(0);
    }
    let start = page_down(c.a[0]);
    let end = page_up(c.a[0].checked_add(c.a[1]).ok_or(Errno::EINVAL)?);
    let lock = c.nr != 150;
    if lock
        && !w.creds(c.tid)?.capable(cap::IPC_LOCK)
        && end - start > w.p(w.tgid(c.tid))?.limits[RLIMIT_MEMLOCK].0
    {
        return Err(Errno::ENOMEM.into());
    }
    if start < end {
        each(w, mm, start, end, |v, _| {
            v.locked = lock;
            Ok(())
        })?;
    }
    Ok(0)
}
