//! System V IPC: shared memory, semaphores and message queues (sysvipc(7), Linux's ipc/).
//!
//! A `Table` for each of the three gives objects their numbers and finds them by key; `shm`, `sem` and `msg` have the calls, `show` what
//! /proc tells. The pages of a segment belong to `object::Objects`, like those of files, and are bounded with them; the kernel's own
//! memory (messages, semaphores, undo values) is counted in `Ipc::bytes` and bounded by `World::ipc_charge`.

mod msg;
mod sem;
mod shm;
mod show;

pub(crate) use msg::{msgctl, msgget, msgrcv, msgsnd};
pub(crate) use sem::{semctl, semget, semop, semtimedop};
pub(crate) use shm::{SEGMENT, shmat, shmctl, shmdt, shmget};

use crate::abi::*;
use crate::object::ObjectId;
use crate::sys::{Call, SysRes, Trap};
use crate::task::{Creds, State, cap};
use crate::wait::WaitKey;
use crate::world::World;
use crate::{Errno, KResult};
use std::collections::BTreeMap;
use turncoat_freeze::Freeze;

pub(crate) const IPC_CREAT: u32 = 0o1000;
pub(crate) const IPC_EXCL: u32 = 0o2000;
pub(crate) const IPC_NOWAIT: u32 = 0o4000;
const IPC_RMID: i32 = 0;
const IPC_SET: i32 = 1;
const IPC_STAT: i32 = 2;
const IPC_INFO: i32 = 3;
const S_IRUGO: u32 = 0o444;
const S_IWUGO: u32 = 0o222;

/// Bits of an identifier that are the place in the table; the others count how often the table was gone through (IPCMNI_SHIFT).
const INDEX_BITS: u32 = 15;
/// Most objects of a kind, whatever the kernel parameters say (IPCMNI).
const MOST: u64 = 1 << INDEX_BITS;
/// Places that are gone through before one is used again (ipc_min_cycle).
const CYCLE: u64 = 64;
/// What the kernel keeps of an object beside its content, in bytes.
const OBJECT_COST: u64 = 128;

/// Who may do what with an object (`struct kern_ipc_perm`).
#[derive(Clone, Copy, Debug, Freeze)]
pub(crate) struct Perm {
    pub id: u32,
    pub key: i32,
    pub uid: u32,
    pub gid: u32,
    pub cuid: u32,
    pub cgid: u32,
    pub mode: u32,
}

impl Perm {
    fn new(creds: &Creds, key: i32, mode: u32) -> Perm {
        Perm {
            id: 0,
            key,
            uid: creds.euid,
            gid: creds.egid,
            cuid: creds.euid,
            cgid: creds.egid,
            mode: mode & 0o777,
        }
    }

    /// ipcperms(): every class of bits that is asked for in any place of `want` must be granted.
    fn allows(&self, creds: &Creds, want: u32) -> KResult<()> {
        let asked = want >> 6 | want >> 3 | want;
        let granted = if creds.euid == self.cuid || creds.euid == self.uid {
            self.mode >> 6
        } else if creds.in_group(self.cgid) || creds.in_group(self.gid) {
            self.mode >> 3
        } else {
            self.mode
        };
        if asked & !granted & 7 == 0 || creds.capable(cap::IPC_OWNER) {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }

    /// Who may change and remove it (ipcctl_obtain_check()).
    fn owned_by(&self, creds: &Creds) -> KResult<()> {
        if creds.euid == self.cuid || creds.euid == self.uid || creds.capable(cap::SYS_ADMIN) {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }

    /// IPC_SET: `b` is a `struct ipc64_perm`.
    fn update(&mut self, b: &[u8]) -> KResult<()> {
        let (uid, gid) = (le32(b, 4), le32(b, 8));
        if uid == u32::MAX || gid == u32::MAX {
            return Err(Errno::EINVAL);
        }
        (self.uid, self.gid) = (uid, gid);
        self.mode = self.mode & !0o777 | le32(b, 20) & 0o777;
        Ok(())
    }

    /// As `struct ipc64_perm`, 48 bytes.
    fn put(&self, e: &mut Enc) {
        e.i32(self.key).u32(self.uid).u32(self.gid);
        e.u32(self.cuid).u32(self.cgid).u32(self.mode);
        e.u16((self.id >> INDEX_BITS) as u16).pad_to(48);
    }
}

/// An object that has permissions.
pub(crate) trait Object {
    fn perm(&self) -> &Perm;
    fn perm_mut(&mut self) -> &mut Perm;
    /// As the structure that the `*_STAT` commands give.
    fn stat(&self) -> Enc;
}

/// All objects of one kind, by their place.
#[derive(Clone, Debug, Freeze)]
pub(crate) struct Table<T> {
    objects: BTreeMap<u32, T>,
    /// Where the search for a free place begins.
    next: u32,
    last: Option<u32>,
    seq: u32,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table {
            objects: BTreeMap::new(),
            next: 0,
            last: None,
            seq: 0,
        }
    }
}

impl<T: Object> Table<T> {
    /// Puts an object in and gives it its identifier (ipc_addid()); ENOSPC past `limit`.
    fn insert(&mut self, mut object: T, limit: u64) -> KResult<u32> {
        let used = self.objects.len() as u64;
        if used >= limit.min(MOST) {
            return Err(Errno::ENOSPC);
        }
        let end = (used * 3 / 2).clamp(CYCLE, MOST) as u32;
        let free = |i: &u32| !self.objects.contains_key(i);
        let place = (self.next..end).find(free).or_else(|| (0..end).find(free));
        let place = place.ok_or(Errno::ENOSPC)?;
        self.next = place + 1;
        if self.last.is_some_and(|last| place <= last) {
            self.seq = (self.seq + 1) % (i32::MAX as u32 >> INDEX_BITS);
        }
        self.last = Some(place);
        let id = self.seq << INDEX_BITS | place;
        object.perm_mut().id = id;
        self.objects.insert(place, object);
        Ok(id)
    }

