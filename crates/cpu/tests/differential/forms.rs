//! Every instruction form of 64-bit mode that belongs to x86-64-v2 with AES, PCLMULQDQ, MMX and x87: which are
//! compared with the processor, which are not and why; and random encodings of them.

use crate::state::{CODE, LOW, Random, State, TAIL, WINDOW};
use iced_x86::{
    Code, CpuidFeature, Encoder, EncodingKind, FlowControl, Instruction, InstructionInfoFactory, Mnemonic,
    OpAccess, OpCodeOperandKind as K, OpKind, Register,
};

/// Whether and how a form is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coverage {
    /// Compared with the processor.
    Compared,
    /// Not, for this reason.
    Not(&'static str),
}

const FEATURES: &[CpuidFeature] = &[
    CpuidFeature::INTEL8086,
    CpuidFeature::INTEL186,
    CpuidFeature::INTEL286,
    CpuidFeature::INTEL386,
    CpuidFeature::INTEL486,
    CpuidFeature::X64,
    CpuidFeature::CMOV,
    CpuidFeature::CX8,
    CpuidFeature::CMPXCHG16B,
    CpuidFeature::SSE,
    CpuidFeature::SSE2,
    CpuidFeature::SSE3,
    CpuidFeature::SSSE3,
    CpuidFeature::SSE4_1,
    CpuidFeature::SSE4_2,
    CpuidFeature::MMX,
    CpuidFeature::AES,
    CpuidFeature::PCLMULQDQ,
    CpuidFeature::POPCNT,
    CpuidFeature::FPU,
    CpuidFeature::FPU287,
    CpuidFeature::FPU387,
    CpuidFeature::FXSR,
    CpuidFeature::CLFSH,
    CpuidFeature::MULTIBYTENOP,
    CpuidFeature::PAUSE,
    CpuidFeature::TSC,
    CpuidFeature::RDTSCP,
    CpuidFeature::CPUID,
    CpuidFeature::SYSCALL,
    CpuidFeature::PREFETCHW,
    CpuidFeature::SEP,
    CpuidFeature::CET_IBT,
    CpuidFeature::MSR,
    CpuidFeature::PKU,
];

/// All forms of the target processor, in iced's order.
pub fn forms() -> Vec<(Code, Coverage)> {
    Code::values()
        .filter(|c| {
            let o = c.op_code();
            c.encoding() == EncodingKind::Legacy
                && o.is_instruction()
                && o.mode64()
                && c.cpuid_features().iter().all(|f| FEATURES.contains(f))
        })
        .map(|c| (c, coverage(c)))
        .collect()
}

fn coverage(c: Code) -> Coverage {
    use Mnemonic as M;
    let o = c.op_code();
    if o.must_be_cpl0() || !o.cpl3() {
        return Coverage::Not("privileged: #GP for programs");
    }
    let why = match c.mnemonic() {
        M::Rdtsc | M::Rdtscp => "its result is the clock's",
        M::Cpuid => "its result is the cover's",
        M::In | M::Out | M::Insb | M::Insw | M::Insd | M::Outsb | M::Outsw | M::Outsd => {
            "port access is #GP for programs"
        }
        M::Cli | M::Sti => "#GP for programs",
        M::Lar | M::Lsl | M::Verr | M::Verw => "reads the kernel's descriptor tables",
        M::Sgdt | M::Sidt | M::Sldt | M::Smsw | M::Str => "shows the kernel's tables (or #GP under UMIP)",
        M::Lss | M::Lfs | M::Lgs => "loads a segment register",
        M::Rdpkru | M::Wrpkru | M::Rdpid => "depends on the kernel's settings",
        M::Syscall | M::Sysenter | M::Sysexit | M::Sysret | M::Int | M::Int1 | M::Int3 => {
            "leaves to the kernel"
        }
        M::Iret | M::Iretd | M::Iretq | M::Retf => "loads segment registers",
        M::Ud0 | M::Ud1 | M::Ud2 => "always #UD",
        M::Fldenv
        | M::Frstor
        | M::Fxrstor
        | M::Fxrstor64
        | M::Fnsave
        | M::Fnstenv
        | M::Fxsave
        | M::Fxsave64
        | M::Fsave
        | M::Fstenv => "its image holds instruction addresses that processors save differently",
        M::Xbegin | M::Xend | M::Xabort | M::Xtest => "transactional memory",
        M::Reservednop
            if matches!(
                c,
                Code::Reservednop_rm16_r16_0F0D
                    | Code::Reservednop_rm32_r32_0F0D
                    | Code::Reservednop_rm64_r64_0F0D
            ) =>
        {
            "with registers #UD on AMD's processors and nothing on Intel's"
        }
        _ if matches!(
            c,
            Code::Call_rm16 | Code::Jmp_rm16 | Code::Retnw | Code::Retnw_imm16
        ) =>
        {
            "AMD's processors cut the address to 16 bits, Intel's ignore the prefix (so do we)"
        }
        M::Wait => "compared as part of the instructions that begin with it (fstcw, fclex, ...)",
        _ => "",
    };
    if !why.is_empty() {
        return Coverage::Not(why);
    }
    if (0..o.op_count()).any(|i| {
        matches!(
            o.op_kind(i),
            K::seg_reg | K::fs | K::gs | K::cs | K::ds | K::es | K::ss
        )
    }) {
        return Coverage::Not("moves segment registers");
    }
    match c.flow_control() {
        FlowControl::Next => Coverage::Compared,
        FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch | FlowControl::Call
            if matches!(o.op_kind(0), K::br64_1 | K::br64_4) =>
        {
            Coverage::Compared
        }
        FlowControl::IndirectBranch | FlowControl::IndirectCall | FlowControl::Return
            if !o.instruction_string().contains("m16:") =>
        {
            Coverage::Compared
        }
        _ => Coverage::Not("far branches load segment registers"),
    }
}

