//! The plain types of the file system: names of inodes, who asks, what `stat` says, flags as the ABI has them.

use std::sync::Arc;
use turncoat_freeze::Freeze;

use crate::proc::view::KernelView;

/// Index of a mounted file system instance.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Freeze)]
pub struct FsId(pub u16);

/// Index of an entry of the mount table (the number that mountinfo shows first).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Freeze)]
pub struct MountId(pub u32);

/// An inode anywhere: file system (top 12 bits) and number in it (52 bits).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Freeze)]
pub struct Ino(pub u64);

impl Ino {
    /// The inode `num` of file system `fs`.
    pub fn new(fs: FsId, num: u64) -> Ino {
        Ino((fs.0 as u64) << 52 | (num & ((1 << 52) - 1)))
    }
    /// The file system.
    pub fn fs(self) -> FsId {
        FsId((self.0 >> 52) as u16)
    }
    /// The number inside its file system.
    pub fn num(self) -> u64 {
        self.0 & ((1 << 52) - 1)
    }
}

impl std::fmt::Debug for Ino {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.fs().0, self.num())
    }
}

/// A file name or other short byte string, cheap to clone.
pub type Name = Arc<[u8]>;

/// A place in the tree: which mount, which inode, and under which name it was reached (for `/proc/PID/fd`, `getcwd`, the record).
/// A holder that keeps it must also `hold` the inode.
#[derive(Clone, PartialEq, Eq, Debug, Freeze)]
pub struct Path {
    /// The mount through which it was reached.
    pub mnt: MountId,
    /// The inode.
    pub ino: Ino,
    /// The directory that holds the name (the inode itself for a root).
    pub parent: Ino,
    /// The name in `parent`; empty for a root.
    pub name: Name,
}

/// Who asks, for permission checks: file-system ids and the effective capability set.
/// `access(2)` without AT_EACCESS is asked with real ids instead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Creds {
    /// fsuid.
    pub uid: u32,
    /// fsgid.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Arc<[u32]>,
    /// Effective capabilities, bit n = capability n.
    pub caps: u64,
}

impl Creds {
    /// The all-powerful caller.
    pub fn root() -> Creds {
        Creds {
            uid: 0,
            gid: 0,
            groups: Arc::from([]),
            caps: (1 << 41) - 1,
        }
    }
    /// True if capability number `cap` is in the effective set.
    pub fn capable(&self, cap: u32) -> bool {
        self.caps >> cap & 1 == 1
    }
    /// True if `gid` is the file-system group or a supplementary one.
    pub fn in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}

/// Capability numbers that the file system asks for (linux/capability.h).
#[allow(missing_docs)]
pub mod cap {
    pub const CHOWN: u32 = 0;
    pub const DAC_OVERRIDE: u32 = 1;
    pub const DAC_READ_SEARCH: u32 = 2;
    pub const FOWNER: u32 = 3;
    pub const FSETID: u32 = 4;
    pub const KILL: u32 = 5;
    pub const SETGID: u32 = 6;
    pub const SETUID: u32 = 7;
    pub const LINUX_IMMUTABLE: u32 = 9;
    pub const NET_ADMIN: u32 = 12;
    pub const SYS_CHROOT: u32 = 18;
    pub const SYS_PTRACE: u32 = 19;
    pub const SYS_ADMIN: u32 = 21;
    pub const SYS_RESOURCE: u32 = 24;
    pub const MKNOD: u32 = 27;
    pub const LEASE: u32 = 28;
    pub const SETFCAP: u32 = 31;
    pub const SYSLOG: u32 = 34;
}

/// What every file-system call is told about its caller. `view` answers for procfs and must not borrow the `Vfs`.
#[derive(Clone, Copy)]
pub struct Ctx<'a> {
    /// Ids and capabilities.
    pub creds: &'a Creds,
    /// Wall-clock time for time stamps.
    pub now: Timespec,
    /// File mode creation mask.
    pub umask: u32,
    /// The caller's root directory.
    pub root: &'a Path,
    /// The caller's working directory.
    pub cwd: &'a Path,
    /// The rest of the kernel, as procfs and sysfs show it.
    pub view: &'a dyn KernelView,
}

/// Seconds and nanoseconds since the epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Freeze)]
pub struct Timespec {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds, below 1e9.
    pub nsec: u32,
}

impl Timespec {
    /// `sec` whole seconds.
    pub fn secs(sec: i64) -> Timespec {
        Timespec { sec, nsec: 0 }
    }
}

/// File types and permission bits of `st_mode`.
#[allow(missing_docs)]
pub mod mode {
    pub const IFMT: u32 = 0o170000;
    pub const IFSOCK: u32 = 0o140000;
    pub const IFLNK: u32 = 0o120000;
    pub const IFREG: u32 = 0o100000;
    pub const IFBLK: u32 = 0o060000;
    pub const IFDIR: u32 = 0o040000;
    pub const IFCHR: u32 = 0o020000;
    pub const IFIFO: u32 = 0o010000;
    pub const ISUID: u32 = 0o4000;
    pub const ISGID: u32 = 0o2000;
    pub const ISVTX: u32 = 0o1000;
}

