//! How decoys hand things to the record.
//!
//! A decoy sees one trait, [`Recorder`]; behind it is a link to the process that alone writes the record. Everything
//! handed over gets a [`Mark`]; see [`crate::gate`] for what that is good for.

use std::fmt;
use std::time::Duration;

use crate::gate::Stopped;
use crate::{Bytes, Draft, Mark, Origin, SessionId, Sha256, Time, Watermark, WorldId};

/// Which way a piece of a recording went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the source.
    Input,
    /// To the source.
    Output,
    /// The window changed; the bytes are `COLUMNSxROWS` in ASCII.
    Resize,
}

/// A piece of a session's recording: raw bytes as they went over the terminal or the channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Whose recording.
    pub session: SessionId,
    /// When.
    pub time: Time,
    /// Which channel of the session: 0 for the first, and so on.
    pub channel: u16,
    /// Which way.
    pub direction: Direction,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// A file to keep. The event `file.artifact` says where it came from; this carries the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// SHA-256 of `content`. The record computes its own and refuses another.
    pub sha256: Sha256,
    /// The bytes (at most [`ARTIFACT_MAX`]).
    pub content: Bytes,
}

/// A piece of a world's journal: what came into the world, in the form that the decoys crate reads and writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// Whose.
    pub world: WorldId,
    /// The bytes that follow what was handed over before (at most [`FRAME_MAX`]).
    pub bytes: Vec<u8>,
    /// Nothing follows: the world is over.
    pub last: bool,
}

/// The longest artifact that the record takes, in bytes.
pub const ARTIFACT_MAX: usize = 32 << 20;

/// The longest piece of a recording in one [`Frame`], in bytes. Longer ones are cut by the recorder.
pub const FRAME_MAX: usize = 1 << 20;

/// Something for the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Something happened.
    Event(Box<Draft>),
    /// A piece of a recording.
    Frame(Frame),
    /// A file to keep.
    Artifact(Artifact),
    /// A piece of a world's journal.
    Journal(Journal),
}

impl From<Draft> for Item {
    fn from(draft: Draft) -> Item {
        Item::Event(Box::new(draft))
    }
}
impl From<Frame> for Item {
    fn from(frame: Frame) -> Item {
        Item::Frame(frame)
    }
}
impl From<Journal> for Item {
    fn from(journal: Journal) -> Item {
        Item::Journal(journal)
    }
}
impl From<Artifact> for Item {
    fn from(artifact: Artifact) -> Item {
        Item::Artifact(artifact)
    }
}

/// Why the record did not take an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Too much waits to be committed: read nothing more from this connection until [`Watermark`] has moved.
    Full,
    /// The item is larger than the record takes.
    TooLarge,
    /// The record has stopped: close every connection without another byte.
    Stopped,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Full => "too much waits to be recorded",
            Refused::TooLarge => "larger than the record takes",
            Refused::Stopped => "the record has stopped",
        })
    }
}
impl std::error::Error for Refused {}

impl From<Stopped> for Refused {
    fn from(_: Stopped) -> Refused {
        Refused::Stopped
    }
}

/// Where a decoy's events, recordings and files go.
pub trait Recorder: Send + Sync {
    /// Hands one item over and returns at once. The mark says which commit covers it; it is higher than every mark before.
    ///
    /// # Errors
    /// See [`Refused`]. A refused item is not in the record.
    fn submit(&self, item: Item) -> Result<Mark, Refused>;

    /// How far the record has come.
    fn watermark(&self) -> &Watermark;

    /// False while the record cannot keep what new sessions would bring (full disk, read-only directory):
    /// accept no new connection then. Sessions that are open may go on waiting.
    fn accepting(&self) -> bool;

    /// How long whoever makes events of this origin waits before the next act, because it has made more than its share. What it
    /// has made already is recorded all the same: nothing is thinned out, the maker is slowed down.
    fn pace(&self, _: &Origin) -> Duration {
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorder_can_be_shared_between_threads() {
        fn shared<T: Send + Sync + ?Sized>() {}
        shared::<dyn Recorder>();
    }
}
