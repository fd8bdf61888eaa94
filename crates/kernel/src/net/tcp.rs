//! Streams of AF_INET and AF_INET6, and the local addresses of both families' sockets.
//!
//! There are no packets: two sockets of a connection know each other and bytes go from one's send into the other's queue. States,
//! errors and what is left behind (FIN_WAIT2, TIME_WAIT) are those that the packets would have led to.

use super::outside::{HostId, SinkId};
use super::{Body, Caller, Net, NetEffect, Outgoing, Received, SockId, Socket, Timer};
use crate::abi::net::*;
use crate::{Errno, KResult};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use turncoat_freeze::Freeze;

/// Bytes that wait for a reader before the writer has to.
pub(super) const WINDOW: usize = 256 << 10;
/// How long TIME_WAIT and an orphaned FIN_WAIT2 last, in nanoseconds.
pub(super) const LEFT_BEHIND: u64 = 60_000_000_000;
/// Connections left behind that are remembered (`net.ipv4.tcp_max_tw_buckets` of a small machine).
pub(super) const LEFT_BEHIND_MAX: usize = 8192;

/// States as `/proc/net/tcp` numbers them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord, Freeze)]
#[allow(missing_docs)]
pub enum State {
    Established = 1,
    SynSent = 2,
    SynRecv = 3,
    FinWait1 = 4,
    FinWait2 = 5,
    TimeWait = 6,
    #[default]
    Close = 7,
    CloseWait = 8,
    LastAck = 9,
    Listen = 10,
    Closing = 11,
}

/// Who is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Freeze)]
pub enum Peer {
    /// Nobody (any more).
    #[default]
    Nobody,
    /// A socket of this world.
    Socket(u32),
    /// The host.
    Host(HostId),
    /// The stand-in peer.
    Sink(SinkId),
    /// The stage's name server.
    Resolver,
}

/// The socket's own idea of its connection (`sock->state`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Freeze)]
pub(super) enum Phase {
    #[default]
    Unconnected,
    /// `connect` was called and did not report its outcome yet.
    Connecting,
    Connected,
    /// It was shut down before the outcome was reported.
    Disconnecting,
}

/// The state of a TCP socket.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Freeze)]
pub struct Tcp {
    /// Where the connection stands.
    pub state: State,
    /// Local address (`None`: any) and port (0: not bound).
    pub local: (Option<IpAddr>, u16),
    /// The peer's address and port.
    pub remote: (Option<IpAddr>, u16),
    pub(super) peer: Peer,
    pub(super) recv: VecDeque<u8>,
    /// The peer will send no more.
    pub(super) fin: bool,
    pub(super) backlog: Option<u32>,
    pub(super) accept: VecDeque<u32>,
    /// How far `connect` has come, apart from the connection itself.
    pub(super) phase: Phase,
    /// `bind` chose the local address, and the port.
    pub(super) chosen: (bool, bool),
    /// The connection is over and the port given up; `local` still shows it.
    pub(super) released: bool,
    /// One urgent byte, and how many bytes stand before it.
    urgent: Option<(u8, usize)>,
    /// Bytes received and sent in all.
    pub(super) moved: (u64, u64),
    pub(super) since: u64,
    /// Connections to this listener are the host's to serve.
    pub(super) for_host: bool,
}

impl Default for Tcp {
    fn default() -> Self {
        Tcp {
            state: State::Close,
            local: (None, 0),
            remote: (None, 0),
            peer: Peer::Nobody,
            recv: VecDeque::new(),
            fin: false,
            backlog: None,
            accept: VecDeque::new(),
            phase: Phase::Unconnected,
            chosen: (false, false),
            released: false,
            urgent: None,
            moved: (0, 0),
            since: 0,
            for_host: false,
        }
    }
}

impl Tcp {
    pub(super) fn has_peer(&self) -> bool {
        !matches!(self.state, State::Close | State::Listen | State::SynSent)
    }

