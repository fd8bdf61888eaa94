//! Disks: what is written comes back on another snapshot, and no bytes do harm.

use super::disk::{Base, MAGIC};
use super::tests::World;
use super::*;
use std::collections::BTreeMap;

const NOW: Timespec = Timespec {
    sec: 1_700_001_000,
    nsec: 0,
};

fn snapshot(more: &[&str]) -> World {
    let mut w = World::new();
    for path in more {
        w.put(path, 0o644, 0, "another time\n");
    }
    w.put("/etc/motd", 0o644, 0, "hello\n");
    w.put("/etc/passwd", 0o644, 0, "root:x:0:0::/root:/bin/sh\n");
    w.put("/etc/old/a", 0o644, 0, "a");
    w.put("/etc/old/b/c", 0o644, 0, "c");
    w.put("/srv/moved/inside", 0o640, 7, "inside");
    w.dir("/root", 0o700, 0);
    w.dir("/tmp", 0o1777, 0);
    w
}

fn clone(w: &mut World) -> World {
    let vfs = w.vfs.fork();
    let root = vfs.root_path();
    World {
        vfs,
        root: root.clone(),
        cwd: root,
        ..World::new()
    }
}

fn write(w: &mut World, path: &str, at: u64, bytes: &[u8]) {
    w.with(|v, c| {
        let flags = oflag::RDWR | oflag::CREAT;
        let o = v.open(c, c.cwd, path.as_bytes(), flags, 0o640, 0).unwrap();
        v.write(c, &o.path, at, bytes).unwrap();
    });
}

/// Changes of every kind.
fn live(w: &mut World) {
    write(w, "/etc/motd", 6, b"and more\n");
    write(w, "/root/.new", 0, b"mine");
    write(w, "/root/sparse", 1 << 20, b"end");
    write(w, "/tmp/large", 0, &[7; 9000]);
    w.with(|v, c| {
        let at = c.cwd;
        v.unlink(c, at, b"/etc/old/a").unwrap();
        v.unlink(c, at, b"/etc/old/b/c").unwrap();
        v.rmdir(c, at, b"/etc/old/b").unwrap();
        v.mkdir(c, at, b"/srv/deep", 0o2750).unwrap();
        v.rename(c, at, b"/srv/moved", at, b"/srv/deep/here", 0).unwrap();
        v.symlink(c, b"/etc/motd", at, b"/root/link").unwrap();
        v.link(c, at, b"/root/.new", at, b"/root/twice", 0).unwrap();
        v.rename(c, at, b"/root/sparse", at, b"/etc/passwd", 0).unwrap();
        v.chown(c, at, b"/root/.new", 1000, 100, 0).unwrap();
        v.mknod(c, at, b"/root/fifo", mode::IFIFO | 0o600, 0).unwrap();
        let p = v.walk(c, at, b"/root/.new", 0).unwrap();
        v.put_xattr(p.ino, b"user.note", b"x").unwrap();
        // A file without a name, held open, is not on a disk.
        let o = v
            .open(c, at, b"/root/gone", oflag::RDWR | oflag::CREAT, 0o600, 0)
            .unwrap();
        v.hold(o.path.ino);
        v.write(c, &o.path, 0, b"gone").unwrap();
        v.unlink(c, at, b"/root/gone").unwrap();
    });
}

type Seen = BTreeMap<String, (u32, u32, u32, u64, u32, Timespec, Vec<u8>)>;

/// Everything below the root of the disk.
fn tree(w: &mut World) -> Seen {
    let mut out = Seen::new();
    let mut dirs = vec![String::new()];
    while let Some(dir) = dirs.pop() {
        let mut names = Vec::new();
        w.with(|v, c| {
            let p = v.walk(c, c.cwd, format!("{dir}/").as_bytes(), 0).unwrap();
            v.getdents(c, &p, 0, &mut |e| {
                names.push(String::from_utf8_lossy(&e.name).into_owned());
                true
            })
            .unwrap();
        });
        for name in names {
            let path = format!("{dir}/{name}");
            if name == "." || name == ".." || ["/proc", "/sys", "/dev", "/run"].contains(&&*path) {
                continue;
            }
            let (s, xattrs) = w.with(|v, c| {
                let p = v.walk(c, c.cwd, path.as_bytes(), wflag::NOFOLLOW).unwrap();
                let x = v.fs(p.ino).unwrap().xattrs(p.ino.num());
                (v.fstat(c, &p).unwrap(), format!("{x:?}"))
            });
            let content = match s.mode & mode::IFMT {
                mode::IFDIR => {
                    dirs.push(path.clone());
                    Vec::new()
                }
                mode::IFREG => {
                    let mut buf = vec![0; s.size as usize];
                    w.with(|v, c| {
                        let p = v.walk(c, c.cwd, path.as_bytes(), 0).unwrap();
                        v.read(c, &p, 0, &mut buf).unwrap();
                    });
                    buf
                }
                mode::IFLNK => w.with(|v, c| v.readlink(c, c.cwd, path.as_bytes()).unwrap().to_vec()),
                _ => Vec::new(),
            };
            let content = [content, xattrs.into_bytes()].concat();
            out.insert(
                path,
                (
                    s.mode,
                    s.uid,
                    s.gid,
                    s.nlink.into(),
                    s.blocks as u32,
                    s.mtime,
                    content,
                ),
            );
        }
    }
    out
}

