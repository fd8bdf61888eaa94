//! The machine's log: lines go into the journal's file of the world, as journald would write them, and into rsyslog's files where the
//! machine has rsyslog.

use crate::login::utmp;
use crate::vfs::{Path, Timespec};
use crate::world::World;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use turncoat_cover::journal::{Entry, Store, append};
use turncoat_cover::past::journal::{Boot, Machine, Sender, Spoken, parsed};
use turncoat_cover::past::lines::{Line, Program, Says};
use turncoat_cover::past::refused::{Asked, Refused, Try};
use turncoat_cover::past::text::Rsyslog;

/// A file of the world as the journal's writer sees it. An entry is a hundred little reads and writes in a few places: those stand
/// here until the entries are whole.
struct InWorld<'a> {
    world: &'a mut World,
    at: Path,
    blocks: BTreeMap<u64, Block>,
}

/// A part of the file.
struct Block {
    bytes: Box<[u8; BLOCK]>,
    /// What is to be written.
    changed: Option<Range<usize>>,
}

/// Bytes of a block.
const BLOCK: usize = 4096;
/// So many blocks are held at once; a journal that somebody wrote may lead through its whole length.
const BLOCKS: usize = 256;

impl Store for InWorld<'_> {
    fn read(&mut self, at: u64, buf: &mut [u8]) {
        for (number, from, of) in pieces(at, buf.len()) {
            let to = from + of.len();
            buf[of].copy_from_slice(&self.block(number).bytes[from..to]);
        }
    }
    fn write(&mut self, at: u64, bytes: &[u8]) {
        for (number, from, of) in pieces(at, bytes.len()) {
            let to = from + of.len();
            let block = self.block(number);
            block.bytes[from..to].copy_from_slice(&bytes[of]);
            block.changed = match &block.changed {
                Some(c) => Some(c.start.min(from)..c.end.max(to)),
                None => Some(from..to),
            };
        }
    }
}

impl InWorld<'_> {
    fn new(world: &mut World, at: Path) -> InWorld<'_> {
        InWorld {
            world,
            at,
            blocks: BTreeMap::new(),
        }
    }

    fn block(&mut self, number: u64) -> &mut Block {
        if self.blocks.len() >= BLOCKS && !self.blocks.contains_key(&number) {
            self.flush();
        }
        let (world, path) = (&mut *self.world, &self.at);
        self.blocks.entry(number).or_insert_with(|| {
            let mut bytes = Box::new([0; BLOCK]);
            let _ = world.fs(0, |v, c| v.read(c, path, number * BLOCK as u64, &mut bytes[..]));
            Block { bytes, changed: None }
        })
    }

    /// Brings what was written into the file.
    fn flush(&mut self) {
        let path = &self.at;
        for (number, block) in std::mem::take(&mut self.blocks) {
            if let Some(changed) = block.changed {
                let at = number * BLOCK as u64 + changed.start as u64;
                let _ = self
                    .world
                    .fs(0, |v, c| v.write(c, path, at, &block.bytes[changed]));
            }
        }
    }
}

/// Which blocks `len` bytes lie in: the block's number, where they begin in it, and which of the bytes they are.
fn pieces(at: u64, len: usize) -> impl Iterator<Item = (u64, usize, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = at.saturating_add(done as u64);
        let from = (at % BLOCK as u64) as usize;
        let of = done..len.min(done + BLOCK - from);
        done = of.end;
        (!of.is_empty()).then_some((at / BLOCK as u64, from, of))
    })
}

/// Microseconds since the epoch as a time of a file.
fn moment(at: u64) -> Timespec {
    Timespec {
        sec: (at / 1_000_000) as i64,
        nsec: (at % 1_000_000 * 1_000) as u32,
    }
}

impl World {
    /// Appends lines to the journal. A world without a journal, or one whose intruder removed or broke it, logs nothing.
    pub fn log(&mut self, lines: &[Line]) {
        self.journal(|machine, boot| lines.iter().map(|l| machine.entry(boot, l)).collect());
        self.rsyslog(|r| lines.iter().map(|l| (l.at, l.facility(), r.line(l))).collect());
    }

    /// Hands messages to rsyslog, if the machine has it: time in microseconds, facility and line of each.
    fn rsyslog(&mut self, said: impl FnOnce(&Rsyslog) -> Vec<(u64, u8, Vec<u8>)>) {
        let Some(rsyslog) = self.facts_of.rsyslog.clone() else {
            return;
        };
        for (at, facility, line) in said(&rsyslog) {
            for path in Rsyslog::paths(facility) {
                // One that somebody has removed stays away: rsyslog goes on writing to what it has open.
                self.append_at(path.as_bytes(), &line, moment(at));
            }
        }
    }

