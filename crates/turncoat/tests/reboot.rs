//! A machine that its intruder reboots: it goes, stays away, comes up, and what he left to be run runs.

mod common;
#[path = "reboot/ends.rs"]
mod ends;
#[path = "reboot/nightly.rs"]
mod nightly;
#[path = "reboot/sockets.rs"]
mod sockets;
#[path = "reboot/systemctl.rs"]
mod systemctl;

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use common::ssh::directory;
use turncoat_cover::{Cover, Given, Seed};
use turncoat_decoys::boot::{Outside, Snapshot};
use turncoat_decoys::journal::{Ended, Journaled, Reader, Rerun};
use turncoat_decoys::machine::Entropy;
use turncoat_decoys::worlds::{Conn, Guest, Input, Open, Produced, Program, Terminal, Wants};
use turncoat_event::{Kind, Time};
use turncoat_kernel::image::Image;

const MADE: i64 = 1_780_000_000;
const SECOND: i64 = 1_000_000_000;

fn cover() -> Cover {
    let given = Given {
        made: MADE,
        receiving: Default::default(),
        wishes: Default::default(),
        kernel: None,
    };
    Cover::new(Seed([5; 32]), &given).unwrap()
}

fn snapshot() -> Snapshot {
    static DIR: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut dir = DIR.lock().unwrap();
    let dir = dir.get_or_insert_with(|| directory("reboot-image"));
    let image = Image::open(File::open(dir.join("images/default")).unwrap()).unwrap();
    let cover = cover();
    let entropy: Entropy = Arc::new(|b: &mut [u8]| b.fill(9));
    let booted = Time((MADE + 500) * SECOND);
    Snapshot::boot(&cover, image, Outside::Timeout, booted, &entropy).unwrap()
}

/// A world, its clock, and what it showed.
struct Live {
    world: Journaled,
    now: Time,
    shown: String,
    events: Vec<Kind>,
    down: bool,
    journal: Vec<u8>,
}

impl Live {
    fn new(snapshot: &mut Snapshot) -> Live {
        let entropy: Entropy = Arc::new(|b: &mut [u8]| b.fill(4));
        let (guest, birth) = snapshot.fresh(&entropy);
        Live {
            world: Journaled::new(guest, &birth, 1 << 30),
            now: Time((MADE + 600) * SECOND),
            shown: String::new(),
            events: Vec::new(),
            down: false,
            journal: Vec::new(),
        }
    }

    /// Runs until nothing is due before `until`, and sets the clock there.
    fn run_to(&mut self, until: Time) {
        for _ in 0..200_000 {
            let wants = self.world.run(self.now);
            let mut made = Vec::new();
            self.world.drain(&mut made);
            for p in made {
                match p {
                    Produced::Data { bytes, .. } => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                    Produced::Event { kind, .. } => self.events.push(*kind),
                    Produced::Down => self.down = true,
                    _ => {}
                }
            }
            self.journal.extend(self.world.take());
            match wants {
                Wants::Run => self.now = self.now.plus_nanos(1_000_000),
                // Readings of the clock are whole microseconds.
                Wants::Sleep(Some(due)) if due < until => self.now = self.now.max(due.plus_nanos(1_000)),
                Wants::Sleep(_) => {
                    self.now = self.now.max(until);
                    return;
                }
                Wants::Dead => panic!("the world died"),
            }
        }
        panic!("it never rests: {}", self.shown);
    }

    fn run_for(&mut self, seconds: i64) {
        let until = self.now.plus_nanos(seconds * SECOND);
        self.run_to(until);
    }

    fn open(&mut self, link: u64, program: Program, terminal: bool) -> Conn {
        let open = Open {
            link,
            user: b"root".to_vec(),
            program,
            terminal: terminal.then(|| Terminal {
                term: b"xterm".to_vec(),
                columns: 200,
                rows: 50,
                ..Terminal::default()
            }),
            env: Vec::new(),
            peer: format!("203.0.113.9:{}", 50_000 + link).parse().unwrap(),
            local: "192.0.2.10:22".parse().unwrap(),
            method: "password",
            sshd: None,
        };
        self.world.open(&open, None, 0).unwrap()
    }

    /// What a command says.
    fn ask(&mut self, command: &str) -> String {
        self.shown.clear();
        let link = self.now.0 as u64 % 9_973;
        let conn = self.open(link, Program::Command(command.as_bytes().to_vec()), false);
        self.run_for(5);
        self.world.input(conn, Input::Close);
        self.run_for(1);
        std::mem::take(&mut self.shown)
    }

