//! The connection: reads as sshd reads, hands each packet to whoever is set for its number, writes when sshd would.
//!
//! sshd's dispatch table is kept as a table (`handlers`), because which messages it takes at what time, and what it
//! says to the others, is visible. Before login sshd writes after every packet; after it, once per batch of packets.

use crate::api::*;
use crate::auth::Auth;
use crate::channel::Channels;
use crate::config::ServerConfig;
use crate::ident::{Ident, Quirks, Step};
use crate::keyex::KeyExchange;
use crate::msg;
use crate::packet::{Read, Transport};
use crate::wire::{Malformed, Put, Reader};
use std::collections::VecDeque;
use std::sync::Arc;

/// Why a connection ended that nobody logged in on in time ([`Fact::Ended`]).
pub const TIMEOUT: &str = "timeout before authentication";

/// What a message number leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handler {
    /// No handler: "protocol error: rcvd type N".
    Missing,
    /// Out of place during key exchange: UNIMPLEMENTED, or the end under strict key exchange.
    KexError,
    /// Out of place: UNIMPLEMENTED, written at once.
    Unimplemented,
    KexInit,
    NewKeys,
    KexPublic,
    GexRequest,
    GexInit,
    Service,
    Userauth,
    InfoResponse,
    Global,
    KeepAlive,
    Open,
    OpenConfirmation,
    OpenFailure,
    WindowAdjust,
    Data,
    ExtendedData,
    ChannelEof,
    ChannelClose,
    ChannelRequest,
}

/// Why processing of a message stopped the connection.
#[derive(Debug)]
pub(crate) enum End {
    /// sshd ends without writing what is queued.
    Silent(String),
    /// sshd sends DISCONNECT with this text, waits until everything is written, and ends.
    Disconnect(Vec<u8>),
    /// The client said goodbye.
    Left,
}

impl End {
    /// [`End::Disconnect`] with text or bytes.
    pub fn disconnect(text: impl Into<Vec<u8>>) -> End {
        End::Disconnect(text.into())
    }
}

impl From<Malformed> for End {
    fn from(m: Malformed) -> Self {
        End::Silent(
            match m {
                Malformed::Incomplete => "message incomplete",
                Malformed::TooLarge => "string is too large",
                Malformed::Format => "invalid format",
                Malformed::Trailing => "unexpected bytes remain after decoding",
            }
            .to_owned(),
        )
    }
}

/// A handler's result.
pub(crate) type Handled = Result<(), End>;

/// What the connection waits for before it reads on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// [`Server::auth_reply`].
    Auth,
    /// [`Server::request_reply`] for a channel.
    Request { id: u32, want_reply: bool, start: bool },
    /// [`Server::global_reply`].
    Global { want_reply: bool, any_port: bool },
    /// The shortest time that a refusal takes; then send it.
    Pause(Time),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Ident,
    Before,
    After,
    Over,
}

/// One connection.
pub struct Server {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) rng: Box<dyn Entropy>,
    pub(crate) t: Transport,
    pub(crate) kex: KeyExchange,
    pub(crate) auth: Auth,
    pub(crate) ch: Channels,
    pub(crate) quirks: Quirks,
    pub(crate) waiting: Option<Waiting>,
    pub(crate) handlers: [Handler; 256],
    pub(crate) acts: VecDeque<Act>,
    pub(crate) now: Time,
    phase: Phase,
    ident: Ident,
    eof: bool,
    grace: Option<Time>,
    alive_at: Option<Time>,
    alive_misses: u32,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({:?}, {:?})", self.phase, self.t)
    }
}

