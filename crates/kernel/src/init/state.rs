//! What state units are in: what a boot left, and what happened since.

use super::unit::{self, Unit};
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use turncoat_freeze::Freeze;

/// Most units that a boot is taken to have started.
const UNITS: usize = 512;
const SEC: u64 = crate::time::SEC;

/// A command of a unit that ran. Times are on the monotonic clock (ns), 0: not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Freeze)]
pub(crate) struct Ran {
    /// `ExecStart`, ...
    pub key: &'static str,
    /// Which of the commands with this key.
    pub index: usize,
    pub pid: u32,
    pub start: u64,
    pub exit: u64,
    /// CLD_* and exit status or signal.
    pub code: i32,
    pub status: i32,
}

/// A unit that is, or was, something else than inactive. Times are on the monotonic clock (ns), 0: never.
#[derive(Clone, Debug, Default, Freeze)]
pub(crate) struct Run {
    pub unit: Arc<Unit>,
    pub active: &'static str,
    pub sub: &'static str,
    pub result: &'static str,
    /// Its main process, 0 if there is none.
    pub main: u32,
    pub ran: Vec<Ran>,
    /// Changed last.
    pub changed: u64,
    pub inactive_exit: u64,
    pub active_enter: u64,
    pub active_exit: u64,
    pub inactive_enter: u64,
    /// When it fires, if it is a timer that does.
    pub timer: Option<Box<super::timer::Elapses>>,
    /// Restarts by itself.
    pub restarts: u32,
    /// Told to stop: it does not start again by itself.
    pub stopping: bool,
}

impl Run {
    /// The state and what it is in detail change at this time.
    pub fn set(&mut self, active: &'static str, sub: &'static str, now: u64) {
        let (was, is) = (up(self.active), up(active));
        if down(self.active) && !down(active) {
            self.inactive_exit = now;
        }
        if !was && is {
            self.active_enter = now;
        }
        if was && !is {
            self.active_exit = now;
        }
        if !down(self.active) && down(active) {
            self.inactive_enter = now;
        }
        (self.active, self.sub) = (active, sub);
        self.changed = now;
    }
}

fn up(active: &str) -> bool {
    matches!(active, "active" | "reloading")
}

fn down(active: &str) -> bool {
    matches!(active, "inactive" | "failed" | "")
}

/// State and detail of a unit that a boot has started, if it is no service.
fn started(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "target" | "slice" | "swap" => ("active", "active"),
        "socket" => ("active", "listening"),
        "timer" | "path" | "automount" => ("active", "waiting"),
        "mount" => ("active", "mounted"),
        "scope" => ("active", "running"),
        _ => ("inactive", "dead"),
    }
}

/// Where the mount units of a usual server come from that no file system table names.
const ROOT: [&str; 3] = ["-.slice", "system.slice", "init.scope"];

impl World {
    /// Finds out what the boot started, once: from the files as they are, and from what runs.
    pub(super) fn settle(&mut self) {
        if self.init.settled {
            return;
        }
        let own = self.init.own.clone();
        let stands = self.standin_units();
        let mut all = self.boot_units();
        all.retain(|u| own.is_empty() || own.contains_key(&u.name) || stands.contains_key(&u.name));
        self.settle_with(all);
    }

    /// The same right after a boot. Gives what is still to be started: services and timers that somebody added or changed.
    pub(super) fn settle_anew(&mut self) -> Vec<Unit> {
        let own = self.init.own.clone();
        let (mut fresh, mut there) = (Vec::new(), Vec::new());
        for u in self.boot_units() {
            let starts = matches!(unit::kind(&u.name), Some("service" | "timer"));
            if starts && !own.is_empty() && !self.was_there(&u) {
                fresh.push(u);
            } else {
                there.push(u);
            }
        }
        self.settle_with(there);
        fresh
    }

    fn settle_with(&mut self, there: Vec<Unit>) {
        self.init.settled = true;
        for u in there {
            self.settle_one(u);
        }
        self.settle_rest();
    }

    /// The units that a boot starts as the files are now, and those of what runs.
    pub(super) fn boot_units(&mut self) -> Vec<Unit> {
        let mut out = Vec::new();
        let stands = self.standin_units();
        let mut todo: VecDeque<String> = ["default.target", "user.slice"].map(String::from).into();
        todo.extend(stands.keys().cloned());
        let mut seen: BTreeSet<String> = BTreeSet::new();
        while let Some(name) = todo.pop_front() {
            if seen.len() >= UNITS || !seen.insert(name.clone()) {
                continue;
            }
            let Some(u) = self.unit(&name).filter(|u| !u.masked) else {
                continue;
            };
            if u.name != name && !seen.insert(u.name.clone()) {
                continue;
            }
            for key in ["Wants", "Requires", "BindsTo"] {
                todo.extend(u.names("Unit", key));
            }
            if u.has("Service") || u.has("Socket") {
                todo.extend(u.names(if u.has("Service") { "Service" } else { "Socket" }, "Slice"));
                todo.extend(u.names("Service", "Sockets"));
            }
            todo.extend(self.wanted_by_links(&name));
            if u.name != name {
                todo.extend(self.wanted_by_links(&u.name.clone()));
            }
            if stands.contains_key(&u.name) || self.conditions_hold(&u) {
                out.push(u);
            }
        }
        out
    }

