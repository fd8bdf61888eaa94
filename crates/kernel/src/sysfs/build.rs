//! The trees of sysfs, cgroup2 and the other fixed file systems, from the facts of the machine.

use std::sync::Arc;

use super::facts::{Facts, PciFacts};
use super::live;
use crate::proc::view::NicView;
use crate::vfs::tree::{Text, Tree};

/// The tree of a file system of this type.
pub(crate) fn tree(fstype: &str, facts: &Facts, nics: &[NicView], perm: u32) -> Tree {
    let mut t = Tree::new(perm);
    match fstype {
        "sysfs" => {
            cpus(&mut t, facts);
            node0(&mut t, facts);
            dmi(&mut t, facts);
            net(&mut t, facts, nics);
            block(&mut t, facts);
            pci(&mut t, facts);
            kernel(&mut t, facts);
            for m in [
                "kernel/security",
                "kernel/debug",
                "kernel/tracing",
                "kernel/config",
                "fs/cgroup",
                "fs/pstore",
                "fs/bpf",
            ] {
                t.dir(m);
            }
            t.dir("fs/fuse/connections");
        }
        "cgroup2" => {
            group(&mut t, "", true);
            for path in &facts.cgroups {
                let mut at = String::new();
                for part in path.split('/').filter(|p| !p.is_empty()) {
                    at = if at.is_empty() {
                        part.to_owned()
                    } else {
                        format!("{at}/{part}")
                    };
                    group(&mut t, &at, false);
                }
            }
        }
        "securityfs" => t.file(
            "lsm",
            0o444,
            "lockdown,capability,landlock,yama,apparmor,tomoyo,bpf,integrity",
        ),
        "debugfs" => {
            for d in [
                "bdi",
                "block",
                "clk",
                "dma_buf",
                "extfrag",
                "fault_around_bytes",
                "pinctrl",
                "sched",
                "tracing",
                "x86",
            ] {
                t.dir(d);
            }
        }
        "tracefs" => {
            t.file(
                "available_tracers",
                0o444,
                "hwlat blk function_graph wakeup_dl wakeup_rt wakeup function nop\n",
            );
            t.file("current_tracer", 0o644, "nop\n");
            t.file("tracing_on", 0o644, "1\n");
            t.file(
                "trace",
                0o644,
                "# tracer: nop\n#\n# entries-in-buffer/entries-written: 0/0   #P:2\n#\n",
            );
        }
        _ => {}
    }
    t
}

fn live(t: &mut Tree, path: &str, perm: u32, what: &str) {
    t.text(path, perm, 4096, Text::Live(Arc::from(what)));
}

/// `0-3`, or `0`.
fn list(n: u32) -> String {
    if n <= 1 {
        "0\n".to_owned()
    } else {
        format!("0-{}\n", n - 1)
    }
}

