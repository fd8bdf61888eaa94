//! What happened on the machine from its installation to now: boots, logins, upgrades, and the logs that programs wrote of them.
//!
//! [`timeline`](Timeline::draw) decides once what happened; the log writers only tell it, so two logs cannot disagree.

pub mod binary;
pub mod journal;
pub mod lines;
pub mod packages;
pub mod rotate;
pub mod text;
pub mod timeline;
pub mod upgrades;

pub use timeline::Timeline;

use crate::cover::{Cover, Image};
use crate::files::File;

/// Sessions that logind has counted since boot, at `now`.
pub fn sessions(cover: &Cover, image: &dyn Image, now: i64) -> u32 {
    let runs = upgrades::draw(cover, image, now);
    lines::sessions(&Timeline::draw(cover, &runs, now))
}

/// All log files at `now`; the journal has its own ([`journal::files`]).
pub fn files(cover: &Cover, image: &dyn Image, now: i64) -> Vec<File> {
    let runs = upgrades::draw(cover, image, now);
    let line = Timeline::draw(cover, &runs, now);
    let mut out = packages::files(cover, image, &runs, now);
    out.extend(binary::files(cover, &line, now));
    if upgrades::has(image, "rsyslog") {
        let from = (now - 36 * 86_400).max(cover.host.installed);
        out.extend(text::files(
            cover,
            &lines::draw(cover, &line, &runs, from, now),
            now,
        ));
    }
    out
}
