//! The decoded operation, the context of a run, and how a handler reaches registers, memory and the next handler.
//!
//! A handler is `fn(op, cpu, cx, budget) -> Ret`. With `F` (fast) it calls the next handler in tail position; without,
//! it returns the next operation to the loop. A fast handler that misses the translation cache calls the other form of
//! itself in tail position, so that the fast form makes no ordinary calls and keeps no stack frame.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fault::{Fault, FaultKind};
use crate::flags;
use crate::memory::{PageRef, Prot, Space};
use crate::{Cpu, Machine};

use super::code::PageCode;

/// What a handler returns: the next operation (null: the run loop decides by `Cx::why`). The budget left is in `Cx::b`.
///
/// One scalar on purpose: the optimiser makes no jumps of calls whose results are pairs that meet in one return.
#[repr(transparent)]
pub(crate) struct Ret(pub *const Op);

pub(crate) type Handler = unsafe fn(*const Op, *mut Cpu, *mut Cx, i64) -> Ret;

/// 32 bytes. `a`, `b`, `base` and `index` are byte offsets of general registers in `Cpu`, or numbers of xmm registers.
#[repr(C)]
pub(crate) struct Op {
    pub h: Handler,
    /// Immediate, function pointer, or link to another operation of the same page (published once).
    pub imm: AtomicU64,
    pub disp: i32,
    pub x: u32,
    pub a: u8,
    pub b: u8,
    pub base: u8,
    pub index: u8,
    /// Offset of the instruction in its page.
    pub pc: u16,
    /// Instructions from this one to the block's end, this one included.
    pub left: u8,
    pub scale: u8,
}

const _: () = assert!(size_of::<Op>() == 32);

/// Offset of the always-zero register.
pub(crate) const ZERO: u8 = 152;
/// Offset of the page base.
pub(crate) const PAGE: u8 = 144;
/// Offset of the FS base.
pub(crate) const FS: u8 = 128;
/// Offset of the GS base.
pub(crate) const GS: u8 = 136;
/// Offset of the scratch address.
pub(crate) const TMP: u8 = 160;
/// In `Op::b`: the operand is memory.
pub(crate) const MEM: u8 = 0xff;

const _: () = {
    assert!(std::mem::offset_of!(Cpu, gpr) == 0);
    assert!(std::mem::offset_of!(Cpu, zero) == ZERO as usize);
    assert!(std::mem::offset_of!(Cpu, page) == PAGE as usize);
    assert!(std::mem::offset_of!(Cpu, fs_base) == FS as usize);
    assert!(std::mem::offset_of!(Cpu, gs_base) == GS as usize);
    assert!(std::mem::offset_of!(Cpu, tmp) == TMP as usize);
};

/// One cached translation; a tag of 1 matches nothing.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Tlb {
    pub r: u64,
    pub w: u64,
    /// Host pointer of the page minus its guest address.
    pub base: *mut u8,
    pad: u64,
}

pub(crate) const TLB_NONE: Tlb = Tlb {
    r: 1,
    w: 1,
    base: std::ptr::null_mut(),
    pad: 0,
};
pub(crate) const TLB_SIZE: usize = 256;
pub(crate) const PCS_SIZE: usize = 4096;

/// One cached place to go: guest address and its first operation.
#[derive(Clone, Copy)]
pub(crate) struct Pc {
    pub va: u64,
    pub op: *const Op,
}

/// Whose code a page has: number of the page in the space, and the code that was decoded from it.
#[derive(Clone, Copy)]
pub(crate) struct Decoded {
    pub vpn: u64,
    pub code: *const PageCode,
}

pub(crate) const DECODED_NONE: Decoded = Decoded {
    vpn: u64::MAX,
    code: std::ptr::null(),
};
pub(crate) const DECODED_SIZE: usize = 128;

/// Why a handler returned no operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// Find the code at `rip` and go on.
    Enter,
    /// The budget does not cover the block at `rip`.
    Short,
    Syscall,
    Fault,
    /// The budget is spent in the middle of a repeated instruction.
    Spent,
    /// As Fault, with `rip` already behind the instruction.
    Trap,
}

