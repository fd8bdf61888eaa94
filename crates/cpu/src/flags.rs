//! The six arithmetic flags, kept lazily: the operands of the last instruction that set them, and which it was.
//!
//! Operands are kept at the top of their words, whatever their width, so that conditions compare them as they are.

/// Carry.
pub const CF: u32 = 1;
/// Parity of the low byte.
pub const PF: u32 = 4;
/// Carry out of bit 3.
pub const AF: u32 = 0x10;
/// Zero.
pub const ZF: u32 = 0x40;
/// Sign.
pub const SF: u32 = 0x80;
/// Trap (single step).
pub const TF: u32 = 0x100;
/// Direction.
pub const DF: u32 = 0x400;
/// Overflow.
pub const OF: u32 = 0x800;
/// The six that arithmetic sets.
pub const ARITH: u32 = CF | PF | AF | ZF | SF | OF;

/// `a` holds the flags themselves.
pub const EAGER: u32 = 0;
/// `a + b`; the width (log2 of bytes) is added to each kind.
pub const ADD: u32 = 4;
/// `a + b + 1`.
pub const ADC1: u32 = ADD + 4;
/// Result `a` of a logical operation; `b` is 0, so that conditions are those of [`SUB`], the parity aside.
pub const LOGIC: u32 = 12;
/// `a - b`.
pub const SUB: u32 = LOGIC + 4;
/// `a - b - 1`.
pub const SBB1: u32 = SUB + 4;
/// Result `a` of an increment, carry `b` (0 or 1, not shifted).
pub const INC: u32 = 24;
/// Result `a` of a decrement, carry `b`.
pub const DEC: u32 = INC + 4;

/// How far an operand of `8 << w` bits is shifted to lie at the top of its word.
#[inline(always)]
pub const fn top(w: u32) -> u32 {
    64 - (8 << w)
}

/// PF of the low byte of `r`.
#[inline(always)]
pub fn parity(r: u64) -> u32 {
    if (r as u8).count_ones() & 1 == 0 { PF } else { 0 }
}

/// SF, ZF and PF of an `8 << w` bit result.
#[inline(always)]
pub fn szp(r: u64, w: u32) -> u32 {
    let shifted = r << top(w);
    (if shifted == 0 { ZF } else { 0 }) | (if (shifted as i64) < 0 { SF } else { 0 }) | parity(r)
}

/// The six flags of a lazy state: its kind, and the operands as they are kept.
pub fn compute(kind: u32, a: u64, b: u64) -> u32 {
    if kind == EAGER {
        return a as u32 & ARITH;
    }
    let w = kind & 3;
    let sh = top(w);
    let (a, b) = (a >> sh, if kind < INC { b >> sh } else { b });
    let of = |x: u64| if (x << sh) >> 63 != 0 { OF } else { 0 };
    let cf = |c: bool| u32::from(c);
    match kind & !3 {
        k @ (ADD | ADC1) => {
            let one = u64::from(k == ADC1);
            let r = a.wrapping_add(b).wrapping_add(one);
            let carry = ((a & b) | ((a | b) & !r)) << sh >> 63;
            szp(r, w) | cf(carry != 0) | of((a ^ r) & (b ^ r)) | ((a ^ b ^ r) as u32 & AF)
        }
        k @ (SUB | SBB1) => {
            let one = u64::from(k == SBB1);
            let r = a.wrapping_sub(b).wrapping_sub(one);
            let borrow = ((!a & b) | ((!a | b) & r)) << sh >> 63;
            szp(r, w) | cf(borrow != 0) | of((a ^ b) & (a ^ r)) | ((a ^ b ^ r) as u32 & AF)
        }
        LOGIC => szp(a, w),
        INC => {
            let v = a << sh == 1 << 63;
            szp(a, w) | b as u32 & CF | if v { OF } else { 0 } | if a & 15 == 0 { AF } else { 0 }
        }
        _ => {
            let v = a << sh == (u64::MAX >> 1) & (u64::MAX << sh);
            szp(a, w) | b as u32 & CF | if v { OF } else { 0 } | if a & 15 == 15 { AF } else { 0 }
        }
    }
}

/// Whether condition `cc` (the low four bits of the opcode) holds for these flags.
#[inline(always)]
pub fn condition(cc: u8, f: u32) -> bool {
    let v = match cc >> 1 {
        0 => f & OF != 0,
        1 => f & CF != 0,
        2 => f & ZF != 0,
        3 => f & (CF | ZF) != 0,
        4 => f & SF != 0,
        5 => f & PF != 0,
        6 => (f & SF != 0) != (f & OF != 0),
        _ => f & ZF != 0 || (f & SF != 0) != (f & OF != 0),
    };
    v != (cc & 1 != 0)
}
