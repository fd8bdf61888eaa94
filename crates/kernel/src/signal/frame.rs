//! The frame that a handler finds on its stack, and the way back (arch/x86/kernel/signal_64.c, `struct rt_sigframe`).

use super::{Action, AltStack};
use crate::abi::sig::*;
use crate::abi::*;
use crate::sys::{Call, SysRes, Trap};
use crate::world::World;
use crate::{Errno, KResult};
use turncoat_cpu::*;

/// Registers in the order of `struct sigcontext_64`.
const ORDER: [usize; 16] = [
    R8, R9, R10, R11, R12, R13, R14, R15, RDI, RSI, RBP, RBX, RDX, RAX, RCX, RSP,
];
/// UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS (no UC_FP_XSTATE: the processor has no XSAVE).
const UC_FLAGS: u64 = 6;
/// Offset of `uc_mcontext` in the frame: return address, flags, link, stack.
const MCONTEXT: usize = 8 + 8 + 8 + 24;
const SIGMASK: usize = MCONTEXT + 256;
const INFO: usize = SIGMASK + 8;
const FRAME: usize = INFO + 128;

impl World {
    /// Builds the frame and points the thread at its handler.
    pub(super) fn push_frame(&mut self, tid: u32, info: &SigInfo, act: &Action) -> KResult<()> {
        let t = self.tm(tid)?;
        let mask = t.saved_mask.take().unwrap_or(t.mask);
        let alt = t.alt;
        let cpu = t.cpu.as_mut().ok_or(Errno::EFAULT)?;
        let old_sp = cpu.gpr[RSP];
        let on_alt = alt.on(old_sp);
        let mut sp = old_sp.wrapping_sub(128);
        if act.flags & SA_ONSTACK != 0 && alt.size != 0 && !on_alt {
            sp = alt.sp.wrapping_add(alt.size);
        }
        let fp = sp.wrapping_sub(512) & !63;
        let frame = (fp.wrapping_sub(FRAME as u64) & !15).wrapping_sub(8);
        if on_alt && !alt.on(frame) {
            return Err(Errno::EFAULT);
        }
        let fx = cpu.fxsave();
        let mut e = Enc::new();
        e.u64(act.restorer).u64(UC_FLAGS).u64(0);
        e.u64(alt.sp)
            .u32(if alt.size == 0 { 2 } else { u32::from(on_alt) })
            .u32(0)
            .u64(alt.size);
        for r in ORDER {
            e.u64(cpu.gpr[r]);
        }
        e.u64(cpu.rip).u64(cpu.rflags());
        e.u16(0x33).u16(0).u16(0).u16(0x2b);
        let (err, trap, cr2) = match info.cause {
            SigCause::Fault { addr } => (self.last_fault.0, self.last_fault.1, addr),
            _ => (0, 0, 0),
        };
        e.u64(err).u64(trap).u64(mask.0).u64(cr2).u64(fp);
        e.pad_to(SIGMASK).u64(mask.0).bytes(&info.encode());
        self.copy_out(tid, fp, &fx)?;
        self.copy_out(tid, frame, &e.0)?;
        let t = self.tm(tid)?;
        t.mask.0 |= act.mask.0;
        if act.flags & SA_NODEFER == 0 {
            t.mask.add(info.sig);
        }
        t.mask = t.mask.blockable();
        if alt.autodisarm {
            t.alt = AltStack::default();
        }
        let cpu = t.cpu.as_mut().ok_or(Errno::EFAULT)?;
        cpu.gpr[RDI] = info.sig as u64;
        cpu.gpr[RSI] = frame + INFO as u64;
        cpu.gpr[RDX] = frame + 8;
        cpu.gpr[RAX] = 0;
        cpu.gpr[RSP] = frame;
        cpu.rip = act.handler;
        // Direction, trap and resume flags are cleared for the handler.
        let fl = cpu.rflags() & !(0x400 | 0x100 | 0x10000);
        cpu.set_rflags(fl);
        Ok(())
    }
}

pub(crate) fn rt_sigreturn(w: &mut World, c: &mut Call) -> SysRes {
    let r = restore(w, c.tid);
    if r.is_err() {
        w.force(c.tid, SigInfo::kernel(SIGSEGV));
    }
    Err(Trap::Done)
}

fn restore(w: &mut World, tid: u32) -> KResult<()> {
    let sp = w.t(tid)?.cpu.as_ref().ok_or(Errno::EFAULT)?.gpr[RSP].wrapping_sub(8);
    let mut b = vec![0u8; INFO];
    w.copy_in(tid, sp, &mut b)?;
    let fp = le64(&b, MCONTEXT + 23 * 8);
    let mut fx = [0u8; 512];
    if fp != 0 {
        w.copy_in(tid, fp, &mut fx)?;
    }
    let t = w.tm(tid)?;
    t.mask = SigSet(le64(&b, SIGMASK)).blockable();
    let (alt_sp, alt_flags, alt_size) = (le64(&b, 24), le32(&b, 32), le64(&b, 40));
    let cpu = t.cpu.as_mut().ok_or(Errno::EFAULT)?;
    for (i, r) in ORDER.iter().enumerate() {
        cpu.gpr[*r] = le64(&b, MCONTEXT + i * 8);
    }
    cpu.rip = le64(&b, MCONTEXT + 16 * 8);
    cpu.set_rflags(le64(&b, MCONTEXT + 17 * 8));
    if fp != 0 {
        cpu.fxrstor(&fx);
    }
    if alt_flags & 2 != 0 {
        t.alt = AltStack::default();
    } else if alt_size >= 2048 {
        t.alt.sp = alt_sp;
        t.alt.size = alt_size;
    }
    Ok(())
}
