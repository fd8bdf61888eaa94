//! What a machine does by itself to files while it lives, beside what it says to the log ([`idle`](super::lines::idle)): the nightly job,
//! logrotate, apt's timers. A pure function of the cover and the hours, so that a world that goes on has what a fresh one would have.

use super::rotate::{self, Log};
use super::{backups, unattended, upgrades};
use crate::cover::{Cover, Image};
use crate::files::{File, job};
use crate::story::Story;

/// Something done to a file.
#[derive(Clone, Debug)]
pub enum Does {
    /// Adds these bytes to a log, which is made like this one if it is not there.
    Append(File),
    /// Writes it anew, as `>` of a shell does.
    Write(File),
    /// It has this time, and is made if it is not there.
    Touch(File),
    /// Takes it away, if it is as it was made.
    Remove(File),
    /// Turns a log.
    Turn(Log),
    /// Copies it, if it has changed since the last copy.
    Save(backups::Source),
}

/// Something done at a moment, seconds since the epoch.
#[derive(Clone, Debug)]
pub struct Chore {
    /// When.
    pub at: i64,
    /// What.
    pub does: Does,
}

/// What a machine has that does things by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Has {
    /// It upgrades itself ([`unattended::on`]).
    pub unattended: bool,
    /// Its logs are turned.
    pub logrotate: bool,
    /// Daemons' messages go to files.
    pub rsyslog: bool,
    /// What dpkg and apt have on record is copied.
    pub backups: bool,
}

impl Has {
    /// What this image has.
    pub fn of(image: &dyn Image) -> Has {
        Has {
            unattended: unattended::on(image),
            logrotate: image.has("/etc/logrotate.conf"),
            rsyslog: upgrades::has(image, "rsyslog"),
            backups: backups::on(image),
        }
    }

    /// Whether something is written to the log at this path.
    pub(super) fn log(self, path: &str) -> bool {
        if super::text::logs().any(|l| l.path == path) {
            return self.rsyslog;
        }
        self.unattended || unattended::logs().iter().all(|l| l.path != path)
    }
}

/// What is done between two moments, in order; `job`: the nightly job is as it was.
pub fn draw(cover: &Cover, has: Has, job: bool, from: i64, to: i64) -> Vec<Chore> {
    let story = Story::draw(cover);
    let mut out = Vec::new();
    if job {
        nights(cover, &story, from, to, &mut out);
    }
    if has.unattended {
        let (said, stamps) = unattended::lives(cover, from, to);
        let [log, ..] = unattended::logs();
        let line = |(at, bytes): (i64, Vec<u8>)| append(&log, at, bytes);
        out.extend(said.into_iter().map(line));
        out.extend(stamps.into_iter().map(|(path, at)| Chore {
            at,
            does: Does::Touch(File::text(&path, 0o644, at, "")),
        }));
    }
    if has.logrotate {
        for log in rotate::logs(&story) {
            let moments = rotate::moments(cover, log.rule.weekly, from, to);
            out.extend(moments.into_iter().map(|at| Chore {
                at,
                does: Does::Turn(log.clone()),
            }));
        }
        let ran = rotate::runs(cover, from, to).last().is_some();
        out.extend(
            rotate::state(cover, &story, has, to)
                .filter(|_| ran)
                .map(|f| Chore {
                    at: f.mtime,
                    does: Does::Write(f),
                }),
        );
    }
    if has.backups {
        let due = backups::due(cover, from, to).into_iter();
        out.extend(due.map(|(at, what)| Chore {
            at,
            does: Does::Save(what),
        }));
    }
    // What is turned has what was written in the same second.
    out.sort_by_key(|c| (c.at, matches!(c.does, Does::Turn(_))));
    out
}

/// The runs of the nightly job that were over between two moments.
fn nights(cover: &Cover, story: &Story, from: i64, to: i64, out: &mut Vec<Chore>) {
    let over = |at: &i64| (from + 1..=to).contains(&story.end(cover, *at));
    // None takes longer than a day.
    if !story.starts(cover, from - 86_400..to).any(|at| over(&at)) {
        return;
    }
    let log = rotate::of_job(story);
    for night in job::nights(cover, story, to).into_iter().filter(|n| over(&n.at)) {
        out.extend(job::does(cover, story, night.at));
        out.extend(night.lines.into_iter().map(|(at, line)| append(&log, at, line)));
    }
}

fn append(log: &Log, at: i64, bytes: Vec<u8>) -> Chore {
    let text = String::from_utf8_lossy(&bytes);
    Chore {
        at,
        does: Does::Append(File::text(&log.path, log.rule.mode, at, text).owned(0, log.rule.gid)),
    }
}
