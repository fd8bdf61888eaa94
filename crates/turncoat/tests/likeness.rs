//! No family likeness: what many of two hundred random installs say is Debian's, or it is a tell.

mod common;
#[path = "likeness/mod.rs"]
mod said;

use turncoat_decoys::boot::{Below, kernel_log};
use turncoat_kernel::image::{Image, Ino, Kind};

/// The image's files with their paths; each of what is no directory once.
fn walk(image: &Image, at: Ino, path: &str, tell: &mut dyn FnMut(&str, Option<Vec<u8>>)) {
    for entry in image.readdir(at).unwrap() {
        let path = format!("{path}/{}", String::from_utf8_lossy(entry.name));
        match image.inode(entry.ino).unwrap().kind {
            Kind::Dir => {
                tell(&path, None);
                walk(image, entry.ino, &path, tell);
            }
            Kind::File => tell(&path, image.read_all(entry.ino, 1 << 30).ok()),
            _ => tell(&path, None),
        }
    }
}

#[test]
fn what_two_hundred_installs_share_is_debians() {
    let path = std::fs::canonicalize(common::shared().join("images/default")).unwrap();
    let image = Image::open(std::fs::File::open(path).unwrap()).unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs() as i64;
    let installs = said::installs(&Below(&image), &kernel_log, now);
    let release = turncoat::machine::kernel(&image).unwrap().release;
    let read = |path: &str| {
        let ino = image.resolve(path.as_bytes()).ok()??;
        image.read_all(ino, 1 << 30).ok()
    };
    let mut shared = said::Shared::of(&installs, &release, &read);
    // Every install has the same programs: there must be something to explain.
    assert!(shared.len() > 300, "{}", shared.len());
    walk(&image, image.root(), "", &mut |path, bytes| {
        shared.file(path, bytes.as_deref())
    });
    let left = shared.unexplained();
    assert!(left.is_empty(), "{} shared:\n{}", left.len(), left.join("\n"));
}

/// The test would see a line that a generator wrote into every install.
#[test]
fn a_line_of_a_family_is_seen() {
    let line = |n: usize, text: &str| (said::Source::Text, format!("{text} {}", "abcdefgh".repeat(n + 1)));
    let installs: Vec<_> = (0..said::INSTALLS)
        .map(|n| {
            [
                line(n, "keep the lamp burning tonight"),
                line(n, "known to the image, all of it"),
                (said::Source::Typed, "ls -la | head".to_owned()),
                (
                    said::Source::Typed,
                    "for h in x; do ping $h; done; date".to_owned(),
                ),
            ]
            .into()
        })
        .collect();
    let mut shared = said::Shared::of(&installs, "6.1", &|_| None);
    shared.file("/usr/share/x", Some(b"-- known to the image, all of it --"));
    let left = shared.unexplained();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(
        left[0].contains("keep the lamp") && left[1].contains("for h in x"),
        "{left:?}"
    );
}
