//! Alerts as `out` sends them: one thread a way, and the alarm that `out` raises by itself when the record gives no sign of life.

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::link::Message;
use super::out::tell_record;
use super::{now, say, thread};
use crate::alert::{Letter, Way};
use crate::config::Settings;
use crate::respond::incident::{self, Phase, Severity};

/// A letter and its number in the outbox; an alarm of our own has none.
type Job = (Option<u64>, Letter);

/// The ways.
#[derive(Clone, Default)]
pub struct Post(Vec<SyncSender<Job>>);

impl Post {
    /// Starts a thread for each way; `to` is the stream to `record`.
    pub fn start(ways: Vec<Box<dyn Way>>, to: &Arc<Mutex<UnixStream>>) -> Post {
        let start = |mut way: Box<dyn Way>| {
            let (send, receive) = sync_channel::<Job>(8);
            let to = to.clone();
            thread("alert", move || {
                while let Ok((id, letter)) = receive.recv() {
                    let error = way.send(&letter).err().unwrap_or_default();
                    match id {
                        Some(id) => tell_record(&to, &Message::Posted { id, error }),
                        None if error.is_empty() => {}
                        None => say("out", &format!("an alarm could not be sent: {error}")),
                    }
                }
            });
            send
        };
        Post(ways.into_iter().map(start).collect())
    }

    /// True where nobody is to be told.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives a letter of the outbox to its way.
    pub fn hand(&self, way: u8, id: u64, letter: &str) {
        if let (Some(to), Ok(letter)) = (self.0.get(usize::from(way)), serde_json::from_str(letter)) {
            let _ = to.send((Some(id), letter));
        }
    }

    /// Tells of the sensor itself, by every way that is not busy. `open`: something is wrong; else it is over.
    pub fn alarm(&self, sensor: &str, what: &str, open: bool) {
        let at = now();
        let message = incident::Message {
            incident: "I-silent".into(),
            number: if open { 1 } else { 2 },
            phase: if open { Phase::Open } else { Phase::Close },
            severity: Severity::High,
            title: format!("sensor {sensor}: {what}"),
            lines: Vec::new(),
            more: 0,
            campaign: None,
            time: at,
            opened: at,
        };
        let letter = Letter::new(sensor, message);
        for to in &self.0 {
            let _ = to.try_send((None, letter.clone()));
        }
    }
}

/// When the record last gave a sign of life.
pub struct Watched {
    start: Instant,
    seen: Arc<AtomicU64>,
}

impl Watched {
    /// Starts watching. Nothing is watched where nobody can be told.
    pub fn start(post: &Post, settings: &Settings) -> Watched {
        let watched = Watched {
            start: Instant::now(),
            seen: Arc::default(),
        };
        let patience = settings.alert.silence.duration();
        if post.is_empty() || patience.is_zero() {
            return watched;
        }
        let (start, seen) = (watched.start, watched.seen.clone());
        let (post, sensor) = (post.clone(), settings.sensor.name.clone());
        thread("silence", move || {
            let mut silent = false;
            loop {
                std::thread::sleep(Duration::from_millis(500).min(patience));
                let last = Duration::from_millis(seen.load(Ordering::Relaxed));
                let quiet = start.elapsed().saturating_sub(last) > patience;
                if quiet != silent {
                    silent = quiet;
                    let what = if quiet {
                        format!(
                            "no sign of life from the record for {} s; what happens may not be recorded, and intruders are not answered",
                            patience.as_secs()
                        )
                    } else {
                        "the record is alive again".to_owned()
                    };
                    say("out", &what);
                    post.alarm(&sensor, &what, quiet);
                }
            }
        });
        watched
    }

    /// A sign of life came.
    pub fn seen(&self) {
        let at = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.seen.store(at, Ordering::Relaxed);
    }
}
