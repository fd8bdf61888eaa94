//! Campaigns and responses, while the program runs: a thread of the process that writes the record.
//!
//! It follows the record by its own cursor. What a batch of events led to (campaigns, decisions, letters for the outbox, what the engine
//! must remember) is written in one transaction together with that cursor: after `kill -9` it is all there or none of it, and
//! nothing is decided or told twice. What it finds becomes events of the program (`campaign.change`, `response.decide`, `alert.open` …). What
//! is to be blocked goes to the process `block` and to the supervisor.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use turncoat_event::{Draft, Event, Kind, Mark, Time, kinds};
use turncoat_intel::networks::Networks;
use turncoat_intel::{Change, Keeper, Rules, keeper, view};
use turncoat_store::rusqlite::Transaction;
use turncoat_store::{Filter, Reader, StoreError, Writer, outbox};

use super::block::{Push, Pushed};
use super::record::{Pen, Shared};
use super::{now, say};
use crate::alert::{self, Letter};
use crate::respond::engine::{Engine, Happening};
use crate::respond::incident::{Message, Pace, Phase};
use crate::respond::memory::UNDO;
use crate::respond::net::Net;
use crate::respond::settings::{TICK, engine, pace};
use crate::respond::{happen, memory};

/// Events taken in at once.
const BATCH: usize = 2_000;
/// Between two steps, so that what comes at nearly the same time is one. What comes after a pause is looked at at once.
const BETWEEN: Duration = Duration::from_millis(20);
/// How long a request waits for campaigns to be read at the start.
const FIRST_READ: Duration = Duration::from_secs(10);

/// What is understood and what is done about it. Locked by the writing thread while it works, and for a moment by who looks.
pub struct Mind {
    /// Campaigns.
    pub keeper: Keeper,
    /// Responses.
    pub engine: Engine,
    ways: Vec<&'static str>,
    sensor: String,
    networks: Arc<Networks>,
}

/// How requests reach the mind; nothing there until it is awake.
#[derive(Default)]
pub struct Minded {
    mind: Mutex<Option<Arc<Mutex<Mind>>>>,
    /// What is blocked was changed by a request, and is to be pushed.
    pub changed: AtomicBool,
    administrators: Mutex<Vec<Net>>,
}

impl Minded {
    /// Whoever has administered this host since the process began.
    pub fn administrators(&self, nets: Vec<Net>) {
        *self.administrators.lock().unwrap_or_else(PoisonError::into_inner) = nets;
    }

    /// Puts on the allow-list whoever administers this host and is not there yet. True if a block was lifted by that.
    fn let_in(&self, pen: &Pen, allowed: &mut BTreeSet<Net>) -> Result<bool, String> {
        let all = self
            .administrators
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let new: Vec<Net> = all.into_iter().filter(|net| allowed.insert(*net)).collect();
        if new.is_empty() {
            return Ok(false);
        }
        self.ask(pen, move |mind, writer| {
            let mut events = Vec::new();
            for net in new {
                for lifted in mind.engine.blocks.allow(net) {
                    let undone = kinds::ResponseResult {
                        response: format!("allow-list/{UNDO}{lifted}"),
                        result: "undone".into(),
                        detail: Some(format!(
                            "{net} administers this host now, and is on the allow-list"
                        )),
                    };
                    events.push(Draft::of_system(now(), undone));
                }
            }
            let lifted = !events.is_empty();
            writer.append_with(|_| Ok((lifted, events)))
        })
    }

    /// Runs a function with mind and writer, between two batches; soon after the start, once campaigns have been read.
    ///
    /// # Errors
    /// One line for the operator.
    pub fn ask<T: Send + 'static>(
        &self,
        pen: &Pen,
        work: impl FnOnce(&mut Mind, &mut Writer) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, String> {
        let read = || self.mind.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // A moment after the start they are still being read.
        let until = Instant::now() + FIRST_READ;
        let mind = loop {
            match read() {
                Some(mind) => break mind,
                None if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
                None => return Err("campaigns are not read yet; try again in a moment".into()),
            }
        };
        pen.ask(move |writer| work(&mut lock(&mind), writer))
            .ok_or("the record has stopped")?
            .map_err(|e| e.to_string())
    }
}

fn lock(mind: &Mutex<Mind>) -> MutexGuard<'_, Mind> {
    mind.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a step led to outside of the record.
#[derive(Default)]
struct Done {
    blocks: bool,
    letters: bool,
}

