//! What a client sees after the login: as `after_login/record.py` recorded it of Debian's sshd, of OpenSSH's client (`talk.py`),
//! packet by packet (`packets.py`), and in which segments it comes (`segments.py`).

mod common;

use std::collections::BTreeMap;
use std::process::Command;

use common::ssh::{directory, start};

fn cases(text: &str) -> BTreeMap<String, String> {
    text.split("== ")
        .skip(1)
        .map(|part| {
            let (name, body) = part.split_once('\n').unwrap();
            (name.to_owned(), body.trim_end().to_owned())
        })
        .collect()
}

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/after_login");

/// Runs a script of `after_login` against a decoy and compares what it prints with what it printed of sshd. What differs is tried again
/// as often as `tries` says: where time is measured, a busy machine may be too slow.
fn compare(name: &str, script: &str, golden: &str, least: usize, different_by_intent: &[&str], tries: u32) {
    let golden = cases(&std::fs::read_to_string(format!("{HERE}/{golden}")).unwrap());
    assert!(golden.len() >= least);
    let wanted: Vec<&str> = golden
        .keys()
        .map(String::as_str)
        .filter(|n| !different_by_intent.contains(n))
        .collect();
    let dir = directory(name);
    std::fs::write(dir.join("userdb.txt"), "root:x:letmein\nalice:x:letmein\n").unwrap();
    let run = start(&dir, "127.0.0.1:0", &[]);
    let port = run.ssh.rsplit_once(':').unwrap().1;
    let mut wanted = wanted;
    let mut different = Vec::new();
    let asked = wanted.len();
    for _ in 0..tries {
        let out = Command::new("/usr/bin/python3")
            .arg(format!("{HERE}/{script}"))
            .arg(port)
            .args(&wanted)
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let ours = cases(&String::from_utf8_lossy(&out.stdout));
        wanted.retain(|n| golden.get(*n) != ours.get(*n));
        different = wanted
            .iter()
            .map(|n| {
                let (real, ours) = (&golden[*n], ours.get(*n).map_or("", |o| o));
                format!("== {n}\n-- sshd\n{real}\n-- ours\n{ours}\n")
            })
            .collect::<Vec<String>>();
        if different.is_empty() {
            break;
        }
    }
    assert!(
        different.is_empty(),
        "{} of {} differ\n{}",
        different.len(),
        asked,
        different.join("\n")
    );
}

#[test]
fn a_client_sees_what_sshd_shows_after_the_login() {
    // Names that have no address are not looked up by the decoy: docs/differences.md.
    let different_by_intent = ["a connection to a name that is none"];
    compare(
        "after-login",
        "talk.py",
        "golden.txt",
        28,
        &different_by_intent,
        1,
    );
}

#[test]
fn packets_after_the_login_are_answered_as_sshd_answers_them() {
    if !std::path::Path::new("/usr/lib/python3/dist-packages/paramiko/__init__.py").exists() {
        eprintln!("not compared: package python3-paramiko is not installed");
        assert!(
            std::env::var_os("TURNCOAT_ALL_CLIENTS").is_none(),
            "python3-paramiko is needed"
        );
        return;
    }
    compare("packets", "packets.py", "packets.txt", 29, &[], 1);
}

#[test]
fn what_is_said_comes_in_the_segments_in_which_sshd_sends_it() {
    compare("segments", "segments.py", "segments.txt", 9, &[], 3);
}
