//! File systems with inodes of their own: the ext4 root (image below, changes above), tmpfs, devtmpfs, devpts.
//!
//! An inode of the image that nobody changed has no entry in `Fs::inodes`: its attributes are read from the image. The first change
//! makes an entry (`Fs::inode_mut`). A directory keeps only its differences from the image: names removed, names added.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use turncoat_freeze::Freeze;

use super::pmap::PMap;
use super::stamps::{Stamps, Times};
use super::tree::Tree;
use super::types::{FsId, Ino, Name, Timespec, mode};
use crate::image::{self, Image};
use crate::object::ObjectId;
use crate::{Errno, KResult};

/// What kind of file system an instance is.
#[derive(Clone, Freeze)]
pub enum FsKind {
    /// The root: image, then changes.
    Ext4,
    /// tmpfs and its like.
    Tmpfs,
    /// Terminals.
    Devpts,
    /// procfs.
    Proc,
    /// A fixed tree of attributes (sysfs, cgroup2, debugfs, …).
    Tree(Arc<Tree>),
}

/// Attributes of an inode, as `stat` needs them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Attr {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    pub rdev: u64,
    pub size: u64,
    pub blocks: u64,
    pub atime: Timespec,
    pub mtime: Timespec,
    pub ctime: Timespec,
    pub btime: Option<Timespec>,
    /// FS_*_FL.
    pub flags: u32,
}

impl Attr {
    /// S_IFMT bits.
    pub fn kind(&self) -> u32 {
        self.mode & mode::IFMT
    }
    /// True for a directory.
    pub fn is_dir(&self) -> bool {
        self.kind() == mode::IFDIR
    }
    /// True for a symbolic link.
    pub fn is_link(&self) -> bool {
        self.kind() == mode::IFLNK
    }
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Freeze)]
pub(super) struct Ent {
    pub num: u64,
    pub dtype: u8,
}

/// What a directory holds beyond its listing in the image.
#[derive(Clone, Debug, Freeze)]
pub(super) struct Dir {
    pub parent: u64,
    pub name: Name,
    pub base: Option<u32>,
    pub removed: BTreeSet<Name>,
    pub added: BTreeMap<(u64, Name), Ent>,
    /// Live entries.
    pub count: u64,
    /// Bytes of live entries in ext4's format, and the most there ever were.
    pub bytes: u64,
    pub peak: u64,
}

/// What an inode is.
#[derive(Clone, Debug, Freeze)]
pub(super) enum Node {
    File(ObjectId),
    Dir(Box<Dir>),
    Link(Name),
    Special,
}

/// Extended attributes by full name.
pub(super) type Xattrs = BTreeMap<Name, Arc<[u8]>>;

/// An inode that exists in memory.
#[derive(Clone, Debug, Freeze)]
pub(super) struct Inode {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    pub rdev: u64,
    pub flags: u32,
    pub generation: u32,
    pub atime: Timespec,
    pub mtime: Timespec,
    pub ctime: Timespec,
    pub btime: Timespec,
    pub xattrs: Option<Arc<Xattrs>>,
    pub node: Node,
}

/// One file system instance.
#[derive(Clone, Freeze)]
pub struct Fs {
    pub(super) id: FsId,
    pub(super) kind: FsKind,
    /// st_dev.
    pub(super) dev: u64,
    /// Name of the type, as mounts show it.
    pub(super) type_name: &'static str,
    pub(super) magic: u64,
    pub(super) image: Option<Arc<Image>>,
    pub(super) inodes: PMap<Arc<Inode>>,
    /// Access times of image inodes that have nothing else changed.
    pub(super) atimes: PMap<Timespec>,
    /// Attributes of a fixed tree that were written.
    pub(super) texts: PMap<Arc<[u8]>>,
    pub(super) next: u64,
    pub(super) free: BTreeSet<u64>,
    pub(super) seed: u64,
    /// Time of its making.
    pub(super) made: Timespec,
    /// Times of what the image holds.
    pub(super) stamps: Arc<Stamps>,
    /// In blocks of 4 KiB / in inodes.
    pub(super) blocks: u64,
    pub(super) blocks_used: u64,
    pub(super) blocks_reserved: u64,
    pub(super) files: u64,
    pub(super) files_used: u64,
}

