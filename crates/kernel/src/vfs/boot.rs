//! Putting a world's file system together: the root over the image, the files of the cover, and what a Debian server mounts.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::inode::{Fs, FsKind, Node, Xattrs};
use super::mount::{MountTable, ms};
use super::pmap::PMap;
use super::stamps::Stamps;
use super::types::*;
use super::{Vfs, ent};
use crate::image::Image;
use crate::object::{LazyContent, Objects};
use crate::sysfs::facts::Facts;
use crate::{Errno, KResult};

/// What a cover file holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// A directory.
    Dir,
    /// These bytes.
    Bytes(Arc<[u8]>),
    /// Content number `index` of the cover's `LazyContent`, `len` bytes.
    Lazy {
        /// Which.
        index: u32,
        /// How many bytes it will be.
        len: u64,
    },
    /// A symbolic link.
    Link(Vec<u8>),
    /// A device, FIFO or socket: type bits and device number.
    Node(u32, u64),
    /// Nothing: what the image has there is gone.
    Gone,
}

/// One file of the cover layer.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct CoverFile {
    /// Absolute path; missing parents are made (root's, 0755).
    pub path: Vec<u8>,
    /// Permission bits; ignored for links.
    pub perm: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Timespec,
    /// When it was last read.
    pub atime: Timespec,
    pub content: Content,
    /// Id of the bait that it is: reading it is a fact of its own.
    pub bait: Option<Arc<str>>,
}

impl CoverFile {
    /// A file of root's that is no bait and was last read when it was written.
    pub fn new(path: impl Into<Vec<u8>>, perm: u32, mtime: Timespec, content: Content) -> CoverFile {
        CoverFile {
            path: path.into(),
            perm,
            uid: 0,
            gid: 0,
            mtime,
            atime: mtime,
            content,
            bait: None,
        }
    }
}

/// What a file system is made from.
#[derive(Clone, Default)]
pub struct Plan {
    /// The image below the root; `None`: an empty root.
    pub image: Option<Arc<Image>>,
    /// Maker of lazy content.
    pub lazy: Option<Arc<dyn LazyContent>>,
    /// st_dev of the root (`makedev(8, 1)`), and its device's name (`/dev/sda1`).
    pub root_dev: u64,
    /// `/dev/sda1`.
    pub root_source: String,
    /// Super options behind `rw` (`errors=remount-ro`).
    pub root_options: String,
    /// Size of the root file system in 4 KiB blocks, without ext4's own tables, and its inodes.
    pub blocks: u64,
    /// Of these, in use by what the image does not show (journal and the like).
    pub blocks_used: u64,
    /// Inodes of the root file system.
    pub files: u64,
    /// Time at which the root file system was made.
    pub installed: Timespec,
    /// Times of what the image holds.
    pub stamps: Arc<Stamps>,
    /// Time of boot.
    pub booted: Timespec,
    /// Pages the world may own in files and shared memory; inodes it may make.
    pub limit_pages: u64,
    /// Inodes it may make.
    pub limit_inodes: u64,
}

const NSNDNE: u32 = ms::NOSUID | ms::NODEV | ms::NOEXEC | ms::RELATIME;

/// One line of the standard mounts: type, place, source, flags, options, minor of st_dev, magic, mode of the root.
struct Standard(
    &'static str,
    &'static str,
    &'static str,
    u32,
    &'static str,
    u32,
    u64,
    u32,
);

