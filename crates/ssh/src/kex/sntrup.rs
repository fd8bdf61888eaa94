//! Streamlined NTRU Prime sntrup761, the half a server needs: encapsulation to a client's key.
//!
//! After the specification of the NIST submission "NTRU Prime: round 3" (sections 3 and 4 of its supporting
//! documentation). The server never makes an NTRU key nor decapsulates, so neither is here.

use crate::api::Entropy;
use sha2::{Digest, Sha512};

const P: usize = 761;
const Q: i32 = 4591;
const W: usize = 286;
const HALF_Q: i32 = (Q - 1) / 2;

/// Bytes of a public key.
pub const PUBLIC_LEN: usize = 1158;
/// Bytes of a ciphertext.
pub const CIPHERTEXT_LEN: usize = 1039;

/// Makes a shared key for whoever holds the secret of `public`: ciphertext and key.
pub fn encapsulate(public: &[u8; PUBLIC_LEN], rng: &mut dyn Entropy) -> (Vec<u8>, [u8; 32]) {
    let r = short_random(rng);
    let h: Vec<i16> = decode(public, &[Q as u16; P])
        .iter()
        .map(|v| (i32::from(*v) - HALF_Q) as i16)
        .collect();
    let product = multiply(&h, &r);
    let rounded: Vec<u16> = product
        .iter()
        .map(|v| {
            let m = (v + 1).rem_euclid(3) - 1;
            (((v - m + HALF_Q) * 10923) >> 15) as u16
        })
        .collect();
    let mut c = Vec::with_capacity(CIPHERTEXT_LEN);
    encode(&mut c, rounded, vec![((Q + 2) / 3) as u16; P]);
    let r_hash = prefixed(3, &[&encode_small(&r)]);
    let confirm = prefixed(2, &[&r_hash, &prefixed(4, &[public])]);
    c.extend_from_slice(&confirm);
    let key = prefixed(1, &[&r_hash, &c]);
    (c, key)
}

/// The first half of SHA-512 with a domain byte.
fn prefixed(domain: u8, parts: &[&[u8]]) -> [u8; 32] {
    let mut h = Sha512::new();
    h.update([domain]);
    for p in parts {
        h.update(p);
    }
    let mut out = [0; 32];
    out.copy_from_slice(&h.finalize()[..32]);
    out
}

/// A polynomial with exactly `W` coefficients of 1 or -1, the rest 0, by sorting random words that carry the
/// coefficient in their lowest bits.
fn short_random(rng: &mut dyn Entropy) -> Vec<i8> {
    let mut bytes = vec![0u8; 4 * P];
    rng.fill(&mut bytes);
    let mut words: Vec<u32> = bytes
        .chunks_exact(4)
        .enumerate()
        .map(|(i, c)| {
            let v = u32::from_le_bytes([c[0], c[1], c[2], c[3]]);
            if i < W { v & !1 } else { (v & !3) | 1 }
        })
        .collect();
    words.sort_unstable();
    words.iter().map(|v| (v & 3) as i8 - 1).collect()
}

/// Product of a polynomial and a small one modulo x^p - x - 1, each coefficient in -2295..=2295.
fn multiply(f: &[i16], g: &[i8]) -> Vec<i32> {
    let mut product = vec![0i32; 2 * P - 1];
    for (i, gi) in g.iter().enumerate() {
        // Every iteration does the same work whatever the secret coefficient is.
        let gi = i32::from(*gi);
        for (out, fi) in product[i..].iter_mut().zip(f) {
            *out += gi * i32::from(*fi);
        }
    }
    for i in (P..2 * P - 1).rev() {
        let v = product[i];
        product[i - P] += v;
        product[i - P + 1] += v;
    }
    product.truncate(P);
    for v in &mut product {
        *v = (*v + HALF_Q).rem_euclid(Q) - HALF_Q;
    }
    product
}

fn encode_small(r: &[i8]) -> Vec<u8> {
    r.chunks(4)
        .map(|c| {
            c.iter()
                .enumerate()
                .fold(0, |b, (i, v)| b | (((v + 1) as u8) << (2 * i)))
        })
        .collect()
}

