//! Sockets of the daemons that the host stands in for: sshd's listeners and the connections that it serves.
//!
//! They show in `/proc/net`, to `ss` and in `/proc/PID/fd`. What programs of the world connect to there comes to the host by `stream`.

use crate::abi::O_RDWR;
use crate::abi::net::{AF_UNIX, SOCK_DGRAM, SockAddr};
use crate::fd::{Char, FdTable, Slot, What};
use crate::net::{Caller, SockId};
use crate::vfs::boot::{Content, CoverFile};
use crate::vfs::mode;
use crate::world::World;
use crate::{Errno, KResult};
use std::net::{IpAddr, SocketAddr};

impl World {
    /// A daemon of this name listens at this address, with a descriptor of its own: it shows to `ss -p`, and closes when the daemon is
    /// killed.
    ///
    /// # Errors
    /// As `bind(2)` and `listen(2)`.
    pub fn daemon_listen(&mut self, daemon: &[u8], at: SocketAddr) -> KResult<SockId> {
        let (sock, _) = self.stream_listen(at)?;
        let pid = self.daemon_pid(daemon);
        self.daemon_holds(pid, sock)?;
        Ok(sock)
    }

    /// A stand-in gets a descriptor of this socket; the file.
    pub(crate) fn daemon_holds(&mut self, pid: u32, sock: SockId) -> KResult<u32> {
        let file = self.new_file(What::Socket(sock.0), O_RDWR, None)?;
        self.daemon_keeps(pid, file);
        Ok(file)
    }

    /// A socket of process `pid` with a name in the file system, which takes the place of what is there. It does not listen yet.
    pub(crate) fn daemon_bind(&mut self, pid: u32, kind: u32, path: &[u8], perm: u32) -> KResult<SockId> {
        let root = self.vfs.root_path();
        let recording = self.vfs.record(false);
        let now = self.timespec();
        let made = self.fs(0, |v, c| {
            let _ = v.unlink(c, &root, path);
            // Put there, not made by mknod(2), whose mode would be cut by a umask.
            v.put(
                c,
                &CoverFile::new(path, perm, now, Content::Node(mode::IFSOCK, 0)),
            )?;
            v.walk(c, &root, path, 0)
        });
        self.vfs.record(recording);
        let made: KResult<crate::vfs::Path> = made?;
        let ino = made?.ino.0;
        let who = Caller::root(pid);
        let sock = self.net.socket(&who, AF_UNIX.into(), kind, 0)?;
        let name = SockAddr::UnixPath(path.to_vec());
        self.net.bind(sock, &who, &name, Some(ino))?;
        Ok(sock)
    }

    /// The machine's journald takes what programs send to `/dev/log`, until it is killed.
    ///
    /// # Errors
    /// As `socket(2)` and `bind(2)`; also without the directory `/run/systemd/journal`.
    pub fn daemon_log(&mut self) -> KResult<()> {
        const PATH: &[u8] = b"/run/systemd/journal/dev-log";
        let pid = self.daemon_pid(b"systemd-journal");
        let sock = self.daemon_bind(pid, SOCK_DGRAM, PATH, 0o666)?;
        self.net.serve_log(sock);
        self.daemon_holds(pid, sock).map(drop)
    }

    /// The socket of a connection from outside, as the file of the process that serves it. `local` is an address of the machine.
    pub(crate) fn daemon_connection(
        &mut self,
        pid: u32,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> KResult<u32> {
        self.net_clock();
        let (local, peer) = (plain(local), plain(peer));
        if local.0.is_ipv4() != peer.0.is_ipv4() {
            return Err(Errno::EAFNOSUPPORT);
        }
        let (sock, _) = self.net.host_established(&Caller::root(pid), local, peer)?;
        self.new_file(What::Socket(sock.0), O_RDWR, None)
    }

    /// A stand-in holds one more file, which it owns a reference of. Its first three are /dev/null.
    pub(crate) fn daemon_keeps(&mut self, pid: u32, file: u32) {
        let Ok(task) = self.t(pid) else { return };
        let table = match task.files {
            Some(t) => t,
            None => {
                let table = self.fresh_id();
                let mut t = FdTable {
                    users: 1,
                    slots: Vec::new(),
                };
                if let Ok(null) = self.new_file(What::Char(Char::Null), O_RDWR, None) {
                    self.add_ref(null);
                    self.add_ref(null);
                    for i in 0..3 {
                        t.set(
                            i,
                            Slot {
                                file: null,
                                cloexec: false,
                            },
                        );
                    }
                }
                self.fdtables.insert(table, t);
                if let Ok(t) = self.tm(pid) {
                    t.files = Some(table);
                }
                table
            }
        };
        if let Some(t) = self.fdtables.get_mut(&table) {
            let at = t
                .slots
                .iter()
                .skip(3)
                .position(Option::is_none)
                .map_or(t.slots.len().max(3), |i| i + 3);
            t.set(at, Slot { file, cloexec: true });
        }
    }

    /// The address under which an outsider reached the machine, as the machine knows it: behind a translation of addresses that is
    /// the one of its own interface.
    pub(crate) fn own_address(&self, reached: SocketAddr) -> SocketAddr {
        let ip = reached.ip().to_canonical();
        let ports = &self.facts_of.ssh_ports;
        let port = match ports.first() {
            Some(first) if !ports.contains(&reached.port()) => *first,
            _ => reached.port(),
        };
        let all = || self.net.facts().interfaces.iter().flat_map(|i| &i.addresses);
        if all().any(|a| a.ip == ip) {
            return SocketAddr::new(ip, port);
        }
        let own = all().find(|a| a.ip.is_ipv4() == ip.is_ipv4() && a.scope == 0);
        own.map_or(SocketAddr::new(ip, port), |a| SocketAddr::new(a.ip, port))
    }
}

fn plain(a: SocketAddr) -> (IpAddr, u16) {
    (a.ip().to_canonical(), a.port())
}
