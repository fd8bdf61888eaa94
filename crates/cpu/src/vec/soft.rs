//! Exact binary floating-point arithmetic on unpacked numbers, shared by SSE's formats and the 80-bit x87's.
//!
//! A finite number is a 64-bit significand with its top bit set and an exponent; an operation gives 128 bits, of which
//! the lowest is sticky ("something non-zero was cut off"), and rounding to a format happens once, from those.

/// Invalid operation.
pub const IE: u32 = 1;
/// Denormal operand.
pub const DE: u32 = 2;
/// Division of a finite number by zero.
pub const ZE: u32 = 4;
/// Overflow.
pub const OE: u32 = 8;
/// Underflow.
pub const UE: u32 = 16;
/// Inexact result.
pub const PE: u32 = 32;

/// Rounding control as MXCSR and the x87 control word encode it: 0 nearest even, 1 down, 2 up, 3 towards zero.
pub type Rc = u32;

/// A finite number that is not zero: `sig / 2^63 * 2^exp`, bit 63 of `sig` set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fin {
    /// Negative.
    pub neg: bool,
    /// Exponent of the leading bit.
    pub exp: i32,
    /// Significand.
    pub sig: u64,
}

/// An exact or sticky result: `sig / 2^127 * 2^exp`, bit 127 set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wide {
    /// Negative.
    pub neg: bool,
    /// Exponent of the leading bit.
    pub exp: i32,
    /// Significand with sticky bit 0.
    pub sig: u128,
}

impl From<Fin> for Wide {
    fn from(f: Fin) -> Wide {
        Wide {
            neg: f.neg,
            exp: f.exp,
            sig: u128::from(f.sig) << 64,
        }
    }
}

/// Shift to the right that keeps "something was lost" in bit 0.
#[inline]
pub fn jam(x: u128, n: u32) -> u128 {
    match n {
        0 => x,
        1..128 => x >> n | u128::from(x << (128 - n) != 0),
        _ => u128::from(x != 0),
    }
}

/// Sum; `None` when it is exactly zero.
pub fn add(a: Fin, b: Fin) -> Option<Wide> {
    let (a, b) = if (a.exp, a.sig) >= (b.exp, b.sig) {
        (a, b)
    } else {
        (b, a)
    };
    let x = u128::from(a.sig) << 63;
    let y = jam(u128::from(b.sig) << 63, (a.exp - b.exp) as u32);
    let s = if a.neg == b.neg { x + y } else { x - y };
    if s == 0 {
        return None;
    }
    let lz = s.leading_zeros();
    Some(Wide {
        neg: a.neg,
        exp: a.exp + 1 - lz as i32,
        sig: s << lz,
    })
}

/// Product, exact.
pub fn mul(a: Fin, b: Fin) -> Wide {
    let p = u128::from(a.sig) * u128::from(b.sig);
    let lz = p.leading_zeros();
    Wide {
        neg: a.neg != b.neg,
        exp: a.exp + b.exp + 1 - lz as i32,
        sig: p << lz,
    }
}

/// Quotient.
pub fn div(a: Fin, b: Fin) -> Wide {
    let d = u128::from(b.sig);
    let (carry, n) = (a.sig >= b.sig, u128::from(a.sig));
    let n = if carry { n - d } else { n } << 64;
    let (q1, r1) = (n / d, n % d);
    let (q2, r2) = ((r1 << 64) / d, (r1 << 64) % d);
    let low = q1 << 64 | q2;
    let neg = a.neg != b.neg;
    if carry {
        Wide {
            neg,
            exp: a.exp - b.exp,
            sig: 1 << 127 | jam(low, 1) | u128::from(r2 != 0),
        }
    } else {
        // The quotient is in [1/2, 1): its leading bit is that of q1.
        Wide {
            neg,
            exp: a.exp - b.exp - 1,
            sig: low | u128::from(r2 != 0),
        }
    }
}

/// Square root of the magnitude.
pub fn sqrt(a: Fin) -> Wide {
    let odd = a.exp & 1;
    let n = u128::from(a.sig) << (63 + odd);
    let r = n.isqrt();
    let rem = n - r * r;
    let sig = r << 64 | u128::from(rem > r) << 63 | u128::from(rem != 0);
    Wide {
        neg: false,
        exp: (a.exp - odd) / 2,
        sig,
    }
}

/// What rounding gave.
#[derive(Clone, Copy, Debug)]
pub struct Rounded {
    /// Exponent of bit 127 of `sig`.
    pub exp: i32,
    /// Significand; below bit 127 only where the number is denormal; 0 when it vanished.
    pub sig: u128,
    /// Something was lost.
    pub inexact: bool,
    /// The magnitude was rounded up.
    pub up: bool,
}

