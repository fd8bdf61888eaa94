//! The x86-64 that a user program sees: decode, execute, memory. Knows no Linux.
//!
//! A kernel owns [`Space`]s (page tables) and [`Cpu`]s (register files) and calls [`run`] with a budget of
//! instructions; it gets back why the run ended. Everything is plain data and deterministic: the same registers,
//! memory and budget give the same end, whatever was decoded before, by whom, or on which thread.

mod cpu;
mod dispatch;
mod fault;
mod flags;
mod machine;
mod memory;
pub mod vec;
pub mod x87;

pub use cpu::{Cpu, R8, R9, R10, R11, R12, R13, R14, R15, RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP};
#[cfg(feature = "counts")]
pub use dispatch::print_counts;
pub use dispatch::run;
pub use fault::{Exit, Fault, FaultKind};
pub use machine::{CpuidLeaf, Dispatcher, Machine};
pub use memory::{Expected, PAGE_SIZE, PageRef, Prot, Resting, Share, Space, Stats, give_back};

#[cfg(not(target_endian = "little"))]
compile_error!("guest memory is little-endian and so must the host be");