/// Packs numbers `r[i] < m[i]` by joining them in pairs and giving out low bytes.
fn encode(out: &mut Vec<u8>, mut r: Vec<u16>, mut m: Vec<u16>) {
    while r.len() > 1 {
        let (mut r2, mut m2) = (Vec::new(), Vec::new());
        for (rc, mc) in r.chunks(2).zip(m.chunks(2)) {
            let ([r0, r1], [m0, m1]) = (rc, mc) else {
                r2.extend_from_slice(rc);
                m2.extend_from_slice(mc);
                continue;
            };
            let mut v = u32::from(*r0) + u32::from(*r1) * u32::from(*m0);
            let mut limit = u32::from(*m0) * u32::from(*m1);
            while limit >= 16384 {
                out.push(v as u8);
                v >>= 8;
                limit = limit.div_ceil(256);
            }
            r2.push(v as u16);
            m2.push(limit as u16);
        }
        (r, m) = (r2, m2);
    }
    if let ([v], [limit]) = (r.as_slice(), m.as_slice()) {
        let (mut v, mut limit) = (*v, u32::from(*limit));
        while limit > 1 {
            out.push(v as u8);
            v >>= 8;
            limit = limit.div_ceil(256);
        }
    }
}

/// The inverse of [`encode`]. Bytes that are missing count as zero; every result is below its limit.
fn decode(bytes: &[u8], m: &[u16]) -> Vec<u16> {
    let mut bytes = bytes.iter().copied();
    decode_level(&mut bytes, m)
}

fn decode_level(bytes: &mut impl Iterator<Item = u8>, m: &[u16]) -> Vec<u16> {
    let mut next = || u32::from(bytes.next().unwrap_or(0));
    if let [limit] = m {
        let limit = u32::from(*limit);
        let v = match limit {
            0 | 1 => 0,
            2..=256 => next() % limit,
            _ => {
                let low = next();
                (low + 256 * next()) % limit
            }
        };
        return vec![v as u16];
    }
    let (mut bottoms, mut m2) = (Vec::new(), Vec::new());
    for pair in m.chunks(2) {
        let [a, b] = pair else {
            m2.extend_from_slice(pair);
            continue;
        };
        let limit = u32::from(*a) * u32::from(*b);
        if limit > 256 * 16383 {
            let low = next();
            bottoms.push((low + 256 * next(), 65536u32));
            m2.push(limit.div_ceil(256).div_ceil(256) as u16);
        } else if limit >= 16384 {
            bottoms.push((next(), 256));
            m2.push(limit.div_ceil(256) as u16);
        } else {
            bottoms.push((0, 1));
            m2.push(limit as u16);
        }
    }
    let tops = decode_boxed(bytes, &m2);
    let mut out = Vec::with_capacity(m.len());
    for (i, pair) in m.chunks(2).enumerate() {
        let top = tops.get(i).copied().unwrap_or(0);
        match (pair, bottoms.get(i)) {
            ([a, b], Some((low, scale))) => {
                let v = low + scale * u32::from(top);
                out.push((v % u32::from(*a)) as u16);
                out.push((v / u32::from(*a) % u32::from(*b)) as u16);
            }
            _ => out.push(top),
        }
    }
    out
}

fn decode_boxed(bytes: &mut impl Iterator<Item = u8>, m: &[u16]) -> Vec<u16> {
    decode_level(bytes, m)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_packing() {
        let m = vec![Q as u16; P];
        let r: Vec<u16> = (0..P).map(|i| (i * 7919 % Q as usize) as u16).collect();
        let mut out = Vec::new();
        encode(&mut out, r.clone(), m.clone());
        assert_eq!(out.len(), PUBLIC_LEN);
        assert_eq!(decode(&out, &m), r);
        let mut out = Vec::new();
        encode(&mut out, vec![1; P], vec![1531; P]);
        assert_eq!(out.len(), CIPHERTEXT_LEN - 32);
    }
}
