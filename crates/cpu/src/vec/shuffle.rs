//! XMM operations that move lanes: shuffles, blends, inserts, extracts, extensions, masks.

use bytemuck::must_cast;
use std::array::from_fn;

type W = [u16; 8];
type D = [u32; 4];
type Q = [u64; 2];

/// Doublewords of `b` chosen by the bit pairs of `imm`.
#[inline]
pub fn pshufd(b: u128, imm: u8) -> u128 {
    let b: D = must_cast(b);
    must_cast::<D, u128>(from_fn(|i| b[usize::from(imm >> (2 * i) & 3)]))
}
/// The low words of `b` chosen by `imm`; the high half is kept.
#[inline]
pub fn pshuflw(b: u128, imm: u8) -> u128 {
    let b: W = must_cast(b);
    must_cast::<W, u128>(from_fn(|i| {
        if i < 4 {
            b[usize::from(imm >> (2 * i) & 3)]
        } else {
            b[i]
        }
    }))
}
/// The high words of `b` chosen by `imm`; the low half is kept.
#[inline]
pub fn pshufhw(b: u128, imm: u8) -> u128 {
    let b: W = must_cast(b);
    must_cast::<W, u128>(from_fn(|i| {
        if i < 4 {
            b[i]
        } else {
            b[4 + usize::from(imm >> (2 * (i - 4)) & 3)]
        }
    }))
}
/// Two singles of `a` below, two of `b` above.
#[inline]
pub fn shufps(a: u128, b: u128, imm: u8) -> u128 {
    let (a, b): (D, D) = (must_cast(a), must_cast(b));
    must_cast::<D, u128>(from_fn(|i| {
        let k = usize::from(imm >> (2 * i) & 3);
        if i < 2 { a[k] } else { b[k] }
    }))
}
/// One double of `a` below, one of `b` above.
#[inline]
pub fn shufpd(a: u128, b: u128, imm: u8) -> u128 {
    let (a, b): (Q, Q) = (must_cast(a), must_cast(b));
    must_cast([a[usize::from(imm & 1)], b[usize::from(imm >> 1 & 1)]])
}
/// Interleaves the low singles.
#[inline]
pub fn unpcklps(a: u128, b: u128) -> u128 {
    super::punpckldq(a, b)
}
/// Interleaves the high singles.
#[inline]
pub fn unpckhps(a: u128, b: u128) -> u128 {
    super::punpckhdq(a, b)
}
/// Interleaves the low doubles.
#[inline]
pub fn unpcklpd(a: u128, b: u128) -> u128 {
    super::punpcklqdq(a, b)
}
/// Interleaves the high doubles.
#[inline]
pub fn unpckhpd(a: u128, b: u128) -> u128 {
    super::punpckhqdq(a, b)
}
/// The low double of `b` twice.
#[inline]
pub fn movddup(b: u128) -> u128 {
    super::punpcklqdq(b, b)
}
/// Singles 0 and 2 of `b`, each twice.
#[inline]
pub fn movsldup(b: u128) -> u128 {
    pshufd(b, 0xa0)
}
/// Singles 1 and 3 of `b`, each twice.
#[inline]
pub fn movshdup(b: u128) -> u128 {
    pshufd(b, 0xf5)
}
/// The high half of `b` below the high half of `a`.
#[inline]
pub fn movhlps(a: u128, b: u128) -> u128 {
    a >> 64 << 64 | b >> 64
}
/// The low half of `a` below the low half of `b`.
#[inline]
pub fn movlhps(a: u128, b: u128) -> u128 {
    super::punpcklqdq(a, b)
}

/// Words of `b` where `imm` has a bit, else of `a`.
#[inline]
pub fn pblendw(a: u128, b: u128, imm: u8) -> u128 {
    let (a, b): (W, W) = (must_cast(a), must_cast(b));
    must_cast::<W, u128>(from_fn(|i| if imm >> i & 1 != 0 { b[i] } else { a[i] }))
}
/// Singles of `b` where `imm` has a bit, else of `a`.
#[inline]
pub fn blendps(a: u128, b: u128, imm: u8) -> u128 {
    let (a, b): (D, D) = (must_cast(a), must_cast(b));
    must_cast::<D, u128>(from_fn(|i| if imm >> i & 1 != 0 { b[i] } else { a[i] }))
}
/// Doubles of `b` where `imm` has a bit, else of `a`.
#[inline]
pub fn blendpd(a: u128, b: u128, imm: u8) -> u128 {
    let (a, b): (Q, Q) = (must_cast(a), must_cast(b));
    must_cast::<Q, u128>(from_fn(|i| if imm >> i & 1 != 0 { b[i] } else { a[i] }))
}
/// Bytes of `b` where `mask` (XMM0) has its top bit set, else of `a`.
#[inline]
pub fn pblendvb(a: u128, b: u128, mask: u128) -> u128 {
    let m: [i8; 16] = must_cast(mask);
    let m: u128 = must_cast(m.map(|x| x >> 7));
    a & !m | b & m
}
/// Singles of `b` where `mask` (XMM0) has its top bit set, else of `a`.
#[inline]
pub fn blendvps(a: u128, b: u128, mask: u128) -> u128 {
    let m: [i32; 4] = must_cast(mask);
    let m: u128 = must_cast(m.map(|x| x >> 31));
    a & !m | b & m
}
/// Doubles of `b` where `mask` (XMM0) has its top bit set, else of `a`.
#[inline]
pub fn blendvpd(a: u128, b: u128, mask: u128) -> u128 {
    let m: [i64; 2] = must_cast(mask);
    let m: u128 = must_cast(m.map(|x| x >> 63));
    a & !m | b & m
}

