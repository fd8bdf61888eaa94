//! Vector instructions: which function of `vec`, and how its operands are fetched.

use std::sync::atomic::AtomicU64;

use iced_x86::{Instruction, Mnemonic, Register};

use super::lower::{Flow, Lower, goff, is_mem, width};
use super::op::*;
use super::sse::*;
use crate::vec::{self, convert as cv, crypto, float as fl};

/// Number of the xmm register of operand `n`.
fn x(i: &Instruction, n: u32) -> u8 {
    i.op_register(n).number() as u8 & 15
}

fn is_xmm(i: &Instruction, n: u32) -> bool {
    i.op_register(n).is_xmm()
}

/// Inlined operations: handlers for a register and for an aligned memory source.
fn hot_handlers<const F: bool>(m: Mnemonic) -> Option<(Handler, Handler)> {
    macro_rules! table {
        ($($($mn:ident)|+ => $n:ident;)*) => {
            match m {
                $($(Mnemonic::$mn)|+ => Some((
                    step::<F, V2<hot::$n, Xb>> as Handler,
                    step::<F, V2<hot::$n, Xa>> as Handler,
                )),)*
                _ => None,
            }
        };
    }
    table! {
        Pand | Andps | Andpd => pand; Pandn | Andnps | Andnpd => pandn; Por | Orps | Orpd => por;
        Pxor | Xorps | Xorpd => pxor; Pcmpeqb => pcmpeqb; Pcmpeqw => pcmpeqw; Pcmpeqd => pcmpeqd;
        Pcmpgtb => pcmpgtb; Pcmpgtd => pcmpgtd; Paddb => paddb; Paddw => paddw; Paddd => paddd; Paddq => paddq;
        Psubb => psubb; Psubw => psubw; Psubd => psubd; Psubq => psubq; Pminub => pminub; Pmaxub => pmaxub;
        Psubusb => psubusb; Paddusb => paddusb; Pmullw => pmullw; Pmuludq => pmuludq; Punpcklbw => punpcklbw;
        Punpcklwd => punpcklwd; Punpckldq | Unpcklps => punpckldq; Punpcklqdq | Unpcklpd => punpcklqdq; Punpckhbw => punpckhbw;
        Punpckhwd => punpckhwd; Punpckhdq | Unpckhps => punpckhdq; Punpckhqdq | Unpckhpd => punpckhqdq;
        Pshufb => pshufb; Pmulld => pmulld;
    }
}

/// Inlined shifts by an immediate.
fn hot_shift_handler<const F: bool>(m: Mnemonic) -> Option<Handler> {
    macro_rules! table {
        ($($mn:ident => $n:ident;)*) => {
            match m {
                $(Mnemonic::$mn => Some(step::<F, ShiftI<hot_shift::$n>> as Handler),)*
                _ => None,
            }
        };
    }
    table! {
        Psllw => psllw; Pslld => pslld; Psllq => psllq; Psrlw => psrlw; Psrld => psrld; Psrlq => psrlq;
        Psraw => psraw; Psrad => psrad;
    }
}

