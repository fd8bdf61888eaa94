//! Runs a journal again.

use turncoat_event::{SessionId, Time};

use super::door::Sum;
use super::{Damaged, Entry, Reader, SLICE};
use crate::worlds::{Conn, Guest, Produced};

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
    sum: Sum,
    made: Vec<Produced>,
    inputs: u64,
    seals: u64,
}

impl<'a, G: Guest> Rerun<'a, G> {
    /// `guest` is born as the journal's birth says.
    pub fn new(reader: Reader<'a>, guest: G) -> Rerun<'a, G> {
        Rerun {
            reader,
            guest,
            sum: Sum::default(),
            made: Vec::new(),
            inputs: 0,
            seals: 0,
        }
    }

    /// Runs to the end; `show` sees every step, with the guest, so that more can be asked of it than the first time.
    pub fn run(&mut self, show: &mut dyn FnMut(Step<'_>, &mut G)) -> Report {
        let ended = loop {
            match self.reader.next_entry() {
                Ok(Some(Entry::Full)) => break Ended::Full,
                Ok(Some(entry)) => {
                    if let Some(ended) = self.step(entry, show) {
                        break ended;
                    }
                }
                Ok(None) => break Ended::Whole,
                Err(damaged) => break Ended::Damaged(damaged),
            }
        };
        Report {
            inputs: self.inputs,
            made: self.sum.count,
            retired: self.guest.retired(),
            seals: self.seals,
            digest: self.sum.digest(),
            ended,
        }
    }

    /// The guest as the run left it.
    pub fn into_guest(self) -> G {
        self.guest
    }

    fn step(&mut self, entry: Entry, show: &mut dyn FnMut(Step<'_>, &mut G)) -> Option<Ended> {
        self.inputs += 1;
        match entry {
            Entry::Open {
                session,
                channel,
                open,
            } => {
                let conn = self.guest.open(&open).ok();
                let step = Step::Opened {
                    session,
                    channel,
                    conn,
                };
                show(step, &mut self.guest);
            }
            Entry::Input(conn, input) => self.guest.input(conn, input),
            Entry::Password { user, hash } => self.guest.set_password(&user, &hash),
            Entry::Key { user, line } => self.guest.add_key(&user, &line),
            Entry::Connect(user, to) => drop(self.guest.connect(&user, &to)),
            Entry::Listen(user, door) => drop(self.guest.listen(&user, &door)),
            Entry::Unlisten(id) => self.guest.unlisten(id),
            Entry::Run { now, slices } => {
                for _ in 0..slices {
                    let before = self.guest.retired();
                    self.guest.run(SLICE, now);
                    self.made.clear();
                    self.guest.drain(&mut self.made);
                    self.made.iter().for_each(|p| self.sum.add(p));
                    let step = Step::Made { now, all: &self.made };
                    show(step, &mut self.guest);
                    // A damaged journal may name more slices than there ever were: an idle guest needs none of them.
                    if self.guest.retired() == before && self.made.is_empty() && slices > 1 << 20 {
                        return Some(Ended::Damaged(Damaged("slices without work")));
                    }
                }
            }
            Entry::Seal { retired, digest } => {
                let here = self.guest.retired();
                if here != retired || digest != self.sum.digest() {
                    return Some(Ended::Diverged {
                        recorded: retired,
                        here,
                    });
                }
                self.seals += 1;
            }
            Entry::Full => return Some(Ended::Full),
        }
        None
    }
}