/// A random encoding of a form, and what its operands need.
pub struct Case {
    pub instruction: Instruction,
    pub bytes: Vec<u8>,
    /// Flags that the manual leaves undefined.
    pub undefined: u64,
    wild: bool,
    bit_offset: bool,
    writes: [bool; 16],
}

fn gpr(size: usize, n: usize, r: &mut Random) -> Register {
    if size == 1 && n < 4 && r.one_in(4) {
        return Register::AH + n as u32;
    }
    let first = match size {
        1 if n >= 4 => return Register::SPL + (n as u32 - 4),
        1 => Register::AL,
        2 => Register::AX,
        4 => Register::EAX,
        _ => Register::RAX,
    };
    first + n as u32
}

/// Index in [`State::gpr`] of the register that `reg` is part of.
pub fn index(reg: Register) -> Option<usize> {
    reg.is_gpr().then(|| reg.full_register().number())
}

const BIT_TESTS: [Mnemonic; 4] = [Mnemonic::Bt, Mnemonic::Btc, Mnemonic::Btr, Mnemonic::Bts];

impl Case {
    /// `None` when this draw has no encoding (AH with REX and the like).
    pub fn new(code: Code, r: &mut Random) -> Option<Case> {
        let o = code.op_code();
        let mut i = Instruction::new();
        i.set_code(code);
        let (mut memory, mut ip_relative) = (false, false);
        for n in 0..o.op_count() {
            let any = r.below(16) as usize;
            let reg = |i: &mut Instruction, reg: Register| i.set_op_register(n, reg);
            let kind = o.op_kind(n);
            let as_memory = match kind {
                K::mem | K::mem_offs => true,
                K::r8_or_mem
                | K::r16_or_mem
                | K::r32_or_mem
                | K::r64_or_mem
                | K::mm_or_mem
                | K::xmm_or_mem => r.one_in(2),
                _ => false,
            };
            if as_memory {
                memory = true;
                i.set_op_kind(n, OpKind::Memory);
                if kind == K::mem_offs {
                    i.set_memory_displacement64(address(r, 8));
                    i.set_memory_displ_size(8);
                    continue;
                }
                let base = r.below(16) as usize;
                match r.below(8) {
                    0 => {
                        ip_relative = true;
                        i.set_memory_base(Register::RIP);
                        i.set_memory_displacement64(address(r, 16));
                    }
                    k => {
                        i.set_memory_base(gpr(8, base, r));
                        let disp =
                            if k < 4 { 0 } else { r.below(256) as i64 - 128 } * if k == 7 { 1000 } else { 1 };
                        i.set_memory_displacement64(disp as u64);
                        i.set_memory_displ_size(u32::from(disp != 0));
                        let index = r.below(16) as usize;
                        if index != 4 && index != base && r.one_in(2) {
                            i.set_memory_index(gpr(8, index, r));
                            i.set_memory_index_scale(1 << r.below(4));
                        }
                    }
                }
                continue;
            }
            match kind {
                K::r8_or_mem | K::r8_reg | K::r8_opcode => reg(&mut i, gpr(1, any, r)),
                K::r16_or_mem | K::r16_reg | K::r16_opcode | K::r16_rm | K::r16_reg_mem => {
                    reg(&mut i, gpr(2, any, r))
                }
                K::r32_or_mem | K::r32_reg | K::r32_opcode | K::r32_rm | K::r32_reg_mem => {
                    reg(&mut i, gpr(4, any, r))
                }
                K::r64_or_mem | K::r64_reg | K::r64_opcode | K::r64_rm | K::r64_reg_mem => {
                    reg(&mut i, gpr(8, any, r))
                }
                K::mm_or_mem | K::mm_reg | K::mm_rm => reg(&mut i, Register::MM0 + (any as u32 & 7)),
                K::xmm_or_mem | K::xmm_reg | K::xmm_rm => reg(&mut i, Register::XMM0 + any as u32),
                K::al => reg(&mut i, Register::AL),
                K::cl => reg(&mut i, Register::CL),
                K::ax => reg(&mut i, Register::AX),
                K::dx => reg(&mut i, Register::DX),
                K::eax => reg(&mut i, Register::EAX),
                K::rax => reg(&mut i, Register::RAX),
                K::st0 => reg(&mut i, Register::ST0),
                K::sti_opcode => reg(&mut i, Register::ST0 + (any as u32 & 7)),
                K::imm8 => {
                    let second = (0..n).any(|k| o.op_kind(k) == K::imm8 || o.op_kind(k) == K::imm16);
                    i.set_op_kind(
                        n,
                        if second {
                            OpKind::Immediate8_2nd
                        } else {
                            OpKind::Immediate8
                        },
                    );
                    let v = if r.one_in(2) {
                        r.next() as u8
                    } else {
                        r.below(33) as u8
                    };
                    if second {
                        i.set_immediate8_2nd(v)
                    } else {
                        i.set_immediate8(v)
                    }
                }
                K::imm8_const_1 => {
                    i.set_op_kind(n, OpKind::Immediate8);
                    i.set_immediate8(1);
                }
                K::imm8sex16 => {
                    i.set_op_kind(n, OpKind::Immediate8to16);
                    i.set_immediate8to16(i16::from(r.integer() as i8));
                }
                K::imm8sex32 => {
                    i.set_op_kind(n, OpKind::Immediate8to32);
                    i.set_immediate8to32(i32::from(r.integer() as i8));
                }
                K::imm8sex64 => {
                    i.set_op_kind(n, OpKind::Immediate8to64);
                    i.set_immediate8to64(i64::from(r.integer() as i8));
                }
                K::imm16 => {
                    i.set_op_kind(n, OpKind::Immediate16);
                    let v = r.integer() as u16;
                    // A frame beyond the window faults after it was half written.
                    i.set_immediate16(if code.mnemonic() == Mnemonic::Enter {
                        v & 0xff
                    } else {
                        v
                    });
                }
                K::imm32 => {
                    i.set_op_kind(n, OpKind::Immediate32);
                    i.set_immediate32(r.integer() as u32);
                }
                K::imm32sex64 => {
                    i.set_op_kind(n, OpKind::Immediate32to64);
                    i.set_immediate32to64(i64::from(r.integer() as i32));
                }
                K::imm64 => {
                    i.set_op_kind(n, OpKind::Immediate64);
                    i.set_immediate64(r.integer());
                }
                K::br64_1 | K::br64_4 => {
                    i.set_op_kind(n, OpKind::NearBranch64);
                    i.set_near_branch64(CODE + 32);
                }
                K::seg_rSI => i.set_op_kind(n, OpKind::MemorySegRSI),
                K::seg_rDI => i.set_op_kind(n, OpKind::MemorySegRDI),
                K::es_rDI => i.set_op_kind(n, OpKind::MemoryESRDI),
                K::seg_rBX_al => {
                    i.set_op_kind(n, OpKind::Memory);
                    i.set_memory_base(Register::RBX);
                    i.set_memory_index(Register::AL);
                }
                _ => return None,
            }
        }
        if o.can_use_lock_prefix() && memory && i.op0_kind() == OpKind::Memory && r.one_in(6) {
            i.set_has_lock_prefix(true);
        }
        if o.can_use_rep_prefix() && i.is_string_instruction() && r.one_in(2) {
            i.set_has_rep_prefix(true);
            if o.can_use_repne_prefix() && r.one_in(2) {
                i.set_has_rep_prefix(false);
                i.set_has_repne_prefix(true);
            }
        }
        let mut encoder = Encoder::try_new(64).ok()?;
        encoder.encode(&i, CODE).ok()?;
        let bytes = encoder.take_buffer();
        // What it writes decides what may be compared when a fault hits.
        let mut factory = InstructionInfoFactory::new();
        let mut writes = [false; 16];
        for u in factory.info(&i).used_registers() {
            if matches!(
                u.access(),
                OpAccess::Write | OpAccess::ReadWrite | OpAccess::CondWrite | OpAccess::ReadCondWrite
            ) && let Some(k) = index(u.register())
            {
                writes[k] = true;
            }
        }
        let bit_offset = BIT_TESTS.contains(&code.mnemonic()) && memory && i.op1_kind() == OpKind::Register;
        Some(Case {
            undefined: u64::from(undefined(&i)),
            instruction: i,
            bytes,
            wild: memory && !ip_relative && o.op_kind(0) != K::mem_offs && o.op_count() > 0,
            bit_offset,
            writes,
        })
    }

