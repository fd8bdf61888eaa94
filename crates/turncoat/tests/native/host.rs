//! The native side: a chroot over an overlay of the unpacked image, the cover's files, and the case's own directory.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::cases::{Case, Seen};
use crate::world::{COLUMNS, ROWS, Stage, blank, listing, unpacked};
use turncoat_cover::Kind;

/// A screen that did not change for so long rests.
const REST: Duration = Duration::from_millis(700);

pub struct Host {
    scratch: PathBuf,
    lower: String,
    hostname: String,
    environment: Vec<u8>,
    next: AtomicUsize,
    /// Which files are listed after a case, for find(1).
    which: String,
    /// The lines of a listing that an untouched machine has: a file that was only opened to be written is copied up and looks
    /// changed, natively.
    pub untouched: BTreeSet<Vec<u8>>,
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.scratch);
    }
}

/// Lays the cover's files down; a directory that the image has keeps what the image says unless the cover says otherwise.
fn lay(files: &[turncoat_cover::File], image: &Path, to: &Path) {
    let within = |path: &str| to.join(path.trim_start_matches('/'));
    for f in files.iter().filter(|f| !f.path.starts_with("/run/")) {
        let path = within(&f.path);
        let mut at = PathBuf::new();
        for part in path.parent().unwrap().strip_prefix(to).unwrap() {
            at.push(part);
            let (here, below) = (to.join(&at), image.join(&at));
            assert!(!below.is_symlink(), "{}: a cover's file behind a link", f.path);
            if !here.exists() {
                std::fs::create_dir(&here).unwrap();
                if let Ok(m) = std::fs::metadata(&below) {
                    use std::os::unix::fs::MetadataExt;
                    chown(&here, Some(m.uid()), Some(m.gid())).unwrap();
                    std::fs::set_permissions(&here, m.permissions()).unwrap();
                }
            }
        }
        match &f.kind {
            Kind::Directory => {
                if !path.exists() {
                    std::fs::create_dir(&path).unwrap();
                }
            }
            Kind::Symlink(target) => {
                let _ = std::fs::remove_file(&path);
                symlink(target, &path).unwrap();
                continue;
            }
            Kind::Regular(content) => std::fs::write(&path, content.bytes()).unwrap(),
        }
        chown(&path, Some(f.uid), Some(f.gid)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(f.mode)).unwrap();
        let time = std::time::UNIX_EPOCH + Duration::from_secs(f.mtime.max(0) as u64);
        let _ = File::open(&path)
            .unwrap()
            .set_times(std::fs::FileTimes::new().set_modified(time).set_accessed(time));
    }
}

impl Host {
    pub fn new(stage: &Stage) -> Host {
        let image = unpacked(stage);
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("native-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&scratch);
        let cover = scratch.join("cover");
        std::fs::create_dir_all(&cover).unwrap();
        lay(&stage.files, &image, &cover);
        // Older than the mark that cases set at their beginning, a second back.
        std::thread::sleep(Duration::from_millis(1200));
        let mut host = Host {
            which: "-newermt 1970-01-01".to_owned(),
            untouched: BTreeSet::new(),
            lower: format!("{}:{}", cover.display(), image.display()),
            scratch,
            hostname: stage.hostname.clone(),
            environment: stage.environment.clone(),
            next: AtomicUsize::new(0),
        };
        let nothing = Case {
            name: "untouched".into(),
            script: "true".into(),
            masks: Vec::new(),
            terminal: false,
            keys: Vec::new(),
            from: 0,
            differs: String::new(),
        };
        let seen = host.run(&nothing);
        host.untouched = seen.files.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        host.which = "-cnewer /.begin".to_owned();
        host
    }

    fn command(&self, case: &Case) -> (PathBuf, Command) {
        let dir = self
            .scratch
            .join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&dir).unwrap();
        let mut environment = self.environment.clone();
        if case.terminal {
            environment.extend(b"TERM=xterm\0SSH_TTY=/dev/pts/0\0");
        }
        std::fs::write(dir.join("environment"), environment).unwrap();
        std::fs::write(dir.join("script"), &case.script).unwrap();
        std::fs::write(dir.join("files.sh"), listing(&self.which)).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/native/host.sh");
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", "100"]);
        if case.terminal {
            command.arg("setsid").arg("--ctty").arg("--wait");
        }
        command
            .args(["sh", script, &self.lower])
            .arg(&dir)
            .arg(&self.hostname);
        (dir, command)
    }

    fn end(&self, dir: &Path, seen: &mut Seen) {
        let status = std::fs::read_to_string(dir.join("status")).unwrap_or_default();
        seen.status = status.trim().parse().unwrap_or(i32::MIN);
        seen.files = std::fs::read(dir.join("files")).unwrap_or_default();
        let _ = std::fs::remove_dir_all(dir);
    }

    /// Runs a case.
    pub fn run(&self, case: &Case) -> Seen {
        let (dir, mut command) = self.command(case);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdin.take());
        let done = child.wait_with_output().unwrap();
        if done.status.signal().is_some() {
            eprintln!("{}: killed natively", case.name);
        }
        let mut seen = Seen {
            out: done.stdout,
            err: done.stderr,
            ..Seen::default()
        };
        self.end(&dir, &mut seen);
        seen
    }

    /// Runs a case on a terminal.
    pub fn terminal(&self, case: &Case) -> Seen {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let (dir, mut command) = self.command(case);
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = rustix::termios::Winsize {
            ws_row: ROWS,
            ws_col: COLUMNS,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&master, size).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = || {
            File::options()
                .read(true)
                .write(true)
                .open(name.to_str().unwrap())
                .unwrap()
        };
        let mut child = command
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .unwrap();
        drop(command);
        let master = File::from(master);
        let mut reader = master.try_clone().unwrap();
        let (send, receive) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                if send.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        let mut parser = blank();
        let mut seen = Seen::default();
        let mut keys = case.keys.iter();
        let mut first = true;
        loop {
            // The namespaces take a moment before the program begins.
            let patience = match (first, keys.len()) {
                (true, _) => REST * 3,
                (_, 0) => Duration::from_secs(10),
                _ => REST,
            };
            match receive.recv_timeout(patience) {
                Ok(bytes) => {
                    first = false;
                    parser.process(&bytes);
                }
                Err(RecvTimeoutError::Timeout) => {
                    use std::io::Write;
                    seen.screens.push(parser.screen().contents());
                    let Some(k) = keys.next() else { break };
                    (&master).write_all(k).unwrap();
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        drop(master);
        let _ = child.wait();
        seen.screens.push(parser.screen().contents());
        self.end(&dir, &mut seen);
        seen
    }
}
