//! `f2xm1`, `fyl2x`, `fyl2xp1`, `fpatan`, `fsin`, `fcos`, `fptan` and the constants.
//!
//! Computed with 128-bit significands and rounded once, so results are the correctly rounded ones; processors promise
//! one unit in the last place and sometimes differ in it. `fsin`, `fcos` and `fptan` reduce by the same 66-bit pi as
//! the hardware, so large arguments give the hardware's (famously inaccurate) values.

use super::big::{self, Big};
use super::f80::{Class, F80, Outcome, rounding};
use crate::vec::soft::{self, Fin, IE, PE, UE, Wide, ZE};

/// The constant that `fld1` and its like load, rounded as the control word says.
pub fn constant(index: u8, cw: u16) -> F80 {
    let c = match index {
        0 => big::ONE,
        1 => big::LOG2_10,
        2 => big::LOG2_E,
        3 => big::PI,
        4 => big::LOG10_2,
        5 => big::LN_2,
        _ => return F80::zero(false),
    };
    let r = soft::round(c.0, 64, rounding(cw));
    F80::from_fin(Fin {
        neg: false,
        exp: r.exp,
        sig: (r.sig >> 64) as u64,
    })
}

/// Rounds to 64 bits. A transcendental result is never exact unless said otherwise.
fn finish(b: Big, cw: u16) -> Outcome {
    if b.is_zero() {
        return Outcome::exact(F80::zero(b.0.neg));
    }
    let o = F80::pack(
        Wide {
            sig: b.0.sig | 1,
            ..b.0
        },
        64,
        cw,
    );
    o.also(PE)
}

fn one_nan(a: F80) -> Option<Outcome> {
    match a.class() {
        Class::Unsupported => Some(Outcome::invalid()),
        Class::Signalling => Some(Outcome::exact(a.quieted()).also(IE)),
        Class::Quiet => Some(Outcome::exact(a)),
        _ => None,
    }
}

/// `2^x - 1`; defined for |x| <= 1, elsewhere `x` is left.
pub fn f2xm1(x: F80, cw: u16) -> Outcome {
    if let Some(o) = one_nan(x) {
        return o;
    }
    match x.class() {
        Class::Zero => return Outcome::exact(x),
        Class::Inf if x.is_negative() => return Outcome::exact(F80::ONE.negated()),
        Class::Inf => return Outcome::exact(x),
        _ => {}
    }
    let f = x.fin();
    let de = x.denormal_flag();
    if f.exp >= 0 {
        if f.exp == 0 && f.sig == 1 << 63 {
            // 2^1 - 1 and 2^-1 - 1, flagged as inexact all the same.
            let value = if f.neg {
                F80 {
                    se: 0xbffe,
                    mant: 1 << 63,
                }
            } else {
                F80::ONE
            };
            return Outcome::exact(value).also(PE);
        }
        return Outcome::exact(x).also(PE | de);
    }
    finish(big::expm1(Big::from(f).mul(big::LN_2)), cw).also(de)
}

/// log2 of a positive number.
fn log2(f: Fin) -> Big {
    // m in [1/sqrt 2, sqrt 2).
    let high = f.sig > 0xb504_f333_f9de_6484;
    let (m, e) = (
        Big::from(Fin {
            neg: false,
            exp: -i32::from(high),
            sig: f.sig,
        }),
        f.exp + i32::from(high),
    );
    let z = m.sub(big::ONE).div(m.add(big::ONE));
    Big::int(i64::from(e)).add(if z.is_zero() {
        z
    } else {
        big::log_ratio(z).mul(big::LOG2_E)
    })
}

