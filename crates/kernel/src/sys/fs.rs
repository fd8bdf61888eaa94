//! Calls on paths: open and everything that makes, removes, renames or changes names and attributes.

use super::{Call, SysRes, Trap};
use crate::abi::*;
use crate::fd::{Char, What};
use crate::task::cap;
use crate::vfs::Timespec;
use crate::vfs::attr::SetTime;
use crate::vfs::{Kind, Opened, Path, inmask, wflag};
use crate::world::{Fact, World};
use crate::{Errno, KResult};

fn path(w: &mut World, c: &Call, i: usize) -> KResult<Vec<u8>> {
    w.read_path(c.tid, c.a[i])
}

impl World {
    /// Makes a description of what an open found.
    fn describe(&mut self, c: &mut Call, o: Opened, flags: u32) -> Result<u32, Trap> {
        let what = match o.kind {
            Kind::Fifo => {
                let w = self.fifo_open(c, o.path.ino.0, flags)?;
                return Ok(self.new_file(w, flags, Some(o.path))?);
            }
            Kind::CharDev(major, minor) => return self.open_char(c, major, minor, flags, o.path),
            Kind::Reopen { tid, fd } => {
                let id = self.fd(tid, fd as i32)?;
                let f = self.file(id)?.clone();
                return match f.what {
                    What::Pipe { id: p, .. } => {
                        let acc = flags & O_ACCMODE;
                        let (read, write) = (acc != O_WRONLY, acc != O_RDONLY);
                        if let Some(p) = self.pipes.get_mut(p) {
                            p.readers += u32::from(read);
                            p.writers += u32::from(write);
                        }
                        Ok(self.new_file(What::Pipe { id: p, read, write }, flags, None)?)
                    }
                    What::File(l, k) => Ok(self.new_file(What::File(l.clone(), k), flags, Some(l))?),
                    _ => Err(Errno::ENXIO.into()),
                };
            }
            k => What::File(o.path.clone(), k),
        };
        if self.open.len() >= self.limits.files {
            return Err(Errno::ENFILE.into());
        }
        Ok(self.new_file(what, flags, Some(o.path))?)
    }

    fn open_char(&mut self, c: &Call, major: u32, minor: u32, flags: u32, loc: Path) -> Result<u32, Trap> {
        let readable = flags & O_ACCMODE != O_WRONLY;
        let noctty = flags & O_NOCTTY != 0;
        let what = match (major, minor) {
            (1, 3) => What::Char(Char::Null),
            (1, 5) => What::Char(Char::Zero),
            (1, 7) => What::Char(Char::Full),
            (1, 8 | 9) => What::Char(Char::Random),
            (1, 11) => {
                // kernel.dmesg_restrict is 1 on Debian.
                let k = self.creds(c.tid)?;
                if readable && !k.capable(cap::SYSLOG) && !k.capable(cap::SYS_ADMIN) {
                    return Err(Errno::EPERM.into());
                }
                What::Char(Char::Kmsg)
            }
            (5, 0) => {
                let who = self.tty_caller(c.tid)?;
                let t = who.ctty.ok_or(Errno::ENXIO)?;
                What::Tty(self.ttys.open_slave(t, &who, true, readable)?)
            }
            (5, 2) => What::Tty(self.ttys.open_master()?),
            (4, n) => {
                let who = self.tty_caller(c.tid)?;
                What::Tty(
                    self.ttys
                        .open_slave(crate::tty::TtyId::console(n), &who, noctty, readable)?,
                )
            }
            (5, 1) => {
                let who = self.tty_caller(c.tid)?;
                What::Tty(
                    self.ttys
                        .open_slave(crate::tty::TtyId::console(1), &who, true, readable)?,
                )
            }
            (136..=143, n) => {
                let who = self.tty_caller(c.tid)?;
                let id = crate::tty::TtyId((major - 136) << 8 | n);
                What::Tty(self.ttys.open_slave(id, &who, noctty, readable)?)
            }
            _ => {
                self.unserved(c.tid, &format!("open of character device {major}:{minor}"));
                return Err(Errno::ENXIO.into());
            }
        };
        self.tty_effects();
        Ok(self.new_file(what, flags, Some(loc))?)
    }

