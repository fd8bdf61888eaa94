//! What passes between a [`Server`](crate::Server) and its host: acts out of the server, answers into it.

use std::time::Duration;

/// A point in time: since any fixed origin that the host chooses, monotonic.
pub type Time = Duration;

/// Where random bytes come from. Passed in, so that equal input gives an equal run.
pub trait Entropy: Send {
    /// Fills the buffer with cryptographically strong random bytes.
    fn fill(&mut self, buf: &mut [u8]);
}

/// What the server wants done, in order. [`Server::poll`](crate::Server::poll) hands them out one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Write these bytes: one `write` of the real sshd each.
    Send(Vec<u8>),
    /// Decide about an attempt with [`Server::auth_reply`](crate::Server::auth_reply); input waits until then.
    Auth(AuthRequest),
    /// Authentication has succeeded, `USERAUTH_SUCCESS` is among the bytes sent before this.
    LoggedIn(LoggedIn),
    /// Something happened on a channel. Those with `wants_answer()` hold further input until answered.
    Channel(ChannelId, ChannelEvent),
    /// A request that concerns the connection and not a channel.
    Global(GlobalEvent),
    /// To be recorded.
    Fact(Fact),
    /// The connection is over: nothing follows. Send everything that came before, then end it as told.
    Close(CloseKind),
}

/// How the TCP connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseKind {
    /// An orderly close.
    Fin,
    /// A reset (sshd left with input unread): set `SO_LINGER` to zero and close.
    Rst,
}

/// One attempt to authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthRequest {
    /// User name, bytes.
    pub user: Vec<u8>,
    /// sshd would refuse this whatever the secret (`PermitRootLogin`, a service other than `ssh-connection`, a password
    /// above 1024 bytes): an [`AuthReply::Accept`] counts as a rejection.
    pub forbidden: bool,
    /// How.
    pub method: AuthMethod,
}

/// A method with what the client brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthMethod {
    /// "none" with `PermitEmptyPasswords`: may this user enter without a password?
    None,
    /// A password.
    Password {
        /// The bytes sent.
        password: Vec<u8>,
    },
    /// Would this key do? No proof yet.
    PublicKeyQuery(PublicKeyOffer),
    /// A key whose signature has been verified.
    PublicKey(PublicKeyOffer),
    /// keyboard-interactive begins. Answer with [`AuthReply::Prompt`], or reject.
    Interactive {
        /// The client's hints, comma-separated.
        submethods: Vec<u8>,
    },
    /// Answers to the last [`AuthReply::Prompt`].
    InteractiveAnswer {
        /// One for each prompt.
        responses: Vec<Vec<u8>>,
    },
}

/// A public key as offered for login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKeyOffer {
    /// Signature algorithm, e.g. `rsa-sha2-512`.
    pub algorithm: String,
    /// Key blob (RFC 4253 section 6.6).
    pub blob: Vec<u8>,
    /// `SHA256:` and base64, as `ssh-keygen -l` prints.
    pub fingerprint: String,
}

/// The host's decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthReply {
    /// Let in (for a query: this key would do).
    Accept,
    /// Refuse.
    Reject,
    /// This method is done, but another must follow (`AuthenticationMethods`): what remains.
    Partial(Vec<String>),
    /// Ask (keyboard-interactive only). With no prompts it is a message.
    Prompt(Prompt),
}

/// Questions of keyboard-interactive (RFC 4256).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prompt {
    /// Name.
    pub name: String,
    /// Instruction.
    pub instruction: String,
    /// Prompt text and whether what is typed is shown.
    pub prompts: Vec<(String, bool)>,
}

impl Prompt {
    /// What PAM's `pam_unix` asks: `Password: `, not shown.
    pub fn pam_password() -> Self {
        Prompt {
            prompts: vec![("Password: ".to_owned(), false)],
            ..Prompt::default()
        }
    }
}

/// A successful login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIn {
    /// User name.
    pub user: Vec<u8>,
    /// Method name.
    pub method: &'static str,
}

/// Our number of a channel (the peer sees the same number).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub u32);

/// What happened on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelEvent {
    /// A session channel was opened (already confirmed).
    Session,
    /// The client wants us to connect (`direct-tcpip`). Answer with
    /// [`Server::open_confirm`](crate::Server::open_confirm) or [`Server::open_fail`](crate::Server::open_fail), at any time.
    DirectTcp(DirectTcp),
    /// As above to a Unix socket (`direct-streamlocal@openssh.com`).
    DirectStreamLocal {
        /// Socket path.
        path: Vec<u8>,
    },
    /// A channel that we opened (`forwarded-tcpip`, `x11`, `auth-agent@openssh.com`) was confirmed.
    Opened,
    /// A channel that we opened was refused; the channel is gone.
    OpenFailed {
        /// RFC 4254 section 5.1.
        reason: u32,
        /// Text.
        text: Vec<u8>,
    },
    /// A pseudo-terminal. Waits for [`Server::request_reply`](crate::Server::request_reply).
    Pty(Pty),
    /// An environment variable that `AcceptEnv` lets pass (already answered).
    Env {
        /// Name.
        name: Vec<u8>,
        /// Value.
        value: Vec<u8>,
    },
    /// Start the login shell. Waits for an answer.
    Shell,
    /// Run a command. Waits for an answer.
    Exec {
        /// Command line.
        command: Vec<u8>,
    },
    /// Start a subsystem that exists. Waits for an answer.
    Subsystem {
        /// Name.
        name: Vec<u8>,
    },
    /// Agent forwarding. Waits for an answer.
    Agent,
    /// X11 forwarding. Waits for an answer.
    X11(X11),
    /// The terminal has a new size.
    WindowChange(WindowSize),
    /// Deliver a signal; the name without `SIG`. Waits for an answer.
    Signal {
        /// For example `INT`.
        name: String,
    },
    /// A break, in milliseconds. Waits for an answer.
    Break {
        /// Length.
        ms: u32,
    },
    /// Bytes for the program. Say [`Server::consumed`](crate::Server::consumed) when it has taken them.
    Data(Vec<u8>),
    /// The client sends no more.
    Eof,
    /// The client closed its end: what the program writes goes nowhere, its terminal hangs up. `Closed` follows when
    /// the program has ended.
    Hangup,
    /// The peer takes no more output (`eow@openssh.com`).
    OutputClosed,
    /// The channel is gone.
    Closed,
}

