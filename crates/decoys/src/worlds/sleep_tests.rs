//! Worlds that leave memory and come back, with a machine that remembers what it was told.

use super::*;
use crate::journal::{Birth, Cut};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use turncoat_event::record::{Item, Recorder, Refused};
use turncoat_event::{Committer, Mark, Origin, Watermark, WorldId};
use turncoat_freeze::Freeze;

/// Says everything that it was ever told, and has that on its disk.
#[derive(Default)]
struct Memory {
    told: Vec<u8>,
    lost: Vec<u8>,
    out: Vec<Produced>,
    next: u32,
}

impl Guest for Memory {
    fn open(&mut self, _: &Open) -> Result<Conn, String> {
        self.next += 1;
        Ok(Conn(self.next))
    }
    fn input(&mut self, conn: Conn, input: Input) {
        if let Input::Data(bytes) = input {
            self.told.extend_from_slice(&bytes);
            self.lost.extend(bytes);
            self.out.push(Produced::Data {
                conn,
                stderr: false,
                bytes: [&self.told[..], b"/", &self.lost].concat(),
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
        // Much for each.
        self.told.len() as u64 * 30_000_000
    }
    fn freeze(&mut self, most: usize) -> Option<Vec<u8>> {
        if self.told.starts_with(b"plain") {
            return None;
        }
        let mut out = turncoat_freeze::Out::new(most);
        (self.told.clone(), self.lost.clone(), self.next).put(None, &mut out);
        out.done()
    }
    fn thaw(&mut self, frozen: &[u8]) -> Result<(), turncoat_freeze::Damaged> {
        (self.told, self.lost, self.next) = Freeze::take(None, &mut turncoat_freeze::In::new(frozen, 0))?;
        Ok(())
    }
    fn disk(&mut self) -> Option<Vec<u8>> {
        Some(self.told.clone())
    }
    fn restore(&mut self, disk: &[u8], _: Time) -> Result<(), turncoat_kernel::BadDisk> {
        self.told = disk.to_vec();
        Ok(())
    }
}

/// A record that keeps journals, what is known of worlds, and their disks.
struct Fake {
    next: AtomicU64,
    items: Mutex<Vec<Item>>,
    watermark: Watermark,
    kept: Mutex<BTreeMap<WorldId, Kept>>,
    disks: Mutex<BTreeMap<WorldId, Vec<u8>>>,
    checkpoints: Mutex<BTreeMap<WorldId, Vec<u8>>>,
    cuts: AtomicU64,
}

impl Fake {
    /// What a world's journal holds.
    fn journal(&self, world: WorldId) -> Vec<u8> {
        let items = self.items.lock().unwrap();
        let pieces = items.iter().filter_map(|i| match i {
            Item::Journal(j) if j.world == world => Some(&j.bytes[..]),
            _ => None,
        });
        pieces.collect::<Vec<_>>().concat()
    }
}

impl Recorder for Fake {
    fn submit(&self, item: Item) -> Result<Mark, Refused> {
        self.items.lock().unwrap().push(item);
        Ok(Mark(self.next.fetch_add(1, Ordering::SeqCst) + 1))
    }
    fn watermark(&self) -> &Watermark {
        &self.watermark
    }
    fn accepting(&self) -> bool {
        true
    }
}

impl Cellar for Fake {
    fn keep(&self, world: WorldId, kept: &Kept) {
        self.kept.lock().unwrap().insert(world, kept.clone());
    }
    fn keep_disk(&self, world: WorldId, disk: Vec<u8>) {
        self.disks.lock().unwrap().insert(world, disk);
    }
    fn keep_checkpoint(&self, world: WorldId, _: u64, checkpoint: Vec<u8>, _: u64) {
        self.checkpoints.lock().unwrap().insert(world, checkpoint);
    }
    fn cut_journal(&self, world: WorldId, cut: Cut, checkpoint: Vec<u8>) {
        let journal = self.journal(world);
        let (_, tail) = journal.split_at(cut.from as usize);
        let bytes = [&cut.head[..], tail].concat();
        let cut = Item::Journal(turncoat_event::record::Journal {
            world,
            bytes,
            last: false,
        });
        let mut items = self.items.lock().unwrap();
        items.retain(|i| !matches!(i, Item::Journal(j) if j.world == world));
        items.push(cut);
        self.checkpoints.lock().unwrap().insert(world, checkpoint);
        self.cuts.fetch_add(1, Ordering::SeqCst);
    }
    fn forget(&self, world: WorldId) {
        self.kept.lock().unwrap().remove(&world);
    }
    fn fetch(&self, world: WorldId, take: Take) {
        let journal = self.journal(world);
        let disk = self
            .disks
            .lock()
            .unwrap()
            .get(&world)
            .cloned()
            .unwrap_or_default();
        let checkpoint = self.checkpoints.lock().unwrap().get(&world).cloned();
        take(Stored {
            journal,
            disk,
            checkpoint: checkpoint.unwrap_or_default(),
        });
    }
}

fn birth(build: &str) -> Birth {
    Birth {
        build: build.into(),
        ..crate::journal::birth_for_tests()
    }
}

/// The pool of a process of this build, with the worlds that the record has.
fn begin(fake: &Arc<Fake>, build: &'static str, most: usize) -> Worlds {
    begin_with(fake, build, most, Bounds::default().journal)
}

/// The same with a bound of its own for journals.
fn begin_with(fake: &Arc<Fake>, build: &'static str, most: usize, journal: u64) -> Worlds {
    let worlds = Worlds::start(
        Arc::new(move || (Box::new(Memory::default()), birth(build))),
        Scope::Source,
        Bounds {
            worlds: most,
            journal,
            ..Bounds::default()
        },
        2,
        fake.clone(),
        Arc::new(|| Time::from_system(std::time::SystemTime::now())),
        Arc::new(|b: &mut [u8]| {
            static NEXT: AtomicU64 = AtomicU64::new(1);
            b.fill(NEXT.fetch_add(1, Ordering::Relaxed) as u8);
        }),
    )
    .unwrap();
    let keeping = Keeping {
        cellar: fake.clone(),
        again: Arc::new(move |b: &Birth| match b.differs_from(&birth(build)) {
            Some(why) => Err(why),
            None => Ok(Box::new(Memory::default())),
        }),
        resume: Duration::from_secs(10),
        after: Duration::MAX,
        age: Duration::MAX,
        most: 100,
        checkpoints: 1 << 20,
    };
    let kept = fake.kept.lock().unwrap().clone();
    worlds.keep_in(keeping, kept.into_iter().collect());
    worlds
}

/// Logs in from `source`, says something, and gives what is said back.
async fn say(worlds: &Worlds, source: &str, what: &str) -> String {
    let source: IpAddr = source.parse().unwrap();
    let (h, _) = worlds.enter(source, Mark(0)).unwrap();
    let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
    let at = std::net::SocketAddr::new(source, 5);
    let open = Open {
        link: 1,
        user: b"root".to_vec(),
        program: Program::Shell,
        terminal: None,
        env: vec![],
        peer: at,
        local: at,
        method: "password",
        sshd: None,
    };
    let conn = h
        .open(open, Origin::default(), 0, Mark(0), tx, Arc::default())
        .await
        .unwrap();
    h.input(conn, Input::Data(what.into()), Mark(0));
    let said = loop {
        if let Produced::Data { bytes, .. } = rx.recv().await.unwrap().what {
            break String::from_utf8(bytes).unwrap();
        }
    };
    h.input(conn, Input::Close, Mark(0));
    for _ in 0..500 {
        if lock_logins(&h) == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    said
}

/// The process ends as it should.
fn leave(worlds: Worlds) {
    worlds.save(Duration::from_secs(5));
}

fn lock_logins(h: &Handle) -> usize {
    h.actor.logins()
}

fn fake() -> (Arc<Fake>, Committer) {
    let (committer, watermark) = Committer::new();
    let fake = Fake {
        next: AtomicU64::new(0),
        items: Mutex::default(),
        watermark,
        kept: Mutex::default(),
        disks: Mutex::default(),
        checkpoints: Mutex::default(),
        cuts: AtomicU64::new(0),
    };
    (Arc::new(fake), committer)
}

#[tokio::test]
async fn a_world_without_room_comes_back_as_it_was_and_in_another_build_from_its_disk() {
    let (fake, _c) = fake();
    let worlds = begin(&fake, "one", 1);
    assert_eq!(say(&worlds, "192.0.2.1", "a").await, "a/a");
    // There is room for one.
    assert_eq!(say(&worlds, "192.0.2.2", "x").await, "x/x");
    assert_eq!(worlds.counts().2, 1);
    assert_eq!(say(&worlds, "192.0.2.1", "b").await, "ab/ab");
    // Another process, which was told nothing but what the record has.
    leave(worlds);
    let worlds = begin(&fake, "one", 8);
    assert_eq!(worlds.counts(), (0, 0, 2));
    assert_eq!(say(&worlds, "192.0.2.1", "c").await, "abc/abc");
    assert_eq!(worlds.counts().2, 1);
    leave(worlds);
    // Another build: what is not on the disk is lost, and goes on from there.
    let worlds = begin(&fake, "two", 8);
    assert_eq!(say(&worlds, "192.0.2.1", "d").await, "abcd/d");
    leave(worlds);
    let worlds = begin(&fake, "two", 8);
    assert_eq!(say(&worlds, "192.0.2.1", "e").await, "abcde/de");
    assert_eq!(say(&worlds, "192.0.2.2", "y").await, "xy/y");
}

#[tokio::test]
async fn a_damaged_journal_is_no_way_back() {
    let (fake, _c) = fake();
    let worlds = begin(&fake, "one", 8);
    assert_eq!(say(&worlds, "192.0.2.1", "a").await, "a/a");
    leave(worlds);
    for i in fake.items.lock().unwrap().iter_mut() {
        if let Item::Journal(j) = i {
            let end = j.bytes.len();
            j.bytes[end - 1] ^= 1;
        }
    }
    let worlds = begin(&fake, "one", 8);
    assert_eq!(say(&worlds, "192.0.2.1", "b").await, "ab/b");
}

/// How worlds woke, and why not otherwise.
fn woke(fake: &Fake) -> Vec<(String, Option<String>)> {
    let items = fake.items.lock().unwrap();
    let all = items.iter().filter_map(|i| match i {
        Item::Event(d) => Some(&d.kind),
        _ => None,
    });
    all.filter_map(|k| match k {
        turncoat_event::Kind::WorldWake(w) => Some((w.how.clone(), w.why.clone())),
        _ => None,
    })
    .collect()
}

#[tokio::test]
async fn a_world_wakes_at_its_checkpoint_and_without_one_from_its_birth() {
    let (fake, _c) = fake();
    let worlds = begin(&fake, "one", 1);
    assert_eq!(say(&worlds, "192.0.2.1", "a").await, "a/a");
    assert_eq!(say(&worlds, "192.0.2.2", "plain").await, "plain/plain");
    // What was said behind the checkpoint is in the journal.
    assert_eq!(say(&worlds, "192.0.2.1", "b").await, "ab/ab");
    assert_eq!(woke(&fake), [("checkpoint".into(), None)]);
    assert_eq!(say(&worlds, "192.0.2.2", "x").await, "plainx/plainx");
    assert_eq!(woke(&fake).pop(), Some(("journal".into(), None)));
    leave(worlds);
    // What lies before the checkpoint is not looked at again.
    let digest = |fake: &Fake, wrong: u8| {
        for i in fake.items.lock().unwrap().iter_mut() {
            if let Item::Journal(j) = i
                && let Some(at) = j.bytes.windows(2).position(|w| w == [1, b'a' ^ wrong])
            {
                j.bytes[at + 1] ^= 1;
                return;
            }
        }
        panic!("nothing to damage");
    };
    digest(&fake, 0);
    let worlds = begin(&fake, "one", 8);
    assert_eq!(say(&worlds, "192.0.2.1", "c").await, "abc/abc");
    assert_eq!(woke(&fake).pop(), Some(("checkpoint".into(), None)));
    leave(worlds);
    digest(&fake, 1);
    // A checkpoint that is damaged costs time and nothing else.
    for bytes in fake.checkpoints.lock().unwrap().values_mut() {
        let end = bytes.len() - 1;
        bytes[end] ^= 1;
    }
    let worlds = begin(&fake, "one", 8);
    assert_eq!(say(&worlds, "192.0.2.1", "d").await, "abcd/abcd");
    let (how, why) = woke(&fake).pop().unwrap();
    assert_eq!(how, "journal");
    assert!(why.is_some_and(|w| w.contains("it is damaged")));
    leave(worlds);
}

#[tokio::test]
async fn a_journal_that_grows_loses_what_lies_before_a_checkpoint() {
    const BOUND: u64 = 8_000;
    let (fake, _c) = fake();
    let worlds = begin_with(&fake, "one", 8, BOUND);
    let mut told = String::new();
    let longest = |fake: &Fake| {
        let kept = fake.kept.lock().unwrap();
        let longest = kept.keys().map(|w| fake.journal(*w).len() as u64).max();
        longest.unwrap_or(0)
    };
    for n in 0..100 {
        let what = char::from(b'a' + n % 26).to_string();
        told += &what;
        assert_eq!(say(&worlds, "192.0.2.1", &what).await, format!("{told}/{told}"));
    }
    leave(worlds);
    let cuts = fake.cuts.load(Ordering::SeqCst);
    assert!(cuts > 2, "{cuts}");
    assert!((1_000..=BOUND).contains(&longest(&fake)), "{}", longest(&fake));
    // As it was, and on from there.
    let worlds = begin_with(&fake, "one", 8, BOUND);
    for what in ["x", "y", "z"] {
        told += what;
        assert_eq!(say(&worlds, "192.0.2.1", what).await, format!("{told}/{told}"));
    }
    assert_eq!(woke(&fake).pop(), Some(("checkpoint".into(), None)));
    leave(worlds);
    // Without its checkpoint there is only the disk.
    for bytes in fake.checkpoints.lock().unwrap().values_mut() {
        let end = bytes.len() - 1;
        bytes[end] ^= 1;
    }
    let worlds = begin_with(&fake, "one", 8, BOUND);
    assert_eq!(say(&worlds, "192.0.2.1", "!").await, format!("{told}!/!"));
    let (how, why) = woke(&fake).pop().unwrap();
    assert_eq!(how, "disk");
    let why = why.unwrap();
    assert!(
        why.contains("begins at a checkpoint") && why.contains("damaged"),
        "{why}"
    );
    leave(worlds);
}
