use super::*;
use flate2::{Decompress, FlushDecompress};
use sha2::{Digest, Sha256};

const WORDS: &str = "the shell behind decoys runs real programs on false kernels and records what they say";

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// As `tests/golden/record_deflate.py` makes it.
fn fill(kind: &str, size: usize, rng: &mut Random, before: &[u8]) -> Vec<u8> {
    let words: Vec<&str> = WORDS.split(' ').collect();
    let mut out = Vec::new();
    while out.len() < size {
        match kind {
            "words" => out.extend(format!("{} ", words[rng.below(words.len())]).bytes()),
            "listing" => {
                let (size, day) = (rng.below(1_000_000), rng.below(30) + 1);
                let (minute, n) = (rng.below(60), rng.below(500));
                let line = format!("-rw-r--r-- 1 root root {size:7} Nov {day:2} 12:{minute:02} file{n}\r\n");
                out.extend(line.bytes());
            }
            "letters" => out.push(97 + rng.below(4) as u8),
            "runs" => {
                let byte = rng.below(3) as u8;
                out.extend(std::iter::repeat_n(byte, 1 + rng.below(700)));
            }
            "again" if before.len() > 10 && rng.below(3) > 0 => {
                let start = rng.below(before.len());
                let end = (start + 1 + rng.below(400)).min(before.len());
                out.extend(&before[start..end]);
            }
            _ => out.push(rng.below(256) as u8),
        }
    }
    out.truncate(size);
    out
}

/// Each packet of a case, and what becomes of it.
fn packets(case: &[&str], mut with: impl FnMut(&[u8])) {
    let number = |n: usize| case[n].parse::<usize>().expect("a number");
    let mut rng = Random(number(0) as u64);
    let mut before = Vec::new();
    for _ in 0..number(2) {
        let size = number(3) + rng.below(number(4) - number(3) + 1);
        let data = fill(case[1], size, &mut rng, &before);
        before.extend(&data);
        before.drain(..before.len().saturating_sub(200_000));
        with(&data);
    }
}

fn cases() -> impl Iterator<Item = Vec<&'static str>> {
    let golden = include_str!("../../tests/golden/deflate.txt");
    golden.lines().map(|line| line.split(' ').collect())
}

#[test]
fn streams_are_those_of_zlib() {
    for case in cases() {
        for rests in [false, true] {
            let mut z = Deflate::new();
            let (mut digest, mut total) = (Sha256::new(), 0);
            packets(&case, |data| {
                let out = z.packet(data);
                digest.update((out.len() as u32).to_le_bytes());
                digest.update(&out);
                total += out.len();
                if rests {
                    z.rest();
                }
            });
            let hex: String = digest.finalize().iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(
                (total.to_string().as_str(), hex.as_str()),
                (case[5], case[6]),
                "{case:?}, rests: {rests}"
            );
        }
    }
}

#[test]
fn what_was_compressed_is_read_again() {
    for case in cases() {
        let (mut z, mut reader) = (Deflate::new(), Decompress::new(true));
        packets(&case, |data| {
            let mut back = Vec::with_capacity(data.len() + 1);
            reader
                .decompress_vec(&z.packet(data), &mut back, FlushDecompress::Sync)
                .expect("a stream");
            assert!(back == data, "{case:?}");
        });
    }
}
