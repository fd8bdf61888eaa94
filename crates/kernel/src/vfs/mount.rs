//! The mount table: what is mounted where, with which flags, and the calls that change it.

use std::collections::BTreeMap;
use std::sync::Arc;
use turncoat_freeze::Freeze;

use super::Vfs;
use super::inode::Fs;
use super::types::*;
use crate::{Errno, KResult};

/// Per-mount flags (values of mount(2)).
#[allow(missing_docs)]
pub mod ms {
    pub const RDONLY: u32 = 1;
    pub const NOSUID: u32 = 2;
    pub const NODEV: u32 = 4;
    pub const NOEXEC: u32 = 8;
    pub const REMOUNT: u32 = 32;
    pub const NOATIME: u32 = 1024;
    pub const NODIRATIME: u32 = 2048;
    pub const BIND: u32 = 4096;
    pub const MOVE: u32 = 8192;
    pub const REC: u32 = 16384;
    pub const UNBINDABLE: u32 = 1 << 17;
    pub const PRIVATE: u32 = 1 << 18;
    pub const SLAVE: u32 = 1 << 19;
    pub const SHARED: u32 = 1 << 20;
    pub const RELATIME: u32 = 1 << 21;
}

/// One mount.
#[derive(Clone, Debug, Freeze)]
pub struct Mount {
    /// Its id.
    pub id: MountId,
    /// The mount it is mounted on (itself for the root).
    pub parent: MountId,
    /// The place in the parent.
    pub at: Path,
    /// The directory (or file) that shows there.
    pub root: Ino,
    /// `ms` flags of this mount.
    pub flags: u32,
    /// What was mounted (`/dev/sda1`, `proc`).
    pub source: String,
    /// Type.
    pub fstype: String,
    /// Options of the file system, without `rw`/`ro` (`errors=remount-ro`).
    pub options: String,
    /// Peer group, 0 for private.
    pub shared: u32,
}

impl Mount {
    /// Flags as mountinfo and mounts print them (`rw,nosuid,relatime`).
    pub fn flag_text(&self) -> String {
        let mut s = String::from(if self.flags & ms::RDONLY != 0 { "ro" } else { "rw" });
        let names = [
            (ms::NOSUID, ",nosuid"),
            (ms::NODEV, ",nodev"),
            (ms::NOEXEC, ",noexec"),
            (ms::NOATIME, ",noatime"),
            (ms::NODIRATIME, ",nodiratime"),
            (ms::RELATIME, ",relatime"),
        ];
        for (bit, name) in names {
            if self.flags & bit != 0 {
                s.push_str(name);
            }
        }
        s
    }
}

/// All mounts of a world, in order of their ids and order of mounting.
#[derive(Clone, Debug, Default, Freeze)]
pub struct MountTable {
    pub(super) list: Vec<Mount>,
    /// (mount, inode of the mount point) to the mount on it.
    pub(super) on: BTreeMap<(MountId, Ino), MountId>,
    pub(super) next: u32,
    pub(super) root: u32,
}

impl MountTable {
    /// A mount by its id.
    pub fn get(&self, id: MountId) -> Option<&Mount> {
        self.list.iter().find(|m| m.id == id)
    }
    /// All mounts in the order of mounting.
    pub fn iter(&self) -> impl Iterator<Item = &Mount> {
        self.list.iter()
    }
}

impl Vfs {
    /// The mount table.
    pub fn mounts(&self) -> &MountTable {
        &self.mounts
    }

    /// st_dev of the file system that a mount shows.
    pub fn dev_of(&self, m: &Mount) -> u64 {
        self.fs(m.root).map_or(0, |f| f.dev)
    }

    pub(super) fn mount_flags(&self, id: MountId) -> u32 {
        self.mounts.get(id).map_or(0, |m| m.flags)
    }

    /// The root directory of the mount namespace.
    pub fn root_path(&self) -> Path {
        let id = MountId(self.mounts.root);
        let ino = self.mounts.get(id).map_or(Ino(0), |m| m.root);
        Path {
            mnt: id,
            ino,
            parent: ino,
            name: Name::from([]),
        }
    }

    /// The topmost mount on this place, as a place.
    pub(super) fn cross(&self, mut p: Path) -> Path {
        while let Some(&id) = self.mounts.on.get(&(p.mnt, p.ino)) {
            let Some(m) = self.mounts.get(id) else { break };
            p = Path {
                mnt: id,
                ino: m.root,
                parent: m.root,
                name: Name::from([]),
            };
        }
        p
    }

