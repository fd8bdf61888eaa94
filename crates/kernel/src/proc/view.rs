//! What procfs and sysfs are told of the rest of the kernel: plain structs, filled by the world.
//!
//! `KernelView` must not borrow the `Vfs`; files are named by `Path` and turned into text by the `Vfs` itself. Every method but
//! the first few has a default, so that a part that does not exist yet shows as an idle machine.

use crate::sysfs::facts::Facts;
use crate::vfs::types::Path;
use turncoat_freeze::Freeze;

/// One task (thread) as /proc shows it. Times are nanoseconds of CPU, sizes bytes unless said otherwise.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct TaskView {
    pub tid: u32,
    pub tgid: u32,
    pub ppid: u32,
    pub pgrp: u32,
    pub session: u32,
    /// At most 15 bytes.
    pub comm: Vec<u8>,
    /// R S D T t Z X I.
    pub state: u8,
    /// Controlling terminal (user-space device number), 0 for none.
    pub tty: u64,
    /// Foreground group of the terminal, -1 for none.
    pub tpgid: i32,
    /// PF_* flags.
    pub flags: u32,
    pub minflt: u64,
    pub cminflt: u64,
    pub majflt: u64,
    pub cmajflt: u64,
    pub utime: u64,
    pub stime: u64,
    pub cutime: u64,
    pub cstime: u64,
    /// The kernel's number: 20 is nice 0.
    pub priority: i32,
    pub nice: i32,
    pub threads: u32,
    /// Nanoseconds after boot.
    pub start: u64,
    pub exit_signal: i32,
    pub processor: u32,
    pub rt_priority: u32,
    pub policy: u32,
    pub exit_code: i32,
    /// Real, effective, saved, file-system.
    pub uids: [u32; 4],
    pub gids: [u32; 4],
    pub groups: Vec<u32>,
    pub cap_inh: u64,
    pub cap_prm: u64,
    pub cap_eff: u64,
    pub cap_bnd: u64,
    pub cap_amb: u64,
    pub no_new_privs: bool,
    pub umask: u32,
    pub fd_size: u32,
    /// Pending for the thread, pending for the process, blocked, ignored, caught: bit n-1 is signal n.
    pub sig_pending: u64,
    pub sig_shared: u64,
    pub sig_blocked: u64,
    pub sig_ignored: u64,
    pub sig_caught: u64,
    pub sig_queued: u32,
    /// Soft limit of queued signals.
    pub sig_limit: u64,
    pub voluntary: u64,
    pub involuntary: u64,
    pub oom_score_adj: i32,
    /// Who traces it; 0: nobody.
    pub tracer: u32,
    /// False if only root may look into it (setuid, PR_SET_DUMPABLE 0).
    pub dumpable: bool,
    /// A kernel thread: no memory, no exe.
    pub kthread: bool,
    /// Kernel function it sleeps in, or `0`.
    pub wchan: &'static str,
    pub loginuid: u32,
    pub sessionid: u32,
    /// Path below the cgroup mount (`/system.slice/ssh.service`).
    pub cgroup: String,
    pub exe: Option<Path>,
    pub cwd: Option<Path>,
    pub root: Option<Path>,
    pub mem: MemView,
    /// Soft and hard limits in RLIMIT_* order; `u64::MAX` is unlimited.
    pub limits: [(u64, u64); 16],
    pub io: IoView,
    /// System call number and arguments, stack pointer, program counter, if it is in a call.
    pub syscall: Option<(i64, [u64; 6], u64, u64)>,
}

/// The memory of a process. Sizes in bytes.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct MemView {
    pub vsize: u64,
    pub vpeak: u64,
    pub rss_anon: u64,
    pub rss_file: u64,
    pub rss_shmem: u64,
    pub hwm: u64,
    pub locked: u64,
    pub data: u64,
    pub stack: u64,
    pub text: u64,
    pub lib: u64,
    pub page_tables: u64,
    pub start_code: u64,
    pub end_code: u64,
    pub start_stack: u64,
    pub start_data: u64,
    pub end_data: u64,
    pub start_brk: u64,
    pub arg_start: u64,
    pub arg_end: u64,
    pub env_start: u64,
    pub env_end: u64,
}

impl MemView {
    /// Resident bytes of all kinds.
    pub fn rss(&self) -> u64 {
        self.rss_anon + self.rss_file + self.rss_shmem
    }
}

