//! Reading and writing descriptors: a step of each kind of description, and the calls that make steps until they have enough.

use super::{Call, SysRes, Trap};
use crate::abi::sig::{SIGXFSZ, SigInfo};
use crate::abi::*;
use crate::fd::{Char, File, What};
use crate::vfs::Kind;
use crate::wait::WaitKey;
use crate::world::World;
use crate::{Errno, KResult};

/// Bytes moved at once.
const CHUNK: usize = 256 << 10;
/// Most bytes that one call moves before it gives others a turn; it goes on at once.
pub(super) const STEP: usize = 4 << 20;

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
    pub(super) fn write_step(
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

pub(super) fn do_read(
    w: &mut World,
    c: &mut Call,
    fd: i32,
    iov: Vec<(u64, usize)>,
    pos: Option<i64>,
) -> SysRes {
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

pub(super) fn do_write(
    w: &mut World,
    c: &mut Call,
    fd: i32,
    iov: Vec<(u64, usize)>,
    pos: Option<i64>,
) -> SysRes {
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

pub(super) fn check_seekable(f: &File) -> Result<(), Errno> {
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
