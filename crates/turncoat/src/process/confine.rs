//! Confinement: what each process may ask of the kernel. The rules are data.
//!
//! Two layers. Landlock takes away the file system and the network except what a row of [`paths`] names. Seccomp takes
//! away every system call that is not in [`CALLS`]; a call that is not there fails with EPERM. Both are put on before the
//! process starts its first thread, and hold for all of them, for good. What the kernel does not offer is reported.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use super::Role;

/// Which processes a row is for.
const F: u8 = 1;
const R: u8 = 2;
const O: u8 = 4;
const B: u8 = 8;
const ALL: u8 = F | R | O | B;

/// A condition on one argument: number, mask, value.
type When = (u8, u64, u64);

/// System calls that may be made.
pub struct Calls {
    /// Number and name of each.
    pub calls: &'static [(i64, &'static str)],
    roles: u8,
    when: &'static [When],
    /// What needs them.
    pub why: &'static str,
}

macro_rules! calls {
    ($( $($name:ident)+ , $roles:expr, $why:literal $(, when $when:expr)? ; )+) => {
        &[ $( Calls {
            calls: &[ $( (libc::$name, stringify!($name)) ),+ ],
            roles: $roles,
            when: { #[allow(unused_mut, unused_assignments)] { const NONE: &[When] = &[]; let mut when = NONE; $( when = $when; )? when } },
            why: $why,
        } ),+ ]
    };
}

/// Every system call that any of the processes may make.
pub const CALLS: &[Calls] = calls! {
    SYS_read SYS_write SYS_readv SYS_writev SYS_close, ALL, "sockets and files that are open";
    SYS_recvfrom SYS_sendto SYS_recvmsg SYS_sendmsg SYS_shutdown, ALL, "sockets that are open";
    SYS_getsockname SYS_getpeername SYS_getsockopt SYS_setsockopt, ALL, "facts and options of sockets that are open";
    SYS_ppoll SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_eventfd2, ALL, "waiting";
    SYS_timerfd_create SYS_timerfd_settime, F, "waiting";
    SYS_accept4, F | R, "the decoys' listeners; the command line's requests and the console";
    SYS_fcntl SYS_dup, ALL, "flags and copies of descriptors";
    SYS_ioctl, ALL, "FIONBIO: a socket becomes non-blocking", when &[(1, 0xffff_ffff, libc::FIONBIO)];
    SYS_ioctl, O, "FIONREAD: the resolver of names", when &[(1, 0xffff_ffff, 0x541b)];
    SYS_futex SYS_sched_yield SYS_membarrier SYS_restart_syscall, ALL, "locks between threads";
    SYS_clone, ALL, "a thread, never a process", when &[(0, libc::CLONE_THREAD as u64, libc::CLONE_THREAD as u64)];
    SYS_clone3, ALL, "answered with ENOSYS by a second filter, so that the C library uses clone";
    SYS_set_robust_list SYS_rseq SYS_sigaltstack SYS_gettid SYS_getpid SYS_sched_getaffinity, ALL, "starting a thread";
    SYS_prctl, ALL, "naming a thread", when &[(0, 0xffff_ffff, libc::PR_SET_NAME as u64)];
    SYS_prctl, ALL, "the C library names its memory", when &[(0, 0xffff_ffff, 0x5356_4d41)];
    SYS_exit SYS_exit_group, ALL, "ending";
    SYS_tgkill, ALL, "abort";
    SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn, ALL, "signals of our own";
    SYS_mmap, ALL, "memory that cannot be executed", when &[(2, libc::PROT_EXEC as u64, 0)];
    SYS_mprotect, ALL, "memory that cannot be executed", when &[(2, libc::PROT_EXEC as u64, 0)];
    SYS_munmap SYS_mremap SYS_madvise SYS_brk, ALL, "memory";
    SYS_clock_gettime SYS_clock_nanosleep SYS_nanosleep SYS_gettimeofday SYS_clock_getres, ALL, "time";
    SYS_getrandom, ALL, "entropy";
    SYS_getuid SYS_geteuid SYS_getgid SYS_getegid SYS_uname SYS_sysinfo SYS_getrusage SYS_getcpu, ALL, "facts about ourselves";
    SYS_pread64 SYS_lseek, ALL, "the image; the database";
    SYS_fstat, ALL, "facts about an open file";
    SYS_statx, F, "facts about an open file, never by path", when &[(2, 0x1000, 0x1000)];
    SYS_newfstatat, F, "facts about an open file, never by path", when &[(3, 0x1000, 0x1000)];
    SYS_statx SYS_newfstatat SYS_faccessat SYS_faccessat2 SYS_readlinkat SYS_getcwd, R | O,
        "files below what Landlock leaves";
    SYS_openat, R | O, "files below what Landlock leaves";
    SYS_getdents64 SYS_mkdirat SYS_unlinkat SYS_renameat2, R | O, "the record's files; rotated logs";
    SYS_ftruncate SYS_fallocate SYS_fsync SYS_fdatasync SYS_pwrite64 SYS_pwritev SYS_flock SYS_statfs SYS_fstatfs, R | O, "writing the record";
    SYS_fchmod SYS_fchmodat SYS_fchown SYS_utimensat SYS_umask, R, "closed to others";
    SYS_copy_file_range SYS_sendfile, R, "backup";
    SYS_socket, B, "the netlink socket that removes the table at the end", when &[(0, 0xffff_ffff, 16)];
    SYS_socket SYS_connect SYS_bind SYS_sendmmsg SYS_recvmmsg SYS_socketpair, O, "the one process that connects";
    SYS_pipe2 SYS_socketpair, F, "waking the event loop";
};

/// The old forms of the same calls, which only this processor has.
#[cfg(target_arch = "x86_64")]
pub const OLD_CALLS: &[Calls] = calls! {
    SYS_poll SYS_epoll_wait, ALL, "waiting";
    SYS_open SYS_stat SYS_lstat SYS_access SYS_readlink, R | O, "files below what Landlock leaves";
    SYS_mkdir SYS_unlink SYS_rmdir SYS_rename SYS_chmod, R | O, "the record's files; rotated logs";
};
/// The old forms of the same calls: this processor has none.
#[cfg(not(target_arch = "x86_64"))]
pub const OLD_CALLS: &[Calls] = &[];

/// Paths that stay: with what access. Everything else of the file system is gone for this process.
pub fn paths(role: Role, data: &Path, outputs: &[PathBuf]) -> Vec<(PathBuf, bool)> {
    match role {
        // Not one file: everything it needs is passed to it open.
        Role::Front | Role::Block => Vec::new(),
        // The data directory, read and write.
        Role::Record => vec![(data.to_owned(), true)],
        // The directories of the logs it writes; what the resolver of names reads.
        Role::Out => {
            let mut all: Vec<(PathBuf, bool)> = outputs
                .iter()
                .filter_map(|p| p.parent())
                .map(|p| (p.to_owned(), true))
                .collect();
            for dir in ["/etc", "/run/systemd/resolve", "/lib", "/lib64", "/usr/lib"] {
                all.push((dir.into(), false));
            }
            all
        }
    }
}

/// Confines this process. Must be called while it has one thread. Returns what the kernel did not offer.
pub fn confine(role: Role, data: &Path, outputs: &[PathBuf]) -> Vec<String> {
    let mut missing = Vec::new();
    let kept = match role {
        Role::Front => Some(CapabilitySet::empty()),
        Role::Block => Some(CapabilitySet::NET_ADMIN),
        Role::Record | Role::Out => None,
    };
    if let Some(kept) = kept
        && let Err(error) = give_up_capabilities(kept)
    {
        missing.push(format!("capabilities: {error}"));
    }
    match landlock(role, &paths(role, data, outputs)) {
        Ok(None) => {}
        Ok(Some(what)) => missing.push(what),
        Err(error) => missing.push(format!("landlock: {error}")),
    }
    if let Err(error) = seccomp(role) {
        missing.push(format!("seccomp: {error}"));
    }
    missing
}

/// Keeps of root's powers these alone, also where the program was started as root: whoever outsiders reach has none.
fn give_up_capabilities(kept: CapabilitySet) -> rustix::io::Result<()> {
    let kept = kept.intersection(rustix::thread::capabilities(None)?.permitted);
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets)
}

