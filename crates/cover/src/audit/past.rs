//! Packages and logs.

use super::network::connection;
use super::time::civil;
use super::{Check, Seen, c, hold, number};
use std::collections::BTreeMap;

/// The version that dpkg.log last wrote for each package.
fn logged(s: &Seen) -> Result<BTreeMap<String, String>, String> {
    let mut lines: Vec<&str> = s.lines("dpkg.log")?;
    lines.extend(s.lines("dpkg.gz")?);
    lines.sort_unstable();
    let mut out = BTreeMap::new();
    for l in lines {
        let w: Vec<&str> = l.split(' ').collect();
        if let [_, _, "status", "installed", name, version, ..] = w.as_slice() {
            out.insert(
                name.split(':').next().unwrap_or("").to_string(),
                (*version).to_string(),
            );
        }
    }
    hold(!out.is_empty(), || "dpkg.log is empty".into())?;
    Ok(out)
}

/// Seconds since the epoch at which the journal says that cron called the nightly job.
fn called(s: &Seen) -> Result<Vec<i64>, String> {
    let at = |l: &str| Some(l.split(' ').next()?.parse::<f64>().ok()? as i64);
    let all: Vec<i64> = s.lines("job.cron")?.into_iter().filter_map(at).collect();
    hold(!all.is_empty(), || "the journal knows no run of the job".into())?;
    Ok(all)
}

/// When the journal says that apt's timers started something, seconds since the epoch.
fn apt_timers(s: &Seen) -> Result<Vec<i64>, String> {
    let at = |l: &str| Some(l.split(' ').next()?.parse::<f64>().ok()? as i64);
    Ok(s.lines("unattended.journal")?
        .into_iter()
        .filter_map(at)
        .collect())
}

/// The longest that the job takes, in seconds.
const NIGHT: i64 = 1500;

/// Number, second and name of the processes of cron and sshd in the journal since the boot.
fn logged_pids(s: &Seen) -> Result<Vec<(f64, i64, &str)>, String> {
    let booted = s.number("proc.stat", "btime")? as f64;
    let one = |l: &'_ str| -> Option<(f64, i64)> {
        let mut words = l.split(' ');
        let at: f64 = words.next()?.parse().ok()?;
        let (name, rest) = words.nth(1)?.split_once('[')?;
        let pid = rest.strip_suffix("]:")?.parse().ok()?;
        (["CRON", "sshd"].contains(&name) && at > booted + 60.0).then_some((at, pid))
    };
    Ok(s.lines("journal")?
        .into_iter()
        .filter_map(|l| one(l).map(|(at, pid)| (at, pid, l)))
        .collect())
}

/// A session's sshd is older than what cron started while it lasted, and says its last word later.
const SINCE: f64 = 6.0 * 3_600.0;

/// When dpkg.log says that each package was unpacked last, and when it was written last.
fn unpacked(s: &Seen) -> Result<(BTreeMap<String, i64>, i64), String> {
    let mut lines: Vec<&str> = s.lines("dpkg.log")?;
    lines.extend(s.lines("dpkg.gz")?);
    lines.sort_unstable();
    let mut out = BTreeMap::new();
    let mut last = 0;
    for l in lines {
        let w: Vec<&str> = l.split(' ').collect();
        let [day, time, what, name, ..] = w.as_slice() else {
            continue;
        };
        let date: Vec<&str> = day.split('-').collect();
        let [y, m, d] = date.as_slice() else { continue };
        let Some(at) = civil(s, y, m, d, time) else {
            continue;
        };
        last = last.max(at);
        if ["install", "upgrade"].contains(what) {
            out.insert((*name).to_owned(), at);
        }
    }
    Ok((out, last))
}

