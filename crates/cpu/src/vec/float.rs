//! SSE floating-point arithmetic, comparison and minimum/maximum, with MXCSR.
//!
//! The common case (round to nearest, normal operands and result, and PE already set or the result exact) is the host's
//! own arithmetic; everything else goes through [`soft`].

use super::Xm;
use super::soft::{self, DE, Fin, IE, OE, PE, Rc, UE, Wide, ZE};
use bytemuck::must_cast;

/// MXCSR: denormals are zeros.
pub const DAZ: u32 = 0x40;
/// MXCSR: flush results to zero.
pub const FTZ: u32 = 0x8000;
/// MXCSR after reset: every exception masked, round to nearest.
pub const MXCSR_RESET: u32 = 0x1f80;
/// Bits of MXCSR that may be set; `ldmxcsr` with others is #GP.
pub const MXCSR_MASK: u32 = 0xffff;

/// Rounding control of an MXCSR.
#[inline]
pub fn rounding(m: u32) -> Rc {
    m >> 13 & 3
}

/// Sets sticky flags; an error if one of them is unmasked.
#[inline]
pub fn raise(m: &mut u32, flags: u32) -> Result<(), Xm> {
    *m |= flags;
    if flags & !(*m >> 7) & 0x3f == 0 {
        Ok(())
    } else {
        Err(Xm)
    }
}

/// A binary interchange format, its bits in the low end of a `u64`.
pub(super) trait Format {
    /// Fraction bits.
    const FRAC: u32;
    /// Exponent bits.
    const EXPB: u32;

    const WIDTH: u32 = Self::FRAC + Self::EXPB + 1;
    const PREC: u32 = Self::FRAC + 1;
    const BIAS: i32 = (1 << (Self::EXPB - 1)) - 1;
    const EMIN: i32 = 1 - Self::BIAS;
    const SIGN: u64 = 1 << (Self::WIDTH - 1);
    const FMASK: u64 = (1 << Self::FRAC) - 1;
    const EMASK: u64 = (1 << Self::EXPB) - 1;
    const INF: u64 = Self::EMASK << Self::FRAC;
    const QUIET: u64 = 1 << (Self::FRAC - 1);
    /// The "real indefinite" QNaN.
    const DEFAULT_NAN: u64 = Self::SIGN | Self::INF | Self::QUIET;

