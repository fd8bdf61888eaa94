//! AF_UNIX: streams, datagrams and sequenced packets (net/unix/af_unix.c).

use super::{Body, Caller, Cred, FileId, LOGGED_MAX, Net, NetEffect, Outgoing, Received, Socket, files_of};
use crate::abi::net::*;
use crate::{Errno, KResult};
use std::collections::VecDeque;
use turncoat_freeze::Freeze;

/// Datagrams that may wait for one receiver (`net.unix.max_dgram_qlen`, as systemd sets it).
pub const QUEUE_MAX: u32 = 512;

/// What a bound socket is found by.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Freeze)]
pub enum Key {
    /// The bytes of an abstract name.
    Abstract(Vec<u8>),
    /// The inode of a path name.
    File(u64),
}

/// A bound name.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Freeze)]
pub enum Name {
    /// In the abstract name space.
    Abstract(Vec<u8>),
    /// In the file system: the path as it was given, and its inode.
    Path(Vec<u8>, u64),
}

impl Name {
    pub(super) fn key(&self) -> Key {
        match self {
            Name::Abstract(n) => Key::Abstract(n.clone()),
            Name::Path(_, ino) => Key::File(*ino),
        }
    }

    pub(super) fn address(&self) -> SockAddr {
        match self {
            Name::Abstract(n) => SockAddr::UnixAbstract(n.clone()),
            Name::Path(p, _) => SockAddr::UnixPath(p.clone()),
        }
    }
}

/// One message, or one piece of a stream.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Freeze)]
pub struct Message {
    pub(super) data: Vec<u8>,
    /// How much of it was read.
    read: usize,
    from: Option<Name>,
    cred: Cred,
    files: Vec<FileId>,
    /// Who pays for it: index and inode.
    owner: (u32, u64),
    cost: usize,
}

impl Message {
    /// Bytes that were not read.
    pub(super) fn unread(&self) -> usize {
        self.data.len() - self.read
    }
}

/// The state of an AF_UNIX socket.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Freeze)]
pub struct Unix {
    pub(super) name: Option<Name>,
    /// Listening, with this backlog.
    pub(super) backlog: Option<u32>,
    /// Connections that nobody accepted yet.
    pub(super) accept: VecDeque<u32>,
    /// The other end. Stays set after that one is gone (`connected` tells a stream's state).
    pub(super) peer: Option<u32>,
    /// A stream or seqpacket socket has (had) a peer.
    pub(super) connected: bool,
    pub(super) queue: VecDeque<Message>,
    /// What messages that this socket sent cost and were not read.
    sent: usize,
    pub(super) peer_cred: Option<Cred>,
    /// Credentials when it began to listen or was made in a pair.
    cred: Option<Cred>,
    /// The name of a peer that is gone.
    peer_name: Option<Name>,
}

/// Memory that a message of this length is charged with: the kernel's header and allocation sizes. Streams put less into one
/// allocation than messages do before they take pages.
pub(crate) fn cost(len: usize, stream: bool) -> usize {
    let head_max = if stream { 4096 - 320 } else { 16384 - 320 };
    let paged = len.saturating_sub(head_max).next_multiple_of(4096);
    let head = len.saturating_sub(paged) + 320;
    256 + head.next_power_of_two() + paged
}

impl Net {
    pub(super) fn unix_socket(&mut self, who: &Caller, kind: u32, protocol: u32) -> KResult<u32> {
        if protocol != 0 && protocol != u32::from(AF_UNIX) {
            return Err(Errno::EPROTONOSUPPORT);
        }
        let kind = match kind {
            SOCK_RAW => SOCK_DGRAM,
            SOCK_STREAM | SOCK_DGRAM | SOCK_SEQPACKET => kind,
            _ => return Err(Errno::ESOCKTNOSUPPORT),
        };
        self.add(who, AF_UNIX, kind, 0, Body::Unix(Box::default()))
    }

    fn unix(&self, id: u32) -> KResult<&Unix> {
        match &self.sock(id)?.body {
            Body::Unix(u) => Ok(u),
            _ => Err(Errno::EBADF),
        }
    }