/// One thread's caches for one address space, and the state of a run.
#[repr(C)]
pub(crate) struct Cx {
    pub tlb: [Tlb; TLB_SIZE],
    pub pcs: [Pc; PCS_SIZE],
    pub decoded: [Decoded; DECODED_SIZE],
    pub space: *mut Space,
    pub machine: *mut Machine,
    pub why: Why,
    /// Budget left when a handler returned.
    pub b: i64,
    /// A store hit decoded code: leave the block.
    pub dirty: bool,
    /// Which dispatcher's code is run.
    pub kind: usize,
    /// No block outlives its run.
    pub forgets: bool,
    pub fault: Fault,
    /// Link to fill when the code at `rip` has been found in the same page.
    pub link: *const AtomicU64,
    /// Budget and retired instructions when the run began.
    pub start_budget: i64,
    pub start_retired: u64,
    /// Code that was taken away during the run; freed at its end.
    #[expect(clippy::vec_box, reason = "pointers into the boxes outlive the move")]
    pub old_code: Vec<Box<PageCode>>,
    pub old_pages: Vec<PageRef>,
    pub old_ops: Vec<Box<[Op]>>,
    /// Code of instructions that lie on two pages.
    pub cross: HashMap<u64, Box<[Op]>>,
    /// Whose caches these are: the space's id, and its numbers of generation, code and text when they were filled.
    pub space_id: u64,
    pub generation: u64,
    pub code: u64,
    pub text: u64,
    pub epoch: u64,
    pub used: u64,
}

/// The operation cannot go on here: a miss of the cache (fast) or a fault (slow; `Cx::fault` says which).
pub(crate) struct Miss;

/// An operand width.
pub(crate) trait Word: Copy + 'static {
    const LOG: u32;
    const N: u64 = 1 << Self::LOG;
    const BITS: u32 = 8 << Self::LOG;
    fn from64(v: u64) -> Self;
    fn to64(self) -> u64;
}

macro_rules! words {
    ($($t:ty, $l:literal;)*) => {$(
        impl Word for $t {
            const LOG: u32 = $l;
            #[inline(always)]
            fn from64(v: u64) -> Self { v as $t }
            #[inline(always)]
            fn to64(self) -> u64 { self as u64 }
        }
    )*};
}
words! { u8, 0; u16, 1; u32, 2; u64, 3; u128, 4; }

/// Sign-extends a `W`.
#[inline(always)]
pub(crate) fn sx<W: Word>(v: W) -> u64 {
    let sh = 64 - W::BITS;
    ((v.to64() << sh) as i64 >> sh) as u64
}

#[inline(always)]
pub(crate) unsafe fn reg<W: Word>(cpu: *mut Cpu, off: u8) -> W {
    // SAFETY: offsets are made by the decoder: inside `Cpu`'s integer registers, aligned for W except high bytes.
    unsafe { cpu.cast::<u8>().add(off as usize).cast::<W>().read_unaligned() }
}

#[inline(always)]
pub(crate) unsafe fn set_reg<W: Word>(cpu: *mut Cpu, off: u8, v: W) {
    // SAFETY: as in `reg`. A 32-bit result clears the upper half.
    unsafe {
        let p = cpu.cast::<u8>().add(off as usize);
        if W::LOG == 2 {
            p.cast::<u64>().write_unaligned(v.to64());
        } else {
            p.cast::<W>().write_unaligned(v);
        }
    }
}

impl Op {
    #[inline(always)]
    pub fn imm(&self) -> u64 {
        self.imm.load(Ordering::Relaxed)
    }
}

/// Effective address: base + displacement.
#[inline(always)]
pub(crate) unsafe fn ea_base(op: *const Op, cpu: *mut Cpu) -> u64 {
    // SAFETY: `op` is a decoded operation.
    unsafe { reg::<u64>(cpu, (*op).base).wrapping_add((*op).disp as i64 as u64) }
}

/// Effective address: base + index << scale + displacement.
#[inline(always)]
pub(crate) unsafe fn ea(op: *const Op, cpu: *mut Cpu) -> u64 {
    // SAFETY: as in `ea_base`.
    unsafe { ea_base(op, cpu).wrapping_add(reg::<u64>(cpu, (*op).index) << ((*op).scale & 63)) }
}

