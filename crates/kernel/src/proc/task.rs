//! The files of a process or thread.

use super::view::{FdTarget, KernelView, MapView, TaskView};
use super::{mounts, need};
use crate::vfs::Vfs;
use crate::vfs::types::{Ctx, devnum, mode};
use crate::{Errno, KResult};

/// One file below /proc/PID.
pub(super) struct File {
    pub name: &'static str,
    pub mode: u32,
    /// Only for processes, not below `task/`.
    pub process_only: bool,
    /// Opening it needs ptrace access.
    pub guarded: bool,
}

const fn f(name: &'static str, perm: u32) -> File {
    File {
        name,
        mode: mode::IFREG | perm,
        process_only: false,
        guarded: false,
    }
}
const fn g(name: &'static str, perm: u32) -> File {
    File {
        guarded: true,
        ..f(name, perm)
    }
}
const fn p(file: File) -> File {
    File {
        process_only: true,
        ..file
    }
}
const fn d(name: &'static str, perm: u32) -> File {
    File {
        mode: mode::IFDIR | perm,
        ..f(name, perm)
    }
}
const fn l(name: &'static str) -> File {
    File {
        mode: mode::IFLNK | 0o777,
        ..f(name, 0)
    }
}

/// In the order in which Linux lists them.
pub(super) const FILES: &[File] = &[
    p(d("task", 0o555)),
    d("fd", 0o500),
    p(d("map_files", 0o500)),
    d("fdinfo", 0o555),
    d("ns", 0o511),
    d("net", 0o555),
    g("environ", 0o400),
    g("auxv", 0o400),
    f("status", 0o444),
    g("personality", 0o400),
    f("limits", 0o444),
    f("sched", 0o644),
    p(f("autogroup", 0o644)),
    p(f("timens_offsets", 0o644)),
    f("comm", 0o644),
    g("syscall", 0o400),
    f("cmdline", 0o444),
    f("stat", 0o444),
    f("statm", 0o444),
    g("maps", 0o444),
    g("numa_maps", 0o444),
    g("mem", 0o600),
    l("cwd"),
    l("root"),
    l("exe"),
    f("mounts", 0o444),
    f("mountinfo", 0o444),
    p(f("mountstats", 0o400)),
    f("clear_refs", 0o200),
    g("smaps", 0o444),
    g("smaps_rollup", 0o444),
    g("pagemap", 0o400),
    d("attr", 0o555),
    f("wchan", 0o444),
    g("stack", 0o400),
    f("schedstat", 0o444),
    f("cpuset", 0o444),
    f("cgroup", 0o444),
    f("cpu_resctrl_groups", 0o444),
    f("oom_score", 0o444),
    f("oom_adj", 0o644),
    f("oom_score_adj", 0o644),
    f("loginuid", 0o644),
    f("sessionid", 0o444),
    p(f("coredump_filter", 0o644)),
    g("io", 0o400),
    f("uid_map", 0o644),
    f("gid_map", 0o644),
    f("projid_map", 0o644),
    f("setgroups", 0o644),
    p(f("timers", 0o444)),
    p(f("timerslack_ns", 0o666)),
    f("patch_state", 0o444),
    f("arch_status", 0o444),
];

/// Names below ns/ and the initial namespaces' numbers.
pub(super) const NAMESPACES: &[(&str, u64)] = &[
    ("net", 4_026_531_840),
    ("uts", 4_026_531_838),
    ("ipc", 4_026_531_839),
    ("pid", 4_026_531_836),
    ("pid_for_children", 4_026_531_836),
    ("user", 4_026_531_837),
    ("mnt", 4_026_531_841),
    ("cgroup", 4_026_531_835),
    ("time", 4_026_531_834),
    ("time_for_children", 4_026_531_834),
];

/// Files below net/: the view has their text. Modes.
pub(super) const NET: &[(&str, u32)] = &[
    ("arp", 0o444),
    ("dev", 0o444),
    ("dev_mcast", 0o444),
    ("fib_trie", 0o444),
    ("fib_triestat", 0o444),
    ("icmp", 0o444),
    ("icmp6", 0o444),
    ("if_inet6", 0o444),
    ("igmp", 0o444),
    ("igmp6", 0o444),
    ("ip6_flowlabel", 0o444),
    ("ipv6_route", 0o444),
    ("mcfilter", 0o444),
    ("netlink", 0o444),
    ("netstat", 0o444),
    ("packet", 0o444),
    ("protocols", 0o444),
    ("psched", 0o444),
    ("ptype", 0o444),
    ("raw", 0o444),
    ("raw6", 0o444),
    ("route", 0o444),
    ("rt_acct", 0o444),
    ("rt6_stats", 0o444),
    ("rt_cache", 0o444),
    ("snmp", 0o444),
    ("snmp6", 0o444),
    ("sockstat", 0o444),
    ("sockstat6", 0o444),
    ("softnet_stat", 0o444),
    ("tcp", 0o444),
    ("tcp6", 0o444),
    ("udp", 0o444),
    ("udp6", 0o444),
    ("udplite", 0o444),
    ("unix", 0o444),
    ("wireless", 0o444),
    ("xfrm_stat", 0o444),
];

