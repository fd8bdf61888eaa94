//! Who is on the system bus, and what the bus itself answers (D-Bus specification, "Message Bus Messages").

use super::hosts::{HOSTNAMED, TIMEDATED};
use super::wire::{Kind, Message, Value};
use super::{Answer, Refusal};
use crate::world::World;

const BUS: &str = "org.freedesktop.DBus";
const LOGIND: &str = "org.freedesktop.login1";
const SYSTEMD1: &str = "org.freedesktop.systemd1";
/// Unique names of systemd and logind.
pub(super) const SYSTEMD: &str = ":1.1";
const LOGIND_NAME: &str = ":1.2";
/// Of daemons that are started for a question.
const HOSTS_NAME: &str = ":1.11";
/// Names that clients get begin behind those of the daemons.
const FIRST: u32 = 12;

/// Who answers a message on the system bus.
pub(super) fn sender(m: &Message) -> &'static str {
    match m.destination.as_deref() {
        Some(SYSTEMD1 | SYSTEMD) => SYSTEMD,
        Some(LOGIND | LOGIND_NAME) => LOGIND_NAME,
        Some(HOSTNAMED | TIMEDATED) => HOSTS_NAME,
        _ => BUS,
    }
}

pub(super) fn unknown_method(m: &Message) -> Refusal {
    Refusal(
        "org.freedesktop.DBus.Error.UnknownMethod",
        format!(
            "Unknown method {} or interface {}.",
            m.member.as_deref().unwrap_or_default(),
            m.interface.as_deref().unwrap_or_default()
        ),
    )
}

/// What polkit would be asked, which is not installed.
pub(super) fn denied() -> Refusal {
    Refusal(
        "org.freedesktop.DBus.Error.AccessDenied",
        "Permission denied".into(),
    )
}

pub(super) fn bad_args() -> Refusal {
    Refusal(
        "org.freedesktop.DBus.Error.InvalidArgs",
        "Invalid arguments".into(),
    )
}

impl World {
    /// Answers a call.
    pub(super) fn call(&mut self, at: usize, m: &Message) -> Answer {
        let Some(p) = self.init.peers.get(at) else {
            return Err(bad_args());
        };
        if !p.system {
            return self.manager_call(at, m);
        }
        let hello = p.name.is_some();
        match m.destination.as_deref() {
            Some(BUS) => self.bus_call(at, m),
            _ if !hello => Err(Refusal(
                "org.freedesktop.DBus.Error.AccessDenied",
                "Client tried to send a message other than Hello without being registered".into(),
            )),
            Some(SYSTEMD1 | SYSTEMD) => self.manager_call(at, m),
            Some(LOGIND | LOGIND_NAME) if self.daemon(b"systemd-logind").is_some() => self.logind_call(at, m),
            Some(of @ (HOSTNAMED | TIMEDATED)) => self.hosts_call(at, m, of),
            to => {
                let to = to.unwrap_or_default();
                self.bus_gap(at, to);
                Err(nobody(to))
            }
        }
    }

    /// Counts what was asked for and is not there.
    pub(super) fn bus_gap(&mut self, at: usize, what: &str) {
        let pid = self.init.peers.get(at).map_or(0, |p| p.pid);
        self.unserved(pid, &format!("bus {}", what.chars().take(96).collect::<String>()));
    }

