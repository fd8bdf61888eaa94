//! Host keys (reading OpenSSH's private key files, signing) and users' public keys (reading, verifying).

use crate::api::Entropy;
use crate::kex::RngAdapter;
use crate::wire::{Malformed, Put, Reader, base64, unbase64};
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use signature::{Signer, Verifier};
use std::fmt;

use ed25519_dalek::ed25519::signature;

/// Why a key file was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// Not an `OPENSSH PRIVATE KEY` file.
    NotOpenSsh,
    /// It has a passphrase.
    Encrypted,
    /// The contents do not hold together.
    Malformed,
    /// A type that Debian 12 makes no host key of.
    Unsupported,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyError::NotOpenSsh => "not an OpenSSH private key file",
            KeyError::Encrypted => "the key has a passphrase",
            KeyError::Malformed => "the key file is damaged",
            KeyError::Unsupported => "this type of key is not supported",
        })
    }
}

impl std::error::Error for KeyError {}

impl From<Malformed> for KeyError {
    fn from(_: Malformed) -> Self {
        KeyError::Malformed
    }
}

enum Secret {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    P256(Box<p256::ecdsa::SigningKey>),
    Rsa(Box<RsaPrivateKey>),
}

/// A host key.
pub struct HostKey {
    secret: Secret,
    blob: Vec<u8>,
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKey({} {})", self.algorithms()[0], fingerprint(&self.blob))
    }
}

impl HostKey {
    /// From the text of a file that `ssh-keygen` wrote without a passphrase.
    pub fn from_openssh(text: &str) -> Result<HostKey, KeyError> {
        let body: String = text
            .split("-----BEGIN OPENSSH PRIVATE KEY-----")
            .nth(1)
            .and_then(|t| t.split("-----END OPENSSH PRIVATE KEY-----").next())
            .ok_or(KeyError::NotOpenSsh)?
            .to_owned();
        let bytes = unbase64(&body).ok_or(KeyError::NotOpenSsh)?;
        let rest = bytes
            .strip_prefix(b"openssh-key-v1\0")
            .ok_or(KeyError::NotOpenSsh)?;
        let mut r = Reader::new(rest);
        if r.string()? != b"none" {
            return Err(KeyError::Encrypted);
        }
        let (_kdf, _options) = (r.string()?, r.string()?);
        if r.u32()? != 1 {
            return Err(KeyError::Unsupported);
        }
        let _public = r.string()?;
        let mut k = Reader::new(r.string()?);
        if k.u32()? != k.u32()? {
            return Err(KeyError::Malformed);
        }
        match k.string()? {
            b"ssh-ed25519" => {
                let (_public, pair) = (k.string()?, k.string()?);
                let seed = pair.first_chunk::<32>().ok_or(KeyError::Malformed)?;
                Ok(Self::ed25519(seed))
            }
            b"ecdsa-sha2-nistp256" => {
                let (_curve, _public) = (k.string()?, k.string()?);
                Self::p256(k.mpint()?)
            }
            b"ssh-rsa" => {
                let [n, e, d, _iqmp, p, q] = [
                    k.mpint()?,
                    k.mpint()?,
                    k.mpint()?,
                    k.mpint()?,
                    k.mpint()?,
                    k.mpint()?,
                ];
                Self::rsa(n, e, d, p, q)
            }
            _ => Err(KeyError::Unsupported),
        }
    }

    /// An Ed25519 key from its seed.
    pub fn ed25519(seed: &[u8; 32]) -> HostKey {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let mut blob = Vec::new();
        blob.put_string(b"ssh-ed25519")
            .put_string(key.verifying_key().as_bytes());
        HostKey {
            secret: Secret::Ed25519(Box::new(key)),
            blob,
        }
    }

