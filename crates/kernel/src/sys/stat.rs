//! stat in all its shapes, statfs, and reading directories.

use super::{Call, SysRes};
use crate::abi::*;
use crate::fd::What;
use crate::vfs::{Kind, Stat, StatFs, Timespec, makedev};
use crate::world::World;
use crate::{Errno, KResult};

impl World {
    /// stat of a descriptor, with or without a name.
    pub(crate) fn stat_fd(&mut self, tid: u32, fd: i32) -> KResult<Stat> {
        let id = self.fd(tid, fd)?;
        let f = self.file(id)?.clone();
        if let Some(l) = &f.loc {
            let l = l.clone();
            return self.fs(tid, |v, c| v.fstat(c, &l))?;
        }
        let k = self.creds(tid)?;
        let now = Timespec::default();
        let (dev, ino, mode) = match f.what {
            What::Pipe { id, .. } => (
                makedev(0, 13),
                self.pipes.get(id).map_or(0, |p| p.ino),
                S_IFIFO | 0o600,
            ),
            What::Socket(s) => (makedev(0, 8), self.sock_inode(s), S_IFSOCK | 0o777),
            What::Event(_) => (makedev(0, 14), 1049, 0o600),
            _ => (makedev(0, 5), 1, S_IFCHR | 0o666),
        };
        let anon = matches!(f.what, What::Event(_));
        Ok(Stat {
            dev,
            ino,
            mode,
            nlink: 1,
            uid: if anon { 0 } else { k.fsuid },
            gid: if anon { 0 } else { k.fsgid },
            blksize: 4096,
            atime: now,
            mtime: now,
            ctime: now,
            ..Stat::default()
        })
    }
}

fn encode(s: &Stat) -> Vec<u8> {
    let mut e = Enc::new();
    e.u64(s.dev)
        .u64(s.ino)
        .u64(s.nlink as u64)
        .u32(s.mode)
        .u32(s.uid)
        .u32(s.gid)
        .u32(0);
    e.u64(s.rdev).u64(s.size).u64(s.blksize as u64).u64(s.blocks);
    for t in [s.atime, s.mtime, s.ctime] {
        e.i64(t.sec).u64(t.nsec as u64);
    }
    e.u64(0).u64(0).u64(0);
    e.0
}

fn at(w: &mut World, c: &Call, dirfd: i32, va: u64, flags: u32) -> KResult<Stat> {
    let p = w.read_path(c.tid, va)?;
    if p.is_empty() && flags & AT_EMPTY_PATH != 0 && dirfd != AT_FDCWD {
        return w.stat_fd(c.tid, dirfd);
    }
    let base = w.base(c.tid, dirfd, &p)?;
    let found = w.fs(c.tid, |v, x| {
        let at = v.walk(x, &base, &p, flags & (AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))?;
        // `/dev/fd/N` of a pipe or socket is what lies behind it, not the link.
        if flags & AT_SYMLINK_NOFOLLOW == 0
            && let Some(behind) = v.descriptor_behind(x, &at)
        {
            return KResult::Ok(Err(behind));
        }
        v.fstat(x, &at).map(Ok)
    })??;
    match found {
        Ok(s) => Ok(s),
        Err((tid, fd)) => w.stat_fd(tid, fd as i32),
    }
}

pub(crate) fn stat(w: &mut World, c: &mut Call) -> SysRes {
    let (s, out) = match c.nr {
        4 => (at(w, c, AT_FDCWD, c.a[0], 0)?, c.a[1]),
        6 => (at(w, c, AT_FDCWD, c.a[0], AT_SYMLINK_NOFOLLOW)?, c.a[1]),
        5 => (w.stat_fd(c.tid, c.a[0] as i32)?, c.a[1]),
        _ => {
            let flags = c.a[3] as u32;
            if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT) != 0 {
                return Err(Errno::EINVAL.into());
            }
            (at(w, c, c.a[0] as i32, c.a[1], flags)?, c.a[2])
        }
    };
    w.copy_out(c.tid, out, &encode(&s))?;
    Ok(0)
}

