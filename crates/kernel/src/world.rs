//! A world: all state of one machine, its scheduler, and the doors through which bytes come and go.
//!
//! Everything is plain data that refers to itself by index, so that a world can be cloned, hashed and written. The same inputs
//! (bytes, clock stamps, entropy) in the same order give the same run.

use crate::fd::event::Event;
use crate::fd::pipe::Pipe;
use crate::fd::{FdTable, File};
use crate::mm::Mm;
use crate::numbered::Numbered;
use crate::rng::Rng;
use crate::signal::SigHand;
use crate::slab::Slab;
use crate::sys::Call;
use crate::sysfs::facts::Facts;
use crate::task::{FsInfo, Proc, State, Task};
use crate::time::{Clock, TimerRef};
use crate::tty::Ttys;
use crate::vfs::Vfs;
use crate::wait::WaitKey;
use crate::{Creds, KResult};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use turncoat_cover::past::pids;
use turncoat_cpu::{Exit, FaultKind, Machine, PageRef};
use turncoat_freeze::Freeze;

/// A connection to the world: a login or a command on behalf of a decoy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Freeze)]
pub struct Conn(pub u32);

/// Bounds of one world.
#[derive(Clone, Debug, Freeze)]
pub struct Limits {
    /// Threads at a time.
    pub tasks: usize,
    /// Open file descriptions.
    pub files: usize,
    /// Bytes of private memory of all processes together.
    pub memory: u64,
    /// Largest single private mapping that promises memory.
    pub commit: u64,
    /// Bytes that wait for one connection's network side.
    pub output: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            tasks: 1024,
            files: 16384,
            memory: 256 << 20,
            commit: 3 << 30,
            output: 256 << 10,
        }
    }
}

/// What a world starts from.
pub struct Boot {
    /// What the root file system is made from.
    pub plan: crate::vfs::boot::Plan,
    /// Files of the cover, laid over the image.
    pub files: Vec<crate::vfs::boot::CoverFile>,
    /// Facts that /proc, /sys and uname tell.
    pub facts: Facts,
    /// Host name.
    pub hostname: Vec<u8>,
    /// The processor.
    pub machine: Machine,
    /// When the machine booted, ns since the epoch.
    pub boot_time: u64,
    /// What the clock says now, ns since the epoch.
    pub now: u64,
    /// Seed of all randomness inside.
    pub entropy: [u8; 32],
    /// Bounds.
    pub limits: Limits,
    /// Processes that only appear to run.
    pub standins: Vec<StandInSpec>,
    /// Interfaces, routes and what the world outside looks like.
    pub net: crate::net::Net,
    /// Sessions that were counted since boot.
    pub sessions: u32,
    /// The kernel log: priority (0-7, plus 8 times the facility), microseconds after boot, text.
    pub kmsg: Vec<(u8, u64, String)>,
}

/// A process without memory: it shows in /proc and can be signalled.
#[derive(Clone, Debug, Freeze)]
pub struct StandInSpec {
    /// Its number; `None`: the next free one, and at boot the one that fits its start.
    pub pid: Option<u32>,
    /// Parent.
    pub ppid: u32,
    /// Process group and session; `None`: its own.
    pub pgid: Option<u32>,
    /// Session; `None`: its own.
    pub sid: Option<u32>,
    /// Name, at most 15 bytes; of a kernel thread 63.
    pub comm: Vec<u8>,
    /// Arguments, each ended by a zero byte; empty for kernel threads.
    pub cmdline: Vec<u8>,
    /// Path of the program.
    pub exe: Vec<u8>,
    /// Who runs it.
    pub creds: Creds,
    /// Resident and virtual bytes.
    pub rss: u64,
    /// Virtual bytes.
    pub vsz: u64,
    /// Number of threads.
    pub threads: u32,
    /// A kernel thread.
    pub kthread: bool,
    /// Nice value.
    pub nice: i32,
    /// Start, ns after boot.
    pub start_ns: u64,
    /// User CPU time, ns.
    pub utime_ns: u64,
    /// System CPU time, ns.
    pub stime_ns: u64,
    /// Controlling terminal.
    pub ctty: Option<crate::tty::TtyId>,
    /// Signals that it survives.
    pub ignores: Vec<u8>,
    /// Whose connection it serves.
    pub conn: Option<Conn>,
    /// The unit that it belongs to (`ssh.service`); empty for none.
    pub unit: String,
}

