//! What dpkg and apt have on record of the packages, as it stood after each run of apt: the image knows what is there now, the runs are
//! taken back from that.
//!
//! Forms: dpkg 1.21 (`status`, `alternatives`), apt 2.6 (`extended_states`).

use super::stamps::{configures, unpacks};
use super::upgrades::{Change, Run};
use crate::cover::{Cover, Image};
use crate::release::Release;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Where dpkg has its state.
pub(super) const DPKG: &str = "/var/lib/dpkg";
/// Where apt has what it installed by itself.
pub(super) const EXTENDED: &str = "/var/lib/apt/extended_states";

/// dpkg's paragraph about a package.
struct Stanza {
    name: String,
    version: String,
    text: String,
}

impl Stanza {
    fn of(text: &str) -> Option<Stanza> {
        Some(Stanza {
            name: field(text, "Package")?.to_owned(),
            version: field(text, "Version")?.to_owned(),
            text: text.trim_matches('\n').to_owned() + "\n",
        })
    }

    /// The same of another version. What the package depends on and how large it is stays as it is in the image's.
    fn at(&self, version: &str) -> String {
        if version == self.version {
            return self.text.clone();
        }
        let mut text = self
            .text
            .replace(
                &format!("\nVersion: {}\n", self.version),
                &format!("\nVersion: {version}\n"),
            )
            .replace(&format!("(= {})", self.version), &format!("(= {version})"));
        if let Some(source) = field(&text, "Source").map(str::to_owned)
            && let Some((name, of)) = source.split_once(" (")
            && let Some(older) = source_version(&self.version, of.trim_end_matches(')'), version)
        {
            let now = if older == version {
                name.to_owned()
            } else {
                format!("{name} ({older})")
            };
            text = text.replace(&format!("\nSource: {source}\n"), &format!("\nSource: {now}\n"));
        }
        text
    }
}

/// The value of a one-line field.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|l| l.strip_prefix(name)?.strip_prefix(": "))
}

/// The source's version of which `older` was built, if `binary` was built of `source`: packages that are built anew have `+b1` behind it,
/// those that are signed a `+` for the last `-`.
fn source_version(binary: &str, source: &str, older: &str) -> Option<String> {
    let signed = |v: &str| v.rsplit_once('-').map(|(a, b)| format!("{a}+{b}"));
    if signed(binary).as_deref() == Some(source) {
        return signed(older);
    }
    binary
        .strip_prefix(source)
        .filter(|rest| rest.starts_with("+b"))?;
    let built = older.rsplit_once("+b");
    let built = built.filter(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    Some(built.map_or(older, |(version, _)| version).to_owned())
}

/// Names in a field of relations: alternatives in their groups, without versions and architectures.
fn relations<'a>(text: &'a str, name: &str) -> impl Iterator<Item = Vec<&'a str>> {
    let bare = |p: &'a str| p.trim().split([' ', ':', '(']).next().unwrap_or("");
    field(text, name)
        .unwrap_or("")
        .split(',')
        .map(move |group| group.split('|').map(bare).filter(|n| !n.is_empty()).collect())
}

/// A group of alternatives as update-alternatives(1) keeps it, and which packages write it when they are configured.
struct Group {
    name: String,
    text: String,
    /// Package and its choice.
    choices: Vec<(String, String)>,
}

impl Group {
    /// Without the choices of packages that are not there; None if none is left.
    fn without(&self, absent: &dyn Fn(&str) -> bool) -> Option<String> {
        let gone: Vec<&str> = self
            .choices
            .iter()
            .filter(|(package, _)| absent(package))
            .map(|(_, choice)| choice.as_str())
            .collect();
        if gone.is_empty() {
            return Some(self.text.clone());
        }
        // Mode, link, then names and links of slaves up to an empty line; each choice has its priority and a line for each slave.
        let lines: Vec<&str> = self.text.lines().collect();
        let slaves = lines.get(2..)?.iter().position(|l| l.is_empty())? / 2;
        let (head, rest) = lines.split_at_checked(2 + 2 * slaves + 1)?;
        let left: Vec<&[&str]> = rest
            .chunks(2 + slaves)
            .filter(|c| c.len() == 2 + slaves && !gone.contains(&c[0]))
            .collect();
        if left.is_empty() {
            return None;
        }
        let has = |slave: usize| left.iter().any(|c| !c[2 + slave].is_empty());
        let mut out = format!("{}\n{}\n", head[0], head[1]);
        for n in (0..slaves).filter(|n| has(*n)) {
            let _ = write!(out, "{}\n{}\n", head[2 + 2 * n], head[3 + 2 * n]);
        }
        out += "\n";
        for c in &left {
            let _ = write!(out, "{}\n{}\n", c[0], c[1]);
            for n in (0..slaves).filter(|n| has(*n)) {
                let _ = writeln!(out, "{}", c[2 + n]);
            }
        }
        Some(out + "\n")
    }
}

