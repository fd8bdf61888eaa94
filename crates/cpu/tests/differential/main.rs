//! The interpreter against this machine's own processor: random operands for every instruction form.
//!
//! `cargo test -p turncoat-cpu --test differential` runs some hundred thousand cases. More:
//! `TURNCOAT_DIFF_CASES=20000000 cargo test -p turncoat-cpu --release --test differential -- --nocapture`;
//! `TURNCOAT_DIFF_SEED=n` draws other cases, `TURNCOAT_DIFF_ONLY=addps,fprem` keeps forms whose name contains one of these.
//!
//! Compared: general registers, flags (but those that the manual leaves undefined), SSE, MXCSR, x87 with control, status and
//! tags, memory, and the fault with its address. Differences between processors that are not compared are in `forgive`.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod document;
mod flow_of_flags;
mod forms;
mod native;
mod state;

use forms::{Case, Coverage, forms};
use iced_x86::{Code, FastFormatter, Mnemonic};
use native::Native;
use state::{CODE, MEMORY, Ours, Random, State, Trap};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use turncoat_cpu::{CpuidLeaf, Machine};

/// Runs of one encoding with different operands.
const DRAWS: u64 = 8;

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

/// The default machine, and what this processor has beyond it where an encoding means something else otherwise.
fn machine() -> Machine {
    let mut m = Machine::default();
    for l in &mut m.cpuid {
        match *l {
            CpuidLeaf {
                leaf: 7,
                ref mut regs,
                ..
            } => regs[1] |= 8,
            CpuidLeaf {
                leaf: 0x8000_0001,
                ref mut regs,
                ..
            } => regs[2] |= 32,
            CpuidLeaf {
                leaf: 1,
                ref mut regs,
                ..
            } => regs[2] |= 1 << 22,
            _ => {}
        }
    }
    m
}

const NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];

/// Results of which the manual leaves the last bit open.
fn is_transcendental(m: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        m,
        M::F2xm1 | M::Fyl2x | M::Fyl2xp1 | M::Fpatan | M::Fsin | M::Fcos | M::Fsincos | M::Fptan
    )
}
fn is_approximation(m: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(m, M::Rcpps | M::Rcpss | M::Rsqrtps | M::Rsqrtss)
}

/// Whether two 80-bit numbers are within `ulps` of each other.
fn near(a: &[u8], b: &[u8], ulps: i128) -> bool {
    let n = |x: &[u8]| {
        let mut v = [0u8; 16];
        v[..10].copy_from_slice(&x[..10]);
        let v = u128::from_le_bytes(v);
        // Without the explicit leading bit neighbours are consecutive.
        let magnitude = ((v >> 64 & 0x7fff) << 63 | v & ((1 << 63) - 1)) as i128;
        if v >> 79 & 1 != 0 { -magnitude } else { magnitude }
    };
    (n(a) - n(b)).abs() <= ulps
}

/// Makes equal what processors do differently and no program can rely on.
fn forgive(case: &Case, before: &State, real: &mut State, ours: &mut State) {
    let m = case.instruction.mnemonic();
    let mask = !(case.undefined | 0x1_0000);
    real.flags &= mask;
    ours.flags &= mask;
    // x87: addresses of the last instruction (AMD keeps them only with a pending exception), MXCSR mask, reserved bytes.
    for fx in [&mut real.fx, &mut ours.fx] {
        fx[5..24].fill(0);
        fx[28..32].fill(0);
        fx[416..].fill(0);
        for i in 0..8 {
            fx[42 + 16 * i..48 + 16 * i].fill(0);
        }
    }
    if is_transcendental(m) {
        // C1 says which way the last bit went.
        real.fx[3] &= !2;
        ours.fx[3] &= !2;
        for i in 0..8 {
            let at = 32 + 16 * i..42 + 16 * i;
            if near(&real.fx[at.clone()], &ours.fx[at.clone()], 2) {
                let v: [u8; 10] = real.fx[at.clone()].try_into().expect("ten bytes");
                ours.fx[at].copy_from_slice(&v);
            }
        }
    }
    if is_approximation(m) {
        for at in (160..416).step_by(4) {
            let f = |fx: &[u8]| f32::from_le_bytes(fx[at..at + 4].try_into().expect("four bytes"));
            let (a, b) = (f(&real.fx), f(&ours.fx));
            if (a - b).abs() <= a.abs() * (1.0 / 1365.0) {
                let v: [u8; 4] = real.fx[at..at + 4].try_into().expect("four bytes");
                ours.fx[at..at + 4].copy_from_slice(&v);
            }
        }
    }
    let _ = before;
}

