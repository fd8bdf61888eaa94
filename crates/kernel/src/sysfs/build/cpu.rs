//! Processors, and the node of memory that they share.

use super::{list, live};
use crate::sysfs::facts::Facts;
use crate::vfs::tree::Tree;

pub(super) fn cpus(t: &mut Tree, f: &Facts) {
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

pub(super) fn node0(t: &mut Tree, f: &Facts) {
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
