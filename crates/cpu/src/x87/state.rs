//! The register stack, its control and status words, and the memory images of them.

use super::f80::{Class, F80};
use turncoat_freeze::Freeze;

/// x87 and MMX state.
#[derive(Clone, Debug, PartialEq, Eq, Freeze)]
pub struct Fpu {
    /// Physical registers; the low 64 bits of register `i` are MMX register `i`.
    pub(super) regs: [F80; 8],
    /// Physical registers in use, a bit each.
    pub(super) used: u8,
    /// Physical index of ST(0).
    pub(super) top: u8,
    /// Control word.
    pub(super) cw: u16,
    /// Status word without TOP.
    pub(super) sw: u16,
    /// Opcode (11 bits) of the last instruction that was not a control instruction.
    pub(super) fop: u16,
    /// Its address.
    pub(super) fip: u64,
    /// Its operand's address.
    pub(super) fdp: u64,
}

/// Status word: an unmasked exception waits (ES), and its copy B.
pub(super) const ES: u16 = 0x8080;
pub(super) const SF: u16 = 0x40;
pub(super) const C0: u16 = 0x100;
pub(super) const C1: u16 = 0x200;
pub(super) const C2: u16 = 0x400;
pub(super) const C3: u16 = 0x4000;
/// Control word bits that exist; bit 6 reads as 1.
const CW_BITS: u16 = 0x1f3f;

impl Default for Fpu {
    fn default() -> Self {
        Fpu::new()
    }
}

fn word(b: &[u8], at: usize) -> u16 {
    b.get(at..at + 2).map_or(0, |s| u16::from_le_bytes([s[0], s[1]]))
}
fn dword(b: &[u8], at: usize) -> u32 {
    u32::from(word(b, at)) | u32::from(word(b, at + 2)) << 16
}
fn qword(b: &[u8], at: usize) -> u64 {
    u64::from(dword(b, at)) | u64::from(dword(b, at + 4)) << 32
}
fn f80(b: &[u8], at: usize) -> F80 {
    F80 {
        mant: qword(b, at),
        se: word(b, at + 8),
    }
}

impl Fpu {
    /// After `fninit`.
    pub fn new() -> Fpu {
        Fpu {
            regs: [F80::default(); 8],
            used: 0,
            top: 0,
            cw: 0x37f,
            sw: 0,
            fop: 0,
            fip: 0,
            fdp: 0,
        }
    }
    /// `fninit`: registers keep their contents but are empty.
    pub fn fninit(&mut self) {
        *self = Fpu {
            regs: self.regs,
            ..Fpu::new()
        };
    }
    /// The control word.
    pub fn control(&self) -> u16 {
        self.cw
    }
    /// `fldcw`.
    pub fn set_control(&mut self, cw: u16) {
        self.cw = cw & CW_BITS | 0x40;
        self.update_summary();
    }
    /// The status word with TOP.
    pub fn status(&self) -> u16 {
        self.sw | u16::from(self.top) << 11
    }
    fn set_status(&mut self, sw: u16) {
        self.top = (sw >> 11 & 7) as u8;
        self.sw = sw & 0x477f;
        self.update_summary();
    }
    fn update_summary(&mut self) {
        self.sw &= !ES;
        if self.sw & !self.cw & 0x3f != 0 {
            self.sw |= ES;
        }
    }
    /// `fnclex`.
    pub fn fnclex(&mut self) {
        self.sw &= !(ES | 0x7f);
    }
    /// Whether the next waiting x87 or MMX instruction raises #MF.
    pub fn pending(&self) -> bool {
        self.sw & ES != 0
    }
    /// Records the address (and opcode: low three bits of the first byte, then the second) of an instruction, as
    /// `fnstenv` shows it. Not for control instructions.
    pub fn note(&mut self, rip: u64, opcode: u16) {
        self.fip = rip;
        self.fop = opcode & 0x7ff;
    }
    /// Records the address of a memory operand.
    pub fn note_operand(&mut self, addr: u64) {
        self.fdp = addr;
    }

    /// An MMX register.
    #[inline]
    pub fn mm(&self, i: usize) -> u64 {
        self.regs[i & 7].mant
    }
    /// Writes an MMX register; the x87 view of it becomes a NaN.
    #[inline]
    pub fn set_mm(&mut self, i: usize, v: u64) {
        self.regs[i & 7] = F80 { se: 0xffff, mant: v };
    }
    /// What every MMX instruction except `emms` does to the x87: all registers in use, TOP 0.
    #[inline]
    pub fn enter_mmx(&mut self) {
        self.top = 0;
        self.used = 0xff;
    }
    /// `emms`: all registers empty.
    pub fn emms(&mut self) {
        self.top = 0;
        self.used = 0;
    }

