//! Calendar arithmetic for what a cover writes: UTC seconds to dates and back, and the zones a cover may live in.

use turncoat_freeze::Freeze;

/// A civil date and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Year, as 2026.
    pub year: i64,
    /// 1..=12.
    pub month: u32,
    /// 1..=31.
    pub day: u32,
    /// 0..=23.
    pub hour: u32,
    /// 0..=59.
    pub minute: u32,
    /// 0..=59.
    pub second: u32,
    /// 0 = Sunday.
    pub weekday: u32,
}

/// Month names as C's `%b` writes them.
pub const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
/// Day names as C's `%a` writes them.
pub const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

impl Civil {
    /// The date of `seconds` since the epoch (proleptic Gregorian; days from civil after Howard Hinnant's published algorithm).
    pub fn from_unix(seconds: i64) -> Civil {
        let days = seconds.div_euclid(86_400);
        let rest = seconds.rem_euclid(86_400) as u32;
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = (doy - (153 * mp + 2) / 5 + 1) as u32;
        let month = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
        Civil {
            year: yoe + era * 400 + i64::from(month <= 2),
            month,
            day,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            weekday: (days + 4).rem_euclid(7) as u32,
        }
    }

    /// `2026-11-23`.
    pub fn date(&self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// `11:48:37`.
    pub fn time(&self) -> String {
        format!("{:02}:{:02}:{:02}", self.hour, self.minute, self.second)
    }
}

/// A zone of the tz database that a cover may use, with its rule for summer time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, Freeze)]
pub struct Zone {
    /// Name in the tz database.
    pub name: &'static str,
    /// Seconds east of UTC in winter.
    pub offset: i64,
    /// Which rule moves the clock in summer.
    pub summer: Summer,
}

/// Rules for summer time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, Freeze)]
pub enum Summer {
    /// None.
    Never,
    /// European Union: last Sunday of March to last Sunday of October, 01:00 UTC.
    Europe,
    /// United States: second Sunday of March to first Sunday of November, 02:00 local.
    America,
}

/// The zones covers are drawn from, with weights.
pub const ZONES: &[(Zone, u32)] = &[
    (
        Zone {
            name: "Etc/UTC",
            offset: 0,
            summer: Summer::Never,
        },
        40,
    ),
    (
        Zone {
            name: "Europe/Berlin",
            offset: 3600,
            summer: Summer::Europe,
        },
        10,
    ),
    (
        Zone {
            name: "Europe/Amsterdam",
            offset: 3600,
            summer: Summer::Europe,
        },
        8,
    ),
    (
        Zone {
            name: "Europe/London",
            offset: 0,
            summer: Summer::Europe,
        },
        8,
    ),
    (
        Zone {
            name: "Europe/Paris",
            offset: 3600,
            summer: Summer::Europe,
        },
        6,
    ),
    (
        Zone {
            name: "Europe/Warsaw",
            offset: 3600,
            summer: Summer::Europe,
        },
        4,
    ),
    (
        Zone {
            name: "Europe/Helsinki",
            offset: 7200,
            summer: Summer::Europe,
        },
        3,
    ),
    (
        Zone {
            name: "America/New_York",
            offset: -18_000,
            summer: Summer::America,
        },
        9,
    ),
    (
        Zone {
            name: "America/Chicago",
            offset: -21_600,
            summer: Summer::America,
        },
        5,
    ),
    (
        Zone {
            name: "America/Los_Angeles",
            offset: -28_800,
            summer: Summer::America,
        },
        5,
    ),
    (
        Zone {
            name: "Asia/Singapore",
            offset: 28_800,
            summer: Summer::Never,
        },
        4,
    ),
    (
        Zone {
            name: "Asia/Tokyo",
            offset: 32_400,
            summer: Summer::Never,
        },
        3,
    ),
];

impl Zone {
    /// Seconds east of UTC at `unix`.
    pub fn offset_at(&self, unix: i64) -> i64 {
        let c = Civil::from_unix(unix);
        let sunday = |month: u32, nth: i64| {
            // nth >= 0: the nth Sunday (from 0); nth < 0: the last one.
            let first = days_from_civil(c.year, month, 1);
            let wd = (first + 4).rem_euclid(7);
            let first_sunday = first + (7 - wd) % 7;
            if nth >= 0 {
                return first_sunday + 7 * nth;
            }
            let next = if month == 12 {
                days_from_civil(c.year + 1, 1, 1)
            } else {
                days_from_civil(c.year, month + 1, 1)
            };
            first_sunday + (next - 1 - first_sunday) / 7 * 7
        };
        let summer = match self.summer {
            Summer::Never => false,
            Summer::Europe => {
                let from = sunday(3, -1) * 86_400 + 3600;
                let to = sunday(10, -1) * 86_400 + 3600;
                (from..to).contains(&unix)
            }
            Summer::America => {
                let from = sunday(3, 1) * 86_400 + 7200 - self.offset;
                let to = sunday(11, 0) * 86_400 + 3600 - self.offset;
                (from..to).contains(&unix)
            }
        };
        self.offset + if summer { 3600 } else { 0 }
    }

    /// The local date and time of `unix`.
    pub fn local(&self, unix: i64) -> Civil {
        Civil::from_unix(unix + self.offset_at(unix))
    }
}

/// Days since the epoch of a civil date.
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let mp = i64::from((month + 9) % 12);
    let doy = (153 * mp + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_go_both_ways() {
        for days in (-1000..40_000).step_by(13) {
            let c = Civil::from_unix(days * 86_400 + 3661);
            assert_eq!(days_from_civil(c.year, c.month, c.day), days);
            assert_eq!((c.hour, c.minute, c.second), (1, 1, 1));
        }
        // 2026-11-23 was a Monday.
        assert_eq!(Civil::from_unix(1_795_392_000).weekday, 1);
        assert_eq!(Civil::from_unix(1_795_392_000).date(), "2026-11-23");
    }

    #[test]
    fn summer_time_begins_and_ends() {
        let berlin = ZONES[1].0;
        // 2026-03-29 01:00 UTC and 2026-10-25 01:00 UTC.
        assert_eq!(berlin.offset_at(1_774_746_000 - 1), 3600);
        assert_eq!(berlin.offset_at(1_774_746_000), 7200);
        assert_eq!(berlin.offset_at(1_792_890_000 - 1), 7200);
        assert_eq!(berlin.offset_at(1_792_890_000), 3600);
    }
}
