//! `turncoat alert`: whether alerts arrive.

use clap::Subcommand;
use serde_json::{Value as Json, json};

use super::{Context, print};
use crate::alert::{self, Letter};
use crate::process::now;
use crate::process::requests::{NotRunning, ask};
use crate::respond::incident::{Message, Phase, Severity};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send a test message by every way that is configured and say what became of it
    Test {
        /// As JSON lines
        #[arg(long)]
        json: bool,
    },
}

/// Runs the subcommand.
///
/// # Errors
/// One line for the operator; also where a message was not taken.
pub fn run(context: &Context, args: &Args) -> Result<(), String> {
    let Command::Test { json } = &args.command;
    let answers = match ask(&context.layout.control(), &json!({"ask": "alert-test"}))? {
        Ok(answers) => answers.as_array().cloned().unwrap_or_default(),
        Err(NotRunning) => directly(context)?,
    };
    if answers.is_empty() {
        return Err(
            "no way to alert is configured: see [alert.mail], [alert.webhook] and [alert.cef]".into(),
        );
    }
    let mut failed = 0;
    for a in &answers {
        let error = a["error"].as_str();
        failed += usize::from(error.is_some());
        let way = a["way"].as_str().unwrap_or_default();
        match (json, error) {
            (true, _) => print(&a.to_string())?,
            (_, None) => print(&format!("{way}: taken"))?,
            (_, Some(why)) => print(&format!("{way}: not taken: {}", crate::show::line(why)))?,
        }
    }
    match failed {
        0 => Ok(()),
        n => Err(format!("{n} of {} ways do not work", answers.len())),
    }
}

/// No program runs: the message goes out from here.
fn directly(context: &Context) -> Result<Vec<Json>, String> {
    let settings = context.settings()?;
    let at = now();
    let letter = Letter::new(
        &settings.sensor.name,
        Message {
            incident: "I-test".into(),
            number: 1,
            phase: Phase::Open,
            severity: Severity::Low,
            title: "a test: alerts arrive here".into(),
            lines: vec!["an operator asked for this message by `turncoat alert test`".into()],
            more: 0,
            campaign: None,
            time: at,
            opened: at,
        },
    );
    let names = alert::configured(&settings);
    let ways = alert::ways(&settings)?;
    Ok(names
        .into_iter()
        .zip(ways)
        .map(|(name, mut way)| {
            let error = way.send(&letter).err();
            json!({"way": name, "taken": error.is_none(), "error": error})
        })
        .collect())
}
