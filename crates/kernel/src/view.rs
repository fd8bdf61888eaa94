//! The world as procfs and sysfs show it.

use crate::abi::sig::SigSet;
use crate::abi::*;
use crate::fd::What;
use crate::mm::Back;
use crate::proc::view::*;
use crate::sysfs::facts::Facts;
use crate::task::State;
use crate::vfs::makedev;
use crate::world::World;

/// Works off a queue: a worker, or the rescuer of a queue, which are the only kernel threads with such a nice value.
fn works(name: &[u8], nice: i32) -> bool {
    nice == -20 || name.starts_with(b"kworker/")
}

/// Whether a kernel thread that waits does so without counting as load (TASK_IDLE): workers and those of RCU.
fn idles(name: &[u8], nice: i32) -> bool {
    works(name, nice) || name.starts_with(b"rcu_")
}

/// PF_KTHREAD, PF_NOFREEZE and PF_FORKNOEXEC; workers are PF_WQ_WORKER too, and threads of one processor PF_NO_SETAFFINITY.
fn kthread_flags(name: &[u8], nice: i32) -> u32 {
    let of_cpu = [&b"ksoftirqd/"[..], b"migration/", b"cpuhp/"];
    match name {
        n if works(n, nice) => 0x0420_8060,
        n if of_cpu.iter().any(|p| n.starts_with(p)) => 0x0420_8040,
        _ => 0x0020_8040,
    }
}

impl World {
    /// Memory of the machine as free(1) and sysinfo(2) see it.
    pub(crate) fn machine_mem(&self) -> MachineMem {
        let total = self.facts_of.memory / PAGE * PAGE;
        let mut anon: u64 = self
            .procs
            .values()
            .filter_map(|p| p.standin.as_ref())
            .map(|s| s.rss / 2)
            .sum();
        for m in self.mms.values() {
            anon += m
                .vmas
                .values()
                .map(|v| {
                    if v.back == Back::Anon {
                        (v.end - v.start).min(256 << 10)
                    } else {
                        0
                    }
                })
                .sum::<u64>();
        }
        let own = self.vfs.pages() * PAGE;
        // The page cache of a machine that has been up for a while; it breathes a little with time.
        let wobble = (self.clock.mono() / 1_000_000_000 * 7919) % 4096 * 1024;
        let mut cached = total / 4 + own + wobble;
        let mut slab = total / 24;
        let mut buffers = total / 64;
        let mut other = total / 20;
        if let Some(l) = self.pulse() {
            (cached, slab, buffers) = (
                (l.memory.cached << 10) + own,
                l.memory.slab << 10,
                l.memory.buffers << 10,
            );
            // What the idle machine's programs take is shown by the stand-ins.
            let idle =
                (l.memory.total - l.memory.free - l.memory.cached - l.memory.buffers - l.memory.slab) << 10;
            other = idle.saturating_sub(anon);
        }
        let page = |bytes: u64| bytes / PAGE * PAGE;
        let (cached, slab, buffers, anon) = (
            page(cached),
            slab / (2 * PAGE) * 2 * PAGE,
            page(buffers),
            page(anon),
        );
        let free = page(total.saturating_sub(anon + cached + slab + buffers + other));
        let swap = self
            .facts_of
            .disk
            .swap()
            .map_or(0, |p| (p.sectors * 512).saturating_sub(PAGE));
        MachineMem {
            total,
            free,
            available: page((free + cached * 9 / 10 + slab / 2).min(total)),
            buffers,
            cached,
            swap_total: swap,
            swap_free: swap,
            active_anon: page(anon / 8),
            inactive_anon: anon - page(anon / 8),
            active_file: page(cached / 3),
            inactive_file: page(cached / 2),
            dirty: 64 << 10,
            anon_pages: anon,
            mapped: page(cached / 5),
            shmem: 1 << 20,
            slab_reclaimable: slab / 2,
            slab_unreclaimable: slab / 2,
            kernel_stack: self.tasks.len() as u64 * 16384,
            page_tables: self.tasks.len() as u64 * 16384,
            committed: anon * 3,
        }
    }

