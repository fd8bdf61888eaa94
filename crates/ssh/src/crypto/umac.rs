//! UMAC (RFC 4418) with 64-bit and 128-bit tags over AES-128, as `umac-64@openssh.com` and `umac-128@openssh.com`.
//!
//! Messages are one packet long, so each is hashed in one go. L3 and L2 follow the RFC's definitions directly.

use aes::Aes128;
use aes::cipher::{BlockEncrypt, KeyInit};

/// Bytes that one NH pass compresses to eight.
const L1_BYTES: usize = 1024;
const P64: u64 = 0xffff_ffff_ffff_ffc5;
const P36: u64 = 0xf_ffff_fffb;
const P128: u128 = u128::MAX - 158;

/// A keyed UMAC with `N` 32-bit iterations: 2 for 64 bits, 4 for 128.
#[derive(Clone)]
pub struct Umac<const N: usize> {
    pad: Aes128,
    /// `L1_BYTES / 4 + 4 * (N - 1)` words.
    l1: Vec<u32>,
    l2_64: [u64; N],
    l2_128: [u128; N],
    l3_1: [[u64; 8]; N],
    l3_2: [u32; N],
}

impl<const N: usize> std::fmt::Debug for Umac<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Umac<{}>", N * 32)
    }
}

/// KDF of RFC 4418 section 3.2.1.
fn kdf(aes: &Aes128, index: u8, len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 16);
    let mut i = 1u64;
    while out.len() < len {
        let mut block = [0u8; 16];
        block[7] = index;
        block[8..].copy_from_slice(&i.to_be_bytes());
        aes.encrypt_block((&mut block).into());
        out.extend_from_slice(&block);
        i += 1;
    }
    out.truncate(len);
    out
}

fn be64(b: &[u8]) -> u64 {
    b.iter().take(8).fold(0, |n, x| n << 8 | u64::from(*x))
}

impl<const N: usize> Umac<N> {
    /// From a 16-byte key.
    pub fn new(key: &[u8; 16]) -> Self {
        let aes = Aes128::new(key.into());
        let mut pad_key = [0u8; 16];
        pad_key.copy_from_slice(&kdf(&aes, 0, 16));
        let l1 = kdf(&aes, 1, L1_BYTES + 16 * (N - 1));
        let l2 = kdf(&aes, 2, 24 * N);
        let l3_1 = kdf(&aes, 3, 64 * N);
        let l3_2 = kdf(&aes, 4, 4 * N);
        let mut m = Umac {
            pad: Aes128::new(&pad_key.into()),
            l1: l1
                .chunks_exact(4)
                .map(|c| u32::from_be_bytes([c[0], c[1], c[2], c[3]]))
                .collect(),
            l2_64: [0; N],
            l2_128: [0; N],
            l3_1: [[0; 8]; N],
            l3_2: [0; N],
        };
        for i in 0..N {
            let k = &l2[24 * i..24 * i + 24];
            m.l2_64[i] = be64(k) & 0x01ff_ffff_01ff_ffff;
            m.l2_128[i] = (u128::from(be64(&k[8..]) & 0x01ff_ffff_01ff_ffff) << 64)
                | u128::from(be64(&k[16..]) & 0x01ff_ffff_01ff_ffff);
            for j in 0..8 {
                m.l3_1[i][j] = be64(&l3_1[64 * i + 8 * j..]) % P36;
            }
            m.l3_2[i] = (be64(&l3_2[4 * i..4 * i + 4]) & 0xffff_ffff) as u32;
        }
        m
    }

    /// NH over one block, for every iteration at once. `block` is padded to a multiple of 32 bytes; `bits` is its
    /// length before that.
    fn nh(&self, block: &[u8], bits: u64) -> [u64; N] {
        let mut y = [0u64; N];
        for (g, group) in block.chunks_exact(32).enumerate() {
            let mut m = [0u32; 8];
            for (w, c) in m.iter_mut().zip(group.chunks_exact(4)) {
                *w = u32::from_le_bytes([c[0], c[1], c[2], c[3]]);
            }
            for (i, sum) in y.iter_mut().enumerate() {
                let Some(k) = self.l1.get(g * 8 + i * 4..g * 8 + i * 4 + 8) else {
                    continue;
                };
                for j in 0..4 {
                    *sum = sum.wrapping_add(
                        u64::from(m[j].wrapping_add(k[j])) * u64::from(m[j + 4].wrapping_add(k[j + 4])),
                    );
                }
            }
        }
        y.map(|s| s.wrapping_add(bits))
    }

    /// The hash of a message before the pad is added.
    fn uhash(&self, parts: &[&[u8]]) -> [u32; N] {
        let msg: Vec<u8> = parts.concat();
        let mut a: Vec<[u64; N]> = Vec::with_capacity(msg.len() / L1_BYTES + 1);
        let mut chunks = msg.chunks(L1_BYTES).peekable();
        if chunks.peek().is_none() {
            a.push(self.nh(&[0; 32], 0));
        }
        for c in chunks {
            if c.len() % 32 == 0 {
                a.push(self.nh(c, c.len() as u64 * 8));
            } else {
                let mut padded = c.to_vec();
                padded.resize(c.len().next_multiple_of(32), 0);
                a.push(self.nh(&padded, c.len() as u64 * 8));
            }
        }
        let mut out = [0u32; N];
        for i in 0..N {
            let l2 = match a.as_slice() {
                [one] => u128::from(one[i]),
                many => self.poly(i, many.iter().map(|v| v[i])),
            };
            out[i] = self.l3(i, l2);
        }
        out
    }

