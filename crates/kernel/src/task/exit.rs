//! The end of threads and processes.

use super::State;
use crate::abi::sig::*;
use crate::abi::*;
use crate::sys::{Call, SysRes, Trap};
use crate::wait::WaitKey;
use crate::world::{Fact, World};

pub(crate) fn exit(w: &mut World, c: &mut Call) -> SysRes {
    w.trace_noreturn(c);
    w.exit_thread(c.tid, ((c.a[0] & 0xff) << 8) as i32);
    Err(Trap::Done)
}

pub(crate) fn exit_group(w: &mut World, c: &mut Call) -> SysRes {
    w.trace_noreturn(c);
    let tgid = w.tgid(c.tid);
    w.group_exit(tgid, ((c.a[0] & 0xff) << 8) as i32);
    Err(Trap::Done)
}

impl World {
    /// Ends every thread of a process with this wait status.
    pub(crate) fn group_exit(&mut self, tgid: u32, status: i32) {
        let Ok(p) = self.pm(tgid) else { return };
        if p.zombie.is_some() {
            return;
        }
        let status = *p.group_exit.get_or_insert(status);
        p.stopped = None;
        let mut threads = p.threads.clone();
        // The leader last, so that its end is the process's end.
        threads.reverse();
        for t in threads {
            self.exit_thread(t, status);
        }
    }

    /// Ends one thread.
    pub(crate) fn exit_thread(&mut self, tid: u32, status: i32) {
        let Ok(t) = self.t(tid) else { return };
        if t.state == State::Zombie {
            return;
        }
        let (tgid, clear, robust, files, fs, sighand) =
            (t.tgid, t.clear_tid, t.robust, t.files, t.fs, t.sighand);
        self.unblock(tid);
        if robust != 0 {
            self.robust_exit(tid, robust);
        }
        if clear != 0 {
            let shared = t_mm_users(self, tid) > 1;
            if shared && self.copy_out(tid, clear, &0u32.to_le_bytes()).is_ok() {
                self.futex_wake_addr(tid, clear, 1);
            }
        }
        let rss = self.rss_of(tgid);
        if let Ok(p) = self.pm(tgid) {
            p.maxrss = p.maxrss.max(rss);
        }
        self.drop_mm(tid);
        let _ = self.vfork_done(tid);
        if let Some(f) = files {
            self.drop_files(f);
        }
        self.drop_fs(fs);
        self.drop_sighand(sighand);
        let Ok(t) = self.tm(tid) else { return };
        t.state = State::Zombie;
        t.exit_code = status;
        t.files = None;
        t.cpu = None;
        t.call = None;
        t.pending = Default::default();
        let (ut, st, mf, jf) = (t.utime, t.stime, t.minflt, t.majflt);
        let Ok(p) = self.pm(tgid) else { return };
        let last = p.threads.iter().all(|x| *x == tid) || p.threads.is_empty();
        if tid != tgid {
            p.threads.retain(|x| *x != tid);
            p.dead_time.0 += ut;
            p.dead_time.1 += st;
            p.dead_flt.0 += mf;
            p.dead_flt.1 += jf;
            self.tasks.remove(&tid);
            // The leader may have left before.
            let leader_gone = self.t(tgid).is_ok_and(|t| t.state == State::Zombie);
            let alone = self.p(tgid).is_ok_and(|p| p.threads.len() <= 1);
            if leader_gone && alone {
                let code = self.p(tgid).ok().and_then(|p| p.group_exit);
                let code = code.unwrap_or_else(|| self.t(tgid).map_or(0, |t| t.exit_code));
                self.process_end(tgid, code);
            }
        } else if last {
            let code = self.p(tgid).ok().and_then(|p| p.group_exit).unwrap_or(status);
            self.process_end(tgid, code);
        }
    }

