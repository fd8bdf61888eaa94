//! Socket constants, addresses and control messages (include/uapi/linux/{socket,in,in6,un,netlink}.h, asm-generic/socket.h).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

macro_rules! consts {
    ($t:ty: $($name:ident = $value:expr,)*) => { $(#[allow(missing_docs)] pub const $name: $t = $value;)* };
}

consts! { u16:
    AF_UNSPEC = 0, AF_UNIX = 1, AF_INET = 2, AF_INET6 = 10, AF_NETLINK = 16, AF_PACKET = 17,
}

consts! { u32:
    SOCK_STREAM = 1, SOCK_DGRAM = 2, SOCK_RAW = 3, SOCK_RDM = 4, SOCK_SEQPACKET = 5, SOCK_TYPE_MASK = 15,
    SOCK_NONBLOCK = 0o4000, SOCK_CLOEXEC = 0o2000000,
    IPPROTO_IP = 0, IPPROTO_ICMP = 1, IPPROTO_TCP = 6, IPPROTO_UDP = 17, IPPROTO_IPV6 = 41, IPPROTO_ICMPV6 = 58,
    IPPROTO_UDPLITE = 136, IPPROTO_RAW = 255, IPPROTO_MPTCP = 262,
    MSG_OOB = 1, MSG_PEEK = 2, MSG_DONTROUTE = 4, MSG_CTRUNC = 8, MSG_TRUNC = 0x20, MSG_DONTWAIT = 0x40,
    MSG_EOR = 0x80, MSG_WAITALL = 0x100, MSG_ERRQUEUE = 0x2000, MSG_NOSIGNAL = 0x4000, MSG_MORE = 0x8000,
    MSG_CMSG_CLOEXEC = 0x4000_0000,
    SOL_SOCKET = 1, SOL_NETLINK = 270, SOL_PACKET = 263,
    SO_DEBUG = 1, SO_REUSEADDR = 2, SO_TYPE = 3, SO_ERROR = 4, SO_DONTROUTE = 5, SO_BROADCAST = 6, SO_SNDBUF = 7,
    SO_RCVBUF = 8, SO_KEEPALIVE = 9, SO_OOBINLINE = 10, SO_NO_CHECK = 11, SO_PRIORITY = 12, SO_LINGER = 13,
    SO_BSDCOMPAT = 14, SO_REUSEPORT = 15, SO_PASSCRED = 16, SO_PEERCRED = 17, SO_RCVLOWAT = 18, SO_SNDLOWAT = 19,
    SO_RCVTIMEO = 20, SO_SNDTIMEO = 21, SO_BINDTODEVICE = 25, SO_ATTACH_FILTER = 26, SO_DETACH_FILTER = 27,
    SO_PEERNAME = 28, SO_TIMESTAMP = 29, SO_ACCEPTCONN = 30, SO_PEERSEC = 31, SO_SNDBUFFORCE = 32,
    SO_RCVBUFFORCE = 33, SO_PASSSEC = 34, SO_TIMESTAMPNS = 35, SO_MARK = 36, SO_TIMESTAMPING = 37, SO_PROTOCOL = 38,
    SO_DOMAIN = 39, SO_RXQ_OVFL = 40, SO_PEEK_OFF = 42, SO_LOCK_FILTER = 44, SO_BUSY_POLL = 46,
    SO_INCOMING_CPU = 49, SO_ATTACH_BPF = 50, SO_COOKIE = 57, SO_PEERGROUPS = 59, SO_ZEROCOPY = 60,
    SO_RCVTIMEO_NEW = 66, SO_SNDTIMEO_NEW = 67,
    SCM_RIGHTS = 1, SCM_CREDENTIALS = 2,
    TCP_NODELAY = 1, TCP_MAXSEG = 2, TCP_CORK = 3, TCP_KEEPIDLE = 4, TCP_KEEPINTVL = 5, TCP_KEEPCNT = 6,
    TCP_SYNCNT = 7, TCP_LINGER2 = 8, TCP_DEFER_ACCEPT = 9, TCP_WINDOW_CLAMP = 10, TCP_INFO = 11, TCP_QUICKACK = 12,
    TCP_CONGESTION = 13, TCP_THIN_LINEAR_TIMEOUTS = 16, TCP_USER_TIMEOUT = 18, TCP_FASTOPEN = 23,
    TCP_TIMESTAMP = 24, TCP_NOTSENT_LOWAT = 25, TCP_FASTOPEN_CONNECT = 30, TCP_ULP = 31,
    IP_TOS = 1, IP_TTL = 2, IP_HDRINCL = 3, IP_OPTIONS = 4, IP_RECVOPTS = 6,
    IP_RETOPTS = 7, IP_PKTINFO = 8, IP_MTU_DISCOVER = 10,
    IP_RECVERR = 11, IP_RECVTTL = 12, IP_RECVTOS = 13, IP_MTU = 14, IP_FREEBIND = 15, IP_TRANSPARENT = 19,
    IP_BIND_ADDRESS_NO_PORT = 24, IP_MULTICAST_IF = 32, IP_MULTICAST_TTL = 33, IP_MULTICAST_LOOP = 34,
    IP_ADD_MEMBERSHIP = 35, IP_DROP_MEMBERSHIP = 36, IP_MULTICAST_ALL = 49,
    IPV6_UNICAST_HOPS = 16, IPV6_MULTICAST_IF = 17, IPV6_MULTICAST_HOPS = 18, IPV6_MULTICAST_LOOP = 19,
    IPV6_ADD_MEMBERSHIP = 20, IPV6_DROP_MEMBERSHIP = 21, IPV6_MTU_DISCOVER = 23, IPV6_MTU = 24, IPV6_RECVERR = 25,
    IPV6_V6ONLY = 26, IPV6_RECVPKTINFO = 49, IPV6_PKTINFO = 50, IPV6_RECVHOPLIMIT = 51, IPV6_HOPLIMIT = 52,
    IPV6_TCLASS = 67, IPV6_RECVTCLASS = 66, IPV6_AUTOFLOWLABEL = 70, IPV6_FREEBIND = 78, ICMP_FILTER = 1, ICMP6_FILTER = 1,
    POLLIN = 1, POLLPRI = 2, POLLOUT = 4, POLLERR = 8, POLLHUP = 0x10, POLLRDNORM = 0x40, POLLWRNORM = 0x100,
    POLLWRBAND = 0x200, POLLRDHUP = 0x2000,
}

/// Longest `sockaddr` that is copied from a program (`struct sockaddr_storage`).
pub const SOCKADDR_MAX: usize = 128;

/// A socket address as programs pass it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum SockAddr {
    /// AF_UNSPEC: dissolves an association.
    Unspec,
    /// AF_UNIX without a name (autobind, or a peer that has none).
    UnixUnnamed,
    /// AF_UNIX in the file system; the bytes without a final NUL.
    UnixPath(Vec<u8>),
    /// AF_UNIX in the abstract name space; the bytes behind the first NUL.
    UnixAbstract(Vec<u8>),
    /// AF_INET.
    V4(Ipv4Addr, u16),
    /// AF_INET6: address, port, flow information, scope.
    V6(Ipv6Addr, u16, u32, u32),
    /// AF_NETLINK: port, groups.
    Netlink(u32, u32),
    /// AF_PACKET: the raw bytes.
    Packet(Vec<u8>),
    /// Another family.
    Other(u16),
}

/// Why bytes are no address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadAddr;

impl SockAddr {
    /// Reads an address; too short or too long for its family is [`BadAddr`] (EINVAL).
    pub fn parse(b: &[u8]) -> Result<SockAddr, BadAddr> {
        let u16_le = |i: usize| Some(u16::from_le_bytes([*b.get(i)?, *b.get(i + 1)?]));
        let u16_be = |i: usize| Some(u16::from_be_bytes([*b.get(i)?, *b.get(i + 1)?]));
        let u32_le = |i: usize| Some(u32::from_le_bytes(b.get(i..i + 4)?.try_into().ok()?));
        let family = u16_le(0).ok_or(BadAddr)?;
        Ok(match family {
            AF_UNSPEC => SockAddr::Unspec,
            AF_UNIX if b.len() > 110 => return Err(BadAddr),
            AF_UNIX => match b.get(2..) {
                None | Some([]) => SockAddr::UnixUnnamed,
                Some([0, name @ ..]) => SockAddr::UnixAbstract(name.to_vec()),
                Some(path) => SockAddr::UnixPath(path.split(|c| *c == 0).next().unwrap_or(path).to_vec()),
            },
            AF_INET => {
                let ip: [u8; 4] = b.get(4..8).ok_or(BadAddr)?.try_into().map_err(|_| BadAddr)?;
                if b.len() < 16 {
                    return Err(BadAddr);
                }
                SockAddr::V4(ip.into(), u16_be(2).ok_or(BadAddr)?)
            }
            AF_INET6 => {
                let ip: [u8; 16] = b.get(8..24).ok_or(BadAddr)?.try_into().map_err(|_| BadAddr)?;
                SockAddr::V6(
                    ip.into(),
                    u16_be(2).ok_or(BadAddr)?,
                    u32_le(4).ok_or(BadAddr)?,
                    u32_le(24).unwrap_or(0),
                )
            }
            AF_NETLINK => SockAddr::Netlink(u32_le(4).ok_or(BadAddr)?, u32_le(8).ok_or(BadAddr)?),
            AF_PACKET => SockAddr::Packet(b[..b.len().min(20)].to_vec()),
            other => SockAddr::Other(other),
        })
    }

    /// The bytes that the kernel hands out.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut v = Vec::with_capacity(28);
        let family = |v: &mut Vec<u8>, f: u16| v.extend(f.to_le_bytes());
        match self {
            SockAddr::Unspec => family(&mut v, AF_UNSPEC),
            SockAddr::Other(f) => family(&mut v, *f),
            SockAddr::UnixUnnamed => family(&mut v, AF_UNIX),
            SockAddr::UnixPath(p) => {
                family(&mut v, AF_UNIX);
                v.extend(p);
                v.push(0);
            }
            SockAddr::UnixAbstract(n) => {
                family(&mut v, AF_UNIX);
                v.push(0);
                v.extend(n);
            }
            SockAddr::V4(ip, port) => {
                family(&mut v, AF_INET);
                v.extend(port.to_be_bytes());
                v.extend(ip.octets());
                v.extend([0; 8]);
            }
            SockAddr::V6(ip, port, flow, scope) => {
                family(&mut v, AF_INET6);
                v.extend(port.to_be_bytes());
                v.extend(flow.to_le_bytes());
                v.extend(ip.octets());
                v.extend(scope.to_le_bytes());
            }
            SockAddr::Netlink(port, groups) => {
                family(&mut v, AF_NETLINK);
                v.extend([0; 2]);
                v.extend(port.to_le_bytes());
                v.extend(groups.to_le_bytes());
            }
            SockAddr::Packet(b) => v.extend(b),
        }
        v
    }

    /// The internet address and port, mapped addresses as IPv4.
    pub fn ip(&self) -> Option<(IpAddr, u16)> {
        match self {
            SockAddr::V4(ip, port) => Some((IpAddr::V4(*ip), *port)),
            SockAddr::V6(ip, port, ..) => Some((plain(IpAddr::V6(*ip)), *port)),
            _ => None,
        }
    }
}

