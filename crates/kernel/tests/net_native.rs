//! Sockets against the real kernel of this machine, on loopback: random sequences of calls, the same results and errors.
//!
//! `TURNCOAT_NET_CASES=20000 cargo test -p turncoat-kernel --test net_native` runs longer.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    self as n, AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, sockopt,
};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::time::Duration;
use turncoat_kernel::abi::net::*;
use turncoat_kernel::net::facts::Facts;
use turncoat_kernel::net::{Caller, Net, Outgoing, SockId};

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 20) % n
    }
}

/// What the sockets of a case are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Domain {
    Unix(u32),
    Tcp4,
    Tcp6,
    Udp4,
}

/// One call; sockets by slot, addresses by number.
#[derive(Clone, Debug)]
enum Step {
    Socket,
    Pair,
    Bind(usize, u8),
    Listen(usize, i32),
    Connect(usize, u8),
    Accept(usize),
    Send(usize, usize, u32),
    SendTo(usize, u8, usize),
    Recv(usize, usize, u32),
    Shutdown(usize, u32),
    Close(usize),
    Error(usize),
    Poll(usize),
    Name(usize),
    Peer(usize),
    Waiting(usize),
}

fn steps(r: &mut Rng, d: Domain) -> Vec<Step> {
    let stream = !matches!(d, Domain::Udp4 | Domain::Unix(SOCK_DGRAM));
    let mut v = vec![Step::Socket];
    match d {
        Domain::Unix(_) if r.below(2) == 0 => v = vec![Step::Pair],
        _ if stream && r.below(4) > 0 => {
            let backlog = r.below(3) as i32;
            v.extend([
                Step::Bind(0, 0),
                Step::Listen(0, backlog),
                Step::Socket,
                Step::Connect(1, 0),
                Step::Accept(0),
            ]);
        }
        _ => v.extend([Step::Bind(0, 0), Step::Socket, Step::Connect(1, 0)]),
    }
    for _ in 0..4 + r.below(20) {
        let s = r.below(4) as usize;
        let addr = r.below(2) as u8;
        // More than a receive window shows how far the real one's segments have come.
        let large = if matches!(d, Domain::Unix(_)) { 70000 } else { 5000 };
        // Whether an empty packet counts as unread at close differs between versions.
        let least = usize::from(d == Domain::Unix(SOCK_SEQPACKET));
        let size = [least, 1, 5, 100, 3000, large][r.below(if stream { 6 } else { 5 }) as usize];
        // Urgent bytes on AF_UNIX are not served (docs/differences.md).
        let oob = !matches!(d, Domain::Unix(SOCK_STREAM));
        v.push(match r.below(30) {
            0 => Step::Socket,
            1 => Step::Bind(s, addr),
            2 => Step::Listen(s, r.below(3) as i32),
            3..6 => Step::Connect(s, addr),
            6..8 => Step::Accept(s),
            8..14 => Step::Send(
                s,
                size,
                if oob && r.below(8) == 0 {
                    MSG_NOSIGNAL | MSG_OOB
                } else {
                    MSG_NOSIGNAL
                },
            ),
            14 => Step::SendTo(s, addr, size),
            15..21 => {
                let max = [1, 4, 10, 4096, 100_000][r.below(5) as usize];
                Step::Recv(
                    s,
                    max,
                    [0, 0, 0, MSG_PEEK, MSG_TRUNC, MSG_OOB][r.below(6) as usize],
                )
            }
            21..23 => Step::Shutdown(s, r.below(3) as u32),
            23 => Step::Close(s),
            24 => Step::Error(s),
            25 => Step::Name(s),
            26 => Step::Peer(s),
            27 => Step::Waiting(s),
            _ => Step::Poll(s),
        });
    }
    v
}

type Seen = Result<Vec<u8>, u16>;

const POLL: PollFlags = PollFlags::from_bits_retain((POLLIN | POLLOUT | POLLPRI | POLLRDHUP) as u16);

struct Real {
    domain: Domain,
    base: u16,
    slots: Vec<Option<OwnedFd>>,
    settle: Duration,
}

fn message(len: usize, salt: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + salt * 31 + (i >> 8)) as u8).collect()
}

impl Real {
    fn address(&self, a: u8) -> n::SocketAddrAny {
        let port = self.base + u16::from(a);
        match self.domain {
            Domain::Unix(_) => n::SocketAddrUnix::new_abstract_name(format!("turncoat-{port}").as_bytes())
                .unwrap()
                .into(),
            Domain::Tcp6 => SocketAddrV6::new(Ipv6Addr::LOCALHOST, port, 0, 0).into(),
            _ => SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into(),
        }
    }