impl Server {
    /// A connection accepted at `now`. The identification is the first act.
    pub fn new(config: Arc<ServerConfig>, rng: impl Entropy + 'static, now: Time) -> Server {
        let mut s = Server {
            t: Transport::new(config.rekey_bytes),
            kex: KeyExchange::default(),
            auth: Auth::default(),
            ch: Channels::default(),
            quirks: Quirks::default(),
            waiting: None,
            handlers: [Handler::Missing; 256],
            acts: VecDeque::new(),
            phase: Phase::Ident,
            ident: Ident::default(),
            eof: false,
            grace: config.grace_deadline(now),
            alive_at: None,
            alive_misses: 0,
            now,
            rng: Box::new(rng),
            config,
        };
        s.t.write_plain(s.config.version.as_bytes());
        s.t.write_plain(b"\r\n");
        s.flush();
        s
    }

    /// The next thing to do, if any.
    pub fn poll(&mut self) -> Option<Act> {
        if self.acts.is_empty() && self.phase == Phase::After && self.waiting.is_none() {
            self.flush_channels();
        }
        self.acts.pop_front()
    }

    /// Bytes came from the client.
    pub fn input(&mut self, now: Time, bytes: &[u8]) {
        self.now = now;
        if self.phase == Phase::Over {
            return;
        }
        self.t.arrive(bytes);
        self.run();
    }

    /// The client has closed its side of the TCP connection.
    pub fn eof(&mut self, now: Time) {
        self.now = now;
        self.eof = true;
        self.run();
    }

    /// When [`tick`](Server::tick) wants to be called next.
    pub fn deadline(&self) -> Option<Time> {
        if self.phase == Phase::Over {
            return None;
        }
        let pause = match self.waiting {
            Some(Waiting::Pause(at)) => Some(at),
            _ => None,
        };
        let rekey = (self.phase == Phase::After)
            .then(|| self.rekey_due_at())
            .flatten();
        [self.grace, self.alive_at, pause, rekey]
            .into_iter()
            .flatten()
            .min()
    }

    /// Gives back memory that an idle connection has no use for; what comes next takes it again. Nothing else changes.
    pub fn rest(&mut self) {
        self.t.rest();
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Time) {
        self.now = now;
        if self.phase == Phase::Over {
            return;
        }
        if self.grace.is_some_and(|at| now >= at) {
            // sshd's alarm handler leaves at once: whatever is queued is lost.
            return self.over(TIMEOUT, false);
        }
        if let Some(Waiting::Pause(at)) = self.waiting
            && now >= at
        {
            self.waiting = None;
            let r = self.auth_failed_now();
            self.finish(r);
        }
        if self.phase == Phase::After {
            if self.alive_at.is_some_and(|at| now >= at) {
                self.alive_misses += 1;
                if self.alive_misses > self.config.client_alive_count_max {
                    return self.over("timeout, client not responding", false);
                }
                self.send_keepalive();
                self.arm_keepalive();
            }
            if self.rekey_due_at().is_some_and(|at| now >= at) {
                self.start_rekey();
            }
        }
        self.run();
    }

    /// Ends the connection as when the sshd process is killed.
    pub fn abort(&mut self) {
        self.over("ended by the host", false);
    }

    /// Whether the connection is over.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether the host owes an answer (input waits meanwhile).
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Bytes passed in that wait to be processed; a host may stop reading above some bound.
    pub fn backlog(&self) -> usize {
        self.t.unread()
    }

    /// For tests and fuzz targets: goes on as if identification and key exchange (and, if told, login) had been done,
    /// without a cipher.
    #[doc(hidden)]
    pub fn skip_to(&mut self, logged_in: bool) {
        self.phase = Phase::Before;
        self.kex.initial = false;
        self.begin_auth();
        if logged_in {
            self.t.authenticated = true;
            self.enter_session();
        }
    }

    // ---- the loop ----

    pub(crate) fn run(&mut self) {
        while self.phase != Phase::Over && self.waiting.is_none() {
            let go_on = match self.phase {
                Phase::Ident => self.run_ident(),
                Phase::Before => self.run_before(),
                Phase::After => self.run_after(),
                Phase::Over => false,
            };
            if !go_on {
                break;
            }
        }
    }

