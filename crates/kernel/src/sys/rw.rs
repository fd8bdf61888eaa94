//! Reading and writing descriptors, and the calls that turn descriptors: dup, fcntl, ioctl, lseek, sendfile, splice.

use super::{Call, SysRes, Trap};
use crate::abi::sig::{SIGXFSZ, SigInfo};
use crate::abi::*;
use crate::fd::{Char, File, What};
use crate::task::cap;
use crate::vfs::{Kind, LockKind, LockRange, inmask};
use crate::wait::WaitKey;
use crate::world::World;
use crate::{Errno, KResult};

/// Bytes moved at once.
const CHUNK: usize = 256 << 10;
/// Most bytes that one call moves before it gives others a turn; it goes on at once.
const STEP: usize = 4 << 20;

/// What one step of reading gave.
pub(crate) enum Got {
    Bytes(Vec<u8>),
    Wait(Vec<WaitKey>, Option<u64>),
}

impl World {
    /// Reads up to `max` bytes of a description at `pos` (or at its own position).
    pub(crate) fn read_step(
        &mut self,
        c: &mut Call,
        id: u32,
        f: &File,
        max: usize,
        pos: Option<u64>,
    ) -> Result<Got, Errno> {
        let key = |w: &World| Got::Wait(w.poll_keys(c.tid, id), None);
        Ok(match &f.what {
            What::File(l, Kind::Regular) => {
                let at = pos.unwrap_or(f.pos);
                let mut b = vec![0; max];
                let n = self.fs(c.tid, |v, x| v.read(x, l, at, &mut b))??;
                b.truncate(n);
                if n > 0 {
                    self.bait_taken(c.tid, l);
                }
                if pos.is_none() {
                    self.file_mut(id)?.pos = at.saturating_add(n as u64);
                }
                Got::Bytes(b)
            }
            What::File(_, Kind::Dir) => return Err(Errno::EISDIR),
            What::File(l, Kind::Synthetic) => {
                let at = pos.unwrap_or(f.pos);
                let mut b = vec![0; max];
                let n = self.fs(c.tid, |v, x| v.synthetic_read(x, l.ino, at, &mut b))??;
                b.truncate(n);
                if pos.is_none() {
                    self.file_mut(id)?.pos = at.saturating_add(n as u64);
                }
                c.work(20_000);
                Got::Bytes(b)
            }
            What::File(..) => return Err(Errno::EINVAL),
            What::Pipe { id: p, .. } => match self.pipe_read(*p, max)? {
                Some(b) => Got::Bytes(b),
                None => key(self),
            },
            What::Tty(t) => {
                if self.guard_read(c.tid, t) {
                    return Ok(Got::Wait(vec![t.wait_key()], None));
                }
                let who = self.tty_caller(c.tid)?;
                c.tty.nonblock = f.nonblock();
                let now = self.clock.mono();
                let r = self.ttys.read(t, &who, max, &mut c.tty, now);
                match r {
                    Ok(mut b) => {
                        if !self.guard_line(c.tid, t, &mut b) {
                            self.tty_line(c.tid, t, &b);
                        }
                        Got::Bytes(b)
                    }
                    Err(Errno::EAGAIN) => Got::Wait(vec![t.wait_key()], c.tty.deadline),
                    Err(e) => return Err(e),
                }
            }
            What::Socket(s) => return self.sock_read(*s, max, f),
            What::Event(e) => match self.event_read(c.tid, *e, max)? {
                Some(b) => Got::Bytes(b),
                None => Got::Wait(self.event_keys(c.tid, *e), None),
            },
            What::Char(Char::Null) => Got::Bytes(Vec::new()),
            What::Char(Char::Zero | Char::Full) => Got::Bytes(vec![0; max]),
            What::Char(Char::Random) => {
                let mut b = vec![0; max];
                self.rng.fill(&mut b);
                Got::Bytes(b)
            }
            What::Char(Char::Kmsg) => {
                let Some(line) = self.kmsg_record(f.pos) else {
                    return if f.nonblock() {
                        Err(Errno::EAGAIN)
                    } else {
                        Ok(Got::Wait(Vec::new(), None))
                    };
                };
                if line.len() > max {
                    return Err(Errno::EINVAL);
                }
                self.file_mut(id)?.pos += 1;
                Got::Bytes(line)
            }
        })
    }

