//! AF_NETLINK: requests are answered at once into the socket's own queue.
//!
//! [`route`] shows and changes interfaces, addresses, routes, neighbours and rules; [`diag`] lists sockets for `ss`. Audit,
//! generic, netfilter and uevent sockets answer as on a machine where nothing of the kind is set up.

pub mod diag;
pub mod route;

use super::{Body, Caller, Net, Outgoing, Received};
use crate::abi::net::*;
use crate::{Errno, KResult};
use std::collections::VecDeque;
use turncoat_freeze::Freeze;

/// NETLINK_ROUTE.
pub const ROUTE: u32 = 0;
/// NETLINK_SOCK_DIAG.
pub const SOCK_DIAG: u32 = 4;
/// NETLINK_AUDIT.
pub const AUDIT: u32 = 9;
/// NETLINK_NETFILTER.
pub const NETFILTER: u32 = 12;
/// NETLINK_KOBJECT_UEVENT.
pub const UEVENT: u32 = 15;
/// NETLINK_GENERIC.
pub const GENERIC: u32 = 16;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_MULTI: u16 = 2;
const NLM_F_ACK: u16 = 4;
pub(super) const NLM_F_DUMP: u16 = 0x300;
/// Bytes of one datagram of a dump.
const DATAGRAM: usize = 3732;
/// Datagrams that wait in one socket.
const QUEUE_MAX: usize = 4096;

/// The state of a netlink socket.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Freeze)]
pub struct Netlink {
    /// Port number (0: none yet).
    pub port: u32,
    /// Multicast groups 1-32 as bits.
    pub groups: u32,
    pub(super) dest: u32,
    queue: VecDeque<Vec<u8>>,
}

impl Netlink {
    pub(super) fn readable(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.iter().map(Vec::len).sum()
    }
}

/// One message being written.
pub(super) struct Message(Vec<u8>);

impl Message {
    /// A message of this type; the length is set when it is done.
    pub(super) fn new(kind: u16, head: &[u8]) -> Message {
        let mut b = vec![0; 16];
        b[4..6].copy_from_slice(&kind.to_le_bytes());
        b.extend(head);
        b.resize(b.len().next_multiple_of(4), 0);
        Message(b)
    }

    /// Appends an attribute.
    pub(super) fn put(&mut self, kind: u16, data: &[u8]) {
        self.0.extend((data.len() as u16 + 4).to_le_bytes());
        self.0.extend(kind.to_le_bytes());
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    pub(super) fn put_u32(&mut self, kind: u16, n: u32) {
        self.put(kind, &n.to_le_bytes());
    }

    pub(super) fn put_u8(&mut self, kind: u16, n: u8) {
        self.put(kind, &[n]);
    }

    pub(super) fn put_str(&mut self, kind: u16, s: &str) {
        self.put(kind, &[s.as_bytes(), &[0]].concat());
    }

    /// Appends an attribute that holds attributes.
    pub(super) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Message)) {
        let at = self.0.len();
        self.put(kind, &[]);
        fill(self);
        let len = (self.0.len() - at) as u16;
        self.0[at..at + 2].copy_from_slice(&len.to_le_bytes());
    }

    fn done(mut self, flags: u16, seq: u32, port: u32) -> Vec<u8> {
        let len = self.0.len() as u32;
        self.0[..4].copy_from_slice(&len.to_le_bytes());
        self.0[6..8].copy_from_slice(&flags.to_le_bytes());
        self.0[8..12].copy_from_slice(&seq.to_le_bytes());
        self.0[12..16].copy_from_slice(&port.to_le_bytes());
        self.0
    }
}

/// One request, parsed.
pub(super) struct Request<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    seq: u32,
    /// What follows the header.
    pub(super) body: &'a [u8],
    /// The whole message, as errors repeat it.
    whole: &'a [u8],
}

