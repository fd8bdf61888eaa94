//! What is known of an inode and how it is changed: stat, chmod, chown, utimens, file flags, file handles.

use super::inode::Attr;
use super::mount::ms;
use super::perm::fl;
use super::types::*;
use super::{ChangeKind, Vfs, inmask};
use crate::proc::LinkTarget;
use crate::{Errno, KResult};

/// A time stamp to set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetTime {
    /// UTIME_NOW.
    Now,
    /// UTIME_OMIT.
    Omit,
    /// This time.
    At(Timespec),
}

impl Vfs {
    /// stat of an open file.
    pub fn fstat(&self, ctx: &Ctx, p: &Path) -> KResult<Stat> {
        let a = self.attr(ctx.view, p.ino)?;
        let fs = self.fs(p.ino)?;
        let known = if fs.is_ext4() {
            0x4 | 0x10 | 0x20 | 0x40 | 0x800
        } else {
            0
        } | 0x2000;
        let mut attributes = 0;
        for (flag, bit) in [(fl::IMMUTABLE, 0x10), (fl::APPEND, 0x20), (fl::NODUMP, 0x40)] {
            if a.flags & flag != 0 {
                attributes |= bit;
            }
        }
        if self.mounts.get(p.mnt).is_some_and(|m| m.root == p.ino) {
            attributes |= 0x2000;
        }
        Ok(Stat {
            dev: fs.dev,
            ino: self.st_ino(p.ino),
            mode: a.mode,
            nlink: a.nlink,
            uid: a.uid,
            gid: a.gid,
            rdev: a.rdev,
            size: a.size,
            blksize: if matches!(fs.kind, super::FsKind::Proc) {
                1024
            } else {
                4096
            },
            blocks: a.blocks,
            atime: a.atime,
            mtime: a.mtime,
            ctime: a.ctime,
            btime: a.btime,
            attributes,
            attributes_mask: known,
            mnt_id: p.mnt.0,
        })
    }

    /// The number that stat shows.
    pub fn st_ino(&self, ino: Ino) -> u64 {
        match self.fs(ino).map(|f| &f.kind) {
            Ok(super::FsKind::Proc) => crate::proc::st_ino(ino.num()),
            _ => ino.num(),
        }
    }

    /// stat(2), lstat(2), fstatat(2), statx(2). `flags` of `wflag`.
    pub fn stat(&self, ctx: &Ctx, base: &Path, path: &[u8], flags: u32) -> KResult<Stat> {
        let p = self.walk(ctx, base, path, flags & (wflag::NOFOLLOW | wflag::EMPTY_PATH))?;
        self.fstat(ctx, &p)
    }

    /// The thread and its descriptor that a link of `/proc/PID/fd` stands for, if what is open there has no place in a file system.
    pub fn descriptor_behind(&self, ctx: &Ctx, p: &Path) -> Option<(u32, u32)> {
        if !self.attr(ctx.view, p.ino).is_ok_and(|a| a.is_link()) {
            return None;
        }
        match self.link_target(ctx, p.ino) {
            Ok(LinkTarget::Reopen { tid, fd, .. }) => Some((tid, fd)),
            _ => None,
        }
    }

    /// Checks what every change of attributes needs, and gives them.
    fn changeable(&self, ctx: &Ctx, p: &Path) -> KResult<Attr> {
        if self.mount_flags(p.mnt) & ms::RDONLY != 0 {
            return Err(Errno::EROFS);
        }
        let a = self.attr(ctx.view, p.ino)?;
        if !self.fs(p.ino)?.has_inodes() {
            return Err(Errno::EPERM);
        }
        Ok(a)
    }

    fn attr_done(&mut self, p: &Path) {
        self.note(p, inmask::ATTRIB, 0);
        self.changed(ChangeKind::Attributes, p);
    }

