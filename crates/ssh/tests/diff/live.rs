//! The real sshd on loopback, and mutated conversations.

use crate::diff::{Client, Peer, Step};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use turncoat_ssh::HostKey;

/// The keys that may log in; as in `host`.
const AUTHORIZED: &str = "/tmp/turncoat-ssh-authorized";

/// A running sshd; killed when dropped.
pub struct Sshd {
    child: Child,
    dir: PathBuf,
    pub port: u16,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Sshd {
    /// Starts the machine's sshd with test keys; `None` if it is not there, not the version, or we are not root.
    pub fn start() -> Option<Sshd> {
        Sshd::start_with("MaxStartups 5000\n")
    }

    /// As [`start`](Sshd::start), with more lines of configuration.
    pub fn start_with(more: &str) -> Option<Sshd> {
        let version = Command::new("/usr/sbin/sshd").arg("-V").output().ok()?;
        if !String::from_utf8_lossy(&version.stderr).contains("OpenSSH_9.2") {
            return None;
        }
        std::fs::create_dir_all("/run/sshd").ok()?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .ok()?
            .local_addr()
            .ok()?
            .port();
        let dir = PathBuf::from(format!("/tmp/turncoat-ssh-{port}"));
        std::fs::create_dir_all(&dir).ok()?;
        let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");
        let mut text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nPidFile none\nUsePAM no\nPermitRootLogin yes\nStrictModes no\nKbdInteractiveAuthentication no\nX11Forwarding yes\nAcceptEnv LANG LC_*\nSubsystem sftp /usr/lib/openssh/sftp-server\n{more}PrintMotd no\nModuliFile /dev/null\n"
        );
        for k in ["rsa", "ecdsa", "ed25519"] {
            use std::os::unix::fs::PermissionsExt;
            let to = dir.join(k);
            std::fs::copy(format!("{data}/host_{k}"), &to).ok()?;
            std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).ok()?;
            text += &format!("HostKey {}\n", to.display());
        }
        // One name for all of them: sshd says it to the client, where its length shows in what is compressed.
        std::fs::copy(format!("{data}/user_ed25519.pub"), AUTHORIZED).ok()?;
        text += &format!("AuthorizedKeysFile {AUTHORIZED}\n");
        std::fs::write(dir.join("config"), text).ok()?;
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-f"])
            .arg(dir.join("config"))
            .arg("-E")
            .arg(dir.join("log"))
            .stdin(Stdio::null())
            .spawn()
            .ok()?;
        let sshd = Sshd { child, dir, port };
        for _ in 0..100 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(sshd);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }
}

fn run(sshd: &Sshd, steps: &[Step], key: &Arc<HostKey>, quiet: Duration) -> String {
    let tcp = TcpStream::connect(("127.0.0.1", sshd.port)).expect("connect");
    let _ = tcp.set_nodelay(true);
    Client::new(Peer::Live(tcp), quiet, Arc::clone(key)).run(steps)
}

/// How many conversations run at once, and how long silence has to last until it counts as the end of an answer. A busy machine
/// cuts an answer short; what differs is therefore run again at a slower pace.
pub const PACES: [(usize, Duration); 3] = [
    (80, Duration::from_millis(400)),
    (40, Duration::from_millis(1200)),
    (8, Duration::from_millis(3000)),
];

/// Many conversations at one of the [`PACES`].
pub fn run_many(
    sshd: &Sshd,
    scripts: &[&(String, Vec<Step>)],
    key: &Arc<HostKey>,
    (workers, quiet): (usize, Duration),
) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let mut all: Vec<(usize, String)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers.min(scripts.len()))
            .map(|_| {
                scope.spawn(|| {
                    let mut mine = Vec::new();
                    loop {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        let Some((_, steps)) = scripts.get(i).copied() else {
                            return mine;
                        };
                        mine.push((i, run(sshd, steps, key, quiet)));
                    }
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|w| w.join().expect("worker"))
            .collect()
    });
    all.sort();
    all.into_iter().map(|a| a.1).collect()
}

/// Conversations with random damage, by a fixed generator.
pub fn mutated(n: usize) -> Vec<(String, Vec<Step>)> {
    let bases: Vec<(String, Vec<Step>)> = crate::scripts::all()
        .into_iter()
        .filter(|s| s.1.len() > 1 && !s.0.contains("in pieces"))
        .collect();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut rand = move |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) as usize % n.max(1)
    };
    (0..n)
        .map(|i| {
            let (name, mut steps) = bases[rand(bases.len())].clone();
            for _ in 0..=rand(2) {
                let at = 1 + rand(steps.len() - 1);
                let damage = |b: &mut Vec<u8>, rand: &mut dyn FnMut(usize) -> usize, from: usize| {
                    if b.len() <= from {
                        return;
                    }
                    let p = from + rand(b.len() - from);
                    match rand(5) {
                        0 => b[p] = rand(256) as u8,
                        1 => b[p] ^= 1 << rand(8),
                        2 => b.truncate(p.max(1)),
                        3 => b.insert(p, rand(256) as u8),
                        _ => {
                            let (x, n) = (b[p], rand(8));
                            b.extend(std::iter::repeat_n(x, n));
                        }
                    }
                };
                match &mut steps[at] {
                    Step::Raw(b) => damage(b, &mut rand, 0),
                    Step::Packets(ps) => {
                        let k = rand(ps.len());
                        if let Some(p) = ps.get_mut(k) {
                            damage(p, &mut rand, 0);
                        }
                    }
                    _ => {}
                }
            }
            // A mutation must not run anything else in the oracle than the scripts do.
            let safe = steps.iter().all(|s| match s {
                Step::Packets(ps) => ps.iter().all(|p| {
                    let says = |w: &[u8]| p.windows(w.len()).any(|x| x == w);
                    let starts = says(b"shell") || says(b"exec") || says(b"subsystem") || says(b"forward");
                    !starts || says(b"exec") && says(b"\0\0\0\x03cat")
                }),
                _ => true,
            });
            if safe {
                (format!("m{i} {name}"), steps)
            } else {
                (format!("m{i} skipped"), vec![Step::Eof])
            }
        })
        .collect()
}
