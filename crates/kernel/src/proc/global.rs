//! The files of /proc that are about the machine.

use crate::object::PAGE;
use crate::sysfs::facts::{Facts, Interrupt};
use crate::vfs::Vfs;
use crate::vfs::types::{Ctx, cap, mode};
use crate::{Errno, KResult};

/// An entry of /proc; names with a slash are in a directory of the table.
pub(super) struct Global {
    pub name: &'static str,
    pub mode: u32,
    pub size: u64,
}

const fn f(name: &'static str, perm: u32) -> Global {
    Global {
        name,
        mode: mode::IFREG | perm,
        size: 0,
    }
}
const fn d(name: &'static str) -> Global {
    Global {
        name,
        mode: mode::IFDIR | 0o555,
        size: 0,
    }
}
const fn l(name: &'static str) -> Global {
    Global {
        name,
        mode: mode::IFLNK | 0o777,
        size: 0,
    }
}

pub(super) const FILES: &[Global] = &[
    l("self"),
    l("thread-self"),
    d("fs"),
    d("fs/ext4"),
    d("fs/jbd2"),
    d("fs/nfsd"),
    d("bus"),
    d("bus/input"),
    f("bus/input/devices", 0o444),
    f("bus/input/handlers", 0o444),
    d("bus/pci"),
    f("bus/pci/devices", 0o444),
    d("irq"),
    f("irq/default_smp_affinity", 0o644),
    l("net"),
    d("sys"),
    d("tty"),
    f("tty/drivers", 0o444),
    f("tty/ldiscs", 0o444),
    d("tty/driver"),
    d("acpi"),
    f("acpi/wakeup", 0o644),
    f("keys", 0o444),
    f("kmsg", 0o400),
    f("misc", 0o444),
    f("mtrr", 0o644),
    f("stat", 0o444),
    f("iomem", 0o444),
    Global {
        name: "kcore",
        mode: mode::IFREG | 0o400,
        size: 0x7fff_8000_1000,
    },
    f("locks", 0o444),
    f("swaps", 0o444),
    f("crypto", 0o444),
    d("driver"),
    f("driver/rtc", 0o444),
    l("mounts"),
    f("uptime", 0o444),
    f("vmstat", 0o444),
    f("cgroups", 0o444),
    f("cmdline", 0o444),
    f("cpuinfo", 0o444),
    f("devices", 0o444),
    f("ioports", 0o444),
    f("loadavg", 0o444),
    f("meminfo", 0o444),
    f("modules", 0o444),
    d("sysvipc"),
    f("sysvipc/msg", 0o444),
    f("sysvipc/sem", 0o444),
    f("sysvipc/shm", 0o444),
    f("version", 0o444),
    f("consoles", 0o444),
    f("kallsyms", 0o444),
    d("pressure"),
    f("pressure/cpu", 0o666),
    f("pressure/io", 0o666),
    f("pressure/memory", 0o666),
    f("slabinfo", 0o400),
    f("softirqs", 0o444),
    f("zoneinfo", 0o444),
    f("buddyinfo", 0o444),
    f("diskstats", 0o444),
    f("key-users", 0o444),
    f("schedstat", 0o444),
    f("interrupts", 0o444),
    f("kpagecount", 0o400),
    f("kpageflags", 0o400),
    f("kpagecgroup", 0o400),
    f("partitions", 0o444),
    f("timer_list", 0o400),
    f("execdomains", 0o444),
    f("filesystems", 0o444),
    f("vmallocinfo", 0o400),
    f("pagetypeinfo", 0o400),
    f("sysrq-trigger", 0o200),
    d("dynamic_debug"),
    f("dynamic_debug/control", 0o644),
    f("dma", 0o444),
    f("fb", 0o444),
];

pub(super) fn find(dir: &str, name: &[u8]) -> Option<u32> {
    let name = std::str::from_utf8(name).ok().filter(|n| !n.contains('/'))?;
    let full = if dir.is_empty() {
        name.to_owned()
    } else {
        format!("{dir}/{name}")
    };
    FILES.iter().position(|f| f.name == full).map(|i| i as u32)
}

