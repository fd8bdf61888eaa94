//! Flags that one instruction leaves and the next reads. The interpreter keeps the operands of the first and makes of them only what is
//! asked for, in a way of its own for each condition; cases of single instructions begin with flags that are there already.

use crate::native::Native;
use crate::state::{MEMORY, Ours, Random};

/// AF, which some leave undefined.
const AF: u64 = 0x10;

/// One encoding for each width: bytes, and the flags that it leaves undefined.
type Form = (Vec<u8>, u64);

/// `opcode` with AL, AX, EAX, RAX and this ModRM byte; the opcode of the byte form is one less.
fn widths(prefix: &[u8], opcode: u8, modrm: u8, undefined: u64, out: &mut Vec<Form>) {
    for (before, byte) in [(&[][..], true), (&[0x66], false), (&[], false), (&[0x48], false)] {
        let mut code = before.to_vec();
        code.extend_from_slice(prefix);
        code.extend_from_slice(&[opcode - u8::from(byte), modrm]);
        out.push((code, undefined));
    }
}

/// What leaves flags, of RAX and RCX.
fn leaving() -> Vec<Form> {
    let mut out = Vec::new();
    // add, or, adc, sbb, and, sub, xor, cmp, test, cmpxchg, xadd: rax with rcx.
    for (prefix, opcode, logic) in [
        (&[][..], 0x01, false),
        (&[], 0x09, true),
        (&[], 0x11, false),
        (&[], 0x19, false),
        (&[], 0x21, true),
        (&[], 0x29, false),
        (&[], 0x31, true),
        (&[], 0x39, false),
        (&[], 0x85, true),
        (&[0x0f], 0xb1, false),
        (&[0x0f], 0xc1, false),
    ] {
        widths(prefix, opcode, 0xc8, if logic { AF } else { 0 }, &mut out);
    }
    // inc, dec, neg; shl, shr and sar by one.
    for (opcode, modrm, undefined) in [
        (0xff, 0xc0, 0),
        (0xff, 0xc8, 0),
        (0xf7, 0xd8, 0),
        (0xd1, 0xe0, AF),
        (0xd1, 0xe8, AF),
        (0xd1, 0xf8, AF),
    ] {
        widths(&[], opcode, modrm, undefined, &mut out);
    }
    // stc, clc.
    out.extend([(vec![0xf9], 0), (vec![0xf8], 0)]);
    out
}

/// What reads them, into RDX.
fn reading() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for cc in 0..16 {
        // setcc dl; cmovcc rdx, rsi; cmovcc edx, esi; jcc over inc rdx.
        out.push(vec![0x0f, 0x90 | cc, 0xc2]);
        out.push(vec![0x48, 0x0f, 0x40 | cc, 0xd6]);
        out.push(vec![0x0f, 0x40 | cc, 0xd6]);
        out.push(vec![0x70 | cc, 3, 0x48, 0xff, 0xc2]);
    }
    // adc rdx, rsi; sbb dl, bl; rcl rdx, 1; inc dx; lahf; cmc.
    out.extend([
        vec![0x48, 0x11, 0xf2],
        vec![0x18, 0xda],
        vec![0x48, 0xd1, 0xd2],
        vec![0x66, 0xff, 0xc2],
        vec![0x9f],
        vec![0xf5],
    ]);
    out
}

/// What stands between: nothing, the end of a block, an increment that keeps the carry.
const BETWEEN: [&[u8]; 4] = [&[], &[0xeb, 0], &[0xff, 0xc3], &[0x48, 0xff, 0xcb]];

#[test]
fn flags_reach_what_reads_them() {
    let draws = (crate::env("TURNCOAT_DIFF_CASES", 300_000) / 80_000).max(4);
    let mut r = Random(crate::env("TURNCOAT_DIFF_SEED", 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (mut native, mut ours) = (Native::new(), Ours::new(crate::machine()));
    let (mut done, mut failed) = (0, Vec::new());
    let reading = reading();
    for (first, undefined) in leaving() {
        for (n, second) in reading.iter().enumerate() {
            let between = BETWEEN[(n + first.len() + done) % BETWEEN.len()];
            let code = [&first[..], between, second].concat();
            // LAHF shows what is undefined; an increment makes AF anew.
            if second == &[0x9f] && undefined != 0 && matches!(between, [] | [0xeb, ..]) {
                continue;
            }
            native.set_code(&code);
            ours.set_code(&code);
            for _ in 0..draws {
                let mut before = r.state();
                if r.one_in(4) {
                    before.gpr[1] = before.gpr[0];
                }
                let mut memory = [0u8; MEMORY];
                let (mut a, mut b) = (before.clone(), before.clone());
                let ends = (native.run(&mut a, &mut memory), ours.run(&mut b, &mut memory));
                done += 1;
                let mask = !(undefined | 0x1_0000);
                if ends.0 != ends.1 || a.gpr != b.gpr || (a.flags ^ b.flags) & mask != 0 {
                    failed.push(format!(
                        "{code:02x?} of {:x?}, flags {:x}: {:x?} {:x}, ours {:x?} {:x}",
                        before.gpr, before.flags, a.gpr, a.flags, b.gpr, b.flags
                    ));
                }
            }
        }
    }
    drop(native);
    println!("{done} cases");
    assert!(
        failed.is_empty(),
        "{} of {done} differ:\n{}",
        failed.len(),
        failed[..failed.len().min(8)].join("\n")
    );
}