    fn run_ident(&mut self) -> bool {
        let Some(b) = self.t.read_byte() else {
            if self.eof {
                self.over("connection closed by remote host", false);
            }
            return false;
        };
        match self.ident.push(b) {
            Step::More => {}
            Step::Done(line) => {
                self.quirks = crate::ident::quirks(&line);
                self.acts.push_back(Act::Fact(Fact::ClientVersion(line.clone())));
                self.kex.client_version = line;
                self.phase = Phase::Before;
                self.begin_kex();
            }
            Step::Refuse(text) => {
                // Two writes: the text, then the line end.
                self.acts.push_back(Act::Send(text.as_bytes().to_vec()));
                self.acts.push_back(Act::Send(b"\r\n".to_vec()));
                self.over(text, false);
            }
            Step::Leave(why) => self.over(why, false),
        }
        true
    }

    fn run_before(&mut self) -> bool {
        self.flush();
        loop {
            match self.next_packet() {
                Ok(Some((seq, p))) => {
                    let r = self.dispatch(seq, &p);
                    self.finish(r);
                    return true;
                }
                Ok(None) => {}
                Err(end) => {
                    self.finish(Err(end));
                    return false;
                }
            }
            if !self.t.read(8192) {
                if self.eof {
                    self.over("connection closed by remote host", false);
                }
                return false;
            }
        }
    }

    fn run_after(&mut self) -> bool {
        match self.next_packet() {
            Ok(Some((seq, p))) => {
                let r = self.dispatch(seq, &p);
                self.finish(r);
                true
            }
            Ok(None) => {
                self.flush_channels();
                if self.t.read(256 * 1024) {
                    return true;
                }
                if self.eof && self.waiting.is_none() {
                    self.over("connection closed by remote host", false);
                }
                false
            }
            Err(end) => {
                self.finish(Err(end));
                false
            }
        }
    }

    /// The next packet that is somebody's business: DISCONNECT is obeyed; IGNORE, DEBUG and UNIMPLEMENTED are eaten
    /// (ssh_packet_read_poll_seqnr in packet.c).
    fn next_packet(&mut self) -> Result<Option<(u32, Vec<u8>)>, End> {
        loop {
            let (seq, p) = match self.t.next_packet() {
                Read::More => return Ok(None),
                Read::Packet(seq, p) => (seq, p),
                Read::Refuse(text) => return Err(End::Silent(text.to_owned())),
                Read::RefuseLoud(text) => return Err(End::disconnect(text)),
                Read::Silent(text) => return Err(End::Silent(text.to_owned())),
            };
            self.alive_misses = 0;
            self.arm_keepalive();
            let mut r = Reader::new(p.get(1..).unwrap_or_default());
            let kind = p.first().copied().unwrap_or(0);
            if kind == msg::DISCONNECT {
                let (reason, text) = (r.u32()?, r.string()?);
                self.acts.push_back(Act::Fact(Fact::ClientDisconnect {
                    reason,
                    text: text.to_vec(),
                }));
                return Err(End::Left);
            }
            if self.kex.initial && self.kex.strict {
                return Ok(Some((seq, p)));
            }
            match kind {
                msg::IGNORE => {}
                msg::DEBUG => {
                    r.u8()?;
                    r.string()?;
                    r.string()?;
                }
                msg::UNIMPLEMENTED => {
                    r.u32()?;
                }
                _ => return Ok(Some((seq, p))),
            }
        }
    }