fn cpus(t: &mut Tree, f: &Facts) {
    let c = &f.cpu;
    let n = c.count();
    let base = "devices/system/cpu";
    for (name, text) in [
        ("online", list(n)),
        ("possible", list(n)),
        ("present", list(n)),
        ("offline", "\n".to_owned()),
        ("isolated", "\n".to_owned()),
        ("nohz_full", "  (null)\n".to_owned()),
        ("kernel_max", "8191\n".to_owned()),
        (
            "modalias",
            format!(
                "cpu:type:x86,ven0000fam{:04X}mod{:04X}:feature:\n",
                c.family, c.model
            ),
        ),
        ("smt/active", format!("{}\n", u8::from(c.threads > 1))),
        (
            "smt/control",
            if c.threads > 1 { "on\n" } else { "notsupported\n" }.to_owned(),
        ),
        ("cpuidle/current_driver", "none\n".to_owned()),
        ("cpuidle/current_governor", "menu\n".to_owned()),
    ] {
        t.file(&format!("{base}/{name}"), 0o444, text);
    }
    for (name, text) in &c.vulnerabilities {
        t.file(
            &format!("{base}/vulnerabilities/{name}"),
            0o444,
            format!("{text}\n"),
        );
    }
    let width = (n.div_ceil(4) as usize).max(1);
    let mask = |cpus: &[u32]| {
        let bits = cpus.iter().filter(|&&c| c < 64).fold(0u64, |m, &c| m | 1 << c);
        format!("{bits:0width$x}\n")
    };
    let ranges = |cpus: &[u32]| match cpus {
        [one] => format!("{one}\n"),
        [a, .., z] => format!("{a}-{z}\n"),
        [] => "\n".to_owned(),
    };
    let per_socket = c.cores * c.threads;
    for cpu in 0..n {
        let dir = format!("{base}/cpu{cpu}");
        let socket = cpu / per_socket.max(1);
        let core = cpu % per_socket.max(1) / c.threads.max(1);
        let same = |size: u32| -> Vec<u32> {
            let size = size.max(1);
            let first = cpu / size * size;
            (first..(first + size).min(n)).collect()
        };
        let (threads, package) = (same(c.threads), same(per_socket));
        for (name, text) in [
            ("physical_package_id", format!("{socket}\n")),
            ("die_id", "0\n".to_owned()),
            ("core_id", format!("{core}\n")),
            ("thread_siblings", mask(&threads)),
            ("thread_siblings_list", ranges(&threads)),
            ("core_cpus", mask(&threads)),
            ("core_cpus_list", ranges(&threads)),
            ("core_siblings", mask(&package)),
            ("core_siblings_list", ranges(&package)),
            ("package_cpus", mask(&package)),
            ("package_cpus_list", ranges(&package)),
            ("die_cpus", mask(&package)),
            ("die_cpus_list", ranges(&package)),
        ] {
            t.file(&format!("{dir}/topology/{name}"), 0o444, text);
        }
        let caches = [
            (1, "Data", c.l1d, &threads, 8),
            (1, "Instruction", c.l1i, &threads, 8),
            (2, "Unified", c.l2, &threads, 16),
            (3, "Unified", c.l3, &package, 16),
        ];
        for (i, (level, kind, size, cpus, ways)) in caches.into_iter().filter(|c| c.2 > 0).enumerate() {
            let idx = format!("{dir}/cache/index{i}");
            for (name, text) in [
                ("level", format!("{level}\n")),
                ("type", format!("{kind}\n")),
                ("size", format!("{}K\n", size / 1024)),
                ("coherency_line_size", "64\n".to_owned()),
                ("ways_of_associativity", format!("{ways}\n")),
                ("number_of_sets", format!("{}\n", size / 64 / ways)),
                ("physical_line_partition", "1\n".to_owned()),
                ("shared_cpu_list", ranges(cpus)),
                ("shared_cpu_map", mask(cpus)),
                (
                    "id",
                    format!(
                        "{}\n",
                        if level == 3 {
                            socket
                        } else {
                            cpu / c.threads.max(1)
                        }
                    ),
                ),
            ] {
                t.file(&format!("{idx}/{name}"), 0o444, text);
            }
        }
        if cpu > 0 {
            t.file(&format!("{dir}/online"), 0o644, "1\n");
        }
        t.file(&format!("{dir}/crash_notes_size"), 0o400, "368\n");
        t.file(
            &format!("{dir}/uevent"),
            0o644,
            format!(
                "DRIVER=processor\nMODALIAS=cpu:type:x86,ven0000fam{:04X}mod{:04X}:feature:\n",
                c.family, c.model
            ),
        );
        t.link(&format!("{dir}/node0"), "../../node/node0");
        t.link(
            &format!("bus/cpu/devices/cpu{cpu}"),
            &format!("../../../devices/system/cpu/cpu{cpu}"),
        );
    }
}

