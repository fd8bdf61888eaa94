//! A whole cover: determinism, times, references, family likeness and known tells.

use std::collections::HashSet;
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
        kernel: None,
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
                f.mtime >= c.host.installed - 1_200,
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

#[test]
fn known_tells_are_absent() {
    // From the public record: defaults of Kippo, Cowrie, Kojoney and of the machines that their users run them on.
    let tells = [
        "svr03",
        "svr04",
        "nas3",
        "phil:",
        "/home/phil/",
        "richard:",
        "/home/richard/",
        "00:00:00:00:00:00",
        "00:4c:a8:ab:32:f4",
        "4054744 kB",
        "E8200",
        "3.2.0-4-amd64",
        "3.2.68-1",
        "2.6.26-2-686",
        "deb7u",
        "OpenSSH_5.1p1",
        "OpenSSH_6.0p1",
        "honeypot",
        "cowrie",
        "kippo",
        "dionaea",
        "/opt/tpot",
    ];
    let stock = [
        "phil", "richard", "admin", "test", "guest", "pi", "ubuntu", "debian", "vagrant", "user",
    ];
    let hosts = [
        "localhost",
        "ubuntu",
        "debian",
        "server",
        "vps",
        "raspberrypi",
        "web01",
    ];
    for i in 0..40 {
        let c = cover(i, 5);
        assert!(!tells.contains(&c.host.name.as_str()) && !hosts.contains(&c.host.name.as_str()));
        for u in &c.users {
            assert!(!stock.contains(&u.name.as_str()), "{i} {}", u.name);
        }
        assert!(!c.hardware.processor.name.contains("E8200"));
        // What Cowrie and Kippo say in /proc/meminfo and df, KiB.
        assert!(![4_054_744, 2_059_992, 1_034_080].contains(&c.hardware.mem_total_kib));
        assert!(!c.hardware.disks.iter().any(|d| d.bytes >> 10 == 19_478_204));
        // Prefixes of VirtualBox, of documentation, of Cowrie's own interface.
        let mac: Vec<String> = c.network.mac.iter().map(|b| format!("{b:02x}")).collect();
        for prefix in [
            "08:00:27", "0a:00:27", "00:4c:a8", "00:00:5e", "00:00:00", "aa:bb:cc", "de:ad:be",
        ] {
            assert!(!mac.join(":").starts_with(prefix), "{i} {prefix}");
        }
        for f in c.files(&Host) {
            let text = String::from_utf8_lossy(bytes(&f));
            for t in tells {
                assert!(!text.contains(t) && !f.path.contains(t), "{i} {} {t}", f.path);
            }
        }
    }
}

/// A role that is in no file of the crate: data that names generators is all that it takes.
const WIKI: &str = r#"
title = "wiki server"
host_names = ["wiki", "docs", "pages"]
neighbours = ["db", "web", "mail", "files", "app", "git", "ldap", "mon"]
cores = [2]
memory_mib = [2048]
disk_gib = [40]
users = [2, 3]
services = ["ssh", "cron", "dbus"]
bait = ["db-dump", "env-file", "vault-password", "ssh-key"]
job_names = ["index", "render"]
job = "probe"
history = """
ls {data}

less {log}
wc -l {log}
"""
"#;

#[test]
fn a_role_is_a_data_file() {
    let role = turncoat_cover::role::Role::parse(WIKI).expect("a role");
    for i in 0..10u8 {
        let given = Given {
            made: MADE,
            ..Given::default()
        };
        let mut c = Cover::of_role(Seed([i; 32]), &given, "wiki", role.clone()).expect("a cover");
        c.user_hashes.fill("*".into());
        assert_eq!((c.role.as_str(), c.baits().len()), ("wiki", 4));
        let files = c.files(&Host);
        let history = files
            .iter()
            .find(|f| f.path.ends_with("/.bash_history"))
            .expect("a history");
        assert!(bytes(history).len() > 200);
        assert!(
            files
                .iter()
                .any(|f| f.mode == 0o750 && bytes(f).starts_with(b"#!")),
            "no script"
        );
    }
    for (was, is, why) in [
        ("\"probe\"", "\"dance\"", "generator \"dance\""),
        ("\"env-file\"", "\"unicorn\"", "generator \"unicorn\""),
        ("users = [2, 3]", "users = [4, 3]", "users"),
        ("title", "titel", "titel"),
    ] {
        let e = turncoat_cover::role::Role::parse(&WIKI.replace(was, is)).expect_err(why);
        assert!(e.contains(why), "{e}");
    }
}

fn wished(files: &[(&str, &str)], users: &[&str]) -> Result<Cover, String> {
    let wishes = Wishes {
        role: Some("bastion".into()),
        users: users
            .iter()
            .map(|n| turncoat_cover::UserWish {
                name: (*n).into(),
                ..Default::default()
            })
            .collect(),
        files: files
            .iter()
            .map(|(path, owner)| turncoat_cover::FileWish {
                path: (*path).into(),
                content: b"port = 5432\n".to_vec(),
                owner: (*owner).into(),
                mode: 0o640,
            })
            .collect(),
        ..Wishes::default()
    };
    let given = Given {
        made: MADE,
        wishes,
        ..Given::default()
    };
    Cover::new(Seed([7; 32]), &given).map_err(|e| e.to_string())
}

