//! The process that alone writes the record.
//!
//! One thread reads the stream from `front` and takes it apart; one thread writes: it collects what has come, commits it as
//! one batch, and tells `front` how far it is. Everything else that wants the writer (forgetting, quotas, cursors) sends it a
//! function to run between two batches ([`Pen::ask`]). While a batch cannot be committed (full disk, read-only directory), nothing is
//! answered, `front` is told to take no new sessions, and the same batch is tried again until it is in.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use turncoat_event::kinds::{
    Heartbeat, OperatorAction, SystemDegraded, SystemRecovered, SystemStart, SystemStop,
};
use turncoat_event::{Committer, Draft, Item, Mark, SensorId, Time, Watermark, WorldId};
use turncoat_store::keep::{Quota, usage};
use turncoat_store::{Durability, InstallKey, Layout, StoreError, Writer};

use super::link::{Decoder, Message, Pieces};
use super::scribe::{Closed, Scribe, compress};
use super::{Order, Passed, Report, Role, confine, control, now, out, requests, say, thread};
use crate::config::Settings;
use crate::config::table::Durability as DurabilitySetting;
use crate::respond::net::Net;

/// An operator waits so long for a record that takes nothing.
const OPERATOR_WAITS: Duration = Duration::from_secs(5);

/// What the writing thread is asked to do.
pub(super) enum Work {
    /// From a front, by the number of its life.
    Items { life: u64, items: Vec<(Mark, Item)> },
    /// A front begins: where to tell it how far the record is.
    Begin { life: u64, to: UnixStream },
    /// A front's stream has ended.
    End { life: u64 },
    /// An event of our own.
    Own(Box<Draft>),
    /// Front remembers something of a world; nothing: it is over.
    Keep(WorldId, String),
    /// Front remembers a world's disk.
    Disk(WorldId, Vec<u8>),
    /// A checkpoint at this byte of its journal; the second number bounds the bytes of all of the world's.
    Checkpoint(WorldId, (u64, u64), Vec<u8>),
    /// A front drops what lies before a byte of a world's journal: `head` stands there instead, and the checkpoint between them.
    Cut {
        life: u64,
        world: WorldId,
        from: u64,
        head: Vec<u8>,
        checkpoint: Vec<u8>,
    },
    /// A front wants what there is of a world.
    Fetch { life: u64, world: WorldId },
    /// Something else that needs the writer.
    Ask(Box<dyn FnOnce(&mut Writer) + Send>),
    /// Commit what is there and stop.
    Stop,
}

/// How the rest of this process reaches the writer.
#[derive(Clone)]
pub struct Pen(SyncSender<Work>);

impl Pen {
    /// Records an event of the program itself.
    pub fn own(&self, draft: Draft) {
        let _ = self.0.send(Work::Own(Box::new(draft)));
    }

    /// Records what an operator did, and waits until it is on record: he is not told that it is done before. On a disk that takes
    /// nothing he gets his answer without, after [`OPERATOR_WAITS`]: he is needed there.
    pub fn signed(&self, draft: Draft) {
        self.own(draft);
        let (answer, wait) = channel();
        let done = move |_: &mut Writer| {
            let _ = answer.send(());
        };
        if self.0.send(Work::Ask(Box::new(done))).is_ok() {
            let _ = wait.recv_timeout(OPERATOR_WAITS);
        }
    }

    /// Runs a function with the writer, between two batches, and waits for what it gives. `None` when the writer is gone.
    pub fn ask<T: Send + 'static>(&self, work: impl FnOnce(&mut Writer) -> T + Send + 'static) -> Option<T> {
        let (answer, wait) = channel();
        let ask = move |writer: &mut Writer| {
            let _ = answer.send(work(writer));
        };
        self.0.send(Work::Ask(Box::new(ask))).ok()?;
        wait.recv().ok()
    }
}

