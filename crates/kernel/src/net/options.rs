//! Socket options: one table of what may be set and what it reads as.

use super::{BUFFER_DEFAULT, Body, Caller, Net, SockId, Socket};
use crate::abi::net::*;
use crate::{Errno, KResult};
use std::collections::BTreeMap;
use turncoat_freeze::Freeze;

/// What kind of value an option has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// 0 or 1; anything but 0 sets 1.
    Flag,
    /// A number within bounds.
    Number(i32, i32),
    /// A number that only CAP_NET_ADMIN sets.
    Privileged,
    /// Bytes kept as they are, of at least this length.
    Bytes(usize),
    /// Accepted; reading it says ENOPROTOOPT.
    Accepted,
}

/// Options with a value of their own: level, name, form, default, which sockets have it (see [`fits`]).
const TABLE: &[(u32, u32, Form, i32)] = &[
    (SOL_SOCKET, SO_DEBUG, Form::Privileged, 0),
    (SOL_SOCKET, SO_REUSEADDR, Form::Flag, 0),
    (SOL_SOCKET, SO_REUSEPORT, Form::Flag, 0),
    (SOL_SOCKET, SO_DONTROUTE, Form::Flag, 0),
    (SOL_SOCKET, SO_BROADCAST, Form::Flag, 0),
    (SOL_SOCKET, SO_KEEPALIVE, Form::Flag, 0),
    (SOL_SOCKET, SO_OOBINLINE, Form::Flag, 0),
    (SOL_SOCKET, SO_NO_CHECK, Form::Flag, 0),
    (SOL_SOCKET, SO_PRIORITY, Form::Number(0, 6), 0),
    (SOL_SOCKET, SO_BSDCOMPAT, Form::Accepted, 0),
    (SOL_SOCKET, SO_LINGER, Form::Bytes(8), 0),
    (SOL_SOCKET, SO_PASSCRED, Form::Flag, 0),
    (SOL_SOCKET, SO_PASSSEC, Form::Flag, 0),
    (SOL_SOCKET, SO_RCVLOWAT, Form::Number(i32::MIN, i32::MAX), 1),
    (SOL_SOCKET, SO_RCVTIMEO, Form::Bytes(16), 0),
    (SOL_SOCKET, SO_SNDTIMEO, Form::Bytes(16), 0),
    (SOL_SOCKET, SO_TIMESTAMP, Form::Flag, 0),
    (SOL_SOCKET, SO_TIMESTAMPNS, Form::Flag, 0),
    (SOL_SOCKET, SO_TIMESTAMPING, Form::Number(0, i32::MAX), 0),
    (SOL_SOCKET, SO_MARK, Form::Privileged, 0),
    (SOL_SOCKET, SO_RXQ_OVFL, Form::Flag, 0),
    (SOL_SOCKET, SO_BUSY_POLL, Form::Privileged, 0),
    (SOL_SOCKET, SO_INCOMING_CPU, Form::Number(i32::MIN, i32::MAX), -1),
    (SOL_SOCKET, SO_PEEK_OFF, Form::Number(-1, i32::MAX), -1),
    (SOL_SOCKET, SO_ZEROCOPY, Form::Flag, 0),
    (SOL_SOCKET, SO_LOCK_FILTER, Form::Flag, 0),
    (SOL_SOCKET, SO_ATTACH_FILTER, Form::Accepted, 0),
    (SOL_SOCKET, SO_DETACH_FILTER, Form::Accepted, 0),
    (IPPROTO_TCP, TCP_NODELAY, Form::Flag, 0),
    (IPPROTO_TCP, TCP_MAXSEG, Form::Number(88, 32767), 536),
    (IPPROTO_TCP, TCP_CORK, Form::Flag, 0),
    (IPPROTO_TCP, TCP_KEEPIDLE, Form::Number(1, 32767), 7200),
    (IPPROTO_TCP, TCP_KEEPINTVL, Form::Number(1, 32767), 75),
    (IPPROTO_TCP, TCP_KEEPCNT, Form::Number(1, 127), 9),
    (IPPROTO_TCP, TCP_SYNCNT, Form::Number(1, 127), 6),
    (IPPROTO_TCP, TCP_LINGER2, Form::Number(i32::MIN, i32::MAX), 60),
    (IPPROTO_TCP, TCP_DEFER_ACCEPT, Form::Number(i32::MIN, i32::MAX), 0),
    (IPPROTO_TCP, TCP_WINDOW_CLAMP, Form::Number(0, i32::MAX), 0),
    (IPPROTO_TCP, TCP_QUICKACK, Form::Flag, 1),
    (IPPROTO_TCP, TCP_USER_TIMEOUT, Form::Number(0, i32::MAX), 0),
    (IPPROTO_TCP, TCP_FASTOPEN, Form::Number(0, i32::MAX), 0),
    (IPPROTO_TCP, TCP_FASTOPEN_CONNECT, Form::Flag, 0),
    (
        IPPROTO_TCP,
        TCP_NOTSENT_LOWAT,
        Form::Number(i32::MIN, i32::MAX),
        0,
    ),
    (IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, Form::Flag, 0),
    (IPPROTO_IP, IP_TOS, Form::Number(0, 255), 0),
    (IPPROTO_IP, IP_TTL, Form::Number(1, 255), 64),
    (IPPROTO_IP, IP_HDRINCL, Form::Flag, 0),
    (IPPROTO_IP, IP_RECVOPTS, Form::Flag, 0),
    (IPPROTO_IP, IP_RETOPTS, Form::Flag, 0),
    (IPPROTO_IP, IP_PKTINFO, Form::Flag, 0),
    (IPPROTO_IP, IP_MTU_DISCOVER, Form::Number(0, 5), 1),
    (IPPROTO_IP, IP_RECVERR, Form::Flag, 0),
    (IPPROTO_IP, IP_RECVTTL, Form::Flag, 0),
    (IPPROTO_IP, IP_RECVTOS, Form::Flag, 0),
    (IPPROTO_IP, IP_FREEBIND, Form::Flag, 0),
    (IPPROTO_IP, IP_TRANSPARENT, Form::Privileged, 0),
    (IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, Form::Flag, 0),
    (IPPROTO_IP, IP_MULTICAST_TTL, Form::Number(-1, 255), 1),
    (IPPROTO_IP, IP_MULTICAST_LOOP, Form::Flag, 1),
    (IPPROTO_IP, IP_MULTICAST_ALL, Form::Flag, 1),
    (IPPROTO_IP, IP_MULTICAST_IF, Form::Bytes(4), 0),
    (IPPROTO_IP, IP_ADD_MEMBERSHIP, Form::Accepted, 0),
    (IPPROTO_IP, IP_DROP_MEMBERSHIP, Form::Accepted, 0),
    (IPPROTO_IP, IP_OPTIONS, Form::Accepted, 0),
    (IPPROTO_IPV6, IPV6_V6ONLY, Form::Flag, 0),
    (IPPROTO_IPV6, IPV6_UNICAST_HOPS, Form::Number(-1, 255), 64),
    (IPPROTO_IPV6, IPV6_MULTICAST_IF, Form::Number(0, i32::MAX), 0),
    (IPPROTO_IPV6, IPV6_MULTICAST_HOPS, Form::Number(-1, 255), 1),
    (IPPROTO_IPV6, IPV6_MULTICAST_LOOP, Form::Flag, 1),
    (IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, Form::Accepted, 0),
    (IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP, Form::Accepted, 0),
    (IPPROTO_IPV6, IPV6_MTU_DISCOVER, Form::Number(0, 5), 1),
    (IPPROTO_IPV6, IPV6_RECVERR, Form::Flag, 0),
    (IPPROTO_IPV6, IPV6_RECVPKTINFO, Form::Flag, 0),
    (IPPROTO_IPV6, IPV6_RECVHOPLIMIT, Form::Flag, 0),
    (IPPROTO_IPV6, IPV6_RECVTCLASS, Form::Flag, 0),
    (IPPROTO_IPV6, IPV6_TCLASS, Form::Number(-1, 255), 0),
    (IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, Form::Flag, 1),
    (IPPROTO_IPV6, IPV6_FREEBIND, Form::Flag, 0),
    // Raw sockets: ICMP filters (SOL_RAW is 255, SOL_ICMPV6 58).
    (255, ICMP_FILTER, Form::Bytes(4), 0),
    (IPPROTO_ICMPV6, ICMP6_FILTER, Form::Bytes(32), 0),
    (IPPROTO_IPV6, 7, Form::Number(-1, i32::MAX), 0),
    (SOL_NETLINK, 1, Form::Accepted, 0),
    (SOL_NETLINK, 2, Form::Accepted, 0),
    (SOL_NETLINK, 3, Form::Flag, 0),
    (SOL_NETLINK, 4, Form::Flag, 0),
    (SOL_NETLINK, 5, Form::Flag, 0),
    (SOL_NETLINK, 8, Form::Flag, 0),
    (SOL_NETLINK, 10, Form::Flag, 0),
    (SOL_NETLINK, 11, Form::Flag, 0),
    (SOL_NETLINK, 12, Form::Flag, 0),
];

