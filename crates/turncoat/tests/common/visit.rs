//! Visits the SSH decoy of the built binary, with the real image behind it. The image is built once and shared by every test
//! (`target/tmp/turncoat-shared`).
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::{PROGRAM, Run, start_on};

/// One image build at a time, and one program on a port at a time.
pub static ONE: Mutex<()> = Mutex::new(());

/// A data directory with the image of a usual small server in it.
pub fn directory(name: &str) -> PathBuf {
    let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("turncoat-shared");
    std::fs::create_dir_all(&shared).unwrap();
    let lock = std::fs::File::create(shared.join("lock")).unwrap();
    lock.lock().unwrap();
    if !shared.join("images/default").exists() {
        eprintln!("building the image once, from this host's packages");
        let o = Command::new(PROGRAM)
            .arg("--data")
            .arg(&shared)
            .args(["image", "build"])
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(
            o.status.success(),
            "`turncoat image build` needs apt-get of a Debian"
        );
    }
    let dir = std::env::temp_dir().join(format!("turncoat-walk-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(dir.join("images")).unwrap();
    for entry in std::fs::read_dir(shared.join("images")).unwrap().flatten() {
        let (from, to) = (entry.path(), dir.join("images").join(entry.file_name()));
        if let Ok(target) = std::fs::read_link(&from) {
            std::os::unix::fs::symlink(target, to).unwrap();
        } else {
            std::fs::hard_link(&from, &to)
                .or_else(|_| std::fs::copy(&from, &to).map(drop))
                .unwrap();
        }
    }
    std::fs::write(dir.join("userdb.txt"), "root:x:!wrong\nroot:x:letmein\n").unwrap();
    dir
}

pub fn start(dir: &Path, listen: &str, more: &[(&str, &str)]) -> Run {
    let users = dir.join("userdb.txt");
    let mut settings = vec![
        ("TURNCOAT_SSH_LISTEN", listen),
        ("TURNCOAT_SSH_AUTH_POLICY", "list"),
        ("TURNCOAT_SSH_AUTH_FILE", users.to_str().unwrap()),
        ("TURNCOAT_SSH_AUTH_FAIL_DELAY", "false"),
    ];
    settings.extend_from_slice(more);
    start_on(dir.to_owned(), &settings)
}

pub fn ssh(
    port: u16,
    user: &str,
    host: &str,
    password: &str,
    tty: bool,
    command: &[&str],
    input: &str,
) -> Command {
    let mut c = Command::new("timeout");
    c.args([
        "60",
        "sshpass",
        "-p",
        password,
        "ssh",
        "-F",
        "none",
        "-o",
        "StrictHostKeyChecking=no",
    ])
    .args([
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "LogLevel=ERROR",
        "-o",
        "PubkeyAuthentication=no",
    ])
    .args([
        "-o",
        "NumberOfPasswordPrompts=1",
        if tty { "-tt" } else { "-T" },
        "-p",
        &port.to_string(),
    ])
    .arg(format!("{user}@{host}"))
    .args(command)
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .stderr(Stdio::piped());
    let _ = input;
    c
}

pub fn run(mut c: Command, input: &str) -> Output {
    use std::io::Write;
    let mut child = c
        .spawn()
        .expect("sshpass and ssh (packages sshpass, openssh-client) are needed");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn eventually(what: &str, seconds: u64, mut test: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(seconds);
    while !test() {
        assert!(Instant::now() < until, "{what}, within {seconds} s");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Ends the program in order and removes its directory.
pub fn finish(mut r: Run) {
    let pid = i32::try_from(r.child.id()).unwrap();
    r.signal(pid, 15);
    assert!(r.child.wait().unwrap().success());
    let _ = std::fs::remove_dir_all(&r.dir);
}