/// What differs, in words.
fn difference(real: (&State, Trap, &[u8]), ours: (&State, Trap, &[u8]), before: &State) -> Option<String> {
    let mut out = String::new();
    if real.1 != ours.1 {
        let _ = writeln!(out, "    ends: {:x?}, ours {:x?}", real.1, ours.1);
    }
    let (a, b) = (real.0, ours.0);
    for (k, name) in NAMES.iter().enumerate() {
        if a.gpr[k] != b.gpr[k] {
            let _ = writeln!(
                out,
                "    {}: {:#x}, ours {:#x} (was {:#x})",
                name, a.gpr[k], b.gpr[k], before.gpr[k]
            );
        }
    }
    if a.rip != b.rip {
        let _ = writeln!(
            out,
            "    rip: +{}, ours +{}",
            a.rip.wrapping_sub(CODE),
            b.rip.wrapping_sub(CODE)
        );
    }
    if a.flags != b.flags {
        let _ = writeln!(
            out,
            "    flags: {:#x}, ours {:#x} (were {:#x})",
            a.flags, b.flags, before.flags
        );
    }
    let word = |f: &[u8; 512], at: usize| u16::from_le_bytes([f[at], f[at + 1]]);
    for (name, at) in [
        ("x87 control", 0),
        ("x87 status", 2),
        ("x87 tags", 4),
        ("mxcsr", 24),
    ] {
        let (x, y) = (word(&a.fx, at), word(&b.fx, at));
        if x != y {
            let _ = writeln!(
                out,
                "    {name}: {x:#x}, ours {y:#x} (was {:#x})",
                word(&before.fx, at)
            );
        }
    }
    let wide =
        |f: &[u8; 512], at: usize| u128::from_le_bytes(f[at..at + 16].try_into().expect("sixteen bytes"));
    for i in 0..24 {
        let at = 32 + 16 * i;
        let (x, y) = (wide(&a.fx, at), wide(&b.fx, at));
        if x != y {
            let name = if i < 8 {
                format!("st{i}")
            } else {
                format!("xmm{}", i - 8)
            };
            let _ = writeln!(
                out,
                "    {name}: {x:#034x}, ours {y:#034x} (was {:#034x})",
                wide(&before.fx, at)
            );
        }
    }
    if let Some(at) = real.2.iter().zip(ours.2).position(|(x, y)| x != y) {
        let end = (at + 16).min(MEMORY);
        let _ = writeln!(
            out,
            "    memory at {at:#x}: {:02x?}, ours {:02x?}",
            &real.2[at..end],
            &ours.2[at..end]
        );
    }
    (!out.is_empty()).then_some(out)
}

fn shown(case: &Case, before: &State) -> String {
    let mut text = String::new();
    FastFormatter::new().format(&case.instruction, &mut text);
    let f = &before.fx;
    let mut out = format!(
        "  {text}  {:02x?}  flags {:#x} cw {:#x} sw {:#x} tags {:#x} mxcsr {:#x}\n",
        case.bytes,
        before.flags,
        u16::from_le_bytes([f[0], f[1]]),
        u16::from_le_bytes([f[2], f[3]]),
        f[4],
        u16::from_le_bytes([f[24], f[25]])
    );
    for u in iced_x86::InstructionInfoFactory::new()
        .info(&case.instruction)
        .used_registers()
    {
        let r = u.register();
        let at = if r.is_xmm() {
            160 + 16 * r.number()
        } else if r.is_st() {
            32 + 16 * r.number()
        } else {
            if let Some(k) = forms::index(r) {
                let _ = writeln!(out, "    {r:?} was {:#x}", before.gpr[k]);
            }
            continue;
        };
        let v = u128::from_le_bytes(f[at..at + 16].try_into().expect("sixteen bytes"));
        let _ = writeln!(out, "    {r:?} was {v:#034x}");
    }
    out
}

