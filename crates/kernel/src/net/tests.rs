//! Sockets alone: what a test against the real kernel cannot show (the stage, files in messages, netlink, bounds), and hostile bytes.

use super::facts::{OtherNames, Outside};
use super::outside::Attempt;
use super::*;
use std::net::{Ipv4Addr, Ipv6Addr};

const ROOT: Caller = Caller {
    pid: 100,
    uid: 0,
    gid: 0,
    net_admin: true,
    net_raw: true,
    bind_low: true,
    admin: true,
};
const USER: Caller = Caller {
    pid: 200,
    uid: 1000,
    gid: 1000,
    net_admin: false,
    net_raw: false,
    bind_low: false,
    admin: false,
};

fn net() -> Net {
    Net::new(Facts::default())
}

fn tcp(n: &mut Net, who: &Caller) -> SockId {
    n.socket(who, AF_INET.into(), SOCK_STREAM, 0).unwrap()
}

fn say(n: &mut Net, s: SockId, data: &[u8]) -> KResult<usize> {
    n.send(
        s,
        &USER,
        Outgoing {
            data,
            flags: MSG_DONTWAIT | MSG_NOSIGNAL,
            ..Default::default()
        },
    )
}

fn hear(n: &mut Net, s: SockId) -> KResult<Vec<u8>> {
    n.recv(s, 65536, MSG_DONTWAIT).map(|r| r.data)
}

fn attempts(n: &mut Net) -> Vec<Attempt> {
    n.take_effects()
        .into_iter()
        .filter_map(|e| {
            if let NetEffect::Outside(a) = e {
                Some(a)
            } else {
                None
            }
        })
        .collect()
}

const LOCAL: SockAddr = SockAddr::V4(Ipv4Addr::LOCALHOST, 8080);
const FAR: SockAddr = SockAddr::V4(Ipv4Addr::new(198, 51, 100, 7), 443);

#[test]
fn files_travel_and_are_not_lost() {
    let mut n = net();
    let (a, b) = n.socketpair(&USER, AF_UNIX.into(), SOCK_STREAM, 0).unwrap();
    let with = |files: Vec<u64>, data| Outgoing {
        data,
        control: vec![Control::Rights(files)],
        ..Default::default()
    };
    n.send(a, &USER, with(vec![7, 8], b"x")).unwrap();
    n.send(a, &USER, with(vec![9], b"y")).unwrap();
    let peeked = n.recv(b, 10, MSG_PEEK | MSG_DONTWAIT).unwrap();
    assert_eq!(
        (peeked.data, peeked.control),
        (b"x".to_vec(), vec![Control::Rights(vec![7, 8])])
    );
    let first = n.recv(b, 10, MSG_DONTWAIT).unwrap();
    assert_eq!(
        (first.data, first.control),
        (b"x".to_vec(), vec![Control::Rights(vec![7, 8])]),
        "files end a read"
    );
    n.take_effects();
    n.close(b);
    assert!(
        n.take_effects().contains(&NetEffect::DropFiles(vec![9])),
        "what nobody read is given back"
    );
    assert_eq!(n.send(a, &USER, with(vec![10], b"z")), Err(Errno::EPIPE));
    let left = n.take_effects();
    assert!(
        left.contains(&NetEffect::DropFiles(vec![10])) && left.contains(&NetEffect::BrokenPipe { pid: 200 })
    );
}

