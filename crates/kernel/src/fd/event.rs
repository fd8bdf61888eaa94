//! eventfd, timerfd, signalfd, pidfd, inotify: descriptors that are events.

use super::What;
use super::epoll::Epoll;
use crate::abi::sig::{SigInfo, SigSet};
use crate::abi::*;
use crate::sys::{Call, SysRes};
use crate::task::Interval;
use crate::time::TimerRef;
use crate::wait::WaitKey;
use crate::world::World;
use crate::{Errno, KResult};
use std::collections::{BTreeMap, VecDeque};
use turncoat_freeze::Freeze;

/// An event object.
#[derive(Clone, Freeze)]
pub(crate) enum Event {
    Count { n: u64, semaphore: bool },
    Timer { clock: i32, iv: Interval, ticks: u64 },
    Signals(SigSet),
    Pid(u32),
    Inotify(Inotify),
    Epoll(Epoll),
}

/// An inotify instance.
#[derive(Clone, Default, Freeze)]
pub(crate) struct Inotify {
    pub next: i32,
    /// Watch descriptor to (inode, mask).
    pub watches: BTreeMap<i32, (u64, u32)>,
    /// Encoded events.
    pub queue: VecDeque<Vec<u8>>,
}

const INOTIFY_QUEUE: usize = 16384;
const IN_Q_OVERFLOW: u32 = 0x4000;
const IN_IGNORED: u32 = 0x8000;
const IN_ISDIR: u32 = 0x4000_0000;
const IN_ONESHOT: u32 = 0x8000_0000;
const IN_MASK_ADD: u32 = 0x2000_0000;

fn inotify_event(wd: i32, mask: u32, cookie: u32, name: &[u8]) -> Vec<u8> {
    let len = if name.is_empty() {
        0
    } else {
        (name.len() + 1).next_multiple_of(16)
    };
    let mut e = Enc::new();
    e.i32(wd).u32(mask).u32(cookie).u32(len as u32).field(name, len);
    e.0
}

impl World {
    fn new_event(&mut self, tid: u32, ev: Event, flags: u32) -> KResult<i64> {
        let id = self.events.insert(ev);
        let f = self.new_file(What::Event(id), O_RDWR | flags & O_NONBLOCK, None)?;
        self.install(tid, f, flags & O_CLOEXEC != 0)
    }

    pub(crate) fn new_epoll(&mut self, tid: u32, flags: u32) -> KResult<i64> {
        self.new_event(tid, Event::Epoll(Epoll::default()), flags)
    }

    pub(crate) fn new_pidfd(&mut self, tid: u32, pid: u32, flags: u32) -> KResult<i64> {
        self.new_event(tid, Event::Pid(pid), flags)
    }

    pub(crate) fn pidfd_target(&self, tid: u32, fd: i32) -> KResult<u32> {
        let (_, f) = self.fd_io(tid, fd)?;
        match f.what {
            What::Event(e) => match self.events.get(e) {
                Some(Event::Pid(p)) => Ok(*p),
                _ => Err(Errno::EBADF),
            },
            // A directory of /proc names its process too.
            What::File(l, crate::vfs::Kind::Dir)
                if l.parent != l.ino && self.vfs.statfs(&l).is_ok_and(|s| s.magic == 0x9fa0) =>
            {
                std::str::from_utf8(&l.name)
                    .ok()
                    .and_then(|s| s.parse().ok())
                    .ok_or(Errno::EBADF)
            }
            _ => Err(Errno::EBADF),
        }
    }

    /// A process is gone: its pidfds become readable.
    pub(crate) fn pidfd_wake(&mut self, tgid: u32) {
        let ids: Vec<u32> = self
            .events
            .iter()
            .filter(|(_, e)| matches!(e, Event::Pid(p) if *p == tgid))
            .map(|(i, _)| i)
            .collect();
        for i in ids {
            self.wake(WaitKey::Event(i));
        }
    }

    pub(crate) fn event_close(&mut self, id: u32) {
        match self.events.remove(id) {
            Some(Event::Timer { iv, .. }) => {
                self.timers.remove(&(iv.at, TimerRef::Fd(id)));
            }
            Some(Event::Epoll(_)) => self.epoll_gone(id),
            _ => {}
        }
        self.wake(WaitKey::Event(id));
    }

    pub(crate) fn fire_timerfd(&mut self, id: u32, at: u64, now: u64) {
        if let Some(Event::Timer { iv, ticks, .. }) = self.events.get_mut(id) {
            let (next, n) = crate::time::advance(at, iv.every, now);
            iv.at = next;
            *ticks += n;
            if next != 0 {
                self.timers.insert((next, TimerRef::Fd(id)));
            }
        }
        self.wake(WaitKey::Event(id));
    }