/// What is known of the state of the program.
#[derive(Debug, Default)]
pub struct Status {
    pub(super) problem: Option<(String, String)>,
    pub(super) committed_at: Option<Instant>,
    pub(super) open: usize,
    front: Json,
    /// When front last said anything.
    front_seen: Option<Instant>,
    front_silent: bool,
    supervisor: Json,
    outputs: Vec<out::State>,
    clock_jumped: Option<Instant>,
}

/// Takes what is blocked now, each until when.
pub type TellBlocked = Box<dyn Fn(&[(Net, Time)]) + Send + Sync>;

/// What all threads of this process share.
pub struct Shared {
    /// Where the record lies.
    pub layout: Layout,
    /// The settings in force.
    pub settings: RwLock<Arc<Settings>>,
    /// Keyed hashes of secrets and sources.
    pub source_key: InstallKey,
    /// Number of the last committed event, as a mark.
    pub committed: Watermark,
    /// Decoys and where they listen.
    pub listening: Vec<String>,
    /// This host's own addresses, its gateways and resolvers: never blocked.
    pub own_networks: Vec<crate::respond::net::Net>,
    /// The console, where it listens.
    pub console: std::sync::OnceLock<Arc<turncoat_console::Console>>,
    /// Rings when there is a letter in the outbox.
    pub bell: super::courier::Bell,
    /// Campaigns and responses, for requests.
    pub minded: super::think::Minded,
    /// Rules for techniques that the operator added.
    pub rules: turncoat_intel::Rules,
    /// Countries and networks of addresses.
    pub networks: Arc<turncoat_intel::networks::Networks>,
    /// Tells the supervisor what is blocked now, where the operator's command is to be run for it.
    pub tell_supervisor: TellBlocked,
    status: Mutex<Status>,
    started: Instant,
}

impl Shared {
    /// The state, for reading and changing.
    pub fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Notes how an output is.
    pub fn output(&self, state: out::State) {
        let mut status = self.status();
        match status.outputs.iter_mut().find(|o| o.name == state.name) {
            Some(known) => *known = state,
            None => status.outputs.push(state),
        }
    }

    /// Everything that `turncoat status` shows.
    pub fn facts(&self) -> Json {
        let status = self.status();
        let (state, detail) = match &status.problem {
            Some((problem, detail)) => (problem.as_str(), detail.as_str()),
            None => ("working", ""),
        };
        let size = usage(&self.layout);
        let outputs: Vec<Json> = status
            .outputs
            .iter()
            .map(|o| o.json(self.committed.committed().0))
            .collect();
        let alerts = turncoat_store::Reader::open(&self.layout)
            .and_then(|r| turncoat_store::outbox::queues(r.database()))
            .unwrap_or_default();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "state": state,
            "detail": detail,
            "data": self.layout.root(),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "listening": self.listening,
            "sessions_open": status.open,
            "events": self.committed.committed().0,
            "last_commit_seconds_ago": status.committed_at.map(|t| t.elapsed().as_secs()),
            "record_bytes": {"database": size.database, "recordings": size.recordings, "journals": size.journals, "artifacts": size.artifacts},
            "outputs": outputs,
            "alerts": alerts,
            "front": status.front,
            "processes": status.supervisor,
        })
    }
}

/// The files that `out` writes, by the settings.
pub fn output_files(settings: &Settings) -> Vec<PathBuf> {
    [&settings.output_jsonl.path, &settings.output_cowrie.path]
        .into_iter()
        .filter(|p| !p.is_empty())
        .map(PathBuf::from)
        .collect()
}

