//! Key pairs of a cover: host keys and users' keys, in OpenSSH's file formats.
//!
//! A 3072-bit RSA key takes a second or so to find; whoever makes a cover keeps the result with it.

use crate::seed::Seed;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde::{Deserialize, Serialize};
use ssh_key::{Algorithm, EcdsaCurve, LineEnding, PrivateKey};

/// One key pair.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPair {
    /// `ssh-ed25519`, `ecdsa-sha2-nistp256`, `ssh-rsa`.
    pub algorithm: String,
    /// OpenSSH private key file.
    pub private: String,
    /// Public key line with comment and newline.
    pub public: String,
    /// `SHA256:...`.
    pub fingerprint: String,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPair({} {})", self.algorithm, self.fingerprint)
    }
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algo {
    /// Ed25519.
    Ed25519,
    /// ECDSA on NIST P-256.
    Ecdsa,
    /// RSA with 3072 bits, as ssh-keygen makes by default.
    Rsa,
}

/// The key that `seed` and `label` give. None only if the generator of a library fails.
pub fn generate(seed: &Seed, label: &str, algo: Algo, comment: &str) -> Option<KeyPair> {
    let mut rng = ChaCha20Rng::from_seed(seed.derive(&format!("key {label}")));
    let algorithm = match algo {
        Algo::Ed25519 => Algorithm::Ed25519,
        Algo::Ecdsa => Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP256,
        },
        Algo::Rsa => Algorithm::Rsa { hash: None },
    };
    let mut key = match algo {
        Algo::Rsa => PrivateKey::from(ssh_key::private::RsaKeypair::random(&mut rng, 3072).ok()?),
        _ => PrivateKey::random(&mut rng, algorithm).ok()?,
    };
    key.set_comment(comment);
    Some(KeyPair {
        algorithm: key.algorithm().as_str().to_string(),
        private: key.to_openssh(LineEnding::LF).ok()?.to_string(),
        public: format!("{}\n", key.public_key().to_openssh().ok()?),
        fingerprint: key.fingerprint(ssh_key::HashAlg::Sha256).to_string(),
    })
}

/// The three host keys that Debian's openssh-server makes at installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostKeys {
    /// /etc/ssh/ssh_host_rsa_key.
    pub rsa: KeyPair,
    /// /etc/ssh/ssh_host_ecdsa_key.
    pub ecdsa: KeyPair,
    /// /etc/ssh/ssh_host_ed25519_key.
    pub ed25519: KeyPair,
}

/// Makes the host keys of `seed`; `comment` is `root@hostname`.
pub fn host_keys(seed: &Seed, comment: &str) -> Option<HostKeys> {
    Some(HostKeys {
        rsa: generate(seed, "host rsa", Algo::Rsa, comment)?,
        ecdsa: generate(seed, "host ecdsa", Algo::Ecdsa, comment)?,
        ed25519: generate(seed, "host ed25519", Algo::Ed25519, comment)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_deterministic_and_differ() {
        let a = generate(&Seed([1; 32]), "x", Algo::Ed25519, "root@a").unwrap();
        assert_eq!(a, generate(&Seed([1; 32]), "x", Algo::Ed25519, "root@a").unwrap());
        assert_ne!(
            a.public,
            generate(&Seed([2; 32]), "x", Algo::Ed25519, "root@a")
                .unwrap()
                .public
        );
        assert!(a.public.starts_with("ssh-ed25519 ") && a.public.ends_with(" root@a\n"));
        let e = generate(&Seed([1; 32]), "x", Algo::Ecdsa, "c").unwrap();
        assert_eq!(e.algorithm, "ecdsa-sha2-nistp256");
    }
}
