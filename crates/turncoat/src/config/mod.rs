//! The configuration: `turncoat.toml`, the environment, and what holds when neither says anything.
//!
//! One table ([`table`]) declares every key: its type, its default, its meaning, and whether a running program can take
//! a change of it. Parsing ([`parse`]), `docs/configuration.md`, the JSON Schema and the output of `turncoat init`
//! ([`render`]) come from that table.

pub mod parse;
pub mod render;
pub mod table;
pub mod value;

pub use parse::{Mistake, load};
pub use table::Settings;
