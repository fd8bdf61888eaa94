//! Register values, random ones, and the interpreter's side of a case.

use turncoat_cpu::{Cpu, Exit, FaultKind, Machine, PageRef, Prot, Share, Space, run};

/// Where the instruction stands.
pub const CODE: u64 = 0x4_2000_0000;
/// A page of zeros that may not be written, just below the window.
pub const LOW: u64 = WINDOW - 4096;
/// The page that operands are in; behind it nothing is mapped.
pub const WINDOW: u64 = 0x4_1000_0000;
/// Unmapped bytes behind the window.
pub const GUARD_LEN: usize = 1 << 16;
/// The window's bytes; its first few and its tail get random contents.
pub const MEMORY: usize = 4096;
/// The tail.
pub const TAIL: usize = 1024;

/// Registers.
#[derive(Clone, PartialEq, Eq)]
pub struct State {
    pub gpr: [u64; 16],
    pub rip: u64,
    pub flags: u64,
    /// FXSAVE64 image.
    pub fx: [u8; 512],
}

impl Default for State {
    fn default() -> State {
        State {
            gpr: [0; 16],
            rip: 0,
            flags: 0x202,
            fx: [0; 512],
        }
    }
}

/// How an instruction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trap {
    /// `int3` behind it was reached.
    Done,
    /// A page fault: address, error code.
    Page(u64, u64),
    Kind(FaultKind),
    Other(u64),
}

impl Trap {
    pub fn from_vector(vector: u64, address: u64, error: u64) -> Trap {
        use FaultKind::*;
        Trap::Kind(match vector {
            0 => DivideError,
            1 => Debug,
            3 => return Trap::Done,
            6 => InvalidOpcode,
            12 | 13 => GeneralProtection,
            // Linux shows faults beyond user space as faults of rights, so as not to tell what is there.
            14 if address >> 47 != 0 => return Trap::Page(address, error & !1),
            14 => return Trap::Page(address, error),
            16 => FloatingPoint,
            17 => AlignmentCheck,
            19 => SimdFloatingPoint,
            v => return Trap::Other(v),
        })
    }
}

