//! One connection: the loop that moves bytes between socket, state machine, gate and worlds.

use super::channels::Channel;
use super::forward::Offer;
use super::planted::Way;
use super::startups::Startup;
use super::{Passed, Ssh};
use crate::auth::KeyOptions;
use crate::sending::{Sending, at};
use crate::worlds::{Conn, Handle, Output};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use turncoat_cover::past::refused::Ending;
use turncoat_event::record::{Frame, Item};
use turncoat_event::{Chunk, Direction, Gate, Kind, Mark, Origin, Refused, SessionId, kinds};
use turncoat_ssh::{Act, AuthReply, ChannelId, CloseKind, LoggedIn, Server};

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The source.
    pub source: SocketAddr,
    /// The address it reached.
    pub local: SocketAddr,
    /// The TCP peer, where that is a proxy which named the source.
    pub via: Option<SocketAddr>,
}

/// A connection that a program of a world made to the machine's own sshd.
#[derive(Clone)]
pub(super) struct Inside {
    /// The world.
    pub world: Handle,
    /// The program's end.
    pub from: SocketAddr,
    /// The session whose program it is.
    pub by: Option<SessionId>,
}

/// From success to the first message of the session: about what fork and PAM take.
const SESSION: Duration = Duration::from_millis(3);

/// A connection on which nothing happens for so long gives back what it only needs for more.
const QUIET: Duration = Duration::from_secs(10);

/// Bytes that are read at once: of a connection at work, and of one that is quiet.
const READ: usize = 32 << 10;
const READ_QUIET: usize = 256;

/// Bytes that may wait to be sent before nothing more is read or taken from worlds.
const WAITING: usize = 256 << 10;

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client left.
    Client,
    /// We ended it, as sshd would have.
    Server,
    /// A limit of ours.
    Limit,
    /// The network failed.
    Error,
    /// The program ends.
    Shutdown,
}

impl End {
    pub(crate) fn name(self) -> &'static str {
        match self {
            End::Client => "client",
            End::Server => "server",
            End::Limit => "limit",
            End::Error => "error",
            End::Shutdown => "shutdown",
        }
    }
}

/// A connection's state.
pub(super) struct Connection {
    pub ssh: Arc<Ssh>,
    pub server: Server,
    gate: Gate,
    pub origin: Origin,
    pub peer: Peer,
    pub session: SessionId,
    /// The highest mark of what this connection has shown or seen.
    pub mark: Mark,
    start: Instant,
    pub channels: BTreeMap<ChannelId, Channel>,
    pub by_conn: BTreeMap<Conn, ChannelId>,
    pub next_channel: u16,
    pub user: Vec<u8>,
    pub method: &'static str,
    pub world: Option<Handle>,
    /// The password that was accepted, until it is in the world's `/etc/shadow`.
    pub accepted_secret: Option<Vec<u8>>,
    /// What the key that was used allows.
    pub key_options: KeyOptions,
    /// How the login that was accepted last enters.
    pub way: Way,
    /// A login that was let in, until the client has been told so.
    entering: Option<LoggedIn>,
    /// It comes from inside a world.
    pub inside: Option<Inside>,
    /// What the client offers inside.
    pub offers: Vec<Offer>,
    /// The socket of the forwarded agent.
    pub agent: Option<Vec<u8>>,
    /// Requests for connections outward that are answered later: when, and with which words; without any it is confirmed.
    pub openings: Vec<(Instant, ChannelId, Option<&'static str>)>,
    pub outputs: (mpsc::UnboundedSender<Output>, mpsc::UnboundedReceiver<Output>),
    /// An answer that waits for its time.
    pub later: Option<(Instant, AuthReply)>,
    closing: Option<CloseKind>,
    pub end: Option<End>,
    /// How it ends, for the log of the machine that this source may get.
    pub parting: Ending,
    /// The number of its sshd, where passwords were refused on it.
    pub sshd: Option<u32>,
    bytes_in: u64,
    bytes_out: u64,
    recorded: u64,
    /// It counts as one that has not logged in.
    startup: Option<Startup>,
    /// A bound that is passed: the session ends.
    passed: Option<Passed>,
    /// The record refuses: end without another byte.
    pub stopped: bool,
}

struct Random(crate::machine::Entropy);

impl turncoat_ssh::Entropy for Random {
    fn fill(&mut self, buf: &mut [u8]) {
        (self.0)(buf);
    }
}

impl Connection {
    /// The state machine's clock.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Records an event of this session. What is sent from now on waits for it.
    pub fn event(&mut self, kind: impl Into<Kind>) {
        let draft = self.origin.at((self.ssh.machine.clock)(), kind);
        self.submit(Item::Event(Box::new(draft)));
    }

