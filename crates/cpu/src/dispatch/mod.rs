//! Runs decoded code: the run loop, the search for code, and the caches of a thread.
//!
//! `op` has the operation and the ways of a handler to memory; `alu`, `shift`, `product`, `bits`, `moves`, `exchange`, `flow`, `string`,
//! `system`, `sse` and `fpu` have the handlers; `lower` makes operations of decoded instructions; `block` makes blocks; `code` keeps them
//! with their page.
//!
//! # What may never show
//! Blocks, links, caches and the dispatcher change nothing that a program or the kernel sees: a block is entered only
//! if the budget covers all of it, otherwise its instructions run one by one; a fault in its middle gives back what
//! was not retired; and flags are dropped only where nothing can stop between the two settings.
#![allow(unsafe_code)]

mod alu;
mod bits;
mod block;
mod code;
#[cfg(feature = "counts")]
mod counts;
mod exchange;
mod flow;
mod fpu;
mod lower;
mod lower_alu;
mod lower_fpu;
mod lower_fuse;
mod lower_insn;
mod lower_vec;
mod moves;
mod op;
mod product;
mod shift;
mod sse;
mod straight;
mod string;
mod superinstruction;
mod system;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ptr;
use std::sync::atomic::Ordering;

pub(crate) use code::PageCode;
#[cfg(feature = "counts")]
pub use counts::print_counts;

use crate::fault::{Exit, Fault, FaultKind};
use crate::machine::Dispatcher;
use crate::{Cpu, Machine, Space, flags};
use op::{Cx, DECODED_NONE, DECODED_SIZE, Decoded, Op, Pc, TLB_NONE, TLB_SIZE, Why};

/// Address spaces whose caches a thread keeps.
const SETS: usize = 12;
/// Instructions on two pages that are kept decoded for one address space.
const CROSS_MAX: usize = 1024;

thread_local! {
    static CACHES: RefCell<Vec<Box<Cx>>> = const { RefCell::new(Vec::new()) };
}

/// A cached place that is none.
const PC_NONE: Pc = Pc {
    va: u64::MAX,
    op: ptr::null(),
};

impl Cx {
    /// Made where it stays: its tables are larger than some threads' stacks.
    fn new() -> Box<Cx> {
        let mut made = Box::<Cx>::new_uninit();
        let cx = made.as_mut_ptr();
        // SAFETY: every field is written, each once, inside the allocation.
        unsafe {
            for n in 0..TLB_SIZE {
                (&raw mut (*cx).tlb[n]).write(TLB_NONE);
            }
            for n in 0..op::PCS_SIZE {
                (&raw mut (*cx).pcs[n]).write(PC_NONE);
            }
            for n in 0..DECODED_SIZE {
                (&raw mut (*cx).decoded[n]).write(DECODED_NONE);
            }
            (&raw mut (*cx).space).write(ptr::null_mut());
            (&raw mut (*cx).machine).write(ptr::null_mut());
            (&raw mut (*cx).why).write(Why::Enter);
            (&raw mut (*cx).b).write(0);
            (&raw mut (*cx).dirty).write(false);
            (&raw mut (*cx).kind).write(0);
            (&raw mut (*cx).forgets).write(false);
            (&raw mut (*cx).fault).write(Fault::new(FaultKind::InvalidOpcode));
            (&raw mut (*cx).link).write(ptr::null());
            (&raw mut (*cx).start_budget).write(0);
            (&raw mut (*cx).start_retired).write(0);
            (&raw mut (*cx).old_code).write(Vec::new());
            (&raw mut (*cx).old_pages).write(Vec::new());
            (&raw mut (*cx).old_ops).write(Vec::new());
            (&raw mut (*cx).cross).write(HashMap::new());
            (&raw mut (*cx).space_id).write(0);
            (&raw mut (*cx).generation).write(0);
            (&raw mut (*cx).code).write(0);
            (&raw mut (*cx).text).write(0);
            (&raw mut (*cx).epoch).write(0);
            (&raw mut (*cx).used).write(0);
            made.assume_init()
        }
    }

    fn flush_places(&mut self) {
        self.pcs.fill(PC_NONE);
        self.decoded.fill(DECODED_NONE);
        self.cross.clear();
    }

    fn flush_all(&mut self) {
        self.tlb.fill(TLB_NONE);
        self.flush_places();
    }

