//! Groups for Diffie-Hellman: the fixed ones of RFC 3526, the moduli file, and how sshd picks from it.

use crate::api::Entropy;
use num_bigint_dig::BigUint;

/// Bits that sshd's group exchange never goes below or above (dh.h).
pub const MIN_BITS: u32 = 2048;
/// See [`MIN_BITS`].
pub const MAX_BITS: u32 = 8192;

/// A prime group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Generator.
    pub g: BigUint,
    /// Safe prime.
    pub p: BigUint,
}

/// The usable lines of a moduli file (moduli(5)).
#[derive(Debug, Clone, Default)]
pub struct Moduli {
    /// Bits, generator, prime in hexadecimal.
    lines: Vec<(u32, u32, String)>,
}

impl Moduli {
    /// Reads the text of `/etc/ssh/moduli`; lines that sshd would skip are skipped.
    pub fn parse(text: &str) -> Moduli {
        let mut lines = Vec::new();
        for line in text.lines() {
            let line = line.trim_start();
            if line.starts_with('#') {
                continue;
            }
            let f: Vec<&str> = line.split_ascii_whitespace().collect();
            let [_, kind, tests, tries, size, generator, prime] = f[..] else {
                continue;
            };
            let (Ok(tests), Ok(tries), Ok(size), Ok(generator)) = (
                tests.parse::<u32>(),
                tries.parse::<u32>(),
                size.parse::<u32>(),
                u32::from_str_radix(generator, 16),
            ) else {
                continue;
            };
            // Type 2 is a safe prime; test bit 0 says composite, no bit says untested.
            let sound = kind == "2" && tests & 1 == 0 && tests & !1 != 0 && tries != 0;
            if !sound || generator <= 1 || size >= 65536 || !prime.bytes().all(|c| c.is_ascii_hexdigit()) {
                continue;
            }
            lines.push((size + 1, generator, prime.to_owned()));
        }
        Moduli { lines }
    }

    /// The group for a client that wants `want` bits within `min..=max` (choose_dh in OpenSSH's dh.c).
    pub fn choose(&self, min: u32, want: u32, max: u32, rng: &mut dyn Entropy) -> Group {
        let mut best = 0;
        for size in self.lines.iter().map(|l| l.0).filter(|s| (min..=max).contains(s)) {
            if (size > want && size < best) || (size > best && best < want) {
                best = size;
            }
        }
        let fits: Vec<&(u32, u32, String)> = self
            .lines
            .iter()
            .filter(|l| l.0 == best && (min..=max).contains(&l.0))
            .collect();
        let mut word = [0; 8];
        rng.fill(&mut word);
        let picked = (!fits.is_empty())
            .then(|| fits[(u64::from_le_bytes(word) % fits.len() as u64) as usize])
            .and_then(|l| {
                Some(Group {
                    g: l.1.into(),
                    p: BigUint::parse_bytes(l.2.as_bytes(), 16)?,
                })
            });
        picked.unwrap_or_else(|| match max {
            4096.. if max >= 8192 => group18(),
            4096.. => group16(),
            3072.. => group16(),
            _ => group14(),
        })
    }
}

/// 2^bits - 2^(bits-64) - 1 + 2^64 * (floor(2^(bits-130) * pi) + add), the form of every prime in RFC 3526.
fn modp(bits: usize, add: u32) -> Group {
    let one = BigUint::from(1u32);
    let p =
        (&one << bits) - (&one << (bits - 64)) - &one + ((pi_bits(bits - 130) + BigUint::from(add)) << 64);
    Group { g: 2u32.into(), p }
}

