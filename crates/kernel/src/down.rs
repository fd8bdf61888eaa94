//! The machine goes down and comes up again: what init does when it is asked to, and what a reboot leaves.
//!
//! Init is a stand-in, so what asks it is heard here: the pipe `/run/initctl`, to which `reboot`, `poweroff`, `halt` and `shutdown`
//! write where they find no bus (systemd-initctl(8)). reboot(2) and sysrq stop the machine at once.

use crate::abi::sig::{SIGCONT, SIGHUP, SIGTERM, SigInfo};
use crate::time::TimerRef;
use crate::vfs::boot::{Content, CoverFile};
use crate::vfs::{Timespec, Vfs, mode};
use crate::wait::WaitKey;
use crate::world::{Boot, Fact, World};
use turncoat_cover::past::lines::{LOGIND, SSHD};
use turncoat_freeze::Freeze;

/// How a machine goes down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Freeze)]
pub enum Down {
    /// It comes up again by itself.
    Reboot,
    /// Without power.
    PowerOff,
    /// With power, doing nothing.
    Halt,
}

impl Down {
    /// Its name in the record.
    pub fn name(self) -> &'static str {
        match self {
            Down::Reboot => "reboot",
            Down::PowerOff => "poweroff",
            Down::Halt => "halt",
        }
    }
}

/// From init's first signal to the end of what did not obey: mostly the time in which file systems are taken away.
const GRACE: u64 = 1_700_000_000;
/// `struct init_request` (initreq.h): its size, its first word, and the command that changes the run level.
const REQUEST: usize = 384;
const REQUEST_MAGIC: u32 = 0x0309_1969;
const REQUEST_RUNLEVEL: u32 = 1;

impl World {
    /// How the machine went down, once it has.
    pub fn down(&self) -> Option<Down> {
        self.down.filter(|_| self.halted)
    }

    /// How it goes down, from the moment at which it was told to.
    pub fn told_to_go(&self) -> Option<Down> {
        self.down
    }

    /// True from the moment at which it begins to go down.
    pub fn going_down(&self) -> bool {
        self.halted || self.down.is_some()
    }

    /// Init makes its pipe and reads from it.
    pub(crate) fn hold_initctl(&mut self) {
        const PATH: &[u8] = b"/run/initctl";
        let root = self.vfs.root_path();
        let at = self.clock.offset();
        let made = Timespec {
            sec: (at / crate::time::SEC) as i64,
            nsec: (at % crate::time::SEC) as u32,
        };
        let found = self.fs(0, |v, c| {
            v.put(
                c,
                &CoverFile::new(PATH, 0o600, made, Content::Node(mode::IFIFO, 0)),
            )?;
            v.walk(c, &root, PATH, 0)
        });
        let Ok(Ok(path)) = found else { return };
        self.vfs_hold(&path);
        let id = self.new_pipe(1, 0);
        if let Some(p) = self.pipes.get_mut(id) {
            (p.fifo, p.ino) = (true, path.ino.0);
        }
        self.fifos.insert(path.ino.0, id);
        self.initctl = Some(id);
    }

    /// Does what was written to init's pipe.
    pub(crate) fn hear_initctl(&mut self) {
        let Some(id) = self.initctl else { return };
        let Some(p) = self.pipes.get_mut(id).filter(|p| p.buf.len() >= REQUEST) else {
            return;
        };
        let request: Vec<u8> = p.buf.drain(..REQUEST).collect();
        self.wake(WaitKey::Pipe(id));
        let word = |at: usize| {
            let b = request.get(at..at + 4).and_then(|b| b.try_into().ok());
            u32::from_le_bytes(b.unwrap_or_default())
        };
        if word(0) != REQUEST_MAGIC || word(4) != REQUEST_RUNLEVEL {
            return;
        }
        let how = match word(8) as u8 {
            b'0' => Down::PowerOff,
            b'6' => Down::Reboot,
            _ => return,
        };
        let by = self.current;
        self.go_down(self.tgid(by), how);
    }

