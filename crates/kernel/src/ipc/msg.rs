//! Message queues: msgget, msgsnd, msgrcv, msgctl (msgop(2), ipc/msg.c).
//!
//! A receiver that waits is given its message by the sender, who writes it where the receiver wants it and ends its call. A sender that
//! waits tries again when there is room.

use super::*;
use std::collections::VecDeque;
use std::sync::Arc;
use turncoat_freeze::Freeze;

const MSG_NOERROR: u32 = 0o10000;
const MSG_EXCEPT: u32 = 0o20000;
const MSG_COPY: u32 = 0o40000;
/// What a message costs the kernel beside its text, in bytes.
const MESSAGE_COST: u64 = 64;

/// One message.
#[derive(Clone, Debug, Freeze)]
pub(super) struct Message {
    kind: i64,
    text: Arc<[u8]>,
}

impl Message {
    fn cost(&self) -> u64 {
        MESSAGE_COST + self.text.len() as u64
    }
}

/// Which messages a receiver wants (convert_mode()).
#[derive(Clone, Copy, Debug, Freeze)]
enum Wanted {
    Any,
    Equal(i64),
    NotEqual(i64),
    /// The first of the lowest kind, up to this one.
    LessEqual(i64),
    /// The one at this place, to be copied.
    Number(i64),
}

impl Wanted {
    fn new(kind: i64, flags: u32) -> Wanted {
        match kind {
            n if flags & MSG_COPY != 0 => Wanted::Number(n),
            0 => Wanted::Any,
            n if n < 0 => Wanted::LessEqual(n.checked_neg().unwrap_or(i64::MAX)),
            n if flags & MSG_EXCEPT != 0 => Wanted::NotEqual(n),
            n => Wanted::Equal(n),
        }
    }

    fn fits(self, kind: i64) -> bool {
        match self {
            Wanted::Any | Wanted::Number(_) => true,
            Wanted::Equal(n) => kind == n,
            Wanted::NotEqual(n) => kind != n,
            Wanted::LessEqual(n) => kind <= n,
        }
    }

    /// The place of the message to take.
    fn find(self, messages: &VecDeque<Message>) -> Option<usize> {
        let fits = |(_, m): &(usize, &Message)| self.fits(m.kind);
        let mut all = messages.iter().enumerate().filter(fits);
        match self {
            Wanted::LessEqual(_) => all.min_by_key(|(_, m)| m.kind).map(|(i, _)| i),
            Wanted::Number(n) => usize::try_from(n).ok().filter(|n| *n < messages.len()),
            _ => all.next().map(|(i, _)| i),
        }
    }
}

/// A thread that waits for a message.
#[derive(Clone, Debug, Freeze)]
struct Receiver {
    tid: u32,
    ticket: u64,
    wanted: Wanted,
    /// Where to put it, how much fits, and whether the rest may be cut off.
    va: u64,
    room: u64,
    cut: bool,
}

/// A thread that waits for room.
#[derive(Clone, Debug, Freeze)]
struct Sender {
    tid: u32,
    ticket: u64,
    len: u64,
}

/// One queue.
#[derive(Clone, Debug, Freeze)]
pub(crate) struct Queue {
    pub perm: Perm,
    pub stime: i64,
    pub rtime: i64,
    pub ctime: i64,
    /// Bytes of text in it, and the most there may be.
    pub bytes: u64,
    room: u64,
    pub lspid: u32,
    pub lrpid: u32,
    pub(super) messages: VecDeque<Message>,
    receivers: Vec<Receiver>,
    senders: Vec<Sender>,
}

impl Object for Queue {
    fn perm(&self) -> &Perm {
        &self.perm
    }
    fn perm_mut(&mut self) -> &mut Perm {
        &mut self.perm
    }
    /// As `struct msqid64_ds`.
    fn stat(&self) -> Enc {
        let mut e = Enc::new();
        self.perm.put(&mut e);
        e.i64(self.stime).i64(self.rtime).i64(self.ctime);
        e.u64(self.bytes).u64(self.messages.len() as u64).u64(self.room);
        e.u32(self.lspid).u32(self.lrpid).pad_to(120);
        e
    }
}

impl Queue {
    fn fits(&self, len: u64) -> bool {
        len.saturating_add(self.bytes) <= self.room && (self.messages.len() as u64) < self.room
    }
}

impl World {
    /// The queue of a call. If the call waited and goes on, one that is not there was removed meanwhile.
    fn msg_queue(&mut self, c: &Call, id: i32) -> KResult<&mut Queue> {
        let q = self.ipc.msg.by_id(id);
        if c.first { q } else { q.map_err(|_| Errno::EIDRM) }
    }

    /// Takes those out of a queue's lists who wait no more.
    fn msg_prune(&mut self, id: u32) {
        let Ok(q) = self.ipc.msg.by_id(id as i32) else {
            return;
        };
        let mut receivers = std::mem::take(&mut q.receivers);
        let mut senders = std::mem::take(&mut q.senders);
        receivers.retain(|r| self.ipc_waits(r.tid, r.ticket));
        senders.retain(|s| self.ipc_waits(s.tid, s.ticket));
        if let Ok(q) = self.ipc.msg.by_id(id as i32) {
            (q.receivers, q.senders) = (receivers, senders);
        }
    }

