//! The same calls on a world and on a directory of this machine.

use super::*;
use crate::image::{self, Image, NodeKind, Tree, Writer};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::sync::Arc;

/// Random calls on a directory of this machine's file system and on ours give the same results and the same tree.
#[test]
fn random_calls_agree_with_this_machine() {
    let mut total = 0;
    for seed in 1..=40u64 {
        total += run_against_host(seed, 250, false);
    }
    println!("{total} calls compared");
}

/// The same over an image that holds part of the tree already: what the image has and what was changed must look like one.
#[test]
fn random_calls_over_an_image_agree_with_this_machine() {
    let mut total = 0;
    for seed in 101..=140u64 {
        total += run_against_host(seed, 250, true);
    }
    println!("{total} calls compared");
}

fn run_against_host(seed: u64, calls: u32, over_image: bool) -> u32 {
    // Links to `..` end in `base`, which is ours as well.
    let base = std::env::temp_dir().join(format!("turncoat-vfs-{}-{seed}", std::process::id()));
    let host = base.join("t");
    let _ = std::fs::remove_dir_all(&base);
    std::fs::create_dir_all(&host).unwrap();
    let is_root = std::fs::metadata(&host).unwrap().uid() == 0;
    if over_image && !is_root {
        // The image's files are root's, those here would not be.
        std::fs::remove_dir_all(&base).unwrap();
        return 0;
    }
    let mut w = World::over(over_image.then(image_of_seeded));
    if over_image {
        for (p, content) in seeded() {
            match content {
                None => std::fs::create_dir(host.join(p)).unwrap(),
                Some(b) => std::fs::write(host.join(p), b).unwrap(),
            }
        }
        std::fs::hard_link(host.join("c"), host.join("hard")).unwrap();
        std::os::unix::fs::symlink("a", host.join("l")).unwrap();
    }
    if !is_root {
        w.user(1000);
        w.creds.gid = 1000;
    }
    w.dir("/h", 0o755, w.creds.uid);
    w.dir("/h/t", 0o755, w.creds.uid);
    let mut rng = Rng(seed);
    let long = "n".repeat(256);
    let names = [
        "a", "b", "c", "a/b", "a/c", "b/a", "a/b/c", "l", "l/b", "a/l", "a/", "b/", "l/", "a/.", "a/..",
        "b/../a", ".", "..x", "none/x", &long,
    ];
    for step in 0..calls {
        let (p, q) = (rng.pick(&names), rng.pick(&names));
        let (hp, hq) = (
            host.join("x").parent().unwrap().to_str().unwrap().to_owned() + "/" + p,
            format!("{}/{q}", host.display()),
        );
        let (vp, vq) = (format!("/h/t/{p}"), format!("/h/t/{q}"));
        let (vpb, vqb) = (vp.as_bytes(), vq.as_bytes());
        let which = rng.below(13);
        let (theirs, mine, what) = match which {
            0 | 1 => (
                code(std::fs::create_dir(&hp)),
                ours(w.with(|v, c| v.mkdir(c, c.cwd, vpb, 0o777))),
                "mkdir",
            ),
            2 => (
                code(std::fs::remove_dir(&hp)),
                ours(w.with(|v, c| v.rmdir(c, c.cwd, vpb))),
                "rmdir",
            ),
            3 => (
                code(std::fs::remove_file(&hp)),
                ours(w.with(|v, c| v.unlink(c, c.cwd, vpb))),
                "unlink",
            ),
            4 => (
                code(std::fs::rename(&hp, &hq)),
                ours(w.with(|v, c| v.rename(c, c.cwd, vpb, c.cwd, vqb, 0))),
                "rename",
            ),
            5 => (
                code(std::fs::hard_link(&hp, &hq)),
                ours(w.with(|v, c| v.link(c, c.cwd, vpb, c.cwd, vqb, 0))),
                "link",
            ),
            6 => {
                let to = ["a", "b", "../a", "l", "a/b", "none"][rng.below(6) as usize];
                (
                    code(std::os::unix::fs::symlink(to, &hp)),
                    ours(w.with(|v, c| v.symlink(c, to.as_bytes(), c.cwd, vpb))),
                    "symlink",
                )
            }
            7 | 8 => {
                let flags = [
                    oflag::CREAT | oflag::RDWR,
                    oflag::CREAT | oflag::EXCL | oflag::RDWR,
                    oflag::RDWR | oflag::TRUNC,
                    oflag::RDWR | oflag::NOFOLLOW,
                    oflag::RDWR | oflag::CREAT | oflag::NOFOLLOW,
                ][rng.below(5) as usize];
                let (off, len) = (rng.below(20_000), rng.below(5000) as usize);
                let data: Vec<u8> = (0..len).map(|i| (i as u64 ^ seed ^ step as u64) as u8).collect();
                let mut o = std::fs::OpenOptions::new();
                o.read(true)
                    .write(true)
                    .custom_flags((flags & !(oflag::CREAT | oflag::EXCL | oflag::TRUNC)) as i32);
                o.truncate(flags & oflag::TRUNC != 0);
                if flags & oflag::EXCL != 0 {
                    o.create_new(true);
                } else if flags & oflag::CREAT != 0 {
                    o.create(true);
                }
                let t = o.open(&hp).and_then(|f| f.write_all_at(&data, off));
                let m = w.with(|v, c| {
                    let o = v.open(c, c.cwd, vpb, flags, 0o666, 0)?;
                    v.write(c, &o.path, off, &data)
                });
                (code(t), ours(m), "open and write")
            }
            9 => {
                let len = rng.below(20_000);
                let t = std::fs::OpenOptions::new()
                    .write(true)
                    .open(&hp)
                    .and_then(|f| f.set_len(len));
                let m = w.with(|v, c| {
                    let o = v.open(c, c.cwd, vpb, oflag::WRONLY, 0, 0)?;
                    v.set_len(c, &o.path, len)
                });
                (code(t), ours(m), "truncate")
            }
            10 => {
                let perm = [0o755, 0o700, 0o644, 0o4755, 0o1777][rng.below(5) as usize];
                (
                    code(std::fs::set_permissions(
                        &hp,
                        std::fs::Permissions::from_mode(perm),
                    )),
                    ours(w.with(|v, c| v.chmod(c, c.cwd, vpb, perm, 0))),
                    "chmod",
                )
            }
            11 => {
                let t = std::fs::metadata(&hp);
                let m = w.with(|v, c| v.stat(c, c.cwd, vpb, 0));
                if let (Ok(t), Ok(m)) = (&t, &m) {
                    same_meta(t, m, &format!("seed {seed} step {step} {p}"));
                }
                (code(t), ours(m), "stat")
            }
            _ => {
                let t = std::fs::read_link(&hp);
                let m = w.with(|v, c| v.readlink(c, c.cwd, vpb));
                if let (Ok(t), Ok(m)) = (&t, &m) {
                    assert_eq!(t.as_os_str().as_encoded_bytes(), m.as_slice());
                }
                (code(t), ours(m), "readlink")
            }
        };
        if mine != theirs {
            let _ = std::process::Command::new("ls").arg("-laR").arg(&host).status();
        }
        assert_eq!(mine, theirs, "seed {seed} step {step}: {what} {p} {q}");
    }
    compare(&mut w, &base, "/h", seed);
    std::fs::remove_dir_all(&base).unwrap();
    calls
}

