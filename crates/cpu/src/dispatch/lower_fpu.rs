//! x87 and MMX instructions: which function, and how operands are fetched.

use std::sync::atomic::AtomicU64;

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use super::fpu::*;
use super::lower::{Flow, Lower, goff, is_mem, width};
use super::op::*;
use super::sse::{Xa, Xb};
use crate::vec::{convert as cv, mmx};

fn number(i: &Instruction, n: u32) -> u8 {
    i.op_register(n).number() as u8 & 15
}

/// The function of an instruction whose destination is an MMX register and whose source is one or memory.
fn function(m: Mnemonic) -> Option<MFn> {
    macro_rules! table {
        (bin $($b:ident $bn:ident,)*; un $($u:ident $un:ident,)*;) => {
            match m {
                $(Mnemonic::$b => Some(|_, a, b, _| Ok(mmx::$bn(a, b))),)*
                $(Mnemonic::$u => Some(|_, _, b, _| Ok(mmx::$un(b))),)*
                Mnemonic::Palignr => Some(|_, a, b, i| Ok(mmx::palignr(a, b, i))),
                Mnemonic::Pshufw => Some(|_, _, b, i| Ok(mmx::pshufw(b, i))),
                Mnemonic::Pinsrw => Some(|_, a, b, i| Ok(mmx::pinsrw(a, b as u16, i))),
                Mnemonic::Cvtps2pi => Some(|m, _, b, _| cv::cvtps2pi(m, b)),
                Mnemonic::Cvttps2pi => Some(|m, _, b, _| cv::cvttps2pi(m, b)),
                Mnemonic::Movd | Mnemonic::Movq | Mnemonic::Movdq2q => Some(|_, _, b, _| Ok(b)),
                _ => None,
            }
        };
    }
    table! {
        bin Paddb paddb, Paddw paddw, Paddd paddd, Paddq paddq, Paddsb paddsb, Paddsw paddsw, Paddusb paddusb,
            Paddusw paddusw, Psubb psubb, Psubw psubw, Psubd psubd, Psubq psubq, Psubsb psubsb, Psubsw psubsw,
            Psubusb psubusb, Psubusw psubusw, Pavgb pavgb, Pavgw pavgw, Pminub pminub, Pmaxub pmaxub, Pminsw pminsw,
            Pmaxsw pmaxsw, Pcmpeqb pcmpeqb, Pcmpeqw pcmpeqw, Pcmpeqd pcmpeqd, Pcmpgtb pcmpgtb, Pcmpgtw pcmpgtw,
            Pcmpgtd pcmpgtd, Pmullw pmullw, Pmulhw pmulhw, Pmulhuw pmulhuw, Pmulhrsw pmulhrsw, Pmuludq pmuludq,
            Psignb psignb, Psignw psignw, Psignd psignd, Psllw psllw, Pslld pslld, Psllq psllq, Psrlw psrlw,
            Psrld psrld, Psrlq psrlq, Psraw psraw, Psrad psrad, Pand pand, Pandn pandn, Por por, Pxor pxor,
            Pmaddwd pmaddwd, Pmaddubsw pmaddubsw, Psadbw psadbw, Packsswb packsswb, Packuswb packuswb,
            Packssdw packssdw, Punpcklbw punpcklbw, Punpcklwd punpcklwd, Punpckldq punpckldq, Punpckhbw punpckhbw,
            Punpckhwd punpckhwd, Punpckhdq punpckhdq, Pshufb pshufb, Phaddw phaddw, Phaddd phaddd, Phaddsw phaddsw,
            Phsubw phsubw, Phsubd phsubd, Phsubsw phsubsw,;
        un Pabsb pabsb, Pabsw pabsw, Pabsd pabsd,;
    }
}

/// A shift by an immediate: the same function with the immediate as its count.
fn shift_function(m: Mnemonic) -> Option<MFn> {
    macro_rules! table {
        ($($b:ident $bn:ident,)*) => {
            match m {
                $(Mnemonic::$b => Some(|_, a, _, i| Ok(mmx::$bn(a, u64::from(i)))),)*
                _ => None,
            }
        };
    }
    table! {
        Psllw psllw, Pslld pslld, Psllq psllq, Psrlw psrlw, Psrld psrld, Psrlq psrlq, Psraw psraw, Psrad psrad,
    }
}

