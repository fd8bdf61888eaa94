//! Content of regular files: read, write, length, fallocate, holes; and content of synthetic ones.

use super::inode::FsKind;
use super::mount::ms;
use super::perm::fl;
use super::types::*;
use super::{ChangeKind, Vfs, inmask};
use crate::object::{MAX_LEN, ObjectId, PAGE};
use crate::{Errno, KResult};

const DAY: i64 = 86400;

impl Vfs {
    /// The object with a regular file's pages.
    pub fn object(&self, ino: Ino) -> KResult<ObjectId> {
        self.fs(ino)?.object(ino.num())
    }

    /// Length of a regular file.
    pub fn file_len(&self, ino: Ino) -> KResult<u64> {
        Ok(self.objects.len(self.object(ino)?))
    }

    /// Reads from a regular file and keeps its access time (relatime).
    pub fn read(&mut self, ctx: &Ctx, p: &Path, off: u64, buf: &mut [u8]) -> KResult<usize> {
        let o = self.object(p.ino)?;
        let n = self.objects.read(o, off, buf);
        if !buf.is_empty() {
            self.accessed(ctx, p);
            self.note(p, inmask::ACCESS, 0);
        }
        Ok(n)
    }

    /// Sets the access time if the mount's rule says so.
    pub fn accessed(&mut self, ctx: &Ctx, p: &Path) {
        let flags = self.mount_flags(p.mnt);
        if flags & (ms::NOATIME | ms::RDONLY) != 0 {
            return;
        }
        let Ok(fs) = self.fs(p.ino) else { return };
        if !fs.has_inodes() {
            return;
        }
        let Ok(a) = fs.attr(p.ino.num(), |_| (0, 0)) else { return };
        let stale = a.atime <= a.mtime || a.atime <= a.ctime || ctx.now.sec - a.atime.sec >= DAY;
        if flags & ms::RELATIME != 0 && !stale || a.flags & fl::NOATIME != 0 || a.atime == ctx.now {
            return;
        }
        let num = p.ino.num();
        if let Ok(fs) = self.fs_mut(p.ino) {
            match fs.inodes.get_mut(num) {
                Some(i) => std::sync::Arc::make_mut(i).atime = ctx.now,
                None => {
                    fs.atimes.insert(num, ctx.now);
                }
            }
        }
    }

    fn room(&self, ino: Ino, more: u64) -> KResult<()> {
        let fs = self.fs(ino)?;
        if fs.blocks != 0 && fs.blocks_used + more > fs.blocks { Err(Errno::ENOSPC) } else { Ok(()) }
    }

    fn account(&mut self, ino: Ino, before: u64, after: u64) {
        if before != after
            && let Ok(fs) = self.fs_mut(ino)
        {
            fs.blocks_used = (fs.blocks_used + after).saturating_sub(before);
        }
    }

    /// Writes to a regular file. Short when room or the limit (RLIMIT_FSIZE is the caller's) runs out midway.
    pub fn write(&mut self, ctx: &Ctx, p: &Path, off: u64, buf: &[u8]) -> KResult<usize> {
        let o = self.object(p.ino)?;
        if buf.is_empty() {
            return Ok(0);
        }
        let a = self.fs(p.ino)?.attr(p.ino.num(), |_| (0, 0))?;
        if a.flags & fl::IMMUTABLE != 0 {
            return Err(Errno::EPERM);
        }
        let before = self.objects.pages_used(o);
        let mut buf = buf;
        let end = off.saturating_add(buf.len() as u64);
        let fresh = (off / PAGE..end.div_ceil(PAGE).min(off / PAGE + 4096)).filter(|&i| !self.objects.has_data(o, i)).count();
        if self.room(p.ino, fresh as u64).is_err() {
            // As much as still fits.
            let fs = self.fs(p.ino)?;
            let room = fs.blocks.saturating_sub(fs.blocks_used);
            let fits = ((off / PAGE + room) * PAGE).saturating_sub(off).min(buf.len() as u64);
            let here = if self.objects.has_data(o, off / PAGE) { PAGE - off % PAGE } else { 0 };
            let fits = fits.max(here.min(buf.len() as u64));
            if fits == 0 {
                return Err(Errno::ENOSPC);
            }
            buf = buf.get(..fits as usize).unwrap_or(buf);
        }
        // Whatever writes must be in the world's own inode table.
        self.fs_mut(p.ino)?.inode_mut(p.ino.num())?;
        let n = self.objects.write(o, off, buf)?;
        let after = self.objects.pages_used(o);
        self.account(p.ino, before, after);
        let privileged = ctx.creds.capable(cap::FSETID);
        let i = self.fs_mut(p.ino)?.inode_mut(p.ino.num())?;
        (i.mtime, i.ctime) = (ctx.now, ctx.now);
        if !privileged {
            if i.mode & 0o010 != 0 {
                i.mode &= !mode::ISGID;
            }
            i.mode &= !mode::ISUID;
        }
        super::xattr::drop_caps(i);
        self.dirtied(p.ino);
        self.note(p, inmask::MODIFY, 0);
        Ok(n)
    }

