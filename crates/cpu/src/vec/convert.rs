//! SSE conversions between singles, doubles and integers, and rounding to integers.

use super::Xm;
use super::float::{DAZ, Double, Format, Single, finish, low32, low64, rounding};
use super::soft::{self, DE, IE, PE, Rc};
use bytemuck::must_cast;

/// To a signed integer of `bits`; out of range or NaN gives the "integer indefinite" (the least one) and IE.
#[inline(always)]
fn to_int<F: Format>(x: u64, bits: u32, rc: Rc, m: u32, flags: &mut u32) -> i64 {
    let indefinite = i64::MIN >> (64 - bits);
    // Above a single may stand the rest of its register.
    let x = F::daz(x & (F::SIGN | (F::SIGN - 1)), m);
    if F::is_zero(x) {
        return 0;
    }
    if F::is_nan(x) || F::is_inf(x) {
        *flags |= IE;
        return indefinite;
    }
    let limit = 1u64 << (bits - 1);
    match soft::to_integer(F::unpack(x), rc) {
        Some((n, inexact, _)) if n < limit || (n == limit && F::neg(x)) => {
            if inexact {
                *flags |= PE;
            }
            if F::neg(x) {
                (n as i64).wrapping_neg()
            } else {
                n as i64
            }
        }
        _ => {
            *flags |= IE;
            indefinite
        }
    }
}

/// A double's truncation where it is cheap: in range and either exact or PE needs no setting.
#[inline(always)]
fn quick_truncation(x: u64, limit: f64, m: u32) -> Option<i64> {
    let v = f64::from_bits(x);
    if v.abs() < limit && !Double::is_denormal(x) {
        let n = v as i64;
        if m & (PE | PE << 7) == PE | PE << 7 || n as f64 == v {
            return Some(n);
        }
    }
    None
}

