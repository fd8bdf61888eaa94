//! The types that a key of the configuration can have: how each is written, and what is said when it is wrong.

use std::net::SocketAddr;

use serde_json::{Value as Json, json};
use toml_edit::Value;
use turncoat_store::Source;

/// A type of a key.
pub trait Setting: Sized {
    /// What would be right, as in "expected ...".
    fn expected() -> String;
    /// Its JSON Schema.
    fn schema() -> Json;
    /// From a value of the file.
    fn from_toml(value: &Value) -> Option<Self>;
    /// From the environment: as in the file, quotes may be left out.
    fn from_text(text: &str) -> Option<Self> {
        if let Ok(value) = text.trim().parse::<Value>()
            && let Some(it) = Self::from_toml(&value)
        {
            return Some(it);
        }
        Self::from_toml(&Value::from(text.trim()))
    }
}

impl Setting for bool {
    fn expected() -> String {
        "true or false".into()
    }
    fn schema() -> Json {
        json!({"type": "boolean"})
    }
    fn from_toml(value: &Value) -> Option<bool> {
        value.as_bool()
    }
}

impl Setting for u64 {
    fn expected() -> String {
        "a whole number such as 100".into()
    }
    fn schema() -> Json {
        json!({"type": "integer", "minimum": 0})
    }
    fn from_toml(value: &Value) -> Option<u64> {
        value.as_integer().and_then(|n| u64::try_from(n).ok())
    }
}

impl Setting for String {
    fn expected() -> String {
        "a text in quotes".into()
    }
    fn schema() -> Json {
        json!({"type": "string"})
    }
    fn from_toml(value: &Value) -> Option<String> {
        value.as_str().map(str::to_owned)
    }
}

/// A number of bytes, written as `"10GiB"` or as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Size(pub u64);

impl Setting for Size {
    fn expected() -> String {
        "a size such as \"512MiB\", \"10GiB\" or a number of bytes".into()
    }
    fn schema() -> Json {
        json!({"type": ["string", "integer"], "pattern": "^[0-9]+ ?([KMGT]i?B|B)?$"})
    }
    fn from_toml(value: &Value) -> Option<Size> {
        if let Some(n) = value.as_integer() {
            return u64::try_from(n).ok().map(Size);
        }
        let text = value.as_str()?.trim();
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at_checked(digits)?;
        let factor: u64 = match unit.trim() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            "KB" | "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(factor).map(Size)
    }
}

/// A length of time, written as `"90s"`, `"5m"`, `"24h"`, `"30d"`; `"0"` or `"never"` where that makes sense. In milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Span(pub u64);

impl Span {
    /// As the standard library has it.
    pub fn duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
    /// Nanoseconds; `None` for "never".
    pub fn nanos(self) -> Option<i64> {
        if self.0 == 0 {
            None
        } else {
            i64::try_from(self.0).ok()?.checked_mul(1_000_000)
        }
    }
}

impl std::str::FromStr for Span {
    type Err = ();
    fn from_str(text: &str) -> Result<Span, ()> {
        let text = text.trim();
        if text == "never" || text == "0" {
            return Ok(Span(0));
        }
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at_checked(digits).ok_or(())?;
        let factor: u64 = match unit.trim() {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return Err(()),
        };
        // Not beyond a century: every sum with a point in time stays in range.
        number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(factor))
            .filter(|ms| *ms <= 3_200_000_000_000)
            .map(Span)
            .ok_or(())
    }
}

impl Setting for Span {
    fn expected() -> String {
        "a time such as \"90s\", \"5m\", \"24h\", \"30d\", or \"never\"".into()
    }
    fn schema() -> Json {
        json!({"type": "string", "pattern": "^(never|0|[0-9]+ ?(ms|s|m|h|d|w))$"})
    }
    fn from_toml(value: &Value) -> Option<Span> {
        value.as_str()?.parse().ok()
    }
}