    fn kind(&self) -> (AddressFamily, SocketType) {
        match self.domain {
            Domain::Unix(k) => (AddressFamily::UNIX, SocketType::from_raw(k)),
            Domain::Tcp4 => (AddressFamily::INET, SocketType::STREAM),
            Domain::Tcp6 => (AddressFamily::INET6, SocketType::STREAM),
            Domain::Udp4 => (AddressFamily::INET, SocketType::DGRAM),
        }
    }

    fn put(&mut self, fd: OwnedFd) {
        match self.slots.iter().position(Option::is_none) {
            Some(i) => self.slots[i] = Some(fd),
            None => self.slots.push(Some(fd)),
        }
    }

    fn step(&mut self, s: &Step) -> Option<Seen> {
        let (family, kind) = self.kind();
        let at = |i: &usize| self.slots.get(*i).and_then(Option::as_ref);
        let seen = match s {
            Step::Socket => n::socket_with(family, kind, SocketFlags::NONBLOCK, None).map(|fd| {
                sockopt::set_socket_reuseaddr(&fd, true).unwrap();
                self.put(fd);
                vec![]
            }),
            Step::Pair => n::socketpair(family, kind, SocketFlags::NONBLOCK, None).map(|(a, b)| {
                self.put(a);
                self.put(b);
                vec![]
            }),
            Step::Bind(i, a) => n::bind(at(i)?, &self.address(*a)).map(|()| vec![]),
            Step::Listen(i, b) => n::listen(at(i)?, *b).map(|()| vec![]),
            Step::Connect(i, a) => n::connect(at(i)?, &self.address(*a)).map(|()| vec![]),
            Step::Accept(i) => n::accept_with(at(i)?, SocketFlags::NONBLOCK).map(|fd| {
                self.put(fd);
                vec![]
            }),
            Step::Send(i, len, flags) => {
                n::send(at(i)?, &message(*len, *i), SendFlags::from_bits_retain(*flags))
                    .map(|n| n.to_le_bytes().to_vec())
            }
            Step::SendTo(i, a, len) => {
                n::sendto(at(i)?, &message(*len, *i), SendFlags::NOSIGNAL, &self.address(*a))
                    .map(|n| n.to_le_bytes().to_vec())
            }
            Step::Recv(i, max, flags) => {
                let mut b = vec![0; *max];
                n::recv(at(i)?, &mut b[..], RecvFlags::from_bits_retain(*flags)).map(|(got, whole)| {
                    b.truncate(got);
                    b.extend(whole.to_le_bytes());
                    b
                })
            }
            Step::Shutdown(i, how) => n::shutdown(
                at(i)?,
                [Shutdown::Read, Shutdown::Write, Shutdown::Both][*how as usize],
            )
            .map(|()| vec![]),
            Step::Close(i) => {
                at(i)?;
                self.slots[*i] = None;
                Ok(vec![])
            }
            Step::Error(i) => sockopt::socket_error(at(i)?).map(|e| match e {
                Ok(()) => vec![],
                Err(e) => (e.raw_os_error() as u16).to_le_bytes().to_vec(),
            }),
            Step::Poll(i) => {
                let mut fds = [PollFd::new(at(i)?, POLL)];
                poll(
                    &mut fds,
                    Some(&Timespec {
                        tv_sec: 0,
                        tv_nsec: 0,
                    }),
                )
                .unwrap();
                Ok(fds[0].revents().bits().to_le_bytes().to_vec())
            }
            Step::Name(i) => n::getsockname(at(i)?).map(|a| self.fixed(a)),
            Step::Peer(i) => n::getpeername(at(i)?).map(|a| a.map_or(vec![], |a| self.fixed(a))),
            Step::Waiting(i) => rustix::io::ioctl_fionread(at(i)?).map(|n| n.to_le_bytes().to_vec()),
        };
        std::thread::sleep(self.settle);
        Some(seen.map_err(|e| e.raw_os_error() as u16))
    }

    /// An address, with ports that were chosen at random left out.
    fn fixed(&self, a: n::SocketAddrAny) -> Vec<u8> {
        match n::SocketAddr::try_from(a.clone()) {
            Ok(a) => named(a.ip().to_string(), a.port(), self.base),
            Err(_) => match n::SocketAddrUnix::try_from(a) {
                Ok(u) => u.abstract_name().map_or(vec![], <[u8]>::to_vec),
                Err(_) => vec![0xee],
            },
        }
    }
}

