//! The trees of sysfs, cgroup2 and the other fixed file systems, from the facts of the machine.

mod cpu;
mod devices;
mod hardware;
mod kernel;

use super::facts::Facts;
use super::live;
use crate::proc::view::NicView;
use crate::vfs::tree::{Text, Tree};
use cpu::{cpus, node0};
use devices::{block, net};
use hardware::{dmi, pci};
use kernel::{group, kernel};
use std::sync::Arc;

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