    /// What moves on the idle machine, now.
    pub(crate) fn pulse(&self) -> Option<turncoat_cover::live::Live> {
        let at = self.clock.mono() as f64 / crate::time::SEC as f64;
        self.facts_of.pulse.as_ref().map(|p| p.at(at))
    }

    /// The kernel log as syslog(2) and /proc/kmsg give it.
    pub(crate) fn kernel_log(&self) -> Vec<u8> {
        let line = |(p, us, t): &(u8, u64, String)| {
            format!("<{p}>[{:5}.{:06}] {t}\n", us / 1_000_000, us % 1_000_000)
        };
        self.kmsg.iter().map(line).collect::<String>().into_bytes()
    }

    /// Record `n` of /dev/kmsg.
    pub(crate) fn kmsg_record(&self, n: u64) -> Option<Vec<u8>> {
        let (p, us, t) = self.kmsg.get(usize::try_from(n).ok()?)?;
        Some(format!("{p},{n},{us},-;{t}\n").into_bytes())
    }

    fn task_state(&self, tid: u32) -> u8 {
        match self.t(tid).map(|t| t.state) {
            Ok(State::Runnable) => b'R',
            Ok(State::Sleeping {
                uninterruptible: true,
            }) => b'D',
            Ok(State::Sleeping { .. }) => match self
                .t(tid)
                .ok()
                .and_then(|t| self.p(t.tgid).ok())
                .and_then(|p| p.standin.as_ref())
            {
                Some(s) if s.kthread && idles(&s.name, self.t(tid).map_or(0, |t| t.nice)) => b'I',
                _ => b'S',
            },
            Ok(State::Stopped) => b'T',
            _ => b'Z',
        }
    }

    /// Name of what a descriptor refers to, if it has no path.
    pub(crate) fn anon_name(&self, what: &What) -> String {
        match what {
            What::Pipe { id, .. } => format!("pipe:[{}]", self.pipes.get(*id).map_or(0, |p| p.ino)),
            What::Socket(s) => format!("socket:[{}]", self.sock_inode(*s)),
            What::Event(e) => self.event_name(*e).to_owned(),
            What::Tty(t) => format!("/dev/{}", t.tty.name()),
            _ => "anon_inode:".to_owned(),
        }
    }
}

impl KernelView for World {
    fn pids(&self) -> Vec<u32> {
        self.procs.keys().copied().collect()
    }

    fn current(&self) -> (u32, u32) {
        (self.tgid(self.current), self.current)
    }

    fn facts(&self) -> &Facts {
        &self.facts_of
    }

    fn threads(&self, tgid: u32) -> Vec<u32> {
        let mut v = self.p(tgid).map(|p| p.threads.clone()).unwrap_or_default();
        v.sort_unstable();
        v
    }

    fn children(&self, tgid: u32) -> Vec<u32> {
        World::children(self, tgid)
    }

