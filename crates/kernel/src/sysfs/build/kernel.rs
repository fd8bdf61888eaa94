//! The kernel itself: modules, settings, clocks; and a group of cgroup2.

use super::live;
use crate::sysfs::facts::Facts;
use crate::vfs::tree::Tree;

pub(super) fn kernel(t: &mut Tree, f: &Facts) {
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
pub(super) fn group(t: &mut Tree, path: &str, root: bool) {
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
