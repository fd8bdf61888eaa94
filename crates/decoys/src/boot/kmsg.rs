//! The kernel's log since boot, as `dmesg` shows it: the lines that name what the cover decides.
//!
//! A real boot writes several hundred lines; these are the ones that people and scripts read to learn what the machine is.

use turncoat_cover::Cover;
use turncoat_cover::hardware::Platform;

/// Priority, microseconds since boot, text.
pub fn lines(cover: &Cover) -> Vec<(u8, u64, String)> {
    let hw = &cover.hardware;
    let k = &cover.host.kernel;
    let p = &hw.processor;
    let root = hw
        .disks
        .first()
        .and_then(|d| d.partitions.iter().find(|p| p.mount == "/"));
    let uuid = root.map_or("", |p| p.uuid.as_str());
    let disk = hw.disks.first();
    let nic = &cover.network.interface;
    let mut at = 0u64;
    let mut s = cover.stream("kmsg");
    let mut out = Vec::new();
    let mut say = |priority: u8, after: u64, text: String| {
        at += if after == 0 {
            0
        } else {
            after + s.below(after / 3 + 1)
        };
        out.push((priority, at, text));
    };
    say(5, 0, k.proc_version().trim_end().to_string());
    say(
        6,
        0,
        format!(
            "Command line: BOOT_IMAGE=/boot/vmlinuz-{} root=UUID={uuid} ro quiet",
            k.release
        ),
    );
    say(6, 0, "BIOS-provided physical RAM map:".into());
    say(6, 0, "NX (Execute Disable) protection: active".into());
    let d = &hw.dmi;
    say(
        6,
        0,
        format!(
            "DMI: {} {}, BIOS {} {}",
            d.sys_vendor, d.product_name, d.bios_version, d.bios_date
        ),
    );
    let hypervisor = if hw.platform == Platform::Vmware {
        "VMware"
    } else {
        "KVM"
    };
    say(6, 0, format!("Hypervisor detected: {hypervisor}"));
    say(
        6,
        9,
        format!("tsc: Detected {}.{:03} MHz processor", p.khz / 1000, p.khz % 1000),
    );
    let total = hw.memory_mib * 1024;
    say(6, 60_000, {
        // The parts are those of Debian's 6.1.192-2, as the sections of its unpacked image have them: .text; .data; .rodata to .BTF_ids; what is
        // between .vvar and .smp_locks; .bss (mem_init_print_info of mm/page_alloc.c, vmlinux.lds.S).
        let available = hw.mem_total_kib - 30_000;
        format!(
            "Memory: {available}K/{total}K available (14343K kernel code, 2338K rwdata, 9132K rodata, 2824K init, 17344K bss, {}K reserved, 0K cma-reserved)",
            total.saturating_sub(available)
        )
    });
    say(
        6,
        9_000,
        format!(
            "Kernel command line: BOOT_IMAGE=/boot/vmlinuz-{} root=UUID={uuid} ro quiet",
            k.release
        ),
    );
    say(
        6,
        90_000,
        format!(
            "smpboot: CPU0: {} (family: 0x{:x}, model: 0x{:x}, stepping: 0x{:x})",
            p.name.trim(),
            p.family,
            p.model,
            p.stepping
        ),
    );
    say(
        6,
        12_000,
        format!(
            "smp: Brought up 1 node, {} CPU{}",
            hw.cores,
            if hw.cores == 1 { "" } else { "s" }
        ),
    );
    if let Some(d) = disk {
        let (gb, gib) = (d.bytes as f64 / 1e9, d.bytes as f64 / (1u64 << 30) as f64);
        if d.name.starts_with('v') {
            say(
                6,
                900_000,
                format!(
                    "virtio_blk {}: [{}] {} 512-byte logical blocks ({gb:.1} GB/{gib:.1} GiB)",
                    hw.storage(),
                    d.name,
                    d.bytes / 512
                ),
            );
        } else {
            say(
                5,
                900_000,
                format!(
                    "sd 2:0:0:0: [{}] {} 512-byte logical blocks: ({gb:.1} GB/{gib:.1} GiB)",
                    d.name,
                    d.bytes / 512
                ),
            );
        }
        let parts: Vec<&str> = d.partitions.iter().map(|p| p.name.as_str()).collect();
        // An extended partition stands before what is inside it, in angle brackets.
        if let [a, b, c] = parts.as_slice() {
            say(6, 4_000, format!(" {}: {a} {b} < {c} >", d.name));
        }
        say(
            6,
            700_000,
            format!(
                "EXT4-fs ({}): mounted filesystem with ordered data mode. Quota mode: none.",
                root.map_or("sda1", |p| p.name.as_str())
            ),
        );
        say(
            6,
            900_000,
            format!(
                "EXT4-fs ({}): re-mounted. Quota mode: none.",
                root.map_or("sda1", |p| p.name.as_str())
            ),
        );
    }
    if let Some(swap) = disk.and_then(|d| d.partitions.iter().find(|p| p.fs == "swap")) {
        say(
            6,
            400_000,
            format!(
                "Adding {}k swap on /dev/{}.  Priority:-2 extents:1 across:{}k FS",
                swap.sectors / 2 - 4,
                swap.name,
                swap.sectors / 2 - 4
            ),
        );
    }
    let driver = if hw.platform == Platform::Vmware {
        "vmxnet3"
    } else {
        "virtio_net"
    };
    let device = hw.interface();
    say(6, 200_000, format!("{driver} {device} {nic}: renamed from eth0"));
    say(
        6,
        900_000,
        format!("IPv6: ADDRCONF(NETDEV_CHANGE): {nic}: link becomes ready"),
    );
    out
}