#[test]
fn credentials() {
    let mut n = net();
    let l = n.socket(&ROOT, AF_UNIX.into(), SOCK_STREAM, 0).unwrap();
    let at = SockAddr::UnixPath(b"/run/x".to_vec());
    n.bind(l, &ROOT, &at, Some(77)).unwrap();
    n.listen(l, &ROOT, 5).unwrap();
    let c = n.socket(&USER, AF_UNIX.into(), SOCK_STREAM, 0).unwrap();
    assert_eq!(
        n.connect(c, &USER, &at, Some(78), false),
        Err(Errno::ECONNREFUSED),
        "another inode"
    );
    n.connect(c, &USER, &at, Some(77), false).unwrap();
    let (s, _) = n.accept(l, &ROOT).unwrap();
    let cred = |n: &mut Net, s| n.getsockopt(s, SOL_SOCKET, SO_PEERCRED).unwrap();
    assert_eq!(cred(&mut n, s)[..8], [200, 0, 0, 0, 0xe8, 3, 0, 0]);
    assert_eq!(cred(&mut n, c)[..8], [100, 0, 0, 0, 0, 0, 0, 0]);
    n.setsockopt(s, &ROOT, SOL_SOCKET, SO_PASSCRED, &[1, 0, 0, 0])
        .unwrap();
    let lie = Outgoing {
        data: b"x",
        control: vec![Control::Credentials(1, 0, 0)],
        ..Default::default()
    };
    assert_eq!(n.send(c, &USER, lie.clone()), Err(Errno::EPERM));
    say(&mut n, c, b"x").unwrap();
    assert_eq!(
        n.recv(s, 9, 0).unwrap().control,
        [Control::Credentials(200, 1000, 1000)]
    );
    assert_eq!(n.getpeername(c), Ok(at));
}

#[test]
fn outside_by_policy() {
    for (policy, wait, want) in [
        (Outside::Unreachable, 1_000_000, Errno::EHOSTUNREACH),
        (Outside::Refused, 200_000_000, Errno::ECONNREFUSED),
        (Outside::Timeout, 140_000_000_000, Errno::ETIMEDOUT),
    ] {
        let mut n = net();
        n.facts_mut().outside = policy;
        let s = tcp(&mut n, &USER);
        assert_eq!(n.connect(s, &USER, &FAR, None, false), Err(Errno::EAGAIN));
        let a = attempts(&mut n);
        assert_eq!(
            (a[0].ip, a[0].port, a[0].pid, a[0].outcome),
            ("198.51.100.7".parse().unwrap(), 443, 200, policy)
        );
        assert_eq!(n.poll(s), 0);
        n.now += wait;
        n.tick();
        assert_eq!(n.connect(s, &USER, &FAR, None, false), Err(want), "{policy:?}");
    }
}

#[test]
fn a_stand_in_peer_hears_everything() {
    let mut n = net();
    n.facts_mut().outside_ports.insert(443, Outside::Sink);
    let s = tcp(&mut n, &USER);
    assert_eq!(n.connect(s, &USER, &FAR, None, true), Err(Errno::EINPROGRESS));
    n.now += 200_000_000;
    n.tick();
    assert_eq!(n.poll(s) & (POLLOUT | POLLERR), POLLOUT);
    n.connect(s, &USER, &FAR, None, true).unwrap();
    say(&mut n, s, b"GET / HTTP/1.0\r\n").unwrap();
    let a = attempts(&mut n);
    assert_eq!(a[1].bytes, b"GET / HTTP/1.0\r\n");
    assert!(a[0].stream.is_some() && a[0].stream == a[1].stream);
    n.sink_answers(a[0].stream.unwrap(), b"no", true);
    assert_eq!(
        (hear(&mut n, s), hear(&mut n, s)),
        (Ok(b"no".to_vec()), Ok(vec![]))
    );
    let text = n.proc_net("tcp").unwrap();
    assert!(text.contains("076433C6:01BB 08"), "shown as CLOSE_WAIT: {text}");
}

#[test]
fn own_network_is_silent_and_gateway_refuses() {
    let mut n = net();
    n.facts_mut().outside = Outside::Sink;
    let s = tcp(&mut n, &USER);
    let neighbour = SockAddr::V4(Ipv4Addr::new(192, 0, 2, 99), 22);
    assert_eq!(n.connect(s, &USER, &neighbour, None, false), Err(Errno::EAGAIN));
    n.now += 4_000_000_000;
    n.tick();
    assert_eq!(
        n.connect(s, &USER, &neighbour, None, false),
        Err(Errno::EHOSTUNREACH)
    );
    let gateway = SockAddr::V4(Ipv4Addr::new(192, 0, 2, 1), 80);
    assert_eq!(n.connect(s, &USER, &gateway, None, false), Err(Errno::EAGAIN));
    n.now += 4_000_000;
    n.tick();
    assert_eq!(
        n.connect(s, &USER, &gateway, None, false),
        Err(Errno::ECONNREFUSED)
    );
    n.facts_mut().routes.clear();
    assert_eq!(n.connect(s, &USER, &FAR, None, false), Err(Errno::ENETUNREACH));
}

