//! What each x87 instruction does to the stack, the status word and its operands.

use super::decode::{Dst, Insn, Op, Src};
use super::f80::{Arith, Class, F80, Outcome, rounding};
use super::state::{C0, C1, C2, C3, ES, Fpu, SF};
use super::transcendental as tr;
use crate::vec::soft::{DE, IE, OE, UE, ZE};
use std::cmp::Ordering;

/// What the core does after an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing more.
    Done,
    /// Write the low [`Insn::writes`] bytes to the memory operand.
    Store(u128),
    /// Set ZF (0x40), PF (4) and CF (1) to these; the other arithmetic flags become 0.
    Flags(u32),
    /// Write AX.
    Ax(u16),
    /// #MF: an earlier instruction's unmasked exception; this one has done nothing.
    Fault,
}

impl Fpu {
    pub(super) fn phys(&self, i: u8) -> usize {
        usize::from(self.top.wrapping_add(i) & 7)
    }
    fn is_empty(&self, i: u8) -> bool {
        self.used >> self.phys(i) & 1 == 0
    }
    fn st(&self, i: u8) -> F80 {
        self.regs[self.phys(i)]
    }
    fn put(&mut self, i: u8, v: F80) {
        let p = self.phys(i);
        self.regs[p] = v;
        self.used |= 1 << p;
    }
    fn pop(&mut self) {
        self.used &= !(1 << self.phys(0));
        self.top = (self.top + 1) & 7;
    }
    fn pop_n(&mut self, n: u8) {
        (0..n).for_each(|_| self.pop());
    }
    fn masked(&self, flags: u32) -> bool {
        flags & !u32::from(self.cw) & 0x3f == 0
    }
    /// Sets flags; true if all of them are masked.
    fn signal(&mut self, flags: u32) -> bool {
        self.sw |= flags as u16 & 0x3f;
        let ok = self.masked(flags);
        if !ok {
            self.sw |= ES;
        }
        ok
    }
    fn c1(&mut self, on: bool) {
        self.sw = self.sw & !C1 | if on { C1 } else { 0 };
    }
    /// A stack fault; `overflow` or underflow. True if masked.
    fn stack_fault(&mut self, overflow: bool) -> bool {
        self.sw |= SF;
        self.c1(overflow);
        self.signal(IE)
    }
    /// Signals what an operation raised. False: an unmasked exception of the operands leaves everything as it is.
    fn commit(&mut self, o: &Outcome) -> bool {
        self.c1(false);
        let before = o.flags & (IE | DE | ZE);
        if !self.masked(before) {
            self.signal(before);
            return false;
        }
        self.c1(o.up);
        self.signal(o.flags);
        true
    }

    /// Pushes; an occupied register is a stack overflow.
    fn push(&mut self, v: F80) {
        if !self.is_empty(7) {
            if self.stack_fault(true) {
                self.top = self.top.wrapping_sub(1) & 7;
                self.put(0, F80::INDEFINITE);
            }
            return;
        }
        self.top = self.top.wrapping_sub(1) & 7;
        self.put(0, v);
    }

    /// A memory operand as a number, with DE where it was denormal.
    fn operand(src: Src, input: u128) -> (F80, u32) {
        match src {
            Src::F32 => F80::from_f32(input as u32),
            Src::F64 => F80::from_f64(input as u64),
            Src::F80 => (F80::from_bits(input), 0),
            Src::I16 => (F80::from_i64(i64::from(input as i16)), 0),
            Src::I32 => (F80::from_i64(i64::from(input as i32)), 0),
            Src::I64 => (F80::from_i64(input as i64), 0),
            Src::Bcd => (F80::from_bcd(input), 0),
        }
    }

    fn arith(&mut self, op: Arith, reverse: bool, dst: u8, other: Result<u8, (F80, u32)>, pop: bool) {
        let empty = self.is_empty(dst) || other.is_ok_and(|i| self.is_empty(i));
        if empty {
            if self.stack_fault(false) {
                self.put(dst, F80::INDEFINITE);
                self.pop_n(u8::from(pop));
            }
            return;
        }
        let (b, denormal) = other.map_or_else(|v| v, |i| (self.st(i), 0));
        let a = self.st(dst);
        let (a, b) = if reverse { (b, a) } else { (a, b) };
        let o = F80::arith(op, a, b, denormal, self.cw);
        if self.commit(&o) {
            self.put(dst, o.value);
            self.pop_n(u8::from(pop));
        }
    }

