//! Ways in that an intruder leaves in his world, with the real programs that leave them: keys, passwords, users.

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::ssh::{directory, run, ssh, start, text};

const PORT: u16 = 24025;

/// From this source, with a password.
fn login(from: &str, user: &str, password: &str, command: &str) -> Output {
    let inner = ssh(PORT, user, "127.0.0.1", password, false, &[command]);
    let mut c = Command::new(inner.get_program());
    let args: Vec<_> = inner.get_args().collect();
    // timeout 60 sshpass -p password ssh ...
    c.args(&args[..5]).args(["-b", from]).args(&args[5..]);
    c.stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    run(c, "")
}

/// From this source, with a key.
fn login_with_key(from: &str, user: &str, key: &Path, command: &str) -> Output {
    let mut c = Command::new("timeout");
    c.args([
        "60",
        "ssh",
        "-F",
        "none",
        "-b",
        from,
        "-o",
        "StrictHostKeyChecking=no",
    ])
    .args(["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"])
    .args([
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "PasswordAuthentication=no",
        "-T",
        "-i",
    ])
    .arg(key)
    .args(["-p", &PORT.to_string(), &format!("{user}@127.0.0.1"), command])
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .stderr(Stdio::piped());
    run(c, "")
}

fn said(o: &Output) -> String {
    assert!(o.status.success(), "{} {}", text(&o.stdout), text(&o.stderr));
    text(&o.stdout)
}

#[test]
fn what_an_intruder_leaves_lets_him_in() {
    let dir = directory("planted");
    let key = dir.join("key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status()
        .expect("ssh-keygen (package openssh-client) is needed");
    assert!(made.success());
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    let public = public.trim();
    let mut r = start(&dir, &format!("127.0.0.1:{PORT}"), &[]);

    // The password that was accepted is the machine's: su asks for it, as an ordinary user, and knows it from a wrong one.
    let su = |password: &str| {
        let command = format!("echo {password} | su -s /bin/sh nobody -c 'su root -c \"id -u\"'");
        text(&login("127.0.0.9", "root", "letmein", &command).stdout)
    };
    assert_eq!(su("letmein"), "0\n");
    assert_eq!(su("wrong"), "");

    // A key and a mark, a password, a user with one.
    let first = "127.0.0.1";
    assert!(!login_with_key(first, "root", &key, "id").status.success());
    said(&login(
        first,
        "root",
        "letmein",
        &format!(
            "umask 077; mkdir -p .ssh && echo '{public}' >> .ssh/authorized_keys && touch mark \
             && useradd -m -s /bin/bash bob && echo bob:of-his-own | chpasswd"
        ),
    ));
    assert_eq!(said(&login_with_key(first, "root", &key, "ls mark")), "mark\n");
    assert_eq!(
        said(&login(first, "bob", "of-his-own", "id -un; pwd")),
        "bob\n/home/bob\n"
    );
    assert!(!login(first, "bob", "other", "id").status.success());
    // The password as the real passwd changes it; then the old one is refused, as the machine would.
    said(&login(
        first,
        "root",
        "letmein",
        "printf 'taken\\ntaken\\n' | passwd",
    ));
    assert!(!login(first, "root", "letmein", "id").status.success());
    assert_eq!(said(&login(first, "root", "taken", "ls mark")), "mark\n");

    // From elsewhere: the one world that holds what he brings.
    assert_eq!(
        said(&login_with_key("127.0.0.2", "root", &key, "ls mark")),
        "mark\n"
    );
    assert_eq!(said(&login("127.0.0.3", "root", "taken", "ls mark")), "mark\n");
    assert_eq!(said(&login("127.0.0.3", "bob", "of-his-own", "id -un")), "bob\n");
    assert!(!login("127.0.0.3", "bob", "guess", "id").status.success());
    // Who knows nothing of it has a world of his own.
    assert_eq!(
        said(&login(
            "127.0.0.4",
            "root",
            "letmein",
            "ls mark 2>&1 | wc -l; id bob 2>&1 | grep -c no"
        )),
        "1\n1\n"
    );

    // A file that others may write is not trusted, and again when they may not.
    said(&login(first, "root", "taken", "chmod 666 .ssh/authorized_keys"));
    assert!(!login_with_key(first, "root", &key, "id").status.success());
    said(&login(first, "root", "taken", "chmod 600 .ssh/authorized_keys"));
    said(&login_with_key(first, "root", &key, "true"));

    // A key that stands in two worlds says nothing of whose it is: a fresh one opens, and has it.
    said(&login(
        "127.0.0.4",
        "root",
        "letmein",
        &format!("umask 077; mkdir -p .ssh && echo '{public}' >> .ssh/authorized_keys"),
    ));
    let shown = said(&login_with_key(
        "127.0.0.5",
        "root",
        &key,
        "ls mark; cut -d' ' -f1,2 .ssh/authorized_keys; true",
    ));
    let (kind, blob) = public.split_once(' ').unwrap();
    let blob = blob.split(' ').next().unwrap();
    assert!(
        shown.ends_with(&format!("{kind} {blob}\n")) && !shown.starts_with("mark"),
        "{shown}"
    );

    // A line that forces a command forces it.
    said(&login(
        first,
        "root",
        "taken",
        &format!(
            "echo 'command=\"echo forced $SSH_ORIGINAL_COMMAND\",no-pty {public}' > .ssh/authorized_keys"
        ),
    ));
    assert_eq!(
        said(&login_with_key(first, "root", &key, "id -u")),
        "forced id -u\n"
    );

    // Each match is a link, to the session that left it; what was done to the accounts is on record.
    let links = text(&r.command(&["events", "--kind", "session.link", "--json"]).stdout);
    let links: Vec<serde_json::Value> = links.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(
        links
            .iter()
            .all(|l| l["other_world"].is_string() && l["other"].is_string()),
        "{links:?}"
    );
    for reason in ["key", "credential"] {
        assert!(links.iter().any(|l| l["reason"] == reason), "{reason}: {links:?}");
    }
    let changed = text(&r.command(&["events", "--kind", "user.change", "--json"]).stdout);
    for what in ["\"added\"", "\"password\"", "\"key\""] {
        assert!(changed.contains(what), "{what}: {changed}");
    }
    assert!(r.stop().is_some_and(|code| code == 0));
    let _ = std::fs::remove_dir_all(&dir);
}
