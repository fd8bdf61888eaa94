//! One world as an actor: an inbox, the guest, and the connections that its output goes to.

use super::pool::Make;
use super::sleep::{self, Away, Keeping, Kept, Stored};
use super::turn::Turn;
use super::{
    Arrival, Conn, Door, Input, NotConnected, Open, Opened, Produced, Program, Target, Wants, inbound_channel,
};
use crate::auth::Accounts;
use crate::journal::{Checkpoint, Journaled};
use crate::refused::Ledger;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};
use turncoat_event::record::{Artifact, FRAME_MAX, Frame, Item, Journal, Recorder};
use turncoat_event::{Bytes, Direction, Draft, Kind, Mark, Origin, SessionId, Sha256, Time, WorldId, kinds};
use turncoat_wire::telnet;

/// Output that may wait at one connection before its world is not run for it any more, in bytes.
pub(super) const OUTPUT_LIMIT: usize = 1 << 20;
/// Bytes of a stream that may wait at one connection before no more of it is read.
const STREAM_LIMIT: usize = 256 << 10;

/// A world in which nothing has happened for so long is laid to rest, in nanoseconds.
const REST: i64 = 10_000_000_000;

/// What a connection gets from a world.
#[derive(Debug)]
pub struct Output {
    /// What was made.
    pub what: Produced,
    /// The highest mark that it can depend on.
    pub after: Mark,
    /// With [`Produced::Inbound`]: counts the bytes of the new stream that wait at the connection.
    pub waiting: Option<Arc<AtomicU64>>,
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
    /// Takes the text out of what a telnet server says: the recording has that.
    pub telnet: Option<telnet::Reader>,
}

