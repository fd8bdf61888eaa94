//! Sockets on a stage network: everything inside the machine works, nothing leaves it.
//!
//! Owns all sockets, the tables that programs see of them, the machine's interfaces and routes as data ([`facts`]), and what the
//! world outside is made to look like ([`outside`]). Knows nothing of tasks, descriptors or path names: who calls is said by
//! [`Caller`], a path name comes with the inode it was resolved to, open files travel as opaque [`FileId`]s, and what must happen
//! elsewhere is handed back as [`NetEffect`] (take them with [`Net::take_effects`] after each call).
//!
//! - [`unix`]: AF_UNIX. [`tcp`], `tcp_end`, [`udp`] (also ICMP and raw), `bind`: AF_INET and AF_INET6. [`netlink`]: AF_NETLINK.
//! - [`options`]: socket options. [`ioctl`]: interface requests. [`procfs`]: the texts of `/proc/net`.
//! - [`outside`]: attempts to leave, the name server, streams that the host serves. [`dns`]: messages of the name system.
//!
//! Calls never block: `EAGAIN` means "wait for [`SockId::wait_key`] (at most [`Net::timeout`]) and try again" to a caller that
//! may block. Set [`Net::now`] before each call; call [`Net::tick`] when [`Net::next_deadline`] has come.

mod bind;
pub mod dns;
pub mod facts;
pub mod ioctl;
pub mod netlink;
pub mod options;
pub mod outside;
pub mod procfs;
pub mod tcp;
mod tcp_end;
#[cfg(test)]
mod tests;
pub mod udp;
pub mod unix;

use crate::abi::net::*;
use crate::slab::Slab;
use crate::wait::WaitKey;
use crate::{Errno, KResult};
use facts::Facts;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use turncoat_freeze::Freeze;

/// Most sockets in one world.
pub const SOCKETS_MAX: usize = 4096;
/// Most bytes that wait in all sockets of one world together.
pub const BUFFERED_MAX: usize = 32 << 20;
/// Default of SO_SNDBUF and SO_RCVBUF of all but TCP (`net.core.[rw]mem_default`).
pub const BUFFER_DEFAULT: usize = 212_992;

/// An open file of the world, as its owner names it. A message that carries one owns a reference.
pub type FileId = u64;

/// A socket, by slab index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Freeze)]
pub struct SockId(pub u32);

impl SockId {
    /// What to wait for when a call on this socket said `EAGAIN`.
    pub fn wait_key(self) -> WaitKey {
        WaitKey::Socket(self.0)
    }
}

/// The task that makes a call, as far as sockets care.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Caller {
    /// Its thread group.
    pub pid: u32,
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// CAP_NET_ADMIN.
    pub net_admin: bool,
    /// CAP_NET_RAW.
    pub net_raw: bool,
    /// CAP_NET_BIND_SERVICE.
    pub bind_low: bool,
    /// CAP_SYS_ADMIN (false credentials).
    pub admin: bool,
}

impl Caller {
    /// A process of root's with all capabilities.
    pub fn root(pid: u32) -> Caller {
        Caller {
            pid,
            uid: 0,
            gid: 0,
            net_admin: true,
            net_raw: true,
            bind_low: true,
            admin: true,
        }
    }
}

/// Process, user and group of a sender or peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Freeze)]
pub struct Cred {
    /// Process.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What a call on a socket does elsewhere; the caller applies it in order.
#[derive(Clone, PartialEq, Eq, Debug, Freeze)]
pub enum NetEffect {
    /// Tasks that wait for this key are to try again.
    Wake(WaitKey),
    /// Send SIGPIPE to this process.
    BrokenPipe {
        /// The process (thread group).
        pid: u32,
    },
    /// References to files that travelled in messages nobody will read.
    DropFiles(Vec<FileId>),
    /// A program tried to leave, or said more on a connection that a stand-in peer took.
    Outside(outside::Attempt),
    /// A connection that the host is to serve (`Net::host_read` and so on).
    Inbound(outside::Inbound),
    /// There is something to read on this host stream, or it ended.
    HostReady(outside::HostId),
    /// A program listens on a port.
    Listening {
        /// The socket.
        sock: SockId,
        /// The process.
        pid: u32,
        /// Address.
        ip: IpAddr,
        /// Port.
        port: u16,
        /// UDP rather than TCP.
        udp: bool,
    },
    /// Interfaces, addresses or routes changed; the text says how, as `ip` would.
    Changed {
        /// The process.
        pid: u32,
        /// What changed.
        what: String,
    },
    /// A program wrote to the journal's socket.
    Logged {
        /// The process.
        pid: u32,
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
        /// The datagram, cut to [`LOGGED_MAX`].
        data: Vec<u8>,
    },
}

/// Bytes of a message that the journal takes.
pub const LOGGED_MAX: usize = 4096;

/// What a program sends.
#[derive(Clone, Debug, Default)]
pub struct Outgoing<'a> {
    /// The bytes.
    pub data: &'a [u8],
    /// Where to, if it said so.
    pub to: Option<SockAddr>,
    /// The inode that a path name in `to` was resolved to.
    pub ino: Option<u64>,
    /// MSG_* flags (MSG_DONTWAIT added if the descriptor is nonblocking).
    pub flags: u32,
    /// Files and credentials.
    pub control: Vec<Control<FileId>>,
}

