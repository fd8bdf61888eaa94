//! The 80-bit extended format: classes, arithmetic, comparison and conversions, as the x87 rounds and flags them.

use crate::vec::soft::{self, DE, Fin, IE, OE, PE, Rc, UE, Wide, ZE};
use std::cmp::Ordering;
use turncoat_freeze::Freeze;

/// An 80-bit number as it stands in a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Freeze)]
pub struct F80 {
    /// Sign (bit 15) and biased exponent.
    pub se: u16,
    /// Significand with its explicit leading bit.
    pub mant: u64,
}

/// What an encoding stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Zero.
    Zero,
    /// Exponent field 0, a denormal or pseudo-denormal.
    Denormal,
    /// A normal number.
    Normal,
    /// Infinity.
    Inf,
    /// A quiet NaN.
    Quiet,
    /// A signalling NaN.
    Signalling,
    /// An encoding that the 387 and later refuse: unnormals, pseudo-infinities, pseudo-NaNs.
    Unsupported,
}

/// A result with the exception flags that it raises and whether it was rounded up (C1).
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The result as the masked response has it (or, for unmasked overflow and underflow, with its exponent wrapped).
    pub value: F80,
    /// Exception flags.
    pub flags: u32,
    /// Rounded away from zero.
    pub up: bool,
}

impl Outcome {
    /// A result without exceptions.
    pub fn exact(value: F80) -> Outcome {
        Outcome {
            value,
            flags: 0,
            up: false,
        }
    }
    /// The default NaN with IE.
    pub fn invalid() -> Outcome {
        Outcome {
            value: F80::INDEFINITE,
            flags: IE,
            up: false,
        }
    }
    pub(super) fn also(mut self, flags: u32) -> Outcome {
        self.flags |= flags;
        self
    }
}

const BIAS: i32 = 16383;
const EMIN: i32 = -16382;
/// How far an unmasked overflow or underflow moves the exponent.
const WRAP: i32 = 24576;
const LEAD: u64 = 1 << 63;
const QUIET: u64 = 1 << 62;

/// Precision in bits that the control word asks for.
pub fn precision(cw: u16) -> u32 {
    match cw >> 8 & 3 {
        0 => 24,
        2 => 53,
        _ => 64,
    }
}
/// Rounding that the control word asks for.
pub fn rounding(cw: u16) -> Rc {
    Rc::from(cw >> 10 & 3)
}

/// The four arithmetic operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arith {
    /// Sum.
    Add,
    /// Difference.
    Sub,
    /// Product.
    Mul,
    /// Quotient.
    Div,
}

impl F80 {
    /// The "real indefinite": the NaN that masked invalid operations give.
    pub const INDEFINITE: F80 = F80 {
        se: 0xffff,
        mant: 0xc000_0000_0000_0000,
    };
    /// +1.
    pub const ONE: F80 = F80 {
        se: 0x3fff,
        mant: LEAD,
    };

    /// From the ten bytes of memory, in the low bits.
    pub fn from_bits(v: u128) -> F80 {
        F80 {
            se: (v >> 64) as u16,
            mant: v as u64,
        }
    }
    /// The ten bytes of memory, in the low bits.
    pub fn to_bits(self) -> u128 {
        u128::from(self.se) << 64 | u128::from(self.mant)
    }
    /// Signed zero.
    pub fn zero(neg: bool) -> F80 {
        F80 {
            se: u16::from(neg) << 15,
            mant: 0,
        }
    }
    /// Signed infinity.
    pub fn inf(neg: bool) -> F80 {
        F80 {
            se: u16::from(neg) << 15 | 0x7fff,
            mant: LEAD,
        }
    }
    /// The sign bit.
    pub fn is_negative(self) -> bool {
        self.se & 0x8000 != 0
    }
    /// Opposite sign.
    pub fn negated(self) -> F80 {
        F80 {
            se: self.se ^ 0x8000,
            ..self
        }
    }
    /// What this encoding stands for.
    pub fn class(self) -> Class {
        match self.se & 0x7fff {
            0 if self.mant == 0 => Class::Zero,
            0 => Class::Denormal,
            _ if self.mant & LEAD == 0 => Class::Unsupported,
            0x7fff if self.mant == LEAD => Class::Inf,
            0x7fff if self.mant & QUIET != 0 => Class::Quiet,
            0x7fff => Class::Signalling,
            _ => Class::Normal,
        }
    }
    /// A NaN of either kind.
    pub fn is_nan(self) -> bool {
        matches!(self.class(), Class::Quiet | Class::Signalling)
    }
    pub(super) fn is_zero(self) -> bool {
        self.class() == Class::Zero
    }
    pub(super) fn is_inf(self) -> bool {
        self.class() == Class::Inf
    }
    pub(super) fn quieted(self) -> F80 {
        F80 {
            mant: self.mant | QUIET,
            ..self
        }
    }
    /// The number; only for finite ones that are not zero.
    pub(super) fn fin(self) -> Fin {
        let lz = self.mant.leading_zeros().min(63);
        let e = i32::from(self.se & 0x7fff).max(1) - BIAS;
        Fin {
            neg: self.is_negative(),
            exp: e - lz as i32,
            sig: self.mant << lz,
        }
    }
    pub(super) fn denormal_flag(self) -> u32 {
        if self.class() == Class::Denormal { DE } else { 0 }
    }