    /// Takes over where code is from the caches of a space that has the same.
    fn take_places(&mut self, from: &Cx) {
        self.pcs = from.pcs;
        self.decoded = from.decoded;
        self.cross.clear();
        for va in from.cross.keys() {
            let slot = &mut self.pcs[flow::pc_slot(*va)];
            if slot.va == *va {
                *slot = PC_NONE;
            }
        }
    }
}

/// The thread's caches for a space, fresh if it has none.
fn take(space: &Space, kind: usize) -> Box<Cx> {
    let epoch = crate::memory::invalidations();
    let cx = CACHES.with(|c| {
        let mut sets = c.try_borrow_mut().ok()?;
        if let Some(i) = sets
            .iter()
            .position(|s| s.space_id == space.id() && s.kind == kind)
        {
            return Some(sets.swap_remove(i));
        }
        let mut cx = if sets.len() >= SETS {
            let oldest = sets
                .iter()
                .enumerate()
                .filter(|(_, s)| s.space_id != space.origin())
                .min_by_key(|(_, s)| s.used)
                .map(|(i, _)| i)?;
            sets.swap_remove(oldest)
        } else {
            Cx::new()
        };
        (cx.space_id, cx.kind) = (space.id(), kind);
        // No space has these numbers: what is there is flushed below.
        (cx.generation, cx.code) = (0, 0);
        // A process that has just been forked runs what its parent ran.
        let parent = sets.iter().find(|s| {
            s.space_id == space.origin() && s.text == space.text() && s.kind == kind && s.epoch == epoch
        });
        if let Some(parent) = parent {
            cx.take_places(parent);
            (cx.code, cx.epoch) = (space.code(), epoch);
        }
        Some(cx)
    });
    let mut cx = cx.unwrap_or_else(|| {
        let mut cx = Cx::new();
        (cx.space_id, cx.kind) = (space.id(), kind);
        cx
    });
    if cx.generation != space.generation() {
        cx.tlb.fill(TLB_NONE);
        cx.generation = space.generation();
    }
    if cx.code != space.code() || cx.epoch != epoch {
        cx.flush_places();
        cx.code = space.code();
    }
    cx.epoch = epoch;
    cx
}

fn give_back(mut cx: Box<Cx>) {
    cx.space = ptr::null_mut();
    cx.machine = ptr::null_mut();
    cx.old_code.clear();
    cx.old_ops.clear();
    cx.old_pages.clear();
    CACHES.with(|c| {
        if let Ok(mut sets) = c.try_borrow_mut() {
            let newest = sets.iter().map(|s| s.used).max().unwrap_or(0);
            cx.used = newest + 1;
            sets.push(cx);
        }
    });
}

/// What the search for code at an address found.
enum Found {
    /// A block.
    Block(*const Op),
    /// Code that is not kept: run one instruction.
    Once,
    Fault(Fault),
}

/// Runs until the budget is spent, a system call, or a fault.
///
/// `budget` is in retired instructions (each iteration of a repeated string instruction counts) and is lowered by what
/// was used. The run's end, registers, memory and budget are functions of its arguments alone.
pub fn run(cpu: &mut Cpu, space: &mut Space, machine: &mut Machine, budget: &mut u64) -> Exit {
    space.settle();
    let kind = usize::from(machine.dispatcher == Dispatcher::Loop);
    let mut cx = take(space, kind);
    let start = (*budget).min(i64::MAX as u64 >> 1) as i64;
    cx.start_budget = start;
    cx.start_retired = machine.retired;
    cx.dirty = false;
    cx.why = Why::Enter;
    cx.link = ptr::null();
    if machine.forgets || cx.forgets {
        cx.flush_all();
    }
    cx.forgets = machine.forgets;
    let cxp: *mut Cx = &mut *cx;
    // SAFETY: the context's pointers are the run's own borrows, and are cleared behind it.
    let (exit, left) = unsafe {
        (*cxp).space = space;
        (*cxp).machine = machine;
        execute(cpu, cxp, start)
    };
    let used = (start - left).max(0) as u64;
    *budget -= used;
    machine.retired = machine.retired.wrapping_add(used);
    // A generation that changed under us (copies on write) was followed entry by entry.
    cx.generation = space.generation();
    (cx.code, cx.text) = (space.code(), space.text());
    give_back(cx);
    exit
}

