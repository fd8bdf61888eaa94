//! What happened on the machine from its installation to now: boots, logins, upgrades, and the logs that programs wrote of them.
//!
//! [`timeline`](Timeline::draw) decides once what happened; the log writers only tell it, so two logs cannot disagree.

pub mod binary;
pub mod packages;
pub mod rotate;
pub mod text;
pub mod timeline;
pub mod upgrades;

pub use timeline::Timeline;

use crate::cover::{Cover, Image};
use crate::files::File;

/// All log files at `now`.
pub fn files(cover: &Cover, image: &dyn Image, now: i64) -> Vec<File> {
    let runs = upgrades::draw(cover, image, now);
    let line = Timeline::draw(cover, &runs, now);
    let mut out = packages::files(cover, image, &runs, now);
    out.extend(binary::files(cover, &line, now));
    if upgrades::has(image, "rsyslog") {
        out.extend(text::files(cover, &line, &runs, now));
    }
    out
}
