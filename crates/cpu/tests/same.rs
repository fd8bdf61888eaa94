//! Dispatchers, slices of budget and fresh caches must not show: random programs end in the same state by every way.

use turncoat_cpu::{Cpu, Dispatcher, Exit, Machine, PageRef, Prot, RSP, Share, Space, run};

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }
}

const CODE: u64 = 0x40_0000;
const DATA: u64 = 0x50_0000;
const DATA_PAGES: u64 = 4;

/// Opcodes without fixed operands: one-byte, then 0F two-byte.
const ONE: &[u8] = &[
    0x00, 0x01, 0x03, 0x09, 0x0b, 0x11, 0x13, 0x19, 0x1b, 0x21, 0x23, 0x29, 0x2b, 0x31, 0x33, 0x38, 0x39,
    0x3b, 0x3d, 0x63, 0x69, 0x6b, 0x80, 0x81, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8d,
    0x98, 0x99, 0xa4, 0xa5, 0xa6, 0xaa, 0xab, 0xac, 0xae, 0xc0, 0xc1, 0xc6, 0xc7, 0xd0, 0xd1, 0xd2, 0xd3,
    0xf6, 0xf7, 0xfe, 0xff, 0x50, 0x58, 0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a,
    0x7b, 0x7c, 0x7d, 0x7e, 0x7f, 0xeb, 0xe2, 0x9c, 0x9d, 0xb0, 0xb8, 0xc3, 0xc9, 0xd8, 0xd9, 0xdb, 0xdd,
    0xde,
];
const TWO: &[u8] = &[
    0x10, 0x11, 0x28, 0x2a, 0x2c, 0x2e, 0x40, 0x42, 0x44, 0x47, 0x4c, 0x4f, 0x51, 0x54, 0x57, 0x58, 0x59,
    0x5a, 0x5b, 0x5c, 0x5e, 0x60, 0x6f, 0x6e, 0x70, 0x72, 0x74, 0x7e, 0x7f, 0x90, 0x92, 0x94, 0x9f, 0xa2,
    0xa3, 0xa4, 0xa5, 0xab, 0xac, 0xaf, 0xb0, 0xb1, 0xb3, 0xb6, 0xb7, 0xba, 0xbb, 0xbc, 0xbd, 0xbe, 0xc0,
    0xc1, 0xc6, 0xc8, 0xd4, 0xd6, 0xd7, 0xda, 0xef, 0xfe, 0x31,
];

/// Code of random instructions; one in `wild` is random bytes.
fn program(r: &mut Rng, len: usize, wild: u64) -> Vec<u8> {
    let mut code = Vec::new();
    while code.len() < len {
        if r.below(wild) == 0 {
            code.push(r.next() as u8);
            continue;
        }
        match r.below(12) {
            0 => code.push(0x66),
            1 => code.push(0xf3),
            2 => code.push(0xf2),
            _ => {}
        }
        if r.below(2) == 0 {
            code.push(0x40 | r.below(16) as u8);
        }
        let short = if r.below(3) == 0 {
            code.push(0x0f);
            code.push(TWO[r.below(TWO.len() as u64) as usize]);
            false
        } else {
            let op = ONE[r.below(ONE.len() as u64) as usize];
            code.push(op);
            matches!(op, 0x70..=0x7f | 0xeb | 0xe2)
        };
        if short {
            code.push(r.below(24) as u8 | if r.below(4) == 0 { 0xf0 } else { 0 });
            continue;
        }
        // A register operand or a base with a small displacement.
        let m = if r.below(2) == 0 { 0xc0 } else { 0x40 } | r.below(64) as u8;
        code.push(m);
        if m & 0xc0 == 0x40 && m & 7 == 4 {
            code.push(r.below(4) as u8 | 0x20);
        }
        code.push(r.next() as u8);
    }
    code
}