fn node0(t: &mut Tree, f: &Facts) {
    let n = f.cpu.count();
    let base = "devices/system/node";
    for name in ["online", "possible", "has_cpu", "has_memory", "has_normal_memory"] {
        t.file(&format!("{base}/{name}"), 0o444, "0\n");
    }
    t.file(&format!("{base}/node0/cpulist"), 0o444, list(n));
    t.file(
        &format!("{base}/node0/cpumap"),
        0o444,
        format!("{:x}\n", if n >= 64 { u64::MAX } else { (1u64 << n) - 1 }),
    );
    t.file(&format!("{base}/node0/distance"), 0o444, "10\n");
    live(t, &format!("{base}/node0/meminfo"), 0o444, "meminfo");
    for cpu in 0..n {
        t.link(&format!("{base}/node0/cpu{cpu}"), &format!("../../cpu/cpu{cpu}"));
    }
    let pages = "kernel/mm/hugepages/hugepages-2048kB";
    for (name, text) in [
        ("nr_hugepages", "0\n"),
        ("free_hugepages", "0\n"),
        ("resv_hugepages", "0\n"),
        ("surplus_hugepages", "0\n"),
    ] {
        t.file(
            &format!("{pages}/{name}"),
            if name.starts_with("nr") { 0o644 } else { 0o444 },
            text,
        );
    }
    t.file(
        "kernel/mm/transparent_hugepage/enabled",
        0o644,
        "[always] madvise never\n",
    );
    t.file(
        "kernel/mm/transparent_hugepage/defrag",
        0o644,
        "always defer defer+madvise [madvise] never\n",
    );
    t.file(
        "kernel/mm/transparent_hugepage/hpage_pmd_size",
        0o444,
        "2097152\n",
    );
    // lsmem reads memory in blocks of 128 MiB.
    t.file("devices/system/memory/block_size_bytes", 0o444, "8000000\n");
    t.file("devices/system/memory/auto_online_blocks", 0o644, "offline\n");
    for i in 0..(f.memory >> 27).min(512) {
        let dir = format!("devices/system/memory/memory{i}");
        t.file(&format!("{dir}/phys_index"), 0o444, format!("{i:08x}\n"));
        t.file(&format!("{dir}/state"), 0o644, "online\n");
        t.file(&format!("{dir}/online"), 0o644, "1\n");
        t.file(&format!("{dir}/removable"), 0o444, "1\n");
        t.file(
            &format!("{dir}/valid_zones"),
            0o444,
            if i < 32 { "none\n" } else { "Normal\n" },
        );
        t.file(&format!("{dir}/phys_device"), 0o444, "0\n");
    }
}

fn dmi(t: &mut Tree, f: &Facts) {
    let d = &f.dmi;
    let dir = "devices/virtual/dmi/id";
    let open = |perm| move |name: &'static str, text: &str| (name, text.to_owned(), perm);
    let (all, root) = (open(0o444), open(0o400));
    let rows = [
        all("bios_vendor", &d.bios_vendor),
        all("bios_version", &d.bios_version),
        all("bios_date", &d.bios_date),
        all("bios_release", &d.bios_release),
        all("sys_vendor", &d.sys_vendor),
        all("product_name", &d.product_name),
        all("product_version", &d.product_version),
        all("product_family", &d.product_family),
        all("product_sku", &d.product_sku),
        root("product_serial", &d.product_serial),
        root("product_uuid", &d.product_uuid),
        all("board_vendor", &d.board_vendor),
        all("board_name", &d.board_name),
        all("board_version", &d.board_version),
        all("board_asset_tag", &d.board_asset_tag),
        root("board_serial", &d.board_serial),
        all("chassis_vendor", &d.chassis_vendor),
        all("chassis_version", &d.chassis_version),
        all("chassis_asset_tag", &d.chassis_asset_tag),
        root("chassis_serial", &d.chassis_serial),
        all("chassis_type", &d.chassis_type.to_string()),
    ];
    for (name, text, perm) in &rows {
        // The firmware's table has no string where a fact is empty: then there is no file.
        if !text.is_empty() {
            t.file(&format!("{dir}/{name}"), *perm, format!("{text}\n"));
        }
    }
    let word = |s: &str| s.replace([' ', ':'], "");
    let alias = format!(
        "dmi:bvn{}:bvr{}:bd{}:br{}:svn{}:pn{}:pvr{}:cvn{}:ct{}:cvr{}:",
        word(&d.bios_vendor),
        word(&d.bios_version),
        d.bios_date,
        d.bios_release,
        word(&d.sys_vendor),
        word(&d.product_name),
        word(&d.product_version),
        word(&d.chassis_vendor),
        d.chassis_type,
        word(&d.chassis_version)
    );
    t.file(&format!("{dir}/modalias"), 0o444, format!("{alias}\n"));
    t.file(&format!("{dir}/uevent"), 0o644, format!("MODALIAS={alias}\n"));
    t.link(&format!("{dir}/subsystem"), "../../../../class/dmi");
    t.link("class/dmi/id", "../../devices/virtual/dmi/id");
    if !d.table.is_empty() {
        t.binary("firmware/dmi/tables/DMI", 0o400, &d.table);
        t.binary("firmware/dmi/tables/smbios_entry_point", 0o400, &d.entry);
    }
}

