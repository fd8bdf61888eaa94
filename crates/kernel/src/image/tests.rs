//! Images written and read back, and images that somebody has tampered with.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A file that has no name any more when it is handed out.
fn scratch() -> File {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let path: PathBuf = std::env::temp_dir().join(format!("turncoat-image-test-{}-{n}", std::process::id()));
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .expect("scratch file");
    std::fs::remove_file(&path).expect("scratch file");
    file
}

fn scratch_with(bytes: &[u8]) -> File {
    let mut file = scratch();
    file.write_all(bytes).expect("scratch file");
    file
}

fn noise(len: usize, mut seed: u64) -> Vec<u8> {
    (0..len)
        .map(|_| {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (seed >> 56) as u8
        })
        .collect()
}

/// A small tree with one of everything, written; also the bytes of its files.
fn sample(file: &File) -> (ImageId, Vec<u8>, Vec<u8>) {
    let mut w = Writer::new(file.try_clone().expect("clone"));
    let mut t = Tree::new(Attr::root(0o755, 10));
    let big = noise(300_000, 1);
    let mut holey = vec![0; 5 * PAGE + 17];
    holey[3 * PAGE + 5] = 7;
    let dir = || NodeKind::Dir(BTreeMap::new());
    t.put(b"/usr", Attr::root(0o755, 11), dir()).expect("usr");
    t.put(b"/usr/bin", Attr::root(0o755, 12), dir()).expect("bin");
    t.put(
        b"/bin",
        Attr::root(0o777, 13),
        NodeKind::Symlink(b"usr/bin".to_vec()),
    )
    .expect("link");
    let blob = w.add(big.as_slice()).expect("data");
    assert_eq!(w.read(&blob).expect("back"), big);
    let sh = t
        .put(
            b"/bin/sh",
            Attr {
                perm: 0o4755,
                uid: 1,
                gid: 2,
                mtime: -5,
                mtime_nsec: 9,
            },
            NodeKind::File(Content::Blob(blob)),
        )
        .expect("sh");
    t.link(sh, b"/usr/bin/bash").expect("hard link");
    t.set_xattr(sh, b"security.capability", b"\x01\0\0\x02");
    t.put(
        b"/holey",
        Attr::root(0o600, 14),
        NodeKind::File(Content::Bytes(holey.clone())),
    )
    .expect("holey");
    t.put(b"/null", Attr::root(0o666, 15), NodeKind::Char(1, 3))
        .expect("null");
    t.put(b"/pipe", Attr::root(0o600, 16), NodeKind::Fifo)
        .expect("pipe");
    t.put(
        b"/empty",
        Attr::root(0o600, 16),
        NodeKind::File(Content::Bytes(Vec::new())),
    )
    .expect("empty");
    (w.finish(&t, &[("arch", "amd64")]).expect("finish"), big, holey)
}

#[test]
fn written_and_read_back() {
    let file = scratch();
    let (id, big, holey) = sample(&file);
    let image = Image::open_with(file, 20 * PAGE).expect("open");
    assert_eq!(image.id(), id);
    assert_eq!(image.info("arch"), Some("amd64"));
    let names: Vec<_> = image
        .readdir(image.root())
        .expect("root")
        .map(|e| e.name.to_vec())
        .collect();
    assert_eq!(
        names,
        [b"bin".as_slice(), b"empty", b"holey", b"null", b"pipe", b"usr"]
    );
    let sh = image.resolve(b"/bin/./sh").expect("resolve").expect("sh");
    assert_eq!(image.resolve(b"/usr/bin/../bin/bash").expect("resolve"), Some(sh));
    assert_eq!(image.resolve(b"/bin/sh/x").expect("resolve"), None);
    let meta = image.inode(sh).expect("inode");
    assert_eq!(
        (
            meta.mode(),
            meta.uid,
            meta.gid,
            meta.nlink,
            meta.mtime,
            meta.mtime_nsec
        ),
        (0o104755, 1, 2, 2, -5, 9)
    );
    assert_eq!(meta.size, big.len() as u64);
    assert_eq!(image.read_all(sh, 1 << 20).expect("data"), big);
    for name in [b"/holey".as_slice(), b"/bin/sh"] {
        let ino = image.resolve(name).expect("resolve").expect("file");
        for pages in 0..100 {
            let holes = (0..pages).filter(|&i| {
                image.page(ino, i).expect("page").is_none() || image.is_hole(ino, i).expect("hole")
            });
            assert_eq!(image.holes(ino, pages).expect("holes"), holes.count() as u64);
        }
    }
    let mut part = [0; 5000];
    assert_eq!(image.read(sh, 299_000, &mut part).expect("tail"), 1000);
    assert_eq!(part[..1000], big[299_000..]);
    assert_eq!(image.read(sh, u64::MAX, &mut part).expect("past"), 0);
    assert_eq!(
        image.xattrs(sh).expect("xattrs"),
        [(b"security.capability".as_slice(), b"\x01\0\0\x02".as_slice())]
    );
    let h = image.resolve(b"/holey").expect("resolve").expect("holey");
    assert_eq!(image.read_all(h, 1 << 20).expect("data"), holey);
    assert!(image.is_hole(h, 0).expect("hole") && !image.is_hole(h, 3).expect("hole"));
    assert!(image.page(h, 6).expect("behind").is_none());
    let null = image
        .lookup(image.root(), b"null")
        .expect("lookup")
        .expect("null");
    assert_eq!(image.inode(null).expect("null").rdev, (1, 3));
    assert!(matches!(image.readlink(null), Err(ImageError::WrongKind { .. })));
    assert!(matches!(image.inode(Ino::new(0)), Err(ImageError::NoInode(_))));
    assert!(matches!(
        image.inode(Ino::new(u32::MAX)),
        Err(ImageError::NoInode(_))
    ));
    let usr = image.lookup(image.root(), b"usr").expect("lookup").expect("usr");
    assert_eq!(
        (
            image.inode(usr).expect("usr").nlink,
            image.parent(usr).expect("parent")
        ),
        (3, image.root())
    );
    image.verify(|_, _| {}).expect("verify");
}