    fn dispatch(&mut self, seq: u32, p: &[u8]) -> Handled {
        let Some((&kind, body)) = p.split_first() else {
            return Ok(());
        };
        let handler = self.handlers[usize::from(kind)];
        if handler == Handler::Missing {
            return Err(End::Silent(format!("protocol error: rcvd type {kind}")));
        }
        if self.kex.skip > 0 {
            self.kex.skip -= 1;
            return Ok(());
        }
        let mut r = Reader::new(body);
        match handler {
            Handler::Missing => Ok(()),
            Handler::KexError => {
                if self.kex.initial && self.kex.strict {
                    return Err(End::disconnect(format!(
                        "strict KEX violation: unexpected packet type {kind} (seqnr {seq})"
                    )));
                }
                self.send_unimplemented(seq);
                Ok(())
            }
            Handler::Unimplemented => {
                self.send_unimplemented(seq);
                self.flush();
                Ok(())
            }
            Handler::KexInit => self.on_kexinit(seq, p),
            Handler::NewKeys => self.on_newkeys(&r),
            Handler::KexPublic => self.on_kex_public(&mut r),
            Handler::GexRequest => self.on_gex_request(&mut r),
            Handler::GexInit => self.on_gex_init(&mut r),
            Handler::Service => self.on_service(&mut r),
            Handler::Userauth => self.on_userauth(&mut r),
            Handler::InfoResponse => self.on_info_response(&mut r),
            Handler::Global => self.on_global(&mut r),
            Handler::KeepAlive => Ok(()),
            Handler::Open => self.on_open(&mut r),
            Handler::OpenConfirmation => self.on_open_confirmation(&mut r),
            Handler::OpenFailure => self.on_open_failure(&mut r),
            Handler::WindowAdjust => self.on_window_adjust(&mut r),
            Handler::Data => self.on_data(&mut r),
            Handler::ExtendedData => self.on_extended_data(&mut r),
            Handler::ChannelEof => self.on_channel_eof(&mut r),
            Handler::ChannelClose => self.on_channel_close(&mut r),
            Handler::ChannelRequest => self.on_channel_request(&mut r),
        }
    }

    /// Acts on a handler's result.
    pub(crate) fn finish(&mut self, result: Handled) {
        match result {
            Ok(()) => {}
            Err(End::Silent(why)) => self.over(&why, false),
            Err(End::Left) => self.over("client disconnected", false),
            Err(End::Disconnect(text)) => {
                self.send_disconnect(&text);
                self.over(&String::from_utf8_lossy(&text), true);
            }
        }
    }

    fn send_disconnect(&mut self, text: &[u8]) {
        let mut m = vec![msg::DISCONNECT];
        m.put_u32(2)
            .put_string(&text[..text.len().min(1023)])
            .put_string(b"");
        self.send(&m);
    }

    fn send_unimplemented(&mut self, seq: u32) {
        let mut m = vec![msg::UNIMPLEMENTED];
        m.put_u32(seq);
        self.send(&m);
    }

    /// The end. What is queued goes out only if sshd waits for it.
    fn over(&mut self, why: &str, write_queued: bool) {
        if self.phase == Phase::Over {
            return;
        }
        if write_queued {
            self.flush();
        }
        self.phase = Phase::Over;
        self.waiting = None;
        self.close_all_channels();
        self.acts.push_back(Act::Fact(Fact::Ended(why.to_owned())));
        let kind = if self.t.unread() > 0 {
            CloseKind::Rst
        } else {
            CloseKind::Fin
        };
        self.acts.push_back(Act::Close(kind));
    }

    /// One write of everything queued.
    pub(crate) fn flush(&mut self) {
        let out = self.t.take_out();
        if !out.is_empty() {
            self.acts.push_back(Act::Send(out));
        }
    }

    /// Queues a message; during a key exchange only its own messages pass (ssh_packet_send2 in packet.c).
    pub(crate) fn send(&mut self, m: &[u8]) {
        let kind = m.first().copied().unwrap_or(0);
        let is_kex = (1..50).contains(&kind)
            && !matches!(kind, msg::SERVICE_REQUEST | msg::SERVICE_ACCEPT | msg::EXT_INFO);
        if is_kex {
            self.t.send(m, &mut *self.rng);
            return;
        }
        if self.kex.rekeying {
            self.kex.queued.push_back(m.to_vec());
            return;
        }
        let due = self.t.wants_rekey(m.len() + 5) || self.rekey_due_at().is_some_and(|at| self.now >= at);
        if due
            && !self.kex.init_sent
            && !self.quirks.no_rekey
            && self.phase == Phase::After
            && self.t.used_since_keys()
        {
            self.kex.queued.push_back(m.to_vec());
            self.start_rekey();
            return;
        }
        self.t.send(m, &mut *self.rng);
    }