/// Files below attr/.
pub(super) const ATTR: &[(&str, u32)] = &[
    ("current", 0o666),
    ("prev", 0o444),
    ("exec", 0o666),
    ("fscreate", 0o666),
    ("keycreate", 0o666),
    ("sockcreate", 0o666),
];

pub(super) fn index(name: &str) -> Option<u32> {
    FILES.iter().position(|f| f.name == name).map(|i| i as u32)
}

pub(super) fn net_there(view: &dyn KernelView, i: u32) -> bool {
    NET.get(i as usize).is_some_and(|n| view.net(n.0).is_some())
}

/// Clock ticks of 10 ms.
fn ticks(ns: u64) -> u64 {
    ns / 10_000_000
}

/// `tty_nr` of stat: minor bits around the major.
fn tty_nr(dev: u64) -> u64 {
    let (ma, mi) = devnum(dev);
    (mi & 0xff | ma << 8 | (mi & !0xff) << 12) as u64
}

pub(super) fn content(vfs: &Vfs, ctx: &Ctx, t: &TaskView, name: &str, thread: bool) -> KResult<Vec<u8>> {
    let view = ctx.view;
    let seen = super::may_inspect(ctx, t);
    let guarded = FILES.iter().any(|f| f.name == name && f.guarded);
    if guarded && !seen {
        return Err(Errno::EACCES);
    }
    let none = t.kthread || matches!(t.state, b'Z' | b'X');
    let root = t.root.as_ref().unwrap_or(ctx.root);
    let s = match name {
        "environ" if none => return Ok(Vec::new()),
        "environ" => return Ok(view.environ(t.tid)),
        "auxv" => return Ok(if none { Vec::new() } else { view.auxv(t.tid) }),
        "cmdline" => return Ok(if none { Vec::new() } else { view.cmdline(t.tid) }),
        "mounts" => return Ok(mounts::mounts(vfs, ctx, root)),
        "mountinfo" => return Ok(mounts::mountinfo(vfs, ctx, root)),
        "mountstats" => return Ok(mounts::mountstats(vfs, ctx, root)),
        "maps" => return Ok(maps(vfs, ctx, t, false)),
        "smaps" => return Ok(maps(vfs, ctx, t, true)),
        "smaps_rollup" => return Ok(rollup(view, t)),
        "comm" => {
            let mut c = t.comm.clone();
            c.push(b'\n');
            return Ok(c);
        }
        "status" => return Ok(status(view, t)),
        "stat" => return Ok(stat(view, t, seen, thread)),
        "statm" => {
            let m = &t.mem;
            let pg = |b: u64| b / 4096;
            if none {
                "0 0 0 0 0 0 0\n".to_owned()
            } else {
                let shared = m.rss_file + m.rss_shmem;
                format!(
                    "{} {} {} {} 0 {} 0\n",
                    pg(m.vsize),
                    pg(m.rss()),
                    pg(shared),
                    pg(m.text),
                    pg(m.data + m.stack)
                )
            }
        }
        "personality" => "00000000\n".to_owned(),
        "limits" => limits(t),
        "io" => {
            let i = &t.io;
            format!(
                "rchar: {}\nwchar: {}\nsyscr: {}\nsyscw: {}\nread_bytes: {}\nwrite_bytes: {}\ncancelled_write_bytes: {}\n",
                i.rchar, i.wchar, i.syscr, i.syscw, i.read_bytes, i.write_bytes, i.cancelled
            )
        }
        "wchan" => if seen && t.state != b'R' { t.wchan } else { "0" }.to_owned(),
        "stack" => {
            if !ctx.creds.capable(crate::vfs::types::cap::SYS_ADMIN) {
                return Err(Errno::EACCES);
            }
            if t.state == b'R' || t.wchan.is_empty() {
                String::new()
            } else {
                format!(
                    "[<0>] {}+0x0/0x0\n[<0>] entry_SYSCALL_64_after_hwframe+0x64/0xce\n",
                    t.wchan
                )
            }
        }
        "syscall" => match t.syscall {
            Some((nr, a, sp, pc)) => {
                format!(
                    "{nr} {:#x} {:#x} {:#x} {:#x} {:#x} {:#x} {sp:#x} {pc:#x}\n",
                    a[0], a[1], a[2], a[3], a[4], a[5]
                )
            }
            None => "running\n".to_owned(),
        },
        "schedstat" => format!("{} 0 {}\n", t.utime + t.stime, t.voluntary + t.involuntary),
        "sched" => sched(t),
        "autogroup" => format!("/autogroup-{} nice 0\n", t.session),
        "timens_offsets" => "monotonic           0         0\nboottime            0         0\n".to_owned(),
        "cpuset" => "/\n".to_owned(),
        "cgroup" => format!("0::{}\n", if t.cgroup.is_empty() { "/" } else { &t.cgroup }),
        "cpu_resctrl_groups" => "res:\nmon:\n".to_owned(),
        "oom_score" => {
            let total = view.memory().total.max(1);
            let adj = t.oom_score_adj as i64;
            let points = if t.kthread || adj == -1000 {
                0
            } else {
                (666 + (t.mem.rss() * 1000 / total) as i64 * 2 / 3 + adj * 2 / 3).max(0)
            };
            format!("{points}\n")
        }
        "oom_adj" => format!(
            "{}\n",
            if t.oom_score_adj == 1000 {
                15
            } else {
                t.oom_score_adj * 17 / 1000
            }
        ),
        "oom_score_adj" => format!("{}\n", t.oom_score_adj),
        "loginuid" => t.loginuid.to_string(),
        "sessionid" => t.sessionid.to_string(),
        "coredump_filter" => {
            if none {
                String::new()
            } else {
                "00000033\n".to_owned()
            }
        }
        "uid_map" | "gid_map" | "projid_map" => format!("{:>10} {:>10} {:>10}\n", 0, 0, u32::MAX),
        "setgroups" => "allow\n".to_owned(),
        "timers" => String::new(),
        "timerslack_ns" => "50000\n".to_owned(),
        "patch_state" => "-1\n".to_owned(),
        "arch_status" => "AVX512_elapsed_ms:\t-1\n".to_owned(),
        "numa_maps" | "pagemap" => String::new(),
        "clear_refs" => return Err(Errno::EINVAL),
        "mem" => return Err(Errno::EIO),
        _ => return Err(Errno::EISDIR),
    };
    Ok(s.into_bytes())
}

