//! Worlds as actors: who has which world, threads that run them, and how bytes and events leave them.
//!
//! A [`Guest`] is a machine that exists only in memory (the kernel's `World`; a fake one in tests). [`Worlds`] owns all of them, one for
//! each source or one for all ([`Scope`]), and runs them in slices on a few threads. Whoever serves a connection holds a
//! [`Handle`]: it opens logins, sends input and gets [`Output`]s, each with the highest `Mark` that it can depend on.

mod actor;
mod away;
mod handle;
mod inbox;
mod output;
mod pool;
mod sleep;
#[cfg(test)]
mod sleep_tests;
mod slice;
mod stream;
mod turn;

pub use actor::Rest;
pub use handle::Handle;
pub use output::Output;
pub use pool::{Bounds, Make, Scope, Worlds};
pub use sleep::{Again, Cellar, Keeping, Kept, Stored, Take};
pub use stream::{Arrival, Door, NotConnected, Opened, Target};

use crate::auth::Accounts;
use crate::journal::Journaled;
use serde::{Deserialize, Deserializer, Serialize};
use std::sync::Arc;
use turncoat_cover::past::refused::Refused;
use turncoat_event::{Kind, SessionId, Sha256, Time};
use turncoat_freeze::Freeze;

/// Names the connection of a session to its world: [`Open::link`].
pub(crate) fn link(session: SessionId) -> u64 {
    let id = &session.0;
    id.iter().fold(0, |a, b| a.rotate_left(8) ^ u64::from(*b))
}

/// A login or a command on one world, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Freeze)]
pub struct Conn(pub u32);

/// A terminal for a login.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Terminal {
    /// `TERM`.
    pub term: Vec<u8>,
    /// Columns.
    pub columns: u32,
    /// Rows.
    pub rows: u32,
    /// Width and height in pixels.
    pub pixels: (u32, u32),
    /// Encoded modes of RFC 4254 section 8.
    pub modes: Vec<u8>,
}

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    /// The login shell.
    Shell,
    /// `shell -c command`.
    Command(Vec<u8>),
    /// A subsystem of sshd, by name.
    Subsystem(Vec<u8>),
    /// A service of inetd, by name: the connection's bytes are its program's, and so is the login.
    Service(Vec<u8>),
}

/// The number under which a connection that came from inside is recorded.
pub fn inbound_channel(conn: Conn) -> u16 {
    0x8000 | (conn.0 & 0x7fff) as u16
}

/// Opens a login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// The connection it belongs to: logins of one connection share their sshd processes.
    pub link: u64,
    /// User name.
    pub user: Vec<u8>,
    /// What to run.
    pub program: Program,
    /// Terminal, if one was asked for.
    pub terminal: Option<Terminal>,
    /// Environment from the client.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// The outsider's address.
    pub peer: std::net::SocketAddr,
    /// The address it reached.
    pub local: std::net::SocketAddr,
    /// How it logged in (`password`, `publickey`), for the log.
    #[serde(deserialize_with = "method")]
    pub method: Method,
    /// The number of the sshd that serves it, where passwords were refused before: they are in the log under it.
    pub sshd: Option<u32>,
}

/// The name of a method of authentication. (An alias, so that reading an [`Open`] borrows nothing from where it is read.)
pub type Method = &'static str;

/// A method by its name, as a journal has it.
fn method<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
    const METHODS: [&str; 5] = [
        "password",
        "publickey",
        "keyboard-interactive",
        "none",
        "hostbased",
    ];
    let name = String::deserialize(from)?;
    METHODS
        .into_iter()
        .find(|m| *m == name)
        .ok_or_else(|| serde::de::Error::custom("no method of authentication"))
}

/// Input for a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Bytes for the terminal or standard input.
    Data(Vec<u8>),
    /// No more bytes.
    Eof,
    /// The window changed: columns, rows, pixels.
    Resize(u32, u32, (u32, u32)),
    /// Deliver a signal, by name without `SIG`.
    Signal(String),
    /// Nobody reads or types any more; the program's end is still told.
    Hangup,
    /// The client is gone: hang up.
    Close,
    /// The answer to [`Produced::Secret`]: `login` may read what was typed, or something that cannot be right.
    Answer {
        /// It cannot be right.
        spoil: bool,
    },
}