/// Cases of one form, and how many differ; the first differences in words.
fn compare(
    code: Code,
    cases: u64,
    r: &mut Random,
    native: &mut Native,
    ours: &mut Ours,
) -> (u64, u64, String) {
    let (mut done, mut wrong, mut report) = (0, 0, String::new());
    let mut tries = 0;
    let mut memory = [0u8; MEMORY];
    while done < cases {
        tries += 1;
        if tries > cases * 20 + 100 {
            report.push_str("  no encoding found\n");
            return (done, wrong + 1, report);
        }
        let Some(case) = Case::new(code, r).filter(Case::usable) else {
            continue;
        };
        native.set_code(&case.bytes);
        ours.set_code(&case.bytes);
        for _ in 0..DRAWS {
            let mut before = r.state();
            r.memory(&mut memory);
            case.aim(&mut before, &mut memory, r);
            done += 1;
            if case.open(&before) {
                continue;
            }
            let (mut a, mut ma) = (before.clone(), memory);
            let (mut b, mut mb) = (before.clone(), memory);
            let ta = native.run(&mut a, &mut ma);
            let tb = ours.run(&mut b, &mut mb);
            // AMD's MXCSR has a bit more (17, misaligned mode).
            let more = case.instruction.mnemonic() == Mnemonic::Ldmxcsr
                && ta == Trap::Done
                && tb == Trap::Kind(turncoat_cpu::FaultKind::GeneralProtection);
            if more {
                continue;
            }
            forgive(&case, &before, &mut a, &mut b);
            if let Some(d) = difference((&a, ta, &ma), (&b, tb, &mb), &before) {
                wrong += 1;
                if wrong <= 3 {
                    report.push_str(&shown(&case, &before));
                    report.push_str(&d);
                }
            }
        }
    }
    (done, wrong, report)
}

#[test]
fn agrees_with_the_processor() {
    let total = env("TURNCOAT_DIFF_CASES", 300_000);
    let only = std::env::var("TURNCOAT_DIFF_ONLY")
        .unwrap_or_default()
        .to_lowercase();
    let selected: Vec<Code> = forms()
        .into_iter()
        .filter(|(_, c)| *c == Coverage::Compared)
        .map(|(c, _)| c)
        .filter(|c| {
            only.is_empty()
                || only
                    .split(',')
                    .any(|o| format!("{c:?}").to_lowercase().contains(o))
        })
        .collect();
    let each = (total / selected.len().max(1) as u64).max(DRAWS);
    let mut r = Random(env("TURNCOAT_DIFF_SEED", 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut native = Native::new();
    let mut ours = Ours::new(machine());
    let mut failed: BTreeMap<String, (u64, u64, String)> = BTreeMap::new();
    let mut done = 0;
    for code in &selected {
        let (n, wrong, report) = compare(*code, each, &mut r, &mut native, &mut ours);
        done += n;
        if wrong > 0 {
            failed.insert(format!("{code:?}"), (n, wrong, report));
        }
    }
    drop(native);
    println!("{done} cases of {} forms", selected.len());
    for (name, (n, wrong, report)) in &failed {
        println!("{name}: {wrong} of {n} differ\n{report}");
    }
    println!("unimplemented: {:?}", ours.unimplemented());
    let names: Vec<_> = failed
        .iter()
        .map(|(k, v)| format!("{k} {}/{}", v.1, v.0))
        .collect();
    assert!(
        failed.is_empty(),
        "{} forms differ: {}",
        failed.len(),
        names.join(", ")
    );
}
