//! What a client sees of this server and of Debian's sshd, conversation by conversation.
//!
//! - `golden`: our transcripts against those recorded from sshd (`tests/golden/transcripts.txt`).
//! - `live`: the same scripts (every `n`th; all with `TURNCOAT_SSH_DIFF=all`) and mutated ones against the sshd of this
//!   machine. `TURNCOAT_SSH_DIFF=100000` runs so many mutated ones, `TURNCOAT_SSH_FROM=20000` leaves out as many first. Says so and passes where there is no such sshd.
//! - `TURNCOAT_SSH_RECORD=1 cargo test -p turncoat-ssh --test differential record` writes the golden file anew.
//!
//! Random bytes are masked: cookie, public values, signatures. Compared: every packet's type and contents in order, what
//! is said before keys, and whether the connection stays open or ends with FIN or RST.

mod diff;
mod host;
#[path = "diff/live.rs"]
mod live;
#[path = "diff/scripts/mod.rs"]
mod scripts;

use diff::{Client, Peer, Step};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use turncoat_ssh::*;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/transcripts.txt");

fn data(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))).expect(name)
}

fn user_key() -> Arc<HostKey> {
    Arc::new(HostKey::from_openssh(&data("user_ed25519")).expect("user key"))
}

fn config() -> Arc<ServerConfig> {
    let keys = ["host_rsa", "host_ecdsa", "host_ed25519"]
        .map(|k| Arc::new(HostKey::from_openssh(&data(k)).expect(k)));
    let mut c = ServerConfig::debian12(
        "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10",
        keys.to_vec(),
        Arc::default(),
    );
    c.permit_root_login = PermitRootLogin::Yes;
    Arc::new(c)
}

fn ours(config: &Arc<ServerConfig>, key: &Arc<HostKey>, steps: &[Step]) -> String {
    let mut policy = host::Policy {
        keys: vec![key.fingerprint()],
        ..Default::default()
    };
    policy
        .passwords
        .insert(b"root".to_vec(), b"not a password".to_vec());
    let server = Server::new(Arc::clone(config), host::OsEntropy::new(), Duration::ZERO);
    let peer = Peer::Ours(Box::new(server), host::Host::new(policy), Duration::ZERO);
    Client::new(peer, Duration::ZERO, Arc::clone(key)).run(steps)
}

fn golden() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(GOLDEN).expect("golden transcripts");
    let (mut names, mut out) = (Vec::new(), BTreeMap::new());
    let mut body = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("== ") {
            if !body.is_empty() {
                let body = std::mem::take(&mut body);
                out.extend(names.drain(..).map(|n| (n, body.clone())));
            }
            names.push(name.to_owned());
        } else {
            body += line;
            body.push('\n');
        }
    }
    out.extend(names.drain(..).map(|n| (n, body.clone())));
    out
}

fn difference(name: &str, real: &str, ours: &str) -> Option<String> {
    (real != ours).then(|| format!("== {name}\n-- sshd\n{real}-- ours\n{ours}"))
}

fn report(total: usize, different: Vec<String>) {
    println!("{} of {total} conversations equal", total - different.len());
    let shown: String = different.iter().take(400).cloned().collect();
    if let Ok(path) = std::env::var("TURNCOAT_SSH_REPORT") {
        let _ = std::fs::write(path, &shown);
    }
    let head: String = different.iter().take(5).cloned().collect();
    assert!(
        different.is_empty(),
        "{} of {total} differ\n{head}",
        different.len()
    );
}

#[test]
fn golden_transcripts() {
    let (config, key, golden) = (config(), user_key(), golden());
    let all = scripts::all();
    assert!(all.len() >= 500);
    let different = all
        .iter()
        .filter_map(|(name, steps)| {
            let Some(real) = golden.get(name) else {
                return Some(format!("== {name}: not recorded\n"));
            };
            difference(name, real, &ours(&config, &key, steps))
        })
        .collect();
    report(all.len(), different);
}

#[test]
fn record() {
    if std::env::var_os("TURNCOAT_SSH_RECORD").is_none() {
        return;
    }
    let sshd = live::Sshd::start().expect("sshd of Debian 12");
    let all = scripts::all();
    // Conversations that went alike share one transcript below their names.
    let mut alike: Vec<(String, Vec<&str>)> = Vec::new();
    let each: Vec<&(String, Vec<Step>)> = all.iter().collect();
    let transcripts = live::run_many(&sshd, &each, &user_key(), live::PACES[0]);
    for (t, (name, _)) in transcripts.into_iter().zip(&all) {
        match alike.iter_mut().find(|a| a.0 == t) {
            Some(a) => a.1.push(name),
            None => alike.push((t, vec![name])),
        }
    }
    let text: String = alike
        .into_iter()
        .map(|(t, names)| names.iter().map(|n| format!("== {n}\n")).collect::<String>() + &t)
        .collect();
    std::fs::write(GOLDEN, text).expect("write golden file");
}