/// Where that hangs which a PCI device is: below itself, or below its virtio device.
fn under(p: &PciFacts) -> String {
    let dir = format!("devices/pci0000:00/{}", p.slot);
    match p.virtio {
        Some(n) => format!("{dir}/virtio{n}"),
        None => dir,
    }
}

/// The virtio device behind a PCI device (virtio specification 1.1, 4.1.2: device ids).
fn virtio(t: &mut Tree, p: &PciFacts) {
    let Some(n) = p.virtio else {
        return;
    };
    let (kind, driver) = match p.device {
        0x1000 | 0x1041 => (1, "virtio_net"),
        0x1001 | 0x1042 => (2, "virtio_blk"),
        0x1002 | 0x1045 => (5, "virtio_balloon"),
        0x1004 | 0x1048 => (8, "virtio_scsi"),
        0x1050 => (16, "virtio_gpu"),
        _ => return,
    };
    let dir = under(p);
    let alias = format!("virtio:d{kind:08X}v{:08X}", p.vendor);
    for (name, perm, text) in [
        ("device", 0o444, format!("0x{kind:04x}\n")),
        ("vendor", 0o444, format!("0x{:04x}\n", p.vendor)),
        ("status", 0o444, "0x0000000f\n".to_owned()),
        ("modalias", 0o444, format!("{alias}\n")),
        ("uevent", 0o644, format!("DRIVER={driver}\nMODALIAS={alias}\n")),
    ] {
        t.file(&format!("{dir}/{name}"), perm, text);
    }
    let bus = "bus/virtio";
    t.link(&format!("{dir}/subsystem"), &format!("../../../../{bus}"));
    t.link(
        &format!("{dir}/driver"),
        &format!("../../../../{bus}/drivers/{driver}"),
    );
    t.link(&format!("{bus}/devices/virtio{n}"), &format!("../../../{dir}"));
    t.link(
        &format!("{bus}/drivers/{driver}/virtio{n}"),
        &format!("../../../../{dir}"),
    );
}

fn net(t: &mut Tree, f: &Facts, nics: &[NicView]) {
    for nic in nics {
        let pci = f
            .pci
            .iter()
            .find(|p| p.class >> 16 == 2 && !nic.driver.is_empty());
        let dir = match pci {
            Some(p) => format!("{}/net/{}", under(p), nic.name),
            None => format!("devices/virtual/net/{}", nic.name),
        };
        let mac = |m: [u8; 6]| m.map(|b| format!("{b:02x}")).join(":") + "\n";
        let loopback = nic.kind == 772;
        for (name, perm, text) in [
            ("broadcast", 0o444, mac(if loopback { [0; 6] } else { [0xff; 6] })),
            ("addr_assign_type", 0o444, "0\n".to_owned()),
            ("addr_len", 0o444, "6\n".to_owned()),
            ("ifindex", 0o444, format!("{}\n", nic.index)),
            ("iflink", 0o444, format!("{}\n", nic.index)),
            ("type", 0o444, format!("{}\n", nic.kind)),
            (
                "carrier_changes",
                0o444,
                if loopback { "0\n" } else { "2\n" }.to_owned(),
            ),
            ("dormant", 0o444, "0\n".to_owned()),
            ("testing", 0o444, "0\n".to_owned()),
            ("link_mode", 0o444, "0\n".to_owned()),
            ("netdev_group", 0o644, "0\n".to_owned()),
            (
                "name_assign_type",
                0o444,
                if loopback { "2\n" } else { "4\n" }.to_owned(),
            ),
            ("ifalias", 0o644, String::new()),
            ("dev_id", 0o444, "0x0\n".to_owned()),
            ("dev_port", 0o444, "0\n".to_owned()),
            ("proto_down", 0o644, "0\n".to_owned()),
            ("gro_flush_timeout", 0o644, "0\n".to_owned()),
            ("threaded", 0o644, "0\n".to_owned()),
            (
                "uevent",
                0o644,
                format!("INTERFACE={}\nIFINDEX={}\n", nic.name, nic.index),
            ),
        ] {
            t.file(&format!("{dir}/{name}"), perm, text);
        }
        for (name, perm) in live::NIC {
            let what = format!("nic:{}/{name}", nic.name);
            live(t, &format!("{dir}/{name}"), *perm, &what);
        }
        for name in live::RX.iter().chain(&live::TX) {
            let name = name.replace("rx_multicast", "multicast");
            live(
                t,
                &format!("{dir}/statistics/{name}"),
                0o444,
                &format!("stat:{}/{name}", nic.name),
            );
        }
        for name in [
            "rx_length_errors",
            "rx_over_errors",
            "rx_crc_errors",
            "rx_missed_errors",
            "tx_aborted_errors",
            "tx_heartbeat_errors",
            "tx_window_errors",
            "rx_nohandler",
        ] {
            t.file(&format!("{dir}/statistics/{name}"), 0o444, "0\n");
        }
        for q in ["queues/rx-0/rps_cpus", "queues/tx-0/xps_cpus"] {
            t.file(&format!("{dir}/{q}"), 0o644, "0\n");
        }
        let up = "../".repeat(dir.matches('/').count());
        t.link(&format!("{dir}/subsystem"), &format!("{up}class/net"));
        if let Some(p) = pci {
            let device = under(p);
            let name = device.rsplit('/').next().unwrap_or_default();
            t.link(&format!("{dir}/device"), &format!("../../../{name}"));
        }
        t.link(&format!("class/net/{}", nic.name), &format!("../../{dir}"));
    }
}

