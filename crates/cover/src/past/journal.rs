//! The journal that journald kept: its file at a moment, and how a line becomes an entry.

use super::Past;
use super::boot::started;
use super::lines::{self, Line, Says};
use crate::cover::{Cover, Image};
use crate::files::{Content, File, Kind};
use crate::journal::{self, Entry, Ids};
use turncoat_freeze::Freeze;

/// What every entry says of the machine.
#[derive(Clone, Debug, Freeze)]
pub struct Machine {
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// Host name.
    pub host: String,
}

/// The boot that an entry belongs to.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Boot id without dashes.
    pub id: String,
    /// Microseconds since the epoch.
    pub at: u64,
}

impl Machine {
    /// The machine of a cover.
    pub fn of(cover: &Cover) -> Machine {
        Machine {
            machine_id: cover.host.machine_id.clone(),
            host: cover.host.name.clone(),
        }
    }

    /// Where journald keeps its file.
    pub fn path(&self) -> String {
        format!("/var/log/journal/{}/system.journal", self.machine_id)
    }

    /// The entry that journald makes of a line.
    pub fn entry(&self, boot: &Boot, l: &Line) -> Entry {
        let monotonic = l.at.saturating_sub(boot.at);
        let mut fields = Vec::new();
        let mut put = |name: &str, value: &str| fields.push(format!("{name}={value}").into_bytes());
        put("_BOOT_ID", &boot.id);
        put("_MACHINE_ID", &self.machine_id);
        put("_HOSTNAME", &self.host);
        put("_RUNTIME_SCOPE", "system");
        put("PRIORITY", &l.priority.to_string());
        // journald cuts what is blank at the end of a message of syslog(3).
        put("MESSAGE", l.text.trim_end());
        match l.says {
            Says::Kernel => {
                put("_TRANSPORT", "kernel");
                put("SYSLOG_FACILITY", "0");
                put("SYSLOG_IDENTIFIER", "kernel");
                put("_SOURCE_MONOTONIC_TIMESTAMP", &monotonic.to_string());
            }
            Says::Systemd => {
                put("_TRANSPORT", "journal");
                put("SYSLOG_FACILITY", "3");
                put("SYSLOG_IDENTIFIER", "systemd");
                put("TID", "1");
                if let Some(unit) = l
                    .text
                    .split([' ', ':'])
                    .map(|w| w.trim_end_matches(['.', ':']))
                    .find(|w| unit_kind(w).is_some())
                {
                    put("UNIT", unit);
                }
                for (name, value) in [
                    ("_PID", "1"),
                    ("_UID", "0"),
                    ("_GID", "0"),
                    ("_COMM", "systemd"),
                    ("_EXE", "/usr/lib/systemd/systemd"),
                    ("_CMDLINE", "/sbin/init"),
                    ("_CAP_EFFECTIVE", "1ffffffffff"),
                    ("_SYSTEMD_CGROUP", "/init.scope"),
                    ("_SYSTEMD_UNIT", "init.scope"),
                    ("_SYSTEMD_SLICE", "-.slice"),
                ] {
                    put(name, value);
                }
                put("_SOURCE_REALTIME_TIMESTAMP", &l.at.to_string());
            }
            Says::Program(p) => {
                put("_TRANSPORT", "syslog");
                put("SYSLOG_FACILITY", &l.facility().to_string());
                put("SYSLOG_IDENTIFIER", p.name);
                put("SYSLOG_PID", &l.pid.to_string());
                put("_PID", &l.pid.to_string());
                put("_UID", "0");
                put("_GID", "0");
                put("_COMM", p.comm);
                put("_EXE", p.exe);
                put("_CAP_EFFECTIVE", "1ffffffffff");
                put("_SYSTEMD_CGROUP", &format!("/system.slice/{}", p.unit));
                put("_SYSTEMD_UNIT", p.unit);
                put("_SYSTEMD_SLICE", "system.slice");
                put("_SOURCE_REALTIME_TIMESTAMP", &l.at.to_string());
            }
        }
        Entry {
            realtime: l.at,
            monotonic,
            boot: id(&boot.id),
            fields,
        }
    }
}

