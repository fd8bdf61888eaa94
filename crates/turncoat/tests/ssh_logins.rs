//! What a login leaves behind and what stands before it: the accepted password in the hands of sudo, su and passwd, and sshd's bound
//! on connections that have not logged in.

mod common;

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::ssh::{directory, run, ssh, start};
use common::until;
use turncoat_event::Kind;

fn said(port: u16, user: &str, password: &str, command: &str) -> (String, bool) {
    let out = run(ssh(port, user, "127.0.0.1", password, false, &[command]), "");
    let text = [out.stdout, out.stderr].concat();
    (
        String::from_utf8_lossy(&text).trim().to_owned(),
        out.status.success(),
    )
}

#[test]
fn sudo_su_and_passwd_know_the_password_that_was_accepted() {
    let dir = directory("sudo");
    std::fs::write(dir.join("userdb.txt"), "root:x:letmein\nalice:x:wonder-1\n").unwrap();
    let server = start(&dir, "127.0.0.1:0", &[]);
    let port: u16 = server.ssh.rsplit_once(':').unwrap().1.parse().unwrap();
    let alice = |password: &str, command: &str| said(port, "alice", password, command);
    // Behind what is said on standard output comes sudo's lecture, and prompts.
    let (text, done) = alice(
        "wonder-1",
        "id -nG | grep -cw sudo; echo wonder-1 | sudo -S -p '' id -un",
    );
    assert!(done && text.starts_with("1\nroot"), "{text}");
    let (text, done) = alice("wonder-1", "echo wonder-2 | sudo -k -S -p '' id -un");
    assert!(!done && text.contains("1 incorrect password attempt"), "{text}");
    // su wants root's, which the policy has accepted once from here.
    assert_eq!(said(port, "root", "letmein", "id -un"), ("root".into(), true));
    let (text, done) = alice("wonder-1", "echo letmein | su -c 'id -un'");
    assert!(done && text.starts_with("root"), "{text}");
    let (text, done) = alice("wonder-1", "echo wonder-1 | su -c 'id -un'");
    assert!(!done && text.contains("Authentication failure"), "{text}");
    let (text, done) = alice(
        "wonder-1",
        "printf 'wonder-1\\nNew-secret-9\\nNew-secret-9\\n' | passwd",
    );
    assert!(done && text.contains("password updated successfully"), "{text}");
    assert_eq!(alice("New-secret-9", "id -un"), ("alice".into(), true));
    let (text, done) = alice("wonder-1", "id -un");
    assert!(
        !done && !text.contains("alice\n"),
        "the old one is refused: {text}"
    );
    let (text, done) = alice("New-secret-9", "echo New-secret-9 | sudo -S -p '' id -un");
    assert!(done && text.starts_with("root"), "{text}");
}

/// The first bytes that a connection hears, and whether it ends behind them.
fn hears(stream: &mut TcpStream) -> (String, bool) {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut all = Vec::new();
    let mut buffer = [0; 256];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (String::from_utf8_lossy(&all).into_owned(), true),
            Ok(n) => all.extend_from_slice(&buffer[..n]),
            Err(_) => return (String::from_utf8_lossy(&all).into_owned(), false),
        }
        if all.starts_with(b"SSH-") && all.ends_with(b"\n") {
            return (String::from_utf8_lossy(&all).into_owned(), false);
        }
    }
}

#[test]
fn more_than_max_startups_are_turned_away_as_sshd_does() {
    let server = start(
        &directory("startups"),
        "127.0.0.1:0",
        &[("TURNCOAT_SSH_MAX_STARTUPS", "2:100:2")],
    );
    let port: u16 = server.ssh.rsplit_once(':').unwrap().1.parse().unwrap();
    let connect = |from: [u8; 4]| {
        let stream = common::connect_from(from.into(), &server.ssh);
        stream.set_nodelay(true).unwrap();
        stream
    };
    let mut pending = [connect([127, 0, 0, 1]), connect([127, 0, 0, 1])];
    for p in &mut pending {
        let (line, over) = hears(p);
        assert!(line.starts_with("SSH-2.0-OpenSSH_9.2p1") && !over, "{line}");
    }
    assert_eq!(
        hears(&mut connect([127, 0, 0, 1])),
        ("Exceeded MaxStartups\r\n".into(), true)
    );
    // Another source sees another machine.
    assert!(hears(&mut connect([127, 0, 0, 77])).0.starts_with("SSH-2.0-"));
    drop(pending);
    // Who has logged in counts no more, and the machine says what it does.
    until("the pending ones are gone", || {
        said(port, "root", "letmein", "true").1
    });
    let (text, _) = said(
        port,
        "root",
        "letmein",
        "sshd -T | grep '^maxstartups'; ps ax | grep -o '[l]istener. 0 of .*'",
    );
    assert_eq!(text, "maxstartups 2:100:2\nlistener] 0 of 2-2 startups");
    let hit = |k: &Kind| matches!(k, Kind::LimitHit(l) if l.limit == "ssh.max_startups" && l.value == 2);
    until("it is on record", || server.events().iter().any(|e| hit(&e.kind)));
}

