//! Forwarding: to services of the world it goes inside the world, a port or agent that the client offers is offered inside. Nothing
//! is ever connected outward; what would leave is answered as the machine's network would, and its first bytes are on record.

use super::Forward;
use super::channels::Channel;
use super::connection::Connection;
use crate::worlds::{Conn, Door, Input, NotConnected, Output, Target};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::time::Instant;
use turncoat_event::{Bytes, kinds};
use turncoat_ssh::{ChannelId, GlobalEvent, GlobalReply};

/// Bytes of a forwarding that its event carries.
const FIRST_BYTES: usize = 4_096;
/// Seven packets, the first six 1, 2, 4 … seconds apart (tcp_syn_retries).
const TIMEOUT: Duration = Duration::from_secs(131);
/// As far away as the rest of the world outside.
const ROUND_TRIP: Duration = Duration::from_millis(40);
/// Requests whose answer has not come yet.
const MOST_WAITING: usize = 64;

/// Where a forwarded channel leads, for its events.
pub(super) struct Leads {
    host: Vec<u8>,
    port: u32,
    said: bool,
    /// It leads outside, where a stand-in takes what is sent and says nothing.
    pub sink: bool,
}

/// Something that listens inside for this connection.
pub(super) struct Offer {
    /// Its number in the world.
    id: u32,
    kind: Offered,
}

enum Offered {
    Port { address: Vec<u8>, asked: u32, port: u16 },
    Path(Vec<u8>),
    Agent,
}

/// What a request for a channel asked for.
pub(super) struct Asked {
    pub request: &'static str,
    pub target: Target,
    pub origin: Option<(Vec<u8>, u32)>,
}

impl Connection {
    fn request(&mut self, asked: &Asked, accepted: bool) {
        let (host, port) = match &asked.target {
            Target::Tcp(host, port) => (host.clone(), u32::from(*port)),
            Target::Local(path) => (path.clone(), 0),
        };
        self.event(kinds::ForwardRequest {
            request: asked.request.into(),
            host: Bytes(host),
            port,
            origin_host: asked.origin.as_ref().map(|o| Bytes(o.0.clone())),
            origin_port: asked.origin.as_ref().map(|o| o.1),
            accepted,
        });
    }

    /// The client wants a connection made.
    pub(super) async fn connect(&mut self, id: ChannelId, asked: Asked) {
        let (host, port) = match &asked.target {
            Target::Tcp(h, p) => (h.clone(), u32::from(*p)),
            Target::Local(p) => (p.clone(), 0),
        };
        let permitted = match &asked.target {
            Target::Tcp(..) => self.key_options.may_open(&host, port),
            Target::Local(_) => self.key_options.ports && self.key_options.permit_open.is_empty(),
        };
        let Some(world) = self.world.clone().filter(|_| permitted) else {
            self.request(&asked, false);
            // SSH_OPEN_ADMINISTRATIVELY_PROHIBITED.
            return self.server.open_fail(id, 1, "open failed");
        };
        let number = self.number();
        let mut channel = Channel::new(number);
        let waiting = channel.waiting.clone();
        let made = world
            .connect(
                asked.target.clone(),
                self.user.clone(),
                self.origin.clone(),
                number,
                self.mark,
                self.outputs.0.clone(),
                waiting,
            )
            .await;
        let outside = made == Err(NotConnected::Outside);
        let sink = outside && self.ssh.forward == Forward::Sink;
        self.request(&asked, made.is_ok() || sink);
        let leads = Leads {
            host,
            port,
            said: false,
            sink,
        };
        let now = Instant::now();
        match made {
            Ok(conn) => {
                self.by_conn.insert(conn, id);
                channel.conn = Some(conn);
                channel.leads = Some(leads);
                self.channels.insert(id, channel);
                self.server.open_confirm(id);
            }
            Err(NotConnected::Refused(text)) => self.server.open_fail(id, 2, text),
            Err(NotConnected::Down) => self.server.open_fail(id, 2, "open failed"),
            Err(NotConnected::Outside) if self.openings.len() >= MOST_WAITING => {
                self.server.open_fail(id, 2, "open failed");
            }
            Err(NotConnected::Outside) => {
                let (after, text) = match self.ssh.forward {
                    Forward::Refused => (ROUND_TRIP, Some("Connection refused")),
                    Forward::Unreachable => (ROUND_TRIP / 8, Some("No route to host")),
                    Forward::Timeout => (TIMEOUT, Some("Connection timed out")),
                    Forward::Sink => (ROUND_TRIP, None),
                };
                channel.leads = Some(leads);
                self.channels.insert(id, channel);
                self.openings.push((now + after, id, text));
            }
        }
    }

    /// When the next answer to a request is due.
    pub(super) fn next_opening(&self) -> Option<Instant> {
        self.openings.iter().map(|o| o.0).min()
    }

    /// Answers requests whose time has come.
    pub(super) fn answer_openings(&mut self) {
        let now = Instant::now();
        let due: Vec<_> = self.openings.extract_if(.., |o| o.0 <= now).collect();
        for (_, id, text) in due {
            match text {
                // RFC 4254 section 5.1: SSH_OPEN_CONNECT_FAILED.
                Some(text) => {
                    self.channels.remove(&id);
                    self.server.open_fail(id, 2, text);
                }
                None => self.server.open_confirm(id),
            }
        }
    }

