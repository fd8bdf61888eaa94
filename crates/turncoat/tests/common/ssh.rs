//! The real OpenSSH client against a decoy with worlds behind it.
//!
//! The image is built once by the program's own code and shared by every test (`target/tmp/turncoat-shared`).

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::{Run, start_on};

/// A data directory with the image of a usual small server in it.
pub fn directory(name: &str) -> PathBuf {
    directory_of(&super::shared(), name)
}

/// The same with an image that has telnetd, built once as well; packages come from the cache of the other one.
pub fn telnet_directory(name: &str) -> PathBuf {
    let telnet = super::shared().with_file_name("turncoat-telnet");
    std::fs::create_dir_all(&telnet).unwrap();
    let lock = std::fs::File::create(telnet.join("lock")).unwrap();
    lock.lock().unwrap();
    if !telnet.join("images/default").exists() {
        let _ = std::os::unix::fs::symlink("../turncoat-shared/cache", telnet.join("cache"));
        eprintln!("building the image with telnetd once, from this host's packages");
        let built = Command::new(super::PROGRAM)
            .arg("--data")
            .arg(&telnet)
            .args(["image", "build"])
            .args(turncoat::process::decoys::TELNET_PACKAGES)
            .status()
            .unwrap();
        assert!(built.success(), "the image with telnetd");
    }
    directory_of(&telnet, name)
}

/// A data directory with the images of another one in it.
pub fn directory_of(shared: &Path, name: &str) -> PathBuf {
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

/// The program with its SSH decoy on `listen`, where root logs in with `letmein`.
pub fn start(dir: &Path, listen: &str, more: &[(&str, &str)]) -> Run {
    start_on(dir.to_owned(), &settings(dir, listen, more))
}

/// What such a program is started with.
pub fn settings<'a>(dir: &Path, listen: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let users = dir.join("userdb.txt").to_str().unwrap().to_owned();
    let mut settings = vec![
        ("TURNCOAT_SSH_LISTEN", listen),
        ("TURNCOAT_SSH_AUTH_POLICY", "list"),
        // A test is short: what it leaks is gone with it.
        ("TURNCOAT_SSH_AUTH_FILE", &*users.leak()),
        ("TURNCOAT_SSH_AUTH_FAIL_DELAY", "false"),
    ];
    settings.extend_from_slice(more);
    settings
}

/// A client that is about to log in with a password; it gives up after a minute.
pub fn ssh(port: u16, user: &str, host: &str, password: &str, tty: bool, command: &[&str]) -> Command {
    let mut c = Command::new("timeout");
    c.args(["60", "sshpass", "-p", password, "ssh", "-F", "none"]);
    for option in [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
        "PubkeyAuthentication=no",
        "NumberOfPasswordPrompts=1",
    ] {
        c.args(["-o", option]);
    }
    c.args([if tty { "-tt" } else { "-T" }, "-p", &port.to_string()])
        .arg(format!("{user}@{host}"))
        .args(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    c
}

/// Runs a client to its end.
pub fn run(mut c: Command, input: &str) -> Output {
    let mut child = c
        .spawn()
        .expect("sshpass and ssh (packages sshpass, openssh-client) are needed");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// The files among the journals whose names end so.
pub fn journals(dir: &Path, end: &str) -> Vec<PathBuf> {
    let shards = std::fs::read_dir(dir.join("journals"))
        .into_iter()
        .flatten()
        .flatten();
    let all = shards.flat_map(|d| std::fs::read_dir(d.path()).unwrap().flatten());
    all.map(|e| e.path())
        .filter(|p| p.to_str().unwrap().ends_with(end))
        .collect()
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until something is so.
pub fn eventually(what: &str, seconds: u64, mut test: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(seconds);
    while !test() {
        assert!(Instant::now() < until, "{what}, within {seconds} s");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A shell on a terminal behind a real client, which is typed into and read from.
pub struct Shell {
    child: Child,
    to: ChildStdin,
    from: Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Shell {
    /// Begins to log in as root.
    pub fn open(port: u16) -> Shell {
        let mut child = ssh(port, "root", "127.0.0.1", "letmein", true, &[])
            .stderr(Stdio::null())
            .spawn()
            .expect("sshpass and ssh (packages sshpass, openssh-client) are needed");
        let (mut out, to) = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
        let (send, from) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n) = out.read(&mut buffer) {
                if n == 0 || send.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Shell {
            child,
            to,
            from,
            seen: Vec::new(),
        }
    }

    /// Types a line.
    pub fn enter(&mut self, line: &str) -> bool {
        self.to.write_all(format!("{line}\n").as_bytes()).is_ok()
    }

    /// Waits until this is shown, and forgets everything up to it. False when the client is gone or the time is over.
    pub fn expect(&mut self, what: &str, most: Duration) -> bool {
        let until = Instant::now() + most;
        loop {
            if let Some(at) = self.seen.windows(what.len()).position(|w| w == what.as_bytes()) {
                self.seen.drain(..at + what.len());
                return true;
            }
            match self
                .from
                .recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                Ok(bytes) => self.seen.extend(bytes),
                Err(_) => return false,
            }
        }
    }

    /// What was shown and not waited for.
    pub fn rest(&mut self) -> String {
        self.seen.extend(self.from.try_iter().flatten());
        text(&std::mem::take(&mut self.seen))
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // `timeout` passes it on to what it runs.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// Stands between clients and a decoy, and counts every byte that the decoy lets out.
pub struct Relay {
    pub port: u16,
    out: Arc<AtomicU64>,
}

impl Relay {
    /// In front of this address.
    pub fn new(to: &str) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let out = Arc::new(AtomicU64::new(0));
        let (to, counter) = (to.to_owned(), out.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(decoy) = TcpStream::connect(&to) else {
                    continue;
                };
                let pairs = [
                    (client.try_clone().unwrap(), decoy.try_clone().unwrap(), None),
                    (decoy, client, Some(counter.clone())),
                ];
                for (from, to, count) in pairs {
                    std::thread::spawn(move || pass(from, to, count));
                }
            }
        });
        Relay { port, out }
    }

    /// Bytes that came out of the decoy so far.
    pub fn count(&self) -> u64 {
        self.out.load(Ordering::SeqCst)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, count: Option<Arc<AtomicU64>>) {
    let mut buffer = [0; 8192];
    while let Ok(n) = from.read(&mut buffer) {
        if let Some(count) = &count {
            count.fetch_add(n as u64, Ordering::SeqCst);
        }
        if n == 0 || to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}
