//! Names of algorithms, in the order that Debian 12's `sshd -T` prints them, and how two lists are matched.

/// `KexAlgorithms`.
pub const DEBIAN12_KEX: &str = "sntrup761x25519-sha512,sntrup761x25519-sha512@openssh.com,curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,diffie-hellman-group14-sha256";
/// `Ciphers`.
pub const DEBIAN12_CIPHERS: &str = "chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com";
/// `MACs`.
pub const DEBIAN12_MACS: &str = "umac-64-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha1-etm@openssh.com,umac-64@openssh.com,umac-128@openssh.com,hmac-sha2-256,hmac-sha2-512,hmac-sha1";
/// `PubkeyAcceptedAlgorithms`.
pub const DEBIAN12_PUBKEY_ACCEPTED: &str = "ssh-ed25519-cert-v01@openssh.com,ecdsa-sha2-nistp256-cert-v01@openssh.com,ecdsa-sha2-nistp384-cert-v01@openssh.com,ecdsa-sha2-nistp521-cert-v01@openssh.com,sk-ssh-ed25519-cert-v01@openssh.com,sk-ecdsa-sha2-nistp256-cert-v01@openssh.com,rsa-sha2-512-cert-v01@openssh.com,rsa-sha2-256-cert-v01@openssh.com,ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256";
/// `server-sig-algs` of EXT_INFO: every signature algorithm that 9.2 knows, whatever is accepted.
pub const DEBIAN12_SIG_ALGS: &str = "ssh-ed25519,sk-ssh-ed25519@openssh.com,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,sk-ecdsa-sha2-nistp256@openssh.com,webauthn-sk-ecdsa-sha2-nistp256@openssh.com,ssh-dss,ssh-rsa,rsa-sha2-256,rsa-sha2-512";

/// Appended to the key exchange list by a server since the fix for CVE-2023-48795.
pub const STRICT_SERVER: &str = "kex-strict-s-v00@openssh.com";
/// The client's counterpart.
pub const STRICT_CLIENT: &str = "kex-strict-c-v00@openssh.com";
/// Asks for EXT_INFO (RFC 8308).
pub const EXT_INFO_CLIENT: &str = "ext-info-c";

/// The first of the client's names that the server has too (RFC 4253 section 7.1). Empty names never match.
pub fn choose<'a>(client: &'a str, server: &str) -> Option<&'a str> {
    client
        .split(',')
        .filter(|n| !n.is_empty())
        .find(|c| server.split(',').any(|s| s == *c))
}

/// Whether a comma-separated list has this name.
pub fn has(list: &str, name: &str) -> bool {
    list.split(',').any(|n| n == name)
}

/// Whether `text` matches a pattern with `*` and `?` (ssh_config(5), PATTERNS).
pub fn wildcard(text: &[u8], pattern: &[u8]) -> bool {
    let (mut t, mut p) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || text.get(t) == Some(&c) => {
                t += 1;
                p += 1;
            }
            _ => match star {
                Some((sp, st)) => {
                    p = sp + 1;
                    t = st + 1;
                    star = Some((sp, st + 1));
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .is_none_or(|rest| rest.iter().all(|c| *c == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_decides_the_order() {
        assert_eq!(choose("a,b,c", "c,b"), Some("b"));
        assert_eq!(choose("", "a"), None);
        assert_eq!(choose(",", "a,"), None);
    }

    #[test]
    fn wildcards() {
        for (t, p, want) in [
            ("LC_ALL", "LC_*", true),
            ("LANG", "LANG", true),
            ("LANGUAGE", "LANG", false),
            ("abc", "a?c", true),
            ("abc", "*", true),
            ("", "*", true),
            ("mississippi", "*iss*ppi", true),
            ("mississippi", "*issx*", false),
        ] {
            assert_eq!(wildcard(t.as_bytes(), p.as_bytes()), want, "{t} {p}");
        }
    }
}
