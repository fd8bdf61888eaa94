//! The services that intruders meet: listeners, protocols, authentication policy, recording.

pub mod auth;
pub mod boot;
mod frozen;
pub mod journal;
pub mod machine;
pub mod worlds;
pub use machine::Machine;
pub mod refused;
mod sending;
pub mod ssh;
pub mod taken;
pub mod telnet;

/// Names this build: two with the same name run worlds alike.
///
/// A debug build lets tests pretend to be another one, by the variable `TEST_TURNCOAT_BUILD`.
pub fn build() -> String {
    #[cfg(debug_assertions)]
    if let Ok(other) = std::env::var("TEST_TURNCOAT_BUILD") {
        return other;
    }
    env!("TURNCOAT_BUILD").to_owned()
}
