//! Drives the built binary: starts it on a directory of its own, finds its processes, speaks to its decoys.
#![allow(dead_code)]

pub mod receivers;
pub mod ssh;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use turncoat_event::Event;
use turncoat_store::{Filter, Layout, Reader};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_turncoat");

/// A run of the program.
pub struct Run {
    pub dir: PathBuf,
    pub child: Child,
    pub echo: String,
    /// Where the SSH decoy listens.
    pub ssh: String,
    /// Where the Telnet decoy listens.
    pub telnet: String,
    /// What it said when it started, by line.
    pub greeting: Vec<String>,
    /// The link that opens the console.
    pub console: String,
}

/// A data directory with the image of a usual small server in it, shared by every test (`target/tmp/turncoat-shared`): the program's
/// own code builds it once.
pub fn shared() -> PathBuf {
    let shared = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("turncoat-shared");
    std::fs::create_dir_all(&shared).unwrap();
    let lock = std::fs::File::create(shared.join("lock")).unwrap();
    lock.lock().unwrap();
    // An image of another set of packages is not this program's.
    let (stamp, wanted) = (shared.join("packages"), include_str!("../../data/packages.txt"));
    let same = std::fs::read_to_string(&stamp).is_ok_and(|s| s == wanted);
    if !same || !shared.join("images/default").exists() {
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
        let kept = std::fs::canonicalize(shared.join("images/default")).unwrap();
        for old in std::fs::read_dir(shared.join("images")).unwrap() {
            let old = old.unwrap().path();
            if old.extension().is_some_and(|e| e == "image") && old != kept {
                let _ = std::fs::remove_file(old);
            }
        }
        std::fs::write(stamp, wanted).unwrap();
    }
    shared
}

/// A directory of its own, and the program that runs on it.
pub fn start(name: &str, settings: &[(&str, &str)]) -> Run {
    let dir = std::env::temp_dir().join(format!("turncoat-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    start_on(dir, settings)
}

pub fn start_on(dir: PathBuf, settings: &[(&str, &str)]) -> Run {
    start_by(Command::new(PROGRAM), dir, settings)
}

/// The program by a command that ends in it.
pub fn start_by(mut command: Command, dir: PathBuf, settings: &[(&str, &str)]) -> Run {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TURNCOAT_DATA", &dir)
        .env("TURNCOAT_SSH_LISTEN", "")
        .env("TURNCOAT_ECHO_LISTEN", "127.0.0.1:0")
        .env("TURNCOAT_CONSOLE_LISTEN", "")
        .env("TURNCOAT_SENSOR_RESTARTS", "1000");
    for (key, value) in settings {
        command.env(key, value);
    }
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(if std::env::var_os("SHOW").is_some() {
            Stdio::inherit()
        } else {
            Stdio::null()
        })
        .spawn()
        .unwrap();
    let (mut echo, mut ssh, mut console, mut greeting) =
        (String::new(), String::new(), String::new(), Vec::new());
    let mut telnet = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines.by_ref() {
        let line = line.unwrap();
        if let Some(address) = line.trim().strip_prefix("listens   echo ") {
            echo = address.to_owned();
        }
        if let Some(address) = line.trim().strip_prefix("listens   ssh ") {
            ssh = address.to_owned();
        }
        if let Some(address) = line.trim().strip_prefix("listens   telnet ") {
            telnet = address.to_owned();
        }
        if let Some(link) = line.trim().strip_prefix("console   ") {
            console = link.split_whitespace().next().unwrap().to_owned();
        }
        let last = line.trim_start().starts_with("look");
        greeting.push(line);
        if last {
            break;
        }
    }
    // Whatever else it says must not fill the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    Run {
        dir,
        child,
        echo,
        ssh,
        telnet,
        greeting,
        console,
    }
}

impl Run {
    pub fn command(&self, args: &[&str]) -> Output {
        Command::new(PROGRAM)
            .env_clear()
            .env("TURNCOAT_DATA", &self.dir)
            .args(args)
            .output()
            .unwrap()
    }

    pub fn status(&self) -> Option<Json> {
        serde_json::from_slice(&self.command(&["status", "--json"]).stdout).ok()
    }

    /// Process ids by role, from the process table.
    pub fn processes(&self) -> Vec<(String, i32)> {
        let mut found = Vec::new();
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        // Children of any thread.
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let mut pids = std::fs::read_to_string(children).unwrap_or_default();
        for task in tasks.flatten() {
            pids.push(' ');
            pids.push_str(&std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
        }
        for pid in pids.split_whitespace() {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|b| *b == 0).collect();
            if let [_, b"process", role, ..] = words.as_slice() {
                found.push((String::from_utf8_lossy(role).into_owned(), pid.parse().unwrap()));
            }
        }
        found.sort();
        found.dedup();
        found
    }

    pub fn pid(&self, role: &str) -> Option<i32> {
        self.processes()
            .into_iter()
            .find(|(r, _)| r == role)
            .map(|(_, p)| p)
    }

    pub fn signal(&self, pid: i32, signal: i32) {
        let _ = Command::new("kill")
            .args([format!("-{signal}"), pid.to_string()])
            .status();
    }

    pub fn connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect(&self.echo)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(stream)
    }

    pub fn events(&self) -> Vec<Event> {
        let reader = Reader::open(&Layout::new(&self.dir)).unwrap();
        assert_eq!(reader.damage().unwrap(), None);
        let mut all: Vec<Event> = Vec::new();
        loop {
            let after = all.last().map_or(0, |e| e.seq);
            let (mut events, _) = reader
                .events(
                    &Filter {
                        after: Some(after),
                        ..Filter::default()
                    },
                    5000,
                )
                .unwrap();
            if events.is_empty() {
                return all;
            }
            all.append(&mut events);
        }
    }

    pub fn stop(&mut self) -> Option<i32> {
        self.signal(self.child.id() as i32, 15);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal(self.child.id() as i32, 15);
            let _ = self.child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Connects from one of the loopback network's addresses.
pub fn connect_from(from: std::net::Ipv4Addr, to: &str) -> TcpStream {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
    let to: std::net::SocketAddrV4 = to.parse().unwrap();
    let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
    let fd = socket_with(family, kind, SocketFlags::CLOEXEC, None).unwrap();
    bind(&fd, &std::net::SocketAddrV4::new(from, 0)).unwrap();
    connect(&fd, &to).unwrap();
    TcpStream::from(fd)
}

/// Waits until something is so.
pub fn until(what: &str, so: impl FnMut() -> bool) {
    until_within(Duration::from_secs(30), what, so);
}

/// Waits until something is so, for no longer than `most`.
pub fn until_within(most: Duration, what: &str, mut so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < most, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Says a line and waits for it to come back.
pub fn say(stream: &mut TcpStream, line: &str) -> std::io::Result<String> {
    stream.write_all(format!("{line}\n").as_bytes())?;
    read_line(stream)
}

pub fn read_line(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte)?;
        if byte[0] == b'\n' {
            return Ok(String::from_utf8_lossy(&line).into_owned());
        }
        line.push(byte[0]);
    }
}