/// Debian's sshd on loopback with a `MaxStartups`.
struct Sshd {
    child: Child,
    dir: PathBuf,
    at: String,
}

impl Sshd {
    /// `None` where it is not there, is another version, or we are not root.
    fn start(max_startups: &str) -> Option<Sshd> {
        let version = Command::new("/usr/sbin/sshd").arg("-V").output().ok()?;
        if !String::from_utf8_lossy(&version.stderr).contains("OpenSSH_9.2") {
            return None;
        }
        std::fs::create_dir_all("/run/sshd").ok()?;
        let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let dir = std::env::temp_dir().join(format!("turncoat-startups-{}", at.port()));
        std::fs::create_dir_all(&dir).unwrap();
        let key = dir.join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .status()
            .unwrap();
        assert!(made.success());
        let config = format!(
            "Port {}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none\nUsePAM no\nMaxStartups {max_startups}\n",
            at.port(),
            key.display()
        );
        std::fs::write(dir.join("config"), config).unwrap();
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-f"])
            .arg(dir.join("config"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let at = at.to_string();
        let sshd = Sshd { child, dir, at };
        until("sshd listens", || TcpStream::connect(&sshd.at).is_ok());
        // Until it has noticed that this one left.
        std::thread::sleep(Duration::from_secs(1));
        Some(sshd)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// What a connection that says nothing hears: that it is let in, or what it is told before it is closed.
fn silent(at: &str) -> Result<TcpStream, String> {
    let mut stream = TcpStream::connect(at).unwrap();
    match hears(&mut stream) {
        (line, false) if line.starts_with("SSH-2.0-OpenSSH_9.2p1") => Ok(stream),
        (line, closed) => Err(format!("{line:?}, closed {closed}")),
    }
}

/// With `3:100:3`, of forty silent connections, and of eight more when one of those that were let in has left.
fn exactly(at: &str) -> Vec<Result<(), String>> {
    let mut held = Vec::new();
    let mut all = Vec::new();
    let mut some = |n: usize, held: &mut Vec<TcpStream>| {
        for _ in 0..n {
            all.push(silent(at).map(|s| held.push(s)));
        }
    };
    some(40, &mut held);
    drop(held.remove(1));
    std::thread::sleep(Duration::from_secs(2));
    some(8, &mut held);
    all
}

/// How many of 300 silent connections are let in, each of which stays.
fn by_chance(at: &str) -> usize {
    let mut held = Vec::new();
    for _ in 0..300 {
        match silent(at) {
            Ok(stream) => held.push(stream),
            Err(said) => assert_eq!(said, "\"Exceeded MaxStartups\\r\\n\", closed true"),
        }
    }
    held.len()
}

#[test]
fn max_startups_meets_silent_connections_as_the_real_sshd_does() {
    let Some(real) = Sshd::start("3:100:3") else {
        eprintln!("not compared: no sshd of OpenSSH 9.2 here, or not root");
        return;
    };
    let dir = directory("startups-3");
    let ours = start(&dir, "127.0.0.1:0", &[("TURNCOAT_SSH_MAX_STARTUPS", "3:100:3")]);
    let seen = exactly(&real.at);
    assert_eq!(seen.iter().filter(|s| s.is_ok()).count(), 4, "{seen:?}");
    assert_eq!(seen, exactly(&ours.ssh));
    drop((real, ours));

    let real = Sshd::start("10:30:100").unwrap();
    let ours = start(&directory("startups-10"), "127.0.0.1:0", &[]);
    let (theirs, ours) = (by_chance(&real.at), by_chance(&ours.ssh));
    // Each is let in with a chance that falls from 70 % at ten to nothing at a hundred: 91 of 300 are, give or take 3.
    println!("of 300: sshd lets in {theirs}, the decoy {ours}");
    for n in [theirs, ours] {
        assert!((76..=100).contains(&n), "sshd {theirs}, ours {ours}");
    }
}
