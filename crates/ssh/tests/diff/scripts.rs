//! The conversations: name and steps. Written once, run against both servers.

#[path = "compressed.rs"]
mod compressed;

use crate::diff::{IDENT, Step, kexinit, lists, usual};
use turncoat_ssh::testing::Put;

type Script = (String, Vec<Step>);

fn raw(b: &[u8]) -> Step {
    Step::Raw(b.to_vec())
}

fn one(p: Vec<u8>) -> Step {
    Step::Packets(vec![p])
}

fn packet(kind: u8) -> P {
    P(vec![kind])
}

/// Builds payloads.
#[derive(Clone)]
struct P(Vec<u8>);

impl P {
    fn s(mut self, v: &[u8]) -> P {
        self.0.put_string(v);
        self
    }
    fn n(mut self, v: u32) -> P {
        self.0.put_u32(v);
        self
    }
    fn b(mut self, v: u8) -> P {
        self.0.put_u8(v);
        self
    }
    fn raw(mut self, v: &[u8]) -> P {
        self.0.extend_from_slice(v);
        self
    }
}

fn idents(out: &mut Vec<Script>) {
    let long = |n: usize| [b"SSH-2.0-".to_vec(), vec![b'a'; n], b"\r\n".to_vec()].concat();
    let cases: Vec<Vec<u8>> = [
        &b"SSH-2.0-OpenSSH_9.2p1\r\n"[..],
        b"SSH-2.0-x\n",
        b"SSH-2.0-x y z\r\n",
        b"SSH-1.99-x\r\n",
        b"SSH-1.5-x\r\n",
        b"SSH-1.0-x\r\n",
        b"SSH-3.0-x\r\n",
        b"SSH-2.1-x\r\n",
        b"SSH-2.99-x\r\n",
        b"SSH-0.0-x\r\n",
        b"SSH--1.0-x\r\n",
        b"SSH-+2.0-x\r\n",
        b"SSH- 2.0-x\r\n",
        b"SSH-2. 0-x\r\n",
        b"SSH-2.-5-x\r\n",
        b"SSH-2.0 -x\r\n",
        b"SSH-2 .0-x\r\n",
        b"SSH-02.00-x\r\n",
        b"SSH-4294967298.0-x\r\n",
        b"SSH-18446744073709551618.0-x\r\n",
        b"SSH-2.0-\r\n",
        b"SSH-2.0\r\n",
        b"SSH-2.\r\n",
        b"SSH-2\r\n",
        b"SSH-\r\n",
        b"SSH\r\n",
        b"\r\n",
        b"\n",
        b"\n\n",
        b"ssh-2.0-x\r\n",
        b"SSH-2.0-x\r",
        b"SSH-2.0-x\rSSH",
        b"SSH-2.0-x\r\r\n",
        b"SSH-2.0-a\0b\r\n",
        b"\0",
        b"SSH-2.0-\xff\xfe\r\n",
        b"SSH-2.0-\t\r\n",
        b"SSH-2.0- \r\n",
        b"SSH-2.0-a-b-c\r\n",
        b"SSH-2.0--\r\n",
        b"SSH-2.0-x",
        b"S",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"hello\r\nSSH-2.0-x\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00",
        b"OPTIONS sip:nm SIP/2.0\r\n\r\n",
        b"HELP\r\n",
        b"EHLO a\r\n",
        b"\r\n\r\n",
        b"SSH-2.0-Go\r\n",
        b"SSH-2.0-paramiko_3.0\r\n",
        b"SSH-2.0-libssh2_1.10\r\n",
        b"SSH-2.0-PuTTY_Release_0.78\r\n",
        b"SSH-2.0-PuTTY_Release_0.60\r\n",
        b"SSH-2.0-PuTTY_Release_0.64x\r\n",
        b"SSH-2.0-FuTTY\r\n",
        b"SSH-2.0-WinSCP_release_5.1\r\n",
        b"SSH-2.0-WinSCP_release_5.7.3\r\n",
        b"SSH-2.0-WinSCP_release_5.8\r\n",
        b"SSH-2.0-OpenSSH_6.6\r\n",
        b"SSH-2.0-OpenSSH_6.6.1\r\n",
        b"SSH-2.0-OpenSSH_6.5p1\r\n",
        b"SSH-2.0-OpenSSH_2.5\r\n",
        b"SSH-2.0-OpenSSH_3.9\r\n",
        b"SSH-2.0-OpenSSH_4.3\r\n",
        b"SSH-2.0-OpenSSH_5.3\r\n",
        b"SSH-2.0-OpenSSH_7.4\r\n",
        b"SSH-2.0-Probe-x\r\n",
        b"SSH-2.0-SSH_Version_Mapper\r\n",
        b"SSH-1.5-NmapNSE_1.0\r\n",
        b"SSH-2.0-Nmap-SSH2-Hostkey\r\n",
        b"SSH-1.5-SSH_Version_Mapper\r\n",
        b"SSH-2.0-Sun_SSH_1.0\r\n",
        b"SSH-2.0-3.0 SecureCRT\r\n",
        b"SSH-2.0-Cisco-1.25\r\n",
        b"SSH-2.0-TTSSH/2.5\r\n",
        b"SSH-2.0-Twisted_22\r\n",
        b"SSH-2.0-Twisted\r\n",
        b"SSH-2.0-dropbear_2022.83\r\n",
        b"SSH-9.9-OpenSSH_5.0\r\n",
        b"SSH-2.0-x\r\nSSH-2.0-y\r\n",
        b"SSH-2.0-x\n\n",
        b"SSH-2.0-x\r\n\r\n",
        b"SSH-2.0-x\r\nabcdefgh",
        b"SSH-2.0-x\r\n\0\0\0\0\0\0\0\0",
        b"SSH-2.0-x\r\nGET / HTTP/1.0\r\n\r\n",
        b"SSH-2.0-x\r\n\xff\xff\xff\xff\xff\xff\xff\xff",
        b"SSH-2.0-x\r\n\0\0\0\x05\x04\x02\0\0",
        b"SSH-2.0-x\n\0\0\0\x0c\x0a\x14\0\0\0\0\0\0\0\0\0\0",
    ]
    .iter()
    .map(|c| c.to_vec())
    .chain([
        long(200),
        long(245),
        long(246),
        long(247),
        long(255),
        long(256),
        long(1000),
        long(8183),
        long(8184),
        long(8185),
        long(8192),
        long(20000),
        vec![b'a'; 300],
        vec![b'a'; 8192],
        vec![b'a'; 8193],
        vec![b'a'; 9000],
        b"x\r\n".repeat(1100),
    ])
    .collect();
    for (i, c) in cases.iter().enumerate() {
        let name: String = c
            .iter()
            .take(24)
            .flat_map(|b| std::ascii::escape_default(*b))
            .map(char::from)
            .collect();
        out.push((format!("ident {i} {name}"), vec![raw(c)]));
        out.push((format!("ident+eof {i} {name}"), vec![raw(c), Step::Eof]));
    }
    out.push(("ident silent eof".into(), vec![Step::Eof]));
    out.push((
        "ident in pieces".into(),
        IDENT.iter().map(|b| raw(&[*b])).collect(),
    ));
    out.push(("ident and kexinit at once".into(), {
        let k = kexinit(&usual(), 0);
        vec![raw(&[IDENT, &plain(&k)].concat())]
    }));
}