    fn unix_mut(&mut self, id: u32) -> KResult<&mut Unix> {
        match &mut self.sock_mut(id)?.body {
            Body::Unix(u) => Ok(u),
            _ => Err(Errno::EBADF),
        }
    }

    pub(super) fn unix_pair(&mut self, a: u32, b: u32, who: &Caller) {
        let cred = Cred {
            pid: who.pid,
            uid: who.uid,
            gid: who.gid,
        };
        for (one, other) in [(a, b), (b, a)] {
            if let Ok(u) = self.unix_mut(one) {
                u.peer = Some(other);
                u.connected = true;
                u.cred = Some(cred);
                u.peer_cred = Some(cred);
            }
        }
    }

    pub(super) fn unix_bind(&mut self, id: u32, to: &SockAddr, ino: Option<u64>) -> KResult<()> {
        let bound = self.unix(id)?.name.is_some();
        let name = match (to, ino) {
            (SockAddr::UnixUnnamed, _) if bound => return Ok(()),
            (SockAddr::UnixUnnamed, _) => loop {
                let name = format!("{:05x}", self.random() & 0xfffff).into_bytes();
                if !self.unix_names.contains_key(&Key::Abstract(name.clone())) {
                    break Name::Abstract(name);
                }
            },
            (SockAddr::UnixAbstract(n), _) => Name::Abstract(n.clone()),
            (SockAddr::UnixPath(p), Some(ino)) => Name::Path(p.clone(), ino),
            _ => return Err(Errno::EINVAL),
        };
        if bound {
            return Err(Errno::EINVAL);
        }
        let key = name.key();
        if matches!(key, Key::Abstract(_)) && self.unix_names.contains_key(&key) {
            return Err(Errno::EADDRINUSE);
        }
        self.unix_mut(id)?.name = Some(name);
        self.unix_names.insert(key, id);
        Ok(())
    }

    pub(super) fn unix_listen(&mut self, id: u32, who: &Caller, backlog: u32) -> KResult<()> {
        if self.sock(id)?.kind == SOCK_DGRAM {
            return Err(Errno::EOPNOTSUPP);
        }
        let u = self.unix_mut(id)?;
        if u.name.is_none() || u.connected {
            return Err(Errno::EINVAL);
        }
        u.backlog = Some(backlog);
        u.cred = Some(Cred {
            pid: who.pid,
            uid: who.uid,
            gid: who.gid,
        });
        self.wake(id);
        Ok(())
    }

    /// The socket that a name leads to, of the same kind.
    fn unix_find(&self, id: u32, to: &SockAddr, ino: Option<u64>) -> KResult<u32> {
        let key = match (to, ino) {
            (SockAddr::UnixAbstract(n), _) => Key::Abstract(n.clone()),
            (SockAddr::UnixPath(_), Some(ino)) => Key::File(ino),
            _ => return Err(Errno::EINVAL),
        };
        let found = *self.unix_names.get(&key).ok_or(Errno::ECONNREFUSED)?;
        if self.sock(found)?.kind != self.sock(id)?.kind {
            return Err(Errno::EPROTOTYPE);
        }
        Ok(found)
    }

