//! The client half of the differential test: runs a script against a peer and writes down what it saw.

#![allow(dead_code)]

use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use turncoat_ssh::testing::{Hash, Keys, Put, Read, Reader, Transport, derive};
use turncoat_ssh::*;

/// One thing that the client does. After each, it waits until the server has nothing more to say.
#[derive(Clone, Debug)]
pub enum Step {
    /// Bytes as they are.
    Raw(Vec<u8>),
    /// Packets in one write, under the keys of the moment.
    Packets(Vec<Vec<u8>>),
    /// A whole key exchange (X25519) with these lists.
    Kex(Box<[String; 10]>),
    /// A packet with one bit flipped in the byte at this place (negative: from the back).
    Flipped(Vec<u8>, isize),
    /// A packet that is not compressed, also where it should be.
    Unpacked(Vec<u8>),
    /// Login of root by public key.
    SignIn,
    /// Close the sending side.
    Eof,
}

pub const IDENT: &[u8] = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10\r\n";

pub fn lists(kex: &str, host_key: &str, cipher: &str, mac: &str) -> [String; 10] {
    let s = str::to_owned;
    [
        s(kex),
        s(host_key),
        s(cipher),
        s(cipher),
        s(mac),
        s(mac),
        s("none"),
        s("none"),
        s(""),
        s(""),
    ]
}

pub fn usual() -> [String; 10] {
    lists(
        "curve25519-sha256,ext-info-c,kex-strict-c-v00@openssh.com",
        "ssh-ed25519",
        "aes128-ctr",
        "hmac-sha2-256",
    )
}

pub fn kexinit(lists: &[String; 10], follows: u8) -> Vec<u8> {
    let mut m = vec![20];
    m.extend_from_slice(&[7; 16]);
    for l in lists {
        m.put_string(l.as_bytes());
    }
    m.put_u8(follows).put_u32(0);
    m
}

