//! The file system of a world: mounts, inodes, path walk, permissions, locks, and what happened to files.
//!
//! `Vfs` owns all inodes and, through `object::Objects`, all file contents. It knows no tasks and no descriptors: whoever keeps a
//! `Path` calls `hold` and `release`. Calls take a `Ctx` that says who asks, and give the error numbers of Linux. What others must
//! do afterwards is left in queues (`take_events` for inotify, `take_changes` for the record, `take_woken` for lock waiters,
//! `take_effects` for writes to procfs, `objects.invalid` for page tables). A clone costs a few reference counts.

mod acl;
mod again;
pub mod attr;
pub mod boot;
pub mod dirs;
pub mod disk;
pub mod inode;
pub mod io;
pub mod lock;
pub mod mount;
pub mod notify;
pub mod open;
pub mod ops;
pub mod perm;
pub mod pmap;
mod pmap_freeze;
pub mod stamps;
pub mod tree;
pub mod types;
pub mod walk;
pub mod xattr;

#[cfg(test)]
mod disk_tests;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use turncoat_freeze::Freeze;

use inode::{Attr, Ent, Fs, FsKind};
pub use lock::{LockKind, LockRange};
pub use mount::{Mount, MountTable};
pub use notify::{Change, ChangeKind, FsEvent, inmask};
use pmap::PMap;
pub use types::*;

use crate::object::Objects;
use crate::proc::view::{Effect, KernelView};
use crate::wait::WaitKey;
use crate::{Errno, KResult};

/// How many hold an inode, and where it went since.
#[derive(Clone, Debug, Default, Freeze)]
struct Hold {
    count: u32,
    /// Of them, running programs: the file may not be written.
    exec: u32,
    /// Of them, descriptors open for writing.
    writers: u32,
    /// New parent and name after a rename of a non-directory.
    moved: Option<(Ino, Name)>,
}

/// The file system of one world.
#[derive(Clone, Freeze)]
pub struct Vfs {
    fses: Vec<Option<Arc<Fs>>>,
    mounts: Arc<MountTable>,
    /// File contents and shared memory.
    pub objects: Objects,
    holds: PMap<Hold>,
    locks: lock::Locks,
    watched: BTreeMap<Ino, u32>,
    events: Vec<FsEvent>,
    changes: Vec<Change>,
    dirty: BTreeSet<Ino>,
    woken: Vec<WaitKey>,
    effects: Vec<Effect>,
    /// Kernel parameters that were written, by node of the table in `proc::sysctl`.
    pub(crate) sysctls: PMap<Arc<[u8]>>,
    cookie: u32,
    next_anon_dev: u32,
    /// Changes are recorded (off while the cover is written).
    recording: bool,
    /// Files that are baits, by id. A renamed or linked bait stays one.
    baits: Arc<BTreeMap<Ino, Arc<str>>>,
    /// Inodes that the world may make beyond the snapshot.
    inode_budget: u64,
}

impl Vfs {
    fn fs(&self, ino: Ino) -> KResult<&Fs> {
        self.fses
            .get(ino.fs().0 as usize)
            .and_then(|f| f.as_deref())
            .ok_or(Errno::EIO)
    }

    fn fs_mut(&mut self, ino: Ino) -> KResult<&mut Fs> {
        self.fses
            .get_mut(ino.fs().0 as usize)
            .and_then(|f| f.as_mut())
            .map(Arc::make_mut)
            .ok_or(Errno::EIO)
    }

    /// A clone for another world. Pages that exist now will be copied by either side before it changes them.
    pub fn fork(&mut self) -> Vfs {
        self.objects.seal();
        self.clone()
    }

    /// Attributes of any inode.
    pub fn attr(&self, view: &dyn KernelView, ino: Ino) -> KResult<Attr> {
        let fs = self.fs(ino)?;
        match &fs.kind {
            FsKind::Proc => crate::proc::attr(self, view, ino.num()),
            FsKind::Tree(t) => crate::sysfs::attr(t, fs.made, ino.num()),
            _ => fs.attr(ino.num(), |o| (self.objects.len(o), self.objects.pages_used(o))),
        }
    }

    fn lookup(&self, view: &dyn KernelView, dir: Ino, name: &[u8]) -> KResult<Option<Ino>> {
        let fs = self.fs(dir)?;
        let num = match &fs.kind {
            FsKind::Proc => crate::proc::lookup(self, view, dir.num(), name)?,
            FsKind::Tree(t) => crate::sysfs::lookup(t, dir.num(), name)?,
            _ => fs.lookup(dir.num(), name)?.map(|e| e.num),
        };
        Ok(num.map(|n| Ino::new(dir.fs(), n)))
    }

