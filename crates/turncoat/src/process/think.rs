//! Campaigns and responses, while the program runs: a thread of the process that writes the record.
//!
//! It follows the record by its own cursor, so that a restart goes on where it was. What it finds becomes events of the program
//! (`campaign.change`, `response.decide`, `alert.open` …). What is to be blocked goes to the process `block`.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use turncoat_event::{Draft, Event, Kind, Mark, kinds};
use turncoat_intel::{Change, Keeper, Rules, keeper, view};
use turncoat_store::{Filter, Reader};

use super::block::{Push, Pushed};
use super::record::{Pen, Shared};
use super::{now, say};
use crate::respond::engine::{Engine, Happening, Order};
use crate::respond::incident::{Message, Pace, Phase};
use crate::respond::net::Net;
use crate::respond::settings::{TICK, engine};
use crate::respond::when::Facts;

/// Events taken in at once.
const BATCH: usize = 2_000;

/// Runs until the record ends. `links` gives the stream to `block` each time that process is started.
pub fn run(shared: &Shared, pen: &Pen, links: &Receiver<UnixStream>) {
    loop {
        match follow(shared, pen, links) {
            Ok(()) => return,
            Err(why) => {
                say("record", &format!("campaigns: {why}; tried again in ten seconds"));
                std::thread::sleep(Duration::from_secs(10));
            }
        }
    }
}

/// The stream to `block`.
#[derive(Default)]
struct Blocker {
    stream: Option<UnixStream>,
    number: u64,
}

impl Blocker {
    /// Pushes everything that is blocked, and waits for the answer. What went wrong, if something did.
    fn push(&mut self, engine: &Engine) -> Option<String> {
        let stream = self.stream.as_mut()?;
        self.number += 1;
        let push = Push {
            number: self.number,
            blocked: engine.blocks.iter().map(|b| (b.net, b.until)).collect(),
        };
        let mut line = serde_json::to_string(&push).ok()?;
        line.push('\n');
        let sent = stream.write_all(line.as_bytes()).and_then(|()| {
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            let mut answer = String::new();
            BufReader::new(stream.try_clone()?).read_line(&mut answer)?;
            Ok(answer)
        });
        match sent {
            Ok(answer) => match serde_json::from_str::<Pushed>(&answer) {
                Ok(p) => p.error,
                Err(_) => Some("the block process is gone".into()),
            },
            Err(e) => {
                self.stream = None;
                Some(e.to_string())
            }
        }
    }
}

/// Blocks that were decided and are not over, from the record.
fn restore(engine: &mut Engine, reader: &Reader) -> Result<(), String> {
    let filter = Filter {
        kinds: vec!["response.decide".into()],
        ..Filter::default()
    };
    let mut after = None;
    loop {
        let (events, seen) = reader
            .events(
                &Filter {
                    after,
                    ..filter.clone()
                },
                1000,
            )
            .map_err(|e| e.to_string())?;
        for e in &events {
            let Kind::ResponseDecide(d) = &e.kind else {
                continue;
            };
            let (Some(target), Some(until)) = (&d.target, d.until) else {
                continue;
            };
            if d.action == "block"
                && !d.dry_run
                && until > now()
                && let Ok(net) = target.parse::<Net>()
            {
                let _ = engine.blocks.block(
                    net.address(),
                    e.time,
                    until,
                    d.campaign.clone(),
                    d.rule.as_deref().unwrap_or(""),
                );
            }
        }
        if events.is_empty() {
            return Ok(());
        }
        after = Some(seen);
    }
}

fn happening(reader: &Reader, change: &Change, event: &str) -> Result<Happening, String> {
    let db = reader.database();
    let text = |e: turncoat_store::StoreError| e.to_string();
    let Ok(c) = view::find(db, change.campaign) else {
        return Ok(Happening::default());
    };
    let members = view::members(db, c.id, 1000).map_err(text)?;
    let mut sources: Vec<std::net::IpAddr> = members
        .iter()
        .filter_map(|m| m.source.as_ref()?.parse().ok())
        .collect();
    sources.sort_unstable();
    sources.dedup();
    let source = change.session.and_then(|s| {
        members
            .iter()
            .find(|m| m.session == s)
            .and_then(|m| m.source.as_ref()?.parse().ok())
    });
    let techniques = view::sightings(db, c.id)
        .map_err(text)?
        .into_iter()
        .map(|(_, s)| s.technique)
        .collect();
    Ok(Happening {
        facts: Facts {
            event: event.to_owned(),
            decoy: String::new(),
            source,
            techniques,
            stage: change.stage,
            sessions: c.sessions,
            sources: c.sources,
            tokens: c.tokens,
        },
        campaign: Some(c.id.to_string()),
        proved: sources,
        what: match (&change.reason, change.what) {
            (Some(reason), what) => format!("{what}: {reason}"),
            (None, "token") => "a planted thing was used".into(),
            (None, what) => what.to_owned(),
        },
    })
}

