//! One campaign: why its sessions belong together, how far it came, and what a person does about it.

use std::sync::Arc;

use maud::{Markup, html};
use serde_json::{Value as Json, json};
use turncoat_event::show;
use turncoat_intel::{CampaignId, view};
use turncoat_store::Reader;

use super::{Place, frame, session_link, stage_mark, when};
use crate::call::Call;
use crate::chart;
use crate::origins;
use crate::reply::{Refusal, Reply};
use crate::server::Console;
use crate::words::{number, text};

/// Sessions and links on the page.
const SESSIONS: usize = 500;
const LINKS: usize = 500;

/// The campaign that a path names.
///
/// # Errors
/// There is none.
pub fn named(reader: &Reader, id: &str) -> Result<view::Campaign, Refusal> {
    let id: CampaignId = id
        .parse()
        .map_err(|_| Refusal::absent("there is no such campaign"))?;
    view::find(reader.database(), id).map_err(|e| Refusal::absent(e.to_string()))
}

/// `GET /campaigns/{id}`.
pub fn page(console: &Arc<Console>, reader: &Reader, call: &Call) -> Result<Reply, Refusal> {
    let c = named(reader, call.part("id"))?;
    let db = reader.database();
    let members = view::members(db, c.id, SESSIONS)?;
    let links = view::links(db, c.id, LINKS)?;
    let sightings = view::sightings(db, c.id)?;
    let networks = console.host.networks();
    let from = origins::of_campaign(networks, reader, c.id)?;
    let whose = |source: &Option<String>| source.as_ref().and_then(|s| networks.told(s.parse().ok()?));
    let id = c.id.to_string();
    let blocked = of_campaign(&console.host.blocks(), &id);
    let csrf = html! { input type="hidden" name="csrf" value=(call.csrf()); };
    let done = call.query.text("done");
    let wrong = call.query.text("wrong");
    let body = html! {
        h1 { "Campaign " (id) " " (stage_mark(c.stage)) }
        @if let Some(done) = done { p.done role="status" { (text(done)) } }
        @if let Some(wrong) = wrong { p.alarm role="alert" { (text(wrong)) } }
        dl.facts {
            div { dt { "sessions" } dd { (number(c.sessions)) } }
            div { dt { "sources" } dd { (number(c.sources)) } }
            @if !from.countries.is_empty() { div { dt { "countries" } dd { (text(&origins::names(&from.countries))) } } }
            @if !from.networks.is_empty() { div { dt { "networks" } dd {
                @for (n, it) in from.networks.iter().take(3).enumerate() {
                    @if n > 0 { ", " } (text(&it.name)) @if let Some(about) = &it.about { " " span.quiet { (text(about)) } }
                }
            } } }
            div { dt { "planted things used" } dd { @if c.tokens > 0 { strong.alarm { (c.tokens) } } @else { "none" } } }
            div { dt { "first seen" } dd { (when(c.first)) } }
            div { dt { "last seen" } dd { (when(c.last)) } }
            div { dt { "report" } dd {
                a href=(format!("/campaigns/{id}/report")) { "read" }
                @for (format, name) in [("md", "Markdown"), ("html", "HTML"), ("json", "JSON"), ("stix", "STIX 2.1")] {
                    " \u{b7} " a href=(format!("/api/v1/campaigns/{id}/report?format={format}")) { (name) }
                }
            } }
        }
        section.todo aria-label="What to do" {
            form method="post" action=(format!("/campaigns/{id}/block")) {
                (csrf)
                label { "Close the protected side to its sources for"
                    select name="for" { @for d in ["1h", "24h", "7d", "30d"] { option value=(d) selected[d == "24h"] { (d) } } } }
                button.alarm { "Block" }
            }
            form method="post" action="/campaigns/merge" {
                (csrf)
                input type="hidden" name="a" value=(id);
                label { "Join with campaign" input name="b" size="8" placeholder="C-2" required pattern="C-[0-9]+"; }
                button { "Join" }
            }
        }
        @if !blocked.is_empty() { (blocks(&blocked, call)) }
        section { h2 { "How far" } (stage_section(&sightings, &c)) }
        section {
            h2 { "Why these sessions belong together " span.count { (links.len()) " links" } }
            @if links.is_empty() {
                p.empty { "One session so far." }
            } @else {
                (chart::links(&members, &links))
                details { summary { "Reasons, heaviest first" }
                    div.scroll { table { thead { tr { th { "session" } th { "with" } th { "reason" } th.num { "weight" } th { "what they share" } } }
                        tbody { @for l in links.iter().take(200) { tr {
                            td { (session_link(l.session)) } td { (session_link(l.other)) }
                            td { (text(&l.reason)) } td.num { (format!("{:.1}", l.weight)) } td { code.his { (text(&l.detail)) } }
                        } } }
                    } }
                }
            }
        }
        section {
            h2 { "Techniques" }
            (techniques(&sightings))
        }
        section {
            h2 { "Sessions " span.count { (members.len()) @if c.sessions as usize > members.len() { " of " (number(c.sessions)) } } }
            form method="post" action=(format!("/campaigns/{id}/split")) {
                (csrf)
                div.scroll { table.rows {
                    thead { tr { th { span.hidden { "choose" } } th { "session" } th { "source" } th { "first (UTC)" } th { "last (UTC)" } th { "stage" } } }
                    tbody { @for m in &members {
                        tr tabindex="0" data-open=(format!("/sessions/{}", m.session)) {
                            td { input type="checkbox" name="session" value=(m.session) aria-label=(format!("choose {}", m.session)); }
                            td { (session_link(m.session)) }
                            td { span.num { (text(m.source.as_deref().unwrap_or("-"))) } @if let Some(whose) = whose(&m.source) { " " span.quiet { (text(&whose)) } } }
                            td { (when(m.first)) } td { (when(m.last)) }
                            td { (stage_mark(m.stage)) }
                        }
                    } }
                } }
                p { button { "Take the chosen sessions out" } span.quiet { " into a campaign of their own; it stays so" } }
            }
        }
    };
    Ok(Reply::Page(frame(
        call,
        Place::Campaigns,
        &format!("Campaign {id}"),
        &[],
        body,
    )))
}

