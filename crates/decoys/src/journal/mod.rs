//! A world's journal: everything that ever came into it, in order, so that the same run can be made again.
//!
//! A world is deterministic: its whole run follows from what it was born from ([`Birth`]) and from its inputs (bytes, resizes,
//! logins, closes, passwords, readings of the clock), each at the instruction where it came in. [`Journaled`] is the only way from
//! the pool to a guest, so that nothing can reach one unwritten. [`Reader`] reads a journal back; `rerun` runs it again and
//! compares what comes out with the digests that the first run left ([`Entry::Seal`]). A [`Checkpoint`] lies beside a journal and lets
//! a rerun begin in the middle of it.
//!
//! # Format
//! [`MAGIC`], the birth, then entries until the end. A number is LEB128; bytes are a number and so many bytes. The birth is
//! bytes of JSON. An entry begins with its code (see `codec`). A journal that ends in the middle of an entry (the program was
//! killed) is read up to there: what followed was never answered. A world that had to begin anew with the disk of the life before has
//! another birth in its journal, and a disk behind it ([`lives`]).
//!
//! A journal that grows beyond half of its bound loses what lies before its next checkpoint ([`Journaled::cut`]): behind the birth then
//! stands [`Entry::Cut`], and a run begins there with that checkpoint or not at all.

pub mod checkpoint;
mod codec;
mod door;
mod left;
mod rerun;

pub use checkpoint::Checkpoint;
pub use codec::{Damaged, Entry, MAGIC, Reader, lives};
pub use door::{Cut, Journaled};
pub use left::Left;
pub use rerun::{Ended, Report, Rerun, Step};

use serde::{Deserialize, Serialize};
use turncoat_event::Time;

/// Instructions in a slice. Part of the format: where a slice ends is where an input can come in.
pub const SLICE: u64 = 200_000;

/// What a world was made from. The same birth and the same inputs give the same run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Birth {
    /// The build: two with the same name run the same code.
    pub build: String,
    /// The image, by its id.
    pub image: String,
    /// SHA-256 of the cover, in hexadecimal.
    pub cover: String,
    /// What the world outside looks like: `unreachable`, `timeout`, `refused`, `sink`.
    pub outside: String,
    /// When the snapshot was booted.
    pub booted: Time,
    /// Entropy of the snapshot.
    pub snapshot: [u8; 32],
    /// Entropy of this world.
    pub seed: [u8; 32],
}

impl Birth {
    /// What a journal of such a world begins with: [`MAGIC`] and the birth.
    pub fn head(&self) -> Vec<u8> {
        let mut out = Vec::new();
        codec::write_birth(self, &mut out);
        out
    }

    /// Why a run that was born like this cannot be made again by somebody who would be born like `other`: one line.
    pub fn differs_from(&self, other: &Birth) -> Option<String> {
        let facts = [
            (
                "build",
                &self.build,
                &other.build,
                "run it with the program that recorded it",
            ),
            ("image", &self.image, &other.image, "see `turncoat image ls`"),
            (
                "cover",
                &self.cover,
                &other.cover,
                "the cover or what the configuration says of it has changed since",
            ),
        ];
        facts
            .into_iter()
            .find(|(_, a, b, _)| a != b)
            .map(|(what, was, is, hint)| format!("it was recorded with {what} {was}, here is {is}; {hint}"))
    }
}

/// Some birth.
#[cfg(test)]
pub(crate) fn birth_for_tests() -> Birth {
    Birth {
        build: "b".into(),
        image: "i".into(),
        cover: "c".into(),
        outside: "timeout".into(),
        booted: Time(5),
        snapshot: [1; 32],
        seed: [2; 32],
    }
}