    /// The connection stays on the machine.
    pub(super) fn loops(&self) -> bool {
        matches!(self.peer, Peer::Socket(_))
    }

    /// Bytes waiting to be read.
    pub fn unread(&self) -> usize {
        self.recv.len()
    }

    /// Connections waiting to be accepted, and the most there may be.
    pub fn waiting(&self) -> (usize, u32) {
        (self.accept.len(), self.backlog.unwrap_or(0))
    }
}

/// A connection whose socket is gone and whose port is not yet free.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Freeze)]
pub struct TimeWait {
    /// TIME_WAIT or FIN_WAIT2.
    pub state: State,
    /// Local address and port.
    pub local: (IpAddr, u16),
    /// The peer's.
    pub remote: (IpAddr, u16),
    /// Shown among IPv6 connections.
    pub v6: bool,
    /// When it is forgotten.
    pub until: u64,
}

impl Net {
    pub(super) fn tcp(&self, id: u32) -> KResult<&Tcp> {
        match &self.sock(id)?.body {
            Body::Tcp(t) => Ok(t),
            _ => Err(Errno::EBADF),
        }
    }

    pub(super) fn tcp_mut(&mut self, id: u32) -> KResult<&mut Tcp> {
        match &mut self.sock_mut(id)?.body {
            Body::Tcp(t) => Ok(t),
            _ => Err(Errno::EBADF),
        }
    }

    // ---- listening and connecting

    pub(super) fn tcp_listen(&mut self, id: u32, who: &Caller, backlog: u32) -> KResult<()> {
        let t = self.tcp(id)?;
        match t.state {
            State::Listen => {
                self.tcp_mut(id)?.backlog = Some(backlog);
                return Ok(());
            }
            State::Close if t.phase == Phase::Unconnected => {}
            _ => return Err(Errno::EINVAL),
        }
        let (ip, mut port) = t.local;
        if port == 0 {
            port = self.free_port(id, ip, 1)?;
            self.set_local(id, (ip, port));
        }
        let other = self
            .ports
            .get(&(IPPROTO_TCP, port))
            .into_iter()
            .flatten()
            .any(|o| {
                *o != id
                    && self
                        .tcp(*o)
                        .is_ok_and(|t| t.state == State::Listen && (t.local.0 == ip))
                    && self
                        .sock(*o)
                        .is_ok_and(|o| Some(o.family) == self.sock(id).ok().map(|s| s.family))
                    && !(self.sock(*o).is_ok_and(|o| o.opts.on(SOL_SOCKET, SO_REUSEPORT))
                        && self.sock(id).is_ok_and(|o| o.opts.on(SOL_SOCKET, SO_REUSEPORT)))
            });
        if other {
            return Err(Errno::EADDRINUSE);
        }
        let t = self.tcp_mut(id)?;
        t.state = State::Listen;
        t.backlog = Some(backlog);
        let ip = ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        self.effect(NetEffect::Listening {
            sock: SockId(id),
            pid: who.pid,
            ip,
            port,
            udp: false,
        });
        Ok(())
    }

    /// The listener that a connection to this address reaches.
    pub(super) fn tcp_listener(&self, ip: IpAddr, port: u16) -> Option<u32> {
        let fit = |id: &&u32| {
            let (Some(s), Ok(t)) = (self.socks.get(**id), self.tcp(**id)) else {
                return None;
            };
            if t.state != State::Listen {
                return None;
            }
            match t.local.0 {
                Some(own) => (own == ip).then_some(2),
                None if s.family == AF_INET => ip.is_ipv4().then_some(1),
                None => (ip.is_ipv6() || !s.opts.on(IPPROTO_IPV6, IPV6_V6ONLY)).then_some(0),
            }
        };
        let list = self.ports.get(&(IPPROTO_TCP, port))?;
        list.iter()
            .filter_map(|id| Some((fit(&id)?, *id)))
            .max_by_key(|(score, id)| (*score, std::cmp::Reverse(*id)))
            .map(|f| f.1)
    }

