//! logrotate's schedule: which records lie in which file. Records are bytes with the time at which they were written.

use crate::clock::Civil;
use crate::cover::Cover;
use crate::files::{Content, File, Kind};
use flate2::{Compression, GzBuilder};
use std::io::Write;

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

/// Moments at which logrotate.timer ran and the rule said rotate, oldest first. The timer fires at midnight, at latest an hour after;
/// logrotate rotates monthly logs on the first run of a month, weekly ones on the first of a week.
pub fn moments(cover: &Cover, weekly: bool, now: i64) -> Vec<i64> {
    let zone = &cover.host.zone;
    let from = cover.host.installed;
    let late = i64::from(cover.stream("logrotate").below(3000) as u32);
    let first = (from + zone.offset_at(from)).div_euclid(86_400) + 1;
    let last = (now + zone.offset_at(now)).div_euclid(86_400);
    (first..=last)
        .filter_map(|day| {
            let c = Civil::from_unix(day * 86_400);
            let due = if weekly { c.weekday == 0 } else { c.day == 1 };
            let at = day * 86_400 - zone.offset_at(day * 86_400 - zone.offset) + late + day * 37 % 500;
            (due && at < now && at > from + 86_400).then_some(at)
        })
        .collect()
}

fn gzip(name: &str, at: i64, bytes: &[u8]) -> Vec<u8> {
    let mut w = GzBuilder::new()
        .filename(name.as_bytes())
        .mtime(u32::try_from(at).unwrap_or(0))
        .operating_system(3)
        .write(Vec::new(), Compression::new(6));
    // Writing to memory does not fail.
    let _ = w.write_all(bytes);
    w.finish().unwrap_or_default()
}

/// The files of one log: `path`, `path.1`, `path.2.gz` … at `now`.
pub fn files(cover: &Cover, path: &str, rule: Rule, records: &[(i64, Vec<u8>)], now: i64) -> Vec<File> {
    // (moment of rotation, time of the last record, content)
    let mut old: Vec<(i64, i64, Vec<u8>)> = Vec::new();
    let mut current: Vec<u8> = Vec::new();
    let mut begun = cover.host.installed;
    let mut written = begun;
    let mut rest = records.iter().filter(|r| r.0 <= now).peekable();
    for m in moments(cover, rule.weekly, now) {
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
    let name = path.rsplit('/').next().unwrap_or(path).to_string();
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
            // With delaycompress the file had its number 1 name while it was compressed.
            let inner = format!("{name}.1");
            out.push(made(format!("{path}.{n}.gz"), last, gzip(&inner, last, &bytes)));
        } else {
            let mtime = if bytes.is_empty() { at } else { last };
            out.push(made(format!("{path}.{n}"), mtime, bytes));
        }
    }
    out
}
