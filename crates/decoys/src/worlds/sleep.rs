//! Worlds that are not in memory: how one is put away, and how it comes back.
//!
//! A world that hibernates leaves its journal (complete, in the record) and its disk. When it is wanted, its journal is run to its end
//! in slices between those of other worlds, and it goes on from there as if nothing had been. Where that cannot be done (another
//! build, image or cover; a journal that was cut, is damaged or takes too long), a machine is made anew, gets the disk and boots: to
//! whoever knew it, it has been rebooted. The record is reached by a [`Cellar`] and nothing else.

use super::actor::Actor;
use super::{Guest, Journaled};
use crate::auth::Accounts;
use crate::journal::{Birth, Checkpoint, Cut, Ended, Reader, Rerun, lives};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use turncoat_event::{SessionId, Time, WorldId};

/// What is known of a world while it is not in memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// Whose it is; `None`: everybody's.
    pub source: Option<IpAddr>,
    /// When somebody was last in it.
    pub used: Time,
    /// When something is due in it.
    pub due: Option<Time>,
    /// Who may log in, if that is not as on a fresh machine.
    pub accounts: Option<Accounts>,
    /// Who changed an account last.
    pub by: Vec<(Vec<u8>, SessionId)>,
    /// Its journal ends before it does: only its disk is of use.
    pub disk_only: bool,
}

/// What the record has of a world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Its journal as far as it was committed; empty if there is none.
    pub journal: Vec<u8>,
    /// Its disk; empty if there is none.
    pub disk: Vec<u8>,
    /// The newest checkpoint in its journal; empty if there is none.
    pub checkpoint: Vec<u8>,
}

/// Takes what the record has of a world.
pub type Take = Box<dyn FnOnce(Stored) + Send>;

/// Where worlds lie that are not in memory: the record.
pub trait Cellar: Send + Sync {
    /// Remembers a world, or what has become of it.
    fn keep(&self, world: WorldId, kept: &Kept);
    /// Remembers its disk, in place of the one before.
    fn keep_disk(&self, world: WorldId, disk: Vec<u8>);
    /// Remembers a checkpoint that stands in its journal at byte `at`; the oldest go where all of this world's are more than `most`
    /// bytes.
    fn keep_checkpoint(&self, world: WorldId, at: u64, checkpoint: Vec<u8>, most: u64);
    /// Drops what lies before a checkpoint in a world's journal, and all other checkpoints with it. This one stands at the end of
    /// `cut.head` then.
    fn cut_journal(&self, world: WorldId, cut: Cut, checkpoint: Vec<u8>);
    /// The world will not be asked for again.
    fn forget(&self, world: WorldId);
    /// Asks for what is there of a world. `take` is called later, on some thread.
    fn fetch(&self, world: WorldId, take: Take);
}

/// Makes the machine that a journal's birth names.
pub type Again = Arc<dyn Fn(&Birth) -> Result<Box<dyn Guest>, String> + Send + Sync>;

/// How worlds are put away.
pub struct Keeping {
    /// Where.
    pub cellar: Arc<dyn Cellar>,
    /// Makes the machine again that a journal began with.
    pub again: Again,
    /// Most time that running a journal may take.
    pub resume: Duration,
    /// A world that nobody is in, and in which nothing is due, leaves memory after this time.
    pub after: Duration,
    /// Hibernated worlds are forgotten when nobody has come for so long.
    pub age: Duration,
    /// Hibernated worlds there are at most.
    pub most: usize,
    /// Bytes of all checkpoints of one world; 0: there are none.
    pub checkpoints: u64,
}

/// A world that is not in memory.
pub(super) enum Away {
    /// It lies in the record.
    Stored,
    /// The record has been asked for it.
    Asked,
    /// The record has answered.
    Here(Stored),
    /// Its journal is running.
    Waking(Box<Waking>),
}

