//! What needs several users, or has an answer that is known.

use super::*;
use crate::proc::view::{FdTarget, FdView};
use crate::sysfs::facts::Facts;
use crate::vfs::attr::SetTime;

#[test]
fn cover_files_are_read_and_written_over() {
    let mut w = World::new();
    w.put("/etc/motd", 0o644, 0, "hello\n");
    assert_eq!(w.cat("/etc/motd").unwrap(), b"hello\n");
    let mut other = World {
        vfs: w.vfs.fork(),
        view: Idle {
            facts: Facts::default(),
            exe: None,
            fds: vec![],
        },
        ..World::new()
    };
    let o = w.open("/etc/motd", oflag::RDWR).unwrap();
    w.with(|v, c| v.write(c, &o.path, 3, b"p!!!\nmore")).unwrap();
    assert_eq!(w.cat("/etc/motd").unwrap(), b"help!!!\nmore");
    other.root = other.vfs.root_path();
    other.cwd = other.root.clone();
    assert_eq!(other.cat("/etc/motd").unwrap(), b"hello\n");
    // After a second clone neither side sees the other's writes.
    let mut third = World {
        vfs: w.vfs.fork(),
        ..World::new()
    };
    w.with(|v, c| v.write(c, &o.path, 0, b"W")).unwrap();
    third.with(|v, c| v.write(c, &o.path, 0, b"T")).unwrap();
    assert_eq!(
        (w.cat("/etc/motd").unwrap()[0], third.cat("/etc/motd").unwrap()[0]),
        (b'W', b'T')
    );
}

#[test]
fn permissions_as_linux_checks_them() {
    let mut w = World::new();
    w.put("/etc/shadow", 0o640, 0, "root:*:1::::::\n");
    w.dir("/root", 0o700, 0);
    w.put("/root/x", 0o644, 0, "");
    w.dir("/tmp", 0o1777, 0);
    w.put("/tmp/theirs", 0o644, 0, "");
    w.user(1000);
    assert_eq!(w.cat("/etc/shadow"), Err(Errno::EACCES));
    assert_eq!(w.cat("/root/x"), Err(Errno::EACCES));
    assert_eq!(
        w.with(|v, c| v.unlink(c, c.cwd, b"/tmp/theirs")),
        Err(Errno::EPERM)
    );
    assert_eq!(
        w.with(|v, c| v.mkdir(c, c.cwd, b"/etc/x", 0o755)).map(drop),
        Err(Errno::EACCES)
    );
    assert_eq!(
        w.with(|v, c| v.chmod(c, c.cwd, b"/tmp/theirs", 0o777, 0)),
        Err(Errno::EPERM)
    );
    assert_eq!(
        w.with(|v, c| v.link(c, c.cwd, b"/etc/shadow", c.cwd, b"/tmp/s", 0)),
        Err(Errno::EPERM)
    );
    // A symlink of somebody else in a sticky directory is not followed.
    w.with(|v, c| v.symlink(c, b"/etc/hostname", c.cwd, b"/tmp/mine"))
        .unwrap();
    w.put("/etc/hostname", 0o644, 0, "h\n");
    assert!(w.cat("/tmp/mine").is_ok());
    w.user(1001);
    assert_eq!(w.cat("/tmp/mine"), Err(Errno::EACCES));
    // The capability opens what the mode closes, but not execution of what nobody may execute.
    w.creds.caps = 1 << cap::DAC_OVERRIDE;
    assert!(w.cat("/etc/shadow").is_ok());
    assert_eq!(
        w.with(|v, c| v.access(c, c.cwd, b"/etc/shadow", may::EXEC, 0)),
        Err(Errno::EACCES)
    );
}

