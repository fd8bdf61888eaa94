//! Arithmetic on 128-bit significands, for the transcendental functions: results are truncated, so that a few dozen
//! operations keep some 120 bits, far more than the 64 that are rounded to in the end.

use crate::vec::soft::{self, Fin, Wide, jam};
use std::cmp::Ordering;

/// A number with a 128-bit significand; `sig` 0 is zero.
#[derive(Clone, Copy, Debug)]
pub struct Big(pub Wide);

/// pi.
pub const PI: Big = constant(1, 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1);
/// ln 2.
pub const LN_2: Big = constant(-1, 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af);
/// log2 e.
pub const LOG2_E: Big = constant(0, 0xb8aa_3b29_5c17_f0bb_be87_fed0_691d_3e88);
/// log2 10.
pub const LOG2_10: Big = constant(1, 0xd49a_784b_cd1b_8afe_492b_f6ff_4daf_db4c);
/// log10 2.
pub const LOG10_2: Big = constant(-2, 0x9a20_9a84_fbcf_f798_8f89_59ac_0b7c_9178);
/// 1.
pub const ONE: Big = constant(0, 1 << 127);
/// 0.
pub const ZERO: Big = constant(0, 0);

const fn constant(exp: i32, sig: u128) -> Big {
    Big(Wide { neg: false, exp, sig })
}

impl From<Fin> for Big {
    fn from(f: Fin) -> Big {
        Big(f.into())
    }
}

impl Big {
    /// A small integer.
    pub fn int(v: i64) -> Big {
        soft::from_integer(v < 0, v.unsigned_abs()).map_or(ZERO, Big::from)
    }
    /// Whether it is zero.
    pub fn is_zero(self) -> bool {
        self.0.sig == 0
    }
    /// Opposite sign.
    pub fn neg(self) -> Big {
        Big(Wide {
            neg: !self.0.neg,
            ..self.0
        })
    }
    /// Absolute value.
    pub fn abs(self) -> Big {
        Big(Wide { neg: false, ..self.0 })
    }
    /// Times a power of two.
    pub fn scaled(self, n: i32) -> Big {
        Big(Wide {
            exp: self.0.exp + n,
            ..self.0
        })
    }
    /// Order of magnitudes.
    pub fn cmp_abs(self, o: Big) -> Ordering {
        match (self.is_zero(), o.is_zero()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            _ => (self.0.exp, self.0.sig).cmp(&(o.0.exp, o.0.sig)),
        }
    }
    /// Sum.
    pub fn add(self, o: Big) -> Big {
        if self.is_zero() {
            return o;
        }
        if o.is_zero() {
            return self;
        }
        let (a, b) = if self.cmp_abs(o).is_ge() {
            (self.0, o.0)
        } else {
            (o.0, self.0)
        };
        let y = jam(b.sig, (a.exp - b.exp) as u32);
        if a.neg == b.neg {
            let (s, carry) = a.sig.overflowing_add(y);
            return Big(if carry {
                Wide {
                    neg: a.neg,
                    exp: a.exp + 1,
                    sig: s >> 1 | 1 << 127,
                }
            } else {
                Wide { sig: s, ..a }
            });
        }
        let s = a.sig - y;
        if s == 0 {
            return ZERO;
        }
        let lz = s.leading_zeros();
        Big(Wide {
            neg: a.neg,
            exp: a.exp - lz as i32,
            sig: s << lz,
        })
    }
    /// Difference.
    pub fn sub(self, o: Big) -> Big {
        self.add(o.neg())
    }
    /// Product.
    pub fn mul(self, o: Big) -> Big {
        if self.is_zero() || o.is_zero() {
            return ZERO;
        }
        const LOW: u128 = u64::MAX as u128;
        let (a, b) = (self.0, o.0);
        let (ah, al, bh, bl) = (a.sig >> 64, a.sig & LOW, b.sig >> 64, b.sig & LOW);
        let mid = ((al * bl) >> 64) + ((ah * bl) & LOW) + ((al * bh) & LOW);
        let hi = ah * bh + ((ah * bl) >> 64) + ((al * bh) >> 64) + (mid >> 64);
        let lz = hi.leading_zeros();
        let sig = if lz == 0 { hi } else { hi << 1 | mid >> 63 & 1 };
        Big(Wide {
            neg: a.neg != b.neg,
            exp: a.exp + b.exp + 1 - lz as i32,
            sig,
        })
    }
    /// Quotient by a small positive integer.
    pub fn div_int(self, n: u32) -> Big {
        let n = u128::from(n.max(1));
        if self.is_zero() {
            return self;
        }
        let (q, r) = (self.0.sig / n, self.0.sig % n);
        let lz = q.leading_zeros();
        let sig = if lz == 0 { q } else { (q << lz) | ((r << lz) / n) };
        Big(Wide {
            sig,
            exp: self.0.exp - lz as i32,
            ..self.0
        })
    }
    /// Quotient; by zero it is zero (callers exclude it).
    pub fn div(self, o: Big) -> Big {
        if self.is_zero() || o.is_zero() {
            return ZERO;
        }
        // A reciprocal of 64 good bits, refined once.
        let d = Fin {
            neg: o.0.neg,
            exp: o.0.exp,
            sig: (o.0.sig >> 64) as u64,
        };
        let one = Fin {
            neg: false,
            exp: 0,
            sig: 1 << 63,
        };
        let r = Big(soft::div(one, d));
        let r = r.add(r.mul(ONE.sub(o.mul(r))));
        let q = self.mul(r);
        q.add(r.mul(self.sub(o.mul(q))))
    }
}

