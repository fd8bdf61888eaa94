//! logind, as far as it is asked for sessions and for the end of the machine (org.freedesktop.login1(5)): at once, or at a time.

use super::jobs::Later;
use super::names::{bad_args, denied, unknown_method};
use super::timer::{MINUTE, USEC};
use super::wire::{Message, Value};
use super::{Answer, Refusal};
use crate::Down;
use crate::chores::directory;
use crate::tty::TtyId;
use crate::world::World;
use turncoat_cover::clock::DAYS;
use turncoat_cover::past::lines::LOGIND;
use turncoat_freeze::Freeze;

const PATH: &str = "/org/freedesktop/login1";
/// Where the end is announced to programs, and what keeps users out in the minutes before it.
const SCHEDULED: &[u8] = b"/run/systemd/shutdown/scheduled";
const NOLOGIN: &[u8] = b"/run/nologin";
const NOLOGIN_TEXT: &[u8] = b"System is going down. Unprivileged users are not permitted to log in anymore. For technical details, see pam_nologin(8).\n";

/// An end of the machine that somebody has set a time for.
#[derive(Clone, Debug, Freeze)]
pub(super) struct Scheduled {
    how: Down,
    /// It is announced, and nothing ends.
    dry: bool,
    /// Microseconds since the epoch.
    at: u64,
    /// Who asked, and his terminal, which is not told.
    user: String,
    tty: Option<TtyId>,
}

/// What is said to the terminals.
#[derive(Clone, Debug, Default, Freeze)]
pub(super) struct Wall {
    message: String,
    on: bool,
}

fn how(name: &str) -> Option<Down> {
    match name {
        "reboot" | "kexec" | "soft-reboot" => Some(Down::Reboot),
        "poweroff" => Some(Down::PowerOff),
        "halt" => Some(Down::Halt),
        _ => None,
    }
}

fn verb(how: Down) -> &'static str {
    match how {
        Down::Reboot => "reboot",
        Down::PowerOff => "power off",
        Down::Halt => "halt",
    }
}

/// How long until the terminals are told again (when_wall in logind-utmp.c); 0: not any more. Microseconds.
fn until_wall(now: u64, end: u64) -> u64 {
    const BEFORE: [u64; 11] = [0, 1, 10, 25, 40, 55, 70, 100, 130, 150, 180];
    let left = end.saturating_sub(now);
    if left == 0 {
        return 0;
    }
    let next = BEFORE.windows(2).find(|w| w[1] * MINUTE >= left);
    next.map_or(left % (60 * MINUTE), |w| left - w[0] * MINUTE)
}

impl World {
    pub(super) fn logind_call(&mut self, at: usize, m: &Message) -> Answer {
        let (root, pid) = (self.init.peers.get(at)).map_or((false, 0), |p| (p.uid == 0, p.pid));
        if m.interface.as_deref() == Some("org.freedesktop.DBus.Properties") {
            return self.session_property(m);
        }
        let member = m.member.as_deref().unwrap_or_default();
        let now = match member {
            "ListInhibitors" => return Ok(vec![Value::Array("(ssssuu)".into(), vec![])]),
            "ListSessions" => return Ok(vec![Value::Array("(susso)".into(), self.sessions())]),
            "Reboot" | "RebootWithFlags" => Some(Down::Reboot),
            "PowerOff" | "PowerOffWithFlags" => Some(Down::PowerOff),
            "Halt" | "HaltWithFlags" => Some(Down::Halt),
            "SetWallMessage" | "ScheduleShutdown" | "CancelScheduledShutdown" => None,
            what => {
                self.bus_gap(at, what);
                return Err(unknown_method(m));
            }
        };
        if !root {
            return Err(denied());
        }
        if let Some(how) = now {
            self.go_down(pid, how);
            return Ok(vec![]);
        }
        let text = m.body.first().and_then(Value::text).unwrap_or_default();
        match (member, m.body.get(1)) {
            ("SetWallMessage", Some(Value::Bool(on))) => {
                let message = text.chars().take(1_024).collect();
                self.init.wall = Wall { message, on: *on };
                Ok(vec![])
            }
            ("ScheduleShutdown", Some(Value::U64(end))) => self.schedule(pid, text, *end),
            ("CancelScheduledShutdown", _) => Ok(vec![Value::Bool(self.cancel_shutdown())]),
            _ => Err(bad_args()),
        }
    }

