//! Arithmetic, shifts and moves: one handler for each width and each place of the operands.

use std::sync::atomic::AtomicU64;

use iced_x86::{Instruction, OpKind, Register};

use super::alu::*;
use super::lower::{Flow, Lower, by_w, by_w123, goff, is_imm, is_mem, width};
use super::moves::*;
use super::op::*;
use super::shift::*;

impl Lower<'_> {
    pub(super) fn alu<const F: bool>(&mut self, i: &Instruction, o: u8, dead: bool) -> Flow {
        let w = width(i, 0);
        match (is_mem(i, 0), is_mem(i, 1), is_imm(i, 1)) {
            (true, _, imm) => {
                let op = self.push_mem(i, |x| {
                    let f = match (x, imm) {
                        (false, false) => Form::Mbr,
                        (false, true) => Form::Mbi,
                        (true, false) => Form::Mxr,
                        (true, true) => Form::Mxi,
                    };
                    by_w!(w, W => alu_h::<F, W>(o, f, dead))
                });
                if imm {
                    op.imm = AtomicU64::new(i.immediate(1));
                } else {
                    op.a = goff(i.op1_register());
                }
            }
            (_, true, _) => {
                let op = self.push_mem(i, |x| {
                    let f = if x { Form::Rmx } else { Form::Rmb };
                    by_w!(w, W => alu_h::<F, W>(o, f, dead))
                });
                op.a = goff(i.op0_register());
            }
            (_, _, true) => {
                let op = self.push(by_w!(w, W => alu_h::<F, W>(o, Form::Ri, dead)));
                op.a = goff(i.op0_register());
                op.imm = AtomicU64::new(i.immediate(1));
            }
            _ => {
                let op = self.push(by_w!(w, W => alu_h::<F, W>(o, Form::Rr, dead)));
                op.a = goff(i.op0_register());
                op.b = goff(i.op1_register());
            }
        }
        Flow::Next
    }

    pub(super) fn unary<const F: bool, const O: u8>(&mut self, i: &Instruction, dead: bool) -> Flow {
        let w = width(i, 0);
        let mem = is_mem(i, 0);
        let h = by_w!(w, W => unary_h::<F, W, O>(mem, dead));
        if mem {
            self.push_mem(i, |_| h);
        } else {
            self.push(h).a = goff(i.op0_register());
        }
        Flow::Next
    }

    pub(super) fn shift<const F: bool>(&mut self, i: &Instruction, o: u8, dead: bool) -> Flow {
        let w = width(i, 0);
        let by_cl = !is_imm(i, 1);
        let mem = is_mem(i, 0);
        let h = by_w!(w, W => match o {
            SHL => shift_h::<F, W, SHL>(mem, by_cl, dead),
            SHR => shift_h::<F, W, SHR>(mem, by_cl, dead),
            SAR => shift_h::<F, W, SAR>(mem, by_cl, dead),
            ROL => shift_h::<F, W, ROL>(mem, by_cl, dead),
            ROR => shift_h::<F, W, ROR>(mem, by_cl, dead),
            RCL => rotc_h::<W, RCL>(mem, by_cl),
            _ => rotc_h::<W, RCR>(mem, by_cl),
        });
        let op = if mem {
            self.push_mem(i, |_| h)
        } else {
            let op = self.push(h);
            op.a = goff(i.op0_register());
            op
        };
        if by_cl {
            op.b = 8;
        } else {
            op.imm = AtomicU64::new(i.immediate(1));
        }
        Flow::Next
    }

    pub(super) fn mov<const F: bool>(&mut self, i: &Instruction) -> Flow {
        let seg = |n| i.op_kind(n) == OpKind::Register && i.op_register(n).is_segment_register();
        if seg(0) {
            return self.raise(1);
        }
        let w = width(i, 0);
        if seg(1) {
            // Linux's user selectors: CS 0x33, SS 0x2b, the others null.
            let v = match i.op1_register() {
                Register::CS => 0x33,
                Register::SS => 0x2b,
                _ => 0,
            };
            if is_mem(i, 0) {
                self.push_mem(i, |_| step::<F, Mov<u16, Mx, Im>>).imm = AtomicU64::new(v);
            } else {
                let op = self.push(by_w!(w, W => step::<F, Mov<W, Ra, Im>>));
                op.a = goff(i.op0_register());
                op.imm = AtomicU64::new(v);
            }
            return Flow::Next;
        }
        if !matches!(i.op_kind(0), OpKind::Memory)
            && (!i.op0_register().is_gpr() || i.op_kind(1) == OpKind::Register && !i.op1_register().is_gpr())
        {
            // Control and debug registers.
            return self.raise(1);
        }
        match (is_mem(i, 0), is_mem(i, 1), is_imm(i, 1)) {
            (true, _, true) => {
                let op = self.push_mem(i, |x| {
                    by_w!(w, W => if x { step::<F, Mov<W, Mx, Im>> as Handler } else { step::<F, Mov<W, Mb, Im>> })
                });
                op.imm = AtomicU64::new(i.immediate(1));
            }
            (true, ..) => {
                let op = self.push_mem(i, |x| {
                    by_w!(w, W => if x { step::<F, Mov<W, Mx, Ra>> as Handler } else { step::<F, Mov<W, Mb, Ra>> })
                });
                op.a = goff(i.op1_register());
            }
            (_, true, _) => {
                let op = self.push_mem(i, |x| {
                    by_w!(w, W => if x { step::<F, Mov<W, Ra, Mx>> as Handler } else { step::<F, Mov<W, Ra, Mb>> })
                });
                op.a = goff(i.op0_register());
            }
            (_, _, true) => {
                let op = self.push(by_w!(w, W => step::<F, Mov<W, Ra, Im>>));
                op.a = goff(i.op0_register());
                op.imm = AtomicU64::new(i.immediate(1));
            }
            _ => {
                let op = self.push(by_w!(w, W => step::<F, Mov<W, Ra, Rb>>));
                op.a = goff(i.op0_register());
                op.b = goff(i.op1_register());
            }
        }
        Flow::Next
    }

    pub(super) fn movx<const F: bool>(&mut self, i: &Instruction, signed: bool) -> Flow {
        let v = width(i, 0);
        let from = width(i, 1);
        let h = |mem: Option<bool>| match from {
            0 => by_w123!(v, V => movx_h::<F, u8, V>(mem, signed)),
            1 => by_w123!(v, V => movx_h::<F, u16, V>(mem, signed)),
            _ => by_w123!(v, V => movx_h::<F, u32, V>(mem, signed)),
        };
        let op = if is_mem(i, 1) {
            self.push_mem(i, |x| h(Some(x)))
        } else {
            let op = self.push(h(None));
            op.b = goff(i.op1_register());
            op
        };
        op.a = goff(i.op0_register());
        Flow::Next
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Rr,
    Ri,
    Rmb,
    Rmx,
    Mbr,
    Mxr,
    Mbi,
    Mxi,
}

