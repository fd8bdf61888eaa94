//! wait4 and waitid.

use crate::Errno;
use crate::abi::sig::*;
use crate::abi::*;
use crate::sys::{Call, SysRes, Trap};
use crate::wait::WaitKey;
use crate::world::World;

const WNOHANG: u64 = 1;
const WUNTRACED: u64 = 2;
const WEXITED: u64 = 4;
const WCONTINUED: u64 = 8;
const WNOWAIT: u64 = 0x0100_0000;
const WCLONE: u64 = 0x8000_0000;
const WALL: u64 = 0x4000_0000;

#[derive(Clone, Copy)]
enum Which {
    Any,
    Pid(u32),
    Group(u32),
}

/// What was found: pid, wait status, what kind of change.
struct Found {
    pid: u32,
    status: i32,
    code: i32,
    uid: u32,
    rusage: Vec<u8>,
}

fn scan(w: &mut World, me: u32, which: Which, opts: u64) -> Result<Option<Found>, Errno> {
    let mut any = false;
    for pid in w.children(me) {
        let Ok(p) = w.p(pid) else { continue };
        let fits = match which {
            Which::Any => true,
            Which::Pid(n) => n == pid,
            Which::Group(g) => g == p.pgid,
        };
        let clone_child = p.exit_signal != SIGCHLD;
        if !fits || (opts & WALL == 0 && clone_child != (opts & WCLONE != 0)) {
            continue;
        }
        any = true;
        let uid = w.t(pid).map_or(0, |t| t.creds.uid);
        let (zombie, stopped, rs, rc) = (p.zombie, p.stopped, p.report_stop, p.report_cont);
        let maxrss = p.maxrss;
        let own = w.proc_time(pid);
        let ct = p.child_time;
        let flt = w.t(pid).map_or((0, 0), |t| (t.minflt, t.majflt));
        let csw = w.t(pid).map_or((0, 0), |t| (t.nvcsw, t.nivcsw));
        let ru = crate::time::rusage((own.0 + ct.0, own.1 + ct.1), flt, maxrss, csw);
        let found = |status, code| Found {
            pid,
            status,
            code,
            uid,
            rusage: ru.clone(),
        };
        if let Some(st) = zombie {
            if opts & WEXITED != 0 {
                let code = match st & 0x7f {
                    0 => CLD_EXITED,
                    _ if st & 0x80 != 0 => CLD_DUMPED,
                    _ => CLD_KILLED,
                };
                if opts & WNOWAIT == 0 {
                    w.reap(pid);
                }
                return Ok(Some(found(st, code)));
            }
        } else if let (Some(sig), true, true) = (stopped, rs, opts & WUNTRACED != 0) {
            if opts & WNOWAIT == 0 {
                w.pm(pid)?.report_stop = false;
            }
            return Ok(Some(found((sig as i32) << 8 | 0x7f, CLD_STOPPED)));
        } else if rc && opts & WCONTINUED != 0 {
            if opts & WNOWAIT == 0 {
                w.pm(pid)?.report_cont = false;
            }
            return Ok(Some(found(0xffff, CLD_CONTINUED)));
        }
    }
    if any { Ok(None) } else { Err(Errno::ECHILD) }
}

fn block(me: u32) -> Trap {
    Trap::Block {
        keys: vec![WaitKey::Child(me)],
        until: None,
        unint: false,
    }
}

pub(crate) fn wait4(w: &mut World, c: &mut Call) -> SysRes {
    let me = w.tgid(c.tid);
    let opts = c.a[2];
    if opts & !(WNOHANG | WUNTRACED | WCONTINUED | 0x2000_0000 | WCLONE | WALL) & 0xffff_ffff != 0 {
        return Err(Errno::EINVAL.into());
    }
    let which = match c.a[0] as i32 {
        -1 => Which::Any,
        i32::MIN => return Err(Errno::ESRCH.into()),
        0 => Which::Group(w.p(me)?.pgid),
        n if n < 0 => Which::Group(n.unsigned_abs()),
        n => Which::Pid(n as u32),
    };
    match scan(w, me, which, opts | WEXITED)? {
        Some(f) => {
            if c.a[1] != 0 {
                w.copy_out(c.tid, c.a[1], &f.status.to_le_bytes())?;
            }
            if c.a[3] != 0 {
                w.copy_out(c.tid, c.a[3], &f.rusage)?;
            }
            Ok(f.pid as i64)
        }
        None if opts & WNOHANG != 0 => Ok(0),
        None => Err(block(me)),
    }
}

pub(crate) fn waitid(w: &mut World, c: &mut Call) -> SysRes {
    let me = w.tgid(c.tid);
    let opts = c.a[3];
    let known = WNOHANG | WUNTRACED | WEXITED | WCONTINUED | WNOWAIT | 0x2000_0000 | WCLONE | WALL;
    if opts & !known != 0 || opts & (WEXITED | WUNTRACED | WCONTINUED) == 0 {
        return Err(Errno::EINVAL.into());
    }
    let which = match c.a[0] {
        0 => Which::Any,
        1 if c.a[1] as i32 > 0 => Which::Pid(c.a[1] as u32),
        2 if c.a[1] == 0 => Which::Group(w.p(me)?.pgid),
        2 if c.a[1] as i32 > 0 => Which::Group(c.a[1] as u32),
        3 => Which::Pid(w.pidfd_target(c.tid, c.a[1] as i32)?),
        _ => return Err(Errno::EINVAL.into()),
    };
    let found = match scan(w, me, which, opts)? {
        None if opts & WNOHANG == 0 => return Err(block(me)),
        f => f,
    };
    if c.a[2] != 0 {
        let mut e = Enc::new();
        if let Some(f) = &found {
            let status = match f.code {
                CLD_EXITED | CLD_STOPPED => f.status >> 8 & 0xff,
                CLD_CONTINUED => SIGCONT as i32,
                _ => f.status & 0x7f,
            };
            e.i32(SIGCHLD as i32).i32(0).i32(f.code).i32(0);
            e.u32(f.pid).u32(f.uid).i32(status);
        }
        e.pad_to(28);
        w.copy_out(c.tid, c.a[2], &e.0)?;
    }
    if let Some(f) = found
        && c.a[4] != 0
    {
        w.copy_out(c.tid, c.a[4], &f.rusage)?;
    }
    Ok(0)
}
