//! `known_hosts` with hashed names, as Debian's `HashKnownHosts yes` writes them: `|1|salt|HMAC-SHA1(salt, name)|`.

use crate::cover::Cover;
use crate::keys::{self, Algo};

/// SHA-1 (FIPS 180-4). It serves file formats here, not security.
fn sha1(data: &[u8]) -> [u8; 20] {
    let mut h: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let mut m = data.to_vec();
    m.push(0x80);
    while m.len() % 64 != 56 {
        m.push(0);
    }
    m.extend_from_slice(&(data.len() as u64 * 8).to_be_bytes());
    for block in m.chunks_exact(64) {
        let mut w = [0u32; 80];
        for (i, b) in block.chunks_exact(4).enumerate() {
            w[i] = u32::from_be_bytes([b[0], b[1], b[2], b[3]]);
        }
        for i in 16..80 {
            w[i] = (w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = h;
        for (i, word) in w.iter().enumerate() {
            let (f, k) = match i {
                0..20 => ((b & c) | (!b & d), 0x5a82_7999u32),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6),
            };
            let t = a
                .rotate_left(5)
                .wrapping_add(f)
                .wrapping_add(e)
                .wrapping_add(k)
                .wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, t);
        }
        for (x, y) in h.iter_mut().zip([a, b, c, d, e]) {
            *x = x.wrapping_add(y);
        }
    }
    let mut out = [0; 20];
    for (o, x) in out.chunks_exact_mut(4).zip(h) {
        o.copy_from_slice(&x.to_be_bytes());
    }
    out
}

/// HMAC-SHA1 (RFC 2104) with a key of at most 64 bytes.
fn hmac(key: &[u8], data: &[u8]) -> [u8; 20] {
    let pad = |x: u8| -> Vec<u8> { (0..64).map(|i| key.get(i).copied().unwrap_or(0) ^ x).collect() };
    let inner = sha1(&[pad(0x36), data.to_vec()].concat());
    sha1(&[pad(0x5c), inner.to_vec()].concat())
}

fn base64(bytes: &[u8]) -> String {
    const A: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for g in bytes.chunks(3) {
        let w = u32::from(g[0]) << 16
            | u32::from(g.get(1).copied().unwrap_or(0)) << 8
            | u32::from(g.get(2).copied().unwrap_or(0));
        for i in 0..4 {
            if i <= g.len() {
                out.push(char::from(A[(w >> (18 - 6 * i) & 63) as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// The keys of the neighbours, as lines without a name; each host keeps its key for all who know it.
pub fn neighbour_keys(cover: &Cover) -> Vec<(String, Vec<String>)> {
    cover
        .network
        .neighbours
        .iter()
        .map(|(name, _, _)| {
            let lines = [Algo::Ed25519, Algo::Ecdsa]
                .into_iter()
                .filter_map(|a| keys::generate(cover.seed(), &format!("neighbour {name} {a:?}"), a, ""))
                .map(|k| k.public.trim().to_string())
                .collect();
            (name.clone(), lines)
        })
        .collect()
}

/// `known_hosts` of somebody who reached some of the neighbours.
pub fn write(cover: &Cover, keys: &[(String, Vec<String>)], who: &str) -> String {
    let mut s = cover.stream(&format!("known_hosts {who}"));
    let mut out = String::new();
    for (name, lines) in keys {
        if !s.chance(75) {
            continue;
        }
        for line in lines {
            let mut salt = [0u8; 20];
            s.fill(&mut salt);
            out += &format!(
                "|1|{}|{} {line}\n",
                base64(&salt),
                base64(&hmac(&salt, name.as_bytes()))
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2202, test case 2; RFC 4648, section 10.
    #[test]
    fn known_answers() {
        let hex: String = hmac(b"Jefe", b"what do ya want for nothing?")
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(hex, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(base64(b"fooba"), "Zm9vYmE=");
        assert_eq!(base64(b"foob"), "Zm9vYg==");
    }
}
