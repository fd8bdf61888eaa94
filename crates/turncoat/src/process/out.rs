//! Live outputs beside the record: the process that connects outward, and the part of `record` that feeds it.
//!
//! `out` never reads the record. For each output a thread in `record` (a pump) reads events behind the output's cursor and hands
//! them over, at most `WINDOW` at a time; `out` writes or sends them and says so; only then the cursor moves. The queue is the
//! record itself, so an output that is away loses nothing. A file knows by its own last line how far it is, so nothing
//! is in it twice, whatever died in between. A network receiver may get the last few messages again after a crash.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value as Json, json};
use turncoat_event::{Bytes, Event, Mark};
use turncoat_store::{Filter, Reader};

use super::link::{Decoder, Message, VERSION, encode};
use super::post::{Post, Watched};
use super::record::{Pen, Shared, output_files};
use super::{Order, Passed, Report, Role, confine, control, say, thread};
use crate::alert;
use crate::config::Settings;
use crate::config::table::{ShowSecrets, Watch};
use crate::output::{self, Sink};

/// How long an alarm is given when this process has nobody left to work for.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Events on their way to one output.
const WINDOW: usize = 256;

/// How an output is.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Its name.
    pub name: String,
    /// It has all events up to here.
    pub seq: u64,
    /// What is wrong, in words; empty when nothing is.
    pub trouble: String,
}

impl State {
    /// As `status` shows it.
    pub fn json(&self, last: u64) -> Json {
        json!({"name": self.name, "delivered": self.seq, "behind": last.saturating_sub(self.seq), "trouble": self.trouble})
    }
}

/// True where secrets that outsiders tried are not shown.
pub fn masks(settings: &Settings) -> bool {
    match settings.privacy.show_secrets {
        ShowSecrets::Always => false,
        ShowSecrets::Never => true,
        ShowSecrets::Auto => settings.watch.kind == Watch::Internal,
    }
}

/// Replaces secrets where the settings say so.
pub fn mask(event: &mut Event, settings: &Settings) {
    if masks(settings) {
        event.kind.mask_secrets(&|_| Bytes::from("***"));
    }
}

// --- In `record` ---

#[derive(Default)]
struct Progress {
    /// For each output: how far it is, once it has said so.
    delivered: Vec<Option<u64>>,
    trouble: Vec<String>,
    /// What became of letters, by their number in the outbox: why each was not taken, or nothing.
    posted: BTreeMap<u64, String>,
    ended: bool,
}

/// One life of the stream to `out`, as the pumps and couriers see it.
pub(super) struct Line {
    progress: Mutex<Progress>,
    changed: Condvar,
    to: Mutex<UnixStream>,
}

impl Line {
    /// Sends a message; false when the stream is over.
    pub(super) fn send(&self, message: &Message) -> bool {
        let mut bytes = Vec::new();
        encode(message, &mut bytes);
        self.to
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_all(&bytes)
            .is_ok()
    }

    /// The stream is over: `out` is gone.
    pub(super) fn ended(&self) -> bool {
        self.lock().ended
    }

