//! Process groups, sessions, ids of all kinds, scheduling parameters, capabilities: calls about who a task is.

pub(crate) use super::exit::{exit, exit_group, get_robust_list, rseq, set_robust_list, set_tid_address};
pub(crate) use super::fork::{clone, clone3, fork, unshare};
pub(crate) use super::wait::{wait4, waitid};
use super::{Caps, Creds, cap};
use crate::Errno;
use crate::abi::*;
use crate::sys::{Call, SysRes};
use crate::world::{Fact, World};
use std::sync::Arc;

pub(crate) fn getpid(w: &mut World, c: &mut Call) -> SysRes {
    Ok(w.tgid(c.tid) as i64)
}

pub(crate) fn gettid(_: &mut World, c: &mut Call) -> SysRes {
    Ok(c.tid as i64)
}

pub(crate) fn getppid(w: &mut World, c: &mut Call) -> SysRes {
    Ok(w.p(w.tgid(c.tid))?.ppid as i64)
}

fn proc_arg(w: &World, c: &Call) -> u32 {
    if c.a[0] == 0 { w.tgid(c.tid) } else { c.a[0] as u32 }
}

pub(crate) fn getpgid(w: &mut World, c: &mut Call) -> SysRes {
    Ok(w.p(proc_arg(w, c))?.pgid as i64)
}

pub(crate) fn getpgrp(w: &mut World, c: &mut Call) -> SysRes {
    Ok(w.p(w.tgid(c.tid))?.pgid as i64)
}

pub(crate) fn getsid(w: &mut World, c: &mut Call) -> SysRes {
    Ok(w.p(proc_arg(w, c))?.sid as i64)
}

