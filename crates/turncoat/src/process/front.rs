//! The process that outsiders reach: decoys, and the recorder that joins them to the record.
//!
//! [`LinkRecorder`] numbers everything that decoys hand over, writes it to the stream to the `record` process and raises the
//! watermark as that process commits. When the stream ends, the watermark stops: no gate opens any more, and this process ends.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use turncoat_decoys::journal::Cut;
use turncoat_decoys::worlds::{Cellar, Kept, Stored, Take};
use turncoat_event::kinds::LimitHit;
use turncoat_event::record::{ARTIFACT_MAX, FRAME_MAX};
use turncoat_event::{Committer, Item, Kind, Mark, Origin, Recorder, Refused, SessionId, Watermark, WorldId};

use super::crowd::Crowd;
use super::link::{Decoder, Message, Part, VERSION, encode, pieces};
use super::pace::Pace;
use super::{Order, Passed, Report, Role, confine, control, say, thread};
use crate::config::Settings;

/// The most bytes that wait to be committed, over all sessions.
const BACKLOG: usize = 64 << 20;

/// So many bytes are sent off at once, also where a batch is waited for.
const ENOUGH: usize = 256 << 10;

#[derive(Default)]
struct Queue {
    last: Mark,
    encoded: Vec<u8>,
    uncommitted: VecDeque<(Mark, usize)>,
    backlog: usize,
    pace: Pace,
    crowd: Crowd,
    stopped: bool,
    /// What was taken from `encoded` is being written.
    writing: bool,
}

impl Queue {
    /// Puts an item at the end, whatever waits already.
    fn push(&mut self, item: Item, size: usize, now: Instant) -> Mark {
        let mark = self.last.next();
        self.crowd.see(&item, now);
        encode(&Message::Item(mark, item), &mut self.encoded);
        self.last = mark;
        self.backlog += size;
        self.uncommitted.push_back((mark, size));
        mark
    }
}

/// What an event counts for in the backlog. What is not content is bounded by the decoys; 4 KiB covers it.
const EVENT: usize = 4 << 10;

/// Where the decoys of this process hand over what is to be recorded.
pub struct LinkRecorder {
    queue: Mutex<Queue>,
    filled: Condvar,
    watermark: Watermark,
    accepting: AtomicBool,
    events_per_second: AtomicU64,
    /// What was sent before this process began, and when all of it has come.
    earlier: Mutex<Vec<Earlier>>,
    /// Worlds of before.
    kept: Mutex<Vec<(WorldId, String)>>,
    taken: Mutex<Vec<(String, SessionId)>>,
    begun: Watermark,
    /// Worlds that the record was asked for.
    asked: Mutex<HashMap<WorldId, (Stored, Take)>>,
}

/// Bytes that were sent to a source on a day (UTC, counted from 1970), before this process began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earlier {
    /// The day.
    pub day: i64,
    /// The source.
    pub source: IpAddr,
    /// How much.
    pub bytes: u64,
}

