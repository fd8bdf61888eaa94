//! Units that exist for one run (`systemd-run`, StartTransientUnit in org.freedesktop.systemd1(5)): services and timers, written below
//! `/run` as systemd writes them, so that everything else finds them there, and gone when they are over.

use super::jobs::Work;
use super::manager::job_path;
use super::names::bad_args;
use super::unit;
use super::wire::{Message, Value};
use super::{Answer, Refusal};
use crate::world::World;
use std::fmt::Write;
use std::sync::Arc;

/// Where they lie.
pub(super) const DIR: &str = "/run/systemd/transient";
const HEAD: &str =
    "# This is a transient unit file, created programmatically via the systemd API. Do not edit.\n";
/// Most bytes of one.
const LENGTH: usize = 64 << 10;

/// A value as it stands in a unit file; nothing in it begins another line.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// A word of a command line: in quotes, with what they would not hold together behind a backslash.
fn quoted(word: &str) -> String {
    let mut out = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // What comes by the bus has no specifiers; variables are put in all the same.
            '%' => out.push_str("%%"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `90s` for what counts microseconds, as exactly as a unit file can say it.
fn seconds(us: u64) -> String {
    if us.is_multiple_of(1_000_000) {
        format!("{}s", us / 1_000_000)
    } else {
        format!("{us}us")
    }
}

/// The lines that a property stands for, by section; `None`: it is not known, or its value is of another kind.
fn lines(kind: &str, name: &str, value: &Value) -> Option<(&'static str, String)> {
    let own = match kind {
        "service" => "Service",
        "timer" => "Timer",
        "scope" => "Scope",
        _ => "Slice",
    };
    let each = |all: &[Value], line: &dyn Fn(&[Value]) -> Option<String>| {
        let lines = all.iter().map(|v| match v {
            Value::Struct(fields) => line(fields),
            _ => None,
        });
        lines.collect::<Option<String>>()
    };
    Some(match (name, value) {
        ("Description", Value::Str(s)) => ("Unit", format!("Description={}\n", plain(s))),
        ("CollectMode", Value::Str(s)) => ("Unit", format!("CollectMode={}\n", plain(s))),
        ("AddRef" | "PIDs", _) => (own, String::new()),
        ("TimersMonotonic", Value::Array(_, all)) => {
            let line = |f: &[Value]| match f {
                [Value::Str(k), Value::U64(us)] => Some(format!("{}={}\n", plain(k), seconds(*us))),
                _ => None,
            };
            (own, each(all, &line)?)
        }
        ("TimersCalendar", Value::Array(_, all)) => {
            let line = |f: &[Value]| match f {
                [Value::Str(k), Value::Str(c)] => Some(format!("{}={}\n", plain(k), plain(c))),
                _ => None,
            };
            (own, each(all, &line)?)
        }
        (exec, Value::Array(_, all)) if exec.starts_with("Exec") => {
            let key = exec.trim_end_matches("Ex");
            let line = |f: &[Value]| match f {
                [Value::Str(path), argv, rest] => {
                    let mut words = argv.texts();
                    let other = words.first().is_some_and(|w| w != path);
                    if other {
                        words.insert(0, path.clone());
                    }
                    let may_fail =
                        *rest == Value::Bool(true) || rest.texts().iter().any(|t| t == "ignore-failure");
                    let marks = format!(
                        "{}{}",
                        if may_fail { "-" } else { "" },
                        if other { "@" } else { "" }
                    );
                    let words: Vec<String> = words.iter().map(|w| quoted(w)).collect();
                    Some(format!("{key}={marks}{}\n", words.join(" ")))
                }
                _ => None,
            };
            (own, format!("{key}=\n{}", each(all, &line)?))
        }
        ("Environment", Value::Array(..)) => {
            let all = value.texts();
            (
                own,
                all.iter()
                    .map(|e| format!("Environment={}\n", quoted(e)))
                    .collect(),
            )
        }
        (name, Value::U64(us)) if name.ends_with("USec") => (
            own,
            format!("{}Sec={}\n", name.trim_end_matches("USec"), seconds(*us)),
        ),
        (name, value) if name.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            let text = match value {
                Value::Str(s) => plain(s),
                Value::Bool(b) => if *b { "yes" } else { "no" }.to_owned(),
                Value::U64(n) => n.to_string(),
                Value::U32(n) => n.to_string(),
                Value::I32(n) => n.to_string(),
                Value::Array(of, _) if of == "s" => value
                    .texts()
                    .iter()
                    .map(|t| plain(t))
                    .collect::<Vec<_>>()
                    .join(" "),
                _ => return None,
            };
            (own, format!("{name}={text}\n"))
        }
        _ => return None,
    })
}

/// The text of a unit with these properties.
fn text(kind: &str, properties: &[Value]) -> Option<String> {
    let mut sections: Vec<(&'static str, String)> = Vec::new();
    for p in properties.iter().take(256) {
        let Value::Struct(fields) = p else { return None };
        let [Value::Str(name), Value::Variant(value)] = &fields[..] else {
            return None;
        };
        let (section, new) = lines(kind, name, value)?;
        match sections.iter_mut().find(|s| s.0 == section) {
            Some((_, all)) => all.push_str(&new),
            None => sections.push((section, new)),
        }
    }
    let mut out = HEAD.to_owned();
    for (section, all) in sections {
        let _ = write!(out, "[{section}]\n{all}\n");
    }
    (out.len() <= LENGTH).then_some(out)
}

impl World {
    /// Makes a unit, those that it starts, and starts it.
    pub(super) fn start_transient(&mut self, at: usize, m: &Message) -> Answer {
        let [
            Value::Str(name),
            Value::Str(_),
            Value::Array(_, properties),
            Value::Array(_, others),
        ] = &m.body[..]
        else {
            return Err(bad_args());
        };
        for other in others.iter().take(16) {
            let Value::Struct(fields) = other else {
                return Err(bad_args());
            };
            let [Value::Str(name), Value::Array(_, properties)] = &fields[..] else {
                return Err(bad_args());
            };
            self.write_transient(name, properties)?;
        }
        self.write_transient(name, properties)?;
        let made = self.unit(name).map(Arc::new);
        let Some(id) = made.and_then(|u| self.queue(&u, Work::Start)) else {
            return Err(bad_args());
        };
        if let Some(p) = self.init.peers.get_mut(at) {
            p.waits.push(id);
        }
        Ok(vec![Value::Path(job_path(id))])
    }

    fn write_transient(&mut self, name: &str, properties: &[Value]) -> Result<(), Refusal> {
        let kind = unit::kind(name).filter(|k| unit::valid(name) && matches!(*k, "service" | "timer"));
        let Some(kind) = kind else { return Err(bad_args()) };
        if self.unit(name).is_some() || self.init.runs.contains_key(name) {
            return Err(Refusal(
                "org.freedesktop.systemd1.UnitExists",
                format!("Unit {name} already exists."),
            ));
        }
        let Some(text) = text(kind, properties) else {
            return Err(Refusal(
                "org.freedesktop.DBus.Error.PropertyReadOnly",
                "Cannot set property, or unknown property.".into(),
            ));
        };
        if self.list(DIR.as_bytes(), unit::FILES).len() >= unit::FILES {
            return Err(Refusal(
                "org.freedesktop.DBus.Error.LimitsExceeded",
                "Argument list too long".into(),
            ));
        }
        self.put_file(format!("{DIR}/{name}").as_bytes(), text.as_bytes());
        Ok(())
    }

    /// Takes away the units of this kind that are over: those that failed stay until somebody has seen it.
    pub(super) fn collect_transients(&mut self) {
        let over = |r: &super::state::Run| r.sub == "dead" && r.unit.path.starts_with(DIR);
        let all: Vec<String> = (self.init.runs.iter())
            .filter(|(n, r)| over(r) && !self.init.jobs.iter().any(|j| j.unit == **n))
            .map(|(n, _)| n.clone())
            .collect();
        for name in all {
            // What a timer still starts stays with it.
            let held = (self.init.runs.values()).any(|r| {
                r.timer.is_some() && r.active == "active" && super::state::triggered(&r.unit) == name
            });
            if held {
                continue;
            }
            let run = self.init.runs.remove(&name);
            let timer = run.filter(|r| unit::kind(&r.unit.name) == Some("timer"));
            let started = timer.map(|r| super::state::triggered(&r.unit));
            self.remove_transient(&name);
            if let Some(s) = started.filter(|s| !self.init.runs.contains_key(s)) {
                self.remove_transient(&s);
            }
        }
    }

    fn remove_transient(&mut self, name: &str) {
        let recording = self.vfs.record(false);
        let root = self.vfs.root_path();
        let path = format!("{DIR}/{name}");
        let _ = self.fs(0, |v, c| v.unlink(c, &root, path.as_bytes()));
        self.vfs.record(recording);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_become_lines() {
        let p = |name: &str, v: Value| Value::Struct(vec![Value::str(name), Value::Variant(Box::new(v))]);
        let exec = Value::Struct(vec![
            Value::str("/bin/sh"),
            Value::strs(&["/bin/sh", "-c", "echo \"$A\" 100%"]),
            Value::Bool(false),
        ]);
        let all = [
            p("Description", Value::str("one\n[Service]\nExecStart=/evil")),
            p("ExecStart", Value::Array("(sasb)".into(), vec![exec])),
            p("RemainAfterExit", Value::Bool(true)),
            p("RestartUSec", Value::U64(1_500_000)),
        ];
        assert_eq!(
            text("service", &all).unwrap(),
            format!(
                "{HEAD}[Unit]\nDescription=one [Service] ExecStart=/evil\n\n[Service]\nExecStart=\nExecStart=\"/bin/sh\" \"-c\" \
                 \"echo \\\"$A\\\" 100%%\"\nRemainAfterExit=yes\nRestartSec=1500000us\n\n"
            )
        );
        let timer = Value::Struct(vec![Value::str("OnActiveSec"), Value::U64(30_000_000)]);
        let all = [p("TimersMonotonic", Value::Array("(st)".into(), vec![timer]))];
        assert_eq!(
            text("timer", &all).unwrap(),
            format!("{HEAD}[Timer]\nOnActiveSec=30s\n\n")
        );
    }
}
