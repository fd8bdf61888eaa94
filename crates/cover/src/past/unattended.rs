//! What unattended-upgrades does each morning and what it writes of it: its log and dpkg's words (forms: unattended-upgrades 2.9).
//!
//! [`upgrades`](super::upgrades) decides what was upgraded when; here is when the timers fire, and the logs.

use super::rotate::{Log, MONTHLY, Rule};
use super::upgrades::Run;
use crate::clock::Zone;
use crate::cover::{Cover, Image};
use crate::files::File;
use crate::release::Release;
use crate::seed::Seed;
use std::collections::BTreeMap;

/// The command line of its runs, as apt's history has it.
pub const COMMAND: &str = "/usr/bin/unattended-upgrade";
/// Its setting, as the package makes it at its installation.
const SETTING: &str = "/etc/apt/apt.conf.d/20auto-upgrades";
/// A morning takes no longer, in seconds.
pub(super) const LONGEST: i64 = 900;
/// Packages that it cannot do without, beside those of every system.
const NEEDS: &[&str] = &[
    "unattended-upgrades",
    "ucf",
    "lsb-release",
    "distro-info-data",
    "iso-codes",
];

/// True for a package that was there before the first morning.
pub(super) fn needs(package: &str) -> bool {
    NEEDS.contains(&package) || package.starts_with("python")
}

/// True if an image has the program and it is turned on.
pub fn on(image: &dyn Image) -> bool {
    let set = image.read(SETTING).unwrap_or_default();
    let set = String::from_utf8_lossy(&set).into_owned();
    set.lines()
        .any(|l| l.trim() == "APT::Periodic::Unattended-Upgrade \"1\";")
        && image.has(COMMAND)
}

/// The local day of a moment, in days since the epoch.
fn day_of(cover: &Cover, at: i64) -> i64 {
    (at + cover.host.zone.offset_at(at)).div_euclid(86_400)
}

/// When a service that a timer starts at `hour` o'clock or at most `delay` seconds later is started on a local day.
fn fired(seed: &Seed, zone: &Zone, service: &str, day: i64, hour: i64, delay: i64) -> i64 {
    let wanted = day * 86_400 + hour * 3600;
    let late = seed.stream(&format!("{service} {day}")).range(0, delay);
    wanted - zone.offset_at(wanted - zone.offset) + late
}

/// When apt-daily-upgrade.timer fires on a local day: at 6:00, with at most an hour of delay.
pub fn upgrade_on(seed: &Seed, zone: &Zone, day: i64) -> i64 {
    fired(seed, zone, "apt-daily-upgrade", day, 6, 3_599)
}

/// When apt-daily.timer fires on a local day: at 6:00 and 18:00, each with at most twelve hours of delay. The evening's may come on
/// the next day.
pub fn update_on(seed: &Seed, zone: &Zone, day: i64) -> [i64; 2] {
    [6, 18].map(|hour| fired(seed, zone, &format!("apt-daily {hour}"), day, hour, 43_199))
}

/// Mornings between two moments at which the machine was up.
pub(super) fn mornings(cover: &Cover, from: i64, to: i64) -> Vec<i64> {
    (day_of(cover, from)..=day_of(cover, to))
        .map(|day| upgrade_on(cover.seed(), &cover.host.zone, day))
        .filter(|at| (from..to).contains(at))
        .collect()
}

/// One morning: when it began, and the runs of apt that it made.
struct Morning<'a> {
    at: i64,
    runs: Vec<&'a Run>,
}

/// Collects lines of the log with milliseconds that rise.
struct Writer<'a> {
    cover: &'a Cover,
    out: Vec<(i64, Vec<u8>)>,
    milli: i64,
}

