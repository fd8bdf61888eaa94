//! Channels: logins in the world, and what is asked for besides.

use super::connection::{Connection, End};
use super::forward::{self, Asked, Leads};
use crate::worlds::{Conn, Input, Open, Output, Produced, Program, Target, Terminal};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use turncoat_event::{Bytes, Direction, Mark, kinds};
use turncoat_ssh::{ChannelEvent, ChannelId};

/// One channel of a connection.
pub(super) struct Channel {
    number: u16,
    pub conn: Option<Conn>,
    terminal: Option<Terminal>,
    env: Vec<(Vec<u8>, Vec<u8>)>,
    pub waiting: Arc<AtomicU64>,
    /// The client takes no more output.
    deaf: bool,
    /// What runs is a subsystem.
    subsystem: bool,
    /// Where it leads, if the client asked for a connection.
    pub leads: Option<Leads>,
    /// World output that the client's window has no room for yet, and ends, in order.
    queue: VecDeque<(Mark, Out)>,
}

impl Channel {
    pub fn new(number: u16) -> Channel {
        Channel {
            number,
            conn: None,
            terminal: None,
            env: vec![],
            waiting: Arc::default(),
            deaf: false,
            subsystem: false,
            leads: None,
            queue: VecDeque::new(),
        }
    }
}

enum Out {
    Data { stderr: bool, bytes: Vec<u8> },
    Eof,
    Exit(u32),
    Killed { signal: String, core: bool },
}

/// Variables that one channel may set.
const MAX_ENV: usize = 128;

impl Connection {
    pub(super) async fn channel(&mut self, id: ChannelId, event: ChannelEvent) {
        let now = self.now();
        match event {
            ChannelEvent::Session => {
                let number = self.number();
                self.channels.insert(id, Channel::new(number));
            }
            ChannelEvent::Pty(p) => {
                let t = Terminal {
                    term: p.term,
                    columns: p.size.cols,
                    rows: p.size.rows,
                    pixels: (p.size.width, p.size.height),
                    modes: p.modes,
                };
                let ok = self.key_options.pty
                    && self.channels.get_mut(&id).map(|c| c.terminal = Some(t)).is_some();
                self.server.request_reply(now, id, ok);
            }
            ChannelEvent::Env { name, value } => {
                self.event(kinds::ClientOption {
                    name: Bytes(name.clone()),
                    value: Bytes(value.clone()),
                    accepted: true,
                });
                if let Some(c) = self.channels.get_mut(&id)
                    && c.env.len() < MAX_ENV
                {
                    c.env.push((name, value));
                }
            }
            ChannelEvent::Shell => self.start(id, Program::Shell).await,
            ChannelEvent::Exec { command } => {
                self.event(kinds::CommandExec {
                    command: Bytes(command.clone()),
                });
                self.start(id, Program::Command(command)).await;
            }
            ChannelEvent::Subsystem { name } => {
                self.event(kinds::SubsystemRequest {
                    name: Bytes(name.clone()),
                    accepted: true,
                });
                if let Some(c) = self.channels.get_mut(&id) {
                    c.subsystem = true;
                }
                self.start(id, Program::Subsystem(name)).await;
            }
            ChannelEvent::WindowChange(s) => {
                self.event(kinds::TerminalResize {
                    columns: s.cols,
                    rows: s.rows,
                });
                if self.login(id).is_none()
                    && let Some(t) = self.channels.get_mut(&id).and_then(|c| c.terminal.as_mut())
                {
                    // The program will find it so.
                    (t.columns, t.rows, t.pixels) = (s.cols, s.rows, (s.width, s.height));
                }
                if let Some((number, conn)) = self.login(id) {
                    self.frame(
                        number,
                        Direction::Resize,
                        format!("{}x{}", s.cols, s.rows).as_bytes(),
                    );
                    self.input(conn, Input::Resize(s.cols, s.rows, (s.width, s.height)));
                }
            }
            ChannelEvent::Signal { name } => {
                let login = self.login(id).filter(|_| self.may_signal(id));
                if let Some((_, conn)) = login {
                    self.input(conn, Input::Signal(name));
                }
                self.server.request_reply(now, id, login.is_some());
            }
            // tcsendbreak succeeds at a pseudoterminal, and does nothing; before there is a program the request is refused.
            ChannelEvent::Break { .. } => {
                let ok = self.login(id).is_some() && self.has_terminal(id);
                self.server.request_reply(now, id, ok);
            }
            ChannelEvent::Data(bytes) => match self.login(id) {
                Some((number, conn)) => {
                    self.forwarded(id, &bytes);
                    self.frame(number, Direction::Input, &bytes);
                    self.input(conn, Input::Data(bytes));
                }
                None => {
                    self.forwarded(id, &bytes);
                    let number = self
                        .channels
                        .get(&id)
                        .filter(|c| c.leads.as_ref().is_some_and(|l| l.sink));
                    if let Some(number) = number.map(|c| c.number) {
                        self.frame(number, Direction::Input, &bytes);
                    }
                    self.server.consumed(id, bytes.len());
                }
            },
            ChannelEvent::Eof => {
                if let Some((_, conn)) = self.login(id) {
                    self.input(conn, Input::Eof);
                }
            }
            ChannelEvent::Closed => {
                if let Some((_, conn)) = self.login(id) {
                    self.input(conn, Input::Close);
                    self.by_conn.remove(&conn);
                }
                self.channels.remove(&id);
            }
            ChannelEvent::DirectTcp(d) => {
                let port = u16::try_from(d.port).unwrap_or(0);
                let asked = Asked {
                    request: "direct-tcpip",
                    target: Target::Tcp(d.host, port),
                    origin: Some((d.origin_host, d.origin_port)),
                };
                self.connect(id, asked).await;
            }
            ChannelEvent::DirectStreamLocal { path } => {
                let asked = Asked {
                    request: "direct-streamlocal",
                    target: Target::Local(path),
                    origin: None,
                };
                self.connect(id, asked).await;
            }
            ChannelEvent::Agent => {
                let accepted = self.offer_agent().await;
                self.event(kinds::ProtocolRequest {
                    name: Bytes::from("auth-agent-req@openssh.com"),
                    accepted,
                    content: None,
                });
                self.server.request_reply(now, id, accepted);
            }
            ChannelEvent::X11(x) => {
                self.event(kinds::ProtocolRequest {
                    name: Bytes::from("x11-req"),
                    accepted: false,
                    content: Some(Bytes(x.protocol)),
                });
                // session_setup_x11fwd in session.c; a Debian server has no xauth.
                self.server.debug_message(if self.key_options.x11 {
                    "No xauth program; cannot forward X11."
                } else {
                    "X11 forwarding disabled by key options."
                });
                self.server.request_reply(now, id, false);
            }
            ChannelEvent::Hangup => self.hung_up(id),
            ChannelEvent::OpenFailed { .. } => {
                if let Some((_, conn)) = self.login(id) {
                    self.input(conn, Input::Close);
                    self.by_conn.remove(&conn);
                }
                self.channels.remove(&id);
            }
            ChannelEvent::Opened | ChannelEvent::OutputClosed => {}
        }
    }