    fn is_nan(x: u64) -> bool {
        x & !Self::SIGN > Self::INF
    }
    fn is_snan(x: u64) -> bool {
        Self::is_nan(x) && x & Self::QUIET == 0
    }
    fn is_denormal(x: u64) -> bool {
        x & Self::INF == 0 && x & Self::FMASK != 0
    }
    fn is_zero(x: u64) -> bool {
        x & !Self::SIGN == 0
    }
    fn is_inf(x: u64) -> bool {
        x & !Self::SIGN == Self::INF
    }
    fn neg(x: u64) -> bool {
        x & Self::SIGN != 0
    }
    /// Zero, or a normal number.
    fn plain(x: u64) -> bool {
        let e = x >> Self::FRAC & Self::EMASK;
        e.wrapping_sub(1) < Self::EMASK - 1 || Self::is_zero(x)
    }
    /// Denormals count as zeros under DAZ.
    fn daz(x: u64, m: u32) -> u64 {
        if m & DAZ != 0 && x & Self::INF == 0 {
            x & Self::SIGN
        } else {
            x
        }
    }
    /// Only for finite numbers that are not zero.
    fn unpack(x: u64) -> Fin {
        let (e, f) = ((x >> Self::FRAC & Self::EMASK) as i32, x & Self::FMASK);
        let neg = Self::neg(x);
        if e == 0 {
            let lz = f.leading_zeros();
            return Fin {
                neg,
                exp: Self::EMIN + (63 - lz as i32) - Self::FRAC as i32,
                sig: f << (lz & 63),
            };
        }
        Fin {
            neg,
            exp: e - Self::BIAS,
            sig: 1 << 63 | f << (63 - Self::FRAC),
        }
    }
    fn zero(neg: bool) -> u64 {
        if neg { Self::SIGN } else { 0 }
    }
    fn infinity(neg: bool) -> u64 {
        Self::zero(neg) | Self::INF
    }
    /// The significand's bits (with the leading one) of a plain number that is not zero.
    fn significand(x: u64) -> u64 {
        x & Self::FMASK | 1 << Self::FRAC
    }
    /// Rounds and packs; adds to `flags`.
    fn pack(w: Wide, m: u32, flags: &mut u32) -> u64 {
        let rc = rounding(m);
        let r = soft::round(w, Self::PREC, rc);
        if r.exp > Self::BIAS {
            if m & OE << 7 == 0 {
                // The program gets the trap instead of a result.
                *flags |= OE | if r.inexact { PE } else { 0 };
                return 0;
            }
            *flags |= OE | PE;
            return if soft::overflows_to_infinity(w.neg, rc) {
                Self::infinity(w.neg)
            } else {
                Self::infinity(w.neg) - 1
            };
        }
        if r.exp >= Self::EMIN {
            *flags |= if r.inexact { PE } else { 0 };
            let e = (r.exp + Self::BIAS) as u64;
            return Self::zero(w.neg) | e << Self::FRAC | (r.sig >> (127 - Self::FRAC)) as u64 & Self::FMASK;
        }
        if m & UE << 7 == 0 {
            // The program gets the trap instead of a result.
            *flags |= UE | if r.inexact { PE } else { 0 };
            return 0;
        }
        if m & FTZ != 0 {
            *flags |= UE | PE;
            return Self::zero(w.neg);
        }
        let r = soft::round_denormal(w, Self::PREC, Self::EMIN, rc);
        *flags |= if r.inexact { UE | PE } else { 0 };
        // A carry into the exponent field makes the least normal number by itself.
        Self::zero(w.neg) | (r.sig >> (127 - Self::FRAC)) as u64
    }
}

/// binary32.
pub(super) struct Single;
/// binary64.
pub(super) struct Double;
impl Format for Single {
    const FRAC: u32 = 23;
    const EXPB: u32 = 8;
}
impl Format for Double {
    const FRAC: u32 = 52;
    const EXPB: u32 = 11;
}

/// The result where an operand is a NaN: the first one that is, made quiet.
fn nan2<F: Format>(a: u64, b: u64, flags: &mut u32) -> u64 {
    if F::is_snan(a) || F::is_snan(b) {
        *flags |= IE;
    }
    (if F::is_nan(a) { a } else { b }) | F::QUIET
}

fn invalid<F: Format>(flags: &mut u32) -> u64 {
    *flags |= IE;
    F::DEFAULT_NAN
}

fn note_denormal<F: Format>(a: u64, b: u64, flags: &mut u32) {
    if F::is_denormal(a) || F::is_denormal(b) {
        *flags |= DE;
    }
}

/// An arithmetic operation of two operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    Add,
    Sub,
    Mul,
    Div,
}

