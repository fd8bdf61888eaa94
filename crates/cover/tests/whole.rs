//! A whole cover: determinism, times, references, family likeness and known tells.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use turncoat_cover::{Content, Cover, File, Given, Image, Kind, Secret, Seed, Wishes};

const MADE: i64 = 1_795_400_000;

/// The host's own files, as far as a Debian has them, with a status of a few packages.
struct Host;

impl Image for Host {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        match path {
            "/etc/shadow" => Some(b"root:*:20370:0:99999:7:::\n".to_vec()),
            "/etc/gshadow" => Some(b"root:*::\nsudo:*::\n".to_vec()),
            "/etc/passwd" => Some(b"root:x:0:0:root:/root:/bin/bash\n".to_vec()),
            "/etc/group" => Some(b"root:x:0:\nsudo:x:27:\nusers:x:100:\n".to_vec()),
            "/var/lib/dpkg/status" => Some(
                b"Package: dash\nVersion: 0.5.12-2\nArchitecture: amd64\n\nPackage: less\nVersion: 590-2.1~deb12u2\nArchitecture: amd64\n".to_vec(),
            ),
            _ if path.starts_with("/etc/skel/") || path == "/etc/logrotate.conf" => std::fs::read(path).ok(),
            _ => None,
        }
    }
    fn packages(&self) -> Vec<(String, String)> {
        vec![
            ("dash".into(), "0.5.12-2".into()),
            ("less".into(), "590-2.1~deb12u2".into()),
        ]
    }
}

fn cover(seed: u8, salt: u8) -> Cover {
    let mut bytes = [seed; 32];
    bytes[31] = salt;
    let given = Given {
        made: MADE,
        receiving: Default::default(),
        wishes: Wishes::default(),
    };
    let mut c = Cover::new(Seed(bytes), &given).expect("a cover");
    // Hashing passwords is slow and has its own test.
    c.user_hashes.fill("*".into());
    c
}

fn bytes(f: &File) -> &[u8] {
    match &f.kind {
        Kind::Regular(Content::Bytes(b)) => b,
        _ => &[],
    }
}

#[test]
fn the_same_seed_gives_the_same_files() {
    for i in 0..6 {
        assert_eq!(cover(i, 0).files(&Host), cover(i, 0).files(&Host));
    }
}

#[test]
fn nothing_is_before_the_installation_or_in_the_future() {
    for i in 0..40 {
        let c = cover(i, 1);
        for f in c.files(&Host) {
            assert!(
                f.mtime >= c.host.installed - 900,
                "{i} {} before installation",
                f.path
            );
            assert!(
                f.mtime <= MADE,
                "{i} {} in the future by {}",
                f.path,
                f.mtime - MADE
            );
            if f.path.ends_with("tmp") {
                for r in bytes(&f).chunks(384) {
                    let at = i64::from(i32::from_le_bytes(r[340..344].try_into().expect("four bytes")));
                    assert!((c.host.installed..=MADE).contains(&at), "{i} {}", f.path);
                }
            }
        }
    }
}

#[test]
fn records_are_in_order_and_paths_are_unique() {
    for i in 0..20 {
        let files = cover(i, 2).files(&Host);
        let paths: HashSet<&str> = files.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(paths.len(), files.len());
        let wtmp = files.iter().find(|f| f.path == "/var/log/wtmp").expect("wtmp");
        let times: Vec<i32> = bytes(wtmp)
            .chunks(384)
            .map(|r| i32::from_le_bytes(r[340..344].try_into().expect("four")))
            .collect();
        assert!(times.windows(2).all(|w| w[0] <= w[1]));
        assert_eq!(bytes(wtmp).len() % 384, 0);
        let dpkg = files
            .iter()
            .find(|f| f.path == "/var/log/dpkg.log")
            .expect("dpkg.log");
        let lines: Vec<String> = String::from_utf8_lossy(bytes(dpkg))
            .lines()
            .map(|l| l[..19].to_string())
            .collect();
        assert!(lines.windows(2).all(|w| w[0] <= w[1]));
    }
}