/// The function of an instruction whose destination is an xmm register and whose source is one or memory.
fn function(m: Mnemonic) -> Option<VFn> {
    macro_rules! table {
        (bin $($b:ident $bn:ident,)*; un $($u:ident $un:ident,)*; shift $($s:ident $sn:ident,)*;
         imm $($i:ident $inn:ident,)*; unimm $($j:ident $jn:ident,)*; fbin $($f:ident $fnn:ident,)*;
         fun $($g:ident $gn:ident,)*; fimm $($h:ident $hn:ident,)*;) => {
            match m {
                $(Mnemonic::$b => Some(|_, a, b, _| Ok(vec::$bn(a, b))),)*
                $(Mnemonic::$u => Some(|_, _, b, _| Ok(vec::$un(b))),)*
                $(Mnemonic::$s => Some(|_, a, b, _| Ok(vec::$sn(a, b as u64))),)*
                $(Mnemonic::$i => Some(|_, a, b, i| Ok(vec::$inn(a, b, i))),)*
                $(Mnemonic::$j => Some(|_, _, b, i| Ok(vec::$jn(b, i))),)*
                $(Mnemonic::$f => Some(|m, a, b, _| fl::$fnn(m, a, b)),)*
                $(Mnemonic::$g => Some(|m, _, b, _| fl::$gn(m, b)),)*
                $(Mnemonic::$h => Some(|m, a, b, i| fl::$hn(m, a, b, i)),)*
                Mnemonic::Aesenc => Some(|_, a, b, _| Ok(crypto::aesenc(a, b))),
                Mnemonic::Aesenclast => Some(|_, a, b, _| Ok(crypto::aesenclast(a, b))),
                Mnemonic::Aesdec => Some(|_, a, b, _| Ok(crypto::aesdec(a, b))),
                Mnemonic::Aesdeclast => Some(|_, a, b, _| Ok(crypto::aesdeclast(a, b))),
                Mnemonic::Aesimc => Some(|_, _, b, _| Ok(crypto::aesimc(b))),
                Mnemonic::Aeskeygenassist => Some(|_, _, b, i| Ok(crypto::aeskeygenassist(b, i))),
                Mnemonic::Pclmulqdq => Some(|_, a, b, i| Ok(crypto::pclmulqdq(a, b, i))),
                Mnemonic::Rcpss => Some(|_, a, b, _| Ok(fl::rcpss(a, b))),
                Mnemonic::Rcpps => Some(|_, _, b, _| Ok(fl::rcpps(b))),
                Mnemonic::Rsqrtss => Some(|_, a, b, _| Ok(fl::rsqrtss(a, b))),
                Mnemonic::Rsqrtps => Some(|_, _, b, _| Ok(fl::rsqrtps(b))),
                Mnemonic::Cvtss2sd => Some(|m, a, b, _| cv::cvtss2sd(m, a, b as u64)),
                Mnemonic::Cvtsd2ss => Some(|m, a, b, _| cv::cvtsd2ss(m, a, b as u64)),
                Mnemonic::Cvtps2pd => Some(|m, _, b, _| cv::cvtps2pd(m, b as u64)),
                Mnemonic::Cvtpd2ps => Some(|m, _, b, _| cv::cvtpd2ps(m, b)),
                Mnemonic::Cvtdq2pd => Some(|_, _, b, _| Ok(cv::cvtdq2pd(b as u64))),
                Mnemonic::Cvtdq2ps => Some(|m, _, b, _| cv::cvtdq2ps(m, b)),
                Mnemonic::Cvtps2dq => Some(|m, _, b, _| cv::cvtps2dq(m, b)),
                Mnemonic::Cvttps2dq => Some(|m, _, b, _| cv::cvttps2dq(m, b)),
                Mnemonic::Cvtpd2dq => Some(|m, _, b, _| cv::cvtpd2dq(m, b)),
                Mnemonic::Cvttpd2dq => Some(|m, _, b, _| cv::cvttpd2dq(m, b)),
                Mnemonic::Roundss => Some(|m, a, b, i| cv::roundss(m, a, b, i)),
                Mnemonic::Roundsd => Some(|m, a, b, i| cv::roundsd(m, a, b, i)),
                Mnemonic::Roundps => Some(|m, _, b, i| cv::roundps(m, b, i)),
                Mnemonic::Roundpd => Some(|m, _, b, i| cv::roundpd(m, b, i)),
                _ => None,
            }
        };
    }
    table! {
        bin Packuswb packuswb, Pcmpgtw pcmpgtw, Paddsb paddsb, Paddsw paddsw, Paddusw paddusw, Psubsb psubsb, Psubsw psubsw,
            Psubusw psubusw, Pavgb pavgb, Pavgw pavgw, Pminsw pminsw, Pmaxsw pmaxsw, Pmulhw pmulhw, Pmulhuw pmulhuw,
            Pmulhrsw pmulhrsw, Psignb psignb, Psignw psignw, Psignd psignd, Pmaddwd pmaddwd, Pmaddubsw pmaddubsw,
            Psadbw psadbw, Packsswb packsswb, Packssdw packssdw, Packusdw packusdw, Phaddw phaddw, Phaddd phaddd,
            Phaddsw phaddsw, Phsubw phsubw, Phsubd phsubd, Phsubsw phsubsw, Pminsb pminsb, Pmaxsb pmaxsb,
            Pminuw pminuw, Pmaxuw pmaxuw, Pminsd pminsd, Pmaxsd pmaxsd, Pminud pminud, Pmaxud pmaxud,
            Pcmpeqq pcmpeqq, Pcmpgtq pcmpgtq, Pmuldq pmuldq,;
        un Pabsb pabsb, Pabsw pabsw, Pabsd pabsd, Phminposuw phminposuw, Movddup movddup, Movsldup movsldup,
            Movshdup movshdup, Pmovsxbw pmovsxbw, Pmovsxbd pmovsxbd, Pmovsxbq pmovsxbq, Pmovsxwd pmovsxwd,
            Pmovsxwq pmovsxwq, Pmovsxdq pmovsxdq, Pmovzxbw pmovzxbw, Pmovzxbd pmovzxbd, Pmovzxbq pmovzxbq,
            Pmovzxwd pmovzxwd, Pmovzxwq pmovzxwq, Pmovzxdq pmovzxdq,;
        shift Psllw psllw, Pslld pslld, Psllq psllq, Psrlw psrlw, Psrld psrld, Psrlq psrlq, Psraw psraw, Psrad psrad,;
        imm Shufps shufps, Shufpd shufpd, Palignr palignr, Pblendw pblendw, Blendps blendps, Blendpd blendpd,
            Mpsadbw mpsadbw,;
        unimm Pshufd pshufd, Pshuflw pshuflw, Pshufhw pshufhw,;
        fbin Addss addss, Addsd addsd, Addps addps, Addpd addpd, Subss subss, Subsd subsd, Subps subps, Subpd subpd,
            Mulss mulss, Mulsd mulsd, Mulps mulps, Mulpd mulpd, Divss divss, Divsd divsd, Divps divps, Divpd divpd,
            Minss minss, Minsd minsd, Minps minps, Minpd minpd, Maxss maxss, Maxsd maxsd, Maxps maxps, Maxpd maxpd,
            Sqrtss sqrtss, Sqrtsd sqrtsd, Addsubps addsubps, Addsubpd addsubpd, Haddps haddps, Haddpd haddpd,
            Hsubps hsubps, Hsubpd hsubpd,;
        fun Sqrtps sqrtps, Sqrtpd sqrtpd,;
        fimm Cmpss cmpss, Cmpsd cmpsd, Cmpps cmpps, Cmppd cmppd, Dpps dpps, Dppd dppd,;
    }
}

