//! Covers as whole machines: worlds of random installs, looked at by the audit.
//!
//! `TURNCOAT_AUDIT_SEEDS=N` sets how many installs of each role are looked at (5 in an ordinary run).

mod common;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use turncoat::audit;
use turncoat::config::Settings;
use turncoat_cover::audit::{Finding, Seen, run};
use turncoat_cover::keys::{Algo, HostKeys, KeyPair, generate};
use turncoat_cover::{Cover, Given, Seed, Wishes, role};
use turncoat_decoys::boot::{Outside, Snapshot};
use turncoat_event::Time;
use turncoat_kernel::image::Image;

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

fn image() -> Arc<Image> {
    static IMAGE: OnceLock<Arc<Image>> = OnceLock::new();
    IMAGE
        .get_or_init(|| {
            let shared = common::shared();
            let path = std::fs::canonicalize(shared.join("images/default")).unwrap();
            Image::open(std::fs::File::open(path).unwrap()).unwrap()
        })
        .clone()
}

/// The keys of a host. Finding an RSA key takes a second: all test hosts have one and the same.
fn keys(seed: &Seed, host: &str) -> HostKeys {
    static RSA: OnceLock<KeyPair> = OnceLock::new();
    let rsa = RSA.get_or_init(|| generate(&Seed([9; 32]), "host rsa", Algo::Rsa, "root@host").unwrap());
    let comment = format!("root@{host}");
    HostKeys {
        rsa: KeyPair {
            public: rsa.public.replace("root@host", &comment),
            ..rsa.clone()
        },
        ecdsa: generate(seed, "host ecdsa", Algo::Ecdsa, &comment).unwrap(),
        ed25519: generate(seed, "host ed25519", Algo::Ed25519, &comment).unwrap(),
    }
}

fn settings() -> Settings {
    turncoat::config::load(None, std::iter::empty()).unwrap()
}

fn cover(role: &str, n: u8) -> Cover {
    let mut seed = [n; 32];
    seed[0] = role.len() as u8;
    let seed = Seed(seed);
    let given = Given {
        made: now() / 1_000_000_000 - 3 * 86_400,
        receiving: Default::default(),
        wishes: Wishes {
            role: Some(role.into()),
            ..Wishes::default()
        },
        kernel: turncoat::machine::kernel(&image()),
    };
    let mut cover = Cover::new(seed, &given).unwrap();
    cover.host_keys = Some(keys(&seed, &cover.host.name));
    turncoat::process::decoys::set_services(&mut cover, &settings());
    cover
}

fn look(cover: &Cover) -> Seen {
    look_after(cover, 0)
}

/// What is seen so many days after now.
fn look_after(cover: &Cover, days: i64) -> Seen {
    let now = || now() + days * 86_400 * 1_000_000_000;
    let image = image();
    let entropy: turncoat_decoys::machine::Entropy = Arc::new(|b: &mut [u8]| b.fill(7));
    let mut snapshot = Snapshot::boot(cover, image.clone(), Outside::Timeout, Time(now()), &entropy).unwrap();
    let mut world = snapshot.world([3; 32]);
    let local = std::net::SocketAddr::from((cover.network.ipv4, cover.ssh_ports()[0]));
    let mut seen = audit::in_world(&mut world, "198.51.100.7:40123".parse().unwrap(), local, || {
        now() as u64
    })
    .unwrap();
    let config = turncoat::process::decoys::ssh_config(&settings(), cover, &image).unwrap();
    audit::outside(&mut seen, &config);
    seen
}

fn tell(findings: &[Finding]) -> String {
    findings
        .iter()
        .map(|f| format!("{}: {}; but {}\n", f.id, f.says, f.seen))
        .collect()
}