fn named(ip: String, port: u16, base: u16) -> Vec<u8> {
    let known = (base..base + 4).contains(&port);
    format!(
        "{ip} {}",
        if known {
            i32::from(port) - i32::from(base)
        } else {
            -99
        }
    )
    .into_bytes()
}

struct Ours {
    domain: Domain,
    base: u16,
    net: Net,
    slots: Vec<Option<SockId>>,
    who: Caller,
}

impl Ours {
    fn address(&self, a: u8) -> SockAddr {
        let port = self.base + u16::from(a);
        match self.domain {
            Domain::Unix(_) => SockAddr::UnixAbstract(format!("turncoat-{port}").into_bytes()),
            Domain::Tcp6 => SockAddr::V6(Ipv6Addr::LOCALHOST, port, 0, 0),
            _ => SockAddr::V4(Ipv4Addr::LOCALHOST, port),
        }
    }

    fn put(&mut self, s: SockId) {
        match self.slots.iter().position(Option::is_none) {
            Some(i) => self.slots[i] = Some(s),
            None => self.slots.push(Some(s)),
        }
    }

    fn step(&mut self, s: &Step) -> Option<Seen> {
        let (family, kind) = match self.domain {
            Domain::Unix(k) => (AF_UNIX, k),
            Domain::Tcp4 => (AF_INET, SOCK_STREAM),
            Domain::Tcp6 => (AF_INET6, SOCK_STREAM),
            Domain::Udp4 => (AF_INET, SOCK_DGRAM),
        };
        let who = self.who;
        let at = |i: &usize| self.slots.get(*i).copied().flatten();
        let none = |_| vec![];
        let size = |n: usize| n.to_le_bytes().to_vec();
        let seen = match s {
            Step::Socket => self.net.socket(&who, family.into(), kind, 0).map(|s| {
                self.net
                    .setsockopt(s, &who, SOL_SOCKET, SO_REUSEADDR, &[1, 0, 0, 0])
                    .unwrap();
                self.put(s);
                vec![]
            }),
            Step::Pair => self.net.socketpair(&who, family.into(), kind, 0).map(|(a, b)| {
                self.put(a);
                self.put(b);
                vec![]
            }),
            Step::Bind(i, a) => {
                let (s, a) = (at(i)?, self.address(*a));
                self.net.bind(s, &who, &a, None).map(none)
            }
            Step::Listen(i, b) => {
                let s = at(i)?;
                self.net.listen(s, &who, *b).map(none)
            }
            Step::Connect(i, a) => {
                let (s, a) = (at(i)?, self.address(*a));
                self.net.connect(s, &who, &a, None, true).map(none)
            }
            Step::Accept(i) => {
                let s = at(i)?;
                self.net.accept(s, &who).map(|(s, _)| {
                    self.put(s);
                    vec![]
                })
            }
            Step::Send(i, len, flags) => {
                let (s, data) = (at(i)?, message(*len, *i));
                let out = Outgoing {
                    data: &data,
                    flags: *flags | MSG_DONTWAIT,
                    ..Default::default()
                };
                self.net.send(s, &who, out).map(size)
            }
            Step::SendTo(i, a, len) => {
                let (s, data) = (at(i)?, message(*len, *i));
                let to = Some(self.address(*a));
                let out = Outgoing {
                    data: &data,
                    to,
                    flags: MSG_NOSIGNAL | MSG_DONTWAIT,
                    ..Default::default()
                };
                self.net.send(s, &who, out).map(size)
            }
            Step::Recv(i, max, flags) => {
                let s = at(i)?;
                self.net.recv(s, *max, *flags | MSG_DONTWAIT).map(|r| {
                    let whole = if flags & MSG_TRUNC != 0 {
                        r.len
                    } else {
                        r.len.min(*max)
                    };
                    let mut b = r.data;
                    // A stream's MSG_TRUNC throws the bytes away: the buffer keeps what it held.
                    b.resize(whole.min(*max), 0);
                    b.extend(whole.to_le_bytes());
                    b
                })
            }
            Step::Shutdown(i, how) => {
                let s = at(i)?;
                self.net.shutdown(s, *how).map(none)
            }
            Step::Close(i) => {
                let s = at(i)?;
                self.net.close(s);
                self.slots[*i] = None;
                Ok(vec![])
            }
            Step::Error(i) => {
                let s = at(i)?;
                self.net.getsockopt(s, SOL_SOCKET, SO_ERROR).map(|b| {
                    match u32::from_le_bytes(b.try_into().unwrap()) {
                        0 => vec![],
                        e => (e as u16).to_le_bytes().to_vec(),
                    }
                })
            }
            Step::Poll(i) => {
                let want = POLLIN | POLLOUT | POLLPRI | POLLRDHUP | POLLERR | POLLHUP;
                Ok(((self.net.poll(at(i)?) & want) as u16).to_le_bytes().to_vec())
            }
            Step::Name(i) => self.net.getsockname(at(i)?).map(|a| self.fixed(&a)),
            Step::Peer(i) => self.net.getpeername(at(i)?).map(|a| self.fixed(&a)),
            Step::Waiting(i) => {
                let s = at(i)?;
                self.net.ioctl(s, &who, 0x541b, &[0; 4]).map(|b| {
                    u64::from(u32::from_le_bytes(b.unwrap().try_into().unwrap()))
                        .to_le_bytes()
                        .to_vec()
                })
            }
        };
        Some(seen.map_err(|e| e.0))
    }

