//! One thread's registers.

use crate::flags;
use turncoat_freeze::Freeze;

/// Index of RAX in [`Cpu::gpr`].
pub const RAX: usize = 0;
/// Index of RCX in [`Cpu::gpr`].
pub const RCX: usize = 1;
/// Index of RDX in [`Cpu::gpr`].
pub const RDX: usize = 2;
/// Index of RBX in [`Cpu::gpr`].
pub const RBX: usize = 3;
/// Index of RSP in [`Cpu::gpr`].
pub const RSP: usize = 4;
/// Index of RBP in [`Cpu::gpr`].
pub const RBP: usize = 5;
/// Index of RSI in [`Cpu::gpr`].
pub const RSI: usize = 6;
/// Index of RDI in [`Cpu::gpr`].
pub const RDI: usize = 7;
/// Index of R8 in [`Cpu::gpr`].
pub const R8: usize = 8;
/// Index of R9 in [`Cpu::gpr`].
pub const R9: usize = 9;
/// Index of R10 in [`Cpu::gpr`].
pub const R10: usize = 10;
/// Index of R11 in [`Cpu::gpr`].
pub const R11: usize = 11;
/// Index of R12 in [`Cpu::gpr`].
pub const R12: usize = 12;
/// Index of R13 in [`Cpu::gpr`].
pub const R13: usize = 13;
/// Index of R14 in [`Cpu::gpr`].
pub const R14: usize = 14;
/// Index of R15 in [`Cpu::gpr`].
pub const R15: usize = 15;

/// Flags that a user program can change besides the arithmetic ones: TF, DF, NT, AC, ID.
const OTHER: u32 = 0x100 | flags::DF | 0x4000 | 0x4_0000 | 0x20_0000;

/// One thread's registers: general, flags, segment bases, SSE, x87.
///
/// The layout up to `rip` is known to the interpreter, which addresses registers by byte offset.
#[derive(Clone, Freeze)]
#[repr(C, align(16))]
pub struct Cpu {
    /// General registers in encoding order (`RAX`, `RCX`, `RDX`, `RBX`, `RSP`, `RBP`, `RSI`, `RDI`, `R8`..`R15`).
    pub gpr: [u64; 16],
    /// Base address of FS.
    pub fs_base: u64,
    /// Base address of GS.
    pub gs_base: u64,
    /// Virtual address of the page whose code runs (scratch).
    pub(crate) page: u64,
    /// Always 0: the absent base or index register.
    pub(crate) zero: u64,
    /// Scratch of operations that need a computed address.
    pub(crate) tmp: u64,
    /// Instruction pointer.
    pub rip: u64,
    pub(crate) fl_kind: u32,
    /// Flags that are not arithmetic.
    pub(crate) fl_other: u32,
    pub(crate) fl_a: u64,
    pub(crate) fl_b: u64,
    pub(crate) spare: u64,
    /// SSE registers, as little-endian numbers.
    pub xmm: [u128; 16],
    /// SSE control and status.
    pub mxcsr: u32,
    /// x87 and MMX state.
    pub fpu: crate::x87::Fpu,
}

impl Default for Cpu {
    fn default() -> Self {
        Cpu::new()
    }
}

impl Cpu {
    /// Registers as after `execve`: all zero, control words at their defaults.
    pub fn new() -> Cpu {
        Cpu {
            gpr: [0; 16],
            fs_base: 0,
            gs_base: 0,
            page: 0,
            zero: 0,
            tmp: 0,
            rip: 0,
            fl_kind: flags::EAGER,
            fl_other: 0,
            fl_a: 0,
            fl_b: 0,
            spare: 0,
            xmm: [0; 16],
            mxcsr: 0x1f80,
            fpu: crate::x87::Fpu::new(),
        }
    }

    /// The six arithmetic flags.
    #[inline]
    pub(crate) fn arith(&self) -> u32 {
        flags::compute(self.fl_kind, self.fl_a, self.fl_b)
    }

    /// Sets the six arithmetic flags.
    #[inline]
    pub(crate) fn set_arith(&mut self, f: u32) {
        self.fl_kind = flags::EAGER;
        self.fl_a = u64::from(f);
        self.fl_b = 0;
    }

    /// RFLAGS as `pushf` shows it: IF and bit 1 are always set.
    pub fn rflags(&self) -> u64 {
        u64::from(self.arith() | self.fl_other | 0x202)
    }

    /// Sets RFLAGS as a user's `popf` does: IF, IOPL and other system bits keep their values.
    pub fn set_rflags(&mut self, value: u64) {
        self.set_arith(value as u32 & flags::ARITH);
        self.fl_other = value as u32 & OTHER;
    }

    /// Stable serialised form, for checkpoints and digests (little-endian; version byte first).
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![1];
        for v in self
            .gpr
            .iter()
            .chain([&self.fs_base, &self.gs_base, &self.rip, &self.rflags()])
        {
            out.extend_from_slice(&v.to_le_bytes());
        }
        out.extend_from_slice(&self.fxsave());
        out
    }

    /// Reads what [`Cpu::to_bytes`] wrote; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Cpu> {
        let (&version, rest) = bytes.split_first()?;
        let (words, fx) = rest.split_at_checked(20 * 8)?;
        let fx: &[u8; 512] = fx.try_into().ok()?;
        if version != 1 {
            return None;
        }
        let mut w = words
            .chunks_exact(8)
            .map(|c| c.iter().rev().fold(0u64, |a, &b| a << 8 | u64::from(b)));
        let mut cpu = Cpu::new();
        for g in &mut cpu.gpr {
            *g = w.next()?;
        }
        cpu.fs_base = w.next()?;
        cpu.gs_base = w.next()?;
        cpu.rip = w.next()?;
        cpu.set_rflags(w.next()?);
        cpu.fxrstor(fx);
        Some(cpu)
    }

    /// The 512-byte FXSAVE64 image (x87, MXCSR, SSE registers; reserved bytes are zero).
    pub fn fxsave(&self) -> [u8; 512] {
        let mut b = [0; 512];
        b[..160].copy_from_slice(&self.fpu.fxsave_head());
        b[24..28].copy_from_slice(&self.mxcsr.to_le_bytes());
        b[28..32].copy_from_slice(&0xffffu32.to_le_bytes());
        for (i, x) in self.xmm.iter().enumerate() {
            b[160 + 16 * i..176 + 16 * i].copy_from_slice(&x.to_le_bytes());
        }
        b
    }

    /// Loads an FXSAVE64 image; reserved MXCSR bits are dropped.
    pub fn fxrstor(&mut self, b: &[u8; 512]) {
        let mut head = [0; 160];
        head.copy_from_slice(&b[..160]);
        self.fpu.fxrstor_head(&head);
        self.mxcsr = u32::from_le_bytes([b[24], b[25], b[26], b[27]]) & 0xffff;
        for (i, x) in self.xmm.iter_mut().enumerate() {
            let mut v = [0; 16];
            v.copy_from_slice(&b[160 + 16 * i..176 + 16 * i]);
            *x = u128::from_le_bytes(v);
        }
    }
}

impl PartialEq for Cpu {
    fn eq(&self, other: &Cpu) -> bool {
        self.to_bytes() == other.to_bytes()
    }
}

impl std::fmt::Debug for Cpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const NAMES: [&str; 16] = [
            "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
            "r14", "r15",
        ];
        for (n, v) in NAMES.iter().zip(self.gpr) {
            write!(f, "{n}={v:#x} ")?;
        }
        write!(
            f,
            "rip={:#x} rflags={:#x} fs={:#x}",
            self.rip,
            self.rflags(),
            self.fs_base
        )
    }
}
