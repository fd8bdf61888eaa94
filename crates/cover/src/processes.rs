//! What runs on the machine before anybody logs in: kernel threads and the daemons of a Debian 12 server.
//!
//! These are facts for the kernel's stand-in tasks: they show in `/proc`, can be signalled and are gone when killed.

use crate::seed::Stream;
use serde::Serialize;

/// One task that runs since boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Parent.
    pub ppid: u32,
    /// `comm`, at most 15 bytes unless a kernel worker.
    pub comm: String,
    /// Arguments; empty for kernel threads.
    pub argv: Vec<String>,
    /// Program file; empty for kernel threads.
    pub exe: String,
    /// User name it runs as.
    pub user: &'static str,
    /// Seconds after boot at which it started.
    pub started: u64,
    /// Resident memory in KiB, 0 for kernel threads.
    pub rss_kib: u64,
    /// Virtual memory in KiB.
    pub vsz_kib: u64,
    /// Threads.
    pub threads: u32,
    /// Nice value.
    pub nice: i8,
    /// Session leader.
    pub leader: bool,
    /// Controlling terminal (`tty1`), or empty.
    pub tty: &'static str,
    /// CPU time used, in milliseconds per hour of uptime.
    pub cpu_ms_per_hour: u64,
    /// systemd unit whose control group holds it (`ssh.service`), empty for kernel threads.
    pub unit: &'static str,
}

struct Daemon {
    comm: &'static str,
    argv: &'static [&'static str],
    exe: &'static str,
    user: &'static str,
    rss: u64,
    vsz: u64,
    threads: u32,
    tty: &'static str,
    started: u64,
    cpu: u64,
    unit: &'static str,
    leader: bool,
}

const DAEMONS: &[Daemon] = &[
    Daemon {
        comm: "systemd-journal",
        argv: &["/lib/systemd/systemd-journald"],
        exe: "/usr/lib/systemd/systemd-journald",
        user: "root",
        rss: 17_900,
        vsz: 49_600,
        threads: 1,
        tty: "",
        started: 1,
        cpu: 60,
        unit: "systemd-journald.service",
        leader: true,
    },
    Daemon {
        comm: "systemd-udevd",
        argv: &["/lib/systemd/systemd-udevd"],
        exe: "/usr/bin/udevadm",
        user: "root",
        rss: 6_500,
        vsz: 26_400,
        threads: 1,
        tty: "",
        started: 1,
        cpu: 8,
        unit: "systemd-udevd.service",
        leader: true,
    },
    Daemon {
        comm: "systemd-timesyn",
        argv: &["/lib/systemd/systemd-timesyncd"],
        exe: "/usr/lib/systemd/systemd-timesyncd",
        user: "systemd-timesync",
        rss: 6_700,
        vsz: 90_100,
        threads: 2,
        tty: "",
        started: 3,
        cpu: 12,
        unit: "systemd-timesyncd.service",
        leader: true,
    },
    Daemon {
        comm: "cron",
        argv: &["/usr/sbin/cron", "-f"],
        exe: "/usr/sbin/cron",
        user: "root",
        rss: 2_600,
        vsz: 6_612,
        threads: 1,
        tty: "",
        started: 4,
        cpu: 9,
        unit: "cron.service",
        leader: true,
    },
    Daemon {
        comm: "dbus-daemon",
        argv: &[
            "/usr/bin/dbus-daemon",
            "--system",
            "--address=systemd:",
            "--nofork",
            "--nopidfile",
            "--systemd-activation",
            "--syslog-only",
        ],
        exe: "/usr/bin/dbus-daemon",
        user: "messagebus",
        rss: 4_700,
        vsz: 9_128,
        threads: 1,
        tty: "",
        started: 4,
        cpu: 10,
        unit: "dbus.service",
        leader: true,
    },
    Daemon {
        comm: "rsyslogd",
        argv: &["/usr/sbin/rsyslogd", "-n", "-iNONE"],
        exe: "/usr/sbin/rsyslogd",
        user: "root",
        rss: 5_900,
        vsz: 221_800,
        threads: 4,
        tty: "",
        started: 4,
        cpu: 14,
        unit: "rsyslog.service",
        leader: true,
    },
    Daemon {
        comm: "systemd-logind",
        argv: &["/lib/systemd/systemd-logind"],
        exe: "/usr/lib/systemd/systemd-logind",
        user: "root",
        rss: 7_900,
        vsz: 16_900,
        threads: 1,
        tty: "",
        started: 4,
        cpu: 11,
        unit: "systemd-logind.service",
        leader: true,
    },
    Daemon {
        comm: "agetty",
        argv: &["/sbin/agetty", "-o", "-p -- \\u", "--noclear", "-", "linux"],
        exe: "/usr/sbin/agetty",
        user: "root",
        rss: 1_080,
        vsz: 5_872,
        threads: 1,
        tty: "tty1",
        started: 5,
        cpu: 0,
        unit: "getty@tty1.service",
        leader: true,
    },
    Daemon {
        comm: "sshd",
        argv: &["sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups"],
        exe: "/usr/sbin/sshd",
        user: "root",
        rss: 8_900,
        vsz: 15_432,
        threads: 1,
        tty: "",
        started: 5,
        cpu: 25,
        unit: "ssh.service",
        leader: true,
    },
    Daemon {
        comm: "unattended-upgr",
        argv: &[
            "/usr/bin/python3",
            "/usr/share/unattended-upgrades/unattended-upgrade-shutdown",
            "--wait-for-signal",
        ],
        exe: "/usr/bin/python3.11",
        user: "root",
        rss: 22_400,
        vsz: 107_136,
        threads: 2,
        tty: "",
        started: 5,
        cpu: 3,
        unit: "unattended-upgrades.service",
        leader: true,
    },
];

