//! How a machine comes to be: what it is made from, its bounds, the processes that appear to run, and how they are put together.

use super::{Conn, World};
use crate::numbered::Numbered;
use crate::rng::Rng;
use crate::slab::Slab;
use crate::sysfs::facts::Facts;
use crate::time::Clock;
use crate::tty::Ttys;
use crate::vfs::Vfs;
use crate::{Creds, KResult};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use turncoat_cover::past::pids;
use turncoat_cpu::{Machine, PageRef};
use turncoat_freeze::Freeze;

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
}
