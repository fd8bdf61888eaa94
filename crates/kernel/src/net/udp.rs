//! Datagrams of AF_INET and AF_INET6: UDP, echo (ping) sockets, raw sockets.

use super::{Body, Caller, Net, Outgoing, Received, Socket, Timer, cost_of};
use crate::abi::net::*;
use crate::{Errno, KResult};
use std::collections::VecDeque;
use std::net::IpAddr;
use turncoat_freeze::Freeze;

/// A datagram that waits for its reader.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Freeze)]
pub struct Datagram {
    /// Who sent it.
    pub from: (IpAddr, u16),
    /// Which of the machine's addresses it came to.
    pub to: IpAddr,
    /// The bytes; on a raw IPv4 socket with the IP header.
    pub data: Vec<u8>,
    /// Hops it had left.
    pub ttl: u8,
    /// Wall-clock time of arrival, in nanoseconds.
    pub at: u64,
}

/// What an ICMP error said.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Freeze)]
pub(super) struct Report {
    errno: u16,
    kind: u8,
    code: u8,
    /// Who said so.
    by: IpAddr,
    /// Where the datagram went.
    to: (IpAddr, u16),
}

/// The state of a datagram socket.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Freeze)]
pub struct Udp {
    /// Local address (`None`: any) and port (0: not bound; on an echo socket the identifier).
    pub local: (Option<IpAddr>, u16),
    /// The address it is connected to.
    pub remote: Option<(IpAddr, u16)>,
    pub(super) queue: VecDeque<Datagram>,
    queued: usize,
    /// Errors for IP_RECVERR.
    pub(super) errors: VecDeque<Report>,
    /// Datagrams dropped because the queue was full.
    pub drops: u32,
}

impl Net {
    pub(super) fn udp(&self, id: u32) -> KResult<&Udp> {
        match &self.sock(id)?.body {
            Body::Udp(u) => Ok(u),
            _ => Err(Errno::EBADF),
        }
    }

    fn udp_mut(&mut self, id: u32) -> KResult<&mut Udp> {
        match &mut self.sock_mut(id)?.body {
            Body::Udp(u) => Ok(u),
            _ => Err(Errno::EBADF),
        }
    }

    pub(super) fn udp_connect(&mut self, id: u32, _who: &Caller, to: &SockAddr) -> KResult<()> {
        if *to == SockAddr::Unspec {
            self.udp_mut(id)?.remote = None;
            return Ok(());
        }
        let (ip, port) = self.target(id, to)?;
        let broadcast = matches!(ip, IpAddr::V4(v) if v.is_broadcast());
        if broadcast && !self.sock(id)?.opts.on(SOL_SOCKET, SO_BROADCAST) {
            return Err(Errno::EACCES);
        }
        if self.facts.source(ip).is_none() && !broadcast {
            return Err(Errno::ENETUNREACH);
        }
        if self.sock(id)?.kind != SOCK_RAW {
            self.auto_bind(id, ip)?;
        }
        self.udp_mut(id)?.remote = Some((ip, port));
        Ok(())
    }

    pub(super) fn udp_shutdown(&mut self, id: u32, read: bool, write: bool) -> KResult<()> {
        let connected = self.udp(id)?.remote.is_some();
        let s = self.sock_mut(id)?;
        s.shut_read |= read;
        s.shut_write |= write;
        self.wake(id);
        if connected { Ok(()) } else { Err(Errno::ENOTCONN) }
    }