/// A file of a group of alternatives at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// Name of the file.
    pub name: String,
    /// Its content.
    pub text: Vec<u8>,
    /// When it was written, seconds since the epoch.
    pub written: i64,
}

/// The records after each of some runs.
pub struct Database<'a> {
    runs: &'a [Run],
    stanzas: Vec<Stanza>,
    groups: Vec<Group>,
    /// What apt installed by itself when the machine was, in apt's order.
    automatic: Vec<String>,
    /// `uname -r` of the image's kernel.
    kernel: String,
}

impl<'a> Database<'a> {
    /// That of an image, for the runs that are over, oldest first. None without dpkg's state.
    pub fn of(cover: &Cover, image: &dyn Image, runs: &'a [Run]) -> Option<Database<'a>> {
        let status = image.read(&format!("{DPKG}/status"))?;
        let status = String::from_utf8_lossy(&status);
        let stanzas: Vec<Stanza> = status.split("\n\n").filter_map(Stanza::of).collect();
        if stanzas.is_empty() || runs.is_empty() {
            return None;
        }
        let mut all = Database {
            runs,
            groups: groups(image, runs),
            automatic: Vec::new(),
            stanzas,
            kernel: cover.host.kernel.release.clone(),
        };
        all.automatic = all.installed_by_itself();
        Some(all)
    }

    /// The runs that are over.
    pub fn runs(&self) -> &'a [Run] {
        self.runs
    }

    /// Versions of what was there after the first `n` runs.
    fn versions(&self, n: usize) -> BTreeMap<&str, &str> {
        let mut out = BTreeMap::new();
        for c in self.runs.iter().take(n).flat_map(|r| &r.changes) {
            if c.new.is_empty() {
                out.remove(c.package.name.as_str());
            } else {
                out.insert(c.package.name.as_str(), c.new.as_str());
            }
        }
        out
    }

    /// dpkg's `status` after the first `n` runs.
    pub fn status(&self, n: usize) -> String {
        self.told(n, &|_, text| text)
    }

    /// `status-old` after the first `n` runs, which dpkg puts aside when it writes the new one, and when that was written. It writes one
    /// when all is unpacked, and one when all is configured.
    pub fn status_before(&self, n: usize) -> Option<(String, i64)> {
        let run = self.runs.get(n.checked_sub(1)?)?;
        let changed: BTreeMap<&str, &Change> =
            run.changes.iter().map(|c| (c.package.name.as_str(), c)).collect();
        if run.changes.iter().all(|c| c.new.is_empty()) {
            // What is removed needs no configuration: dpkg writes the same again.
            return Some((self.status(n), run.end));
        }
        let text = self.told(n, &|name, text| match changed.get(name) {
            Some(c) => {
                let text = text.replace("Status: install ok installed\n", "Status: install ok unpacked\n");
                match &c.old {
                    Some(old) => text.replace(
                        &format!("\nVersion: {}\n", c.new),
                        &format!("\nVersion: {}\nConfig-Version: {old}\n", c.new),
                    ),
                    None => text,
                }
            }
            None if name == "man-db" => waiting(&text, "/usr/share/man"),
            None => text,
        });
        let last = run.changes.len().saturating_sub(1);
        Some((text, unpacks(run, last)))
    }

    fn told(&self, n: usize, edit: &dyn Fn(&str, String) -> String) -> String {
        let versions = self.versions(n);
        let mut out = String::new();
        let mut put = |name: &str, text: String| {
            let text = edit(name, text);
            out.push_str(&text);
            out.push('\n');
        };
        let own = Release::current().kernel_package(&self.kernel);
        for s in &self.stanzas {
            if s.name == own {
                // Kernels that are gone by now were built as this one was.
                for (name, version) in &versions {
                    let Some(release) = kernel_of(name).filter(|_| !self.has(name)) else {
                        continue;
                    };
                    put(name, s.at(version).replace(&self.kernel, release));
                }
            }
            let Some(version) = versions.get(s.name.as_str()) else {
                continue;
            };
            let mut text = s.at(version);
            if s.name == Release::current().kernel_meta
                && let Some(release) = self.kernel_at(version)
            {
                text = text.replace(&self.kernel, release);
            }
            put(&s.name, text);
        }
        out
    }

