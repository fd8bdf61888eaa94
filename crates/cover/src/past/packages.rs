//! What dpkg and apt logged of the runs: `dpkg.log`, `apt/history.log`, `apt/term.log` (forms: dpkg 1.21, apt 2.6).

use super::rotate::{Log, MONTHLY, Rule};
use super::stamps::{configures, span, unpacks};
use super::unattended;
use super::upgrades::{Run, packages};
use crate::cover::{Cover, Image};
use crate::files::File;

/// `dpkg.log`, apt's history and what its programs said.
pub(super) fn logs() -> [Log; 3] {
    let history = Rule {
        delay: false,
        ..MONTHLY
    };
    let term = Rule {
        mode: 0o640,
        gid: 4,
        ..history
    };
    [
        Log::new("/var/log/dpkg.log", MONTHLY),
        Log::new("/var/log/apt/history.log", history),
        Log::new("/var/log/apt/term.log", term),
    ]
}

/// The three logs with their old files.
pub fn files(cover: &Cover, image: &dyn Image, runs: &[Run], now: i64) -> Vec<File> {
    let man = packages(image)
        .into_iter()
        .find(|p| p.name == "man-db")
        .map(|p| p.version);
    let mut dpkg = Vec::new();
    let mut said = std::collections::BTreeMap::new();
    let (mut told, mut term) = (Vec::new(), Vec::new());
    let mut count = 0usize;
    for r in runs {
        count += r.changes.iter().filter(|c| c.old.is_none()).count() * 61;
        dpkg.extend(dpkg_lines(cover, r, man.as_deref()));
        // The installer's log goes to its own place: apt's logs begin with the first run by hand.
        if !r.command.is_empty() {
            told.push((r.end, history_text(cover, r).into_bytes()));
            let text = term_text(cover, r, count, man.as_deref());
            if r.command == unattended::COMMAND {
                said.insert(r.start, text.clone());
            }
            term.push((r.end, text.into_bytes()));
        }
    }
    let mut out = Vec::new();
    for (log, records) in logs().iter().zip([&dpkg, &told, &term]) {
        out.extend(log.files(cover, records, now));
    }
    if unattended::on(image) {
        // apt begins with an empty line, the program ends with one.
        let of = |r: &Run| format!("{}\n", said.get(&r.start).map_or("", |t| t.trim_start()));
        out.extend(unattended::files(cover, runs, now, &of));
    }
    out
}

fn stamp(cover: &Cover, at: i64) -> String {
    let c = cover.host.zone.local(at);
    format!("{} {}", c.date(), c.time())
}

/// apt writes two spaces between date and time.
fn wide(cover: &Cover, at: i64) -> String {
    let c = cover.host.zone.local(at);
    format!("{}  {}", c.date(), c.time())
}

fn dpkg_lines(cover: &Cover, r: &Run, man: Option<&str>) -> Vec<(i64, Vec<u8>)> {
    let mut out = Vec::new();
    let n = r.changes.len().max(1) as i64;
    let span = span(r);
    let mut put =
        |at: i64, text: String| out.push((at, format!("{} {text}\n", stamp(cover, at)).into_bytes()));
    if r.changes.iter().all(|c| c.new.is_empty()) {
        put(r.start + 1, "startup packages remove".into());
        for (i, c) in r.changes.iter().enumerate() {
            let at = r.start + 1 + i as i64 * (span - 1) / n;
            let name = format!("{}:{}", c.package.name, c.package.arch);
            let old = c.old.as_deref().unwrap_or_default();
            put(at, format!("status installed {name} {old}"));
            put(at, format!("remove {name} {old} <none>"));
            for state in ["half-configured", "half-installed", "config-files"] {
                put(at, format!("status {state} {name} {old}"));
            }
            put(at, format!("purge {name} {old} <none>"));
            put(at, format!("status config-files {name} {old}"));
            put(at, format!("status not-installed {name} <none>"));
        }
        put(r.end, "startup packages configure".into());
        return out;
    }
    put(r.start + 1, "startup archives unpack".into());
    for (i, c) in r.changes.iter().enumerate() {
        let at = unpacks(r, i);
        let name = format!("{}:{}", c.package.name, c.package.arch);
        match &c.old {
            Some(old) => {
                put(at, format!("upgrade {name} {old} {}", c.new));
                put(at, format!("status half-configured {name} {old}"));
                put(at, format!("status unpacked {name} {old}"));
                put(at, format!("status half-installed {name} {old}"));
            }
            None => {
                put(at, format!("install {name} <none> {}", c.new));
                put(at, format!("status half-installed {name} {}", c.new));
            }
        }
        put(at, format!("status unpacked {name} {}", c.new));
    }
    put(r.start + 1 + span / 2, "startup packages configure".into());
    for (i, c) in r.changes.iter().enumerate() {
        let at = configures(r, i);
        let name = format!("{}:{}", c.package.name, c.package.arch);
        put(at, format!("configure {name} {} <none>", c.new));
        put(at, format!("status unpacked {name} {}", c.new));
        put(at, format!("status half-configured {name} {}", c.new));
        put(at, format!("status installed {name} {}", c.new));
    }
    if let Some(m) = man.filter(|_| r.changes.iter().all(|c| c.package.name != "man-db")) {
        put(r.end - 1, format!("trigproc man-db:amd64 {m} <none>"));
        put(r.end - 1, format!("status half-configured man-db:amd64 {m}"));
        put(r.end, format!("status installed man-db:amd64 {m}"));
    }
    out
}