#[test]
fn same_page_is_the_same_for_everybody_and_the_cache_is_bounded() {
    let file = scratch();
    let (_, big, _) = sample(&file);
    let image = Image::open_with(file, 32 * PAGE).expect("open");
    let sh = image.resolve(b"/bin/sh").expect("resolve").expect("sh");
    let a = image.page(sh, 3).expect("page").expect("page");
    let b = image.page(sh, 3).expect("page").expect("page");
    assert!(a.ptr_eq(&b));
    std::thread::scope(|s| {
        for t in 0..4u64 {
            let (image, big) = (&image, &big);
            s.spawn(move || {
                for i in 0..400u64 {
                    let index = (i * (t + 3)) % (big.len() as u64 / PAGE as u64);
                    let mut got = [0; PAGE];
                    image.read(sh, index * PAGE as u64, &mut got).expect("read");
                    assert_eq!(got, big[index as usize * PAGE..][..PAGE]);
                }
            });
        }
    });
    let stats = image.cache_stats();
    assert!(stats.pages <= stats.limit && stats.limit == 32, "{stats:?}");
}

#[test]
fn same_input_same_bytes() {
    let (a, b) = (scratch(), scratch());
    assert_eq!(sample(&a).0, sample(&b).0);
}

/// All bytes of a sample image.
fn sample_bytes() -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let file = scratch();
    sample(&file);
    let mut bytes = vec![0; file.metadata().expect("length").len() as usize];
    file.read_exact_at(&mut bytes, 0).expect("bytes");
    bytes
}

/// Asks an image everything.
fn walk(image: &Image) {
    for n in 0..=image.inode_count() + 1 {
        let ino = Ino::new(n);
        let _ = (
            image.readlink(ino),
            image.xattrs(ino),
            image.parent(ino),
            image.read_all(ino, 1 << 20),
        );
        if let Ok(entries) = image.readdir(ino) {
            assert!(entries.len() < 1 << 20);
        }
    }
    let _ = (image.os_release(), image.packages(), image.verify(|_, _| {}));
}

#[test]
fn damage_is_found() {
    let good = sample_bytes();
    assert!(matches!(
        Image::open(scratch_with(b"")),
        Err(ImageError::NotAnImage)
    ));
    assert!(matches!(
        Image::open(scratch_with(&good[..good.len() - 1])),
        Err(ImageError::Truncated { .. })
    ));
    let mut newer = good.clone();
    newer[8] = 2;
    assert!(matches!(
        Image::open(scratch_with(&newer)),
        Err(ImageError::Version { found: 2 })
    ));
    for at in (0..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        let found = Image::open(scratch_with(&bad)).and_then(|image| image.verify(|_, _| {}));
        assert!(found.is_err(), "a changed byte at {at} was not found");
    }
}

#[test]
fn hostile_tables_never_panic() {
    // Behind the hashes: the tables themselves are changed and the hashes made right again, as an attacker would.
    let good = sample_bytes();
    let word = |at: usize| u64::from_le_bytes(good[at..at + 8].try_into().expect("8 bytes")) as usize;
    let (at, raw_len) = (word(16), word(32));
    let raw = lz4_flex::block::decompress(&good[at..], raw_len).expect("tables");
    let mut opened = 0;
    let mut random = noise(4 * 20_000, 99).into_iter();
    let mut next = || u32::from_le_bytes([0; 4].map(|_: u8| random.next().unwrap_or(0)));
    for round in 0..6000usize {
        let mut bad = raw.clone();
        for _ in 0..1 + round % 3 {
            let i = next() as usize % bad.len();
            bad[i] = match next() % 4 {
                0 => 0,
                1 => 0xff,
                2 => bad[i].wrapping_add(1),
                _ => next() as u8,
            };
        }
        if round % 7 == 0 {
            bad.truncate(next() as usize % bad.len());
        }
        let stored = lz4_flex::block::compress(&bad);
        let mut file = good[..at].to_vec();
        file[..format::HEADER].copy_from_slice(&format::header(at as u64, &stored, bad.len() as u64));
        file.extend(stored);
        if let Ok(image) = Image::open(scratch_with(&file)) {
            opened += 1;
            walk(&image);
        }
    }
    assert!(
        opened > 100,
        "too few got past the first checks to mean anything: {opened}"
    );
}
