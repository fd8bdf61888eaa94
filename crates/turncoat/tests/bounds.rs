//! Whole sessions past a bound: the decoy stops where the documents say, and the record says why.

mod common;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use common::ssh::{Relay, directory, eventually, run as finish, ssh, start as start_ssh, text};
use common::{Run, read_line, start, until};
use turncoat_event::Kind;

/// The bounds that were hit: name, number and what it was counted over.
fn hits(run: &Run) -> Vec<(String, u64, String)> {
    run.events()
        .iter()
        .filter_map(|e| match &e.kind {
            Kind::LimitHit(it) => Some((it.limit.clone(), it.value, it.scope.clone())),
            _ => None,
        })
        .collect()
}

/// Why sessions ended, in order.
fn ends(run: &Run) -> Vec<String> {
    run.events()
        .iter()
        .filter_map(|e| match &e.kind {
            Kind::SessionClose(it) => Some(it.reason.clone()),
            _ => None,
        })
        .collect()
}

/// One write of the SSH decoy at the most: what waits at a gate, and what the world may have ahead.
const ONE_WRITE: u64 = 2 << 20;

#[test]
fn bytes_out_end_the_session_then_the_source_has_had_its_day() {
    let (session, day) = (400_000u64, 1_000_000u64);
    let settings = [
        ("TURNCOAT_LIMITS_BYTES_OUT_SESSION", "400000"),
        ("TURNCOAT_LIMITS_BYTES_OUT_SOURCE_DAY", "1000000"),
    ];
    let run = start_ssh(&directory("out"), "127.0.0.1:0", &settings);
    let wire = Relay::new(&run.ssh);
    let flood = || {
        let command = ["head -c 50000000 /dev/zero"];
        let o = finish(
            ssh(wire.port, "root", "127.0.0.1", "letmein", false, &command),
            "",
        );
        (o.status.code(), o.stdout.len() as u64)
    };
    let (code, got) = flood();
    assert_eq!(code, Some(255), "the connection was cut");
    assert!(got > session / 2 && got < session + ONE_WRITE, "{got} bytes came");
    assert!(wire.count() < session + ONE_WRITE);
    until("the session is over", || ends(&run) == ["limit"]);
    assert_eq!(
        hits(&run),
        [("bytes_out.session".into(), session, "session".into())]
    );

    // Until the source has had as much as it may on one day.
    eventually("the day's bound is hit", 60, || {
        flood();
        hits(&run)
            .iter()
            .any(|h| *h == ("bytes_out.source_day".into(), day, "source".into()))
    });
    assert!(wire.count() < day + 2 * ONE_WRITE);
    let shut_out = || {
        let mut banner = Vec::new();
        let mut visit = std::net::TcpStream::connect(&run.ssh).unwrap();
        visit.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let _ = visit.read_to_end(&mut banner);
        banner.is_empty()
    };
    assert!(shut_out(), "a new connection is not let in");
    // Another life of the process does not make it another day.
    run.signal(run.pid("front").unwrap(), 9);
    until("front is back", || {
        run.pid("front").is_some() && run.status().is_some_and(|s| s["processes"]["restarts"] == 1)
    });
    std::thread::sleep(Duration::from_millis(500));
    assert!(shut_out(), "nor by a front that was started anew");
}

#[test]
fn a_recording_that_is_full_ends_its_session() {
    let bound = 200_000u64;
    let settings = [("TURNCOAT_LIMITS_RECORDING", "200000")];
    let run = start_ssh(&directory("recording"), "127.0.0.1:0", &settings);
    let port: u16 = run.ssh.rsplit_once(':').unwrap().1.parse().unwrap();
    // What comes in counts as what goes out.
    let o = finish(
        ssh(port, "root", "127.0.0.1", "letmein", false, &["cat > /dev/null"]),
        &"x".repeat(1 << 20),
    );
    assert_ne!(o.status.code(), Some(0), "{}", text(&o.stderr));
    until("the session is over", || ends(&run) == ["limit"]);
    assert_eq!(hits(&run), [("recording".into(), bound, "session".into())]);
    let session = run.events().iter().find_map(|e| e.origin.session).unwrap();
    let reader = turncoat_store::Reader::open(&turncoat_store::Layout::new(&run.dir)).unwrap();
    let recorded: usize = reader
        .recording(session)
        .unwrap()
        .unwrap()
        .map(|f| f.bytes.len())
        .sum();
    assert!(
        (recorded as u64) < bound + (64 << 10),
        "{recorded} bytes are recorded"
    );
}

#[test]
fn events_beyond_the_rate_slow_the_session_down_and_none_is_lost() {
    let run = start("rate", &[("TURNCOAT_LIMITS_EVENTS_PER_SECOND", "200")]);
    let mut fast = run.connect().unwrap();
    assert_eq!(read_line(&mut fast).unwrap(), "hello");
    let began = Instant::now();
    let mut hear = fast.try_clone().unwrap();
    let lines = 800;
    let heard = std::thread::spawn(move || (0..lines).map_while(|_| read_line(&mut hear).ok()).count());
    for n in 0..lines {
        fast.write_all(format!("line {n}\n").as_bytes()).unwrap();
    }
    // Somebody else is not slowed down meanwhile.
    let mut other = run.connect().unwrap();
    read_line(&mut other).unwrap();
    let quick = Instant::now();
    assert_eq!(common::say(&mut other, "hi").unwrap(), "hi");
    assert!(quick.elapsed() < Duration::from_secs(2));
    assert_eq!(heard.join().unwrap(), lines, "each is answered in the end");
    // 200 pass at once, 600 at 200 a second; the last piece that was read may be one buffer ahead.
    assert!(
        began.elapsed() > Duration::from_millis(700),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(hits(&run), [("events_per_second".into(), 200, "session".into())]);
    let recorded = run
        .events()
        .iter()
        .filter(|e| e.kind.name() == "command.input")
        .count();
    assert_eq!(recorded, lines + 1);
}

#[test]
fn a_fork_storm_in_a_world_is_slowed_down_too() {
    let run = start_ssh(
        &directory("storm"),
        "127.0.0.1:0",
        &[("TURNCOAT_LIMITS_EVENTS_PER_SECOND", "50")],
    );
    let port: u16 = run.ssh.rsplit_once(':').unwrap().1.parse().unwrap();
    let began = Instant::now();
    // Each round is an event; a shell alone would do some hundred of them a second.
    let command = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do for j in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done; done; echo done";
    let o = finish(ssh(port, "root", "127.0.0.1", "letmein", false, &[command]), "");
    assert_eq!(text(&o.stdout), "done\n");
    assert!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(hits(&run), [("events_per_second".into(), 50, "session".into())]);
    let programs = run
        .events()
        .iter()
        .filter(|e| matches!(&e.kind, Kind::ProcessExec(it) if it.path.to_text_lossy().ends_with("true")))
        .count();
    assert_eq!(programs, 200, "every program that ran is on record");
}