    /// A NIST P-256 key from its scalar, big-endian.
    pub fn p256(scalar: &[u8]) -> Result<HostKey, KeyError> {
        let mut bytes = [0u8; 32];
        let at = 32usize.checked_sub(scalar.len()).ok_or(KeyError::Malformed)?;
        bytes[at..].copy_from_slice(scalar);
        let key = p256::ecdsa::SigningKey::from_bytes(&bytes.into()).map_err(|_| KeyError::Malformed)?;
        let mut blob = Vec::new();
        blob.put_string(b"ecdsa-sha2-nistp256")
            .put_string(b"nistp256")
            .put_string(key.verifying_key().to_encoded_point(false).as_bytes());
        Ok(HostKey {
            secret: Secret::P256(Box::new(key)),
            blob,
        })
    }

    /// An RSA key from modulus, exponents and primes, big-endian.
    pub fn rsa(n: &[u8], e: &[u8], d: &[u8], p: &[u8], q: &[u8]) -> Result<HostKey, KeyError> {
        let big = BigUint::from_bytes_be;
        let mut key = RsaPrivateKey::from_components(big(n), big(e), big(d), vec![big(p), big(q)])
            .map_err(|_| KeyError::Malformed)?;
        key.precompute().map_err(|_| KeyError::Malformed)?;
        let mut blob = Vec::new();
        blob.put_string(b"ssh-rsa").put_mpint(e).put_mpint(n);
        Ok(HostKey {
            secret: Secret::Rsa(Box::new(key)),
            blob,
        })
    }

    /// The public key as the wire has it.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// `SHA256:` and base64.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.blob)
    }

    /// The public key as a `.pub` file has it: type and base64, without a comment.
    pub fn public(&self) -> String {
        let kind = Reader::new(&self.blob).string().unwrap_or_default();
        format!("{} {}", String::from_utf8_lossy(kind), base64(&self.blob))
    }

    /// Signature algorithms, in the order that sshd offers them.
    pub fn algorithms(&self) -> &'static [&'static str] {
        match self.secret {
            Secret::Ed25519(_) => &["ssh-ed25519"],
            Secret::P256(_) => &["ecdsa-sha2-nistp256"],
            Secret::Rsa(_) => &["rsa-sha2-512", "rsa-sha2-256"],
        }
    }

    /// A signature blob; `None` only if the crate below refuses to sign.
    pub fn sign(&self, algorithm: &str, data: &[u8], rng: &mut dyn Entropy) -> Option<Vec<u8>> {
        let raw = match &self.secret {
            Secret::Ed25519(k) => k.sign(data).to_bytes().to_vec(),
            Secret::P256(k) => {
                let sig: p256::ecdsa::Signature = k.sign(data);
                let mut out = Vec::new();
                out.put_mpint(&sig.r().to_bytes()).put_mpint(&sig.s().to_bytes());
                out
            }
            Secret::Rsa(k) => {
                let (pad, hash) = rsa_digest(algorithm, data)?;
                k.sign_with_rng(&mut RngAdapter(rng), pad, &hash).ok()?
            }
        };
        let mut out = Vec::with_capacity(raw.len() + 32);
        out.put_string(algorithm.as_bytes()).put_string(&raw);
        Some(out)
    }
}

/// Padding with the DigestInfo prefix (RFC 8017 section 9.2 note 1), and the hash.
fn rsa_digest(algorithm: &str, data: &[u8]) -> Option<(Pkcs1v15Sign, Vec<u8>)> {
    // SEQUENCE { SEQUENCE { OID, NULL }, OCTET STRING }: only the OID and the lengths differ.
    let (oid, hash): (&[u8], Vec<u8>) = match algorithm {
        "rsa-sha2-512" => (
            &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3],
            Sha512::digest(data).to_vec(),
        ),
        "rsa-sha2-256" => (
            &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1],
            Sha256::digest(data).to_vec(),
        ),
        "ssh-rsa" => (&[0x2b, 0x0e, 3, 2, 0x1a], Sha1::digest(data).to_vec()),
        _ => return None,
    };
    let n = oid.len() as u8;
    let mut prefix = vec![0x30, n + 8 + hash.len() as u8, 0x30, n + 4, 6, n];
    prefix.extend_from_slice(oid);
    prefix.extend_from_slice(&[5, 0, 4, hash.len() as u8]);
    Some((
        Pkcs1v15Sign {
            hash_len: Some(hash.len()),
            prefix: prefix.into(),
        },
        hash,
    ))
}