impl Writer<'_> {
    fn line(&mut self, after: i64, text: &str) {
        self.milli += after;
        let c = self.cover.host.zone.local(self.milli / 1000);
        let text = format!("{} {},{:03} INFO {text}\n", c.date(), c.time(), self.milli % 1000);
        self.out.push((self.milli / 1000, text.into_bytes()));
    }

    /// What every call says first; returns when the packages are known.
    fn begin(&mut self, at: i64) {
        let mut s = self.cover.stream(&format!("unattended {at}"));
        self.milli = (at + 1) * 1000 + s.range(0, 2_900);
        self.line(0, "Checking if system is running on battery is skipped. Please install powermgmt-base package to check power status and skip installing updates when the system is running on battery.");
        self.line(s.range(2, 9), "Checking if connection is metered is skipped. Please install python3-gi package to detect metered connections and skip downloading updates.");
        self.line(s.range(1, 5), "Starting unattended upgrades script");
        let name = &Release::current().codename;
        let origins = format!(
            "Allowed origins are: origin=Debian,codename={name},label=Debian, origin=Debian,codename={name},label=Debian-Security, origin=Debian,codename={name}-security,label=Debian-Security"
        );
        self.line(1, &origins);
        self.line(0, "Initial blacklist: ");
        self.line(0, "Initial whitelist (not strict): ");
    }
}

/// What the service that waits for the machine to go down says when it starts, where python3-gi is not installed.
fn shutdown_log(cover: &Cover, boots: &[i64]) -> Vec<(i64, Vec<u8>)> {
    let mut out = Vec::new();
    for boot in boots {
        let mut s = cover.stream(&format!("unattended shutdown {boot}"));
        let at = boot + s.range(7, 10);
        let c = cover.host.zone.local(at);
        let milli = s.range(0, 990);
        for (n, text) in [
            "Unable to monitor PrepareForShutdown() signal, polling instead.",
            "To enable monitoring the PrepareForShutdown() signal instead of polling please install the python3-gi package",
        ]
        .into_iter()
        .enumerate()
        {
            let line = format!("{} {},{:03} WARNING - {text}\n", c.date(), c.time(), milli + n as i64);
            out.push((at, line.into_bytes()));
        }
    }
    out
}

/// What it writes: its own log, that of the service that waits for the end, and dpkg's words.
pub(super) fn logs() -> [Log; 3] {
    let rule = Rule {
        keep: 6,
        delay: false,
        ..MONTHLY
    };
    let dpkg = Rule {
        mode: 0o640,
        gid: 4,
        ..rule
    };
    let log = |name: &str, rule| {
        let path = format!("/var/log/unattended-upgrades/unattended-upgrades{name}.log");
        Log::new(&path, rule)
    };
    [log("", rule), log("-shutdown", rule), log("-dpkg", dpkg)]
}

/// Its mornings and calls of apt's other timer between two moments, as its log has them, and the stamps that both leave.
struct Days<'a> {
    mornings: Vec<Morning<'a>>,
    updates: Vec<i64>,
}