/// What a program receives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// The bytes, at most as many as asked for.
    pub data: Vec<u8>,
    /// Length of the whole message (more than `data` has if it was cut).
    pub len: usize,
    /// The sender, if it has a name.
    pub from: Option<SockAddr>,
    /// Files, credentials and other control messages. With MSG_PEEK the files are the message's: take references of your own.
    pub control: Vec<Control<FileId>>,
    /// MSG_TRUNC, MSG_EOR, MSG_OOB for `msg_flags`.
    pub flags: u32,
}

/// What a socket is apart from its family.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Freeze)]
pub struct Socket {
    /// AF_*.
    pub family: u16,
    /// SOCK_*.
    pub kind: u32,
    /// IPPROTO_* or NETLINK_*.
    pub protocol: u32,
    /// Inode number, as in `socket:[N]`.
    pub inode: u64,
    /// Owner.
    pub uid: u32,
    /// Process that made it.
    pub pid: u32,
    pub(crate) opts: options::Options,
    pub(crate) err: Option<Errno>,
    pub(crate) shut_read: bool,
    pub(crate) shut_write: bool,
    pub(crate) body: Body,
}

/// What a socket is by its family.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Freeze)]
pub(crate) enum Body {
    Unix(Box<unix::Unix>),
    Tcp(Box<tcp::Tcp>),
    Udp(Box<udp::Udp>),
    Netlink(Box<netlink::Netlink>),
    /// AF_PACKET: never sees a packet.
    Packet,
}

/// Something that happens later.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Freeze)]
pub(crate) enum Timer {
    /// A connection attempt is decided.
    Connect {
        sock: u32,
        inode: u64,
        outcome: Result<tcp::Peer, Errno>,
    },
    /// A connection attempt that found a full backlog is tried again.
    Retry { sock: u32, inode: u64, tries: u8 },
    /// A datagram arrives.
    Datagram {
        sock: u32,
        inode: u64,
        datagram: udp::Datagram,
    },
    /// Bytes arrive on a stream.
    Bytes { sock: u32, inode: u64, data: Vec<u8> },
    /// A datagram socket hears of an error.
    Error { sock: u32, inode: u64, errno: Errno },
}

/// All sockets and the stage of a world.
#[derive(Clone, Freeze)]
pub struct Net {
    /// Monotonic time in nanoseconds; set before each call.
    pub now: u64,
    /// Wall-clock time in nanoseconds since 1970; set before each call.
    pub real: u64,
    pub(crate) facts: Arc<Facts>,
    pub(crate) socks: Slab<Socket>,
    /// Bound names of AF_UNIX.
    pub(crate) unix_names: BTreeMap<unix::Key, u32>,
    /// Sockets by (protocol, local port).
    pub(crate) ports: BTreeMap<(u32, u16), Vec<u32>>,
    pub(crate) time_wait: VecDeque<tcp::TimeWait>,
    pub(crate) timers: BTreeMap<(u64, u64), Timer>,
    pub(crate) hosts: Slab<outside::HostStream>,
    pub(crate) names_of: BTreeMap<IpAddr, String>,
    pub(crate) stats: procfs::Stats,
    effects: Vec<NetEffect>,
    next_inode: u64,
    next_timer: u64,
    rng: u64,
    buffered: usize,
    /// The socket of the journal: what is sent there comes out as [`NetEffect::Logged`].
    journal: Option<u32>,
    /// Datagram sockets whose messages are taken and dropped.
    dropped: Vec<u32>,
    /// Sockets that the host serves, and whether one of them was woken since [`Net::heard`].
    served: Vec<u32>,
    heard: bool,
}