    pub(super) fn unix_connect(
        &mut self,
        id: u32,
        who: &Caller,
        to: &SockAddr,
        ino: Option<u64>,
    ) -> KResult<()> {
        let dgram = self.sock(id)?.kind == SOCK_DGRAM;
        if dgram && *to == SockAddr::Unspec {
            self.unix_mut(id)?.peer = None;
            return Ok(());
        }
        if !matches!(to, SockAddr::UnixAbstract(_) | SockAddr::UnixPath(_)) {
            return Err(Errno::EINVAL);
        }
        let other = self.unix_find(id, to, ino)?;
        if dgram {
            let theirs = self.unix(other)?.peer;
            if theirs.is_some_and(|p| p != id) {
                return Err(Errno::EPERM);
            }
            let u = self.unix_mut(id)?;
            u.peer = Some(other);
            u.peer_name = None;
            return Ok(());
        }
        let l = self.unix(other)?;
        let (Some(backlog), false) = (l.backlog, self.sock(other)?.shut_read) else {
            return Err(Errno::ECONNREFUSED);
        };
        if l.accept.len() > backlog as usize {
            return Err(Errno::EAGAIN);
        }
        let (name, cred) = (l.name.clone(), l.cred);
        let u = self.unix(id)?;
        if u.backlog.is_some() {
            return Err(Errno::EINVAL);
        }
        if u.connected {
            return Err(Errno::EISCONN);
        }
        let (kind, owner) = (self.sock(id)?.kind, self.sock(other)?);
        let (uid, pid) = (owner.uid, owner.pid);
        let new = self.add(
            &Caller {
                uid,
                pid,
                ..Caller::default()
            },
            AF_UNIX,
            kind,
            0,
            Body::Unix(Box::default()),
        )?;
        let mine = Cred {
            pid: who.pid,
            uid: who.uid,
            gid: who.gid,
        };
        let n = self.unix_mut(new)?;
        n.name = name;
        n.peer = Some(id);
        n.connected = true;
        n.cred = cred;
        n.peer_cred = Some(mine);
        let opts = self.sock(other)?.opts.clone();
        self.sock_mut(new)?.opts = opts;
        let u = self.unix_mut(id)?;
        u.peer = Some(new);
        u.connected = true;
        u.peer_cred = cred;
        u.cred = Some(mine);
        self.unix_mut(other)?.accept.push_back(new);
        self.wake(other);
        self.wake(id);
        Ok(())
    }

    pub(super) fn unix_accept(&mut self, id: u32) -> KResult<u32> {
        if self.sock(id)?.kind == SOCK_DGRAM {
            return Err(Errno::EOPNOTSUPP);
        }
        let shut = self.sock(id)?.shut_read;
        let u = self.unix_mut(id)?;
        if u.backlog.is_none() || shut {
            return Err(Errno::EINVAL);
        }
        let new = u.accept.pop_front().ok_or(Errno::EAGAIN)?;
        self.wake(id);
        Ok(new)
    }

    /// Who listens at the name that the connecting side waits for; wakes go to its key too.
    pub fn unix_listener(&self, id: super::SockId, to: &SockAddr, ino: Option<u64>) -> Option<super::SockId> {
        self.unix_find(id.0, to, ino).ok().map(super::SockId)
    }

    pub(super) fn unix_send(&mut self, id: u32, who: &Caller, out: Outgoing<'_>) -> KResult<usize> {
        let files = files_of(&out.control);
        let r = self.unix_send_message(id, who, &out, &files);
        if r.is_err() {
            self.drop_files(files);
        }
        r
    }