impl StandInSpec {
    /// A daemon of root's with this name and command line (arguments separated by spaces).
    pub fn daemon(name: &str, cmdline: &str) -> StandInSpec {
        StandInSpec {
            pid: None,
            ppid: 1,
            pgid: None,
            sid: None,
            comm: name.as_bytes().to_vec(),
            cmdline: cmdline.split(' ').flat_map(|w| w.bytes().chain([0])).collect(),
            exe: cmdline.split(' ').next().unwrap_or("").as_bytes().to_vec(),
            creds: Creds::root(),
            rss: 4 << 20,
            vsz: 16 << 20,
            threads: 1,
            kthread: false,
            nice: 0,
            start_ns: 2_000_000_000,
            utime_ns: 30_000_000,
            stime_ns: 20_000_000,
            ctty: None,
            ignores: Vec::new(),
            conn: None,
            unit: String::new(),
        }
    }

    /// A kernel thread, child of kthreadd.
    pub fn kthread(name: &str) -> StandInSpec {
        StandInSpec {
            ppid: 2,
            cmdline: Vec::new(),
            exe: Vec::new(),
            rss: 0,
            vsz: 0,
            kthread: true,
            start_ns: 0,
            utime_ns: 0,
            ..StandInSpec::daemon(name, "")
        }
    }
}

/// Something that happened inside, for the record.
#[derive(Clone, PartialEq, Eq, Debug, Freeze)]
#[allow(missing_docs)]
pub enum Fact {
    /// The machine started something by itself that somebody left there: what made it do so (`unit`, `timer`), the file that says it.
    Job {
        by: &'static str,
        path: Vec<u8>,
        user: Vec<u8>,
        command: Vec<u8>,
        pid: Option<u32>,
    },
    /// A program was started.
    Exec {
        path: Vec<u8>,
        argv: Vec<Vec<u8>>,
        cwd: Vec<u8>,
        ancestry: Vec<(u32, Vec<u8>)>,
    },
    /// A process ended, with its wait status.
    Exit { status: i32, runtime_ns: u64 },
    /// A file was made, changed or removed.
    File {
        change: crate::vfs::ChangeKind,
        path: Vec<u8>,
        to: Option<Vec<u8>>,
        size: u64,
    },
    /// The content of a bait came into a program's hands: it read, mapped or sent the file. Told once for each process and bait.
    Bait { id: Arc<str>, path: Vec<u8> },
    /// A connection to the outside was tried, or bytes were sent on one that a stand-in took.
    Outside(crate::net::outside::Attempt),
    /// A program listens.
    Listen {
        addr: std::net::IpAddr,
        port: u16,
        udp: bool,
    },
    /// A signal to another process.
    Kill { target: u32, comm: Vec<u8>, sig: u8 },
    /// Real and effective user changed.
    Creds { from: (u32, u32), to: (u32, u32) },
    /// A shell (or another program that reads lines) read a line.
    Line { text: Vec<u8>, prompt: bool, echo: bool },
    /// A mount was tried.
    Mount {
        source: Vec<u8>,
        target: Vec<u8>,
        fstype: Vec<u8>,
        errno: u16,
    },
    /// A kernel module was to be loaded.
    Module { name: Vec<u8>, errno: u16 },
    /// ptrace was tried.
    Ptrace { request: u64, target: u32 },
    /// The program asked for something that this kernel does not have.
    Unserved { what: String },
    /// The machine goes down; in order, if init was asked to.
    Down { how: crate::Down, in_order: bool },
}

/// A fact with its place and time.
#[derive(Clone, PartialEq, Eq, Debug, Freeze)]
pub struct Stamped {
    /// Number of this event in the world.
    pub seq: u64,
    /// Wall clock of the world, ns since the epoch.
    pub time_ns: u64,
    /// The connection whose descendant did it.
    pub conn: Option<Conn>,
    /// Process, its user, its name.
    pub pid: u32,
    /// Real user id.
    pub uid: u32,
    /// Its name.
    pub comm: Vec<u8>,
    /// What happened.
    pub fact: Fact,
}

