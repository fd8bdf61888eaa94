//! Copies of what dpkg and apt have on record, and what they put aside themselves.

use super::{Check, Seen, c, hold, number};
use std::collections::{BTreeMap, BTreeSet};

/// The newest and last of the times that stand before the lines of an answer, seconds since the epoch.
fn last(s: &Seen, id: &str) -> Result<i64, String> {
    Ok(s.lines(id)?.into_iter().filter_map(number).max().unwrap_or(0))
}

/// When a file was written, of lines with a time and a path.
fn written(s: &Seen, id: &str, path: &str) -> Result<i64, String> {
    let line = s.lines(id)?.into_iter().find(|l| l.ends_with(path));
    line.and_then(number).ok_or_else(|| format!("{id} has no {path}"))
}

/// A moment as dpkg.log has it, in the machine's time: `2026-11-26 07:01:02`.
fn local(s: &Seen, at: i64) -> Result<String, String> {
    let name = s.line("timezone")?;
    let zone = crate::clock::ZONES.iter().find(|z| z.0.name == name);
    let at = zone.ok_or("no zone")?.0.local(at);
    Ok(format!("{} {}", at.date(), at.time()))
}

/// Lines of dpkg.log, in order.
fn log(s: &Seen) -> Result<Vec<&str>, String> {
    let mut lines = s.lines("dpkg.gz")?;
    lines.extend(s.lines("dpkg.log")?);
    lines.retain(|l| l.starts_with("20"));
    lines.sort_by_key(|l| l.get(..19));
    Ok(lines)
}

/// Copies of dpkg's status, the newest first, with their times.
fn copies(s: &Seen) -> Result<Vec<i64>, String> {
    let name = |n: usize| format!(" dpkg.status.{n}{}", if n == 0 { "" } else { ".gz" });
    let lines = s.lines("backups")?;
    let of = |n| lines.iter().find(|l| l.ends_with(&name(n)));
    let all: Vec<i64> = (0..).map_while(of).filter_map(|l| number(l)).collect();
    let there = lines.iter().filter(|l| l.contains(" dpkg.status.")).count();
    hold(!all.is_empty() && all.len() == there, || {
        format!("{} of {there} copies of dpkg's status in their order", all.len())
    })?;
    Ok(all)
}

pub(super) const CHECKS: &[Check] = &[
    c(
        "past-backups",
        "the newest copies in /var/backups are what dpkg and apt have on record, unless that was written after the last copying",
        |s| {
            let same = s.lines("backups.same")?;
            let copied = last(s, "backups.journal")?;
            let status = written(s, "dpkg.status", "/var/lib/dpkg/status")?;
            if status < copied {
                for name in ["arch", "status", "diversions", "statoverride"] {
                    let name = format!("dpkg.{name}");
                    hold(same.contains(&&*name), || {
                        format!("{name} is not as it was at {copied}")
                    })?;
                }
                hold(same.contains(&"alternatives.tar"), || {
                    "alternatives.tar has other alternatives".into()
                })?;
            } else {
                hold(!same.contains(&"dpkg.status"), || {
                    format!("dpkg's state of {status} was copied at {copied}")
                })?;
            }
            let started = last(s, "unattended.journal")?;
            let extended = written(s, "dpkg.status", "/extended_states")?;
            hold(
                extended >= started - 2 || same.contains(&"apt.extended_states"),
                || format!("apt's state of {extended} was not copied at {started}"),
            )
        },
    ),
    c(
        "past-backups-days",
        "there is a copy of dpkg's state for each of the last days in dpkg.log, up to seven",
        |s| {
            let copies = copies(s)?;
            let until = local(s, last(s, "backups.journal")?)?;
            let days: BTreeSet<&str> = log(s)?.iter().filter_map(|l| l.get(..10)).collect();
            let today = until.get(..10).unwrap_or("");
            let told: Vec<&str> = days.into_iter().rev().filter(|d| *d < today).take(7).collect();
            let mut kept = Vec::new();
            for at in copies {
                kept.push(local(s, at)?.get(..10).unwrap_or("").to_owned());
            }
            let agree = kept.iter().zip(&told).all(|(a, b)| a == b);
            hold(agree && kept.len() >= told.len() && kept.len() <= 7, || {
                format!("copies of {kept:?}, dpkg ran on {told:?}")
            })
        },
    ),
    c(
        "past-backups-versions",
        "each copy of dpkg's state has the versions that dpkg.log tells of up to then",
        |s| {
            let log = log(s)?;
            let mut copy: BTreeMap<&str, &str> = BTreeMap::new();
            let mut until = String::new();
            let compare = |copy: &BTreeMap<&str, &str>, until: &str| {
                let mut told = BTreeMap::new();
                for l in log.iter().take_while(|l| l.get(..19).is_some_and(|t| t <= until)) {
                    let w: Vec<&str> = l.split(' ').collect();
                    if let [_, _, "status", "installed", name, version] = w.as_slice() {
                        told.insert(name.split(':').next().unwrap_or(""), *version);
                    }
                }
                for (name, version) in copy {
                    let other = told.get(name).filter(|t| *t != version);
                    hold(other.is_none(), || {
                        format!(
                            "{name} {version} of {until}, dpkg.log has {}",
                            other.unwrap_or(&"")
                        )
                    })?;
                }
                hold(copy.len() > 50 || until.is_empty(), || {
                    format!("{} packages at {until}", copy.len())
                })
            };
            for row in s.table("backups.versions")? {
                match row.as_slice() {
                    ["@", at, ..] => {
                        compare(&copy, &until)?;
                        copy.clear();
                        until = local(s, number(at).unwrap_or(0))?;
                    }
                    [name, version] => {
                        copy.insert(name, version);
                    }
                    _ => {}
                }
            }
            hold(!until.is_empty(), || "no copy of dpkg's status".into())?;
            compare(&copy, &until)
        },
    ),
    c(
        "past-automatic",
        "what apt holds for automatic is installed, and what its history calls so and is still there is among it",
        |s| {
            let there: BTreeSet<&str> = s
                .lines("dpkg")?
                .iter()
                .filter_map(|l| l.split(' ').next())
                .collect();
            let named = |l: &&str| l.starts_with("Package: ");
            let automatic: BTreeSet<&str> = s
                .lines("extended")?
                .into_iter()
                .filter(named)
                .map(|l| &l["Package: ".len()..])
                .collect();
            let gone = automatic.iter().find(|n| !there.contains(*n));
            hold(gone.is_none(), || {
                format!("{} is automatic, and not there", gone.unwrap_or(&""))
            })?;
            for one in s.get("apt.history")?.split("), ") {
                let Some((head, _)) = one.split_once(", automatic") else {
                    continue;
                };
                let name = head.rsplit_once(" (").map_or("", |h| h.0);
                let name = name
                    .rsplit(' ')
                    .next()
                    .unwrap_or("")
                    .split(':')
                    .next()
                    .unwrap_or("");
                hold(!there.contains(name) || automatic.contains(name), || {
                    format!("{name} was brought along")
                })?;
            }
            Ok(())
        },
    ),
    c(
        "past-status-old",
        "dpkg's state of before the last is of the same run, and nothing was there that is not now",
        |s| {
            let now = written(s, "dpkg.status", "/var/lib/dpkg/status")?;
            let before = written(s, "dpkg.status", "/var/lib/dpkg/status-old")?;
            hold((0..3_600).contains(&(now - before)), || {
                format!("status is of {now}, status-old of {before}")
            })
        },
    ),
];