    /// A password was refused: its record in `btmp`, as sshd (loginrec.c) or `login` (failure.c) writes it.
    pub fn log_in_btmp(&mut self, r: &Refused, t: &Try) {
        let ip = r.from.ip().to_canonical();
        let (from, host) = (SocketAddr::new(ip, 0), r.host());
        let (pid, line) = match r.by {
            Asked::Sshd => (r.pid, "ssh:notty"),
            Asked::Login => (r.pid.saturating_add(1), "pts/0"),
        };
        let mut rec = utmp(6, pid, line, r.named(t).as_bytes(), &host, from, 0, t.at * 1_000);
        if r.by == Asked::Sshd {
            // sshd gives no id and no parts of a second there.
            rec[40..44].fill(0);
            rec[344..348].fill(0);
        }
        self.append_at(b"/var/log/btmp", &rec, moment(t.at));
    }

    /// What a program wrote to `/dev/log`, as journald keeps it.
    pub(crate) fn log_message(&mut self, pid: u32, uid: u32, gid: u32, data: &[u8]) {
        let comm = self.t(pid).map(|t| t.comm().to_vec()).unwrap_or_default();
        let by = Sender { pid, uid, gid, comm };
        let at = self.clock.real() / 1_000;
        self.journal(|machine, boot| vec![machine.message(boot, at, &by, data)]);
        self.rsyslog(|r| {
            let p = parsed(data);
            let mut tag = p.name.unwrap_or_default().to_vec();
            if let Some(pid) = p.pid {
                tag = [&tag, &b"["[..], pid, b"]"].concat();
            }
            vec![(at, (p.priority >> 3) as u8, r.message(at, &tag, p.text))]
        });
    }

    /// What a program of a unit said on its standard output.
    pub(crate) fn log_spoken(&mut self, by: &Sender, said: &Spoken, text: &[u8]) {
        let at = self.clock.real() / 1_000;
        self.journal(|machine, boot| vec![machine.spoken(boot, at, by, said, text)]);
        let tag = format!("{}[{}]", said.name, by.pid);
        // journald hands it on as a daemon's.
        self.rsyslog(|r| vec![(at, 3, r.message(at, tag.as_bytes(), text))]);
    }

    /// journald says something of its own.
    pub(crate) fn journald_says(&mut self, text: String) {
        let pid = self.daemon_pid(b"systemd-journal");
        let by = Sender {
            pid,
            uid: 0,
            gid: 0,
            comm: b"systemd-journal".to_vec(),
        };
        let said = Spoken {
            unit: "systemd-journald.service".into(),
            name: "systemd-journald".into(),
            priority: 6,
            cgroup: "/system.slice/systemd-journald.service".into(),
            exe: b"/usr/lib/systemd/systemd-journald".to_vec(),
            cmdline: b"/lib/systemd/systemd-journald".to_vec(),
        };
        self.log_spoken(&by, &said, text.as_bytes());
    }

    fn journal(&mut self, entries: impl FnOnce(&Machine, &Boot) -> Vec<Entry>) {
        let Some(machine) = self.facts_of.journal.clone() else {
            return;
        };
        let path = machine.path().into_bytes();
        let root = self.vfs.root_path();
        let Ok(Ok(at)) = self.fs(0, |v, c| v.walk(c, &root, &path, 0)) else {
            return;
        };
        let boot = Boot {
            id: self.facts_of.boot_id.replace('-', ""),
            at: self.clock.offset() / 1_000,
        };
        let recording = self.vfs.record(false);
        let mut file = InWorld::new(self, at);
        for e in entries(&machine, &boot) {
            if !append(&mut file, &e) {
                break;
            }
        }
        file.flush();
        self.vfs.record(recording);
    }

    /// A line that a program says now.
    pub(crate) fn say_now(&self, says: &'static Program, pid: u32, private: bool, text: String) -> Line {
        Line {
            at: self.clock.real() / 1_000,
            says: Says::Program(says),
            pid,
            priority: 6,
            private,
            text,
        }
    }

    /// Number of the process with this name that init started.
    pub(crate) fn daemon_pid(&self, comm: &[u8]) -> u32 {
        self.procs
            .values()
            .find(|p| p.ppid == 1 && self.t(p.tgid).is_ok_and(|t| t.comm() == comm))
            .map_or(1, |p| p.tgid)
    }

    /// Gives a file of the world this length; what is new reads as zeros and takes no room.
    pub fn stretch(&mut self, path: &[u8], len: u64) {
        let recording = self.vfs.record(false);
        let _ = self.fs(0, |v, c| v.truncate(c, path, len as i64));
        self.vfs.record(recording);
    }
}
