//! Signals: numbers, sets, `siginfo_t`.

use super::Enc;
use turncoat_freeze::Freeze;

macro_rules! signals {
    ($($n:ident = $v:expr,)*) => {
        $(pub const $n: u8 = $v;)*
        /// The name of a signal as strace prints it.
        pub fn name(sig: u8) -> String {
            match sig {
                $($v => stringify!($n).to_string(),)*
                32 => "SIGRTMIN".into(),
                33..=64 => format!("SIGRT_{}", sig - 32),
                _ => format!("{sig}"),
            }
        }
    };
}

signals! {
    SIGHUP = 1, SIGINT = 2, SIGQUIT = 3, SIGILL = 4, SIGTRAP = 5, SIGABRT = 6, SIGBUS = 7, SIGFPE = 8,
    SIGKILL = 9, SIGUSR1 = 10, SIGSEGV = 11, SIGUSR2 = 12, SIGPIPE = 13, SIGALRM = 14, SIGTERM = 15,
    SIGSTKFLT = 16, SIGCHLD = 17, SIGCONT = 18, SIGSTOP = 19, SIGTSTP = 20, SIGTTIN = 21, SIGTTOU = 22,
    SIGURG = 23, SIGXCPU = 24, SIGXFSZ = 25, SIGVTALRM = 26, SIGPROF = 27, SIGWINCH = 28, SIGIO = 29,
    SIGPWR = 30, SIGSYS = 31,
}

pub const SA_NOCLDSTOP: u64 = 1;
pub const SA_NOCLDWAIT: u64 = 2;
pub const SA_SIGINFO: u64 = 4;
pub const SA_RESTORER: u64 = 0x0400_0000;
pub const SA_ONSTACK: u64 = 0x0800_0000;
pub const SA_RESTART: u64 = 0x1000_0000;
pub const SA_NODEFER: u64 = 0x4000_0000;
pub const SA_RESETHAND: u64 = 0x8000_0000;

pub const SI_USER: i32 = 0;
pub const SI_KERNEL: i32 = 0x80;
pub const SI_QUEUE: i32 = -1;
pub const SI_TIMER: i32 = -2;
pub const SI_TKILL: i32 = -6;
pub const CLD_EXITED: i32 = 1;
pub const CLD_KILLED: i32 = 2;
pub const CLD_DUMPED: i32 = 3;
pub const CLD_STOPPED: i32 = 5;
pub const CLD_CONTINUED: i32 = 6;

/// A set of signals; bit n-1 is signal n.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Freeze)]
pub struct SigSet(pub u64);

impl SigSet {
    pub fn has(self, sig: u8) -> bool {
        (1..=64).contains(&sig) && self.0 >> (sig - 1) & 1 == 1
    }
    pub fn add(&mut self, sig: u8) {
        if (1..=64).contains(&sig) {
            self.0 |= 1 << (sig - 1);
        }
    }
    pub fn del(&mut self, sig: u8) {
        if (1..=64).contains(&sig) {
            self.0 &= !(1 << (sig - 1));
        }
    }
    /// Without SIGKILL and SIGSTOP, which nothing can block.
    pub fn blockable(self) -> SigSet {
        SigSet(self.0 & !(1 << (SIGKILL - 1) | 1 << (SIGSTOP - 1)))
    }
    /// The lowest signal in the set.
    pub fn first(self) -> Option<u8> {
        (self.0 != 0).then(|| self.0.trailing_zeros() as u8 + 1)
    }
}

/// The part of `siginfo_t` that depends on the cause.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Freeze)]
pub enum SigCause {
    /// Sent by a process (kill, tgkill, SI_KERNEL with zeroes).
    Kill { pid: u32, uid: u32 },
    /// With a value (sigqueue).
    Value { pid: u32, uid: u32, value: u64 },
    /// A POSIX timer.
    Timer { id: i32, overrun: i32, value: u64 },
    /// A child changed state.
    Child {
        pid: u32,
        uid: u32,
        status: i32,
        utime: u64,
        stime: u64,
    },
    /// A fault at an address.
    Fault { addr: u64 },
    /// A descriptor became ready (F_SETSIG).
    Poll { band: u64, fd: i32 },
    /// Raw words given by rt_sigqueueinfo.
    Raw([u8; 112]),
}

/// What a handler with SA_SIGINFO, sigwaitinfo or waitid sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Freeze)]
pub struct SigInfo {
    pub sig: u8,
    pub code: i32,
    pub cause: SigCause,
}

impl SigInfo {
    /// A signal that the kernel itself sends.
    pub fn kernel(sig: u8) -> Self {
        SigInfo {
            sig,
            code: SI_KERNEL,
            cause: SigCause::Kill { pid: 0, uid: 0 },
        }
    }
    /// A signal sent with kill(2).
    pub fn user(sig: u8, pid: u32, uid: u32) -> Self {
        SigInfo {
            sig,
            code: SI_USER,
            cause: SigCause::Kill { pid, uid },
        }
    }
    /// A fault signal.
    pub fn fault(sig: u8, code: i32, addr: u64) -> Self {
        SigInfo {
            sig,
            code,
            cause: SigCause::Fault { addr },
        }
    }
    /// The 128 bytes of `siginfo_t`.
    pub fn encode(&self) -> [u8; 128] {
        let mut e = Enc::new();
        e.i32(self.sig as i32).i32(0).i32(self.code).i32(0);
        match self.cause {
            SigCause::Kill { pid, uid } => e.u32(pid).u32(uid),
            SigCause::Value { pid, uid, value } => e.u32(pid).u32(uid).u64(value),
            SigCause::Timer { id, overrun, value } => e.i32(id).i32(overrun).u64(value),
            SigCause::Child {
                pid,
                uid,
                status,
                utime,
                stime,
            } => e.u32(pid).u32(uid).i32(status).i32(0).u64(utime).u64(stime),
            SigCause::Fault { addr } => e.u64(addr),
            SigCause::Poll { band, fd } => e.u64(band).i32(fd),
            SigCause::Raw(b) => e.bytes(&b),
        };
        let mut out = [0u8; 128];
        for (o, b) in out.iter_mut().zip(e.0) {
            *o = b;
        }
        out
    }
}
