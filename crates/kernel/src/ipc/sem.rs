//! Semaphore sets: semget, semop, semtimedop, semctl (semop(2), ipc/sem.c).
//!
//! Whoever waits stands in its set's queue with what it wants done. Whoever changes values does it for those whose turn it then is, in the
//! order in which they came, and ends their calls ([`World::answer_call`]): a wait that is over was carried out, whatever signals come.

use super::*;
use turncoat_freeze::Freeze;

const SEM_UNDO: u16 = 0x1000;
/// Largest value (SEMVMX, SEMAEM).
const MAX: i32 = 32767;
/// What one semaphore costs the kernel, and one undo value, in bytes.
const SEM_COST: u64 = 8;
const UNDO_COST: u64 = 32;

/// One semaphore.
#[derive(Clone, Copy, Default, Debug, Freeze)]
pub(super) struct Sem {
    value: u16,
    /// Who changed it last.
    pid: u32,
}

/// One operation (`struct sembuf`).
#[derive(Clone, Copy, Debug, Freeze)]
struct Op {
    num: u16,
    op: i16,
    flags: u16,
}

/// A thread that waits.
#[derive(Clone, Debug, Freeze)]
struct Waiter {
    tid: u32,
    pid: u32,
    ticket: u64,
    ops: Vec<Op>,
    /// Which of them it waits for.
    blocking: usize,
}

impl Waiter {
    fn alters(&self) -> bool {
        self.ops.iter().any(|o| o.op != 0)
    }
}

/// One set.
#[derive(Clone, Debug, Freeze)]
pub(crate) struct Set {
    pub perm: Perm,
    pub otime: i64,
    pub ctime: i64,
    pub(super) sems: Vec<Sem>,
    queue: Vec<Waiter>,
}

impl Object for Set {
    fn perm(&self) -> &Perm {
        &self.perm
    }
    fn perm_mut(&mut self) -> &mut Perm {
        &mut self.perm
    }
    /// As `struct semid64_ds` of x86.
    fn stat(&self) -> Enc {
        let mut e = Enc::new();
        self.perm.put(&mut e);
        e.i64(self.otime).u64(0).i64(self.ctime).u64(0);
        e.u64(self.sems.len() as u64).pad_to(104);
        e
    }
}

impl Set {
    fn cost(&self) -> u64 {
        OBJECT_COST + self.sems.len() as u64 * SEM_COST
    }
}

/// What came of trying some operations.
enum Tried {
    Done,
    /// This one has to wait.
    Blocks(usize),
}

/// Carries all operations out, or none (perform_atomic_semop()). `undo`: the values that come back when the process ends.
fn perform(set: &mut Set, undo: &mut BTreeMap<u16, i16>, pid: u32, ops: &[Op]) -> KResult<Tried> {
    let mut values: BTreeMap<u16, i32> = BTreeMap::new();
    let mut undone: BTreeMap<u16, i32> = BTreeMap::new();
    for (i, o) in ops.iter().enumerate() {
        let had = set.sems.get(o.num as usize).ok_or(Errno::EFBIG)?.value;
        let value = values.entry(o.num).or_insert(i32::from(had));
        let blocks = if o.op == 0 {
            *value != 0
        } else {
            *value + i32::from(o.op) < 0
        };
        if blocks {
            return if u32::from(o.flags) & IPC_NOWAIT != 0 {
                Err(Errno::EAGAIN)
            } else {
                Ok(Tried::Blocks(i))
            };
        }
        *value += i32::from(o.op);
        if *value > MAX {
            return Err(Errno::ERANGE);
        }
        if o.flags & SEM_UNDO != 0 {
            let had = undo.get(&o.num).copied().unwrap_or(0);
            let back = undone.entry(o.num).or_insert(i32::from(had));
            *back -= i32::from(o.op);
            if !(-MAX - 1..=MAX).contains(back) {
                return Err(Errno::ERANGE);
            }
        }
    }
    for (num, value) in values {
        if let Some(s) = set.sems.get_mut(num as usize) {
            (s.value, s.pid) = (value as u16, pid);
        }
    }
    for (num, back) in undone {
        if back == 0 {
            undo.remove(&num);
        } else {
            undo.insert(num, back as i16);
        }
    }
    Ok(Tried::Done)
}

