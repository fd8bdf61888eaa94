//! The schema of the record: what an event is, how it is named and written down.
//!
//! This crate owns the words that every other crate speaks: [`Event`], its [`Kind`]s (one table in
//! [`kinds`]), the ids, [`Time`] and [`Bytes`]; the trait by which a decoy hands things to the record
//! ([`record`]); and the [`gate`] that keeps answers back until what they depend on is committed.
//! It does no I/O, starts no thread, and reads neither clock nor entropy: both are passed in.
//!
//! `docs/events.md` and `docs/events.schema.json` are rendered from the table by [`docs`] and pinned by a test.

pub mod bytes;
pub mod docs;
mod event;
pub mod field;
pub mod gate;
pub mod id;
pub mod kinds;
pub mod record;
pub mod show;
pub mod time;

pub use bytes::Bytes;
pub use event::{Draft, Event, Origin};
pub use gate::{Chunk, Committer, Gate, Mark, Reached, Released, Watermark};
pub use id::{SensorId, SessionId, Sha256, WorldId};
pub use kinds::Kind;
pub use record::{Artifact, Direction, Frame, Item, Journal, Recorder, Refused};
pub use time::Time;

/// Version of the event schema. It grows by one when a field or a kind changes its meaning or goes away;
/// new kinds and new optional fields leave it as it is.
pub const SCHEMA_VERSION: u32 = 1;