pub(crate) fn statx(w: &mut World, c: &mut Call) -> SysRes {
    let flags = c.a[2] as u32;
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT | 0x6000) != 0
        || flags & 0x6000 == 0x6000
        || c.a[3] & 0x8000_0000 != 0
    {
        return Err(Errno::EINVAL.into());
    }
    let s = at(w, c, c.a[0] as i32, c.a[1], flags)?;
    let mut e = Enc::new();
    let mask = 0x7ff | if s.btime.is_some() { 0x800 } else { 0 } | 0x1000;
    e.u32(mask)
        .u32(s.blksize)
        .u64(s.attributes)
        .u32(s.nlink)
        .u32(s.uid)
        .u32(s.gid)
        .u16(s.mode as u16)
        .u16(0);
    e.u64(s.ino).u64(s.size).u64(s.blocks).u64(s.attributes_mask);
    for t in [Some(s.atime), s.btime, Some(s.ctime), Some(s.mtime)] {
        let t = t.unwrap_or_default();
        e.i64(t.sec).u32(t.nsec).u32(0);
    }
    let (rm, rn) = crate::vfs::devnum(s.rdev);
    let (dm, dn) = crate::vfs::devnum(s.dev);
    e.u32(rm).u32(rn).u32(dm).u32(dn).u64(s.mnt_id as u64).pad_to(256);
    w.copy_out(c.tid, c.a[4], &e.0)?;
    Ok(0)
}

fn encode_fs(s: &StatFs) -> Vec<u8> {
    let mut e = Enc::new();
    e.u64(s.magic)
        .u64(s.bsize)
        .u64(s.blocks)
        .u64(s.bfree)
        .u64(s.bavail)
        .u64(s.files)
        .u64(s.ffree);
    e.u64(s.fsid)
        .u64(s.namelen)
        .u64(s.frsize)
        .u64(s.flags)
        .pad_to(120);
    e.0
}

pub(crate) fn statfs(w: &mut World, c: &mut Call) -> SysRes {
    let s = if c.nr == 137 {
        let p = w.read_path(c.tid, c.a[0])?;
        let l = w.walk(c.tid, AT_FDCWD, &p, 0)?;
        w.vfs.statfs(&l)?
    } else {
        let id = w.fd(c.tid, c.a[0] as i32)?;
        let f = w.file(id)?.clone();
        match &f.loc {
            Some(l) => w.vfs.statfs(l)?,
            None => StatFs {
                magic: match f.what {
                    What::Pipe { .. } => 0x5049_5045,
                    What::Socket(_) => 0x534f_434b,
                    _ => 0x0904_1934,
                },
                bsize: 4096,
                namelen: 255,
                frsize: 4096,
                flags: 0x20,
                ..StatFs::default()
            },
        }
    };
    w.copy_out(c.tid, c.a[1], &encode_fs(&s))?;
    Ok(0)
}

pub(crate) fn getdents(w: &mut World, c: &mut Call) -> SysRes {
    let (id, f) = w.fd_io(c.tid, c.a[0] as i32)?;
    let What::File(l, Kind::Dir) = &f.what else {
        return Err(Errno::ENOTDIR.into());
    };
    let room = (c.a[2] as usize).min(1 << 20);
    let old = c.nr == 78;
    let mut out = Enc::new();
    let mut small = false;
    let pos = w.fs(c.tid, |v, x| {
        v.getdents(x, l, f.pos, &mut |d| {
            let head = if old { 18 } else { 19 };
            let len = (head + d.name.len() + 1 + usize::from(old)).next_multiple_of(8);
            if out.0.len() + len > room {
                small = out.0.is_empty();
                return false;
            }
            let end = out.0.len() + len;
            out.u64(d.ino).u64(d.next).u16(len as u16);
            if !old {
                out.u8(d.dtype);
            }
            out.bytes(&d.name).pad_to(end);
            if old && let Some(b) = out.0.last_mut() {
                *b = d.dtype;
            }
            true
        })
    })??;
    if small {
        return Err(Errno::EINVAL.into());
    }
    w.copy_out(c.tid, c.a[1], &out.0)?;
    w.file_mut(id)?.pos = pos;
    c.work(out.0.len() as u64 * 4);
    Ok(out.0.len() as i64)
}
