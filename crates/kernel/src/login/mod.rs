//! Logins: what sshd does between authentication and the user's shell, and the connection's bytes.
//!
//! The sshd processes themselves are stand-ins; the shell is really forked from nothing and exec'ed in the world, in its own
//! session on its own terminal (or on pipes). `account` says who logs in and what environment he gets, `terminal` sets his terminal up,
//! `greet` is what he sees first and `records` what is left of it; from then on `conn` moves the bytes and `typed` reads them.

mod account;
mod conn;
mod greet;
mod records;
mod terminal;
mod typed;

pub use account::Account;
pub(crate) use records::utmp;

use crate::abi::*;
use crate::fd::{FdTable, Slot, What};
use crate::signal::SigHand;
use crate::task::{Proc, Task};
use crate::world::{Conn, ConnState, StandInSpec, World};
use crate::{Creds, Errno, KResult};
use std::net::SocketAddr;
use std::sync::Arc;

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

impl World {
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
