//! Ciphers of the packet layer: `chacha20-poly1305@openssh.com`, AES-CTR (RFC 4344), AES-GCM (RFC 5647).
//!
//! One value is one direction's cipher with its running state.

use aes::cipher::{BlockEncrypt, KeyInit, KeyIvInit, StreamCipher, StreamCipherSeek};
use aes::{Aes128, Aes192, Aes256};
use chacha20::ChaCha20Legacy;
use ctr::Ctr128BE;
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use poly1305::Poly1305;
use subtle::ConstantTimeEq;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    ChaCha,
    Ctr,
    Gcm,
}

/// Name, kind, block size, key bytes, IV bytes, tag bytes.
const CIPHERS: [(&str, Kind, usize, usize, usize, usize); 6] = [
    ("chacha20-poly1305@openssh.com", Kind::ChaCha, 8, 64, 0, 16),
    ("aes128-ctr", Kind::Ctr, 16, 16, 16, 0),
    ("aes192-ctr", Kind::Ctr, 16, 24, 16, 0),
    ("aes256-ctr", Kind::Ctr, 16, 32, 16, 0),
    ("aes128-gcm@openssh.com", Kind::Gcm, 16, 16, 12, 16),
    ("aes256-gcm@openssh.com", Kind::Gcm, 16, 32, 12, 16),
];

/// What is known of a cipher before it has a key.
#[derive(Debug, Clone, Copy)]
pub struct CipherSpec {
    kind: Kind,
    /// Bytes that packets are padded to.
    pub block: usize,
    /// Bytes of key.
    pub key_len: usize,
    /// Bytes of IV.
    pub iv_len: usize,
    /// Bytes of the tag that the cipher itself makes; 0 if a MAC is needed.
    pub tag_len: usize,
}

impl CipherSpec {
    /// By the name in KEXINIT.
    pub fn by_name(name: &str) -> Option<CipherSpec> {
        let (_, kind, block, key_len, iv_len, tag_len) = CIPHERS.iter().find(|c| c.0 == name)?;
        Some(CipherSpec {
            kind: *kind,
            block: *block,
            key_len: *key_len,
            iv_len: *iv_len,
            tag_len: *tag_len,
        })
    }

    /// Whether the cipher authenticates, so that no MAC is negotiated.
    pub fn aead(&self) -> bool {
        self.tag_len != 0
    }
}

enum Aes {
    A128(Box<Aes128>),
    A256(Box<Aes256>),
}

impl Aes {
    fn block(&self, b: &mut [u8; 16]) {
        match self {
            Aes::A128(a) => a.encrypt_block(b.into()),
            Aes::A256(a) => a.encrypt_block(b.into()),
        }
    }

    fn ctr32(&self, nonce: &[u8; 12], first: u32, data: &mut [u8]) {
        let mut iv = [0u8; 16];
        iv[..12].copy_from_slice(nonce);
        iv[12..].copy_from_slice(&first.to_be_bytes());
        // A packet is far shorter than 2^32 blocks, so a 32-bit and a 128-bit counter are the same here.
        use aes::cipher::InnerIvInit;
        match self {
            Aes::A128(a) => Ctr128BE::from_core(ctr::CtrCore::inner_iv_init(a.as_ref().clone(), &iv.into()))
                .apply_keystream(data),
            Aes::A256(a) => Ctr128BE::from_core(ctr::CtrCore::inner_iv_init(a.as_ref().clone(), &iv.into()))
                .apply_keystream(data),
        }
    }
}

enum State {
    ChaCha {
        main: [u8; 32],
        header: [u8; 32],
    },
    Ctr128(Box<Ctr128BE<Aes128>>),
    Ctr192(Box<Ctr128BE<Aes192>>),
    Ctr256(Box<Ctr128BE<Aes256>>),
    Gcm {
        aes: Aes,
        ghash: Box<GHash>,
        iv: [u8; 12],
    },
}

/// A keyed cipher.
pub struct Cipher {
    state: State,
    /// Its properties.
    pub spec: CipherSpec,
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cipher({:?})", self.spec)
    }
}

impl Cipher {
    /// With `spec.key_len` and `spec.iv_len` bytes; `None` if there are fewer.
    pub fn new(spec: CipherSpec, key: &[u8], iv: &[u8]) -> Option<Cipher> {
        let key = key.get(..spec.key_len)?;
        let iv = iv.get(..spec.iv_len)?;
        let state = match (spec.kind, spec.key_len) {
            (Kind::ChaCha, _) => State::ChaCha {
                main: key.get(..32)?.try_into().ok()?,
                header: key.get(32..)?.try_into().ok()?,
            },
            (Kind::Ctr, 16) => State::Ctr128(Box::new(Ctr128BE::new_from_slices(key, iv).ok()?)),
            (Kind::Ctr, 24) => State::Ctr192(Box::new(Ctr128BE::new_from_slices(key, iv).ok()?)),
            (Kind::Ctr, _) => State::Ctr256(Box::new(Ctr128BE::new_from_slices(key, iv).ok()?)),
            (Kind::Gcm, n) => {
                let aes = if n == 16 {
                    Aes::A128(Box::new(Aes128::new_from_slice(key).ok()?))
                } else {
                    Aes::A256(Box::new(Aes256::new_from_slice(key).ok()?))
                };
                let mut h = [0u8; 16];
                aes.block(&mut h);
                State::Gcm {
                    aes,
                    ghash: Box::new(GHash::new(&h.into())),
                    iv: iv.try_into().ok()?,
                }
            }
        };
        Some(Cipher { state, spec })
    }

