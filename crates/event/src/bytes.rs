//! Bytes that survive exactly.
//!
//! In JSON a value is a plain string when the bytes are UTF-8 without a NUL, and `{"b64": "..."}` when they
//! are not, so that ordinary tools read the ordinary case and nothing is ever lost. See [`Bytes`].

use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes as an outsider sent them: a password, a command line, a client's version.
#[derive(Clone, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    /// The bytes themselves.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text where they are clean UTF-8 (no NUL), else `None`.
    pub fn as_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok().filter(|s| !s.contains('\0'))
    }

    /// The bytes as text, with what is not UTF-8 replaced. For search and display only.
    pub fn to_text_lossy(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// True when there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes it holds.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl From<&[u8]> for Bytes {
    fn from(b: &[u8]) -> Self {
        Bytes(b.to_vec())
    }
}
impl From<Vec<u8>> for Bytes {
    fn from(b: Vec<u8>) -> Self {
        Bytes(b)
    }
}
impl From<&str> for Bytes {
    fn from(s: &str) -> Self {
        Bytes(s.as_bytes().to_vec())
    }
}
impl From<String> for Bytes {
    fn from(s: String) -> Self {
        Bytes(s.into_bytes())
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.as_text() {
            Some(text) => s.serialize_str(text),
            None => {
                let mut map = s.serialize_map(Some(1))?;
                map.serialize_entry("b64", &base64_encode(&self.0))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string, or an object with the key b64")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Bytes, E> {
                Ok(Bytes(v.as_bytes().to_vec()))
            }
            fn visit_string<E: de::Error>(self, v: String) -> Result<Bytes, E> {
                Ok(Bytes(v.into_bytes()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bytes, A::Error> {
                let Some((key, value)) = map.next_entry::<String, String>()? else {
                    return Err(de::Error::custom("an object without the key b64"));
                };
                if key != "b64" || map.next_key::<String>()?.is_some() {
                    return Err(de::Error::custom("an object with a key other than b64"));
                }
                base64_decode(&value)
                    .map(Bytes)
                    .ok_or_else(|| de::Error::custom("b64 is not base64"))
            }
        }
        d.deserialize_any(Visit)
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Standard base64 with padding (RFC 4648, section 4).
pub fn base64_encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - group.len()));
        for i in 0..4 {
            if i <= group.len() {
                let six = (word >> (18 - 6 * i)) & 63;
                out.push(char::from(ALPHABET[six as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// The inverse of [`base64_encode`]; `None` for anything that is not standard padded base64.
pub fn base64_decode(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let groups = text.len() / 4;
    for (n, group) in text.chunks(4).enumerate() {
        let padding = group.iter().rev().take_while(|b| **b == b'=').count();
        if padding > 2 || (padding > 0 && n + 1 != groups) {
            return None;
        }
        let mut word = 0u32;
        for b in group.iter().take(4 - padding) {
            word = word << 6 | u32::try_from(ALPHABET.iter().position(|a| a == b)?).ok()?;
        }
        word <<= 6 * padding;
        let bytes = word.to_be_bytes();
        out.extend(bytes.iter().skip(1).take(3 - padding));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_string_comes_back_from_json() {
        let mut all: Vec<Vec<u8>> = vec![
            vec![],
            b"root".to_vec(),
            vec![0],
            vec![0xff, 0xfe],
            (0..=255).collect(),
        ];
        for n in 0..64u8 {
            all.push((0..n).map(|i| i.wrapping_mul(37).wrapping_add(n)).collect());
        }
        all.push("p\u{e4}ss \u{1f600}\r\n\u{1b}[31m".into());
        for bytes in all {
            let text = serde_json::to_string(&Bytes(bytes.clone())).unwrap();
            assert_eq!(serde_json::from_str::<Bytes>(&text).unwrap().0, bytes, "{text}");
        }
    }

    #[test]
    fn clean_text_is_a_plain_string_and_the_rest_is_not() {
        assert_eq!(
            serde_json::to_string(&Bytes::from("hunter2")).unwrap(),
            "\"hunter2\""
        );
        assert_eq!(
            serde_json::to_string(&Bytes(vec![0x80])).unwrap(),
            "{\"b64\":\"gA==\"}"
        );
    }

    #[test]
    fn base64_refuses_what_is_not_base64() {
        for bad in ["a", "ab=c", "====", "a===", "ab==cd==", "a\u{e4}bc", "ab c"] {
            assert_eq!(base64_decode(bad), None, "{bad}");
        }
        assert!(serde_json::from_str::<Bytes>("{\"b65\":\"\"}").is_err());
        assert!(serde_json::from_str::<Bytes>("{\"b64\":\"\",\"x\":\"\"}").is_err());
    }
}