    /// Records a piece of the recording.
    pub fn frame(&mut self, channel: u16, direction: Direction, bytes: &[u8]) {
        self.recorded = self.recorded.saturating_add(bytes.len() as u64);
        if self.recorded > self.ssh.recording {
            self.pass("recording", self.ssh.recording);
        }
        let time = (self.ssh.machine.clock)();
        self.submit(Item::Frame(Frame {
            session: self.session,
            time,
            channel,
            direction,
            bytes: bytes.to_vec(),
        }));
    }

    /// Notes a bound of this session that is passed; the first one counts.
    fn pass(&mut self, limit: &'static str, value: u64) {
        let scope = "session";
        self.passed.get_or_insert(Passed { limit, value, scope });
    }

    /// Counts bytes that the network took.
    fn sent(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
        if self.bytes_out > self.ssh.bytes_out {
            self.pass("bytes_out.session", self.ssh.bytes_out);
        }
        if let Some(passed) = self.ssh.meter.sent(self.peer.source.ip(), bytes as u64) {
            self.passed.get_or_insert(passed);
        }
    }

    fn submit(&mut self, item: Item) {
        match self.ssh.machine.recorder.submit(item) {
            Ok(mark) => self.mark = self.mark.max(mark),
            // What one read brings is small; the loop stops reading while the record is behind, so this is the record's end.
            Err(Refused::Full | Refused::Stopped) => self.stopped = true,
            Err(Refused::TooLarge) => {}
        }
    }

