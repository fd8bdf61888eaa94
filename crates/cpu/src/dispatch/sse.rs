//! Vector moves and the simple integer vector operations, inline; the rest goes through function pointers.

use std::marker::PhantomData;

use super::op::*;
use crate::Cpu;
use crate::fault::FaultKind;
use crate::vec::{self, Xm};

#[inline(always)]
pub(crate) unsafe fn xmm(cpu: *mut Cpu, i: u8) -> *mut u128 {
    // SAFETY: the number is masked to the sixteen registers.
    unsafe { (&raw mut (*cpu).xmm).cast::<u128>().add(i as usize & 15) }
}

/// Where a vector operand is.
pub(crate) trait XLoc {
    unsafe fn get<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<u128, Miss>;
    /// Hands the place of sixteen bytes to `f`: copies through vector registers keep store forwarding alive, which
    /// two 64-bit moves would break.
    #[inline(always)]
    unsafe fn with<const F: bool>(
        op: *const Op,
        cpu: *mut Cpu,
        cx: *mut Cx,
        f: impl FnOnce(*const [u8; 16]),
    ) -> Result<(), Miss> {
        // SAFETY: the caller's.
        let v = unsafe { Self::get::<F>(op, cpu, cx)? };
        f((&raw const v).cast());
        Ok(())
    }
}

/// The sixteen bytes at `va`: in place, or (slow) copied to `buf`.
#[inline(always)]
unsafe fn place<const F: bool>(cx: *mut Cx, va: u64, f: impl FnOnce(*const [u8; 16])) -> Result<(), Miss> {
    // SAFETY: the probe gave room for sixteen bytes.
    unsafe {
        if let Some(p) = probe_r(cx, va, 16) {
            f(p.cast());
            return Ok(());
        }
        if F {
            return Err(Miss);
        }
        let mut buf = [0; 16];
        read_bytes(cx, va, &mut buf)?;
        f(&raw const buf);
        Ok(())
    }
}

/// Register `Op::b`.
pub(crate) struct Xb;
/// Memory that must be aligned to 16.
pub(crate) struct Xa;
/// Memory of `N` bytes, zero-extended, any alignment.
pub(crate) struct Xu<const N: u32>;

impl XLoc for Xb {
    #[inline(always)]
    unsafe fn get<const F: bool>(op: *const Op, cpu: *mut Cpu, _: *mut Cx) -> Result<u128, Miss> {
        // SAFETY: see `xmm`.
        Ok(unsafe { *xmm(cpu, (*op).b) })
    }
    #[inline(always)]
    unsafe fn with<const F: bool>(
        op: *const Op,
        cpu: *mut Cpu,
        _: *mut Cx,
        f: impl FnOnce(*const [u8; 16]),
    ) -> Result<(), Miss> {
        // SAFETY: see `xmm`.
        f(unsafe { xmm(cpu, (*op).b) }.cast());
        Ok(())
    }
}

impl XLoc for Xa {
    #[inline(always)]
    unsafe fn get<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<u128, Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let va = ea(op, cpu);
            if va & 15 != 0 {
                return if F {
                    Err(Miss)
                } else {
                    Err(raise(cx, FaultKind::GeneralProtection))
                };
            }
            load::<F, u128>(cx, va)
        }
    }
    #[inline(always)]
    unsafe fn with<const F: bool>(
        op: *const Op,
        cpu: *mut Cpu,
        cx: *mut Cx,
        f: impl FnOnce(*const [u8; 16]),
    ) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let va = ea(op, cpu);
            if va & 15 != 0 {
                return if F {
                    Err(Miss)
                } else {
                    Err(raise(cx, FaultKind::GeneralProtection))
                };
            }
            place::<F>(cx, va, f)
        }
    }
}

impl<const N: u32> XLoc for Xu<N> {
    #[inline(always)]
    unsafe fn get<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<u128, Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let va = ea(op, cpu);
            Ok(match N {
                1 => load::<F, u8>(cx, va)?.into(),
                2 => load::<F, u16>(cx, va)?.into(),
                4 => load::<F, u32>(cx, va)?.into(),
                8 => load::<F, u64>(cx, va)?.into(),
                _ => load::<F, u128>(cx, va)?,
            })
        }
    }
    #[inline(always)]
    unsafe fn with<const F: bool>(
        op: *const Op,
        cpu: *mut Cpu,
        cx: *mut Cx,
        f: impl FnOnce(*const [u8; 16]),
    ) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            if N == 16 {
                return place::<F>(cx, ea(op, cpu), f);
            }
            let v = Self::get::<F>(op, cpu, cx)?;
            f((&raw const v).cast());
            Ok(())
        }
    }
}

