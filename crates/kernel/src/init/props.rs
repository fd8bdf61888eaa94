//! Properties of the manager and of units (org.freedesktop.systemd1(5)). What is not here is an unknown property.

use super::jobs::commands;
use super::manager::{MANAGER, PATH, describe, load_state, unit_of};
use super::names::{bad_args, unknown_method};
use super::state::{Ran, Run, triggered};
use super::unit::{self, Unit};
use super::wire::{Message, Value};
use super::{Answer, Refusal};
use crate::world::World;

const SEC: u64 = crate::time::SEC;
const UNIT: &str = "org.freedesktop.systemd1.Unit";
/// What systemd says of a number that is not set or not counted.
const UNSET: u64 = u64::MAX;
/// DefaultTimeoutStartSec and DefaultTimeoutStopSec, in microseconds.
const TIMEOUT_USEC: u64 = 90_000_000;

/// The properties of an object, each with its interface.
type Props = Vec<(String, &'static str, Value)>;

/// A time span (systemd.time(7)) in nanoseconds.
pub(super) fn span(text: &str) -> Option<u64> {
    let mut sum = 0u64;
    let mut rest = text.trim();
    if rest.is_empty() || rest == "infinity" {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let n: u64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?.trim_start();
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = match rest.get(..letters)? {
            "" | "s" | "sec" | "second" | "seconds" => SEC,
            "ms" | "msec" => SEC / 1000,
            "us" | "usec" => SEC / 1_000_000,
            "m" | "min" | "minute" | "minutes" => 60 * SEC,
            "h" | "hr" | "hour" | "hours" => 3_600 * SEC,
            "d" | "day" | "days" => 86_400 * SEC,
            "w" | "week" | "weeks" => 604_800 * SEC,
            _ => return None,
        };
        sum = sum.saturating_add(n.saturating_mul(unit));
        rest = rest.get(letters..)?.trim_start();
    }
    Some(sum)
}

fn unknown_property(interface: &str, name: &str) -> Refusal {
    Refusal(
        "org.freedesktop.DBus.Error.UnknownProperty",
        format!("Unknown interface {interface} or property {name}."),
    )
}

impl World {
    /// Answers org.freedesktop.DBus.Properties.
    pub(super) fn property_call(&mut self, at: usize, m: &Message) -> Answer {
        let text = |i: usize| m.body.get(i).and_then(Value::text).unwrap_or_default();
        let (interface, name) = (text(0), text(1));
        let path = m.path.as_deref().unwrap_or_default();
        let Some(all) = self.properties(path) else {
            return Err(Refusal(
                "org.freedesktop.DBus.Error.UnknownObject",
                format!("Unknown object '{path}'."),
            ));
        };
        let of = |p: &&(String, &'static str, Value)| interface.is_empty() || p.0 == interface;
        match m.member.as_deref() {
            Some("GetAll") => {
                let one = |p: &(String, &'static str, Value)| {
                    Value::Entry(Box::new((Value::str(p.1), Value::Variant(Box::new(p.2.clone())))))
                };
                Ok(vec![Value::Array(
                    "{sv}".into(),
                    all.iter().filter(of).map(one).collect(),
                )])
            }
            Some("Get") => match all.iter().filter(of).find(|p| p.1 == name) {
                Some(p) => Ok(vec![Value::Variant(Box::new(p.2.clone()))]),
                None => {
                    self.bus_gap(at, name);
                    Err(unknown_property(interface, name))
                }
            },
            Some("Set") => Err(Refusal(
                "org.freedesktop.DBus.Error.PropertyReadOnly",
                format!("Property '{name}' is not writable."),
            )),
            Some(_) => Err(unknown_method(m)),
            None => Err(bad_args()),
        }
    }

    fn properties(&mut self, path: &str) -> Option<Props> {
        if path == PATH {
            return Some(self.manager_properties());
        }
        let name = unit_of(path).filter(|n| unit::valid(n))?;
        Some(self.unit_properties(&name))
    }

    /// Wall clock in microseconds at a time on the monotonic clock (ns); 0 stays 0.
    fn stamp(&self, mono: u64) -> Value {
        Value::U64(if mono == 0 {
            0
        } else {
            (mono + self.clock.offset()) / 1_000
        })
    }

    fn manager_properties(&mut self) -> Props {
        let failed = self.init.runs.values().filter(|r| r.active == "failed").count() as u32;
        let state = match failed {
            _ if self.going_down() => "stopping",
            0 => "running",
            _ => "degraded",
        };
        let names = self.loaded().len() as u32;
        let version = self.systemd_version();
        let jobs = self.init.jobs.len() as u32;
        let boot = self.stamp(1_200_000_000);
        let all = vec![
            ("Version", Value::Str(version)),
            (
                "Virtualization",
                Value::str(match &*self.facts_of.cpu.hypervisor {
                    "" => "",
                    "xen" => "xen",
                    "vmware" => "vmware",
                    "microsoft" => "microsoft",
                    _ => "kvm",
                }),
            ),
            ("Architecture", Value::str("x86-64")),
            ("Tainted", Value::str("")),
            ("KernelTimestamp", self.stamp(1)),
            ("KernelTimestampMonotonic", Value::U64(0)),
            ("UserspaceTimestamp", boot),
            ("UserspaceTimestampMonotonic", Value::U64(1_200_000)),
            ("NNames", Value::U32(names)),
            ("NFailedUnits", Value::U32(failed)),
            ("NJobs", Value::U32(jobs)),
            ("NInstalledJobs", Value::U32(self.init.last_job + names)),
            ("NFailedJobs", Value::U32(0)),
            ("Progress", Value::F64(1f64.to_bits())),
            (
                "Environment",
                Value::strs(&[
                    "LANG=C.UTF-8",
                    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
                ]),
            ),
            (
                "UnitPath",
                Value::strs(&[
                    "/etc/systemd/system.control",
                    "/run/systemd/system.control",
                    "/run/systemd/transient",
                    "/run/systemd/generator.early",
                    "/etc/systemd/system",
                    "/etc/systemd/system.attached",
                    "/run/systemd/system",
                    "/run/systemd/system.attached",
                    "/run/systemd/generator",
                    "/usr/local/lib/systemd/system",
                    "/lib/systemd/system",
                    "/usr/lib/systemd/system",
                    "/run/systemd/generator.late",
                ]),
            ),
            ("ControlGroup", Value::str("")),
            ("SystemState", Value::str(state)),
        ];
        all.into_iter().map(|(n, v)| (MANAGER.to_owned(), n, v)).collect()
    }

    /// As `systemctl --version` of the image says it: from dpkg's list.
    fn systemd_version(&mut self) -> String {
        let text = self.read_big(b"/var/lib/dpkg/status", 4 << 20);
        let text = String::from_utf8_lossy(&text);
        let package = text.split("\n\n").find(|p| p.contains("Package: systemd\n"));
        let line = package.and_then(|p| p.lines().find_map(|l| l.strip_prefix("Version: ")));
        line.unwrap_or("252").to_owned()
    }

    /// Content of a file of any kind, also where its length says nothing as in `/proc`.
    pub(super) fn read_any(&mut self, path: &[u8]) -> Vec<u8> {
        let root = self.vfs.root_path();
        let Ok(Ok(at)) = self.fs(0, |v, c| v.walk(c, &root, path, 0)) else {
            return Vec::new();
        };
        if let Ok(Ok(made)) = self.fs(0, |v, c| v.synthetic(c, at.ino)) {
            return made;
        }
        let mut b = vec![0; 64 << 10];
        let got = self.file_bytes(&at, 0, &mut b).unwrap_or(0);
        b.truncate(got);
        b
    }

    /// Content of a file up to this length.
    fn read_big(&mut self, path: &[u8], most: usize) -> Vec<u8> {
        let root = self.vfs.root_path();
        let Ok(Ok(at)) = self.fs(0, |v, c| v.walk(c, &root, path, 0)) else {
            return Vec::new();
        };
        let n = self.vfs.file_len(at.ino).unwrap_or(0).min(most as u64) as usize;
        let mut b = vec![0; n];
        let got = self.file_bytes(&at, 0, &mut b).unwrap_or(0);
        b.truncate(got);
        b
    }

    fn unit_properties(&mut self, name: &str) -> Props {
        let real = self.real_name(name);
        let known = self.known(&real);
        let run = self.init.runs.get(&real).cloned().unwrap_or(Run {
            active: "inactive",
            sub: "dead",
            result: "success",
            ..Run::default()
        });
        let load = load_state(known.as_deref(), &real);
        let u = known.map(|u| (*u).clone()).unwrap_or_else(|| Unit::made(&real));
        let mut out = Vec::new();
        let mut put = |all: Vec<(&'static str, Value)>, interface: &str| {
            out.extend(all.into_iter().map(|(n, v)| (interface.to_owned(), n, v)));
        };
        let kind = unit::kind(&real).unwrap_or_default();
        let interface = format!(
            "org.freedesktop.systemd1.{}{}",
            kind[..1].to_uppercase(),
            &kind[1..]
        );
        match kind {
            "service" => put(self.service(&u, &run), &interface),
            "socket" => put(socket(&u), &interface),
            "timer" => put(self.timer(&u), &interface),
            "mount" => put(mount(&u), &interface),
            _ => {}
        }
        if matches!(kind, "service" | "slice" | "scope" | "socket" | "mount" | "swap") && load == "loaded" {
            put(self.resources(&real), &interface);
        }
        // What is common to all units comes last, as systemd has it.
        put(self.common(&u, &run, load), UNIT);
        out
    }

    fn timer(&mut self, u: &Unit) -> Vec<(&'static str, Value)> {
        let e = self.elapses(u);
        let [calendars, spans] = super::timer::settings(u, &e);
        let us = |key: &str, else_: u64| u.get("Timer", key).and_then(span).unwrap_or(else_) / 1_000;
        let result = self.init.runs.get(&u.name).map_or("success", |r| r.result);
        vec![
            ("Unit", Value::Str(triggered(u))),
            ("TimersMonotonic", spans),
            ("TimersCalendar", calendars),
            ("NextElapseUSecRealtime", Value::U64(e.realtime)),
            ("NextElapseUSecMonotonic", Value::U64(e.monotonic)),
            ("LastTriggerUSec", Value::U64(e.last)),
            ("LastTriggerUSecMonotonic", Value::U64(e.last_monotonic)),
            ("Result", Value::str(result)),
            ("AccuracyUSec", Value::U64(us("AccuracySec", 60 * SEC))),
            ("RandomizedDelayUSec", Value::U64(us("RandomizedDelaySec", 0))),
            (
                "Persistent",
                Value::Bool(u.flag("Timer", "Persistent") == Some(true)),
            ),
            ("WakeSystem", Value::Bool(false)),
            (
                "RemainAfterElapse",
                Value::Bool(u.flag("Timer", "RemainAfterElapse") != Some(false)),
            ),
        ]
    }

    fn common(&mut self, u: &Unit, r: &Run, load: &'static str) -> Vec<(&'static str, Value)> {
        let links = self.install_links();
        let state = self.file_state(&u.name, &links).unwrap_or_default();
        let preset = if u.path.is_empty() {
            ""
        } else {
            self.preset(&u.name)
        };
        let stale = !u.path.is_empty() && self.unit(&u.name).is_some_and(|now| now != *u);
        let conditions = self.conditions_hold(u);
        let mut wants = u.names("Unit", "Wants");
        wants.extend(self.wanted_by_links(&u.name));
        let job = self.init.jobs.iter().find(|j| j.unit == u.name);
        let job = Value::Struct(vec![
            Value::U32(job.map_or(0, |j| j.id)),
            Value::Path(job.map_or("/".into(), |j| super::manager::job_path(j.id))),
        ]);
        let error = match load {
            "not-found" => (
                "org.freedesktop.systemd1.NoSuchUnit",
                format!("Unit {} not found.", u.name),
            ),
            "masked" => (
                "org.freedesktop.systemd1.UnitMasked",
                format!("Unit {} is masked.", u.name),
            ),
            "bad-setting" => (
                "org.freedesktop.systemd1.BadUnitSetting",
                format!("Unit {} has a bad unit file setting.", u.name),
            ),
            _ => ("", String::new()),
        };
        let mut names = vec![u.name.clone()];
        names.extend(
            u.names("Install", "Alias")
                .into_iter()
                .filter(|_| state == "enabled"),
        );
        let (triggers, by) = self.triggers(u);
        let us = |ns: u64| Value::U64(ns / 1_000);
        vec![
            ("Id", Value::str(&u.name)),
            ("Names", Value::strs(&names)),
            ("Following", Value::str("")),
            ("Requires", Value::strs(&u.names("Unit", "Requires"))),
            ("Wants", Value::strs(&wants)),
            ("WantedBy", Value::strs(&u.names("Install", "WantedBy"))),
            ("Conflicts", Value::strs(&u.names("Unit", "Conflicts"))),
            ("Before", Value::strs(&u.names("Unit", "Before"))),
            ("After", Value::strs(&u.names("Unit", "After"))),
            ("Triggers", Value::strs(&triggers)),
            ("TriggeredBy", Value::strs(&by)),
            ("Documentation", Value::strs(&u.names("Unit", "Documentation"))),
            ("Description", Value::Str(describe(u))),
            ("LoadState", Value::str(load)),
            ("ActiveState", Value::str(r.active)),
            ("FreezerState", Value::str("running")),
            ("SubState", Value::str(r.sub)),
            (
                "FragmentPath",
                Value::str(if load == "masked" { "" } else { &u.path }),
            ),
            ("SourcePath", Value::str("")),
            ("DropInPaths", Value::strs(&u.dropins)),
            ("UnitFileState", Value::str(state)),
            ("UnitFilePreset", Value::str(preset)),
            ("StateChangeTimestamp", self.stamp(r.changed)),
            ("StateChangeTimestampMonotonic", us(r.changed)),
            ("InactiveExitTimestamp", self.stamp(r.inactive_exit)),
            ("InactiveExitTimestampMonotonic", us(r.inactive_exit)),
            ("ActiveEnterTimestamp", self.stamp(r.active_enter)),
            ("ActiveEnterTimestampMonotonic", us(r.active_enter)),
            ("ActiveExitTimestamp", self.stamp(r.active_exit)),
            ("ActiveExitTimestampMonotonic", us(r.active_exit)),
            ("InactiveEnterTimestamp", self.stamp(r.inactive_enter)),
            ("InactiveEnterTimestampMonotonic", us(r.inactive_enter)),
            ("CanStart", Value::Bool(load == "loaded")),
            ("CanStop", Value::Bool(true)),
            (
                "CanReload",
                Value::Bool(!u.all("Service", "ExecReload").is_empty()),
            ),
            (
                "CanIsolate",
                Value::Bool(u.flag("Unit", "AllowIsolate") == Some(true)),
            ),
            ("Job", job),
            (
                "StopWhenUnneeded",
                Value::Bool(u.flag("Unit", "StopWhenUnneeded") == Some(true)),
            ),
            (
                "RefuseManualStart",
                Value::Bool(u.flag("Unit", "RefuseManualStart") == Some(true)),
            ),
            (
                "RefuseManualStop",
                Value::Bool(u.flag("Unit", "RefuseManualStop") == Some(true)),
            ),
            (
                "DefaultDependencies",
                Value::Bool(u.flag("Unit", "DefaultDependencies") != Some(false)),
            ),
            ("NeedDaemonReload", Value::Bool(stale)),
            ("ConditionResult", Value::Bool(r.inactive_exit != 0 && conditions)),
            ("AssertResult", Value::Bool(r.inactive_exit != 0)),
            ("ConditionTimestamp", self.stamp(r.inactive_exit)),
            ("ConditionTimestampMonotonic", us(r.inactive_exit)),
            ("AssertTimestamp", self.stamp(r.inactive_exit)),
            ("AssertTimestampMonotonic", us(r.inactive_exit)),
            (
                "LoadError",
                Value::Struct(vec![Value::str(error.0), Value::Str(error.1)]),
            ),
            (
                "Transient",
                Value::Bool(u.path.starts_with(super::transient::DIR)),
            ),
            (
                "Perpetual",
                Value::Bool(matches!(
                    &*u.name,
                    "-.slice" | "system.slice" | "-.mount" | "init.scope"
                )),
            ),
        ]
    }

    /// What a unit triggers, and what triggers it.
    fn triggers(&mut self, u: &Unit) -> (Vec<String>, Vec<String>) {
        let kind = unit::kind(&u.name);
        if matches!(kind, Some("timer" | "path" | "socket")) {
            return (vec![triggered(u)], vec![]);
        }
        let by = self.init.runs.values().map(|r| r.unit.clone());
        let by = by
            .filter(|t| {
                matches!(unit::kind(&t.name), Some("timer" | "path" | "socket")) && triggered(t) == u.name
            })
            .map(|t| t.name.clone());
        (vec![], by.collect())
    }

    /// What the distribution's presets say of a unit (systemd.preset(5)): the first line that fits, or `enabled`.
    fn preset(&mut self, name: &str) -> &'static str {
        let dir = "/lib/systemd/system-preset";
        for file in self.list(dir.as_bytes(), 64) {
            let path = [dir.as_bytes(), b"/", &file].concat();
            let text = self.read_file(&path).unwrap_or_default();
            for line in String::from_utf8_lossy(&text).lines() {
                let mut words = line.split_whitespace();
                let (Some(what), Some(pattern)) = (words.next(), words.next()) else {
                    continue;
                };
                if super::manager::fits(pattern.as_bytes(), name.as_bytes()) {
                    match what {
                        "enable" => return "enabled",
                        "disable" => return "disabled",
                        _ => {}
                    }
                }
            }
        }
        "enabled"
    }

    fn service(&self, u: &Unit, r: &Run) -> Vec<(&'static str, Value)> {
        let last = r.ran.iter().rev().find(|x| x.key == "ExecStart");
        let control = r.ran.iter().rev().find(|x| x.exit == 0 && x.pid != r.main);
        let none = Ran::default();
        let main = last.unwrap_or(&none);
        let us = |ns: u64| Value::U64(ns / 1_000);
        let stop = |key| match u.get("Service", key).or(u.get("Service", "TimeoutSec")) {
            Some(t) => span(t).map_or(UNSET, |n| n / 1_000),
            None => TIMEOUT_USEC,
        };
        let mut out = vec![
            ("Type", Value::str(u.service_type())),
            ("Restart", Value::str(u.get("Service", "Restart").unwrap_or("no"))),
            (
                "PIDFile",
                Value::Str(
                    u.get("Service", "PIDFile")
                        .map_or(String::new(), |p| u.specified(p)),
                ),
            ),
            (
                "NotifyAccess",
                Value::str(if u.service_type() == "notify" {
                    "main"
                } else {
                    "none"
                }),
            ),
            (
                "RestartUSec",
                Value::U64(u.get("Service", "RestartSec").and_then(span).unwrap_or(SEC / 10) / 1_000),
            ),
            ("TimeoutStartUSec", Value::U64(stop("TimeoutStartSec"))),
            ("TimeoutStopUSec", Value::U64(stop("TimeoutStopSec"))),
            ("RuntimeMaxUSec", Value::U64(UNSET)),
            (
                "RemainAfterExit",
                Value::Bool(u.flag("Service", "RemainAfterExit") == Some(true)),
            ),
            ("GuessMainPID", Value::Bool(true)),
            ("MainPID", Value::U32(r.main)),
            ("ControlPID", Value::U32(control.map_or(0, |c| c.pid))),
            (
                "BusName",
                Value::str(u.get("Service", "BusName").unwrap_or_default()),
            ),
            ("StatusText", Value::str("")),
            ("StatusErrno", Value::I32(0)),
            ("Result", Value::str(r.result)),
            ("ReloadResult", Value::str("success")),
            ("CleanResult", Value::str("success")),
            ("NRestarts", Value::U32(r.restarts)),
            ("ExecMainStartTimestamp", self.stamp(main.start)),
            ("ExecMainStartTimestampMonotonic", us(main.start)),
            ("ExecMainExitTimestamp", self.stamp(main.exit)),
            ("ExecMainExitTimestampMonotonic", us(main.exit)),
            ("ExecMainPID", Value::U32(main.pid)),
            ("ExecMainCode", Value::I32(main.code)),
            ("ExecMainStatus", Value::I32(main.status)),
        ];
        for (key, ex) in EXECS {
            out.push((key, self.execs(u, r, key, false)));
            out.push((ex, self.execs(u, r, key, true)));
        }
        out.push((
            "KillMode",
            Value::str(u.get("Service", "KillMode").unwrap_or("control-group")),
        ));
        out.push(("User", Value::str(u.get("Service", "User").unwrap_or_default())));
        out.push(("Group", Value::str(u.get("Service", "Group").unwrap_or_default())));
        out
    }

    /// The commands of a key with what became of each.
    fn execs(&self, u: &Unit, r: &Run, key: &str, ex: bool) -> Value {
        let us = |ns: u64| Value::U64(ns / 1_000);
        let all = commands(u, key)
            .into_iter()
            .enumerate()
            .map(|(i, (path, argv, may_fail))| {
                let none = Ran::default();
                let ran = r
                    .ran
                    .iter()
                    .rev()
                    .find(|x| x.key == key && x.index == i)
                    .unwrap_or(&none);
                let flag = match (ex, may_fail) {
                    (true, true) => Value::strs(&["ignore-failure"]),
                    (true, false) => Value::strs::<&str>(&[]),
                    (false, b) => Value::Bool(b),
                };
                Value::Struct(vec![
                    Value::Str(path),
                    Value::strs(&argv),
                    flag,
                    self.stamp(ran.start),
                    us(ran.start),
                    self.stamp(ran.exit),
                    us(ran.exit),
                    Value::U32(ran.pid),
                    Value::I32(ran.code),
                    Value::I32(ran.status),
                ])
            });
        let of = if ex { "(sasasttttuii)" } else { "(sasbttttuii)" };
        Value::Array(of.into(), all.collect())
    }

    /// What the processes of a unit take. Counted as the files of its control group count it.
    fn resources(&mut self, name: &str) -> Vec<(&'static str, Value)> {
        let at = self.cgroup_path(name);
        let slice = match name {
            "-.slice" => "",
            n if n.ends_with(".slice") || n == "init.scope" => "-.slice",
            _ => at.rsplit('/').nth(1).unwrap_or("system.slice"),
        };
        let slice = slice.to_owned();
        let (mut memory, mut tasks, mut cpu) = (0u64, 0u64, 0u64);
        for pid in crate::proc::view::KernelView::pids(self) {
            let Some(t) = crate::proc::view::KernelView::task(self, pid) else {
                continue;
            };
            if t.kthread || !(t.cgroup == at || t.cgroup.starts_with(&format!("{at}/"))) {
                continue;
            }
            memory += t.mem.rss_anon + t.mem.rss_file / 4;
            tasks += u64::from(t.threads);
            cpu += t.utime + t.stime;
        }
        let threads = self
            .read_file(b"/proc/sys/kernel/threads-max")
            .unwrap_or_default();
        let threads: u64 = String::from_utf8_lossy(&threads).trim().parse().unwrap_or(15_000);
        let some = |n: u64| Value::U64(if tasks == 0 { UNSET } else { n });
        vec![
            ("Slice", Value::Str(slice)),
            (
                "ControlGroup",
                Value::Str(if tasks == 0 && name != "-.slice" {
                    String::new()
                } else {
                    at
                }),
            ),
            ("MemoryCurrent", some(memory)),
            ("MemoryAvailable", Value::U64(UNSET)),
            ("CPUUsageNSec", some(cpu)),
            ("TasksCurrent", some(tasks)),
            ("CPUAccounting", Value::Bool(true)),
            ("MemoryAccounting", Value::Bool(true)),
            ("TasksAccounting", Value::Bool(true)),
            // 15 % of what the kernel allows (DefaultTasksMax in systemd-system.conf(5)).
            (
                "TasksMax",
                Value::U64(if name == "init.scope" {
                    UNSET
                } else {
                    threads * 15 / 100
                }),
            ),
            ("MemoryMax", Value::U64(UNSET)),
            ("MemoryHigh", Value::U64(UNSET)),
            ("MemorySwapMax", Value::U64(UNSET)),
            ("MemoryLimit", Value::U64(UNSET)),
            ("MemoryMin", Value::U64(0)),
            ("MemoryLow", Value::U64(0)),
        ]
    }

    /// Where the control group of a unit is.
    pub(crate) fn cgroup_path(&self, name: &str) -> String {
        if let Some(stem) = name.strip_suffix(".slice") {
            let mut out = String::new();
            for (i, _) in stem.match_indices('-').chain([(stem.len(), "")]) {
                if i > 0 {
                    out += &format!("/{}.slice", &stem[..i]);
                }
            }
            return if stem == "-" { String::new() } else { out };
        }
        if name == "init.scope" {
            return "/init.scope".into();
        }
        match name.split_once('@') {
            Some((prefix, _)) => {
                let of = prefix.replace('-', "\\x2d");
                format!("/system.slice/system-{of}.slice/{name}")
            }
            None => format!("/system.slice/{name}"),
        }
    }
}

/// Properties that tell of commands, in both forms.
const EXECS: [(&str, &str); 7] = [
    ("ExecCondition", "ExecConditionEx"),
    ("ExecStartPre", "ExecStartPreEx"),
    ("ExecStart", "ExecStartEx"),
    ("ExecStartPost", "ExecStartPostEx"),
    ("ExecReload", "ExecReloadEx"),
    ("ExecStop", "ExecStopEx"),
    ("ExecStopPost", "ExecStopPostEx"),
];

fn socket(u: &Unit) -> Vec<(&'static str, Value)> {
    let mut listen = Vec::new();
    for (key, kind) in [
        ("ListenStream", "Stream"),
        ("ListenDatagram", "Datagram"),
        ("ListenSequentialPacket", "SequentialPacket"),
        ("ListenFIFO", "FIFO"),
        ("ListenNetlink", "Netlink"),
    ] {
        for v in u.all("Socket", key) {
            let at = match v.parse::<u16>() {
                Ok(port) => format!("[::]:{port}"),
                Err(_) => u.specified(v),
            };
            listen.push(Value::Struct(vec![Value::str(kind), Value::Str(at)]));
        }
    }
    vec![
        ("Listen", Value::Array("(ss)".into(), listen)),
        ("Accept", Value::Bool(u.flag("Socket", "Accept") == Some(true))),
        ("NAccepted", Value::U32(0)),
        ("NConnections", Value::U32(0)),
        ("NRefused", Value::U32(0)),
        ("Result", Value::str("success")),
    ]
}

fn mount(u: &Unit) -> Vec<(&'static str, Value)> {
    let at = u
        .get("Mount", "Where")
        .unwrap_or(if u.name == "-.mount" { "/" } else { "" });
    vec![
        ("Where", Value::str(at)),
        ("What", Value::str(u.get("Mount", "What").unwrap_or_default())),
        ("Type", Value::str(u.get("Mount", "Type").unwrap_or_default())),
        ("Result", Value::str("success")),
    ]
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn spans_are_read() {
        assert_eq!(span("100ms"), Some(100_000_000));
        assert_eq!(span("1min 30s"), Some(90_000_000_000));
        assert_eq!(span("5"), Some(5_000_000_000));
        assert_eq!(span("infinity"), None);
        assert_eq!(span("5 parsecs"), None);
    }
}
