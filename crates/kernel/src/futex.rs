//! futex(2): waiting on words of memory.

use crate::mm::Back;
use crate::sys::{Call, SysRes, Trap};
use crate::wait::WaitKey;
use crate::world::World;
use crate::{Errno, KResult};

const WAITERS: u32 = 0x8000_0000;
const OWNER_DIED: u32 = 0x4000_0000;
const TID: u32 = 0x3fff_ffff;

impl World {
    /// The key of a futex word: by object for shared mappings, else by address space.
    fn futex_key(&self, tid: u32, va: u64, private: bool) -> KResult<WaitKey> {
        if !va.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        if va >= crate::mm::TASK_SIZE {
            return Err(Errno::EFAULT);
        }
        let mm = self.t(tid)?.mm.ok_or(Errno::EFAULT)?;
        if !private
            && let Some(m) = self.mms.get(&mm)
            && let Some(v) = m.find(va)
            && v.shared
            && let Back::Obj { obj, off, .. } = &v.back
        {
            return Ok(WaitKey::Futex(obj.0 | 1 << 63, off + (va - v.start)));
        }
        Ok(WaitKey::Futex(mm as u64, va))
    }

    pub(crate) fn futex_wake_addr(&mut self, tid: u32, va: u64, n: usize) -> usize {
        let a = self.futex_key(tid, va, true);
        let b = self.futex_key(tid, va, false);
        let mut done = 0;
        if let Ok(k) = a {
            done += self.futex_wake(k, n, u32::MAX);
        }
        if done < n
            && a != b
            && let Ok(k) = b
        {
            done += self.futex_wake(k, n - done, u32::MAX);
        }
        done
    }

    /// Wakes waiters whose bits meet `bits`. Their calls return 0.
    fn futex_wake(&mut self, key: WaitKey, n: usize, bits: u32) -> usize {
        let waiting: Vec<u32> = match self.waiters.get(&key) {
            Some(s) => s.iter().copied().collect(),
            None => return 0,
        };
        // First come, first served: the call remembers when it began to wait.
        let mut order: Vec<(u64, u32)> = waiting
            .into_iter()
            .filter_map(|t| {
                let c = self.t(t).ok()?.call.as_ref()?;
                (c.bits & bits != 0).then_some((c.since, t))
            })
            .collect();
        order.sort_unstable();
        let mut done = 0;
        for (_, t) in order.into_iter().take(n) {
            if let Ok(task) = self.tm(t)
                && let Some(c) = task.call.as_mut()
            {
                c.woken = true;
            }
            self.unblock(t);
            done += 1;
        }
        done
    }

    /// Marks the robust mutexes of a dying thread.
    pub(crate) fn robust_exit(&mut self, tid: u32, head: u64) {
        let Ok(off) = self.read_u64(tid, head.wrapping_add(8)) else {
            return;
        };
        let pending = self.read_u64(tid, head.wrapping_add(16)).unwrap_or(0);
        let mut at = self.read_u64(tid, head).unwrap_or(head);
        let mut n = 0;
        while at != head && at != 0 && n < 2048 {
            let next = self.read_u64(tid, at & !1).unwrap_or(head);
            if at != pending {
                self.robust_one(tid, (at & !1).wrapping_add(off));
            }
            at = next;
            n += 1;
        }
        if pending != 0 {
            self.robust_one(tid, (pending & !1).wrapping_add(off));
        }
    }

    fn robust_one(&mut self, tid: u32, va: u64) {
        let Ok(v) = self.read_u32(tid, va) else { return };
        if v & TID != tid {
            return;
        }
        let _ = self.copy_out(tid, va, &(v & WAITERS | OWNER_DIED).to_le_bytes());
        if v & WAITERS != 0 {
            self.futex_wake_addr(tid, va, 1);
        }
    }
}

fn wait(w: &mut World, c: &mut Call, private: bool, bits: u32, timeout: Option<u64>) -> SysRes {
    if bits == 0 {
        return Err(Errno::EINVAL.into());
    }
    if c.woken {
        return Ok(0);
    }
    let key = w.futex_key(c.tid, c.a[0], private)?;
    if c.first {
        let v = w.read_u32(c.tid, c.a[0])?;
        if v != c.a[2] as u32 {
            return Err(Errno::EAGAIN.into());
        }
        c.deadline = timeout;
        c.since = w.clock.total;
        c.bits = bits;
        c.timed = timeout.is_some();
    }
    if c.deadline.is_some_and(|d| w.clock.mono() >= d) {
        return Err(Errno::ETIMEDOUT.into());
    }
    Err(Trap::Block {
        keys: vec![key],
        until: c.deadline,
        unint: false,
    })
}

/// Lock of a priority-inheriting futex: the word holds the owner's thread id.
fn lock_pi(w: &mut World, c: &mut Call, private: bool, try_only: bool) -> SysRes {
    let key = w.futex_key(c.tid, c.a[0], private)?;
    let v = w.read_u32(c.tid, c.a[0])?;
    let owner = v & TID;
    if owner == 0 {
        let waiters = w.waiters.contains_key(&key);
        let new = c.tid | v & OWNER_DIED | if waiters { WAITERS } else { 0 };
        w.copy_out(c.tid, c.a[0], &new.to_le_bytes())?;
        return Ok(0);
    }
    if owner == c.tid {
        return Err(Errno::EDEADLK.into());
    }
    if try_only {
        return Err(Errno::EAGAIN.into());
    }
    if w.t(owner).is_err() {
        return Err(Errno::ESRCH.into());
    }
    w.copy_out(c.tid, c.a[0], &(v | WAITERS).to_le_bytes())?;
    if c.first && c.a[3] != 0 {
        let t = crate::time::read_timespec(w, c.tid, c.a[3])?;
        c.deadline = Some(t.saturating_sub(w.clock.offset()));
    }
    if c.deadline.is_some_and(|d| w.clock.mono() >= d) {
        return Err(Errno::ETIMEDOUT.into());
    }
    c.bits = u32::MAX;
    c.since = w.clock.total;
    Err(Trap::Block {
        keys: vec![key],
        until: c.deadline,
        unint: false,
    })
}

