//! Calls about the machine as a whole, and those that Linux refuses to ordinary users.

use super::{Call, SysRes};
use crate::Errno;
use crate::abi::*;
use crate::task::cap;
use crate::world::{Fact, World};

pub(crate) fn uname(w: &mut World, c: &mut Call) -> SysRes {
    let mut e = Enc::new();
    e.field(b"Linux", 65).field(&w.hostname, 65);
    e.field(w.facts_of.release.as_bytes(), 65)
        .field(w.facts_of.version.as_bytes(), 65);
    // PER_LINUX32, as `linux32` sets it.
    let machine: &[u8] = if w.p(w.tgid(c.tid))?.personality & 0xff == 8 {
        b"i686"
    } else {
        b"x86_64"
    };
    e.field(machine, 65).field(&w.domain, 65);
    w.copy_out(c.tid, c.a[0], &e.0)?;
    Ok(0)
}

pub(crate) fn sethostname(w: &mut World, c: &mut Call) -> SysRes {
    if !w.creds(c.tid)?.capable(cap::SYS_ADMIN) {
        return Err(Errno::EPERM.into());
    }
    if c.a[1] > 64 {
        return Err(Errno::EINVAL.into());
    }
    let mut b = vec![0; c.a[1] as usize];
    w.copy_in(c.tid, c.a[0], &mut b)?;
    if c.nr == 170 {
        w.hostname = b
    } else {
        w.domain = b
    }
    Ok(0)
}

pub(crate) fn sysinfo(w: &mut World, c: &mut Call) -> SysRes {
    let m = w.machine_mem();
    let mut e = Enc::new();
    e.u64(w.clock.mono() / crate::time::SEC);
    let idle = w.pulse().map_or([0.0; 3], |l| l.load);
    for (own, idle) in w.load.iter().zip(idle) {
        e.u64(own + (idle * 65_536.0) as u64);
    }
    e.u64(m.total)
        .u64(m.free)
        .u64(m.shmem)
        .u64(m.buffers)
        .u64(m.swap_total)
        .u64(m.swap_free);
    e.u16(w.tasks.len() as u16)
        .u16(0)
        .u32(0)
        .u64(0)
        .u64(0)
        .u32(1)
        .u32(0);
    w.copy_out(c.tid, c.a[0], &e.0)?;
    Ok(0)
}

pub(crate) fn getrandom(w: &mut World, c: &mut Call) -> SysRes {
    if c.a[2] & !7 != 0 || c.a[2] & 6 == 6 {
        return Err(Errno::EINVAL.into());
    }
    let n = (c.a[1] as usize).min(1 << 20);
    let mut b = vec![0; n];
    w.rng.fill(&mut b);
    w.copy_out(c.tid, c.a[0], &b)?;
    c.work(n as u64);
    Ok(n as i64)
}

pub(crate) fn arch_prctl(w: &mut World, c: &mut Call) -> SysRes {
    let limit = crate::mm::TASK_SIZE;
    let t = w.tm(c.tid)?;
    let cpu = t.cpu.as_mut().ok_or(Errno::EINVAL)?;
    let v = match c.a[0] {
        0x1001 | 0x1002 if c.a[1] >= limit => return Err(Errno::EPERM.into()),
        0x1001 => {
            cpu.gs_base = c.a[1];
            return Ok(0);
        }
        0x1002 => {
            cpu.fs_base = c.a[1];
            return Ok(0);
        }
        0x1003 => cpu.fs_base,
        0x1004 => cpu.gs_base,
        0x1011 => return Ok(1),
        _ => return Err(Errno::EINVAL.into()),
    };
    w.copy_out(c.tid, c.a[1], &v.to_le_bytes())?;
    Ok(0)
}

