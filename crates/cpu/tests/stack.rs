//! Fast handlers must be compiled to jumps: a loop over each instruction form runs in a stack that thousands of nested
//! calls would overflow. (A failure is an abort of this test program.)

use turncoat_cpu::{Cpu, Exit, Machine, PageRef, Prot, Share, Space, run};

const CODE: u64 = 0x40_0000;
const DATA: u64 = 0x50_0000;

fn try_form(code: &[u8]) -> u64 {
    let mut s = Space::new();
    // The form eight times, then back: direct jumps are links inside the page.
    let mut bytes = Vec::new();
    for _ in 0..8 {
        bytes.extend_from_slice(code);
    }
    let back = -(bytes.len() as i32 + 5);
    bytes.push(0xe9);
    bytes.extend(back.to_le_bytes());
    s.map(
        CODE,
        PageRef::from_slice(&bytes),
        Prot::READ | Prot::EXEC,
        Share::Private,
    );
    for i in 0..16 {
        s.map(
            DATA + i * 4096,
            PageRef::zeroed(),
            Prot::READ | Prot::WRITE,
            Share::Private,
        );
    }
    let mut c = Cpu::new();
    c.gpr = [DATA + 0x8000; 16];
    c.gpr[0] = 1;
    c.gpr[1] = 3;
    c.gpr[2] = 0;
    c.rip = CODE;
    let mut m = Machine::default();
    let mut budget = 12_000;
    while let Exit::Syscall = run(&mut c, &mut s, &mut m, &mut budget) {}
    12_000 - budget
}

#[test]
fn no_handler_grows_the_stack() {
    let worker = std::thread::Builder::new().stack_size(96 * 1024).spawn(|| {
        let mut ran = 0u64;
        for two in [false, true] {
            for opcode in 0..=255u8 {
                for prefix in [None, Some(0x66), Some(0xf3), Some(0xf2)] {
                    for rex in [0x40, 0x48] {
                        for modrm in [0xf7, 0xc0, 0xd9, 0x76, 0x46] {
                            let mut code: Vec<u8> = prefix.into_iter().collect();
                            code.push(rex);
                            if two {
                                code.push(0x0f);
                            }
                            code.extend([opcode, modrm, 0x90, 0x90, 0x90, 0x90]);
                            ran += try_form(&code);
                        }
                    }
                }
            }
        }
        // Straight code of compare and branch, call and return, indirect jumps.
        let call_ret = [0xe8, 1, 0, 0, 0, 0x90, 0x58, 0x90];
        ran += try_form(&call_ret);
        ran
    });
    let ran = worker.expect("thread").join().expect("no panic");
    assert!(ran > 10_000_000, "only {ran} instructions ran");
}
