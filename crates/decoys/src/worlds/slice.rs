//! One slice of a world's time: what is in the inbox, a run of the guest, what it made; and what is done with a world in which nothing
//! happens.

use super::actor::{Actor, Around, Next, Rest, State, lock};
use super::inbox::{Login, Message};
use super::sleep;
use super::{Input, Produced, Program, Wants};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use turncoat_event::{Origin, Time, kinds};
use turncoat_wire::telnet;

/// Output that may wait at one connection before its world is not run for it any more, in bytes.
const OUTPUT_LIMIT: usize = 1 << 20;
/// Bytes of a stream that may wait at one connection before no more of it is read.
const STREAM_LIMIT: usize = 256 << 10;

/// A world in which nothing has happened for so long is laid to rest, in nanoseconds.
const REST: i64 = 10_000_000_000;

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

impl Actor {
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
}
