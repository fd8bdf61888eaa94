//! After a login: channels, requests, new keys.

use super::{Script, cat, keyed, one, open, packet, req};
use crate::diff::{Step, kexinit, lists, usual};

pub(super) fn session(out: &mut Vec<Script>) {
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
