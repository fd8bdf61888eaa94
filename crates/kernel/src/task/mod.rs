//! Processes (thread groups) and threads: what they hold and how they are found.
//!
//! Everything shared between threads (memory, descriptors, handlers) lives in tables of the world and is named here by index.

pub mod creds;
mod exit;
mod fork;
pub(crate) mod jobs;
pub(crate) mod rlimit;
mod wait;

pub use creds::{Caps, Creds, cap};

use crate::abi::sig::{SigInfo, SigSet};
use crate::signal::{AltStack, Pending};
use crate::sys::Call;
use crate::wait::WaitKey;
use crate::world::{Conn, World};
use crate::{Errno, KResult};
use std::collections::BTreeMap;
use std::sync::Arc;
use turncoat_cover::past::pids;
use turncoat_cpu::Cpu;
use turncoat_freeze::Freeze;

/// Whether a thread can run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Freeze)]
pub(crate) enum State {
    /// In the run queue or running.
    Runnable,
    /// In a call that waits; `uninterruptible` sleeps ignore all signals but SIGKILL.
    Sleeping { uninterruptible: bool },
    /// Stopped by a job-control signal.
    Stopped,
    /// Gone; the leader of a group stays until it is waited for.
    Zombie,
}

/// One thread.
#[derive(Clone, Freeze)]
pub(crate) struct Task {
    pub tid: u32,
    pub tgid: u32,
    pub cpu: Option<Box<Cpu>>,
    pub mm: Option<u32>,
    pub files: Option<u32>,
    pub fs: u32,
    pub sighand: u32,
    pub creds: Arc<Creds>,
    pub state: State,
    pub queued: bool,
    pub comm: [u8; 16],
    pub mask: SigSet,
    /// Mask to come back after sigsuspend, ppoll and the like.
    pub saved_mask: Option<SigSet>,
    pub pending: Pending,
    pub alt: AltStack,
    /// The call that is in progress (blocked or to be tried again).
    pub call: Option<Call>,
    pub keys: Vec<WaitKey>,
    pub sleep_until: Option<u64>,
    pub clear_tid: u64,
    pub robust: u64,
    pub rseq: Option<(u64, u32, u32)>,
    pub pdeathsig: u8,
    pub nice: i32,
    /// As ioprio_set(2) has it: class and level.
    pub ioprio: u16,
    pub policy: u32,
    pub timer_slack: u64,
    pub utime: u64,
    pub stime: u64,
    pub start: u64,
    pub minflt: u64,
    pub majflt: u64,
    pub nvcsw: u64,
    pub nivcsw: u64,
    pub vfork_parent: Option<u32>,
    pub exit_code: i32,
    pub rchar: u64,
    pub wchar: u64,
    pub syscr: u64,
    pub syscw: u64,
}

/// What a process without memory shows of itself: a kernel thread or a daemon that only appears to run.
#[derive(Clone, Debug, Default, Freeze)]
pub(crate) struct StandIn {
    pub cmdline: Vec<u8>,
    pub exe: Vec<u8>,
    pub rss: u64,
    pub vsz: u64,
    pub threads: u32,
    pub kthread: bool,
    /// Its name in full: that of a kernel thread is longer than a task's may be (proc_task_name in fs/proc/array.c).
    pub name: Vec<u8>,
    /// ignored: signals with handlers in the real program
    pub ignores: SigSet,
}

/// A POSIX timer or interval timer.
#[derive(Clone, Copy, Default, Debug, Freeze)]
pub(crate) struct Interval {
    /// Absolute expiry on the monotonic clock (ns); 0 is disarmed.
    pub at: u64,
    pub every: u64,
}

/// A timer made by timer_create.
#[derive(Clone, Debug, Freeze)]
pub(crate) struct PosixTimer {
    pub clock: i32,
    pub notify: i32,
    pub sig: u8,
    pub value: u64,
    pub tid: u32,
    pub iv: Interval,
    pub overrun: i32,
}