    /// Writes bytes; how many, or what to wait for. `total`: the size of the whole write.
    fn write_step(
        &mut self,
        c: &mut Call,
        id: u32,
        f: &File,
        b: &[u8],
        pos: Option<u64>,
        total: usize,
    ) -> Result<Result<usize, Vec<WaitKey>>, Errno> {
        Ok(match &f.what {
            What::File(l, Kind::Regular) => {
                let len = self.vfs.file_len(l.ino)?;
                let at = if f.flags & O_APPEND != 0 {
                    len
                } else {
                    pos.unwrap_or(f.pos)
                };
                let limit = self.p(self.tgid(c.tid))?.limits[RLIMIT_FSIZE].0;
                let mut b = b;
                if limit != RLIM_INFINITY && !b.is_empty() {
                    if at >= limit {
                        self.send_thread(c.tid, SigInfo::user(SIGXFSZ, self.tgid(c.tid), 0));
                        return Err(Errno::EFBIG);
                    }
                    b = &b[..b.len().min((limit - at) as usize)];
                }
                let n = self.fs(c.tid, |v, x| v.write(x, l, at, b))??;
                if pos.is_none() {
                    self.file_mut(id)?.pos = at.saturating_add(n as u64);
                }
                Ok(n)
            }
            What::File(l, Kind::Synthetic) => {
                let n = self.fs(c.tid, |v, x| v.synthetic_write(x, l.ino, b))??;
                Ok(n)
            }
            What::File(..) => return Err(Errno::EINVAL),
            What::Pipe { id: p, .. } => match self.pipe_write(c.tid, *p, b, total)? {
                Some(n) => Ok(n),
                None => Err(vec![WaitKey::Pipe(*p)]),
            },
            What::Tty(t) => {
                let who = self.tty_caller(c.tid)?;
                match self.ttys.write(t, &who, b) {
                    Ok(n) => Ok(n),
                    Err(Errno::EAGAIN) => Err(vec![t.wait_key()]),
                    Err(e) => return Err(e),
                }
            }
            What::Socket(s) => return self.sock_write(c, *s, b, f),
            What::Event(e) => match self.event_write(*e, b)? {
                Some(n) => Ok(n),
                None => Err(self.event_keys(c.tid, *e)),
            },
            What::Char(Char::Full) => return Err(Errno::ENOSPC),
            What::Char(_) => Ok(b.len()),
        })
    }

    fn scatter(&mut self, tid: u32, iov: &[(u64, usize)], skip: usize, b: &[u8]) -> KResult<()> {
        let (mut skip, mut at) = (skip, 0);
        for (va, len) in iov {
            if skip >= *len {
                skip -= len;
                continue;
            }
            let n = (len - skip).min(b.len() - at);
            self.copy_out(tid, va.wrapping_add(skip as u64), &b[at..at + n])?;
            at += n;
            skip = 0;
            if at == b.len() {
                break;
            }
        }
        Ok(())
    }

    fn gather(&mut self, tid: u32, iov: &[(u64, usize)], skip: usize, max: usize) -> KResult<Vec<u8>> {
        let mut skip = skip;
        let mut out = Vec::new();
        for (va, len) in iov {
            if skip >= *len {
                skip -= len;
                continue;
            }
            let n = (len - skip).min(max - out.len());
            let from = out.len();
            out.resize(from + n, 0);
            let got = self.copy_in_some(tid, va.wrapping_add(skip as u64), &mut out[from..])?;
            if got < n {
                out.truncate(from + got);
                return if out.is_empty() {
                    Err(Errno::EFAULT)
                } else {
                    Ok(out)
                };
            }
            skip = 0;
            if out.len() == max {
                break;
            }
        }
        Ok(out)
    }
}

/// True if reads return what there is, rather than filling the buffer.
fn is_stream(f: &File) -> bool {
    !matches!(
        f.what,
        What::File(_, Kind::Regular | Kind::Synthetic) | What::Char(Char::Zero | Char::Full | Char::Random)
    )
}