    fn task(&self, tid: u32) -> Option<TaskView> {
        let t = self.t(tid).ok()?;
        let p = self.p(t.tgid).ok()?;
        let k = &t.creds;
        let sh = self.sighands.get(&t.sighand);
        let (mut ign, mut caught) = (SigSet(0), SigSet(0));
        if let Some(s) = sh {
            for sig in 1..=64u8 {
                match s.get(sig).handler {
                    0 => {}
                    1 => ign.add(sig),
                    _ => caught.add(sig),
                }
            }
        }
        let tty = p.ctty.map_or(0, |t| {
            let (a, b) = t.device();
            makedev(a, b)
        });
        let tpgid = p
            .ctty
            .and_then(|t| self.ttys.tty(t))
            .and_then(|t| t.foreground())
            .map_or(-1, |g| g as i32);
        let leader = tid == t.tgid;
        let (ut, st) = if leader {
            self.proc_time(t.tgid)
        } else {
            (t.utime, t.stime)
        };
        let fs = self.fss.get(&t.fs);
        let mm = t.mm.and_then(|m| self.mms.get(&m));
        let mut mem = MemView::default();
        let mut exe = p.exe.clone();
        if let Some(m) = mm {
            exe = m.exe.clone();
            mem.vsize = m.total();
            mem.vpeak = m.peak.max(mem.vsize);
            let mut present = [0u64; 3];
            for v in m.vmas.values() {
                let n = m.space.present(v.start, v.end - v.start).count() as u64 * PAGE;
                match &v.back {
                    Back::Anon => present[0] += n,
                    Back::Obj { file: Some(_), .. } => present[1] += n,
                    Back::Obj { .. } => present[2] += n,
                }
                let len = v.end - v.start;
                if v.label == "[stack]" {
                    mem.stack += len;
                } else if v.prot & 4 != 0 {
                    mem.lib += len;
                } else if v.prot & 2 != 0 && !v.shared {
                    mem.data += len;
                }
                if v.locked {
                    mem.locked += len;
                }
            }
            mem.rss_anon = present[0];
            mem.rss_file = present[1];
            mem.rss_shmem = present[2];
            mem.hwm = m.hiwater_rss.max(mem.rss());
            mem.text = page_up(m.end_code) - page_down(m.start_code);
            mem.lib = mem.lib.saturating_sub(mem.text);
            mem.page_tables = 40960 + mem.rss() / 512;
            mem.start_code = m.start_code;
            mem.end_code = m.end_code;
            mem.start_stack = m.start_stack;
            mem.start_data = m.start_data;
            mem.end_data = m.end_data;
            mem.start_brk = m.start_brk;
            (mem.arg_start, mem.arg_end) = m.arg;
            (mem.env_start, mem.env_end) = m.env;
        }
        if let Some(s) = &p.standin {
            mem.vsize = s.vsz;
            mem.vpeak = s.vsz;
            mem.rss_anon = s.rss / 4;
            mem.rss_file = s.rss - s.rss / 4;
            mem.hwm = s.rss;
            mem.data = s.vsz / 8;
            mem.stack = if s.kthread { 0 } else { 132 << 10 };
            mem.text = s.rss / 8;
            mem.lib = s.rss / 2;
            mem.page_tables = if s.kthread { 0 } else { 49152 };
        }
        let kernels = p.standin.as_ref().filter(|s| s.kthread);
        let kthread = kernels.is_some();
        Some(TaskView {
            tid,
            tgid: t.tgid,
            ppid: p.ppid,
            pgrp: p.pgid,
            session: p.sid,
            comm: kernels.map_or_else(|| t.comm().to_vec(), |s| s.name.clone()),
            state: self.task_state(tid),
            tty,
            tpgid,
            flags: kernels.map_or(0x0040_0000, |s| kthread_flags(&s.name, t.nice)),
            minflt: t.minflt,
            cminflt: p.child_flt.0,
            majflt: t.majflt,
            cmajflt: p.child_flt.1,
            utime: ut,
            stime: st,
            cutime: p.child_time.0,
            cstime: p.child_time.1,
            priority: 20 + t.nice,
            nice: t.nice,
            threads: p.standin.as_ref().map_or(p.threads.len() as u32, |s| s.threads),
            start: t.start,
            exit_signal: p.exit_signal as i32,
            processor: tid % 2,
            rt_priority: 0,
            policy: t.policy,
            exit_code: p.zombie.unwrap_or(0),
            uids: [k.uid, k.euid, k.suid, k.fsuid],
            gids: [k.gid, k.egid, k.sgid, k.fsgid],
            groups: k.groups.clone(),
            cap_inh: k.inheritable.0,
            cap_prm: k.permitted.0,
            cap_eff: k.effective.0,
            cap_bnd: k.bounding.0,
            cap_amb: k.ambient.0,
            no_new_privs: k.no_new_privs,
            umask: fs.map_or(0o022, |f| f.umask),
            fd_size: t
                .files
                .and_then(|f| self.fdtables.get(&f))
                .map_or(64, |f| (f.slots.len() as u32).next_power_of_two().max(64)),
            sig_pending: t.pending.set.0,
            sig_shared: p.pending.set.0,
            sig_blocked: t.mask.0,
            sig_ignored: ign.0 | p.standin.as_ref().map_or(0, |s| s.ignores.0),
            sig_caught: caught.0,
            sig_queued: 0,
            sig_limit: p.limits[RLIMIT_SIGPENDING].0,
            voluntary: t.nvcsw,
            involuntary: t.nivcsw,
            oom_score_adj: p.oom_score_adj,
            tracer: if p.traced { p.ppid } else { 0 },
            dumpable: p.dumpable != 0,
            kthread,
            wchan: "0",
            loginuid: if p.conn.is_some() { k.uid } else { u32::MAX },
            sessionid: p.conn.map_or(u32::MAX, |c| c.0),
            cgroup: self.cgroup_of(t.tgid),
            exe,
            cwd: fs.map(|f| f.cwd.clone()),
            root: fs.map(|f| f.root.clone()),
            mem,
            limits: p.limits,
            io: IoView {
                rchar: t.rchar,
                wchar: t.wchar,
                syscr: t.syscr,
                syscw: t.syscw,
                ..IoView::default()
            },
            syscall: t.call.as_ref().map(|c| (c.nr as i64, c.a, 0, 0)),
        })
    }

