//! Forwarding into the world, out of it to the client, and the world's own sshd, with the real OpenSSH client on both sides.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::ssh::{directory, run, ssh, start, text};

const PORT: u16 = 24026;

/// A client with these options that stays until it is killed; gives it when it has logged in and its forwardings stand.
fn stay(options: &[&str], env: &[(&str, &Path)]) -> Child {
    let inner = ssh(
        PORT,
        "root",
        "127.0.0.1",
        "letmein",
        false,
        &["echo ready; exec cat"],
    );
    let mut c = Command::new(inner.get_program());
    let args: Vec<_> = inner.get_args().collect();
    // The first value of an option counts: refused channels are told of.
    c.args(&args[..5])
        .args(["-o", "LogLevel=INFO"])
        .args(options)
        .args(&args[5..]);
    for (name, value) in env {
        c.env(name, value);
    }
    let mut child = c
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    if line != "ready\n" {
        let mut error = String::new();
        child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        panic!("{line:?} {error}");
    }
    child
}

fn finish(mut child: Child) -> String {
    drop(child.stdin.take());
    let o = child.wait_with_output().unwrap();
    text(&o.stderr)
}

fn said(command: &str) -> String {
    let o = run(ssh(PORT, "root", "127.0.0.1", "letmein", false, &[command]), "");
    assert!(o.status.success(), "{} {}", text(&o.stdout), text(&o.stderr));
    text(&o.stdout)
}

