//! The SSH decoy: joins the protocol state machine (crate `ssh`) to the policy, the record and the worlds.
//!
//! One task serves one connection. Whatever arrives becomes events and recording frames first; what the state machine wants to send
//! goes into the connection's gate under the mark of the last of them (or of the world output it shows), and leaves when that is committed.

mod channels;
mod connection;
mod forward;
mod inside;
mod login;
mod planted;
mod startups;

pub use connection::{End, Peer, serve};
pub use inside::serve_arrivals;
pub use startups::{MaxStartups, Startups};

use std::net::IpAddr;
use std::sync::Arc;
use turncoat_ssh::ServerConfig;

/// One machine's SSH service.
pub struct Ssh {
    /// The protocol's configuration, as the cover's `sshd_config` says.
    pub config: Arc<ServerConfig>,
    /// The machine.
    pub machine: Arc<crate::Machine>,
    /// Bytes sent to one session at the most.
    pub bytes_out: u64,
    /// Bytes of one session's recording at the most; past it the session is closed.
    pub recording: u64,
    /// Told of bytes that were sent to a source.
    pub meter: Arc<dyn Meter>,
    /// Connections that have not logged in yet; `None`: none is dropped.
    pub startups: Option<Startups>,
    /// What happens to connections that a client wants made for it.
    pub forward: Forward,
}

/// Counts what is sent over all sessions.
pub trait Meter: Send + Sync {
    /// Counts bytes that were sent to a source; gives the bound that is passed now, if one is: the session is then closed.
    fn sent(&self, source: IpAddr, bytes: u64) -> Option<Passed>;
}

/// A bound that was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Its name in the event `limit.hit`.
    pub limit: &'static str,
    /// Its number.
    pub value: u64,
    /// What it is counted over: "session", "source" or "all".
    pub scope: &'static str,
}

/// The answer to a request for a connection outward. None is ever made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// `Connection refused`.
    Refused,
    /// `Connection timed out` after a while.
    Timeout,
    /// `No route to host`.
    Unreachable,
    /// It seems to be made; what is sent is recorded and goes nowhere.
    Sink,
}