    fn cmdline(&self, tid: u32) -> Vec<u8> {
        let Ok(t) = self.t(tid) else { return Vec::new() };
        if let Some(s) = self.p(t.tgid).ok().and_then(|p| p.standin.clone()) {
            return s.cmdline.clone();
        }
        let Some(m) = t.mm.and_then(|m| self.mms.get(&m)) else {
            return Vec::new();
        };
        let mut b = self.peek(
            tid,
            m.arg.0,
            m.arg.1.saturating_sub(m.arg.0).min(1 << 20) as usize,
        );
        // The arguments' last byte was written over, as setproctitle(3) does: then it is one string, of a page at most, that may reach
        // into the environment.
        if b.last().is_some_and(|c| *c != 0) {
            let end = if m.env.0 == m.arg.1 {
                m.env.1.max(m.arg.1)
            } else {
                m.arg.1
            };
            b = self.peek(tid, m.arg.0, end.saturating_sub(m.arg.0).min(4096) as usize);
            if let Some(n) = b.iter().position(|c| *c == 0) {
                b.truncate(n + 1);
            }
        }
        b
    }

    fn environ(&self, tid: u32) -> Vec<u8> {
        let Some(m) = self.t(tid).ok().and_then(|t| t.mm).and_then(|m| self.mms.get(&m)) else {
            return Vec::new();
        };
        self.peek(
            tid,
            m.env.0,
            m.env.1.saturating_sub(m.env.0).min(1 << 20) as usize,
        )
    }

    fn auxv(&self, tid: u32) -> Vec<u8> {
        self.t(tid)
            .ok()
            .and_then(|t| t.mm)
            .and_then(|m| self.mms.get(&m))
            .map_or(Vec::new(), |m| m.auxv.clone())
    }

