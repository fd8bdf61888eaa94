//! Products and quotients, and the widening of a dividend.

use std::marker::PhantomData;

use super::op::*;
use crate::fault::FaultKind;
use crate::flags::{self, CF, OF, ZF};
use crate::{Cpu, RAX, RDX};

/// `a = S * T`, signed, truncated.
pub(crate) struct Imul<W, S, T, const N: bool>(PhantomData<(W, S, T)>);

impl<W: Word, S: Loc, T: Loc, const N: bool> Insn for Imul<W, S, T, N> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let x = S::get::<F, W>(op, cpu, cx)?;
            let y = T::get::<F, W>(op, cpu, cx)?;
            let r = W::from64(x.to64().wrapping_mul(y.to64()));
            set_reg(cpu, (*op).a, r);
            if !N {
                let full = i128::from(sx(x) as i64) * i128::from(sx(y) as i64);
                let over = full != i128::from(sx(r) as i64);
                // SF as the result; ZF, AF and PF are undefined.
                (*cpu).set_arith(flags::szp(r.to64(), W::LOG) & !ZF | if over { CF | OF } else { 0 });
            }
            Ok(())
        }
    }
}

/// One-operand `mul`, `imul`: `rdx:rax = rax * Rm`.
pub(crate) struct Mul<W, const SIGNED: bool>(PhantomData<W>);

impl<W: Word, const SIGNED: bool> Insn for Mul<W, SIGNED> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let x = reg::<W>(cpu, 0);
            let y = Rm::get::<F, W>(op, cpu, cx)?;
            let (lo, hi, over);
            if SIGNED {
                let full = i128::from(sx(x) as i64) * i128::from(sx(y) as i64);
                (lo, hi) = (full as u64, (full >> W::BITS) as u64);
                over = full != i128::from(sx(W::from64(lo)) as i64);
            } else {
                let full = u128::from(x.to64()) * u128::from(y.to64());
                (lo, hi) = (full as u64, (full >> W::BITS) as u64);
                over = hi != 0;
            }
            if W::LOG == 0 {
                set_reg(cpu, 0, (lo & 0xff | hi << 8) as u16);
            } else {
                set_reg(cpu, 0, W::from64(lo));
                set_reg(cpu, 16, W::from64(hi));
            }
            let r = W::from64(lo).to64();
            (*cpu).set_arith(flags::szp(r, W::LOG) & !ZF | if over { CF | OF } else { 0 });
            Ok(())
        }
    }
}

/// `div`, `idiv`.
pub(crate) struct Div<W, const SIGNED: bool>(PhantomData<W>);

impl<W: Word, const SIGNED: bool> Insn for Div<W, SIGNED> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let d = Rm::get::<F, W>(op, cpu, cx)?;
            if d.to64() == 0 {
                return if F {
                    Err(Miss)
                } else {
                    Err(raise(cx, FaultKind::DivideError))
                };
            }
            let (lo, hi) = if W::LOG == 0 {
                let ax = reg::<u16>(cpu, 0);
                (u64::from(ax & 0xff), u64::from(ax >> 8))
            } else {
                (reg::<W>(cpu, 0).to64(), reg::<W>(cpu, 16).to64())
            };
            let (q, r, fits);
            if SIGNED {
                let sh = 128 - 2 * W::BITS;
                let n = ((u128::from(hi) << W::BITS | u128::from(lo)) << sh) as i128 >> sh;
                let v = i128::from(sx(d) as i64);
                let (qq, rr) = if W::LOG <= 2 {
                    // Fits 64 bits: i64::MIN / -1 is only reachable for the 128-bit form.
                    let (n, v) = (n as i64, v as i64);
                    (i128::from(n.wrapping_div(v)), i128::from(n.wrapping_rem(v)))
                } else if n == i128::from(n as i64) && !(n == i128::from(i64::MIN) && v == -1) {
                    (i128::from(n as i64 / v as i64), i128::from(n as i64 % v as i64))
                } else {
                    (n.wrapping_div(v), n.wrapping_rem(v))
                };
                let overflow = W::LOG == 2 && n == i128::from(i64::MIN) && v == -1;
                (q, r) = (qq as u64, rr as u64);
                fits = qq == i128::from(sx(W::from64(q)) as i64) && !overflow;
            } else if hi == 0 {
                (q, r) = (lo / d.to64(), lo % d.to64());
                fits = true;
            } else {
                let n = u128::from(hi) << W::BITS | u128::from(lo);
                fits = hi < d.to64();
                let v = u128::from(d.to64());
                (q, r) = ((n / v) as u64, (n % v) as u64);
            }
            if !fits {
                return if F {
                    Err(Miss)
                } else {
                    Err(raise(cx, FaultKind::DivideError))
                };
            }
            if W::LOG == 0 {
                set_reg(cpu, 0, (q & 0xff | (r & 0xff) << 8) as u16);
            } else {
                set_reg(cpu, 0, W::from64(q));
                set_reg(cpu, 16, W::from64(r));
            }
            Ok(())
        }
    }
}

/// `cbw`, `cwde`, `cdqe`: RAX extended to `W`.
pub(crate) struct Cbw<W>(PhantomData<W>);

impl<W: Word> Insn for Cbw<W> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(_: *const Op, cpu: *mut Cpu, _: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's registers.
        unsafe {
            let a = (*cpu).gpr[RAX];
            let v = match W::LOG {
                1 => sx(a as u8),
                2 => sx(a as u16),
                _ => sx(a as u32),
            };
            set_reg(cpu, 0, W::from64(v));
            Ok(())
        }
    }
}

/// `cwd`, `cdq`, `cqo`: RDX filled with the sign of RAX.
pub(crate) struct Cwd<W>(PhantomData<W>);

impl<W: Word> Insn for Cwd<W> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(_: *const Op, cpu: *mut Cpu, _: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's registers.
        unsafe {
            let v = (sx(reg::<W>(cpu, 0)) as i64 >> 63) as u64;
            set_reg(cpu, (RDX * 8) as u8, W::from64(v));
            Ok(())
        }
    }
}
