//! Listing directories.

use super::inode::FsKind;
use super::types::*;
use super::{Vfs, inmask};
use crate::{Errno, KResult};

impl Vfs {
    /// Gives the entries behind `pos` to `f` until it says `false` (no room), and returns the position behind the last one taken.
    /// Positions stay good while entries come and go.
    pub fn getdents(&mut self, ctx: &Ctx, p: &Path, pos: u64, f: &mut dyn FnMut(&DirEntry) -> bool) -> KResult<u64> {
        let a = self.attr(ctx.view, p.ino)?;
        if !a.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        if a.nlink == 0 {
            return Err(Errno::ENOENT);
        }
        let mut at = pos;
        if at == 0 {
            let e = DirEntry { ino: self.st_ino(p.ino), next: 1, dtype: 4, name: Name::from(&b"."[..]) };
            if !f(&e) {
                return Ok(at);
            }
            at = 1;
        }
        if at == 1 {
            let up = if self.mounts.get(p.mnt).is_some_and(|m| m.root == p.ino) {
                self.mounts.get(p.mnt).map(|m| m.at.parent).unwrap_or(p.ino)
            } else {
                self.dir_place(ctx.view, p.ino).map_or(p.ino, |(up, _)| up)
            };
            let e = DirEntry { ino: self.st_ino(up), next: 2, dtype: 4, name: Name::from(&b".."[..]) };
            if !f(&e) {
                return Ok(at);
            }
            at = 2;
        }
        loop {
            let fs = self.fs(p.ino)?;
            let batch = match &fs.kind {
                FsKind::Proc => crate::proc::entries(self, ctx.view, p.ino.num(), at)?,
                FsKind::Tree(t) => crate::sysfs::entries(t, p.ino.num(), at)?,
                _ => fs.entries(p.ino.num(), at)?.into_iter().map(|(h, n, e)| (h, n, e.num, e.dtype)).collect(),
            };
            if batch.is_empty() {
                break;
            }
            for (next, name, num, dtype) in batch {
                let ino = self.st_ino(Ino::new(p.ino.fs(), num));
                if !f(&DirEntry { ino, next, dtype, name }) {
                    self.accessed(ctx, p);
                    return Ok(at);
                }
                at = next;
            }
        }
        self.accessed(ctx, p);
        self.note(p, inmask::ACCESS | inmask::ISDIR, 0);
        Ok(at)
    }
}
