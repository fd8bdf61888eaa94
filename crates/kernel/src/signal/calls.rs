//! Calls about signals.

pub(crate) use super::frame::rt_sigreturn;
use super::{Action, SIG_DFL};
use crate::Errno;
use crate::abi::sig::*;
use crate::abi::*;
use crate::sys::{Call, SysRes, Trap};
use crate::wait::WaitKey;
use crate::world::World;

fn check_set(size: u64) -> Result<(), Errno> {
    if size == 8 { Ok(()) } else { Err(Errno::EINVAL) }
}

pub(crate) fn read_set(w: &mut World, tid: u32, va: u64) -> Result<SigSet, Errno> {
    let mut b = [0; 8];
    w.copy_in(tid, va, &mut b)?;
    Ok(SigSet(u64::from_le_bytes(b)))
}

pub(crate) fn rt_sigaction(w: &mut World, c: &mut Call) -> SysRes {
    check_set(c.a[3])?;
    let sig = c.a[0];
    if !(1..=64).contains(&sig) || (c.a[1] != 0 && matches!(sig as u8, SIGKILL | SIGSTOP)) {
        return Err(Errno::EINVAL.into());
    }
    let sig = sig as u8;
    let new = if c.a[1] != 0 {
        let mut b = [0; 32];
        w.copy_in(c.tid, c.a[1], &mut b)?;
        Some(Action {
            handler: le64(&b, 0),
            flags: le64(&b, 8),
            restorer: le64(&b, 16),
            mask: SigSet(le64(&b, 24)).blockable(),
        })
    } else {
        None
    };
    let old = w.action(c.tid, sig);
    if c.a[2] != 0 {
        let mut e = Enc::new();
        e.u64(old.handler)
            .u64(old.flags)
            .u64(old.restorer)
            .u64(old.mask.0);
        w.copy_out(c.tid, c.a[2], &e.0)?;
    }
    if let Some(a) = new {
        let sh = w.t(c.tid)?.sighand;
        if let Some(h) = w.sighands.get_mut(&sh)
            && let Some(slot) = h.change().get_mut(sig as usize - 1)
        {
            *slot = a;
        }
        if w.ignored(c.tid, sig) {
            let tgid = w.tgid(c.tid);
            let threads = w.p(tgid)?.threads.clone();
            w.pm(tgid)?.pending.discard(sig);
            for t in threads {
                w.tm(t)?.pending.discard(sig);
            }
        }
    }
    Ok(0)
}

pub(crate) fn rt_sigprocmask(w: &mut World, c: &mut Call) -> SysRes {
    check_set(c.a[3])?;
    let old = w.t(c.tid)?.mask;
    if c.a[1] != 0 {
        let set = read_set(w, c.tid, c.a[1])?.blockable();
        let new = match c.a[0] {
            0 => SigSet(old.0 | set.0),
            1 => SigSet(old.0 & !set.0),
            2 => set,
            _ => return Err(Errno::EINVAL.into()),
        };
        w.tm(c.tid)?.mask = new;
    }
    if c.a[2] != 0 {
        w.copy_out(c.tid, c.a[2], &old.0.to_le_bytes())?;
    }
    Ok(0)
}

pub(crate) fn rt_sigpending(w: &mut World, c: &mut Call) -> SysRes {
    let t = w.t(c.tid)?;
    let set = (t.pending.set.0 | w.p(t.tgid)?.pending.set.0) & t.mask.0;
    let n = (c.a[1] as usize).min(8);
    w.copy_out(c.tid, c.a[0], &set.to_le_bytes()[..n])?;
    Ok(0)
}

/// Sets a temporary mask for the time of a call; the old one comes back when the call is over.
pub(crate) fn temp_mask(w: &mut World, tid: u32, set: SigSet) -> Result<(), Errno> {
    let t = w.tm(tid)?;
    if t.saved_mask.is_none() {
        t.saved_mask = Some(t.mask);
    }
    t.mask = set.blockable();
    Ok(())
}

