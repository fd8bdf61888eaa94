//! A machine that grows older: what was past stays past, and what people and jobs leave goes on.

use std::collections::BTreeMap;
use turncoat_cover::past::{Past, Timeline};
use turncoat_cover::{Content, Cover, File, Given, Image, Kind, Secret, Seed};

const MADE: i64 = 1_795_400_000;
const DAY: i64 = 86_400;

/// A Debian of two packages.
struct Small;

impl Image for Small {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        let text = match path {
            "/etc/shadow" => "root:*:20370:0:99999:7:::\n",
            "/etc/gshadow" => "root:*::\nsudo:*::\n",
            "/etc/passwd" => "root:x:0:0:root:/root:/bin/bash\n",
            "/etc/group" => "root:x:0:\nsudo:x:27:\nusers:x:100:\n",
            "/etc/logrotate.conf" | "/etc/skel/.bashrc" | "/etc/skel/.profile" | "/etc/skel/.bash_logout" => {
                "#\n"
            }
            "/var/lib/dpkg/status" => {
                "Package: dash\nVersion: 0.5.12-2\nArchitecture: amd64\n\nPackage: less\nVersion: 590-2.1~deb12u2\nArchitecture: amd64\n"
            }
            _ => return None,
        };
        Some(text.into())
    }
    fn packages(&self) -> Vec<(String, String)> {
        vec![
            ("dash".into(), "0.5.12-2".into()),
            ("less".into(), "590-2.1~deb12u2".into()),
        ]
    }
}

fn cover(n: u8) -> Cover {
    let given = Given {
        made: MADE,
        ..Given::default()
    };
    let mut c = Cover::new(Seed([n; 32]), &given).expect("a cover");
    c.user_hashes.fill("*".into());
    c
}

fn text(f: &File) -> String {
    match &f.kind {
        Kind::Regular(Content::Bytes(b)) => String::from_utf8_lossy(b).into_owned(),
        _ => String::new(),
    }
}

fn timeline(c: &Cover, now: i64) -> Timeline {
    Past::draw(c, &Small, now).line
}

/// Moments of a life, from minutes to years after the cover was made.
fn moments(n: u8) -> Vec<i64> {
    let odd = i64::from(n) * 4_321;
    [0, 3_000, DAY, 3 * DAY, 40 * DAY, 200 * DAY, 900 * DAY]
        .iter()
        .map(|after| MADE + after + odd)
        .collect()
}

#[test]
fn what_was_past_stays_past() {
    for n in 0..6 {
        let c = cover(n);
        let last = timeline(&c, MADE + 1000 * DAY);
        for now in moments(n) {
            let then = timeline(&c, now);
            let mut kept = last.logins.clone();
            kept.retain(|l| l.until + 30 <= now && l.at < now);
            assert_eq!(then.logins, kept, "{n} at {now}");
        }
    }
}

#[test]
fn files_go_on_and_none_is_of_another_time() {
    for n in 0..6 {
        let c = cover(n);
        let mut before: BTreeMap<String, File> = BTreeMap::new();
        for now in moments(n) {
            let files = c.files_at(&Small, now);
            for f in &files {
                assert!(f.mtime <= now && f.atime <= now, "{n} {} at {now}", f.path);
                // What programs go on writing is written later than it was read.
                let grows = f.path.ends_with("_history") || f.path.starts_with("/var/log/");
                assert!(f.atime >= f.mtime || grows, "{n} {}", f.path);
                let Some(was) = before.get(&f.path) else { continue };
                assert!(f.mtime >= was.mtime, "{n} {} grew younger", f.path);
                if f.path.ends_with("_history") {
                    goes_on(&text(was), &text(f), &f.path);
                } else if !f.path.starts_with("/var/") && f.mtime == was.mtime {
                    assert_eq!(text(was), text(f), "{n} {} at {now}", f.path);
                }
            }
            let kept = |f: &File| f.path.starts_with("/etc/") || f.path.starts_with("/home/");
            for was in before.values().filter(|f| kept(f) && f.bait.is_none()) {
                assert!(
                    files.iter().any(|f| f.path == was.path),
                    "{n} {} is gone",
                    was.path
                );
            }
            before = files.into_iter().map(|f| (f.path.clone(), f)).collect();
        }
    }
}

/// A later history begins with the earlier one, but for the oldest lines of a full one.
fn goes_on(was: &str, is: &str, path: &str) {
    let full = |t: &str| t.lines().count() >= 500;
    if !full(is) {
        return assert!(is.starts_with(was), "{path}");
    }
    let (was, is): (Vec<&str>, Vec<&str>) = (was.lines().collect(), is.lines().collect());
    let over = (0..=was.len()).any(|cut| is.starts_with(&was[cut..]));
    assert!(over && is.len() <= 2000, "{path}");
}

