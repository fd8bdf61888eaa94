//! The scheduler: slices of a world, turns of its threads, what the processor could not do by itself, and what calls left in queues of the
//! parts.

use super::World;
use crate::KResult;
use crate::sys::Call;
use crate::task::State;
use std::sync::Arc;
use turncoat_cpu::{Exit, FaultKind};

/// How a slice ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slice {
    /// Nothing to do until an input, or until this time (ns since the epoch).
    Idle {
        /// When a timer fires.
        wake_at: Option<u64>,
    },
    /// More to do.
    Busy,
    /// The machine was halted.
    Dead,
}

/// Instructions that a thread runs before the next has its turn.
const QUANTUM: u64 = 200_000;

impl World {
    /// Runs for about `budget` instructions at wall-clock time `now` (ns since the epoch).
    pub fn run(&mut self, budget: u64, now: u64) -> Slice {
        if self.halted {
            return Slice::Dead;
        }
        self.rise();
        self.clock.stamp(now);
        self.update_load();
        if let Some(l) = self.pulse() {
            self.net.stats.idle = l.network;
        }
        let mut left = budget;
        loop {
            self.fire_timers();
            self.net_poll();
            self.init_work();
            let Some(tid) = self.runq.pop_front() else { break };
            if let Ok(t) = self.tm(tid) {
                t.queued = false;
            }
            let before = self.clock.total;
            self.current = tid;
            self.run_task(tid, left.min(QUANTUM));
            self.current = 0;
            self.switches += 1;
            self.after_task();
            self.init_work();
            let used = (self.clock.total - before).max(1000);
            if self.t(tid).is_ok_and(|t| t.state == State::Runnable) {
                self.enqueue(tid);
            }
            left = left.saturating_sub(used + self.init_spent());
            if left == 0 || self.halted {
                break;
            }
        }
        self.pump();
        self.out_of_memory();
        self.clock.slice_ends(!self.runq.is_empty());
        if self.halted {
            return Slice::Dead;
        }
        if !self.runq.is_empty() {
            return Slice::Busy;
        }
        Slice::Idle {
            wake_at: self
                .next_deadline()
                .map(|d| d.saturating_add(self.clock.offset())),
        }
    }

    /// One thread's turn.
    fn run_task(&mut self, tid: u32, quantum: u64) {
        let mut left = quantum;
        self.yielded = false;
        while left > 0 && !self.yielded && !self.halted {
            if !self.deliver(tid) {
                return;
            }
            // A call that waited is tried again.
            let pending = match self.tm(tid) {
                Ok(t) => t.call.take(),
                Err(_) => return,
            };
            if let Some(mut c) = pending {
                c.first = false;
                let cost = self.dispatch(c);
                self.charge(tid, 0, cost);
                left = left.saturating_sub(cost);
                if self.t(tid).map_or(true, |t| t.state != State::Runnable) {
                    return;
                }
                continue;
            }
            let exit = {
                let Some(t) = self.tasks.get_mut(&tid) else { return };
                let t = Arc::make_mut(t);
                let (Some(cpu), Some(mm)) = (t.cpu.as_mut(), t.mm.and_then(|m| self.mms.get_mut(&m))) else {
                    return;
                };
                let start = left;
                let exit = turncoat_cpu::run(cpu, &mut mm.space, &mut self.machine, &mut left);
                (exit, start.saturating_sub(left))
            };
            self.charge(tid, exit.1, 0);
            match exit.0 {
                Exit::Budget => return,
                Exit::Syscall => {
                    let Some(call) = self
                        .t(tid)
                        .ok()
                        .and_then(|t| t.cpu.as_ref())
                        .map(|c| Call::new(tid, c))
                    else {
                        return;
                    };
                    let cost = self.dispatch(call);
                    self.charge(tid, 0, cost);
                    left = left.saturating_sub(cost);
                }
                Exit::Fault(f) => {
                    self.charge(tid, 0, 500);
                    left = left.saturating_sub(500);
                    self.fault(tid, f);
                }
            }
            self.fire_timers();
        }
    }

    /// A processor exception: a page comes in, or a signal is sent.
    fn fault(&mut self, tid: u32, f: turncoat_cpu::Fault) {
        use crate::abi::sig::*;
        use crate::mm::Bad;
        let rip = self.t(tid).ok().and_then(|t| t.cpu.as_ref()).map_or(0, |c| c.rip);
        let (trap, info) = match f.kind {
            FaultKind::Page => {
                let want = if f.error_code & 2 != 0 {
                    2
                } else if f.error_code & 16 != 0 {
                    4
                } else {
                    1
                };
                let r = if f.addr >= crate::mm::TASK_SIZE {
                    Err(Bad::NoMap)
                } else {
                    self.fault_in(tid, f.addr, want)
                };
                match r {
                    Ok(()) => return,
                    Err(Bad::NoMap) => (14, SigInfo::fault(SIGSEGV, 1, f.addr)),
                    Err(Bad::Access) => (14, SigInfo::fault(SIGSEGV, 2, f.addr)),
                    Err(Bad::Bus) => (14, SigInfo::fault(SIGBUS, 2, f.addr)),
                    Err(Bad::Oom) => {
                        let tgid = self.tgid(tid);
                        self.group_exit(tgid, SIGKILL as i32);
                        return;
                    }
                }
            }
            FaultKind::InvalidOpcode => {
                self.unserved(tid, "instruction");
                (6, SigInfo::fault(SIGILL, 2, rip))
            }
            FaultKind::DivideError => (0, SigInfo::fault(SIGFPE, 1, rip)),
            FaultKind::GeneralProtection => (13, SigInfo::kernel(SIGSEGV)),
            FaultKind::FloatingPoint => (16, SigInfo::fault(SIGFPE, 7, rip)),
            FaultKind::SimdFloatingPoint => (19, SigInfo::fault(SIGFPE, 7, rip)),
            FaultKind::Breakpoint => (3, SigInfo::kernel(SIGTRAP)),
            FaultKind::Debug => (1, SigInfo::fault(SIGTRAP, 2, rip)),
            FaultKind::Overflow => (4, SigInfo::kernel(SIGSEGV)),
            FaultKind::AlignmentCheck => (17, SigInfo::fault(SIGBUS, 1, rip)),
        };
        self.last_fault = (f.error_code as u64, trap);
        self.force(tid, info);
    }

