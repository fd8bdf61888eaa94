//! Conversations under zlib@openssh.com. How long a packet is tells how it was compressed, so the bytes on the wire are compared, too.

use super::{P, Script, cat, keyed, one, open, packet};
use crate::diff::{Step, lists, usual};

fn under_zlib(to_server: &str, to_client: &str) -> [String; 10] {
    let mut l = lists(
        "curve25519-sha256,ext-info-c,kex-strict-c-v00@openssh.com",
        "ssh-ed25519",
        // Its blocks are the shortest, so lengths say most.
        "chacha20-poly1305@openssh.com",
        "hmac-sha2-256",
    );
    (l[6], l[7]) = (to_server.to_owned(), to_client.to_owned());
    l
}

/// Text that is neither all alike nor without a pattern.
fn text(bytes: usize) -> Vec<u8> {
    let words = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf"];
    let mut n = 1u32;
    let mut out = Vec::new();
    while out.len() < bytes {
        n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        out.extend_from_slice(words[(n >> 24) as usize % words.len()].as_bytes());
        out.extend_from_slice((n >> 16 & 0xff).to_string().as_bytes());
        out.push(b' ');
    }
    out.truncate(bytes);
    out
}

pub(super) fn compressed(out: &mut Vec<Script>) {
    const ZLIB: &str = "zlib@openssh.com";
    let under = |l: [String; 10], more: Vec<Step>| {
        let mut s = keyed(l);
        s.push(Step::SignIn);
        s.extend(more);
        s
    };
    let data = |b: &[u8]| packet(94).n(0).s(b).0;
    let echoed = |sizes: &[usize]| {
        let mut s = vec![one(open()), one(cat())];
        s.extend(sizes.iter().map(|n| one(data(&text(*n)))));
        s
    };
    let both = || under_zlib(ZLIB, ZLIB);
    let mut add = |name: &str, l: [String; 10], steps: Vec<Step>| {
        out.push((format!("compressed {name}"), under(l, steps)));
    };
    add("sign in", both(), vec![]);
    add("open", both(), vec![one(open())]);
    add("open eleven", both(), (0..12).map(|_| one(open())).collect());
    add(
        "at once",
        both(),
        vec![Step::Packets(vec![open(), cat(), data(b"hello\n")])],
    );
    add("echo short", both(), echoed(&[1, 2, 3, 10, 100]));
    add("echo long", both(), echoed(&[1000, 4000, 1000]));
    add("echo longer than a packet", both(), echoed(&[32_768, 10]));
    add(
        "to the server only",
        under_zlib(ZLIB, "none"),
        echoed(&[10, 1000]),
    );
    add(
        "to the client only",
        under_zlib("none", ZLIB),
        echoed(&[10, 1000]),
    );
    add(
        "nothing to unpack",
        both(),
        vec![one(open()), Step::Unpacked(vec![])],
    );
    add(
        "not compressed",
        both(),
        vec![one(open()), Step::Unpacked(cat()), one(open())],
    );
    add("not compressed at first", both(), vec![Step::Unpacked(open())]);
    // A stream's end: an empty block with fixed codes, and the sum over what came before cannot be right.
    add(
        "the stream ends",
        both(),
        vec![Step::Unpacked(vec![0x78, 0x9c, 0x03, 0, 0, 0, 0, 1]), one(open())],
    );
    add(
        "a wrong head",
        both(),
        vec![Step::Unpacked(vec![0x79, 0x9c, 0, 0, 0, 0xff, 0xff]), one(open())],
    );
    add(
        "a sync that says nothing",
        both(),
        vec![
            one(open()),
            Step::Unpacked(vec![0, 0, 0, 0xff, 0xff]),
            one(open()),
        ],
    );
    for (name, again) in [
        ("again compressed", both()),
        ("without", under_zlib("none", "none")),
        ("to the client only", under_zlib("none", ZLIB)),
    ] {
        add(
            &format!("rekey {name}"),
            both(),
            vec![
                one(open()),
                one(cat()),
                Step::Kex(Box::new(again)),
                one(data(&text(500))),
                one(open()),
            ],
        );
    }
    add(
        "rekey compressed at last",
        usual(),
        vec![
            one(open()),
            one(cat()),
            Step::Kex(Box::new(both())),
            one(data(&text(500))),
            one(open()),
        ],
    );
    for kind in [
        0, 1, 2, 3, 4, 5, 6, 20, 21, 30, 50, 52, 80, 91, 100, 191, 192, 255,
    ] {
        add(
            &format!("type {kind}"),
            both(),
            vec![one(P(vec![kind]).0), one(open())],
        );
    }
}
