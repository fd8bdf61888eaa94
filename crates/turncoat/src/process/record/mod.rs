//! The process that alone writes the record.
//!
//! One thread reads the stream from `front` and takes it apart; one thread writes: it collects what has come, commits it as
//! one batch, and tells `front` how far it is. Everything else that wants the writer (forgetting, quotas, cursors) sends it a
//! function to run between two batches ([`Pen::ask`]). While a batch cannot be committed (full disk, read-only directory), nothing is
//! answered, `front` is told to take no new sessions, and the same batch is tried again until it is in.
//!
//! Here is what its threads share. `run` starts them, `front` reads the stream, `watch` looks at the clock, at the front and at the quota.

mod front;
mod run;
#[cfg(test)]
mod tests;
mod watch;

pub use run::main;

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use turncoat_event::kinds::{OperatorAction, SystemDegraded};
use turncoat_event::{Draft, Item, Mark, Time, Watermark, WorldId};
use turncoat_store::keep::usage;
use turncoat_store::{InstallKey, Layout, Writer};

use super::{now, out};
use crate::config::Settings;
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
    /// nothing he gets his answer without, after `OPERATOR_WAITS`: he is needed there.
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

pub(super) fn degraded(problem: &str, detail: &str) -> Draft {
    Draft::of_system(
        now(),
        SystemDegraded {
            problem: problem.into(),
            detail: detail.into(),
        },
    )
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