#[cold]
#[inline(never)]
fn soft_arith<F: Format>(op: Op, a: u64, b: u64, m: u32, flags: &mut u32) -> u64 {
    let (a, b) = (F::daz(a, m), F::daz(b, m));
    if F::is_nan(a) || F::is_nan(b) {
        return nan2::<F>(a, b, flags);
    }
    let b = if op == Op::Sub { b ^ F::SIGN } else { b };
    let neg = F::neg(a) != F::neg(b);
    match op {
        Op::Add | Op::Sub => {
            if F::is_inf(a) && F::is_inf(b) && neg {
                return invalid::<F>(flags);
            }
            note_denormal::<F>(a, b, flags);
            if F::is_inf(a) || F::is_inf(b) {
                return if F::is_inf(a) { a } else { b };
            }
            let w = match (F::is_zero(a), F::is_zero(b)) {
                (true, true) if !neg => return a,
                (true, true) => None,
                (true, false) => Some(F::unpack(b).into()),
                (false, true) => Some(F::unpack(a).into()),
                (false, false) => soft::add(F::unpack(a), F::unpack(b)),
            };
            w.map_or(F::zero(rounding(m) == 1), |w| F::pack(w, m, flags))
        }
        Op::Mul => {
            if (F::is_inf(a) && F::is_zero(b)) || (F::is_zero(a) && F::is_inf(b)) {
                return invalid::<F>(flags);
            }
            note_denormal::<F>(a, b, flags);
            if F::is_inf(a) || F::is_inf(b) {
                F::infinity(neg)
            } else if F::is_zero(a) || F::is_zero(b) {
                F::zero(neg)
            } else {
                F::pack(soft::mul(F::unpack(a), F::unpack(b)), m, flags)
            }
        }
        Op::Div => {
            if (F::is_inf(a) && F::is_inf(b)) || (F::is_zero(a) && F::is_zero(b)) {
                return invalid::<F>(flags);
            }
            if F::is_zero(b) && !F::is_inf(a) {
                *flags |= ZE;
                return F::infinity(neg);
            }
            note_denormal::<F>(a, b, flags);
            if F::is_inf(a) {
                F::infinity(neg)
            } else if F::is_inf(b) || F::is_zero(a) {
                F::zero(neg)
            } else {
                F::pack(soft::div(F::unpack(a), F::unpack(b)), m, flags)
            }
        }
    }
}

fn soft_sqrt<F: Format>(a: u64, m: u32, flags: &mut u32) -> u64 {
    let a = F::daz(a, m);
    if F::is_nan(a) {
        return nan2::<F>(a, a, flags);
    }
    if F::is_zero(a) {
        return a;
    }
    if F::neg(a) {
        return invalid::<F>(flags);
    }
    note_denormal::<F>(a, a, flags);
    if F::is_inf(a) {
        a
    } else {
        F::pack(soft::sqrt(F::unpack(a)), m, flags)
    }
}

/// Host arithmetic of one format.
trait Host: Format {
    /// The host's result, rounded to nearest.
    fn host(op: Op, a: u64, b: u64) -> u64;
    fn host_sqrt(a: u64) -> u64;
    /// Whether the host's sum `r` is exact.
    fn exact_sum(a: u64, b: u64, r: u64) -> bool;
}
macro_rules! host {
    ($F:ty, $f:ty, $u:ty) => {
        impl Host for $F {
            #[inline(always)]
            fn host(op: Op, a: u64, b: u64) -> u64 {
                let (a, b) = (<$f>::from_bits(a as $u), <$f>::from_bits(b as $u));
                u64::from(
                    match op {
                        Op::Add => a + b,
                        Op::Sub => a - b,
                        Op::Mul => a * b,
                        Op::Div => a / b,
                    }
                    .to_bits(),
                )
            }
            #[inline(always)]
            fn host_sqrt(a: u64) -> u64 {
                u64::from(<$f>::from_bits(a as $u).sqrt().to_bits())
            }
            #[inline(always)]
            fn exact_sum(a: u64, b: u64, r: u64) -> bool {
                let (a, b, s) = (
                    <$f>::from_bits(a as $u),
                    <$f>::from_bits(b as $u),
                    <$f>::from_bits(r as $u),
                );
                // Knuth's two-sum: the error of a rounded sum is itself a number of the format.
                let t = s - a;
                (a - (s - t)) + (b - t) == 0.0
            }
        }
    };
}
host!(Single, f32, u32);
host!(Double, f64, u64);

/// Whether `x * y` has as many significant bits as `r`, which is their rounded product's significand.
#[inline(always)]
fn exact_product(x: u64, y: u64, r: u64) -> bool {
    let p = u128::from(x) * u128::from(y);
    p >> p.trailing_zeros() == u128::from(r >> r.trailing_zeros())
}