/// A journal that runs so that its world can go on.
pub(super) struct Waking {
    rerun: Rerun<'static, Box<dyn Guest>>,
    disk: Vec<u8>,
    /// Bytes of the journal.
    used: u64,
    /// It ends with an entry, so that more can be written behind it.
    whole: bool,
    spent: Duration,
    /// It began at a checkpoint; what there is, should that have been of no use after all.
    from: Option<Stored>,
    /// Why a checkpoint was passed over.
    passed_over: Option<String>,
}

/// How a world came back as it was.
pub(super) struct Back {
    /// `checkpoint` or `journal`.
    pub how: &'static str,
    /// Why a checkpoint was passed over.
    pub why: Option<String>,
    /// What running the journal took.
    pub spent: Duration,
}

/// Why a world is not as it was, and what there is of it.
pub(super) struct Lost {
    pub why: String,
    pub disk: Vec<u8>,
    /// Bytes of the journal that a new life is written behind; `None`: it cannot be.
    pub used: Option<u64>,
}

/// How waking up went on.
pub(super) enum Woke {
    /// Not at its end yet.
    Not(Box<Waking>),
    /// The world is as it was.
    AsItWas(Box<Journaled>, Back),
    /// It cannot be.
    No(Lost),
}

/// Slices of a journal that run at once.
const AT_ONCE: u64 = 4;

impl Waking {
    /// Begins to run a journal.
    pub fn begin(stored: Stored, keeping: &Keeping) -> Woke {
        Waking::begin_with(stored, keeping, None)
    }

    /// `passed_over`: why a checkpoint was of no use.
    fn begin_with(stored: Stored, keeping: &Keeping, mut passed_over: Option<String>) -> Woke {
        let Stored {
            journal,
            disk,
            checkpoint,
        } = stored;
        let used = journal.len() as u64;
        let began = Instant::now();
        let no = |why: String, disk, whole: bool| {
            Woke::No(Lost {
                why,
                disk,
                used: whole.then_some(used),
            })
        };
        if journal.is_empty() {
            return no("it has no journal".into(), disk, true);
        }
        let Some(last) = lives(&journal).last().copied() else {
            return no("its journal cannot be read".into(), disk, false);
        };
        // One of a life before is of no use, and no news.
        let checkpoint = Some(checkpoint).filter(|c| Checkpoint::place(c).is_some_and(|at| at > last as u64));
        let life = journal.get(last..).unwrap_or_default().to_vec();
        let whole = Reader::new(&life).is_ok_and(|mut r| {
            while let Ok(Some(_)) = r.next_entry() {}
            r.ended()
        });
        let reader = match Reader::new(life) {
            Ok(reader) => reader,
            Err(damaged) => return no(damaged.to_string(), disk, false),
        };
        match (keeping.again)(reader.birth()) {
            Err(why) => no(why, disk, whole),
            Ok(guest) => {
                let mut rerun = Rerun::new(reader, guest);
                let mut from = None;
                if let Some(bytes) = checkpoint {
                    match Checkpoint::unpack(&bytes).and_then(|c| rerun.begin_at(&c, last as u64)) {
                        Ok(()) => {
                            let disk = disk.clone();
                            from = Some(Stored {
                                journal,
                                disk,
                                checkpoint: Vec::new(),
                            });
                        }
                        Err(why) => passed_over = Some(why),
                    }
                }
                Woke::Not(Box::new(Waking {
                    rerun,
                    disk,
                    used,
                    whole,
                    spent: began.elapsed(),
                    from,
                    passed_over,
                }))
            }
        }
    }