    /// A page was changed through a shared mapping: times and the record follow.
    pub fn page_written(&mut self, ctx: &Ctx, ino: Ino) {
        if let Ok(fs) = self.fs_mut(ino)
            && fs.has_inodes()
            && let Ok(i) = fs.inode_mut(ino.num())
        {
            (i.mtime, i.ctime) = (ctx.now, ctx.now);
            self.dirtied(ino);
        }
    }

    pub(super) fn dirtied(&mut self, ino: Ino) {
        if self.recording {
            self.dirty.insert(ino);
        }
    }

    /// ftruncate(2), O_TRUNC: sets the length.
    pub fn set_len(&mut self, ctx: &Ctx, p: &Path, len: u64) -> KResult<()> {
        let o = self.object(p.ino)?;
        let a = self.fs(p.ino)?.attr(p.ino.num(), |_| (0, 0))?;
        if a.flags & (fl::IMMUTABLE | fl::APPEND) != 0 {
            return Err(Errno::EPERM);
        }
        if len > MAX_LEN {
            return Err(Errno::EFBIG);
        }
        self.fs_mut(p.ino)?.inode_mut(p.ino.num())?;
        let before = self.objects.pages_used(o);
        self.objects.truncate(o, len)?;
        let after = self.objects.pages_used(o);
        self.account(p.ino, before, after);
        let privileged = ctx.creds.capable(cap::FSETID);
        let i = self.fs_mut(p.ino)?.inode_mut(p.ino.num())?;
        (i.mtime, i.ctime) = (ctx.now, ctx.now);
        if !privileged {
            i.mode &= !mode::ISUID;
        }
        self.dirtied(p.ino);
        self.note(p, inmask::MODIFY, 0);
        Ok(())
    }

    /// fallocate(2). Modes: 0, KEEP_SIZE 1, PUNCH_HOLE 2 (with KEEP_SIZE), ZERO_RANGE 16.
    pub fn fallocate(&mut self, ctx: &Ctx, p: &Path, how: u32, off: i64, len: i64) -> KResult<()> {
        const KEEP: u32 = 1;
        const PUNCH: u32 = 2;
        const ZERO: u32 = 16;
        if off < 0 || len <= 0 {
            return Err(Errno::EINVAL);
        }
        if !matches!(how & !KEEP, 0 | PUNCH | ZERO) || how == PUNCH {
            return Err(Errno::EOPNOTSUPP);
        }
        let (off, len) = (off as u64, len as u64);
        let end = off.checked_add(len).filter(|&e| e <= MAX_LEN).ok_or(Errno::EFBIG)?;
        let a = self.fs(p.ino)?.attr(p.ino.num(), |_| (0, 0))?;
        if a.flags & fl::IMMUTABLE != 0 || how & !KEEP != 0 && a.flags & fl::APPEND != 0 {
            return Err(Errno::EPERM);
        }
        let o = self.object(p.ino)?;
        self.fs_mut(p.ino)?.inode_mut(p.ino.num())?;
        let before = self.objects.pages_used(o);
        if how & (PUNCH | ZERO) != 0 {
            self.objects.punch(o, off, end)?;
        }
        if how & PUNCH == 0 {
            self.room(p.ino, (end.div_ceil(PAGE) - off / PAGE).min(1 << 40))?;
            self.objects.reserve(o, off, end)?;
            if how & KEEP == 0 && end > self.objects.len(o) {
                self.objects.truncate(o, end)?;
            }
        }
        let after = self.objects.pages_used(o);
        self.account(p.ino, before, after);
        let i = self.fs_mut(p.ino)?.inode_mut(p.ino.num())?;
        (i.mtime, i.ctime) = (ctx.now, ctx.now);
        self.dirtied(p.ino);
        self.note(p, inmask::MODIFY, 0);
        Ok(())
    }