/// An IPv4 address that is mapped into IPv6, as IPv4.
pub fn plain(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        v4 => v4,
    }
}

/// A control message, parsed. `F` names files: descriptor numbers in the program, file ids in the kernel.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Control<F> {
    /// SCM_RIGHTS.
    Rights(Vec<F>),
    /// SCM_CREDENTIALS: process, user, group.
    Credentials(u32, u32, u32),
    /// Anything else: level, type, data.
    Other(u32, u32, Vec<u8>),
}

/// Most files in one message (SCM_MAX_FD).
pub const SCM_MAX_FD: usize = 253;

/// Parses the control bytes of a `sendmsg`; `None` if a length is impossible (EINVAL).
pub fn parse_control(b: &[u8]) -> Option<Vec<Control<i32>>> {
    let mut out = Vec::new();
    let mut at = 0;
    while b.len().saturating_sub(at) >= 16 {
        let len = usize::try_from(u64::from_le_bytes(b.get(at..at + 8)?.try_into().ok()?)).ok()?;
        let level = u32::from_le_bytes(b.get(at + 8..at + 12)?.try_into().ok()?);
        let kind = u32::from_le_bytes(b.get(at + 12..at + 16)?.try_into().ok()?);
        if len < 16 || len > b.len() - at {
            return None;
        }
        let data = &b[at + 16..at + len];
        let word = |i: usize| {
            data.get(i * 4..i * 4 + 4)?
                .try_into()
                .ok()
                .map(u32::from_le_bytes)
        };
        out.push(match (level, kind) {
            (SOL_SOCKET, SCM_RIGHTS) => {
                let files: Vec<i32> = data
                    .chunks_exact(4)
                    .filter_map(|c| c.try_into().ok().map(i32::from_le_bytes))
                    .collect();
                if files.len() > SCM_MAX_FD {
                    return None;
                }
                Control::Rights(files)
            }
            (SOL_SOCKET, SCM_CREDENTIALS) if data.len() == 12 => {
                Control::Credentials(word(0)?, word(1)?, word(2)?)
            }
            (SOL_SOCKET, SCM_CREDENTIALS) => return None,
            _ => Control::Other(level, kind, data.to_vec()),
        });
        at += len.next_multiple_of(8);
    }
    Some(out)
}

