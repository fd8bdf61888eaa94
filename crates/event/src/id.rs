//! Ids: newtypes for things that must not be mixed. Entropy and time are passed in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Time;

/// Not an id: what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAnId(&'static str);

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.0)
    }
}
impl std::error::Error for NotAnId {}

fn hex_byte(pair: &[u8]) -> Option<u8> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    };
    match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}

fn from_hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != N * 2 {
        return None;
    }
    let mut out = [0; N];
    for (to, pair) in out.iter_mut().zip(digits.chunks(2)) {
        *to = hex_byte(pair)?;
    }
    Some(out)
}

/// A UUID of version 7 (RFC 9562, section 5.7): milliseconds, then 74 bits of `entropy`.
fn uuid_v7(time: Time, entropy: [u8; 10]) -> [u8; 16] {
    let ms = u64::try_from(time.millis()).unwrap_or(0).to_be_bytes();
    let mut id = [0u8; 16];
    for (to, from) in id.iter_mut().zip(ms.iter().skip(2).chain(entropy.iter())) {
        *to = *from;
    }
    id[6] = id[6] & 0x0f | 0x70;
    id[8] = id[8] & 0x3f | 0x80;
    id
}

macro_rules! uuid {
    ($(#[$doc:meta])* $name:ident, $expect:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// A new id: a UUID of version 7 from the time and ten random bytes.
            pub fn new(time: Time, entropy: [u8; 10]) -> Self {
                $name(uuid_v7(time, entropy))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for (i, byte) in self.0.iter().enumerate() {
                    if matches!(i, 4 | 6 | 8 | 10) {
                        f.write_str("-")?;
                    }
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let bytes = text.as_bytes();
                let dashed = bytes.len() == 36 && [8, 13, 18, 23].iter().all(|i| bytes.get(*i) == Some(&b'-'));
                let digits: Vec<u8> = bytes.iter().copied().filter(|b| *b != b'-').collect();
                if !dashed {
                    return Err(NotAnId($expect));
                }
                from_hex(&digits).map($name).ok_or(NotAnId($expect))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                std::borrow::Cow::<'de, str>::deserialize(d)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

uuid!(
    /// One connection of one outsider with one decoy. A UUIDv7, so that ids sort by time.
    SessionId,
    "a session id such as 0192f3a1-7b3c-7def-8123-456789abcdef"
);
uuid!(
    /// The machine behind a decoy's login that one source meets. A UUIDv7.
    WorldId,
    "a world id such as 0192f3a1-7b3c-7def-8123-456789abcdef"
);

/// Which install saw it: a short name, of letters, digits, `-`, `_` and `.`, at most 64 long.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize)]
#[serde(transparent)]
pub struct SensorId(String);

impl SensorId {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SensorId {
    type Err = NotAnId;
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let fits = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if fits {
            Ok(SensorId(text.to_owned()))
        } else {
            Err(NotAnId("a name of 1 to 64 letters, digits, '-', '_' or '.'"))
        }
    }
}

impl fmt::Display for SensorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SensorId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(d)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// The SHA-256 that names an artifact. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256(pub [u8; 32]);

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}
impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
impl FromStr for Sha256 {
    type Err = NotAnId;
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        from_hex(text.as_bytes())
            .map(Sha256)
            .ok_or(NotAnId("64 hexadecimal digits"))
    }
}
impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(d)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_are_version_7_and_sort_by_time() {
        let early = SessionId::new(Time(1_000_000_000_000_000_000), [0xff; 10]);
        let late = SessionId::new(Time(1_000_000_000_001_000_000), [0; 10]);
        assert!(early < late);
        let text = early.to_string();
        assert_eq!(&text[14..15], "7");
        assert!(matches!(&text[19..20], "8" | "9" | "a" | "b"));
        assert_eq!(text.parse(), Ok(early));
        assert!("not-an-id".parse::<SessionId>().is_err());
        assert!(
            "0192f3a1-7b3c-7def-8123-45678-abcdef"
                .parse::<SessionId>()
                .is_err()
        );
    }

    #[test]
    fn sensor_names_are_plain() {
        assert!("dmz-1.example".parse::<SensorId>().is_ok());
        for bad in ["", "a b", "\u{1b}[0m", &"x".repeat(65)] {
            assert!(bad.parse::<SensorId>().is_err(), "{bad:?}");
        }
    }
}
