//! Points in time: UTC with nanoseconds, and their written form.
//!
//! Nothing here reads a clock.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, without leap seconds. Reaches the year 2262.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Time(pub i64);

const SECOND: i64 = 1_000_000_000;

impl Time {
    /// From the system's clock as the caller read it; before 1970 counts as 1970.
    pub fn from_system(t: std::time::SystemTime) -> Time {
        let ns = t
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.as_nanos());
        Time(i64::try_from(ns).unwrap_or(i64::MAX))
    }

    /// Whole seconds since 1970.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(SECOND)
    }

    /// Whole milliseconds since 1970.
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Nanoseconds from `earlier` to this point; negative when it is later.
    pub fn since(self, earlier: Time) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This point moved by so many nanoseconds.
    pub fn plus_nanos(self, ns: i64) -> Time {
        Time(self.0.saturating_add(ns))
    }

    /// Year, month, day, hour, minute, second, nanosecond in UTC.
    pub fn civil(self) -> (i64, u32, u32, u32, u32, u32, u32) {
        let days = self.seconds().div_euclid(86_400);
        let second = self.seconds().rem_euclid(86_400);
        // Days to civil date in a calendar whose years begin in March, so that the leap day is the last.
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let small = |v: i64| u32::try_from(v).unwrap_or(0);
        (
            year,
            small(month),
            small(day),
            small(second / 3600),
            small(second / 60 % 60),
            small(second % 60),
            small(self.0.rem_euclid(SECOND)),
        )
    }

    /// From UTC calendar fields; `None` when they name no point in time.
    pub fn from_civil(year: i64, month: u32, day: u32, h: u32, m: u32, s: u32, ns: u32) -> Option<Time> {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 => 28 + u32::from(leap),
            _ => return None,
        };
        if day == 0
            || day > length
            || h > 23
            || m > 59
            || s > 60
            || ns >= 1_000_000_000
            || !(1..=9999).contains(&year)
        {
            return None;
        }
        let y = year - i64::from(month <= 2);
        let era = y.div_euclid(400);
        let year_of_era = y.rem_euclid(400);
        let shifted = i64::from(if month > 2 { month - 3 } else { month + 9 });
        let day_of_year = (153 * shifted + 2) / 5 + i64::from(day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        let seconds = days * 86_400 + i64::from(h) * 3600 + i64::from(m) * 60 + i64::from(s.min(59));
        seconds.checked_mul(SECOND)?.checked_add(i64::from(ns)).map(Time)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (y, mo, d, h, m, s, ns) = self.civil();
        write!(f, "{y:04}-{mo:02}-{d:02}T{h:02}:{m:02}:{s:02}.{ns:09}Z")
    }
}

/// Not a time: what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotATime;

impl fmt::Display for NotATime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a time in UTC such as 2026-11-23T12:00:00Z")
    }
}
impl std::error::Error for NotATime {}

impl FromStr for Time {
    type Err = NotATime;

    /// Reads RFC 3339 in UTC (`Z`), with or without time of day and fraction.
    fn from_str(text: &str) -> Result<Time, NotATime> {
        fn number(text: &str) -> Result<u32, NotATime> {
            if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
                return Err(NotATime);
            }
            text.parse().map_err(|_| NotATime)
        }
        let (date, clock) = match text.split_once(['T', ' ']) {
            Some((date, clock)) => (date, clock.strip_suffix('Z').unwrap_or(clock)),
            None => (text, "00:00:00"),
        };
        let mut date = date.split('-');
        let (Some(y), Some(mo), Some(d), None) = (date.next(), date.next(), date.next(), date.next()) else {
            return Err(NotATime);
        };
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
        let mut clock = clock.split(':');
        let (Some(h), Some(m), s, None) = (clock.next(), clock.next(), clock.next(), clock.next()) else {
            return Err(NotATime);
        };
        let ns = if fraction.is_empty() {
            0
        } else if fraction.len() <= 9 {
            number(fraction)? * 10u32.pow(9 - u32::try_from(fraction.len()).unwrap_or(9))
        } else {
            return Err(NotATime);
        };
        Time::from_civil(
            i64::from(number(y)?),
            number(mo)?,
            number(d)?,
            number(h)?,
            number(m)?,
            number(s.unwrap_or("0"))?,
            ns,
        )
        .ok_or(NotATime)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read_back() {
        for ns in [
            0,
            1,
            951_782_400_000_000_000,
            951_868_799_999_999_999,
            1_795_435_200_123_456_789,
            i64::MAX - 7,
        ] {
            let text = Time(ns).to_string();
            assert_eq!(text.parse::<Time>(), Ok(Time(ns)), "{text}");
        }
        assert_eq!(
            Time(951_782_400_000_000_000).to_string(),
            "2000-02-29T00:00:00.000000000Z"
        );
        assert_eq!("2026-11-23".parse(), Ok(Time(1_795_392_000_000_000_000)));
        assert_eq!("2026-11-23 12:30".parse(), Ok(Time(1_795_437_000_000_000_000)));
    }

    #[test]
    fn every_day_of_two_centuries() {
        for day in 0..73_000 {
            let t = Time(day * 86_400 * SECOND);
            assert_eq!(t.to_string().parse::<Time>(), Ok(t));
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        for bad in [
            "",
            "now",
            "2026-02-29",
            "2026-13-01",
            "2026-1",
            "2026-01-01T25:00:00Z",
            "2026-01-01T00:00:00.1234567890Z",
            "99999-01-01",
        ] {
            assert_eq!(bad.parse::<Time>(), Err(NotATime), "{bad}");
        }
    }
}
