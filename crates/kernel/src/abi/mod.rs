//! Constants and structures of the Linux ABI on x86-64, a module a subject.

pub mod net;
pub mod tty;
