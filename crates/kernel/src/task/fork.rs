//! clone, clone3, fork, vfork, and the small calls of a thread about itself.

use super::{Interval, Proc, State};
use crate::abi::sig::SIGCHLD;
use crate::abi::*;
use crate::sys::{Call, SysRes, Trap};
use crate::task::cap;
use crate::wait::WaitKey;
use crate::world::World;
use crate::{Errno, KResult};
use std::sync::Arc;
use turncoat_cpu::{RAX, RSP};

/// What clone3's `struct clone_args` says.
struct Args {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u8,
    stack: u64,
    tls: u64,
}

/// What copying an address space, and taking the copy apart at its end, costs, in instructions: what the host needs for it. A program
/// that does nothing else has no more of the processor than one that computes.
const FORK_COST: u64 = 12_000;

fn clone_with(w: &mut World, c: &mut Call, a: Args) -> SysRes {
    let f = a.flags;
    if (f & CLONE_SIGHAND != 0 && f & CLONE_VM == 0)
        || (f & CLONE_THREAD != 0 && f & CLONE_SIGHAND == 0)
        || (f & (CLONE_NEWNS | CLONE_FS) == CLONE_NEWNS | CLONE_FS)
        || (f & CLONE_SIGHAND != 0 && f & CLONE_CLEAR_SIGHAND != 0)
    {
        return Err(Errno::EINVAL.into());
    }
    let creds = w.creds(c.tid)?;
    const NS: u64 = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET;
    if f & NS != 0 && f & CLONE_NEWUSER == 0 && !creds.capable(cap::SYS_ADMIN) {
        return Err(Errno::EPERM.into());
    }
    let tgid = w.tgid(c.tid);
    let limit = w.p(tgid)?.limits[RLIMIT_NPROC].0;
    if (creds.uid != 0 && w.user_tasks(creds.uid) as u64 >= limit) || w.tasks.len() >= w.limits.tasks {
        return Err(Errno::EAGAIN.into());
    }
    let tid = w.alloc_pid()?;
    let parent = w.t(c.tid)?.clone();
    let thread = f & CLONE_THREAD != 0;

    let mut t = parent.clone();
    t.tid = tid;
    t.tgid = if thread { tgid } else { tid };
    t.state = State::Runnable;
    t.queued = false;
    t.pending = Default::default();
    t.call = None;
    t.keys = Vec::new();
    t.saved_mask = None;
    t.clear_tid = if f & CLONE_CHILD_CLEARTID != 0 {
        a.child_tid
    } else {
        0
    };
    t.robust = 0;
    if f & CLONE_VM == 0 {
        // A forked child keeps its registration; a thread makes its own.
    } else {
        t.rseq = None;
    }
    if f & CLONE_VM != 0 && f & CLONE_VFORK == 0 {
        t.alt = Default::default();
    }
    (t.utime, t.stime, t.minflt, t.majflt, t.nvcsw, t.nivcsw) = (0, 0, 0, 0, 0, 0);
    (t.rchar, t.wchar, t.syscr, t.syscw) = (0, 0, 0, 0);
    t.start = w.clock.mono();
    t.vfork_parent = (f & CLONE_VFORK != 0).then_some(c.tid);

    // Memory.
    let mm = parent.mm.ok_or(Errno::EINVAL)?;
    t.mm = Some(if f & CLONE_VM != 0 {
        if let Some(m) = w.mms.get_mut(&mm) {
            m.users += 1;
        }
        mm
    } else {
        c.work(FORK_COST);
        w.fork_mm(mm)?
    });
    // Descriptors.
    t.files = match parent.files {
        Some(id) if f & CLONE_FILES != 0 => {
            if let Some(x) = w.fdtables.get_mut(&id) {
                x.users += 1;
            }
            Some(id)
        }
        Some(id) => Some(w.fork_files(id)),
        None => None,
    };
    t.fs = if f & CLONE_FS != 0 {
        if let Some(x) = w.fss.get_mut(&parent.fs) {
            x.users += 1;
        }
        parent.fs
    } else {
        w.fork_fs(parent.fs)
    };
    t.sighand = if f & CLONE_SIGHAND != 0 {
        if let Some(x) = w.sighands.get_mut(&parent.sighand) {
            x.users += 1;
        }
        parent.sighand
    } else {
        let mut sh = w
            .sighands
            .get(&parent.sighand)
            .cloned()
            .unwrap_or_else(crate::signal::SigHand::new);
        sh.users = 1;
        if f & CLONE_CLEAR_SIGHAND != 0 {
            crate::signal::clear_handlers(sh.change());
        }
        let id = w.fresh_id();
        w.sighands.insert(id, sh);
        id
    };
    // Registers.
    if let Some(cpu) = t.cpu.as_mut() {
        cpu.gpr[RAX] = 0;
        if a.stack != 0 {
            cpu.gpr[RSP] = a.stack;
        }
        if f & CLONE_SETTLS != 0 {
            if a.tls >= 1 << 47 {
                return Err(Errno::EPERM.into());
            }
            cpu.fs_base = a.tls;
        }
    }
    if thread {
        w.pm(tgid)?.threads.push(tid);
    } else {
        let pp = w.p(tgid)?;
        let mut p: Proc = pp.clone();
        p.tgid = tid;
        p.ppid = if f & CLONE_PARENT != 0 { pp.ppid } else { tgid };
        p.threads = vec![tid];
        p.pending = Default::default();
        (p.itreal, p.itvirt, p.itprof) = (Interval::default(), Interval::default(), Interval::default());
        p.timers.clear();
        p.next_timer = 0;
        p.start = t.start;
        (p.dead_time, p.child_time, p.dead_flt, p.child_flt) = ((0, 0), (0, 0), (0, 0), (0, 0));
        (p.maxrss, p.child_maxrss) = (0, 0);
        p.zombie = None;
        p.exe = None;
        p.group_exit = None;
        p.stopped = None;
        (p.report_cont, p.report_stop) = (false, false);
        p.exit_signal = if f & CLONE_PARENT != 0 {
            pp.exit_signal
        } else {
            a.exit_signal
        };
        p.subreaper = false;
        p.did_exec = false;
        p.io = (0, 0, 0, 0);
        w.procs.insert(tid, Arc::new(p));
    }
    w.tasks.insert(tid, Arc::new(t));
    w.forks += 1;
    if f & CLONE_PIDFD != 0 {
        let fd = w.new_pidfd(c.tid, if thread { tgid } else { tid }, O_CLOEXEC)?;
        let at = if a.pidfd != 0 { a.pidfd } else { a.parent_tid };
        w.copy_out(c.tid, at, &(fd as i32).to_le_bytes())?;
    }
    if f & CLONE_PARENT_SETTID != 0 {
        let _ = w.copy_out(c.tid, a.parent_tid, &tid.to_le_bytes());
    }
    if f & CLONE_CHILD_SETTID != 0 {
        let _ = w.copy_out(tid, a.child_tid, &tid.to_le_bytes());
    }
    w.enqueue(tid);
    if f & CLONE_VFORK != 0 {
        // The parent goes on when the child has left its memory; its answer is ready now.
        if let Some(cpu) = w.tm(c.tid)?.cpu.as_mut() {
            cpu.gpr[RAX] = tid as u64;
        }
        w.tm(c.tid)?.state = State::Sleeping {
            uninterruptible: true,
        };
        w.waiters.entry(WaitKey::Vfork(tid)).or_default().insert(c.tid);
        w.tm(c.tid)?.keys = vec![WaitKey::Vfork(tid)];
        w.trace_result(c, tid as i64);
        return Err(Trap::Done);
    }
    Ok(tid as i64)
}

