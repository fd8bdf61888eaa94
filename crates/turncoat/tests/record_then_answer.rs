//! Invariant 1, seen from outside: nothing is answered that is not on record, whatever stands still, is full or dies.

mod common;

use std::collections::HashMap;
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{read_line, say, start, start_on, until};
use turncoat_event::Kind;

#[test]
fn a_frozen_committer_means_not_one_byte() {
    let run = start("freeze", &[]);
    let mut talks: Vec<_> = (0..8).map(|_| run.connect().unwrap()).collect();
    for talk in &mut talks {
        assert_eq!(read_line(talk).unwrap(), "hello");
    }
    let record = run.pid("record").unwrap();
    run.signal(record, 19);
    for talk in &mut talks {
        use std::io::Write;
        talk.write_all(b"are you there\n").unwrap();
        talk.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    }
    let mut late = run.connect().unwrap();
    late.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut byte = [0];
    for talk in talks.iter_mut().chain([&mut late]) {
        assert!(
            talk.read(&mut byte).is_err(),
            "a byte came out while the committer stood still"
        );
    }
    run.signal(record, 18);
    for talk in &mut talks {
        talk.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(read_line(talk).unwrap(), "are you there");
    }
    late.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(read_line(&mut late).unwrap(), "hello");
}

/// Kills one process after the other (and sometimes all) under load. `CRASHES` says how often; the issue wants 100.
#[test]
fn what_a_client_saw_answered_survives_every_kill_and_nothing_is_there_twice() {
    let rounds: u64 = std::env::var("CRASHES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(15);
    let mut run = start("crash", &[]);
    let dir = run.dir.clone();
    let address = Arc::new(Mutex::new(run.echo.clone()));
    let over = Arc::new(AtomicBool::new(false));
    let said = Arc::new(AtomicU64::new(0));
    let talkers: Vec<_> = (0..4)
        .map(|_| {
            let (address, over, said) = (address.clone(), over.clone(), said.clone());
            std::thread::spawn(move || {
                let mut answered = Vec::new();
                while !over.load(Ordering::SeqCst) {
                    let to = address.lock().unwrap().clone();
                    let Ok(mut talk) = std::net::TcpStream::connect(&to) else {
                        std::thread::sleep(Duration::from_millis(5));
                        continue;
                    };
                    talk.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                    if read_line(&mut talk).is_err() {
                        continue;
                    }
                    for _ in 0..50 {
                        let line = format!("act {}", said.fetch_add(1, Ordering::SeqCst));
                        match say(&mut talk, &line) {
                            Ok(back) => {
                                assert_eq!(back, line);
                                answered.push(line);
                            }
                            Err(_) => break,
                        }
                    }
                }
                answered
            })
        })
        .collect();

    let mut state = 11u64;
    let mut random = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for round in 0..rounds {
        std::thread::sleep(Duration::from_millis(20 + random(180)));
        let roles = ["front", "record", "out"];
        if round % 5 == 4 {
            // Everything at once, the supervisor first so that it cannot repair anything.
            let all = run.processes();
            run.signal(run.child.id() as i32, 9);
            all.iter().for_each(|(_, pid)| run.signal(*pid, 9));
            run.child.wait().unwrap();
            let fresh = start_on(dir.clone(), &[]);
            *address.lock().unwrap() = fresh.echo.clone();
            // The old one is over: its directory must stay.
            std::mem::forget(std::mem::replace(&mut run, fresh));
        } else if let Some(pid) = run.pid(roles[random(3) as usize]) {
            run.signal(pid, 9);
        }
        until("the program answers again", || {
            run.connect()
                .is_ok_and(|mut t| read_line(&mut t).is_ok_and(|l| l == "hello"))
        });
    }
    over.store(true, Ordering::SeqCst);
    let answered: Vec<String> = talkers.into_iter().flat_map(|t| t.join().unwrap()).collect();
    assert_eq!(run.stop(), Some(0));

    let mut recorded: HashMap<String, u64> = HashMap::new();
    let events = run.events();
    for event in &events {
        if let Kind::CommandInput(it) = &event.kind {
            *recorded.entry(it.line.to_text_lossy().into_owned()).or_default() += 1;
        }
    }
    for line in &answered {
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
    assert!(
        answered.len() as u64 > rounds * 10,
        "there was load: {}",
        answered.len()
    );
}
