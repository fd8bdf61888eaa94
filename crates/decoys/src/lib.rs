//! The services that intruders meet: listeners, protocols, authentication policy, recording.

pub mod auth;
pub mod boot;
pub mod machine;
pub mod worlds;
pub use machine::Machine;
pub mod ssh;
pub mod taken;