/// What was set on a socket.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Freeze)]
pub struct Options {
    values: BTreeMap<(u32, u32), Vec<u8>>,
}

impl Options {
    /// The number that an option holds.
    pub(super) fn number(&self, level: u32, name: u32) -> i32 {
        match self
            .values
            .get(&(level, name))
            .and_then(|v| v.get(..4)?.try_into().ok())
        {
            Some(v) => i32::from_le_bytes(v),
            None => TABLE
                .iter()
                .find(|t| (t.0, t.1) == (level, name))
                .map_or(0, |t| t.3),
        }
    }

    /// True if a flag is set.
    pub(super) fn on(&self, level: u32, name: u32) -> bool {
        self.number(level, name) != 0
    }

    pub(crate) fn set_number(&mut self, level: u32, name: u32, v: i32) {
        self.values.insert((level, name), v.to_le_bytes().to_vec());
    }

    pub(super) fn send_buffer(&self) -> usize {
        match self.values.contains_key(&(SOL_SOCKET, SO_SNDBUF)) {
            true => self.number(SOL_SOCKET, SO_SNDBUF) as usize,
            false => BUFFER_DEFAULT,
        }
    }

    pub(super) fn receive_buffer(&self) -> usize {
        match self.values.contains_key(&(SOL_SOCKET, SO_RCVBUF)) {
            true => self.number(SOL_SOCKET, SO_RCVBUF) as usize,
            false => BUFFER_DEFAULT,
        }
    }