pub(super) fn content(vfs: &Vfs, ctx: &Ctx, name: &str) -> KResult<Vec<u8>> {
    let view = ctx.view;
    let facts = view.facts();
    let s = match name {
        "version" => format!("Linux version {} {} {}\n", facts.release, facts.compiler, facts.version),
        "cmdline" => format!("{}\n", facts.cmdline),
        "uptime" => {
            let s = view.system();
            let idle: u64 = s.cpus.iter().map(|c| c.idle + c.iowait).sum();
            let up = s.uptime / 10_000_000;
            format!("{}.{:02} {}.{:02}\n", up / 100, up % 100, idle / 100, idle % 100)
        }
        "loadavg" => {
            let s = view.system();
            let tasks: u32 = view.pids().into_iter().filter_map(|p| view.task(p)).map(|t| t.threads.max(1)).sum();
            let l = s.load.map(|l| format!("{}.{:02}", l / 100, l % 100));
            format!("{} {} {} {}/{} {}\n", l[0], l[1], l[2], s.running.max(1), tasks, s.last_pid)
        }
        "meminfo" => meminfo(ctx),
        "stat" => stat(ctx),
        "cpuinfo" => cpuinfo(facts),
        "filesystems" => FILESYSTEMS
            .iter()
            .map(|f| if matches!(*f, "ext3" | "ext2" | "ext4" | "fuseblk" | "vfat" | "squashfs") { format!("\t{f}\n") } else { format!("nodev\t{f}\n") })
            .collect(),
        "devices" => devices(facts),
        "partitions" => {
            let mut s = String::from("major minor  #blocks  name\n\n");
            let d = &facts.disk;
            s += &format!("{:4}  {:7} {:10} {}\n", d.major, 0, d.sectors / 2, d.name);
            for p in &d.partitions {
                s += &format!("{:4}  {:7} {:10} {}\n", d.major, p.number, p.sectors / 2, d.part_name(p.number));
            }
            s
        }
        "diskstats" => diskstats(ctx),
        "swaps" => swaps(ctx),
        "interrupts" => interrupts(ctx),
        "softirqs" => softirqs(ctx),
        "modules" => {
            let hide = !ctx.creds.capable(cap::SYSLOG);
            facts
                .modules
                .iter()
                .enumerate()
                .map(|(i, m)| {
                    let by = if m.used_by.is_empty() { "-".to_owned() } else { m.used_by.join(",") + "," };
                    let at = if hide || facts.kernel_base == 0 { 0 } else { facts.kernel_base + 0x3f40_0000 + i as u64 * 0x9000 };
                    format!("{} {} {} {by} Live 0x{at:016x}\n", m.name, m.size, m.refs)
                })
                .collect()
        }
        "vmstat" => vmstat(ctx),
        "zoneinfo" => zoneinfo(ctx),
        "buddyinfo" => {
            let free = view.memory().free / PAGE;
            let mut s = String::new();
            for (zone, share) in [("DMA", 200), ("DMA32", 3)] {
                let mut left = free / share;
                let mut counts = [0u64; 11];
                for (order, c) in counts.iter_mut().enumerate().rev() {
                    let take = left * if order == 10 { 7 } else { 5 } / 10;
                    *c = take >> order;
                    left -= *c << order;
                }
                s += &format!("Node 0, zone {zone:>8} {}\n", counts.map(|c| format!("{c:6} ")).concat());
            }
            s
        }
        "slabinfo" => slabinfo(),
        "iomem" => iomem(ctx),
        "ioports" => ioports(ctx),
        "kallsyms" => kallsyms(ctx),
        "locks" => locks(vfs, ctx),
        "misc" => "144 nvram\n228 hpet\n229 fuse\n231 snapshot\n235 autofs\n127 vga_arbiter\n".to_owned(),
        "consoles" => "tty0                 -WU (EC p  )    4:1\n".to_owned(),
        "crypto" => crypto(),
        "cgroups" => {
            let n = facts.cgroups.len().max(40) + 20;
            let mut s = String::from("#subsys_name\thierarchy\tnum_cgroups\tenabled\n");
            for c in
                ["cpuset", "cpu", "cpuacct", "blkio", "memory", "devices", "freezer", "net_cls", "perf_event", "net_prio", "hugetlb", "pids", "rdma", "misc"]
            {
                s += &format!("{c}\t0\t{n}\t1\n");
            }
            s
        }
        "keys" => String::new(),
        "key-users" => format!("{:5}: {:5} {}/{} {}/{} {}/{}\n", 0, 9, 8, 8, 5, 1_000_000, 91, 25_000_000),
        "execdomains" => "0-0\tLinux           \t[kernel]\n".to_owned(),
        "dma" => " 4: cascade\n".to_owned(),
        "fb" => "0 EFI VGA\n".to_owned(),
        "mtrr" => format!("reg00: base=0x0{:08x} ({:5}MB), size={:5}MB, count=1: uncachable\n", 0xc000_0000u32, 3072, 1024),
        "schedstat" => {
            let s = view.system();
            let mut out = format!("version 15\ntimestamp {}\n", 4_294_892_296 + s.uptime / 4_000_000);
            for (i, c) in s.cpus.iter().enumerate() {
                out += &format!("cpu{i} 0 0 0 0 0 0 {} {} {}\n", (c.user + c.system) * 10_000_000, c.iowait * 1_000_000, s.context_switches);
            }
            out
        }
        "kmsg" => return Ok(view.kmsg()),
        "tty/ldiscs" => "n_tty       0\nn_null     27\n".to_owned(),
        "tty/drivers" => TTY_DRIVERS.to_owned(),
        "irq/default_smp_affinity" => format!("{:x}\n", (1u64 << facts.cpu.count().min(63)) - 1),
        "sysvipc/shm" | "sysvipc/sem" | "sysvipc/msg" => {
            let kind = name.trim_start_matches("sysvipc/");
            view.ipc().map_or_else(String::new, |i| i.text(kind, &vfs.objects))
        }
        "pressure/cpu" | "pressure/io" | "pressure/memory" => {
            let zero = "avg10=0.00 avg60=0.00 avg300=0.00 total=0";
            format!("some {zero}\nfull {zero}\n")
        }
        "driver/rtc" => {
            let t = ctx.now.sec.rem_euclid(86400);
            format!(
                "rtc_time\t: {:02}:{:02}:{:02}\nalrm_time\t: 00:00:00\nalarm_IRQ\t: no\nalrm_pending\t: no\nupdate IRQ enabled\t: no\n\
                 periodic IRQ enabled\t: no\nperiodic IRQ frequency\t: 1024\nmax user IRQ frequency\t: 64\n24hr\t\t: yes\nperiodic_IRQ\t: no\n\
                 update_IRQ\t: no\nHPET_emulated\t: yes\nBCD\t\t: yes\nDST_enable\t: no\nperiodic_freq\t: 1024\nbatt_status\t: okay\n",
                t / 3600,
                t / 60 % 60,
                t % 60
            )
        }
        "bus/input/devices" => concat!(
            "I: Bus=0019 Vendor=0000 Product=0001 Version=0000\nN: Name=\"Power Button\"\nP: Phys=LNXPWRBN/button/input0\n",
            "S: Sysfs=/devices/LNXSYSTM:00/LNXPWRBN:00/input/input0\nU: Uniq=\nH: Handlers=kbd event0 \nB: PROP=0\nB: EV=3\nB: KEY=10000000000000 0\n\n"
        )
        .to_owned(),
        "bus/input/handlers" => "N: Number=0 Name=rfkill\nN: Number=1 Name=kbd\nN: Number=2 Name=evdev Minor=64\nN: Number=3 Name=mousedev Minor=32\n".to_owned(),
        "bus/pci/devices" => facts
            .pci
            .iter()
            .map(|p| {
                let part = |from: usize, to: usize| p.slot.get(from..to).and_then(|s| u32::from_str_radix(s, 16).ok()).unwrap_or(0);
                let devfn = part(8, 10) << 3 | part(11, 12);
                format!("{:02x}{devfn:02x}\t{:04x}{:04x}\t{:x}\t{}\t{}\n", part(5, 7), p.vendor, p.device, p.irq, vec!["               0"; 14].join("\t"), p.driver)
            })
            .collect(),
        "sysrq-trigger" => return Err(Errno::EIO),
        "kcore" | "kpagecount" | "kpageflags" | "kpagecgroup" => return Err(Errno::EPERM),
        "timer_list" | "vmallocinfo" | "pagetypeinfo" | "dynamic_debug/control" | "acpi/wakeup" => String::new(),
        _ => return Err(Errno::EISDIR),
    };
    Ok(s.into_bytes())
}