    /// ST(0) replaced by a function of it.
    fn unary(&mut self, f: impl FnOnce(F80, u16) -> Outcome) {
        if self.is_empty(0) {
            if self.stack_fault(false) {
                self.put(0, F80::INDEFINITE);
            }
            return;
        }
        let o = f(self.st(0), self.cw);
        if self.commit(&o) {
            self.put(0, o.value);
        }
    }

    /// A function of ST(1) and ST(0), into ST(1), then pop; or, with `keep`, into ST(0).
    fn binary(&mut self, keep: bool, f: impl FnOnce(F80, F80, u16) -> Outcome) {
        let dst = u8::from(!keep);
        if self.is_empty(0) || self.is_empty(1) {
            if self.stack_fault(false) {
                self.put(dst, F80::INDEFINITE);
                self.pop_n(dst);
            }
            return;
        }
        let o = f(self.st(1), self.st(0), self.cw);
        if self.commit(&o) {
            self.put(dst, o.value);
            self.pop_n(dst);
        }
    }

    /// Compares: (C3, C2, C0), and whether no unmasked exception forbids to pop.
    fn order(&mut self, other: Result<u8, (F80, u32)>, quiet: bool) -> ((bool, bool, bool), bool) {
        const UNORDERED: (bool, bool, bool) = (true, true, true);
        if self.is_empty(0) || other.is_ok_and(|i| self.is_empty(i)) {
            return (UNORDERED, self.stack_fault(false));
        }
        let (b, denormal) = other.map_or_else(|v| v, |i| (self.st(i), 0));
        let a = self.st(0);
        let (flags, r) = match F80::compare(a, b) {
            Some(o) => (
                a.denormal_flag() | b.denormal_flag() | denormal,
                (o == Ordering::Equal, false, o == Ordering::Less),
            ),
            None => {
                let loud = |x: F80| matches!(x.class(), Class::Signalling | Class::Unsupported);
                (if !quiet || loud(a) || loud(b) { IE } else { 0 }, UNORDERED)
            }
        };
        (r, self.signal(flags))
    }
    fn set_codes(&mut self, (c3, c2, c0): (bool, bool, bool)) {
        self.sw &= !(C0 | C2 | C3);
        self.sw |= if c3 { C3 } else { 0 } | if c2 { C2 } else { 0 } | if c0 { C0 } else { 0 };
    }
    fn compare(&mut self, other: Result<u8, (F80, u32)>, quiet: bool, pops: u8) {
        self.c1(false);
        let (r, ok) = self.order(other, quiet);
        self.set_codes(r);
        self.pop_n(if ok { pops } else { 0 });
    }

    fn load(&mut self, src: Src, input: u128) {
        let (v, denormal) = Fpu::operand(src, input);
        if !self.is_empty(7) {
            self.push(v);
            return;
        }
        self.c1(false);
        let narrow = matches!(src, Src::F32 | Src::F64);
        let signalling = narrow && v.class() == Class::Signalling;
        self.signal(denormal | if signalling { IE } else { 0 });
        // An unmasked DE does not keep the number from being loaded.
        if !signalling || self.masked(IE) {
            self.push(if signalling { v.quieted() } else { v });
        }
    }

    fn store(&mut self, dst: Dst, pop: bool) -> Effect {
        let rc = rounding(self.cw);
        let convert = |v: F80, cw| -> (u128, u32, bool) {
            let int = |bits, rc| {
                let (n, f, up) = v.to_int(bits, rc);
                (u128::from(n as u64), f, up)
            };
            match dst {
                Dst::F32 => {
                    let (x, f, up) = v.to_f32(cw);
                    (u128::from(x), f, up)
                }
                Dst::F64 => {
                    let (x, f, up) = v.to_f64(cw);
                    (u128::from(x), f, up)
                }
                Dst::F80 => (v.to_bits(), 0, false),
                Dst::I16 => int(16, rc),
                Dst::I32 => int(32, rc),
                Dst::I64 => int(64, rc),
                Dst::T16 => int(16, 3),
                Dst::T32 => int(32, 3),
                Dst::T64 => int(64, 3),
                Dst::Bcd => v.to_bcd(rc),
            }
        };
        if self.is_empty(0) {
            if !self.stack_fault(false) {
                return Effect::Done;
            }
            let r = convert(F80::INDEFINITE, self.cw).0;
            self.pop_n(u8::from(pop));
            return Effect::Store(r);
        }
        let (r, flags, up) = convert(self.st(0), self.cw);
        self.c1(false);
        if !self.signal(flags) && !self.masked(flags & (IE | OE | UE)) {
            return Effect::Done;
        }
        self.c1(up);
        self.pop_n(u8::from(pop));
        Effect::Store(r)
    }