unsafe fn execute(cpu: *mut Cpu, cx: *mut Cx, mut b: i64) -> (Exit, i64) {
    // SAFETY: the run's pointers; operations found live to the run's end (see `Cx::old_code`).
    unsafe {
        loop {
            // Here `rip` is exact and `b` is what is left.
            if b <= 0 {
                return (Exit::Budget, 0);
            }
            let trap = (*cpu).fl_other & flags::TF != 0;
            let mut once = trap || (*cx).why == Why::Short;
            if !once {
                match find(cpu, cx) {
                    Found::Block(op) if i64::from((*op).left) <= b => {
                        run_chain(op, b - i64::from((*op).left), cpu, cx);
                        b = (*cx).b;
                    }
                    Found::Block(_) | Found::Once => once = true,
                    Found::Fault(f) => return (Exit::Fault(f), b),
                }
            }
            if once {
                match block::single(cpu, cx) {
                    Ok(ops) => {
                        run_chain_once(&ops, b - 1, cpu, cx);
                        b = (*cx).b;
                        keep_for_now(cx, ops);
                    }
                    Err(f) => return (Exit::Fault(f), b),
                }
                (*cx).link = ptr::null();
            }
            let why = std::mem::replace(&mut (*cx).why, Why::Enter);
            match why {
                Why::Enter => {}
                Why::Short => {
                    // The remaining instructions run one by one.
                    (*cx).why = Why::Short;
                }
                Why::Syscall => return (Exit::Syscall, b),
                Why::Fault | Why::Trap => {
                    (*cx).link = ptr::null();
                    return (Exit::Fault((*cx).fault), b);
                }
                Why::Spent => return (Exit::Budget, 0),
            }
            if trap {
                return (Exit::Fault(Fault::new(FaultKind::Debug)), b);
            }
        }
    }
}

/// Keeps operations that are never linked to until others have run.
unsafe fn keep_for_now(cx: *mut Cx, ops: Box<[Op]>) {
    // SAFETY: the run's context; nothing points to what is dropped.
    unsafe {
        (*cx).old_ops.push(ops);
        if (*cx).old_ops.len() > 64 {
            (*cx).old_ops.drain(..32);
        }
    }
}

/// Runs handlers until one returns no operation.
unsafe fn run_chain(mut op: *const Op, mut b: i64, cpu: *mut Cpu, cx: *mut Cx) {
    // SAFETY: as in `execute`.
    unsafe {
        (*cx).why = Why::Enter;
        loop {
            #[cfg(feature = "counts")]
            counts::count(op);
            op = ((*op).h)(op, cpu, cx, b).0;
            if op.is_null() {
                break;
            }
            if (*cx).dirty {
                leave(op, cpu, cx);
                break;
            }
            b = (*cx).b;
        }
        if (*cx).dirty {
            (*cx).dirty = false;
            (*cx).link = ptr::null();
        }
    }
}

/// Leaves the chain in front of `op`.
unsafe fn leave(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) {
    // SAFETY: as in `execute`.
    unsafe {
        (*cpu).rip = (*cpu).page.wrapping_add(u64::from((*op).pc));
        (*cx).b += i64::from((*op).left);
        (*cx).why = Why::Enter;
    }
}

/// Runs the operations of one instruction only.
unsafe fn run_chain_once(ops: &[Op], mut b: i64, cpu: *mut Cpu, cx: *mut Cx) {
    // SAFETY: as in `execute`.
    unsafe {
        (*cx).why = Why::Enter;
        let range = ops.as_ptr_range();
        let mut op = range.start;
        loop {
            op = ((*op).h)(op, cpu, cx, b).0;
            if op.is_null() {
                break;
            }
            if !range.contains(&op) {
                leave(op, cpu, cx);
                break;
            }
            b = (*cx).b;
        }
        (*cx).dirty = false;
    }
}