#[inline]
fn increments(neg: bool, odd: bool, low: u128, half: u128, rc: Rc) -> bool {
    match rc {
        0 => low > half || (low == half && odd),
        1 => neg && low != 0,
        2 => !neg && low != 0,
        _ => false,
    }
}

/// Rounds to `prec` significant bits, whatever the exponent.
#[inline]
pub fn round(w: Wide, prec: u32, rc: Rc) -> Rounded {
    let cut = 128 - prec;
    let (unit, low) = (1u128 << cut, w.sig & ((1 << cut) - 1));
    let up = increments(w.neg, w.sig & unit != 0, low, unit >> 1, rc);
    let (sig, carry) = (w.sig - low).overflowing_add(if up { unit } else { 0 });
    let (sig, exp) = if carry {
        (1 << 127, w.exp + 1)
    } else {
        (sig, w.exp)
    };
    Rounded {
        exp,
        sig,
        inexact: low != 0,
        up,
    }
}

/// Rounds a number below the least exponent `emin` to the denormals of a format: `exp` becomes `emin`.
pub fn round_denormal(w: Wide, prec: u32, emin: i32, rc: Rc) -> Rounded {
    // One bit more room on top, for the carry into the least normal number.
    let cut = 128 - prec - 1;
    let s = jam(w.sig, (emin - w.exp) as u32 + 1);
    let (unit, low) = (1u128 << cut, s & ((1 << cut) - 1));
    let up = increments(w.neg, s & unit != 0, low, unit >> 1, rc);
    let sig = (s - low) + if up { unit } else { 0 };
    Rounded {
        exp: emin,
        sig: sig << 1,
        inexact: low != 0,
        up,
    }
}

/// Whether an overflow gives infinity, not the greatest finite number.
#[inline]
pub fn overflows_to_infinity(neg: bool, rc: Rc) -> bool {
    match rc {
        0 => true,
        1 => neg,
        2 => !neg,
        _ => false,
    }
}

/// Rounds to an integer: (magnitude, inexact, rounded up). `None` when the magnitude does not fit 64 bits.
pub fn to_integer(f: Fin, rc: Rc) -> Option<(u64, bool, bool)> {
    if f.exp > 63 {
        return None;
    }
    // 64 integer bits above 64 fraction bits.
    let v = jam(u128::from(f.sig) << 64, (63 - f.exp) as u32);
    let low = v & u128::from(u64::MAX);
    let up = increments(f.neg, v >> 64 & 1 != 0, low, 1 << 63, rc);
    let n = (v >> 64) as u64;
    Some((if up { n.checked_add(1)? } else { n }, low != 0, up))
}

/// An integer as a number; `None` for zero.
pub fn from_integer(neg: bool, magnitude: u64) -> Option<Fin> {
    let lz = magnitude.leading_zeros();
    (lz < 64).then(|| Fin {
        neg,
        exp: 63 - lz as i32,
        sig: magnitude << lz,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fin(x: f64) -> Fin {
        let b = x.to_bits();
        Fin {
            neg: x < 0.0,
            exp: (b >> 52 & 0x7ff) as i32 - 1023,
            sig: 1 << 63 | b << 11,
        }
    }
    fn back(w: Wide) -> f64 {
        let r = round(w, 53, 0);
        f64::from_bits(
            u64::from(r.neg_bit(w.neg)) << 63 | ((r.exp + 1023) as u64) << 52 | (r.sig << 1 >> 76) as u64,
        )
    }
    impl Rounded {
        fn neg_bit(&self, neg: bool) -> u8 {
            u8::from(neg)
        }
    }

    #[test]
    fn agrees_with_the_host_on_doubles() {
        let mut s = 0x1234_5678_9abc_def1u64;
        let mut next = || {
            s ^= s << 13;
            s ^= s >> 7;
            s ^= s << 17;
            let e = 1000 + (s >> 33) % 40;
            f64::from_bits(s & !(0x7ff << 52) | e << 52)
        };
        for _ in 0..200_000 {
            let (a, b) = (next(), next());
            assert_eq!(add(fin(a), fin(b)).map_or(0.0, back), a + b);
            assert_eq!(back(mul(fin(a), fin(b))), a * b);
            assert_eq!(back(div(fin(a), fin(b))), a / b, "{a:?} / {b:?}");
            assert_eq!(back(sqrt(fin(a))), a.abs().sqrt());
        }
    }
}