/// `turncoat process record`.
pub fn main(socket: OwnedFd) -> Result<(), String> {
    let tell = |e: std::io::Error| e.to_string();
    let Some((
        Order::Setup {
            data,
            settings,
            seed,
            passed,
            listening,
            own_networks,
            console,
            ..
        },
        fds,
    )) = control::receive(socket.as_fd()).map_err(tell)?
    else {
        return Err("started without a supervisor".into());
    };
    let (mut front, mut outward, mut asked) = (None, None, None);
    let (to_block, block_links) = channel();
    let mut pages = Vec::new();
    for (what, fd) in passed.into_iter().zip(fds) {
        match what {
            Passed::Link(Role::Front) => front = Some(UnixStream::from(fd)),
            Passed::Link(Role::Out) => outward = Some(UnixStream::from(fd)),
            Passed::Link(Role::Block) => drop(to_block.send(UnixStream::from(fd))),
            Passed::Requests => asked = Some(UnixListener::from(fd)),
            Passed::Console => pages.push(std::net::TcpListener::from(fd)),
            _ => {}
        }
    }
    let socket = Arc::new(socket);
    // Before confinement: afterwards only the data directory is there.
    let rules = crate::understand::rules(&settings).map_err(|why| super::fatal(socket.as_fd(), why))?;
    let networks = crate::understand::networks(&settings).map_err(|why| super::fatal(socket.as_fd(), why))?;
    let missing = confine::confine(Role::Record, &data, &[]);

    let fatal = |text: String| super::fatal(socket.as_fd(), text);
    let layout = Layout::new(data);
    let durability = match settings.record.durability {
        DurabilitySetting::Process => Durability::Process,
        DurabilitySetting::Power => Durability::Power,
    };
    let sensor = settings
        .sensor
        .name
        .parse()
        .map_err(|e| fatal(format!("sensor.name: {e}")))?;
    let secrets = InstallKey::derive(&seed, "secret");
    let mut writer = open(&layout, &sensor, &secrets, durability).map_err(|e| fatal(e.to_string()))?;
    let interrupted = writer
        .close_interrupted(now())
        .map_err(|e| fatal(e.to_string()))?;
    let over = writer.end_worlds();

    let silent = interruption(&mut writer).map_err(|e| fatal(e.to_string()))?;
    let (committer, committed) = Committer::new();
    committer.committed(Mark(writer.last_seq()));
    let tell_supervisor = tell_supervisor(&settings, &socket);
    let shared = Arc::new(Shared {
        layout: layout.clone(),
        source_key: InstallKey::derive(&seed, "source"),
        settings: RwLock::new(Arc::new(*settings)),
        committed,
        listening: listening.clone(),
        own_networks,
        console: std::sync::OnceLock::new(),
        bell: super::courier::Bell::default(),
        minded: super::think::Minded::default(),
        rules,
        networks: Arc::new(networks),
        tell_supervisor,
        status: Mutex::default(),
        started: Instant::now(),
    });
    let (send, receive) = sync_channel(256);
    let pen = Pen(send);

    let (close, closed) = channel::<Closed>();
    for session in interrupted {
        let _ = close.send(Closed::Recording(session));
    }
    for world in over {
        let _ = close.send(Closed::Journal(world));
    }
    thread("compress", move || compress(&layout, &closed));
    let writing = Scribe {
        writer,
        shared: shared.clone(),
        committer,
        close,
        front: None,
        life: 0,
        mark: Mark::NONE,
    };
    let (ended, wait_for_end) = channel::<()>();
    let to_supervisor = socket.clone();
    thread("writer", move || {
        if let Err(why) = writing.run(&receive) {
            say("record", &why);
            let _ = control::send(to_supervisor.as_fd(), &Report::Fatal(why), &[]);
            // Front sees its stream end: its watermark stops and no gate opens any more.
            std::process::exit(5);
        }
        drop(ended);
    });
    if let Some(detail) = silent {
        pen.own(degraded("silent", &detail));
    }
    pen.own(Draft::of_system(
        now(),
        SystemStart {
            version: env!("CARGO_PKG_VERSION").into(),
            listening,
            missing_confinement: missing.clone(),
        },
    ));

    let mut lives = 0;
    if let Some(stream) = front {
        lives += 1;
        read_front(stream, lives, &pen, &shared)?;
    }
    let mut pumps = out::Pumps;
    if let Some(stream) = outward {
        pumps.start(stream, &shared, &pen);
    }
    if let Some(listener) = asked {
        let (shared, pen) = (shared.clone(), pen.clone());
        thread("requests", move || requests::serve(&listener, &shared, &pen));
    }
    super::console::start(pages, console, &shared, &pen);
    {
        let (shared, pen) = (shared.clone(), pen.clone());
        thread("watch", move || watch(&shared, &pen));
    }
    {
        let (shared, pen) = (shared.clone(), pen.clone());
        thread("keep", move || keep(&shared, &pen));
    }
    {
        let (shared, pen) = (shared.clone(), pen.clone());
        thread("think", move || super::think::run(&shared, &pen, &block_links));
    }
    control::send(socket.as_fd(), &Report::Ready { missing }, &[]).map_err(tell)?;

    let mut reason = "error";
    while let Ok(Some((order, fds))) = control::receive(socket.as_fd()) {
        match order {
            Order::Link {
                passed: Passed::Link(Role::Front),
                died,
            } => {
                if died {
                    pen.own(degraded(
                        "process-died",
                        "the front process died and was started anew; its sessions are closed",
                    ));
                }
                if let Some(fd) = fds.into_iter().next() {
                    lives += 1;
                    read_front(UnixStream::from(fd), lives, &pen, &shared)?;
                }
            }
            Order::Link {
                passed: Passed::Link(Role::Out),
                ..
            } => {
                if let Some(fd) = fds.into_iter().next() {
                    pumps.start(UnixStream::from(fd), &shared, &pen);
                }
            }
            Order::Link {
                passed: Passed::Link(Role::Block),
                ..
            } => {
                if let Some(fd) = fds.into_iter().next() {
                    let _ = to_block.send(UnixStream::from(fd));
                }
            }
            Order::Settings(new) => {
                *shared.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(*new)
            }
            Order::Administrators(nets) => shared.minded.administrators(nets),
            Order::Facts(facts) => shared.status().supervisor = facts,
            Order::Stop => {
                reason = "signal";
                break;
            }
            Order::Link { .. } | Order::Setup { .. } | Order::Plants(_) => {}
        }
    }
    pen.own(Draft::of_system(
        now(),
        SystemStop {
            reason: reason.into(),
        },
    ));
    let _ = pen.0.send(Work::Stop);
    let _ = wait_for_end.recv_timeout(Duration::from_secs(5));
    // What the last events were goes to the outputs, within reason.
    let last = shared.committed.committed().0;
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until
        && shared
            .status()
            .outputs
            .iter()
            .any(|o| o.seq < last && o.trouble.is_empty())
    {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Opens the record. The process of a run that was killed may still hold it for a moment: that is waited for.
fn open(
    layout: &Layout,
    sensor: &SensorId,
    key: &InstallKey,
    durability: Durability,
) -> Result<Writer, StoreError> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match Writer::open(layout, sensor, key.clone(), durability) {
            Err(StoreError::InUse(_)) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20))
            }
            other => return other,
        }
    }
}