fn stage_section(
    sightings: &[(turncoat_event::SessionId, turncoat_intel::Sighting)],
    c: &view::Campaign,
) -> Markup {
    html! {
        @if sightings.is_empty() {
            p.empty { "No technique seen yet." }
        } @else {
            div.scroll { (chart::stages(sightings, c.first, c.last)) }
            p.legend { span.key.seen { "observed" } " " span.key.inferred { "inferred" } }
        }
    }
}

/// Techniques, each once, with how often and where it was seen first.
fn techniques(sightings: &[(turncoat_event::SessionId, turncoat_intel::Sighting)]) -> Markup {
    let mut seen: Vec<(&turncoat_intel::Sighting, turncoat_event::SessionId, u64, usize)> = Vec::new();
    for (session, s) in sightings {
        match seen.iter_mut().find(|(k, ..)| k.rule == s.rule) {
            Some(known) => {
                known.2 += s.count;
                known.3 += 1;
            }
            None => seen.push((s, *session, s.count, 1)),
        }
    }
    html! {
        @if seen.is_empty() { p.empty { "None." } } @else {
            div.scroll { table {
                thead { tr { th { "technique" } th { "stage" } th { "basis" } th { "why" } th.num { "times" } th.num { "sessions" } th { "first" } } }
                tbody { @for (s, session, count, sessions) in seen { tr {
                    td { span.mono { (text(&s.technique)) } " " (text(&s.name)) }
                    td { (stage_mark(Some(s.stage))) }
                    td { @if s.observed { span.basis { "observed" } } @else { span.basis.inferred { "inferred" } } }
                    td { (text(&s.why)) }
                    td.num { (number(count)) } td.num { (sessions) }
                    td { (session_link(session)) @if let Some(e) = s.evidence.first() { " " a href=(format!("/sessions/{session}?after={}#events", e.saturating_sub(1))) { "event " (e) } } }
                } } }
            } }
        }
    }
}

/// The blocks of a feed that are because of this campaign.
fn of_campaign(feed: &Json, id: &str) -> Vec<Json> {
    feed["blocks"]
        .as_array()
        .map(|all| all.iter().filter(|b| b["campaign"] == id).cloned().collect())
        .unwrap_or_default()
}

/// What can be lifted: an address or a network, and nothing else goes into a form.
fn is_network(text: &str) -> bool {
    text.parse::<turncoat_store::Source>().is_ok()
}

