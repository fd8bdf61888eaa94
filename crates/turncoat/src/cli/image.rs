//! `turncoat image`: build, list, check and remove images; and the build at the first start.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Subcommand;
use serde_json::json;
use turncoat_store::Layout;

use super::{Context, print};
use crate::config::Settings;
use crate::image::{self, Options, Progress, Shelf, Shelved, Source};
use crate::process::decoys::TELNET_PACKAGES;

/// Arguments of `turncoat image`.
#[derive(clap::Args)]
/// Images.
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build an image and make it the default: from the host's packages, or from what --from names
    Build {
        /// `dir:PATH` (a debootstrap tree) or `tar:PATH` (a `docker export`) instead of packages.
        #[arg(long, value_name = "SOURCE")]
        from: Option<String>,
        /// Packages beyond the usual small server.
        packages: Vec<String>,
    },
    /// List images
    Ls {
        /// As JSON lines.
        #[arg(long)]
        json: bool,
    },
    /// Read an image whole and compare it with its identity
    Verify {
        /// Beginning of its identity; the default image if left out.
        id: Option<String>,
    },
    /// Remove an image
    Rm {
        /// Beginning of its identity.
        id: String,
    },
    /// Unpack an image into a directory (owners and devices need root)
    Export {
        /// Beginning of its identity, or `default`.
        id: String,
        /// An empty or absent directory.
        dir: PathBuf,
    },
}

fn cache(layout: &Layout) -> PathBuf {
    layout.root().join("cache")
}

/// One line of progress on standard error: rewritten on a terminal, now and then elsewhere.
struct Shown {
    last: Instant,
    stage: String,
    terminal: bool,
}

impl Shown {
    fn new() -> Shown {
        Shown {
            last: Instant::now(),
            stage: String::new(),
            terminal: std::io::stderr().is_terminal(),
        }
    }

    fn line(&mut self, text: &str, end: bool) {
        let text = crate::show::line(text);
        let mut err = std::io::stderr().lock();
        let _ = match (self.terminal, end) {
            (true, true) => writeln!(err, "\r\u{1b}[K{text}"),
            (true, false) => write!(err, "\r\u{1b}[K{text}").and_then(|()| err.flush()),
            (false, _) => writeln!(err, "{text}"),
        };
        self.last = Instant::now();
    }

    fn show(&mut self, p: Progress<'_>) {
        match p {
            Progress::Stage(stage) => {
                self.stage = stage.to_owned();
                self.line(&format!("image: {stage}"), !self.terminal);
            }
            Progress::Note(note) => self.line(&format!("image: note: {note}"), true),
            Progress::Step {
                done,
                total,
                bytes,
                total_bytes,
                item,
            } => {
                let wait = if self.terminal {
                    Duration::from_millis(100)
                } else {
                    Duration::from_secs(10)
                };
                if self.last.elapsed() < wait {
                    return;
                }
                let of = |n: u64, all: u64, f: &dyn Fn(u64) -> String| {
                    if all > 0 {
                        format!("{} of {}", f(n), f(all))
                    } else {
                        f(n)
                    }
                };
                let count = of(done, total, &|n| n.to_string());
                let size = of(bytes, total_bytes, &crate::show::size);
                let item: String = item.chars().take(30).collect();
                self.line(&format!("image: {}: {count}, {size}  {item}", self.stage), false);
            }
        }
    }
}

/// The image that worlds start from: the one named, or the default; built if there is none.
///
/// # Errors
/// One line for the operator.
pub fn find_or_build(layout: &Layout, settings: &Settings) -> Result<Shelved, String> {
    let named = settings.world.image.as_str();
    let more: &[&str] = if settings.telnet.listen.is_empty() {
        &[]
    } else {
        &TELNET_PACKAGES
    };
    if !named.is_empty() {
        return Shelf::open(&layout.images())
            .and_then(|s| s.find(Some(named)))
            .map_err(|e| e.to_string())?
            .ok_or_else(|| {
                format!("world.image: no image begins with {named}; `turncoat image ls` lists them")
            });
    }
    let found = Shelf::open(&layout.images())
        .and_then(|s| s.find(None))
        .map_err(|e| e.to_string())?;
    if let Some(found) = found {
        return Ok(found);
    }
    let mut shown = Shown::new();
    shown.line("There is no image of a Debian system yet; it is built once from the packages of this host's apt (a few minutes).", true);
    let options = Options {
        source: Source::Apt(
            settings
                .cover
                .packages
                .iter()
                .map(|p| format!("+{p}"))
                .chain(more.iter().map(|p| (*p).to_owned()))
                .collect(),
        ),
        shelf: layout.images(),
        cache: cache(layout),
    };
    let built = image::default_or_build(&options, &mut |p| shown.show(p))
        .map_err(|e| format!("{e}; elsewhere: turncoat image build --from dir:PATH or tar:PATH (a debootstrap tree, a docker export)"))?;
    shown.line(
        &format!("image: {} is ready", built.id.get(..12).unwrap_or_default()),
        true,
    );
    Ok(built)
}

/// Runs the subcommand.
///
/// # Errors
/// One line for the operator.
pub fn run(context: &Context, args: &Args) -> Result<(), String> {
    let layout = &context.layout;
    layout.create().map_err(|e| e.to_string())?;
    let shelf = Shelf::open(&layout.images()).map_err(|e| e.to_string())?;
    let find = |id: Option<&str>| -> Result<Shelved, String> {
        shelf
            .find(id.filter(|i| *i != "default"))
            .map_err(|e| e.to_string())?
            .ok_or_else(|| match id {
                Some(id) => format!("no image begins with {id}; `turncoat image ls` lists them"),
                None => "there is no default image; `turncoat image build` makes one".into(),
            })
    };
    match &args.command {
        Command::Build { from, packages } => {
            let source = match from {
                Some(from) => from.parse::<Source>().map_err(|e| e.to_string())?,
                None => Source::Apt(packages.clone()),
            };
            let mut shown = Shown::new();
            let options = Options {
                source,
                shelf: layout.images(),
                cache: cache(layout),
            };
            let id = image::build(&options, &mut |p| shown.show(p)).map_err(|e| e.to_string())?;
            shown.line("image: done", true);
            print(&id.to_string())
        }
        Command::Ls { json } => {
            for s in shelf.list().map_err(|e| e.to_string())? {
                if *json {
                    print(&json!({"id": s.id, "bytes": s.size, "default": s.default}).to_string())?;
                } else {
                    print(&format!(
                        "{}  {:>10}{}",
                        s.id,
                        crate::show::size(s.size),
                        if s.default { "  default" } else { "" }
                    ))?;
                }
            }
            Ok(())
        }
        Command::Verify { id } => {
            let found = find(id.as_deref())?;
            shelf.verify(&found, |_, _| {}).map_err(|e| e.to_string())?;
            let image =
                turncoat_kernel::image::Image::open(File::open(&found.path).map_err(|e| e.to_string())?)
                    .map_err(|e| e.to_string())?;
            print(&format!(
                "{} is whole: {} files, {} packages",
                found.id,
                image.inode_count(),
                image.packages().len()
            ))
        }
        Command::Rm { id } => shelf.remove(&find(Some(id))?).map_err(|e| e.to_string()),
        Command::Export { id, dir } => {
            let done = image::export(&find(Some(id))?, dir).map_err(|e| e.to_string())?;
            let without = if done.owners {
                ""
            } else {
                ", without owners, devices and attributes (that needs root)"
            };
            print(&format!("{} files{without}", done.files))
        }
    }
}
