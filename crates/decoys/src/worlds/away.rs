//! An actor whose world leaves memory, comes back, or is remembered meanwhile.

use super::actor::{Actor, Around, Next, Rest, State, lock, submit, world_event};
use super::sleep::{self, Away, Keeping, Lost, Waking, Woke};
use crate::journal::{Checkpoint, Journaled, checkpoint};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::Ordering;
use turncoat_event::{Time, kinds};

impl Actor {
    /// One step of a world that is not in memory.
    pub(super) fn wake_up(
        &self,
        state: &mut State,
        now: Time,
        around: &Around<'_>,
        keeping: &Keeping,
    ) -> Next {
        let woke = match state.stored.take() {
            Some(Away::Stored) => {
                let wanted = !lock(&self.inbox).is_empty() || state.due.is_some_and(|d| d <= now);
                state.stored = Some(if wanted { Away::Asked } else { Away::Stored });
                return if wanted {
                    Next::Fetch
                } else {
                    Next::Sleep(state.due)
                };
            }
            Some(Away::Asked) => {
                state.stored = Some(Away::Asked);
                return Next::Sleep(None);
            }
            Some(Away::Here(stored)) if state.disk_only => Woke::No(Lost {
                why: "its journal ends before it did".into(),
                disk: stored.disk,
                used: None,
            }),
            Some(Away::Here(stored)) => Waking::begin(stored, keeping),
            Some(Away::Waking(waking)) => waking.go(keeping, around.journal),
            None => return Next::Gone,
        };
        let (guest, how, why, spent) = match woke {
            Woke::Not(waking) => {
                state.stored = Some(Away::Waking(waking));
                return Next::Again;
            }
            Woke::AsItWas(guest, back) => (*guest, back.how, back.why, back.spent),
            Woke::No(lost) => {
                let (guest, how) = sleep::reborn(around.make, &lost, now, around.journal);
                state.disk_only = lost.used.is_none();
                (guest, how, Some(lost.why), std::time::Duration::ZERO)
            }
        };
        self.comes_back(state, guest, now);
        let event = kinds::WorldWake {
            how: how.into(),
            why,
            milliseconds: spent.as_millis() as u64,
        };
        if let Some(mark) = submit(around.recorder, world_event(self.id, now, event)) {
            state.mark = state.mark.max(mark);
        }
        Next::Again
    }

    fn comes_back(&self, state: &mut State, guest: Journaled, now: Time) {
        {
            let mut who = lock(&self.who);
            who.accounts = guest.accounts();
            who.given.clear();
        }
        self.accounts_changed.store(true, Ordering::Release);
        state.guest = Some(guest);
        state.quiet = None;
        state.saved = (now, 0, 0);
        state.save_at = None;
        self.set_rest(Rest::Awake);
    }

    /// Puts the world away, if nobody is in it and nothing of it would be lost. False if it stays.
    pub fn hibernate(&self, now: Time, around: &Around<'_>) -> bool {
        let mut state = lock(&self.state);
        let due = state.quiet.and_then(|q| q.due);
        self.put_away(&mut state, now, due, around)
    }

    pub(super) fn put_away(
        &self,
        state: &mut State,
        now: Time,
        due: Option<Time>,
        around: &Around<'_>,
    ) -> bool {
        let Some(keeping) = around.keeping else {
            return false;
        };
        if !state.logins.is_empty() || !state.doors.is_empty() || !lock(&self.inbox).is_empty() {
            return false;
        }
        let Some(mut guest) = state.guest.take() else {
            return false;
        };
        if let Some(disk) = guest.disk() {
            keeping.cellar.keep_disk(self.id, disk);
        }
        let instructions = guest.retired();
        let checkpoint = sleep::due(&guest, keeping, 0)
            .then(|| guest.checkpoint(checkpoint::LONGEST))
            .flatten();
        let bytes = guest.seal();
        drop(guest);
        let recorded = self.keep_journal(state, bytes, false, around.recorder);
        if let Some(checkpoint) = checkpoint {
            self.keep_checkpoint(&checkpoint, keeping);
        }
        let kept = sleep::kept(self, state.last_used, due, state.disk_only, around.start);
        keeping.cellar.keep(self.id, &kept);
        (state.stored, state.due, state.quiet) = (Some(Away::Stored), due, None);
        state.produced = Vec::new();
        self.set_rest(Rest::Hibernated);
        let event = kinds::WorldEnd {
            reason: "hibernated".into(),
            instructions,
        };
        recorded && submit(around.recorder, world_event(self.id, now, event)).is_some()
    }

    /// Remembers a checkpoint.
    pub(super) fn keep_checkpoint(&self, checkpoint: &Checkpoint, keeping: &Keeping) {
        let bytes = checkpoint.pack();
        keeping
            .cellar
            .keep_checkpoint(self.id, checkpoint.at, bytes, keeping.checkpoints);
    }

    /// Remembers the disk at once, if somebody is here or has left since it was remembered.
    pub fn save_left(&self, now: Time, around: &Around<'_>) {
        let mut state = lock(&self.state);
        if state.save_at.is_some() || !state.logins.is_empty() {
            let due = state.quiet.and_then(|q| q.due);
            self.save(&mut state, now, due, around);
        }
    }

    /// Remembers the world's disk and what is due in it: soon after the end of a session, and now and then while one lasts.
    pub(super) fn save(&self, state: &mut State, now: Time, due: Option<Time>, around: &Around<'_>) {
        let Some(keeping) = around.keeping else { return };
        let Some(guest) = state.guest.as_mut() else { return };
        let ran = guest.retired();
        if ran != state.saved.1 {
            let mut hash = DefaultHasher::new();
            if let Some(disk) = guest.disk() {
                disk.hash(&mut hash);
                if hash.finish() != state.saved.2 {
                    keeping.cellar.keep_disk(self.id, disk);
                }
            }
            state.saved = (now, ran, hash.finish());
        }
        state.saved.0 = now;
        state.save_at = None;
        let kept = sleep::kept(self, state.last_used, due, state.disk_only, around.start);
        keeping.cellar.keep(self.id, &kept);
    }
}