fn block(t: &mut Tree, f: &Facts) {
    let d = &f.disk;
    // Behind ATA controllers stands no disk, at most a drive for CDs.
    let controller = f
        .pci
        .iter()
        .find(|p| p.class >> 16 == 1 && !p.driver.contains("ata") && p.driver != "ahci");
    let host = controller.map_or_else(|| "devices/platform".to_owned(), under);
    let host = match d.name.starts_with("vd") {
        true => host,
        false => format!("{host}/host2/target2:0:0/2:0:0:0"),
    };
    let dir = format!("{host}/block/{}", d.name);
    let base = |t: &mut Tree, dir: &str, sectors: u64, minor: u32, name: &str, part: Option<u32>| {
        t.file(&format!("{dir}/dev"), 0o444, format!("{}:{minor}\n", d.major));
        t.file(&format!("{dir}/size"), 0o444, format!("{sectors}\n"));
        t.file(&format!("{dir}/ro"), 0o444, "0\n");
        t.file(&format!("{dir}/alignment_offset"), 0o444, "0\n");
        t.file(&format!("{dir}/discard_alignment"), 0o444, "0\n");
        t.file(&format!("{dir}/inflight"), 0o444, "       0        0\n");
        live(t, &format!("{dir}/stat"), 0o444, "disk");
        let kind = if part.is_some() { "partition" } else { "disk" };
        let part = part.map(|n| format!("PARTN={n}\n")).unwrap_or_default();
        t.file(
            &format!("{dir}/uevent"),
            0o644,
            format!(
                "MAJOR={}\nMINOR={minor}\nDEVNAME={name}\nDEVTYPE={kind}\n{part}",
                d.major
            ),
        );
        t.dir(&format!("{dir}/holders"));
        let up = "../".repeat(dir.matches('/').count());
        t.link(&format!("{dir}/subsystem"), &format!("{up}class/block"));
        t.link(&format!("class/block/{name}"), &format!("../../{dir}"));
        t.link(&format!("dev/block/{}:{minor}", d.major), &format!("../../{dir}"));
    };
    base(t, &dir, d.sectors, 0, &d.name, None);
    for (name, perm, text) in [
        ("removable", 0o444, "0\n".to_owned()),
        ("range", 0o444, "16\n".to_owned()),
        ("ext_range", 0o444, "256\n".to_owned()),
        ("capability", 0o444, "0\n".to_owned()),
        ("diskseq", 0o444, "9\n".to_owned()),
        ("hidden", 0o444, "0\n".to_owned()),
        ("queue/rotational", 0o644, format!("{}\n", u8::from(d.rotational))),
        ("queue/hw_sector_size", 0o444, "512\n".to_owned()),
        ("queue/logical_block_size", 0o444, "512\n".to_owned()),
        ("queue/physical_block_size", 0o444, "512\n".to_owned()),
        ("queue/minimum_io_size", 0o444, "512\n".to_owned()),
        ("queue/optimal_io_size", 0o444, "0\n".to_owned()),
        ("queue/discard_granularity", 0o444, "0\n".to_owned()),
        ("queue/discard_max_bytes", 0o644, "0\n".to_owned()),
        ("queue/discard_zeroes_data", 0o444, "0\n".to_owned()),
        ("queue/read_ahead_kb", 0o644, "128\n".to_owned()),
        ("queue/max_sectors_kb", 0o644, "1280\n".to_owned()),
        ("queue/nr_requests", 0o644, "64\n".to_owned()),
        ("queue/scheduler", 0o644, "[mq-deadline] none\n".to_owned()),
        ("queue/add_random", 0o644, "1\n".to_owned()),
        ("queue/zoned", 0o444, "none\n".to_owned()),
        ("queue/dax", 0o444, "0\n".to_owned()),
        ("queue/write_cache", 0o644, "write back\n".to_owned()),
        ("queue/wbt_lat_usec", 0o644, "75000\n".to_owned()),
    ] {
        t.file(&format!("{dir}/{name}"), perm, text);
    }
    let scsi = !d.name.starts_with("vd");
    if scsi {
        for (name, text) in [
            ("vendor", format!("{:<8}\n", d.vendor)),
            ("model", format!("{:<16}\n", d.model)),
            ("rev", "2.5+\n".to_owned()),
            ("type", "0\n".to_owned()),
            ("state", "running\n".to_owned()),
        ] {
            t.file(&format!("{host}/{name}"), 0o444, text);
        }
    }
    t.link(
        &format!("{dir}/device"),
        &format!("../../../{}", host.rsplit('/').next().unwrap_or_default()),
    );
    t.dir(&format!("{dir}/slaves"));
    for p in &d.partitions {
        let name = d.part_name(p.number);
        let part = format!("{dir}/{name}");
        base(t, &part, p.sectors, p.number, &name, Some(p.number));
        t.file(&format!("{part}/partition"), 0o444, format!("{}\n", p.number));
        t.file(&format!("{part}/start"), 0o444, format!("{}\n", p.start));
    }
    t.link(&format!("block/{}", d.name), &format!("../{dir}"));
}

