//! The Linux that a program sees: processes, files, pipes, terminals, sockets, /proc.

pub mod abi;
pub mod errno;
pub mod image;
pub mod slab;
pub mod task;
pub mod tty;
pub mod wait;

pub use errno::{Errno, KResult};
pub use task::creds::{Caps, Creds, cap};
