//! The Linux that a program sees: processes, files, pipes, terminals, sockets, /proc.

pub mod abi;
pub mod errno;
pub mod net;
pub mod slab;
pub mod tty;
pub mod wait;

pub use errno::{Errno, KResult};