/// ifupdown's DHCP client on an interface; it starts right behind process `before`.
pub fn dhclient(interface: &str, before: u32) -> Process {
    let argv = format!(
        "dhclient -4 -v -i -pf /run/dhclient.{interface}.pid -lf /var/lib/dhcp/dhclient.{interface}.leases -I -df /var/lib/dhcp/dhclient6.{interface}.leases {interface}"
    );
    Process {
        pid: before + 3,
        ppid: 1,
        comm: "dhclient".into(),
        argv: argv.split(' ').map(str::to_owned).collect(),
        exe: "/usr/sbin/dhclient".into(),
        user: "root",
        started: 4,
        rss_kib: 3_604,
        vsz_kib: 5_872,
        threads: 4,
        nice: 0,
        leader: true,
        tty: "",
        cpu_ms_per_hour: 1,
        unit: "ifup@.service",
    }
}

/// Where openbsd-inetd has its program.
pub const INETD: &str = "/usr/sbin/inetd";

/// openbsd-inetd; it starts right behind process `before`, when the network is there.
pub fn inetd(before: u32) -> Process {
    Process {
        pid: before + 2,
        ppid: 1,
        comm: "inetd".into(),
        argv: vec![INETD.into()],
        exe: INETD.into(),
        user: "root",
        started: 6,
        rss_kib: 3_368,
        vsz_kib: 5_988,
        threads: 1,
        nice: 0,
        leader: true,
        tty: "",
        cpu_ms_per_hour: 1,
        unit: "inetd.service",
    }
}

