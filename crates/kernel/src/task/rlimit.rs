//! Resource limits: getrlimit, setrlimit, prlimit64.

use crate::Errno;
use crate::abi::*;
use crate::sys::{Call, SysRes};
use crate::task::cap;
use crate::world::World;

const INF: u64 = RLIM_INFINITY;

/// Limits as a login on a Debian server with 2 GiB of memory has them.
pub(crate) const DEFAULTS: [(u64, u64); 16] = [
    (INF, INF),
    (INF, INF),
    (INF, INF),
    (8 << 20, INF),
    (0, INF),
    (INF, INF),
    (7678, 7678),
    (1024, 1_048_576),
    (257_003_520, 257_003_520),
    (INF, INF),
    (INF, INF),
    (7678, 7678),
    (819_200, 819_200),
    (0, 0),
    (0, 0),
    (INF, INF),
];

fn set(w: &mut World, c: &Call, tgid: u32, res: u64, new: (u64, u64)) -> Result<(), Errno> {
    if new.0 > new.1 {
        return Err(Errno::EINVAL);
    }
    let creds = w.creds(c.tid)?;
    let p = w.pm(tgid)?;
    let slot = p.limits.get_mut(res as usize).ok_or(Errno::EINVAL)?;
    if res as usize == RLIMIT_NOFILE && new.1 > 1_048_576 {
        return Err(Errno::EPERM);
    }
    if new.1 > slot.1 && !creds.capable(cap::SYS_RESOURCE) {
        return Err(Errno::EPERM);
    }
    *slot = new;
    Ok(())
}

pub(crate) fn getrlimit(w: &mut World, c: &mut Call) -> SysRes {
    let p = w.p(w.tgid(c.tid))?;
    let (cur, max) = *p.limits.get(c.a[0] as usize).ok_or(Errno::EINVAL)?;
    let mut e = Enc::new();
    e.u64(cur).u64(max);
    w.copy_out(c.tid, c.a[1], &e.0)?;
    Ok(0)
}

pub(crate) fn setrlimit(w: &mut World, c: &mut Call) -> SysRes {
    let mut b = [0u8; 16];
    w.copy_in(c.tid, c.a[1], &mut b)?;
    let tgid = w.tgid(c.tid);
    set(w, c, tgid, c.a[0], (le64(&b, 0), le64(&b, 8)))?;
    Ok(0)
}

pub(crate) fn prlimit64(w: &mut World, c: &mut Call) -> SysRes {
    let tid = if c.a[0] == 0 { c.tid } else { c.a[0] as u32 };
    let tgid = w.t(tid)?.tgid;
    if tgid != w.tgid(c.tid) {
        let (me, it) = (w.creds(c.tid)?, w.creds(tid)?);
        let same = [it.uid, it.euid, it.suid].iter().all(|u| *u == me.uid)
            && [it.gid, it.egid, it.sgid].iter().all(|g| *g == me.gid);
        if !same && !me.capable(cap::SYS_RESOURCE) {
            return Err(Errno::EPERM.into());
        }
    }
    let old = *w.p(tgid)?.limits.get(c.a[1] as usize).ok_or(Errno::EINVAL)?;
    if c.a[2] != 0 {
        let mut b = [0u8; 16];
        w.copy_in(c.tid, c.a[2], &mut b)?;
        set(w, c, tgid, c.a[1], (le64(&b, 0), le64(&b, 8)))?;
    }
    if c.a[3] != 0 {
        let mut e = Enc::new();
        e.u64(old.0).u64(old.1);
        w.copy_out(c.tid, c.a[3], &e.0)?;
    }
    Ok(0)
}