/// Whether the host's result may be used: its operands and itself are plain, it is not at the edge of
/// underflow, and it is exact unless PE needs no setting (`settled`).
#[inline(always)]
fn usable<F: Host>(op: Op, a: u64, b: u64, r: u64, settled: bool) -> bool {
    if !(F::plain(a) && F::plain(b) && F::plain(r)) {
        return false;
    }
    match op {
        Op::Add => settled || F::exact_sum(a, b, r),
        Op::Sub => settled || F::exact_sum(a, b ^ F::SIGN, r),
        Op::Mul | Op::Div => {
            let zero = F::is_zero(a) || (op == Op::Mul && F::is_zero(b));
            // An exponent field of 1 may have been rounded up from below.
            (zero || r >> F::FRAC & F::EMASK > 1)
                && !(op == Op::Div && F::is_zero(b))
                && (settled || zero || {
                    let (x, y, r) = (F::significand(a), F::significand(b), F::significand(r));
                    if op == Op::Mul {
                        exact_product(x, y, r)
                    } else {
                        exact_product(r, y, x)
                    }
                })
        }
    }
}

/// Round to nearest, and either PE set already and masked, or to be kept clear.
#[inline(always)]
fn settled(m: u32) -> bool {
    m & (PE | PE << 7) == PE | PE << 7
}

#[inline(always)]
fn arith_lane<F: Host>(op: Op, a: u64, b: u64, m: u32, flags: &mut u32) -> u64 {
    if rounding(m) == 0 {
        let r = F::host(op, a, b);
        if usable::<F>(op, a, b, r, settled(m)) {
            return r;
        }
    }
    soft_arith::<F>(op, a, b, m, flags)
}

#[inline(always)]
fn sqrt_lane<F: Host>(a: u64, m: u32, flags: &mut u32) -> u64 {
    if rounding(m) == 0 && F::plain(a) && !F::neg(a) {
        let r = F::host_sqrt(a);
        if settled(m) || F::is_zero(a) || {
            let (x, s) = (F::significand(a), F::significand(r));
            exact_product(s, s, x)
        } {
            return r;
        }
    }
    soft_sqrt::<F>(a, m, flags)
}

/// Lane by lane with all flags collected. Flags that stem from operands (IE, DE, ZE), when unmasked, keep
/// results, and so OE, UE and PE, from being computed.
#[inline(always)]
pub(super) fn finish<T>(m: &mut u32, flags: u32, value: T) -> Result<T, Xm> {
    if flags == 0 {
        return Ok(value);
    }
    let before = flags & (IE | DE | ZE);
    if before & !(*m >> 7) != 0 {
        raise(m, before)?;
    }
    raise(m, flags)?;
    Ok(value)
}

#[inline(always)]
pub(super) fn map_ps(a: u128, mut f: impl FnMut(u64) -> u64) -> u128 {
    let a: [u32; 4] = must_cast(a);
    must_cast(a.map(|x| f(u64::from(x)) as u32))
}
#[inline(always)]
fn map2_ps(a: u128, b: u128, mut f: impl FnMut(usize, u64, u64) -> u64) -> u128 {
    let (a, b): ([u32; 4], [u32; 4]) = (must_cast(a), must_cast(b));
    must_cast::<[u32; 4], u128>(std::array::from_fn(|i| {
        f(i, u64::from(a[i]), u64::from(b[i])) as u32
    }))
}
#[inline(always)]
fn map2_pd(a: u128, b: u128, mut f: impl FnMut(usize, u64, u64) -> u64) -> u128 {
    let (a, b): ([u64; 2], [u64; 2]) = (must_cast(a), must_cast(b));
    must_cast([f(0, a[0], b[0]), f(1, a[1], b[1])])
}
/// `a` with its low single replaced.
#[inline(always)]
pub(super) fn low32(a: u128, v: u64) -> u128 {
    a >> 32 << 32 | u128::from(v as u32)
}
/// `a` with its low double replaced.
#[inline(always)]
pub(super) fn low64(a: u128, v: u64) -> u128 {
    a >> 64 << 64 | u128::from(v)
}
#[inline(always)]
fn s(a: u128) -> u64 {
    u64::from(a as u32)
}