const STANDARD: &[Standard] = &[
    Standard("sysfs", "/sys", "sysfs", NSNDNE, "", 20, 0x6265_6572, 0o555),
    Standard("proc", "/proc", "proc", NSNDNE, "", 21, 0x9fa0, 0o555),
    Standard(
        "devtmpfs",
        "/dev",
        "udev",
        ms::NOSUID | ms::RELATIME,
        "size=@DEVk,nr_inodes=@DEVN,mode=755,inode64",
        5,
        0x0102_1994,
        0o755,
    ),
    Standard(
        "devpts",
        "/dev/pts",
        "devpts",
        ms::NOSUID | ms::NOEXEC | ms::RELATIME,
        "gid=5,mode=620,ptmxmode=000",
        22,
        0x1cd1,
        0o755,
    ),
    Standard(
        "tmpfs",
        "/run",
        "tmpfs",
        NSNDNE,
        "size=@RUNk,mode=755,inode64",
        23,
        0x0102_1994,
        0o755,
    ),
    Standard(
        "securityfs",
        "/sys/kernel/security",
        "securityfs",
        NSNDNE,
        "",
        6,
        0x7363_6673,
        0o755,
    ),
    Standard(
        "tmpfs",
        "/dev/shm",
        "tmpfs",
        ms::NOSUID | ms::NODEV,
        "inode64",
        24,
        0x0102_1994,
        0o1777,
    ),
    Standard(
        "tmpfs",
        "/run/lock",
        "tmpfs",
        NSNDNE,
        "size=5120k,inode64",
        25,
        0x0102_1994,
        0o1777,
    ),
    Standard(
        "cgroup2",
        "/sys/fs/cgroup",
        "cgroup2",
        NSNDNE,
        "nsdelegate,memory_recursiveprot",
        26,
        0x6367_7270,
        0o755,
    ),
    Standard(
        "pstore",
        "/sys/fs/pstore",
        "pstore",
        NSNDNE,
        "",
        27,
        0x6165_676c,
        0o750,
    ),
    Standard(
        "bpf",
        "/sys/fs/bpf",
        "bpf",
        NSNDNE,
        "mode=700",
        28,
        0xcafe_4a11,
        0o1700,
    ),
    Standard(
        "autofs",
        "/proc/sys/fs/binfmt_misc",
        "systemd-1",
        ms::RELATIME,
        "fd=30,pgrp=1,timeout=0,minproto=5,maxproto=5,direct,pipe_ino=11041",
        29,
        0x0187,
        0o755,
    ),
    Standard(
        "hugetlbfs",
        "/dev/hugepages",
        "hugetlbfs",
        ms::RELATIME,
        "pagesize=2M",
        30,
        0x958458f6,
        0o755,
    ),
    Standard(
        "mqueue",
        "/dev/mqueue",
        "mqueue",
        NSNDNE,
        "",
        19,
        0x1980_0202,
        0o1777,
    ),
    Standard(
        "debugfs",
        "/sys/kernel/debug",
        "debugfs",
        NSNDNE,
        "",
        7,
        0x6462_6720,
        0o700,
    ),
    Standard(
        "tracefs",
        "/sys/kernel/tracing",
        "tracefs",
        NSNDNE,
        "",
        12,
        0x7472_6163,
        0o700,
    ),
    Standard(
        "fusectl",
        "/sys/fs/fuse/connections",
        "fusectl",
        NSNDNE,
        "",
        31,
        0x6573_5543,
        0o755,
    ),
    Standard(
        "configfs",
        "/sys/kernel/config",
        "configfs",
        NSNDNE,
        "",
        32,
        0x6265_6570,
        0o755,
    ),
];

impl Vfs {
    /// Objects, and no file system or mount yet.
    pub(super) fn bare(objects: Objects) -> Vfs {
        Vfs {
            fses: Vec::new(),
            mounts: Arc::new(MountTable {
                next: 27,
                ..MountTable::default()
            }),
            objects,
            holds: PMap::new(),
            locks: Default::default(),
            watched: BTreeMap::new(),
            events: Vec::new(),
            changes: Vec::new(),
            dirty: BTreeSet::new(),
            woken: Vec::new(),
            effects: Vec::new(),
            sysctls: PMap::new(),
            cookie: 0,
            next_anon_dev: 40,
            recording: false,
            baits: Arc::default(),
            inode_budget: u64::MAX,
        }
    }

