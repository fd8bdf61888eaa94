//! The rest of what the administrator set up: the machine's job with its script, timetable, log and rotation; sudo, sysctl, firewall.

use super::File;
use crate::cover::{Cover, Image};
use crate::past::rotate;
use crate::story::Story;
use crate::users::coined;

/// Files of the machine's job and its settings, at `now`.
pub fn files(cover: &Cover, image: &dyn Image, story: &Story, now: i64) -> Vec<File> {
    let mut s = cover.stream("system");
    let since = story.since;
    let has = |p: &str| image.read(p).is_some();
    let mut out = vec![
        // adjtime(5) as the installer leaves it on a clock that runs in UTC.
        File::text("/etc/adjtime", 0o644, cover.host.installed, "0.0 0 0.0\n0\nUTC\n"),
        File::dir(&story.data, 0o750, now - 80_000),
        File::dir(&story.settings, 0o755, since),
        File::text(
            &story.job_path,
            0o750,
            since + s.range(0, 20) * 3600,
            script(cover, story),
        ),
    ];
    let (h, m) = story.time;
    if s.chance(55) {
        let line = format!(
            "{m} {h} * * * root {}{}\n",
            story.job_path,
            s.pick(&["", " >/dev/null", " -q"])
        );
        let head = s
            .pick(&["", "SHELL=/bin/sh\n", "MAILTO=root\n", "MAILTO=\"\"\n"])
            .to_string();
        let name = story
            .job
            .split('.')
            .next()
            .unwrap_or("job")
            .replace('_', "-")
            .to_lowercase();
        out.push(File::text(
            &format!("/etc/cron.d/{name}"),
            0o644,
            since + 900,
            head + &line,
        ));
    } else {
        // crontab(1) puts three lines before the ones that were typed.
        let line = format!("{m} {h} * * * {}\n", story.job_path);
        out.push(File::text("/var/spool/cron/crontabs/root", 0o600, since + 900, line).owned(0, 101));
    }
    let mut log = Vec::new();
    let zone = &cover.host.zone;
    let words = [
        s.pick(&["done", "ok", "finished", "end"]).to_string(),
        s.pick(&["begin", "start", "run", "go"]).to_string(),
    ];
    for day in since.div_euclid(86_400) + 1..=now.div_euclid(86_400) {
        let at = day * 86_400 + i64::from(h) * 3600 + i64::from(m) * 60 - zone.offset_at(day * 86_400) + 1;
        let end = at + s.range(20, 1400);
        if end > now || at < since {
            continue;
        }
        let stamp = |t: i64| {
            let c = zone.local(t);
            format!("{} {}", c.date(), c.time())
        };
        log.push((at, format!("{} {}\n", stamp(at), words[1]).into_bytes()));
        if s.chance(3) {
            log.push((
                end,
                format!("{} {}: failed\n", stamp(end), story.host(s.below(8) as usize)).into_bytes(),
            ));
        } else {
            log.push((
                end,
                format!("{} {} {}\n", stamp(end), words[0], s.range(90, 90_000)).into_bytes(),
            ));
        }
    }
    let rule = rotate::Rule {
        keep: 6,
        mode: 0o640,
        ..rotate::MONTHLY
    };
    out.extend(rotate::files(cover, &story.log, rule, &log, now));
    if has("/etc/logrotate.conf") {
        let text = format!(
            "{} {{\n\tmonthly\n\trotate 6\n\tcompress\n\tdelaycompress\n\tnotifempty\n\tmissingok\n}}\n",
            story.log
        );
        let name = story
            .log
            .rsplit('/')
            .next()
            .unwrap_or("local")
            .trim_end_matches(".log")
            .to_string();
        out.push(File::text(
            &format!("/etc/logrotate.d/{name}"),
            0o644,
            since + 1800,
            text,
        ));
        out.push(state(cover, story, now));
    }
    if has("/etc/sudoers")
        && let Some(u) = cover.users.get(1)
        && s.chance(60)
    {
        let text = format!("{} ALL=(root) NOPASSWD: {}\n", u.name, story.job_path);
        let name = if s.chance(50) {
            u.name.replace('.', "_")
        } else {
            coined(&mut s)
        };
        out.push(File::text(
            &format!("/etc/sudoers.d/{name}"),
            0o440,
            u.since.max(since) + 700,
            text,
        ));
    }
    if s.chance(45) {
        let all = [
            ("vm.swappiness", "10"),
            ("net.ipv4.tcp_syncookies", "1"),
            ("net.ipv4.conf.all.rp_filter", "1"),
            ("kernel.sysrq", "0"),
            ("net.ipv6.conf.all.accept_ra", "0"),
            ("fs.inotify.max_user_watches", "262144"),
            ("net.ipv4.conf.all.accept_redirects", "0"),
        ];
        let n = s.range(1, 4) as usize;
        let text: String = s
            .sample(&all, n)
            .iter()
            .map(|(k, v)| format!("{k} = {v}\n"))
            .collect();
        let name = format!("{}{}-{}.conf", s.range(3, 9), s.range(0, 9), coined(&mut s));
        out.push(File::text(
            &format!("/etc/sysctl.d/{name}"),
            0o644,
            cover.host.installed + 5000,
            text,
        ));
    }
    if s.chance(35) {
        let owner = cover.users.first().map_or("root", |u| u.full_name.as_str());
        let text = format!(
            "\n{} ({})\n{}: {owner}\n\n",
            cover.host.fqdn(),
            coined(&mut s),
            s.pick(&["Contact", "Owner", "Admin", "Questions"])
        );
        out.push(File::text("/etc/motd", 0o644, cover.host.installed + 8000, text));
    }
    if has("/usr/sbin/nft") {
        out.push(File::text(
            "/etc/nftables.conf",
            0o755,
            cover.host.installed + 6000,
            nft(cover),
        ));
    }
    if has("/usr/bin/unattended-upgrade") {
        let text = "APT::Periodic::Update-Package-Lists \"1\";\nAPT::Periodic::Unattended-Upgrade \"1\";\n";
        out.push(File::text(
            "/etc/apt/apt.conf.d/20auto-upgrades",
            0o644,
            cover.host.installed + 300,
            text,
        ));
    }
    out
}

