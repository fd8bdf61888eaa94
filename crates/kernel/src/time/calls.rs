//! Calls about time: clocks, sleeps, interval timers, POSIX timers.

use super::{SEC, TimerRef};
use crate::Errno;
use crate::abi::*;
use crate::sys::{Call, SysRes, Trap};
use crate::task::{Interval, PosixTimer, cap};
use crate::world::World;

/// Reads a timespec; EINVAL if it is not one.
pub(crate) fn read_timespec(w: &mut World, tid: u32, va: u64) -> Result<u64, Errno> {
    let mut b = [0u8; 16];
    w.copy_in(tid, va, &mut b)?;
    let (s, ns) = (le64(&b, 0) as i64, le64(&b, 8) as i64);
    if s < 0 || !(0..SEC as i64).contains(&ns) {
        return Err(Errno::EINVAL);
    }
    Ok((s as u64).saturating_mul(SEC).saturating_add(ns as u64))
}

/// Reads a timeval in ns.
pub(crate) fn read_timeval(w: &mut World, tid: u32, va: u64) -> Result<u64, Errno> {
    let mut b = [0u8; 16];
    w.copy_in(tid, va, &mut b)?;
    let (s, us) = (le64(&b, 0) as i64, le64(&b, 8) as i64);
    if s < 0 || !(0..1_000_000).contains(&us) {
        return Err(Errno::EINVAL);
    }
    Ok((s as u64).saturating_mul(SEC).saturating_add(us as u64 * 1000))
}

fn spec(ns: u64) -> [u8; 16] {
    let mut b = [0; 16];
    b[..8].copy_from_slice(&(ns / SEC).to_le_bytes());
    b[8..].copy_from_slice(&(ns % SEC).to_le_bytes());
    b
}

fn val(ns: u64) -> [u8; 16] {
    let mut b = [0; 16];
    b[..8].copy_from_slice(&(ns / SEC).to_le_bytes());
    b[8..].copy_from_slice(&(ns % SEC / 1000).to_le_bytes());
    b
}

/// Reading of a clock by its id (time.h), ns.
fn clock(w: &World, tid: u32, id: i32) -> Result<u64, Errno> {
    Ok(match id {
        0 | 8 => w.clock.real(),
        5 => w.clock.real() / 4_000_000 * 4_000_000,
        1 | 4 | 7 | 9 => w.clock.mono(),
        6 => w.clock.mono() / 4_000_000 * 4_000_000,
        11 => w.clock.real() + 37 * SEC,
        2 => {
            let (u, s) = w.proc_time(w.tgid(tid));
            u + s
        }
        3 => {
            let t = w.t(tid)?;
            t.utime + t.stime
        }
        n if n < 0 => {
            let pid = !(n >> 3) as u32;
            let who = if pid == 0 { tid } else { pid };
            let t = w.t(who).map_err(|_| Errno::EINVAL)?;
            if n & 4 != 0 {
                t.utime + t.stime
            } else {
                let (u, s) = w.proc_time(t.tgid);
                u + s
            }
        }
        _ => return Err(Errno::EINVAL),
    })
}

pub(crate) fn clock_gettime(w: &mut World, c: &mut Call) -> SysRes {
    let ns = clock(w, c.tid, c.a[0] as i32)?;
    w.copy_out(c.tid, c.a[1], &spec(ns))?;
    Ok(0)
}

pub(crate) fn clock_getres(w: &mut World, c: &mut Call) -> SysRes {
    clock(w, c.tid, c.a[0] as i32)?;
    if c.a[1] != 0 {
        let res = if matches!(c.a[0] as i32, 5 | 6) {
            4_000_000
        } else {
            1
        };
        w.copy_out(c.tid, c.a[1], &spec(res))?;
    }
    Ok(0)
}

pub(crate) fn clock_settime(w: &mut World, c: &mut Call) -> SysRes {
    let _ = read_timespec(w, c.tid, c.a[1])?;
    if c.a[0] != 0 {
        return Err(Errno::EINVAL.into());
    }
    if !w.creds(c.tid)?.capable(cap::SYS_TIME) {
        return Err(Errno::EPERM.into());
    }
    Ok(0)
}