/// What a unit's name may end in (systemd.unit(5)).
const KINDS: [&str; 11] = [
    "service",
    "socket",
    "target",
    "timer",
    "mount",
    "automount",
    "path",
    "slice",
    "scope",
    "swap",
    "device",
];

/// `service` of `ssh.service`; None for what is no name of a unit.
pub fn unit_kind(name: &str) -> Option<&'static str> {
    let (stem, end) = name.rsplit_once('.')?;
    KINDS.into_iter().find(|k| *k == end && !stem.is_empty())
}

/// Who sent a message to the journal's socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// Process.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// `comm`.
    pub comm: Vec<u8>,
}

/// What a program of a unit said on its standard output, apart from the text.
#[derive(Clone, Debug)]
pub struct Spoken {
    /// `x.service`.
    pub unit: String,
    /// SyslogIdentifier=, or the program's name.
    pub name: String,
    /// Priority, 0 to 7.
    pub priority: u8,
    /// Its control group.
    pub cgroup: String,
    /// The program.
    pub exe: Vec<u8>,
    /// Its arguments.
    pub cmdline: Vec<u8>,
}

/// A message of syslog(3) taken apart as journald 252 does (`journald-syslog.c`).
#[derive(Debug, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// Facility times eight, and priority.
    pub priority: u32,
    /// When, as the program wrote it.
    pub stamp: Option<&'a [u8]>,
    /// Who says it.
    pub name: Option<&'a [u8]>,
    /// Its process, as it says.
    pub pid: Option<&'a [u8]>,
    /// What it says.
    pub text: &'a [u8],
}

/// LOG_USER and LOG_INFO.
const UNMARKED: u32 = 1 << 3 | 6;

/// Takes a message of syslog(3) apart.
pub fn parsed(data: &[u8]) -> Parsed<'_> {
    let end = data
        .iter()
        .rposition(|b| !b.is_ascii_whitespace() && *b != 0)
        .map_or(0, |i| i + 1);
    let mut rest = data.get(..end).unwrap_or_default();
    let mut out = Parsed {
        priority: UNMARKED,
        stamp: None,
        name: None,
        pid: None,
        text: rest,
    };
    // `<13>`: one to three digits.
    let close = rest.iter().take(5).position(|b| *b == b'>');
    if let (Some(b'<'), Some(n)) = (rest.first(), close)
        && let Some(p) = rest
            .get(1..n)
            .and_then(|d| std::str::from_utf8(d).ok()?.parse::<u32>().ok())
        && p < 192
    {
        out.priority = p;
        rest = rest.get(n + 1..).unwrap_or_default();
    }
    // `Nov 25 17:06:40 `.
    let dated = rest.len() >= 16
        && rest.get(15) == Some(&b' ')
        && [3, 6].iter().all(|i| rest.get(*i) == Some(&b' '))
        && [9, 12].iter().all(|i| rest.get(*i) == Some(&b':'))
        && rest
            .get(..3)
            .is_some_and(|m| m.iter().all(u8::is_ascii_alphabetic));
    if dated {
        out.stamp = rest.get(..16);
        rest = rest.get(16..).unwrap_or_default();
    }
    // `name[12]: `.
    let word = rest
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(rest.len());
    if let Some(head) = rest.get(..word).and_then(|w| w.strip_suffix(b":")) {
        let open = head.iter().position(|b| *b == b'[');
        (out.name, out.pid) = match (open, head.strip_suffix(b"]")) {
            (Some(o), Some(h)) => (head.get(..o), h.get(o + 1..)),
            _ => (Some(head), None),
        };
        rest = rest.get(word + 1..).unwrap_or_default();
    }
    out.text = rest;
    out
}

