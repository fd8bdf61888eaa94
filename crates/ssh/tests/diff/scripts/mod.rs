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