/// /proc/PID/io.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct IoView {
    pub rchar: u64,
    pub wchar: u64,
    pub syscr: u64,
    pub syscw: u64,
    pub read_bytes: u64,
    pub write_bytes: u64,
    pub cancelled: u64,
}

/// One mapping, as in /proc/PID/maps and smaps.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct MapView {
    pub start: u64,
    pub end: u64,
    pub read: bool,
    pub write: bool,
    pub exec: bool,
    pub shared: bool,
    pub offset: u64,
    /// The mapped file.
    pub file: Option<Path>,
    /// `[heap]`, `[stack]`, `[vdso]`, `/dev/zero (deleted)`, … where there is no file.
    pub label: String,
    /// The number that stands there for a segment of System V; 0 else.
    pub ino: u64,
    /// Pages present, of them written (private copies).
    pub resident: u64,
    pub dirty: u64,
}

/// What a descriptor refers to.
#[derive(Clone, Debug)]
pub enum FdTarget {
    /// Something with a path.
    Path(Path),
    /// `pipe:[123]`, `socket:[456]`, `anon_inode:[eventpoll]`, `/dev/ptmx`…
    Anon(String),
}

/// One descriptor of a process.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct FdView {
    pub fd: u32,
    pub target: FdTarget,
    pub pos: u64,
    /// O_* flags, with O_CLOEXEC if set on the descriptor.
    pub flags: u32,
    /// st_ino that fdinfo shows.
    pub ino: u64,
    pub mnt_id: u32,
    /// Further lines of fdinfo (`eventfd-count: …`), each ended by a newline.
    pub extra: String,
}

/// Memory of the machine. Bytes.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct MachineMem {
    pub total: u64,
    pub free: u64,
    pub available: u64,
    pub buffers: u64,
    pub cached: u64,
    pub swap_total: u64,
    pub swap_free: u64,
    pub active_anon: u64,
    pub inactive_anon: u64,
    pub active_file: u64,
    pub inactive_file: u64,
    pub dirty: u64,
    pub anon_pages: u64,
    pub mapped: u64,
    pub shmem: u64,
    pub slab_reclaimable: u64,
    pub slab_unreclaimable: u64,
    pub kernel_stack: u64,
    pub page_tables: u64,
    pub committed: u64,
}

/// CPU time of one processor since boot, in ticks of 10 ms.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct CpuTime {
    pub user: u64,
    pub nice: u64,
    pub system: u64,
    pub idle: u64,
    pub iowait: u64,
    pub irq: u64,
    pub softirq: u64,
    pub steal: u64,
}

/// Counters of the whole machine.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct SystemView {
    /// Nanoseconds since boot.
    pub uptime: u64,
    /// Wall-clock second of boot.
    pub btime: i64,
    pub cpus: Vec<CpuTime>,
    pub context_switches: u64,
    pub forks: u64,
    pub running: u32,
    pub blocked: u32,
    /// Load averages times 100.
    pub load: [u32; 3],
    pub last_pid: u32,
    pub disk: DiskCounters,
    pub pgfault: u64,
    pub pgmajfault: u64,
    pub entropy_avail: u32,
}

/// /proc/diskstats of the one disk.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct DiskCounters {
    pub reads: u64,
    pub reads_merged: u64,
    pub sectors_read: u64,
    pub read_ms: u64,
    pub writes: u64,
    pub writes_merged: u64,
    pub sectors_written: u64,
    pub write_ms: u64,
    pub io_ms: u64,
    pub weighted_ms: u64,
    pub discards: u64,
    pub sectors_discarded: u64,
    pub flushes: u64,
}

/// One network interface with its counters.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct NicView {
    pub name: String,
    pub index: u32,
    pub mac: [u8; 6],
    pub mtu: u32,
    /// IFF_* flags.
    pub flags: u32,
    /// ARPHRD_*: 1 Ethernet, 772 loopback.
    pub kind: u32,
    pub up: bool,
    pub tx_queue_len: u32,
    /// Link speed in Mb/s, -1 unknown.
    pub speed: i32,
    pub rx: [u64; 8],
    pub tx: [u64; 8],
    /// Kernel driver (`virtio_net`), empty for none.
    pub driver: String,
}

