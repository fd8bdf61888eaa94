//! epoll: interest lists. Whoever wakes a key that an item waits for arms the item; edge-triggered items report once per arming.

use super::What;
use super::event::Event;
use crate::Errno;
use crate::abi::*;
use crate::sys::{Call, SysRes, Trap};
use crate::wait::WaitKey;
use crate::world::World;
use std::collections::BTreeMap;
use turncoat_freeze::Freeze;

const EPOLLET: u32 = 1 << 31;
const EPOLLONESHOT: u32 = 1 << 30;
const EPOLLEXCLUSIVE: u32 = 1 << 28;

/// One item of an interest list.
#[derive(Clone, Debug, Freeze)]
pub(crate) struct Item {
    pub events: u32,
    pub data: u64,
    pub armed: bool,
    pub disabled: bool,
    pub keys: Vec<WaitKey>,
}

/// One epoll instance: items by (descriptor, description).
#[derive(Clone, Default, Freeze)]
pub(crate) struct Epoll {
    pub items: BTreeMap<(i32, u32), Item>,
    /// Where the next scan begins, so that no item starves.
    pub turn: (i32, u32),
}

impl World {
    /// Arms the items that wait for `key`.
    pub(crate) fn epoll_notify(&mut self, key: WaitKey) {
        let Some(eps) = self.epoll_index.get(&key) else {
            return;
        };
        let eps: Vec<u32> = eps.keys().copied().collect();
        for ep in eps {
            if let Some(Event::Epoll(e)) = self.events.get_mut(ep) {
                for i in e.items.values_mut() {
                    if i.keys.contains(&key) {
                        i.armed = true;
                    }
                }
            }
            let up = WaitKey::Event(ep);
            if up != key {
                self.wake(up);
            }
        }
    }

    fn epoll_link(&mut self, ep: u32, keys: &[WaitKey]) {
        for k in keys {
            *self.epoll_index.entry(*k).or_default().entry(ep).or_insert(0) += 1;
        }
    }

    fn epoll_unlink(&mut self, ep: u32, keys: &[WaitKey]) {
        for k in keys {
            if let Some(m) = self.epoll_index.get_mut(k) {
                if let Some(n) = m.get_mut(&ep) {
                    *n -= 1;
                    if *n == 0 {
                        m.remove(&ep);
                    }
                }
                if m.is_empty() {
                    self.epoll_index.remove(k);
                }
            }
        }
    }

    /// A description is closed: it leaves every interest list.
    pub(crate) fn epoll_forget(&mut self, file: u32) {
        if self.epoll_index.is_empty() {
            return;
        }
        let eps: Vec<u32> = self
            .events
            .iter()
            .filter(|(_, e)| matches!(e, Event::Epoll(p) if p.items.keys().any(|k| k.1 == file)))
            .map(|(i, _)| i)
            .collect();
        for ep in eps {
            let mut gone = Vec::new();
            if let Some(Event::Epoll(e)) = self.events.get_mut(ep) {
                e.items.retain(|k, i| {
                    if k.1 == file {
                        gone.push(std::mem::take(&mut i.keys));
                    }
                    k.1 != file
                });
            }
            for k in gone {
                self.epoll_unlink(ep, &k);
            }
        }
    }

    /// An epoll instance is closed.
    pub(crate) fn epoll_gone(&mut self, ep: u32) {
        self.epoll_index.retain(|_, m| {
            m.remove(&ep);
            !m.is_empty()
        });
    }

    /// POLLIN if any item is ready.
    pub(crate) fn epoll_ready(&self, tid: u32, e: &Epoll) -> u16 {
        let any = e.items.iter().any(|((_, f), i)| {
            !i.disabled
                && (i.events & EPOLLET == 0 || i.armed)
                && self.poll_file(tid, *f) as u32 & (i.events | 0x18) & 0xffff != 0
        });
        if any { POLLIN | POLLRDNORM } else { 0 }
    }
}

pub(crate) fn epoll_create1(w: &mut World, c: &mut Call) -> SysRes {
    let flags = if c.nr == 213 {
        if c.a[0] as i32 <= 0 {
            return Err(Errno::EINVAL.into());
        }
        0
    } else {
        c.a[0] as u32
    };
    if flags & !O_CLOEXEC != 0 {
        return Err(Errno::EINVAL.into());
    }
    Ok(w.new_epoll(c.tid, flags)?)
}

fn epoll_of(w: &World, tid: u32, fd: i32) -> Result<u32, Errno> {
    let (_, f) = w.fd_io(tid, fd)?;
    let What::Event(id) = f.what else {
        return Err(Errno::EINVAL);
    };
    match w.events.get(id) {
        Some(Event::Epoll(_)) => Ok(id),
        _ => Err(Errno::EINVAL),
    }
}

