//! What the SSE to SSE4.2, MMX, AES, PCLMULQDQ and CRC32 instructions compute, as pure portable functions.
//!
//! An XMM register is a `u128`, an MMX register a `u64`, both with lane 0 in the low bits. A function has the
//! instruction's mnemonic and takes its operands in Intel order (destination first); it returns the new
//! destination. Packed integer operations that exist in both sizes are in this module for XMM and in [`mmx`] for
//! MMX. Moves are the dispatcher's; nothing here touches memory, registers or flags.
//!
//! Floating-point functions ([`float`], [`convert`]) take MXCSR, set its sticky flags and return [`Xm`] when the
//! program unmasked an exception that happened: the destination then keeps its value and the core raises #XM.

pub mod convert;
pub mod crypto;
pub mod float;
mod packed;
pub mod shuffle;
pub mod soft;
pub mod string;

pub use packed::mmx;
pub use packed::xmm::*;
pub use shuffle::*;

/// An unmasked SIMD floating-point exception happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xm;