    /// Rounds to `prec` bits and packs, as arithmetic does.
    pub fn pack(w: Wide, prec: u32, cw: u16) -> Outcome {
        let rc = rounding(cw);
        let sign = u16::from(w.neg) << 15;
        let r = soft::round(w, prec, rc);
        let of = |exp: i32, sig: u128| F80 {
            se: sign | (exp + BIAS) as u16 & 0x7fff,
            mant: (sig >> 64) as u64,
        };
        let pe = |inexact| if inexact { PE } else { 0 };
        if r.exp > BIAS {
            if u32::from(cw) & OE == 0 {
                if r.exp - WRAP > BIAS {
                    return Outcome {
                        value: F80::inf(w.neg),
                        flags: OE | PE,
                        up: true,
                    };
                }
                return Outcome {
                    value: of(r.exp - WRAP, r.sig),
                    flags: OE | pe(r.inexact),
                    up: r.up,
                };
            }
            let inf = soft::overflows_to_infinity(w.neg, rc);
            let value = if inf {
                F80::inf(w.neg)
            } else {
                F80 {
                    se: sign | 0x7ffe,
                    mant: u64::MAX << (64 - prec),
                }
            };
            return Outcome {
                value,
                flags: OE | PE,
                up: inf,
            };
        }
        if r.exp >= EMIN {
            return Outcome {
                value: of(r.exp, r.sig),
                flags: pe(r.inexact),
                up: r.up,
            };
        }
        if u32::from(cw) & UE == 0 {
            if r.exp + WRAP < EMIN {
                return Outcome {
                    value: F80::zero(w.neg),
                    flags: UE | PE,
                    up: false,
                };
            }
            return Outcome {
                value: of(r.exp + WRAP, r.sig),
                flags: UE | pe(r.inexact),
                up: r.up,
            };
        }
        let r = soft::round_denormal(w, prec, EMIN, rc);
        let mant = (r.sig >> 64) as u64;
        let value = F80 {
            se: sign | (mant >> 63) as u16,
            mant,
        };
        Outcome {
            value,
            flags: if r.inexact { UE | PE } else { 0 },
            up: r.up,
        }
    }

    /// From an integer; exact.
    pub fn from_i64(v: i64) -> F80 {
        soft::from_integer(v < 0, v.unsigned_abs()).map_or(F80::zero(false), F80::from_fin)
    }
    /// A number within the format's normal range.
    pub(super) fn from_fin(f: Fin) -> F80 {
        F80 {
            se: u16::from(f.neg) << 15 | (f.exp + BIAS) as u16,
            mant: f.sig,
        }
    }

    /// Widens a binary32 or binary64 (`frac` fraction bits, `expb` exponent bits): the number, unchanged in kind
    /// (a signalling NaN still signals), and DE if it was denormal.
    fn widen(x: u64, frac: u32, expb: u32) -> (F80, u32) {
        let neg = x >> (frac + expb) & 1 != 0;
        let sign = u16::from(neg) << 15;
        let emask = (1u64 << expb) - 1;
        let (e, f) = (x >> frac & emask, x & ((1 << frac) - 1));
        let bias = (emask >> 1) as i32;
        if e == emask {
            return (
                F80 {
                    se: sign | 0x7fff,
                    mant: LEAD | f << (63 - frac),
                },
                0,
            );
        }
        if e == 0 {
            return match soft::from_integer(neg, f) {
                None => (F80::zero(neg), 0),
                Some(v) => (
                    F80::from_fin(Fin {
                        exp: v.exp + 1 - bias - frac as i32,
                        ..v
                    }),
                    DE,
                ),
            };
        }
        (
            F80 {
                se: sign | (e as i32 - bias + BIAS) as u16,
                mant: LEAD | f << (63 - frac),
            },
            0,
        )
    }
    /// From a binary32; the second value is DE for a denormal.
    pub fn from_f32(x: u32) -> (F80, u32) {
        F80::widen(u64::from(x), 23, 8)
    }
    /// From a binary64; the second value is DE for a denormal.
    pub fn from_f64(x: u64) -> (F80, u32) {
        F80::widen(x, 52, 11)
    }