impl Request<'_> {
    pub(super) fn dump(&self) -> bool {
        self.flags & NLM_F_DUMP == NLM_F_DUMP
    }

    pub(super) fn u8_at(&self, at: usize) -> u8 {
        self.body.get(at).copied().unwrap_or(0)
    }

    pub(super) fn u32_at(&self, at: usize) -> u32 {
        self.body
            .get(at..at + 4)
            .and_then(|b| b.try_into().ok())
            .map_or(0, u32::from_le_bytes)
    }

    /// The attribute of this type behind a head of `head` bytes.
    pub(super) fn attribute(&self, head: usize, kind: u16) -> Option<&[u8]> {
        attributes(self.body.get(head..)?)
            .find(|(k, _)| k & 0x3fff == kind)
            .map(|a| a.1)
    }
}

/// Attributes in order; stops at the first impossible length.
pub(super) fn attributes(mut b: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_le_bytes([*b.first()?, *b.get(1)?]));
        let kind = u16::from_le_bytes([*b.get(2)?, *b.get(3)?]);
        let data = b.get(4..len)?;
        b = b.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, data))
    })
}

/// What a request leads to.
pub(super) type Answer = KResult<Vec<Message>>;

impl Net {
    pub(super) fn netlink_socket(&mut self, who: &Caller, kind: u32, protocol: u32) -> KResult<u32> {
        if kind != SOCK_RAW && kind != SOCK_DGRAM {
            return Err(Errno::ESOCKTNOSUPPORT);
        }
        if ![
            ROUTE, 2, SOCK_DIAG, 5, 6, AUDIT, 10, 11, NETFILTER, UEVENT, GENERIC, 20, 21,
        ]
        .contains(&protocol)
        {
            return Err(Errno::EPROTONOSUPPORT);
        }
        self.add(who, AF_NETLINK, kind, protocol, Body::Netlink(Box::default()))
    }

    fn netlink(&mut self, id: u32) -> KResult<&mut Netlink> {
        match &mut self.sock_mut(id)?.body {
            Body::Netlink(n) => Ok(n),
            _ => Err(Errno::EBADF),
        }
    }

    pub(super) fn netlink_bind(&mut self, id: u32, who: &Caller, to: &SockAddr) -> KResult<()> {
        let SockAddr::Netlink(port, groups) = *to else {
            return Err(Errno::EINVAL);
        };
        let protocol = self.sock(id)?.protocol;
        if groups != 0 && protocol == AUDIT && !who.net_admin {
            return Err(Errno::EPERM);
        }
        let own = self.netlink(id)?.port;
        if own != 0 && port != own {
            return Err(Errno::EINVAL);
        }
        if own == 0 && port != 0 && self.netlink_port_taken(protocol, port) {
            return Err(Errno::EADDRINUSE);
        }
        if own == 0 {
            let port = if port == 0 {
                self.netlink_free_port(protocol, who.pid)
            } else {
                port
            };
            self.netlink(id)?.port = port;
        }
        self.netlink(id)?.groups = groups;
        Ok(())
    }

    fn netlink_port_taken(&self, protocol: u32, port: u32) -> bool {
        self.socks
            .iter()
            .any(|(_, s)| matches!(&s.body, Body::Netlink(n) if n.port == port && s.protocol == protocol))
    }

    fn netlink_free_port(&mut self, protocol: u32, pid: u32) -> u32 {
        let mut port = pid;
        while port == 0 || self.netlink_port_taken(protocol, port) {
            port = 0x8000_0000 | self.random() as u32;
        }
        port
    }