/// Reserved inode numbers of ext4 end before this one; 11 is lost+found.
const FIRST_INO: u64 = 12;

impl Fs {
    /// An empty file system whose root has these owners and this mode.
    pub(super) fn new(
        id: FsId,
        kind: FsKind,
        type_name: &'static str,
        dev: u64,
        magic: u64,
        now: Timespec,
    ) -> Fs {
        let mut fs = Fs {
            id,
            kind,
            dev,
            type_name,
            magic,
            image: None,
            inodes: PMap::new(),
            atimes: PMap::new(),
            texts: PMap::new(),
            next: 2,
            free: BTreeSet::new(),
            seed: 0x9e37_79b9_7f4a_7c15 ^ dev,
            made: now,
            stamps: Arc::default(),
            blocks: 0,
            blocks_used: 0,
            blocks_reserved: 0,
            files: 0,
            files_used: 1,
        };
        if fs.is_ext4() {
            fs.next = FIRST_INO;
        }
        let root = fs.root_num();
        if fs.has_inodes() {
            fs.inodes.insert(
                root,
                Arc::new(fs.new_dir(root, root, Name::from([]), 0o755, 0, 0, now)),
            );
        }
        fs
    }

    /// The ext4 root over an image.
    pub(super) fn over_image(
        id: FsId,
        image: Arc<Image>,
        dev: u64,
        made: Timespec,
        stamps: Arc<Stamps>,
    ) -> Fs {
        let mut fs = Fs::new(id, FsKind::Ext4, "ext4", dev, 0xef53, made);
        fs.inodes = PMap::new();
        fs.next = FIRST_INO - 1 + image.inode_count() as u64;
        fs.files_used = image.inode_count() as u64 + 10;
        fs.image = Some(image);
        fs.stamps = match stamps.placed {
            0 => Arc::new(Stamps {
                placed: made.sec,
                ..Stamps::clone(&stamps)
            }),
            _ => stamps,
        };
        fs
    }

    pub(super) fn is_ext4(&self) -> bool {
        matches!(self.kind, FsKind::Ext4)
    }

    /// True if it keeps inodes that can be made and removed.
    pub(super) fn has_inodes(&self) -> bool {
        matches!(self.kind, FsKind::Ext4 | FsKind::Tmpfs | FsKind::Devpts)
    }

    pub(super) fn root_num(&self) -> u64 {
        if self.is_ext4() { 2 } else { 1 }
    }

    /// The root inode.
    pub(super) fn root(&self) -> Ino {
        Ino::new(self.id, self.root_num())
    }

    fn num_of(n: u32) -> u64 {
        if n == 1 { 2 } else { n as u64 + FIRST_INO - 2 }
    }

    /// The image's inode that shows as `num`.
    pub(super) fn lower(&self, num: u64) -> Option<(&Image, image::Ino)> {
        let image = self.image.as_deref()?;
        let n = if num == 2 {
            1
        } else {
            num.checked_sub(FIRST_INO - 2).filter(|&n| n >= 2)?
        };
        (n <= image.inode_count() as u64).then_some((image, image::Ino::new(n as u32)))
    }

    /// Order of names in a directory, and position in getdents.
    pub(super) fn hash(&self, name: &[u8]) -> u64 {
        let mut h = self.seed;
        for &b in name {
            h = (h ^ b as u64).wrapping_mul(0x100_0000_01b3);
            h ^= h >> 29;
        }
        h = (h ^ h >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
        (h >> 2).max(4)
    }

    #[allow(clippy::too_many_arguments)]
    fn new_dir(
        &self,
        _num: u64,
        parent: u64,
        name: Name,
        perm: u32,
        uid: u32,
        gid: u32,
        now: Timespec,
    ) -> Inode {
        let dir = Dir {
            parent,
            name,
            base: None,
            removed: BTreeSet::new(),
            added: BTreeMap::new(),
            count: 0,
            bytes: 0,
            peak: 0,
        };
        Inode {
            mode: mode::IFDIR | perm & 0o7777,
            uid,
            gid,
            nlink: 2,
            rdev: 0,
            flags: 0,
            generation: 0,
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            xattrs: None,
            node: Node::Dir(Box::new(dir)),
        }
    }

    /// A directory inode, not yet stored.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn dir_inode(
        &self,
        num: u64,
        parent: u64,
        name: Name,
        perm: u32,
        uid: u32,
        gid: u32,
        now: Timespec,
    ) -> Inode {
        self.new_dir(num, parent, name, perm, uid, gid, now)
    }