impl World {
    /// Tries operations of a process on a set; a success is noted in the set's times and the process's undo values.
    fn sem_try(&mut self, id: u32, pid: u32, ops: &[Op]) -> KResult<Tried> {
        let now = self.ipc_now();
        let has_undo = ops.iter().any(|o| o.flags & SEM_UNDO != 0);
        let key = (pid, id);
        let mut undo = match has_undo {
            true => self.ipc.undo.get(&key).cloned().unwrap_or_default(),
            false => BTreeMap::new(),
        };
        let before = undo.len() as u64;
        if has_undo {
            // Room for what may be remembered is asked for before anything happens.
            self.ipc_charge(ops.len() as u64 * UNDO_COST)?;
            self.ipc_uncharge(ops.len() as u64 * UNDO_COST);
        }
        let set = self.ipc.sem.by_id(id as i32)?;
        let tried = perform(set, &mut undo, pid, ops)?;
        if matches!(tried, Tried::Done) {
            set.otime = now;
            if has_undo {
                self.ipc_uncharge(before * UNDO_COST);
                self.ipc.bytes += undo.len() as u64 * UNDO_COST;
                if undo.is_empty() {
                    self.ipc.undo.remove(&key);
                } else {
                    self.ipc.undo.insert(key, undo);
                }
            }
        }
        Ok(tried)
    }

    /// Takes those out of a set's queue who wait no more.
    fn sem_prune(&mut self, id: u32) {
        let Ok(set) = self.ipc.sem.by_id(id as i32) else {
            return;
        };
        let mut queue = std::mem::take(&mut set.queue);
        queue.retain(|q| self.ipc_waits(q.tid, q.ticket));
        if let Ok(set) = self.ipc.sem.by_id(id as i32) {
            set.queue = queue;
        }
    }

    /// After a change of values: whoever can go on does, first those that wait for zero (do_smart_update()).
    fn sem_update(&mut self, id: u32) {
        self.sem_prune(id);
        // Bounded: each turn takes one out of the queue.
        while let Some(next) = self.sem_next(id) {
            let Ok(set) = self.ipc.sem.by_id(id as i32) else {
                return;
            };
            let (at, value) = next;
            let q = set.queue.remove(at);
            self.answer_call(q.tid, value);
        }
    }

    /// The next waiter whose operations were carried out or failed: its place, and what its call returns.
    fn sem_next(&mut self, id: u32) -> Option<(usize, i64)> {
        let queue = self.ipc.sem.by_id(id as i32).ok()?.queue.clone();
        for alters in [false, true] {
            for (i, q) in queue.iter().enumerate().filter(|(_, q)| q.alters() == alters) {
                match self.sem_try(id, q.pid, &q.ops) {
                    Ok(Tried::Done) => return Some((i, 0)),
                    Err(e) => return Some((i, -i64::from(e.0))),
                    Ok(Tried::Blocks(on)) => {
                        if let Ok(set) = self.ipc.sem.by_id(id as i32)
                            && let Some(q) = set.queue.get_mut(i)
                        {
                            q.blocking = on;
                        }
                    }
                }
            }
        }
        None
    }

    /// Values that were set are not undone.
    fn sem_forget_undo(&mut self, id: u32, num: Option<u16>) {
        let mut freed = 0;
        self.ipc.undo.retain(|(_, set), values| {
            if *set == id {
                let before = values.len();
                values.retain(|n, _| num.is_some_and(|num| num != *n));
                freed += before - values.len();
            }
            !values.is_empty()
        });
        self.ipc_uncharge(freed as u64 * UNDO_COST);
    }

    fn sem_destroy(&mut self, id: u32) {
        self.sem_prune(id);
        self.sem_forget_undo(id, None);
        if let Some(set) = self.ipc.sem.remove(id) {
            self.ipc_uncharge(set.cost());
            for q in set.queue {
                self.answer_call(q.tid, -i64::from(Errno::EIDRM.0));
            }
        }
    }

    /// A process ends: what it did with SEM_UNDO is taken back (exit_sem()).
    pub(crate) fn sem_exit(&mut self, pid: u32) {
        let mine = (pid, 0)..=(pid, u32::MAX);
        let sets: Vec<u32> = self.ipc.undo.range(mine).map(|((_, id), _)| *id).collect();
        for id in sets {
            let Some(values) = self.ipc.undo.remove(&(pid, id)) else {
                continue;
            };
            self.ipc_uncharge(values.len() as u64 * UNDO_COST);
            let now = self.ipc_now();
            let Ok(set) = self.ipc.sem.by_id(id as i32) else {
                continue;
            };
            for (num, back) in values {
                if let Some(s) = set.sems.get_mut(num as usize) {
                    let value = i32::from(s.value) + i32::from(back);
                    (s.value, s.pid) = (value.clamp(0, MAX) as u16, pid);
                }
            }
            set.otime = now;
            self.sem_update(id);
        }
    }
}