    fn dir_place(&self, view: &dyn KernelView, dir: Ino) -> Option<(Ino, Name)> {
        let fs = self.fs(dir).ok()?;
        let (num, name) = match &fs.kind {
            FsKind::Proc => crate::proc::dir_place(self, view, dir.num())?,
            FsKind::Tree(t) => crate::sysfs::dir_place(t, dir.num())?,
            _ => fs.dir_place(dir.num())?,
        };
        Some((Ino::new(dir.fs(), num), name))
    }

    /// Whether changes are recorded from now on; gives what was in force.
    pub(crate) fn record(&mut self, on: bool) -> bool {
        std::mem::replace(&mut self.recording, on)
    }

    /// Id of the bait that this file is, if it is one.
    pub fn bait(&self, ino: Ino) -> Option<&Arc<str>> {
        self.baits.get(&ino)
    }

    /// Keeps an inode alive (a descriptor, a mapping, a working directory).
    pub fn hold(&mut self, ino: Ino) {
        match self.holds.get_mut(ino.0) {
            Some(h) => h.count += 1,
            None => {
                self.holds.insert(
                    ino.0,
                    Hold {
                        count: 1,
                        ..Hold::default()
                    },
                );
            }
        }
    }

    /// As `hold`, for a descriptor that may write; ends with `release_writer`.
    pub fn hold_writer(&mut self, ino: Ino) {
        self.hold(ino);
        if let Some(h) = self.holds.get_mut(ino.0) {
            h.writers += 1;
        }
    }

    /// As `hold`, for a running program: ETXTBSY while somebody writes. Ends with `release_exec`.
    pub fn hold_exec(&mut self, ino: Ino) -> KResult<()> {
        if self.holds.get(ino.0).is_some_and(|h| h.writers > 0) {
            return Err(Errno::ETXTBSY);
        }
        self.hold(ino);
        if let Some(h) = self.holds.get_mut(ino.0) {
            h.exec += 1;
        }
        Ok(())
    }

    /// Ends `hold_exec`.
    pub fn release_exec(&mut self, ino: Ino) {
        if let Some(h) = self.holds.get_mut(ino.0) {
            h.exec = h.exec.saturating_sub(1);
        }
        self.release(ino);
    }

    /// Ends `hold_writer`: the record learns of a changed file when its last writer is gone.
    pub fn release_writer(&mut self, path: &Path) {
        let ino = path.ino;
        let mut last = true;
        if let Some(h) = self.holds.get_mut(ino.0) {
            h.writers = h.writers.saturating_sub(1);
            last = h.writers == 0;
        }
        if last && self.dirty.remove(&ino) {
            self.changed(ChangeKind::Written, path);
        }
        self.release(ino);
    }

    /// Ends `hold`. An inode without names goes with its last holder.
    pub fn release(&mut self, ino: Ino) {
        let Some(h) = self.holds.get_mut(ino.0) else {
            return;
        };
        h.count = h.count.saturating_sub(1);
        if h.count == 0 {
            self.holds.remove(ino.0);
            self.dirty.remove(&ino);
            self.drop_if_dead(ino);
        }
    }

    /// How many hold an inode.
    pub fn holders(&self, ino: Ino) -> u32 {
        self.holds.get(ino.0).map_or(0, |h| h.count)
    }

    fn exec_held(&self, ino: Ino) -> bool {
        self.holds.get(ino.0).is_some_and(|h| h.exec > 0)
    }

    fn drop_if_dead(&mut self, ino: Ino) {
        let num = ino.num();
        let Ok(fs) = self.fs(ino) else { return };
        let Some(i) = fs.inodes.get(num) else { return };
        if i.nlink != 0 || self.holds.contains(ino.0) {
            return;
        }
        let object = fs.object(num).ok();
        let pages = object.map_or(0, |o| self.objects.pages_used(o));
        if let Some(o) = object {
            self.objects.drop_file(o);
        }
        self.locks.forget(ino);
        if self.baits.contains_key(&ino) {
            Arc::make_mut(&mut self.baits).remove(&ino);
        }
        if let Ok(fs) = self.fs_mut(ino) {
            // A name-less inode of the image keeps its entry, so that the image's does not show through.
            if fs.lower(num).is_none() {
                fs.inodes.remove(num);
            }
            fs.give_num(num);
            fs.blocks_used = fs.blocks_used.saturating_sub(pages);
        }
    }

    /// Effects of writes to procfs and sysfs since the last call.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Lock waiters to wake.
    pub fn take_woken(&mut self) -> Vec<WaitKey> {
        std::mem::take(&mut self.woken)
    }

    /// Inodes that the world may still make; at 0 the file systems look full.
    pub fn set_inode_budget(&mut self, inodes: u64) {
        self.inode_budget = inodes;
    }
}

/// The root of the first file system.
fn walk_root(v: &Vfs) -> Ino {
    v.fses
        .first()
        .and_then(|f| f.as_ref())
        .map_or(Ino::new(FsId(0), 2), |f| f.root())
}

fn ent(num: u64, mode: u32) -> Ent {
    Ent {
        num,
        dtype: (mode >> 12) as u8,
    }
}