#[test]
fn immutable_and_append_only_hold_against_root() {
    let mut w = World::new();
    w.put("/etc/keys", 0o600, 0, "k");
    let p = w.with(|v, c| v.walk(c, c.cwd, b"/etc/keys", 0)).unwrap();
    w.with(|v, c| v.set_flags(c, &p, perm::fl::IMMUTABLE)).unwrap();
    assert_eq!(
        w.with(|v, c| v.flags(c, &p)).unwrap() & perm::fl::IMMUTABLE,
        perm::fl::IMMUTABLE
    );
    assert_eq!(w.open("/etc/keys", oflag::WRONLY), Err(Errno::EPERM));
    assert_eq!(w.with(|v, c| v.unlink(c, c.cwd, b"/etc/keys")), Err(Errno::EPERM));
    assert_eq!(
        w.with(|v, c| v.rename(c, c.cwd, b"/etc/keys", c.cwd, b"/etc/k2", 0)),
        Err(Errno::EPERM)
    );
    assert_eq!(
        w.with(|v, c| v.chmod(c, c.cwd, b"/etc/keys", 0, 0)),
        Err(Errno::EPERM)
    );
    w.with(|v, c| v.set_flags(c, &p, perm::fl::APPEND)).unwrap();
    assert_eq!(w.open("/etc/keys", oflag::WRONLY), Err(Errno::EPERM));
    assert!(w.open("/etc/keys", oflag::WRONLY | oflag::APPEND).is_ok());
    w.with(|v, c| v.set_flags(c, &p, 0)).unwrap();
    w.with(|v, c| v.unlink(c, c.cwd, b"/etc/keys")).unwrap();
}

#[test]
fn unlinked_files_live_while_held() {
    let mut w = World::new();
    let o = w.open("/f", oflag::CREAT | oflag::RDWR).unwrap();
    w.vfs.hold_writer(o.path.ino);
    w.with(|v, c| v.write(c, &o.path, 0, b"alive")).unwrap();
    let used = w.vfs.objects.usage().0;
    w.with(|v, c| v.unlink(c, c.cwd, b"/f")).unwrap();
    let mut buf = [0; 5];
    assert_eq!(w.with(|v, c| v.read(c, &o.path, 0, &mut buf)), Ok(5));
    assert_eq!(w.with(|v, c| v.path_text(c, &o.path)), b"/f (deleted)");
    w.vfs.release_writer(&o.path);
    assert_eq!(w.vfs.objects.usage().0, used - 1);
    let kinds: Vec<_> = w.vfs.take_changes().into_iter().map(|c| c.kind).collect();
    assert_eq!(
        kinds,
        [ChangeKind::Created, ChangeKind::Removed, ChangeKind::Written]
    );
    // ext4 hands the number out again.
    let p = w.open("/g", oflag::CREAT | oflag::RDWR).unwrap().path;
    assert_eq!(p.ino, o.path.ino);
}

#[test]
fn a_full_disk_and_a_spent_quota_say_so() {
    let mut w = World::new();
    w.vfs.objects.set_limit(4);
    let o = w.open("/big", oflag::CREAT | oflag::WRONLY).unwrap();
    let data = vec![7; 64 * 1024];
    assert_eq!(w.with(|v, c| v.write(c, &o.path, 0, &data)), Ok(16384));
    assert_eq!(
        w.with(|v, c| v.write(c, &o.path, 16384, &data)),
        Err(Errno::ENOSPC)
    );
    w.vfs.set_inode_budget(1);
    assert!(w.open("/one", oflag::CREAT).is_ok());
    assert_eq!(w.open("/two", oflag::CREAT), Err(Errno::ENOSPC));
    let mut w = World::new();
    w.dir("/mnt", 0o755, 0);
    w.with(|v, c| v.mount(c, b"tmpfs", b"/mnt", b"tmpfs", 0, b"size=8k"))
        .unwrap();
    let o = w.open("/mnt/f", oflag::CREAT | oflag::WRONLY).unwrap();
    assert_eq!(w.with(|v, c| v.write(c, &o.path, 0, &data)), Ok(8192));
    assert_eq!(
        w.with(|v, c| v.write(c, &o.path, 8192, &data)),
        Err(Errno::ENOSPC)
    );
    let s = w.with(|v, _| v.statfs(&o.path)).unwrap();
    assert_eq!((s.blocks, s.bfree), (2, 0));
    w.with(|v, c| v.umount(c, b"/mnt", 0)).unwrap();
    assert_eq!(w.ls("/mnt"), [".", ".."]);
}

