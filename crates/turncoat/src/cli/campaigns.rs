//! `turncoat campaigns` and `turncoat campaign`: what belongs together, and the report of it.

use clap::{Subcommand, ValueEnum};
use serde_json::json;
use turncoat_intel::report::{self, build_with};
use turncoat_intel::{CampaignId, Rules, view};

use super::{Context, print};
use crate::process::requests::{NotRunning, ask};

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
    /// Take sessions out of a campaign into a new one; evidence never joins the two again
    Split {
        /// Its number, such as C-1.
        id: CampaignId,
        /// The sessions: their ids, or the beginning or end of them.
        #[arg(required = true)]
        sessions: Vec<String>,
    },
    /// Join two campaigns; they stay joined
    Merge {
        /// The one, such as C-1.
        a: CampaignId,
        /// The other.
        b: CampaignId,
    },
    /// The rules by which techniques are seen
    Rules {
        #[command(subcommand)]
        command: RulesCommand,
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

#[derive(Subcommand)]
enum RulesCommand {
    /// List the rules in use: those of the program, and those of `intel.rules`
    Ls {
        /// As JSON lines.
        #[arg(long)]
        json: bool,
    },
    /// Try the rules of files with their own examples
    Test {
        /// Files of rules, such as docs/techniques.md describes.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<std::path::PathBuf>,
        /// As JSON lines.
        #[arg(long)]
        json: bool,
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
    let noise = view::noise(reader.database()).map_err(|e| e.to_string())?;
    if args.json {
        return print(&json!({"noise": noise}).to_string());
    }
    if noise.sessions > 0 {
        let clients: Vec<String> = noise.clients.iter().map(|(c, n)| format!("{c} ({n})")).collect();
        let line = format!(
            "noise  {} sessions from {} sources that nobody entered: {} login attempts, {} without any{}{}",
            noise.sessions,
            noise.sources,
            noise.attempts,
            noise.scans,
            if clients.is_empty() { "" } else { "; most often " },
            clients.join(", ")
        );
        print(&crate::show::line(&line))?;
    }
    Ok(())
}

/// Shows or tells one campaign.
///
/// # Errors
/// One line for the operator.
pub fn run(context: &Context, args: &Args) -> Result<(), String> {
    if let Command::Rules { command } = &args.command {
        return match command {
            RulesCommand::Ls { json } => rules(context, *json),
            RulesCommand::Test { files, json } => test(files, *json),
        };
    }
    let reader = context.reader()?;
    let db = reader.database();
    let text = |e: turncoat_store::StoreError| e.to_string();
    let operate = |request: serde_json::Value| -> Result<String, String> {
        match ask(&context.layout.control(), &request)? {
            Ok(answer) => Ok(answer["campaign"].as_str().unwrap_or_default().to_owned()),
            Err(NotRunning) => Err(format!(
                "not running on {}: campaigns are changed by the running program",
                context.layout.root().display()
            )),
        }
    };
    match &args.command {
        // Above: they need no record.
        Command::Rules { .. } => Ok(()),
        Command::Split { id, sessions } => {
            let found = sessions
                .iter()
                .map(|s| Ok(super::sessions::find(&reader, s)?.session.to_string()))
                .collect::<Result<Vec<_>, String>>()?;
            let new = operate(json!({"ask": "split", "campaign": id.to_string(), "sessions": found}))?;
            print(&format!("{} sessions of {id} are {new} now", found.len()))
        }
        Command::Merge { a, b } => {
            let left = operate(json!({"ask": "merge", "a": a.to_string(), "b": b.to_string()}))?;
            print(&format!("{a} and {b} are {left} now"))
        }
        Command::Show { id, json } => {
            let c = view::find(db, *id).map_err(text)?;
            let networks = crate::understand::networks(&context.settings()?)?;
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
                let network = m.source.as_ref().and_then(|s| s.parse().ok());
                let network = network.map(|a| networks.of(a).to_string()).unwrap_or_default();
                let line = format!(
                    "  session {}  {:<16} {} {:<16} {network}",
                    m.session,
                    m.source.as_deref().unwrap_or("-"),
                    m.first,
                    m.stage.map_or("", |s| s.name())
                );
                print(crate::show::line(&line).trim_end())?;
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
            let networks = crate::understand::networks(&context.settings()?)?;
            let report = build_with(&reader, *id, crate::process::now(), &networks).map_err(text)?;
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

fn rules(context: &Context, as_json: bool) -> Result<(), String> {
    let mut rules = Rules::built_in().map_err(|e| e.to_string())?;
    let own = crate::understand::rules(&context.settings()?)?;
    rules.merge(&own);
    let mut all: Vec<_> = rules.all().collect();
    all.sort_by_key(|r| (r.stage, r.technique.clone(), r.id.clone()));
    for r in all {
        let yours = own.all().any(|o| o.id == r.id);
        if as_json {
            let line = json!({
                "id": r.id, "technique": r.technique, "name": r.name, "stage": r.stage, "event": r.event, "why": r.why,
                "observed": r.observed, "at_least": r.at_least, "yours": yours,
            });
            print(&line.to_string())?;
        } else {
            let line = format!(
                "{:<24} {:<10} {:<20} {:<16} {}{}",
                r.id,
                r.technique,
                r.stage.name(),
                r.event,
                r.name,
                if yours { "  (yours)" } else { "" }
            );
            print(&crate::show::line(&line))?;
        }
    }
    Ok(())
}

fn test(files: &[std::path::PathBuf], as_json: bool) -> Result<(), String> {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let (mut rules, mut wrong) = (0, 0);
    for file in files {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|e| format!("{name}: {e}"))?;
        for t in Rules::test(&name, &text).map_err(|e| e.to_string())? {
            rules += 1;
            wrong += usize::from(!t.wrong.is_empty());
            if as_json {
                print(&json!({"file": name, "rule": t}).to_string())?;
                continue;
            }
            let tried = match (t.examples, t.counterexamples) {
                (0, 0) => "nothing to try it with: give it examples".to_owned(),
                (yes, no) => format!("{}, {}", count(yes, "example"), count(no, "counterexample")),
            };
            let verdict = if t.wrong.is_empty() { "holds" } else { "fails" };
            let line = format!(
                "{verdict}  {:<24} {:<10} {:<16} {tried}",
                t.id, t.technique, t.event
            );
            print(&crate::show::line(&line))?;
            for why in t.wrong {
                print(&crate::show::line(&format!("       it {why}")))?;
            }
        }
    }
    match wrong {
        0 => Ok(()),
        _ => Err(format!("{wrong} of {} fail", count(rules, "rule"))),
    }
}
