//! NETLINK_SOCK_DIAG: the sockets of the world as `ss` asks for them.

use super::super::tcp::State;
use super::super::unix::Name;
use super::super::{Body, Net, SockId, Socket};
use super::{Answer, Message, Request};
use crate::Errno;
use crate::abi::net::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const BY_FAMILY: u16 = 20;

impl Net {
    pub(super) fn diag_request(&self, r: &Request<'_>) -> Answer {
        if r.kind != BY_FAMILY {
            return Err(Errno::EINVAL);
        }
        match u16::from(r.u8_at(0)) {
            AF_INET | AF_INET6 => Ok(self.diag_inet(r)),
            AF_UNIX => Ok(self.diag_unix(r)),
            AF_NETLINK => Ok(self.diag_netlink(r)),
            AF_PACKET if r.dump() => Ok(Vec::new()),
            _ => Err(Errno::ENOENT),
        }
    }

    fn diag_inet(&self, r: &Request<'_>) -> Vec<Message> {
        let (family, protocol, ext, states) = (
            u16::from(r.u8_at(0)),
            u32::from(r.u8_at(1)),
            r.u8_at(2),
            r.u32_at(4),
        );
        let wanted = |s: u8| states >> s & 1 == 1;
        let port = |at: usize| u16::from_be_bytes([r.u8_at(at), r.u8_at(at + 1)]);
        let (sport, dport) = (port(8), port(10));
        let fit = |a: u16, b: u16| (sport == 0 || sport == a) && (dport == 0 || dport == b);
        let mut v = Vec::new();
        for (id, s) in self.sockets() {
            if s.family != family || s.protocol != protocol {
                continue;
            }
            let (state, local, remote, queues) = match &s.body {
                Body::Tcp(t) if t.state == State::Listen => (
                    State::Listen as u8,
                    t.local,
                    (None, 0),
                    (t.waiting().0 as u32, t.waiting().1),
                ),
                Body::Tcp(t) if t.local.1 != 0 && t.state != State::Close => {
                    (t.state as u8, t.local, t.remote, (t.unread() as u32, 0))
                }
                Body::Udp(u) if u.local.1 != 0 || s.kind == SOCK_RAW => {
                    let remote = u.remote.map_or((None, 0), |(ip, p)| (Some(ip), p));
                    (if u.remote.is_some() { 1 } else { 7 }, u.local, remote, (0, 0))
                }
                _ => continue,
            };
            if wanted(state) && fit(local.1, remote.1) {
                v.push(self.inet_message(id, s, ext, state, local, remote, queues));
            }
        }
        if protocol == IPPROTO_TCP {
            for w in self.time_wait.iter().filter(|w| w.v6 == (family == AF_INET6)) {
                if wanted(w.state as u8) && fit(w.local.1, w.remote.1) {
                    let mut head = inet_head(family, w.state as u8, w.local, w.remote, 0);
                    head[2] = 3;
                    let left = (w.until.saturating_sub(self.now) / 1_000_000) as u32;
                    head[52..56].copy_from_slice(&left.to_le_bytes());
                    v.push(Message::new(BY_FAMILY, &head));
                }
            }
        }
        v
    }

    #[allow(clippy::too_many_arguments)]
    fn inet_message(
        &self,
        id: SockId,
        s: &Socket,
        ext: u8,
        state: u8,
        local: (Option<IpAddr>, u16),
        remote: (Option<IpAddr>, u16),
        queues: (u32, u32),
    ) -> Message {
        let any = if s.family == AF_INET {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        } else {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        };
        let at = |(ip, port): (Option<IpAddr>, u16)| (ip.unwrap_or(any), port);
        let mut head = inet_head(s.family, state, at(local), at(remote), s.inode);
        head[56..60].copy_from_slice(&queues.0.to_le_bytes());
        head[60..64].copy_from_slice(&queues.1.to_le_bytes());
        head[64..68].copy_from_slice(&s.uid.to_le_bytes());
        head[68..72].copy_from_slice(&(s.inode as u32).to_le_bytes());
        let mut m = Message::new(BY_FAMILY, &head);
        let asked = |kind: u8| ext >> (kind - 1) & 1 == 1;
        m.put_u8(8, u8::from(s.shut_read) | u8::from(s.shut_write) << 1);
        if asked(5) {
            m.put_u8(5, s.opts.number(IPPROTO_IP, IP_TOS) as u8);
        }
        if s.family == AF_INET6 {
            if asked(6) {
                m.put_u8(6, 0);
            }
            m.put_u8(11, u8::from(s.opts.on(IPPROTO_IPV6, IPV6_V6ONLY)));
        }
        if asked(1) {
            m.put(
                1,
                &[queues.0, 0, 0, 0]
                    .iter()
                    .flat_map(|v| v.to_le_bytes())
                    .collect::<Vec<u8>>(),
            );
        }
        if asked(7) {
            let (rcv, snd) = if s.protocol == IPPROTO_TCP {
                (131_072, 16_384)
            } else {
                (212_992, 212_992)
            };
            m.put(
                7,
                &[queues.0, rcv, 0, snd, 0, 0, 0, 0, 0]
                    .iter()
                    .flat_map(|v: &u32| v.to_le_bytes())
                    .collect::<Vec<u8>>(),
            );
        }
        if s.protocol == IPPROTO_TCP {
            if asked(4) {
                m.put_str(4, "cubic");
            }
            if asked(2) {
                m.put(2, &self.tcp_info(id.0));
            }
        }
        m
    }