#[test]
fn locks_conflict_split_and_find_deadlocks() {
    let mut w = World::new();
    let ino = w.open("/l", oflag::CREAT | oflag::RDWR).unwrap().path.ino;
    let (a, b) = (LockKind::Posix(1), LockKind::Posix(2));
    let r = |s, l| LockRange::of(s, l).unwrap();
    let v = &mut w.vfs;
    v.lock(ino, a, r(0, 100), true, 1, false).unwrap();
    assert_eq!(v.lock(ino, b, r(50, 1), false, 2, false), Err(Errno::EAGAIN));
    v.unlock(ino, a, r(40, 20));
    v.lock(ino, b, r(45, 10), true, 2, false).unwrap();
    assert_eq!(
        v.lock_conflict(ino, b, LockRange::ALL, true).unwrap().range,
        r(0, 40)
    );
    assert_eq!(v.lock(ino, a, r(45, 1), true, 1, true), Err(Errno::EAGAIN));
    assert_eq!(v.lock(ino, b, r(0, 1), true, 2, true), Err(Errno::EDEADLK));
    v.unlock_all(ino, b);
    v.lock(ino, a, r(45, 1), true, 1, true).unwrap();
    assert!(
        v.lock(ino, LockKind::Flock(7), LockRange::ALL, true, 1, false)
            .is_ok()
    );
    assert_eq!(
        v.lock(ino, LockKind::Flock(8), LockRange::ALL, false, 2, false),
        Err(Errno::EAGAIN)
    );
    assert!(!v.take_woken().is_empty());
}

#[test]
fn watches_see_what_happens() {
    let mut w = World::new();
    w.dir("/w", 0o755, 0);
    let p = w.with(|v, c| v.walk(c, c.cwd, b"/w", 0)).unwrap();
    w.vfs.watch(p.ino, 0xfff);
    let o = w.open("/w/f", oflag::CREAT | oflag::RDWR).unwrap();
    w.with(|v, c| v.write(c, &o.path, 0, b"x")).unwrap();
    w.with(|v, c| v.rename(c, c.cwd, b"/w/f", c.cwd, b"/w/g", 0))
        .unwrap();
    w.with(|v, c| v.unlink(c, c.cwd, b"/w/g")).unwrap();
    let masks: Vec<u32> = w.vfs.take_events().iter().map(|e| e.mask).collect();
    use inmask::*;
    assert_eq!(masks, [CREATE, MODIFY, MOVED_FROM, MOVED_TO, ATTRIB, DELETE]);
}

#[test]
fn a_clone_is_cheap() {
    let mut w = World::new();
    for i in 0..5000 {
        w.put(&format!("/srv/{}/{i}", i % 50), 0o644, 0, "x");
    }
    let start = std::time::Instant::now();
    let n = 200;
    let clones: Vec<Vfs> = (0..n).map(|_| w.vfs.fork()).collect();
    let each = start.elapsed() / n;
    drop(clones);
    println!("clone of a file system: {each:?}");
    assert!(each.as_micros() < 50, "{each:?}");
}

