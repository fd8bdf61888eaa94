//! inetd: a stand-in that listens, and real programs that serve what comes, as `/etc/inetd.conf` says.
//!
//! A connection from outside is a [`Conn`] whose bytes go through a socket of the world to the program that serves it. Until
//! somebody is let in, a [`Guard`] stands before `login`: a password that was typed is shown to the host before `login` reads it,
//! so that what the host decides (and writes into `/etc/shadow`) is what `login` then finds.

use crate::abi::{AT_FDCWD, O_RDWR};
use crate::fd::What;
use crate::net::SockId;
use crate::net::outside::HostId;
use crate::tty::{Side, TtyFile};
use crate::world::{Conn, ConnState, Out, World};
use crate::{Creds, Errno, KResult};
use std::net::SocketAddr;
use turncoat_freeze::Freeze;

const CONF: &[u8] = b"/etc/inetd.conf";
/// `ECHO` in `c_lflag`.
const ECHO: u32 = 0o10;
/// Bytes of a line without an end that are taken for a whole one.
const LONGEST: usize = 512;
/// Bytes taken of a stream at once.
const AT_ONCE: usize = 16 << 10;

/// What inetd has open.
#[derive(Clone, Default, Freeze)]
pub(crate) struct Inetd {
    listeners: Vec<(Vec<u8>, SocketAddr, SockId)>,
    /// `INVOCATION_ID` of its unit, and the inode of the socket to the journal.
    invocation: String,
    journal: u64,
}

/// Stands before `login`, until it lets somebody in.
#[derive(Clone, Default, Freeze)]
pub(crate) struct Guard {
    /// The name that was typed, or given as an argument.
    user: Vec<u8>,
    /// The terminal on which a password waits, and its length.
    asked: Option<(TtyFile, usize)>,
    /// Bytes of the password that were answered for and are not read yet.
    left: usize,
    /// They are to be read as something else.
    spoil: bool,
}

/// A line of `inetd.conf`.
struct Service {
    user: Vec<u8>,
    program: Vec<u8>,
    argv: Vec<Vec<u8>>,
}

/// What is started for TCP connections to a service (inetd.conf(5)).
fn service(conf: &[u8], name: &[u8]) -> Option<Service> {
    conf.split(|b| *b == b'\n').find_map(|line| {
        let words: Vec<&[u8]> = line
            .split(|b| b.is_ascii_whitespace())
            .filter(|w| !w.is_empty())
            .collect();
        let [n, b"stream", b"tcp" | b"tcp4", wait, user, program, argv @ ..] = words.as_slice() else {
            return None;
        };
        (*n == name && wait.starts_with(b"nowait") && !argv.is_empty()).then(|| Service {
            user: user
                .split(|b| matches!(b, b':' | b'.'))
                .next()
                .unwrap_or_default()
                .to_vec(),
            program: program.to_vec(),
            argv: argv.iter().map(|a| a.to_vec()).collect(),
        })
    })
}

/// The name that `login` is given (`login [-p] [-h host] [-H] [[-f] username]`).
fn named(argv: &[Vec<u8>]) -> Vec<u8> {
    let mut rest = argv.iter().skip(1);
    while let Some(word) = rest.next() {
        match &word[..] {
            b"-h" => drop(rest.next()),
            w if w.starts_with(b"-") => {}
            w => return w.to_vec(),
        }
    }
    Vec::new()
}

fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or_default()
}

impl World {
    /// inetd listens for this service, if it runs and its configuration has it.
    ///
    /// # Errors
    /// `ENOENT` if it does not; else as `bind(2)` and `listen(2)`.
    pub fn inetd_listen(&mut self, name: &str, at: SocketAddr) -> KResult<()> {
        let conf = self.slurp(CONF)?;
        service(&conf, name.as_bytes()).ok_or(Errno::ENOENT)?;
        if self.daemon_pid(b"inetd") == 1 {
            return Err(Errno::ENOENT);
        }
        let sock = self.daemon_listen(b"inetd", at)?;
        if self.inetd.invocation.is_empty() {
            self.inetd.invocation = format!("{:016x}{:016x}", self.rng.u64(), self.rng.u64());
            self.inetd.journal = 10_000 + self.rng.u64() % 20_000;
        }
        self.inetd.listeners.push((name.as_bytes().to_vec(), at, sock));
        Ok(())
    }