    pub(super) fn bytes(&self, level: u32, name: u32) -> Option<&[u8]> {
        self.values.get(&(level, name)).map(Vec::as_slice)
    }

    /// Linger on with time 0: closing resets.
    pub(super) fn abortive(&self) -> bool {
        self.values
            .get(&(SOL_SOCKET, SO_LINGER))
            .is_some_and(|v| v.first() == Some(&1) && v.get(4..8) == Some(&[0; 4]))
    }

    pub(super) fn timeout(&self, name: u32) -> Option<u64> {
        let v = self.values.get(&(SOL_SOCKET, name))?;
        let at = |i: usize| Some(u64::from_le_bytes(v.get(i..i + 8)?.try_into().ok()?));
        let ns = at(0)?
            .checked_mul(1_000_000_000)?
            .checked_add(at(8)?.checked_mul(1000)?)?;
        (ns > 0).then_some(ns)
    }
}

/// Does this kind of socket know the level, and if so which error says that it does not know an option?
fn fits(s: &Socket, level: u32) -> Result<(), Errno> {
    let ok = match (&s.body, level) {
        (_, SOL_SOCKET) => true,
        (Body::Tcp(_), IPPROTO_TCP) | (Body::Tcp(_) | Body::Udp(_), IPPROTO_IP) => true,
        (Body::Tcp(_) | Body::Udp(_), IPPROTO_IPV6) => s.family == AF_INET6,
        (Body::Udp(_), 255 | IPPROTO_ICMPV6) => s.kind == SOCK_RAW,
        (Body::Netlink(_), SOL_NETLINK) => true,
        (Body::Unix(_), _) => return Err(Errno::EOPNOTSUPP),
        (Body::Packet, SOL_PACKET) => true,
        _ => false,
    };
    if ok { Ok(()) } else { Err(Errno::ENOPROTOOPT) }
}

