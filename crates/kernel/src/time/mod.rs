//! The world's clock and everything that expires: sleeps, interval timers, POSIX timers, timerfd.
//!
//! Time is the last stamp plus retired instructions times a constant. Monotonic time never goes back.

mod calls;

pub(crate) use calls::*;

use crate::abi::sig::{self, SigCause, SigInfo};
use crate::world::World;
use turncoat_freeze::Freeze;

/// Nanoseconds in a second.
pub const SEC: u64 = 1_000_000_000;
/// Time that 1024 instructions take, ns: what it is before anything was measured, and its bounds.
const RATE: (u64, u64, u64) = (1024, 256, 16 * 1024);

/// What a timer wakes. The order breaks ties, so that equal deadlines fire in a fixed order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Freeze)]
pub(crate) enum TimerRef {
    Sleep(u32),
    Real(u32),
    Posix(u32, i32),
    Fd(u32),
    Net,
    /// What still runs is killed, and the machine is down.
    Down,
    /// Something that init does later.
    Init,
}

/// The clock.
#[derive(Clone, Debug, Freeze)]
pub(crate) struct Clock {
    /// Monotonic time at the last stamp, ns since boot.
    base: u64,
    /// Instructions retired since the last stamp.
    insns: u64,
    /// Real time minus monotonic time, ns.
    offset: u64,
    /// Instructions retired in all.
    pub total: u64,
    /// ns for 1024 instructions. It follows the stamps (which are inputs), so that time neither crawls between two stamps nor
    /// runs ahead of them for long.
    rate: u64,
    /// Wall clock of the last stamp, and whether the time since was all work.
    last: u64,
    busy: bool,
}

impl Clock {
    /// A clock of a machine that booted at `boot` (ns since the epoch), when it is `now`.
    pub fn new(boot: u64, now: u64) -> Clock {
        Clock {
            base: now.saturating_sub(boot),
            insns: 0,
            offset: boot.min(now),
            total: 0,
            rate: RATE.0,
            last: now,
            busy: false,
        }
    }

    /// Says whether the slice that ends left work to do.
    pub fn slice_ends(&mut self, busy: bool) {
        self.busy = busy;
    }

    /// CPU time of a number of instructions, ns.
    pub fn cpu_ns(&self, insns: u64) -> u64 {
        insns * self.rate / 1024
    }

    /// Takes a reading of the wall clock (ns since the epoch). The same reading again says nothing new.
    pub fn stamp(&mut self, now: u64) {
        if now == self.last {
            return;
        }
        let mono = self.mono();
        let at = now.saturating_sub(self.offset);
        if self.busy && self.insns >= 10_000 {
            let seen = (now.saturating_sub(self.last) * 1024 / self.insns).clamp(RATE.1, RATE.2);
            self.rate = (self.rate * 3 + seen * 7 / 8) / 4;
            self.rate = self.rate.clamp(RATE.1, RATE.2);
        }
        self.last = now;
        self.base = mono.max(at);
        self.insns = 0;
    }

    pub fn retire(&mut self, n: u64) {
        self.insns += n;
        self.total += n;
    }

    /// Nanoseconds since boot.
    pub fn mono(&self) -> u64 {
        self.base + self.insns * self.rate / 1024
    }

    /// Nanoseconds since the epoch.
    pub fn real(&self) -> u64 {
        self.mono() + self.offset
    }

    pub fn offset(&self) -> u64 {
        self.offset
    }
}

/// The next expiry of an interval after `at`, at or behind `now`, and how often it expired.
pub(crate) fn advance(at: u64, every: u64, now: u64) -> (u64, u64) {
    if every == 0 || at > now {
        return (0, 1);
    }
    let n = (now - at) / every + 1;
    (at + n * every, n)
}

