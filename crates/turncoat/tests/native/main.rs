//! The same programs on the same image, natively and in a world: output, exit status, files changed, screens.
//!
//! The cases are the files of `data/`, run from one table: each is a shell script, run by `bash -c` as root with the environment of a login,
//! on the test image with one cover's files over it. Natively that is a chroot over an overlay in fresh namespaces without a network
//! (`host.sh`, needs root); in a world a clone of the snapshot. Both start untouched for every case.
//!
//! `TURNCOAT_NATIVE=PATTERN cargo test -p turncoat --test native -- --nocapture` runs the cases whose `file/name` contains the pattern
//! and shows both sides of each difference.

#[path = "../common/mod.rs"]
mod common;

mod cases;
mod host;
mod hostile;
mod mask;
mod world;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use cases::{Case, Seen};

fn show(side: &str, what: &str, bytes: &[u8]) {
    eprintln!("  {side} {what}:");
    for line in String::from_utf8_lossy(bytes).lines().take(200) {
        eprintln!("    {}", line.escape_debug());
    }
}

/// The screens that differ.
fn screens<'a>(
    case: &'a Case,
    native: &'a Seen,
    world: &'a Seen,
) -> impl Iterator<Item = (usize, Vec<u8>, Vec<u8>)> + 'a {
    let masked = |s: &String| mask::apply(&case.masks, s.as_bytes());
    let pairs = native.screens.iter().zip(&world.screens).enumerate();
    pairs
        .skip(case.from)
        .map(move |(n, (a, b))| (n, masked(a), masked(b)))
        .filter(|(_, a, b)| a != b)
}

/// What differs, by name of the part.
fn differences(case: &Case, native: &Seen, world: &Seen) -> Vec<&'static str> {
    let mut parts = Vec::new();
    let masked = |bytes: &[u8]| mask::apply(&case.masks, bytes);
    if masked(&native.out) != masked(&world.out) {
        parts.push("output");
    }
    if masked(&native.err) != masked(&world.err) {
        parts.push("errors");
    }
    if native.status != world.status {
        parts.push("status");
    }
    if masked(&native.files) != masked(&world.files) {
        parts.push("files");
    }
    if native.screens.len() != world.screens.len() || screens(case, native, world).next().is_some() {
        parts.push("screens");
    }
    parts
}

/// The lines of a listing that tell of a change.
fn changed(listing: &[u8], untouched: &BTreeSet<Vec<u8>>) -> Vec<u8> {
    let lines = listing.split_inclusive(|b| *b == b'\n');
    let new = lines.filter(|l| !untouched.contains(l.strip_suffix(b"\n").unwrap_or(l)));
    new.flatten().copied().collect()
}

fn tell(case: &Case, parts: &[&str], native: &Seen, world: &Seen) {
    eprintln!("{} differs in {}", case.name, parts.join(", "));
    for line in case.script.lines() {
        eprintln!("  | {line}");
    }
    eprintln!("  status: native {}, world {}", native.status, world.status);
    for (side, seen) in [("native", native), ("world", world)] {
        for (what, bytes) in [
            ("output", &seen.out),
            ("errors", &seen.err),
            ("files", &seen.files),
        ] {
            if parts.contains(&what) {
                show(side, what, &mask::apply(&case.masks, bytes));
            }
        }
    }
    for (n, a, b) in screens(case, native, world) {
        show("native", &format!("screen {n}"), &a);
        show("world", &format!("screen {n}"), &b);
    }
}

#[test]
fn programs_do_the_same_in_a_world() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: chroot and namespaces for the native side need root");
        return;
    }
    let pattern = std::env::var("TURNCOAT_NATIVE").unwrap_or_default();
    let all = cases::read();
    let names: BTreeSet<&str> = all.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names.len(), all.len(), "two cases have one name");
    let chosen: Vec<&Case> = all.iter().filter(|c| c.name.contains(&pattern)).collect();
    let stage = world::Stage::new();
    let host = host::Host::new(&stage);
    let stage = Mutex::new(stage);
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                while let Some(case) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let world = stage.lock().unwrap().fork();
                    let (native, world) = if case.terminal {
                        (host.terminal(case), world::terminal(world, case))
                    } else {
                        (host.run(case), world::run(world, case))
                    };
                    let [native, world] = [native, world].map(|seen| Seen {
                        files: changed(&seen.files, &host.untouched),
                        ..seen
                    });
                    let parts = differences(case, &native, &world);
                    let as_said = case.differs.is_empty() == parts.is_empty();
                    if !as_said || (!pattern.is_empty() && !parts.is_empty()) {
                        tell(case, &parts, &native, &world);
                    }
                    if !as_said {
                        let why = if parts.is_empty() {
                            "no longer differs, take the mark away".to_owned()
                        } else {
                            parts.join(", ")
                        };
                        failed.lock().unwrap().push(format!("{}: {why}", case.name));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{} of {} cases differ:\n{}",
        failed.len(),
        chosen.len(),
        failed.join("\n")
    );
    eprintln!("{} cases", chosen.len());
}

#[test]
fn hostile_programs_are_bounded() {
    let wrong = hostile::run(&mut world::Stage::new());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
