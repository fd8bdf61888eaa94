//! What the program does when something below it fails: a directory that cannot be written, a damaged database, files that another
//! version left, a process that dies. (A full disk is in `full_disk.rs`, kills under load in `record_then_answer.rs`.)

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::ssh::{directory, text};
use common::{PROGRAM, Run, read_line, say, start, start_on, until};

fn fresh(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("turncoat-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// What a start says that must fail, within a bounded time.
fn refused(dir: &Path, settings: &[(&str, &str)]) -> String {
    let mut command = Command::new("timeout");
    command.args(["60", PROGRAM, "run"]).env_clear();
    command.env("TURNCOAT_DATA", dir).env("TURNCOAT_SSH_LISTEN", "");
    command.envs(settings.iter().copied());
    let out = command.output().unwrap();
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    said
}

#[test]
fn a_directory_that_cannot_be_written_stops_new_sessions_until_it_can() {
    let dir = fresh("readonly");
    let mut settings = vec![];
    if is_root() {
        // Root may write anywhere: the program becomes somebody else.
        mode(&dir, 0o711);
        settings.push(("TURNCOAT_SENSOR_USER", "nobody"));
    }
    let run = start_on(dir.clone(), &settings);
    let state = |run: &Run| {
        run.status()
            .map_or(String::new(), |s| s["state"].as_str().unwrap().to_owned())
    };
    let mut open = run.connect().unwrap();
    assert_eq!(read_line(&mut open).unwrap(), "hello");
    assert_eq!(say(&mut open, "before").unwrap(), "before");
    // A recording of a new session can be made no more.
    let recordings = dir.join("recordings");
    let shut = |to: u32| {
        for shard in std::fs::read_dir(&recordings).unwrap().flatten() {
            mode(&shard.path(), to);
        }
        mode(&recordings, to);
    };
    shut(0o500);
    let mut late = run.connect().unwrap();
    assert_eq!(
        read_line(&mut late).unwrap(),
        "hello",
        "a session alone needs no recording"
    );
    late.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    assert!(
        say(&mut late, "unrecorded").is_err(),
        "answered although it cannot be recorded"
    );
    until("status says so", || state(&run) == "read-only");
    let mut refused = run.connect().unwrap();
    assert!(read_line(&mut refused).is_err(), "no new session begins");
    // It goes on by itself.
    shut(0o700);
    late.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(read_line(&mut late).unwrap(), "unrecorded");
    until("new sessions may begin", || {
        run.connect()
            .is_ok_and(|mut t| read_line(&mut t).is_ok_and(|l| l == "hello"))
    });
    assert_eq!(state(&run), "working");
    let kinds: Vec<&str> = run.events().iter().map(|e| e.kind.name()).collect();
    assert!(kinds.contains(&"system.recovered"));
    assert_eq!(
        say(&mut open, "after").unwrap(),
        "after",
        "those that are open go on"
    );
}

#[test]
fn a_start_in_a_directory_that_cannot_be_written_is_refused_in_words() {
    let dir = fresh("nowrite");
    mode(&dir, 0o500);
    let said = if is_root() {
        let out = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", PROGRAM, "run"])
            .env_clear()
            .env("TURNCOAT_DATA", &dir)
            .env("TURNCOAT_SSH_LISTEN", "")
            .output()
            .expect("setpriv (package util-linux) is needed");
        text(&out.stderr)
    } else {
        refused(&dir, &[])
    };
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("ermission denied") && said.contains("turncoat-nowrite"),
        "{said}"
    );
    mode(&dir, 0o700);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_damaged_database_is_refused_in_words_and_left_alone() {
    let mut run = start("damaged", &[]);
    let mut talk = run.connect().unwrap();
    read_line(&mut talk).unwrap();
    for n in 0..200 {
        say(&mut talk, &format!("line {n}")).unwrap();
    }
    drop(talk);
    let copy = run.dir.join("copy");
    assert!(run.command(&["backup", copy.to_str().unwrap()]).status.success());
    assert_eq!(run.stop(), Some(0));
    // The copy is the record in one file, without a log beside it.
    let database = run.dir.join("record.db");
    let mut bytes = std::fs::read(copy.join("record.db")).unwrap();
    let _ = std::fs::remove_file(run.dir.join("record.db-wal"));
    let _ = std::fs::remove_file(run.dir.join("record.db-shm"));
    bytes[4096..].fill(0xa5);
    std::fs::write(&database, &bytes).unwrap();
    let said = refused(&run.dir, &[]);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("damaged") && said.contains("turncoat restore"),
        "{said}"
    );
    assert_eq!(
        std::fs::read(&database).unwrap(),
        bytes,
        "what is left of it is untouched"
    );
    // As the message says: aside with it, and the backup back.
    std::fs::rename(&database, run.dir.join("record.db.damaged")).unwrap();
    let restored = run.command(&["restore", copy.to_str().unwrap()]);
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    let mut again = start_on(run.dir.clone(), &[]);
    assert!(again.events().len() > 200);
    assert_eq!(again.stop(), Some(0));
}

#[test]
fn what_another_version_left_is_refused_in_words() {
    let dir = directory("versions");
    let image = std::fs::read_link(dir.join("images/default")).unwrap();
    let image = dir.join("images").join(image.file_name().unwrap());
    let known = std::fs::read(&image).unwrap();
    std::fs::remove_file(&image).unwrap();
    let mut newer = known.clone();
    newer[8..12].copy_from_slice(&99u32.to_le_bytes());
    let config = dir.join("turncoat.toml");
    let cover = dir.join("cover.json");
    let database = dir.join("record.db");
    let seed = dir.join("seed");
    std::fs::write(&seed, format!("{}\n", "ab".repeat(32))).unwrap();
    let ssh = [("TURNCOAT_SSH_LISTEN", "127.0.0.1:0")];

    // Each is put there, refused with what to do, and taken away again.
    let refuse = |path: &Path, content: &[u8], says: &[&str]| {
        std::fs::write(path, content).unwrap();
        let said = refused(&dir, &ssh);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            says.iter().all(|s| said.contains(s)),
            "{said} lacks one of {says:?}"
        );
        assert_eq!(
            std::fs::read(path).unwrap(),
            content,
            "{} is untouched",
            path.display()
        );
        std::fs::remove_file(path).unwrap();
    };
    refuse(
        &config,
        b"version = 7\n",
        &["turncoat.toml:1", "version 7", "turncoat init"],
    );
    refuse(&image, &newer, &["version 99", "turncoat image build"]);
    std::fs::write(&image, &known).unwrap();
    refuse(
        &cover,
        b"{\"format\": 99}",
        &["cover.json", "restore it from a backup"],
    );
    refuse(&seed, b"short\n", &["seed", "64 hexadecimal digits"]);
    std::fs::write(&seed, format!("{}\n", "ab".repeat(32))).unwrap();
    // A whole cover of another format.
    let mut run = common::ssh::start(&dir, "127.0.0.1:0", &[]);
    let copy = dir.join("copy");
    assert!(run.command(&["backup", copy.to_str().unwrap()]).status.success());
    assert_eq!(run.stop(), Some(0));
    let ours = String::from_utf8(std::fs::read(&cover).unwrap()).unwrap();
    let format = format!("\"format\": {}", turncoat_cover::FORMAT);
    assert!(ours.contains(&format));
    let other = ours.replacen(&format, "\"format\": 99", 1);
    refuse(
        &cover,
        other.as_bytes(),
        &["cover.json", "format 99", "become a new machine"],
    );
    std::fs::write(&cover, ours).unwrap();
    // A record of a newer program: the copy, which has no log beside it.
    let mut bytes = std::fs::read(copy.join("record.db")).unwrap();
    let _ = std::fs::remove_file(dir.join("record.db-wal"));
    let _ = std::fs::remove_file(dir.join("record.db-shm"));
    // The user version (sqlite.org/fileformat.html, offset 60).
    bytes[60..64].copy_from_slice(&99u32.to_be_bytes());
    refuse(&database, &bytes, &["schema 99", "use the newer program"]);
}

