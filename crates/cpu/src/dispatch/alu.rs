//! Integer arithmetic and moves.

use std::marker::PhantomData;

use super::op::*;
use crate::fault::FaultKind;
use crate::flags::{self, AF, CF, OF, ZF};
use crate::{Cpu, RAX, RDX, RSP};

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

pub(crate) const BT: u8 = 0;
pub(crate) const BTS: u8 = 1;
pub(crate) const BTR: u8 = 2;
pub(crate) const BTC: u8 = 3;

/// `bt*` on `Rm`: bit number from `a`, or from the immediate if x is 1. A register bit number reaches beyond memory
/// operands.
pub(crate) struct Bt<W, const O: u8>(PhantomData<W>);

impl<W: Word, const O: u8> Insn for Bt<W, O> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let by_imm = (*op).x == 1;
            let n = if by_imm {
                (*op).imm()
            } else {
                sx(reg::<W>(cpu, (*op).a))
            };
            let bit = 1u64 << (n & u64::from(W::BITS - 1));
            let flip = |v: u64| match O {
                BTS => v | bit,
                BTR => v & !bit,
                BTC => v ^ bit,
                _ => v,
            };
            let v;
            if (*op).b == MEM {
                let mut va = ea(op, cpu);
                if !by_imm {
                    va = va.wrapping_add(((n as i64 >> (3 + W::LOG)) << W::LOG) as u64);
                }
                if O == BT {
                    v = load::<F, W>(cx, va)?.to64();
                } else {
                    v = load_rw::<F, W>(cx, va)?.to64();
                    store::<F, W>(cx, va, W::from64(flip(v)))?;
                }
            } else {
                v = reg::<W>(cpu, (*op).b).to64();
                if O != BT {
                    set_reg(cpu, (*op).b, W::from64(flip(v)));
                }
            }
            let f = (*cpu).arith() & !CF;
            (*cpu).set_arith(f | u32::from(v & bit != 0));
            Ok(())
        }
    }
}

pub(crate) const BSF: u8 = 0;
pub(crate) const BSR: u8 = 1;
pub(crate) const TZCNT: u8 = 2;
pub(crate) const LZCNT: u8 = 3;
pub(crate) const POPCNT: u8 = 4;

/// Bit scans and counts: `a = scan(Rm)`. TZCNT and LZCNT act as BSF and BSR where CPUID does not show them.
pub(crate) struct Scan<W, const O: u8>(PhantomData<W>);

impl<W: Word, const O: u8> Insn for Scan<W, O> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let v = Rm::get::<F, W>(op, cpu, cx)?.to64();
            let m = &*(*cx).machine;
            let o = match O {
                TZCNT if !m.has_bmi1() => BSF,
                LZCNT if !m.has_lzcnt() => BSR,
                _ => O,
            };
            let lead = |v: u64| u64::from(v.leading_zeros() - (64 - W::BITS));
            let old = (*cpu).arith();
            let f = match o {
                POPCNT => {
                    set_reg(cpu, (*op).a, W::from64(u64::from(v.count_ones())));
                    if v == 0 { ZF } else { 0 }
                }
                TZCNT | LZCNT => {
                    let r = match (v == 0, o == TZCNT) {
                        (true, _) => u64::from(W::BITS),
                        (_, true) => u64::from(v.trailing_zeros()),
                        _ => lead(v),
                    };
                    set_reg(cpu, (*op).a, W::from64(r));
                    old & !(ZF | CF) | u32::from(v == 0) | if r == 0 { ZF } else { 0 }
                }
                // The other flags are undefined; processors leave them.
                _ if v == 0 => old | ZF,
                _ => {
                    let r = if o == BSF {
                        u64::from(v.trailing_zeros())
                    } else {
                        u64::from(W::BITS - 1) - lead(v)
                    };
                    set_reg(cpu, (*op).a, W::from64(r));
                    old & !ZF
                }
            };
            (*cpu).set_arith(f);
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

/// `crc32 a, Rm`.
pub(crate) struct Crc32<W>(PhantomData<W>);

impl<W: Word> Insn for Crc32<W> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let v = Rm::get::<F, W>(op, cpu, cx)?.to64();
            let mut crc = reg::<u32>(cpu, (*op).a);
            for i in 0..W::N {
                crc = CRC[((crc ^ (v >> (8 * i)) as u32) & 0xff) as usize] ^ crc >> 8;
            }
            set_reg(cpu, (*op).a, u64::from(crc));
            Ok(())
        }
    }
}

/// CRC-32C (Castagnoli), reflected.
static CRC: [u32; 256] = {
    let mut t = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut c = i as u32;
        let mut k = 0;
        while k < 8 {
            c = if c & 1 != 0 { c >> 1 ^ 0x82f6_3b78 } else { c >> 1 };
            k += 1;
        }
        t[i] = c;
        i += 1;
    }
    t
};

/// Flag bits that LAHF and SAHF move.
pub(crate) const LOW_FLAGS: u32 = flags::SF | ZF | AF | flags::PF | CF;