    pub(super) fn udp_send(&mut self, id: u32, who: &Caller, out: Outgoing<'_>) -> KResult<usize> {
        let s = self.sock(id)?;
        let (kind, protocol, shut) = (s.kind, s.protocol, s.shut_write);
        if kind == SOCK_DGRAM {
            self.auto_port(id)?;
        }
        let s = self.sock(id)?;
        if out.data.len() > 65535 {
            return Err(Errno::EMSGSIZE);
        }
        if out.flags & MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let (ip, port) = match &out.to {
            Some(SockAddr::V4(ip, port)) if s.family == AF_INET6 => (IpAddr::V4(*ip), *port),
            Some(to) => self.target(id, to)?,
            None => self.udp(id)?.remote.ok_or(Errno::EDESTADDRREQ)?,
        };
        if kind == SOCK_DGRAM && protocol == IPPROTO_UDP && port == 0 {
            return Err(Errno::EINVAL);
        }
        self.take_error(id)?;
        if shut {
            return Err(Errno::EPIPE);
        }
        if matches!(ip, IpAddr::V4(v) if v.is_broadcast())
            && !self.sock(id)?.opts.on(SOL_SOCKET, SO_BROADCAST)
        {
            return Err(Errno::EACCES);
        }
        if out.data.len() > 65507 && protocol == IPPROTO_UDP {
            return Err(Errno::EMSGSIZE);
        }
        let source = self.udp(id)?.local.0.or_else(|| self.facts.source(ip));
        let Some(source) = source else {
            return Err(Errno::ENETUNREACH);
        };
        let from = (source, self.udp(id)?.local.1);
        match protocol {
            IPPROTO_ICMP | IPPROTO_ICMPV6 => self.icmp_send(id, who, from, ip, out.data)?,
            IPPROTO_UDP | IPPROTO_UDPLITE => {
                if self.facts.is_own(ip) {
                    self.stats.loopback(out.data.len(), ip_headers(ip) + 8);
                    self.udp_deliver(id, from, (ip, port), out.data);
                } else {
                    self.attempt_datagram(id, who, from, (ip, port), out.data);
                }
            }
            _ => {}
        }
        Ok(out.data.len())
    }

    /// A datagram reaches an address of the machine.
    fn udp_deliver(&mut self, sender: u32, from: (IpAddr, u16), to: (IpAddr, u16), data: &[u8]) {
        let fit = |net: &Net, id: u32| {
            let (Some(s), Ok(u)) = (net.socks.get(id), net.udp(id)) else {
                return None;
            };
            let mut score = match u.local.0 {
                Some(own) if own != to.0 => return None,
                Some(_) => 4,
                None if s.family == AF_INET6 && to.0.is_ipv4() && s.opts.on(IPPROTO_IPV6, IPV6_V6ONLY) => {
                    return None;
                }
                None if s.family == AF_INET && to.0.is_ipv6() => return None,
                None if s.family == AF_INET6 && to.0.is_ipv4() => 0,
                None => 1,
            };
            match u.remote {
                Some(r) if r != from => return None,
                Some(_) => score += 8,
                None => {}
            }
            Some(score)
        };
        let list = self.ports.get(&(IPPROTO_UDP, to.1)).cloned().unwrap_or_default();
        let best = list.iter().filter_map(|id| Some((fit(self, *id)?, *id))).max();
        match best {
            Some((_, id)) => {
                let d = Datagram {
                    from,
                    to: to.0,
                    data: data.to_vec(),
                    ttl: 64,
                    at: self.real,
                };
                self.udp_arrives(id, d);
            }
            None => self.udp_error(sender, Errno::ECONNREFUSED, 3, 3, to.0, to),
        }
    }

    /// The sender hears of an ICMP error, if it is connected or asked for errors.
    pub(super) fn udp_error(&mut self, id: u32, e: Errno, kind: u8, code: u8, by: IpAddr, to: (IpAddr, u16)) {
        let Ok(s) = self.sock_mut(id) else { return };
        let asked = s.opts.on(IPPROTO_IP, IP_RECVERR) || s.opts.on(IPPROTO_IPV6, IPV6_RECVERR);
        let Ok(u) = self.udp_mut(id) else { return };
        if u.remote.is_some_and(|r| r != to) {
            return;
        }
        if asked && u.errors.len() < 64 {
            u.errors.push_back(Report {
                errno: e.0,
                kind,
                code,
                by,
                to,
            });
        }
        if asked || u.remote.is_some() {
            if let Ok(s) = self.sock_mut(id) {
                s.err = Some(e);
            }
            self.wake(id);
        }
    }