/// The handler for a memory operand of `n` bytes.
macro_rules! by_size {
    ($n:expr, $S:ident => $e:expr) => {
        match $n {
            2 => {
                type $S = Xu<2>;
                $e
            }
            4 => {
                type $S = Xu<4>;
                $e
            }
            8 => {
                type $S = Xu<8>;
                $e
            }
            _ => {
                type $S = Xa;
                $e
            }
        }
    };
}

impl Lower<'_> {
    /// An operation from xmm or memory (operand 1) to operand 0, with an immediate if there is a third operand.
    fn vec_op(&mut self, i: &Instruction, reg_h: Handler, mem_h: Handler) -> &mut Op {
        let imm = if i.op_count() > 2 && i.op2_kind() == iced_x86::OpKind::Immediate8 {
            i.immediate8()
        } else {
            0
        };
        let op = if is_mem(i, 1) {
            self.push_mem(i, |_| mem_h)
        } else {
            let r = x(i, 1);
            let op = self.push(reg_h);
            op.b = r;
            op
        };
        op.a = i.op0_register().number() as u8 & 15;
        op.x = u32::from(imm);
        op
    }

    fn store(&mut self, i: &Instruction, h: Handler) -> Flow {
        self.push_mem(i, |_| h).a = x(i, 1);
        Flow::Next
    }

    /// A function of `vec` through the pointer in `imm`.
    fn call(&mut self, i: &Instruction, reg_h: Handler, mem_h: Handler, f: VFn) -> Flow {
        self.vec_op(i, reg_h, mem_h).imm = AtomicU64::new(f as usize as u64);
        Flow::Next
    }

    /// Vector instructions, and at the end those of the x87 and MMX.
    pub fn vector<const F: bool>(&mut self, i: &Instruction) -> Flow {
        use Mnemonic as M;
        let m = i.mnemonic();
        let old = |n| i.op_register(n).is_mm() || i.op_register(n).is_st();
        if (0..i.op_count()).any(old) || matches!(m, M::Cvtpi2ps | M::Cvtpi2pd) {
            return self.fpu(i);
        }
        match m {
            M::Movaps
            | M::Movapd
            | M::Movdqa
            | M::Movups
            | M::Movupd
            | M::Movdqu
            | M::Lddqu
            | M::Movntdqa => {
                let aligned = matches!(m, M::Movaps | M::Movapd | M::Movdqa | M::Movntdqa);
                if is_mem(i, 0) {
                    return self.store(
                        i,
                        if aligned {
                            step::<F, XStore<0>>
                        } else {
                            step::<F, XStore<1>>
                        },
                    );
                }
                let mem = if aligned {
                    step::<F, XMov<Xa, ALL>> as Handler
                } else {
                    step::<F, XMov<Xu<16>, ALL>>
                };
                self.vec_op(i, step::<F, XMov<Xb, ALL>>, mem);
            }
            M::Movntdq | M::Movntps | M::Movntpd => return self.store(i, step::<F, XStore<0>>),
            M::Movlps | M::Movlpd | M::Movq if is_mem(i, 0) && is_xmm(i, 1) => {
                return self.store(i, step::<F, XStore<2>>);
            }
            M::Movhps | M::Movhpd if is_mem(i, 0) => return self.store(i, step::<F, XStore<3>>),
            M::Movss if is_mem(i, 0) => return self.store(i, step::<F, XStore<4>>),
            M::Movsd if is_mem(i, 0) => return self.store(i, step::<F, XStore<2>>),
            M::Movss => {
                self.vec_op(i, step::<F, XMov<Xb, LOW32>>, step::<F, XMov<Xu<4>, ALL>>);
            }
            M::Movsd => {
                self.vec_op(i, step::<F, XMov<Xb, LOW64>>, step::<F, XMov<Xu<8>, ALL>>);
            }
            M::Movlps | M::Movlpd => {
                self.vec_op(i, step::<F, XMov<Xb, LOW64>>, step::<F, XMov<Xu<8>, LOW64>>);
            }
            M::Movhps | M::Movhpd | M::Movlhps => {
                self.vec_op(i, step::<F, XMov<Xb, HIGH64>>, step::<F, XMov<Xu<8>, HIGH64>>);
            }
            M::Movhlps => {
                self.vec_op(i, step::<F, XMov<Xb, HIGH_LOW>>, step::<F, XMov<Xa, HIGH_LOW>>);
            }
            M::Movd | M::Movq => {
                let wide = m == M::Movq;
                if is_xmm(i, 0) {
                    if is_mem(i, 1) {
                        let h = if wide {
                            step::<F, XMov<Xu<8>, ALL>> as Handler
                        } else {
                            step::<F, XMov<Xu<4>, ALL>>
                        };
                        self.push_mem(i, |_| h).a = x(i, 0);
                    } else if is_xmm(i, 1) {
                        self.vec_op(i, step::<F, XMov<Xb, ZX64>>, step::<F, XMov<Xb, ZX64>>);
                    } else {
                        let op = self.push(if wide {
                            step::<F, FromGpr<u64>>
                        } else {
                            step::<F, FromGpr<u32>>
                        });
                        op.a = x(i, 0);
                        op.b = goff(i.op1_register());
                    }
                } else if is_mem(i, 0) {
                    return self.store(
                        i,
                        if wide {
                            step::<F, XStore<2>>
                        } else {
                            step::<F, XStore<4>>
                        },
                    );
                } else {
                    let op = self.push(if wide {
                        step::<F, ToGpr<u64>>
                    } else {
                        step::<F, ToGpr<u32>>
                    });
                    op.a = x(i, 1);
                    op.b = goff(i.op0_register());
                }
            }
            M::Pmovmskb | M::Movmskps | M::Movmskpd => {
                let op = self.push(match m {
                    M::Pmovmskb => step::<F, Msk<8>>,
                    M::Movmskps => step::<F, Msk<32>>,
                    _ => step::<F, Msk<64>>,
                });
                op.a = goff(i.op0_register());
                op.b = x(i, 1);
            }
            M::Pshufd => {
                self.vec_op(i, step::<F, Pshufd<Xb>>, step::<F, Pshufd<Xa>>);
            }
            M::Pslldq | M::Psrldq => {
                let f: VFn = if m == M::Pslldq {
                    |_, a, _, i| Ok(vec::pslldq(a, i))
                } else {
                    |_, a, _, i| Ok(vec::psrldq(a, i))
                };
                let op = self.push(step::<false, V<Xb>>);
                op.a = x(i, 0);
                op.b = op.a;
                op.x = u32::from(i.immediate8());
                op.imm = AtomicU64::new(f as usize as u64);
            }
            M::Psllw | M::Pslld | M::Psllq | M::Psrlw | M::Psrld | M::Psrlq | M::Psraw | M::Psrad
                if i.op1_kind() == iced_x86::OpKind::Immediate8 =>
            {
                let Some(h) = hot_shift_handler::<F>(m) else {
                    return self.gap(i);
                };
                let op = self.push(h);
                op.a = x(i, 0);
                op.x = u32::from(i.immediate8());
            }
            M::Cvtsi2sd | M::Cvtsi2ss => {
                let wide = width(i, 1) == 3;
                let f: VFn = match (m == M::Cvtsi2sd, wide) {
                    (true, true) => |m, a, b, _| cv::cvtsi2sd64(m, a, b as u64),
                    (true, false) => |_, a, b, _| Ok(cv::cvtsi2sd32(a, b as u32)),
                    (false, true) => |m, a, b, _| cv::cvtsi2ss64(m, a, b as u64),
                    (false, false) => |m, a, b, _| cv::cvtsi2ss32(m, a, b as u32),
                };
                let op = self.push_rm(
                    i,
                    1,
                    if wide {
                        step::<false, VFromG<u64>>
                    } else {
                        step::<false, VFromG<u32>>
                    },
                );
                op.a = x(i, 0);
                op.imm = AtomicU64::new(f as usize as u64);
            }
            M::Cvttsd2si | M::Cvtsd2si | M::Cvttss2si | M::Cvtss2si => {
                let wide = i.op0_register().size() == 8;
                macro_rules! conv {
                    ($f:ident) => {
                        |m, _, b, _| cv::$f(m, b as u64).map(u128::from)
                    };
                }
                let f: VFn = match (m, wide) {
                    (M::Cvttsd2si, false) => conv!(cvttsd2si32),
                    (M::Cvttsd2si, true) => conv!(cvttsd2si64),
                    (M::Cvtsd2si, false) => conv!(cvtsd2si32),
                    (M::Cvtsd2si, true) => conv!(cvtsd2si64),
                    (M::Cvttss2si, false) => conv!(cvttss2si32),
                    (M::Cvttss2si, true) => conv!(cvttss2si64),
                    (_, false) => conv!(cvtss2si32),
                    (_, true) => conv!(cvtss2si64),
                };
                let mem = by_size!(i.memory_size().size(), S => step::<false, GFromV<u64, S>>);
                let g = goff(i.op0_register());
                let op = self.vec_op(i, step::<false, GFromV<u64, Xb>>, mem);
                op.a = g;
                op.imm = AtomicU64::new(f as usize as u64);
            }
            M::Comisd | M::Ucomisd | M::Comiss | M::Ucomiss | M::Ptest => {
                let f: VFn = match m {
                    M::Comisd => |m, a, b, _| fl::comisd(m, a as u64, b as u64).map(u128::from),
                    M::Ucomisd => |m, a, b, _| fl::ucomisd(m, a as u64, b as u64).map(u128::from),
                    M::Comiss => |m, a, b, _| fl::comiss(m, a as u64, b as u64).map(u128::from),
                    M::Ucomiss => |m, a, b, _| fl::ucomiss(m, a as u64, b as u64).map(u128::from),
                    _ => |_, a, b, _| {
                        let (z, c) = vec::ptest(a, b);
                        Ok(u128::from(z) << 6 | u128::from(c))
                    },
                };
                let mem = by_size!(i.memory_size().size(), S => step::<false, VFlags<S>>);
                return self.call(i, step::<false, VFlags<Xb>>, mem, f);
            }
            M::Pextrb | M::Pextrw | M::Pextrd | M::Pextrq | M::Extractps => {
                let f: VFn = match m {
                    M::Pextrb => |_, _, b, i| Ok(vec::pextrb(b, i).into()),
                    M::Pextrw => |_, _, b, i| Ok(vec::pextrw(b, i).into()),
                    M::Pextrq => |_, _, b, i| Ok(vec::pextrq(b, i).into()),
                    _ => |_, _, b, i| Ok(vec::pextrd(b, i).into()),
                };
                let h = match m {
                    M::Pextrb => step::<false, Extract<u8>> as Handler,
                    M::Pextrw => step::<false, Extract<u16>>,
                    M::Pextrq => step::<false, Extract<u64>>,
                    _ => step::<false, Extract<u32>>,
                };
                let op = self.push_rm(i, 0, h);
                op.a = x(i, 1);
                op.x = u32::from(i.immediate8());
                op.imm = AtomicU64::new(f as usize as u64);
            }
            M::Pinsrb | M::Pinsrw | M::Pinsrd | M::Pinsrq => {
                let f: VFn = match m {
                    M::Pinsrb => |_, a, b, i| Ok(vec::pinsrb(a, b as u8, i)),
                    M::Pinsrw => |_, a, b, i| Ok(vec::pinsrw(a, b as u16, i)),
                    M::Pinsrd => |_, a, b, i| Ok(vec::pinsrd(a, b as u32, i)),
                    _ => |_, a, b, i| Ok(vec::pinsrq(a, b as u64, i)),
                };
                let h = match m {
                    M::Pinsrb => step::<false, VFromG<u8>> as Handler,
                    M::Pinsrw => step::<false, VFromG<u16>>,
                    M::Pinsrd => step::<false, VFromG<u32>>,
                    _ => step::<false, VFromG<u64>>,
                };
                let op = self.push_rm(i, 1, h);
                op.a = x(i, 0);
                op.x = u32::from(i.immediate8());
                op.imm = AtomicU64::new(f as usize as u64);
            }
            M::Insertps => {
                let reg: VFn = |_, a, b, i| Ok(vec::insertps(a, vec::insertps_source(b, i), i));
                let mem: VFn = |_, a, b, i| Ok(vec::insertps(a, b as u32, i));
                let f = if is_mem(i, 1) { mem } else { reg };
                return self.call(i, step::<false, V<Xb>>, step::<false, V<Xu<4>>>, f);
            }
            M::Pblendvb | M::Blendvps | M::Blendvpd => {
                let op = self.vec_op(i, step::<false, Blendv<Xb>>, step::<false, Blendv<Xa>>);
                op.x = match m {
                    M::Pblendvb => 0,
                    M::Blendvps => 1,
                    _ => 2,
                };
            }
            M::Pcmpistri | M::Pcmpistrm | M::Pcmpestri | M::Pcmpestrm | M::Pcmpestri64 | M::Pcmpestrm64 => {
                let op = self.vec_op(i, step::<false, Pcmpstr<Xb>>, step::<false, Pcmpstr<Xu<16>>>);
                if matches!(m, M::Pcmpestri64 | M::Pcmpestrm64) {
                    op.x |= 0x100;
                }
                op.imm = AtomicU64::new(match m {
                    M::Pcmpistri => 0,
                    M::Pcmpistrm => 1,
                    M::Pcmpestri | M::Pcmpestri64 => 2,
                    _ => 3,
                });
            }
            M::Maskmovdqu => {
                let seg = match i.memory_segment() {
                    Register::FS => FS,
                    Register::GS => GS,
                    _ => ZERO,
                };
                let op = self.push(step::<false, Maskmov>);
                op.a = x(i, 1);
                op.b = x(i, 2);
                op.index = seg;
            }
            _ if is_xmm(i, 0) => {
                if let Some((r, mem)) = hot_handlers::<F>(m) {
                    self.vec_op(i, r, mem);
                } else if let Some(f) = function(m) {
                    let mem = by_size!(i.memory_size().size(), S => step::<false, V<S>>);
                    return self.call(i, step::<false, V<Xb>>, mem, f);
                } else {
                    return self.gap(i);
                }
            }
            _ => return self.fpu(i),
        }
        Flow::Next
    }
}
