//! Signals: dispositions, queues, sending, and what happens on the way back to user mode.
//!
//! Frames are in `frame`, the calls in `calls`, what a dying process leaves in `core`.

mod calls;
mod core;
mod frame;

pub(crate) use calls::*;

use crate::abi::sig::*;
use crate::abi::*;
use crate::sys::Restart;
use crate::task::{State, cap};
use crate::wait::WaitKey;
use crate::world::{Fact, World};
use crate::{Errno, KResult};
use std::sync::Arc;
use turncoat_freeze::Freeze;

/// One entry of the table of handlers, as rt_sigaction lays it out.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Freeze)]
pub(crate) struct Action {
    pub handler: u64,
    pub flags: u64,
    pub restorer: u64,
    pub mask: SigSet,
}

/// A table of handlers, shared with CLONE_SIGHAND.
#[derive(Clone, Freeze)]
pub(crate) struct SigHand {
    pub users: u32,
    pub actions: Arc<[Action; 64]>,
}

impl SigHand {
    pub fn new() -> Self {
        SigHand {
            users: 1,
            actions: Arc::new([Action::default(); 64]),
        }
    }
    pub fn get(&self, sig: u8) -> Action {
        self.actions
            .get(sig.wrapping_sub(1) as usize)
            .copied()
            .unwrap_or_default()
    }
    /// The table for change.
    pub fn change(&mut self) -> &mut [Action; 64] {
        Arc::make_mut(&mut self.actions)
    }
    /// What execve does: handlers become defaults, ignored signals stay ignored.
    pub fn reset(&mut self) {
        for a in self.change() {
            let ignored = a.handler == SIG_IGN;
            *a = Action::default();
            if ignored {
                a.handler = SIG_IGN;
            }
        }
    }
}

pub(crate) const SIG_DFL: u64 = 0;
pub(crate) const SIG_IGN: u64 = 1;

/// sigaltstack state.
#[derive(Clone, Copy, Default, Freeze)]
pub(crate) struct AltStack {
    pub sp: u64,
    pub size: u64,
    pub autodisarm: bool,
}

impl AltStack {
    /// True if `sp` lies on the alternate stack.
    pub fn on(&self, sp: u64) -> bool {
        self.size != 0 && sp > self.sp && sp - self.sp <= self.size
    }
}

/// Queued signals of a thread or a process.
#[derive(Clone, Default, Freeze)]
pub(crate) struct Pending {
    pub set: SigSet,
    queue: Vec<SigInfo>,
}

/// RLIMIT_SIGPENDING's part that one queue may hold.
const QUEUE_MAX: usize = 1024;

impl Pending {
    /// Adds a signal; standard signals are kept once.
    pub fn push(&mut self, info: SigInfo) -> bool {
        if info.sig < 32 && self.set.has(info.sig) {
            return true;
        }
        if self.queue.len() >= QUEUE_MAX {
            return false;
        }
        self.set.add(info.sig);
        self.queue.push(info);
        true
    }

    /// Takes the lowest signal of `allowed`; synchronous faults come first.
    pub fn take(&mut self, allowed: SigSet) -> Option<SigInfo> {
        const SYNC: u64 = 1 << (SIGSEGV - 1)
            | 1 << (SIGBUS - 1)
            | 1 << (SIGILL - 1)
            | 1 << (SIGTRAP - 1)
            | 1 << (SIGFPE - 1)
            | 1 << (SIGSYS - 1);
        let ready = SigSet(self.set.0 & allowed.0);
        let sig = SigSet(ready.0 & SYNC).first().or(ready.first())?;
        let i = self.queue.iter().position(|q| q.sig == sig)?;
        let info = self.queue.remove(i);
        if !self.queue.iter().any(|q| q.sig == sig) {
            self.set.del(sig);
        }
        Some(info)
    }

    pub fn discard(&mut self, sig: u8) {
        self.queue.retain(|q| q.sig != sig);
        self.set.del(sig);
    }
}

/// What a signal does without a handler (signal(7)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Default {
    Terminate,
    Core,
    Stop,
    Continue,
    Ignore,
}

pub(crate) fn default_action(sig: u8) -> Default {
    match sig {
        SIGQUIT | SIGILL | SIGTRAP | SIGABRT | SIGBUS | SIGFPE | SIGSEGV | SIGXCPU | SIGXFSZ | SIGSYS => {
            Default::Core
        }
        SIGSTOP | SIGTSTP | SIGTTIN | SIGTTOU => Default::Stop,
        SIGCONT => Default::Continue,
        SIGCHLD | SIGURG | SIGWINCH => Default::Ignore,
        _ => Default::Terminate,
    }
}

