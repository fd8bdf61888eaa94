//! Calls that make, remove and move names: mkdir, mknod, symlink, link, unlink, rmdir, rename.

use std::sync::Arc;

use super::inode::{Inode, Node};
use super::mount::ms;
use super::perm::fl;
use super::types::*;
use super::walk::{Last, Parent};
use super::{ChangeKind, Vfs, ent, inmask};
use crate::{Errno, KResult};

/// Most links that ext4 gives a file.
const LINK_MAX: u32 = 65000;

impl Vfs {
    /// A new inode in the file system of `dir`, without a name, owned as `dir` says.
    pub(super) fn new_inode(&mut self, ctx: &Ctx, dir: &Path, mut full: u32, rdev: u64) -> KResult<Ino> {
        let d = self.attr(ctx.view, dir.ino)?;
        if self.inode_budget == 0 {
            return Err(Errno::ENOSPC);
        }
        let is_dir = full & mode::IFMT == mode::IFDIR;
        let gid = if d.mode & mode::ISGID != 0 {
            d.gid
        } else {
            ctx.creds.gid
        };
        if d.mode & mode::ISGID != 0 {
            if is_dir {
                full |= mode::ISGID;
            } else if full & (mode::ISGID | 0o010) == mode::ISGID | 0o010
                && !ctx.creds.in_group(gid)
                && !ctx.creds.capable(cap::FSETID)
            {
                full &= !mode::ISGID;
            }
        }
        let (uid, now) = (ctx.creds.uid, ctx.now);
        let fs = self.fs_mut(dir.ino)?;
        let num = fs.take_num()?;
        let ext4 = fs.is_ext4();
        let (fsid, seed) = (fs.id, fs.seed);
        let mut inode = fs.dir_inode(num, dir.ino.num(), Name::from([]), full, uid, gid, now);
        inode.mode = full;
        inode.rdev = rdev;
        inode.generation = (seed ^ num.wrapping_mul(0x9e37_79b9) ^ now.sec as u64 ^ now.nsec as u64) as u32;
        inode.flags = if ext4 {
            d.flags & (fl::SYNC | fl::NODUMP | fl::NOATIME)
        } else {
            0
        };
        if ext4 && matches!(full & mode::IFMT, mode::IFREG | mode::IFDIR) {
            inode.flags |= fl::EXTENTS;
        }
        let node = match full & mode::IFMT {
            mode::IFREG => Some(Node::File(self.objects.create(0))),
            mode::IFDIR => None,
            _ => Some(Node::Special),
        };
        if let Some(node) = node {
            inode.node = node;
            inode.nlink = 1;
        }
        self.inherit_acl(dir.ino, &mut inode);
        self.inode_budget -= 1;
        self.fs_mut(dir.ino)?.inodes.insert(num, Arc::new(inode));
        Ok(Ino::new(fsid, num))
    }

    fn inode_mut(&mut self, ino: Ino) -> KResult<&mut Inode> {
        self.fs_mut(ino)?.inode_mut(ino.num())
    }

    /// Checks that a name of something of this kind may be made in `dir`, after it was found missing.
    fn may_create(&self, ctx: &Ctx, dir: &Path, kind: u32) -> KResult<()> {
        if self.mount_flags(dir.mnt) & ms::RDONLY != 0 {
            return Err(Errno::EROFS);
        }
        let d = self.attr(ctx.view, dir.ino)?;
        self.permission(ctx, dir, &d, may::WRITE | may::EXEC)?;
        if d.nlink == 0 {
            return Err(Errno::ENOENT);
        }
        let fs = self.fs(dir.ino)?;
        // procfs finds no name missing; the others have no operation to make one: vfs_create() and its sisters say which error.
        match fs.kind {
            super::FsKind::Proc => Err(Errno::ENOENT),
            super::FsKind::Tree(_) | super::FsKind::Devpts if kind & mode::IFMT == mode::IFREG => {
                Err(Errno::EACCES)
            }
            super::FsKind::Tree(_) | super::FsKind::Devpts => Err(Errno::EPERM),
            _ => Ok(()),
        }
    }

    /// Makes a node under a name that is free.
    pub(super) fn make_node(
        &mut self,
        ctx: &Ctx,
        dir: &Path,
        name: &Name,
        full: u32,
        rdev: u64,
    ) -> KResult<Path> {
        self.may_create(ctx, dir, full)?;
        self.place_node(ctx, dir, name, full, rdev)
    }

