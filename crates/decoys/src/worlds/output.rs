//! What a world makes: recorded first, then passed on with the mark of the record.

use super::actor::{Actor, State, lock};
use super::inbox::Login;
use super::{Arrival, Input, Produced, inbound_channel};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;
use turncoat_event::record::{Artifact, FRAME_MAX, Frame, Item, Journal, Recorder};
use turncoat_event::{Bytes, Direction, Draft, Kind, Mark, Origin, Time, WorldId};

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

/// Where connections to the machine's own sshd go.
pub(super) type Inside = Mutex<Option<mpsc::UnboundedSender<Arrival>>>;

impl Actor {
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

    /// Records everything that was made, then passes it on with the mark of the record. False if the record has stopped.
    pub(super) fn hand_out(
        &self,
        state: &mut State,
        now: Time,
        recorder: &dyn Recorder,
        inside: &Inside,
    ) -> bool {
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

/// An event of a world outside any session.
pub(super) fn world_event(id: WorldId, now: Time, kind: impl Into<Kind>) -> Item {
    let origin = Origin {
        world: Some(id),
        ..Origin::default()
    };
    Item::Event(Box::new(origin.at(now, kind)))
}