pub(crate) fn clone(w: &mut World, c: &mut Call) -> SysRes {
    let args = Args {
        flags: c.a[0] & !0xff & 0xffff_ffff,
        pidfd: 0,
        parent_tid: c.a[2],
        child_tid: c.a[3],
        exit_signal: (c.a[0] & 0xff) as u8,
        stack: c.a[1],
        tls: c.a[4],
    };
    if args.flags & CLONE_PIDFD != 0 && args.flags & (CLONE_PARENT_SETTID | CLONE_DETACHED) != 0 {
        return Err(Errno::EINVAL.into());
    }
    clone_with(w, c, args)
}

pub(crate) fn fork(w: &mut World, c: &mut Call) -> SysRes {
    let vfork = c.nr == 58;
    clone_with(
        w,
        c,
        Args {
            flags: if vfork { CLONE_VM | CLONE_VFORK } else { 0 },
            pidfd: 0,
            parent_tid: 0,
            child_tid: 0,
            exit_signal: SIGCHLD,
            stack: 0,
            tls: 0,
        },
    )
}

pub(crate) fn clone3(w: &mut World, c: &mut Call) -> SysRes {
    let size = c.a[1] as usize;
    if size > 4096 {
        return Err(Errno::E2BIG.into());
    }
    if size < 64 {
        return Err(Errno::EINVAL.into());
    }
    let mut b = vec![0u8; size];
    w.copy_in(c.tid, c.a[0], &mut b)?;
    if b.iter().skip(88).any(|x| *x != 0) {
        return Err(Errno::E2BIG.into());
    }
    let flags = le64(&b, 0);
    let exit_signal = le64(&b, 32);
    let (stack, stack_size) = (le64(&b, 40), le64(&b, 48));
    if flags & (CLONE_DETACHED | 0xff) != 0
        || exit_signal > 64
        || (flags & (CLONE_THREAD | CLONE_PARENT) != 0 && exit_signal != 0)
        || (stack == 0) != (stack_size == 0)
        || flags >> 34 != 0
    {
        return Err(Errno::EINVAL.into());
    }
    clone_with(
        w,
        c,
        Args {
            flags,
            pidfd: le64(&b, 8),
            child_tid: le64(&b, 16),
            parent_tid: le64(&b, 24),
            exit_signal: exit_signal as u8,
            stack: stack.wrapping_add(stack_size),
            tls: le64(&b, 56),
        },
    )
}

