//! Extended attributes: user, trusted, security, and POSIX ACLs (`acl`).

use std::sync::Arc;

use super::inode::Inode;
use super::mount::ms;
use super::perm::fl;
use super::types::*;
use super::{ChangeKind, Vfs, acl, inmask};
use crate::{Errno, KResult};

/// Longest value, longest list.
const VALUE_MAX: usize = 65536;
/// What ext4 can hold for one inode (in-inode room and one block), about.
const TOTAL_MAX: usize = 4096;

/// Takes file capabilities off a changed file.
pub(super) fn drop_caps(i: &mut Inode) {
    if let Some(x) = &mut i.xattrs {
        Arc::make_mut(x).remove(b"security.capability".as_slice());
    }
}

impl Vfs {
    fn check(&self, ctx: &Ctx, p: &Path, name: &[u8], write: bool) -> KResult<()> {
        let a = self.attr(ctx.view, p.ino)?;
        if name.is_empty() || name.len() > 255 {
            return Err(Errno::ERANGE);
        }
        if write {
            if self.mount_flags(p.mnt) & ms::RDONLY != 0 {
                return Err(Errno::EROFS);
            }
            if a.flags & (fl::IMMUTABLE | fl::APPEND) != 0 {
                return Err(Errno::EPERM);
            }
        }
        let fs = self.fs(p.ino)?;
        let known = |prefix: &[u8]| name.starts_with(prefix) && name.len() > prefix.len();
        if acl::is_acl(name) {
            return if fs.has_acls() && !a.is_link() {
                Ok(())
            } else {
                Err(Errno::EOPNOTSUPP)
            };
        }
        if !fs.has_inodes() {
            return Err(Errno::EOPNOTSUPP);
        }
        if name.starts_with(b"security.") {
            let cap_ok = name != b"security.capability" || ctx.creds.capable(cap::SETFCAP);
            let other = name != b"security.capability" && !ctx.creds.capable(cap::SYS_ADMIN);
            if write && (!cap_ok || other) {
                return Err(Errno::EPERM);
            }
            return Ok(());
        }
        if known(b"trusted.") {
            if !ctx.creds.capable(cap::SYS_ADMIN) {
                return Err(if write { Errno::EPERM } else { Errno::ENODATA });
            }
            return Ok(());
        }
        if known(b"user.") {
            if !fs.is_ext4() {
                return Err(Errno::EOPNOTSUPP);
            }
            let plain = matches!(a.kind(), mode::IFREG | mode::IFDIR);
            let sticky = a.is_dir() && a.mode & mode::ISVTX != 0 && write && !Self::owner_or_capable(ctx, &a);
            if !plain || sticky {
                return Err(if write { Errno::EPERM } else { Errno::ENODATA });
            }
            return self.permission(ctx, p, &a, if write { may::WRITE } else { may::READ });
        }
        Err(Errno::EOPNOTSUPP)
    }

    /// getxattr(2): the value. ENODATA if there is none.
    pub fn getxattr(&self, ctx: &Ctx, p: &Path, name: &[u8]) -> KResult<Vec<u8>> {
        self.check(ctx, p, name, false)?;
        self.fs(p.ino)?
            .xattrs(p.ino.num())
            .get(name)
            .map(|v| v.to_vec())
            .ok_or(Errno::ENODATA)
    }

    /// listxattr(2): names, each with a NUL.
    pub fn listxattr(&self, ctx: &Ctx, p: &Path) -> KResult<Vec<u8>> {
        self.attr(ctx.view, p.ino)?;
        let fs = self.fs(p.ino)?;
        if !fs.has_inodes() {
            return Ok(Vec::new());
        }
        let mut out = Vec::new();
        for name in fs.xattrs(p.ino.num()).keys() {
            if name.starts_with(b"trusted.") && !ctx.creds.capable(cap::SYS_ADMIN) {
                continue;
            }
            out.extend_from_slice(name);
            out.push(0);
        }
        Ok(out)
    }

    /// setxattr(2). `flags`: XATTR_CREATE 1, XATTR_REPLACE 2.
    pub fn setxattr(&mut self, ctx: &Ctx, p: &Path, name: &[u8], value: &[u8], flags: u32) -> KResult<()> {
        if flags & !3 != 0 {
            return Err(Errno::EINVAL);
        }
        if value.len() > VALUE_MAX {
            return Err(Errno::E2BIG);
        }
        self.check(ctx, p, name, true)?;
        let is_acl = acl::is_acl(name);
        let all = self.fs(p.ino)?.xattrs(p.ino.num());
        match (all.contains_key(name), flags) {
            _ if is_acl => {}
            (true, f) if f & 1 != 0 => return Err(Errno::EEXIST),
            (false, f) if f & 2 != 0 => return Err(Errno::ENODATA),
            _ => {}
        }
        let total: usize = all
            .iter()
            .filter(|(k, _)| &***k != name)
            .map(|(k, v)| k.len() + v.len() + 16)
            .sum();
        if total + name.len() + value.len() + 16 > TOTAL_MAX {
            return Err(Errno::ENOSPC);
        }
        if is_acl {
            self.set_acl(ctx, p, name, Some(value))?;
        } else {
            let now = ctx.now;
            let i = self.fs_mut(p.ino)?.inode_mut(p.ino.num())?;
            Arc::make_mut(i.xattrs.get_or_insert_default()).insert(Name::from(name), Arc::from(value));
            i.ctime = now;
        }
        self.note(p, inmask::ATTRIB, 0);
        self.changed(ChangeKind::Attributes, p);
        Ok(())
    }

    /// removexattr(2).
    pub fn removexattr(&mut self, ctx: &Ctx, p: &Path, name: &[u8]) -> KResult<()> {
        self.check(ctx, p, name, true)?;
        if acl::is_acl(name) {
            self.set_acl(ctx, p, name, None)?;
        } else if !self.fs(p.ino)?.xattrs(p.ino.num()).contains_key(name) {
            return Err(Errno::ENODATA);
        } else {
            let now = ctx.now;
            let i = self.fs_mut(p.ino)?.inode_mut(p.ino.num())?;
            if let Some(x) = &mut i.xattrs {
                Arc::make_mut(x).remove(name);
            }
            i.ctime = now;
        }
        self.note(p, inmask::ATTRIB, 0);
        Ok(())
    }

    /// The capability set of an executable (`security.capability`), for exec.
    pub fn file_caps(&self, ino: Ino) -> Option<Vec<u8>> {
        self.fs(ino)
            .ok()?
            .xattrs(ino.num())
            .get(b"security.capability".as_slice())
            .map(|v| v.to_vec())
    }
}