/// A reading of the kernel state for procfs and sysfs.
pub trait KernelView {
    /// Thread group ids, ascending.
    fn pids(&self) -> Vec<u32>;
    /// The calling thread: (tgid, tid).
    fn current(&self) -> (u32, u32);
    /// The task with this thread id.
    fn task(&self, tid: u32) -> Option<TaskView>;
    /// Facts of the machine, from the cover.
    fn facts(&self) -> &Facts;

    /// Thread ids of a process, ascending.
    fn threads(&self, tgid: u32) -> Vec<u32> {
        vec![tgid]
    }
    /// Children of a thread group, ascending.
    fn children(&self, tgid: u32) -> Vec<u32> {
        self.pids()
            .into_iter()
            .filter(|&p| self.task(p).is_some_and(|t| t.ppid == tgid))
            .collect()
    }
    /// The argument block as it stands in the process's memory.
    fn cmdline(&self, _tid: u32) -> Vec<u8> {
        Vec::new()
    }
    /// The environment block as it stands in memory.
    fn environ(&self, _tid: u32) -> Vec<u8> {
        Vec::new()
    }
    /// The auxiliary vector (pairs of little-endian u64).
    fn auxv(&self, _tid: u32) -> Vec<u8> {
        Vec::new()
    }
    /// Mappings in address order.
    fn maps(&self, _tid: u32) -> Vec<MapView> {
        Vec::new()
    }
    /// Descriptors, ascending.
    fn fds(&self, _tid: u32) -> Vec<FdView> {
        Vec::new()
    }
    /// One descriptor.
    fn fd(&self, tid: u32, fd: u32) -> Option<FdView> {
        self.fds(tid).into_iter().find(|f| f.fd == fd)
    }
    /// Counters of the machine.
    fn system(&self) -> SystemView {
        SystemView::default()
    }
    /// Memory of the machine.
    fn memory(&self) -> MachineMem {
        MachineMem::default()
    }
    /// System V IPC.
    fn ipc(&self) -> Option<&crate::ipc::Ipc> {
        None
    }
    /// Interfaces, by index.
    fn nics(&self) -> Vec<NicView> {
        Vec::new()
    }
    /// The text of `/proc/net/NAME` (`tcp`, `route`, `dev`, …); `None`: there is no such file.
    fn net(&self, _name: &str) -> Option<Vec<u8>> {
        None
    }
    /// A kernel parameter that is not kept by the file system itself (`kernel.hostname`, `kernel.random.uuid`, …), without newline.
    fn sysctl(&self, _name: &str) -> Option<Vec<u8>> {
        None
    }
    /// The kernel log as `/proc/kmsg` gives it.
    fn kmsg(&self) -> Vec<u8> {
        Vec::new()
    }
    /// Host name and NIS domain name.
    fn hostname(&self) -> (Vec<u8>, Vec<u8>) {
        (b"localhost".to_vec(), b"(none)".to_vec())
    }
    /// Bytes of a task's memory for /proc/PID/mem; how many could be read.
    fn read_mem(&self, _tid: u32, _addr: u64, _buf: &mut [u8]) -> usize {
        0
    }
    /// True if the caller may look into this task (ptrace access mode read), beyond what uids and capabilities say.
    fn may_inspect(&self, _tid: u32) -> bool {
        true
    }
}

/// What a write to procfs or sysfs asks of the rest of the kernel.
#[derive(Clone, PartialEq, Eq, Debug, Freeze)]
#[allow(missing_docs)]
pub enum Effect {
    /// A parameter was changed (`kernel.hostname`); the value is stored, this is for those who act on it.
    Sysctl {
        name: String,
        value: Vec<u8>,
    },
    Comm {
        tid: u32,
        comm: Vec<u8>,
    },
    OomScoreAdj {
        tgid: u32,
        value: i32,
    },
    LoginUid {
        tid: u32,
        uid: u32,
    },
    /// The character written to /proc/sysrq-trigger.
    Sysrq(u8),
    /// A process is to be moved to a cgroup.
    CgroupMove {
        pid: u32,
        path: String,
    },
    /// A number was written to an attribute of an interface (`mtu`, `tx_queue_len`).
    Interface {
        name: String,
        attribute: String,
        value: u32,
    },
    /// Kill everything in a cgroup.
    CgroupKill {
        path: String,
    },
}
