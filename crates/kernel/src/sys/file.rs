//! Calls on a file that is open, beside reading and writing it: where it stands, how long it is, and that it be kept.

use super::rw::check_seekable;
use super::{Call, SysRes};
use crate::Errno;
use crate::fd::What;
use crate::vfs::Kind;
use crate::world::World;

pub(crate) fn lseek(w: &mut World, c: &mut Call) -> SysRes {
    let (id, f) = w.fd_io(c.tid, c.a[0] as i32)?;
    check_seekable(&f)?;
    let off = c.a[1] as i64;
    let pos = match (&f.what, c.a[2]) {
        (_, 0) => off,
        (_, 1) => (f.pos as i64).checked_add(off).ok_or(Errno::EOVERFLOW)?,
        (What::File(l, Kind::Regular), 2) => (w.vfs.file_len(l.ino)? as i64)
            .checked_add(off)
            .ok_or(Errno::EOVERFLOW)?,
        (What::File(l, Kind::Regular), 3 | 4) => {
            if off < 0 {
                return Err(Errno::ENXIO.into());
            }
            w.vfs.seek_hole(l, off as u64, c.a[2] == 4)? as i64
        }
        (What::File(_, Kind::Dir), 2) => i64::MAX,
        (What::File(l, _), 2) => {
            let size = w.stat_loc(&l.clone())?.size as i64;
            size.checked_add(off).ok_or(Errno::EOVERFLOW)?
        }
        (What::Char(_), 2..=4) => 0,
        _ => return Err(Errno::EINVAL.into()),
    };
    if pos < 0 {
        return Err(Errno::EINVAL.into());
    }
    if matches!(f.what, What::Char(_)) {
        return Ok(0);
    }
    w.file_mut(id)?.pos = pos as u64;
    Ok(pos)
}

pub(crate) fn ftruncate(w: &mut World, c: &mut Call) -> SysRes {
    if (c.a[1] as i64) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let (_, f) = w.fd_io(c.tid, c.a[0] as i32)?;
    match &f.what {
        What::File(l, Kind::Regular) if f.writable() => {
            w.fs(c.tid, |v, x| v.set_len(x, l, c.a[1]))??;
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

pub(crate) fn fallocate(w: &mut World, c: &mut Call) -> SysRes {
    let (_, f) = w.fd_io(c.tid, c.a[0] as i32)?;
    if !f.writable() {
        return Err(Errno::EBADF.into());
    }
    match &f.what {
        What::File(l, Kind::Regular) => {
            w.fs(c.tid, |v, x| {
                v.fallocate(x, l, c.a[1] as u32, c.a[2] as i64, c.a[3] as i64)
            })??;
            Ok(0)
        }
        What::Pipe { .. } => Err(Errno::ESPIPE.into()),
        _ => Err(Errno::ENODEV.into()),
    }
}

pub(crate) fn fadvise(w: &mut World, c: &mut Call) -> SysRes {
    let (_, f) = w.fd_io(c.tid, c.a[0] as i32)?;
    if c.nr == 221 && c.a[3] > 5 {
        return Err(Errno::EINVAL.into());
    }
    if matches!(f.what, What::Pipe { .. }) {
        return Err(Errno::ESPIPE.into());
    }
    Ok(0)
}

pub(crate) fn fsync(w: &mut World, c: &mut Call) -> SysRes {
    let (_, f) = w.fd_io(c.tid, c.a[0] as i32)?;
    match f.what {
        What::File(..) => Ok(0),
        _ => Err(Errno::EINVAL.into()),
    }
}