    fn do_open(
        &mut self,
        c: &mut Call,
        dirfd: i32,
        path: &[u8],
        flags: u32,
        perm: u32,
        resolve: u32,
    ) -> SysRes {
        let base = self.base(c.tid, dirfd, path)?;
        let o = if c.first {
            self.fs(c.tid, |v, x| {
                v.open(x, &base, path, flags, perm & 0o7777, resolve)
            })??
        } else {
            // A FIFO that waited for its other side.
            self.fs(c.tid, |v, x| {
                v.open(
                    x,
                    &base,
                    path,
                    flags & !(O_CREAT | O_EXCL | O_TRUNC),
                    perm,
                    resolve,
                )
            })??
        };
        let l = o.path.clone();
        let id = self.describe(c, o, flags)?;
        if flags & O_PATH == 0 {
            self.vfs.note(&l, inmask::OPEN, 0);
        }
        Ok(self.install(c.tid, id, flags & O_CLOEXEC != 0)?)
    }

    /// Opens a path for the kernel's own use on behalf of a thread.
    pub(crate) fn open_for(&mut self, tid: u32, path: &[u8], flags: u32) -> KResult<u32> {
        let mut c = Call {
            tid,
            nr: 2,
            a: [0; 6],
            first: true,
            deadline: None,
            remain_va: 0,
            progress: 0,
            scratch: 0,
            since: 0,
            bits: 0,
            woken: false,
            timed: false,
            undo: None,
            cost: 0,
            tty: Default::default(),
        };
        let base = self.base(tid, AT_FDCWD, path)?;
        let o = self.fs(tid, |v, x| v.open(x, &base, path, flags, 0, 0))??;
        match self.describe(&mut c, o, flags) {
            Ok(id) => Ok(id),
            Err(Trap::Err(e)) => Err(e),
            Err(_) => Err(Errno::EAGAIN),
        }
    }

    /// The place behind a descriptor, for fchmod and the like.
    fn fd_loc(&self, tid: u32, fd: i32) -> KResult<Path> {
        let (_, f) = self.fd_io(tid, fd)?;
        f.loc.ok_or(Errno::EINVAL)
    }
}

pub(crate) fn open(w: &mut World, c: &mut Call) -> SysRes {
    let (dirfd, i) = match c.nr {
        257 => (c.a[0] as i32, 1),
        _ => (AT_FDCWD, 0),
    };
    let (flags, perm) = match c.nr {
        85 => (O_CREAT | O_WRONLY | O_TRUNC, c.a[1] as u32),
        _ => (c.a[i + 1] as u32, c.a[i + 2] as u32),
    };
    let p = path(w, c, i)?;
    w.do_open(c, dirfd, &p, flags, perm, 0)
}

pub(crate) fn openat2(w: &mut World, c: &mut Call) -> SysRes {
    if c.a[3] < 24 {
        return Err(Errno::EINVAL.into());
    }
    if c.a[3] > 4096 {
        return Err(Errno::E2BIG.into());
    }
    let mut b = vec![0; c.a[3] as usize];
    w.copy_in(c.tid, c.a[2], &mut b)?;
    if b.iter().skip(24).any(|x| *x != 0) {
        return Err(Errno::E2BIG.into());
    }
    let (flags, mode, res) = (le64(&b, 0), le64(&b, 8), le64(&b, 16));
    if flags >> 32 != 0 || res & !0x3f != 0 || mode & !0o7777 != 0 {
        return Err(Errno::EINVAL.into());
    }
    if mode != 0 && flags as u32 & (O_CREAT | O_TMPFILE & !O_DIRECTORY) == 0 {
        return Err(Errno::EINVAL.into());
    }
    let bits = [
        wflag::NO_XDEV,
        wflag::NO_MAGICLINKS,
        wflag::NO_SYMLINKS,
        wflag::BENEATH,
        wflag::IN_ROOT,
    ];
    let resolve = bits
        .iter()
        .enumerate()
        .filter(|(i, _)| res >> i & 1 == 1)
        .fold(0, |a, (_, f)| a | f);
    if res & 0x20 != 0 {
        return Err(Errno::EAGAIN.into());
    }
    let p = path(w, c, 1)?;
    w.do_open(c, c.a[0] as i32, &p, flags as u32, mode as u32, resolve)
}