    fn unix_send_message(
        &mut self,
        id: u32,
        who: &Caller,
        out: &Outgoing<'_>,
        files: &[FileId],
    ) -> KResult<usize> {
        let mut cred = Cred {
            pid: who.pid,
            uid: who.uid,
            gid: who.gid,
        };
        for c in &out.control {
            if let Control::Credentials(pid, uid, gid) = *c {
                if !who.admin && (pid, uid, gid) != (who.pid, who.uid, who.gid) {
                    return Err(Errno::EPERM);
                }
                cred = Cred { pid, uid, gid };
            }
        }
        let s = self.sock(id)?;
        let (kind, limit, inode, shut) = (s.kind, s.opts.send_buffer(), s.inode, s.shut_write);
        let u = self.unix(id)?;
        let (sent, name) = (u.sent, u.name.clone());
        if kind == SOCK_DGRAM && out.flags & MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let peer = if kind == SOCK_DGRAM {
            match &out.to {
                Some(to) => self.unix_find(id, to, out.ino)?,
                None => match u.peer {
                    Some(p) if self.alive(p, u) => p,
                    // The peer is gone: what it sent before is lost too.
                    Some(_) => {
                        let u = self.unix_mut(id)?;
                        u.peer = None;
                        u.peer_name = None;
                        let lost = std::mem::take(&mut u.queue);
                        for m in lost {
                            self.paid(&m);
                            self.drop_files(m.files);
                        }
                        return Err(Errno::ECONNREFUSED);
                    }
                    None => return Err(Errno::ENOTCONN),
                },
            }
        } else {
            if out.to.is_some() && kind == SOCK_STREAM {
                return Err(if u.connected {
                    Errno::EISCONN
                } else {
                    Errno::EOPNOTSUPP
                });
            }
            if !u.connected {
                return Err(Errno::ENOTCONN);
            }
            if out.flags & MSG_OOB != 0 {
                return Err(Errno::EOPNOTSUPP);
            }
            match u.peer {
                Some(p) if !shut && self.alive(p, u) && !self.sock(p)?.shut_read => p,
                _ => {
                    if kind == SOCK_SEQPACKET {
                        self.take_error(id)?;
                    }
                    return Err(Errno::EPIPE);
                }
            }
        };
        let owner = (id, inode);
        if kind != SOCK_STREAM {
            if shut {
                return Err(Errno::EPIPE);
            }
            if out.data.len() > limit.saturating_sub(32) {
                return Err(Errno::EMSGSIZE);
            }
            if sent >= limit {
                return Err(Errno::EAGAIN);
            }
            if kind == SOCK_DGRAM && self.journal == Some(peer) {
                self.effect(NetEffect::Logged {
                    pid: cred.pid,
                    uid: cred.uid,
                    gid: cred.gid,
                    data: out.data.iter().take(LOGGED_MAX).copied().collect(),
                });
                self.drop_files(files.to_vec());
                return Ok(out.data.len());
            }
            if kind == SOCK_DGRAM && self.dropped.contains(&peer) {
                self.drop_files(files.to_vec());
                return Ok(out.data.len());
            }
            let other = self.unix(peer)?;
            if kind == SOCK_DGRAM && other.peer.is_some_and(|x| x != id) {
                return Err(Errno::EPERM);
            }
            if self.sock(peer)?.shut_read {
                return Err(Errno::EPIPE);
            }
            let full = other.queue.len() > QUEUE_MAX as usize;
            if kind == SOCK_DGRAM && peer != id && other.peer != Some(id) && full {
                return Err(Errno::EAGAIN);
            }
            let cost = cost(out.data.len(), false);
            let m = Message {
                data: out.data.to_vec(),
                read: 0,
                from: name,
                cred,
                files: files.to_vec(),
                owner,
                cost,
            };
            self.unix_mut(peer)?.queue.push_back(m);
            self.unix_mut(id)?.sent += cost;
            self.wake(peer);
            return Ok(out.data.len());
        }
        let piece = (limit / 2).saturating_sub(64).clamp(1, 3776 + 32768);
        let (mut done, mut sent, mut files) = (0, sent, files.to_vec());
        while done < out.data.len() {
            if sent >= limit {
                break;
            }
            let part = &out.data[done..out.data.len().min(done + piece)];
            let cost = cost(part.len(), true);
            let m = Message {
                data: part.to_vec(),
                read: 0,
                from: name.clone(),
                cred,
                files: std::mem::take(&mut files),
                owner,
                cost,
            };
            self.unix_mut(peer)?.queue.push_back(m);
            sent += cost;
            done += part.len();
        }
        self.unix_mut(id)?.sent = sent;
        if done == 0 && !out.data.is_empty() {
            return Err(Errno::EAGAIN);
        }
        self.drop_files(files);
        self.wake(peer);
        Ok(done)
    }

    /// The peer's slot still holds the peer.
    fn alive(&self, peer: u32, u: &Unix) -> bool {
        u.peer_name.is_none()
            && self
                .socks
                .get(peer)
                .is_some_and(|s| matches!(s.body, Body::Unix(_)))
    }