#[test]
fn holes_are_found_and_punched() {
    let mut w = World::new();
    let p = w.open("/sparse", oflag::CREAT | oflag::RDWR).unwrap().path;
    w.with(|v, c| {
        v.write(c, &p, 1 << 20, b"data").unwrap();
        assert_eq!(v.fstat(c, &p).unwrap().blocks, 8);
        assert_eq!(v.seek_hole(&p, 0, false), Ok(1 << 20));
        assert_eq!(v.seek_hole(&p, 0, true), Ok(0));
        assert_eq!(v.seek_hole(&p, 1 << 20, true), Ok((1 << 20) + 4));
        assert_eq!(v.seek_hole(&p, 2 << 20, true), Err(Errno::ENXIO));
        v.fallocate(c, &p, 3, 1 << 20, 4096).unwrap();
        assert_eq!(v.fstat(c, &p).unwrap().blocks, 0);
        assert_eq!(v.seek_hole(&p, 0, false), Err(Errno::ENXIO));
        v.fallocate(c, &p, 0, 0, 40_960).unwrap();
        assert_eq!(v.fstat(c, &p).unwrap().blocks, 80);
        v.utimens(
            c,
            c.cwd,
            b"/sparse",
            SetTime::At(Timespec::secs(5)),
            SetTime::Omit,
            0,
        )
        .unwrap();
        assert_eq!(v.fstat(c, &p).unwrap().atime, Timespec::secs(5));
    });
}

#[test]
fn magic_links_lead_to_places_and_descriptors() {
    let mut w = World::new();
    w.put("/bin/bash", 0o755, 0, "ELF");
    w.view.exe = Some(w.with(|v, c| v.walk(c, c.cwd, b"/bin/bash", 0)).unwrap());
    w.view.fds = vec![
        FdView {
            fd: 0,
            target: FdTarget::Anon("pipe:[99]".to_owned()),
            pos: 0,
            flags: 0,
            ino: 99,
            mnt_id: 12,
            extra: String::new(),
        },
        FdView {
            fd: 3,
            target: FdTarget::Path(w.view.exe.clone().unwrap()),
            pos: 2,
            flags: 0o2,
            ino: 5,
            mnt_id: 27,
            extra: String::new(),
        },
    ];
    assert_eq!(
        w.with(|v, c| v.readlink(c, c.cwd, b"/proc/self/exe")).unwrap(),
        b"/bin/bash"
    );
    assert_eq!(w.cat("/proc/self/exe").unwrap(), b"ELF");
    assert_eq!(w.cat("/proc/42/fd/3").unwrap(), b"ELF");
    assert_eq!(
        w.with(|v, c| v.readlink(c, c.cwd, b"/dev/fd/0")).unwrap(),
        b"pipe:[99]"
    );
    assert_eq!(
        w.open("/dev/stdin", 0).unwrap().kind,
        Kind::Reopen { tid: 42, fd: 0 }
    );
    w.user(1000);
    assert_eq!(
        w.with(|v, c| v.readlink(c, c.cwd, b"/proc/1/exe")),
        Err(Errno::EACCES)
    );
    assert_eq!(w.ls("/proc/self/task"), [".", "..", "42"]);
}