    /// Goes down in order: sessions end, everything is told to end, and what has not is killed with the rest.
    pub(crate) fn go_down(&mut self, by: u32, how: Down) {
        if self.going_down() {
            return;
        }
        self.down = Some(how);
        self.fact(by, Fact::Down { how, in_order: true });
        let (logind, sshd) = (self.daemon_pid(b"systemd-logind"), self.daemon_pid(b"sshd"));
        let (now, later) = match how {
            Down::Reboot => ("The system will reboot now!", "System is rebooting."),
            Down::PowerOff => ("The system will power off now!", "System is powering down."),
            Down::Halt => ("The system will halt now!", "System is halting."),
        };
        let lines = [
            self.say_now(LOGIND, logind, false, now.into()),
            self.say_now(LOGIND, logind, false, later.into()),
            self.say_now(SSHD, sshd, false, "Received signal 15; terminating.".into()),
        ];
        self.log(&lines);
        self.pump();
        self.drop_connections();
        let at = self.clock.real();
        self.note_in_wtmp(1, 0, "shutdown", at);
        let all: Vec<u32> = self
            .procs
            .values()
            .filter(|p| p.standin.is_none() && p.tgid != 1)
            .map(|p| p.tgid)
            .collect();
        for tgid in all {
            for sig in [SIGTERM, SIGHUP, SIGCONT] {
                self.send_group(tgid, SigInfo::user(sig, 1, 0));
            }
        }
        self.timers.insert((self.clock.mono() + GRACE, TimerRef::Down));
    }

    /// Stops at once, as reboot(2) does.
    pub(crate) fn stop_now(&mut self, by: u32, how: Down) {
        if self.halted {
            return;
        }
        if self.down.is_none() {
            self.down = Some(how);
            self.fact(by, Fact::Down { how, in_order: false });
        }
        self.pump();
        self.halted = true;
    }

    /// The same machine after a boot as `b` says, with the disk that this one leaves. Of `b.files` only those of `/run` are laid down:
    /// the others lie on the disk since long.
    pub fn reboot(&mut self, mut b: Boot) {
        let plan = std::mem::take(&mut b.plan);
        b.files.retain(|f| f.path.starts_with(b"/run/"));
        b.sessions = self.next_conn;
        let old = self.vfs.take_out();
        let machine = std::mem::take(&mut self.machine);
        let mut vfs = match old {
            Some(old) => Vfs::again(*old, &plan),
            None => Vfs::new(plan.clone()),
        };
        vfs.empty(b"/tmp", plan.booted);
        let boot_time = b.boot_time;
        let mut w = World::assemble(b, vfs);
        w.machine = machine;
        w.rng = self.rng.clone();
        w.first_conn = self.next_conn;
        w.clock.total += self.clock.total;
        w.seq += self.seq;
        w.gaps = std::mem::take(&mut self.gaps);
        w.trace = self.trace.take();
        w.outputs = std::mem::take(&mut self.outputs);
        // What is laid down at boot is nobody's deed.
        w.facts = std::mem::take(&mut self.facts);
        w.vfs.take_changes();
        w.init_goes_on(self);
        w.boots = self.boots + 1;
        let recording = w.vfs.record(false);
        w.note_in_wtmp(2, 0, "reboot", boot_time);
        w.note_in_wtmp(1, 53, "runlevel", boot_time + 9_000_000_000);
        w.vfs.record(recording);
        *self = w;
    }

    /// How often it has booted since it was cloned.
    pub fn boots(&self) -> u32 {
        self.boots
    }

    /// The machine loses what it has in memory, as at a power failure. Nobody is told.
    pub fn crash(&mut self) {
        self.conns.clear();
        (self.halted, self.down) = (true, Some(Down::PowerOff));
    }

    /// The root file system as it is now, to compare disks with.
    pub fn disk_base(&mut self) -> Option<crate::Base> {
        self.vfs.base()
    }

    /// What the disk holds beyond `base`, in bytes that outlive this build; `None` if there is none.
    pub fn disk(&mut self, base: &crate::Base) -> Option<Vec<u8>> {
        self.vfs.disk(base)
    }

    /// Lays a disk over this world's, which nobody has changed yet.
    ///
    /// # Errors
    /// The bytes are no disk.
    pub fn restore(&mut self, disk: &[u8]) -> Result<(), crate::BadDisk> {
        let done = self.fs(0, |v, c| v.restore(c.view, disk));
        self.vfs.take_changes();
        self.vfs.objects.invalid.clear();
        done.unwrap_or(Err(crate::BadDisk("there is no root")))
    }
}
