//! Sockets of systemd, journald and udevd that nothing in a world needs but who lists sockets sees: they are listened on, and who connects
//! is answered as far as it costs nothing.

use super::Listener;
use crate::abi::net::{Control, MSG_DONTWAIT, MSG_NOSIGNAL, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM};
use crate::net::{Caller, Outgoing, SockId};
use crate::world::World;
use crate::{Errno, KResult};
use turncoat_freeze::Freeze;

/// Who connected and has not gone.
const PEERS: usize = 64;

/// A socket that is held: systemd's file, the daemon that has it too, and what is done with what comes.
#[derive(Clone, Freeze)]
pub(super) struct Quiet {
    at: Listener,
    file: u32,
    daemon: Option<&'static str>,
    does: Does,
}

/// Somebody who has connected.
#[derive(Clone, Copy, Freeze)]
pub(super) struct Guest {
    sock: SockId,
    inode: u64,
    does: Does,
}

/// What is done with what comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Freeze)]
pub(super) enum Does {
    /// Nobody may speak there: the connection ends.
    HangsUp,
    /// It is read and dropped.
    Drops,
    /// There is no such user (varlink: io.systemd.UserDatabase).
    KnowsNobody,
}

/// A socket: path, kind, permissions, the daemon that holds it beside systemd, the unit file without which it is not there.
struct Row(&'static str, u32, u32, Option<&'static str>, &'static str, Does);

const JOURNAL: Option<&str> = Some("systemd-journal");
const ROWS: &[Row] = &[
    Row("/run/systemd/notify", SOCK_DGRAM, 0o777, None, "", Does::Drops),
    Row(
        "/run/systemd/userdb/io.systemd.DynamicUser",
        SOCK_STREAM,
        0o666,
        None,
        "",
        Does::KnowsNobody,
    ),
    Row(
        "/run/systemd/io.system.ManagedOOM",
        SOCK_STREAM,
        0o666,
        None,
        "",
        Does::HangsUp,
    ),
    Row(
        "/run/systemd/fsck.progress",
        SOCK_STREAM,
        0o600,
        None,
        "systemd-fsckd.socket",
        Does::HangsUp,
    ),
    Row(
        "/run/systemd/journal/stdout",
        SOCK_STREAM,
        0o666,
        JOURNAL,
        "systemd-journald.socket",
        Does::Drops,
    ),
    Row(
        "/run/systemd/journal/socket",
        SOCK_DGRAM,
        0o666,
        JOURNAL,
        "systemd-journald.socket",
        Does::Drops,
    ),
    Row(
        "/run/udev/control",
        SOCK_SEQPACKET,
        0o600,
        Some("systemd-udevd"),
        "systemd-udevd-control.socket",
        Does::HangsUp,
    ),
];
const NOBODY: &[u8] = b"{\"error\":\"io.systemd.UserDatabase.NoRecordFound\",\"parameters\":{}}\0";

impl World {
    fn tell_guest(&mut self, sock: SockId, data: &[u8]) -> bool {
        let out = Outgoing {
            data,
            flags: MSG_DONTWAIT | MSG_NOSIGNAL,
            ..Outgoing::default()
        };
        self.net.send(sock, &Caller::root(1), out).is_ok()
    }

    /// systemd begins to listen for itself and for its daemons.
    pub(super) fn listen_for_all(&mut self) {
        self.init.quiet.clear();
        self.init.guests.clear();
        for row in ROWS {
            let unit = format!("/lib/systemd/system/{}", row.4);
            if row.4.is_empty() || self.look(unit.as_bytes()).is_some() {
                let _ = self.listen_quietly(row);
            }
        }
    }

    fn listen_quietly(&mut self, row: &Row) -> KResult<()> {
        let Row(path, kind, perm, daemon, _, does) = row;
        let sock = self.daemon_bind(1, *kind, path.as_bytes(), *perm)?;
        if *kind == SOCK_DGRAM {
            self.net.drop_all(sock);
        } else {
            self.net.listen(sock, &Caller::root(1), 4096)?;
            self.net.serve(sock, true);
        }
        let file = self.daemon_holds(1, sock)?;
        let inode = self.sock_inode(sock.0);
        self.init.quiet.push(Quiet {
            at: Listener {
                sock,
                inode,
                system: false,
            },
            file,
            daemon: *daemon,
            does: *does,
        });
        if let Some(comm) = daemon {
            self.passes_on(comm);
        }
        Ok(())
    }

    /// A daemon that was started gets the sockets that systemd holds for it.
    pub(super) fn passes_on(&mut self, comm: &str) {
        let Some(pid) = self.daemon(comm.as_bytes()) else {
            return;
        };
        for q in self.init.quiet.clone() {
            let there = self.sock_inode(q.at.sock.0) == q.at.inode;
            if q.daemon == Some(comm) && there && !self.holds(pid, q.file) {
                self.add_ref(q.file);
                self.daemon_keeps(pid, q.file);
            }
        }
    }

    fn holds(&self, pid: u32, file: u32) -> bool {
        let table = self.t(pid).ok().and_then(|t| self.fdtables.get(&t.files?));
        table.is_some_and(|t| t.slots.iter().flatten().any(|s| s.file == file))
    }

    /// Takes who has connected, and hears them.
    pub(super) fn hear_quietly(&mut self) {
        for Quiet { at, does, .. } in self.init.quiet.clone() {
            while self.init.guests.len() < PEERS && self.sock_inode(at.sock.0) == at.inode {
                let Ok((sock, _)) = self.net.accept(at.sock, &Caller::root(1)) else {
                    break;
                };
                if does == Does::HangsUp {
                    self.net.close(sock);
                    continue;
                }
                self.net.serve(sock, true);
                let inode = self.sock_inode(sock.0);
                self.init.guests.push(Guest { sock, inode, does });
            }
        }
        for g in std::mem::take(&mut self.init.guests) {
            if self.hear_guest(g.sock, g.does) {
                self.init.guests.push(g);
            } else {
                self.hang_up(g.sock, g.inode);
            }
        }
    }

    /// False: he is gone.
    fn hear_guest(&mut self, sock: SockId, does: Does) -> bool {
        for _ in 0..64 {
            let r = match self.net.recv(sock, 65_536, MSG_DONTWAIT) {
                Ok(r) if r.data.is_empty() => return false,
                Ok(r) => r,
                Err(Errno::EAGAIN) => return true,
                Err(_) => return false,
            };
            for c in &r.control {
                if let Control::Rights(files) = c {
                    files.iter().for_each(|f| self.unref(*f as u32));
                }
            }
            if does == Does::KnowsNobody {
                for _ in r.data.iter().filter(|b| **b == 0) {
                    if !self.tell_guest(sock, NOBODY) {
                        return false;
                    }
                }
            }
        }
        true
    }
}