    /// L2: a polynomial over the L1 results (RFC 4418 section 5.3). Messages here stay far below 16 MiB (2^17 words),
    /// where the 64-bit field is used alone; the wide one is for completeness.
    fn poly(&self, i: usize, values: impl Iterator<Item = u64>) -> u128 {
        let k = self.l2_64[i];
        let mut y = 1u64;
        let step =
            |y: u64, v: u64| ((u128::from(y) * u128::from(k) + u128::from(v)) % u128::from(P64)) as u64;
        let mut wide: Option<u128> = None;
        let mut pending: Option<u64> = None;
        for (n, v) in values.enumerate() {
            if n < (1 << 14) {
                if v >= 0xffff_ffff_0000_0000 {
                    y = step(y, P64 - 1);
                    y = step(y, v.wrapping_sub(59));
                } else {
                    y = step(y, v);
                }
            } else if let Some(high) = pending.take() {
                let m = u128::from(high) << 64 | u128::from(v);
                wide = Some(self.poly128(i, wide.unwrap_or_else(|| self.poly128(i, 1, u128::from(y))), m));
            } else {
                pending = Some(v);
            }
        }
        match (wide, pending) {
            (None, None) => u128::from(y),
            (w, p) => {
                let w = w.unwrap_or_else(|| self.poly128(i, 1, u128::from(y)));
                let last = match p {
                    Some(high) => u128::from(high) << 64 | 1 << 63,
                    None => 1 << 127,
                };
                self.poly128(i, w, last)
            }
        }
    }

    fn poly128(&self, i: usize, y: u128, m: u128) -> u128 {
        let k = self.l2_128[i];
        let step = |y: u128, v: u128| add_mod(mul_mod(y, k), v % P128);
        if m >= u128::MAX << 96 {
            step(step(y, P128 - 1), m.wrapping_sub(159))
        } else {
            step(y, m)
        }
    }

    fn l3(&self, i: usize, m: u128) -> u32 {
        let mut y = 0u64;
        for j in 0..8 {
            let word = (m >> (112 - 16 * j)) as u64 & 0xffff;
            y = y.wrapping_add(word * self.l3_1[i][j]);
        }
        ((y % P36) as u32) ^ self.l3_2[i]
    }

    /// The tag for a message (given in parts) under a nonce; the first `4 * N` bytes count.
    pub fn tag(&self, parts: &[&[u8]], nonce: u64) -> [u8; 16] {
        let hash = self.uhash(parts);
        let mut block = [0u8; 16];
        // Tags of 64 bits take half a block of pad each, chosen by the nonce's lowest bit.
        let low = if N == 2 { nonce & 1 } else { 0 };
        block[..8].copy_from_slice(&(nonce & !low).to_be_bytes());
        self.pad.encrypt_block((&mut block).into());
        let pad = &block[8 * low as usize..];
        let mut out = [0u8; 16];
        for (i, h) in hash.iter().enumerate() {
            for (j, b) in h.to_be_bytes().iter().enumerate() {
                out[4 * i + j] = b ^ pad[4 * i + j];
            }
        }
        out
    }
}

fn add_mod(a: u128, b: u128) -> u128 {
    let (s, over) = a.overflowing_add(b);
    let s = if over { s.wrapping_add(159) } else { s };
    if s >= P128 { s - P128 } else { s }
}

fn mul_mod(mut a: u128, mut b: u128) -> u128 {
    let mut r = 0;
    while b != 0 {
        if b & 1 == 1 {
            r = add_mod(r, a);
        }
        a = add_mod(a, a);
        b >>= 1;
    }
    r
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of RFC 4418's appendix: key "abcdefghijklmnop", nonce "bcdefghi".
    #[test]
    fn rfc_vectors() {
        let nonce = u64::from_be_bytes(*b"bcdefghi");
        let (u64s, u128s) = (
            Umac::<2>::new(b"abcdefghijklmnop"),
            Umac::<4>::new(b"abcdefghijklmnop"),
        );
        let hex = |b: &[u8]| b.iter().map(|x| format!("{x:02X}")).collect::<String>();
        for (msg, want) in [
            (vec![], "6E155FAD26900BE1"),
            (vec![b'a'; 3], "44B5CB542F220104"),
            (vec![b'a'; 1 << 10], "26BF2F5D60118BD9"),
            (vec![b'a'; 1 << 15], "27F8EF643B0D118D"),
            (vec![b'a'; 1 << 20], "A4477E87E9F55853"),
            (b"abc".to_vec(), "D4D7B9F6BD4FBFCF"),
            (b"abc".repeat(500), "D4CF26DDEFD5C01A"),
        ] {
            assert_eq!(hex(&u64s.tag(&[&msg], nonce)[..8]), want);
        }
        assert_eq!(hex(&u128s.tag(&[b""], nonce)[..12]), "32FEDB100C79AD58F07FF764");
        assert_eq!(
            hex(&u128s.tag(&[b"aaa"], nonce)[..12]),
            "185E4FE905CBA7BD85E4C2DC"
        );
        // In parts as in one piece.
        assert_eq!(u128s.tag(&[b"a", b"", b"aa"], nonce), u128s.tag(&[b"aaa"], nonce));
    }
}
