//! One world as an actor: an inbox, the guest, and the connections that its output goes to.

use super::{Conn, Guest, Input, Open, Produced, Wants};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};
use turncoat_event::record::{Artifact, Frame, Item, Recorder};
use turncoat_event::{Bytes, Direction, Draft, Kind, Mark, Origin, Time, WorldId, kinds};

/// Instructions in a slice: about a millisecond.
const SLICE: u64 = 200_000;
/// Output that may wait at one connection before its world is not run for it any more, in bytes.
pub(super) const OUTPUT_LIMIT: usize = 1 << 20;

/// What a connection gets from a world.
#[derive(Debug)]
pub struct Output {
    /// What was made.
    pub what: Produced,
    /// The highest mark that it can depend on.
    pub after: Mark,
}

/// Where a login's output goes, and under which name it is recorded.
pub(super) struct Login {
    pub origin: Origin,
    pub channel: u16,
    pub out: mpsc::UnboundedSender<Output>,
    /// Bytes sent to `out` and not yet taken by the connection.
    pub waiting: Arc<AtomicU64>,
    /// Input that the guest has no room for yet. Bounded by the connection's flow control.
    pub held: VecDeque<Input>,
}

impl Login {
    /// Hands held input to the guest as far as it has room; notes what was taken.
    fn feed(&mut self, conn: Conn, guest: &mut dyn Guest, produced: &mut Vec<Produced>) {
        while let Some(next) = self.held.front_mut() {
            if let Input::Data(bytes) = next {
                let n = guest.room(conn).min(bytes.len());
                if n == 0 {
                    return;
                }
                let rest = bytes.split_off(n);
                let now = std::mem::replace(bytes, rest);
                let done = bytes.is_empty();
                guest.input(conn, Input::Data(now));
                produced.push(Produced::Took { conn, bytes: n });
                if !done {
                    continue;
                }
                self.held.pop_front();
            } else if let Some(other) = self.held.pop_front() {
                guest.input(conn, other);
            }
        }
    }
}

enum Message {
    Open {
        open: Box<Open>,
        origin: Box<Origin>,
        channel: u16,
        mark: Mark,
        out: mpsc::UnboundedSender<Output>,
        reply: oneshot::Sender<Result<Conn, String>>,
        waiting: Arc<AtomicU64>,
    },
    Input {
        conn: Conn,
        input: Input,
        mark: Mark,
    },
    Password {
        user: Vec<u8>,
        hash: String,
    },
}

pub(super) struct State {
    guest: Option<Box<dyn Guest>>,
    logins: BTreeMap<Conn, Login>,
    mark: Mark,
    /// When the world last had a login.
    pub last_used: Time,
    produced: Vec<Produced>,
}

pub(super) struct Actor {
    pub id: WorldId,
    pub queued: AtomicBool,
    /// The pool's ticket under which it sleeps; 0 if it does not.
    pub ticket: AtomicU64,
    /// Number of the step that began last.
    pub steps: AtomicU64,
    inbox: Mutex<VecDeque<Message>>,
    pub state: Mutex<State>,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is to be done with an actor after it ran.
pub(super) enum Next {
    Again,
    Sleep(Option<Time>),
    Gone,
}

impl Actor {
    pub fn new(id: WorldId, guest: Box<dyn Guest>, mark: Mark, now: Time) -> Actor {
        Actor {
            id,
            queued: AtomicBool::new(false),
            ticket: AtomicU64::new(0),
            steps: AtomicU64::new(0),
            inbox: Mutex::default(),
            state: Mutex::new(State {
                guest: Some(guest),
                logins: BTreeMap::new(),
                mark,
                last_used: now,
                produced: Vec::new(),
            }),
        }
    }

    pub fn alive(&self) -> bool {
        lock(&self.state).guest.is_some()
    }

    pub fn logins(&self) -> usize {
        lock(&self.state).logins.len()
    }

    /// Takes what is in the inbox, runs one slice, and hands out what it made. With what is to be done comes the step's number:
    /// when another has begun since, on another thread, that one decides.
    pub fn step(&self, now: Time, recorder: &dyn Recorder) -> (Next, u64) {
        let mut state = lock(&self.state);
        let number = self.steps.fetch_add(1, Ordering::AcqRel) + 1;
        (self.slice(&mut state, now, recorder), number)
    }

