//! Local addresses and ports of the sockets of AF_INET and AF_INET6: binding, sharing, ephemeral ports, and which address a program
//! means.

use super::tcp::State;
use super::{Body, Caller, Net, NetEffect, SockId, Socket};
use crate::abi::net::*;
use crate::{Errno, KResult};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

impl Net {
    fn local(&self, id: u32) -> Option<(Option<IpAddr>, u16)> {
        match &self.socks.get(id)?.body {
            Body::Tcp(t) if t.released => Some((t.local.0, 0)),
            Body::Tcp(t) => Some(t.local),
            Body::Udp(u) => Some(u.local),
            _ => None,
        }
    }

    pub(super) fn set_local(&mut self, id: u32, local: (Option<IpAddr>, u16)) {
        self.unbind(id);
        let Some(s) = self.socks.get_mut(id) else { return };
        let key = (s.protocol, local.1);
        match &mut s.body {
            Body::Tcp(t) => (t.local, t.released) = (local, false),
            Body::Udp(u) => u.local = local,
            _ => return,
        }
        if local.1 != 0 {
            self.ports.entry(key).or_default().push(id);
        }
    }

    pub(super) fn unbind(&mut self, id: u32) {
        let (Some(local), Some(s)) = (self.local(id), self.socks.get(id)) else {
            return;
        };
        let key = (s.protocol, local.1);
        if let Some(v) = self.ports.get_mut(&key) {
            v.retain(|i| *i != id);
            if v.is_empty() {
                self.ports.remove(&key);
            }
        }
    }

    /// Could a socket with this address take the port? Sockets on it must not overlap, or must agree to share.
    fn port_free(&self, id: u32, ip: Option<IpAddr>, port: u16) -> bool {
        let Some(s) = self.socks.get(id) else { return false };
        let tcp = s.protocol == IPPROTO_TCP;
        let (reuse, share) = (
            s.opts.on(SOL_SOCKET, SO_REUSEADDR),
            s.opts.on(SOL_SOCKET, SO_REUSEPORT),
        );
        let only6 = |s: &Socket| s.family == AF_INET6 && s.opts.on(IPPROTO_IPV6, IPV6_V6ONLY);
        let both = |s: &Socket, ip: Option<IpAddr>| s.family == AF_INET6 && ip.is_none() && !only6(s);
        let clash = self
            .ports
            .get(&(s.protocol, port))
            .into_iter()
            .flatten()
            .any(|other| {
                let (Some(o), Some((oip, _))) = (self.socks.get(*other), self.local(*other)) else {
                    return false;
                };
                if *other == id {
                    return false;
                }
                // Different families meet only where one is a wildcard for both, or an address is mapped.
                let v6 = |s: &Socket, ip: Option<IpAddr>| ip.map_or(s.family == AF_INET6, |i| i.is_ipv6());
                if v6(s, ip) != v6(o, oip) && !both(s, ip) && !both(o, oip) {
                    return false;
                }
                let overlap = ip.is_none() || oip.is_none() || ip == oip;
                let listening = matches!(&o.body, Body::Tcp(t) if t.state == State::Listen);
                let reusable = reuse && o.opts.on(SOL_SOCKET, SO_REUSEADDR) && !(tcp && listening);
                let shared = share && o.opts.on(SOL_SOCKET, SO_REUSEPORT) && s.uid == o.uid;
                overlap && !reusable && !shared
            });
        let lingering = tcp
            && !reuse
            && !share
            && self
                .time_wait
                .iter()
                .any(|t| t.local.1 == port && ip.is_none_or(|ip| ip == t.local.0));
        !clash && !lingering
    }

    /// A free port of the ephemeral range; binding takes odd ones first, connecting even ones, as Linux does.
    pub(super) fn free_port(&mut self, id: u32, ip: Option<IpAddr>, odd: u16) -> KResult<u16> {
        let start = self.random();
        for parity in [odd, 1 - odd] {
            for i in 0..14116 {
                let port = 32768 + 2 * ((start.wrapping_add(i) % 14116) as u16) + parity;
                let taken = self.ports.contains_key(&(self.sock(id)?.protocol, port));
                if !taken && port <= 60999 && self.port_free(id, ip, port) {
                    return Ok(port);
                }
            }
        }
        Err(Errno::EADDRINUSE)
    }