    /// Runs on for a millisecond or some. `most` bounds the journal that is gone on with.
    pub fn go(mut self: Box<Self>, keeping: &Keeping, most: u64) -> Woke {
        let began = Instant::now();
        let ended = self.rerun.go(AT_ONCE, &mut |_, _| {});
        self.spent += began.elapsed();
        let why = match ended {
            None if self.spent <= keeping.resume => return Woke::Not(self),
            None => "its journal takes too long to run".into(),
            Some(Ended::Whole) if self.whole => {
                let back = Back {
                    how: if self.from.is_some() {
                        "checkpoint"
                    } else {
                        "journal"
                    },
                    why: self.passed_over,
                    spent: self.spent,
                };
                let birth = self.rerun.birth().clone();
                let (guest, left) = self.rerun.into_parts();
                let again = Journaled::again(guest, left, &birth, self.used, most);
                return Woke::AsItWas(Box::new(again), back);
            }
            // Not the run that was: from the birth it may be.
            Some(Ended::Diverged { .. }) if self.from.is_some() => {
                let stored = self.from.unwrap_or_default();
                let why = "the journal does not go on as the checkpoint does".to_owned();
                return Waking::begin_with(stored, keeping, Some(why));
            }
            Some(Ended::Whole) => "its journal is torn".into(),
            Some(Ended::Full) => "its journal reached limits.journal".into(),
            Some(Ended::Cut) => match self.passed_over {
                Some(why) => format!("its journal begins at a checkpoint; {why}"),
                None => "its journal begins at a checkpoint that is not there".into(),
            },
            Some(Ended::Diverged { .. }) => "its journal does not give the same run".into(),
            Some(Ended::Damaged(damaged)) => damaged.to_string(),
        };
        Woke::No(Lost {
            why,
            disk: self.disk,
            used: self.whole.then_some(self.used),
        })
    }
}

/// A checkpoint of a world that leaves memory is worth its bytes where waking would run so many instructions without it: some hundredths
/// of a second.
const WORTH: u64 = 20_000_000;
/// One in front of a session, which a rerun of that session begins at: people wait for reruns, not intruders.
const WORTH_OF_RERUN: u64 = 3 * WORTH;

/// Whether a checkpoint is to be written as a world leaves memory.
pub(super) fn due(guest: &Journaled, keeping: &Keeping) -> bool {
    is_worth(guest, keeping, WORTH)
}

/// Whether one is to be written in front of a session. Each that has `logins` open is so many shells larger: it has to be worth more,
/// unless the journal needs the room that it makes.
pub(super) fn due_before_session(guest: &Journaled, keeping: &Keeping, logins: usize) -> bool {
    let worth = if guest.is_crowded() {
        WORTH
    } else {
        WORTH_OF_RERUN.saturating_mul(logins as u64 + 1)
    };
    is_worth(guest, keeping, worth)
}

/// Whether the journal needs room, which a checkpoint now would make.
pub(super) fn crowded(guest: &Journaled, keeping: &Keeping) -> bool {
    guest.is_crowded() && due(guest, keeping)
}

fn is_worth(guest: &Journaled, keeping: &Keeping, instructions: u64) -> bool {
    keeping.checkpoints > 0 && guest.is_written() && guest.since_checkpoint() >= instructions
}

/// A machine made anew that has the disk of the one before. Its journal goes on behind the other life's. Gives how it was made,
/// `disk` or `fresh`.
pub(super) fn reborn(
    make: &super::pool::Make,
    lost: &Lost,
    now: Time,
    most: u64,
) -> (Journaled, &'static str) {
    let (disk, room) = (&lost.disk, most.saturating_sub(lost.used.unwrap_or(0)));
    let fresh = || {
        let (guest, birth) = make();
        Journaled::new(guest, &birth, room).behind(lost.used.unwrap_or(0))
    };
    let mut journaled = fresh();
    let mut how = "disk";
    if disk.is_empty() || journaled.restore(disk, now).is_err() {
        (journaled, how) = (fresh(), "fresh");
    }
    if lost.used.is_none() {
        journaled.unwritten();
    }
    (journaled, how)
}

/// A world's due time and who may log in to it, from the actor.
pub(super) fn kept(actor: &Actor, used: Time, due: Option<Time>, disk_only: bool, start: &Accounts) -> Kept {
    let (accounts, by) = actor.who();
    Kept {
        source: actor.source,
        used,
        due,
        accounts: (*accounts != *start).then(|| (*accounts).clone()),
        by,
        disk_only,
    }
}