/// What a world makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Produced {
    /// Bytes of standard output (and of a terminal), or standard error.
    Data {
        /// Which login.
        conn: Conn,
        /// Standard error.
        stderr: bool,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Nothing more comes on its output.
    Eof {
        /// Which login.
        conn: Conn,
    },
    /// The program exited.
    Exit {
        /// Which login.
        conn: Conn,
        /// Exit status.
        status: u32,
    },
    /// A signal ended the program.
    Killed {
        /// Which login.
        conn: Conn,
        /// Signal name without `SIG`.
        signal: String,
        /// It left a core.
        core: bool,
    },
    /// The program took this many bytes of input: as many more may be sent.
    Took {
        /// Which login.
        conn: Conn,
        /// Bytes.
        bytes: usize,
    },
    /// Somebody typed a password to `login`, which waits for [`Input::Answer`].
    Secret {
        /// Which connection.
        conn: Conn,
        /// The name that `login` has.
        user: Vec<u8>,
        /// What was typed.
        secret: Vec<u8>,
    },
    /// `login` let somebody in.
    Entered {
        /// Which connection.
        conn: Conn,
    },
    /// Something happened; `conn` is the login whose process did it, if one did.
    Event {
        /// Which login.
        conn: Option<Conn>,
        /// What.
        kind: Box<Kind>,
    },
    /// A file that is worth keeping, whole. Its events name it by the hash.
    Artifact {
        /// SHA-256 of the content.
        sha256: Sha256,
        /// The content.
        content: Vec<u8>,
    },
    /// A program connected to something that the host serves; `conn` is a stream from now on.
    Inbound {
        /// Its number.
        conn: Conn,
        /// What was connected to: something that [`Guest::listen`] opened; `None`: the machine's sshd.
        door: Option<u32>,
        /// The login whose program it was.
        by: Option<Conn>,
        /// The program's end.
        from: std::net::SocketAddr,
        /// The address that it reached.
        to: std::net::SocketAddr,
    },
    /// The machine goes down (a reboot or a halt by the guest): every connection drops.
    Down,
}

/// What a world wants after a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// More time at once.
    Run,
    /// Nothing before this time, or before input.
    Sleep(Option<Time>),
    /// It is over.
    Dead,
}

/// A machine that exists only in memory.
pub trait Guest: Send {
    /// Opens a login.
    ///
    /// # Errors
    /// Why the machine refuses, in a few words (`no such user`, `out of processes`).
    fn open(&mut self, open: &Open) -> Result<Conn, String>;

    /// The machine refused these passwords by now, some of which its log may have already.
    fn refused(&mut self, refused: &[Refused], now: Time) {
        let _ = (refused, now);
    }

    /// Connects to something inside, as a user. What comes is a stream: input, output and ends are as of a login.
    ///
    /// # Errors
    /// Why there is no connection.
    fn connect(&mut self, user: &[u8], to: &Target) -> Result<Conn, NotConnected> {
        let _ = (user, to);
        Err(NotConnected::Outside)
    }

    /// Listens inside for a user; what connects is [`Produced::Inbound`]. `None` if that cannot be.
    fn listen(&mut self, user: &[u8], door: &Door) -> Option<Opened> {
        let _ = (user, door);
        None
    }

    /// Ends what [`listen`](Guest::listen) opened.
    fn unlisten(&mut self, id: u32) {
        let _ = id;
    }

    /// Holds back what a login or a stream says, or lets it come again: what is not read stays in its pipe or terminal. False where
    /// that cannot be.
    fn hold(&mut self, conn: Conn, on: bool) -> bool {
        let _ = (conn, on);
        false
    }

    /// Gives input to a login; unknown logins are ignored.
    fn input(&mut self, conn: Conn, input: Input);

    /// Bytes of input that a login takes now.
    fn room(&self, conn: Conn) -> usize;

    /// Sets the password of an account as the machine keeps it, if it has the account.
    fn set_password(&mut self, user: &[u8], hash: &str);

    /// Adds a line to an account's `authorized_keys`, if the machine has the account.
    fn add_key(&mut self, user: &[u8], line: &[u8]);