/// Something for the network side of a connection.
#[derive(Clone, PartialEq, Eq, Debug, Freeze)]
#[allow(missing_docs)]
pub enum Out {
    Data {
        stderr: bool,
        bytes: Vec<u8>,
    },
    /// No more data will come.
    Eof,
    /// The program ended with this status.
    Exit {
        status: u8,
    },
    /// The program was killed.
    Signal {
        sig: u8,
        core: bool,
    },
    /// All is said; the connection can be closed.
    Close,
    /// Somebody typed a password to `login`, which waits for [`Input::Answer`].
    Secret {
        user: Vec<u8>,
        secret: Vec<u8>,
    },
    /// `login` let somebody in.
    Entered,
}

/// An output with the number of the last input or event that it can depend on.
#[derive(Clone, PartialEq, Eq, Debug, Freeze)]
pub struct Output {
    /// Whose.
    pub conn: Conn,
    /// It may leave once the record holds everything up to here.
    pub watermark: u64,
    /// What.
    pub out: Out,
}

/// What comes in from the network side.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Input {
    Data(Vec<u8>),
    Eof,
    Resize {
        rows: u16,
        cols: u16,
        xpixel: u16,
        ypixel: u16,
    },
    /// A signal by name without SIG (`INT`), as SSH sends it.
    Signal(Vec<u8>),
    /// Nobody reads or types any more: the terminal hangs up or the pipes close. The program's end is still told.
    Hangup,
    Close,
    /// `login` may read the password that was typed, or one that cannot be right.
    Answer {
        spoil: bool,
    },
}

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

/// One connection's inside.
#[derive(Clone, Freeze)]
pub(crate) struct ConnState {
    pub leader: u32,
    /// Who came from where: logins of one connection have one peer.
    pub user: Vec<u8>,
    pub peer: std::net::SocketAddr,
    /// The connection's socket, an open file.
    pub sock: Option<u32>,
    pub helpers: Vec<u32>,
    pub master: Option<crate::tty::TtyFile>,
    pub stdin: Option<u32>,
    pub stdout: Option<u32>,
    pub stderr: Option<u32>,
    /// Input that the pty or pipe had no room for.
    pub backlog: VecDeque<u8>,
    pub eof_in: bool,
    pub status: Option<i32>,
    pub sent_status: bool,
    pub sent_eof: bool,
    /// The network side is slow: take no more output.
    pub paused: bool,
    /// Output bytes since the last drain.
    pub unread: usize,
    /// The last byte that a program read from the terminal.
    pub last: u8,
    /// The outsider's end, where a program of the world serves the connection itself.
    pub stream: Option<crate::net::outside::HostId>,
    /// It has not logged in yet.
    pub guard: Option<crate::inetd::Guard>,
}

impl ConnState {
    /// One to which nothing is joined yet.
    pub fn new(leader: u32, user: Vec<u8>, peer: std::net::SocketAddr) -> ConnState {
        ConnState {
            leader,
            user,
            peer,
            sock: None,
            helpers: Vec::new(),
            master: None,
            stdin: None,
            stdout: None,
            stderr: None,
            backlog: VecDeque::new(),
            eof_in: false,
            status: None,
            sent_status: false,
            sent_eof: false,
            paused: false,
            unread: 0,
            last: 0,
            stream: None,
            guard: None,
        }
    }
}