fn query(name: &str, kind: u16) -> Vec<u8> {
    let mut q = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for l in name.split('.') {
        q.push(l.len() as u8);
        q.extend(l.bytes());
    }
    q.push(0);
    q.extend(kind.to_be_bytes());
    q.extend([0, 1]);
    q
}

fn ask(n: &mut Net, name: &str) -> Vec<u8> {
    let s = n.socket(&USER, AF_INET.into(), SOCK_DGRAM, 0).unwrap();
    n.connect(
        s,
        &USER,
        &SockAddr::V4(Ipv4Addr::new(192, 0, 2, 1), 53),
        None,
        false,
    )
    .unwrap();
    say(n, s, &query(name, 1)).unwrap();
    assert_eq!(hear(n, s), Err(Errno::EAGAIN), "an answer takes its time");
    n.now += 50_000_000;
    n.tick();
    let r = hear(n, s).unwrap();
    n.close(s);
    r
}

#[test]
fn names_are_stable_and_belong_to_their_addresses() {
    let mut n = net();
    let one = ask(&mut n, "cdn.Example-mirror.com");
    assert_eq!(one, ask(&mut n, "cdn.Example-mirror.com"));
    assert_eq!((one[..2].to_vec(), one[3] & 15, one[7]), (vec![0x12, 0x34], 0, 1));
    let ip: [u8; 4] = one[one.len() - 4..].try_into().unwrap();
    n.take_effects();
    let s = tcp(&mut n, &USER);
    let _ = n.connect(s, &USER, &SockAddr::V4(ip.into(), 80), None, true);
    assert_eq!(
        attempts(&mut n)[0].name.as_deref(),
        Some("cdn.example-mirror.com")
    );
    for unlikely in ["nosuchtop", "host.local", "xkqzvwtrplmnb.com"] {
        assert_eq!(ask(&mut n, unlikely)[3] & 15, 3, "{unlikely}");
    }
    n.facts_mut().resolver.others = OtherNames::ServFail;
    assert_eq!(ask(&mut n, "other.org")[3] & 15, 2);
    let other = Facts {
        seed: 99,
        ..Facts::default()
    };
    assert_ne!(
        ask(&mut Net::new(other), "cdn.example-mirror.com"),
        one,
        "another install invents another address"
    );
}

#[test]
fn echo_requests() {
    let mut n = net();
    let s = n.socket(&USER, AF_INET.into(), SOCK_DGRAM, IPPROTO_ICMP).unwrap();
    let ping = |n: &mut Net, to: [u8; 4], seq: u8| {
        let data = [8, 0, 0, 0, 0, 0, 0, seq, b'h', b'i'];
        let to = Some(SockAddr::V4(to.into(), 0));
        n.send(
            s,
            &USER,
            Outgoing {
                data: &data,
                to,
                ..Default::default()
            },
        )
        .unwrap();
        let at = n.next_deadline()?;
        let rtt = at - n.now;
        n.now = at;
        n.tick();
        let r = hear(n, s).ok()?;
        assert_eq!((r[0], r[7], &r[8..]), (0, seq, &b"hi"[..]));
        assert_eq!(udp::checksum(&r), 0);
        Some(rtt)
    };
    let lo = ping(&mut n, [127, 0, 0, 1], 1).unwrap();
    let gateway = ping(&mut n, [192, 0, 2, 1], 2).unwrap();
    assert!(
        lo < 100_000 && (300_000..900_000).contains(&gateway),
        "{lo} {gateway}"
    );
    assert_eq!(
        ping(&mut n, [198, 51, 100, 7], 3),
        None,
        "the world outside does not answer"
    );
    n.facts_mut().outside_pings = true;
    assert!(ping(&mut n, [198, 51, 100, 7], 4).unwrap() > 5_000_000);
    assert_eq!(
        n.socket(&USER, AF_INET.into(), SOCK_RAW, IPPROTO_ICMP),
        Err(Errno::EPERM)
    );
}