fn do_read(w: &mut World, c: &mut Call, fd: i32, iov: Vec<(u64, usize)>, pos: Option<i64>) -> SysRes {
    let (id, f) = w.fd_io(c.tid, fd)?;
    if !f.readable() {
        return Err(Errno::EBADF.into());
    }
    if pos.is_some() {
        check_seekable(&f)?;
    }
    if pos.is_some_and(|p| p < 0) {
        return Err(Errno::EINVAL.into());
    }
    let total: usize = iov.iter().map(|v| v.1).sum();
    if total == 0 && !matches!(f.what, What::Event(_) | What::File(_, Kind::Dir)) {
        return Ok(0);
    }
    let mut f = f;
    loop {
        let done = c.progress as usize;
        let max = (total - done).min(CHUNK);
        let at = pos.map(|p| (p as u64).wrapping_add(done as u64));
        let b = match w.read_step(c, id, &f, max, at)? {
            Got::Bytes(b) => b,
            Got::Wait(keys, until) => {
                if f.nonblock() {
                    return Err(Errno::EAGAIN.into());
                }
                return Err(Trap::Block {
                    keys,
                    until,
                    unint: false,
                });
            }
        };
        w.scatter(c.tid, &iov, done, &b)?;
        c.progress += b.len() as u64;
        c.work(b.len() as u64 / 2);
        if b.len() < max || c.progress as usize >= total || is_stream(&f) {
            break;
        }
        f = w.file(id)?.clone();
        if c.progress as usize % STEP < CHUNK {
            c.work(CHUNK as u64);
        }
    }
    let n = c.progress;
    if let Ok(t) = w.tm(c.tid) {
        t.rchar += n;
        t.syscr += 1;
    }
    Ok(n as i64)
}

fn do_write(w: &mut World, c: &mut Call, fd: i32, iov: Vec<(u64, usize)>, pos: Option<i64>) -> SysRes {
    let (id, f) = w.fd_io(c.tid, fd)?;
    if !f.writable() {
        return Err(Errno::EBADF.into());
    }
    if pos.is_some() {
        check_seekable(&f)?;
    }
    if pos.is_some_and(|p| p < 0) {
        return Err(Errno::EINVAL.into());
    }
    let total: usize = iov.iter().map(|v| v.1).sum();
    let whole = matches!(
        f.what,
        What::Socket(_) | What::Event(_) | What::File(_, Kind::Synthetic)
    );
    let mut f = f;
    loop {
        let done = c.progress as usize;
        let max = if whole {
            total.min(4 << 20)
        } else {
            (total - done).min(CHUNK)
        };
        let b = w.gather(c.tid, &iov, done, max)?;
        let at = pos.map(|p| (p as u64).wrapping_add(done as u64));
        match w.write_step(c, id, &f, &b, at, total)? {
            Ok(n) => {
                c.progress += n as u64;
                c.work(n as u64 / 2);
                let regular = matches!(f.what, What::File(..));
                if c.progress as usize >= total || (regular && n < b.len()) || n == 0 {
                    break;
                }
                if f.nonblock() && n < b.len() {
                    break;
                }
            }
            Err(keys) => {
                if f.nonblock() {
                    if c.progress > 0 {
                        break;
                    }
                    return Err(Errno::EAGAIN.into());
                }
                return Err(Trap::Block {
                    keys,
                    until: None,
                    unint: false,
                });
            }
        }
        f = w.file(id)?.clone();
    }
    let n = c.progress;
    if let Ok(t) = w.tm(c.tid) {
        t.wchar += n;
        t.syscw += 1;
    }
    Ok(n as i64)
}

fn check_seekable(f: &File) -> Result<(), Errno> {
    match f.what {
        What::Pipe { .. } | What::Socket(_) | What::Tty(_) | What::Event(_) => Err(Errno::ESPIPE),
        _ => Ok(()),
    }
}

pub(crate) fn read(w: &mut World, c: &mut Call) -> SysRes {
    let len = c.a[2];
    if len as i64 <= -1 {
        return Err(Errno::EINVAL.into());
    }
    do_read(
        w,
        c,
        c.a[0] as i32,
        vec![(c.a[1], len.min(0x7fff_f000) as usize)],
        None,
    )
}

