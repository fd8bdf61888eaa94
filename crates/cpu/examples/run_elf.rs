//! Runs a static x86-64 ELF program with a handful of system calls: a tool to try and time the interpreter without a
//! kernel. `run_elf [--loop] [--repeat N] PROGRAM [ARGS]`; with `--repeat` the loaded program is cloned and run N times,
//! as a world does with a page cache that is warm.

use std::io::{Read, Write};
use std::time::Instant;

use turncoat_cpu::{
    Cpu, Dispatcher, Exit, FaultKind, Machine, PageRef, Prot, R8, R10, RAX, RDI, RDX, RSI, RSP, Share, Space,
    run,
};

const PAGE: u64 = 4096;

fn word(b: &[u8], off: usize, n: usize) -> u64 {
    b.get(off..off + n)
        .map_or(0, |s| s.iter().rev().fold(0, |a, &v| a << 8 | u64::from(v)))
}

fn zero(space: &mut Space, from: u64, to: u64, prot: Prot) {
    let mut va = from & !(PAGE - 1);
    while va < to {
        if space.rights(va).is_none() {
            space.map(va, PageRef::zeroed(), prot, Share::Private);
        }
        va += PAGE;
    }
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let mut machine = Machine::default();
    if args.first().is_some_and(|a| a == "--loop") {
        args.remove(0);
        machine.dispatcher = Dispatcher::Loop;
    }
    let mut repeat = 1u32;
    if args.first().is_some_and(|a| a == "--repeat") && args.len() > 2 {
        repeat = args[1].parse().unwrap_or(1);
        args.drain(..2);
    }
    let Some(path) = args.first() else {
        eprintln!("run_elf [--loop] PROGRAM [ARGS]");
        std::process::exit(2);
    };
    let elf = match std::fs::read(path) {
        Ok(b) => b,
        Err(e) => {
            eprintln!("{path}: {e}");
            std::process::exit(2);
        }
    };
    let rw = Prot::READ | Prot::WRITE;
    let mut space = Space::new();
    let base = if word(&elf, 16, 2) == 3 {
        0x5555_5555_4000
    } else {
        0
    };
    let (phoff, phnum) = (word(&elf, 32, 8) as usize, word(&elf, 56, 2) as usize);
    let (mut brk, mut phdr) = (0, 0);
    for p in 0..phnum {
        let h = phoff + 56 * p;
        if word(&elf, h, 4) != 1 {
            continue;
        }
        let (off, va) = (word(&elf, h + 8, 8), base + word(&elf, h + 16, 8));
        let (filesz, memsz) = (word(&elf, h + 32, 8), word(&elf, h + 40, 8));
        if off == 0 {
            phdr = va + phoff as u64;
        }
        zero(&mut space, va, va + memsz, rw);
        let bytes = elf.get(off as usize..(off + filesz) as usize).unwrap_or(&[]);
        space.write(va, bytes).expect("just mapped");
        let f = word(&elf, h + 4, 4);
        let prot = Prot::from_bits((f >> 2 & 1 | f & 2 | (f & 1) << 2) as u8);
        space.protect(va & !(PAGE - 1), memsz + (va & (PAGE - 1)), prot);
        brk = brk.max((va + memsz).next_multiple_of(PAGE));
    }
    let mut cpu = Cpu::new();
    cpu.rip = base + word(&elf, 24, 8);
    // The stack: strings, then argc, argv, envp, auxv.
    let top = 0x7fff_ffff_f000u64;
    zero(&mut space, top - (1 << 20), top, rw);
    let mut sp = top - 16;
    let mut ptrs = vec![args.len() as u64];
    for a in &args {
        sp -= a.len() as u64 + 1;
        space.write(sp, a.as_bytes()).expect("stack");
        ptrs.push(sp);
    }
    ptrs.push(0);
    ptrs.push(0);
    for (k, v) in [
        (3, phdr),
        (4, 56),
        (5, phnum as u64),
        (6, PAGE),
        (9, cpu.rip),
        (11, 0),
        (23, 0),
        (25, top - 16),
        (0, 0),
    ] {
        ptrs.extend([k, v]);
    }
    sp = (sp - 8 * ptrs.len() as u64) & !15;
    for (i, v) in ptrs.iter().enumerate() {
        space.write_u64(sp + 8 * i as u64, *v).expect("stack");
    }
    cpu.gpr[RSP] = sp;

    let start = Instant::now();
    let mut code = 0;
    let (loaded_cpu, loaded_space, loaded_brk) = (cpu, space, brk);
    for _ in 0..repeat {
        let (mut cpu, mut space, mut brk) = (loaded_cpu.clone(), loaded_space.clone(), loaded_brk);
        let mut next_map = 0x7f00_0000_0000u64;
        loop {
            let mut budget = 10_000_000;
            match run(&mut cpu, &mut space, &mut machine, &mut budget) {
                Exit::Budget => {}
                Exit::Syscall => {
                    let g = cpu.gpr;
                    let r: i64 = match g[RAX] {
                        0 => {
                            let mut buf = vec![0; g[RDX].min(1 << 16) as usize];
                            let n = std::io::stdin().read(&mut buf).unwrap_or(0);
                            space.write(g[RSI], &buf[..n]).map_or(-14, |()| n as i64)
                        }
                        1 | 20 => {
                            let iov = if g[RAX] == 1 {
                                vec![(g[RSI], g[RDX])]
                            } else {
                                (0..g[RDX].min(64))
                                    .map(|i| {
                                        let at = g[RSI] + 16 * i;
                                        (
                                            space.read_u64(at).unwrap_or(0),
                                            space.read_u64(at + 8).unwrap_or(0),
                                        )
                                    })
                                    .collect()
                            };
                            let mut total = 0;
                            for (at, len) in iov {
                                let mut buf = vec![0; len.min(1 << 20) as usize];
                                if space.read(at, &mut buf).is_err() {
                                    break;
                                }
                                let ok = if g[RDI] == 2 {
                                    std::io::stderr().write_all(&buf)
                                } else {
                                    std::io::stdout().write_all(&buf)
                                };
                                total += if ok.is_ok() { buf.len() as i64 } else { 0 };
                            }
                            total
                        }
                        9 => {
                            let len = g[RSI].next_multiple_of(PAGE);
                            if g[R10] & 0x20 == 0 || g[R8] as i32 != -1 {
                                -19
                            } else {
                                let at = if g[R10] & 0x10 != 0 { g[RDI] } else { next_map };
                                if at == next_map {
                                    next_map += len + PAGE;
                                }
                                space.unmap(at, len);
                                zero(&mut space, at, at + len, Prot::from_bits(g[RDX] as u8));
                                at as i64
                            }
                        }
                        10 => {
                            space.protect(g[RDI], g[RSI], Prot::from_bits(g[RDX] as u8));
                            0
                        }
                        11 => {
                            space.unmap(g[RDI], g[RSI]);
                            0
                        }
                        12 => {
                            if g[RDI] > brk {
                                zero(&mut space, brk, g[RDI], rw);
                                brk = g[RDI].next_multiple_of(PAGE);
                                g[RDI] as i64
                            } else {
                                brk as i64
                            }
                        }
                        63 => {
                            let mut u = [0; 390];
                            u[..5].copy_from_slice(b"Linux");
                            u[130..135].copy_from_slice(b"6.1.0");
                            space.write(g[RDI], &u).map_or(-14, |()| 0)
                        }
                        102 | 104 | 107 | 108 => 0,
                        158 if g[RDI] == 0x1002 => {
                            cpu.fs_base = g[RSI];
                            0
                        }
                        72 | 218 => 1,
                        60 | 231 => {
                            code = g[RDI] as i32;
                            break;
                        }
                        _ => -38,
                    };
                    if std::env::var_os("RUN_ELF_TRACE").is_some() {
                        eprintln!(
                            "syscall {} ({:#x}, {:#x}, {:#x}) = {r}",
                            g[RAX], g[RDI], g[RSI], g[RDX]
                        );
                    }
                    cpu.gpr[RAX] = r as u64;
                }
                Exit::Fault(f) => {
                    eprintln!("{f:?} at {:#x}\n{cpu:?}\n{:?}", cpu.rip, machine.unimplemented);
                    code = if f.kind == FaultKind::Page { 139 } else { 132 };
                    break;
                }
            }
        }
    }
    let t = start.elapsed().as_secs_f64();
    if repeat > 1 {
        eprintln!("{:.1} us each", t / f64::from(repeat) * 1e6);
    }
    eprintln!(
        "{} instructions, {:.3} s, {:.1} million/s",
        machine.retired,
        t,
        machine.retired as f64 / t / 1e6
    );
    std::process::exit(code);
}
