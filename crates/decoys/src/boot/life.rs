//! What goes on in a machine that nobody touches: the lines that cron and timers log while a world lives, what they do to files, and the
//! lines of passwords that were refused meanwhile.

use super::Below;
use super::parts::{self, file, moment};
use std::sync::Arc;
use turncoat_cover::past::chores::{self, Chore, Does, Has};
use turncoat_cover::past::lines::{Alone, CRON, Line, Says, idle};
use turncoat_cover::past::pids;
use turncoat_cover::past::refused::Refused;
use turncoat_cover::{Cover, File};
use turncoat_event::Time;
use turncoat_freeze::{Damaged, Freeze, In, Out};
use turncoat_kernel::World;
use turncoat_kernel::image::Image;

/// The log is brought up to date at most this often.
const EVERY: i64 = 60;
/// The log of a world that slept for longer tells only of the last of it, as a journal that was cut.
const LONGEST: i64 = 21 * 86_400;

/// How far a world's log has been told.
#[derive(Clone)]
pub struct Life {
    cover: Arc<Cover>,
    has: Has,
    /// When it booted last, if it did since it was made: seconds since the epoch.
    booted: Option<i64>,
    /// What runs by itself, seconds since the epoch.
    told: i64,
    /// Refused passwords, microseconds since the epoch.
    heard: u64,
}

fn micros(at: Time) -> u64 {
    u64::try_from(at.0 / 1_000).unwrap_or(0)
}

impl Life {
    /// Told up to `now`, seconds since the epoch.
    pub fn new(cover: &Cover, image: &Image, now: i64) -> Life {
        Life {
            cover: Arc::new(cover.clone()),
            has: Has::of(&Below(image)),
            booted: None,
            told: now,
            heard: now.max(0) as u64 * 1_000_000,
        }
    }

    /// The machine was down and has booted, as `cover` has it: nothing happened up to `now`.
    pub fn booted(&mut self, cover: &Cover, now: Time) {
        self.cover = Arc::new(cover.clone());
        self.booted = Some(cover.host.booted);
        self.told = self.told.max(now.seconds());
        self.heard = self.heard.max(micros(now));
    }

    /// Writes how far it has told.
    pub(super) fn put(&self, out: &mut Out) {
        // Cover and image are what the machine was made from.
        let Life {
            cover: _,
            has: _,
            booted,
            told,
            heard,
        } = self;
        (*booted, *told, *heard).put(None, out);
    }

    /// Takes it back, into one that has told nothing yet.
    pub(super) fn take(&self, cover: &Cover, from: &mut In<'_>) -> Result<Life, Damaged> {
        let (booted, told, heard): (Option<i64>, i64, u64) = Freeze::take(None, from)?;
        Ok(Life {
            cover: match booted {
                Some(at) => Arc::new(parts::after_boot(cover, at)),
                None => self.cover.clone(),
            },
            has: self.has,
            booted,
            told,
            heard,
        })
    }

    /// Tells the world what happened since. `job`: its nightly job is as it was, so that what it does is known.
    pub fn tell(&mut self, world: &mut World, now: Time, job: bool) {
        if now.seconds() >= self.told + EVERY {
            self.hear(world, &[], now, job);
        }
    }

    /// The same with passwords that were refused: what of them is later than what was told of others before.
    pub fn hear(&mut self, world: &mut World, refused: &[Refused], now: Time, job: bool) {
        let until = now.seconds();
        let (mut lines, mut done) = (Vec::new(), Vec::new());
        if self.told < until {
            let from = self.told.max(until - LONGEST);
            // Without cron nothing of its is done.
            let cron = world.daemon(b"cron").is_some();
            let alone = Alone {
                unattended: self.has.unattended,
                job: job && cron,
            };
            lines = idle(&self.cover, alone, from, until);
            if !cron {
                lines.retain(|l| l.says != Says::Program(CRON));
            }
            done = chores::draw(&self.cover, self.has, alone.job, self.told, until);
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
        let mut told = 0;
        for chore in &done {
            // What was said before a log is turned goes with it.
            if matches!(chore.does, Does::Turn(_)) {
                let before = lines.partition_point(|l| l.at < chore.at.max(0) as u64 * 1_000_000);
                say(world, lines.get(told..before));
                told = told.max(before);
            }
            does(world, chore, now);
        }
        say(world, lines.get(told..));
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

fn say(world: &mut World, lines: Option<&[Line]>) {
    if let Some(lines) = lines.filter(|l| !l.is_empty()) {
        world.log(lines);
    }
}

fn does(world: &mut World, chore: &Chore, now: Time) {
    let at = |f: &File| moment(chore.at, &f.path, 0, now);
    match &chore.does {
        Does::Append(f) => world.append_as(&file(f, now)),
        Does::Write(f) => world.write_as(&file(f, now)),
        Does::Touch(f) => world.touch_as(&file(f, now)),
        Does::Remove(f) => world.remove_as(&file(f, now), at(f)),
        Does::Save(what) => world.save(what, moment(chore.at, "/var/backups", 0, now)),
        Does::Turn(log) => world.turn(log, moment(chore.at, &log.path, 0, now)),
    }
}
