//! Jumps, calls and returns: everything that ends a block.

use std::sync::atomic::{AtomicU64, Ordering};

use super::op::*;
use crate::fault::FaultKind;
use crate::flags;
use crate::{Cpu, RCX, RSP};

/// Enters the block at `op`, whose address is `va`, if the budget covers it.
#[inline(always)]
pub(crate) unsafe fn enter<const F: bool>(op: *const Op, va: u64, cpu: *mut Cpu, cx: *mut Cx, b: i64) -> Ret {
    // SAFETY: `op` is the first operation of a block of code that lives to the run's end.
    unsafe {
        let rest = b - i64::from((*op).left);
        if rest < 0 {
            return short(va, cpu, cx, b);
        }
        go::<F>(op, cpu, cx, rest)
    }
}

/// What it returns is hidden from the optimiser: a caller that knew it would come back here to return it itself, and keep a frame for that.
#[cold]
#[inline(never)]
unsafe fn short(va: u64, cpu: *mut Cpu, cx: *mut Cx, b: i64) -> Ret {
    // SAFETY: the run's pointers.
    unsafe {
        (*cpu).rip = va;
        Ret(std::hint::black_box(stop(cx, Why::Short, b).0))
    }
}

/// The slot of an address in the cache of places.
#[inline(always)]
pub(crate) fn pc_slot(va: u64) -> usize {
    (va ^ va >> 12) as usize & (PCS_SIZE - 1)
}

/// Goes to a guest address.
#[inline(always)]
pub(crate) unsafe fn jump_va<const F: bool>(va: u64, cpu: *mut Cpu, cx: *mut Cx, b: i64) -> Ret {
    // SAFETY: the slot is inside the table; a matching entry points to code that lives to the run's end.
    unsafe {
        let e = &raw const (*cx).pcs[pc_slot(va)];
        if (*e).va == va {
            (*cpu).page = va & !0xfff;
            return enter::<F>((*e).op, va, cpu, cx, b);
        }
        (*cpu).rip = va;
        stop(cx, Why::Enter, b)
    }
}

/// Goes to the page's address plus `rel`, through the link if it is known.
#[inline(always)]
pub(crate) unsafe fn jump<const F: bool>(
    link: *const AtomicU64,
    rel: i32,
    cpu: *mut Cpu,
    cx: *mut Cx,
    b: i64,
) -> Ret {
    // SAFETY: a link that is set points to an operation of the same page's code.
    unsafe {
        let t = (*link).load(Ordering::Acquire) as *const Op;
        if t.is_null() {
            return unlinked::<F>(link, cpu, cx, b, rel);
        }
        let rest = b - i64::from((*t).left);
        if rest < 0 {
            return short_rel(rel, cpu, cx, b);
        }
        go::<F>(t, cpu, cx, rest)
    }
}

#[cold]
#[inline(never)]
unsafe fn short_rel(rel: i32, cpu: *mut Cpu, cx: *mut Cx, b: i64) -> Ret {
    // SAFETY: the run's pointers.
    unsafe { short((*cpu).page.wrapping_add(rel as i64 as u64), cpu, cx, b) }
}

#[inline(never)]
unsafe fn unlinked<const F: bool>(
    link: *const AtomicU64,
    cpu: *mut Cpu,
    cx: *mut Cx,
    b: i64,
    rel: i32,
) -> Ret {
    // SAFETY: the run's pointers.
    unsafe {
        let va = (*cpu).page.wrapping_add(rel as i64 as u64);
        if (0..4096).contains(&rel) {
            (*cx).link = link;
            (*cpu).rip = va;
            return stop(cx, Why::Enter, b);
        }
        jump_va::<F>(va, cpu, cx, b)
    }
}

/// `jmp` to `disp`; also the end of a block that runs into the next.
pub(crate) unsafe fn jmp<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx, b: i64) -> Ret {
    // SAFETY: the run's pointers.
    unsafe { jump::<F>(&raw const (*op).imm, (*op).disp, cpu, cx, b) }
}

/// The two ways of a conditional jump: taken by `imm` to the second slot's `disp`, else by the second slot's `imm` to
/// its `x`.
#[inline(always)]
unsafe fn branch<const F: bool>(taken: bool, op: *const Op, cpu: *mut Cpu, cx: *mut Cx, b: i64) -> Ret {
    // SAFETY: the decoder puts a second slot behind every conditional jump.
    unsafe {
        let ext = op.add(1);
        if taken {
            jump::<F>(&raw const (*op).imm, (*ext).disp, cpu, cx, b)
        } else {
            jump::<F>(&raw const (*ext).imm, (*ext).x as i32, cpu, cx, b)
        }
    }
}