impl ChannelEvent {
    /// Whether the server waits for [`Server::request_reply`](crate::Server::request_reply) before it goes on.
    pub fn wants_answer(&self) -> bool {
        use ChannelEvent::*;
        matches!(
            self,
            Pty(_) | Shell | Exec { .. } | Subsystem { .. } | Agent | X11(_) | Signal { .. } | Break { .. }
        )
    }
}

/// `direct-tcpip` (RFC 4254 section 7.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectTcp {
    /// Host to connect to.
    pub host: Vec<u8>,
    /// Its port.
    pub port: u32,
    /// Where the client says the connection came from.
    pub origin_host: Vec<u8>,
    /// Its port.
    pub origin_port: u32,
}

/// `pty-req` (RFC 4254 section 6.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pty {
    /// `TERM`.
    pub term: Vec<u8>,
    /// Size.
    pub size: WindowSize,
    /// Encoded terminal modes (RFC 4254 section 8), as sent.
    pub modes: Vec<u8>,
}

/// A terminal's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WindowSize {
    /// Columns.
    pub cols: u32,
    /// Rows.
    pub rows: u32,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// `x11-req` (RFC 4254 section 6.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct X11 {
    /// Only one connection.
    pub single: bool,
    /// Authentication protocol.
    pub protocol: Vec<u8>,
    /// Cookie.
    pub cookie: Vec<u8>,
    /// Screen number.
    pub screen: u32,
}

/// A global request that the host decides about. Waits for [`Server::global_reply`](crate::Server::global_reply)
/// where said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GlobalEvent {
    /// `tcpip-forward`. Waits; answer with the port that listens.
    Listen {
        /// Address as sent.
        address: Vec<u8>,
        /// Port; 0 lets the server choose.
        port: u32,
    },
    /// `cancel-tcpip-forward`. Waits.
    CancelListen {
        /// Address as sent.
        address: Vec<u8>,
        /// Port.
        port: u32,
    },
    /// `streamlocal-forward@openssh.com`. Waits.
    ListenLocal {
        /// Socket path.
        path: Vec<u8>,
    },
    /// `cancel-streamlocal-forward@openssh.com`. Waits.
    CancelListenLocal {
        /// Socket path.
        path: Vec<u8>,
    },
}

/// Answer to a [`GlobalEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GlobalReply {
    /// Done; the port that listens (only looked at for `Listen`).
    Done(u32),
    /// Refused.
    Failed,
}

/// Something for the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The client's identification line, without its line end.
    ClientVersion(Vec<u8>),
    /// The client's first KEXINIT.
    ClientKexInit(Box<ClientKexInit>),
    /// A key exchange is complete.
    Negotiated(Box<Negotiated>),
    /// An attempt, before it is decided.
    AuthAttempt {
        /// User.
        user: Vec<u8>,
        /// Service asked for.
        service: Vec<u8>,
        /// Method name as sent.
        method: Vec<u8>,
    },
    /// The client disconnected with words (RFC 4253 section 11.1).
    ClientDisconnect {
        /// Reason code.
        reason: u32,
        /// Text.
        text: Vec<u8>,
    },
    /// Why the server ended the connection, in a few words; what sshd would log.
    Ended(String),
    /// A channel of this type was asked for and refused.
    ChannelRefused {
        /// Type as sent.
        kind: Vec<u8>,
    },
    /// A request that is not known was refused.
    RequestRefused {
        /// Name as sent.
        name: Vec<u8>,
    },
}

/// The lists of a client's KEXINIT, each as sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientKexInit {
    /// The ten name-lists in the order of RFC 4253 section 7.1.
    pub lists: [String; 10],
    /// `first_kex_packet_follows`.
    pub first_follows: bool,
    /// MD5 over `kex;enc;mac;comp` client to server, hexadecimal.
    pub hassh: String,
    /// The text that `hassh` is the hash of.
    pub hassh_text: String,
}

/// What a key exchange agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// Key exchange.
    pub kex: String,
    /// Host key algorithm.
    pub host_key: String,
    /// Client to server: cipher, MAC (empty with an AEAD cipher), compression.
    pub client_to_server: [String; 3],
    /// Server to client.
    pub server_to_client: [String; 3],
    /// Whether strict key exchange is on.
    pub strict: bool,
}