const FILESYSTEMS: &[&str] = &[
    "sysfs",
    "tmpfs",
    "bdev",
    "proc",
    "cgroup",
    "cgroup2",
    "cpuset",
    "devtmpfs",
    "configfs",
    "debugfs",
    "tracefs",
    "securityfs",
    "sockfs",
    "bpf",
    "pipefs",
    "ramfs",
    "hugetlbfs",
    "devpts",
    "mqueue",
    "pstore",
    "autofs",
    "ext3",
    "ext2",
    "ext4",
    "efivarfs",
    "fuseblk",
    "fuse",
    "fusectl",
];

const TTY_DRIVERS: &str = "/dev/tty             /dev/tty        5       0 system:/dev/tty
/dev/console         /dev/console    5       1 system:console
/dev/ptmx            /dev/ptmx       5       2 system
/dev/vc/0            /dev/vc/0       4       0 system:vtmaster
serial               /dev/ttyS       4 64-95 serial
pty_slave            /dev/pts      136 0-1048575 pty:slave
pty_master           /dev/ptm      128 0-1048575 pty:master
unknown              /dev/tty        4 1-63 console
";

fn meminfo(ctx: &Ctx) -> String {
    let m = ctx.view.memory();
    let limit = m.total / 2 + m.swap_total;
    let total = ctx.view.facts().memory;
    let rows: [(&str, u64); 50] = [
        ("MemTotal", m.total),
        ("MemFree", m.free),
        ("MemAvailable", m.available),
        ("Buffers", m.buffers),
        ("Cached", m.cached),
        ("SwapCached", 0),
        ("Active", m.active_anon + m.active_file),
        ("Inactive", m.inactive_anon + m.inactive_file),
        ("Active(anon)", m.active_anon),
        ("Inactive(anon)", m.inactive_anon),
        ("Active(file)", m.active_file),
        ("Inactive(file)", m.inactive_file),
        ("Unevictable", 0),
        ("Mlocked", 0),
        ("SwapTotal", m.swap_total),
        ("SwapFree", m.swap_free),
        ("Zswap", 0),
        ("Zswapped", 0),
        ("Dirty", m.dirty),
        ("Writeback", 0),
        ("AnonPages", m.anon_pages),
        ("Mapped", m.mapped),
        ("Shmem", m.shmem),
        ("KReclaimable", m.slab_reclaimable),
        ("Slab", m.slab_reclaimable + m.slab_unreclaimable),
        ("SReclaimable", m.slab_reclaimable),
        ("SUnreclaim", m.slab_unreclaimable),
        ("KernelStack", m.kernel_stack),
        ("PageTables", m.page_tables),
        ("SecPageTables", 0),
        ("NFS_Unstable", 0),
        ("Bounce", 0),
        ("WritebackTmp", 0),
        ("CommitLimit", limit),
        ("Committed_AS", m.committed),
        ("VmallocTotal", 34_359_738_367 * 1024),
        ("VmallocUsed", 20_480 * 1024),
        ("VmallocChunk", 0),
        ("Percpu", ctx.view.facts().cpu.count() as u64 * 512 * 1024),
        ("HardwareCorrupted", 0),
        ("AnonHugePages", 0),
        ("ShmemHugePages", 0),
        ("ShmemPmdMapped", 0),
        ("FileHugePages", 0),
        ("FilePmdMapped", 0),
        ("Hugepagesize", 2048 * 1024),
        ("Hugetlb", 0),
        ("DirectMap4k", 100_208 * 1024),
        ("DirectMap2M", (total / (2 << 20)).saturating_sub(49) * (2 << 20)),
        ("DirectMap1G", 0),
    ];
    let mut s = String::new();
    for (name, bytes) in rows {
        if name == "Hugepagesize" {
            for h in ["Total", "Free", "Rsvd", "Surp"] {
                s += &format!("HugePages_{h}:{:>8}\n", 0);
            }
        }
        // The name takes 16 columns, the number 8: longer ones push.
        s += &format!("{:<16}{:>8} kB\n", format!("{name}:"), bytes / 1024);
    }
    s
}

