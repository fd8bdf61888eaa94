//! Packed integer operations that MMX and SSE share, once for each register size.

/// Saturates `v` into the range of a narrower type.
macro_rules! sat {
    ($v:expr, $t:ty) => {
        ($v).clamp(<$t>::MIN.into(), <$t>::MAX.into()) as $t
    };
}

/// Lane-by-lane functions of two operands.
macro_rules! lanewise {
    ($V:ty, $N:expr; $($(#[$doc:meta])* $name:ident: $t:ty, |$x:ident, $y:ident| $e:expr;)*) => { $(
        $(#[$doc])*
        #[inline]
        pub fn $name(a: $V, b: $V) -> $V {
            let (a, b): ([$t; $N / size_of::<$t>()], [$t; $N / size_of::<$t>()]) = (must_cast(a), must_cast(b));
            must_cast::<[$t; $N / size_of::<$t>()], $V>(from_fn(|i| { let ($x, $y) = (a[i], b[i]); $e }))
        }
    )* };
}

/// Shifts of every lane by one count; counts of the lane's width and above clear (or fill with the sign).
macro_rules! shifts {
    ($V:ty, $N:expr; $($(#[$doc:meta])* $name:ident: $t:ty, |$x:ident, $c:ident| $e:expr;)*) => { $(
        $(#[$doc])*
        #[inline]
        pub fn $name(a: $V, count: u64) -> $V {
            let a: [$t; $N / size_of::<$t>()] = must_cast(a);
            let $c = count.min(64) as u32;
            must_cast::<[$t; $N / size_of::<$t>()], $V>(from_fn(|i| { let $x = a[i]; $e }))
        }
    )* };
}

macro_rules! shared_operations {
    ($V:ty, $N:literal) => {
        use bytemuck::must_cast;
        use std::array::from_fn;

        lanewise! { $V, $N;
            /// Wrapping sum of bytes.
            paddb: u8, |x, y| x.wrapping_add(y);
            /// Wrapping sum of words.
            paddw: u16, |x, y| x.wrapping_add(y);
            /// Wrapping sum of doublewords.
            paddd: u32, |x, y| x.wrapping_add(y);
            /// Wrapping sum of quadwords.
            paddq: u64, |x, y| x.wrapping_add(y);
            /// Saturating sum of signed bytes.
            paddsb: i8, |x, y| x.saturating_add(y);
            /// Saturating sum of signed words.
            paddsw: i16, |x, y| x.saturating_add(y);
            /// Saturating sum of unsigned bytes.
            paddusb: u8, |x, y| x.saturating_add(y);
            /// Saturating sum of unsigned words.
            paddusw: u16, |x, y| x.saturating_add(y);
            /// Wrapping difference of bytes.
            psubb: u8, |x, y| x.wrapping_sub(y);
            /// Wrapping difference of words.
            psubw: u16, |x, y| x.wrapping_sub(y);
            /// Wrapping difference of doublewords.
            psubd: u32, |x, y| x.wrapping_sub(y);
            /// Wrapping difference of quadwords.
            psubq: u64, |x, y| x.wrapping_sub(y);
            /// Saturating difference of signed bytes.
            psubsb: i8, |x, y| x.saturating_sub(y);
            /// Saturating difference of signed words.
            psubsw: i16, |x, y| x.saturating_sub(y);
            /// Saturating difference of unsigned bytes.
            psubusb: u8, |x, y| x.saturating_sub(y);
            /// Saturating difference of unsigned words.
            psubusw: u16, |x, y| x.saturating_sub(y);
            /// Rounded average of unsigned bytes.
            pavgb: u8, |x, y| ((u16::from(x) + u16::from(y) + 1) >> 1) as u8;
            /// Rounded average of unsigned words.
            pavgw: u16, |x, y| ((u32::from(x) + u32::from(y) + 1) >> 1) as u16;
            /// Lesser unsigned bytes.
            pminub: u8, |x, y| x.min(y);
            /// Greater unsigned bytes.
            pmaxub: u8, |x, y| x.max(y);
            /// Lesser signed words.
            pminsw: i16, |x, y| x.min(y);
            /// Greater signed words.
            pmaxsw: i16, |x, y| x.max(y);
            /// All ones where bytes are equal.
            pcmpeqb: u8, |x, y| if x == y { !0 } else { 0 };
            /// All ones where words are equal.
            pcmpeqw: u16, |x, y| if x == y { !0 } else { 0 };
            /// All ones where doublewords are equal.
            pcmpeqd: u32, |x, y| if x == y { !0 } else { 0 };
            /// All ones where the first signed byte is greater.
            pcmpgtb: i8, |x, y| if x > y { -1 } else { 0 };
            /// All ones where the first signed word is greater.
            pcmpgtw: i16, |x, y| if x > y { -1 } else { 0 };
            /// All ones where the first signed doubleword is greater.
            pcmpgtd: i32, |x, y| if x > y { -1 } else { 0 };
            /// Low halves of word products.
            pmullw: u16, |x, y| x.wrapping_mul(y);
            /// High halves of signed word products.
            pmulhw: i16, |x, y| ((i32::from(x) * i32::from(y)) >> 16) as i16;
            /// High halves of unsigned word products.
            pmulhuw: u16, |x, y| ((u32::from(x) * u32::from(y)) >> 16) as u16;
            /// High halves of signed word products, rounded and scaled (1.15 fixed point).
            pmulhrsw: i16, |x, y| ((((i32::from(x) * i32::from(y)) >> 14) + 1) >> 1) as i16;
            /// Products of the low doublewords of each quadword.
            pmuludq: u64, |x, y| (x & 0xffff_ffff) * (y & 0xffff_ffff);
            /// Bytes negated, cleared or kept by the sign of the second operand's.
            psignb: i8, |x, y| if y < 0 { x.wrapping_neg() } else if y == 0 { 0 } else { x };
            /// Words negated, cleared or kept by the sign of the second operand's.
            psignw: i16, |x, y| if y < 0 { x.wrapping_neg() } else if y == 0 { 0 } else { x };
            /// Doublewords negated, cleared or kept by the sign of the second operand's.
            psignd: i32, |x, y| if y < 0 { x.wrapping_neg() } else if y == 0 { 0 } else { x };
        }

        shifts! { $V, $N;
            /// Words shifted left.
            psllw: u16, |x, c| if c > 15 { 0 } else { x << c };
            /// Doublewords shifted left.
            pslld: u32, |x, c| if c > 31 { 0 } else { x << c };
            /// Quadwords shifted left.
            psllq: u64, |x, c| if c > 63 { 0 } else { x << c };
            /// Words shifted right.
            psrlw: u16, |x, c| if c > 15 { 0 } else { x >> c };
            /// Doublewords shifted right.
            psrld: u32, |x, c| if c > 31 { 0 } else { x >> c };
            /// Quadwords shifted right.
            psrlq: u64, |x, c| if c > 63 { 0 } else { x >> c };
            /// Words shifted right with sign.
            psraw: i16, |x, c| x >> c.min(15);
            /// Doublewords shifted right with sign.
            psrad: i32, |x, c| x >> c.min(31);
        }

        /// Bitwise and.
        #[inline]
        pub fn pand(a: $V, b: $V) -> $V {
            a & b
        }
        /// Bitwise and of the complemented first operand.
        #[inline]
        pub fn pandn(a: $V, b: $V) -> $V {
            !a & b
        }
        /// Bitwise or.
        #[inline]
        pub fn por(a: $V, b: $V) -> $V {
            a | b
        }
        /// Bitwise exclusive or.
        #[inline]
        pub fn pxor(a: $V, b: $V) -> $V {
            a ^ b
        }

        /// Absolute bytes of `b`.
        #[inline]
        pub fn pabsb(b: $V) -> $V {
            must_cast::<[u8; $N], $V>(must_cast::<$V, [i8; $N]>(b).map(i8::unsigned_abs))
        }
        /// Absolute words of `b`.
        #[inline]
        pub fn pabsw(b: $V) -> $V {
            must_cast::<[u16; $N / 2], $V>(must_cast::<$V, [i16; $N / 2]>(b).map(i16::unsigned_abs))
        }
        /// Absolute doublewords of `b`.
        #[inline]
        pub fn pabsd(b: $V) -> $V {
            must_cast::<[u32; $N / 4], $V>(must_cast::<$V, [i32; $N / 4]>(b).map(i32::unsigned_abs))
        }

        /// Sums of adjacent products of signed words.
        #[inline]
        pub fn pmaddwd(a: $V, b: $V) -> $V {
            let (a, b): ([i16; $N / 2], [i16; $N / 2]) = (must_cast(a), must_cast(b));
            let p = |i: usize| i32::from(a[i]) * i32::from(b[i]);
            must_cast::<[i32; $N / 4], $V>(from_fn(|i| p(2 * i).wrapping_add(p(2 * i + 1))))
        }
        /// Saturated sums of adjacent products of unsigned bytes (of `a`) and signed bytes (of `b`).
        #[inline]
        pub fn pmaddubsw(a: $V, b: $V) -> $V {
            let (a, b): ([u8; $N], [i8; $N]) = (must_cast(a), must_cast(b));
            let p = |i: usize| i32::from(a[i]) * i32::from(b[i]);
            must_cast::<[i16; $N / 2], $V>(from_fn(|i| sat!(p(2 * i) + p(2 * i + 1), i16)))
        }
        /// Sum of absolute differences of the bytes of each quadword.
        #[inline]
        pub fn psadbw(a: $V, b: $V) -> $V {
            let (a, b): ([u8; $N], [u8; $N]) = (must_cast(a), must_cast(b));
            let d: [u64; $N] = from_fn(|i| u64::from(a[i].abs_diff(b[i])));
            must_cast::<[u64; $N / 8], $V>(from_fn(|i| d[8 * i..8 * i + 8].iter().sum()))
        }

        /// Signed words to signed bytes, saturated: `a` below, `b` above.
        #[inline]
        pub fn packsswb(a: $V, b: $V) -> $V {
            let (a, b): ([i16; $N / 2], [i16; $N / 2]) = (must_cast(a), must_cast(b));
            must_cast::<[i8; $N], $V>(from_fn(|i| {
                sat!(if i < $N / 2 { a[i] } else { b[i - $N / 2] }, i8)
            }))
        }
        /// Signed words to unsigned bytes, saturated: `a` below, `b` above.
        #[inline]
        pub fn packuswb(a: $V, b: $V) -> $V {
            let (a, b): ([i16; $N / 2], [i16; $N / 2]) = (must_cast(a), must_cast(b));
            must_cast::<[u8; $N], $V>(from_fn(|i| {
                sat!(if i < $N / 2 { a[i] } else { b[i - $N / 2] }, u8)
            }))
        }
        /// Signed doublewords to signed words, saturated: `a` below, `b` above.
        #[inline]
        pub fn packssdw(a: $V, b: $V) -> $V {
            let (a, b): ([i32; $N / 4], [i32; $N / 4]) = (must_cast(a), must_cast(b));
            must_cast::<[i16; $N / 2], $V>(from_fn(|i| {
                sat!(if i < $N / 4 { a[i] } else { b[i - $N / 4] }, i16)
            }))
        }

        /// Interleaves the low bytes.
        #[inline]
        pub fn punpcklbw(a: $V, b: $V) -> $V {
            let (a, b): ([u8; $N], [u8; $N]) = (must_cast(a), must_cast(b));
            must_cast::<[u8; $N], $V>(from_fn(|i| if i % 2 == 0 { a[i / 2] } else { b[i / 2] }))
        }
        /// Interleaves the low words.
        #[inline]
        pub fn punpcklwd(a: $V, b: $V) -> $V {
            let (a, b): ([u16; $N / 2], [u16; $N / 2]) = (must_cast(a), must_cast(b));
            must_cast::<[u16; $N / 2], $V>(from_fn(|i| if i % 2 == 0 { a[i / 2] } else { b[i / 2] }))
        }
        /// Interleaves the low doublewords.
        #[inline]
        pub fn punpckldq(a: $V, b: $V) -> $V {
            let (a, b): ([u32; $N / 4], [u32; $N / 4]) = (must_cast(a), must_cast(b));
            must_cast::<[u32; $N / 4], $V>(from_fn(|i| if i % 2 == 0 { a[i / 2] } else { b[i / 2] }))
        }
        /// Interleaves the high bytes.
        #[inline]
        pub fn punpckhbw(a: $V, b: $V) -> $V {
            let (a, b): ([u8; $N], [u8; $N]) = (must_cast(a), must_cast(b));
            let h = $N / 2;
            must_cast::<[u8; $N], $V>(from_fn(|i| {
                if i % 2 == 0 {
                    a[h + i / 2]
                } else {
                    b[h + i / 2]
                }
            }))
        }
        /// Interleaves the high words.
        #[inline]
        pub fn punpckhwd(a: $V, b: $V) -> $V {
            let (a, b): ([u16; $N / 2], [u16; $N / 2]) = (must_cast(a), must_cast(b));
            let h = $N / 4;
            must_cast::<[u16; $N / 2], $V>(from_fn(|i| {
                if i % 2 == 0 {
                    a[h + i / 2]
                } else {
                    b[h + i / 2]
                }
            }))
        }
        /// Interleaves the high doublewords.
        #[inline]
        pub fn punpckhdq(a: $V, b: $V) -> $V {
            let (a, b): ([u32; $N / 4], [u32; $N / 4]) = (must_cast(a), must_cast(b));
            let h = $N / 8;
            must_cast::<[u32; $N / 4], $V>(from_fn(|i| {
                if i % 2 == 0 {
                    a[h + i / 2]
                } else {
                    b[h + i / 2]
                }
            }))
        }

        /// Bytes of `a` chosen by the bytes of `b`; a set top bit clears.
        #[inline]
        pub fn pshufb(a: $V, b: $V) -> $V {
            let (a, b): ([u8; $N], [u8; $N]) = (must_cast(a), must_cast(b));
            must_cast::<[u8; $N], $V>(from_fn(|i| {
                if b[i] & 0x80 != 0 {
                    0
                } else {
                    a[usize::from(b[i]) % $N]
                }
            }))
        }
        /// `a:b` shifted right by `imm` bytes.
        #[inline]
        pub fn palignr(a: $V, b: $V, imm: u8) -> $V {
            let n = u32::from(imm);
            match n {
                0 => b,
                1..$N => a << (8 * ($N - n)) | b >> (8 * n),
                $N => a,
                _ if n < 2 * $N => a >> (8 * (n - $N)),
                _ => 0,
            }
        }
        /// Sign bits of the bytes.
        #[inline]
        pub fn pmovmskb(a: $V) -> u32 {
            let a: [i8; $N] = must_cast(a);
            let mut r = 0;
            for (i, x) in a.into_iter().enumerate() {
                r |= u32::from(x < 0) << i;
            }
            r
        }

        /// Sums of adjacent words: of `a` below, of `b` above.
        #[inline]
        pub fn phaddw(a: $V, b: $V) -> $V {
            let (a, b): ([u16; $N / 2], [u16; $N / 2]) = (must_cast(a), must_cast(b));
            let at = |i: usize| if i < $N / 2 { a[i] } else { b[i - $N / 2] };
            must_cast::<[u16; $N / 2], $V>(from_fn(|i| at(2 * i).wrapping_add(at(2 * i + 1))))
        }
        /// Sums of adjacent doublewords: of `a` below, of `b` above.
        #[inline]
        pub fn phaddd(a: $V, b: $V) -> $V {
            let (a, b): ([u32; $N / 4], [u32; $N / 4]) = (must_cast(a), must_cast(b));
            let at = |i: usize| if i < $N / 4 { a[i] } else { b[i - $N / 4] };
            must_cast::<[u32; $N / 4], $V>(from_fn(|i| at(2 * i).wrapping_add(at(2 * i + 1))))
        }
        /// Saturated sums of adjacent signed words: of `a` below, of `b` above.
        #[inline]
        pub fn phaddsw(a: $V, b: $V) -> $V {
            let (a, b): ([i16; $N / 2], [i16; $N / 2]) = (must_cast(a), must_cast(b));
            let at = |i: usize| if i < $N / 2 { a[i] } else { b[i - $N / 2] };
            must_cast::<[i16; $N / 2], $V>(from_fn(|i| at(2 * i).saturating_add(at(2 * i + 1))))
        }
        /// Differences of adjacent words: of `a` below, of `b` above.
        #[inline]
        pub fn phsubw(a: $V, b: $V) -> $V {
            let (a, b): ([u16; $N / 2], [u16; $N / 2]) = (must_cast(a), must_cast(b));
            let at = |i: usize| if i < $N / 2 { a[i] } else { b[i - $N / 2] };
            must_cast::<[u16; $N / 2], $V>(from_fn(|i| at(2 * i).wrapping_sub(at(2 * i + 1))))
        }
        /// Differences of adjacent doublewords: of `a` below, of `b` above.
        #[inline]
        pub fn phsubd(a: $V, b: $V) -> $V {
            let (a, b): ([u32; $N / 4], [u32; $N / 4]) = (must_cast(a), must_cast(b));
            let at = |i: usize| if i < $N / 4 { a[i] } else { b[i - $N / 4] };
            must_cast::<[u32; $N / 4], $V>(from_fn(|i| at(2 * i).wrapping_sub(at(2 * i + 1))))
        }
        /// Saturated differences of adjacent signed words: of `a` below, of `b` above.
        #[inline]
        pub fn phsubsw(a: $V, b: $V) -> $V {
            let (a, b): ([i16; $N / 2], [i16; $N / 2]) = (must_cast(a), must_cast(b));
            let at = |i: usize| if i < $N / 2 { a[i] } else { b[i - $N / 2] };
            must_cast::<[i16; $N / 2], $V>(from_fn(|i| at(2 * i).saturating_sub(at(2 * i + 1))))
        }
        /// Word `imm` (modulo the count) of `a`, zero-extended.
        #[inline]
        pub fn pextrw(a: $V, imm: u8) -> u32 {
            let a: [u16; $N / 2] = must_cast(a);
            u32::from(a[usize::from(imm) % ($N / 2)])
        }
        /// `a` with word `imm` (modulo the count) replaced.
        #[inline]
        pub fn pinsrw(a: $V, v: u16, imm: u8) -> $V {
            let mut a: [u16; $N / 2] = must_cast(a);
            a[usize::from(imm) % ($N / 2)] = v;
            must_cast(a)
        }
    };
}

/// Operations on XMM registers.
pub mod xmm {
    shared_operations!(u128, 16);

    lanewise! { u128, 16;
        /// Lesser signed bytes.
        pminsb: i8, |x, y| x.min(y);
        /// Greater signed bytes.
        pmaxsb: i8, |x, y| x.max(y);
        /// Lesser unsigned words.
        pminuw: u16, |x, y| x.min(y);
        /// Greater unsigned words.
        pmaxuw: u16, |x, y| x.max(y);
        /// Lesser signed doublewords.
        pminsd: i32, |x, y| x.min(y);
        /// Greater signed doublewords.
        pmaxsd: i32, |x, y| x.max(y);
        /// Lesser unsigned doublewords.
        pminud: u32, |x, y| x.min(y);
        /// Greater unsigned doublewords.
        pmaxud: u32, |x, y| x.max(y);
        /// All ones where quadwords are equal.
        pcmpeqq: u64, |x, y| if x == y { !0 } else { 0 };
        /// All ones where the first signed quadword is greater.
        pcmpgtq: i64, |x, y| if x > y { -1 } else { 0 };
        /// Low halves of doubleword products.
        pmulld: u32, |x, y| x.wrapping_mul(y);
        /// Signed products of the low doublewords of each quadword.
        pmuldq: i64, |x, y| i64::from(x as i32) * i64::from(y as i32);
    }

    /// Signed doublewords to unsigned words, saturated: `a` below, `b` above.
    #[inline]
    pub fn packusdw(a: u128, b: u128) -> u128 {
        let (a, b): ([i32; 4], [i32; 4]) = (must_cast(a), must_cast(b));
        must_cast::<[u16; 8], u128>(from_fn(|i| sat!(if i < 4 { a[i] } else { b[i - 4] }, u16)))
    }
    /// Interleaves the low quadwords.
    #[inline]
    pub fn punpcklqdq(a: u128, b: u128) -> u128 {
        b << 64 | a & u128::from(u64::MAX)
    }
    /// Interleaves the high quadwords.
    #[inline]
    pub fn punpckhqdq(a: u128, b: u128) -> u128 {
        b >> 64 << 64 | a >> 64
    }
    /// The register shifted left by `imm` bytes.
    #[inline]
    pub fn pslldq(a: u128, imm: u8) -> u128 {
        if imm > 15 { 0 } else { a << (8 * u32::from(imm)) }
    }
    /// The register shifted right by `imm` bytes.
    #[inline]
    pub fn psrldq(a: u128, imm: u8) -> u128 {
        if imm > 15 { 0 } else { a >> (8 * u32::from(imm)) }
    }
    /// Eight sums of absolute differences of four bytes; `imm` bit 2 chooses `a`'s start, bits 0 and 1 `b`'s block.
    #[inline]
    pub fn mpsadbw(a: u128, b: u128, imm: u8) -> u128 {
        let (a, b): ([u8; 16], [u8; 16]) = (must_cast(a), must_cast(b));
        let (s, t) = (usize::from(imm >> 2 & 1) * 4, usize::from(imm & 3) * 4);
        must_cast::<[u16; 8], u128>(from_fn(|i| {
            (0..4).map(|j| u16::from(a[s + i + j].abs_diff(b[t + j]))).sum()
        }))
    }
    /// The least unsigned word of `b` (in word 0) and where it first stands (in word 1).
    #[inline]
    pub fn phminposuw(b: u128) -> u128 {
        let w: [u16; 8] = must_cast(b);
        let (i, v) = w
            .into_iter()
            .enumerate()
            .min_by_key(|&(i, v)| (v, i))
            .unwrap_or((0, 0));
        u128::from(v) | (i as u128) << 16
    }
}

/// Operations on MMX registers.
pub mod mmx {
    shared_operations!(u64, 8);

    /// Words of `b` chosen by the bit pairs of `imm`.
    #[inline]
    pub fn pshufw(b: u64, imm: u8) -> u64 {
        let b: [u16; 4] = must_cast(b);
        must_cast::<[u16; 4], u64>(from_fn(|i| b[usize::from(imm >> (2 * i) & 3)]))
    }
}