#[inline(always)]
unsafe fn entry(cx: *mut Cx, va: u64) -> *const Tlb {
    // SAFETY: the masked index stays inside `tlb`.
    unsafe {
        (&raw const (*cx).tlb)
            .cast::<u8>()
            .add((va >> 7) as usize & ((TLB_SIZE - 1) << 5))
            .cast::<Tlb>()
    }
}

/// Host pointer for a read of `n` bytes inside one page.
#[inline(always)]
pub(crate) unsafe fn probe_r(cx: *mut Cx, va: u64, n: u64) -> Option<*const u8> {
    // SAFETY: a matching tag means that `base` belongs to a page that the space keeps alive.
    unsafe {
        let e = entry(cx, va);
        if (*e).r == va.wrapping_add(n - 1) & !0xfff {
            Some((*e).base.wrapping_add(va as usize))
        } else {
            None
        }
    }
}

/// Host pointer for a write of `n` bytes inside one page.
#[inline(always)]
pub(crate) unsafe fn probe_w(cx: *mut Cx, va: u64, n: u64) -> Option<*mut u8> {
    // SAFETY: as in `probe_r`; a write tag is only set for pages that may be written in place and have no code.
    unsafe {
        let e = entry(cx, va);
        if (*e).w == va.wrapping_add(n - 1) & !0xfff {
            Some((*e).base.wrapping_add(va as usize))
        } else {
            None
        }
    }
}

#[inline(always)]
pub(crate) unsafe fn load<const F: bool, W: Word>(cx: *mut Cx, va: u64) -> Result<W, Miss> {
    // SAFETY: the probe gave room for W.
    unsafe {
        if let Some(p) = probe_r(cx, va, W::N) {
            return Ok(p.cast::<W>().read_unaligned());
        }
        if F { Err(Miss) } else { slow_load(cx, va) }
    }
}

#[inline(always)]
pub(crate) unsafe fn store<const F: bool, W: Word>(cx: *mut Cx, va: u64, v: W) -> Result<(), Miss> {
    // SAFETY: the probe gave room for W.
    unsafe {
        if let Some(p) = probe_w(cx, va, W::N) {
            p.cast::<W>().write_unaligned(v);
            return Ok(());
        }
        if F { Err(Miss) } else { slow_store(cx, va, v) }
    }
}

/// Loads for an instruction that will store to the same place: the store is known to succeed afterwards.
#[inline(always)]
pub(crate) unsafe fn load_rw<const F: bool, W: Word>(cx: *mut Cx, va: u64) -> Result<W, Miss> {
    // SAFETY: as in `load`; a page that may be written may be read.
    unsafe {
        if let Some(p) = probe_w(cx, va, W::N) {
            return Ok(p.cast::<W>().read_unaligned());
        }
        if F {
            return Err(Miss);
        }
        check_w(cx, va, W::N)?;
        slow_load(cx, va)
    }
}

/// Faults as a write of `n` bytes at `va` would, without writing.
#[inline(never)]
pub(crate) unsafe fn check_w(cx: *mut Cx, va: u64, n: u64) -> Result<(), Miss> {
    // SAFETY: `cx` is the run's context.
    unsafe {
        fill_w(cx, va, false)?;
        let end = va.wrapping_add(n - 1);
        if (end ^ va) & !0xfff != 0 {
            fill_w(cx, end & !0xfff, false)?;
        }
    }
    Ok(())
}

#[cold]
#[inline(never)]
unsafe fn slow_load<W: Word>(cx: *mut Cx, va: u64) -> Result<W, Miss> {
    let mut buf = [0u8; 16];
    // SAFETY: W has at most 16 bytes.
    unsafe {
        read_bytes(cx, va, &mut buf[..W::N as usize])?;
        Ok(buf.as_ptr().cast::<W>().read_unaligned())
    }
}

#[cold]
#[inline(never)]
unsafe fn slow_store<W: Word>(cx: *mut Cx, va: u64, v: W) -> Result<(), Miss> {
    // SAFETY: W has N bytes.
    unsafe {
        write_bytes(
            cx,
            va,
            std::slice::from_raw_parts((&raw const v).cast::<u8>(), W::N as usize),
        )
    }
}