    /// Senders for whose messages there is room now try again, in the order in which they came.
    fn msg_room(&mut self, id: u32) {
        self.msg_prune(id);
        let Ok(q) = self.ipc.msg.by_id(id as i32) else {
            return;
        };
        let (go, stay) = std::mem::take(&mut q.senders)
            .into_iter()
            .partition(|s| q.fits(s.len));
        q.senders = stay;
        let go: Vec<Sender> = go;
        for s in go {
            self.unblock(s.tid);
        }
    }

    /// Gives a message to the first receiver that wants it and has room for it; false if there is none.
    fn msg_hand_over(&mut self, id: u32, message: &Message) -> KResult<bool> {
        self.msg_prune(id);
        let now = self.ipc_now();
        let len = message.text.len() as u64;
        loop {
            let q = self.ipc.msg.by_id(id as i32)?;
            let Some(i) = q.receivers.iter().position(|r| r.wanted.fits(message.kind)) else {
                return Ok(false);
            };
            let r = q.receivers.remove(i);
            if r.room < len && !r.cut {
                self.answer_call(r.tid, -i64::from(Errno::E2BIG.0));
                continue;
            }
            q.rtime = now;
            q.lrpid = r.tid;
            let value = self.msg_store(r.tid, r.va, r.room, message);
            let value = value.unwrap_or_else(|e| -i64::from(e.0));
            self.answer_call(r.tid, value);
            return Ok(true);
        }
    }

    /// Writes a message to a receiver's memory; the bytes of its text.
    fn msg_store(&mut self, tid: u32, va: u64, room: u64, message: &Message) -> KResult<i64> {
        let n = message
            .text
            .len()
            .min(usize::try_from(room).unwrap_or(usize::MAX));
        let mut e = Enc::new();
        e.i64(message.kind).field(&message.text, n);
        self.copy_out(tid, va, &e.0)?;
        Ok(n as i64)
    }

    fn msg_destroy(&mut self, id: u32) {
        self.msg_prune(id);
        if let Some(q) = self.ipc.msg.remove(id) {
            let held: u64 = q.messages.iter().map(Message::cost).sum();
            self.ipc_uncharge(OBJECT_COST + held);
            let waiting = q.receivers.iter().map(|r| r.tid);
            for tid in waiting.chain(q.senders.iter().map(|s| s.tid)) {
                self.answer_call(tid, -i64::from(Errno::EIDRM.0));
            }
        }
    }
}

pub(crate) fn msgget(w: &mut World, c: &mut Call) -> SysRes {
    let flags = c.a[1] as u32;
    get(
        w,
        c,
        |w| &w.ipc.msg,
        flags,
        |_| Ok(()),
        |w, perm| {
            let [most] = w.ipc_knob("kernel.msgmni")?;
            let [room] = w.ipc_knob("kernel.msgmnb")?;
            w.ipc_charge(OBJECT_COST)?;
            let made = Queue {
                perm,
                stime: 0,
                rtime: 0,
                ctime: w.ipc_now(),
                bytes: 0,
                room,
                lspid: 0,
                lrpid: 0,
                messages: VecDeque::new(),
                receivers: Vec::new(),
                senders: Vec::new(),
            };
            w.ipc
                .msg
                .insert(made, most)
                .inspect_err(|_| w.ipc_uncharge(OBJECT_COST))
        },
    )
}

pub(crate) fn msgsnd(w: &mut World, c: &mut Call) -> SysRes {
    let (id, va, len, flags) = (c.a[0] as i32, c.a[1], c.a[2], c.a[3] as u32);
    let kind = w.read_u64(c.tid, va)? as i64;
    let [max] = w.ipc_knob("kernel.msgmax")?;
    // The second bound is ours: kernel.msgmax can be set to anything.
    if len > max || len > 1 << 20 || id < 0 || kind < 1 {
        return Err(Errno::EINVAL.into());
    }
    let mut text = vec![0; len as usize];
    w.copy_in(c.tid, va.wrapping_add(8), &mut text)?;
    c.work(len / 8);
    let creds = w.creds(c.tid)?;
    let q = w.msg_queue(c, id)?;
    q.perm.allows(&creds, S_IWUGO)?;
    let id = id as u32;
    if !q.fits(len) {
        if flags & IPC_NOWAIT != 0 {
            return Err(Errno::EAGAIN.into());
        }
        w.msg_prune(id);
        let ticket = w.ipc.ticket();
        let tid = c.tid;
        let q = w.ipc.msg.by_id(id as i32)?;
        q.senders.push(Sender { tid, ticket, len });
        return Err(w.ipc_sleep(c, ticket, id));
    }
    let message = Message {
        kind,
        text: text.into(),
    };
    let (now, pid) = (w.ipc_now(), w.tgid(c.tid));
    w.ipc_charge(message.cost())?;
    let q = w.ipc.msg.by_id(id as i32)?;
    (q.lspid, q.stime) = (pid, now);
    if w.msg_hand_over(id, &message)? {
        w.ipc_uncharge(message.cost());
    } else {
        let q = w.ipc.msg.by_id(id as i32)?;
        q.bytes += len;
        q.messages.push_back(message);
    }
    Ok(0)
}

