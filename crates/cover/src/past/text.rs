//! `auth.log`, `cron.log`: only where rsyslog is installed. Form: Debian 12's rsyslog writes RFC 3339 stamps with microseconds.

use super::lines::{Line, Says};
use super::rotate::{self, Rule};
use crate::cover::Cover;
use crate::files::File;

fn text(cover: &Cover, l: &Line) -> Vec<u8> {
    let zone = &cover.host.zone;
    let at = (l.at / 1_000_000) as i64;
    let (c, o) = (zone.local(at), zone.offset_at(at));
    let tag = match l.says {
        Says::Kernel => "kernel".to_string(),
        Says::Systemd => "systemd[1]".to_string(),
        Says::Program(p) if p.name == "sudo" => "sudo".to_string(),
        Says::Program(p) => format!("{}[{}]", p.name, l.pid),
    };
    format!(
        "{}T{}.{:06}{}{:02}:{:02} {} {tag}: {}\n",
        c.date(),
        c.time(),
        l.at % 1_000_000,
        if o < 0 { '-' } else { '+' },
        o.abs() / 3600,
        o.abs() / 60 % 60,
        cover.host.name,
        l.text
    )
    .into_bytes()
}

/// The text logs of the weeks that logrotate keeps (weekly, four old ones).
pub fn files(cover: &Cover, lines: &[Line], now: i64) -> Vec<File> {
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
    let of = |l: &&Line, auth: bool| match l.says {
        Says::Program(p) => (l.private || matches!(p.facility, 4 | 10)) == auth && (auth || p.facility == 9),
        _ => false,
    };
    let mut out = Vec::new();
    for (path, auth) in [("/var/log/auth.log", true), ("/var/log/cron.log", false)] {
        let records: Vec<(i64, Vec<u8>)> = lines
            .iter()
            .filter(|l| of(l, auth))
            .map(|l| ((l.at / 1_000_000) as i64, text(cover, l)))
            .collect();
        out.extend(rotate::files(cover, path, rule, &records, now));
    }
    out
}