/// Replaces the low `n` bits.
#[inline(always)]
pub(crate) fn low(old: u128, v: u128, n: u32) -> u128 {
    if n >= 128 {
        v
    } else {
        old >> n << n | v & ((1 << n) - 1)
    }
}

/// How a loaded value goes into the destination register.
pub(crate) const ALL: u8 = 0;
pub(crate) const LOW32: u8 = 1;
pub(crate) const LOW64: u8 = 2;
/// Into the high half.
pub(crate) const HIGH64: u8 = 3;
/// The source's high half into the low half.
pub(crate) const HIGH_LOW: u8 = 4;
/// The low half, zero above.
pub(crate) const ZX64: u8 = 5;

/// `xmm[a] = S` in the way `K`.
pub(crate) struct XMov<S, const K: u8>(PhantomData<S>);

impl<S: XLoc, const K: u8> Insn for XMov<S, K> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            if K == ALL {
                let d = xmm(cpu, (*op).a).cast::<[u8; 16]>();
                return S::with::<F>(op, cpu, cx, |p| std::ptr::copy(p, d, 1));
            }
            let v = S::get::<F>(op, cpu, cx)?;
            let d = xmm(cpu, (*op).a);
            *d = match K {
                LOW32 => low(*d, v, 32),
                LOW64 => low(*d, v, 64),
                HIGH64 => *d & u128::from(u64::MAX) | v << 64,
                HIGH_LOW => low(*d, v >> 64, 64),
                _ => v & u128::from(u64::MAX),
            };
            Ok(())
        }
    }
}

/// Stores `xmm[a]`: 0 aligned 16 bytes, 1 any 16, 2 low 8, 3 high 8, 4 low 4.
pub(crate) struct XStore<const K: u8>;

impl<const K: u8> Insn for XStore<K> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let va = ea(op, cpu);
            let v = *xmm(cpu, (*op).a);
            match K {
                0 if va & 15 != 0 => {
                    if F {
                        Err(Miss)
                    } else {
                        Err(raise(cx, FaultKind::GeneralProtection))
                    }
                }
                0 | 1 => match probe_w(cx, va, 16) {
                    Some(p) => {
                        std::ptr::copy(xmm(cpu, (*op).a).cast::<[u8; 16]>(), p.cast(), 1);
                        Ok(())
                    }
                    None if F => Err(Miss),
                    None => store::<F, u128>(cx, va, v),
                },
                2 => store::<F, u64>(cx, va, v as u64),
                3 => store::<F, u64>(cx, va, (v >> 64) as u64),
                _ => store::<F, u32>(cx, va, v as u32),
            }
        }
    }
}

/// `movd`/`movq` from a general register.
pub(crate) struct FromGpr<W>(PhantomData<W>);
impl<W: Word> Insn for FromGpr<W> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, _: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe { *xmm(cpu, (*op).a) = reg::<W>(cpu, (*op).b).to64().into() };
        Ok(())
    }
}

/// `movd`/`movq` to a general register.
pub(crate) struct ToGpr<W>(PhantomData<W>);
impl<W: Word> Insn for ToGpr<W> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, _: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe { set_reg(cpu, (*op).b, W::from64(*xmm(cpu, (*op).a) as u64)) };
        Ok(())
    }
}

/// `a = mask of signs of the lanes of xmm[b]`: 8, 32 or 64 bits each.
pub(crate) struct Msk<const L: u32>;
impl<const L: u32> Insn for Msk<L> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, _: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let v = *xmm(cpu, (*op).b);
            let m = match L {
                8 => {
                    // Gathers the top bits of eight bytes into the product's top byte.
                    let half = |x: u64| (x & 0x8080_8080_8080_8080).wrapping_mul(0x0002_0408_1020_4081) >> 56;
                    half(v as u64) | half((v >> 64) as u64) << 8
                }
                32 => (0..4)
                    .map(|i| (v >> (32 * i + 31)) as u64 & 1)
                    .zip(0..)
                    .map(|(b, i)| b << i)
                    .sum(),
                _ => (v >> 63) as u64 & 1 | ((v >> 127) as u64) << 1,
            };
            set_reg(cpu, (*op).a, m);
            Ok(())
        }
    }
}

