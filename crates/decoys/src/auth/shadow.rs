//! Password hashes as `/etc/shadow` holds them (crypt(5)): made as Debian 12 makes them, checked in the forms that intruders bring.
//!
//! Made: yescrypt with the parameters of `login.defs` and PAM (`$y$j9T$`). Checked: yescrypt, SHA-512 (`$6$`), SHA-256 (`$5$`) and
//! MD5 (`$1$`, what `openssl passwd -1` gives). A hash that would cost more than [`MOST_ROUNDS`] or [`MOST_MEMORY`] lets nobody in.

use md5::Md5;
use sha2::Digest;
use subtle::ConstantTimeEq;
use yescrypt::{Mode, Params};

/// Rounds of SHA-crypt that are computed at the most (the default is 5,000, `rounds=` may ask for 999,999,999).
pub const MOST_ROUNDS: u32 = 100_000;
/// Bytes that one yescrypt may take at the most; Debian's own takes 16 MiB.
pub const MOST_MEMORY: u64 = 64 << 20;

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

fn digit(c: u8) -> Option<u32> {
    ALPHABET.iter().position(|a| *a == c).map(|i| i as u32)
}

/// The inverse of `encode`.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for chunk in text.chunks(4) {
        let mut v = 0u32;
        for (i, c) in chunk.iter().enumerate() {
            v |= digit(*c)? << (6 * i);
        }
        out.extend_from_slice(v.to_le_bytes().get(..chunk.len() * 6 / 8)?);
    }
    Some(out)
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

/// Whether this is the password of this hash. An empty or unknown hash has none: sshd refuses empty passwords.
pub fn verify(hash: &str, password: &[u8]) -> bool {
    let made = match hash.split('$').collect::<Vec<_>>().as_slice() {
        ["", "y", params, salt, _] => yescrypt_with(password, params, salt),
        ["", "6", rest @ ..] => sha_with(password, "6", rest),
        ["", "5", rest @ ..] => sha_with(password, "5", rest),
        ["", "1", salt, _] => Some(md5_with(password, salt)),
        _ => None,
    };
    made.is_some_and(|m| m.as_bytes().ct_eq(hash.as_bytes()).into())
}

/// Parameters of one character each (crypt_gensalt makes no others): flags `j`, then the logarithm of N, then r.
fn yescrypt_with(password: &[u8], text: &str, salt: &str) -> Option<String> {
    let [b'j', n, r] = text.as_bytes() else {
        return None;
    };
    // Digits from 48 on begin a longer number.
    let (n, r) = (
        digit(*n).filter(|n| *n < 48)? + 1,
        digit(*r).filter(|r| *r < 48)? + 1,
    );
    if n >= 32 || (128u64 << n) * u64::from(r) > MOST_MEMORY {
        return None;
    }
    let params = Params::new(Mode::default(), 1 << n, r, 1).ok()?;
    let mut out = [0u8; 32];
    yescrypt::yescrypt(password, &decode(salt.as_bytes())?, &params, &mut out).ok()?;
    Some(format!("$y${text}${salt}${}", encode(&out)))
}

fn sha_with(password: &[u8], id: &str, rest: &[&str]) -> Option<String> {
    let (named, salt) = match rest {
        [rounds, salt, _] => (Some(rounds.strip_prefix("rounds=")?.parse::<u32>().ok()?), *salt),
        [salt, _] => (None, *salt),
        _ => return None,
    };
    let rounds = named.unwrap_or(5_000).max(1_000);
    if rounds > MOST_ROUNDS {
        return None;
    }
    let params = sha_crypt::Params::new(rounds).ok()?;
    let salt = salt.get(..salt.len().min(16))?;
    let sum = if id == "6" {
        sha_digits(
            &sha_crypt::sha512_crypt(password, salt.as_bytes(), params),
            [0, 21, 42],
            [1, 2, 0],
        )
    } else {
        sha_digits(
            &sha_crypt::sha256_crypt(password, salt.as_bytes(), params),
            [0, 10, 20],
            [2, 0, 1],
        )
    };
    let named = named.map_or(String::new(), |r| format!("rounds={r}$"));
    Some(format!("${id}${named}{salt}${sum}"))
}

