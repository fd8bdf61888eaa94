//! Streams that the host holds in the world: as a daemon does that stands in the process table without running.
//!
//! They are ordinary sockets of that daemon: `ss` shows them, programs connect to them and are connected to. The host asks them
//! after each slice; nothing here waits.

use crate::abi::net::*;
use crate::net::{Caller, Outgoing, SockId};
use crate::vfs::mode;
use crate::world::{Conn, World};
use crate::{Errno, KResult};
use std::net::{IpAddr, SocketAddr};

/// Connections that wait to be taken (`ssh_listen_backlog`).
const BACKLOG: i32 = 128;

fn address(at: SocketAddr) -> SockAddr {
    match at {
        SocketAddr::V4(a) => SockAddr::V4(*a.ip(), a.port()),
        SocketAddr::V6(a) => SockAddr::V6(*a.ip(), a.port(), 0, 0),
    }
}

pub(crate) fn inet(a: &SockAddr) -> Option<SocketAddr> {
    match a {
        SockAddr::V4(ip, port) => Some(((*ip), *port).into()),
        SockAddr::V6(ip, port, ..) => Some(SocketAddr::new(IpAddr::V6(*ip).to_canonical(), *port)),
        _ => None,
    }
}

impl World {
    /// sshd's process, which holds what the host opens; 1 if it is gone.
    fn holder(&self) -> Caller {
        let pid = self
            .procs
            .values()
            .find(|p| p.ppid == 1 && self.t(p.tgid).is_ok_and(|t| t.comm() == b"sshd"))
            .map_or(1, |p| p.tgid);
        Caller::root(pid)
    }

    fn on_net<R>(&mut self, f: impl FnOnce(&mut crate::net::Net, &Caller) -> R) -> R {
        self.net_clock();
        let who = self.holder();
        let r = f(&mut self.net, &who);
        self.net_effects();
        r
    }

    /// Listens at this address; port 0 lets the kernel choose. Gives the socket and the port.
    ///
    /// # Errors
    /// As `bind(2)` and `listen(2)`.
    pub fn stream_listen(&mut self, at: SocketAddr) -> KResult<(SockId, u16)> {
        self.on_net(|net, who| {
            let family = if at.is_ipv4() { AF_INET } else { AF_INET6 };
            let s = net.socket(who, family.into(), SOCK_STREAM, 0)?;
            if let Ok(sock) = net.sock_mut(s.0) {
                sock.opts.set_number(SOL_SOCKET, SO_REUSEADDR, 1);
                if at.is_ipv6() {
                    sock.opts.set_number(IPPROTO_IPV6, IPV6_V6ONLY, 1);
                }
            }
            let done = net
                .bind(s, who, &address(at), None)
                .and_then(|()| net.listen(s, who, BACKLOG));
            match done.and_then(|()| net.getsockname(s)) {
                Ok(name) => Ok((s, inet(&name).map_or(0, |a| a.port()))),
                Err(e) => {
                    net.close(s);
                    Err(e)
                }
            }
        })
    }

    /// Listens at a path, which belongs to this user and to nobody else.
    ///
    /// # Errors
    /// As `bind(2)`: `EADDRINUSE` if something stands there.
    pub fn stream_listen_at(&mut self, path: &[u8], uid: u32, gid: u32) -> KResult<SockId> {
        let root = self.vfs.root_path();
        let made = self.fs(0, |v, c| {
            let p = v.mknod(c, &root, path, mode::IFSOCK | 0o600, 0)?;
            v.chown_at(c, &p, uid, gid)?;
            KResult::Ok(p.ino.0)
        })?;
        let ino = made.map_err(|e| if e == Errno::EEXIST { Errno::EADDRINUSE } else { e })?;
        let at = SockAddr::UnixPath(path.to_vec());
        self.on_net(|net, who| {
            let s = net.socket(who, AF_UNIX.into(), SOCK_STREAM, 0)?;
            match net
                .bind(s, who, &at, Some(ino))
                .and_then(|()| net.listen(s, who, BACKLOG))
            {
                Ok(()) => Ok(s),
                Err(e) => {
                    net.close(s);
                    Err(e)
                }
            }
        })
    }

    /// Makes a directory of this user's own, as `mkdtemp` does.
    ///
    /// # Errors
    /// As `mkdir(2)`.
    pub fn own_directory(&mut self, path: &[u8], uid: u32, gid: u32) -> KResult<()> {
        let root = self.vfs.root_path();
        self.fs(0, |v, c| {
            let p = v.mkdir(c, &root, path, 0o700)?;
            v.chown_at(c, &p, uid, gid)
        })?
    }

    /// A random number of the world's.
    pub fn random(&mut self) -> u64 {
        self.rng.u64()
    }