#[test]
fn installs_of_every_role_contradict_themselves_nowhere() {
    let seeds: u8 = std::env::var("TURNCOAT_AUDIT_SEEDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(5);
    let mut odd = String::new();
    for role in role::names() {
        for n in 0..seeds {
            let seen = look(&cover(role, n));
            if let Ok(to) = std::env::var("TURNCOAT_AUDIT_SAVE") {
                std::fs::write(
                    Path::new(&to).join(format!("{role}-{n}.txt")),
                    format!("{seen:#?}"),
                )
                .unwrap();
            }
            let found = run(&seen);
            if !found.is_empty() {
                odd += &format!("-- {role} {n}\n{}", tell(&found));
            }
        }
    }
    assert!(odd.is_empty(), "{odd}");
}

/// An image of its own grows old with the machine: nothing new comes from the archive, but logs turn and the clock goes on.
#[test]
fn installs_grow_old_without_contradiction() {
    let mut odd = String::new();
    for (role, days) in role::names().into_iter().zip([30, 200, 75]) {
        let seen = look_after(&cover(role, 3), days);
        let found = run(&seen);
        if !found.is_empty() {
            odd += &format!("-- {role} after {days} days\n{}", tell(&found));
        }
    }
    assert!(odd.is_empty(), "{odd}");
}

/// How a fault changes an answer.
#[derive(Clone, Copy)]
enum Edit {
    /// The whole answer is this.
    All(&'static str),
    /// The first of the one becomes the other.
    Swap(&'static str, &'static str),
    /// The first run of digits behind this text grows by as much.
    Grow(&'static str, i64),
    /// Lines with this text are gone.
    Drop(&'static str),
    /// One more line.
    Add(&'static str),
}

impl Edit {
    fn apply(self, text: &str) -> String {
        match self {
            Edit::All(t) => t.into(),
            Edit::Swap(a, b) => text.replacen(a, b, 1),
            Edit::Grow(behind, by) => {
                let from = text.find(behind).expect("what is changed") + behind.len();
                let start = from + text[from..].find(|c: char| c.is_ascii_digit()).expect("a number");
                let len = text[start..]
                    .find(|c: char| !c.is_ascii_digit())
                    .unwrap_or(text.len() - start);
                let n: i64 = text[start..start + len].parse().unwrap();
                format!("{}{}{}", &text[..start], (n + by).max(0), &text[start + len..])
            }
            Edit::Drop(with) => text
                .lines()
                .filter(|l| !l.contains(with))
                .map(|l| format!("{l}\n"))
                .collect(),
            Edit::Add(line) => format!("{text}{line}\n"),
        }
    }
}

use Edit::{Add, All, Drop, Grow, Swap};

/// One source says something else: the check that must name it, the answer, and what becomes of it.
const FAULTS: &[(&str, &str, Edit)] = &[
    ("host-name-file", "hostfile", All("svr04\n")),
    ("host-name-uname", "uname.n", All("localhost\n")),
    ("host-name-kernel", "sysctl.hostname", All("(none)\n")),
    ("host-name-hosts", "hosts", Swap("127.0.1.1", "127.0.1.2")),
    ("host-name-mail", "mailname", All("debian\n")),
    ("host-name-keys", "sshd.keys", Swap("root@", "root@build-")),
    (
        "host-name-journal",
        "journal",
        Add("1790000000.000000 otherhost sshd[9]: x"),
    ),
    ("machine-id", "machine-id", All("uninitialized\n")),
    (
        "boot-id",
        "boot-id",
        All("00000000-0000-0000-0000-000000000000\n"),
    ),
    (
        "release",
        "os-release",
        Swap("VERSION_ID=\"12\"", "VERSION_ID=\"11\""),
    ),
    ("release-package", "debian_version", Grow(".", 1)),
    ("release-issue", "issue", All("Debian GNU/Linux 10\n")),
    ("locale", "locale", Swap("LANG=", "LANG=xx_")),
    ("zone", "localtime", All("/usr/share/zoneinfo/Antarctica/Troll\n")),
    ("zone-clock", "date.z", All("+0000\n+0545\n")),
    ("kernel-release", "osrelease", All("5.10.0-1-amd64\n")),
    (
        "kernel-version-release",
        "proc.version",
        Swap("Linux version 6.1", "Linux version 5.1"),
    ),
    ("kernel-version-build", "uname", Swap("#1 ", "#2 ")),
    ("kernel-log", "dmesg", Swap("Linux version 6", "Linux version 5")),
    ("kernel-image", "cmdline", Swap("vmlinuz-6", "vmlinuz-5")),
    ("kernel-log-command", "dmesg", Swap(" ro quiet", " ro")),
    ("kernel-loaded", "lsmod", Drop("ext4")),
    ("kernel-boot", "boot", Swap("vmlinuz-6", "vmlinuz-5")),
    ("kernel-disk", "boot", Swap("initrd.img-6", "initrd.img-5")),
    ("kernel-modules", "modules.dir", All("5.10.0-1-amd64\n")),
    (
        "kernel-package",
        "dpkg",
        Swap("linux-image-6.1.0", "linux-image-5.1.0"),
    ),
    (
        "kernel-modinfo",
        "modinfo",
        Swap("name:           jbd2", "name:           reiserfs"),
    ),
    ("kernel-users", "lsmod", Drop("jbd2")),
    ("cpu-count", "cpuinfo", Add("processor\t: 99")),
    ("cpu-count-lscpu", "lscpu", Grow("CPU(s):", 4)),
    ("cpu-count-sys", "cpu.online", All("0-63\n")),
    ("cpu-count-libc", "getconf", All("64\n")),
    ("cpu-count-stat", "proc.stat", Drop("cpu0")),
    ("cpu-count-interrupts", "interrupts", Swap("CPU0", "CPU0 CPU77")),
    ("cpu-count-log", "dmesg", Grow("1 node, ", 1)),
    (
        "cpu-name-lscpu",
        "lscpu",
        Swap("Model name:", "Model name: Intel(R) Core(TM)2 Duo CPU E8200 ;"),
    ),
    (
        "cpu-name-cpuid",
        "cpuinfo",
        Swap("model name\t: ", "model name\t: x"),
    ),
    (
        "cpu-name-log",
        "dmesg",
        Swap("smpboot: CPU0: ", "smpboot: CPU0: x"),
    ),
    (
        "cpu-vendor-cpuid",
        "cpuinfo",
        Swap("vendor_id\t: ", "vendor_id\t: x"),
    ),
    ("cpu-model-cpuid", "cpuinfo", Grow("cpu family", 1)),
    ("cpu-flags-cpuid", "cpuinfo", Swap(" popcnt", "")),
    ("virtual", "virt", All("lxc\n")),
    ("virtual-flag", "lscpu", Drop("Hypervisor vendor")),
    ("virtual-devices", "lspci", All("00:00.0 0600: 8086:1237\n")),
    ("pci", "pci.sys", Drop("0000:00:00.0")),
    ("firmware-log", "dmi", Swap("bios_date=", "bios_date=11")),
    (
        "firmware-tables",
        "dmidecode",
        Swap("Manufacturer: ", "Manufacturer: x"),
    ),
    ("memory-free", "free", Grow("Mem:", 4)),
    ("memory-modules", "dmidecode", Swap("\tSize: ", "\tSize: 9")),
    ("memory-log", "dmesg", Grow("K/", 99_000_000)),
    ("memory-pages", "meminfo", Grow("MemFree:", 1)),
    ("memory-sum", "meminfo", Grow("Buffers:", 99_000_000)),
    ("memory-dirmap", "meminfo", Grow("DirectMap2M:", 99_000_000)),
    ("disk-sizes", "lsblk", Grow("a ", 1_048_576)),
    ("disk-root", "df", Swap("/dev/", "/dev/x")),
    ("disk-root-mount", "lsblk", Swap(" part /", " part")),
    (
        "disk-root-fits",
        "df",
        Swap("/dev/", "/dev/x 999999999999 5 5 1% /\n/dev/"),
    ),
    ("disk-uuid", "cmdline", Swap("root=UUID=", "root=UUID=0")),
    (
        "disk-uuid-device",
        "blkid",
        All("lrwxrwxrwx 1 root root 10 Nov 1 1:1 x -> ../../sdz9\n"),
    ),
    ("disk-log", "dmesg", Swap(" 512-byte", "0 512-byte")),
    (
        "disk-counters",
        "diskstats",
        Add("   8  16 sdb 1 0 0 0 0 0 0 0 0 0 0"),
    ),
    (
        "disk-made",
        "birth",
        All("1700000000 1700000000\n1600000000 1600000000\n"),
    ),
    ("swap-size", "free", Grow("Swap:", 8)),
    ("swap-used", "free", Swap("Swap:", "Swap: 9 999999 9\nx")),
    ("swap-device", "swaps", Swap("5 ", "1 ")),
    (
        "people-homes",
        "homes",
        Add("drwx------ 3 1099 1099 4096 Aug 24 01:07 phil"),
    ),
    ("people-shadow", "shadow", Add("richard:!:1:0:99999:7:::")),
    ("people-groups", "passwd", Add("x:x:1:77777:x:/:/bin/sh")),
    ("people-members", "group", Add("x:x:9999:phil")),
    ("people-subuid", "subuid", Add("phil:1:1")),
    ("people-getent", "getent", Add("phil:x:1:1::/:/bin/sh")),
    (
        "people-last",
        "last",
        Add("phil     pts/0        192.0.2.1   Mon Nov 23 11:34:24 2026 - Mon Nov 23 12:11:19 2026  (00:36)"),
    ),
    ("people-lastlog", "lastlog", All("Username\n")),
    (
        "people-failed",
        "lastb",
        Add("admin    ssh:notty    192.0.2.1 Tue Nov 17 10:27:04 2026"),
    ),
    (
        "past-units",
        "units.boot",
        All("Queued start job for default target graphical.target.\n"),
    ),
    (
        "devices-log",
        "devices.behind",
        All("eth0 virtio9\nsda 9:0:0:0\n"),
    ),
    ("past-lists", "dpkg.lists", Grow("", 4_000)),
    ("past-inodes", "inodes", Add("1 2 3 3.000000000 /etc/x")),
    ("past-pids", "loadavg", All("0.00 0.00 0.00 1/74 300\n")),
    ("past-pids", "proc.stat", Grow("processes", 5_000)),
    ("people-history", "histories", Grow("", 3_600)),
    ("people-history-young", "histories", Grow("", -700 * 86_400)),
    (
        "people-history-root",
        "histories",
        Add("1500000000 1500000000 9 /root/.bash_history"),
    ),
    ("people-history-apt", "histories.apt", All("\n")),
    ("people-keys", "keys", All("/home/x no key\n")),
    (
        "people-journal",
        "journal.login",
        Add("1.0 h sshd[1]: Accepted publickey for x from 192.0.2.1 port 1 ssh2: ED25519 SHA256:x"),
    ),
    (
        "net-gateway",
        "route",
        Swap("default via ", "default via 203.0.113.1 dev x via "),
    ),
    ("net-route", "route", Swap("scope link src ", "scope link src 9")),
    (
        "net-interfaces",
        "interfaces",
        Swap("allow-hotplug ", "allow-hotplug x"),
    ),
    ("net-lease", "interfaces", Swap("inet dhcp", "inet static")),
    ("net-hardware", "nic", All("00:00:00:00:00:00\n")),
    (
        "net-hardware-link-local",
        "addr",
        Swap("inet6 fe80", "inet6 fe81"),
    ),
    (
        "net-names",
        "resolv",
        All("search elsewhere.example\nnameserver 192.0.2.1\n"),
    ),
    (
        "net-neighbours",
        "neigh",
        Add("203.0.113.9 dev x lladdr 00:00:00:00:00:01 STALE"),
    ),
    ("net-counters", "net.dev", All("nothing\n")),
    (
        "net-address",
        "env",
        Swap(
            "SSH_CONNECTION=198.51.100.7 40123 ",
            "SSH_CONNECTION=198.51.100.7 40123 203.0.113.5 22\nX=",
        ),
    ),
    ("net-connection", "conns", All("\n")),
    ("ssh-version", "ssh.v", Swap("OpenSSH_9", "OpenSSH_6")),
    ("ssh-package", "outside.banner", Swap("Debian-2", "Debian-1")),
    (
        "ssh-client-package",
        "dpkg",
        Swap("openssh-client 1:9", "openssh-client 1:8"),
    ),
    ("ssh-keys", "outside.keys", Swap("AAAA", "AAAB")),
    (
        "ssh-methods",
        "outside.auth",
        All("publickey,password,keyboard-interactive"),
    ),
    (
        "ssh-root",
        "sshd.t",
        Swap("permitrootlogin ", "permitrootlogin no-"),
    ),
    ("ssh-port", "sshd.t", Swap("port 22", "port 2222")),
    ("ssh-listens", "listen", All("\n")),
    ("ssh-unit", "sshd.unit", Grow("MainPID=", 7)),
    ("init-state", "init.state", Swap("running", "degraded")),
    (
        "ssh-closed",
        "listen",
        Add("LISTEN 0 128 0.0.0.0:3306 0.0.0.0:* users:((\"mysqld\",pid=1,fd=3))"),
    ),
    ("ssh-session", "ps", Drop("sshd: root@")),
    ("ssh-ids", "id", All("uid=1000(x)\n")),
    (
        "ssh-config",
        "sshd.config",
        Swap("PasswordAuthentication yes", "PasswordAuthentication no"),
    ),
    ("time-boot", "proc.stat", Grow("btime", 3600)),
    ("time-since", "uptime.s", All("2024-01-01 00:00:00\n")),
    (
        "time-who",
        "who.b",
        All("         system boot  2024-01-01 00:00\n"),
    ),
    ("time-last", "last.x", Drop("still running")),
    ("time-init", "ps", Grow("root", 9_000)),
    ("time-moves", "uptime.2", All("1.00 1.00\n")),
    ("time-idle", "uptime", Swap(" ", " 9")),
    ("time-cpu", "proc.stat", Grow("cpu ", 999_999_999)),
    ("time-cpu-each", "proc.stat", Grow("cpu0", 999_999)),
    ("time-rises", "proc.stat.2", Swap("ctxt ", "ctxt 1\nx ")),
    ("time-interrupts", "proc.stat", Grow("intr", 999_999_999)),
    ("time-load", "loadavg", All("9.99 9.99 9.99 1/9 5\n")),
    ("time-load-moves", "loadavg", All("0.00 0.00 0.00 1/9 5\n")),
    (
        "time-processes-made",
        "loadavg",
        All("0.00 0.01 0.00 1/9 4000000\n"),
    ),
    ("time-future", "future", Add("/etc/x")),
    ("time-before", "early", Add("/home/x/old")),
    (
        "time-made",
        "birth",
        All("1700000000 1600000000\n1700000000 1700000000\n"),
    ),
    ("past-dpkg", "dpkg", Swap("tzdata 2", "tzdata 1")),
    ("past-apt", "apt.history", Add("Requested-By: phil (1000)")),
    (
        "past-apt-last",
        "apt.history",
        Add("\nStart-Date: 2029-01-01  00:00:00\nCommandline: x\nUpgrade: ghost:amd64 (1, 2)"),
    ),
    ("past-packages", "dpkg", Add("x 1 deinstall ok config-files")),
    (
        "past-cron",
        "cron.job",
        Add("ls: cannot access '/x': No such file or directory"),
    ),
    (
        "past-unattended",
        "unattended",
        Add("2026-01-01 06:00:00,000 INFO Packages that will be upgraded: ghost"),
    ),
    (
        "past-unattended-journal",
        "unattended",
        Add("2096-01-01 06:00:00,000 INFO Starting unattended upgrades script"),
    ),
    ("past-backups", "backups.same", Drop("dpkg.status")),
    ("past-backups-days", "backups", Drop("dpkg.status.0")),
    (
        "past-backups-versions",
        "backups.versions",
        Swap("tzdata 2", "tzdata 1"),
    ),
    ("past-automatic", "extended", Add("Package: ghost")),
    ("past-status-old", "dpkg.status", Grow("", 99_999)),
    ("past-unattended-stamps", "unattended.stamps", Grow("", 99_999)),
    ("past-job", "job.log", All("2026-01-01 00:00:00 start\n")),
    (
        "past-dumps",
        "job.dumps",
        Add("4000000000 9 /srv/x/x-2096-10-02.sql"),
    ),
    ("past-dumps-names", "job.dumps", Swap(".sql", "1.sql")),
    (
        "past-journal",
        "journal.boots",
        All("0 00000000000000000000000000000000 x\n"),
    ),
    ("past-journal-time", "journal", Add("4000000000.000000 h x[1]: x")),
    ("past-journal-login", "journal.login", Drop("40123")),
];

/// A fault that is not named would be one that an intruder sees and we do not.
#[test]
fn the_audit_names_each_fault() {
    let sound = look(&cover("backup", 2));
    let before: Vec<&str> = run(&sound).iter().map(|f| f.id).collect();
    let mut missed = Vec::new();
    for (id, probe, edit) in FAULTS {
        let mut seen = sound.clone();
        let answer = seen.get(probe).unwrap_or_else(|e| panic!("{id}: {e}")).to_owned();
        let changed = edit.apply(&answer);
        if answer == changed {
            missed.push(format!("{id} (the fault changes nothing)"));
            continue;
        }
        seen.set(probe, changed);
        if before.contains(id) || !run(&seen).iter().any(|f| f.id == *id) {
            missed.push((*id).to_owned());
        }
    }
    assert!(missed.is_empty(), "not named: {missed:?}");
    let all: std::collections::BTreeSet<&str> = FAULTS.iter().map(|f| f.0).collect();
    assert!(all.len() >= 60 && turncoat_cover::audit::count() >= 60);
}

/// Runs one command as root; what it said, and the facts of it.
fn ran(world: &mut turncoat_kernel::World, command: &str) -> (String, Vec<turncoat_kernel::Stamped>) {
    ran_by(world, command, None)
}

/// The same with the number of the sshd that serves the connection.
fn ran_by(
    world: &mut turncoat_kernel::World,
    command: &str,
    sshd: Option<u32>,
) -> (String, Vec<turncoat_kernel::Stamped>) {
    use turncoat_kernel::Out;
    let conn = world
        .open(turncoat_kernel::Open {
            user: b"root".to_vec(),
            account: None,
            env: Vec::new(),
            term: None,
            command: Some(command.into()),
            peer: "198.51.100.7:40124".parse().unwrap(),
            local: "192.0.2.1:22".parse().unwrap(),
            greet: false,
            method: "password".into(),
            sshd,
        })
        .unwrap();
    let (mut said, mut all) = (Vec::new(), Vec::new());
    for _ in 0..5_000 {
        world.run(1_000_000, now() as u64);
        let (out, facts) = world.drain();
        all.extend(facts);
        for o in out.into_iter().filter(|o| o.conn == conn) {
            match o.out {
                Out::Data { bytes, .. } => said.extend(bytes),
                Out::Close => return (String::from_utf8_lossy(&said).into_owned(), all),
                _ => {}
            }
        }
    }
    panic!("{command} does not end");
}

#[test]
fn whoever_gets_a_bait_into_his_hands_is_told_of() {
    let cover = cover("backup", 1);
    let entropy: turncoat_decoys::machine::Entropy = Arc::new(|b: &mut [u8]| b.fill(7));
    let mut snapshot = Snapshot::boot(&cover, image(), Outside::Timeout, Time(now()), &entropy).unwrap();
    let bait = cover
        .baits()
        .into_iter()
        .find(|b| b.kind == "settings of the nightly job")
        .unwrap();
    let read = |world: &mut turncoat_kernel::World, command: &str| -> Vec<(String, String, String)> {
        ran(world, command)
            .1
            .into_iter()
            .filter_map(|f| match f.fact {
                turncoat_kernel::Fact::Bait { id, path } => Some((
                    String::from_utf8_lossy(&f.comm).into_owned(),
                    id.to_string(),
                    String::from_utf8_lossy(&path).into_owned(),
                )),
                _ => None,
            })
            .collect()
    };
    let mut world = snapshot.world([4; 32]);
    let (id, path) = (bait.id.clone(), bait.path.clone());
    let told = |comm: &str, path: &str| vec![(comm.to_string(), id.clone(), path.to_string())];
    assert!(read(&mut world, &format!("ls -l {path}; stat {path}")).is_empty());
    assert_eq!(
        read(&mut world, &format!("cat {path} {path} >/dev/null")),
        told("cat", &path)
    );
    assert_eq!(
        read(&mut world, &format!("cp {path} /tmp/copy")),
        told("cp", &path)
    );
    assert_eq!(
        read(
            &mut world,
            &format!(
                "python3 -c 'import mmap; f = open(\"{path}\", \"rb\"); mmap.mmap(f.fileno(), 0, access=1)[0]'"
            )
        ),
        told("python3", &path)
    );
    assert_eq!(
        read(&mut world, &format!("mv {path} /root/mine; base64 /root/mine")),
        told("base64", "/root/mine")
    );
    assert!(read(&mut world, "cat /etc/hostname").is_empty());
}

/// The dump of last night is a bait in whichever week a world begins.
#[test]
fn a_dump_is_a_bait_on_every_day() {
    let cover = cover("backup", 1);
    let entropy: turncoat_decoys::machine::Entropy = Arc::new(|b: &mut [u8]| b.fill(7));
    let first = cover.baits();
    let first = first.iter().find(|b| b.kind == "database dump").unwrap();
    let later = Time(now() + 40 * 86_400 * 1_000_000_000);
    let mut snapshot = Snapshot::boot(&cover, image(), Outside::Timeout, later, &entropy).unwrap();
    let mut world = snapshot.world([4; 32]);
    let dir = first.path.rsplit_once('/').unwrap().0;
    let (said, facts) = ran(
        &mut world,
        &format!("ls -t {dir}/*.sql; cat {dir}/*.sql | head -c 1"),
    );
    let baits = cover.baits_at(later.seconds());
    let bait = baits.iter().find(|b| b.id == first.id).unwrap();
    assert!(
        said.starts_with(&format!("{}\n", bait.path)) && !said.contains(&first.path),
        "{said}"
    );
    let read = facts
        .iter()
        .any(|f| matches!(&f.fact, turncoat_kernel::Fact::Bait { id, .. } if **id == *first.id));
    assert!(read, "{said}");
}

#[test]
fn what_programs_say_to_the_log_is_in_the_journal() {
    let cover = cover("bastion", 3);
    let entropy: turncoat_decoys::machine::Entropy = Arc::new(|b: &mut [u8]| b.fill(7));
    let mut snapshot = Snapshot::boot(&cover, image(), Outside::Timeout, Time(now()), &entropy).unwrap();
    let mut world = snapshot.world([5; 32]);
    let host = &cover.host.name;
    let told = ran(&mut world, "logger -i -t rotor -p auth.warning 'one two'; journalctl -q --no-pager -t rotor -o short; journalctl -q --no-pager -t rotor -o export | grep -a '^PRIORITY\\|^_UID\\|^SYSLOG_FAC\\|^_COMM'").0;
    assert!(
        told.contains(&format!(" {host} rotor[")) && told.contains("]: one two\n"),
        "{told}"
    );
    for field in ["PRIORITY=4", "SYSLOG_FACILITY=4", "_UID=0", "_COMM=logger"] {
        assert!(told.lines().any(|l| l == field), "{field}: {told}");
    }
    // su(1) logs by itself, through PAM.
    let user = &cover.users[0].name;
    let told = ran(
        &mut world,
        &format!("su {user} -c true; journalctl -q --no-pager -t su | tail -3"),
    )
    .0;
    assert!(
        told.contains(&format!(
            "pam_unix(su:session): session opened for user {user}(uid=1000) by (uid=0)"
        )),
        "{told}"
    );
    let told = ran(
        &mut world,
        &format!("su {user} -c 'logger -t plain of a user'; journalctl -q --no-pager -t plain -o cat"),
    )
    .0;
    assert_eq!(told, "of a user\n");
    let told = ran(
        &mut world,
        "ls -l /dev/log; lsmod 2>&1 | grep -c ERROR; kill -9 $(pidof systemd-journald); logger -s lost 2>&1",
    )
    .0;
    assert!(told.contains("dev-log") && told.contains("\n0\n"), "{told}");
}

/// What the machine refused, whoever asked, is in the log of each of its worlds, once, in order, under the same numbers.
#[test]
fn passwords_that_were_refused_are_in_the_logs() {
    use turncoat_cover::past::refused::{Asked, Refused, Try};
    use turncoat_decoys::worlds::Guest;
    let cover = cover("bastion", 4);
    let entropy: turncoat_decoys::machine::Entropy = Arc::new(|b: &mut [u8]| b.fill(7));
    // Four hours in which cron says something, too.
    let begun = now() - 4 * 3_600_000_000_000;
    let mut snapshot = Snapshot::boot(&cover, image(), Outside::Timeout, Time(begun), &entropy).unwrap();
    let micros = now() as u64 / 1_000;
    let base = turncoat_cover::past::pids::at(cover.host.booted, now() / 1_000_000_000);
    let tried = |from: &str, before: u64, user: &str, known| Refused {
        from: from.parse().unwrap(),
        by: if from.ends_with(":23") {
            Asked::Login
        } else {
            Asked::Sshd
        },
        pid: base + 400 - u32::try_from(before / 60).unwrap(),
        tries: vec![Try {
            at: micros - before * 1_000_000,
            user: user.into(),
            known,
        }],
        ended: (!from.ends_with(":40124")).then_some(micros - before * 1_000_000 + 400_000),
        how: Default::default(),
    };
    let all = [
        tried("192.0.2.99:40101", 12_000, "oracle", false),
        tried("198.51.100.7:40102", 5_000, "root", true),
        tried("203.0.113.5:23", 700, "root", true),
        tried("198.51.100.7:40124", 9, "root", true),
    ];
    let own = all[3].pid;
    let look = "journalctl -q --no-pager -n 60 -o short-unix; lastb -w | head -4";
    let mut told = Vec::new();
    for seed in [6, 7] {
        let mut guest = snapshot.guest([seed; 32]);
        // In two parts, the first of which comes again.
        guest.refused(&all[..2], Time(now() - 3_000_000_000_000));
        guest.refused(&all, Time(now()));
        guest.refused(&all, Time(now()));
        guest.run(1_000_000, Time(now()));
        told.push(ran_by(guest.world(), look, Some(own)).0);
    }
    let refused = |told: &str| -> Vec<String> {
        let lines = told.lines().filter(|l| {
            ["192.0.2.99", "198.51.100.7 port 4010", "203.0.113.5", "Failed"]
                .iter()
                .any(|w| l.contains(w))
        });
        lines.map(str::to_owned).collect()
    };
    assert_eq!(refused(&told[0]), refused(&told[1]));
    let told = &told[0];
    for line in [
        format!(
            "sshd[{}]: Failed password for invalid user oracle from 192.0.2.99 port 40101 ssh2",
            all[0].pid
        ),
        format!(
            "sshd[{}]: Connection closed by invalid user oracle 192.0.2.99 port 40101 [preauth]",
            all[0].pid
        ),
        format!(
            "login[{}]: FAILED LOGIN (1) on '/dev/pts/0' from '203.0.113.5' FOR 'root'",
            all[2].pid + 1
        ),
        format!("sshd[{own}]: Failed password for root from 198.51.100.7 port 40124 ssh2"),
        format!("sshd[{own}]: Accepted password for root from 198.51.100.7 port 40124 ssh2"),
    ] {
        assert_eq!(told.matches(&line).count(), 1, "{line}: {told}");
    }
    let times: Vec<f64> = told
        .lines()
        .filter(|l| l.contains("]: "))
        .filter_map(|l| l.split(' ').next()?.parse().ok())
        .collect();
    assert!(times.len() > 30 && times.is_sorted(), "{told}");
    // Cron goes on counting where the others are.
    let cron = told.lines().rfind(|l| l.contains(" CRON[")).unwrap();
    let pid: u32 = cron.split(['[', ']']).nth(1).unwrap().parse().unwrap();
    assert!(pid > base && pid < own + 1_000, "{cron}");
    let bad: Vec<&str> = told
        .lines()
        .filter(|l| !l.contains("]: ") && (l.contains("ssh:notty") || l.contains("pts/0 ")))
        .collect();
    assert!(
        bad.len() == 4 && bad[0].starts_with("root     ssh:notty"),
        "{told}"
    );
}

#[test]
fn a_cover_takes_less_than_ten_megabytes() {
    use turncoat_cover::Kind;
    for role in role::names() {
        let begun = std::time::Instant::now();
        let files = cover(role, 1).files_at(&turncoat_decoys::boot::Below(&image()), now() / 1_000_000_000);
        let bytes: usize = files
            .iter()
            .map(|f| match &f.kind {
                Kind::Regular(content) => content.bytes().len() + f.path.len(),
                _ => f.path.len(),
            })
            .sum();
        eprintln!(
            "{role}: {bytes} bytes in {} files, {:?}",
            files.len(),
            begun.elapsed()
        );
        assert!(bytes < 10_000_000, "{role}: {bytes}");
    }
}