impl Mind {
    /// Takes in events and the time, and writes everything that follows from them.
    fn step(
        &mut self,
        writer: &mut Writer,
        events: &[Event],
        at: Time,
        pace: &Pace,
    ) -> Result<Done, StoreError> {
        writer.append_with(|tx| {
            let mut done = Done::default();
            let mut kinds = Vec::new();
            for change in self.keeper.add_in(tx, events)? {
                kinds.push(change.kind());
                if let Some(h) = happen::of_change(tx, &change, &self.networks)? {
                    done.blocks |= self.decide(tx, &h, Some(&change), at, &mut kinds)?;
                }
            }
            for e in events {
                if !self.engine.wants(e.kind.name()) {
                    continue;
                }
                let campaign = e.origin.session.and_then(|s| self.keeper.campaign_of(&s));
                let h = happen::of_event(tx, e, campaign, &self.networks)?;
                done.blocks |= self.decide(tx, &h, None, at, &mut kinds)?;
            }
            let (over, orders) = self.engine.tick(at);
            done.blocks |= !orders.is_empty();
            kinds.extend(over);
            for message in self.engine.incidents.due(at, pace) {
                kinds.push(alert_event(&message));
                done.letters |= self.put(tx, message, at, &mut kinds)?;
            }
            memory::save(tx, &mut self.engine)?;
            Ok((done, kinds.into_iter().map(|k| Draft::of_system(at, k)).collect()))
        })
    }

    fn decide(
        &mut self,
        tx: &Transaction<'_>,
        h: &Happening,
        change: Option<&Change>,
        at: Time,
        kinds: &mut Vec<Kind>,
    ) -> Result<bool, StoreError> {
        let mut trouble = None;
        let mut all = || match change.map(|c| view::sources(tx, c.campaign)) {
            Some(Ok(sources)) => sources,
            Some(Err(e)) => {
                trouble = Some(e);
                Vec::new()
            }
            None => h.facts.source.into_iter().collect(),
        };
        let (events, orders) = self.engine.decide(h, &mut all, at);
        if let Some(e) = trouble {
            return Err(e);
        }
        kinds.extend(events);
        Ok(!orders.is_empty())
    }

    /// Puts a message into the outbox, once for each way.
    fn put(
        &self,
        tx: &Transaction<'_>,
        message: Message,
        at: Time,
        kinds: &mut Vec<Kind>,
    ) -> Result<bool, StoreError> {
        let letter = Letter::new(&self.sensor, message);
        let text = serde_json::to_string(&letter).map_err(|e| StoreError::Refused(e.to_string()))?;
        let mut put = false;
        for way in &self.ways {
            if outbox::put(tx, way, &format!("{way}/{}", letter.id), &text, at)? {
                put = true;
            } else {
                let lost = kinds::AlertSent {
                    alert: letter.message.incident.clone(),
                    way: (*way).into(),
                    delivered: false,
                    detail: Some("the outbox is full; this letter is lost".into()),
                };
                kinds.push(lost.into());
            }
        }
        Ok(put)
    }

    /// Puts a test letter into the outbox. Gives the ways.
    ///
    /// # Errors
    /// What the database says.
    pub fn test(&self, writer: &mut Writer, at: Time) -> Result<Vec<(&'static str, String)>, StoreError> {
        let message = Message {
            incident: "I-test".into(),
            number: 1,
            phase: Phase::Open,
            severity: crate::respond::incident::Severity::Low,
            title: "a test: alerts arrive here".into(),
            lines: vec!["an operator asked for this message by `turncoat alert test`".into()],
            more: 0,
            campaign: None,
            time: at,
            opened: at,
        };
        let id = Letter::new(&self.sensor, message.clone()).id;
        writer.append_with(|tx| {
            let mut kinds = Vec::new();
            self.put(tx, message, at, &mut kinds)?;
            // What waits after a failure is tried now too.
            tx.execute("UPDATE outbox SET due = 0", [])?;
            let ways = self.ways.iter().map(|w| (*w, format!("{w}/{id}"))).collect();
            Ok((ways, kinds.into_iter().map(|k| Draft::of_system(at, k)).collect()))
        })
    }

    /// True if a step would do something without new events.
    fn is_due(&self, at: Time, pace: &Pace) -> bool {
        self.engine.blocks.next_expiry().is_some_and(|t| t <= at) || self.engine.incidents.is_due(at, pace)
    }
}

