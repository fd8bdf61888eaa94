//! Any byte string at any listener at any time: random and mutated openings at each, and afterwards memory, sockets and tasks are back
//! where they were.
//!
//! `OPENINGS` says how many at each listener; the ordinary run has fewer so that it stays short.

mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::ssh::{start, telnet_directory};
use common::{Run, until_within};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

/// What clients of all kinds begin with; mutations of these come further than noise.
fn openings() -> Vec<Vec<u8>> {
    let mut kexinit = vec![0u8; 4];
    kexinit.extend([6, 20]);
    kexinit.extend([7; 16]);
    for list in [
        "curve25519-sha256,diffie-hellman-group14-sha256,kex-strict-c-v00@openssh.com",
        "ssh-ed25519,rsa-sha2-512",
        "chacha20-poly1305@openssh.com,aes128-ctr",
        "chacha20-poly1305@openssh.com,aes128-ctr",
        "hmac-sha2-256-etm@openssh.com,hmac-sha2-256",
        "hmac-sha2-256-etm@openssh.com,hmac-sha2-256",
        "none,zlib@openssh.com",
        "none,zlib@openssh.com",
        "",
        "",
    ] {
        kexinit.extend((list.len() as u32).to_be_bytes());
        kexinit.extend(list.as_bytes());
    }
    kexinit.extend([0; 5 + 6]);
    let length = (kexinit.len() - 4) as u32;
    kexinit[..4].copy_from_slice(&length.to_be_bytes());
    // Behind it an ECDH init: the server has to compute.
    let mut ecdh = Vec::from(44u32.to_be_bytes());
    ecdh.extend([6, 30, 0, 0, 0, 32]);
    ecdh.extend([9; 32]);
    ecdh.extend([0; 6]);
    let ssh = [
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n".as_slice(),
        &kexinit,
        &ecdh,
    ]
    .concat();
    let mut hello = b"\x16\x03\x01\x00\x9a\x01\x00\x00\x96\x03\x03".to_vec();
    hello.extend([5; 140]);
    let proxy2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xcb\0\x71\x01\x12\x34\0\x16";
    [
        ssh.as_slice(),
        b"SSH-2.0-Go\r\n",
        b"SSH-1.5-x\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 22\r\nSSH-2.0-x\r\n",
        proxy2,
        &hello,
        b"\xff\xfb\x1f\xff\xfb\x20\xff\xfb\x18\xff\xfb\x27\xff\xfd\x01",
        b"uname -a\nid\n",
        b"",
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}

/// Numbers from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 16) as usize % n.max(1)
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }

    /// Noise, or one of the openings with some of it changed, doubled, cut out, or cut off.
    fn opening(&mut self, known: &[Vec<u8>]) -> Vec<u8> {
        if self.below(4) == 0 {
            let n = self.below(2000);
            return self.bytes(n);
        }
        let mut it = known[self.below(known.len())].clone();
        for _ in 0..self.below(5) {
            let at = self.below(it.len());
            match self.below(5) {
                0 if !it.is_empty() => it[at] = self.next() as u8,
                1 if !it.is_empty() => it[at] ^= 1 << self.below(8),
                2 => {
                    let n = self.below(40);
                    let piece = self.bytes(n);
                    it.splice(at..at, piece);
                }
                3 => it.truncate(at),
                _ => {
                    let upto = at + self.below(it.len() - at);
                    let piece = it[at..upto].to_vec();
                    it.splice(at..at, piece);
                }
            }
        }
        it
    }
}

/// A connection from one of the loopback network's many addresses, so that no bound by source and no used-up port stands in the way.
fn connect_from(random: &mut Random, to: SocketAddrV4) -> Option<TcpStream> {
    let [a, b, c] = [(); 3].map(|()| (random.next() >> 8) as u8);
    let from = Ipv4Addr::new(127, 96 + a % 8, b, 1 + c % 200);
    let fd: OwnedFd = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .ok()?;
    bind(&fd, &SocketAddrV4::new(from, 0)).ok()?;
    connect(&fd, &to).ok()?;
    Some(TcpStream::from(fd))
}