    /// The first bytes that go through a forwarding.
    pub(super) fn forwarded(&mut self, id: ChannelId, bytes: &[u8]) {
        let Some(leads) = self.channels.get_mut(&id).and_then(|c| c.leads.as_mut()) else {
            return;
        };
        if std::mem::replace(&mut leads.said, true) {
            return;
        }
        let (host, port) = (Bytes(leads.host.clone()), leads.port);
        let first = bytes.get(..bytes.len().min(FIRST_BYTES)).unwrap_or_default();
        let bytes = Bytes(first.to_vec());
        self.event(kinds::ForwardBytes { host, port, bytes });
    }

    /// The client offers a port or a path, or takes it back.
    pub(super) async fn global(&mut self, g: GlobalEvent) {
        let (request, host, port) = match &g {
            GlobalEvent::Listen { address, port } => ("tcpip-forward", address, *port),
            GlobalEvent::CancelListen { address, port } => ("cancel-tcpip-forward", address, *port),
            GlobalEvent::ListenLocal { path } => ("streamlocal-forward", path, 0),
            GlobalEvent::CancelListenLocal { path } => ("cancel-streamlocal-forward", path, 0),
        };
        let (request, host) = (request.to_owned(), host.clone());
        let done = match g {
            GlobalEvent::Listen { address, port } => self.offer_port(address, port).await,
            GlobalEvent::ListenLocal { path } => {
                let door = Door::Path(path.clone());
                self.offer(door, |_| Offered::Path(path)).await.map(|_| 0)
            }
            GlobalEvent::CancelListen { address, port } => self.take_back(
                |o| matches!(o, Offered::Port { address: a, asked, port: p } if *a == address && (*asked == port || u32::from(*p) == port)),
            ),
            GlobalEvent::CancelListenLocal { path } => {
                self.take_back(|o| matches!(o, Offered::Path(p) if *p == path))
            }
        };
        self.event(kinds::ForwardRequest {
            request,
            host: Bytes(host),
            port,
            origin_host: None,
            origin_port: None,
            accepted: done.is_some(),
        });
        let now = self.now();
        let reply = done.map_or(GlobalReply::Failed, |port| GlobalReply::Done(port.into()));
        self.server.global_reply(now, reply);
    }

    async fn offer_port(&mut self, address: Vec<u8>, asked: u32) -> Option<u16> {
        let root = self.world.as_ref().is_some_and(|w| {
            let accounts = w.accounts();
            accounts.get(&self.user).is_some_and(|a| a.uid == 0)
        });
        let port = u16::try_from(asked).ok();
        // bind_permitted in misc.c: ports below 1024 are root's.
        let permitted = self.key_options.ports && port.is_some_and(|p| p == 0 || p >= 1024 || root);
        if !permitted {
            self.server.debug_message("Server has disabled port forwarding.");
            return None;
        }
        let door = Door::Port(port.unwrap_or(0));
        self.offer(door, |port| Offered::Port { address, asked, port })
            .await
    }

    async fn offer(&mut self, door: Door, kind: impl FnOnce(u16) -> Offered) -> Option<u16> {
        if !self.key_options.ports && !matches!(door, Door::Agent) {
            return None;
        }
        let world = self.world.clone()?;
        let opened = world
            .listen(
                door,
                self.user.clone(),
                self.origin.clone(),
                self.mark,
                self.outputs.0.clone(),
            )
            .await?;
        let kind = kind(opened.port);
        if matches!(kind, Offered::Agent) {
            self.agent = Some(opened.path);
        }
        self.offers.push(Offer { id: opened.id, kind });
        Some(opened.port)
    }

    /// Agent forwarding: a socket inside, whose name the programs of this connection get.
    pub(super) async fn offer_agent(&mut self) -> bool {
        self.key_options.agent && self.offer(Door::Agent, |_| Offered::Agent).await.is_some()
    }

    fn take_back(&mut self, which: impl Fn(&Offered) -> bool) -> Option<u16> {
        let at = self.offers.iter().position(|o| which(&o.kind))?;
        let offer = self.offers.remove(at);
        if let Some(w) = &self.world {
            w.unlisten(offer.id);
        }
        Some(0)
    }

    /// The connection is over: nothing of it listens any more.
    pub(super) fn take_all_back(&mut self) {
        for o in self.offers.drain(..) {
            if let Some(w) = &self.world {
                w.unlisten(o.id);
            }
        }
    }

    /// A program connected to something that the client offers.
    pub(super) fn inbound(&mut self, conn: Conn, door: u32, from: SocketAddr, waiting: Arc<AtomicU64>) {
        let offer = self.offers.iter().find(|o| o.id == door);
        let origin = from.ip().to_string();
        let id = match offer.map(|o| &o.kind) {
            Some(Offered::Port { address, port, .. }) => {
                let address = String::from_utf8_lossy(address).into_owned();
                self.server
                    .open_forwarded_tcp(&address, *port, &origin, from.port())
            }
            Some(Offered::Path(path)) => {
                let path = String::from_utf8_lossy(path).into_owned();
                self.server.open_forwarded_local(&path)
            }
            Some(Offered::Agent) => self.server.open_agent(),
            None => None,
        };
        match id {
            Some(id) => {
                let mut channel = Channel::new(crate::worlds::inbound_channel(conn));
                channel.conn = Some(conn);
                channel.waiting = waiting;
                self.by_conn.insert(conn, id);
                self.channels.insert(id, channel);
            }
            None => self.input(conn, Input::Close),
        }
    }
}

/// An output that is a new connection, taken apart.
pub(super) fn arrival(o: &Output) -> Option<(Conn, u32, SocketAddr, Arc<AtomicU64>)> {
    match (&o.what, &o.waiting) {
        (
            crate::worlds::Produced::Inbound {
                conn,
                door: Some(door),
                from,
                ..
            },
            Some(waiting),
        ) => Some((*conn, *door, *from, waiting.clone())),
        _ => None,
    }
}