fn stat(ctx: &Ctx) -> String {
    let sys = ctx.view.system();
    let line = |name: String, c: [u64; 8]| format!("{name} {} 0 0\n", c.map(|v| v.to_string()).join(" "));
    let all: Vec<[u64; 8]> = sys
        .cpus
        .iter()
        .map(|c| {
            [
                c.user, c.nice, c.system, c.idle, c.iowait, c.irq, c.softirq, c.steal,
            ]
        })
        .collect();
    let mut sum = [0u64; 8];
    for c in &all {
        for (a, b) in sum.iter_mut().zip(c) {
            *a += b;
        }
    }
    let mut s = line("cpu ".to_owned(), sum);
    for (i, c) in all.iter().enumerate() {
        s += &line(format!("cpu{i}"), *c);
    }
    // The sum is of all; then come those that have a number, by number.
    let all: Vec<(Option<usize>, u64)> = irqs(ctx)
        .into_iter()
        .map(|(label, c, _)| (label.parse().ok(), c.iter().sum()))
        .collect();
    s += &format!("intr {}", all.iter().map(|i| i.1).sum::<u64>());
    for n in 0..=all.iter().filter_map(|i| i.0).max().unwrap_or(0) {
        let count = all.iter().find(|i| i.0 == Some(n)).map_or(0, |i| i.1);
        s += &format!(" {count}");
    }
    let soft = soft_counts(ctx);
    let softs: Vec<u64> = soft.iter().map(|(_, c)| c.iter().sum()).collect();
    s += &format!(
        "\nctxt {}\nbtime {}\nprocesses {}\nprocs_running {}\nprocs_blocked {}\nsoftirq {}",
        sys.context_switches,
        sys.btime,
        sys.forks,
        sys.running.max(1),
        sys.blocked,
        softs.iter().sum::<u64>()
    );
    for c in softs {
        s += &format!(" {c}");
    }
    s + "\n"
}

