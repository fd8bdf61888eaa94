//! Calendar expressions (systemd.time(7), "Calendar Events"): which seconds they name, in a zone. Fractions of seconds are cut off.

use turncoat_cover::clock::{Civil, ZONES, Zone};

const DAY: i64 = 86_400;
/// Days that are looked ahead and back: a 29th of February may be eight years away, on a given weekday forty.
const AHEAD: i64 = 41 * 366;
const WEEKDAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];
/// Expressions that have a name.
const NAMED: [(&str, &str); 13] = [
    ("minutely", "*-*-* *:*:00"),
    ("hourly", "*-*-* *:00:00"),
    ("daily", "*-*-* 00:00:00"),
    ("weekly", "Mon *-*-* 00:00:00"),
    ("monthly", "*-*-01 00:00:00"),
    ("quarterly", "*-01,04,07,10-01 00:00:00"),
    ("semiannually", "*-01,07-01 00:00:00"),
    ("semi-annually", "*-01,07-01 00:00:00"),
    ("biannually", "*-01,07-01 00:00:00"),
    ("bi-annually", "*-01,07-01 00:00:00"),
    ("yearly", "*-01-01 00:00:00"),
    ("annually", "*-01-01 00:00:00"),
    ("anually", "*-01-01 00:00:00"),
];

/// `a`, `a..b`, `a/step` or `a..b/step`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Chain {
    from: i64,
    to: Option<i64>,
    step: i64,
}

/// A part of an expression: a list of chains; an empty one stands for `*`.
type Part = Vec<Chain>;

/// Most chains in one part.
const CHAINS: usize = 64;

/// Whether a part names this number.
fn named(part: &Part, n: i64) -> bool {
    let one = |c: &Chain| match (c.to, c.step) {
        (None, 0) => n == c.from,
        (to, step) => n >= c.from && to.is_none_or(|t| n <= t) && (n - c.from) % step.max(1) == 0,
    };
    part.is_empty() || part.iter().any(one)
}

/// What numbers a part may name.
#[derive(Clone, Copy)]
struct Bounds {
    low: i64,
    high: i64,
    /// Counted from the end of the month.
    from_end: bool,
    /// Numbers may have fractions.
    fractions: bool,
}

fn bounds(low: i64, high: i64) -> Bounds {
    Bounds {
        low,
        high,
        from_end: false,
        fractions: false,
    }
}

fn part(text: &str, b: Bounds) -> Option<Part> {
    if text == "*" {
        return Some(Part::new());
    }
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let number = |t: &str| match t.split_once('.') {
        Some((whole, fraction)) if b.fractions && digits(fraction) && digits(whole) => whole.parse().ok(),
        _ if digits(t) => t.parse::<i64>().ok().filter(|n| *n < 10_000),
        _ => None,
    };
    // The last days of a month are those that every month has.
    let (low, high) = (b.low, if b.from_end { b.high - 3 } else { b.high });
    let mut out = Part::new();
    for text in text.split(',').take(CHAINS + 1) {
        let (range, step) = match text.split_once('/') {
            Some((r, s)) => (r, Some(number(s)?)),
            None => (text, None),
        };
        let (from, to) = match range.split_once("..") {
            Some((a, b)) => (number(a)?, Some(number(b)?)),
            None => (number(range)?, None),
        };
        let step = match (step, to) {
            (Some(0), _) => return None,
            (Some(s), _) => s,
            (None, Some(_)) => 1,
            (None, None) => 0,
        };
        // One repetition at least has to fit.
        let fits = match (to, b.from_end) {
            (Some(to), _) => (low..=high).contains(&to) && from + step <= to,
            (None, true) => from - step >= low,
            (None, false) => from + step <= high,
        };
        if !(low..=high).contains(&from) || !fits || out.len() >= CHAINS {
            return None;
        }
        out.push(Chain { from, to, step });
    }
    Some(out)
}

fn weekday(name: &str) -> Option<usize> {
    let name = name.to_ascii_lowercase();
    WEEKDAYS.iter().position(|d| *d == name || d[..3] == *name)
}