pub(crate) fn unshare(w: &mut World, c: &mut Call) -> SysRes {
    let f = c.a[0];
    const NS: u64 = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET;
    if f & NS != 0 && f & CLONE_NEWUSER == 0 && !w.creds(c.tid)?.capable(cap::SYS_ADMIN) {
        return Err(Errno::EPERM.into());
    }
    if f & CLONE_NEWUSER != 0 {
        w.unserved(c.tid, "unshare(CLONE_NEWUSER)");
        return Err(Errno::EPERM.into());
    }
    if f & CLONE_SYSVSEM != 0 {
        let tgid = w.tgid(c.tid);
        w.sem_exit(tgid);
    }
    if f & CLONE_FILES != 0
        && let Some(id) = w.t(c.tid)?.files
    {
        let n = w.fork_files(id);
        w.tm(c.tid)?.files = Some(n);
        w.drop_files(id);
    }
    if f & CLONE_FS != 0 {
        let id = w.t(c.tid)?.fs;
        let n = w.fork_fs(id);
        w.tm(c.tid)?.fs = n;
        w.drop_fs(id);
    }
    Ok(0)
}

impl World {
    pub(crate) fn fork_fs(&mut self, id: u32) -> u32 {
        let Some(mut f) = self.fss.get(&id).cloned() else {
            return self.new_fs();
        };
        f.users = 1;
        self.vfs_hold(&f.cwd);
        self.vfs_hold(&f.root);
        let n = self.fresh_id();
        self.fss.insert(n, f);
        n
    }

    pub(crate) fn drop_fs(&mut self, id: u32) {
        if let Some(f) = self.fss.get_mut(&id) {
            f.users = f.users.saturating_sub(1);
            if f.users == 0
                && let Some(f) = self.fss.remove(&id)
            {
                self.vfs_release(&f.cwd);
                self.vfs_release(&f.root);
            }
        }
    }

    pub(crate) fn drop_sighand(&mut self, id: u32) {
        if let Some(s) = self.sighands.get_mut(&id) {
            s.users = s.users.saturating_sub(1);
            if s.users == 0 {
                self.sighands.remove(&id);
            }
        }
    }

    /// A child has left its parent's memory: the parent of a vfork goes on.
    pub(crate) fn vfork_done(&mut self, tid: u32) -> KResult<()> {
        if self.tm(tid)?.vfork_parent.take().is_some() {
            self.wake(WaitKey::Vfork(tid));
        }
        Ok(())
    }
}
