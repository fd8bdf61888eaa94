//! Hostile bytes into every layer, some thousands in the ordinary run; `TURNCOAT_SSH_FUZZ=N` for more. The fuzz targets
//! in `fuzz/` run the same functions under libFuzzer.

use turncoat_ssh::Entropy;
use turncoat_ssh::fuzzing::{Layer, Weak, drive, packet_layer};

fn cases(mut each: impl FnMut(&[u8])) {
    let n: u64 = std::env::var("TURNCOAT_SSH_FUZZ")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(3000);
    for i in 0..n {
        let mut rng = Weak(i.wrapping_mul(0x9e37_79b9));
        let mut head = [0u8; 4];
        rng.fill(&mut head);
        let mut data = vec![0; usize::from(head[0]) * 3];
        rng.fill(&mut data);
        each(&data);
    }
}

/// Packets that look like the real ones: a message number and fields of plausible kinds.
fn plausible(numbers: &[u8], words: &[&str], mut each: impl FnMut(&[u8])) {
    cases(|noise| {
        let mut out = Vec::new();
        for chunk in noise.chunks(12) {
            let mut p = vec![numbers[usize::from(chunk[0]) % numbers.len()]];
            for b in &chunk[1..] {
                match b % 5 {
                    0 => p.extend_from_slice(&[0, 0, 0, b / 80]),
                    1 => p.push(b / 128),
                    2 | 3 => {
                        let w = words[usize::from(*b) / 5 % words.len()];
                        p.extend_from_slice(&(w.len() as u32).to_be_bytes());
                        p.extend_from_slice(w.as_bytes());
                    }
                    _ => p.push(*b),
                }
            }
            p.resize(p.len().next_multiple_of(4), 0);
            p.truncate(1020);
            out.push((p.len() / 4) as u8);
            out.extend(p);
        }
        each(&out);
    });
}

#[test]
fn packets_under_every_cipher() {
    cases(packet_layer);
}

#[test]
fn connections() {
    cases(|d| drive(Layer::Connection, d));
    cases(|d| drive(Layer::Connection, &[b"SSH-2.0-x\r\n", d].concat()));
}

#[test]
fn key_exchange_offers() {
    cases(|d| drive(Layer::KexInit, d));
}

#[test]
fn authentication() {
    let words = [
        "root",
        "ssh-connection",
        "password",
        "none",
        "publickey",
        "keyboard-interactive",
        "ssh-userauth",
        "x",
    ];
    plausible(&[50, 5, 61, 7, 2, 20], &words, |d| drive(Layer::Userauth, d));
    cases(|d| drive(Layer::Userauth, d));
}

#[test]
fn channels() {
    let words = [
        "session",
        "shell",
        "exec",
        "pty-req",
        "env",
        "LANG",
        "direct-tcpip",
        "tcpip-forward",
        "signal",
        "HUP",
    ];
    plausible(
        &[90, 90, 98, 98, 98, 94, 96, 97, 93, 80, 95, 91, 92, 50],
        &words,
        |d| drive(Layer::Channels, d),
    );
    cases(|d| drive(Layer::Channels, d));
}
