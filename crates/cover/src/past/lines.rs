//! What daemons and the kernel said of what happened: one list of lines, which the text logs and the journal both tell.
//!
//! The messages are those of OpenSSH 9.2, Linux-PAM 1.5, systemd 252, cron 3.0 and sudo 1.9.

use super::Past;
use super::timeline::Timeline;
use crate::cover::Cover;
use crate::story::Story;

/// Who says a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// The kernel.
    Kernel,
    /// The manager, process 1.
    Systemd,
    /// A daemon or program, by its row of [`PROGRAMS`].
    Program(&'static Program),
}

/// A program that logs.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    /// Its name in the log.
    pub name: &'static str,
    /// `comm`.
    pub comm: &'static str,
    /// Path.
    pub exe: &'static str,
    /// Unit.
    pub unit: &'static str,
    /// Syslog facility: 3 daemon, 9 cron, 10 authpriv (4 auth).
    pub facility: u8,
}

/// sshd.
pub const SSHD: &Program = &Program {
    name: "sshd",
    comm: "sshd",
    exe: "/usr/sbin/sshd",
    unit: "ssh.service",
    facility: 4,
};
/// logind.
pub const LOGIND: &Program = &Program {
    name: "systemd-logind",
    comm: "systemd-logind",
    exe: "/usr/lib/systemd/systemd-logind",
    unit: "systemd-logind.service",
    facility: 4,
};
/// A job of cron's.
pub const CRON: &Program = &Program {
    name: "CRON",
    comm: "cron",
    exe: "/usr/sbin/cron",
    unit: "cron.service",
    facility: 9,
};
/// sudo; its unit is the caller's session, which is not told.
pub const SUDO: &Program = &Program {
    name: "sudo",
    comm: "sudo",
    exe: "/usr/bin/sudo",
    unit: "user.slice",
    facility: 10,
};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Microseconds since the epoch.
    pub at: u64,
    /// Who.
    pub says: Says,
    /// Its process.
    pub pid: u32,
    /// Priority, 0 to 7.
    pub priority: u8,
    /// Is about logging in: facility authpriv even of a daemon.
    pub private: bool,
    /// What.
    pub text: String,
}

/// Collects lines in the past of one machine.
struct Teller<'a> {
    cover: &'a Cover,
    out: Vec<Line>,
}

impl Teller<'_> {
    /// A moment within the second: the same at each drawing.
    fn put(&mut self, at: i64, says: Says, pid: u32, private: bool, text: String) {
        let within = self.cover.seed().derive(&format!("{at} {pid} {text}"));
        let micros = u64::from(u32::from_le_bytes([within[0], within[1], within[2], 0]) % 900_000);
        self.out.push(Line {
            at: at.max(0) as u64 * 1_000_000 + micros,
            says,
            pid,
            priority: 6,
            private,
            text,
        });
    }
}

/// Number of the process that a daemon runs as.
fn daemon(cover: &Cover, comm: &str, else_: u32) -> u32 {
    let all = cover.processes(&|_| true);
    all.iter().find(|p| p.comm == comm).map_or(else_, |p| p.pid)
}

/// Sessions that logind had counted at the end of the timeline, since the boot that runs.
pub fn sessions(t: &Timeline) -> u32 {
    let boot = t.boots.last().map_or(0, |b| b.at);
    t.logins.iter().filter(|l| l.at > boot).count() as u32
}