impl<'a> Days<'a> {
    fn between(cover: &Cover, runs: &'a [Run], from: i64, to: i64) -> Days<'a> {
        let mut mornings: Vec<Morning<'_>> = mornings(cover, from, to)
            .into_iter()
            .map(|at| Morning { at, runs: Vec::new() })
            .collect();
        for r in runs.iter().filter(|r| r.command == COMMAND) {
            if let Some(m) = mornings.iter_mut().rev().find(|m| m.at < r.start) {
                m.runs.push(r);
            }
        }
        Days {
            mornings,
            updates: downloads(cover, from, to),
        }
    }

    fn log(&self, cover: &Cover) -> Vec<(i64, Vec<u8>)> {
        let mut log = Writer {
            cover,
            out: Vec::new(),
            milli: 0,
        };
        let mut calls: Vec<(i64, Option<&Morning<'_>>)> =
            self.mornings.iter().map(|m| (m.at, Some(m))).collect();
        calls.extend(self.updates.iter().map(|at| (*at, None)));
        calls.sort_by_key(|c| c.0);
        for (at, morning) in calls {
            log.begin(at);
            if let Some(m) = morning {
                tell(&mut log, m);
            }
        }
        log.out
    }

    /// What apt.systemd.daily and the program touch when they are done, with the time.
    fn stamps(&self) -> Vec<(String, i64)> {
        let mut out = Vec::new();
        let mut stamp = |name: &str, at: i64| out.push((format!("/var/lib/apt/periodic/{name}"), at));
        for at in &self.updates {
            stamp("update-stamp", at - 2);
            stamp("download-upgradeable-stamp", at + 5);
        }
        for m in &self.mornings {
            let done = m.runs.last().map_or(m.at + 7, |r| r.end + 3);
            stamp("unattended-upgrades-stamp", done);
            stamp("upgrade-stamp", done + 1);
        }
        out
    }
}

/// A path, and when it was touched.
type Timed = (String, i64);

/// What it does on the days of a machine that lives: nothing new comes from the archive after the cover was made. Its log, and the stamps
/// that are touched, each with the time. What has begun is over [`LONGEST`] later: it is told then.
pub(super) fn lives(cover: &Cover, from: i64, to: i64) -> (Vec<(i64, Vec<u8>)>, Vec<Timed>) {
    let days = Days::between(cover, &[], from - LONGEST, to - LONGEST);
    (days.log(cover), days.stamps())
}

/// The logs and stamps at `now`. `term` gives what dpkg said in a run.
pub fn files(cover: &Cover, runs: &[Run], now: i64, term: &dyn Fn(&Run) -> String) -> Vec<File> {
    let days = Days::between(cover, runs, cover.host.installed + 3600, now - LONGEST);
    let ran = runs.iter().filter(|r| r.command == COMMAND);
    let dpkg: Vec<(i64, Vec<u8>)> = ran.map(|r| (r.end, term(r).into_bytes())).collect();
    let boots: Vec<i64> = super::timeline::starts(cover)
        .into_iter()
        .filter(|at| at + 60 < now)
        .collect();
    let mut out = Vec::new();
    let records = [days.log(cover), shutdown_log(cover, &boots), dpkg];
    for (log, records) in logs().iter().zip(&records) {
        out.extend(log.files(cover, records, now));
    }
    let last: BTreeMap<String, i64> = days.stamps().into_iter().collect();
    out.extend(last.iter().map(|(path, at)| File::text(path, 0o644, *at, "")));
    out
}

/// The first call of apt-daily.service on each local day: the lists are fetched once a day, and what will be upgraded with them.
fn downloads(cover: &Cover, from: i64, to: i64) -> Vec<i64> {
    let mut all: Vec<i64> = (day_of(cover, from) - 2..=day_of(cover, to))
        .flat_map(|day| update_on(cover.seed(), &cover.host.zone, day))
        .filter(|at| *at > cover.host.installed)
        .collect();
    all.sort_unstable();
    all.dedup_by_key(|at| day_of(cover, *at));
    all.retain(|at| (from..to).contains(at));
    // Fetching the lists takes a while.
    all.into_iter().map(|at| at + 8).collect()
}

fn tell(log: &mut Writer<'_>, m: &Morning<'_>) {
    let mut s = log.cover.stream(&format!("unattended told {}", m.at));
    let (Some(first), Some(last)) = (m.runs.first(), m.runs.last()) else {
        let text = "No packages found that can be upgraded unattended and no pending auto-removals";
        return log.line(s.range(900, 2_600), text);
    };
    let mut names: Vec<&str> = m
        .runs
        .iter()
        .flat_map(|r| &r.changes)
        .filter(|c| c.old.is_some())
        .map(|c| c.package.name.as_str())
        .collect();
    names.sort_unstable();
    log.milli = log.milli.max(first.start * 1000 - s.range(600, 1_500));
    log.line(0, &format!("Packages that will be upgraded: {}", names.join(" ")));
    log.line(
        s.range(0, 3),
        "Writing dpkg log to /var/log/unattended-upgrades/unattended-upgrades-dpkg.log",
    );
    log.milli = log.milli.max(last.end * 1000 + s.range(700, 1_900));
    log.line(0, "All upgrades installed");
}