impl World {
    pub(crate) fn action(&self, tid: u32, sig: u8) -> Action {
        self.t(tid)
            .ok()
            .and_then(|t| self.sighands.get(&t.sighand))
            .map(|s| s.get(sig))
            .unwrap_or_default()
    }

    /// True if the signal would have no effect when sent to this thread.
    pub(crate) fn ignored(&self, tid: u32, sig: u8) -> bool {
        let a = self.action(tid, sig);
        a.handler == SIG_IGN
            || (a.handler == SIG_DFL && matches!(default_action(sig), Default::Ignore | Default::Continue))
    }

    /// Signals waiting for a thread and not blocked by it.
    pub(crate) fn deliverable(&self, tid: u32) -> SigSet {
        let Ok(t) = self.t(tid) else { return SigSet(0) };
        let shared = self.p(t.tgid).map_or(0, |p| p.pending.set.0);
        SigSet((t.pending.set.0 | shared) & !t.mask.blockable().0)
    }

    /// May `from` send `sig` to process `to`? (kill(2))
    pub(crate) fn may_signal(&self, from: u32, to: u32, sig: u8) -> KResult<()> {
        let (a, b) = (self.t(from)?, self.t(to)?);
        if a.tgid == b.tgid
            || a.creds.capable(cap::KILL)
            || [a.creds.euid, a.creds.uid]
                .iter()
                .any(|u| *u == b.creds.uid || *u == b.creds.suid)
        {
            return Ok(());
        }
        if sig == SIGCONT {
            let same = self.p(a.tgid)?.sid == self.p(b.tgid)?.sid;
            if same {
                return Ok(());
            }
        }
        Err(Errno::EPERM)
    }

    /// Effects of sending that come before any queueing: stop and continue cancel each other.
    fn prepare(&mut self, tgid: u32, sig: u8) {
        let Ok(p) = self.p(tgid) else { return };
        let threads = p.threads.clone();
        if sig == SIGCONT {
            for s in [SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU] {
                if let Ok(p) = self.pm(tgid) {
                    p.pending.discard(s);
                }
                for t in &threads {
                    if let Ok(t) = self.tm(*t) {
                        t.pending.discard(s);
                    }
                }
            }
            self.continue_group(tgid);
        } else if default_action(sig) == Default::Stop {
            if let Ok(p) = self.pm(tgid) {
                p.pending.discard(SIGCONT);
            }
            for t in &threads {
                if let Ok(t) = self.tm(*t) {
                    t.pending.discard(SIGCONT);
                }
            }
        }
    }

    fn continue_group(&mut self, tgid: u32) {
        let Ok(p) = self.pm(tgid) else { return };
        if p.stopped.take().is_none() {
            return;
        }
        p.report_stop = false;
        p.report_cont = true;
        let threads = p.threads.clone();
        for t in threads {
            if let Ok(t) = self.tm(t)
                && t.state == State::Stopped
            {
                t.state = State::Runnable;
                let tid = t.tid;
                self.enqueue(tid);
            }
        }
        self.notify_parent(tgid, CLD_CONTINUED, SIGCONT as i32);
    }

    /// Sends to a process.
    pub(crate) fn send_group(&mut self, tgid: u32, info: SigInfo) {
        let Ok(p) = self.p(tgid) else { return };
        if p.zombie.is_some() {
            return;
        }
        if p.standin.is_some() {
            self.standin_signal(tgid, &info);
            return;
        }
        self.prepare(tgid, info.sig);
        let Ok(p) = self.p(tgid) else { return };
        let threads = p.threads.clone();
        let Some(first) = threads.first().copied() else {
            return;
        };
        // An ignored signal is dropped unless it is blocked by the leader (then it waits for a change of mind).
        let blocked = self.t(first).is_ok_and(|t| t.mask.has(info.sig));
        if tgid == 1 && self.action(first, info.sig).handler == SIG_DFL {
            return;
        }
        if self.ignored(first, info.sig) && !blocked {
            return;
        }
        if let Ok(p) = self.pm(tgid) {
            p.pending.push(info);
        }
        self.wake(WaitKey::Signal(tgid));
        let target = threads.iter().copied().find(|t| {
            self.t(*t)
                .is_ok_and(|t| !t.mask.blockable().has(info.sig) && t.state != State::Zombie)
        });
        if let Some(t) = target {
            self.poke(t, info.sig);
        }
    }

