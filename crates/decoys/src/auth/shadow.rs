//! Password hashes as `/etc/shadow` holds them on Debian 12: yescrypt with the parameters of `login.defs` and PAM (`$y$j9T$`).

use yescrypt::{Mode, Params};

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// crypt(5)'s base 64: six bits at a time, least significant first.
fn encode(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let v = chunk
            .iter()
            .enumerate()
            .fold(0u32, |a, (i, b)| a | u32::from(*b) << (8 * i));
        for i in 0..(chunk.len() * 8).div_ceil(6) {
            out.push(char::from(ALPHABET[(v >> (6 * i)) as usize & 63]));
        }
    }
    out
}

/// The hash of a password with a fresh salt. About 10 ms of CPU and 16 MiB for that long. `*` if it cannot be made.
pub fn shadow_hash(password: &[u8], entropy: &crate::machine::Entropy) -> String {
    let mut salt = [0u8; 16];
    entropy(&mut salt);
    hash_with(password, &salt).unwrap_or_else(|| "*".into())
}

fn hash_with(password: &[u8], salt: &[u8]) -> Option<String> {
    // "j9T": flags RW defaults, N = 4096, r = 32 (crypt_gensalt with the count that Debian 12's PAM leaves at its default).
    let params = Params::new(Mode::default(), 4096, 32, 1).ok()?;
    let mut out = [0u8; 32];
    yescrypt::yescrypt(password, salt, &params, &mut out).ok()?;
    Some(format!("$y$j9T${}${}", encode(salt), encode(&out)))
}

#[cfg(test)]
mod tests {
    /// The oracle is this system's crypt(3), through perl, where there is one.
    #[test]
    fn hashes_are_those_of_crypt() {
        let ours = super::hash_with(b"correct horse", b"0123456789abcdef").unwrap();
        let o = std::process::Command::new("perl")
            .args(["-e", "print crypt($ARGV[0], $ARGV[1])", "correct horse", &ours])
            .output();
        let o = o.expect("perl (package perl-base) is needed");
        assert_eq!(String::from_utf8_lossy(&o.stdout), ours);
    }
}
