//! `cargo bench -p turncoat-intel`: how well and how fast sessions become campaigns, from a thousand to a hundred thousand.
//!
//! `cargo bench -p turncoat-intel -- 1000 10000` for other sizes; `-- --public FILE` plays the sessions of a corpus (JSON lines with `id`,
//! `seen` and `lines`), each row as the tool of one botnet.

#[allow(dead_code)]
mod generator;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use generator::{S, by_kind, campaigns, events, quality};
use turncoat_event::kinds::{AuthAttempt, CommandInput, NetResolve, SessionClose};
use turncoat_event::{Bytes, Draft, Event, Origin, SessionId, Time};
use turncoat_intel::{CampaignId, Keeper, Rules, Stage};
use turncoat_store::rusqlite::Connection;
use turncoat_store::{Layout, migrate};

fn keeper() -> (Connection, Keeper) {
    let mut db = Connection::open_in_memory().expect("a database in memory");
    migrate::migrate(&mut db, &Layout::new("/nonexistent")).expect("a schema");
    let keeper = Keeper::open(&mut db, Rules::built_in().expect("rules")).expect("a keeper");
    (db, keeper)
}

fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let Some(at) = args.iter().position(|a| a == "--public") {
        return public(args.get(at + 1).expect("a file after --public"));
    }
    let mut sizes: Vec<u64> = args.iter().filter_map(|a| a.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![1_000, 10_000, 100_000];
    }
    println!(
        "| sessions | events | actors | campaigns | precision | recall | B-cubed | us a session | in the last tenth | us an event | reopen | RSS grown |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut foiled = BTreeMap::new();
    for size in sizes {
        run(size, &mut foiled);
    }
    println!(
        "\nStage at which a rule (stage >= persistence, or a planted thing used) first met an actor, in the largest run:"
    );
    for (stage, n) in foiled {
        println!("  {stage}: {n}");
    }
}

fn run(size: u64, foiled: &mut BTreeMap<String, u64>) {
    let (sessions, kinds) = campaigns(7, size);
    let actors = kinds.len();
    let n = sessions.len();
    let truth: HashMap<SessionId, usize> = sessions.iter().filter_map(|s| Some((s.id, s.actor?))).collect();
    let all = events(sessions);
    let before = memory();
    let (mut db, mut keeper) = keeper();
    let mut first: HashMap<usize, String> = HashMap::new();
    let (mut whole, mut tenth) = (Duration::ZERO, Duration::ZERO);
    let (mut closed_late, mut met) = (0u64, 0u64);
    for (i, batch) in all.chunks(1_000).enumerate() {
        let started = Instant::now();
        let changes = keeper.add(&mut db, batch).expect("a batch");
        let took = started.elapsed();
        whole += took;
        met += batch.len() as u64;
        if i * 1_000 >= all.len() * 9 / 10 {
            tenth += took;
            closed_late += batch.iter().filter(|e| e.kind.name() == "session.close").count() as u64;
        }
        for c in changes {
            let decides = c.what == "token" || c.stage >= Some(Stage::Persistence);
            if let Some(actor) = c.session.and_then(|s| truth.get(&s)).filter(|_| decides) {
                let stage = if c.what == "token" {
                    "token used".into()
                } else {
                    c.stage.map_or("-", Stage::name).to_owned()
                };
                first.entry(*actor).or_insert(stage);
            }
        }
    }
    let grown = memory().saturating_sub(before);
    let pairs: Vec<(usize, u64)> = truth
        .iter()
        .filter_map(|(id, actor)| Some((*actor, keeper.campaign_of(id)?.0)))
        .collect();
    let q = quality(&pairs);
    let homes: std::collections::BTreeSet<CampaignId> =
        truth.keys().filter_map(|id| keeper.campaign_of(id)).collect();
    let started = Instant::now();
    drop(Keeper::open(&mut db, Rules::built_in().expect("rules")).expect("again"));
    let reopen = started.elapsed();
    println!(
        "| {n} | {met} | {actors} | {} | {:.4} | {:.4} | {:.3} / {:.3} | {:.0} | {:.0} | {:.1} | {:.2} s | {} MiB |",
        homes.len(),
        q.precision,
        q.recall,
        q.b_precision,
        q.b_recall,
        whole.as_secs_f64() * 1e6 / n as f64,
        tenth.as_secs_f64() * 1e6 / closed_late.max(1) as f64,
        whole.as_secs_f64() * 1e6 / met as f64,
        reopen.as_secs_f64(),
        grown / 1024
    );
    let kinds: Vec<String> = by_kind(&pairs, &kinds)
        .into_iter()
        .map(|(kind, n, recall)| format!("{kind} {recall:.2} ({n})"))
        .collect();
    eprintln!("recall by kind, with sessions: {}", kinds.join(", "));
    foiled.clear();
    for actor in 0..actors {
        let stage = first.get(&actor).cloned().unwrap_or_else(|| "never".into());
        *foiled.entry(stage).or_default() += 1;
    }
}

