//! The world outside as programs see it: attempts to leave are reported and answered by policy, the name server is played, and
//! streams that the host serves (an SSH decoy behind the machine's own port 22) or opens (port forwarding) are joined to sockets.

use super::facts::Outside;
use super::tcp::{Peer, State};
use super::udp::Datagram;
use super::{Body, Caller, Net, NetEffect, SockId, Timer, dns};
use crate::abi::net::*;
use crate::{Errno, KResult};
use std::collections::VecDeque;
use std::net::IpAddr;
use turncoat_freeze::Freeze;

/// Bytes that wait for the host on one stream.
const HOST_MAX: usize = 64 << 10;
/// Bytes of one datagram or write that an attempt carries.
const SAID_MAX: usize = 64 << 10;
/// Names that are remembered for addresses.
const NAMES_MAX: usize = 4096;

/// A stream between a socket of the world and the host.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Freeze)]
pub struct HostId(pub u32);

/// A connection that a stand-in peer took; the number ties its attempts together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Freeze)]
pub struct SinkId(pub u64);

/// A program tried to reach something outside, or says something to a stand-in peer.
#[derive(Clone, PartialEq, Eq, Debug, Freeze)]
pub struct Attempt {
    /// The process.
    pub pid: u32,
    /// IPPROTO_TCP, IPPROTO_UDP or IPPROTO_ICMP.
    pub protocol: u32,
    /// Where to.
    pub ip: IpAddr,
    /// Port (0 for echo requests).
    pub port: u16,
    /// The name that the program looked up to get the address, or asks the name server for.
    pub name: Option<String>,
    /// What it sent, if it could send.
    pub bytes: Vec<u8>,
    /// What it will see.
    pub outcome: Outside,
    /// The stand-in connection that this belongs to.
    pub stream: Option<SinkId>,
}

/// A connection inside the world that the host serves.
#[derive(Clone, PartialEq, Eq, Debug, Freeze)]
pub struct Inbound {
    /// The host's end.
    pub host: HostId,
    /// The port that was connected to.
    pub port: u16,
    /// The connecting side.
    pub from: (IpAddr, u16),
    /// The address it connected to.
    pub to: IpAddr,
    /// The listening socket.
    pub listener: SockId,
    /// The socket on the serving side, which belongs to the listener's process.
    pub sock: SockId,
}

/// The host's end of a stream.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Freeze)]
pub struct HostStream {
    /// The socket at the other end.
    sock: u32,
    /// Bytes for the host.
    inbox: VecDeque<u8>,
    /// The socket will send no more.
    eof: bool,
    /// The host is done; the slot goes when the world's end is closed too.
    closed: bool,
}

impl Net {
    // ---- leaving

    /// Decides about a stream that would leave: after how long, and how.
    pub(super) fn attempt_stream(
        &mut self,
        who: &Caller,
        ip: IpAddr,
        port: u16,
    ) -> (u64, Result<Peer, Errno>) {
        if port == 53 && self.facts.nameservers.contains(&ip) {
            return (self.facts.gateway_rtt, Ok(Peer::Resolver));
        }
        let outcome = if self.on_link(ip) {
            Outside::Unreachable
        } else {
            self.facts.outside(port)
        };
        let gateway = self.facts.is_gateway(ip);
        let rtt = self.round_trip(ip, u64::from(port));
        let stream = (outcome == Outside::Sink).then(|| SinkId(self.random()));
        let name = self.names_of.get(&ip).cloned();
        let (pid, outcome_seen) = (who.pid, if gateway { Outside::Refused } else { outcome });
        self.effect(NetEffect::Outside(Attempt {
            pid,
            protocol: IPPROTO_TCP,
            ip,
            port,
            name,
            bytes: Vec::new(),
            outcome: outcome_seen,
            stream,
        }));
        if gateway {
            return (rtt, Err(Errno::ECONNREFUSED));
        }
        match (outcome, stream) {
            (Outside::Sink, Some(id)) => (rtt, Ok(Peer::Sink(id))),
            (Outside::Refused, _) => (rtt, Err(Errno::ECONNREFUSED)),
            // Nobody answers the question for an Ethernet address: three seconds.
            (Outside::Unreachable, _) if self.on_link(ip) => (3_065_000_000, Err(Errno::EHOSTUNREACH)),
            (Outside::Unreachable, _) => (self.facts.gateway_rtt, Err(Errno::EHOSTUNREACH)),
            // Seven packets, the first six 1, 2, 4 … seconds apart.
            _ => (131_070_000_000, Err(Errno::ETIMEDOUT)),
        }
    }

