//! When which package got which version: taken from the changelogs that the image's packages bring, and the administrator's habits.

use crate::clock::days_from_civil;
use crate::cover::{Cover, Image};
use std::collections::BTreeMap;
use std::io::Read;

/// An installed package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Version in the image.
    pub version: String,
    /// `amd64` or `all`.
    pub arch: String,
    /// `Multi-Arch: same`: dpkg shows the architecture with the name.
    pub same: bool,
    /// Priority is required, important or standard, or it is a dependency of the base system.
    pub base: bool,
}

impl Package {
    /// The name as dpkg prints it to people.
    pub fn shown(&self) -> String {
        if self.same {
            format!("{}:{}", self.name, self.arch)
        } else {
            self.name.clone()
        }
    }
}

/// One package that a run changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The package.
    pub package: Package,
    /// Version before; None if it was installed.
    pub old: Option<String>,
    /// Version after.
    pub new: String,
}

/// One run of apt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// When it began.
    pub start: i64,
    /// When it ended.
    pub end: i64,
    /// Command line.
    pub command: String,
    /// Who called it by sudo: index into the cover's users. None for the installer and timers.
    pub by: Option<usize>,
    /// What it changed, in order.
    pub changes: Vec<Change>,
}

/// True if a package is installed.
pub fn has(image: &dyn Image, name: &str) -> bool {
    image.packages().iter().any(|p| p.0 == name)
}

/// All packages, from dpkg's status file where it can be read.
pub fn packages(image: &dyn Image) -> Vec<Package> {
    let status = image.read("/var/lib/dpkg/status").unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let mut out = Vec::new();
    for stanza in status.split("\n\n") {
        let mut p = Package::default();
        for line in stanza.lines() {
            match line.split_once(": ") {
                Some(("Package", v)) => p.name = v.into(),
                Some(("Version", v)) => p.version = v.into(),
                Some(("Architecture", v)) => p.arch = v.into(),
                Some(("Multi-Arch", v)) => p.same = v == "same",
                Some(("Priority", v)) => p.base = matches!(v, "required" | "important" | "standard"),
                _ => {}
            }
        }
        if !p.name.is_empty() && !p.version.is_empty() {
            out.push(p);
        }
    }
    if out.is_empty() {
        out = image
            .packages()
            .into_iter()
            .map(|(name, version)| Package {
                name,
                version,
                arch: "amd64".into(),
                ..Package::default()
            })
            .collect();
    }
    out
}

/// Seconds since the epoch of a changelog's date: `Mon, 27 Apr 2026 22:14:33 +0200`.
fn date(text: &str) -> Option<i64> {
    let mut f = text.split_whitespace().skip(1);
    let day: u32 = f.next()?.parse().ok()?;
    let month = f.next()?;
    let month = crate::clock::MONTHS.iter().position(|m| *m == month)? as u32 + 1;
    let year: i64 = f.next()?.parse().ok()?;
    let mut t = f.next()?.split(':').map(|x| x.parse::<i64>().ok());
    let (h, m, s) = (t.next()??, t.next()??, t.next()??);
    let zone: i64 = f.next()?.parse().ok()?;
    let offset = (zone / 100 * 60 + zone % 100) * 60;
    Some(days_from_civil(year, month, day) * 86_400 + h * 3600 + m * 60 + s - offset)
}

/// Versions of a Debian 12 package with the moment from which apt offered them, oldest first.
///
/// An upload to bookworm-security is there the next day; one to bookworm comes with the next point release, weeks later.
pub fn versions(image: &dyn Image, package: &Package) -> Vec<(String, i64)> {
    let path = format!("/usr/share/doc/{}/changelog.Debian.gz", package.name);
    let Some(packed) = image.read(&path) else {
        return Vec::new();
    };
    let mut text = Vec::new();
    let _ = flate2::read::GzDecoder::new(&packed[..])
        .take(48 << 10)
        .read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    let mut out: Vec<(String, i64)> = Vec::new();
    let mut head: Option<(String, bool)> = None;
    for line in text.lines() {
        if let Some(d) = line.strip_prefix(" -- ") {
            if let (Some((version, security)), Some(at)) = (head.take(), d.split("  ").nth(1).and_then(date))
            {
                let stable = version.contains("deb12u");
                out.push((version, at + if security { 86_400 } else { 30 * 86_400 }));
                if !stable || out.len() > 12 {
                    break;
                }
            }
        } else if line.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && let Some((_, rest)) = line.split_once(" (")
            && let Some((version, rest)) = rest.split_once(')')
        {
            head = Some((version.into(), rest.contains("-security")));
        }
    }
    out.reverse();
    // The binary's version may have an epoch or a rebuild's suffix that the source has not.
    let Some(top) = out.last().map(|l| l.0.clone()) else {
        return Vec::new();
    };
    let Some(at) = package.version.find(&top) else {
        return Vec::new();
    };
    let prefix = package.version[..at].to_string();
    for v in &mut out {
        v.0.insert_str(0, &prefix);
    }
    if let Some(l) = out.last_mut() {
        l.0 = package.version.clone();
    }
    out
}

