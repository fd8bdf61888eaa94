//! What goes in and out at connections, and what a world keeps of each. `login` moves the bytes.

use std::collections::VecDeque;
use turncoat_freeze::Freeze;

/// A connection to the world: a login or a command on behalf of a decoy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Freeze)]
pub struct Conn(pub u32);

/// What comes in from the network side.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Input {
    Data(Vec<u8>),
    Eof,
    Resize {
        rows: u16,
        cols: u16,
        xpixel: u16,
        ypixel: u16,
    },
    /// A signal by name without SIG (`INT`), as SSH sends it.
    Signal(Vec<u8>),
    /// Nobody reads or types any more: the terminal hangs up or the pipes close. The program's end is still told.
    Hangup,
    Close,
    /// `login` may read the password that was typed, or one that cannot be right.
    Answer {
        spoil: bool,
    },
}

/// Something for the network side of a connection.
#[derive(Clone, PartialEq, Eq, Debug, Freeze)]
#[allow(missing_docs)]
pub enum Out {
    Data {
        stderr: bool,
        bytes: Vec<u8>,
    },
    /// No more data will come.
    Eof,
    /// The program ended with this status.
    Exit {
        status: u8,
    },
    /// The program was killed.
    Signal {
        sig: u8,
        core: bool,
    },
    /// All is said; the connection can be closed.
    Close,
    /// Somebody typed a password to `login`, which waits for [`Input::Answer`].
    Secret {
        user: Vec<u8>,
        secret: Vec<u8>,
    },
    /// `login` let somebody in.
    Entered,
}

/// An output with the number of the last input or event that it can depend on.
#[derive(Clone, PartialEq, Eq, Debug, Freeze)]
pub struct Output {
    /// Whose.
    pub conn: Conn,
    /// It may leave once the record holds everything up to here.
    pub watermark: u64,
    /// What.
    pub out: Out,
}

/// One connection's inside.
#[derive(Clone, Freeze)]
pub(crate) struct ConnState {
    pub leader: u32,
    /// Who came from where: logins of one connection have one peer.
    pub user: Vec<u8>,
    pub peer: std::net::SocketAddr,
    /// The connection's socket, an open file.
    pub sock: Option<u32>,
    pub helpers: Vec<u32>,
    pub master: Option<crate::tty::TtyFile>,
    pub stdin: Option<u32>,
    pub stdout: Option<u32>,
    pub stderr: Option<u32>,
    /// Input that the pty or pipe had no room for.
    pub backlog: VecDeque<u8>,
    pub eof_in: bool,
    pub status: Option<i32>,
    pub sent_status: bool,
    pub sent_eof: bool,
    /// The network side is slow: take no more output.
    pub paused: bool,
    /// Output bytes since the last drain.
    pub unread: usize,
    /// The last byte that a program read from the terminal.
    pub last: u8,
    /// The outsider's end, where a program of the world serves the connection itself.
    pub stream: Option<crate::net::outside::HostId>,
    /// It has not logged in yet.
    pub guard: Option<crate::inetd::Guard>,
}

impl ConnState {
    /// One to which nothing is joined yet.
    pub fn new(leader: u32, user: Vec<u8>, peer: std::net::SocketAddr) -> ConnState {
        ConnState {
            leader,
            user,
            peer,
            sock: None,
            helpers: Vec::new(),
            master: None,
            stdin: None,
            stdout: None,
            stderr: None,
            backlog: VecDeque::new(),
            eof_in: false,
            status: None,
            sent_status: false,
            sent_eof: false,
            paused: false,
            unread: 0,
            last: 0,
            stream: None,
            guard: None,
        }
    }
}
