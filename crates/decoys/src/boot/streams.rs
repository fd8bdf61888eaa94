//! The guest's end of streams: sockets that the host holds in the world, by the numbers of connections.

use crate::worlds::{Conn, Door, NotConnected, Opened, Produced, Target};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use turncoat_freeze::Freeze;
use turncoat_kernel::net::SockId;
use turncoat_kernel::{Errno, World};

/// Connections of streams have numbers from here on; logins have those below.
const FIRST: u32 = 1 << 31;
/// Streams of one world at once.
const MOST: usize = 256;
/// Listeners of one world at once.
const MOST_DOORS: usize = 64;
/// Bytes that wait for the world to take them.
const PENDING: usize = 64 << 10;
/// Bytes taken of one stream after one slice.
const AT_ONCE: usize = 64 << 10;

#[derive(Freeze)]
struct Stream {
    sock: SockId,
    pending: VecDeque<u8>,
    eof: bool,
    shut: bool,
    over: bool,
    /// It is not read for now.
    held: bool,
}

#[derive(Freeze)]
struct Listener {
    socks: Vec<SockId>,
    /// Paths to be taken away at the end, with whether they are directories.
    paths: Vec<(Vec<u8>, bool)>,
}

/// All of them.
#[derive(Default, Freeze)]
pub(super) struct Streams {
    next: u32,
    streams: BTreeMap<Conn, Stream>,
    doors: BTreeMap<u32, Listener>,
    /// Where the machine's own sshd listens.
    sshd: Vec<SockId>,
    /// What was made and not handed out yet.
    #[freeze(with = turncoat_freeze::empty)]
    out: Vec<Produced>,
}

/// The machine's sshd listens, at all addresses of both families.
pub(super) fn serve_ssh(world: &mut World, ports: &[u16]) -> Vec<SockId> {
    let all = [
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ];
    ports
        .iter()
        .flat_map(|port| all.map(|ip| SocketAddr::new(ip, *port)))
        .filter_map(|at| world.daemon_listen(b"sshd", at).ok())
        .collect()
}

fn words(e: Errno) -> NotConnected {
    NotConnected::Refused(match e {
        Errno::ECONNREFUSED => "Connection refused",
        Errno::ENOENT => "No such file or directory",
        Errno::EACCES | Errno::EPERM => "Permission denied",
        Errno::EHOSTUNREACH => return NotConnected::Outside,
        _ => return NotConnected::Down,
    })
}

/// The addresses that a name has by the world's `/etc/hosts`, or that it is; IPv6 first, as getaddrinfo(3) gives them.
fn addresses(world: &mut World, host: &[u8]) -> Vec<IpAddr> {
    let text = String::from_utf8_lossy(host).into_owned();
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return vec![ip.to_canonical()];
    }
    let hosts = world.read_file(b"/etc/hosts").unwrap_or_default();
    let mut found: Vec<IpAddr> = String::from_utf8_lossy(&hosts)
        .lines()
        .filter_map(|l| {
            let mut words = l.split('#').next()?.split_whitespace();
            let ip = words.next()?.parse().ok()?;
            words.any(|w| w.eq_ignore_ascii_case(&text)).then_some(ip)
        })
        .collect();
    found.sort_by_key(IpAddr::is_ipv4);
    found.dedup();
    found
}

impl Streams {
    pub fn new(sshd: Vec<SockId>) -> Streams {
        Streams {
            sshd,
            ..Streams::default()
        }
    }

    /// The machine has booted again: what was open is gone, and sshd listens at these sockets. Numbers are not given twice.
    pub fn booted(&mut self, sshd: Vec<SockId>) {
        self.streams.clear();
        self.doors.clear();
        self.sshd = sshd;
    }

    /// sshd listens at other sockets now; what it holds goes on.
    pub fn sshd(&mut self, sshd: Vec<SockId>) {
        self.sshd = sshd;
    }

    fn add(&mut self, sock: SockId) -> Conn {
        self.next = (self.next + 1) % FIRST;
        let conn = Conn(FIRST + self.next);
        let stream = Stream {
            sock,
            pending: VecDeque::new(),
            eof: false,
            shut: false,
            over: false,
            held: false,
        };
        self.streams.insert(conn, stream);
        conn
    }

    /// Connects to something inside, as a user.
    pub fn connect(&mut self, world: &mut World, to: &Target, who: (u32, u32)) -> Result<Conn, NotConnected> {
        if self.streams.len() >= MOST {
            return Err(NotConnected::Down);
        }
        let sock = match to {
            Target::Local(path) => world.stream_connect_at(path, who.0, who.1).map_err(words)?,
            Target::Tcp(host, port) => {
                let mut last = NotConnected::Outside;
                let mut found = None;
                for ip in addresses(world, host) {
                    match world.stream_connect((ip, *port).into()) {
                        Ok(s) => {
                            found = Some(s);
                            break;
                        }
                        Err(e) => last = words(e),
                    }
                }
                found.ok_or(last)?
            }
        };
        Ok(self.add(sock))
    }

