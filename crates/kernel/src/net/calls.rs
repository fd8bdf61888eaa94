//! Calls on sockets of every family: each asks the family's own module.

use super::{BUFFERED_MAX, Body, Caller, Net, NetEffect, Outgoing, Received, SockId, files_of, unix};
use crate::abi::net::*;
use crate::{Errno, KResult};

impl Net {
    /// `socket(2)`; `kind` may carry SOCK_NONBLOCK and SOCK_CLOEXEC, which are the caller's to heed.
    pub fn socket(&mut self, who: &Caller, family: u32, kind: u32, protocol: u32) -> KResult<SockId> {
        if kind & !(SOCK_TYPE_MASK | SOCK_NONBLOCK | SOCK_CLOEXEC) != 0 {
            return Err(Errno::EINVAL);
        }
        let kind = kind & SOCK_TYPE_MASK;
        if kind == 0 || kind > 10 {
            return Err(Errno::EINVAL);
        }
        let family = u16::try_from(family)
            .ok()
            .filter(|f| *f < 46)
            .ok_or(Errno::EAFNOSUPPORT)?;
        let id = match family {
            AF_UNIX => self.unix_socket(who, kind, protocol)?,
            AF_INET | AF_INET6 => self.inet_socket(who, family, kind, protocol)?,
            AF_NETLINK => self.netlink_socket(who, kind, protocol)?,
            AF_PACKET => {
                if !who.net_raw {
                    return Err(Errno::EPERM);
                }
                if ![SOCK_RAW, SOCK_DGRAM, 10].contains(&kind) {
                    return Err(Errno::ESOCKTNOSUPPORT);
                }
                self.add(who, family, kind, protocol, Body::Packet)?
            }
            _ => return Err(Errno::EAFNOSUPPORT),
        };
        Ok(SockId(id))
    }

    fn inet_socket(&mut self, who: &Caller, family: u16, kind: u32, protocol: u32) -> KResult<u32> {
        let icmp = if family == AF_INET {
            IPPROTO_ICMP
        } else {
            IPPROTO_ICMPV6
        };
        let body = match (kind, protocol) {
            (SOCK_STREAM, 0 | IPPROTO_TCP) => Body::Tcp(Box::default()),
            (SOCK_STREAM, IPPROTO_MPTCP) => return Err(Errno::EPROTONOSUPPORT),
            (SOCK_DGRAM, 0 | IPPROTO_UDP | IPPROTO_UDPLITE) => Body::Udp(Box::default()),
            (SOCK_DGRAM, p) if p == icmp => {
                let (low, high) = self.facts.ping_groups;
                if who.gid < low || who.gid > high {
                    return Err(Errno::EACCES);
                }
                Body::Udp(Box::default())
            }
            (SOCK_RAW, _) if !who.net_raw => return Err(Errno::EPERM),
            (SOCK_RAW, 0) => return Err(Errno::EPROTONOSUPPORT),
            (SOCK_RAW, 1..256) => Body::Udp(Box::default()),
            (SOCK_STREAM | SOCK_DGRAM | SOCK_RAW, _) => return Err(Errno::EPROTONOSUPPORT),
            _ => return Err(Errno::ESOCKTNOSUPPORT),
        };
        let protocol = match (kind, protocol) {
            (SOCK_STREAM, _) => IPPROTO_TCP,
            (SOCK_DGRAM, 0) => IPPROTO_UDP,
            (_, p) => p,
        };
        self.add(who, family, kind, protocol, body)
    }

    /// `socketpair(2)`.
    pub fn socketpair(
        &mut self,
        who: &Caller,
        family: u32,
        kind: u32,
        protocol: u32,
    ) -> KResult<(SockId, SockId)> {
        if family != u32::from(AF_UNIX) {
            self.socket(who, family, kind, protocol).map(|s| self.close(s))?;
            return Err(Errno::EOPNOTSUPP);
        }
        let a = self.socket(who, family, kind, protocol)?;
        let b = match self.socket(who, family, kind, protocol) {
            Ok(b) => b,
            Err(e) => {
                self.close(a);
                return Err(e);
            }
        };
        self.unix_pair(a.0, b.0, who);
        Ok((a, b))
    }