    /// Mounts a file system that is already there (or part of one) on a place.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn attach(
        &mut self,
        at: &Path,
        root: Ino,
        flags: u32,
        source: &str,
        fstype: &str,
        options: &str,
        shared: u32,
    ) -> MountId {
        let t = Arc::make_mut(&mut self.mounts);
        let id = MountId(t.next);
        t.next += 1;
        let first = t.list.is_empty();
        let parent = if first { id } else { at.mnt };
        if first {
            t.root = id.0;
        } else {
            t.on.insert((at.mnt, at.ino), id);
        }
        t.list.push(Mount {
            id,
            parent,
            at: at.clone(),
            root,
            flags,
            source: source.to_owned(),
            fstype: fstype.to_owned(),
            options: options.to_owned(),
            shared,
        });
        self.hold(root);
        if !first {
            self.hold(at.ino);
        }
        id
    }

    pub(super) fn add_fs(&mut self, make: impl FnOnce(FsId) -> Fs) -> FsId {
        let slot = self
            .fses
            .iter()
            .position(|f| f.is_none())
            .unwrap_or(self.fses.len());
        let id = FsId(slot as u16);
        let fs = Some(Arc::new(make(id)));
        match self.fses.get_mut(slot) {
            Some(s) => *s = fs,
            None => self.fses.push(fs),
        }
        id
    }

    fn need_admin(ctx: &Ctx) -> KResult<()> {
        if ctx.creds.capable(cap::SYS_ADMIN) {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }

    /// mount(2): remount, bind, move, propagation changes, and new tmpfs, proc, sysfs, devpts and the like.
    pub fn mount(
        &mut self,
        ctx: &Ctx,
        source: &[u8],
        target: &[u8],
        fstype: &[u8],
        flags: u32,
        data: &[u8],
    ) -> KResult<()> {
        let at = self.walk(ctx, ctx.cwd, target, 0)?;
        Self::need_admin(ctx)?;
        let keep =
            ms::RDONLY | ms::NOSUID | ms::NODEV | ms::NOEXEC | ms::NOATIME | ms::NODIRATIME | ms::RELATIME;
        let mut own = flags & keep;
        if own & ms::NOATIME == 0 {
            own |= ms::RELATIME;
        }
        let is_root = self.mounts.get(at.mnt).is_some_and(|m| m.root == at.ino);
        if flags & ms::REMOUNT != 0 {
            if !is_root {
                return Err(Errno::EINVAL);
            }
            if own & ms::RDONLY != 0 && flags & ms::BIND == 0 && self.has_writers(at.ino.fs()) {
                return Err(Errno::EBUSY);
            }
            if let Some(m) = Arc::make_mut(&mut self.mounts)
                .list
                .iter_mut()
                .find(|m| m.id == at.mnt)
            {
                m.flags = own;
            }
            return Ok(());
        }
        let kinds = ms::SHARED | ms::PRIVATE | ms::SLAVE | ms::UNBINDABLE;
        if flags & kinds != 0 {
            if !is_root {
                return Err(Errno::EINVAL);
            }
            let t = Arc::make_mut(&mut self.mounts);
            let fresh = t.list.iter().map(|m| m.shared).max().unwrap_or(0) + 1;
            let all = flags & ms::REC != 0;
            let mut under = vec![at.mnt];
            for i in 0..t.list.len() {
                if all && t.list.get(i).is_some_and(|m| under.contains(&m.parent)) {
                    under.extend(t.list.get(i).map(|m| m.id));
                }
            }
            for m in t.list.iter_mut().filter(|m| under.contains(&m.id)) {
                m.shared = match (flags & ms::SHARED != 0, m.shared) {
                    (true, 0) => fresh,
                    (true, n) => n,
                    (false, _) => 0,
                };
            }
            return Ok(());
        }
        if flags & ms::BIND != 0 {
            let from = self.walk(ctx, ctx.cwd, source, 0)?;
            let dir = |v: &Vfs, p: &Path| v.attr(ctx.view, p.ino).map(|a| a.is_dir());
            if dir(self, &from)? != dir(self, &at)? {
                return Err(Errno::ENOTDIR);
            }
            let m = self.mounts.get(from.mnt).cloned().ok_or(Errno::EINVAL)?;
            self.attach(&at, from.ino, m.flags, &m.source, &m.fstype, &m.options, m.shared);
            return Ok(());
        }
        if flags & ms::MOVE != 0 {
            let from = self.walk(ctx, ctx.cwd, source, 0)?;
            let m = self.mounts.get(from.mnt).cloned().ok_or(Errno::EINVAL)?;
            if m.root != from.ino || m.parent == m.id || at.mnt == m.id {
                return Err(Errno::EINVAL);
            }
            let t = Arc::make_mut(&mut self.mounts);
            t.on.remove(&(m.parent, m.at.ino));
            t.on.insert((at.mnt, at.ino), m.id);
            if let Some(x) = t.list.iter_mut().find(|x| x.id == m.id) {
                (x.parent, x.at) = (at.mnt, at.clone());
            }
            self.hold(at.ino);
            self.release(m.at.ino);
            return Ok(());
        }
        if !self.attr(ctx.view, at.ino)?.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        let name = String::from_utf8_lossy(fstype).into_owned();
        let root = match name.as_str() {
            "tmpfs" | "ramfs" => {
                let id = self.new_tmpfs(ctx, data)?;
                Ino::new(id, 1)
            }
            "proc" | "sysfs" | "cgroup2" | "devpts" | "devtmpfs" | "debugfs" | "tracefs" | "securityfs"
            | "mqueue" | "pstore" | "bpf" | "configfs" | "fusectl" | "hugetlbfs" => {
                let found = self.mounts.iter().find(|m| m.fstype == name).map(|m| m.root);
                Ino::new(found.ok_or(Errno::ENODEV)?.fs(), 1)
            }
            "ext4" | "ext3" | "ext2" | "xfs" | "vfat" | "iso9660" | "btrfs" => {
                let dev = self.walk(ctx, ctx.cwd, source, 0)?;
                let a = self.attr(ctx.view, dev.ino)?;
                if a.kind() != mode::IFBLK {
                    return Err(Errno::ENOTBLK);
                }
                let root = self.root_path().ino;
                if self.fs(root)?.dev == a.rdev && name == "ext4" {
                    root
                } else {
                    return Err(Errno::EINVAL);
                }
            }
            _ => return Err(Errno::ENODEV),
        };
        let options = String::from_utf8_lossy(data).into_owned();
        let source = String::from_utf8_lossy(source).into_owned();
        self.attach(&at, root, own, &source, &name, &options, 0);
        Ok(())
    }

    fn has_writers(&self, fs: FsId) -> bool {
        let from = Ino::new(fs, 0).0;
        self.holds
            .range(from)
            .take_while(|(k, _)| Ino(*k).fs() == fs)
            .any(|(_, h)| h.writers > 0)
    }

    fn new_tmpfs(&mut self, ctx: &Ctx, data: &[u8]) -> KResult<FsId> {
        let half = ctx.view.facts().memory / 8192;
        let (mut blocks, mut perm, mut files, mut uid, mut gid) = (half, 0o1777, half, 0, 0);
        let text = String::from_utf8_lossy(data).into_owned();
        for opt in text.split(',').filter(|o| !o.is_empty()) {
            let (k, v) = opt.split_once('=').unwrap_or((opt, ""));
            let num = || v.parse::<u32>().map_err(|_| Errno::EINVAL);
            match k {
                "size" => blocks = parse_size(v, half * 8192)?.div_ceil(4096),
                "nr_inodes" => files = parse_size(v, 0)?,
                "nr_blocks" => blocks = parse_size(v, 0)?,
                "mode" => perm = u32::from_str_radix(v, 8).map_err(|_| Errno::EINVAL)? & 0o7777,
                "uid" => uid = num()?,
                "gid" => gid = num()?,
                "inode32" | "inode64" | "huge" | "mpol" | "noswap" => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        if self.fses.len() > 256 {
            return Err(Errno::ENOSPC);
        }
        Ok(self.make_tmpfs("tmpfs", perm, uid, gid, blocks, files, ctx.now))
    }

    /// umount2(2).
    pub fn umount(&mut self, ctx: &Ctx, target: &[u8], flags: u32) -> KResult<()> {
        const DETACH: u32 = 2;
        const NOFOLLOW: u32 = 8;
        if flags & !0xf != 0 {
            return Err(Errno::EINVAL);
        }
        let at = self.walk(
            ctx,
            ctx.cwd,
            target,
            if flags & NOFOLLOW != 0 { wflag::NOFOLLOW } else { 0 },
        )?;
        Self::need_admin(ctx)?;
        let m = self.mounts.get(at.mnt).cloned().ok_or(Errno::EINVAL)?;
        if m.root != at.ino || m.parent == m.id {
            return Err(Errno::EINVAL);
        }
        let has_child = self.mounts.iter().any(|c| c.parent == m.id && c.id != m.id);
        let others = self.mounts.iter().filter(|o| o.root.fs() == m.root.fs()).count();
        if flags & DETACH == 0 && (has_child || others == 1 && self.held_in(m.root.fs()) > 1) {
            return Err(Errno::EBUSY);
        }
        let mut gone = vec![m.id];
        while let Some(id) = gone.pop() {
            gone.extend(
                self.mounts
                    .iter()
                    .filter(|c| c.parent == id && c.id != id)
                    .map(|c| c.id),
            );
            let Some(m) = self.mounts.get(id).cloned() else {
                continue;
            };
            let t = Arc::make_mut(&mut self.mounts);
            t.list.retain(|x| x.id != id);
            t.on.retain(|_, v| *v != id);
            self.release(m.root);
            self.release(m.at.ino);
        }
        Ok(())
    }

    fn held_in(&self, fs: FsId) -> u64 {
        let from = Ino::new(fs, 0).0;
        self.holds
            .range(from)
            .take_while(|(k, _)| Ino(*k).fs() == fs)
            .map(|(_, h)| h.count as u64)
            .sum()
    }

    /// pivot_root(2): the new root's mount becomes the root of the namespace.
    pub fn pivot_root(&mut self, ctx: &Ctx, new_root: &[u8], put_old: &[u8]) -> KResult<()> {
        Self::need_admin(ctx)?;
        let new = self.walk(ctx, ctx.cwd, new_root, wflag::DIRECTORY)?;
        let old_at = self.walk(ctx, ctx.cwd, put_old, wflag::DIRECTORY)?;
        let m = self.mounts.get(new.mnt).cloned().ok_or(Errno::EINVAL)?;
        if m.root != new.ino || m.parent == m.id {
            return Err(if new.mnt == ctx.root.mnt {
                Errno::EBUSY
            } else {
                Errno::EINVAL
            });
        }
        if old_at.mnt != new.mnt {
            return Err(Errno::EINVAL);
        }
        let t = Arc::make_mut(&mut self.mounts);
        let old_root = MountId(t.root);
        t.on.remove(&(m.parent, m.at.ino));
        t.on.insert((old_at.mnt, old_at.ino), old_root);
        for x in t.list.iter_mut() {
            if x.id == m.id {
                x.parent = x.id;
            } else if x.id == old_root {
                (x.parent, x.at) = (m.id, old_at.clone());
            }
        }
        t.root = m.id.0;
        Ok(())
    }

    /// statfs(2) of the file system that holds an inode.
    pub fn statfs(&self, path: &Path) -> KResult<StatFs> {
        let fs = self.fs(path.ino)?;
        let m = self.mount_flags(path.mnt);
        let flags = 0x20
            | m & (ms::RDONLY | ms::NOSUID | ms::NODEV | ms::NOEXEC)
            | if m & ms::NOATIME != 0 { 1024 } else { 0 }
            | if m & ms::NODIRATIME != 0 { 2048 } else { 0 }
            | if m & ms::RELATIME != 0 { 4096 } else { 0 };
        let bfree = fs.blocks.saturating_sub(fs.blocks_used);
        Ok(StatFs {
            magic: fs.magic,
            bsize: 4096,
            blocks: fs.blocks,
            bfree,
            bavail: bfree.saturating_sub(fs.blocks_reserved),
            files: fs.files,
            ffree: fs.files.saturating_sub(fs.files_used),
            fsid: fs.seed.rotate_left(17) ^ fs.magic,
            namelen: 255,
            frsize: 4096,
            flags: flags as u64,
        })
    }
}

/// `12k`, `3M`, `50%` of `whole`.
fn parse_size(v: &str, whole: u64) -> KResult<u64> {
    let end = v.find(|c: char| !c.is_ascii_digit()).unwrap_or(v.len());
    let n: u64 = v.get(..end).unwrap_or("").parse().map_err(|_| Errno::EINVAL)?;
    Ok(match v.get(end..).unwrap_or("") {
        "" => n,
        "k" | "K" => n.saturating_mul(1 << 10),
        "m" | "M" => n.saturating_mul(1 << 20),
        "g" | "G" => n.saturating_mul(1 << 30),
        "%" => whole / 100 * n.min(100),
        _ => return Err(Errno::EINVAL),
    })
}

impl Vfs {
    /// Type of the file system that holds an inode.
    pub fn fs_type(&self, ino: Ino) -> &'static str {
        match self.fs(ino) {
            Ok(f) if matches!(f.kind, super::FsKind::Proc) => "proc",
            Ok(f) => f.type_name,
            Err(_) => "",
        }
    }

    /// The part of its file system that a mount shows (`/` unless it is a bind mount).
    pub fn inside(&self, ctx: &Ctx, m: &Mount) -> Vec<u8> {
        let mut parts: Vec<Name> = Vec::new();
        let mut cur = m.root;
        for _ in 0..10_000 {
            match self.dir_place(ctx.view, cur) {
                Some((up, name)) if up != cur => {
                    parts.push(name);
                    cur = up;
                }
                _ => break,
            }
        }
        let mut out = Vec::new();
        for p in parts.iter().rev() {
            out.push(b'/');
            out.extend_from_slice(p);
        }
        if out.is_empty() { b"/".to_vec() } else { out }
    }
}

impl Vfs {
    /// st_dev of the file system that holds an inode.
    pub fn dev_number(&self, ino: Ino) -> u64 {
        self.fs(ino).map_or(0, |f| f.dev)
    }
}