pub(crate) fn semget(w: &mut World, c: &mut Call) -> SysRes {
    let (n, flags) = (c.a[1] as i32, c.a[2] as u32);
    let [semmsl, semmns, _, semmni] = w.ipc_knob("kernel.sem")?;
    if n < 0 || n as u64 > semmsl {
        return Err(Errno::EINVAL.into());
    }
    let n = n as usize;
    let fits = |s: &Set| {
        if s.sems.len() < n {
            Err(Errno::EINVAL)
        } else {
            Ok(())
        }
    };
    get(
        w,
        c,
        |w| &w.ipc.sem,
        flags,
        fits,
        |w, perm| {
            if n == 0 {
                return Err(Errno::EINVAL);
            }
            let used: usize = w.ipc.sem.objects.values().map(|s| s.sems.len()).sum();
            if (used + n) as u64 > semmns {
                return Err(Errno::ENOSPC);
            }
            let ctime = w.ipc_now();
            let cost = OBJECT_COST + n as u64 * SEM_COST;
            w.ipc_charge(cost)?;
            let made = Set {
                perm,
                otime: 0,
                ctime,
                sems: vec![Sem::default(); n],
                queue: Vec::new(),
            };
            w.ipc
                .sem
                .insert(made, semmni)
                .inspect_err(|_| w.ipc_uncharge(cost))
        },
    )
}

pub(crate) fn semop(w: &mut World, c: &mut Call) -> SysRes {
    c.a[3] = 0;
    semtimedop(w, c)
}

pub(crate) fn semtimedop(w: &mut World, c: &mut Call) -> SysRes {
    let (id, ops_va, n, timeout) = (c.a[0] as i32, c.a[1], c.a[2] as u32, c.a[3]);
    if !c.first {
        // Nobody has answered: the time is over, or a signal came, and this call never goes on after one.
        let late = c.deadline.is_some_and(|d| w.clock.mono() >= d);
        return Err(if late { Errno::EAGAIN } else { Errno::EINTR }.into());
    }
    let timeout = match timeout {
        0 => None,
        va => Some(crate::time::read_timespec(w, c.tid, va)?),
    };
    let [_, _, most, _] = w.ipc_knob("kernel.sem")?;
    if u64::from(n) > most {
        return Err(Errno::E2BIG.into());
    }
    // The second bound is ours: kernel.sem can be set to anything.
    if n < 1 || id < 0 || n > 65_536 {
        return Err(Errno::EINVAL.into());
    }
    let mut bytes = vec![0; n as usize * 6];
    w.copy_in(c.tid, ops_va, &mut bytes)?;
    let ops: Vec<Op> = bytes
        .chunks_exact(6)
        .map(|b| Op {
            num: le16(b, 0),
            op: le16(b, 2) as i16,
            flags: le16(b, 4),
        })
        .collect();
    c.work(u64::from(n) * 20);
    let creds = w.creds(c.tid)?;
    let set = w.ipc.sem.by_id(id)?;
    if ops.iter().any(|o| o.num as usize >= set.sems.len()) {
        return Err(Errno::EFBIG.into());
    }
    let alters = ops.iter().any(|o| o.op != 0);
    set.perm.allows(&creds, if alters { S_IWUGO } else { S_IRUGO })?;
    let (id, pid) = (id as u32, w.tgid(c.tid));
    match w.sem_try(id, pid, &ops)? {
        Tried::Done => {
            if alters {
                w.sem_update(id);
            }
            Ok(0)
        }
        Tried::Blocks(blocking) => {
            c.deadline = timeout.map(|t| w.clock.mono().saturating_add(t));
            w.sem_prune(id);
            let ticket = w.ipc.ticket();
            let waiter = Waiter {
                tid: c.tid,
                pid,
                ticket,
                ops,
                blocking,
            };
            w.ipc.sem.by_id(id as i32)?.queue.push(waiter);
            Err(w.ipc_sleep(c, ticket, id))
        }
    }
}

/// IPC_INFO and SEM_INFO: `struct seminfo`.
fn info(w: &mut World, used: bool) -> KResult<Enc> {
    let [semmsl, semmns, semopm, semmni] = w.ipc_knob("kernel.sem")?;
    let mut e = Enc::new();
    const SEMMNS: u32 = 1_024_000_000;
    e.u32(SEMMNS).u32(semmni as u32).u32(semmns as u32).u32(SEMMNS);
    e.u32(semmsl as u32).u32(semopm as u32).u32(500);
    let sets = w.ipc.sem.objects.values();
    if used {
        let sems: usize = sets.map(|s| s.sems.len()).sum();
        e.u32(w.ipc.sem.objects.len() as u32).i32(MAX).u32(sems as u32);
    } else {
        e.u32(20).i32(MAX).i32(MAX);
    }
    Ok(e)
}

