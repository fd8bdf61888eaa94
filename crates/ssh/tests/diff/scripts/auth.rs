//! Under the first keys: services and authentication.

use super::{P, Script, keyed, one, packet, raw};
use crate::diff::{Step, kexinit, lists, usual};

pub(super) fn auth(out: &mut Vec<Script>) {
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