/// `SHA256:` and unpadded base64 of a key blob's hash.
pub fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", base64(&Sha256::digest(blob)).trim_end_matches('='))
}

enum Public {
    Ed25519(ed25519_dalek::VerifyingKey),
    /// 32 bytes that are no point: well-formed to OpenSSH, but nothing verifies.
    Ed25519Bad,
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    P521(p521::ecdsa::VerifyingKey),
    Rsa(RsaPublicKey),
    /// A modulus too odd for verification.
    RsaBad(usize),
    /// Known to be well-formed as far as we read; never accepted (DSA, certificates).
    Opaque,
}

/// A user's public key.
pub struct PublicKey {
    key: Public,
    /// The application of a security key.
    application: Option<Vec<u8>>,
    /// Type name in the blob.
    pub kind: String,
}

/// Key types that 9.2 knows, apart from signature algorithms: certificates are read no further than their name.
const CERTIFICATES: [&str; 7] = [
    "ssh-ed25519-cert-v01@openssh.com",
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ssh-rsa-cert-v01@openssh.com",
];

/// The key type that a signature algorithm belongs to; `None` if it is not known to 9.2.
pub fn key_type_of(algorithm: &str) -> Option<&str> {
    Some(match algorithm {
        "rsa-sha2-256" | "rsa-sha2-512" => "ssh-rsa",
        "rsa-sha2-256-cert-v01@openssh.com" | "rsa-sha2-512-cert-v01@openssh.com" => {
            "ssh-rsa-cert-v01@openssh.com"
        }
        "webauthn-sk-ecdsa-sha2-nistp256@openssh.com" => "sk-ecdsa-sha2-nistp256@openssh.com",
        "ssh-rsa"
        | "ssh-dss"
        | "ssh-ed25519"
        | "sk-ssh-ed25519@openssh.com"
        | "ecdsa-sha2-nistp256"
        | "ecdsa-sha2-nistp384"
        | "ecdsa-sha2-nistp521"
        | "sk-ecdsa-sha2-nistp256@openssh.com" => algorithm,
        other => CERTIFICATES.iter().find(|c| **c == other)?,
    })
}

impl PublicKey {
    /// Reads a blob; `None` where OpenSSH would not decode it either.
    pub fn parse(blob: &[u8]) -> Option<PublicKey> {
        let mut r = Reader::new(blob);
        let kind = std::str::from_utf8(r.cstring().ok()?).ok()?.to_owned();
        let mut application = None;
        let key = match kind.as_str() {
            "ssh-ed25519" | "sk-ssh-ed25519@openssh.com" => {
                let point: [u8; 32] = r.string().ok()?.try_into().ok()?;
                if kind.starts_with("sk-") {
                    application = Some(r.cstring().ok()?.to_vec());
                }
                ed25519_dalek::VerifyingKey::from_bytes(&point).map_or(Public::Ed25519Bad, Public::Ed25519)
            }
            "ecdsa-sha2-nistp256" | "sk-ecdsa-sha2-nistp256@openssh.com" => {
                (r.cstring().ok()? == b"nistp256").then_some(())?;
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(r.string().ok()?).ok()?;
                if kind.starts_with("sk-") {
                    application = Some(r.cstring().ok()?.to_vec());
                }
                Public::P256(key)
            }
            "ecdsa-sha2-nistp384" => {
                (r.cstring().ok()? == b"nistp384").then_some(())?;
                Public::P384(p384::ecdsa::VerifyingKey::from_sec1_bytes(r.string().ok()?).ok()?)
            }
            "ecdsa-sha2-nistp521" => {
                (r.cstring().ok()? == b"nistp521").then_some(())?;
                Public::P521(p521::ecdsa::VerifyingKey::from_sec1_bytes(r.string().ok()?).ok()?)
            }
            "ssh-rsa" => {
                let (e, n) = (
                    BigUint::from_bytes_be(r.mpint().ok()?),
                    BigUint::from_bytes_be(r.mpint().ok()?),
                );
                let bits = n.bits();
                if bits < 1024 {
                    return None;
                }
                RsaPublicKey::new_with_max_size(n, e, 16384).map_or(Public::RsaBad(bits), Public::Rsa)
            }
            "ssh-dss" => {
                for _ in 0..4 {
                    r.mpint().ok()?;
                }
                Public::Opaque
            }
            other => {
                CERTIFICATES.contains(&other).then_some(())?;
                return Some(PublicKey {
                    key: Public::Opaque,
                    application: None,
                    kind,
                });
            }
        };
        r.end().ok()?;
        Some(PublicKey {
            key,
            application,
            kind,
        })
    }

