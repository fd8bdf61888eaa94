//! Blocks: straight runs of instructions, decoded from a page or fetched one by one.

use iced_x86::{Decoder, DecoderError, DecoderOptions, Instruction, Mnemonic, OpKind};

use super::lower::{Flow, Lower};
use super::op::*;
use super::{flow, straight, superinstruction};
use crate::fault::{Fault, FaultKind};
use crate::memory::{PAGE_SIZE, PageRef};
use crate::{Cpu, Space};

/// Longest block, in instructions.
const BLOCK_MAX: usize = 32;
/// The six arithmetic flags as iced numbers them.
const ARITH: u32 = 0x3f;

/// The page that holds `va`, if code may be fetched from it.
pub(super) fn fetch_page(space: &Space, va: u64) -> Result<&PageRef, Fault> {
    if va.wrapping_add(1 << 47) >> 48 != 0 {
        return Err(Fault::new(FaultKind::GeneralProtection));
    }
    let entry = if va >> 47 == 0 {
        space.entry(va >> 12)
    } else {
        None
    };
    match entry {
        Some(e) if executable(e.prot) => Ok(e.page),
        e => Err(Fault {
            kind: FaultKind::Page,
            addr: va,
            error_code: 0x14 | u32::from(e.is_some()),
            done: 0,
        }),
    }
}

/// Whether nothing can stop the run at this instruction, so that flags may be dead across it.
fn smooth(i: &Instruction) -> bool {
    use Mnemonic as M;
    !i.op_kinds()
        .any(|k| k == OpKind::Memory && i.mnemonic() != M::Lea)
        && matches!(
            i.mnemonic(),
            M::Mov
                | M::Lea
                | M::Add
                | M::Sub
                | M::Adc
                | M::Sbb
                | M::And
                | M::Or
                | M::Xor
                | M::Cmp
                | M::Test
                | M::Inc
                | M::Dec
                | M::Neg
                | M::Not
                | M::Bswap
                | M::Shl
                | M::Shr
                | M::Sar
                | M::Rol
                | M::Ror
                | M::Imul
                | M::Movzx
                | M::Movsx
                | M::Movsxd
                | M::Nop
                | M::Endbr64
                | M::Cdqe
                | M::Cwde
                | M::Cdq
                | M::Cqo
                | M::Movd
                | M::Movq
                | M::Pxor
                | M::Por
                | M::Pand
                | M::Pcmpeqb
                | M::Pmovmskb
        )
        && !i.op_kinds().enumerate().any(|(n, k)| {
            k == OpKind::Register
                && (i.op_register(n as u32).is_segment_register() || i.op_register(n as u32).is_mm())
        })
}

/// For each instruction whether the flags it sets are seen by nobody.
fn dead_flags(list: &[Instruction]) -> Vec<bool> {
    let mut live = ARITH;
    let mut dead = vec![false; list.len()];
    for (n, i) in list.iter().enumerate().rev() {
        let sets = i.rflags_modified() & ARITH;
        dead[n] = sets != 0 && sets & live == 0;
        if smooth(i) {
            // A shift by a count that may be 0 sets nothing for certain.
            let by_cl = matches!(
                i.mnemonic(),
                Mnemonic::Shl | Mnemonic::Shr | Mnemonic::Sar | Mnemonic::Rol | Mnemonic::Ror
            );
            let certain = if by_cl { 0 } else { sets };
            live = live & !certain | i.rflags_read() & ARITH;
        } else {
            live = ARITH;
        }
    }
    dead
}

/// Decodes the block at offset `off`. `None`: its first instruction reaches into the next page.
pub(super) fn build(page: &PageRef, off: usize, kind: usize) -> Option<Vec<Op>> {
    let mut bytes = [0; PAGE_SIZE];
    let n = page.read(off, &mut bytes);
    let mut d = Decoder::with_ip(64, &bytes[..n], off as u64, DecoderOptions::NONE);
    let mut list = Vec::with_capacity(BLOCK_MAX);
    let mut end = off;
    while list.len() < BLOCK_MAX && end < PAGE_SIZE {
        let i = d.decode();
        if i.is_invalid() && d.last_error() == DecoderError::NoMoreBytes {
            break;
        }
        end = i.next_ip() as usize;
        let stop = i.is_invalid() || ends_block(&i);
        list.push(i);
        if stop {
            break;
        }
    }
    if list.is_empty() {
        return None;
    }
    Some(if kind == 0 {
        assemble::<true>(&list, true)
    } else {
        assemble::<false>(&list, false)
    })
}