/// floor(2^n * pi), by Machin's formula with guard bits.
fn pi_bits(n: usize) -> BigUint {
    let guard = 64;
    let unit = BigUint::from(1u32) << (n + guard);
    let arctan = |x: u32| {
        let square = BigUint::from(x * x);
        let mut power = &unit / BigUint::from(x);
        let (mut plus, mut minus) = (power.clone(), BigUint::from(0u32));
        let mut k = 1u32;
        loop {
            power /= &square;
            if power == BigUint::from(0u32) {
                return plus - minus;
            }
            let term = &power / BigUint::from(2 * k + 1);
            if k % 2 == 1 {
                minus += term
            } else {
                plus += term
            }
            k += 1;
        }
    };
    ((arctan(5) * BigUint::from(16u32)) - (arctan(239) * BigUint::from(4u32))) >> guard
}

/// 2048-bit MODP group (RFC 3526 section 3).
pub fn group14() -> Group {
    static G: std::sync::OnceLock<Group> = std::sync::OnceLock::new();
    G.get_or_init(|| modp(2048, 124_476)).clone()
}

/// 4096-bit MODP group (RFC 3526 section 5).
pub fn group16() -> Group {
    static G: std::sync::OnceLock<Group> = std::sync::OnceLock::new();
    G.get_or_init(|| modp(4096, 240_904)).clone()
}

/// 8192-bit MODP group (RFC 3526 section 7).
pub fn group18() -> Group {
    static G: std::sync::OnceLock<Group> = std::sync::OnceLock::new();
    G.get_or_init(|| modp(8192, 4_743_158)).clone()
}

/// Bits of our secret exponents: twice the strength of the strongest cipher offered.
const EXPONENT_BYTES: usize = 64;

/// Our half of an exchange: public value and shared secret, both big-endian; `None` if the client's value is out of
/// range (RFC 4253 section 8) or too sparse (dh_pub_is_valid).
pub fn exchange(group: &Group, client: &[u8], rng: &mut dyn Entropy) -> Option<(Vec<u8>, Vec<u8>)> {
    let e = BigUint::from_bytes_be(client);
    let one = BigUint::from(1u32);
    if e <= one || e >= &group.p - &one || client.iter().map(|b| b.count_ones()).sum::<u32>() < 4 {
        return None;
    }
    let mut x = [0u8; EXPONENT_BYTES];
    rng.fill(&mut x);
    x[0] |= 0x80;
    let x = BigUint::from_bytes_be(&x);
    Some((
        group.g.modpow(&x, &group.p).to_bytes_be(),
        e.modpow(&x, &group.p).to_bytes_be(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Zero;
    impl Entropy for Zero {
        fn fill(&mut self, b: &mut [u8]) {
            b.fill(0);
        }
    }

    #[test]
    fn sizes_are_chosen_as_sshd_does() {
        let line = |bits: u32| {
            format!(
                "20230101000000 2 6 100 {} 2 {}\n",
                bits - 1,
                "F".repeat(bits as usize / 4)
            )
        };
        let m = Moduli::parse(&format!(
            "# c\n{}{}{}x y\n20230101000000 2 1 100 2047 2 FF\n",
            line(2048),
            line(3072),
            line(4096)
        ));
        for (min, want, max, bits) in [
            (2048, 2048, 8192, 2048),
            (2048, 2500, 8192, 3072),
            (2048, 8192, 8192, 4096),
            (1024, 3000, 3000, 2048),
        ] {
            assert_eq!(
                m.choose(min, want, max, &mut Zero).p.bits(),
                bits,
                "{min} {want} {max}"
            );
        }
        // Nothing fits: a fixed group.
        assert_eq!(m.choose(5000, 6000, 7000, &mut Zero), group16());
    }

    #[test]
    fn groups_end_as_the_rfc_prints_them() {
        for (g, bits, tail) in [
            (group14(), 2048, "15728e5a8aacaa68ffffffffffffffff"),
            (group16(), 4096, "4df435c934063199ffffffffffffffff"),
            (group18(), 8192, "60c980dd98edd3dfffffffffffffffff"),
        ] {
            assert_eq!(g.p.bits(), bits);
            assert!(format!("{:x}", g.p).ends_with(tail));
        }
    }
}