    /// The address is on the machine's own network, and nobody is known there.
    fn on_link(&self, ip: IpAddr) -> bool {
        !self.facts.is_gateway(ip)
            && self.facts.route(ip).is_some_and(|r| r.via.is_none())
            && !self.facts.neighbours.iter().any(|n| n.ip == ip)
    }

    /// A round trip, the same for one address but for a little noise.
    fn round_trip(&mut self, ip: IpAddr, salt: u64) -> u64 {
        let near = self.facts.is_gateway(ip) || self.facts.neighbours.iter().any(|n| n.ip == ip);
        let h = match ip {
            IpAddr::V4(v) => u64::from(v.to_bits()),
            IpAddr::V6(v) => v.to_bits() as u64,
        };
        let base = if near {
            self.facts.gateway_rtt
        } else {
            self.facts.outside_rtt
        };
        let own = if near {
            base
        } else {
            base / 2 + super::mix(h ^ self.facts.seed) % (base * 4).max(1)
        };
        let noise = super::mix(salt ^ self.now.rotate_left(17) ^ h) % (own / 4).max(1);
        own + noise
    }

    pub(super) fn sink_gets(&mut self, stream: SinkId, who: &Caller, sock: u32, data: &[u8]) -> usize {
        let n = data.len().min(SAID_MAX);
        let Ok(t) = self.tcp(sock) else { return n };
        let (Some(ip), port) = t.remote else { return n };
        let name = self.names_of.get(&ip).cloned();
        self.effect(NetEffect::Outside(Attempt {
            pid: who.pid,
            protocol: IPPROTO_TCP,
            ip,
            port,
            name,
            bytes: data[..n].to_vec(),
            outcome: Outside::Sink,
            stream: Some(stream),
        }));
        n
    }

    /// The stand-in peer, or what is fetched on behalf of a stream, answers with these bytes; `eof`: and closes.
    pub fn sink_answers(&mut self, stream: SinkId, bytes: &[u8], eof: bool) {
        let found = self
            .socks
            .iter()
            .find(|(_, s)| matches!(&s.body, Body::Tcp(t) if t.peer == Peer::Sink(stream)));
        let Some((id, _)) = found else { return };
        self.tcp_arrives(id, bytes);
        if eof {
            self.tcp_fin_arrives(id);
        }
    }