/// Blocks with what lifts them.
pub fn blocks(list: &[Json], call: &Call) -> Markup {
    html! {
        section {
            h2 { "Blocked " span.count { (list.len()) } }
            div.scroll { table { tbody { @for block in list {
                @let net = block["net"].as_str().unwrap_or_default();
                tr {
                    td.num { (text(net)) }
                    td { "until " (text(block["until"].as_str().unwrap_or("-"))) }
                    td { (text(block["campaign"].as_str().unwrap_or(""))) }
                    td { @if is_network(net) { form.inline method="post" action="/blocks/lift" {
                        input type="hidden" name="csrf" value=(call.csrf());
                        input type="hidden" name="net" value=(net);
                        input type="hidden" name="back" value=(call.path);
                        button { "Lift" }
                    } } }
                }
            } } } }
        }
    }
}

/// Leads back with what came of it.
fn back(place: &str, came: Result<String, String>) -> Reply {
    let (key, text) = match came {
        Ok(text) => ("done", text),
        Err(text) => ("wrong", text),
    };
    Reply::Goto(format!(
        "{place}?{key}={}",
        crate::call::encode(&show::short(&text, 300))
    ))
}

fn campaign(text: &str) -> Result<CampaignId, Refusal> {
    text.parse()
        .map_err(|_| Refusal::wrong("expected a campaign such as C-1"))
}

/// `POST /campaigns/merge`.
pub fn merge(console: &Arc<Console>, call: &Call) -> Result<Reply, Refusal> {
    let (a, b) = (
        campaign(call.form.text("a").unwrap_or_default())?,
        campaign(call.form.text("b").unwrap_or_default())?,
    );
    let request = json!({"ask": "merge", "a": a.to_string(), "b": b.to_string()});
    let came = console.host.ask(call.operator(), &request);
    let place = match &came {
        Ok(it) => it["campaign"]
            .as_str()
            .map_or_else(|| a.to_string(), str::to_owned),
        Err(_) => a.to_string(),
    };
    let came = came.map(|_| format!("{a} and {b} are one campaign now."));
    Ok(back(&format!("/campaigns/{}", campaign(&place)?), came))
}

/// `POST /campaigns/{id}/split`.
pub fn split(console: &Arc<Console>, call: &Call) -> Result<Reply, Refusal> {
    let id = campaign(call.part("id"))?;
    let sessions: Vec<&str> = call.form.all("session").take(SESSIONS).collect();
    let request = json!({"ask": "split", "campaign": id.to_string(), "sessions": sessions});
    let came = if sessions.is_empty() {
        Err("Choose the sessions to take out first.".into())
    } else {
        console.host.ask(call.operator(), &request)
    };
    let came = came.map(|it| {
        format!(
            "{} sessions are {} now.",
            sessions.len(),
            it["campaign"].as_str().unwrap_or("a campaign of their own")
        )
    });
    Ok(back(&format!("/campaigns/{id}"), came))
}

/// `POST /campaigns/{id}/block`.
pub fn block(console: &Arc<Console>, call: &Call) -> Result<Reply, Refusal> {
    let id = campaign(call.part("id"))?;
    let how_long = call.form.text("for").unwrap_or("24h");
    let request = json!({"ask": "block", "campaign": id.to_string(), "for": how_long});
    let came = console.host.ask(call.operator(), &request).map(|it| {
        let refused: Vec<String> = it["refused"]
            .as_array()
            .map(|all| all.iter().filter_map(|r| r.as_str().map(str::to_owned)).collect())
            .unwrap_or_default();
        let count = it["blocked"].as_array().map_or(0, Vec::len);
        if refused.is_empty() {
            format!("{count} sources are blocked for {how_long}.")
        } else {
            format!(
                "{count} sources are blocked for {how_long}; not blocked: {}",
                refused.join("; ")
            )
        }
    });
    Ok(back(&format!("/campaigns/{id}"), came))
}

/// `POST /blocks/lift`.
pub fn lift(console: &Arc<Console>, call: &Call) -> Result<Reply, Refusal> {
    let net = call.form.text("net").unwrap_or_default();
    let came = console
        .host
        .ask(call.operator(), &json!({"ask": "lift", "net": net}))
        .map(|_| format!("{net} is no longer blocked."));
    // Only to a page of ours: a path, and no second slash that would make it a host.
    let place = call
        .form
        .text("back")
        .filter(|p| p.starts_with("/campaigns/") && !p.contains(['?', '#', '\\']))
        .unwrap_or("/decoys");
    Ok(back(place, came))
}
