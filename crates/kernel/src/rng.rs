//! The world's entropy: a ChaCha8 stream from a seed that was passed in.

use turncoat_freeze::Freeze;

/// A deterministic stream of random bytes.
#[derive(Clone, Freeze)]
pub struct Rng {
    key: [u32; 8],
    counter: u64,
    buf: [u8; 64],
    used: usize,
}

fn quarter(s: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    s[a] = s[a].wrapping_add(s[b]);
    s[d] = (s[d] ^ s[a]).rotate_left(16);
    s[c] = s[c].wrapping_add(s[d]);
    s[b] = (s[b] ^ s[c]).rotate_left(12);
    s[a] = s[a].wrapping_add(s[b]);
    s[d] = (s[d] ^ s[a]).rotate_left(8);
    s[c] = s[c].wrapping_add(s[d]);
    s[b] = (s[b] ^ s[c]).rotate_left(7);
}

impl Rng {
    /// A stream from 32 bytes of entropy.
    pub fn new(seed: [u8; 32]) -> Rng {
        let mut key = [0u32; 8];
        for (k, c) in key.iter_mut().zip(seed.chunks_exact(4)) {
            *k = u32::from_le_bytes([c[0], c[1], c[2], c[3]]);
        }
        Rng {
            key,
            counter: 0,
            buf: [0; 64],
            used: 64,
        }
    }

    /// Mixes more entropy in (a fork of a snapshot must not repeat its parent's bytes).
    pub fn reseed(&mut self, seed: [u8; 32]) {
        for (k, c) in self.key.iter_mut().zip(seed.chunks_exact(4)) {
            *k ^= u32::from_le_bytes([c[0], c[1], c[2], c[3]]);
        }
        self.used = 64;
    }

    fn refill(&mut self) {
        let mut s = [0u32; 16];
        s[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
        s[4..12].copy_from_slice(&self.key);
        s[12] = self.counter as u32;
        s[13] = (self.counter >> 32) as u32;
        self.counter += 1;
        let start = s;
        for _ in 0..4 {
            quarter(&mut s, 0, 4, 8, 12);
            quarter(&mut s, 1, 5, 9, 13);
            quarter(&mut s, 2, 6, 10, 14);
            quarter(&mut s, 3, 7, 11, 15);
            quarter(&mut s, 0, 5, 10, 15);
            quarter(&mut s, 1, 6, 11, 12);
            quarter(&mut s, 2, 7, 8, 13);
            quarter(&mut s, 3, 4, 9, 14);
        }
        for (i, c) in self.buf.chunks_exact_mut(4).enumerate() {
            c.copy_from_slice(&s[i].wrapping_add(start[i]).to_le_bytes());
        }
        self.used = 0;
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        for b in out {
            if self.used == 64 {
                self.refill();
            }
            *b = self.buf[self.used];
            self.used += 1;
        }
    }

    /// The next 64 bits.
    pub fn u64(&mut self) -> u64 {
        let mut b = [0; 8];
        self.fill(&mut b);
        u64::from_le_bytes(b)
    }
}