    /// A file system with only its root mounted.
    pub fn new(plan: Plan) -> Vfs {
        let mut v = Vfs::bare(Objects::new(
            plan.image.clone(),
            plan.lazy.clone(),
            plan.limit_pages,
        ));
        let used: u64 = plan.image.as_ref().map_or(0, |image| {
            (1..=image.inode_count())
                .filter_map(|n| image.inode(crate::image::Ino::new(n)).ok())
                .map(|m| m.blocks() / 8)
                .sum()
        });
        v.add_fs(|id| {
            let mut fs = match &plan.image {
                Some(image) => {
                    let stamps = plan.stamps.clone();
                    Fs::over_image(id, image.clone(), plan.root_dev, plan.installed, stamps)
                }
                None => Fs::new(id, FsKind::Ext4, "ext4", plan.root_dev, 0xef53, plan.installed),
            };
            fs.blocks = plan.blocks;
            fs.blocks_used = used + plan.blocks_used;
            fs.blocks_reserved = plan.blocks / 20;
            fs.files = plan.files;
            // The installer put its directories there.
            let root = fs.root_num();
            if let Ok(i) = fs.inode_mut(root) {
                (i.mtime, i.ctime) = (plan.installed, plan.installed);
            }
            fs
        });
        v.mount_root(&plan);
        v.inode_budget = plan.limit_inodes;
        v
    }

    /// Mounts everything else that a running Debian server has, fills /dev, and begins to record changes.
    /// The view is asked for facts and interfaces.
    pub fn mount_standard(&mut self, ctx: &Ctx) -> KResult<()> {
        let facts = ctx.view.facts().clone();
        let dev_kib = (facts.memory / 2048).saturating_sub(20 * 1024).max(1024);
        let run_kib = (facts.memory / 10240) & !3;
        let mut shared = 2;
        for s in STANDARD {
            let &Standard(fstype, place, source, flags, options, minor, magic, perm) = s;
            let options = options
                .replace("@DEVk", &format!("{dev_kib}k"))
                .replace("@DEVN", &(dev_kib / 4).to_string())
                .replace("@RUNk", &format!("{run_kib}k"));
            self.ensure_dir(ctx, place.as_bytes());
            let Ok(at) = self.walk(ctx, ctx.root, place.as_bytes(), 0) else {
                continue;
            };
            let dev = makedev(0, minor);
            let now = ctx.now;
            let (kind, blocks, files) = match fstype {
                "proc" => (FsKind::Proc, 0, 0),
                "devtmpfs" => (FsKind::Tmpfs, dev_kib / 4, dev_kib / 4),
                "devpts" => (FsKind::Devpts, 0, 0),
                "tmpfs" if place == "/run" => (FsKind::Tmpfs, run_kib / 4, facts.memory / 4096 / 10 * 2),
                "tmpfs" if place == "/run/lock" => (FsKind::Tmpfs, 1280, facts.memory / 8192),
                "hugetlbfs" | "mqueue" => (FsKind::Tmpfs, 0, 0),
                "tmpfs" => (FsKind::Tmpfs, facts.memory / 8192, facts.memory / 8192),
                _ => (
                    FsKind::Tree(Arc::new(crate::sysfs::tree(
                        fstype,
                        &facts,
                        &ctx.view.nics(),
                        perm,
                    ))),
                    0,
                    0,
                ),
            };
            let id = self.add_fs(|id| {
                let mut fs = Fs::new(id, kind, fstype, dev, magic, now);
                (fs.blocks, fs.files) = (blocks, files);
                if let Ok(i) = if fs.has_inodes() {
                    fs.inode_mut(1)
                } else {
                    Err(Errno::EPERM)
                } {
                    i.mode = mode::IFDIR | perm;
                }
                fs
            });
            let root = Ino::new(id, 1);
            shared += 1;
            let id = self.attach(&at, root, flags, source, fstype, &options, shared);
            if fstype == "tmpfs" && place == "/run" {
                // The initramfs mounts these before the root: they have lower ids and stand first.
                let t = Arc::make_mut(&mut self.mounts);
                t.next = id.0 + 2;
                if !t.list.is_empty() {
                    let root = t.list.remove(0);
                    t.list.push(root);
                }
            }
        }
        self.fill_dev(ctx, &facts);
        self.recording = true;
        Ok(())
    }

