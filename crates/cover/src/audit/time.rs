//! One clock: uptime, boot, counters.

use super::{Check, Seen, c, hold, near, number};

fn now(s: &Seen) -> Result<i64, String> {
    number(s.line("now")?).ok_or("date says no number".into())
}

/// Seconds of the first and second figure of /proc/uptime.
fn uptime(s: &Seen, id: &str) -> Result<(f64, f64), String> {
    let w: Vec<f64> = s.line(id)?.split(' ').filter_map(|n| n.parse().ok()).collect();
    match w.as_slice() {
        [up, idle] => Ok((*up, *idle)),
        _ => Err("/proc/uptime is no pair".into()),
    }
}

fn btime(s: &Seen) -> Result<i64, String> {
    s.number("proc.stat", "btime")
}

fn cpu(s: &Seen, id: &str) -> Result<Vec<i64>, String> {
    Ok(s.value(id, "cpu ")?
        .split_whitespace()
        .filter_map(|n| n.parse().ok())
        .collect())
}

/// Seconds since the epoch of `2026 Nov 24 14:34:24` in the machine's zone.
pub(super) fn civil(s: &Seen, year: &str, month: &str, day: &str, time: &str) -> Option<i64> {
    let month = match number(month) {
        Some(m) => m as u32,
        None => crate::clock::MONTHS.iter().position(|m| *m == month)? as u32 + 1,
    };
    let t: Vec<i64> = time.split(':').filter_map(|n| n.parse().ok()).collect();
    let days = crate::clock::days_from_civil(number(year)?, month, day.parse().ok()?);
    let local = days * 86_400 + t.first()? * 3600 + t.get(1)? * 60 + t.get(2).copied().unwrap_or(0);
    let zone = s.line("timezone").ok()?;
    let zone = crate::clock::ZONES.iter().find(|z| z.0.name == zone)?.0;
    Some(local - zone.offset_at(local - zone.offset))
}

