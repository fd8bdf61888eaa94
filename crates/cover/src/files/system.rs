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
    out.extend(products(cover, story, now));
    let mut log = Vec::new();
    let mut size = s.range(900, 40_000);
    let zone = &cover.host.zone;
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
        log.push((at, format!("{} {}\n", stamp(at), story.words.0).into_bytes()));
        if s.chance(3) {
            log.push((
                end,
                format!("{} {}: failed\n", stamp(end), story.host(s.below(8) as usize)).into_bytes(),
            ));
        } else {
            log.push((
                end,
                format!("{} {} {}\n", stamp(end), story.words.1, {
                    size += s.range(-20, 60);
                    size
                })
                .into_bytes(),
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

/// What the job worked on last: the reports of a bastion, the tree of a build machine. A backup host's dumps are baits.
fn products(cover: &Cover, story: &Story, now: i64) -> Vec<File> {
    let mut s = cover.stream("products");
    let at = story.last_run(cover, now, 0);
    let mut out = Vec::new();
    match cover.role.as_str() {
        "bastion" => {
            for i in 0..probed(cover, story) {
                let c = cover.host.zone.local(at + 2 + i as i64);
                let text = format!(
                    " {} up {} days, {:2}:{:02},  0 users,  load average: 0.{:02}, 0.{:02}, 0.{:02}\n",
                    c.time(),
                    s.range(2, 140),
                    s.range(1, 23),
                    s.range(0, 59),
                    s.below(60),
                    s.below(40),
                    s.below(30)
                );
                out.push(File::text(
                    &format!("{}/{}", story.data, story.host(i)),
                    0o644,
                    at + 2 + i as i64,
                    text,
                ));
            }
        }
        "build" => {
            let root = format!("{}/{}", story.data, story.projects[0]);
            let mut when = story.since;
            out.push(File::dir(&root, 0o755, when));
            let names = ["VERSION", "README", "CHANGES", "AUTHORS"];
            for name in s.sample(&names, 3) {
                when += s.range(0, ((now - when) / 3).max(1));
                let text = match name {
                    "VERSION" => format!("{}.{}.{}\n", s.range(0, 7), s.range(0, 30), s.range(0, 12)),
                    "AUTHORS" => cover.users.iter().map(|u| format!("{}\n", u.full_name)).collect(),
                    _ => (0..s.range(3, 20))
                        .map(|_| format!("{} {}\n", coined(&mut s), coined(&mut s)))
                        .collect(),
                };
                out.push(File::text(&format!("{root}/{name}"), 0o644, when, text));
            }
        }
        _ => {}
    }
    out
}

/// How many hosts a bastion's script asks.
fn probed(cover: &Cover, story: &Story) -> usize {
    (1 + cover.stream("probed").below(4) as usize).min(story.hosts.len())
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
    let log = |word: &str, more: &str| format!("echo \"$(date '+%F %T') {word}{more}\" >> {}\n", story.log);
    t += &format!("{w}={}\n{v}=$(date +{})\n", story.data, story.date_format);
    t += &log(story.words.0, "");
    match cover.role.as_str() {
        "backup" => {
            t += &format!(
                "ssh {host} \"pg_dump -U {} {}\" > ${w}/{}-${v}.sql\n",
                story.db_user, story.db_name, story.db_name
            );
            t += &format!("find ${w} -name '*.sql' -mtime +{} -delete\n", story.keep - 1);
        }
        "build" => {
            let p = &story.projects[0];
            t += &format!(
                "cd ${w}\ntar czf {p}-${v}.tar.gz {p}\nscp -q {p}-${v}.tar.gz {host}:/srv/{}/\nrm {p}-${v}.tar.gz\n",
                story.projects[1]
            );
        }
        _ => {
            for i in 0..probed(cover, story) {
                let h = story.host(i);
                t += &format!(
                    "ssh -o BatchMode=yes {h} uptime > ${w}/{h} || echo {h}: failed >> {}\n",
                    story.log
                );
            }
        }
    }
    t + &log(story.words.1, &format!(" $(du -sk ${w} | cut -f1)"))
}
