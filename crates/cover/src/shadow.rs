//! Password fields of `/etc/shadow` as Debian 12's `passwd` writes them: yescrypt with libxcrypt's default cost (crypt(5), `$y$j9T$`).

/// The digits of crypt(5)'s base 64.
const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// crypt(5)'s base 64 of yescrypt: groups of three bytes, least significant six bits first, without padding.
fn encode(bytes: &[u8]) -> String {
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let word = group
            .iter()
            .enumerate()
            .fold(0u32, |w, (i, b)| w | u32::from(*b) << (8 * i));
        for i in 0..(group.len() * 8).div_ceil(6) {
            out.push(char::from(DIGITS[(word >> (6 * i) & 63) as usize]));
        }
    }
    out
}

/// The password field for `password` with a 16-byte `salt`; `!` if the function fails (its parameters are constant, so it does not).
/// Takes some 30 ms and 16 MiB.
pub fn hash(password: &str, salt: &[u8; 16]) -> String {
    let mut out = [0u8; 32];
    let done = yescrypt::Params::new(yescrypt::Mode::default(), 4096, 32, 1)
        .and_then(|p| yescrypt::yescrypt(password.as_bytes(), salt, &p, &mut out));
    match done {
        Ok(()) => format!("$y$j9T${}${}", encode(salt), encode(&out)),
        Err(_) => "!".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected field is what Debian 12's crypt(3) gives: `perl -e 'print crypt("hello", q($y$j9T$aaaaaaaaaaaaaaaaaaaaa.$))'`.
    #[test]
    fn hashes_as_libxcrypt_does() {
        let mut salt = [0u8; 16];
        let text = b"aaaaaaaaaaaaaaaaaaaaa.";
        for (i, group) in text.chunks(4).enumerate() {
            let word = group.iter().enumerate().fold(0u32, |w, (k, c)| {
                w | (DIGITS.iter().position(|d| d == c).unwrap() as u32) << (6 * k)
            });
            for k in 0..3 {
                if let Some(b) = salt.get_mut(i * 3 + k) {
                    *b = (word >> (8 * k)) as u8;
                }
            }
        }
        assert_eq!(
            hash("hello", &salt),
            "$y$j9T$aaaaaaaaaaaaaaaaaaaaa.$s7MlPbU7vk4i0GXuatd4cAfjfLlkI6HZSxx62h.PkaB"
        );
    }
}