    fn exchange(&mut self, i: u8) {
        if self.is_empty(0) || self.is_empty(i) {
            if !self.stack_fault(false) {
                return;
            }
            for k in [0, i] {
                if self.is_empty(k) {
                    self.put(k, F80::INDEFINITE);
                }
            }
        } else {
            self.c1(false);
        }
        let (a, b) = (self.phys(0), self.phys(i));
        self.regs.swap(a, b);
    }

    fn move_to(&mut self, i: u8, pop: bool) {
        if self.is_empty(0) {
            if self.stack_fault(false) {
                self.put(i, F80::INDEFINITE);
                self.pop_n(u8::from(pop));
            }
            return;
        }
        self.c1(false);
        self.put(i, self.st(0));
        self.pop_n(u8::from(pop));
    }

    fn conditional_move(&mut self, i: u8, taken: bool) {
        if self.is_empty(0) || self.is_empty(i) {
            if self.stack_fault(false) {
                self.put(0, F80::INDEFINITE);
            }
            return;
        }
        if taken {
            self.put(0, self.st(i));
        }
    }

    fn examine(&mut self) {
        let v = self.st(0);
        self.c1(v.is_negative());
        let codes = match v.class() {
            _ if self.is_empty(0) => (true, false, true),
            Class::Unsupported => (false, false, false),
            Class::Quiet | Class::Signalling => (false, false, true),
            Class::Normal => (false, true, false),
            Class::Inf => (false, true, true),
            Class::Zero => (true, false, false),
            Class::Denormal => (true, true, false),
        };
        self.set_codes(codes);
    }

    fn remainder(&mut self, nearest: bool) {
        if self.is_empty(0) || self.is_empty(1) {
            self.sw &= !C2;
            if self.stack_fault(false) {
                self.put(0, F80::INDEFINITE);
            }
            return;
        }
        let (a, b) = (self.st(0), self.st(1));
        let (o, partial, q) = F80::remainder(a, b, nearest, self.cw);
        self.sw &= !C2;
        if self.commit(&o) {
            self.put(0, o.value);
            if o.value.is_nan() {
                return;
            }
            self.set_codes((!partial && q & 2 != 0, partial, !partial && q & 4 != 0));
            self.c1(!partial && q & 1 != 0);
        }
    }

    fn extract(&mut self) {
        let empty = self.is_empty(0);
        if empty || !self.is_empty(7) {
            if self.stack_fault(!empty) {
                self.put(0, F80::INDEFINITE);
                self.top = self.top.wrapping_sub(1) & 7;
                self.put(0, F80::INDEFINITE);
            }
            return;
        }
        let v = self.st(0);
        let (exponent, significand, flags) = match v.class() {
            Class::Zero => (F80::inf(true), v, ZE),
            Class::Inf => (F80::inf(false), v, 0),
            Class::Unsupported => (F80::INDEFINITE, F80::INDEFINITE, IE),
            Class::Signalling => (v.quieted(), v.quieted(), IE),
            Class::Quiet => (v, v, 0),
            _ => {
                let f = v.fin();
                let s = F80 {
                    se: v.se & 0x8000 | 0x3fff,
                    mant: f.sig,
                };
                (F80::from_i64(i64::from(f.exp)), s, v.denormal_flag())
            }
        };
        if self.commit(&Outcome::exact(exponent).also(flags)) {
            self.put(0, exponent);
            self.push(significand);
        }
    }

    /// `fsin`, `fcos`, `fsincos`, `fptan`: nothing happens (C2) to arguments of 2^63 and more.
    fn trigonometric(&mut self, pushes: bool, f: impl FnOnce(F80, u16) -> Option<(Outcome, Option<F80>)>) {
        let empty = self.is_empty(0);
        if empty || (pushes && !self.is_empty(7)) {
            self.sw &= !C2;
            if self.stack_fault(!empty) {
                self.put(0, F80::INDEFINITE);
                if pushes {
                    self.top = self.top.wrapping_sub(1) & 7;
                    self.put(0, F80::INDEFINITE);
                }
            }
            return;
        }
        self.sw &= !(C2 | C1);
        match f(self.st(0), self.cw) {
            None => self.sw |= C2,
            Some((o, second)) => {
                if self.commit(&o) {
                    self.put(0, o.value);
                    if let Some(v) = second {
                        self.push(v);
                    }
                }
            }
        }
    }