pub(crate) fn setpgid(w: &mut World, c: &mut Call) -> SysRes {
    let me = w.tgid(c.tid);
    if (c.a[0] as i32) < 0 || (c.a[1] as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let pid = proc_arg(w, c);
    let pgid = if c.a[1] == 0 { pid } else { c.a[1] as u32 };
    let sid = w.p(me)?.sid;
    let p = w.p(pid)?;
    if pid != me {
        if p.ppid != me {
            return Err(Errno::ESRCH.into());
        }
        if p.sid != sid {
            return Err(Errno::EPERM.into());
        }
        if p.did_exec {
            return Err(Errno::EACCES.into());
        }
    }
    if p.sid == pid {
        return Err(Errno::EPERM.into());
    }
    if pgid != pid && !w.procs.values().any(|q| q.pgid == pgid && q.sid == sid) {
        return Err(Errno::EPERM.into());
    }
    w.pm(pid)?.pgid = pgid;
    Ok(0)
}

pub(crate) fn setsid(w: &mut World, c: &mut Call) -> SysRes {
    let me = w.tgid(c.tid);
    if w.procs.values().any(|p| p.pgid == me) {
        return Err(Errno::EPERM.into());
    }
    let p = w.pm(me)?;
    p.sid = me;
    p.pgid = me;
    p.ctty = None;
    Ok(me as i64)
}

pub(crate) fn getid(w: &mut World, c: &mut Call) -> SysRes {
    let k = w.creds(c.tid)?;
    Ok(match c.nr {
        102 => k.uid,
        104 => k.gid,
        107 => k.euid,
        _ => k.egid,
    } as i64)
}

fn id(v: u64) -> Option<u32> {
    (v as u32 != u32::MAX).then_some(v as u32)
}

fn change(w: &mut World, c: &Call, f: impl FnOnce(&mut Creds) -> Result<(), Errno>) -> SysRes {
    let old = w.creds(c.tid)?;
    let mut new = (*old).clone();
    f(&mut new)?;
    if new != *old {
        if (new.uid, new.euid) != (old.uid, old.euid) {
            let tgid = w.tgid(c.tid);
            w.fact(
                tgid,
                Fact::Creds {
                    from: (old.uid, old.euid),
                    to: (new.uid, new.euid),
                },
            );
        }
        if (new.euid, new.egid, new.fsuid) != (old.euid, old.egid, old.fsuid) {
            let tgid = w.tgid(c.tid);
            w.pm(tgid)?.dumpable = 0;
            w.tm(c.tid)?.pdeathsig = 0;
        }
        w.tm(c.tid)?.creds = Arc::new(new);
    }
    Ok(0)
}

pub(crate) fn setid(w: &mut World, c: &mut Call) -> SysRes {
    let a = c.a;
    match c.nr {
        105 | 106 if id(a[0]).is_none() => Err(Errno::EINVAL.into()),
        105 => change(w, c, |k| k.setuid(a[0] as u32)),
        106 => change(w, c, |k| k.setgid(a[0] as u32)),
        113 => change(w, c, |k| k.setreuid(id(a[0]), id(a[1]))),
        114 => change(w, c, |k| k.setregid(id(a[0]), id(a[1]))),
        117 => change(w, c, |k| k.setresuid(id(a[0]), id(a[1]), id(a[2]))),
        119 => change(w, c, |k| k.setresgid(id(a[0]), id(a[1]), id(a[2]))),
        122 | 123 => {
            let k = w.creds(c.tid)?;
            let old = if c.nr == 122 { k.fsuid } else { k.fsgid };
            if let Some(n) = id(a[0]) {
                let ok = if c.nr == 122 {
                    [k.uid, k.euid, k.suid, k.fsuid].contains(&n) || k.capable(cap::SETUID)
                } else {
                    [k.gid, k.egid, k.sgid, k.fsgid].contains(&n) || k.capable(cap::SETGID)
                };
                if ok {
                    let nr = c.nr;
                    change(w, c, |k| {
                        if nr == 122 {
                            k.fsuid = n;
                        } else {
                            k.fsgid = n;
                        }
                        Ok(())
                    })?;
                }
            }
            Ok(old as i64)
        }
        _ => Err(Errno::ENOSYS.into()),
    }
}

pub(crate) fn getres(w: &mut World, c: &mut Call) -> SysRes {
    let k = w.creds(c.tid)?;
    let ids = if c.nr == 118 {
        [k.uid, k.euid, k.suid]
    } else {
        [k.gid, k.egid, k.sgid]
    };
    for (va, v) in c.a.iter().zip(ids) {
        w.copy_out(c.tid, *va, &v.to_le_bytes())?;
    }
    Ok(0)
}

pub(crate) fn getgroups(w: &mut World, c: &mut Call) -> SysRes {
    let k = w.creds(c.tid)?;
    let n = c.a[0] as i32;
    if n < 0 {
        return Err(Errno::EINVAL.into());
    }
    if n > 0 {
        if (n as usize) < k.groups.len() {
            return Err(Errno::EINVAL.into());
        }
        let b: Vec<u8> = k.groups.iter().flat_map(|g| g.to_le_bytes()).collect();
        w.copy_out(c.tid, c.a[1], &b)?;
    }
    Ok(k.groups.len() as i64)
}

pub(crate) fn setgroups(w: &mut World, c: &mut Call) -> SysRes {
    let k = w.creds(c.tid)?;
    if !k.capable(cap::SETGID) {
        return Err(Errno::EPERM.into());
    }
    if c.a[0] > 65536 {
        return Err(Errno::EINVAL.into());
    }
    let mut b = vec![0u8; c.a[0] as usize * 4];
    w.copy_in(c.tid, c.a[1], &mut b)?;
    let mut g: Vec<u32> = b.chunks_exact(4).map(|x| le32(x, 0)).collect();
    g.sort_unstable();
    change(w, c, |k| {
        k.groups = g;
        Ok(())
    })
}

const CAP_V3: u32 = 0x2008_0522;

fn cap_header(w: &mut World, c: &Call) -> Result<(u32, usize), Errno> {
    let mut h = [0u8; 8];
    w.copy_in(c.tid, c.a[0], &mut h)?;
    let words = match le32(&h, 0) {
        0x1998_0330 => 1,
        0x2007_1026 | CAP_V3 => 2,
        _ => {
            w.copy_out(c.tid, c.a[0], &CAP_V3.to_le_bytes())?;
            return Err(Errno::EINVAL);
        }
    };
    let pid = le32(&h, 4);
    if (pid as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    Ok((if pid == 0 { c.tid } else { pid }, words))
}

pub(crate) fn capget(w: &mut World, c: &mut Call) -> SysRes {
    let (pid, words) = match cap_header(w, c) {
        Err(Errno::EINVAL) if c.a[1] == 0 => return Ok(0),
        r => r?,
    };
    let k = w.creds(pid)?;
    if c.a[1] != 0 {
        let mut e = Enc::new();
        for i in 0..words {
            for s in [k.effective, k.permitted, k.inheritable] {
                e.u32((s.0 >> (32 * i)) as u32);
            }
        }
        w.copy_out(c.tid, c.a[1], &e.0)?;
    }
    Ok(0)
}

pub(crate) fn capset(w: &mut World, c: &mut Call) -> SysRes {
    let (pid, words) = cap_header(w, c)?;
    if pid != c.tid {
        return Err(Errno::EPERM.into());
    }
    let mut b = vec![0u8; 12 * words];
    w.copy_in(c.tid, c.a[1], &mut b)?;
    let mut s = [0u64; 3];
    for i in 0..words {
        for (j, v) in s.iter_mut().enumerate() {
            *v |= (le32(&b, i * 12 + j * 4) as u64) << (32 * i);
        }
    }
    let [e, p, i] = s.map(|v| v & super::creds::CAP_ALL.0);
    let k = w.creds(c.tid)?;
    let i_ok = i & !(k.inheritable.0 | k.permitted.0) == 0 || k.capable(cap::SETPCAP);
    if p & !k.permitted.0 != 0 || e & !p != 0 || !i_ok || i & !(k.inheritable.0 | k.bounding.0) != 0 {
        return Err(Errno::EPERM.into());
    }
    change(w, c, |k| {
        k.effective = Caps(e);
        k.permitted = Caps(p);
        k.inheritable = Caps(i);
        k.ambient = Caps(k.ambient.0 & p & i);
        Ok(())
    })
}

/// The threads that PRIO_PROCESS, PRIO_PGRP or PRIO_USER (0, 1, 2) and a number mean.
fn prio_targets(w: &World, tid: u32, which: u64, who: u32) -> Result<Vec<u32>, Errno> {
    let me = w.tgid(tid);
    let v: Vec<u32> = match which {
        0 => {
            let t = if who == 0 { tid } else { who };
            w.t(t)?;
            vec![t]
        }
        1 => {
            let g = if who == 0 { w.p(me)?.pgid } else { who };
            w.procs.values().filter(|p| p.pgid == g).map(|p| p.tgid).collect()
        }
        2 => {
            let u = if who == 0 { w.creds(tid)?.uid } else { who };
            w.tasks
                .values()
                .filter(|t| t.creds.uid == u)
                .map(|t| t.tid)
                .collect()
        }
        _ => return Err(Errno::EINVAL),
    };
    if v.is_empty() { Err(Errno::ESRCH) } else { Ok(v) }
}

pub(crate) fn getpriority(w: &mut World, c: &mut Call) -> SysRes {
    let best = prio_targets(w, c.tid, c.a[0], c.a[1] as u32)?
        .into_iter()
        .filter_map(|t| w.t(t).ok().map(|t| t.nice))
        .min()
        .unwrap_or(0);
    Ok((20 - best) as i64)
}

pub(crate) fn setpriority(w: &mut World, c: &mut Call) -> SysRes {
    let nice = (c.a[2] as i32).clamp(-20, 19);
    let k = w.creds(c.tid)?;
    for t in prio_targets(w, c.tid, c.a[0], c.a[1] as u32)? {
        let x = w.t(t)?;
        if k.euid != x.creds.euid && k.euid != x.creds.uid && !k.capable(cap::SYS_NICE) {
            return Err(Errno::EPERM.into());
        }
        if nice < x.nice && !k.capable(cap::SYS_NICE) {
            return Err(Errno::EACCES.into());
        }
        w.tm(t)?.nice = nice;
    }
    Ok(0)
}

/// ioprio_get(2) and ioprio_set(2): kept for each thread, and not followed.
pub(crate) fn ioprio(w: &mut World, c: &mut Call) -> SysRes {
    let chosen = prio_targets(w, c.tid, c.a[0].wrapping_sub(1), c.a[1] as u32)?;
    if c.nr == 252 {
        return Ok(chosen
            .iter()
            .filter_map(|t| w.t(*t).ok().map(|t| i64::from(t.ioprio)))
            .min()
            .unwrap_or(0));
    }
    let value = c.a[2] as u32;
    let (class, level) = (value >> 13, value & 7);
    let k = w.creds(c.tid)?;
    match class {
        0 if level != 0 => return Err(Errno::EINVAL.into()),
        1 if !k.capable(cap::SYS_ADMIN) && !k.capable(cap::SYS_NICE) => return Err(Errno::EPERM.into()),
        0..=3 => {}
        _ => return Err(Errno::EINVAL.into()),
    }
    for t in chosen {
        w.tm(t)?.ioprio = value as u16;
    }
    Ok(0)
}

fn sched_target(w: &World, c: &Call) -> Result<u32, Errno> {
    if (c.a[0] as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let t = if c.a[0] == 0 { c.tid } else { c.a[0] as u32 };
    w.t(t)?;
    Ok(t)
}

pub(crate) fn sched(w: &mut World, c: &mut Call) -> SysRes {
    match c.nr {
        24 => {
            w.yielded = true;
            Ok(0)
        }
        145 => Ok(w.t(sched_target(w, c)?)?.policy as i64),
        143 => {
            sched_target(w, c)?;
            w.copy_out(c.tid, c.a[1], &0u32.to_le_bytes())?;
            Ok(0)
        }
        142 => {
            sched_target(w, c)?;
            let mut b = [0; 4];
            w.copy_in(c.tid, c.a[1], &mut b)?;
            if le32(&b, 0) != 0 {
                Err(Errno::EINVAL.into())
            } else {
                Ok(0)
            }
        }
        144 => {
            let t = sched_target(w, c)?;
            let mut b = [0; 4];
            w.copy_in(c.tid, c.a[2], &mut b)?;
            let (policy, prio) = (c.a[1] as u32 & !0x4000_0000, le32(&b, 0));
            match policy {
                1 | 2 => {
                    if !(1..=99).contains(&prio) {
                        return Err(Errno::EINVAL.into());
                    }
                    if !w.creds(c.tid)?.capable(cap::SYS_NICE) {
                        return Err(Errno::EPERM.into());
                    }
                }
                0 | 3 | 5 if prio == 0 => {}
                _ => return Err(Errno::EINVAL.into()),
            }
            w.tm(t)?.policy = policy;
            Ok(0)
        }
        146 | 147 => Ok(match (c.a[0], c.nr) {
            (1 | 2, 146) => 99,
            (1 | 2, _) => 1,
            (0 | 3 | 5 | 6, _) => 0,
            _ => return Err(Errno::EINVAL.into()),
        }),
        148 => {
            sched_target(w, c)?;
            let mut e = Enc::new();
            e.u64(0).u64(4_000_000);
            w.copy_out(c.tid, c.a[1], &e.0)?;
            Ok(0)
        }
        203 => {
            let t = sched_target(w, c)?;
            let mut b = vec![0u8; (c.a[1] as usize).min(128)];
            w.copy_in(c.tid, c.a[2], &mut b)?;
            let ok = le64(&b, 0) & w.cpu_mask() != 0;
            let _ = t;
            if ok { Ok(0) } else { Err(Errno::EINVAL.into()) }
        }
        204 => {
            sched_target(w, c)?;
            if c.a[1] < 8 || !c.a[1].is_multiple_of(8) {
                return Err(Errno::EINVAL.into());
            }
            let m = w.cpu_mask();
            w.copy_out(c.tid, c.a[2], &m.to_le_bytes())?;
            Ok(8)
        }
        314 => {
            sched_target(w, c)?;
            Ok(0)
        }
        315 => {
            let t = sched_target(w, c)?;
            if c.a[2] < 48 {
                return Err(Errno::EINVAL.into());
            }
            let x = w.t(t)?;
            let mut e = Enc::new();
            e.u32(48).u32(x.policy).u64(0).i32(x.nice).pad_to(48);
            w.copy_out(c.tid, c.a[1], &e.0)?;
            Ok(0)
        }
        _ => Err(Errno::ENOSYS.into()),
    }
}
