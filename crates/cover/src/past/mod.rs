//! What happened on the machine from its installation to now: boots, logins, upgrades, and the logs that programs wrote of them.
//!
//! [`timeline`](Timeline::draw) decides once what happened; the log writers only tell it, so two logs cannot disagree.

pub mod backups;
pub mod binary;
mod boot;
pub mod chores;
pub mod database;
pub mod journal;
pub mod lines;
pub mod packages;
pub mod pids;
mod reboot;
pub mod refused;
pub mod rotate;
pub mod stamps;
pub mod text;
pub mod timeline;
pub mod unattended;
pub mod upgrades;

pub use timeline::Timeline;

use crate::cover::{Cover, Image};
use crate::files::File;

/// What happened, drawn once: runs of apt, boots, logins.
pub struct Past {
    /// Runs of apt, oldest first.
    pub runs: Vec<upgrades::Run>,
    /// Boots and logins.
    pub line: Timeline,
    /// The machine upgrades itself each morning.
    pub unattended: bool,
}

impl Past {
    /// The past up to `now`.
    pub fn draw(cover: &Cover, image: &dyn Image, now: i64) -> Past {
        let runs = upgrades::draw(cover, image, now);
        let line = Timeline::draw(cover, &runs, now);
        Past {
            runs,
            line,
            unattended: unattended::on(image),
        }
    }
}

impl Past {
    /// What dpkg and apt have on record after the runs that are over at `now`.
    pub fn records(&self, cover: &Cover, image: &dyn Image, now: i64) -> Option<database::Database<'_>> {
        let over = self.runs.partition_point(|r| r.end <= now);
        database::Database::of(cover, image, self.runs.get(..over)?)
    }
}

/// All log files at `now`, and copies of what dpkg and apt have on record; the journal has its own ([`journal::files`]). `kernel` is the kernel's log of the boot that runs.
pub fn files(
    cover: &Cover,
    image: &dyn Image,
    past: &Past,
    records: Option<&database::Database<'_>>,
    kernel: &[(u8, u64, String)],
    now: i64,
) -> Vec<File> {
    let mut out = packages::files(cover, image, &past.runs, now);
    out.extend(binary::files(cover, &past.line, now));
    out.extend(text::files(cover, image, past, kernel, now));
    out.extend(reboot::files(image, &past.runs, cover.host.booted));
    if let Some(db) = records {
        out.extend(backups::files(cover, image, db, now));
    }
    out
}