    pub(super) fn attempt_datagram(
        &mut self,
        id: u32,
        who: &Caller,
        from: (IpAddr, u16),
        to: (IpAddr, u16),
        data: &[u8],
    ) {
        let Ok(inode) = self.sock(id).map(|s| s.inode) else {
            return;
        };
        if to.1 == 53 && self.facts.nameservers.contains(&to.0) {
            let Some(reply) = self.resolve(who, to, IPPROTO_UDP, data) else {
                return;
            };
            if !reply.is_empty() {
                let delay = self.facts.resolver.delay + self.round_trip(to.0, u64::from(from.1));
                let d = Datagram {
                    from: to,
                    to: from.0,
                    data: reply,
                    ttl: 64,
                    at: 0,
                };
                self.later(
                    delay,
                    Timer::Datagram {
                        sock: id,
                        inode,
                        datagram: d,
                    },
                );
            }
            return;
        }
        let outcome = if self.on_link(to.0) {
            Outside::Unreachable
        } else {
            self.facts.outside(to.1)
        };
        let name = self.names_of.get(&to.0).cloned();
        self.effect(NetEffect::Outside(Attempt {
            pid: who.pid,
            protocol: IPPROTO_UDP,
            ip: to.0,
            port: to.1,
            name,
            bytes: data[..data.len().min(SAID_MAX)].to_vec(),
            outcome,
            stream: None,
        }));
        let connected = self.udp(id).is_ok_and(|u| u.remote.is_some());
        let errno = match outcome {
            Outside::Refused => Errno::ECONNREFUSED,
            Outside::Unreachable => Errno::EHOSTUNREACH,
            Outside::Timeout | Outside::Sink => return,
        };
        if connected {
            let delay = self.round_trip(to.0, 0);
            self.later(
                delay,
                Timer::Error {
                    sock: id,
                    inode,
                    errno,
                },
            );
        }
    }

    pub(super) fn attempt_echo(
        &mut self,
        id: u32,
        who: &Caller,
        from: IpAddr,
        to: IpAddr,
        seq: u64,
        answer: Vec<u8>,
    ) {
        let near = self.facts.is_gateway(to) || self.facts.neighbours.iter().any(|n| n.ip == to);
        if !near {
            let name = self.names_of.get(&to).cloned();
            let outcome = if self.facts.outside_pings {
                Outside::Sink
            } else {
                Outside::Timeout
            };
            self.effect(NetEffect::Outside(Attempt {
                pid: who.pid,
                protocol: IPPROTO_ICMP,
                ip: to,
                port: 0,
                name,
                bytes: answer.clone(),
                outcome,
                stream: None,
            }));
        }
        if self.on_link(to) {
            let by = from;
            self.udp_error(id, Errno::EHOSTUNREACH, 3, 1, by, (to, 0));
            return;
        }
        if near || self.facts.outside_pings {
            let Ok(inode) = self.sock(id).map(|s| s.inode) else {
                return;
            };
            let delay = self.round_trip(to, seq);
            let hops = if near {
                64
            } else {
                44 + (super::mix(delay ^ self.facts.seed) % 3) as u8 + 8
            };
            let d = Datagram {
                from: (to, 0),
                to: from,
                data: answer,
                ttl: hops,
                at: 0,
            };
            self.later(
                delay,
                Timer::Datagram {
                    sock: id,
                    inode,
                    datagram: d,
                },
            );
        }
    }

    // ---- the name server

    /// Answers a query and tells of it; `None` if it is none, empty for silence.
    fn resolve(
        &mut self,
        who: &Caller,
        server: (IpAddr, u16),
        protocol: u32,
        query: &[u8],
    ) -> Option<Vec<u8>> {
        let (q, reply, found) = dns::answer(query, &self.facts.resolver, self.facts.seed)?;
        for ip in &found {
            if self.names_of.len() < NAMES_MAX {
                self.names_of.insert(*ip, q.name.clone());
            }
        }
        self.effect(NetEffect::Outside(Attempt {
            pid: who.pid,
            protocol,
            ip: server.0,
            port: server.1,
            name: Some(q.name),
            bytes: Vec::new(),
            outcome: if reply.is_empty() {
                Outside::Timeout
            } else {
                Outside::Sink
            },
            stream: None,
        }));
        Some(reply)
    }

