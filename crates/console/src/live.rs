//! What happens now, as server-sent events.
//!
//! One thread follows the record by its watermark ([`follow`]), tells each event in plain words once, and hands pieces to everybody who
//! listens. Who cannot keep up loses pieces, is told how many, and slows down nobody. A live terminal is its recording, followed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value as Json, json};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;
use turncoat_event::bytes::base64_encode;
use turncoat_event::{Direction, Event, Frame, Mark, SessionId};
use turncoat_store::{Filter, recording};

use crate::call::Call;
use crate::reply::{Refusal, Reply};
use crate::server::Console;
use crate::words;

/// Streams at once.
pub const STREAMS: usize = 48;

/// Events in one piece, and pieces that wait for somebody slow.
const PIECE: usize = 500;
const WAITING: usize = 64;

/// How long events are bundled when there are few.
const BUNDLE: Duration = Duration::from_millis(50);

/// A sign of life for proxies.
const QUIET: Duration = Duration::from_secs(15);

/// How often a live terminal looks for more.
const LOOK: Duration = Duration::from_millis(150);

/// Of a recording that is long already, so many bytes are shown at once.
const BEGIN: usize = 256 << 10;

/// Bytes of a recording in one piece.
const TERMINAL_PIECE: usize = 64 << 10;

/// Everybody who listens.
pub struct Live {
    to: broadcast::Sender<Bytes>,
    streams: Arc<AtomicUsize>,
}

impl Default for Live {
    fn default() -> Live {
        Live {
            to: broadcast::channel(WAITING).0,
            streams: Arc::default(),
        }
    }
}

/// One stream's place among [`STREAMS`].
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Live {
    fn enter(&self) -> Result<Place, Refusal> {
        let place = Place(self.streams.clone());
        if self.streams.fetch_add(1, Ordering::Relaxed) >= STREAMS {
            return Err(Refusal::new(503, "too many live pages are open"));
        }
        Ok(place)
    }

    /// Streams that are open.
    pub fn open(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }
}

/// An event as the live pages take it.
pub fn line(event: &Event) -> Json {
    let told = words::tell(event);
    json!({
        "seq": event.seq,
        "time": event.time,
        "kind": event.kind.name(),
        "session": event.origin.session,
        "source": event.origin.src_ip.map(|ip| ip.to_canonical()),
        "decoy": event.origin.decoy,
        "tone": told.tone,
        "what": told.what,
        "quoted": told.quoted,
    })
}

fn message(event: &str, id: Option<u64>, data: &Json) -> Bytes {
    // JSON has no line ends of its own.
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("{id}event: {event}\ndata: {data}\n\n").into()
}

/// Follows the record until it stops; counts what was tried, and tells those who listen.
pub fn follow(console: &Arc<Console>) {
    let committed = console.host.committed().clone();
    let mut cursor = committed.committed().0;
    crate::tally::warm(console, cursor);
    loop {
        match committed.wait(Mark(cursor + 1), Duration::from_secs(1)) {
            Err(_) => return,
            Ok(false) => continue,
            Ok(true) => {}
        }
        let filter = Filter {
            after: Some(cursor),
            ..Filter::default()
        };
        let Ok(Ok((events, seen))) = console.readers.with(|r| r.events(&filter, PIECE)) else {
            std::thread::sleep(Duration::from_secs(1));
            continue;
        };
        cursor = seen.max(cursor);
        let few = events.len() < PIECE;
        console.tally.add(&events);
        if console.live.to.receiver_count() > 0 && !events.is_empty() {
            let last = events.last().map(|e| e.seq);
            let lines: Vec<Json> = console.shown(events).iter().map(line).collect();
            let _ = console.live.to.send(message("events", last, &Json::Array(lines)));
        }
        if few {
            std::thread::sleep(BUNDLE);
        }
    }
}

/// A stream goes on only while whoever opened it may look.
fn allowed(console: &Console, call: &Call) -> bool {
    match (&call.visit, &call.cookie) {
        (Some(_), Some(cookie)) => console.visits.known(cookie),
        // By token.
        _ => true,
    }
}