    fn slice(&self, state: &mut State, now: Time, recorder: &dyn Recorder) -> Next {
        let mut messages = std::mem::take(&mut *lock(&self.inbox));
        let Some(guest) = state.guest.as_mut() else {
            return Next::Gone;
        };
        // A panic in a world kills that world alone.
        let ran = catch_unwind(AssertUnwindSafe(|| {
            for m in messages.drain(..) {
                match m {
                    Message::Open {
                        open,
                        origin,
                        channel,
                        mark,
                        out,
                        reply,
                        waiting,
                    } => {
                        state.mark = state.mark.max(mark);
                        let result = guest.open(&open);
                        if let Ok(conn) = &result {
                            state.logins.insert(
                                *conn,
                                Login {
                                    origin: *origin,
                                    channel,
                                    out,
                                    waiting,
                                    held: VecDeque::new(),
                                },
                            );
                        }
                        let _ = reply.send(result);
                    }
                    Message::Input { conn, input, mark } => {
                        state.mark = state.mark.max(mark);
                        match (input, state.logins.get_mut(&conn)) {
                            (Input::Close, _) => {
                                state.logins.remove(&conn);
                                guest.input(conn, Input::Close);
                            }
                            // What is not input to a program overtakes it.
                            (i @ (Input::Data(_) | Input::Eof), Some(l)) => l.held.push_back(i),
                            (i, Some(_)) => guest.input(conn, i),
                            (_, None) => {}
                        }
                    }
                    Message::Password { user, hash } => guest.set_password(&user, &hash),
                }
            }
            for (conn, l) in &mut state.logins {
                l.feed(*conn, &mut **guest, &mut state.produced);
            }
            // A connection that does not read holds its world up: its programs block as on a full pipe.
            let full = state
                .logins
                .values()
                .any(|l| l.waiting.load(Ordering::Relaxed) as usize > OUTPUT_LIMIT);
            // One whose programs make more events than a session may stands still meanwhile, as on a machine that swaps.
            let own = Origin {
                world: Some(self.id),
                ..Origin::default()
            };
            let pause = state
                .logins
                .values()
                .map(|l| recorder.pace(&l.origin))
                .chain([recorder.pace(&own)])
                .max()
                .unwrap_or_default();
            let wants = if full {
                Wants::Sleep(Some(now.plus_nanos(5_000_000)))
            } else if !pause.is_zero() {
                let nanos = i64::try_from(pause.as_nanos()).unwrap_or(i64::MAX);
                Wants::Sleep(Some(now.plus_nanos(nanos)))
            } else {
                guest.run(SLICE, now)
            };
            guest.drain(&mut state.produced);
            wants
        }));
        if !state.logins.is_empty() {
            state.last_used = now;
        }
        let wants = ran.unwrap_or_else(|panic| {
            let message = panic
                .downcast_ref::<&str>()
                .map(|s| (*s).to_string())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "no message".into());
            state.produced.push(Produced::Event {
                conn: None,
                kind: Box::new(kinds::WorldPanic { message }.into()),
            });
            state.produced.push(Produced::Down);
            Wants::Dead
        });
        if wants == Wants::Dead {
            state.guest = None;
            state.produced.push(Produced::Down);
        }
        if !self.hand_out(state, now, recorder) {
            state.guest = None;
            return Next::Gone;
        }
        match wants {
            Wants::Run => Next::Again,
            Wants::Sleep(until) => Next::Sleep(until),
            Wants::Dead => Next::Gone,
        }
    }

