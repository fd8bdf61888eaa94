//! Invariant 1, seen from outside: nothing is answered that is not on record, whatever stands still, is full or dies.
//!
//! Real OpenSSH clients, with terminals and without, and the `echo` decoy, at the same time.

mod common;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::ssh::{Relay, Shell, directory, run as finish, settings, ssh, start as start_ssh, text};
use common::{Run, read_line, say, start_on, until};
use turncoat_event::{Direction, Kind};
use turncoat_store::{Layout, Reader};

/// How long a client is waited for on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_frozen_committer_means_not_one_byte() {
    let run = start_ssh(&directory("freeze"), "127.0.0.1:0", &[]);
    // Every byte that leaves the SSH decoy goes through here and is counted.
    let wire = Relay::new(&run.ssh);
    let mut talks: Vec<_> = (0..8).map(|_| run.connect().unwrap()).collect();
    for talk in &mut talks {
        assert_eq!(read_line(talk).unwrap(), "hello");
    }
    // Three connections into one world: one writes, one looks, in one a program talks by itself.
    let [mut writes, mut looks, mut talker] = [(); 3].map(|()| Shell::open(wire.port));
    for shell in [&mut writes, &mut looks, &mut talker] {
        assert!(shell.expect("# ", PATIENCE), "a prompt: {}", shell.rest());
    }
    talker.enter("n=0; while :; do n=$((n+1)); echo tick $n; sleep 0.05; done");
    assert!(talker.expect("tick 5", PATIENCE), "{}", talker.rest());

    let record = run.pid("record").unwrap();
    run.signal(record, 19);
    // What was committed before may still leave.
    let mut settled = wire.count();
    loop {
        std::thread::sleep(Duration::from_millis(500));
        match wire.count() {
            same if same == settled => break,
            more => settled = more,
        }
    }
    writes.enter("echo seven $((3+4)) > /tmp/left");
    looks.enter("sleep 0.3; cat /tmp/left");
    for talk in &mut talks {
        talk.write_all(b"are you there\n").unwrap();
    }
    // A new visitor of each kind, too.
    let late_shell = std::thread::spawn({
        let port = wire.port;
        move || {
            finish(
                ssh(port, "root", "127.0.0.1", "letmein", false, &["cat /tmp/left"]),
                "",
            )
        }
    });
    let mut late = run.connect().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(
        wire.count(),
        settled,
        "bytes left the SSH decoy while the committer stood still"
    );
    let mut byte = [0];
    for talk in talks.iter_mut().chain([&mut late]) {
        talk.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        assert!(
            talk.read(&mut byte).is_err(),
            "a byte came out while the committer stood still"
        );
    }

    run.signal(record, 18);
    for talk in &mut talks {
        talk.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(read_line(talk).unwrap(), "are you there");
    }
    late.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(read_line(&mut late).unwrap(), "hello");
    assert!(looks.expect("seven 7", PATIENCE), "{}", looks.rest());
    assert!(talker.expect("tick", PATIENCE));
    assert_eq!(text(&late_shell.join().unwrap().stdout), "seven 7\n");
}

/// What clients saw answered: lines said to `echo`, lines typed into a shell, commands run without one.
#[derive(Default)]
struct Answered {
    lines: Vec<String>,
    typed: Vec<String>,
    commands: Vec<String>,
}

/// What a thread of clients needs to know.
#[derive(Clone)]
struct Load {
    /// Where `echo` and SSH are now.
    to: Arc<Mutex<(String, String)>>,
    over: Arc<AtomicBool>,
    acts: Arc<AtomicU64>,
    /// Lines that a shell answered, and commands.
    typed: Arc<AtomicU64>,
    ran: Arc<AtomicU64>,
}

impl Load {
    fn over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn next(&self) -> u64 {
        self.acts.fetch_add(1, Ordering::SeqCst)
    }