    fn ensure_dir(&mut self, ctx: &Ctx, path: &[u8]) {
        if self.walk(ctx, ctx.root, path, 0).is_ok() {
            return;
        }
        let f = CoverFile::new(path, 0o755, ctx.now, Content::Dir);
        // A place inside a fixed tree that is missing is no mount.
        let _ = self.put(ctx, &f);
    }

    /// A tmpfs that is not yet mounted.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn make_tmpfs(
        &mut self,
        name: &'static str,
        perm: u32,
        uid: u32,
        gid: u32,
        blocks: u64,
        files: u64,
        now: Timespec,
    ) -> FsId {
        let dev = makedev(0, self.next_anon_dev);
        self.next_anon_dev += 1;
        self.add_fs(|id| {
            let mut fs = Fs::new(id, FsKind::Tmpfs, name, dev, 0x0102_1994, now);
            (fs.blocks, fs.files) = (blocks, files);
            if let Ok(i) = fs.inode_mut(1) {
                (i.mode, i.uid, i.gid) = (mode::IFDIR | perm, uid, gid);
            }
            fs
        })
    }

    /// Mounts the runtime directory of a user, as pam_systemd does at login.
    pub fn mount_user_runtime(&mut self, ctx: &Ctx, uid: u32, gid: u32) -> KResult<()> {
        let path = format!("/run/user/{uid}");
        if self
            .walk(ctx, ctx.root, path.as_bytes(), 0)
            .is_ok_and(|p| self.mounts.get(p.mnt).is_some_and(|m| m.root == p.ino))
        {
            return Ok(());
        }
        self.ensure_dir(ctx, path.as_bytes());
        let at = self.walk(ctx, ctx.root, path.as_bytes(), 0)?;
        let kib = (ctx.view.facts().memory / 10240) & !3;
        let id = self.make_tmpfs("tmpfs", 0o700, uid, gid, kib / 4, kib / 4, ctx.now);
        let ids = if uid == 0 {
            String::new()
        } else {
            format!(",uid={uid},gid={gid}")
        };
        let options = format!("size={kib}k,nr_inodes={},mode=700{ids},inode64", kib / 4);
        let shared = self.mounts.iter().map(|m| m.shared).max().unwrap_or(0) + 1;
        self.attach(
            &at,
            Ino::new(id, 1),
            ms::NOSUID | ms::NODEV | ms::RELATIME,
            "tmpfs",
            "tmpfs",
            &options,
            shared,
        );
        Ok(())
    }

    /// Writes one file of the cover: no permission is asked, no change recorded. Replaces what is there.
    pub fn put(&mut self, ctx: &Ctx, f: &CoverFile) -> KResult<()> {
        let recording = std::mem::replace(&mut self.recording, false);
        let done = self.put_inner(ctx, f);
        self.recording = recording;
        done
    }

    fn put_inner(&mut self, ctx: &Ctx, f: &CoverFile) -> KResult<()> {
        let mut dir = self.root_path();
        let parts: Vec<&[u8]> = f.path.split(|&c| c == b'/').filter(|p| !p.is_empty()).collect();
        let Some((last, parents)) = parts.split_last() else {
            return Err(Errno::EINVAL);
        };
        let root = self.root_path();
        let creds = Creds::root();
        let ctx = &Ctx {
            creds: &creds,
            umask: 0,
            root: &root,
            cwd: &root,
            // What lies there since long was made then, not when the world began.
            now: f.mtime,
            ..*ctx
        };
        for part in parents {
            // Parents may be links (`/bin`, `/var/run`).
            dir = match self.walk(ctx, &dir, part, wflag::DIRECTORY) {
                Ok(p) => p,
                Err(Errno::ENOENT) => {
                    self.place_node(ctx, &dir, &Name::from(*part), mode::IFDIR | 0o755, 0)?
                }
                Err(e) => return Err(e),
            };
        }
        let before = self.attr(ctx.view, dir.ino)?.mtime;
        if self.attr(ctx.view, dir.ino)?.btime.is_some_and(|b| b > f.mtime) {
            self.fs_mut(dir.ino)?.inode_mut(dir.ino.num())?.btime = f.mtime;
        }
        let done = self.put_at(ctx, &dir, Name::from(*last), f);
        if before > f.mtime && self.attr(ctx.view, dir.ino)?.mtime != before {
            let i = self.fs_mut(dir.ino)?.inode_mut(dir.ino.num())?;
            (i.mtime, i.ctime) = (before, before);
        }
        done
    }

    fn put_at(&mut self, ctx: &Ctx, dir: &Path, name: Name, f: &CoverFile) -> KResult<()> {
        let root = self.root_path();
        let old = self.child(ctx, dir, &name)?;
        if let Some(p) = &old {
            let a = self.attr(ctx.view, p.ino)?;
            match (&f.content, a.is_dir()) {
                (Content::Dir, true) => {}
                (Content::Gone, true) => return self.forget_tree(ctx, dir, p),
                (_, true) => return Err(Errno::EISDIR),
                _ => {
                    let path = f.path.clone();
                    self.unlink(ctx, &root, &path)?;
                }
            }
        }
        let full = match &f.content {
            Content::Gone => return Ok(()),
            Content::Dir => mode::IFDIR | f.perm,
            Content::Bytes(_) | Content::Lazy { .. } => mode::IFREG | f.perm,
            Content::Link(_) => mode::IFLNK | 0o777,
            Content::Node(kind, _) => kind & mode::IFMT | f.perm,
        };
        let rdev = if let Content::Node(_, dev) = f.content {
            dev
        } else {
            0
        };
        let p = match (&f.content, old) {
            (Content::Dir, Some(p)) => p,
            _ => self.place_node(ctx, dir, &name, full, rdev)?,
        };
        let object = match &f.content {
            Content::Bytes(b) => Some(self.objects.create_bytes(b.clone())),
            Content::Lazy { index, len } => Some(self.objects.create_lazy(*index, *len)),
            _ => None,
        };
        let blocks = object.map_or(0, |o| self.objects.pages_used(o));
        if let Some(o) = object
            && let Ok(empty) = self.object(p.ino)
        {
            self.objects.release(empty);
            self.fs_mut(p.ino)?.inode_mut(p.ino.num())?.node = Node::File(o);
        }
        let fs = self.fs_mut(p.ino)?;
        fs.blocks_used += blocks;
        let i = fs.inode_mut(p.ino.num())?;
        if let Content::Link(t) = &f.content {
            i.node = Node::Link(Name::from(t.as_slice()));
        }
        (i.mode, i.uid, i.gid) = (full, f.uid, f.gid);
        (i.atime, i.mtime, i.ctime) = (f.atime, f.mtime, f.mtime);
        // A directory is as old as the oldest thing in it, which may have been laid there first.
        i.btime = match f.content {
            Content::Dir => i.btime.min(f.mtime),
            _ => f.mtime.min(f.atime),
        };
        if let Some(id) = &f.bait {
            Arc::make_mut(&mut self.baits).insert(p.ino, id.clone());
        }
        Ok(())
    }

    fn forget_tree(&mut self, ctx: &Ctx, dir: &Path, p: &Path) -> KResult<()> {
        self.fs_mut(dir.ino)?
            .remove_entry(dir.ino.num(), &p.name, ctx.now)?;
        let i = self.fs_mut(p.ino)?.inode_mut(p.ino.num())?;
        i.nlink = 0;
        self.drop_if_dead(p.ino);
        Ok(())
    }

    /// Sets an extended attribute while the cover is written.
    pub fn put_xattr(&mut self, ino: Ino, name: &[u8], value: &[u8]) -> KResult<()> {
        let i = self.fs_mut(ino)?.inode_mut(ino.num())?;
        let x: &mut Xattrs = Arc::make_mut(i.xattrs.get_or_insert_default());
        x.insert(Name::from(name), Arc::from(value));
        Ok(())
    }

    /// A new terminal shows in /dev/pts: owner and time of its making.
    pub fn pts_add(&mut self, n: u32, uid: u32, now: Timespec) -> Option<Ino> {
        let fs = self.devpts()?;
        let num = n as u64 + 3;
        let rdev = makedev(136 + n / 256, n % 256);
        let mut i = fs.dir_inode(num, 1, Name::from([]), 0o620, uid, 5, now);
        (i.mode, i.rdev, i.node, i.nlink) = (mode::IFCHR | 0o620, rdev, Node::Special, 1);
        fs.inodes.insert(num, Arc::new(i));
        let name = Name::from(n.to_string().as_bytes());
        fs.add_entry(1, &name, ent(num, mode::IFCHR), now).ok()?;
        Some(Ino::new(fs.id, num))
    }

    /// A terminal is gone.
    pub fn pts_remove(&mut self, n: u32, now: Timespec) {
        if let Some(fs) = self.devpts() {
            let name = Name::from(n.to_string().as_bytes());
            if fs.remove_entry(1, &name, now).is_ok() {
                fs.inodes.remove(n as u64 + 3);
            }
        }
    }

    fn devpts(&mut self) -> Option<&mut Fs> {
        let slot = self
            .fses
            .iter_mut()
            .flatten()
            .find(|f| matches!(f.kind, FsKind::Devpts))?;
        Some(Arc::make_mut(slot))
    }

    fn fill_dev(&mut self, ctx: &Ctx, facts: &Facts) {
        let mut put = |path: String, perm: u32, gid: u32, content: Content| {
            let f = CoverFile {
                gid,
                ..CoverFile::new(path, perm, ctx.now, content)
            };
            let _ = self.put(ctx, &f);
        };
        let chr = |ma, mi| Content::Node(mode::IFCHR, makedev(ma, mi));
        let blk = |ma, mi| Content::Node(mode::IFBLK, makedev(ma, mi));
        let link = |t: &str| Content::Link(t.as_bytes().to_vec());
        for &(name, ma, mi, perm, gid) in CHAR_DEVICES {
            put(format!("/dev/{name}"), perm, gid, chr(ma, mi));
        }
        for n in 0..64 {
            put(
                format!("/dev/tty{n}"),
                if n == 1 { 0o600 } else { 0o620 },
                5,
                chr(4, n),
            );
        }
        for n in 0..4 {
            put(format!("/dev/ttyS{n}"), 0o660, 20, chr(4, 64 + n));
        }
        for n in 0..8 {
            let name = if n == 0 { String::new() } else { n.to_string() };
            put(format!("/dev/vcs{name}"), 0o660, 5, chr(7, n));
            put(format!("/dev/vcsu{name}"), 0o660, 5, chr(7, 64 + n));
            put(format!("/dev/vcsa{name}"), 0o660, 5, chr(7, 128 + n));
        }
        for n in 0..facts.cpu.count() {
            put(format!("/dev/cpu/{n}/cpuid"), 0o444, 0, chr(203, n));
            put(format!("/dev/cpu/{n}/msr"), 0o600, 0, chr(202, n));
        }
        for (name, target) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("core", "/proc/kcore"),
            ("rtc", "rtc0"),
            ("log", "/run/systemd/journal/dev-log"),
            ("initctl", "/run/initctl"),
        ] {
            put(format!("/dev/{name}"), 0o777, 0, link(target));
        }
        let d = &facts.disk;
        put(format!("/dev/{}", d.name), 0o660, 6, blk(d.major, 0));
        put(
            format!("/dev/block/{}:0", d.major),
            0o777,
            0,
            link(&format!("../{}", d.name)),
        );
        for p in &d.partitions {
            let name = d.part_name(p.number);
            put(format!("/dev/{name}"), 0o660, 6, blk(d.major, p.number));
            put(
                format!("/dev/block/{}:{}", d.major, p.number),
                0o777,
                0,
                link(&format!("../{name}")),
            );
            put(
                format!("/dev/disk/by-partuuid/{}-{:02x}", d.id, p.number),
                0o777,
                0,
                link(&format!("../../{name}")),
            );
            if !p.uuid.is_empty() {
                put(
                    format!("/dev/disk/by-uuid/{}", p.uuid),
                    0o777,
                    0,
                    link(&format!("../../{name}")),
                );
            }
        }
        for n in 0..8 {
            put(format!("/dev/loop{n}"), 0o660, 6, blk(7, n));
        }
        put("/dev/bsg".to_owned(), 0o755, 0, Content::Dir);
        put("/dev/input/mice".to_owned(), 0o660, 104, chr(13, 63));
        put("/dev/net/tun".to_owned(), 0o666, 0, chr(10, 200));
        put("/dev/mapper/control".to_owned(), 0o600, 0, chr(10, 236));
        put("/dev/snd/seq".to_owned(), 0o660, 29, chr(116, 1));
        put("/dev/snd/timer".to_owned(), 0o660, 29, chr(116, 33));
        put("/dev/vfio/vfio".to_owned(), 0o600, 0, chr(10, 196));
        put("/dev/pts/ptmx".to_owned(), 0o000, 0, chr(5, 2));
    }
}