    /// Does everything that the state machine wants done.
    async fn acts(&mut self) {
        while !self.stopped && self.entering.is_none() {
            let Some(act) = self.server.poll() else { break };
            match act {
                Act::Send(bytes) => self.gate.push(Chunk {
                    bytes,
                    after: self.mark,
                }),
                Act::Close(kind) => self.closing = Some(kind),
                Act::Fact(fact) => self.fact(fact),
                Act::Auth(request) => self.auth(request).await,
                Act::LoggedIn(l) => self.entering = Some(l),
                Act::Global(g) => self.global(g).await,
                Act::Channel(id, event) => self.channel(id, event).await,
            }
        }
    }
}

/// Serves one accepted connection to its end. `ending` is ready when the program ends.
pub async fn serve(
    ssh: Arc<Ssh>,
    mut stream: TcpStream,
    peer: Peer,
    ending: impl Future<Output = ()>,
) -> End {
    let _ = stream.set_nodelay(true);
    let (read, write) = stream.split();
    let (end, close) = serve_on(ssh, read, write, peer, None, ending).await;
    if close == Some(CloseKind::Rst) {
        let _ = stream.set_zero_linger();
    }
    end
}

/// Serves a connection over any pair of halves; says how it is to be closed.
pub(super) async fn serve_on(
    ssh: Arc<Ssh>,
    read: impl AsyncRead + Unpin,
    mut write: impl AsyncWrite + Unpin,
    peer: Peer,
    inside: Option<Inside>,
    ending: impl Future<Output = ()>,
) -> (End, Option<CloseKind>) {
    let machine = ssh.machine.clone();
    let time = (machine.clock)();
    let mut e = [0; 10];
    (machine.entropy)(&mut e);
    let session = SessionId::new(time, e);
    let start = Instant::now();
    let mut c = Connection {
        server: Server::new(
            ssh.config.clone(),
            Random(machine.entropy.clone()),
            Duration::ZERO,
        ),
        gate: Gate::new(machine.recorder.watermark().clone()),
        origin: Origin::session(session, peer.source, peer.local, "ssh"),
        peer,
        session,
        mark: Mark::NONE,
        start,
        channels: BTreeMap::new(),
        by_conn: BTreeMap::new(),
        next_channel: 0,
        user: Vec::new(),
        method: "none",
        world: None,
        accepted_secret: None,
        way: Way::default(),
        entering: None,
        inside,
        offers: Vec::new(),
        agent: None,
        openings: Vec::new(),
        key_options: KeyOptions::default(),
        outputs: mpsc::unbounded_channel(),
        later: None,
        closing: None,
        end: None,
        parting: Ending::Closed,
        sshd: None,
        bytes_in: 0,
        bytes_out: 0,
        recorded: 0,
        startup: None,
        passed: None,
        stopped: false,
        ssh,
    };
    c.origin.world = c.inside.as_ref().map(|i| i.world.id());
    c.event(kinds::SessionOpen { via: peer.via });
    if let Some(i) = c.inside.clone() {
        c.event(kinds::SessionLink {
            reason: "world".into(),
            other: i.by,
            other_world: Some(i.world.id()),
            detail: Some("a program of this world connected to its sshd".into()),
        });
    }
    // Connections from inside a world are bounded where they arrive. A machine that its intruder has rebooted answers nobody of his
    // until it is up.
    let down = match &c.inside {
        Some(_) => None,
        None => machine.worlds.of(c.peer.source.ip()).and_then(|w| w.away()),
    };
    let shared = c.ssh.clone();
    let mut pending = None;
    if let (Some(startups), None, None) = (&shared.startups, &c.inside, down) {
        let mut random = [0; 8];
        (machine.entropy)(&mut random);
        match startups.enter(peer.source.ip(), u64::from_le_bytes(random)) {
            Ok(startup) => c.startup = Some(startup),
            Err(others) => pending = Some(others),
        }
    }
    let end = match (down, pending) {
        (Some(until), _) => c.unanswered(read, until, ending).await,
        (None, Some(others)) => c.turned_away(others),
        (None, None) => c.run(read, &mut write, ending).await,
    };
    machine.refused.ended(c.link_id(), (machine.clock)(), c.how(end));
    c.hang_up();
    c.take_all_back();
    // Past a bound not a byte more leaves.
    if end != End::Error && end != End::Limit && c.closing != Some(CloseKind::Rst) && !c.stopped {
        c.flush(&mut write).await;
    }
    let close = kinds::SessionClose {
        reason: end.name().into(),
        bytes_in: c.bytes_in,
        bytes_out: c.bytes_out,
        duration_ms: start.elapsed().as_millis() as u64,
    };
    c.event(close);
    (end, c.closing)
}

impl Connection {
    /// How the connection ended, as sshd's log tells it.
    fn how(&self, end: End) -> Ending {
        match end {
            End::Error => Ending::Reset,
            _ => self.parting.clone(),
        }
    }

    /// What a new connection hears when so many others have not logged in yet (drop_connection in sshd.c).
    fn turned_away(&mut self, pending: usize) -> End {
        self.event(kinds::LimitHit {
            limit: "ssh.max_startups".into(),
            value: pending as u64,
            scope: "source".into(),
        });
        self.gate.push(Chunk {
            bytes: b"Exceeded MaxStartups\r\n".to_vec(),
            after: self.mark,
        });
        End::Server
    }

    /// Says nothing until the machine is up again, which then knows nothing of this connection.
    async fn unanswered(
        &mut self,
        mut read: impl AsyncRead + Unpin,
        until: turncoat_event::Time,
        ending: impl Future<Output = ()>,
    ) -> End {
        self.closing = Some(CloseKind::Rst);
        let nanos = until.since((self.ssh.machine.clock)()).max(0) as u64;
        let up = tokio::time::sleep(Duration::from_nanos(nanos));
        let (mut up, mut ending) = (std::pin::pin!(up), std::pin::pin!(ending));
        let mut buf = [0; 4096];
        loop {
            tokio::select! {
                () = &mut up => return End::Server,
                () = &mut ending => return End::Shutdown,
                got = read.read(&mut buf) => match got {
                    Ok(n) if n > 0 => self.bytes_in += n as u64,
                    _ => return End::Client,
                },
            }
        }
    }