#[test]
fn live_sshd() {
    let Some(sshd) = live::Sshd::start() else {
        println!("not compared live: no sshd of OpenSSH 9.2p1 Debian-2+deb12u10 here, or not root");
        return;
    };
    let wish = std::env::var("TURNCOAT_SSH_DIFF").unwrap_or_default();
    let (config, key) = (config(), user_key());
    let mut scripts: Vec<(String, Vec<Step>)> = scripts::all();
    if wish != "all" {
        scripts = scripts.into_iter().step_by(59).collect();
    }
    let mut mutated = live::mutated(wish.parse().unwrap_or(60));
    let from = std::env::var("TURNCOAT_SSH_FROM")
        .ok()
        .and_then(|n| n.parse().ok());
    mutated.drain(..from.unwrap_or(0).min(mutated.len()));
    let mut different = Vec::new();
    let total = scripts.len() + mutated.len();
    let mut done = 0;
    for batch in scripts.chunks(512).chain(mutated.chunks(512)) {
        // A slow machine can cut a real conversation short: a difference counts if it comes again at every pace.
        let mut suspects: Vec<&(String, Vec<Step>)> = batch.iter().collect();
        let mut found = Vec::new();
        for pace in live::PACES {
            let real = live::run_many(&sshd, &suspects, &key, pace);
            found.clear();
            suspects = suspects
                .into_iter()
                .zip(real)
                .filter_map(|(script, real)| {
                    let (name, steps) = script;
                    found.push(difference(name, &real, &ours(&config, &key, steps))?);
                    Some(script)
                })
                .collect();
            if suspects.is_empty() {
                break;
            }
        }
        done += batch.len();
        found.iter().for_each(|f| println!("{f}"));
        different.append(&mut found);
        println!("{done} of {total} conversations, {} differ", different.len());
    }
    report(total, different);
}

/// What comes by the clock, with short times set on both: the end of a login's grace, and questions whether the client is still there.
#[test]
fn clocks_of_the_real_sshd() {
    let Some(sshd) =
        live::Sshd::start_with("LoginGraceTime 2\nClientAliveInterval 1\nClientAliveCountMax 2\n")
    else {
        println!("not compared: no sshd of OpenSSH 9.2 here, or not root");
        return;
    };
    let mut config = ServerConfig::clone(&config());
    config.login_grace_time = Duration::from_secs(2);
    config.client_alive_interval = Duration::from_secs(1);
    config.client_alive_count_max = 2;
    let (config, key) = (Arc::new(config), user_key());
    let ident = || Step::Raw(diff::IDENT.to_vec());
    let kex = || Step::Kex(Box::new(diff::usual()));
    let session = [
        &[90u8, 0, 0, 0, 7][..],
        b"session",
        &[0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 128, 0],
    ]
    .concat();
    let scripts = [
        ("silence", vec![]),
        ("half a line", vec![Step::Raw(b"SSH-2.0-x".to_vec())]),
        ("a version", vec![ident()]),
        ("keys", vec![ident(), kex()]),
        ("a login", vec![ident(), kex(), Step::SignIn]),
        (
            "a channel",
            vec![ident(), kex(), Step::SignIn, Step::Packets(vec![session])],
        ),
    ];
    let (pace, patience) = (Duration::from_millis(250), Duration::from_secs(6));
    let real: Vec<(String, Duration)> = std::thread::scope(|scope| {
        let all: Vec<_> = scripts
            .iter()
            .map(|(_, steps)| {
                let (port, key) = (sshd.port, Arc::clone(&key));
                scope.spawn(move || {
                    let tcp = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connect");
                    Client::new(Peer::Live(tcp), pace, key).run_by_clock(steps, pace, patience)
                })
            })
            .collect();
        all.into_iter().map(|t| t.join().expect("client")).collect()
    });
    for ((name, steps), (real, took)) in scripts.iter().zip(real) {
        let policy = host::Policy {
            keys: vec![key.fingerprint()],
            passwords: [(b"root".to_vec(), b"not a password".to_vec())].into(),
            ..Default::default()
        };
        let server = Server::new(Arc::clone(&config), host::OsEntropy::new(), Duration::ZERO);
        let peer = Peer::Ours(Box::new(server), host::Host::new(policy), Duration::ZERO);
        let (ours, after) = Client::new(peer, pace, Arc::clone(&key)).run_by_clock(steps, pace, patience);
        assert_eq!(real, ours, "{name}");
        assert!(!ours.contains("end Open"), "{name} comes to an end");
        let apart = took.abs_diff(after);
        assert!(
            apart < Duration::from_millis(1500),
            "{name}: {took:?} and {after:?}"
        );
    }
}