/// Arguments that no sane program gives: nothing panics, and the tree can be listed afterwards.
#[test]
fn senseless_calls_do_no_harm() {
    let mut rng = Rng(99);
    let mut w = World::new();
    w.dir("/d", 0o755, 0);
    let parts: &[&[u8]] = &[
        b"/d",
        b"/proc",
        b"self",
        b"sys",
        b"kernel",
        b"hostname",
        b"42",
        b"fd",
        b"0",
        b"ns",
        b"net",
        b"..",
        b".",
        b"/",
        b"",
        b"a",
        b"b",
        b"\xff\xfe",
        b"/sys",
        b"class",
        b"/dev",
        b"pts",
        b"shm",
        b"task",
        b"exe",
        b"999999999999",
        b"-1",
        b"/run",
        b"vm",
        b"swappiness",
        b"oom_score_adj",
    ];
    let wild = [
        0u64,
        1,
        2,
        4095,
        4096,
        4097,
        1 << 31,
        1 << 32,
        (1 << 63) - 1,
        1 << 63,
        u64::MAX,
    ];
    for _ in 0..20_000 {
        let path = |rng: &mut Rng| {
            let mut p = Vec::new();
            for _ in 0..rng.below(6) {
                p.extend_from_slice(parts[rng.below(parts.len() as u64) as usize]);
                p.push(b'/');
            }
            if rng.below(4) != 0 {
                p.pop();
            }
            p
        };
        let (a, b) = (path(&mut rng), path(&mut rng));
        let mut num = || wild[rng.below(wild.len() as u64) as usize];
        let (x, y) = (num(), num());
        let which = rng.below(20);
        w.with(|v, c| -> KResult<()> {
            let p = v.walk(c, c.cwd, &a, x as u32 & 0xfff_f100)?;
            let o = v.open(c, c.cwd, &a, x as u32, y as u32, 0);
            match which {
                0 => drop(v.mkdir(c, &p, &b, x as u32)),
                1 => drop(v.mknod(c, &p, &b, x as u32, y)),
                2 => drop(v.symlink(c, &b, &p, b"a")),
                3 => drop(v.link(c, &p, &b, &p, b"b", y as u32)),
                4 => drop(v.rename(c, &p, &b, &p, b"a", y as u32 & 7)),
                5 => drop(v.unlink(c, &p, &b)),
                6 => drop(v.fallocate(c, &p, x as u32 & 0x13, x as i64, y as i64)),
                7 => drop(v.write(c, &p, x, b"data")),
                8 => drop(v.set_len(c, &p, y)),
                9 => drop(v.seek_hole(&p, x, y & 1 == 0)),
                10 => drop(v.setxattr(c, &p, b"user.x", &b, y as u32 & 3)),
                11 => drop(v.synthetic_write(c, p.ino, &b)),
                12 => drop(v.synthetic(c, p.ino)),
                13 => drop(v.utimens_at(
                    c,
                    &p,
                    SetTime::At(Timespec {
                        sec: x as i64,
                        nsec: 0,
                    }),
                    SetTime::Now,
                )),
                14 => drop(
                    LockRange::of(x as i64, y as i64)
                        .map(|r| v.lock(p.ino, LockKind::Posix(1), r, true, 1, true)),
                ),
                15 => drop(v.set_flags(c, &p, x as u32)),
                16 => drop(v.mount(c, &b, &a, b"tmpfs", x as u32, &b)),
                17 => drop(v.rmdir(c, &p, &b)),
                18 => drop(v.getdents(c, &p, x, &mut |_| true)),
                _ => drop(v.umount(c, &a, 2)),
            }
            if let Ok(o) = o {
                let _ = v.read(c, &o.path, y, &mut [0; 64]);
                let _ = v.full_path(c, &o.path);
            }
            Ok(())
        })
        .ok();
    }
    assert!(w.ls("/").len() >= 2);
}

#[test]
fn nothing_is_made_where_the_kernel_makes_all() {
    let mut w = World::new();
    let made = oflag::WRONLY | oflag::CREAT;
    assert_eq!(w.open("/sys/x", made), Err(Errno::EACCES));
    assert_eq!(w.open("/dev/pts/x", made), Err(Errno::EACCES));
    assert_eq!(w.open("/proc/x", made), Err(Errno::ENOENT));
    for dir in ["/sys/x", "/dev/pts/x"] {
        let done = w.with(|v, c| v.mkdir(c, c.cwd, dir.as_bytes(), 0o755)).map(drop);
        assert_eq!(done, Err(Errno::EPERM), "{dir}");
    }
    assert!(w.open("/run/x", made).is_ok());
}

#[test]
fn what_lies_there_since_long_does_not_touch_its_directory() {
    let mut w = World::new();
    let at = |w: &mut World, path: &str| w.with(|v, c| v.stat(c, c.cwd, path.as_bytes(), 0)).unwrap().mtime;
    w.dir("/srv", 0o755, 0);
    let before = at(&mut w, "/srv");
    w.put("/srv/x", 0o644, 0, "x");
    assert_eq!(at(&mut w, "/srv"), before);
    assert_eq!(at(&mut w, "/srv/x"), before);
}