/// Code of runs of register instructions, as compilers make of arithmetic, now and then with one that looks at the flags or touches memory.
fn arithmetic(r: &mut Rng, len: usize) -> Vec<u8> {
    const REGISTERS: &[u8] = &[
        0x01, 0x03, 0x09, 0x0b, 0x21, 0x23, 0x29, 0x2b, 0x31, 0x33, 0x89, 0x8b, 0x89, 0x8b,
    ];
    let mut code = Vec::new();
    while code.len() < len {
        if r.below(3) == 0 {
            code.push(0x40 | r.below(16) as u8);
        }
        let register = 0xc0 | r.below(64) as u8;
        match r.below(16) {
            // Rotates and shifts by an immediate.
            0..=4 => code.extend([0xc1, register, r.below(70) as u8]),
            // ADC and SBB, a condition into a byte, a short jump: they look at flags.
            5 => code.extend([[0x11, 0x19][r.below(2) as usize], register]),
            6 => code.extend([0x0f, 0x90 | r.below(16) as u8, register]),
            7 if r.below(3) == 0 => code.extend([0x70 | r.below(16) as u8, r.below(6) as u8]),
            // A load, which may fault: then flags are seen, too.
            7 => code.extend([0x8b, 0x40 | r.below(64) as u8 & !4, r.below(128) as u8]),
            _ => code.extend([REGISTERS[r.below(REGISTERS.len() as u64) as usize], register]),
        }
    }
    code
}

/// Code as compilers make functions of: what has superinstructions.
fn functions(r: &mut Rng, len: usize) -> Vec<u8> {
    let mut code = Vec::new();
    // Memory at a register other than RSP, which would need another byte.
    let memory = |r: &mut Rng| (0x40 | r.below(64) as u8) & !7 | [0, 1, 2, 3, 5, 6, 7][r.below(7) as usize];
    while code.len() < len {
        let (register, near, wide) = (0xc0 | r.below(64) as u8, r.below(16) as u8, 0x48);
        match r.below(24) {
            // Saved registers; a frame.
            0..=2 => (0..1 + r.below(6)).for_each(|n| code.push(0x57 - n as u8 % 4)),
            3..=5 => (0..1 + r.below(6)).for_each(|n| code.push(0x58 + n as u8 % 4)),
            6 => code.extend([
                wide,
                0x83,
                [0xec, 0xc4][r.below(2) as usize],
                8 * r.below(4) as u8,
            ]),
            7..=9 => code.extend([wide, 0x8b, memory(r), near]),
            10 => code.extend([wide, 0x89, memory(r), near]),
            11 => code.extend([0x8b, memory(r), near]),
            12 => code.extend([0x0f, [0xb6, 0xb7, 0xbe][r.below(3) as usize], memory(r), near]),
            13 => code.extend([wide, 0x8d, memory(r), near]),
            14 => code.extend([wide, 0x89, register]),
            15 => code.extend([[0x31, 0x85, 0x39, 0x01, 0x21][r.below(5) as usize], register]),
            16 => code.extend([wide, 0x83, register, near]),
            17 => code.extend([0x0f, 0x90 | r.below(16) as u8, register]),
            18 => code.extend([0x0f, 0xb6, register]),
            // Test or compare, and a jump.
            19 => code.extend([wide, 0x85, register, 0x70 | r.below(16) as u8, near]),
            20 => code.extend([0x80, 0x38 | memory(r), near, 0, 0x70 | r.below(16) as u8, near]),
            21 => code.extend([0x83, 0xf8 | register, near, 0x70 | r.below(16) as u8, near]),
            // A call forward, a jump, a return to wherever.
            22 => code.extend([[0xe8, 0xe9][r.below(2) as usize], near, 0, 0, 0]),
            _ if r.below(4) == 0 => code.push(0xc3),
            _ => code.extend([0x66, 0x0f, 0xef, register]),
        }
    }
    code
}

fn space(code: &[u8], writable: bool, seed: u64) -> Space {
    let mut s = Space::new();
    let prot = if writable {
        Prot::READ | Prot::WRITE | Prot::EXEC
    } else {
        Prot::READ | Prot::EXEC
    };
    for (i, chunk) in code.chunks(4096).enumerate() {
        s.map(
            CODE + i as u64 * 4096,
            PageRef::from_slice(chunk),
            prot,
            Share::Private,
        );
    }
    let mut r = Rng(seed | 1);
    for i in 0..DATA_PAGES {
        let bytes: Vec<u8> = (0..4096).map(|_| r.next() as u8).collect();
        s.map(
            DATA + i * 4096,
            PageRef::from_slice(&bytes),
            Prot::READ | Prot::WRITE,
            Share::Private,
        );
    }
    s
}

