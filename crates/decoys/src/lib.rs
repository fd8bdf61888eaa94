//! The services that intruders meet: listeners, protocols, authentication policy, recording.

pub mod auth;
pub mod boot;
pub mod journal;
pub mod machine;
pub mod worlds;
pub use machine::Machine;
pub mod ssh;
pub mod taken;
pub mod telnet;

/// Names this build: two with the same name run worlds alike.
pub const BUILD: &str = env!("TURNCOAT_BUILD");