    /// fchmod(2) on a place.
    pub fn chmod_at(&mut self, ctx: &Ctx, p: &Path, perm: u32) -> KResult<()> {
        let a = self.changeable(ctx, p)?;
        if a.is_link() {
            return Err(Errno::EOPNOTSUPP);
        }
        if a.flags & (fl::IMMUTABLE | fl::APPEND) != 0 || !Self::owner_or_capable(ctx, &a) {
            return Err(Errno::EPERM);
        }
        let mut perm = perm & 0o7777;
        if perm & mode::ISGID != 0 && !ctx.creds.in_group(a.gid) && !ctx.creds.capable(cap::FSETID) {
            perm &= !mode::ISGID;
        }
        let i = self.fs_mut(p.ino)?.inode_mut(p.ino.num())?;
        i.mode = i.mode & mode::IFMT | perm;
        super::acl::follow_mode(i);
        i.ctime = ctx.now;
        self.attr_done(p);
        Ok(())
    }

    /// fchmodat(2).
    pub fn chmod(&mut self, ctx: &Ctx, base: &Path, path: &[u8], perm: u32, flags: u32) -> KResult<()> {
        let p = self.walk(ctx, base, path, flags & (wflag::NOFOLLOW | wflag::EMPTY_PATH))?;
        self.chmod_at(ctx, &p, perm)
    }

    /// fchown(2) on a place; `u32::MAX` leaves an id as it is.
    pub fn chown_at(&mut self, ctx: &Ctx, p: &Path, uid: u32, gid: u32) -> KResult<()> {
        let a = self.changeable(ctx, p)?;
        if a.flags & (fl::IMMUTABLE | fl::APPEND) != 0 {
            return Err(Errno::EPERM);
        }
        let chown = ctx.creds.capable(cap::CHOWN);
        let owner = ctx.creds.uid == a.uid;
        if uid != u32::MAX && !(owner && uid == a.uid) && !chown {
            return Err(Errno::EPERM);
        }
        if gid != u32::MAX && !(owner && (gid == a.gid || ctx.creds.in_group(gid))) && !chown {
            return Err(Errno::EPERM);
        }
        let i = self.fs_mut(p.ino)?.inode_mut(p.ino.num())?;
        if uid != u32::MAX {
            i.uid = uid;
        }
        if gid != u32::MAX {
            i.gid = gid;
        }
        if !a.is_dir() {
            // Ownership changes take setuid away, also from root.
            if i.mode & 0o010 != 0 {
                i.mode &= !mode::ISGID;
            }
            i.mode &= !mode::ISUID;
            super::xattr::drop_caps(i);
        }
        i.ctime = ctx.now;
        self.attr_done(p);
        Ok(())
    }

    /// fchownat(2).
    pub fn chown(
        &mut self,
        ctx: &Ctx,
        base: &Path,
        path: &[u8],
        uid: u32,
        gid: u32,
        flags: u32,
    ) -> KResult<()> {
        let p = self.walk(ctx, base, path, flags & (wflag::NOFOLLOW | wflag::EMPTY_PATH))?;
        self.chown_at(ctx, &p, uid, gid)
    }

    /// utimensat(2) on a place.
    pub fn utimens_at(&mut self, ctx: &Ctx, p: &Path, atime: SetTime, mtime: SetTime) -> KResult<()> {
        if (atime, mtime) == (SetTime::Omit, SetTime::Omit) {
            return Ok(());
        }
        if self.mount_flags(p.mnt) & ms::RDONLY != 0 {
            return Err(Errno::EROFS);
        }
        let a = self.attr(ctx.view, p.ino)?;
        let both_now = (atime, mtime) == (SetTime::Now, SetTime::Now);
        if both_now {
            if a.flags & fl::IMMUTABLE != 0 {
                return Err(Errno::EPERM);
            }
            if !Self::owner_or_capable(ctx, &a) {
                self.permission(ctx, p, &a, may::WRITE)?;
            }
        } else {
            if a.flags & (fl::IMMUTABLE | fl::APPEND) != 0 || !Self::owner_or_capable(ctx, &a) {
                return Err(Errno::EPERM);
            }
        }
        if !self.fs(p.ino)?.has_inodes() {
            return if both_now { Ok(()) } else { Err(Errno::EPERM) };
        }
        let i = self.fs_mut(p.ino)?.inode_mut(p.ino.num())?;
        for (set, slot) in [(atime, &mut i.atime), (mtime, &mut i.mtime)] {
            match set {
                SetTime::Now => *slot = ctx.now,
                SetTime::At(t) => *slot = t,
                SetTime::Omit => {}
            }
        }
        i.ctime = ctx.now;
        self.note(p, inmask::ATTRIB, 0);
        Ok(())
    }

