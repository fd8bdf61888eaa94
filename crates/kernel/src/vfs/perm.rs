//! Permission checks: mode bits, capabilities, mount flags, file flags, the sticky bit and the protected_* rules.

use super::Vfs;
use super::inode::{Attr, FsKind};
use super::mount::ms;
use super::types::*;
use crate::{Errno, KResult};

/// File flags of chattr that are enforced (FS_*_FL).
#[allow(missing_docs)]
pub mod fl {
    pub const SYNC: u32 = 0x8;
    pub const IMMUTABLE: u32 = 0x10;
    pub const APPEND: u32 = 0x20;
    pub const NODUMP: u32 = 0x40;
    pub const NOATIME: u32 = 0x80;
    pub const EXTENTS: u32 = 0x8_0000;
    /// What FS_IOC_SETFLAGS may change on ext4.
    pub const USER: u32 = 0x604b_c0ff;
}

impl Vfs {
    /// True if the caller owns the inode or may act as if.
    pub(super) fn owner_or_capable(ctx: &Ctx, a: &Attr) -> bool {
        ctx.creds.uid == a.uid || ctx.creds.capable(cap::FOWNER)
    }

    /// Mode bits, what an ACL says instead of those of group and others, and capabilities (`generic_permission`).
    fn generic_permission(creds: &Creds, a: &Attr, mask: u32, acl: Option<bool>) -> KResult<()> {
        let bits = if creds.uid == a.uid {
            a.mode >> 6
        } else if creds.in_group(a.gid) {
            a.mode >> 3
        } else {
            a.mode
        } & 7;
        if acl.unwrap_or(mask & !bits & 7 == 0) {
            return Ok(());
        }
        let ok = if a.is_dir() {
            mask & may::WRITE == 0 && creds.capable(cap::DAC_READ_SEARCH) || creds.capable(cap::DAC_OVERRIDE)
        } else {
            mask & 7 == may::READ && creds.capable(cap::DAC_READ_SEARCH)
                || (mask & may::EXEC == 0 || a.mode & 0o111 != 0) && creds.capable(cap::DAC_OVERRIDE)
        };
        if ok { Ok(()) } else { Err(Errno::EACCES) }
    }

    /// May the caller do `mask` (of `may`) with this inode, reached through this mount?
    pub fn permission(&self, ctx: &Ctx, p: &Path, a: &Attr, mask: u32) -> KResult<()> {
        let fs = self.fs(p.ino)?;
        if mask & may::WRITE != 0 {
            let plain = matches!(a.kind(), mode::IFREG | mode::IFDIR | mode::IFLNK);
            if plain && self.mount_flags(p.mnt) & ms::RDONLY != 0 {
                return Err(Errno::EROFS);
            }
            if a.flags & fl::IMMUTABLE != 0 {
                return Err(Errno::EPERM);
            }
        }
        if matches!(fs.kind, FsKind::Proc) && crate::proc::is_sysctl(p.ino.num()) {
            // Root has the owner's bits there and no capability helps.
            let bits = if ctx.creds.uid == 0 {
                a.mode >> 6
            } else if ctx.creds.in_group(0) {
                a.mode >> 3
            } else {
                a.mode
            };
            return if mask & !bits & 7 == 0 {
                Ok(())
            } else {
                Err(Errno::EACCES)
            };
        }
        let acl = self.acl_allows(ctx.creds, p.ino, a, mask);
        Self::generic_permission(ctx.creds, a, mask, acl)?;
        if mask & may::EXEC != 0 && a.kind() == mode::IFREG && self.mount_flags(p.mnt) & ms::NOEXEC != 0 {
            return Err(Errno::EACCES);
        }
        Ok(())
    }

    /// May names be added to or removed from directory `dir`?
    pub(super) fn dir_writable(&self, ctx: &Ctx, dir: &Path) -> KResult<()> {
        let a = self.attr(ctx.view, dir.ino)?;
        self.permission(ctx, dir, &a, may::WRITE | may::EXEC)
    }

    /// May `victim` be taken out of `dir` (may_delete)?
    pub(super) fn may_delete(&self, ctx: &Ctx, dir: &Path, victim: &Attr) -> KResult<()> {
        self.dir_writable(ctx, dir)?;
        let d = self.attr(ctx.view, dir.ino)?;
        if d.flags & fl::APPEND != 0 {
            return Err(Errno::EPERM);
        }
        let sticky = d.mode & mode::ISVTX != 0
            && victim.uid != ctx.creds.uid
            && d.uid != ctx.creds.uid
            && !ctx.creds.capable(cap::FOWNER);
        if sticky || victim.flags & (fl::APPEND | fl::IMMUTABLE) != 0 {
            return Err(Errno::EPERM);
        }
        Ok(())
    }

    /// The value of a numeric kernel parameter.
    fn knob(&self, ctx: &Ctx, name: &str) -> u32 {
        crate::proc::sysctl::number(self, ctx.view, name)
    }

    /// fs.protected_symlinks.
    pub(super) fn may_follow(&self, ctx: &Ctx, dir: &Attr, link: &Attr) -> KResult<()> {
        let shared = mode::ISVTX | 0o002;
        if link.uid == ctx.creds.uid || dir.mode & shared != shared || dir.uid == link.uid {
            return Ok(());
        }
        if self.knob(ctx, "fs.protected_symlinks") == 0 {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }

    /// fs.protected_hardlinks.
    pub(super) fn may_link(&self, ctx: &Ctx, p: &Path, a: &Attr) -> KResult<()> {
        if Self::owner_or_capable(ctx, a) || self.knob(ctx, "fs.protected_hardlinks") == 0 {
            return Ok(());
        }
        let special = a.kind() != mode::IFREG
            || a.mode & mode::ISUID != 0
            || a.mode & (mode::ISGID | 0o010) == mode::ISGID | 0o010;
        if special || self.permission(ctx, p, a, may::READ | may::WRITE).is_err() {
            return Err(Errno::EPERM);
        }
        Ok(())
    }

    /// fs.protected_fifos and fs.protected_regular: O_CREAT of what somebody else made in a shared directory.
    pub(super) fn may_create_over(&self, ctx: &Ctx, dir: &Attr, a: &Attr) -> KResult<()> {
        let level = match a.kind() {
            mode::IFIFO => self.knob(ctx, "fs.protected_fifos"),
            mode::IFREG => self.knob(ctx, "fs.protected_regular"),
            _ => 0,
        };
        let open_dir = dir.mode & 0o002 != 0 || dir.mode & 0o020 != 0 && level >= 2;
        let foreign = dir.mode & mode::ISVTX != 0 && a.uid != dir.uid && a.uid != ctx.creds.uid;
        if level > 0 && open_dir && foreign {
            Err(Errno::EACCES)
        } else {
            Ok(())
        }
    }

    /// access(2), faccessat2(2): `ctx.creds` are those to ask for.
    pub fn access(&self, ctx: &Ctx, base: &Path, path: &[u8], mask: u32, flags: u32) -> KResult<()> {
        if mask & !7 != 0 {
            return Err(Errno::EINVAL);
        }
        let p = self.walk(ctx, base, path, flags & (wflag::NOFOLLOW | wflag::EMPTY_PATH))?;
        let a = self.attr(ctx.view, p.ino)?;
        if mask == 0 {
            Ok(())
        } else {
            self.permission(ctx, &p, &a, mask)
        }
    }
}