impl Machine {
    /// The entry that journald makes of a message that a program sent, at this many microseconds since the epoch.
    pub fn message(&self, boot: &Boot, at: u64, by: &Sender, data: &[u8]) -> Entry {
        let p = parsed(data);
        let mut fields: Vec<Vec<u8>> = Vec::new();
        let mut put = |name: &str, value: &[u8]| fields.push([name.as_bytes(), b"=", value].concat());
        put("_BOOT_ID", boot.id.as_bytes());
        put("_MACHINE_ID", self.machine_id.as_bytes());
        put("_HOSTNAME", self.host.as_bytes());
        put("_RUNTIME_SCOPE", b"system");
        put("_TRANSPORT", b"syslog");
        put("PRIORITY", (p.priority & 7).to_string().as_bytes());
        put("SYSLOG_FACILITY", (p.priority >> 3).to_string().as_bytes());
        for (name, value) in [
            ("SYSLOG_IDENTIFIER", p.name),
            ("SYSLOG_PID", p.pid),
            ("SYSLOG_TIMESTAMP", p.stamp),
        ] {
            if let Some(value) = value {
                put(name, value);
            }
        }
        put("MESSAGE", p.text);
        put("_PID", by.pid.to_string().as_bytes());
        put("_UID", by.uid.to_string().as_bytes());
        put("_GID", by.gid.to_string().as_bytes());
        put("_COMM", &by.comm);
        put("_SOURCE_REALTIME_TIMESTAMP", at.to_string().as_bytes());
        Entry {
            realtime: at,
            monotonic: at.saturating_sub(boot.at),
            boot: id(&boot.id),
            fields,
        }
    }
}

impl Machine {
    /// The entry that journald makes of a line that a program of a unit said, at this many microseconds since the epoch.
    pub fn spoken(&self, boot: &Boot, at: u64, by: &Sender, s: &Spoken, text: &[u8]) -> Entry {
        let mut fields: Vec<Vec<u8>> = Vec::new();
        let mut put = |name: &str, value: &[u8]| fields.push([name.as_bytes(), b"=", value].concat());
        put("_TRANSPORT", b"stdout");
        put("PRIORITY", (s.priority & 7).to_string().as_bytes());
        // Of daemons.
        put("SYSLOG_FACILITY", b"3");
        put("SYSLOG_IDENTIFIER", s.name.as_bytes());
        put("MESSAGE", text);
        put("_PID", by.pid.to_string().as_bytes());
        put("_UID", by.uid.to_string().as_bytes());
        put("_GID", by.gid.to_string().as_bytes());
        // A process that is gone has told no more.
        for (name, value) in [("_COMM", &by.comm), ("_EXE", &s.exe), ("_CMDLINE", &s.cmdline)] {
            if !value.is_empty() {
                put(name, value);
            }
        }
        put("_SELINUX_CONTEXT", b"unconfined\n");
        put("_SYSTEMD_CGROUP", s.cgroup.as_bytes());
        put("_SYSTEMD_UNIT", s.unit.as_bytes());
        put("_SYSTEMD_SLICE", b"system.slice");
        put("_BOOT_ID", boot.id.as_bytes());
        put("_MACHINE_ID", self.machine_id.as_bytes());
        put("_HOSTNAME", self.host.as_bytes());
        put("_RUNTIME_SCOPE", b"system");
        Entry {
            realtime: at,
            monotonic: at.saturating_sub(boot.at),
            boot: id(&boot.id),
            fields,
        }
    }
}

/// 128 bits of hexadecimal digits.
fn id(text: &str) -> [u8; 16] {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let mut out = [0u8; 16];
    for (o, d) in out.iter_mut().zip(digits.chunks(2)) {
        *o = std::str::from_utf8(d)
            .ok()
            .and_then(|d| u8::from_str_radix(d, 16).ok())
            .unwrap_or(0);
    }
    out
}

/// Days for which the administrator lets journald keep its files.
fn days(cover: &Cover) -> i64 {
    cover.stream("journal").range(4, 7)
}

/// What is logged while the machine boots; `kernel` is the kernel's log: priority, microseconds since boot, text.
pub fn boot_lines(cover: &Cover, image: &dyn Image, kernel: &[(u8, u64, String)]) -> Vec<Line> {
    let booted = cover.host.booted.max(0) as u64 * 1_000_000;
    let mut all: Vec<Line> = kernel
        .iter()
        .map(|(priority, after, text)| Line {
            at: booted + after,
            says: Says::Kernel,
            pid: 0,
            priority: *priority,
            private: false,
            text: text.clone(),
        })
        .chain(started(cover, image))
        .collect();
    all.sort_by_key(|l| l.at);
    all
}

