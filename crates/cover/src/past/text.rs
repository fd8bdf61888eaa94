//! The text logs of rsyslog, where it is installed: `auth.log`, `cron.log`, `user.log` and `syslog`. Debian 12's `rsyslog.conf` says what
//! goes where, and its default form has RFC 3339 stamps with microseconds.

use super::journal::boot_lines;
use super::lines::{Line, Says};
use super::rotate::{Log, Rule};
use super::upgrades;
use crate::clock::Zone;
use crate::cover::{Cover, Image};
use crate::files::File;
use turncoat_freeze::Freeze;

/// A file of rsyslog's, and which facilities go there (syslog(3)).
struct Goes {
    path: &'static str,
    takes: fn(u8) -> bool,
}

/// The rules of `/etc/rsyslog.conf`, as far as something is logged there.
const RULES: &[Goes] = &[
    Goes {
        path: "/var/log/auth.log",
        takes: |f| matches!(f, 4 | 10),
    },
    Goes {
        path: "/var/log/cron.log",
        takes: |f| f == 9,
    },
    Goes {
        path: "/var/log/kern.log",
        takes: |f| f == 0,
    },
    Goes {
        path: "/var/log/user.log",
        takes: |f| f == 1,
    },
    Goes {
        path: "/var/log/syslog",
        takes: |f| !matches!(f, 4 | 10),
    },
];

/// The rsyslog of one machine.
#[derive(Clone, Debug, Freeze)]
pub struct Rsyslog {
    host: String,
    zone: Zone,
}

impl Rsyslog {
    /// That of `cover`, if its image has one.
    pub fn of(cover: &Cover, image: &dyn Image) -> Option<Rsyslog> {
        upgrades::has(image, "rsyslog").then(|| Rsyslog {
            host: cover.host.name.clone(),
            zone: cover.host.zone,
        })
    }

    /// Where a message of this facility goes.
    pub fn paths(facility: u8) -> impl Iterator<Item = &'static str> {
        RULES.iter().filter(move |r| (r.takes)(facility)).map(|r| r.path)
    }

    /// A message as it stands there; `at` is microseconds since the epoch.
    pub fn message(&self, at: u64, tag: &[u8], text: &[u8]) -> Vec<u8> {
        let second = (at / 1_000_000) as i64;
        let (c, o) = (self.zone.local(second), self.zone.offset_at(second));
        let stamp = format!(
            "{}T{}.{:06}{}{:02}:{:02} {} ",
            c.date(),
            c.time(),
            at % 1_000_000,
            if o < 0 { '-' } else { '+' },
            o.abs() / 3600,
            o.abs() / 60 % 60,
            self.host,
        );
        [stamp.as_bytes(), tag, b": ", text, b"\n"].concat()
    }

    /// A line as it stands there.
    pub fn line(&self, l: &Line) -> Vec<u8> {
        let tag = match l.says {
            Says::Kernel => "kernel".to_string(),
            Says::Systemd => "systemd[1]".to_string(),
            Says::Program(p) if p.name == "sudo" => "sudo".to_string(),
            Says::Program(p) => format!("{}[{}]", p.name, l.pid),
        };
        self.message(l.at, tag.as_bytes(), l.text.as_bytes())
    }

    /// The logs of the weeks that logrotate keeps (weekly, four old ones).
    pub(super) fn files(&self, cover: &Cover, lines: &[Line], now: i64) -> Vec<File> {
        let mut out = Vec::new();
        for (rule, log) in RULES.iter().zip(logs()) {
            let of = lines.iter().filter(|l| (rule.takes)(l.facility()));
            let records: Vec<(i64, Vec<u8>)> =
                of.map(|l| ((l.at / 1_000_000) as i64, self.line(l))).collect();
            // What nothing was ever logged to is not there.
            if !records.is_empty() {
                out.extend(log.files(cover, &records, now));
            }
        }
        out
    }
}

/// The logs, of which logrotate keeps four weeks (`/etc/logrotate.d/rsyslog`).
pub(super) fn logs() -> impl Iterator<Item = Log> {
    let rule = Rule {
        weekly: true,
        keep: 4,
        compress: true,
        delay: true,
        skip_empty: true,
        least: 0,
        mode: 0o640,
        gid: 4,
    };
    RULES.iter().map(move |r| Log::new(r.path, rule))
}

/// The text logs at `now`, where the image has rsyslog. `kernel` is the kernel's log of the boot that runs, if it is known.
pub(super) fn files(
    cover: &Cover,
    image: &dyn Image,
    past: &super::Past,
    kernel: &[(u8, u64, String)],
    now: i64,
) -> Vec<File> {
    let Some(rsyslog) = Rsyslog::of(cover, image) else {
        return Vec::new();
    };
    let from = (now - 36 * 86_400).max(cover.host.installed);
    let mut lines = super::lines::draw(cover, past, from, now);
    if cover.host.booted > from {
        lines.extend(boot_lines(cover, image, kernel));
        lines.sort_by_key(|l| l.at);
    }
    rsyslog.files(cover, &lines, now)
}