fn pci(t: &mut Tree, f: &Facts) {
    for p in &f.pci {
        let dir = format!("devices/pci0000:00/{}", p.slot);
        let mut config = vec![0u8; 256];
        let mut set = |at: usize, bytes: &[u8]| {
            if let Some(to) = config.get_mut(at..at + bytes.len()) {
                to.copy_from_slice(bytes);
            }
        };
        set(0, &p.vendor.to_le_bytes());
        set(2, &p.device.to_le_bytes());
        set(4, &[0x07, 0x01, 0x10, 0x00]);
        set(
            8,
            &[
                p.revision,
                p.class as u8,
                (p.class >> 8) as u8,
                (p.class >> 16) as u8,
            ],
        );
        set(0x2c, &p.sub_vendor.to_le_bytes());
        set(0x2e, &p.sub_device.to_le_bytes());
        set(0x3c, &[p.irq as u8, u8::from(p.irq != 0)]);
        t.binary(&format!("{dir}/config"), 0o644, &config);
        let alias = format!(
            "pci:v{:08X}d{:08X}sv{:08X}sd{:08X}bc{:02X}sc{:02X}i{:02X}",
            p.vendor,
            p.device,
            p.sub_vendor,
            p.sub_device,
            p.class >> 16 & 0xff,
            p.class >> 8 & 0xff,
            p.class & 0xff
        );
        let driver = if p.driver.is_empty() {
            String::new()
        } else {
            format!("DRIVER={}\n", p.driver)
        };
        for (name, text) in [
            ("vendor", format!("0x{:04x}\n", p.vendor)),
            ("device", format!("0x{:04x}\n", p.device)),
            ("subsystem_vendor", format!("0x{:04x}\n", p.sub_vendor)),
            ("subsystem_device", format!("0x{:04x}\n", p.sub_device)),
            ("class", format!("0x{:06x}\n", p.class)),
            ("revision", format!("0x{:02x}\n", p.revision)),
            ("irq", format!("{}\n", p.irq)),
            ("modalias", format!("{alias}\n")),
            ("numa_node", "-1\n".to_owned()),
            ("enable", "1\n".to_owned()),
            ("local_cpulist", list(f.cpu.count())),
            (
                "resource",
                "0x0000000000000000 0x0000000000000000 0x0000000000000000\n".repeat(13),
            ),
            (
                "uevent",
                format!(
                    "{driver}PCI_CLASS={:X}\nPCI_ID={:04X}:{:04X}\nPCI_SUBSYS_ID={:04X}:{:04X}\nPCI_SLOT_NAME={}\nMODALIAS={alias}\n",
                    p.class, p.vendor, p.device, p.sub_vendor, p.sub_device, p.slot
                ),
            ),
        ] {
            t.file(&format!("{dir}/{name}"), 0o444, text);
        }
        virtio(t, p);
        t.link(&format!("{dir}/subsystem"), "../../../bus/pci");
        if !p.driver.is_empty() {
            t.link(
                &format!("{dir}/driver"),
                &format!("../../../bus/pci/drivers/{}", p.driver),
            );
            t.link(
                &format!("bus/pci/drivers/{}/{}", p.driver, p.slot),
                &format!("../../../../devices/pci0000:00/{}", p.slot),
            );
        }
        t.link(
            &format!("bus/pci/devices/{}", p.slot),
            &format!("../../../devices/pci0000:00/{}", p.slot),
        );
    }
    t.file("bus/pci/rescan", 0o200, "");
    t.dir("bus/pci/slots");
}

