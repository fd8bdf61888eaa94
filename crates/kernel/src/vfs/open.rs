//! open(2), openat2(2): from a path and flags to an inode that a description may drive.

use super::inode::Attr;
use super::mount::ms;
use super::perm::fl;
use super::types::*;
use super::walk::Last;
use super::{ChangeKind, Vfs, inmask};
use crate::proc::LinkTarget;
use crate::{Errno, KResult};

impl Vfs {
    /// Opens `path` seen from `base`. `resolve` holds further `wflag` bits (openat2). The caller holds the result
    /// (`hold`, or `hold_writer` if the access mode writes).
    pub fn open(
        &mut self,
        ctx: &Ctx,
        base: &Path,
        path: &[u8],
        flags: u32,
        perm: u32,
        resolve: u32,
    ) -> KResult<Opened> {
        let nofollow = if flags & oflag::NOFOLLOW != 0 {
            wflag::NOFOLLOW
        } else {
            0
        };
        let directory = if flags & oflag::DIRECTORY != 0 {
            wflag::DIRECTORY
        } else {
            0
        };
        if flags & oflag::PATH != 0 {
            let p = self.walk(ctx, base, path, nofollow | directory | resolve)?;
            return Ok(Opened {
                path: p,
                kind: Kind::PathOnly,
                created: false,
            });
        }
        if flags & oflag::TMPFILE == oflag::TMPFILE {
            return self.open_tmpfile(ctx, base, path, flags, perm, resolve);
        }
        if flags & oflag::CREAT != 0 {
            return self.open_create(ctx, base, path, flags, perm, resolve);
        }
        let p = self.walk(ctx, base, path, nofollow | resolve)?;
        self.open_place(ctx, p, flags)
    }

    /// Opens what stands at a place (after the walk; also for open by handle and `/proc/self/fd`).
    pub fn open_place(&mut self, ctx: &Ctx, p: Path, flags: u32) -> KResult<Opened> {
        let a = self.attr(ctx.view, p.ino)?;
        if flags & oflag::DIRECTORY != 0 && !a.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        let kind = self.may_open(ctx, &p, &a, flags)?;
        if flags & oflag::TRUNC != 0 && a.kind() == mode::IFREG && kind == Kind::Regular {
            self.set_len(ctx, &p, 0)?;
        }
        Ok(Opened {
            path: p,
            kind,
            created: false,
        })
    }

    fn open_create(
        &mut self,
        ctx: &Ctx,
        base: &Path,
        path: &[u8],
        flags: u32,
        perm: u32,
        resolve: u32,
    ) -> KResult<Opened> {
        let mut base = base.clone();
        let mut path = path.to_vec();
        // Links in the last place are followed here, so that a dangling one makes its target.
        for links in 0..=40 {
            let par = self.walk_parent(ctx, &base, &path, resolve, links)?;
            let Last::Norm(name) = par.last else {
                return Err(if flags & oflag::EXCL != 0 {
                    Errno::EEXIST
                } else {
                    Errno::EISDIR
                });
            };
            if par.slash {
                return Err(Errno::EISDIR);
            }
            let Some(p) = self.child(ctx, &par.dir, &name)? else {
                let p = self.make_node(
                    ctx,
                    &par.dir,
                    &name,
                    mode::IFREG | self.made_with(ctx, par.dir.ino, perm) & 0o7777,
                    0,
                )?;
                if flags & oflag::DIRECTORY != 0 {
                    return Err(Errno::ENOTDIR);
                }
                return Ok(Opened {
                    path: p,
                    kind: Kind::Regular,
                    created: true,
                });
            };
            if flags & oflag::EXCL != 0 {
                return Err(Errno::EEXIST);
            }
            let a = self.attr(ctx.view, p.ino)?;
            if a.is_link() {
                if flags & oflag::NOFOLLOW != 0 || resolve & wflag::NO_SYMLINKS != 0 || links == 40 {
                    return Err(Errno::ELOOP);
                }
                let dir = self.attr(ctx.view, par.dir.ino)?;
                self.may_follow(ctx, &dir, &a)?;
                match self.link_target(ctx, p.ino)? {
                    LinkTarget::Text(t) => {
                        base = par.dir;
                        path = t.to_vec();
                        continue;
                    }
                    LinkTarget::Path(p) => return self.open_place(ctx, p, flags),
                    LinkTarget::Reopen { .. } => return self.open_place(ctx, p, flags),
                }
            }
            if a.is_dir() {
                return Err(Errno::EISDIR);
            }
            let dir = self.attr(ctx.view, par.dir.ino)?;
            self.may_create_over(ctx, &dir, &a)?;
            return self.open_place(ctx, p, flags);
        }
        Err(Errno::ELOOP)
    }

