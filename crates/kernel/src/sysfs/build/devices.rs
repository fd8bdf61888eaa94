//! Devices by class: network interfaces and disks.

use super::hardware::under;
use super::live;
use crate::proc::view::NicView;
use crate::sysfs::facts::Facts;
use crate::vfs::tree::Tree;

pub(super) fn net(t: &mut Tree, f: &Facts, nics: &[NicView]) {
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

pub(super) fn block(t: &mut Tree, f: &Facts) {
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
