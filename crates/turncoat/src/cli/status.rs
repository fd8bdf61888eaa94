//! `turncoat status`.

use serde_json::{Value as Json, json};

use super::{Context, print};
use crate::process::requests::{NotRunning, ask};
use crate::show;

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
    if args.json {
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
    Ok(())
}