    pub(super) fn udp_arrives(&mut self, id: u32, mut d: Datagram) {
        let (limit, kind, protocol) = match self.sock(id) {
            Ok(s) if s.shut_read && s.protocol != IPPROTO_UDP => return,
            Ok(s) => (s.opts.receive_buffer(), s.kind, s.protocol),
            Err(_) => return,
        };
        if kind == SOCK_RAW && d.from.0.is_ipv4() {
            d.data = with_ip_header(&d, protocol as u8);
        }
        let real = self.real;
        let Ok(u) = self.udp_mut(id) else { return };
        let cost = cost_of(d.data.len());
        if u.queued + cost > limit {
            u.drops += 1;
            return;
        }
        d.at = real;
        u.queued += cost;
        u.queue.push_back(d);
        self.wake(id);
    }

    pub(super) fn udp_recv(&mut self, id: u32, max: usize, flags: u32) -> KResult<Received> {
        let shut = self.sock(id)?.shut_read;
        if flags & MSG_ERRQUEUE != 0 {
            return self.udp_error_queue(id);
        }
        if self.udp(id)?.queue.is_empty() || self.sock(id)?.err.is_some() {
            self.take_error(id)?;
        }
        let u = self.udp_mut(id)?;
        let d = match flags & MSG_PEEK != 0 {
            true => u.queue.front().cloned(),
            false => u.queue.pop_front(),
        };
        let Some(mut d) = d else {
            return if shut && flags & MSG_DONTWAIT == 0 {
                Ok(Received::default())
            } else {
                Err(Errno::EAGAIN)
            };
        };
        let len = d.data.len();
        if flags & MSG_PEEK == 0 {
            u.queued = u.queued.saturating_sub(cost_of(len));
        }
        d.data.truncate(max);
        let s = self.sock(id)?;
        let port = if s.kind == SOCK_RAW { 0 } else { d.from.1 };
        Ok(Received {
            from: Some(s.address(Some(d.from.0), port)),
            control: self.ancillary(s, &d),
            flags: if len > max { MSG_TRUNC } else { 0 },
            data: std::mem::take(&mut d.data),
            len,
        })
    }

    /// Control messages that the socket's options ask for.
    fn ancillary(&self, s: &Socket, d: &Datagram) -> Vec<Control<u64>> {
        let mut v = Vec::new();
        let time = |unit: u64| {
            [
                (d.at / 1_000_000_000).to_le_bytes(),
                (d.at % 1_000_000_000 / unit).to_le_bytes(),
            ]
            .concat()
        };
        if s.opts.on(SOL_SOCKET, SO_TIMESTAMPNS) {
            v.push(Control::Other(SOL_SOCKET, SO_TIMESTAMPNS, time(1)));
        } else if s.opts.on(SOL_SOCKET, SO_TIMESTAMP) {
            v.push(Control::Other(SOL_SOCKET, SO_TIMESTAMP, time(1000)));
        }
        let ttl = u32::from(d.ttl).to_le_bytes().to_vec();
        match d.to {
            IpAddr::V4(to) => {
                if s.opts.on(IPPROTO_IP, IP_PKTINFO) {
                    let dev = if to.is_loopback() { 1u32 } else { 2 };
                    let data = [dev.to_le_bytes(), to.octets(), to.octets()].concat();
                    v.push(Control::Other(IPPROTO_IP, IP_PKTINFO, data));
                }
                if s.opts.on(IPPROTO_IP, IP_RECVTTL) {
                    v.push(Control::Other(IPPROTO_IP, IP_TTL, ttl));
                }
                if s.opts.on(IPPROTO_IP, IP_RECVTOS) {
                    v.push(Control::Other(IPPROTO_IP, IP_TOS, vec![0]));
                }
            }
            IpAddr::V6(to) => {
                if s.opts.on(IPPROTO_IPV6, IPV6_RECVPKTINFO) {
                    let dev = if to.is_loopback() { 1u32 } else { 2 };
                    let data = [&to.octets()[..], &dev.to_le_bytes()].concat();
                    v.push(Control::Other(IPPROTO_IPV6, IPV6_PKTINFO, data));
                }
                if s.opts.on(IPPROTO_IPV6, IPV6_RECVHOPLIMIT) {
                    v.push(Control::Other(IPPROTO_IPV6, IPV6_HOPLIMIT, ttl));
                }
            }
        }
        v
    }