fn compare(w: &mut World, host: &std::path::Path, path: &str, seed: u64) {
    let mut names: Vec<String> = std::fs::read_dir(host)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut mine: Vec<String> = w.ls(path).into_iter().filter(|n| n != "." && n != "..").collect();
    mine.sort();
    assert_eq!(mine, names, "seed {seed}: listing of {path}");
    for n in names {
        let (h, p) = (host.join(&n), format!("{path}/{n}"));
        let t = std::fs::symlink_metadata(&h).unwrap();
        let m = w
            .with(|v, c| v.stat(c, c.cwd, p.as_bytes(), wflag::NOFOLLOW))
            .unwrap();
        same_meta(&t, &m, &p);
        if t.is_dir() {
            compare(w, &h, &p, seed);
        } else if t.is_file() {
            assert!(
                std::fs::read(&h).unwrap() == w.cat(&p).unwrap(),
                "seed {seed}: content of {p}"
            );
        }
    }
}

fn same_meta(t: &std::fs::Metadata, m: &Stat, at: &str) {
    assert_eq!((t.mode(), t.nlink()), (m.mode, m.nlink as u64), "{at}");
    if !t.is_dir() {
        assert_eq!(t.size(), m.size, "{at}");
    }
    if t.is_symlink() || t.is_dir() {
        assert_eq!(t.blocks(), m.blocks, "{at}");
    }
}

fn code<T>(r: std::io::Result<T>) -> i32 {
    r.map_or_else(|e| e.raw_os_error().unwrap_or(-1), |_| 0)
}

fn ours<T>(r: KResult<T>) -> i32 {
    r.map_or_else(|e| e.0 as i32, |_| 0)
}

/// What both sides begin with: path below /h/t, content (`None`: a directory).
fn seeded() -> Vec<(&'static str, Option<Vec<u8>>)> {
    let bytes = |n: usize| Some((0..n).map(|i| (i / 7 % 251) as u8).collect::<Vec<u8>>());
    vec![
        ("a", None),
        ("a/b", None),
        ("a/b/c", bytes(9000)),
        ("a/c", bytes(4096)),
        ("b", None),
        ("b/a", bytes(1)),
        ("c", bytes(12_345)),
        ("keep", None),
        ("keep/x", bytes(100)),
    ]
}

fn image_of_seeded() -> Arc<Image> {
    let path = std::env::temp_dir().join(format!("turncoat-vfs-image-{}", std::process::id()));
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .unwrap();
    let _ = std::fs::remove_file(&path);
    let w = Writer::new(file.try_clone().unwrap());
    let attr = |perm| image::Attr::root(perm, 1_680_000_000);
    let mut t = Tree::new(attr(0o755));
    let dir = || NodeKind::Dir(BTreeMap::new());
    t.put(b"/h", attr(0o755), dir()).unwrap();
    t.put(b"/h/t", attr(0o755), dir()).unwrap();
    for (p, content) in seeded() {
        let kind = match content {
            None => dir(),
            Some(b) => NodeKind::File(image::Content::Bytes(b)),
        };
        let perm = if matches!(kind, NodeKind::Dir(_)) {
            0o755
        } else {
            0o644
        };
        let id = t.put(format!("/h/t/{p}").as_bytes(), attr(perm), kind).unwrap();
        if p == "c" {
            t.link(id, b"/h/t/hard").unwrap();
        }
    }
    t.put(b"/h/t/l", attr(0o777), NodeKind::Symlink(b"a".to_vec()))
        .unwrap();
    w.finish(&t, &[]).unwrap();
    Image::open(file).unwrap()
}
