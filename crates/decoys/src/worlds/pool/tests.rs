//! The pool with guests that echo.

use super::threads::{PATIENCE, Queue};
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
async fn next(rx: &mut tokio::sync::mpsc::UnboundedReceiver<crate::worlds::Output>) -> crate::worlds::Output {
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
