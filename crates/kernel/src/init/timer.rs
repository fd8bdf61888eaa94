//! When timers fire (systemd.timer(5), systemd.time(7)): the calendar expressions that Debian's units use.

use super::props::span;
use super::state::triggered;
use super::unit::Unit;
use crate::world::World;
use turncoat_cover::clock::{Civil, DAYS, Zone};

const DAY: i64 = 86_400;
/// Days that are looked ahead and back.
const AHEAD: i64 = 370;

/// A calendar expression.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Calendar {
    /// Days of the week, Sunday first.
    weekdays: [bool; 7],
    months: Vec<u32>,
    days: Vec<u32>,
    hours: Vec<u32>,
    minutes: Vec<u32>,
    seconds: Vec<u32>,
}

/// `*`, `a,b`, `a/b` and `a..b` between two bounds.
fn field(text: &str, low: u32, high: u32) -> Option<Vec<u32>> {
    let mut out = Vec::new();
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((r, s)) => (r, Some(s.parse::<u32>().ok()?.max(1))),
            None => (part, None),
        };
        let (from, to) = match (range, range.split_once("..")) {
            ("*", _) => (low, high),
            (_, Some((a, b))) => (a.parse().ok()?, b.parse().ok()?),
            (n, None) => {
                let n = n.parse().ok()?;
                (n, if step.is_some() { high } else { n })
            }
        };
        if from < low || to > high {
            return None;
        }
        out.extend((from..=to).step_by(step.unwrap_or(1) as usize));
    }
    out.sort_unstable();
    out.dedup();
    Some(out)
}

impl Calendar {
    fn parse(text: &str) -> Option<Calendar> {
        let text = match text {
            "minutely" => "*-*-* *:*:00",
            "hourly" => "*-*-* *:00:00",
            "daily" => "*-*-* 00:00:00",
            "weekly" => "Mon *-*-* 00:00:00",
            "monthly" => "*-*-01 00:00:00",
            "yearly" | "annually" => "*-01-01 00:00:00",
            t => t,
        };
        let mut c = Calendar {
            weekdays: [true; 7],
            months: field("*", 1, 12)?,
            days: field("*", 1, 31)?,
            hours: vec![0],
            minutes: vec![0],
            seconds: vec![0],
        };
        for word in text.split_whitespace() {
            if word.contains(':') {
                let mut parts = word.split(':');
                c.hours = field(parts.next()?, 0, 23)?;
                c.minutes = field(parts.next()?, 0, 59)?;
                c.seconds = field(parts.next().unwrap_or("0"), 0, 59)?;
            } else if word.contains('-') {
                let mut parts = word.rsplit('-');
                c.days = field(parts.next()?, 1, 31)?;
                c.months = field(parts.next()?, 1, 12)?;
                if parts.next().is_some_and(|y| y != "*") {
                    return None;
                }
            } else {
                c.weekdays = [false; 7];
                for d in word.split(',') {
                    let at = DAYS.iter().position(|n| d.starts_with(n))?;
                    c.weekdays[at] = true;
                }
            }
        }
        Some(c)
    }

    fn on(&self, day: &Civil) -> bool {
        self.weekdays.get(day.weekday as usize) == Some(&true)
            && self.months.contains(&day.month)
            && self.days.contains(&day.day)
    }

