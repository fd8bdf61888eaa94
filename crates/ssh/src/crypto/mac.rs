//! Message authentication of the packet layer (RFC 4253 section 6.4, RFC 6668, OpenSSH's PROTOCOL).

use super::umac::Umac;
use hmac::{Hmac, Mac as _};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Sha1,
    Sha256,
    Sha512,
    Umac64,
    Umac128,
}

/// Name, kind, encrypt-then-MAC, bytes of key, bytes of tag.
const MACS: [(&str, Kind, bool, usize, usize); 10] = [
    ("umac-64-etm@openssh.com", Kind::Umac64, true, 16, 8),
    ("umac-128-etm@openssh.com", Kind::Umac128, true, 16, 16),
    ("hmac-sha2-256-etm@openssh.com", Kind::Sha256, true, 32, 32),
    ("hmac-sha2-512-etm@openssh.com", Kind::Sha512, true, 64, 64),
    ("hmac-sha1-etm@openssh.com", Kind::Sha1, true, 20, 20),
    ("umac-64@openssh.com", Kind::Umac64, false, 16, 8),
    ("umac-128@openssh.com", Kind::Umac128, false, 16, 16),
    ("hmac-sha2-256", Kind::Sha256, false, 32, 32),
    ("hmac-sha2-512", Kind::Sha512, false, 64, 64),
    ("hmac-sha1", Kind::Sha1, false, 20, 20),
];

/// What is known of a MAC before it has a key.
#[derive(Debug, Clone, Copy)]
pub struct MacSpec {
    kind: Kind,
    /// Encrypt-then-MAC: over the ciphertext, with the length in clear.
    pub etm: bool,
    /// Bytes of key.
    pub key_len: usize,
    /// Bytes of tag.
    pub tag_len: usize,
}

impl MacSpec {
    /// By the name in KEXINIT.
    pub fn by_name(name: &str) -> Option<MacSpec> {
        let (_, kind, etm, key_len, tag_len) = MACS.iter().find(|m| m.0 == name)?;
        Some(MacSpec {
            kind: *kind,
            etm: *etm,
            key_len: *key_len,
            tag_len: *tag_len,
        })
    }
}

#[derive(Clone)]
enum State {
    Sha1(Box<Hmac<Sha1>>),
    Sha256(Box<Hmac<Sha256>>),
    Sha512(Box<Hmac<Sha512>>),
    Umac64(Box<Umac<2>>),
    Umac128(Box<Umac<4>>),
}

/// A keyed MAC.
#[derive(Clone)]
pub struct Mac {
    state: State,
    /// Its properties.
    pub spec: MacSpec,
}

impl std::fmt::Debug for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mac({:?})", self.spec)
    }
}

impl Mac {
    /// With `spec.key_len` bytes of key; `None` if there are fewer.
    pub fn new(spec: MacSpec, key: &[u8]) -> Option<Mac> {
        let key = key.get(..spec.key_len)?;
        let key16 = || <[u8; 16]>::try_from(key).ok();
        let state = match spec.kind {
            Kind::Sha1 => State::Sha1(Box::new(Hmac::new_from_slice(key).ok()?)),
            Kind::Sha256 => State::Sha256(Box::new(Hmac::new_from_slice(key).ok()?)),
            Kind::Sha512 => State::Sha512(Box::new(Hmac::new_from_slice(key).ok()?)),
            Kind::Umac64 => State::Umac64(Box::new(Umac::new(&key16()?))),
            Kind::Umac128 => State::Umac128(Box::new(Umac::new(&key16()?))),
        };
        Some(Mac { state, spec })
    }

    /// Appends the tag of packet number `seq` to `out`.
    pub fn tag(&self, seq: u32, data: &[u8], out: &mut Vec<u8>) {
        fn hmac<M: hmac::Mac + Clone>(m: &M, seq: u32, data: &[u8], out: &mut Vec<u8>) {
            let mut m = m.clone();
            m.update(&seq.to_be_bytes());
            m.update(data);
            out.extend_from_slice(&m.finalize().into_bytes());
        }
        match &self.state {
            State::Sha1(m) => hmac(m.as_ref(), seq, data, out),
            State::Sha256(m) => hmac(m.as_ref(), seq, data, out),
            State::Sha512(m) => hmac(m.as_ref(), seq, data, out),
            State::Umac64(m) => out.extend_from_slice(&m.tag(&[data], u64::from(seq))[..8]),
            State::Umac128(m) => out.extend_from_slice(&m.tag(&[data], u64::from(seq))),
        }
    }

    /// Whether `tag` is the right one.
    pub fn verify(&self, seq: u32, data: &[u8], tag: &[u8]) -> bool {
        let mut want = Vec::with_capacity(64);
        self.tag(seq, data, &mut want);
        want.ct_eq(tag).into()
    }
}