fn cpuinfo(f: &Facts) -> String {
    let c = &f.cpu;
    let mut s = String::new();
    let per_socket = (c.cores * c.threads).max(1);
    for n in 0..c.count() {
        let mhz = c.khz;
        let bogus = c.khz * 2;
        let cache = if c.l3 > 0 { c.l3 } else { c.l2 };
        s += &format!(
            "processor\t: {n}\nvendor_id\t: {}\ncpu family\t: {}\nmodel\t\t: {}\nmodel name\t: {}\nstepping\t: {}\nmicrocode\t: 0x{:x}\n\
             cpu MHz\t\t: {}.{:03}\ncache size\t: {} KB\nphysical id\t: {}\nsiblings\t: {per_socket}\ncore id\t\t: {}\ncpu cores\t: {}\n\
             apicid\t\t: {n}\ninitial apicid\t: {n}\nfpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: {}\nwp\t\t: yes\nflags\t\t: {}\n\
             bugs\t\t: {}\nbogomips\t: {}.{:02}\nclflush size\t: 64\ncache_alignment\t: 64\naddress sizes\t: {} bits physical, {} bits virtual\n\
             power management:\n\n",
            c.vendor,
            c.family,
            c.model,
            c.name,
            c.stepping,
            c.microcode,
            mhz / 1000,
            mhz % 1000,
            cache / 1024,
            n / per_socket,
            n % per_socket / c.threads.max(1),
            c.cores,
            c.cpuid_level,
            c.flags.join(" "),
            c.bugs.join(" "),
            bogus / 1000,
            bogus % 1000 / 10,
            c.phys_bits,
            c.virt_bits
        );
    }
    s
}

fn devices(f: &Facts) -> String {
    let mut s = String::from(
        "Character devices:\n  1 mem\n  4 /dev/vc/0\n  4 tty\n  4 ttyS\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n  5 ttyprintk\n  7 vcs\n 10 misc\n 13 input\n 21 sg\n \
         29 fb\n128 ptm\n136 pts\n180 usb\n189 usb_device\n202 cpu/msr\n203 cpu/cpuid\n226 drm\n247 aux\n248 hidraw\n249 rtc\n250 bsg\n251 watchdog\n252 ptp\n253 pps\n254 gpiochip\n\n\
         Block devices:\n  7 loop\n",
    );
    let name = if f.disk.name.starts_with("vd") {
        "virtblk"
    } else {
        "sd"
    };
    s += &format!("{:3} {name}\n259 blkext\n", f.disk.major);
    s
}

fn diskstats(ctx: &Ctx) -> String {
    let (f, d) = (ctx.view.facts(), ctx.view.system().disk);
    let line = |minor: u32, name: &str| {
        format!(
            "{:4} {minor:7} {name} {} {} {} {} {} {} {} {} 0 {} {} {} 0 {} 0 {} 0\n",
            f.disk.major,
            d.reads,
            d.reads_merged,
            d.sectors_read,
            d.read_ms,
            d.writes,
            d.writes_merged,
            d.sectors_written,
            d.write_ms,
            d.io_ms,
            d.weighted_ms,
            d.discards,
            d.sectors_discarded,
            d.flushes
        )
    };
    let mut s = line(0, &f.disk.name);
    for p in &f.disk.partitions {
        if p.number == f.disk.root {
            s += &line(p.number, &f.disk.part_name(p.number));
        } else {
            s += &format!(
                "{:4} {:7} {} 62 0 4760 38 0 0 0 0 0 60 38 0 0 0 0 0 0\n",
                f.disk.major,
                p.number,
                f.disk.part_name(p.number)
            );
        }
    }
    s
}

