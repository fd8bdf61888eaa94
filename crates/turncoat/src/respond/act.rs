//! Actions of rules: `alert`, `block 24h`.

use std::time::Duration;

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Tell people.
    Alert,
    /// Close the protected side to the campaign's sources for this long.
    Block(Duration),
}

/// The longest block.
pub const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// Reads a duration like `90s`, `15m`, `24h`, `7d`.
///
/// # Errors
/// What would be right.
pub fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is no duration; write 90s, 15m, 24h or 7d");
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?);
    let n: u64 = digits.parse().map_err(|_| bad())?;
    let seconds = match unit {
        "s" => n,
        "m" => n.saturating_mul(60),
        "h" => n.saturating_mul(3600),
        "d" => n.saturating_mul(86_400),
        _ => return Err(bad()),
    };
    Ok(Duration::from_secs(seconds))
}

impl std::str::FromStr for Act {
    type Err = String;
    fn from_str(s: &str) -> Result<Act, String> {
        let mut words = s.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("alert"), None, None) => Ok(Act::Alert),
            (Some("block"), Some(d), None) => {
                let d = duration(d)?;
                if d.is_zero() || d > LONGEST {
                    return Err(format!("{s:?}: a block lasts from 1s to 366d"));
                }
                Ok(Act::Block(d))
            }
            (Some("block"), None, None) => Err("a block needs a duration: block 24h".into()),
            _ => Err(format!("{s:?} is no action; actions are alert, block 24h")),
        }
    }
}

impl std::fmt::Display for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Act::Alert => f.write_str("alert"),
            Act::Block(d) => match d.as_secs() {
                s if s % 86_400 == 0 => write!(f, "block {}d", s / 86_400),
                s if s % 3600 == 0 => write!(f, "block {}h", s / 3600),
                s if s % 60 == 0 => write!(f, "block {}m", s / 60),
                s => write!(f, "block {s}s"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_go_both_ways() {
        for t in ["alert", "block 1d", "block 36h", "block 15m", "block 90s"] {
            assert_eq!(t.parse::<Act>().unwrap().to_string(), t);
        }
        for t in ["", "block", "block 0s", "block 400d", "block 5", "alert now", "divert", "block 99999999999999999999s"] {
            assert!(t.parse::<Act>().is_err(), "{t}");
        }
    }
}