/// Draws the processes. `cores` decides the per-processor kernel threads, `disk` names the journal thread; a daemon runs if
/// `installed` says that its program is in the image.
pub fn draw(
    s: &mut Stream,
    cores: u32,
    disk: &str,
    scsi: bool,
    installed: &dyn Fn(&str) -> bool,
) -> Vec<Process> {
    let mut out = Vec::new();
    let mut pid = 1u32;
    let user = |out: &mut Vec<Process>, pid: u32, d: &Daemon, s: &mut Stream, started: u64| {
        let jitter = |v: u64, s: &mut Stream| (v + v * s.below(13) / 100) / 4 * 4;
        out.push(Process {
            pid,
            ppid: u32::from(pid != 1),
            comm: d.comm.into(),
            argv: d.argv.iter().map(|a| (*a).to_string()).collect(),
            exe: d.exe.into(),
            user: d.user,
            started,
            rss_kib: jitter(d.rss, s),
            vsz_kib: d.vsz,
            threads: d.threads,
            nice: 0,
            leader: d.leader,
            tty: d.tty,
            cpu_ms_per_hour: d.cpu,
            unit: d.unit,
        });
    };
    let init = Daemon {
        comm: "systemd",
        argv: &["/sbin/init"],
        exe: "/usr/lib/systemd/systemd",
        user: "root",
        rss: 11_700,
        vsz: 100_800,
        threads: 1,
        tty: "",
        started: 0,
        cpu: 40,
        unit: "init.scope",
        leader: true,
    };
    user(&mut out, 1, &init, s, 0);
    let kthread = |out: &mut Vec<Process>, pid: &mut u32, step: u32, name: String, nice: i8, started: u64| {
        *pid += step;
        out.push(Process {
            pid: *pid,
            ppid: if *pid == 2 { 0 } else { 2 },
            comm: name,
            argv: vec![],
            exe: String::new(),
            user: "root",
            started,
            rss_kib: 0,
            vsz_kib: 0,
            threads: 1,
            nice,
            leader: false,
            tty: "",
            cpu_ms_per_hour: 0,
            unit: "",
        });
    };
    for (name, nice) in [
        ("kthreadd", 0),
        ("rcu_gp", -20),
        ("rcu_par_gp", -20),
        ("slub_flushwq", -20),
        ("netns", -20),
    ] {
        kthread(&mut out, &mut pid, 1, name.into(), nice, 0);
    }
    kthread(
        &mut out,
        &mut pid,
        2,
        "kworker/0:0H-events_highpri".into(),
        -20,
        0,
    );
    kthread(&mut out, &mut pid, 2, "mm_percpu_wq".into(), -20, 0);
    for name in [
        "rcu_tasks_kthread",
        "rcu_tasks_rude_kthread",
        "rcu_tasks_trace_kthread",
        "ksoftirqd/0",
        "rcu_preempt",
        "migration/0",
    ] {
        kthread(&mut out, &mut pid, 1, name.into(), 0, 0);
    }
    kthread(&mut out, &mut pid, 2, "cpuhp/0".into(), 0, 0);
    for c in 1..cores {
        for name in ["cpuhp", "migration", "ksoftirqd"] {
            kthread(&mut out, &mut pid, 1, format!("{name}/{c}"), 0, 0);
        }
        kthread(
            &mut out,
            &mut pid,
            2,
            format!("kworker/{c}:0H-events_highpri"),
            -20,
            0,
        );
    }
    pid += cores;
    for (name, nice) in [
        ("kdevtmpfs", 0),
        ("inet_frag_wq", -20),
        ("kauditd", 0),
        ("khungtaskd", 0),
        ("oom_reaper", 0),
        ("writeback", -20),
        ("kcompactd0", 0),
        ("ksmd", 5),
        ("khugepaged", 19),
        ("kintegrityd", -20),
        ("kblockd", -20),
        ("blkcg_punt_bio", -20),
        ("tpm_dev_wq", -20),
        ("edac-poller", -20),
        ("devfreq_wq", -20),
        ("kworker/0:1H-kblockd", -20),
        ("kswapd0", 0),
    ] {
        kthread(&mut out, &mut pid, 1, name.into(), nice, 0);
    }
    pid += 6;
    for (name, nice) in [
        ("kthrotld", -20),
        ("acpi_thermal_pm", -20),
        ("mld", -20),
        ("ipv6_addrconf", -20),
    ] {
        kthread(&mut out, &mut pid, 2, name.into(), nice, 0);
    }
    kthread(&mut out, &mut pid, 5, "kstrp".into(), -20, 0);
    kthread(&mut out, &mut pid, 5, "zswap-shrink".into(), -20, 0);
    kthread(
        &mut out,
        &mut pid,
        1,
        format!("kworker/u{}:0", cores * 2 + 1),
        -20,
        0,
    );
    pid += 40 + s.below(25) as u32;
    kthread(&mut out, &mut pid, 1, "ata_sff".into(), -20, 1);
    for i in 0..if scsi { 3 } else { 2 } {
        kthread(&mut out, &mut pid, 1, format!("scsi_eh_{i}"), 0, 1);
        kthread(&mut out, &mut pid, 1, format!("scsi_tmf_{i}"), -20, 1);
    }
    pid += 20 + s.below(20) as u32;
    kthread(&mut out, &mut pid, 1, format!("jbd2/{disk}1-8"), 0, 2);
    kthread(&mut out, &mut pid, 1, "ext4-rsv-conversion".into(), -20, 2);
    pid += 35 + s.below(20) as u32;
    for (i, d) in DAEMONS.iter().enumerate() {
        pid += match i {
            1 => 20 + s.below(12) as u32,
            2 => 120 + s.below(120) as u32,
            3 => 30 + s.below(40) as u32,
            8 => 18 + s.below(12) as u32,
            _ => 1 + s.below(3) as u32,
        };
        // An interpreter is nothing without its program.
        let program = d.argv.get(1).filter(|a| a.starts_with("/usr/share/"));
        if installed(d.exe) && program.is_none_or(|p| installed(p)) {
            user(&mut out, pid, d, s, d.started);
        }
    }
    out
}