fn stat(view: &dyn KernelView, t: &TaskView, seen: bool, _thread: bool) -> Vec<u8> {
    let m = &t.mem;
    let none = t.kthread || matches!(t.state, b'Z' | b'X');
    // Addresses are for those who may look.
    let addr = |v: u64| if none || !seen { 0 } else { v };
    let code = |v: u64| {
        if none {
            0
        } else if seen {
            v
        } else {
            1
        }
    };
    let rsslim = t.limits[5].0;
    let mut out = format!("{} (", t.tid).into_bytes();
    out.extend_from_slice(&t.comm);
    let rest = format!(
        ") {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} 0 {} {} {} {} {} {} {} {} {} {} {} {} {} {} 0 0 {} {} {} {} 0 0 0 {} {} {} {} {} {} {} {}\n",
        t.state as char,
        t.ppid,
        t.pgrp,
        t.session,
        tty_nr(t.tty),
        t.tpgid,
        t.flags,
        t.minflt,
        t.cminflt,
        t.majflt,
        t.cmajflt,
        ticks(t.utime),
        ticks(t.stime),
        ticks(t.cutime),
        ticks(t.cstime),
        t.priority,
        t.nice,
        t.threads,
        ticks(t.start),
        if none { 0 } else { m.vsize },
        if none { 0 } else { m.rss() / 4096 },
        rsslim,
        code(m.start_code),
        code(m.end_code),
        addr(m.start_stack),
        0,
        0,
        t.sig_pending & 0x7fff_ffff,
        t.sig_blocked & 0x7fff_ffff,
        t.sig_ignored & 0x7fff_ffff,
        t.sig_caught & 0x7fff_ffff,
        u8::from(seen && t.state != b'R'),
        t.exit_signal,
        t.processor,
        t.rt_priority,
        t.policy,
        addr(m.start_data),
        addr(m.end_data),
        addr(m.start_brk),
        addr(m.arg_start),
        addr(m.arg_end),
        addr(m.env_start),
        addr(m.env_end),
        if seen { t.exit_code } else { 0 },
    );
    out.extend(rest.bytes());
    let _ = view;
    out
}

