//! Logins: what sshd does between authentication and the user's shell, and the connection's bytes.
//!
//! The sshd processes themselves are stand-ins; the shell is really forked from nothing and exec'ed in the world, in its own
//! session on its own terminal (or on pipes).

use crate::abi::sig::{self, SigInfo};
use crate::abi::*;
use crate::fd::{FdTable, Slot, What};
use crate::signal::SigHand;
use crate::task::{Proc, Task};
use crate::tty::{TtyFile, TtyId};
use crate::world::{Conn, ConnState, Fact, Input, Out, Output, StandInSpec, World};
use crate::{Creds, Errno, KResult};
use std::net::SocketAddr;
use std::sync::Arc;
use turncoat_cover::past::lines::{self, Line, Says};

/// Most input bytes kept for a program that does not read.
const BACKLOG: usize = 64 << 10;

/// A terminal that the client asked for.
#[derive(Clone, Debug)]
pub struct Term {
    /// Value of TERM.
    pub name: Vec<u8>,
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
    /// Width in pixels.
    pub xpixel: u16,
    /// Height in pixels.
    pub ypixel: u16,
    /// Terminal modes (RFC 4254 section 8): opcode and argument.
    pub modes: Vec<(u8, u32)>,
}

/// A user as /etc/passwd and /etc/group tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub user: Vec<u8>,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: Vec<u8>,
    /// Login shell.
    pub shell: Vec<u8>,
}

/// A login or a command on behalf of a decoy.
#[derive(Clone, Debug)]
pub struct Open {
    /// Who logs in; must be in the world's /etc/passwd unless `account` is given.
    pub user: Vec<u8>,
    /// The account, if it is not to be looked up.
    pub account: Option<Account>,
    /// Environment that the client sent and the server accepts.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// A terminal, or pipes.
    pub term: Option<Term>,
    /// A command for the shell's `-c`; `None`: an interactive login shell.
    pub command: Option<Vec<u8>>,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address that the client reached.
    pub local: SocketAddr,
    /// Say what sshd says before a login shell (message of the day, last login).
    pub greet: bool,
    /// How it was let in, as sshd logs it: `password`, or `publickey` and the key behind the address. Empty: not logged.
    pub method: String,
    /// The number of the sshd that serves the connection, if somebody knows it already.
    pub sshd: Option<u32>,
}

fn fields(line: &[u8]) -> Vec<&[u8]> {
    line.split(|b| *b == b':').collect()
}

fn number(b: &[u8]) -> Option<u32> {
    std::str::from_utf8(b).ok()?.parse().ok()
}

/// Terminal modes: control characters by opcode, in order of their index in `c_cc` (RFC 4254 section 8 and termios(3)).
const CC: [(u8, usize); 16] = [
    (1, 0),
    (2, 1),
    (3, 2),
    (4, 3),
    (5, 4),
    (6, 11),
    (7, 16),
    (8, 8),
    (9, 9),
    (10, 10),
    (12, 12),
    (13, 14),
    (14, 15),
    (16, 7),
    (18, 13),
    (11, 10),
];
/// Flags by opcode: which word (0 input, 1 output, 2 control, 3 local) and which bits.
const FLAGS: [(u8, usize, u32); 38] = [
    (30, 0, 0o4),
    (31, 0, 0o10),
    (32, 0, 0o20),
    (33, 0, 0o40),
    (34, 0, 0o100),
    (35, 0, 0o200),
    (36, 0, 0o400),
    (37, 0, 0o1000),
    (38, 0, 0o2000),
    (39, 0, 0o4000),
    (40, 0, 0o10000),
    (41, 0, 0o20000),
    (42, 0, 0o40000),
    (50, 3, 0o1),
    (51, 3, 0o2),
    (52, 3, 0o4),
    (53, 3, 0o10),
    (54, 3, 0o20),
    (55, 3, 0o40),
    (56, 3, 0o100),
    (57, 3, 0o200),
    (58, 3, 0o400),
    (59, 3, 0o100000),
    (60, 3, 0o1000),
    (61, 3, 0o4000),
    (62, 3, 0o40000),
    (70, 1, 0o1),
    (71, 1, 0o2),
    (72, 1, 0o4),
    (73, 1, 0o10),
    (74, 1, 0o20),
    (75, 1, 0o40),
    (92, 2, 0o400),
    (93, 2, 0o1000),
    (90, 2, 0o40),
    (91, 2, 0o60),
    (94, 2, 0),
    (95, 2, 0),
];

