//! One connection: the loop that moves bytes between socket, state machine, gate and worlds.

use super::channels::Channel;
use super::{Passed, Ssh};
use crate::worlds::{Conn, Handle, Output};
use std::collections::BTreeMap;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use turncoat_event::record::{Frame, Item};
use turncoat_event::{Chunk, Direction, Gate, Kind, Mark, Origin, Refused, Released, SessionId, kinds};
use turncoat_ssh::{Act, AuthReply, ChannelId, CloseKind, Server};

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
    fn name(self) -> &'static str {
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
    pub outputs: (mpsc::UnboundedSender<Output>, mpsc::UnboundedReceiver<Output>),
    /// An answer that waits for its time.
    pub later: Option<(Instant, AuthReply)>,
    closing: Option<CloseKind>,
    pub end: Option<End>,
    bytes_in: u64,
    bytes_out: u64,
    recorded: u64,
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
        while !self.stopped {
            let Some(act) = self.server.poll() else { break };
            match act {
                Act::Send(bytes) => self.gate.push(Chunk {
                    bytes,
                    after: self.mark,
                }),
                Act::Close(kind) => self.closing = Some(kind),
                Act::Fact(fact) => self.fact(fact),
                Act::Auth(request) => self.auth(request),
                Act::LoggedIn(l) => self.logged_in(&l),
                Act::Global(g) => self.global(g),
                Act::Channel(id, event) => self.channel(id, event).await,
            }
        }
    }
}

/// Serves one accepted connection to its end. `ending` is ready when the program ends.
pub async fn serve(ssh: Arc<Ssh>, stream: TcpStream, peer: Peer, ending: impl Future<Output = ()>) -> End {
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
        outputs: mpsc::unbounded_channel(),
        later: None,
        closing: None,
        end: None,
        bytes_in: 0,
        bytes_out: 0,
        recorded: 0,
        passed: None,
        stopped: false,
        ssh,
    };
    let _ = stream.set_nodelay(true);
    c.event(kinds::SessionOpen { via: peer.via });
    let end = c.run(&stream, ending).await;
    c.hang_up();
    // Past a bound not a byte more leaves.
    if end != End::Error && end != End::Limit && c.closing != Some(CloseKind::Rst) && !c.stopped {
        c.flush(&stream).await;
    }
    let close = kinds::SessionClose {
        reason: end.name().into(),
        bytes_in: c.bytes_in,
        bytes_out: c.bytes_out,
        duration_ms: start.elapsed().as_millis() as u64,
    };
    c.event(close);
    if c.closing == Some(CloseKind::Rst) {
        let _ = stream.set_zero_linger();
    }
    end
}

impl Connection {
    async fn run(&mut self, stream: &TcpStream, ending: impl Future<Output = ()>) -> End {
        let mut ending = std::pin::pin!(ending);
        let mut sending: Option<(Released, usize)> = None;
        let mut buf = vec![0u8; 32 << 10];
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
                && self.later.is_none();
            let tick = self.server.deadline().map(|d| self.start + d);
            let later = self.later.as_ref().map(|l| l.0);
            let at = |t: Option<Instant>| async move {
                match t {
                    Some(t) => tokio::time::sleep_until(t).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = &mut ending => return End::Shutdown,
                ready = stream.writable(), if sending.is_some() => {
                    if ready.is_err() {
                        return End::Error;
                    }
                    if let Some((bytes, done)) = &mut sending {
                        match stream.try_write(bytes.as_ref().get(*done..).unwrap_or_default()) {
                            Ok(n) => {
                                *done += n;
                                if *done >= bytes.as_ref().len() {
                                    sending = None;
                                }
                                self.sent(n);
                            }
                            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                            Err(_) => return End::Error,
                        }
                    }
                }
                released = self.gate.released(), if sending.is_none() => match released {
                    Ok(bytes) => sending = Some((bytes, 0)),
                    Err(_) => return End::Error,
                },
                ready = stream.readable(), if reading => {
                    if ready.is_err() {
                        return End::Error;
                    }
                    match stream.try_read(&mut buf) {
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
                        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(_) => return End::Error,
                    }
                }
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
            }
        }
    }

    /// Sends what may still leave, for at most a second.
    async fn flush(&mut self, stream: &TcpStream) {
        let until = Instant::now() + Duration::from_secs(1);
        while !self.gate.is_empty() {
            let Ok(Ok(bytes)) = tokio::time::timeout_at(until, self.gate.released()).await else {
                return;
            };
            let mut rest = bytes.as_ref();
            while !rest.is_empty() {
                let Ok(Ok(())) = tokio::time::timeout_at(until, stream.writable()).await else {
                    return;
                };
                match stream.try_write(rest) {
                    Ok(n) => {
                        self.sent(n);
                        rest = rest.get(n..).unwrap_or_default();
                    }
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        }
    }
}