/// journald's directory, its file at `now` and the setting that bounds it. `kernel` is the kernel's log of the boot that runs:
/// priority, microseconds since boot, text. The file is cut where its entries end: see [`journal::STEP`] for its size.
pub fn files(
    cover: &Cover,
    image: &dyn Image,
    past: &Past,
    kernel: &[(u8, u64, String)],
    now: i64,
) -> Vec<File> {
    let machine = Machine::of(cover);
    let from = (now - days(cover) * 86_400).max(cover.host.installed + 60);
    let mut all = lines::draw(cover, past, from, now);
    if cover.host.booted > from {
        all.extend(boot_lines(cover, image, kernel));
    }
    all.sort_by_key(|l| l.at);
    // Each boot before has an id that nobody else knows.
    let boots: Vec<Boot> = past
        .line
        .boots
        .iter()
        .map(|b| Boot {
            id: if b.down.is_none() {
                cover.host.boot_id.replace('-', "")
            } else {
                cover.stream(&format!("boot {}", b.at)).uuid().replace('-', "")
            },
            at: b.at.max(0) as u64 * 1_000_000,
        })
        .collect();
    let mut s = cover.stream("journal file");
    let mut fresh = || std::array::from_fn(|_| s.byte());
    let ids = Ids {
        file: fresh(),
        machine: id(&cover.host.machine_id),
        sequence: fresh(),
    };
    let mut bytes = Vec::new();
    journal::create(&mut bytes, &ids);
    for l in &all {
        if let Some(b) = boots.iter().rev().find(|b| b.at <= l.at) {
            journal::append(&mut bytes, &machine.entry(b, l));
        }
    }
    let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |n| n + 1);
    bytes.truncate(used.next_multiple_of(8));
    let group = crate::files::group(image, "systemd-journal");
    let dir = format!("/var/log/journal/{}", cover.host.machine_id);
    let set = cover.host.installed + 5_400;
    vec![
        File::dir(&dir, 0o2755, cover.host.installed + 60).owned(0, group),
        File {
            kind: Kind::Regular(Content::Bytes(bytes)),
            ..File::text(&machine.path(), 0o640, now, "").owned(0, group)
        },
        File::text(
            "/etc/systemd/journald.conf",
            0o644,
            set,
            settings(image, days(cover)),
        ),
    ]
}

/// journald.conf with the bound set where the package's file has it commented out.
fn settings(image: &dyn Image, days: i64) -> String {
    let text = image.read("/etc/systemd/journald.conf").unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let set = format!("MaxRetentionSec={days}day");
    if text.contains("#MaxRetentionSec=") {
        text.lines()
            .map(|l| {
                if l.starts_with("#MaxRetentionSec=") {
                    format!("{set}\n")
                } else {
                    format!("{l}\n")
                }
            })
            .collect()
    } else {
        format!("[Journal]\n{set}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_apart() {
        let p = parsed(b"<86>Nov 25 17:06:40 su[4711]: (to root) eve on pts/1\n\0");
        assert_eq!(
            (p.priority, p.name, p.pid),
            (86, Some(&b"su"[..]), Some(&b"4711"[..]))
        );
        assert_eq!(
            (p.stamp, p.text),
            (Some(&b"Nov 25 17:06:40 "[..]), &b"(to root) eve on pts/1"[..])
        );
        let p = parsed(b"no mark: at all");
        assert_eq!(
            (p.priority, p.name, p.text),
            (UNMARKED, None, &b"no mark: at all"[..])
        );
        assert_eq!(parsed(b"<13>tag: x").name, Some(&b"tag"[..]));
        for odd in [
            &b""[..],
            b"<",
            b"<>",
            b"<999>a",
            b"<1",
            b"[]:",
            b":",
            b"a[:  ",
            b"<13>Nov",
        ] {
            let _ = parsed(odd);
        }
    }
}