/// A calendar expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Calendar {
    /// Days of the week, Monday first.
    weekdays: [bool; 7],
    years: Part,
    months: Part,
    days: Part,
    /// Days are counted from the end of the month.
    from_end: bool,
    hours: Part,
    minutes: Part,
    seconds: Part,
    /// It names its zone.
    zone: Option<Zone>,
}

impl Calendar {
    /// Reads an expression.
    pub fn parse(text: &str) -> Option<Calendar> {
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let utc = ZONES[0].0;
        let zone = match *words.last()? {
            "UTC" => Some(utc),
            name => ZONES.iter().map(|z| z.0).find(|z| z.name == name),
        };
        if zone.is_some() {
            words.pop();
        }
        let name = words.first()?.to_ascii_lowercase();
        let stands_for = NAMED.iter().find(|n| n.0 == name).map(|n| n.1);
        if let Some(text) = stands_for {
            if words.len() > 1 {
                return None;
            }
            words = text.split_whitespace().collect();
        }
        if let Some(seconds) = words[0].strip_prefix('@') {
            let at = Civil::from_unix(seconds.parse().ok().filter(|s| (0..=7_258_118_400).contains(s))?);
            let one = |n: i64| {
                vec![Chain {
                    from: n,
                    to: None,
                    step: 0,
                }]
            };
            return (words.len() == 1).then(|| Calendar {
                weekdays: [true; 7],
                years: one(at.year),
                months: one(at.month.into()),
                days: one(at.day.into()),
                from_end: false,
                hours: one(at.hour.into()),
                minutes: one(at.minute.into()),
                seconds: one(at.second.into()),
                zone: Some(utc),
            });
        }
        let zero = vec![Chain {
            from: 0,
            to: None,
            step: 0,
        }];
        let mut c = Calendar {
            weekdays: [true; 7],
            years: Part::new(),
            months: Part::new(),
            days: Part::new(),
            from_end: false,
            hours: zero.clone(),
            minutes: zero.clone(),
            seconds: zero,
            zone,
        };
        let mut words = words.into_iter().peekable();
        if let Some(days) = words.next_if(|w| w.starts_with(|c: char| c.is_ascii_alphabetic())) {
            c.read_weekdays(days)?;
        }
        if let Some(date) = words.next_if(|w| !w.contains(':')) {
            c.read_date(date)?;
        }
        if let Some(time) = words.next() {
            c.read_time(time)?;
        }
        words.next().is_none().then_some(c)
    }

    fn read_weekdays(&mut self, text: &str) -> Option<()> {
        self.weekdays = [false; 7];
        for range in text.trim_end_matches(',').split(',') {
            let (from, to) = range.split_once("..").unwrap_or((range, range));
            let (from, to) = (weekday(from)?, weekday(to)?);
            self.weekdays.get_mut(from..=to)?.fill(true);
        }
        Some(())
    }

    fn read_date(&mut self, text: &str) -> Option<()> {
        let (rest, day) = match text.rsplit_once('~') {
            Some((rest, day)) => {
                self.from_end = true;
                (rest, day)
            }
            None => text.rsplit_once('-')?,
        };
        let (year, month) = rest.split_once('-').unwrap_or(("*", rest));
        // Two digits are of this century up to 69.
        let year = match (year.len(), year.parse::<i64>()) {
            (2, Ok(n)) => (if n < 70 { 2000 + n } else { 1900 + n }).to_string(),
            _ => year.to_owned(),
        };
        self.years = part(&year, bounds(1970, 2199))?;
        self.months = part(month, bounds(1, 12))?;
        let days = Bounds {
            from_end: self.from_end,
            ..bounds(1, 31)
        };
        self.days = part(day, days)?;
        Some(())
    }

    fn read_time(&mut self, text: &str) -> Option<()> {
        let mut parts = text.split(':');
        self.hours = part(parts.next()?, bounds(0, 23))?;
        self.minutes = part(parts.next()?, bounds(0, 59))?;
        if let Some(seconds) = parts.next() {
            let fractions = Bounds {
                fractions: true,
                ..bounds(0, 59)
            };
            self.seconds = part(seconds, fractions)?;
        }
        parts.next().is_none().then_some(())
    }

