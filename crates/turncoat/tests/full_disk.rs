//! A full disk: no new sessions, what is recorded stays, status says so, and it goes on by itself when there is room.
//!
//! Wants a small file system of its own: a tmpfs in a mount namespace (`unshare`). Where the machine does not allow that the test says so
//! and tests nothing.

mod common;

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{PROGRAM, read_line, say, until};

#[test]
fn a_full_disk_stops_new_sessions_and_nothing_else() {
    let dir = std::env::temp_dir().join(format!("turncoat-full-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let possible = Command::new("unshare")
        .args(["-rm", "mount", "-t", "tmpfs", "none", dir.to_str().unwrap()])
        .stderr(Stdio::null())
        .status();
    if !possible.is_ok_and(|s| s.success()) {
        eprintln!("skipped: this machine allows no mount namespaces (unshare -rm)");
        return;
    }
    let script = format!(
        "mount -t tmpfs -o size=160m none {0} && exec {PROGRAM}",
        dir.display()
    );
    let mut child = Command::new("unshare")
        .args(["-rm", "sh", "-c", &script])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TURNCOAT_DATA", &dir)
        .env("TURNCOAT_SSH_LISTEN", "")
        .env("TURNCOAT_ECHO_LISTEN", "127.0.0.1:0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut echo = String::new();
    while echo.is_empty() {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        echo = line
            .trim()
            .strip_prefix("listens   echo ")
            .unwrap_or_default()
            .to_owned();
    }
    // The directory as the program sees it.
    let inside = format!("/proc/{}/root{}", child.id(), dir.display());
    let connect = || {
        let talk = std::net::TcpStream::connect(&echo).unwrap();
        talk.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        talk
    };
    let mut open = connect();
    assert_eq!(read_line(&mut open).unwrap(), "hello");
    let ballast = format!("{inside}/ballast");
    std::fs::write(&ballast, vec![0u8; 110 << 20]).unwrap();
    until("new sessions are refused", || {
        let mut talk = connect();
        talk.read(&mut [0; 8]).map_or(true, |n| n == 0)
    });
    // Those that are open go on.
    assert_eq!(say(&mut open, "still here").unwrap(), "still here");
    // Really full: acts wait, unanswered.
    let mut size = 160u64 << 20;
    while size > 0
        && std::fs::OpenOptions::new()
            .append(true)
            .open(&ballast)
            .and_then(|mut f| std::io::Write::write_all(&mut f, &vec![0; 4096]))
            .is_ok()
    {
        size = size.saturating_sub(4096);
    }
    open.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    let mut silent = false;
    for n in 0..200 {
        silent = say(&mut open, &format!("{n} {}", "x".repeat(3000))).is_err();
        if silent {
            break;
        }
    }
    assert!(silent, "an act was answered although nothing can be written");
    std::fs::remove_file(&ballast).unwrap();
    open.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert!(
        read_line(&mut open).unwrap().contains("xxx"),
        "what waited is answered when there is room"
    );
    until("new sessions may begin", || {
        read_line(&mut connect()).is_ok_and(|l| l == "hello")
    });
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let _ = std::fs::remove_dir_all(&dir);
}