fn status(view: &dyn KernelView, t: &TaskView) -> Vec<u8> {
    let state = match t.state {
        b'R' => "R (running)",
        b'S' => "S (sleeping)",
        b'D' => "D (disk sleep)",
        b'T' => "T (stopped)",
        b't' => "t (tracing stop)",
        b'Z' => "Z (zombie)",
        b'I' => "I (idle)",
        _ => "X (dead)",
    };
    let mut out = b"Name:\t".to_vec();
    for &b in &t.comm {
        match b {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            _ => out.push(b),
        }
    }
    let ids = |v: [u32; 4]| v.map(|n| n.to_string()).join("\t");
    let mut groups = t.groups.clone();
    groups.sort_unstable();
    let groups: String = groups.iter().map(|g| format!("{g} ")).collect();
    let mut s = String::from("\n");
    if !t.kthread {
        s += &format!("Umask:\t{:04o}\n", t.umask);
    }
    s += &format!(
        "State:\t{state}\nTgid:\t{}\nNgid:\t0\nPid:\t{}\nPPid:\t{}\nTracerPid:\t{}\nUid:\t{}\nGid:\t{}\nFDSize:\t{}\nGroups:\t{groups}\n\
         NStgid:\t{}\nNSpid:\t{}\nNSpgid:\t{}\nNSsid:\t{}\n",
        t.tgid,
        t.tid,
        t.ppid,
        t.tracer,
        ids(t.uids),
        ids(t.gids),
        t.fd_size,
        t.tgid,
        t.tid,
        t.pgrp,
        t.session
    );
    if !t.kthread && !matches!(t.state, b'Z' | b'X') {
        let m = &t.mem;
        let rows = [
            ("VmPeak", m.vpeak.max(m.vsize)),
            ("VmSize", m.vsize),
            ("VmLck", m.locked),
            ("VmPin", 0),
            ("VmHWM", m.hwm.max(m.rss())),
            ("VmRSS", m.rss()),
            ("RssAnon", m.rss_anon),
            ("RssFile", m.rss_file),
            ("RssShmem", m.rss_shmem),
            ("VmData", m.data),
            ("VmStk", m.stack),
            ("VmExe", m.text),
            ("VmLib", m.lib),
            ("VmPTE", m.page_tables),
            ("VmSwap", 0),
            ("HugetlbPages", 0),
        ];
        for (k, v) in rows {
            s += &format!("{k}:\t{:>8} kB\n", v / 1024);
        }
        s += "CoreDumping:\t0\nTHP_enabled:\t1\n";
    }
    s += &format!(
        "Threads:\t{}\nSigQ:\t{}/{}\nSigPnd:\t{:016x}\nShdPnd:\t{:016x}\nSigBlk:\t{:016x}\nSigIgn:\t{:016x}\nSigCgt:\t{:016x}\n\
         CapInh:\t{:016x}\nCapPrm:\t{:016x}\nCapEff:\t{:016x}\nCapBnd:\t{:016x}\nCapAmb:\t{:016x}\nNoNewPrivs:\t{}\nSeccomp:\t0\n\
         Seccomp_filters:\t0\nSpeculation_Store_Bypass:\t{}\nSpeculationIndirectBranch:\talways enabled\n",
        t.threads,
        t.sig_queued,
        t.sig_limit,
        t.sig_pending,
        t.sig_shared,
        t.sig_blocked,
        t.sig_ignored,
        t.sig_caught,
        t.cap_inh,
        t.cap_prm,
        t.cap_eff,
        t.cap_bnd,
        t.cap_amb,
        u8::from(t.no_new_privs),
        if view
            .facts()
            .cpu
            .vulnerabilities
            .iter()
            .any(|(n, v)| n == "spec_store_bypass" && v.starts_with("Mitigation"))
        {
            "thread vulnerable"
        } else {
            "vulnerable"
        },
    );
    let n = view.facts().cpu.count();
    let words = 128usize.div_ceil(32).min(n.div_ceil(32) as usize).max(1);
    let mask = |w: usize| {
        if n >= 32 * (w as u32 + 1) {
            u32::MAX
        } else {
            (1u64 << (n - 32 * w as u32).min(32)).wrapping_sub(1) as u32
        }
    };
    let masks: Vec<String> = (0..words).rev().map(|w| format!("{:x}", mask(w))).collect();
    let list = if n == 1 {
        "0".to_owned()
    } else {
        format!("0-{}", n - 1)
    };
    s += &format!(
        "Cpus_allowed:\t{}\nCpus_allowed_list:\t{list}\nMems_allowed:\t",
        masks.join(",")
    );
    s += &"00000000,".repeat(31);
    s += &format!(
        "00000001\nMems_allowed_list:\t0\nvoluntary_ctxt_switches:\t{}\nnonvoluntary_ctxt_switches:\t{}\n",
        t.voluntary, t.involuntary
    );
    out.extend(s.bytes());
    out
}

