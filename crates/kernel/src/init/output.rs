//! Where programs of units say what they say (StandardOutput= in systemd.exec(5)): to the journal, through a socket as journald holds
//! one for each of them, or into a file.

use super::jobs::Later;
use super::unit::Unit;
use crate::abi::net::{AF_UNIX, Control, MSG_DONTWAIT, SO_PASSCRED, SOCK_STREAM, SOL_SOCKET};
use crate::abi::{O_APPEND, O_CREAT, O_RDWR, O_TRUNC, O_WRONLY};
use crate::fd::What;
use crate::net::{Caller, SockId};
use crate::vfs::Kind;
use crate::world::World;
use crate::{Errno, KResult};
use turncoat_cover::past::journal::{Sender, Spoken};
use turncoat_freeze::Freeze;

/// Most sockets to the journal at a time; what starts beyond them is not heard.
const STREAMS: usize = 256;
/// A longer line comes in pieces (LineMax= in journald.conf(5)).
const LINE: usize = 48 << 10;
/// RateLimitBurst= and RateLimitIntervalSec=, of one unit.
const BURST: u32 = 10_000;
const INTERVAL: u64 = 30 * crate::time::SEC;
/// Bytes that are read of one socket in a turn, and lines that the journal gets of it then; the rest waits for a moment.
const TURN: usize = 16 << 10;
const TURN_LINES: u32 = 32;
const PIECE: usize = 256;
const MOMENT: u64 = 1_000_000;
/// What a line costs of the world's time, in instructions.
const COST: u64 = 60_000;

/// One end of what a unit's programs say to.
#[derive(Clone, Freeze)]
pub(super) struct Stream {
    sock: SockId,
    inode: u64,
    unit: String,
    /// SyslogIdentifier=.
    name: String,
    /// `<3>` at the beginning of a line is its priority.
    levels: bool,
    /// Who spoke last, and his line that has no end yet.
    by: (u32, u32, u32),
    rest: Vec<u8>,
}

/// How much a unit has said in its interval.
#[derive(Clone, Copy, Default, Freeze)]
pub(super) struct Rate {
    since: u64,
    lines: u32,
}

impl World {
    /// The files that a unit's program gets for what it says and for its complaints; `None`: /dev/null. The caller owns a reference of each.
    pub(super) fn unit_output(&mut self, u: &Unit, program: &str) -> [Option<u32>; 2] {
        let out = u.get("Service", "StandardOutput").unwrap_or("journal");
        let err = u.get("Service", "StandardError").unwrap_or("inherit");
        let first = self.output(u, program, out);
        let second = match err {
            "inherit" => {
                if let Some(f) = first {
                    self.add_ref(f);
                }
                first
            }
            e => self.output(u, program, e),
        };
        [first, second]
    }

    fn output(&mut self, u: &Unit, program: &str, to: &str) -> Option<u32> {
        let (how, path) = to.split_once(':').unwrap_or((to, ""));
        let flags = match how {
            "null" | "tty" | "socket" | "fd" => return None,
            "file" => O_WRONLY | O_CREAT,
            "append" => O_WRONLY | O_CREAT | O_APPEND,
            "truncate" => O_WRONLY | O_CREAT | O_TRUNC,
            _ => return self.output_stream(u, program).ok(),
        };
        self.output_file(u.specified(path).as_bytes(), flags).ok()
    }

    fn output_file(&mut self, path: &[u8], flags: u32) -> KResult<u32> {
        let root = self.vfs.root_path();
        let opened = self.fs(0, |v, c| v.open(c, &root, path, flags, 0o644, 0))??;
        if opened.kind != Kind::Regular {
            return Err(Errno::EINVAL);
        }
        let what = What::File(opened.path.clone(), opened.kind);
        self.new_file(what, flags & !(O_CREAT | O_TRUNC), Some(opened.path))
    }

    fn output_stream(&mut self, u: &Unit, program: &str) -> KResult<u32> {
        let journald = self.daemon(b"systemd-journal").ok_or(Errno::ECONNREFUSED)?;
        if self.init.streams.len() >= STREAMS {
            return Err(Errno::EMFILE);
        }
        let who = Caller::root(journald);
        let (ours, theirs) = self.net.socketpair(&who, AF_UNIX.into(), SOCK_STREAM, 0)?;
        self.net
            .setsockopt(ours, &who, SOL_SOCKET, SO_PASSCRED, &1u32.to_le_bytes())?;
        self.net.serve(ours, true);
        let name = u.get("Service", "SyslogIdentifier").map(|n| u.specified(n));
        let base = program.rsplit('/').next().unwrap_or_default();
        self.init.streams.push(Stream {
            sock: ours,
            inode: self.sock_inode(ours.0),
            unit: u.name.clone(),
            name: name.unwrap_or_else(|| base.to_owned()),
            levels: u.flag("Service", "SyslogLevelPrefix") != Some(false),
            by: (0, 0, 0),
            rest: Vec::new(),
        });
        self.new_file(What::Socket(theirs.0), O_RDWR, None)
    }

