//! The real OpenSSH client against the SSH decoy, with a guest that only echoes.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use turncoat_decoys::Machine;
use turncoat_decoys::auth::{Accounts, Judge, Limits, Policy, UserDb};
use turncoat_decoys::journal::Birth;
use turncoat_decoys::machine::FailDelay;
use turncoat_decoys::ssh::{Forward, Peer, Ssh, serve};
use turncoat_decoys::worlds::{Bounds, Conn, Guest, Input, Open, Produced, Program, Scope, Wants, Worlds};
use turncoat_event::record::{Item, Refused};
use turncoat_event::{Committer, Direction, Kind, Mark, Recorder, Time, Watermark};
use turncoat_ssh::{HostKey, Moduli, ServerConfig};

/// Counts nothing.
struct Unmetered;

impl turncoat_decoys::ssh::Meter for Unmetered {
    fn sent(&self, _: std::net::IpAddr, _: u64) -> Option<turncoat_decoys::ssh::Passed> {
        None
    }
}

struct Record {
    items: Mutex<Vec<Item>>,
    next: AtomicU64,
    committer: Committer,
    watermark: Watermark,
}

impl Recorder for Record {
    fn submit(&self, item: Item) -> Result<Mark, Refused> {
        let mut items = self.items.lock().unwrap();
        items.push(item);
        let mark = Mark(self.next.fetch_add(1, Ordering::SeqCst) + 1);
        self.committer.committed(mark);
        Ok(mark)
    }
    fn watermark(&self) -> &Watermark {
        &self.watermark
    }
    fn accepting(&self) -> bool {
        true
    }
}

/// Echoes its input in capitals; a command is answered with itself and status 3, "late" in pieces with pauses between them.
#[derive(Default)]
struct Echo {
    late: std::collections::VecDeque<Produced>,
    at: Option<Time>,
    out: Vec<Produced>,
    next: u32,
    passwords: Arc<Mutex<Vec<String>>>,
    accounts: Arc<Accounts>,
}

impl Guest for Echo {
    fn open(&mut self, open: &Open) -> Result<Conn, String> {
        self.next += 1;
        let conn = Conn(self.next);
        if matches!(&open.program, Program::Command(c) if c == b"late") {
            let bytes = b"late".to_vec();
            self.late.extend([
                Produced::Data {
                    conn,
                    stderr: false,
                    bytes,
                },
                Produced::Exit { conn, status: 4 },
                Produced::Eof { conn },
            ]);
        } else if let Program::Command(c) = &open.program {
            self.out.push(Produced::Data {
                conn,
                stderr: false,
                bytes: c.clone(),
            });
            self.out.push(Produced::Data {
                conn,
                stderr: true,
                bytes: b"oops\n".to_vec(),
            });
            self.out.push(Produced::Exit { conn, status: 3 });
            self.out.push(Produced::Eof { conn });
        }
        Ok(conn)
    }
    fn input(&mut self, conn: Conn, input: Input) {
        match input {
            Input::Data(b) => self.out.push(Produced::Data {
                conn,
                stderr: false,
                bytes: b.to_ascii_uppercase(),
            }),
            // The one that is late goes on by itself.
            Input::Eof if self.late.is_empty() => {
                self.out.push(Produced::Exit { conn, status: 0 });
                self.out.push(Produced::Eof { conn });
            }
            _ => {}
        }
    }
    fn room(&self, _: Conn) -> usize {
        4096
    }
    fn add_key(&mut self, _: &[u8], _: &[u8]) {}
    fn accounts(&self) -> Arc<Accounts> {
        self.accounts.clone()
    }
    fn retired(&self) -> u64 {
        0
    }
    fn set_password(&mut self, user: &[u8], hash: &str) {
        self.passwords
            .lock()
            .unwrap()
            .push(format!("{}:{hash}", String::from_utf8_lossy(user)));
    }
    fn run(&mut self, _: u64, now: Time) -> Wants {
        if self.late.is_empty() {
            return Wants::Sleep(None);
        }
        let at = *self.at.get_or_insert(now.plus_nanos(100_000_000));
        if now < at {
            return Wants::Sleep(Some(at));
        }
        self.out.extend(self.late.pop_front());
        self.at = Some(now.plus_nanos(100_000_000));
        Wants::Sleep(self.at)
    }
    fn drain(&mut self, out: &mut Vec<Produced>) {
        out.append(&mut self.out);
    }
}

