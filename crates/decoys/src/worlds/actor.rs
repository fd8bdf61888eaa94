//! One world as an actor: its inbox, its guest, and what is known of it from outside. `slice` runs it, `output` passes on what it makes,
//! `away` has it leave memory and come back.

use super::inbox::{Login, Message, Outlet};
use super::output::Inside;
use super::pool::Make;
use super::sleep::{Away, Keeping, Kept, Stored};
use super::slice::Quiet;
use super::turn::Turn;
use super::{Conn, Produced};
use crate::auth::Accounts;
use crate::journal::{Checkpoint, Journaled};
use crate::refused::Ledger;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use turncoat_event::record::Recorder;
use turncoat_event::{Mark, SessionId, Sha256, Time, WorldId};

pub(super) struct Actor {
    pub id: WorldId,
    /// Whose it is; `None`: everybody's.
    pub source: Option<IpAddr>,
    /// A [`Rest`].
    rest: AtomicU8,
    /// Until when its machine is down, in nanoseconds; 0 while it is up.
    pub(super) away: AtomicI64,
    pub turn: Turn,
    /// The thread that ran it last.
    pub home: AtomicUsize,
    /// The pool's ticket under which it sleeps; 0 if it does not.
    pub ticket: AtomicU64,
    /// Connections that met it, and those of them that left without a login.
    pub met: AtomicU32,
    pub left: AtomicU32,
    /// The accounts have changed since the pool looked.
    pub accounts_changed: AtomicBool,
    pub who: Mutex<Who>,
    /// Slices that it has run since it last slept.
    pub spent: AtomicU32,
    pub inbox: Mutex<VecDeque<Message>>,
    pub state: Mutex<State>,
}

pub(super) struct State {
    pub guest: Option<Journaled>,
    /// It is not in memory, and not over either.
    pub stored: Option<Away>,
    /// When something is due in it then.
    pub due: Option<Time>,
    /// Its journal ends before it does.
    pub disk_only: bool,
    /// When its disk was remembered last, at which instruction, and a hash of it.
    pub saved: (Time, u64, u64),
    /// When the disk is to be remembered: somebody has left.
    pub save_at: Option<Time>,
    pub logins: BTreeMap<Conn, Login>,
    pub doors: BTreeMap<u32, Outlet>,
    pub mark: Mark,
    /// When the world last had a login.
    pub last_used: Time,
    pub produced: Vec<Produced>,
    /// Somebody has been let in: its logs may be looked at.
    pub seen: bool,
    /// Up to when it has heard what the machine refused.
    pub heard: Time,
    /// Since when nothing happens, and when something will by itself.
    pub quiet: Option<Quiet>,
    /// The session at whose start a checkpoint was last looked for.
    pub begun: Option<SessionId>,
    /// A checkpoint that is to be remembered when nobody waits for the world, and since when.
    pub checkpoint: Option<(Checkpoint, Time)>,
}

/// Who may log in to the world, and whose doing that is.
pub(super) struct Who {
    pub accounts: Arc<Accounts>,
    /// The session that changed an account last.
    pub by: BTreeMap<Vec<u8>, SessionId>,
    /// What the policy wrote for an account last (a digest of it).
    pub given: BTreeMap<Vec<u8>, Sha256>,
}

/// What a world is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It is in memory.
    Awake = 0,
    /// It is in memory and lies compressed.
    Resting = 1,
    /// It lies in the record.
    Hibernated = 2,
    /// It is no more.
    Over = 3,
}

/// What is to be done with an actor after it ran.
pub(super) enum Next {
    /// The record is to be asked for it.
    Fetch,
    Again,
    Sleep(Option<Time>),
    Gone,
}

/// What a world's step may need from the pool.
pub(super) struct Around<'a> {
    pub recorder: &'a dyn Recorder,
    pub inside: &'a Inside,
    pub make: &'a Make,
    /// Bytes of a journal.
    pub journal: u64,
    pub start: &'a Accounts,
    pub keeping: Option<&'a Keeping>,
    /// What the machine has refused.
    pub refused: Option<&'a Ledger>,
}

/// Puts an actor into the queue of those that are to run.
pub(super) type Wake = dyn Fn(&Arc<Actor>) + Send + Sync;

