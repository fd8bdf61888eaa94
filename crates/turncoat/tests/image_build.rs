//! Images built from packages, directories and archives that the tests make themselves; nothing is fetched.
//!
//! Needs `dpkg-deb` and `tar` on the host; where one is missing the test says so and passes.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use turncoat::image::{self, Options, Progress, Shelf, Source};
use turncoat_kernel::image::{Image, ImageId, Kind};

/// A directory that goes away with its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("turncoat-build-test-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("scratch");
        Scratch(path)
    }
    fn put(&self, path: &str, text: &str) -> PathBuf {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("scratch");
        fs::write(&path, text).expect("scratch");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn have(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: this host has no {program}");
    }
    found
}

fn build(source: Source, shelf: &Path) -> (ImageId, Arc<Image>) {
    let options = Options {
        source,
        shelf: shelf.to_owned(),
        cache: shelf.join("cache"),
    };
    let id = image::build(&options, &mut |_: Progress<'_>| {}).expect("build");
    let shelf = Shelf::open(shelf).expect("shelf");
    let found = shelf
        .find(Some(&id.to_string()))
        .expect("find")
        .expect("on the shelf");
    shelf.verify(&found, |_, _| {}).expect("verify");
    (
        id,
        Image::open(File::open(&found.path).expect("file")).expect("open"),
    )
}

fn text(image: &Image, path: &str) -> String {
    let ino = image
        .resolve(path.as_bytes())
        .expect("resolve")
        .unwrap_or_else(|| panic!("no {path}"));
    String::from_utf8(image.read_all(ino, 1 << 20).expect("read")).expect("text")
}

fn link(image: &Image, dir: &str, name: &str) -> String {
    let dir = image
        .resolve(dir.as_bytes())
        .expect("resolve")
        .expect("directory");
    let ino = image
        .lookup(dir, name.as_bytes())
        .expect("lookup")
        .unwrap_or_else(|| panic!("no {name}"));
    String::from_utf8(image.readlink(ino).expect("link").to_vec()).expect("text")
}

/// Two packages that use what configuration reads: conffiles, alternatives, users, units, hard links, overrides.
fn packages(to: &Path, compression: &str) {
    let s = Scratch::new(&format!("debs-{compression}"));
    let base = s.0.join("base");
    s.put("base/DEBIAN/control", "Package: base-passwd\nVersion: 1\nArchitecture: amd64\nEssential: yes\nMaintainer: A <a@b.invalid>\nDescription: lists\n of users\n");
    s.put(
        "base/usr/share/base-passwd/passwd.master",
        "root:*:0:0:root:/root:/bin/bash\nnobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    );
    s.put(
        "base/usr/share/base-passwd/group.master",
        "root:*:0:\nshadow:*:42:\nusers:*:100:\n",
    );
    s.put("base/bin/tool", "#!/bin/sh\n");
    fs::hard_link(base.join("bin/tool"), base.join("bin/tool2")).expect("hard link");
    symlink("tool", base.join("bin/sym")).expect("link");
    let two = s.0.join("two");
    s.put("two/DEBIAN/control", "Package: two\nVersion: 1:2-3\nArchitecture: amd64\nMulti-Arch: same\nDepends: base-passwd (>= 1),\n other\nMaintainer: A <a@b.invalid>\nHomepage: x\nDescription: second\n");
    s.put("two/DEBIAN/conffiles", "/etc/two.conf\n");
    s.put("two/etc/two.conf", "a=1\n");
    s.put(
        "two/lib/systemd/system/two.service",
        "[Unit]\n[Install]\nWantedBy=multi-user.target\nAlias=second.service\n",
    );
    s.put("two/usr/bin/low", "low");
    s.put("two/usr/bin/high", "high");
    s.put(
        "two/etc/init.d/two",
        "#!/bin/sh\n# Default-Start: 2 3\n# Default-Stop: 0\n",
    );
    let post = s.put(
        "two/DEBIAN/postinst",
        "#!/bin/sh\nset -e\nNAME=_two\nadduser --system --home /nonexistent \\\n  --group \"$NAME\" || true\naddgroup --quiet --system twos\nfor t in low; do\n\tupdate-alternatives --install /usr/bin/pick pick /usr/bin/$t 5\ndone\nupdate-alternatives --install /usr/bin/pick pick /usr/bin/high 50\nif deb-systemd-helper --quiet was-enabled 'two.service'; then\n deb-systemd-helper enable 'two.service' >/dev/null || true\nfi\nupdate-rc.d two defaults >/dev/null\ndpkg-statoverride --update --add root _two 2755 /usr/bin/high\n",
    );
    fs::set_permissions(&post, fs::Permissions::from_mode(0o755)).expect("mode");
    for dir in [&base, &two] {
        let made = Command::new("dpkg-deb")
            .args(["--root-owner-group", &format!("-Z{compression}"), "-b"])
            .arg(dir)
            .arg(to)
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .output()
            .expect("dpkg-deb");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
}

#[test]
fn packages_become_a_configured_system() {
    if !have("dpkg-deb") {
        return;
    }
    let s = Scratch::new("apt");
    let mut ids = Vec::new();
    for compression in ["xz", "gzip", "zstd"] {
        let debs = s.0.join(compression);
        fs::create_dir(&debs).expect("directory");
        packages(&debs, compression);
        let (id, image) = build(Source::Packages(debs.clone()), &s.0.join("shelf"));
        assert_eq!(
            id,
            build(Source::Packages(debs), &s.0.join("again")).0,
            "the same packages gave another image"
        );
        ids.push(id);
        let tool = image
            .resolve(b"/usr/bin/tool")
            .expect("resolve")
            .expect("merged /usr");
        assert_eq!(image.inode(tool).expect("inode").nlink, 2);
        assert_eq!(link(&image, "/", "bin"), "usr/bin");
        assert_eq!(link(&image, "/usr/bin", "pick"), "/etc/alternatives/pick");
        assert_eq!(link(&image, "/etc/alternatives", "pick"), "/usr/bin/high");
        assert_eq!(
            text(&image, "/var/lib/dpkg/alternatives/pick"),
            "auto\n/usr/bin/pick\n\n/usr/bin/high\n50\n/usr/bin/low\n5\n\n"
        );
        assert_eq!(
            link(
                &image,
                "/etc/systemd/system/multi-user.target.wants",
                "two.service"
            ),
            "/lib/systemd/system/two.service"
        );
        assert_eq!(
            link(&image, "/etc/systemd/system", "second.service"),
            "/lib/systemd/system/two.service"
        );
        assert_eq!(link(&image, "/etc/rc3.d", "S01two"), "../init.d/two");
        assert!(text(&image, "/etc/passwd").ends_with("_two:x:100:101::/nonexistent:/usr/sbin/nologin\n"));
        assert!(text(&image, "/etc/group").ends_with("_two:x:101:\ntwos:x:102:\n"));
        let high = image.resolve(b"/usr/bin/high").expect("resolve").expect("high");
        let high = image.inode(high).expect("inode");
        assert_eq!((high.mode(), high.gid), (0o102755, 101));
        let status = text(&image, "/var/lib/dpkg/status");
        assert!(
            status.contains("Package: two\nStatus: install ok installed\nMaintainer"),
            "{status}"
        );
        assert!(
            status.contains("Depends: base-passwd (>= 1), other\nConffiles:\n /etc/two.conf "),
            "{status}"
        );
        assert!(text(&image, "/var/lib/dpkg/info/two:amd64.list").starts_with("/.\n/etc\n"));
        assert_eq!(
            image
                .packages()
                .iter()
                .map(|p| p.version.as_str())
                .collect::<Vec<_>>(),
            ["1", "1:2-3"]
        );
    }
}

#[test]
fn a_directory_and_its_archive_give_the_same_tree() {
    if !have("tar") {
        return;
    }
    let s = Scratch::new("dir");
    s.put("root/etc/os-release", "ID=debian\nPRETTY_NAME=\"A B\"\n");
    s.put("root/etc/machine-id", "0123456789\n");
    s.put("root/etc/hostname", "builder\n");
    s.put("root/etc/ssh/ssh_host_rsa_key", "secret\n");
    s.put("root/etc/apt/apt.conf.d/50x", "Acquire::http::Proxy \"x\";\n");
    s.put("root/tmp/left-over", "x");
    s.put("root/var/log/dpkg.log", "yesterday");
    s.put(&format!("root/usr/{}", "long/".repeat(40) + "file"), "deep");
    s.put("root/usr/a", "shared");
    fs::hard_link(s.0.join("root/usr/a"), s.0.join("root/usr/b")).expect("hard link");
    let archive = s.0.join("root.tar.gz");
    let made = Command::new("tar")
        .arg("-C")
        .arg(s.0.join("root"))
        .arg("-czf")
        .arg(&archive)
        .arg(".")
        .status();
    assert!(made.expect("tar").success());
    let list = |image: &Image| -> Vec<(Vec<u8>, Kind, u32, u64)> {
        let mut out = Vec::new();
        let mut todo = vec![(Vec::new(), image.root())];
        while let Some((path, dir)) = todo.pop() {
            for e in image.readdir(dir).expect("readdir") {
                let path = [path.as_slice(), b"/", e.name].concat();
                let meta = image.inode(e.ino).expect("inode");
                if e.kind == Kind::Dir {
                    todo.push((path.clone(), e.ino));
                }
                out.push((path, e.kind, meta.nlink, meta.size));
            }
        }
        out.sort();
        out
    };
    let (_, from_dir) = build(Source::Dir(s.0.join("root")), &s.0.join("shelf"));
    let (_, from_tar) = build(Source::Tar(archive), &s.0.join("shelf"));
    assert_eq!(list(&from_dir), list(&from_tar));
    for gone in [
        "/etc/hostname",
        "/etc/ssh/ssh_host_rsa_key",
        "/etc/apt/apt.conf.d/50x",
        "/tmp/left-over",
        "/var/log/dpkg.log",
    ] {
        assert_eq!(
            from_dir.resolve(gone.as_bytes()).expect("resolve"),
            None,
            "{gone} tells of the builder"
        );
    }
    assert_eq!(text(&from_dir, "/etc/machine-id"), "");
    assert_eq!(
        from_dir.os_release(),
        [
            ("ID".into(), "debian".into()),
            ("PRETTY_NAME".into(), "A B".into())
        ]
    );
    let out = s.0.join("out");
    let shelf = Shelf::open(&s.0.join("shelf")).expect("shelf");
    let found = shelf.find(None).expect("find").expect("default");
    image::export(&found, &out).expect("export");
    assert_eq!(fs::read_to_string(out.join("usr/b")).expect("exported"), "shared");
    for image in shelf.list().expect("list") {
        shelf.remove(&image).expect("remove");
    }
    assert!(shelf.list().expect("list").is_empty());
}

#[test]
fn broken_archives_are_refused_and_leave_nothing() {
    let s = Scratch::new("broken");
    let shelf = s.0.join("shelf");
    for (name, bytes) in [
        ("short.tar", &b"abc"[..]),
        ("noise.tar", &[7u8; 2048]),
        ("cut.gz", &[0x1f, 0x8b, 8, 0, 0, 0]),
    ] {
        let path = s.0.join(name);
        fs::write(&path, bytes).expect("file");
        let options = Options {
            source: Source::Tar(path),
            shelf: shelf.clone(),
            cache: s.0.join("cache"),
        };
        assert!(image::build(&options, &mut |_| {}).is_err(), "{name}");
    }
    assert_eq!(fs::read_dir(&shelf).expect("shelf").count(), 0);
}