fn connect(port: u16) -> TcpStream {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(s) => {
                s.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                return s;
            }
            Err(e) => assert!(Instant::now() < until, "{e}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn line(stream: &TcpStream) -> String {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

#[test]
fn forwardings_stay_inside() {
    let dir = directory("forward");
    let mut r = start(
        &dir,
        &format!("127.0.0.1:{PORT}"),
        &[("TURNCOAT_WORLD_OUTSIDE", "refused")],
    );

    // The world's own sshd: from inside, with a key made inside; it is the same world, and the session's peer is itself.
    let shown = said(
        "umask 077; mkdir -p .ssh; rm -f .ssh/id_ed25519*; ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519; cp .ssh/id_ed25519.pub .ssh/authorized_keys; \
         ssh -o StrictHostKeyChecking=no -o LogLevel=ERROR localhost 'touch inner; echo $SSH_CONNECTION; seq 20000 | md5sum'; ls inner",
    );
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 3, "{shown}");
    let addresses: Vec<&str> = lines[0].split(' ').collect();
    assert!(addresses[0] == addresses[2] && addresses[3] == "22", "{shown}");
    let sum = Command::new("sh")
        .args(["-c", "seq 20000 | md5sum"])
        .output()
        .unwrap();
    assert_eq!(format!("{}\n", lines[1]), text(&sum.stdout));
    assert_eq!(lines[2], "inner");
    // More than may wait anywhere, both ways at once.
    let much = said(
        "head -c 1500000 /dev/zero | ssh -o StrictHostKeyChecking=no -o LogLevel=ERROR localhost cat | wc -c",
    );
    assert_eq!(much, "1500000\n");
    let listening = said("ss -ltn | grep -c ':22 '");
    assert_eq!(listening, "2\n", "sshd listens for both families");

    // -L to a service of the world; -D the same by SOCKS; to the outside it is refused, and nothing leaves.
    let mut reply = [0; 10];
    let outside = TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = outside.local_addr().unwrap().port();
    let client = stay(
        &[
            "-L",
            "24080:localhost:22",
            "-L",
            "24081:192.0.2.80:80",
            "-L",
            &format!("24082:127.0.0.1:{elsewhere}"),
            "-D",
            "127.0.0.1:24083",
        ],
        &[],
    );
    assert!(line(&connect(24080)).starts_with("SSH-2.0-OpenSSH_"));
    let mut socks = connect(24083);
    socks
        .write_all(b"\x05\x01\x00\x05\x01\x00\x03\x09localhost\x00\x16")
        .unwrap();
    socks.read_exact(&mut reply[..2]).unwrap();
    socks.read_exact(&mut reply).unwrap();
    assert_eq!(reply[..2], [5, 0]);
    assert!(line(&socks).starts_with("SSH-2.0-OpenSSH_"));
    for port in [24081, 24082] {
        let mut s = connect(port);
        let _ = s.write_all(b"GET / HTTP/1.0\r\n\r\n");
        assert_eq!(s.read(&mut reply).unwrap_or(0), 0, "nobody answers");
    }
    // The client stays as long as one of them is open.
    drop(socks);
    outside.set_nonblocking(true).unwrap();
    assert!(
        outside.accept().is_err(),
        "the host's own loopback is not the world's"
    );
    let error = finish(client);
    assert_eq!(error.matches("Connection refused").count(), 2, "{error}");

    // -R listens inside, and leads to the client.
    let ours = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = stay(
        &[
            "-R",
            &format!("8088:127.0.0.1:{}", ours.local_addr().unwrap().port()),
        ],
        &[],
    );
    let served = std::thread::spawn(move || {
        let (mut s, _) = ours.accept().unwrap();
        let got = line(&s);
        s.write_all(b"from the client\n").unwrap();
        got
    });
    assert_eq!(said("ss -ltn | grep -c 8088"), "2\n");
    let heard = said("exec 3<>/dev/tcp/127.0.0.1/8088; echo hello >&3; cat <&3");
    assert_eq!(heard, "from the client\n");
    assert_eq!(served.join().unwrap(), "hello\n");
    finish(client);
    assert_eq!(
        said("ss -ltn | grep -c 8088; true"),
        "0\n",
        "it ends with the connection"
    );

    // The agent's socket is inside; the client's keys show there.
    let socket = dir.join("agent");
    let mut agent = Command::new("ssh-agent")
        .arg("-D")
        .arg("-a")
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .expect("ssh-agent (package openssh-client) is needed");
    let key = dir.join("key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "on the client", "-f"])
        .arg(&key)
        .status();
    assert!(made.unwrap().success());
    let until = Instant::now() + Duration::from_secs(10);
    while !socket.exists() {
        assert!(Instant::now() < until, "the agent starts");
        std::thread::sleep(Duration::from_millis(50));
    }
    let added = Command::new("ssh-add")
        .arg("-q")
        .arg(&key)
        .env("SSH_AUTH_SOCK", &socket)
        .status();
    assert!(added.unwrap().success());
    let inner = ssh(
        PORT,
        "root",
        "127.0.0.1",
        "letmein",
        false,
        &["ssh-add -l; echo $SSH_AUTH_SOCK"],
    );
    let mut c = Command::new(inner.get_program());
    let args: Vec<_> = inner.get_args().collect();
    c.args(&args[..5])
        .arg("-A")
        .args(&args[5..])
        .env("SSH_AUTH_SOCK", &socket);
    c.stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let o = run(c, "");
    let _ = agent.kill();
    let _ = agent.wait();
    let shown = text(&o.stdout);
    assert!(
        shown.contains("on the client") && shown.contains("/tmp/ssh-"),
        "{shown} {}",
        text(&o.stderr)
    );
    assert_eq!(
        said("ls -d /tmp/ssh-* 2>&1 | grep -c '/agent'; true"),
        "0\n",
        "and is gone with the connection"
    );

    // X11 as on a server without xauth.
    let mut c = Command::new("timeout");
    c.args([
        "60", "sshpass", "-p", "letmein", "ssh", "-F", "none", "-Y", "-v", "-T",
    ])
    .args([
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
    ])
    .args([
        "-o",
        "PubkeyAuthentication=no",
        "-p",
        &PORT.to_string(),
        "root@127.0.0.1",
        "true",
    ])
    .env("DISPLAY", ":77")
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .stderr(Stdio::piped());
    let error = text(&run(c, "").stderr);
    assert!(
        error.contains("Remote: No xauth program; cannot forward X11."),
        "{error}"
    );
    assert!(
        error.contains("X11 forwarding request failed on channel 0"),
        "{error}"
    );

    // Each request is on record, with the first bytes that went through.
    let requests = text(
        &r.command(&["events", "--kind", "forward.request", "--json"])
            .stdout,
    );
    for what in ["\"direct-tcpip\"", "\"tcpip-forward\"", "192.0.2.80"] {
        assert!(requests.contains(what), "{what}: {requests}");
    }
    let links = text(&r.command(&["events", "--kind", "session.link", "--json"]).stdout);
    assert!(links.contains("\"world\""), "{links}");
    assert!(r.stop().is_some_and(|code| code == 0));
    let _ = std::fs::remove_dir_all(&dir);
}