    fn port(&self) -> u16 {
        let to = self.to.lock().unwrap();
        to.1.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    fn talk(self) -> Answered {
        let mut answered = Answered::default();
        while !self.over() {
            let to = self.to.lock().unwrap().0.clone();
            let Ok(mut talk) = std::net::TcpStream::connect(&to) else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            talk.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            if read_line(&mut talk).is_err() {
                continue;
            }
            for _ in 0..50 {
                // Enough to be busy, not so much that SSH gets no turn.
                std::thread::sleep(Duration::from_millis(2));
                let line = format!("act {}", self.next());
                match say(&mut talk, &line) {
                    Ok(back) => {
                        assert_eq!(back, line);
                        answered.lines.push(line);
                    }
                    Err(_) => break,
                }
            }
        }
        answered
    }

    fn shell(self) -> Answered {
        let mut answered = Answered::default();
        while !self.over() {
            let mut shell = Shell::open(self.port());
            if !shell.expect("# ", PATIENCE) {
                continue;
            }
            while !self.over() {
                let n = self.next();
                // The answer is not in what the terminal echoes.
                let line = format!("echo typed-{n}-$((6*7))");
                if !shell.enter(&line) || !shell.expect(&format!("typed-{n}-42"), PATIENCE) {
                    break;
                }
                answered.typed.push(line);
                self.typed.fetch_add(1, Ordering::SeqCst);
            }
        }
        answered
    }

    fn command(self) -> Answered {
        let mut answered = Answered::default();
        while !self.over() {
            let n = self.next();
            let line = format!("echo run-{n}-$((6*7))");
            let client = ssh(self.port(), "root", "127.0.0.1", "letmein", false, &[&line]);
            if text(&finish(client, "").stdout) == format!("run-{n}-42\n") {
                answered.commands.push(line);
                self.ran.fetch_add(1, Ordering::SeqCst);
            }
        }
        answered
    }
}

/// Kills one process after the other (and sometimes all) under load. `CRASHES` says how often; the ordinary run has fewer so that it
/// stays short.
#[test]
fn what_a_client_saw_answered_survives_every_kill_and_nothing_is_there_twice() {
    let rounds: u64 = std::env::var("CRASHES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(15);
    let dir = directory("crash");
    let started_with = settings(&dir, "127.0.0.1:0", &[]);
    let mut run = start_on(dir.clone(), &started_with);
    let load = Load {
        to: Arc::new(Mutex::new((run.echo.clone(), run.ssh.clone()))),
        over: Arc::default(),
        acts: Arc::default(),
        typed: Arc::default(),
        ran: Arc::default(),
    };
    let kinds: [fn(Load) -> Answered; 6] = [
        Load::talk,
        Load::talk,
        Load::shell,
        Load::shell,
        Load::command,
        Load::command,
    ];
    let clients: Vec<_> = kinds
        .iter()
        .map(|kind| {
            let (load, kind) = (load.clone(), *kind);
            std::thread::spawn(move || kind(load))
        })
        .collect();

    let mut state = 11u64;
    let mut random = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let answers = |run: &Run| {
        run.connect()
            .is_ok_and(|mut t| read_line(&mut t).is_ok_and(|l| l == "hello"))
    };
    for round in 0..rounds {
        // Sometimes right after the start, sometimes when logins are under way, sometimes when shells are busy.
        std::thread::sleep(Duration::from_millis(20 + random(10) * random(250)));
        let roles = ["front", "record", "out"];
        if round % 5 == 4 {
            // Everything at once, the supervisor first so that it cannot repair anything.
            let all = run.processes();
            run.signal(run.child.id() as i32, 9);
            all.iter().for_each(|(_, pid)| run.signal(*pid, 9));
            run.child.wait().unwrap();
            let reader = Reader::open(&Layout::new(&dir)).unwrap();
            assert_eq!(reader.damage().unwrap(), None, "after round {round}");
            let fresh = start_on(dir.clone(), &started_with);
            *load.to.lock().unwrap() = (fresh.echo.clone(), fresh.ssh.clone());
            // The old one is over: its directory must stay.
            std::mem::forget(std::mem::replace(&mut run, fresh));
        } else if let Some(pid) = run.pid(roles[random(3) as usize]) {
            run.signal(pid, 9);
        }
        until("the program answers again", || answers(&run));
    }
    // Whoever is logged in gets to say something at last, however slow this machine is.
    std::thread::sleep(Duration::from_secs(2));
    let enough = |n: &AtomicU64| n.load(Ordering::SeqCst) >= rounds / 5;
    let until = Instant::now() + Duration::from_secs(120);
    while Instant::now() < until && !(enough(&load.typed) && enough(&load.ran)) {
        std::thread::sleep(Duration::from_millis(100));
    }
    load.over.store(true, Ordering::SeqCst);
    let mut answered = Answered::default();
    for client in clients {
        let more = client.join().unwrap();
        answered.lines.extend(more.lines);
        answered.typed.extend(more.typed);
        answered.commands.extend(more.commands);
    }
    assert_eq!(run.stop(), Some(0));

    let mut recorded: HashMap<String, u64> = HashMap::new();
    let events = run.events();
    for event in &events {
        let line = match &event.kind {
            Kind::CommandInput(it) => &it.line,
            Kind::CommandExec(it) => &it.command,
            _ => continue,
        };
        *recorded.entry(line.to_text_lossy().into_owned()).or_default() += 1;
    }
    let all = [&answered.lines, &answered.typed, &answered.commands];
    for line in all.into_iter().flatten() {
        assert_eq!(recorded.get(line), Some(&1), "{line} was answered");
    }
    assert!(recorded.values().all(|n| *n == 1), "something is there twice");
    let numbers: Vec<u64> = events.iter().map(|e| e.seq).collect();
    assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "numbers have a gap");
    let (mut opened, mut closed) = (0, 0);
    for event in &events {
        match event.kind {
            Kind::SessionOpen(_) => opened += 1,
            Kind::SessionClose(_) => closed += 1,
            _ => {}
        }
    }
    assert_eq!(opened, closed, "every session that began has an end");
    // What was shown is in the recordings, too.
    let reader = Reader::open(&Layout::new(&run.dir)).unwrap();
    let mut shown = Vec::new();
    for session in events.iter().filter(|e| matches!(e.kind, Kind::SessionOpen(_))) {
        for frame in reader
            .recording(session.origin.session.unwrap())
            .unwrap()
            .into_iter()
            .flatten()
        {
            if frame.direction == Direction::Output {
                shown.extend(frame.bytes);
            }
        }
    }
    let shown = text(&shown);
    for line in answered.typed.iter().chain(&answered.commands) {
        let answer = line.trim_start_matches("echo ").replace("$((6*7))", "42");
        assert!(
            shown.contains(&answer),
            "{answer} was shown and is in no recording"
        );
    }
    let counts = all.map(Vec::len);
    eprintln!("{rounds} kills; answered: {counts:?} (said, typed, run)");
    assert!(
        counts.iter().all(|n| *n as u64 >= rounds / 5),
        "there was load: {counts:?}"
    );
}
