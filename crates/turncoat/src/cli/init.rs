//! `turncoat init` and `turncoat check`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use super::{Context, print};
use crate::config::render::commented_file;

#[derive(clap::Args)]
pub struct Args {
    /// Where to write it; `-` is standard output. Default: turncoat.toml in the data directory.
    file: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

pub fn run(context: &Context, args: &Args) -> Result<(), String> {
    let path = args
        .file
        .clone()
        .unwrap_or_else(|| context.layout.root().join("turncoat.toml"));
    if path.as_os_str() == "-" {
        return print(commented_file().trim_end());
    }
    if args.file.is_none() {
        context.layout.create().map_err(|e| e.to_string())?;
    }
    let mut open = OpenOptions::new();
    open.write(true).create(true).truncate(true);
    if !args.force {
        open.create_new(true);
    }
    let written = open
        .open(&path)
        .and_then(|mut f| f.write_all(commented_file().as_bytes()));
    written.map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => {
            format!("{} is there already; --force replaces it", path.display())
        }
        _ => format!("{}: {e}", path.display()),
    })?;
    print(&format!("wrote {}", path.display()))
}

pub fn check(context: &Context) -> Result<(), String> {
    let settings = context.settings()?;
    crate::understand::check(&settings)?;
    crate::machine::check(&context.layout, &settings, crate::process::now().seconds())?;
    if !settings.intel.rules.is_empty() {
        let n = crate::understand::rules(&settings)?.all().count();
        print(&format!(
            "{n} technique rules of yours hold, each with its own examples"
        ))?;
    }
    match &context.file {
        Some(file) => print(&format!("{} is right", file.display())),
        None => print("no configuration file; the defaults and the environment are right"),
    }
}
