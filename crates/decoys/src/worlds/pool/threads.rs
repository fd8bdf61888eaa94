//! The threads that run worlds, the queue from which they take them, and the clock that wakes those that sleep.

use super::Shared;
use crate::worlds::actor::{Actor, Around, Next, lock};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use turncoat_event::Time;

/// Slices (of some tenths of a millisecond) for which a world that was idle goes before those that compute without end.
pub(super) const PATIENCE: u32 = 40;

/// Once in so long, if worlds ran at all and none wants to at the moment, the host gets back what they no longer hold.
const TIDY: Duration = Duration::from_secs(20);

/// What a world touched last is in the caches of the processor that its thread runs on: of the first so many worlds that are ready, a
/// thread takes the one that it has run before, and passes over the first no more often than that.
const NEAR: u32 = 8;

pub(super) struct Queue {
    ready: VecDeque<Arc<Actor>>,
    /// Worlds that have computed for longer than [`PATIENCE`] without a pause.
    busy: VecDeque<Arc<Actor>>,
    /// Slices given out; each fourth goes to a busy world, so that none waits for ever.
    turn: u32,
    sleeping: BinaryHeap<Reverse<(Time, u64)>>,
    sleepers: BTreeMap<u64, Arc<Actor>>,
    ticket: u64,
    /// When the host was last given memory back, and whether any world ran since.
    tidied: Instant,
    stirred: bool,
    /// Threads that wait for something to do; the last one waits for the shortest time.
    idle: Vec<usize>,
    /// How often the first world was passed over for one that a thread had run before.
    passed: u32,
}

impl Queue {
    pub(super) fn new() -> Queue {
        Queue {
            ready: VecDeque::new(),
            busy: VecDeque::new(),
            turn: 0,
            sleeping: BinaryHeap::new(),
            sleepers: BTreeMap::new(),
            ticket: 0,
            tidied: Instant::now(),
            stirred: false,
            idle: Vec::new(),
            passed: 0,
        }
    }

    pub(super) fn put(&mut self, actor: Arc<Actor>) {
        if actor.spent.load(Ordering::Relaxed) < PATIENCE {
            self.ready.push_back(actor);
        } else {
            self.busy.push_back(actor);
        }
    }

    /// Lays down a world until `at`.
    fn sleep(&mut self, actor: Arc<Actor>, at: Time) {
        self.ticket += 1;
        let t = self.ticket;
        let before = actor.ticket.swap(t, Ordering::AcqRel);
        self.sleepers.remove(&before);
        self.sleeping.push(Reverse((at, t)));
        self.sleepers.insert(t, actor);
        if self.sleeping.len() > 4 * self.sleepers.len() + 1024 {
            // Most entries belong to actors that were woken by input and sleep under another ticket.
            let kept = std::mem::take(&mut self.sleeping);
            self.sleeping = kept
                .into_iter()
                .filter(|Reverse((_, t))| self.sleepers.contains_key(t))
                .collect();
        }
    }

    /// The next world for thread `me`.
    pub(super) fn take(&mut self, me: usize) -> Option<Arc<Actor>> {
        self.turn = self.turn.wrapping_add(1);
        let (first, second) = if self.turn.is_multiple_of(4) {
            (&mut self.busy, &mut self.ready)
        } else {
            (&mut self.ready, &mut self.busy)
        };
        let from = if first.is_empty() { second } else { first };
        let near = from
            .iter()
            .take(NEAR as usize)
            .position(|a| a.home.load(Ordering::Relaxed) == me)
            .filter(|_| self.passed < NEAR)
            .unwrap_or(0);
        self.passed = if near == 0 { 0 } else { self.passed + 1 };
        let actor = from.remove(near)?;
        actor.home.store(me, Ordering::Relaxed);
        Some(actor)
    }

    /// The idle thread to wake for a world that was last run by `home`.
    fn rouse(&mut self, home: usize) -> Option<usize> {
        let at = self.idle.iter().position(|i| *i == home);
        match at {
            Some(at) => Some(self.idle.remove(at)),
            None => self.idle.pop(),
        }
    }
}

