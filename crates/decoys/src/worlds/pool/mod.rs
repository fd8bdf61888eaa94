//! All worlds: who meets which, how many there may be, and which leaves first. `threads` runs them.

#[cfg(test)]
mod tests;
mod threads;

use super::actor::{Actor, Rest, lock};
use super::output::{Inside, world_event};
use super::sleep::{Keeping, Kept};
use super::{Guest, Handle};
use crate::auth::{Accounts, source_key};
use crate::journal::{Birth, Journaled};
use crate::machine::Entropy;
use crate::refused::Ledger;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};
use threads::Queue;
use turncoat_event::record::Recorder;
use turncoat_event::{Mark, Time, WorldId, kinds};

/// Whose world it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One for each source; the default towards the internet.
    Source,
    /// One for everybody; the default on an internal network.
    Machine,
}

/// How much there may be of worlds.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Worlds at once; beyond it the one unused for longest goes.
    pub worlds: usize,
    /// Logins at once in one world.
    pub logins: usize,
    /// Bytes of one world's journal; beyond it the world runs on unwritten.
    pub journal: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            worlds: 2048,
            logins: 64,
            journal: 32 << 20,
        }
    }
}

/// Makes a fresh machine, a clone of the booted snapshot, and says what it was made from.
pub type Make = Arc<dyn Fn() -> (Box<dyn Guest>, Birth) + Send + Sync>;

/// All worlds of one machine.
pub struct Worlds {
    shared: Arc<Shared>,
    threads: Vec<std::thread::JoinHandle<()>>,
    scope: Scope,
    bounds: Bounds,
    by_source: Mutex<BTreeMap<Option<IpAddr>, Arc<Actor>>>,
    entropy: Entropy,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Worlds in which a program has left a way in.
    planted: Mutex<BTreeMap<WorldId, Weak<Actor>>>,
    start: Arc<Accounts>,
    /// Who serves connections to the machine's own sshd.
    inside: Inside,
    /// One for each thread.
    changed: Vec<Condvar>,
    stop: AtomicBool,
    recorder: Arc<dyn Recorder>,
    clock: Arc<dyn Fn() -> Time + Send + Sync>,
    make: Make,
    journal: u64,
    keeping: OnceLock<Keeping>,
    refused: OnceLock<Arc<Ledger>>,
}

impl Worlds {
    /// Starts `threads` threads.
    pub fn start(
        make: Make,
        scope: Scope,
        bounds: Bounds,
        threads: usize,
        recorder: Arc<dyn Recorder>,
        clock: Arc<dyn Fn() -> Time + Send + Sync>,
        entropy: Entropy,
    ) -> std::io::Result<Worlds> {
        let threads = threads.max(1);
        let start = make().0.accounts();
        let shared = Arc::new(Shared {
            planted: Mutex::default(),
            start,
            inside: Inside::default(),
            queue: Mutex::new(Queue::new()),
            changed: (0..threads).map(|_| Condvar::new()).collect(),
            stop: AtomicBool::new(false),
            recorder,
            clock,
            make,
            journal: bounds.journal,
            keeping: OnceLock::new(),
            refused: OnceLock::new(),
        });
        let mut handles = Vec::new();
        for i in 0..threads {
            let s = shared.clone();
            handles.push(
                std::thread::Builder::new()
                    .name(format!("world-{i}"))
                    .stack_size(8 << 20)
                    .spawn(move || s.work(i))?,
            );
        }
        Ok(Worlds {
            shared,
            threads: handles,
            scope,
            bounds,
            by_source: Mutex::default(),
            entropy,
        })
    }

    /// Lets worlds hear what the machine refuses. To be called once.
    pub fn hear_of(&self, refused: Arc<Ledger>) {
        let _ = self.shared.refused.set(refused);
    }