/// Reads guest memory of at most a page's length across at most two pages.
pub(crate) unsafe fn read_bytes(cx: *mut Cx, va: u64, buf: &mut [u8]) -> Result<(), Miss> {
    // SAFETY: `fill_r` gives a pointer that is good to the page's end.
    unsafe {
        let first = buf.len().min(4096 - (va & 0xfff) as usize);
        let p = fill_r(cx, va)?;
        if first < buf.len() {
            let q = fill_r(cx, va.wrapping_add(first as u64))?;
            std::ptr::copy_nonoverlapping(q, buf.as_mut_ptr().add(first), buf.len() - first);
        }
        std::ptr::copy_nonoverlapping(p, buf.as_mut_ptr(), first);
    }
    Ok(())
}

/// Writes guest memory across at most two pages, or nothing.
pub(crate) unsafe fn write_bytes(cx: *mut Cx, va: u64, buf: &[u8]) -> Result<(), Miss> {
    // SAFETY: `fill_w` gives a pointer that is good to the page's end.
    unsafe {
        let first = buf.len().min(4096 - (va & 0xfff) as usize);
        if first < buf.len() {
            fill_w(cx, va, false)?;
            let q = fill_w(cx, va.wrapping_add(first as u64), true)?;
            std::ptr::copy_nonoverlapping(buf.as_ptr().add(first), q, buf.len() - first);
        }
        let p = fill_w(cx, va, true)?;
        std::ptr::copy_nonoverlapping(buf.as_ptr(), p, first);
    }
    Ok(())
}

unsafe fn page_fault(cx: *mut Cx, va: u64, write: bool) -> Miss {
    // SAFETY: the run's context and its space.
    unsafe {
        (*cx).fault = if va.wrapping_add(1 << 47) >> 48 != 0 {
            Fault::new(FaultKind::GeneralProtection)
        } else {
            let present = va >> 47 == 0 && (*(*cx).space).entry(va >> 12).is_some();
            let error_code = u32::from(present) | if write { 2 } else { 0 } | 4;
            Fault {
                kind: FaultKind::Page,
                addr: va,
                error_code,
                done: 0,
            }
        };
    }
    Miss
}

/// Translates `va` for reading; the pointer is good to the page's end.
#[inline(never)]
pub(crate) unsafe fn fill_r(cx: *mut Cx, va: u64) -> Result<*const u8, Miss> {
    // SAFETY: the run's context and its space, which no one else uses during the run.
    unsafe {
        if let Some(p) = probe_r(cx, va, 1) {
            return Ok(p);
        }
        if va >> 47 == 0 {
            let space = &*(*cx).space;
            if let Some(e) = space.entry(va >> 12).filter(|e| !e.prot.is_empty()) {
                let slot = entry(cx, va).cast_mut();
                (*slot).r = va & !0xfff;
                (*slot).w = 1;
                (*slot).base = e.page.as_ptr().wrapping_sub((va & !0xfff) as usize);
                return Ok((*slot).base.wrapping_add(va as usize));
            }
        }
        Err(page_fault(cx, va, false))
    }
}

/// Translates `va` for writing, copying the page if others may see it. With `now` the caller writes at once: code
/// decoded from the page is taken away.
#[inline(never)]
pub(crate) unsafe fn fill_w(cx: *mut Cx, va: u64, now: bool) -> Result<*mut u8, Miss> {
    // SAFETY: as in `fill_r`. Code that is taken away is kept to the run's end.
    unsafe {
        if let Some(p) = probe_w(cx, va, 1) {
            return Ok(p);
        }
        if va >> 47 != 0 {
            return Err(page_fault(cx, va, true));
        }
        let space = &mut *(*cx).space;
        let Some(t) = space.writable(va >> 12) else {
            return Err(page_fault(cx, va, true));
        };
        let slot = entry(cx, va).cast_mut();
        (*slot).r = va & !0xfff;
        (*slot).base = t.ptr.wrapping_sub((va & !0xfff) as usize);
        (*slot).w = va & !0xfff;
        if let Some(old) = t.replaced {
            (*cx).generation = space.generation();
            (*cx).code = space.code();
            if old.has_code() {
                flush_code(cx);
            }
            (*cx).old_pages.push(old);
        }
        if let Some(page) = t.code {
            if now {
                let taken = page.take_code();
                (*cx).old_code.extend(taken);
                flush_code(cx);
            } else {
                // Not written yet: the next access must come here again.
                (*slot).w = 1;
            }
        }
        Ok(t.ptr.wrapping_add((va & 0xfff) as usize))
    }
}