impl Shared {
    /// The next actor that thread `me` is to run; waits for one. None when the pool stops.
    fn next(&self, me: usize) -> Option<Arc<Actor>> {
        let mut q = lock(&self.queue);
        loop {
            q.idle.retain(|i| *i != me);
            if self.stop.load(Ordering::Acquire) {
                return None;
            }
            let now = (self.clock)();
            while let Some(Reverse((at, ticket))) = q.sleeping.peek().copied() {
                if at > now {
                    break;
                }
                q.sleeping.pop();
                if let Some(a) = q.sleepers.remove(&ticket)
                    && a.turn.stir()
                {
                    q.put(a);
                }
            }
            if let Some(a) = q.take(me) {
                q.stirred = true;
                // Whoever was woken for a world may find that another thread has taken it; each one that is left has somebody.
                let left = q.ready.front().or(q.busy.front());
                let home = left.map(|a| a.home.load(Ordering::Relaxed));
                let whom = home.and_then(|home| q.rouse(home));
                drop(q);
                self.rouse(whom);
                return Some(a);
            }
            let tidy = TIDY.saturating_sub(q.tidied.elapsed());
            if q.stirred && tidy.is_zero() {
                (q.tidied, q.stirred) = (Instant::now(), false);
                drop(q);
                turncoat_cpu::give_back();
                q = lock(&self.queue);
                continue;
            }
            let mut wait = q
                .sleeping
                .peek()
                .map_or(Duration::from_secs(3600), |Reverse((at, _))| {
                    Duration::from_nanos(at.since(now).max(1) as u64)
                });
            if q.stirred {
                wait = wait.min(tidy);
            }
            let changed = self.changed.get(me)?;
            q.idle.push(me);
            q = changed
                .wait_timeout(q, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    pub(super) fn work(self: &Arc<Self>, me: usize) {
        while let Some(actor) = self.next(me) {
            if !self.run(&actor) {
                // This thread looks what is next, so nobody is woken for it.
                actor.turn.wait();
                lock(&self.queue).put(actor);
            }
        }
    }

    /// Runs one slice of a world, and lays it down if there is nothing more to do in it. False if there is.
    fn run(self: &Arc<Self>, actor: &Arc<Actor>) -> bool {
        actor.turn.begin();
        let next = actor.step((self.clock)(), &self.around());
        if actor.accounts_changed.swap(false, Ordering::AcqRel) {
            self.note_planted(actor);
        }
        if !matches!(next, Next::Again) {
            actor.spent.store(0, Ordering::Relaxed);
        }
        match next {
            Next::Again => {
                actor.spent.fetch_add(1, Ordering::Relaxed);
                false
            }
            Next::Sleep(Some(at)) => {
                let mut q = lock(&self.queue);
                // Under the lock: who wakes it from here on finds it among the sleepers.
                if !actor.turn.end() {
                    return false;
                }
                q.sleep(actor.clone(), at);
                // This thread looks at the clock next, and waits until the first that is due.
                true
            }
            Next::Fetch => {
                self.fetch(actor.clone());
                actor.turn.end()
            }
            Next::Sleep(None) | Next::Gone => actor.turn.end(),
        }
    }

    pub(super) fn wake(&self, actor: &Arc<Actor>) {
        if actor.turn.stir() {
            let mut q = lock(&self.queue);
            q.put(actor.clone());
            let whom = q.rouse(actor.home.load(Ordering::Relaxed));
            drop(q);
            self.rouse(whom);
        }
    }

    fn rouse(&self, thread: Option<usize>) {
        if let Some(thread) = thread.and_then(|t| self.changed.get(t)) {
            thread.notify_one();
        }
    }

    /// Asks the record for a world.
    fn fetch(self: &Arc<Self>, actor: Arc<Actor>) {
        let Some(keeping) = self.keeping.get() else { return };
        let (shared, id) = (Arc::downgrade(self), actor.id);
        let take = move |stored| {
            actor.fetched(stored);
            if let Some(shared) = shared.upgrade() {
                shared.wake(&actor);
            }
        };
        keeping.cellar.fetch(id, Box::new(take));
    }

    pub(super) fn around(&self) -> Around<'_> {
        Around {
            recorder: &*self.recorder,
            inside: &self.inside,
            make: &self.make,
            journal: self.journal,
            start: &self.start,
            keeping: self.keeping.get(),
            refused: self.refused.get().map(|l| &**l),
        }
    }

    /// Keeps the list of worlds that hold planted ways in.
    pub(super) fn note_planted(&self, actor: &Arc<Actor>) {
        let mut planted = lock(&self.planted);
        if actor.accounts().planted(&self.start) {
            planted.retain(|_, a| a.strong_count() > 0);
            planted.insert(actor.id, Arc::downgrade(actor));
        } else {
            planted.remove(&actor.id);
        }
    }
}