    fn schedule(&mut self, by: u32, what: &str, end: u64) -> Answer {
        let (dry, name) = match what.strip_prefix("dry-") {
            Some(name) => (true, name),
            None => (false, what),
        };
        let Some(how) = how(name) else {
            return Err(Refusal(
                "org.freedesktop.DBus.Error.InvalidArgs",
                "Unsupported shutdown type".into(),
            ));
        };
        self.forget_shutdown();
        let conn = self.p(by).ok().and_then(|p| p.conn);
        let user = conn.and_then(|c| self.conns.get(&c)).map(|s| s.user.clone());
        let s = Scheduled {
            how,
            dry,
            at: end,
            user: user.map_or("root".into(), |u| String::from_utf8_lossy(&u).into_owned()),
            tty: self.p(by).ok().and_then(|p| p.ctty),
        };
        let mut text = format!(
            "USEC={end}\nWARN_WALL={}\nMODE={name}\n",
            u8::from(self.init.wall.on)
        );
        if !self.init.wall.message.is_empty() {
            text += &format!("WALL_MESSAGE={}\n", self.init.wall.message.replace('\n', "\\n"));
        }
        self.put_file(SCHEDULED, text.as_bytes());
        self.init.scheduled = Some(s);
        let real = self.clock.real() / 1_000;
        if end.saturating_sub(real) < 15 * MINUTE && end > real {
            self.warn_all();
        }
        self.plan_wall();
        // Five minutes before the end nobody but root comes in.
        self.later_at(end.saturating_sub(5 * MINUTE), Later::NoLogin);
        self.later_at(end, Later::Shutdown);
        Ok(vec![])
    }

    /// Does something at a time on the wall clock, in microseconds.
    fn later_at(&mut self, at: u64, what: Later) {
        let mono = at.saturating_mul(1_000).saturating_sub(self.clock.offset());
        self.init_later(mono.max(self.clock.mono()), what);
    }

    /// Nothing is to end any more. True: something was.
    fn forget_shutdown(&mut self) -> bool {
        let ours = |l: &Later| matches!(l, Later::Shutdown | Later::Wall | Later::NoLogin);
        self.init.later.retain(|(_, l)| !ours(l));
        let was = self.init.scheduled.take().is_some();
        if was {
            let recording = self.vfs.record(false);
            let root = self.vfs.root_path();
            for path in [SCHEDULED, NOLOGIN] {
                let _ = self.fs(0, |v, c| v.unlink(c, &root, path));
            }
            self.vfs.record(recording);
        }
        was
    }

    fn cancel_shutdown(&mut self) -> bool {
        let Some(s) = self.init.scheduled.clone() else {
            return false;
        };
        self.forget_shutdown();
        let text = "System shutdown has been cancelled";
        self.logind_says(text);
        if self.init.wall.on {
            self.wall(&s, text);
        }
        true
    }

    fn logind_says(&mut self, text: &str) {
        let pid = self.daemon_pid(b"systemd-logind");
        let line = self.say_now(LOGIND, pid, false, text.into());
        self.log(&[line]);
    }

    /// Writes a small file of init's anew, in a directory that it makes.
    pub(super) fn put_file(&mut self, path: &[u8], text: &[u8]) {
        let recording = self.vfs.record(false);
        let root = self.vfs.root_path();
        let _ = self.fs(0, |v, c| {
            let _ = v.mkdir(c, &root, directory(path), 0o755);
            v.unlink(c, &root, path)
        });
        let _ = self.scribble(path, Some(0), text, Some(0o644));
        self.vfs.record(recording);
    }

