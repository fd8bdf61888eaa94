//! The record on disk: events, search, recordings, artifacts, cursors, and the outbox.
//!
//! One process opens the record for writing ([`Writer`]); anybody may read it beside that ([`Reader`]), also with the
//! ordinary `sqlite3`. [`Layout`] says what lies where in the data directory. The writer commits in batches: first the
//! artifacts and the pieces of recordings go to their files, then one transaction writes the events, and when
//! [`Writer::append`] returns, all of it survives `kill -9` ([`Durability::Process`]) or a loss of power
//! ([`Durability::Power`]). A batch that fails leaves nothing behind and can be tried again.
//!
//! Nothing here knows decoys or worlds; time is passed in.

pub mod artifact;
pub mod error;
pub mod filter;
pub mod journal;
pub mod keep;
pub mod layout;
pub mod migrate;
pub mod outbox;
pub mod privacy;
pub mod reader;
pub mod recording;
pub mod world;
pub mod writer;

pub use error::{Problem, StoreError};
pub use filter::{Filter, Source};
pub use layout::Layout;
pub use privacy::InstallKey;
pub use reader::{Reader, SessionRow};
pub use writer::{Committed, Durability, Writer};

/// The database library, for those who keep tables of their own in the record (`intel`).
pub use rusqlite;

/// What every function here returns.
pub type Result<T> = std::result::Result<T, StoreError>;