pub(crate) fn rt_sigsuspend(w: &mut World, c: &mut Call) -> SysRes {
    check_set(c.a[1])?;
    let set = read_set(w, c.tid, c.a[0])?;
    temp_mask(w, c.tid, set)?;
    Err(Trap::Block {
        keys: Vec::new(),
        until: None,
        unint: false,
    })
}

pub(crate) fn pause(_: &mut World, _: &mut Call) -> SysRes {
    Err(Trap::Block {
        keys: Vec::new(),
        until: None,
        unint: false,
    })
}

pub(crate) fn rt_sigtimedwait(w: &mut World, c: &mut Call) -> SysRes {
    check_set(c.a[3])?;
    let set = read_set(w, c.tid, c.a[0])?.blockable();
    let tgid = w.tgid(c.tid);
    let mut got = w.tm(c.tid)?.pending.take(set);
    if got.is_none() {
        got = w.pm(tgid)?.pending.take(set);
    }
    if let Some(info) = got {
        if c.a[1] != 0 {
            w.copy_out(c.tid, c.a[1], &info.encode())?;
        }
        return Ok(info.sig as i64);
    }
    if c.deadline.is_none() && c.a[2] != 0 {
        let t = crate::time::read_timespec(w, c.tid, c.a[2])?;
        c.deadline = Some(w.clock.mono().saturating_add(t));
    }
    if c.deadline.is_some_and(|d| w.clock.mono() >= d) {
        return Err(Errno::EAGAIN.into());
    }
    c.timed = true;
    Err(Trap::Block {
        keys: vec![WaitKey::Signal(tgid)],
        until: c.deadline,
        unint: false,
    })
}

pub(crate) fn sigaltstack(w: &mut World, c: &mut Call) -> SysRes {
    let t = w.t(c.tid)?;
    let alt = t.alt;
    let sp = t.cpu.as_ref().map_or(0, |c| c.gpr[turncoat_cpu::RSP]);
    let on = alt.on(sp);
    let new = if c.a[0] != 0 {
        let mut b = [0; 24];
        w.copy_in(c.tid, c.a[0], &mut b)?;
        Some(b)
    } else {
        None
    };
    if let Some(b) = new {
        let flags = le32(&b, 8);
        let size = le64(&b, 16);
        if on {
            return Err(Errno::EPERM.into());
        }
        if flags & !(0x8000_0003) != 0 || flags & 3 == 3 {
            return Err(Errno::EINVAL.into());
        }
        let t = w.tm(c.tid)?;
        if flags & 2 != 0 {
            t.alt = super::AltStack::default();
        } else {
            if size < 2048 {
                return Err(Errno::ENOMEM.into());
            }
            t.alt.sp = le64(&b, 0);
            t.alt.size = size;
            t.alt.autodisarm = flags & 0x8000_0000 != 0;
        }
    }
    if c.a[1] != 0 {
        let mut e = Enc::new();
        let flags = if alt.size == 0 { 2 } else { u32::from(on) };
        e.u64(alt.sp).u32(flags).u32(0).u64(alt.size);
        w.copy_out(c.tid, c.a[1], &e.0)?;
    }
    Ok(0)
}