impl World {
    /// Fires everything that is due. Returns true if anything was.
    pub(crate) fn fire_timers(&mut self) -> bool {
        let mut any = false;
        // Bounded: a periodic timer that lies behind is moved past `now` at once.
        while let Some(&(at, what)) = self.timers.first() {
            let now = self.clock.mono();
            if at > now {
                break;
            }
            any = true;
            self.timers.remove(&(at, what));
            match what {
                TimerRef::Sleep(tid) => {
                    if let Ok(t) = self.tm(tid) {
                        t.sleep_until = None;
                    }
                    self.unblock(tid);
                }
                TimerRef::Real(tgid) => {
                    if let Ok(p) = self.pm(tgid) {
                        let (next, _) = advance(at, p.itreal.every, now);
                        p.itreal.at = next;
                        if next != 0 {
                            self.timers.insert((next, what));
                        }
                        let mut info = SigInfo::kernel(sig::SIGALRM);
                        info.cause = SigCause::Kill { pid: 0, uid: 0 };
                        self.send_group(tgid, info);
                    }
                }
                TimerRef::Posix(tgid, id) => self.fire_posix(tgid, id, at, now),
                TimerRef::Fd(ev) => self.fire_timerfd(ev, at, now),
                TimerRef::Net => self.net_timer(),
                TimerRef::Down => self.halted = true,
                TimerRef::Init => self.init.due = true,
            }
        }
        any
    }

    fn fire_posix(&mut self, tgid: u32, id: i32, at: u64, now: u64) {
        let Ok(p) = self.pm(tgid) else { return };
        let Some(t) = p.timers.get_mut(&id) else {
            return;
        };
        let (next, n) = advance(at, t.iv.every, now);
        t.iv.at = next;
        let (notify, signo, value, tid) = (t.notify, t.sig, t.value, t.tid);
        t.overrun = n.saturating_sub(1).min(i32::MAX as u64) as i32;
        let overrun = t.overrun;
        if next != 0 {
            self.timers.insert((next, TimerRef::Posix(tgid, id)));
        }
        let info = SigInfo {
            sig: signo,
            code: sig::SI_TIMER,
            cause: SigCause::Timer { id, overrun, value },
        };
        match notify {
            0 => self.send_group(tgid, info),
            4 => self.send_thread(tid, info),
            _ => {}
        }
    }

    /// The earliest deadline, monotonic ns.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Charges CPU time to a thread and checks timers and limits that run on it.
    pub(crate) fn charge(&mut self, tid: u32, user_insns: u64, sys_insns: u64) {
        self.clock.retire(user_insns + sys_insns);
        let tgid = {
            let (u, s) = (self.clock.cpu_ns(user_insns), self.clock.cpu_ns(sys_insns));
            let Ok(t) = self.tm(tid) else { return };
            t.utime += u;
            t.stime += s;
            t.tgid
        };
        let Ok(p) = self.p(tgid) else { return };
        let lim = p.limits[crate::abi::RLIMIT_CPU];
        if lim.0 == u64::MAX && p.itvirt.at == 0 && p.itprof.at == 0 {
            return;
        }
        let (ut, st) = self.proc_time(tgid);
        let mut fire = Vec::new();
        if let Ok(p) = self.pm(tgid) {
            if p.itvirt.at != 0 && ut >= p.itvirt.at {
                p.itvirt.at = advance(p.itvirt.at, p.itvirt.every, ut).0;
                fire.push(sig::SIGVTALRM);
            }
            if p.itprof.at != 0 && ut + st >= p.itprof.at {
                p.itprof.at = advance(p.itprof.at, p.itprof.every, ut + st).0;
                fire.push(sig::SIGPROF);
            }
            let secs = (ut + st) / SEC;
            if lim.1 != u64::MAX && secs >= lim.1 {
                fire.push(sig::SIGKILL);
            } else if lim.0 != u64::MAX && secs >= lim.0 {
                p.limits[crate::abi::RLIMIT_CPU].0 = secs + 1;
                fire.push(sig::SIGXCPU);
            }
        }
        for s in fire {
            self.send_group(tgid, SigInfo::kernel(s));
        }
    }
}
