//! The thread that writes the record: takes work, commits it in batches, and tells front how far it has come.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use turncoat_event::kinds::SystemRecovered;
use turncoat_event::{Committer, Draft, Item, Mark, SessionId, WorldId};
use turncoat_store::{Layout, Problem, StoreError, Writer, journal, recording};

use super::link::{Message, Part, VERSION, encode, pieces};
use super::record::{Shared, Work, degraded};
use super::{now, say};

/// A batch is committed when it has so many items.
const BATCH: usize = 4096;
/// Below so many free bytes no new sessions begin.
const ROOM: u64 = 64 << 20;

/// The writing thread.
pub(super) struct Scribe {
    pub(super) writer: Writer,
    pub(super) shared: Arc<Shared>,
    pub(super) committer: Committer,
    pub(super) close: Sender<Closed>,
    pub(super) front: Option<UnixStream>,
    pub(super) life: u64,
    pub(super) mark: Mark,
}

impl Scribe {
    /// Works until it is told to stop.
    ///
    /// # Errors
    /// Something that will never be recorded: one line for the operator. Nobody was answered for it.
    pub(super) fn run(mut self, work: &Receiver<Work>) -> Result<(), String> {
        let mut batch: Vec<Item> = Vec::new();
        let mut looked = Instant::now();
        loop {
            // Also under load: a busy record is the one that fills a disk.
            if looked.elapsed() >= Duration::from_millis(500) {
                self.look_for_room();
                looked = Instant::now();
            }
            // Wait for something, then take all that is there.
            let first = match work.recv_timeout(Duration::from_millis(500)) {
                Ok(work) => work,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let mut other = self.gather(first, &mut batch);
            while other.is_none()
                && batch.len() < BATCH
                && let Ok(more) = work.try_recv()
            {
                other = self.gather(more, &mut batch);
            }
            if !batch.is_empty() {
                self.commit(&mut batch)?;
            }
            match other {
                None | Some(Work::Items { .. } | Work::Own(_)) => {}
                Some(Work::Begin { life, to }) => self.begin(life, to),
                Some(Work::End { life }) if life == self.life => {
                    self.front = None;
                    self.close_interrupted();
                    let over = self.writer.end_worlds();
                    self.compress_journals(over);
                }
                Some(Work::End { .. }) => {}
                Some(Work::Keep(world, kept)) => {
                    let done = self.writer.keep_world(world, &kept);
                    self.of_world(done);
                }
                Some(Work::Disk(world, bytes)) => {
                    let done = self.writer.keep_disk(world, &bytes);
                    self.of_world(done);
                }
                Some(Work::Checkpoint(world, (at, most), bytes)) => {
                    let done = self.writer.keep_checkpoint(world, at, &bytes, most);
                    self.of_world(done);
                }
                // Another front may already write there as if it were whole.
                Some(Work::Cut {
                    life,
                    world,
                    from,
                    head,
                    checkpoint,
                }) if life == self.life => {
                    let done = self.writer.cut_journal(world, from, &head, &checkpoint);
                    self.of_world(done);
                }
                Some(Work::Cut { .. }) => {}
                Some(Work::Fetch { life, world }) if life == self.life => self.fetch(world),
                Some(Work::Fetch { .. }) => {}
                Some(Work::Ask(ask)) => {
                    ask(&mut self.writer);
                    self.announce();
                }
                Some(Work::Stop) => return Ok(()),
            }
        }
    }

    /// A world that could not be put away is one that cannot be gone on with as it was: nothing that was answered is lost.
    fn of_world(&self, done: Result<(), StoreError>) {
        if let Err(error) = done {
            say("record", &format!("a world is not remembered: {error}"));
        }
    }

    /// Gives front what there is of a world, in pieces.
    fn fetch(&mut self, world: WorldId) {
        let (journal, disk, checkpoint) = self.writer.stored_world(world).unwrap_or_else(|error| {
            say("record", &format!("a world cannot be read: {error}"));
            Default::default()
        });
        for (part, bytes) in [
            (Part::Journal, journal),
            (Part::Disk, disk),
            (Part::Checkpoint, checkpoint),
        ] {
            for (bytes, last) in pieces(&bytes) {
                self.tell_front(&Message::Stored {
                    world,
                    part,
                    last,
                    bytes,
                });
            }
        }
    }

    /// A front begins. It is told first what was sent today and who took which bait, then whether it may let anybody in.
    fn begin(&mut self, life: u64, mut to: UnixStream) {
        // The end of the one before may be told later than the beginning of the next.
        self.close_interrupted();
        let over = self.writer.end_worlds();
        self.compress_journals(over);
        let mut bytes = Vec::new();
        encode(&Message::Hello(VERSION), &mut bytes);
        super::before::tell(&self.writer, &self.shared.layout, &mut bytes);
        match self.writer.kept_worlds() {
            Ok(kept) => kept
                .into_iter()
                .for_each(|(world, said)| encode(&Message::Kept(world, said), &mut bytes)),
            Err(error) => say("record", &format!("worlds of before: {error}")),
        }
        let fine = self.shared.status().problem.is_none();
        encode(&Message::Accepting(fine), &mut bytes);
        let _ = to.write_all(&bytes);
        (self.front, self.life, self.mark) = (Some(to), life, Mark::NONE);
    }

    /// Ends in the record what a front that is gone left open.
    fn close_interrupted(&mut self) {
        match self.writer.close_interrupted(now()) {
            Ok(sessions) => self.compress_later(sessions),
            Err(error) => say("record", &error.to_string()),
        }
        self.announce();
    }

    /// Puts work into the batch; gives back what is not for a batch.
    fn gather(&mut self, work: Work, batch: &mut Vec<Item>) -> Option<Work> {
        match work {
            Work::Items { life, items } if life == self.life => {
                for (mark, item) in items {
                    self.mark = mark;
                    batch.push(item);
                }
                None
            }
            // The rest of a front that is gone: nobody was answered.
            Work::Items { .. } => None,
            Work::Own(draft) => {
                batch.push(Item::Event(draft));
                None
            }
            other => Some(other),
        }
    }

    /// Commits the batch and tells front, or fails without telling: then this process must end.
    fn commit(&mut self, batch: &mut Vec<Item>) -> Result<(), String> {
        let mut pause = Duration::from_millis(50);
        loop {
            match self.writer.append(batch) {
                Ok((_, closed)) => {
                    self.compress_later(closed);
                    let over = self.writer.ended_worlds();
                    self.compress_journals(over);
                    break;
                }
                Err(StoreError::Refused(why)) => {
                    // Only our own processes make items, so this is a fault of ours. To go on would be to answer what is not
                    // on record (front is told a mark, not items), to try again would last for ever: the program ends.
                    return Err(format!(
                        "a batch of {} items cannot be recorded, and nothing of it is answered: {why}",
                        batch.len()
                    ));
                }
                Err(error) => {
                    self.trouble(&error);
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
            }
        }
        batch.clear();
        self.recovered();
        self.tell_front(&Message::Committed(self.mark));
        self.announce();
        Ok(())
    }

    fn compress_later(&self, sessions: Vec<SessionId>) {
        for session in sessions {
            let _ = self.close.send(Closed::Recording(session));
        }
    }

    fn compress_journals(&self, worlds: Vec<WorldId>) {
        for world in worlds {
            let _ = self.close.send(Closed::Journal(world));
        }
    }

    fn announce(&mut self) {
        self.committer.committed(Mark(self.writer.last_seq()));
        let mut status = self.shared.status();
        status.open = self.writer.open_sessions();
        status.committed_at = Some(Instant::now());
    }

    fn tell_front(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        encode(message, &mut bytes);
        if let Some(to) = &mut self.front
            && to.write_all(&bytes).is_err()
        {
            self.front = None;
        }
    }

    fn trouble(&mut self, error: &StoreError) {
        let name = error.problem().name();
        let mut text = error.to_string();
        match error.problem() {
            Problem::DiskFull => {
                text.push_str("; no new sessions until there is room, what is recorded stays")
            }
            Problem::ReadOnly => text.push_str("; no new sessions until it can be written again"),
            Problem::Corrupt | Problem::Other => {}
        }
        self.set_problem(name, &text);
    }

    fn set_problem(&mut self, name: &str, text: &str) {
        let known = self
            .shared
            .status()
            .problem
            .replace((name.to_owned(), text.to_owned()));
        if known.is_none_or(|(n, _)| n != name) {
            say("record", &format!("{name}: {text}"));
        }
        self.tell_front(&Message::Accepting(false));
    }

    /// Before the disk is full: with little room left no new sessions begin, while what is open can still be written.
    fn look_for_room(&mut self) {
        let Ok(stat) = rustix::fs::statvfs(self.shared.layout.root()) else {
            return;
        };
        let room = stat.f_bavail.saturating_mul(stat.f_frsize);
        let problem = self.shared.status().problem.clone();
        match problem {
            None if room < ROOM => {
                let text = format!(
                    "only {} left for {}; no new sessions until there is room, what is recorded stays",
                    crate::show::size(room),
                    self.shared.layout.root().display()
                );
                self.set_problem("disk-full", &text);
                self.own_now(degraded("disk-full", &text));
            }
            Some((name, _)) if name == "disk-full" && room > ROOM * 2 => self.recovered_from(&name),
            _ => {}
        }
    }

    /// After a commit that worked: trouble of the kind that a commit shows is over.
    fn recovered(&mut self) {
        let problem = self.shared.status().problem.clone();
        if let Some((name, _)) = problem {
            let room = rustix::fs::statvfs(self.shared.layout.root())
                .map_or(u64::MAX, |s| s.f_bavail.saturating_mul(s.f_frsize));
            if name != "disk-full" || room > ROOM {
                self.recovered_from(&name);
            }
        }
    }

    fn recovered_from(&mut self, name: &str) {
        self.shared.status().problem = None;
        say("record", &format!("{name} is over; new sessions may begin"));
        self.tell_front(&Message::Accepting(true));
        let over = SystemRecovered {
            problem: name.into(),
            detail: "the record can be written again".into(),
        };
        self.own_now(Draft::of_system(now(), over));
    }

    fn own_now(&mut self, draft: Draft) {
        if self.writer.append(&[draft.into()]).is_ok() {
            self.announce();
        }
    }
}

/// Something that does not grow any more.
pub(super) enum Closed {
    Recording(SessionId),
    Journal(WorldId),
}

/// Compresses the recordings of closed sessions and the journals of worlds that are over, and what an earlier run left.
pub(super) fn compress(layout: &Layout, closed: &Receiver<Closed>) {
    while let Ok(closed) = closed.recv() {
        let done = match closed {
            Closed::Recording(session) => recording::compress(layout, session),
            Closed::Journal(world) => journal::compress(layout, world),
        };
        if let Err(error) = done {
            // It stays raw and readable; the next start tries no more than what it closes itself.
            say(
                "record",
                &format!("a recording or journal stays uncompressed: {error}"),
            );
        }
    }
}
