//! A world: all state of one machine, its scheduler, and the doors through which bytes come and go.
//!
//! Everything is plain data that refers to itself by index, so that a world can be cloned, hashed and written. The same inputs
//! (bytes, clock stamps, entropy) in the same order give the same run.
//!
//! `boot` puts a machine together, `run` gives its threads their turns, `doors` has what goes in and out, `facts` what is told to the
//! record.

mod boot;
mod doors;
mod facts;
mod run;

pub use boot::{Boot, Limits, StandInSpec};
pub(crate) use doors::ConnState;
pub use doors::{Conn, Input, Out, Output};
pub use facts::{Fact, Stamped};
pub use run::Slice;

use crate::fd::event::Event;
use crate::fd::pipe::Pipe;
use crate::fd::{FdTable, File};
use crate::mm::Mm;
use crate::numbered::Numbered;
use crate::rng::Rng;
use crate::signal::SigHand;
use crate::slab::Slab;
use crate::sysfs::facts::Facts;
use crate::task::{FsInfo, Proc, Task};
use crate::time::{Clock, TimerRef};
use crate::tty::Ttys;
use crate::wait::WaitKey;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use turncoat_cpu::{Machine, PageRef};
use turncoat_freeze::Freeze;

/// One machine that exists only in our memory.
#[derive(Clone, Freeze)]
pub struct World {
    pub(crate) clock: Clock,
    pub(crate) rng: Rng,
    pub(crate) machine: Machine,
    pub(crate) facts_of: Arc<Facts>,
    pub(crate) hostname: Vec<u8>,
    pub(crate) domain: Vec<u8>,
    pub(crate) limits: Limits,
    pub(crate) vfs: crate::fsglue::VfsCell,
    pub(crate) ttys: Ttys,
    pub(crate) net: crate::net::Net,
    pub(crate) tasks: Numbered<Arc<Task>>,
    pub(crate) procs: Numbered<Arc<Proc>>,
    pub(crate) mms: Numbered<Box<Mm>>,
    /// Memory that is compressed while the world rests.
    #[freeze(with = turncoat_freeze::empty)]
    pub(crate) asleep: Vec<crate::rest::Asleep>,
    pub(crate) fdtables: Numbered<FdTable>,
    pub(crate) fss: Numbered<FsInfo>,
    pub(crate) sighands: Numbered<SigHand>,
    pub(crate) open: Slab<File>,
    pub(crate) pipes: Slab<Pipe>,
    /// System V IPC.
    pub(crate) ipc: crate::ipc::Ipc,
    pub(crate) fifos: BTreeMap<u64, u32>,
    pub(crate) events: Slab<Event>,
    pub(crate) epoll_index: BTreeMap<WaitKey, BTreeMap<u32, u32>>,
    pub(crate) waiters: BTreeMap<WaitKey, BTreeSet<u32>>,
    pub(crate) timers: BTreeSet<(u64, TimerRef)>,
    pub(crate) runq: VecDeque<u32>,
    pub(crate) conns: BTreeMap<Conn, ConnState>,
    pub(crate) inetd: crate::inetd::Inetd,
    pub(crate) zero: PageRef,
    /// The code page that every program gets (`[vdso]`).
    pub(crate) vdso: PageRef,
    pub(crate) last_pid: u32,
    /// What [`pids::at`](turncoat_cover::past::pids::at) gave when it moved on last.
    pub(crate) pids_at: u32,
    pub(crate) next_id: u32,
    pub(crate) next_conn: u32,
    /// Connections before the machine booted: sessions are counted from there.
    pub(crate) first_conn: u32,
    pub(crate) anon_ino: u64,
    pub(crate) forks: u64,
    pub(crate) switches: u64,
    pub(crate) yielded: bool,
    pub(crate) current: u32,
    pub(crate) last_fault: (u64, u64),
    pub(crate) seq: u64,
    pub(crate) outputs: Vec<Output>,
    pub(crate) facts: Vec<Stamped>,
    pub(crate) gaps: BTreeMap<String, u64>,
    pub(crate) trace: Option<Vec<String>>,
    pub(crate) halted: bool,
    /// How it was told to go down.
    pub(crate) down: Option<crate::Down>,
    /// Boots since it was cloned.
    pub(crate) boots: u32,
    /// The pipe of `/run/initctl`, whose other end init holds.
    pub(crate) initctl: Option<u32>,
    /// What init does beside.
    pub(crate) init: crate::init::Init,
    pub(crate) load: [u64; 3],
    pub(crate) load_at: u64,
    pub(crate) net_at: u64,
    pub(crate) standin_tables: Option<(u32, u32)>,
    pub(crate) kmsg: Arc<Vec<(u8, u64, String)>>,
    pub(crate) inbound: Vec<crate::net::outside::Inbound>,
    pub(crate) readline_cache: BTreeMap<u64, Option<u64>>,
}

impl World {
    /// A clone of this world that goes its own way: fresh entropy, and pages that neither changes under the other.
    pub fn fork(&mut self, entropy: [u8; 32]) -> World {
        self.rise();
        self.vfs.objects.seal();
        for m in self.mms.values_mut() {
            // Marks every private page as shared between the two.
            drop(m.space.fork());
        }
        let mut w = self.clone();
        w.vfs.objects.seal();
        w.rng.reseed(entropy);
        w
    }

    /// Outputs and facts since the last call.
    pub fn drain(&mut self) -> (Vec<Output>, Vec<Stamped>) {
        for c in self.conns.values_mut() {
            c.unread = 0;
        }
        (std::mem::take(&mut self.outputs), std::mem::take(&mut self.facts))
    }

    /// Bytes of private memory: pages of processes and of files changed, messages and semaphores.
    pub fn memory(&mut self) -> u64 {
        let own: usize = self.mms.values_mut().map(|m| m.space.stats().owned).sum();
        (own as u64 + self.vfs.objects.usage().0) * 4096 + self.ipc.bytes()
    }

    /// Instructions retired so far.
    pub fn retired(&self) -> u64 {
        self.clock.total
    }

    /// The process id that was given last.
    pub fn last_pid(&self) -> u32 {
        self.last_pid
    }

    /// Bit n is processor n.
    pub(crate) fn cpu_mask(&self) -> u64 {
        let n = self.facts_of.cpu.cores.max(1)
            * self.facts_of.cpu.sockets.max(1)
            * self.facts_of.cpu.threads.max(1);
        u64::MAX >> (64 - n.clamp(1, 64))
    }

    /// What programs asked for and did not get: `program: what` to count, and instructions by mnemonic.
    pub fn gaps(&self) -> BTreeMap<String, u64> {
        let mut g = self.gaps.clone();
        for (k, v) in &self.machine.unimplemented {
            g.insert(format!("instruction {k}"), *v);
        }
        g
    }

    /// Chooses how instructions are carried out; a run is the same by either way.
    pub fn set_dispatcher(&mut self, dispatcher: turncoat_cpu::Dispatcher) {
        self.machine.dispatcher = dispatcher;
    }

    /// Whether every block of a program is decoded anew before it runs; it runs the same, and slowly.
    pub fn set_forgets(&mut self, on: bool) {
        self.machine.forgets = on;
    }

    /// Starts or stops collecting system calls in strace's manner.
    pub fn set_trace(&mut self, on: bool) {
        self.trace = on.then(Vec::new);
    }

    /// The lines collected since the last call.
    pub fn take_trace(&mut self) -> Vec<String> {
        self.trace.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