#[test]
fn histories_end_with_a_session_and_have_what_the_logs_tell() {
    let (mut written, mut long) = (0, 0);
    for n in 0..6 {
        let c = cover(n);
        for now in moments(n) {
            let past = Past::draw(&c, &Small, now);
            let files = c.files_at(&Small, now);
            let at = |path: String| files.iter().find(|f| f.path == path);
            for (i, u) in c.users.iter().enumerate() {
                let mine = || past.line.logins.iter().filter(|l| l.user == i);
                let Some(f) = at(format!("{}/.bash_history", u.home)) else {
                    assert!(mine().all(|l| l.until - l.at < 600), "{n} {}", u.name);
                    continue;
                };
                written += 1;
                long = long.max(text(f).lines().count());
                assert!(mine().any(|l| l.until == f.mtime), "{n} {}", u.name);
                let newest = mine().filter(|l| l.until - l.at >= 600).map(|l| l.until).max();
                assert!(newest.is_none_or(|t| f.mtime >= t), "{n} {}", u.name);
                let key = at(format!("{}/.ssh/authorized_keys", u.home)).expect("a key");
                assert!(mine().all(|l| l.at > key.mtime), "{n} {}", u.name);
                let asked = past.runs.iter().rev().find(|r| r.by == Some(i));
                if let Some(r) =
                    asked.filter(|r| past.line.session_of(r).is_some() && text(f).lines().count() < 1990)
                {
                    let line = format!("sudo {}", r.command);
                    assert!(text(f).lines().any(|l| l == line), "{n} {} {line}", u.name);
                }
            }
            let shells = || past.line.logins.iter().filter_map(|l| l.root);
            let root = at("/root/.bash_history".into());
            assert_eq!(root.map(|f| f.mtime), shells().map(|s| s.until).max(), "{n}");
        }
    }
    assert!(written > 50 && long <= 2000, "{written} {long}");
}

#[test]
fn dumps_are_those_of_the_last_nights() {
    let mut seen = 0;
    for n in 0..16 {
        let c = cover(n);
        let made = c.baits();
        for now in moments(n) {
            let files = c.files_at(&Small, now);
            let baits = c.baits_at(now);
            let same = |b: &turncoat_cover::Bait| (b.id.clone(), b.credentials.clone());
            assert!(made.iter().map(same).eq(baits.iter().map(same)), "{n}");
            let Some(dump) = baits.iter().find(|b| b.kind == "database dump") else {
                continue;
            };
            seen += 1;
            let laid: Vec<&File> = files
                .iter()
                .filter(|f| f.bait.as_deref() == Some(&dump.id))
                .collect();
            assert!(laid.len() >= 3, "{n} {}", laid.len());
            assert_eq!(laid[0].path, dump.path);
            for pair in laid.windows(2) {
                let apart = pair[0].mtime - pair[1].mtime;
                // A night in which the clocks were changed is an hour longer or shorter.
                assert!((DAY - 5_200..DAY + 5_200).contains(&apart), "{n} {apart}");
                assert!(text(pair[0]).len() > text(pair[1]).len(), "{n}");
            }
            assert!(now - laid[0].mtime < DAY + 5_200, "{n}");
            let Secret::Password(secret) = &dump.credentials[0].secret else {
                panic!("no password");
            };
            assert!(laid.iter().all(|f| text(f).contains(secret)), "{n}");
        }
    }
    assert!(seen > 10, "{seen}");
}

/// What `du -sk` said in the last night is what lies there.
#[test]
fn the_jobs_log_says_what_lies_there() {
    for n in 0..16 {
        let c = cover(n);
        for now in moments(n) {
            let files = c.files_at(&Small, now);
            let dumps: Vec<&File> = files.iter().filter(|f| f.path.ends_with(".sql")).collect();
            let Some(dir) = dumps.first().and_then(|f| f.path.rsplit_once('/')).map(|p| p.0) else {
                continue;
            };
            let size: usize = files
                .iter()
                .filter(|f| f.path.starts_with(dir))
                .map(|f| match f.kind {
                    Kind::Directory => 4,
                    _ => text(f).len().div_ceil(4096) * 4,
                })
                .sum();
            let newest = dumps.iter().map(|f| f.mtime).max().unwrap_or(0);
            let log = files
                .iter()
                .filter(|f| f.path.starts_with("/var/log/") && f.path.ends_with(".log"))
                .find(|f| f.mtime == newest + 2)
                .map(text);
            // On the first of a month it may have been rotated away.
            if let Some(line) = log.as_deref().and_then(|t| t.lines().last()) {
                assert!(line.ends_with(&format!(" {size}")), "{n} {line} {size}");
            }
        }
    }
}

/// The same Debian with unattended-upgrades and with a package that came in four versions.
struct Unattended;

/// A changelog as dch(1) writes it: version, distribution and date, newest first.
fn changelog(entries: &[(&str, &str, &str)]) -> Vec<u8> {
    use std::io::Write;
    let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    for (version, to, date) in entries {
        write!(
            w,
            "less ({version}) {to}; urgency=medium\n\n  * Fix.\n\n -- A <a@b.invalid>  {date}\n\n"
        )
        .expect("memory");
    }
    w.finish().expect("memory")
}

