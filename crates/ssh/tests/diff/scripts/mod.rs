//! The conversations: name and steps. Written once, run against both servers.

mod auth;
mod before_keys;
mod compressed;
mod idents;
mod session;

use auth::auth;
use before_keys::before_keys;
use compressed::compressed;
use idents::idents;
use session::session;

use crate::diff::{IDENT, Step};
use turncoat_ssh::fuzzing::plain;
use turncoat_ssh::testing::Put;

type Script = (String, Vec<Step>);

/// Every conversation, in order.
pub fn all() -> Vec<Script> {
    let mut out = Vec::new();
    idents(&mut out);
    before_keys(&mut out);
    auth(&mut out);
    session(&mut out);
    compressed(&mut out);
    // Names are the keys of the golden file.
    for (i, s) in out.iter_mut().enumerate() {
        s.0 = format!("{i:04} {}", s.0);
    }
    out
}

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

fn keyed(l: [String; 10]) -> Vec<Step> {
    vec![raw(IDENT), Step::Kex(Box::new(l))]
}

/// Opens a session.
fn open() -> Vec<u8> {
    packet(90).s(b"session").n(5).n(0x20_0000).n(0x8000).0
}

/// A request on a channel, as far as they are all alike.
fn req(id: u32, name: &str, want: u8) -> P {
    packet(98).n(id).s(name.as_bytes()).b(want)
}

/// Runs `cat` on the first channel.
fn cat() -> Vec<u8> {
    req(0, "exec", 1).s(b"cat").0
}
