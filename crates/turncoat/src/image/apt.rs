//! Asks the host's own package manager for packages, with a state directory of our own.
//!
//! Sources, keys and proxies are the host's; lists, archives and the (empty) package database are ours, so that no root and
//! no earlier `apt-get update` is needed and nothing on the host changes. apt checks signatures and hashes, resolves
//! dependencies and resumes what was broken off.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{BuildError, Progress, Report};

/// What a usual small Debian server has; libraries come as dependencies.
const DEFAULT_PACKAGES: &str = include_str!("../../data/packages.txt");

/// The names of the default package set.
fn default_packages() -> Vec<String> {
    let lines = DEFAULT_PACKAGES
        .lines()
        .map(|l| l.split('#').next().unwrap_or("").trim());
    lines.filter(|l| !l.is_empty()).map(str::to_owned).collect()
}

/// The packages that these names ask for: `+NAME` adds to the default set, plain names replace it.
pub(super) fn wanted(names: &[String]) -> Vec<String> {
    let (added, plain): (Vec<&String>, Vec<&String>) = names.iter().partition(|n| n.starts_with('+'));
    let mut all: Vec<String> = if plain.is_empty() {
        default_packages()
    } else {
        plain.into_iter().cloned().collect()
    };
    all.extend(added.into_iter().map(|n| n.trim_start_matches('+').to_owned()));
    all
}

struct Apt {
    home: PathBuf,
}

/// The package files for these packages and all they depend on, sorted by name.
pub(super) fn fetch(
    cache: &Path,
    packages: &[String],
    report: Report<'_>,
) -> Result<Vec<PathBuf>, BuildError> {
    let apt = Apt::new(cache)?;
    report(Progress::Stage("updating package lists"));
    apt.run("apt-get", &["update", "-q"], &mut |_| {})?;
    let known = apt.known(packages)?;
    let (have, lack): (Vec<&String>, Vec<&String>) =
        packages.iter().partition(|p| known.contains(p.as_str()));
    for name in lack {
        report(Progress::Note(&format!(
            "this distribution has no package {name}"
        )));
    }
    let mut install = vec!["install", "-y", "-q"];
    install.extend(have.iter().map(|s| s.as_str()));
    let mut uris = install.clone();
    uris.push("--print-uris");
    let mut files: Vec<(String, u64)> = Vec::new();
    apt.run("apt-get", &uris, &mut |line| files.extend(parse_uri(line)))?;
    if files.is_empty() && have.is_empty() {
        return Err(BuildError::Apt(
            "none of the packages is known to this host's sources".into(),
        ));
    }
    report(Progress::Stage("downloading packages"));
    // What is in the cache already is not printed as a URI; the list of what is to be installed is complete.
    let total: u64 = files.iter().map(|(_, size)| size).sum();
    let mut download = install.clone();
    download.extend(["--download-only", "-o", "APT::Status-Fd=1"]);
    apt.run("apt-get", &download, &mut |line| {
        if let Some(rest) = line.strip_prefix("dlstatus:") {
            let mut parts = rest.splitn(3, ':');
            let percent: f64 = parts.nth(1).and_then(|p| p.parse().ok()).unwrap_or(0.0);
            let fraction = percent.clamp(0.0, 100.0) / 100.0;
            let item = parts.next().unwrap_or("").trim();
            let bytes = (total as f64 * fraction) as u64;
            let done = (files.len() as f64 * fraction) as u64;
            report(Progress::Step {
                done,
                total: files.len() as u64,
                bytes,
                total_bytes: total,
                item,
            });
        }
    })?;
    let mut wanted = BTreeSet::new();
    let mut simulate = install.clone();
    simulate.push("-s");
    apt.run("apt-get", &simulate, &mut |line| wanted.extend(parse_inst(line)))?;
    let archives = apt.home.join("cache/archives");
    let mut found = Vec::new();
    for name in wanted {
        let path = archives.join(&name);
        if !path.is_file() {
            return Err(BuildError::Apt(format!("{name} was not downloaded")));
        }
        found.push(path);
    }
    Ok(found)
}

/// `'URI' NAME SIZE HASH`.
fn parse_uri(line: &str) -> Option<(String, u64)> {
    let rest = line.strip_prefix('\'')?;
    let mut parts = rest.split_once("' ")?.1.split(' ');
    Some((parts.next()?.to_owned(), parts.next()?.parse().ok()?))
}