fn landlock(role: Role, paths: &[(PathBuf, bool)]) -> Result<Option<String>, landlock::RulesetError> {
    // The newest whose rights this program knows by meaning; an older kernel takes what it has.
    let abi = ABI::V6;
    let all = AccessFs::from_all(abi);
    let net = if role == Role::Out {
        AccessNet::BindTcp.into()
    } else {
        AccessNet::from_all(abi)
    };
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .handle_access(net)?
        .scope(Scope::from_all(abi))?;
    let mut ruleset = ruleset.create()?;
    for (path, write) in paths {
        // A path that is not there needs no rule.
        if let Ok(fd) = PathFd::new(path) {
            let access = if *write { all } else { AccessFs::from_read(abi) };
            ruleset = ruleset.add_rule(PathBeneath::new(fd, access))?;
        }
    }
    Ok(match ruleset.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => None,
        RulesetStatus::PartiallyEnforced => Some("landlock: this kernel has only a part of it".into()),
        RulesetStatus::NotEnforced => Some("landlock: this kernel has none".into()),
    })
}

fn seccomp(role: Role) -> Result<(), String> {
    let tell = |e: &dyn std::fmt::Display| e.to_string();
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|e| tell(&e))?;
    let bit = match role {
        Role::Front => F,
        Role::Record => R,
        Role::Out => O,
        Role::Block => B,
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for group in CALLS.iter().chain(OLD_CALLS).filter(|c| c.roles & bit != 0) {
        for (number, _) in group.calls {
            let row = rules.entry(*number).or_default();
            if group.when.is_empty() {
                continue;
            }
            let conditions: Result<Vec<_>, _> = group
                .when
                .iter()
                .map(|(arg, mask, value)| {
                    SeccompCondition::new(
                        *arg,
                        SeccompCmpArgLen::Qword,
                        SeccompCmpOp::MaskedEq(*mask),
                        *value,
                    )
                })
                .collect();
            row.push(SeccompRule::new(conditions.map_err(|e| tell(&e))?).map_err(|e| tell(&e))?);
        }
    }
    let allow = SeccompFilter::new(
        rules,
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
        arch,
    )
    .map_err(|e| tell(&e))?;
    let threads_by_clone = SeccompFilter::new(
        BTreeMap::from([(libc::SYS_clone3, vec![])]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS as u32),
        arch,
    )
    .map_err(|e| tell(&e))?;
    // The second first: afterwards the first forbids to add filters.
    for filter in [threads_by_clone, allow] {
        let program: BpfProgram = filter
            .try_into()
            .map_err(|e: seccompiler::BackendError| tell(&e))?;
        seccompiler::apply_filter(&program).map_err(|e| tell(&e))?;
    }
    Ok(())
}