macro_rules! arithmetic {
    ($($op:ident $what:literal: $ss:ident $sd:ident $ps:ident $pd:ident;)*) => { $(
        #[doc = concat!($what, " of the low singles.")]
        #[inline]
        pub fn $ss(m: &mut u32, a: u128, b: u128) -> Result<u128, Xm> {
            let mut f = 0;
            let r = arith_lane::<Single>(Op::$op, s(a), s(b), *m, &mut f);
            finish(m, f, low32(a, r))
        }
        #[doc = concat!($what, " of the low doubles.")]
        #[inline]
        pub fn $sd(m: &mut u32, a: u128, b: u128) -> Result<u128, Xm> {
            let mut f = 0;
            let r = arith_lane::<Double>(Op::$op, a as u64, b as u64, *m, &mut f);
            finish(m, f, low64(a, r))
        }
        #[doc = concat!($what, " of four singles.")]
        #[inline]
        pub fn $ps(m: &mut u32, a: u128, b: u128) -> Result<u128, Xm> {
            let mut f = 0;
            let r = map2_ps(a, b, |_, x, y| arith_lane::<Single>(Op::$op, x, y, *m, &mut f));
            finish(m, f, r)
        }
        #[doc = concat!($what, " of two doubles.")]
        #[inline]
        pub fn $pd(m: &mut u32, a: u128, b: u128) -> Result<u128, Xm> {
            let mut f = 0;
            let r = map2_pd(a, b, |_, x, y| arith_lane::<Double>(Op::$op, x, y, *m, &mut f));
            finish(m, f, r)
        }
    )* };
}
arithmetic! {
    Add "Sum": addss addsd addps addpd;
    Sub "Difference": subss subsd subps subpd;
    Mul "Product": mulss mulsd mulps mulpd;
    Div "Quotient": divss divsd divps divpd;
}

/// Square root of `b`'s low single, in `a`.
#[inline]
pub fn sqrtss(m: &mut u32, a: u128, b: u128) -> Result<u128, Xm> {
    let mut f = 0;
    let r = sqrt_lane::<Single>(s(b), *m, &mut f);
    finish(m, f, low32(a, r))
}
/// Square root of `b`'s low double, in `a`.
#[inline]
pub fn sqrtsd(m: &mut u32, a: u128, b: u128) -> Result<u128, Xm> {
    let mut f = 0;
    let r = sqrt_lane::<Double>(b as u64, *m, &mut f);
    finish(m, f, low64(a, r))
}
/// Square roots of four singles.
#[inline]
pub fn sqrtps(m: &mut u32, b: u128) -> Result<u128, Xm> {
    let mut f = 0;
    let r = map_ps(b, |x| sqrt_lane::<Single>(x, *m, &mut f));
    finish(m, f, r)
}
/// Square roots of two doubles.
#[inline]
pub fn sqrtpd(m: &mut u32, b: u128) -> Result<u128, Xm> {
    let mut f = 0;
    let r = map2_pd(b, b, |_, x, _| sqrt_lane::<Double>(x, *m, &mut f));
    finish(m, f, r)
}