    /// Main processes of what init keeps, by unit.
    fn standin_units(&self) -> BTreeMap<String, (u32, u64)> {
        let mut out = BTreeMap::new();
        for p in self.procs.values().filter(|p| p.ppid == 1 && p.zombie.is_none()) {
            if let (Some(u), None) = (&p.unit, p.conn) {
                out.entry(u.to_string()).or_insert((p.tgid, p.start));
            }
        }
        out
    }

    fn settle_one(&mut self, u: Unit) {
        let name = u.name.clone();
        let kind = unit::kind(&name).unwrap_or_default();
        let main = self.standin_units().get(&name).copied();
        let mut r = Run {
            result: "success",
            ..Run::default()
        };
        let early = u.flag("Unit", "DefaultDependencies") == Some(false);
        let jitter = name
            .bytes()
            .fold(7u64, |h, b| h.wrapping_mul(131).wrapping_add(b.into()))
            % 1_400_000_000;
        let at = match (early, kind) {
            (true, _) => 1_900_000_000 + jitter,
            (false, "target") if name.contains("multi-user") || name.contains("graphical") => {
                6 * SEC + jitter / 8
            }
            _ => 3_600_000_000 + jitter,
        };
        let (active, sub, at) = match (kind, main) {
            ("service", Some((pid, start))) => {
                r.main = pid;
                r.ran = before_main(&u, pid, start);
                ("active", "running", start)
            }
            ("service", None) if u.service_type() == "oneshot" => {
                let stays = u.flag("Service", "RemainAfterExit") == Some(true);
                (
                    if stays { "active" } else { "inactive" },
                    if stays { "exited" } else { "dead" },
                    at,
                )
            }
            _ => {
                let (active, sub) = started(kind);
                (active, sub, at)
            }
        };
        if active == "inactive" {
            return;
        }
        r.unit = Arc::new(u);
        r.set(active, sub, at);
        self.init.runs.insert(name, r);
    }

    /// What is there without a file: slices, the root's mount, and sockets whose service took them.
    fn settle_rest(&mut self) {
        let slices: Vec<String> = (self.init.runs.values())
            .filter(|r| unit::kind(&r.unit.name) == Some("service"))
            .filter_map(|r| unit::template(&r.unit.name))
            .map(|t| format!("system-{}.slice", t.split('@').next().unwrap_or_default()))
            .collect();
        for name in ROOT.into_iter().map(String::from).chain(slices) {
            self.settle_made(&name);
        }
        self.settle_made("-.mount");
        let taken: Vec<String> = (self.init.runs.iter())
            .filter(|(n, r)| r.sub == "listening" && self.socket_taken(n))
            .map(|(n, _)| n.clone())
            .collect();
        for n in taken {
            if let Some(r) = self.init.runs.get_mut(&n) {
                r.sub = "running";
            }
        }
    }

    /// A unit without a file that is up since the boot.
    fn settle_made(&mut self, name: &str) {
        if self.init.runs.contains_key(name) {
            return;
        }
        let (active, sub) = started(unit::kind(name).unwrap_or_default());
        let mut r = Run {
            unit: Arc::new(self.unit(name).unwrap_or_else(|| Unit::made(name))),
            result: "success",
            ..Run::default()
        };
        r.set(active, sub, 1_800_000_000);
        self.init.runs.insert(name.to_owned(), r);
    }

    /// Sessions are units too, as long as they last, with the slices of their users.
    pub(super) fn settle_sessions(&mut self) {
        let conns: Vec<(String, u32, String)> = (self.conns.iter())
            .filter_map(|(c, s)| {
                let uid = self.t(s.leader).ok()?.creds.uid;
                let user = String::from_utf8_lossy(&s.user).into_owned();
                Some((format!("session-{}.scope", c.0), uid, user))
            })
            .collect();
        let there = |n: &str| {
            conns
                .iter()
                .any(|c| c.0 == n || format!("user-{}.slice", c.1) == n)
        };
        self.init
            .runs
            .retain(|n, _| !(n.starts_with("session-") || n.starts_with("user-")) || there(n));
        for (name, uid, user) in conns {
            let now = self.clock.mono();
            for (name, sub) in [(name, "running"), (format!("user-{uid}.slice"), "active")] {
                if self.init.runs.contains_key(&name) {
                    continue;
                }
                let unit = match sub {
                    "running" => Unit::made_with(&name, ("Scope", "User", &user)),
                    _ => Unit::made(&name),
                };
                let mut r = Run {
                    unit: Arc::new(unit),
                    result: "success",
                    ..Run::default()
                };
                r.set("active", sub, now);
                self.init.runs.insert(name, r);
            }
        }
    }