impl Net {
    /// No sockets yet on a machine with these facts.
    pub fn new(facts: Facts) -> Net {
        Net {
            now: 0,
            real: 0,
            next_inode: facts.first_inode,
            rng: facts.seed ^ 0x9e37_79b9_7f4a_7c15,
            facts: Arc::new(facts),
            socks: Slab::new(),
            unix_names: BTreeMap::new(),
            ports: BTreeMap::new(),
            time_wait: VecDeque::new(),
            timers: BTreeMap::new(),
            hosts: Slab::new(),
            names_of: BTreeMap::new(),
            stats: Default::default(),
            effects: Vec::new(),
            next_timer: 0,
            buffered: 0,
            journal: None,
            dropped: Vec::new(),
            served: Vec::new(),
            heard: false,
        }
    }

    /// The host serves this socket of AF_UNIX, or does no more.
    pub fn serve(&mut self, id: SockId, on: bool) {
        self.served.retain(|s| *s != id.0);
        if on {
            self.served.push(id.0);
        }
    }

    /// Whether something happened at a socket that the host serves since this was asked last.
    pub fn heard(&mut self) -> bool {
        std::mem::take(&mut self.heard)
    }

    /// Who is at the other end of a connected socket of AF_UNIX (SO_PEERCRED).
    pub fn unix_peer(&self, id: SockId) -> Option<Cred> {
        match &self.socks.get(id.0)?.body {
            Body::Unix(u) => u.peer_cred,
            _ => None,
        }
    }

    /// This datagram socket is the journal's.
    pub fn serve_log(&mut self, id: SockId) {
        self.journal = Some(id.0);
    }

    /// What is sent to this datagram socket is taken and dropped.
    pub fn drop_all(&mut self, id: SockId) {
        self.dropped.push(id.0);
    }

    /// The machine's network.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The machine's network, to be changed.
    pub fn facts_mut(&mut self) -> &mut Facts {
        Arc::make_mut(&mut self.facts)
    }

    /// What the calls so far did elsewhere.
    pub fn take_effects(&mut self) -> Vec<NetEffect> {
        std::mem::take(&mut self.effects)
    }

    /// True if there are effects to take.
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    pub(crate) fn effect(&mut self, e: NetEffect) {
        if !(matches!(e, NetEffect::Wake(_)) && self.effects.contains(&e)) {
            self.effects.push(e);
        }
    }

    pub(crate) fn wake(&mut self, sock: u32) {
        self.heard |= self.served.contains(&sock);
        self.effect(NetEffect::Wake(WaitKey::Socket(sock)));
    }