pub(crate) fn prctl(w: &mut World, c: &mut Call) -> SysRes {
    let [op, a, b, ..] = c.a;
    let tgid = w.tgid(c.tid);
    match op {
        1 => {
            if a > 64 {
                return Err(Errno::EINVAL.into());
            }
            w.tm(c.tid)?.pdeathsig = a as u8;
        }
        2 => {
            let v = w.t(c.tid)?.pdeathsig as u32;
            w.copy_out(c.tid, a, &v.to_le_bytes())?;
        }
        3 => return Ok(w.p(tgid)?.dumpable as i64),
        4 => {
            if a > 1 {
                return Err(Errno::EINVAL.into());
            }
            w.pm(tgid)?.dumpable = a as u32;
        }
        7 => return Ok(i64::from(w.creds(c.tid)?.securebits & 16 != 0)),
        8 => {
            if a > 1 {
                return Err(Errno::EINVAL.into());
            }
            let mut k = (*w.creds(c.tid)?).clone();
            k.securebits = k.securebits & !16 | (a as u32) << 4;
            w.tm(c.tid)?.creds = std::sync::Arc::new(k);
        }
        15 => {
            let n = w.read_str(c.tid, a, 16)?;
            let n = match n {
                Some(n) => n,
                None => {
                    let mut b = [0; 15];
                    w.copy_in(c.tid, a, &mut b)?;
                    b.to_vec()
                }
            };
            w.set_comm(c.tid, &n);
        }
        16 => {
            let n = w.t(c.tid)?.comm;
            w.copy_out(c.tid, a, &n)?;
        }
        21 => return Ok(0),
        22 => {
            w.unserved(c.tid, "prctl(PR_SET_SECCOMP)");
            return Err(Errno::EINVAL.into());
        }
        23 => {
            if a > 40 {
                return Err(Errno::EINVAL.into());
            }
            return Ok((w.creds(c.tid)?.bounding.0 >> a & 1) as i64);
        }
        24 => {
            let k = w.creds(c.tid)?;
            if !k.capable(cap::SETPCAP) {
                return Err(Errno::EPERM.into());
            }
            if a > 40 {
                return Err(Errno::EINVAL.into());
            }
            let mut k = (*k).clone();
            k.bounding.0 &= !(1 << a);
            w.tm(c.tid)?.creds = std::sync::Arc::new(k);
        }
        25 => {
            w.copy_out(c.tid, a, &1u32.to_le_bytes())?;
        }
        27 => return Ok(w.creds(c.tid)?.securebits as i64),
        28 => {
            let k = w.creds(c.tid)?;
            if !k.capable(cap::SETPCAP) {
                return Err(Errno::EPERM.into());
            }
            let mut k = (*k).clone();
            k.securebits = a as u32;
            w.tm(c.tid)?.creds = std::sync::Arc::new(k);
        }
        29 => w.tm(c.tid)?.timer_slack = if a == 0 { 50_000 } else { a },
        30 => return Ok(w.t(c.tid)?.timer_slack as i64),
        35 => {
            // PR_SET_MM: only the privileged, and nothing that we keep.
            return Err(if w.creds(c.tid)?.capable(cap::SYS_RESOURCE) {
                Errno::EINVAL
            } else {
                Errno::EPERM
            }
            .into());
        }
        36 => w.pm(tgid)?.subreaper = a != 0,
        37 => {
            let v = u32::from(w.p(tgid)?.subreaper);
            w.copy_out(c.tid, a, &v.to_le_bytes())?;
        }
        38 => {
            if a != 1 || b != 0 {
                return Err(Errno::EINVAL.into());
            }
            let mut k = (*w.creds(c.tid)?).clone();
            k.no_new_privs = true;
            w.tm(c.tid)?.creds = std::sync::Arc::new(k);
        }
        39 => return Ok(i64::from(w.creds(c.tid)?.no_new_privs)),
        47 => {
            let rest = c.a[3] | c.a[4] | if a == 4 { b } else { 0 };
            if rest != 0 || (a != 4 && b > 40) {
                return Err(Errno::EINVAL.into());
            }
            let k = w.creds(c.tid)?;
            let bit = 1u64.checked_shl(b as u32).unwrap_or(0);
            match a {
                1 => return Ok(i64::from(k.ambient.0 & bit != 0)),
                4 => {
                    let mut k = (*k).clone();
                    k.ambient.0 = 0;
                    w.tm(c.tid)?.creds = std::sync::Arc::new(k);
                }
                2 | 3 => {
                    if a == 2 && (k.permitted.0 & bit == 0 || k.inheritable.0 & bit == 0) {
                        return Err(Errno::EPERM.into());
                    }
                    let mut k = (*k).clone();
                    if a == 2 {
                        k.ambient.0 |= bit
                    } else {
                        k.ambient.0 &= !bit
                    }
                    w.tm(c.tid)?.creds = std::sync::Arc::new(k);
                }
                _ => return Err(Errno::EINVAL.into()),
            }
        }
        0x5356_4d41 => return Ok(0),
        0x5961_6d61 => return Err(Errno::EINVAL.into()),
        33 | 34 | 41 | 42 | 52 | 53 => {
            return Err(Errno::EINVAL.into());
        }
        _ => {
            w.unserved(c.tid, &format!("prctl({op})"));
            return Err(Errno::EINVAL.into());
        }
    }
    Ok(0)
}

pub(crate) fn personality(w: &mut World, c: &mut Call) -> SysRes {
    let tgid = w.tgid(c.tid);
    let old = w.p(tgid)?.personality;
    if c.a[0] as u32 != u32::MAX {
        w.pm(tgid)?.personality = c.a[0] & 0xffff_ffff;
    }
    Ok(old as i64)
}