/// Finds or makes the code at `rip`.
unsafe fn find(cpu: *mut Cpu, cx: *mut Cx) -> Found {
    // SAFETY: the run's pointers.
    unsafe {
        let va = (*cpu).rip;
        let link = std::mem::replace(&mut (*cx).link, ptr::null());
        let slot = flow::pc_slot(va);
        if link.is_null() {
            let e = (*cx).pcs[slot];
            if e.va == va {
                (*cpu).page = va & !0xfff;
                return Found::Block(e.op);
            }
        }
        let off = (va & 0xfff) as usize;
        if off > 0xfff - 15
            && let Some(ops) = (*cx).cross.get(&va)
        {
            let op = ops.as_ptr();
            (*cx).pcs[slot] = Pc { va, op };
            (*cpu).page = va & !0xfff;
            return Found::Block(op);
        }
        let (vpn, decoded) = (
            va >> 12,
            &raw mut (*cx).decoded[(va >> 12) as usize % DECODED_SIZE],
        );
        let mut op = if (*decoded).vpn == vpn {
            (*(*decoded).code).get(off)
        } else {
            ptr::null()
        };
        if op.is_null() {
            let page = match block::fetch_page(&*(*cx).space, va) {
                Ok(p) => p,
                Err(f) => return Found::Fault(f),
            };
            if let Some(code) = page.code((*cx).kind).filter(|_| !(*cx).forgets) {
                *decoded = Decoded { vpn, code };
                op = code.get(off);
            }
        }
        if op.is_null() {
            op = match decode(cx, va) {
                Ok(Some(op)) => op,
                Ok(None) => return cross(cpu, cx, va),
                Err(other) => return other,
            };
            if (*cx).forgets {
                (*cpu).page = va & !0xfff;
                return Found::Block(op);
            }
        }
        (*cx).pcs[slot] = Pc { va, op };
        if !link.is_null() {
            (*link).store(op as u64, Ordering::Release);
        }
        (*cpu).page = va & !0xfff;
        Found::Block(op)
    }
}

/// Decodes the block at `va` and keeps it with its page or, where nothing is kept, for now. `None`: its first instruction reaches into the next
/// page.
unsafe fn decode(cx: *mut Cx, va: u64) -> Result<Option<*const Op>, Found> {
    // SAFETY: the run's pointers.
    unsafe {
        let (space, kind, off) = (&mut *(*cx).space, (*cx).kind, (va & 0xfff) as usize);
        let page = match block::fetch_page(space, va) {
            Ok(p) => p.clone_quiet(),
            Err(f) => return Err(Found::Fault(f)),
        };
        if !page.keeps_code() {
            return Err(Found::Once);
        }
        if !page.has_code() && page.exclusive() {
            // The page was writable through cached translations, here and on other threads.
            (*cx).tlb = [TLB_NONE; TLB_SIZE];
            (*cx).generation = space.renew_generation();
        }
        let code = match page.code(kind) {
            Some(c) => c,
            None => page.publish(kind, PageCode::new()),
        };
        if (*cx).forgets {
            // The page is marked as having code, as stores to it must be noticed.
            let ops = block::build(&page, off, kind)
                .ok_or(Found::Once)?
                .into_boxed_slice();
            let op = ops.as_ptr();
            keep_for_now(cx, ops);
            return Ok(Some(op));
        }
        if !code.has_room() {
            return Err(Found::Once);
        }
        let Some(ops) = block::build(&page, off, kind) else {
            return Ok(None);
        };
        let op = code.insert(off, ops);
        if op.is_null() {
            return Err(Found::Once);
        }
        Ok(Some(op))
    }
}

/// Decodes an instruction that lies on two pages. Both are marked as having code, so that stores to them are noticed.
unsafe fn cross(cpu: *mut Cpu, cx: *mut Cx, va: u64) -> Found {
    // SAFETY: the run's pointers.
    unsafe {
        let space = &mut *(*cx).space;
        let kind = (*cx).kind;
        let second = match block::fetch_page(space, (va & !0xfff).wrapping_add(0x1000)) {
            Ok(p) => p.clone_quiet(),
            Err(f) => return Found::Fault(f),
        };
        if !second.keeps_code() || (*cx).cross.len() >= CROSS_MAX {
            return Found::Once;
        }
        if !second.has_code() {
            if second.exclusive() {
                (*cx).tlb = [TLB_NONE; TLB_SIZE];
                (*cx).generation = space.renew_generation();
            }
            second.publish(kind, PageCode::new());
        }
        match block::single(cpu, cx) {
            Ok(ops) => {
                let op = ops.as_ptr();
                (*cx).cross.insert(va, ops);
                (*cx).pcs[flow::pc_slot(va)] = Pc { va, op };
                (*cpu).page = va & !0xfff;
                Found::Block(op)
            }
            Err(f) => Found::Fault(f),
        }
    }
}