/// What the record says of how the program ended the last time, if that was not in order.
fn interruption(writer: &mut Writer) -> Result<Option<String>, StoreError> {
    use turncoat_store::rusqlite::OptionalExtension;
    let last: Option<(bool, i64)> = writer
        .database()
        .query_row(
            "SELECT kind = 'system.stop' AND json_extract(fields, '$.reason') = 'signal', time FROM event \
             WHERE kind IN ('heartbeat', 'system.start', 'system.stop') ORDER BY seq DESC LIMIT 1",
            [],
            |r| Ok((r.get(0)?, r.get(1)?)),
        )
        .optional()?;
    Ok(last.filter(|(in_order, _)| !in_order).map(|(_, time)| {
        format!(
            "the program or its record ended without being told to; the last sign of life was {}",
            Time(time)
        )
    }))
}

/// How the supervisor is told what is blocked, for the operator's command.
fn tell_supervisor(settings: &Settings, socket: &Arc<OwnedFd>) -> TellBlocked {
    if settings.block.command.is_empty() {
        return Box::new(|_| {});
    }
    let socket = socket.clone();
    Box::new(move |blocked| {
        // A message between processes has a bound: 2,000 networks are about 100 KiB.
        let blocked = blocked.iter().take(2_000).copied().collect();
        let _ = control::send(socket.as_fd(), &Report::Blocked(blocked), &[]);
    })
}

