//! Which operations each instruction becomes. Vector instructions are `lower_vec`'s.

use std::sync::atomic::AtomicU64;

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use super::alu::*;
use super::bits::*;
use super::exchange::*;
use super::flow;
use super::lower::{Flow, Lower, by_cc, by_w, by_w123, cc, goff, is_imm, is_mem, width};
use super::moves::*;
use super::op::*;
use super::product::*;
use super::shift::*;
use super::string as strings;
use super::system::{self, System};

impl Lower<'_> {
    /// Adds the operations of one instruction. `dead`: nobody sees the flags it sets.
    pub fn lower<const F: bool>(&mut self, i: &Instruction, dead: bool) -> Flow {
        use Mnemonic as M;
        let next = self.next;
        match i.mnemonic() {
            M::Add => self.alu::<F>(i, ADD, dead),
            M::Or => self.alu::<F>(i, OR, dead),
            M::Adc => self.alu::<F>(i, ADC, dead),
            M::Sbb => self.alu::<F>(i, SBB, dead),
            M::And => self.alu::<F>(i, AND, dead),
            M::Sub => self.alu::<F>(i, SUB, dead),
            M::Xor => self.alu::<F>(i, XOR, dead),
            M::Cmp => self.alu::<F>(i, CMP, dead),
            M::Test => self.alu::<F>(i, TEST, dead),
            M::Mov => self.mov::<F>(i),
            M::Movzx => self.movx::<F>(i, false),
            M::Movsx | M::Movsxd => self.movx::<F>(i, true),
            M::Lea => {
                let w = width(i, 0);
                // An address is not a memory access: segments do not count.
                let mut j = *i;
                j.set_segment_prefix(Register::None);
                let op = self.push_mem(&j, |x| {
                    by_w123!(w, W => if x { step::<F, Lea<W, true>> as Handler } else { step::<F, Lea<W, false>> })
                });
                op.a = goff(i.op0_register());
                Flow::Next
            }
            M::Push => {
                if is_imm(i, 0) {
                    let short = i.stack_pointer_increment() == -2;
                    let op = self.push(if short {
                        step::<F, Push<u16, Im>>
                    } else {
                        step::<F, Push<u64, Im>>
                    });
                    op.imm = AtomicU64::new(i.immediate(0));
                } else if is_mem(i, 0) {
                    let w = width(i, 0);
                    self.push_mem(i, |_| {
                        if w == 1 {
                            step::<F, Push<u16, Mx>>
                        } else {
                            step::<F, Push<u64, Mx>>
                        }
                    });
                } else if i.op0_register().is_segment_register() {
                    let short = i.stack_pointer_increment() == -2;
                    self.push(if short {
                        step::<F, Push<u16, Im>>
                    } else {
                        step::<F, Push<u64, Im>>
                    });
                } else {
                    let w = width(i, 0);
                    self.push(if w == 1 {
                        step::<F, Push<u16, Ra>>
                    } else {
                        step::<F, Push<u64, Ra>>
                    })
                    .a = goff(i.op0_register());
                }
                Flow::Next
            }
            M::Pop => {
                if is_mem(i, 0) {
                    let w = width(i, 0);
                    self.push_mem(i, |_| {
                        if w == 1 {
                            step::<F, Pop<u16, Mx>>
                        } else {
                            step::<F, Pop<u64, Mx>>
                        }
                    });
                } else if i.op0_register().is_segment_register() {
                    return self.raise(1);
                } else {
                    let w = width(i, 0);
                    self.push(if w == 1 {
                        step::<F, Pop<u16, Ra>>
                    } else {
                        step::<F, Pop<u64, Ra>>
                    })
                    .a = goff(i.op0_register());
                }
                Flow::Next
            }
            M::Leave => {
                let word = i.code() == iced_x86::Code::Leavew;
                self.push(if word {
                    step::<F, Leave<u16>> as Handler
                } else {
                    step::<F, Leave<u64>>
                });
                Flow::Next
            }
            M::Clflush | M::Clflushopt | M::Clwb => {
                self.push_mem(i, |_| step::<F, Touch>);
                Flow::Next
            }
            M::Nop
            | M::Endbr64
            | M::Endbr32
            | M::Pause
            | M::Lfence
            | M::Mfence
            | M::Sfence
            | M::Prefetchnta
            | M::Prefetcht0
            | M::Prefetcht1
            | M::Prefetcht2
            | M::Prefetchw
            | M::Prefetch
            | M::Prefetchwt1
            | M::Prefetchit0
            | M::Prefetchit1
            | M::Reservednop
            | M::Rdsspd
            | M::Rdsspq
            | M::Cldemote => {
                self.push(step::<F, Nop>);
                Flow::Next
            }
            M::Inc => self.unary::<F, INC>(i, dead),
            M::Dec => self.unary::<F, DEC>(i, dead),
            M::Neg => self.unary::<F, NEG>(i, dead),
            M::Not => self.unary::<F, NOT>(i, dead),
            M::Bswap => self.unary::<F, BSWAP>(i, dead),
            M::Shl | M::Sal => self.shift::<F>(i, SHL, dead),
            M::Shr => self.shift::<F>(i, SHR, dead),
            M::Sar => self.shift::<F>(i, SAR, dead),
            M::Rol => self.shift::<F>(i, ROL, dead),
            M::Ror => self.shift::<F>(i, ROR, dead),
            M::Rcl => self.shift::<F>(i, RCL, dead),
            M::Rcr => self.shift::<F>(i, RCR, dead),
            m @ (M::Shld | M::Shrd) => {
                let w = width(i, 0);
                let h = by_w123!(w, W => if m == M::Shld { step::<false, Shxd<W, true>> as Handler } else { step::<false, Shxd<W, false>> });
                let op = self.push_rm(i, 0, h);
                op.a = goff(i.op1_register());
                if is_imm(i, 2) {
                    op.imm = AtomicU64::new(i.immediate(2));
                } else {
                    op.x = 1;
                }
                Flow::Next
            }
            M::Imul => {
                let w = width(i, 0);
                match i.op_count() {
                    1 => {
                        self.push_rm(i, 0, by_w!(w, W => step::<F, Mul<W, true>>));
                    }
                    2 => {
                        let h = by_w123!(w, W => match (is_mem(i, 1), dead) {
                            (false, false) => step::<F, Imul<W, Ra, Rb, false>> as Handler,
                            (false, true) => step::<F, Imul<W, Ra, Rb, true>>,
                            _ => step::<F, Imul<W, Ra, Mx, false>>,
                        });
                        self.push_rm(i, 1, h).a = goff(i.op0_register());
                    }
                    _ => {
                        let h = by_w123!(w, W => match (is_mem(i, 1), dead) {
                            (false, false) => step::<F, Imul<W, Rb, Im, false>> as Handler,
                            (false, true) => step::<F, Imul<W, Rb, Im, true>>,
                            _ => step::<F, Imul<W, Mx, Im, false>>,
                        });
                        let op = self.push_rm(i, 1, h);
                        op.a = goff(i.op0_register());
                        op.imm = AtomicU64::new(i.immediate(2));
                    }
                }
                Flow::Next
            }
            M::Mul => {
                let w = width(i, 0);
                self.push_rm(i, 0, by_w!(w, W => step::<F, Mul<W, false>>));
                Flow::Next
            }
            M::Div => {
                let w = width(i, 0);
                self.push_rm(i, 0, by_w!(w, W => step::<F, Div<W, false>>));
                Flow::Next
            }
            M::Idiv => {
                let w = width(i, 0);
                self.push_rm(i, 0, by_w!(w, W => step::<F, Div<W, true>>));
                Flow::Next
            }
            M::Cbw => self.plain(step::<F, Cbw<u16>>),
            M::Cwde => self.plain(step::<F, Cbw<u32>>),
            M::Cdqe => self.plain(step::<F, Cbw<u64>>),
            M::Cwd => self.plain(step::<F, Cwd<u16>>),
            M::Cdq => self.plain(step::<F, Cwd<u32>>),
            M::Cqo => self.plain(step::<F, Cwd<u64>>),
            M::Xchg => {
                let w = width(i, 0);
                // The register may be either operand.
                let (m, r) = if is_mem(i, 1) { (1, 0) } else { (0, 1) };
                let h = by_w!(w, W => if is_mem(i, m) { step::<F, Xchg<W, Mx>> as Handler } else { step::<F, Xchg<W, Rb>> });
                self.push_rm(i, m, h).a = goff(i.op_register(r));
                Flow::Next
            }
            M::Xadd => {
                let w = width(i, 0);
                self.push_rm(i, 0, by_w!(w, W => step::<F, Xadd<W>>)).a = goff(i.op1_register());
                Flow::Next
            }
            M::Cmpxchg => {
                let w = width(i, 0);
                self.push_rm(i, 0, by_w!(w, W => step::<F, Cmpxchg<W>>)).a = goff(i.op1_register());
                Flow::Next
            }
            m @ (M::Cmpxchg8b | M::Cmpxchg16b) => {
                self.push_mem(i, |_| step::<false, Cmpxchg16>).x = u32::from(m == M::Cmpxchg16b);
                Flow::Next
            }
            m @ (M::Bt | M::Bts | M::Btr | M::Btc) => {
                let w = width(i, 0);
                let h = by_w123!(w, W => match m {
                    M::Bt => step::<F, Bt<W, BT>> as Handler,
                    M::Bts => step::<F, Bt<W, BTS>>,
                    M::Btr => step::<F, Bt<W, BTR>>,
                    _ => step::<F, Bt<W, BTC>>,
                });
                let op = self.push_rm(i, 0, h);
                if is_imm(i, 1) {
                    op.x = 1;
                    op.imm = AtomicU64::new(i.immediate(1));
                } else {
                    op.a = goff(i.op1_register());
                }
                Flow::Next
            }
            m @ (M::Bsf | M::Bsr | M::Tzcnt | M::Lzcnt | M::Popcnt) => {
                let w = width(i, 0);
                let h = by_w123!(w, W => match m {
                    M::Bsf => step::<F, Scan<W, BSF>> as Handler,
                    M::Bsr => step::<F, Scan<W, BSR>>,
                    M::Tzcnt => step::<F, Scan<W, TZCNT>>,
                    M::Lzcnt => step::<F, Scan<W, LZCNT>>,
                    _ => step::<F, Scan<W, POPCNT>>,
                });
                self.push_rm(i, 1, h).a = goff(i.op0_register());
                Flow::Next
            }
            M::Movbe => {
                let (m, r) = if is_mem(i, 0) { (0, 1) } else { (1, 0) };
                let w = width(i, r);
                let op = self.push_rm(i, m, by_w123!(w, W => step::<false, Movbe<W>>));
                op.a = goff(i.op_register(r));
                op.x = u32::from(m == 0);
                Flow::Next
            }
            M::Crc32 => {
                let w = width(i, 1);
                self.push_rm(i, 1, by_w!(w, W => step::<F, Crc32<W>>)).a = goff(i.op0_register());
                Flow::Next
            }
            M::Movnti => {
                let w = width(i, 1);
                let h = if w == 3 {
                    step::<F, Mov<u64, Mx, Ra>> as Handler
                } else {
                    step::<F, Mov<u32, Mx, Ra>>
                };
                self.push_mem(i, |_| h).a = goff(i.op1_register());
                Flow::Next
            }
            // Control flow. An operand-size prefix is ignored, as on Intel's processors.
            M::Jmp if is_mem(i, 0) => {
                self.push_mem(i, |x| {
                    if x {
                        flow::jmp_to::<F, Mx>
                    } else {
                        flow::jmp_to::<F, Mb>
                    }
                });
                Flow::End
            }
            M::Jmp if i.op0_kind() == OpKind::Register => {
                self.push(flow::jmp_to::<F, Rb>).b = goff(i.op0_register());
                Flow::End
            }
            M::Jmp if i.is_jmp_short_or_near() => {
                self.push(flow::jmp::<F>).disp = i.near_branch_target() as i32;
                Flow::End
            }
            M::Call if is_mem(i, 0) => {
                self.push_mem(i, |x| {
                    if x {
                        flow::call_to::<F, Mx>
                    } else {
                        flow::call_to::<F, Mb>
                    }
                })
                .x = next as u32;
                Flow::End
            }
            M::Call if i.op0_kind() == OpKind::Register => {
                let op = self.push(flow::call_to::<F, Rb>);
                op.b = goff(i.op0_register());
                op.x = next as u32;
                Flow::End
            }
            M::Call if i.is_call_near() => {
                let op = self.push(flow::call::<F>);
                op.disp = i.near_branch_target() as i32;
                op.x = next as u32;
                Flow::End
            }
            M::Ret => {
                let extra = if is_imm(i, 0) { i.immediate(0) } else { 0 };
                self.push(flow::ret::<F>).imm = AtomicU64::new(8 + extra);
                Flow::End
            }
            m @ (M::Loop | M::Loope | M::Loopne | M::Jrcxz | M::Jecxz) => {
                let kind = match m {
                    M::Loop => 0,
                    M::Loope => 1,
                    M::Loopne => 2,
                    _ => 3,
                };
                let short = m == M::Jecxz || kind < 3 && loop_counts_ecx(i);
                self.push(flow::loop_cx).x = kind | if short { 0x100 } else { 0 };
                self.branch_slots(i.near_branch_target());
                Flow::End
            }
            M::Syscall => {
                self.push(flow::syscall).x = next as u32;
                Flow::End
            }
            M::Ud2 | M::Ud0 | M::Ud1 | M::INVALID => self.raise(0),
            M::Int3 => self.raise(2),
            M::Int1 => self.raise(3),
            M::Int
            | M::Hlt
            | M::Cli
            | M::Sti
            | M::In
            | M::Out
            | M::Insb
            | M::Insw
            | M::Insd
            | M::Outsb
            | M::Outsw
            | M::Outsd
            | M::Iretq
            | M::Iretd
            | M::Iret
            | M::Retf
            | M::Sysret
            | M::Sysretq
            | M::Sysexit
            | M::Sysexitq
            | M::Clts
            | M::Wbinvd
            | M::Invd
            | M::Rdmsr
            | M::Wrmsr
            | M::Rdpmc
            | M::Lgdt
            | M::Lidt
            | M::Lldt
            | M::Ltr
            | M::Lmsw
            | M::Swapgs
            | M::Xsetbv
            | M::Invlpg => self.raise(1),
            // Strings.
            M::Movsb => self.string(i, strings::MOVS, 0),
            M::Movsw => self.string(i, strings::MOVS, 1),
            M::Movsd if i.is_string_instruction() => self.string(i, strings::MOVS, 2),
            M::Movsq => self.string(i, strings::MOVS, 3),
            M::Stosb => self.string(i, strings::STOS, 0),
            M::Stosw => self.string(i, strings::STOS, 1),
            M::Stosd => self.string(i, strings::STOS, 2),
            M::Stosq => self.string(i, strings::STOS, 3),
            M::Lodsb => self.string(i, strings::LODS, 0),
            M::Lodsw => self.string(i, strings::LODS, 1),
            M::Lodsd => self.string(i, strings::LODS, 2),
            M::Lodsq => self.string(i, strings::LODS, 3),
            M::Scasb => self.string(i, strings::SCAS, 0),
            M::Scasw => self.string(i, strings::SCAS, 1),
            M::Scasd => self.string(i, strings::SCAS, 2),
            M::Scasq => self.string(i, strings::SCAS, 3),
            M::Cmpsb => self.string(i, strings::CMPS, 0),
            M::Cmpsw => self.string(i, strings::CMPS, 1),
            M::Cmpsd if i.is_string_instruction() => self.string(i, strings::CMPS, 2),
            M::Cmpsq => self.string(i, strings::CMPS, 3),
            // Flags and system.
            M::Clc => self.system(system::CLC),
            M::Stc => self.system(system::STC),
            M::Cmc => self.system(system::CMC),
            M::Cld => self.system(system::CLD),
            M::Std => self.system(system::STD),
            M::Lahf => self.system(system::LAHF),
            M::Sahf => self.system(system::SAHF),
            M::Pushfq => self.system(system::PUSHF),
            M::Pushf => self.system(system::PUSHFW),
            m @ (M::Popfq | M::Popf) => {
                self.system(if m == M::Popfq {
                    system::POPF
                } else {
                    system::POPFW
                });
                // The trap flag may have changed: the run loop must see it. Its own instruction has retired.
                let op = self.push(flow::leave_block);
                op.disp = next;
                Flow::End
            }
            M::Cpuid => self.system(system::CPUID),
            m @ (M::Rdtsc | M::Rdtscp) => {
                self.push(system::tsc).x = if m == M::Rdtsc {
                    system::RDTSC
                } else {
                    system::RDTSCP
                };
                Flow::Next
            }
            M::Xgetbv => self.system(system::XGETBV),
            M::Xlatb => {
                let seg = match i.memory_segment() {
                    Register::FS => FS,
                    Register::GS => GS,
                    _ => ZERO,
                };
                let short = i.memory_base() == Register::EBX;
                let op = self.push(step::<false, System>);
                op.x = system::XLAT | if short { 0x100 } else { 0 };
                op.index = seg;
                Flow::Next
            }
            M::Enter => {
                let op = self.push(step::<false, System>);
                op.x = system::ENTER
                    | if i.code() == iced_x86::Code::Enterw_imm16_imm8 {
                        0x100
                    } else {
                        0
                    };
                op.imm = AtomicU64::new(u64::from(i.immediate16()) | u64::from(i.immediate8_2nd()) << 16);
                Flow::Next
            }
            M::Fxsave64 => self.system_mem(i, system::FXSAVE),
            M::Fxsave => self.system_mem(i, system::FXSAVE32),
            M::Fxrstor64 => self.system_mem(i, system::FXRSTOR),
            M::Fxrstor => self.system_mem(i, system::FXRSTOR32),
            M::Ldmxcsr => self.system_mem(i, system::LDMXCSR),
            M::Stmxcsr => self.system_mem(i, system::STMXCSR),
            m @ (M::Rdfsbase | M::Rdgsbase | M::Wrfsbase | M::Wrgsbase) => {
                let kind = match m {
                    M::Rdfsbase => system::RDFSBASE,
                    M::Rdgsbase => system::RDGSBASE,
                    M::Wrfsbase => system::WRFSBASE,
                    _ => system::WRGSBASE,
                };
                let op = self.push(step::<false, System>);
                op.x = kind | if width(i, 0) == 3 { 0x100 } else { 0 };
                op.b = goff(i.op0_register());
                Flow::Next
            }
            _ if i.is_jcc_short_or_near() => {
                let c = cc(i).unwrap_or(0);
                self.push(by_cc!(c, C => flow::jcc::<F, C>));
                self.branch_slots(i.near_branch_target());
                Flow::End
            }
            _ => match cc(i) {
                Some(c) if i.op_count() == 1 && width(i, 0) == 0 => {
                    if is_mem(i, 0) {
                        self.push_mem(i, |_| by_cc!(c, C => step::<F, Set<Mx, C>>));
                    } else {
                        self.push(by_cc!(c, C => step::<F, Set<Ra, C>>)).a = goff(i.op0_register());
                    }
                    Flow::Next
                }
                Some(c) if i.op_count() == 2 && i.op0_register().is_gpr() => {
                    let w = width(i, 0);
                    let h = if is_mem(i, 1) {
                        by_w123!(w, W => by_cc!(c, C => step::<F, Cmov<W, Mx, C>> as Handler))
                    } else {
                        by_w123!(w, W => by_cc!(c, C => step::<F, Cmov<W, Rb, C>> as Handler))
                    };
                    self.push_rm(i, 1, h).a = goff(i.op0_register());
                    Flow::Next
                }
                _ => self.vector::<F>(i),
            },
        }
    }

    fn plain(&mut self, h: Handler) -> Flow {
        self.push(h);
        Flow::Next
    }

    fn system(&mut self, kind: u32) -> Flow {
        self.push(step::<false, System>).x = kind;
        Flow::Next
    }

    fn system_mem(&mut self, i: &Instruction, kind: u32) -> Flow {
        self.push_mem(i, |_| step::<false, System>).x = kind;
        Flow::Next
    }

    fn string(&mut self, i: &Instruction, kind: u8, size: u8) -> Flow {
        let next = self.next;
        let short = matches!(
            (i.op0_kind(), i.op1_kind()),
            (OpKind::MemoryESEDI | OpKind::MemorySegESI, _) | (_, OpKind::MemoryESEDI | OpKind::MemorySegESI)
        );
        let seg = match i.memory_segment() {
            Register::FS => FS,
            Register::GS => GS,
            _ => ZERO,
        };
        let rep = if i.has_repe_prefix() || i.has_rep_prefix() {
            1
        } else if i.has_repne_prefix() {
            // REPNE before an instruction that compares nothing repeats like REP.
            if kind >= strings::SCAS { 2 } else { 1 }
        } else {
            0
        };
        let op = self.push(strings::string);
        op.a = kind;
        op.b = size;
        op.index = seg;
        op.x = rep | if short { 0x100 } else { 0 };
        op.disp = next;
        Flow::Next
    }
}

/// Whether a `loop` instruction counts in ECX (address size prefix).
fn loop_counts_ecx(i: &Instruction) -> bool {
    use iced_x86::Code as C;
    matches!(
        i.code(),
        C::Loop_rel8_64_ECX | C::Loope_rel8_64_ECX | C::Loopne_rel8_64_ECX
    )
}