/// A packet without cipher, by hand.
fn plain(payload: &[u8]) -> Vec<u8> {
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

fn before_keys(out: &mut Vec<Script>) {
    for kind in 0..=255u8 {
        out.push((
            format!("plain type {kind}"),
            vec![
                raw(IDENT),
                raw(&plain(&[kind])),
                raw(&plain(&kexinit(&usual(), 0))),
            ],
        ));
    }
    for (name, body) in [
        ("ignore", packet(2).s(b"abc").0),
        ("debug", packet(4).b(1).s(b"x").s(b"").0),
        ("debug short", packet(4).b(1).0),
        ("unimplemented", packet(3).n(1).0),
        ("unimplemented short", packet(3).b(1).0),
        ("disconnect", packet(1).n(11).s(b"bye").s(b"").0),
        ("disconnect short", packet(1).n(11).0),
        ("service", packet(5).s(b"ssh-userauth").0),
        (
            "userauth",
            packet(50).s(b"root").s(b"ssh-connection").s(b"none").0,
        ),
        ("newkeys", packet(21).0),
        ("ecdh", packet(30).s(&[9; 32]).0),
        ("gex", packet(34).n(2048).n(2048).n(8192).0),
    ] {
        for (when, strict) in [("plain", false), ("strict", true)] {
            let mut l = usual();
            if !strict {
                l[0] = "curve25519-sha256".into();
            }
            out.push((
                format!("{name} before kexinit {when}"),
                vec![raw(IDENT), raw(&plain(&body)), raw(&plain(&kexinit(&l, 0)))],
            ));
            out.push((
                format!("{name} after kexinit {when}"),
                vec![
                    raw(IDENT),
                    raw(&plain(&kexinit(&l, 0))),
                    raw(&plain(&body)),
                    raw(&plain(&body)),
                ],
            ));
            out.push((
                format!("{name} with kexinit {when}"),
                vec![
                    raw(IDENT),
                    raw(&[plain(&kexinit(&l, 0)), plain(&body), plain(&body)].concat()),
                ],
            ));
        }
    }
    for len in [
        0u32,
        1,
        4,
        5,
        6,
        8,
        11,
        12,
        13,
        16,
        20,
        28,
        35000,
        262_140,
        262_143,
        262_144,
        262_145,
        0x7fff_ffff,
        0xffff_ffff,
    ] {
        for tail in [0usize, 4, 12, 4000, 9000] {
            let mut b = len.to_be_bytes().to_vec();
            b.extend(std::iter::repeat_n(6u8, tail));
            out.push((
                format!("length {len} with {tail}"),
                vec![raw(IDENT), raw(&b), Step::Eof],
            ));
        }
    }
    for pad in [0u8, 1, 3, 4, 5, 6, 7, 10, 11, 12, 255] {
        let mut b = vec![0, 0, 0, 12, pad];
        b.extend_from_slice(&[20; 11]);
        out.push((format!("padding {pad}"), vec![raw(IDENT), raw(&b)]));
    }
    let bad = |f: &dyn Fn(&mut [String; 10])| {
        let mut l = usual();
        f(&mut l);
        l
    };
    for i in 0..10 {
        for (what, v) in [
            ("empty", ""),
            ("unknown", "foo"),
            ("commas", ",,,"),
            ("late", "foo,bar,"),
            ("nul", "a\0b"),
        ] {
            let mut l = usual();
            let v = if what == "late" {
                format!("{v}{}", l[i])
            } else {
                v.to_owned()
            };
            l[i] = v;
            out.push((
                format!("kexinit list {i} {what}"),
                vec![raw(IDENT), raw(&plain(&kexinit(&l, 0)))],
            ));
        }
    }
    for (name, m) in [
        ("short", kexinit(&usual(), 0)[..40].to_vec()),
        ("no reserved", {
            let k = kexinit(&usual(), 0);
            k[..k.len() - 4].to_vec()
        }),
        ("trailing", [kexinit(&usual(), 0), vec![0]].concat()),
        ("cookie only", vec![20; 17]),
        ("no cookie", vec![20; 9]),
        ("reserved", {
            let mut k = kexinit(&usual(), 0);
            let n = k.len();
            k[n - 1] = 9;
            k
        }),
        ("follows 2", kexinit(&usual(), 2)),
    ] {
        out.push((format!("kexinit {name}"), vec![raw(IDENT), raw(&plain(&m))]));
    }
    for (name, l) in [
        (
            "wrong guess",
            bad(&|l| l[0] = "ecdh-sha2-nistp256,curve25519-sha256".into()),
        ),
        (
            "right guess",
            bad(&|l| {
                l[0] = "sntrup761x25519-sha512,curve25519-sha256".into();
                l[1] = "rsa-sha2-512".into();
            }),
        ),
    ] {
        for first in [30u8, 34, 21, 2, 5, 50] {
            out.push((
                format!("{name} then {first}"),
                vec![
                    raw(IDENT),
                    raw(&[plain(&kexinit(&l, 1)), plain(&packet(first).s(&[9; 32]).0)].concat()),
                    raw(&plain(&packet(30).s(&[9; 32]).0)),
                ],
            ));
        }
    }
    let zero33 = [vec![4], vec![0; 64]].concat();
    for (kex, publics) in [
        (
            "curve25519-sha256",
            vec![
                vec![],
                vec![0; 32],
                vec![9; 31],
                vec![9; 33],
                vec![9; 32],
                [vec![1], vec![0; 31]].concat(),
            ],
        ),
        (
            "ecdh-sha2-nistp256",
            vec![vec![], vec![0], vec![4; 65], zero33, vec![4; 64], vec![0; 65]],
        ),
        ("ecdh-sha2-nistp384", vec![vec![], vec![0], vec![4; 97]]),
        ("ecdh-sha2-nistp521", vec![vec![], vec![0], vec![4; 133]]),
        (
            "diffie-hellman-group14-sha256",
            vec![
                vec![],
                vec![0],
                vec![1],
                vec![2],
                vec![0x0f],
                vec![0x80],
                vec![0, 0x80],
                vec![0x0f; 300],
                vec![0x1f; 200],
                vec![0x0f; 2100],
            ],
        ),
        (
            "sntrup761x25519-sha512",
            vec![vec![], vec![0; 1189], vec![0; 1190], vec![7; 1190], vec![7; 1191]],
        ),
    ] {
        for (i, p) in publics.iter().enumerate() {
            let l = lists(kex, "ssh-ed25519", "aes128-ctr", "hmac-sha2-256");
            out.push((
                format!("public {kex} {i}"),
                vec![
                    raw(IDENT),
                    raw(&plain(&kexinit(&l, 0))),
                    raw(&plain(&packet(30).s(p).0)),
                ],
            ));
            if i == 0 {
                out.push((
                    format!("public {kex} trailing"),
                    vec![
                        raw(IDENT),
                        raw(&plain(&kexinit(&l, 0))),
                        raw(&plain(&packet(30).s(&[9; 32]).b(0).0)),
                    ],
                ));
                out.push((
                    format!("public {kex} short"),
                    vec![
                        raw(IDENT),
                        raw(&plain(&kexinit(&l, 0))),
                        raw(&plain(&packet(30).n(50).b(0).0)),
                    ],
                ));
            }
        }
    }
    let gex = lists(
        "diffie-hellman-group-exchange-sha256",
        "ssh-ed25519",
        "aes128-ctr",
        "hmac-sha2-256",
    );
    for (min, want, max) in [
        (8192u32, 4096u32, 2048u32),
        (2048, 1024, 8192),
        (2048, 9000, 8192),
        (1024, 1024, 1024),
        (1024, 1024, 2047),
        (9000, 9000, 9000),
        (0, 0, 0),
        (8193, 8193, 8193),
        (0xffff_ffff, 0xffff_ffff, 0xffff_ffff),
        (3000, 2000, 4000),
    ] {
        out.push((
            format!("gex {min} {want} {max}"),
            vec![
                raw(IDENT),
                raw(&plain(&kexinit(&gex, 0))),
                raw(&plain(&packet(34).n(min).n(want).n(max).0)),
            ],
        ));
    }
    out.push((
        "gex old request".into(),
        vec![
            raw(IDENT),
            raw(&plain(&kexinit(&gex, 0))),
            raw(&plain(&packet(30).n(2048).0)),
        ],
    ));
    out.push((
        "gex init first".into(),
        vec![
            raw(IDENT),
            raw(&plain(&kexinit(&gex, 0))),
            raw(&plain(&packet(32).s(&[9; 32]).0)),
        ],
    ));
    for hk in [
        "rsa-sha2-512",
        "rsa-sha2-256",
        "ecdsa-sha2-nistp256",
        "ssh-ed25519",
    ] {
        let l = lists("curve25519-sha256", hk, "aes128-ctr", "hmac-sha2-256");
        out.push((format!("host key {hk}"), vec![raw(IDENT), Step::Kex(Box::new(l))]));
    }
}

fn keyed(l: [String; 10]) -> Vec<Step> {
    vec![raw(IDENT), Step::Kex(Box::new(l))]
}

fn auth(out: &mut Vec<Script>) {
    let service = || one(packet(5).s(b"ssh-userauth").0);
    let req = |user: &[u8], svc: &[u8], method: &[u8]| packet(50).s(user).s(svc).s(method);
    let none = |user: &[u8]| req(user, b"ssh-connection", b"none").0;
    for kind in 0..=255u8 {
        let mut s = keyed(usual());
        s.extend([service(), one(packet(kind).0), one(none(b"root"))]);
        out.push((format!("auth type {kind}"), s));
        let mut s = keyed(usual());
        s.extend([one(packet(kind).n(1).s(b"abc").0), service()]);
        out.push((format!("keyed type {kind}"), s));
    }
    for cipher in [
        "chacha20-poly1305@openssh.com",
        "aes128-ctr",
        "aes256-gcm@openssh.com",
        "aes128-gcm@openssh.com",
        "aes192-ctr",
        "aes256-ctr",
    ] {
        for mac in [
            "hmac-sha2-256",
            "umac-64-etm@openssh.com",
            "hmac-sha1",
            "umac-128@openssh.com",
            "hmac-sha2-512-etm@openssh.com",
        ] {
            if !cipher.ends_with("ctr") && mac != "hmac-sha2-256" {
                continue;
            }
            let l = lists("curve25519-sha256,ext-info-c", "ssh-ed25519", cipher, mac);
            for at in [0isize, 1, 2, 3, 4, 5, 8, 17, -1, -9] {
                let mut s = keyed(l.clone());
                s.extend([service(), Step::Flipped(none(b"root"), at), Step::Eof]);
                out.push((format!("flip {at} {cipher} {mac}"), s));
            }
            let mut s = keyed(l);
            s.extend([
                service(),
                one(none(b"root")),
                raw(&[0xff; 20]),
                raw(&[0x55; 9000]),
            ]);
            out.push((format!("garbage {cipher} {mac}"), s));
        }
    }
    let mut add = |name: &str, packets: Vec<Vec<u8>>| {
        let mut s = keyed(usual());
        s.push(service());
        s.extend(packets.iter().cloned().map(one));
        out.push((format!("auth {name}"), s));
        let mut s = keyed(usual());
        let mut all = vec![packet(5).s(b"ssh-userauth").0];
        all.extend(packets);
        s.push(Step::Packets(all));
        out.push((format!("auth at once {name}"), s));
    };
    add("none", vec![none(b"root")]);
    add("none twice", vec![none(b"root"), none(b"root")]);
    add("none nobody", vec![none(b"nosuchuser")]);
    add("none many", vec![none(b"root"); 9]);
    add(
        "none trailing",
        vec![packet(50).s(b"root").s(b"ssh-connection").s(b"none").b(1).0],
    );
    add(
        "other service",
        vec![
            req(b"root", b"foo", b"none").0,
            req(b"root", b"foo", b"password").b(0).s(b"x").0,
        ],
    );
    add("change user", vec![none(b"root"), none(b"daemon")]);
    add(
        "change service",
        vec![none(b"root"), req(b"root", b"ssh-userauth", b"none").0],
    );
    add("style", vec![none(b"root:a"), none(b"root:b"), none(b"root")]);
    add("empty user", vec![none(b"")]);
    add("empty method", vec![req(b"root", b"ssh-connection", b"").0]);
    add("nul user", vec![none(b"ro\0ot")]);
    add("nul end user", vec![none(b"root\0"), none(b"root")]);
    add("long user", vec![none(&[b'a'; 2000]), none(b"b")]);
    for m in [
        "foo",
        "hostbased",
        "gssapi-with-mic",
        "gssapi-keyex",
        "keyboard-interactive",
        "NONE",
        "publickey ",
        "password,publickey",
    ] {
        add(
            &format!("method {m}"),
            vec![req(b"root", b"ssh-connection", m.as_bytes()).s(b"").s(b"").0; 7],
        );
    }
    add("short 1", vec![packet(50).0]);
    add("short 2", vec![packet(50).s(b"root").0]);
    add("short 3", vec![packet(50).s(b"root").s(b"ssh-connection").0]);
    let pw = |u: &[u8]| req(u, b"ssh-connection", b"password");
    for user in [&b"nosuchuser"[..], b"daemon"] {
        let u = String::from_utf8_lossy(user).into_owned();
        add(&format!("password {u}"), vec![pw(user).b(0).s(b"x").0]);
        add(&format!("password empty {u}"), vec![pw(user).b(0).s(b"").0]);
        add(
            &format!("password long {u}"),
            vec![pw(user).b(0).s(&[b'x'; 3000]).0],
        );
        add(
            &format!("password change {u}"),
            vec![pw(user).b(1).s(b"a").s(b"b").0],
        );
        add(
            &format!("password change short {u}"),
            vec![pw(user).b(1).s(b"a").0],
        );
        add(&format!("password short {u}"), vec![pw(user).0]);
        add(
            &format!("password trailing {u}"),
            vec![pw(user).b(0).s(b"a").b(0).0],
        );
        add(&format!("password nul {u}"), vec![pw(user).b(0).s(b"a\0b").0]);
        add(&format!("password nul end {u}"), vec![pw(user).b(0).s(b"a\0").0]);
        add(
            &format!("password flag {u}"),
            vec![pw(user).b(7).s(b"a").s(b"b").0],
        );
        add(&format!("password six {u}"), vec![pw(user).b(0).s(b"a").0; 7]);
        add(
            &format!("password seven after none {u}"),
            [vec![none(user)], vec![pw(user).b(0).s(b"a").0; 7]].concat(),
        );
        let pk = |u: &[u8]| req(u, b"ssh-connection", b"publickey");
        let ed = P(vec![]).s(b"ssh-ed25519").s(&[3; 32]).0;
        add(
            &format!("pk query {u}"),
            vec![pk(user).b(0).s(b"ssh-ed25519").s(&ed).0; 3],
        );
        add(
            &format!("pk query trailing {u}"),
            vec![pk(user).b(0).s(b"ssh-ed25519").s(&ed).b(0).0],
        );
        add(
            &format!("pk unknown {u}"),
            vec![pk(user).b(0).s(b"foo").s(&ed).b(0).0],
        );
        add(
            &format!("pk mismatch {u}"),
            vec![pk(user).b(0).s(b"rsa-sha2-512").s(&ed).b(0).0],
        );
        add(
            &format!("pk ssh-rsa {u}"),
            vec![pk(user).b(0).s(b"ssh-rsa").s(&ed).b(0).0],
        );
        add(
            &format!("pk bad blob {u}"),
            vec![pk(user).b(0).s(b"ssh-ed25519").s(b"xx").b(0).0],
        );
        add(
            &format!("pk bad blob tail {u}"),
            vec![
                pk(user)
                    .b(0)
                    .s(b"ssh-ed25519")
                    .s(&[ed.clone(), vec![0]].concat())
                    .b(0)
                    .0,
            ],
        );
        add(&format!("pk short {u}"), vec![pk(user).b(0).s(b"ssh-ed25519").0]);
        add(
            &format!("pk sig {u}"),
            vec![pk(user).b(1).s(b"ssh-ed25519").s(&ed).s(b"sig").0; 2],
        );
        add(
            &format!("pk sig missing {u}"),
            vec![pk(user).b(1).s(b"ssh-ed25519").s(&ed).0],
        );
        add(
            &format!("pk sig trailing {u}"),
            vec![pk(user).b(1).s(b"ssh-ed25519").s(&ed).s(b"sig").b(0).0],
        );
        add(
            &format!("pk nul alg {u}"),
            vec![pk(user).b(0).s(b"ssh\0ed").s(&ed).0],
        );
        add(
            &format!("pk sk {u}"),
            vec![
                pk(user)
                    .b(0)
                    .s(b"sk-ssh-ed25519@openssh.com")
                    .s(&P(vec![])
                        .s(b"sk-ssh-ed25519@openssh.com")
                        .s(&[3; 32])
                        .s(b"ssh:")
                        .0)
                    .0,
            ],
        );
        add(
            &format!("pk small rsa {u}"),
            vec![
                pk(user)
                    .b(0)
                    .s(b"rsa-sha2-256")
                    .s(&P(vec![]).s(b"ssh-rsa").s(&[1, 0, 1]).s(&[0x7f; 100]).0)
                    .b(0)
                    .0,
            ],
        );
        add(
            &format!("pk dss {u}"),
            vec![
                pk(user)
                    .b(0)
                    .s(b"ssh-dss")
                    .s(&P(vec![]).s(b"ssh-dss").s(&[3]).s(&[3]).s(&[3]).s(&[3]).0)
                    .b(0)
                    .0,
            ],
        );
        let hb = req(user, b"ssh-connection", b"publickey-hostbound-v00@openssh.com");
        add(
            &format!("hostbound wrong {u}"),
            vec![hb.clone().b(0).s(b"ssh-ed25519").s(&ed).s(&ed).0],
        );
        add(
            &format!("hostbound missing {u}"),
            vec![hb.clone().b(0).s(b"ssh-ed25519").s(&ed).0],
        );
        add(
            &format!("hostbound junk {u}"),
            vec![hb.b(0).s(b"ssh-ed25519").s(&ed).s(b"junk").0],
        );
    }
    add(
        "ext-info",
        vec![
            packet(7).n(1).s(b"ext-info-in-auth@openssh.com").s(b"0").0,
            packet(7).n(0).0,
            none(b"root"),
        ],
    );
    add("ext-info many", vec![packet(7).n(1024).0]);
    add("ext-info short", vec![packet(7).n(2).s(b"a").s(b"b").0]);
    add("ext-info trailing", vec![packet(7).n(0).b(0).0]);
    add(
        "service again",
        vec![packet(5).s(b"ssh-userauth").0, none(b"root")],
    );
    add("service other", vec![packet(5).s(b"ssh-connection").0]);
    add("service empty", vec![packet(5).s(b"").0]);
    add("service trailing", vec![packet(5).s(b"ssh-userauth").b(0).0]);
    add("disconnect", vec![packet(1).n(11).s(b"x").s(b"").0]);
    add(
        "ignore",
        vec![
            packet(2).s(b"x").0,
            packet(4).b(0).s(b"x").s(b"").0,
            packet(3).n(0).0,
            none(b"root"),
        ],
    );
    add("info response", vec![packet(61).n(0).0]);
    add("kexinit in auth", vec![kexinit(&usual(), 0), none(b"root")]);
}

fn session(out: &mut Vec<Script>) {
    let open = || packet(90).s(b"session").n(5).n(0x20_0000).n(0x8000).0;
    let req = |id: u32, name: &str, want: u8| packet(98).n(id).s(name.as_bytes()).b(want);
    let base = |more: Vec<Step>| {
        let mut s = keyed(usual());
        s.push(Step::SignIn);
        s.extend(more);
        s
    };
    for kind in 0..=255u8 {
        out.push((
            format!("session type {kind}"),
            base(vec![one(packet(kind).0), one(open())]),
        ));
        if (80..=100).contains(&kind) || kind < 50 {
            out.push((
                format!("session type {kind} zero"),
                base(vec![one(packet(kind).n(0).0), one(open())]),
            ));
            out.push((
                format!("session type {kind} open"),
                base(vec![one(open()), one(packet(kind).n(0).n(0).0), one(open())]),
            ));
        }
    }
    let mut add = |name: &str, packets: Vec<Vec<u8>>| {
        out.push((
            format!("session {name}"),
            base(packets.iter().cloned().map(one).collect()),
        ));
        out.push((
            format!("session at once {name}"),
            base(vec![Step::Packets(packets)]),
        ));
    };
    add("sign in", vec![]);
    add("open", vec![open()]);
    add("open eleven", vec![open(); 12]);
    add(
        "open trailing",
        vec![packet(90).s(b"session").n(5).n(0).n(0).b(1).0],
    );
    add(
        "open unknown",
        vec![
            packet(90).s(b"foo").n(5).n(0).n(0).0,
            packet(90).s(b"x11").n(6).n(0).n(0).0,
            packet(90).s(b"auth-agent@openssh.com").n(6).n(0).n(0).0,
            packet(90).s(b"forwarded-tcpip").n(6).n(0).n(0).0,
        ],
    );
    add(
        "open close",
        vec![
            open(),
            packet(97).n(0).0,
            open(),
            packet(96).n(0).0,
            packet(97).n(0).0,
        ],
    );
    add("close twice", vec![open(), packet(97).n(0).0, packet(97).n(0).0]);
    add("close unknown", vec![packet(97).n(3).0]);
    add("eof", vec![open(), packet(96).n(0).0, packet(96).n(0).0]);
    add("eof trailing", vec![open(), packet(96).n(0).b(0).0]);
    add(
        "data larval",
        vec![
            open(),
            packet(94).n(0).s(b"abc").0,
            packet(94).n(0).s(&[0; 40000]).0,
        ],
    );
    add("data unknown", vec![packet(94).n(7).s(b"abc").0]);
    add("extended larval", vec![open(), packet(95).n(0).n(1).s(b"abc").0]);
    add(
        "adjust",
        vec![open(), packet(93).n(0).n(5).0, packet(93).n(9).n(5).0],
    );
    add("adjust overflow", vec![open(), packet(93).n(0).n(0xffff_ffff).0]);
    add("confirm", vec![open(), packet(91).n(0).n(0).n(0).n(0).0]);
    add("confirm unknown", vec![packet(91).n(8).n(0).n(0).n(0).0]);
    add("failure", vec![open(), packet(92).n(0).n(1).s(b"a").s(b"").0]);
    add("request unknown channel", vec![req(0, "shell", 1).0]);
    add("request big channel", vec![req(0xffff_fffe, "shell", 1).0]);
    for name in [
        "foo",
        "eow@openssh.com",
        "keepalive@openssh.com",
        "xon-xoff",
        "exit-status",
        "exit-signal",
        "puttysimple",
        "winadj@putty.projects.tartarus.org",
        "auth-agent-req",
    ] {
        add(
            &format!("request {name}"),
            vec![open(), req(0, name, 1).0, req(0, name, 0).0, req(0, name, 1).0],
        );
    }
    add(
        "env",
        vec![
            open(),
            req(0, "env", 1).s(b"LANG").s(b"C").0,
            req(0, "env", 1).s(b"FOO").s(b"C").0,
            req(0, "env", 1).s(b"LC_X").s(b"").0,
            req(0, "env", 0).s(b"LANG").s(b"C").0,
        ],
    );
    add("env short", vec![open(), req(0, "env", 1).s(b"LANG").0]);
    add(
        "env many",
        [vec![open()], vec![req(0, "env", 1).s(b"LC_A").s(b"C").0; 131]].concat(),
    );
    add(
        "window change",
        vec![open(), req(0, "window-change", 1).n(1).n(2).n(3).n(4).0],
    );
    add(
        "window change short",
        vec![open(), req(0, "window-change", 1).n(1).0],
    );
    add("break", vec![open(), req(0, "break", 1).n(100).0]);
    add(
        "signal larval",
        vec![
            open(),
            req(0, "signal", 1).s(b"INT").0,
            req(0, "signal", 1).s(b"FOO").0,
        ],
    );
    add(
        "subsystem none",
        vec![
            open(),
            req(0, "subsystem", 1).s(b"foo").0,
            req(0, "subsystem", 1).s(b"").0,
        ],
    );
    add(
        "agent",
        vec![
            open(),
            req(0, "auth-agent-req@openssh.com", 1).0,
            req(0, "auth-agent-req@openssh.com", 1).0,
        ],
    );
    add(
        "pty twice",
        vec![
            open(),
            req(0, "pty-req", 1).s(b"xterm").n(80).n(24).n(0).n(0).s(b"\0").0,
            req(0, "pty-req", 1).s(b"xterm").n(80).n(24).n(0).n(0).s(b"\0").0,
        ],
    );
    add("pty short", vec![open(), req(0, "pty-req", 1).s(b"xterm").0]);
    add(
        "pty modes empty",
        vec![open(), req(0, "pty-req", 1).s(b"").n(0).n(0).n(0).n(0).s(b"").0],
    );
    add("exec short", vec![open(), req(0, "exec", 1).0]);
    add("exec trailing", vec![open(), req(0, "exec", 1).s(b"true").b(0).0]);
    add("exec nul", vec![open(), req(0, "exec", 1).s(b"tr\0ue").0]);
    let cat = || req(0, "exec", 1).s(b"cat").0;
    add("cat", vec![open(), cat(), packet(94).n(0).s(b"hello\n").0]);
    add(
        "cat again",
        vec![
            open(),
            cat(),
            cat(),
            req(0, "shell", 1).0,
            req(0, "env", 1).s(b"LANG").s(b"C").0,
        ],
    );
    add(
        "cat window change",
        vec![open(), cat(), req(0, "window-change", 1).n(1).n(2).n(3).n(4).0],
    );
    add(
        "cat signal",
        vec![
            open(),
            cat(),
            req(0, "signal", 1).s(b"FOO").0,
            req(0, "signal", 1).s(b"SEGV").0,
            req(0, "signal", 1).s(b"ALRM").0,
        ],
    );
    add("cat big", vec![open(), cat(), packet(94).n(0).s(&[65; 32768]).0]);
    add(
        "cat too big",
        vec![
            open(),
            cat(),
            packet(94).n(0).s(&[65; 32769]).0,
            packet(94).n(0).s(b"x").0,
        ],
    );
    add(
        "cat extended",
        vec![
            open(),
            cat(),
            packet(95).n(0).n(1).s(b"abc").0,
            packet(95).n(0).n(7).s(b"abc").0,
            packet(95).n(0).0,
        ],
    );
    add(
        "cat adjust overflow",
        vec![open(), cat(), packet(93).n(0).n(0xffff_ffff).0],
    );
    add("cat data short", vec![open(), cat(), packet(94).n(0).0]);
    add(
        "cat data trailing",
        vec![open(), cat(), packet(94).n(0).s(b"x").b(0).0],
    );
    for (n, v) in [
        ("keepalive@openssh.com", &b""[..]),
        ("foo", b""),
        ("no-more-sessions@openssh.com", b""),
        ("hostkeys-00@openssh.com", b""),
        ("hostkeys-prove-00@openssh.com", b""),
        ("hostkeys-prove-00@openssh.com", b"\0\0\0\x03abc"),
        ("hostkeys-prove-00@openssh.com", b"\0\0\0\x03a"),
        ("cancel-tcpip-forward", b"\0\0\0\0\0\0\0\x09"),
        ("tcpip-forward", b""),
        ("cancel-tcpip-forward", b"\0"),
        ("streamlocal-forward@openssh.com", b"\0"),
        ("cancel-streamlocal-forward@openssh.com", b"\0\0\0\x02/x"),
    ] {
        add(
            &format!("global {n} {}", v.len()),
            vec![
                packet(80).s(n.as_bytes()).b(1).raw(v).0,
                packet(80).s(n.as_bytes()).b(0).raw(v).0,
            ],
        );
    }
    add("global short", vec![packet(80).s(b"foo").0]);
    add(
        "no more sessions",
        vec![packet(80).s(b"no-more-sessions@openssh.com").b(0).0, open()],
    );
    add(
        "forward port 0 silent",
        vec![packet(80).s(b"tcpip-forward").b(0).s(b"localhost").n(0).0],
    );
    add(
        "tun",
        vec![
            packet(90).s(b"tun@openssh.com").n(1).n(0).n(0).n(1).n(0).0,
            packet(90).s(b"tun@openssh.com").n(1).n(0).n(0).n(9).n(0).0,
        ],
    );
    add(
        "direct refused",
        vec![
            packet(90)
                .s(b"direct-tcpip")
                .n(1)
                .n(0)
                .n(0)
                .s(b"127.0.0.1")
                .n(1)
                .s(b"127.0.0.1")
                .n(9)
                .0,
        ],
    );
    add(
        "direct short",
        vec![packet(90).s(b"direct-tcpip").n(1).n(0).n(0).s(b"127.0.0.1").0],
    );
    add(
        "direct big port",
        vec![
            packet(90)
                .s(b"direct-tcpip")
                .n(1)
                .n(0)
                .n(0)
                .s(b"127.0.0.1")
                .n(65536)
                .s(b"127.0.0.1")
                .n(9)
                .0,
        ],
    );
    add(
        "userauth after",
        vec![
            packet(50).s(b"root").s(b"ssh-connection").s(b"none").0,
            packet(5).s(b"ssh-userauth").0,
        ],
    );
    add("disconnect", vec![packet(1).n(11).s(b"x").s(b"").0]);
    out.push((
        "session rekey".into(),
        base(vec![Step::Kex(Box::new(usual())), one(open())]),
    ));
    out.push((
        "session rekey twice".into(),
        base(vec![
            Step::Kex(Box::new(usual())),
            one(open()),
            Step::Kex(Box::new(lists(
                "curve25519-sha256",
                "rsa-sha2-256",
                "chacha20-poly1305@openssh.com",
                "hmac-sha1",
            ))),
            one(open()),
        ]),
    ));
    out.push((
        "session rekey mismatch".into(),
        base(vec![one(kexinit(&lists("foo", "bar", "x", "y"), 0))]),
    ));
    out.push((
        "session kexinit then open".into(),
        base(vec![
            one(kexinit(&usual(), 0)),
            one(open()),
            one(kexinit(&usual(), 0)),
        ]),
    ));
    out.push(("session eof".into(), base(vec![one(open()), Step::Eof])));
}

/// Every conversation, in order.
pub fn all() -> Vec<Script> {
    let mut out = Vec::new();
    idents(&mut out);
    before_keys(&mut out);
    auth(&mut out);
    session(&mut out);
    compressed::conversations(&mut out);
    // Names are the keys of the golden file.
    for (i, s) in out.iter_mut().enumerate() {
        s.0 = format!("{i:04} {}", s.0);
    }
    out
}
