//! Two or three instructions between registers in one operation.
//!
//! What costs an interpreter most on straight code is to find the next handler: the host's processor guesses wrong in a long run of
//! instructions that are all different. So neighbours that touch registers alone and cannot fault are made one operation; but for the last one's,
//! nobody sees the flags that they leave.

use super::lower::goff;
use super::op::{Cx, Handler, Op, Ret, Word, go, lazy, reg, set_reg};
use crate::{Cpu, flags};
use iced_x86::{Instruction, Mnemonic, OpKind};

const MOV: u8 = 0;
const XOR: u8 = 1;
const ADD: u8 = 2;
const AND: u8 = 3;
const OR: u8 = 4;
const SUB: u8 = 5;
const ROR: u8 = 6;
const SHR: u8 = 7;

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
        !matches!(self.kind, MOV | ROR | SHR)
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
        Mnemonic::Mov => MOV,
        Mnemonic::Xor => XOR,
        Mnemonic::Add => ADD,
        Mnemonic::And => AND,
        Mnemonic::Or => OR,
        Mnemonic::Sub => SUB,
        Mnemonic::Ror | Mnemonic::Rol => ROR,
        Mnemonic::Shr => SHR,
        _ => return None,
    };
    let with = match (kind, i.op1_kind()) {
        (ROR | SHR, OpKind::Immediate8) => {
            let bits = if wide { 64 } else { 32 };
            // A shift by nothing keeps the flags of before: left to the ordinary handler.
            let n = i.immediate8() & (bits - 1);
            match i.mnemonic() {
                _ if n == 0 => return None,
                Mnemonic::Rol => bits - n,
                _ => n,
            }
        }
        (ROR | SHR, _) => return None,
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
    (kind == MOV || dead || part.sets_flags()).then_some((part, kind == MOV || dead))
}

/// `LAST`: the flags are set, too.
#[inline(always)]
unsafe fn exec<W: Word, const K: u8, const LAST: bool>(cpu: *mut Cpu, to: u8, with: u8) {
    // SAFETY: `to` and, but for shifts, `with` are offsets of registers, as the decoder made them.
    unsafe {
        let a = if K == MOV { 0 } else { reg::<W>(cpu, to).to64() };
        let b = if K == ROR || K == SHR {
            u64::from(with)
        } else {
            reg::<W>(cpu, with).to64()
        };
        let r = match K {
            MOV => b,
            XOR => a ^ b,
            ADD => a.wrapping_add(b),
            AND => a & b,
            OR => a | b,
            SUB => a.wrapping_sub(b),
            ROR if W::LOG == 2 => u64::from((a as u32).rotate_right(b as u32)),
            ROR => a.rotate_right(b as u32),
            _ => a >> (b & 63),
        };
        set_reg(cpu, to, W::from64(r));
        if LAST {
            match K {
                ADD => lazy(cpu, flags::ADD + W::LOG, a, b),
                SUB => lazy(cpu, flags::SUB + W::LOG, a, b),
                XOR | AND | OR => lazy(cpu, flags::LOGIC + W::LOG, r, 0),
                _ => {}
            }
        }
    }
}

unsafe fn two<W: Word, V: Word, const K: u8, const L: u8>(
    op: *const Op,
    cpu: *mut Cpu,
    cx: *mut Cx,
    b: i64,
) -> Ret {
    // SAFETY: the run's pointers; `op` has a successor, for a block ends with a jump.
    unsafe {
        exec::<W, K, false>(cpu, (*op).a, (*op).b);
        exec::<V, L, true>(cpu, (*op).base, (*op).index);
        go::<true>(op.add(1), cpu, cx, b)
    }
}

unsafe fn three<W: Word, const K: u8, const L: u8, const M: u8>(
    op: *const Op,
    cpu: *mut Cpu,
    cx: *mut Cx,
    b: i64,
) -> Ret {
    // SAFETY: as in `two`.
    unsafe {
        exec::<W, K, false>(cpu, (*op).a, (*op).b);
        exec::<W, L, false>(cpu, (*op).base, (*op).index);
        let last = (*op).x;
        exec::<W, M, true>(cpu, last as u8, (last >> 8) as u8);
        go::<true>(op.add(1), cpu, cx, b)
    }
}

/// Makes a constant of a kind.
macro_rules! by_kind {
    ($kind:expr, $K:ident => $e:expr) => {
        match $kind {
            MOV => {
                const $K: u8 = MOV;
                $e
            }
            XOR => {
                const $K: u8 = XOR;
                $e
            }
            ADD => {
                const $K: u8 = ADD;
                $e
            }
            AND => {
                const $K: u8 = AND;
                $e
            }
            OR => {
                const $K: u8 = OR;
                $e
            }
            SUB => {
                const $K: u8 = SUB;
                $e
            }
            ROR => {
                const $K: u8 = ROR;
                $e
            }
            _ => {
                const $K: u8 = SHR;
                $e
            }
        }
    };
}

fn two_h<W: Word, V: Word>(p: [u8; 2]) -> Handler {
    by_kind!(p[0], K => by_kind!(p[1], L => two::<W, V, K, L> as Handler))
}

fn three_h<W: Word>(p: [u8; 3]) -> Handler {
    by_kind!(p[0], K => by_kind!(p[1], L => by_kind!(p[2], M => three::<W, K, L, M> as Handler)))
}

/// One operation for the first instructions of `list`, and for how many; `dead` says of each whether its flags are seen by nobody.
pub(super) fn fused(
    list: &[Instruction],
    dead: &[bool],
) -> Option<(impl FnOnce(&mut Op) + use<>, Handler, usize)> {
    let mut parts = list.iter().zip(dead).map_while(|(i, d)| part(i, *d));
    let (p, true) = parts.next()? else { return None };
    let (q, go_on) = parts.next()?;
    let third = if go_on && p.wide == q.wide {
        parts.next()
    } else {
        None
    };
    let third = third.map(|r| r.0).filter(|r| r.wide == p.wide);
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
    let fill = move |op: &mut Op| {
        (op.a, op.b, op.base, op.index) = (p.to, p.with, q.to, q.with);
        if let Some(r) = third {
            op.x = u32::from(r.to) | u32::from(r.with) << 8;
        }
    };
    Some((fill, h, if third.is_some() { 3 } else { 2 }))
}
