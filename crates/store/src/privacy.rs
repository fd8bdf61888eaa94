//! Keyed hashes: how equal secrets and equal sources are recognised without being shown.

use sha2::{Digest, Sha256};

use turncoat_event::bytes::base64_encode;

/// A key of this install, made from its seed. Two installs hash the same secret differently.
#[derive(Clone)]
pub struct InstallKey([u8; 32]);

impl std::fmt::Debug for InstallKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InstallKey(..)")
    }
}

impl InstallKey {
    /// The key for `purpose` of the install with this seed.
    pub fn derive(seed: &[u8; 32], purpose: &str) -> InstallKey {
        InstallKey(hmac_sha256(seed, purpose.as_bytes()))
    }

    /// A hash of a secret, comparable within this install: 16 bytes in base64.
    pub fn secret(&self, secret: &[u8]) -> String {
        base64_encode(hmac_sha256(&self.0, secret).get(..16).unwrap_or_default())
    }

    /// What stands for a source's address once it is pseudonymised: an address in the IPv6 range for documentation
    /// (`2001:db8::/32`), so that every tool that expects an address goes on working.
    pub fn pseudonym(&self, address: std::net::IpAddr) -> std::net::Ipv6Addr {
        let text = address.to_string();
        let mut bytes = [0u8; 16];
        for (to, from) in bytes.iter_mut().zip(hmac_sha256(&self.0, text.as_bytes())) {
            *to = from;
        }
        bytes[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        std::net::Ipv6Addr::from(bytes)
    }
}

/// HMAC with SHA-256 (RFC 2104).
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0u8; 64];
    if key.len() > block.len() {
        for (to, from) in block.iter_mut().zip(Sha256::digest(key)) {
            *to = from;
        }
    } else {
        for (to, from) in block.iter_mut().zip(key) {
            *to = *from;
        }
    }
    let inner = Sha256::new()
        .chain_update(block.map(|b| b ^ 0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(block.map(|b| b ^ 0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        let hex = |b: [u8; 32]| b.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(
            hex(hmac_sha256(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(hmac_sha256(
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First"
            )),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn pseudonyms_are_stable_and_differ_between_installs() {
        let (a, b) = (
            InstallKey::derive(&[1; 32], "source"),
            InstallKey::derive(&[2; 32], "source"),
        );
        let address = "192.0.2.1".parse().unwrap();
        assert_eq!(a.pseudonym(address), a.pseudonym(address));
        assert_ne!(a.pseudonym(address), b.pseudonym(address));
        assert!(a.pseudonym(address).to_string().starts_with("2001:db8:"));
    }
}