    pub(super) fn netlink_connect(&mut self, id: u32, to: &SockAddr) -> KResult<()> {
        match *to {
            SockAddr::Netlink(port, _) => self.netlink(id)?.dest = port,
            SockAddr::Unspec => self.netlink(id)?.dest = 0,
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    pub(super) fn netlink_membership(&mut self, id: u32, group: u32, join: bool) -> KResult<()> {
        let n = self.netlink(id)?;
        match group {
            0 => return Err(Errno::EINVAL),
            1..=32 if join => n.groups |= 1 << (group - 1),
            1..=32 => n.groups &= !(1 << (group - 1)),
            _ => {}
        }
        Ok(())
    }

    fn netlink_queue(&mut self, id: u32, datagram: Vec<u8>) {
        if let Ok(n) = self.netlink(id)
            && n.queue.len() < QUEUE_MAX
        {
            n.queue.push_back(datagram);
            self.wake(id);
        }
    }

    pub(super) fn netlink_send(&mut self, id: u32, who: &Caller, out: Outgoing<'_>) -> KResult<usize> {
        let to = match out.to {
            Some(SockAddr::Netlink(port, _)) => port,
            Some(_) => return Err(Errno::EINVAL),
            None => self.netlink(id)?.dest,
        };
        let protocol = self.sock(id)?.protocol;
        if self.netlink(id)?.port == 0 {
            self.netlink(id)?.port = self.netlink_free_port(protocol, who.pid);
        }
        if to != 0 {
            return Err(Errno::ECONNREFUSED);
        }
        let port = self.netlink(id)?.port;
        let mut rest = out.data;
        while rest.len() >= 16 {
            let len = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            if len < 16 || len > rest.len() {
                break;
            }
            let u16_at = |i: usize| u16::from_le_bytes([rest[i], rest[i + 1]]);
            let r = Request {
                kind: u16_at(4),
                flags: u16_at(6),
                seq: u32::from_le_bytes([rest[8], rest[9], rest[10], rest[11]]),
                body: &rest[16..len],
                whole: &rest[..len],
            };
            if r.flags & 1 != 0 && (r.kind >= 16 || protocol == AUDIT) {
                self.netlink_request(id, who, protocol, port, &r);
            } else if r.flags & NLM_F_ACK != 0 {
                self.netlink_error(id, port, &r, 0);
            }
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        }
        Ok(out.data.len())
    }

    fn netlink_request(&mut self, id: u32, who: &Caller, protocol: u32, port: u32, r: &Request<'_>) {
        let answer = match protocol {
            ROUTE => self.route_request(who, r),
            SOCK_DIAG => self.diag_request(r),
            AUDIT => self.audit_request(who, r),
            NETFILTER => self.netfilter_request(who, r),
            GENERIC => self.generic_request(r),
            _ => Err(Errno::EOPNOTSUPP),
        };
        let messages = match answer {
            Ok(m) => m,
            Err(e) => return self.netlink_error(id, port, r, -i32::from(e.0)),
        };
        if r.dump() {
            let mut datagram: Vec<u8> = Vec::new();
            for m in messages {
                let m = m.done(NLM_F_MULTI, r.seq, port);
                if !datagram.is_empty() && datagram.len() + m.len() > DATAGRAM {
                    self.netlink_queue(id, std::mem::take(&mut datagram));
                }
                datagram.extend(m);
            }
            if !datagram.is_empty() {
                self.netlink_queue(id, datagram);
            }
            let end = Message::new(NLMSG_DONE, &[0; 4]).done(NLM_F_MULTI, r.seq, port);
            self.netlink_queue(id, end);
            return;
        }
        let one = !messages.is_empty();
        for m in messages {
            let m = m.done(0, r.seq, port);
            self.netlink_queue(id, m);
        }
        if r.flags & NLM_F_ACK != 0 || (!one && protocol == AUDIT) {
            self.netlink_error(id, port, r, 0);
        }
    }

    /// NLMSG_ERROR: the error (0: acknowledged) and the message it is about, all of it if it failed and that was not declined.
    fn netlink_error(&mut self, id: u32, port: u32, r: &Request<'_>, error: i32) {
        let short = error == 0 || self.sock(id).is_ok_and(|s| s.opts.on(SOL_NETLINK, 10));
        let mut head = error.to_le_bytes().to_vec();
        head.extend(if short { &r.whole[..16] } else { r.whole });
        let flags = if short { 0x100 } else { 0 };
        let m = Message::new(NLMSG_ERROR, &head).done(flags, r.seq, port);
        self.netlink_queue(id, m);
    }

    pub(super) fn netlink_recv(&mut self, id: u32, max: usize, flags: u32) -> KResult<Received> {
        let n = self.netlink(id)?;
        let d = match flags & MSG_PEEK != 0 {
            true => n.queue.front().cloned(),
            false => n.queue.pop_front(),
        };
        let mut data = d.ok_or(Errno::EAGAIN)?;
        let len = data.len();
        data.truncate(max);
        let control = match self.sock(id)?.opts.on(SOL_SOCKET, SO_PASSCRED) {
            true => vec![Control::Credentials(0, 0, 0)],
            false => Vec::new(),
        };
        let flags = if len > max { MSG_TRUNC } else { 0 };
        Ok(Received {
            data,
            len,
            from: Some(SockAddr::Netlink(0, 0)),
            control,
            flags,
        })
    }

    /// Tells listeners of a group.
    pub(super) fn netlink_multicast(&mut self, protocol: u32, group: u32, m: Message) {
        let bytes = m.done(0, 0, 0);
        let ids: Vec<u32> = self
            .socks
            .iter()
            .filter(|(_, s)| {
                s.protocol == protocol
                    && matches!(&s.body, Body::Netlink(n) if n.groups >> (group - 1) & 1 == 1)
            })
            .map(|(i, _)| i)
            .collect();
        for id in ids {
            self.netlink_queue(id, bytes.clone());
        }
    }

    /// Audit: root's messages are taken (auditd is not there), others are refused.
    fn audit_request(&mut self, who: &Caller, r: &Request<'_>) -> Answer {
        match r.kind {
            _ if !who.net_admin => Err(Errno::EPERM),
            1000 => {
                let mut status = [0u8; 44];
                status[16..20].copy_from_slice(&64u32.to_le_bytes());
                status[36..40].copy_from_slice(&0x7fu32.to_le_bytes());
                Ok(vec![Message::new(1000, &status)])
            }
            1001 | 1100..1200 | 2100..3000 => Ok(Vec::new()),
            _ => Err(Errno::EINVAL),
        }
    }

    /// nf_tables: generation 1, no tables; changes are acknowledged.
    fn netfilter_request(&mut self, who: &Caller, r: &Request<'_>) -> Answer {
        if !who.net_admin || !self.facts.netfilter {
            return Err(Errno::EPERM);
        }
        const NEWGEN: u16 = 10 << 8 | 15;
        match (r.kind >> 8, r.kind & 0xff) {
            (0, 16 | 17) => Ok(Vec::new()),
            (10, 16) => {
                let mut m = Message::new(NEWGEN, &[0, 0, 0, 1]);
                m.put(1, &1u32.to_be_bytes());
                m.put(2, &who.pid.to_be_bytes());
                Ok(vec![m])
            }
            (10, _) if r.dump() => Ok(Vec::new()),
            (10, kind) if [1, 4, 7, 10, 13, 19].contains(&kind) => Err(Errno::ENOENT),
            (10, _) => Ok(Vec::new()),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Generic netlink: the controller and nobody else.
    fn generic_request(&mut self, r: &Request<'_>) -> Answer {
        const CONTROLLER: u16 = 16;
        if r.kind != CONTROLLER {
            return Err(Errno::ENOENT);
        }
        let named = r
            .attribute(4, 2)
            .map(|n| n.split(|c| *c == 0).next().unwrap_or(&[]).to_vec());
        if !r.dump() && named.as_deref() != Some(b"nlctrl") {
            return Err(Errno::ENOENT);
        }
        let mut m = Message::new(CONTROLLER, &[1, 2, 0, 0]);
        m.put_str(2, "nlctrl");
        m.put(1, &CONTROLLER.to_le_bytes());
        m.put_u32(3, 2);
        m.put_u32(4, 0);
        m.put_u32(5, 10);
        Ok(vec![m])
    }
}
