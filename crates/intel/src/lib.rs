//! Sessions read together: links, campaigns, techniques, exports.
//!
//! Events come in by [`Digest::add`], which keeps of each session what tells intruders apart. A [`Linker`] joins digests into
//! campaigns and keeps every reason with its weight. [`techniques`] says which ATT&CK techniques the events show and which stage a
//! campaign reached. All of this is pure: what is read and written, and when, is decided by the caller.

pub mod digest;
mod hash;
pub mod link;
pub mod script;

pub use digest::Digest;
pub use link::{CampaignId, Link, Linker, Outcome, Reason};
pub mod techniques;
pub use techniques::{Rules, Sighting, Stage, Techniques};
pub mod keeper;
pub mod view;
pub use keeper::{Change, Keeper};
pub mod networks;
pub mod report;