/// A binary operation on whole registers, in place, through pointers that may be equal.
pub(crate) trait VOp {
    unsafe fn f(d: *mut [u8; 16], s: *const [u8; 16]);
}

/// `xmm[a] = O(xmm[a], S)`.
pub(crate) struct V2<O, S>(PhantomData<(O, S)>);
impl<O: VOp, S: XLoc> Insn for V2<O, S> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let d = xmm(cpu, (*op).a).cast();
            S::with::<F>(op, cpu, cx, |p| O::f(d, p))
        }
    }
}

/// Any vector operation: MXCSR, destination, source, immediate.
pub(crate) type VFn = fn(&mut u32, u128, u128, u8) -> Result<u128, Xm>;

/// Calls the function at `imm` with `x` as its immediate.
unsafe fn call_fn(op: *const Op, cpu: *mut Cpu, cx: *mut Cx, a: u128, b: u128) -> Result<u128, Miss> {
    // SAFETY: the decoder put a `VFn` into `imm`.
    unsafe {
        let f = std::mem::transmute::<usize, VFn>((*op).imm() as usize);
        f(&mut (*cpu).mxcsr, a, b, (*op).x as u8).map_err(|Xm| raise(cx, FaultKind::SimdFloatingPoint))
    }
}

/// `xmm[a] = f(xmm[a], S, x)`.
pub(crate) struct V<S>(PhantomData<S>);
impl<S: XLoc> Insn for V<S> {
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let v = S::get::<F>(op, cpu, cx)?;
            let d = xmm(cpu, (*op).a);
            *d = call_fn(op, cpu, cx, *d, v)?;
            Ok(())
        }
    }
}

/// `xmm[a] = f(xmm[a], Rm, x)` with a general operand.
pub(crate) struct VFromG<W>(PhantomData<W>);
impl<W: Word> Insn for VFromG<W> {
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let v = Rm::get::<F, W>(op, cpu, cx)?.to64();
            let d = xmm(cpu, (*op).a);
            *d = call_fn(op, cpu, cx, *d, v.into())?;
            Ok(())
        }
    }
}

/// General register `a` = f(0, S, x), `W` wide.
pub(crate) struct GFromV<W, S>(PhantomData<(W, S)>);
impl<W: Word, S: XLoc> Insn for GFromV<W, S> {
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let v = S::get::<F>(op, cpu, cx)?;
            let r = call_fn(op, cpu, cx, 0, v)?;
            set_reg(cpu, (*op).a, W::from64(r as u64));
            Ok(())
        }
    }
}

/// `Rm = f(0, xmm[a], x)` for extractions: `W` wide in memory, zero-extended in a register.
pub(crate) struct Extract<W>(PhantomData<W>);
impl<W: Word> Insn for Extract<W> {
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let r = call_fn(op, cpu, cx, 0, *xmm(cpu, (*op).a))? as u64;
            if (*op).b == MEM {
                store::<F, W>(cx, ea(op, cpu), W::from64(r))
            } else {
                set_reg(cpu, (*op).b, r);
                Ok(())
            }
        }
    }
}

/// Arithmetic flags = f(xmm[a], S, x).
pub(crate) struct VFlags<S>(PhantomData<S>);
impl<S: XLoc> Insn for VFlags<S> {
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let v = S::get::<F>(op, cpu, cx)?;
            let f = call_fn(op, cpu, cx, *xmm(cpu, (*op).a), v)?;
            (*cpu).set_arith(f as u32);
            Ok(())
        }
    }
}

/// `pblendvb` and the like: the mask is xmm0.
pub(crate) struct Blendv<S>(PhantomData<S>);
impl<S: XLoc> Insn for Blendv<S> {
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let v = S::get::<F>(op, cpu, cx)?;
            let mask = *xmm(cpu, 0);
            let d = xmm(cpu, (*op).a);
            *d = match (*op).x {
                0 => vec::pblendvb(*d, v, mask),
                1 => vec::blendvps(*d, v, mask),
                _ => vec::blendvpd(*d, v, mask),
            };
            Ok(())
        }
    }
}