    /// A query over TCP: two bytes of length in front of each message.
    pub(super) fn resolver_gets(&mut self, id: u32, who: &Caller, data: &[u8]) -> usize {
        let Ok(t) = self.tcp(id) else { return data.len() };
        let (Some(ip), port) = t.remote else {
            return data.len();
        };
        let Ok(inode) = self.sock(id).map(|s| s.inode) else {
            return data.len();
        };
        let mut rest = data;
        while let [a, b, more @ ..] = rest {
            let n = usize::from(u16::from_be_bytes([*a, *b]));
            let Some(query) = more.get(..n) else { break };
            if let Some(reply) = self.resolve(who, (ip, port), IPPROTO_TCP, query)
                && !reply.is_empty()
            {
                let framed = [&(reply.len() as u16).to_be_bytes()[..], &reply].concat();
                let delay = self.facts.resolver.delay;
                self.later(
                    delay,
                    Timer::Bytes {
                        sock: id,
                        inode,
                        data: framed,
                    },
                );
            }
            rest = &more[n..];
        }
        data.len()
    }

    // ---- the host

    /// A listener of a daemon that the host stands in for: connections to it come out as [`NetEffect::Inbound`].
    pub fn host_listen(
        &mut self,
        owner: &Caller,
        v6: bool,
        ip: Option<IpAddr>,
        port: u16,
        backlog: u32,
    ) -> KResult<SockId> {
        let family = if v6 { AF_INET6 } else { AF_INET };
        let id = self.socket(owner, family.into(), SOCK_STREAM, 0)?;
        let s = self.sock_mut(id.0)?;
        s.opts.set_number(SOL_SOCKET, SO_REUSEADDR, 1);
        if v6 {
            s.opts.set_number(IPPROTO_IPV6, IPV6_V6ONLY, 1);
        }
        let at = self.sock(id.0)?.address(ip, port);
        let done = self
            .bind(
                id,
                &Caller {
                    bind_low: true,
                    ..*owner
                },
                &at,
                None,
            )
            .and_then(|()| self.listen(id, owner, backlog as i32));
        match done {
            Ok(()) => {
                self.tcp_mut(id.0)?.for_host = true;
                Ok(id)
            }
            Err(e) => {
                self.close(id);
                Err(e)
            }
        }
    }

    pub(super) fn hand_to_host(&mut self, listener: u32, new: u32) {
        let host = HostId(self.hosts.insert(HostStream {
            sock: new,
            ..Default::default()
        }));
        let Ok(t) = self.tcp_mut(new) else { return };
        let client = t.peer;
        // The client talks to the new socket; what arrives there is passed on to the host by `host_read`.
        let (Some(to), port) = t.local else { return };
        let from = (t.remote.0.unwrap_or(to), t.remote.1);
        t.peer = client;
        let e = Inbound {
            host,
            port,
            from,
            to,
            listener: SockId(listener),
            sock: SockId(new),
        };
        self.effect(NetEffect::Inbound(e));
    }

    /// A connection that outsiders have with the machine, as a socket of the process that serves it (sshd's for a login).
    pub fn host_established(
        &mut self,
        owner: &Caller,
        local: (IpAddr, u16),
        remote: (IpAddr, u16),
    ) -> KResult<(SockId, HostId)> {
        let family = if local.0.is_ipv4() { AF_INET } else { AF_INET6 };
        let id = self.socket(owner, family.into(), SOCK_STREAM, 0)?;
        let host = HostId(self.hosts.insert(HostStream {
            sock: id.0,
            ..Default::default()
        }));
        let since = self.now;
        self.ports.entry((IPPROTO_TCP, local.1)).or_default().push(id.0);
        let t = self.tcp_mut(id.0)?;
        t.state = State::Established;
        t.local = (Some(local.0), local.1);
        t.remote = (Some(remote.0), remote.1);
        t.peer = Peer::Host(host);
        t.since = since;
        Ok((id, host))
    }

    /// The front opens a connection to a listening socket of the world (port forwarding). `ECONNREFUSED` if nobody listens.
    pub fn host_connect(&mut self, from: (IpAddr, u16), to: (IpAddr, u16)) -> KResult<HostId> {
        let listener = self.tcp_listener(to.0, to.1).ok_or(Errno::ECONNREFUSED)?;
        let host = self.hosts.insert(HostStream::default());
        let peer = Peer::Host(HostId(host));
        match self.tcp_incoming(listener, (Some(from.0), from.1), (Some(to.0), to.1), peer) {
            Ok(sock) => {
                if let Some(h) = self.hosts.get_mut(host) {
                    h.sock = sock;
                }
                Ok(HostId(host))
            }
            Err(e) => {
                self.hosts.remove(host);
                Err(e)
            }
        }
    }

