//! An actor whose world leaves memory, comes back, or is remembered meanwhile.

use super::actor::{Actor, Around, Next, Rest, State, lock};
use super::output::{submit, world_event};
use super::sleep::{self, Away, Keeping, Lost, Waking, Woke};
use super::slice::{AT_ONCE, SOON_ENOUGH};
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
        // One that waits stands where nobody finds it once the journal is cut.
        state.checkpoint = None;
        let checkpoint = sleep::due(&guest, keeping)
            .then(|| guest.checkpoint(checkpoint::LONGEST))
            .flatten();
        let bytes = guest.seal();
        let recorded = self.keep_journal(state, bytes, false, around.recorder);
        if let Some(checkpoint) = checkpoint {
            self.keep_checkpoint(checkpoint, &mut guest, keeping);
        }
        drop(guest);
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

    /// Writes a checkpoint where the journal needs room, everything that the guest made being handed out; remembers one that is
    /// written when there is a pause, or after a while. False if the record has stopped.
    pub(super) fn look_for_checkpoint(
        &self,
        state: &mut State,
        pause: bool,
        now: Time,
        around: &Around<'_>,
    ) -> bool {
        let Some(keeping) = around.keeping else {
            return true;
        };
        let Some(mut guest) = state.guest.take() else {
            return true;
        };
        if state.checkpoint.is_none() && sleep::crowded(&guest, keeping) {
            state.checkpoint = guest.checkpoint(AT_ONCE).map(|c| (c, now));
        }
        let ready = |(_, since): &mut (Checkpoint, Time)| pause || now.since(*since) >= SOON_ENOUGH;
        let mut recorded = true;
        if let Some((checkpoint, _)) = state.checkpoint.take_if(ready) {
            // What leads there goes first.
            let rest = guest.rest_of_it();
            recorded = self.keep_journal(state, rest, false, around.recorder);
            self.keep_checkpoint(checkpoint, &mut guest, keeping);
        }
        state.guest = Some(guest);
        recorded
    }

    /// Remembers a checkpoint, of a guest all of whose journal up to there is handed over. Where the journal needs room, what lies
    /// before the checkpoint goes.
    pub(super) fn keep_checkpoint(
        &self,
        mut checkpoint: Checkpoint,
        guest: &mut Journaled,
        keeping: &Keeping,
    ) {
        let bytes = checkpoint.pack();
        // One that will not be kept is nothing to begin at.
        if guest.is_crowded()
            && bytes.len() as u64 <= keeping.checkpoints
            && let Some(cut) = guest.cut(&mut checkpoint)
        {
            return keeping.cellar.cut_journal(self.id, cut, checkpoint.pack());
        }
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