    pub(super) fn tcp_connect(
        &mut self,
        id: u32,
        who: &Caller,
        to: &SockAddr,
        nonblock: bool,
    ) -> KResult<()> {
        let t = self.tcp(id)?;
        if *to == SockAddr::Unspec {
            if t.state == State::Listen {
                self.abandon_backlog(id);
            }
            self.tcp_reset_peer(id);
            return self.tcp_disconnect(id);
        }
        match (t.phase, t.state) {
            (Phase::Connecting, State::SynSent) => {
                return Err(if nonblock { Errno::EALREADY } else { Errno::EAGAIN });
            }
            (Phase::Connecting, _) => return self.tcp_outcome(id),
            (Phase::Unconnected, State::Close) => {}
            (Phase::Disconnecting, _) => return Err(Errno::EINVAL),
            _ => return Err(Errno::EISCONN),
        }
        let (ip, port) = self.target(id, to)?;
        if matches!(ip, IpAddr::V4(v) if v.is_broadcast() || v.is_multicast()) || ip.is_multicast() {
            return Err(Errno::ENETUNREACH);
        }
        self.auto_bind(id, ip)?;
        let inode = self.sock(id)?.inode;
        let since = self.now;
        let t = self.tcp_mut(id)?;
        t.remote = (Some(ip), port);
        t.state = State::SynSent;
        t.phase = Phase::Connecting;
        t.since = since;
        let s = self.sock_mut(id)?;
        s.err = None;
        if self.facts.is_own(ip) {
            self.tcp_syn(id, 0);
        } else {
            let (delay, outcome) = self.attempt_stream(who, ip, port);
            self.later(
                delay,
                Timer::Connect {
                    sock: id,
                    inode,
                    outcome,
                },
            );
        }
        if nonblock {
            return Err(Errno::EINPROGRESS);
        }
        if self.tcp(id)?.state == State::SynSent {
            return Err(Errno::EAGAIN);
        }
        self.tcp_outcome(id)
    }

    /// `connect` reports what came of it.
    fn tcp_outcome(&mut self, id: u32) -> KResult<()> {
        if self.tcp(id)?.state == State::Close {
            let e = self.take_error(id).err().unwrap_or(Errno::ECONNABORTED);
            self.tcp_disconnect(id)?;
            return Err(e);
        }
        self.tcp_mut(id)?.phase = Phase::Connected;
        Ok(())
    }

    /// The connection is over: the port is given up unless it was chosen.
    pub(super) fn release(&mut self, id: u32) {
        if self.tcp(id).is_ok_and(|t| !t.chosen.1 && !t.released) {
            self.unbind(id);
            if let Ok(t) = self.tcp_mut(id) {
                t.released = true;
            }
        }
    }

    /// Back to an unconnected socket; the port stays, the address if it was chosen.
    pub(super) fn tcp_disconnect(&mut self, id: u32) -> KResult<()> {
        let t = self.tcp_mut(id)?;
        let (chosen, (ip, port)) = (t.chosen, t.local);
        let released = t.released;
        *t = Tcp {
            chosen,
            released,
            local: (ip.filter(|_| chosen.0), port),
            ..Tcp::default()
        };
        self.release(id);
        let s = self.sock_mut(id)?;
        (s.shut_read, s.shut_write, s.err) = (false, false, None);
        self.wake(id);
        Ok(())
    }

    pub(super) fn tcp_retry(&mut self, id: u32, tries: u8) {
        if self.tcp(id).is_ok_and(|t| t.state == State::SynSent) {
            self.tcp_syn(id, tries);
        }
    }