    /// A number that depends on the seed and on how many were asked for.
    pub(crate) fn random(&mut self) -> u64 {
        self.rng = self.rng.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.rng)
    }

    /// The socket, if it exists.
    pub fn socket_at(&self, id: SockId) -> Option<&Socket> {
        self.socks.get(id.0)
    }

    /// All sockets in index order.
    pub fn sockets(&self) -> impl Iterator<Item = (SockId, &Socket)> {
        self.socks.iter().map(|(i, s)| (SockId(i), s))
    }

    pub(crate) fn sock(&self, id: u32) -> KResult<&Socket> {
        self.socks.get(id).ok_or(Errno::EBADF)
    }

    pub(crate) fn sock_mut(&mut self, id: u32) -> KResult<&mut Socket> {
        self.socks.get_mut(id).ok_or(Errno::EBADF)
    }

    /// Takes an inode number without a socket (other anonymous files share the numbering).
    pub fn take_inode(&mut self) -> u64 {
        self.next_inode += 1 + (mix(self.next_inode ^ self.facts.seed) & 1);
        self.next_inode
    }

    pub(crate) fn add(
        &mut self,
        who: &Caller,
        family: u16,
        kind: u32,
        protocol: u32,
        body: Body,
    ) -> KResult<u32> {
        if self.socks.len() >= SOCKETS_MAX {
            return Err(Errno::ENFILE);
        }
        let inode = self.take_inode();
        let opts = options::Options::default();
        let (uid, pid) = (who.uid, who.pid);
        Ok(self.socks.insert(Socket {
            family,
            kind,
            protocol,
            inode,
            uid,
            pid,
            opts,
            err: None,
            shut_read: false,
            shut_write: false,
            body,
        }))
    }

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

    /// When [`Net::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<u64> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn later(&mut self, delay: u64, timer: Timer) {
        if self.timers.len() >= 2 * SOCKETS_MAX {
            return;
        }
        self.next_timer += 1;
        self.timers.insert((self.now + delay, self.next_timer), timer);
    }

    /// Lets happen what was due by [`Net::now`].
    pub fn tick(&mut self) {
        while let Some(e) = self.timers.first_entry()
            && e.key().0 <= self.now
        {
            // What was due earlier arrived earlier: its time stamp says so, however late this is called.
            let late = self.now - e.key().0;
            let real = self.real;
            let timer = e.remove();
            self.real = real.saturating_sub(late);
            match timer {
                Timer::Connect { sock, inode, outcome } if self.still(sock, inode) => {
                    self.tcp_decided(sock, outcome);
                }
                Timer::Retry { sock, inode, tries } if self.still(sock, inode) => self.tcp_retry(sock, tries),
                Timer::Datagram {
                    sock,
                    inode,
                    datagram,
                } if self.still(sock, inode) => {
                    self.udp_arrives(sock, datagram);
                }
                Timer::Bytes { sock, inode, data } if self.still(sock, inode) => {
                    self.tcp_arrives(sock, &data);
                }
                Timer::Error { sock, inode, errno } if self.still(sock, inode) => {
                    if let Some(s) = self.socks.get_mut(sock) {
                        s.err = Some(errno);
                    }
                    self.wake(sock);
                }
                _ => {}
            }
            self.real = real;
        }
        while self.time_wait.front().is_some_and(|t| t.until <= self.now) {
            self.time_wait.pop_front();
        }
    }

    fn still(&self, sock: u32, inode: u64) -> bool {
        self.socks.get(sock).is_some_and(|s| s.inode == inode)
    }

    /// Takes the pending error of a socket.
    pub(crate) fn take_error(&mut self, id: u32) -> KResult<()> {
        match self.socks.get(id).is_some_and(|s| s.err.is_some()) {
            true => self.sock_mut(id)?.err.take().map_or(Ok(()), Err),
            false => Ok(()),
        }
    }

    pub(crate) fn drop_files(&mut self, files: Vec<FileId>) {
        if !files.is_empty() {
            self.effect(NetEffect::DropFiles(files));
        }
    }

    /// Bytes that wait in all sockets together, for tests and bounds.
    pub fn waiting(&self) -> usize {
        self.socks.iter().map(|(_, s)| s.waiting()).sum()
    }
}

/// Memory that a message of this length is charged with.
pub(crate) fn cost_of(len: usize) -> usize {
    unix::cost(len, false)
}

pub(crate) fn files_of(control: &[Control<FileId>]) -> Vec<FileId> {
    control
        .iter()
        .flat_map(|c| {
            if let Control::Rights(f) = c {
                f.clone()
            } else {
                vec![]
            }
        })
        .collect()
}

/// A well-spread function of a number (the finaliser of splitmix64).
pub(crate) fn mix(n: u64) -> u64 {
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

impl Socket {
    /// An address in the form that this socket's family shows it.
    pub(crate) fn address(&self, ip: Option<IpAddr>, port: u16) -> SockAddr {
        match (self.family, ip) {
            (AF_INET6, None) => SockAddr::V6(std::net::Ipv6Addr::UNSPECIFIED, port, 0, 0),
            (AF_INET6, Some(IpAddr::V4(ip))) => SockAddr::V6(ip.to_ipv6_mapped(), port, 0, 0),
            (_, Some(IpAddr::V6(ip))) => {
                let scope = if ip.segments()[0] & 0xffc0 == 0xfe80 { 2 } else { 0 };
                SockAddr::V6(ip, port, 0, scope)
            }
            (_, Some(IpAddr::V4(ip))) => SockAddr::V4(ip, port),
            (_, None) => SockAddr::V4(std::net::Ipv4Addr::UNSPECIFIED, port),
        }
    }

    fn waiting(&self) -> usize {
        match &self.body {
            Body::Unix(u) => u.queue.iter().map(|m| m.data.len()).sum(),
            Body::Tcp(t) => t.recv.len(),
            Body::Udp(u) => u.queue.iter().map(|d| d.data.len()).sum(),
            Body::Netlink(n) => n.waiting(),
            Body::Packet => 0,
        }
    }
}
