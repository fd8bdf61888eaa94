//! AES-NI, PCLMULQDQ and CRC32.
//!
//! Rounds use tables computed at compile time. They are not constant-time: the guest's keys are not ours to guard,
//! and other worlds cannot time this one that finely.

use bytemuck::must_cast;
use std::array::from_fn;

const fn xtime(a: u8) -> u8 {
    (a << 1) ^ (if a & 0x80 != 0 { 0x1b } else { 0 })
}

const fn gmul(mut a: u8, mut b: u8) -> u8 {
    let mut r = 0;
    while b != 0 {
        if b & 1 != 0 {
            r ^= a;
        }
        a = xtime(a);
        b >>= 1;
    }
    r
}

/// The S-box: inverse in GF(2^8) (FIPS 197, 5.1.1), then the affine map.
const fn sbox() -> [u8; 256] {
    let mut t = [0u8; 256];
    let mut i = 0;
    while i < 256 {
        // The inverse is the 254th power.
        let (mut inv, mut base, mut e) = (1u8, i as u8, 254);
        while e != 0 {
            if e & 1 != 0 {
                inv = gmul(inv, base);
            }
            base = gmul(base, base);
            e >>= 1;
        }
        t[i] = inv ^ inv.rotate_left(1) ^ inv.rotate_left(2) ^ inv.rotate_left(3) ^ inv.rotate_left(4) ^ 0x63;
        i += 1;
    }
    t
}

const fn inverted(s: &[u8; 256]) -> [u8; 256] {
    let mut t = [0u8; 256];
    let mut i = 0;
    while i < 256 {
        t[s[i] as usize] = i as u8;
        i += 1;
    }
    t
}

/// For each byte its S-box value times a column of the (inverse) MixColumns matrix.
const fn column_table(s: &[u8; 256], m: [u8; 4]) -> [u32; 256] {
    let mut t = [0u32; 256];
    let mut i = 0;
    while i < 256 {
        let v = s[i];
        t[i] = u32::from_le_bytes([gmul(v, m[0]), gmul(v, m[1]), gmul(v, m[2]), gmul(v, m[3])]);
        i += 1;
    }
    t
}

const fn identity() -> [u8; 256] {
    let mut t = [0u8; 256];
    let mut i = 0;
    while i < 256 {
        t[i] = i as u8;
        i += 1;
    }
    t
}

static SBOX: [u8; 256] = sbox();
static INV: [u8; 256] = inverted(&sbox());
static ENC: [u32; 256] = column_table(&sbox(), [2, 1, 1, 3]);
static DEC: [u32; 256] = column_table(&inverted(&sbox()), [14, 9, 13, 11]);
static MIX: [u32; 256] = column_table(&identity(), [14, 9, 13, 11]);

/// One table-driven round; `step` is the column offset of each row's shift (1 forward, 3 inverse).
#[inline(always)]
fn round(a: u128, t: &[u32; 256], step: usize) -> u128 {
    let s: [u8; 16] = must_cast(a);
    must_cast::<[u32; 4], u128>(from_fn(|c| {
        let at = |r: usize| t[usize::from(s[4 * ((c + step * r) % 4) + r])].rotate_left(8 * r as u32);
        at(0) ^ at(1) ^ at(2) ^ at(3)
    }))
}

#[inline(always)]
fn last(a: u128, t: &[u8; 256], step: usize) -> u128 {
    let s: [u8; 16] = must_cast(a);
    must_cast::<[u8; 16], u128>(from_fn(|i| {
        let (c, r) = (i / 4, i % 4);
        t[usize::from(s[4 * ((c + step * r) % 4) + r])]
    }))
}

/// One round of AES encryption.
#[inline]
pub fn aesenc(a: u128, key: u128) -> u128 {
    round(a, &ENC, 1) ^ key
}
/// The last round of AES encryption.
#[inline]
pub fn aesenclast(a: u128, key: u128) -> u128 {
    last(a, &SBOX, 1) ^ key
}
/// One round of AES decryption (equivalent inverse cipher).
#[inline]
pub fn aesdec(a: u128, key: u128) -> u128 {
    round(a, &DEC, 3) ^ key
}
/// The last round of AES decryption.
#[inline]
pub fn aesdeclast(a: u128, key: u128) -> u128 {
    last(a, &INV, 3) ^ key
}
/// InvMixColumns of `b`.
#[inline]
pub fn aesimc(b: u128) -> u128 {
    round(b, &MIX, 0)
}
/// Helper of AES key expansion.
#[inline]
pub fn aeskeygenassist(b: u128, imm: u8) -> u128 {
    let d: [u32; 4] = must_cast(b);
    let sub = |x: u32| u32::from_le_bytes(x.to_le_bytes().map(|v| SBOX[usize::from(v)]));
    let (p, q) = (sub(d[1]), sub(d[3]));
    let rcon = u32::from(imm);
    must_cast([p, p.rotate_right(8) ^ rcon, q, q.rotate_right(8) ^ rcon])
}

/// Carry-less product of two 64-bit polynomials.
#[inline]
pub fn clmul(a: u64, b: u64) -> u128 {
    let b = u128::from(b);
    let mut multiples = [0u128; 16];
    for i in 1..16 {
        multiples[i] = if i % 2 == 1 {
            multiples[i - 1] ^ b
        } else {
            multiples[i / 2] << 1
        };
    }
    (0..16)
        .rev()
        .fold(0, |r, k| (r << 4) ^ multiples[(a >> (4 * k) & 15) as usize])
}
/// Carry-less product of the quadwords that `imm` chooses.
#[inline]
pub fn pclmulqdq(a: u128, b: u128, imm: u8) -> u128 {
    clmul(
        (a >> (64 * u32::from(imm & 1))) as u64,
        (b >> (64 * u32::from(imm >> 4 & 1))) as u64,
    )
}

/// CRC-32C (Castagnoli), reflected: `CRC[k][b]` is byte `b` followed by `k` zero bytes.
static CRC: [[u32; 256]; 8] = {
    let mut t = [[0u32; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let (mut c, mut k) = (i as u32, 0);
        while k < 8 {
            c = (c >> 1) ^ (if c & 1 != 0 { 0x82f6_3b78 } else { 0 });
            k += 1;
        }
        t[0][i] = c;
        i += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut i = 0;
        while i < 256 {
            let c = t[k - 1][i];
            t[k][i] = (c >> 8) ^ t[0][(c & 0xff) as usize];
            i += 1;
        }
        k += 1;
    }
    t
};

/// `crc32` of one byte.
#[inline]
pub fn crc32_u8(crc: u32, v: u8) -> u32 {
    (crc >> 8) ^ CRC[0][usize::from(crc as u8 ^ v)]
}
/// `crc32` of two bytes.
#[inline]
pub fn crc32_u16(crc: u32, v: u16) -> u32 {
    crc32_u8(crc32_u8(crc, v as u8), (v >> 8) as u8)
}
/// `crc32` of four bytes.
#[inline]
pub fn crc32_u32(crc: u32, v: u32) -> u32 {
    let b = (crc ^ v).to_le_bytes();
    (0..4).fold(0, |r, i| r ^ CRC[3 - i][usize::from(b[i])])
}
/// `crc32` of eight bytes.
#[inline]
pub fn crc32_u64(crc: u32, v: u64) -> u32 {
    let b = (u64::from(crc) ^ v).to_le_bytes();
    (0..8).fold(0, |r, i| r ^ CRC[7 - i][usize::from(b[i])])
}