    /// Who may log in, as the machine's files say now. The same `Arc` as long as nothing has changed.
    fn accounts(&self) -> Arc<Accounts>;

    /// Runs for at most `budget` instructions at wall-clock time `now`.
    fn run(&mut self, budget: u64, now: Time) -> Wants;

    /// Hands out what was made since the last call, in order.
    fn drain(&mut self, out: &mut Vec<Produced>);

    /// Instructions retired so far: the position of an input in the run.
    fn retired(&self) -> u64;

    /// Until when the machine is down, while it is.
    fn away(&self) -> Option<Time> {
        None
    }

    /// What its disk holds beyond what it began with, in bytes that outlive the build; `None` if it has no disk.
    fn disk(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// Lays a disk over that of a machine that nobody has met yet, and boots it.
    ///
    /// # Errors
    /// The bytes are no disk.
    fn restore(&mut self, disk: &[u8], now: Time) -> Result<(), turncoat_kernel::BadDisk> {
        let _ = (disk, now);
        Err(turncoat_kernel::BadDisk("this machine has no disk"))
    }

    /// The whole machine as it is now, in bytes that belong to this build and to what it was made from; `None` if it cannot be
    /// written in `most` bytes. Changes nothing that can be seen.
    fn freeze(&mut self, most: usize) -> Option<Vec<u8>> {
        let _ = most;
        None
    }

    /// Becomes what [`freeze`](Guest::freeze) wrote: to be called on a machine that was made from the same, before anything reaches
    /// it. On an error it is as it was.
    ///
    /// # Errors
    /// The bytes are damaged.
    fn thaw(&mut self, frozen: &[u8]) -> Result<(), turncoat_freeze::Damaged> {
        let _ = frozen;
        Err(turncoat_freeze::Damaged("this machine cannot be written"))
    }

    /// Nothing has happened for a while: memory may be given back until something does. Changes nothing that can be seen.
    fn rest(&mut self) {}
}

impl Guest for Box<dyn Guest> {
    fn open(&mut self, open: &Open) -> Result<Conn, String> {
        (**self).open(open)
    }
    fn refused(&mut self, refused: &[Refused], now: Time) {
        (**self).refused(refused, now);
    }
    fn connect(&mut self, user: &[u8], to: &Target) -> Result<Conn, NotConnected> {
        (**self).connect(user, to)
    }
    fn listen(&mut self, user: &[u8], door: &Door) -> Option<Opened> {
        (**self).listen(user, door)
    }
    fn unlisten(&mut self, id: u32) {
        (**self).unlisten(id);
    }
    fn hold(&mut self, conn: Conn, on: bool) -> bool {
        (**self).hold(conn, on)
    }
    fn input(&mut self, conn: Conn, input: Input) {
        (**self).input(conn, input);
    }
    fn room(&self, conn: Conn) -> usize {
        (**self).room(conn)
    }
    fn set_password(&mut self, user: &[u8], hash: &str) {
        (**self).set_password(user, hash);
    }
    fn add_key(&mut self, user: &[u8], line: &[u8]) {
        (**self).add_key(user, line);
    }
    fn accounts(&self) -> Arc<Accounts> {
        (**self).accounts()
    }
    fn run(&mut self, budget: u64, now: Time) -> Wants {
        (**self).run(budget, now)
    }
    fn drain(&mut self, out: &mut Vec<Produced>) {
        (**self).drain(out);
    }
    fn retired(&self) -> u64 {
        (**self).retired()
    }
    fn away(&self) -> Option<Time> {
        (**self).away()
    }
    fn disk(&mut self) -> Option<Vec<u8>> {
        (**self).disk()
    }
    fn restore(&mut self, disk: &[u8], now: Time) -> Result<(), turncoat_kernel::BadDisk> {
        (**self).restore(disk, now)
    }
    fn freeze(&mut self, most: usize) -> Option<Vec<u8>> {
        (**self).freeze(most)
    }
    fn thaw(&mut self, frozen: &[u8]) -> Result<(), turncoat_freeze::Damaged> {
        (**self).thaw(frozen)
    }
    fn rest(&mut self) {
        (**self).rest();
    }
}