pub(super) fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Actor {
    pub fn new(id: WorldId, source: Option<IpAddr>, guest: Journaled, mark: Mark, now: Time) -> Actor {
        let accounts = guest.accounts();
        Actor::with(id, source, accounts, Some(guest), mark, now)
    }

    /// A world that lies in the record since an earlier life of this process.
    pub fn stored(id: WorldId, kept: Kept, start: &Arc<Accounts>) -> Actor {
        let accounts = kept.accounts.map_or_else(|| start.clone(), Arc::new);
        let actor = Actor::with(id, kept.source, accounts, None, Mark::NONE, kept.used);
        lock(&actor.who).by = kept.by.into_iter().collect();
        {
            let mut state = lock(&actor.state);
            state.stored = Some(Away::Stored);
            state.due = kept.due;
            state.disk_only = kept.disk_only;
        }
        actor.set_rest(Rest::Hibernated);
        actor
    }

    fn with(
        id: WorldId,
        source: Option<IpAddr>,
        accounts: Arc<Accounts>,
        guest: Option<Journaled>,
        mark: Mark,
        now: Time,
    ) -> Actor {
        let who = Who {
            accounts,
            by: BTreeMap::new(),
            given: BTreeMap::new(),
        };
        Actor {
            met: AtomicU32::new(1),
            left: AtomicU32::new(0),
            source,
            rest: AtomicU8::new(Rest::Awake as u8),
            away: AtomicI64::new(0),
            accounts_changed: AtomicBool::new(false),
            who: Mutex::new(who),
            id,
            turn: Turn::default(),
            home: AtomicUsize::new(usize::MAX),
            ticket: AtomicU64::new(0),
            spent: AtomicU32::new(0),
            inbox: Mutex::default(),
            state: Mutex::new(State {
                guest,
                stored: None,
                due: None,
                disk_only: false,
                saved: (now, 0, 0),
                save_at: None,
                logins: BTreeMap::new(),
                doors: BTreeMap::new(),
                mark,
                last_used: now,
                produced: Vec::new(),
                seen: false,
                heard: Time(0),
                quiet: None,
                begun: None,
                checkpoint: None,
            }),
        }
    }

    /// Who may log in, as of the last slice.
    pub fn accounts(&self) -> Arc<Accounts> {
        lock(&self.who).accounts.clone()
    }

    pub fn alive(&self) -> bool {
        let state = lock(&self.state);
        state.guest.is_some() || state.stored.is_some()
    }

    /// What it is doing.
    pub fn rest(&self) -> Rest {
        match self.rest.load(Ordering::Relaxed) {
            0 => Rest::Awake,
            1 => Rest::Resting,
            2 => Rest::Hibernated,
            _ => Rest::Over,
        }
    }

    pub(super) fn set_rest(&self, rest: Rest) {
        self.rest.store(rest as u8, Ordering::Relaxed);
    }

    /// Until when its machine is down, while it is.
    pub fn away(&self) -> Option<Time> {
        Some(Time(self.away.load(Ordering::Relaxed))).filter(|t| t.0 != 0)
    }

    /// Who may log in, and who changed that last.
    pub fn who(&self) -> (Arc<Accounts>, Vec<(Vec<u8>, SessionId)>) {
        let who = lock(&self.who);
        (
            who.accounts.clone(),
            who.by.iter().map(|(u, s)| (u.clone(), *s)).collect(),
        )
    }

    /// The record has answered.
    pub fn fetched(&self, stored: Stored) {
        let mut state = lock(&self.state);
        if matches!(state.stored, Some(Away::Asked)) {
            state.stored = Some(Away::Here(stored));
        }
    }

    pub fn logins(&self) -> usize {
        lock(&self.state).logins.len()
    }

    /// Ends a world for good while nobody is in it.
    pub fn end(&self, around: &Around<'_>) {
        let mut state = lock(&self.state);
        let bytes = state.guest.take().map(|mut g| g.seal());
        if bytes.is_some() || state.stored.take().is_some() {
            self.keep_journal(&mut state, bytes.unwrap_or_default(), true, around.recorder);
        }
        self.set_rest(Rest::Over);
        if let Some(keeping) = around.keeping {
            keeping.cellar.forget(self.id);
        }
    }
}