/// Differences in even lanes, sums in odd lanes.
#[inline]
pub fn addsubps(m: &mut u32, a: u128, b: u128) -> Result<u128, Xm> {
    let mut f = 0;
    let op = |i| if i % 2 == 0 { Op::Sub } else { Op::Add };
    let r = map2_ps(a, b, |i, x, y| arith_lane::<Single>(op(i), x, y, *m, &mut f));
    finish(m, f, r)
}
/// Difference in the low lane, sum in the high lane.
#[inline]
pub fn addsubpd(m: &mut u32, a: u128, b: u128) -> Result<u128, Xm> {
    let mut f = 0;
    let op = |i| if i == 0 { Op::Sub } else { Op::Add };
    let r = map2_pd(a, b, |i, x, y| arith_lane::<Double>(op(i), x, y, *m, &mut f));
    finish(m, f, r)
}
macro_rules! horizontal {
    ($($op:ident $what:literal: $ps:ident $pd:ident;)*) => { $(
        #[doc = concat!($what, " of adjacent singles: of `a` below, of `b` above.")]
        #[inline]
        pub fn $ps(m: &mut u32, a: u128, b: u128) -> Result<u128, Xm> {
            let (x, y) = (super::shufps(a, b, 0x88), super::shufps(a, b, 0xdd));
            let mut f = 0;
            let r = map2_ps(x, y, |_, x, y| arith_lane::<Single>(Op::$op, x, y, *m, &mut f));
            finish(m, f, r)
        }
        #[doc = concat!($what, " of adjacent doubles: of `a` below, of `b` above.")]
        #[inline]
        pub fn $pd(m: &mut u32, a: u128, b: u128) -> Result<u128, Xm> {
            let (x, y) = (super::shufpd(a, b, 0), super::shufpd(a, b, 3));
            let mut f = 0;
            let r = map2_pd(x, y, |_, x, y| arith_lane::<Double>(Op::$op, x, y, *m, &mut f));
            finish(m, f, r)
        }
    )* };
}
horizontal! {
    Add "Sums": haddps haddpd;
    Sub "Differences": hsubps hsubpd;
}

/// Dot product of the singles that the high half of `imm` chooses, into the lanes that its low half does.
pub fn dpps(m: &mut u32, a: u128, b: u128, imm: u8) -> Result<u128, Xm> {
    let mut f = 0;
    let p = map2_ps(a, b, |i, x, y| {
        if imm >> (4 + i) & 1 == 0 {
            0
        } else {
            arith_lane::<Single>(Op::Mul, x, y, *m, &mut f)
        }
    });
    finish(m, f, ())?;
    let p: [u32; 4] = must_cast(p);
    let p = p.map(u64::from);
    let mut sum = |x, y| {
        let mut f = 0;
        let r = arith_lane::<Single>(Op::Add, x, y, *m, &mut f);
        finish(m, f, r)
    };
    let (x, y) = (sum(p[0], p[1]), sum(p[2], p[3]));
    let r = sum(x?, y?)?;
    Ok(map2_ps(0, 0, |i, _, _| if imm >> i & 1 == 0 { 0 } else { r }))
}
/// Dot product of the doubles that the high half of `imm` chooses, into the lanes that its low half does.
pub fn dppd(m: &mut u32, a: u128, b: u128, imm: u8) -> Result<u128, Xm> {
    let mut f = 0;
    let p = map2_pd(a, b, |i, x, y| {
        if imm >> (4 + i) & 1 == 0 {
            0
        } else {
            arith_lane::<Double>(Op::Mul, x, y, *m, &mut f)
        }
    });
    finish(m, f, ())?;
    let mut f = 0;
    let r = arith_lane::<Double>(Op::Add, p as u64, (p >> 64) as u64, *m, &mut f);
    let r = finish(m, f, r)?;
    Ok(map2_pd(0, 0, |i, _, _| if imm >> i & 1 == 0 { 0 } else { r }))
}

/// Orders two numbers that are not NaN.
fn compare<F: Format>(a: u64, b: u64) -> std::cmp::Ordering {
    // Sign and magnitude to two's complement; both zeros become 0.
    let key = |x: u64| {
        let v = (x & !F::SIGN) as i64;
        if F::neg(x) { -v } else { v }
    };
    key(a).cmp(&key(b))
}

#[inline(always)]
fn min_max_lane<F: Format>(max: bool, a: u64, b: u64, m: u32, flags: &mut u32) -> u64 {
    if F::is_nan(a) || F::is_nan(b) {
        *flags |= IE;
        return F::daz(b, m);
    }
    let (a, b) = (F::daz(a, m), F::daz(b, m));
    note_denormal::<F>(a, b, flags);
    let wanted = if max {
        std::cmp::Ordering::Greater
    } else {
        std::cmp::Ordering::Less
    };
    // Equal numbers (zeros of either sign among them) give the second.
    if compare::<F>(a, b) == wanted { a } else { b }
}

