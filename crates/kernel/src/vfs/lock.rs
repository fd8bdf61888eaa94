//! Advisory locks: fcntl (POSIX), open-file-description and flock, with the deadlock check of fcntl(2).

use std::collections::BTreeMap;
use turncoat_freeze::Freeze;

use super::Vfs;
use super::types::Ino;
use crate::wait::WaitKey;
use crate::{Errno, KResult};

/// Whose a lock is. Numbers of different kinds never meet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Freeze)]
pub enum LockKind {
    /// fcntl F_SETLK: belongs to a process (tgid).
    Posix(u32),
    /// fcntl F_OFD_SETLK: belongs to an open file description.
    Ofd(u32),
    /// flock(2): belongs to an open file description; whole file.
    Flock(u32),
}

/// Bytes from `start` to `end`, the last included (`u64::MAX`: to the end of the file, however long it grows).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Freeze)]
#[allow(missing_docs)]
pub struct LockRange {
    pub start: u64,
    pub end: u64,
}

impl LockRange {
    /// The whole file.
    pub const ALL: LockRange = LockRange {
        start: 0,
        end: u64::MAX,
    };
    /// From fcntl's start (already absolute) and length, which may be 0 or negative.
    pub fn of(start: i64, len: i64) -> KResult<LockRange> {
        let max = i64::MAX;
        let (s, e) = match len {
            0 => (start, None),
            n if n > 0 => (start, Some(start.checked_add(n - 1).ok_or(Errno::EOVERFLOW)?)),
            n => (start.checked_add(n).ok_or(Errno::EINVAL)?, Some(start - 1)),
        };
        if s < 0 {
            return Err(Errno::EINVAL);
        }
        Ok(LockRange {
            start: s as u64,
            end: e.filter(|&e| e != max).map_or(u64::MAX, |e| e as u64),
        })
    }
    fn meets(&self, o: &LockRange) -> bool {
        self.start <= o.end && o.start <= self.end
    }
}

/// A lock that is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Freeze)]
pub struct Lock {
    /// Whose.
    pub owner: LockKind,
    /// Where.
    pub range: LockRange,
    /// Exclusive.
    pub write: bool,
    /// The process that took it, for F_GETLK and /proc/locks.
    pub pid: u32,
}

/// All locks of a world.
#[derive(Clone, Debug, Default, Freeze)]
pub(super) struct Locks {
    held: BTreeMap<Ino, Vec<Lock>>,
    /// Who waits for whom (POSIX locks only).
    waits: BTreeMap<u32, u32>,
}

/// Locks in the same space conflict with each other: flock with flock, POSIX and OFD with each other.
fn rivals(a: LockKind, b: LockKind) -> bool {
    matches!(a, LockKind::Flock(_)) == matches!(b, LockKind::Flock(_)) && a != b
}

impl Locks {
    pub(super) fn forget(&mut self, ino: Ino) {
        self.held.remove(&ino);
    }
}

impl Vfs {
    /// The first lock that stands in the way (F_GETLK).
    pub fn lock_conflict(&self, ino: Ino, owner: LockKind, range: LockRange, write: bool) -> Option<Lock> {
        let list = self.locks.held.get(&ino)?;
        list.iter()
            .find(|l| rivals(l.owner, owner) && l.range.meets(&range) && (l.write || write))
            .copied()
    }

    /// Takes a lock, replacing what the owner held in the range. EAGAIN if somebody else's is in the way; with `wait`, EDEADLK if
    /// waiting for it would never end, else EAGAIN and the caller blocks on `WaitKey::Lock(ino)` and tries again.
    pub fn lock(
        &mut self,
        ino: Ino,
        owner: LockKind,
        range: LockRange,
        write: bool,
        pid: u32,
        wait: bool,
    ) -> KResult<()> {
        if let Some(other) = self.lock_conflict(ino, owner, range, write) {
            if let (LockKind::Posix(me), LockKind::Posix(him)) = (owner, other.owner)
                && wait
            {
                let mut at = him;
                for _ in 0..1000 {
                    match self.locks.waits.get(&at) {
                        Some(&next) if next == me => return Err(Errno::EDEADLK),
                        Some(&next) => at = next,
                        None => break,
                    }
                }
                self.locks.waits.insert(me, him);
            }
            return Err(Errno::EAGAIN);
        }
        if let LockKind::Posix(me) = owner {
            self.locks.waits.remove(&me);
        }
        let total: usize = self.locks.held.values().map(|l| l.len()).sum();
        if total > 16384 {
            return Err(Errno::ENOLCK);
        }
        self.carve(ino, owner, range);
        let list = self.locks.held.entry(ino).or_default();
        let mut range = range;
        // Neighbours of the same kind become one.
        list.retain(|l| {
            let joins = l.owner == owner
                && l.write == write
                && (l.range.end != u64::MAX && l.range.end + 1 == range.start
                    || range.end != u64::MAX && range.end + 1 == l.range.start);
            if joins {
                range = LockRange {
                    start: range.start.min(l.range.start),
                    end: range.end.max(l.range.end),
                };
            }
            !joins
        });
        list.push(Lock {
            owner,
            range,
            write,
            pid,
        });
        list.sort_by_key(|l| (l.range.start, l.owner));
        // A downgrade lets readers in.
        self.woken.push(WaitKey::Lock(ino.0));
        Ok(())
    }

    fn carve(&mut self, ino: Ino, owner: LockKind, range: LockRange) {
        let Some(list) = self.locks.held.get_mut(&ino) else {
            return;
        };
        let mut out = Vec::with_capacity(list.len() + 1);
        for l in list.drain(..) {
            if l.owner != owner || !l.range.meets(&range) {
                out.push(l);
                continue;
            }
            if l.range.start < range.start {
                out.push(Lock {
                    range: LockRange {
                        start: l.range.start,
                        end: range.start - 1,
                    },
                    ..l
                });
            }
            if l.range.end > range.end {
                out.push(Lock {
                    range: LockRange {
                        start: range.end + 1,
                        end: l.range.end,
                    },
                    ..l
                });
            }
        }
        *list = out;
        if self.locks.held.get(&ino).is_some_and(|l| l.is_empty()) {
            self.locks.held.remove(&ino);
        }
    }

    /// Gives a range back.
    pub fn unlock(&mut self, ino: Ino, owner: LockKind, range: LockRange) {
        self.carve(ino, owner, range);
        self.woken.push(WaitKey::Lock(ino.0));
    }

    /// A process closed some descriptor of the file, or a description ended: its locks on the inode go.
    pub fn unlock_all(&mut self, ino: Ino, owner: LockKind) {
        if self
            .locks
            .held
            .get(&ino)
            .is_some_and(|l| l.iter().any(|l| l.owner == owner))
        {
            self.unlock(ino, owner, LockRange::ALL);
        }
    }

    /// A waiter gave up (signal, timeout).
    pub fn lock_wait_ended(&mut self, pid: u32) {
        self.locks.waits.remove(&pid);
    }

    /// Everything held, for /proc/locks.
    pub fn locks(&self) -> impl Iterator<Item = (Ino, &Lock)> {
        self.locks
            .held
            .iter()
            .flat_map(|(i, l)| l.iter().map(move |l| (*i, l)))
    }
}