    fn jobs(&self) -> Vec<(String, String)> {
        let one = |k: &Kind| match k {
            Kind::WorldJob(j) => Some((j.by.clone(), String::from_utf8_lossy(&j.command.0).into_owned())),
            _ => None,
        };
        self.events.iter().filter_map(one).collect()
    }
}

/// What the intruder leaves.
const LEFT: &str = r#"
mkdir -p /root/kept && echo mine > /root/kept/file && chmod 600 /root/kept/file
echo gone > /tmp/gone; echo gone > /run/gone; mkdir -p /tmp/d/e
printf '* * * * * date +\%%s >> /root/minutes\n@reboot echo cron > /root/by-cron\n' | crontab -
cat > /etc/systemd/system/evil.service <<U
[Service]
ExecStart=/bin/sh -c "id -u > /root/by-unit; sleep 100000"
[Install]
WantedBy=multi-user.target
U
mkdir -p /etc/systemd/system/multi-user.target.wants
ln -s /etc/systemd/system/evil.service /etc/systemd/system/multi-user.target.wants/
printf '#!/bin/sh\necho rc > /root/by-rc\n' > /etc/rc.local; chmod 755 /etc/rc.local
printf '#!/bin/sh\necho $1 > /root/by-init\n' > /etc/init.d/evil; chmod 755 /etc/init.d/evil
ln -s ../init.d/evil /etc/rc2.d/S01evil
crontab -l | wc -l
"#;

#[test]
fn a_reboot_by_the_intruder_is_one() {
    let mut snapshot = snapshot();
    let mut l = Live::new(&mut snapshot);
    l.run_for(1);
    let boot = l.ask("cat /proc/sys/kernel/random/boot_id; uptime -s");
    assert_eq!(l.ask(LEFT).trim(), "2");
    let before = l.ask("cut -d. -f1 /proc/uptime").trim().parse::<u64>().unwrap();

    // A job that he puts in fires when its minute comes.
    l.run_for(185);
    let minutes: Vec<i64> = l
        .ask("cat /root/minutes")
        .lines()
        .map(|m| m.parse().unwrap())
        .collect();
    assert!((3..=4).contains(&minutes.len()), "{minutes:?}");
    assert!(minutes.iter().all(|m| m % 60 < 2), "{minutes:?}");

    // He reboots from a terminal: everything is told to end, and the machine is gone.
    l.shown.clear();
    let shell = l.open(1, Program::Shell, true);
    l.run_for(2);
    l.world.input(shell, Input::Data(b"reboot\r".to_vec()));
    l.run_for(2);
    assert!(l.down, "{}", l.shown);
    let went = l.now;
    let down: Vec<_> = l
        .events
        .iter()
        .filter_map(|k| match k {
            Kind::WorldDown(d) => Some((d.how.clone(), d.in_order, d.away_seconds)),
            _ => None,
        })
        .collect();
    let [(how, true, away)] = &down[..] else {
        panic!("{down:?}")
    };
    assert_eq!(how, "reboot");
    assert!((20..=60).contains(away), "{away}");
    l.run_for(10);
    assert!(l.world.away().is_some());
    l.run_for(60);
    assert!(l.world.away().is_none());

    let after = l.ask("cat /proc/sys/kernel/random/boot_id; uptime -s");
    assert_ne!(boot.lines().next(), after.lines().next(), "another boot id");
    let up = l.ask("cut -d. -f1 /proc/uptime").trim().parse::<u64>().unwrap();
    assert!(up < 120 && before > up, "{before} {up}");
    assert!(l.now.seconds() - i64::try_from(up).unwrap() > went.seconds());

    assert!(l.ask("cat /proc/7/comm").starts_with("kworker/0:0-"));
    assert_eq!(
        l.ask("cat /root/kept/file; stat -c %a /root/kept/file"),
        "mine\n600\n"
    );
    assert_eq!(l.ask("ls -A /tmp; ls /run/gone 2>/dev/null"), "");
    assert_eq!(
        l.ask("cat /root/by-cron /root/by-unit /root/by-rc /root/by-init"),
        "cron\n0\nrc\nstart\n"
    );
    let by: Vec<String> = l.jobs().into_iter().map(|j| j.0).collect();
    for what in ["cron", "boot", "unit", "rc.local", "init.d"] {
        assert!(by.iter().any(|b| b == what), "{what}: {by:?}");
    }
    assert!(l.ask("ps ax").contains("sleep 100000"));
    let last = l.ask("last -x -F | head -8; last reboot | wc -l");
    assert!(
        last.contains("shutdown system down") && last.contains("reboot   system boot"),
        "{last}"
    );
    let log = l.ask("journalctl --list-boots | wc -l; journalctl -b --no-pager | head -400 | grep -c kernel; dmesg | head -1");
    assert!(log.contains("Linux version"), "{log}");
    assert!(log.lines().nth(1).is_some_and(|n| n.trim() != "0"), "{log}");
    // Sessions are counted from the boot on, terminals too.
    l.shown.clear();
    let shell = l.open(2, Program::Shell, true);
    l.run_for(2);
    l.world.input(shell, Input::Data(b"tty; who\r".to_vec()));
    l.run_for(2);
    assert!(l.shown.contains("/dev/pts/0"), "{}", l.shown);

    // The same once more from the journal, reboot and all.
    l.journal.extend(l.world.seal());
    let reader = Reader::new(&l.journal).unwrap();
    let guest = snapshot.guest(reader.birth().seed);
    let report = Rerun::new(reader, guest).run(&mut |_, _| {});
    assert_eq!(report.ended, Ended::Whole);
}