    /// Bits of an RSA modulus.
    pub fn rsa_bits(&self) -> Option<usize> {
        match &self.key {
            Public::Rsa(k) => Some(k.n().bits()),
            Public::RsaBad(bits) => Some(*bits),
            _ => None,
        }
    }

    /// Whether this kind of key could be accepted at all.
    pub fn usable(&self) -> bool {
        !matches!(self.key, Public::Opaque)
    }

    /// Whether `signature` (a blob) over `data` is good and was made with `algorithm`.
    pub fn verify(&self, algorithm: &str, signature: &[u8], data: &[u8]) -> bool {
        self.check(algorithm, signature, data).is_some()
    }

    fn check(&self, algorithm: &str, signature: &[u8], data: &[u8]) -> Option<()> {
        let mut r = Reader::new(signature);
        let name = r.cstring().ok()?;
        if name != algorithm.as_bytes() || algorithm == "webauthn-sk-ecdsa-sha2-nistp256@openssh.com" {
            return None;
        }
        let raw = r.string().ok()?;
        // A security key signs hash(application), flags, counter, hash(message).
        let wrapped;
        let data = match &self.application {
            None => {
                r.end().ok()?;
                data
            }
            Some(app) => {
                let (flags, counter) = (r.u8().ok()?, r.u32().ok()?);
                r.end().ok()?;
                // Without "no-touch-required" the key must have been touched.
                (flags & 1 == 1).then_some(())?;
                let mut w = Sha256::digest(app).to_vec();
                w.put_u8(flags).put_u32(counter);
                w.extend_from_slice(&Sha256::digest(data));
                wrapped = w;
                &wrapped
            }
        };
        let pair = |len: usize| -> Option<Vec<u8>> {
            let mut r = Reader::new(raw);
            let (a, b) = (r.mpint().ok()?, r.mpint().ok()?);
            r.end().ok()?;
            let mut out = vec![0; 2 * len];
            let (at_a, at_b) = (len.checked_sub(a.len())?, (2 * len).checked_sub(b.len())?);
            (at_b >= len).then_some(())?;
            out[at_a..len].copy_from_slice(a);
            out[at_b..].copy_from_slice(b);
            Some(out)
        };
        match &self.key {
            Public::Ed25519(k) => k
                .verify(data, &ed25519_dalek::Signature::from_slice(raw).ok()?)
                .ok(),
            Public::P256(k) => k
                .verify(data, &p256::ecdsa::Signature::from_slice(&pair(32)?).ok()?)
                .ok(),
            Public::P384(k) => k
                .verify(data, &p384::ecdsa::Signature::from_slice(&pair(48)?).ok()?)
                .ok(),
            Public::P521(k) => k
                .verify(data, &p521::ecdsa::Signature::from_slice(&pair(66)?).ok()?)
                .ok(),
            Public::Rsa(k) => {
                let (pad, hash) = rsa_digest(algorithm, data)?;
                // OpenSSH accepts signatures that lost leading zeros.
                let mut sig = vec![0; k.size().checked_sub(raw.len())?];
                sig.extend_from_slice(raw);
                k.verify(pad, &hash, &sig).ok()
            }
            Public::Ed25519Bad | Public::RsaBad(_) | Public::Opaque => None,
        }
    }
}