/// `Inst NAME (VERSION ORIGIN [ARCH])` as the name of the file that apt keeps the package in.
fn parse_inst(line: &str) -> Option<String> {
    let rest = line.strip_prefix("Inst ")?;
    let name = rest.split(' ').next()?.split(':').next()?;
    let inside = rest.split_once('(')?.1.split(')').next()?;
    let version = inside.split(' ').next()?;
    let arch = inside.rsplit_once('[')?.1.split(']').next()?;
    // apt escapes what a file name or its own bookkeeping cannot have: QuoteString(Version, "_:").
    let quoted: String = version
        .chars()
        .flat_map(|c| match c {
            ':' => "%3a".chars().collect::<Vec<_>>(),
            '_' => "%5f".chars().collect(),
            c => vec![c],
        })
        .collect();
    Some(format!("{name}_{quoted}_{arch}.deb"))
}

impl Apt {
    fn new(cache: &Path) -> Result<Apt, BuildError> {
        let home = cache.join("apt");
        for dir in ["state/lists/partial", "cache/archives/partial", "log"] {
            let dir = home.join(dir);
            fs::create_dir_all(&dir).map_err(BuildError::io(dir.display().to_string()))?;
        }
        let status = home.join("status");
        fs::write(&status, "").map_err(BuildError::io(status.display().to_string()))?;
        let home = home.canonicalize().map_err(BuildError::io("package cache"))?;
        Ok(Apt { home })
    }

    fn options(&self) -> Vec<String> {
        let home = self.home.display();
        let mut all: Vec<String> = [
            "APT::Architecture=amd64",
            "APT::Architectures::=amd64",
            "APT::Install-Recommends=false",
            "APT::Install-Suggests=false",
            "APT::Sandbox::User=",
            "APT::Get::AllowUnauthenticated=false",
            "Acquire::Languages=none",
            "Acquire::Retries=3",
            "Dpkg::Use-Pty=false",
            "Dir::Etc::parts=apt.conf.d",
            "Dir::Cache::pkgcache=",
            "Dir::Cache::srcpkgcache=",
        ]
        .map(str::to_owned)
        .to_vec();
        all.push(format!("Dir::State={home}/state"));
        all.push(format!("Dir::State::status={home}/status"));
        all.push(format!("Dir::Cache={home}/cache"));
        all.push(format!("Dir::Log={home}/log"));
        all
    }

    /// Runs a command of apt and hands on its lines; what it says on failure becomes the error.
    fn run(&self, program: &str, args: &[&str], line: &mut dyn FnMut(&str)) -> Result<(), BuildError> {
        let mut command = Command::new(program);
        for option in self.options() {
            command.args(["-o", &option]);
        }
        let mut child = command
            .args(args)
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive")
            // The root may be read-only, as in our container.
            .env("TMPDIR", &self.home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| {
                if e.kind() == std::io::ErrorKind::NotFound {
                    BuildError::NoApt
                } else {
                    BuildError::Apt(e.to_string())
                }
            })?;
        let errors = child.stderr.take().map(|err| {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                let _ = err.take(1 << 20).read_to_end(&mut text);
                String::from_utf8_lossy(&text).into_owned()
            })
        });
        if let Some(out) = child.stdout.take() {
            for text in BufReader::new(out).split(b'\n').map_while(Result::ok) {
                line(&String::from_utf8_lossy(&text));
            }
        }
        let status = child.wait().map_err(|e| BuildError::Apt(e.to_string()))?;
        let said = errors.and_then(|t| t.join().ok()).unwrap_or_default();
        if status.success() {
            return Ok(());
        }
        let mut reasons: Vec<&str> = said.lines().filter(|l| l.starts_with("E:")).collect();
        if reasons.is_empty() {
            reasons = said.lines().rev().take(3).collect();
        }
        Err(BuildError::Apt(format!(
            "{} failed: {}",
            args.first().unwrap_or(&""),
            reasons.join("; ")
        )))
    }

    /// Which of these names the sources have.
    fn known(&self, packages: &[String]) -> Result<BTreeSet<String>, BuildError> {
        let mut known = BTreeSet::new();
        self.run("apt-cache", &["pkgnames"], &mut |line| {
            known.insert(line.trim().to_owned());
        })?;
        known.retain(|k| packages.contains(k));
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_as_apt_makes_them() {
        let line = "Inst libcap2 (1:2.66-4+deb12u3+b1 Debian:12.11/stable [amd64]) [libx:amd64 ]";
        assert_eq!(
            parse_inst(line).as_deref(),
            Some("libcap2_1%3a2.66-4+deb12u3+b1_amd64.deb")
        );
        assert_eq!(parse_inst("Conf libcap2 (1 x [amd64])"), None);
        assert_eq!(
            parse_uri("'file:/x/a_1_all.deb' a_1_all.deb 123 SHA256:00"),
            Some(("a_1_all.deb".into(), 123))
        );
    }
}