    /// To a narrower format: (bits, flags, rounded up).
    fn narrow(self, frac: u32, expb: u32, cw: u16) -> (u64, u32, bool) {
        let emask = (1u64 << expb) - 1;
        let sign = u64::from(self.is_negative()) << (frac + expb);
        let inf = emask << frac;
        let bias = (emask >> 1) as i32;
        let quiet = 1u64 << (frac - 1);
        match self.class() {
            Class::Zero => return (sign, 0, false),
            Class::Inf => return (sign | inf, 0, false),
            Class::Unsupported => return (1 << (frac + expb) | inf | quiet, IE, false),
            Class::Quiet | Class::Signalling => {
                let flags = if self.class() == Class::Signalling { IE } else { 0 };
                return (sign | inf | quiet | (self.mant << 1 >> (64 - frac)), flags, false);
            }
            Class::Denormal | Class::Normal => {}
        }
        let rc = rounding(cw);
        let w = Wide::from(self.fin());
        let r = soft::round(w, frac + 1, rc);
        let pe = if r.inexact { PE } else { 0 };
        if r.exp > bias {
            if u32::from(cw) & OE == 0 {
                return (0, OE, false);
            }
            let up = soft::overflows_to_infinity(w.neg, rc);
            return (sign | (inf - u64::from(!up)), OE | PE, up);
        }
        if r.exp > -bias {
            let f = (r.sig << 1 >> (128 - frac)) as u64;
            return (sign | ((r.exp + bias) as u64) << frac | f, pe, r.up);
        }
        if u32::from(cw) & UE == 0 {
            return (0, UE, false);
        }
        let r = soft::round_denormal(w, frac + 1, 1 - bias, rc);
        (
            sign | (r.sig >> (127 - frac)) as u64,
            if r.inexact { UE | PE } else { 0 },
            r.up,
        )
    }
    /// To a binary32: (bits, flags, rounded up).
    pub fn to_f32(self, cw: u16) -> (u32, u32, bool) {
        let (v, f, up) = self.narrow(23, 8, cw);
        (v as u32, f, up)
    }
    /// To a binary64: (bits, flags, rounded up).
    pub fn to_f64(self, cw: u16) -> (u64, u32, bool) {
        self.narrow(52, 11, cw)
    }
    /// To a signed integer of `bits`; out of range or not a number gives the integer indefinite and IE.
    pub fn to_int(self, bits: u32, rc: Rc) -> (i64, u32, bool) {
        let indefinite = (i64::MIN >> (64 - bits), IE, false);
        match self.class() {
            Class::Zero => (0, 0, false),
            Class::Normal | Class::Denormal => {
                let f = self.fin();
                let limit = 1u64 << (bits - 1);
                match soft::to_integer(f, rc) {
                    Some((n, inexact, up)) if n < limit || (n == limit && f.neg) => {
                        let n = if f.neg {
                            (n as i64).wrapping_neg()
                        } else {
                            n as i64
                        };
                        (n, if inexact { PE } else { 0 }, up)
                    }
                    _ => indefinite,
                }
            }
            _ => indefinite,
        }
    }
    /// Rounds to an integral number (`frndint`).
    pub fn round_to_int(self, rc: Rc) -> Outcome {
        match self.class() {
            Class::Unsupported => Outcome::invalid(),
            Class::Signalling => Outcome::exact(self.quieted()).also(IE),
            Class::Normal | Class::Denormal => {
                let f = self.fin();
                if f.exp >= 63 {
                    return Outcome::exact(self);
                }
                let Some((n, inexact, up)) = soft::to_integer(f, rc) else {
                    return Outcome::exact(self);
                };
                let value = soft::from_integer(f.neg, n).map_or(F80::zero(f.neg), F80::from_fin);
                let flags = self.denormal_flag() | if inexact { PE } else { 0 };
                Outcome { value, flags, up }
            }
            _ => Outcome::exact(self),
        }
    }

