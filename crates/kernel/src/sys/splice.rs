//! Bytes that go from one description to another without passing through the program: sendfile, copy_file_range, splice, tee, vmsplice.

use super::rw::{Got, STEP, do_read, do_write};
use super::{Call, SysRes, Trap};
use crate::abi::*;
use crate::fd::{Char, What};
use crate::vfs::Kind;
use crate::wait::WaitKey;
use crate::world::World;
use crate::{Errno, KResult};

/// Moves bytes between two descriptions inside the kernel; used by sendfile, splice and copy_file_range.
fn pump(w: &mut World, c: &mut Call, from: (u32, Option<u64>), to: (u32, Option<u64>), len: usize) -> SysRes {
    let mut total = 0usize;
    let len = len.min(STEP);
    while total < len {
        let (fi, fo) = (w.file(from.0)?.clone(), w.file(to.0)?.clone());
        // Room first, so that nothing read is lost.
        if !w.poll_keys(c.tid, to.0).is_empty()
            && w.poll_file(c.tid, to.0) & (POLLOUT | POLLERR | POLLHUP) == 0
        {
            if total > 0 {
                break;
            }
            if fo.nonblock() {
                return Err(Errno::EAGAIN.into());
            }
            return Err(Trap::Block {
                keys: w.poll_keys(c.tid, to.0),
                until: None,
                unint: false,
            });
        }
        let room = match &fo.what {
            What::Pipe { id, .. } => w.pipes.get(*id).map_or(0, |p| p.room()),
            _ => 65536,
        };
        let max = (len - total).min(room.clamp(1, 65536));
        let at = from.1.map(|p| p.wrapping_add(total as u64));
        let b = match w.read_step(c, from.0, &fi, max, at)? {
            Got::Bytes(b) => b,
            Got::Wait(keys, until) => {
                if total > 0 {
                    break;
                }
                if fi.nonblock() {
                    return Err(Errno::EAGAIN.into());
                }
                return Err(Trap::Block {
                    keys,
                    until,
                    unint: false,
                });
            }
        };
        if b.is_empty() {
            break;
        }
        let mut off = 0;
        let mut full = Vec::new();
        let mut failed = None;
        while off < b.len() {
            let fo = w.file(to.0)?.clone();
            let at = to.1.map(|p| p.wrapping_add((total + off) as u64));
            match w.write_step(c, to.0, &fo, &b[off..], at, b.len() - off) {
                Ok(Ok(n)) if n > 0 => off += n,
                Ok(Ok(_)) => break,
                Ok(Err(keys)) => {
                    full = keys;
                    break;
                }
                Err(e) => {
                    failed = Some(e);
                    break;
                }
            }
        }
        total += off;
        if off < b.len() {
            // What found no room (a terminal takes less than it has room for: newlines grow) is not read yet.
            match &fi.what {
                What::File(..) if from.1.is_none() => {
                    w.file_mut(from.0)?.pos = fi.pos.wrapping_add(off as u64)
                }
                What::Pipe { id, .. } => {
                    if let Some(p) = w.pipes.get_mut(*id) {
                        for byte in b[off..].iter().rev() {
                            p.buf.push_front(*byte);
                        }
                    }
                }
                _ => {}
            }
            if total == 0 {
                match failed {
                    Some(e) => return Err(e.into()),
                    None if fo.nonblock() => return Err(Errno::EAGAIN.into()),
                    None if !full.is_empty() => {
                        return Err(Trap::Block {
                            keys: full,
                            until: None,
                            unint: false,
                        });
                    }
                    None => {}
                }
            }
            break;
        }
    }
    c.work(total as u64 / 8);
    Ok(total as i64)
}

/// A file position that a program keeps in its memory.
fn offset(w: &mut World, c: &Call, va: u64) -> KResult<u64> {
    let v = w.read_u64(c.tid, va)?;
    if (v as i64) < 0 { Err(Errno::EINVAL) } else { Ok(v) }
}

pub(crate) fn sendfile(w: &mut World, c: &mut Call) -> SysRes {
    let (to, fo) = w.fd_io(c.tid, c.a[0] as i32)?;
    let (from, fi) = w.fd_io(c.tid, c.a[1] as i32)?;
    if !fi.readable() || !fo.writable() {
        return Err(Errno::EBADF.into());
    }
    if !matches!(fi.what, What::File(_, Kind::Regular) | What::Char(Char::Zero)) || fo.flags & O_APPEND != 0 {
        return Err(Errno::EINVAL.into());
    }
    let pos = if c.a[2] != 0 {
        Some(offset(w, c, c.a[2])?)
    } else {
        None
    };
    let n = pump(w, c, (from, pos), (to, None), c.a[3] as usize)?;
    if let Some(p) = pos {
        w.copy_out(c.tid, c.a[2], &(p.wrapping_add(n as u64)).to_le_bytes())?;
    }
    Ok(n)
}

