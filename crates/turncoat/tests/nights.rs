//! A world that lives over nights has what a new one of its machine has then: what the nightly job, logrotate and apt's timers leave.

mod common;

use std::sync::Arc;

use turncoat_cover::story::Story;
use turncoat_cover::{Cover, File, Given, Kind, Seed, Wishes, role};
use turncoat_decoys::boot::{Below, KernelGuest, Outside, Snapshot, Standing};
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

/// Runs a command of root's to its end and gives what it said.
fn said(guest: &mut KernelGuest, command: &str, at: i64) -> String {
    let world = guest.world();
    let conn = world
        .open(turncoat_kernel::Open {
            user: b"root".to_vec(),
            account: None,
            env: Vec::new(),
            term: None,
            command: Some(command.into()),
            peer: "198.51.100.7:40124".parse().unwrap(),
            local: "192.0.2.1:22".parse().unwrap(),
            greet: false,
            method: "password".into(),
            sshd: None,
        })
        .unwrap();
    let mut said = Vec::new();
    for _ in 0..50_000 {
        world.run(1_000_000, at as u64 * 1_000_000_000);
        for o in world.drain().0.into_iter().filter(|o| o.conn == conn) {
            match o.out {
                turncoat_kernel::Out::Data { bytes, .. } => said.extend(bytes),
                turncoat_kernel::Out::Close => return String::from_utf8_lossy(&said).into_owned(),
                _ => {}
            }
        }
    }
    panic!("{command} does not end");
}

/// What lies in /var/backups: names, modes, times, and what the files hold. An archive is as old as the copying, and has no order.
const BACKUPS: &str = "cd /var/backups; stat -c '%n %A %U %G %Y' * | grep -v alternatives.tar.0; for f in *; do case $f in *.tar.0) echo $f $(tar -tvf $f | sort | sha256sum) $(wc -c <$f);; *) echo $f $(zcat -f $f | sha256sum);; esac; case $f in *.gz) head -c 9 $f | od -An -t x1; head -c 24 $f | tail -c 14 | tr -d '\\0-\\37';; esac; done";
const COPY: &str = "/usr/libexec/dpkg/dpkg-db-backup; echo $?";

/// dpkg's own program, run in a world, finds nothing to copy, and copies what somebody changed as it is told when nobody runs it.
#[test]
fn the_copies_of_dpkgs_state_are_those_of_its_own_program() {
    let image = image();
    for (n, role) in role::names().into_iter().enumerate() {
        let cover = cover(role, 31 + n as u8);
        let timers = turncoat_cover::past::lines::Timers::of(&cover);
        // Right behind a night's copying, and right behind the next.
        let at = timers.ran("dpkg-db-backup.service", MADE + 2 * DAY).unwrap() + 60;
        let later = timers.runs("dpkg-db-backup.service", at).unwrap() + 120;
        let world = || world(&cover, &image, at);
        let (mut real, mut told) = (world(), world());
        let before = said(&mut told, BACKUPS, at);
        assert!(before.matches("dpkg.status.").count() > 3, "{role}: {before}");
        assert!(before.contains("alternatives.tar.0 "), "{role}: {before}");
        assert_eq!(said(&mut real, COPY, at + 1), "0\n");
        assert_eq!(said(&mut real, BACKUPS, at + 1), before, "{role}");
        let change = "dpkg --add-architecture i386; update-alternatives --set editor /bin/nano; dpkg-statoverride --update --add root root 0700 /usr/bin/wall; ls /var/lib/dpkg";
        for guest in [&mut real, &mut told] {
            let now = said(guest, change, at + 2);
            assert!(now.contains("statoverride-old"), "{now}");
        }
        assert_eq!(said(&mut real, COPY, later), "0\n");
        live(&mut told, later);
        let (real, told) = (said(&mut real, BACKUPS, later), said(&mut told, BACKUPS, later));
        assert_ne!(real, before, "{role}");
        assert_eq!(told, real, "{role}");
    }
}

/// Who comes weeks after the program started gets a world at once, and those after him one that has no nights to make up for.
#[test]
fn the_snapshot_is_booted_anew_behind_those_who_come() {
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::{Duration, Instant};
    let (image, cover) = (image(), cover("bastion", 6));
    let time = Arc::new(AtomicI64::new(MADE * 1_000_000_000));
    let entropy: Entropy = Arc::new(|b: &mut [u8]| b.fill(9));
    let of = time.clone();
    let clock = Arc::new(move || Time(of.load(Ordering::SeqCst)));
    let standing = Standing::boot(cover.clone(), image.clone(), Outside::Timeout, clock, entropy).unwrap();
    let booted = || standing.fresh().1.booted.seconds();
    assert_eq!((booted(), booted()), (MADE, MADE));
    let later = MADE + 9 * DAY;
    time.store((MADE + 3 * DAY) * 1_000_000_000, Ordering::SeqCst);
    assert_eq!(booted(), MADE);
    time.store(later * 1_000_000_000, Ordering::SeqCst);
    let (mut old, born) = standing.fresh();
    assert_eq!(born.booted.seconds(), MADE);
    let begun = Instant::now();
    while booted() == MADE {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "it is not booted anew"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(booted(), later);
    // The old world lives on, and can be made again.
    assert!(!matches!(
        old.run(10_000_000, Time(later * 1_000_000_000)),
        Wants::Dead
    ));
    assert!(Snapshot::boot_again(&cover, image, &born).is_ok());
}
