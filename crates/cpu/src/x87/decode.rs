//! The table of x87 instructions: what each encoding means.

use super::f80::Arith;
use iced_x86::Code;

/// A memory operand that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Src {
    F32,
    F64,
    F80,
    I16,
    I32,
    I64,
    Bcd,
}

/// A memory operand that is written; `T*` are integers truncated whatever the rounding control says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dst {
    F32,
    F64,
    F80,
    I16,
    I32,
    I64,
    T16,
    T32,
    T64,
    Bcd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// ST(0) with memory; `true`: operands reversed.
    Arith(Arith, bool, Src),
    ArithSt0(Arith, bool),
    /// ST(i) with ST(0); reversed; pop.
    ArithSti(Arith, bool, bool),
    Compare(Src, bool),
    /// Quiet; pops (2: with ST(1)).
    CompareSti(bool, u8),
    CompareFlags(bool, bool),
    Test,
    Load(Src),
    LoadSti,
    LoadConstant(u8),
    Store(Dst, bool),
    StoreSti(bool),
    /// `fstpnce`: as `fstp`, without complaint about an empty register.
    PopQuietly,
    Exchange,
    /// RFLAGS bits and whether one of them has to be set.
    MoveIf(u32, bool),
    Free(bool),
    Turn(bool),
    Nop,
    /// Control instructions of the 8087 and 287, which do nothing.
    Ignored,
    Abs,
    Chs,
    Sqrt,
    Round,
    Examine,
    Extract,
    Remainder(bool),
    Scale,
    F2xm1,
    Fyl2x,
    Fyl2xp1,
    Patan,
    Sin,
    Cos,
    SinCos,
    Tan,
    LoadControl,
    StoreControl,
    StoreStatus,
    StatusAx,
    Clear,
    Init,
    Wait,
}

/// A decoded x87 instruction. Environment images (`fnstenv`, `fldenv`, `fnsave`, `frstor`, `fxsave`, `fxrstor`) are not
/// among them: they are methods of [`super::Fpu`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    pub(super) op: Op,
}

impl Insn {
    /// Bytes of the memory operand that are read.
    pub fn reads(self) -> usize {
        match self.op {
            Op::LoadControl => 2,
            Op::Arith(_, _, s) | Op::Compare(s, _) | Op::Load(s) => match s {
                Src::I16 => 2,
                Src::F32 | Src::I32 => 4,
                Src::F64 | Src::I64 => 8,
                Src::F80 | Src::Bcd => 10,
            },
            _ => 0,
        }
    }
    /// Bytes of the memory operand that are written.
    pub fn writes(self) -> usize {
        match self.op {
            Op::StoreControl | Op::StoreStatus => 2,
            Op::Store(d, _) => match d {
                Dst::I16 | Dst::T16 => 2,
                Dst::F32 | Dst::I32 | Dst::T32 => 4,
                Dst::F64 | Dst::I64 | Dst::T64 => 8,
                Dst::F80 | Dst::Bcd => 10,
            },
            _ => 0,
        }
    }
    /// Whether a pending exception makes it fault.
    pub fn waits(self) -> bool {
        !matches!(
            self.op,
            Op::StoreControl | Op::StoreStatus | Op::StatusAx | Op::Clear | Op::Init | Op::Ignored
        )
    }
    /// Whether `fcmov` wants the flags.
    pub fn needs_flags(self) -> bool {
        matches!(self.op, Op::MoveIf(..))
    }
    /// Whether its address is remembered ([`super::Fpu::note`]).
    pub fn noted(self) -> bool {
        self.waits() && !matches!(self.op, Op::LoadControl | Op::Wait)
    }