    fn bus_call(&mut self, at: usize, m: &Message) -> Answer {
        let name = m
            .body
            .first()
            .and_then(Value::text)
            .unwrap_or_default()
            .to_owned();
        match m.member.as_deref().unwrap_or_default() {
            "Hello" => self.hello(at),
            "AddMatch" => {
                let signals = name.contains(SYSTEMD1) || !name.contains("sender");
                if let Some(p) = self.init.peers.get_mut(at) {
                    p.subscribed |= signals;
                }
                Ok(vec![])
            }
            "RemoveMatch" | "UpdateActivationEnvironment" => Ok(vec![]),
            "ListNames" => Ok(vec![Value::strs(&self.bus_names())]),
            "ListActivatableNames" => Ok(vec![Value::strs(&[BUS, SYSTEMD1, LOGIND])]),
            "NameHasOwner" => Ok(vec![Value::Bool(self.bus_names().contains(&name))]),
            "GetNameOwner" => self.owner(&name).map(|o| vec![Value::Str(o)]),
            "StartServiceByName" => self
                .owner(&name)
                .map(|_| vec![Value::U32(2)])
                .map_err(|_| nobody(&name)),
            "GetId" => Ok(vec![Value::Str(self.bus_guid())]),
            "GetConnectionUnixUser" => self.who_has(&name).map(|w| vec![Value::U32(w.1)]),
            "GetConnectionUnixProcessID" => self.who_has(&name).map(|w| vec![Value::U32(w.0)]),
            "Ping" => Ok(vec![]),
            what => {
                self.bus_gap(at, what);
                Err(unknown_method(m))
            }
        }
    }

    fn hello(&mut self, at: usize) -> Answer {
        let next = FIRST.max(self.init.next_name);
        self.init.next_name = next + 1;
        let Some(p) = self.init.peers.get_mut(at) else {
            return Err(bad_args());
        };
        if p.name.is_some() {
            return Err(Refusal(
                "org.freedesktop.DBus.Error.Failed",
                "Already handled an Hello message".into(),
            ));
        }
        let name = format!(":1.{next}");
        p.name = Some(name.clone());
        Ok(vec![Value::Str(name)])
    }

    /// The signal that follows the answer to `Hello`.
    pub(super) fn name_acquired(&mut self, at: usize) {
        let Some(name) = self.init.peers.get(at).and_then(|p| p.name.clone()) else {
            return;
        };
        self.say_to(
            at,
            Message {
                kind: Kind::Signal,
                silent: true,
                path: Some("/org/freedesktop/DBus".into()),
                interface: Some(BUS.into()),
                member: Some("NameAcquired".into()),
                destination: Some(name.clone()),
                sender: Some(BUS.into()),
                body: vec![Value::Str(name)],
                ..Message::default()
            },
        );
    }

    fn bus_names(&self) -> Vec<String> {
        let mut out = vec![BUS.to_owned(), SYSTEMD1.into(), SYSTEMD.into()];
        if self.daemon(b"systemd-logind").is_some() {
            out.extend([LOGIND.into(), LOGIND_NAME.into()]);
        }
        out.extend(self.init.peers.iter().filter_map(|p| p.name.clone()));
        out
    }

    fn owner(&self, name: &str) -> Result<String, Refusal> {
        let known = self.bus_names().iter().any(|n| n == name);
        match name {
            _ if !known => Err(Refusal(
                "org.freedesktop.DBus.Error.NameHasNoOwner",
                format!("Could not get owner of name '{name}': no such name"),
            )),
            SYSTEMD1 => Ok(SYSTEMD.into()),
            LOGIND => Ok(LOGIND_NAME.into()),
            n => Ok(n.into()),
        }
    }

    /// Process and user of a name.
    fn who_has(&self, name: &str) -> Result<(u32, u32), Refusal> {
        match &*self.owner(name)? {
            SYSTEMD => Ok((1, 0)),
            LOGIND_NAME => Ok((self.daemon_pid(b"systemd-logind"), 0)),
            BUS => {
                let pid = self.daemon_pid(b"dbus-daemon");
                Ok((pid, self.t(pid).map_or(0, |t| t.creds.euid)))
            }
            n => {
                let p = self.init.peers.iter().find(|p| p.name.as_deref() == Some(n));
                Ok(p.map_or((0, 0), |p| (p.pid, p.uid)))
            }
        }
    }
}

fn nobody(name: &str) -> Refusal {
    Refusal(
        "org.freedesktop.DBus.Error.ServiceUnknown",
        format!("The name {name} was not provided by any .service files"),
    )
}