/// A worker of the kernel that is there for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its number, if it is there since the boot.
    pub pid: Option<u32>,
    /// `kworker/0:1-events`.
    pub name: String,
    /// Seconds after boot at which it was made.
    pub started: u64,
}

/// Draws the workers of usual priority, whose queue names what they did last. The kernel ends those that idle and makes others, so on a
/// machine that is up for `up` seconds most are younger than it. `major` is the number of the disk that is written to.
pub fn workers(s: &mut Stream, cores: u32, major: u32, up: u64) -> Vec<Worker> {
    const QUEUES: [&str; 6] = [
        "events",
        "events",
        "events",
        "mm_percpu_wq",
        "cgroup_destroy",
        "ata_sff",
    ];
    let mut out = Vec::new();
    let mut worker = |pid: Option<u32>, name: String, age: u64| {
        let first = pid.filter(|_| age >= up);
        out.push(Worker {
            pid: first,
            name,
            // Booting makes the others as it goes.
            started: up
                .saturating_sub(age)
                .max(if first.is_some() { 0 } else { up.min(4) }),
        });
    };
    for c in 0..cores {
        for n in 0..2 {
            let queue = QUEUES[s.below(QUEUES.len() as u64) as usize];
            // The first one of the first processor is the first worker of all.
            let pid = (c == 0 && n == 0).then_some(7);
            worker(
                pid,
                format!("kworker/{c}:{n}-{queue}"),
                s.range(120, 21_600) as u64,
            );
        }
    }
    let unbound = 2 * cores;
    let flush = format!("flush-{major}:0");
    for (n, queue) in ["events_unbound", &flush, "events_unbound"].iter().enumerate() {
        let pid = (n == 0).then_some(9);
        let age = s.range(60, 5_400) as u64;
        worker(pid, format!("kworker/u{unbound}:{n}-{queue}"), age);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn pids_rise_and_parents_exist() {
        for i in 0..50u8 {
            let p = draw(
                &mut Seed([i; 32]).stream("p"),
                1 + u32::from(i % 8),
                "vda",
                false,
                &|_| true,
            );
            assert!(p.windows(2).all(|w| w[0].pid < w[1].pid));
            assert!(p.iter().all(|q| q.ppid == 0 || p.iter().any(|r| r.pid == q.ppid)));
            assert!(p.iter().any(|q| q.comm == "sshd"));
            for up in [20, 500_000] {
                let w = workers(&mut Seed([i; 32]).stream("w"), 2, 8, up);
                assert!(w.len() == 7 && w.iter().all(|w| w.started <= up));
                // The numbers of the first workers are free for them.
                let taken = |n: &u32| p.iter().any(|q| q.pid == *n);
                assert!(!w.iter().filter_map(|w| w.pid.as_ref()).any(taken));
                assert_eq!(
                    w.iter().filter(|w| w.pid.is_some()).count(),
                    if up == 20 { 2 } else { 0 }
                );
            }
        }
    }
}
