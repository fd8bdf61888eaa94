//! The Telnet decoy: real clients log in, and what telnetd says is what the real package said (`telnet/record.py`).

mod common;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use common::{Run, ssh, until};
use rustix::net::sockopt;
use turncoat_event::{Event, Kind};

fn start(name: &str, listen: &str, more: &[(&str, &str)]) -> Run {
    let mut settings = vec![("TURNCOAT_TELNET_LISTEN", listen)];
    settings.extend_from_slice(more);
    ssh::start(&ssh::telnet_directory(name), "127.0.0.1:0", &settings)
}

/// A program on a terminal of its own.
struct Terminal {
    child: Child,
    screen: Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Terminal {
    fn open(command: &str) -> Terminal {
        let mut child = Command::new("timeout")
            .args(["120", "script", "-qefc", command, "/dev/null"])
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, screen) = channel();
        let mut out = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = out.read(&mut buffer) {
                let _ = send.send(buffer[..n].to_vec());
            }
        });
        Terminal {
            child,
            screen,
            seen: Vec::new(),
        }
    }

    fn say(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        input.flush().unwrap();
    }

    /// Waits for a text; gives what stood before it and takes both off the screen.
    fn wait(&mut self, text: &str) -> String {
        let began = Instant::now();
        loop {
            let at = self.seen.windows(text.len()).position(|w| w == text.as_bytes());
            if let Some(at) = at {
                let before = String::from_utf8_lossy(&self.seen[..at]).into_owned();
                self.seen.drain(..at + text.len());
                return before;
            }
            let left = Duration::from_secs(60).saturating_sub(began.elapsed());
            match self.screen.recv_timeout(left) {
                Ok(more) => self.seen.extend(more),
                Err(_) => panic!("no {text:?} in {:?}", String::from_utf8_lossy(&self.seen)),
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_in(address: &str, client: &str) -> Terminal {
    let (host, port) = address.rsplit_once(':').unwrap();
    let mut t = Terminal::open(&format!("{client} {host} {port}"));
    t.wait("login: ");
    t.say("root\r");
    t.wait("Password: ");
    t.say("letmein\r");
    t.wait("# ");
    t
}

fn kinds<'a>(events: &'a [Event], session: &Event) -> Vec<&'a Kind> {
    let of = |e: &&Event| e.origin.session == session.origin.session;
    events.iter().filter(of).map(|e| &e.kind).collect()
}

#[test]
fn clients_log_in_and_everything_is_on_record() {
    let run = start("clients", "127.0.0.1:0", &[]);
    for client in ["telnet", "busybox telnet"] {
        let mut t = log_in(&run.telnet, client);
        t.say("stty size; tty; id -un; echo $TERM-$((6*7))\r");
        let shown = t.wait("-42");
        assert!(shown.contains("/dev/pts/"), "{client}: {shown}");
        assert!(shown.contains("root"), "{client}: {shown}");
        t.say("ps -eo ppid,pid,args | grep -E '[t]elnetd|[l]ogin -|[-]bash'; who; last -w | head -3; echo en''d\r");
        let shown = t.wait("end");
        for expected in [" telnetd", "login -p -h localhost", "-bash", "pts/", "localhost"] {
            assert!(shown.contains(expected), "{client}, {expected}: {shown}");
        }
        t.say("exit\r");
        t.wait("closed");
    }
    // A wrong password first, typed blind, and a name with a typing error.
    let (host, port) = run.telnet.rsplit_once(':').unwrap();
    let mut t = Terminal::open(&format!("telnet {host} {port}"));
    t.wait("login: ");
    t.say("roox\x7ft\r");
    t.wait("Password: ");
    t.say("wrong\r");
    let between = t.wait("login: ");
    assert!(between.contains("Login incorrect"), "{between}");
    assert!(!between.contains("wrong"), "{between}");
    t.say("root\r");
    t.wait("Password: ");
    t.say("letmein\r");
    t.wait("# ");
    t.say("su -s /bin/sh nobody -c id; cat /var/log/nothing\r");
    t.wait("No such file");
    drop(t);
    let closed = |events: &[Event]| {
        let n = events.iter().filter(|e| matches!(e.kind, Kind::SessionClose(_)));
        n.count() == 3
    };
    until("three sessions are closed", || closed(&run.events()));
    let events = run.events();
    let opened: Vec<&Event> = events
        .iter()
        .filter(|e| matches!(e.kind, Kind::SessionOpen(_)))
        .collect();
    assert_eq!(opened.len(), 3);
    for o in &opened {
        assert_eq!(o.origin.decoy.as_deref(), Some("telnet"));
        let all = kinds(&events, o);
        let has = |what: &str, f: &dyn Fn(&Kind) -> bool| {
            assert!(all.iter().any(|k| f(k)), "no {what} in {all:#?}");
        };
        has(
            "login",
            &|k| matches!(k, Kind::AuthAttempt(a) if a.accepted && a.user.0 == b"root" && a.secret.as_ref().is_some_and(|s| s.0 == b"letmein")),
        );
        has(
            "terminal",
            &|k| matches!(k, Kind::TerminalOpen(t) if t.term.0 == b"xterm"),
        );
        has(
            "telnetd",
            &|k| matches!(k, Kind::ProcessExec(p) if p.path.0.ends_with(b"/telnetd")),
        );
        has(
            "shell",
            &|k| matches!(k, Kind::ProcessExec(p) if p.path.0.ends_with(b"/bash")),
        );
        has(
            "options",
            &|k| matches!(k, Kind::ClientOption(o) if o.name.0 == b"telnet"),
        );
        has("line", &|k| matches!(k, Kind::CommandInput(_)));
    }
    let last = kinds(&events, opened[2]);
    let tries: Vec<(bool, &[u8])> = last
        .iter()
        .filter_map(|k| match k {
            Kind::AuthAttempt(a) => Some((a.accepted, a.secret.as_ref().map_or(&[][..], |s| &s.0))),
            _ => None,
        })
        .collect();
    assert_eq!(tries, [(false, &b"wrong"[..]), (true, b"letmein")]);
    assert!(
        last.iter()
            .any(|k| matches!(k, Kind::CommandInput(l) if l.line.0.starts_with(b"su -s")))
    );
}

/// One world behind both: what was left by telnet is there by SSH, and the password that was accepted works for sudo and login.
#[test]
fn telnet_and_ssh_of_a_source_are_one_machine() {
    let run = start("both", "127.0.0.1:0", &[]);
    let mut t = log_in(&run.telnet, "telnet");
    t.say("echo left > /root/note; passwd; echo do''ne\r");
    t.wait("New password: ");
    t.say("an0ther-one\r");
    t.wait("Retype new password: ");
    t.say("an0ther-one\r");
    t.wait("done");
    let port: u16 = run.ssh.rsplit_once(':').unwrap().1.parse().unwrap();
    let out = ssh::run(
        ssh::ssh(
            port,
            "root",
            "127.0.0.1",
            "an0ther-one",
            false,
            &["cat note; ss -Hltn | grep -c ':23 '"],
        ),
        "",
    );
    assert_eq!(String::from_utf8_lossy(&out.stdout), "left\n1\n");
    // The new password lets in by telnet too, the old one no longer.
    let (host, port) = run.telnet.rsplit_once(':').unwrap();
    let mut u = Terminal::open(&format!("telnet {host} {port}"));
    u.wait("login: ");
    u.say("root\r");
    u.wait("Password: ");
    u.say("letmein\r");
    u.wait("Login incorrect");
    u.wait("login: ");
    u.say("root\r");
    u.wait("Password: ");
    u.say("an0ther-one\r");
    u.wait("# ");
    // From inside the machine telnet leads back into it.
    u.say("bash -c 'exec 3<>/dev/tcp/127.0.0.1/23; head -c 3 <&3 | od -An -tx1'\r");
    u.wait("ff fb 25");
}

#[test]
fn a_connection_that_does_not_log_in_ends() {
    let run = start("slow", "127.0.0.1:0", &[("TURNCOAT_LIMITS_LOGIN_TIME", "3s")]);
    let mut stream = TcpStream::connect(&run.telnet).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let began = Instant::now();
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(all.starts_with(b"\xff\xfb%\xff\xfb&"));
    // More bytes than anybody's password.
    let mut stream = TcpStream::connect(&run.telnet).unwrap();
    let flood = vec![b'a'; 1 << 16];
    let ended = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        stream.write_all(&flood).is_err()
    });
    assert!(ended, "six megabytes before a login");
    until("both bounds are on record", || {
        let hit = run.events();
        let names: Vec<&str> = hit
            .iter()
            .filter_map(|e| match &e.kind {
                Kind::LimitHit(l) => Some(l.limit.as_str()),
                _ => None,
            })
            .collect();
        names.contains(&"login_time")
    });
}