    /// An outsider connects to a service of inetd's.
    ///
    /// # Errors
    /// `ECONNREFUSED` if nothing listens there, `EAGAIN` if there is no room for another process.
    pub fn serve(&mut self, name: &[u8], peer: SocketAddr, local: SocketAddr) -> KResult<Conn> {
        self.rise();
        let listener = self.inetd.listeners.iter().find(|l| l.0 == name);
        let (at, sock) = listener.map(|l| (l.1, l.2)).ok_or(Errno::ECONNREFUSED)?;
        if self.tasks.len() + 3 > self.limits.tasks {
            return Err(Errno::EAGAIN);
        }
        self.seq += 1;
        let ip = self.own_address(local).ip();
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        self.net_clock();
        let host = self.net.host_connect((peer.ip(), peer.port()), (ip, at.port()))?;
        self.net_effects();
        self.next_conn += 1;
        let conn = Conn(self.next_conn);
        let state = ConnState {
            stream: Some(host),
            guard: Some(Guard::default()),
            ..ConnState::new(0, Vec::new(), peer)
        };
        self.conns.insert(conn, state);
        let served = match self.stream_accept(sock) {
            Some((sock, ..)) => self.start_service(name, sock, Some(conn)),
            None => Err(Errno::ECONNREFUSED),
        };
        match served {
            Ok(pid) => {
                if let Some(c) = self.conns.get_mut(&conn) {
                    c.leader = pid;
                }
                self.pump();
                Ok(conn)
            }
            Err(e) => {
                self.conn_close(conn);
                Err(e)
            }
        }
    }

    /// Programs of the machine that connect to a service of inetd's are served as well.
    pub(crate) fn inetd_accept(&mut self) {
        for i in 0..self.inetd.listeners.len() {
            let Some((name, _, listener)) = self.inetd.listeners.get(i).cloned() else {
                return;
            };
            while self.tasks.len() + 3 <= self.limits.tasks
                && let Some((sock, from, _)) = self.stream_accept(listener)
            {
                let conn = from.and_then(|f| self.stream_maker(f));
                // What it could not start it has logged.
                let _ = self.start_service(&name, sock, conn);
            }
        }
    }

    /// Forks, and executes the service's program on the connection.
    fn start_service(&mut self, name: &[u8], sock: SockId, conn: Option<Conn>) -> KResult<u32> {
        let made = self.try_start(name, sock, conn);
        if made.is_err() {
            self.stream_close(sock);
        }
        made
    }

    fn try_start(&mut self, name: &[u8], sock: SockId, conn: Option<Conn>) -> KResult<u32> {
        let conf = self.slurp(CONF)?;
        let s = service(&conf, name).ok_or(Errno::ECONNREFUSED)?;
        let a = self.account(&s.user).ok_or(Errno::ENOENT)?;
        let inetd = self.daemon_pid(b"inetd");
        let creds = if a.uid == 0 {
            Creds::root()
        } else {
            Creds::user(a.uid, a.gid, a.groups.clone())
        };
        let (pid, table, _) = self.fresh_process(inetd, creds, b"inetd", conn)?;
        // It is of inetd's session.
        let (pgid, sid) = self.p(inetd).map_or((pid, pid), |p| (p.pgid, p.sid));
        if let Ok(p) = self.pm(pid) {
            (p.pgid, p.sid) = (pgid, sid);
        }
        let file = self.new_file(What::Socket(sock.0), O_RDWR, None)?;
        self.add_ref(file);
        self.add_ref(file);
        self.put(table, [file, file, file]);
        if let Ok(root) = self.walk(pid, AT_FDCWD, b"/", crate::vfs::wflag::DIRECTORY) {
            let _ = root;
        }
        let env = self.unit_env(inetd);
        self.current = pid;
        let r = self.exec_fresh(pid, &s.program, s.argv, env);
        self.after_task();
        self.current = 0;
        if r.is_err() {
            self.group_exit(pid, 1 << 8);
        }
        Ok(pid)
    }

