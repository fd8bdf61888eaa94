//! What the fuzz targets and the bounded property tests run: hostile bytes into one layer, and the promises that must
//! hold whatever they are.

use crate::packet::{Keys, Read, Transport};
use crate::wire::Put;
use crate::*;
use std::sync::Arc;
use std::time::Duration;

/// A generator good enough for padding and cookies in tests.
#[derive(Debug)]
pub struct Weak(pub u64);

impl Entropy for Weak {
    fn fill(&mut self, buf: &mut [u8]) {
        for b in buf {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *b = (self.0 >> 40) as u8;
        }
    }
}

/// Where the bytes go in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// As a whole connection, from identification on.
    Connection,
    /// The contents of a KEXINIT and a following packet.
    KexInit,
    /// Packets before login.
    Userauth,
    /// Packets after login.
    Channels,
}

/// A configuration with an Ed25519 key.
pub fn config() -> Arc<ServerConfig> {
    static CONFIG: std::sync::OnceLock<Arc<ServerConfig>> = std::sync::OnceLock::new();
    let make = || {
        let key = Arc::new(HostKey::ed25519(&[3; 32]));
        let mut c = ServerConfig::debian12(
            "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10",
            vec![key],
            Arc::default(),
        );
        c.auth.keyboard_interactive = true;
        Arc::new(c)
    };
    Arc::clone(CONFIG.get_or_init(make))
}

/// A packet without cipher, by hand.
pub fn plain(payload: &[u8]) -> Vec<u8> {
    let mut pad = 8 - (payload.len() + 5) % 8;
    if pad < 4 {
        pad += 8;
    }
    let mut out = Vec::new();
    out.put_u32((payload.len() + 1 + pad) as u32).put_u8(pad as u8);
    out.extend_from_slice(payload);
    out.resize(out.len() + pad, 0);
    out
}

/// Cuts bytes into packets: a length byte (times four) before each.
fn packets(mut data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some((n, rest)) = data.split_first() {
        let n = (usize::from(*n) * 4).min(rest.len());
        let (p, tail) = rest.split_at(n);
        out.extend(plain(p));
        data = tail;
    }
    out
}

/// Feeds the bytes, answers what is asked (by the bytes' own whim), and checks: it comes to rest, `Close` is the last
/// act, and what is sent stays within a small multiple of what came in.
pub fn drive(layer: Layer, data: &[u8]) {
    let mut s = Server::new(config(), Weak(data.len() as u64), Duration::ZERO);
    let wire = match layer {
        Layer::Connection => data.to_vec(),
        Layer::KexInit => {
            let (a, b) = data.split_at(data.len() * 3 / 4);
            let mut w = b"SSH-2.0-x\r\n".to_vec();
            w.extend(plain(&[&[20u8][..], a].concat()));
            w.extend(packets(b));
            w
        }
        Layer::Userauth | Layer::Channels => {
            s.skip_to(layer == Layer::Channels);
            packets(data)
        }
    };
    let whim = data.iter().fold(0u8, |a, b| a.wrapping_mul(31).wrapping_add(*b));
    let mut now = Duration::ZERO;
    s.input(now, &wire);
    let (mut sent, mut acts, mut closed) = (0usize, 0usize, false);
    while let Some(act) = s.poll() {
        assert!(!closed, "nothing follows Close");
        acts += 1;
        now += Duration::from_millis(1);
        let yes = whim.wrapping_add(acts as u8) % 3 != 0;
        match act {
            Act::Send(b) => {
                assert!(!b.is_empty());
                sent += b.len();
            }
            Act::Auth(a) => s.auth_reply(
                now,
                match a.method {
                    AuthMethod::Interactive { .. } if yes => AuthReply::Prompt(Prompt::pam_password()),
                    _ if yes => AuthReply::Accept,
                    _ => AuthReply::Reject,
                },
            ),
            Act::Channel(id, e) if e.wants_answer() => s.request_reply(now, id, yes),
            Act::Channel(id, ChannelEvent::Data(d)) => {
                s.consumed(id, d.len());
                s.channel_data(id, &d);
            }
            Act::Channel(id, ChannelEvent::DirectTcp(_)) if yes => s.open_confirm(id),
            Act::Channel(id, ChannelEvent::DirectTcp(_)) => s.open_fail(id, 2, "Connection refused"),
            Act::Channel(id, ChannelEvent::Eof | ChannelEvent::Hangup) => {
                s.channel_eof(id);
                s.channel_exit_status(id, 0);
            }
            Act::Global(_) => s.global_reply(now, GlobalReply::Done(22)),
            Act::Close(_) => closed = true,
            _ => {}
        }
    }
    assert_eq!(closed, s.is_over());
    assert!(!s.is_waiting());
    assert!(acts <= 64 + wire.len(), "{acts} acts for {} bytes", wire.len());
    assert!(
        sent <= 16 * 1024 + 64 * wire.len(),
        "{sent} bytes for {}",
        wire.len()
    );
}

/// The packet layer under each cipher: a sealed packet is read back; the given bytes never panic.
pub fn packet_layer(data: &[u8]) {
    let names = [
        ("chacha20-poly1305@openssh.com", ""),
        ("aes128-ctr", "hmac-sha2-256"),
        ("aes256-ctr", "umac-64-etm@openssh.com"),
        ("aes192-ctr", "umac-128@openssh.com"),
        ("aes256-gcm@openssh.com", ""),
    ];
    let (cipher, mac) = names[usize::from(data.first().copied().unwrap_or(0)) % names.len()];
    let names = [cipher.to_owned(), mac.to_owned(), "none".to_owned()];
    let keys = || Keys::new(&names, &[1; 64], &[2; 64], &[3; 64]).expect("known names");
    let (mut a, mut b) = (Transport::new(0), Transport::new(0));
    a.send_newkeys(keys(), &mut Weak(1));
    a.take_out();
    b.set_recv(keys());
    let payload = [&[94u8][..], data].concat();
    // NEWKEYS went under the old keys but was counted.
    let mut first = Transport::new(0);
    first.send(&[21], &mut Weak(1));
    b.recv_keys = Keys::default();
    b.arrive(&first.take_out());
    b.read(1 << 20);
    assert!(matches!(b.next_packet(), Read::Packet(0, _)));
    b.set_recv(keys());
    a.send(&payload, &mut Weak(2));
    b.arrive(&a.take_out());
    b.read(1 << 20);
    assert_eq!(b.next_packet(), Read::Packet(1, payload));
    b.arrive(data);
    b.read(1 << 20);
    while matches!(b.next_packet(), Read::Packet(..)) {}
}
