//! The services that intruders meet: listeners, protocols, authentication policy, recording.

pub mod auth;
pub mod worlds;
