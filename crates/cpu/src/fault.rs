//! Faults: what a processor raises, before a kernel makes a signal of it.

/// The exception.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FaultKind {
    /// #PF: `addr` could not be reached; `error_code` as the processor pushes it.
    Page,
    /// #UD.
    InvalidOpcode,
    /// #DE.
    DivideError,
    /// #GP (and #SS).
    GeneralProtection,
    /// #MF: an unmasked x87 exception is pending.
    FloatingPoint,
    /// #XM: an unmasked SSE exception.
    SimdFloatingPoint,
    /// #BP: `int3`; `rip` is behind the instruction.
    Breakpoint,
    /// #DB: single step, or `int1`.
    Debug,
    /// #OF. Not raised in 64-bit mode, where `into` does not exist.
    Overflow,
    /// #AC.
    AlignmentCheck,
}

/// An exception at an instruction, or a fault met by the kernel's own copy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fault {
    /// Which exception.
    pub kind: FaultKind,
    /// The address of a page fault (CR2); 0 otherwise.
    pub addr: u64,
    /// The error code: for a page fault bit 0 present, 1 write, 2 user, 4 instruction fetch.
    pub error_code: u32,
    /// Bytes that a copy by [`crate::Space`] finished before the fault; 0 for instructions.
    pub done: usize,
}

impl Fault {
    /// A fault without address and error code.
    pub const fn new(kind: FaultKind) -> Fault {
        Fault {
            kind,
            addr: 0,
            error_code: 0,
            done: 0,
        }
    }
}

/// Why a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// The budget is spent.
    Budget,
    /// `syscall` was executed: `rip` is behind it, RCX holds `rip` and R11 the flags.
    Syscall,
    /// An exception; `rip` is at the instruction (behind it for `Breakpoint` and `Debug`).
    Fault(Fault),
}
