//! What a thread remembers of where code is must never show: not after a fork, nor after mappings have changed.

use turncoat_cpu::{Cpu, Exit, Machine, PageRef, Prot, RAX, Share, Space, run};

const CODE: u64 = 0x40_0000;
const DATA: u64 = 0x50_0000;
const RX: Prot = Prot::from_bits(5);
const RW: Prot = Prot::from_bits(3);

/// `mov eax, n; jmp to`: to another page, so that the way there is looked up.
fn hop(n: u32, from: u64, to: u64) -> PageRef {
    let mut code = vec![0xb8];
    code.extend(n.to_le_bytes());
    code.push(0xe9);
    code.extend((to.wrapping_sub(from + 10) as u32).to_le_bytes());
    PageRef::from_slice(&code)
}

/// `mov ebx, eax; mov eax, n; syscall`.
fn end(n: u32) -> PageRef {
    let mut code = vec![0x89, 0xc3, 0xb8];
    code.extend(n.to_le_bytes());
    code.extend([0x0f, 0x05]);
    PageRef::from_slice(&code)
}

fn program() -> Space {
    let mut s = Space::new();
    s.map(CODE, hop(1, CODE, CODE + 0x1000), RX, Share::Private);
    s.map(CODE + 0x1000, end(2), RX, Share::Private);
    s.map(DATA, PageRef::zeroed(), RW, Share::Private);
    s
}

/// Runs from the beginning to the system call: EBX and EAX then, or the fault's address.
fn go(s: &mut Space) -> Result<(u64, u64), u64> {
    let mut cpu = Cpu::default();
    cpu.rip = CODE;
    match run(&mut cpu, s, &mut Machine::default(), &mut 1000) {
        Exit::Syscall => Ok((cpu.gpr[turncoat_cpu::RBX], cpu.gpr[RAX])),
        Exit::Fault(f) => Err(f.addr),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_child_runs_its_own_code() {
    let mut parent = program();
    assert_eq!(go(&mut parent), Ok((1, 2)));
    let mut child = parent.fork();
    assert_eq!(go(&mut child), Ok((1, 2)));
    child.map(CODE + 0x1000, end(3), RX, Share::Private);
    assert_eq!(go(&mut child), Ok((1, 3)));
    assert_eq!(go(&mut parent), Ok((1, 2)));
    parent.map(CODE + 0x1000, end(4), RX, Share::Private);
    assert_eq!(go(&mut parent), Ok((1, 4)));
    assert_eq!(go(&mut child), Ok((1, 3)));
}

#[test]
fn a_child_that_changes_before_it_runs() {
    let mut parent = program();
    assert_eq!(go(&mut parent), Ok((1, 2)));
    let mut child = parent.fork();
    child.map(CODE + 0x1000, end(5), RX, Share::Private);
    assert_eq!(go(&mut child), Ok((1, 5)));
    let mut child = parent.fork();
    child.unmap(CODE + 0x1000, 0x1000);
    assert_eq!(go(&mut child), Err(CODE + 0x1000));
    let mut child = parent.fork();
    child.protect(CODE + 0x1000, 0x1000, Prot::READ);
    assert_eq!(go(&mut child), Err(CODE + 0x1000));
    assert_eq!(go(&mut parent), Ok((1, 2)));
}

#[test]
fn what_the_parent_finds_later_is_not_the_childs() {
    let mut parent = program();
    parent.unmap(CODE + 0x1000, 0x1000);
    assert_eq!(go(&mut parent), Err(CODE + 0x1000));
    let mut child = parent.fork();
    parent.map(CODE + 0x1000, end(6), RX, Share::Private);
    assert_eq!(go(&mut parent), Ok((1, 6)));
    assert_eq!(go(&mut child), Err(CODE + 0x1000));
    drop(parent);
    child.map(CODE + 0x1000, end(7), RX, Share::Private);
    assert_eq!(go(&mut child), Ok((1, 7)));
}

#[test]
fn mappings_that_change() {
    let mut s = program();
    for n in 10..40u32 {
        match n % 4 {
            // Data comes, goes and is protected: code stays where it is.
            0 => s.unmap(DATA, 0x1000),
            1 => s.map(DATA, PageRef::zeroed(), RW, Share::Private),
            2 => s.protect(DATA, 0x1000, Prot::READ),
            // Code is moved away, other code comes in its place.
            _ => {
                s.relocate(CODE + 0x1000, CODE + 0x8000, 0x1000);
                assert_eq!(go(&mut s), Err(CODE + 0x1000));
                s.map(CODE + 0x1000, end(n), RX, Share::Private);
            }
        }
        let last = if n < 11 { 2 } else { n - (n - 11) % 4 };
        assert_eq!(go(&mut s), Ok((1, u64::from(last))), "{n}");
    }
    // Rights that come and go; a write from outside through a mapping that is writable for a while.
    s.protect(CODE + 0x1000, 0x1000, RW);
    assert_eq!(go(&mut s), Err(CODE + 0x1000));
    s.write(CODE + 0x1003, &77u32.to_le_bytes()).expect("writable");
    s.protect(CODE + 0x1000, 0x1000, RX);
    assert_eq!(go(&mut s), Ok((1, 77)));
    // Code that is written while it stays code.
    s.protect(CODE + 0x1000, 0x1000, Prot::from_bits(7));
    assert_eq!(go(&mut s), Ok((1, 77)));
    s.write(CODE + 0x1003, &78u32.to_le_bytes()).expect("writable");
    assert_eq!(go(&mut s), Ok((1, 78)));
    let mut child = s.fork();
    assert_eq!(go(&mut child), Ok((1, 78)));
    s.write(CODE + 0x1003, &79u32.to_le_bytes()).expect("writable");
    assert_eq!((go(&mut s), go(&mut child)), (Ok((1, 79)), Ok((1, 78))));
    child
        .write(CODE + 0x1003, &80u32.to_le_bytes())
        .expect("writable");
    assert_eq!((go(&mut s), go(&mut child)), (Ok((1, 79)), Ok((1, 80))));
}

#[test]
fn a_rest_in_between() {
    let mut s = program();
    s.protect(CODE + 0x1000, 0x1000, Prot::from_bits(7));
    assert_eq!(go(&mut s), Ok((1, 2)));
    let mut bytes = Vec::new();
    let resting = s.rest(&mut bytes);
    assert!(!resting.is_empty());
    s.rise(&resting, &bytes);
    assert_eq!(go(&mut s), Ok((1, 2)));
}