/// fs/proc/array.c: names of the kernel's threads are not cut at 15 bytes, and only those that idle are idle.
#[test]
fn threads_of_the_kernel_show_as_linux_shows_them() {
    let mut l = Live::new(&mut snapshot());
    l.run_for(1);
    let ps = l.ask("ps ax -o stat=,args=");
    let has = |line: &str| {
        ps.lines()
            .any(|l| l.split_whitespace().eq(line.split_whitespace()))
    };
    for line in [
        "S [kthreadd]",
        "I< [rcu_gp]",
        "I< [kworker/0:0H-events_highpri]",
        "I [rcu_tasks_trace_kthread]",
        "S [ksoftirqd/0]",
        "I [rcu_preempt]",
        "S [migration/0]",
        "S [kauditd]",
        "SN [khugepaged]",
        "I< [ext4-rsv-conversion]",
    ] {
        assert!(has(line), "{line}: {ps}");
    }
    let workers = l.ask("grep -l ^kworker/0: /proc/[0-9]*/comm | wc -l; awk '{print $2, $3, $9}' /proc/2/stat; pgrep -c kworker/u");
    assert_eq!(workers, "4\n(kthreadd) S 2129984\n4\n");
}

#[test]
fn a_disk_that_comes_back_looks_like_a_reboot() {
    let mut snapshot = snapshot();
    let mut l = Live::new(&mut snapshot);
    l.run_for(1);
    l.ask(LEFT);
    l.ask("useradd -m mallory; rm /etc/motd; chattr +i /root/kept/file; dd if=/dev/zero of=/root/sparse bs=1 count=1 seek=1M");
    let want = "cat /root/kept/file; lsattr /root/kept/file; grep mallory /etc/passwd; ls /etc/motd; stat -c '%s %b' /root/sparse; crontab -l";
    let told = l.ask(want);
    let mut first = snapshot.guest([1; 32]);
    assert!(first.disk().unwrap().len() < 64, "nothing is on it yet");
    let disk = l.world.disk().unwrap();
    assert!(disk.len() < 1 << 20, "{}", disk.len());

    let mut other = Live::new(&mut snapshot);
    other.now = l.now.plus_nanos(7_200 * SECOND);
    let now = other.now;
    other.world.restore(&disk, now).unwrap();
    other.run_for(1);
    assert_eq!(other.ask(want), told);
    let up: i64 = other.ask("cut -d. -f1 /proc/uptime").trim().parse().unwrap();
    assert!((100..1_600).contains(&up), "{up}");
    assert!(other.ask("last -x | head -3").contains("reboot"));
    assert_eq!(other.ask("cat /root/by-cron"), "cron\n");
    other.journal.extend(other.world.seal());
    let reader = Reader::new(&other.journal).unwrap();
    let guest = snapshot.guest(reader.birth().seed);
    let report = Rerun::new(reader, guest).run(&mut |_, _| {});
    assert_eq!(report.ended, Ended::Whole);
}