pub(super) fn degraded(problem: &str, detail: &str) -> Draft {
    Draft::of_system(
        now(),
        SystemDegraded {
            problem: problem.into(),
            detail: detail.into(),
        },
    )
}

/// Reads one front's stream until it ends.
fn read_front(stream: UnixStream, life: u64, pen: &Pen, shared: &Arc<Shared>) -> Result<(), String> {
    let to = stream.try_clone().map_err(|e| e.to_string())?;
    let (pen, shared) = (pen.clone(), shared.clone());
    pen.0.send(Work::Begin { life, to }).map_err(|e| e.to_string())?;
    thread("front", move || {
        if let Err(why) = read_items(stream, life, &pen, &shared) {
            say("record", &why);
        }
        let _ = pen.0.send(Work::End { life });
    });
    Ok(())
}

fn read_items(mut stream: UnixStream, life: u64, pen: &Pen, shared: &Shared) -> Result<(), String> {
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 256 << 10];
    let mut last = Mark::NONE;
    let mut disk = Pieces::default();
    let mut checkpoint = Pieces::default();
    let mut cut = Pieces::default();
    loop {
        let read = match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => buffer.get(..n).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        decoder.push(read);
        shared.status().front_seen = Some(Instant::now());
        let mut items = Vec::new();
        // What is said of worlds comes behind the items before it.
        let mut after = Vec::new();
        loop {
            match decoder.next_message().map_err(|e| e.to_string())? {
                Some(Message::Item(mark, item)) if mark > last => {
                    last = mark;
                    items.push((mark, item));
                }
                Some(Message::Keep(world, kept)) => after.push(Work::Keep(world, kept)),
                Some(Message::Fetch(world)) => after.push(Work::Fetch { life, world }),
                Some(Message::Disk { world, last, bytes }) => {
                    if let Some(bytes) = disk.add((world, 0), bytes, last) {
                        after.push(Work::Disk(world, bytes));
                    }
                }
                Some(Message::Checkpoint {
                    world,
                    at,
                    most,
                    last,
                    bytes,
                }) => {
                    if let Some(bytes) = checkpoint.add((world, at), bytes, last) {
                        after.push(Work::Checkpoint(world, (at, most), bytes));
                    }
                }
                Some(Message::Cut {
                    world,
                    from,
                    head,
                    last,
                    bytes,
                }) => {
                    if let Some(mut head_and_more) = cut.add((world, from), bytes, last) {
                        let behind = usize::try_from(head).unwrap_or(usize::MAX);
                        let checkpoint = head_and_more.split_off(behind.min(head_and_more.len()));
                        after.push(Work::Cut {
                            life,
                            world,
                            from,
                            head: head_and_more,
                            checkpoint,
                        });
                    }
                }
                Some(Message::Facts(text)) => {
                    shared.status().front = serde_json::from_str(&text).unwrap_or_default()
                }
                Some(Message::Hello(_)) => {}
                Some(_) => return Err("front said what it may not".into()),
                None => break,
            }
        }
        if !items.is_empty() {
            pen.0
                .send(Work::Items { life, items })
                .map_err(|e| e.to_string())?;
        }
        for work in after {
            pen.0.send(work).map_err(|e| e.to_string())?;
        }
    }
}

/// How far the system's clock may go wrong between two looks before that counts as a jump, in nanoseconds.
const JUMP: i64 = 300_000_000_000;

/// Compares the system's clock with one that never jumps.
struct Clock {
    wall: Time,
    steady: Instant,
}

impl Clock {
    /// Nanoseconds by which the clock jumped since the last look, forward or back; `None` when it did not.
    fn look(&mut self, wall: Time, steady: Instant) -> Option<i64> {
        let elapsed = steady.saturating_duration_since(self.steady).as_nanos();
        let jump = wall
            .since(self.wall)
            .saturating_sub(i64::try_from(elapsed).unwrap_or(i64::MAX));
        (self.wall, self.steady) = (wall, steady);
        (jump.saturating_abs() > JUMP).then_some(jump)
    }
}

