//! Local time by the world's `/etc/localtime` (TZif, RFC 8536), for what the stand-in daemons print.

use crate::world::World;

/// A number, most significant byte first.
fn number(b: &[u8], at: usize, size: usize) -> Option<i64> {
    let b = b.get(at..at.checked_add(size)?)?;
    let first = if b.first()? & 0x80 != 0 { -1i64 } else { 0 };
    Some(b.iter().fold(first, |v, x| v << 8 | i64::from(*x)))
}

/// Seconds east of UTC at this time (seconds since 1970); 0 for what is no TZif file.
pub(crate) fn offset(file: &[u8], time: i64) -> i64 {
    if file.get(..4) != Some(b"TZif") {
        return 0;
    }
    let counts = |at: usize| -> Option<[usize; 6]> {
        let mut c = [0; 6];
        for (i, n) in c.iter_mut().enumerate() {
            *n = usize::try_from(number(file, at + 20 + i * 4, 4)?).ok()?;
        }
        Some(c)
    };
    // Header: utc and standard indicators, leap seconds, transitions, types, characters of names.
    let body = |at: usize, size: usize| -> Option<usize> {
        let [utc, standard, leap, times, types, chars] = counts(at)?;
        let fixed = utc.checked_add(standard)?.checked_add(chars)?;
        let leap = leap.checked_mul(size + 4)?;
        let times = times.checked_mul(size + 1)?;
        let types = types.checked_mul(6)?;
        at.checked_add(44)?
            .checked_add(fixed)?
            .checked_add(leap)?
            .checked_add(times)?
            .checked_add(types)
    };
    let found = || -> Option<i64> {
        let newer = file.get(4).is_some_and(|v| *v >= b'2');
        let (at, size) = if newer { (body(0, 4)?, 8) } else { (0, 4) };
        if file.get(at..at + 4) != Some(b"TZif") {
            return None;
        }
        let [_, _, _, times, types, _] = counts(at)?;
        let start = at + 44;
        if times > file.len() || types == 0 {
            return None;
        }
        // The last transition that has passed; before the first one the first type.
        let (mut low, mut high) = (0, times);
        while low < high {
            let middle = (low + high) / 2;
            if number(file, start + middle * size, size)? <= time {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let kind = match low.checked_sub(1) {
            Some(i) => usize::from(*file.get(start + times * size + i)?),
            None => 0,
        };
        number(file, start + times * (size + 1) + kind.min(types - 1) * 6, 4)
    };
    found().filter(|o| o.abs() < 100_000).unwrap_or(0)
}

impl World {
    /// Seconds east of UTC in the world's zone at this time.
    pub(crate) fn zone_offset(&mut self, time: i64) -> i64 {
        let file = self.slurp(b"/etc/localtime").unwrap_or_default();
        offset(&file, time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The oracle is date(1) of this machine, with its own zones.
    #[test]
    fn offsets_are_those_of_date() {
        let mut compared = 0;
        for zone in [
            "Etc/UTC",
            "Europe/Berlin",
            "America/New_York",
            "Asia/Kolkata",
            "Australia/Sydney",
        ] {
            let Ok(file) = std::fs::read(format!("/usr/share/zoneinfo/{zone}")) else {
                continue;
            };
            for time in [0, 1_000_000_000, 1_720_000_000, 1_735_000_000, 1_790_000_000] {
                let o = std::process::Command::new("date")
                    .env("TZ", zone)
                    .args(["-d", &format!("@{time}"), "+%z"])
                    .output()
                    .unwrap();
                let text = String::from_utf8(o.stdout).unwrap();
                let n: i64 = text.trim().parse().unwrap();
                let want = n / 100 * 3600 + n % 100 * 60;
                assert_eq!(offset(&file, time), want, "{zone} {time}");
                compared += 1;
            }
        }
        if compared == 0 {
            eprintln!("nothing compared: this machine has no zones (package tzdata)");
        }
    }

    #[test]
    fn any_bytes_are_read_within_bounds() {
        let mut file = std::fs::read("/usr/share/zoneinfo/Europe/Berlin").unwrap_or_else(|_| {
            let mut f = b"TZif2".to_vec();
            f.resize(200, 1);
            f
        });
        let mut state = 1u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = 4 + (state >> 33) as usize % (file.len() - 4).min(120);
            file[at] = (state >> 56) as u8;
            assert!(offset(&file, (state >> 20) as i64).abs() < 100_000);
            let cut = (state >> 40) as usize % file.len();
            offset(&file[..cut], 0);
        }
    }
}
