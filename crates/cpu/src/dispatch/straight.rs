//! Two or three instructions between registers in one operation.
//!
//! What costs an interpreter most on straight code is to find the next handler: the host's processor guesses wrong in a long run of
//! instructions that are all different. So neighbours that touch registers alone and cannot fault are made one operation; but for the last one's,
//! nobody sees the flags that they leave.

use std::marker::PhantomData;

use super::alu::{ADD, AND, OR, SUB, XOR, leave_flags, result};
use super::lower::{Lower, goff};
use super::op::{Cx, Handler, Insn, Miss, Op, Word, reg, set_reg, step};
use crate::Cpu;
use iced_x86::{Instruction, Mnemonic, OpKind};

// Kinds beside those of `alu`.
const MOVE: u8 = 16;
const ROTATE: u8 = 17;
const SHIFT: u8 = 18;

/// One of the instructions: 32 or 64 bits, what is done, to which register, with which register or by how many bits.
#[derive(Clone, Copy)]
struct Part {
    wide: bool,
    kind: u8,
    to: u8,
    with: u8,
}

impl Part {
    /// Its flags are set where it is the last of an operation.
    fn sets_flags(self) -> bool {
        !matches!(self.kind, MOVE | ROTATE | SHIFT)
    }
}

/// The instruction as a part, and whether its flags are seen by nobody; `None` if it is of another kind.
fn part(i: &Instruction, dead: bool) -> Option<(Part, bool)> {
    if i.op_count() != 2 || i.op0_kind() != OpKind::Register || i.has_lock_prefix() {
        return None;
    }
    let to = i.op0_register();
    let wide = to.is_gpr64();
    if !wide && !to.is_gpr32() {
        return None;
    }
    let kind = match i.mnemonic() {
        Mnemonic::Mov => MOVE,
        Mnemonic::Xor => XOR,
        Mnemonic::Add => ADD,
        Mnemonic::And => AND,
        Mnemonic::Or => OR,
        Mnemonic::Sub => SUB,
        Mnemonic::Ror | Mnemonic::Rol => ROTATE,
        Mnemonic::Shr => SHIFT,
        _ => return None,
    };
    let with = match (kind, i.op1_kind()) {
        (ROTATE | SHIFT, OpKind::Immediate8) => {
            let bits = if wide { 64 } else { 32 };
            // A shift by nothing keeps the flags of before: left to the ordinary handler.
            let n = i.immediate8() & (bits - 1);
            match i.mnemonic() {
                _ if n == 0 => return None,
                Mnemonic::Rol => bits - n,
                _ => n,
            }
        }
        (ROTATE | SHIFT, _) => return None,
        (_, OpKind::Register) if i.op1_register().is_gpr32() || i.op1_register().is_gpr64() => {
            goff(i.op1_register())
        }
        _ => return None,
    };
    let part = Part {
        wide,
        kind,
        to: goff(to),
        with,
    };
    (kind == MOVE || dead || part.sets_flags()).then_some((part, kind == MOVE || dead))
}

/// `LAST`: the flags are set, too.
#[inline(always)]
unsafe fn exec<W: Word, const K: u8, const LAST: bool>(cpu: *mut Cpu, to: u8, with: u8) {
    // SAFETY: `to` and, but for shifts, `with` are offsets of registers, as the decoder made them.
    unsafe {
        let b = if K == ROTATE || K == SHIFT {
            u64::from(with)
        } else {
            reg::<W>(cpu, with).to64()
        };
        if K == MOVE {
            return set_reg(cpu, to, W::from64(b));
        }
        let a = reg::<W>(cpu, to).to64();
        let r = match K {
            ROTATE if W::LOG == 2 => u64::from((a as u32).rotate_right(b as u32)),
            ROTATE => a.rotate_right(b as u32),
            SHIFT => a >> (b & 63),
            _ => result::<K>(a, b, 0),
        };
        set_reg(cpu, to, W::from64(r));
        if LAST && K != ROTATE && K != SHIFT {
            leave_flags::<W, K>(cpu, a, b, 0, r);
        }
    }
}

/// Two parts.
pub(super) struct Two<W, V, const K: u8, const L: u8>(PhantomData<(W, V)>);

impl<W: Word, V: Word, const K: u8, const L: u8> Insn for Two<W, V, K, L> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, _: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            exec::<W, K, false>(cpu, (*op).a, (*op).b);
            exec::<V, L, true>(cpu, (*op).base, (*op).index);
        }
        Ok(())
    }
}

/// Three parts.
pub(super) struct Three<W, const K: u8, const L: u8, const M: u8>(PhantomData<W>);

impl<W: Word, const K: u8, const L: u8, const M: u8> Insn for Three<W, K, L, M> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, _: *mut Cx) -> Result<(), Miss> {
        // SAFETY: as in `Two`.
        unsafe {
            exec::<W, K, false>(cpu, (*op).a, (*op).b);
            exec::<W, L, false>(cpu, (*op).base, (*op).index);
            let last = (*op).x;
            exec::<W, M, true>(cpu, last as u8, (last >> 8) as u8);
        }
        Ok(())
    }
}

/// Makes a constant of a kind.
macro_rules! by_kind {
    ($kind:expr, $K:ident => $e:expr) => {
        by_kind!(@ $kind, $K, $e, MOVE XOR ADD AND OR SUB ROTATE)
    };
    (@ $kind:expr, $K:ident, $e:expr, $($known:ident)*) => {
        match $kind {
            $($known => {
                const $K: u8 = $known;
                $e
            })*
            _ => {
                const $K: u8 = SHIFT;
                $e
            }
        }
    };
}

fn two_h<W: Word, V: Word>(p: [u8; 2]) -> Handler {
    by_kind!(p[0], K => by_kind!(p[1], L => step::<true, Two<W, V, K, L>> as Handler))
}

fn three_h<W: Word>(p: [u8; 3]) -> Handler {
    by_kind!(p[0], K => by_kind!(p[1], L => by_kind!(p[2], M => step::<true, Three<W, K, L, M>> as Handler)))
}

/// Makes one operation of the first instructions of `list`, if they are of this kind, and says of how many: else of none. `dead` says of
/// each whether its flags are seen by nobody.
pub(super) fn fuse(l: &mut Lower<'_>, list: &[Instruction], dead: &[bool]) -> usize {
    let mut parts = list.iter().zip(dead).map_while(|(i, d)| part(i, *d));
    let (Some((p, true)), Some((q, unseen))) = (parts.next(), parts.next()) else {
        return 0;
    };
    let third = parts.next().map(|r| r.0);
    let third = third.filter(|r| unseen && q.wide == p.wide && r.wide == p.wide);
    let h = match third {
        Some(r) if p.wide => three_h::<u64>([p.kind, q.kind, r.kind]),
        Some(r) => three_h::<u32>([p.kind, q.kind, r.kind]),
        None => {
            let kinds = [p.kind, q.kind];
            match (p.wide, q.wide) {
                (false, false) => two_h::<u32, u32>(kinds),
                (false, true) => two_h::<u32, u64>(kinds),
                (true, false) => two_h::<u64, u32>(kinds),
                (true, true) => two_h::<u64, u64>(kinds),
            }
        }
    };
    let op = l.push(h);
    (op.a, op.b, op.base, op.index) = (p.to, p.with, q.to, q.with);
    match third {
        Some(r) => {
            op.x = u32::from(r.to) | u32::from(r.with) << 8;
            3
        }
        None => 2,
    }
}