/// Heartbeats, and a look at the clock.
fn watch(shared: &Shared, pen: &Pen) {
    let (mut beat, mut steady) = (Instant::now(), Instant::now());
    let mut clock = Clock {
        wall: now(),
        steady: Instant::now(),
    };
    loop {
        std::thread::sleep(Duration::from_secs(1));
        if let Some(jump) = clock.look(now(), Instant::now()) {
            let text = format!(
                "the system's clock jumped by {} seconds; nothing is removed for its age for a day",
                jump / 1_000_000_000
            );
            say("record", &text);
            shared.status().clock_jumped = Some(Instant::now());
            pen.own(degraded("clock", &text));
        }
        if steady.elapsed() > Duration::from_secs(5) {
            // We stood still ourselves: what the front said meanwhile is not read yet.
            shared.status().front_seen = Some(Instant::now());
        }
        steady = Instant::now();
        look_at_front(shared, pen);
        let every = shared.settings().heartbeat.every;
        if every.0 > 0 && beat.elapsed() >= every.duration() {
            beat = Instant::now();
            let sessions = shared.status().open as u64;
            let uptime = shared.started.elapsed().as_secs();
            pen.own(Draft::of_system(
                now(),
                Heartbeat {
                    uptime,
                    sessions,
                    events: shared.committed.committed().0,
                },
            ));
        }
    }
}

/// The front says something every few seconds, if only that it works. One that is silent answers nobody.
fn look_at_front(shared: &Shared, pen: &Pen) {
    let patience = shared.settings().alert.silence.duration();
    let mut status = shared.status();
    let silent = !patience.is_zero() && status.front_seen.is_some_and(|t| t.elapsed() > patience);
    if silent == status.front_silent {
        return;
    }
    status.front_silent = silent;
    drop(status);
    if silent {
        let detail = format!(
            "the front process has said nothing for {} s: decoys do not answer",
            patience.as_secs()
        );
        say("record", &detail);
        pen.own(degraded("silent", &detail));
    } else {
        pen.own(Draft::of_system(
            now(),
            SystemRecovered {
                problem: "silent".into(),
                detail: "the front process works again".into(),
            },
        ));
    }
}

/// What the record may hold by the settings. For a day after the clock `jumped` nobody knows how old anything is.
fn quota(settings: &Settings, jumped: Option<Instant>, now: Instant) -> Quota {
    let sure = jumped.is_none_or(|t| now.saturating_duration_since(t) >= Duration::from_secs(86_400));
    Quota {
        bytes: settings.record.max_size.0,
        age: settings.record.max_age.nanos().filter(|_| sure),
        pseudonymise: settings.record.pseudonymise_after.nanos().filter(|_| sure),
    }
}

/// Keeps the record within its quota: soon after the start, then every ten minutes.
fn keep(shared: &Shared, pen: &Pen) {
    std::thread::sleep(Duration::from_secs(20));
    loop {
        let quota = quota(&shared.settings(), shared.status().clock_jumped, Instant::now());
        let key = shared.source_key.clone();
        match pen.ask(move |writer| writer.keep_within(&quota, &key, now())) {
            Some(Ok(kept)) if kept.evicted + kept.aged > 0 => {
                if let Err(why) = shared
                    .minded
                    .ask(pen, |mind, writer| mind.keeper.purge(writer.database()))
                {
                    say("record", &format!("removing old sessions from campaigns: {why}"));
                }
                say(
                    "record",
                    &format!(
                        "{} sessions removed for their age, {} for want of space",
                        kept.aged, kept.evicted
                    ),
                );
            }
            Some(Err(error)) => say("record", &format!("keeping the quota: {error}")),
            Some(Ok(_)) => {}
            None => return,
        }
        std::thread::sleep(Duration::from_secs(600));
    }
}