    /// Records everything that was made, then passes it on with the mark of the record. False if the record has stopped.
    fn hand_out(&self, state: &mut State, now: Time, recorder: &dyn Recorder) -> bool {
        let produced = std::mem::take(&mut state.produced);
        for p in &produced {
            let item = match p {
                Produced::Event { conn, kind } => {
                    let origin = match conn.and_then(|c| state.logins.get(&c)) {
                        Some(l) => l.origin.clone(),
                        None => Origin {
                            world: Some(self.id),
                            ..Origin::default()
                        },
                    };
                    Item::Event(Box::new(Draft {
                        time: now,
                        origin,
                        kind: (**kind).clone(),
                    }))
                }
                Produced::Data { conn, bytes, .. } => {
                    let Some(l) = state.logins.get(conn) else { continue };
                    let Some(session) = l.origin.session else { continue };
                    Item::Frame(Frame {
                        session,
                        time: now,
                        channel: l.channel,
                        direction: Direction::Output,
                        bytes: bytes.clone(),
                    })
                }
                Produced::Artifact { sha256, content } => Item::Artifact(Artifact {
                    sha256: *sha256,
                    content: Bytes(content.clone()),
                }),
                _ => continue,
            };
            match submit(recorder, item) {
                Some(mark) => state.mark = state.mark.max(mark),
                None => return false,
            }
        }
        let after = state.mark;
        for what in produced {
            let conn = match &what {
                Produced::Data { conn, bytes, .. } => {
                    if let Some(l) = state.logins.get(conn) {
                        l.waiting.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    }
                    *conn
                }
                Produced::Took { conn, .. }
                | Produced::Eof { conn }
                | Produced::Exit { conn, .. }
                | Produced::Killed { conn, .. } => *conn,
                Produced::Event { .. } | Produced::Artifact { .. } => continue,
                Produced::Down => {
                    for l in std::mem::take(&mut state.logins).into_values() {
                        let _ = l.out.send(Output {
                            what: Produced::Down,
                            after,
                        });
                    }
                    continue;
                }
            };
            if let Some(l) = state.logins.get(&conn) {
                let _ = l.out.send(Output { what, after });
            }
        }
        true
    }
}

/// Hands an item to the record, waiting while it is full. None if the record has stopped.
fn submit(recorder: &dyn Recorder, item: Item) -> Option<Mark> {
    use turncoat_event::Refused;
    loop {
        let before = recorder.watermark().committed();
        match recorder.submit(item.clone()) {
            Ok(mark) => return Some(mark),
            Err(Refused::Full) => {
                // This thread has nothing better to do: nothing that it runs may be answered.
                recorder
                    .watermark()
                    .wait(before.next(), std::time::Duration::from_millis(50))
                    .ok()?;
            }
            Err(Refused::TooLarge) => return Some(before),
            Err(Refused::Stopped) => return None,
        }
    }
}

/// Puts an actor into the queue of those that are to run.
pub(super) type Wake = dyn Fn(&Arc<Actor>) + Send + Sync;

/// A connection's hold on a world.
#[derive(Clone)]
pub struct Handle {
    pub(super) actor: Arc<Actor>,
    pub(super) wake: Arc<Wake>,
}

impl Handle {
    /// The world's id.
    pub fn id(&self) -> WorldId {
        self.actor.id
    }

    fn send(&self, m: Message) {
        lock(&self.actor.inbox).push_back(m);
        (self.wake)(&self.actor);
    }

    /// Opens a login whose output goes to `out`; `waiting` counts the bytes there, the connection takes off what it has sent.
    /// `mark` covers the events that led to it.
    ///
    /// # Errors
    /// Why the machine refuses.
    pub async fn open(
        &self,
        open: Open,
        origin: Origin,
        channel: u16,
        mark: Mark,
        out: mpsc::UnboundedSender<Output>,
        waiting: Arc<AtomicU64>,
    ) -> Result<Conn, String> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Open {
            open: Box::new(open),
            origin: Box::new(origin),
            channel,
            mark,
            out,
            reply,
            waiting,
        });
        answer.await.unwrap_or_else(|_| Err("the machine is down".into()))
    }

    /// Sends input that was recorded up to `mark`.
    pub fn input(&self, conn: Conn, input: Input, mark: Mark) {
        self.send(Message::Input { conn, input, mark });
    }

    /// Writes the password that the policy accepted into the machine, before the login that follows.
    pub fn set_password(&self, user: &[u8], hash: String) {
        self.send(Message::Password {
            user: user.to_vec(),
            hash,
        });
    }
}

/// An event of a world outside any session.
pub(super) fn world_event(id: WorldId, now: Time, kind: impl Into<Kind>) -> Item {
    let origin = Origin {
        world: Some(id),
        ..Origin::default()
    };
    Item::Event(Box::new(origin.at(now, kind)))
}