    /// utimensat(2).
    pub fn utimens(
        &mut self,
        ctx: &Ctx,
        base: &Path,
        path: &[u8],
        atime: SetTime,
        mtime: SetTime,
        flags: u32,
    ) -> KResult<()> {
        let p = self.walk(ctx, base, path, flags & (wflag::NOFOLLOW | wflag::EMPTY_PATH))?;
        self.utimens_at(ctx, &p, atime, mtime)
    }

    /// FS_IOC_GETFLAGS.
    pub fn flags(&self, ctx: &Ctx, p: &Path) -> KResult<u32> {
        let a = self.attr(ctx.view, p.ino)?;
        if !matches!(a.kind(), mode::IFREG | mode::IFDIR) || !self.fs(p.ino)?.is_ext4() {
            return Err(Errno::ENOTTY);
        }
        Ok(a.flags | fl::EXTENTS)
    }

    /// FS_IOC_SETFLAGS.
    pub fn set_flags(&mut self, ctx: &Ctx, p: &Path, flags: u32) -> KResult<()> {
        let old = self.flags(ctx, p)?;
        if self.mount_flags(p.mnt) & ms::RDONLY != 0 {
            return Err(Errno::EROFS);
        }
        let a = self.attr(ctx.view, p.ino)?;
        if !Self::owner_or_capable(ctx, &a) {
            return Err(Errno::EACCES);
        }
        if (flags ^ old) & !fl::USER & !fl::EXTENTS != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if (flags ^ old) & (fl::IMMUTABLE | fl::APPEND) != 0 && !ctx.creds.capable(cap::LINUX_IMMUTABLE) {
            return Err(Errno::EPERM);
        }
        let i = self.fs_mut(p.ino)?.inode_mut(p.ino.num())?;
        i.flags = flags & fl::USER | old & !fl::USER;
        i.ctime = ctx.now;
        self.attr_done(p);
        Ok(())
    }

    /// FS_IOC_GETVERSION, and the second half of a file handle.
    pub fn generation(&self, ino: Ino) -> u32 {
        self.fs(ino)
            .ok()
            .and_then(|f| f.inodes.get(ino.num()))
            .map_or(0, |i| i.generation)
    }

    /// name_to_handle_at(2): type and bytes of the handle.
    pub fn handle(&self, ino: Ino) -> KResult<(i32, Vec<u8>)> {
        if !self.fs(ino)?.has_inodes() {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut b = (ino.num() as u32).to_le_bytes().to_vec();
        b.extend(self.generation(ino).to_le_bytes());
        Ok((1, b))
    }

    /// open_by_handle_at(2): the place of a handle on the mount `on`.
    pub fn by_handle(&self, ctx: &Ctx, on: &Path, handle: &[u8]) -> KResult<Path> {
        if !ctx.creds.capable(cap::DAC_READ_SEARCH) {
            return Err(Errno::EPERM);
        }
        let word = |i: usize| {
            handle
                .get(i..i + 4)
                .and_then(|b| b.try_into().ok())
                .map(u32::from_le_bytes)
        };
        let (Some(num), Some(generation)) = (word(0), word(4)) else {
            return Err(Errno::EINVAL);
        };
        let ino = Ino::new(on.ino.fs(), num as u64);
        self.attr(ctx.view, ino).map_err(|_| Errno::ESTALE)?;
        if self.generation(ino) != generation {
            return Err(Errno::ESTALE);
        }
        Ok(self.place(ctx, on.mnt, ino))
    }
}