    /// Executes one instruction. `i` is the stack index of a register operand, `input` the memory operand (its
    /// [`Insn::reads`] bytes), `rflags` are the flags that `fcmov` asks for.
    ///
    /// A store that may fault in memory must be tried on a clone, which becomes the state when the write succeeded.
    pub fn execute(&mut self, insn: Insn, i: u8, input: u128, rflags: u32) -> Effect {
        if insn.waits() && self.pending() {
            return Effect::Fault;
        }
        match insn.op {
            Op::Arith(op, reverse, src) => self.arith(op, reverse, 0, Err(Fpu::operand(src, input)), false),
            Op::ArithSt0(op, reverse) => self.arith(op, reverse, 0, Ok(i), false),
            Op::ArithSti(op, reverse, pop) => self.arith(op, reverse, i, Ok(0), pop),
            Op::Compare(src, pop) => self.compare(Err(Fpu::operand(src, input)), false, u8::from(pop)),
            Op::CompareSti(quiet, pops) => self.compare(Ok(if pops == 2 { 1 } else { i }), quiet, pops),
            Op::CompareFlags(quiet, pop) => {
                let ((zf, pf, cf), ok) = self.order(Ok(i), quiet);
                self.pop_n(u8::from(pop && ok));
                return Effect::Flags(u32::from(zf) << 6 | u32::from(pf) << 2 | u32::from(cf));
            }
            Op::Test => self.compare(Err((F80::zero(false), 0)), false, 0),
            Op::Load(src) => self.load(src, input),
            Op::LoadSti => {
                self.c1(false);
                if self.is_empty(i) {
                    if self.stack_fault(false) {
                        self.top = self.top.wrapping_sub(1) & 7;
                        self.put(0, F80::INDEFINITE);
                    }
                } else {
                    self.push(self.st(i));
                }
            }
            Op::LoadConstant(k) => {
                self.c1(false);
                self.push(tr::constant(k, self.cw));
            }
            Op::Store(dst, pop) => return self.store(dst, pop),
            Op::StoreSti(pop) => self.move_to(i, pop),
            Op::PopQuietly => {
                self.c1(false);
                if !self.is_empty(0) {
                    self.put(i, self.st(0));
                }
                self.pop();
            }
            Op::Exchange => self.exchange(i),
            Op::MoveIf(mask, wanted) => self.conditional_move(i, (rflags & mask != 0) == wanted),
            Op::Free(pop) => {
                self.c1(false);
                self.used &= !(1 << self.phys(i));
                self.pop_n(u8::from(pop));
            }
            Op::Turn(up) => {
                self.c1(false);
                self.top = (if up {
                    self.top + 1
                } else {
                    self.top.wrapping_sub(1)
                }) & 7;
            }
            Op::Nop | Op::Ignored => {}
            Op::Abs => self.unary(|v, _| {
                Outcome::exact(F80 {
                    se: v.se & 0x7fff,
                    ..v
                })
            }),
            Op::Chs => self.unary(|v, _| Outcome::exact(v.negated())),
            Op::Sqrt => self.unary(F80::sqrt),
            Op::Round => self.unary(|v, cw| v.round_to_int(rounding(cw))),
            Op::Examine => self.examine(),
            Op::Extract => self.extract(),
            Op::Remainder(nearest) => self.remainder(nearest),
            Op::Scale => self.binary(true, |b, a, cw| F80::scale(a, b, cw)),
            Op::F2xm1 => self.unary(tr::f2xm1),
            Op::Fyl2x => self.binary(false, tr::fyl2x),
            Op::Fyl2xp1 => self.binary(false, tr::fyl2xp1),
            Op::Patan => self.binary(false, tr::fpatan),
            Op::Sin => self.trigonometric(false, |v, cw| tr::sincos(v, cw).map(|(s, _)| (s, None))),
            Op::Cos => self.trigonometric(false, |v, cw| tr::sincos(v, cw).map(|(_, c)| (c, None))),
            Op::SinCos => self.trigonometric(true, |v, cw| {
                tr::sincos(v, cw).map(|(s, c)| (s.also(c.flags), Some(c.value)))
            }),
            Op::Tan => self.trigonometric(true, |v, cw| {
                tr::tan(v, cw).map(|t| (t, Some(if t.value.is_nan() { t.value } else { F80::ONE })))
            }),
            Op::LoadControl => self.set_control(input as u16),
            Op::StoreControl => return Effect::Store(u128::from(self.cw)),
            Op::StoreStatus => return Effect::Store(u128::from(self.status())),
            Op::StatusAx => return Effect::Ax(self.status()),
            Op::Clear => self.fnclex(),
            Op::Init => self.fninit(),
            Op::Wait => {}
        }
        Effect::Done
    }
}
