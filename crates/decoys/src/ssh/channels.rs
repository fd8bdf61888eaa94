//! Channels: logins in the world, and what is asked for besides.

use super::Forward;
use super::connection::{Connection, End};
use crate::worlds::{Conn, Input, Open, Output, Produced, Program, Terminal};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use turncoat_event::{Bytes, Direction, Mark, kinds};
use turncoat_ssh::{ChannelEvent, ChannelId, GlobalEvent, GlobalReply};

/// One channel of a connection.
pub(super) struct Channel {
    number: u16,
    conn: Option<Conn>,
    terminal: Option<Terminal>,
    env: Vec<(Vec<u8>, Vec<u8>)>,
    waiting: Arc<AtomicU64>,
    /// World output that the client's window has no room for yet, and ends, in order.
    queue: VecDeque<(Mark, Out)>,
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
                let number = self.next_channel;
                self.next_channel = self.next_channel.wrapping_add(1);
                let c = Channel {
                    number,
                    conn: None,
                    terminal: None,
                    env: vec![],
                    waiting: Arc::default(),
                    queue: VecDeque::new(),
                };
                self.channels.insert(id, c);
            }
            ChannelEvent::Pty(p) => {
                let t = Terminal {
                    term: p.term,
                    columns: p.size.cols,
                    rows: p.size.rows,
                    pixels: (p.size.width, p.size.height),
                    modes: p.modes,
                };
                let ok = self.channels.get_mut(&id).map(|c| c.terminal = Some(t)).is_some();
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
                self.start(id, Program::Subsystem(name)).await;
            }
            ChannelEvent::WindowChange(s) => {
                self.event(kinds::TerminalResize {
                    columns: s.cols,
                    rows: s.rows,
                });
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
                let login = self.login(id);
                if let Some((_, conn)) = login {
                    self.input(conn, Input::Signal(name));
                }
                self.server.request_reply(now, id, login.is_some());
            }
            ChannelEvent::Break { .. } => self.server.request_reply(now, id, false),
            ChannelEvent::Data(bytes) => match self.login(id) {
                Some((number, conn)) => {
                    self.frame(number, Direction::Input, &bytes);
                    self.input(conn, Input::Data(bytes));
                }
                None => self.server.consumed(id, bytes.len()),
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
                self.event(kinds::ForwardRequest {
                    request: "direct-tcpip".into(),
                    host: Bytes(d.host),
                    port: d.port,
                    origin_host: Some(Bytes(d.origin_host)),
                    origin_port: Some(d.origin_port),
                    accepted: false,
                });
                let text = match self.ssh.forward {
                    Forward::Refused => "Connection refused",
                    Forward::Timeout => "Connection timed out",
                    Forward::Unreachable => "Network is unreachable",
                };
                // RFC 4254 section 5.1: SSH_OPEN_CONNECT_FAILED.
                self.server.open_fail(id, 2, text);
            }
            ChannelEvent::DirectStreamLocal { path } => {
                self.event(kinds::ForwardRequest {
                    request: "direct-streamlocal".into(),
                    host: Bytes(path),
                    port: 0,
                    origin_host: None,
                    origin_port: None,
                    accepted: false,
                });
                self.server.open_fail(id, 2, "Connection refused");
            }
            ChannelEvent::Agent => {
                self.event(kinds::ProtocolRequest {
                    name: Bytes::from("auth-agent-req@openssh.com"),
                    accepted: false,
                    content: None,
                });
                self.server.request_reply(now, id, false);
            }
            ChannelEvent::X11(x) => {
                self.event(kinds::ProtocolRequest {
                    name: Bytes::from("x11-req"),
                    accepted: false,
                    content: Some(Bytes(x.protocol)),
                });
                self.server.request_reply(now, id, false);
            }
            // The client closed the channel while the program runs: its terminal hangs up.
            ChannelEvent::Hangup => {
                if let Some((_, conn)) = self.login(id) {
                    self.input(conn, Input::Close);
                }
            }
            ChannelEvent::Opened | ChannelEvent::OpenFailed { .. } | ChannelEvent::OutputClosed => {}
        }
    }

    pub(super) fn global(&mut self, g: GlobalEvent) {
        let (request, host, port) = match g {
            GlobalEvent::Listen { address, port } => ("tcpip-forward", address, port),
            GlobalEvent::CancelListen { address, port } => ("cancel-tcpip-forward", address, port),
            GlobalEvent::ListenLocal { path } => ("streamlocal-forward", path, 0),
            GlobalEvent::CancelListenLocal { path } => ("cancel-streamlocal-forward", path, 0),
        };
        self.event(kinds::ForwardRequest {
            request: request.into(),
            host: Bytes(host),
            port,
            origin_host: None,
            origin_port: None,
            accepted: false,
        });
        let now = self.now();
        self.server.global_reply(now, GlobalReply::Failed);
    }

    fn login(&self, id: ChannelId) -> Option<(u16, Conn)> {
        let c = self.channels.get(&id)?;
        Some((c.number, c.conn?))
    }

    fn input(&self, conn: Conn, input: Input) {
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
        let open = Open {
            link: self
                .session
                .0
                .iter()
                .fold(0u64, |a, b| a.rotate_left(8) ^ u64::from(*b)),
            user: self.user.clone(),
            program,
            terminal: c.terminal.clone(),
            env: c.env.clone(),
            peer: self.peer.source,
            local: self.peer.local,
            method: self.method,
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
            Produced::Event { .. } | Produced::Artifact { .. } => return,
        };
        if let Some(c) = self.by_conn.get(&conn).and_then(|id| self.channels.get_mut(id)) {
            c.queue.push_back((o.after, out));
        }
    }

    /// Moves world output into channels as far as the client's windows allow.
    pub(super) fn pump(&mut self) {
        for (id, c) in &mut self.channels {
            while let Some((after, out)) = c.queue.front_mut() {
                self.mark = self.mark.max(*after);
                match out {
                    Out::Data { stderr, bytes } => {
                        let n = self.server.sendable(*id).min(bytes.len());
                        if n == 0 {
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