#[test]
fn what_is_referred_to_exists_and_baits_hold_their_credential() {
    for i in 0..40 {
        let c = cover(i, 3);
        let files = c.files(&Host);
        let at = |p: &str| files.iter().find(|f| f.path == p);
        let cron: String = files
            .iter()
            .filter(|f| f.path.starts_with("/etc/cron.d/") || f.path.starts_with("/var/spool/cron"))
            .map(|f| String::from_utf8_lossy(bytes(f)).into_owned())
            .collect();
        let job = cron
            .split_whitespace()
            .find(|w| w.starts_with('/') && *w != "/bin/sh" && !w.contains('='))
            .expect("a job");
        assert!(at(job).is_some_and(|f| f.mode & 0o100 != 0), "{i} {job}");
        let baits = c.baits();
        assert!(baits.len() >= 4, "{i} {}", c.role);
        for b in &baits {
            let f = at(&b.path).unwrap_or_else(|| panic!("{i} {}", b.path));
            assert_eq!(f.bait.as_deref(), Some(b.id.as_str()));
            let text = String::from_utf8_lossy(bytes(f)).into_owned();
            for k in &b.credentials {
                match &k.secret {
                    Secret::Password(p) | Secret::Token(p) => {
                        assert!(text.contains(p.as_str()), "{i} {}", b.path)
                    }
                    Secret::Key(p) => {
                        assert!(p.starts_with("SHA256:") && text.contains("OPENSSH PRIVATE KEY"))
                    }
                }
            }
        }
    }
}

/// What any two Debian machines of this kind share; the reason stands beside it.
const COMMON: &[&str] = &[
    "sudo ", // an administrator's everyday commands
    "PostgreSQL",
    "Dumped ",
    "SET ",
    "-- ",   // pg_dump's own lines
    "-----", // OpenSSH's key files
    "apt",
    "system",
    "b#BlbnNzaC#rZXk", // everyday commands; OpenSSH's key header
    "# Generated by",
    "SELECTED_EDITOR", // select-editor
    "Reading database",
    "Log ",
    "logrotate state",
    "Processing triggers",
    "DO NOT EDIT THIS FILE",
    "(- installed on",
    "(Cron version", // crontab(1)
    "cat /etc/resolv.conf",
    "getent hosts",
    "last | head",
    "ls -la",
    "vi /etc/hosts",
    "cat ~/.netrc",
    "dmesg | tail",
    "ss -tnp",
    "load average:",
    "iface lo inet",
    "source /etc/network",
    "# The ",
];

#[test]
fn two_hundred_installs_share_no_line_that_two_machines_would_not() {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for i in 0..200u8 {
        let mut mine = BTreeSet::new();
        for f in cover(i, 4).files(&Host) {
            if f.path.starts_with("/etc/") && !f.path.contains(".d/")
                || f.path.ends_with("rc")
                || f.path.ends_with(".profile")
                || f.path.ends_with("logout")
                || f.path.contains("/var/log/")
                || f.path.contains("logrotate")
            {
                // Debian's own files, programs' own log lines; names of files are looked at all the same.
            } else if let Ok(text) = std::str::from_utf8(bytes(&f)) {
                mine.extend(text.lines().map(mask));
            }
            if !f.path.starts_with("/etc/") && !f.path.starts_with("/var/") {
                mine.extend(
                    f.path
                        .rsplit('/')
                        .next()
                        .filter(|n| !n.starts_with('.'))
                        .map(mask),
                );
            }
        }
        for m in mine.into_iter().filter(|m| m.len() >= 12) {
            *seen.entry(m).or_default() += 1;
        }
    }
    let shared: Vec<_> = seen
        .iter()
        .filter(|(line, n)| {
            **n > 45
                && !COMMON.iter().any(|c| line.contains(c))
                && !line.starts_with("authorized_keys")
                && !line.starts_with("known_hosts")
        })
        .collect();
    assert!(shared.is_empty(), "{shared:#?}");
}

fn mask(t: &str) -> String {
    t.chars()
        .map(|c| if c.is_ascii_digit() { '#' } else { c })
        .collect()
}

#[test]
fn known_tells_are_absent() {
    // From the public record of Cowrie's and Kippo's defaults.
    let tells = [
        "svr04",
        "nas3",
        "phil:",
        "/home/phil",
        "richard:",
        "00:00:00:00:00:00",
    ];
    for i in 0..40 {
        let c = cover(i, 5);
        assert!(!tells.contains(&c.host.name.as_str()));
        for f in c.files(&Host) {
            let text = String::from_utf8_lossy(bytes(&f));
            for t in tells {
                assert!(!text.contains(t), "{i} {} {t}", f.path);
            }
        }
    }
}
