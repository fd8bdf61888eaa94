//! Moves, addresses, the stack, and what depends on a condition.

use std::marker::PhantomData;

use super::op::*;
use crate::fault::FaultKind;
use crate::{Cpu, RSP};

/// `D = S`.
pub(crate) struct Mov<W, D, S>(PhantomData<(W, D, S)>);

impl<W: Word, D: Loc, S: Loc> Insn for Mov<W, D, S> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let v = S::get::<F, W>(op, cpu, cx)?;
            D::set::<F, W>(op, cpu, cx, v)
        }
    }
}

/// `a = extend(S)`, from `W` to `V`.
pub(crate) struct Movx<W, V, S, const SIGNED: bool>(PhantomData<(W, V, S)>);

impl<W: Word, V: Word, S: Loc, const SIGNED: bool> Insn for Movx<W, V, S, SIGNED> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let v = S::get::<F, W>(op, cpu, cx)?;
            set_reg(cpu, (*op).a, V::from64(if SIGNED { sx(v) } else { v.to64() }));
            Ok(())
        }
    }
}

/// `movbe`: load (x = 0) or store with the bytes reversed.
pub(crate) struct Movbe<W>(PhantomData<W>);

impl<W: Word> Insn for Movbe<W> {
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            if !(*(*cx).machine).has_movbe() {
                return Err(raise(cx, FaultKind::InvalidOpcode));
            }
            let swap = |v: W| W::from64(v.to64().swap_bytes() >> (64 - W::BITS));
            if (*op).x == 0 {
                let v = load::<F, W>(cx, ea(op, cpu))?;
                set_reg(cpu, (*op).a, swap(v));
                Ok(())
            } else {
                store::<F, W>(cx, ea(op, cpu), swap(reg(cpu, (*op).a)))
            }
        }
    }
}

/// `a = address`; `X`: with index.
pub(crate) struct Lea<W, const X: bool>(PhantomData<W>);

impl<W: Word, const X: bool> Insn for Lea<W, X> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, _: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let v = if X { ea(op, cpu) } else { ea_base(op, cpu) };
            set_reg(cpu, (*op).a, W::from64(v));
            Ok(())
        }
    }
}

/// `tmp = b + base + index << scale + disp + imm`, cut to 32 bits if `x` is 1: addresses that one operation cannot hold.
pub(crate) struct Addr;

impl Insn for Addr {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let _ = cx;
            let mut v = ea(op, cpu).wrapping_add((*op).imm());
            if (*op).x == 1 {
                v &= 0xffff_ffff;
            }
            (*cpu).tmp = v.wrapping_add(reg::<u64>(cpu, (*op).b));
            Ok(())
        }
    }
}

/// `push S`.
pub(crate) struct Push<W, S>(PhantomData<(W, S)>);

impl<W: Word, S: Loc> Insn for Push<W, S> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let v = S::get::<F, W>(op, cpu, cx)?;
            let sp = (*cpu).gpr[RSP].wrapping_sub(W::N);
            store::<F, W>(cx, sp, v)?;
            (*cpu).gpr[RSP] = sp;
            Ok(())
        }
    }
}

/// `pop D`.
pub(crate) struct Pop<W, D>(PhantomData<(W, D)>);

impl<W: Word, D: Loc> Insn for Pop<W, D> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let sp = (*cpu).gpr[RSP];
            let v = load::<F, W>(cx, sp)?;
            // An address made of RSP is computed with the new value.
            (*cpu).gpr[RSP] = sp.wrapping_add(W::N);
            if let Err(e) = D::set::<F, W>(op, cpu, cx, v) {
                (*cpu).gpr[RSP] = sp;
                return Err(e);
            }
            Ok(())
        }
    }
}

/// `leave`.
pub(crate) struct Leave<W>(PhantomData<W>);

impl<W: Word> Insn for Leave<W> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(_: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let bp = (*cpu).gpr[crate::RBP];
            let v = load::<F, W>(cx, bp)?;
            set_reg(cpu, 8 * crate::RBP as u8, v);
            (*cpu).gpr[RSP] = bp.wrapping_add(W::N);
            Ok(())
        }
    }
}

/// Reads a byte and drops it: instructions that want only that it could be read.
pub(crate) struct Touch;

impl Insn for Touch {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe { load::<F, u8>(cx, ea(op, cpu)).map(|_| ()) }
    }
}

/// Nothing.
pub(crate) struct Nop;

impl Insn for Nop {
    #[inline(always)]
    unsafe fn exec<const F: bool>(_: *const Op, _: *mut Cpu, _: *mut Cx) -> Result<(), Miss> {
        Ok(())
    }
}

/// `if C: a = S`; a 32-bit destination is cut in any case, memory is read in any case.
pub(crate) struct Cmov<W, S, const C: u8>(PhantomData<(W, S)>);

impl<W: Word, S: Loc, const C: u8> Insn for Cmov<W, S, C> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let v = S::get::<F, W>(op, cpu, cx)?;
            let old = reg::<W>(cpu, (*op).a);
            set_reg(cpu, (*op).a, if cond::<F>(cpu, C)? { v } else { old });
            Ok(())
        }
    }
}

/// `D = C`.
pub(crate) struct Set<D, const C: u8>(PhantomData<D>);

impl<D: Loc, const C: u8> Insn for Set<D, C> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe { D::set::<F, u8>(op, cpu, cx, u8::from(cond::<F>(cpu, C)?)) }
    }
}
