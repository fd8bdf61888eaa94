//! Where the audit's answers come from: the running decoy over OpenSSH's own client, or a world of one's own in this process.
//!
//! What is asked and what must agree is in [`turncoat_cover::audit`].

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use turncoat_cover::audit::{Finding, Seen, count, script};
use turncoat_event::Time;
use turncoat_kernel::{Input, Open, Out, Slice, World};
use turncoat_ssh::ServerConfig;
use turncoat_store::Layout;

use crate::plant::Target;

/// The longest output of the script that is read.
const LONGEST: u64 = 32 << 20;
/// How long the machine may take for all of it.
const PATIENCE: Duration = Duration::from_secs(600);

/// The longest result that is read.
const RESULT: u64 = 1 << 20;

/// Keeps what an audit of the running decoy found, for the console: `audit.json` in the data directory.
///
/// # Errors
/// One line: the file cannot be written.
pub fn keep(layout: &Layout, target: &Target, found: &[Finding], made: Time) -> Result<(), String> {
    let path = layout.root().join("audit.json");
    let result = json!({
        "made": made, "target": format!("{}:{}", target.host, target.port), "checks": count(), "findings": found,
    });
    let part = path.with_extension("part");
    std::fs::write(&part, result.to_string())
        .and_then(|()| std::fs::rename(&part, &path))
        .map_err(|e| format!("{}: {e}", path.display()))
}

/// What the last audit found; null where there was none.
pub fn last(layout: &Layout) -> Json {
    let mut text = String::new();
    let read = std::fs::File::open(layout.root().join("audit.json"))
        .and_then(|file| file.take(RESULT).read_to_string(&mut text));
    match read {
        Ok(_) => serde_json::from_str(&text).unwrap_or_default(),
        Err(_) => Json::Null,
    }
}

/// Looks at the decoy at `target` from outside and, logged in as root with the private key in the file `key`, from inside.
///
/// # Errors
/// One line: what could not be reached or run.
pub fn over_ssh(target: &Target, key: &Path) -> Result<Seen, String> {
    let banner = banner(target)?;
    let script = script();
    let output = ssh(target, key, &["sh"], script.as_bytes())?;
    let mut seen = Seen::of(&String::from_utf8_lossy(&output.0));
    if seen.get("end").is_err() {
        return Err(format!(
            "the login at {}:{} ended early: {}",
            target.host,
            target.port,
            crate::show::line(String::from_utf8_lossy(&output.1).trim())
        ));
    }
    seen.set("outside.banner", banner);
    seen.set("outside.keys", keys(target)?);
    seen.set("outside.auth", methods(target, key)?);
    seen.set("outside.accepted", "publickey");
    Ok(seen)
}

fn missing(program: &str) -> impl Fn(std::io::Error) -> String {
    let program = program.to_owned();
    move |e| {
        format!("{program} cannot be run ({e}); the audit needs OpenSSH's client (package openssh-client)")
    }
}

/// The server's first line.
fn banner(target: &Target) -> Result<String, String> {
    let tell = |e: std::io::Error| format!("{}:{}: {e}; does the decoy run?", target.host, target.port);
    let address = (target.host.as_str(), target.port)
        .to_socket_addrs()
        .map_err(tell)?
        .next()
        .ok_or_else(|| format!("{} has no address", target.host))?;
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(10)).map_err(tell)?;
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .map_err(tell)?;
    let mut line = String::new();
    BufReader::new(stream.take(512))
        .read_line(&mut line)
        .map_err(tell)?;
    Ok(line)
}

/// OpenSSH's client with nothing of this user's own settings.
fn client(target: &Target, key: &Path) -> Command {
    let mut c = Command::new("ssh");
    c.args([
        "-F",
        "none",
        "-T",
        "-o",
        "BatchMode=yes",
        "-o",
        "IdentitiesOnly=yes",
    ])
    .args([
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
    ])
    .args(["-o", "GlobalKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"])
    .args(["-o", "ConnectTimeout=20", "-p", &target.port.to_string(), "-i"])
    .arg(key);
    c
}

