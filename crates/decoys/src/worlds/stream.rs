//! Streams between a world and whoever serves a decoy: connections into the machine, and connections that its programs make.

use super::{Conn, Output};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::mpsc;
use turncoat_event::{Origin, WorldId};

/// Where to connect or listen, inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// A host as it was named, and a port.
    Tcp(Vec<u8>, u16),
    /// A socket in the file system.
    Local(Vec<u8>),
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotConnected {
    /// The machine refuses, in the words of strerror(3).
    Refused(&'static str),
    /// It is not the machine itself that was meant.
    Outside,
    /// The machine has no room, or is down.
    Down,
}

/// What a connection has the machine listen at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Door {
    /// A port of the loopback addresses (`GatewayPorts no`); 0: any.
    Port(u16),
    /// A path, for the user.
    Path(Vec<u8>),
    /// The socket of a forwarded agent: a directory of the user's own below `/tmp`.
    Agent,
}

/// Something that listens inside on behalf of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its number.
    pub id: u32,
    /// The port, or 0.
    pub port: u16,
    /// The path, if it has one.
    pub path: Vec<u8>,
}

/// A connection that a program made to the machine's own sshd.
pub struct Arrival {
    /// In which world.
    pub world: WorldId,
    /// Its number there.
    pub conn: Conn,
    /// The program's end.
    pub from: SocketAddr,
    /// The address that it reached.
    pub to: SocketAddr,
    /// The login whose program it is.
    pub origin: Origin,
    /// What the program says.
    pub says: mpsc::UnboundedReceiver<Output>,
    /// Counts bytes in `says`.
    pub waiting: Arc<AtomicU64>,
}