    fn find(&self, key: i32) -> Option<&T> {
        self.objects.values().find(|o| o.perm().key == key)
    }

    /// By identifier: EINVAL if its place is empty, EIDRM if another object has taken it.
    fn by_id(&mut self, id: i32) -> KResult<&mut T> {
        let o = self.at(id)?;
        if o.perm().id == id as u32 {
            Ok(o)
        } else {
            Err(Errno::EIDRM)
        }
    }

    /// By place, as the `*_STAT` commands ask.
    fn at(&mut self, index: i32) -> KResult<&mut T> {
        let place = index as u32 & (MOST as u32 - 1);
        self.objects.get_mut(&place).ok_or(Errno::EINVAL)
    }

    /// For `*_STAT`, `*_STAT_ANY` and IPC_STAT: what is told of the object, and what the call returns.
    fn for_stat(&mut self, creds: &Creds, id: i32, by_place: bool, any: bool) -> KResult<(Enc, i64)> {
        let o = if by_place { self.at(id)? } else { self.by_id(id)? };
        if !any {
            o.perm().allows(creds, S_IRUGO)?;
        }
        let answer = if by_place { o.perm().id as i64 } else { 0 };
        Ok((o.stat(), answer))
    }

    fn remove(&mut self, id: u32) -> Option<T> {
        self.objects.remove(&(id & (MOST as u32 - 1)))
    }

    /// The highest place in use, 0 if there is none: what the `*_INFO` commands return.
    fn highest(&self) -> i64 {
        self.objects.keys().next_back().map_or(0, |k| *k as i64)
    }
}

/// System V IPC of one world.
#[derive(Clone, Debug, Default, Freeze)]
pub struct Ipc {
    shm: Table<shm::Segment>,
    segments: BTreeMap<ObjectId, u32>,
    sem: Table<sem::Set>,
    msg: Table<msg::Queue>,
    /// Values that come back when a process ends: by process and set, of each semaphore.
    undo: BTreeMap<(u32, u32), BTreeMap<u16, i16>>,
    /// Kernel memory that all of it takes.
    bytes: u64,
    /// Number of the last wait.
    ticket: u64,
}

impl Ipc {
    /// Kernel memory that it takes, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A number for a wait that begins.
    fn ticket(&mut self) -> u64 {
        self.ticket += 1;
        self.ticket
    }
}

impl World {
    /// Counts kernel memory that is about to be used; ENOMEM past a sixteenth of the world's memory.
    fn ipc_charge(&mut self, bytes: u64) -> KResult<()> {
        if self.ipc.bytes.saturating_add(bytes) > self.limits.memory / 16 {
            return Err(Errno::ENOMEM);
        }
        self.ipc.bytes += bytes;
        Ok(())
    }

    fn ipc_uncharge(&mut self, bytes: u64) {
        self.ipc.bytes = self.ipc.bytes.saturating_sub(bytes);
    }

    /// The numbers of a kernel parameter (`kernel.sem` has four).
    fn ipc_knob<const N: usize>(&mut self, name: &str) -> KResult<[u64; N]> {
        self.fs(0, |v, c| {
            let mut words = crate::proc::sysctl::numbers(v, c.view, name).into_iter();
            [(); N].map(|()| words.next().unwrap_or(0))
        })
    }

    /// True if this thread still sleeps in the wait that has this number: signals and timeouts end waits without saying so here.
    fn ipc_waits(&self, tid: u32, ticket: u64) -> bool {
        self.t(tid).is_ok_and(|t| {
            matches!(t.state, State::Sleeping { .. })
                && t.call
                    .as_ref()
                    .is_some_and(|c| matches!(c.nr, 65 | 69 | 70 | 220) && c.scratch == ticket)
        })
    }

    /// Puts a call to sleep under this number.
    fn ipc_sleep(&self, c: &mut Call, ticket: u64, id: u32) -> Trap {
        c.scratch = ticket;
        Trap::Block {
            keys: vec![WaitKey::Ipc(id)],
            until: c.deadline,
            unint: false,
        }
    }

    fn ipc_now(&self) -> i64 {
        self.timespec().sec
    }
}

/// shmget, semget and msgget (ipcget()): `exists` says whether an object that is there will do, `make` makes one.
fn get<T: Object>(
    w: &mut World,
    c: &Call,
    table: fn(&World) -> &Table<T>,
    flags: u32,
    exists: impl FnOnce(&T) -> KResult<()>,
    make: impl FnOnce(&mut World, Perm) -> KResult<u32>,
) -> SysRes {
    let key = c.a[0] as i32;
    let creds = w.creds(c.tid)?;
    let perm = Perm::new(&creds, key, flags);
    // IPC_PRIVATE
    if key == 0 {
        return Ok(make(w, perm)? as i64);
    }
    match table(w).find(key) {
        None if flags & IPC_CREAT == 0 => Err(Errno::ENOENT.into()),
        None => Ok(make(w, perm)? as i64),
        Some(_) if flags & (IPC_CREAT | IPC_EXCL) == IPC_CREAT | IPC_EXCL => Err(Errno::EEXIST.into()),
        Some(o) => {
            exists(o)?;
            o.perm().allows(&creds, flags)?;
            Ok(o.perm().id as i64)
        }
    }
}

#[cfg(test)]
mod tests;