    /// Sends to one thread.
    pub(crate) fn send_thread(&mut self, tid: u32, info: SigInfo) {
        let Ok(t) = self.t(tid) else { return };
        let (tgid, blocked) = (t.tgid, t.mask.has(info.sig));
        if self.p(tgid).is_ok_and(|p| p.standin.is_some()) {
            self.standin_signal(tgid, &info);
            return;
        }
        self.prepare(tgid, info.sig);
        if self.ignored(tid, info.sig) && !blocked {
            return;
        }
        if let Ok(t) = self.tm(tid) {
            t.pending.push(info);
        }
        self.wake(WaitKey::Signal(tgid));
        if !blocked {
            self.poke(tid, info.sig);
        }
    }

    /// A fault in a thread: blocked or ignored signals kill.
    pub(crate) fn force(&mut self, tid: u32, info: SigInfo) {
        let a = self.action(tid, info.sig);
        let Ok(t) = self.tm(tid) else { return };
        if t.mask.has(info.sig) || a.handler == SIG_IGN {
            t.mask.del(info.sig);
            let sh = t.sighand;
            if let Some(h) = self.sighands.get_mut(&sh)
                && let Some(a) = h.change().get_mut(info.sig.wrapping_sub(1) as usize)
            {
                a.handler = SIG_DFL;
            }
        }
        if let Ok(t) = self.tm(tid) {
            t.pending.push(info);
        }
    }

    /// Makes a thread look at its signals.
    fn poke(&mut self, tid: u32, sig: u8) {
        let Ok(t) = self.tm(tid) else { return };
        match t.state {
            State::Sleeping {
                uninterruptible: true,
            } if sig != SIGKILL => {}
            State::Sleeping { .. } => self.unblock(tid),
            State::Stopped if sig == SIGKILL => {
                t.state = State::Runnable;
                self.enqueue(tid);
            }
            _ => {}
        }
    }

    /// Sends to every process of a group; the count of processes.
    pub(crate) fn send_pgrp(&mut self, pgid: u32, info: SigInfo) -> usize {
        let all: Vec<u32> = self
            .procs
            .values()
            .filter(|p| p.pgid == pgid && p.zombie.is_none())
            .map(|p| p.tgid)
            .collect();
        for p in &all {
            self.send_group(*p, info);
        }
        all.len()
    }

    /// Tells the parent of a child's change of state.
    pub(crate) fn notify_parent(&mut self, tgid: u32, code: i32, status: i32) {
        let Ok(p) = self.p(tgid) else { return };
        let (ppid, exit_signal) = (p.ppid, p.exit_signal);
        let uid = self.t(tgid).map_or(0, |t| t.creds.uid);
        let (ut, st) = self.proc_time(tgid);
        let act = self.action(ppid, SIGCHLD);
        let stop = matches!(code, CLD_STOPPED | CLD_CONTINUED);
        let sig = if stop { SIGCHLD } else { exit_signal };
        if sig != 0 && !(stop && (act.flags & SA_NOCLDSTOP != 0)) {
            self.send_group(
                ppid,
                SigInfo {
                    sig,
                    code,
                    cause: SigCause::Child {
                        pid: tgid,
                        uid,
                        status,
                        utime: ut / 10_000_000,
                        stime: st / 10_000_000,
                    },
                },
            );
        }
        self.wake(WaitKey::Child(ppid));
    }

    /// Stops a whole process.
    fn stop_group(&mut self, tgid: u32, sig: u8) {
        let Ok(p) = self.pm(tgid) else { return };
        p.stopped = Some(sig);
        p.report_stop = true;
        p.report_cont = false;
        let threads = p.threads.clone();
        for t in threads {
            let sleeping = self.t(t).is_ok_and(|t| matches!(t.state, State::Sleeping { .. }));
            if sleeping {
                self.unblock(t);
            }
            if let Ok(t) = self.tm(t)
                && t.state != State::Zombie
            {
                t.state = State::Stopped;
            }
        }
        self.notify_parent(tgid, CLD_STOPPED, sig as i32);
    }

    /// True if no member of the group has a parent in another group of the same session (POSIX "orphaned").
    pub(crate) fn orphaned(&self, pgid: u32) -> bool {
        !self.procs.values().any(|p| {
            p.pgid == pgid
                && p.zombie.is_none()
                && self
                    .p(p.ppid)
                    .is_ok_and(|q| q.pgid != pgid && q.sid == p.sid && q.tgid != 1)
        })
    }