    /// Reads an event; `None` if there is none yet.
    pub(crate) fn event_read(&mut self, tid: u32, id: u32, max: usize) -> KResult<Option<Vec<u8>>> {
        let mut wake = false;
        let out = match self.events.get_mut(id).ok_or(Errno::EBADF)? {
            Event::Count { n, semaphore } => {
                if max < 8 {
                    return Err(Errno::EINVAL);
                }
                if *n == 0 {
                    return Ok(None);
                }
                let v = if *semaphore { 1 } else { *n };
                *n -= v;
                wake = true;
                v.to_le_bytes().to_vec()
            }
            Event::Timer { ticks, .. } => {
                if max < 8 {
                    return Err(Errno::EINVAL);
                }
                if *ticks == 0 {
                    return Ok(None);
                }
                std::mem::take(ticks).to_le_bytes().to_vec()
            }
            Event::Signals(set) => {
                let set = *set;
                if max < 128 {
                    return Err(Errno::EINVAL);
                }
                let mut out = Vec::new();
                while out.len() + 128 <= max {
                    let mut got = self.tm(tid)?.pending.take(set);
                    if got.is_none() {
                        let tgid = self.tgid(tid);
                        got = self.pm(tgid)?.pending.take(set);
                    }
                    match got {
                        Some(i) => out.extend(signalfd_info(&i)),
                        None => break,
                    }
                }
                if out.is_empty() {
                    return Ok(None);
                }
                out
            }
            Event::Inotify(n) => {
                let mut out = Vec::new();
                while let Some(e) = n.queue.front() {
                    if out.len() + e.len() > max {
                        break;
                    }
                    out.extend_from_slice(e);
                    n.queue.pop_front();
                }
                if out.is_empty() {
                    return if n.queue.is_empty() {
                        Ok(None)
                    } else {
                        Err(Errno::EINVAL)
                    };
                }
                out
            }
            Event::Pid(_) | Event::Epoll(_) => return Err(Errno::EINVAL),
        };
        if wake {
            self.wake(WaitKey::Event(id));
        }
        Ok(Some(out))
    }

    pub(crate) fn event_write(&mut self, id: u32, b: &[u8]) -> KResult<Option<usize>> {
        match self.events.get_mut(id).ok_or(Errno::EBADF)? {
            Event::Count { n, .. } => {
                if b.len() < 8 {
                    return Err(Errno::EINVAL);
                }
                let v = le64(b, 0);
                if v == u64::MAX {
                    return Err(Errno::EINVAL);
                }
                match n.checked_add(v) {
                    Some(s) if s < u64::MAX => *n = s,
                    _ => return Ok(None),
                }
            }
            _ => return Err(Errno::EINVAL),
        }
        self.wake(WaitKey::Event(id));
        Ok(Some(8))
    }

    pub(crate) fn event_poll(&self, tid: u32, id: u32) -> u16 {
        match self.events.get(id) {
            Some(Event::Count { n, .. }) => {
                let r = if *n > 0 { POLLIN } else { 0 };
                r | if *n < u64::MAX - 1 { POLLOUT } else { 0 }
            }
            Some(Event::Timer { ticks, .. }) if *ticks > 0 => POLLIN,
            Some(Event::Signals(set)) => {
                let Ok(t) = self.t(tid) else { return 0 };
                let shared = self.p(t.tgid).map_or(0, |p| p.pending.set.0);
                if (t.pending.set.0 | shared) & set.0 != 0 {
                    POLLIN
                } else {
                    0
                }
            }
            Some(Event::Pid(p)) if self.p(*p).map_or(true, |p| p.zombie.is_some()) => POLLIN,
            Some(Event::Inotify(n)) if !n.queue.is_empty() => POLLIN,
            Some(Event::Epoll(e)) => self.epoll_ready(tid, e),
            _ => 0,
        }
    }

    /// Something to wait for besides the object itself.
    pub(crate) fn event_keys(&self, tid: u32, id: u32) -> Vec<WaitKey> {
        match self.events.get(id) {
            Some(Event::Signals(_)) => vec![WaitKey::Signal(self.tgid(tid))],
            _ => vec![WaitKey::Event(id)],
        }
    }