pub(crate) fn settimeofday(w: &mut World, c: &mut Call) -> SysRes {
    if !w.creds(c.tid)?.capable(cap::SYS_TIME) {
        return Err(Errno::EPERM.into());
    }
    Ok(0)
}

pub(crate) fn adjtimex(w: &mut World, c: &mut Call) -> SysRes {
    let va = if c.nr == 305 { c.a[1] } else { c.a[0] };
    let mut b = [0u8; 208];
    w.copy_in(c.tid, va, &mut b)?;
    if le32(&b, 0) != 0 && !w.creds(c.tid)?.capable(cap::SYS_TIME) {
        return Err(Errno::EPERM.into());
    }
    let real = w.clock.real();
    let mut e = Enc::new();
    e.u32(0).u32(0).i64(0).i64(0).i64(16_000_000).i64(16_000_000);
    e.i32(0x40).i32(0).i64(2).i64(1).i64(32_768_000);
    e.u64(real / SEC).u64(real % SEC / 1000).i64(10_000).pad_to(208);
    w.copy_out(c.tid, va, &e.0)?;
    Ok(5)
}

pub(crate) fn gettimeofday(w: &mut World, c: &mut Call) -> SysRes {
    if c.a[0] != 0 {
        let b = val(w.clock.real());
        w.copy_out(c.tid, c.a[0], &b)?;
    }
    if c.a[1] != 0 {
        w.copy_out(c.tid, c.a[1], &[0; 8])?;
    }
    Ok(0)
}

pub(crate) fn time(w: &mut World, c: &mut Call) -> SysRes {
    let s = w.clock.real() / SEC;
    if c.a[0] != 0 {
        w.copy_out(c.tid, c.a[0], &s.to_le_bytes())?;
    }
    Ok(s as i64)
}

fn sleep_until(w: &mut World, c: &mut Call, at: u64, rem: u64) -> SysRes {
    let now = w.clock.mono();
    if now >= at {
        return Ok(0);
    }
    c.deadline = Some(at);
    c.remain_va = rem;
    Err(Trap::Block {
        keys: Vec::new(),
        until: Some(at),
        unint: false,
    })
}

pub(crate) fn nanosleep(w: &mut World, c: &mut Call) -> SysRes {
    let at = match c.deadline {
        Some(d) => d,
        None => w.clock.mono().saturating_add(read_timespec(w, c.tid, c.a[0])?),
    };
    sleep_until(w, c, at, c.a[1])
}

pub(crate) fn clock_nanosleep(w: &mut World, c: &mut Call) -> SysRes {
    let id = c.a[0] as i32;
    if !matches!(id, 0 | 1 | 2 | 7 | 8 | 9 | 11) && id >= 0 {
        return Err(if matches!(id, 3..=6) {
            if id == 3 { Errno::EINVAL } else { Errno::EOPNOTSUPP }
        } else {
            Errno::EINVAL
        }
        .into());
    }
    let at = match c.deadline {
        Some(d) => d,
        None => {
            let t = read_timespec(w, c.tid, c.a[2])?;
            if c.a[1] & 1 == 0 {
                w.clock.mono().saturating_add(t)
            } else if matches!(id, 0 | 8 | 11) {
                t.saturating_sub(w.clock.offset())
            } else {
                t
            }
        }
    };
    let rem = if c.a[1] & 1 == 0 { c.a[3] } else { 0 };
    sleep_until(w, c, at, rem)
}

fn arm(w: &mut World, old: Interval, new: Interval, what: TimerRef) {
    if old.at != 0 {
        w.timers.remove(&(old.at, what));
    }
    if new.at != 0 {
        w.timers.insert((new.at, what));
    }
}

pub(crate) fn alarm(w: &mut World, c: &mut Call) -> SysRes {
    let tgid = w.tgid(c.tid);
    let now = w.clock.mono();
    let old = w.p(tgid)?.itreal;
    let secs = c.a[0] & 0xffff_ffff;
    let new = Interval {
        at: if secs == 0 { 0 } else { now + secs * SEC },
        every: 0,
    };
    w.pm(tgid)?.itreal = new;
    arm(w, old, new, TimerRef::Real(tgid));
    Ok(old.at.saturating_sub(now).div_ceil(SEC) as i64)
}