impl World {
    /// Looks a user up in the world's own /etc/passwd and /etc/group.
    pub fn account(&mut self, user: &[u8]) -> Option<Account> {
        let passwd = self.slurp(b"/etc/passwd").ok()?;
        let mut found = None;
        for line in passwd.split(|b| *b == b'\n') {
            let f = fields(line);
            if f.len() >= 7 && f[0] == user {
                found = Some(Account {
                    user: user.to_vec(),
                    uid: number(f[2])?,
                    gid: number(f[3])?,
                    groups: Vec::new(),
                    home: f[5].to_vec(),
                    shell: if f[6].is_empty() {
                        b"/bin/sh".to_vec()
                    } else {
                        f[6].to_vec()
                    },
                });
                break;
            }
        }
        let mut a = found?;
        a.groups.push(a.gid);
        for line in self
            .slurp(b"/etc/group")
            .unwrap_or_default()
            .split(|b| *b == b'\n')
        {
            let f = fields(line);
            if f.len() >= 4
                && f[3].split(|b| *b == b',').any(|m| m == user)
                && let Some(g) = number(f[2])
            {
                a.groups.push(g);
            }
        }
        Some(a)
    }

    /// Logs somebody in, or runs one command for him.
    pub fn open(&mut self, o: Open) -> KResult<Conn> {
        self.rise();
        let a = match o.account.clone() {
            Some(a) => a,
            None => self.account(&o.user).ok_or(Errno::ENOENT)?,
        };
        if self.tasks.len() + 3 > self.limits.tasks {
            return Err(Errno::EAGAIN);
        }
        self.next_conn += 1;
        let conn = Conn(self.next_conn);
        self.seq += 1;
        let now = self.clock.mono();
        let o = Open {
            // What a program of the machine reached is what it named.
            local: if self.is_inside(o.peer) {
                o.local
            } else {
                self.own_address(o.local)
            },
            ..o
        };
        let name = String::from_utf8_lossy(&a.user).into_owned();

        // The server's processes.
        let listener = self
            .procs
            .values()
            .find(|p| p.ppid == 1 && self.t(p.tgid).is_ok_and(|t| t.comm() == b"sshd"))
            .map_or(1, |p| p.tgid);
        let mut master = None;
        let mut tty = None;
        if let Some(t) = &o.term {
            let m = self.ttys.open_master()?;
            self.tty_effects();
            let root = crate::tty::Caller {
                admin: true,
                ..Default::default()
            };
            let _ = self.ttys.ioctl(
                &m,
                &root,
                crate::abi::tty::TIOCSPTLCK,
                0,
                &0u32.to_le_bytes(),
                true,
                &|_| None,
            );
            self.ttys.resize(
                m.tty,
                crate::abi::tty::WinSize {
                    rows: t.rows,
                    cols: t.cols,
                    xpixel: t.xpixel,
                    ypixel: t.ypixel,
                },
            );
            self.apply_modes(&m, &root, &t.modes);
            master = Some(m);
            tty = Some(m.tty);
        }
        let on = tty.map_or("notty".to_owned(), |t| t.name());
        let server = |who: &str, creds: Creds, ppid: u32, sid: Option<u32>| {
            let mut s = StandInSpec::daemon("sshd", "");
            s.ppid = ppid;
            s.cmdline = [who.as_bytes(), b"\0"].concat();
            s.exe = b"/usr/sbin/sshd".to_vec();
            s.creds = creds;
            s.rss = 10 << 20;
            s.vsz = 17_800 << 10;
            s.start_ns = now;
            s.utime_ns = 10_000_000;
            s.stime_ns = 0;
            s.sid = sid;
            s.pgid = sid;
            s.conn = Some(conn);
            s
        };
        let mut helpers = Vec::new();
        let parent = if a.uid == 0 {
            let mut first = server(&format!("sshd: {name}@{on}"), Creds::root(), listener, None);
            first.pid = o.sshd;
            let p = self.spawn_standin(first)?;
            self.find_exe(p);
            helpers.push(p);
            p
        } else {
            let mut first = server(&format!("sshd: {name} [priv]"), Creds::root(), listener, None);
            first.pid = o.sshd;
            let p = self.spawn_standin(first)?;
            let creds = Creds::user(a.uid, a.gid, a.groups.clone());
            let c = self.spawn_standin(server(&format!("sshd: {name}@{on}"), creds, p, Some(p)))?;
            self.find_exe(p);
            self.find_exe(c);
            helpers.extend([p, c]);
            c
        };

        let before = self.conns.values().find(|c| c.peer == o.peer);
        let (first, held) = (before.is_none(), before.and_then(|c| c.sock));
        let sock = match held {
            Some(f) => Some(f),
            None if self.is_inside(o.peer) => None,
            None => self.daemon_connection(helpers[0], o.local, o.peer).ok(),
        };
        if let Some(f) = sock {
            for (i, h) in helpers.iter().enumerate() {
                // The file comes with one reference.
                if held.is_some() || i > 0 {
                    self.add_ref(f);
                }
                self.daemon_keeps(*h, f);
            }
        }
        if first {
            self.log_login(&o, &a, helpers[0], conn);
        }

        // The shell's process.
        let creds = Creds::user(a.uid, a.gid, a.groups.clone());
        let (pid, table, fs) = self.fresh_process(parent, creds, b"sshd", Some(conn))?;

        let mut state = ConnState {
            sock,
            helpers,
            master,
            ..ConnState::new(pid, a.user.clone(), o.peer)
        };
        match tty {
            Some(t) => {
                let path = format!("/dev/{}", t.name()).into_bytes();
                let root = self.vfs.root_path();
                let _ = self.fs(0, |v, c| v.chown(c, &root, &path, a.uid, 5, 0));
                let f = self.open_for(pid, &path, O_RDWR)?;
                self.add_ref(f);
                self.add_ref(f);
                self.put(table, [f, f, f]);
            }
            None => {
                let (i, o, e) = (self.new_pipe(1, 1), self.new_pipe(1, 1), self.new_pipe(1, 1));
                let fi = self.new_file(
                    What::Pipe {
                        id: i,
                        read: true,
                        write: false,
                    },
                    O_RDONLY,
                    None,
                )?;
                let fo = self.new_file(
                    What::Pipe {
                        id: o,
                        read: false,
                        write: true,
                    },
                    O_WRONLY,
                    None,
                )?;
                let fe = self.new_file(
                    What::Pipe {
                        id: e,
                        read: false,
                        write: true,
                    },
                    O_WRONLY,
                    None,
                )?;
                self.put(table, [fi, fo, fe]);
                (state.stdin, state.stdout, state.stderr) = (Some(i), Some(o), Some(e));
            }
        }
        let _ = self.fs(0, |v, c| v.mount_user_runtime(c, a.uid, a.gid));
        let env = self.login_env(&o, &a, tty, conn);
        let login = o.command.is_none();
        let mut greeting = Vec::new();
        let host = o.peer.ip().to_string();
        if login && o.greet {
            match tty {
                Some(t) => self.greet(&a, t),
                // What PAM says goes to the client also where there is no terminal (display_loginmsg in session.c).
                None => greeting = self.message_of_the_day(&a),
            }
        }
        if let Some(t) = tty {
            self.write_login_records(pid, &a, t, &host, o.peer, conn);
        }
        self.conns.insert(conn, state);
        if !greeting.is_empty() {
            self.say(conn, &greeting);
        }

        // chdir to the home directory; sshd complains and goes on if it cannot.
        if let Ok(l) = self.walk(pid, AT_FDCWD, &a.home, crate::vfs::wflag::DIRECTORY) {
            self.vfs_hold(&l);
            if let Some(f) = self.fss.get_mut(&fs) {
                let old = std::mem::replace(&mut f.cwd, l);
                self.vfs_release(&old);
            }
        }
        let base = a.shell.rsplit(|b| *b == b'/').next().unwrap_or(b"sh").to_vec();
        let argv = match &o.command {
            Some(c) => vec![base, b"-c".to_vec(), c.clone()],
            None => vec![[b"-", &base[..]].concat()],
        };
        self.current = pid;
        let r = self.exec_fresh(pid, &a.shell, argv, env);
        self.after_task();
        self.current = 0;
        if let Err(e) = r {
            // What sshd's child says when the shell cannot be run.
            let text = format!("{}: {}\r\n", String::from_utf8_lossy(&a.shell), describe(e));
            self.say(conn, text.as_bytes());
            self.group_exit(pid, 1 << 8);
        }
        self.pump();
        Ok(conn)
    }