    fn on(&self, day: &Civil, midnight: i64) -> bool {
        let monday_first = (day.weekday as usize + 6) % 7;
        if self.weekdays.get(monday_first) != Some(&true)
            || !named(&self.years, day.year)
            || !named(&self.months, day.month.into())
        {
            return false;
        }
        if !self.from_end || self.days.is_empty() {
            return named(&self.days, day.day.into());
        }
        let of_month = |n: i64| Civil::from_unix(midnight + n * DAY).month == day.month;
        let left = (0..31).take_while(|n| of_month(*n)).count() as i64;
        // Steps go towards the end of the month: the day counted from there becomes smaller.
        self.days.iter().any(|c| match (c.to, c.step) {
            (None, 0) => left == c.from,
            (None, step) => left <= c.from && (c.from - left) % step.max(1) == 0,
            (Some(to), step) => (c.from..=to).contains(&left) && (left - c.from) % step.max(1) == 0,
        })
    }

    /// The first second behind `after`, or the last one before it; seconds since the epoch.
    pub fn step(&self, after: i64, zone: &Zone, back: bool) -> Option<i64> {
        let zone = self.zone.as_ref().unwrap_or(zone);
        let local = after + zone.offset_at(after);
        let today = local - local.rem_euclid(DAY);
        for n in 0..AHEAD {
            let midnight = if back { today - n * DAY } else { today + n * DAY };
            if self.on(&Civil::from_unix(midnight), midnight)
                && let Some(found) = self.of_day(midnight, after, zone, back)
            {
                return Some(found);
            }
        }
        None
    }