fn history_text(cover: &Cover, r: &Run) -> String {
    let mut t = format!(
        "\nStart-Date: {}\nCommandline: {}\n",
        wide(cover, r.start),
        r.command
    );
    if let Some(u) = r.by.and_then(|i| cover.users.get(i)) {
        t += &format!("Requested-By: {} ({})\n", u.name, u.uid);
    }
    // What the command names was wanted; what comes along is automatic.
    let installed: Vec<String> = r
        .changes
        .iter()
        .filter(|c| c.old.is_none())
        .map(|c| {
            let auto = if r.names(c) { "" } else { ", automatic" };
            format!("{}:amd64 ({}{auto})", c.package.name, c.new)
        })
        .collect();
    let purged: Vec<String> = r
        .changes
        .iter()
        .filter(|c| c.new.is_empty())
        .map(|c| {
            format!(
                "{}:amd64 ({})",
                c.package.name,
                c.old.as_deref().unwrap_or_default()
            )
        })
        .collect();
    let upgraded: Vec<String> = r
        .changes
        .iter()
        .filter(|c| !c.new.is_empty())
        .filter_map(|c| {
            Some(format!(
                "{}:amd64 ({}, {})",
                c.package.name,
                c.old.as_ref()?,
                c.new
            ))
        })
        .collect();
    for (title, list) in [("Install", installed), ("Upgrade", upgraded), ("Purge", purged)] {
        if !list.is_empty() {
            t += &format!("{title}: {}\n", list.join(", "));
        }
    }
    t + &format!("End-Date: {}\n", wide(cover, r.end))
}

fn term_text(cover: &Cover, r: &Run, files: usize, man: Option<&str>) -> String {
    let mut t = format!("\nLog started: {}\n", wide(cover, r.start));
    let reading: String = (1..=20)
        .map(|i| format!("(Reading database ... {}%\r", i * 5))
        .collect();
    let database = format!(
        "(Reading database ... \r{reading}(Reading database ... {} files and directories currently installed.)\n",
        13_100 + files
    );
    if r.changes.iter().all(|c| c.new.is_empty()) {
        t += &database;
        for c in &r.changes {
            let old = c.old.as_deref().unwrap_or_default();
            t += &format!("Removing {} ({old}) ...\n", c.package.shown());
        }
        // What is purged is read again once it is removed.
        t += &database;
        for c in &r.changes {
            let old = c.old.as_deref().unwrap_or_default();
            t += &format!(
                "Purging configuration files for {} ({old}) ...\n",
                c.package.shown()
            );
        }
        return t + &format!("Log ended: {}\n", wide(cover, r.end));
    }
    let width = (r.changes.len().max(1) - 1).to_string().len();
    let several = r.changes.len() > 1;
    for (i, c) in r.changes.iter().enumerate() {
        let shown = c.package.shown();
        if c.old.is_none() {
            t += &format!("Selecting previously unselected package {shown}.\n");
        }
        if i == 0 {
            t += &database;
        }
        let number = if several {
            format!("{i:0width$}-")
        } else {
            String::new()
        };
        t += &format!(
            "Preparing to unpack .../{number}{}_{}_{}.deb ...\n",
            c.package.name,
            c.new.replace(':', "%3a"),
            c.package.arch
        );
        t += &match &c.old {
            Some(old) => format!("Unpacking {shown} ({}) over ({old}) ...\n", c.new),
            None => format!("Unpacking {shown} ({}) ...\n", c.new),
        };
    }
    for c in &r.changes {
        t += &format!("Setting up {} ({}) ...\n", c.package.shown(), c.new);
        if c.package.name == "dbus" && c.old.is_some() {
            // Its script (dbus.postinst), where the bus runs.
            t += "A reboot is required to replace the running dbus-daemon.\nPlease reboot the system when convenient.\n";
        }
    }
    if let Some(m) = man {
        t += &format!("Processing triggers for man-db ({m}) ...\n");
    }
    t + &format!("Log ended: {}\n", wide(cover, r.end))
}