/// `pcmpistri` 0, `pcmpistrm` 1, `pcmpestri` 2, `pcmpestrm` 3 (`index`; bit 7: 64-bit lengths); the immediate is `x`.
pub(crate) struct Pcmpstr<S>(PhantomData<S>);
impl<S: XLoc> Insn for Pcmpstr<S> {
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let b = S::get::<F>(op, cpu, cx)?;
            let a = *xmm(cpu, (*op).a);
            let imm = (*op).x as u8;
            let wide = (*op).x & 0x100 != 0;
            let len = |v: u64| if wide { v as i64 } else { i64::from(v as i32) };
            let (la, lb) = (len((*cpu).gpr[crate::RAX]), len((*cpu).gpr[crate::RDX]));
            let f = match (*op).imm() {
                0 | 2 => {
                    let (i, f) = if (*op).imm() == 0 {
                        vec::string::pcmpistri(a, b, imm)
                    } else {
                        vec::string::pcmpestri(a, la, b, lb, imm)
                    };
                    (*cpu).gpr[crate::RCX] = i.into();
                    f
                }
                k => {
                    let (m, f) = if k == 1 {
                        vec::string::pcmpistrm(a, b, imm)
                    } else {
                        vec::string::pcmpestrm(a, la, b, lb, imm)
                    };
                    *xmm(cpu, 0) = m;
                    f
                }
            };
            let bit = |c: bool, v: u32| if c { v } else { 0 };
            (*cpu).set_arith(bit(f.cf, 1) | bit(f.zf, 0x40) | bit(f.sf, 0x80) | bit(f.of, 0x800));
            Ok(())
        }
    }
}

/// `maskmovdqu`: the bytes of xmm[a] whose byte in xmm[b] is negative go to RDI (segment base in `index`).
pub(crate) struct Maskmov;
impl Insn for Maskmov {
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let va = (*cpu).gpr[crate::RDI].wrapping_add(reg::<u64>(cpu, (*op).index));
            let (v, mask) = (
                (*xmm(cpu, (*op).a)).to_le_bytes(),
                (*xmm(cpu, (*op).b)).to_le_bytes(),
            );
            for i in 0..16u64 {
                if mask[i as usize] & 0x80 != 0 {
                    check_w(cx, va.wrapping_add(i), 1)?;
                }
            }
            for i in 0..16u64 {
                if mask[i as usize] & 0x80 != 0 {
                    store::<F, u8>(cx, va.wrapping_add(i), v[i as usize])?;
                }
            }
            Ok(())
        }
    }
}

/// Whole-register shifts of lanes by an immediate in `x`, inline.
pub(crate) struct ShiftI<O>(PhantomData<O>);
impl<O: VOp> Insn for ShiftI<O> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, _: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let n = u128::from((*op).x);
            O::f(xmm(cpu, (*op).a).cast(), (&raw const n).cast());
            Ok(())
        }
    }
}

/// `pshufd`, inline.
pub(crate) struct Pshufd<S>(PhantomData<S>);
impl<S: XLoc> Insn for Pshufd<S> {
    #[inline(always)]
    unsafe fn exec<const F: bool>(op: *const Op, cpu: *mut Cpu, cx: *mut Cx) -> Result<(), Miss> {
        // SAFETY: the run's pointers.
        unsafe {
            let v = S::get::<F>(op, cpu, cx)?;
            *xmm(cpu, (*op).a) = vec::pshufd(v, (*op).x as u8);
            Ok(())
        }
    }
}

