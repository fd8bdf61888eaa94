//! Locks on files by fcntl and flock. The file system keeps them; here their arguments are decoded, and who must wait waits.

use super::{Call, SysRes, Trap};
use crate::Errno;
use crate::abi::*;
use crate::fd::{File, What};
use crate::vfs::{Kind, LockKind, LockRange};
use crate::wait::WaitKey;
use crate::world::World;

pub(super) fn fcntl_lock(w: &mut World, c: &mut Call, id: u32, f: &File) -> SysRes {
    let cmd = c.a[1];
    let mut b = [0u8; 32];
    w.copy_in(c.tid, c.a[2], &mut b)?;
    let kind = le16(&b, 0);
    let range = lock_range(w, f, &b)?;
    let What::File(l, _) = &f.what else {
        return Err(Errno::EBADF.into());
    };
    let tgid = w.tgid(c.tid);
    let ofd = cmd >= 36;
    if ofd && le32(&b, 24) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let owner = if ofd {
        LockKind::Ofd(id)
    } else {
        LockKind::Posix(tgid)
    };
    match cmd {
        5 | 36 => {
            if !matches!(kind, 0 | 1) {
                return Err(Errno::EINVAL.into());
            }
            match w.vfs.lock_conflict(l.ino, owner, range, kind == 1) {
                None => b[..2].copy_from_slice(&2u16.to_le_bytes()),
                Some(k) => {
                    let mut e = Enc::new();
                    let len = if k.range.end == u64::MAX {
                        0
                    } else {
                        k.range.end - k.range.start + 1
                    };
                    let pid = if matches!(k.owner, LockKind::Posix(_)) {
                        k.pid as i32
                    } else {
                        -1
                    };
                    e.u16(u16::from(k.write))
                        .u16(0)
                        .u32(0)
                        .u64(k.range.start)
                        .u64(len)
                        .i32(pid)
                        .i32(0);
                    b.copy_from_slice(&e.0);
                }
            }
            w.copy_out(c.tid, c.a[2], &b)?;
            Ok(0)
        }
        _ => {
            let wait = matches!(cmd, 7 | 38);
            match kind {
                2 => {
                    w.vfs.unlock(l.ino, owner, range);
                    Ok(0)
                }
                0 | 1 => {
                    if (kind == 0 && !f.readable()) || (kind == 1 && !f.writable()) {
                        return Err(Errno::EBADF.into());
                    }
                    match w.vfs.lock(l.ino, owner, range, kind == 1, tgid, wait) {
                        Err(Errno::EAGAIN) if wait => Err(Trap::wait(WaitKey::Lock(l.ino.0))),
                        r => Ok(r.map(|_| 0)?),
                    }
                }
                _ => Err(Errno::EINVAL.into()),
            }
        }
    }
}

fn lock_range(w: &mut World, f: &File, b: &[u8]) -> Result<LockRange, Errno> {
    let (whence, start, len) = (le16(b, 2), le64(b, 8) as i64, le64(b, 16) as i64);
    let base = match whence {
        0 => 0,
        1 => f.pos as i64,
        2 => match &f.what {
            What::File(l, Kind::Regular) => w.vfs.file_len(l.ino)? as i64,
            _ => 0,
        },
        _ => return Err(Errno::EINVAL),
    };
    LockRange::of(base.checked_add(start).ok_or(Errno::EOVERFLOW)?, len)
}

pub(crate) fn flock(w: &mut World, c: &mut Call) -> SysRes {
    let (id, f) = w.fd_io(c.tid, c.a[0] as i32)?;
    let op = c.a[1] & !4;
    let What::File(l, _) = &f.what else {
        return if matches!(op, 1 | 2 | 8) {
            Ok(0)
        } else {
            Err(Errno::EINVAL.into())
        };
    };
    let pid = w.tgid(c.tid);
    match op {
        8 => {
            w.vfs.unlock(l.ino, LockKind::Flock(id), LockRange::ALL);
            Ok(0)
        }
        1 | 2 => {
            let wait = c.a[1] & 4 == 0;
            match w
                .vfs
                .lock(l.ino, LockKind::Flock(id), LockRange::ALL, op == 2, pid, wait)
            {
                Err(Errno::EAGAIN) if wait => Err(Trap::wait(WaitKey::Lock(l.ino.0))),
                r => Ok(r.map(|_| 0)?),
            }
        }
        _ => Err(Errno::EINVAL.into()),
    }
}