    /// MSG_ERRQUEUE: `struct sock_extended_err` and who said so.
    fn udp_error_queue(&mut self, id: u32) -> KResult<Received> {
        let u = self.udp_mut(id)?;
        let Report {
            errno,
            kind,
            code,
            by,
            to,
        } = u.errors.pop_front().ok_or(Errno::EAGAIN)?;
        if u.errors.is_empty() {
            self.sock_mut(id)?.err = None;
        }
        let s = self.sock(id)?;
        let mut data = u32::from(errno).to_le_bytes().to_vec();
        data.extend([if by.is_ipv4() { 2 } else { 3 }, kind, code, 0]);
        data.extend([0; 8]);
        data.extend(s.address(Some(by), 0).to_bytes());
        let control = match s.family {
            AF_INET => Control::Other(IPPROTO_IP, IP_RECVERR, data),
            _ => Control::Other(IPPROTO_IPV6, IPV6_RECVERR, data),
        };
        Ok(Received {
            from: Some(s.address(Some(to.0), to.1)),
            control: vec![control],
            flags: MSG_ERRQUEUE,
            ..Default::default()
        })
    }

    // ---- echo

    fn icmp_send(
        &mut self,
        id: u32,
        who: &Caller,
        from: (IpAddr, u16),
        to: IpAddr,
        data: &[u8],
    ) -> KResult<()> {
        let raw = self.sock(id)?.kind == SOCK_RAW;
        let (request, reply) = if to.is_ipv4() { (8, 0) } else { (128, 129) };
        let Some(head) = data.get(..8) else {
            return if raw { Ok(()) } else { Err(Errno::EINVAL) };
        };
        if head[0] != request {
            return if raw { Ok(()) } else { Err(Errno::EINVAL) };
        }
        let mut answer = data.to_vec();
        if !raw {
            answer[4..6].copy_from_slice(&from.1.to_be_bytes());
        }
        answer[0] = reply;
        answer[2..4].fill(0);
        let sum = checksum(&answer).to_be_bytes();
        answer[2..4].copy_from_slice(&sum);
        let inode = self.sock(id)?.inode;
        let seq = u64::from(u16::from_be_bytes([head[6], head[7]]));
        if self.facts.is_own(to) {
            for _ in 0..2 {
                self.stats.loopback(data.len(), ip_headers(to));
            }
            let d = Datagram {
                from: (to, 0),
                to: from.0,
                data: answer,
                ttl: 64,
                at: self.real,
            };
            let jitter = super::mix(self.facts.seed ^ seq ^ inode) % 24_000;
            self.later(
                22_000 + jitter,
                Timer::Datagram {
                    sock: id,
                    inode,
                    datagram: d,
                },
            );
            return Ok(());
        }
        self.attempt_echo(id, who, from.0, to, seq, answer);
        Ok(())
    }
}

/// Bytes of the header of IP: that of Ethernet is not counted on the loopback interface.
fn ip_headers(to: IpAddr) -> u64 {
    if to.is_ipv4() { 20 } else { 40 }
}

/// The IPv4 header that a raw socket sees in front.
fn with_ip_header(d: &Datagram, protocol: u8) -> Vec<u8> {
    let (IpAddr::V4(from), IpAddr::V4(to)) = (d.from.0, d.to) else {
        return d.data.clone();
    };
    let mut h = vec![0x45, 0];
    h.extend(((d.data.len() + 20) as u16).to_be_bytes());
    h.extend(((d.at ^ d.at >> 17) as u16).to_be_bytes());
    h.extend([0, 0, d.ttl, protocol, 0, 0]);
    h.extend(from.octets());
    h.extend(to.octets());
    let sum = checksum(&h).to_be_bytes();
    h[10..12].copy_from_slice(&sum);
    h.extend(&d.data);
    h
}

/// The internet checksum (RFC 1071).
pub fn checksum(b: &[u8]) -> u16 {
    let mut sum: u32 = b
        .chunks(2)
        .map(|c| u32::from(c[0]) << 8 | c.get(1).map_or(0, |b| u32::from(*b)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