/// Each row of a corpus is a tool; it comes from as many sources as it was seen, at most thirty, and looks up the hosts its lines name.
fn public(path: &str) {
    let text = std::fs::read_to_string(path).expect("the corpus");
    let mut drafts: Vec<Draft> = Vec::new();
    let mut truth: HashMap<SessionId, usize> = HashMap::new();
    let mut clock = 0i64;
    for (row, line) in text.lines().enumerate() {
        let v: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let lines: Vec<&str> = v["lines"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|l| l.as_str())
            .collect();
        for n in 0..v["seen"].as_u64().unwrap_or(1).min(30) {
            clock += 977 * S;
            let at = 1_790_812_800 * S + clock;
            let id = SessionId::new(
                Time(at),
                [row as u8, (row >> 8) as u8, n as u8, 0, 0, 0, 0, 0, 0, 1],
            );
            let source = format!("{}.{}.{}.{}", 30 + row % 100, row / 100 + 1, n, 9);
            let o = Origin::session(
                id,
                format!("{source}:4000").parse().expect("an address"),
                ([192, 0, 2, 1], 22).into(),
                "ssh",
            );
            let login = AuthAttempt {
                method: "password".into(),
                user: Bytes::from("root"),
                secret: Some(Bytes::from("123456")),
                secret_hash: None,
                key_type: None,
                fingerprint: None,
                key: None,
                probe: None,
                accepted: true,
                policy: "list".into(),
            };
            drafts.push(o.at(Time(at), login));
            for l in &lines {
                drafts.push(o.at(
                    Time(at + S),
                    CommandInput {
                        line: Bytes::from(*l),
                        reader: None,
                        pid: None,
                    },
                ));
                for word in l.split(|c: char| c.is_whitespace() || ";|&'\"".contains(c)) {
                    if let Some(host) = word.split("://").nth(1).and_then(|r| r.split(['/', ':']).next()) {
                        drafts.push(o.at(
                            Time(at + S),
                            NetResolve {
                                name: Bytes::from(host),
                                record: "A".into(),
                                answer: None,
                                pid: None,
                            },
                        ));
                    }
                }
            }
            let close = SessionClose {
                reason: "client".into(),
                bytes_in: 0,
                bytes_out: 0,
                duration_ms: 0,
            };
            drafts.push(o.at(Time(at + 2 * S), close));
            truth.insert(id, row);
        }
    }
    drafts.sort_by_key(|d| d.time);
    let all: Vec<Event> = drafts
        .into_iter()
        .zip(1u64..)
        .map(|(d, n)| Event::new(n, "made-up".parse().expect("a name"), d))
        .collect();
    let (mut db, mut keeper) = keeper();
    keeper.add(&mut db, &all).expect("events");
    let pairs: Vec<(usize, u64)> = truth
        .iter()
        .filter_map(|(id, row)| Some((*row, keeper.campaign_of(id)?.0)))
        .collect();
    println!(
        "{} sessions of {} tools: {:?}",
        truth.len(),
        text.lines().count(),
        quality(&pairs)
    );
}