/// All lines between two moments, in order.
pub fn draw(cover: &Cover, past: &Past, from: i64, now: i64) -> Vec<Line> {
    let (t, runs) = (&past.line, &past.runs);
    let mut tell = Teller {
        cover,
        out: Vec::new(),
    };
    let prints: Vec<String> = (0..cover.users.len()).map(|i| cover.login_print(i)).collect();
    let logind = daemon(cover, "systemd-logind", 600);
    let (sshd, login, sudo) = (Says::Program(SSHD), Says::Program(LOGIND), Says::Program(SUDO));
    let mut number = 0;
    let mut boot = 0;
    for l in &t.logins {
        let began = t.boots.iter().rev().find(|b| b.at < l.at).map_or(0, |b| b.at);
        number = if began == boot { number + 1 } else { 1 };
        boot = began;
        let Some(u) = cover.users.get(l.user).filter(|_| l.until > from) else {
            continue;
        };
        let (pid, child) = (l.pid - 12, l.pid);
        let print = prints.get(l.user).map_or("", String::as_str);
        let (name, uid, host, port) = (&u.name, u.uid, l.from, l.port);
        tell.put(
            l.at,
            sshd,
            pid,
            false,
            format!("Accepted publickey for {name} from {host} port {port} ssh2: ED25519 {print}"),
        );
        tell.put(
            l.at,
            sshd,
            pid,
            true,
            format!("pam_unix(sshd:session): session opened for user {name}(uid={uid}) by (uid=0)"),
        );
        tell.put(
            l.at,
            login,
            logind,
            false,
            format!("New session {number} of user {name}."),
        );
        tell.put(
            l.at,
            Says::Systemd,
            1,
            false,
            format!("Started session-{number}.scope - Session {number} of User {name}."),
        );
        tell.put(
            l.until,
            sshd,
            child,
            false,
            format!("Received disconnect from {host} port {port}:11: disconnected by user"),
        );
        tell.put(
            l.until,
            sshd,
            child,
            false,
            format!("Disconnected from user {name} {host} port {port}"),
        );
        tell.put(
            l.until,
            sshd,
            pid,
            true,
            format!("pam_unix(sshd:session): session closed for user {name}"),
        );
        tell.put(
            l.until,
            login,
            logind,
            false,
            format!("Session {number} logged out. Waiting for processes to exit."),
        );
        tell.put(
            l.until,
            login,
            logind,
            false,
            format!("Removed session {number}."),
        );
    }
    for f in t.failures.iter().filter(|f| f.at > from) {
        tell.put(f.at - 2, sshd, f.pid, true, format!("pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={}  user={}", f.from, f.user));
        tell.put(
            f.at,
            sshd,
            f.pid,
            false,
            format!(
                "Failed password for {} from {} port {} ssh2",
                f.user, f.from, f.port
            ),
        );
    }
    for r in runs.iter().filter(|r| r.start > from) {
        let Some(u) = r.by.and_then(|i| cover.users.get(i)) else {
            continue;
        };
        let pid = 1_200 + ((r.start - boot).rem_euclid(4_000_000) / 37) as u32;
        tell.put(
            r.start - 2,
            sudo,
            pid,
            true,
            format!(
                "{:>8} : TTY=pts/0 ; PWD={} ; USER=root ; COMMAND=/usr/bin/{}",
                u.name, u.home, r.command
            ),
        );
        tell.put(
            r.start - 2,
            sudo,
            pid,
            true,
            format!(
                "pam_unix(sudo:session): session opened for user root(uid=0) by {}(uid={})",
                u.name, u.uid
            ),
        );
        tell.put(
            r.end + 1,
            sudo,
            pid,
            true,
            "pam_unix(sudo:session): session closed for user root".into(),
        );
    }
    tell.out.extend(idle(cover, from, now));
    let mut out = tell.out;
    let keep = |s: i64| s.max(0) as u64 * 1_000_000;
    out.retain(|l| l.at >= keep(from) && l.at < keep(now));
    out.sort_by_key(|l| l.at);
    out
}

