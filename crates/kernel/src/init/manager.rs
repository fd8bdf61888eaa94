//! The manager's methods (org.freedesktop.systemd1(5)).

use super::jobs::Work;
use super::names::{bad_args, denied, unknown_method};
use super::unit::{self, Unit};
use super::wire::{Message, Value};
use super::{Answer, Refusal};
use crate::Down;
use crate::abi::sig::SigInfo;
use crate::world::World;
use std::sync::Arc;

pub(super) const PATH: &str = "/org/freedesktop/systemd1";
pub(super) const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNITS: &str = "/org/freedesktop/systemd1/unit/";

/// The object of a job.
pub(super) fn job_path(id: u32) -> String {
    format!("{PATH}/job/{id}")
}

/// The object of a unit (bus_label_escape).
pub(super) fn unit_path(name: &str) -> String {
    let mut out = String::from(UNITS);
    for (i, b) in name.bytes().enumerate() {
        if b.is_ascii_alphabetic() || b.is_ascii_digit() && i > 0 {
            out.push(b.into());
        } else {
            out += &format!("_{b:02x}");
        }
    }
    out
}

/// The unit of an object.
pub(super) fn unit_of(path: &str) -> Option<String> {
    let label = path.strip_prefix(UNITS)?;
    let (mut out, mut rest) = (Vec::new(), label.as_bytes());
    while let [b, tail @ ..] = rest {
        let code = (*b == b'_').then(|| tail.get(..2)).flatten();
        match code.and_then(|c| u8::from_str_radix(std::str::from_utf8(c).ok()?, 16).ok()) {
            Some(c) => {
                out.push(c);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*b);
                rest = tail;
            }
        }
    }
    String::from_utf8(out).ok()
}

pub(super) fn no_such_unit(name: &str, what: &str) -> Refusal {
    Refusal(
        "org.freedesktop.systemd1.NoSuchUnit",
        format!("Unit {name} {what}."),
    )
}

fn invalid(name: &str) -> Refusal {
    Refusal(
        "org.freedesktop.DBus.Error.InvalidArgs",
        format!("Unit name {name} is neither a valid invocation ID nor unit name."),
    )
}

/// Calls that only root may make: polkit would decide for others, and is not there.
const ROOTS: [&str; 29] = [
    "StartTransientUnit",
    "StartUnit",
    "StopUnit",
    "RestartUnit",
    "TryRestartUnit",
    "ReloadUnit",
    "ReloadOrRestartUnit",
    "ReloadOrTryRestartUnit",
    "KillUnit",
    "ResetFailed",
    "ResetFailedUnit",
    "EnableUnitFiles",
    "EnableUnitFilesWithFlags",
    "ReenableUnitFiles",
    "DisableUnitFiles",
    "DisableUnitFilesWithFlags",
    "DisableUnitFilesWithFlagsAndInstallInfo",
    "PresetUnitFiles",
    "MaskUnitFiles",
    "UnmaskUnitFiles",
    "RevertUnitFiles",
    "LinkUnitFiles",
    "SetDefaultTarget",
    "Reload",
    "Reexecute",
    "Reboot",
    "PowerOff",
    "Halt",
    "SetUnitProperties",
];

