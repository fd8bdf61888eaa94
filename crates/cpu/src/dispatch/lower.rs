//! From one decoded instruction to operations: which handler, which operands. `F` chooses the dispatcher's handlers.

use std::sync::atomic::AtomicU64;

use iced_x86::{ConditionCode, Instruction, Mnemonic, OpKind, Register};

use super::alu::*;
use super::flow::{self, ImmX};
use super::op::*;
use super::string as strings;
use super::system::{self, System};

/// The mnemonic with this number, in lower case.
pub(crate) fn mnemonic_name(n: u64) -> String {
    Mnemonic::try_from(n as usize).map_or_else(|_| "?".to_owned(), |m| format!("{m:?}").to_lowercase())
}

/// What comes behind an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    /// The next one.
    Next,
    /// Nothing: it ends the block.
    End,
}

/// Operations under construction.
pub(crate) struct Lower<'a> {
    pub ops: &'a mut Vec<Op>,
    /// Offset of the instruction in its page.
    pub pc: u16,
    /// Offset of the one behind it.
    pub next: i32,
}

/// Chooses by log2 of the operand width.
macro_rules! by_w {
    ($w:expr, $W:ident => $e:expr) => {
        match $w {
            0 => {
                type $W = u8;
                $e
            }
            1 => {
                type $W = u16;
                $e
            }
            2 => {
                type $W = u32;
                $e
            }
            _ => {
                type $W = u64;
                $e
            }
        }
    };
}
/// The same without bytes.
macro_rules! by_w123 {
    ($w:expr, $W:ident => $e:expr) => {
        match $w {
            1 => {
                type $W = u16;
                $e
            }
            2 => {
                type $W = u32;
                $e
            }
            _ => {
                type $W = u64;
                $e
            }
        }
    };
}
/// Chooses by condition code.
macro_rules! by_cc {
    ($c:expr, $C:ident => $e:expr) => {
        match $c {
            0 => {
                const $C: u8 = 0;
                $e
            }
            1 => {
                const $C: u8 = 1;
                $e
            }
            2 => {
                const $C: u8 = 2;
                $e
            }
            3 => {
                const $C: u8 = 3;
                $e
            }
            4 => {
                const $C: u8 = 4;
                $e
            }
            5 => {
                const $C: u8 = 5;
                $e
            }
            6 => {
                const $C: u8 = 6;
                $e
            }
            7 => {
                const $C: u8 = 7;
                $e
            }
            8 => {
                const $C: u8 = 8;
                $e
            }
            9 => {
                const $C: u8 = 9;
                $e
            }
            10 => {
                const $C: u8 = 10;
                $e
            }
            11 => {
                const $C: u8 = 11;
                $e
            }
            12 => {
                const $C: u8 = 12;
                $e
            }
            13 => {
                const $C: u8 = 13;
                $e
            }
            14 => {
                const $C: u8 = 14;
                $e
            }
            _ => {
                const $C: u8 = 15;
                $e
            }
        }
    };
}

/// The condition code as encoded, if the instruction has one.
pub(crate) fn cc(i: &Instruction) -> Option<u8> {
    (i.condition_code() != ConditionCode::None).then(|| i.condition_code() as u8 - 1)
}

/// Byte offset of a general register in `Cpu`.
pub(crate) fn goff(r: Register) -> u8 {
    let high = matches!(r, Register::AH | Register::CH | Register::DH | Register::BH);
    (r.full_register().number() as u8 & 15) * 8 + u8::from(high)
}

/// log2 of a size in bytes.
pub(crate) fn log(n: usize) -> u32 {
    n.max(1).trailing_zeros()
}

/// Width of operand `n`: register or memory.
pub(crate) fn width(i: &Instruction, n: u32) -> u32 {
    match i.op_kind(n) {
        OpKind::Register => log(i.op_register(n).size()),
        OpKind::Memory => log(i.memory_size().size()),
        _ => 3,
    }
}

pub(crate) fn is_mem(i: &Instruction, n: u32) -> bool {
    i.op_kind(n) == OpKind::Memory
}

fn is_imm(i: &Instruction, n: u32) -> bool {
    n < i.op_count()
        && matches!(
            i.op_kind(n),
            OpKind::Immediate8
                | OpKind::Immediate16
                | OpKind::Immediate32
                | OpKind::Immediate64
                | OpKind::Immediate8to16
                | OpKind::Immediate8to32
                | OpKind::Immediate8to64
                | OpKind::Immediate32to64
        )
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Rr,
    Ri,
    Rmb,
    Rmx,
    Mbr,
    Mxr,
    Mbi,
    Mxi,
}

fn alu_op<const F: bool, W: Word, const O: u8, const N: bool>(f: Form) -> Handler {
    match f {
        Form::Rr => step::<F, Alu<W, Ra, Rb, O, N>>,
        Form::Ri => step::<F, Alu<W, Ra, Im, O, N>>,
        Form::Rmb => step::<F, Alu<W, Ra, Mb, O, N>>,
        Form::Rmx => step::<F, Alu<W, Ra, Mx, O, N>>,
        Form::Mbr => step::<F, Alu<W, Mb, Ra, O, N>>,
        Form::Mxr => step::<F, Alu<W, Mx, Ra, O, N>>,
        Form::Mbi => step::<F, Alu<W, Mb, Im, O, N>>,
        Form::Mxi => step::<F, Alu<W, Mx, Im, O, N>>,
    }
}