    pub(super) fn inet_bind(&mut self, id: u32, who: &Caller, to: &SockAddr) -> KResult<()> {
        let s = self.sock(id)?;
        let v6 = s.family == AF_INET6;
        let (ip, port) = match to {
            SockAddr::V4(ip, port) if !v6 => (IpAddr::V4(*ip), *port),
            SockAddr::V6(ip, port, ..) if v6 => (plain(IpAddr::V6(*ip)), *port),
            SockAddr::V4(..) if v6 => return Err(Errno::EAFNOSUPPORT),
            SockAddr::Unspec => return Err(if v6 { Errno::EAFNOSUPPORT } else { Errno::EINVAL }),
            _ => return Err(Errno::EAFNOSUPPORT),
        };
        if v6 && ip.is_ipv4() && s.opts.on(IPPROTO_IPV6, IPV6_V6ONLY) {
            return Err(Errno::EINVAL);
        }
        let tcp = s.protocol == IPPROTO_TCP;
        let free = s.opts.on(IPPROTO_IP, IP_FREEBIND) || s.opts.on(IPPROTO_IPV6, IPV6_FREEBIND);
        let multicast = ip.is_multicast() && !tcp;
        let broadcast = !tcp && ip == IpAddr::V4(Ipv4Addr::BROADCAST);
        if !ip.is_unspecified() && !self.facts.is_own(ip) && !multicast && !broadcast && !free {
            return Err(Errno::EADDRNOTAVAIL);
        }
        if port != 0 && port < 1024 && !who.bind_low {
            return Err(Errno::EACCES);
        }
        let icmp = !matches!(s.protocol, IPPROTO_TCP | IPPROTO_UDP);
        if self.local(id).is_some_and(|l| l.1 != 0) || self.tcp(id).is_ok_and(|t| t.state != State::Close) {
            return Err(Errno::EINVAL);
        }
        let ip = if ip.is_unspecified() && (ip.is_ipv4() && !v6 || ip.is_ipv6()) {
            None
        } else {
            Some(ip)
        };
        if icmp && self.sock(id)?.kind == SOCK_RAW {
            self.set_local(id, (ip, 0));
            return Ok(());
        }
        let chose_port = port != 0;
        let port = match port {
            0 => self.free_port(id, ip, 1)?,
            p if self.port_free(id, ip, p) => p,
            _ => return Err(Errno::EADDRINUSE),
        };
        self.set_local(id, (ip, port));
        if let Ok(t) = self.tcp_mut(id) {
            t.chosen = (ip.is_some(), chose_port);
        }
        if !tcp && !icmp {
            let ip = ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            self.effect(NetEffect::Listening {
                sock: SockId(id),
                pid: who.pid,
                ip,
                port,
                udp: true,
            });
        }
        Ok(())
    }

    /// Gives a socket that is about to talk to `to` an address and port of its own.
    pub(super) fn auto_bind(&mut self, id: u32, to: IpAddr) -> KResult<()> {
        let (mut ip, mut port) = self.local(id).ok_or(Errno::EINVAL)?;
        if ip.is_none() {
            ip = Some(self.facts.source(to).ok_or(Errno::ENETUNREACH)?);
        }
        if port == 0 {
            port = self.free_port(id, ip, 0)?;
        }
        self.set_local(id, (ip, port));
        Ok(())
    }

    /// A port only, for a datagram socket that sends without having been bound.
    pub(super) fn auto_port(&mut self, id: u32) -> KResult<()> {
        let (ip, port) = self.local(id).ok_or(Errno::EINVAL)?;
        if port == 0 {
            let port = self.free_port(id, ip, 0)?;
            self.set_local(id, (ip, port));
        }
        Ok(())
    }

    /// The address that a program means: its family must be the socket's, mapped addresses come out as IPv4.
    pub(super) fn target(&self, id: u32, to: &SockAddr) -> KResult<(IpAddr, u16)> {
        let s = self.sock(id)?;
        let (ip, port) = match (to, s.family) {
            (SockAddr::V4(ip, port), AF_INET) => (IpAddr::V4(*ip), *port),
            (SockAddr::V6(ip, port, ..), AF_INET6) => (plain(IpAddr::V6(*ip)), *port),
            _ => return Err(Errno::EAFNOSUPPORT),
        };
        if s.family == AF_INET6 && ip.is_ipv4() && s.opts.on(IPPROTO_IPV6, IPV6_V6ONLY) {
            return Err(Errno::ENETUNREACH);
        }
        Ok(match ip {
            IpAddr::V4(v) if v.is_unspecified() => (Ipv4Addr::LOCALHOST.into(), port),
            IpAddr::V6(v) if v.is_unspecified() => (Ipv6Addr::LOCALHOST.into(), port),
            ip => (ip, port),
        })
    }
}
