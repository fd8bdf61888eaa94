//! The program: command line, configuration, processes and their confinement.

fn main() {}