    /// A connection attempt reaches an address of the machine.
    fn tcp_syn(&mut self, id: u32, tries: u8) {
        let Ok(t) = self.tcp(id) else { return };
        let (Some(ip), port) = t.remote else { return };
        let own = t.local == t.remote;
        let Some(l) = self.tcp_listener(ip, port) else {
            // Both ends at once: the socket is its own peer.
            let outcome = if own {
                Ok(Peer::Socket(id))
            } else {
                Err(Errno::ECONNREFUSED)
            };
            return self.tcp_decided(id, outcome);
        };
        match self.tcp_incoming(l, t.local, t.remote, Peer::Socket(id)) {
            Ok(new) => self.tcp_decided(id, Ok(Peer::Socket(new))),
            // The first packet is dropped and sent again after 1, 2, 4 … seconds, six times.
            Err(_) if tries < 6 => {
                let inode = self.sock(id).map_or(0, |s| s.inode);
                self.later(
                    1_000_000_000 << tries,
                    Timer::Retry {
                        sock: id,
                        inode,
                        tries: tries + 1,
                    },
                );
            }
            Err(_) => self.tcp_decided(id, Err(Errno::ETIMEDOUT)),
        }
    }

    /// Puts a new connection into a listener's queue. `from` and `to` as the connecting side sees them.
    pub(super) fn tcp_incoming(
        &mut self,
        listener: u32,
        from: (Option<IpAddr>, u16),
        to: (Option<IpAddr>, u16),
        peer: Peer,
    ) -> KResult<u32> {
        let (s, t) = (self.sock(listener)?, self.tcp(listener)?);
        if t.accept.len() > t.backlog.unwrap_or(0) as usize {
            return Err(Errno::EAGAIN);
        }
        let (family, opts, for_host) = (s.family, s.opts.clone(), t.for_host);
        let owner = Caller {
            uid: s.uid,
            pid: s.pid,
            ..Caller::default()
        };
        let new = self.add(
            &owner,
            family,
            SOCK_STREAM,
            IPPROTO_TCP,
            Body::Tcp(Box::default()),
        )?;
        self.set_local(new, to);
        let since = self.now;
        self.sock_mut(new)?.opts = opts;
        let t = self.tcp_mut(new)?;
        t.state = State::Established;
        t.phase = Phase::Connected;
        t.remote = from;
        t.peer = peer;
        t.since = since;
        if for_host {
            self.hand_to_host(listener, new);
        } else {
            self.tcp_mut(listener)?.accept.push_back(new);
            self.wake(listener);
        }
        Ok(new)
    }

    /// A connection attempt came to an end.
    pub(super) fn tcp_decided(&mut self, id: u32, outcome: Result<Peer, Errno>) {
        let Ok(t) = self.tcp_mut(id) else { return };
        if t.state != State::SynSent {
            return;
        }
        match outcome {
            Ok(peer) => {
                t.state = State::Established;
                t.peer = peer;
            }
            Err(e) => {
                t.state = State::Close;
                if let Ok(s) = self.sock_mut(id) {
                    s.err = Some(e);
                    (s.shut_read, s.shut_write) = (true, true);
                }
                self.release(id);
            }
        }
        self.wake(id);
    }

    pub(super) fn tcp_accept(&mut self, id: u32) -> KResult<u32> {
        let t = self.tcp_mut(id)?;
        if t.state != State::Listen {
            return Err(Errno::EINVAL);
        }
        t.accept.pop_front().ok_or(Errno::EAGAIN)
    }

    // ---- bytes