fn alu_n<const F: bool, W: Word, const O: u8>(f: Form, dead: bool) -> Handler {
    // Dead flags matter for speed only: narrow and slow forms set them anyway.
    if F && dead && W::LOG >= 2 && matches!(f, Form::Rr | Form::Ri | Form::Rmb | Form::Rmx) {
        match f {
            Form::Rr => step::<F, Alu<W, Ra, Rb, O, true>>,
            Form::Ri => step::<F, Alu<W, Ra, Im, O, true>>,
            Form::Rmb => step::<F, Alu<W, Ra, Mb, O, true>>,
            _ => step::<F, Alu<W, Ra, Mx, O, true>>,
        }
    } else {
        alu_op::<F, W, O, false>(f)
    }
}

fn alu_h<const F: bool, W: Word>(o: u8, f: Form, dead: bool) -> Handler {
    match o {
        ADD => alu_n::<F, W, ADD>(f, dead),
        OR => alu_n::<F, W, OR>(f, dead),
        ADC => alu_op::<F, W, ADC, false>(f),
        SBB => alu_op::<F, W, SBB, false>(f),
        AND => alu_n::<F, W, AND>(f, dead),
        SUB => alu_n::<F, W, SUB>(f, dead),
        XOR => alu_n::<F, W, XOR>(f, dead),
        CMP => alu_op::<F, W, CMP, false>(f),
        _ => alu_op::<F, W, TEST, false>(f),
    }
}

fn unary_h<const F: bool, W: Word, const O: u8>(mem: bool, dead: bool) -> Handler {
    match (mem, dead) {
        (true, _) => step::<F, Unary<W, Mx, O, false>>,
        (_, true) => step::<F, Unary<W, Ra, O, true>>,
        _ => step::<F, Unary<W, Ra, O, false>>,
    }
}

fn shift_h<const F: bool, W: Word, const O: u8>(mem: bool, by_cl: bool, dead: bool) -> Handler {
    match (mem, by_cl, dead) {
        // Shifts of memory by CL find CL in `b`.
        (true, true, _) => step::<false, Shift<W, Mx, Rb, O, false>>,
        (true, false, _) => step::<false, Shift<W, Mx, Im, O, false>>,
        (_, true, _) => step::<F, Shift<W, Ra, Rb, O, false>>,
        (_, _, true) => step::<F, Shift<W, Ra, Im, O, true>>,
        _ => step::<F, Shift<W, Ra, Im, O, false>>,
    }
}

/// A move between registers and an operation on its destination with a constant, as one: [`Via`].
fn via_h<W: Word>(m: Mnemonic, dead: bool) -> Option<Handler> {
    macro_rules! pick {
        ($O:ident) => {
            if dead {
                step::<true, Alu<W, Via, Im, $O, true>>
            } else {
                step::<true, Alu<W, Via, Im, $O, false>>
            }
        };
    }
    Some(match m {
        Mnemonic::Add => pick!(ADD),
        Mnemonic::Sub => pick!(SUB),
        Mnemonic::And => pick!(AND),
        Mnemonic::Or => pick!(OR),
        Mnemonic::Xor => pick!(XOR),
        _ => return None,
    })
}

/// The same for shifts by an immediate.
fn via_shift_h<W: Word>(m: Mnemonic, dead: bool) -> Option<Handler> {
    macro_rules! pick {
        ($O:ident) => {
            if dead {
                step::<true, Shift<W, Via, Im, $O, true>>
            } else {
                step::<true, Shift<W, Via, Im, $O, false>>
            }
        };
    }
    Some(match m {
        Mnemonic::Shl | Mnemonic::Sal => pick!(SHL),
        Mnemonic::Shr => pick!(SHR),
        Mnemonic::Sar => pick!(SAR),
        Mnemonic::Rol => pick!(ROL),
        Mnemonic::Ror => pick!(ROR),
        _ => return None,
    })
}

fn rotc_h<W: Word, const O: u8>(mem: bool, by_cl: bool) -> Handler {
    match (mem, by_cl) {
        (true, true) => step::<false, Rotc<W, Mx, Rb, O>>,
        (true, false) => step::<false, Rotc<W, Mx, Im, O>>,
        (_, true) => step::<false, Rotc<W, Ra, Rb, O>>,
        _ => step::<false, Rotc<W, Ra, Im, O>>,
    }
}

fn movx_h<const F: bool, W: Word, V: Word>(mem: Option<bool>, signed: bool) -> Handler {
    match (mem, signed) {
        (None, false) => step::<F, Movx<W, V, Rb, false>>,
        (None, true) => step::<F, Movx<W, V, Rb, true>>,
        (Some(false), false) => step::<F, Movx<W, V, Mb, false>>,
        (Some(false), true) => step::<F, Movx<W, V, Mb, true>>,
        (Some(true), false) => step::<F, Movx<W, V, Mx, false>>,
        (Some(true), true) => step::<F, Movx<W, V, Mx, true>>,
    }
}