pub(crate) fn futex(w: &mut World, c: &mut Call) -> SysRes {
    let op = c.a[1] as u32;
    let private = op & 128 != 0;
    let real = op & 256 != 0;
    let cmd = op & 127;
    if real && !matches!(cmd, 0 | 9 | 11 | 13) {
        return Err(Errno::ENOSYS.into());
    }
    match cmd {
        0 | 9 => {
            let mut timeout = None;
            if c.first && c.a[3] != 0 {
                let t = crate::time::read_timespec(w, c.tid, c.a[3])?;
                timeout = Some(if cmd == 0 {
                    w.clock.mono().saturating_add(t)
                } else if real {
                    t.saturating_sub(w.clock.offset())
                } else {
                    t
                });
            }
            let bits = if cmd == 9 { c.a[5] as u32 } else { u32::MAX };
            wait(w, c, private, bits, timeout)
        }
        1 | 10 => {
            let bits = if cmd == 10 { c.a[5] as u32 } else { u32::MAX };
            if bits == 0 {
                return Err(Errno::EINVAL.into());
            }
            let key = w.futex_key(c.tid, c.a[0], private)?;
            let n = (c.a[2] as i32).max(1) as usize;
            Ok(w.futex_wake(key, n, bits) as i64)
        }
        3 | 4 => {
            let (n, m) = (c.a[2] as i32, c.a[3] as i32);
            if n < 0 || m < 0 {
                return Err(Errno::EINVAL.into());
            }
            if cmd == 4 && w.read_u32(c.tid, c.a[0])? != c.a[5] as u32 {
                return Err(Errno::EAGAIN.into());
            }
            let from = w.futex_key(c.tid, c.a[0], private)?;
            let to = w.futex_key(c.tid, c.a[4], private)?;
            let woken = w.futex_wake(from, n as usize, u32::MAX);
            let rest: Vec<u32> = w
                .waiters
                .get(&from)
                .map_or(Vec::new(), |s| s.iter().copied().take(m as usize).collect());
            for t in &rest {
                if let Some(s) = w.waiters.get_mut(&from) {
                    s.remove(t);
                    if s.is_empty() {
                        w.waiters.remove(&from);
                    }
                }
                w.waiters.entry(to).or_default().insert(*t);
                let addr = c.a[4];
                if let Ok(task) = w.tm(*t) {
                    task.keys = vec![to];
                    if let Some(call) = task.call.as_mut() {
                        call.a[0] = addr;
                    }
                }
            }
            let total = woken as i64 + rest.len() as i64;
            Ok(total)
        }
        5 => {
            let enc = c.a[5] as u32;
            let a = w.futex_key(c.tid, c.a[0], private)?;
            let b = w.futex_key(c.tid, c.a[4], private)?;
            let old = w.read_u32(c.tid, c.a[4])?;
            let sext = |v: u32| ((v << 20) as i32) >> 20;
            let (oper, cmp) = (enc >> 28 & 15, enc >> 24 & 15);
            let mut arg = sext(enc >> 12 & 0xfff);
            let cmparg = sext(enc & 0xfff);
            if oper & 8 != 0 {
                arg = 1i32.wrapping_shl(arg as u32 & 31);
            }
            let new = match oper & 7 {
                0 => arg as u32,
                1 => old.wrapping_add(arg as u32),
                2 => old | arg as u32,
                3 => old & !(arg as u32),
                4 => old ^ arg as u32,
                _ => return Err(Errno::ENOSYS.into()),
            };
            w.copy_out(c.tid, c.a[4], &new.to_le_bytes())?;
            let o = old as i32;
            let hit = match cmp {
                0 => o == cmparg,
                1 => o != cmparg,
                2 => o < cmparg,
                3 => o <= cmparg,
                4 => o > cmparg,
                5 => o >= cmparg,
                _ => return Err(Errno::ENOSYS.into()),
            };
            let mut n = w.futex_wake(a, (c.a[2] as i32).max(0) as usize, u32::MAX);
            if hit {
                n += w.futex_wake(b, (c.a[3] as i32).max(0) as usize, u32::MAX);
            }
            Ok(n as i64)
        }
        6 | 13 => lock_pi(w, c, private, false),
        8 => lock_pi(w, c, private, true),
        7 => {
            let key = w.futex_key(c.tid, c.a[0], private)?;
            let v = w.read_u32(c.tid, c.a[0])?;
            if v & TID != c.tid {
                return Err(Errno::EPERM.into());
            }
            w.copy_out(c.tid, c.a[0], &0u32.to_le_bytes())?;
            w.futex_wake(key, 1, u32::MAX);
            Ok(0)
        }
        _ => Err(Errno::ENOSYS.into()),
    }
}
