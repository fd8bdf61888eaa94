//! The machine's log: lines go into the journal's file of the world, as journald would write them.

use crate::vfs::Path;
use crate::world::World;
use turncoat_cover::journal::{Store, append};
use turncoat_cover::past::journal::Boot;
use turncoat_cover::past::lines::{Line, Program, Says};

/// A file of the world as the journal's writer sees it.
struct InWorld<'a> {
    world: &'a mut World,
    at: Path,
}

impl Store for InWorld<'_> {
    fn read(&mut self, at: u64, buf: &mut [u8]) {
        buf.fill(0);
        let path = &self.at;
        let _ = self.world.fs(0, |v, c| v.read(c, path, at, buf));
    }
    fn write(&mut self, at: u64, bytes: &[u8]) {
        let path = &self.at;
        let _ = self.world.fs(0, |v, c| v.write(c, path, at, bytes));
    }
}

impl World {
    /// Appends lines to the journal. A world without a journal, or one whose intruder removed or broke it, logs nothing.
    pub fn log(&mut self, lines: &[Line]) {
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
        let mut file = InWorld { world: self, at };
        for l in lines {
            if !append(&mut file, &machine.entry(&boot, l)) {
                break;
            }
        }
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
