//! SSE4.2 string comparison: `pcmpestri`, `pcmpestrm`, `pcmpistri`, `pcmpistrm`.

use bytemuck::must_cast;

/// What a comparison sets besides its index or mask. AF and PF become 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags {
    /// The mask is not empty.
    pub cf: bool,
    /// The second operand ends within the register.
    pub zf: bool,
    /// The first operand ends within the register.
    pub sf: bool,
    /// Bit 0 of the mask.
    pub of: bool,
}

/// Elements as signed or unsigned numbers.
fn elements(v: u128, imm: u8) -> ([i32; 16], usize) {
    match imm & 3 {
        0 => (must_cast::<u128, [u8; 16]>(v).map(i32::from), 16),
        2 => (must_cast::<u128, [i8; 16]>(v).map(i32::from), 16),
        k => {
            let mut r = [0; 16];
            let w: [u16; 8] = must_cast(v);
            for (r, w) in r.iter_mut().zip(w) {
                *r = if k == 1 { i32::from(w) } else { i32::from(w as i16) };
            }
            (r, 8)
        }
    }
}

/// The comparison itself: (mask, elements in a register, flags).
#[inline(always)]
fn compare(a: &[i32; 16], la: usize, b: &[i32; 16], lb: usize, n: usize, imm: u8) -> (u32, Flags) {
    let all = ((1u64 << n) - 1) as u32;
    let (la, lb) = (la.min(n), lb.min(n));
    let mut r = 0u32;
    match imm >> 2 & 3 {
        // Equal any: is b[j] in the set a?
        0 => {
            for (j, y) in b[..lb].iter().enumerate() {
                r |= u32::from(a[..la].contains(y)) << j;
            }
        }
        // Ranges: is b[j] within a pair of a?
        1 => {
            for (j, y) in b[..lb].iter().enumerate() {
                let within = a[..la & !1].chunks_exact(2).any(|p| p[0] <= *y && *y <= p[1]);
                r |= u32::from(within) << j;
            }
        }
        // Equal each; two ended elements are equal, one ended is not.
        2 => {
            for j in 0..n {
                let equal = if j < la && j < lb {
                    a[j] == b[j]
                } else {
                    j >= la && j >= lb
                };
                r |= u32::from(equal) << j;
            }
        }
        // Equal ordered: does a stand in b at j?
        _ => {
            for j in 0..n {
                let stands = (0..n - j).all(|i| i >= la || (j + i < lb && a[i] == b[j + i]));
                r |= u32::from(stands) << j;
            }
        }
    }
    match imm >> 4 & 3 {
        1 => r ^= all,
        3 => r ^= ((1u64 << lb) - 1) as u32,
        _ => {}
    }
    (
        r,
        Flags {
            cf: r != 0,
            zf: lb < n,
            sf: la < n,
            of: r & 1 != 0,
        },
    )
}

fn index(r: u32, n: usize, imm: u8) -> u32 {
    if r == 0 {
        n as u32
    } else if imm & 0x40 != 0 {
        31 - r.leading_zeros()
    } else {
        r.trailing_zeros()
    }
}

fn mask(r: u32, n: usize, imm: u8) -> u128 {
    if imm & 0x40 == 0 {
        return u128::from(r);
    }
    let width = 128 / n;
    let ones = u128::MAX >> (128 - width);
    (0..n)
        .filter(|i| r >> i & 1 != 0)
        .fold(0, |m, i| m | ones << (i * width))
}

fn implicit(v: &[i32; 16], n: usize) -> usize {
    v[..n].iter().position(|&x| x == 0).unwrap_or(n)
}

/// Length of an explicit operand: the absolute value of EAX/EDX (or RAX/RDX with REX.W), at most the register.
fn explicit(len: i64) -> usize {
    len.unsigned_abs().min(16) as usize
}

fn run_implicit(a: u128, b: u128, imm: u8) -> (u32, usize, Flags) {
    let ((a, n), (b, _)) = (elements(a, imm), elements(b, imm));
    let (r, f) = compare(&a, implicit(&a, n), &b, implicit(&b, n), n, imm);
    (r, n, f)
}

fn run_explicit(a: u128, la: i64, b: u128, lb: i64, imm: u8) -> (u32, usize, Flags) {
    let ((a, n), (b, _)) = (elements(a, imm), elements(b, imm));
    let (r, f) = compare(&a, explicit(la), &b, explicit(lb), n, imm);
    (r, n, f)
}

/// New ECX (RCX zero-extended) and flags.
pub fn pcmpistri(a: u128, b: u128, imm: u8) -> (u32, Flags) {
    let (r, n, f) = run_implicit(a, b, imm);
    (index(r, n, imm), f)
}
/// New XMM0 and flags.
pub fn pcmpistrm(a: u128, b: u128, imm: u8) -> (u128, Flags) {
    let (r, n, f) = run_implicit(a, b, imm);
    (mask(r, n, imm), f)
}
/// New ECX and flags; the lengths are EAX and EDX sign-extended (RAX and RDX with REX.W).
pub fn pcmpestri(a: u128, la: i64, b: u128, lb: i64, imm: u8) -> (u32, Flags) {
    let (r, n, f) = run_explicit(a, la, b, lb, imm);
    (index(r, n, imm), f)
}
/// New XMM0 and flags; the lengths are EAX and EDX sign-extended (RAX and RDX with REX.W).
pub fn pcmpestrm(a: u128, la: i64, b: u128, lb: i64, imm: u8) -> (u128, Flags) {
    let (r, n, f) = run_explicit(a, la, b, lb, imm);
    (mask(r, n, imm), f)
}