/// `a` with one single replaced by `v` and singles cleared; `v` is chosen by [`insertps_source`] or read from memory.
#[inline]
pub fn insertps(a: u128, v: u32, imm: u8) -> u128 {
    let mut a: D = must_cast(a);
    a[usize::from(imm >> 4 & 3)] = v;
    must_cast::<D, u128>(from_fn(|i| if imm >> i & 1 != 0 { 0 } else { a[i] }))
}
/// The single that `insertps` with a register source takes from it.
#[inline]
pub fn insertps_source(b: u128, imm: u8) -> u32 {
    (b >> (32 * u32::from(imm >> 6))) as u32
}
/// `a` with one byte replaced.
#[inline]
pub fn pinsrb(a: u128, v: u8, imm: u8) -> u128 {
    let mut a: [u8; 16] = must_cast(a);
    a[usize::from(imm & 15)] = v;
    must_cast(a)
}
/// `a` with one doubleword replaced.
#[inline]
pub fn pinsrd(a: u128, v: u32, imm: u8) -> u128 {
    let mut a: D = must_cast(a);
    a[usize::from(imm & 3)] = v;
    must_cast(a)
}
/// `a` with one quadword replaced.
#[inline]
pub fn pinsrq(a: u128, v: u64, imm: u8) -> u128 {
    let mut a: Q = must_cast(a);
    a[usize::from(imm & 1)] = v;
    must_cast(a)
}
/// One byte of `a`.
#[inline]
pub fn pextrb(a: u128, imm: u8) -> u8 {
    (a >> (8 * u32::from(imm & 15))) as u8
}
/// One doubleword of `a` (also `extractps`).
#[inline]
pub fn pextrd(a: u128, imm: u8) -> u32 {
    (a >> (32 * u32::from(imm & 3))) as u32
}
/// One quadword of `a`.
#[inline]
pub fn pextrq(a: u128, imm: u8) -> u64 {
    (a >> (64 * u32::from(imm & 1))) as u64
}
/// Sign bits of the singles.
#[inline]
pub fn movmskps(a: u128) -> u32 {
    let a: [i32; 4] = must_cast(a);
    (0..4).map(|i| u32::from(a[i] < 0) << i).sum()
}
/// Sign bits of the doubles.
#[inline]
pub fn movmskpd(a: u128) -> u32 {
    (a >> 63) as u32 & 1 | (a >> 126) as u32 & 2
}
/// `ptest`: (ZF: `a & b` is zero, CF: `!a & b` is zero); the other arithmetic flags become 0.
#[inline]
pub fn ptest(a: u128, b: u128) -> (bool, bool) {
    (a & b == 0, !a & b == 0)
}

macro_rules! extend {
    ($($(#[$doc:meta])* $name:ident: $from:ty, $n:literal => $to:ty, $m:literal;)*) => { $(
        $(#[$doc])*
        #[inline]
        pub fn $name(b: u128) -> u128 {
            let b: [$from; $n] = must_cast(b);
            must_cast::<[$to; $m], u128>(from_fn(|i| b[i].into()))
        }
    )* };
}
extend! {
    /// Low bytes to words, with sign.
    pmovsxbw: i8, 16 => i16, 8;
    /// Low bytes to doublewords, with sign.
    pmovsxbd: i8, 16 => i32, 4;
    /// Low bytes to quadwords, with sign.
    pmovsxbq: i8, 16 => i64, 2;
    /// Low words to doublewords, with sign.
    pmovsxwd: i16, 8 => i32, 4;
    /// Low words to quadwords, with sign.
    pmovsxwq: i16, 8 => i64, 2;
    /// Low doublewords to quadwords, with sign.
    pmovsxdq: i32, 4 => i64, 2;
    /// Low bytes to words, with zeros.
    pmovzxbw: u8, 16 => u16, 8;
    /// Low bytes to doublewords, with zeros.
    pmovzxbd: u8, 16 => u32, 4;
    /// Low bytes to quadwords, with zeros.
    pmovzxbq: u8, 16 => u64, 2;
    /// Low words to doublewords, with zeros.
    pmovzxwd: u16, 8 => u32, 4;
    /// Low words to quadwords, with zeros.
    pmovzxwq: u16, 8 => u64, 2;
    /// Low doublewords to quadwords, with zeros.
    pmovzxdq: u32, 4 => u64, 2;
}
