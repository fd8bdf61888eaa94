//! `turncoat respond`: what rules would have done, what is blocked, and undoing it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clap::Subcommand;
use serde_json::json;
use turncoat_event::{Kind, Time};
use turncoat_intel::networks::Networks;
use turncoat_intel::{CampaignId, Keeper, Rules, view};
use turncoat_store::rusqlite::Connection;
use turncoat_store::{Filter, Reader, migrate};

use super::{Context, moment, print};
use crate::process::requests::{NotRunning, ask};
use crate::respond::engine::Engine;
use crate::respond::happen;
use crate::respond::net::Net;
use crate::respond::settings::{engine, pace};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// Show what the rules of the configuration would have done on the record so far, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// From this time on (UTC), or so long ago
    #[arg(long, value_parser = moment, value_name = "TIME", default_value = "7d")]
    since: Time,
    /// As JSON lines
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// List what is blocked
    Blocks {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Close the protected side to a campaign's sources, or to one source, by hand
    Block {
        /// A campaign such as C-1, or an address that connected to a decoy
        whom: String,
        /// For how long: 90s, 15m, 24h or 7d
        #[arg(long = "for", value_name = "DURATION", default_value = "24h")]
        lasts: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Undo a block; no rule closes it again before it would have ended
    Lift {
        /// Address or network, as `respond blocks` shows it
        net: Net,
    },
}

/// Runs the subcommand.
///
/// # Errors
/// One line for the operator.
pub fn run(context: &Context, args: &Args) -> Result<(), String> {
    match &args.command {
        Some(Command::Blocks { json }) => blocks(context, *json),
        Some(Command::Block { whom, lasts, json }) => block(context, whom, lasts, *json),
        Some(Command::Lift { net }) => lift(context, net),
        None if args.dry_run => rehearse(context, args.since, args.json),
        None => Err("say --dry-run, or one of: blocks, block, lift".into()),
    }
}

fn running<T>(context: &Context, answer: Result<T, NotRunning>) -> Result<T, String> {
    answer.map_err(|NotRunning| {
        format!(
            "not running on {}: nothing is blocked then",
            context.layout.root().display()
        )
    })
}

fn blocks(context: &Context, json: bool) -> Result<(), String> {
    let answer = ask(&context.layout.control(), &json!({"ask": "blocks"}))?;
    let feed = running(context, answer)?;
    if json {
        return print(&feed.to_string());
    }
    for b in feed["blocks"].as_array().into_iter().flatten() {
        let text = |key: &str| b[key].as_str().unwrap_or("-").to_owned();
        print(&format!(
            "{:<20} until {}  {}",
            text("net"),
            text("until"),
            text("campaign")
        ))?;
    }
    Ok(())
}

fn block(context: &Context, whom: &str, lasts: &str, as_json: bool) -> Result<(), String> {
    let key = if whom.parse::<CampaignId>().is_ok() {
        "campaign"
    } else {
        "net"
    };
    let request = json!({"ask": "block", key: whom, "for": lasts});
    let answer = running(context, ask(&context.layout.control(), &request)?)?;
    if as_json {
        return print(&answer.to_string());
    }
    let blocked = answer["blocked"].as_array().map_or(&[][..], Vec::as_slice);
    for b in blocked {
        let text = |key: &str| b[key].as_str().unwrap_or("-");
        print(&format!("{} is blocked until {}", text("net"), text("until")))?;
    }
    let refused = answer["refused"].as_array().map_or(&[][..], Vec::as_slice);
    for why in refused.iter().filter_map(serde_json::Value::as_str) {
        print(&crate::show::line(&format!("not blocked: {why}")))?;
    }
    match (blocked.is_empty(), refused.is_empty()) {
        (false, _) => Ok(()),
        (true, false) => Err("nothing was blocked".into()),
        (true, true) => Err(format!("{whom} has no source that can be blocked")),
    }
}

fn lift(context: &Context, net: &Net) -> Result<(), String> {
    let answer = ask(
        &context.layout.control(),
        &json!({"ask": "lift", "net": net.to_string()}),
    )?;
    match running(context, answer)?["lifted"].as_bool() {
        Some(true) => print(&format!("{net} is open again")),
        _ => Err(format!("{net} is not blocked; see `turncoat respond blocks`")),
    }
}

/// Reads the whole record again, with campaigns in memory, and lets the rules decide about what happened since `since`.
fn rehearse(context: &Context, since: Time, as_json: bool) -> Result<(), String> {
    let mut settings = context.settings()?;
    settings.respond.dry_run = false;
    settings.block.enabled = true;
    if settings.block.protect.is_empty() {
        // Nothing is touched here; the check is for those who block for real.
        settings.block.protect.push("192.0.2.0/24".into());
    }
    let mut rehearsal = Rehearsal::new(context, engine(&settings, &[])?)?;
    let pace = pace(&settings);
    let reader = context.reader()?;
    let last = reader.last_seq().map_err(|e| e.to_string())?;
    let (mut after, mut counts) = (0, BTreeMap::new());
    while after < last {
        let filter = Filter {
            after: Some(after),
            ..Filter::default()
        };
        let (events, seen) = reader.events(&filter, 2_000).map_err(|e| e.to_string())?;
        for event in &events {
            for (time, kind) in rehearsal.event(event, since, &pace, &reader)? {
                let line = match &kind {
                    Kind::ResponseDecide(d) => match &d.target {
                        Some(target) => format!(
                            "{} {target} until {}",
                            d.action,
                            d.until.map_or_else(|| "-".into(), crate::show::time)
                        ),
                        None => d.action.clone(),
                    },
                    Kind::AlertOpen(a) => format!("message: {}: {}", a.severity, a.title),
                    Kind::AlertUpdate(a) => format!("message: update: {}", a.title),
                    Kind::ResponseResult(r) => format!("{} {}", r.result, r.detail.as_deref().unwrap_or("")),
                    _ => continue,
                };
                let what = match &kind {
                    Kind::ResponseDecide(d) => d.action.clone(),
                    Kind::ResponseResult(r) => r.result.clone(),
                    _ => "message".into(),
                };
                *counts.entry(what).or_insert(0u64) += 1;
                if as_json {
                    print(&json!({"time": time, "event": kind.name(), "fields": kind}).to_string())?;
                } else {
                    let by = match &kind {
                        Kind::ResponseDecide(d) => format!(
                            "{} ({})",
                            d.campaign.as_deref().unwrap_or("-"),
                            d.rule.as_deref().unwrap_or("-")
                        ),
                        Kind::AlertOpen(a) => a.campaign.clone().unwrap_or_default(),
                        _ => String::new(),
                    };
                    print(&format!(
                        "{}  {by:<16} {}",
                        crate::show::time(time),
                        crate::show::line(&line)
                    ))?;
                }
            }
        }
        if seen <= after {
            break;
        }
        after = seen;
    }
    if !as_json {
        let all: Vec<String> = counts.iter().map(|(what, n)| format!("{n} {what}")).collect();
        let all = if all.is_empty() {
            "nothing".into()
        } else {
            all.join(", ")
        };
        print(&format!(
            "since {}: {all}; nothing was touched",
            crate::show::time(since)
        ))?;
    }
    Ok(())
}

/// Campaigns and rules over a record that is read again.
struct Rehearsal {
    db: Connection,
    keeper: Keeper,
    engine: Engine,
    networks: Networks,
}

impl Rehearsal {
    fn new(context: &Context, engine: Engine) -> Result<Rehearsal, String> {
        let text = |e: turncoat_store::StoreError| e.to_string();
        let mut db = Connection::open_in_memory().map_err(|e| e.to_string())?;
        migrate::migrate(&mut db, &context.layout).map_err(text)?;
        let mut rules = Rules::built_in().map_err(|e| e.to_string())?;
        rules.merge(&crate::understand::rules(&context.settings()?)?);
        let keeper = Keeper::open(&mut db, rules).map_err(text)?;
        let networks = crate::understand::networks(&context.settings()?)?;
        Ok(Rehearsal {
            db,
            keeper,
            engine,
            networks,
        })
    }

    /// Takes in one event; what would have followed from it, if it happened since `since`.
    fn event(
        &mut self,
        event: &turncoat_event::Event,
        since: Time,
        pace: &crate::respond::incident::Pace,
        reader: &Reader,
    ) -> Result<Vec<(Time, Kind)>, String> {
        let text = |e: turncoat_store::StoreError| e.to_string();
        let at = event.time;
        let mut kinds = Vec::new();
        let changes = self
            .keeper
            .add(&mut self.db, std::slice::from_ref(event))
            .map_err(text)?;
        if at < since {
            return Ok(Vec::new());
        }
        for change in changes {
            let Some(mut h) = happen::of_change(&self.db, &change, &self.networks).map_err(text)? else {
                continue;
            };
            // Who the session is stands in the record that is read, not in ours.
            if let Some(row) = change.session.and_then(|s| reader.session(s).ok().flatten()) {
                h.facts.source = row.src_ip.map(|a| a.to_canonical());
                h.facts.port = row.dst_port.map_or(0, u64::from);
                h.facts.decoy = row.decoy.unwrap_or_default();
            }
            let db = &self.db;
            let mut all = || -> Vec<IpAddr> { view::sources(db, change.campaign).unwrap_or_default() };
            kinds.extend(self.engine.decide(&h, &mut all, at).0);
        }
        if self.engine.wants(event.kind.name()) {
            let campaign = event.origin.session.and_then(|s| self.keeper.campaign_of(&s));
            let h = happen::of_event(&self.db, event, campaign, &self.networks).map_err(text)?;
            let source = h.facts.source;
            let mut all = || source.into_iter().collect();
            kinds.extend(self.engine.decide(&h, &mut all, at).0);
        }
        self.engine.tick(at);
        kinds.extend(
            self.engine
                .incidents
                .due(at, pace)
                .iter()
                .map(crate::process::think::alert_event),
        );
        Ok(kinds.into_iter().map(|k| (at, k)).collect())
    }
}
