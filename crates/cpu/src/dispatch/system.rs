//! Flags, processor identification, state saving, and other instructions that are seldom hot.

use super::op::*;
use crate::fault::FaultKind;
use crate::flags::{self, CF};
use crate::{Cpu, RAX, RBP, RBX, RCX, RDX, RSP};

macro_rules! kinds {
    ($($(#[$m:meta])* $n:ident = $v:literal,)*) => { $(pub(crate) const $n: u32 = $v;)* };
}
kinds! {
    CLC = 0, STC = 1, CMC = 2, CLD = 3, STD = 4, LAHF = 5, SAHF = 6, PUSHF = 7, POPF = 8, CPUID = 9, RDTSC = 10,
    RDTSCP = 11, XGETBV = 12, XLAT = 13, ENTER = 14, FXSAVE = 15, FXRSTOR = 16, LDMXCSR = 17, STMXCSR = 18,
    RDFSBASE = 19, RDGSBASE = 20, WRFSBASE = 21, WRGSBASE = 22, RDPID = 23, PUSHFW = 24, POPFW = 25, FXSAVE32 = 26,
    FXRSTOR32 = 27,
}

/// The instruction that `Op::x` names.
pub(crate) struct System;

impl Insn for System {
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let c = &mut *cpu;
            match (*op).x & 0xff {
                CLC => c.set_arith(c.arith() & !CF),
                STC => c.set_arith(c.arith() | CF),
                CMC => c.set_arith(c.arith() ^ CF),
                CLD => c.fl_other &= !flags::DF,
                STD => c.fl_other |= flags::DF,
                LAHF => {
                    let f = c.arith() & super::alu::LOW_FLAGS | 2;
                    set_reg::<u8>(cpu, 1, f as u8);
                }
                SAHF => {
                    let ah = u32::from(reg::<u8>(cpu, 1));
                    c.set_arith(c.arith() & flags::OF | ah & super::alu::LOW_FLAGS);
                }
                PUSHF => {
                    let sp = c.gpr[RSP].wrapping_sub(8);
                    store::<F, u64>(cx, sp, c.rflags())?;
                    (*cpu).gpr[RSP] = sp;
                }
                PUSHFW => {
                    let sp = c.gpr[RSP].wrapping_sub(2);
                    store::<F, u16>(cx, sp, c.rflags() as u16)?;
                    (*cpu).gpr[RSP] = sp;
                }
                POPF => {
                    let v = load::<F, u64>(cx, c.gpr[RSP])?;
                    c.gpr[RSP] = c.gpr[RSP].wrapping_add(8);
                    c.set_rflags(v);
                }
                POPFW => {
                    let v = load::<F, u16>(cx, c.gpr[RSP])?;
                    c.gpr[RSP] = c.gpr[RSP].wrapping_add(2);
                    c.set_rflags(c.rflags() & !0xffff | u64::from(v));
                }
                CPUID => {
                    let r = (*(*cx).machine).leaf(c.gpr[RAX] as u32, c.gpr[RCX] as u32);
                    for (i, v) in [RAX, RBX, RCX, RDX].into_iter().zip(r) {
                        c.gpr[i] = u64::from(v);
                    }
                }
                k @ (RDTSC | RDTSCP) => {
                    // `spare` was set by `tsc` to the instructions retired before this one.
                    let t = (*(*cx).machine).tsc(c.spare);
                    c.gpr[RAX] = t & 0xffff_ffff;
                    c.gpr[RDX] = t >> 32;
                    if k == RDTSCP {
                        c.gpr[RCX] = u64::from((*(*cx).machine).tsc_aux);
                    }
                }
                RDPID => set_reg(cpu, (*op).b, u64::from((*(*cx).machine).tsc_aux)),
                XGETBV => {
                    let m = &*(*cx).machine;
                    if !m.has_osxsave() {
                        return Err(raise(cx, FaultKind::InvalidOpcode));
                    }
                    if c.gpr[RCX] as u32 != 0 {
                        return Err(raise(cx, FaultKind::GeneralProtection));
                    }
                    c.gpr[RAX] = m.xcr0 & 0xffff_ffff;
                    c.gpr[RDX] = m.xcr0 >> 32;
                }
                XLAT => {
                    let at = c.gpr[RBX].wrapping_add(c.gpr[RAX] & 0xff);
                    let at = if (*op).x & 0x100 != 0 {
                        at & 0xffff_ffff
                    } else {
                        at
                    };
                    let v = load::<F, u8>(cx, at.wrapping_add(reg::<u64>(cpu, (*op).index)))?;
                    set_reg(cpu, 0, v);
                }
                ENTER => {
                    let (size, level) = ((*op).imm() & 0xffff, (*op).imm() >> 16 & 31);
                    let frame = c.gpr[RSP].wrapping_sub(8);
                    let top = frame.wrapping_sub(8 * level);
                    for i in 0..=level {
                        check_w(cx, frame.wrapping_sub(8 * i), 8)?;
                    }
                    // The processor also probes the new top for writing.
                    check_w(cx, top.wrapping_sub(size), 8)?;
                    let old = c.gpr[RBP];
                    store::<F, u64>(cx, frame, old)?;
                    // Frames may overlap what is pushed.
                    for i in 1..level {
                        let v = load::<F, u64>(cx, old.wrapping_sub(8 * i))?;
                        store::<F, u64>(cx, frame.wrapping_sub(8 * i), v)?;
                    }
                    if level > 0 {
                        store::<F, u64>(cx, top, frame)?;
                    }
                    c.gpr[RBP] = frame;
                    c.gpr[RSP] = top.wrapping_sub(size);
                }
                k @ (FXSAVE | FXSAVE32) => {
                    let va = aligned(op, cpu, cx)?;
                    let mut image = c.fxsave();
                    if k == FXSAVE32 {
                        // Pointers are a selector and 32 bits of offset.
                        image[12..16].fill(0);
                        image[20..24].fill(0);
                    }
                    // The last 96 bytes are the program's own and stay.
                    check_w(cx, va, 416)?;
                    write_bytes(cx, va, &image[..416])?;
                }
                FXRSTOR | FXRSTOR32 => {
                    let va = aligned(op, cpu, cx)?;
                    let mut image = [0; 512];
                    read_bytes(cx, va, &mut image)?;
                    if image[26] != 0 || image[27] != 0 {
                        return Err(raise(cx, FaultKind::GeneralProtection));
                    }
                    c.fxrstor(&image);
                }
                LDMXCSR => {
                    let v = load::<F, u32>(cx, ea(op, cpu))?;
                    if v & !0xffff != 0 {
                        return Err(raise(cx, FaultKind::GeneralProtection));
                    }
                    c.mxcsr = v;
                }
                STMXCSR => store::<F, u32>(cx, ea(op, cpu), c.mxcsr)?,
                k @ RDFSBASE..=WRGSBASE => {
                    if !(*(*cx).machine).has_fsgsbase() {
                        return Err(raise(cx, FaultKind::InvalidOpcode));
                    }
                    let wide = (*op).x & 0x100 != 0;
                    let cut = |v: u64| if wide { v } else { v & 0xffff_ffff };
                    let base = if matches!(k, RDFSBASE | WRFSBASE) { FS } else { GS };
                    if matches!(k, RDFSBASE | RDGSBASE) {
                        set_reg(cpu, (*op).b, cut(reg(cpu, base)));
                    } else {
                        let v = cut(reg(cpu, (*op).b));
                        if v.wrapping_add(1 << 47) >> 48 != 0 {
                            return Err(raise(cx, FaultKind::GeneralProtection));
                        }
                        set_reg(cpu, base, v);
                    }
                }
                _ => return Err(raise(cx, FaultKind::InvalidOpcode)),
            }
            Ok(())
        }
    }
}

unsafe fn aligned(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<u64, Miss> {
    // SAFETY: the run's pointers.
    unsafe {
        let va = ea(op, cpu);
        if va & 15 == 0 {
            Ok(va)
        } else {
            Err(raise(cx, FaultKind::GeneralProtection))
        }
    }
}

/// `rdtsc`, `rdtscp`: needs to know how many instructions have retired.
pub(crate) unsafe fn tsc(op: *const Op, cpu: *mut Cpu, cx: *mut Cx, b: i64) -> Ret {
    // SAFETY: the run's pointers.
    unsafe {
        let spent = (*cx).start_budget - (b + i64::from((*op).left));
        (*cpu).spare = (*cx).start_retired.wrapping_add(spent as u64);
        step::<false, System>(op, cpu, cx, b)
    }
}
