//! A small host for tests and examples: threads, no shell, a handful of commands. It shows how the state machine is
//! driven; the decoys' real host lives elsewhere.
#![allow(dead_code)]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use turncoat_ssh::*;

/// Random bytes of the operating system.
pub struct OsEntropy(std::fs::File);

impl OsEntropy {
    pub fn new() -> Self {
        OsEntropy(std::fs::File::open("/dev/urandom").expect("/dev/urandom"))
    }
}

impl Entropy for OsEntropy {
    fn fill(&mut self, buf: &mut [u8]) {
        self.0.read_exact(buf).expect("/dev/urandom");
    }
}

/// Who may log in, and what facts are told to whom.
#[derive(Clone, Default)]
pub struct Policy {
    pub passwords: HashMap<Vec<u8>, Vec<u8>>,
    /// Fingerprints of accepted keys (any user in `passwords`).
    pub keys: Vec<String>,
    pub verbose: bool,
}

#[derive(Default)]
struct Program {
    command: Option<Vec<u8>>,
    pty: bool,
    line: Vec<u8>,
}

/// One connection's host, without its socket.
pub struct Host {
    pub policy: Policy,
    programs: HashMap<ChannelId, Program>,
    keys_seen: usize,
}

impl Host {
    pub fn new(policy: Policy) -> Self {
        Host {
            policy,
            programs: HashMap::new(),
            keys_seen: 0,
        }
    }

    /// Deals with an act that is not `Send` or `Close`.
    pub fn act(&mut self, s: &mut Server, now: Time, act: Act) {
        if self.policy.verbose {
            eprintln!("{act:?}");
        }
        match act {
            Act::Auth(a) => {
                let known = self.policy.passwords.get(&a.user);
                let reply = match &a.method {
                    AuthMethod::Password { password } if known == Some(password) => AuthReply::Accept,
                    AuthMethod::PublicKey(k) | AuthMethod::PublicKeyQuery(k)
                        if known.is_some() && self.policy.keys.contains(&k.fingerprint) =>
                    {
                        AuthReply::Accept
                    }
                    AuthMethod::Interactive { .. } => AuthReply::Prompt(Prompt::pam_password()),
                    AuthMethod::InteractiveAnswer { responses }
                        if known.is_some_and(|k| responses.first() == Some(k)) =>
                    {
                        AuthReply::Accept
                    }
                    _ => AuthReply::Reject,
                };
                let by_key = matches!(a.method, AuthMethod::PublicKey(_) | AuthMethod::PublicKeyQuery(_));
                self.keys_seen += usize::from(by_key && reply == AuthReply::Accept);
                s.auth_reply(now, reply);
            }
            Act::LoggedIn(_) => {
                for _ in 0..self.keys_seen {
                    s.debug_message(
                        "/tmp/turncoat-ssh-authorized:1: key options: agent-forwarding port-forwarding pty user-rc \
                         x11-forwarding",
                    );
                }
            }
            Act::Channel(id, e) => self.channel(s, now, id, e),
            Act::Global(GlobalEvent::Listen { port, .. }) => {
                s.global_reply(now, GlobalReply::Done(if port == 0 { 40000 } else { port }));
            }
            Act::Global(GlobalEvent::ListenLocal { .. }) => s.global_reply(now, GlobalReply::Done(0)),
            Act::Global(_) => s.global_reply(now, GlobalReply::Failed),
            _ => {}
        }
    }