    /// The moment of one day that is nearest to `after`, behind or before it.
    fn of_day(&self, midnight: i64, after: i64, zone: &Zone, back: bool) -> Option<i64> {
        let (morning, evening) = (
            zone.offset_at(midnight - zone.offset),
            zone.offset_at(midnight + DAY - zone.offset),
        );
        // On all days but two of a year one offset counts, and what is on the wrong side is passed over by hours and minutes.
        let steady = morning == evening;
        let unix = |l: i64| match steady {
            true => l - morning,
            false => l - zone.offset_at(l - morning),
        };
        let passed = |from: i64, len: i64| match (steady, back) {
            (false, _) => false,
            (true, false) => unix(from) + len <= after + 1,
            (true, true) => unix(from) >= after,
        };
        let all = |part: &Part, most: i64| -> Vec<i64> {
            let named = (0..most).filter(|n| named(part, *n));
            if back {
                named.rev().collect()
            } else {
                named.collect()
            }
        };
        let (minutes, seconds) = (all(&self.minutes, 60), all(&self.seconds, 60));
        for hour in all(&self.hours, 24).into_iter().map(|h| midnight + h * 3600) {
            if passed(hour, 3600) {
                continue;
            }
            for minute in minutes.iter().map(|m| hour + m * 60) {
                if passed(minute, 60) {
                    continue;
                }
                let side = |t: &i64| if back { *t < after } else { *t > after };
                let found = seconds.iter().map(|s| unix(minute + s)).find(side);
                if found.is_some() {
                    return found;
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next times as `systemd-analyze calendar` of systemd 252 has them, from Thursday 2026-11-26 02:00:00 UTC on.
    #[test]
    fn calendars_step_as_systemds_do() {
        let utc = ZONES[0].0;
        let next = |text: &str| {
            let c = Calendar::parse(text)?;
            let mut at = 1_795_658_400;
            let mut out = Vec::new();
            for _ in 0..3 {
                match c.step(at, &utc, false) {
                    Some(t) => at = t,
                    None => break,
                }
                let civil = Civil::from_unix(at);
                out.push(format!("{} {}", &civil.date()[2..], civil.time()));
            }
            Some(out.join(", "))
        };
        for (text, want) in [
            ("*:0/5", "26-11-26 02:05:00, 26-11-26 02:10:00, 26-11-26 02:15:00"),
            (
                "Mon..Fri 10:00",
                "26-11-26 10:00:00, 26-11-27 10:00:00, 26-11-30 10:00:00",
            ),
            (
                "mon,wed",
                "26-11-30 00:00:00, 26-12-02 00:00:00, 26-12-07 00:00:00",
            ),
            (
                "*-*~01",
                "26-11-30 00:00:00, 26-12-31 00:00:00, 27-01-31 00:00:00",
            ),
            (
                "*-02~03 12:00",
                "27-02-26 12:00:00, 28-02-27 12:00:00, 29-02-26 12:00:00",
            ),
            (
                "*-*~10/3",
                "26-11-27 00:00:00, 26-11-30 00:00:00, 26-12-22 00:00:00",
            ),
            (
                "Mon, 10:00",
                "26-11-30 10:00:00, 26-12-07 10:00:00, 26-12-14 10:00:00",
            ),
            (
                "*-*~07/1",
                "26-11-27 00:00:00, 26-11-28 00:00:00, 26-11-29 00:00:00",
            ),
            ("26-12-1 8:00", "26-12-01 08:00:00"),
            ("12-24", "26-12-24 00:00:00, 27-12-24 00:00:00, 28-12-24 00:00:00"),
            (
                "*-*-* *:*:0/20",
                "26-11-26 02:00:20, 26-11-26 02:00:40, 26-11-26 02:01:00",
            ),
            (
                "quarterly",
                "27-01-01 00:00:00, 27-04-01 00:00:00, 27-07-01 00:00:00",
            ),
            (
                "*-1,7-1..7/2",
                "27-01-01 00:00:00, 27-01-03 00:00:00, 27-01-05 00:00:00",
            ),
            (
                "10:00 Europe/Berlin",
                "26-11-26 09:00:00, 26-11-27 09:00:00, 26-11-28 09:00:00",
            ),
            ("Thu", "26-12-03 00:00:00, 26-12-10 00:00:00, 26-12-17 00:00:00"),
            ("02:00", "26-11-27 02:00:00, 26-11-28 02:00:00, 26-11-29 02:00:00"),
            (
                "Fri *-*-13",
                "27-08-13 00:00:00, 28-10-13 00:00:00, 29-04-13 00:00:00",
            ),
            (
                "00/6:30",
                "26-11-26 06:30:00, 26-11-26 12:30:00, 26-11-26 18:30:00",
            ),
            (
                "1..5:0",
                "26-11-26 03:00:00, 26-11-26 04:00:00, 26-11-26 05:00:00",
            ),
            (
                "*:0,30:15.5",
                "26-11-26 02:00:15, 26-11-26 02:30:15, 26-11-26 03:00:15",
            ),
            ("@1800000000", "27-01-15 08:00:00"),
            (
                "*-2-29",
                "28-02-29 00:00:00, 32-02-29 00:00:00, 36-02-29 00:00:00",
            ),
            (
                "hourly UTC",
                "26-11-26 03:00:00, 26-11-26 04:00:00, 26-11-26 05:00:00",
            ),
        ] {
            assert_eq!(next(text).as_deref(), Some(want), "{text}");
        }
        for text in [
            "",
            "what",
            "*:*/5",
            "Sat..Mon",
            "Monday, Tuesday *-*-1..7",
            "* *-*-* 3:00",
            "25:00",
            "*-13-1",
            "daily 3:00",
            "*:*:60",
            "0/70:0",
            "*-*~07..05",
            "1:2:3:4",
        ] {
            assert_eq!(Calendar::parse(text), None, "{text}");
        }
        // Where the clock is set back, an hour comes once; where it is set on, it is not left out.
        let berlin = ZONES.iter().find(|z| z.0.name == "Europe/Berlin").unwrap().0;
        let walk = |text: &str, mut at: i64, back: bool| {
            let c = Calendar::parse(text).unwrap();
            let mut out = Vec::new();
            for _ in 0..3 {
                let next = c.step(at, &berlin, back).unwrap();
                out.push(next - at);
                at = next;
            }
            out
        };
        // 2027-03-27 12:00:00 UTC.
        assert_eq!(walk("04:00", 1_806_148_800, false), [50_400, 86_400, 86_400]);
        assert_eq!(walk("04:00", 1_806_148_800, true), [-32_400, -86_400, -86_400]);
        assert_eq!(walk("*:*:*", 1_806_148_800, false), [1, 1, 1]);
        assert_eq!(walk("*:0/30", 1_806_148_800, true), [-1_800, -1_800, -1_800]);
        let last = Calendar::parse("hourly").and_then(|c| c.step(1_795_658_400, &utc, true));
        assert_eq!(last, Some(1_795_658_400 - 3600));
    }
}
