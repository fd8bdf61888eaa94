//! String instructions: a page at a time where that gives the same as one element at a time.

use super::op::*;
use crate::flags;
use crate::{Cpu, RAX, RCX, RDI, RSI};

pub(crate) const MOVS: u8 = 0;
pub(crate) const STOS: u8 = 1;
pub(crate) const LODS: u8 = 2;
pub(crate) const SCAS: u8 = 3;
pub(crate) const CMPS: u8 = 4;

/// A string instruction: `a` which, `b` log2 of the element, `index` the source's segment base, `x` the repetition (0
/// none, 1 rep/repe, 2 repne; bit 8: 32-bit addresses). Each iteration costs one unit of budget.
pub(crate) unsafe fn string(op: *const Op, cpu: *mut Cpu, cx: *mut Cx, b: i64) -> Ret {
    // SAFETY: the run's pointers.
    unsafe {
        let rep = (*op).x & 3;
        let mask = if (*op).x & 0x100 != 0 {
            0xffff_ffff
        } else {
            u64::MAX
        };
        if rep == 0 {
            return match chunk(op, cpu, cx, 1, mask) {
                Ok(_) => go::<false>(op.add(1), cpu, cx, b),
                Err(Miss) => fault(op, cpu, cx, b),
            };
        }
        let left = i64::from((*op).left);
        let avail = (b + left) as u64;
        let mut done = 0u64;
        loop {
            let count = (*cpu).gpr[RCX] & mask;
            if count == 0 {
                break;
            }
            if done == avail {
                // Out of budget in the middle: the instruction goes on in the next run.
                (*cpu).rip = (*cpu).page.wrapping_add(u64::from((*op).pc));
                return stop(cx, Why::Spent, 0);
            }
            match chunk(op, cpu, cx, count.min(avail - done), mask) {
                Ok((n, end)) => {
                    done += n;
                    (*cpu).gpr[RCX] = count - n;
                    if end {
                        break;
                    }
                    if (*cx).dirty && count > n {
                        // It may have overwritten itself: fetch it anew, as after any other interruption.
                        (*cpu).rip = (*cpu).page.wrapping_add(u64::from((*op).pc));
                        return stop(cx, Why::Enter, b + left - done as i64);
                    }
                }
                Err(Miss) => {
                    (*cpu).rip = (*cpu).page.wrapping_add(u64::from((*op).pc));
                    return stop(cx, Why::Fault, b + left - done as i64);
                }
            }
        }
        let rest = b + 1 - done.max(1) as i64;
        if rest >= 0 {
            return go::<false>(op.add(1), cpu, cx, rest);
        }
        // The rest of the block is not paid any more.
        (*cpu).rip = (*cpu).page.wrapping_add((*op).disp as i64 as u64);
        stop(cx, Why::Enter, b + left - done as i64)
    }
}

unsafe fn get(p: *const u8, log: u8) -> u64 {
    // SAFETY: the caller has 1 << log bytes at `p`.
    unsafe {
        match log {
            0 => u64::from(*p),
            1 => u64::from(p.cast::<u16>().read_unaligned()),
            2 => u64::from(p.cast::<u32>().read_unaligned()),
            _ => p.cast::<u64>().read_unaligned(),
        }
    }
}

unsafe fn put(p: *mut u8, log: u8, v: u64) {
    // SAFETY: the caller has 1 << log bytes at `p`.
    unsafe {
        match log {
            0 => *p = v as u8,
            1 => p.cast::<u16>().write_unaligned(v as u16),
            2 => p.cast::<u32>().write_unaligned(v as u32),
            _ => p.cast::<u64>().write_unaligned(v),
        }
    }
}