#[test]
fn nmap_takes_it_for_a_telnetd() {
    let run = start("nmap", "127.0.0.1:0", &[]);
    let (host, port) = run.telnet.rsplit_once(':').unwrap();
    let out = Command::new("nmap")
        .args(["-Pn", "-n", "-sV", "-p", port, host, "-oG", "-"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).to_lowercase();
    assert!(text.contains("telnet"), "{text}");
    for word in ["honeypot", "cowrie", "kippo", "decoy", "turncoat"] {
        assert!(!text.contains(word), "{text}");
    }
    println!("{text}");
}

/// What depends on the machine, as `record.py` masks it.
fn mask(answer: &[u8]) -> Vec<u8> {
    let text: String = answer.iter().map(|b| char::from(*b)).collect();
    let mut out = text;
    if let Some(at) = out.find("\r\nLinux ") {
        let rest = &out[at + 2..];
        let line = rest.split("\r\n").next().unwrap();
        if line.ends_with(" x86_64") {
            out = format!("{}MOTD", &out[..at + 2]);
        } else {
            let tail = rest[line.len()..].to_owned();
            out = format!("{}Linux RELEASE (HOST) (pts/N){tail}", &out[..at + 2]);
        }
    }
    if let Some(at) = out.find(" login: ") {
        let from = out[..at].rfind('\n').map_or(0, |n| n + 1);
        out = format!("{}HOST{}", &out[..from], &out[at..]);
    }
    out.chars().map(|c| c as u8).collect()
}

fn shown(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|b| match b {
            32..=91 | 93..=126 => char::from(*b).to_string(),
            b => format!("\\x{b:02x}"),
        })
        .collect()
}