macro_rules! min_max {
    ($($max:literal $what:literal: $ss:ident $sd:ident $ps:ident $pd:ident;)*) => { $(
        #[doc = concat!($what, " of the low singles; the second one if either is a NaN.")]
        #[inline]
        pub fn $ss(m: &mut u32, a: u128, b: u128) -> Result<u128, Xm> {
            let mut f = 0;
            let r = min_max_lane::<Single>($max, s(a), s(b), *m, &mut f);
            finish(m, f, low32(a, r))
        }
        #[doc = concat!($what, " of the low doubles; the second one if either is a NaN.")]
        #[inline]
        pub fn $sd(m: &mut u32, a: u128, b: u128) -> Result<u128, Xm> {
            let mut f = 0;
            let r = min_max_lane::<Double>($max, a as u64, b as u64, *m, &mut f);
            finish(m, f, low64(a, r))
        }
        #[doc = concat!($what, " of four singles.")]
        #[inline]
        pub fn $ps(m: &mut u32, a: u128, b: u128) -> Result<u128, Xm> {
            let mut f = 0;
            let r = map2_ps(a, b, |_, x, y| min_max_lane::<Single>($max, x, y, *m, &mut f));
            finish(m, f, r)
        }
        #[doc = concat!($what, " of two doubles.")]
        #[inline]
        pub fn $pd(m: &mut u32, a: u128, b: u128) -> Result<u128, Xm> {
            let mut f = 0;
            let r = map2_pd(a, b, |_, x, y| min_max_lane::<Double>($max, x, y, *m, &mut f));
            finish(m, f, r)
        }
    )* };
}
min_max! {
    false "Lesser": minss minsd minps minpd;
    true "Greater": maxss maxsd maxps maxpd;
}

/// `cmpXX` predicate `imm & 7`: equal, less, less or equal, unordered, and their negations.
#[inline(always)]
fn cmp_lane<F: Format>(imm: u8, a: u64, b: u64, m: u32, flags: &mut u32) -> u64 {
    use std::cmp::Ordering::{Equal, Less};
    let (a, b) = (F::daz(a, m), F::daz(b, m));
    let kind = imm & 3;
    let holds = if F::is_nan(a) || F::is_nan(b) {
        // Less and less-or-equal signal for every NaN.
        if kind == 1 || kind == 2 || F::is_snan(a) || F::is_snan(b) {
            *flags |= IE;
        }
        kind == 3
    } else {
        note_denormal::<F>(a, b, flags);
        let o = compare::<F>(a, b);
        match kind {
            0 => o == Equal,
            1 => o == Less,
            2 => o != std::cmp::Ordering::Greater,
            _ => false,
        }
    };
    if holds != (imm & 4 != 0) {
        F::SIGN | (F::SIGN - 1)
    } else {
        0
    }
}

/// All ones or zeros in the low single.
#[inline]
pub fn cmpss(m: &mut u32, a: u128, b: u128, imm: u8) -> Result<u128, Xm> {
    let mut f = 0;
    let r = cmp_lane::<Single>(imm, s(a), s(b), *m, &mut f);
    finish(m, f, low32(a, r))
}
/// All ones or zeros in the low double.
#[inline]
pub fn cmpsd(m: &mut u32, a: u128, b: u128, imm: u8) -> Result<u128, Xm> {
    let mut f = 0;
    let r = cmp_lane::<Double>(imm, a as u64, b as u64, *m, &mut f);
    finish(m, f, low64(a, r))
}
/// All ones or zeros in each single.
#[inline]
pub fn cmpps(m: &mut u32, a: u128, b: u128, imm: u8) -> Result<u128, Xm> {
    let mut f = 0;
    let r = map2_ps(a, b, |_, x, y| cmp_lane::<Single>(imm, x, y, *m, &mut f));
    finish(m, f, r)
}
/// All ones or zeros in each double.
#[inline]
pub fn cmppd(m: &mut u32, a: u128, b: u128, imm: u8) -> Result<u128, Xm> {
    let mut f = 0;
    let r = map2_pd(a, b, |_, x, y| cmp_lane::<Double>(imm, x, y, *m, &mut f));
    finish(m, f, r)
}