/// The order in which SHA-crypt writes its bytes: triples from three thirds, whose turn changes by `turn` each time.
fn sha_digits(sum: &[u8], start: [usize; 3], turn: [usize; 3]) -> String {
    let whole = sum.len() / 3;
    let mut at = start;
    let mut order = Vec::with_capacity(sum.len());
    for _ in 0..whole {
        // `encode` takes the least significant byte first.
        order.extend([at[2], at[1], at[0]]);
        at = turn.map(|t| at[t] + 1);
    }
    order.extend(if sum.len() == 64 { vec![63] } else { vec![30, 31] });
    let bytes: Vec<u8> = order.iter().filter_map(|i| sum.get(*i).copied()).collect();
    encode(&bytes)
}

/// MD5-crypt as FreeBSD made it.
fn md5_with(password: &[u8], salt: &str) -> String {
    let salt = salt.get(..salt.len().min(8)).unwrap_or("");
    let s = salt.as_bytes();
    let mut sum: [u8; 16] = Md5::new()
        .chain_update(password)
        .chain_update(s)
        .chain_update(password)
        .finalize()
        .into();
    let mut h = Md5::new()
        .chain_update(password)
        .chain_update("$1$")
        .chain_update(s);
    for piece in password.chunks(16) {
        h.update(sum.get(..piece.len()).unwrap_or_default());
    }
    let mut n = password.len();
    while n > 0 {
        h.update([if n & 1 == 1 { 0 } else { password[0] }]);
        n >>= 1;
    }
    sum = h.finalize().into();
    for round in 0..1000 {
        let mut h = Md5::new();
        let odd = round & 1 == 1;
        h.update(if odd { password } else { &sum });
        if round % 3 != 0 {
            h.update(s);
        }
        if round % 7 != 0 {
            h.update(password);
        }
        h.update(if odd { &sum[..] } else { password });
        sum = h.finalize().into();
    }
    const ORDER: [usize; 16] = [12, 6, 0, 13, 7, 1, 14, 8, 2, 15, 9, 3, 5, 10, 4, 11];
    format!("$1${salt}${}", encode(&ORDER.map(|i| sum[i])))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The oracle is this system's crypt(3), through perl.
    fn crypt(password: &str, salt: &str) -> String {
        let o = std::process::Command::new("perl")
            .args(["-e", "print crypt($ARGV[0], $ARGV[1])", password, salt])
            .output()
            .expect("perl (package perl-base) is needed");
        String::from_utf8(o.stdout).unwrap()
    }

    #[test]
    fn hashes_are_those_of_crypt() {
        let ours = hash_with(b"correct horse", b"0123456789abcdef").unwrap();
        assert_eq!(crypt("correct horse", &ours), ours);
    }

    #[test]
    fn every_form_is_checked_as_crypt_does() {
        let long = "a".repeat(100);
        for password in ["x", "correct horse battery staple", &long, "p\u{e4}ss"] {
            for salt in [
                "$y$j9T$abcdefghijklmnop$",
                "$y$j75$AbC.$",
                "$6$saltsalt$",
                "$6$rounds=1234$a.long/salt.here$",
                "$5$salt$",
                "$5$rounds=1000$x$",
                "$1$abcdefgh$",
                "$1$a$",
            ] {
                let hash = crypt(password, salt);
                assert!(hash.len() > salt.len(), "{salt} is known here: {hash}");
                assert!(verify(&hash, password.as_bytes()), "{hash}");
                assert!(!verify(&hash, b"other"), "{hash}");
            }
        }
    }

    #[test]
    fn what_is_no_hash_or_too_dear_lets_nobody_in() {
        for hash in [
            "",
            "*",
            "!",
            "x",
            "$y$",
            "$y$jCT$abcdefgh$",
            "$6$rounds=999999999$salt$x",
            "$2b$12$abcdefghijklmnopqrstuv",
            "$1$",
            "$$$$",
        ] {
            assert!(!verify(hash, b"") && !verify(hash, b"x"), "{hash}");
        }
        let locked = format!("!{}", crypt("x", "$6$saltsalt$"));
        assert!(!verify(&locked, b"x"));
    }
}