/// xorshift64*, enough for operands.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 32) % n
    }
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// An integer: uniform, small, near a power of two, or a pattern.
    pub fn integer(&mut self) -> u64 {
        match self.below(8) {
            0..3 => self.next(),
            3 => self.below(40),
            4 => self.below(40).wrapping_neg(),
            5 => (1u64 << self.below(64))
                .wrapping_add(self.below(3))
                .wrapping_sub(1),
            6 => self.next() >> self.below(64),
            _ => self.pick(&[
                0,
                u64::MAX,
                0x8000_0000,
                0x7fff_ffff_ffff_ffff,
                0x80,
                0x7fff,
                1 << 63,
            ]),
        }
    }
    /// A binary64: ordinary, of any exponent, special, denormal, an integer.
    pub fn double(&mut self) -> u64 {
        let r = self.next();
        match self.below(10) {
            0..4 => (r & !(0x7ff << 52)) | (1023 - 20 + self.below(60)) << 52,
            4 => r,
            5 => ((r as i64 >> self.below(60)) as f64).to_bits(),
            6 => r & !(0x7ff << 52),
            7 => {
                (r & 0xf << 60)
                    | self.pick(&[0x7ff, 0x7fe, 1, 2, 0x3ff]) << 52
                    | r & 0xf_ffff >> self.below(20)
            }
            8 => (self.below(100) as f64 / 4.0 - 8.0).to_bits(),
            _ => self.pick(&[
                0,
                1 << 63,
                0x7ff0_0000_0000_0000,
                0xfff0_0000_0000_0000,
                0x7ff8_0000_0000_1234,
                0xfff0_0000_0000_0001,
                0x3ff0_0000_0000_0000,
                0x7fef_ffff_ffff_ffff,
                0x0010_0000_0000_0000,
            ]),
        }
    }
    /// A binary32 of the same kinds.
    pub fn single(&mut self) -> u32 {
        let r = self.next() as u32;
        match self.below(10) {
            0..4 => (r & !(0xff << 23)) | (127 - 10 + self.below(30) as u32) << 23,
            4 => r,
            5 => ((r as i32 >> self.below(30)) as f32).to_bits(),
            6 => r & !(0xff << 23),
            7 => (r & 1 << 31) | self.pick(&[0xff, 0xfe, 1, 2, 0x7f]) << 23 | r & 0xffff >> self.below(16),
            8 => (self.below(100) as f32 / 4.0 - 8.0).to_bits(),
            _ => self.pick(&[
                0,
                1 << 31,
                0x7f80_0000,
                0xff80_0000,
                0x7fc0_1234,
                0xff80_0001,
                0x3f80_0000,
                0x7f7f_ffff,
                0x0080_0000,
            ]),
        }
    }
    /// An 80-bit number: ordinary, special, denormal, unsupported.
    pub fn extended(&mut self) -> (u16, u64) {
        let r = self.next();
        let sign = (r & 0x8000) as u16;
        let m = self.next();
        let lead = 1 << 63;
        match self.below(12) {
            0..5 => (sign | (0x3fff - 20 + self.below(60) as u16), m | lead),
            5 => (sign | (r >> 16) as u16 & 0x7fff, m | lead),
            6 => (
                sign | (0x3fff + self.below(40) as u16),
                lead | m & (u64::MAX << self.below(64)),
            ),
            7 => (sign, m),
            8 => (sign | 0x7fff, m),
            9 => (sign | (r >> 16) as u16 & 0x7fff, m),
            10 => (sign | (0x3ff0 + self.below(32) as u16), lead),
            _ => self.pick(&[
                (0, 0),
                (0x8000, 0),
                (0x7fff, lead),
                (0xffff, lead),
                (0x3fff, lead),
                (0xbfff, lead),
                (0x7ffe, u64::MAX),
                (1, lead),
                (0xffff, 0xc000_0000_0000_0000),
            ]),
        }
    }
    /// Any kind of 128 bits.
    pub fn vector(&mut self) -> u128 {
        match self.below(4) {
            0 => u128::from(self.double()) << 64 | u128::from(self.double()),
            1 => (0..4).fold(0, |v, _| v << 32 | u128::from(self.single())),
            2 => u128::from(self.integer()) << 64 | u128::from(self.integer()),
            _ => {
                // Small alphabets, for string comparisons and equal lanes.
                (0..16).fold(0, |v, _| {
                    v << 8 | u128::from(self.pick(&[0u8, 1, b'a', b'b', b'c', 0x80, 0xff, b'z']))
                })
            }
        }
    }

    /// All registers but those that point somewhere.
    pub fn state(&mut self) -> State {
        let mut s = State {
            rip: CODE,
            ..State::default()
        };
        for g in &mut s.gpr {
            *g = self.integer();
        }
        s.flags = 0x202 | self.next() & 0x8d5 | if self.one_in(4) { 0x400 } else { 0 };
        let cw: u16 = match self.below(4) {
            0 | 1 => 0x37f,
            2 => 0x7f | (self.next() as u16 & 0x0f00),
            _ => 0x40 | (self.next() as u16 & 0x0f3f),
        };
        let top = self.below(8) as u16;
        let mut sw = top << 11 | self.next() as u16 & 0x4700;
        if self.one_in(4) {
            sw |= self.next() as u16 & 0x7f & cw;
        }
        if self.one_in(64) && cw & 0x3f != 0x3f {
            sw |= !cw & 0x3f | 0x8080;
        }
        s.fx[..2].copy_from_slice(&cw.to_le_bytes());
        s.fx[2..4].copy_from_slice(&sw.to_le_bytes());
        s.fx[4] = if self.one_in(3) {
            self.next() as u8
        } else {
            // The upper half in use, room to push.
            (0x1f_u8).rotate_left(u32::from(top))
        };
        for i in 0..8 {
            let (se, m) = self.extended();
            s.fx[32 + 16 * i..40 + 16 * i].copy_from_slice(&m.to_le_bytes());
            s.fx[40 + 16 * i..42 + 16 * i].copy_from_slice(&se.to_le_bytes());
        }
        let mxcsr: u32 = match self.below(4) {
            0 => 0x1f80,
            1 => 0x1fa0,
            2 => 0x1f80 | self.next() as u32 & 0xe07f,
            _ => self.next() as u32 & 0xffff,
        };
        s.fx[24..28].copy_from_slice(&mxcsr.to_le_bytes());
        for i in 0..16 {
            s.fx[160 + 16 * i..176 + 16 * i].copy_from_slice(&self.vector().to_le_bytes());
        }
        s
    }
    /// The window's bytes.
    pub fn memory(&mut self, out: &mut [u8]) {
        let (head, rest) = out.split_at_mut(32);
        let tail = rest.len() - TAIL;
        for c in head.chunks_exact_mut(16).chain(rest[tail..].chunks_exact_mut(16)) {
            if self.one_in(4) {
                let (se, m) = self.extended();
                c[..8].copy_from_slice(&m.to_le_bytes());
                c[8..10].copy_from_slice(&se.to_le_bytes());
            } else {
                c.copy_from_slice(&self.vector().to_le_bytes());
            }
        }
    }
}

/// The interpreter with the same code and memory.
pub struct Ours {
    space: Space,
    machine: Machine,
}

impl Ours {
    pub fn new(machine: Machine) -> Ours {
        let mut space = Space::new();
        let rw = Prot::READ | Prot::WRITE;
        space.map(CODE, PageRef::zeroed(), rw | Prot::EXEC, Share::Private);
        space.map(LOW, PageRef::zeroed(), Prot::READ, Share::Private);
        space.map(WINDOW, PageRef::zeroed(), rw, Share::Private);
        Ours { space, machine }
    }
    pub fn set_code(&mut self, code: &[u8]) {
        let mut b = [0xcc; 64];
        b[..code.len()].copy_from_slice(code);
        self.space.write(CODE, &b).expect("the code page is mapped");
    }
    pub fn run(&mut self, state: &mut State, memory: &mut [u8]) -> Trap {
        let at = WINDOW + 4096 - memory.len() as u64;
        self.space.write(at, memory).expect("the window is mapped");
        let mut cpu = Cpu::new();
        cpu.gpr = state.gpr;
        cpu.rip = state.rip;
        cpu.set_rflags(state.flags);
        cpu.fxrstor(&state.fx);
        let mut budget = 100_000;
        let exit = run(&mut cpu, &mut self.space, &mut self.machine, &mut budget);
        self.space.read(at, memory).expect("the window is mapped");
        state.gpr = cpu.gpr;
        state.rip = cpu.rip;
        state.flags = cpu.rflags();
        state.fx = cpu.fxsave();
        match exit {
            Exit::Fault(f) => match f.kind {
                FaultKind::Page => Trap::Page(f.addr, u64::from(f.error_code)),
                FaultKind::Breakpoint => Trap::Done,
                k => Trap::Kind(k),
            },
            Exit::Budget => Trap::Other(1000),
            Exit::Syscall => Trap::Other(1001),
        }
    }
    /// What the interpreter said it does not know.
    pub fn unimplemented(&self) -> Vec<String> {
        self.machine.unimplemented.keys().cloned().collect()
    }
}
