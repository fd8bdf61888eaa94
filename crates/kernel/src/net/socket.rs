//! A socket: what it is apart from its family, who calls, what goes in and comes out.

use super::{FileId, netlink, options, tcp, udp, unix};
use crate::Errno;
use crate::abi::net::*;
use crate::wait::WaitKey;
use std::net::IpAddr;
use turncoat_freeze::Freeze;

/// A socket, by slab index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Freeze)]
pub struct SockId(pub u32);

impl SockId {
    /// What to wait for when a call on this socket said `EAGAIN`.
    pub fn wait_key(self) -> WaitKey {
        WaitKey::Socket(self.0)
    }
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

    pub(super) fn waiting(&self) -> usize {
        match &self.body {
            Body::Unix(u) => u.queue.iter().map(|m| m.data.len()).sum(),
            Body::Tcp(t) => t.recv.len(),
            Body::Udp(u) => u.queue.iter().map(|d| d.data.len()).sum(),
            Body::Netlink(n) => n.waiting(),
            Body::Packet => 0,
        }
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