    async fn run(
        &mut self,
        mut read: impl AsyncRead + Unpin,
        write: &mut (impl AsyncWrite + Unpin),
        ending: impl Future<Output = ()>,
    ) -> End {
        let mut ending = std::pin::pin!(ending);
        let mut sending = Sending::default();
        let mut buf = vec![0u8; READ];
        let mut eof = false;
        loop {
            self.acts().await;
            self.pump();
            // What the pump put into channels leaves now: nothing else may come that would take it along.
            self.acts().await;
            if self.stopped {
                return End::Error;
            }
            if let Some(end) = self.end {
                return end;
            }
            if sending.is_none()
                && self.gate.is_empty()
                && let Some(login) = self.entering.take()
            {
                // Success is a write of its own: sshd forks and opens PAM's session before it says more.
                self.startup = None;
                tokio::time::sleep(SESSION).await;
                self.logged_in(&login).await;
                continue;
            }
            if self.closing.is_some() && self.gate.is_empty() && sending.is_none() {
                return if eof { End::Client } else { End::Server };
            }
            if let Some(Passed { limit, value, scope }) = self.passed {
                self.event(kinds::LimitHit {
                    limit: limit.into(),
                    value,
                    scope: scope.into(),
                });
                return End::Limit;
            }
            let congested = self.gate.waiting_bytes() > WAITING || sending.is_some();
            // More events than its share: what comes next is not read yet.
            let pause = self.ssh.machine.recorder.pace(&self.origin);
            let resume = (!pause.is_zero()).then(|| Instant::now() + pause);
            let reading = !eof
                && resume.is_none()
                && self.closing.is_none()
                && !congested
                && !self.server.is_waiting()
                && self.later.is_none()
                && self.entering.is_none();
            let tick = self.server.deadline().map(|d| self.start + d);
            let later = self.later.as_ref().map(|l| l.0);
            let opening = self.next_opening();
            let rest = (buf.len() == READ).then(|| Instant::now() + QUIET);
            tokio::select! {
                biased;
                () = &mut ending => return End::Shutdown,
                wrote = write.write(sending.rest()), if sending.is_some() => match wrote {
                    Ok(n) if n > 0 => {
                        sending.took(n);
                        self.sent(n);
                    }
                    _ => return End::Error,
                },
                released = self.gate.released(), if sending.is_none() => match released {
                    Ok(bytes) => sending.put(bytes),
                    Err(_) => return End::Error,
                },
                got = read.read(&mut buf), if reading => match got {
                    Ok(0) => {
                        eof = true;
                        let now = self.now();
                        self.server.eof(now);
                    }
                    Ok(n) => {
                        self.bytes_in += n as u64;
                        let now = self.now();
                        self.server.input(now, buf.get(..n).unwrap_or_default());
                    }
                    Err(_) => return End::Error,
                },
                () = at(opening) => self.answer_openings(),
                Some(output) = self.outputs.1.recv(), if !congested => self.output(output),
                () = at(later) => {
                    if let Some((_, reply)) = self.later.take() {
                        let now = self.now();
                        self.server.auth_reply(now, reply);
                    }
                }
                () = at(resume) => {}
                () = at(tick) => {
                    let now = self.now();
                    self.server.tick(now);
                }
                () = at(rest) => {
                    self.server.rest();
                    buf = vec![0; READ_QUIET];
                    continue;
                }
            }
            buf.resize(READ, 0);
        }
    }

    /// Sends what may still leave, for at most a second.
    async fn flush(&mut self, write: &mut (impl AsyncWrite + Unpin)) {
        let until = Instant::now() + Duration::from_secs(1);
        while !self.gate.is_empty() {
            let Ok(Ok(bytes)) = tokio::time::timeout_at(until, self.gate.released()).await else {
                return;
            };
            let mut rest = bytes.as_ref();
            while !rest.is_empty() {
                let Ok(Ok(n @ 1..)) = tokio::time::timeout_at(until, write.write(rest)).await else {
                    return;
                };
                self.sent(n);
                rest = rest.get(n..).unwrap_or_default();
            }
        }
    }
}
