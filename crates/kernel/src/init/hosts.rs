//! What systemd's small daemons tell when they are asked: hostnamed and timedated (org.freedesktop.hostname1(5),
//! org.freedesktop.timedate1(5)). They would be started for the question.

use super::names::{denied, unknown_method};
use super::wire::{Message, Value};
use super::{Answer, Refusal};
use crate::world::World;

pub(super) const HOSTNAMED: &str = "org.freedesktop.hostname1";
pub(super) const TIMEDATED: &str = "org.freedesktop.timedate1";

impl World {
    /// Answers a call to one of them.
    pub(super) fn hosts_call(&mut self, at: usize, m: &Message, of: &str) -> Answer {
        let member = m.member.as_deref().unwrap_or_default();
        if m.interface.as_deref() != Some("org.freedesktop.DBus.Properties") {
            self.bus_gap(at, member);
            return Err(if member.starts_with("Set") {
                denied()
            } else {
                unknown_method(m)
            });
        }
        let all = match of {
            HOSTNAMED => self.hostname_properties(),
            _ => self.time_properties(),
        };
        let name = m.body.get(1).and_then(Value::text).unwrap_or_default();
        match member {
            "GetAll" => {
                let one = |(n, v): (&str, Value)| {
                    Value::Entry(Box::new((Value::str(n), Value::Variant(Box::new(v)))))
                };
                Ok(vec![Value::Array(
                    "{sv}".into(),
                    all.into_iter().map(one).collect(),
                )])
            }
            "Get" => match all.into_iter().find(|p| p.0 == name) {
                Some(p) => Ok(vec![Value::Variant(Box::new(p.1))]),
                None => Err(Refusal(
                    "org.freedesktop.DBus.Error.UnknownProperty",
                    format!("Unknown interface {of} or property {name}."),
                )),
            },
            _ => Err(unknown_method(m)),
        }
    }

    fn line_of(&mut self, path: &str) -> String {
        let text = self.read_any(path.as_bytes());
        String::from_utf8_lossy(&text).trim().to_owned()
    }

    fn hostname_properties(&mut self) -> Vec<(&'static str, Value)> {
        let release = self.read_any(b"/etc/os-release");
        let release = String::from_utf8_lossy(&release).into_owned();
        let os = |key: &str| {
            let line = release
                .lines()
                .find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
            Value::Str(line.unwrap_or_default().trim_matches('"').to_owned())
        };
        let vm = !self.facts_of.cpu.hypervisor.is_empty();
        let chassis = if vm { "vm" } else { "server" };
        vec![
            (
                "Hostname",
                Value::Str(String::from_utf8_lossy(&self.hostname).into_owned()),
            ),
            ("StaticHostname", Value::Str(self.line_of("/etc/hostname"))),
            ("PrettyHostname", Value::str("")),
            ("DefaultHostname", Value::str("localhost")),
            ("HostnameSource", Value::str("static")),
            ("IconName", Value::Str(format!("computer-{chassis}"))),
            ("Chassis", Value::str(chassis)),
            ("Deployment", Value::str("")),
            ("Location", Value::str("")),
            ("KernelName", Value::str("Linux")),
            ("KernelRelease", Value::Str(self.facts_of.release.clone())),
            ("KernelVersion", Value::Str(self.facts_of.version.clone())),
            ("OperatingSystemPrettyName", os("PRETTY_NAME")),
            ("OperatingSystemCPEName", os("CPE_NAME")),
            ("HomeURL", os("HOME_URL")),
            (
                "HardwareVendor",
                Value::Str(self.line_of("/sys/class/dmi/id/sys_vendor")),
            ),
            (
                "HardwareModel",
                Value::Str(self.line_of("/sys/class/dmi/id/product_name")),
            ),
        ]
    }

    fn time_properties(&mut self) -> Vec<(&'static str, Value)> {
        let now = self.clock.real() / 1_000;
        let synced = self.daemon(b"systemd-timesyn").is_some();
        let installed = self.look(b"/lib/systemd/systemd-timesyncd").is_some();
        let enabled = self
            .look(b"/etc/systemd/system/sysinit.target.wants/systemd-timesyncd.service")
            .is_some();
        vec![
            ("Timezone", Value::Str(self.line_of("/etc/timezone"))),
            ("LocalRTC", Value::Bool(false)),
            ("CanNTP", Value::Bool(installed)),
            ("NTP", Value::Bool(installed && enabled)),
            ("NTPSynchronized", Value::Bool(synced)),
            ("TimeUSec", Value::U64(now)),
            ("RTCTimeUSec", Value::U64(now / 1_000_000 * 1_000_000)),
        ]
    }
}