    /// The client closed the channel while the program runs: its terminal hangs up, or its input ends and its output goes nowhere.
    /// The channel is closed when it has ended (session_close_by_channel in session.c).
    fn hung_up(&mut self, id: ChannelId) {
        let Some((_, conn)) = self.login(id) else { return };
        let Some(c) = self.channels.get_mut(&id) else {
            return;
        };
        c.deaf = true;
        let input = if c.leads.is_some() {
            Input::Eof
        } else {
            Input::Hangup
        };
        self.input(conn, input);
    }

    fn has_terminal(&self, id: ChannelId) -> bool {
        self.channels.get(&id).is_some_and(|c| c.terminal.is_some())
    }

    /// Whether a client's signal is delivered (session_signal_req in session.c): to no subsystem, to no command that the key forced, and
    /// to nothing of root's, whose sshd has no second process to do it.
    fn may_signal(&self, id: ChannelId) -> bool {
        let plain = self.channels.get(&id).is_some_and(|c| !c.subsystem);
        let root = self.world.as_ref().is_none_or(|w| {
            let accounts = w.accounts();
            accounts.get(&self.user).is_none_or(|a| a.uid == 0)
        });
        plain && !root && self.key_options.command.is_none()
    }

    /// The number under which the next channel is recorded.
    pub(super) fn number(&mut self) -> u16 {
        let number = self.next_channel;
        self.next_channel = self.next_channel.wrapping_add(1) & 0x7fff;
        number
    }

    fn login(&self, id: ChannelId) -> Option<(u16, Conn)> {
        let c = self.channels.get(&id)?;
        Some((c.number, c.conn?))
    }

    pub(super) fn input(&self, conn: Conn, input: Input) {
        if let Some(w) = &self.world {
            w.input(conn, input, self.mark);
        }
    }

    /// Starts a program on a channel and answers the request.
    async fn start(&mut self, id: ChannelId, program: Program) {
        let started = self.try_start(id, program).await;
        let now = self.now();
        self.server.request_reply(now, id, started);
    }

