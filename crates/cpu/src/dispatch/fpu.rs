//! x87 and MMX instructions: operands in, `x87` and `vec::mmx` do the work, results out.

use std::marker::PhantomData;
use std::sync::LazyLock;

use iced_x86::Code;

use super::op::*;
use super::sse::xmm;
use crate::Cpu;
use crate::fault::FaultKind;
use crate::vec::Xm;
use crate::x87::{Effect, Insn as X87Insn};

/// x87 instructions by the number of their code.
static INSNS: LazyLock<Vec<Option<X87Insn>>> = LazyLock::new(|| Code::values().map(X87Insn::of).collect());

/// The x87 instruction of a code.
pub(crate) fn insn_of(code: u64) -> Option<X87Insn> {
    INSNS.get(code as usize).copied().flatten()
}

unsafe fn load_n(cx: *mut Cx, va: u64, n: usize) -> Result<u128, Miss> {
    let mut buf = [0; 16];
    // SAFETY: the run's context.
    unsafe { read_bytes(cx, va, &mut buf[..n])? };
    Ok(u128::from_le_bytes(buf))
}

/// The x87 instruction whose code is `imm`; stack index in `x`; a memory operand if `b` is [`MEM`].
pub(crate) struct X87;
impl Insn for X87 {
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let Some(insn) = insn_of((*op).imm()) else {
                return Err(raise(cx, FaultKind::InvalidOpcode));
            };
            let c = &mut *cpu;
            let mem = (*op).b == MEM;
            let va = if mem { ea(op, cpu) } else { 0 };
            if insn.waits() && c.fpu.pending() {
                return Err(raise(cx, FaultKind::FloatingPoint));
            }
            let input = match insn.reads() {
                0 => 0,
                n => load_n(cx, va, n)?,
            };
            let writes = insn.writes();
            if mem && writes > 0 {
                check_w(cx, va, writes as u64)?;
            }
            let flags = if insn.needs_flags() { c.arith() } else { 0 };
            if insn.noted() {
                c.fpu.note(c.page.wrapping_add(u64::from((*op).pc)), 0);
                if mem {
                    c.fpu.note_operand(va);
                }
            }
            match c.fpu.execute(insn, (*op).x as u8, input, flags) {
                Effect::Done => Ok(()),
                Effect::Store(v) => write_bytes(cx, va, &v.to_le_bytes()[..writes]),
                Effect::Flags(f) => {
                    c.set_arith(f);
                    Ok(())
                }
                Effect::Ax(v) => {
                    set_reg(cpu, 0, v);
                    Ok(())
                }
                Effect::Fault => Err(raise(cx, FaultKind::FloatingPoint)),
            }
        }
    }
}

/// `fnstenv` 0, `fldenv` 1, `fnsave` 2, `frstor` 3 in `x`; bit 8: the 16-bit form.
pub(crate) struct Env;
impl Insn for Env {
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let c = &mut *cpu;
            let va = ea(op, cpu);
            let short = (*op).x & 0x100 != 0;
            let env = if short { 14 } else { 28 };
            let mut buf = [0; 128];
            match (*op).x & 3 {
                k @ (0 | 2) => {
                    let mut fpu = c.fpu.clone();
                    let image = if k == 0 {
                        fpu.fnstenv(short)
                    } else {
                        fpu.fnsave(short)
                    };
                    write_bytes(cx, va, &image)?;
                    c.fpu = fpu;
                }
                1 => {
                    read_bytes(cx, va, &mut buf[..env])?;
                    c.fpu.fldenv(&buf[..env], short);
                }
                _ => {
                    read_bytes(cx, va, &mut buf[..env + 80])?;
                    c.fpu.frstor(&buf[..env + 80], short);
                }
            }
            Ok(())
        }
    }
}

/// An operation on MMX values: MXCSR, destination, source, immediate.
pub(crate) type MFn = fn(&mut u32, u64, u64, u8) -> Result<u64, Xm>;

/// Where the second operand of an MMX instruction is.
pub(crate) const FROM_MM: u8 = 0;
pub(crate) const FROM_GPR: u8 = 1;
pub(crate) const FROM_XMM: u8 = 2;