    /// What sshd, PAM, logind and init log of a login. `pid` is the privileged sshd of the connection.
    fn log_login(&mut self, o: &Open, a: &Account, pid: u32, conn: Conn) {
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
    fn log_logout(&mut self, c: &ConnState, conn: Conn) {
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

    /// A process that has not run anything yet: its number, its table of descriptors and its directory.
    pub(crate) fn fresh_process(
        &mut self,
        parent: u32,
        creds: Creds,
        name: &[u8],
        conn: Option<Conn>,
    ) -> KResult<(u32, u32, u32)> {
        let now = self.clock.mono();
        let pid = self.alloc_pid()?;
        let fs = self.new_fs();
        let sh = self.new_sighand();
        if let Some(s) = self.sighands.get_mut(&sh) {
            *s = SigHand::new();
        }
        let table = self.fresh_id();
        self.fdtables.insert(
            table,
            FdTable {
                users: 1,
                slots: Vec::new(),
            },
        );
        let mut t = Task::blank(pid, pid, fs, sh, Arc::new(creds));
        t.start = now;
        t.files = Some(table);
        t.cpu = Some(Box::new(turncoat_cpu::Cpu::new()));
        for (d, c) in t.comm.iter_mut().take(15).zip(name) {
            *d = *c;
        }
        let mut p = Proc::blank(pid, parent);
        p.start = now;
        p.conn = conn;
        self.tasks.insert(pid, Arc::new(t));
        self.procs.insert(pid, Arc::new(p));
        self.forks += 1;
        Ok((pid, table, fs))
    }

    pub(crate) fn put(&mut self, table: u32, files: [u32; 3]) {
        if let Some(t) = self.fdtables.get_mut(&table) {
            for (i, f) in files.into_iter().enumerate() {
                t.set(
                    i,
                    Slot {
                        file: f,
                        cloexec: false,
                    },
                );
            }
        }
    }

    fn apply_modes(&mut self, m: &TtyFile, root: &crate::tty::Caller, modes: &[(u8, u32)]) {
        let Some(t) = self.ttys.tty(m.tty) else { return };
        let mut b = t.termios().to_bytes().to_vec();
        let mut words = [le32(&b, 0), le32(&b, 4), le32(&b, 8), le32(&b, 12)];
        for (op, v) in modes {
            // glibc keeps one speed for both directions, and an input speed of 0 means the other one.
            let speed = match op {
                128 if *v == 0 => None,
                128 | 129 => Some(crate::abi::tty::speed_bits(*v)),
                _ => None,
            };
            if let Some(bits) = speed {
                words[2] = words[2] & !crate::abi::tty::CBAUD | bits;
            }
            if let Some((_, i)) = CC.iter().find(|(o, _)| o == op) {
                if let Some(c) = b.get_mut(17 + i) {
                    *c = if *v == 255 { 0 } else { *v as u8 };
                }
            } else if let Some((_, w, bit)) = FLAGS.iter().find(|(o, ..)| o == op) {
                match (op, *v != 0) {
                    (90 | 91, true) => words[2] = words[2] & !0o60 | if *op == 91 { 0o60 } else { 0o40 },
                    (90 | 91, false) => {}
                    (_, true) => words[*w] |= bit,
                    (_, false) => words[*w] &= !bit,
                }
            }
        }
        for (i, w) in words.iter().enumerate() {
            b[i * 4..i * 4 + 4].copy_from_slice(&w.to_le_bytes());
        }
        b.truncate(crate::abi::tty::TERMIOS_SIZE);
        let _ = self
            .ttys
            .ioctl(m, root, crate::abi::tty::TCSETS, 0, &b, true, &|_| None);
    }

    /// The environment that OpenSSH with PAM gives on Debian.
    fn login_env(&mut self, o: &Open, a: &Account, tty: Option<TtyId>, conn: Conn) -> Vec<Vec<u8>> {
        let session = self.session(conn);
        let mut env: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut set = |k: &[u8], v: &[u8]| {
            match env.iter_mut().find(|(n, _)| n == k) {
                Some(e) => e.1 = v.to_vec(),
                None => env.push((k.to_vec(), v.to_vec())),
            };
        };
        // A name with `=` in it is none (child_set_env in misc.c).
        for (k, v) in o.env.iter().filter(|(k, _)| !k.contains(&b'=')) {
            set(k, v);
        }
        set(b"USER", &a.user);
        set(b"LOGNAME", &a.user);
        set(b"HOME", &a.home);
        set(
            b"PATH",
            if a.uid == 0 {
                b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            } else {
                b"/usr/local/bin:/usr/bin:/bin:/usr/games"
            },
        );
        set(b"SHELL", &a.shell);
        if let Some(t) = o.term.as_ref().filter(|t| !t.name.is_empty()) {
            set(b"TERM", &t.name);
        }
        let locale = self.slurp(b"/etc/default/locale").unwrap_or_default();
        for line in locale.split(|b| *b == b'\n') {
            if let Some(i) = line.iter().position(|b| *b == b'=')
                && !line.starts_with(b"#")
            {
                // PAM's variables are set behind those of the client (do_setup_env in session.c).
                let v: Vec<u8> = line[i + 1..].iter().copied().filter(|b| *b != b'"').collect();
                set(&line[..i], &v);
            }
        }
        set(b"MOTD_SHOWN", b"pam");
        set(b"XDG_SESSION_ID", session.to_string().as_bytes());
        set(b"XDG_RUNTIME_DIR", format!("/run/user/{}", a.uid).as_bytes());
        set(b"XDG_SESSION_TYPE", b"tty");
        set(b"XDG_SESSION_CLASS", b"user");
        let (p, l) = (o.peer, o.local);
        set(
            b"SSH_CLIENT",
            format!("{} {} {}", p.ip(), p.port(), l.port()).as_bytes(),
        );
        set(
            b"SSH_CONNECTION",
            format!("{} {} {} {}", p.ip(), p.port(), l.ip(), l.port()).as_bytes(),
        );
        if let Some(t) = tty {
            set(b"SSH_TTY", format!("/dev/{}", t.name()).as_bytes());
        }
        env.into_iter()
            .map(|(k, v)| [&k[..], b"=", &v[..]].concat())
            .collect()
    }

    /// What `pam_motd` says; nothing to whoever wants it quiet.
    fn message_of_the_day(&mut self, a: &Account) -> Vec<u8> {
        let mut text = Vec::new();
        if self.slurp(&[&a.home[..], b"/.hushlogin"].concat()).is_ok() {
            return text;
        }
        let f = &self.facts_of;
        text.extend_from_slice(
            format!(
                "Linux {} {} {} x86_64\n",
                String::from_utf8_lossy(&self.hostname),
                f.release,
                f.version
            )
            .as_bytes(),
        );
        text.extend(self.slurp(b"/etc/motd").unwrap_or_default());
        text
    }

    /// What is on the screen before the shell's prompt.
    fn greet(&mut self, a: &Account, t: TtyId) {
        let mut text = self.message_of_the_day(a);
        if text.is_empty() {
            return;
        }
        let last = self.slurp(b"/var/log/lastlog").unwrap_or_default();
        let at = a.uid as usize * 292;
        if last.len() >= at + 292 {
            let secs = le32(&last, at) as i64;
            if secs != 0 {
                let host = &last[at + 36..at + 292];
                let n = host.iter().position(|b| *b == 0).unwrap_or(host.len());
                let offset = self.facts_of.zone.map_or(0, |z| z.offset_at(secs));
                text.extend_from_slice(format!("Last login: {} from ", ctime(secs + offset)).as_bytes());
                text.extend_from_slice(&host[..n]);
                text.push(b'\n');
            }
        }
        let who = crate::tty::Caller::default();
        if let Ok(f) = self.ttys.open_slave(t, &who, true, false) {
            let mut rest = &text[..];
            while let Ok(n) = self.ttys.write(&f, &who, rest) {
                rest = rest.get(n..).unwrap_or(&[]);
                if n == 0 || rest.is_empty() {
                    break;
                }
            }
            self.ttys.close(&f);
        }
        self.tty_effects();
    }

    /// utmp, wtmp and lastlog.
    fn write_login_records(
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

    /// The number that logind gives to a connection's session.
    fn session(&self, conn: Conn) -> u32 {
        conn.0.saturating_sub(self.first_conn)
    }

    /// A record of init's in wtmp: what happened and when. `last` tells boots and shutdowns by them.
    pub(crate) fn note_in_wtmp(&mut self, kind: u16, pid: u32, what: &str, at: u64) {
        let zero = SocketAddr::from(([0, 0, 0, 0], 0));
        let release = self.facts_of.release.clone();
        let mut rec = utmp(kind, pid, "~", what.as_bytes(), &release, zero, 0, at);
        rec[40..44].copy_from_slice(b"~~\0\0");
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

    fn write_logout_records(&mut self, pid: u32, tty: TtyId) {
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

    /// Bytes that the network side may still give to this connection now.
    pub fn room(&self, conn: Conn) -> usize {
        self.conns
            .get(&conn)
            .map_or(0, |c| BACKLOG.saturating_sub(c.backlog.len()))
    }

    /// Stops or resumes taking output of a connection whose network side is slow.
    pub fn pause(&mut self, conn: Conn, on: bool) {
        match self.conns.get_mut(&conn) {
            Some(c) if c.paused != on => c.paused = on,
            _ => return,
        }
        self.rise();
        self.pump();
    }

    /// Something came in from the network side.
    pub fn input(&mut self, conn: Conn, input: Input) {
        self.rise();
        self.seq += 1;
        let Some(c) = self.conns.get_mut(&conn) else {
            return;
        };
        match input {
            Input::Data(b) => {
                let n = b.len().min(BACKLOG.saturating_sub(c.backlog.len()));
                c.backlog.extend(&b[..n]);
            }
            Input::Eof => c.eof_in = true,
            Input::Resize {
                rows,
                cols,
                xpixel,
                ypixel,
            } => {
                if let Some(m) = c.master {
                    self.ttys.resize(
                        m.tty,
                        crate::abi::tty::WinSize {
                            rows,
                            cols,
                            xpixel,
                            ypixel,
                        },
                    );
                    self.tty_effects();
                }
            }
            Input::Signal(name) => {
                let want = [b"SIG", &name[..]].concat();
                let leader = c.leader;
                let s = (1..32u8).find(|s| sig::name(*s).as_bytes() == want);
                if let Some(s) = s {
                    let pg = self.p(leader).map_or(0, |p| p.pgid);
                    self.send_pgrp(pg, SigInfo::user(s, 0, 0));
                }
            }
            Input::Hangup => {
                self.feed(conn);
                self.conn_hangs_up(conn);
            }
            Input::Close => self.conn_close(conn),
            Input::Answer { spoil } => self.guard_answer(conn, spoil),
        }
        self.pump();
    }

    fn feed(&mut self, conn: Conn) {
        let Some(c) = self.conns.get_mut(&conn) else {
            return;
        };
        if c.stream.is_some() {
            return self.feed_stream(conn);
        }
        let (master, stdin) = (c.master, c.stdin);
        while let Some(c) = self.conns.get_mut(&conn)
            && !c.backlog.is_empty()
        {
            let chunk: Vec<u8> = c.backlog.iter().copied().take(4096).collect();
            let n = if let Some(m) = master {
                let who = crate::tty::Caller::default();
                self.ttys.write(&m, &who, &chunk).unwrap_or(0)
            } else if let Some(p) = stdin.and_then(|s| self.pipes.get_mut(s)) {
                if p.readers == 0 {
                    chunk.len()
                } else {
                    let n = p.room().min(chunk.len());
                    p.buf.extend(&chunk[..n]);
                    n
                }
            } else {
                chunk.len()
            };
            if n == 0 {
                break;
            }
            if let Some(c) = self.conns.get_mut(&conn) {
                c.backlog.drain(..n);
            }
            if let Some(s) = stdin {
                self.wake(crate::wait::WaitKey::Pipe(s));
            }
        }
        self.tty_effects();
        if let Some(c) = self.conns.get_mut(&conn)
            && c.eof_in
            && c.backlog.is_empty()
            && let Some(s) = c.stdin.take()
        {
            self.pipe_close(s, false, true);
        }
    }

    fn say(&mut self, conn: Conn, b: &[u8]) {
        self.emit(
            conn,
            Out::Data {
                stderr: false,
                bytes: b.to_vec(),
            },
        );
    }

    pub(crate) fn emit(&mut self, conn: Conn, out: Out) {
        let watermark = self.seq;
        if let Out::Data { bytes, stderr } = &out {
            if let Some(c) = self.conns.get_mut(&conn) {
                c.unread += bytes.len();
            }
            if let Some(Output {
                conn: k,
                watermark: m,
                out: Out::Data { stderr: e, bytes: b },
            }) = self.outputs.last_mut()
                && *k == conn
                && e == stderr
                && b.len() < 32 << 10
            {
                b.extend_from_slice(bytes);
                *m = watermark;
                return;
            }
        }
        self.outputs.push(Output { conn, watermark, out });
    }

    /// Moves bytes between connections and their terminals or pipes.
    pub(crate) fn pump(&mut self) {
        self.inetd_accept();
        let conns: Vec<Conn> = self.conns.keys().copied().collect();
        for k in conns {
            self.feed(k);
            self.collect(k);
        }
    }

    fn collect(&mut self, k: Conn) {
        let Some(c) = self.conns.get(&k) else { return };
        if c.stream.is_some() {
            return self.collect_stream(k);
        }
        let (master, out, err, status) = (c.master, c.stdout, c.stderr, c.status);
        let mut ended = true;
        if let Some(m) = master {
            loop {
                let full = self
                    .conns
                    .get(&k)
                    .is_none_or(|c| c.paused || c.unread >= self.limits.output);
                if full {
                    ended = false;
                    break;
                }
                let who = crate::tty::Caller::default();
                let mut call = crate::tty::ReadCall {
                    nonblock: true,
                    ..Default::default()
                };
                match self.ttys.read(&m, &who, 16384, &mut call, 0) {
                    Ok(b) if !b.is_empty() => self.emit(
                        k,
                        Out::Data {
                            stderr: false,
                            bytes: b,
                        },
                    ),
                    Err(Errno::EAGAIN) => {
                        // With a terminal, the end of the shell is the end.
                        ended = status.is_some();
                        break;
                    }
                    _ => break,
                }
            }
            self.tty_effects();
        }
        for (p, stderr) in [(out, false), (err, true)] {
            let Some(id) = p else { continue };
            loop {
                let full = self
                    .conns
                    .get(&k)
                    .is_none_or(|c| c.paused || c.unread >= self.limits.output);
                if full {
                    ended = false;
                    break;
                }
                match self.pipe_read(id, 16384) {
                    Ok(Some(b)) if !b.is_empty() => self.emit(k, Out::Data { stderr, bytes: b }),
                    Ok(None) => {
                        ended = false;
                        break;
                    }
                    _ => break,
                }
            }
        }
        if let Some(s) = status
            && (ended || master.is_none())
        {
            let first = self
                .conns
                .get_mut(&k)
                .is_some_and(|c| !std::mem::replace(&mut c.sent_status, true));
            if first {
                let out = match s & 0x7f {
                    0 => Out::Exit {
                        status: (s >> 8) as u8,
                    },
                    n => Out::Signal {
                        sig: n as u8,
                        core: s & 0x80 != 0,
                    },
                };
                self.emit(k, out);
            }
        }
        if ended && status.is_some() {
            let first = self
                .conns
                .get_mut(&k)
                .is_some_and(|c| !std::mem::replace(&mut c.sent_eof, true));
            if first {
                self.emit(k, Out::Eof);
                self.emit(k, Out::Close);
                self.conn_close(k);
            }
        }
    }

    /// A connection is over: its terminal hangs up, its pipes close, its server processes are gone.
    pub(crate) fn conn_close(&mut self, k: Conn) {
        let Some(c) = self.conns.remove(&k) else { return };
        if let Some(h) = c.stream {
            self.net_clock();
            self.net.host_close(h);
            self.net_effects();
            return;
        }
        if !self.conns.values().any(|o| o.peer == c.peer) {
            self.log_logout(&c, k);
        }
        self.conn_ends(c);
    }

    /// What channel_rcv_oclose in OpenSSH's channels.c and session_close_by_channel in session.c do: no terminal and no output any more,
    /// input ends behind what came. The connection lives until its program has ended.
    fn conn_hangs_up(&mut self, k: Conn) {
        let Some(c) = self.conns.get_mut(&k) else { return };
        c.eof_in = true;
        let (leader, master) = (c.leader, c.master.take());
        let outputs = [c.stdout.take(), c.stderr.take()];
        if let Some(m) = master {
            self.write_logout_records(leader, m.tty);
            self.ttys.close(&m);
            self.tty_effects();
        }
        for p in outputs.into_iter().flatten() {
            self.pipe_close(p, true, false);
        }
    }

    /// Every connection ends because the machine goes down.
    pub(crate) fn drop_connections(&mut self) {
        for c in std::mem::take(&mut self.conns).into_values() {
            self.conn_ends(c);
        }
    }

    fn conn_ends(&mut self, c: ConnState) {
        if let Some(m) = c.master {
            self.write_logout_records(c.leader, m.tty);
            self.ttys.close(&m);
            self.tty_effects();
        }
        if let Some(s) = c.stdin {
            self.pipe_close(s, false, true);
        }
        for p in [c.stdout, c.stderr].into_iter().flatten() {
            self.pipe_close(p, true, false);
        }
        for h in c.helpers.iter().rev() {
            self.group_exit(*h, 0);
        }
    }

    /// Connections that are open.
    pub fn connections(&self) -> Vec<Conn> {
        self.conns.keys().copied().collect()
    }

    pub(crate) fn conn_exit(&mut self, tgid: u32, status: i32) {
        for c in self.conns.values_mut() {
            if c.leader == tgid {
                c.status = Some(status);
            }
        }
    }

    /// Called with what a program read from its terminal.
    pub(crate) fn tty_line(&mut self, tid: u32, t: &TtyFile, b: &[u8]) {
        if t.side != crate::tty::Side::Slave {
            return;
        }
        let Some(last) = b.last() else { return };
        let tgid = self.tgid(tid);
        let conn = self.p(tgid).ok().and_then(|p| p.conn);
        if let Some(c) = conn.and_then(|c| self.conns.get_mut(&c)) {
            c.last = *last;
        }
        let Some(lflag) = self.ttys.tty(t.tty).map(|t| t.termios().lflag) else {
            return;
        };
        let canonical = lflag & 2 != 0;
        if canonical && *last == b'\n' {
            let text = b[..b.len() - 1].to_vec();
            self.fact(
                tgid,
                Fact::Line {
                    text,
                    prompt: false,
                    echo: lflag & 8 != 0,
                },
            );
        }
    }

    /// A program with readline inside gave its terminal back: the line is in its buffer.
    pub(crate) fn readline_done(&mut self, tid: u32, t: &TtyFile, before: Option<u32>) {
        let tgid = self.tgid(tid);
        let Some(var) = self.p(tgid).ok().and_then(|p| p.readline) else {
            return;
        };
        let now = self.ttys.tty(t.tty).map(|t| t.termios().lflag);
        let was_raw = before.is_some_and(|l| l & 2 == 0);
        let is_cooked = now.is_some_and(|l| l & 2 != 0);
        if !was_raw || !is_cooked {
            return;
        }
        let conn = self.p(tgid).ok().and_then(|p| p.conn);
        let last = conn.and_then(|c| self.conns.get(&c)).map_or(b'\r', |c| c.last);
        if !matches!(last, b'\r' | b'\n' | 15) {
            return;
        }
        let Ok(ptr) = self.read_u64(tid, var) else { return };
        if let Ok(Some(text)) = self.read_str(tid, ptr, 64 << 10) {
            self.fact(
                tgid,
                Fact::Line {
                    text,
                    prompt: true,
                    echo: true,
                },
            );
        }
    }

    /// Where a program keeps readline's buffer: its exported variable `rl_line_buffer`.
    pub(crate) fn find_readline(&mut self, loc: &crate::vfs::Path, bias: u64) -> Option<u64> {
        if !matches!(&loc.name[..], b"bash" | b"rbash") {
            return None;
        }
        if let Some(v) = self.readline_cache.get(&loc.ino.0) {
            return v.map(|v| v + bias);
        }
        let v = self.dynsym(loc, b"rl_line_buffer");
        if self.readline_cache.len() < 64 {
            self.readline_cache.insert(loc.ino.0, v);
        }
        v.map(|v| v + bias)
    }

    fn dynsym(&mut self, loc: &crate::vfs::Path, name: &[u8]) -> Option<u64> {
        let mut h = [0u8; 64];
        self.file_bytes(loc, 0, &mut h).ok()?;
        let (shoff, n) = (le64(&h, 40), le16(&h, 60) as usize);
        let mut sh = vec![0; n * 64];
        self.file_bytes(loc, shoff, &mut sh).ok()?;
        let sec = sh.chunks_exact(64).find(|s| le32(s, 4) == 11)?;
        let link = le32(sec, 40) as usize;
        let strs = sh.chunks_exact(64).nth(link)?;
        let (off, size) = (le64(sec, 24), le64(sec, 32).min(4 << 20));
        let (soff, ssize) = (le64(strs, 24), le64(strs, 32).min(4 << 20));
        let (mut syms, mut text) = (vec![0; size as usize], vec![0; ssize as usize]);
        self.file_bytes(loc, off, &mut syms).ok()?;
        self.file_bytes(loc, soff, &mut text).ok()?;
        syms.chunks_exact(24).find_map(|s| {
            let t = text.get(le32(s, 0) as usize..)?;
            (t.starts_with(name) && t.get(name.len()) == Some(&0) && le16(s, 6) != 0).then(|| le64(s, 8))
        })
    }

    /// A pty appeared or went: its node in /dev/pts.
    pub(crate) fn pts_node(&mut self, t: TtyId, present: bool) {
        let now = self.timespec();
        let uid = self.creds(self.current).map_or(0, |k| k.fsuid);
        if present {
            self.vfs.pts_add(t.0, uid, now);
        } else {
            self.vfs.pts_remove(t.0, now);
        }
    }
}

/// strerror(3) of the errors that execve gives.
fn describe(e: Errno) -> &'static str {
    match e {
        Errno::ENOENT => "No such file or directory",
        Errno::EACCES => "Permission denied",
        Errno::ENOEXEC => "Exec format error",
        _ => "Input/output error",
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

/// `ctime(3)` of local seconds, without the newline.
fn ctime(secs: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let days = secs.div_euclid(86400);
    let s = secs.rem_euclid(86400);
    // Civil date from day number (proleptic Gregorian, eras of 400 years from 1 March).
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let d = doy - (153 * mp + 2) / 5 + 1;
    let m = if mp < 10 { mp + 3 } else { mp - 9 };
    let y = yoe + era * 400 + i64::from(m <= 2);
    format!(
        "{} {} {:2} {:02}:{:02}:{:02} {}",
        DAYS.get(days.rem_euclid(7) as usize).unwrap_or(&"Thu"),
        MONTHS.get(m as usize - 1).unwrap_or(&"Jan"),
        d,
        s / 3600,
        s / 60 % 60,
        s % 60,
        y
    )
}