    /// Sets handlers for a range of message numbers.
    pub(crate) fn handle(&mut self, range: std::ops::RangeInclusive<u8>, h: Handler) {
        for k in range {
            self.handlers[usize::from(k)] = h;
        }
    }

    /// Login succeeded: the user's process takes over (do_authenticated).
    pub(crate) fn enter_session(&mut self) {
        self.phase = Phase::After;
        self.grace = None;
        self.handle(0..=255, Handler::Unimplemented);
        for (kind, h) in [
            (msg::KEXINIT, Handler::KexInit),
            (msg::GLOBAL_REQUEST, Handler::Global),
            (msg::REQUEST_SUCCESS, Handler::KeepAlive),
            (msg::REQUEST_FAILURE, Handler::KeepAlive),
            (msg::CHANNEL_OPEN, Handler::Open),
            (msg::CHANNEL_OPEN_CONFIRMATION, Handler::OpenConfirmation),
            (msg::CHANNEL_OPEN_FAILURE, Handler::OpenFailure),
            (msg::CHANNEL_WINDOW_ADJUST, Handler::WindowAdjust),
            (msg::CHANNEL_DATA, Handler::Data),
            (msg::CHANNEL_EXTENDED_DATA, Handler::ExtendedData),
            (msg::CHANNEL_EOF, Handler::ChannelEof),
            (msg::CHANNEL_CLOSE, Handler::ChannelClose),
            (msg::CHANNEL_REQUEST, Handler::ChannelRequest),
            (msg::CHANNEL_SUCCESS, Handler::KeepAlive),
            (msg::CHANNEL_FAILURE, Handler::KeepAlive),
        ] {
            self.handlers[usize::from(kind)] = h;
        }
        self.arm_keepalive();
        self.announce_host_keys();
    }

    fn arm_keepalive(&mut self) {
        // sshd's loop waits for the interval twice, before the first question and between two (9.2p1, measured).
        let every = self.config.client_alive_interval * 2;
        self.alive_at =
            (self.phase == Phase::After && !every.is_zero()).then(|| self.now.saturating_add(every));
    }

    /// A message that `ssh -v` shows as "Remote: ..." (SSH_MSG_DEBUG), such as the options of an authorised key.
    pub fn debug_message(&mut self, text: &str) {
        let mut m = vec![msg::DEBUG];
        m.put_u8(0).put_string(text.as_bytes()).put_string(b"");
        self.send(&m);
        // It is written at once, with all that was queued (ssh_packet_send_debug in packet.c).
        self.flush();
    }

    /// Answers [`Act::Auth`].
    pub fn auth_reply(&mut self, now: Time, reply: AuthReply) {
        self.now = now;
        if self.waiting == Some(Waiting::Auth) {
            self.waiting = None;
            let r = self.on_auth_reply(reply);
            self.finish(r);
            self.run();
        }
    }

    /// Answers a [`ChannelEvent`] that waits: whether it was done.
    pub fn request_reply(&mut self, now: Time, id: ChannelId, ok: bool) {
        self.now = now;
        if let Some(Waiting::Request {
            id: waiting,
            want_reply,
            start,
        }) = self.waiting
            && waiting == id.0
        {
            self.waiting = None;
            self.on_request_reply(waiting, want_reply, start, ok);
            self.run();
        }
    }

    /// Answers a [`GlobalEvent`].
    pub fn global_reply(&mut self, now: Time, reply: GlobalReply) {
        self.now = now;
        if let Some(Waiting::Global { want_reply, any_port }) = self.waiting {
            self.waiting = None;
            self.on_global_reply(want_reply, any_port, reply);
            self.run();
        }
    }
}