/// The firewall that lets in what answers: SSH and echo requests.
fn nft(cover: &Cover) -> String {
    let i = &cover.network.interface;
    format!(
        "#!/usr/sbin/nft -f\n\nflush ruleset\n\ntable inet filter {{\n\tchain input {{\n\t\ttype filter hook input priority filter; policy drop;\n\t\tct state established,related accept\n\t\tiif lo accept\n\t\ticmp type echo-request accept\n\t\ticmpv6 type {{ echo-request, nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert }} accept\n\t\tiifname \"{i}\" tcp dport 22 accept\n\t\treject with icmpx type admin-prohibited\n\t}}\n\tchain forward {{\n\t\ttype filter hook forward priority filter; policy drop;\n\t}}\n\tchain output {{\n\t\ttype filter hook output priority filter;\n\t}}\n}}\n"
    )
}

/// logrotate's state file: the last rotation of each log.
fn state(cover: &Cover, story: &Story, now: i64) -> File {
    let zone = &cover.host.zone;
    let last = rotate::moments(cover, false, now)
        .last()
        .copied()
        .unwrap_or(cover.host.installed);
    let c = zone.local(last);
    let mut t = String::from("logrotate state -- version 2\n");
    for path in [
        "/var/log/dpkg.log",
        "/var/log/apt/term.log",
        "/var/log/apt/history.log",
        "/var/log/btmp",
        "/var/log/wtmp",
        &story.log,
    ] {
        t += &format!(
            "\"{path}\" {}-{}-{}-{}:{}:{}\n",
            c.year, c.month, c.day, c.hour, c.minute, c.second
        );
    }
    let today = (now + zone.offset_at(now)).div_euclid(86_400) * 86_400 - zone.offset_at(now);
    File::text("/var/lib/logrotate/status", 0o640, (today + 40).min(now), t)
}

/// The script that does the machine's work, in the style of whoever wrote it.
fn script(cover: &Cover, story: &Story) -> String {
    let mut s = cover.stream("script");
    let (host, v, w) = (story.host(0), coined(&mut s), coined(&mut s).to_uppercase());
    let shell = *s.pick(&["#!/bin/sh", "#!/bin/bash", "#! /bin/sh"]);
    let strict = *s.pick(&["set -e", "set -eu", "", "set -u"]);
    let mut t = format!("{shell}\n");
    if s.chance(50) {
        t += &format!(
            "# {} {}\n",
            s.pick(&cover.users).name,
            cover.host.zone.local(story.since).date()
        );
    }
    if !strict.is_empty() {
        t += &format!("{strict}\n");
    }
    t += &format!(
        "{w}={}\n{v}=$(date +{})\n",
        story.data,
        s.pick(&["%F", "%Y%m%d", "%u", "%y%m%d"])
    );
    t += &format!(
        "echo \"$(date '+%F %T') {}\" >> {}\n",
        s.pick(&["start", "begin", "run"]),
        story.log
    );
    let hosts: Vec<String> = (0..s.range(1, 4) as usize)
        .map(|i| story.host(i).to_string())
        .collect();
    match cover.role.as_str() {
        "backup" => {
            t += &format!(
                "ssh {host} \"pg_dump -U {} {}\" > ${w}/{}-${v}.sql\n",
                story.db_user, story.db_name, story.db_name
            );
            for h in &hosts {
                t += &format!(
                    "ssh {h} tar cz /etc /srv/{} > ${w}/{h}-${v}.tgz\n",
                    story.projects[1]
                );
            }
            t += &format!("find ${w} -type f -mtime +{} -delete\n", s.range(7, 60));
        }
        "build" => {
            t += &format!(
                "cd ${w}\ntar czf {}-${v}.tar.gz {}\n",
                story.projects[0], story.projects[0]
            );
            t += &format!(
                "scp -q {}-${v}.tar.gz {host}:/srv/{}/\n",
                story.projects[0], story.projects[1]
            );
        }
        _ => {
            for h in &hosts {
                t += &format!(
                    "ssh -o BatchMode=yes {h} uptime > ${w}/{h}-${v} 2>&1 || echo {h} >> {}\n",
                    story.log
                );
            }
        }
    }
    t + &format!(
        "echo \"$(date '+%F %T') {}\" >> {}\n",
        s.pick(&["done", "ok", "end"]),
        story.log
    )
}
