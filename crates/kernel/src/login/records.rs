//! What is left of a login: the lines that sshd, PAM and logind log, and utmp, wtmp and lastlog. Boots and shutdowns are written there too.

use super::{Account, Open};
use crate::abi::*;
use crate::tty::TtyId;
use crate::world::{Conn, ConnState, World};
use std::net::SocketAddr;
use turncoat_cover::past::lines::{self, Line, Says};

impl World {
    /// The number that logind gives to a connection's session.
    pub(super) fn session(&self, conn: Conn) -> u32 {
        conn.0.saturating_sub(self.first_conn)
    }

    /// What sshd, PAM, logind and init log of a login. `pid` is the privileged sshd of the connection.
    pub(super) fn log_login(&mut self, o: &Open, a: &Account, pid: u32, conn: Conn) {
        if o.method.is_empty() {
            return;
        }
        let (name, uid, n) = (
            String::from_utf8_lossy(&a.user).into_owned(),
            a.uid,
            self.session(conn),
        );
        let (how, key) = o
            .method
            .split_once(' ')
            .map_or((&o.method[..], String::new()), |m| (m.0, format!(": {}", m.1)));
        let (host, port) = (o.peer.ip().to_canonical(), o.peer.port());
        let logind = self.daemon_pid(b"systemd-logind");
        let lines = [
            self.say_now(
                lines::SSHD,
                pid,
                false,
                format!("Accepted {how} for {name} from {host} port {port} ssh2{key}"),
            ),
            self.say_now(
                lines::SSHD,
                pid,
                true,
                format!("pam_unix(sshd:session): session opened for user {name}(uid={uid}) by (uid=0)"),
            ),
            self.say_now(
                lines::LOGIND,
                logind,
                false,
                format!("New session {n} of user {name}."),
            ),
            Line {
                says: Says::Systemd,
                ..self.say_now(
                    lines::SSHD,
                    1,
                    false,
                    format!("Started session-{n}.scope - Session {n} of User {name}."),
                )
            },
        ];
        self.log(&lines);
    }

    /// What they log when the connection is over.
    pub(super) fn log_logout(&mut self, c: &ConnState, conn: Conn) {
        let (name, n) = (String::from_utf8_lossy(&c.user).into_owned(), self.session(conn));
        let (host, port) = (c.peer.ip().to_canonical(), c.peer.port());
        let (first, last) = (
            c.helpers.first().copied().unwrap_or(1),
            c.helpers.last().copied().unwrap_or(1),
        );
        let logind = self.daemon_pid(b"systemd-logind");
        let lines = [
            self.say_now(
                lines::SSHD,
                last,
                false,
                format!("Received disconnect from {host} port {port}:11: disconnected by user"),
            ),
            self.say_now(
                lines::SSHD,
                last,
                false,
                format!("Disconnected from user {name} {host} port {port}"),
            ),
            self.say_now(
                lines::SSHD,
                first,
                true,
                format!("pam_unix(sshd:session): session closed for user {name}"),
            ),
            self.say_now(
                lines::LOGIND,
                logind,
                false,
                format!("Session {n} logged out. Waiting for processes to exit."),
            ),
            self.say_now(lines::LOGIND, logind, false, format!("Removed session {n}.")),
        ];
        self.log(&lines);
    }

    /// utmp, wtmp and lastlog.
    pub(super) fn write_login_records(
        &mut self,
        pid: u32,
        a: &Account,
        t: TtyId,
        host: &str,
        peer: SocketAddr,
        conn: Conn,
    ) {
        let session = self.session(conn);
        let rec = utmp(7, pid, &t.name(), &a.user, host, peer, session, self.clock.real());
        let _ = self.scribble(b"/run/utmp", None, &rec, Some(0o664));
        let _ = self.scribble(b"/var/log/wtmp", None, &rec, Some(0o664));
        let mut e = Enc::new();
        e.u32((self.clock.real() / crate::time::SEC) as u32)
            .field(t.name().as_bytes(), 32)
            .field(host.as_bytes(), 256);
        let _ = self.scribble(b"/var/log/lastlog", Some(a.uid as u64 * 292), &e.0, None);
    }

    pub(super) fn write_logout_records(&mut self, pid: u32, tty: TtyId) {
        let utmp_now = self.slurp(b"/run/utmp").unwrap_or_default();
        let found = utmp_now
            .chunks_exact(384)
            .position(|r| le32(r, 4) == pid && le16(r, 0) == 7);
        if let Some(i) = found {
            let mut r = utmp_now[i * 384..i * 384 + 384].to_vec();
            r[0] = 8;
            r[44..76].fill(0);
            r[76..332].fill(0);
            let _ = self.scribble(b"/run/utmp", Some(i as u64 * 384), &r, None);
        }
        let zero = SocketAddr::from(([0, 0, 0, 0], 0));
        let rec = utmp(8, pid, &tty.name(), b"", "", zero, 0, self.clock.real());
        let _ = self.scribble(b"/var/log/wtmp", None, &rec, None);
    }

    /// What systemd writes at boot: the boot itself and the run level.
    pub(crate) fn write_boot_records(&mut self) {
        let at = self.clock.offset();
        let zero = SocketAddr::from(([0, 0, 0, 0], 0));
        let release = self.facts_of.release.clone();
        let mut boot = utmp(2, 0, "~", b"reboot", &release, zero, 0, at);
        let mut level = utmp(1, 53, "~", b"runlevel", &release, zero, 0, at + 9_000_000_000);
        boot[40..44].copy_from_slice(b"~~\0\0");
        level[40..44].copy_from_slice(b"~~\0\0");
        let rec = [boot, level].concat();
        let _ = self.scribble(b"/run/utmp", None, &rec, Some(0o664));
        let root = self.vfs.root_path();
        let _ = self.fs(0, |v, c| v.chown(c, &root, b"/run/utmp", 0, 43, 0));
    }

    /// A record of init's in wtmp: what happened and when. `last` tells boots and shutdowns by them.
    pub(crate) fn note_in_wtmp(&mut self, kind: u16, pid: u32, what: &str, at: u64) {
        let zero = SocketAddr::from(([0, 0, 0, 0], 0));
        let release = self.facts_of.release.clone();
        let mut rec = utmp(kind, pid, "~", what.as_bytes(), &release, zero, 0, at);
        rec[40..44].copy_from_slice(b"~~\0\0");
        let _ = self.scribble(b"/var/log/wtmp", None, &rec, None);
    }
}

/// `struct utmp` of x86-64 (384 bytes).
#[allow(clippy::too_many_arguments)]
pub(crate) fn utmp(
    kind: u16,
    pid: u32,
    line: &str,
    user: &[u8],
    host: &str,
    peer: SocketAddr,
    session: u32,
    now: u64,
) -> Vec<u8> {
    let mut e = Enc::new();
    e.u16(kind).u16(0).u32(pid).field(line.as_bytes(), 32);
    let id = line
        .strip_prefix("pts/")
        .map_or(line.to_owned(), |n| format!("ts/{n}"));
    e.field(id.as_bytes(), 4)
        .field(user, 32)
        .field(host.as_bytes(), 256)
        .u32(0)
        .u32(session);
    e.u32((now / crate::time::SEC) as u32)
        .u32((now % crate::time::SEC / 1000) as u32);
    match peer {
        SocketAddr::V4(a) => e.bytes(&a.ip().octets()),
        SocketAddr::V6(a) => e.bytes(&a.ip().octets()),
    };
    e.pad_to(384);
    e.0
}
