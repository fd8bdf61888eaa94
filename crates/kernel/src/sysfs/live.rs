//! Attributes that follow the state of the kernel. The name of a live attribute is `what:argument`.

use crate::proc::view::{Effect, KernelView, NicView};
use crate::{Errno, KResult};

/// Statistics of an interface in the order of `NicView::rx` and `tx` (the order of /proc/net/dev).
pub(super) const RX: [&str; 8] = [
    "rx_bytes",
    "rx_packets",
    "rx_errors",
    "rx_dropped",
    "rx_fifo_errors",
    "rx_frame_errors",
    "rx_compressed",
    "multicast",
];
pub(super) const TX: [&str; 8] = [
    "tx_bytes",
    "tx_packets",
    "tx_errors",
    "tx_dropped",
    "tx_fifo_errors",
    "collisions",
    "tx_carrier_errors",
    "tx_compressed",
];

/// Attributes of an interface that follow it, with their modes.
pub(super) const NIC: &[(&str, u32)] = &[
    ("address", 0o444),
    ("carrier", 0o644),
    ("duplex", 0o444),
    ("flags", 0o644),
    ("mtu", 0o644),
    ("operstate", 0o444),
    ("speed", 0o444),
    ("tx_queue_len", 0o644),
];

/// One of them (net/core/net-sysfs.c).
fn nic_text(nic: &NicView, name: &str) -> KResult<String> {
    let loopback = nic.kind == 772;
    // Without a running interface nobody knows these; lo has no driver that could tell.
    let unknown = match name {
        "carrier" => !nic.up,
        "speed" | "duplex" => !nic.up || loopback,
        _ => false,
    };
    if unknown {
        return Err(Errno::EINVAL);
    }
    let text = match name {
        "address" => nic.mac.map(|b| format!("{b:02x}")).join(":"),
        "carrier" => "1".to_owned(),
        "duplex" if nic.speed > 0 => "full".to_owned(),
        "duplex" => "unknown".to_owned(),
        // The bits RUNNING and LOWER_UP do not show here.
        "flags" => format!("0x{:x}", nic.flags & !0x1_0040),
        "mtu" => nic.mtu.to_string(),
        "operstate" if !nic.up => "down".to_owned(),
        "operstate" if loopback => "unknown".to_owned(),
        "operstate" => "up".to_owned(),
        "speed" => nic.speed.to_string(),
        _ => nic.tx_queue_len.to_string(),
    };
    Ok(text + "\n")
}

/// A write to one of them: the carrier and the flags stay as they are.
pub(super) fn set_nic(
    view: &dyn KernelView,
    name: &str,
    attribute: &str,
    data: &[u8],
) -> KResult<Option<Effect>> {
    if !matches!(attribute, "mtu" | "tx_queue_len") {
        return Ok(None);
    }
    let nics = view.nics();
    let nic = nics.iter().find(|n| n.name == name).ok_or(Errno::ENODEV)?;
    let text = String::from_utf8_lossy(data);
    let value: u32 = text.trim().parse().map_err(|_| Errno::EINVAL)?;
    if attribute == "mtu" && nic.kind != 772 && !(68..=65_535).contains(&value) {
        return Err(Errno::EINVAL);
    }
    Ok(Some(Effect::Interface {
        name: name.to_owned(),
        attribute: attribute.to_owned(),
        value,
    }))
}