    /// The instruction that a code stands for; `None` if it is not one of these.
    pub fn of(code: Code) -> Option<Insn> {
        use Arith::{Add, Div, Mul, Sub};
        use Code as C;
        let op = match code {
            C::Fadd_m32fp => Op::Arith(Add, false, Src::F32),
            C::Fmul_m32fp => Op::Arith(Mul, false, Src::F32),
            C::Fsub_m32fp => Op::Arith(Sub, false, Src::F32),
            C::Fsubr_m32fp => Op::Arith(Sub, true, Src::F32),
            C::Fdiv_m32fp => Op::Arith(Div, false, Src::F32),
            C::Fdivr_m32fp => Op::Arith(Div, true, Src::F32),
            C::Fadd_m64fp => Op::Arith(Add, false, Src::F64),
            C::Fmul_m64fp => Op::Arith(Mul, false, Src::F64),
            C::Fsub_m64fp => Op::Arith(Sub, false, Src::F64),
            C::Fsubr_m64fp => Op::Arith(Sub, true, Src::F64),
            C::Fdiv_m64fp => Op::Arith(Div, false, Src::F64),
            C::Fdivr_m64fp => Op::Arith(Div, true, Src::F64),
            C::Fiadd_m16int => Op::Arith(Add, false, Src::I16),
            C::Fimul_m16int => Op::Arith(Mul, false, Src::I16),
            C::Fisub_m16int => Op::Arith(Sub, false, Src::I16),
            C::Fisubr_m16int => Op::Arith(Sub, true, Src::I16),
            C::Fidiv_m16int => Op::Arith(Div, false, Src::I16),
            C::Fidivr_m16int => Op::Arith(Div, true, Src::I16),
            C::Fiadd_m32int => Op::Arith(Add, false, Src::I32),
            C::Fimul_m32int => Op::Arith(Mul, false, Src::I32),
            C::Fisub_m32int => Op::Arith(Sub, false, Src::I32),
            C::Fisubr_m32int => Op::Arith(Sub, true, Src::I32),
            C::Fidiv_m32int => Op::Arith(Div, false, Src::I32),
            C::Fidivr_m32int => Op::Arith(Div, true, Src::I32),
            C::Fadd_st0_sti => Op::ArithSt0(Add, false),
            C::Fmul_st0_sti => Op::ArithSt0(Mul, false),
            C::Fsub_st0_sti => Op::ArithSt0(Sub, false),
            C::Fsubr_st0_sti => Op::ArithSt0(Sub, true),
            C::Fdiv_st0_sti => Op::ArithSt0(Div, false),
            C::Fdivr_st0_sti => Op::ArithSt0(Div, true),
            C::Fadd_sti_st0 => Op::ArithSti(Add, false, false),
            C::Fmul_sti_st0 => Op::ArithSti(Mul, false, false),
            C::Fsub_sti_st0 => Op::ArithSti(Sub, false, false),
            C::Fsubr_sti_st0 => Op::ArithSti(Sub, true, false),
            C::Fdiv_sti_st0 => Op::ArithSti(Div, false, false),
            C::Fdivr_sti_st0 => Op::ArithSti(Div, true, false),
            C::Faddp_sti_st0 => Op::ArithSti(Add, false, true),
            C::Fmulp_sti_st0 => Op::ArithSti(Mul, false, true),
            C::Fsubp_sti_st0 => Op::ArithSti(Sub, false, true),
            C::Fsubrp_sti_st0 => Op::ArithSti(Sub, true, true),
            C::Fdivp_sti_st0 => Op::ArithSti(Div, false, true),
            C::Fdivrp_sti_st0 => Op::ArithSti(Div, true, true),
            C::Fcom_m32fp => Op::Compare(Src::F32, false),
            C::Fcomp_m32fp => Op::Compare(Src::F32, true),
            C::Fcom_m64fp => Op::Compare(Src::F64, false),
            C::Fcomp_m64fp => Op::Compare(Src::F64, true),
            C::Ficom_m16int => Op::Compare(Src::I16, false),
            C::Ficomp_m16int => Op::Compare(Src::I16, true),
            C::Ficom_m32int => Op::Compare(Src::I32, false),
            C::Ficomp_m32int => Op::Compare(Src::I32, true),
            C::Fcom_st0_sti | C::Fcom_st0_sti_DCD0 => Op::CompareSti(false, 0),
            C::Fcomp_st0_sti | C::Fcomp_st0_sti_DCD8 | C::Fcomp_st0_sti_DED0 => Op::CompareSti(false, 1),
            C::Fcompp => Op::CompareSti(false, 2),
            C::Fucom_st0_sti => Op::CompareSti(true, 0),
            C::Fucomp_st0_sti => Op::CompareSti(true, 1),
            C::Fucompp => Op::CompareSti(true, 2),
            C::Fcomi_st0_sti => Op::CompareFlags(false, false),
            C::Fcomip_st0_sti => Op::CompareFlags(false, true),
            C::Fucomi_st0_sti => Op::CompareFlags(true, false),
            C::Fucomip_st0_sti => Op::CompareFlags(true, true),
            C::Ftst => Op::Test,
            C::Fld_m32fp => Op::Load(Src::F32),
            C::Fld_m64fp => Op::Load(Src::F64),
            C::Fld_m80fp => Op::Load(Src::F80),
            C::Fild_m16int => Op::Load(Src::I16),
            C::Fild_m32int => Op::Load(Src::I32),
            C::Fild_m64int => Op::Load(Src::I64),
            C::Fbld_m80bcd => Op::Load(Src::Bcd),
            C::Fld_sti => Op::LoadSti,
            C::Fld1 => Op::LoadConstant(0),
            C::Fldl2t => Op::LoadConstant(1),
            C::Fldl2e => Op::LoadConstant(2),
            C::Fldpi => Op::LoadConstant(3),
            C::Fldlg2 => Op::LoadConstant(4),
            C::Fldln2 => Op::LoadConstant(5),
            C::Fldz => Op::LoadConstant(6),
            C::Fst_m32fp => Op::Store(Dst::F32, false),
            C::Fstp_m32fp => Op::Store(Dst::F32, true),
            C::Fst_m64fp => Op::Store(Dst::F64, false),
            C::Fstp_m64fp => Op::Store(Dst::F64, true),
            C::Fstp_m80fp => Op::Store(Dst::F80, true),
            C::Fist_m16int => Op::Store(Dst::I16, false),
            C::Fistp_m16int => Op::Store(Dst::I16, true),
            C::Fist_m32int => Op::Store(Dst::I32, false),
            C::Fistp_m32int => Op::Store(Dst::I32, true),
            C::Fistp_m64int => Op::Store(Dst::I64, true),
            C::Fisttp_m16int => Op::Store(Dst::T16, true),
            C::Fisttp_m32int => Op::Store(Dst::T32, true),
            C::Fisttp_m64int => Op::Store(Dst::T64, true),
            C::Fbstp_m80bcd => Op::Store(Dst::Bcd, true),
            C::Fst_sti => Op::StoreSti(false),
            C::Fstp_sti | C::Fstp_sti_DFD0 | C::Fstp_sti_DFD8 => Op::StoreSti(true),
            C::Fstpnce_sti => Op::PopQuietly,
            C::Fxch_st0_sti | C::Fxch_st0_sti_DDC8 | C::Fxch_st0_sti_DFC8 => Op::Exchange,
            C::Fcmovb_st0_sti => Op::MoveIf(0x01, true),
            C::Fcmove_st0_sti => Op::MoveIf(0x40, true),
            C::Fcmovbe_st0_sti => Op::MoveIf(0x41, true),
            C::Fcmovu_st0_sti => Op::MoveIf(0x04, true),
            C::Fcmovnb_st0_sti => Op::MoveIf(0x01, false),
            C::Fcmovne_st0_sti => Op::MoveIf(0x40, false),
            C::Fcmovnbe_st0_sti => Op::MoveIf(0x41, false),
            C::Fcmovnu_st0_sti => Op::MoveIf(0x04, false),
            C::Ffree_sti => Op::Free(false),
            C::Ffreep_sti => Op::Free(true),
            C::Fincstp => Op::Turn(true),
            C::Fdecstp => Op::Turn(false),
            C::Fnop => Op::Nop,
            C::Fneni | C::Fndisi | C::Fnsetpm => Op::Ignored,
            C::Fabs => Op::Abs,
            C::Fchs => Op::Chs,
            C::Fsqrt => Op::Sqrt,
            C::Frndint => Op::Round,
            C::Fxam => Op::Examine,
            C::Fxtract => Op::Extract,
            C::Fprem => Op::Remainder(false),
            C::Fprem1 => Op::Remainder(true),
            C::Fscale => Op::Scale,
            C::F2xm1 => Op::F2xm1,
            C::Fyl2x => Op::Fyl2x,
            C::Fyl2xp1 => Op::Fyl2xp1,
            C::Fpatan => Op::Patan,
            C::Fsin => Op::Sin,
            C::Fcos => Op::Cos,
            C::Fsincos => Op::SinCos,
            C::Fptan => Op::Tan,
            C::Fldcw_m2byte => Op::LoadControl,
            C::Fnstcw_m2byte => Op::StoreControl,
            C::Fnstsw_m2byte => Op::StoreStatus,
            C::Fnstsw_AX => Op::StatusAx,
            C::Fnclex => Op::Clear,
            C::Fninit => Op::Init,
            C::Wait => Op::Wait,
            _ => return None,
        };
        Some(Insn { op })
    }
}