fn cpu(seed: u64, into_code: bool) -> Cpu {
    let mut r = Rng(seed | 1);
    let mut c = Cpu::new();
    for (i, g) in c.gpr.iter_mut().enumerate() {
        *g = if i == RSP || r.below(3) > 0 {
            DATA + 0x1800 + r.below(0x1000)
        } else {
            r.next() >> r.below(64)
        };
        if into_code && r.below(6) == 0 {
            *g = CODE + r.below(256);
        }
    }
    c.gpr[1] = r.below(40);
    for x in &mut c.xmm {
        *x = u128::from(r.next()) << 64 | u128::from(r.next());
    }
    c.rip = CODE;
    c
}

/// Runs to the end; returns how it ended and all that a program or kernel could see.
fn outcome(c: Cpu, s: Space, kind: Dispatcher, slice: impl FnMut() -> u64, total: u64) -> (String, Vec<u8>) {
    let m = Machine {
        dispatcher: kind,
        ..Machine::default()
    };
    outcome_on(m, c, s, slice, total)
}

fn outcome_on(
    mut m: Machine,
    mut c: Cpu,
    mut s: Space,
    mut slice: impl FnMut() -> u64,
    total: u64,
) -> (String, Vec<u8>) {
    let mut left = total;
    let mut log = String::new();
    loop {
        let give = slice().clamp(1, left);
        let mut b = give;
        let exit = run(&mut c, &mut s, &mut m, &mut b);
        left -= give - b;
        match exit {
            Exit::Budget if left == 0 => break,
            Exit::Budget => assert_eq!(b, 0),
            e => {
                log += &format!("{e:?} at {:#x} left {left}\n", c.rip);
                if matches!(e, Exit::Fault(_)) {
                    break;
                }
                if left == 0 {
                    break;
                }
            }
        }
    }
    let mut state = c.to_bytes();
    for (va, page, ..) in s.present(0, 1 << 47) {
        state.extend(va.to_le_bytes());
        let mut b = [0; 4096];
        page.read(0, &mut b);
        state.extend(b);
    }
    (log + &format!("{:?} {left} {:?}", c, m.unimplemented), state)
}

/// What the code of a test is made of.
#[derive(Clone, Copy, Debug)]
enum Code {
    /// Random instructions, with random bytes among them as seldom as this says.
    Random(u64),
    /// Runs of register instructions.
    Arithmetic,
    /// What has superinstructions, with registers that point to where memory ends.
    Functions,
}