    /// Has worlds lie in the record when they leave memory, and takes those that lie there already. To be called once, before anybody
    /// enters.
    pub fn keep_in(&self, keeping: Keeping, kept: Vec<(WorldId, Kept)>) {
        if self.shared.keeping.set(keeping).is_err() {
            return;
        }
        let mut kept = kept;
        kept.sort_by_key(|(id, k)| (k.used, *id));
        let mut map = lock(&self.by_source);
        for (id, mut k) in kept {
            // The scope may be another one than it was.
            k.source = match self.scope {
                Scope::Source => k.source,
                Scope::Machine => None,
            };
            let key = k.source;
            let actor = Arc::new(Actor::stored(id, k, &self.shared.start));
            if self.scope == Scope::Source && key.is_none() {
                actor.end(&self.shared.around());
                continue;
            }
            if let Some(older) = map.insert(key, actor.clone()) {
                older.end(&self.shared.around());
            }
            self.shared.note_planted(&actor);
            // To sleep until something is due.
            self.shared.wake(&actor);
        }
        self.prune(&mut map);
    }

    /// Forgets hibernated worlds that nobody came back to for too long, and the oldest where there are too many.
    fn prune(&self, map: &mut BTreeMap<Option<IpAddr>, Arc<Actor>>) {
        let Some(keeping) = self.shared.keeping.get() else {
            return;
        };
        let now = (self.shared.clock)();
        let age = i64::try_from(keeping.age.as_nanos()).unwrap_or(i64::MAX);
        let mut asleep: Vec<(Time, Option<IpAddr>)> = map
            .iter()
            .filter(|(_, a)| a.rest() == Rest::Hibernated)
            .map(|(k, a)| (lock(&a.state).last_used, *k))
            .collect();
        asleep.sort_unstable();
        let over = asleep.len().saturating_sub(keeping.most);
        for (n, (used, key)) in asleep.into_iter().enumerate() {
            if (n < over || now.since(used) > age)
                && let Some(a) = map.remove(&key)
            {
                a.end(&self.shared.around());
            }
        }
    }

    /// Remembers the disks of worlds that somebody is in, or has just left: the program ends. Takes about `most` at most.
    pub fn save(&self, most: Duration) {
        let began = Instant::now();
        let all: Vec<Arc<Actor>> = lock(&self.by_source).values().cloned().collect();
        for actor in all {
            if began.elapsed() >= most {
                break;
            }
            actor.save_left((self.shared.clock)(), &self.shared.around());
        }
    }

    /// Worlds that are awake, that rest in memory, and that are hibernated.
    pub fn counts(&self) -> (usize, usize, usize) {
        let map = lock(&self.by_source);
        let count = |r| map.values().filter(|a| a.rest() == r).count();
        (count(Rest::Awake), count(Rest::Resting), count(Rest::Hibernated))
    }

    fn handle(&self, actor: Arc<Actor>) -> Handle {
        let s = self.shared.clone();
        Handle {
            actor,
            wake: Arc::new(move |a| s.wake(a)),
        }
    }

    /// The world that `source` meets, and whether it is new; None if it has as many logins as it may. `mark` covers what led here.
    pub fn enter(&self, source: IpAddr, mark: Mark) -> Option<(Handle, bool)> {
        let key = self.key(source);
        let now = (self.shared.clock)();
        let mut map = lock(&self.by_source);
        if let Some(a) = map.get(&key).filter(|a| a.alive()) {
            let found = a.clone();
            if found.rest() == Rest::Hibernated {
                // It will be in memory again.
                let _ = self.make_room(&mut map, now);
            }
            if found.logins() >= self.bounds.logins {
                return None;
            }
            found.met.fetch_add(1, Ordering::Relaxed);
            return Some((self.handle(found), false));
        }
        self.make_room(&mut map, now)?;
        let mut e = [0; 10];
        (self.entropy)(&mut e);
        let (guest, birth) = (self.shared.make)();
        let guest = Journaled::new(guest, &birth, self.bounds.journal);
        let actor = Arc::new(Actor::new(WorldId::new(now, e), key, guest, mark, now));
        if let Some(keeping) = self.shared.keeping.get() {
            let kept = Kept {
                source: key,
                used: now,
                ..Kept::default()
            };
            keeping.cellar.keep(actor.id, &kept);
        }
        map.insert(key, actor.clone());
        self.prune(&mut map);
        // The machine runs from the first moment, not from the first login.
        self.shared.wake(&actor);
        Some((self.handle(actor), true))
    }