    /// Makes a node without asking.
    pub(super) fn place_node(
        &mut self,
        ctx: &Ctx,
        dir: &Path,
        name: &Name,
        full: u32,
        rdev: u64,
    ) -> KResult<Path> {
        let ino = self.new_inode(ctx, dir, full, rdev)?;
        if full & mode::IFMT == mode::IFDIR
            && let Node::Dir(d) = &mut self.inode_mut(ino)?.node
        {
            d.name = name.clone();
        }
        let e = ent(ino.num(), full);
        self.fs_mut(dir.ino)?.add_entry(dir.ino.num(), name, e, ctx.now)?;
        let p = Path {
            mnt: dir.mnt,
            ino,
            parent: dir.ino,
            name: name.clone(),
        };
        let isdir = if full & mode::IFMT == mode::IFDIR {
            inmask::ISDIR
        } else {
            0
        };
        self.note_dir(dir.ino, name, inmask::CREATE | isdir, 0);
        self.changed(ChangeKind::Created, &p);
        Ok(p)
    }

    /// Finds the parent of a name that is to be made. EEXIST if it is there.
    fn create_parent(&self, ctx: &Ctx, base: &Path, path: &[u8], dir: bool) -> KResult<(Path, Name)> {
        let Parent { dir: at, last, slash } = self.walk_parent(ctx, base, path, 0, 0)?;
        let Last::Norm(name) = last else {
            return Err(Errno::EEXIST);
        };
        if self.child(ctx, &at, &name)?.is_some() {
            return Err(Errno::EEXIST);
        }
        if slash && !dir {
            return Err(Errno::ENOENT);
        }
        Ok((at, name))
    }

    /// mkdirat(2).
    pub fn mkdir(&mut self, ctx: &Ctx, base: &Path, path: &[u8], perm: u32) -> KResult<Path> {
        let (dir, name) = self.create_parent(ctx, base, path, true)?;
        if self.attr(ctx.view, dir.ino)?.nlink >= LINK_MAX && !self.fs(dir.ino)?.is_ext4() {
            return Err(Errno::EMLINK);
        }
        let perm = self.made_with(ctx, dir.ino, perm) & 0o1777;
        self.make_node(ctx, &dir, &name, mode::IFDIR | perm, 0)
    }

    /// mknodat(2). Also how AF_UNIX `bind` makes its name (`mode::IFSOCK`).
    pub fn mknod(&mut self, ctx: &Ctx, base: &Path, path: &[u8], full: u32, rdev: u64) -> KResult<Path> {
        let full = if full & mode::IFMT == 0 {
            full | mode::IFREG
        } else {
            full
        };
        match full & mode::IFMT {
            mode::IFREG | mode::IFIFO | mode::IFSOCK | mode::IFCHR | mode::IFBLK => {}
            mode::IFDIR => return Err(Errno::EPERM),
            _ => return Err(Errno::EINVAL),
        }
        let (dir, name) = self.create_parent(ctx, base, path, false)?;
        let device = matches!(full & mode::IFMT, mode::IFCHR | mode::IFBLK);
        if device && !ctx.creds.capable(cap::MKNOD) {
            self.may_create(ctx, &dir, mode::IFCHR)?;
            return Err(Errno::EPERM);
        }
        let full = full & mode::IFMT | self.made_with(ctx, dir.ino, full & 0o7777);
        self.make_node(ctx, &dir, &name, full, if device { rdev } else { 0 })
    }

    /// symlinkat(2).
    pub fn symlink(&mut self, ctx: &Ctx, target: &[u8], base: &Path, path: &[u8]) -> KResult<Path> {
        if target.is_empty() {
            return Err(Errno::ENOENT);
        }
        if target.len() >= super::walk::PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let (dir, name) = self.create_parent(ctx, base, path, false)?;
        let p = self.make_node(ctx, &dir, &name, mode::IFLNK | 0o777, 0)?;
        self.inode_mut(p.ino)?.node = Node::Link(Name::from(target));
        Ok(p)
    }