    fn has(&self, name: &str) -> bool {
        self.stanzas.iter().any(|s| s.name == name)
    }

    /// `uname -r` of the kernel whose package has this version.
    fn kernel_at(&self, version: &str) -> Option<&str> {
        let mut all = self.runs.iter().flat_map(|r| &r.changes);
        all.find_map(|c| kernel_of(&c.package.name).filter(|_| c.new == version))
    }

    /// apt's `extended_states` after the first `n` runs, and when it was written: apt does that before it calls dpkg, even where nothing
    /// is new.
    pub fn extended(&self, n: usize) -> Option<(String, i64)> {
        let versions = self.versions(n);
        let first: BTreeSet<&str> = self
            .runs
            .first()
            .into_iter()
            .flat_map(|r| r.changes.iter())
            .map(|c| c.package.name.as_str())
            .collect();
        let known = self
            .automatic
            .iter()
            .map(String::as_str)
            .filter(|name| first.contains(name));
        let mut names: Vec<&str> = known
            .chain(
                first
                    .iter()
                    .copied()
                    .filter(|name| kernel_of(name).is_some() && !self.has(name)),
            )
            .collect();
        names.sort_by_key(|name| bucket(name));
        for r in self.runs.iter().take(n).skip(1) {
            let new = r.changes.iter().filter(|c| c.old.is_none() && !r.names(c));
            names.extend(new.map(|c| c.package.name.as_str()));
        }
        let mut out = String::new();
        for name in names.into_iter().filter(|name| versions.contains_key(name)) {
            let _ = write!(out, "Package: {name}\nArchitecture: amd64\nAuto-Installed: 1\n\n");
        }
        Some((out, self.runs.get(n.checked_sub(1)?)?.start))
    }

    /// What apt brought along when the machine was installed. debootstrap puts the base there package by package; what the installer asks
    /// apt for, and the standard system, is wanted. Nothing is here that `apt autoremove` would take away.
    fn installed_by_itself(&self) -> Vec<String> {
        let by_name: BTreeMap<&str, &Stanza> = self.stanzas.iter().map(|s| (s.name.as_str(), s)).collect();
        let mut provided: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for s in &self.stanzas {
            for name in relations(&s.text, "Provides").flatten() {
                provided.entry(name).or_default().push(&s.name);
            }
        }
        let reached = |from: Vec<&'_ str>, kinds: &[&str]| -> BTreeSet<String> {
            let mut seen: BTreeSet<String> = from.iter().map(|n| (*n).to_owned()).collect();
            let mut next: Vec<String> = seen.iter().cloned().collect();
            while let Some(s) = next.pop().and_then(|n| by_name.get(n.as_str())) {
                for name in kinds.iter().flat_map(|k| relations(&s.text, k)).flatten() {
                    let also = provided.get(name).into_iter().flatten().copied();
                    for name in also.chain([name]).filter(|n| by_name.contains_key(n)) {
                        if seen.insert(name.to_owned()) {
                            next.push(name.to_owned());
                        }
                    }
                }
            }
            seen
        };
        let with = |priorities: &[&str]| -> Vec<&str> {
            let has = |s: &&Stanza| field(&s.text, "Priority").is_some_and(|p| priorities.contains(&p));
            self.stanzas.iter().filter(has).map(|s| s.name.as_str()).collect()
        };
        let needs = ["Pre-Depends", "Depends"];
        let wants = ["Pre-Depends", "Depends", "Recommends"];
        let mut wanted: BTreeSet<String> = reached(with(&["required", "important"]), &needs);
        wanted.extend(with(&["standard"]).into_iter().map(str::to_owned));
        let named = self
            .runs
            .iter()
            .flat_map(|r| r.changes.iter().filter(|c| r.names(c)));
        wanted.extend(named.map(|c| c.package.name.clone()));
        let asked: BTreeSet<&str> = self
            .stanzas
            .iter()
            .flat_map(|s| wants.iter().flat_map(|k| relations(&s.text, k)).flatten())
            .flat_map(|n| provided.get(n).into_iter().flatten().copied().chain([n]))
            .collect();
        let alone = self.stanzas.iter().filter(|s| !asked.contains(s.name.as_str()));
        wanted.extend(alone.map(|s| s.name.clone()));
        let needed = reached(wanted.iter().map(String::as_str).collect(), &wants);
        let mut out: Vec<String> = self
            .stanzas
            .iter()
            .filter(|s| needed.contains(&s.name) && !wanted.contains(&s.name))
            .map(|s| s.name.clone())
            .collect();
        out.sort_by_key(|name| bucket(name));
        out
    }

    /// Whether a run, by its number, changed what apt knows to be automatic.
    pub fn changes_automatic(&self, run: usize) -> bool {
        let Some(r) = self.runs.get(run) else { return false };
        let brought = |c: &Change| c.old.is_none() && !r.names(c);
        run == 0 || r.changes.iter().any(|c| c.new.is_empty() || brought(c))
    }

    /// Whether it wrote groups of alternatives.
    pub fn changes_alternatives(&self, run: usize) -> bool {
        let Some(r) = self.runs.get(run) else { return false };
        let writes = |c: &Change| {
            let mut all = self.groups.iter().flat_map(|g| &g.choices);
            all.any(|(package, _)| *package == c.package.name)
        };
        run == 0 || r.changes.iter().any(writes)
    }

    /// The groups of alternatives after the first `n` runs.
    pub fn alternatives(&self, n: usize) -> Vec<Alternative> {
        let versions = self.versions(n);
        let based = self.runs.first().map_or(0, |r| r.end);
        let mut out = Vec::new();
        for g in &self.groups {
            let Some(text) = g.without(&|package| !versions.contains_key(package)) else {
                continue;
            };
            let mut written = based;
            for r in self.runs.iter().take(n).skip(1) {
                for (i, c) in r.changes.iter().enumerate() {
                    if g.choices.iter().any(|(package, _)| *package == c.package.name) {
                        written = written.max(configures(r, i));
                    }
                }
            }
            out.push(Alternative {
                name: g.name.clone(),
                text: text.into_bytes(),
                written,
            });
        }
        out
    }
}

