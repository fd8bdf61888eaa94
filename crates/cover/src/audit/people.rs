//! Accounts, homes, and who was logged in.

use super::time::civil;
use super::{Check, Seen, c, hold, same};

/// Name, uid, gid, home of the accounts of people.
fn people(s: &Seen) -> Result<Vec<(&str, i64, &str, &str)>, String> {
    let out: Vec<_> = s
        .lines("passwd")?
        .into_iter()
        .filter_map(|l| {
            let f: Vec<&str> = l.split(':').collect();
            let uid = f.get(2)?.parse::<i64>().ok()?;
            (1000..60_000)
                .contains(&uid)
                .then(|| (f[0], uid, f[3], *f.get(5).unwrap_or(&"")))
        })
        .collect();
    hold(!out.is_empty(), || "nobody has an account".into())?;
    Ok(out)
}

fn first_fields<'a>(s: &'a Seen, id: &str) -> Result<Vec<&'a str>, String> {
    Ok(s.lines(id)?
        .into_iter()
        .filter_map(|l| l.split(':').next())
        .collect())
}

/// Names in the output of last or lastb.
fn named<'a>(s: &'a Seen, id: &str) -> Result<Vec<&'a str>, String> {
    Ok(s.lines(id)?
        .into_iter()
        .filter(|l| !l.contains("tmp begins"))
        .filter_map(|l| l.split_whitespace().next())
        .filter(|n| !matches!(*n, "reboot" | "shutdown" | "runlevel"))
        .collect())
}

/// A session as `last -F` shows it.
struct Session<'a> {
    name: &'a str,
    begun: i64,
    /// None while it lasts.
    ended: Option<i64>,
}

fn sessions(s: &Seen) -> Result<Vec<Session<'_>>, String> {
    let lines: Vec<Vec<&str>> = s
        .lines("last")?
        .into_iter()
        .map(|l| l.split_whitespace().collect())
        .collect();
    let at = |w: &[&str], month: usize| match w.get(month..month + 4) {
        Some([month, day, time, year]) => civil(s, year, month, day, time),
        _ => None,
    };
    // reboot system boot KERNEL Thu Sep 10 09:55:25 2026 - Fri Nov 20 09:07:15 2026 (70+23:11)
    let boots = lines.iter().filter(|w| w.first() == Some(&"reboot"));
    let downs: Vec<i64> = boots.filter_map(|w| at(w, 11)).collect();
    let rows = lines.iter().filter_map(|w| {
        // NAME pts/0 FROM Tue Nov 24 14:34:24 2026 - Tue Nov 24 15:00:00 2026  (00:25)
        let name = *w.first()?;
        let begun = at(w, 4).filter(|_| w[1].starts_with("pts/"))?;
        let ended = match w.get(9) {
            // He was there when the machine went down. `last` tells how long in minutes; when, to the second, the line of that boot,
            // unless it lies in an older file.
            Some(&"down") => {
                let about = begun + w.get(10).and_then(|w| lasted(w))?;
                downs.iter().copied().find(|t| (t - about).abs() <= 60)
            }
            _ => at(w, 10),
        };
        Some(Session { name, begun, ended })
    });
    Ok(rows.collect())
}

/// Seconds of `(01:55)` or `(12+23:39)`.
fn lasted(word: &str) -> Option<i64> {
    let word = word.strip_prefix('(')?.strip_suffix(')')?;
    let (days, rest) = word.split_once('+').unwrap_or(("0", word));
    let (hours, minutes) = rest.split_once(':')?;
    let number = |w: &str| w.parse::<i64>().ok();
    Some(number(days)? * 86_400 + number(hours)? * 3600 + number(minutes)? * 60)
}

/// A history file: when it was last written, its lines, its owner's name.
fn histories(s: &Seen) -> Result<Vec<(i64, usize, &str)>, String> {
    let out: Vec<_> = s
        .table("histories")?
        .into_iter()
        .filter_map(|w| {
            let name = w.get(3)?.strip_suffix("/.bash_history")?.rsplit('/').next()?;
            Some((w.first()?.parse().ok()?, w.get(2)?.parse().ok()?, name))
        })
        .collect();
    hold(!out.is_empty(), || "nobody has a history".into())?;
    Ok(out)
}

