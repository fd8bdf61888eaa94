//! Runs one instruction on this machine's own processor, with every register chosen.
//!
//! No assembly trampoline: the host executes `int3`; the signal handler swaps the interrupted context for the guest's and
//! returns, so that the kernel loads all registers, SSE and x87 among them. The guest instruction is followed by
//! `int3`; that or a fault comes back to the handler, which keeps what the guest left and puts the host's context back.

#![allow(unsafe_code)]

use crate::state::{CODE, GUARD_LEN, LOW, State, Trap, WINDOW};
use std::cell::UnsafeCell;
use std::sync::{Mutex, MutexGuard};

const GREGS: usize = 23;
/// Where the signal frame's `gregs` have each register of [`State::gpr`] (RAX first).
const ORDER: [usize; 16] = [13, 14, 12, 11, 15, 10, 9, 8, 0, 1, 2, 3, 4, 5, 6, 7];
const RIP: usize = 16;
const EFL: usize = 17;
const ERR: usize = 19;
const TRAPNO: usize = 20;
const CR2: usize = 22;

struct Shared {
    running: bool,
    guest: State,
    trap: Trap,
    host_gregs: [i64; GREGS],
    host_fx: [u8; 512],
    host_components: u64,
}

struct Global(UnsafeCell<Option<Shared>>);
// SAFETY: touched only by the thread that holds LOCK, and by its signal handler while that thread stands in `int3`.
unsafe impl Sync for Global {}
static SHARED: Global = Global(UnsafeCell::new(None));
static LOCK: Mutex<bool> = Mutex::new(false);

extern "C" fn handler(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid context; SHARED is ours while LOCK is held (see Global); fpregs points to the
    // frame's XSAVE area, whose header follows the 512 legacy bytes.
    unsafe {
        // `popf` may have left AC set: with it the handler's own unaligned accesses would raise SIGBUS, which is blocked here and
        // ends the process.
        std::arch::asm!("pushfq", "and dword ptr [rsp], -262145", "popfq");
        let uc = &mut *context.cast::<libc::ucontext_t>();
        let fx = uc.uc_mcontext.fpregs.cast::<u8>();
        let components = fx.add(512).cast::<u64>();
        let regs = &mut uc.uc_mcontext.gregs;
        let Some(s) = &mut *SHARED.0.get() else {
            libc::_exit(98)
        };
        if !s.running {
            s.running = true;
            s.host_gregs = *regs;
            s.host_components = components.read_unaligned();
            std::ptr::copy_nonoverlapping(fx, s.host_fx.as_mut_ptr(), 512);
            for (i, &at) in ORDER.iter().enumerate() {
                regs[at] = s.guest.gpr[i] as i64;
            }
            regs[RIP] = s.guest.rip as i64;
            regs[EFL] = s.guest.flags as i64;
            std::ptr::copy_nonoverlapping(s.guest.fx.as_ptr(), fx, 28);
            std::ptr::copy_nonoverlapping(s.guest.fx.as_ptr().add(32), fx.add(32), 384);
            components.write_unaligned(s.host_components | 3);
        } else {
            s.running = false;
            for (i, &at) in ORDER.iter().enumerate() {
                s.guest.gpr[i] = regs[at] as u64;
            }
            s.guest.rip = regs[RIP] as u64;
            s.guest.flags = regs[EFL] as u64;
            s.trap = Trap::from_vector(regs[TRAPNO] as u64, regs[CR2] as u64, regs[ERR] as u64);
            std::ptr::copy_nonoverlapping(fx, s.guest.fx.as_mut_ptr(), 416);
            // Components in their initial state are not in the frame.
            let present = components.read_unaligned();
            if present & 1 == 0 {
                s.guest.fx[..24].fill(0);
                s.guest.fx[0] = 0x7f;
                s.guest.fx[1] = 3;
                s.guest.fx[32..160].fill(0);
            }
            if present & 2 == 0 {
                s.guest.fx[160..416].fill(0);
            }
            *regs = s.host_gregs;
            std::ptr::copy_nonoverlapping(s.host_fx.as_ptr(), fx, 464);
            components.write_unaligned(s.host_components);
        }
    }
}

/// The right to run guests, held by one thread at a time.
pub struct Native {
    _lock: MutexGuard<'static, bool>,
}

impl Native {
    /// Maps code and window (once) and takes the signals.
    pub fn new() -> Native {
        let mut lock = LOCK.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // SAFETY: fresh mappings at fixed addresses that nothing else uses (NOREPLACE); a fresh alternate stack.
        unsafe {
            if !*lock {
                let map = |at: u64, len: usize, prot| {
                    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
                    let p = libc::mmap(at as *mut _, len, prot, flags, -1, 0);
                    assert_eq!(p as u64, at, "the test's addresses are free");
                };
                let rw = libc::PROT_READ | libc::PROT_WRITE;
                map(CODE, 4096, rw | libc::PROT_EXEC);
                map(CODE + 4096, 4096, libc::PROT_NONE);
                map(LOW, 4096, libc::PROT_READ);
                map(WINDOW, 4096, rw);
                map(WINDOW + 4096, GUARD_LEN, libc::PROT_NONE);
                // Touched, so that a write to it is a fault of rights.
                std::ptr::read_volatile(LOW as *const u8);
                *lock = true;
            }
            let stack: &'static mut [u8] = Box::leak(vec![0; 1 << 16].into_boxed_slice());
            let stack = libc::stack_t {
                ss_sp: stack.as_mut_ptr().cast(),
                ss_flags: 0,
                ss_size: stack.len(),
            };
            assert_eq!(libc::sigaltstack(&raw const stack, std::ptr::null_mut()), 0);
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            for signal in [
                libc::SIGTRAP,
                libc::SIGSEGV,
                libc::SIGILL,
                libc::SIGFPE,
                libc::SIGBUS,
            ] {
                assert_eq!(
                    libc::sigaction(signal, &raw const action, std::ptr::null_mut()),
                    0
                );
            }
            *SHARED.0.get() = Some(Shared {
                running: false,
                guest: State::default(),
                trap: Trap::Other(0),
                host_gregs: [0; GREGS],
                host_fx: [0; 512],
                host_components: 0,
            });
        }
        Native { _lock: lock }
    }

    /// Puts an instruction at [`CODE`], followed by `int3`s.
    pub fn set_code(&mut self, code: &[u8]) {
        assert!(code.len() <= 15);
        // SAFETY: the code page is mapped writable.
        unsafe {
            std::ptr::write_bytes(CODE as *mut u8, 0xcc, 64);
            std::ptr::copy_nonoverlapping(code.as_ptr(), CODE as *mut u8, code.len());
        }
    }

    /// Runs from `state`; `memory` is the window's tail before and after.
    pub fn run(&mut self, state: &mut State, memory: &mut [u8]) -> Trap {
        let at = (WINDOW + 4096 - memory.len() as u64) as *mut u8;
        // SAFETY: `at` is within the mapped window; generated instructions touch only it and the pages beside it; the
        // handler puts every register back before `int3` seems to return.
        unsafe {
            std::ptr::copy_nonoverlapping(memory.as_ptr(), at, memory.len());
            if let Some(s) = &mut *SHARED.0.get() {
                s.guest = state.clone();
            }
            std::arch::asm!("int3");
            std::ptr::copy_nonoverlapping(at, memory.as_mut_ptr(), memory.len());
            let Some(s) = &*SHARED.0.get() else {
                return Trap::Other(0);
            };
            *state = s.guest.clone();
            s.trap
        }
    }
}