    /// The result where one of two operands is a NaN or unsupported, if so: the quiet one of a signalling and a quiet
    /// NaN, else the one with the greater significand (Intel SDM volume 1, table 4-7).
    pub fn nan_of(a: F80, b: F80) -> Option<Outcome> {
        use Class::{Quiet, Signalling, Unsupported};
        let (ca, cb) = (a.class(), b.class());
        if ca == Unsupported || cb == Unsupported {
            return Some(Outcome::invalid());
        }
        let flags = if ca == Signalling || cb == Signalling {
            IE
        } else {
            0
        };
        let value = match (ca, cb) {
            (Signalling, Quiet) => b,
            (Quiet, Signalling) => a,
            (Quiet | Signalling, Quiet | Signalling) => {
                // Of equal significands the positive one.
                match a.mant.cmp(&b.mant) {
                    Ordering::Greater => a,
                    Ordering::Less => b,
                    Ordering::Equal if a.is_negative() => b,
                    Ordering::Equal => a,
                }
            }
            (Quiet | Signalling, _) => a,
            (_, Quiet | Signalling) => b,
            _ => return None,
        };
        Some(Outcome::exact(value.quieted()).also(flags))
    }

    /// `a op b`; `denormal` is DE when a memory operand was denormal in its own format.
    pub fn arith(op: Arith, a: F80, b: F80, denormal: u32, cw: u16) -> Outcome {
        if let Some(o) = F80::nan_of(a, b) {
            return o;
        }
        let de = a.denormal_flag() | b.denormal_flag() | denormal;
        let prec = precision(cw);
        let b = if op == Arith::Sub { b.negated() } else { b };
        let neg = a.is_negative() != b.is_negative();
        let pack = |w| F80::pack(w, prec, cw).also(de);
        let exact = |v| Outcome::exact(v).also(de);
        match op {
            Arith::Add | Arith::Sub => match (a.is_inf(), b.is_inf()) {
                (true, true) if neg => Outcome::invalid(),
                (true, _) => exact(a),
                (_, true) => exact(b),
                _ => {
                    let w = match (a.is_zero(), b.is_zero()) {
                        (true, true) if !neg => return exact(a),
                        (true, true) => None,
                        (true, false) => Some(b.fin().into()),
                        (false, true) => Some(a.fin().into()),
                        (false, false) => soft::add(a.fin(), b.fin()),
                    };
                    w.map_or_else(|| exact(F80::zero(rounding(cw) == 1)), pack)
                }
            },
            Arith::Mul => {
                if (a.is_inf() && b.is_zero()) || (a.is_zero() && b.is_inf()) {
                    Outcome::invalid()
                } else if a.is_inf() || b.is_inf() {
                    exact(F80::inf(neg))
                } else if a.is_zero() || b.is_zero() {
                    exact(F80::zero(neg))
                } else {
                    pack(soft::mul(a.fin(), b.fin()))
                }
            }
            Arith::Div => {
                if (a.is_inf() && b.is_inf()) || (a.is_zero() && b.is_zero()) {
                    Outcome::invalid()
                } else if a.is_inf() {
                    exact(F80::inf(neg))
                } else if b.is_inf() || a.is_zero() {
                    exact(F80::zero(neg))
                } else if b.is_zero() {
                    Outcome {
                        value: F80::inf(neg),
                        flags: ZE,
                        up: false,
                    }
                } else {
                    pack(soft::div(a.fin(), b.fin()))
                }
            }
        }
    }

    /// Square root.
    pub fn sqrt(self, cw: u16) -> Outcome {
        match self.class() {
            Class::Unsupported => Outcome::invalid(),
            Class::Signalling => Outcome::exact(self.quieted()).also(IE),
            Class::Quiet | Class::Zero => Outcome::exact(self),
            _ if self.is_negative() => Outcome::invalid(),
            Class::Inf => Outcome::exact(self),
            _ => F80::pack(soft::sqrt(self.fin()), precision(cw), cw).also(self.denormal_flag()),
        }
    }

    /// Order of two numbers; `None` when one is a NaN or unsupported.
    pub fn compare(a: F80, b: F80) -> Option<Ordering> {
        if F80::nan_of(a, b).is_some() {
            return None;
        }
        let key = |x: F80| -> (bool, u32, u64) {
            match x.class() {
                Class::Zero => (false, 0, 0),
                Class::Inf => (x.is_negative(), u32::MAX, 0),
                _ => {
                    let f = x.fin();
                    (x.is_negative(), (f.exp + 40000) as u32, f.sig)
                }
            }
        };
        let (x, y) = (key(a), key(b));
        Some(match (x.0, y.0) {
            (false, false) => (x.1, x.2).cmp(&(y.1, y.2)),
            (true, true) => (y.1, y.2).cmp(&(x.1, x.2)),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        })
    }