    /// Two bits for each physical register: 0 valid, 1 zero, 2 special, 3 empty.
    fn full_tags(&self) -> u16 {
        (0..8).fold(0, |t, i| {
            let tag = match self.regs[i].class() {
                _ if self.used >> i & 1 == 0 => 3,
                Class::Zero => 1,
                Class::Normal => 0,
                _ => 2,
            };
            t | tag << (2 * i)
        })
    }
    fn set_full_tags(&mut self, t: u16) {
        self.used = (0..8).fold(0, |u, i| u | u8::from(t >> (2 * i) & 3 != 3) << i);
    }

    /// The 28-byte (or, with `short`, the 14-byte) environment of `fnstenv`, which also masks all exceptions.
    pub fn fnstenv(&mut self, short: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(28);
        let head = [self.cw, self.status(), self.full_tags()];
        if short {
            for v in head.into_iter().chain([self.fip as u16, 0, self.fdp as u16, 0]) {
                out.extend_from_slice(&v.to_le_bytes());
            }
        } else {
            for v in head {
                out.extend_from_slice(&(0xffff_0000 | u32::from(v)).to_le_bytes());
            }
            for v in [
                self.fip as u32,
                u32::from(self.fop) << 16,
                self.fdp as u32,
                0xffff_0000,
            ] {
                out.extend_from_slice(&v.to_le_bytes());
            }
        }
        self.cw |= 0x3f;
        self.update_summary();
        out
    }
    /// `fldenv`; a short slice counts as zeros.
    pub fn fldenv(&mut self, b: &[u8], short: bool) {
        let step = if short { 2 } else { 4 };
        self.cw = word(b, 0) & CW_BITS | 0x40;
        self.set_full_tags(word(b, 2 * step));
        self.set_status(word(b, step));
        if short {
            self.fip = u64::from(word(b, 6));
            self.fdp = u64::from(word(b, 10));
            self.fop = 0;
        } else {
            self.fip = u64::from(dword(b, 12));
            self.fop = word(b, 18) & 0x7ff;
            self.fdp = u64::from(dword(b, 20));
        }
    }
    /// `fnsave`: environment and registers from ST(0) on (108 or 94 bytes), then `fninit`.
    pub fn fnsave(&mut self, short: bool) -> Vec<u8> {
        let mut out = self.fnstenv(short);
        for i in 0..8 {
            out.extend_from_slice(&self.regs[self.phys(i)].to_bits().to_le_bytes()[..10]);
        }
        self.fninit();
        out
    }
    /// `frstor`; a short slice counts as zeros.
    pub fn frstor(&mut self, b: &[u8], short: bool) {
        self.fldenv(b, short);
        let head = if short { 14 } else { 28 };
        for i in 0..8 {
            self.regs[(usize::from(self.top) + i) & 7] = f80(b, head + 10 * i);
        }
    }

    /// The first 160 bytes of FXSAVE64 (MXCSR and its mask left zero).
    pub fn fxsave_head(&self) -> [u8; 160] {
        let mut b = [0; 160];
        b[..2].copy_from_slice(&self.cw.to_le_bytes());
        b[2..4].copy_from_slice(&self.status().to_le_bytes());
        b[4] = self.used;
        b[6..8].copy_from_slice(&self.fop.to_le_bytes());
        b[8..16].copy_from_slice(&self.fip.to_le_bytes());
        b[16..24].copy_from_slice(&self.fdp.to_le_bytes());
        for i in 0..8 {
            let r = self.regs[(usize::from(self.top) + i) & 7].to_bits().to_le_bytes();
            b[32 + 16 * i..42 + 16 * i].copy_from_slice(&r[..10]);
        }
        b
    }
    /// Loads the first 160 bytes of FXSAVE64.
    pub fn fxrstor_head(&mut self, b: &[u8; 160]) {
        self.cw = word(b, 0) & CW_BITS | 0x40;
        self.set_status(word(b, 2));
        self.used = b[4];
        self.fop = word(b, 6) & 0x7ff;
        self.fip = qword(b, 8);
        self.fdp = qword(b, 16);
        for i in 0..8 {
            self.regs[(usize::from(self.top) + i) & 7] = f80(b, 32 + 16 * i);
        }
    }
}
