//! Shifts and rotations.

use std::marker::PhantomData;

use super::op::*;
use crate::Cpu;
use crate::flags::{self, CF, OF};

pub(crate) const SHL: u8 = 0;
pub(crate) const SHR: u8 = 1;
pub(crate) const SAR: u8 = 2;
pub(crate) const ROL: u8 = 3;
pub(crate) const ROR: u8 = 4;
pub(crate) const RCL: u8 = 5;
pub(crate) const RCR: u8 = 6;

/// `D = D shifted by S` (an immediate or CL; the decoder puts CL in the slot that `S` names).
pub(crate) struct Shift<W, D, S, const O: u8, const N: bool>(PhantomData<(W, D, S)>);

impl<W: Word, D: Loc, S: Loc, const O: u8, const N: bool> Insn for Shift<W, D, S, O, N> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let n = u32::from(S::get::<F, u8>(op, cpu, cx)?) & if W::LOG == 3 { 63 } else { 31 };
            let a = D::get_rw::<F, W>(op, cpu, cx)?;
            if n == 0 {
                // Even so the processor writes: a 32-bit register loses its upper half.
                return D::set::<F, W>(op, cpu, cx, a);
            }
            let bits = W::BITS;
            let v = a.to64();
            let s = sx(a);
            let m = n % bits;
            let r = match O {
                SHL => v.checked_shl(n).unwrap_or(0),
                SHR => v.checked_shr(n).unwrap_or(0),
                SAR => (s as i64 >> n.min(63)) as u64,
                ROL if W::LOG == 2 => u64::from((v as u32).rotate_left(m)),
                ROL if W::LOG == 3 => v.rotate_left(m),
                ROR if W::LOG == 2 => u64::from((v as u32).rotate_right(m)),
                ROR if W::LOG == 3 => v.rotate_right(m),
                ROL if m == 0 => v,
                ROL => v << m | v >> (bits - m),
                _ if m == 0 => v,
                _ => v >> m | v << (bits - m),
            };
            D::set::<F, W>(op, cpu, cx, W::from64(r))?;
            if N {
                return Ok(());
            }
            let r = W::from64(r).to64();
            let msb = |x: u64| x >> (bits - 1) & 1;
            if O == ROL || O == ROR {
                let old = (*cpu).arith() & !(CF | OF);
                let (c, o) = if O == ROL {
                    (r & 1, msb(r) ^ (r & 1))
                } else {
                    (msb(r), msb(r) ^ (r >> (bits - 2) & 1))
                };
                (*cpu).set_arith(old | c as u32 | if o != 0 { OF } else { 0 });
            } else {
                let (c, o) = match O {
                    SHL => {
                        let c = if n > bits { 0 } else { v >> (bits - n) & 1 };
                        (c, msb(r) ^ c)
                    }
                    // OF of a count above 1 is undefined; processors give what a shift by one would leave.
                    SHR => (
                        v.checked_shr(n - 1).unwrap_or(0) & 1,
                        if n == 1 {
                            msb(v)
                        } else {
                            msb(r) ^ (r >> (bits - 2) & 1)
                        },
                    ),
                    _ => ((s as i64 >> (n - 1).min(63)) as u64 & 1, 0),
                };
                (*cpu).set_arith(flags::szp(r, W::LOG) | c as u32 | if o != 0 { OF } else { 0 });
            }
            Ok(())
        }
    }
}

/// Rotation through carry.
pub(crate) struct Rotc<W, D, S, const O: u8>(PhantomData<(W, D, S)>);

impl<W: Word, D: Loc, S: Loc, const O: u8> Insn for Rotc<W, D, S, O> {
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let n = u32::from(S::get::<F, u8>(op, cpu, cx)?) & if W::LOG == 3 { 63 } else { 31 };
            let a = D::get_rw::<F, W>(op, cpu, cx)?;
            let bits = W::BITS;
            let old = (*cpu).arith();
            let n = n % (bits + 1);
            if n == 0 {
                return D::set::<F, W>(op, cpu, cx, a);
            }
            let mask = (1u128 << (bits + 1)) - 1;
            let v = u128::from(a.to64()) | u128::from(old & CF) << bits;
            let v = match O {
                RCL => (v << n | v >> (bits + 1 - n)) & mask,
                _ => (v >> n | v << (bits + 1 - n)) & mask,
            };
            let r = W::from64(v as u64);
            D::set::<F, W>(op, cpu, cx, r)?;
            let c = (v >> bits) as u32 & 1;
            let msb = |k: u32| (r.to64() >> (bits - k)) as u32 & 1;
            let o = if O == RCL { msb(1) ^ c } else { msb(1) ^ msb(2) };
            (*cpu).set_arith(old & !(CF | OF) | c | if o != 0 { OF } else { 0 });
            Ok(())
        }
    }
}

/// `shld`, `shrd`: `Rm` with `a` shifted in, by the immediate or (x = 1) by CL.
pub(crate) struct Shxd<W, const LEFT: bool>(PhantomData<W>);

impl<W: Word, const LEFT: bool> Insn for Shxd<W, LEFT> {
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let n = if (*op).x == 1 {
                (*cpu).gpr[crate::RCX]
            } else {
                (*op).imm()
            };
            let n = n as u32 & if W::LOG == 3 { 63 } else { 31 };
            let a = Rm::get_rw::<F, W>(op, cpu, cx)?;
            if n == 0 {
                return Rm::set::<F, W>(op, cpu, cx, a);
            }
            let bits = W::BITS;
            let (d, s) = (u128::from(a.to64()), u128::from(reg::<W>(cpu, (*op).a).to64()));
            // A 16-bit count above 16 is undefined; like AMD and Intel do, the value goes round.
            let (wide, c) = if LEFT {
                let v = if bits == 16 {
                    d << 32 | s << 16 | d
                } else {
                    d << bits | s
                };
                let total = if bits == 16 { 48 } else { 2 * bits };
                (v >> (total - bits).saturating_sub(n), v >> (total - n) & 1)
            } else {
                let v = if bits == 16 {
                    d << 32 | s << 16 | d
                } else {
                    s << bits | d
                };
                (v >> n, v >> (n - 1) & 1)
            };
            let r = W::from64(wide as u64);
            Rm::set::<F, W>(op, cpu, cx, r)?;
            let o = (r.to64() ^ a.to64()) >> (bits - 1) & 1;
            (*cpu).set_arith(flags::szp(r.to64(), W::LOG) | c as u32 | if o != 0 { OF } else { 0 });
            Ok(())
        }
    }
}
