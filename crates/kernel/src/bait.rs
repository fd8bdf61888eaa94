//! Baits: files of the cover whose content is worth stealing. Whoever gets it into a program's hands is told of.
//!
//! The mark belongs to the inode (`Vfs::bait`), so renaming, linking or moving the file keeps it; a copy is a read.

use crate::vfs::Path;
use crate::world::{Fact, World};
use std::sync::Arc;

impl World {
    /// A program got bytes of the file at `at`, or mapped it. Says so once for each program and bait.
    pub(crate) fn bait_taken(&mut self, tid: u32, at: &Path) {
        let Some(id) = self.vfs.bait(at.ino).cloned() else {
            return;
        };
        let tgid = self.tgid(tid);
        let Ok(p) = self.pm(tgid) else { return };
        if p.baits.contains(&id) {
            return;
        }
        p.baits.push(Arc::clone(&id));
        let path = self.fs(tid, |v, c| v.full_path(c, at)).unwrap_or_default();
        self.fact(tgid, Fact::Bait { id, path });
    }
}