fn compare(seed: u64, kind: Code, writable: bool) {
    let mut r = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let len = 64 + r.below(200) as usize;
    let mut code = match kind {
        Code::Random(wild) => program(&mut r, len, wild),
        Code::Arithmetic => arithmetic(&mut r, len),
        Code::Functions => functions(&mut r, len),
    };
    let mut start = CODE;
    if r.below(4) == 0 {
        // Across a page boundary.
        let pad = 4096 - r.below(40) as usize;
        let mut moved = vec![0x90; pad];
        moved.append(&mut code);
        code = moved;
        start = CODE + pad as u64 - 4;
    }
    let c = || {
        let mut c = cpu(seed, writable);
        c.rip = start;
        if matches!(kind, Code::Functions) {
            let mut r = Rng(seed << 1 | 1);
            for g in &mut c.gpr {
                *g = match r.below(8) {
                    0 => DATA + r.below(64),
                    1 => DATA + DATA_PAGES * 4096 - r.below(64),
                    2 => DATA + 4096 - r.below(64),
                    3 => r.below(300),
                    _ => DATA + 0x1000 + r.below(0x2000),
                };
            }
        }
        c
    };
    let s = || space(&code, writable, seed);
    let total = 300;
    let base = outcome(c(), s(), Dispatcher::TailCalls, || total, total);
    let mut q = Rng(seed | 3);
    let forgetting = |dispatcher| {
        let m = Machine {
            dispatcher,
            forgets: true,
            ..Machine::default()
        };
        outcome_on(m, c(), s(), || total, total)
    };
    let ways = [
        ("loop", outcome(c(), s(), Dispatcher::Loop, || total, total)),
        ("steps", outcome(c(), s(), Dispatcher::TailCalls, || 1, total)),
        ("loop steps", outcome(c(), s(), Dispatcher::Loop, || 1, total)),
        (
            "slices",
            outcome(c(), s(), Dispatcher::TailCalls, || 1 + q.below(30), total),
        ),
        ("forgetting", forgetting(Dispatcher::TailCalls)),
        ("loop forgetting", forgetting(Dispatcher::Loop)),
        ("again", {
            // Decoded before by somebody else.
            let shared = s();
            outcome(c(), shared.clone(), Dispatcher::TailCalls, || 7, total);
            outcome(c(), shared, Dispatcher::TailCalls, || total, total)
        }),
    ];
    for (name, w) in ways {
        assert_eq!(
            base.0, w.0,
            "{name}, seed {seed} {kind:?} writable {writable}\ncode {code:02x?}"
        );
        assert!(
            base.1 == w.1,
            "{name}: memory or registers differ, seed {seed} {kind:?} writable {writable}"
        );
    }
}

fn cases(default: u64) -> u64 {
    std::env::var("CPU_CASES")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

#[test]
fn random_programs_run_the_same_by_every_way() {
    for seed in 0..cases(3000) {
        compare(seed, Code::Random(200), false);
    }
}

#[test]
fn random_bytes_run_the_same_by_every_way() {
    for seed in 0..cases(3000) {
        compare(seed, Code::Random(2), false);
    }
}

#[test]
fn programs_that_write_themselves_run_the_same_by_every_way() {
    for seed in 0..cases(3000) {
        compare(seed, Code::Random(100), true);
    }
}

#[test]
fn runs_of_register_instructions_run_the_same_by_every_way() {
    for seed in 0..cases(3000) {
        compare(seed, Code::Arithmetic, false);
    }
}

#[test]
fn functions_run_the_same_by_every_way() {
    for seed in 0..cases(3000) {
        compare(seed, Code::Functions, false);
    }
    for seed in 0..cases(1000) {
        compare(seed, Code::Functions, true);
    }
}

/// Worlds on several threads share what was decoded from the pages of an image, while it is being decoded. ThreadSanitizer looks at this
/// one: see CONTRIBUTING.md.
#[test]
fn threads_that_decode_the_same_pages_run_as_if_alone() {
    const THREADS: u64 = 4;
    for seed in 0..cases(400) {
        let mut r = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let code = program(&mut r, 2000, 300);
        let starts: Vec<u64> = (0..THREADS).map(|_| CODE + r.below(1000)).collect();
        let total = 600;
        let of = |n: u64, s: Space| {
            let mut c = cpu(seed + n, false);
            c.rip = starts[n as usize];
            let kind = if n == 3 {
                Dispatcher::Loop
            } else {
                Dispatcher::TailCalls
            };
            outcome(c, s, kind, || 40 + n, total)
        };
        let shared = space(&code, false, seed);
        let together = std::sync::Barrier::new(THREADS as usize);
        let ran: Vec<_> = std::thread::scope(|scope| {
            let runs: Vec<_> = (0..THREADS)
                .map(|n| {
                    let (s, together, of) = (shared.clone(), &together, &of);
                    scope.spawn(move || {
                        together.wait();
                        of(n, s)
                    })
                })
                .collect();
            runs.into_iter().map(|t| t.join().unwrap()).collect()
        });
        for (n, ran) in (0..THREADS).zip(ran) {
            let alone = of(n, space(&code, false, seed));
            assert_eq!(alone.0, ran.0, "seed {seed}, thread {n}");
            assert!(
                alone.1 == ran.1,
                "memory or registers differ, seed {seed}, thread {n}"
            );
        }
    }
}
