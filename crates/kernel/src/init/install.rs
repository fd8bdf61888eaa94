//! What is enabled: links in `/etc/systemd/system`, as `[Install]` says (systemd.unit(5)).

use super::names::bad_args;
use super::unit::{self, DIRS, FILES, Unit};
use super::wire::{Message, Value};
use super::{Answer, Refusal};
use crate::world::World;
use std::collections::BTreeSet;

const ETC: &str = "/etc/systemd/system";

/// What was changed: kind, link, target.
type Change = (&'static str, String, String);

fn changes(all: Vec<Change>) -> Value {
    let one = |(kind, link, target): Change| {
        Value::Struct(vec![Value::str(kind), Value::Str(link), Value::Str(target)])
    };
    Value::Array("(sss)".into(), all.into_iter().map(one).collect())
}

fn missing(name: &str) -> Refusal {
    Refusal(
        "org.freedesktop.DBus.Error.FileNotFound",
        format!("Unit file {name} does not exist."),
    )
}

impl World {
    /// Names of all links that enable something: those in `*.wants` and `*.requires` below `/etc`.
    pub(super) fn install_links(&mut self) -> BTreeSet<String> {
        let mut out = BTreeSet::new();
        for dir in self.list(ETC.as_bytes(), FILES) {
            if !dir.ends_with(b".wants") && !dir.ends_with(b".requires") {
                continue;
            }
            let path = [ETC.as_bytes(), b"/", &dir].concat();
            out.extend(
                self.list(&path, FILES)
                    .into_iter()
                    .filter_map(|n| String::from_utf8(n).ok()),
            );
        }
        out
    }

    /// As `systemctl is-enabled` says it; `None` if there is no such file.
    pub(super) fn file_state(&mut self, name: &str, links: &BTreeSet<String>) -> Option<&'static str> {
        let u = self.unit(name)?;
        if u.masked {
            return Some("masked");
        }
        if u.name != name && unit::template(name).is_none() {
            return Some("alias");
        }
        let (stem, end) = name.split_once("@.").unwrap_or((name, ""));
        let instance = |l: &String| !end.is_empty() && l.starts_with(&format!("{stem}@")) && l.ends_with(end);
        if links.contains(name) || links.iter().any(instance) {
            return Some("enabled");
        }
        let aliases = u.names("Install", "Alias");
        if aliases.iter().any(|a| {
            let at = format!("{ETC}/{a}");
            self.look(at.as_bytes())
                .is_some_and(|l| l.path.ends_with(name.as_bytes()))
        }) {
            return Some("enabled");
        }
        if u.path.starts_with(super::transient::DIR) {
            return Some("transient");
        }
        let wanted = !u.all("Install", "WantedBy").is_empty() || !u.all("Install", "RequiredBy").is_empty();
        Some(
            match (wanted || !aliases.is_empty(), u.all("Install", "Also").is_empty()) {
                (true, _) => "disabled",
                (false, false) => "indirect",
                (false, true) => "static",
            },
        )
    }

    /// Methods that enable, disable and mask; `None` if this is none of them.
    pub(super) fn install_call(&mut self, member: &str, m: &Message) -> Option<Answer> {
        let names = m.body.first().map(Value::texts).unwrap_or_default();
        let force = match m.body.get(1..) {
            Some([_, Value::Bool(force), ..]) => *force,
            Some([Value::U64(flags), ..]) => flags & 2 != 0,
            _ => false,
        };
        Some(match member {
            "EnableUnitFiles" | "EnableUnitFilesWithFlags" => self.enable(&names, force),
            "ReenableUnitFiles" => {
                let off = self.disable(&names);
                self.enable(&names, force)
                    .map(|v| vec![v[0].clone(), joined(off, &v)])
            }
            "DisableUnitFiles" | "DisableUnitFilesWithFlags" => Ok(vec![changes(self.disable(&names))]),
            "DisableUnitFilesWithFlagsAndInstallInfo" => {
                let carries = names.iter().any(|n| self.unit(n).is_some_and(|u| u.installs()));
                match names.iter().find(|n| self.unit(n).is_none()) {
                    Some(n) => Err(missing(n)),
                    None => Ok(vec![Value::Bool(carries), changes(self.disable(&names))]),
                }
            }
            "MaskUnitFiles" => self.mask(&names),
            "UnmaskUnitFiles" => Ok(vec![changes(self.unmask(&names))]),
            _ => return None,
        })
    }

    fn enable(&mut self, names: &[String], force: bool) -> Answer {
        let (mut done, mut carries) = (Vec::new(), false);
        let mut todo: Vec<String> = names.iter().take(64).cloned().collect();
        let mut seen = BTreeSet::new();
        while let Some(given) = todo.pop() {
            let name = given.rsplit('/').next().unwrap_or_default().to_owned();
            if !unit::valid(&name) {
                return Err(bad_args());
            }
            if !seen.insert(name.clone()) {
                continue;
            }
            // A path outside of the usual directories is linked first.
            if given.starts_with('/') && !DIRS.iter().any(|d| given == format!("{d}/{name}")) {
                if self.look(given.as_bytes()).is_none() {
                    return Err(missing(&given));
                }
                self.link(&format!("{ETC}/{name}"), &given, force, &mut done)?;
            }
            let Some(u) = self.unit(&name) else {
                return Err(missing(&name));
            };
            if u.masked {
                return Err(Refusal(
                    "org.freedesktop.systemd1.UnitMasked",
                    format!("Unit file {}/{name} is masked.", ETC),
                ));
            }
            carries |= u.installs();
            todo.extend(u.names("Install", "Also"));
            for (link, target) in links_of(&u) {
                self.link(&link, &target, force, &mut done)?;
            }
        }
        Ok(vec![Value::Bool(carries), changes(done)])
    }

    /// Makes a link, unless it is there.
    fn link(&mut self, link: &str, target: &str, force: bool, done: &mut Vec<Change>) -> Result<(), Refusal> {
        let real = self.look(target.as_bytes()).map(|l| l.path);
        if let Some(there) = self.look(link.as_bytes()) {
            if Some(&there.path) == real.as_ref() {
                return Ok(());
            }
            if !force {
                return Err(Refusal(
                    "org.freedesktop.systemd1.UnitExists",
                    format!("File {link} already exists."),
                ));
            }
            self.unlink(link, done);
        }
        let root = self.vfs.root_path();
        let dir = link.rsplit_once('/').map_or("/", |l| l.0);
        let made = self.fs(0, |v, c| {
            let _ = v.mkdir(c, &root, dir.as_bytes(), 0o755);
            v.symlink(c, target.as_bytes(), &root, link.as_bytes())
        });
        match made {
            Ok(Ok(_)) => done.push(("symlink", link.to_owned(), target.to_owned())),
            _ => {
                return Err(Refusal(
                    "org.freedesktop.DBus.Error.AccessDenied",
                    format!("Failed to create symlink {link}."),
                ));
            }
        }
        Ok(())
    }

    fn unlink(&mut self, path: &str, done: &mut Vec<Change>) {
        let root = self.vfs.root_path();
        if let Ok(Ok(())) = self.fs(0, |v, c| v.unlink(c, &root, path.as_bytes())) {
            done.push(("unlink", path.to_owned(), String::new()));
        }
    }

    fn disable(&mut self, names: &[String]) -> Vec<Change> {
        let mut done = Vec::new();
        for name in names.iter().take(64) {
            let name = name.rsplit('/').next().unwrap_or_default().to_owned();
            let aliases = self
                .unit(&name)
                .map(|u| u.names("Install", "Alias"))
                .unwrap_or_default();
            for dir in self.list(ETC.as_bytes(), FILES) {
                let dir = String::from_utf8_lossy(&dir).into_owned();
                if dir.ends_with(".wants") || dir.ends_with(".requires") {
                    let at = format!("{ETC}/{dir}");
                    if self
                        .list(at.as_bytes(), FILES)
                        .contains(&name.clone().into_bytes())
                    {
                        self.unlink(&format!("{at}/{name}"), &mut done);
                    }
                    let root = self.vfs.root_path();
                    if self.list(at.as_bytes(), 1).is_empty() {
                        let _ = self.fs(0, |v, c| v.rmdir(c, &root, at.as_bytes()));
                    }
                }
            }
            let etc = self.list(ETC.as_bytes(), FILES);
            for a in aliases {
                if etc.contains(&a.clone().into_bytes()) {
                    self.unlink(&format!("{ETC}/{a}"), &mut done);
                }
            }
        }
        done
    }

    fn mask(&mut self, names: &[String]) -> Answer {
        let mut done = Vec::new();
        for name in names.iter().take(64) {
            if !unit::valid(name) {
                return Err(bad_args());
            }
            self.link(&format!("{ETC}/{name}"), "/dev/null", false, &mut done)?;
        }
        Ok(vec![changes(done)])
    }

    fn unmask(&mut self, names: &[String]) -> Vec<Change> {
        let mut done = Vec::new();
        for name in names.iter().take(64).filter(|n| unit::valid(n)) {
            let path = format!("{ETC}/{name}");
            if self.look(path.as_bytes()).is_some_and(|l| l.path == b"/dev/null") {
                self.unlink(&path, &mut done);
            }
        }
        done
    }
}

/// The links that enabling makes, with their targets.
fn links_of(u: &Unit) -> Vec<(String, String)> {
    let own = match (unit::template(&u.name), u.get("Install", "DefaultInstance")) {
        (None, Some(d)) => u.name.replacen("@.", &format!("@{d}."), 1),
        _ => u.name.clone(),
    };
    let mut out = Vec::new();
    for a in u.names("Install", "Alias") {
        out.push((format!("{ETC}/{a}"), u.path.clone()));
    }
    for (key, end) in [("WantedBy", "wants"), ("RequiredBy", "requires")] {
        for by in u.names("Install", key).into_iter().filter(|b| unit::valid(b)) {
            out.push((format!("{ETC}/{by}.{end}/{own}"), u.path.clone()));
        }
    }
    out
}

fn joined(off: Vec<Change>, on: &[Value]) -> Value {
    match (changes(off), on.get(1)) {
        (Value::Array(of, mut a), Some(Value::Array(_, b))) => {
            a.extend(b.iter().cloned());
            Value::Array(of, a)
        }
        (v, _) => v,
    }
}
