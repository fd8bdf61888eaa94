//! Processes and threads.

pub mod creds;

pub use creds::{Caps, Creds, cap};