fn kernel(t: &mut Tree, f: &Facts) {
    t.file("kernel/uevent_seqnum", 0o444, "2163\n");
    t.file("kernel/uevent_helper", 0o644, "\n");
    t.file("kernel/profiling", 0o644, "0\n");
    t.file("kernel/kexec_loaded", 0o444, "0\n");
    t.file("kernel/kexec_crash_loaded", 0o444, "0\n");
    t.file("kernel/kexec_crash_size", 0o644, "0\n");
    t.file("kernel/fscaps", 0o444, "1\n");
    t.file("kernel/rcu_expedited", 0o644, "0\n");
    t.file("kernel/rcu_normal", 0o644, "0\n");
    t.file("kernel/mm/ksm/run", 0o644, "0\n");
    t.file("kernel/mm/lru_gen/enabled", 0o644, "0x0007\n");
    t.file(
        "devices/system/clocksource/clocksource0/current_clocksource",
        0o644,
        clocksource(f),
    );
    t.file(
        "devices/system/clocksource/clocksource0/available_clocksource",
        0o444,
        "kvm-clock tsc acpi_pm \n",
    );
    if f.cpu.hypervisor == "xen" {
        t.file("hypervisor/type", 0o444, "xen\n");
    } else {
        t.dir("hypervisor");
    }
    for m in &f.modules {
        let dir = format!("module/{}", m.name);
        t.file(&format!("{dir}/coresize"), 0o444, format!("{}\n", m.size));
        t.file(&format!("{dir}/initsize"), 0o444, "0\n");
        t.file(&format!("{dir}/initstate"), 0o444, "live\n");
        t.file(&format!("{dir}/refcnt"), 0o444, format!("{}\n", m.refs));
        t.file(&format!("{dir}/taint"), 0o444, "\n");
        t.file(&format!("{dir}/uevent"), 0o200, "");
        t.dir(&format!("{dir}/holders"));
        for user in &m.used_by {
            t.link(&format!("{dir}/holders/{user}"), &format!("../../{user}"));
        }
    }
    for (name, text) in [
        ("kernel/parameters/panic", "0\n"),
        ("kernel/parameters/consoleblank", "0\n"),
        ("printk/parameters/time", "Y\n"),
        ("apparmor/parameters/enabled", "Y\n"),
        ("apparmor/parameters/mode", "enforce\n"),
        ("tcp_cubic/parameters/beta", "717\n"),
    ] {
        t.file(&format!("module/{name}"), 0o444, text);
    }
    for c in [
        "tty",
        "mem",
        "misc",
        "input",
        "rtc",
        "thermal",
        "hwmon",
        "power_supply",
        "bdi",
        "vc",
        "graphics",
        "drm",
    ] {
        t.dir(&format!("class/{c}"));
    }
    for tty in ["console", "tty", "tty0", "tty1", "ttyS0", "ptmx"] {
        t.dir(&format!("devices/virtual/tty/{tty}"));
        t.link(
            &format!("class/tty/{tty}"),
            &format!("../../devices/virtual/tty/{tty}"),
        );
    }
    t.file("devices/virtual/tty/tty0/active", 0o444, "tty1\n");
    t.file("devices/virtual/tty/console/active", 0o444, "tty0\n");
    t.file("power/state", 0o644, "freeze mem disk\n");
    t.file(
        "power/disk",
        0o644,
        "[platform] shutdown reboot suspend test_resume \n",
    );
    t.file("power/mem_sleep", 0o644, "s2idle [deep]\n");
    t.file("power/wake_lock", 0o644, "\n");
    t.dir("firmware/acpi/tables");
    t.dir("fs/ext4/features");
    t.dir(&format!("fs/ext4/{}", f.disk.part_name(f.disk.root)));
}