/// The bytes that a golden line shows.
fn bytes(shown: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = shown;
    while let Some(c) = rest.chars().next() {
        if let Some(hex) = rest.strip_prefix("\\x") {
            out.push(u8::from_str_radix(&hex[..2], 16).unwrap());
            rest = &hex[2..];
        } else {
            out.push(c as u8);
            rest = &rest[1..];
        }
    }
    out
}

/// What comes until it is as long as expected, or quiet.
fn answer(stream: &mut TcpStream, expected: usize) -> (Vec<u8>, Option<&'static str>) {
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        // What is expected may take its time; what is not has a moment to come.
        let quiet = if mask(&got).len() < expected { 15_000 } else { 700 };
        stream
            .set_read_timeout(Some(Duration::from_millis(quiet)))
            .unwrap();
        match stream.read(&mut buffer) {
            Ok(0) => return (got, Some("end")),
            Ok(n) => got.extend(&buffer[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return (got, Some("reset")),
            Err(_) => return (got, None),
        }
    }
}

#[test]
fn telnetd_says_what_the_real_one_said() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/telnet/golden.txt");
    let golden = std::fs::read_to_string(golden).unwrap();
    let mut conversations: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in golden.split("== ").skip(1) {
        let (name, body) = part.split_once('\n').unwrap();
        conversations.insert(name.into(), body.lines().map(str::to_owned).collect());
    }
    assert!(conversations.len() >= 16);
    let run = start("golden", "127.0.0.1:0", &[]);
    let different: Vec<String> = std::thread::scope(|scope| {
        let all: Vec<_> = conversations
            .iter()
            .map(|(name, lines)| {
                let address = run.telnet.clone();
                scope.spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    sockopt::set_socket_oobinline(&stream, true).unwrap();
                    let mut ours = Vec::new();
                    for (i, line) in lines.iter().enumerate() {
                        if let Some(said) = line.strip_prefix("> ") {
                            ours.push(line.clone());
                            let _ = stream.write_all(&bytes(said));
                        } else if let Some(expected) = line.strip_prefix("< ") {
                            let ends = lines.get(i + 1).is_some_and(|l| l.starts_with('|'));
                            let length = bytes(expected).len() + usize::from(ends);
                            let (got, end) = answer(&mut stream, length);
                            ours.push(format!("< {}", shown(&mask(&got))));
                            ours.extend(end.map(|e| format!("| {e}")));
                        }
                    }
                    (&ours != lines).then(|| {
                        format!(
                            "== {name}\n-- telnetd\n{}\n-- ours\n{}\n",
                            lines.join("\n"),
                            ours.join("\n")
                        )
                    })
                })
            })
            .collect();
        all.into_iter().filter_map(|t| t.join().unwrap()).collect()
    });
    assert!(
        different.is_empty(),
        "{} of {} differ\n{}",
        different.len(),
        conversations.len(),
        different.join("\n")
    );
}
