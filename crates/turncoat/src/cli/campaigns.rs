//! `turncoat campaigns` and `turncoat campaign`: what belongs together, and the report of it.

use clap::{Subcommand, ValueEnum};
use serde_json::json;
use turncoat_intel::report::{self, build};
use turncoat_intel::{CampaignId, view};

use super::{Context, print};

#[derive(clap::Args)]
pub struct ListArgs {
    /// As JSON lines.
    #[arg(long)]
    json: bool,
    /// At most so many, the latest ones.
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
}

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show a campaign: its sessions, why they belong together, the techniques seen
    Show {
        /// Its number, such as C-1.
        id: CampaignId,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Tell a campaign in plain words
    Report {
        /// Its number, such as C-1.
        id: CampaignId,
        /// How.
        #[arg(long, value_enum, default_value = "md")]
        format: Format,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// Markdown.
    Md,
    /// One page of HTML, without scripts.
    Html,
    /// JSON.
    Json,
    /// STIX 2.1.
    Stix,
}

/// Lists campaigns.
///
/// # Errors
/// One line for the operator.
pub fn list(context: &Context, args: &ListArgs) -> Result<(), String> {
    let reader = context.reader()?;
    let mut all = view::campaigns(reader.database(), args.limit).map_err(|e| e.to_string())?;
    all.reverse();
    for c in all {
        if args.json {
            print(&serde_json::to_string(&c).map_err(|e| e.to_string())?)?;
        } else {
            print(&format!(
                "{:<6} {}  {:<20} {:>4} sessions {:>4} sources{}",
                c.id.to_string(),
                c.last,
                c.stage.map_or("-", |s| s.name()),
                c.sessions,
                c.sources,
                if c.tokens > 0 {
                    format!("  {} planted things used", c.tokens)
                } else {
                    String::new()
                }
            ))?;
        }
    }
    Ok(())
}

/// Shows or tells one campaign.
///
/// # Errors
/// One line for the operator.
pub fn run(context: &Context, args: &Args) -> Result<(), String> {
    let reader = context.reader()?;
    let db = reader.database();
    let text = |e: turncoat_store::StoreError| e.to_string();
    match &args.command {
        Command::Show { id, json } => {
            let c = view::find(db, *id).map_err(text)?;
            let members = view::members(db, c.id, 1000).map_err(text)?;
            let links = view::links(db, c.id, 1000).map_err(text)?;
            let techniques = view::sightings(db, c.id).map_err(text)?;
            if *json {
                let all =
                    json!({"campaign": c, "sessions": members, "links": links, "techniques": techniques});
                return print(&all.to_string());
            }
            print(&format!(
                "{}  stage {}, {} to {}",
                c.id,
                c.stage.map_or("-", |s| s.name()),
                c.first,
                c.last
            ))?;
            for m in members {
                print(&format!(
                    "  session {}  {:<16} {} {}",
                    m.session,
                    m.source.as_deref().unwrap_or("-"),
                    m.first,
                    m.stage.map_or("", |s| s.name())
                ))?;
            }
            for l in links {
                let line = format!(
                    "  link    {} - {}  {} ({:.1}): {}",
                    l.session, l.other, l.reason, l.weight, l.detail
                );
                print(&crate::show::line(&line))?;
            }
            for (_, t) in techniques {
                let how = if t.observed { "observed" } else { "inferred" };
                print(&format!(
                    "  {:<10} {} ({}, {how}): {}",
                    t.technique,
                    t.name,
                    t.stage.name(),
                    t.why
                ))?;
            }
            Ok(())
        }
        Command::Report { id, format } => {
            let report = build(&reader, *id, crate::process::now()).map_err(text)?;
            let out = match format {
                Format::Md => report::markdown(&report),
                Format::Html => report::html(&report),
                Format::Json => serde_json::to_string_pretty(&report).map_err(|e| e.to_string())?,
                Format::Stix => {
                    let sensor = context.settings()?.sensor.name;
                    serde_json::to_string_pretty(&report::stix(&report, &sensor))
                        .map_err(|e| e.to_string())?
                }
            };
            print(out.trim_end())
        }
    }
}