/// `mm[a] = f(mm[a], source, x)`; a memory operand is `W` wide; `K` says what register else. `f` is in `imm`.
pub(crate) struct Mmx<W, const K: u8>(PhantomData<W>);
impl<W: Word, const K: u8> Insn for Mmx<W, K> {
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers; the decoder put an `MFn` into `imm`.
        unsafe {
            let c = &mut *cpu;
            if c.fpu.pending() {
                return Err(raise(cx, FaultKind::FloatingPoint));
            }
            let v = if (*op).b == MEM {
                load::<F, W>(cx, ea(op, cpu))?.to64()
            } else {
                match K {
                    FROM_MM => c.fpu.mm(usize::from((*op).b)),
                    FROM_GPR => reg::<W>(cpu, (*op).b).to64(),
                    _ => *xmm(cpu, (*op).b) as u64,
                }
            };
            let f = std::mem::transmute::<usize, MFn>((*op).imm() as usize);
            let a = usize::from((*op).a);
            // Also where a conversion then raises #XM.
            c.fpu.enter_mmx();
            let r = f(&mut c.mxcsr, c.fpu.mm(a), v, (*op).x as u8)
                .map_err(|Xm| raise(cx, FaultKind::SimdFloatingPoint))?;
            c.fpu.set_mm(a, r);
            Ok(())
        }
    }
}

/// `mm[a] = f(xmm or aligned memory)` for `cvtpd2pi`.
pub(crate) type XtoM = fn(&mut u32, u128) -> Result<u64, Xm>;
/// See [`XtoM`].
pub(crate) struct MmxFromX<S>(PhantomData<S>);
impl<S: super::sse::XLoc> Insn for MmxFromX<S> {
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers; the decoder put an `XtoM` into `imm`.
        unsafe {
            let c = &mut *cpu;
            if c.fpu.pending() {
                return Err(raise(cx, FaultKind::FloatingPoint));
            }
            let v = S::get::<F>(op, cpu, cx)?;
            let f = std::mem::transmute::<usize, XtoM>((*op).imm() as usize);
            c.fpu.enter_mmx();
            let r = f(&mut c.mxcsr, v).map_err(|Xm| raise(cx, FaultKind::SimdFloatingPoint))?;
            c.fpu.set_mm(usize::from((*op).a), r);
            Ok(())
        }
    }
}

/// Out of an MMX register `a`: 0 to memory (`W`), 1 to general register `b` (`W`), 2 `pmovmskb`, 3 `pextrw`, 4
/// `movq2dq`, 5 `cvtpi2ps` (memory too), 6 `cvtpi2pd` (memory too), 7 `maskmovq`, 8 `emms`.
pub(crate) struct MmxOut<W, const K: u8>(PhantomData<W>);
impl<W: Word, const K: u8> Insn for MmxOut<W, K> {
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        use crate::vec::{convert, mmx};
        // SAFETY: the run's pointers.
        unsafe {
            let c = &mut *cpu;
            let mem = (*op).b == MEM;
            // Conversions from memory do not touch the x87.
            let apart = mem && (K == 5 || K == 6);
            if c.fpu.pending() && !apart {
                return Err(raise(cx, FaultKind::FloatingPoint));
            }
            let v = c.fpu.mm(usize::from((*op).a));
            match K {
                0 => store::<F, W>(cx, ea(op, cpu), W::from64(v))?,
                1 => set_reg(cpu, (*op).b, W::from64(v)),
                2 => set_reg(cpu, (*op).b, u64::from(mmx::pmovmskb(v))),
                3 => set_reg(cpu, (*op).b, u64::from(mmx::pextrw(v, (*op).x as u8))),
                4 => *xmm(cpu, (*op).b) = v.into(),
                5 | 6 => {
                    // Destination xmm[x]; the source is mm[a] or memory.
                    let v = if mem { load::<F, u64>(cx, ea(op, cpu))? } else { v };
                    if !apart {
                        c.fpu.enter_mmx();
                    }
                    let d = xmm(cpu, (*op).x as u8);
                    if K == 5 {
                        *d = convert::cvtpi2ps(&mut c.mxcsr, *d, v)
                            .map_err(|Xm| raise(cx, FaultKind::SimdFloatingPoint))?;
                    } else {
                        *d = convert::cvtpi2pd(v);
                    }
                    return Ok(());
                }
                7 => {
                    let va = c.gpr[crate::RDI].wrapping_add(reg::<u64>(cpu, (*op).index));
                    let mask = c.fpu.mm(usize::from((*op).x as u8)).to_le_bytes();
                    let bytes = v.to_le_bytes();
                    let chosen = || {
                        (0..8u64)
                            .zip(bytes)
                            .zip(mask)
                            .filter(|(_, m)| m & 0x80 != 0)
                            .map(|(v, _)| v)
                    };
                    for (i, _) in chosen() {
                        check_w(cx, va.wrapping_add(i), 1)?;
                    }
                    for (i, byte) in chosen() {
                        store::<F, u8>(cx, va.wrapping_add(i), byte)?;
                    }
                }
                _ => {
                    c.fpu.emms();
                    return Ok(());
                }
            }
            c.fpu.enter_mmx();
            Ok(())
        }
    }
}