/// Reads both operands as lanes, then writes each lane of the result.
macro_rules! hot {
    ($($n:ident: $t:ty, $c:literal, |$x:ident, $y:ident, $i:ident| $e:expr;)*) => {
        /// Operations that are inlined into their handlers.
        #[allow(non_camel_case_types)]
        pub(crate) mod hot {$(
            pub(crate) struct $n;
            impl super::VOp for $n {
                #[inline(always)]
                unsafe fn f(d: *mut [u8; 16], s: *const [u8; 16]) {
                    // SAFETY: both places hold sixteen bytes.
                    unsafe {
                        let $x = d.cast::<[$t; $c]>().read_unaligned();
                        let $y = s.cast::<[$t; $c]>().read_unaligned();
                        let mut r: [$t; $c] = [0; $c];
                        for $i in 0..$c {
                            r[$i] = $e;
                        }
                        d.cast::<[$t; $c]>().write_unaligned(r);
                    }
                }
            }
        )*}
    };
}
hot! {
    pand: u32, 4, |x, y, i| x[i] & y[i];
    pandn: u32, 4, |x, y, i| !x[i] & y[i];
    por: u32, 4, |x, y, i| x[i] | y[i];
    pxor: u32, 4, |x, y, i| x[i] ^ y[i];
    pcmpeqb: u8, 16, |x, y, i| if x[i] == y[i] { 0xff } else { 0 };
    pcmpeqw: u16, 8, |x, y, i| if x[i] == y[i] { 0xffff } else { 0 };
    pcmpeqd: u32, 4, |x, y, i| if x[i] == y[i] { u32::MAX } else { 0 };
    pcmpgtb: i8, 16, |x, y, i| if x[i] > y[i] { -1 } else { 0 };
    pcmpgtd: i32, 4, |x, y, i| if x[i] > y[i] { -1 } else { 0 };
    paddb: u8, 16, |x, y, i| x[i].wrapping_add(y[i]);
    paddw: u16, 8, |x, y, i| x[i].wrapping_add(y[i]);
    paddd: u32, 4, |x, y, i| x[i].wrapping_add(y[i]);
    paddq: u64, 2, |x, y, i| x[i].wrapping_add(y[i]);
    psubb: u8, 16, |x, y, i| x[i].wrapping_sub(y[i]);
    psubw: u16, 8, |x, y, i| x[i].wrapping_sub(y[i]);
    psubd: u32, 4, |x, y, i| x[i].wrapping_sub(y[i]);
    psubq: u64, 2, |x, y, i| x[i].wrapping_sub(y[i]);
    pminub: u8, 16, |x, y, i| x[i].min(y[i]);
    pmaxub: u8, 16, |x, y, i| x[i].max(y[i]);
    psubusb: u8, 16, |x, y, i| x[i].saturating_sub(y[i]);
    paddusb: u8, 16, |x, y, i| x[i].saturating_add(y[i]);
    pmullw: u16, 8, |x, y, i| x[i].wrapping_mul(y[i]);
    pmulld: u32, 4, |x, y, i| x[i].wrapping_mul(y[i]);
    pmuludq: u64, 2, |x, y, i| (x[i] & 0xffff_ffff) * (y[i] & 0xffff_ffff);
    punpcklbw: u8, 16, |x, y, i| if i % 2 == 0 { x[i / 2] } else { y[i / 2] };
    punpckhbw: u8, 16, |x, y, i| if i % 2 == 0 { x[8 + i / 2] } else { y[8 + i / 2] };
    punpcklwd: u16, 8, |x, y, i| if i % 2 == 0 { x[i / 2] } else { y[i / 2] };
    punpckhwd: u16, 8, |x, y, i| if i % 2 == 0 { x[4 + i / 2] } else { y[4 + i / 2] };
    punpckldq: u32, 4, |x, y, i| if i % 2 == 0 { x[i / 2] } else { y[i / 2] };
    punpckhdq: u32, 4, |x, y, i| if i % 2 == 0 { x[2 + i / 2] } else { y[2 + i / 2] };
    punpcklqdq: u64, 2, |x, y, i| if i == 0 { x[0] } else { y[0] };
    punpckhqdq: u64, 2, |x, y, i| if i == 0 { x[1] } else { y[1] };
    pshufb: u8, 16, |x, y, i| if y[i] & 0x80 != 0 { 0 } else { x[usize::from(y[i] & 15)] };
}

macro_rules! hot_shifts {
    ($($n:ident: $t:ty, $c:literal, $max:literal, |$x:ident, $k:ident| $e:expr, $over:expr;)*) => {
        /// Shifts of lanes: the count is the second operand's low quadword.
        #[allow(non_camel_case_types)]
        pub(crate) mod hot_shift {$(
            pub(crate) struct $n;
            impl super::VOp for $n {
                #[inline(always)]
                unsafe fn f(d: *mut [u8; 16], s: *const [u8; 16]) {
                    // SAFETY: both places hold sixteen bytes.
                    unsafe {
                        let lanes = d.cast::<[$t; $c]>().read_unaligned();
                        let n = s.cast::<u64>().read_unaligned();
                        let $k = n.min($max) as u32;
                        d.cast::<[$t; $c]>().write_unaligned(lanes.map(|$x| if n > $max { $over } else { $e }));
                    }
                }
            }
        )*}
    };
}
hot_shifts! {
    psllw: u16, 8, 15, |x, k| x << k, 0;
    pslld: u32, 4, 31, |x, k| x << k, 0;
    psllq: u64, 2, 63, |x, k| x << k, 0;
    psrlw: u16, 8, 15, |x, k| x >> k, 0;
    psrld: u32, 4, 31, |x, k| x >> k, 0;
    psrlq: u64, 2, 63, |x, k| x >> k, 0;
    psraw: i16, 8, 15, |x, k| x >> k, x >> 15;
    psrad: i32, 4, 31, |x, k| x >> k, x >> 31;
}
