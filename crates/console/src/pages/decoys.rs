//! Decoys: what listens, what it shows, how the program is, what is planted, what is blocked.

use std::sync::Arc;

use maud::{Markup, html};
use serde_json::Value as Json;
use turncoat_event::show;
use turncoat_store::Reader;

use super::campaign::blocks;
use super::{Place, event_rows, frame, when};
use crate::call::Call;
use crate::reply::{Refusal, Reply};
use crate::search::newest;
use crate::server::Console;
use crate::words::{lasted, number, text};

fn list(value: &Json) -> &[Json] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn word(value: &Json) -> String {
    match value {
        Json::String(s) => text(s),
        Json::Null => "-".into(),
        other => text(&other.to_string()),
    }
}

/// Facts as names and values, however they are nested.
fn facts(value: &Json) -> Markup {
    html! {
        dl.facts { @if let Some(map) = value.as_object() { @for (key, value) in map {
            div { dt { (text(&key.replace('_', " "))) } dd {
                @match value {
                    Json::Array(all) => { @for (n, it) in all.iter().enumerate() { @if n > 0 { ", " } (word(it)) } },
                    other => (word(other)),
                }
            } }
        } } }
    }
}

/// What the last audit of the running decoy found, and when that was.
fn audit(last: &Json) -> Markup {
    let Some(made) = last["made"].as_str().and_then(|t| t.parse().ok()) else {
        return html! { p.empty { "Never made. " code { "turncoat cover audit" } " looks at the decoy from outside and inside for what does not agree." } };
    };
    let findings = list(&last["findings"]);
    html! {
        p {
            (when(made)) " at " span.mono { (word(&last["target"])) } ": " (word(&last["checks"])) " checks, "
            @if findings.is_empty() { span.good { "no contradiction" } } @else { strong.alarm { (findings.len()) " contradictions" } }
        }
        ul.plainlist { @for f in findings.iter().take(50) { li {
            span.mono { (word(&f["id"])) } " " (word(&f["says"])) ", but " code.his { (word(&f["seen"])) }
        } } }
    }
}

/// `GET /decoys`.
pub fn page(console: &Arc<Console>, reader: &Reader, call: &Call) -> Result<Reply, Refusal> {
    let status = console.host.facts();
    let planted = console.host.planted();
    let blocked = console.host.blocks();
    let blocked = list(&blocked["blocks"]);
    let health = console.shown(newest(
        reader,
        &[
            "system.start",
            "system.stop",
            "system.degraded",
            "system.recovered",
            "world.panic",
            "operator.action",
            "alert.sent",
        ],
        30,
    )?);
    let gaps = newest(reader, &["world.gap"], 20)?;
    let bytes = |key: &str| show::size(status["record_bytes"][key].as_u64().unwrap_or(0));
    let body = html! {
        h1 { "Decoys" }
        @if let Some(done) = call.query.text("done") { p.done role="status" { (text(done)) } }
        @if let Some(wrong) = call.query.text("wrong") { p.alarm role="alert" { (text(wrong)) } }
        div.columns {
            section {
                h2 { "What listens" }
                ul.plainlist { @for l in list(&status["listening"]) { li.mono { (word(l)) } } }
                @if list(&status["listening"]).is_empty() { p.empty { "Nothing." } }
                h2 { "What it shows" }
                @if status["cover"].is_object() { (facts(&status["cover"])) } @else { p.empty { "No decoy with a machine behind it." } }
                h2 { "Audit of the cover" }
                (audit(&status["audit"]))
            }
            section {
                h2 { "How it is" }
                dl.facts {
                    div { dt { "state" } dd { @if status["state"] == "working" { span.good { "working" } } @else { strong.alarm { (word(&status["state"])) } " " (word(&status["detail"])) } } }
                    div { dt { "version" } dd { (word(&status["version"])) } }
                    div { dt { "up" } dd { (lasted(status["uptime_seconds"].as_u64().unwrap_or(0) * 1000)) } }
                    div { dt { "sessions open" } dd { (word(&status["sessions_open"])) } }
                    div { dt { "events" } dd { (number(status["events"].as_u64().unwrap_or(0))) } }
                    div { dt { "record" } dd { (bytes("database")) " database, " (bytes("recordings")) " recordings, " (bytes("artifacts")) " artifacts" } }
                }
                div.scroll { table {
                    thead { tr { th { "process" } th.num { "pid" } th { "confined" } } }
                    tbody { @for p in list(&status["processes"]["children"]) { tr {
                        td { (word(&p["name"])) } td.num { (word(&p["pid"])) }
                        td {
                            @if list(&p["confinement_missing"]).is_empty() { span.good { "yes" } }
                            @for m in list(&p["confinement_missing"]) { strong.alarm { (word(m)) } " " }
                        }
                    } } }
                } }
                @if !list(&status["outputs"]).is_empty() {
                    h2 { "Outputs" }
                    div.scroll { table { tbody { @for o in list(&status["outputs"]) { tr {
                        td { (word(&o["name"])) } td.num { (word(&o["behind"])) " behind" }
                        td { @if let Some(t) = o["trouble"].as_str().filter(|t| !t.is_empty()) { strong.alarm { (text(t)) } } @else { span.good { "fine" } } }
                    } } } } }
                }
            }
        }
        section {
            h2 { "What is planted " span.count { (list(&planted).len()) } }
            @if list(&planted).is_empty() {
                p.empty { "Nothing. " code { "turncoat plant credential --for HOST" } " makes something." }
            } @else {
                div.scroll { table {
                    thead { tr { th { "id" } th { "kind" } th { "host" } th { "note" } th { "user" } th { "made" } th { "" } } }
                    tbody { @for p in list(&planted) { tr {
                        td.mono { a href=(format!("/search?q={}", crate::call::encode(p["id"].as_str().unwrap_or_default()))) { (word(&p["id"])) } }
                        td { (word(&p["kind"])) } td { (word(&p["host"])) } td { (word(&p["note"])) }
                        td { (word(&p["user"])) } td { (word(&p["made"])) }
                        td { @if p["revoked"] == true { span.quiet { "revoked" } } @else { span.good { "works" } } }
                    } } }
                } }
            }
        }
        @if !blocked.is_empty() { (blocks(blocked, call)) }
        section { h2 { "What the program and its operators did" } (event_rows(&health, false)) }
        @if !gaps.is_empty() { section { h2 { "Where a world was not like a real machine" } (event_rows(&gaps, true)) } }
    };
    Ok(Reply::Page(frame(call, Place::Decoys, "Decoys", &[], body)))
}
