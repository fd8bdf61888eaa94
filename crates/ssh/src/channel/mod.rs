//! Channels and global requests (RFC 4254) as serverloop.c, session.c, channels.c and nchan.c of OpenSSH do them.
//!
//! Each channel has OpenSSH's two half states: `istate` for what the program writes, `ostate` for what it reads.

mod client;
mod flow;
mod host;

use crate::msg;
use crate::wire::Put;

/// Most channels of one connection.
pub const MAX_CHANNELS: usize = 512;
/// Window of a channel (64 packets).
const WINDOW: u32 = 64 * 32 * 1024;
/// Largest packet of a channel.
const PACKET: u32 = 32 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Session,
    Tcp,
    X11,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A session before its program.
    Larval,
    /// The host is connecting.
    Connecting,
    /// We asked the client to open it.
    Opening,
    Open,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Open,
    Drain,
    Closed,
}

#[derive(Debug)]
struct Channel {
    kind: Kind,
    state: State,
    remote_id: u32,
    remote_window: u32,
    remote_max: u32,
    local_window: u32,
    local_window_max: u32,
    local_max: u32,
    consumed: u32,
    exceeded: u32,
    istate: Half,
    ostate: Half,
    close_sent: bool,
    close_rcvd: bool,
    eof_rcvd: bool,
    /// From the program: to be sent as window allows.
    input: Vec<u8>,
    stderr: Vec<u8>,
    /// Given to the host and not yet consumed.
    unconsumed: u32,
    has_pty: bool,
    has_x11: bool,
    /// It waits for the answer to `x11-req`.
    asks_x11: bool,
    env: u32,
    /// A program runs: no CLOSE before it has ended.
    running: bool,
    /// Nobody waits for a program any more.
    detached: bool,
}

impl Channel {
    fn new(kind: Kind, state: State, window: u32, max: u32) -> Channel {
        Channel {
            kind,
            state,
            remote_id: 0,
            remote_window: 0,
            remote_max: 0,
            local_window: window,
            local_window_max: window,
            local_max: max,
            consumed: 0,
            exceeded: 0,
            istate: Half::Open,
            ostate: Half::Open,
            close_sent: false,
            close_rcvd: false,
            eof_rcvd: false,
            input: Vec::new(),
            stderr: Vec::new(),
            unconsumed: 0,
            has_pty: false,
            has_x11: false,
            asks_x11: false,
            env: 0,
            running: false,
            detached: kind != Kind::Session,
        }
    }
}

/// All channels.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    slots: Vec<Option<Box<Channel>>>,
    no_more_sessions: bool,
    agent_asked: bool,
}

impl Channels {
    fn get(&mut self, id: u32) -> Option<&mut Channel> {
        self.slots.get_mut(id as usize)?.as_deref_mut()
    }

    fn add(&mut self, c: Channel) -> Option<u32> {
        let at = match self.slots.iter().position(Option::is_none) {
            Some(at) => at,
            None if self.slots.len() < MAX_CHANNELS => {
                self.slots.push(None);
                self.slots.len() - 1
            }
            None => return None,
        };
        self.slots[at] = Some(Box::new(c));
        Some(at as u32)
    }

    fn sessions(&self) -> usize {
        self.slots
            .iter()
            .flatten()
            .filter(|c| c.kind == Kind::Session && !(c.detached && c.close_sent))
            .count()
    }
}

fn channel_message(kind: u8, remote_id: u32) -> Vec<u8> {
    let mut m = vec![kind];
    m.put_u32(remote_id);
    m
}

fn channel_request(remote_id: u32, name: &str, want_reply: bool) -> Vec<u8> {
    let mut m = channel_message(msg::CHANNEL_REQUEST, remote_id);
    m.put_string(name.as_bytes()).put_u8(u8::from(want_reply));
    m
}