    fn open_tmpfile(
        &mut self,
        ctx: &Ctx,
        base: &Path,
        path: &[u8],
        flags: u32,
        perm: u32,
        resolve: u32,
    ) -> KResult<Opened> {
        if flags & oflag::ACCMODE == 0 {
            return Err(Errno::EINVAL);
        }
        let dir = self.walk(ctx, base, path, wflag::DIRECTORY | resolve)?;
        self.dir_writable(ctx, &dir)?;
        if !self.fs(dir.ino)?.has_inodes() {
            return Err(Errno::EOPNOTSUPP);
        }
        let perm = self.made_with(ctx, dir.ino, perm) & 0o7777;
        let ino = self.new_inode(ctx, &dir, mode::IFREG | perm, 0)?;
        let num = ino.num();
        if let Ok(i) = self.fs_mut(ino)?.inode_mut(num) {
            i.nlink = 0;
        }
        let name = Name::from(format!("#{num}").as_bytes());
        Ok(Opened {
            path: Path {
                mnt: dir.mnt,
                ino,
                parent: dir.ino,
                name,
            },
            kind: Kind::Regular,
            created: true,
        })
    }

    fn may_open(&self, ctx: &Ctx, p: &Path, a: &Attr, flags: u32) -> KResult<Kind> {
        let write = matches!(flags & oflag::ACCMODE, oflag::WRONLY | oflag::RDWR | 3);
        let trunc = flags & oflag::TRUNC != 0;
        let mut mask = match flags & oflag::ACCMODE {
            oflag::RDONLY => may::READ,
            oflag::WRONLY => may::WRITE,
            _ => may::READ | may::WRITE,
        };
        if trunc {
            mask |= may::WRITE;
        }
        let (major, minor) = devnum(a.rdev);
        let kind = match a.kind() {
            mode::IFLNK => match self.link_target(ctx, p.ino) {
                Ok(LinkTarget::Reopen { tid, fd, .. }) if flags & oflag::NOFOLLOW == 0 => {
                    return Ok(Kind::Reopen { tid, fd });
                }
                _ => return Err(Errno::ELOOP),
            },
            mode::IFDIR => {
                if write || trunc {
                    return Err(Errno::EISDIR);
                }
                Kind::Dir
            }
            mode::IFSOCK => {
                self.permission(ctx, p, a, mask)?;
                return Err(Errno::ENXIO);
            }
            mode::IFIFO => Kind::Fifo,
            mode::IFCHR | mode::IFBLK => {
                if self.mount_flags(p.mnt) & ms::NODEV != 0 {
                    return Err(Errno::EACCES);
                }
                if a.kind() == mode::IFCHR {
                    Kind::CharDev(major, minor)
                } else {
                    Kind::BlockDev(major, minor)
                }
            }
            _ if self.fs(p.ino)?.has_inodes() => Kind::Regular,
            _ => Kind::Synthetic,
        };
        self.permission(ctx, p, a, mask)?;
        if a.flags & fl::APPEND != 0 && (write && flags & oflag::APPEND == 0 || trunc) {
            return Err(Errno::EPERM);
        }
        if flags & oflag::NOATIME != 0 && !Self::owner_or_capable(ctx, a) {
            return Err(Errno::EPERM);
        }
        if kind == Kind::Regular && (write || trunc) && self.exec_held(p.ino) {
            return Err(Errno::ETXTBSY);
        }
        if kind == Kind::Synthetic {
            crate::proc::may_open(self, ctx, p.ino, mask)?;
        }
        Ok(kind)
    }

    /// truncate(2).
    pub fn truncate(&mut self, ctx: &Ctx, path: &[u8], len: i64) -> KResult<()> {
        if len < 0 {
            return Err(Errno::EINVAL);
        }
        let p = self.walk(ctx, ctx.cwd, path, 0)?;
        let a = self.attr(ctx.view, p.ino)?;
        match a.kind() {
            mode::IFREG => {}
            mode::IFDIR => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
        self.permission(ctx, &p, &a, may::WRITE)?;
        if a.flags & fl::APPEND != 0 {
            return Err(Errno::EPERM);
        }
        if self.exec_held(p.ino) {
            return Err(Errno::ETXTBSY);
        }
        self.set_len(ctx, &p, len as u64)?;
        self.changed(ChangeKind::Written, &p);
        self.note(&p, inmask::MODIFY, 0);
        Ok(())
    }
}
