//! The Linux that a program sees: processes, files, pipes, terminals, sockets, /proc.
//!
//! `world` is the machine and its doors; `task`, `exec`, `mm`, `signal`, `time`, `fd` and `futex` are its parts, `ipc`
//! has shared memory, semaphores and message queues of System V, `sys` decodes system calls. `vfs`, `proc`, `sysfs`, `tty` and `net` know nothing of tasks; `fsglue`, `view` and `login` join them to it.

pub mod abi;
mod bait;
mod chores;
mod daemon;
mod digest;
mod down;
pub mod errno;
mod exec;
mod fd;
mod footprint;
mod freeze;
mod fsglue;
mod futex;
mod host;
pub mod image;
mod inetd;
pub mod init;
pub mod ipc;
mod log;
mod login;
mod mm;
pub mod net;
mod numbered;
pub mod object;
pub mod proc;
mod rest;
mod rng;
mod saved;
mod signal;
pub mod slab;
mod start;
mod stream;
mod sys;
pub mod sysfs;
pub mod task;
mod time;
pub mod tty;
mod vdso;
pub mod vfs;
mod view;
pub mod wait;
mod world;

#[cfg(test)]
mod tests;

pub use down::Down;
pub use errno::{Errno, KResult};
pub use footprint::Footprint;
pub use host::Look;
pub use login::{Account, Open, Term};
pub use start::Start;
pub use sys::{SYSCALLS, Support, syscall_doc};
pub use task::creds::{Caps, Creds, cap};
pub use turncoat_cpu::Dispatcher;
pub use vfs::disk::{BadDisk, Base};
pub use world::{Boot, Conn, Fact, Input, Limits, Out, Output, Slice, Stamped, StandInSpec, World};