    /// lseek(2) with SEEK_DATA (`hole` false) or SEEK_HOLE: the position. ENXIO behind the end.
    pub fn seek_hole(&self, p: &Path, off: u64, hole: bool) -> KResult<u64> {
        let o = self.object(p.ino)?;
        let len = self.objects.len(o);
        if off >= len {
            return Err(Errno::ENXIO);
        }
        let end = len.div_ceil(PAGE);
        let at = off / PAGE;
        if hole {
            let mut i = at;
            while i < end && self.objects.has_data(o, i) {
                i += 1;
            }
            return Ok((i * PAGE).max(off).min(len));
        }
        self.objects.next_data(o, at, end).map(|i| (i * PAGE).max(off)).ok_or(Errno::ENXIO)
    }

    /// The content of a synthetic file as of now. A description makes it at position 0 and reads on in it.
    pub fn synthetic(&self, ctx: &Ctx, ino: Ino) -> KResult<Vec<u8>> {
        let fs = self.fs(ino)?;
        match &fs.kind {
            FsKind::Proc => crate::proc::content(self, ctx, ino.num()),
            FsKind::Tree(t) => match fs.texts.get(ino.num()) {
                Some(text) => Ok(text.to_vec()),
                None => crate::sysfs::content(t, ctx.view, ino.num()),
            },
            _ => Err(Errno::EINVAL),
        }
    }

    /// Reads a synthetic file at a position without a description's cache. `/proc/PID/mem` is read only so.
    pub fn synthetic_read(&self, ctx: &Ctx, ino: Ino, off: u64, buf: &mut [u8]) -> KResult<usize> {
        if let FsKind::Proc = self.fs(ino)?.kind
            && let Some(tid) = crate::proc::mem_of(ino.num())
        {
            let n = ctx.view.read_mem(tid, off, buf);
            return if n == 0 && !buf.is_empty() { Err(Errno::EIO) } else { Ok(n) };
        }
        let all = self.synthetic(ctx, ino)?;
        let rest = usize::try_from(off).ok().and_then(|o| all.get(o..)).unwrap_or(&[]);
        let n = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..n), rest.get(..n)) {
            to.copy_from_slice(from);
        }
        Ok(n)
    }

    /// Writes to a synthetic file; what it asks of others is in `take_effects`.
    pub fn synthetic_write(&mut self, ctx: &Ctx, ino: Ino, data: &[u8]) -> KResult<usize> {
        let kind = self.fs(ino)?.kind.clone();
        match kind {
            FsKind::Proc => {
                for e in crate::proc::write(self, ctx, ino.num(), data)? {
                    self.effects.push(e);
                }
                Ok(data.len())
            }
            FsKind::Tree(t) => {
                let (text, effect) = crate::sysfs::write(&t, ctx.view, ino.num(), data)?;
                if let Some(text) = text {
                    self.fs_mut(ino)?.texts.insert(ino.num(), text.into());
                }
                self.effects.extend(effect);
                Ok(data.len())
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// Content of a file for the record, at most `limit` bytes.
    pub fn artifact(&mut self, ino: Ino, limit: usize) -> KResult<Vec<u8>> {
        let o = self.object(ino)?;
        let len = (self.objects.len(o) as usize).min(limit);
        let mut buf = vec![0; len];
        let n = self.objects.read(o, 0, &mut buf);
        buf.truncate(n);
        Ok(buf)
    }

    /// Tells the record that a file was made or changed otherwise than by a call of this module.
    pub fn record_written(&mut self, p: &Path) {
        self.changed(ChangeKind::Written, p);
    }
}