/// One process.
#[derive(Clone, Freeze)]
pub(crate) struct Proc {
    pub tgid: u32,
    pub ppid: u32,
    pub pgid: u32,
    pub sid: u32,
    pub threads: Vec<u32>,
    pub pending: Pending,
    pub limits: [(u64, u64); 16],
    pub itreal: Interval,
    pub itvirt: Interval,
    pub itprof: Interval,
    pub timers: BTreeMap<i32, PosixTimer>,
    pub next_timer: i32,
    /// Controlling terminal, by pty number.
    pub ctty: Option<crate::tty::TtyId>,
    pub start: u64,
    /// CPU time of threads that are gone, and of children that were waited for (ns).
    pub dead_time: (u64, u64),
    pub child_time: (u64, u64),
    pub dead_flt: (u64, u64),
    pub child_flt: (u64, u64),
    pub maxrss: u64,
    pub child_maxrss: u64,
    /// Wait status, once the process is a zombie.
    pub zombie: Option<i32>,
    /// Set while the whole group is going away.
    pub group_exit: Option<i32>,
    /// Stopped by this signal.
    pub stopped: Option<u8>,
    pub report_stop: bool,
    pub report_cont: bool,
    pub exit_signal: u8,
    pub subreaper: bool,
    pub dumpable: u32,
    pub did_exec: bool,
    pub oom_score_adj: i32,
    /// It asked for PTRACE_TRACEME.
    pub traced: bool,
    pub standin: Option<Arc<StandIn>>,
    /// A stand-in's program; held.
    pub exe: Option<crate::vfs::Path>,
    pub conn: Option<Conn>,
    /// The unit that it belongs to; children have it too.
    pub unit: Option<Arc<str>>,
    pub personality: u64,
    /// exe's `rl_line_buffer` (readline inside the program), relocated.
    pub readline: Option<u64>,
    /// Baits that this program has read, for the record.
    pub baits: Vec<Arc<str>>,
    pub io: (u64, u64, u64, u64),
}

/// Working directory, root and umask; shared with CLONE_FS.
#[derive(Clone, Freeze)]
pub(crate) struct FsInfo {
    pub users: u32,
    pub cwd: crate::vfs::Path,
    pub root: crate::vfs::Path,
    pub umask: u32,
}

impl World {
    /// The running thread's record. Callers hold a tid that exists; an unknown tid is a zero task, never a panic.
    pub(crate) fn t(&self, tid: u32) -> KResult<&Task> {
        self.tasks.get(&tid).map(|t| &**t).ok_or(Errno::ESRCH)
    }

    pub(crate) fn tm(&mut self, tid: u32) -> KResult<&mut Task> {
        self.tasks.get_mut(&tid).map(Arc::make_mut).ok_or(Errno::ESRCH)
    }

    pub(crate) fn p(&self, tgid: u32) -> KResult<&Proc> {
        self.procs.get(&tgid).map(|p| &**p).ok_or(Errno::ESRCH)
    }

    pub(crate) fn pm(&mut self, tgid: u32) -> KResult<&mut Proc> {
        self.procs.get_mut(&tgid).map(Arc::make_mut).ok_or(Errno::ESRCH)
    }

    /// The process of a thread.
    pub(crate) fn tgid(&self, tid: u32) -> u32 {
        self.tasks.get(&tid).map_or(0, |t| t.tgid)
    }

    pub(crate) fn creds(&self, tid: u32) -> KResult<Arc<Creds>> {
        Ok(self.t(tid)?.creds.clone())
    }

    pub(crate) fn children(&self, tgid: u32) -> Vec<u32> {
        self.procs
            .values()
            .filter(|p| p.ppid == tgid && p.tgid != tgid)
            .map(|p| p.tgid)
            .collect()
    }

