//! Calls that turn descriptors: close, dup, fcntl. What fcntl does with locks is in `lock`.

use super::lock::fcntl_lock;
use super::{Call, SysRes};
use crate::Errno;
use crate::abi::*;
use crate::fd::{File, What};
use crate::task::cap;
use crate::vfs::{Kind, inmask};
use crate::world::World;

pub(crate) fn close(w: &mut World, c: &mut Call) -> SysRes {
    w.close_fd(c.tid, c.a[0] as i32)?;
    Ok(0)
}

pub(crate) fn close_range(w: &mut World, c: &mut Call) -> SysRes {
    let (first, last, flags) = (c.a[0] as u32, c.a[1] as u32, c.a[2]);
    if flags & !6 != 0 || first > last {
        return Err(Errno::EINVAL.into());
    }
    let mut id = w.t(c.tid)?.files.ok_or(Errno::EBADF)?;
    if flags & 2 != 0 {
        let n = w.fork_files(id);
        w.drop_files(id);
        w.tm(c.tid)?.files = Some(n);
        id = n;
    }
    let len = w.fdtables.get(&id).map_or(0, |t| t.slots.len()) as u32;
    for fd in first..=last.min(len.saturating_sub(1)) {
        if flags & 4 != 0 {
            if let Some(Some(s)) = w.fdtables.get_mut(&id).and_then(|t| t.slots.get_mut(fd as usize)) {
                s.cloexec = true;
            }
        } else {
            let _ = w.close_fd(c.tid, fd as i32);
        }
    }
    Ok(0)
}

/// A watch of the note that descriptors make when they close.
pub(crate) fn close_note(w: &mut World, f: &File) {
    if let Some(l) = &f.loc {
        let mask = if f.writable() {
            inmask::CLOSE_WRITE
        } else {
            inmask::CLOSE_NOWRITE
        };
        w.vfs.note(l, mask, 0);
    }
}

pub(crate) fn dup(w: &mut World, c: &mut Call) -> SysRes {
    let id = w.fd(c.tid, c.a[0] as i32)?;
    w.add_ref(id);
    Ok(w.install(c.tid, id, false)?)
}

pub(crate) fn dup2(w: &mut World, c: &mut Call) -> SysRes {
    let (old, new) = (c.a[0] as i32, c.a[1] as i32);
    let three = c.nr == 292;
    let flags = if three { c.a[2] as u32 } else { 0 };
    if flags & !O_CLOEXEC != 0 || (three && old == new) {
        return Err(Errno::EINVAL.into());
    }
    let id = w.fd(c.tid, old)?;
    if new < 0 || new as u64 >= w.p(w.tgid(c.tid))?.limits[RLIMIT_NOFILE].0 {
        return Err(Errno::EBADF.into());
    }
    if old == new {
        return Ok(new as i64);
    }
    w.add_ref(id);
    let _ = w.close_fd(c.tid, new);
    let t = w
        .t(c.tid)?
        .files
        .and_then(|f| w.fdtables.get_mut(&f))
        .ok_or(Errno::EBADF)?;
    t.set(
        new as usize,
        crate::fd::Slot {
            file: id,
            cloexec: flags & O_CLOEXEC != 0,
        },
    );
    Ok(new as i64)
}

pub(crate) fn fcntl(w: &mut World, c: &mut Call) -> SysRes {
    let (fd, cmd, arg) = (c.a[0] as i32, c.a[1], c.a[2]);
    let id = w.fd(c.tid, fd)?;
    let f = w.file(id)?.clone();
    if f.flags & O_PATH != 0 && !matches!(cmd, 0 | 1030 | 1 | 2 | 3) {
        return Err(Errno::EBADF.into());
    }
    let table = w.t(c.tid)?.files.ok_or(Errno::EBADF)?;
    match cmd {
        0 | 1030 => {
            if arg >= w.p(w.tgid(c.tid))?.limits[RLIMIT_NOFILE].0 {
                return Err(Errno::EINVAL.into());
            }
            w.add_ref(id);
            Ok(w.install_from(c.tid, id, cmd == 1030, arg as usize)?)
        }
        1 => Ok(i64::from(
            w.fdtables
                .get(&table)
                .and_then(|t| t.get(fd))
                .is_some_and(|s| s.cloexec),
        )),
        2 => {
            if let Some(Some(s)) = w
                .fdtables
                .get_mut(&table)
                .and_then(|t| t.slots.get_mut(fd as usize))
            {
                s.cloexec = arg & 1 != 0;
            }
            Ok(0)
        }
        3 => {
            let large = if matches!(f.what, What::File(..) | What::Tty(_) | What::Char(_)) {
                O_LARGEFILE
            } else {
                0
            };
            Ok((f.flags | large) as i64)
        }
        4 => {
            const CAN: u32 = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME;
            let x = w.file_mut(id)?;
            x.flags = x.flags & !CAN | arg as u32 & CAN;
            if let What::Socket(s) = f.what {
                w.sock_nonblock(s, arg as u32 & O_NONBLOCK != 0);
            }
            Ok(0)
        }
        5..=7 | 36..=38 => fcntl_lock(w, c, id, &f),
        8 => {
            w.file_mut(id)?.owner = arg as i32;
            Ok(0)
        }
        9 => Ok(f.owner as i64),
        10 => {
            w.file_mut(id)?.sig = arg as u8;
            Ok(0)
        }
        11 => Ok(f.sig as i64),
        15 => {
            let mut b = [0; 8];
            w.copy_in(c.tid, arg, &mut b)?;
            w.file_mut(id)?.owner = le32(&b, 4) as i32;
            Ok(0)
        }
        16 => {
            let mut e = Enc::new();
            e.i32(1).i32(f.owner);
            w.copy_out(c.tid, arg, &e.0)?;
            Ok(0)
        }
        1024 | 1025 => {
            // Leases: none are held.
            Ok(if cmd == 1025 { 2 } else { 0 })
        }
        1026 => Ok(0),
        1031 | 1032 => {
            let What::Pipe { id: p, .. } = f.what else {
                return Err(Errno::EBADF.into());
            };
            let admin = w.t(c.tid)?.creds.capable(cap::SYS_RESOURCE);
            let p = w.pipes.get_mut(p).ok_or(Errno::EBADF)?;
            if cmd == 1031 {
                let n = (arg as usize).max(4096).next_power_of_two();
                if n > 1 << 20 && !admin {
                    return Err(Errno::EPERM.into());
                }
                if n < p.buf.len() || n > 1 << 24 {
                    return Err(Errno::EBUSY.into());
                }
                p.cap = n;
            }
            Ok(p.cap as i64)
        }
        1033 => Ok(0),
        1034 => Ok(i64::from(matches!(f.what, What::File(_, Kind::Regular)))),
        _ => Err(Errno::EINVAL.into()),
    }
}