    /// The last thread is gone: children find a new parent, the parent is told.
    fn process_end(&mut self, tgid: u32, status: i32) {
        let now = self.clock.mono();
        if self.p(tgid).map_or(true, |p| p.zombie.is_some()) {
            return;
        }
        self.init_loses(tgid, status);
        self.sem_exit(tgid);
        self.shm_exit(tgid);
        let Ok(p) = self.pm(tgid) else { return };
        p.zombie = Some(status);
        let (ppid, pgid, sid, ctty) = (p.ppid, p.pgid, p.sid, p.ctty);
        let it = p.itreal;
        let timers: Vec<(i32, u64)> = p.timers.iter().map(|(k, t)| (*k, t.iv.at)).collect();
        p.timers.clear();
        p.pending = Default::default();
        let start = p.start;
        if let Some(l) = p.exe.take() {
            self.vfs_release(&l);
        }
        self.timers.remove(&(it.at, crate::time::TimerRef::Real(tgid)));
        for (id, at) in timers {
            self.timers.remove(&(at, crate::time::TimerRef::Posix(tgid, id)));
        }
        self.fact(
            tgid,
            Fact::Exit {
                status,
                runtime_ns: now.saturating_sub(start),
            },
        );
        self.release_locks(tgid);
        self.conn_exit(tgid, status);
        if sid == tgid
            && let Some(tty) = ctty
        {
            self.session_leader_exit(tgid, tty);
        }
        // Children go to the nearest sub-reaper, else to init.
        let children = self.children(tgid);
        let reaper = self.reaper_of(tgid);
        for ch in children {
            let orphan_before = self.p(ch).map_or(true, |c| self.orphaned(c.pgid));
            let deathsig = self.t(ch).map_or(0, |t| t.pdeathsig);
            let (cpg, zombie) = match self.pm(ch) {
                Ok(c) => {
                    c.ppid = reaper;
                    c.exit_signal = SIGCHLD;
                    (c.pgid, c.zombie)
                }
                Err(_) => continue,
            };
            if deathsig != 0 {
                self.send_group(ch, SigInfo::user(deathsig, tgid, 0));
            }
            if zombie.is_some() {
                self.child_gone(reaper, ch);
            }
            if !orphan_before && self.orphaned(cpg) {
                self.hangup_orphans(cpg);
            }
        }
        // Our own group may be orphaned by our end.
        if self.p(ppid).is_ok_and(|pp| pp.pgid != pgid && pp.sid == sid) && self.orphaned(pgid) {
            self.hangup_orphans(pgid);
        }
        self.pidfd_wake(tgid);
        self.child_gone(ppid, tgid);
    }

    fn reaper_of(&self, tgid: u32) -> u32 {
        let mut at = self.p(tgid).map_or(1, |p| p.ppid);
        for _ in 0..64 {
            match self.p(at) {
                Ok(p) if p.subreaper && p.zombie.is_none() => return at,
                Ok(p) if p.ppid != 0 && p.ppid != at => at = p.ppid,
                _ => break,
            }
        }
        1
    }

    fn hangup_orphans(&mut self, pgid: u32) {
        let stopped = self.procs.values().any(|p| p.pgid == pgid && p.stopped.is_some());
        if stopped {
            self.send_pgrp(pgid, SigInfo::kernel(SIGHUP));
            self.send_pgrp(pgid, SigInfo::kernel(SIGCONT));
        }
    }