    /// Makes the registers point where the operands are.
    pub fn aim(&self, s: &mut State, memory: &mut [u8], r: &mut Random) {
        let i = &self.instruction;
        // The stack, and what string instructions use.
        s.gpr[4] = address(r, 8);
        let near = |r: &mut Random| WINDOW + 4096 - TAIL as u64 + 256 + r.below(512);
        if i.is_string_instruction() {
            s.gpr[6] = if r.one_in(8) { address(r, 4) } else { near(r) };
            s.gpr[7] = if r.one_in(8) { address(r, 4) } else { near(r) };
            if i.has_rep_prefix() || i.has_repne_prefix() {
                s.gpr[1] = r.below(24);
            }
        }
        let mut put = |at: u64, v: u64| {
            let at = at.wrapping_sub(WINDOW) as usize;
            if let Some(m) = memory.get_mut(at..at.saturating_add(8)) {
                m.copy_from_slice(&v.to_le_bytes());
            }
        };
        match i.mnemonic() {
            Mnemonic::Ret => put(s.gpr[4], if r.one_in(8) { 1 << 50 } else { CODE + 32 }),
            // Without TF, which would hit the test itself.
            Mnemonic::Popf | Mnemonic::Popfd | Mnemonic::Popfq => {
                s.gpr[4] = near(r);
                put(s.gpr[4], r.next() & 0x4_8cd5);
            }
            Mnemonic::Enter => s.gpr[5] = near(r),
            Mnemonic::Leave => s.gpr[5] = address(r, 8),
            Mnemonic::Maskmovq | Mnemonic::Maskmovdqu => s.gpr[7] = near(r),
            Mnemonic::Xlatb => s.gpr[3] = near(r),
            Mnemonic::Loop | Mnemonic::Loope | Mnemonic::Loopne | Mnemonic::Jrcxz | Mnemonic::Jecxz
                if r.one_in(2) =>
            {
                s.gpr[1] = r.below(3);
            }
            Mnemonic::Div | Mnemonic::Idiv if r.one_in(2) => s.gpr[2] = r.below(4).wrapping_sub(1),
            _ => {}
        }
        if matches!(
            i.flow_control(),
            FlowControl::IndirectBranch | FlowControl::IndirectCall
        ) && i.op0_kind() == OpKind::Register
            && let Some(k) = index_of(i.op0_register())
        {
            s.gpr[k] = CODE + 32;
        }
        if self.bit_offset
            && let Some(k) = index_of(i.op1_register())
        {
            s.gpr[k] = (r.below(4000) as i64 - 2000) as u64;
        }
        if i.mnemonic() != Mnemonic::Xlatb && self.wild {
            let align = if r.one_in(6) { 1 } else { 16 };
            let target = address(r, align);
            let base = i.memory_base().full_register();
            let index = i.memory_index();
            let disp = i.memory_displacement64();
            let scaled = index_of(index).map_or(0, |k| {
                if !(self.bit_offset && index_of(i.op1_register()) == Some(k)) {
                    s.gpr[k] = r.below(64);
                }
                s.gpr[k].wrapping_mul(u64::from(i.memory_index_scale()))
            });
            if let Some(k) = index_of(base) {
                s.gpr[k] = target.wrapping_sub(disp).wrapping_sub(scaled);
            }
            let indirect = matches!(
                i.flow_control(),
                FlowControl::IndirectBranch | FlowControl::IndirectCall
            );
            if indirect {
                let at = target.wrapping_sub(WINDOW) as usize;
                if let Some(m) = memory.get_mut(at..at.saturating_add(8)) {
                    m.copy_from_slice(&(CODE + 32).to_le_bytes());
                }
            }
            // Compare-and-exchange that succeeds half the time.
            let at = target.wrapping_sub(WINDOW) as usize;
            if let Some(m) = memory.get(at..at.saturating_add(16))
                && r.one_in(2)
                && index_of(base) != Some(0)
            {
                let q = |k: usize| u64::from_le_bytes(m[k..k + 8].try_into().expect("eight bytes"));
                match i.mnemonic() {
                    Mnemonic::Cmpxchg if index_of(index) != Some(0) => s.gpr[0] = q(0),
                    Mnemonic::Cmpxchg16b if index_of(base) != Some(2) && index_of(index) != Some(2) => {
                        s.gpr[0] = q(0);
                        s.gpr[2] = q(8);
                    }
                    Mnemonic::Cmpxchg8b if index_of(base) != Some(2) && index_of(index) != Some(2) => {
                        s.gpr[0] = q(0);
                        s.gpr[2] = q(0) >> 32;
                    }
                    _ => {}
                }
            }
        }
    }