    /// How many numbers cron, timers and what they start would have taken since the counter last moved on.
    pub(crate) fn pids_due(&self) -> u32 {
        let seconds = |nanos: u64| (nanos / crate::time::SEC) as i64;
        let here = pids::at(seconds(self.clock.offset()), seconds(self.clock.real()));
        here.saturating_sub(self.pids_at)
    }

    /// Counts them.
    pub(crate) fn pids_move_on(&mut self) {
        let due = self.pids_due();
        self.pids_at += due;
        self.last_pid += due;
        self.forks += u64::from(due);
    }

    /// How far the counter is ahead of that of a machine that nobody uses.
    pub fn pids_ahead(&self) -> u32 {
        self.last_pid.saturating_sub(self.pids_at)
    }

    /// A number that something outside of the world's memory had: the next ones are higher.
    pub fn pid_was(&mut self, pid: u32) {
        self.pids_move_on();
        let more = pid.min(PID_MAX).saturating_sub(self.last_pid);
        self.last_pid += more;
        self.forks += u64::from(more);
    }

    /// Takes the next free pid, as Linux does: upwards, from 300 again after the limit.
    pub(crate) fn alloc_pid(&mut self) -> KResult<u32> {
        self.pids_move_on();
        for _ in 0..PID_MAX {
            self.last_pid += 1;
            if self.last_pid >= PID_MAX {
                self.last_pid = 300;
            }
            let p = self.last_pid;
            let used = self.tasks.contains_key(&p)
                || self.procs.contains_key(&p)
                || self.procs.values().any(|q| q.pgid == p || q.sid == p);
            if !used {
                return Ok(p);
            }
        }
        Err(Errno::EAGAIN)
    }

    /// Puts a thread on the run queue.
    pub(crate) fn enqueue(&mut self, tid: u32) {
        if let Ok(t) = self.tm(tid)
            && !t.queued
            && t.state == State::Runnable
        {
            t.queued = true;
            self.runq.push_back(tid);
        }
    }

    /// Ends a thread's sleep; its call will be tried again.
    pub(crate) fn unblock(&mut self, tid: u32) {
        let Ok(t) = self.tm(tid) else { return };
        if !matches!(t.state, State::Sleeping { .. }) {
            return;
        }
        t.state = State::Runnable;
        let keys = std::mem::take(&mut t.keys);
        let until = t.sleep_until.take();
        for k in keys {
            if let Some(set) = self.waiters.get_mut(&k) {
                set.remove(&tid);
                if set.is_empty() {
                    self.waiters.remove(&k);
                }
            }
        }
        if let Some(at) = until {
            self.timers.remove(&(at, crate::time::TimerRef::Sleep(tid)));
        }
        self.enqueue(tid);
    }

    /// Puts a thread to sleep on keys and, perhaps, until a time (monotonic ns).
    pub(crate) fn block(&mut self, tid: u32, keys: Vec<WaitKey>, until: Option<u64>, unint: bool) {
        for k in &keys {
            self.waiters.entry(*k).or_default().insert(tid);
        }
        if let Some(at) = until {
            self.timers.insert((at, crate::time::TimerRef::Sleep(tid)));
        }
        if let Ok(t) = self.tm(tid) {
            t.state = State::Sleeping {
                uninterruptible: unint,
            };
            t.nvcsw += 1;
            t.keys = keys;
            t.sleep_until = until;
        }
    }

    /// Wakes every thread and epoll set that waits for `key`.
    pub(crate) fn wake(&mut self, key: WaitKey) {
        if let Some(set) = self.waiters.remove(&key) {
            for tid in set {
                self.unblock(tid);
            }
        }
        self.epoll_notify(key);
    }

    /// Sets the name that `ps -o comm` shows.
    pub(crate) fn set_comm(&mut self, tid: u32, name: &[u8]) {
        if let Ok(t) = self.tm(tid) {
            t.comm = [0; 16];
            for (d, s) in t.comm.iter_mut().take(15).zip(name) {
                *d = *s;
            }
        }
    }