/// Runs a command on the machine: its standard output and error.
fn ssh(target: &Target, key: &Path, command: &[&str], input: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    let mut child = client(target, key)
        .arg(format!("root@{}", target.host))
        .args(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(missing("ssh"))?;
    let mut stdin = child.stdin.take();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        if let Some(s) = &mut stdin {
            let _ = s.write_all(&input);
        }
    });
    let errors = child.stderr.take();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(e) = errors {
            let _ = e.take(64 << 10).read_to_end(&mut all);
        }
        all
    });
    let mut out = Vec::new();
    if let Some(o) = child.stdout.take() {
        o.take(LONGEST).read_to_end(&mut out).map_err(|e| e.to_string())?;
    }
    let _ = child.kill();
    let _ = child.wait();
    let _ = writer.join();
    Ok((out, reader.join().unwrap_or_default()))
}

/// The host keys that the server offers: `TYPE BASE64` a line.
fn keys(target: &Target) -> Result<String, String> {
    let output = Command::new("ssh-keyscan")
        .args(["-T", "20", "-p", &target.port.to_string(), &target.host])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(missing("ssh-keyscan"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let pair = |l: &str| {
        let w: Vec<&str> = l.split_whitespace().collect();
        Some(format!("{} {}\n", w.get(1)?, w.get(2)?))
    };
    Ok(text
        .lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(pair)
        .collect())
}

/// The methods that can continue, as the client is told them when it is refused.
fn methods(target: &Target, key: &Path) -> Result<String, String> {
    let output = client(target, key)
        .args([
            "-o",
            "PreferredAuthentications=none",
            "-o",
            "PubkeyAuthentication=no",
        ])
        .arg(format!("root@{}", target.host))
        .stdin(Stdio::null())
        .output()
        .map_err(missing("ssh"))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    // root@host: Permission denied (publickey,password).
    let list = text
        .split("Permission denied (")
        .nth(1)
        .and_then(|t| t.split(')').next());
    Ok(list.unwrap_or("").to_owned())
}

/// What a client would see of a server with this configuration.
pub fn outside(seen: &mut Seen, config: &ServerConfig) {
    seen.set("outside.banner", config.version.clone());
    let keys = config.host_keys.iter().map(|k| k.public() + "\n");
    seen.set("outside.keys", keys.collect::<String>());
    let on = [
        (config.auth.pubkey, "publickey"),
        (config.auth.password, "password"),
        (config.auth.keyboard_interactive, "keyboard-interactive"),
    ];
    let list: Vec<&str> = on.iter().filter(|m| m.0).map(|m| m.1).collect();
    seen.set("outside.auth", list.join(","));
    seen.set("outside.accepted", "publickey");
}

/// Runs the script as root in a world of this process. `now` is the wall clock in nanoseconds.
///
/// # Errors
/// One line: the world refuses the login, or does not come to an end.
pub fn in_world(
    world: &mut World,
    peer: std::net::SocketAddr,
    local: std::net::SocketAddr,
    now: impl Fn() -> u64,
) -> Result<Seen, String> {
    let open = Open {
        user: b"root".to_vec(),
        account: None,
        env: Vec::new(),
        term: None,
        command: Some(b"sh".to_vec()),
        peer,
        local,
        greet: false,
        method: "password".into(),
        sshd: None,
    };
    let conn = world
        .open(open)
        .map_err(|e| format!("cannot log in: {}", e.name()))?;
    let mut rest = script().into_bytes();
    let mut output = Vec::new();
    let until = Instant::now() + PATIENCE;
    loop {
        let n = world.room(conn).min(rest.len());
        if n > 0 {
            let tail = rest.split_off(n);
            world.input(conn, Input::Data(std::mem::replace(&mut rest, tail)));
            if rest.is_empty() {
                world.input(conn, Input::Eof);
            }
        }
        let slice = world.run(1_000_000, now());
        for o in world.drain().0.into_iter().filter(|o| o.conn == conn) {
            match o.out {
                Out::Data { stderr: false, bytes } => output.extend(bytes),
                Out::Close => return Ok(Seen::of(&String::from_utf8_lossy(&output))),
                _ => {}
            }
        }
        match slice {
            Slice::Dead => return Err("the world is down".into()),
            Slice::Busy => {}
            Slice::Idle { .. } => std::thread::sleep(Duration::from_millis(2)),
        }
        if Instant::now() > until {
            return Err("the world does not come to an end".into());
        }
    }
}