    fn maps(&self, tid: u32) -> Vec<MapView> {
        let Some(m) = self.t(tid).ok().and_then(|t| t.mm).and_then(|m| self.mms.get(&m)) else {
            return Vec::new();
        };
        // The last page of the address space, kept for programs of old; it can be called and not read.
        let vsyscall = MapView {
            start: 0xffff_ffff_ff60_0000,
            end: 0xffff_ffff_ff60_1000,
            read: false,
            write: false,
            exec: true,
            shared: false,
            offset: 0,
            file: None,
            label: "[vsyscall]".to_owned(),
            ino: 0,
            resident: 0,
            dirty: 0,
        };
        m.vmas
            .values()
            .map(|v| {
                let mut resident = 0;
                for _ in m.space.present(v.start, v.end - v.start) {
                    resident += 1;
                }
                let mut ino = 0;
                let (offset, file, label) = match &v.back {
                    Back::Anon => (0, None, v.label.to_owned()),
                    Back::Obj { obj, off, label, .. } if *label == crate::ipc::SEGMENT => {
                        let (name, id) = self.ipc.segment_name(*obj).unwrap_or_default();
                        ino = u64::from(id);
                        (*off, None, name)
                    }
                    Back::Obj { off, file, label, .. } => (*off, file.clone(), (*label).to_owned()),
                };
                MapView {
                    start: v.start,
                    end: v.end,
                    read: v.prot & 1 != 0,
                    write: v.prot & 2 != 0,
                    exec: v.prot & 4 != 0,
                    shared: v.shared,
                    offset,
                    file,
                    label,
                    ino,
                    resident,
                    dirty: if v.prot & 2 != 0 { resident } else { 0 },
                }
            })
            .chain([vsyscall])
            .collect()
    }

    fn fds(&self, tid: u32) -> Vec<FdView> {
        let Some(t) = self
            .t(tid)
            .ok()
            .and_then(|t| t.files)
            .and_then(|f| self.fdtables.get(&f))
        else {
            return Vec::new();
        };
        t.slots
            .iter()
            .enumerate()
            .filter_map(|(fd, s)| {
                let s = (*s)?;
                let f = self.file(s.file).ok()?;
                let target = match &f.loc {
                    Some(l) => FdTarget::Path(l.clone()),
                    None => FdTarget::Anon(self.anon_name(&f.what)),
                };
                Some(FdView {
                    fd: fd as u32,
                    target,
                    pos: f.pos,
                    flags: f.flags | if s.cloexec { O_CLOEXEC } else { 0 },
                    ino: match &f.what {
                        What::Pipe { id, .. } => self.pipes.get(*id).map_or(0, |p| p.ino),
                        What::Socket(s) => self.sock_inode(*s),
                        _ => 0,
                    },
                    mnt_id: f.loc.as_ref().map_or(15, |l| l.mnt.0),
                    extra: String::new(),
                })
            })
            .collect()
    }

    fn ipc(&self) -> Option<&crate::ipc::Ipc> {
        Some(&self.ipc)
    }