    /// Number of processes that belong to a user.
    pub(crate) fn user_tasks(&self, uid: u32) -> usize {
        self.tasks.values().filter(|t| t.creds.uid == uid).count()
    }

    /// CPU time of a whole process so far (user, system), in ns.
    pub(crate) fn proc_time(&self, tgid: u32) -> (u64, u64) {
        let Ok(p) = self.p(tgid) else { return (0, 0) };
        let mut r = p.dead_time;
        for t in &p.threads {
            if let Ok(t) = self.t(*t) {
                r.0 += t.utime;
                r.1 += t.stime;
            }
        }
        r
    }

    /// Makes the record of a process that only appears to run.
    pub(crate) fn spawn_standin(&mut self, s: crate::world::StandInSpec) -> KResult<u32> {
        let pid = match s.pid {
            Some(p) if !self.tasks.contains_key(&p) => {
                self.last_pid = self.last_pid.max(p);
                p
            }
            _ => self.alloc_pid()?,
        };
        // Processes that do not run share one table of handlers and one directory, so that a clone of the world is cheap.
        let (fs, sighand) = match self.standin_tables {
            Some(x) if self.fss.contains_key(&x.0) && self.sighands.contains_key(&x.1) => x,
            _ => {
                let x = (self.new_fs(), self.new_sighand());
                self.standin_tables = Some(x);
                x
            }
        };
        if let Some(f) = self.fss.get_mut(&fs) {
            f.users += 1;
        }
        if let Some(h) = self.sighands.get_mut(&sighand) {
            h.users += 1;
        }
        let start = s.start_ns;
        let mut t = Task::blank(pid, pid, fs, sighand, Arc::new(s.creds));
        t.start = start;
        t.state = State::Sleeping {
            uninterruptible: false,
        };
        t.nice = s.nice;
        t.utime = s.utime_ns;
        t.stime = s.stime_ns;
        for (d, c) in t.comm.iter_mut().take(15).zip(&s.comm) {
            *d = *c;
        }
        let mut p = Proc::blank(pid, s.ppid);
        p.pgid = if s.kthread { 0 } else { s.pgid.unwrap_or(pid) };
        p.sid = if s.kthread { 0 } else { s.sid.unwrap_or(pid) };
        p.start = start;
        p.ctty = s.ctty;
        p.conn = s.conn;
        p.unit = Some(Arc::from(s.unit.as_str())).filter(|u: &Arc<str>| !u.is_empty());
        let mut ignores = SigSet(0);
        for sig in &s.ignores {
            ignores.add(*sig);
        }
        p.standin = Some(Arc::new(StandIn {
            cmdline: s.cmdline,
            exe: s.exe,
            rss: s.rss,
            vsz: s.vsz,
            threads: s.threads.max(1),
            kthread: s.kthread,
            name: s.comm.into_iter().take(63).collect(),
            ignores,
        }));
        self.tasks.insert(pid, Arc::new(t));
        self.procs.insert(pid, Arc::new(p));
        Ok(pid)
    }

    /// Finds the program of a stand-in, for /proc/PID/exe.
    pub(crate) fn find_exe(&mut self, pid: u32) {
        let Some(s) = self.p(pid).ok().and_then(|p| p.standin.clone()) else {
            return;
        };
        if s.exe.is_empty() {
            return;
        }
        let root = self.vfs.root_path();
        if let Ok(Ok(l)) = self.fs(0, |v, c| v.walk(c, &root, &s.exe, 0)) {
            self.vfs_hold(&l);
            if let Ok(p) = self.pm(pid) {
                p.exe = Some(l);
            }
        }
    }

