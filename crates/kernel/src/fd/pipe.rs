//! Pipes and FIFOs.

use super::What;
use crate::abi::sig::{SIGPIPE, SigInfo};
use crate::abi::*;
use crate::sys::{Call, SysRes, Trap};
use crate::wait::WaitKey;
use crate::world::World;
use crate::{Errno, KResult};
use std::collections::VecDeque;
use turncoat_freeze::Freeze;

/// Writes up to this size are atomic.
pub(crate) const PIPE_BUF: usize = 4096;

/// One pipe. The bytes in it, and how many descriptions read and write it.
#[derive(Clone, Freeze)]
pub(crate) struct Pipe {
    pub buf: VecDeque<u8>,
    pub cap: usize,
    pub readers: u32,
    pub writers: u32,
    /// Opens so far, for FIFO opens that wait for the other side.
    pub r_opens: u32,
    pub w_opens: u32,
    /// The inode number that /proc/PID/fd shows, or the FIFO's.
    pub ino: u64,
    pub fifo: bool,
}

impl Pipe {
    pub fn room(&self) -> usize {
        self.cap.saturating_sub(self.buf.len())
    }
}

impl World {
    pub(crate) fn new_pipe(&mut self, readers: u32, writers: u32) -> u32 {
        self.anon_ino += 1;
        let ino = self.anon_ino;
        self.pipes.insert(Pipe {
            buf: VecDeque::new(),
            cap: 65536,
            readers,
            writers,
            r_opens: readers,
            w_opens: writers,
            ino,
            fifo: false,
        })
    }

    pub(crate) fn pipe_close(&mut self, id: u32, read: bool, write: bool) {
        if let Some(p) = self.pipes.get_mut(id) {
            p.readers = p.readers.saturating_sub(u32::from(read));
            p.writers = p.writers.saturating_sub(u32::from(write));
            if p.readers == 0 && p.writers == 0 {
                let p = self.pipes.remove(id);
                if p.is_some_and(|p| p.fifo) {
                    self.fifos.retain(|_, v| *v != id);
                }
            }
        }
        self.wake(WaitKey::Pipe(id));
    }

    /// Takes up to `max` bytes; `None` if the caller is to wait.
    pub(crate) fn pipe_read(&mut self, id: u32, max: usize) -> KResult<Option<Vec<u8>>> {
        let p = self.pipes.get_mut(id).ok_or(Errno::EBADF)?;
        if p.buf.is_empty() {
            return Ok((p.writers == 0).then(Vec::new));
        }
        let n = max.min(p.buf.len());
        let v: Vec<u8> = p.buf.drain(..n).collect();
        if p.buf.is_empty() {
            p.buf.shrink_to(0);
        }
        self.wake(WaitKey::Pipe(id));
        Ok(Some(v))
    }

    /// Puts bytes in; `None` if the caller is to wait. `whole`: what is left of an atomic write.
    pub(crate) fn pipe_write(&mut self, tid: u32, id: u32, b: &[u8], total: usize) -> KResult<Option<usize>> {
        let p = self.pipes.get_mut(id).ok_or(Errno::EBADF)?;
        if p.readers == 0 {
            self.send_thread(
                tid,
                SigInfo::user(SIGPIPE, self.tgid(tid), self.t(tid)?.creds.uid),
            );
            return Err(Errno::EPIPE);
        }
        let room = p.room();
        if room == 0 || (total <= PIPE_BUF && room < b.len()) {
            return Ok(None);
        }
        let n = room.min(b.len());
        p.buf.extend(&b[..n]);
        self.wake(WaitKey::Pipe(id));
        Ok(Some(n))
    }

    pub(crate) fn pipe_poll(&self, id: u32, read: bool, write: bool) -> u16 {
        let Some(p) = self.pipes.get(id) else {
            return POLLERR;
        };
        let mut r = 0;
        if read {
            if !p.buf.is_empty() {
                r |= POLLIN | POLLRDNORM;
            }
            if p.writers == 0 && p.w_opens > 0 {
                r |= POLLHUP;
            }
        }
        if write {
            if p.room() >= PIPE_BUF.min(p.cap) {
                r |= POLLOUT | POLLWRNORM;
            }
            if p.readers == 0 {
                r |= POLLERR;
            }
        }
        r
    }

    /// Opens a FIFO: waits for the other side as fifo(7) says.
    pub(crate) fn fifo_open(&mut self, c: &mut Call, ino: u64, flags: u32) -> Result<What, Trap> {
        let id = match self.fifos.get(&ino) {
            Some(i) => *i,
            None => {
                let i = self.new_pipe(0, 0);
                if let Some(p) = self.pipes.get_mut(i) {
                    p.fifo = true;
                    p.ino = ino;
                }
                self.fifos.insert(ino, i);
                i
            }
        };
        let (read, write) = match flags & O_ACCMODE {
            O_RDONLY => (true, false),
            O_WRONLY => (false, true),
            _ => (true, true),
        };
        let p = self.pipes.get_mut(id).ok_or(Errno::ENXIO)?;
        // `scratch` remembers that this open has been counted: bit 0, and the other side's count then.
        if c.scratch & 1 == 0 {
            if write && !read && flags & O_NONBLOCK != 0 && p.readers == 0 {
                if p.writers == 0 {
                    self.pipes.remove(id);
                    self.fifos.remove(&ino);
                }
                return Err(Errno::ENXIO.into());
            }
            let seen = if read { p.w_opens } else { p.r_opens };
            c.scratch = 1 | (seen as u64) << 1;
            p.readers += u32::from(read);
            p.writers += u32::from(write);
            p.r_opens += u32::from(read);
            p.w_opens += u32::from(write);
        }
        let seen = (c.scratch >> 1) as u32;
        let wait = flags & O_NONBLOCK == 0
            && ((read && !write && p.writers == 0 && p.w_opens == seen)
                || (write && !read && p.readers == 0 && p.r_opens == seen));
        self.wake(WaitKey::Pipe(id));
        if wait {
            c.undo = Some((id, read, write));
            return Err(Trap::wait(WaitKey::Pipe(id)));
        }
        c.undo = None;
        Ok(What::Pipe { id, read, write })
    }
}

pub(crate) fn pipe2(w: &mut World, c: &mut Call) -> SysRes {
    let flags = if c.nr == 22 { 0 } else { c.a[1] as u32 };
    if flags & !(O_CLOEXEC | O_NONBLOCK | O_DIRECT) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let id = w.new_pipe(1, 1);
    let cloexec = flags & O_CLOEXEC != 0;
    let keep = flags & (O_NONBLOCK | O_DIRECT);
    let r = w.new_file(
        What::Pipe {
            id,
            read: true,
            write: false,
        },
        O_RDONLY | keep,
        None,
    )?;
    let wr = w.new_file(
        What::Pipe {
            id,
            read: false,
            write: true,
        },
        O_WRONLY | keep,
        None,
    )?;
    let a = match w.install(c.tid, r, cloexec) {
        Ok(a) => a,
        Err(e) => {
            w.unref(wr);
            return Err(e.into());
        }
    };
    let b = match w.install(c.tid, wr, cloexec) {
        Ok(b) => b,
        Err(e) => {
            let _ = w.close_fd(c.tid, a as i32);
            return Err(e.into());
        }
    };
    let mut e = Enc::new();
    e.i32(a as i32).i32(b as i32);
    if let Err(e) = w.copy_out(c.tid, c.a[0], &e.0) {
        let _ = w.close_fd(c.tid, a as i32);
        let _ = w.close_fd(c.tid, b as i32);
        return Err(e.into());
    }
    Ok(0)
}
