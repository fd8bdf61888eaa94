//! logrotate's schedule: which logs it turns, when, and which records lie in which file. Records are bytes with the time at which they
//! were written.

use super::chores::Has;
use super::lines::Timers;
use super::{binary, packages, text, unattended};
use crate::clock::Civil;
use crate::cover::Cover;
use crate::files::{Content, File, Kind};
use crate::story::Story;
use flate2::{Compression, GzBuilder};

/// How a log is rotated (logrotate.conf(5)).
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// `weekly` instead of `monthly`.
    pub weekly: bool,
    /// `rotate`: old files kept.
    pub keep: usize,
    /// `compress`.
    pub compress: bool,
    /// `delaycompress`: the newest old file stays plain.
    pub delay: bool,
    /// `notifempty`.
    pub skip_empty: bool,
    /// `minsize` in bytes.
    pub least: usize,
    /// Mode, owner and group of the file.
    pub mode: u32,
    /// Group.
    pub gid: u32,
}

/// `/etc/logrotate.d/dpkg` and its like.
pub const MONTHLY: Rule = Rule {
    weekly: false,
    keep: 12,
    compress: true,
    delay: true,
    skip_empty: true,
    least: 0,
    mode: 0o644,
    gid: 0,
};

/// A log that logrotate turns.
#[derive(Clone, Debug)]
pub struct Log {
    /// Its path; old files have a number behind it.
    pub path: String,
    /// How.
    pub rule: Rule,
}

impl Log {
    pub(super) fn new(path: &str, rule: Rule) -> Log {
        Log {
            path: path.into(),
            rule,
        }
    }

    /// Its files at `now`: `path`, `path.1`, `path.2.gz` …
    pub fn files(&self, cover: &Cover, records: &[(i64, Vec<u8>)], now: i64) -> Vec<File> {
        files(cover, &self.path, self.rule, records, now)
    }
}

/// The log of the machine's job.
pub fn of_job(story: &Story) -> Log {
    let rule = Rule {
        keep: 6,
        mode: 0o640,
        ..MONTHLY
    };
    Log::new(&story.log, rule)
}

/// All logs for which the machine has a rule, whether or not they are there.
pub fn logs(story: &Story) -> Vec<Log> {
    let mut all = packages::logs().to_vec();
    all.extend(binary::logs());
    all.extend(unattended::logs());
    all.extend(text::logs());
    all.push(of_job(story));
    all
}

/// When logrotate ran between two moments and was due to turn logs, oldest first: monthly ones on the first run of a month, weekly ones
/// on the first of a week.
pub fn moments(cover: &Cover, weekly: bool, from: i64, to: i64) -> Vec<i64> {
    let due = |day: i64| {
        let c = Civil::from_unix(day * 86_400);
        if weekly { c.weekday == 0 } else { c.day == 1 }
    };
    ran(cover, from.max(cover.host.installed + 86_400), to, due)
}

/// When logrotate ran between two moments.
pub fn runs(cover: &Cover, from: i64, to: i64) -> Vec<i64> {
    ran(cover, from.max(cover.host.installed), to, |_| true)
}

/// The same on some days: it runs once each night.
fn ran(cover: &Cover, from: i64, to: i64, on: impl Fn(i64) -> bool) -> Vec<i64> {
    let zone = &cover.host.zone;
    let timers = Timers::of(cover);
    let local = |t: i64| (t + zone.offset_at(t)).div_euclid(86_400);
    (local(from)..=local(to))
        .filter(|day| on(*day))
        // It takes a second until it comes to its logs.
        .filter_map(|day| Some(timers.on("logrotate.service", day)? + 1))
        .filter(|at| (from..to).contains(at))
        .collect()
}

/// What logrotate makes of an old file: `gzip` reads it from its standard input, so that it knows its time and no name.
pub fn gzip(at: i64, bytes: &[u8]) -> Vec<u8> {
    crate::files::gzip(GzBuilder::new(), Compression::new(6), at, bytes)
}

fn files(cover: &Cover, path: &str, rule: Rule, records: &[(i64, Vec<u8>)], now: i64) -> Vec<File> {
    // (moment of rotation, time of the last record, content)
    let mut old: Vec<(i64, i64, Vec<u8>)> = Vec::new();
    let mut current: Vec<u8> = Vec::new();
    let mut begun = cover.host.installed;
    let mut written = begun;
    let mut rest = records.iter().filter(|r| r.0 <= now).peekable();
    for m in moments(cover, rule.weekly, 0, now) {
        while let Some(r) = rest.next_if(|r| r.0 < m) {
            current.extend_from_slice(&r.1);
            written = r.0;
        }
        if (rule.skip_empty && current.is_empty()) || current.len() < rule.least {
            continue;
        }
        old.push((m, written, std::mem::take(&mut current)));
        begun = m;
        written = m;
    }
    for r in rest {
        current.extend_from_slice(&r.1);
        written = r.0;
    }
    let made = |path: String, mtime: i64, bytes: Vec<u8>| File {
        kind: Kind::Regular(Content::Bytes(bytes)),
        ..File::text(&path, rule.mode, mtime.max(cover.host.installed), "").owned(0, rule.gid)
    };
    // It was made when the one before was turned, and nobody has read it since.
    let now_open = made(path.into(), written.max(begun), current);
    let mut out = vec![File {
        atime: begun,
        ..now_open
    }];
    for (i, (at, last, bytes)) in old.into_iter().rev().enumerate().take(rule.keep) {
        let n = i + 1;
        if rule.compress && !(rule.delay && n == 1) {
            out.push(made(format!("{path}.{n}.gz"), last, gzip(last, &bytes)));
        } else {
            let mtime = if bytes.is_empty() { at } else { last };
            out.push(made(format!("{path}.{n}"), mtime, bytes));
        }
    }
    out
}

/// logrotate's state as it wrote it in its last run: when it turned each log. One that it never turned has the hour in which it saw it
/// first.
pub fn state(cover: &Cover, story: &Story, has: Has, now: i64) -> Option<File> {
    let zone = &cover.host.zone;
    let last = *runs(cover, now - 3 * 86_400, now).last()?;
    let first = runs(cover, 0, cover.host.installed + 3 * 86_400).first().copied();
    let mut t = String::from("logrotate state -- version 2\n");
    for log in logs(story).into_iter().filter(|l| has.log(&l.path)) {
        let turned = (log.rule.least == 0).then(|| moments(cover, log.rule.weekly, 0, now));
        let at = turned.and_then(|all| all.last().copied());
        let c = zone.local(at.or(first)?);
        let (minute, second) = if at.is_some() {
            (c.minute, c.second)
        } else {
            (0, 0)
        };
        t += &format!(
            "\"{}\" {}-{}-{}-{}:{minute}:{second}\n",
            log.path, c.year, c.month, c.day, c.hour,
        );
    }
    Some(File::text("/var/lib/logrotate/status", 0o640, last, t))
}