/// Lines of a history file that is full: what was typed long ago is not in it any more.
const FULL: usize = 1900;

/// Within this many seconds bash writes its history and sshd tells of the end.
const LATE: i64 = 5;

pub(super) const CHECKS: &[Check] = &[
    c(
        "people-homes",
        "every account of a person has a home that is its own, and every home an account",
        |s| {
            let people = people(s)?;
            // A directory of somebody else's there is no home.
            let homes: Vec<Vec<&str>> = s
                .table("homes")?
                .into_iter()
                .filter(|h| {
                    h.get(2)
                        .and_then(|uid| uid.parse::<u32>().ok())
                        .is_some_and(|uid| uid >= 1000)
                })
                .collect();
            same("/etc/passwd", people.len(), "/home", homes.len())?;
            for h in homes {
                let (name, uid) = (h.last().copied().unwrap_or(""), h.get(2).copied().unwrap_or(""));
                let owner = people.iter().find(|p| p.3 == format!("/home/{name}"));
                let owner = owner.ok_or_else(|| format!("/home/{name} is nobody's"))?;
                same("/etc/passwd", owner.1.to_string().as_str(), "/home", uid)?;
            }
            Ok(())
        },
    ),
    c(
        "people-shadow",
        "/etc/passwd and /etc/shadow have the same accounts in one order",
        |s| {
            same(
                "/etc/passwd",
                first_fields(s, "passwd")?.join(" "),
                "/etc/shadow",
                first_fields(s, "shadow")?.join(" "),
            )
        },
    ),
    c("people-groups", "every account's group is in /etc/group", |s| {
        let groups: Vec<&str> = s
            .lines("group")?
            .into_iter()
            .filter_map(|l| l.split(':').nth(2))
            .collect();
        for l in s.lines("passwd")? {
            let gid = l.split(':').nth(3).unwrap_or("");
            hold(groups.contains(&gid), || format!("no group {gid} for {l}"))?;
        }
        Ok(())
    }),
    c("people-members", "every member of a group has an account", |s| {
        let all = first_fields(s, "passwd")?;
        for l in s.lines("group")? {
            for m in l
                .rsplit(':')
                .next()
                .unwrap_or("")
                .split(',')
                .filter(|m| !m.is_empty())
            {
                hold(all.contains(&m), || format!("{m} is a member in {l}"))?;
            }
        }
        Ok(())
    }),
    c("people-subuid", "every person has a range in /etc/subuid", |s| {
        let ranges = first_fields(s, "subuid")?;
        let names: Vec<&str> = people(s)?.iter().map(|p| p.0).collect();
        same("/etc/passwd", names.join(" "), "/etc/subuid", ranges.join(" "))
    }),
    c("people-getent", "getent gives the accounts of /etc/passwd", |s| {
        same(
            "/etc/passwd",
            s.lines("passwd")?.len(),
            "getent",
            s.lines("getent")?.len(),
        )
    }),
    c(
        "people-last",
        "everybody who was ever logged in has an account",
        |s| {
            let all = first_fields(s, "passwd")?;
            for n in named(s, "last")? {
                hold(all.contains(&n), || format!("last shows {n}"))?;
            }
            Ok(())
        },
    ),
    c(
        "people-lastlog",
        "lastlog and last agree who was logged in last",
        |s| {
            let log = s.lines("lastlog")?;
            let mut seen = Vec::new();
            for l in s.lines("last")? {
                let w: Vec<&str> = l.split_whitespace().collect();
                // NAME LINE FROM Tue Nov 24 14:34:24 2026 - ...
                let [name, _, from, _, month, day, time, ..] = w.as_slice() else {
                    continue;
                };
                if matches!(*name, "reboot" | "wtmp") || seen.contains(name) {
                    continue;
                }
                seen.push(name);
                let told = log
                    .iter()
                    .find(|r| r.split_whitespace().next() == Some(name))
                    .copied()
                    .unwrap_or("");
                let words: Vec<&str> = told.split_whitespace().collect();
                hold([from, month, day, time].iter().all(|t| words.contains(t)), || {
                    format!(
                        "last says {name} {from} {month} {day} {time}, lastlog {}",
                        words.join(" ")
                    )
                })?;
            }
            hold(!seen.is_empty(), || "last shows nobody".into())
        },
    ),
    c(
        "people-failed",
        "failed logins came from where people log in or with names that have accounts",
        |s| {
            let all = first_fields(s, "passwd")?;
            for n in named(s, "lastb")? {
                hold(all.contains(&n), || format!("lastb shows {n}"))?;
            }
            Ok(())
        },
    ),
    c(
        "people-history",
        "a person's shell history was last written at the end of a session of his",
        |s| {
            let all = sessions(s)?;
            for (written, _, name) in histories(s)?.into_iter().filter(|h| h.2 != "root") {
                let mut mine = all.iter().filter(|l| l.name == name);
                let ended = mine.any(|l| l.ended.is_some_and(|t| (t - written).abs() <= LATE));
                hold(ended, || format!("{name}'s was written at {written}"))?;
            }
            Ok(())
        },
    ),
    c(
        "people-history-young",
        "who was there for ten minutes or more typed something",
        |s| {
            let all = sessions(s)?;
            let files = histories(s)?;
            for p in people(s)? {
                let mine = all.iter().filter(|l| l.name == p.0);
                let long = mine.filter_map(|l| l.ended.filter(|t| t - l.begun >= 600));
                let Some(last) = long.max() else { continue };
                let file = files.iter().find(|h| h.2 == p.0);
                hold(file.is_some_and(|h| h.0 >= last - LATE), || {
                    format!("{} left at {last}, the history is older", p.0)
                })?;
            }
            Ok(())
        },
    ),
    c(
        "people-history-root",
        "root's shell history was written while somebody was logged in",
        |s| {
            let all = sessions(s)?;
            for (written, ..) in histories(s)?.into_iter().filter(|h| h.2 == "root") {
                let there =
                    |l: &Session<'_>| l.begun <= written && l.ended.is_none_or(|t| written <= t + LATE);
                hold(all.iter().any(there), || format!("written at {written}"))?;
            }
            Ok(())
        },
    ),
    c("people-history-apt", "who called apt last has typed it", |s| {
        let history = s.get("apt.history")?;
        let calls = history
            .split("\nStart-Date: ")
            .filter(|r| r.contains("\nRequested-By: "));
        let Some(last) = calls.max_by_key(|r| r.lines().next().unwrap_or("").to_string()) else {
            return Ok(());
        };
        let told = |key: &str| last.lines().find_map(|l| l.strip_prefix(key)).unwrap_or("");
        let who = told("Requested-By: ").split(' ').next().unwrap_or("");
        let line = format!("/home/{who}/.bash_history:sudo {}", told("Commandline: "));
        let full = histories(s)?.iter().any(|h| h.2 == who && h.1 >= FULL);
        hold(full || s.lines("histories.apt")?.contains(&line.as_str()), || {
            format!("no {line:?}")
        })
    }),
    c("people-keys", "every person's authorized_keys holds a key", |s| {
        let rows = s.table("keys")?;
        same(
            "/etc/passwd",
            people(s)?.len(),
            "authorized_keys",
            rows.iter()
                .filter(|r| r.iter().any(|w| w.starts_with("SHA256:")))
                .count(),
        )
    }),
    c(
        "people-journal",
        "the keys that the journal saw are those in authorized_keys",
        |s| {
            let known: Vec<&str> = s
                .table("keys")?
                .concat()
                .into_iter()
                .filter(|w| w.starts_with("SHA256:"))
                .collect();
            for l in s
                .lines("journal.login")?
                .iter()
                .filter(|l| l.contains("Accepted publickey for "))
            {
                let user = l
                    .split("Accepted publickey for ")
                    .nth(1)
                    .and_then(|t| t.split(' ').next())
                    .unwrap_or("");
                let print = l.rsplit(' ').next().unwrap_or("");
                hold(user == "root" || known.contains(&print), || {
                    format!("the journal has {print} of {user}")
                })?;
            }
            Ok(())
        },
    ),
];
