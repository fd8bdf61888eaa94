//! What an OpenSSH client sees after the login: as `after_login/record.py` recorded it of Debian's sshd.

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

#[test]
fn a_client_sees_what_sshd_shows_after_the_login() {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/after_login");
    let golden = cases(&std::fs::read_to_string(format!("{here}/golden.txt")).unwrap());
    assert!(golden.len() >= 28);
    // Names that have no address are not looked up by the decoy: docs/differences.md.
    let different_by_intent = ["a connection to a name that is none"];
    let wanted: Vec<&str> = golden
        .keys()
        .map(String::as_str)
        .filter(|n| !different_by_intent.contains(n))
        .collect();
    let run = start(&directory("after-login"), "127.0.0.1:0", &[]);
    let port = run.ssh.rsplit_once(':').unwrap().1;
    let out = Command::new("python3")
        .arg(format!("{here}/talk.py"))
        .arg(port)
        .args(&wanted)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let ours = cases(&String::from_utf8_lossy(&out.stdout));
    let different: Vec<String> = wanted
        .iter()
        .filter(|n| golden.get(**n) != ours.get(**n))
        .map(|n| {
            let (real, ours) = (&golden[*n], ours.get(*n).map_or("", |o| o));
            format!("== {n}\n-- sshd\n{real}\n-- ours\n{ours}\n")
        })
        .collect();
    assert!(
        different.is_empty(),
        "{} of {} differ\n{}",
        different.len(),
        wanted.len(),
        different.join("\n")
    );
}