pub(crate) fn semctl(w: &mut World, c: &mut Call) -> SysRes {
    let (id, num, cmd, arg) = (c.a[0] as i32, c.a[1] as i32, c.a[2] as i32, c.a[3]);
    if id < 0 {
        return Err(Errno::EINVAL.into());
    }
    let creds = w.creds(c.tid)?;
    let now = w.ipc_now();
    let pid = w.tgid(c.tid);
    match cmd {
        // SEM_INFO
        IPC_INFO | 19 => {
            let e = info(w, cmd == 19)?;
            w.copy_out(c.tid, arg, &e.0)?;
            Ok(w.ipc.sem.highest())
        }
        // SEM_STAT, SEM_STAT_ANY
        IPC_STAT | 18 | 20 => {
            let (e, answer) = w.ipc.sem.for_stat(&creds, id, cmd != IPC_STAT, cmd == 20)?;
            w.copy_out(c.tid, arg, &e.0)?;
            Ok(answer)
        }
        // GETALL
        13 => {
            let s = w.ipc.sem.by_id(id)?;
            s.perm.allows(&creds, S_IRUGO)?;
            let bytes: Vec<u8> = s.sems.iter().flat_map(|s| s.value.to_le_bytes()).collect();
            c.work(bytes.len() as u64 / 4);
            w.copy_out(c.tid, arg, &bytes)?;
            Ok(0)
        }
        // GETPID, GETVAL, GETNCNT, GETZCNT
        11 | 12 | 14 | 15 => {
            w.ipc.sem.by_id(id)?.perm.allows(&creds, S_IRUGO)?;
            w.sem_prune(id as u32);
            let s = w.ipc.sem.by_id(id)?;
            let sem = usize::try_from(num).ok().and_then(|n| s.sems.get(n));
            let sem = sem.ok_or(Errno::EINVAL)?;
            let waiting = |zero: bool| {
                let on = s.queue.iter().filter_map(|q| q.ops.get(q.blocking));
                on.filter(|o| i32::from(o.num) == num && (o.op == 0) == zero)
                    .count() as i64
            };
            Ok(match cmd {
                11 => i64::from(sem.pid),
                12 => i64::from(sem.value),
                14 => waiting(false),
                _ => waiting(true),
            })
        }
        // SETVAL
        16 => {
            let value = arg as i32;
            if !(0..=MAX).contains(&value) {
                return Err(Errno::ERANGE.into());
            }
            let s = w.ipc.sem.by_id(id)?;
            let sem = usize::try_from(num).ok().and_then(|n| s.sems.get_mut(n));
            let sem = sem.ok_or(Errno::EINVAL)?;
            s.perm.allows(&creds, S_IWUGO)?;
            (sem.value, sem.pid) = (value as u16, pid);
            s.ctime = now;
            w.sem_forget_undo(id as u32, Some(num as u16));
            w.sem_update(id as u32);
            Ok(0)
        }
        // SETALL
        17 => {
            let s = w.ipc.sem.by_id(id)?;
            s.perm.allows(&creds, S_IWUGO)?;
            let mut bytes = vec![0; s.sems.len() * 2];
            c.work(bytes.len() as u64 / 4);
            w.copy_in(c.tid, arg, &mut bytes)?;
            let values = || bytes.chunks_exact(2).map(|b| le16(b, 0));
            if values().any(|v| i32::from(v) > MAX) {
                return Err(Errno::ERANGE.into());
            }
            let s = w.ipc.sem.by_id(id)?;
            for (sem, value) in s.sems.iter_mut().zip(values()) {
                *sem = Sem { value, pid };
            }
            s.ctime = now;
            w.sem_forget_undo(id as u32, None);
            w.sem_update(id as u32);
            Ok(0)
        }
        IPC_SET => {
            let mut b = [0; 104];
            w.copy_in(c.tid, arg, &mut b)?;
            let s = w.ipc.sem.by_id(id)?;
            s.perm.owned_by(&creds)?;
            s.perm.update(&b)?;
            s.ctime = now;
            Ok(0)
        }
        IPC_RMID => {
            w.ipc.sem.by_id(id)?.perm.owned_by(&creds)?;
            w.sem_destroy(id as u32);
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}