/// One machine that exists only in our memory.
#[derive(Clone, Freeze)]
pub struct World {
    pub(crate) clock: Clock,
    pub(crate) rng: Rng,
    pub(crate) machine: Machine,
    pub(crate) facts_of: Arc<Facts>,
    pub(crate) hostname: Vec<u8>,
    pub(crate) domain: Vec<u8>,
    pub(crate) limits: Limits,
    pub(crate) vfs: crate::fsglue::VfsCell,
    pub(crate) ttys: Ttys,
    pub(crate) net: crate::net::Net,
    pub(crate) tasks: Numbered<Arc<Task>>,
    pub(crate) procs: Numbered<Arc<Proc>>,
    pub(crate) mms: Numbered<Box<Mm>>,
    /// Memory that is compressed while the world rests.
    #[freeze(with = turncoat_freeze::empty)]
    pub(crate) asleep: Vec<crate::rest::Asleep>,
    pub(crate) fdtables: Numbered<FdTable>,
    pub(crate) fss: Numbered<FsInfo>,
    pub(crate) sighands: Numbered<SigHand>,
    pub(crate) open: Slab<File>,
    pub(crate) pipes: Slab<Pipe>,
    /// System V IPC.
    pub(crate) ipc: crate::ipc::Ipc,
    pub(crate) fifos: BTreeMap<u64, u32>,
    pub(crate) events: Slab<Event>,
    pub(crate) epoll_index: BTreeMap<WaitKey, BTreeMap<u32, u32>>,
    pub(crate) waiters: BTreeMap<WaitKey, BTreeSet<u32>>,
    pub(crate) timers: BTreeSet<(u64, TimerRef)>,
    pub(crate) runq: VecDeque<u32>,
    pub(crate) conns: BTreeMap<Conn, ConnState>,
    pub(crate) inetd: crate::inetd::Inetd,
    pub(crate) zero: PageRef,
    /// The code page that every program gets (`[vdso]`).
    pub(crate) vdso: PageRef,
    pub(crate) last_pid: u32,
    /// What [`pids::at`] gave when it moved on last.
    pub(crate) pids_at: u32,
    pub(crate) next_id: u32,
    pub(crate) next_conn: u32,
    /// Connections before the machine booted: sessions are counted from there.
    pub(crate) first_conn: u32,
    pub(crate) anon_ino: u64,
    pub(crate) forks: u64,
    pub(crate) switches: u64,
    pub(crate) yielded: bool,
    pub(crate) current: u32,
    pub(crate) last_fault: (u64, u64),
    pub(crate) seq: u64,
    pub(crate) outputs: Vec<Output>,
    pub(crate) facts: Vec<Stamped>,
    pub(crate) gaps: BTreeMap<String, u64>,
    pub(crate) trace: Option<Vec<String>>,
    pub(crate) halted: bool,
    /// How it was told to go down.
    pub(crate) down: Option<crate::Down>,
    /// Boots since it was cloned.
    pub(crate) boots: u32,
    /// The pipe of `/run/initctl`, whose other end init holds.
    pub(crate) initctl: Option<u32>,
    /// What init does beside.
    pub(crate) init: crate::init::Init,
    pub(crate) load: [u64; 3],
    pub(crate) load_at: u64,
    pub(crate) net_at: u64,
    pub(crate) standin_tables: Option<(u32, u32)>,
    pub(crate) kmsg: Arc<Vec<(u8, u64, String)>>,
    pub(crate) inbound: Vec<crate::net::outside::Inbound>,
    pub(crate) readline_cache: BTreeMap<u64, Option<u64>>,
}

/// Instructions that a thread runs before the next has its turn.
const QUANTUM: u64 = 200_000;
/// Facts kept until they are drained.
const FACTS_MAX: usize = 65_536;

impl World {
    /// A machine that has booted: file system, clock, processes that appear to run. Nobody is logged in.
    pub fn boot(mut b: Boot) -> World {
        let plan = std::mem::take(&mut b.plan);
        let mut w = World::assemble(b, Vfs::new(plan));
        w.facts.clear();
        w
    }

