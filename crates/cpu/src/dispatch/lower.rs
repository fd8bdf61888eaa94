//! From one decoded instruction to operations: which handler, which operands. `F` chooses the dispatcher's handlers.
//!
//! Here operations and their operands are made; `lower_insn` knows the instructions, with `lower_alu` for those of which each has many
//! handlers, `lower_vec` and `lower_fpu`; `lower_fuse` makes one operation of two instructions.

use std::sync::atomic::AtomicU64;

use iced_x86::{ConditionCode, Instruction, Mnemonic, OpKind, Register};

use super::flow;
use super::moves::Addr;
use super::op::*;

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

pub(super) use {by_cc, by_w, by_w123};

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

pub(super) fn is_imm(i: &Instruction, n: u32) -> bool {
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
        let far = i64::from(disp as i32) as u64 != disp;
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

    pub(super) fn branch_slots(&mut self, taken: u64) {
        let next = self.next;
        let ext = self.push(flow::jmp::<false>);
        ext.disp = taken as i32;
        ext.x = next as u32;
    }
}