    /// The lowest free inode number.
    pub(super) fn take_num(&mut self) -> KResult<u64> {
        if self.files != 0 && self.files_used >= self.files {
            return Err(Errno::ENOSPC);
        }
        self.files_used += 1;
        Ok(match self.free.pop_first() {
            Some(n) => n,
            None => {
                self.next += 1;
                self.next - 1
            }
        })
    }

    pub(super) fn give_num(&mut self, num: u64) {
        self.files_used = self.files_used.saturating_sub(1);
        // Numbers of the image are not used again: they would name its content.
        if self.lower(num).is_none() && self.is_ext4() {
            self.free.insert(num);
        }
    }

    /// Bytes of a directory on ext4 whose entries take so many.
    fn ext4_dir_size(entries: u64) -> u64 {
        (entries + 36).div_ceil(4096) * 4096
    }

    fn dir_size(&self, d: &Dir) -> u64 {
        if self.is_ext4() {
            Self::ext4_dir_size(d.peak)
        } else {
            40 + d.count * 20
        }
    }

    fn lower_times(&self, num: u64, n: image::Ino, m: &image::InodeMeta) -> Times {
        let times = self.stamps.of(n.number(), m);
        Times {
            atime: self.atimes.get(num).copied().unwrap_or(times.atime),
            ..times
        }
    }

    /// Attributes of inode `num`; sizes of files need the objects, so `size` is given by `len`.
    pub(super) fn attr(&self, num: u64, len: impl Fn(ObjectId) -> (u64, u64)) -> KResult<Attr> {
        if let Some(i) = self.inodes.get(num) {
            let (size, blocks) = match &i.node {
                Node::File(o) => {
                    let (size, pages) = len(*o);
                    (size, pages * 8)
                }
                Node::Dir(d) => {
                    let s = self.dir_size(d);
                    (s, if self.is_ext4() { s / 512 } else { 0 })
                }
                Node::Link(t) => (
                    t.len() as u64,
                    if self.is_ext4() && t.len() >= 60 { 8 } else { 0 },
                ),
                Node::Special => (0, 0),
            };
            return Ok(Attr {
                mode: i.mode,
                uid: i.uid,
                gid: i.gid,
                nlink: i.nlink,
                rdev: i.rdev,
                size,
                blocks,
                atime: i.atime,
                mtime: i.mtime,
                ctime: i.ctime,
                btime: Some(i.btime),
                flags: i.flags,
            });
        }
        let (image, n) = self.lower(num).ok_or(Errno::ENOENT)?;
        let m = image.inode(n).map_err(|_| Errno::EIO)?;
        let times = self.lower_times(num, n, m);
        let (size, blocks) = match m.kind {
            image::Kind::Dir => {
                let s = Self::ext4_dir_size(image.dir_bytes(n));
                (s, s / 512)
            }
            _ => (m.size, m.blocks()),
        };
        Ok(Attr {
            mode: m.mode(),
            uid: m.uid,
            gid: m.gid,
            nlink: m.nlink,
            rdev: super::types::makedev(m.rdev.0, m.rdev.1),
            size,
            blocks,
            atime: times.atime,
            mtime: times.mtime,
            ctime: times.ctime,
            btime: Some(times.born),
            flags: 0,
        })
    }

    /// The entry `name` of directory `num`.
    pub(super) fn lookup(&self, num: u64, name: &[u8]) -> KResult<Option<Ent>> {
        if let Some(i) = self.inodes.get(num) {
            let Node::Dir(d) = &i.node else {
                return Err(Errno::ENOTDIR);
            };
            let key = (self.hash(name), Name::from(name));
            if let Some(e) = d.added.get(&key) {
                return Ok(Some(*e));
            }
            if d.base.is_none() || d.removed.contains(&key.1) {
                return Ok(None);
            }
        }
        let Some((image, n)) = self.lower(num) else {
            return Err(Errno::ENOENT);
        };
        let found = image.lookup(n, name).map_err(|_| Errno::ENOTDIR)?;
        Ok(match found {
            Some(c) => {
                let kind = image.inode(c).map_err(|_| Errno::EIO)?.kind as u32;
                Some(Ent {
                    num: Self::num_of(c.number()),
                    dtype: (kind >> 12) as u8,
                })
            }
            None => None,
        })
    }