fn limits(t: &TaskView) -> String {
    // RLIMIT_* number, name, unit, in the order of the file.
    const ROWS: [(usize, &str, &str); 16] = [
        (0, "Max cpu time", "seconds"),
        (1, "Max file size", "bytes"),
        (2, "Max data size", "bytes"),
        (3, "Max stack size", "bytes"),
        (4, "Max core file size", "bytes"),
        (5, "Max resident set", "bytes"),
        (6, "Max processes", "processes"),
        (7, "Max open files", "files"),
        (8, "Max locked memory", "bytes"),
        (9, "Max address space", "bytes"),
        (10, "Max file locks", "locks"),
        (11, "Max pending signals", "signals"),
        (12, "Max msgqueue size", "bytes"),
        (13, "Max nice priority", ""),
        (14, "Max realtime priority", ""),
        (15, "Max realtime timeout", "us"),
    ];
    let mut s = format!(
        "{:<25} {:<20} {:<20} {:<10}\n",
        "Limit", "Soft Limit", "Hard Limit", "Units"
    );
    let value = |v: u64| {
        if v == u64::MAX {
            "unlimited".to_owned()
        } else {
            v.to_string()
        }
    };
    for (i, name, unit) in ROWS {
        let (soft, hard) = t.limits.get(i).copied().unwrap_or((u64::MAX, u64::MAX));
        s += &format!("{name:<25} {:<20} {:<20} ", value(soft), value(hard));
        s += &if unit.is_empty() {
            "\n".to_owned()
        } else {
            format!("{unit:<10}\n")
        };
    }
    s
}

fn sched(t: &TaskView) -> String {
    let ms = |ns: u64| format!("{}.{:06}", ns / 1_000_000, ns % 1_000_000);
    let comm = String::from_utf8_lossy(&t.comm);
    let mut s = format!(
        "{comm} ({}, #threads: {})\n{}\n",
        t.tid,
        t.threads,
        "-".repeat(67)
    );
    let mut row = |k: &str, v: String| s += &format!("{k:<45}:{v:>21}\n");
    row("se.exec_start", ms(t.start));
    row("se.vruntime", ms(t.utime + t.stime));
    row("se.sum_exec_runtime", ms(t.utime + t.stime));
    row("se.nr_migrations", "0".to_owned());
    row("nr_switches", (t.voluntary + t.involuntary).to_string());
    row("nr_voluntary_switches", t.voluntary.to_string());
    row("nr_involuntary_switches", t.involuntary.to_string());
    row("se.load.weight", "1048576".to_owned());
    row("policy", t.policy.to_string());
    row("prio", (t.priority + 100).to_string());
    s
}

fn maps(vfs: &Vfs, ctx: &Ctx, t: &TaskView, smaps: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for m in ctx.view.maps(t.tid) {
        let (dev, ino) = match &m.file {
            Some(p) => vfs.fstat(ctx, p).map_or((0, 0), |s| (s.dev, s.ino)),
            None if m.ino != 0 || m.label.starts_with(crate::ipc::SEGMENT) => (1, m.ino),
            None => (0, 0),
        };
        let (major, minor) = devnum(dev);
        let flag = |on: bool, c: char| if on { c } else { '-' };
        let line = format!(
            "{:08x}-{:08x} {}{}{}{} {:08x} {major:02x}:{minor:02x} {ino} ",
            m.start,
            m.end,
            flag(m.read, 'r'),
            flag(m.write, 'w'),
            flag(m.exec, 'x'),
            if m.shared { 's' } else { 'p' },
            m.offset,
        );
        let name = match &m.file {
            Some(p) => vfs.path_text(ctx, p),
            None => m.label.clone().into_bytes(),
        };
        out.extend(line.bytes());
        if !name.is_empty() {
            out.extend(std::iter::repeat_n(b' ', 73usize.saturating_sub(line.len())));
            for b in name {
                if b == b'\n' {
                    out.extend_from_slice(b"\\012")
                } else {
                    out.push(b)
                }
            }
        }
        out.push(b'\n');
        if smaps {
            out.extend(smap(&m).bytes());
        }
    }
    out
}

