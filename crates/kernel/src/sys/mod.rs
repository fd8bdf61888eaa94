//! System calls: one table says of each what serves it, how it restarts, how it prints, and how far it is supported.
//!
//! A handler decodes arguments and asks the parts. It returns a value, an error, or `Block`; a blocked call is kept by its task
//! and tried again from its arguments when one of its keys is woken.

mod descriptor;
mod file;
mod fs;
mod ioctl;
mod lock;
mod misc;
mod rw;
mod socket;
mod splice;
mod stat;
mod strace;
mod table;

pub(crate) use descriptor::close_note;
pub(crate) use table::entry;
pub use table::{SYSCALLS, Support, syscall_doc};

use crate::Errno;
use crate::task::State;
use crate::wait::WaitKey;
use crate::world::World;
use turncoat_cpu::{Cpu, R8, R9, R10, RAX, RDI, RDX, RSI};
use turncoat_freeze::Freeze;

/// A call in progress.
#[derive(Clone, Debug, Freeze)]
pub(crate) struct Call {
    pub tid: u32,
    pub nr: u64,
    pub a: [u64; 6],
    /// This is the first try.
    pub first: bool,
    /// When to stop waiting (monotonic ns).
    pub deadline: Option<u64>,
    /// Where a sleep writes what is left of it.
    pub remain_va: u64,
    /// Bytes done before it blocked.
    pub progress: u64,
    /// For the handler.
    pub scratch: u64,
    /// When a futex wait began, and its bits; set when it was woken.
    pub since: u64,
    pub bits: u32,
    pub woken: bool,
    /// With a timeout: never restarts.
    pub timed: bool,
    /// A FIFO open that counted itself: to be undone if it is interrupted.
    pub undo: Option<(u32, bool, bool)>,
    /// Work done, in instructions.
    pub cost: u64,
    /// A terminal read's state between tries.
    pub tty: crate::tty::ReadCall,
}

impl Call {
    /// The call that a thread's registers describe.
    pub fn new(tid: u32, cpu: &Cpu) -> Call {
        let g = &cpu.gpr;
        Call {
            tid,
            nr: g[RAX],
            a: [g[RDI], g[RSI], g[RDX], g[R10], g[R8], g[R9]],
            first: true,
            deadline: None,
            remain_va: 0,
            progress: 0,
            scratch: 0,
            since: 0,
            bits: u32::MAX,
            woken: false,
            timed: false,
            undo: None,
            cost: 0,
            tty: Default::default(),
        }
    }

    /// Charges work.
    pub fn work(&mut self, n: u64) {
        self.cost += n;
    }
}

/// Why a handler has no value.
#[derive(Clone, Debug)]
pub(crate) enum Trap {
    Err(Errno),
    Block {
        keys: Vec<WaitKey>,
        until: Option<u64>,
        unint: bool,
    },
    /// Registers are as they should be (or the thread is gone).
    Done,
}

impl Trap {
    pub fn wait(key: WaitKey) -> Trap {
        Trap::Block {
            keys: vec![key],
            until: None,
            unint: false,
        }
    }
}

impl From<Errno> for Trap {
    fn from(e: Errno) -> Trap {
        Trap::Err(e)
    }
}

/// What a handler returns.
pub(crate) type SysRes = Result<i64, Trap>;

/// A handler.
pub(crate) type Handler = fn(&mut World, &mut Call) -> SysRes;

/// What happens to a call when a handler of a signal runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Restart {
    /// Again, if SA_RESTART says so.
    Sys,
    /// EINTR always.
    Never,
}

/// Instructions that a call costs at least.
const BASE_COST: u64 = 300;

impl World {
    /// Ends the wait of a thread in a call by giving the call's answer.
    pub(crate) fn answer_call(&mut self, tid: u32, value: i64) {
        let Some(c) = self.tm(tid).ok().and_then(|t| t.call.take()) else {
            return;
        };
        self.trace_result(&c, value);
        if let Some(cpu) = self.tm(tid).ok().and_then(|t| t.cpu.as_mut()) {
            cpu.gpr[RAX] = value as u64;
        }
        self.unblock(tid);
    }

    /// Serves one call; gives its cost in instructions.
    pub(crate) fn dispatch(&mut self, mut c: Call) -> u64 {
        let tid = c.tid;
        let entry = table::entry(c.nr);
        let r = match entry {
            Some(e) => (e.handler)(self, &mut c),
            None => {
                self.unserved(tid, &format!("syscall {}", c.nr as i64));
                Err(Trap::Err(Errno::ENOSYS))
            }
        };
        if !self.vfs.objects.invalid.is_empty() {
            self.refresh_mappings();
        }
        if !self.vfs.objects.attachments.is_empty() {
            let tgid = self.tgid(tid);
            self.shm_settle(tgid);
        }
        let cost = BASE_COST + c.cost;
        let value = match r {
            Ok(v) => v,
            Err(Trap::Err(Errno::ERESTARTSYS)) => {
                // A terminal stopped us, or a signal is on its way: the call is tried again if nothing handles it.
                self.after_task();
                if let Ok(t) = self.tm(tid) {
                    t.call = Some(c);
                }
                return cost;
            }
            Err(Trap::Err(e)) if c.progress > 0 && e != Errno::EFAULT => c.progress as i64,
            Err(Trap::Err(e)) => -(e.0 as i64),
            Err(Trap::Done) => {
                self.after_task();
                return cost;
            }
            Err(Trap::Block { keys, until, unint }) => {
                // Keep the call, and sleep.
                if let Ok(t) = self.tm(tid)
                    && t.state == State::Runnable
                {
                    t.call = Some(c);
                    self.block(tid, keys, until, unint);
                    // A signal that is already there ends the sleep at once.
                    if !unint && self.deliverable(tid).0 != 0 {
                        self.unblock(tid);
                    }
                }
                self.after_task();
                return cost;
            }
        };
        self.trace_result(&c, value);
        if let Ok(t) = self.tm(tid) {
            if let Some(m) = t.saved_mask.take() {
                t.mask = m;
            }
            if let Some(cpu) = t.cpu.as_mut() {
                cpu.gpr[RAX] = value as u64;
            }
        }
        self.after_task();
        cost
    }
}