    /// Entries of directory `num` behind position `pos`, in order.
    pub(super) fn entries(&self, num: u64, pos: u64) -> KResult<Vec<(u64, Name, Ent)>> {
        let mut out: Vec<(u64, Name, Ent)> = Vec::new();
        let mut dir = None;
        if let Some(i) = self.inodes.get(num) {
            let Node::Dir(d) = &i.node else {
                return Err(Errno::ENOTDIR);
            };
            dir = Some(d);
            // A bounded part of what was added: the caller asks again from the last position.
            let from = (pos.saturating_add(1), Name::from([]));
            out.extend(
                d.added
                    .range(from..)
                    .take(4096)
                    .map(|((h, n), e)| (*h, n.clone(), *e)),
            );
        }
        let cut = if out.len() == 4096 {
            out.last().map_or(u64::MAX, |e| e.0)
        } else {
            u64::MAX
        };
        if dir.is_none_or(|d| d.base.is_some())
            && let Some((image, n)) = self.lower(num)
        {
            for e in image.readdir(n).map_err(|_| Errno::ENOTDIR)? {
                let h = self.hash(e.name);
                if h <= pos || h > cut || dir.is_some_and(|d| d.removed.contains(e.name)) {
                    continue;
                }
                let ent = Ent {
                    num: Self::num_of(e.ino.number()),
                    dtype: (e.kind as u32 >> 12) as u8,
                };
                out.push((h, Name::from(e.name), ent));
            }
        }
        out.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        Ok(out)
    }

    /// Number of live entries.
    pub(super) fn count(&self, num: u64) -> u64 {
        match self.inodes.get(num).map(|i| &i.node) {
            Some(Node::Dir(d)) => d.count,
            Some(_) => 0,
            None => self
                .lower(num)
                .and_then(|(i, n)| i.inode(n).ok())
                .map_or(0, |m| m.size),
        }
    }

    /// Parent and name of directory `num` (itself and empty for the root).
    pub(super) fn dir_place(&self, num: u64) -> Option<(u64, Name)> {
        if let Some(i) = self.inodes.get(num) {
            let Node::Dir(d) = &i.node else { return None };
            return Some((d.parent, d.name.clone()));
        }
        let (image, n) = self.lower(num)?;
        let parent = image.parent(n).ok()?;
        if parent == n {
            return Some((num, Name::from([])));
        }
        let name = image
            .readdir(parent)
            .ok()?
            .find(|e| e.ino == n)
            .map(|e| Name::from(e.name))?;
        Some((Self::num_of(parent.number()), name))
    }

    /// Target of symbolic link `num`.
    pub(super) fn readlink(&self, num: u64) -> KResult<Name> {
        if let Some(i) = self.inodes.get(num) {
            return match &i.node {
                Node::Link(t) => Ok(t.clone()),
                _ => Err(Errno::EINVAL),
            };
        }
        let (image, n) = self.lower(num).ok_or(Errno::ENOENT)?;
        image.readlink(n).map(Name::from).map_err(|_| Errno::EINVAL)
    }