pub(crate) fn epoll_ctl(w: &mut World, c: &mut Call) -> SysRes {
    let (op, fd) = (c.a[1], c.a[2] as i32);
    let mut b = [0u8; 12];
    if op != 2 {
        w.copy_in(c.tid, c.a[3], &mut b)?;
    }
    let (epf, _) = w.fd_io(c.tid, c.a[0] as i32)?;
    let (file, f) = w.fd_io(c.tid, fd)?;
    let ep = epoll_of(w, c.tid, c.a[0] as i32)?;
    if epf == file {
        return Err(Errno::EINVAL.into());
    }
    match &f.what {
        What::File(_, crate::vfs::Kind::Synthetic) => {}
        What::File(..) => return Err(Errno::EPERM.into()),
        What::Event(e) => {
            // A loop of epoll instances.
            if let Some(Event::Epoll(inner)) = w.events.get(*e)
                && (inner.items.keys().any(|k| k.1 == epf) || inner.items.len() > 10_000)
            {
                return Err(Errno::ELOOP.into());
            }
        }
        _ => {}
    }
    let key = (fd, file);
    let keys = w.poll_keys(c.tid, file);
    let Some(Event::Epoll(e)) = w.events.get_mut(ep) else {
        return Err(Errno::EINVAL.into());
    };
    match op {
        1 => {
            if e.items.contains_key(&key) {
                return Err(Errno::EEXIST.into());
            }
            if e.items.len() >= 100_000 {
                return Err(Errno::ENOSPC.into());
            }
            e.items.insert(
                key,
                Item {
                    events: le32(&b, 0),
                    data: le64(&b, 4),
                    armed: true,
                    disabled: false,
                    keys: keys.clone(),
                },
            );
            w.epoll_link(ep, &keys);
        }
        2 => {
            let i = e.items.remove(&key).ok_or(Errno::ENOENT)?;
            w.epoll_unlink(ep, &i.keys);
        }
        3 => {
            let i = e.items.get_mut(&key).ok_or(Errno::ENOENT)?;
            if (i.events | le32(&b, 0)) & EPOLLEXCLUSIVE != 0 {
                return Err(Errno::EINVAL.into());
            }
            i.events = le32(&b, 0);
            i.data = le64(&b, 4);
            i.armed = true;
            i.disabled = false;
        }
        _ => return Err(Errno::EINVAL.into()),
    }
    w.wake(WaitKey::Event(ep));
    Ok(0)
}

pub(crate) fn epoll_wait(w: &mut World, c: &mut Call) -> SysRes {
    let max = c.a[2] as i32;
    if max <= 0 || max > 1 << 20 {
        return Err(Errno::EINVAL.into());
    }
    let ep = epoll_of(w, c.tid, c.a[0] as i32)?;
    if c.nr != 232 && c.a[4] != 0 && c.first {
        let set = crate::signal::read_set(w, c.tid, c.a[4])?;
        crate::signal::temp_mask(w, c.tid, set)?;
    }
    let items: Vec<((i32, u32), Item)> = match w.events.get(ep) {
        Some(Event::Epoll(e)) => {
            let t = e.turn;
            e.items
                .range(t..)
                .chain(e.items.range(..t))
                .map(|(k, i)| (*k, i.clone()))
                .collect()
        }
        _ => Vec::new(),
    };
    let mut out = Enc::new();
    let mut n = 0;
    for (k, i) in items {
        if i.disabled || (i.events & EPOLLET != 0 && !i.armed) {
            continue;
        }
        let r = w.poll_file(c.tid, k.1) as u32 & (i.events | 0x18) & 0xffff;
        if r == 0 {
            continue;
        }
        out.u32(r).u64(i.data);
        if let Some(Event::Epoll(e)) = w.events.get_mut(ep) {
            e.turn = (k.0, k.1.wrapping_add(1));
            if let Some(x) = e.items.get_mut(&k) {
                x.armed = false;
                if x.events & EPOLLONESHOT != 0 {
                    x.disabled = true;
                }
            }
        }
        n += 1;
        if n == max {
            break;
        }
    }
    if n > 0 {
        w.copy_out(c.tid, c.a[1], &out.0)?;
        return Ok(n as i64);
    }
    if c.deadline.is_none() {
        let now = w.clock.mono();
        if c.nr == 441 {
            if c.a[3] != 0 {
                let t = crate::time::read_timespec(w, c.tid, c.a[3])?;
                c.deadline = Some(now.saturating_add(t));
            }
        } else if c.a[3] as i32 >= 0 {
            c.deadline = Some(now + (c.a[3] as u32 as u64) * 1_000_000);
        }
    }
    if c.deadline.is_some_and(|d| w.clock.mono() >= d) {
        return Ok(0);
    }
    Err(Trap::Block {
        keys: vec![WaitKey::Event(ep)],
        until: c.deadline,
        unint: false,
    })
}