fn alu_h<const F: bool, W: Word>(o: u8, f: Form, dead: bool) -> Handler {
    match o {
        ADD => alu_n::<F, W, ADD>(f, dead),
        OR => alu_n::<F, W, OR>(f, dead),
        ADC => alu_op::<F, W, ADC, false>(f),
        SBB => alu_op::<F, W, SBB, false>(f),
        AND => alu_n::<F, W, AND>(f, dead),
        SUB => alu_n::<F, W, SUB>(f, dead),
        XOR => alu_n::<F, W, XOR>(f, dead),
        CMP => alu_op::<F, W, CMP, false>(f),
        _ => alu_op::<F, W, TEST, false>(f),
    }
}

fn alu_n<const F: bool, W: Word, const O: u8>(f: Form, dead: bool) -> Handler {
    // Dead flags matter for speed only: narrow and slow forms set them anyway.
    if F && dead && W::LOG >= 2 && matches!(f, Form::Rr | Form::Ri | Form::Rmb | Form::Rmx) {
        match f {
            Form::Rr => step::<F, Alu<W, Ra, Rb, O, true>>,
            Form::Ri => step::<F, Alu<W, Ra, Im, O, true>>,
            Form::Rmb => step::<F, Alu<W, Ra, Mb, O, true>>,
            _ => step::<F, Alu<W, Ra, Mx, O, true>>,
        }
    } else {
        alu_op::<F, W, O, false>(f)
    }
}

fn alu_op<const F: bool, W: Word, const O: u8, const N: bool>(f: Form) -> Handler {
    match f {
        Form::Rr => step::<F, Alu<W, Ra, Rb, O, N>>,
        Form::Ri => step::<F, Alu<W, Ra, Im, O, N>>,
        Form::Rmb => step::<F, Alu<W, Ra, Mb, O, N>>,
        Form::Rmx => step::<F, Alu<W, Ra, Mx, O, N>>,
        Form::Mbr => step::<F, Alu<W, Mb, Ra, O, N>>,
        Form::Mxr => step::<F, Alu<W, Mx, Ra, O, N>>,
        Form::Mbi => step::<F, Alu<W, Mb, Im, O, N>>,
        Form::Mxi => step::<F, Alu<W, Mx, Im, O, N>>,
    }
}

fn unary_h<const F: bool, W: Word, const O: u8>(mem: bool, dead: bool) -> Handler {
    match (mem, dead) {
        (true, _) => step::<F, Unary<W, Mx, O, false>>,
        (_, true) => step::<F, Unary<W, Ra, O, true>>,
        _ => step::<F, Unary<W, Ra, O, false>>,
    }
}

fn shift_h<const F: bool, W: Word, const O: u8>(mem: bool, by_cl: bool, dead: bool) -> Handler {
    match (mem, by_cl, dead) {
        // Shifts of memory by CL find CL in `b`.
        (true, true, _) => step::<false, Shift<W, Mx, Rb, O, false>>,
        (true, false, _) => step::<false, Shift<W, Mx, Im, O, false>>,
        (_, true, _) => step::<F, Shift<W, Ra, Rb, O, false>>,
        (_, _, true) => step::<F, Shift<W, Ra, Im, O, true>>,
        _ => step::<F, Shift<W, Ra, Im, O, false>>,
    }
}

fn rotc_h<W: Word, const O: u8>(mem: bool, by_cl: bool) -> Handler {
    match (mem, by_cl) {
        (true, true) => step::<false, Rotc<W, Mx, Rb, O>>,
        (true, false) => step::<false, Rotc<W, Mx, Im, O>>,
        (_, true) => step::<false, Rotc<W, Ra, Rb, O>>,
        _ => step::<false, Rotc<W, Ra, Im, O>>,
    }
}

fn movx_h<const F: bool, W: Word, V: Word>(mem: Option<bool>, signed: bool) -> Handler {
    match (mem, signed) {
        (None, false) => step::<F, Movx<W, V, Rb, false>>,
        (None, true) => step::<F, Movx<W, V, Rb, true>>,
        (Some(false), false) => step::<F, Movx<W, V, Mb, false>>,
        (Some(false), true) => step::<F, Movx<W, V, Mb, true>>,
        (Some(true), false) => step::<F, Movx<W, V, Mx, false>>,
        (Some(true), true) => step::<F, Movx<W, V, Mx, true>>,
    }
}