    fn system(&self) -> SystemView {
        let up = self.clock.mono();
        let cpus = self.cpu_mask().count_ones() as u64;
        let mut busy = (0, 0);
        for t in self.tasks.values() {
            busy.0 += t.utime;
            busy.1 += t.stime;
        }
        let tick = 10_000_000;
        let secs = up / crate::time::SEC;
        let cpu = |i: u64| {
            let (u, s) = (
                busy.0 / cpus / tick + secs * (3 + i) / 40,
                busy.1 / cpus / tick + secs * (4 + i) / 50,
            );
            CpuTime {
                user: u,
                nice: secs / 90,
                system: s,
                idle: (up / tick).saturating_sub(u + s),
                iowait: secs / 12,
                irq: 0,
                softirq: secs / 60,
                steal: 0,
            }
        };
        let live = self.pulse();
        let cpu = |i: u64| match &live {
            None => cpu(i),
            Some(l) => {
                // Each processor has its part of the idle machine's work, the first a little more, and of the programs'.
                let [user, nice, system, _, iowait, irq, softirq, steal] =
                    l.cpu.map(|n| n / cpus + if i == 0 { n % cpus } else { 0 });
                let (user, system) = (user + busy.0 / cpus / tick, system + busy.1 / cpus / tick);
                let rest = user + nice + system + iowait + irq + softirq + steal;
                CpuTime {
                    user,
                    nice,
                    system,
                    idle: (up / tick).saturating_sub(rest),
                    iowait,
                    irq,
                    softirq,
                    steal,
                }
            }
        };
        let running = self.tasks.values().filter(|t| t.state == State::Runnable).count() as u32;
        SystemView {
            uptime: up,
            btime: (self.clock.offset() / crate::time::SEC) as i64,
            cpus: (0..cpus).map(cpu).collect(),
            context_switches: live.as_ref().map_or(secs * 210, |l| l.switches) + self.switches * 3,
            forks: self.forks + u64::from(self.pids_due()),
            running: running.max(1),
            blocked: 0,
            load: std::array::from_fn(|i| {
                let own = ((self.load[i] * 100) >> 16) as u32;
                own + live.as_ref().map_or(0, |l| (l.load[i] * 100.0) as u32)
            }),
            last_pid: self.last_pid + self.pids_due(),
            disk: {
                let [reads, sectors_read, writes, sectors_written] = match &live {
                    Some(l) => l.disk,
                    None => [
                        14_000 + secs / 60,
                        1_100_000 + secs,
                        3_000 + secs / 5,
                        150_000 + secs * 4,
                    ],
                };
                let (read_ms, write_ms) = (reads * 5 / 8, writes * 2 / 3);
                DiskCounters {
                    reads,
                    sectors_read,
                    read_ms,
                    writes,
                    sectors_written,
                    write_ms,
                    io_ms: read_ms + writes / 2,
                    weighted_ms: read_ms + write_ms,
                    ..DiskCounters::default()
                }
            },
            pgfault: 400_000 + secs * 40,
            pgmajfault: 2_000 + secs / 600,
            entropy_avail: 256,
        }
    }

    fn memory(&self) -> MachineMem {
        self.machine_mem()
    }

    fn nics(&self) -> Vec<NicView> {
        self.nic_views()
    }

    fn net(&self, name: &str) -> Option<Vec<u8>> {
        self.net_text(name)
    }

    fn sysctl(&self, name: &str) -> Option<Vec<u8>> {
        match name {
            "kernel.hostname" => Some(self.hostname.clone()),
            "kernel.domainname" => Some(self.domain.clone()),
            "kernel.osrelease" => Some(self.facts_of.release.as_bytes().to_vec()),
            "kernel.version" => Some(self.facts_of.version.as_bytes().to_vec()),
            _ => None,
        }
    }

    fn kmsg(&self) -> Vec<u8> {
        self.kernel_log()
    }

    fn hostname(&self) -> (Vec<u8>, Vec<u8>) {
        (self.hostname.clone(), self.domain.clone())
    }

    fn read_mem(&self, tid: u32, addr: u64, buf: &mut [u8]) -> usize {
        let b = self.peek(tid, addr, buf.len());
        for (d, s) in buf.iter_mut().zip(&b) {
            *d = *s;
        }
        b.len()
    }
}

impl World {
    /// Bytes of a task's memory that are present.
    fn peek(&self, tid: u32, va: u64, len: usize) -> Vec<u8> {
        let Some(m) = self.t(tid).ok().and_then(|t| t.mm).and_then(|m| self.mms.get(&m)) else {
            return Vec::new();
        };
        let mut b = vec![0; len];
        match m.space.read(va, &mut b) {
            Ok(()) => b,
            Err(f) => {
                b.truncate(f.done);
                b
            }
        }
    }

    pub(crate) fn cgroup_of(&self, tgid: u32) -> String {
        let Ok(p) = self.p(tgid) else { return "/".into() };
        if p.standin.as_ref().is_some_and(|s| s.kthread) {
            return "/".into();
        }
        if tgid == 1 {
            return "/init.scope".into();
        }
        match (p.conn, &p.unit) {
            (Some(c), _) => {
                let uid = self.t(tgid).map_or(0, |t| t.creds.uid);
                format!("/user.slice/user-{uid}.slice/session-{}.scope", c.0)
            }
            (None, Some(unit)) => self.cgroup_path(unit),
            (None, None) => "/system.slice".into(),
        }
    }
}