/// Text that a pattern with `*` and `?` fits (fnmatch(3)).
pub(super) fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((sp, st)) => {
                    star = Some((sp, st + 1));
                    (p, t) = (sp + 1, st + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

fn chosen(name: &str, patterns: &[String]) -> bool {
    patterns.is_empty() || patterns.iter().any(|p| fits(p.as_bytes(), name.as_bytes()))
}

impl World {
    /// Answers a call to systemd.
    pub(super) fn manager_call(&mut self, at: usize, m: &Message) -> Answer {
        self.settle();
        self.settle_sessions();
        let member = m.member.as_deref().unwrap_or_default();
        match m.interface.as_deref() {
            Some("org.freedesktop.DBus.Properties") => return self.property_call(at, m),
            Some("org.freedesktop.DBus.Peer") if member == "Ping" => return Ok(vec![]),
            Some("org.freedesktop.DBus.Peer") if member == "GetMachineId" => {
                let id = self.read_file(b"/etc/machine-id").unwrap_or_default();
                return Ok(vec![Value::Str(String::from_utf8_lossy(&id).trim().into())]);
            }
            None | Some(MANAGER) if m.path.as_deref() == Some(PATH) => {}
            _ => {
                self.bus_gap(at, member);
                return Err(unknown_method(m));
            }
        }
        let root = self.init.peers.get(at).is_some_and(|p| p.uid == 0);
        if !root && ROOTS.contains(&member) {
            return Err(denied());
        }
        let text = |i: usize| m.body.get(i).and_then(Value::text).unwrap_or_default().to_owned();
        let texts = |i: usize| m.body.get(i).map(Value::texts).unwrap_or_default();
        match member {
            "GetUnit" => self.get_unit(&text(0)),
            "LoadUnit" => self.load_unit(&text(0)),
            "GetUnitByPID" => self.unit_by_pid(at, m),
            "ListUnits" => Ok(self.list_units(&[], &[])),
            "ListUnitsFiltered" => Ok(self.list_units(&texts(0), &[])),
            "ListUnitsByPatterns" => Ok(self.list_units(&texts(0), &texts(1))),
            "ListUnitsByNames" => Ok(self.list_named(&texts(0))),
            "ListJobs" => Ok(vec![self.list_jobs()]),
            "ListUnitFiles" => Ok(self.list_files(&[], &[])),
            "ListUnitFilesByPatterns" => Ok(self.list_files(&texts(0), &texts(1))),
            "GetUnitFileState" => self.file_state_of(&text(0)),
            "GetDefaultTarget" => Ok(vec![Value::Str(
                self.unit("default.target")
                    .map_or("default.target".into(), |u| u.name),
            )]),
            "GetUnitProcesses" => self.list_processes(&text(0)),
            "Subscribe" | "Unsubscribe" => {
                if let Some(p) = self.init.peers.get_mut(at) {
                    p.subscribed = member == "Subscribe";
                }
                Ok(vec![])
            }
            "StartUnit"
            | "StopUnit"
            | "RestartUnit"
            | "TryRestartUnit"
            | "ReloadUnit"
            | "ReloadOrRestartUnit"
            | "ReloadOrTryRestartUnit" => self.work_on(at, member, &text(0)),
            "StartTransientUnit" => self.start_transient(at, m),
            "KillUnit" => self.kill_unit(&text(0), &text(1), m.body.get(2)),
            "ResetFailed" => {
                self.init.runs.retain(|_, r| r.active != "failed");
                Ok(vec![])
            }
            "ResetFailedUnit" => {
                let name = self.real_name(&text(0));
                self.init.runs.retain(|n, r| *n != name || r.active != "failed");
                Ok(vec![])
            }
            "Reload" | "Reexecute" => {
                self.init_says(
                    6,
                    if member == "Reload" {
                        "Reloading."
                    } else {
                        "Reexecuting."
                    }
                    .into(),
                );
                self.read_again();
                Ok(vec![])
            }
            "Reboot" | "PowerOff" | "Halt" => {
                let by = self.init.peers.get(at).map_or(1, |p| p.pid);
                self.go_down(
                    by,
                    match member {
                        "Reboot" => Down::Reboot,
                        "PowerOff" => Down::PowerOff,
                        _ => Down::Halt,
                    },
                );
                Ok(vec![])
            }
            _ => match self.install_call(member, m) {
                Some(answer) => answer,
                None => {
                    self.bus_gap(at, member);
                    Err(unknown_method(m))
                }
            },
        }
    }

    /// The name behind an alias.
    pub(super) fn real_name(&mut self, name: &str) -> String {
        if self.init.runs.contains_key(name) {
            return name.to_owned();
        }
        self.unit(name).map_or_else(|| name.to_owned(), |u| u.name)
    }

    /// A unit as it is known: one that is up as its files were when it was read.
    pub(super) fn known(&mut self, name: &str) -> Option<Arc<Unit>> {
        if let Some(r) = self.init.runs.get(name).filter(|r| r.sub != "dead") {
            return Some(r.unit.clone());
        }
        let u = self.unit(name)?;
        if let Some(r) = self.init.runs.get(&u.name).filter(|r| r.sub != "dead") {
            return Some(r.unit.clone());
        }
        Some(Arc::new(u))
    }

    fn get_unit(&mut self, name: &str) -> Answer {
        let real = self.real_name(name);
        if self.init.runs.contains_key(&real) {
            return Ok(vec![Value::Path(unit_path(&real))]);
        }
        Err(no_such_unit(name, "not loaded"))
    }

    fn load_unit(&mut self, name: &str) -> Answer {
        if !unit::valid(name) {
            return Err(invalid(name));
        }
        Ok(vec![Value::Path(unit_path(&self.real_name(name)))])
    }

    fn unit_by_pid(&mut self, at: usize, m: &Message) -> Answer {
        let pid = match m.body.first() {
            Some(Value::U32(0)) => self.init.peers.get(at).map_or(0, |p| p.pid),
            Some(Value::U32(n)) => *n,
            _ => return Err(bad_args()),
        };
        let cgroup = self.cgroup_of(pid);
        match cgroup.rsplit('/').next().filter(|n| unit::valid(n)) {
            Some(name) if self.p(pid).is_ok() => Ok(vec![Value::Path(unit_path(name))]),
            _ => Err(Refusal(
                "org.freedesktop.systemd1.NoUnitForPID",
                format!("PID {pid} does not belong to any loaded unit."),
            )),
        }
    }

    /// Everything that is loaded: what is or was up, and what the rest of it refers to.
    pub(super) fn loaded(&mut self) -> Vec<String> {
        let mut all: std::collections::BTreeSet<String> = self.init.runs.keys().cloned().collect();
        for r in self.init.runs.values() {
            let u = &r.unit;
            match unit::kind(&u.name) {
                Some("timer" | "path" | "socket") => {
                    all.insert(super::state::triggered(u));
                }
                Some("target") => all.extend(u.names("Unit", "Wants")),
                _ => {}
            }
        }
        let targets: Vec<String> = all.iter().filter(|n| n.ends_with(".target")).cloned().collect();
        for t in targets {
            all.extend(self.wanted_by_links(&t));
        }
        let mut out: Vec<String> = all
            .into_iter()
            .filter(|n| unit::template(n).is_some() || !n.contains("@."))
            .collect();
        out.retain(|n| unit::valid(n));
        out
    }

    fn list_units(&mut self, states: &[String], patterns: &[String]) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for name in self.loaded() {
            let real = self.real_name(&name);
            if seen.insert(real.clone()) && (chosen(&real, patterns) || chosen(&name, patterns)) {
                rows.push(self.row(&real));
            }
        }
        if !states.is_empty() {
            rows.retain(|r| {
                let Value::Struct(r) = r else { return false };
                [2, 3, 4].iter().any(|i| {
                    let state = r.get(*i).and_then(Value::text).unwrap_or_default();
                    states.iter().any(|s| s == state)
                })
            });
        }
        vec![Value::Array("(ssssssouso)".into(), rows)]
    }

    fn list_named(&mut self, names: &[String]) -> Vec<Value> {
        let mut rows = Vec::new();
        for n in names.iter().filter(|n| unit::valid(n)) {
            let real = self.real_name(n);
            rows.push(self.row(&real));
        }
        vec![Value::Array("(ssssssouso)".into(), rows)]
    }

    fn row(&mut self, name: &str) -> Value {
        let known = self.known(name);
        let load = load_state(known.as_deref(), name);
        let (active, sub) = self
            .init
            .runs
            .get(name)
            .map_or(("inactive", "dead"), |r| (r.active, r.sub));
        let job = self.init.jobs.iter().find(|j| j.unit == name);
        let (id, kind) = job.map_or((0, ""), |j| (j.id, j.work.name()));
        Value::Struct(vec![
            Value::str(name),
            Value::Str(known.map_or_else(|| name.to_owned(), |u| describe(&u))),
            Value::str(load),
            Value::str(active),
            Value::str(sub),
            Value::str(""),
            Value::Path(unit_path(name)),
            Value::U32(id),
            Value::str(kind),
            Value::Path(if id == 0 { "/".into() } else { job_path(id) }),
        ])
    }

    fn list_jobs(&self) -> Value {
        let one = |j: &super::jobs::Job| {
            Value::Struct(vec![
                Value::U32(j.id),
                Value::str(&j.unit),
                Value::str(j.work.name()),
                Value::str("running"),
                Value::Path(job_path(j.id)),
                Value::Path(unit_path(&j.unit)),
            ])
        };
        Value::Array("(usssoo)".into(), self.init.jobs.iter().map(one).collect())
    }

    fn list_files(&mut self, states: &[String], patterns: &[String]) -> Vec<Value> {
        let mut rows = Vec::new();
        let links = self.install_links();
        for (name, path) in self.unit_files() {
            if !chosen(&name, patterns) {
                continue;
            }
            let Some(state) = self.file_state(&name, &links) else {
                continue;
            };
            if states.is_empty() || states.iter().any(|s| s == state) {
                rows.push(Value::Struct(vec![Value::Str(path), Value::str(state)]));
            }
        }
        vec![Value::Array("(ss)".into(), rows)]
    }

    fn file_state_of(&mut self, name: &str) -> Answer {
        let links = self.install_links();
        match self.file_state(name, &links) {
            Some(s) => Ok(vec![Value::str(s)]),
            None => Err(Refusal(
                "org.freedesktop.DBus.Error.FileNotFound",
                "No such file or directory".into(),
            )),
        }
    }

    fn list_processes(&mut self, name: &str) -> Answer {
        let name = self.real_name(name);
        let under = match name.as_str() {
            "-.slice" => String::new(),
            n => self.cgroup_path(n),
        };
        let pids: Vec<u32> = self
            .procs
            .values()
            .filter(|p| p.zombie.is_none())
            .map(|p| p.tgid)
            .collect();
        let mut rows = Vec::new();
        for pid in pids {
            let at = self.cgroup_of(pid);
            let inside = at == under || at.starts_with(&format!("{under}/"));
            let kthread = self
                .p(pid)
                .is_ok_and(|p| p.standin.as_ref().is_some_and(|s| s.kthread));
            if !inside || kthread {
                continue;
            }
            let line = self.read_any(format!("/proc/{pid}/cmdline").as_bytes());
            let words: Vec<_> = line
                .split(|b| *b == 0)
                .filter(|w| !w.is_empty())
                .map(|w| quoted(&String::from_utf8_lossy(w)))
                .collect();
            rows.push(Value::Struct(vec![
                Value::Str(at),
                Value::U32(pid),
                Value::Str(words.join(" ")),
            ]));
        }
        Ok(vec![Value::Array("(sus)".into(), rows)])
    }

    fn work_on(&mut self, at: usize, member: &str, name: &str) -> Answer {
        if !unit::valid(name) {
            return Err(invalid(name));
        }
        let by = self.init.peers.get(at).map_or(1, |p| p.pid);
        match name {
            "reboot.target" | "ctrl-alt-del.target" | "runlevel6.target" => {
                return Ok(self.end(by, Down::Reboot));
            }
            "poweroff.target" | "runlevel0.target" => return Ok(self.end(by, Down::PowerOff)),
            "halt.target" => return Ok(self.end(by, Down::Halt)),
            _ => {}
        }
        let Some(u) = self.known(name) else {
            let up = self.init.runs.contains_key(name);
            return Err(no_such_unit(
                name,
                if member == "StopUnit" && !up {
                    "not loaded"
                } else {
                    "not found"
                },
            ));
        };
        if u.masked {
            return Err(Refusal(
                "org.freedesktop.systemd1.UnitMasked",
                format!("Unit {name} is masked."),
            ));
        }
        if load_state(Some(&u), name) == "bad-setting" && member != "StopUnit" {
            return Err(Refusal(
                "org.freedesktop.systemd1.BadUnitSetting",
                format!("Unit {name} has a bad unit file setting."),
            ));
        }
        let up = self
            .init
            .runs
            .get(&u.name)
            .is_some_and(|r| matches!(r.active, "active" | "reloading"));
        let can_reload = !u.all("Service", "ExecReload").is_empty();
        let work = match member {
            "StartUnit" => Work::Start,
            "StopUnit" => Work::Stop,
            "ReloadUnit" | "ReloadOrRestartUnit" | "ReloadOrTryRestartUnit" if up && can_reload => {
                Work::Reload
            }
            "ReloadUnit" if up => {
                return Err(Refusal(
                    "org.freedesktop.systemd1.JobTypeNotApplicable",
                    format!("Job type reload is not applicable for unit {name}."),
                ));
            }
            "ReloadUnit" => Work::Reload,
            "TryRestartUnit" | "ReloadOrTryRestartUnit" if !up => Work::Stop,
            _ => Work::Restart,
        };
        if work == Work::Reload && !up {
            return Ok(self.failed_job(at, &u.name));
        }
        let Some(id) = self.queue(&u, work) else {
            return Err(Refusal(
                "org.freedesktop.DBus.Error.LimitsExceeded",
                "Argument list too long".into(),
            ));
        };
        if let Some(p) = self.init.peers.get_mut(at) {
            p.waits.push(id);
        }
        Ok(vec![Value::Path(job_path(id))])
    }

    /// A job that cannot be done.
    fn failed_job(&mut self, at: usize, name: &str) -> Vec<Value> {
        self.init.last_job += 1;
        let id = self.init.last_job;
        self.init.ended.push((id, name.to_owned(), "invalid"));
        if let Some(p) = self.init.peers.get_mut(at) {
            p.waits.push(id);
        }
        vec![Value::Path(job_path(id))]
    }

    fn end(&mut self, by: u32, how: Down) -> Vec<Value> {
        self.init.last_job += 1;
        self.go_down(by, how);
        vec![Value::Path(job_path(self.init.last_job))]
    }

    fn kill_unit(&mut self, name: &str, who: &str, sig: Option<&Value>) -> Answer {
        let Some(Value::I32(sig @ 1..=64)) = sig else {
            return Err(bad_args());
        };
        let name = self.real_name(name);
        if !self.init.runs.contains_key(&name) {
            return Err(no_such_unit(&name, "not loaded"));
        }
        let main = self.init.runs.get(&name).map_or(0, |r| r.main);
        for pid in self.unit_processes(&name) {
            if who != "main" || pid == main {
                self.send_group(pid, SigInfo::user(*sig as u8, 1, 0));
            }
        }
        Ok(vec![])
    }

    /// Unit files are read again: what is up has the settings that they have now.
    fn read_again(&mut self) {
        let names: Vec<String> = self.init.runs.keys().cloned().collect();
        for n in names {
            let fresh = self.unit(&n);
            let Some(r) = self.init.runs.get_mut(&n) else {
                continue;
            };
            match fresh {
                Some(u) => r.unit = Arc::new(u),
                None if r.sub == "dead" => drop(self.init.runs.remove(&n)),
                None => {}
            }
        }
    }
}

/// `loaded`, `not-found`, `masked`, `bad-setting`.
pub(super) fn load_state(u: Option<&Unit>, name: &str) -> &'static str {
    match u {
        None => "not-found",
        Some(u) if u.masked => "masked",
        Some(u) if u.path.is_empty() && unit::kind(name) == Some("service") => "not-found",
        Some(u) if unit::kind(name) == Some("service") && !u.path.is_empty() => {
            let exec = ["ExecStart", "ExecStop"]
                .iter()
                .any(|k| !u.all("Service", k).is_empty());
            let action = u.get("Unit", "SuccessAction").is_some();
            if exec || action { "loaded" } else { "bad-setting" }
        }
        Some(u) if unit::kind(name) == Some("timer") && !super::timer::says_when(u) => "bad-setting",
        Some(_) => "loaded",
    }
}

