//! What goes on in a machine that nobody touches: the lines that cron and timers log while a world lives.

use std::sync::Arc;
use turncoat_cover::Cover;
use turncoat_cover::past::lines::idle;
use turncoat_event::Time;
use turncoat_kernel::World;

/// The log is brought up to date at most this often.
const EVERY: i64 = 60;
/// A world that slept for longer tells only of the last of it, as one whose journal was cut.
const LONGEST: i64 = 21 * 86_400;

/// How far a world's log has been told.
#[derive(Clone)]
pub struct Life {
    cover: Arc<Cover>,
    unattended: bool,
    told: i64,
}

impl Life {
    /// Told up to `now`, seconds since the epoch. `unattended`: the machine upgrades itself.
    pub fn new(cover: &Cover, unattended: bool, now: i64) -> Life {
        Life {
            cover: Arc::new(cover.clone()),
            unattended,
            told: now,
        }
    }

    /// The machine was down: nothing happened up to `now`.
    pub fn down_until(&mut self, now: Time) {
        self.told = self.told.max(now.seconds());
    }

    /// Tells the world's log what happened since.
    pub fn tell(&mut self, world: &mut World, now: Time) {
        let now = now.seconds();
        if now < self.told + EVERY {
            return;
        }
        let from = self.told.max(now - LONGEST);
        self.told = now;
        let lines = idle(&self.cover, self.unattended, from, now);
        if !lines.is_empty() {
            world.log(&lines);
        }
    }
}