    /// The environment that systemd gives a unit's process (systemd.exec(5)).
    fn unit_env(&mut self, pid: u32) -> Vec<Vec<u8>> {
        let locale = self.slurp(b"/etc/default/locale").unwrap_or_default();
        let lang = locale
            .split(|b| *b == b'\n')
            .find_map(|l| l.strip_prefix(b"LANG="))
            .map(|l| l.iter().copied().filter(|b| *b != b'"').collect::<Vec<u8>>());
        let mut env: Vec<Vec<u8>> = Vec::new();
        env.extend(lang.map(|l| [&b"LANG="[..], &l].concat()));
        env.extend([
            b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin".to_vec(),
            format!("INVOCATION_ID={}", self.inetd.invocation).into_bytes(),
            format!("JOURNAL_STREAM=8:{}", self.inetd.journal).into_bytes(),
            format!("SYSTEMD_EXEC_PID={pid}").into_bytes(),
        ]);
        env
    }

    fn stream_of(&self, conn: Conn) -> Option<HostId> {
        self.conns.get(&conn)?.stream
    }

    /// Hands what came from outside to the socket.
    pub(crate) fn feed_stream(&mut self, conn: Conn) {
        let Some(h) = self.stream_of(conn) else { return };
        self.net_clock();
        while let Some(c) = self.conns.get_mut(&conn)
            && !c.backlog.is_empty()
        {
            let (front, _) = c.backlog.as_slices();
            match self.net.host_write(h, front) {
                Ok(0) => break,
                Ok(n) => drop(c.backlog.drain(..n)),
                Err(_) => c.backlog.clear(),
            }
        }
        let over = self
            .conns
            .get_mut(&conn)
            .is_some_and(|c| c.backlog.is_empty() && std::mem::take(&mut c.eof_in));
        if over {
            self.net.host_close(h);
        }
        self.net_effects();
    }

    /// Takes what the program said.
    pub(crate) fn collect_stream(&mut self, conn: Conn) {
        let Some(h) = self.stream_of(conn) else { return };
        self.net_clock();
        let mut over = false;
        while let Some(c) = self.conns.get(&conn)
            && !c.paused
            && c.unread < self.limits.output
        {
            let (bytes, end) = self.net.host_read(h, AT_ONCE);
            over = end;
            if bytes.is_empty() {
                break;
            }
            self.emit(conn, Out::Data { stderr: false, bytes });
        }
        self.net_effects();
        if over {
            self.emit(conn, Out::Eof);
            self.emit(conn, Out::Close);
            self.conn_close(conn);
        }
    }

    /// The guard before this task, if it is the `login` of a connection that nobody has logged in by.
    fn guarded(&self, tid: u32, t: &TtyFile) -> Option<Conn> {
        if t.side != Side::Slave {
            return None;
        }
        let conn = self.p(self.tgid(tid)).ok()?.conn?;
        self.conns.get(&conn)?.guard.as_ref()?;
        (self.t(tid).ok()?.comm() == b"login").then_some(conn)
    }

    /// True if a read of the terminal has to wait, because a password is to be decided on first.
    pub(crate) fn guard_read(&mut self, tid: u32, t: &TtyFile) -> bool {
        let Some(conn) = self.guarded(tid, t) else {
            return false;
        };
        let Some(tty) = self.ttys.tty(t.tty) else {
            return false;
        };
        if tty.termios().lflag & ECHO != 0 {
            return false;
        }
        let line = match tty.first_line() {
            Some(line) => line,
            // Where the client edits lines, their pieces wait for their end.
            None if tty.has_bytes() => return true,
            None => return false,
        };
        let Some(g) = self.conns.get_mut(&conn).and_then(|c| c.guard.as_mut()) else {
            return false;
        };
        if g.left > 0 {
            return false;
        }
        if g.asked.is_some() {
            return true;
        }
        g.asked = Some((*t, line.len()));
        let user = g.user.clone();
        let end = line.iter().position(|b| matches!(b, b'\n' | b'\r'));
        let secret = line
            .get(..end.unwrap_or(line.len()).min(LONGEST))
            .unwrap_or_default();
        let secret = secret.to_vec();
        self.emit(conn, Out::Secret { user, secret });
        true
    }