    /// Partial remainder: (result, C2 "incomplete", quotient's low bits). `nearest` is `fprem1`.
    pub fn remainder(a: F80, b: F80, nearest: bool, cw: u16) -> (Outcome, bool, u64) {
        if let Some(o) = F80::nan_of(a, b) {
            return (o, false, 0);
        }
        if a.is_inf() || b.is_zero() {
            return (Outcome::invalid(), false, 0);
        }
        let de = a.denormal_flag() | b.denormal_flag();
        if a.is_zero() || b.is_inf() {
            // The dividend itself.
            let o = if a.is_zero() {
                Outcome::exact(a)
            } else {
                F80::pack(a.fin().into(), 64, cw)
            };
            return (o.also(de), false, 0);
        }
        let (x, y) = (a.fin(), b.fin());
        let d = x.exp - y.exp;
        let (mut q, mut neg) = (0u64, x.neg);
        let (r, exp, partial) = if d < 0 {
            if nearest && d == -1 && x.sig > y.sig {
                q = 1;
                neg = !neg;
                // 2y - x in units of x's last place.
                ((u128::from(y.sig) << 1) - u128::from(x.sig), x.exp, false)
            } else {
                (u128::from(x.sig), x.exp, false)
            }
        } else {
            // As much of the quotient as the hardware does at a time: all below 64 bits, else 32 to 63 bits.
            let (n, rest) = if d < 64 {
                (d, 0)
            } else {
                (d & 31 | 32, d - (d & 31 | 32))
            };
            let (num, den) = (u128::from(x.sig) << n, u128::from(y.sig));
            let (mut qq, mut r) = (num / den, num % den);
            if nearest && rest == 0 && (2 * r > den || (2 * r == den && qq & 1 != 0)) {
                qq += 1;
                r = den - r;
                neg = !neg;
            }
            q = if rest == 0 { qq as u64 } else { 0 };
            (r, y.exp + rest, rest != 0)
        };
        if r == 0 {
            return (Outcome::exact(F80::zero(a.is_negative())).also(de), partial, q);
        }
        let lz = r.leading_zeros();
        let w = Wide {
            neg,
            exp: exp + 64 - lz as i32,
            sig: r << lz,
        };
        (F80::pack(w, 64, cw).also(de), partial, q)
    }

    /// `a * 2^trunc(b)`.
    pub fn scale(a: F80, b: F80, cw: u16) -> Outcome {
        if let Some(o) = F80::nan_of(a, b) {
            return o;
        }
        let de = a.denormal_flag() | b.denormal_flag();
        if b.is_inf() {
            return match (a.is_zero(), a.is_inf(), b.is_negative()) {
                (true, _, false) | (_, true, true) => Outcome::invalid(),
                (_, _, false) => Outcome::exact(F80::inf(a.is_negative())).also(de),
                (_, _, true) => Outcome::exact(F80::zero(a.is_negative())).also(de),
            };
        }
        if a.is_zero() || a.is_inf() {
            return Outcome::exact(a).also(de);
        }
        // Far beyond the format's range is as good as any number.
        let n = match b.to_int(32, 3) {
            (n, flags, _) if flags & IE == 0 => n.clamp(-100_000, 100_000) as i32,
            _ if b.is_negative() => -100_000,
            _ => 100_000,
        };
        let f = a.fin();
        F80::pack(Wide::from(Fin { exp: f.exp + n, ..f }), 64, cw).also(de)
    }

    /// From packed decimal: 18 digits and a sign.
    pub fn from_bcd(v: u128) -> F80 {
        let n = (0..18).rev().fold(0u64, |n, k| {
            n.wrapping_mul(10).wrapping_add((v >> (4 * k)) as u64 & 15)
        });
        let neg = v >> 79 & 1 != 0;
        soft::from_integer(neg, n).map_or(F80::zero(neg), F80::from_fin)
    }
    /// To packed decimal: (ten bytes, flags, rounded up).
    pub fn to_bcd(self, rc: Rc) -> (u128, u32, bool) {
        let indefinite = (0xffff_c000_0000_0000_0000, IE, false);
        let (n, flags, up) = match self.class() {
            Class::Zero => (0, 0, false),
            Class::Normal | Class::Denormal => match soft::to_integer(self.fin(), rc) {
                Some((n, inexact, up)) if n < 1_000_000_000_000_000_000 => {
                    (n, if inexact { PE } else { 0 }, up)
                }
                _ => return indefinite,
            },
            _ => return indefinite,
        };
        let (mut r, mut rest) = (0u128, n);
        for k in 0..18 {
            r |= u128::from(rest % 10) << (4 * k);
            rest /= 10;
        }
        (r | u128::from(self.is_negative()) << 79, flags, up)
    }
}