fn entropy(b: &mut [u8]) {
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").unwrap(), b).unwrap();
}

struct Running {
    port: u16,
    record: Arc<Record>,
    passwords: Arc<Mutex<Vec<String>>>,
    dir: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

fn start() -> Running {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    let ok = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status();
    assert!(
        ok.expect("ssh-keygen (package openssh-client) is needed")
            .success()
    );
    let key = Arc::new(HostKey::from_openssh(&std::fs::read_to_string(&key).unwrap()).unwrap());
    let config = ServerConfig::debian12(
        "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7",
        vec![key],
        Arc::new(Moduli::default()),
    );
    let config = Arc::new(ServerConfig {
        permit_root_login: turncoat_ssh::PermitRootLogin::Yes,
        ..config
    });
    let (committer, watermark) = Committer::new();
    let record = Arc::new(Record {
        items: Mutex::default(),
        next: AtomicU64::new(0),
        committer,
        watermark,
    });
    let passwords: Arc<Mutex<Vec<String>>> = Arc::default();
    let clock: turncoat_decoys::machine::Clock = Arc::new(|| Time::from_system(std::time::SystemTime::now()));
    let made = passwords.clone();
    let worlds = Worlds::start(
        Arc::new(move || {
            let guest = Box::new(Echo {
                passwords: made.clone(),
                ..Echo::default()
            });
            let birth = Birth {
                build: String::new(),
                image: String::new(),
                cover: String::new(),
                outside: String::new(),
                booted: Time(0),
                snapshot: [0; 32],
                seed: [0; 32],
            };
            (guest, birth)
        }),
        Scope::Source,
        Bounds::default(),
        1,
        record.clone(),
        clock.clone(),
        Arc::new(entropy),
    )
    .unwrap();
    let db = UserDb::parse(b"root:x:!wrong\nroot:x:right\n").unwrap();
    let machine = Arc::new(Machine {
        taken: Default::default(),
        recorder: record.clone(),
        worlds,
        judge: Mutex::new(Judge::new(Policy::List(db), [1; 32], Limits::default())),
        accounts: RwLock::new(BTreeSet::from([b"root".to_vec()])),
        fail_delay: FailDelay::NONE,
        refused: Arc::new(turncoat_decoys::refused::Ledger::new(0)),
        hashing: tokio::sync::Semaphore::new(1),
        hashes: Default::default(),
        clock,
        entropy: Arc::new(entropy),
        names: ("image".into(), "cover".into()),
    });
    let ssh = Arc::new(Ssh {
        config,
        machine,
        bytes_out: 1 << 30,
        recording: 1 << 30,
        meter: Arc::new(Unmetered),
        startups: None,
        forward: Forward::Refused,
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime.spawn(async move {
        while let Ok((stream, source)) = listener.accept().await {
            let local = stream.local_addr().unwrap();
            tokio::spawn(serve(
                ssh.clone(),
                stream,
                Peer {
                    source,
                    local,
                    via: None,
                },
                std::future::pending(),
            ));
        }
    });
    Running {
        port,
        record,
        passwords,
        dir,
        _runtime: runtime,
    }
}

impl Running {
    fn ssh(&self, password: &str, args: &[&str], input: &[u8]) -> std::process::Output {
        let ask = self.dir.path().join("ask");
        std::fs::write(&ask, format!("#!/bin/sh\necho {password}\n")).unwrap();
        std::os::unix::fs::PermissionsExt::set_mode(
            &mut std::fs::metadata(&ask).unwrap().permissions(),
            0o700,
        );
        Command::new("chmod")
            .args(["700", ask.to_str().unwrap()])
            .status()
            .unwrap();
        let mut c = Command::new("ssh");
        c.args([
            "-F",
            "none",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
        ])
        .args([
            "-o",
            "NumberOfPasswordPrompts=1",
            "-o",
            "PubkeyAuthentication=no",
            "-p",
            &self.port.to_string(),
        ])
        .args(args)
        .env("SSH_ASKPASS", &ask)
        .env("SSH_ASKPASS_REQUIRE", "force")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
        let mut child = c.spawn().expect("ssh (package openssh-client) is needed");
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }

    fn events(&self) -> Vec<Kind> {
        let items = self.record.items.lock().unwrap();
        items
            .iter()
            .filter_map(|i| {
                if let Item::Event(d) = i {
                    Some(d.kind.clone())
                } else {
                    None
                }
            })
            .collect()
    }
}

#[test]
fn a_command_runs_and_everything_is_on_record() {
    let r = start();
    let o = r.ssh("right", &["root@127.0.0.1", "uname -a"], b"");
    assert_eq!(
        String::from_utf8_lossy(&o.stdout),
        "uname -a",
        "{}",
        String::from_utf8_lossy(&o.stderr)
    );
    assert_eq!(String::from_utf8_lossy(&o.stderr), "oops\n");
    assert_eq!(o.status.code(), Some(3));
    std::thread::sleep(std::time::Duration::from_millis(200));
    let events = r.events();
    let names: Vec<&str> = events.iter().map(Kind::name).collect();
    assert_eq!(names.first(), Some(&"session.open"));
    assert_eq!(names.last(), Some(&"session.close"));
    for n in [
        "client.version",
        "client.kex",
        "auth.attempt",
        "world.start",
        "command.exec",
    ] {
        assert!(names.contains(&n), "{n} in {names:?}");
    }
    assert!(
        events
            .iter()
            .any(|k| matches!(k, Kind::AuthAttempt(a) if a.accepted && a.policy == "list"))
    );
    let hash = r.passwords.lock().unwrap().first().cloned().unwrap();
    assert!(hash.starts_with("root:$y$j9T$"), "{hash}");
    let items = r.record.items.lock().unwrap();
    assert!(
        items.iter().any(
            |i| matches!(i, Item::Frame(f) if f.direction == Direction::Output && f.bytes == b"uname -a")
        )
    );
}

/// Nothing follows the end of a program, so nothing else takes it along.
#[test]
fn the_last_output_leaves_at_once() {
    let r = start();
    let before = std::time::Instant::now();
    let o = r.ssh(
        "right",
        &["-o", "ServerAliveInterval=0", "root@127.0.0.1", "late"],
        b"",
    );
    assert_eq!(String::from_utf8_lossy(&o.stdout), "late");
    assert_eq!(o.status.code(), Some(4));
    assert!(before.elapsed() < std::time::Duration::from_secs(5));
}

#[test]
fn a_wrong_password_stays_out() {
    let r = start();
    let o = r.ssh("wrong", &["root@127.0.0.1", "id"], b"");
    assert_eq!(o.status.code(), Some(255));
    assert!(
        String::from_utf8_lossy(&o.stderr).contains("Permission denied (publickey,password)"),
        "{}",
        String::from_utf8_lossy(&o.stderr)
    );
    assert!(
        r.events()
            .iter()
            .all(|k| !matches!(k, Kind::AuthAttempt(a) if a.accepted))
    );
}

#[test]
fn a_megabyte_goes_both_ways() {
    let r = start();
    let input: Vec<u8> = (0..1_000_000u32).map(|i| b'a' + (i % 26) as u8).collect();
    let o = r.ssh("right", &["-T", "root@127.0.0.1"], &input);
    assert_eq!(
        o.stdout.len(),
        input.len(),
        "{}",
        String::from_utf8_lossy(&o.stderr)
    );
    assert!(o.stdout == input.to_ascii_uppercase());
}
