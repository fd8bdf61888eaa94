//! What looks at single bits: bit tests, scans and counts, and a checksum.

use std::marker::PhantomData;

use super::op::*;
use crate::Cpu;
use crate::flags::{CF, ZF};

pub(crate) const BT: u8 = 0;
pub(crate) const BTS: u8 = 1;
pub(crate) const BTR: u8 = 2;
pub(crate) const BTC: u8 = 3;

/// `bt*` on `Rm`: bit number from `a`, or from the immediate if x is 1. A register bit number reaches beyond memory
/// operands.
pub(crate) struct Bt<W, const O: u8>(PhantomData<W>);

impl<W: Word, const O: u8> Insn for Bt<W, O> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let by_imm = (*op).x == 1;
            let n = if by_imm {
                (*op).imm()
            } else {
                sx(reg::<W>(cpu, (*op).a))
            };
            let bit = 1u64 << (n & u64::from(W::BITS - 1));
            let flip = |v: u64| match O {
                BTS => v | bit,
                BTR => v & !bit,
                BTC => v ^ bit,
                _ => v,
            };
            let v;
            if (*op).b == MEM {
                let mut va = ea(op, cpu);
                if !by_imm {
                    va = va.wrapping_add(((n as i64 >> (3 + W::LOG)) << W::LOG) as u64);
                }
                if O == BT {
                    v = load::<F, W>(cx, va)?.to64();
                } else {
                    v = load_rw::<F, W>(cx, va)?.to64();
                    store::<F, W>(cx, va, W::from64(flip(v)))?;
                }
            } else {
                v = reg::<W>(cpu, (*op).b).to64();
                if O != BT {
                    set_reg(cpu, (*op).b, W::from64(flip(v)));
                }
            }
            let f = (*cpu).arith() & !CF;
            (*cpu).set_arith(f | u32::from(v & bit != 0));
            Ok(())
        }
    }
}

pub(crate) const BSF: u8 = 0;
pub(crate) const BSR: u8 = 1;
pub(crate) const TZCNT: u8 = 2;
pub(crate) const LZCNT: u8 = 3;
pub(crate) const POPCNT: u8 = 4;

/// Bit scans and counts: `a = scan(Rm)`. TZCNT and LZCNT act as BSF and BSR where CPUID does not show them.
pub(crate) struct Scan<W, const O: u8>(PhantomData<W>);

impl<W: Word, const O: u8> Insn for Scan<W, O> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let v = Rm::get::<F, W>(op, cpu, cx)?.to64();
            let m = &*(*cx).machine;
            let o = match O {
                TZCNT if !m.has_bmi1() => BSF,
                LZCNT if !m.has_lzcnt() => BSR,
                _ => O,
            };
            let lead = |v: u64| u64::from(v.leading_zeros() - (64 - W::BITS));
            let old = (*cpu).arith();
            let f = match o {
                POPCNT => {
                    set_reg(cpu, (*op).a, W::from64(u64::from(v.count_ones())));
                    if v == 0 { ZF } else { 0 }
                }
                TZCNT | LZCNT => {
                    let r = match (v == 0, o == TZCNT) {
                        (true, _) => u64::from(W::BITS),
                        (_, true) => u64::from(v.trailing_zeros()),
                        _ => lead(v),
                    };
                    set_reg(cpu, (*op).a, W::from64(r));
                    old & !(ZF | CF) | u32::from(v == 0) | if r == 0 { ZF } else { 0 }
                }
                // The other flags are undefined; processors leave them.
                _ if v == 0 => old | ZF,
                _ => {
                    let r = if o == BSF {
                        u64::from(v.trailing_zeros())
                    } else {
                        u64::from(W::BITS - 1) - lead(v)
                    };
                    set_reg(cpu, (*op).a, W::from64(r));
                    old & !ZF
                }
            };
            (*cpu).set_arith(f);
            Ok(())
        }
    }
}

/// `crc32 a, Rm`.
pub(crate) struct Crc32<W>(PhantomData<W>);

impl<W: Word> Insn for Crc32<W> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let v = Rm::get::<F, W>(op, cpu, cx)?.to64();
            let mut crc = reg::<u32>(cpu, (*op).a);
            for i in 0..W::N {
                crc = CRC[((crc ^ (v >> (8 * i)) as u32) & 0xff) as usize] ^ crc >> 8;
            }
            set_reg(cpu, (*op).a, u64::from(crc));
            Ok(())
        }
    }
}

/// CRC-32C (Castagnoli), reflected.
static CRC: [u32; 256] = {
    let mut t = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut c = i as u32;
        let mut k = 0;
        while k < 8 {
            c = if c & 1 != 0 { c >> 1 ^ 0x82f6_3b78 } else { c >> 1 };
            k += 1;
        }
        t[i] = c;
        i += 1;
    }
    t
};
