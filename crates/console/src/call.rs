//! A request, taken apart and bounded.

use std::net::SocketAddr;

use crate::visits::Visit;

/// The longest body of a request, in bytes.
pub const LONGEST_BODY: usize = 64 << 10;

/// The longest path with its query, in bytes.
pub const LONGEST_PATH: usize = 4 << 10;

/// The most fields of a query or a form; what is more is left out.
const MOST_FIELDS: usize = 1_000;

/// Names and values of a query or a form, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads `a=1&b=2` with `+` and percent signs (application/x-www-form-urlencoded). Whatever it is, it gives something.
    pub fn parse(text: &[u8]) -> Fields {
        let pairs = text
            .split(|b| *b == b'&')
            .filter(|part| !part.is_empty())
            .take(MOST_FIELDS)
            .map(|part| {
                let mut halves = part.splitn(2, |b| *b == b'=');
                let (name, value) = (
                    halves.next().unwrap_or_default(),
                    halves.next().unwrap_or_default(),
                );
                (decode(name, true), decode(value, true))
            });
        Fields(pairs.collect())
    }

    /// The first value of this name that is not empty, without spaces around it.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, v)| v.trim())
            .find(|v| !v.is_empty())
    }

    /// All values of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// The value as a number, or anything else that is parsed.
    pub fn parsed<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    /// As a query again, without these names.
    pub fn without(&self, names: &[&str]) -> String {
        let kept: Vec<String> = self
            .0
            .iter()
            .filter(|(n, v)| !names.contains(&n.as_str()) && !v.is_empty())
            .map(|(n, v)| format!("{}={}", encode(n), encode(v)))
            .collect();
        kept.join("&")
    }
}

fn hex(digit: Option<&u8>) -> Option<u8> {
    char::from(*digit?)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}

/// Percent signs resolved; what is not UTF-8 is replaced.
pub fn decode(text: &[u8], plus: bool) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let pair = (hex(text.get(at + 1)), hex(text.get(at + 2)));
        match (byte, pair) {
            (b'%', (Some(high), Some(low))) => {
                out.push(high << 4 | low);
                at += 2;
            }
            (b'+', _) if plus => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A text as one part of a path or a query.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => {
                use std::fmt::Write;
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// Where a request came from and how.
#[derive(Debug, Clone, Copy)]
pub struct Via {
    /// The other end.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// Over TLS.
    pub secure: bool,
}

/// A request that may be answered.
#[derive(Debug, Clone)]
pub struct Call {
    /// Where it came from.
    pub via: Via,
    /// The path, without the query.
    pub path: String,
    /// What stands for `{name}` in the route's path.
    pub parts: Vec<(&'static str, String)>,
    /// The query.
    pub query: Fields,
    /// The form, where it is a POST.
    pub form: Fields,
    /// The login, where there is one.
    pub visit: Option<Visit>,
    /// The word of the login's cookie.
    pub cookie: Option<String>,
}

impl Call {
    /// What stands for `{name}`.
    pub fn part(&self, name: &str) -> &str {
        self.parts
            .iter()
            .find(|(n, _)| *n == name)
            .map_or("", |(_, v)| v.as_str())
    }

    /// Who asks, as the record names him.
    pub fn operator(&self) -> &str {
        self.visit.as_ref().map_or("token", |v| v.operator.as_str())
    }

    /// The word that forms must carry.
    pub fn csrf(&self) -> &str {
        self.visit.as_ref().map_or("", |v| v.csrf.as_str())
    }

    /// The path with this query, which may be empty.
    pub fn with_query(&self, query: &str) -> String {
        if query.is_empty() {
            self.path.clone()
        } else {
            format!("{}?{query}", self.path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_browsers_write_them() {
        let fields = Fields::parse(b"q=a+b%2Bc&empty=&q=second&%C3%A4=%ff&x&=y&percent=%2&page=7");
        assert_eq!(fields.text("q"), Some("a b+c"));
        assert_eq!(fields.all("q").collect::<Vec<_>>(), ["a b+c", "second"]);
        assert_eq!(fields.text("empty"), None);
        assert_eq!(fields.text("\u{e4}"), Some("\u{fffd}"));
        assert_eq!(fields.text("percent"), Some("%2"));
        assert_eq!(fields.parsed::<u64>("page"), Some(7));
        assert_eq!(fields.parsed::<u64>("q"), None);
        assert_eq!(
            fields.without(&["q", "page", ""]),
            "%C3%A4=%EF%BF%BD&percent=%252"
        );
    }

    /// Bounded form of the fuzz target `console_request`.
    #[test]
    fn no_bytes_break_the_parser() {
        let mut state = 7u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        };
        for _ in 0..20_000 {
            let length = usize::from(next() % 40);
            let bytes: Vec<u8> = (0..length)
                .map(|_| match next() % 8 {
                    0 => b'%',
                    1 => b'&',
                    2 => b'=',
                    3 => b'+',
                    _ => next(),
                })
                .collect();
            let fields = Fields::parse(&bytes);
            // Written and read again it is the same.
            let again = Fields::parse(fields.without(&[]).as_bytes());
            assert_eq!(again.without(&[]), fields.without(&[]));
        }
    }
}
