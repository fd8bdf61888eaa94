//! Attributes that follow the state of the kernel. The name of a live attribute is `what:argument`.

use crate::proc::view::KernelView;
use crate::{Errno, KResult};

/// Statistics of an interface in the order of `NicView::rx` and `tx` (the order of /proc/net/dev).
pub(super) const RX: [&str; 8] =
    ["rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "rx_fifo_errors", "rx_frame_errors", "rx_compressed", "multicast"];
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

pub(super) fn text(view: &dyn KernelView, what: &str) -> KResult<Vec<u8>> {
    let (kind, arg) = what.split_once(':').unwrap_or((what, ""));
    match kind {
        "stat" => {
            let (nic, name) = arg.split_once('/').ok_or(Errno::EIO)?;
            let nic = view.nics().into_iter().find(|n| n.name == nic).ok_or(Errno::ENODEV)?;
            let at = |names: [&str; 8], values: [u64; 8]| names.iter().position(|n| *n == name).map(|i| values[i]);
            let n = at(RX, nic.rx).or(at(TX, nic.tx)).unwrap_or(0);
            Ok(format!("{n}\n").into_bytes())
        }
        "operstate" => {
            let nic = view.nics().into_iter().find(|n| n.name == arg).ok_or(Errno::ENODEV)?;
            Ok(match (nic.kind, nic.up) {
                (772, true) => "unknown\n",
                (_, true) => "up\n",
                _ => "down\n",
            }
            .into())
        }
        "nicflags" => {
            let nic = view.nics().into_iter().find(|n| n.name == arg).ok_or(Errno::ENODEV)?;
            // The bits RUNNING and LOWER_UP do not show here.
            Ok(format!("0x{:x}\n", nic.flags & !0x1_0040).into_bytes())
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
                d.reads, d.reads_merged, d.sectors_read, d.read_ms, d.writes, d.writes_merged, d.sectors_written, d.write_ms, 0,
                d.io_ms, d.weighted_ms, d.discards, 0, d.sectors_discarded, 0, d.flushes, 0,
            ];
            let text: Vec<String> = v.iter().map(|n| format!("{n:>8}")).collect();
            Ok((text.join(" ") + "\n").into_bytes())
        }
        "procs" => {
            let mut out = String::new();
            for pid in view.pids() {
                if view.task(pid).is_some_and(|t| t.cgroup == arg && t.state != b'Z') {
                    out += &format!("{pid}\n");
                }
            }
            Ok(out.into_bytes())
        }
        "cgroup.events" => {
            let any = view.pids().into_iter().any(|p| view.task(p).is_some_and(|t| t.cgroup.starts_with(arg)));
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
            let sum: u32 =
                view.pids().into_iter().filter_map(|p| view.task(p)).filter(|t| t.cgroup.starts_with(arg)).map(|t| t.threads).sum();
            Ok(format!("{sum}\n").into_bytes())
        }
        "cgroup.cpu" => {
            let (mut user, mut system) = (0, 0);
            for t in view.pids().into_iter().filter_map(|p| view.task(p)).filter(|t| t.cgroup.starts_with(arg)) {
                user += t.utime / 1000;
                system += t.stime / 1000;
            }
            Ok(format!("usage_usec {}\nuser_usec {user}\nsystem_usec {system}\n", user + system).into_bytes())
        }
        _ => Err(Errno::EIO),
    }
}