/// An address and a port.
impl Setting for SocketAddr {
    fn expected() -> String {
        "an address with a port such as \"0.0.0.0:2222\" or \"[::1]:2222\"".into()
    }
    fn schema() -> Json {
        json!({"type": "string"})
    }
    fn from_toml(value: &Value) -> Option<SocketAddr> {
        value.as_str()?.parse().ok()
    }
}

/// A network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(pub Source);

impl serde::Serialize for Network {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}
impl<'de> serde::Deserialize<'de> for Network {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?
            .parse()
            .map(Network)
            .map_err(serde::de::Error::custom)
    }
}

impl Setting for Network {
    fn expected() -> String {
        "an address or a network such as \"192.0.2.0/24\"".into()
    }
    fn schema() -> Json {
        json!({"type": "string"})
    }
    fn from_toml(value: &Value) -> Option<Network> {
        value.as_str()?.parse().ok().map(Network)
    }
}

/// A rule for responses: `"CONDITION -> ACTION, ACTION"`, or the same in two parts, `{ when = "CONDITION", then = ["ACTION"] }`. Kept in
/// the first form.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RuleText(pub String);

impl From<&str> for RuleText {
    fn from(text: &str) -> RuleText {
        RuleText(text.to_owned())
    }
}

impl Setting for RuleText {
    fn expected() -> String {
        "a rule such as \"event == 'token.used' -> alert, block 24h\" or { when = \"event == 'token.used'\", then = [\"alert\", \"block 24h\"] }"
            .into()
    }
    fn schema() -> Json {
        json!({"oneOf": [
            {"type": "string"},
            {
                "type": "object",
                "properties": {"when": {"type": "string"}, "then": {"type": "array", "items": {"type": "string"}, "minItems": 1}},
                "required": ["when", "then"],
                "additionalProperties": false
            }
        ]})
    }
    fn from_toml(value: &Value) -> Option<RuleText> {
        let Some(table) = value.as_inline_table() else {
            return String::from_toml(value).map(RuleText);
        };
        let when = table.get("when")?.as_str()?;
        let then: Vec<String> = Setting::from_toml(table.get("then")?)?;
        // No part may bring what divides parts.
        let plain = !when.contains("->") && !then.iter().any(|t| t.contains(['-', '>', ',']));
        (table.len() == 2 && plain && !then.is_empty())
            .then(|| RuleText(format!("{when} -> {}", then.join(", "))))
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn expected() -> String {
        format!("a list in brackets, each {}", T::expected())
    }
    fn schema() -> Json {
        json!({"type": "array", "items": T::schema()})
    }
    fn from_toml(value: &Value) -> Option<Vec<T>> {
        value.as_array()?.iter().map(T::from_toml).collect()
    }
    fn from_text(text: &str) -> Option<Vec<T>> {
        let text = text.trim();
        if text.starts_with('[') {
            return text.parse::<Value>().ok().and_then(|v| Self::from_toml(&v));
        }
        text.split(',')
            .map(str::trim)
            .filter(|t| !t.is_empty())
            .map(T::from_text)
            .collect()
    }
}

/// Declares a key's type that is one of a few words.
#[macro_export]
macro_rules! choice {
    ($(#[doc = $doc:literal])+ $name:ident { $( $(#[doc = $vdoc:literal])+ $variant:ident = $word:literal ),+ $(,)? }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name { $( $(#[doc = $vdoc])+ #[serde(rename = $word)] $variant ),+ }

        impl $crate::config::value::Setting for $name {
            fn expected() -> String {
                let words: &[&str] = &[$($word),+];
                let quoted: Vec<String> = words.iter().map(|w| format!("\"{w}\"")).collect();
                format!("one of {}", quoted.join(", "))
            }
            fn schema() -> serde_json::Value {
                serde_json::json!({"enum": [$($word),+]})
            }
            fn from_toml(value: &toml_edit::Value) -> Option<Self> {
                match value.as_str()? { $( $word => Some($name::$variant), )+ _ => None }
            }
        }
    };
}