pub(super) fn text(view: &dyn KernelView, what: &str) -> KResult<Vec<u8>> {
    let (kind, arg) = what.split_once(':').unwrap_or((what, ""));
    match kind {
        "stat" => {
            let (nic, name) = arg.split_once('/').ok_or(Errno::EIO)?;
            let nic = view
                .nics()
                .into_iter()
                .find(|n| n.name == nic)
                .ok_or(Errno::ENODEV)?;
            let at =
                |names: [&str; 8], values: [u64; 8]| names.iter().position(|n| *n == name).map(|i| values[i]);
            let n = at(RX, nic.rx).or(at(TX, nic.tx)).unwrap_or(0);
            Ok(format!("{n}\n").into_bytes())
        }
        "nic" => {
            let (nic, name) = arg.split_once('/').ok_or(Errno::EIO)?;
            let nics = view.nics();
            let nic = nics.iter().find(|n| n.name == nic).ok_or(Errno::ENODEV)?;
            nic_text(nic, name).map(String::into_bytes)
        }
        "meminfo" => {
            let m = view.memory();
            let mut out = String::new();
            let rows = [
                ("MemTotal", m.total),
                ("MemFree", m.free),
                ("MemUsed", m.total.saturating_sub(m.free)),
                ("SwapCached", 0),
                ("Active", m.active_anon + m.active_file),
                ("Inactive", m.inactive_anon + m.inactive_file),
                ("Active(anon)", m.active_anon),
                ("Inactive(anon)", m.inactive_anon),
                ("Active(file)", m.active_file),
                ("Inactive(file)", m.inactive_file),
                ("Unevictable", 0),
                ("Mlocked", 0),
                ("Dirty", m.dirty),
                ("Writeback", 0),
                ("FilePages", m.cached + m.buffers),
                ("Mapped", m.mapped),
                ("AnonPages", m.anon_pages),
                ("Shmem", m.shmem),
                ("KernelStack", m.kernel_stack),
                ("PageTables", m.page_tables),
            ];
            for (name, bytes) in rows {
                out += &format!("Node 0 {:<15} {:>8} kB\n", format!("{name}:"), bytes / 1024);
            }
            Ok(out.into_bytes())
        }
        "disk" => {
            let d = view.system().disk;
            let v = [
                d.reads,
                d.reads_merged,
                d.sectors_read,
                d.read_ms,
                d.writes,
                d.writes_merged,
                d.sectors_written,
                d.write_ms,
                0,
                d.io_ms,
                d.weighted_ms,
                d.discards,
                0,
                d.sectors_discarded,
                0,
                d.flushes,
                0,
            ];
            let text: Vec<String> = v.iter().map(|n| format!("{n:>8}")).collect();
            Ok((text.join(" ") + "\n").into_bytes())
        }
        "procs" => {
            let mut out = String::new();
            for pid in view.pids() {
                if view.task(pid).is_some_and(|t| {
                    let at = if t.cgroup.is_empty() {
                        "/"
                    } else {
                        t.cgroup.as_str()
                    };
                    at == arg && t.state != b'Z'
                }) {
                    out += &format!("{pid}\n");
                }
            }
            Ok(out.into_bytes())
        }
        "cgroup.events" => {
            let any = view
                .pids()
                .into_iter()
                .any(|p| view.task(p).is_some_and(|t| t.cgroup.starts_with(arg)));
            Ok(format!("populated {}\nfrozen 0\n", u8::from(any)).into_bytes())
        }
        "cgroup.memory" => {
            let sum: u64 = view
                .pids()
                .into_iter()
                .filter_map(|p| view.task(p))
                .filter(|t| t.cgroup.starts_with(arg) && !t.kthread)
                .map(|t| t.mem.rss_anon + t.mem.rss_file / 4)
                .sum();
            Ok(format!("{sum}\n").into_bytes())
        }
        "cgroup.pids" => {
            let sum: u32 = view
                .pids()
                .into_iter()
                .filter_map(|p| view.task(p))
                .filter(|t| t.cgroup.starts_with(arg))
                .map(|t| t.threads)
                .sum();
            Ok(format!("{sum}\n").into_bytes())
        }
        "cgroup.cpu" => {
            let (mut user, mut system) = (0, 0);
            for t in view
                .pids()
                .into_iter()
                .filter_map(|p| view.task(p))
                .filter(|t| t.cgroup.starts_with(arg))
            {
                user += t.utime / 1000;
                system += t.stime / 1000;
            }
            Ok(format!(
                "usage_usec {}\nuser_usec {user}\nsystem_usec {system}\n",
                user + system
            )
            .into_bytes())
        }
        _ => Err(Errno::EIO),
    }
}