/// `uname -r` in the name of a kernel's package.
pub(super) fn kernel_of(package: &str) -> Option<&str> {
    let release = Release::current();
    let (before, after) = release.kernel_package.split_once("{release}")?;
    let of = package.strip_prefix(before)?.strip_suffix(after)?;
    (package != release.kernel_meta && of.starts_with(|c: char| c.is_ascii_digit())).then_some(of)
}

/// The paragraph of a package that has a trigger to process. What dpkg itself does not know of it stands behind that.
fn waiting(text: &str, trigger: &str) -> String {
    let mut out = String::new();
    let mut described = false;
    let mut told = false;
    for line in text.lines() {
        if described && !told && !line.starts_with(' ') {
            let _ = writeln!(out, "Triggers-Pending: {trigger}");
            told = true;
        }
        described |= line.starts_with("Description:");
        out.push_str(line);
        out.push('\n');
    }
    if !told {
        let _ = writeln!(out, "Triggers-Pending: {trigger}");
    }
    out.replace(
        "Status: install ok installed\n",
        "Status: install ok triggers-pending\n",
    )
}

/// Where apt's cache has a package (pkgCacheGenerator's hash, with the usual size of its table): it goes through them in this order.
fn bucket(name: &str) -> u32 {
    let hash = |h: u32, b: u8| h.wrapping_mul(33).wrapping_add(b.to_ascii_lowercase().into());
    name.bytes().fold(5_381, hash) % 196_613
}

