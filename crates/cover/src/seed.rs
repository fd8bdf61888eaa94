//! The seed of an install and the streams of choices drawn from it.
//!
//! Every generator draws from a stream of its own, named by a label: adding a draw in one place changes nothing elsewhere.

use sha2::{Digest, Sha256};
use turncoat_freeze::Freeze;

/// 256 bits of entropy, drawn once per install.
#[derive(Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, Freeze)]
pub struct Seed(pub [u8; 32]);

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(..)")
    }
}

impl Seed {
    /// A stream of choices for `label`.
    pub fn stream(&self, label: &str) -> Stream {
        Stream {
            key: self.derive(label),
            counter: 0,
            block: [0; 32],
            used: 32,
        }
    }

    /// 32 bytes that only this seed and `label` give.
    pub fn derive(&self, label: &str) -> [u8; 32] {
        let mut h = Sha256::new();
        h.update(b"turncoat cover 1\0");
        h.update(self.0);
        h.update(label.as_bytes());
        h.finalize().into()
    }
}

/// An endless deterministic stream of choices (SHA-256 in counter mode).
#[derive(Clone)]
pub struct Stream {
    key: [u8; 32],
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl Stream {
    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        if self.used == 32 {
            let mut h = Sha256::new();
            h.update(self.key);
            h.update(self.counter.to_le_bytes());
            self.block = h.finalize().into();
            self.counter += 1;
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        for b in out {
            *b = self.byte();
        }
    }

    /// The next 64 bits.
    pub fn u64(&mut self) -> u64 {
        let mut b = [0; 8];
        self.fill(&mut b);
        u64::from_le_bytes(b)
    }

    /// A number below `n` (0 if `n` is 0).
    pub fn below(&mut self, n: u64) -> u64 {
        // The bias of the multiplication is below 2^-32 for every n that is used.
        ((u128::from(self.u64()) * u128::from(n)) >> 64) as u64
    }

    /// A number in `low..=high`.
    pub fn range(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low).max(0) as u64 + 1) as i64
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `items`; `items` must not be empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// An index drawn in proportion to `weights` (0 if all are zero).
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
        let mut at = self.below(total);
        for (i, w) in weights.iter().enumerate() {
            if at < u64::from(*w) {
                return i;
            }
            at -= u64::from(*w);
        }
        0
    }

    /// `count` different items, in the stream's order.
    pub fn sample<T: Clone>(&mut self, items: &[T], count: usize) -> Vec<T> {
        let mut pool = items.to_vec();
        let mut out = Vec::new();
        while out.len() < count && !pool.is_empty() {
            let i = self.below(pool.len() as u64) as usize;
            out.push(pool.swap_remove(i));
        }
        out
    }

    /// `len` lower-case hexadecimal digits.
    pub fn hex(&mut self, len: usize) -> String {
        (0..len)
            .map(|_| char::from(b"0123456789abcdef"[self.below(16) as usize]))
            .collect()
    }

    /// A version 4 UUID.
    pub fn uuid(&mut self) -> String {
        let mut b = [0u8; 16];
        self.fill(&mut b);
        b[6] = b[6] & 0x0f | 0x40;
        b[8] = b[8] & 0x3f | 0x80;
        let h: String = b.iter().map(|x| format!("{x:02x}")).collect();
        format!(
            "{}-{}-{}-{}-{}",
            &h[..8],
            &h[8..12],
            &h[12..16],
            &h[16..20],
            &h[20..]
        )
    }

    /// `len` characters of `alphabet` (a password, a token).
    pub fn text(&mut self, alphabet: &str, len: usize) -> String {
        let a: Vec<char> = alphabet.chars().collect();
        (0..len).map(|_| *self.pick(&a)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_stable_and_apart() {
        let s = Seed([7; 32]);
        let a: Vec<u64> = (0..4)
            .map(|_| 0)
            .scan(s.stream("a"), |st, _: u64| Some(st.u64()))
            .collect();
        let b: Vec<u64> = (0..4)
            .map(|_| 0)
            .scan(s.stream("a"), |st, _: u64| Some(st.u64()))
            .collect();
        assert_eq!(a, b);
        assert_ne!(a[0], s.stream("b").u64());
        let mut st = s.stream("range");
        for _ in 0..1000 {
            assert!((3..=9).contains(&st.range(3, 9)));
        }
        assert_eq!(st.sample(&[1, 2, 3], 9).len(), 3);
    }
}