    fn plan_wall(&mut self) {
        let Some(end) = self.init.scheduled.as_ref().map(|s| s.at) else {
            return;
        };
        let now = self.clock.real() / 1_000;
        let wait = until_wall(now, end);
        if wait > 0 {
            self.later_at(now + wait, Later::Wall);
        }
    }

    /// What was put off is due.
    pub(super) fn logind_due(&mut self, what: &Later) {
        let Some(s) = self.init.scheduled.clone() else {
            return;
        };
        match what {
            Later::Wall => {
                self.warn_all();
                self.plan_wall();
            }
            Later::NoLogin => self.put_file(NOLOGIN, NOLOGIN_TEXT),
            _ => {
                self.forget_shutdown();
                let pid = self.daemon_pid(b"systemd-logind");
                if s.dry {
                    self.logind_says("Running in dry run, suppressing action.");
                } else {
                    self.go_down(pid, s.how);
                }
            }
        }
    }

    /// Tells all terminals and the journal of the end.
    fn warn_all(&mut self) {
        let Some(s) = self.init.scheduled.clone().filter(|_| self.init.wall.on) else {
            return;
        };
        let message = self.init.wall.message.clone();
        let between = if message.is_empty() { "" } else { "\n" };
        let at = self.stamp_text(s.at);
        let text = format!("{message}{between}The system will {} at {at}!", verb(s.how));
        self.wall(&s, &text);
        self.logind_says(&text);
    }

    /// `Thu 2026-11-26 05:10:00 UTC`.
    fn stamp_text(&mut self, at: u64) -> String {
        let unix = (at / USEC) as i64;
        let zone = self.zone();
        let (c, name) = (
            zone.local(unix),
            self.zone_letters(zone.offset_at(unix) != zone.offset),
        );
        let day = DAYS.get(c.weekday as usize).copied().unwrap_or_default();
        format!("{day} {} {} {name}", c.date(), c.time())
    }

    /// `CET`, or `CEST` in summer: from the last line of the zone's file (tzfile(5)), which is as TZ in tzset(3).
    fn zone_letters(&mut self, summer: bool) -> String {
        let file = self.read_file(b"/etc/localtime").unwrap_or_default();
        let rule = file
            .trim_ascii_end()
            .rsplit(|b| *b == b'\n')
            .next()
            .unwrap_or_default();
        let rule = String::from_utf8_lossy(rule).into_owned();
        let mut rest = rule.split(',').next().unwrap_or_default();
        let mut names = Vec::new();
        while !rest.is_empty() && names.len() < 2 {
            let (name, tail) = match rest.strip_prefix('<').and_then(|r| r.split_once('>')) {
                Some(found) => found,
                None => rest.split_at(
                    rest.find(|c: char| !c.is_ascii_alphabetic())
                        .unwrap_or(rest.len()),
                ),
            };
            names.push(name.to_owned());
            rest = tail.trim_start_matches(|c: char| c.is_ascii_digit() || "+-:".contains(c));
            if name.is_empty() {
                break;
            }
        }
        let at = usize::from(summer && names.len() > 1);
        names
            .into_iter()
            .nth(at)
            .filter(|n| !n.is_empty())
            .unwrap_or("UTC".into())
    }

    /// Says something on the terminals of all sessions but one (utmp_wall in utmp-wtmp.c).
    fn wall(&mut self, s: &Scheduled, text: &str) {
        let host = String::from_utf8_lossy(&self.hostname).into_owned();
        let on = s.tty.map_or(String::new(), |t| {
            format!(" on {}", t.name().trim_start_matches("/dev/"))
        });
        let now = self.stamp_text(self.clock.real() / 1_000);
        let said = format!(
            "\r\nBroadcast message from {}@{host}{on} ({now}):\r\n\r\n{text}\r\n\r\n",
            s.user
        );
        let all: Vec<TtyId> = (self.conns.values())
            .filter_map(|c| self.p(c.leader).ok()?.ctty)
            .filter(|t| Some(*t) != s.tty)
            .collect();
        for tty in all {
            self.ttys.say(tty, said.as_bytes());
        }
        self.tty_effects();
    }

