//! From the first packet to new keys.

use super::{Script, packet, plain, raw};
use crate::diff::{IDENT, Step, kexinit, lists, usual};

pub(super) fn before_keys(out: &mut Vec<Script>) {
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
