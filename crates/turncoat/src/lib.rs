//! The program: command line, configuration, processes and their confinement, outputs.

pub mod alert;
pub mod audit;
pub mod cli;
pub mod config;
pub mod image;
pub mod machine;
pub mod output;
pub mod plant;
pub mod process;
pub mod receiving;
pub mod respond;
pub mod understand;

pub use turncoat_event::show;

/// The variables of the environment that are text; others cannot name a key.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
}
