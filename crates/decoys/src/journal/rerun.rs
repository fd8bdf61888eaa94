//! Runs a journal again.

use turncoat_event::{SessionId, Time};

use super::{Birth, Checkpoint, Damaged, Entry, Left, Reader, SLICE};
use crate::worlds::{Conn, Guest, Input, Produced};

/// Bytes of a disk that are collected.
const DISK: usize = 128 << 20;

/// What a rerun shows while it goes on.
#[derive(Debug)]
pub enum Step<'a> {
    /// A login begins; `conn` is its number, if the machine let it in.
    Opened {
        /// Whose.
        session: Option<SessionId>,
        /// The channel of the session.
        channel: u16,
        /// The login.
        conn: Option<Conn>,
    },
    /// A slice made this.
    Made {
        /// The reading of the clock that it ran under.
        now: Time,
        /// What it made.
        all: &'a [Produced],
    },
}

/// Where a rerun ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With the journal.
    Whole,
    /// The journal had reached its bound; the world ran on unwritten.
    Full,
    /// The run was to begin at the birth, and what followed that was dropped.
    Cut,
    /// The run is not the one that was recorded.
    Diverged {
        /// Instructions of the first run at the first seal that does not fit.
        recorded: u64,
        /// Instructions of this run there.
        here: u64,
    },
    /// The journal cannot be read on.
    Damaged(Damaged),
}

/// What a rerun was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Entries that were fed in.
    pub inputs: u64,
    /// Things that came out.
    pub made: u64,
    /// Instructions retired.
    pub retired: u64,
    /// Seals that were compared and agree.
    pub seals: u64,
    /// The digest over everything that came out.
    pub digest: [u8; 16],
    /// How it ended.
    pub ended: Ended,
}

/// A journal on its way through a guest.
pub struct Rerun<'a, G> {
    reader: Reader<'a>,
    guest: G,
    left: Left,
    made: Vec<Produced>,
    inputs: u64,
    seals: u64,
    /// Slices that are still to be run at the last reading of the clock.
    slices: u64,
    /// More of them than there can be without work: none may be idle.
    many: bool,
    /// Pieces of a disk.
    disk: Vec<u8>,
}