    fn channel(&mut self, s: &mut Server, now: Time, id: ChannelId, e: ChannelEvent) {
        let p = self.programs.entry(id).or_default();
        match e {
            ChannelEvent::Pty(_) => {
                p.pty = true;
                s.request_reply(now, id, true);
            }
            ChannelEvent::Shell | ChannelEvent::Subsystem { .. } => {
                s.request_reply(now, id, true);
                if p.pty {
                    s.channel_data(id, b"$ ");
                }
            }
            ChannelEvent::Exec { command } => {
                s.request_reply(now, id, true);
                if let Some(text) = command.strip_prefix(b"echo ") {
                    s.channel_data(id, text);
                    s.channel_data(id, b"\n");
                    finish(s, id, 0);
                } else if let Some(n) = command.strip_prefix(b"exit ") {
                    finish(s, id, String::from_utf8_lossy(n).trim().parse().unwrap_or(2));
                } else if command == b"true" {
                    finish(s, id, 0);
                } else {
                    p.command = Some(command);
                }
            }
            ChannelEvent::Data(bytes) => {
                s.consumed(id, bytes.len());
                if p.command.is_some() {
                    s.channel_data(id, &bytes);
                    return;
                }
                for b in bytes {
                    if p.pty {
                        s.channel_data(
                            id,
                            if b == b'\r' {
                                b"\r\n"
                            } else {
                                std::slice::from_ref(&b)
                            },
                        );
                    }
                    if b != b'\r' && b != b'\n' {
                        p.line.push(b);
                        continue;
                    }
                    let line = std::mem::take(&mut p.line);
                    if line == b"exit" {
                        return finish(s, id, 0);
                    }
                    let end: &[u8] = if p.pty { b"\r\n$ " } else { b"\n" };
                    s.channel_data(id, &line);
                    s.channel_data(id, end);
                }
            }
            ChannelEvent::Eof | ChannelEvent::Hangup => finish(s, id, 0),
            ChannelEvent::DirectTcp(_) | ChannelEvent::DirectStreamLocal { .. } => {
                s.open_fail(id, 2, "Connection refused");
            }
            ChannelEvent::Closed => {
                self.programs.remove(&id);
            }
            ChannelEvent::X11(_) => s.request_reply(now, id, false),
            e if e.wants_answer() => s.request_reply(now, id, true),
            _ => {}
        }
    }
}

fn finish(s: &mut Server, id: ChannelId, status: u32) {
    s.channel_eof(id);
    s.channel_exit_status(id, status);
}

/// Serves one connection on its thread.
pub fn serve(mut tcp: TcpStream, config: Arc<ServerConfig>, policy: Policy) -> std::io::Result<()> {
    let start = Instant::now();
    let _ = tcp.set_nodelay(true);
    let mut s = Server::new(config, OsEntropy::new(), Duration::ZERO);
    let mut host = Host::new(policy);
    let mut buf = vec![0u8; 65536];
    loop {
        while let Some(act) = s.poll() {
            match act {
                Act::Send(b) => tcp.write_all(&b)?,
                Act::Close(kind) => {
                    if host.policy.verbose {
                        eprintln!("close {kind:?}");
                    }
                    return close(tcp, kind);
                }
                other => host.act(&mut s, start.elapsed(), other),
            }
        }
        let wait = s
            .deadline()
            .map(|d| d.saturating_sub(start.elapsed()).max(Duration::from_millis(1)));
        tcp.set_read_timeout(wait)?;
        match tcp.read(&mut buf) {
            Ok(0) => s.eof(start.elapsed()),
            Ok(n) => s.input(start.elapsed(), &buf[..n]),
            Err(e)
                if matches!(
                    e.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                s.tick(start.elapsed());
            }
            Err(e) => return Err(e),
        }
    }
}

/// Always FIN: std cannot set `SO_LINGER`, which a real host does for [`CloseKind::Rst`].
fn close(tcp: TcpStream, kind: CloseKind) -> std::io::Result<()> {
    let _ = kind;
    tcp.shutdown(std::net::Shutdown::Both)
}

/// Accepts until the process ends.
pub fn listen(listener: TcpListener, config: Arc<ServerConfig>, policy: Policy) {
    for tcp in listener.incoming().flatten() {
        let (config, policy) = (Arc::clone(&config), policy.clone());
        std::thread::spawn(move || {
            let verbose = policy.verbose;
            if let Err(e) = serve(tcp, config, policy)
                && verbose
            {
                eprintln!("{e}");
            }
        });
    }
}