    /// Room for bytes that a socket sends to the host.
    pub(super) fn host_room(&self, h: HostId) -> usize {
        self.hosts
            .get(h.0)
            .map_or(0, |h| HOST_MAX.saturating_sub(h.inbox.len()))
    }

    pub(super) fn host_gets(&mut self, h: HostId, data: &[u8]) -> usize {
        let n = data.len().min(self.host_room(h));
        if let Some(s) = self.hosts.get_mut(h.0) {
            s.inbox.extend(&data[..n]);
            self.effect(NetEffect::HostReady(h));
        }
        n
    }

    pub(super) fn host_eof(&mut self, h: HostId) {
        if let Some(s) = self.hosts.get_mut(h.0) {
            s.eof = true;
            if s.closed {
                self.hosts.remove(h.0);
            } else {
                self.effect(NetEffect::HostReady(h));
            }
        }
    }

    /// What the world said on this stream, at most `max` bytes; empty with `true`: it is over.
    pub fn host_read(&mut self, h: HostId, max: usize) -> (Vec<u8>, bool) {
        let Some(s) = self.hosts.get_mut(h.0) else {
            return (Vec::new(), true);
        };
        let n = max.min(s.inbox.len());
        let mut out: Vec<u8> = s.inbox.drain(..n).collect();
        let (sock, eof) = (s.sock, s.eof);
        // A stream inside the world that the host serves: what waits in the serving socket is for the host.
        let served = self.tcp(sock).is_ok_and(|t| !matches!(t.peer, Peer::Host(_)));
        if served && let Ok(r) = self.tcp_recv(sock, max - n, MSG_DONTWAIT) {
            let over = r.data.is_empty() && max > n;
            out.extend(r.data);
            return (out, over);
        }
        if served {
            let gone = self.tcp(sock).is_ok_and(|t| t.state == State::Close);
            return (out, gone);
        }
        self.wake(sock);
        let over = out.is_empty() && eof;
        (out, over)
    }

    /// The host says something on this stream: how many bytes were taken.
    pub fn host_write(&mut self, h: HostId, data: &[u8]) -> KResult<usize> {
        let sock = self.hosts.get(h.0).ok_or(Errno::EPIPE)?.sock;
        let t = self.tcp(sock).map_err(|_| Errno::EPIPE)?;
        if matches!(t.peer, Peer::Host(_)) {
            if t.fin || !t.has_peer() {
                return Err(Errno::EPIPE);
            }
            let n = data.len().min(super::tcp::WINDOW.saturating_sub(t.recv.len()));
            self.tcp_arrives(sock, &data[..n]);
            return Ok(n);
        }
        let out = super::Outgoing {
            data,
            flags: MSG_NOSIGNAL | MSG_DONTWAIT,
            ..Default::default()
        };
        match self.tcp_send(sock, &Caller::default(), out) {
            Err(Errno::EAGAIN) => Ok(0),
            r => r,
        }
    }

    /// The host ends this stream.
    pub fn host_close(&mut self, h: HostId) {
        let Some(s) = self.hosts.get_mut(h.0) else { return };
        s.closed = true;
        let (sock, eof) = (s.sock, s.eof);
        let served = self.tcp(sock).is_ok_and(|t| !matches!(t.peer, Peer::Host(_)));
        if served {
            self.close(SockId(sock));
            self.hosts.remove(h.0);
            return;
        }
        self.tcp_fin_arrives(sock);
        if eof || self.socks.get(sock).is_none() {
            self.hosts.remove(h.0);
        }
    }
}