    /// Puts a machine together around a file system of which only the root is mounted.
    pub(crate) fn assemble(b: Boot, vfs: Vfs) -> World {
        let vdso = crate::vdso::page(&b.facts.release);
        let mut w = World {
            clock: Clock::new(b.boot_time, b.now),
            rng: Rng::new(b.entropy),
            machine: b.machine,
            facts_of: Arc::new(b.facts),
            hostname: b.hostname,
            domain: b"(none)".to_vec(),
            limits: b.limits,
            vfs: crate::fsglue::VfsCell::new(vfs),
            ttys: Ttys::new(),
            net: b.net,
            tasks: Numbered::new(),
            procs: Numbered::new(),
            mms: Numbered::new(),
            asleep: Vec::new(),
            fdtables: Numbered::new(),
            fss: Numbered::new(),
            sighands: Numbered::new(),
            open: Slab::new(),
            pipes: Slab::new(),
            ipc: crate::ipc::Ipc::default(),
            fifos: BTreeMap::new(),
            events: Slab::new(),
            epoll_index: BTreeMap::new(),
            waiters: BTreeMap::new(),
            timers: BTreeSet::new(),
            runq: VecDeque::new(),
            conns: BTreeMap::new(),
            inetd: crate::inetd::Inetd::default(),
            zero: PageRef::zeroed(),
            vdso,
            last_pid: 0,
            pids_at: u32::MAX,
            next_id: 0,
            next_conn: b.sessions,
            first_conn: 0,
            anon_ino: 20_000,
            forks: 0,
            switches: 0,
            yielded: false,
            current: 0,
            last_fault: (0, 0),
            seq: 0,
            outputs: Vec::new(),
            facts: Vec::new(),
            gaps: BTreeMap::new(),
            trace: None,
            halted: false,
            down: None,
            boots: 0,
            initctl: None,
            init: crate::init::Init::default(),
            load: [0; 3],
            load_at: 0,
            net_at: 0,
            standin_tables: None,
            kmsg: Arc::new(b.kmsg),
            inbound: Vec::new(),
            readline_cache: BTreeMap::new(),
        };
        let has_init = b.standins.iter().any(|s| s.pid == Some(1));
        if !has_init {
            let mut init = StandInSpec::daemon("systemd", "/sbin/init");
            init.pid = Some(1);
            init.ppid = 0;
            init.exe = b"/usr/lib/systemd/systemd".to_vec();
            init.start_ns = 0;
            let _ = w.spawn_standin(init);
        }
        w.init_keeps(&b.standins);
        let (numbered, later): (Vec<_>, Vec<_>) = b.standins.into_iter().partition(|s| s.pid.is_some());
        for s in numbered {
            let _ = w.spawn_standin(s);
        }
        // Timers, cron and log rotation started and ended programs ever since.
        w.pids_at = 0;
        w.pids_at = w.pids_due();
        w.last_pid = w.last_pid.max(w.pids_at);
        w.forks = w.last_pid as u64;
        for s in later {
            let booted = (b.boot_time / crate::time::SEC) as i64;
            let fits = pids::at(booted, booted + (s.start_ns / crate::time::SEC) as i64).min(w.last_pid);
            let free = (2..=fits).rev().find(|p| !w.tasks.contains_key(p));
            let _ = w.spawn_standin(StandInSpec { pid: free, ..s });
        }
        let _ = w.fs(0, |v, c| {
            let booted = crate::vfs::Timespec {
                sec: (b.boot_time / crate::time::SEC) as i64,
                nsec: (b.boot_time % crate::time::SEC) as u32,
            };
            let at_boot = crate::vfs::Ctx { now: booted, ..*c };
            // What lies in memory is put there when that is mounted.
            let (above, below): (Vec<_>, Vec<_>) = b.files.iter().partition(|f| f.path.starts_with(b"/run/"));
            for f in below {
                let _ = v.put(&at_boot, f);
            }
            v.mount_standard(&at_boot)?;
            for f in above {
                let _ = v.put(&at_boot, f);
            }
            KResult::Ok(())
        });
        w.hold_initctl();
        w.write_boot_records();
        let ids: Vec<u32> = w.procs.keys().copied().collect();
        for p in ids {
            w.find_exe(p);
        }
        w.after_task();
        w
    }

    /// A clone of this world that goes its own way: fresh entropy, and pages that neither changes under the other.
    pub fn fork(&mut self, entropy: [u8; 32]) -> World {
        self.rise();
        self.vfs.objects.seal();
        for m in self.mms.values_mut() {
            // Marks every private page as shared between the two.
            drop(m.space.fork());
        }
        let mut w = self.clone();
        w.vfs.objects.seal();
        w.rng.reseed(entropy);
        w
    }

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

    pub(crate) fn session_leader_exit(&mut self, sid: u32, tty: crate::tty::TtyId) {
        self.ttys.session_ends(tty, sid, true);
        self.tty_effects();
    }