#[test]
fn host_serves_and_host_connects() {
    let mut n = net();
    let l = n.host_listen(&ROOT, false, None, 22, 128).unwrap();
    n.take_effects();
    let c = tcp(&mut n, &USER);
    n.connect(c, &USER, &SockAddr::V4(Ipv4Addr::LOCALHOST, 22), None, false)
        .unwrap();
    let e = n.take_effects();
    let Some(NetEffect::Inbound(i)) = e.iter().find(|e| matches!(e, NetEffect::Inbound(_))) else {
        panic!("{e:?}")
    };
    assert_eq!((i.port, i.listener), (22, l));
    let host = i.host;
    say(&mut n, c, b"SSH-2.0-x\r\n").unwrap();
    assert_eq!(n.host_read(host, 100), (b"SSH-2.0-x\r\n".to_vec(), false));
    assert_eq!(n.host_write(host, b"hello"), Ok(5));
    assert_eq!(hear(&mut n, c), Ok(b"hello".to_vec()));
    n.host_close(host);
    assert_eq!(hear(&mut n, c), Ok(vec![]));

    let l = tcp(&mut n, &USER);
    n.bind(l, &USER, &LOCAL, None).unwrap();
    n.listen(l, &USER, 5).unwrap();
    let from = ("203.0.113.5".parse().unwrap(), 5555);
    assert_eq!(
        n.host_connect(from, (Ipv4Addr::LOCALHOST.into(), 81)),
        Err(Errno::ECONNREFUSED)
    );
    let host = n.host_connect(from, (Ipv4Addr::LOCALHOST.into(), 8080)).unwrap();
    let (s, peer) = n.accept(l, &USER).unwrap();
    assert_eq!(peer, SockAddr::V4(Ipv4Addr::new(203, 0, 113, 5), 5555));
    n.host_write(host, b"ping").unwrap();
    assert_eq!(hear(&mut n, s), Ok(b"ping".to_vec()));
    say(&mut n, s, b"pong").unwrap();
    n.close(s);
    assert_eq!(n.host_read(host, 2), (b"po".to_vec(), false));
    assert_eq!(n.host_read(host, 9), (b"ng".to_vec(), false));
    assert_eq!(n.host_read(host, 9), (vec![], true));
}

/// Attribute types of each message of a dump.
fn netlink_dump(n: &mut Net, who: &Caller, protocol: u32, kind: u16, body: &[u8]) -> Vec<Vec<u8>> {
    let s = n.socket(who, AF_NETLINK.into(), SOCK_RAW, protocol).unwrap();
    let mut m = (16 + body.len() as u32).to_le_bytes().to_vec();
    m.extend(kind.to_le_bytes());
    m.extend(0x301u16.to_le_bytes());
    m.extend([9, 0, 0, 0, 0, 0, 0, 0]);
    m.extend(body);
    n.send(
        s,
        who,
        Outgoing {
            data: &m,
            to: Some(SockAddr::Netlink(0, 0)),
            ..Default::default()
        },
    )
    .unwrap();
    let mut v = Vec::new();
    while let Ok(d) = n.recv(s, 65536, MSG_DONTWAIT) {
        let mut rest = &d.data[..];
        while rest.len() >= 16 {
            let len = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
            assert_eq!(rest[8], 9, "sequence number");
            v.push(rest[4..len].to_vec());
            rest = &rest[len.next_multiple_of(4)..];
        }
    }
    n.close(s);
    v
}