fn lived() -> (World, Base, Vec<u8>) {
    let mut start = snapshot(&[]);
    let base = start.vfs.base().unwrap();
    let mut w = clone(&mut start);
    live(&mut w);
    let disk = w.vfs.disk(&base).unwrap();
    (w, base, disk)
}

#[test]
fn a_disk_comes_back_over_the_same_snapshot_and_over_another() {
    let (mut w, base, disk) = lived();
    assert!(disk.len() < 4000, "{}", disk.len());
    let want = tree(&mut w);
    assert!(want.contains_key("/srv/deep/here/inside") && !want.contains_key("/etc/old/b"));
    // A snapshot of another time: other files were laid down first, so that every number is another one.
    for more in [&[][..], &["/etc/aaa", "/var/log/new", "/etc/zzz/y"]] {
        let mut other = snapshot(more);
        let mut back = clone(&mut other);
        back.vfs.restore(&super::tests::idle(), &disk).unwrap();
        let mut got = tree(&mut back);
        for path in more {
            assert!(got.remove(*path).is_some());
        }
        got.remove("/etc/zzz");
        got.remove("/var/log");
        got.remove("/var");
        let (mut want, mut got) = (want.clone(), got);
        if !more.is_empty() {
            // The directory that got other names was made with them.
            want.remove("/etc");
            got.remove("/etc");
        }
        assert_eq!(got, want);
        assert_eq!(
            back.vfs.objects.usage().0,
            w.vfs.objects.usage().0 - 1,
            "but for the file without a name"
        );
    }
    // Nothing changed: nothing is written.
    let mut start = snapshot(&[]);
    let same = start.vfs.base().unwrap();
    let empty = clone(&mut start).vfs.disk(&same).unwrap();
    assert!(empty.len() < MAGIC.len() + 16);
    drop(base);
}

#[test]
fn what_a_reboot_keeps_is_the_disk() {
    let (mut w, base, _) = lived();
    write(&mut w, "/run/lost", 0, b"x");
    let want = tree(&mut w);
    let disk = w.vfs.disk(&base).unwrap();
    let before = w.vfs.objects.usage().0;
    let vfs = std::mem::replace(&mut w.vfs, World::new().vfs);
    w.vfs = Vfs::again(vfs, &boot::Plan::default());
    w.root = w.vfs.root_path();
    w.cwd = w.root.clone();
    w.with(|v, c| v.mount_standard(c)).unwrap();
    assert_eq!(tree(&mut w), want);
    assert!(w.cat("/run/lost").is_err());
    assert_eq!(
        w.vfs.objects.usage().0,
        before - 2,
        "memory and the file without a name"
    );
    assert_eq!(w.vfs.disk(&base).unwrap(), disk);
    w.vfs.empty(b"/tmp", NOW);
    assert!(w.cat("/tmp/large").is_err());
    assert_eq!(w.vfs.objects.usage().0, before - 5);
}

#[test]
fn no_bytes_do_harm() {
    let (_, _, good) = lived();
    let (head, packed) = good.split_at(MAGIC.len() + 4);
    let size = u32::from_le_bytes(head[MAGIC.len()..].try_into().unwrap()) as usize;
    let body = lz4_flex::block::decompress(packed, size).unwrap();
    let mut start = snapshot(&[]);
    let mut state = 5u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let mut whole = 0;
    for round in 0..1_500 {
        let mut bad = body.clone();
        for _ in 0..1 + round % 6 {
            let at = random() % bad.len();
            match random() % 4 {
                0 => bad[at] = random() as u8,
                1 => bad[at] ^= 1 << (random() % 8),
                2 => drop(bad.remove(at)),
                _ => bad.insert(at, random() as u8),
            }
        }
        if round % 9 == 0 {
            bad.truncate(random() % bad.len());
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend((bad.len() as u32).to_le_bytes());
        bytes.extend(lz4_flex::block::compress(&bad));
        let mut w = clone(&mut start);
        whole += u32::from(w.vfs.restore(&super::tests::idle(), &bytes).is_ok());
        // Every name leads somewhere, and the walk has an end.
        assert!(tree(&mut w).len() < 100);
    }
    assert!(whole > 100, "{whole}");
    for bytes in [&b""[..], MAGIC, b"turncoat disk 1\n\xff\xff\xff\xff"] {
        assert!(
            clone(&mut start)
                .vfs
                .restore(&super::tests::idle(), bytes)
                .is_err()
        );
    }
}