    async fn try_start(&mut self, id: ChannelId, program: Program) -> bool {
        let Some(world) = self.world.clone() else {
            return false;
        };
        let Some(c) = self.channels.get(&id) else {
            return false;
        };
        if c.conn.is_some() {
            return false;
        }
        let (number, waiting) = (c.number, c.waiting.clone());
        let mut env = c.env.clone();
        // What the server itself adds; a key's command takes the place of what was asked for (do_exec in session.c).
        let mut program = program;
        if let Some(forced) = &self.key_options.command {
            let asked = std::mem::replace(&mut program, Program::Command(forced.clone()));
            if let Program::Command(c) | Program::Subsystem(c) = asked {
                env.push((b"SSH_ORIGINAL_COMMAND".to_vec(), c));
            }
        }
        if let Some(path) = &self.agent {
            env.push((b"SSH_AUTH_SOCK".to_vec(), path.clone()));
        }
        let from = self.inside.as_ref().map_or(self.peer.source, |i| i.from);
        // The cover's sshd listens at port 22, whichever port of the host leads to it.
        let local = std::net::SocketAddr::new(self.peer.local.ip(), 22);
        let open = Open {
            link: self.link_id(),
            user: self.user.clone(),
            program,
            terminal: c.terminal.clone(),
            env,
            peer: from,
            local,
            method: self.method,
            sshd: self.sshd,
        };
        if let Some(t) = &open.terminal {
            let (term, columns, rows) = (Bytes(t.term.clone()), t.columns, t.rows);
            self.event(kinds::TerminalOpen {
                term,
                columns,
                rows,
                tty: None,
            });
            self.frame(number, Direction::Resize, format!("{columns}x{rows}").as_bytes());
        }
        match world
            .open(
                open,
                self.origin.clone(),
                number,
                self.mark,
                self.outputs.0.clone(),
                waiting,
            )
            .await
        {
            Ok(conn) => {
                self.by_conn.insert(conn, id);
                if let Some(c) = self.channels.get_mut(&id) {
                    c.conn = Some(conn);
                }
                true
            }
            Err(why) => {
                self.event(kinds::LimitHit {
                    limit: format!("world.open: {why}"),
                    value: 0,
                    scope: "world".into(),
                });
                false
            }
        }
    }

    /// Takes one output of the world.
    pub(super) fn output(&mut self, o: Output) {
        let (conn, out) = match o.what {
            Produced::Data { conn, stderr, bytes } => (conn, Out::Data { stderr, bytes }),
            Produced::Eof { conn } => (conn, Out::Eof),
            Produced::Exit { conn, status } => (conn, Out::Exit(status)),
            Produced::Killed { conn, signal, core } => (conn, Out::Killed { signal, core }),
            Produced::Took { conn, bytes } => {
                if let Some(id) = self.by_conn.get(&conn) {
                    self.mark = self.mark.max(o.after);
                    self.server.consumed(*id, bytes);
                }
                return;
            }
            Produced::Down => {
                self.end = Some(End::Server);
                return;
            }
            Produced::Inbound { .. } => {
                if let Some((conn, door, from, waiting)) = forward::arrival(&o) {
                    self.mark = self.mark.max(o.after);
                    self.inbound(conn, door, from, waiting);
                }
                return;
            }
            Produced::Event { .. }
            | Produced::Artifact { .. }
            | Produced::Secret { .. }
            | Produced::Entered { .. } => return,
        };
        if let Some(c) = self.by_conn.get(&conn).and_then(|id| self.channels.get_mut(id)) {
            c.queue.push_back((o.after, out));
        }
    }

    /// Moves world output into channels as far as the client's windows allow.
    pub(super) fn pump(&mut self) {
        for (id, c) in &mut self.channels {
            let mut full = false;
            while let Some((after, out)) = c.queue.front_mut() {
                self.mark = self.mark.max(*after);
                match out {
                    Out::Data { bytes, .. } if c.deaf => {
                        c.waiting.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
                    }
                    Out::Data { stderr, bytes } => {
                        let n = self.server.sendable(*id).min(bytes.len());
                        if n == 0 {
                            full = true;
                            break;
                        }
                        let rest = bytes.split_off(n);
                        if *stderr {
                            self.server.channel_ext_data(*id, bytes);
                        } else {
                            self.server.channel_data(*id, bytes);
                        }
                        c.waiting.fetch_sub(n as u64, Ordering::Relaxed);
                        *bytes = rest;
                        if !bytes.is_empty() {
                            continue;
                        }
                    }
                    Out::Eof => self.server.channel_eof(*id),
                    Out::Exit(status) => self.server.channel_exit_status(*id, *status),
                    Out::Killed { signal, core } => self.server.channel_exit_signal(*id, signal, *core),
                }
                c.queue.pop_front();
            }
            // sshd tells a program's end at once, though output may wait for the window to open.
            let end = |q: &(Mark, Out)| matches!(q.1, Out::Exit(_) | Out::Killed { .. });
            if full
                && let Some(at) = c.queue.iter().position(end)
                && let Some((after, out)) = c.queue.remove(at)
            {
                self.mark = self.mark.max(after);
                match out {
                    Out::Exit(status) => self.server.channel_exit_status(*id, status),
                    Out::Killed { signal, core } => self.server.channel_exit_signal(*id, &signal, core),
                    Out::Data { .. } | Out::Eof => {}
                }
            }
        }
    }

    /// The client is gone: hangs up every login.
    pub(super) fn hang_up(&mut self) {
        for c in self.channels.values() {
            if let Some(conn) = c.conn {
                self.input(conn, Input::Close);
            }
        }
        self.channels.clear();
    }
}