    /// Listens inside on behalf of a connection.
    pub fn listen(&mut self, world: &mut World, door: &Door, who: (u32, u32)) -> Option<Opened> {
        if self.doors.len() >= MOST_DOORS {
            return None;
        }
        let mut paths = Vec::new();
        let (socks, port, path) = match door {
            Door::Port(port) => {
                let (v6, port) = match world.stream_listen((Ipv6Addr::LOCALHOST, *port).into()) {
                    Ok((s, p)) => (Some(s), p),
                    Err(_) => (None, *port),
                };
                let v4 = world.stream_listen((Ipv4Addr::LOCALHOST, port).into()).ok();
                let port = v4.map_or(port, |v| v.1);
                (
                    v6.into_iter().chain(v4.map(|v| v.0)).collect::<Vec<_>>(),
                    port,
                    Vec::new(),
                )
            }
            Door::Path(path) => {
                let s = world.stream_listen_at(path, who.0, who.1).ok()?;
                paths.push((path.clone(), false));
                (vec![s], 0, path.clone())
            }
            Door::Agent => {
                // mkdtemp("/tmp/ssh-XXXXXXXXXX") and the process's number (session.c).
                const SET: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
                let mut r = world.random();
                let name: Vec<u8> = (0..10)
                    .map(|_| {
                        let c = SET[(r % 62) as usize];
                        r /= 62;
                        c
                    })
                    .collect();
                let dir = [&b"/tmp/ssh-"[..], &name].concat();
                world.own_directory(&dir, who.0, who.1).ok()?;
                let path = [&dir[..], format!("/agent.{}", world.last_pid()).as_bytes()].concat();
                let s = world.stream_listen_at(&path, who.0, who.1).ok()?;
                paths.extend([(path.clone(), false), (dir, true)]);
                (vec![s], 0, path)
            }
        };
        if socks.is_empty() {
            return None;
        }
        self.next = (self.next + 1) % FIRST;
        let id = self.next;
        self.doors.insert(id, Listener { socks, paths });
        Some(Opened { id, port, path })
    }

    /// Ends a listener.
    pub fn unlisten(&mut self, world: &mut World, id: u32) {
        let Some(l) = self.doors.remove(&id) else { return };
        for s in l.socks {
            world.stream_close(s);
        }
        for (path, directory) in l.paths {
            world.remove(&path, directory);
        }
    }

    /// Whether this is a stream rather than a login.
    pub fn has(conn: Conn) -> bool {
        conn.0 >= FIRST
    }

    /// Holds back what a stream says, or lets it come again.
    pub fn hold(&mut self, conn: Conn, on: bool) -> bool {
        if let Some(s) = self.streams.get_mut(&conn) {
            s.held = on;
        }
        true
    }

    pub fn room(&self, conn: Conn) -> usize {
        self.streams.get(&conn).map_or(0, |s| {
            if s.over {
                PENDING
            } else {
                PENDING.saturating_sub(s.pending.len())
            }
        })
    }

    pub fn data(&mut self, world: &mut World, conn: Conn, bytes: &[u8]) {
        if let Some(s) = self.streams.get_mut(&conn) {
            s.pending.extend(bytes);
            s.push(world);
        }
    }

    pub fn eof(&mut self, world: &mut World, conn: Conn) {
        if let Some(s) = self.streams.get_mut(&conn) {
            s.eof = true;
            s.push(world);
        }
    }

    pub fn close(&mut self, world: &mut World, conn: Conn) {
        if let Some(s) = self.streams.remove(&conn) {
            world.stream_close(s.sock);
        }
    }

    /// Hands out what was made.
    pub fn drain(&mut self, out: &mut Vec<Produced>) {
        out.append(&mut self.out);
    }

    /// Moves what waits, and takes what programs said and what they connected to. True if anything moved: programs may go on.
    pub fn step(&mut self, world: &mut World) -> bool {
        let mut moved = false;
        for (conn, s) in &mut self.streams {
            moved |= s.push(world);
            if s.over || s.held {
                continue;
            }
            match world.stream_read(s.sock, AT_ONCE) {
                Some(bytes) if bytes.is_empty() => {}
                Some(bytes) => {
                    moved = true;
                    self.out.push(Produced::Data {
                        conn: *conn,
                        stderr: false,
                        bytes,
                    });
                }
                None => {
                    s.over = true;
                    self.out.push(Produced::Eof { conn: *conn });
                }
            }
        }
        let doors = self.doors.iter().map(|(id, l)| (Some(*id), l.socks.clone()));
        let all: Vec<_> = doors.chain([(None, self.sshd.clone())]).collect();
        for (door, socks) in all {
            for l in socks {
                while self.streams.len() < MOST
                    && let Some((sock, from, to)) = world.stream_accept(l)
                {
                    moved = true;
                    let none = SocketAddr::from(([127, 0, 0, 1], 0));
                    let by = from.and_then(|f| world.stream_maker(f)).map(|c| Conn(c.0));
                    let conn = self.add(sock);
                    self.out.push(Produced::Inbound {
                        conn,
                        door,
                        by,
                        from: from.unwrap_or(none),
                        to: to.unwrap_or(none),
                    });
                }
            }
        }
        moved
    }
}

impl Stream {
    /// Gives the world what waits for it; true if it took something.
    fn push(&mut self, world: &mut World) -> bool {
        let mut moved = false;
        while !self.pending.is_empty() {
            let (front, _) = self.pending.as_slices();
            match world.stream_write(self.sock, front) {
                Ok(0) => return moved,
                Ok(n) => {
                    moved = true;
                    self.pending.drain(..n);
                }
                Err(_) => self.pending.clear(),
            }
        }
        if self.eof && !self.shut {
            (self.shut, moved) = (true, true);
            world.stream_shut(self.sock);
        }
        moved
    }
}
