//! What is asked of a world, and those on whose behalf: logins and streams with the way that their output goes.

use super::output::Output;
use super::{Conn, Door, Input, NotConnected, Open, Opened, Produced, Program, Target};
use crate::journal::Journaled;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::{mpsc, oneshot};
use turncoat_event::{Mark, Origin};
use turncoat_wire::telnet;

pub(super) enum Message {
    Open {
        open: Box<Open>,
        origin: Box<Origin>,
        channel: u16,
        mark: Mark,
        out: mpsc::UnboundedSender<Output>,
        reply: oneshot::Sender<Result<Conn, String>>,
        waiting: Arc<AtomicU64>,
    },
    Input {
        conn: Conn,
        input: Input,
        mark: Mark,
    },
    Password {
        user: Vec<u8>,
        hash: String,
    },
    Key {
        user: Vec<u8>,
        line: Vec<u8>,
    },
    Connect {
        user: Vec<u8>,
        to: Target,
        login: Box<Login>,
        mark: Mark,
        reply: oneshot::Sender<Result<Conn, NotConnected>>,
    },
    Listen {
        user: Vec<u8>,
        door: Door,
        outlet: Box<Outlet>,
        mark: Mark,
        reply: oneshot::Sender<Option<Opened>>,
    },
    Unlisten(u32),
}

impl Message {
    /// Somebody is let in: by SSH, or at telnet with a password that the policy gave.
    pub(super) fn lets_in(&self) -> bool {
        match self {
            Message::Open { open, .. } => !matches!(open.program, Program::Service(_)),
            Message::Password { .. } => true,
            _ => false,
        }
    }
}

/// Where a login's output goes, and under which name it is recorded.
pub(super) struct Login {
    pub origin: Origin,
    pub channel: u16,
    pub out: mpsc::UnboundedSender<Output>,
    /// Bytes sent to `out` and not yet taken by the connection.
    pub waiting: Arc<AtomicU64>,
    /// Input that the guest has no room for yet. Bounded by the connection's flow control.
    pub held: VecDeque<Input>,
    /// Takes the text out of what a telnet server says: the recording has that.
    pub telnet: Option<telnet::Reader>,
}

impl Login {
    /// Hands held input to the guest as far as it has room; notes what was taken.
    pub(super) fn feed(&mut self, conn: Conn, guest: &mut Journaled, produced: &mut Vec<Produced>) {
        while let Some(next) = self.held.front_mut() {
            if let Input::Data(bytes) = next {
                let n = guest.room(conn).min(bytes.len());
                if n == 0 {
                    return;
                }
                let rest = bytes.split_off(n);
                let now = std::mem::replace(bytes, rest);
                let done = bytes.is_empty();
                guest.input(conn, Input::Data(now));
                produced.push(Produced::Took { conn, bytes: n });
                if !done {
                    continue;
                }
                self.held.pop_front();
            } else if let Some(other) = self.held.pop_front() {
                guest.input(conn, other);
            }
        }
    }
}

/// Where connections to something that a connection offers inside go.
pub(super) struct Outlet {
    pub origin: Origin,
    pub out: mpsc::UnboundedSender<Output>,
}
