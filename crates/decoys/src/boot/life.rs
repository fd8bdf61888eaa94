//! What goes on in a machine that nobody touches: the lines that cron and timers log while a world lives, and those of passwords that
//! were refused meanwhile.

use std::sync::Arc;
use turncoat_cover::Cover;
use turncoat_cover::past::lines::{Line, Says, idle};
use turncoat_cover::past::pids;
use turncoat_cover::past::refused::Refused;
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
    /// What runs by itself, seconds since the epoch.
    told: i64,
    /// Refused passwords, microseconds since the epoch.
    heard: u64,
}

fn micros(at: Time) -> u64 {
    u64::try_from(at.0 / 1_000).unwrap_or(0)
}

impl Life {
    /// Told up to `now`, seconds since the epoch. `unattended`: the machine upgrades itself.
    pub fn new(cover: &Cover, unattended: bool, now: i64) -> Life {
        Life {
            cover: Arc::new(cover.clone()),
            unattended,
            told: now,
            heard: now.max(0) as u64 * 1_000_000,
        }
    }

    /// The machine was down and has booted, as `cover` has it: nothing happened up to `now`.
    pub fn booted(&mut self, cover: &Cover, now: Time) {
        self.cover = Arc::new(cover.clone());
        self.told = self.told.max(now.seconds());
        self.heard = self.heard.max(micros(now));
    }

    /// Tells the world's log what happened since.
    pub fn tell(&mut self, world: &mut World, now: Time) {
        if now.seconds() >= self.told + EVERY {
            self.hear(world, &[], now);
        }
    }

    /// The same with passwords that were refused: what of them is later than what was told of others before.
    pub fn hear(&mut self, world: &mut World, refused: &[Refused], now: Time) {
        let (until, from) = (now.seconds(), self.told.max(now.seconds() - LONGEST));
        let mut lines = Vec::new();
        if from < until {
            lines = idle(&self.cover, self.unattended, from, until);
            self.told = until;
        }
        let new = self.heard + 1..=micros(now);
        lines.extend(
            refused
                .iter()
                .flat_map(Refused::lines)
                .filter(|l| new.contains(&l.at)),
        );
        lines.sort_by_key(|l| l.at);
        self.count(world, refused, &mut lines);
        if !lines.is_empty() {
            world.log(&lines);
        }
        let mut tries: Vec<_> = refused
            .iter()
            .flat_map(|r| r.tries.iter().map(move |t| (r, t)))
            .filter(|(_, t)| new.contains(&t.at))
            .collect();
        tries.sort_by_key(|(_, t)| t.at);
        for (r, t) in tries {
            world.log_in_btmp(r, t);
        }
        self.heard = self.heard.max(*new.end());
    }

    /// Numbers of processes rise with time: what cron started has one behind those that were there before.
    fn count(&self, world: &mut World, refused: &[Refused], lines: &mut [Line]) {
        let of_sshd = |pid: u32| {
            refused
                .iter()
                .any(|r| r.pid == pid || r.pid.saturating_add(1) == pid)
        };
        let mut ahead = world.pids_ahead();
        for l in lines {
            let Says::Program(_) = l.says else { continue };
            let idle = pids::at(self.cover.host.booted, (l.at / 1_000_000) as i64);
            if of_sshd(l.pid) {
                world.pid_was(l.pid.saturating_add(1));
                ahead = ahead.max(l.pid.saturating_add(2).saturating_sub(idle));
            } else {
                l.pid += ahead;
            }
        }
    }
}