/// EFLAGS bits of `comis*`: ZF, PF, CF (all set when unordered); OF, SF and AF become 0.
#[inline(always)]
fn comi_lane<F: Format>(quiet: bool, a: u64, b: u64, m: u32, flags: &mut u32) -> u32 {
    // Above a single may stand the rest of its register.
    let low = F::SIGN | (F::SIGN - 1);
    let (a, b) = (F::daz(a & low, m), F::daz(b & low, m));
    if F::is_nan(a) || F::is_nan(b) {
        if !quiet || F::is_snan(a) || F::is_snan(b) {
            *flags |= IE;
        }
        return 0x45;
    }
    note_denormal::<F>(a, b, flags);
    match compare::<F>(a, b) {
        std::cmp::Ordering::Less => 1,
        std::cmp::Ordering::Equal => 0x40,
        std::cmp::Ordering::Greater => 0,
    }
}

macro_rules! compare_flags {
    ($($(#[$doc:meta])* $name:ident: $F:ty, $quiet:literal;)*) => { $(
        $(#[$doc])*
        /// Returns ZF (0x40), PF (4) and CF (1); the other arithmetic flags become 0.
        #[inline]
        pub fn $name(m: &mut u32, a: u64, b: u64) -> Result<u32, Xm> {
            let mut f = 0;
            let r = comi_lane::<$F>($quiet, a, b, *m, &mut f);
            finish(m, f, r)
        }
    )* };
}
compare_flags! {
    /// Compares singles (in the low 32 bits); invalid for every NaN.
    comiss: Single, false;
    /// Compares doubles; invalid for every NaN.
    comisd: Double, false;
    /// Compares singles (in the low 32 bits); invalid for signalling NaNs.
    ucomiss: Single, true;
    /// Compares doubles; invalid for signalling NaNs.
    ucomisd: Double, true;
}

/// Twelve significant bits of a reciprocal; denormals count as zero, nothing is flagged. Processors differ in the bits
/// below their promised precision (1.5 * 2^-12); this is the nearest 12-bit number.
fn rcp_lane(x: u64) -> u64 {
    approximate(x, |v| 1.0 / v)
}
/// The like for a reciprocal square root.
fn rsqrt_lane(x: u64) -> u64 {
    let small = x & Single::INF == 0;
    if Single::neg(x) && !small && !Single::is_nan(x) {
        return Single::DEFAULT_NAN;
    }
    approximate(x, |v| 1.0 / v.abs().sqrt().copysign(v))
}
fn approximate(x: u64, f: impl Fn(f64) -> f64) -> u64 {
    if Single::is_nan(x) {
        return x | Single::QUIET;
    }
    if x & Single::INF == 0 {
        return Single::infinity(Single::neg(x));
    }
    let r = f(f64::from(f32::from_bits(x as u32))) as f32;
    let b = u64::from(r.to_bits());
    if b & Single::INF == 0 {
        return b & Single::SIGN;
    }
    (b + 0x7ff + (b >> 12 & 1)) & !0xfff
}

/// Approximate reciprocal of `b`'s low single, in `a`.
pub fn rcpss(a: u128, b: u128) -> u128 {
    low32(a, rcp_lane(s(b)))
}
/// Approximate reciprocals of four singles.
pub fn rcpps(b: u128) -> u128 {
    map_ps(b, rcp_lane)
}
/// Approximate reciprocal square root of `b`'s low single, in `a`.
pub fn rsqrtss(a: u128, b: u128) -> u128 {
    low32(a, rsqrt_lane(s(b)))
}
/// Approximate reciprocal square roots of four singles.
pub fn rsqrtps(b: u128) -> u128 {
    map_ps(b, rsqrt_lane)
}