fn valid(sig: u64) -> Result<u8, Errno> {
    if sig as i32 as i64 > 64 || (sig as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    Ok(sig as u8)
}

pub(crate) fn kill(w: &mut World, c: &mut Call) -> SysRes {
    let pid = c.a[0] as i32;
    let sig = valid(c.a[1])?;
    let me = w.tgid(c.tid);
    let targets: Vec<u32> = match pid {
        1.. => {
            if w.p(pid as u32).is_err() {
                return Err(Errno::ESRCH.into());
            }
            vec![pid as u32]
        }
        0 => {
            let g = w.p(me)?.pgid;
            w.procs.values().filter(|p| p.pgid == g).map(|p| p.tgid).collect()
        }
        -1 => w
            .procs
            .values()
            .filter(|p| p.tgid != 1 && p.tgid != me)
            .map(|p| p.tgid)
            .collect(),
        i32::MIN => return Err(Errno::ESRCH.into()),
        g => w
            .procs
            .values()
            .filter(|p| p.pgid == g.unsigned_abs())
            .map(|p| p.tgid)
            .collect(),
    };
    if targets.is_empty() {
        return Err(Errno::ESRCH.into());
    }
    let uid = w.creds(c.tid)?.uid;
    let (mut sent, mut err) = (0, Errno::ESRCH);
    for t in targets {
        match w.may_signal(c.tid, t, sig) {
            Ok(()) => {
                sent += 1;
                if sig != 0 {
                    if t != me {
                        w.note_kill(c.tid, t, sig);
                    }
                    w.send_group(t, SigInfo::user(sig, me, uid));
                }
            }
            Err(e) => err = e,
        }
    }
    if sent > 0 { Ok(0) } else { Err(err.into()) }
}

fn thread_kill(w: &mut World, c: &Call, tgid: Option<u32>, tid: i32, sig: u64) -> SysRes {
    if tid <= 0 {
        return Err(Errno::EINVAL.into());
    }
    let sig = valid(sig)?;
    let t = w.t(tid as u32)?;
    if tgid.is_some_and(|g| g != t.tgid) {
        return Err(Errno::ESRCH.into());
    }
    w.may_signal(c.tid, tid as u32, sig)?;
    if sig != 0 {
        let (pid, uid) = (w.tgid(c.tid), w.creds(c.tid)?.uid);
        w.send_thread(
            tid as u32,
            SigInfo {
                sig,
                code: SI_TKILL,
                cause: SigCause::Kill { pid, uid },
            },
        );
    }
    Ok(0)
}

pub(crate) fn tkill(w: &mut World, c: &mut Call) -> SysRes {
    thread_kill(w, c, None, c.a[0] as i32, c.a[1])
}

pub(crate) fn tgkill(w: &mut World, c: &mut Call) -> SysRes {
    if c.a[0] as i32 <= 0 {
        return Err(Errno::EINVAL.into());
    }
    thread_kill(w, c, Some(c.a[0] as u32), c.a[1] as i32, c.a[2])
}

fn queue_info(w: &mut World, c: &Call, va: u64, sig: u64) -> Result<SigInfo, Errno> {
    let sig = valid(sig)?;
    let mut b = [0u8; 128];
    w.copy_in(c.tid, va, &mut b)?;
    let code = le32(&b, 8) as i32;
    let mut raw = [0; 112];
    raw.copy_from_slice(&b[16..]);
    Ok(SigInfo {
        sig,
        code,
        cause: SigCause::Raw(raw),
    })
}

pub(crate) fn rt_sigqueueinfo(w: &mut World, c: &mut Call) -> SysRes {
    let info = queue_info(w, c, c.a[2], c.a[1])?;
    let pid = c.a[0] as u32;
    if (info.code >= 0 || info.code == SI_TKILL) && pid != w.tgid(c.tid) {
        return Err(Errno::EPERM.into());
    }
    w.p(pid)?;
    w.may_signal(c.tid, pid, info.sig)?;
    if info.sig != 0 {
        w.send_group(pid, info);
    }
    Ok(0)
}

pub(crate) fn rt_tgsigqueueinfo(w: &mut World, c: &mut Call) -> SysRes {
    let info = queue_info(w, c, c.a[3], c.a[2])?;
    let (tgid, tid) = (c.a[0] as u32, c.a[1] as u32);
    if (info.code >= 0 || info.code == SI_TKILL) && tgid != w.tgid(c.tid) {
        return Err(Errno::EPERM.into());
    }
    if w.t(tid)?.tgid != tgid {
        return Err(Errno::ESRCH.into());
    }
    w.may_signal(c.tid, tid, info.sig)?;
    if info.sig != 0 {
        w.send_thread(tid, info);
    }
    Ok(0)
}

/// Handlers that were set become defaults (CLONE_CLEAR_SIGHAND).
pub(crate) fn clear_handlers(actions: &mut [Action; 64]) {
    for a in actions {
        if a.handler > 1 {
            a.handler = SIG_DFL;
        }
    }
}