/// `GET /live/events`.
pub fn events(console: &Arc<Console>, call: &Call) -> Result<Reply, Refusal> {
    let place = console.live.enter()?;
    let mut from = console.live.to.subscribe();
    let (to, body) = mpsc::channel(8);
    let (console, call) = (console.clone(), call.clone());
    tokio::spawn(async move {
        let _place = place;
        let mut next = Bytes::from_static(b"retry: 2000\n\n");
        while allowed(&console, &call) && to.send(next).await.is_ok() {
            next = match tokio::time::timeout(QUIET, from.recv()).await {
                Err(_) => Bytes::from_static(b": quiet\n\n"),
                Ok(Ok(piece)) => piece,
                Ok(Err(RecvError::Lagged(lost))) => message("gap", None, &json!(lost)),
                Ok(Err(RecvError::Closed)) => return,
            };
        }
    });
    Ok(Reply::Stream("text/event-stream", body))
}

/// A frame as pages take it: milliseconds since 1970, `o` or `r`, base64.
pub fn frame(frame: &Frame) -> Json {
    let code = match frame.direction {
        Direction::Output => "o",
        Direction::Input => "i",
        Direction::Resize => "r",
    };
    json!([frame.time.millis(), code, base64_encode(&frame.bytes)])
}

/// The last frames of at most so many bytes, and every change of the window before.
fn last(frames: Vec<Frame>) -> Vec<Frame> {
    let (mut kept, mut bytes): (VecDeque<Frame>, usize) = (VecDeque::new(), 0);
    let mut window = None;
    for frame in frames {
        bytes += frame.bytes.len();
        kept.push_back(frame);
        while bytes > BEGIN {
            let Some(gone) = kept.pop_front() else { break };
            bytes -= gone.bytes.len();
            if gone.direction == Direction::Resize {
                window = Some(gone);
            }
        }
    }
    window.into_iter().chain(kept).collect()
}

/// `GET /live/sessions/{id}`.
pub fn session(console: &Arc<Console>, call: &Call) -> Result<Reply, Refusal> {
    let session: SessionId = call
        .part("id")
        .parse()
        .map_err(|_| Refusal::absent("there is no such session"))?;
    let channel: u16 = call.query.parsed("channel").unwrap_or(0);
    let place = console.live.enter()?;
    let (to, body) = mpsc::channel(8);
    let (console, call) = (console.clone(), call.clone());
    tokio::spawn(async move {
        let _place = place;
        if to.send(Bytes::from_static(b"retry: 2000\n\n")).await.is_err() {
            return;
        }
        let (mut tail, mut quiet, mut first) = (None, 0u32, true);
        while allowed(&console, &call) {
            let asked = console.clone();
            let looked = tokio::task::spawn_blocking(move || {
                let mut tail: Option<recording::Tail> = match tail {
                    Some(tail) => Some(tail),
                    None => recording::follow(asked.host.layout(), session).ok().flatten(),
                };
                let most = if first { usize::MAX } else { TERMINAL_PIECE };
                let frames = match &mut tail {
                    Some(tail) => tail.more(most).ok()?,
                    None => Vec::new(),
                };
                let frames: Vec<Frame> = frames
                    .into_iter()
                    .filter(|f| f.channel == channel && f.direction != Direction::Input)
                    .collect();
                let frames = if first { last(frames) } else { frames };
                // Asked for only when nothing came: a session that is over has no more.
                let over = frames.is_empty()
                    && quiet % 8 == 7
                    && asked
                        .readers
                        .with(|r| r.session(session))
                        .is_ok_and(|s| s.is_ok_and(|s| s.is_none_or(|s| s.closed.is_some())));
                Some((tail, frames, over))
            })
            .await;
            let Ok(Some((kept, frames, over))) = looked else {
                return;
            };
            (tail, first) = (kept, false);
            let piece = if over {
                message("end", None, &json!("the session is over"))
            } else if !frames.is_empty() {
                quiet = 0;
                message("frames", None, &Json::Array(frames.iter().map(frame).collect()))
            } else {
                quiet += 1;
                if quiet.is_multiple_of(100) {
                    Bytes::from_static(b": quiet\n\n")
                } else {
                    tokio::time::sleep(LOOK).await;
                    continue;
                }
            };
            if to.send(piece).await.is_err() || over {
                return;
            }
        }
    });
    Ok(Reply::Stream("text/event-stream", body))
}