#[test]
fn netlink_shows_what_the_machine_has() {
    let mut n = net();
    let links = netlink_dump(&mut n, &USER, netlink::ROUTE, 18, &[0; 16]);
    assert_eq!(links.len(), 3);
    let order = |m: &[u8], head: usize| {
        netlink::attributes(&m[12 + head..])
            .map(|a| a.0 & 0x3fff)
            .collect::<Vec<_>>()
    };
    assert_eq!(order(&links[0], 16)[..8], [3, 13, 16, 17, 4, 50, 51, 27]);
    assert_eq!(
        netlink::attributes(&links[1][28..]).next(),
        Some((3, &b"ens3\0"[..]))
    );
    assert_eq!(links[2][..2], [3, 0], "NLMSG_DONE");
    let addresses = netlink_dump(&mut n, &USER, netlink::ROUTE, 22, &[0; 8]);
    assert_eq!(order(&addresses[1], 8), [1, 2, 4, 3, 8, 6]);
    assert_eq!(order(&addresses[2], 8), [1, 6, 8]);
    let routes = netlink_dump(
        &mut n,
        &USER,
        netlink::ROUTE,
        26,
        &[2, 0, 0, 0, 254, 0, 0, 0, 0, 0, 0, 0],
    );
    assert_eq!(
        (order(&routes[0], 12), order(&routes[1], 12)),
        (vec![15, 5, 4], vec![15, 1, 7, 4])
    );

    let l = tcp(&mut n, &USER);
    n.bind(l, &USER, &LOCAL, None).unwrap();
    n.listen(l, &USER, 5).unwrap();
    let mut ask = vec![2, 6, 0, 0, 255, 15, 0, 0];
    ask.resize(56, 0);
    let socks = netlink_dump(&mut n, &USER, netlink::SOCK_DIAG, 20, &ask);
    assert_eq!(
        (socks.len(), socks[0][13], &socks[0][16..18]),
        (2, 10, &8080u16.to_be_bytes()[..])
    );
}