/// Flags of `open(2)` on x86-64.
#[allow(missing_docs)]
pub mod oflag {
    pub const ACCMODE: u32 = 0o3;
    pub const RDONLY: u32 = 0;
    pub const WRONLY: u32 = 1;
    pub const RDWR: u32 = 2;
    pub const CREAT: u32 = 0o100;
    pub const EXCL: u32 = 0o200;
    pub const NOCTTY: u32 = 0o400;
    pub const TRUNC: u32 = 0o1000;
    pub const APPEND: u32 = 0o2000;
    pub const NONBLOCK: u32 = 0o4000;
    pub const DSYNC: u32 = 0o10000;
    pub const ASYNC: u32 = 0o20000;
    pub const DIRECT: u32 = 0o40000;
    pub const LARGEFILE: u32 = 0o100000;
    pub const DIRECTORY: u32 = 0o200000;
    pub const NOFOLLOW: u32 = 0o400000;
    pub const NOATIME: u32 = 0o1000000;
    pub const CLOEXEC: u32 = 0o2000000;
    pub const SYNC: u32 = 0o4010000;
    pub const PATH: u32 = 0o10000000;
    /// O_TMPFILE includes O_DIRECTORY.
    pub const TMPFILE: u32 = 0o20200000;
}

/// How a path is walked. The first three have the values of the `*at` calls.
#[allow(missing_docs)]
pub mod wflag {
    /// Do not follow a symlink in the last place (AT_SYMLINK_NOFOLLOW).
    pub const NOFOLLOW: u32 = 0x100;
    /// An empty path means the base itself.
    pub const EMPTY_PATH: u32 = 0x1000;
    /// The result must be a directory.
    pub const DIRECTORY: u32 = 0x1_0000;
    /// openat2 RESOLVE_*.
    pub const NO_XDEV: u32 = 0x10_0000;
    pub const NO_MAGICLINKS: u32 = 0x20_0000;
    pub const NO_SYMLINKS: u32 = 0x40_0000;
    pub const BENEATH: u32 = 0x80_0000;
    pub const IN_ROOT: u32 = 0x100_0000;
}

/// What `access(2)` and permission checks ask for.
#[allow(missing_docs)]
pub mod may {
    pub const EXEC: u32 = 1;
    pub const WRITE: u32 = 2;
    pub const READ: u32 = 4;
}

/// A device number as user space encodes it (`makedev`).
pub fn makedev(major: u32, minor: u32) -> u64 {
    let (ma, mi) = (major as u64, minor as u64);
    (mi & 0xff) | (ma & 0xfff) << 8 | (mi & !0xff) << 12 | (ma & !0xfff) << 32
}

/// Major and minor of a user-space device number.
pub fn devnum(dev: u64) -> (u32, u32) {
    (
        (dev >> 8 & 0xfff | dev >> 32 & !0xfff) as u32,
        (dev & 0xff | dev >> 12 & !0xff) as u32,
    )
}

/// All that `statx(2)` can say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Stat {
    pub dev: u64,
    pub ino: u64,
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u64,
    pub size: u64,
    pub blksize: u32,
    /// In units of 512 bytes.
    pub blocks: u64,
    pub atime: Timespec,
    pub mtime: Timespec,
    pub ctime: Timespec,
    /// Birth time; `None` where the file system has none (proc, sysfs).
    pub btime: Option<Timespec>,
    /// STATX_ATTR_* bits that are set.
    pub attributes: u64,
    /// STATX_ATTR_* bits that this file system knows.
    pub attributes_mask: u64,
    pub mnt_id: u32,
}

/// What `statfs(2)` says (units of `bsize`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct StatFs {
    pub magic: u64,
    pub bsize: u64,
    pub blocks: u64,
    pub bfree: u64,
    pub bavail: u64,
    pub files: u64,
    pub ffree: u64,
    pub fsid: u64,
    pub namelen: u64,
    pub frsize: u64,
    /// ST_* flags (statvfs), with ST_VALID 0x20.
    pub flags: u64,
}

/// What an open gave. `path` is to be held by the open file description (`Vfs::hold`, then `release`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Where the file is.
    pub path: Path,
    /// What kind of thing the description must drive.
    pub kind: Kind,
    /// True if this call made the file.
    pub created: bool,
}

/// What lies behind an opened inode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Freeze)]
pub enum Kind {
    /// A file with content pages.
    Regular,
    /// A directory.
    Dir,
    /// A named pipe: the pipe is keyed by the inode.
    Fifo,
    /// A character device.
    CharDev(u32, u32),
    /// A block device.
    BlockDev(u32, u32),
    /// A file whose content procfs or sysfs makes (`Vfs::synthetic`).
    Synthetic,
    /// An O_PATH descriptor: only a place.
    PathOnly,
    /// `/proc/PID/fd/N` of something that has no path (pipe, socket, …): take the description of that task's descriptor again.
    Reopen {
        /// The task (tid).
        tid: u32,
        /// Its descriptor.
        fd: u32,
    },
}

/// One entry as `getdents64` reports it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    /// st_ino of the entry.
    pub ino: u64,
    /// Position behind this entry.
    pub next: u64,
    /// DT_* (the file type bits of the mode shifted right by 12).
    pub dtype: u8,
    /// The name.
    pub name: Name,
}

/// Another name of [`Path`], for those who also use `std::path::Path`.
pub type Loc = Path;