pub(super) const CHECKS: &[Check] = &[
    c(
        "past-units",
        "what is up was started in the journal of the boot, as far as that goes back",
        |s| {
            let told = s.get("units.boot")?;
            if !told.contains("Queued start job") {
                return Ok(());
            }
            for unit in s.lines("units")? {
                // The root was there before the manager.
                hold(unit == "-.mount" || told.contains(&format!(" {unit} - ")), || {
                    format!("nothing started {unit}")
                })?;
            }
            Ok(())
        },
    ),
    c(
        "past-lists",
        "dpkg's lists of files are as old as the unpacking of their packages in dpkg.log, which were built before; its state as the last run",
        |s| {
            let (log, last) = unpacked(s)?;
            let mut lists = BTreeMap::new();
            for row in s.table("dpkg.lists")? {
                let [at, path] = row.as_slice() else { continue };
                let at: i64 = at.parse().map_err(|_| format!("{path} has no time"))?;
                if let Some(list) = path.strip_suffix(".md5sums") {
                    let there = lists.get(list).copied().unwrap_or(i64::MAX);
                    hold(at <= there, || {
                        format!("{list} was built at {at}, and there at {there}")
                    })?;
                    continue;
                }
                let name = path.rsplit('/').next().and_then(|n| n.strip_suffix(".list"));
                lists.insert(path.trim_end_matches(".list"), at);
                let told = match name {
                    Some(name) => log
                        .iter()
                        .find(|(n, _)| *n == name || n.split(':').next() == Some(name))
                        .map(|(_, at)| *at),
                    None => Some(last),
                };
                if let Some(told) = told {
                    hold((at - told).abs() <= 90, || {
                        format!("{path} is of {at}, dpkg.log says {told}")
                    })?;
                }
            }
            Ok(())
        },
    ),
    c(
        "past-inodes",
        "no file is older than its file system, was changed before it was there, or has whole seconds only",
        |s| {
            let rows = s.table("inodes")?;
            let mut made = None;
            let mut whole = 0;
            for row in &rows {
                let [born, written, changed, parts, path, ..] = row.as_slice() else {
                    continue;
                };
                let n = |t: &str| number(t).unwrap_or(-1);
                let (born, written, changed) = (n(born), n(written), n(changed));
                let made = *made.get_or_insert(born);
                hold(born >= made, || {
                    format!("{path} was made at {born}, its file system at {made}")
                })?;
                hold(changed >= born && changed >= written, || {
                    format!(
                        "{path} was made at {born} and written at {written}, but changed last at {changed}"
                    )
                })?;
                whole += usize::from(parts.ends_with(".000000000"));
            }
            hold(rows.len() > 20 && whole < 3, || {
                format!("{whole} of {} files changed at whole seconds", rows.len())
            })
        },
    ),
    c(
        "past-pids",
        "numbers of processes in the journal rise with time, to those of now, and so many were made since the boot",
        |s| {
            let pids = logged_pids(s)?;
            let last: i64 = s
                .line("loadavg")?
                .rsplit(' ')
                .next()
                .and_then(|n| n.parse().ok())
                .ok_or("loadavg names no process")?;
            let forks = s.number("proc.stat", "processes")?;
            hold((forks - last).abs() < 600, || {
                format!("{forks} processes were made since the boot, the last has number {last}")
            })?;
            let mut highest: Vec<(f64, i64)> = Vec::new();
            for (at, pid, line) in pids {
                hold(pid <= last, || {
                    format!("the last process has number {last}, but {line:?}")
                })?;
                let before = highest
                    .iter()
                    .filter(|h| h.0 < at - SINCE)
                    .map(|h| h.1)
                    .max()
                    .unwrap_or(0);
                hold(pid + 60 > before, || {
                    format!("number {before} was given before {line:?}")
                })?;
                highest.push((at, pid));
            }
            Ok(())
        },
    ),
    c(
        "past-dpkg",
        "dpkg has every package in the version that dpkg.log wrote last",
        |s| {
            let log = logged(s)?;
            for l in s.lines("dpkg")? {
                let w: Vec<&str> = l.split(' ').collect();
                let [name, version, ..] = w.as_slice() else {
                    continue;
                };
                if let Some(told) = log.get(*name) {
                    hold(told == version, || {
                        format!("dpkg has {name} {version}, dpkg.log {told}")
                    })?;
                }
            }
            Ok(())
        },
    ),
    c(
        "past-apt",
        "apt's history asks for what dpkg.log did, by people who have accounts",
        |s| {
            let names: Vec<&str> = s
                .lines("passwd")?
                .into_iter()
                .filter_map(|l| l.split(':').next())
                .collect();
            let history = s.get("apt.history")?;
            hold(history.contains("Start-Date: "), || {
                "apt's history is empty".into()
            })?;
            for l in history.lines() {
                if let Some(who) = l.strip_prefix("Requested-By: ").and_then(|t| t.split(' ').next()) {
                    hold(names.contains(&who), || format!("apt was run by {who}"))?;
                }
            }
            Ok(())
        },
    ),
    c(
        "past-apt-last",
        "the last upgrade in apt's history is in dpkg.log",
        |s| {
            let history = s.get("apt.history")?;
            let last = history
                .split("\nStart-Date: ")
                .filter(|r| r.contains("\nUpgrade: "))
                .max_by_key(|r| r.lines().next().unwrap_or("").to_string())
                .ok_or("no upgrade")?;
            let list = last
                .lines()
                .find_map(|l| l.strip_prefix("Upgrade: "))
                .unwrap_or("");
            let day = last.split_whitespace().next().unwrap_or("");
            // apt names the machine's architecture, dpkg the package's.
            let name = list.split([' ', ':']).next().unwrap_or("");
            let logs = [s.get("dpkg.log")?, s.get("dpkg.gz")?].concat();
            hold(
                logs.lines()
                    .any(|l| l.starts_with(day) && l.contains(&format!(" upgrade {name}:"))),
                || format!("no upgrade of {name} on {day} in dpkg.log"),
            )
        },
    ),
    c("past-packages", "every package is installed whole", |s| {
        let odd = s
            .lines("dpkg")?
            .into_iter()
            .find(|l| !l.ends_with(" install ok installed"));
        hold(odd.is_none(), || odd.unwrap_or("").into())
    }),
    c("past-cron", "the jobs of cron have their programs", |s| {
        let text = s.get("cron.job")?;
        hold(!text.trim().is_empty() && !text.contains("No such file"), || {
            text.lines().next().unwrap_or("no job").into()
        })
    }),
    c(
        "past-unattended",
        "apt's history has what unattended-upgrades says it upgraded, on the same day and by its command",
        |s| {
            let history = s.get("apt.history")?;
            let runs: Vec<&str> = history
                .split("\nStart-Date: ")
                .filter(|r| r.contains("\nCommandline: /usr/bin/unattended-upgrade\n"))
                .collect();
            for l in s.lines("unattended")? {
                let Some((head, names)) = l.split_once(" INFO Packages that will be upgraded: ") else {
                    continue;
                };
                let day = head.split(' ').next().unwrap_or("");
                for name in names.split(' ') {
                    let of = format!(" {name}:");
                    let told = runs.iter().any(|r| r.starts_with(day) && r.contains(&of));
                    hold(told, || format!("no upgrade of {name} on {day} in apt's history"))?;
                }
            }
            Ok(())
        },
    ),
    c(
        "past-unattended-journal",
        "a timer of apt's had started unattended-upgrades when it last wrote its log",
        |s| {
            let of = |l: &&str| l.contains("Starting unattended upgrades script");
            let lines = s.lines("unattended")?;
            let Some(last) = lines.into_iter().filter(of).max() else {
                return Ok(());
            };
            let (date, rest) = last.split_once(' ').unwrap_or_default();
            let at = match date.split('-').collect::<Vec<_>>()[..] {
                [year, month, day] => civil(s, year, month, day, rest.split(',').next().unwrap_or("")),
                _ => None,
            };
            let began = apt_timers(s)?;
            hold(
                at.is_some_and(|at| began.iter().any(|b| (0..60).contains(&(at - b)))),
                || last.into(),
            )
        },
    ),
    c(
        "past-unattended-stamps",
        "apt's stamps are as old as what its timers started",
        |s| {
            for l in s.lines("unattended.stamps")? {
                let at = number(l).unwrap_or(0);
                let began = apt_timers(s)?;
                hold(began.iter().any(|b| (0..900).contains(&(at - b))), || l.into())?;
            }
            Ok(())
        },
    ),
    c(
        "past-job",
        "the nightly job's log tells last of a run that the journal has, too",
        |s| {
            let called = called(s)?;
            let lines = s.lines("job.log")?;
            // 2026-11-24 03:12:01 start
            let at = |l: &&str| {
                let (date, rest) = l.split_once(' ')?;
                let [year, month, day] = date.split('-').collect::<Vec<_>>()[..] else {
                    return None;
                };
                civil(s, year, month, day, rest.split(' ').next()?)
            };
            let known = |t: i64| called.iter().any(|c| (c - t).abs() <= 2);
            hold(lines.iter().filter_map(at).any(known), || lines.join(" / "))
        },
    ),
    c(
        "past-dumps",
        "the newest dump was made by a run of the nightly job",
        |s| {
            let Some(last) = s.lines("job.dumps")?.into_iter().next_back() else {
                return Ok(());
            };
            let written = number(last).unwrap_or(0);
            let made = called(s)?.iter().any(|c| (0..NIGHT).contains(&(written - c)));
            hold(made, || last.into())
        },
    ),
    c(
        "past-dumps-names",
        "each dump has the day in its name on which it was made",
        |s| {
            let zone = s.line("timezone")?;
            let zone = crate::clock::ZONES.iter().find(|z| z.0.name == zone);
            let zone = zone.ok_or("no zone")?.0;
            for l in s.lines("job.dumps")? {
                let digits = |t: &str| t.chars().filter(char::is_ascii_digit).collect::<String>();
                let day = digits(&zone.local(number(l).unwrap_or(0)).date());
                let name = digits(l.rsplit('/').next().unwrap_or(""));
                // The century is not in every name.
                hold(name.ends_with(&day[2..]), || l.into())?;
            }
            Ok(())
        },
    ),
    c(
        "past-journal",
        "there is a journal, and it goes on to this boot",
        |s| {
            let boots = s.lines("journal.boots")?;
            let last = boots.last().copied().unwrap_or("");
            let id = s.line("boot-id")?.replace('-', "");
            hold(last.contains(&id), || {
                format!("journalctl --list-boots ends with {last:?}")
            })
        },
    ),
    c(
        "past-journal-time",
        "the journal's lines are in order and none is later than now",
        |s| {
            let now = number(s.line("now.2")?).unwrap_or(0);
            let mut before = 0.0f64;
            for l in s.lines("journal")? {
                let Some(at) = l.split(' ').next().and_then(|t| t.parse::<f64>().ok()) else {
                    continue;
                };
                hold(at >= before && at < (now + 5) as f64, || l.into())?;
                before = at;
            }
            hold(before > 0.0, || "the journal is empty".into())
        },
    ),
    c(
        "past-journal-login",
        "the journal has the login that we came by, with its address and port",
        |s| {
            let w = connection(s)?;
            let text = format!("for {} from {} port {} ssh2", s.value("env", "USER")?, w[0], w[1]);
            let line = s
                .lines("journal.login")?
                .into_iter()
                .find(|l| l.contains("Accepted ") && l.contains(&text));
            let line = line.ok_or_else(|| format!("no {text:?} in the journal"))?;
            let pid = line
                .split("sshd[")
                .nth(1)
                .and_then(|t| t.split(']').next())
                .unwrap_or("");
            let rows = s.table("ps")?;
            let process = rows.iter().find(|r| r.first() == Some(&pid));
            hold(process.is_some_and(|r| r.get(5) == Some(&"sshd:")), || {
                format!("{pid} is no process of sshd")
            })
        },
    ),
];