fn itimer_now(w: &World, tgid: u32, which: u64) -> Result<(Interval, u64), Errno> {
    let p = w.p(tgid)?;
    let (u, s) = w.proc_time(tgid);
    Ok(match which {
        0 => (p.itreal, w.clock.mono()),
        1 => (p.itvirt, u),
        2 => (p.itprof, u + s),
        _ => return Err(Errno::EINVAL),
    })
}

fn itimer_bytes(iv: Interval, now: u64) -> Vec<u8> {
    let left = if iv.at == 0 {
        0
    } else {
        iv.at.saturating_sub(now).max(1000)
    };
    [val(iv.every), val(left)].concat()
}

pub(crate) fn getitimer(w: &mut World, c: &mut Call) -> SysRes {
    let (iv, now) = itimer_now(w, w.tgid(c.tid), c.a[0])?;
    w.copy_out(c.tid, c.a[1], &itimer_bytes(iv, now))?;
    Ok(0)
}

pub(crate) fn setitimer(w: &mut World, c: &mut Call) -> SysRes {
    let tgid = w.tgid(c.tid);
    let (old, now) = itimer_now(w, tgid, c.a[0])?;
    let new = if c.a[1] == 0 {
        Interval::default()
    } else {
        let every = read_timeval(w, c.tid, c.a[1])?;
        let first = read_timeval(w, c.tid, c.a[1].wrapping_add(16))?;
        Interval {
            at: if first == 0 { 0 } else { now.saturating_add(first) },
            every,
        }
    };
    if c.a[2] != 0 {
        w.copy_out(c.tid, c.a[2], &itimer_bytes(old, now))?;
    }
    let p = w.pm(tgid)?;
    match c.a[0] {
        0 => {
            p.itreal = new;
            arm(w, old, new, TimerRef::Real(tgid));
        }
        1 => p.itvirt = new,
        _ => p.itprof = new,
    }
    Ok(0)
}

pub(crate) fn timer_create(w: &mut World, c: &mut Call) -> SysRes {
    let tgid = w.tgid(c.tid);
    clock(w, c.tid, c.a[0] as i32)?;
    let (mut notify, mut sig, mut value, mut tid) = (0, sig::SIGALRM, None, c.tid);
    if c.a[1] != 0 {
        let mut b = [0u8; 64];
        w.copy_in(c.tid, c.a[1], &mut b)?;
        value = Some(le64(&b, 0));
        sig = le32(&b, 8) as u8;
        notify = le32(&b, 12) as i32;
        if notify == 4 {
            tid = le32(&b, 16);
            if w.tgid(tid) != tgid {
                return Err(Errno::EINVAL.into());
            }
        }
        if !matches!(notify, 0 | 1 | 4) || (notify != 1 && !(1..=64).contains(&sig)) {
            return Err(Errno::EINVAL.into());
        }
    }
    let p = w.pm(tgid)?;
    if p.timers.len() >= 256 {
        return Err(Errno::EAGAIN.into());
    }
    let id = p.next_timer;
    p.next_timer += 1;
    p.timers.insert(
        id,
        PosixTimer {
            clock: c.a[0] as i32,
            notify,
            sig,
            value: value.unwrap_or(id as u64),
            tid,
            iv: Interval::default(),
            overrun: 0,
        },
    );
    w.copy_out(c.tid, c.a[2], &id.to_le_bytes())?;
    Ok(0)
}

pub(crate) fn itimerspec_bytes(iv: Interval, now: u64) -> Vec<u8> {
    let left = if iv.at == 0 {
        0
    } else {
        iv.at.saturating_sub(now).max(1)
    };
    [spec(iv.every), spec(left)].concat()
}

/// Reads an itimerspec; `abs` and a real-time clock are turned into monotonic expiry.
pub(crate) fn read_itimerspec(
    w: &mut World,
    tid: u32,
    va: u64,
    abs: bool,
    realtime: bool,
) -> Result<Interval, Errno> {
    let every = read_timespec(w, tid, va)?;
    let first = read_timespec(w, tid, va.wrapping_add(16))?;
    let now = w.clock.mono();
    let at = if first == 0 {
        0
    } else if !abs {
        now.saturating_add(first)
    } else if realtime {
        first.saturating_sub(w.clock.offset()).max(1)
    } else {
        first
    };
    Ok(Interval { at, every })
}

