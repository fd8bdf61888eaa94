//! The Telnet decoy: joins a connection to the telnetd of its source's world.
//!
//! telnetd and `login` are the real programs, started in the world as its `/etc/inetd.conf` says; they negotiate, ask and answer. Here
//! is what stands around them: the record of what passes ([`turncoat_wire::telnet`] reads it), the gate, the bounds, and the policy. A
//! password that was typed to `login` comes here before `login` reads it: it is recorded, decided on and, if it is accepted, written
//! into the world's `/etc/shadow`; then `login` finds what was decided.

use crate::Machine;
use crate::auth::{Attempt, Opens, Policy};
use crate::refused::Who;
use crate::sending::{Sending, at};
use crate::ssh::{End, Meter, Passed, Peer};
use crate::worlds::{self, Conn, Handle, Input, Open, Output, Produced, Program};
use sha2::Digest;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use turncoat_cover::past::refused::{Asked, Ending, LOGIN_DELAY};
use turncoat_event::record::{Frame, Item};
use turncoat_event::{Bytes, Chunk, Direction, Gate, Kind, Mark, Origin, Refused, SessionId, Sha256, kinds};
use turncoat_wire::telnet::{self, Reader, Said, Side};

/// Bytes that may wait to be sent before nothing more is read or taken from the world.
const WAITING: usize = 256 << 10;
/// Bytes that the world has not taken yet, before nothing more is read.
const UNREAD: usize = 64 << 10;
/// Bytes that may come before somebody has logged in. Passwords and options are a few hundred.
const BEFORE_LOGIN: u64 = 256 << 10;
/// Commands of a client whose names are kept, to tell tools apart.
const OPTIONS: usize = 64;
/// Variables that are recorded.
const VARIABLES: usize = 64;
/// The name of the service in `/etc/services` and `/etc/inetd.conf`.
const SERVICE: &[u8] = b"telnet";
/// Its port on the machine, whichever port of the host leads there.
const PORT: u16 = 23;

/// One machine's Telnet service.
pub struct Telnet {
    /// The machine.
    pub machine: Arc<Machine>,
    /// Bytes sent to one session at the most.
    pub bytes_out: u64,
    /// Bytes of one session's recording at the most; past it the session is closed.
    pub recording: u64,
    /// A connection that has not logged in is closed after this time.
    pub login_time: Duration,
    /// Told of bytes that were sent to a source.
    pub meter: Arc<dyn Meter>,
}

struct Session {
    telnet: Arc<Telnet>,
    peer: Peer,
    id: SessionId,
    origin: Origin,
    gate: Gate,
    /// The highest mark of what this connection has shown or seen.
    mark: Mark,
    world: Handle,
    conn: Conn,
    /// The connection's number in the log of refused passwords.
    link: u64,
    reader: Reader,
    /// Whether somebody has logged in.
    inside: bool,
    term: Vec<u8>,
    size: Option<(u16, u16)>,
    /// What the client said of options, until its first text.
    options: Option<Vec<String>>,
    variables: BTreeSet<Vec<u8>>,
    waiting: Arc<AtomicU64>,
    unread: usize,
    over: bool,
    stopped: bool,
    passed: Option<Passed>,
    bytes_in: u64,
    bytes_out: u64,
    recorded: u64,
}