/// What the idle machine logs between two moments: cron and timers. A pure function of the cover and the hours, so that a world that goes
/// on tells what a fresh one would.
pub fn idle(cover: &Cover, from: i64, to: i64) -> Vec<Line> {
    let mut tell = Teller {
        cover,
        out: Vec::new(),
    };
    let story = Story::draw(cover);
    let zone = &cover.host.zone;
    let cron = Says::Program(CRON);
    let job = |tell: &mut Teller<'_>, at: i64, pid: u32, command: &str| {
        tell.put(
            at,
            cron,
            pid,
            true,
            "pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)".into(),
        );
        tell.put(at, cron, pid + 1, false, format!("(root) CMD ({command})"));
        tell.put(
            at + 1,
            cron,
            pid,
            true,
            "pam_unix(cron:session): session closed for user root".into(),
        );
    };
    let mut hour = from - from.rem_euclid(3600) - 3600;
    while hour < to {
        let local = zone.local(hour);
        // Process ids rise through a boot's life.
        let pid = 1_000 + ((hour - cover.host.booted).rem_euclid(4_000_000 * 37) / 37) as u32;
        job(
            &mut tell,
            hour + 17 * 60 + 1,
            pid,
            "cd / && run-parts --report /etc/cron.hourly",
        );
        if local.hour == 6 {
            job(
                &mut tell,
                hour + 25 * 60 + 1,
                pid + 40,
                "test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }",
            );
        }
        if local.hour == story.time.0 {
            job(
                &mut tell,
                hour + i64::from(story.time.1) * 60 + 1,
                pid + 60,
                &story.job_path,
            );
        }
        for (unit, about, at_hour, minute) in TIMERS {
            if local.hour == *at_hour {
                let at =
                    hour + i64::from(*minute) * 60 + cover.stream(&format!("{unit} {hour}")).range(0, 50);
                tell.put(
                    at,
                    Says::Systemd,
                    1,
                    false,
                    format!("Starting {unit} - {about}..."),
                );
                tell.put(
                    at + 1,
                    Says::Systemd,
                    1,
                    false,
                    format!("{unit}: Deactivated successfully."),
                );
                tell.put(
                    at + 1,
                    Says::Systemd,
                    1,
                    false,
                    format!("Finished {unit} - {about}."),
                );
            }
        }
        hour += 3600;
    }
    let keep = |s: i64| s.max(0) as u64 * 1_000_000;
    let mut out = tell.out;
    out.retain(|l| l.at >= keep(from) && l.at < keep(to));
    out.sort_by_key(|l| l.at);
    out
}

/// When the timers of a machine start their services: plain data, so that whoever shows it needs no cover at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timers {
    seed: crate::Seed,
    zone: crate::clock::Zone,
}

impl Timers {
    /// Those of `cover`.
    pub fn of(cover: &Cover) -> Timers {
        Timers {
            seed: *cover.seed(),
            zone: cover.host.zone,
        }
    }

    /// When a service was started last before this second since the epoch, if a timer of every server does it.
    pub fn ran(&self, unit: &str, before: i64) -> Option<i64> {
        let hour = before - before.rem_euclid(3600);
        (0..49)
            .filter_map(|n| self.at(unit, hour - n * 3600))
            .find(|t| *t < before)
    }

    /// When it is started next.
    pub fn runs(&self, unit: &str, after: i64) -> Option<i64> {
        let hour = after - after.rem_euclid(3600);
        (0..49)
            .filter_map(|n| self.at(unit, hour + n * 3600))
            .find(|t| *t >= after)
    }

    /// The second of this hour at which a service is started.
    fn at(&self, unit: &str, hour: i64) -> Option<i64> {
        let (.., at_hour, minute) = TIMERS.iter().find(|t| t.0 == unit)?;
        let jitter = self.seed.stream(&format!("{unit} {hour}")).range(0, 50);
        (self.zone.local(hour).hour == *at_hour).then(|| hour + i64::from(*minute) * 60 + jitter)
    }
}

/// Services of timers that every server has: unit, description, local hour and minute.
const TIMERS: &[(&str, &str, u32, u32)] = &[
    ("logrotate.service", "Rotate log files", 0, 0),
    (
        "dpkg-db-backup.service",
        "Daily dpkg database backup service",
        0,
        0,
    ),
    (
        "apt-daily-upgrade.service",
        "Daily apt upgrade and clean activities",
        6,
        31,
    ),
    ("apt-daily.service", "Daily apt download activities", 17, 12),
    ("man-db.service", "Daily man-db regeneration", 0, 0),
    (
        "systemd-tmpfiles-clean.service",
        "Cleanup of Temporary Directories",
        13,
        4,
    ),
];