    pub(super) fn tcp_send(&mut self, id: u32, who: &Caller, out: Outgoing<'_>) -> KResult<usize> {
        let s = self.sock(id)?;
        let shut = s.shut_write;
        let state = self.tcp(id)?.state;
        if shut || s.err.is_some() {
            self.take_error(id)?;
            return Err(Errno::EPIPE);
        }
        match state {
            State::SynSent => return Err(Errno::EAGAIN),
            State::Close | State::Listen => return Err(Errno::EPIPE),
            _ => {}
        }
        let data = out.data;
        let limit = match self.sock(id)?.opts.bytes(SOL_SOCKET, SO_SNDBUF) {
            Some(_) => self.sock(id)?.opts.send_buffer(),
            None => WINDOW / 2,
        };
        let n = match self.tcp(id)?.peer {
            Peer::Socket(p) => {
                let limit = limit
                    + match self.sock(p)?.opts.bytes(SOL_SOCKET, SO_RCVBUF) {
                        Some(_) => self.sock(p)?.opts.receive_buffer() / 2,
                        None => WINDOW / 2,
                    };
                // Data for a side that closed both directions: reset.
                if self.sock(p)?.shut_read && self.tcp(p).is_ok_and(|t| t.state == State::FinWait2 && !t.fin)
                {
                    if !data.is_empty() {
                        self.tcp_was_reset(p);
                        self.tcp_was_reset(id);
                    }
                    return Ok(data.len());
                }
                let q = self.tcp_mut(p)?;
                let n = data.len().min(limit.saturating_sub(q.recv.len()));
                if out.flags & MSG_OOB != 0 && n == data.len() && n > 0 {
                    q.urgent = Some((data[n - 1], q.recv.len() + n - 1));
                    let inline = self.sock(p)?.opts.on(SOL_SOCKET, SO_OOBINLINE);
                    self.tcp_arrives(p, &data[..n - usize::from(!inline)]);
                } else {
                    self.tcp_arrives(p, &data[..n]);
                }
                // IPv4, TCP with a time stamp.
                self.stats.loopback(n, 52);
                n
            }
            Peer::Host(h) => self.host_gets(h, data),
            Peer::Sink(k) => self.sink_gets(k, who, id, data),
            Peer::Resolver => self.resolver_gets(id, who, data),
            // The other side closed everything: it answers with a reset.
            Peer::Nobody => {
                if !data.is_empty() {
                    self.tcp_was_reset(id);
                }
                data.len()
            }
        };
        if n == 0 && !data.is_empty() {
            return Err(Errno::EAGAIN);
        }
        if let Ok(t) = self.tcp_mut(id) {
            t.moved.1 += n as u64;
        }
        Ok(n)
    }

    /// Bytes come in.
    pub(super) fn tcp_arrives(&mut self, id: u32, data: &[u8]) {
        if let Ok(t) = self.tcp_mut(id) {
            t.recv.extend(data);
            t.moved.0 += data.len() as u64;
            self.wake(id);
        }
    }

    pub(super) fn tcp_recv(&mut self, id: u32, max: usize, flags: u32) -> KResult<Received> {
        let shut = self.sock(id)?.shut_read;
        let inline = self.sock(id)?.opts.on(SOL_SOCKET, SO_OOBINLINE);
        let low = self.sock(id)?.opts.number(SOL_SOCKET, SO_RCVLOWAT).max(1) as usize;
        let t = self.tcp_mut(id)?;
        if t.state == State::Listen {
            return Err(Errno::ENOTCONN);
        }
        if flags & MSG_OOB != 0 {
            let Some((c, _)) = t.urgent.filter(|_| !inline) else {
                return Err(Errno::EINVAL);
            };
            if flags & MSG_PEEK == 0 {
                t.urgent = None;
            }
            return Ok(Received {
                data: vec![c],
                len: 1,
                flags: MSG_OOB,
                ..Default::default()
            });
        }
        // A read at the mark goes past the urgent byte.
        if t.urgent.is_some_and(|u| u.1 == 0) && flags & MSG_PEEK == 0 {
            t.urgent = None;
        }
        if t.recv.is_empty() {
            if t.fin {
                return Ok(Received::default());
            }
            let state = t.state;
            self.take_error(id)?;
            return match (shut, state) {
                (true, _) => Ok(Received::default()),
                (_, State::Close) => Err(Errno::ENOTCONN),
                _ => Err(Errno::EAGAIN),
            };
        }
        let all = flags & MSG_WAITALL != 0 && flags & MSG_DONTWAIT == 0;
        let want = if all { max.min(65536) } else { low.min(max) };
        if t.recv.len() < want && !t.fin && !shut && t.has_peer() && (all || flags & MSG_DONTWAIT == 0) {
            return Err(Errno::EAGAIN);
        }
        // A read stops in front of the urgent byte.
        let stop = t
            .urgent
            .map_or(usize::MAX, |(_, at)| if at == 0 { usize::MAX } else { at });
        let n = max.min(t.recv.len()).min(stop);
        if flags & MSG_PEEK != 0 {
            let data: Vec<u8> = t.recv.iter().take(n).copied().collect();
            return Ok(Received {
                len: n,
                data,
                ..Default::default()
            });
        }
        let data: Vec<u8> = t.recv.drain(..n).collect();
        if let Some((_, at)) = &mut t.urgent {
            *at = at.saturating_sub(n);
        }
        if t.recv.is_empty() {
            t.recv.shrink_to(4096);
        }
        let peer = t.peer;
        match peer {
            Peer::Socket(p) => self.wake(p),
            Peer::Host(h) => self.effect(NetEffect::HostReady(h)),
            _ => {}
        }
        let data = if flags & MSG_TRUNC != 0 { Vec::new() } else { data };
        Ok(Received {
            len: n,
            data,
            ..Default::default()
        })
    }