fn clocksource(f: &Facts) -> &'static str {
    if f.cpu.hypervisor == "kvm" {
        "kvm-clock\n"
    } else {
        "tsc\n"
    }
}

/// One control group; the root has fewer files.
fn group(t: &mut Tree, path: &str, root: bool) {
    let at = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}/{name}")
        }
    };
    let here = if path.is_empty() {
        String::new()
    } else {
        format!("/{path}")
    };
    let here = if here.is_empty() { "/".to_owned() } else { here };
    let prefix = if root { "" } else { &here };
    live(t, &at("cgroup.procs"), 0o644, &format!("procs:{here}"));
    live(t, &at("cgroup.threads"), 0o644, &format!("procs:{here}"));
    t.file(
        &at("cgroup.controllers"),
        0o444,
        "cpuset cpu io memory hugetlb pids rdma misc\n",
    );
    t.file(
        &at("cgroup.subtree_control"),
        0o644,
        if root || path.ends_with(".slice") {
            "cpu memory pids\n"
        } else {
            "\n"
        },
    );
    t.file(&at("cgroup.max.depth"), 0o644, "max\n");
    t.file(&at("cgroup.max.descendants"), 0o644, "max\n");
    t.file(
        &at("cgroup.stat"),
        0o444,
        "nr_descendants 0\nnr_dying_descendants 0\n",
    );
    live(t, &at("cpu.stat"), 0o444, &format!("cgroup.cpu:{prefix}"));
    for r in ["cpu", "io", "memory"] {
        t.file(
            &at(&format!("{r}.pressure")),
            0o644,
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
        );
    }
    if root {
        t.file("cpuset.cpus.effective", 0o444, "0-1\n");
        t.file("cpuset.mems.effective", 0o444, "0\n");
        return;
    }
    t.file(&at("cgroup.type"), 0o644, "domain\n");
    t.file(&at("cgroup.freeze"), 0o644, "0\n");
    t.file(&at("cgroup.kill"), 0o200, "");
    live(t, &at("cgroup.events"), 0o444, &format!("cgroup.events:{here}"));
    live(t, &at("memory.current"), 0o444, &format!("cgroup.memory:{here}"));
    live(t, &at("pids.current"), 0o444, &format!("cgroup.pids:{here}"));
    for (name, text) in [
        ("memory.max", "max\n"),
        ("memory.high", "max\n"),
        ("memory.low", "0\n"),
        ("memory.min", "0\n"),
        ("memory.swap.current", "0\n"),
        ("memory.swap.max", "max\n"),
        ("memory.oom.group", "0\n"),
        (
            "memory.events",
            "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n",
        ),
        ("pids.max", "max\n"),
        ("pids.events", "max 0\n"),
        ("cpu.max", "max 100000\n"),
        ("cpu.weight", "100\n"),
        ("cpu.weight.nice", "0\n"),
    ] {
        t.file(&at(name), 0o644, text);
    }
}