impl LinkRecorder {
    /// Joins a recorder to the stream. Two threads serve it; `ended` is called once when the stream ends.
    pub fn start(
        stream: UnixStream,
        ended: impl Fn(String) + Send + Sync + 'static,
    ) -> std::io::Result<Arc<LinkRecorder>> {
        let (committer, watermark) = Committer::new();
        let (begin, begun) = Committer::new();
        let mut encoded = Vec::new();
        encode(&Message::Hello(VERSION), &mut encoded);
        let recorder = Arc::new(LinkRecorder {
            queue: Mutex::new(Queue {
                encoded,
                ..Queue::default()
            }),
            filled: Condvar::new(),
            watermark,
            accepting: AtomicBool::new(true),
            events_per_second: AtomicU64::new(0),
            earlier: Mutex::default(),
            kept: Mutex::default(),
            taken: Mutex::default(),
            begun,
            asked: Mutex::default(),
        });
        let ended = Arc::new(ended);
        let (writing, reading) = (recorder.clone(), recorder.clone());
        let (mut to, mut from) = (stream.try_clone()?, stream);
        let told = ended.clone();
        thread("link-out", move || {
            let why = writing.write_all(&mut to);
            let _ = to.shutdown(Shutdown::Both);
            told(why);
        });
        thread("link-in", move || {
            let why = reading.read_all(&mut from, &committer, &begin);
            committer.stop();
            reading.lock().stopped = true;
            reading.filled.notify_all();
            let _ = from.shutdown(Shutdown::Both);
            ended(why);
        });
        Ok(recorder)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    /// Waits until everything is on its way, at most so long. The record reads it even when this process has ended.
    pub fn flush(&self, timeout: Duration) {
        let until = Instant::now() + timeout;
        let waits = || {
            let queue = self.lock();
            !queue.stopped && (queue.writing || !queue.encoded.is_empty())
        };
        while waits() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn write_all(&self, to: &mut UnixStream) -> String {
        let mut out = Vec::new();
        loop {
            {
                let mut queue = self.lock();
                queue.writing = false;
                while queue.encoded.is_empty() && !queue.stopped {
                    queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
                // A commit costs nearly the same for many as for one, and so does the way to it.
                let patience = queue.crowd.patience();
                if !patience.is_zero() {
                    let more = |q: &mut Queue| !q.stopped && q.encoded.len() < ENOUGH;
                    queue = self
                        .filled
                        .wait_timeout_while(queue, patience, more)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
                if queue.stopped {
                    return "the record has stopped".into();
                }
                out.clear();
                std::mem::swap(&mut out, &mut queue.encoded);
                queue.writing = true;
            }
            if let Err(error) = to.write_all(&out) {
                return format!("writing to the record: {error}");
            }
            // A large artifact does not keep its room for ever.
            if out.capacity() > 4 << 20 {
                out = Vec::new();
            }
        }
    }

    fn read_all(&self, from: &mut UnixStream, committer: &Committer, begin: &Committer) -> String {
        let mut decoder = Decoder::default();
        let mut buffer = vec![0; 16 << 10];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return "the record process is gone".into(),
                Ok(n) => decoder.push(buffer.get(..n).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return format!("reading from the record: {error}"),
            }
            loop {
                match decoder.next_message() {
                    Ok(Some(Message::Committed(mark))) => {
                        {
                            let mut queue = self.lock();
                            while let Some((_, size)) = queue.uncommitted.pop_front_if(|(m, _)| *m <= mark) {
                                queue.backlog = queue.backlog.saturating_sub(size);
                            }
                        }
                        committer.committed(mark);
                    }
                    Ok(Some(Message::Accepting(yes))) => {
                        self.accepting.store(yes, Ordering::Relaxed);
                        begin.committed(Mark(1));
                    }
                    Ok(Some(Message::Sent { day, source, bytes })) => {
                        lock(&self.earlier).push(Earlier { day, source, bytes })
                    }
                    Ok(Some(Message::Kept(world, said))) => lock(&self.kept).push((world, said)),
                    Ok(Some(Message::Stored {
                        world,
                        part,
                        last,
                        bytes,
                    })) => self.stored(world, part, last, &bytes),
                    Ok(Some(Message::Taken { bait, session })) => lock(&self.taken).push((bait, session)),
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(malformed) => return malformed.to_string(),
                }
            }
        }
    }

    /// What was sent before this process began. Waits until the record has said all of it; it does so first.
    pub fn earlier(&self) -> Vec<Earlier> {
        let _ = self.begun.wait(Mark(1), Duration::from_secs(60));
        std::mem::take(&mut *lock(&self.earlier))
    }

    /// A piece of a world that was asked for.
    fn stored(&self, world: WorldId, part: Part, last: bool, bytes: &[u8]) {
        let mut asked = lock(&self.asked);
        if let Some((stored, _)) = asked.get_mut(&world) {
            let to = match part {
                Part::Journal => &mut stored.journal,
                Part::Disk => &mut stored.disk,
                Part::Checkpoint => &mut stored.checkpoint,
            };
            to.extend_from_slice(bytes);
        }
        let whole = if part == Part::Checkpoint && last {
            asked.remove(&world)
        } else {
            None
        };
        drop(asked);
        if let Some((stored, take)) = whole {
            take(stored);
        }
    }

    /// Worlds of before this process began. Waits as [`LinkRecorder::earlier`] does.
    pub fn kept(&self) -> Vec<(WorldId, Kept)> {
        let _ = self.begun.wait(Mark(1), Duration::from_secs(60));
        std::mem::take(&mut *lock(&self.kept))
            .into_iter()
            .filter_map(|(world, said)| Some((world, serde_json::from_str(&said).ok()?)))
            .collect()
    }

    fn tell(&self, message: &Message) {
        let mut queue = self.lock();
        encode(message, &mut queue.encoded);
        self.filled.notify_one();
    }

    /// Tells it piece by piece, with nothing between.
    fn tell_in_pieces(&self, whole: &[u8], message: impl Fn(Vec<u8>, bool) -> Message) {
        let mut queue = self.lock();
        for (bytes, last) in pieces(whole) {
            encode(&message(bytes, last), &mut queue.encoded);
        }
        self.filled.notify_one();
    }

    /// Which session read each bait last before this process began. Waits as [`Self::earlier`] does.
    pub fn taken(&self) -> Vec<(String, SessionId)> {
        let _ = self.begun.wait(Mark(1), Duration::from_secs(60));
        std::mem::take(&mut *lock(&self.taken))
    }

    /// Bounds the events of one session; 0 takes the bound away.
    pub fn set_events_per_second(&self, rate: u64) {
        self.events_per_second.store(rate, Ordering::Relaxed);
    }

    /// Tells the record facts for `status`, as JSON.
    pub fn facts(&self, json: String) {
        self.tell(&Message::Facts(json));
    }
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cellar for LinkRecorder {
    fn keep(&self, world: WorldId, kept: &Kept) {
        if let Ok(said) = serde_json::to_string(kept) {
            self.tell(&Message::Keep(world, said));
        }
    }

    fn keep_disk(&self, world: WorldId, disk: Vec<u8>) {
        self.tell_in_pieces(&disk, |bytes, last| Message::Disk { world, last, bytes });
    }

    fn keep_checkpoint(&self, world: WorldId, at: u64, checkpoint: Vec<u8>, most: u64) {
        self.tell_in_pieces(&checkpoint, |bytes, last| Message::Checkpoint {
            world,
            at,
            most,
            last,
            bytes,
        });
    }

    fn cut_journal(&self, world: WorldId, cut: Cut, checkpoint: Vec<u8>) {
        let whole = [&cut.head[..], &checkpoint].concat();
        self.tell_in_pieces(&whole, |bytes, last| Message::Cut {
            world,
            from: cut.from,
            head: cut.head.len() as u64,
            last,
            bytes,
        });
    }

    fn forget(&self, world: WorldId) {
        self.tell(&Message::Keep(world, String::new()));
    }

    fn fetch(&self, world: WorldId, take: Take) {
        lock(&self.asked).insert(world, (Stored::default(), take));
        self.tell(&Message::Fetch(world));
    }
}

impl Recorder for LinkRecorder {
    fn submit(&self, item: Item) -> Result<Mark, Refused> {
        let size = match &item {
            Item::Event(_) => EVENT,
            Item::Frame(frame) if frame.bytes.len() > FRAME_MAX => return Err(Refused::TooLarge),
            Item::Frame(frame) => frame.bytes.len() + 64,
            Item::Artifact(artifact) if artifact.content.len() > ARTIFACT_MAX => {
                return Err(Refused::TooLarge);
            }
            Item::Artifact(artifact) => artifact.content.len() + 64,
            Item::Journal(piece) if piece.bytes.len() > FRAME_MAX => return Err(Refused::TooLarge),
            Item::Journal(piece) => piece.bytes.len() + 64,
        };
        let mut queue = self.lock();
        if queue.stopped || self.watermark.stopped() {
            return Err(Refused::Stopped);
        }
        // One item always fits, however large, so that nothing waits for ever.
        if queue.backlog > 0 && queue.backlog + size > BACKLOG {
            return Err(Refused::Full);
        }
        let (now, mut slowed) = (Instant::now(), None);
        if let Item::Event(draft) = &item {
            let rate = self.events_per_second.load(Ordering::Relaxed);
            if matches!(draft.kind, Kind::SessionClose(_) | Kind::WorldEnd(_)) {
                queue.pace.forget(&draft.origin);
            } else if queue.pace.count(&draft.origin, rate, now) {
                let hit = LimitHit {
                    limit: "events_per_second".into(),
                    value: rate,
                    scope: "session".into(),
                };
                slowed = Some(draft.origin.at(draft.time, hit));
            }
        }
        // Whoever finds something there already need not wake the writing thread: it has been woken for that, or looks again. Where it waits for more
        // it is told when there is enough.
        let (first, before) = (queue.encoded.is_empty() && !queue.writing, queue.encoded.len());
        let mut mark = queue.push(item, size, now);
        if let Some(hit) = slowed {
            mark = queue.push(Item::from(hit), EVENT, now);
        }
        let enough = before < ENOUGH && queue.encoded.len() >= ENOUGH;
        drop(queue);
        if first || enough {
            self.filled.notify_one();
        }
        Ok(mark)
    }

    fn watermark(&self) -> &Watermark {
        &self.watermark
    }

    fn accepting(&self) -> bool {
        self.accepting.load(Ordering::Relaxed) && !self.watermark.stopped()
    }

    fn pace(&self, origin: &Origin) -> Duration {
        self.lock().pace.wait(origin, Instant::now())
    }
}

/// Told to end: a watermark that rises once. Cheap to clone, from any runtime.
#[derive(Clone)]
pub struct Ending(Watermark);

impl Ending {
    /// True once the program was told to end.
    pub fn now(&self) -> bool {
        self.0.committed() >= Mark(1)
    }

    /// Waits until the program is told to end.
    pub async fn told(&self) {
        let _ = self.0.reached(Mark(1)).await;
    }

    /// Blocks until the program is told to end or the time is over; says whether it is told.
    pub fn wait(&self, most: std::time::Duration) -> bool {
        self.0.wait(Mark(1), most).unwrap_or(true)
    }
}

/// Everything that decoys get: there is nothing else that they could open.
pub struct FrontIo {
    /// Listening sockets, each with the name of its decoy.
    pub listeners: Vec<(String, TcpListener)>,
    /// The record.
    pub recorder: Arc<LinkRecorder>,
    /// The image that worlds start from.
    pub image: Option<File>,
    /// The machine that decoys show.
    pub machine: Option<Box<crate::machine::Machine>>,
    /// The list of logins.
    pub userdb: Vec<u8>,
    /// What is planted: everything, each time it changes.
    pub plants: Arc<Mutex<Receiver<Vec<crate::plant::Plant>>>>,
    /// The install's secret.
    pub seed: [u8; 32],
    /// The settings; they change when the operator has them read again.
    pub settings: Arc<RwLock<Arc<Settings>>>,
    /// When to end.
    pub ending: Ending,
}

/// `turncoat process front`.
pub fn main(socket: OwnedFd) -> Result<(), String> {
    use std::os::fd::AsFd;
    let tell = |e: std::io::Error| e.to_string();
    let Some((
        Order::Setup {
            data,
            settings,
            seed,
            passed,
            machine,
            ..
        },
        fds,
    )) = control::receive(socket.as_fd()).map_err(tell)?
    else {
        return Err("started without a supervisor".into());
    };
    let (mut link, mut listeners, mut image, mut userdb) = (None, Vec::new(), None, Vec::new());
    for (what, fd) in passed.into_iter().zip(fds) {
        match what {
            Passed::Link(Role::Record) => link = Some(UnixStream::from(fd)),
            Passed::Listener(decoy) => listeners.push((decoy, TcpListener::from(fd))),
            Passed::Image => image = Some(File::from(fd)),
            Passed::UserDb => userdb = super::decoys::read_passed(File::from(fd)),
            Passed::Link(_) | Passed::Requests | Passed::Console => {}
        }
    }
    let link = link.ok_or("started without a link to the record")?;
    let missing = confine::confine(Role::Front, &data, &[]);

    // From here on there may be threads.
    let recorder = LinkRecorder::start(link, |why| {
        say("front", &format!("{why}: every connection is closed"));
        std::process::exit(4);
    })
    .map_err(tell)?;
    recorder.set_events_per_second(settings.limits.events_per_second);
    let (stopper, stop) = Committer::new();
    let ending = Ending(stop);
    let settings = Arc::new(RwLock::new(Arc::new(*settings)));
    let (live, paced) = (settings.clone(), recorder.clone());
    let socket = Arc::new(socket);
    let orders = socket.clone();
    let (plants_in, plants) = channel();
    thread("control", move || {
        loop {
            match control::receive(orders.as_fd()) {
                Ok(Some((Order::Stop, _))) => stopper.committed(Mark(1)),
                Ok(Some((Order::Settings(new), _))) => {
                    paced.set_events_per_second(new.limits.events_per_second);
                    *live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(*new);
                }
                Ok(Some((Order::Plants(plants), _))) => drop(plants_in.send(plants)),
                Ok(Some(_)) => {}
                // Without a supervisor nobody would restart what fails: better no decoy than one that is not looked after.
                Ok(None) | Err(_) => std::process::exit(0),
            }
        }
    });
    let io = FrontIo {
        listeners,
        recorder,
        image,
        machine,
        userdb,
        plants: Arc::new(Mutex::new(plants)),
        seed,
        settings,
        ending,
    };
    let tell_ready = || {
        let _ = control::send(socket.as_fd(), &Report::Ready { missing }, &[]);
    };
    super::decoys::serve(io, tell_ready).map_err(|why| super::fatal(socket.as_fd(), why))
}