/// Cheap test for the end of a block; `lower` has the last word.
fn ends_block(i: &Instruction) -> bool {
    use iced_x86::FlowControl as C;
    !matches!(i.flow_control(), C::Next)
        || matches!(i.mnemonic(), Mnemonic::Popfq | Mnemonic::Popf | Mnemonic::Syscall)
}

/// Makes operations of instructions, with the jump to what is behind them.
fn assemble<const F: bool>(list: &[Instruction], optimise: bool) -> Vec<Op> {
    let dead = if optimise {
        dead_flags(list)
    } else {
        vec![false; list.len()]
    };
    let mut ops = Vec::with_capacity(list.len() + 2);
    let mut starts = Vec::with_capacity(list.len());
    let mut n = 0;
    let mut count = list.len();
    let mut flow = Flow::Next;
    while n < list.len() {
        let i = &list[n];
        starts.push((ops.len(), n));
        let mut l = Lower {
            ops: &mut ops,
            pc: i.ip() as u16,
            next: i.next_ip() as i32,
        };
        let fused = if F && optimise {
            straight::fuse(&mut l, &list[n..], &dead[n..])
        } else {
            0
        };
        if fused > 0 {
            flow = Flow::Next;
            n += fused;
        } else if F && optimise && n + 1 < list.len() && l.fuse(i, &list[n + 1]) {
            flow = Flow::End;
            n += 2;
        } else if F && optimise && n + 1 < list.len() && l.fuse_move(i, &list[n + 1], dead[n + 1]) {
            flow = Flow::Next;
            n += 2;
        } else {
            flow = l.lower::<F>(i, dead[n]);
            n += 1;
        }
        if flow == Flow::End {
            count = n;
            break;
        }
    }
    starts.push((ops.len(), count));
    for w in starts.windows(2) {
        for op in &mut ops[w[0].0..w[1].0] {
            op.left = (count - w[0].1) as u8;
        }
    }
    if flow == Flow::Next {
        let next = list[count - 1].next_ip() as i32;
        let mut l = Lower {
            ops: &mut ops,
            pc: (next & 0xffff) as u16,
            next,
        };
        l.push(flow::jmp::<F>).disp = next;
    }
    if F && optimise && !cfg!(feature = "counts") {
        superinstruction::join(&mut ops);
    }
    ops
}

/// Decodes the one instruction at `rip`, wherever it lies, for the slow handlers; its block has one instruction.
pub(super) unsafe fn single(cpu: *mut Cpu, cx: *mut Cx) -> Result<Box<[Op]>, Fault> {
    // SAFETY: the run's pointers.
    let (va, space) = unsafe { ((*cpu).rip, &*(*cx).space) };
    let mut bytes = [0; 15];
    let off = (va & 0xfff) as usize;
    let mut n = fetch_page(space, va)?.read(off, &mut bytes);
    let decode = |b: &[u8]| {
        let mut d = Decoder::with_ip(64, b, off as u64, DecoderOptions::NONE);
        let i = d.decode();
        (i, i.is_invalid() && d.last_error() == DecoderError::NoMoreBytes)
    };
    let (mut i, short) = decode(&bytes[..n]);
    if short && n < 15 {
        let second = fetch_page(space, va.wrapping_add(n as u64))?;
        n += second.read(0, &mut bytes[n..]);
        i = decode(&bytes[..n]).0;
    }
    // SAFETY: the run's registers.
    unsafe { (*cpu).page = va & !0xfff };
    Ok(assemble::<false>(&[i], false).into_boxed_slice())
}