    /// The packet length from its first four bytes, where the cipher hides it apart (only chacha20-poly1305 does;
    /// with GCM it is in clear).
    pub fn length(&self, seq: u32, head: [u8; 4]) -> u32 {
        let mut head = head;
        if let State::ChaCha { header, .. } = &self.state {
            ChaCha20Legacy::new(header.into(), &nonce(seq).into()).apply_keystream(&mut head);
        }
        u32::from_be_bytes(head)
    }

    /// Encrypts a packet in place. `data` begins with the length; `aad` leading bytes are authenticated only
    /// (chacha20-poly1305 encrypts them with its other key). Appends the tag, if any.
    pub fn seal(&mut self, seq: u32, data: &mut Vec<u8>, aad: usize) {
        let Some((head, body)) = data.split_at_mut_checked(aad) else {
            return;
        };
        match &mut self.state {
            State::ChaCha { main, header } => {
                let n = nonce(seq);
                ChaCha20Legacy::new((&*header).into(), &n.into()).apply_keystream(head);
                let (mut stream, poly) = chacha(main, n);
                stream.apply_keystream(body);
                let tag = poly.compute_unpadded(data);
                data.extend_from_slice(&tag);
            }
            State::Ctr128(c) => c.apply_keystream(body),
            State::Ctr192(c) => c.apply_keystream(body),
            State::Ctr256(c) => c.apply_keystream(body),
            State::Gcm { aes, ghash, iv } => {
                aes.ctr32(iv, 2, body);
                let tag = gcm_tag(aes, ghash, iv, head, body);
                next_iv(iv);
                data.extend_from_slice(&tag);
            }
        }
    }

    /// Checks the tag over `data` (length and ciphertext) and decrypts what follows `aad` bytes, in place.
    /// False if the tag is wrong; then nothing is decrypted.
    pub fn open(&mut self, seq: u32, data: &mut [u8], aad: usize, tag: &[u8]) -> bool {
        match &mut self.state {
            State::ChaCha { main, header } => {
                let n = nonce(seq);
                let (mut stream, poly) = chacha(main, n);
                if !bool::from(poly.compute_unpadded(data).as_slice().ct_eq(tag)) {
                    return false;
                }
                let Some((head, body)) = data.split_at_mut_checked(aad) else {
                    return false;
                };
                ChaCha20Legacy::new((&*header).into(), &n.into()).apply_keystream(head);
                stream.apply_keystream(body);
            }
            State::Gcm { aes, ghash, iv } => {
                let Some((head, body)) = data.split_at_mut_checked(aad) else {
                    return false;
                };
                if !bool::from(gcm_tag(aes, ghash, iv, head, body).as_slice().ct_eq(tag)) {
                    return false;
                }
                aes.ctr32(iv, 2, body);
                next_iv(iv);
            }
            _ => self.crypt(data.get_mut(aad..).unwrap_or_default()),
        }
        true
    }

    /// Runs the stream over bytes (AES-CTR only; the others need a whole packet).
    pub fn crypt(&mut self, data: &mut [u8]) {
        match &mut self.state {
            State::Ctr128(c) => c.apply_keystream(data),
            State::Ctr192(c) => c.apply_keystream(data),
            State::Ctr256(c) => c.apply_keystream(data),
            State::ChaCha { .. } | State::Gcm { .. } => {}
        }
    }
}

fn nonce(seq: u32) -> [u8; 8] {
    u64::from(seq).to_be_bytes()
}

/// The body's stream, past the block that keys Poly1305, and that Poly1305.
fn chacha(key: &[u8; 32], nonce: [u8; 8]) -> (ChaCha20Legacy, Poly1305) {
    let mut stream = ChaCha20Legacy::new(key.into(), &nonce.into());
    let mut poly_key = [0u8; 32];
    stream.apply_keystream(&mut poly_key);
    stream.seek(64u32);
    (stream, Poly1305::new(&poly_key.into()))
}

fn gcm_tag(aes: &Aes, ghash: &GHash, iv: &[u8; 12], aad: &[u8], body: &[u8]) -> [u8; 16] {
    let mut h = ghash.clone();
    h.update_padded(aad);
    h.update_padded(body);
    let mut lens = [0u8; 16];
    lens[..8].copy_from_slice(&(aad.len() as u64 * 8).to_be_bytes());
    lens[8..].copy_from_slice(&(body.len() as u64 * 8).to_be_bytes());
    h.update(&[lens.into()]);
    let mut tag: [u8; 16] = h.finalize().into();
    aes.ctr32(iv, 1, &mut tag);
    tag
}

/// The last eight bytes of the nonce count packets (RFC 5647 section 7.1).
fn next_iv(iv: &mut [u8; 12]) {
    let n = iv[4..]
        .iter()
        .fold(0u64, |n, b| n << 8 | u64::from(*b))
        .wrapping_add(1);
    iv[4..].copy_from_slice(&n.to_be_bytes());
}
