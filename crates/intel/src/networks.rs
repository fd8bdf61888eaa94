//! Whose network an address is in: a table that the operator names, read once, looked up in memory.
//!
//! The files are lines of comma-separated values: first address, last address, then a country (two letters), or the number of an
//! autonomous system and its holder's name. That is the form of the `@ip-location-db` packages of npm; some of their lists are public
//! domain (`iptoasn-country`, `geo-whois-asn-country`). Nothing is asked over a network.

use std::net::IpAddr;

/// The longest line that is read, in bytes.
const LINE: usize = 512;
/// Ranges that are kept; more are not read.
pub const MOST: usize = 3_000_000;

/// What is known of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Network {
    /// Country, two letters (ISO 3166).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Number of the autonomous system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
    /// Its holder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
}

impl Network {
    /// Nothing is known.
    pub fn is_empty(&self) -> bool {
        self.country.is_none() && self.asn.is_none()
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut first = true;
        let mut part = |f: &mut std::fmt::Formatter<'_>, text: String| {
            let gap = if std::mem::take(&mut first) { "" } else { " " };
            write!(f, "{gap}{text}")
        };
        if let Some(c) = &self.country {
            part(f, c.clone())?;
        }
        if let Some(n) = self.asn {
            part(f, format!("AS{n}"))?;
        }
        if let Some(h) = &self.holder {
            part(f, h.clone())?;
        }
        Ok(())
    }
}

/// Ranges of one kind: sorted by their first address, which is a number of 128 bits (IPv4 mapped).
#[derive(Clone, Debug, Default)]
struct Table {
    ranges: Vec<(u128, u128, u32)>,
}

/// The tables.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    countries: Table,
    systems: Table,
    /// Texts that ranges point at, each once.
    texts: Vec<(u32, String)>,
    known: std::collections::HashMap<(u32, String), u32>,
}

fn number(a: IpAddr) -> u128 {
    match a {
        IpAddr::V4(a) => a.to_ipv6_mapped().to_bits(),
        IpAddr::V6(a) => a.to_bits(),
    }
}

/// An address as text, or as the whole number that some files have.
fn address(text: &str) -> Option<u128> {
    let text = text.trim().trim_matches('"');
    if let Ok(a) = text.parse::<IpAddr>() {
        return Some(number(a));
    }
    let n: u128 = text.parse().ok()?;
    Some(match u32::try_from(n) {
        Ok(n) => number(std::net::Ipv4Addr::from(n).into()),
        Err(_) => n,
    })
}

impl Networks {
    /// Adds the ranges of a file. Lines that are not understood are passed over and counted; comments begin with `#`.
    ///
    /// # Errors
    /// A file in which nothing is understood, with what was expected.
    pub fn read(&mut self, name: &str, text: &str) -> Result<usize, String> {
        let (mut good, mut bad) = (0usize, 0usize);
        for line in text.lines() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            if line.len() > LINE || self.len() >= MOST || self.line(line).is_none() {
                bad += 1;
            } else {
                good += 1;
            }
        }
        if good == 0 {
            return Err(format!(
                "{name}: no line such as 192.0.2.0,192.0.2.255,DE or 192.0.2.0,192.0.2.255,64500,\"Example\" in {bad}"
            ));
        }
        for table in [&mut self.countries, &mut self.systems] {
            table.ranges.sort_unstable();
        }
        Ok(bad)
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let mut fields = line.splitn(4, ',');
        let (from, to) = (address(fields.next()?)?, address(fields.next()?)?);
        let third = fields.next()?.trim().trim_matches('"');
        let rest = fields.next().unwrap_or("").trim().trim_matches('"');
        if from > to {
            return None;
        }
        if third.len() == 2 && third.bytes().all(|b| b.is_ascii_alphabetic()) {
            let at = self.text(0, third.to_ascii_uppercase());
            self.countries.ranges.push((from, to, at));
        } else {
            let asn = third
                .strip_prefix("AS")
                .unwrap_or(third)
                .parse()
                .ok()
                .filter(|n| *n > 0)?;
            let at = self.text(asn, rest.chars().take(80).collect());
            self.systems.ranges.push((from, to, at));
        }
        Some(())
    }

    fn text(&mut self, n: u32, text: String) -> u32 {
        let texts = &mut self.texts;
        *self.known.entry((n, text.clone())).or_insert_with(|| {
            texts.push((n, text));
            u32::try_from(texts.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// Ranges in all.
    pub fn len(&self) -> usize {
        self.countries.ranges.len() + self.systems.ranges.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn find(&self, table: &Table, a: u128) -> Option<&(u32, String)> {
        let after = table.ranges.partition_point(|(from, ..)| *from <= a);
        let (_, to, text) = table.ranges.get(after.checked_sub(1)?)?;
        if *to < a {
            return None;
        }
        self.texts.get(*text as usize)
    }

    /// What is known of an address.
    pub fn of(&self, address: IpAddr) -> Network {
        let a = number(address.to_canonical());
        let system = self.find(&self.systems, a);
        Network {
            country: self.find(&self.countries, a).map(|(_, c)| c.clone()),
            asn: system.map(|(n, _)| *n),
            holder: system.map(|(_, h)| h.clone()).filter(|h| !h.is_empty()),
        }
    }

    /// What is known of an address, in words; nothing where nothing is.
    pub fn told(&self, address: IpAddr) -> Option<String> {
        let network = self.of(address);
        (!network.is_empty()).then(|| network.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_what_the_files_say() {
        let mut n = Networks::default();
        let country = "192.0.2.0,192.0.2.255,de\n3325256704,3325256959,FR\n2001:db8::,2001:db8:ffff:ffff:ffff:ffff:ffff:ffff,NL\n";
        assert_eq!(n.read("country.csv", country), Ok(0));
        let asn =
            "# a comment\n192.0.2.0,192.0.2.127,64500,\"Example, Inc.\"\nnonsense\n1.2.3.4,1.2.3.0,DE\n";
        assert_eq!(n.read("asn.csv", asn), Ok(2));
        let of = |a: &str| n.of(a.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.5"), "DE AS64500 Example, Inc.");
        assert_eq!(of("::ffff:192.0.2.200"), "DE");
        assert_eq!(of("198.51.100.77"), "FR");
        assert_eq!(of("2001:db8:1::1"), "NL");
        assert!(n.of("203.0.113.1".parse().unwrap()).is_empty());
        assert!(
            n.read("empty.csv", "x\n")
                .unwrap_err()
                .starts_with("empty.csv: no line such as")
        );
    }

    #[test]
    fn any_text_is_read_in_bounds() {
        let parts = [
            "1.2.3.4",
            ",",
            "DE",
            "\n",
            "::1",
            "4294967295",
            "AS1",
            "\"",
            "#",
            "\u{e9}",
            "-1",
            "0.0.0.0",
            "ffff::",
        ];
        let mut x = 5u64;
        for _ in 0..3_000 {
            let mut t = String::new();
            for _ in 0..40 {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                t.push_str(parts[(x >> 33) as usize % parts.len()]);
            }
            let mut n = Networks::default();
            let _ = n.read("x", &t);
            for a in ["1.2.3.4", "::1", "255.255.255.255"] {
                let _ = n.of(a.parse().unwrap()).to_string();
            }
            assert!(n.len() <= t.lines().count());
        }
    }
}
