//! From the deciding event to the message handed over and the block in force: `cargo bench -p turncoat --bench respond` (as root).
//!
//! In a network namespace of its own it starts the built program with the `echo` decoy, a rule by which every contact is alerted and
//! blocked, a web address that takes messages, and the nftables table. Five hundred sources connect, twenty a second. Times are those of the
//! record: from the event of the contact to the event that the block is in force, and to the arrival of the message.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use turncoat_event::{Kind, Time};
use turncoat_store::{Filter, Layout, Reader};

const SOURCES: u32 = 500;

fn main() {
    if std::env::var_os("TURNCOAT_BENCH_INSIDE").is_none() {
        let me = std::env::current_exe().unwrap();
        let done = Command::new("unshare")
            .args(["--net", "--"])
            .arg(me)
            .env("TURNCOAT_BENCH_INSIDE", "1")
            .status();
        if !done.is_ok_and(|s| s.success()) {
            eprintln!("needs root (a network namespace, CAP_NET_ADMIN), unshare and ip");
        }
        return;
    }
    let sh = |c: &str| {
        assert!(
            Command::new("sh").args(["-ec", c]).status().unwrap().success(),
            "{c}"
        )
    };
    sh("ip link set lo up; ip addr add 10.9.0.1/32 dev lo; ip route add local 10.9.0.0/16 dev lo");

    let hook = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", hook.local_addr().unwrap());
    let arrived: Arc<Mutex<HashMap<String, Time>>> = Arc::default();
    let keep = arrived.clone();
    std::thread::spawn(move || {
        for stream in hook.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                if let Some(n) = line.to_lowercase().strip_prefix("content-length:") {
                    length = n.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let at = Time::from_system(SystemTime::now());
            let _ = reader
                .get_mut()
                .write_all(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n");
            let body = String::from_utf8_lossy(&body).replace("[.]", ".");
            for part in body.split("(from ").skip(1) {
                let source = part.split(')').next().unwrap_or_default().to_owned();
                keep.lock().unwrap().entry(source).or_insert(at);
            }
        }
    });

    let dir = std::env::temp_dir().join(format!("turncoat-bench-respond-{}", std::process::id()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_turncoat"))
        .env_clear()
        .env("TURNCOAT_DATA", &dir)
        .env("TURNCOAT_SSH_LISTEN", "")
        .env("TURNCOAT_ECHO_LISTEN", "10.9.0.1:7000")
        .env(
            "TURNCOAT_RESPOND_RULES",
            "[\"event == 'session.open' -> alert, block 1h\"]",
        )
        .env("TURNCOAT_ALERT_WEBHOOK_URL", url)
        .env("TURNCOAT_ALERT_HOURLY", "1000000")
        .env("TURNCOAT_BLOCK_ENABLED", "true")
        .env("TURNCOAT_BLOCK_PROTECT", "[\"10.10.0.0/16\"]")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.find(|l| l.as_ref().is_ok_and(|l| l.trim_start().starts_with("look")));
    std::thread::spawn(move || lines.for_each(drop));

    for n in 0..SOURCES {
        let source = Ipv4Addr::new(10, 9, 1 + (n / 250) as u8, 1 + (n % 250) as u8);
        let mut stream = BufReader::new(from(source));
        stream.read_line(&mut String::new()).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(3));
    report(&dir, &arrived.lock().unwrap());
    let _ = Command::new("kill").arg(child.id().to_string()).status();
    let _ = child.wait();
    let _ = std::fs::remove_dir_all(&dir);
}

/// A connection that comes from this address.
fn from(source: Ipv4Addr) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&fd, &SocketAddrV4::new(source, 0)).unwrap();
    connect(&fd, &SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, 1), 7000)).unwrap();
    TcpStream::from(fd)
}

fn report(dir: &std::path::Path, arrived: &HashMap<String, Time>) {
    let reader = Reader::open(&Layout::new(dir)).unwrap();
    let (events, _) = reader.events(&Filter::default(), 1_000_000).unwrap();
    let mut opened: HashMap<String, Time> = HashMap::new();
    let mut waiting: Vec<String> = Vec::new();
    let (mut blocked, mut told) = (Vec::new(), Vec::new());
    for e in &events {
        match &e.kind {
            Kind::SessionOpen(_) => {
                opened.insert(e.origin.src_ip.unwrap().to_string(), e.time);
            }
            Kind::ResponseDecide(d) if d.action == "block" => waiting.extend(d.target.clone()),
            Kind::ResponseResult(r) if r.result == "in-force" => {
                for source in waiting.drain(..) {
                    blocked.extend(opened.get(&source).map(|t| e.time.since(*t)));
                }
            }
            _ => {}
        }
    }
    for (source, at) in arrived {
        told.extend(opened.get(source).map(|t| at.since(*t)));
    }
    println!("| from the contact to | n | p50 | p99 | worst |\n| --- | --- | --- | --- | --- |");
    for (what, mut all) in [("the block in force", blocked), ("the message handed over", told)] {
        all.sort_unstable();
        let at = |p: usize| {
            Duration::from_nanos(
                all.get((all.len() * p / 100).min(all.len() - 1))
                    .copied()
                    .unwrap_or(0) as u64,
            )
        };
        println!(
            "| {what} | {} | {:.1?} | {:.1?} | {:.1?} |",
            all.len(),
            at(50),
            at(99),
            at(100)
        );
    }
}
