//! One seed becomes one coherent identity that every decoy of a machine shows. No I/O.
//!
//! [`Cover::new`] turns a [`Seed`], a role, the operator's [`Wishes`] and the facts of the receiving interface into a [`Cover`]:
//! everything a machine says about itself, written once. Whoever shows a fact (a banner, `/proc`, `/etc`, a log line) takes it from
//! here, so two places cannot disagree. The same input gives the same cover; clock and entropy are passed in.

pub mod audit;
pub mod bait;
pub mod clock;
mod cover;
pub mod files;
pub mod hardware;
mod host;
pub mod journal;
pub mod kernels;
pub mod keys;
pub mod live;
pub mod network;
pub mod past;
pub mod processes;
pub mod release;
pub mod role;
pub mod seed;
mod shadow;
pub mod story;
pub mod users;
mod wishes;

pub use bait::{Bait, Credential, Secret};
pub use cover::{Cover, CoverError, Image, valid_user};
pub use files::{Content, File, Kind, Packed};
pub use host::Host;
pub use release::Release;
pub use seed::{Seed, Stream};
pub use wishes::{FileWish, Given, LARGEST_FILE, UserWish, Wishes};

/// Version of the cover's generators. A data directory keeps the version its cover was made with; a cover made by another version is
/// migrated or refused, never silently changed.
///
/// 2: people and the nightly job go on after the cover was made; logs, histories and dumps are told by day and session.
pub const FORMAT: u32 = 2;