/// The image's groups of alternatives, with the packages that some run after the installation changed.
fn groups(image: &dyn Image, runs: &[Run]) -> Vec<Group> {
    let dir = format!("{DPKG}/alternatives");
    let mut out: Vec<Group> = image
        .list(&dir)
        .into_iter()
        .filter_map(|name| {
            let text = image.read(&format!("{dir}/{name}"))?;
            Some(Group {
                text: String::from_utf8(text).ok()?,
                name,
                choices: Vec::new(),
            })
        })
        .collect();
    let changed: BTreeMap<&str, &Change> = runs
        .iter()
        .skip(1)
        .flat_map(|r| &r.changes)
        .map(|c| (c.package.name.as_str(), c))
        .collect();
    for (name, c) in changed {
        let about = |kind: &str| {
            image
                .read(&format!("{DPKG}/info/{name}.{kind}"))
                .or_else(|| image.read(&format!("{DPKG}/info/{name}:{}.{kind}", c.package.arch)))
                .map(|b| String::from_utf8_lossy(&b).into_owned())
        };
        if about("postinst").is_none_or(|script| !script.contains("update-alternatives")) {
            continue;
        }
        let list = about("list").unwrap_or_default();
        let has = |choice: &str| {
            let other = choice
                .strip_prefix("/usr")
                .map_or_else(|| format!("/usr{choice}"), str::to_owned);
            list.lines().any(|l| l == choice || l == other)
        };
        for g in &mut out {
            // A choice is the path that stands before its priority.
            let lines = g.text.lines().zip(g.text.lines().skip(1));
            let choices: Vec<String> = lines
                .filter(|(path, priority)| path.starts_with('/') && priority.parse::<i32>().is_ok())
                .filter(|(path, _)| has(path))
                .map(|(path, _)| path.to_owned())
                .collect();
            g.choices
                .extend(choices.into_iter().map(|choice| (name.to_owned(), choice)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_of_another_version_is_one_throughout() {
        let text = "Package: x\nStatus: install ok installed\nSource: y (2.1)\nVersion: 2.1+b3\nDepends: z (= 2.1+b3), q (>= 2.0)\nDescription: a\n b\nHomepage: h\n";
        let s = Stanza::of(text).unwrap();
        assert_eq!(s.at("2.1+b3"), text);
        let old = s.at("2.0");
        assert!(
            old.contains("\nVersion: 2.0\nDepends: z (= 2.0), q (>= 2.0)\n"),
            "{old}"
        );
        assert!(
            old.contains("\nSource: y (2.0)\n") || old.contains("\nSource: y\n"),
            "{old}"
        );
        assert!(s.at("2.0+b1").contains("\nSource: y (2.0)\n"));
        let signed = source_version("6.1.192-2", "6.1.192+2", "6.1.90-1");
        assert_eq!(signed.as_deref(), Some("6.1.90+1"));
        // As dpkg 1.21 wrote it of man-db in the middle of an upgrade.
        assert_eq!(
            waiting(text, "/usr/share/man"),
            text.replace("ok installed", "ok triggers-pending")
                .replace("Homepage", "Triggers-Pending: /usr/share/man\nHomepage")
        );
    }

    #[test]
    fn a_group_of_alternatives_loses_choices_with_their_slaves() {
        let text = "auto\n/usr/bin/pager\npager.1.gz\n/usr/share/man/man1/pager.1.gz\npager.de\n/de\n\n/bin/more\n50\n/more.1.gz\n\n/usr/bin/less\n77\n/less.1.gz\n/less.de\n\n";
        let group = Group {
            name: "pager".into(),
            text: text.into(),
            choices: vec![("less".into(), "/usr/bin/less".into())],
        };
        assert_eq!(group.without(&|_| false).as_deref(), Some(text));
        let left = "auto\n/usr/bin/pager\npager.1.gz\n/usr/share/man/man1/pager.1.gz\n\n/bin/more\n50\n/more.1.gz\n\n";
        assert_eq!(group.without(&|p| p == "less").as_deref(), Some(left));
        let alone = Group {
            name: "nc".into(),
            text: "auto\n/bin/nc\n\n/bin/nc.openbsd\n50\n\n".into(),
            choices: vec![("netcat-openbsd".into(), "/bin/nc.openbsd".into())],
        };
        assert_eq!(alone.without(&|_| true), None);
        for odd in ["", "auto", "auto\n/x", "auto\n/x\na\n\n/y\n"] {
            let g = Group {
                text: odd.into(),
                name: "x".into(),
                choices: vec![("p".into(), "/y".into())],
            };
            let _ = g.without(&|_| true);
        }
    }

    #[test]
    fn packages_lie_in_apts_cache_as_apt_has_them() {
        // Recorded from `apt-mark auto` of apt 2.6.
        let told = "libapt-pkg6.0 libpython3.11-minimal xz-utils less libc6 libssl3 man-db bash vim-tiny libpython3.11-stdlib perl-base nano zlib1g";
        let mut sorted: Vec<&str> = told.split(' ').collect();
        sorted.sort_unstable();
        sorted.sort_by_key(|n| bucket(n));
        assert_eq!(sorted.join(" "), told);
    }
}