#[test]
fn without_a_supervisor_every_process_ends_and_nothing_is_lost() {
    let mut run = start("orphans", &[]);
    let mut talk = run.connect().unwrap();
    read_line(&mut talk).unwrap();
    assert_eq!(say(&mut talk, "last words").unwrap(), "last words");
    let children = run.processes();
    assert_eq!(children.len(), 3);
    run.signal(run.child.id() as i32, 9);
    run.child.wait().unwrap();
    until("every process has ended", || {
        children
            .iter()
            .all(|(_, pid)| !Path::new(&format!("/proc/{pid}/exe")).exists())
    });
    assert!(read_line(&mut talk).is_err(), "the connection is closed");
    let dir = run.dir.clone();
    let mut again = start_on(dir, &[]);
    let said = again
        .events()
        .iter()
        .filter(|e| e.kind.name() == "command.input")
        .count();
    assert_eq!(said, 1);
    assert_eq!(again.stop(), Some(0));
}

/// Two die at once, and the supervisor may hear of either first: it does not wait for one that waits for the other.
#[test]
fn whoever_dies_beside_the_record_all_are_started_anew() {
    let run = common::ssh::start(&directory("together"), "127.0.0.1:0", &[]);
    for round in 0..6 {
        let beside = ["front", "out"][round % 2];
        let before = [run.pid(beside).unwrap(), run.pid("record").unwrap()];
        run.signal(before[0], 9);
        // From before the supervisor has heard of the first to in the middle of its start.
        std::thread::sleep(Duration::from_millis([0, 3, 30][round / 2]));
        run.signal(before[1], 9);
        until("all are started anew", || {
            ["front", "out", "record"]
                .iter()
                .all(|role| run.pid(role).is_some_and(|p| !before.contains(&p)))
        });
        let mut session = run.connect().unwrap();
        assert_eq!(read_line(&mut session).unwrap(), "hello", "{beside}");
        assert_eq!(say(&mut session, "again").unwrap(), "again", "{beside}");
    }
}