macro_rules! to_scalar {
    ($($(#[$doc:meta])* $name:ident: $F:ty, $t:ty, $bits:literal, |$m:ident| $rc:expr;)*) => { $(
        $(#[$doc])*
        #[inline]
        pub fn $name(m: &mut u32, b: u64) -> Result<$t, Xm> {
            let mut f = 0;
            let $m = *m;
            let r = to_int::<$F>(b, $bits, $rc, *m, &mut f);
            finish(m, f, r as $t)
        }
    )* };
}
to_scalar! {
    /// Low single to a 32-bit integer.
    cvtss2si32: Single, u32, 32, |m| rounding(m);
    /// Low single to a 64-bit integer.
    cvtss2si64: Single, u64, 64, |m| rounding(m);
    /// Low single to a 32-bit integer, truncated.
    cvttss2si32: Single, u32, 32, |_m| 3;
    /// Low single to a 64-bit integer, truncated.
    cvttss2si64: Single, u64, 64, |_m| 3;
    /// Low double to a 32-bit integer.
    cvtsd2si32: Double, u32, 32, |m| rounding(m);
    /// Low double to a 64-bit integer.
    cvtsd2si64: Double, u64, 64, |m| rounding(m);
}
/// Low double to a 32-bit integer, truncated.
#[inline]
pub fn cvttsd2si32(m: &mut u32, b: u64) -> Result<u32, Xm> {
    if let Some(n) = quick_truncation(b, 2147483647.0, *m) {
        return Ok(n as u32);
    }
    let mut f = 0;
    let r = to_int::<Double>(b, 32, 3, *m, &mut f);
    finish(m, f, r as u32)
}
/// Low double to a 64-bit integer, truncated.
#[inline]
pub fn cvttsd2si64(m: &mut u32, b: u64) -> Result<u64, Xm> {
    if let Some(n) = quick_truncation(b, 9.0e18, *m) {
        return Ok(n as u64);
    }
    let mut f = 0;
    let r = to_int::<Double>(b, 64, 3, *m, &mut f);
    finish(m, f, r as u64)
}

#[inline(always)]
fn from_int<F: Format>(v: i64, m: u32, flags: &mut u32) -> u64 {
    soft::from_integer(v < 0, v.unsigned_abs()).map_or(0, |x| F::pack(x.into(), m, flags))
}

/// 32-bit integer to a single, in `a`.
#[inline]
pub fn cvtsi2ss32(m: &mut u32, a: u128, v: u32) -> Result<u128, Xm> {
    cvtsi2ss64(m, a, i64::from(v as i32) as u64)
}
/// 64-bit integer to a single, in `a`.
#[inline]
pub fn cvtsi2ss64(m: &mut u32, a: u128, v: u64) -> Result<u128, Xm> {
    let mut f = 0;
    let r = from_int::<Single>(v as i64, *m, &mut f);
    finish(m, f, low32(a, r))
}
/// 32-bit integer to a double, in `a`; always exact.
#[inline]
pub fn cvtsi2sd32(a: u128, v: u32) -> u128 {
    low64(a, f64::from(v as i32).to_bits())
}
/// 64-bit integer to a double, in `a`.
#[inline]
pub fn cvtsi2sd64(m: &mut u32, a: u128, v: u64) -> Result<u128, Xm> {
    let v = v as i64;
    if v.unsigned_abs() < 1 << 53 {
        return Ok(low64(a, (v as f64).to_bits()));
    }
    let mut f = 0;
    let r = from_int::<Double>(v, *m, &mut f);
    finish(m, f, low64(a, r))
}
/// Two 32-bit integers (of memory or an MMX register) to the low singles of `a`.
pub fn cvtpi2ps(m: &mut u32, a: u128, b: u64) -> Result<u128, Xm> {
    let mut f = 0;
    let b: [i32; 2] = must_cast(b);
    let [x, y] = b.map(|v| from_int::<Single>(i64::from(v), *m, &mut f));
    finish(m, f, low64(a, y << 32 | x))
}
/// Two 32-bit integers to doubles (also `cvtdq2pd`); always exact.
#[inline]
pub fn cvtpi2pd(b: u64) -> u128 {
    let b: [i32; 2] = must_cast(b);
    must_cast(b.map(|v| f64::from(v).to_bits()))
}
/// Two 32-bit integers to doubles; always exact.
#[inline]
pub fn cvtdq2pd(b: u64) -> u128 {
    cvtpi2pd(b)
}
/// Four 32-bit integers to singles.
#[inline]
pub fn cvtdq2ps(m: &mut u32, b: u128) -> Result<u128, Xm> {
    let mut f = 0;
    let b: [i32; 4] = must_cast(b);
    let r: u128 = must_cast(b.map(|v| from_int::<Single>(i64::from(v), *m, &mut f) as u32));
    finish(m, f, r)
}

#[inline(always)]
fn ps_to_ints<const N: usize>(m: &mut u32, b: [u32; N], rc: Rc) -> Result<[u32; N], Xm> {
    let mut f = 0;
    let r = b.map(|x| to_int::<Single>(u64::from(x), 32, rc, *m, &mut f) as u32);
    finish(m, f, r)
}
#[inline(always)]
fn pd_to_ints(m: &mut u32, b: u128, rc: Rc) -> Result<u64, Xm> {
    let mut f = 0;
    let b: [u64; 2] = must_cast(b);
    let r: u64 = must_cast(b.map(|x| to_int::<Double>(x, 32, rc, *m, &mut f) as u32));
    finish(m, f, r)
}
/// Four singles to 32-bit integers.
pub fn cvtps2dq(m: &mut u32, b: u128) -> Result<u128, Xm> {
    ps_to_ints::<4>(m, must_cast(b), rounding(*m)).map(must_cast)
}
/// Four singles to 32-bit integers, truncated.
pub fn cvttps2dq(m: &mut u32, b: u128) -> Result<u128, Xm> {
    ps_to_ints::<4>(m, must_cast(b), 3).map(must_cast)
}
/// Two singles (low 64 bits) to 32-bit integers for an MMX register.
pub fn cvtps2pi(m: &mut u32, b: u64) -> Result<u64, Xm> {
    ps_to_ints::<2>(m, must_cast(b), rounding(*m)).map(must_cast)
}
/// Two singles (low 64 bits) to 32-bit integers for an MMX register, truncated.
pub fn cvttps2pi(m: &mut u32, b: u64) -> Result<u64, Xm> {
    ps_to_ints::<2>(m, must_cast(b), 3).map(must_cast)
}
/// Two doubles to 32-bit integers for an MMX register.
pub fn cvtpd2pi(m: &mut u32, b: u128) -> Result<u64, Xm> {
    pd_to_ints(m, b, rounding(*m))
}
/// Two doubles to 32-bit integers for an MMX register, truncated.
pub fn cvttpd2pi(m: &mut u32, b: u128) -> Result<u64, Xm> {
    pd_to_ints(m, b, 3)
}
/// Two doubles to 32-bit integers; the high half becomes 0.
pub fn cvtpd2dq(m: &mut u32, b: u128) -> Result<u128, Xm> {
    pd_to_ints(m, b, rounding(*m)).map(u128::from)
}
/// Two doubles to 32-bit integers, truncated; the high half becomes 0.
pub fn cvttpd2dq(m: &mut u32, b: u128) -> Result<u128, Xm> {
    pd_to_ints(m, b, 3).map(u128::from)
}

/// Between formats. Widening is exact.
#[inline(always)]
fn reformat<F: Format, G: Format>(x: u64, m: u32, flags: &mut u32) -> u64 {
    let x = F::daz(x, m);
    let neg = F::neg(x);
    if F::is_nan(x) {
        if F::is_snan(x) {
            *flags |= IE;
        }
        let f = x & F::FMASK;
        let f = if G::FRAC > F::FRAC {
            f << G::FRAC.saturating_sub(F::FRAC)
        } else {
            f >> F::FRAC.saturating_sub(G::FRAC)
        };
        return G::infinity(neg) | G::QUIET | f;
    }
    if F::is_denormal(x) {
        *flags |= DE;
    }
    if F::is_zero(x) {
        G::zero(neg)
    } else if F::is_inf(x) {
        G::infinity(neg)
    } else {
        G::pack(F::unpack(x).into(), m, flags)
    }
}
/// `b`'s low single to a double, in `a`.
#[inline]
pub fn cvtss2sd(m: &mut u32, a: u128, b: u64) -> Result<u128, Xm> {
    if Single::plain(b & 0xffff_ffff) {
        return Ok(low64(a, f64::from(f32::from_bits(b as u32)).to_bits()));
    }
    let mut f = 0;
    let r = reformat::<Single, Double>(b & 0xffff_ffff, *m, &mut f);
    finish(m, f, low64(a, r))
}
/// `b`'s low double to a single, in `a`.
#[inline]
pub fn cvtsd2ss(m: &mut u32, a: u128, b: u64) -> Result<u128, Xm> {
    let mut f = 0;
    let r = reformat::<Double, Single>(b, *m, &mut f);
    finish(m, f, low32(a, r))
}
/// Two singles (low 64 bits) to doubles.
#[inline]
pub fn cvtps2pd(m: &mut u32, b: u64) -> Result<u128, Xm> {
    let mut f = 0;
    let b: [u32; 2] = must_cast(b);
    let r: u128 = must_cast(b.map(|x| reformat::<Single, Double>(u64::from(x), *m, &mut f)));
    finish(m, f, r)
}
/// Two doubles to singles; the high half becomes 0.
#[inline]
pub fn cvtpd2ps(m: &mut u32, b: u128) -> Result<u128, Xm> {
    let mut f = 0;
    let b: [u64; 2] = must_cast(b);
    let r: u64 = must_cast(b.map(|x| reformat::<Double, Single>(x, *m, &mut f) as u32));
    finish(m, f, u128::from(r))
}

/// SSE4.1 rounding to an integral number. `imm`: bits 0-1 the rounding, bit 2 MXCSR's instead, bit 3 no PE.
#[inline(always)]
fn round_lane<F: Format>(x: u64, imm: u8, m: u32, flags: &mut u32) -> u64 {
    if F::is_nan(x) {
        if F::is_snan(x) {
            *flags |= IE;
        }
        return x | F::QUIET;
    }
    let x = if m & DAZ != 0 { F::daz(x, m) } else { x };
    if F::is_zero(x) || F::is_inf(x) {
        return x;
    }
    let v = F::unpack(x);
    if v.exp >= F::FRAC as i32 {
        return x;
    }
    let rc = if imm & 4 != 0 {
        rounding(m)
    } else {
        Rc::from(imm & 3)
    };
    let Some((n, inexact, _)) = soft::to_integer(v, rc) else {
        return x;
    };
    if inexact && imm & 8 == 0 {
        *flags |= PE;
    }
    // At most FRAC + 1 bits: packing is exact.
    soft::from_integer(v.neg, n).map_or(F::zero(v.neg), |w| F::pack(w.into(), m, &mut 0))
}
/// `b`'s low single rounded, in `a`.
#[inline]
pub fn roundss(m: &mut u32, a: u128, b: u128, imm: u8) -> Result<u128, Xm> {
    let mut f = 0;
    let r = round_lane::<Single>(b as u64 & 0xffff_ffff, imm, *m, &mut f);
    finish(m, f, low32(a, r))
}
/// `b`'s low double rounded, in `a`.
#[inline]
pub fn roundsd(m: &mut u32, a: u128, b: u128, imm: u8) -> Result<u128, Xm> {
    let mut f = 0;
    let r = round_lane::<Double>(b as u64, imm, *m, &mut f);
    finish(m, f, low64(a, r))
}
/// Four singles rounded.
#[inline]
pub fn roundps(m: &mut u32, b: u128, imm: u8) -> Result<u128, Xm> {
    let mut f = 0;
    let r = super::float::map_ps(b, |x| round_lane::<Single>(x, imm, *m, &mut f));
    finish(m, f, r)
}
/// Two doubles rounded.
#[inline]
pub fn roundpd(m: &mut u32, b: u128, imm: u8) -> Result<u128, Xm> {
    let mut f = 0;
    let b: [u64; 2] = must_cast(b);
    let r: u128 = must_cast(b.map(|x| round_lane::<Double>(x, imm, *m, &mut f)));
    finish(m, f, r)
}