    /// The host has decided: `login` reads on.
    pub(crate) fn guard_answer(&mut self, conn: Conn, spoil: bool) {
        let Some(g) = self.conns.get_mut(&conn).and_then(|c| c.guard.as_mut()) else {
            return;
        };
        if let Some((tty, length)) = g.asked.take() {
            g.left = length;
            g.spoil = spoil;
            self.wake(tty.wait_key());
        }
    }

    /// What a guarded `login` has read: a name, or a password that was decided on. True if it is not to be noted as a line.
    pub(crate) fn guard_line(&mut self, tid: u32, t: &TtyFile, b: &mut [u8]) -> bool {
        let Some(conn) = self.guarded(tid, t) else {
            return false;
        };
        let echo = self
            .ttys
            .tty(t.tty)
            .is_some_and(|t| t.termios().lflag & ECHO != 0);
        let Some(g) = self.conns.get_mut(&conn).and_then(|c| c.guard.as_mut()) else {
            return false;
        };
        if g.left > 0 {
            g.left = g.left.saturating_sub(b.len());
            if std::mem::take(&mut g.spoil)
                && let Some(first) = b.first_mut()
            {
                *first = if *first == b'x' { b'y' } else { b'x' };
            }
        } else if echo {
            let end = b.iter().position(|c| matches!(c, b'\n' | b'\r'));
            g.user = b.get(..end.unwrap_or(b.len())).unwrap_or_default().to_vec();
        }
        true
    }

    /// What programs start tells how far a login is: `login` knows a name, and what it starts is for somebody who was let in.
    pub(crate) fn guard_exec(&mut self, tgid: u32, path: &[u8], argv: &[Vec<u8>]) {
        let Some(conn) = self.p(tgid).ok().and_then(|p| p.conn) else {
            return;
        };
        let Some(c) = self.conns.get_mut(&conn) else {
            return;
        };
        let Some(g) = c.guard.as_mut() else { return };
        match base(path) {
            b"tcpd" | b"telnetd" => {}
            b"login" => g.user = named(argv),
            _ => {
                c.guard = None;
                self.emit(conn, Out::Entered);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{named, service};

    #[test]
    fn the_configuration_is_read_as_inetd_reads_it() {
        let conf = b"#:STANDARD:\n#<off># telnet\tstream\ttcp\tnowait\troot\t/bin/no\tno\ntelnet\t\tstream\ttcp\tnowait.50\troot.adm\t/usr/sbin/tcpd\t/usr/sbin/telnetd -h\ndaytime stream tcp nowait root internal\n";
        let s = service(conf, b"telnet").unwrap();
        assert_eq!(
            (&s.user[..], &s.program[..]),
            (&b"root"[..], &b"/usr/sbin/tcpd"[..])
        );
        assert_eq!(s.argv, [b"/usr/sbin/telnetd".to_vec(), b"-h".to_vec()]);
        assert!(service(conf, b"daytime").is_none(), "a builtin has no program");
        assert!(service(conf, b"ftp").is_none());
    }

    #[test]
    fn login_is_told_a_name() {
        let of = |line: &str| {
            let argv: Vec<Vec<u8>> = line.split(' ').map(|w| w.as_bytes().to_vec()).collect();
            String::from_utf8(named(&argv)).unwrap()
        };
        assert_eq!(of("/bin/login -p -h localhost"), "");
        assert_eq!(of("/bin/login -p -h localhost root"), "root");
        assert_eq!(of("/bin/login -p -h localhost -f root"), "root");
    }
}