/// Lays control messages out in at most `max` bytes; true if something was cut (MSG_CTRUNC). Files must be descriptors by
/// now; the caller installs at most [`rights_room`] of them.
pub fn encode_control(control: &[Control<i32>], max: usize) -> (Vec<u8>, bool) {
    let (mut out, mut cut) = (Vec::new(), false);
    for c in control {
        let (level, kind, data) = match c {
            Control::Rights(f) => (
                SOL_SOCKET,
                SCM_RIGHTS,
                f.iter().flat_map(|f| f.to_le_bytes()).collect(),
            ),
            Control::Credentials(p, u, g) => (
                SOL_SOCKET,
                SCM_CREDENTIALS,
                [p, u, g].iter().flat_map(|v| v.to_le_bytes()).collect(),
            ),
            Control::Other(l, k, d) => (*l, *k, d.clone()),
        };
        let room = max.saturating_sub(out.len());
        if room < 16 {
            cut = true;
            break;
        }
        let take = data.len().min(room - 16);
        cut |= take < data.len();
        out.extend((16 + take as u64).to_le_bytes());
        out.extend(level.to_le_bytes());
        out.extend(kind.to_le_bytes());
        out.extend(&data[..take]);
        let padded = out.len().next_multiple_of(8).min(max);
        out.resize(padded, 0);
    }
    (out, cut)
}

/// How many descriptors fit into `max` bytes of control space.
pub fn rights_room(max: usize) -> usize {
    max.saturating_sub(16) / 4
}