    /// `bind(2)`. For a path name of AF_UNIX the caller has made the file and gives its inode.
    pub fn bind(&mut self, id: SockId, who: &Caller, to: &SockAddr, ino: Option<u64>) -> KResult<()> {
        match &self.sock(id.0)?.body {
            Body::Unix(_) => self.unix_bind(id.0, to, ino),
            Body::Tcp(_) | Body::Udp(_) => self.inet_bind(id.0, who, to),
            Body::Netlink(_) => self.netlink_bind(id.0, who, to),
            Body::Packet => match to {
                SockAddr::Packet(_) => Ok(()),
                _ => Err(Errno::EINVAL),
            },
        }
    }

    /// `listen(2)`.
    pub fn listen(&mut self, id: SockId, who: &Caller, backlog: i32) -> KResult<()> {
        let backlog = if backlog < 0 { 4096 } else { backlog as u32 }.min(4096);
        match &self.sock(id.0)?.body {
            Body::Unix(_) => self.unix_listen(id.0, who, backlog),
            Body::Tcp(_) => self.tcp_listen(id.0, who, backlog),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    /// `connect(2)`. `EAGAIN`: a blocking caller waits and calls again with the same arguments; a nonblocking one gets
    /// `EINPROGRESS`, `EALREADY` or, on AF_UNIX, `EAGAIN`.
    pub fn connect(
        &mut self,
        id: SockId,
        who: &Caller,
        to: &SockAddr,
        ino: Option<u64>,
        nonblock: bool,
    ) -> KResult<()> {
        match &self.sock(id.0)?.body {
            Body::Unix(_) => self.unix_connect(id.0, who, to, ino),
            Body::Tcp(_) => self.tcp_connect(id.0, who, to, nonblock),
            Body::Udp(_) => self.udp_connect(id.0, who, to),
            Body::Netlink(_) => self.netlink_connect(id.0, to),
            Body::Packet => Err(Errno::EOPNOTSUPP),
        }
    }

    /// `accept(2)`: the new socket and its peer's address.
    pub fn accept(&mut self, id: SockId, who: &Caller) -> KResult<(SockId, SockAddr)> {
        let new = match &self.sock(id.0)?.body {
            Body::Unix(_) => self.unix_accept(id.0)?,
            Body::Tcp(_) => self.tcp_accept(id.0)?,
            _ => return Err(Errno::EOPNOTSUPP),
        };
        if let Ok(s) = self.sock_mut(new) {
            s.uid = who.uid;
            s.pid = who.pid;
        }
        let name = self.getpeername(SockId(new)).unwrap_or(SockAddr::UnixUnnamed);
        Ok((SockId(new), name))
    }

    /// `sendmsg(2)`: how many bytes were taken (a blocking caller of a stream goes on behind them). The references to files in
    /// `out.control` pass to the socket in any case; after an error they come back as [`NetEffect::DropFiles`].
    pub fn send(&mut self, id: SockId, who: &Caller, out: Outgoing<'_>) -> KResult<usize> {
        if self.buffered > BUFFERED_MAX {
            self.buffered = self.socks.iter().map(|(_, s)| s.waiting()).sum();
            if self.buffered > BUFFERED_MAX {
                let files = files_of(&out.control);
                self.drop_files(files);
                return Err(Errno::ENOBUFS);
            }
        }
        let (pid, quiet) = (who.pid, out.flags & MSG_NOSIGNAL != 0);
        let s = self.sock(id.0)?;
        let stream = s.kind == SOCK_STREAM;
        let unix = matches!(s.body, Body::Unix(_));
        if !unix {
            // Files go nowhere on other sockets.
            let files = files_of(&out.control);
            self.drop_files(files);
        }
        let r = match &self.sock(id.0)?.body {
            Body::Unix(_) => self.unix_send(id.0, who, out),
            Body::Tcp(_) => self.tcp_send(id.0, who, out),
            Body::Udp(_) => self.udp_send(id.0, who, out),
            Body::Netlink(_) => self.netlink_send(id.0, who, out),
            Body::Packet => Ok(out.data.len()),
        };
        match r {
            Ok(n) => self.buffered += n,
            Err(Errno::EPIPE) if stream && !quiet => self.effect(NetEffect::BrokenPipe { pid }),
            Err(_) => {}
        }
        r
    }

    /// `recvmsg(2)`: at most `max` bytes. An empty result of a stream is its end.
    pub fn recv(&mut self, id: SockId, max: usize, flags: u32) -> KResult<Received> {
        match &self.sock(id.0)?.body {
            Body::Unix(_) => self.unix_recv(id.0, max, flags),
            Body::Tcp(_) => self.tcp_recv(id.0, max, flags),
            Body::Udp(_) => self.udp_recv(id.0, max, flags),
            Body::Netlink(_) => self.netlink_recv(id.0, max, flags),
            Body::Packet => Err(Errno::EAGAIN),
        }
    }

    /// `shutdown(2)`.
    pub fn shutdown(&mut self, id: SockId, how: u32) -> KResult<()> {
        if how > 2 {
            return Err(Errno::EINVAL);
        }
        let (read, write) = (how != 1, how != 0);
        match &self.sock(id.0)?.body {
            Body::Unix(_) => self.unix_shutdown(id.0, read, write),
            Body::Tcp(_) => self.tcp_shutdown(id.0, read, write),
            Body::Udp(_) => self.udp_shutdown(id.0, read, write),
            Body::Netlink(_) | Body::Packet => Err(Errno::EOPNOTSUPP),
        }
    }

    /// Drops a socket; the last descriptor to it is closed.
    pub fn close(&mut self, id: SockId) {
        if self.journal == Some(id.0) {
            self.journal = None;
        }
        self.dropped.retain(|s| *s != id.0);
        match self.socks.get(id.0).map(|s| &s.body) {
            Some(Body::Unix(_)) => self.unix_close(id.0),
            Some(Body::Tcp(_)) => self.tcp_close(id.0),
            Some(Body::Udp(_)) => {
                self.unbind(id.0);
                self.socks.remove(id.0);
            }
            Some(_) => {
                self.socks.remove(id.0);
            }
            None => {}
        }
        self.wake(id.0);
    }

    /// `getsockname(2)`.
    pub fn getsockname(&self, id: SockId) -> KResult<SockAddr> {
        let s = self.sock(id.0)?;
        Ok(match &s.body {
            Body::Unix(u) => u.name.as_ref().map_or(SockAddr::UnixUnnamed, unix::Name::address),
            Body::Tcp(t) => s.address(t.local.0, t.local.1),
            Body::Udp(u) => s.address(u.local.0, u.local.1),
            Body::Netlink(n) => SockAddr::Netlink(n.port, n.groups),
            Body::Packet => SockAddr::Packet([&AF_PACKET.to_le_bytes()[..], &[0; 18]].concat()),
        })
    }

    /// `getpeername(2)`: `ENOTCONN` without a peer.
    pub fn getpeername(&self, id: SockId) -> KResult<SockAddr> {
        let s = self.sock(id.0)?;
        match &s.body {
            Body::Unix(u) => self.unix_peer_name(u).ok_or(Errno::ENOTCONN),
            Body::Tcp(t) if t.has_peer() => Ok(s.address(t.remote.0, t.remote.1)),
            Body::Udp(u) => u
                .remote
                .map(|(ip, port)| s.address(Some(ip), port))
                .ok_or(Errno::ENOTCONN),
            Body::Netlink(n) => Ok(SockAddr::Netlink(n.dest, 0)),
            Body::Packet => Err(Errno::EOPNOTSUPP),
            _ => Err(Errno::ENOTCONN),
        }
    }

    /// Poll bits (`POLLIN` and so on) that hold now.
    pub fn poll(&self, id: SockId) -> u32 {
        let Ok(s) = self.sock(id.0) else {
            return POLLHUP | POLLERR;
        };
        let err = if s.err.is_some() { POLLERR } else { 0 };
        err | match &s.body {
            Body::Unix(u) => self.unix_poll(s, u),
            Body::Tcp(t) => self.tcp_poll(id.0, s, t),
            Body::Udp(u) => {
                let mut m = POLLOUT | POLLWRNORM | POLLWRBAND;
                if !u.queue.is_empty() || s.shut_read {
                    m |= POLLIN | POLLRDNORM;
                }
                if !u.errors.is_empty() {
                    m |= POLLERR;
                }
                if s.shut_read {
                    m |= POLLRDHUP;
                }
                if s.shut_read && s.shut_write {
                    m | POLLHUP
                } else {
                    m
                }
            }
            Body::Netlink(n) => {
                let mut m = POLLOUT | POLLWRNORM | POLLWRBAND;
                if n.readable() {
                    m |= POLLIN | POLLRDNORM;
                }
                m
            }
            Body::Packet => POLLOUT | POLLWRNORM | POLLWRBAND,
        }
    }

    /// How long a blocking receive (or send) of this socket may wait, in nanoseconds.
    pub fn timeout(&self, id: SockId, send: bool) -> Option<u64> {
        let s = self.sock(id.0).ok()?;
        s.opts.timeout(if send { SO_SNDTIMEO } else { SO_RCVTIMEO })
    }
}
