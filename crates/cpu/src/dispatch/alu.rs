//! Integer arithmetic and logic: operations with two operands and with one. Shifts, products and what looks at single bits have modules
//! of their own.

use std::marker::PhantomData;

use super::op::*;
use crate::Cpu;
use crate::flags::{self, AF, CF, ZF};

pub(crate) const ADD: u8 = 0;
pub(crate) const OR: u8 = 1;
pub(crate) const ADC: u8 = 2;
pub(crate) const SBB: u8 = 3;
pub(crate) const AND: u8 = 4;
pub(crate) const SUB: u8 = 5;
pub(crate) const XOR: u8 = 6;
pub(crate) const CMP: u8 = 7;
pub(crate) const TEST: u8 = 8;

#[inline(always)]
unsafe fn carry<const F: bool>(cpu: *mut Cpu) -> Result<u64, Miss> {
    // SAFETY: the run's registers.
    unsafe { Ok(u64::from(cond::<F>(cpu, 2)?)) }
}

/// `a op b`; `c` is the carry that goes in.
#[inline(always)]
pub(super) fn result<const O: u8>(a: u64, b: u64, c: u64) -> u64 {
    match O {
        ADD | ADC => a.wrapping_add(b).wrapping_add(c),
        SUB | SBB | CMP => a.wrapping_sub(b).wrapping_sub(c),
        AND | TEST => a & b,
        OR => a | b,
        _ => a ^ b,
    }
}

/// Keeps what the flags of `r = a op b` are made of.
#[inline(always)]
pub(super) unsafe fn leave_flags<W: Word, const O: u8>(cpu: *mut Cpu, a: u64, b: u64, c: u64, r: u64) {
    // SAFETY: the run's registers.
    unsafe {
        match O {
            ADD | ADC => lazy::<W>(cpu, flags::ADD + 4 * c as u32, a, b),
            SUB | SBB | CMP => lazy::<W>(cpu, flags::SUB + 4 * c as u32, a, b),
            _ => lazy::<W>(cpu, flags::LOGIC, r, 0),
        }
    }
}

/// `D = D op S`. With `N` the flags are dead.
pub(crate) struct Alu<W, D, S, const O: u8, const N: bool>(PhantomData<(W, D, S)>);

impl<W: Word, D: Loc, S: Loc, const O: u8, const N: bool> Insn for Alu<W, D, S, O, N> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let b = S::get::<F, W>(op, cpu, cx)?.to64();
            let a = if O == CMP || O == TEST {
                D::get::<F, W>(op, cpu, cx)?.to64()
            } else {
                D::get_rw::<F, W>(op, cpu, cx)?.to64()
            };
            let c = if O == ADC || O == SBB { carry::<F>(cpu)? } else { 0 };
            let r = result::<O>(a, b, c);
            if O != CMP && O != TEST {
                D::set::<F, W>(op, cpu, cx, W::from64(r))?;
            }
            if !N {
                leave_flags::<W, O>(cpu, a, b, c, r);
            }
            Ok(())
        }
    }
}

pub(crate) const NEG: u8 = 0;
pub(crate) const NOT: u8 = 1;
pub(crate) const INC: u8 = 2;
pub(crate) const DEC: u8 = 3;
pub(crate) const BSWAP: u8 = 4;

/// `D = op D`.
pub(crate) struct Unary<W, D, const O: u8, const N: bool>(PhantomData<(W, D)>);

impl<W: Word, D: Loc, const O: u8, const N: bool> Insn for Unary<W, D, O, N> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let a = D::get_rw::<F, W>(op, cpu, cx)?.to64();
            let r = match O {
                NEG => 0u64.wrapping_sub(a),
                NOT => !a,
                INC => a.wrapping_add(1),
                DEC => a.wrapping_sub(1),
                _ if W::LOG == 2 => u64::from((a as u32).swap_bytes()),
                _ if W::LOG == 3 => a.swap_bytes(),
                _ => 0,
            };
            let c = if !N && matches!(O, INC | DEC) {
                carry::<F>(cpu)?
            } else {
                0
            };
            D::set::<F, W>(op, cpu, cx, W::from64(r))?;
            if !N {
                match O {
                    NEG => lazy::<W>(cpu, flags::SUB, 0, a),
                    INC | DEC => {
                        lazy::<W>(cpu, if O == INC { flags::INC } else { flags::DEC }, r, c);
                    }
                    _ => {}
                }
            }
            Ok(())
        }
    }
}

/// Flag bits that LAHF and SAHF move.
pub(crate) const LOW_FLAGS: u32 = flags::SF | ZF | AF | flags::PF | CF;