    pub(super) fn unix_recv(&mut self, id: u32, max: usize, flags: u32) -> KResult<Received> {
        let s = self.sock(id)?;
        let (kind, shut, pass) = (s.kind, s.shut_read, s.opts.on(SOL_SOCKET, SO_PASSCRED));
        let u = self.unix(id)?;
        if kind != SOCK_DGRAM && !u.connected {
            return Err(if kind == SOCK_STREAM {
                Errno::EINVAL
            } else {
                Errno::ENOTCONN
            });
        }
        if flags & MSG_OOB != 0 {
            return Err(if kind == SOCK_STREAM {
                Errno::EINVAL
            } else {
                Errno::EOPNOTSUPP
            });
        }
        let u = self.unix(id)?;
        if u.queue.is_empty() {
            self.take_error(id)?;
            return match shut && (kind != SOCK_DGRAM || flags & MSG_DONTWAIT == 0) {
                true => Ok(Received::default()),
                false => Err(Errno::EAGAIN),
            };
        }
        if kind == SOCK_STREAM {
            self.unix_recv_stream(id, max, flags, pass)
        } else {
            self.unix_recv_message(id, max, flags, pass)
        }
    }

    fn unix_recv_message(&mut self, id: u32, max: usize, flags: u32, pass: bool) -> KResult<Received> {
        let u = self.unix_mut(id)?;
        let m = match flags & MSG_PEEK != 0 {
            true => u.queue.front().cloned(),
            false => u.queue.pop_front(),
        };
        let Some(mut m) = m else { return Err(Errno::EAGAIN) };
        if flags & MSG_PEEK == 0 {
            self.paid(&m);
        }
        let len = m.data.len();
        m.data.truncate(max);
        let mut r = Received {
            data: m.data,
            len,
            from: m.from.map(|n| n.address()),
            ..Default::default()
        };
        if len > max {
            r.flags |= MSG_TRUNC;
        }
        if pass {
            r.control
                .push(Control::Credentials(m.cred.pid, m.cred.uid, m.cred.gid));
        }
        if !m.files.is_empty() {
            r.control.push(Control::Rights(m.files));
        }
        Ok(r)
    }

    fn unix_recv_stream(&mut self, id: u32, max: usize, flags: u32, pass: bool) -> KResult<Received> {
        let peek = flags & MSG_PEEK != 0;
        let shut = self.sock(id)?.shut_read;
        if flags & MSG_WAITALL != 0 && flags & MSG_DONTWAIT == 0 && !shut {
            let u = self.unix(id)?;
            let have: usize = u.queue.iter().map(|m| m.data.len() - m.read).sum();
            if have < max.min(65536) && self.unix(id)?.queue.iter().all(|m| m.files.is_empty()) {
                return Err(Errno::EAGAIN);
            }
        }
        let mut r = Received::default();
        let (mut first, mut at) = (None, 0);
        while r.data.len() < max {
            let u = self.unix_mut(id)?;
            let Some(m) = u.queue.get_mut(at) else { break };
            // Pieces of other senders, or with files of their own, start a new read.
            if first.is_some_and(|c| pass && c != m.cred) {
                break;
            }
            if first.is_none() {
                first = Some(m.cred);
                r.from = m.from.as_ref().map(Name::address);
            }
            let take = (m.data.len() - m.read).min(max - r.data.len());
            r.data.extend(&m.data[m.read..m.read + take]);
            let files = if peek {
                m.files.clone()
            } else {
                std::mem::take(&mut m.files)
            };
            if !peek {
                m.read += take;
            }
            let done = m.read == m.data.len();
            let had = !files.is_empty();
            if had {
                r.control.push(Control::Rights(files));
            }
            if peek {
                at += 1;
            } else if done && let Some(m) = u.queue.pop_front() {
                self.paid(&m);
            }
            if had {
                break;
            }
        }
        if pass && let Some(c) = first {
            r.control.insert(0, Control::Credentials(c.pid, c.uid, c.gid));
        }
        r.len = r.data.len();
        Ok(r)
    }

    /// A message was read: its sender may send more.
    fn paid(&mut self, m: &Message) {
        let (owner, inode) = m.owner;
        if self.socks.get(owner).is_some_and(|s| s.inode == inode) {
            if let Ok(u) = self.unix_mut(owner) {
                u.sent = u.sent.saturating_sub(m.cost);
            }
            self.wake(owner);
        }
    }

