//! Programs of units: how their command lines are run, and how daemons that stand in are set up anew. `output` has what they say.

use super::jobs::Command;
use super::unit::{self, Unit};
use crate::start::Start;
use crate::world::{StandInSpec, World};
use std::sync::Arc;
use turncoat_cover::past::lines::SSHD;

/// What units get in their environment beside what they say.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";

/// Puts values for `$NAME` (words of their own) and `${NAME}`; `$$` is a dollar.
fn expanded(argv: &[String], env: &[String]) -> Vec<String> {
    let value = |name: &str| {
        let found = env
            .iter()
            .rev()
            .filter_map(|e| e.split_once('='))
            .find(|e| e.0 == name);
        found.map_or("", |e| e.1)
    };
    let mut out = Vec::new();
    for a in argv {
        let name = a.strip_prefix('$').unwrap_or_default();
        if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            out.extend(unit::words(value(name)));
            continue;
        }
        let (mut text, mut rest) = (String::new(), a.as_str());
        while let Some((before, after)) = rest.split_once('$') {
            text.push_str(before);
            rest = after;
            if let Some(tail) = after.strip_prefix('$') {
                text.push('$');
                rest = tail;
            } else if let Some((name, tail)) = after.strip_prefix('{').and_then(|a| a.split_once('}')) {
                text.push_str(value(name));
                rest = tail;
            } else {
                text.push('$');
            }
        }
        out.push(text + rest);
    }
    out
}

impl World {
    /// A stand-in takes the place of the one that is gone.
    pub(super) fn stand_up(&mut self, name: &str, s: StandInSpec) -> Option<u32> {
        let spec = StandInSpec {
            pid: None,
            start_ns: self.clock.mono(),
            utime_ns: s.utime_ns.min(9_000_000),
            stime_ns: s.stime_ns.min(7_000_000),
            ..s
        };
        let pid = self.spawn_standin(spec).ok()?;
        if let Ok(p) = self.pm(pid) {
            p.unit = Some(Arc::from(name));
        }
        self.find_exe(pid);
        match name {
            "systemd-journald.service" => {
                let _ = self.daemon_log();
                self.passes_on("systemd-journal");
            }
            "systemd-udevd.service" => self.passes_on("systemd-udevd"),
            "dbus.service" => self.hold_bus(),
            "ssh.service" => self.sshd_is_up(pid),
            "cron.service" => self.pid_file(b"/run/crond.pid", pid),
            _ => {}
        }
        Some(pid)
    }

    fn pid_file(&mut self, path: &[u8], pid: u32) {
        let recording = self.vfs.record(false);
        let root = self.vfs.root_path();
        let _ = self.fs(0, |v, c| v.unlink(c, &root, path));
        let _ = self.scribble(path, Some(0), format!("{pid}\n").as_bytes(), Some(0o644));
        self.vfs.record(recording);
    }

    /// What sshd says when it listens; who holds its sockets is told by [`World::sshd_is_back`].
    fn sshd_is_up(&mut self, pid: u32) {
        self.init.sshd_back = true;
        self.pid_file(b"/run/sshd.pid", pid);
        let mut lines = Vec::new();
        for port in self.facts_of.ssh_ports.clone() {
            for any in ["0.0.0.0", "::"] {
                lines.push(self.say_now(
                    SSHD,
                    pid,
                    false,
                    format!("Server listening on {any} port {port}."),
                ));
            }
        }
        self.log(&lines);
    }

    pub(super) fn run_program(&mut self, u: &Unit, c: &Command) -> Option<u32> {
        let user = u.get("Service", "User").unwrap_or("root").to_owned();
        let account = self.account(user.as_bytes())?;
        let mut env = vec![PATH.to_owned(), "LANG=C.UTF-8".to_owned()];
        if u.get("Service", "User").is_some() {
            let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
            env.push(format!("HOME={}", text(&account.home)));
            env.push(format!("LOGNAME={user}"));
            env.push(format!("USER={user}"));
            env.push(format!("SHELL={}", text(&account.shell)));
        }
        for e in u.all("Service", "Environment") {
            env.extend(unit::words(&u.specified(e)));
        }
        for f in u.all("Service", "EnvironmentFile") {
            let text = self
                .read_file(f.trim_start_matches('-').as_bytes())
                .unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let lines = text
                .lines()
                .map(str::trim)
                .filter(|l| !l.starts_with(['#', ';']) && l.contains('='));
            env.extend(lines.map(|l| l.replace(['"', '\''], "")));
        }
        let main = self.init.runs.get(&u.name).map_or(0, |r| r.main);
        if main != 0 {
            env.push(format!("MAINPID={main}"));
        }
        let bytes = |all: Vec<String>| all.into_iter().map(String::into_bytes).collect();
        let cwd = u
            .get("Service", "WorkingDirectory")
            .map(|d| d.trim_start_matches('-'));
        let path = self.program(&c.path)?;
        let start = Start {
            account,
            parent: 1,
            path: path.into_bytes(),
            argv: bytes(expanded(&c.argv, &env)),
            cwd: cwd.unwrap_or("/").as_bytes().to_vec(),
            env: bytes(env),
            unit: Some(u.name.clone()),
        };
        let says = self.unit_output(u, &c.path);
        self.start_saying(&start, says).ok()
    }

    /// A program by its path, or by its name in the usual directories.
    fn program(&mut self, path: &str) -> Option<String> {
        if path.starts_with('/') {
            return Some(path.to_owned());
        }
        let dirs = PATH.trim_start_matches("PATH=").split(':');
        let mut all = dirs.map(|d| format!("{d}/{path}"));
        all.find(|p| self.look(p.as_bytes()).is_some())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn variables_are_put_in() {
        let env = ["A=1 2".to_owned(), "B=x".to_owned()];
        let words =
            |all: &[&str]| super::expanded(&all.iter().map(|w| w.to_string()).collect::<Vec<_>>(), &env);
        assert_eq!(
            words(&["$A", "${A}", "a${B}c$$d$", "$B$"]),
            ["1", "2", "1 2", "axc$d$", "$B$"]
        );
        assert_eq!(words(&["${B", "$$B"]), ["${B", "$B"]);
    }
}