fn timer_of(w: &World, c: &Call) -> Result<PosixTimer, Errno> {
    w.p(w.tgid(c.tid))?
        .timers
        .get(&(c.a[0] as i32))
        .cloned()
        .ok_or(Errno::EINVAL)
}

pub(crate) fn timer_settime(w: &mut World, c: &mut Call) -> SysRes {
    let tgid = w.tgid(c.tid);
    let old = timer_of(w, c)?;
    let real = matches!(old.clock, 0 | 8 | 11);
    let new = read_itimerspec(w, c.tid, c.a[2], c.a[1] & 1 != 0, real)?;
    if c.a[3] != 0 {
        let b = itimerspec_bytes(old.iv, w.clock.mono());
        w.copy_out(c.tid, c.a[3], &b)?;
    }
    let id = c.a[0] as i32;
    if let Some(t) = w.pm(tgid)?.timers.get_mut(&id) {
        t.iv = new;
        t.overrun = 0;
    }
    arm(w, old.iv, new, TimerRef::Posix(tgid, id));
    Ok(0)
}

pub(crate) fn timer_gettime(w: &mut World, c: &mut Call) -> SysRes {
    let t = timer_of(w, c)?;
    let b = itimerspec_bytes(t.iv, w.clock.mono());
    w.copy_out(c.tid, c.a[1], &b)?;
    Ok(0)
}

pub(crate) fn timer_getoverrun(w: &mut World, c: &mut Call) -> SysRes {
    Ok(timer_of(w, c)?.overrun as i64)
}

pub(crate) fn timer_delete(w: &mut World, c: &mut Call) -> SysRes {
    let tgid = w.tgid(c.tid);
    let t = timer_of(w, c)?;
    let id = c.a[0] as i32;
    w.pm(tgid)?.timers.remove(&id);
    arm(w, t.iv, Interval::default(), TimerRef::Posix(tgid, id));
    Ok(0)
}

/// Ticks of 1/100 s.
fn ticks(ns: u64) -> u64 {
    ns / 10_000_000
}

pub(crate) fn times(w: &mut World, c: &mut Call) -> SysRes {
    let tgid = w.tgid(c.tid);
    let (u, s) = w.proc_time(tgid);
    let ch = w.p(tgid)?.child_time;
    if c.a[0] != 0 {
        let mut e = Enc::new();
        e.u64(ticks(u)).u64(ticks(s)).u64(ticks(ch.0)).u64(ticks(ch.1));
        w.copy_out(c.tid, c.a[0], &e.0)?;
    }
    Ok((ticks(w.clock.mono()) + 1_717_956_918) as i64)
}

pub(crate) fn getrusage(w: &mut World, c: &mut Call) -> SysRes {
    let tgid = w.tgid(c.tid);
    let now = w.rss_of(tgid);
    let p = w.p(tgid)?;
    let (time, flt, rss) = match c.a[0] as i32 {
        0 => {
            let mut flt = p.dead_flt;
            for t in &p.threads {
                if let Ok(t) = w.t(*t) {
                    flt.0 += t.minflt;
                    flt.1 += t.majflt;
                }
            }
            (w.proc_time(tgid), flt, now.max(p.maxrss))
        }
        -1 => (p.child_time, p.child_flt, p.child_maxrss),
        1 => {
            let t = w.t(c.tid)?;
            ((t.utime, t.stime), (t.minflt, t.majflt), p.maxrss)
        }
        _ => return Err(Errno::EINVAL.into()),
    };
    let t = w.t(c.tid)?;
    let b = rusage(time, flt, rss, (t.nvcsw, t.nivcsw));
    w.copy_out(c.tid, c.a[1], &b)?;
    Ok(0)
}

/// `struct rusage`; rss in bytes.
pub(crate) fn rusage(time: (u64, u64), flt: (u64, u64), rss: u64, csw: (u64, u64)) -> Vec<u8> {
    let mut e = Enc::new();
    e.bytes(&val(time.0)).bytes(&val(time.1));
    e.u64(rss / 1024).u64(0).u64(0).u64(0);
    e.u64(flt.0).u64(flt.1).u64(0).u64(0).u64(0).u64(0).u64(0).u64(0);
    e.u64(csw.0).u64(csw.1);
    e.0
}