/// What units without a file are called.
pub(super) fn describe(u: &Unit) -> String {
    match u.name.as_str() {
        "-.slice" => "Root Slice".into(),
        "-.mount" => "Root Mount".into(),
        "system.slice" => "System Slice".into(),
        "init.scope" => "System and Service Manager".into(),
        n if n.starts_with("session-") && u.path.is_empty() => {
            let id = n.trim_start_matches("session-").trim_end_matches(".scope");
            let user = u.get("Scope", "User").unwrap_or("root");
            format!("Session {id} of User {user}")
        }
        n if n.starts_with("user-") && n.ends_with(".slice") => {
            let uid = n.trim_start_matches("user-").trim_end_matches(".slice");
            format!("User Slice of UID {uid}")
        }
        n => match n.strip_prefix("system-").and_then(|n| n.strip_suffix(".slice")) {
            Some(of) if u.path.is_empty() => format!("Slice /system/{of}"),
            _ => u.description(),
        },
    }
}

/// An argument as it stands in a list of processes.
fn quoted(word: &str) -> String {
    if word.bytes().any(|b| b" \t\"'$".contains(&b)) {
        format!(
            "\"{}\"",
            word.replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('$', "\\$")
        )
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_both_ways() {
        let p = unit_path("getty@tty1.service");
        assert_eq!(p, "/org/freedesktop/systemd1/unit/getty_40tty1_2eservice");
        assert_eq!(unit_of(&p).as_deref(), Some("getty@tty1.service"));
        assert_eq!(unit_of("/org/freedesktop/systemd1/unit/_"), Some("_".into()));
    }

    #[test]
    fn patterns_fit() {
        assert!(fits(b"ssh*", b"ssh.service") && fits(b"*.timer", b"a.timer") && fits(b"?", b"a"));
        assert!(!fits(b"*.timer", b"a.service") && !fits(b"a", b"ab") && !fits(b"ab", b"a"));
    }
}
