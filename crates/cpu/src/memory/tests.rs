//! Tests of memory that Miri can run.

use super::*;
use crate::fault::FaultKind;

const RW: Prot = Prot::from_bits(3);

#[test]
fn fork_copies_on_write_both_ways() {
    let mut a = Space::new();
    a.map(0x1000, PageRef::from_slice(b"one"), RW, Share::Private);
    a.map(0x2000, PageRef::zeroed(), RW, Share::Private);
    let mut b = a.fork();
    assert_eq!(a.stats().owned, 0);
    b.write(0x1000, b"two").expect("mapped");
    a.write(0x1ffe, b"four").expect("mapped");
    let get = |s: &Space, va| {
        let mut buf = [0; 4];
        s.read(va, &mut buf).expect("mapped");
        buf
    };
    assert_eq!(&get(&a, 0x1000), b"one\0");
    assert_eq!(&get(&b, 0x1000), b"two\0");
    assert_eq!(&get(&a, 0x1ffe), b"four");
    assert_eq!(&get(&b, 0x1ffe), &[0; 4]);
    assert_eq!(
        (a.stats().copied, b.stats()),
        (
            2,
            Stats {
                present: 2,
                owned: 1,
                copied: 1
            }
        )
    );
}

#[test]
fn shared_pages_are_seen_by_all_and_clone_freezes() {
    let page = PageRef::zeroed();
    let mut a = Space::new();
    a.map(0x5000, page.clone(), RW, Share::Shared);
    a.map(0x6000, PageRef::zeroed(), RW, Share::Private);
    let mut b = a.clone();
    a.write(0x5000, b"x").expect("mapped");
    a.write(0x6000, b"y").expect("mapped");
    assert_eq!(b.read_u32(0x5000).expect("mapped"), u32::from(b'x'));
    assert_eq!(b.read_u32(0x6000).expect("mapped"), 0);
    b.write(0x5001, b"z").expect("mapped");
    let mut two = [0; 2];
    page.read(0, &mut two);
    assert_eq!(&two, b"xz");
}

#[test]
fn faults_tell_how_far_a_copy_came() {
    let mut a = Space::new();
    a.map(0x1000, PageRef::zeroed(), RW, Share::Private);
    a.map(0x2000, PageRef::zeroed(), Prot::READ, Share::Private);
    let f = a.write(0x1ff0, &[1; 32]).expect_err("read-only page");
    assert_eq!(
        (f.kind, f.addr, f.done, f.error_code),
        (FaultKind::Page, 0x2000, 16, 7)
    );
    let f = a.read(0x2ff8, &mut [0; 16]).expect_err("absent page");
    assert_eq!((f.addr, f.done, f.error_code), (0x3000, 8, 4));
    assert!(a.read(u64::MAX - 3, &mut [0; 8]).is_err());
    assert_eq!(a.read_cstr(0x1ff0, 100).expect("mapped").expect("ends").len(), 16);
    assert_eq!(a.read_cstr(0x1ff0, 4).expect("mapped"), None);
}

#[test]
fn unmap_protect_relocate_keep_counts() {
    let mut a = Space::new();
    for i in 0..200 {
        a.map(
            0x10_0000 + i * 4096,
            PageRef::from_slice(&i.to_le_bytes()),
            RW,
            Share::Private,
        );
    }
    assert_eq!((a.stats().present, a.stats().owned), (200, 200));
    a.unmap(0x10_0000 + 10 * 4096, 100 * 4096);
    assert_eq!((a.stats().present, a.stats().owned), (100, 100));
    a.protect(0, u64::MAX, Prot::READ);
    assert!(a.write(0x10_0000, b"a").is_err());
    a.relocate(0x10_0000, 0x4000_0000, 200 * 4096);
    assert_eq!((a.stats().present, a.stats().owned), (100, 100));
    assert_eq!(a.read_u64(0x4000_0000 + 150 * 4096).expect("moved"), 150);
    assert_eq!(a.present(0, 1 << 47).count(), 100);
    assert!(a.page(0x10_0000).is_none());
    let _view = a.page(0x4000_0000).expect("moved");
    a.protect(0x4000_0000, 4096, RW);
    a.write(0x4000_0000, b"!").expect("writable");
    assert_eq!(a.stats().copied, 1);
    a.unmap(0, u64::MAX);
    assert_eq!(a.stats(), Stats::default());
}