fn kib_rows(s: &mut String, rows: &[(&str, u64)]) {
    for (k, v) in rows {
        *s += &format!("{:<16}{:>8} kB\n", format!("{k}:"), v);
    }
}

fn parts(m: &MapView) -> [(&'static str, u64); 18] {
    let k = |pages: u64| pages * 4;
    let file = m.file.is_some();
    let clean = m.resident.saturating_sub(m.dirty);
    // Pages of files are taken to be shared with others, anonymous ones not.
    let (shared_clean, private_clean) = if file && !m.write { (clean, 0) } else { (0, clean) };
    let pss = m.dirty + private_clean + shared_clean / 3;
    [
        ("Rss", k(m.resident)),
        ("Pss", k(pss)),
        ("Pss_Dirty", k(m.dirty)),
        ("Shared_Clean", k(shared_clean)),
        ("Shared_Dirty", 0),
        ("Private_Clean", k(private_clean)),
        ("Private_Dirty", k(m.dirty)),
        ("Referenced", k(m.resident)),
        ("Anonymous", k(if file { m.dirty } else { m.resident })),
        ("LazyFree", 0),
        ("AnonHugePages", 0),
        ("ShmemPmdMapped", 0),
        ("FilePmdMapped", 0),
        ("Shared_Hugetlb", 0),
        ("Private_Hugetlb", 0),
        ("Swap", 0),
        ("SwapPss", 0),
        ("Locked", 0),
    ]
}

fn smap(m: &MapView) -> String {
    let mut s = String::new();
    kib_rows(
        &mut s,
        &[
            ("Size", (m.end - m.start) / 1024),
            ("KernelPageSize", 4),
            ("MMUPageSize", 4),
        ],
    );
    kib_rows(&mut s, &parts(m));
    s += &format!(
        "THPeligible:    {}\nVmFlags: ",
        u8::from(m.file.is_none() && m.end - m.start >= 4 << 20)
    );
    for (on, word) in [
        (m.read, "rd "),
        (m.write, "wr "),
        (m.exec, "ex "),
        (m.shared, "sh "),
        (true, "mr "),
        (m.write || m.file.is_none() || !m.shared, "mw "),
        (true, "me "),
        (m.shared, "ms "),
        (m.label == "[stack]", "gd "),
        (m.file.is_none() && m.write, "ac "),
        (true, "sd "),
    ] {
        if on {
            s += word;
        }
    }
    s.push('\n');
    s
}

fn rollup(view: &dyn KernelView, t: &TaskView) -> Vec<u8> {
    let all = view.maps(t.tid);
    let (Some(first), Some(last)) = (all.first(), all.last()) else {
        return Vec::new();
    };
    let head = format!("{:08x}-{:08x} ---p 00000000 00:00 0 ", first.start, last.end);
    let mut s = format!("{head:<73}[rollup]\n");
    let mut sums = parts(&MapView::default());
    let (mut anon, mut file) = (0, 0);
    for m in &all {
        let rows = parts(m);
        if m.file.is_some() {
            file += rows[1].1
        } else {
            anon += rows[1].1
        }
        for (to, from) in sums.iter_mut().zip(rows) {
            to.1 += from.1;
        }
    }
    kib_rows(&mut s, &sums[..3]);
    kib_rows(
        &mut s,
        &[("Pss_Anon", anon), ("Pss_File", file), ("Pss_Shmem", 0)],
    );
    kib_rows(&mut s, &sums[3..]);
    s.into_bytes()
}

pub(super) fn fdinfo(ctx: &Ctx, tid: u32, fd: u32) -> KResult<Vec<u8>> {
    let t = need(ctx.view, tid)?;
    if !super::may_inspect(ctx, &t) {
        return Err(Errno::EACCES);
    }
    let f = ctx.view.fd(tid, fd).ok_or(Errno::ENOENT)?;
    let mnt = match &f.target {
        FdTarget::Path(p) => p.mnt.0,
        FdTarget::Anon(_) => f.mnt_id,
    };
    Ok(format!(
        "pos:\t{}\nflags:\t0{:o}\nmnt_id:\t{mnt}\nino:\t{}\n{}",
        f.pos, f.flags, f.ino, f.extra
    )
    .into_bytes())
}