pub(crate) fn access(w: &mut World, c: &mut Call) -> SysRes {
    let (dirfd, i) = if c.nr == 21 {
        (AT_FDCWD, 0)
    } else {
        (c.a[0] as i32, 1)
    };
    let mode = c.a[i + 1] as u32;
    let flags = if c.nr == 439 { c.a[3] as u32 } else { 0 };
    if mode & !7 != 0 || flags & !(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let p = path(w, c, i)?;
    let base = w.base(c.tid, dirfd, &p)?;
    let walk = flags & (AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH);
    w.fs_as(c.tid, flags & AT_EACCESS == 0, |v, x| {
        v.access(x, &base, &p, mode, walk)
    })??;
    Ok(0)
}

pub(crate) fn mkdir(w: &mut World, c: &mut Call) -> SysRes {
    let (dirfd, i) = if c.nr == 83 {
        (AT_FDCWD, 0)
    } else {
        (c.a[0] as i32, 1)
    };
    let p = path(w, c, i)?;
    let base = w.base(c.tid, dirfd, &p)?;
    w.fs(c.tid, |v, x| v.mkdir(x, &base, &p, c.a[i + 1] as u32))??;
    Ok(0)
}

pub(crate) fn unlink(w: &mut World, c: &mut Call) -> SysRes {
    let (dirfd, i, dir) = match c.nr {
        84 => (AT_FDCWD, 0, true),
        87 => (AT_FDCWD, 0, false),
        _ => {
            if c.a[2] as u32 & !AT_REMOVEDIR != 0 {
                return Err(Errno::EINVAL.into());
            }
            (c.a[0] as i32, 1, c.a[2] as u32 & AT_REMOVEDIR != 0)
        }
    };
    let p = path(w, c, i)?;
    let base = w.base(c.tid, dirfd, &p)?;
    w.fs(c.tid, |v, x| {
        if dir {
            v.rmdir(x, &base, &p)
        } else {
            v.unlink(x, &base, &p)
        }
    })??;
    Ok(0)
}

pub(crate) fn rename(w: &mut World, c: &mut Call) -> SysRes {
    let at = c.nr != 82;
    let (od, oi, nd, ni) = if at {
        (c.a[0] as i32, 1, c.a[2] as i32, 3)
    } else {
        (AT_FDCWD, 0, AT_FDCWD, 1)
    };
    let flags = if c.nr == 316 { c.a[4] as u32 } else { 0 };
    if flags & !7 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (a, b) = (path(w, c, oi)?, path(w, c, ni)?);
    let (oa, ob) = (w.base(c.tid, od, &a)?, w.base(c.tid, nd, &b)?);
    w.fs(c.tid, |v, x| v.rename(x, &oa, &a, &ob, &b, flags))??;
    Ok(0)
}

pub(crate) fn link(w: &mut World, c: &mut Call) -> SysRes {
    let at = c.nr != 86;
    let (od, oi, nd, ni) = if at {
        (c.a[0] as i32, 1, c.a[2] as i32, 3)
    } else {
        (AT_FDCWD, 0, AT_FDCWD, 1)
    };
    let flags = if at { c.a[4] as u32 } else { 0 };
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (a, b) = (path(w, c, oi)?, path(w, c, ni)?);
    let (oa, ob) = (w.base(c.tid, od, &a)?, w.base(c.tid, nd, &b)?);
    w.fs(c.tid, |v, x| v.link(x, &oa, &a, &ob, &b, flags))??;
    Ok(0)
}

pub(crate) fn symlink(w: &mut World, c: &mut Call) -> SysRes {
    let (d, i) = if c.nr == 88 {
        (AT_FDCWD, 1)
    } else {
        (c.a[1] as i32, 2)
    };
    let (target, p) = (path(w, c, 0)?, path(w, c, i)?);
    let base = w.base(c.tid, d, &p)?;
    w.fs(c.tid, |v, x| v.symlink(x, &target, &base, &p))??;
    Ok(0)
}

pub(crate) fn readlink(w: &mut World, c: &mut Call) -> SysRes {
    let (d, i) = if c.nr == 89 {
        (AT_FDCWD, 0)
    } else {
        (c.a[0] as i32, 1)
    };
    let size = c.a[i + 2] as i32;
    if size <= 0 {
        return Err(Errno::EINVAL.into());
    }
    let p = path(w, c, i)?;
    let base = w.base(c.tid, d, &p)?;
    let t = w.fs(c.tid, |v, x| v.readlink(x, &base, &p))??;
    let n = t.len().min(size as usize);
    w.copy_out(c.tid, c.a[i + 1], &t[..n])?;
    Ok(n as i64)
}

pub(crate) fn chmod(w: &mut World, c: &mut Call) -> SysRes {
    if c.nr == 91 {
        let l = w.fd_loc(c.tid, c.a[0] as i32)?;
        w.fs(c.tid, |v, x| v.chmod_at(x, &l, c.a[1] as u32 & 0o7777))??;
        return Ok(0);
    }
    let (d, i) = if c.nr == 90 {
        (AT_FDCWD, 0)
    } else {
        (c.a[0] as i32, 1)
    };
    let p = path(w, c, i)?;
    let base = w.base(c.tid, d, &p)?;
    w.fs(c.tid, |v, x| v.chmod(x, &base, &p, c.a[i + 1] as u32 & 0o7777, 0))??;
    Ok(0)
}

pub(crate) fn chown(w: &mut World, c: &mut Call) -> SysRes {
    if c.nr == 93 {
        let l = w.fd_loc(c.tid, c.a[0] as i32)?;
        w.fs(c.tid, |v, x| v.chown_at(x, &l, c.a[1] as u32, c.a[2] as u32))??;
        return Ok(0);
    }
    let (d, i, flags) = match c.nr {
        92 => (AT_FDCWD, 0, 0),
        94 => (AT_FDCWD, 0, AT_SYMLINK_NOFOLLOW),
        _ => (c.a[0] as i32, 1, c.a[4] as u32),
    };
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let p = path(w, c, i)?;
    let base = w.base(c.tid, d, &p)?;
    w.fs(c.tid, |v, x| {
        v.chown(x, &base, &p, c.a[i + 1] as u32, c.a[i + 2] as u32, flags)
    })??;
    Ok(0)
}

fn set_time(sec: i64, nsec: i64) -> Result<SetTime, Errno> {
    Ok(match nsec {
        0x3fff_ffff => SetTime::Now,
        0x3fff_fffe => SetTime::Omit,
        0..=999_999_999 => SetTime::At(Timespec {
            sec,
            nsec: nsec as u32,
        }),
        _ => return Err(Errno::EINVAL),
    })
}

pub(crate) fn utimens(w: &mut World, c: &mut Call) -> SysRes {
    let (d, i, tv, micros) = match c.nr {
        132 => (AT_FDCWD, 0, c.a[1], 0),
        235 => (AT_FDCWD, 0, c.a[1], 1),
        261 => (c.a[0] as i32, 1, c.a[2], 1),
        _ => (c.a[0] as i32, 1, c.a[2], 2),
    };
    let flags = if c.nr == 280 { c.a[3] as u32 } else { 0 };
    let (mut at, mut mt) = (SetTime::Now, SetTime::Now);
    if tv != 0 {
        if micros == 0 {
            let mut b = [0; 16];
            w.copy_in(c.tid, tv, &mut b)?;
            at = set_time(le64(&b, 0) as i64, 0)?;
            mt = set_time(le64(&b, 8) as i64, 0)?;
        } else {
            let mut b = [0; 32];
            w.copy_in(c.tid, tv, &mut b)?;
            let k = if micros == 1 { 1000 } else { 1 };
            let sub = |o: usize| -> Result<i64, Errno> {
                let v = le64(&b, o) as i64;
                if micros == 1 && !(0..1_000_000).contains(&v) {
                    return Err(Errno::EINVAL);
                }
                Ok(v * k)
            };
            at = set_time(le64(&b, 0) as i64, sub(8)?)?;
            mt = set_time(le64(&b, 16) as i64, sub(24)?)?;
        }
    }
    if c.a[i] == 0 && matches!(c.nr, 280 | 261) {
        let l = w.fd_loc(c.tid, d)?;
        w.fs(c.tid, |v, x| v.utimens_at(x, &l, at, mt))??;
        return Ok(0);
    }
    let p = path(w, c, i)?;
    let base = w.base(c.tid, d, &p)?;
    w.fs(c.tid, |v, x| {
        v.utimens(
            x,
            &base,
            &p,
            at,
            mt,
            flags & (AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH),
        )
    })??;
    Ok(0)
}

pub(crate) fn mknod(w: &mut World, c: &mut Call) -> SysRes {
    let (d, i) = if c.nr == 133 {
        (AT_FDCWD, 0)
    } else {
        (c.a[0] as i32, 1)
    };
    let p = path(w, c, i)?;
    let base = w.base(c.tid, d, &p)?;
    w.fs(c.tid, |v, x| v.mknod(x, &base, &p, c.a[i + 1] as u32, c.a[i + 2]))??;
    Ok(0)
}

pub(crate) fn truncate(w: &mut World, c: &mut Call) -> SysRes {
    let p = path(w, c, 0)?;
    w.fs(c.tid, |v, x| v.truncate(x, &p, c.a[1] as i64))??;
    Ok(0)
}

fn set_dir(w: &mut World, tid: u32, l: Path, root: bool) -> Result<(), Errno> {
    w.vfs_hold(&l);
    let id = w.t(tid)?.fs;
    let f = w.fss.get_mut(&id).ok_or(Errno::ENOENT)?;
    let old = std::mem::replace(if root { &mut f.root } else { &mut f.cwd }, l);
    w.vfs_release(&old);
    Ok(())
}

fn enter(w: &mut World, tid: u32, l: &Path) -> Result<(), Errno> {
    let l = l.clone();
    w.fs(tid, |v, x| {
        let a = v.attr(x.view, l.ino)?;
        if !a.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        v.permission(x, &l, &a, 1)
    })?
}

pub(crate) fn chdir(w: &mut World, c: &mut Call) -> SysRes {
    let l = if c.nr == 81 {
        let id = w.fd(c.tid, c.a[0] as i32)?;
        w.file(id)?.loc.clone().ok_or(Errno::ENOTDIR)?
    } else {
        let p = path(w, c, 0)?;
        w.walk(c.tid, AT_FDCWD, &p, wflag::DIRECTORY)?
    };
    enter(w, c.tid, &l)?;
    set_dir(w, c.tid, l, false)?;
    Ok(0)
}

pub(crate) fn chroot(w: &mut World, c: &mut Call) -> SysRes {
    let p = path(w, c, 0)?;
    let l = w.walk(c.tid, AT_FDCWD, &p, wflag::DIRECTORY)?;
    enter(w, c.tid, &l)?;
    if !w.creds(c.tid)?.capable(cap::SYS_CHROOT) {
        return Err(Errno::EPERM.into());
    }
    set_dir(w, c.tid, l, true)?;
    Ok(0)
}

pub(crate) fn getcwd(w: &mut World, c: &mut Call) -> SysRes {
    let mut t = w.fs(c.tid, |v, x| v.getcwd(x))??;
    t.push(0);
    if t.len() as u64 > c.a[1] {
        return Err(Errno::ERANGE.into());
    }
    w.copy_out(c.tid, c.a[0], &t)?;
    Ok(t.len() as i64)
}

pub(crate) fn umask(w: &mut World, c: &mut Call) -> SysRes {
    let id = w.t(c.tid)?.fs;
    let f = w.fss.get_mut(&id).ok_or(Errno::ESRCH)?;
    let old = f.umask;
    f.umask = c.a[0] as u32 & 0o777;
    Ok(old as i64)
}

pub(crate) fn mount(w: &mut World, c: &mut Call) -> SysRes {
    let opt = |w: &mut World, va: u64| -> KResult<Vec<u8>> {
        if va == 0 {
            Ok(Vec::new())
        } else {
            w.read_str(c.tid, va, 4096)?.ok_or(Errno::EINVAL)
        }
    };
    let source = opt(w, c.a[0])?;
    let target = path(w, c, 1)?;
    let fstype = opt(w, c.a[2])?;
    let data = opt(w, c.a[4]).unwrap_or_default();
    let r = w.fs(c.tid, |v, x| {
        v.mount(x, &source, &target, &fstype, c.a[3] as u32, &data)
    })?;
    let tgid = w.tgid(c.tid);
    w.fact(
        tgid,
        Fact::Mount {
            source,
            target,
            fstype,
            errno: r.err().map_or(0, |e| e.0),
        },
    );
    r?;
    Ok(0)
}

pub(crate) fn umount2(w: &mut World, c: &mut Call) -> SysRes {
    let p = path(w, c, 0)?;
    w.fs(c.tid, |v, x| v.umount(x, &p, c.a[1] as u32))??;
    Ok(0)
}

pub(crate) fn pivot_root(w: &mut World, c: &mut Call) -> SysRes {
    let (a, b) = (path(w, c, 0)?, path(w, c, 1)?);
    w.fs(c.tid, |v, x| v.pivot_root(x, &a, &b))??;
    Ok(0)
}

/// The place that an xattr call names: by path, without following, or by descriptor.
fn xattr_place(w: &mut World, c: &Call, kind: u64) -> KResult<Path> {
    match kind {
        2 => w.fd_loc(c.tid, c.a[0] as i32),
        k => {
            let p = path(w, c, 0)?;
            w.walk(c.tid, AT_FDCWD, &p, if k == 1 { wflag::NOFOLLOW } else { 0 })
        }
    }
}

fn xattr_name(w: &mut World, c: &Call) -> KResult<Vec<u8>> {
    let n = w.read_str(c.tid, c.a[1], 256)?.ok_or(Errno::ERANGE)?;
    if n.is_empty() { Err(Errno::ERANGE) } else { Ok(n) }
}

fn give(w: &mut World, c: &Call, va: u64, size: u64, v: &[u8]) -> SysRes {
    if size == 0 {
        return Ok(v.len() as i64);
    }
    if (size as usize) < v.len() {
        return Err(Errno::ERANGE.into());
    }
    w.copy_out(c.tid, va, v)?;
    Ok(v.len() as i64)
}

pub(crate) fn setxattr(w: &mut World, c: &mut Call) -> SysRes {
    let l = xattr_place(w, c, c.nr - 188)?;
    let name = xattr_name(w, c)?;
    if c.a[3] > 65536 {
        return Err(Errno::E2BIG.into());
    }
    if c.a[4] & !3 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut v = vec![0; c.a[3] as usize];
    w.copy_in(c.tid, c.a[2], &mut v)?;
    w.fs(c.tid, |f, x| f.setxattr(x, &l, &name, &v, c.a[4] as u32))??;
    Ok(0)
}

pub(crate) fn getxattr(w: &mut World, c: &mut Call) -> SysRes {
    let l = xattr_place(w, c, c.nr - 191)?;
    let name = xattr_name(w, c)?;
    let v = w.fs(c.tid, |f, x| f.getxattr(x, &l, &name))??;
    give(w, c, c.a[2], c.a[3], &v)
}

pub(crate) fn listxattr(w: &mut World, c: &mut Call) -> SysRes {
    let l = xattr_place(w, c, c.nr - 194)?;
    let v = w.fs(c.tid, |f, x| f.listxattr(x, &l))??;
    give(w, c, c.a[1], c.a[2], &v)
}

pub(crate) fn removexattr(w: &mut World, c: &mut Call) -> SysRes {
    let l = xattr_place(w, c, c.nr - 197)?;
    let name = xattr_name(w, c)?;
    w.fs(c.tid, |f, x| f.removexattr(x, &l, &name))??;
    Ok(0)
}

pub(crate) fn memfd_create(w: &mut World, c: &mut Call) -> SysRes {
    let name = w.read_str(c.tid, c.a[0], 250)?.ok_or(Errno::EINVAL)?;
    let flags = c.a[1];
    if flags & !0x1f != 0 {
        return Err(Errno::EINVAL.into());
    }
    // An unnamed file of the tmpfs at /dev/shm, which is what a memfd is.
    let root = w.vfs.root_path();
    let mut o = w.fs(0, |v, x| {
        v.open(x, &root, b"/dev/shm", O_TMPFILE | O_RDWR, 0o777, 0)
    })??;
    o.path.name = [b"memfd:", &name[..]].concat().into();
    // On a mount of its own that nobody sees: nothing is above it.
    o.path.parent = o.path.ino;
    let id = w.new_file(What::File(o.path.clone(), Kind::Regular), O_RDWR, Some(o.path))?;
    Ok(w.install(c.tid, id, flags & 1 != 0)?)
}

pub(crate) fn name_to_handle_at(w: &mut World, c: &mut Call) -> SysRes {
    let p = path(w, c, 1)?;
    let flags = c.a[4] as u32;
    let walk = flags & AT_EMPTY_PATH
        | if flags & AT_SYMLINK_FOLLOW == 0 {
            wflag::NOFOLLOW
        } else {
            0
        };
    let l = w.walk(c.tid, c.a[0] as i32, &p, walk)?;
    let room = w.read_u32(c.tid, c.a[2])?;
    let (kind, b) = w.vfs.handle(l.ino)?;
    w.copy_out(c.tid, c.a[3], &l.mnt.0.to_le_bytes())?;
    let mut e = Enc::new();
    e.u32(b.len() as u32).i32(kind);
    if (room as usize) < b.len() {
        w.copy_out(c.tid, c.a[2], &e.0)?;
        return Err(Errno::EOVERFLOW.into());
    }
    e.bytes(&b);
    w.copy_out(c.tid, c.a[2], &e.0)?;
    Ok(0)
}

pub(crate) fn open_by_handle_at(w: &mut World, c: &mut Call) -> SysRes {
    if !w.creds(c.tid)?.capable(cap::DAC_READ_SEARCH) {
        return Err(Errno::EPERM.into());
    }
    let mut h = [0; 8];
    w.copy_in(c.tid, c.a[1], &mut h)?;
    let n = le32(&h, 0);
    if n > 128 {
        return Err(Errno::EINVAL.into());
    }
    let mut b = vec![0; n as usize];
    w.copy_in(c.tid, c.a[1].wrapping_add(8), &mut b)?;
    let on = w.base(c.tid, c.a[0] as i32, b"")?;
    let o = w.fs(c.tid, |v, x| {
        let p = v.by_handle(x, &on, &b)?;
        v.open_place(x, p, c.a[2] as u32)
    })??;
    let id = w.describe(c, o, c.a[2] as u32)?;
    Ok(w.install(c.tid, id, c.a[2] as u32 & O_CLOEXEC != 0)?)
}