/// One opening, whole or in pieces, and one of the ways to leave.
fn visit(random: &mut Random, to: SocketAddrV4, known: &[Vec<u8>]) -> bool {
    let bytes = random.opening(known);
    let Some(mut stream) = connect_from(random, to) else {
        return false;
    };
    stream
        .set_read_timeout(Some(Duration::from_millis(1 + random.below(20) as u64)))
        .unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let cut = random.below(bytes.len() + 1);
    let mut buffer = [0; 4096];
    let _ = stream.write_all(&bytes[..cut]);
    if random.below(3) == 0 {
        let _ = stream.read(&mut buffer);
    }
    let _ = stream.write_all(&bytes[cut..]);
    match random.below(4) {
        // A reset.
        0 => sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap(),
        1 => {
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read(&mut buffer);
        }
        2 => drop(stream.read(&mut buffer)),
        _ => {}
    }
    true
}

/// What a process holds.
#[derive(Debug, Clone, Copy)]
struct Holds {
    kib: u64,
    sockets: usize,
    threads: usize,
}

fn holds(run: &Run, role: &str) -> Holds {
    let pid = run.pid(role).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    Holds {
        kib: field("RssAnon:"),
        sockets: std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(),
        threads: field("Threads:") as usize,
    }
}

fn throw(number: u64, to: SocketAddrV4, seed: u64) -> u64 {
    let done = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..16u64)
        .map(|t| {
            let done = done.clone();
            std::thread::spawn(move || {
                let known = openings();
                let mut random = Random((seed * 1000 + t + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let mut came = 0;
                while done.fetch_add(1, Ordering::SeqCst) < number {
                    came += u64::from(visit(&mut random, to, &known));
                }
                came
            })
        })
        .collect();
    threads.into_iter().map(|t| t.join().unwrap()).sum()
}

#[test]
fn random_openings_leave_nothing_behind() {
    let number: u64 = std::env::var("OPENINGS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(3000);
    // A part of the sources may name another one, as proxies do.
    let settings = [
        ("TURNCOAT_PROXY_FROM", "127.100.0.0/16"),
        ("TURNCOAT_CONSOLE_LISTEN", "127.0.0.1:0"),
        ("TURNCOAT_TELNET_LISTEN", "127.0.0.1:0"),
    ];
    let run = start(&telnet_directory("openings"), "127.0.0.1:0", &settings);
    let open = |run: &Run| {
        run.status()
            .map_or(u64::MAX, |s| s["sessions_open"].as_u64().unwrap())
    };
    let console = run.console.strip_prefix("http://").expect("the console's link");
    let console = console.split_once('/').unwrap().0.to_owned();
    let all = [
        ("ssh", &run.ssh, number),
        ("echo", &run.echo, number),
        ("console", &console, number),
        // Behind each of these a machine begins, with telnetd in it.
        ("telnet", &run.telnet, number.div_ceil(8)),
    ];
    for (decoy, to, number) in all {
        let to: SocketAddrV4 = to.parse().unwrap();
        // Buffers and arenas have the size that such a load wants at its busiest.
        throw(number.min(5000), to, 7);
        // A machine that was made for a client who has left is shown to nobody, but it was asked for and has its turn.
        let crowd = Duration::from_secs(30) + Duration::from_millis(100 * number);
        until_within(crowd, "the first visitors are gone", || open(&run) == 0);
        let held = || ["front", "record"].map(|role| holds(&run, role));
        let before = held();
        let began = Instant::now();
        let came = throw(number, to, 99);
        assert!(
            came >= number * 99 / 100,
            "{decoy} took {came} of {number} connections"
        );
        let took = began.elapsed();
        until_within(crowd, "all visitors are gone", || open(&run) == 0);
        // Threads of echo's visitors end a moment after their session; memory goes back to the host when no world has run for a while. A
        // rest stays with the allocator that does not grow with the number. record has a page cache of up to 32 MiB, and remembers of
        // each contact what later ones may share with it.
        let more = [24 << 10, (36 << 10) + number / 2];
        let back = |now: &[Holds; 2]| {
            let mut all = now.iter().zip(&before).zip(more);
            all.all(|((n, b), more)| {
                n.threads <= b.threads && n.sockets <= b.sockets + 1 && n.kib <= b.kib + more
            })
        };
        let what = format!(
            "memory, threads and sockets are back after {decoy}: {before:?}, {:?}",
            held()
        );
        until_within(Duration::from_secs(60), &what, || back(&held()));
        let after = held();
        eprintln!("{decoy}: {came} openings in {took:.1?}; front and record held {before:?}, hold {after:?}");
    }
    assert_eq!(run.processes().len(), 3, "the same processes");
    let status = run.status().unwrap();
    assert_eq!(status["processes"]["restarts"], 0, "no process died");
}