/// Forgets every cached way into code; the block that runs is left after the present instruction.
pub(crate) unsafe fn flush_code(cx: *mut Cx) {
    // SAFETY: the run's context.
    unsafe {
        let cx = &mut *cx;
        cx.pcs.fill(super::PC_NONE);
        cx.decoded.fill(DECODED_NONE);
        let old = cx.cross.drain().map(|(_, v)| v);
        cx.old_ops.extend(old);
        cx.dirty = true;
        cx.epoch = crate::memory::invalidations();
    }
}

/// Goes to the operation `op`.
#[inline(always)]
pub(crate) unsafe fn go<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx, b: i64) -> Ret {
    // SAFETY: `op` is a decoded operation of code that lives to the run's end.
    unsafe {
        if F && !cfg!(feature = "counts") {
            ((*op).h)(op, cpu, cx, b)
        } else {
            (*cx).b = b;
            Ret(op)
        }
    }
}

/// Ends the handler chain.
#[inline(always)]
pub(crate) unsafe fn stop(cx: *mut Cx, why: Why, b: i64) -> Ret {
    // SAFETY: the run's context.
    unsafe {
        (*cx).why = why;
        (*cx).b = b;
    }
    Ret(std::ptr::null())
}

/// Ends the run with `Cx::fault` at this instruction.
#[cold]
pub(crate) unsafe fn fault(op: *const Op, cpu: *mut Cpu, cx: *mut Cx, b: i64) -> Ret {
    // SAFETY: as in `go`.
    unsafe {
        (*cpu).rip = (*cpu).page.wrapping_add(u64::from((*op).pc));
        stop(cx, Why::Fault, b + i64::from((*op).left))
    }
}

/// Sets the fault for [`Miss`].
pub(crate) unsafe fn raise(cx: *mut Cx, kind: FaultKind) -> Miss {
    // SAFETY: the run's context.
    unsafe { (*cx).fault = Fault::new(kind) };
    Miss
}

/// An instruction that goes on to the one behind it. `exec` has no effect when it returns `Miss`.
pub(crate) trait Insn {
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss>;
}

/// The handler of an [`Insn`].
pub(crate) unsafe fn step<const F: bool, I: Insn>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx, b: i64) -> Ret {
    // SAFETY: the caller's pointers are the run's; `op` has a successor, for a block ends with a jump.
    unsafe {
        match I::exec::<F>(op, cpu, cx) {
            Ok(()) => go::<F>(op.add(1), cpu, cx, b),
            Err(Miss) => missed::<F>(op, cpu, cx, b, step::<false, I>),
        }
    }
}

/// Where a handler cannot go on: the fast one goes on in its slow `form`, that one ends the run with its fault.
#[inline(always)]
pub(crate) unsafe fn missed<const F: bool>(
    op: *const Op,
    cpu: *mut Cpu,
    cx: *mut Cx,
    b: i64,
    form: Handler,
) -> Ret {
    // SAFETY: the caller's.
    unsafe {
        if F {
            otherwise(op, cpu, cx, b, form)
        } else {
            fault(op, cpu, cx, b)
        }
    }
}

/// Goes on in the other form of a handler, which is not to be made part of the fast one: that would keep a frame for its calls, and
/// save registers each time it runs.
#[cold]
#[inline(never)]
unsafe fn otherwise(op: *const Op, cpu: *mut Cpu, cx: *mut Cx, b: i64, form: Handler) -> Ret {
    // SAFETY: the caller's.
    unsafe { form(op, cpu, cx, b) }
}

/// Sets the lazy flags: operands of width `W`, and what was done with them ([`flags`]).
#[inline(always)]
pub(crate) unsafe fn lazy<W: Word>(cpu: *mut Cpu, kind: u32, a: u64, b: u64) {
    // SAFETY: the caller's.
    unsafe { lazy_of(cpu, W::LOG, kind, a, b) }
}

