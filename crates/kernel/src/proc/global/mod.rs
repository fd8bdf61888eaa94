//! The files of /proc that are about the machine: their table, and what each of them says. Longer texts are made in modules by what they
//! are about.

mod hardware;
mod interrupts;
mod memory;
mod software;

use crate::object::PAGE;
use crate::vfs::Vfs;
use crate::vfs::types::{Ctx, cap, mode};
use crate::{Errno, KResult};
use hardware::{cpuinfo, devices, diskstats, iomem, ioports};
use interrupts::{interrupts, softirqs, stat};
use memory::{meminfo, slabinfo, swaps, vmstat, zoneinfo};
use software::{FILESYSTEMS, TTY_DRIVERS, crypto, kallsyms, locks};

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
