//! Key exchange: the methods, the exchange hash, and the keys that come of it (RFC 4253 section 8, RFC 5656,
//! RFC 8731, RFC 4419).

pub mod gex;
pub mod sntrup;

use crate::api::Entropy;
use crate::wire::Put;
use p256::elliptic_curve::sec1::ToEncodedPoint;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// The hash of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// Over the concatenation of parts.
    pub fn of(self, parts: &[&[u8]]) -> Vec<u8> {
        fn run<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
            let mut h = D::new();
            for p in parts {
                h.update(p);
            }
            h.finalize().to_vec()
        }
        match self {
            Hash::Sha256 => run::<Sha256>(parts),
            Hash::Sha384 => run::<Sha384>(parts),
            Hash::Sha512 => run::<Sha512>(parts),
        }
    }
}

/// How the shared secret is agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// sntrup761 with X25519.
    Sntrup,
    /// X25519.
    X25519,
    /// NIST curves.
    P256,
    /// See above.
    P384,
    /// See above.
    P521,
    /// Group 14.
    Dh14,
    /// Group 16.
    Dh16,
    /// Group 18.
    Dh18,
    /// Group exchange.
    Gex,
}

const METHODS: [(&str, Method, Hash); 11] = [
    ("sntrup761x25519-sha512", Method::Sntrup, Hash::Sha512),
    ("sntrup761x25519-sha512@openssh.com", Method::Sntrup, Hash::Sha512),
    ("curve25519-sha256", Method::X25519, Hash::Sha256),
    ("curve25519-sha256@libssh.org", Method::X25519, Hash::Sha256),
    ("ecdh-sha2-nistp256", Method::P256, Hash::Sha256),
    ("ecdh-sha2-nistp384", Method::P384, Hash::Sha384),
    ("ecdh-sha2-nistp521", Method::P521, Hash::Sha512),
    ("diffie-hellman-group-exchange-sha256", Method::Gex, Hash::Sha256),
    ("diffie-hellman-group16-sha512", Method::Dh16, Hash::Sha512),
    ("diffie-hellman-group18-sha512", Method::Dh18, Hash::Sha512),
    ("diffie-hellman-group14-sha256", Method::Dh14, Hash::Sha256),
];

/// By the name in KEXINIT.
pub fn by_name(name: &str) -> Option<(Method, Hash)> {
    METHODS.iter().find(|m| m.0 == name).map(|m| (m.1, m.2))
}

/// What came of one exchange.
#[derive(Debug)]
pub struct Shared {
    /// Our public value, without encoding.
    pub public: Vec<u8>,
    /// The secret, encoded as the exchange hash takes it (mpint; a string for the hybrid).
    pub secret: Vec<u8>,
}

fn mpint(v: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(v.len() + 5);
    out.put_mpint(v);
    out
}

/// Our X25519 public value and the shared point; `None` if the client's value gives zero.
fn x25519(client: &[u8], rng: &mut dyn Entropy) -> Option<([u8; 32], [u8; 32])> {
    let client: [u8; 32] = client.try_into().ok()?;
    let mut secret = [0u8; 32];
    rng.fill(&mut secret);
    let secret = x25519_dalek::StaticSecret::from(secret);
    let shared = secret.diffie_hellman(&client.into());
    shared.was_contributory().then(|| {
        (
            x25519_dalek::PublicKey::from(&secret).to_bytes(),
            shared.to_bytes(),
        )
    })
}

macro_rules! ecdh {
    ($curve:ident, $client:expr, $rng:expr) => {{
        let client = $client;
        // Only the uncompressed form: OpenSSL would take a compressed one too, so it is taken as well.
        let point = $curve::PublicKey::from_sec1_bytes(client).ok()?;
        let mut rng = RngAdapter($rng);
        let secret = $curve::ecdh::EphemeralSecret::random(&mut rng);
        let public = secret.public_key().to_encoded_point(false).as_bytes().to_vec();
        let shared = secret.diffie_hellman(&point);
        Some(Shared {
            public,
            secret: mpint(shared.raw_secret_bytes()),
        })
    }};
}

/// Answers a client's public value; `None` if it is not a valid one. For `Method::Gex` use `gex::exchange`.
pub fn respond(method: Method, client: &[u8], rng: &mut dyn Entropy) -> Option<Shared> {
    match method {
        Method::X25519 => {
            let (public, shared) = x25519(client, rng)?;
            Some(Shared {
                public: public.to_vec(),
                secret: mpint(&shared),
            })
        }
        Method::Sntrup => {
            if client.len() != sntrup::PUBLIC_LEN + 32 {
                return None;
            }
            let (ntru, point) = client.split_first_chunk::<{ sntrup::PUBLIC_LEN }>()?;
            let (mut public, key) = sntrup::encapsulate(ntru, rng);
            let (ours, shared) = x25519(point, rng)?;
            public.extend_from_slice(&ours);
            let mut secret = Vec::with_capacity(68);
            secret.put_string(&Hash::Sha512.of(&[&key, &shared]));
            Some(Shared { public, secret })
        }
        Method::P256 => ecdh!(p256, client, rng),
        Method::P384 => ecdh!(p384, client, rng),
        Method::P521 => ecdh!(p521, client, rng),
        Method::Dh14 | Method::Dh16 | Method::Dh18 => {
            let group = match method {
                Method::Dh14 => gex::group14(),
                Method::Dh16 => gex::group16(),
                _ => gex::group18(),
            };
            dh(&group, client, rng)
        }
        Method::Gex => None,
    }
}

/// [`respond`] for a group of any kind.
pub fn dh(group: &gex::Group, client: &[u8], rng: &mut dyn Entropy) -> Option<Shared> {
    let (public, secret) = gex::exchange(group, client, rng)?;
    Some(Shared {
        public,
        secret: mpint(&secret),
    })
}

/// Key material of RFC 4253 section 7.2: `len` bytes for `letter`.
pub fn derive(hash: Hash, secret: &[u8], h: &[u8], letter: u8, session_id: &[u8], len: usize) -> Vec<u8> {
    let mut out = hash.of(&[secret, h, &[letter], session_id]);
    while out.len() < len {
        let more = hash.of(&[secret, h, &out]);
        out.extend_from_slice(&more);
    }
    out.truncate(len);
    out
}

/// Our entropy as the crates of RustCrypto want it.
pub(crate) struct RngAdapter<'a>(pub &'a mut dyn Entropy);

impl rand_core::RngCore for RngAdapter<'_> {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        self.0.fill(dest);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.0.fill(dest);
        Ok(())
    }
}

impl rand_core::CryptoRng for RngAdapter<'_> {}