impl Image for Unattended {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        match path {
            "/etc/apt/apt.conf.d/20auto-upgrades" => Some(
                b"APT::Periodic::Update-Package-Lists \"1\";\nAPT::Periodic::Unattended-Upgrade \"1\";\n"
                    .to_vec(),
            ),
            "/usr/bin/unattended-upgrade" => Some(b"#!/usr/bin/python3\n".to_vec()),
            "/usr/share/doc/less/changelog.Debian.gz" => Some(changelog(&[
                (
                    "590-2.1~deb12u2",
                    "bookworm-security",
                    "Mon, 19 Oct 2026 10:00:00 +0000",
                ),
                ("590-2.1~deb12u1", "bookworm", "Fri, 05 Jun 2026 10:00:00 +0000"),
                ("590-2", "unstable", "Sat, 06 May 2023 10:00:00 +0000"),
            ])),
            _ => Small.read(path),
        }
    }
    fn packages(&self) -> Vec<(String, String)> {
        Small.packages()
    }
}

#[test]
fn what_is_upgraded_unattended_is_so_in_the_morning_and_in_every_log() {
    let mut upgrades = 0;
    for n in 0..8 {
        let c = cover(n);
        for now in moments(n) {
            let past = Past::draw(&c, &Unattended, now);
            let files = c.files_at(&Unattended, now);
            let read = |path: &str| files.iter().find(|f| f.path == path).map(text);
            let log = read("/var/log/unattended-upgrades/unattended-upgrades.log").expect("a log");
            let lines: Vec<&str> = log.lines().map(|l| l.get(..23).unwrap_or("")).collect();
            assert!(lines.windows(2).all(|w| w[0] <= w[1]), "{n}");
            for r in past
                .runs
                .iter()
                .filter(|r| r.command == "/usr/bin/unattended-upgrade")
            {
                upgrades += 1;
                let hour = c.host.zone.local(r.start).hour;
                assert!(
                    (6..=7).contains(&hour) && r.by.is_none() && r.end <= now,
                    "{n} {hour}"
                );
            }
            let by_hand = past.runs.iter().filter(|r| r.by.is_some());
            assert!(by_hand.flat_map(|r| &r.changes).all(|c| c.old.is_none()), "{n}");
            let stamp = files
                .iter()
                .find(|f| f.path == "/var/lib/apt/periodic/upgrade-stamp")
                .expect("a stamp");
            assert!((0..DAY + 7_300).contains(&(now - stamp.mtime)), "{n}");
            let last = past
                .runs
                .iter()
                .rev()
                .find(|r| r.by.is_none() && r.changes.iter().any(|c| c.old.is_some()));
            let term = read("/var/log/unattended-upgrades/unattended-upgrades-dpkg.log").unwrap_or_default();
            if last.is_some() && !term.is_empty() {
                let history = read("/var/log/apt/history.log").unwrap_or_default();
                assert!(
                    history.is_empty()
                        || history.contains("Commandline: /usr/bin/unattended-upgrade\nUpgrade: less:amd64"),
                    "{history}"
                );
                assert!(
                    term.starts_with("Log started: ") && term.ends_with("\n\n"),
                    "{term}"
                );
            }
        }
    }
    assert!(upgrades > 8, "{upgrades}");
}

/// An image whose `less` asks for a reboot when it is upgraded, as Debian's `dbus` does.
struct Asking;

impl Image for Asking {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        match path {
            "/var/lib/dpkg/info/less.postinst" => {
                Some(b"#!/bin/sh\ntouch /var/run/reboot-required\n".to_vec())
            }
            _ => Unattended.read(path),
        }
    }
    fn packages(&self) -> Vec<(String, String)> {
        Unattended.packages()
    }
}

#[test]
fn a_reboot_is_asked_for_by_what_was_upgraded_since_the_last() {
    let mut asked = 0;
    for n in 0..16 {
        let c = cover(n);
        for now in moments(n).into_iter().take(3) {
            let past = Past::draw(&c, &Asking, now);
            let upgraded = past.runs.iter().any(|r| {
                r.start > c.host.booted
                    && r.changes
                        .iter()
                        .any(|c| c.package.name == "less" && c.old.is_some())
            });
            let files = c.files_at(&Asking, now);
            let find = |path: &str| files.iter().find(|f| f.path == path);
            let names = find("/run/reboot-required.pkgs").map(text);
            assert_eq!(names.as_deref(), upgraded.then_some("less\n"), "{n}");
            let flag = find("/run/reboot-required");
            assert_eq!(flag.is_some(), upgraded, "{n}");
            assert!(
                flag.is_none_or(|f| f.mtime > c.host.booted && f.mtime <= now),
                "{n}"
            );
            assert!(
                !c.files_at(&Unattended, now)
                    .iter()
                    .any(|f| f.path.starts_with("/run/reboot"))
            );
            asked += u32::from(upgraded);
        }
    }
    assert!(asked > 3, "{asked}");
}
