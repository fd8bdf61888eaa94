//! poll, ppoll, select, pselect6: what is ready, and what to wait for.

use super::{Char, What};
use crate::Errno;
use crate::abi::*;
use crate::sys::{Call, SysRes, Trap};
use crate::wait::WaitKey;
use crate::world::World;

impl World {
    /// Poll bits of a description that hold now.
    pub(crate) fn poll_file(&self, tid: u32, id: u32) -> u16 {
        const RW: u16 = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
        let Ok(f) = self.file(id) else { return POLLNVAL };
        match &f.what {
            What::File(..) => RW,
            What::Char(Char::Kmsg) => POLLIN,
            What::Char(_) => RW,
            What::Pipe { id, read, write } => self.pipe_poll(*id, *read, *write),
            What::Tty(t) => self.ttys.poll(t) as u16,
            What::Socket(s) => self.sock_poll(*s),
            What::Event(e) => self.event_poll(tid, *e),
        }
    }

    /// Keys that are woken when the description's readiness changes.
    pub(crate) fn poll_keys(&self, tid: u32, id: u32) -> Vec<WaitKey> {
        let Ok(f) = self.file(id) else { return Vec::new() };
        match &f.what {
            What::File(..) | What::Char(_) => Vec::new(),
            What::Pipe { id, .. } => vec![WaitKey::Pipe(*id)],
            What::Tty(t) => vec![t.wait_key()],
            What::Socket(s) => self.sock_keys(*s),
            What::Event(e) => self.event_keys(tid, *e),
        }
    }
}

/// Sets the deadline at the first try; true if it is over.
fn over(w: &World, c: &mut Call, timeout: Option<u64>) -> bool {
    if c.first {
        c.deadline = timeout.map(|t| w.clock.mono().saturating_add(t));
    }
    c.deadline.is_some_and(|d| w.clock.mono() >= d)
}

/// Writes what is left of the time, as ppoll and select do.
fn write_left(w: &mut World, c: &Call, va: u64, micros: bool) {
    if va == 0 {
        return;
    }
    let Some(d) = c.deadline else { return };
    let left = d.saturating_sub(w.clock.mono());
    let mut e = Enc::new();
    e.u64(left / crate::time::SEC);
    e.u64(if micros {
        left % crate::time::SEC / 1000
    } else {
        left % crate::time::SEC
    });
    let _ = w.copy_out(c.tid, va, &e.0);
}

pub(crate) fn poll(w: &mut World, c: &mut Call) -> SysRes {
    let n = c.a[1];
    if n > w.p(w.tgid(c.tid))?.limits[RLIMIT_NOFILE].0 {
        return Err(Errno::EINVAL.into());
    }
    let pp = c.nr == 271;
    let mut timeout = None;
    if c.first {
        if pp {
            if c.a[2] != 0 {
                timeout = Some(crate::time::read_timespec(w, c.tid, c.a[2])?);
            }
            if c.a[3] != 0 {
                if c.a[4] != 8 {
                    return Err(Errno::EINVAL.into());
                }
                let set = crate::signal::read_set(w, c.tid, c.a[3])?;
                crate::signal::temp_mask(w, c.tid, set)?;
            }
        } else if c.a[2] as i32 >= 0 {
            timeout = Some((c.a[2] as u32 as u64) * 1_000_000);
        }
    }
    let over = over(w, c, timeout);
    let mut b = vec![0u8; n as usize * 8];
    w.copy_in(c.tid, c.a[0], &mut b)?;
    let mut ready = 0;
    let mut keys = Vec::new();
    for e in b.chunks_exact_mut(8) {
        let fd = le32(e, 0) as i32;
        let want = le16(e, 4);
        let r = if fd < 0 {
            0
        } else {
            match w.fd_io(c.tid, fd) {
                Ok((id, _)) => {
                    keys.extend(w.poll_keys(c.tid, id));
                    w.poll_file(c.tid, id) & (want | POLLERR | POLLHUP | POLLNVAL)
                }
                Err(_) => POLLNVAL,
            }
        };
        e[6..8].copy_from_slice(&r.to_le_bytes());
        ready += i64::from(r != 0);
    }
    if ready == 0 && !over {
        return Err(Trap::Block {
            keys,
            until: c.deadline,
            unint: false,
        });
    }
    w.copy_out(c.tid, c.a[0], &b)?;
    if pp {
        write_left(w, c, c.a[2], false);
    }
    Ok(ready)
}

pub(crate) fn select(w: &mut World, c: &mut Call) -> SysRes {
    let n = c.a[0] as i32;
    if n < 0 {
        return Err(Errno::EINVAL.into());
    }
    let n = (n as usize).min(1 << 16);
    let ps = c.nr == 270;
    let mut timeout = None;
    if c.first {
        if c.a[4] != 0 {
            timeout = Some(if ps {
                crate::time::read_timespec(w, c.tid, c.a[4])?
            } else {
                let mut b = [0; 16];
                w.copy_in(c.tid, c.a[4], &mut b)?;
                let (s, us) = (le64(&b, 0) as i64, le64(&b, 8) as i64);
                if s < 0 || us < 0 {
                    return Err(Errno::EINVAL.into());
                }
                (s as u64)
                    .saturating_mul(crate::time::SEC)
                    .saturating_add((us as u64).saturating_mul(1000))
            });
        }
        if ps && c.a[5] != 0 {
            let (set, size) = (
                w.read_u64(c.tid, c.a[5])?,
                w.read_u64(c.tid, c.a[5].wrapping_add(8))?,
            );
            if set != 0 {
                if size != 8 {
                    return Err(Errno::EINVAL.into());
                }
                let set = crate::signal::read_set(w, c.tid, set)?;
                crate::signal::temp_mask(w, c.tid, set)?;
            }
        }
    }
    let over = over(w, c, timeout);
    let bytes = n.div_ceil(64) * 8;
    let mut sets = [vec![0u8; bytes], vec![0u8; bytes], vec![0u8; bytes]];
    for (s, va) in sets.iter_mut().zip(&c.a[1..4]) {
        if *va != 0 {
            w.copy_in(c.tid, *va, s)?;
        }
    }
    const WANT: [u16; 3] = [
        POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR,
        POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR,
        POLLPRI,
    ];
    let mut out = [vec![0u8; bytes], vec![0u8; bytes], vec![0u8; bytes]];
    let mut ready = 0;
    let mut keys = Vec::new();
    for fd in 0..n {
        let (byte, bit) = (fd / 8, 1u8 << (fd % 8));
        if sets.iter().all(|s| s[byte] & bit == 0) {
            continue;
        }
        let (id, _) = w.fd_io(c.tid, fd as i32)?;
        keys.extend(w.poll_keys(c.tid, id));
        let r = w.poll_file(c.tid, id);
        for i in 0..3 {
            if sets[i][byte] & bit != 0 && r & WANT[i] != 0 {
                out[i][byte] |= bit;
                ready += 1;
            }
        }
    }
    if ready == 0 && !over {
        return Err(Trap::Block {
            keys,
            until: c.deadline,
            unint: false,
        });
    }
    for (s, va) in out.iter().zip(&c.a[1..4]) {
        if *va != 0 {
            w.copy_out(c.tid, *va, s)?;
        }
    }
    write_left(w, c, c.a[4], !ps);
    Ok(ready)
}