    /// Handles signals of a thread that is about to go on in user mode. Returns false if it may not run.
    pub(crate) fn deliver(&mut self, tid: u32) -> bool {
        // Bounded: each turn takes one signal off a bounded queue.
        loop {
            let Ok(t) = self.t(tid) else { return false };
            if t.state != State::Runnable {
                return false;
            }
            let tgid = t.tgid;
            if let Some(code) = self.p(tgid).ok().and_then(|p| p.group_exit) {
                self.exit_thread(tid, code);
                return false;
            }
            let ready = self.deliverable(tid);
            if ready.0 == 0 {
                return self.resume_call(tid);
            }
            let kill = ready.has(SIGKILL);
            let allowed = if kill { SigSet(1 << (SIGKILL - 1)) } else { ready };
            let info = match self.tm(tid) {
                Ok(t) => t.pending.take(allowed),
                Err(_) => None,
            };
            let info = match info {
                Some(i) => i,
                None => match self.pm(tgid).ok().and_then(|p| p.pending.take(allowed)) {
                    Some(i) => i,
                    None => return self.resume_call(tid),
                },
            };
            self.trace_signal(tid, &info);
            let sig = info.sig;
            let act = self.action(tid, sig);
            if sig != SIGKILL && sig != SIGSTOP && act.handler == SIG_IGN {
                continue;
            }
            if act.handler > SIG_IGN && sig != SIGKILL && sig != SIGSTOP {
                self.interrupt_call(tid, act.flags & SA_RESTART != 0);
                if act.flags & SA_RESETHAND != 0 {
                    let sh = self.t(tid).map_or(0, |t| t.sighand);
                    if let Some(h) = self.sighands.get_mut(&sh)
                        && let Some(a) = h.change().get_mut(sig as usize - 1)
                    {
                        a.handler = SIG_DFL;
                    }
                }
                if self.push_frame(tid, &info, &act).is_err() {
                    let core = self.dump_core(tid, &SigInfo::kernel(SIGSEGV));
                    self.group_exit(tgid, SIGSEGV as i32 | core);
                    continue;
                }
                continue;
            }
            match default_action(sig) {
                Default::Ignore | Default::Continue => continue,
                Default::Stop => {
                    if sig != SIGSTOP {
                        let pgid = self.p(tgid).map_or(0, |p| p.pgid);
                        if self.orphaned(pgid) {
                            continue;
                        }
                    }
                    self.stop_group(tgid, sig);
                    return false;
                }
                Default::Terminate => self.group_exit(tgid, sig as i32),
                Default::Core => {
                    let core = self.dump_core(tid, &info);
                    self.group_exit(tgid, sig as i32 | core);
                }
            }
        }
    }

    /// No signal interrupts: a pending call is left to be tried again; a call that only waited for a signal to change
    /// its mask goes on waiting.
    fn resume_call(&mut self, _tid: u32) -> bool {
        true
    }

    /// A handler is going to run: the call in progress ends with EINTR, with what it has done, or is set to restart.
    fn interrupt_call(&mut self, tid: u32, restart: bool) {
        let mono = self.clock.mono();
        let Ok(t) = self.tm(tid) else { return };
        let Some(call) = t.call.take() else { return };
        let class = crate::sys::entry(call.nr).map_or(Restart::Sys, |e| e.restart);
        let Some(cpu) = t.cpu.as_mut() else { return };
        let eintr = -(Errno::EINTR.0 as i64);
        let (value, again) = if call.progress > 0 {
            (call.progress as i64, false)
        } else {
            match class {
                Restart::Sys if restart && !call.timed => (0, true),
                _ => (eintr, false),
            }
        };
        if again {
            cpu.rip = cpu.rip.wrapping_sub(2);
            cpu.gpr[turncoat_cpu::RAX] = call.nr;
        } else {
            cpu.gpr[turncoat_cpu::RAX] = value as u64;
        }
        if value == eintr
            && call.remain_va != 0
            && let Some(d) = call.deadline
        {
            let left = d.saturating_sub(mono);
            let mut e = Enc::new();
            e.u64(left / crate::time::SEC).u64(left % crate::time::SEC);
            let _ = self.copy_out(tid, call.remain_va, &e.0);
        }
        self.trace_interrupted(tid, &call, value, again);
    }

    /// The record of a kill.
    pub(crate) fn note_kill(&mut self, from: u32, to: u32, sig: u8) {
        let name = self.t(to).map(|t| t.comm().to_vec()).unwrap_or_default();
        let tgid = self.tgid(from);
        self.fact(
            tgid,
            Fact::Kill {
                target: to,
                comm: name,
                sig,
            },
        );
    }
}