/// `jcc`.
pub(crate) unsafe fn jcc<const F: bool, const C: u8>(
    op: *const Op,
    cpu: *mut Cpu,
    cx: *mut Cx,
    b: i64,
) -> Ret {
    // SAFETY: the run's pointers.
    unsafe {
        match cond::<F>(cpu, C) {
            Ok(taken) => branch::<F>(taken, op, cpu, cx, b),
            Err(Miss) => missed::<F>(op, cpu, cx, b, jcc::<false, C>),
        }
    }
}

/// `cmp` (T = false) or `test` and the `jcc` behind it. The second operand `S` may be [`ImmX`].
pub(crate) unsafe fn fused<const F: bool, W: Word, D: Loc, S: Loc, const T: bool, const C: u8>(
    op: *const Op,
    cpu: *mut Cpu,
    cx: *mut Cx,
    b: i64,
) -> Ret {
    // SAFETY: the run's pointers.
    unsafe {
        let (x, y) = match (D::get::<F, W>(op, cpu, cx), S::get::<F, W>(op, cpu, cx)) {
            (Ok(x), Ok(y)) => (x.to64(), y.to64()),
            _ => return missed::<F>(op, cpu, cx, b, fused::<false, W, D, S, T, C>),
        };
        let sh = flags::top(W::LOG);
        let taken = if T {
            let r = x & y;
            lazy::<W>(cpu, flags::LOGIC, r, 0);
            compare(C, r << sh, 0, r)
        } else {
            lazy::<W>(cpu, flags::SUB, x, y);
            compare(C, x << sh, y << sh, x.wrapping_sub(y))
        };
        branch::<F>(taken, op, cpu, cx, b)
    }
}

/// The immediate in `Op::x`, sign-extended: for operations whose `imm` is a link.
pub(crate) struct ImmX;

impl Loc for ImmX {
    #[inline(always)]
    unsafe fn get<const F: bool, W: Word>(op: *const Op, _: *mut Cpu, _: *mut Cx) -> Result<W, Miss> {
        // SAFETY: `op` is a decoded operation.
        Ok(W::from64(unsafe { (*op).x } as i32 as i64 as u64))
    }
    #[inline(always)]
    unsafe fn set<const F: bool, W: Word>(_: *const Op, _: *mut Cpu, _: *mut Cx, _: W) -> Result<(), Miss> {
        Ok(())
    }
}

/// `loop`, `loope`, `loopne`, `jrcxz` (x = 0..=3; bit 8: ECX).
pub(crate) unsafe fn loop_cx(op: *const Op, cpu: *mut Cpu, cx: *mut Cx, b: i64) -> Ret {
    // SAFETY: the run's pointers.
    unsafe {
        let short = (*op).x & 0x100 != 0;
        let mask = if short { 0xffff_ffff } else { u64::MAX };
        let mut c = (*cpu).gpr[RCX] & mask;
        let kind = (*op).x & 3;
        let taken = if kind == 3 {
            c == 0
        } else {
            c = c.wrapping_sub(1) & mask;
            (*cpu).gpr[RCX] = c;
            let z = (*cpu).arith() & flags::ZF != 0;
            c != 0 && (kind == 0 || z == (kind == 1))
        };
        branch::<false>(taken, op, cpu, cx, b)
    }
}

/// `call` to `disp`; the return address is the page's plus `x`.
pub(crate) unsafe fn call<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx, b: i64) -> Ret {
    // SAFETY: the run's pointers.
    unsafe {
        let ret = (*cpu).page.wrapping_add((*op).x as i32 as i64 as u64);
        let sp = (*cpu).gpr[RSP].wrapping_sub(8);
        if store::<F, u64>(cx, sp, ret).is_err() {
            return missed::<F>(op, cpu, cx, b, call::<false>);
        }
        (*cpu).gpr[RSP] = sp;
        jump::<F>(&raw const (*op).imm, (*op).disp, cpu, cx, b)
    }
}

/// Whether a branch may go there; if not, #GP at the branch.
#[inline(always)]
unsafe fn reachable<const F: bool>(to: u64, cx: *mut Cx) -> bool {
    if F {
        // Addresses of the upper half are left to the slow form.
        return to >> 47 == 0;
    }
    // SAFETY: the run's context.
    unsafe {
        let good = to.wrapping_add(1 << 47) >> 48 == 0;
        if !good {
            raise(cx, FaultKind::GeneralProtection);
        }
        good
    }
}

