//! The program: command line, configuration, processes and their confinement, outputs.

pub mod config;
pub mod image;
