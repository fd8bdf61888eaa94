//! The Linux that a program sees: processes, files, pipes, terminals, sockets, /proc.

pub mod abi;
pub mod errno;
pub mod image;
pub mod object;
pub mod proc;
pub mod slab;
pub mod sysfs;
pub mod vfs;
pub mod task;
pub mod tty;
pub mod wait;

pub use errno::{Errno, KResult};
pub use task::creds::{Caps, Creds, cap};