    #[allow(dead_code)]
    /// Whether the instruction writes this general register.
    pub fn writes(&self, k: usize) -> bool {
        self.writes[k]
    }
}

impl Case {
    /// Whether the manual leaves the whole result open: `shld` and `shrd` of words by more than 16.
    pub fn open(&self, s: &State) -> bool {
        let i = &self.instruction;
        matches!(i.code(), Code::Shld_rm16_r16_CL | Code::Shrd_rm16_r16_CL) && s.gpr[1] & 31 > 16
            || matches!(i.code(), Code::Shld_rm16_r16_imm8 | Code::Shrd_rm16_r16_imm8) && i.immediate8() & 31 > 16
            // Intel's manual says two bytes are read, AMD's four.
            || i.code() == Code::Movsxd_r16_rm16 && i.op1_kind() == OpKind::Memory
    }
}

/// A bit offset in a register that is also the address would reach anywhere; such draws are dropped.
impl Case {
    pub fn usable(&self) -> bool {
        let i = &self.instruction;
        let op1 = if self.bit_offset {
            index_of(i.op1_register())
        } else {
            None
        };
        !(self.bit_offset && (op1 == index_of(i.memory_base()) || op1 == index_of(i.memory_index())))
    }
}

fn index_of(reg: Register) -> Option<usize> {
    index(reg)
}

/// An address in the window: usually well within, sometimes across its end or its beginning.
fn address(r: &mut Random, align: u64) -> u64 {
    match r.below(24) {
        0 => WINDOW + 4096 - r.below(20),
        1 => LOW + 4096 - r.below(12),
        _ => (WINDOW + 4096 - TAIL as u64 + 320 + r.below(384)) & !(align - 1),
    }
}

/// Flags that are not compared.
fn undefined(i: &Instruction) -> u32 {
    use iced_x86::RflagsBits as B;
    let mut u = i.rflags_undefined();
    if matches!(i.mnemonic(), Mnemonic::Rcl | Mnemonic::Rcr)
        && i.op1_kind() == OpKind::Immediate8
        && i.immediate8() & 31 > 1
    {
        u |= B::OF;
    }
    [
        (B::OF, 0x800),
        (B::SF, 0x80),
        (B::ZF, 0x40),
        (B::AF, 0x10),
        (B::CF, 1),
        (B::PF, 4),
    ]
    .into_iter()
    .fold(0, |m, (b, f)| if u & b != 0 { m | f } else { m })
}
