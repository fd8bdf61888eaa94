//! When which package got which version: taken from the changelogs that the image's packages bring, and the administrator's habits.

use super::unattended;
use crate::clock::days_from_civil;
use crate::cover::{Cover, Image};
use crate::kernels::{self, Kernel};
use crate::release::Release;
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
    /// The source package that it is built from.
    pub source: String,
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
    /// Version after; empty if it was purged.
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

impl Run {
    /// Whether the command asks for a package by name: what comes along is automatic.
    pub fn names(&self, c: &Change) -> bool {
        self.command.split(' ').any(|w| w == c.package.name)
    }
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
                Some(("Source", v)) => p.source = v.split(' ').next().unwrap_or(v).into(),
                Some(("Multi-Arch", v)) => p.same = v == "same",
                Some(("Priority", v)) => p.base = matches!(v, "required" | "important" | "standard"),
                _ => {}
            }
        }
        if !p.name.is_empty() && !p.version.is_empty() {
            if p.source.is_empty() {
                p.source.clone_from(&p.name);
            }
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

/// Bytes of a changelog that are looked at, and of its beginning: most packages were not touched since the release.
const LOOKED_AT: usize = 48 << 10;
const GLANCED_AT: usize = 2 << 10;

/// The first `len` bytes of a packed changelog.
fn changelog(image: &dyn Image, path: &str, len: usize) -> Option<String> {
    // Deflate makes nothing longer by more than five bytes in sixteen thousand: this much packed text holds what is read of it.
    let packed = image.head(path, len + 1024)?;
    let mut text = Vec::new();
    // A file that was cut ends in an error; what came before it is in `text`.
    let _ = flate2::read::GzDecoder::new(&packed[..])
        .take(len as u64)
        .read_to_end(&mut text);
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// Uploads that a changelog tells of, the newest first, as far as the last before the release: version, and when apt offered it. An upload to
/// bookworm-security is there the next day; one to bookworm comes with the next point release, weeks later.
fn uploads(text: &str) -> Vec<(String, i64)> {
    let mut out: Vec<(String, i64)> = Vec::new();
    let mut head: Option<(String, bool)> = None;
    for line in text.lines() {
        if let Some(d) = line.strip_prefix(" -- ") {
            if let (Some((version, security)), Some(at)) = (head.take(), d.split("  ").nth(1).and_then(date))
            {
                let stable =
                    version.contains(&Release::current().stable_mark) || at > Release::current().released;
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
    out
}

/// Versions of a Debian package with the moment from which apt offered them, oldest first.
pub fn versions(image: &dyn Image, package: &Package) -> Vec<(String, i64)> {
    let doc = format!("/usr/share/doc/{}", package.name);
    let marked = package.version.contains(&Release::current().stable_mark);
    // What is only built anew is told in a file of its own; what is made for Debian alone has one changelog.
    let rebuilt = changelog(
        image,
        &format!("{doc}/changelog.Debian.{}.gz", package.arch),
        GLANCED_AT,
    );
    let source = |len| {
        changelog(image, &format!("{doc}/changelog.Debian.gz"), len)
            .or_else(|| changelog(image, &format!("{doc}/changelog.gz"), len))
    };
    if !marked && rebuilt.is_none() {
        let last = source(GLANCED_AT).and_then(|text| Some(uploads(&text).first()?.1));
        if last.is_some_and(|at| at <= Release::current().released) {
            return Vec::new();
        }
    }
    let source = source(LOOKED_AT);
    let mut out = rebuilt.as_deref().map(uploads).unwrap_or_default();
    out.extend(uploads(&source.unwrap_or_default()));
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
    for p in &all {
        let mut v = versions(image, p);
        if v.last().is_none_or(|l| l.1 <= Release::current().released) {
            continue;
        }
        if let Some(l) = v.last_mut() {
            // What is in the image was offered before the cover was made.
            l.1 = l.1.min(made - 2 * 86_400);
        }
        if v.len() > 1 {
            newest = newest.max(v.last().map_or(0, |l| l.1));
            history.insert(p.name.clone(), v);
        }
    }
    let unattended = unattended::on(image);
    let kernels = Kernels::of(cover, &all, unattended);
    if let Some(k) = &kernels {
        newest = newest.max(k.run);
        history.insert(k.meta.name.clone(), k.offered());
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
    let mut runs: Vec<Run> = Vec::new();
    // The packages that the administrator added by hand after the installer had gone.
    let extra: Vec<&Package> = all
        .iter()
        .filter(|p| !p.base && !p.name.starts_with("lib") && !p.name.contains("openssh"))
        .filter(|p| !p.name.starts_with("linux-") && !p.name.starts_with("initramfs-"))
        .filter(|p| !unattended || !unattended::needs(&p.name))
        // It calls apt.
        .filter(|p| p.name != "sudo")
        .collect();
    let wanted = s.range(4, 9) as usize;
    let mut later: Vec<&Package> = s.sample(&extra, wanted);
    // What the operator asks for was wanted by the administrator.
    later.extend(extra.iter().copied().filter(|p| cover.wished.contains(&p.name)));
    let mut named = std::collections::BTreeSet::new();
    later.retain(|p| named.insert(p.name.clone()));
    let mut first: Vec<Change> = all
        .iter()
        .filter(|p| !later.contains(p) && kernels.as_ref().is_none_or(|k| k.own.name != p.name))
        .map(|p| Change {
            new: have[&p.name].clone(),
            package: p.clone(),
            old: None,
        })
        .collect();
    if let Some(k) = &kernels {
        first.extend(k.change(&have[&k.meta.name]));
    }
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
    // `apt-get upgrade` installs nothing new, and so no kernel.
    let commands: &[&str] = &[
        "apt upgrade",
        "apt upgrade -y",
        "apt full-upgrade",
        "apt-get dist-upgrade",
        "apt-get upgrade",
        "apt-get -y upgrade",
    ];
    let some = if kernels.is_some() { 4 } else { commands.len() };
    let command = s.pick(&commands[..some]).to_string();
    let sudoers: Vec<usize> = (0..cover.users.len()).filter(|i| cover.users[*i].sudo).collect();
    let last = (newest + 86_400)
        .max(made - rhythm * 86_400 + s.range(0, 5) * 86_400)
        .min(made - 20_000);
    let mut starts = if unattended {
        let end = (made - unattended::LONGEST).min(now);
        unattended::mornings(cover, installed + 3600, end)
    } else {
        let mut starts = Vec::new();
        let mut t = installed + s.range(2, 12) * 86_400;
        while t + rhythm * 86_400 / 2 < last {
            starts.push(crate::cover::work_hours(t, &cover.host.zone, &mut s).max(installed + 90_000));
            t += (rhythm + s.range(-2, 4)) * 86_400;
        }
        starts.push(last);
        starts
    };
    // The running kernel came right before the machine was started with it.
    let kernel_run = kernels.as_ref().filter(|k| !k.unattended).map(|k| k.run);
    if let Some(run) = kernel_run {
        starts.retain(|t| (t - run).abs() > 1800);
        starts.push(run);
        starts.sort_unstable();
    }
    let final_start = starts.last().copied();
    for start in starts {
        if start > now {
            break;
        }
        let final_run = Some(start) == final_start;
        let mut changes = Vec::new();
        for p in all
            .iter()
            .filter(|p| kernels.as_ref().is_none_or(|k| k.own.name != p.name))
        {
            let new = if final_run {
                p.version.clone()
            } else {
                at(&history, p, start)
            };
            if new != have[&p.name] {
                if let Some(k) = kernels.as_ref().filter(|k| k.meta.name == p.name) {
                    changes.extend(k.change(&new));
                }
                changes.push(Change {
                    package: p.clone(),
                    old: have.insert(p.name.clone(), new.clone()),
                    new,
                });
            }
        }
        if changes.is_empty() {
            continue;
        }
        if unattended && kernel_run != Some(start) {
            runs.extend(steps(cover, start, changes));
            continue;
        }
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
    if let Some(k) = &kernels {
        k.purges(cover, &mut runs, now);
    }
    runs
}

/// The runs of one morning: unattended-upgrades takes few packages at a time, those of one source together, few before many.
fn steps(cover: &Cover, morning: i64, changes: Vec<Change>) -> Vec<Run> {
    let mut s = cover.stream(&format!("unattended steps {morning}"));
    let mut sets: Vec<Vec<Change>> = Vec::new();
    for c in changes {
        match sets
            .iter_mut()
            .find(|set| set[0].package.source == c.package.source)
        {
            Some(set) => set.push(c),
            None => sets.push(vec![c]),
        }
    }
    sets.sort_by_key(Vec::len);
    let mut at = morning + s.range(9, 30);
    let mut run = |changes: Vec<Change>| {
        // A new kernel's initial RAM disk is made.
        let disk = changes.iter().any(|c| c.old.is_none());
        let start = at;
        let end =
            start + 3 + changes.len() as i64 / 2 + s.range(0, 4) + if disk { s.range(12, 40) } else { 0 };
        at = end + s.range(1, 3);
        Run {
            start,
            end,
            command: unattended::COMMAND.into(),
            by: None,
            changes,
        }
    };
    sets.into_iter().map(&mut run).collect()
}

/// The kernel packages of an image: the metapackage and the one it depends on.
struct Kernels {
    meta: Package,
    own: Package,
    /// All that were published up to the image's.
    known: Vec<Kernel>,
    /// When the image's was installed.
    run: i64,
    /// It was installed by unattended-upgrades.
    unattended: bool,
}

impl Kernels {
    fn of(cover: &Cover, all: &[Package], unattended: bool) -> Option<Kernels> {
        let release = Release::current();
        let running = &cover.host.kernel;
        let own = release.kernel_package(&running.release);
        let own = all.iter().find(|p| p.name == own)?.clone();
        let meta = all.iter().find(|p| p.name == release.kernel_meta)?.clone();
        let mut known = kernels::all();
        known.retain(|k| k.uploaded < running.uploaded);
        known.push(running.clone());
        let by_hand = cover.host.booted - cover.stream("kernel run").range(240, 2400);
        // Unless it was wanted before the first morning on which it was offered.
        let offered = running.uploaded + 86_400;
        let morning = unattended::mornings(cover, offered, offered + 2 * 86_400)
            .first()
            .copied()
            .filter(|at| unattended && at + 3600 < by_hand);
        Some(Kernels {
            meta,
            own,
            known,
            run: morning.unwrap_or(by_hand),
            unattended: morning.is_some(),
        })
    }

    /// Versions of the metapackage with the moment from which apt offered them.
    fn offered(&self) -> Vec<(String, i64)> {
        let mut out: Vec<(String, i64)> = self
            .known
            .iter()
            .map(|k| (k.package.clone(), k.uploaded + 86_400))
            .collect();
        if let Some(l) = out.last_mut() {
            *l = (self.meta.version.clone(), self.run);
        }
        out
    }

    /// The installation of the kernel that this version of the metapackage brings.
    fn change(&self, version: &str) -> Option<Change> {
        let last = self.known.last()?;
        let k = if version == self.meta.version {
            last
        } else {
            self.known.iter().find(|k| k.package == version)?
        };
        Some(Change {
            package: Package {
                name: Release::current().kernel_package(&k.release),
                version: k.package.clone(),
                ..self.own.clone()
            },
            old: None,
            new: k.package.clone(),
        })
    }

    /// Some time after each start with a new kernel the administrator takes the old ones away.
    fn purges(&self, cover: &Cover, runs: &mut Vec<Run>, now: i64) {
        let mut s = cover.stream("kernel purges");
        let name = Release::current().kernel_package("");
        let command = *s.pick(&[
            "apt autoremove --purge",
            "apt-get autoremove --purge",
            "apt-get -y autoremove --purge",
        ]);
        let starts = super::timeline::starts(cover);
        let mut made = Vec::new();
        let mut there: Vec<Change> = Vec::new();
        let mut seen = 0;
        for (i, start) in starts.iter().enumerate() {
            for r in runs.iter().skip(seen).filter(|r| r.end < *start) {
                seen += 1;
                let new = r
                    .changes
                    .iter()
                    .filter(|c| c.old.is_none() && c.package.name != self.meta.name);
                there.extend(
                    new.filter(|c| c.package.name.starts_with(name.trim_end_matches('-')))
                        .cloned(),
                );
            }
            let at = start + s.range(300, 5400);
            let end = at + 3 + 2 * there.len() as i64;
            let next = starts.get(i + 1).copied().unwrap_or(now + 1);
            let clash = runs.iter().any(|r| r.start - 600 < end && at < r.end + 600);
            if i == 0 || there.len() < 2 || end + 60 > next.min(now) || clash && i + 1 < starts.len() {
                continue;
            }
            let stay = there.pop();
            made.push(Run {
                start: at,
                end,
                command: command.into(),
                by: Some(0),
                changes: there
                    .drain(..)
                    .map(|c| Change {
                        old: Some(c.new),
                        new: String::new(),
                        ..c
                    })
                    .collect(),
            });
            there.extend(stay);
        }
        runs.extend(made);
        runs.sort_by_key(|r| r.start);
    }
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
