//! Programs that the machine starts by itself: cron's jobs, and what is run at boot.

use crate::abi::{AT_FDCWD, O_RDWR};
use crate::fd::{Char, FdTable, Slot, What};
use crate::login::Account;
use crate::signal::SigHand;
use crate::task::{Proc, Task};
use crate::world::World;
use crate::{Creds, Errno, KResult};
use std::sync::Arc;

/// A program to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// As whom.
    pub account: Account,
    /// Whose child it is.
    pub parent: u32,
    /// The program.
    pub path: Vec<u8>,
    /// Its arguments, the name first.
    pub argv: Vec<Vec<u8>>,
    /// Its environment, `NAME=value`.
    pub env: Vec<Vec<u8>>,
    /// Its working directory.
    pub cwd: Vec<u8>,
    /// The unit that it belongs to; `None`: its parent's.
    pub unit: Option<String>,
}

impl World {
    /// Number of the process with this name that init started, if it lives.
    pub fn daemon(&self, comm: &[u8]) -> Option<u32> {
        Some(self.daemon_pid(comm)).filter(|p| *p != 1)
    }

    /// Starts a program in a session of its own, with nothing to read and nobody to read what it says. Gives its process.
    ///
    /// # Errors
    /// As `fork(2)` and `execve(2)`.
    pub fn start(&mut self, s: &Start) -> KResult<u32> {
        self.start_saying(s, [None; 2])
    }

    /// The same for a program whose output is read: the files that it says to, whose references become its own.
    pub(crate) fn start_saying(&mut self, s: &Start, says: [Option<u32>; 2]) -> KResult<u32> {
        let made = self.make_process(s, says);
        if made.is_err() {
            says.into_iter().flatten().for_each(|f| self.unref(f));
        }
        let pid = made?;
        self.current = pid;
        let done = self.exec_fresh(pid, &s.path, s.argv.clone(), s.env.clone());
        self.after_task();
        self.current = 0;
        if let Err(e) = done {
            self.group_exit(pid, 127 << 8);
            return Err(e);
        }
        Ok(pid)
    }

    fn make_process(&mut self, s: &Start, says: [Option<u32>; 2]) -> KResult<u32> {
        self.rise();
        if self.going_down() || self.tasks.len() + 1 > self.limits.tasks {
            return Err(Errno::EAGAIN);
        }
        let pid = self.alloc_pid()?;
        let now = self.clock.mono();
        let fs = self.new_fs();
        let sighand = self.new_sighand();
        if let Some(h) = self.sighands.get_mut(&sighand) {
            *h = SigHand::new();
        }
        let table = self.fresh_id();
        let mut fds = FdTable {
            users: 1,
            slots: Vec::new(),
        };
        let null = self.new_file(What::Char(Char::Null), O_RDWR, None)?;
        let [out, err] = says;
        for (n, said) in [None, out, err].into_iter().enumerate() {
            // The first one has the reference that there is.
            if n > 0 && said.is_none() {
                self.add_ref(null);
            }
            let slot = Slot {
                file: said.unwrap_or(null),
                cloexec: false,
            };
            fds.set(n, slot);
        }
        self.fdtables.insert(table, fds);
        let a = &s.account;
        let creds = if a.uid == 0 {
            Creds::root()
        } else {
            Creds::user(a.uid, a.gid, a.groups.clone())
        };
        let mut t = Task::blank(pid, pid, fs, sighand, Arc::new(creds));
        t.start = now;
        t.files = Some(table);
        t.cpu = Some(Box::new(turncoat_cpu::Cpu::new()));
        let parent = self.t(s.parent).map(|p| p.comm).unwrap_or_default();
        t.comm = parent;
        let mut p = Proc::blank(pid, s.parent);
        p.start = now;
        let of_parent = self.p(s.parent).ok().and_then(|p| p.unit.clone());
        p.unit = s
            .unit
            .as_deref()
            .map(Arc::from)
            .or(of_parent.filter(|_| s.parent != 1));
        self.tasks.insert(pid, Arc::new(t));
        self.procs.insert(pid, Arc::new(p));
        self.forks += 1;
        if let Ok(l) = self.walk(pid, AT_FDCWD, &s.cwd, crate::vfs::wflag::DIRECTORY) {
            self.vfs_hold(&l);
            if let Some(f) = self.fss.get_mut(&fs) {
                let old = std::mem::replace(&mut f.cwd, l);
                self.vfs_release(&old);
            }
        }
        Ok(pid)
    }

    /// When the next timer of a program fires, ns since the epoch; `None` when none will, or something runs.
    pub fn next_timer(&self) -> Option<u64> {
        self.next_deadline()
            .map(|d| d.saturating_add(self.clock.offset()))
    }
}
