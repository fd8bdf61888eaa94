//! What happened to files: events for inotify watches, and changes for the record.

use super::Vfs;
use super::types::*;
use turncoat_freeze::Freeze;

/// Bits of inotify masks.
#[allow(missing_docs)]
pub mod inmask {
    pub const ACCESS: u32 = 0x1;
    pub const MODIFY: u32 = 0x2;
    pub const ATTRIB: u32 = 0x4;
    pub const CLOSE_WRITE: u32 = 0x8;
    pub const CLOSE_NOWRITE: u32 = 0x10;
    pub const OPEN: u32 = 0x20;
    pub const MOVED_FROM: u32 = 0x40;
    pub const MOVED_TO: u32 = 0x80;
    pub const CREATE: u32 = 0x100;
    pub const DELETE: u32 = 0x200;
    pub const DELETE_SELF: u32 = 0x400;
    pub const MOVE_SELF: u32 = 0x800;
    pub const ISDIR: u32 = 0x4000_0000;
}

/// An event at a watched inode; `name` is empty for events of the inode itself.
#[derive(Clone, PartialEq, Eq, Debug, Freeze)]
pub struct FsEvent {
    /// The watched inode.
    pub ino: Ino,
    /// What happened (one of `inmask`, with ISDIR).
    pub mask: u32,
    /// Joins the two halves of a rename.
    pub cookie: u32,
    /// Name in the watched directory.
    pub name: Name,
}

/// What became of a file, for the record.
#[derive(Clone, PartialEq, Eq, Debug, Freeze)]
pub enum ChangeKind {
    /// It is new.
    Created,
    /// Its content changed and its last writer closed it.
    Written,
    /// A name is gone.
    Removed,
    /// It stood at this path before.
    Renamed(Vec<u8>),
    /// Mode, owner, flags or attributes.
    Attributes,
}

/// One change. The path is turned to text by `Vfs::full_path` when it is taken.
#[derive(Clone, PartialEq, Eq, Debug, Freeze)]
pub struct Change {
    /// What.
    pub kind: ChangeKind,
    /// Where. For `Removed`, parent and name say what was there.
    pub path: Path,
}

/// Most events and changes that wait; more are dropped.
const QUEUE: usize = 16384;

impl Vfs {
    /// Watches an inode for the events of `mask`; replaces what was watched before.
    pub fn watch(&mut self, ino: Ino, mask: u32) {
        if self.watched.insert(ino, mask).is_none() {
            self.hold(ino);
        }
    }

    /// Ends `watch`.
    pub fn unwatch(&mut self, ino: Ino) {
        if self.watched.remove(&ino).is_some() {
            self.release(ino);
        }
    }

    /// Events since the last call.
    pub fn take_events(&mut self) -> Vec<FsEvent> {
        std::mem::take(&mut self.events)
    }

    /// Changes since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    fn event(&mut self, ino: Ino, mask: u32, cookie: u32, name: Name) {
        let Some(&wanted) = self.watched.get(&ino) else {
            return;
        };
        if wanted & mask & 0xfff != 0 && self.events.len() < QUEUE {
            self.events.push(FsEvent {
                ino,
                mask,
                cookie,
                name,
            });
        }
    }

    /// Something happened to the inode at `p`: watches of it and of its directory learn of it. For descriptors: OPEN, CLOSE_*.
    pub fn note(&mut self, p: &Path, mask: u32, cookie: u32) {
        if self.watched.is_empty() {
            return;
        }
        self.event(p.ino, mask, cookie, Name::from([]));
        if p.parent != p.ino {
            self.event(p.parent, mask, cookie, p.name.clone());
        }
    }

    pub(super) fn note_self(&mut self, ino: Ino, mask: u32) {
        if !self.watched.is_empty() {
            self.event(ino, mask, 0, Name::from([]));
        }
    }

    pub(super) fn note_dir(&mut self, dir: Ino, name: &Name, mask: u32, cookie: u32) {
        if !self.watched.is_empty() {
            self.event(dir, mask, cookie, name.clone());
        }
    }

    pub(super) fn changed(&mut self, kind: ChangeKind, path: &Path) {
        if self.recording && self.changes.len() < QUEUE {
            self.changes.push(Change {
                kind,
                path: path.clone(),
            });
        }
    }
}