/// `sum of x^k * c(k)` where the next term is the last one times `z` and divided by small integers, until terms
/// vanish beside the sum.
fn series(first: Big, mut next: impl FnMut(u32, Big) -> (Big, Big)) -> Big {
    let (mut sum, mut power) = (first, first);
    for k in 1..120 {
        let (p, term) = next(k, power);
        if term.is_zero() || term.0.exp < sum.0.exp - 130 {
            break;
        }
        sum = sum.add(term);
        power = p;
    }
    sum
}

/// `e^x - 1` for |x| < 1.
pub fn expm1(x: Big) -> Big {
    series(x, |k, t| {
        let t = t.mul(x).div_int(k + 1);
        (t, t)
    })
}

/// `2 atanh(z)` for small |z|: the logarithm of (1+z)/(1-z).
pub fn log_ratio(z: Big) -> Big {
    let z2 = z.mul(z);
    series(z, |k, p| {
        let p = p.mul(z2);
        (p, p.div_int(2 * k + 1))
    })
    .scaled(1)
}

/// Sine of |x| below pi/4 or so.
pub fn sin(x: Big) -> Big {
    let x2 = x.mul(x).neg();
    series(x, |k, t| {
        let t = t.mul(x2).div_int(2 * k * (2 * k + 1));
        (t, t)
    })
}

/// Cosine of |x| below pi/4 or so.
pub fn cos(x: Big) -> Big {
    let x2 = x.mul(x).neg();
    series(ONE, |k, t| {
        let t = t.mul(x2).div_int((2 * k - 1) * 2 * k);
        (t, t)
    })
}

/// Arc tangent of 0 <= t <= 1.
pub fn atan(t: Big) -> Big {
    // Above tan(pi/8) go by pi/4 - atan((1-t)/(1+t)).
    let limit = Big::int(27).div_int(64);
    if t.cmp_abs(limit).is_gt() {
        let u = ONE.sub(t).div(ONE.add(t));
        return PI.scaled(-2).sub(atan_series(u));
    }
    atan_series(t)
}

fn atan_series(t: Big) -> Big {
    let t2 = t.mul(t).neg();
    series(t, |k, p| {
        let p = p.mul(t2);
        (p, p.div_int(2 * k + 1))
    })
}
