//! Sockets on a stage network: everything inside the machine works, nothing leaves it.
//!
//! Owns all sockets, the tables that programs see of them, the machine's interfaces and routes as data ([`facts`]), and what the
//! world outside is made to look like ([`outside`]). Knows nothing of tasks, descriptors or path names: who calls is said by
//! [`Caller`], a path name comes with the inode it was resolved to, open files travel as opaque [`FileId`]s, and what must happen
//! elsewhere is handed back as [`NetEffect`] (take them with [`Net::take_effects`] after each call).
//!
//! - `socket`: what a socket is apart from its family. `calls`: calls on sockets of every family. `later`: what happens after them.
//! - [`unix`]: AF_UNIX. [`tcp`], `tcp_end`, [`udp`] (also ICMP and raw), `bind`: AF_INET and AF_INET6. [`netlink`]: AF_NETLINK.
//! - [`options`]: socket options. [`ioctl`]: interface requests. [`procfs`]: the texts of `/proc/net`.
//! - [`outside`]: attempts to leave, the name server, streams that the host serves. [`dns`]: messages of the name system.
//!
//! Calls never block: `EAGAIN` means "wait for [`SockId::wait_key`] (at most [`Net::timeout`]) and try again" to a caller that
//! may block. Set [`Net::now`] before each call; call [`Net::tick`] when [`Net::next_deadline`] has come.

mod bind;
mod calls;
pub mod dns;
pub mod facts;
pub mod ioctl;
mod later;
pub mod netlink;
pub mod options;
pub mod outside;
pub mod procfs;
mod socket;
pub mod tcp;
mod tcp_end;
#[cfg(test)]
mod tests;
pub mod udp;
pub mod unix;

pub(crate) use later::Timer;
pub(crate) use socket::Body;
pub use socket::{Caller, Cred, Outgoing, Received, SockId, Socket};

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