impl Login {
    /// Hands held input to the guest as far as it has room; notes what was taken.
    fn feed(&mut self, conn: Conn, guest: &mut Journaled, produced: &mut Vec<Produced>) {
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

pub(super) enum Message {
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
    Key {
        user: Vec<u8>,
        line: Vec<u8>,
    },
    Connect {
        user: Vec<u8>,
        to: Target,
        login: Box<Login>,
        mark: Mark,
        reply: oneshot::Sender<Result<Conn, NotConnected>>,
    },
    Listen {
        user: Vec<u8>,
        door: Door,
        outlet: Box<Outlet>,
        mark: Mark,
        reply: oneshot::Sender<Option<Opened>>,
    },
    Unlisten(u32),
}

impl Message {
    /// Somebody is let in: by SSH, or at telnet with a password that the policy gave.
    fn lets_in(&self) -> bool {
        match self {
            Message::Open { open, .. } => !matches!(open.program, Program::Service(_)),
            Message::Password { .. } => true,
            _ => false,
        }
    }
}

/// Where connections to something that a connection offers inside go.
pub(super) struct Outlet {
    pub origin: Origin,
    pub out: mpsc::UnboundedSender<Output>,
}

/// Where connections to the machine's own sshd go.
pub(super) type Inside = Mutex<Option<mpsc::UnboundedSender<Arrival>>>;

/// Who may log in to the world, and whose doing that is.
pub(super) struct Who {
    pub accounts: Arc<Accounts>,
    /// The session that changed an account last.
    pub by: BTreeMap<Vec<u8>, SessionId>,
    /// What the policy wrote for an account last (a digest of it).
    pub given: BTreeMap<Vec<u8>, Sha256>,
}

/// A world's disk is remembered this often while somebody is in it, in nanoseconds.
const SAVE: i64 = 60_000_000_000;
/// When the last of a world's sessions ends, its disk is remembered no sooner than so long after the last time, in nanoseconds.
const LEFT: i64 = 2_000_000_000;
/// A world that somebody uses hears at most this often what the machine refused, in nanoseconds.
const HEARS: i64 = 1_000_000_000;
/// Bytes that a checkpoint may have for which somebody waits: they are written in some milliseconds.
pub(super) const AT_ONCE: usize = 16 << 20;
/// A checkpoint of a world that has no pause is remembered after so long, in nanoseconds.
pub(super) const SOON_ENOUGH: i64 = 1_000_000_000;
/// A world in which something is due sooner than this stays in memory, in nanoseconds.
const SOON: i64 = 3_600_000_000_000;

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

#[derive(Clone, Copy)]
pub(super) struct Quiet {
    pub since: Time,
    pub due: Option<Time>,
}

impl Quiet {
    /// When to look again: at the deadline, or when it is time to rest.
    fn until(self) -> Time {
        let rest = self.since.plus_nanos(REST);
        self.due.map_or(rest, |d| d.min(rest))
    }
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

pub(super) struct Actor {
    pub id: WorldId,
    /// Whose it is; `None`: everybody's.
    pub source: Option<IpAddr>,
    /// A [`Rest`].
    rest: AtomicU8,
    /// Until when its machine is down, in nanoseconds; 0 while it is up.
    away: AtomicI64,
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

pub(super) fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is to be done with an actor after it ran.
pub(super) enum Next {
    /// The record is to be asked for it.
    Fetch,
    Again,
    Sleep(Option<Time>),
    Gone,
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

    /// Takes what is in the inbox, runs one slice, and hands out what it made. With it comes what is to be done next.
    pub fn step(&self, now: Time, around: &Around<'_>) -> Next {
        let mut state = lock(&self.state);
        match (&state.guest, around.keeping) {
            (None, Some(keeping)) if state.stored.is_some() => self.wake_up(&mut state, now, around, keeping),
            _ => self.slice(&mut state, now, around),
        }
    }

    fn slice(&self, state: &mut State, now: Time, around: &Around<'_>) -> Next {
        let (recorder, inside) = (around.recorder, around.inside);
        let mut messages = std::mem::take(&mut *lock(&self.inbox));
        let Some(guest) = state.guest.as_mut() else {
            return Next::Gone;
        };
        let mut holds = state.logins.iter().filter(|(c, _)| guest.holds(**c)).peekable();
        let stalled = holds.peek().is_some();
        let read_on = holds.any(|(_, l)| l.waiting.load(Ordering::Relaxed) as usize <= STREAM_LIMIT);
        if let Some(quiet) = state.quiet
            && messages.is_empty()
            && quiet.due.is_none_or(|d| d > now)
            && state.logins.values().all(|l| l.held.is_empty())
            && !read_on
        {
            // Who does not read has to be looked at: nothing tells that he goes on.
            if stalled {
                return Next::Sleep(Some(quiet.until().min(now.plus_nanos(5_000_000))));
            }
            // Woken by the time alone, and nothing is due in the world.
            if state.save_at.is_some_and(|at| at <= now) {
                self.save(state, now, quiet.due, around);
            }
            let idle = now.since(quiet.since);
            if idle < REST {
                return Next::Sleep(state.save_at.into_iter().chain([quiet.until()]).min());
            }
            let Some(guest) = state.guest.as_mut() else {
                return Next::Gone;
            };
            let pending = guest.rest_of_it();
            if !self.keep_journal(state, pending, false, recorder) {
                state.guest = None;
                return Next::Gone;
            }
            let Some(guest) = state.guest.as_mut() else {
                return Next::Gone;
            };
            let after = around
                .keeping
                .map(|k| i64::try_from(k.after.as_nanos()).unwrap_or(i64::MAX));
            let far = quiet.due.is_none_or(|d| d.since(now) > SOON);
            // One that has not been written down whole stays as long as there is room.
            if let Some(after) = after.filter(|_| far && state.logins.is_empty() && guest.is_written()) {
                if idle >= after && self.put_away(state, now, quiet.due, around) {
                    return Next::Sleep(quiet.due);
                }
                let Some(guest) = state.guest.as_mut() else {
                    return Next::Gone;
                };
                guest.rest();
                self.set_rest(Rest::Resting);
                state.produced = Vec::new();
                let then = quiet.since.plus_nanos(after.max(REST));
                let then = if then <= now { now.plus_nanos(SAVE) } else { then };
                return Next::Sleep(Some(quiet.due.map_or(then, |d| d.min(then))));
            }
            guest.rest();
            self.set_rest(Rest::Resting);
            state.produced = Vec::new();
            return Next::Sleep(quiet.due);
        }
        state.quiet = None;
        self.set_rest(Rest::Awake);
        let before = state.logins.len();
        // A panic in a world kills that world alone.
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let input = |m: &Message| matches!(m, Message::Input { .. });
            if !messages.iter().all(input) {
                guest.catch_up(now);
            }
            state.seen |= messages.iter().any(Message::lets_in);
            if let Some(ledger) = around.refused
                && state.seen
                && !messages.is_empty()
                && now.since(state.heard) >= HEARS
            {
                let refused = ledger.since(state.heard, self.id);
                if !refused.is_empty() {
                    guest.refused(refused, now);
                }
                state.heard = now;
            }
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
                        // A rerun of the session begins here.
                        if origin.session.is_some()
                            && std::mem::replace(&mut state.begun, origin.session) != origin.session
                            && around
                                .keeping
                                .is_some_and(|k| sleep::due_before_session(guest, k, state.logins.len()))
                        {
                            guest.drain(&mut state.produced);
                            state.checkpoint = guest.checkpoint(AT_ONCE).map(|c| (c, now));
                        }
                        let result = guest.open(&open, origin.session, channel);
                        let served = matches!(open.program, Program::Service(_));
                        if let Ok(conn) = &result {
                            state.logins.insert(
                                *conn,
                                Login {
                                    origin: *origin,
                                    channel,
                                    out,
                                    waiting,
                                    held: VecDeque::new(),
                                    telnet: served.then(|| telnet::Reader::new(telnet::Side::Server)),
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
                            (i @ (Input::Data(_) | Input::Eof | Input::Hangup), Some(l)) => {
                                l.held.push_back(i)
                            }
                            (i, Some(_)) => guest.input(conn, i),
                            (_, None) => {}
                        }
                    }
                    Message::Password { user, hash } => guest.set_password(&user, &hash),
                    Message::Key { user, line } => guest.add_key(&user, &line),
                    Message::Connect {
                        user,
                        to,
                        login,
                        mark,
                        reply,
                    } => {
                        state.mark = state.mark.max(mark);
                        let result = guest.connect(&user, &to);
                        if let Ok(conn) = result {
                            state.logins.insert(conn, *login);
                        }
                        let _ = reply.send(result);
                    }
                    Message::Listen {
                        user,
                        door,
                        outlet,
                        mark,
                        reply,
                    } => {
                        state.mark = state.mark.max(mark);
                        let opened = guest.listen(&user, &door);
                        if let Some(o) = &opened {
                            state.doors.insert(o.id, *outlet);
                        }
                        let _ = reply.send(opened);
                    }
                    Message::Unlisten(id) => {
                        state.doors.remove(&id);
                        guest.unlisten(id);
                    }
                }
            }
            for (conn, l) in &mut state.logins {
                l.feed(*conn, guest, &mut state.produced);
            }
            // What a client does not read is not taken from its programs, which block as on a full pipe; the world's other logins go on.
            // A world that cannot hold one back stands still.
            let (mut full, mut held) = (false, false);
            for (conn, l) in &state.logins {
                let waiting = l.waiting.load(Ordering::Relaxed) as usize;
                if guest.hold(*conn, waiting > STREAM_LIMIT) {
                    held |= waiting > STREAM_LIMIT;
                } else {
                    full |= waiting > OUTPUT_LIMIT;
                }
            }
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
                let wants = guest.run(now);
                if let Wants::Sleep(due) = wants {
                    state.quiet = Some(Quiet { since: now, due });
                }
                match wants {
                    Wants::Sleep(until) if held => {
                        let soon = now.plus_nanos(5_000_000);
                        Wants::Sleep(Some(until.map_or(soon, |u| u.min(soon))))
                    }
                    wants => wants,
                }
            };
            guest.drain(&mut state.produced);
            self.away
                .store(guest.away().map_or(0, |t| t.0), Ordering::Relaxed);
            let accounts = guest.accounts();
            let mut who = lock(&self.who);
            if !Arc::ptr_eq(&who.accounts, &accounts) {
                who.accounts = accounts;
                self.accounts_changed.store(true, Ordering::Release);
            }
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
        let over = wants == Wants::Dead;
        if over {
            state.produced.push(Produced::Down);
        }
        let journal = state
            .guest
            .as_mut()
            .map_or(Vec::new(), |g| if over { g.seal() } else { g.take() });
        if over {
            state.guest = None;
            self.set_rest(Rest::Over);
            if let Some(keeping) = around.keeping {
                keeping.cellar.forget(self.id);
            }
        }
        if !self.keep_journal(state, journal, over, recorder) || !self.hand_out(state, now, recorder, inside)
        {
            state.guest = None;
            return Next::Gone;
        }
        let due = match wants {
            Wants::Sleep(due) => due,
            _ => None,
        };
        if state.logins.len() < before && state.logins.is_empty() {
            // Sessions of one command come in rows.
            state.save_at = Some(now.max(state.saved.0.plus_nanos(LEFT)));
        }
        if state.save_at.is_some_and(|at| at <= now)
            || !state.logins.is_empty() && now.since(state.saved.0) >= SAVE
        {
            self.save(state, now, due, around);
        }
        if !self.look_for_checkpoint(state, wants != Wants::Run, now, around) {
            state.guest = None;
            return Next::Gone;
        }
        match wants {
            Wants::Run => Next::Again,
            Wants::Sleep(until) => {
                let look = state.quiet.map(|q| q.until());
                Next::Sleep(look.into_iter().chain(until).chain(state.save_at).min())
            }
            Wants::Dead => Next::Gone,
        }
    }

    /// Records what came in, before what was made of it. False if the record has stopped.
    pub(super) fn keep_journal(
        &self,
        state: &mut State,
        bytes: Vec<u8>,
        over: bool,
        recorder: &dyn Recorder,
    ) -> bool {
        if bytes.is_empty() && !over {
            return true;
        }
        let pieces = bytes.len().div_ceil(FRAME_MAX).max(1);
        for n in 0..pieces {
            let piece = bytes.chunks(FRAME_MAX).nth(n).unwrap_or_default();
            let item = Item::Journal(Journal {
                world: self.id,
                bytes: piece.to_vec(),
                last: over && n + 1 == pieces,
            });
            match submit(recorder, item) {
                Some(mark) => state.mark = state.mark.max(mark),
                None => return false,
            }
        }
        true
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

    /// Records everything that was made, then passes it on with the mark of the record. False if the record has stopped.
    fn hand_out(&self, state: &mut State, now: Time, recorder: &dyn Recorder, inside: &Inside) -> bool {
        let produced = std::mem::take(&mut state.produced);
        for p in &produced {
            let item = match p {
                Produced::Event { conn, kind } => {
                    if let Kind::UserChange(c) = &**kind
                        && let Some(session) = conn
                            .and_then(|c| state.logins.get(&c))
                            .and_then(|l| l.origin.session)
                    {
                        lock(&self.who).by.insert(c.user.0.clone(), session);
                    }
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
                    let Some(l) = state.logins.get_mut(conn) else {
                        continue;
                    };
                    let Some(session) = l.origin.session else { continue };
                    let bytes = match &mut l.telnet {
                        Some(reader) => reader.text(bytes),
                        None => bytes.clone(),
                    };
                    if bytes.is_empty() {
                        continue;
                    }
                    Item::Frame(Frame {
                        session,
                        time: now,
                        channel: l.channel,
                        direction: Direction::Output,
                        bytes,
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
                | Produced::Secret { conn, .. }
                | Produced::Entered { conn }
                | Produced::Eof { conn }
                | Produced::Exit { conn, .. }
                | Produced::Killed { conn, .. } => *conn,
                Produced::Event { .. } | Produced::Artifact { .. } => continue,
                Produced::Inbound { .. } => {
                    self.inbound(state, what, after, inside);
                    continue;
                }
                Produced::Down => {
                    state.doors.clear();
                    for l in std::mem::take(&mut state.logins).into_values() {
                        let _ = l.out.send(Output {
                            what: Produced::Down,
                            after,
                            waiting: None,
                        });
                    }
                    continue;
                }
            };
            if let Some(l) = state.logins.get(&conn) {
                let _ = l.out.send(Output {
                    what,
                    after,
                    waiting: None,
                });
            }
        }
        true
    }
}

impl Actor {
    /// A program connected to something: whoever serves that is told, and gets what the program says.
    fn inbound(&self, state: &mut State, what: Produced, after: Mark, inside: &Inside) {
        let Produced::Inbound {
            conn,
            door,
            by,
            from,
            to,
            ..
        } = what
        else {
            return;
        };
        let waiting = Arc::new(AtomicU64::new(0));
        let mut login = Login {
            origin: Origin::default(),
            channel: inbound_channel(conn),
            out: mpsc::unbounded_channel().0,
            waiting: waiting.clone(),
            held: VecDeque::new(),
            telnet: None,
        };
        let told = match door {
            Some(door) => state.doors.get(&door).is_some_and(|o| {
                login.origin = o.origin.clone();
                login.out = o.out.clone();
                let output = Output {
                    what,
                    after,
                    waiting: Some(waiting),
                };
                o.out.send(output).is_ok()
            }),
            None => {
                let says;
                (login.out, says) = mpsc::unbounded_channel();
                let arrival = Arrival {
                    world: self.id,
                    conn,
                    from,
                    to,
                    origin: by
                        .and_then(|c| state.logins.get(&c))
                        .map(|l| l.origin.clone())
                        .unwrap_or_default(),
                    says,
                    waiting,
                };
                lock(inside).as_ref().is_some_and(|i| i.send(arrival).is_ok())
            }
        };
        match (&mut state.guest, told) {
            (_, true) => drop(state.logins.insert(conn, login)),
            (Some(guest), false) => guest.input(conn, Input::Close),
            (None, false) => {}
        }
    }
}

/// Hands an item to the record, waiting while it is full. None if the record has stopped.
pub(super) fn submit(recorder: &dyn Recorder, item: Item) -> Option<Mark> {
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

/// An event of a world outside any session.
pub(super) fn world_event(id: WorldId, now: Time, kind: impl Into<Kind>) -> Item {
    let origin = Origin {
        world: Some(id),
        ..Origin::default()
    };
    Item::Event(Box::new(origin.at(now, kind)))
}