    /// Takes what units say.
    pub(super) fn hear_streams(&mut self) {
        let mut at = 0;
        while at < self.init.streams.len() {
            if self.hear_stream(at) {
                at += 1;
            } else {
                self.end_line(at);
                let s = self.init.streams.remove(at);
                self.hang_up(s.sock, s.inode);
            }
        }
    }

    /// False: nobody holds the other end any more.
    fn hear_stream(&mut self, at: usize) -> bool {
        let Some(sock) = self.init.streams.get(at).map(|s| s.sock) else {
            return false;
        };
        let (mut bytes, mut lines) = (0, 0);
        while bytes < TURN && lines < TURN_LINES {
            let r = match self.net.recv(sock, PIECE, MSG_DONTWAIT) {
                Ok(r) if r.data.is_empty() => return false,
                Ok(r) => r,
                Err(Errno::EAGAIN) => return true,
                Err(_) => return false,
            };
            bytes += r.data.len();
            let mut by = None;
            for c in &r.control {
                match c {
                    Control::Rights(files) => files.iter().for_each(|f| self.unref(*f as u32)),
                    Control::Credentials(pid, uid, gid) => by = Some((*pid, *uid, *gid)),
                    _ => {}
                }
            }
            if let Some(by) = by {
                if self.init.streams.get(at).is_some_and(|s| s.by != by) {
                    lines += self.end_line(at);
                }
                if let Some(s) = self.init.streams.get_mut(at) {
                    s.by = by;
                }
            }
            lines += self.take_said(at, &r.data);
        }
        self.init_later(self.clock.mono() + MOMENT, Later::Hear);
        true
    }

    /// Gives how many lines the journal got.
    fn take_said(&mut self, at: usize, mut data: &[u8]) -> u32 {
        let mut lines = 0;
        while !data.is_empty() {
            let end = data.iter().position(|b| matches!(b, b'\n' | 0));
            let Some(s) = self.init.streams.get_mut(at) else {
                return lines;
            };
            let room = LINE.saturating_sub(s.rest.len()).max(1);
            let take = end.unwrap_or(data.len()).min(room);
            s.rest.extend_from_slice(&data[..take]);
            let ended = end == Some(take);
            data = &data[take + usize::from(ended)..];
            if ended || s.rest.len() >= LINE {
                lines += self.end_line(at);
            }
        }
        lines
    }

    /// A line is whole: the journal gets it, or it was nothing or too much. Gives how many it got.
    fn end_line(&mut self, at: usize) -> u32 {
        let now = self.clock.mono();
        let Some(s) = self.init.streams.get_mut(at) else {
            return 0;
        };
        let line = std::mem::take(&mut s.rest);
        let (priority, text) = match line.as_slice() {
            [b'<', p @ b'0'..=b'7', b'>', text @ ..] if s.levels => (p - b'0', text),
            text => (6, text),
        };
        if text.is_empty() {
            return 0;
        }
        let (by, unit, name) = (s.by, s.unit.clone(), s.name.clone());
        self.init.spent += COST;
        if self.init.rates.len() >= STREAMS {
            self.init
                .rates
                .retain(|_, r| now.saturating_sub(r.since) <= INTERVAL);
        }
        let rate = self.init.rates.entry(unit.clone()).or_default();
        if now.saturating_sub(rate.since) > INTERVAL {
            let over = rate.lines.saturating_sub(BURST);
            *rate = Rate { since: now, lines: 0 };
            if over > 0 {
                self.journald_says(format!("Suppressed {over} messages from {unit}"));
            }
        }
        let rate = self.init.rates.entry(unit.clone()).or_default();
        rate.lines += 1;
        if rate.lines > BURST {
            return 0;
        }
        let (pid, uid, gid) = by;
        let comm = self.t(pid).map(|t| t.comm().to_vec()).unwrap_or_default();
        let cmdline = self.read_any(format!("/proc/{pid}/cmdline").as_bytes());
        let words: Vec<_> = cmdline.split(|b| *b == 0).filter(|w| !w.is_empty()).collect();
        let exe = self.look(format!("/proc/{pid}/exe").as_bytes()).map(|l| l.path);
        let said = Spoken {
            cgroup: self.cgroup_path(&unit),
            unit,
            name,
            priority,
            exe: exe.unwrap_or_default(),
            cmdline: words.join(&b' '),
        };
        self.log_spoken(&Sender { pid, uid, gid, comm }, &said, text);
        1
    }
}