/// The event that an operator's request leaves.
pub fn operator_action(operator: &str, action: &str, detail: Option<String>) -> Draft {
    Draft::of_system(
        now(),
        OperatorAction {
            operator: operator.into(),
            action: action.into(),
            detail,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use turncoat_event::Sha256;
    use turncoat_event::record::Artifact;

    #[test]
    fn a_clock_that_jumps_is_noticed_and_makes_nothing_old() {
        let (wall, steady) = (Time(1_795_000_000_000_000_000), Instant::now());
        let mut clock = Clock { wall, steady };
        let second = Duration::from_secs(1);
        assert_eq!(clock.look(wall.plus_nanos(1_000_000_000), steady + second), None);
        // A correction by a minute is none; half a year forward, and back again, is.
        assert_eq!(
            clock.look(wall.plus_nanos(62_000_000_000), steady + second * 2),
            None
        );
        let year = 15_000_000_000_000_000;
        let forward = clock.look(wall.plus_nanos(year), steady + second * 3).unwrap();
        assert!(forward > year - 100_000_000_000, "{forward}");
        assert!(clock.look(wall, steady + second * 4).unwrap() < -year);
        assert_eq!(
            clock.look(wall.plus_nanos(1_000_000_000), steady + second * 5),
            None
        );
        assert!(clock.look(Time(i64::MIN), steady + second * 6).is_some());

        let mut settings = Settings::default();
        settings.record.max_age = "30d".parse().unwrap();
        settings.record.pseudonymise_after = "7d".parse().unwrap();
        let jumped = |ago: u64| quota(&settings, Some(steady), steady + Duration::from_secs(ago));
        assert_eq!((jumped(10).age, jumped(10).pseudonymise), (None, None));
        assert!(jumped(86_400).age.is_some() && jumped(86_400).pseudonymise.is_some());
        assert!(quota(&settings, None, steady).age.is_some());
    }

    /// Invariant 1: what cannot be recorded is not acknowledged, and the writer ends instead of going on.
    #[test]
    fn a_refused_batch_is_never_acknowledged() {
        let dir = std::env::temp_dir().join(format!("turncoat-refused-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let layout = Layout::new(dir.clone());
        let key = InstallKey::derive(&[7; 32], "secret");
        let sensor: SensorId = "test".parse().unwrap();
        let writer = Writer::open(&layout, &sensor, key.clone(), Durability::Process).unwrap();
        let (committer, committed) = Committer::new();
        let (close, _closed) = channel();
        let scribe = Scribe {
            writer,
            shared: Arc::new(Shared {
                layout,
                source_key: key,
                settings: RwLock::default(),
                committed,
                own_networks: Vec::new(),
                listening: Vec::new(),
                console: std::sync::OnceLock::new(),
                bell: super::super::courier::Bell::default(),
                minded: super::super::think::Minded::default(),
                rules: turncoat_intel::Rules::default(),
                networks: Arc::default(),
                tell_supervisor: Box::new(|_| {}),
                status: Mutex::default(),
                started: Instant::now(),
            }),
            committer,
            close,
            front: None,
            life: 0,
            mark: Mark::NONE,
        };
        let (mut front, to) = UnixStream::pair().unwrap();
        let (send, receive) = sync_channel(8);
        let wrong = Artifact {
            sha256: Sha256([0; 32]),
            content: "these bytes have another sum".into(),
        };
        send.send(Work::Begin { life: 1, to }).unwrap();
        let items = vec![(Mark(1), Item::Artifact(wrong))];
        send.send(Work::Items { life: 1, items }).unwrap();
        let why = scribe.run(&receive).unwrap_err();
        assert!(why.contains("cannot be recorded"), "{why}");

        let mut said = Vec::new();
        front.read_to_end(&mut said).unwrap();
        let mut decoder = Decoder::default();
        decoder.push(&said);
        while let Some(message) = decoder.next_message().unwrap() {
            assert!(
                !matches!(message, Message::Committed(_)),
                "acknowledged: {message:?}"
            );
        }
        let _ = std::fs::remove_dir_all(&dir);
    }
}