/// Name, major, minor, mode, group of character devices of a small virtual machine.
const CHAR_DEVICES: &[(&str, u32, u32, u32, u32)] = &[
    ("null", 1, 3, 0o666, 0),
    ("zero", 1, 5, 0o666, 0),
    ("full", 1, 7, 0o666, 0),
    ("random", 1, 8, 0o666, 0),
    ("urandom", 1, 9, 0o666, 0),
    ("mem", 1, 1, 0o640, 15),
    ("port", 1, 4, 0o640, 15),
    ("kmsg", 1, 11, 0o644, 0),
    ("tty", 5, 0, 0o666, 5),
    ("console", 5, 1, 0o600, 5),
    ("ptmx", 5, 2, 0o666, 5),
    ("autofs", 10, 235, 0o600, 0),
    ("btrfs-control", 10, 234, 0o600, 0),
    ("cpu_dma_latency", 10, 124, 0o600, 0),
    ("cuse", 10, 203, 0o600, 0),
    ("fuse", 10, 229, 0o666, 0),
    ("hpet", 10, 228, 0o600, 0),
    ("hwrng", 10, 183, 0o600, 0),
    ("loop-control", 10, 237, 0o660, 6),
    ("nvram", 10, 144, 0o600, 0),
    ("ppp", 108, 0, 0o600, 0),
    ("psaux", 10, 1, 0o660, 0),
    ("rfkill", 10, 242, 0o664, 0),
    ("rtc0", 249, 0, 0o600, 0),
    ("snapshot", 10, 231, 0o660, 0),
    ("uhid", 10, 239, 0o600, 0),
    ("uinput", 10, 223, 0o600, 0),
    ("userfaultfd", 10, 126, 0o600, 0),
    ("vga_arbiter", 10, 63, 0o660, 0),
    ("vhci", 10, 137, 0o600, 0),
    ("vhost-net", 10, 238, 0o600, 0),
    ("vhost-vsock", 10, 241, 0o600, 0),
];