pub(crate) fn copy_file_range(w: &mut World, c: &mut Call) -> SysRes {
    let (from, fi) = w.fd_io(c.tid, c.a[0] as i32)?;
    let (to, fo) = w.fd_io(c.tid, c.a[2] as i32)?;
    if !fi.readable() || !fo.writable() || fo.flags & O_APPEND != 0 {
        return Err(Errno::EBADF.into());
    }
    match (&fi.what, &fo.what) {
        (What::File(_, Kind::Dir), _) | (_, What::File(_, Kind::Dir)) => return Err(Errno::EISDIR.into()),
        (What::File(a, Kind::Regular), What::File(b, Kind::Regular)) => {
            if a.ino.fs() != b.ino.fs() {
                return Err(Errno::EXDEV.into());
            }
        }
        _ => return Err(Errno::EINVAL.into()),
    }
    let pi = if c.a[1] != 0 {
        Some(offset(w, c, c.a[1])?)
    } else {
        None
    };
    let po = if c.a[3] != 0 {
        Some(offset(w, c, c.a[3])?)
    } else {
        None
    };
    let n = pump(w, c, (from, pi), (to, po), c.a[4] as usize)?;
    if let Some(p) = pi {
        w.copy_out(c.tid, c.a[1], &(p.wrapping_add(n as u64)).to_le_bytes())?;
    }
    if let Some(p) = po {
        w.copy_out(c.tid, c.a[3], &(p.wrapping_add(n as u64)).to_le_bytes())?;
    }
    Ok(n)
}

pub(crate) fn splice(w: &mut World, c: &mut Call) -> SysRes {
    let (from, mut fi) = w.fd_io(c.tid, c.a[0] as i32)?;
    let (to, mut fo) = w.fd_io(c.tid, c.a[2] as i32)?;
    if !fi.readable() || !fo.writable() {
        return Err(Errno::EBADF.into());
    }
    let (pi, po) = (
        matches!(fi.what, What::Pipe { .. }),
        matches!(fo.what, What::Pipe { .. }),
    );
    if !pi && !po {
        return Err(Errno::EINVAL.into());
    }
    if (pi && c.a[1] != 0) || (po && c.a[3] != 0) {
        return Err(Errno::ESPIPE.into());
    }
    if c.a[5] & 2 != 0 {
        fi.flags |= O_NONBLOCK;
        fo.flags |= O_NONBLOCK;
        let ready =
            w.poll_file(c.tid, from) & (POLLIN | POLLHUP) != 0 && w.poll_file(c.tid, to) & POLLOUT != 0;
        if !ready {
            return Err(Errno::EAGAIN.into());
        }
    }
    let oi = if c.a[1] != 0 {
        Some(offset(w, c, c.a[1])?)
    } else {
        None
    };
    let oo = if c.a[3] != 0 {
        Some(offset(w, c, c.a[3])?)
    } else {
        None
    };
    let n = pump(w, c, (from, oi), (to, oo), (c.a[4] as usize).min(65536))?;
    if let Some(p) = oi {
        w.copy_out(c.tid, c.a[1], &(p.wrapping_add(n as u64)).to_le_bytes())?;
    }
    if let Some(p) = oo {
        w.copy_out(c.tid, c.a[3], &(p.wrapping_add(n as u64)).to_le_bytes())?;
    }
    Ok(n)
}

pub(crate) fn tee(w: &mut World, c: &mut Call) -> SysRes {
    let (_, fi) = w.fd_io(c.tid, c.a[0] as i32)?;
    let (_, fo) = w.fd_io(c.tid, c.a[1] as i32)?;
    let (What::Pipe { id: a, .. }, What::Pipe { id: b, .. }) = (&fi.what, &fo.what) else {
        return Err(Errno::EINVAL.into());
    };
    if a == b {
        return Err(Errno::EINVAL.into());
    }
    let src = w.pipes.get(*a).ok_or(Errno::EBADF)?;
    if src.buf.is_empty() {
        if src.writers == 0 {
            return Ok(0);
        }
        if c.a[3] & 2 != 0 || fi.nonblock() {
            return Err(Errno::EAGAIN.into());
        }
        return Err(Trap::wait(WaitKey::Pipe(*a)));
    }
    let room = w.pipes.get(*b).map_or(0, |p| p.room());
    let data: Vec<u8> = src
        .buf
        .iter()
        .copied()
        .take((c.a[2] as usize).min(room))
        .collect();
    if data.is_empty() && c.a[2] > 0 {
        if c.a[3] & 2 != 0 || fo.nonblock() {
            return Err(Errno::EAGAIN.into());
        }
        return Err(Trap::wait(WaitKey::Pipe(*b)));
    }
    let n = w.pipe_write(c.tid, *b, &data, data.len())?.unwrap_or(0);
    Ok(n as i64)
}

pub(crate) fn vmsplice(w: &mut World, c: &mut Call) -> SysRes {
    let iov = w.read_iovec(c.tid, c.a[1], c.a[2])?;
    let (_, f) = w.fd_io(c.tid, c.a[0] as i32)?;
    if !matches!(f.what, What::Pipe { .. }) {
        return Err(Errno::EBADF.into());
    }
    if f.writable() {
        do_write(w, c, c.a[0] as i32, iov, None)
    } else {
        do_read(w, c, c.a[0] as i32, iov, None)
    }
}