    /// The service that a socket starts, by its name or `Service=`, runs.
    fn socket_taken(&self, socket: &str) -> bool {
        let Some(r) = self.init.runs.get(socket) else {
            return false;
        };
        if r.unit.flag("Socket", "Accept") == Some(true) {
            return false;
        }
        let service = triggered(&r.unit);
        self.init.runs.get(&service).is_some_and(|s| s.sub == "running")
    }

    /// Whether the conditions of a unit hold: all, and of those with `|` one. One that is not known does not.
    pub(super) fn conditions_hold(&mut self, u: &Unit) -> bool {
        let (mut any, mut triggered) = (false, false);
        for key in CONDITIONS {
            let all: Vec<String> = u.all("Unit", key).into_iter().map(|v| u.specified(v)).collect();
            for v in all {
                match v.strip_prefix('|') {
                    Some(v) => {
                        any = true;
                        triggered |= self.condition(key, v);
                    }
                    None if !self.condition(key, &v) => return false,
                    None => {}
                }
            }
        }
        triggered || !any
    }

    fn condition(&mut self, key: &str, value: &str) -> bool {
        let (value, want) = match value.strip_prefix('!') {
            Some(v) => (v.trim(), false),
            None => (value, true),
        };
        let path = value.as_bytes();
        let holds = match key {
            "ConditionPathExists" => self.look(path).is_some(),
            "ConditionPathIsDirectory" => self.look(path).is_some_and(|l| l.mode & 0o170_000 == 0o040_000),
            "ConditionDirectoryNotEmpty" => !self.list(path, 1).is_empty(),
            "ConditionFileIsExecutable" => self
                .look(path)
                .is_some_and(|l| l.mode & 0o170_000 == 0o100_000 && l.mode & 0o111 != 0),
            "ConditionFileNotEmpty" => self.look(path).is_some_and(|l| l.size > 0),
            "ConditionPathIsReadWrite" => true,
            "ConditionPathIsMountPoint" => value == "/",
            "ConditionCapability" => true,
            "ConditionVirtualization" => value == "vm" || value == "yes",
            "ConditionKernelCommandLine" => {
                let line = self.read_any(b"/proc/cmdline");
                let line = String::from_utf8_lossy(&line).into_owned();
                line.split_whitespace()
                    .any(|w| w == value || w.split('=').next() == Some(value))
            }
            // What a usual server is not: first boots, /usr that is newer than /etc, TPMs, batteries.
            _ => false,
        };
        holds == want
    }
}

/// Conditions that the units of Debian have.
pub(super) const CONDITIONS: [&str; 16] = [
    "ConditionPathExists",
    "ConditionPathIsDirectory",
    "ConditionPathIsSymbolicLink",
    "ConditionDirectoryNotEmpty",
    "ConditionFileIsExecutable",
    "ConditionFileNotEmpty",
    "ConditionPathIsReadWrite",
    "ConditionPathIsMountPoint",
    "ConditionCapability",
    "ConditionVirtualization",
    "ConditionKernelCommandLine",
    "ConditionFirstBoot",
    "ConditionNeedsUpdate",
    "ConditionSecurity",
    "ConditionControlGroupController",
    "ConditionACPower",
];

/// What a timer, path or socket starts.
pub(super) fn triggered(u: &Unit) -> String {
    let section = match unit::kind(&u.name) {
        Some("timer") => ("Timer", "Unit"),
        Some("path") => ("Path", "Unit"),
        _ => ("Socket", "Service"),
    };
    u.get(section.0, section.1).map_or_else(
        || format!("{}.service", u.name.rsplit_once('.').map_or(&*u.name, |n| n.0)),
        |n| u.specified(n),
    )
}

/// The commands that ran before the main process of a stand-in, and that one.
fn before_main(u: &Unit, main: u32, start: u64) -> Vec<Ran> {
    let pres = u.all("Service", "ExecStartPre").len();
    let mut out: Vec<Ran> = (0..pres)
        .map(|i| {
            let back = (pres - i) as u64;
            Ran {
                key: "ExecStartPre",
                index: i,
                pid: main.saturating_sub(back as u32 * 2),
                start: start.saturating_sub(back * 41_000_000),
                exit: start.saturating_sub(back * 41_000_000 - 37_000_000),
                code: crate::abi::sig::CLD_EXITED,
                status: 0,
            }
        })
        .collect();
    out.push(Ran {
        key: "ExecStart",
        pid: main,
        start,
        ..Ran::default()
    });
    out
}