pub(crate) fn msgrcv(w: &mut World, c: &mut Call) -> SysRes {
    let [id, va, room, kind, flags, _] = c.a;
    let (id, kind, flags) = (id as i32, kind as i64, flags as u32);
    if id < 0 || (room as i64) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let copies = flags & MSG_COPY != 0;
    if copies && (flags & MSG_EXCEPT != 0 || flags & IPC_NOWAIT == 0) {
        return Err(Errno::EINVAL.into());
    }
    let wanted = Wanted::new(kind, flags);
    let cut = flags & MSG_NOERROR != 0;
    let creds = w.creds(c.tid)?;
    let (now, pid) = (w.ipc_now(), w.tgid(c.tid));
    let q = w.msg_queue(c, id)?;
    q.perm.allows(&creds, S_IRUGO)?;
    let id = id as u32;
    if let Some(i) = wanted.find(&q.messages) {
        let message = q.messages.get(i).cloned().ok_or(Errno::EIDRM)?;
        let len = message.text.len() as u64;
        if room < len && !cut {
            return Err(Errno::E2BIG.into());
        }
        c.work(len / 8 + i as u64);
        if !copies {
            q.messages.remove(i);
            (q.rtime, q.lrpid) = (now, pid);
            q.bytes = q.bytes.saturating_sub(len);
            w.ipc_uncharge(message.cost());
            w.msg_room(id);
        }
        return Ok(w.msg_store(c.tid, va, room, &message)?);
    }
    if flags & IPC_NOWAIT != 0 {
        return Err(Errno::ENOMSG.into());
    }
    w.msg_prune(id);
    let ticket = w.ipc.ticket();
    let receiver = Receiver {
        tid: c.tid,
        ticket,
        wanted,
        va,
        room,
        cut,
    };
    w.ipc.msg.by_id(id as i32)?.receivers.push(receiver);
    Err(w.ipc_sleep(c, ticket, id))
}

/// IPC_INFO and MSG_INFO: `struct msginfo`.
fn info(w: &mut World, used: bool) -> KResult<Enc> {
    let [max] = w.ipc_knob("kernel.msgmax")?;
    let [room] = w.ipc_knob("kernel.msgmnb")?;
    let [most] = w.ipc_knob("kernel.msgmni")?;
    let queues = || w.ipc.msg.objects.values();
    let (pool, map, total) = if used {
        let messages: usize = queues().map(|q| q.messages.len()).sum();
        let bytes: u64 = queues().map(|q| q.bytes).sum();
        (queues().count() as u32, messages as u32, bytes as u32)
    } else {
        (512_000, 16_384, 16_384)
    };
    let mut e = Enc::new();
    e.u32(pool).u32(map).u32(max as u32).u32(room as u32);
    e.u32(most as u32).u32(16).u32(total).u16(u16::MAX).pad_to(32);
    Ok(e)
}

pub(crate) fn msgctl(w: &mut World, c: &mut Call) -> SysRes {
    let (id, cmd, buf) = (c.a[0] as i32, c.a[1] as i32, c.a[2]);
    if id < 0 || cmd < 0 {
        return Err(Errno::EINVAL.into());
    }
    let creds = w.creds(c.tid)?;
    match cmd {
        // MSG_INFO
        IPC_INFO | 12 => {
            let e = info(w, cmd == 12)?;
            w.copy_out(c.tid, buf, &e.0)?;
            Ok(w.ipc.msg.highest())
        }
        // MSG_STAT, MSG_STAT_ANY
        IPC_STAT | 11 | 13 => {
            let (e, answer) = w.ipc.msg.for_stat(&creds, id, cmd != IPC_STAT, cmd == 13)?;
            w.copy_out(c.tid, buf, &e.0)?;
            Ok(answer)
        }
        IPC_SET => {
            let mut b = [0; 120];
            w.copy_in(c.tid, buf, &mut b)?;
            let room = le64(&b, 88);
            let now = w.ipc_now();
            let [most] = w.ipc_knob("kernel.msgmnb")?;
            let q = w.ipc.msg.by_id(id)?;
            q.perm.owned_by(&creds)?;
            if room > most && !creds.capable(cap::SYS_RESOURCE) {
                return Err(Errno::EPERM.into());
            }
            q.perm.update(&b)?;
            (q.room, q.ctime) = (room, now);
            // Receivers may have lost the right to receive: they ask anew.
            w.msg_prune(id as u32);
            let q = w.ipc.msg.by_id(id)?;
            for r in std::mem::take(&mut q.receivers) {
                w.unblock(r.tid);
            }
            w.msg_room(id as u32);
            Ok(0)
        }
        IPC_RMID => {
            w.ipc.msg.by_id(id)?.perm.owned_by(&creds)?;
            w.msg_destroy(id as u32);
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}