    /// Takes a name away, as `unlink(2)` and `rmdir(2)`.
    pub fn remove(&mut self, path: &[u8], directory: bool) {
        let root = self.vfs.root_path();
        let _ = self.fs(0, |v, c| {
            if directory {
                v.rmdir(c, &root, path)
            } else {
                v.unlink(c, &root, path)
            }
        });
    }

    /// A connection that somebody made to a listener: the socket, who is at the other end, and the address that he reached.
    pub fn stream_accept(
        &mut self,
        listener: SockId,
    ) -> Option<(SockId, Option<SocketAddr>, Option<SocketAddr>)> {
        let (s, from) = self.on_net(|net, who| net.accept(listener, who)).ok()?;
        let to = self.net.getsockname(s).ok();
        Some((s, inet(&from), to.as_ref().and_then(inet)))
    }

    /// The login whose program is at the other end of a connection from `from`.
    pub fn stream_maker(&self, from: SocketAddr) -> Option<Conn> {
        let (_, sock) = self.net.sockets().find(|(s, sock)| {
            sock.kind == SOCK_STREAM && self.net.getsockname(*s).ok().and_then(|a| inet(&a)) == Some(from)
        })?;
        self.p(sock.pid).ok()?.conn
    }

    /// Connects to an address of the machine itself.
    ///
    /// # Errors
    /// `EHOSTUNREACH` if the address is not the machine's own; else as `connect(2)`.
    pub fn stream_connect(&mut self, to: SocketAddr) -> KResult<SockId> {
        if !self.net.facts().is_own(to.ip()) {
            return Err(Errno::EHOSTUNREACH);
        }
        self.on_net(|net, who| {
            let family = if to.is_ipv4() { AF_INET } else { AF_INET6 };
            let s = net.socket(who, family.into(), SOCK_STREAM, 0)?;
            match net.connect(s, who, &address(to), None, true) {
                Ok(()) | Err(Errno::EINPROGRESS) => Ok(s),
                Err(e) => {
                    net.close(s);
                    Err(e)
                }
            }
        })
    }

    /// Connects to a socket in the file system, as this user.
    ///
    /// # Errors
    /// As `connect(2)`.
    pub fn stream_connect_at(&mut self, path: &[u8], uid: u32, gid: u32) -> KResult<SockId> {
        let root = self.vfs.root_path();
        let ino = self.fs(0, |v, c| {
            let p = v.walk(c, &root, path, 0)?;
            let s = v.fstat(c, &p)?;
            let may = uid == 0
                || (s.uid == uid && s.mode & 0o200 != 0)
                || (s.gid == gid && s.mode & 0o020 != 0)
                || s.mode & 0o002 != 0;
            match s.mode & 0o170_000 {
                mode::IFSOCK if may => KResult::Ok(p.ino.0),
                mode::IFSOCK => Err(Errno::EACCES),
                _ => Err(Errno::ECONNREFUSED),
            }
        })??;
        let at = SockAddr::UnixPath(path.to_vec());
        self.on_net(|net, who| {
            let s = net.socket(who, AF_UNIX.into(), SOCK_STREAM, 0)?;
            match net.connect(s, &Caller { uid, gid, ..*who }, &at, Some(ino), true) {
                Ok(()) => Ok(s),
                Err(e) => {
                    net.close(s);
                    Err(e)
                }
            }
        })
    }

    /// What the other end said, at most `max` bytes; empty: nothing yet; `None`: no more will come.
    pub fn stream_read(&mut self, s: SockId, max: usize) -> Option<Vec<u8>> {
        match self.on_net(|net, _| net.recv(s, max, MSG_DONTWAIT)) {
            Ok(r) if r.data.is_empty() => None,
            Ok(r) => Some(r.data),
            Err(Errno::EAGAIN | Errno::ENOTCONN) => Some(Vec::new()),
            Err(_) => None,
        }
    }

    /// Says something; gives how many bytes were taken.
    ///
    /// # Errors
    /// `EPIPE` and its like when nobody listens any more.
    pub fn stream_write(&mut self, s: SockId, data: &[u8]) -> KResult<usize> {
        let sent = self.on_net(|net, who| {
            let out = Outgoing {
                data,
                flags: MSG_NOSIGNAL | MSG_DONTWAIT,
                ..Outgoing::default()
            };
            net.send(s, who, out)
        });
        match sent {
            Err(Errno::EAGAIN | Errno::ENOTCONN | Errno::EINPROGRESS) => Ok(0),
            r => r,
        }
    }

    /// Says no more.
    pub fn stream_shut(&mut self, s: SockId) {
        let _ = self.on_net(|net, _| net.shutdown(s, 1));
    }

    /// Lets go of a socket.
    pub fn stream_close(&mut self, s: SockId) {
        self.on_net(|net, _| net.close(s));
    }
}