    /// Records a fact about a process.
    pub(crate) fn fact(&mut self, tgid: u32, fact: Fact) {
        self.seq += 1;
        if self.facts.len() >= FACTS_MAX {
            return;
        }
        let conn = self.p(tgid).ok().and_then(|p| p.conn);
        let (uid, comm) = self
            .t(tgid)
            .map_or((0, Vec::new()), |t| (t.creds.uid, t.comm().to_vec()));
        self.facts.push(Stamped {
            seq: self.seq,
            time_ns: self.clock.real(),
            conn,
            pid: tgid,
            uid,
            comm,
            fact,
        });
    }

    /// Counts something that a program asked for and did not get.
    pub(crate) fn unserved(&mut self, tid: u32, what: &str) {
        let comm = self
            .t(tid)
            .map_or(String::new(), |t| String::from_utf8_lossy(t.comm()).into_owned());
        let key = format!("{comm}: {what}");
        if let Some(n) = self.gaps.get_mut(&key) {
            *n += 1;
            return;
        }
        if self.gaps.len() < 1024 {
            self.gaps.insert(key, 1);
            let tgid = self.tgid(tid);
            self.fact(
                tgid,
                Fact::Unserved {
                    what: what.to_owned(),
                },
            );
        }
    }

    /// What programs asked for and did not get: `program: what` to count, and instructions by mnemonic.
    pub fn gaps(&self) -> BTreeMap<String, u64> {
        let mut g = self.gaps.clone();
        for (k, v) in &self.machine.unimplemented {
            g.insert(format!("instruction {k}"), *v);
        }
        g
    }

    /// Chooses how instructions are carried out; a run is the same by either way.
    pub fn set_dispatcher(&mut self, dispatcher: turncoat_cpu::Dispatcher) {
        self.machine.dispatcher = dispatcher;
    }

    /// Whether every block of a program is decoded anew before it runs; it runs the same, and slowly.
    pub fn set_forgets(&mut self, on: bool) {
        self.machine.forgets = on;
    }

    /// Starts or stops collecting system calls in strace's manner.
    pub fn set_trace(&mut self, on: bool) {
        self.trace = on.then(Vec::new);
    }

    /// The lines collected since the last call.
    pub fn take_trace(&mut self) -> Vec<String> {
        self.trace.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Outputs and facts since the last call.
    pub fn drain(&mut self) -> (Vec<Output>, Vec<Stamped>) {
        for c in self.conns.values_mut() {
            c.unread = 0;
        }
        (std::mem::take(&mut self.outputs), std::mem::take(&mut self.facts))
    }

    /// The process id that was given last.
    pub fn last_pid(&self) -> u32 {
        self.last_pid
    }

    /// Instructions retired so far.
    pub fn retired(&self) -> u64 {
        self.clock.total
    }

    /// Bytes of private memory: pages of processes and of files changed, messages and semaphores.
    pub fn memory(&mut self) -> u64 {
        let own: usize = self.mms.values_mut().map(|m| m.space.stats().owned).sum();
        (own as u64 + self.vfs.objects.usage().0) * 4096 + self.ipc.bytes()
    }

    /// Bit n is processor n.
    pub(crate) fn cpu_mask(&self) -> u64 {
        let n = self.facts_of.cpu.cores.max(1)
            * self.facts_of.cpu.sockets.max(1)
            * self.facts_of.cpu.threads.max(1);
        u64::MAX >> (64 - n.clamp(1, 64))
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

    /// The record of a program start.
    pub(crate) fn note_exec(&mut self, tgid: u32, path: &[u8], argv: &[Vec<u8>], _loc: &crate::vfs::Path) {
        let mut ancestry = Vec::new();
        let mut at = self.p(tgid).map_or(0, |p| p.ppid);
        while at > 1 && ancestry.len() < 16 {
            let Ok(t) = self.t(at) else { break };
            ancestry.push((at, t.comm().to_vec()));
            at = self.p(at).map_or(0, |p| p.ppid);
        }
        self.guard_exec(tgid, path, argv);
        let cwd = self.cwd_text(tgid);
        let argv = argv
            .iter()
            .take(256)
            .map(|a| a[..a.len().min(4096)].to_vec())
            .collect();
        self.fact(
            tgid,
            Fact::Exec {
                path: path.to_vec(),
                argv,
                cwd,
                ancestry,
            },
        );
    }
}