/// Runs until the record ends. `links` gives the stream to `block` each time that process is started.
pub fn run(shared: &Shared, pen: &Pen, links: &Receiver<UnixStream>) {
    loop {
        match follow(shared, pen, links) {
            Ok(()) => return,
            Err(why) => {
                // What is in memory may be ahead of the record now: nobody asks it any more.
                *shared.minded.mind.lock().unwrap_or_else(PoisonError::into_inner) = None;
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
    fn push(&mut self, blocked: &[(Net, Time)]) -> Option<String> {
        let stream = self.stream.as_mut()?;
        self.number += 1;
        let push = Push {
            number: self.number,
            blocked: blocked.to_vec(),
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

/// The event that tells of a message.
pub fn alert_event(m: &Message) -> Kind {
    match m.phase {
        Phase::Open => kinds::AlertOpen {
            alert: m.incident.clone(),
            severity: m.severity.name().into(),
            title: format!("{}: {}", m.title, m.lines.join("; ")),
            campaign: m.campaign.clone(),
        }
        .into(),
        Phase::Update => kinds::AlertUpdate {
            alert: m.incident.clone(),
            title: format!("{}: {}", m.title, m.lines.join("; ")),
            events: m.lines.len() as u64 + m.more,
        }
        .into(),
        Phase::Close => kinds::AlertClose {
            alert: m.incident.clone(),
            events: m.more,
        }
        .into(),
    }
}

fn follow(shared: &Shared, pen: &Pen, links: &Receiver<UnixStream>) -> Result<(), String> {
    let settings = shared.settings();
    let mut rules = Rules::built_in().map_err(|e| e.to_string())?;
    rules.merge(&shared.rules);
    let mut engine = engine(&settings, &shared.own_networks)?;
    let reader = Reader::open(&shared.layout).map_err(|e| e.to_string())?;
    memory::restore_blocks(&mut engine, &reader, now()).map_err(|e| e.to_string())?;
    let ways = alert::configured(&settings);
    let sensor = settings.sensor.name.clone();
    let networks = shared.networks.clone();
    let Some(opened) = pen.ask(move |writer| {
        let cursor = writer.cursor(keeper::CURSOR)?.0;
        memory::load(writer.database(), &mut engine)?;
        let keeper = Keeper::open(writer.database(), rules)?;
        let mind = Mind {
            keeper,
            engine,
            ways,
            sensor,
            networks,
        };
        Ok::<_, StoreError>((mind, cursor))
    }) else {
        return Ok(());
    };
    let (mind, mut cursor) = opened.map_err(|e| e.to_string())?;
    let mind = Arc::new(Mutex::new(mind));
    *shared.minded.mind.lock().unwrap_or_else(PoisonError::into_inner) = Some(mind.clone());
    let mut blocker = Blocker::default();
    // What was blocked before is in the feed and with the supervisor again.
    let mut changed = true;
    let mut looked = Instant::now();
    let mut stepped: Option<Instant> = None;
    let mut allowed = BTreeSet::new();
    loop {
        changed |= shared.minded.let_in(pen, &mut allowed)?;
        if let Ok(stream) = links.try_recv() {
            blocker.stream = Some(stream);
            changed = true;
        }
        changed |= shared.minded.changed.swap(false, Ordering::Relaxed);
        if changed {
            changed = false;
            push(shared, pen, &mind, &mut blocker);
        }
        let pace = pace(&shared.settings());
        let mut events: Vec<Event> = Vec::new();
        match shared.committed.wait(Mark(cursor + 1), TICK) {
            Err(_) => return Ok(()),
            Ok(false) => {}
            Ok(true) => {
                if let Some(left) = stepped.and_then(|t| BETWEEN.checked_sub(t.elapsed())) {
                    std::thread::sleep(left);
                }
                let filter = Filter {
                    after: Some(cursor),
                    ..Filter::default()
                };
                let found = reader.events(&filter, BATCH).map_err(|e| e.to_string())?;
                cursor = found.1.max(found.0.last().map_or(0, |e| e.seq)).max(cursor);
                events = found.0;
            }
        }
        if events.is_empty() {
            if looked.elapsed() < TICK || !lock(&mind).is_due(now(), &pace) {
                continue;
            }
            looked = Instant::now();
        }
        stepped = Some(Instant::now());
        let at_work = mind.clone();
        let Some(done) = pen.ask(move |writer| lock(&at_work).step(writer, &events, now(), &pace)) else {
            return Ok(());
        };
        let done = done.map_err(|e| e.to_string())?;
        changed = done.blocks;
        if done.letters {
            shared.bell.ring();
        }
    }
}

/// Brings into force what is blocked now: the nftables table, the feed, the operator's command.
fn push(shared: &Shared, pen: &Pen, mind: &Mutex<Mind>, blocker: &mut Blocker) {
    let at = now();
    let (blocked, text, json) = {
        let mind = lock(mind);
        let blocks = &mind.engine.blocks;
        let all: Vec<(Net, Time)> = blocks.iter().map(|b| (b.net, b.until)).collect();
        (all, blocks.feed_text(at), blocks.feed_json(at).to_string())
    };
    write_feed(shared, &text, &json);
    (shared.tell_supervisor)(&blocked);
    let response = format!("push-{}", blocker.number + 1);
    let failed = blocker.push(&blocked);
    if failed.is_none() && blocker.stream.is_none() {
        return;
    }
    let result = if failed.is_some() { "failed" } else { "in-force" };
    let result = kinds::ResponseResult {
        response,
        result: result.into(),
        detail: failed,
    };
    pen.own(Draft::of_system(now(), result));
}

/// The feed of addresses, for firewalls that fetch it: `blocks.txt` and `blocks.json` in the data directory.
fn write_feed(shared: &Shared, text: &str, json: &str) {
    for (name, text) in [("blocks.txt", text), ("blocks.json", json)] {
        let path = shared.layout.root().join(name);
        let part = path.with_extension("part");
        if let Err(e) = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, &path)) {
            say("record", &format!("{}: {e}", path.display()));
        }
    }
}