    /// A property of logind itself.
    fn logind_property(&mut self, m: &Message) -> Answer {
        let name = m.body.get(1).and_then(Value::text).unwrap_or_default();
        let value = match name {
            "ScheduledShutdown" => {
                let s = self.init.scheduled.as_ref();
                let name = s.map_or("", |s| s.how.name());
                Value::Struct(vec![Value::str(name), Value::U64(s.map_or(0, |s| s.at))])
            }
            "PreparingForShutdown" => Value::Bool(self.going_down()),
            "EnableWallMessages" => Value::Bool(self.init.wall.on),
            "WallMessage" => Value::str(&self.init.wall.message),
            "Docked" | "PreparingForSleep" | "LidClosed" => Value::Bool(false),
            _ => {
                return Err(Refusal(
                    "org.freedesktop.DBus.Error.UnknownProperty",
                    format!("Unknown interface org.freedesktop.login1.Manager or property {name}."),
                ));
            }
        };
        Ok(vec![Value::Variant(Box::new(value))])
    }

    /// A property of a session: its terminal, leader or user.
    fn session_property(&mut self, m: &Message) -> Answer {
        let path = m.path.as_deref().unwrap_or_default();
        if path == PATH {
            return self.logind_property(m);
        }
        let id = path
            .strip_prefix("/org/freedesktop/login1/session/_3")
            .and_then(|i| i.parse().ok());
        let name = m.body.get(1).and_then(Value::text).unwrap_or_default();
        let found = id.and_then(|id| self.conns.get(&crate::Conn(id)));
        let Some((leader, user)) = found.map(|c| (c.leader, String::from_utf8_lossy(&c.user).into_owned()))
        else {
            return Err(Refusal(
                "org.freedesktop.DBus.Error.UnknownObject",
                format!("Unknown object '{path}'."),
            ));
        };
        let tty = self
            .p(leader)
            .ok()
            .and_then(|p| p.ctty)
            .map_or(String::new(), |t| t.name());
        let value = match name {
            "TTY" => Value::Str(tty.trim_start_matches("/dev/").to_owned()),
            "Leader" => Value::U32(leader),
            "Name" => Value::Str(user),
            "Remote" => Value::Bool(true),
            "State" => Value::str("active"),
            "Type" => Value::str("tty"),
            "Class" => Value::str("user"),
            "Service" => Value::str("sshd"),
            _ => {
                return Err(Refusal(
                    "org.freedesktop.DBus.Error.UnknownProperty",
                    format!("Unknown interface org.freedesktop.login1.Session or property {name}."),
                ));
            }
        };
        Ok(vec![Value::Variant(Box::new(value))])
    }

    /// Sessions as logind lists them: number, user, name, seat, object.
    fn sessions(&mut self) -> Vec<Value> {
        let all: Vec<(u32, Vec<u8>)> = self.conns.iter().map(|(c, s)| (c.0, s.user.clone())).collect();
        let mut out = Vec::new();
        for (id, user) in all {
            let Some(a) = self.account(&user) else { continue };
            out.push(Value::Struct(vec![
                Value::Str(id.to_string()),
                Value::U32(a.uid),
                Value::Str(String::from_utf8_lossy(&user).into_owned()),
                Value::str(""),
                Value::Path(format!("/org/freedesktop/login1/session/_3{id}")),
            ]));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_told_more_often_towards_the_end() {
        let end = 1_000 * MINUTE;
        let at = |left: u64| until_wall(end - left * MINUTE, end) / MINUTE;
        assert_eq!((at(1), at(5), at(10), at(12), at(200)), (1, 4, 9, 2, 20));
        assert_eq!(until_wall(end, end), 0);
    }
}
