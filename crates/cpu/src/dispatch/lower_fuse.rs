//! Two instructions that become one operation: a comparison with its jump, a move with what is then done to its destination.

use std::sync::atomic::AtomicU64;

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::alu::*;
use super::flow::{self, ImmX};
use super::lower::{Lower, by_cc, cc, goff, is_imm, is_mem, width};
use super::op::*;
use super::shift::*;

impl Lower<'_> {
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