/// As [`lazy`], of operands of `8 << w` bits.
#[inline(always)]
pub(crate) unsafe fn lazy_of(cpu: *mut Cpu, w: u32, kind: u32, a: u64, b: u64) {
    // SAFETY: the run's registers.
    unsafe {
        (*cpu).fl_kind = kind + w;
        (*cpu).fl_a = a << flags::top(w);
        (*cpu).fl_b = if kind < flags::INC { b << flags::top(w) } else { b };
    }
}

/// Whether the condition holds now. The fast form answers for what usually precedes a condition.
#[inline(always)]
pub(crate) unsafe fn cond<const F: bool>(cpu: *mut Cpu, cc: u8) -> Result<bool, Miss> {
    // SAFETY: the run's registers.
    unsafe {
        let (k, a, b) = ((*cpu).fl_kind, (*cpu).fl_a, (*cpu).fl_b);
        if cc >> 1 != 5 && k.wrapping_sub(flags::LOGIC) < 8 {
            return Ok(compare(cc, a, b, 0));
        }
        // What one flag decides.
        let negated = cc & 1 != 0;
        if k == flags::EAGER {
            let mask = match cc >> 1 {
                1 => flags::CF,
                2 => flags::ZF,
                3 => flags::CF | flags::ZF,
                4 => flags::SF,
                5 => flags::PF,
                _ => 0,
            };
            if mask != 0 {
                return Ok((a as u32 & mask != 0) != negated);
            }
        } else if k >= flags::INC {
            match cc >> 1 {
                1 => return Ok((b != 0) != negated),
                2 | 4 => return Ok(compare(cc, a, 0, 0)),
                _ => {}
            }
        } else if k < flags::ADC1 {
            let sum = a.wrapping_add(b);
            match cc >> 1 {
                1 => return Ok((sum < a) != negated),
                2 | 4 => return Ok(compare(cc, sum, 0, 0)),
                _ => {}
            }
        }
        if F { Err(Miss) } else { Ok(slow_cond(cpu, cc)) }
    }
}

#[inline(never)]
unsafe fn slow_cond(cpu: *mut Cpu, cc: u8) -> bool {
    // SAFETY: the run's registers.
    unsafe { flags::condition(cc, (*cpu).arith()) }
}

/// The condition after comparing `a` with `b` (both shifted to the top); `low` has the difference's low byte.
#[inline(always)]
pub(crate) fn compare(cc: u8, a: u64, b: u64, low: u64) -> bool {
    let d = a.wrapping_sub(b);
    let v = match cc >> 1 {
        0 => ((a ^ b) & (a ^ d)) >> 63 != 0,
        1 => a < b,
        2 => a == b,
        3 => a <= b,
        4 => (d as i64) < 0,
        5 => flags::parity(low) != 0,
        6 => (a as i64) < b as i64,
        _ => (a as i64) <= b as i64,
    };
    v != (cc & 1 != 0)
}

/// Where an operand is.
pub(crate) trait Loc {
    unsafe fn get<const F: bool, W: Word>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<W, Miss>;
    unsafe fn get_rw<const F: bool, W: Word>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<W, Miss> {
        // SAFETY: the caller's.
        unsafe { Self::get::<F, W>(op, cpu, cx) }
    }
    unsafe fn set<const F: bool, W: Word>(
        op: *const Op,
        cpu: *mut Cpu,
        cx: *mut Cx,
        v: W,
    ) -> Result<(), Miss>;
}

/// The register at `Op::a`.
pub(crate) struct Ra;
/// The register at `Op::b`.
pub(crate) struct Rb;
/// `Op::imm`.
pub(crate) struct Im;
/// Memory at base + displacement.
pub(crate) struct Mb;
/// Memory at base + index + displacement.
pub(crate) struct Mx;
/// The register at `Op::b`, or memory if `b` is [`MEM`].
pub(crate) struct Rm;

macro_rules! register_loc {
    ($t:ty, $f:ident) => {
        impl Loc for $t {
            #[inline(always)]
            unsafe fn get<const F: bool, W: Word>(
                op: *const Op,
                cpu: *mut Cpu,
                _: *mut Cx,
            ) -> Result<W, Miss> {
                // SAFETY: see `reg`.
                Ok(unsafe { reg(cpu, (*op).$f) })
            }
            #[inline(always)]
            unsafe fn set<const F: bool, W: Word>(
                op: *const Op,
                cpu: *mut Cpu,
                _: *mut Cx,
                v: W,
            ) -> Result<(), Miss> {
                // SAFETY: see `set_reg`.
                unsafe { set_reg(cpu, (*op).$f, v) };
                Ok(())
            }
        }
    };
}
register_loc!(Ra, a);
register_loc!(Rb, b);