    /// A stand-in is told of a signal: it dies of what it does not ignore.
    pub(crate) fn standin_signal(&mut self, tgid: u32, info: &SigInfo) {
        let Ok(p) = self.p(tgid) else { return };
        let Some(s) = p.standin.clone() else { return };
        if s.kthread || tgid == 1 {
            return;
        }
        if info.sig != crate::abi::sig::SIGKILL && s.ignores.has(info.sig) {
            return;
        }
        match crate::signal::default_action(info.sig) {
            crate::signal::Default::Terminate | crate::signal::Default::Core => {
                self.group_exit(tgid, info.sig as i32);
            }
            crate::signal::Default::Stop => {
                if let Ok(t) = self.tm(tgid) {
                    t.state = State::Stopped;
                }
            }
            crate::signal::Default::Continue => {
                if let Ok(t) = self.tm(tgid) {
                    t.state = State::Sleeping {
                        uninterruptible: false,
                    };
                }
            }
            crate::signal::Default::Ignore => {}
        }
    }

    pub(crate) fn new_fs(&mut self) -> u32 {
        let root = self.vfs.root_path();
        self.vfs_hold(&root);
        self.vfs_hold(&root);
        let id = self.fresh_id();
        self.fss.insert(
            id,
            FsInfo {
                users: 1,
                cwd: root.clone(),
                root,
                umask: 0o022,
            },
        );
        id
    }

    pub(crate) fn new_sighand(&mut self) -> u32 {
        let id = self.fresh_id();
        self.sighands.insert(id, crate::signal::SigHand::new());
        id
    }

    /// A number for the next shared table; never used twice in a world.
    pub(crate) fn fresh_id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id
    }
}

/// kernel.pid_max of a small 64-bit Debian server.
pub(crate) const PID_MAX: u32 = 4_194_304;

impl Task {
    pub(crate) fn blank(tid: u32, tgid: u32, fs: u32, sighand: u32, creds: Arc<Creds>) -> Task {
        Task {
            tid,
            tgid,
            cpu: None,
            mm: None,
            files: None,
            fs,
            sighand,
            creds,
            state: State::Runnable,
            queued: false,
            comm: [0; 16],
            mask: SigSet(0),
            saved_mask: None,
            pending: Pending::default(),
            alt: AltStack::default(),
            call: None,
            keys: Vec::new(),
            sleep_until: None,
            clear_tid: 0,
            robust: 0,
            rseq: None,
            pdeathsig: 0,
            nice: 0,
            ioprio: 0,
            policy: 0,
            timer_slack: 50_000,
            utime: 0,
            stime: 0,
            start: 0,
            minflt: 0,
            majflt: 0,
            nvcsw: 0,
            nivcsw: 0,
            vfork_parent: None,
            exit_code: 0,
            rchar: 0,
            wchar: 0,
            syscr: 0,
            syscw: 0,
        }
    }

    /// The command name without trailing zeroes.
    pub(crate) fn comm(&self) -> &[u8] {
        let n = self.comm.iter().position(|b| *b == 0).unwrap_or(16);
        &self.comm[..n]
    }
}

impl Proc {
    pub(crate) fn blank(tgid: u32, ppid: u32) -> Proc {
        Proc {
            tgid,
            ppid,
            pgid: tgid,
            sid: tgid,
            threads: vec![tgid],
            pending: Pending::default(),
            limits: rlimit::DEFAULTS,
            itreal: Interval::default(),
            itvirt: Interval::default(),
            itprof: Interval::default(),
            timers: BTreeMap::new(),
            next_timer: 0,
            ctty: None,
            start: 0,
            dead_time: (0, 0),
            child_time: (0, 0),
            dead_flt: (0, 0),
            child_flt: (0, 0),
            maxrss: 0,
            child_maxrss: 0,
            zombie: None,
            group_exit: None,
            stopped: None,
            report_stop: false,
            report_cont: false,
            exit_signal: crate::abi::sig::SIGCHLD,
            subreaper: false,
            dumpable: 1,
            did_exec: false,
            oom_score_adj: 0,
            traced: false,
            standin: None,
            exe: None,
            conn: None,
            unit: None,
            personality: 0,
            readline: None,
            baits: Vec::new(),
            io: (0, 0, 0, 0),
        }
    }
}