impl Lower<'_> {
    /// x87 and MMX instructions; whatever is left is a gap.
    pub fn fpu(&mut self, i: &Instruction) -> Flow {
        use Mnemonic as M;
        let env = match i.code() {
            Code::Fnstenv_m28byte => Some(0),
            Code::Fnstenv_m14byte => Some(0x100),
            Code::Fldenv_m28byte => Some(1),
            Code::Fldenv_m14byte => Some(0x101),
            Code::Fnsave_m108byte => Some(2),
            Code::Fnsave_m94byte => Some(0x102),
            Code::Frstor_m108byte => Some(3),
            Code::Frstor_m94byte => Some(0x103),
            _ => None,
        };
        if let Some(kind) = env {
            self.push_mem(i, |_| step::<false, Env>).x = kind;
            return Flow::Next;
        }
        if insn_of(i.code() as u64).is_some() {
            // The stack index is the register operand that is not ST(0), if there is one.
            let index = (0..i.op_count())
                .filter(|&n| i.op_kind(n) == OpKind::Register && i.op_register(n).is_st())
                .map(|n| number(i, n) & 7)
                .max()
                .unwrap_or(0);
            let op = match (0..i.op_count()).find(|&n| is_mem(i, n)) {
                Some(_) => self.push_mem(i, |_| step::<false, X87>),
                None => self.push(step::<false, X87>),
            };
            op.x = u32::from(index);
            op.imm = AtomicU64::new(i.code() as u64);
            return Flow::Next;
        }
        let m = i.mnemonic();
        let mm = |n: u32| n < i.op_count() && i.op_kind(n) == OpKind::Register && i.op_register(n).is_mm();
        match m {
            M::Emms => {
                self.push(step::<false, MmxOut<u64, 8>>).a = 0;
            }
            M::Movd | M::Movq | M::Movntq if mm(1) && !mm(0) => {
                let wide = m != M::Movd;
                let op = if is_mem(i, 0) {
                    self.push_mem(i, |_| {
                        if wide {
                            step::<false, MmxOut<u64, 0>>
                        } else {
                            step::<false, MmxOut<u32, 0>>
                        }
                    })
                } else {
                    let r = goff(i.op0_register());
                    let op = self.push(if wide {
                        step::<false, MmxOut<u64, 1>>
                    } else {
                        step::<false, MmxOut<u32, 1>>
                    });
                    op.b = r;
                    op
                };
                op.a = number(i, 1);
            }
            M::Pmovmskb | M::Pextrw if mm(1) => {
                let imm = if m == M::Pextrw { i.immediate8() } else { 0 };
                let op = self.push(if m == M::Pextrw {
                    step::<false, MmxOut<u64, 3>>
                } else {
                    step::<false, MmxOut<u64, 2>>
                });
                op.a = number(i, 1);
                op.b = goff(i.op0_register());
                op.x = u32::from(imm);
            }
            M::Movq2dq => {
                let op = self.push(step::<false, MmxOut<u64, 4>>);
                op.a = number(i, 1);
                op.b = number(i, 0);
            }
            M::Cvtpi2ps | M::Cvtpi2pd => {
                let h: Handler = if m == M::Cvtpi2ps {
                    step::<false, MmxOut<u64, 5>>
                } else {
                    step::<false, MmxOut<u64, 6>>
                };
                let op = if is_mem(i, 1) {
                    self.push_mem(i, |_| h)
                } else {
                    self.push(h)
                };
                op.a = if is_mem(i, 1) { 0 } else { number(i, 1) };
                op.x = u32::from(number(i, 0));
            }
            M::Cvtpd2pi | M::Cvttpd2pi => {
                let f: XtoM = if m == M::Cvtpd2pi {
                    cv::cvtpd2pi
                } else {
                    cv::cvttpd2pi
                };
                let op = if is_mem(i, 1) {
                    self.push_mem(i, |_| step::<false, MmxFromX<Xa>>)
                } else {
                    let op = self.push(step::<false, MmxFromX<Xb>>);
                    op.b = number(i, 1);
                    op
                };
                op.a = number(i, 0);
                op.imm = AtomicU64::new(f as usize as u64);
            }
            M::Maskmovq => {
                let seg = match i.memory_segment() {
                    Register::FS => FS,
                    Register::GS => GS,
                    _ => ZERO,
                };
                let op = self.push(step::<false, MmxOut<u64, 7>>);
                op.a = number(i, 1);
                op.x = u32::from(number(i, 2));
                op.index = seg;
            }
            _ if mm(0) => {
                let by_imm = i.op_count() == 2 && i.op1_kind() == OpKind::Immediate8;
                let Some(f) = (if by_imm { shift_function(m) } else { function(m) }) else {
                    return self.gap(i);
                };
                let op = if by_imm {
                    let op = self.push(step::<false, Mmx<u64, FROM_MM>>);
                    op.b = 0;
                    op.x = u32::from(i.immediate8());
                    op
                } else {
                    let imm = if i.op_count() > 2 { i.immediate8() } else { 0 };
                    let narrow = is_mem(i, 1) && i.memory_size().size() == 4;
                    let word = is_mem(i, 1) && i.memory_size().size() == 2;
                    let op = if is_mem(i, 1) {
                        self.push_mem(i, |_| match (narrow, word) {
                            (true, _) => step::<false, Mmx<u32, FROM_MM>>,
                            (_, true) => step::<false, Mmx<u16, FROM_MM>>,
                            _ => step::<false, Mmx<u64, FROM_MM>>,
                        })
                    } else if i.op1_register().is_mm() {
                        let op = self.push(step::<false, Mmx<u64, FROM_MM>>);
                        op.b = number(i, 1);
                        op
                    } else if i.op1_register().is_xmm() {
                        let op = self.push(step::<false, Mmx<u64, FROM_XMM>>);
                        op.b = number(i, 1);
                        op
                    } else {
                        let wide = width(i, 1) == 3;
                        let op = self.push(if wide {
                            step::<false, Mmx<u64, FROM_GPR>>
                        } else {
                            step::<false, Mmx<u32, FROM_GPR>>
                        });
                        op.b = goff(i.op1_register());
                        op
                    };
                    op.x = u32::from(imm);
                    op
                };
                op.a = number(i, 0);
                op.imm = AtomicU64::new(f as usize as u64);
            }
            _ => return self.gap(i),
        }
        Flow::Next
    }
}
