//! Exchanges of a register with a register or memory, and those that add or compare before.

use std::marker::PhantomData;

use super::op::*;
use crate::fault::FaultKind;
use crate::flags::{self, ZF};
use crate::{Cpu, RAX, RDX};

/// `xchg a, Rm`.
pub(crate) struct Xchg<W, D>(PhantomData<(W, D)>);

impl<W: Word, D: Loc> Insn for Xchg<W, D> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let m = D::get_rw::<F, W>(op, cpu, cx)?;
            let r = reg::<W>(cpu, (*op).a);
            D::set::<F, W>(op, cpu, cx, r)?;
            set_reg(cpu, (*op).a, m);
            Ok(())
        }
    }
}

/// `xadd Rm, a`.
pub(crate) struct Xadd<W>(PhantomData<W>);

impl<W: Word> Insn for Xadd<W> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let m = Rm::get_rw::<F, W>(op, cpu, cx)?;
            let r = reg::<W>(cpu, (*op).a);
            let sum = W::from64(m.to64().wrapping_add(r.to64()));
            if (*op).b == MEM {
                Rm::set::<F, W>(op, cpu, cx, sum)?;
                set_reg(cpu, (*op).a, m);
            } else {
                set_reg(cpu, (*op).a, m);
                set_reg(cpu, (*op).b, sum);
            }
            lazy::<W>(cpu, flags::ADD, m.to64(), r.to64());
            Ok(())
        }
    }
}

/// `cmpxchg Rm, a`.
pub(crate) struct Cmpxchg<W>(PhantomData<W>);

impl<W: Word> Insn for Cmpxchg<W> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let m = Rm::get_rw::<F, W>(op, cpu, cx)?;
            let acc = reg::<W>(cpu, 0);
            if m.to64() == acc.to64() {
                let r = reg::<W>(cpu, (*op).a);
                Rm::set::<F, W>(op, cpu, cx, r)?;
            } else {
                // A 32-bit destination register is left whole by a failed exchange; memory is written back.
                if (*op).b == MEM {
                    Rm::set::<F, W>(op, cpu, cx, m)?;
                }
                set_reg(cpu, 0, m);
            }
            lazy::<W>(cpu, flags::SUB, acc.to64(), m.to64());
            Ok(())
        }
    }
}

/// `cmpxchg8b`, `cmpxchg16b` (x = 1).
pub(crate) struct Cmpxchg16;

impl Insn for Cmpxchg16 {
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let va = ea(op, cpu);
            let g = &mut (*cpu).gpr;
            let wide = (*op).x == 1;
            let equal;
            if wide {
                if va & 15 != 0 {
                    return Err(raise(cx, FaultKind::GeneralProtection));
                }
                let m = load_rw::<F, u128>(cx, va)?;
                equal = m == u128::from(g[RDX]) << 64 | u128::from(g[RAX]);
                if equal {
                    store::<F, u128>(
                        cx,
                        va,
                        u128::from(g[crate::RCX]) << 64 | u128::from(g[crate::RBX]),
                    )?;
                } else {
                    store::<F, u128>(cx, va, m)?;
                    g[RAX] = m as u64;
                    g[RDX] = (m >> 64) as u64;
                }
            } else {
                let m = load_rw::<F, u64>(cx, va)?;
                equal = m == g[RDX] << 32 | g[RAX] & 0xffff_ffff;
                if equal {
                    store::<F, u64>(cx, va, g[crate::RCX] << 32 | g[crate::RBX] & 0xffff_ffff)?;
                } else {
                    store::<F, u64>(cx, va, m)?;
                    g[RAX] = m & 0xffff_ffff;
                    g[RDX] = m >> 32;
                }
            }
            let f = (*cpu).arith() & !ZF;
            (*cpu).set_arith(f | if equal { ZF } else { 0 });
            Ok(())
        }
    }
}