/// `call S`.
pub(crate) unsafe fn call_to<const F: bool, S: Loc>(
    op: *const Op,
    cpu: *mut Cpu,
    cx: *mut Cx,
    b: i64,
) -> Ret {
    // SAFETY: the run's pointers.
    unsafe {
        let sp = (*cpu).gpr[RSP].wrapping_sub(8);
        let ret = (*cpu).page.wrapping_add((*op).x as i32 as i64 as u64);
        // The stack is checked before the target, and nothing is written if either is bad.
        if let Ok(to) = S::get::<F, u64>(op, cpu, cx)
            && (F || check_w(cx, sp, 8).is_ok())
            && reachable::<F>(to, cx)
            && store::<F, u64>(cx, sp, ret).is_ok()
        {
            (*cpu).gpr[RSP] = sp;
            return jump_va::<F>(to, cpu, cx, b);
        }
        missed::<F>(op, cpu, cx, b, call_to::<false, S>)
    }
}

/// `jmp S`.
pub(crate) unsafe fn jmp_to<const F: bool, S: Loc>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx, b: i64) -> Ret {
    // SAFETY: the run's pointers.
    unsafe {
        let Ok(to) = S::get::<F, u64>(op, cpu, cx) else {
            return missed::<F>(op, cpu, cx, b, jmp_to::<false, S>);
        };
        if !reachable::<F>(to, cx) {
            return missed::<F>(op, cpu, cx, b, jmp_to::<false, S>);
        }
        jump_va::<F>(to, cpu, cx, b)
    }
}

/// `ret`; the immediate is the stack adjustment, 8 included.
pub(crate) unsafe fn ret<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx, b: i64) -> Ret {
    // SAFETY: the run's pointers.
    unsafe {
        let sp = (*cpu).gpr[RSP];
        let Ok(to) = load::<F, u64>(cx, sp) else {
            return missed::<F>(op, cpu, cx, b, ret::<false>);
        };
        if !reachable::<F>(to, cx) {
            return missed::<F>(op, cpu, cx, b, ret::<false>);
        }
        (*cpu).gpr[RSP] = sp.wrapping_add((*op).imm());
        jump_va::<F>(to, cpu, cx, b)
    }
}

/// `syscall`; x: the offset of the next instruction.
pub(crate) unsafe fn syscall(op: *const Op, cpu: *mut Cpu, cx: *mut Cx, b: i64) -> Ret {
    // SAFETY: the run's pointers.
    unsafe {
        let next = (*cpu).page.wrapping_add((*op).x as i32 as i64 as u64);
        (*cpu).rip = next;
        (*cpu).gpr[RCX] = next;
        (*cpu).gpr[crate::R11] = (*cpu).rflags();
        stop(cx, Why::Syscall, b)
    }
}

/// An instruction that faults always: the kind is in `x`.
pub(crate) unsafe fn raise_op(op: *const Op, cpu: *mut Cpu, cx: *mut Cx, b: i64) -> Ret {
    // SAFETY: the run's pointers; `imm` is a pointer to a mnemonic's static text, or 0.
    unsafe {
        let kind = match (*op).x & 0xff {
            0 => FaultKind::InvalidOpcode,
            1 => FaultKind::GeneralProtection,
            2 => FaultKind::Breakpoint,
            _ => FaultKind::Debug,
        };
        if (*op).x & 0x100 != 0 {
            // A gap of ours: the mnemonic's number is the immediate.
            (*(*cx).machine).note_unimplemented(&super::lower::mnemonic_name((*op).imm()));
        }
        (*cx).fault = crate::Fault::new(kind);
        if matches!(kind, FaultKind::Breakpoint | FaultKind::Debug) {
            (*cpu).rip = (*cpu).page.wrapping_add((*op).disp as i64 as u64);
            return stop(cx, Why::Trap, b);
        }
        fault(op, cpu, cx, b)
    }
}

/// Leaves the block for the run loop at `disp`: after instructions that change how code runs.
pub(crate) unsafe fn leave_block(op: *const Op, cpu: *mut Cpu, cx: *mut Cx, b: i64) -> Ret {
    // SAFETY: the run's pointers.
    unsafe {
        (*cpu).rip = (*cpu).page.wrapping_add((*op).disp as i64 as u64);
        stop(cx, Why::Enter, b)
    }
}