impl<'a, G: Guest> Rerun<'a, G> {
    /// `guest` is born as the journal's birth says.
    pub fn new(reader: Reader<'a>, guest: G) -> Rerun<'a, G> {
        Rerun {
            left: Left::new(reader.birth()),
            reader,
            guest,
            made: Vec::new(),
            inputs: 0,
            seals: 0,
            slices: 0,
            many: false,
            disk: Vec::new(),
        }
    }

    /// Goes on from a checkpoint instead: `life` is where the life that is read begins in the journal's file. On an error nothing has
    /// changed.
    ///
    /// # Errors
    /// One line: why the checkpoint is of no use.
    pub fn begin_at(&mut self, checkpoint: &Checkpoint, life: u64) -> Result<(), String> {
        let (left, guest) = checkpoint.open(self.reader.birth())?;
        let at = checkpoint
            .at
            .checked_sub(life)
            .and_then(|at| usize::try_from(at).ok());
        let at = at.ok_or("the checkpoint cannot be used: it belongs to another life of its world")?;
        // The guest last: it is not to be changed if the journal does not fit.
        let mut reader = self.reader.clone();
        reader.skip_to(at, left.last).map_err(|e| e.to_string())?;
        self.guest
            .thaw(guest)
            .map_err(|e| format!("the checkpoint cannot be used: {e}"))?;
        (self.reader, self.left) = (reader, left);
        Ok(())
    }

    /// What the guest was born from.
    pub fn birth(&self) -> &Birth {
        self.reader.birth()
    }

    /// Where the next entry begins, in bytes from where this life does.
    pub fn position(&self) -> usize {
        self.reader.position()
    }

    /// Runs to the end; `show` sees every step, with the guest, so that more can be asked of it than the first time.
    pub fn run(&mut self, show: &mut dyn FnMut(Step<'_>, &mut G)) -> Report {
        let ended = loop {
            if let Some(ended) = self.go(u64::MAX, show) {
                break ended;
            }
        };
        self.report(ended)
    }

    /// Runs at most so many slices; gives how it ended, once it has.
    pub fn go(&mut self, most: u64, show: &mut dyn FnMut(Step<'_>, &mut G)) -> Option<Ended> {
        let mut ran = 0;
        loop {
            if self.slices > 0 {
                if ran == most {
                    return None;
                }
                ran += 1;
                if let Some(ended) = self.slice(show) {
                    return Some(ended);
                }
                continue;
            }
            match self.reader.next_entry() {
                Ok(Some(Entry::Full)) => return Some(Ended::Full),
                Ok(Some(entry)) => {
                    if let Some(ended) = self.step(entry, show) {
                        return Some(ended);
                    }
                }
                Ok(None) => return Some(Ended::Whole),
                Err(damaged) => return Some(Ended::Damaged(damaged)),
            }
        }
    }

    fn report(&self, ended: Ended) -> Report {
        Report {
            inputs: self.inputs,
            made: self.left.sum.count,
            retired: self.guest.retired(),
            seals: self.seals,
            digest: self.left.sum.digest(),
            ended,
        }
    }

    /// True where the journal ended with its last entry, so that more can be written behind it.
    pub fn is_at_the_end(&self) -> bool {
        self.reader.ended()
    }

    /// The guest and what else the run left.
    pub fn into_parts(self) -> (G, Left) {
        (self.guest, self.left)
    }

    /// The guest as the run left it.
    pub fn into_guest(self) -> G {
        self.guest
    }

    fn slice(&mut self, show: &mut dyn FnMut(Step<'_>, &mut G)) -> Option<Ended> {
        self.slices -= 1;
        let before = self.guest.retired();
        let now = self.left.last;
        self.guest.run(SLICE, now);
        self.made.clear();
        self.guest.drain(&mut self.made);
        for p in &self.made {
            self.left.saw(p);
        }
        show(Step::Made { now, all: &self.made }, &mut self.guest);
        // A damaged journal may name more slices than there ever were: an idle guest needs none of them.
        let idle = self.guest.retired() == before && self.made.is_empty();
        (self.many && idle).then_some(Ended::Damaged(Damaged("slices without work")))
    }

    fn step(&mut self, entry: Entry, show: &mut dyn FnMut(Step<'_>, &mut G)) -> Option<Ended> {
        self.inputs += 1;
        let left = &mut self.left;
        match entry {
            Entry::Open {
                session,
                channel,
                open,
            } => {
                let conn = self.guest.open(&open).ok();
                left.open.extend(conn);
                let step = Step::Opened {
                    session,
                    channel,
                    conn,
                };
                show(step, &mut self.guest);
            }
            Entry::Input(conn, input) => {
                if input == Input::Close {
                    left.closed(conn);
                }
                self.guest.input(conn, input);
            }
            Entry::Password { user, hash } => self.guest.set_password(&user, &hash),
            Entry::Key { user, line } => self.guest.add_key(&user, &line),
            Entry::Refused(now, refused) => self.guest.refused(&refused, now),
            Entry::Connect(user, to) => left.open.extend(self.guest.connect(&user, &to).ok()),
            Entry::Listen(user, door) => left.doors.extend(self.guest.listen(&user, &door).map(|o| o.id)),
            Entry::Unlisten(id) => {
                left.doors.remove(&id);
                self.guest.unlisten(id);
            }
            Entry::Hold(conn, on) => {
                left.holds(conn, on);
                self.guest.hold(conn, on);
            }
            Entry::Disk(piece) if self.disk.len() < DISK => self.disk.extend(piece),
            Entry::Disk(_) => return Some(Ended::Damaged(Damaged("a disk is too large"))),
            Entry::Boots(now) => {
                let disk = std::mem::take(&mut self.disk);
                // One that cannot be read was of no use the first time, too.
                let _ = self.guest.restore(&disk, now);
            }
            Entry::Run { now, slices } => {
                left.last = now;
                self.slices = slices;
                self.many = slices > 1 << 20;
            }
            Entry::Seal { retired, digest } => {
                let here = self.guest.retired();
                if here != retired || digest != left.sum.digest() {
                    return Some(Ended::Diverged {
                        recorded: retired,
                        here,
                    });
                }
                self.seals += 1;
            }
            Entry::Checkpoint => left.sum.fold(),
            Entry::Cut => return Some(Ended::Cut),
            Entry::Full => return Some(Ended::Full),
        }
        None
    }
}
