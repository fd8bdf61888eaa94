//! The front of the decoder: any bytes as code, by both dispatchers, which must agree in every register and in memory.
#![no_main]

use turncoat_cpu::{Cpu, Dispatcher, Exit, Machine, PAGE_SIZE, PageRef, Prot, Share, Space, run};

const CODE: u64 = 0x40_0000;

fn go(code: &[u8], dispatcher: Dispatcher) -> (String, [u64; 16], u64, u64, Vec<u8>) {
    let mut space = Space::new();
    let size = PAGE_SIZE as u64;
    // Two pages of code, so that instructions cross; then a page that is data and stack.
    for (n, piece) in (0..).zip(code.chunks(PAGE_SIZE).take(2)) {
        space.map(CODE + n * size, PageRef::from_slice(piece), Prot::READ | Prot::WRITE | Prot::EXEC, Share::Private);
    }
    let data = CODE + 8 * size;
    space.map(data, PageRef::zeroed(), Prot::READ | Prot::WRITE, Share::Private);
    let mut cpu = Cpu::new();
    cpu.gpr = std::array::from_fn(|n| data + 128 * n as u64);
    cpu.rip = CODE;
    let mut machine = Machine { dispatcher, ..Machine::default() };
    let mut budget = 2_000;
    let mut exit = run(&mut cpu, &mut space, &mut machine, &mut budget);
    while matches!(exit, Exit::Syscall) && budget > 0 {
        exit = run(&mut cpu, &mut space, &mut machine, &mut budget);
    }
    let mut memory = vec![0; PAGE_SIZE];
    let _ = space.read(data, &mut memory);
    (format!("{exit:?}"), cpu.gpr, cpu.rip, budget, memory)
}

libfuzzer_sys::fuzz_target!(|code: &[u8]| {
    assert!(go(code, Dispatcher::TailCalls) == go(code, Dispatcher::Loop));
});
