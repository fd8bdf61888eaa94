//! Random words that open doors, and passwords.

use std::sync::Mutex;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use turncoat_store::artifact::sha256;

/// Bytes from the system. `None` when it gives none: then nothing that depends on them is made.
pub fn entropy<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0u8; N];
    let mut done = 0;
    while done < N {
        match rustix::rand::getrandom(bytes.get_mut(done..)?, rustix::rand::GetRandomFlags::empty()) {
            Ok(n) => done += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    Some(bytes)
}

/// A word of 256 random bits, in 64 hexadecimal digits.
pub fn word() -> Option<String> {
    Some(turncoat_event::Sha256(entropy::<32>()?).to_string())
}

/// What is kept of a word, so that comparing takes no longer for a better guess.
pub fn trace(word: &str) -> [u8; 32] {
    sha256(word.as_bytes()).0
}

/// True when both are the same and not empty.
pub fn same(shown: &str, expected: &str) -> bool {
    !expected.is_empty() && trace(shown) == trace(expected)
}

fn hasher() -> Argon2<'static> {
    // 19 MiB, two passes, one lane: the least that OWASP's password storage cheat sheet advises for argon2id.
    let params = Params::new(19 * 1024, 2, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// The argon2id hash of a password, for the configuration.
///
/// # Errors
/// One line.
pub fn hash(password: &str) -> Result<String, String> {
    if password.chars().count() < 10 {
        return Err("a password of the console has at least 10 characters".into());
    }
    let salt = entropy::<16>().ok_or("the system gives no random bytes")?;
    let salt = SaltString::encode_b64(&salt).map_err(|e| e.to_string())?;
    let hash = hasher()
        .hash_password(password.as_bytes(), &salt)
        .map_err(|e| e.to_string())?;
    Ok(hash.to_string())
}

/// The most memory that a configured hash may ask for, in KiB.
const MOST_MEMORY: u32 = 1 << 20;

/// Says what is wrong with a configured hash, if something is.
pub fn mistake(hash: &str) -> Option<String> {
    let expected = || Some("expected a line that `turncoat console password` prints".to_owned());
    let Ok(parsed) = PasswordHash::new(hash) else {
        return expected();
    };
    let memory = Params::try_from(&parsed).map(|p| p.m_cost());
    let fine = parsed.algorithm.as_str() == "argon2id" && parsed.hash.is_some();
    match memory {
        Ok(m) if fine && m <= MOST_MEMORY => None,
        _ => expected(),
    }
}

/// One password is checked at a time: each costs memory and a good part of a second by intent.
static CHECKING: Mutex<()> = Mutex::new(());

/// True when the password fits the hash.
pub fn fits(password: &str, hash: &str) -> bool {
    let _one = CHECKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // A hash that asks for more memory than is sane is none.
    let sane = mistake(hash).is_none();
    sane && PasswordHash::new(hash)
        .is_ok_and(|parsed| hasher().verify_password(password.as_bytes(), &parsed).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_its_hash_only() {
        let hash = hash("correct horse battery").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_eq!(mistake(&hash), None);
        assert!(fits("correct horse battery", &hash));
        assert!(!fits("correct horse batterz", &hash));
        assert!(!fits("", &hash));
        assert!(super::hash("short").is_err());
        for bad in [
            "",
            "hunter2",
            "$argon2i$v=19$m=16,t=2,p=1$c29tZXNhbHQ$aGFzaGhhc2hoYXNo",
            "$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$aGFzaGhhc2hoYXNo",
            "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ",
        ] {
            assert!(mistake(bad).is_some(), "{bad}");
            assert!(!fits("", bad));
        }
    }

    #[test]
    fn words_are_long_and_differ_and_nothing_fits_an_empty_one() {
        let (a, b) = (word().unwrap(), word().unwrap());
        assert!(a.len() == 64 && a != b);
        assert!(same(&a, &a) && !same(&a, &b) && !same("", ""));
    }
}