fn alert(m: &Message) -> Kind {
    match m.phase {
        Phase::Open => kinds::AlertOpen {
            alert: format!("{}/{}", m.incident, m.number),
            severity: m.severity.name().into(),
            title: format!("{}: {}", m.title, m.lines.join("; ")),
            campaign: m.campaign.clone(),
        }
        .into(),
        Phase::Update => kinds::AlertUpdate {
            alert: format!("{}/{}", m.incident, m.number),
            title: format!("{}: {}", m.title, m.lines.join("; ")),
            events: m.lines.len() as u64 + m.more,
        }
        .into(),
        Phase::Close => kinds::AlertClose {
            alert: format!("{}/{}", m.incident, m.number),
            events: m.more,
        }
        .into(),
    }
}

fn follow(shared: &Shared, pen: &Pen, links: &Receiver<UnixStream>) -> Result<(), String> {
    let rules = Rules::built_in().map_err(|e| e.to_string())?;
    let Some(opened) = pen.ask(move |writer| {
        let cursor = writer.cursor(keeper::CURSOR)?.0;
        Ok::<_, turncoat_store::StoreError>((Keeper::open(writer.database(), rules)?, cursor))
    }) else {
        return Ok(());
    };
    let (keeper, mut cursor) = opened.map_err(|e| e.to_string())?;
    let keeper = Arc::new(Mutex::new(keeper));
    let reader = Reader::open(&shared.layout).map_err(|e| e.to_string())?;
    let mut engine = engine(&shared.settings(), &shared.own_networks)?;
    restore(&mut engine, &reader)?;
    let mut blocker = Blocker::default();
    let mut ticked = Instant::now();
    let own = |kinds: Vec<Kind>| {
        kinds
            .into_iter()
            .for_each(|k| pen.own(Draft::of_system(now(), k)))
    };
    loop {
        let mut changed = false;
        if let Ok(stream) = links.try_recv() {
            blocker.stream = Some(stream);
            changed = true;
        }
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            let (events, orders) = engine.tick(now());
            changed |= !orders.is_empty();
            own(events);
            own(engine
                .incidents
                .due(now(), &Pace::default())
                .iter()
                .map(alert)
                .collect());
        }
        match shared
            .committed
            .wait(Mark(cursor + 1), if changed { Duration::ZERO } else { TICK })
        {
            Err(_) => return Ok(()),
            Ok(false) => {}
            Ok(true) => {
                let filter = Filter {
                    after: Some(cursor),
                    ..Filter::default()
                };
                let (events, seen): (Vec<Event>, u64) =
                    reader.events(&filter, BATCH).map_err(|e| e.to_string())?;
                cursor = seen.max(events.last().map_or(0, |e| e.seq)).max(cursor);
                if events.is_empty() {
                    continue;
                }
                let at_work = keeper.clone();
                let Some(done) = pen.ask(move |writer| {
                    at_work
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .add(writer.database(), &events)
                }) else {
                    return Ok(());
                };
                for change in done.map_err(|e| e.to_string())? {
                    // Of the program, not of the session: that one may be over, and must stay so.
                    let draft = Draft::of_system(now(), change.kind());
                    pen.own(draft);
                    let event = if change.what == "token" {
                        "token.used"
                    } else {
                        "campaign.change"
                    };
                    let (events, orders): (Vec<Kind>, Vec<Order>) =
                        engine.decide(&happening(&reader, &change, event)?, now());
                    changed |= !orders.is_empty();
                    own(events);
                }
            }
        }
        if changed {
            let response = format!("push-{}", blocker.number + 1);
            if let Some(why) = blocker.push(&engine) {
                own(vec![
                    kinds::ResponseResult {
                        response,
                        result: "failed".into(),
                        detail: Some(why),
                    }
                    .into(),
                ]);
            } else if blocker.stream.is_some() {
                own(vec![
                    kinds::ResponseResult {
                        response,
                        result: "in-force".into(),
                        detail: None,
                    }
                    .into(),
                ]);
            }
            write_feed(shared, &engine);
        }
    }
}

/// The feed of addresses, for firewalls that fetch it: `blocks.txt` and `blocks.json` in the data directory.
fn write_feed(shared: &Shared, engine: &Engine) {
    let at = now();
    for (name, text) in [
        ("blocks.txt", engine.blocks.feed_text(at)),
        ("blocks.json", engine.blocks.feed_json(at).to_string()),
    ] {
        let path = shared.layout.root().join(name);
        let part = path.with_extension("part");
        if let Err(e) = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, &path)) {
            say("record", &format!("{}: {e}", path.display()));
        }
    }
}