/// `y * log2(x)`.
pub fn fyl2x(y: F80, x: F80, cw: u16) -> Outcome {
    if let Some(o) = F80::nan_of(x, y) {
        return o;
    }
    let de = x.denormal_flag() | y.denormal_flag();
    if x.is_negative() && !x.is_zero() {
        return Outcome::invalid();
    }
    if x.is_zero() {
        return match (y.is_zero(), y.is_inf()) {
            (true, _) => Outcome::invalid(),
            (_, true) => Outcome::exact(F80::inf(!y.is_negative())),
            _ => Outcome {
                value: F80::inf(!y.is_negative()),
                flags: ZE,
                up: false,
            },
        };
    }
    if x.is_inf() {
        return if y.is_zero() {
            Outcome::invalid()
        } else {
            Outcome::exact(F80::inf(y.is_negative())).also(de)
        };
    }
    let f = x.fin();
    let one = f.exp == 0 && f.sig == 1 << 63;
    let below = f.exp < 0;
    if y.is_inf() {
        return if one {
            Outcome::invalid()
        } else {
            Outcome::exact(F80::inf(y.is_negative() != below)).also(de)
        };
    }
    if y.is_zero() || one {
        return Outcome::exact(F80::zero(y.is_negative() != (below && !one))).also(de);
    }
    let l = log2(f);
    if f.sig == 1 << 63 {
        // An integral logarithm.
        let n = i64::from(f.exp);
        return match soft::from_integer(n < 0, n.unsigned_abs()) {
            Some(n) => product(n, y, cw).also(de),
            None => Outcome::exact(F80::zero(y.is_negative())),
        };
    }
    finish(l.mul(Big::from(y.fin())), cw).also(de)
}

/// `n * y` of an integral logarithm: often exact, and yet flagged as inexact; a denormal so is an underflow.
fn product(n: Fin, y: F80, cw: u16) -> Outcome {
    let o = F80::pack(soft::mul(n, y.fin()), 64, cw);
    let ue = if o.value.denormal_flag() == 0 { 0 } else { UE };
    o.also(PE | ue)
}

/// `y * log2(x + 1)`; defined for |x| < 1 - sqrt(1/2).
pub fn fyl2xp1(y: F80, x: F80, cw: u16) -> Outcome {
    if let Some(o) = F80::nan_of(x, y) {
        return o;
    }
    let de = x.denormal_flag() | y.denormal_flag();
    let neg = x.is_negative() != y.is_negative();
    if x.is_zero() {
        return if y.is_inf() {
            Outcome::invalid()
        } else {
            Outcome::exact(F80::zero(neg)).also(de)
        };
    }
    if x.is_inf() {
        return if x.is_negative() || y.is_zero() {
            Outcome::invalid()
        } else {
            Outcome::exact(F80::inf(y.is_negative())).also(de)
        };
    }
    if y.is_inf() {
        return Outcome::exact(F80::inf(neg)).also(de);
    }
    if y.is_zero() {
        return Outcome::exact(F80::zero(neg)).also(de);
    }
    let f = x.fin();
    if f.neg && f.exp >= 0 {
        return Outcome::exact(x).also(de | PE);
    }
    let b = Big::from(f);
    let l = if f.exp < -1 {
        // log(1+x) = 2 atanh(x / (2 + x))
        big::log_ratio(b.div(Big::int(2).add(b))).mul(big::LOG2_E)
    } else {
        let s = b.add(big::ONE).0;
        let high = Fin {
            neg: false,
            exp: s.exp,
            sig: (s.sig >> 64) as u64,
        };
        // 1+x needs more than 64 bits only in its tail, which enters to first order.
        let tail = Big(s).sub(Big::from(high)).div(Big::from(high));
        if tail.is_zero() && high.sig == 1 << 63 {
            let n = i64::from(high.exp);
            if let Some(n) = soft::from_integer(n < 0, n.unsigned_abs()) {
                return product(n, y, cw).also(de);
            }
        }
        log2(high).add(tail.mul(big::LOG2_E))
    };
    finish(l.mul(Big::from(y.fin())), cw).also(de)
}

/// The angle of the point (x, y).
pub fn fpatan(y: F80, x: F80, cw: u16) -> Outcome {
    if let Some(o) = F80::nan_of(x, y) {
        return o;
    }
    let de = x.denormal_flag() | y.denormal_flag();
    let signed = |b: Big| {
        Big(Wide {
            neg: y.is_negative(),
            ..b.0
        })
    };
    let quarter = |n: i64| signed(big::PI.mul(Big::int(n)).scaled(-2));
    let angle = match (y.is_inf(), x.is_inf()) {
        (true, true) => quarter(if x.is_negative() { 3 } else { 1 }),
        (true, false) => quarter(2),
        (false, true) if x.is_negative() => quarter(4),
        (false, true) => return Outcome::exact(F80::zero(y.is_negative())).also(de),
        _ if y.is_zero() && x.is_negative() => quarter(4),
        _ if y.is_zero() => return Outcome::exact(y).also(de),
        _ if x.is_zero() => quarter(2),
        _ => {
            let (a, b) = (Big::from(y.fin()).abs(), Big::from(x.fin()).abs());
            let t = match a.cmp_abs(b) {
                std::cmp::Ordering::Greater => big::PI.scaled(-1).sub(big::atan(b.div(a))),
                std::cmp::Ordering::Equal => big::PI.scaled(-2),
                std::cmp::Ordering::Less => big::atan(a.div(b)),
            };
            signed(if x.is_negative() { big::PI.sub(t) } else { t })
        }
    };
    finish(angle, cw).also(de)
}