    /// linkat(2). `flags`: AT_SYMLINK_FOLLOW 0x400, AT_EMPTY_PATH.
    pub fn link(
        &mut self,
        ctx: &Ctx,
        old_base: &Path,
        old: &[u8],
        new_base: &Path,
        new: &[u8],
        flags: u32,
    ) -> KResult<()> {
        if flags & !(0x400 | wflag::EMPTY_PATH) != 0 {
            return Err(Errno::EINVAL);
        }
        if flags & wflag::EMPTY_PATH != 0 && !ctx.creds.capable(cap::DAC_READ_SEARCH) {
            return Err(Errno::ENOENT);
        }
        let follow = if flags & 0x400 != 0 { 0 } else { wflag::NOFOLLOW };
        let p = self.walk(ctx, old_base, old, follow | flags & wflag::EMPTY_PATH)?;
        let (dir, name) = self.create_parent(ctx, new_base, new, false)?;
        if p.mnt != dir.mnt || p.ino.fs() != dir.ino.fs() {
            return Err(Errno::EXDEV);
        }
        let a = self.attr(ctx.view, p.ino)?;
        self.may_link(ctx, &p, &a)?;
        self.may_create(ctx, &dir, mode::IFLNK)?;
        if a.flags & (fl::APPEND | fl::IMMUTABLE) != 0 || a.is_dir() {
            return Err(Errno::EPERM);
        }
        let tmpfile = a.nlink == 0 && p.name.starts_with(b"#");
        if a.nlink == 0 && !tmpfile {
            return Err(Errno::ENOENT);
        }
        if a.nlink >= LINK_MAX {
            return Err(Errno::EMLINK);
        }
        let now = ctx.now;
        let i = self.inode_mut(p.ino)?;
        i.nlink += 1;
        i.ctime = now;
        self.fs_mut(dir.ino)?
            .add_entry(dir.ino.num(), &name, ent(p.ino.num(), a.mode), now)?;
        self.note(&p, inmask::ATTRIB, 0);
        self.note_dir(dir.ino, &name, inmask::CREATE, 0);
        let made = Path {
            mnt: dir.mnt,
            ino: p.ino,
            parent: dir.ino,
            name: name.clone(),
        };
        if let Some(h) = self.holds.get_mut(p.ino.0)
            && tmpfile
        {
            h.moved = Some((dir.ino, name));
        }
        self.changed(ChangeKind::Created, &made);
        Ok(())
    }

    fn is_mountpoint(&self, p: &Path) -> bool {
        self.mounts.iter().any(|m| m.at.ino == p.ino && m.parent != m.id)
            || self.mounts.get(p.mnt).is_some_and(|m| m.root == p.ino)
    }

    /// unlinkat(2) without AT_REMOVEDIR.
    pub fn unlink(&mut self, ctx: &Ctx, base: &Path, path: &[u8]) -> KResult<()> {
        let Parent { dir, last, slash } = self.walk_parent(ctx, base, path, 0, 0)?;
        let Last::Norm(name) = last else {
            return Err(Errno::EISDIR);
        };
        let p = self.child(ctx, &dir, &name)?.ok_or(Errno::ENOENT)?;
        let a = self.attr(ctx.view, p.ino)?;
        if slash {
            return Err(if a.is_dir() { Errno::EISDIR } else { Errno::ENOTDIR });
        }
        self.may_delete(ctx, &dir, &a)?;
        if a.is_dir() {
            return Err(Errno::EISDIR);
        }
        if !self.fs(dir.ino)?.has_inodes() {
            return Err(Errno::EPERM);
        }
        if self.is_mountpoint(&p) {
            return Err(Errno::EBUSY);
        }
        self.changed(ChangeKind::Removed, &p);
        self.drop_name(&dir, &p, ctx.now)?;
        Ok(())
    }

    /// Takes a non-directory's name away, and the inode with its last name.
    fn drop_name(&mut self, dir: &Path, p: &Path, now: Timespec) -> KResult<()> {
        let fs = self.fs_mut(dir.ino)?;
        fs.remove_entry(dir.ino.num(), &p.name, now)?;
        let i = fs.inode_mut(p.ino.num())?;
        i.nlink = i.nlink.saturating_sub(1);
        i.ctime = now;
        let gone = i.nlink == 0;
        self.note(p, inmask::ATTRIB, 0);
        self.note_dir(dir.ino, &p.name, inmask::DELETE, 0);
        if gone {
            if self.holders(p.ino) == 0 {
                self.note_self(p.ino, inmask::DELETE_SELF);
            }
            self.drop_if_dead(p.ino);
        }
        Ok(())
    }