pub(crate) fn write(w: &mut World, c: &mut Call) -> SysRes {
    let len = c.a[2];
    if len as i64 <= -1 {
        return Err(Errno::EINVAL.into());
    }
    do_write(
        w,
        c,
        c.a[0] as i32,
        vec![(c.a[1], len.min(0x7fff_f000) as usize)],
        None,
    )
}

pub(crate) fn pread64(w: &mut World, c: &mut Call) -> SysRes {
    do_read(
        w,
        c,
        c.a[0] as i32,
        vec![(c.a[1], c.a[2].min(0x7fff_f000) as usize)],
        Some(c.a[3] as i64),
    )
}

pub(crate) fn pwrite64(w: &mut World, c: &mut Call) -> SysRes {
    do_write(
        w,
        c,
        c.a[0] as i32,
        vec![(c.a[1], c.a[2].min(0x7fff_f000) as usize)],
        Some(c.a[3] as i64),
    )
}

pub(crate) fn readv(w: &mut World, c: &mut Call) -> SysRes {
    let iov = w.read_iovec(c.tid, c.a[1], c.a[2])?;
    let pos = match c.nr {
        19 => None,
        _ => Some(c.a[3] as i64).filter(|p| *p != -1 || c.nr == 295),
    };
    do_read(w, c, c.a[0] as i32, iov, pos)
}

pub(crate) fn writev(w: &mut World, c: &mut Call) -> SysRes {
    let iov = w.read_iovec(c.tid, c.a[1], c.a[2])?;
    let pos = match c.nr {
        20 => None,
        _ => Some(c.a[3] as i64).filter(|p| *p != -1 || c.nr == 296),
    };
    do_write(w, c, c.a[0] as i32, iov, pos)
}

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