/// Serves one accepted connection to its end. `ending` is ready when the program ends.
pub async fn serve(
    telnet: Arc<Telnet>,
    mut stream: TcpStream,
    peer: Peer,
    ending: impl Future<Output = ()>,
) -> End {
    let _ = stream.set_nodelay(true);
    let machine = telnet.machine.clone();
    let mut entropy = [0; 10];
    (machine.entropy)(&mut entropy);
    let id = SessionId::new((machine.clock)(), entropy);
    let started = Instant::now();
    let mut origin = Origin::session(id, peer.source, peer.local, "telnet");
    let mut mark = Mark::NONE;
    let record = |origin: &Origin, mark: &mut Mark, kind: Kind| {
        let draft = origin.at((machine.clock)(), kind);
        if let Ok(m) = machine.recorder.submit(Item::Event(Box::new(draft))) {
            *mark = (*mark).max(m);
        }
    };
    record(&origin, &mut mark, kinds::SessionOpen { via: peer.via }.into());
    let close = |end: End, bytes_in, bytes_out| kinds::SessionClose {
        reason: end.name().into(),
        bytes_in,
        bytes_out,
        duration_ms: started.elapsed().as_millis() as u64,
    };
    // A machine that its intruder has rebooted answers nobody of his until it is up.
    if let Some(until) = machine.worlds.of(peer.source.ip()).and_then(|w| w.away()) {
        let nanos = until.since((machine.clock)()).max(0) as u64;
        let end = tokio::select! {
            () = tokio::time::sleep(Duration::from_nanos(nanos)) => End::Server,
            () = ending => End::Shutdown,
        };
        record(&origin, &mut mark, close(end, 0, 0).into());
        let _ = stream.set_zero_linger();
        return end;
    }
    let Some((world, fresh)) = machine.worlds.enter(peer.source.ip(), mark) else {
        let full = kinds::LimitHit {
            limit: "world.logins".into(),
            value: 0,
            scope: "source".into(),
        };
        record(&origin, &mut mark, full.into());
        record(&origin, &mut mark, close(End::Limit, 0, 0).into());
        return End::Limit;
    };
    origin.world = Some(world.id());
    if fresh {
        let (image, cover) = machine.names.clone();
        let start = kinds::WorldStart {
            image,
            cover,
            resumed: false,
        };
        record(&origin, &mut mark, start.into());
    }
    let (out, mut outputs) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicU64::new(0));
    let link = worlds::link(id);
    let open = Open {
        link,
        user: Vec::new(),
        program: Program::Service(SERVICE.to_vec()),
        terminal: None,
        env: Vec::new(),
        peer: peer.source,
        local: SocketAddr::new(peer.local.ip(), PORT),
        method: "none",
        sshd: None,
    };
    let opened = world
        .open(open, origin.clone(), 0, mark, out, waiting.clone())
        .await;
    let conn = match opened {
        Ok(conn) => conn,
        Err(why) => {
            // inetd is gone in this world, or has nothing more to give: nobody listens.
            let refused = kinds::LimitHit {
                limit: format!("world.open: {why}"),
                value: 0,
                scope: "world".into(),
            };
            record(&origin, &mut mark, refused.into());
            record(&origin, &mut mark, close(End::Server, 0, 0).into());
            machine.worlds.leave(&world);
            let _ = stream.set_zero_linger();
            return End::Server;
        }
    };
    let mut s = Session {
        gate: Gate::new(machine.recorder.watermark().clone()),
        telnet,
        peer,
        id,
        origin,
        mark,
        world,
        conn,
        link,
        reader: Reader::new(Side::Client),
        inside: false,
        term: b"network".to_vec(),
        size: None,
        options: Some(Vec::new()),
        variables: BTreeSet::new(),
        waiting,
        unread: 0,
        over: false,
        stopped: false,
        passed: None,
        bytes_in: 0,
        bytes_out: 0,
        recorded: 0,
    };
    let end = s.run(&mut stream, &mut outputs, ending).await;
    s.world.input(s.conn, Input::Close, s.mark);
    machine.refused.ended(link, (machine.clock)(), Ending::Closed);
    s.event(close(end, s.bytes_in, s.bytes_out));
    if !s.inside {
        machine.worlds.leave(&s.world);
    }
    end
}

impl Session {
    fn event(&mut self, kind: impl Into<Kind>) {
        let draft = self.origin.at((self.telnet.machine.clock)(), kind);
        self.submit(Item::Event(Box::new(draft)));
    }

    fn frame(&mut self, direction: Direction, bytes: Vec<u8>) {
        self.recorded = self.recorded.saturating_add(bytes.len() as u64);
        if self.recorded > self.telnet.recording {
            self.pass("recording", self.telnet.recording);
        }
        let time = (self.telnet.machine.clock)();
        self.submit(Item::Frame(Frame {
            session: self.id,
            time,
            channel: 0,
            direction,
            bytes,
        }));
    }

    fn submit(&mut self, item: Item) {
        match self.telnet.machine.recorder.submit(item) {
            Ok(mark) => self.mark = self.mark.max(mark),
            Err(Refused::Full | Refused::Stopped) => self.stopped = true,
            Err(Refused::TooLarge) => {}
        }
    }