/// From the register at `Op::base` to the one at `Op::a`: what a move in front of an operation makes of its destination.
pub(crate) struct Via;

impl Loc for Via {
    #[inline(always)]
    unsafe fn get<const F: bool, W: Word>(op: *const Op, cpu: *mut Cpu, _: *mut Cx) -> Result<W, Miss> {
        // SAFETY: see `reg`.
        Ok(unsafe { reg(cpu, (*op).base) })
    }
    #[inline(always)]
    unsafe fn set<const F: bool, W: Word>(
        op: *const Op,
        cpu: *mut Cpu,
        cx: *mut Cx,
        v: W,
    ) -> Result<(), Miss> {
        // SAFETY: the caller's.
        unsafe { Ra::set::<F, W>(op, cpu, cx, v) }
    }
}

macro_rules! memory_loc {
    ($t:ty, $ea:ident) => {
        impl Loc for $t {
            #[inline(always)]
            unsafe fn get<const F: bool, W: Word>(
                op: *const Op,
                cpu: *mut Cpu,
                cx: *mut Cx,
            ) -> Result<W, Miss> {
                // SAFETY: the caller's.
                unsafe { load::<F, W>(cx, $ea(op, cpu)) }
            }
            #[inline(always)]
            unsafe fn get_rw<const F: bool, W: Word>(
                op: *const Op,
                cpu: *mut Cpu,
                cx: *mut Cx,
            ) -> Result<W, Miss> {
                // SAFETY: the caller's.
                unsafe { load_rw::<F, W>(cx, $ea(op, cpu)) }
            }
            #[inline(always)]
            unsafe fn set<const F: bool, W: Word>(
                op: *const Op,
                cpu: *mut Cpu,
                cx: *mut Cx,
                v: W,
            ) -> Result<(), Miss> {
                // SAFETY: the caller's.
                unsafe { store::<F, W>(cx, $ea(op, cpu), v) }
            }
        }
    };
}
memory_loc!(Mb, ea_base);
memory_loc!(Mx, ea);

impl Loc for Im {
    #[inline(always)]
    unsafe fn get<const F: bool, W: Word>(op: *const Op, _: *mut Cpu, _: *mut Cx) -> Result<W, Miss> {
        // SAFETY: `op` is a decoded operation.
        Ok(W::from64(unsafe { (*op).imm() }))
    }
    #[inline(always)]
    unsafe fn set<const F: bool, W: Word>(_: *const Op, _: *mut Cpu, _: *mut Cx, _: W) -> Result<(), Miss> {
        Ok(())
    }
}

impl Loc for Rm {
    #[inline(always)]
    unsafe fn get<const F: bool, W: Word>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<W, Miss> {
        // SAFETY: the caller's.
        unsafe {
            if (*op).b == MEM {
                Mx::get::<F, W>(op, cpu, cx)
            } else {
                Rb::get::<F, W>(op, cpu, cx)
            }
        }
    }
    #[inline(always)]
    unsafe fn get_rw<const F: bool, W: Word>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<W, Miss> {
        // SAFETY: the caller's.
        unsafe {
            if (*op).b == MEM {
                Mx::get_rw::<F, W>(op, cpu, cx)
            } else {
                Rb::get::<F, W>(op, cpu, cx)
            }
        }
    }
    #[inline(always)]
    unsafe fn set<const F: bool, W: Word>(
        op: *const Op,
        cpu: *mut Cpu,
        cx: *mut Cx,
        v: W,
    ) -> Result<(), Miss> {
        // SAFETY: the caller's.
        unsafe {
            if (*op).b == MEM {
                Mx::set::<F, W>(op, cpu, cx, v)
            } else {
                Rb::set::<F, W>(op, cpu, cx, v)
            }
        }
    }
}

/// Entry rights for execution.
pub(crate) fn executable(prot: Prot) -> bool {
    prot.contains(Prot::EXEC)
}
