//! Server CPU for one connection with one refused password (curve25519, Ed25519, chacha20-poly1305), 128 connections
//! open at once: `cargo run --release -p turncoat-ssh --example password_bench [ROUNDS]`. The client's work is not counted.

#[path = "../tests/diff/mod.rs"]
mod diff;
#[path = "../tests/host/mod.rs"]
mod host;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use turncoat_ssh::testing::Put;
use turncoat_ssh::*;

const AT_ONCE: usize = 128;

fn main() {
    let rounds: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(10);
    let key = Arc::new(HostKey::ed25519(&[3; 32]));
    let config = Arc::new(ServerConfig::debian12(
        "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10",
        vec![Arc::clone(&key)],
        Arc::default(),
    ));
    let mut service = vec![5];
    service.put_string(b"ssh-userauth");
    let mut password = vec![50];
    password
        .put_string(b"root")
        .put_string(b"ssh-connection")
        .put_string(b"password")
        .put_u8(0)
        .put_string(b"123456");
    let steps = [
        diff::Step::Raw(diff::IDENT.to_vec()),
        diff::Step::Kex(Box::new(diff::lists(
            "curve25519-sha256",
            "ssh-ed25519",
            "chacha20-poly1305@openssh.com",
            "hmac-sha2-256",
        ))),
        diff::Step::Packets(vec![service]),
        diff::Step::Packets(vec![password]),
    ];
    diff::SERVER_NS.store(0, Ordering::Relaxed);
    for _ in 0..rounds {
        let mut clients: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let server = Server::new(Arc::clone(&config), host::OsEntropy::new(), Duration::ZERO);
                let peer = diff::Peer::Ours(
                    Box::new(server),
                    host::Host::new(Default::default()),
                    Duration::ZERO,
                );
                diff::Client::new(peer, Duration::ZERO, Arc::clone(&key))
            })
            .collect();
        for c in &mut clients {
            c.begin();
        }
        for (i, step) in steps.iter().enumerate() {
            for c in &mut clients {
                c.step(i, step);
            }
        }
        let log = clients.pop().map(diff::Client::finish).unwrap_or_default();
        assert!(log.contains("packet 51"), "{log}");
    }
    let each = diff::SERVER_NS.load(Ordering::Relaxed) as f64 / (rounds * AT_ONCE) as f64 / 1e6;
    println!("{each:.3} ms of server time for each connection with one refused password");
}