impl Net {
    /// `setsockopt(2)`.
    pub fn setsockopt(
        &mut self,
        id: SockId,
        who: &Caller,
        level: u32,
        name: u32,
        value: &[u8],
    ) -> KResult<()> {
        let now_bound = matches!(&self.sock(id.0)?.body, Body::Tcp(t) if t.local.1 != 0);
        let listening = matches!(&self.sock(id.0)?.body, Body::Tcp(t) if t.backlog.is_some());
        let s = self.sock_mut(id.0)?;
        fits(s, level)?;
        if level == SOL_PACKET {
            return Ok(());
        }
        let name = match (level, name) {
            (SOL_SOCKET, SO_RCVTIMEO_NEW) => SO_RCVTIMEO,
            (SOL_SOCKET, SO_SNDTIMEO_NEW) => SO_SNDTIMEO,
            (_, n) => n,
        };
        // Options of one byte are taken by IP and IPv6.
        let number = match value {
            [a, b, c, d, ..] => Some(i32::from_le_bytes([*a, *b, *c, *d])),
            [a, ..] if level == IPPROTO_IP => Some(i32::from(*a)),
            _ => None,
        };
        if level == SOL_NETLINK && (name == 1 || name == 2) {
            let group = number.ok_or(Errno::EINVAL)?;
            return self.netlink_membership(id.0, group as u32, name == 1);
        }
        match (level, name) {
            (SOL_SOCKET, SO_SNDBUF | SO_RCVBUF | SO_SNDBUFFORCE | SO_RCVBUFFORCE) => {
                let force = name == SO_SNDBUFFORCE || name == SO_RCVBUFFORCE;
                if force && !who.net_admin {
                    return Err(Errno::EPERM);
                }
                let n = number.ok_or(Errno::EINVAL)? as u32;
                let n = if force {
                    n.min(16 << 20)
                } else {
                    n.min(BUFFER_DEFAULT as u32)
                } as i32
                    * 2;
                let (name, low) = match name {
                    SO_SNDBUF | SO_SNDBUFFORCE => (SO_SNDBUF, 4608),
                    _ => (SO_RCVBUF, 2304),
                };
                s.opts.set_number(level, name, n.max(low));
                self.wake(id.0);
                return Ok(());
            }
            (SOL_SOCKET, SO_BINDTODEVICE) => {
                let text = value.split(|c| *c == 0).next().unwrap_or(&[]);
                let text = String::from_utf8_lossy(text).into_owned();
                if !text.is_empty() && self.facts.interface_named(&text).is_none() {
                    return Err(Errno::ENODEV);
                }
                let s = self.sock_mut(id.0)?;
                s.opts
                    .values
                    .insert((level, name), [text.as_bytes(), &[0]].concat());
                return Ok(());
            }
            (
                SOL_SOCKET,
                SO_TYPE | SO_ERROR | SO_DOMAIN | SO_PROTOCOL | SO_ACCEPTCONN | SO_PEERCRED | SO_SNDLOWAT,
            ) => {
                return Err(Errno::ENOPROTOOPT);
            }
            (SOL_SOCKET, SO_PASSCRED) if !matches!(s.body, Body::Unix(_) | Body::Netlink(_)) => {
                return Err(Errno::EOPNOTSUPP);
            }
            (IPPROTO_TCP, TCP_CONGESTION) => {
                return match value.split(|c| *c == 0).next() {
                    Some(b"cubic" | b"reno") => {
                        s.opts.values.insert((level, name), value.to_vec());
                        Ok(())
                    }
                    _ => Err(Errno::ENOENT),
                };
            }
            (IPPROTO_TCP, TCP_ULP) => return Err(Errno::ENOENT),
            (IPPROTO_IPV6, IPV6_V6ONLY) if now_bound => return Err(Errno::EINVAL),
            (IPPROTO_TCP, TCP_KEEPIDLE) if listening && number.is_none() => return Err(Errno::EINVAL),
            _ => {}
        }
        let form = TABLE
            .iter()
            .find(|t| (t.0, t.1) == (level, name))
            .ok_or(Errno::ENOPROTOOPT)?
            .2;
        let mut v = match form {
            Form::Accepted => return Ok(()),
            Form::Bytes(n) => {
                if value.len() < n {
                    return Err(Errno::EINVAL);
                }
                if matches!(name, SO_RCVTIMEO | SO_SNDTIMEO) && level == SOL_SOCKET {
                    let usec = value
                        .get(8..16)
                        .and_then(|b| b.try_into().ok())
                        .map_or(0, i64::from_le_bytes);
                    if !(0..1_000_000).contains(&usec) {
                        return Err(Errno::EDOM);
                    }
                }
                s.opts.values.insert((level, name), value[..n].to_vec());
                return Ok(());
            }
            Form::Privileged if !who.net_admin => {
                return Err(if name == SO_DEBUG {
                    Errno::EACCES
                } else {
                    Errno::EPERM
                });
            }
            Form::Privileged => number.ok_or(Errno::EINVAL)?,
            Form::Flag => i32::from(number.ok_or(Errno::EINVAL)? != 0),
            Form::Number(low, high) => {
                let n = number.ok_or(Errno::EINVAL)?;
                if level == SOL_SOCKET && name == SO_PRIORITY && !(0..=6).contains(&n) && !who.net_admin {
                    return Err(Errno::EPERM);
                }
                if n < low || n > high {
                    return Err(Errno::EINVAL);
                }
                n
            }
        };
        match (level, name) {
            (SOL_SOCKET, SO_RCVLOWAT) if v <= 0 => v = if v < 0 { i32::MAX } else { 1 },
            (IPPROTO_IPV6, IPV6_UNICAST_HOPS) if v < 0 => v = 64,
            _ => {}
        }
        s.opts.set_number(level, name, v);
        Ok(())
    }

