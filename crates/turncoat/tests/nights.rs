//! A world that lives over nights has what a new one of its machine has then: what the nightly job, logrotate and apt's timers leave.

mod common;

use std::sync::Arc;

use turncoat_cover::story::Story;
use turncoat_cover::{Cover, File, Given, Kind, Seed, Wishes, role};
use turncoat_decoys::boot::{Below, KernelGuest, Outside, Snapshot};
use turncoat_decoys::machine::Entropy;
use turncoat_decoys::worlds::{Guest, Wants};
use turncoat_event::Time;
use turncoat_kernel::image::Image;

const MADE: i64 = 1_798_000_000;
const DAY: i64 = 86_400;

fn image() -> Arc<Image> {
    let path = common::shared().join("images/default");
    Image::open(std::fs::File::open(std::fs::canonicalize(path).unwrap()).unwrap()).unwrap()
}

fn cover(role: &str, n: u8) -> Cover {
    let given = Given {
        made: MADE,
        wishes: Wishes {
            role: Some(role.into()),
            ..Wishes::default()
        },
        ..Given::default()
    };
    Cover::new(Seed([n; 32]), &given).unwrap()
}

/// A world of a machine that booted its snapshot at this second.
fn world(cover: &Cover, image: &Arc<Image>, at: i64) -> KernelGuest {
    let entropy: Entropy = Arc::new(|b: &mut [u8]| b.fill(9));
    let at = Time(at * 1_000_000_000);
    let mut snapshot = Snapshot::boot(cover, image.clone(), Outside::Timeout, at, &entropy).unwrap();
    snapshot.guest([3; 32])
}

/// Lets it go on until this second.
fn live(guest: &mut KernelGuest, until: i64) {
    for _ in 0..10_000 {
        if let Wants::Sleep(_) = guest.run(10_000_000, Time(until * 1_000_000_000 + 999_999_999)) {
            return;
        }
    }
    panic!("it does not rest");
}

/// Files that a machine changes by itself.
fn kept(story: &Story, f: &File) -> bool {
    // These have logins, or are compared by the audit.
    let people = ["wtmp", "lastlog", "journal", "auth.log", "syslog", "btmp"];
    let log = f.path.strip_prefix("/var/log/");
    log.is_some_and(|p| !people.iter().any(|n| p.starts_with(n)))
        || f.path.starts_with(&story.data)
        || ["/var/backups/", "/var/lib/apt/periodic/", "/var/lib/logrotate/"]
            .iter()
            .any(|d| f.path.starts_with(d))
}

/// Content, mode and time of a file in a world.
fn seen(guest: &mut KernelGuest, path: &str) -> Option<(Vec<u8>, u32, u32, i64)> {
    let world = guest.world();
    let look = world.look(path.as_bytes())?;
    let text = world.read_file(path.as_bytes()).unwrap_or_default();
    Some((text, look.mode, look.uid, look.mtime.sec))
}

#[test]
fn a_world_that_lives_over_nights_has_what_a_new_one_has() {
    let image = image();
    let (mut dumps, mut turned) = (0, 0);
    for role in role::names() {
        for days in [1, 20] {
            let cover = cover(role, 4 + days as u8);
            let story = Story::draw(&cover);
            let (from, to) = (MADE + 7_000, MADE + 7_000 + days * DAY);
            let mut old = world(&cover, &image, from);
            live(&mut old, to);
            let mut new = world(&cover, &image, to);
            live(&mut new, to);
            let paths = |at| -> Vec<File> {
                let mut all = cover.files_at(&Below(&image), at);
                all.retain(|f| kept(&story, f));
                all
            };
            let (before, after) = (paths(from), paths(to));
            assert!(after.len() > 12, "{}", after.len());
            for f in &after {
                let (was, is) = (seen(&mut new, &f.path), seen(&mut old, &f.path));
                let (Some(was), Some(is)) = (was, is) else {
                    panic!("{role} {days} {}: there is none", f.path)
                };
                let text = |b: &[u8]| String::from_utf8_lossy(b).chars().take(2_000).collect::<String>();
                if f.kind != Kind::Directory {
                    assert!(
                        is.0 == was.0,
                        "{role} {days} {}:\n{}---\n{}",
                        f.path,
                        text(&is.0),
                        text(&was.0)
                    );
                }
                assert_eq!(
                    (is.1, is.2, is.3),
                    (was.1, was.2, was.3),
                    "{role} {days} {}",
                    f.path
                );
                dumps += u32::from(f.path.ends_with(".sql"));
                turned += u32::from(f.path.ends_with(".1"));
            }
            for f in before.iter().filter(|f| !after.iter().any(|a| a.path == f.path)) {
                assert_eq!(seen(&mut old, &f.path), None, "{role} {days} {}", f.path);
            }
        }
    }
    assert!(dumps > 3 && turned > 3, "{dumps} {turned}");
}
