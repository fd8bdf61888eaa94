//! All worlds, the threads that run them, and the clock that wakes them.

use super::Guest;
use super::Handle;
use super::actor::{Actor, Around, Inside, Next, Rest, world_event};
use super::sleep::{Keeping, Kept};
use crate::auth::{Accounts, source_key};
use crate::journal::{Birth, Journaled};
use crate::machine::Entropy;
use crate::refused::Ledger;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};
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

/// Slices (of about a millisecond) for which a world that was idle goes before those that compute without end.
const PATIENCE: u32 = 40;

/// Once in so long, if worlds ran at all and none wants to at the moment, the host gets back what they no longer hold.
const TIDY: Duration = Duration::from_secs(20);

/// Slices that a thread runs of one world before it looks at the others: so many find warm what the first has brought into the caches
/// of the processor.
const STRETCH: u32 = 5;

struct Queue {
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

/// What a world touched last is in the caches of the processor that its thread runs on: of the first so many worlds that are ready, a
/// thread takes the one that it has run before, and passes over the first no more often than that.
const NEAR: u32 = 8;

impl Queue {
    fn new() -> Queue {
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

    fn put(&mut self, actor: Arc<Actor>) {
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
    fn take(&mut self, me: usize) -> Option<Arc<Actor>> {
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

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn around(&self) -> Around<'_> {
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

    fn wake(&self, actor: &Arc<Actor>) {
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

    /// Keeps the list of worlds that hold planted ways in.
    fn note_planted(&self, actor: &Arc<Actor>) {
        let mut planted = lock(&self.planted);
        if actor.accounts().planted(&self.start) {
            planted.retain(|_, a| a.strong_count() > 0);
            planted.insert(actor.id, Arc::downgrade(actor));
        } else {
            planted.remove(&actor.id);
        }
    }

    fn work(self: &Arc<Self>, me: usize) {
        while let Some(actor) = self.next(me) {
            let mut slices = 0;
            while !self.run(&actor) {
                slices += 1;
                if slices == STRETCH || actor.spent.load(Ordering::Relaxed) >= PATIENCE {
                    // This thread looks what is next, so nobody is woken for it.
                    actor.turn.wait();
                    lock(&self.queue).put(actor);
                    break;
                }
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
        if let Next::Again = next {
            actor.spent.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        actor.spent.store(0, Ordering::Relaxed);
        match next {
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
            Next::Sleep(None) | Next::Gone | Next::Again => actor.turn.end(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worlds::{Conn, Input, Open, Produced, Program, Wants};
    use std::sync::atomic::AtomicU64;
    use turncoat_event::record::{Item, Refused};
    use turncoat_event::{Committer, Origin, Watermark};

    /// A record that commits at once or when told.
    struct Fake {
        next: AtomicU64,
        items: Mutex<Vec<Item>>,
        watermark: Watermark,
    }

    impl Recorder for Fake {
        fn submit(&self, item: Item) -> Result<Mark, Refused> {
            lock(&self.items).push(item);
            Ok(Mark(self.next.fetch_add(1, Ordering::SeqCst) + 1))
        }
        fn watermark(&self) -> &Watermark {
            &self.watermark
        }
        fn accepting(&self) -> bool {
            true
        }
    }

    /// Echoes input; panics on "panic".
    struct Echo {
        out: Vec<Produced>,
        next: u32,
    }

    impl Guest for Echo {
        fn open(&mut self, _: &Open) -> Result<Conn, String> {
            self.next += 1;
            Ok(Conn(self.next))
        }
        fn input(&mut self, conn: Conn, input: Input) {
            if let Input::Data(bytes) = input {
                assert_ne!(bytes, b"panic", "told to");
                self.out.push(Produced::Data {
                    conn,
                    stderr: false,
                    bytes,
                });
            }
        }
        fn room(&self, _: Conn) -> usize {
            4096
        }
        fn set_password(&mut self, _: &[u8], _: &str) {}
        fn add_key(&mut self, _: &[u8], _: &[u8]) {}
        fn accounts(&self) -> Arc<Accounts> {
            Arc::default()
        }
        fn run(&mut self, _: u64, _: Time) -> Wants {
            Wants::Sleep(None)
        }
        fn drain(&mut self, out: &mut Vec<Produced>) {
            out.append(&mut self.out);
        }
        fn retired(&self) -> u64 {
            0
        }
    }

    fn worlds(scope: Scope, bounds: Bounds) -> (Worlds, Arc<Fake>, Committer) {
        let (committer, watermark) = Committer::new();
        let fake = Arc::new(Fake {
            next: AtomicU64::new(0),
            items: Mutex::default(),
            watermark,
        });
        let clock = Arc::new(|| Time::from_system(std::time::SystemTime::now()));
        let make: Make = Arc::new(|| {
            (
                Box::new(Echo { out: vec![], next: 0 }),
                crate::journal::birth_for_tests(),
            )
        });
        let w = Worlds::start(
            make,
            scope,
            bounds,
            2,
            fake.clone(),
            clock,
            Arc::new(|b: &mut [u8]| b.fill(7)),
        )
        .unwrap();
        (w, fake, committer)
    }

    /// The next output that is not a receipt for input.
    async fn next(
        rx: &mut tokio::sync::mpsc::UnboundedReceiver<crate::worlds::Output>,
    ) -> crate::worlds::Output {
        loop {
            let o = rx.recv().await.unwrap();
            if !matches!(o.what, Produced::Took { .. }) {
                return o;
            }
        }
    }

    fn open() -> Open {
        let a = "192.0.2.1:5".parse().unwrap();
        Open {
            link: 1,
            user: b"root".to_vec(),
            program: Program::Shell,
            terminal: None,
            env: vec![],
            peer: a,
            local: a,
            method: "password",
            sshd: None,
        }
    }

    #[tokio::test]
    async fn one_world_a_source_and_output_carries_the_highest_mark() {
        let (w, fake, _c) = worlds(
            Scope::Source,
            Bounds {
                worlds: 2,
                logins: 2,
                ..Bounds::default()
            },
        );
        let a: IpAddr = "192.0.2.1".parse().unwrap();
        let (h, fresh) = w.enter(a, Mark(0)).unwrap();
        assert!(fresh && !w.enter(a, Mark(0)).unwrap().1);
        let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
        let session = turncoat_event::SessionId::new(Time(0), [0; 10]);
        let s: std::net::SocketAddr = "192.0.2.1:5".parse().unwrap();
        let origin = Origin::session(session, s, s, "ssh");
        let waiting = Arc::new(AtomicU64::new(0));
        let conn = h
            .open(open(), origin.clone(), 0, Mark(3), tx.clone(), waiting.clone())
            .await
            .unwrap();
        h.input(conn, Input::Data(b"hello".to_vec()), Mark(100));
        let o = next(&mut rx).await;
        assert_eq!(
            o.what,
            Produced::Data {
                conn,
                stderr: false,
                bytes: b"hello".to_vec()
            }
        );
        assert!(o.after >= Mark(100));
        assert_eq!(waiting.load(Ordering::Relaxed), 5);
        assert!(
            lock(&fake.items)
                .iter()
                .any(|i| matches!(i, Item::Frame(f) if f.bytes == b"hello"))
        );
        // A second login sees what the first one's input made only under the first one's mark.
        let conn2 = h
            .open(open(), origin.clone(), 1, Mark(4), tx.clone(), waiting.clone())
            .await
            .unwrap();
        h.input(conn2, Input::Data(b"x".to_vec()), Mark(5));
        assert!(next(&mut rx).await.after >= Mark(100));
        assert!(w.enter(a, Mark(0)).is_none(), "as many logins as it may have");
    }

    #[tokio::test]
    async fn a_panic_kills_one_world_and_the_others_go_on() {
        let (w, fake, _c) = worlds(Scope::Source, Bounds::default());
        let s: std::net::SocketAddr = "192.0.2.1:5".parse().unwrap();
        let origin = Origin {
            decoy: Some("ssh".into()),
            ..Origin::default()
        };
        let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicU64::new(0));
        let (h, _) = w.enter(s.ip(), Mark(0)).unwrap();
        let conn = h
            .open(open(), origin.clone(), 0, Mark(0), tx.clone(), waiting.clone())
            .await
            .unwrap();
        h.input(conn, Input::Data(b"panic".to_vec()), Mark(0));
        assert_eq!(next(&mut rx).await.what, Produced::Down);
        assert!(
            lock(&fake.items)
                .iter()
                .any(|i| matches!(i, Item::Event(d) if d.kind.name() == "world.panic"))
        );
        let (h2, fresh) = w.enter(s.ip(), Mark(0)).unwrap();
        assert!(fresh);
        let conn = h2.open(open(), origin, 0, Mark(0), tx, waiting).await.unwrap();
        h2.input(conn, Input::Data(b"ok".to_vec()), Mark(0));
        assert!(matches!(next(&mut rx).await.what, Produced::Data { .. }));
    }

    #[test]
    fn a_world_that_was_idle_goes_before_busy_ones_and_none_waits_for_ever() {
        let actor = |n: u8, spent: u32| {
            let guest = Box::new(Echo { out: vec![], next: 0 });
            let guest = Journaled::new(guest, &crate::journal::birth_for_tests(), 0);
            let a = Actor::new(WorldId::new(Time(0), [n; 10]), None, guest, Mark(0), Time(0));
            a.spent.store(spent, Ordering::Relaxed);
            Arc::new(a)
        };
        let mut q = Queue::new();
        let (busy, idle) = (actor(1, PATIENCE), actor(2, 0));
        for _ in 0..8 {
            q.put(busy.clone());
            q.put(idle.clone());
        }
        let order: Vec<bool> = std::iter::from_fn(|| q.take(0))
            .map(|a| a.id == idle.id)
            .collect();
        assert_eq!(order.len(), 16);
        assert_eq!(order[..8], [true, true, true, false, true, true, true, false]);
        assert!(!order[15], "what is left is the busy one's");
    }

    #[tokio::test]
    async fn the_number_of_worlds_is_bounded() {
        let (w, _f, _c) = worlds(
            Scope::Source,
            Bounds {
                worlds: 3,
                logins: 2,
                ..Bounds::default()
            },
        );
        for i in 0..20 {
            assert!(w.enter(IpAddr::from([192, 0, 2, i]), Mark(0)).is_some());
            assert!(w.len() <= 3);
        }
    }
}