/// The hardware's pi, 66 significant bits, as an integer over 2^64.
const PI_66: u128 = 0x3_243f_6a88_85a3_08d3;

/// The remainder of |x| by pi/2 in [-pi/4, pi/4] and the quadrant; for |x| < 2^63.
fn reduce(f: Fin) -> (Big, u64) {
    if f.exp < -1 {
        return (Big::from(Fin { neg: false, ..f }), 0);
    }
    // In units of 2^-65 pi/2 is PI_66; x is sig * 2^(exp - 63 + 65).
    let shift = f.exp + 2;
    let mut r = u128::from(f.sig);
    let mut q = 0u64;
    for step in 0..=shift {
        if step > 0 {
            r <<= 1;
            q <<= 1;
        }
        // The first step may hold several multiples.
        q = q.wrapping_add((r / PI_66) as u64);
        r %= PI_66;
    }
    let (neg, r) = if r > PI_66 / 2 {
        (true, PI_66 - r)
    } else {
        (false, r)
    };
    if neg {
        q = q.wrapping_add(1);
    }
    if r == 0 {
        return (big::ZERO, q);
    }
    let lz = r.leading_zeros();
    (
        Big(Wide {
            neg,
            exp: 127 - lz as i32 - 65,
            sig: r << lz,
        }),
        q,
    )
}

/// Sine and cosine. `None`: |x| is 2^63 or more, nothing is done (C2).
pub fn sincos(x: F80, cw: u16) -> Option<(Outcome, Outcome)> {
    if let Some(o) = one_nan(x) {
        return Some((o, o));
    }
    match x.class() {
        Class::Zero => return Some((Outcome::exact(x), Outcome::exact(F80::ONE))),
        Class::Inf => return Some((Outcome::invalid(), Outcome::invalid())),
        _ => {}
    }
    let f = x.fin();
    if f.exp >= 63 {
        return None;
    }
    let de = x.denormal_flag();
    let (s, c) = sincos_big(f);
    Some((tiny(s, x, true, cw).also(de), finish(c, cw).also(de)))
}

/// Sine (`below`) or tangent of an argument so small that the result is next to it, or `s`.
fn tiny(s: Big, x: F80, below: bool, cw: u16) -> Outcome {
    let w = Wide::from(x.fin());
    if w.exp >= -64 {
        return finish(s, cw);
    }
    let sig = if below { w.sig - 1 } else { w.sig };
    let lz = sig.leading_zeros();
    let w = Wide {
        sig: sig << lz | 1,
        exp: w.exp - lz as i32,
        ..w
    };
    F80::pack(w, 64, cw).also(PE)
}

fn sincos_big(f: Fin) -> (Big, Big) {
    let (r, q) = reduce(f);
    let (s, c) = if r.is_zero() {
        (r, big::ONE)
    } else {
        (big::sin(r), big::cos(r))
    };
    let (s, c) = match q & 3 {
        0 => (s, c),
        1 => (c, s.neg()),
        2 => (s.neg(), c.neg()),
        _ => (c.neg(), s),
    };
    (if f.neg { s.neg() } else { s }, c)
}

/// Tangent; `None` as for [`sincos`].
pub fn tan(x: F80, cw: u16) -> Option<Outcome> {
    if let Some(o) = one_nan(x) {
        return Some(o);
    }
    match x.class() {
        Class::Zero => return Some(Outcome::exact(x)),
        Class::Inf => return Some(Outcome::invalid()),
        _ => {}
    }
    let f = x.fin();
    if f.exp >= 63 {
        return None;
    }
    let (s, c) = sincos_big(f);
    Some(tiny(s.div(c), x, false, cw).also(x.denormal_flag()))
}