    /// Bytes in front of the urgent byte; `Some(0)` is "at the mark" (SIOCATMARK).
    pub(super) fn urgent_at(&self, id: u32) -> Option<usize> {
        self.tcp(id).ok()?.urgent.map(|u| u.1)
    }

    pub(super) fn tcp_poll(&self, id: u32, s: &Socket, t: &Tcp) -> u32 {
        if t.state == State::Listen {
            return if t.accept.is_empty() {
                0
            } else {
                POLLIN | POLLRDNORM
            };
        }
        let mut m = 0;
        if s.shut_read && s.shut_write || t.state == State::Close {
            m |= POLLHUP;
        }
        if s.shut_read {
            m |= POLLIN | POLLRDNORM | POLLRDHUP;
        }
        if t.state == State::SynSent {
            return m;
        }
        let low = s.opts.number(SOL_SOCKET, SO_RCVLOWAT).max(1) as usize;
        if t.recv.len() >= low {
            m |= POLLIN | POLLRDNORM;
        }
        if t.urgent.is_some() {
            m |= POLLPRI;
        }
        let room = match t.peer {
            Peer::Socket(p) => self.tcp(p).map_or(true, |p| p.recv.len() * 3 < WINDOW * 2),
            Peer::Host(h) => self.host_room(h) > 0,
            _ => true,
        };
        let _ = id;
        if s.shut_write || room {
            m |= POLLOUT | POLLWRNORM;
        }
        m
    }

    /// `struct tcp_info`.
    pub(super) fn tcp_info(&self, id: u32) -> Vec<u8> {
        let mut v = vec![0u8; 240];
        let Ok(t) = self.tcp(id) else { return v };
        let lo = t.loops();
        let rtt: u32 = if lo {
            40
        } else {
            (self.facts.outside_rtt / 1000) as u32
        };
        v[0] = t.state as u8;
        let mut put = |at: usize, n: u32| v[at..at + 4].copy_from_slice(&n.to_le_bytes());
        if t.has_peer() {
            put(4, 7 | 0x77 << 8);
            put(8, (rtt + 200_000).next_multiple_of(4000));
            put(12, 40_000);
            put(16, if lo { 32768 } else { 1448 });
            put(20, if t.moved.0 > 0 { 1448 } else { 536 });
            let idle = (self.now.saturating_sub(t.since) / 1_000_000) as u32;
            for at in [44, 52, 56] {
                put(at, idle);
            }
            put(60, if lo { 65535 } else { 1500 });
            put(64, 64076);
            put(68, rtt);
            put(72, rtt / 2);
            put(76, 0x7fff_ffff);
            put(80, 10);
            put(84, if lo { 65483 } else { 1448 });
            put(88, 3);
            put(96, 65495);
        } else if let Some(b) = t.backlog {
            put(24, t.accept.len() as u32);
            put(28, b);
        }
        v
    }
}
