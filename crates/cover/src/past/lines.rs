//! What daemons and the kernel said of what happened: one list of lines, which the text logs and the journal both tell.
//!
//! The messages are those of OpenSSH 9.2, Linux-PAM 1.5, systemd 252, cron 3.0 and sudo 1.9.

use super::timeline::{LET_IN, Timeline};
use super::{Past, pids, unattended};
use crate::cover::Cover;
use crate::story::Story;
use turncoat_freeze::Freeze;

/// Who says a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// The kernel.
    Kernel,
    /// The manager, process 1.
    Systemd,
    /// A daemon or program, by its row of `PROGRAMS`.
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
/// `login`, which telnetd starts.
pub const LOGIN: &Program = &Program {
    name: "login",
    comm: "login",
    exe: "/usr/bin/login",
    unit: "inetd.service",
    facility: 4,
};
/// telnetd, and tcpd before it becomes telnetd.
pub const TELNETD: &Program = &Program {
    name: "telnetd",
    comm: "telnetd",
    exe: "/usr/sbin/telnetd",
    unit: "inetd.service",
    facility: 3,
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

impl Line {
    /// Its facility (syslog(3)).
    pub fn facility(&self) -> u8 {
        match self.says {
            Says::Kernel => 0,
            Says::Systemd => 3,
            Says::Program(_) if self.private => 10,
            Says::Program(p) => p.facility,
        }
    }
}

/// Collects lines in the past of one machine.
struct Teller<'a> {
    cover: &'a Cover,
    out: Vec<Line>,
}

