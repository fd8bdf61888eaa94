//! When a job of cron's is due: the five fields of a crontab line (crontab(5)), and the next minute that they name.

use turncoat_cover::clock::{Civil, Zone};
use turncoat_freeze::Freeze;

const MINUTE: i64 = 60;
const DAY: i64 = 86_400;
/// No schedule is looked at further ahead.
const AHEAD: i64 = 400;

/// When a job is due.
#[derive(Clone, Debug, PartialEq, Eq, Freeze)]
pub enum When {
    /// When the machine boots.
    Reboot,
    /// In these minutes.
    At(Fields),
}

/// Bit n is set where the field holds n.
#[derive(Clone, Debug, PartialEq, Eq, Freeze)]
pub struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Day of the month or of the week is `*`: both must fit then, else one of them.
    any_day: bool,
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

fn value(text: &str, low: u32, names: &[&str]) -> Option<u32> {
    if let Ok(n) = text.parse() {
        return Some(n);
    }
    let n = names.iter().position(|n| n.eq_ignore_ascii_case(text))?;
    Some(n as u32 + low)
}

fn field(text: &str, low: u32, high: u32, names: &[&str]) -> Option<u64> {
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((r, s)) => (r, s.parse::<u32>().ok().filter(|s| *s > 0)?),
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (low, high),
            Some((a, b)) => (value(a, low, names)?, value(b, low, names)?),
            None => {
                let n = value(range, low, names)?;
                (n, if part.contains('/') { high } else { n })
            }
        };
        if from < low || to > high || from > to {
            return None;
        }
        let mut n = from;
        while n <= to {
            bits |= 1u64 << n;
            n += step;
        }
    }
    Some(bits)
}

impl When {
    /// Reads the time of a crontab line. Gives what follows it.
    pub fn parse(line: &str) -> Option<(When, &str)> {
        let line = line.trim_start();
        if let Some(rest) = line.strip_prefix('@') {
            let (name, rest) = rest.split_once(char::is_whitespace)?;
            let fields = match name {
                "reboot" => return Some((When::Reboot, rest.trim_start())),
                "yearly" | "annually" => "0 0 1 1 *",
                "monthly" => "0 0 1 * *",
                "weekly" => "0 0 * * 0",
                "daily" | "midnight" => "0 0 * * *",
                "hourly" => "0 * * * *",
                _ => return None,
            };
            return Some((When::parse(&format!("{fields} x"))?.0, rest.trim_start()));
        }
        let mut rest = line;
        let mut words = [""; 5];
        for w in &mut words {
            let (word, more) = rest.split_once(char::is_whitespace)?;
            (*w, rest) = (word, more.trim_start());
        }
        let [minutes, hours, days, months, weekdays] = words;
        let mut week = field(weekdays, 0, 7, &WEEKDAYS)?;
        // Sunday is 0 and 7.
        week |= week >> 7 & 1;
        let fields = Fields {
            minutes: field(minutes, 0, 59, &[])?,
            hours: field(hours, 0, 23, &[])?,
            days: field(days, 1, 31, &[])?,
            months: field(months, 1, 12, &MONTHS)?,
            weekdays: week,
            any_day: days.starts_with('*') || weekdays.starts_with('*'),
        };
        Some((When::At(fields), rest))
    }

    /// The first due minute behind `after`, seconds since the epoch; `None` if there is none for more than a year.
    pub fn next(&self, after: i64, zone: &Zone) -> Option<i64> {
        let When::At(f) = self else { return None };
        let first = after.div_euclid(MINUTE) * MINUTE + MINUTE;
        for day in 0..AHEAD {
            let at = first + day * DAY;
            let local = at + zone.offset_at(at);
            let midnight = local - local.rem_euclid(DAY);
            if !f.day(midnight) {
                continue;
            }
            let from = if day == 0 { local - midnight } else { 0 };
            for minute in from / MINUTE..1440 {
                if f.hours >> (minute / 60) & 1 == 1 && f.minutes >> (minute % 60) & 1 == 1 {
                    let local = midnight + minute * MINUTE;
                    // Where the clock is set forward or back that day, the offset is that of the minute itself.
                    return Some(local - zone.offset_at(local - zone.offset_at(at)));
                }
            }
        }
        None
    }
}

impl Fields {
    fn day(&self, midnight: i64) -> bool {
        let c = Civil::from_unix(midnight);
        let weekday = (midnight.div_euclid(DAY) + 4).rem_euclid(7);
        let (day, week) = (self.days >> c.day & 1 == 1, self.weekdays >> weekday & 1 == 1);
        self.months >> c.month & 1 == 1 && if self.any_day { day && week } else { day || week }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(line: &str, after: i64) -> Option<i64> {
        let zone = &turncoat_cover::clock::ZONES.first().unwrap().0;
        assert_eq!(zone.name, "Etc/UTC");
        When::parse(line).unwrap().0.next(after, zone)
    }

    #[test]
    fn lines_are_due_when_cron_says() {
        // Thursday, 1 January 1970.
        assert_eq!(next("* * * * * x", 0), Some(60));
        assert_eq!(next("*/5 * * * * x", 1), Some(300));
        assert_eq!(next("17 * * * * x", 17 * 60), Some(77 * 60));
        assert_eq!(next("25 6 * * * x", 0), Some(6 * 3600 + 25 * 60));
        assert_eq!(next("0 0 * * sun x", 0), Some(3 * DAY));
        assert_eq!(next("0 0 * * 7 x", 0), Some(3 * DAY));
        assert_eq!(next("0 0 13 * 5 x", 0), Some(DAY), "the 13th or a Friday");
        assert_eq!(next("0 0 1 feb * x", 0), Some(31 * DAY));
        assert_eq!(next("5/20 3-4 * * * x", 0), Some(3 * 3600 + 300));
        assert_eq!(next("0 0 31 2 * x", 0), None);
        assert_eq!(next("@monthly x", 0), Some(31 * DAY));
        assert_eq!(next("@reboot x", 0), None);
        assert_eq!(When::parse("@daily  do it").unwrap().1, "do it");
        assert_eq!(When::parse("1 2 3 4 5 root  do it").unwrap().1, "root  do it");
        for bad in [
            "60 * * * * x",
            "* * * * x",
            "*/0 * * * * x",
            "@often x",
            "5-1 * * * * x",
            "",
        ] {
            assert_eq!(When::parse(bad), None, "{bad}");
        }
    }
}