pub(crate) fn getcpu(w: &mut World, c: &mut Call) -> SysRes {
    for va in [c.a[0], c.a[1]] {
        if va != 0 {
            w.copy_out(c.tid, va, &0u32.to_le_bytes())?;
        }
    }
    Ok(0)
}

pub(crate) fn membarrier(_: &mut World, c: &mut Call) -> SysRes {
    match c.a[0] {
        0 => Ok(0x1ff),
        n if n & !0x1ff == 0 && n.is_power_of_two() => Ok(0),
        _ => Err(Errno::EINVAL.into()),
    }
}

pub(crate) fn reboot(w: &mut World, c: &mut Call) -> SysRes {
    if !w.creds(c.tid)?.capable(cap::SYS_BOOT) {
        return Err(Errno::EPERM.into());
    }
    if c.a[0] as u32 != 0xfee1_dead {
        return Err(Errno::EINVAL.into());
    }
    // LINUX_REBOOT_MAGIC2 and its like: birthdays (reboot(2)).
    if !matches!(
        c.a[1] as u32,
        672_274_793 | 85_072_278 | 369_367_448 | 537_993_216
    ) {
        return Err(Errno::EINVAL.into());
    }
    let tgid = w.tgid(c.tid);
    match c.a[2] as u32 {
        0x89ab_cdef | 0 => Ok(0),
        0x0123_4567 | 0xa1b2_c3d4 => {
            w.stop_now(tgid, crate::Down::Reboot);
            Ok(0)
        }
        0x4321_fedc => {
            w.stop_now(tgid, crate::Down::PowerOff);
            Ok(0)
        }
        0xcdef_0123 => {
            w.stop_now(tgid, crate::Down::Halt);
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

pub(crate) fn syslog(w: &mut World, c: &mut Call) -> SysRes {
    let k = w.creds(c.tid)?;
    let privileged = k.capable(cap::SYSLOG) || k.capable(cap::SYS_ADMIN);
    if !privileged {
        return Err(Errno::EPERM.into());
    }
    let log = w.kernel_log();
    match c.a[0] {
        0 | 1 | 5 | 6 | 7 | 8 => Ok(0),
        2..=4 => {
            let n = (c.a[2] as usize).min(log.len());
            let tail = log.get(log.len() - n..).unwrap_or(&[]).to_vec();
            w.copy_out(c.tid, c.a[1], &tail)?;
            Ok(n as i64)
        }
        9 => Ok(0),
        10 => Ok(1 << 18),
        _ => Err(Errno::EINVAL.into()),
    }
}

pub(crate) fn ptrace(w: &mut World, c: &mut Call) -> SysRes {
    let tgid = w.tgid(c.tid);
    w.fact(
        tgid,
        Fact::Ptrace {
            request: c.a[0],
            target: c.a[1] as u32,
        },
    );
    if c.a[0] == 0 {
        // PTRACE_TRACEME: once. Programs ask it to see whether somebody looks at them.
        let p = w.pm(tgid)?;
        return if std::mem::replace(&mut p.traced, true) {
            Err(Errno::EPERM.into())
        } else {
            Ok(0)
        };
    }
    w.unserved(c.tid, "ptrace");
    w.t(c.a[1] as u32)?;
    Err(Errno::EPERM.into())
}

pub(crate) fn module(w: &mut World, c: &mut Call) -> SysRes {
    let allowed = w.creds(c.tid)?.capable(cap::SYS_MODULE);
    let e = match (allowed, c.nr) {
        (false, _) => Errno::EPERM,
        (true, 176) => Errno::ENOENT,
        // What a kernel says to a module built for another one.
        (true, _) => Errno::ENOEXEC,
    };
    let tgid = w.tgid(c.tid);
    let name = if c.nr == 176 {
        w.read_str(c.tid, c.a[0], 64)?.unwrap_or_default()
    } else {
        Vec::new()
    };
    w.fact(tgid, Fact::Module { name, errno: e.0 });
    Err(e.into())
}

/// Refused with EPERM to users, unserved for root.
pub(crate) fn privileged(w: &mut World, c: &mut Call) -> SysRes {
    let name = super::entry(c.nr).map_or("?", |e| e.name);
    if w.creds(c.tid)?.capable(cap::SYS_ADMIN) {
        w.unserved(c.tid, name);
    }
    Err(Errno::EPERM.into())
}

/// As on a Debian kernel where the feature is compiled out or switched off.
pub(crate) fn nosys(w: &mut World, c: &mut Call) -> SysRes {
    let name = super::entry(c.nr).map_or("?", |e| e.name);
    w.unserved(c.tid, name);
    Err(Errno::ENOSYS.into())
}

/// Debian: `vm.unprivileged_userfaultfd=0`, `kernel.unprivileged_bpf_disabled=2`, `kernel.perf_event_paranoid=3`.
pub(crate) fn eperm(_: &mut World, _: &mut Call) -> SysRes {
    Err(Errno::EPERM.into())
}

pub(crate) fn zero(_: &mut World, _: &mut Call) -> SysRes {
    Ok(0)
}

pub(crate) fn seccomp(w: &mut World, c: &mut Call) -> SysRes {
    match c.a[0] {
        // SECCOMP_GET_ACTION_AVAIL and a probe with a bad pointer are how programs look for the feature.
        2 => Ok(0),
        0 | 1 => {
            if c.a[0] == 1 && c.a[2] == 0 {
                return Err(Errno::EFAULT.into());
            }
            // Filters are accepted and not applied: nothing outside can be reached anyway.
            w.unserved(c.tid, "seccomp filter (accepted, not applied)");
            Ok(0)
        }
        3 => {
            let mut e = Enc::new();
            e.u16(80).u16(64).u16(64);
            w.copy_out(c.tid, c.a[2], &e.0)?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

pub(crate) fn keyctl(w: &mut World, c: &mut Call) -> SysRes {
    match c.nr {
        250 if c.a[0] == 0 || c.a[0] == 1 => Ok(0x2b3c_4d5e),
        // Revoke, chown, setperm, link and unlink of a keyring, as pam_keyinit(8) does at each su and sudo: there is nothing in it.
        250 if matches!(c.a[0], 3 | 4 | 5 | 8 | 9) => Ok(0),
        250 => {
            w.unserved(c.tid, "keyctl");
            Err(Errno::EOPNOTSUPP.into())
        }
        _ => Err(Errno::EDQUOT.into()),
    }
}

pub(crate) fn kcmp(w: &mut World, c: &mut Call) -> SysRes {
    let (a, b) = (w.t(c.a[0] as u32)?.clone(), w.t(c.a[1] as u32)?.clone());
    let ord = |x: u64, y: u64| match x.cmp(&y) {
        std::cmp::Ordering::Equal => 0,
        std::cmp::Ordering::Less => 1,
        std::cmp::Ordering::Greater => 2,
    };
    Ok(match c.a[2] {
        0 => ord(
            w.fd(a.tid, c.a[3] as i32)? as u64,
            w.fd(b.tid, c.a[4] as i32)? as u64,
        ),
        1 => ord(a.mm.unwrap_or(0) as u64, b.mm.unwrap_or(0) as u64),
        2 => ord(a.files.unwrap_or(0) as u64, b.files.unwrap_or(0) as u64),
        3 => ord(a.fs as u64, b.fs as u64),
        4 => ord(a.sighand as u64, b.sighand as u64),
        _ => return Err(Errno::EINVAL.into()),
    })
}

/// process_vm_readv and process_vm_writev: only on processes of one's own.
pub(crate) fn process_vm(w: &mut World, c: &mut Call) -> SysRes {
    let target = c.a[0] as u32;
    let t = w.t(target)?;
    let (me, it) = (w.creds(c.tid)?, t.creds.clone());
    if t.mm.is_none() || ((me.uid != it.uid || me.uid != it.suid) && !me.capable(cap::SYS_PTRACE)) {
        return Err(Errno::EPERM.into());
    }
    let local = w.read_iovec(c.tid, c.a[1], c.a[2])?;
    let remote = w.read_iovec(c.tid, c.a[3], c.a[4])?;
    let (src, src_iov, dst, dst_iov) = if c.nr == 310 {
        (target, remote, c.tid, local)
    } else {
        (c.tid, local, target, remote)
    };
    let mut data = Vec::new();
    let room: usize = dst_iov.iter().map(|v| v.1).sum();
    for (va, len) in src_iov {
        let len = len.min(room.saturating_sub(data.len())).min(16 << 20);
        let mut b = vec![0; len];
        let n = w.copy_in_some(src, va, &mut b)?;
        data.extend_from_slice(&b[..n]);
        if n < len {
            break;
        }
    }
    if data.is_empty() && room > 0 {
        return Err(Errno::EFAULT.into());
    }
    let mut at = 0;
    for (va, len) in dst_iov {
        let n = len.min(data.len() - at);
        w.copy_out(dst, va, &data[at..at + n])?;
        at += n;
    }
    c.work(at as u64 / 8);
    Ok(at as i64)
}
