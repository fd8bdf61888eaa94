//! `wtmp`, `btmp`, `lastlog` and the boot's `utmp` in glibc's and shadow's formats for amd64 (utmp(5), lastlog(8)).

use super::rotate::{Log, MONTHLY, Rule};
use super::timeline::Timeline;
use crate::cover::Cover;
use crate::files::{Content, File, Kind};
use std::net::Ipv4Addr;

/// `struct utmp`, 384 bytes.
struct Record<'a> {
    kind: i16,
    pid: u32,
    line: &'a str,
    id: &'a str,
    user: &'a str,
    host: &'a str,
    at: i64,
    usec: u32,
    address: Option<Ipv4Addr>,
}

const RUN_LVL: i16 = 1;
const BOOT_TIME: i16 = 2;
const LOGIN_PROCESS: i16 = 6;
const USER_PROCESS: i16 = 7;
const DEAD_PROCESS: i16 = 8;

impl Record<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut b = vec![0u8; 384];
        let mut put = |at: usize, room: usize, bytes: &[u8]| {
            let n = bytes.len().min(room);
            b[at..at + n].copy_from_slice(&bytes[..n]);
        };
        put(0, 2, &self.kind.to_le_bytes());
        put(4, 4, &self.pid.to_le_bytes());
        put(8, 32, self.line.as_bytes());
        put(40, 4, self.id.as_bytes());
        put(44, 32, self.user.as_bytes());
        put(76, 256, self.host.as_bytes());
        put(340, 4, &(self.at as i32).to_le_bytes());
        put(344, 4, &self.usec.to_le_bytes());
        if let Some(a) = self.address {
            put(348, 4, &a.octets());
        }
        b
    }
}

fn boot_records(boot: &super::timeline::Boot, usec: u32) -> Vec<(i64, Vec<u8>)> {
    let system = |kind, pid, user, at, usec| {
        let r = Record {
            kind,
            pid,
            line: "~",
            id: "~~",
            user,
            host: &boot.release,
            at,
            usec,
            address: None,
        };
        (at, r.bytes())
    };
    let console = Record {
        kind: LOGIN_PROCESS,
        pid: 480 + usec % 170,
        line: "tty1",
        id: "tty1",
        user: "LOGIN",
        host: "",
        at: boot.at + 6,
        usec: usec / 2,
        address: None,
    };
    let mut out = vec![
        system(BOOT_TIME, 0, "reboot", boot.at + 1, usec),
        (boot.at + 6, console.bytes()),
        // '5' is the run level that systemd shows for multi-user or graphical.
        system(RUN_LVL, 53, "runlevel", boot.at + 8, usec / 3),
    ];
    if let Some(d) = boot.down {
        out.push(system(RUN_LVL, 0, "shutdown", d, usec / 5));
    }
    out
}

/// The records of `/run/utmp` after boot; `agetty` is the process id of the console's getty.
pub fn utmp(cover: &Cover, agetty: Option<u32>) -> Vec<u8> {
    let boot = super::timeline::Boot {
        at: cover.host.booted,
        down: None,
        release: cover.host.kernel.release.clone(),
    };
    let usec = cover.stream("utmp").below(1_000_000) as u32;
    let mut records = boot_records(&boot, usec);
    match (agetty, records.get_mut(1)) {
        (Some(pid), Some(r)) => r.1[4..8].copy_from_slice(&pid.to_le_bytes()),
        _ => {
            records.remove(1);
        }
    }
    records.into_iter().flat_map(|r| r.1).collect()
}

/// The group utmp.
const UTMP: u32 = 43;

/// `wtmp` and `btmp`: `/etc/logrotate.d/wtmp` and its like.
pub(super) fn logs() -> [Log; 2] {
    let rule = Rule {
        keep: 1,
        compress: false,
        delay: false,
        skip_empty: false,
        mode: 0o660,
        gid: UTMP,
        ..MONTHLY
    };
    let wtmp = Rule {
        least: 1 << 20,
        mode: 0o664,
        ..rule
    };
    [Log::new("/var/log/wtmp", wtmp), Log::new("/var/log/btmp", rule)]
}

/// The three files and their old ones.
pub fn files(cover: &Cover, t: &Timeline, now: i64) -> Vec<File> {
    let mut s = cover.stream("usec");
    let mut wtmp: Vec<(i64, Vec<u8>)> = Vec::new();
    for b in &t.boots {
        wtmp.extend(boot_records(b, s.below(1_000_000) as u32));
    }
    let last_uid = cover.users.iter().map(|u| u.uid).max().unwrap_or(0) as usize;
    let mut lastlog = vec![0u8; (last_uid + 1) * 292];
    let mut last_login = cover.host.installed;
    for l in &t.logins {
        let Some(u) = cover.users.get(l.user) else {
            continue;
        };
        let line = format!("pts/{}", l.pts);
        let host = l.from.to_string();
        // The id is the last four characters of the terminal's name.
        let id = &line[line.len().saturating_sub(4)..];
        let login = Record {
            kind: USER_PROCESS,
            pid: l.pid,
            line: &line,
            id,
            user: &u.name,
            host: &host,
            at: l.at,
            usec: s.below(1_000_000) as u32,
            address: Some(l.from),
        };
        wtmp.push((l.at, login.bytes()));
        let logout = Record {
            kind: DEAD_PROCESS,
            user: "",
            host: "",
            at: l.until,
            usec: s.below(1_000_000) as u32,
            address: None,
            ..login
        };
        wtmp.push((l.until, logout.bytes()));
        let at = u.uid as usize * 292;
        if let Some(entry) = lastlog.get_mut(at..at + 292) {
            entry.fill(0);
            entry[..4].copy_from_slice(&(l.at as i32).to_le_bytes());
            entry[4..4 + line.len()].copy_from_slice(line.as_bytes());
            entry[36..36 + host.len()].copy_from_slice(host.as_bytes());
            last_login = last_login.max(l.at);
        }
    }
    wtmp.sort_by_key(|r| r.0);
    let btmp: Vec<(i64, Vec<u8>)> = t
        .failures
        .iter()
        .map(|f| {
            let r = Record {
                kind: LOGIN_PROCESS,
                pid: f.pid,
                line: "ssh:notty",
                id: "",
                user: &f.user,
                host: &f.from.to_string(),
                at: f.at,
                usec: 0,
                address: Some(f.from),
            };
            (f.at, r.bytes())
        })
        .collect();
    let mut out = Vec::new();
    for (log, records) in logs().iter().zip([&wtmp, &btmp]) {
        out.extend(log.files(cover, records, now));
    }
    out.push(File {
        kind: Kind::Regular(Content::Bytes(lastlog)),
        ..File::text("/var/log/lastlog", 0o664, last_login, "").owned(0, UTMP)
    });
    out
}
