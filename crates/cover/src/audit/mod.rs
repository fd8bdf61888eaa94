//! The audit: what a machine shows of itself, asked from outside by ordinary commands, and whether its sources agree.
//!
//! No I/O here. [`script`] is what to run on the machine; [`Seen`] is what came back together with what was seen from outside (names that
//! begin with `outside.`); [`CHECKS`] are the facts that must agree, each with an id and a sentence. Whoever runs the script (the command
//! over SSH, a test in a world of its own) gives the answers to [`run`].

mod backups;
mod kernel;
mod machine;
mod network;
mod past;
mod people;
mod probes;
mod server;
mod storage;
mod time;
mod who;

pub use probes::{PROBES, Probe, script};

use std::collections::BTreeMap;

/// What was seen of a machine: an answer for each probe.
#[derive(Clone, Debug, Default)]
pub struct Seen(BTreeMap<String, String>);

/// One fact that independent sources must agree on.
#[derive(Clone, Copy)]
pub struct Check {
    /// Stable name.
    pub id: &'static str,
    /// What must hold, as a sentence.
    pub says: &'static str,
    look: fn(&Seen) -> Result<(), String>,
}

const fn c(id: &'static str, says: &'static str, look: fn(&Seen) -> Result<(), String>) -> Check {
    Check { id, says, look }
}

/// A contradiction that the audit found.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The check's id.
    pub id: &'static str,
    /// What must hold.
    pub says: &'static str,
    /// What was seen instead.
    pub seen: String,
}

/// All checks, by subject.
pub const CHECKS: &[&[Check]] = &[
    who::CHECKS,
    kernel::CHECKS,
    machine::CHECKS,
    storage::CHECKS,
    people::CHECKS,
    network::CHECKS,
    server::CHECKS,
    time::CHECKS,
    past::CHECKS,
    backups::CHECKS,
];

/// Looks at everything; what contradicts is a finding.
pub fn run(seen: &Seen) -> Vec<Finding> {
    let all = CHECKS.iter().copied().flatten();
    all.filter_map(|c| {
        let told = (c.look)(seen).err()?;
        Some(Finding {
            id: c.id,
            says: c.says,
            seen: told,
        })
    })
    .collect()
}

/// Number of checks.
pub fn count() -> usize {
    CHECKS.iter().map(|c| c.len()).sum()
}

impl Seen {
    /// The answers in the script's output.
    pub fn of(output: &str) -> Seen {
        Seen(probes::answers(output).into_iter().collect())
    }

    /// Sets the answer to a probe, or something that was seen from outside: `outside.banner` (the server's first line),
    /// `outside.keys` (lines `TYPE BASE64`), `outside.auth` (methods that can continue, separated by commas).
    pub fn set(&mut self, id: &str, answer: impl Into<String>) {
        self.0.insert(id.into(), answer.into());
    }

    /// The answer to a probe, whole.
    ///
    /// # Errors
    /// There is none: what cannot be seen does not agree.
    pub fn get(&self, id: &str) -> Result<&str, String> {
        self.0
            .get(id)
            .map(String::as_str)
            .ok_or_else(|| format!("no answer to {id}"))
    }

    /// Its first line.
    fn line(&self, id: &str) -> Result<&str, String> {
        let line = self.get(id)?.lines().next().unwrap_or("").trim();
        if line.is_empty() {
            return Err(format!("{id} says nothing"));
        }
        Ok(line)
    }

    /// Its lines, without empty ones.
    fn lines(&self, id: &str) -> Result<Vec<&str>, String> {
        Ok(self.get(id)?.lines().filter(|l| !l.trim().is_empty()).collect())
    }

    /// Words of its lines; an answer without lines does not agree with anything.
    fn table(&self, id: &str) -> Result<Vec<Vec<&str>>, String> {
        let rows: Vec<Vec<&str>> = self
            .lines(id)?
            .iter()
            .map(|l| l.split_whitespace().collect())
            .collect();
        if rows.is_empty() {
            return Err(format!("{id} says nothing"));
        }
        Ok(rows)
    }

    /// What stands behind `key` and a separator (`:` or `=` or a space) on the first line that begins with the key.
    fn value(&self, id: &str, key: &str) -> Result<&str, String> {
        self.get(id)?
            .lines()
            .find_map(|l| {
                let rest = l.trim_start().strip_prefix(key)?;
                let rest = rest.trim_start_matches([' ', '\t']);
                let cut = rest.strip_prefix([':', '=']).unwrap_or(rest);
                (cut.len() < rest.len() || l.trim_start()[key.len()..].starts_with([' ', '\t']))
                    .then_some(cut.trim())
            })
            .ok_or_else(|| format!("{id} has no {key}"))
    }

    /// The first number of the answer's line for `key`.
    fn number(&self, id: &str, key: &str) -> Result<i64, String> {
        number(self.value(id, key)?).ok_or_else(|| format!("{id}: {key} is no number"))
    }
}

/// The first whole number in a text.
fn number(text: &str) -> Option<i64> {
    let digits: String = text
        .chars()
        .skip_while(|c| !c.is_ascii_digit())
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().ok()
}

/// The two sources say the same.
fn same<T: PartialEq + std::fmt::Display>(one: &str, a: T, other: &str, b: T) -> Result<(), String> {
    if a == b {
        return Ok(());
    }
    Err(format!("{one} says {a}, {other} says {b}"))
}

/// The two sources differ by at most `by`.
fn near(one: &str, a: i64, other: &str, b: i64, by: i64) -> Result<(), String> {
    if (a - b).abs() <= by {
        return Ok(());
    }
    Err(format!("{one} says {a}, {other} says {b}"))
}

fn hold(that: bool, else_: impl FnOnce() -> String) -> Result<(), String> {
    if that { Ok(()) } else { Err(else_()) }
}