    /// `getsockopt(2)`: the value in full; the caller cuts it to the length asked for.
    pub fn getsockopt(&mut self, id: SockId, level: u32, name: u32) -> KResult<Vec<u8>> {
        let s = self.sock(id.0)?;
        let number = |n: i32| Ok(n.to_le_bytes().to_vec());
        fits(s, level)?;
        match (level, name) {
            (SOL_SOCKET, SO_TYPE) => number(s.kind as i32),
            (SOL_SOCKET, SO_DOMAIN) => number(i32::from(s.family)),
            (SOL_SOCKET, SO_PROTOCOL) => number(s.protocol as i32),
            (SOL_SOCKET, SO_ERROR) => {
                let e = self.sock_mut(id.0)?.err.take();
                number(e.map_or(0, |e| i32::from(e.0)))
            }
            (SOL_SOCKET, SO_ACCEPTCONN) => number(i32::from(match &s.body {
                Body::Unix(u) => u.backlog.is_some(),
                Body::Tcp(t) => t.backlog.is_some(),
                _ => false,
            })),
            (SOL_SOCKET, SO_SNDBUF | SO_RCVBUF) => number(match (s.opts.bytes(level, name), &s.body, name) {
                (None, Body::Tcp(_), SO_SNDBUF) => 16384,
                (None, Body::Tcp(_), _) => 131_072,
                (None, ..) => BUFFER_DEFAULT as i32,
                _ => s.opts.number(level, name),
            }),
            (SOL_SOCKET, SO_SNDLOWAT) => number(1),
            (SOL_SOCKET, SO_LINGER) => Ok(s.opts.bytes(level, name).unwrap_or(&[0; 8]).to_vec()),
            (SOL_SOCKET, SO_RCVTIMEO | SO_RCVTIMEO_NEW | SO_SNDTIMEO | SO_SNDTIMEO_NEW) => {
                let name = if matches!(name, SO_RCVTIMEO | SO_RCVTIMEO_NEW) {
                    SO_RCVTIMEO
                } else {
                    SO_SNDTIMEO
                };
                Ok(s.opts.bytes(level, name).unwrap_or(&[0; 16]).to_vec())
            }
            (SOL_SOCKET, SO_BINDTODEVICE) => Ok(s.opts.bytes(level, name).unwrap_or(&[]).to_vec()),
            (SOL_SOCKET, SO_PEERCRED) => {
                let c = match &s.body {
                    Body::Unix(u) => u.peer_cred,
                    _ => None,
                };
                let c = c.map_or([0, u32::MAX, u32::MAX], |c| [c.pid, c.uid, c.gid]);
                Ok(c.iter().flat_map(|v| v.to_le_bytes()).collect())
            }
            (SOL_SOCKET, SO_PEERNAME) => self.getpeername(id).map(|a| a.to_bytes()),
            (SOL_SOCKET, SO_PEERGROUPS) => Err(Errno::ENODATA),
            (SOL_SOCKET, SO_PEERSEC) => Err(Errno::ENOPROTOOPT),
            (SOL_SOCKET, SO_COOKIE) => Ok(super::mix(s.inode).to_le_bytes().to_vec()),
            (IPPROTO_TCP, TCP_INFO) => Ok(self.tcp_info(id.0)),
            (IPPROTO_TCP, TCP_CONGESTION) => {
                let mut v = s.opts.bytes(level, name).unwrap_or(b"cubic").to_vec();
                v.resize(16, 0);
                Ok(v)
            }
            (IPPROTO_TCP, TCP_MAXSEG) => number(match &s.body {
                Body::Tcp(t) if t.has_peer() => {
                    if t.loops() {
                        32768
                    } else {
                        1448
                    }
                }
                _ => s.opts.number(level, name),
            }),
            (IPPROTO_IP, IP_MTU) | (IPPROTO_IPV6, IPV6_MTU) => match &s.body {
                Body::Tcp(t) if t.has_peer() => number(if t.loops() { 65535 } else { 1500 }),
                Body::Udp(u) if u.remote.is_some() => number(1500),
                _ => Err(Errno::ENOTCONN),
            },
            (SOL_NETLINK, 9) => match &s.body {
                Body::Netlink(n) => Ok(n.groups.to_le_bytes().to_vec()),
                _ => Err(Errno::ENOPROTOOPT),
            },
            (SOL_PACKET, 6) => Ok(vec![0; 8]),
            _ => match TABLE.iter().find(|t| (t.0, t.1) == (level, name)) {
                None | Some((_, _, Form::Accepted, _)) => Err(Errno::ENOPROTOOPT),
                Some((_, _, Form::Bytes(n), _)) => Ok(s
                    .opts
                    .bytes(level, name)
                    .map_or_else(|| vec![0; *n], <[u8]>::to_vec)),
                Some(_) => number(s.opts.number(level, name)),
            },
        }
    }
}
