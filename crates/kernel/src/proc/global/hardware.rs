//! Processors, devices, disks, and what addresses they have.

use crate::sysfs::facts::Facts;
use crate::vfs::types::{Ctx, cap};

pub(super) fn cpuinfo(f: &Facts) -> String {
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

pub(super) fn devices(f: &Facts) -> String {
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

pub(super) fn diskstats(ctx: &Ctx) -> String {
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

pub(super) fn iomem(ctx: &Ctx) -> String {
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

pub(super) fn ioports(ctx: &Ctx) -> String {
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
