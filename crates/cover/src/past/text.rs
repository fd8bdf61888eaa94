//! `auth.log`, `cron.log`, `syslog`: only where rsyslog is installed. Form: Debian 12's rsyslog writes RFC 3339 stamps with
//! microseconds; the messages are those of OpenSSH 9.2, Linux-PAM 1.5, systemd-logind 252 and sudo 1.9.

use super::rotate::{self, Rule};
use super::timeline::Timeline;
use super::upgrades::Run;
use crate::cover::Cover;
use crate::files::File;

struct Lines<'a> {
    cover: &'a Cover,
    s: crate::Stream,
    out: Vec<(i64, Vec<u8>)>,
}

impl Lines<'_> {
    fn put(&mut self, at: i64, tag: &str, text: &str) {
        let zone = &self.cover.host.zone;
        let c = zone.local(at);
        let o = zone.offset_at(at);
        let sign = if o < 0 { '-' } else { '+' };
        let line = format!(
            "{}T{}.{:06}{sign}{:02}:{:02} {} {tag}: {text}\n",
            c.date(),
            c.time(),
            self.s.below(1_000_000),
            o.abs() / 3600,
            o.abs() / 60 % 60,
            self.cover.host.name
        );
        self.out.push((at, line.into_bytes()));
    }
}

/// The text logs of the weeks that logrotate keeps (weekly, four old ones).
pub fn files(cover: &Cover, t: &Timeline, runs: &[Run], now: i64) -> Vec<File> {
    let from = (now - 36 * 86_400).max(cover.host.installed);
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
    let lines = |label: &str| Lines {
        cover,
        s: cover.stream(label),
        out: Vec::new(),
    };
    let prints: Vec<String> = (0..cover.users.len()).map(|i| cover.login_print(i)).collect();
    let (mut auth, mut cron) = (lines("auth.log"), lines("cron.log"));
    for (n, l) in t.logins.iter().enumerate().filter(|(_, l)| l.at > from) {
        let Some(u) = cover.users.get(l.user) else {
            continue;
        };
        let tag = format!("sshd[{}]", l.pid - 12);
        let print = prints.get(l.user).map_or("", String::as_str);
        auth.put(
            l.at,
            &tag,
            &format!(
                "Accepted publickey for {} from {} port {} ssh2: ED25519 {print}",
                u.name, l.from, l.port
            ),
        );
        auth.put(
            l.at,
            &tag,
            &format!(
                "pam_unix(sshd:session): session opened for user {}(uid={}) by (uid=0)",
                u.name, u.uid
            ),
        );
        let session = n + 1;
        auth.put(
            l.at,
            "systemd-logind[*]",
            &format!("New session {session} of user {}.", u.name),
        );
        auth.put(
            l.until,
            &format!("sshd[{}]", l.pid),
            &format!(
                "Received disconnect from {} port {}:11: disconnected by user",
                l.from, l.port
            ),
        );
        auth.put(
            l.until,
            &format!("sshd[{}]", l.pid),
            &format!("Disconnected from user {} {} port {}", u.name, l.from, l.port),
        );
        auth.put(
            l.until,
            &tag,
            &format!("pam_unix(sshd:session): session closed for user {}", u.name),
        );
        auth.put(
            l.until,
            "systemd-logind[*]",
            &format!("Session {session} logged out. Waiting for processes to exit."),
        );
        auth.put(
            l.until,
            "systemd-logind[*]",
            &format!("Removed session {session}."),
        );
    }
    for f in t.failures.iter().filter(|f| f.at > from) {
        let tag = format!("sshd[{}]", f.pid);
        auth.put(
            f.at - 2,
            &tag,
            &format!(
                "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={}  user={}",
                f.from, f.user
            ),
        );
        auth.put(
            f.at,
            &tag,
            &format!(
                "Failed password for {} from {} port {} ssh2",
                f.user, f.from, f.port
            ),
        );
    }
    for r in runs.iter().filter(|r| r.start > from) {
        let Some(u) = r.by.and_then(|i| cover.users.get(i)) else {
            continue;
        };
        auth.put(
            r.start - 2,
            "sudo",
            &format!(
                "{:>8} : TTY=pts/0 ; PWD={} ; USER=root ; COMMAND=/usr/bin/{}",
                u.name, u.home, r.command
            ),
        );
        auth.put(
            r.start - 2,
            "sudo",
            &format!(
                "pam_unix(sudo:session): session opened for user root(uid=0) by {}(uid={})",
                u.name, u.uid
            ),
        );
        auth.put(
            r.end + 1,
            "sudo",
            "pam_unix(sudo:session): session closed for user root",
        );
    }
    // cron's hourly and daily runs of /etc/crontab.
    let zone = &cover.host.zone;
    let mut hour = from - from.rem_euclid(3600);
    while hour < now {
        let local = zone.local(hour);
        let pid = 1000 + ((hour - cover.host.booted).rem_euclid(4_000_000) / 37) as u32;
        let at = hour + 17 * 60 + 1;
        auth_cron(&mut auth, at, pid);
        cron.put(
            at,
            &format!("CRON[{}]", pid + 1),
            "(root) CMD (cd / && run-parts --report /etc/cron.hourly)",
        );
        if local.hour == 6 {
            let at = hour + 25 * 60 + 1;
            auth_cron(&mut auth, at, pid + 40);
            cron.put(
                at,
                &format!("CRON[{}]", pid + 41),
                "(root) CMD (test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; })",
            );
        }
        hour += 3600;
    }
    let logind = cover
        .processes(&|_| true)
        .iter()
        .find(|p| p.comm == "systemd-logind")
        .map_or(600, |p| p.pid);
    let mut out = Vec::new();
    for (path, mut lines) in [("/var/log/auth.log", auth.out), ("/var/log/cron.log", cron.out)] {
        lines.retain(|l| l.0 >= from && l.0 <= now);
        lines.sort_by_key(|l| l.0);
        for l in &mut lines {
            if let Ok(text) = std::str::from_utf8(&l.1)
                && text.contains("[*]")
            {
                l.1 = text.replace("[*]", &format!("[{logind}]")).into_bytes();
            }
        }
        out.extend(rotate::files(cover, path, rule, &lines, now));
    }
    out
}

fn auth_cron(auth: &mut Lines<'_>, at: i64, pid: u32) {
    let tag = format!("CRON[{pid}]");
    auth.put(
        at,
        &tag,
        "pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)",
    );
    auth.put(at, &tag, "pam_unix(cron:session): session closed for user root");
}