/// Where the bytes go.
pub enum Peer {
    Live(TcpStream),
    Ours(Box<Server>, crate::host::Host, Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Open,
    Fin,
    Rst,
}

/// Time spent in servers of ours (nanoseconds), for the benchmark.
pub static SERVER_NS: AtomicU64 = AtomicU64::new(0);

struct Timer(std::time::Instant);

impl Drop for Timer {
    fn drop(&mut self) {
        SERVER_NS.fetch_add(self.0.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Peer {
    fn send(&mut self, bytes: &[u8]) {
        let _timer = Timer(std::time::Instant::now());
        match self {
            Peer::Live(t) => {
                let _ = t.write_all(bytes);
            }
            Peer::Ours(s, _, now) => s.input(*now, bytes),
        }
    }

    /// The peer's clock.
    fn clock(&self) -> Duration {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        match self {
            Peer::Live(_) => START.get_or_init(std::time::Instant::now).elapsed(),
            Peer::Ours(_, _, now) => *now,
        }
    }

    /// Everything the peer says until it is quiet, and whether it ended. A clock of ours goes on by itself to what is due soon, or
    /// passes this time.
    fn hear(&mut self, quiet: Duration, passes: Option<Duration>) -> (Vec<u8>, End) {
        let mut all = Vec::new();
        let _timer = Timer(std::time::Instant::now());
        match self {
            Peer::Live(t) => {
                let _ = t.set_read_timeout(Some(quiet));
                let mut buf = [0; 65536];
                loop {
                    match t.read(&mut buf) {
                        Ok(0) => return (all, End::Fin),
                        Ok(n) => all.extend_from_slice(&buf[..n]),
                        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return (all, End::Open),
                        Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                        Err(_) => return (all, End::Rst),
                    }
                }
            }
            Peer::Ours(s, host, now) => {
                let end = passes.map(|p| *now + p);
                loop {
                    match s.poll() {
                        Some(Act::Send(b)) => all.extend_from_slice(&b),
                        Some(Act::Close(CloseKind::Fin)) => return (all, End::Fin),
                        Some(Act::Close(CloseKind::Rst)) => return (all, End::Rst),
                        Some(act) => host.act(s, *now, act),
                        None => {
                            // Without a time to pass, what is due is due five seconds from the last that was.
                            let until = end.unwrap_or(*now + Duration::from_secs(5));
                            let Some(due) = s.deadline().filter(|d| *d < until) else {
                                *now = end.unwrap_or(*now);
                                return (all, End::Open);
                            };
                            *now = due.max(*now);
                            s.tick(*now);
                        }
                    }
                }
            }
        }
    }
}

struct Rng(u8);
impl Entropy for Rng {
    fn fill(&mut self, b: &mut [u8]) {
        for x in b {
            self.0 = self.0.wrapping_mul(61).wrapping_add(17);
            *x = self.0;
        }
    }
}

pub struct Client {
    peer: Peer,
    t: Transport,
    rng: Rng,
    log: String,
    end: End,
    quiet: Duration,
    passes: Option<Duration>,
    ident_done: bool,
    line: Vec<u8>,
    server_version: Vec<u8>,
    server_kexinit: Vec<u8>,
    session_id: Vec<u8>,
    our_ident: Vec<u8>,
    reply: Option<Vec<u8>>,
    pending: Option<([String; 10], Vec<u8>, x25519_dalek::StaticSecret)>,
    key: Arc<HostKey>,
}

impl Client {
    pub fn new(peer: Peer, quiet: Duration, key: Arc<HostKey>) -> Client {
        Client {
            peer,
            t: Transport::new(0),
            rng: Rng(1),
            log: String::new(),
            end: End::Open,
            quiet,
            passes: None,
            ident_done: false,
            line: Vec::new(),
            server_version: Vec::new(),
            server_kexinit: Vec::new(),
            session_id: Vec::new(),
            our_ident: IDENT.to_vec(),
            reply: None,
            pending: None,
            key,
        }
    }

    /// Runs a script; the transcript.
    pub fn run(mut self, steps: &[Step]) -> String {
        self.begin();
        for (i, step) in steps.iter().enumerate() {
            self.step(i, step);
        }
        self.finish()
    }

    /// Runs a script with this time between its steps, then waits for what the clock brings. The transcript, and how long after the
    /// beginning its end was.
    pub fn run_by_clock(mut self, steps: &[Step], pace: Duration, patience: Duration) -> (String, Duration) {
        let began = self.peer.clock();
        (self.quiet, self.passes) = (pace, Some(pace));
        self.begin();
        for (i, step) in steps.iter().enumerate() {
            self.step(i, step);
        }
        (self.quiet, self.passes) = (patience, Some(patience));
        self.hear();
        let took = self.peer.clock() - began;
        (self.finish(), took)
    }

    /// Listens to what the server says by itself.
    pub fn begin(&mut self) {
        self.hear();
    }

    /// The transcript.
    pub fn finish(mut self) -> String {
        let _ = writeln!(self.log, "end {:?}", self.end);
        self.log
    }

    /// One step, if the connection is still there.
    pub fn step(&mut self, i: usize, step: &Step) {
        if self.end != End::Open {
            return;
        }
        let _ = writeln!(self.log, "> {i}");
        match step {
            Step::Raw(b) => {
                if i == 0 && b.starts_with(b"SSH-") {
                    self.our_ident.clone_from(b);
                }
                self.peer.send(b);
            }
            Step::Packets(ps) => {
                for p in ps {
                    self.t.send(p, &mut self.rng);
                }
                self.write();
            }
            Step::Flipped(p, at) => {
                self.t.send(p, &mut self.rng);
                let mut b = self.t.take_out();
                let n = b.len() as isize;
                if let Some(x) = b.get_mut(at.rem_euclid(n) as usize) {
                    *x ^= 1;
                }
                self.peer.send(&b);
            }
            Step::Unpacked(p) => {
                self.t.send_unpacked(p, &mut self.rng);
                self.write();
            }
            Step::Kex(lists) => self.kex(lists),
            Step::SignIn => self.sign_in(),
            Step::Eof => match &mut self.peer {
                Peer::Live(t) => {
                    let _ = t.shutdown(std::net::Shutdown::Write);
                }
                Peer::Ours(s, _, now) => s.eof(*now),
            },
        }
        self.hear();
    }

    fn write(&mut self) {
        let b = self.t.take_out();
        self.peer.send(&b);
    }

    fn hear(&mut self) {
        if self.end != End::Open {
            return;
        }
        let (bytes, end) = self.peer.hear(self.quiet, self.passes);
        self.end = end;
        let mut rest = &bytes[..];
        while !self.ident_done {
            let Some((b, tail)) = rest.split_first() else {
                break;
            };
            rest = tail;
            self.line.push(*b);
            if *b == b'\n' {
                let _ = writeln!(self.log, "  line {:?}", String::from_utf8_lossy(&self.line));
                self.server_version = self.line.trim_ascii_end().to_vec();
                self.ident_done = true;
            }
        }
        if rest.starts_with(b"Invalid SSH") || rest.starts_with(b"Protocol major") {
            let _ = writeln!(self.log, "  text {:?}", String::from_utf8_lossy(rest));
            return;
        }
        let compressed = self.t.authenticated && self.t.recv_keys.compress;
        let mut random = false;
        self.t.arrive(rest);
        while self.t.read(1 << 20) {}
        loop {
            match self.t.next_packet() {
                Read::More => break,
                Read::Packet(_, p) => {
                    random |= (20..50).contains(&p[0]);
                    self.packet(&p);
                }
                other => {
                    let _ = writeln!(self.log, "  unreadable {other:?}");
                    break;
                }
            }
        }
        // How far random bytes can be compressed is random.
        if compressed && !random {
            let _ = writeln!(self.log, "  on the wire {}", rest.len());
        }
    }

    fn packet(&mut self, p: &[u8]) {
        match p[0] {
            20 => {
                let mut shown = p.to_vec();
                shown[1..17].fill(0);
                self.show("kexinit", &shown);
                self.server_kexinit = p.to_vec();
            }
            31 | 33 if self.pending.is_some() || p.len() > 40 => {
                // The host key is shown, the random rest only by what kind it is.
                let mut r = Reader::new(&p[1..]);
                let blob = r.string().unwrap_or_default();
                self.show(
                    if p.len() > 40 { "reply" } else { "packet" },
                    &[&p[..1], blob].concat(),
                );
                self.reply = Some(p.to_vec());
            }
            21 => {
                self.show("packet", p);
                self.take_keys();
            }
            4 if p.windows(11).any(|w| w == b"key options") => {
                // It names the file, which differs.
                let _ = writeln!(self.log, "  packet 4 key options");
            }
            81 if p.len() > 5 => {
                let _ = writeln!(self.log, "  proof {}", p.len());
            }
            _ => self.show("packet", p),
        }
        if p[0] == 52 {
            self.t.authenticated = true;
            self.t.start_compression();
        }
    }

    fn show(&mut self, what: &str, p: &[u8]) {
        let mut text = String::new();
        if p.len() <= 96 {
            for b in p {
                match b {
                    b' '..=b'~' if *b != b'\\' => text.push(*b as char),
                    _ => {
                        let _ = write!(text, "\\{b:02x}");
                    }
                }
            }
        } else {
            let h: String = Sha256::digest(p)
                .iter()
                .take(8)
                .map(|b| format!("{b:02x}"))
                .collect();
            let _ = write!(text, "{} bytes {h}", p.len());
        }
        let _ = writeln!(self.log, "  {what} {} {text}", p[0]);
    }

    fn kex(&mut self, lists: &[String; 10]) {
        let ours = kexinit(lists, 0);
        let secret = x25519_dalek::StaticSecret::from([9; 32]);
        let public = x25519_dalek::PublicKey::from(&secret).to_bytes();
        self.t.send(&ours, &mut self.rng);
        let mut init = vec![30];
        init.put_string(&public);
        self.t.send(&init, &mut self.rng);
        self.pending = Some((lists.clone(), ours, secret));
        self.t.strict |= lists[0].contains("kex-strict-c");
        self.write();
        self.hear();
        // The client's NEWKEYS goes alone, with the next step.
    }

    /// NEWKEYS has come: derive, answer with ours.
    fn take_keys(&mut self) {
        let (Some((lists, ours, secret)), Some(reply)) = (self.pending.take(), self.reply.take()) else {
            return;
        };
        let mut r = Reader::new(&reply[1..]);
        let (blob, public) = (r.string().unwrap_or_default(), r.string().unwrap_or_default());
        let Ok(point) = <[u8; 32]>::try_from(public) else {
            return;
        };
        let mut k = Vec::new();
        k.put_mpint(secret.diffie_hellman(&point.into()).as_bytes());
        let mut h = Vec::new();
        h.put_string(self.our_ident.trim_ascii_end())
            .put_string(&self.server_version)
            .put_string(&ours)
            .put_string(&self.server_kexinit)
            .put_string(blob)
            .put_string(x25519_dalek::PublicKey::from(&secret).as_bytes())
            .put_string(public);
        let h = Hash::Sha256.of(&[&h, &k]);
        if self.session_id.is_empty() {
            self.session_id.clone_from(&h);
        }
        let keys = |dir: usize, letters: [u8; 3]| {
            let names = [
                lists[2 + dir].clone(),
                lists[4 + dir].clone(),
                lists[6 + dir].clone(),
            ];
            let [iv, key, mac] = letters.map(|l| derive(Hash::Sha256, &k, &h, l, &self.session_id, 64));
            Keys::new(&names, &key, &iv, &mac).expect("known names")
        };
        let (send, recv) = (keys(0, *b"ACE"), keys(1, *b"BDF"));
        self.t.set_recv(recv);
        self.t.send_newkeys(send, &mut self.rng);
        self.write();
    }

    /// Service request and publickey login of root.
    fn sign_in(&mut self) {
        let mut m = vec![5];
        m.put_string(b"ssh-userauth");
        self.t.send(&m, &mut self.rng);
        let mut body = vec![50];
        body.put_string(b"root")
            .put_string(b"ssh-connection")
            .put_string(b"publickey")
            .put_u8(1);
        body.put_string(b"ssh-ed25519").put_string(self.key.blob());
        let mut signed = Vec::new();
        signed.put_string(&self.session_id);
        signed.extend_from_slice(&body);
        let sig = self
            .key
            .sign("ssh-ed25519", &signed, &mut self.rng)
            .expect("ed25519");
        body.put_string(&sig);
        self.t.send(&body, &mut self.rng);
        self.write();
    }
}
