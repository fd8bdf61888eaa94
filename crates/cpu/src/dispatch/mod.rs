//! Runs decoded code.
#![allow(unsafe_code)]

use crate::{Cpu, Exit, Fault, FaultKind, Machine, Space};

/// Code decoded from one page.
pub(crate) struct PageCode;

/// Runs until the budget is spent, a system call, or a fault.
pub fn run(cpu: &mut Cpu, space: &mut Space, machine: &mut Machine, budget: &mut u64) -> Exit {
    let _ = (cpu, space, machine, budget);
    Exit::Fault(Fault::new(FaultKind::InvalidOpcode))
}
