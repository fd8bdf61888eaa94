//! `turncoat console`: a link that opens it, a password for it.

use std::io::{IsTerminal, Read, Write};

use clap::Subcommand;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::json;

use super::{Context, print};
use crate::process::requests::{NotRunning, ask};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print a link that opens the console once, within an hour
    Link,
    /// Read a password from standard input and print its hash, for console.password in the configuration
    Password,
}

/// # Errors
/// One line for the operator.
pub fn run(context: &Context, args: &Args) -> Result<(), String> {
    match args.command {
        Command::Link => link(context),
        Command::Password => password(),
    }
}

fn link(context: &Context) -> Result<(), String> {
    match ask(&context.layout.control(), &json!({"ask": "console-link"}))? {
        Ok(answer) => print(answer["url"].as_str().unwrap_or_default()),
        Err(NotRunning) => Err(format!("not running on {}", context.layout.root().display())),
    }
}

/// The longest password read, in bytes.
const LONGEST: u64 = 1024;

fn password() -> Result<(), String> {
    let stdin = std::io::stdin();
    let mut text = String::new();
    if stdin.is_terminal() {
        let mut out = std::io::stderr();
        let _ = write!(out, "Password (at least 10 characters): ");
        // What is typed is not shown.
        let before = tcgetattr(&stdin).map_err(|e| e.to_string())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &hidden).map_err(|e| e.to_string())?;
        let read = stdin.read_line(&mut text);
        tcsetattr(&stdin, OptionalActions::Flush, &before).map_err(|e| e.to_string())?;
        let _ = writeln!(out);
        read.map_err(|e| e.to_string())?;
    } else {
        stdin
            .lock()
            .take(LONGEST)
            .read_to_string(&mut text)
            .map_err(|e| e.to_string())?;
    }
    let hash = turncoat_console::secret::hash(text.trim_end_matches(['\r', '\n']))?;
    print(&format!("[console]\npassword = \"{hash}\""))
}
