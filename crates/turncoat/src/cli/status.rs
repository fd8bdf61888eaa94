//! `turncoat status`.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use turncoat_store::Filter;

use super::{Context, print};
use crate::process::requests::{NotRunning, ask};
use crate::show;

/// Events of gaps that are counted, and lines that are shown.
const LOOKED_AT: usize = 5000;
const SHOWN: usize = 8;

#[derive(clap::Args)]
pub struct Args {
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(context: &Context, args: &Args) -> Result<(), String> {
    let facts = match ask(&context.layout.control(), &json!({"ask": "status"}))? {
        Ok(facts) => facts,
        Err(NotRunning) => return Err(format!("not running on {}", context.layout.root().display())),
    };
    let unserved = unserved(context)?;
    if args.json {
        let mut facts = facts;
        facts["unserved"] = unserved
            .iter()
            .map(|((program, what), worlds)| json!({"program": program, "what": what, "worlds": worlds}))
            .collect();
        return print(&facts.to_string());
    }
    let text = |v: &Json| {
        v.as_str()
            .map_or_else(|| v.to_string(), |s| show::line(s).into_owned())
    };
    let list = |v: &Json| v.as_array().cloned().unwrap_or_default();
    print(&format!(
        "Turncoat {} is {}",
        text(&facts["version"]),
        text(&facts["state"])
    ))?;
    if let Some(detail) = facts["detail"].as_str().filter(|d| !d.is_empty()) {
        print(&format!("  {}", show::line(detail)))?;
    }
    print(&format!(
        "  up        {} s, {} sessions open",
        facts["uptime_seconds"], facts["sessions_open"]
    ))?;
    for l in list(&facts["listening"]) {
        print(&format!("  listens   {}", text(&l)))?;
    }
    let worlds = &facts["front"]["worlds"];
    if worlds.is_object() {
        print(&format!(
            "  worlds    {} awake, {} resting, {} hibernated",
            worlds["awake"], worlds["resting"], worlds["hibernated"]
        ))?;
    }
    let bytes = |k: &str| show::size(facts["record_bytes"][k].as_u64().unwrap_or(0));
    print(&format!(
        "  record    {} events; database {}, recordings {}, journals {}, artifacts {}",
        facts["events"],
        bytes("database"),
        bytes("recordings"),
        bytes("journals"),
        bytes("artifacts")
    ))?;
    for o in list(&facts["outputs"]) {
        let trouble = o["trouble"]
            .as_str()
            .filter(|t| !t.is_empty())
            .map(|t| format!(": {}", show::line(t)))
            .unwrap_or_default();
        print(&format!(
            "  output    {}, {} events behind{trouble}",
            text(&o["name"]),
            o["behind"]
        ))?;
    }
    for p in list(&facts["processes"]["children"]) {
        let missing: Vec<String> = list(&p["confinement_missing"]).iter().map(text).collect();
        let confined = if missing.is_empty() {
            "confined".to_owned()
        } else {
            format!("not fully confined: {}", missing.join("; "))
        };
        print(&format!(
            "  process   {} {}, {confined}",
            text(&p["name"]),
            p["pid"]
        ))?;
    }
    let mut most: Vec<_> = unserved.into_iter().collect();
    most.sort_by_key(|(_, worlds)| std::cmp::Reverse(*worlds));
    for ((program, what), worlds) in most.iter().take(SHOWN) {
        print(&format!(
            "  unserved  {}: {}, in {worlds} worlds",
            show::line(program),
            show::line(what)
        ))?;
    }
    if most.len() > SHOWN {
        print(&format!(
            "  unserved  {} more: turncoat events --kind world.gap",
            most.len() - SHOWN
        ))?;
    }
    Ok(())
}

/// What programs asked of their worlds and did not get, by program and name, with the number of worlds; of the newest events.
fn unserved(context: &Context) -> Result<BTreeMap<(String, String), u64>, String> {
    let filter = Filter {
        kinds: vec!["world.gap".into()],
        newest_first: true,
        ..Filter::default()
    };
    let (events, _) = context
        .reader()?
        .events(&filter, LOOKED_AT)
        .map_err(|e| e.to_string())?;
    let mut counted = BTreeMap::new();
    for event in events {
        let event = serde_json::to_value(&event).map_err(|e| e.to_string())?;
        let text = |key: &str| {
            event[key]
                .as_str()
                .map_or_else(|| event[key].to_string(), str::to_owned)
        };
        *counted.entry((text("program"), text("detail"))).or_insert(0) += 1;
    }
    Ok(counted)
}