pub(super) const CHECKS: &[Check] = &[
    c(
        "time-boot",
        "date minus uptime is the moment of boot in /proc/stat",
        |s| {
            // The two that are asked right after each other: what lies between the others may take seconds.
            let now = number(s.line("now.2")?).unwrap_or(0);
            near(
                "date and uptime",
                now - uptime(s, "uptime.2")?.0 as i64,
                "btime",
                btime(s)?,
                4,
            )
        },
    ),
    c("time-since", "uptime -s is that moment", |s| {
        let (d, t) = s
            .line("uptime.s")?
            .split_once(' ')
            .ok_or("uptime -s says no time")?;
        let f: Vec<&str> = d.split('-').collect();
        let [year, month, day] = f.as_slice() else {
            return Err(d.into());
        };
        near(
            "uptime -s",
            civil(s, year, month, day, t).unwrap_or(0),
            "btime",
            btime(s)?,
            4,
        )
    }),
    c("time-who", "who -b is that moment, to the minute", |s| {
        let w: Vec<&str> = s.line("who.b")?.split_whitespace().collect();
        let (date, time) = (w.iter().rev().nth(1), w.last());
        let at = match (date, time) {
            (Some(d), Some(t)) if d.contains('-') => {
                let f: Vec<&str> = d.split('-').collect();
                civil(s, f[0], f.get(1).unwrap_or(&""), f.get(2).unwrap_or(&""), t)
            }
            // With the C locale: `Nov 14 12:49`, without a year.
            (Some(d), Some(t)) => {
                let month = w.iter().rev().nth(2).copied().unwrap_or("");
                let year = crate::clock::Civil::from_unix(btime(s)?).year.to_string();
                civil(s, &year, month, d, t)
            }
            _ => None,
        };
        near("who -b", at.unwrap_or(0), "btime", btime(s)?, 120)
    }),
    c("time-last", "last has the boot that runs", |s| {
        let line = s
            .lines("last.x")?
            .into_iter()
            .find(|l| l.starts_with("reboot"))
            .ok_or("last -x has no boot")?;
        let w: Vec<&str> = line.split_whitespace().collect();
        // reboot system boot RELEASE Sat Nov 14 12:49:03 2026 still running
        let at = w.get(5..9).and_then(|w| civil(s, w[3], w[0], w[1], w[2]));
        hold(line.contains("still running"), || line.into())?;
        near("last", at.unwrap_or(0), "btime", btime(s)?, 60)
    }),
    c(
        "time-init",
        "the first process is as old as the machine is up",
        |s| {
            let rows = s.table("ps")?;
            let init = rows.iter().find(|r| r.first() == Some(&"1")).ok_or("no init")?;
            near(
                "ps",
                init.get(3).and_then(|n| number(n)).unwrap_or(-1),
                "/proc/uptime",
                uptime(s, "uptime")?.0 as i64,
                4,
            )
        },
    ),
    c(
        "time-processes",
        "no process is older than the machine is up",
        |s| {
            let up = uptime(s, "uptime")?.0 as i64 + 2;
            for r in s.table("ps")?.iter().skip(1) {
                // ps itself may have begun in the tick in which it looked at the clock: then it counts below nothing.
                let own = r.get(5) == Some(&"ps") && r.get(6) == Some(&"-eo");
                let age = r.get(3).and_then(|n| number(n));
                hold(age.is_some_and(|age| age <= up || own && age > 1 << 31), || {
                    r.join(" ")
                })?;
            }
            Ok(())
        },
    ),
    c("time-moves", "the clock and the uptime go at one pace", |s| {
        let wall = number(s.line("now.2")?).unwrap_or(0) - now(s)?;
        let up = uptime(s, "uptime.2")?.0 - uptime(s, "uptime")?.0;
        hold(up >= 0.0 && (wall as f64 - up).abs() < 30.0 && wall >= 0, || {
            format!("clock {wall} s, uptime {up} s")
        })
    }),
    c(
        "time-idle",
        "/proc/uptime and /proc/stat have one idle time",
        |s| {
            let idle = cpu(s, "proc.stat")?.get(3).copied().unwrap_or(0);
            let shown = uptime(s, "uptime")?.1 as i64;
            near("/proc/uptime", shown, "/proc/stat", idle / 100, 20 + shown / 500)
        },
    ),
    c("time-cpu", "the processors' times add up to the uptime", |s| {
        let n = number(s.line("nproc")?).unwrap_or(1);
        let sum: i64 = cpu(s, "proc.stat")?.iter().sum();
        let all = uptime(s, "uptime")?.0 as i64 * 100 * n;
        near("/proc/stat", sum, "uptime", all, 3000 * n + all / 50)
    }),
    c(
        "time-cpu-each",
        "the processors' lines add up to the first",
        |s| {
            let mut sum = 0;
            for l in s
                .lines("proc.stat")?
                .iter()
                .filter(|l| l.starts_with("cpu") && !l.starts_with("cpu "))
            {
                sum += l
                    .split_whitespace()
                    .skip(1)
                    .filter_map(|n| n.parse::<i64>().ok())
                    .sum::<i64>();
            }
            near(
                "the lines",
                sum,
                "the first",
                cpu(s, "proc.stat")?.iter().sum(),
                100,
            )
        },
    ),
    c("time-rises", "no counter of /proc/stat falls", |s| {
        let (a, b) = (cpu(s, "proc.stat")?, cpu(s, "proc.stat.2")?);
        hold(a.len() >= 8 && a.iter().zip(&b).all(|(a, b)| b >= a), || {
            "processor time falls".into()
        })?;
        for key in ["ctxt", "processes", "intr"] {
            let (a, b) = (s.number("proc.stat", key)?, s.number("proc.stat.2", key)?);
            hold(b >= a, || format!("{key} falls from {a} to {b}"))?;
        }
        Ok(())
    }),
    c(
        "time-interrupts",
        "/proc/stat counts the interrupts that /proc/interrupts lists",
        |s| {
            let mut sum = 0i64;
            for l in s.lines("interrupts")?.iter().skip(1) {
                sum += l
                    .split_whitespace()
                    .skip(1)
                    .map_while(|n| n.parse::<i64>().ok())
                    .sum::<i64>();
            }
            let total = s.number("proc.stat", "intr")?;
            near("/proc/interrupts", sum, "/proc/stat", total, 2000 + total / 20)
        },
    ),
    c("time-load", "uptime and /proc/loadavg show one load", |s| {
        let file: Vec<f64> = s
            .line("loadavg")?
            .split(' ')
            .take(3)
            .filter_map(|n| n.parse().ok())
            .collect();
        let shown = s.line("uptime.p")?.rsplit("load average:").next().unwrap_or("");
        let shown: Vec<f64> = shown.split(',').filter_map(|n| n.trim().parse().ok()).collect();
        let close =
            file.len() == 3 && shown.len() == 3 && file.iter().zip(&shown).all(|(a, b)| (a - b).abs() < 0.3);
        hold(close, || format!("{file:?} and {shown:?}"))
    }),
    c(
        "time-load-moves",
        "a server that has been up for a day has some load",
        |s| {
            if uptime(s, "uptime")?.0 < 86_400.0 {
                return Ok(());
            }
            let all: Vec<&str> = s.line("loadavg")?.split(' ').take(3).collect();
            hold(all.iter().any(|l| *l != "0.00"), || {
                "the load is 0.00 0.00 0.00".into()
            })
        },
    ),
    c(
        "time-processes-made",
        "/proc/stat has made at least as many processes as the last has as its number",
        |s| {
            let last = s
                .line("loadavg")?
                .rsplit(' ')
                .next()
                .and_then(number)
                .unwrap_or(0);
            let made = s.number("proc.stat.2", "processes")?;
            hold(made >= last, || format!("{made} made, the last is {last}"))
        },
    ),
    c("time-future", "no file was changed in the future", |s| {
        let odd = s.lines("future")?;
        hold(odd.is_empty(), || odd.join(" "))
    }),
    c(
        "time-before",
        "what people and programs wrote is younger than the installation",
        |s| {
            // Files that a package brings have the dates of the package.
            let own = [
                "/root/.profile",
                "/root/.bashrc",
                "/var/log/runit",
                "/var/log/runit/ssh",
            ];
            let odd: Vec<&str> = s
                .lines("early")?
                .into_iter()
                .filter(|f| !own.contains(f))
                .collect();
            hold(odd.is_empty(), || odd.join(" "))
        },
    ),
    c(
        "time-made",
        "the root directory was changed after it was made",
        |s| {
            let rows = s.table("birth")?;
            let n = |i: usize| {
                rows.first()
                    .and_then(|r| r.get(i))
                    .and_then(|n| n.parse::<i64>().ok())
                    .unwrap_or(-1)
            };
            hold(n(1) >= n(0) && n(0) > 0, || {
                format!("made {}, changed {}", n(0), n(1))
            })
        },
    ),
];
