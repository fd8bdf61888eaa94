//! The command line: one declaration gives parser, help, completions and the man page. One module a subcommand.
//!
//! To add a subcommand: a module with its arguments (`#[derive(Args)]`) and a `run`, and a row in `Command`.

mod alert;
mod campaigns;
mod console;
mod cover;
mod documents;
mod events;
mod export;
pub mod image;
mod init;
mod keep;
mod plant;
mod replay;
mod rerun;
mod respond;
mod run;
mod sessions;
mod status;
mod world;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use turncoat_store::{Layout, Reader};

use crate::config::{Settings, load};
use crate::process::install::data_directory;

/// Plants false insiders in a network, meets intruders who find them, and records everything they do.
///
/// Without a subcommand it runs: `turncoat run`.
#[derive(Parser)]
#[command(name = "turncoat", version, max_term_width = 110)]
pub struct Cli {
    /// Data directory: the record, the install's secret, images. Default: $XDG_DATA_HOME/turncoat.
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Configuration file. Default: turncoat.toml in the data directory, then /etc/turncoat/turncoat.toml.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Start the decoys and the record (the default)
    Run,
    /// Write a configuration file in which every key is explained
    Init(init::Args),
    /// Say whether the configuration is right, without starting
    Check,
    /// Say how the running program is
    Status(status::Args),
    /// List sessions, newest last
    Sessions(sessions::ListArgs),
    /// Show one session: what is known of it, and its events
    Show(sessions::ShowArgs),
    /// List events, or follow them as they come
    Events(events::Args),
    /// Play a session's recording on this terminal
    Replay(replay::Args),
    /// Write events or recordings for other programs
    Export(export::Args),
    /// Remove everything of a source from the record
    Forget(keep::ForgetArgs),
    /// Copy the record to an empty directory, also while the program runs
    Backup(keep::BackupArgs),
    /// Bring a backup into a data directory that has no record
    Restore(keep::RestoreArgs),
    /// Build, list, check and remove the images that worlds start from
    Image(image::Args),
    /// Try the machine behind the decoys on this terminal
    World(world::Args),
    /// Show the identity of this install, draw or become another, and audit it from outside
    Cover(cover::Args),
    /// Make things to plant on real machines, so that their use gives an intruder away
    Plant(plant::Args),
    /// List campaigns: sessions that one intruder or one tool is behind
    Campaigns(campaigns::ListArgs),
    /// Show a campaign, or tell it in plain words
    Campaign(campaigns::Args),
    /// Open the console, or make a password for it
    Console(console::Args),
    /// Say what rules would have done; list and undo blocks
    Respond(respond::Args),
    /// Try whether alerts arrive
    Alert(alert::Args),
    /// Print completions for a shell
    Completions(documents::CompletionsArgs),
    /// Print the man page
    Man,
    /// One of the processes of a run; the supervisor starts it
    #[command(hide = true)]
    Process {
        /// Which.
        role: String,
    },
}

/// What a subcommand works on.
pub struct Context {
    /// The data directory.
    pub layout: Layout,
    /// The configuration file, where there is one.
    pub file: Option<PathBuf>,
}

impl Context {
    /// Reads configuration and environment.
    ///
    /// # Errors
    /// Every mistake on a line of its own.
    pub fn settings(&self) -> Result<Settings, String> {
        load(self.file.as_deref(), crate::environment()).map_err(|mistakes| {
            mistakes
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        })
    }

    /// Opens the record for reading.
    ///
    /// # Errors
    /// One line.
    pub fn reader(&self) -> Result<Reader, String> {
        Reader::open(&self.layout).map_err(|e| e.to_string())
    }
}

/// The declaration, for documents made from it.
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let layout = Layout::new(absolute(data_directory(
        cli.data
            .or_else(|| std::env::var_os("TURNCOAT_DATA").map(PathBuf::from)),
    )));
    let asked = cli
        .config
        .or_else(|| std::env::var_os("TURNCOAT_CONFIG").map(PathBuf::from));
    let file = asked.map(absolute).or_else(|| configuration_file(&layout));
    let context = Context { layout, file };
    let result = match cli.command.unwrap_or(Command::Run) {
        Command::Run => run::run(context),
        Command::Init(args) => init::run(&context, &args),
        Command::Check => init::check(&context),
        Command::Status(args) => status::run(&context, &args),
        Command::Sessions(args) => sessions::list(&context, &args),
        Command::Show(args) => sessions::show(&context, &args),
        Command::Events(args) => events::run(&context, &args),
        Command::Replay(args) => replay::run(&context, &args),
        Command::Export(args) => export::run(&context, &args),
        Command::Forget(args) => keep::forget(&context, &args),
        Command::Backup(args) => keep::backup(&context, &args),
        Command::Restore(args) => keep::restore(&context, &args),
        Command::World(args) => match world::run(&context, &args) {
            Ok(code) => return code,
            Err(why) => Err(why),
        },
        Command::Cover(args) => cover::run(&context, &args),
        Command::Plant(args) => plant::run(&context, &args),
        Command::Image(args) => image::run(&context, &args),
        Command::Campaigns(args) => campaigns::list(&context, &args),
        Command::Campaign(args) => campaigns::run(&context, &args),
        Command::Console(args) => console::run(&context, &args),
        Command::Respond(args) => respond::run(&context, &args),
        Command::Alert(args) => alert::run(&context, &args),
        Command::Completions(args) => documents::completions(&args),
        Command::Man => documents::man(),
        Command::Process { role } => return run::process(&role),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads us has seen enough (`turncoat events | head`).
        Err(message) if message == CLOSED => ExitCode::SUCCESS,
        Err(message) => {
            for line in message.lines() {
                let _ = writeln!(std::io::stderr(), "turncoat: {}", crate::show::line(line));
            }
            ExitCode::FAILURE
        }
    }
}

/// The configuration file where none was named: the first of the usual places that has one.
pub fn configuration_file(layout: &Layout) -> Option<PathBuf> {
    [
        layout.root().join("turncoat.toml"),
        PathBuf::from("/etc/turncoat/turncoat.toml"),
    ]
    .into_iter()
    .find(|f| f.is_file())
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

const CLOSED: &str = "\u{0}closed";

/// Prints one line on standard output.
///
/// # Errors
/// What standard output says; quietly when its reader is gone.
pub fn print(line: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").map_err(output_error)
}

/// An error of standard output, as a subcommand gives it back.
pub fn output_error(error: std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        CLOSED.into()
    } else {
        error.to_string()
    }
}

/// A point in time as an operator names it: a time in UTC, or how long ago (`2h`, `7d`).
pub fn moment(text: &str) -> Result<turncoat_event::Time, String> {
    if let Ok(span) = text.parse::<crate::config::value::Span>() {
        return Ok(crate::process::now().plus_nanos(-span.nanos().unwrap_or(0)));
    }
    text.parse().map_err(|_| {
        "expected a time in UTC such as 2026-11-23T12:00:00Z, or how long ago, such as 2h or 7d".to_owned()
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_declaration_is_sound() {
        super::command().debug_assert();
    }
}
