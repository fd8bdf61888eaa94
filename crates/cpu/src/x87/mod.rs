//! The x87 unit: an exact 80-bit soft float ([`F80`]), the register stack ([`Fpu`]) and its instructions ([`Insn`]).
//!
//! The core decodes an instruction once with [`Insn::of`], reads the memory operand if [`Insn::reads`] says so, calls
//! [`Fpu::execute`] and does what the [`Effect`] says. Environment images (`fnstenv`, `fnsave`, `fxsave`) are in `state`.
//! Nothing here touches memory.

mod big;
mod decode;
mod exec;
mod f80;
mod state;
mod transcendental;

pub use decode::Insn;
pub use exec::Effect;
pub use f80::{Class, F80};
pub use state::Fpu;