    fn diag_unix(&self, r: &Request<'_>) -> Vec<Message> {
        let (states, ino, show) = (r.u32_at(4), r.u32_at(8), r.u32_at(12));
        let mut v = Vec::new();
        for (_, s) in self.sockets() {
            let Body::Unix(u) = &s.body else { continue };
            let state: u8 = match (u.backlog, u.connected) {
                (Some(_), _) => 10,
                (_, true) => 1,
                _ => 7,
            };
            if states >> state & 1 == 0 || ino != 0 && ino != u32::MAX && u64::from(ino) != s.inode {
                continue;
            }
            let mut head = vec![AF_UNIX as u8, s.kind as u8, state, 0];
            head.extend((s.inode as u32).to_le_bytes());
            head.extend(super::super::mix(s.inode).to_le_bytes());
            let mut m = Message::new(BY_FAMILY, &head);
            if show & 1 != 0 {
                match &u.name {
                    Some(Name::Path(p, _)) => m.put(0, p),
                    Some(Name::Abstract(n)) => m.put(0, &[&[0], &n[..]].concat()),
                    None => {}
                }
            }
            if show & 2 != 0
                && let Some(Name::Path(_, ino)) = &u.name
            {
                m.put(
                    1,
                    &[(*ino as u32).to_le_bytes(), 0x80_0001u32.to_le_bytes()].concat(),
                );
            }
            let peer = u.peer.and_then(|p| self.socks.get(p)).map(|p| p.inode);
            if show & 4 != 0
                && let Some(p) = peer.filter(|_| state == 1)
            {
                m.put_u32(2, p as u32);
            }
            if show & 16 != 0 {
                let (a, b) = if state == 10 {
                    (u.accept.len() as u32, u.backlog.unwrap_or(0))
                } else {
                    (u.queue.len() as u32, 0)
                };
                m.put(4, &[a.to_le_bytes(), b.to_le_bytes()].concat());
            }
            if show & 32 != 0 {
                m.put(
                    5,
                    &[0u32, 212_992, 0, 212_992, 0, 0, 0, 0, 0]
                        .iter()
                        .flat_map(|v| v.to_le_bytes())
                        .collect::<Vec<u8>>(),
                );
            }
            m.put_u8(6, u8::from(s.shut_read) | u8::from(s.shut_write) << 1);
            if show & 64 != 0 {
                m.put_u32(7, s.uid);
            }
            v.push(m);
        }
        v
    }

    fn diag_netlink(&self, r: &Request<'_>) -> Vec<Message> {
        let protocol = r.u8_at(1);
        let mut v = Vec::new();
        for (_, s) in self.sockets() {
            let Body::Netlink(n) = &s.body else { continue };
            if protocol != 255 && u32::from(protocol) != s.protocol {
                continue;
            }
            let mut head = vec![AF_NETLINK as u8, s.kind as u8, s.protocol as u8, 0];
            for x in [
                n.port,
                n.dest,
                0,
                s.inode as u32,
                super::super::mix(s.inode) as u32,
                0,
            ] {
                head.extend(x.to_le_bytes());
            }
            v.push(Message::new(BY_FAMILY, &head));
        }
        v
    }
}

/// `struct inet_diag_msg` with addresses and cookie.
fn inet_head(family: u16, state: u8, local: (IpAddr, u16), remote: (IpAddr, u16), inode: u64) -> Vec<u8> {
    let mut head = vec![0u8; 72];
    head[0] = family as u8;
    head[1] = state;
    head[4..6].copy_from_slice(&local.1.to_be_bytes());
    head[6..8].copy_from_slice(&remote.1.to_be_bytes());
    for (at, ip) in [(8, local.0), (24, remote.0)] {
        match (ip, family) {
            (IpAddr::V4(ip), AF_INET) => head[at..at + 4].copy_from_slice(&ip.octets()),
            (IpAddr::V4(ip), _) => head[at..at + 16].copy_from_slice(&ip.to_ipv6_mapped().octets()),
            (IpAddr::V6(ip), _) => head[at..at + 16].copy_from_slice(&ip.octets()),
        }
    }
    head[44..52].copy_from_slice(&super::super::mix(inode).to_le_bytes());
    head
}