#[test]
fn changes_need_the_privilege_and_have_effect() {
    let mut n = net();
    let mut down = vec![0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
    let refused = netlink_dump(&mut n, &USER, netlink::ROUTE, 16, &down);
    assert_eq!(refused[0][12..16], (-1i32).to_le_bytes());
    netlink_dump(&mut n, &ROOT, netlink::ROUTE, 16, &down);
    assert!(
        n.take_effects()
            .iter()
            .any(|e| matches!(e, NetEffect::Changed { what, .. } if what == "link set ens3 down"))
    );
    assert_eq!(n.facts().routes.len(), 0);
    let s = tcp(&mut n, &USER);
    assert_eq!(n.connect(s, &USER, &FAR, None, true), Err(Errno::ENETUNREACH));
    down[8] = 1;
    netlink_dump(&mut n, &ROOT, netlink::ROUTE, 16, &down);
    assert_eq!(n.facts().interfaces[1].flags & 1, 1);
}

#[test]
fn bounds() {
    let mut n = net();
    let mut made = 0;
    while n.socket(&USER, AF_INET.into(), SOCK_DGRAM, 0).is_ok() {
        made += 1;
    }
    assert_eq!(made, SOCKETS_MAX);
    let mut n = net();
    let block = vec![0u8; 65536];
    while let Ok((a, b)) = n.socketpair(&USER, AF_UNIX.into(), SOCK_STREAM, 0) {
        let _ = (
            say(&mut n, a, &block),
            say(&mut n, b, &block),
            say(&mut n, a, &block),
        );
    }
    assert!(n.waiting() <= BUFFERED_MAX + (1 << 20), "{}", n.waiting());
    let mut n = net();
    let l = tcp(&mut n, &USER);
    n.bind(l, &USER, &LOCAL, None).unwrap();
    n.listen(l, &USER, 100).unwrap();
    let c = tcp(&mut n, &USER);
    n.connect(c, &USER, &LOCAL, None, false).unwrap();
    let mut sum = 0;
    while let Ok(k) = say(&mut n, c, &block) {
        sum += k;
    }
    assert_eq!(sum, tcp::WINDOW);
}

#[test]
fn a_full_backlog_delays_and_then_lets_in() {
    let mut n = net();
    let l = tcp(&mut n, &USER);
    n.bind(l, &USER, &LOCAL, None).unwrap();
    n.listen(l, &USER, 0).unwrap();
    let (a, b) = (tcp(&mut n, &USER), tcp(&mut n, &USER));
    n.connect(a, &USER, &LOCAL, None, false).unwrap();
    assert_eq!(n.connect(b, &USER, &LOCAL, None, false), Err(Errno::EAGAIN));
    n.accept(l, &USER).unwrap();
    n.now += 1_000_000_000;
    n.tick();
    assert_eq!(n.connect(b, &USER, &LOCAL, None, false), Ok(()));
}

#[test]
fn clones_are_apart() {
    let mut n = net();
    let (a, b) = n.socketpair(&USER, AF_UNIX.into(), SOCK_STREAM, 0).unwrap();
    let mut m = n.clone();
    say(&mut n, a, b"n").unwrap();
    say(&mut m, a, b"m").unwrap();
    assert_eq!(
        (hear(&mut n, b), hear(&mut m, b)),
        (Ok(b"n".to_vec()), Ok(b"m".to_vec()))
    );
}

/// Random and half-right bytes into every reader of a program's bytes.
#[test]
fn hostile_bytes() {
    let mut seed = 7u64;
    let mut r = move |n: u64| {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(seed) % n
    };
    let mut n = net();
    let rounds = std::env::var("TURNCOAT_NET_FUZZ")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(20_000);
    let netlinks: Vec<SockId> = [
        netlink::ROUTE,
        netlink::SOCK_DIAG,
        netlink::AUDIT,
        netlink::NETFILTER,
        netlink::GENERIC,
    ]
    .iter()
    .map(|p| n.socket(&ROOT, AF_NETLINK.into(), SOCK_RAW, *p).unwrap())
    .collect();
    let raw = n.socket(&ROOT, AF_INET.into(), SOCK_RAW, IPPROTO_ICMP).unwrap();
    let echo6 = n
        .socket(&ROOT, AF_INET6.into(), SOCK_DGRAM, IPPROTO_ICMPV6)
        .unwrap();
    let stream = tcp(&mut n, &ROOT);
    let dns = n.socket(&ROOT, AF_INET.into(), SOCK_DGRAM, 0).unwrap();
    n.connect(
        dns,
        &ROOT,
        &SockAddr::V4(Ipv4Addr::new(192, 0, 2, 1), 53),
        None,
        false,
    )
    .unwrap();
    for round in 0..rounds {
        let len = r(120) as usize;
        let mut b: Vec<u8> = (0..len)
            .map(|_| if r(3) == 0 { r(256) as u8 } else { r(5) as u8 })
            .collect();
        let _ = SockAddr::parse(&b).map(|a| a.to_bytes());
        if let Some(c) = parse_control(&b) {
            let _ = encode_control(&c, r(64) as usize);
        }
        let _ = dns::question(&b);
        let _ = say(&mut n, dns, &b);
        let mut q = query("a.example-host.net", r(300) as u16);
        let at = r(q.len() as u64) as usize;
        q[at] = r(256) as u8;
        let _ = say(&mut n, dns, &q);
        for (s, ip) in [
            (raw, SockAddr::V4(Ipv4Addr::LOCALHOST, 0)),
            (echo6, SockAddr::V6(Ipv6Addr::LOCALHOST, 0, 0, 0)),
        ] {
            let out = Outgoing {
                data: &b,
                to: Some(ip),
                flags: MSG_DONTWAIT,
                ..Default::default()
            };
            let _ = n.send(s, &ROOT, out);
            let _ = n.recv(s, 100, MSG_DONTWAIT);
        }
        let request = 0x8900 + r(0x90) as u32;
        if request != 0x8914 {
            let mut arg = b"ens3\0".to_vec();
            arg.resize(r(100) as usize, 1);
            let _ = n.ioctl(stream, &ROOT, request, &arg);
        }
        let (level, name) = (r(60) as u32, r(70) as u32);
        let _ = n.setsockopt(stream, &ROOT, level, name, &b);
        let _ = n.getsockopt(stream, level, name);
        // Netlink: a right header around anything.
        if b.len() >= 16 {
            let total = b.len() as u32;
            b[..4].copy_from_slice(&total.to_le_bytes());
            b[4] = 14 + r(30) as u8;
            b[5] = if r(4) == 0 { 10 } else { 0 };
            b[6] = 1 | r(8) as u8;
            b[7] = if r(2) == 0 { 3 } else { r(8) as u8 };
        }
        for s in &netlinks {
            let _ = say(&mut n, *s, &b);
            while n.recv(*s, 65536, MSG_DONTWAIT).is_ok() {}
        }
        n.now += 1_000_000;
        n.tick();
        while hear(&mut n, dns).is_ok() {}
        n.take_effects();
        if round % 64 == 0 {
            for name in procfs::NAMES {
                assert!(n.proc_net(name).is_some(), "{name}");
            }
        }
    }
    assert!(n.facts().routes.len() <= 1024 && n.facts().neighbours.len() <= 1024);
}