    /// The object with the content of file `num`.
    pub(super) fn object(&self, num: u64) -> KResult<ObjectId> {
        if let Some(i) = self.inodes.get(num) {
            return match &i.node {
                Node::File(o) => Ok(*o),
                Node::Dir(_) => Err(Errno::EISDIR),
                _ => Err(Errno::EINVAL),
            };
        }
        let (image, n) = self.lower(num).ok_or(Errno::ENOENT)?;
        match image.inode(n).map_err(|_| Errno::EIO)?.kind {
            image::Kind::File => Ok(ObjectId::lower(n.number())),
            image::Kind::Dir => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Inode `num` for change.
    pub(super) fn inode_mut(&mut self, num: u64) -> KResult<&mut Inode> {
        if !self.inodes.contains(num) {
            let made = self.copy_up(num)?;
            self.inodes.insert(num, Arc::new(made));
            self.atimes.remove(num);
        }
        self.inodes.get_mut(num).map(Arc::make_mut).ok_or(Errno::ENOENT)
    }

    fn copy_up(&self, num: u64) -> KResult<Inode> {
        let (image, n) = self.lower(num).ok_or(Errno::ENOENT)?;
        let m = image.inode(n).map_err(|_| Errno::EIO)?;
        let Times {
            born,
            atime,
            mtime,
            ctime,
        } = self.lower_times(num, n, m);
        let node = match m.kind {
            image::Kind::File => Node::File(ObjectId::lower(n.number())),
            image::Kind::Symlink => Node::Link(Name::from(image.readlink(n).map_err(|_| Errno::EIO)?)),
            image::Kind::Dir => {
                let (parent, name) = self.dir_place(num).ok_or(Errno::EIO)?;
                let bytes = image.dir_bytes(n);
                Node::Dir(Box::new(Dir {
                    parent,
                    name,
                    base: Some(n.number()),
                    removed: BTreeSet::new(),
                    added: BTreeMap::new(),
                    count: m.size,
                    bytes,
                    peak: bytes,
                }))
            }
            _ => Node::Special,
        };
        let xattrs: Xattrs = image
            .xattrs(n)
            .map_err(|_| Errno::EIO)?
            .into_iter()
            .map(|(k, v)| (Name::from(k), Arc::from(v)))
            .collect();
        Ok(Inode {
            mode: m.mode(),
            uid: m.uid,
            gid: m.gid,
            nlink: m.nlink,
            rdev: super::types::makedev(m.rdev.0, m.rdev.1),
            flags: 0,
            generation: 0,
            atime,
            mtime,
            ctime,
            btime: born,
            xattrs: (!xattrs.is_empty()).then(|| Arc::new(xattrs)),
            node,
        })
    }

    /// True if POSIX ACLs can be set here.
    pub(super) fn has_acls(&self) -> bool {
        matches!(self.kind, FsKind::Ext4 | FsKind::Tmpfs)
    }

    /// All extended attributes of `num`.
    pub(super) fn xattrs(&self, num: u64) -> Arc<Xattrs> {
        if let Some(i) = self.inodes.get(num) {
            return i.xattrs.clone().unwrap_or_default();
        }
        let list = self
            .lower(num)
            .and_then(|(i, n)| i.xattrs(n).ok())
            .unwrap_or_default();
        Arc::new(
            list.into_iter()
                .map(|(k, v)| (Name::from(k), Arc::from(v)))
                .collect(),
        )
    }

    /// Enters `name` into directory `dir`. The caller has checked that it is not there.
    pub(super) fn add_entry(&mut self, dir: u64, name: &Name, ent: Ent, now: Timespec) -> KResult<()> {
        let key = (self.hash(name), name.clone());
        let i = self.inode_mut(dir)?;
        let Node::Dir(d) = &mut i.node else {
            return Err(Errno::ENOTDIR);
        };
        d.added.insert(key, ent);
        d.count += 1;
        d.bytes += image::dirent_bytes(name.len());
        d.peak = d.peak.max(d.bytes);
        (i.mtime, i.ctime) = (now, now);
        if ent.dtype == 4 {
            i.nlink += 1;
        }
        Ok(())
    }

    /// Takes `name` out of directory `dir`.
    pub(super) fn remove_entry(&mut self, dir: u64, name: &Name, now: Timespec) -> KResult<Ent> {
        let ent = self.lookup(dir, name)?.ok_or(Errno::ENOENT)?;
        let key = (self.hash(name), name.clone());
        let in_base = self
            .lower(dir)
            .is_some_and(|(i, n)| i.lookup(n, name).is_ok_and(|f| f.is_some()));
        let i = self.inode_mut(dir)?;
        let Node::Dir(d) = &mut i.node else {
            return Err(Errno::ENOTDIR);
        };
        d.added.remove(&key);
        if in_base && d.base.is_some() {
            d.removed.insert(name.clone());
        }
        d.count = d.count.saturating_sub(1);
        d.bytes = d.bytes.saturating_sub(image::dirent_bytes(name.len()));
        (i.mtime, i.ctime) = (now, now);
        if ent.dtype == 4 {
            i.nlink = i.nlink.saturating_sub(1);
        }
        Ok(ent)
    }
}