fn swaps(ctx: &Ctx) -> String {
    let m = ctx.view.memory();
    let f = ctx.view.facts();
    let mut s = String::from("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
    if m.swap_total > 0
        && let Some(p) = f.disk.swap()
    {
        let name = format!("/dev/{}", f.disk.part_name(p.number));
        let (size, used) = (m.swap_total / 1024, (m.swap_total - m.swap_free) / 1024);
        let tab = |n: u64| if n < 10_000_000 { "\t" } else { "" };
        s += &format!(
            "{name:<40}partition\t{size}\t{}{used}\t{}-2\n",
            tab(size),
            tab(used)
        );
    }
    s
}

/// Label, count for each processor, description.
fn irqs(ctx: &Ctx) -> Vec<(String, Vec<u64>, String)> {
    let (f, sys) = (ctx.view.facts(), ctx.view.system());
    let n = f.cpu.count() as u64;
    let secs = sys.uptime / 1_000_000_000;
    f.interrupts
        .iter()
        .enumerate()
        .map(
            |(
                i,
                Interrupt {
                    label,
                    base,
                    rate,
                    text,
                },
            )| {
                let all = base + secs * rate / 1000;
                let local = label.chars().any(|c| c.is_ascii_alphabetic());
                let counts = (0..n)
                    .map(|c| {
                        if local {
                            all / n + (c * 7919 + i as u64 * 104_729) % 97 * all / 9700
                        } else if i as u64 % n == c {
                            all
                        } else {
                            0
                        }
                    })
                    .collect();
                (label.clone(), counts, text.clone())
            },
        )
        .collect()
}

fn interrupts(ctx: &Ctx) -> String {
    let n = ctx.view.facts().cpu.count();
    let mut s = " ".repeat(11);
    for c in 0..n {
        s += &format!("{:<11}", format!("CPU{c}"));
    }
    s.push('\n');
    for (label, counts, text) in irqs(ctx) {
        s += &format!("{label:>3}: ");
        // Errors are counted for the machine, not for each processor.
        if text.is_empty() {
            s += &format!("{:>10}\n", counts.iter().sum::<u64>());
            continue;
        }
        for c in counts {
            s += &format!("{c:>10} ");
        }
        s += &format!("  {text}\n");
    }
    s
}

fn soft_counts(ctx: &Ctx) -> Vec<(&'static str, Vec<u64>)> {
    let sys = ctx.view.system();
    let n = ctx.view.facts().cpu.count() as u64;
    let secs = sys.uptime / 1_000_000_000;
    let rates = [
        ("HI", 0),
        ("TIMER", 19_000),
        ("NET_TX", 3),
        ("NET_RX", 2_100),
        ("BLOCK", 700),
        ("IRQ_POLL", 0),
        ("TASKLET", 90),
        ("SCHED", 30_000),
        ("HRTIMER", 0),
        ("RCU", 21_000),
    ];
    rates
        .iter()
        .map(|(name, r)| {
            (
                *name,
                (0..n)
                    .map(|c| secs * r / 1000 / n + (c * 31 + r) % 17 * u64::from(*r > 0))
                    .collect(),
            )
        })
        .collect()
}

fn softirqs(ctx: &Ctx) -> String {
    let n = ctx.view.facts().cpu.count();
    let mut s = " ".repeat(20);
    for c in 0..n {
        s += &format!("{:<11}", format!("CPU{c}"));
    }
    s.push('\n');
    for (name, counts) in soft_counts(ctx) {
        s += &format!("{:>12}:", name);
        for c in counts {
            s += &format!(" {c:>10}");
        }
        s.push('\n');
    }
    s
}

fn vmstat(ctx: &Ctx) -> String {
    let (m, sys) = (ctx.view.memory(), ctx.view.system());
    let pg = |b: u64| b / PAGE;
    let d = sys.disk;
    let rows = [
        ("nr_free_pages", pg(m.free)),
        ("nr_zone_inactive_anon", pg(m.inactive_anon)),
        ("nr_zone_active_anon", pg(m.active_anon)),
        ("nr_zone_inactive_file", pg(m.inactive_file)),
        ("nr_zone_active_file", pg(m.active_file)),
        ("nr_zone_unevictable", 0),
        ("nr_zone_write_pending", pg(m.dirty)),
        ("nr_mlock", 0),
        ("nr_bounce", 0),
        ("nr_zspages", 0),
        ("nr_free_cma", 0),
        ("numa_hit", sys.pgfault * 2),
        ("numa_miss", 0),
        ("numa_foreign", 0),
        ("numa_interleave", 1536),
        ("numa_local", sys.pgfault * 2),
        ("numa_other", 0),
        ("nr_inactive_anon", pg(m.inactive_anon)),
        ("nr_active_anon", pg(m.active_anon)),
        ("nr_inactive_file", pg(m.inactive_file)),
        ("nr_active_file", pg(m.active_file)),
        ("nr_unevictable", 0),
        ("nr_slab_reclaimable", pg(m.slab_reclaimable)),
        ("nr_slab_unreclaimable", pg(m.slab_unreclaimable)),
        ("nr_isolated_anon", 0),
        ("nr_isolated_file", 0),
        ("nr_anon_pages", pg(m.anon_pages)),
        ("nr_mapped", pg(m.mapped)),
        ("nr_file_pages", pg(m.cached + m.buffers)),
        ("nr_dirty", pg(m.dirty)),
        ("nr_writeback", 0),
        ("nr_shmem", pg(m.shmem)),
        ("nr_kernel_stack", m.kernel_stack / 1024),
        ("nr_page_table_pages", pg(m.page_tables)),
        ("pgpgin", d.sectors_read / 2),
        ("pgpgout", d.sectors_written / 2),
        ("pswpin", 0),
        ("pswpout", 0),
        ("pgalloc_dma", 0),
        ("pgalloc_dma32", sys.pgfault * 2),
        ("pgalloc_normal", 0),
        ("pgfree", sys.pgfault * 2 + pg(m.free)),
        ("pgactivate", pg(m.active_file)),
        ("pgdeactivate", 0),
        ("pgfault", sys.pgfault),
        ("pgmajfault", sys.pgmajfault),
        ("pgrefill", 0),
        ("pgsteal_kswapd", 0),
        ("pgscan_kswapd", 0),
        ("oom_kill", 0),
        ("drop_pagecache", 0),
        ("drop_slab", 0),
        ("thp_fault_alloc", 21),
        ("unevictable_pgs_scanned", 0),
        ("swap_ra", 0),
        ("nr_unstable", 0),
    ];
    rows.iter().map(|(k, v)| format!("{k} {v}\n")).collect()
}

fn zoneinfo(ctx: &Ctx) -> String {
    let m = ctx.view.memory();
    let pages = m.total / PAGE;
    let mut s = String::new();
    for (zone, span, present, managed, free) in [
        ("DMA", 4095, 3998, 3840, 3840),
        (
            "DMA32",
            pages + 16_000,
            pages + 12_000,
            pages.saturating_sub(3840),
            (m.free / PAGE).saturating_sub(3840),
        ),
    ] {
        s += &format!(
            "Node 0, zone {zone:>8}\n  pages free     {free}\n        boost    0\n        min      {}\n        low      {}\n        high     {}\n        spanned  {span}\n        present  {present}\n        managed  {managed}\n        cma      0\n        protection: (0, 0, 0, 0, 0)\n  start_pfn:           {}\n",
            managed / 90,
            managed / 72,
            managed / 60,
            if zone == "DMA" { 1 } else { 4096 }
        );
    }
    s
}

fn slabinfo() -> String {
    let mut s = String::from(
        "slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n",
    );
    for (name, objs, size, per, pages) in [
        ("ext4_inode_cache", 14_526, 1184, 27, 8),
        ("dentry", 38_430, 192, 21, 1),
        ("buffer_head", 31_512, 104, 39, 1),
        ("inode_cache", 9_850, 648, 25, 4),
        ("task_struct", 252, 9792, 3, 8),
        ("kmalloc-4k", 496, 4096, 8, 8),
        ("kmalloc-1k", 2_160, 1024, 16, 4),
        ("kmalloc-512", 4_416, 512, 16, 2),
        ("kmalloc-64", 15_488, 64, 64, 1),
    ] {
        let slabs = objs / per;
        s += &format!(
            "{name:<17} {objs:6} {objs:6} {size:6} {per:4} {pages:4} : tunables {:4} {:4} {:4} : slabdata {slabs:6} {slabs:6} {:6}\n",
            0, 0, 0, 0
        );
    }
    s
}

fn iomem(ctx: &Ctx) -> String {
    let seen = ctx.creds.capable(cap::SYS_ADMIN);
    let top = ctx.view.facts().memory.min(3 << 30);
    let ranges: [(u64, u64, &str); 13] = [
        (0, 0xfff, "Reserved"),
        (0x1000, 0x9fbff, "System RAM"),
        (0x9fc00, 0x9ffff, "Reserved"),
        (0xa0000, 0xbffff, "PCI Bus 0000:00"),
        (0xf0000, 0xfffff, "Reserved"),
        (0x100000, top - 0x20001, "System RAM"),
        (top - 0x20000, top - 1, "Reserved"),
        (top, 0xfebf_ffff, "PCI Bus 0000:00"),
        (0xfec0_0000, 0xfec0_03ff, "IOAPIC 0"),
        (0xfed0_0000, 0xfed0_03ff, "HPET 0"),
        (0xfee0_0000, 0xfee0_0fff, "Local APIC"),
        (0xfeff_c000, 0xfeff_ffff, "Reserved"),
        (0xfffc_0000, 0xffff_ffff, "Reserved"),
    ];
    ranges
        .iter()
        .map(|(a, b, n)| {
            if seen {
                format!("{a:08x}-{b:08x} : {n}\n")
            } else {
                format!("00000000-00000000 : {n}\n")
            }
        })
        .collect()
}

fn ioports(ctx: &Ctx) -> String {
    let seen = ctx.creds.capable(cap::SYS_ADMIN);
    let ranges = [
        (0, 0xcf7, 0, "PCI Bus 0000:00"),
        (0, 0x1f, 2, "dma1"),
        (0x20, 0x21, 2, "pic1"),
        (0x40, 0x43, 2, "timer0"),
        (0x60, 0x60, 2, "keyboard"),
        (0x64, 0x64, 2, "keyboard"),
        (0x70, 0x71, 2, "rtc0"),
        (0x80, 0x8f, 2, "dma page reg"),
        (0xa0, 0xa1, 2, "pic2"),
        (0xc0, 0xdf, 2, "dma2"),
        (0xf0, 0xff, 2, "fpu"),
        (0x3c0, 0x3df, 2, "vga+"),
        (0x3f8, 0x3ff, 2, "serial"),
        (0xcf8, 0xcff, 0, "PCI conf1"),
        (0xd00, 0xffff, 0, "PCI Bus 0000:00"),
    ];
    ranges
        .iter()
        .map(|&(a, b, indent, n)| {
            let (a, b) = if seen { (a, b) } else { (0, 0) };
            format!("{}{a:04x}-{b:04x} : {n}\n", " ".repeat(indent))
        })
        .collect()
}

fn kallsyms(ctx: &Ctx) -> String {
    let base = ctx.view.facts().kernel_base;
    let seen = ctx.creds.capable(cap::SYSLOG) && base != 0;
    const SYMBOLS: &[(&str, char, u64)] = &[
        ("fixed_percpu_data", 'A', 0),
        ("startup_64", 'T', 0),
        ("_stext", 'T', 0),
        ("_text", 'T', 0),
        ("secondary_startup_64", 'T', 0x60),
        ("do_one_initcall", 'T', 0x1d40),
        ("__x64_sys_read", 'T', 0x37_4b20),
        ("__x64_sys_write", 'T', 0x37_4d10),
        ("__x64_sys_open", 'T', 0x37_0f60),
        ("__x64_sys_execve", 'T', 0x37_f9e0),
        ("commit_creds", 'T', 0xd_0b40),
        ("prepare_kernel_cred", 'T', 0xd_0ea0),
        ("sys_call_table", 'D', 0x100_02e0),
        ("_etext", 'T', 0xe0_27a1),
    ];
    SYMBOLS
        .iter()
        .map(|&(n, t, off)| format!("{:016x} {t} {n}\n", if seen && t != 'A' { base + off } else { 0 }))
        .collect()
}

fn locks(vfs: &Vfs, ctx: &Ctx) -> String {
    use crate::vfs::LockKind;
    let mut s = String::new();
    for (i, (ino, l)) in vfs.locks().enumerate() {
        let (kind, how) = match l.owner {
            LockKind::Posix(_) => ("POSIX ", "ADVISORY "),
            LockKind::Ofd(_) => ("OFDLCK", "ADVISORY "),
            LockKind::Flock(_) => ("FLOCK ", "ADVISORY "),
        };
        let pid = if matches!(l.owner, LockKind::Ofd(_)) {
            -1
        } else {
            l.pid as i64
        };
        let dev = vfs.dev_number(ino);
        let (ma, mi) = crate::vfs::types::devnum(dev);
        let end = if l.range.end == u64::MAX {
            "EOF".to_owned()
        } else {
            l.range.end.to_string()
        };
        let mode = if l.write { "WRITE" } else { "READ " };
        s += &format!(
            "{}: {kind} {how} {mode} {pid} {ma:02x}:{mi:02x}:{} {} {end}\n",
            i + 1,
            vfs.st_ino(ino),
            l.range.start
        );
    }
    let _ = ctx;
    s
}

fn crypto() -> String {
    let mut s = String::new();
    for (name, driver, kind, size) in [
        ("crc32c", "crc32c-intel", "shash", 4),
        ("sha256", "sha256-generic", "shash", 32),
        ("sha1", "sha1-generic", "shash", 20),
        ("md5", "md5-generic", "shash", 16),
    ] {
        s += &format!(
            "name         : {name}\ndriver       : {driver}\nmodule       : kernel\npriority     : 100\nrefcnt       : 1\nselftest     : passed\ninternal     : no\ntype         : {kind}\nblocksize    : 64\ndigestsize   : {size}\n\n"
        );
    }
    s
}
