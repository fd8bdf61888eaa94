//! The one hash of this crate: FNV-1a, 64 bits (Fowler, Noll, Vo), which is the same on every machine and in every version. It names
//! evidence in memory and in the record; it is no protection against somebody who wants two things to look the same.

const START: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// Hash of one text.
pub fn of(bytes: &[u8]) -> u64 {
    seeded(bytes, 0)
}

/// The same for another function of the family.
pub fn seeded(bytes: &[u8], seed: u64) -> u64 {
    bytes
        .iter()
        .fold(START ^ seed, |h, b| (h ^ u64::from(*b)).wrapping_mul(PRIME))
}

/// Hash of several texts, whose borders count.
pub fn parts(parts: &[&[u8]]) -> u64 {
    parts.iter().fold(START, |h, part| {
        let h = part
            .iter()
            .fold(h, |h, b| (h ^ u64::from(*b)).wrapping_mul(PRIME));
        (h ^ 0x1ff).wrapping_mul(PRIME)
    })
}

/// Spreads what is alike: the last step of SplitMix64 (Steele, Lea, Flood 2014).
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_the_published_function() {
        assert_eq!(super::of(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(super::of(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(super::of(b"foobar"), 0x8594_4171_f739_67e8);
        assert_ne!(super::parts(&[b"ab", b"c"]), super::parts(&[b"a", b"bc"]));
    }
}
