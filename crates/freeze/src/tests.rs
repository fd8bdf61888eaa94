use super::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

#[derive(Freeze, Clone, PartialEq, Debug)]
enum Shape {
    Dot,
    Line(i32, u64),
    Named { name: String, kind: &'static str },
    Nest(Vec<Shape>),
}

#[derive(Freeze, Clone, PartialEq, Debug)]
struct All<T> {
    shapes: Vec<Shape>,
    map: BTreeMap<u32, Arc<T>>,
    set: BTreeSet<(u64, bool)>,
    queue: VecDeque<u8>,
    text: Arc<str>,
    bytes: Arc<[u8]>,
    addr: std::net::SocketAddr,
    array: [u16; 3],
    wide: u128,
    maybe: Option<Box<i64>>,
    #[freeze(base)]
    fixed: Arc<u8>,
}

fn base() -> All<Vec<u8>> {
    All {
        shapes: vec![Shape::Dot],
        map: (0..50).map(|n| (n, Arc::new(vec![n as u8; 1000]))).collect(),
        set: BTreeSet::new(),
        queue: VecDeque::new(),
        text: "base".into(),
        bytes: Arc::from(&b"bytes"[..]),
        addr: "[2001:db8::1%3]:22".parse().unwrap(),
        array: [1, 2, 3],
        wide: u128::MAX - 5,
        maybe: None,
        fixed: Arc::new(7),
    }
}

fn moved(base: &All<Vec<u8>>) -> All<Vec<u8>> {
    let mut all = base.clone();
    all.shapes = vec![
        Shape::Line(i32::MIN, u64::MAX),
        Shape::Named {
            name: "n".into(),
            kind: "word",
        },
        Shape::Nest(vec![Shape::Dot, Shape::Nest(vec![])]),
    ];
    Arc::make_mut(all.map.get_mut(&7).unwrap()).push(1);
    let shared = Arc::new(vec![9; 100]);
    all.map.insert(100, shared.clone());
    all.map.insert(101, shared);
    all.map.insert(102, all.map[&3].clone());
    all.set.extend([(1, true), (u64::MAX, false)]);
    all.queue.extend(*b"queue");
    all.queue.rotate_left(2);
    all.maybe = Some(Box::new(-1));
    all
}

fn put(all: &All<Vec<u8>>, base: &All<Vec<u8>>) -> Vec<u8> {
    let mut out = Out::new(1 << 20);
    all.put(Some(base), &mut out);
    out.done().unwrap()
}

fn take(bytes: &[u8], base: &All<Vec<u8>>) -> Result<All<Vec<u8>>, Damaged> {
    let mut from = In::new(bytes, 0);
    let all = All::take(Some(base), &mut from)?;
    from.end()?;
    Ok(all)
}

#[test]
fn what_was_written_comes_back_and_what_was_shared_is_shared() {
    let base = base();
    let all = moved(&base);
    let bytes = put(&all, &base);
    assert!(
        bytes.len() < 2000,
        "the base's own is not written: {}",
        bytes.len()
    );
    // Another base that is equal.
    let other = self::base();
    let back = take(&bytes, &other).unwrap();
    assert_eq!(back, all);
    assert!(Arc::ptr_eq(&back.map[&100], &back.map[&101]));
    assert!(Arc::ptr_eq(&back.map[&102], &other.map[&3]));
    assert!(Arc::ptr_eq(&back.map[&1], &other.map[&1]));
    assert!(!Arc::ptr_eq(&back.map[&7], &other.map[&7]));
    assert_eq!(put(&back, &other), bytes);
    let mut small = Out::new(100);
    all.put(Some(&base), &mut small);
    assert_eq!(small.done(), None);
}

#[test]
fn damaged_bytes_do_no_harm() {
    let base = base();
    let bytes = put(&moved(&base), &base);
    for n in 0..bytes.len() {
        assert!(take(&bytes[..n], &base).is_err(), "cut at {n}");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1 << bit;
            let _ = take(&wrong, &base);
        }
    }
    let deep = [[3, 1]; 1000].concat();
    assert_eq!(
        Shape::take(None, &mut In::new(&deep, 0)),
        Err(Damaged("nested too deeply"))
    );
    let long = [0xff; 30];
    assert_eq!(In::new(&long, 0).count(), Err(Damaged("a number is too large")));
}