impl Teller<'_> {
    /// A moment within the second: the same at each drawing, and behind what was said right before.
    fn put(&mut self, at: i64, says: Says, pid: u32, private: bool, text: String) {
        let within = self.cover.seed().derive(&format!("{at} {pid} {text}"));
        let drawn = u64::from(u32::from_le_bytes([within[0], within[1], within[2], 0]));
        let second = at.max(0) as u64;
        let before = self.out.last().filter(|l| l.at / 1_000_000 == second);
        let micros = before.map_or(drawn % 880_000, |l| {
            (l.at % 1_000_000 + 300 + drawn % 9_000).min(999_999)
        });
        self.out.push(Line {
            at: second * 1_000_000 + micros,
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
    let since = t.logins.iter().filter(|l| l.at > boot);
    since.map(|l| l.number).max().unwrap_or(0)
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
    let (sshd, login) = (Says::Program(SSHD), Says::Program(LOGIND));
    for l in &t.logins {
        let Some(u) = cover.users.get(l.user).filter(|_| l.until > from) else {
            continue;
        };
        let (pid, child) = (l.pid - LET_IN, l.pid);
        let print = prints.get(l.user).map_or("", String::as_str);
        let (name, uid, host, port, number) = (&u.name, u.uid, l.from, l.port, l.number);
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
    for l in t.logins.iter().filter(|l| l.until > from) {
        if let Some(shell) = l.root {
            let said = (shell.at, shell.until);
            tell_sudo(&mut tell, t, said, l.user, l.pts, "sudo-i", "/bin/bash");
        }
    }
    for r in runs.iter().filter(|r| r.start > from) {
        let Some(user) = r.by else { continue };
        let pts = t.session_of(r).map_or(0, |l| l.pts);
        let command = format!("/usr/bin/{}", r.command);
        let said = (r.start - 2, r.end + 1);
        tell_sudo(&mut tell, t, said, user, pts, "sudo", &command);
    }
    let mornings: Vec<(i64, i64)> = runs
        .iter()
        .filter(|r| r.command == unattended::COMMAND)
        .map(|r| (r.start, r.end))
        .collect();
    let alone = Alone {
        unattended: past.unattended,
        job: true,
    };
    tell.out.extend(alone.tell(cover, &mornings, from, now));
    let mut out = tell.out;
    let keep = |s: i64| s.max(0) as u64 * 1_000_000;
    out.retain(|l| l.at >= keep(from) && l.at < keep(now));
    out.sort_by_key(|l| l.at);
    out
}

/// What sudo and PAM say of a command that ran between two moments; `service` is PAM's name of the way in.
fn tell_sudo(
    tell: &mut Teller<'_>,
    t: &Timeline,
    (at, until): (i64, i64),
    user: usize,
    pts: u32,
    service: &str,
    command: &str,
) {
    let Some(u) = tell.cover.users.get(user) else {
        return;
    };
    let (name, uid) = (&u.name, u.uid);
    let boot = t.boots.iter().rev().find(|b| b.at < at).map_or(0, |b| b.at);
    // The shell that it is called from has the number behind the session's.
    let pid = pids::at(boot, at) + LET_IN + 6;
    let sudo = Says::Program(SUDO);
    for (when, text) in [
        (
            at,
            format!(
                "{name:>8} : TTY=pts/{pts} ; PWD={} ; USER=root ; COMMAND={command}",
                u.home
            ),
        ),
        (
            at,
            format!("pam_unix({service}:session): session opened for user root(uid=0) by {name}(uid={uid})"),
        ),
        (
            until,
            format!("pam_unix({service}:session): session closed for user root"),
        ),
    ] {
        tell.put(when, sudo, pid, true, text);
    }
}

/// A machine that nobody touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alone {
    /// It upgrades itself ([`unattended::on`]).
    pub unattended: bool,
    /// Its nightly job is as it was.
    pub job: bool,
}

/// What the idle machine logs between two moments: cron and timers. A pure function of the cover and the hours, so that a world that goes
/// on tells what a fresh one would.
pub fn idle(cover: &Cover, alone: Alone, from: i64, to: i64) -> Vec<Line> {
    // Nothing new comes from the archive after the cover was made.
    alone.tell(cover, &[], from, to)
}

impl Alone {
    /// The same with the runs of apt of the mornings, from and to.
    fn tell(self, cover: &Cover, mornings: &[(i64, i64)], from: i64, to: i64) -> Vec<Line> {
        let mut tell = Teller {
            cover,
            out: Vec::new(),
        };
        let story = Story::draw(cover);
        let zone = &cover.host.zone;
        let cron = Says::Program(CRON);
        let boots = super::timeline::starts(cover);
        let job = |tell: &mut Teller<'_>, at: i64, command: &str| {
            // A process for the job, and its child that becomes the shell.
            let boot = boots.iter().rev().find(|b| **b <= at).unwrap_or(&at);
            let pid = pids::at(*boot, at);
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
            job(
                &mut tell,
                hour + 17 * 60 + 1,
                "cd / && run-parts --report /etc/cron.hourly",
            );
            if local.hour == 6 {
                job(
                    &mut tell,
                    hour + 25 * 60 + 1,
                    "test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }",
                );
            }
            if self.job
                && let Some(at) = story.starts(cover, hour..hour + 3600).next()
            {
                job(&mut tell, at, &story.command);
            }
            for (unit, about, at_hour, minute) in TIMERS {
                if local.hour == *at_hour {
                    let at =
                        hour + i64::from(*minute) * 60 + cover.stream(&format!("{unit} {hour}")).range(0, 50);
                    service(&mut tell, unit, about, at, at + 1);
                }
            }
            hour += 3600;
        }
        apt_timers(&mut tell, self.unattended, mornings, from, to);
        let keep = |s: i64| s.max(0) as u64 * 1_000_000;
        let mut out = tell.out;
        out.retain(|l| l.at >= keep(from) && l.at < keep(to));
        out.sort_by_key(|l| l.at);
        out
    }
}

/// A service that ran from `at` to `end`.
fn service(tell: &mut Teller<'_>, unit: &str, about: &str, at: i64, end: i64) {
    for (when, text) in [
        (at, format!("Starting {unit} - {about}...")),
        (end, format!("{unit}: Deactivated successfully.")),
        (end, format!("Finished {unit} - {about}.")),
    ] {
        tell.put(when, Says::Systemd, 1, false, text);
    }
}

/// apt's two timers, each with its own delay.
fn apt_timers(tell: &mut Teller<'_>, unattended: bool, mornings: &[(i64, i64)], from: i64, to: i64) {
    // Where the settings ask for nothing it is over at once.
    let busy = if unattended { 9 } else { 1 };
    let (seed, zone) = (tell.cover.seed(), &tell.cover.host.zone);
    for day in from.div_euclid(86_400) - 2..=to.div_euclid(86_400) + 1 {
        for at in unattended::update_on(seed, zone, day) {
            let unit = ("apt-daily.service", "Daily apt download activities");
            service(tell, unit.0, unit.1, at, at + busy + 5 * i64::from(busy > 1));
        }
        let at = unattended::upgrade_on(seed, zone, day);
        let last = mornings
            .iter()
            .filter(|r| (at..at + unattended::LONGEST).contains(&r.0))
            .map(|r| r.1 + 5)
            .max();
        let unit = (
            "apt-daily-upgrade.service",
            "Daily apt upgrade and clean activities",
        );
        service(tell, unit.0, unit.1, at, last.unwrap_or(at + busy));
    }
}

/// When the timers of a machine start their services: plain data, so that whoever shows it needs no cover at hand.
#[derive(Clone, Debug, PartialEq, Eq, Freeze)]
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
        self.near(unit, before).filter(|t| *t < before).max()
    }

    /// When it is started next.
    pub fn runs(&self, unit: &str, after: i64) -> Option<i64> {
        self.near(unit, after).filter(|t| *t >= after).min()
    }

    /// When a service that a timer starts once a day is started on this local day, in days since the epoch.
    pub(super) fn on(&self, unit: &str, day: i64) -> Option<i64> {
        let (.., hour, _) = TIMERS.iter().find(|t| t.0 == unit)?;
        let wanted = day * 86_400 + i64::from(*hour) * 3_600;
        let near = wanted - self.zone.offset_at(wanted - self.zone.offset);
        (-1..=1).find_map(|n| self.at(unit, near - near.rem_euclid(3_600) + n * 3_600))
    }

    /// When it is started in the days around this second.
    fn near(&self, unit: &str, at: i64) -> impl Iterator<Item = i64> {
        let day = at.div_euclid(86_400);
        let hour = at - at.rem_euclid(3600);
        let days = (day - 3..=day + 3).flat_map(|day| match unit {
            "apt-daily.service" => unattended::update_on(&self.seed, &self.zone, day).to_vec(),
            "apt-daily-upgrade.service" => vec![unattended::upgrade_on(&self.seed, &self.zone, day)],
            _ => Vec::new(),
        });
        let hours = (-49..50).filter_map(|n| self.at(unit, hour + n * 3600));
        days.chain(hours).collect::<Vec<i64>>().into_iter()
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
    ("man-db.service", "Daily man-db regeneration", 0, 0),
    (
        "systemd-tmpfiles-clean.service",
        "Cleanup of Temporary Directories",
        13,
        4,
    ),
];