    fn fixed(&self, a: &SockAddr) -> Vec<u8> {
        match a {
            SockAddr::V4(ip, port) => named(ip.to_string(), *port, self.base),
            SockAddr::V6(ip, port, ..) => named(ip.to_string(), *port, self.base),
            SockAddr::UnixAbstract(n) => n.clone(),
            _ => vec![],
        }
    }
}

fn show(s: &Option<Seen>) -> String {
    match s {
        None => "nothing".into(),
        Some(Ok(b)) => format!("\"{}\" ({} bytes)", b[..b.len().min(60)].escape_ascii(), b.len()),
        Some(Err(e)) => format!("{:?}", turncoat_kernel::Errno(*e)),
    }
}

fn differs(domain: Domain, steps: &[Step], base: u16, settle: Duration) -> Option<String> {
    let mut real = Real {
        domain,
        base,
        slots: Vec::new(),
        settle,
    };
    let who = Caller {
        pid: 1000,
        uid: 1000,
        gid: 1000,
        ..Caller::default()
    };
    let mut ours = Ours {
        domain,
        base,
        net: Net::new(Facts::default()),
        slots: Vec::new(),
        who,
    };
    for (i, s) in steps.iter().enumerate() {
        let (a, mut b) = (real.step(s), ours.step(s));
        // accept(2) on an AF_UNIX listener that was shut down: EINVAL to those who wait, EAGAIN to those who do not.
        if matches!((s, &a, &b), (Step::Accept(_), Some(Err(11)), Some(Err(22)))) {
            b = a.clone();
        }
        // Linux 6.1 looks for the peer of a datagram first, later kernels at the shutdown.
        if matches!(
            (domain, &a, &b),
            (Domain::Unix(SOCK_DGRAM), Some(Err(32)), Some(Err(107 | 111 | 1)))
        ) {
            b = a.clone();
        }
        if a != b {
            let told: Vec<String> = steps[..=i].iter().map(|s| format!("  {s:?}")).collect();
            return Some(format!(
                "{domain:?}, step {i} of\n{}\nreal {}\nours {}",
                told.join("\n"),
                show(&a),
                show(&b)
            ));
        }
        ours.net.take_effects();
    }
    None
}

#[test]
fn same_results_as_the_real_kernel() {
    let cases: u64 = std::env::var("TURNCOAT_NET_CASES")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(600);
    let domains = [
        Domain::Unix(SOCK_STREAM),
        Domain::Tcp4,
        Domain::Unix(SOCK_DGRAM),
        Domain::Udp4,
        Domain::Unix(SOCK_SEQPACKET),
        Domain::Tcp6,
    ];
    let mut bad = 0;
    for case in 0..cases {
        let domain = domains[(case % 6) as usize];
        let mut r = Rng(0x51_7cc1_b727 + case * 0x9e37_79b9);
        let steps = steps(&mut r, domain);
        let base = |salt: u64| {
            10_000 + ((u64::from(std::process::id()) * 37 + case * 4 + salt * 1001) % 20_000) as u16
        };
        let mut said = differs(domain, &steps, base(0), Duration::ZERO);
        for salt in [1, 2] {
            if said.is_some() {
                said = differs(domain, &steps, base(salt), Duration::from_millis(2));
            }
        }
        if let Some(said) = said {
            bad += 1;
            println!("case {case}: {said}");
            assert!(bad < 8, "more than enough differences");
        }
    }
    assert_eq!(bad, 0);
}