    /// Notes a bound of this session that is passed; the first one counts.
    fn pass(&mut self, limit: &'static str, value: u64) {
        let scope = "session";
        self.passed.get_or_insert(Passed { limit, value, scope });
    }

    async fn run(
        &mut self,
        stream: &mut TcpStream,
        outputs: &mut mpsc::UnboundedReceiver<Output>,
        ending: impl Future<Output = ()>,
    ) -> End {
        let (mut read, mut write) = stream.split();
        let mut ending = std::pin::pin!(ending);
        let login_by = Instant::now() + self.telnet.login_time;
        let mut sending = Sending::default();
        let mut buffer = vec![0u8; 16 << 10];
        let mut eof = false;
        loop {
            if self.stopped {
                return End::Error;
            }
            if let Some(Passed { limit, value, scope }) = self.passed {
                self.event(kinds::LimitHit {
                    limit: limit.into(),
                    value,
                    scope: scope.into(),
                });
                return End::Limit;
            }
            if self.over && sending.is_none() && self.gate.is_empty() {
                let _ = write.shutdown().await;
                return if eof { End::Client } else { End::Server };
            }
            let congested = self.gate.waiting_bytes() > WAITING || sending.is_some();
            // More events than its share: what comes next is not read yet.
            let pause = self.telnet.machine.recorder.pace(&self.origin);
            let resume = (!pause.is_zero()).then(|| Instant::now() + pause);
            let reading = !eof && !self.over && resume.is_none() && !congested && self.unread < UNREAD;
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
                output = outputs.recv(), if !congested => match output {
                    Some(output) => self.output(output).await,
                    None => self.over = true,
                },
                got = read.read(&mut buffer), if reading => match got {
                    Ok(0) => {
                        eof = true;
                        self.world.input(self.conn, Input::Eof, self.mark);
                    }
                    Ok(n) => self.input(buffer.get(..n).unwrap_or_default()),
                    Err(_) => return End::Error,
                },
                () = at((!self.inside).then_some(login_by)) => {
                    self.pass("login_time", self.telnet.login_time.as_secs());
                }
                () = at(resume) => {}
            }
        }
    }

    /// Counts bytes that the network took.
    fn sent(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
        if self.bytes_out > self.telnet.bytes_out {
            self.pass("bytes_out.session", self.telnet.bytes_out);
        }
        if let Some(passed) = self.telnet.meter.sent(self.peer.source.ip(), bytes as u64) {
            self.passed.get_or_insert(passed);
        }
    }

    /// Records what the client sent, then hands it to the world.
    fn input(&mut self, bytes: &[u8]) {
        self.bytes_in += bytes.len() as u64;
        if !self.inside && self.bytes_in > BEFORE_LOGIN {
            self.pass("telnet.bytes_before_login", BEFORE_LOGIN);
        }
        for said in self.reader.read(bytes) {
            match said {
                Said::Text(text) => {
                    self.options_told();
                    self.frame(Direction::Input, text);
                }
                Said::Option(verb, option) => {
                    if let Some(all) = self.options.as_mut().filter(|o| o.len() < OPTIONS) {
                        all.push(format!(
                            "{} {}",
                            telnet::verb_name(verb),
                            telnet::option_name(option)
                        ));
                    }
                }
                Said::Sub(telnet::NAWS, sub) => {
                    if let Some(size) = telnet::window(&sub) {
                        self.resized(size);
                    }
                }
                Said::Sub(telnet::TTYPE, sub) => {
                    if let Some(name) = telnet::terminal(&sub) {
                        self.term = name;
                    }
                }
                Said::Sub(telnet::NEW_ENVIRON | telnet::OLD_ENVIRON, sub) => {
                    for (name, value) in telnet::variables(&sub) {
                        if self.variables.len() < VARIABLES && self.variables.insert(name.clone()) {
                            self.event(kinds::ClientOption {
                                name: Bytes(name),
                                value: Bytes(value.unwrap_or_default()),
                                accepted: true,
                            });
                        }
                    }
                }
                Said::Sub(..) | Said::Command(_) => {}
            }
        }
        self.unread += bytes.len();
        self.world
            .input(self.conn, Input::Data(bytes.to_vec()), self.mark);
    }

    /// Records how the client negotiated, once: tools are known by it.
    fn options_told(&mut self) {
        if let Some(all) = self.options.take().filter(|o| !o.is_empty()) {
            self.event(kinds::ClientOption {
                name: Bytes::from("telnet"),
                value: Bytes(all.join(", ").into_bytes()),
                accepted: true,
            });
        }
    }

    fn resized(&mut self, (columns, rows): (u16, u16)) {
        if self.size.replace((columns, rows)) != Some((columns, rows)) {
            let (columns, rows) = (columns.into(), rows.into());
            self.event(kinds::TerminalResize { columns, rows });
            self.frame(Direction::Resize, format!("{columns}x{rows}").into_bytes());
        }
    }

    /// Takes one output of the world.
    async fn output(&mut self, o: Output) {
        self.mark = self.mark.max(o.after);
        match o.what {
            Produced::Data { bytes, .. } => {
                self.waiting.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
                self.gate.push(Chunk {
                    bytes,
                    after: self.mark,
                });
            }
            Produced::Took { bytes, .. } => self.unread = self.unread.saturating_sub(bytes),
            Produced::Secret { user, secret, .. } => {
                let spoil = self.decide(&user, &secret).await;
                self.world.input(self.conn, Input::Answer { spoil }, self.mark);
            }
            Produced::Entered { .. } => {
                self.telnet.machine.refused.let_in(self.link);
                self.inside = true;
                self.options_told();
                let (columns, rows) = self.size.unwrap_or((80, 24));
                self.event(kinds::TerminalOpen {
                    term: Bytes(self.term.clone()),
                    columns: columns.into(),
                    rows: rows.into(),
                    tty: None,
                });
            }
            Produced::Eof { .. } | Produced::Down => self.over = true,
            _ => {}
        }
    }

    /// Records a try, and decides it. True if `login` must not read what was typed, because it would accept it.
    async fn decide(&mut self, user: &[u8], secret: &[u8]) -> bool {
        let machine = self.telnet.machine.clone();
        let now = (machine.clock)().seconds();
        let exists = machine
            .accounts
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .contains(user);
        let (planted, never) = {
            let judge = machine.judge();
            let never = matches!(judge.policy(), Policy::Never);
            (judge.planted_pair(user, secret).cloned(), never)
        };
        let by_policy = never || planted.as_ref().is_some_and(|p| p.opens != Opens::Nothing);
        let accounts = self.world.accounts();
        let account = accounts.get(user);
        let started = machine.worlds.start_accounts().get(user).is_some();
        let by_world = match account {
            _ if by_policy => None,
            // He took it away himself.
            None if started => Some((false, "no-such-user")),
            Some(a) if !a.untouched => {
                let right = a.open(now) && machine.is_password(a, secret).await;
                Some((right, "world"))
            }
            _ => None,
        };
        let (accepted, why, token) = match by_world {
            Some((accepted, why)) => (accepted, why, planted),
            None => {
                let verdict = machine.judge().judge(&Attempt {
                    source: self.peer.source.ip(),
                    user,
                    secret,
                    exists,
                    permitted: true,
                });
                (verdict.accepted && exists, verdict.reason, verdict.token)
            }
        };
        for used in token.iter().flat_map(|p| machine.token_used(p)) {
            self.event(used);
        }
        self.event(kinds::AuthAttempt {
            method: "password".into(),
            user: Bytes(user.to_vec()),
            secret: Some(Bytes(secret.to_vec())),
            secret_hash: None,
            key_type: None,
            fingerprint: None,
            key: None,
            probe: None,
            accepted,
            policy: why.into(),
        });
        if !accepted {
            let who = Who {
                from: self.peer.source,
                link: self.link,
                by: Asked::Login,
                own: Some(self.world.id()),
                user,
                known: exists,
            };
            // login says so when it has waited.
            let told = (machine.clock)().plus_nanos(LOGIN_DELAY as i64 * 1_000);
            machine.refused.note(&who, told);
        }
        if by_world.is_some() {
            return false;
        }
        if accepted {
            machine.give_password(&self.world, user, secret.to_vec()).await;
            return false;
        }
        // What was given to another source of this world, or is the machine's own after all.
        let digest = Sha256(sha2::Sha256::digest(secret).into());
        self.world.has_password(user, digest) || never
    }
}