    /// The first second behind `after`, or the last one before it; seconds since the epoch.
    fn step(&self, after: i64, zone: &Zone, back: bool) -> Option<i64> {
        let local = after + zone.offset_at(after);
        let today = local - local.rem_euclid(DAY);
        for n in 0..AHEAD {
            let midnight = if back { today - n * DAY } else { today + n * DAY };
            if !self.on(&Civil::from_unix(midnight)) {
                continue;
            }
            let of_day = self.hours.iter().flat_map(|h| {
                let minutes = self
                    .minutes
                    .iter()
                    .flat_map(|m| self.seconds.iter().map(move |s| m * 60 + s));
                minutes.map(move |s| midnight + i64::from(h * 3600 + s))
            });
            let unix = |l: i64| l - zone.offset_at(l - zone.offset_at(after));
            let mut all = of_day.map(unix);
            let found = if back {
                all.rfind(|t| *t < after)
            } else {
                all.find(|t| *t > after)
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

/// When a timer fires next on the wall clock and by the monotonic clock, and when it fired last, in microseconds; 0: not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Elapses {
    pub realtime: u64,
    pub monotonic: u64,
    pub last: u64,
}

impl World {
    /// When a timer fires: as the machine's log tells it, or by its calendar and the delay that is drawn for it.
    pub(super) fn elapses(&mut self, u: &Unit) -> Elapses {
        let offset = self.clock.offset() / 1_000;
        let now = (self.clock.real() / crate::time::SEC) as i64;
        let booted = (offset / 1_000_000) as i64;
        let zone = self.facts_of.zone.unwrap_or(turncoat_cover::clock::ZONES[0].0);
        let us = |s: i64| s.max(0) as u64 * 1_000_000;
        let service = triggered(u);
        let mut out = Elapses::default();
        let told = self.facts_of.timers.clone();
        let told = told.filter(|_| u.path.starts_with("/lib/"));
        if let Some((last, next)) = told.and_then(|t| Some((t.ran(&service, now)?, t.runs(&service, now)?))) {
            out.last = if last > booted { us(last) } else { 0 };
            match u.get("Timer", "OnCalendar") {
                Some(_) => out.realtime = us(next),
                None => out.monotonic = us(next).saturating_sub(offset),
            }
            return out;
        }
        if let Some(c) = u.get("Timer", "OnCalendar").and_then(Calendar::parse) {
            let delay = u.get("Timer", "RandomizedDelaySec").and_then(span).unwrap_or(0) / crate::time::SEC;
            let guid = self.bus_guid();
            let drawn = guid.bytes().chain(u.name.bytes());
            let drawn = drawn.fold(7u64, |h, b| h.wrapping_mul(131).wrapping_add(b.into()));
            let late = (drawn % delay.max(1)) as i64;
            out.realtime = c.step(now - late, &zone, false).map_or(0, |t| us(t + late));
            let last = c.step(now - late, &zone, true).map_or(0, |t| t + late);
            out.last = if last > booted && u.path.starts_with("/lib/") {
                us(last)
            } else {
                0
            };
        }
        let up = self.init.runs.get(&u.name).map_or(0, |r| r.active_enter / 1_000);
        let spans = [("OnBootSec", 0), ("OnStartupSec", 0), ("OnActiveSec", up)];
        let all = spans
            .into_iter()
            .filter_map(|(key, from)| Some(from + span(u.get("Timer", key)?)? / 1_000));
        let uptime = self.clock.mono() / 1_000;
        out.monotonic = all.filter(|t| *t > uptime).min().unwrap_or(0);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendars_step() {
        let utc = turncoat_cover::clock::ZONES[0].0;
        // 2026-11-26 02:00:00 UTC, a Thursday.
        let now = 1_795_658_400;
        let next = |t: &str| Calendar::parse(t).and_then(|c| c.step(now, &utc, false));
        assert_eq!(next("daily"), Some(now + 22 * 3600));
        assert_eq!(next("*-*-* 6,18:00"), Some(now + 4 * 3600));
        assert_eq!(next("Sun *-*-* 03:10:00"), Some(now + 3 * DAY + 4_200));
        assert_eq!(next("weekly"), Some(now + 4 * DAY - 7_200));
        assert_eq!(next("*:0/5"), Some(now + 300));
        let last = Calendar::parse("hourly").and_then(|c| c.step(now, &utc, true));
        assert_eq!(last, Some(now - 3600));
        assert_eq!(Calendar::parse("what"), None);
        assert_eq!(Calendar::parse("*-*-* 25:00"), None);
    }
}