    /// rmdir(2).
    pub fn rmdir(&mut self, ctx: &Ctx, base: &Path, path: &[u8]) -> KResult<()> {
        let Parent { dir, last, .. } = self.walk_parent(ctx, base, path, 0, 0)?;
        let name = match last {
            Last::Norm(n) => n,
            Last::Dot => return Err(Errno::EINVAL),
            Last::DotDot => return Err(Errno::ENOTEMPTY),
            Last::Root => return Err(Errno::EBUSY),
        };
        let p = self.child(ctx, &dir, &name)?.ok_or(Errno::ENOENT)?;
        let a = self.attr(ctx.view, p.ino)?;
        self.may_delete(ctx, &dir, &a)?;
        if !a.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        if self.is_mountpoint(&p) || ctx.root.ino == p.ino {
            return Err(Errno::EBUSY);
        }
        if !self.fs(dir.ino)?.has_inodes() {
            return Err(Errno::EPERM);
        }
        if self.fs(p.ino)?.count(p.ino.num()) != 0 {
            return Err(Errno::ENOTEMPTY);
        }
        self.changed(ChangeKind::Removed, &p);
        self.drop_dir(&dir, &p, ctx.now)
    }

    fn drop_dir(&mut self, dir: &Path, p: &Path, now: Timespec) -> KResult<()> {
        let fs = self.fs_mut(dir.ino)?;
        fs.remove_entry(dir.ino.num(), &p.name, now)?;
        let i = fs.inode_mut(p.ino.num())?;
        i.nlink = 0;
        i.ctime = now;
        self.note_self(p.ino, inmask::DELETE_SELF | inmask::ISDIR);
        self.note_dir(dir.ino, &p.name, inmask::DELETE | inmask::ISDIR, 0);
        self.drop_if_dead(p.ino);
        Ok(())
    }

    /// True if `a` is `b` or stands above it.
    fn is_ancestor(&self, ctx: &Ctx, a: Ino, b: Ino) -> bool {
        let mut cur = b;
        for _ in 0..100_000 {
            if cur == a {
                return true;
            }
            match self.dir_place(ctx.view, cur) {
                Some((up, _)) if up != cur => cur = up,
                _ => return false,
            }
        }
        false
    }