    /// A connection that [`enter`](Worlds::enter) gave a world leaves it, and nobody has logged in by it. A world in which nobody ever
    /// has goes with the last of them: whoever only knocks leaves nothing behind.
    pub fn leave(&self, world: &Handle) {
        let mut map = lock(&self.by_source);
        let left = world.actor.left.fetch_add(1, Ordering::Relaxed) + 1;
        if world.actor.met.load(Ordering::Relaxed) != left {
            return;
        }
        let Some(key) = map.iter().find(|(_, a)| a.id == world.id()).map(|(k, _)| *k) else {
            return;
        };
        map.remove(&key);
        drop(map);
        world.actor.end(&self.shared.around());
        let _ = self.shared.recorder.submit(world_event(
            world.id(),
            (self.shared.clock)(),
            kinds::WorldEnd {
                reason: "unused".into(),
                instructions: 0,
            },
        ));
    }

    /// Makes room for one more world in memory: those unused for longest leave it. `None` if somebody is in each.
    fn make_room(&self, map: &mut BTreeMap<Option<IpAddr>, Arc<Actor>>, now: Time) -> Option<()> {
        let around = self.shared.around();
        map.retain(|_, a| a.rest() != Rest::Over);
        let mut here: Vec<(Time, Option<IpAddr>)> = map
            .iter()
            .filter(|(_, a)| a.rest() != Rest::Hibernated)
            .map(|(k, a)| (lock(&a.state).last_used, *k))
            .collect();
        let mut over = (here.len() + 1).saturating_sub(self.bounds.worlds.max(1));
        here.sort_unstable();
        for (_, key) in here {
            if over == 0 {
                break;
            }
            let Some(actor) = map.get(&key).filter(|a| a.logins() == 0).cloned() else {
                continue;
            };
            over -= 1;
            if actor.hibernate(now, &around) {
                continue;
            }
            map.remove(&key);
            actor.end(&around);
            let end = kinds::WorldEnd {
                reason: "evicted".into(),
                instructions: 0,
            };
            let _ = self.shared.recorder.submit(world_event(actor.id, now, end));
        }
        (over == 0).then_some(())
    }

    /// Names who serves connections that programs make to the machine's own sshd. Before that they are closed.
    pub fn serve_inside(&self, arrivals: tokio::sync::mpsc::UnboundedSender<super::Arrival>) {
        *lock(&self.shared.inside) = Some(arrivals);
    }

    /// The world of this id, if it is there.
    pub fn by_id(&self, id: WorldId) -> Option<Handle> {
        let found = lock(&self.by_source).values().find(|a| a.id == id).cloned();
        found.map(|a| self.handle(a))
    }

    /// Who may log in to a machine that nobody has met yet.
    pub fn start_accounts(&self) -> Arc<Accounts> {
        self.shared.start.clone()
    }

    /// The world that `source` has, if it has one.
    pub fn of(&self, source: IpAddr) -> Option<Handle> {
        let key = self.key(source);
        let found = lock(&self.by_source).get(&key).filter(|a| a.alive()).cloned();
        found.map(|a| self.handle(a))
    }

    /// Worlds in which a program has left a way in, but for `source`'s own.
    pub fn planted(&self, source: IpAddr) -> Vec<Handle> {
        let own = self.of(source).map(|h| h.id());
        let found: Vec<Arc<Actor>> = lock(&self.shared.planted)
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        found
            .into_iter()
            .filter(|a| Some(a.id) != own && a.alive())
            .map(|a| self.handle(a))
            .collect()
    }

    /// Lets somebody else into this world; false if it has as many logins as it may, or is gone.
    pub fn admits(&self, world: &Handle) -> bool {
        world.actor.alive() && world.actor.logins() < self.bounds.logins
    }

    fn key(&self, source: IpAddr) -> Option<IpAddr> {
        match self.scope {
            Scope::Source => Some(source_key(source)),
            Scope::Machine => None,
        }
    }

    /// Number of worlds.
    pub fn len(&self) -> usize {
        lock(&self.by_source).len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for Worlds {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        {
            // Nobody is between looking and waiting.
            let _queue = lock(&self.shared.queue);
            self.shared.changed.iter().for_each(Condvar::notify_all);
        }
        for t in self.threads.drain(..) {
            let _ = t.join();
        }
    }
}