    pub(crate) fn event_name(&self, id: u32) -> &'static str {
        match self.events.get(id) {
            Some(Event::Count { .. }) => "anon_inode:[eventfd]",
            Some(Event::Timer { .. }) => "anon_inode:[timerfd]",
            Some(Event::Signals(_)) => "anon_inode:[signalfd]",
            Some(Event::Pid(_)) => "anon_inode:[pidfd]",
            Some(Event::Inotify(_)) => "anon_inode:inotify",
            Some(Event::Epoll(_)) => "anon_inode:[eventpoll]",
            None => "anon_inode:",
        }
    }

    /// A change in the file system: told to every inotify instance that watches the inode.
    pub(crate) fn inotify(&mut self, ino: u64, mask: u32, name: &[u8], cookie: u32) {
        let ids: Vec<u32> = self
            .events
            .iter()
            .filter(|(_, e)| matches!(e, Event::Inotify(n) if n.watches.values().any(|w| w.0 == ino)))
            .map(|(i, _)| i)
            .collect();
        for id in ids {
            if let Some(Event::Inotify(n)) = self.events.get_mut(id) {
                let hits: Vec<(i32, u32)> = n
                    .watches
                    .iter()
                    .filter(|(_, w)| w.0 == ino && (w.1 & mask & 0xfff != 0 || mask & IN_IGNORED != 0))
                    .map(|(wd, w)| (*wd, w.1))
                    .collect();
                for (wd, wmask) in hits {
                    if n.queue.len() >= INOTIFY_QUEUE {
                        n.queue.push_back(inotify_event(-1, IN_Q_OVERFLOW, 0, b""));
                        break;
                    }
                    let e = inotify_event(wd, mask & !IN_IGNORED | mask & IN_ISDIR, cookie, name);
                    if n.queue.back() != Some(&e) {
                        n.queue.push_back(e);
                    }
                    if wmask & IN_ONESHOT != 0 || mask & 0x400 != 0 {
                        n.watches.remove(&wd);
                        n.queue.push_back(inotify_event(wd, IN_IGNORED, 0, b""));
                    }
                }
            }
            self.wake(WaitKey::Event(id));
        }
    }

    fn inotify_of(&mut self, tid: u32, fd: i32) -> KResult<(u32, &mut Inotify)> {
        let (_, f) = self.fd_io(tid, fd)?;
        let What::Event(id) = f.what else {
            return Err(Errno::EINVAL);
        };
        match self.events.get_mut(id) {
            Some(Event::Inotify(n)) => Ok((id, n)),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// `struct signalfd_siginfo`.
fn signalfd_info(i: &SigInfo) -> Vec<u8> {
    let raw = i.encode();
    let mut e = Enc::new();
    e.u32(i.sig as u32).i32(0).i32(i.code);
    e.u32(le32(&raw, 16))
        .u32(le32(&raw, 20))
        .i32(0)
        .u32(0)
        .u32(0)
        .u32(0)
        .u32(0);
    e.i32(le32(&raw, 24) as i32)
        .i32(le32(&raw, 24) as i32)
        .u64(le64(&raw, 24));
    e.u64(le64(&raw, 32))
        .u64(le64(&raw, 40))
        .u64(le64(&raw, 16))
        .pad_to(128);
    e.0
}

pub(crate) fn eventfd2(w: &mut World, c: &mut Call) -> SysRes {
    let flags = if c.nr == 284 { 0 } else { c.a[1] as u32 };
    if flags & !(O_CLOEXEC | O_NONBLOCK | 1) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let ev = Event::Count {
        n: c.a[0] & 0xffff_ffff,
        semaphore: flags & 1 != 0,
    };
    Ok(w.new_event(c.tid, ev, flags)?)
}

pub(crate) fn timerfd_create(w: &mut World, c: &mut Call) -> SysRes {
    let flags = c.a[1] as u32;
    if flags & !(O_CLOEXEC | O_NONBLOCK) != 0 || !matches!(c.a[0], 0 | 1 | 7 | 8 | 9) {
        return Err(Errno::EINVAL.into());
    }
    let ev = Event::Timer {
        clock: c.a[0] as i32,
        iv: Interval::default(),
        ticks: 0,
    };
    Ok(w.new_event(c.tid, ev, flags)?)
}

fn timerfd_of(w: &World, c: &Call) -> Result<(u32, i32, Interval), Errno> {
    let (_, f) = w.fd_io(c.tid, c.a[0] as i32)?;
    let What::Event(id) = f.what else {
        return Err(Errno::EINVAL);
    };
    match w.events.get(id) {
        Some(Event::Timer { clock, iv, .. }) => Ok((id, *clock, *iv)),
        _ => Err(Errno::EINVAL),
    }
}

pub(crate) fn timerfd_settime(w: &mut World, c: &mut Call) -> SysRes {
    let (id, clock, old) = timerfd_of(w, c)?;
    if c.a[1] & !3 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let new = crate::time::read_itimerspec(w, c.tid, c.a[2], c.a[1] & 1 != 0, matches!(clock, 0 | 8))?;
    if c.a[3] != 0 {
        let b = crate::time::itimerspec_bytes(old, w.clock.mono());
        w.copy_out(c.tid, c.a[3], &b)?;
    }
    if let Some(Event::Timer { iv, ticks, .. }) = w.events.get_mut(id) {
        *iv = new;
        *ticks = 0;
    }
    if old.at != 0 {
        w.timers.remove(&(old.at, TimerRef::Fd(id)));
    }
    if new.at != 0 {
        w.timers.insert((new.at, TimerRef::Fd(id)));
    }
    Ok(0)
}

pub(crate) fn timerfd_gettime(w: &mut World, c: &mut Call) -> SysRes {
    let (_, _, iv) = timerfd_of(w, c)?;
    let b = crate::time::itimerspec_bytes(iv, w.clock.mono());
    w.copy_out(c.tid, c.a[1], &b)?;
    Ok(0)
}

pub(crate) fn signalfd4(w: &mut World, c: &mut Call) -> SysRes {
    let flags = if c.nr == 282 { 0 } else { c.a[3] as u32 };
    if c.a[2] != 8 || flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let set = crate::signal::read_set(w, c.tid, c.a[1])?.blockable();
    let fd = c.a[0] as i32;
    if fd == -1 {
        return Ok(w.new_event(c.tid, Event::Signals(set), flags)?);
    }
    let (_, f) = w.fd_io(c.tid, fd)?;
    let What::Event(id) = f.what else {
        return Err(Errno::EINVAL.into());
    };
    match w.events.get_mut(id) {
        Some(Event::Signals(s)) => *s = set,
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(fd as i64)
}

pub(crate) fn pidfd_open(w: &mut World, c: &mut Call) -> SysRes {
    if c.a[1] as u32 & !O_NONBLOCK != 0 || c.a[0] as i32 <= 0 {
        return Err(Errno::EINVAL.into());
    }
    w.p(c.a[0] as u32)?;
    Ok(w.new_pidfd(c.tid, c.a[0] as u32, O_CLOEXEC | c.a[1] as u32)?)
}

pub(crate) fn pidfd_send_signal(w: &mut World, c: &mut Call) -> SysRes {
    let pid = w.pidfd_target(c.tid, c.a[0] as i32)?;
    if c.a[3] != 0 || c.a[1] > 64 {
        return Err(Errno::EINVAL.into());
    }
    w.p(pid)?;
    let sig = c.a[1] as u8;
    w.may_signal(c.tid, pid, sig)?;
    if sig != 0 {
        let (me, uid) = (w.tgid(c.tid), w.creds(c.tid)?.uid);
        w.send_group(pid, SigInfo::user(sig, me, uid));
    }
    Ok(0)
}

pub(crate) fn inotify_init1(w: &mut World, c: &mut Call) -> SysRes {
    let flags = if c.nr == 253 { 0 } else { c.a[0] as u32 };
    if flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let n = w
        .events
        .iter()
        .filter(|(_, e)| matches!(e, Event::Inotify(_)))
        .count();
    if n >= 128 {
        return Err(Errno::EMFILE.into());
    }
    Ok(w.new_event(
        c.tid,
        Event::Inotify(Inotify {
            next: 1,
            ..Default::default()
        }),
        flags,
    )?)
}

pub(crate) fn inotify_add_watch(w: &mut World, c: &mut Call) -> SysRes {
    let path = w.read_path(c.tid, c.a[1])?;
    let mask = c.a[2] as u32;
    if mask & 0xfff == 0 {
        return Err(Errno::EINVAL.into());
    }
    w.inotify_of(c.tid, c.a[0] as i32)?;
    let ino = w.inotify_target(c.tid, &path, mask)?;
    let (_, n) = w.inotify_of(c.tid, c.a[0] as i32)?;
    if let Some((wd, e)) = n.watches.iter_mut().find(|(_, e)| e.0 == ino) {
        e.1 = if mask & IN_MASK_ADD != 0 { e.1 | mask } else { mask };
        return Ok(*wd as i64);
    }
    if n.watches.len() >= 8192 {
        return Err(Errno::ENOSPC.into());
    }
    let wd = n.next;
    n.next += 1;
    n.watches.insert(wd, (ino, mask));
    Ok(wd as i64)
}

pub(crate) fn inotify_rm_watch(w: &mut World, c: &mut Call) -> SysRes {
    let wd = c.a[1] as i32;
    let (id, n) = w.inotify_of(c.tid, c.a[0] as i32)?;
    if n.watches.remove(&wd).is_none() {
        return Err(Errno::EINVAL.into());
    }
    n.queue.push_back(inotify_event(wd, IN_IGNORED, 0, b""));
    w.wake(WaitKey::Event(id));
    Ok(0)
}