/// The installation and every run since, oldest first.
pub fn draw(cover: &Cover, image: &dyn Image, now: i64) -> Vec<Run> {
    let mut s = cover.stream("upgrades");
    let all = packages(image);
    let (installed, made) = (cover.host.installed, cover.made());
    let mut history: BTreeMap<String, Vec<(String, i64)>> = BTreeMap::new();
    let mut newest = installed + 86_400;
    for p in all.iter().filter(|p| p.version.contains("deb12u")) {
        let mut v = versions(image, p);
        if let Some(l) = v.last_mut() {
            // What is in the image was offered before the cover was made.
            l.1 = l.1.min(made - 2 * 86_400);
        }
        if v.len() > 1 {
            newest = newest.max(v.last().map_or(0, |l| l.1));
            history.insert(p.name.clone(), v);
        }
    }
    let at = |history: &BTreeMap<String, Vec<(String, i64)>>, p: &Package, t: i64| -> String {
        match history.get(&p.name) {
            Some(v) => v
                .iter()
                .rev()
                .find(|e| e.1 <= t)
                .or(v.first())
                .map_or_else(|| p.version.clone(), |e| e.0.clone()),
            None => p.version.clone(),
        }
    };
    let mut have: BTreeMap<String, String> = all
        .iter()
        .map(|p| (p.name.clone(), at(&history, p, installed)))
        .collect();
    let mut runs = Vec::new();
    // The packages that the administrator added by hand after the installer had gone.
    let extra: Vec<&Package> = all
        .iter()
        .filter(|p| !p.base && !p.name.starts_with("lib") && !p.name.contains("openssh"))
        .collect();
    let wanted = s.range(4, 9) as usize;
    let later: Vec<&Package> = s.sample(&extra, wanted);
    let first: Vec<Change> = all
        .iter()
        .filter(|p| !later.contains(p))
        .map(|p| Change {
            new: have[&p.name].clone(),
            package: p.clone(),
            old: None,
        })
        .collect();
    runs.push(Run {
        start: installed - s.range(420, 900),
        end: installed - 40,
        command: String::new(),
        by: None,
        changes: first,
    });
    if !later.is_empty() {
        let start = installed + s.range(900, 7200);
        let names: Vec<&str> = later.iter().map(|p| p.name.as_str()).collect();
        runs.push(Run {
            start,
            end: start + s.range(6, 25),
            command: format!(
                "{} install {}{}",
                s.pick(&["apt", "apt-get"]),
                if s.chance(30) { "-y " } else { "" },
                names.join(" ")
            ),
            by: Some(0),
            changes: later
                .iter()
                .map(|p| Change {
                    new: have[&p.name].clone(),
                    package: (*p).clone(),
                    old: None,
                })
                .collect(),
        });
    }
    // The administrator's rhythm in days, and the command of his habit.
    let rhythm = *s.pick(&[7i64, 10, 14, 14, 21, 30]);
    let command = (*s.pick(&[
        "apt upgrade",
        "apt-get upgrade",
        "apt upgrade -y",
        "apt-get -y upgrade",
        "apt full-upgrade",
        "apt-get dist-upgrade",
    ]))
    .to_string();
    let sudoers: Vec<usize> = (0..cover.users.len()).filter(|i| cover.users[*i].sudo).collect();
    let last = (newest + 86_400)
        .max(made - rhythm * 86_400 + s.range(0, 5) * 86_400)
        .min(made - 20_000);
    let mut t = installed + s.range(2, 12) * 86_400;
    loop {
        let final_run = t + rhythm * 86_400 / 2 >= last;
        let start = if final_run {
            last
        } else {
            crate::cover::work_hours(t, &cover.host.zone, &mut s).max(installed + 90_000)
        };
        if start > now {
            break;
        }
        let mut changes = Vec::new();
        for p in &all {
            let new = if final_run {
                p.version.clone()
            } else {
                at(&history, p, start)
            };
            if new != have[&p.name] {
                changes.push(Change {
                    package: p.clone(),
                    old: have.insert(p.name.clone(), new.clone()),
                    new,
                });
            }
        }
        if !changes.is_empty() {
            let by = sudoers
                .iter()
                .copied()
                .filter(|i| cover.users[*i].since + 86_400 < start)
                .nth(usize::from(s.chance(20)))
                .unwrap_or(0);
            runs.push(Run {
                start,
                end: start + 4 + changes.len() as i64 / 2 + s.range(0, 6),
                command: command.clone(),
                by: Some(by),
                changes,
            });
        }
        if final_run {
            break;
        }
        t += (rhythm + s.range(-2, 4)) * 86_400;
    }
    runs
}

#[cfg(test)]
mod tests {
    #[test]
    fn changelog_dates_read() {
        assert_eq!(
            super::date("Mon, 27 Apr 2026 22:14:33 +0200"),
            Some(1_777_320_873)
        );
        assert_eq!(super::date("nonsense"), None);
    }
}