    pub(super) fn unix_shutdown(&mut self, id: u32, read: bool, write: bool) -> KResult<()> {
        let s = self.sock_mut(id)?;
        s.shut_read |= read;
        s.shut_write |= write;
        let kind = s.kind;
        let u = self.unix(id)?;
        if let Some(p) = u.peer
            && kind != SOCK_DGRAM
            && self.alive(p, u)
        {
            let p_sock = self.sock_mut(p)?;
            p_sock.shut_read |= write;
            p_sock.shut_write |= read;
            self.wake(p);
        }
        self.wake(id);
        Ok(())
    }

    pub(super) fn unix_close(&mut self, id: u32) {
        let Some(mut s) = self.socks.remove(id) else {
            return;
        };
        let Body::Unix(u) = &mut s.body else { return };
        let u = std::mem::take(u);
        if let Some(name) = &u.name
            && self.unix_names.get(&name.key()) == Some(&id)
        {
            self.unix_names.remove(&name.key());
        }
        // Those who connected and were not accepted hear of a reset.
        for embryo in &u.accept {
            let client = self.unix(*embryo).ok().and_then(|e| e.peer);
            self.unix_close(*embryo);
            if let Some(c) = client.and_then(|c| self.socks.get_mut(c)) {
                c.err = Some(Errno::ECONNRESET);
            }
        }
        for m in &u.queue {
            self.paid(m);
            self.drop_files(m.files.clone());
        }
        let unread = !u.queue.is_empty();
        // Peers of datagrams may be many; a stream's is one, unless it is gone itself.
        let peers: Vec<u32> = match s.kind {
            SOCK_DGRAM => self
                .socks
                .iter()
                .filter(|(_, o)| matches!(&o.body, Body::Unix(o) if o.peer == Some(id)))
                .map(|(i, _)| i)
                .collect(),
            _ => u.peer.filter(|_| u.peer_name.is_none()).into_iter().collect(),
        };
        for p in peers {
            let embryo = self.unix(p).is_ok_and(|o| o.peer == Some(id));
            let Some(other) = self.socks.get_mut(p) else {
                continue;
            };
            let Body::Unix(o) = &mut other.body else { continue };
            if !embryo {
                continue;
            }
            o.peer_name = Some(u.name.clone().unwrap_or(Name::Abstract(Vec::new())));
            if s.kind != SOCK_DGRAM {
                other.shut_read = true;
                other.shut_write = true;
                if unread {
                    other.err = Some(Errno::ECONNRESET);
                }
            }
            self.wake(p);
        }
    }

    pub(super) fn unix_peer_name(&self, u: &Unix) -> Option<SockAddr> {
        let p = u.peer?;
        if let Some(n) = &u.peer_name {
            return Some(match n {
                Name::Abstract(n) if n.is_empty() => SockAddr::UnixUnnamed,
                n => n.address(),
            });
        }
        match &self.socks.get(p)?.body {
            Body::Unix(o) => Some(o.name.as_ref().map_or(SockAddr::UnixUnnamed, Name::address)),
            _ => None,
        }
    }

    pub(super) fn unix_poll(&self, s: &Socket, u: &Unix) -> u32 {
        let mut m = 0;
        if s.shut_read && s.shut_write {
            m |= POLLHUP;
        }
        if s.shut_read {
            m |= POLLRDHUP | POLLIN | POLLRDNORM;
        }
        if !u.queue.is_empty() || !u.accept.is_empty() {
            m |= POLLIN | POLLRDNORM;
        }
        if s.kind != SOCK_DGRAM && !u.connected && u.backlog.is_none() {
            m |= POLLHUP;
        }
        let full = s.kind == SOCK_DGRAM
            && u.peer
                .and_then(|p| self.unix(p).ok())
                .is_some_and(|o| o.peer.is_none() && o.queue.len() > QUEUE_MAX as usize);
        if u.backlog.is_none() && u.sent * 4 <= s.opts.send_buffer() && !full {
            m |= POLLOUT | POLLWRNORM | POLLWRBAND;
        }
        m
    }
}