#[test]
fn files_of_the_operator_lie_there_and_contradictions_are_refused() {
    let mut c = wished(
        &[("/opt/app/app.conf", "deploy"), ("/etc/app.conf", "root")],
        &["deploy"],
    )
    .expect("a cover");
    c.user_hashes.fill("*".into());
    let files = c.files(&Host);
    let f = files
        .iter()
        .find(|f| f.path == "/opt/app/app.conf")
        .expect("the file");
    let deploy = c.users.iter().find(|u| u.name == "deploy").expect("the account");
    assert_eq!(
        (f.uid, f.mode, bytes(f)),
        (deploy.uid, 0o640, &b"port = 5432\n"[..])
    );
    assert!(f.mtime >= deploy.since && f.mtime <= MADE);
    let bait = c.baits()[0].path.clone();
    for (files, users, why) in [
        (
            &[("/etc/hostname", "root")][..],
            &[][..],
            "/etc/hostname would contradict",
        ),
        (&[("/etc/ssh/sshd_config", "root")], &[], "/etc/ssh/ is written"),
        (&[("/boot", "root")], &[], "would contradict"),
        (&[("/var/backups/dpkg.status.0", "root")], &[], "would contradict"),
        (&[("/opt/x", "nobody1")], &[], "no account \"nobody1\""),
        (&[("/opt/../etc/x", "root")], &[], "shortest form"),
        (&[("/opt/x", "root"), ("/opt/x", "root")], &[], "named twice"),
        (&[("/opt/x", "root"), ("/opt/x/y", "root")], &[], "lies below"),
        (&[("/home/deploy", "root")], &["deploy"], "homes"),
        (&[(bait.as_str(), "root")], &["deploy"], "bait"),
        (&[], &["www-data"], "every Debian has"),
        (&[], &["a", "a"], "named twice"),
        (&[], &["Bad"], "not a valid name"),
    ] {
        let e = wished(files, users).expect_err(why);
        assert!(e.contains(why), "{e} has no {why:?}");
    }
}

/// The image of a machine with a kernel package.
struct WithKernel;

impl Image for WithKernel {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        if path == "/var/lib/dpkg/status" {
            let mut text = Host.read(path)?;
            let k = kernel();
            text.extend(
                format!(
                    "\nPackage: linux-image-amd64\nVersion: {0}\nArchitecture: amd64\n\nPackage: linux-image-{1}\nVersion: {0}\nArchitecture: amd64\n",
                    k.package, k.release
                )
                .bytes(),
            );
            return Some(text);
        }
        Host.read(path)
    }
    fn packages(&self) -> Vec<(String, String)> {
        let k = kernel();
        let mut all = Host.packages();
        all.push(("linux-image-amd64".into(), k.package.clone()));
        all.push((format!("linux-image-{}", k.release), k.package));
        all
    }
}

fn kernel() -> turncoat_cover::kernels::Kernel {
    turncoat_cover::kernels::newest_at(MADE - 20 * 86_400)
}

#[test]
fn the_images_kernel_was_installed_before_it_was_booted_and_old_ones_are_gone() {
    for i in 0..40u8 {
        let given = Given {
            made: MADE,
            kernel: Some(kernel()),
            ..Given::default()
        };
        let mut c = Cover::new(Seed([i; 32]), &given).expect("a cover");
        c.user_hashes.fill("*".into());
        assert_eq!(c.host.kernel, kernel());
        assert!(c.host.booted > kernel().uploaded && c.host.booted < MADE);
        let runs = turncoat_cover::past::upgrades::draw(&c, &WithKernel, MADE);
        assert!(runs.windows(2).all(|w| w[0].end <= w[1].start), "{i}");
        // What dpkg has in the end, by the runs.
        let mut have = std::collections::BTreeMap::new();
        for r in &runs {
            for ch in &r.changes {
                let before = if ch.new.is_empty() {
                    have.remove(&ch.package.name)
                } else {
                    have.insert(ch.package.name.clone(), ch.new.clone())
                };
                assert_eq!(before, ch.old, "{i} {}", ch.package.name);
            }
        }
        let kernels: Vec<&String> = have.keys().filter(|k| k.starts_with("linux-image-6")).collect();
        assert!(
            kernels.contains(&&format!("linux-image-{}", kernel().release)),
            "{i} {kernels:?}"
        );
        assert!(kernels.len() <= 1, "{i} {kernels:?}");
        let own = format!("linux-image-{}", kernel().release);
        let run = runs
            .iter()
            .find(|r| r.changes.iter().any(|c| c.package.name == own && c.old.is_none()))
            .expect("its installation");
        assert!(run.end < c.host.booted && run.start > kernel().uploaded, "{i}");
        for b in &turncoat_cover::past::Timeline::draw(&c, &runs, MADE).boots {
            let installed = runs.iter().filter(|r| r.end < b.at).flat_map(|r| &r.changes);
            assert!(
                installed
                    .into_iter()
                    .any(|c| c.package.name == format!("linux-image-{}", b.release)),
                "{i} booted {} which was not there",
                b.release
            );
        }
    }
}