/// Does up to `max` (at least 1) iterations without leaving a page; returns how many, and whether a comparison ended
/// the repetition. Registers are updated; nothing is when it faults.
unsafe fn chunk(op: *const Op, cpu: *mut Cpu, cx: *mut Cx, max: u64, mask: u64) -> Result<(u64, bool), Miss> {
    // SAFETY: `fill_*` give pointers that are good to the end of the page, and `n` elements fit before it.
    unsafe {
        let (kind, log) = ((*op).a, (*op).b);
        let size = 1u64 << log;
        let down = (*cpu).fl_other & flags::DF != 0;
        let g = &raw mut (*cpu).gpr;
        let (si, di) = ((*g)[RSI] & mask, (*g)[RDI] & mask);
        let src = si.wrapping_add(reg::<u64>(cpu, (*op).index));
        let uses_src = matches!(kind, MOVS | LODS | CMPS);
        let uses_dst = kind != LODS;
        let room = |va: u64| (4096 - (va & 0xfff)) >> log;
        let mut n = if down { 1 } else { max };
        if uses_src {
            n = n.min(room(src));
        }
        if uses_dst {
            n = n.min(room(di));
        }
        let mut buf = [0u8; 16];
        let (mut a, mut b) = (std::ptr::null::<u8>(), std::ptr::null_mut::<u8>());
        let split = n == 0;
        let mut n = n.max(1);
        if !split {
            if matches!(kind, MOVS | STOS) {
                b = fill_w(cx, di, true)?;
                if (*cx).dirty {
                    n = 1;
                }
            } else if uses_dst {
                b = fill_r(cx, di)?.cast_mut();
            }
            if uses_src {
                a = fill_r(cx, src)?;
            }
        } else {
            // One element that lies on two pages.
            let s = size as usize;
            if uses_src {
                read_bytes(cx, src, &mut buf[..s])?;
                a = buf.as_ptr();
            }
            if kind == MOVS {
                write_bytes(cx, di, std::slice::from_raw_parts(a, s))?;
            } else if kind == STOS {
                write_bytes(cx, di, &(*g)[RAX].to_le_bytes()[..s])?;
            } else if uses_dst {
                read_bytes(cx, di, &mut buf[8..8 + s])?;
                b = buf.as_mut_ptr().add(8);
            }
        }
        let bytes = (n * size) as usize;
        let mut made = n;
        let mut end = false;
        match kind {
            MOVS if split => {}
            STOS if split => {}
            MOVS => {
                let ahead = (b as usize).wrapping_sub(a as usize);
                if ahead == 0 || ahead >= bytes {
                    std::ptr::copy(a, b, bytes);
                } else {
                    for i in 0..n as usize {
                        let off = i << log;
                        put(b.add(off), log, get(a.add(off), log));
                    }
                }
            }
            STOS => {
                let v = (*g)[RAX];
                let byte = v as u8;
                if log == 0 || v == u64::from(byte) * 0x0101_0101_0101_0101 {
                    std::ptr::write_bytes(b, byte, bytes);
                } else {
                    for i in 0..n as usize {
                        put(b.add(i << log), log, v);
                    }
                }
            }
            LODS => {
                let v = get(a.add((n as usize - 1) << log), log);
                match log {
                    0 => set_reg(cpu, 0, v as u8),
                    1 => set_reg(cpu, 0, v as u16),
                    2 => set_reg(cpu, 0, v as u32),
                    _ => set_reg(cpu, 0, v),
                }
            }
            _ => {
                let keep = if log == 3 { u64::MAX } else { (1 << (8 * size)) - 1 };
                let want_equal = (*op).x & 3 != 2;
                let (mut x, mut y) = (0, 0);
                made = 0;
                while made < n {
                    let off = (made as usize) << log;
                    x = if kind == SCAS {
                        (*g)[RAX] & keep
                    } else {
                        get(a.add(off), log)
                    };
                    y = get(b.add(off), log);
                    made += 1;
                    if (*op).x & 3 != 0 && (x == y) != want_equal {
                        end = true;
                        break;
                    }
                }
                lazy_of(cpu, u32::from(log), flags::SUB, x, y);
            }
        }
        let step = if down {
            0u64.wrapping_sub(made * size)
        } else {
            made * size
        };
        if uses_src {
            (*g)[RSI] = si.wrapping_add(step) & mask;
        }
        if uses_dst {
            (*g)[RDI] = di.wrapping_add(step) & mask;
        }
        Ok((made, end))
    }
}