    /// Waits until `out` has said what became of a letter: why it was not taken, or an empty text. Nothing where `out` is gone.
    pub(super) fn posted(&self, id: u64) -> Option<String> {
        let mut progress = self.lock();
        loop {
            if let Some(answer) = progress.posted.remove(&id) {
                return Some(answer);
            }
            if progress.ended {
                return None;
            }
            progress = self
                .changed
                .wait(progress)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pumps of this process.
pub struct Pumps;

impl Pumps {
    /// Starts a pump for each output that is configured, on a new stream.
    pub fn start(&mut self, stream: UnixStream, shared: &Arc<Shared>, pen: &Pen) {
        let names = output::configured(&shared.settings());
        let Ok(to) = stream.try_clone() else { return };
        let line = Arc::new(Line {
            progress: Mutex::new(Progress {
                delivered: vec![None; names.len()],
                trouble: vec![String::new(); names.len()],
                posted: BTreeMap::new(),
                ended: false,
            }),
            changed: Condvar::new(),
            to: Mutex::new(to),
        });
        line.send(&Message::Hello(VERSION));
        for (number, name) in (0u8..).zip(&names) {
            let (line, shared, pen, name) = (line.clone(), shared.clone(), pen.clone(), name.clone());
            shared.output(State {
                name: name.clone(),
                ..State::default()
            });
            thread("pump", move || {
                if let Err(why) = pump(number, &name, &line, &shared, &pen) {
                    say("record", &format!("output {name}: {why}"));
                }
            });
        }
        super::courier::start(&line, shared, pen);
        thread("out-in", move || {
            listen(stream, &line);
            line.lock().ended = true;
            line.changed.notify_all();
        });
    }
}

fn listen(mut stream: UnixStream, line: &Line) {
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 16 << 10];
    while let Ok(n) = stream.read(&mut buffer) {
        if n == 0 {
            return;
        }
        decoder.push(buffer.get(..n).unwrap_or_default());
        loop {
            match decoder.next_message() {
                Ok(Some(Message::Delivered { output, seq })) => {
                    if let Some(slot) = line.lock().delivered.get_mut(usize::from(output)) {
                        *slot = Some(seq);
                    }
                }
                Ok(Some(Message::Posted { id, error })) => {
                    line.lock().posted.insert(id, error);
                }
                Ok(Some(Message::Trouble { output, detail })) => {
                    if let Some(slot) = line.lock().trouble.get_mut(usize::from(output)) {
                        *slot = detail;
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        line.changed.notify_all();
    }
}

fn pump(number: u8, name: &str, line: &Line, shared: &Shared, pen: &Pen) -> Result<(), String> {
    let slot = usize::from(number);
    let cursor = format!("output.{name}");
    let by_name = cursor.clone();
    let known = pen
        .ask(move |w| w.cursor(&by_name))
        .ok_or("the record has stopped")?
        .map_err(|e| e.to_string())?
        .0;
    // The output speaks first: a file knows better than the cursor how far it is.
    let wait_for = |at_least: Option<u64>| -> Option<u64> {
        let mut progress = line.lock();
        loop {
            let trouble = progress.trouble.get(slot).cloned().unwrap_or_default();
            let done = progress.delivered.get(slot).copied().flatten();
            shared.output(State {
                name: name.to_owned(),
                seq: done.unwrap_or(known).max(known),
                trouble,
            });
            match done {
                _ if progress.ended => return None,
                Some(seq) if at_least.is_none_or(|least| seq >= least) => return Some(seq),
                _ => {
                    progress = line
                        .changed
                        .wait(progress)
                        .unwrap_or_else(PoisonError::into_inner)
                }
            }
        }
    };
    let Some(own) = wait_for(None) else { return Ok(()) };
    let mut at = known.max(own);
    let reader = Reader::open(&shared.layout).map_err(|e| e.to_string())?;
    loop {
        while !shared
            .committed
            .wait(Mark(at + 1), Duration::from_secs(1))
            .map_err(|e| e.to_string())?
        {
            if line.lock().ended {
                return Ok(());
            }
        }
        let filter = Filter {
            after: Some(at),
            ..Filter::default()
        };
        let (events, cursor_now) = reader.events(&filter, WINDOW).map_err(|e| e.to_string())?;
        let settings = shared.settings();
        let mut bytes = Vec::new();
        let mut last = None;
        for mut event in events {
            mask(&mut event, &settings);
            last = Some(event.seq);
            let text = serde_json::to_string(&event).map_err(|e| e.to_string())?;
            encode(
                &Message::Deliver {
                    output: number,
                    seq: event.seq,
                    event: text,
                },
                &mut bytes,
            );
        }
        if let Some(last) = last {
            if line
                .to
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .write_all(&bytes)
                .is_err()
            {
                return Ok(());
            }
            if wait_for(Some(last)).is_none() {
                return Ok(());
            }
        }
        at = at.max(cursor_now);
        let by_name = cursor.clone();
        pen.ask(move |w| w.set_cursor(&by_name, at, None))
            .ok_or("the record has stopped")?
            .map_err(|e| e.to_string())?;
    }
}

// --- In `out` ---

/// `turncoat process out`.
pub fn main(socket: OwnedFd) -> Result<(), String> {
    let tell = |e: std::io::Error| e.to_string();
    let Some((
        Order::Setup {
            data,
            settings,
            passed,
            ..
        },
        fds,
    )) = control::receive(socket.as_fd()).map_err(tell)?
    else {
        return Err("started without a supervisor".into());
    };
    let link = passed
        .into_iter()
        .zip(fds)
        .find_map(|(what, fd)| (what == Passed::Link(Role::Record)).then(|| UnixStream::from(fd)));
    let link = link.ok_or("started without a link to the record")?;
    let ways = alert::ways(&settings).map_err(|why| super::fatal(socket.as_fd(), why))?;
    let sinks = output::sinks(&settings).map_err(|why| super::fatal(socket.as_fd(), why))?;
    let missing = confine::confine(Role::Out, &data, &output_files(&settings));

    let to = Arc::new(Mutex::new(link.try_clone().map_err(tell)?));
    tell_record(&to, &Message::Hello(VERSION));
    let mut outputs = Vec::new();
    for (number, sink) in (0u8..).zip(sinks) {
        // As many as the pump lets be on their way: the reader below is never held up by one output.
        let (send, receive) = sync_channel::<(u64, String)>(WINDOW);
        let to = to.clone();
        thread("output", move || serve(number, sink, &receive, &to));
        outputs.push(send);
    }
    let post = Post::start(ways, &to);
    let watched = Watched::start(&post, &settings);
    let at_end = post.clone();
    thread("link", move || {
        read(link, &outputs, &post, &watched);
        if !post.is_empty() {
            // Should the supervisor be gone too, an alarm is on its way; if it is not, it ends us before.
            std::thread::sleep(LAST_WORDS);
        }
        // The record is gone: the supervisor starts everything anew.
        std::process::exit(4);
    });
    control::send(socket.as_fd(), &Report::Ready { missing }, &[]).map_err(tell)?;
    loop {
        match control::receive::<Order>(socket.as_fd()) {
            Ok(Some((Order::Stop, _))) => return Ok(()),
            Ok(Some(_)) => {}
            // The supervisor died: the others end now. That is the last thing that can be said.
            Ok(None) | Err(_) => break,
        }
    }
    at_end.alarm(
        &settings.sensor.name,
        "the program ended without being told to",
        true,
    );
    if !at_end.is_empty() {
        std::thread::sleep(LAST_WORDS);
    }
    Ok(())
}

fn read(mut link: UnixStream, outputs: &[SyncSender<(u64, String)>], post: &Post, watched: &Watched) {
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 256 << 10];
    while let Ok(n) = link.read(&mut buffer) {
        if n == 0 {
            return;
        }
        decoder.push(buffer.get(..n).unwrap_or_default());
        loop {
            match decoder.next_message() {
                Ok(Some(Message::Deliver { output, seq, event })) => {
                    if let Some(to) = outputs.get(usize::from(output)) {
                        let _ = to.send((seq, event));
                    }
                }
                Ok(Some(Message::Post { way, id, letter })) => post.hand(way, id, &letter),
                Ok(Some(Message::Alive)) => watched.seen(),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

pub(super) fn tell_record(to: &Mutex<UnixStream>, message: &Message) {
    let mut bytes = Vec::new();
    encode(message, &mut bytes);
    let _ = to
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .write_all(&bytes);
}

/// Serves one output: each event until it is delivered, then says so.
fn serve(
    number: u8,
    mut sink: Box<dyn Sink>,
    events: &std::sync::mpsc::Receiver<(u64, String)>,
    to: &Mutex<UnixStream>,
) {
    let mut trouble = String::new();
    let patiently = |trouble: &mut String, work: &mut dyn FnMut() -> Result<(), String>| {
        let mut pause = Duration::from_millis(200);
        while let Err(why) = work() {
            if *trouble != why {
                *trouble = why.clone();
                tell_record(
                    to,
                    &Message::Trouble {
                        output: number,
                        detail: why,
                    },
                );
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(30));
        }
        if !trouble.is_empty() {
            trouble.clear();
            tell_record(
                to,
                &Message::Trouble {
                    output: number,
                    detail: String::new(),
                },
            );
        }
    };
    let mut at = 0;
    patiently(&mut trouble, &mut || sink.resume().map(|seq| at = seq));
    tell_record(
        to,
        &Message::Delivered {
            output: number,
            seq: at,
        },
    );
    while let Ok((seq, text)) = events.recv() {
        let mut last = seq;
        let mut text = Some(text);
        while let Some(it) = text.take() {
            if let Ok(event) = serde_json::from_str::<Event>(&it) {
                patiently(&mut trouble, &mut || sink.deliver(&event, &it));
            }
            if let Ok((seq, more)) = events.try_recv() {
                (last, text) = (seq, Some(more));
            }
        }
        patiently(&mut trouble, &mut || sink.flush());
        tell_record(
            to,
            &Message::Delivered {
                output: number,
                seq: last,
            },
        );
    }
}