    /// renameat2(2). `flags`: RENAME_NOREPLACE 1, RENAME_EXCHANGE 2, RENAME_WHITEOUT 4.
    pub fn rename(
        &mut self,
        ctx: &Ctx,
        old_base: &Path,
        old: &[u8],
        new_base: &Path,
        new: &[u8],
        flags: u32,
    ) -> KResult<()> {
        let (noreplace, exchange) = (flags & 1 != 0, flags & 2 != 0);
        if flags & !7 != 0 || exchange && flags & 5 != 0 {
            return Err(Errno::EINVAL);
        }
        let from = self.walk_parent(ctx, old_base, old, 0, 0)?;
        let to = self.walk_parent(ctx, new_base, new, 0, 0)?;
        if from.dir.mnt != to.dir.mnt {
            return Err(Errno::EXDEV);
        }
        let Last::Norm(old_name) = from.last else {
            return Err(Errno::EBUSY);
        };
        let Last::Norm(new_name) = to.last else {
            return Err(if noreplace { Errno::EEXIST } else { Errno::EBUSY });
        };
        if self.mount_flags(from.dir.mnt) & ms::RDONLY != 0 {
            return Err(Errno::EROFS);
        }
        let src = self.child(ctx, &from.dir, &old_name)?.ok_or(Errno::ENOENT)?;
        let dst = self.child(ctx, &to.dir, &new_name)?;
        if noreplace && dst.is_some() {
            return Err(Errno::EEXIST);
        }
        if exchange && dst.is_none() {
            return Err(Errno::ENOENT);
        }
        let sa = self.attr(ctx.view, src.ino)?;
        let da = match &dst {
            Some(d) => Some(self.attr(ctx.view, d.ino)?),
            None => None,
        };
        if exchange && to.slash && da.is_some_and(|d| !d.is_dir()) {
            return Err(Errno::ENOTDIR);
        }
        if !sa.is_dir() && (from.slash || !exchange && to.slash) {
            return Err(Errno::ENOTDIR);
        }
        let same_dir = from.dir.ino == to.dir.ino;
        // The source must not be above the target, nor the target above the source.
        if sa.is_dir() && !same_dir && self.is_ancestor(ctx, src.ino, to.dir.ino) {
            return Err(Errno::EINVAL);
        }
        if let (Some(d), Some(a)) = (&dst, da)
            && a.is_dir()
            && !same_dir
            && self.is_ancestor(ctx, d.ino, from.dir.ino)
        {
            return Err(if exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
        }
        if dst.as_ref().is_some_and(|d| d.ino == src.ino) {
            return Ok(());
        }
        self.may_delete(ctx, &from.dir, &sa)?;
        match &da {
            Some(a) => {
                self.may_delete(ctx, &to.dir, a)?;
                if !exchange && sa.is_dir() && !a.is_dir() {
                    return Err(Errno::ENOTDIR);
                }
                if !exchange && !sa.is_dir() && a.is_dir() {
                    return Err(Errno::EISDIR);
                }
            }
            None => self.may_create(ctx, &to.dir, mode::IFLNK)?,
        }
        if sa.is_dir() && !same_dir {
            self.permission(ctx, &src, &sa, may::WRITE)?;
        }
        if exchange
            && !same_dir
            && da.is_some_and(|a| a.is_dir())
            && let (Some(d), Some(a)) = (&dst, &da)
        {
            self.permission(ctx, d, a, may::WRITE)?;
        }
        if !self.fs(src.ino)?.has_inodes() || src.ino.fs() != from.dir.ino.fs() {
            return Err(if self.is_mountpoint(&src) {
                Errno::EBUSY
            } else {
                Errno::EPERM
            });
        }
        if self.is_mountpoint(&src) || dst.as_ref().is_some_and(|d| self.is_mountpoint(d)) {
            return Err(Errno::EBUSY);
        }
        if let (Some(d), Some(a)) = (&dst, &da)
            && a.is_dir()
            && !exchange
            && self.fs(d.ino)?.count(d.ino.num()) != 0
        {
            return Err(Errno::ENOTEMPTY);
        }
        self.do_rename(
            ctx,
            &from.dir,
            &src,
            &sa,
            &to.dir,
            dst.map(|d| (d, da.unwrap_or_default())),
            &new_name,
            exchange,
        )?;
        if flags & 4 != 0 {
            self.make_node(ctx, &from.dir, &old_name, mode::IFCHR, 0)?;
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn do_rename(
        &mut self,
        ctx: &Ctx,
        from: &Path,
        src: &Path,
        sa: &super::Attr,
        to: &Path,
        dst: Option<(Path, super::Attr)>,
        new_name: &Name,
        exchange: bool,
    ) -> KResult<()> {
        let now = ctx.now;
        let old_text = self.full_path(ctx, src);
        if let Some((d, a)) = &dst {
            if exchange {
                self.fs_mut(to.ino)?.remove_entry(to.ino.num(), new_name, now)?;
            } else if a.is_dir() {
                self.drop_dir(to, d, now)?;
            } else {
                self.drop_name(to, d, now)?;
            }
        }
        self.fs_mut(from.ino)?
            .remove_entry(from.ino.num(), &src.name, now)?;
        self.fs_mut(to.ino)?
            .add_entry(to.ino.num(), new_name, ent(src.ino.num(), sa.mode), now)?;
        self.settle(src.ino, to.ino, new_name, now)?;
        if exchange && let Some((d, a)) = &dst {
            self.fs_mut(from.ino)?
                .add_entry(from.ino.num(), &src.name, ent(d.ino.num(), a.mode), now)?;
            self.settle(d.ino, from.ino, &src.name, now)?;
        }
        self.cookie = self.cookie.wrapping_add(1);
        let cookie = self.cookie;
        let isdir = if sa.is_dir() { inmask::ISDIR } else { 0 };
        self.note_dir(from.ino, &src.name, inmask::MOVED_FROM | isdir, cookie);
        self.note_dir(to.ino, new_name, inmask::MOVED_TO | isdir, cookie);
        self.note_self(src.ino, inmask::MOVE_SELF | isdir);
        let moved = Path {
            mnt: to.mnt,
            ino: src.ino,
            parent: to.ino,
            name: new_name.clone(),
        };
        self.changed(ChangeKind::Renamed(old_text), &moved);
        Ok(())
    }

    /// An inode stands under a new name.
    fn settle(&mut self, ino: Ino, parent: Ino, name: &Name, now: Timespec) -> KResult<()> {
        let i = self.inode_mut(ino)?;
        i.ctime = now;
        if let Node::Dir(d) = &mut i.node {
            d.parent = parent.num();
            d.name = name.clone();
        } else if let Some(h) = self.holds.get_mut(ino.0) {
            h.moved = Some((parent, name.clone()));
        }
        Ok(())
    }
}