fn fcntl_lock(w: &mut World, c: &mut Call, id: u32, f: &File) -> SysRes {
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

pub(crate) fn ioctl(w: &mut World, c: &mut Call) -> SysRes {
    let (fd, req, arg) = (c.a[0] as i32, c.a[1] as u32, c.a[2]);
    let (id, f) = w.fd_io(c.tid, fd)?;
    match req {
        0x5451 | 0x5450 => {
            let table = w.t(c.tid)?.files.ok_or(Errno::EBADF)?;
            if let Some(Some(s)) = w
                .fdtables
                .get_mut(&table)
                .and_then(|t| t.slots.get_mut(fd as usize))
            {
                s.cloexec = req == 0x5451;
            }
            return Ok(0);
        }
        0x5421 => {
            let on = w.read_u32(c.tid, arg)? != 0;
            let x = w.file_mut(id)?;
            x.flags = if on {
                x.flags | O_NONBLOCK
            } else {
                x.flags & !O_NONBLOCK
            };
            if let What::Socket(s) = f.what {
                w.sock_nonblock(s, on);
            }
            return Ok(0);
        }
        0x5452 => {
            let _ = w.read_u32(c.tid, arg)?;
            return Ok(0);
        }
        _ => {}
    }
    match &f.what {
        What::Tty(t) => tty_ioctl(w, c, *t, &f),
        What::Pipe { id: p, .. } => match req {
            0x541b => {
                let n = w.pipes.get(*p).map_or(0, |p| p.buf.len()) as u32;
                w.copy_out(c.tid, arg, &n.to_le_bytes())?;
                Ok(0)
            }
            _ => Err(Errno::ENOTTY.into()),
        },
        What::Socket(s) => {
            let s = *s;
            w.sock_ioctl(c, s, req, arg)
        }
        What::File(l, Kind::Regular | Kind::Dir) => {
            let l = l.clone();
            match req {
                0x541b if matches!(f.what, What::File(_, Kind::Regular)) => {
                    let n = w.vfs.file_len(l.ino)?.saturating_sub(f.pos) as u32;
                    w.copy_out(c.tid, arg, &n.to_le_bytes())?;
                    Ok(0)
                }
                0x8008_6601 => {
                    let v = w.fs(c.tid, |v, x| v.flags(x, &l))??;
                    w.copy_out(c.tid, arg, &v.to_le_bytes())?;
                    Ok(0)
                }
                0x4008_6602 => {
                    let flags = w.read_u32(c.tid, arg)?;
                    w.fs(c.tid, |v, x| v.set_flags(x, &l, flags))??;
                    Ok(0)
                }
                0x8008_7601 => {
                    let g = w.vfs.generation(l.ino);
                    w.copy_out(c.tid, arg, &g.to_le_bytes())?;
                    Ok(0)
                }
                0x4004_9409 | 0x4020_940d => Err(Errno::EOPNOTSUPP.into()),
                _ => Err(Errno::ENOTTY.into()),
            }
        }
        What::Char(Char::Random) if req == 0x8004_5200 => {
            w.copy_out(c.tid, arg, &256u32.to_le_bytes())?;
            Ok(0)
        }
        What::File(_, Kind::BlockDev(..)) => {
            let sectors = w.facts_of.disk.sectors;
            match req {
                0x1260 => {
                    w.copy_out(c.tid, arg, &sectors.to_le_bytes())?;
                    Ok(0)
                }
                0x8008_1272 => {
                    w.copy_out(c.tid, arg, &(sectors * 512).to_le_bytes())?;
                    Ok(0)
                }
                0x1268 => {
                    w.copy_out(c.tid, arg, &512u32.to_le_bytes())?;
                    Ok(0)
                }
                _ => {
                    w.unserved(c.tid, &format!("ioctl {req:#x} on a block device"));
                    Err(Errno::ENOTTY.into())
                }
            }
        }
        _ => {
            if !matches!(req, 0x5401 | 0x5413 | 0x540f) {
                w.unserved(c.tid, &format!("ioctl {req:#x}"));
            }
            Err(Errno::ENOTTY.into())
        }
    }
}

fn tty_ioctl(w: &mut World, c: &mut Call, t: crate::tty::TtyFile, f: &File) -> SysRes {
    use crate::tty::ioctl::{Answer, Argument, argument};
    let (req, arg) = (c.a[1] as u32, c.a[2]);
    let kind = argument(req);
    let mut input = Vec::new();
    if let Argument::In(n) = kind {
        input = vec![0; n];
        w.copy_in(c.tid, arg, &mut input)?;
    }
    let who = w.tty_caller(c.tid)?;
    let before = w.ttys.tty(t.tty).map(|t| t.termios().lflag);
    let groups: Vec<(u32, u32)> = w.procs.values().map(|p| (p.pgid, p.sid)).collect();
    let session_of = |g: u32| groups.iter().find(|x| x.0 == g).map(|x| x.1);
    let r = w
        .ttys
        .ioctl(&t, &who, req, arg, &input, f.readable(), &session_of);
    let r = match r {
        Ok(a) => a,
        Err(Errno::ENOTTY) if !matches!(req, 0x540f | 0x5410 | 0x5429) => {
            w.unserved(c.tid, &format!("tty ioctl {req:#x}"));
            return Err(Errno::ENOTTY.into());
        }
        Err(e) => return Err(e.into()),
    };
    if matches!(req, 0x5402..=0x5404) {
        w.readline_done(c.tid, &t, before);
    }
    match r {
        Answer::Done => Ok(0),
        Answer::Bytes(b) => {
            w.copy_out(c.tid, arg, &b)?;
            Ok(0)
        }
        Answer::Open(file, flags) => {
            w.tty_effects();
            // ttyname(3) compares it with the node of that name.
            let root = w.vfs.root_path();
            let name = format!("/dev/pts/{}", file.tty.0);
            let loc = w.fs(0, |v, x| v.walk(x, &root, name.as_bytes(), 0))?.ok();
            let id = w.new_file(What::Tty(file), flags & !O_CLOEXEC, loc)?;
            Ok(w.install(c.tid, id, flags & O_CLOEXEC != 0)?)
        }
    }
}

/// A file position that a program keeps in its memory.
fn offset(w: &mut World, c: &Call, va: u64) -> KResult<u64> {
    let v = w.read_u64(c.tid, va)?;
    if (v as i64) < 0 { Err(Errno::EINVAL) } else { Ok(v) }
}

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

pub(crate) fn fsync(w: &mut World, c: &mut Call) -> SysRes {
    let (_, f) = w.fd_io(c.tid, c.a[0] as i32)?;
    match f.what {
        What::File(..) => Ok(0),
        _ => Err(Errno::EINVAL.into()),
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