    /// A zombie child: reaped at once by a parent that does not want to know, else announced.
    fn child_gone(&mut self, ppid: u32, child: u32) {
        let status = self.p(child).ok().and_then(|p| p.zombie).unwrap_or(0);
        let parent_is_standin = self
            .p(ppid)
            .map_or(true, |p| p.standin.is_some() || p.zombie.is_some());
        let act = self.action(ppid, SIGCHLD);
        let sig = self.p(child).map_or(0, |p| p.exit_signal);
        let auto = parent_is_standin
            || (sig == SIGCHLD && (act.handler == crate::signal::SIG_IGN || act.flags & SA_NOCLDWAIT != 0));
        if auto {
            self.reap(child);
            self.wake(WaitKey::Child(ppid));
            if parent_is_standin || act.handler == crate::signal::SIG_IGN {
                return;
            }
        }
        let (code, st) = if status & 0x7f == 0 {
            (CLD_EXITED, status >> 8 & 0xff)
        } else if status & 0x80 != 0 {
            (CLD_DUMPED, status & 0x7f)
        } else {
            (CLD_KILLED, status & 0x7f)
        };
        self.notify_parent(child, code, st);
    }

    /// Removes a zombie for good and adds its times to its parent's.
    pub(crate) fn reap(&mut self, tgid: u32) {
        let (ut, st) = self.proc_time(tgid);
        let Some(p) = self.procs.remove(&tgid) else { return };
        let flt = self
            .t(tgid)
            .map_or((0, 0), |t| (t.minflt + p.dead_flt.0, t.majflt + p.dead_flt.1));
        self.tasks.remove(&tgid);
        let ppid = p.ppid;
        if let Ok(pp) = self.pm(ppid) {
            pp.child_time.0 += ut + p.child_time.0;
            pp.child_time.1 += st + p.child_time.1;
            pp.child_flt.0 += flt.0 + p.child_flt.0;
            pp.child_flt.1 += flt.1 + p.child_flt.1;
            pp.child_maxrss = pp.child_maxrss.max(p.maxrss).max(p.child_maxrss);
        }
    }
}

fn t_mm_users(w: &World, tid: u32) -> u32 {
    w.t(tid)
        .ok()
        .and_then(|t| t.mm)
        .and_then(|m| w.mms.get(&m))
        .map_or(0, |m| m.users)
}

pub(crate) fn set_tid_address(w: &mut World, c: &mut Call) -> SysRes {
    w.tm(c.tid)?.clear_tid = c.a[0];
    Ok(c.tid as i64)
}

pub(crate) fn set_robust_list(w: &mut World, c: &mut Call) -> SysRes {
    if c.a[1] != 24 {
        return Err(crate::Errno::EINVAL.into());
    }
    w.tm(c.tid)?.robust = c.a[0];
    Ok(0)
}

pub(crate) fn get_robust_list(w: &mut World, c: &mut Call) -> SysRes {
    let tid = if c.a[0] == 0 { c.tid } else { c.a[0] as u32 };
    let r = w.t(tid)?.robust;
    w.copy_out(c.tid, c.a[1], &r.to_le_bytes())?;
    w.copy_out(c.tid, c.a[2], &24u64.to_le_bytes())?;
    Ok(0)
}

pub(crate) fn rseq(w: &mut World, c: &mut Call) -> SysRes {
    let (va, len, flags, sig) = (c.a[0], c.a[1] as u32, c.a[2], c.a[3] as u32);
    let cur = w.t(c.tid)?.rseq;
    if flags & 1 != 0 {
        return match cur {
            Some((a, l, s)) if a == va && l == len => {
                if s != sig {
                    return Err(crate::Errno::EPERM.into());
                }
                w.tm(c.tid)?.rseq = None;
                Ok(0)
            }
            _ => Err(crate::Errno::EINVAL.into()),
        };
    }
    if flags != 0 || len != 32 || va % 32 != 0 {
        return Err(crate::Errno::EINVAL.into());
    }
    if let Some((a, l, s)) = cur {
        return Err(if a != va || l != len {
            crate::Errno::EINVAL
        } else if s != sig {
            crate::Errno::EPERM
        } else {
            crate::Errno::EBUSY
        }
        .into());
    }
    let mut e = Enc::new();
    e.u32(0).u32(0);
    w.copy_out(c.tid, va, &e.0)?;
    w.tm(c.tid)?.rseq = Some((va, len, sig));
    Ok(0)
}