    /// Load averages, every five seconds as Linux: exponential means of the number of runnable threads (16.16 fixed point).
    fn update_load(&mut self) {
        const STEP: u64 = 5_000_000_000;
        const DECAY: [u64; 3] = [60_295, 64_455, 65_173];
        let now = self.clock.mono();
        if self.load_at == 0 {
            self.load_at = now;
        }
        let n = (self.runq.len() as u64) << 16;
        let mut steps = (now.saturating_sub(self.load_at) / STEP).min(2000);
        self.load_at += now.saturating_sub(self.load_at) / STEP * STEP;
        // What ran since counts once; the rest of a long pause was idle.
        let mut active = n;
        while steps > 0 {
            for (l, d) in self.load.iter_mut().zip(DECAY) {
                *l = (*l * d + active * (65_536 - d)) >> 16;
            }
            active = 0;
            steps -= 1;
        }
    }

    /// Past the world's memory the process that holds most is killed, as the kernel's OOM killer does.
    fn out_of_memory(&mut self) {
        for _ in 0..8 {
            let own: u64 = self
                .mms
                .values_mut()
                .map(|m| m.space.stats().owned as u64 * 4096)
                .sum();
            if own <= self.limits.memory {
                return;
            }
            let victim = self
                .tasks
                .values()
                .filter(|t| t.tid == t.tgid && t.state != State::Zombie)
                .filter_map(|t| Some((t.mm?, t.tgid)))
                .collect::<Vec<_>>()
                .into_iter()
                .map(|(m, tgid)| (self.mms.get_mut(&m).map_or(0, |m| m.space.stats().owned), tgid))
                .max();
            let Some((_, tgid)) = victim else { return };
            self.group_exit(tgid, crate::abi::sig::SIGKILL as i32);
            self.after_task();
        }
    }

    /// Everything that calls left in queues of the parts.
    pub(crate) fn after_task(&mut self) {
        self.tty_effects();
        self.net_effects();
        self.fs_effects();
        self.hear_initctl();
    }

    /// Applies what terminals ask of tasks.
    pub(crate) fn tty_effects(&mut self) {
        use crate::abi::sig::SigInfo;
        use crate::tty::TtyEffect as E;
        // Bounded: signals that were sent do not make new effects.
        while self.ttys.has_effects() {
            for e in self.ttys.take_effects() {
                match e {
                    E::Signal { pgrp, sig } => {
                        self.send_pgrp(pgrp, SigInfo::kernel(sig));
                    }
                    E::SignalLeader { session, sig } => self.send_group(session, SigInfo::kernel(sig)),
                    E::Wake(k) => self.wake(k),
                    E::SetTty { tgid, tty } => {
                        if let Ok(p) = self.pm(tgid) {
                            p.ctty = Some(tty);
                        }
                    }
                    E::DropTty { tgid } => {
                        if let Ok(p) = self.pm(tgid) {
                            p.ctty = None;
                        }
                    }
                    E::DropSessionTty { session } => {
                        let all: Vec<u32> = self
                            .procs
                            .values()
                            .filter(|p| p.sid == session)
                            .map(|p| p.tgid)
                            .collect();
                        for t in all {
                            if let Ok(p) = self.pm(t) {
                                p.ctty = None;
                            }
                        }
                    }
                    E::Node { tty, present } => self.pts_node(tty, present),
                }
            }
        }
    }

    /// Who asks, as terminals see it.
    pub(crate) fn tty_caller(&self, tid: u32) -> KResult<crate::tty::Caller> {
        use crate::abi::sig::{SIGTTIN, SIGTTOU};
        let t = self.t(tid)?;
        let p = self.p(t.tgid)?;
        let ign = |s: u8| t.mask.has(s) || self.action(tid, s).handler == crate::signal::SIG_IGN;
        Ok(crate::tty::Caller {
            tgid: t.tgid,
            pgrp: p.pgid,
            session: p.sid,
            leader: p.sid == t.tgid,
            ctty: p.ctty,
            ignores_ttin: ign(SIGTTIN),
            ignores_ttou: ign(SIGTTOU),
            orphaned: self.orphaned(p.pgid),
            admin: t.creds.capable(crate::cap::SYS_ADMIN),
        })
    }

    pub(crate) fn session_leader_exit(&mut self, sid: u32, tty: crate::tty::TtyId) {
        self.ttys.session_ends(tty, sid, true);
        self.tty_effects();
    }
}