impl Lower<'_> {
    /// Adds an operation without operands.
    pub fn push(&mut self, h: Handler) -> &mut Op {
        self.ops.push(Op {
            h,
            imm: AtomicU64::new(0),
            disp: 0,
            x: 0,
            a: ZERO,
            b: ZERO,
            base: ZERO,
            index: ZERO,
            pc: self.pc,
            left: 0,
            scale: 0,
        });
        let n = self.ops.len() - 1;
        &mut self.ops[n]
    }

    /// Adds an operation with the instruction's memory operand; may add one before it that computes the address.
    /// `h` is told whether there is an index.
    pub fn push_mem(&mut self, i: &Instruction, h: impl FnOnce(bool) -> Handler) -> &mut Op {
        let mut scale = log(i.memory_index_scale() as usize) as u8;
        let mut disp = i.memory_displacement64();
        let narrow = |r: Register| r != Register::None && (r.size() == 4 || r == Register::EIP);
        let short = narrow(i.memory_base())
            || narrow(i.memory_index())
            || i.memory_base() == Register::None
                && i.memory_index() == Register::None
                && i.memory_displ_size() == 4;
        let mut base = match i.memory_base() {
            Register::None => ZERO,
            Register::RIP | Register::EIP => PAGE,
            r => goff(r),
        };
        let mut index = match i.memory_index() {
            Register::None => ZERO,
            r => goff(r),
        };
        if i.memory_index() == Register::None {
            scale = 0;
        }
        let seg = match i.memory_segment() {
            Register::FS => FS,
            Register::GS => GS,
            _ => ZERO,
        };
        let mut far = i64::from(disp as i32) as u64 != disp;
        let cut = short && !(i.memory_base() == Register::None && i.memory_index() == Register::None && !far);
        let mut seg_left = seg;
        if !cut && !far && seg != ZERO {
            if base == ZERO {
                base = seg;
                seg_left = ZERO;
            } else if index == ZERO {
                index = seg;
                seg_left = ZERO;
            }
        }
        if cut || far || seg_left != ZERO {
            far = true;
            let op = self.push(step::<false, Addr>);
            op.base = base;
            op.index = index;
            op.scale = scale;
            op.imm = AtomicU64::new(disp);
            op.x = u32::from(cut);
            op.b = seg_left;
            base = TMP;
            index = ZERO;
            scale = 0;
            disp = 0;
        }
        let _ = far;
        let op = self.push(h(index != ZERO));
        op.base = base;
        op.index = index;
        op.scale = scale;
        op.disp = disp as i32;
        op.b = MEM;
        op
    }

    /// Adds an operation on operand `n`, a general register (into `b`) or memory.
    pub fn push_rm(&mut self, i: &Instruction, n: u32, h: Handler) -> &mut Op {
        if is_mem(i, n) {
            self.push_mem(i, |_| h)
        } else {
            let r = goff(i.op_register(n));
            let op = self.push(h);
            op.b = r;
            op
        }
    }

    /// An instruction that always faults.
    pub fn raise(&mut self, kind: u32) -> Flow {
        let next = self.next;
        let op = self.push(flow::raise_op);
        op.x = kind;
        op.disp = next;
        Flow::End
    }

    /// A valid instruction that is not implemented.
    pub fn gap(&mut self, i: &Instruction) -> Flow {
        let n = i.mnemonic() as u64;
        self.raise(0x100);
        if let Some(op) = self.ops.last_mut() {
            op.imm = AtomicU64::new(n);
        }
        Flow::End
    }

    fn branch_slots(&mut self, taken: u64) {
        let next = self.next;
        let ext = self.push(flow::jmp::<false>);
        ext.disp = taken as i32;
        ext.x = next as u32;
    }

    fn system(&mut self, kind: u32) -> Flow {
        self.push(step::<false, System>).x = kind;
        Flow::Next
    }

    fn alu<const F: bool>(&mut self, i: &Instruction, o: u8, dead: bool) -> Flow {
        let w = width(i, 0);
        match (is_mem(i, 0), is_mem(i, 1), is_imm(i, 1)) {
            (true, _, imm) => {
                let op = self.push_mem(i, |x| {
                    let f = match (x, imm) {
                        (false, false) => Form::Mbr,
                        (false, true) => Form::Mbi,
                        (true, false) => Form::Mxr,
                        (true, true) => Form::Mxi,
                    };
                    by_w!(w, W => alu_h::<F, W>(o, f, dead))
                });
                if imm {
                    op.imm = AtomicU64::new(i.immediate(1));
                } else {
                    op.a = goff(i.op1_register());
                }
            }
            (_, true, _) => {
                let op = self.push_mem(i, |x| {
                    let f = if x { Form::Rmx } else { Form::Rmb };
                    by_w!(w, W => alu_h::<F, W>(o, f, dead))
                });
                op.a = goff(i.op0_register());
            }
            (_, _, true) => {
                let op = self.push(by_w!(w, W => alu_h::<F, W>(o, Form::Ri, dead)));
                op.a = goff(i.op0_register());
                op.imm = AtomicU64::new(i.immediate(1));
            }
            _ => {
                let op = self.push(by_w!(w, W => alu_h::<F, W>(o, Form::Rr, dead)));
                op.a = goff(i.op0_register());
                op.b = goff(i.op1_register());
            }
        }
        Flow::Next
    }

    /// `cmp` or `test` with the conditional jump behind it. False if there is no such operation.
    pub fn fuse(&mut self, i: &Instruction, j: &Instruction) -> bool {
        let test = match i.mnemonic() {
            Mnemonic::Cmp => false,
            Mnemonic::Test => true,
            _ => return false,
        };
        let (Some(c), true) = (cc(j), j.is_jcc_short_or_near()) else {
            return false;
        };
        let w = width(i, 0);
        if w == 1 {
            return false;
        }
        macro_rules! pick {
            ($D:ty, $S:ty) => {
                match (w, test) {
                    (0, false) => by_cc!(c, C => flow::fused::<true, u8, $D, $S, false, C> as Handler),
                    (0, true) => by_cc!(c, C => flow::fused::<true, u8, $D, $S, true, C> as Handler),
                    (2, false) => by_cc!(c, C => flow::fused::<true, u32, $D, $S, false, C> as Handler),
                    (2, true) => by_cc!(c, C => flow::fused::<true, u32, $D, $S, true, C> as Handler),
                    (_, false) => by_cc!(c, C => flow::fused::<true, u64, $D, $S, false, C> as Handler),
                    (_, true) => by_cc!(c, C => flow::fused::<true, u64, $D, $S, true, C> as Handler),
                }
            };
        }
        match (is_mem(i, 0), is_mem(i, 1), is_imm(i, 1)) {
            (true, _, true) => {
                let h = pick!(Mx, ImmX);
                self.push_mem(i, |_| h).x = i.immediate(1) as u32;
            }
            (true, ..) => {
                let h = pick!(Mx, Ra);
                self.push_mem(i, |_| h).a = goff(i.op1_register());
            }
            (_, true, _) => {
                let h = pick!(Ra, Mx);
                self.push_mem(i, |_| h).a = goff(i.op0_register());
            }
            (_, _, true) => {
                let h = pick!(Ra, ImmX);
                let op = self.push(h);
                op.a = goff(i.op0_register());
                op.x = i.immediate(1) as u32;
            }
            _ => {
                let h = pick!(Ra, Rb);
                let op = self.push(h);
                op.a = goff(i.op0_register());
                op.b = goff(i.op1_register());
            }
        }
        self.next = j.next_ip() as i32;
        self.branch_slots(j.near_branch_target());
        true
    }

    /// Makes one operation of a move between registers and what is then done to its destination with a constant, if that is possible; with
    /// another register, [`straight`](super::straight) does. `dead`: the flags of the second are seen by nobody.
    pub fn fuse_move(&mut self, i: &Instruction, j: &Instruction, dead: bool) -> bool {
        let register = |i: &Instruction, n| {
            let r = i.op_register(n);
            (i.op_kind(n) == OpKind::Register && (r.is_gpr32() || r.is_gpr64())).then_some(r)
        };
        if i.mnemonic() != Mnemonic::Mov || j.op_count() != 2 {
            return false;
        }
        let (Some(to), Some(from), Some(on)) = (register(i, 0), register(i, 1), register(j, 0)) else {
            return false;
        };
        // A 32-bit operation on what a 64-bit move left reads its lower half; the other way round it would read what the move cleared.
        if goff(on) != goff(to) || on.size() > to.size() {
            return false;
        }
        if !is_imm(j, 1) {
            return false;
        }
        let (m, wide) = (j.mnemonic(), on.is_gpr64());
        let h = if wide {
            via_h::<u64>(m, dead).or_else(|| via_shift_h::<u64>(m, dead))
        } else {
            via_h::<u32>(m, dead).or_else(|| via_shift_h::<u32>(m, dead))
        };
        let Some(h) = h else { return false };
        let op = self.push(h);
        op.a = goff(to);
        op.base = goff(from);
        op.imm = AtomicU64::new(j.immediate(1));
        true
    }

    fn shift<const F: bool>(&mut self, i: &Instruction, o: u8, dead: bool) -> Flow {
        let w = width(i, 0);
        let by_cl = !is_imm(i, 1);
        let mem = is_mem(i, 0);
        let h = by_w!(w, W => match o {
            SHL => shift_h::<F, W, SHL>(mem, by_cl, dead),
            SHR => shift_h::<F, W, SHR>(mem, by_cl, dead),
            SAR => shift_h::<F, W, SAR>(mem, by_cl, dead),
            ROL => shift_h::<F, W, ROL>(mem, by_cl, dead),
            ROR => shift_h::<F, W, ROR>(mem, by_cl, dead),
            RCL => rotc_h::<W, RCL>(mem, by_cl),
            _ => rotc_h::<W, RCR>(mem, by_cl),
        });
        let op = if mem {
            self.push_mem(i, |_| h)
        } else {
            let op = self.push(h);
            op.a = goff(i.op0_register());
            op
        };
        if by_cl {
            op.b = 8;
        } else {
            op.imm = AtomicU64::new(i.immediate(1));
        }
        Flow::Next
    }

    fn mov<const F: bool>(&mut self, i: &Instruction) -> Flow {
        let seg = |n| i.op_kind(n) == OpKind::Register && i.op_register(n).is_segment_register();
        if seg(0) {
            return self.raise(1);
        }
        let w = width(i, 0);
        if seg(1) {
            // Linux's user selectors: CS 0x33, SS 0x2b, the others null.
            let v = match i.op1_register() {
                Register::CS => 0x33,
                Register::SS => 0x2b,
                _ => 0,
            };
            if is_mem(i, 0) {
                self.push_mem(i, |_| step::<F, Mov<u16, Mx, Im>>).imm = AtomicU64::new(v);
            } else {
                let op = self.push(by_w!(w, W => step::<F, Mov<W, Ra, Im>>));
                op.a = goff(i.op0_register());
                op.imm = AtomicU64::new(v);
            }
            return Flow::Next;
        }
        if !matches!(i.op_kind(0), OpKind::Memory)
            && (!i.op0_register().is_gpr() || i.op_kind(1) == OpKind::Register && !i.op1_register().is_gpr())
        {
            // Control and debug registers.
            return self.raise(1);
        }
        match (is_mem(i, 0), is_mem(i, 1), is_imm(i, 1)) {
            (true, _, true) => {
                let op = self.push_mem(i, |x| {
                    by_w!(w, W => if x { step::<F, Mov<W, Mx, Im>> as Handler } else { step::<F, Mov<W, Mb, Im>> })
                });
                op.imm = AtomicU64::new(i.immediate(1));
            }
            (true, ..) => {
                let op = self.push_mem(i, |x| {
                    by_w!(w, W => if x { step::<F, Mov<W, Mx, Ra>> as Handler } else { step::<F, Mov<W, Mb, Ra>> })
                });
                op.a = goff(i.op1_register());
            }
            (_, true, _) => {
                let op = self.push_mem(i, |x| {
                    by_w!(w, W => if x { step::<F, Mov<W, Ra, Mx>> as Handler } else { step::<F, Mov<W, Ra, Mb>> })
                });
                op.a = goff(i.op0_register());
            }
            (_, _, true) => {
                let op = self.push(by_w!(w, W => step::<F, Mov<W, Ra, Im>>));
                op.a = goff(i.op0_register());
                op.imm = AtomicU64::new(i.immediate(1));
            }
            _ => {
                let op = self.push(by_w!(w, W => step::<F, Mov<W, Ra, Rb>>));
                op.a = goff(i.op0_register());
                op.b = goff(i.op1_register());
            }
        }
        Flow::Next
    }

    fn movx<const F: bool>(&mut self, i: &Instruction, signed: bool) -> Flow {
        let v = width(i, 0);
        let from = width(i, 1);
        let h = |mem: Option<bool>| match from {
            0 => by_w123!(v, V => movx_h::<F, u8, V>(mem, signed)),
            1 => by_w123!(v, V => movx_h::<F, u16, V>(mem, signed)),
            _ => by_w123!(v, V => movx_h::<F, u32, V>(mem, signed)),
        };
        let op = if is_mem(i, 1) {
            self.push_mem(i, |x| h(Some(x)))
        } else {
            let op = self.push(h(None));
            op.b = goff(i.op1_register());
            op
        };
        op.a = goff(i.op0_register());
        Flow::Next
    }

    fn unary<const F: bool, const O: u8>(&mut self, i: &Instruction, dead: bool) -> Flow {
        let w = width(i, 0);
        let mem = is_mem(i, 0);
        let h = by_w!(w, W => unary_h::<F, W, O>(mem, dead));
        if mem {
            self.push_mem(i, |_| h);
        } else {
            self.push(h).a = goff(i.op0_register());
        }
        Flow::Next
    }

    fn string(&mut self, i: &Instruction, kind: u8, size: u8) -> Flow {
        let next = self.next;
        let short = matches!(
            (i.op0_kind(), i.op1_kind()),
            (OpKind::MemoryESEDI | OpKind::MemorySegESI, _) | (_, OpKind::MemoryESEDI | OpKind::MemorySegESI)
        );
        let seg = match i.memory_segment() {
            Register::FS => FS,
            Register::GS => GS,
            _ => ZERO,
        };
        let rep = if i.has_repe_prefix() || i.has_rep_prefix() {
            1
        } else if i.has_repne_prefix() {
            // REPNE before an instruction that compares nothing repeats like REP.
            if kind >= strings::SCAS { 2 } else { 1 }
        } else {
            0
        };
        let op = self.push(strings::string);
        op.a = kind;
        op.b = size;
        op.index = seg;
        op.x = rep | if short { 0x100 } else { 0 };
        op.disp = next;
        Flow::Next
    }

    /// Adds the operations of one instruction. `dead`: nobody sees the flags it sets.
    pub fn lower<const F: bool>(&mut self, i: &Instruction, dead: bool) -> Flow {
        use Mnemonic as M;
        let next = self.next;
        match i.mnemonic() {
            M::Add => self.alu::<F>(i, ADD, dead),
            M::Or => self.alu::<F>(i, OR, dead),
            M::Adc => self.alu::<F>(i, ADC, dead),
            M::Sbb => self.alu::<F>(i, SBB, dead),
            M::And => self.alu::<F>(i, AND, dead),
            M::Sub => self.alu::<F>(i, SUB, dead),
            M::Xor => self.alu::<F>(i, XOR, dead),
            M::Cmp => self.alu::<F>(i, CMP, dead),
            M::Test => self.alu::<F>(i, TEST, dead),
            M::Mov => self.mov::<F>(i),
            M::Movzx => self.movx::<F>(i, false),
            M::Movsx | M::Movsxd => self.movx::<F>(i, true),
            M::Lea => {
                let w = width(i, 0);
                // An address is not a memory access: segments do not count.
                let mut j = *i;
                j.set_segment_prefix(Register::None);
                let op = self.push_mem(&j, |x| {
                    by_w123!(w, W => if x { step::<F, Lea<W, true>> as Handler } else { step::<F, Lea<W, false>> })
                });
                op.a = goff(i.op0_register());
                Flow::Next
            }
            M::Push => {
                if is_imm(i, 0) {
                    let short = i.stack_pointer_increment() == -2;
                    let op = self.push(if short {
                        step::<F, Push<u16, Im>>
                    } else {
                        step::<F, Push<u64, Im>>
                    });
                    op.imm = AtomicU64::new(i.immediate(0));
                } else if is_mem(i, 0) {
                    let w = width(i, 0);
                    self.push_mem(i, |_| {
                        if w == 1 {
                            step::<F, Push<u16, Mx>>
                        } else {
                            step::<F, Push<u64, Mx>>
                        }
                    });
                } else if i.op0_register().is_segment_register() {
                    let short = i.stack_pointer_increment() == -2;
                    self.push(if short {
                        step::<F, Push<u16, Im>>
                    } else {
                        step::<F, Push<u64, Im>>
                    });
                } else {
                    let w = width(i, 0);
                    self.push(if w == 1 {
                        step::<F, Push<u16, Ra>>
                    } else {
                        step::<F, Push<u64, Ra>>
                    })
                    .a = goff(i.op0_register());
                }
                Flow::Next
            }
            M::Pop => {
                if is_mem(i, 0) {
                    let w = width(i, 0);
                    self.push_mem(i, |_| {
                        if w == 1 {
                            step::<F, Pop<u16, Mx>>
                        } else {
                            step::<F, Pop<u64, Mx>>
                        }
                    });
                } else if i.op0_register().is_segment_register() {
                    return self.raise(1);
                } else {
                    let w = width(i, 0);
                    self.push(if w == 1 {
                        step::<F, Pop<u16, Ra>>
                    } else {
                        step::<F, Pop<u64, Ra>>
                    })
                    .a = goff(i.op0_register());
                }
                Flow::Next
            }
            M::Leave => {
                let word = i.code() == iced_x86::Code::Leavew;
                self.push(if word {
                    step::<F, Leave<u16>> as Handler
                } else {
                    step::<F, Leave<u64>>
                });
                Flow::Next
            }
            M::Clflush | M::Clflushopt | M::Clwb => {
                self.push_mem(i, |_| step::<F, Touch>);
                Flow::Next
            }
            M::Nop
            | M::Endbr64
            | M::Endbr32
            | M::Pause
            | M::Lfence
            | M::Mfence
            | M::Sfence
            | M::Prefetchnta
            | M::Prefetcht0
            | M::Prefetcht1
            | M::Prefetcht2
            | M::Prefetchw
            | M::Prefetch
            | M::Prefetchwt1
            | M::Prefetchit0
            | M::Prefetchit1
            | M::Reservednop
            | M::Rdsspd
            | M::Rdsspq
            | M::Cldemote => {
                self.push(step::<F, Nop>);
                Flow::Next
            }
            M::Inc => self.unary::<F, INC>(i, dead),
            M::Dec => self.unary::<F, DEC>(i, dead),
            M::Neg => self.unary::<F, NEG>(i, dead),
            M::Not => self.unary::<F, NOT>(i, dead),
            M::Bswap => self.unary::<F, BSWAP>(i, dead),
            M::Shl | M::Sal => self.shift::<F>(i, SHL, dead),
            M::Shr => self.shift::<F>(i, SHR, dead),
            M::Sar => self.shift::<F>(i, SAR, dead),
            M::Rol => self.shift::<F>(i, ROL, dead),
            M::Ror => self.shift::<F>(i, ROR, dead),
            M::Rcl => self.shift::<F>(i, RCL, dead),
            M::Rcr => self.shift::<F>(i, RCR, dead),
            m @ (M::Shld | M::Shrd) => {
                let w = width(i, 0);
                let h = by_w123!(w, W => if m == M::Shld { step::<false, Shxd<W, true>> as Handler } else { step::<false, Shxd<W, false>> });
                let op = self.push_rm(i, 0, h);
                op.a = goff(i.op1_register());
                if is_imm(i, 2) {
                    op.imm = AtomicU64::new(i.immediate(2));
                } else {
                    op.x = 1;
                }
                Flow::Next
            }
            M::Imul => {
                let w = width(i, 0);
                match i.op_count() {
                    1 => {
                        self.push_rm(i, 0, by_w!(w, W => step::<F, Mul<W, true>>));
                    }
                    2 => {
                        let h = by_w123!(w, W => match (is_mem(i, 1), dead) {
                            (false, false) => step::<F, Imul<W, Ra, Rb, false>> as Handler,
                            (false, true) => step::<F, Imul<W, Ra, Rb, true>>,
                            _ => step::<F, Imul<W, Ra, Mx, false>>,
                        });
                        self.push_rm(i, 1, h).a = goff(i.op0_register());
                    }
                    _ => {
                        let h = by_w123!(w, W => match (is_mem(i, 1), dead) {
                            (false, false) => step::<F, Imul<W, Rb, Im, false>> as Handler,
                            (false, true) => step::<F, Imul<W, Rb, Im, true>>,
                            _ => step::<F, Imul<W, Mx, Im, false>>,
                        });
                        let op = self.push_rm(i, 1, h);
                        op.a = goff(i.op0_register());
                        op.imm = AtomicU64::new(i.immediate(2));
                    }
                }
                Flow::Next
            }
            M::Mul => {
                let w = width(i, 0);
                self.push_rm(i, 0, by_w!(w, W => step::<F, Mul<W, false>>));
                Flow::Next
            }
            M::Div => {
                let w = width(i, 0);
                self.push_rm(i, 0, by_w!(w, W => step::<F, Div<W, false>>));
                Flow::Next
            }
            M::Idiv => {
                let w = width(i, 0);
                self.push_rm(i, 0, by_w!(w, W => step::<F, Div<W, true>>));
                Flow::Next
            }
            M::Cbw => self.plain(step::<F, Cbw<u16>>),
            M::Cwde => self.plain(step::<F, Cbw<u32>>),
            M::Cdqe => self.plain(step::<F, Cbw<u64>>),
            M::Cwd => self.plain(step::<F, Cwd<u16>>),
            M::Cdq => self.plain(step::<F, Cwd<u32>>),
            M::Cqo => self.plain(step::<F, Cwd<u64>>),
            M::Xchg => {
                let w = width(i, 0);
                // The register may be either operand.
                let (m, r) = if is_mem(i, 1) { (1, 0) } else { (0, 1) };
                let h = by_w!(w, W => if is_mem(i, m) { step::<F, Xchg<W, Mx>> as Handler } else { step::<F, Xchg<W, Rb>> });
                self.push_rm(i, m, h).a = goff(i.op_register(r));
                Flow::Next
            }
            M::Xadd => {
                let w = width(i, 0);
                self.push_rm(i, 0, by_w!(w, W => step::<F, Xadd<W>>)).a = goff(i.op1_register());
                Flow::Next
            }
            M::Cmpxchg => {
                let w = width(i, 0);
                self.push_rm(i, 0, by_w!(w, W => step::<F, Cmpxchg<W>>)).a = goff(i.op1_register());
                Flow::Next
            }
            m @ (M::Cmpxchg8b | M::Cmpxchg16b) => {
                self.push_mem(i, |_| step::<false, Cmpxchg16>).x = u32::from(m == M::Cmpxchg16b);
                Flow::Next
            }
            m @ (M::Bt | M::Bts | M::Btr | M::Btc) => {
                let w = width(i, 0);
                let h = by_w123!(w, W => match m {
                    M::Bt => step::<F, Bt<W, BT>> as Handler,
                    M::Bts => step::<F, Bt<W, BTS>>,
                    M::Btr => step::<F, Bt<W, BTR>>,
                    _ => step::<F, Bt<W, BTC>>,
                });
                let op = self.push_rm(i, 0, h);
                if is_imm(i, 1) {
                    op.x = 1;
                    op.imm = AtomicU64::new(i.immediate(1));
                } else {
                    op.a = goff(i.op1_register());
                }
                Flow::Next
            }
            m @ (M::Bsf | M::Bsr | M::Tzcnt | M::Lzcnt | M::Popcnt) => {
                let w = width(i, 0);
                let h = by_w123!(w, W => match m {
                    M::Bsf => step::<F, Scan<W, BSF>> as Handler,
                    M::Bsr => step::<F, Scan<W, BSR>>,
                    M::Tzcnt => step::<F, Scan<W, TZCNT>>,
                    M::Lzcnt => step::<F, Scan<W, LZCNT>>,
                    _ => step::<F, Scan<W, POPCNT>>,
                });
                self.push_rm(i, 1, h).a = goff(i.op0_register());
                Flow::Next
            }
            M::Movbe => {
                let (m, r) = if is_mem(i, 0) { (0, 1) } else { (1, 0) };
                let w = width(i, r);
                let op = self.push_rm(i, m, by_w123!(w, W => step::<false, Movbe<W>>));
                op.a = goff(i.op_register(r));
                op.x = u32::from(m == 0);
                Flow::Next
            }
            M::Crc32 => {
                let w = width(i, 1);
                self.push_rm(i, 1, by_w!(w, W => step::<F, Crc32<W>>)).a = goff(i.op0_register());
                Flow::Next
            }
            M::Movnti => {
                let w = width(i, 1);
                let h = if w == 3 {
                    step::<F, Mov<u64, Mx, Ra>> as Handler
                } else {
                    step::<F, Mov<u32, Mx, Ra>>
                };
                self.push_mem(i, |_| h).a = goff(i.op1_register());
                Flow::Next
            }
            // Control flow. An operand-size prefix is ignored, as on Intel's processors.
            M::Jmp if is_mem(i, 0) => {
                self.push_mem(i, |x| {
                    if x {
                        flow::jmp_to::<F, Mx>
                    } else {
                        flow::jmp_to::<F, Mb>
                    }
                });
                Flow::End
            }
            M::Jmp if i.op0_kind() == OpKind::Register => {
                self.push(flow::jmp_to::<F, Rb>).b = goff(i.op0_register());
                Flow::End
            }
            M::Jmp if i.is_jmp_short_or_near() => {
                self.push(flow::jmp::<F>).disp = i.near_branch_target() as i32;
                Flow::End
            }
            M::Call if is_mem(i, 0) => {
                self.push_mem(i, |x| {
                    if x {
                        flow::call_to::<F, Mx>
                    } else {
                        flow::call_to::<F, Mb>
                    }
                })
                .x = next as u32;
                Flow::End
            }
            M::Call if i.op0_kind() == OpKind::Register => {
                let op = self.push(flow::call_to::<F, Rb>);
                op.b = goff(i.op0_register());
                op.x = next as u32;
                Flow::End
            }
            M::Call if i.is_call_near() => {
                let op = self.push(flow::call::<F>);
                op.disp = i.near_branch_target() as i32;
                op.x = next as u32;
                Flow::End
            }
            M::Ret => {
                let extra = if is_imm(i, 0) { i.immediate(0) } else { 0 };
                self.push(flow::ret::<F>).imm = AtomicU64::new(8 + extra);
                Flow::End
            }
            m @ (M::Loop | M::Loope | M::Loopne | M::Jrcxz | M::Jecxz) => {
                let kind = match m {
                    M::Loop => 0,
                    M::Loope => 1,
                    M::Loopne => 2,
                    _ => 3,
                };
                let short = m == M::Jecxz || kind < 3 && loop_counts_ecx(i);
                self.push(flow::loop_cx).x = kind | if short { 0x100 } else { 0 };
                self.branch_slots(i.near_branch_target());
                Flow::End
            }
            M::Syscall => {
                self.push(flow::syscall).x = next as u32;
                Flow::End
            }
            M::Ud2 | M::Ud0 | M::Ud1 | M::INVALID => self.raise(0),
            M::Int3 => self.raise(2),
            M::Int1 => self.raise(3),
            M::Int
            | M::Hlt
            | M::Cli
            | M::Sti
            | M::In
            | M::Out
            | M::Insb
            | M::Insw
            | M::Insd
            | M::Outsb
            | M::Outsw
            | M::Outsd
            | M::Iretq
            | M::Iretd
            | M::Iret
            | M::Retf
            | M::Sysret
            | M::Sysretq
            | M::Sysexit
            | M::Sysexitq
            | M::Clts
            | M::Wbinvd
            | M::Invd
            | M::Rdmsr
            | M::Wrmsr
            | M::Rdpmc
            | M::Lgdt
            | M::Lidt
            | M::Lldt
            | M::Ltr
            | M::Lmsw
            | M::Swapgs
            | M::Xsetbv
            | M::Invlpg => self.raise(1),
            // Strings.
            M::Movsb => self.string(i, strings::MOVS, 0),
            M::Movsw => self.string(i, strings::MOVS, 1),
            M::Movsd if i.is_string_instruction() => self.string(i, strings::MOVS, 2),
            M::Movsq => self.string(i, strings::MOVS, 3),
            M::Stosb => self.string(i, strings::STOS, 0),
            M::Stosw => self.string(i, strings::STOS, 1),
            M::Stosd => self.string(i, strings::STOS, 2),
            M::Stosq => self.string(i, strings::STOS, 3),
            M::Lodsb => self.string(i, strings::LODS, 0),
            M::Lodsw => self.string(i, strings::LODS, 1),
            M::Lodsd => self.string(i, strings::LODS, 2),
            M::Lodsq => self.string(i, strings::LODS, 3),
            M::Scasb => self.string(i, strings::SCAS, 0),
            M::Scasw => self.string(i, strings::SCAS, 1),
            M::Scasd => self.string(i, strings::SCAS, 2),
            M::Scasq => self.string(i, strings::SCAS, 3),
            M::Cmpsb => self.string(i, strings::CMPS, 0),
            M::Cmpsw => self.string(i, strings::CMPS, 1),
            M::Cmpsd if i.is_string_instruction() => self.string(i, strings::CMPS, 2),
            M::Cmpsq => self.string(i, strings::CMPS, 3),
            // Flags and system.
            M::Clc => self.system(system::CLC),
            M::Stc => self.system(system::STC),
            M::Cmc => self.system(system::CMC),
            M::Cld => self.system(system::CLD),
            M::Std => self.system(system::STD),
            M::Lahf => self.system(system::LAHF),
            M::Sahf => self.system(system::SAHF),
            M::Pushfq => self.system(system::PUSHF),
            M::Pushf => self.system(system::PUSHFW),
            m @ (M::Popfq | M::Popf) => {
                self.system(if m == M::Popfq {
                    system::POPF
                } else {
                    system::POPFW
                });
                // The trap flag may have changed: the run loop must see it. Its own instruction has retired.
                let op = self.push(flow::leave_block);
                op.disp = next;
                Flow::End
            }
            M::Cpuid => self.system(system::CPUID),
            m @ (M::Rdtsc | M::Rdtscp) => {
                self.push(system::tsc).x = if m == M::Rdtsc {
                    system::RDTSC
                } else {
                    system::RDTSCP
                };
                Flow::Next
            }
            M::Xgetbv => self.system(system::XGETBV),
            M::Xlatb => {
                let seg = match i.memory_segment() {
                    Register::FS => FS,
                    Register::GS => GS,
                    _ => ZERO,
                };
                let short = i.memory_base() == Register::EBX;
                let op = self.push(step::<false, System>);
                op.x = system::XLAT | if short { 0x100 } else { 0 };
                op.index = seg;
                Flow::Next
            }
            M::Enter => {
                let op = self.push(step::<false, System>);
                op.x = system::ENTER
                    | if i.code() == iced_x86::Code::Enterw_imm16_imm8 {
                        0x100
                    } else {
                        0
                    };
                op.imm = AtomicU64::new(u64::from(i.immediate16()) | u64::from(i.immediate8_2nd()) << 16);
                Flow::Next
            }
            M::Fxsave64 => self.system_mem(i, system::FXSAVE),
            M::Fxsave => self.system_mem(i, system::FXSAVE32),
            M::Fxrstor64 => self.system_mem(i, system::FXRSTOR),
            M::Fxrstor => self.system_mem(i, system::FXRSTOR32),
            M::Ldmxcsr => self.system_mem(i, system::LDMXCSR),
            M::Stmxcsr => self.system_mem(i, system::STMXCSR),
            m @ (M::Rdfsbase | M::Rdgsbase | M::Wrfsbase | M::Wrgsbase) => {
                let kind = match m {
                    M::Rdfsbase => system::RDFSBASE,
                    M::Rdgsbase => system::RDGSBASE,
                    M::Wrfsbase => system::WRFSBASE,
                    _ => system::WRGSBASE,
                };
                let op = self.push(step::<false, System>);
                op.x = kind | if width(i, 0) == 3 { 0x100 } else { 0 };
                op.b = goff(i.op0_register());
                Flow::Next
            }
            _ if i.is_jcc_short_or_near() => {
                let c = cc(i).unwrap_or(0);
                self.push(by_cc!(c, C => flow::jcc::<F, C>));
                self.branch_slots(i.near_branch_target());
                Flow::End
            }
            _ => match cc(i) {
                Some(c) if i.op_count() == 1 && width(i, 0) == 0 => {
                    if is_mem(i, 0) {
                        self.push_mem(i, |_| by_cc!(c, C => step::<F, Set<Mx, C>>));
                    } else {
                        self.push(by_cc!(c, C => step::<F, Set<Ra, C>>)).a = goff(i.op0_register());
                    }
                    Flow::Next
                }
                Some(c) if i.op_count() == 2 && i.op0_register().is_gpr() => {
                    let w = width(i, 0);
                    let h = if is_mem(i, 1) {
                        by_w123!(w, W => by_cc!(c, C => step::<F, Cmov<W, Mx, C>> as Handler))
                    } else {
                        by_w123!(w, W => by_cc!(c, C => step::<F, Cmov<W, Rb, C>> as Handler))
                    };
                    self.push_rm(i, 1, h).a = goff(i.op0_register());
                    Flow::Next
                }
                _ => self.vector::<F>(i),
            },
        }
    }

    fn plain(&mut self, h: Handler) -> Flow {
        self.push(h);
        Flow::Next
    }

    fn system_mem(&mut self, i: &Instruction, kind: u32) -> Flow {
        self.push_mem(i, |_| step::<false, System>).x = kind;
        Flow::Next
    }
}

/// Whether a `loop` instruction counts in ECX (address size prefix).
fn loop_counts_ecx(i: &Instruction) -> bool {
    use iced_x86::Code as C;
    matches!(
        i.code(),
        C::Loop_rel8_64_ECX | C::Loope_rel8_64_ECX | C::Loopne_rel8_64_ECX
    )
}
