//! What recording before answering costs: `cargo bench -p turncoat --bench record`.
//!
//! Drives the built program over loopback: one connection's round trip, and committed events per second over 32 connections, for
//! both durabilities, beside the disk's own fsync rate. Prints a table in Markdown, as docs/benchmarks.md has it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Run(Child, std::path::PathBuf);

impl Drop for Run {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

fn start(durability: &str) -> (Run, String) {
    let dir = std::env::temp_dir().join(format!("turncoat-bench-{durability}-{}", std::process::id()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_turncoat"))
        .env_clear()
        .env("TURNCOAT_DATA", &dir)
        .env("TURNCOAT_SSH_LISTEN", "")
        .env("TURNCOAT_ECHO_LISTEN", "127.0.0.1:0")
        .env("TURNCOAT_RECORD_DURABILITY", durability)
        // What is measured is the record, not the bound of a session.
        .env("TURNCOAT_LIMITS_EVENTS_PER_SECOND", "0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines
        .find_map(|l| {
            l.unwrap()
                .trim()
                .strip_prefix("listens   echo ")
                .map(str::to_owned)
        })
        .unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    (Run(child, dir), address)
}

fn connect(address: &str) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut talk = BufReader::new(stream);
    talk.read_line(&mut String::new()).unwrap();
    talk
}

/// Says `window` lines at once and waits for all of them.
fn round(talk: &mut BufReader<TcpStream>, window: usize) {
    talk.get_mut()
        .write_all("uname -a; id\n".repeat(window).as_bytes())
        .unwrap();
    let mut line = String::new();
    for _ in 0..window {
        line.clear();
        talk.read_line(&mut line).unwrap();
    }
}

fn fsync_rate() -> f64 {
    let path = std::env::temp_dir().join(format!("turncoat-fsync-{}", std::process::id()));
    let mut file = std::fs::File::create(&path).unwrap();
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(2) {
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    std::fs::remove_file(path).unwrap();
    f64::from(count) / start.elapsed().as_secs_f64()
}

fn events(address: &str, connections: usize, window: usize) -> f64 {
    let start = Instant::now();
    let threads: Vec<_> = (0..connections)
        .map(|_| {
            let address = address.to_owned();
            std::thread::spawn(move || {
                let mut talk = connect(&address);
                let mut count = 0;
                while start.elapsed() < Duration::from_secs(5) {
                    round(&mut talk, window);
                    count += window;
                }
                count
            })
        })
        .collect();
    let count: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
    count as f64 / start.elapsed().as_secs_f64()
}

fn main() {
    println!("disk: {:.0} fsyncs of 4 KiB per second\n", fsync_rate());
    println!(
        "| durability | round trip p50 | p99 | acts/s, 32 connections in lockstep | with 64 lines on their way each |"
    );
    println!("| --- | --- | --- | --- | --- |");
    for durability in ["process", "power"] {
        let (_run, address) = start(durability);
        let mut talk = connect(&address);
        for _ in 0..50 {
            round(&mut talk, 1);
        }
        let mut times: Vec<Duration> = (0..2000)
            .map(|_| {
                let start = Instant::now();
                round(&mut talk, 1);
                start.elapsed()
            })
            .collect();
        times.sort();
        let (one, many) = (events(&address, 32, 1), events(&address, 32, 64));
        println!(
            "| {durability} | {:.2?} | {:.2?} | {one:.0} | {many:.0} |",
            times[1000], times[1980]
        );
    }
}
