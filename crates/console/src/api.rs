//! The JSON API: what the pages show, for programs.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use turncoat_intel::{report as telling, view};
use turncoat_store::Reader;

use crate::call::Call;
use crate::pages::{
    artifact as artifacts, campaign as campaigns_page, report::now, session as session_page,
    sessions as sessions_page,
};
use crate::reply::{Refusal, Reply};
use crate::server::Console;
use crate::{live, origins, search, tally};

/// The most rows of one answer.
pub const MOST: usize = 1_000;

/// Bytes of a recording in one answer.
const PIECE: usize = 1 << 20;

fn limit(call: &Call) -> usize {
    call.query.parsed::<usize>("limit").unwrap_or(100).clamp(1, MOST)
}

fn written(value: impl serde::Serialize) -> Result<Json, Refusal> {
    serde_json::to_value(value).map_err(|e| Refusal::new(500, e.to_string()))
}

fn understood(asked: &search::Asked) -> Result<(), Refusal> {
    match asked.wrong.first() {
        Some(wrong) => Err(Refusal::wrong(wrong)),
        None => Ok(()),
    }
}

pub fn status(console: &Arc<Console>, _: &Reader, _: &Call) -> Result<Reply, Refusal> {
    Ok(Reply::Json(console.host.facts()))
}

pub fn events(console: &Arc<Console>, reader: &Reader, call: &Call) -> Result<Reply, Refusal> {
    let asked = search::asked(&call.query);
    understood(&asked)?;
    let found = console.shown(search::events(reader, &asked.filter, limit(call))?);
    Ok(Reply::Json(json!({"events": written(found)?})))
}

pub fn sessions(_: &Arc<Console>, reader: &Reader, call: &Call) -> Result<Reply, Refusal> {
    let (rows, asked) = sessions_page::found(reader, &call.query, limit(call))?;
    understood(&asked)?;
    Ok(Reply::Json(json!({"sessions": written(rows)?})))
}

pub fn session(console: &Arc<Console>, reader: &Reader, call: &Call) -> Result<Reply, Refusal> {
    let row = session_page::named(reader, call.part("id"))?;
    let campaign = view::campaign_of(reader.database(), row.session)?.map(|c| c.to_string());
    let artifacts = reader.artifacts_of(row.session)?;
    let mut json = written(&row)?;
    if let Some(map) = json.as_object_mut() {
        map.insert("campaign".into(), written(campaign)?);
        map.insert("brought".into(), written(artifacts)?);
        let network = row.src_ip.and_then(|ip| console.host.networks().told(ip));
        map.insert("network".into(), written(network)?);
    }
    Ok(Reply::Json(json))
}

pub fn recording(_: &Arc<Console>, reader: &Reader, call: &Call) -> Result<Reply, Refusal> {
    let row = session_page::named(reader, call.part("id"))?;
    let channel: u16 = call.query.parsed("channel").unwrap_or(0);
    let from: usize = call.query.parsed("from").unwrap_or(0);
    let frames = reader
        .recording(row.session)?
        .ok_or_else(|| Refusal::absent("this session has no recording"))?;
    let (mut out, mut bytes, mut next) = (Vec::new(), 0, None);
    for (n, frame) in frames.enumerate().skip(from) {
        if bytes >= PIECE {
            next = Some(n);
            break;
        }
        if frame.channel == channel {
            bytes += frame.bytes.len();
            out.push(live::frame(&frame));
        }
    }
    Ok(Reply::Json(
        json!({"frames": out, "next": next, "open": row.closed.is_none()}),
    ))
}

/// A campaign with where its sources are.
fn located(console: &Console, reader: &Reader, c: &view::Campaign) -> Result<Json, Refusal> {
    let from = origins::of_campaign(console.host.networks(), reader, c.id)?;
    let mut json = written(c)?;
    if let Some(map) = json.as_object_mut() {
        map.insert("countries".into(), written(from.countries)?);
        map.insert("networks".into(), written(from.networks)?);
    }
    Ok(json)
}

pub fn campaigns(console: &Arc<Console>, reader: &Reader, call: &Call) -> Result<Reply, Refusal> {
    let all = view::campaigns(reader.database(), limit(call))?;
    let all: Vec<Json> = all
        .iter()
        .map(|c| located(console, reader, c))
        .collect::<Result<_, _>>()?;
    Ok(Reply::Json(json!({"campaigns": all})))
}

pub fn campaign(console: &Arc<Console>, reader: &Reader, call: &Call) -> Result<Reply, Refusal> {
    let c = campaigns_page::named(reader, call.part("id"))?;
    let db = reader.database();
    let techniques: Vec<Json> = view::sightings(db, c.id)?
        .into_iter()
        .take(MOST)
        .map(|(session, sighting)| json!({"session": session, "sighting": sighting}))
        .collect();
    Ok(Reply::Json(json!({
        "campaign": located(console, reader, &c)?,
        "sessions": written(view::members(db, c.id, MOST)?)?,
        "links": written(view::links(db, c.id, MOST)?)?,
        "techniques": techniques,
    })))
}

pub fn report(console: &Arc<Console>, reader: &Reader, call: &Call) -> Result<Reply, Refusal> {
    let id = campaigns_page::named(reader, call.part("id"))?.id;
    let report = telling::build_with(reader, id, now(), console.host.networks())?;
    let format = call.query.text("format").unwrap_or("json");
    let pretty = |json: &Json| serde_json::to_vec_pretty(json).unwrap_or_default();
    let (end, kind, bytes) = match format {
        "md" => (
            "md",
            "text/markdown; charset=utf-8",
            telling::markdown(&report).into_bytes(),
        ),
        "html" => (
            "html",
            "text/html; charset=utf-8",
            telling::html(&report).into_bytes(),
        ),
        "stix" => {
            let sensor = console.host.facts()["sensor"]
                .as_str()
                .unwrap_or("turncoat")
                .to_owned();
            (
                "stix.json",
                "application/json",
                pretty(&written(telling::stix(&report, &sensor))?),
            )
        }
        "json" => ("json", "application/json", pretty(&written(&report)?)),
        _ => return Err(Refusal::wrong("format is one of json, md, html, stix")),
    };
    console
        .host
        .note(call.operator(), "campaign report", Some(format!("{id} {format}")));
    Ok(Reply::Download(format!("{id}.{end}"), kind, bytes))
}

pub fn artifact(_: &Arc<Console>, reader: &Reader, call: &Call) -> Result<Reply, Refusal> {
    let known = artifacts::known(reader, call.part("sha256"))?;
    Ok(Reply::Json(json!({
        "sha256": known.sha256, "size": known.size, "first": known.first, "sessions": written(known.sessions)?,
    })))
}

pub fn charts(console: &Arc<Console>, reader: &Reader, _: &Call) -> Result<Reply, Refusal> {
    Ok(Reply::Json(written(&*tally::charts(console, reader, now())?)?))
}

pub fn planted(console: &Arc<Console>, _: &Reader, _: &Call) -> Result<Reply, Refusal> {
    Ok(Reply::Json(json!({"planted": console.host.planted()})))
}

pub fn blocks(console: &Arc<Console>, _: &Reader, _: &Call) -> Result<Reply, Refusal> {
    Ok(Reply::Json(console.host.blocks()))
}

pub fn openapi(console: &Arc<Console>, _: &Call) -> Result<Reply, Refusal> {
    Ok(Reply::Json(crate::openapi::document(&console.settings.version)))
}

pub fn feed_text(console: &Arc<Console>, _: &Call) -> Result<Reply, Refusal> {
    let blocks = console.host.blocks();
    let lines = blocks["blocks"].as_array().map_or(&[][..], Vec::as_slice);
    let text: String = lines
        .iter()
        .filter_map(|b| b["net"].as_str())
        .map(|n| format!("{n}\n"))
        .collect();
    Ok(Reply::Text("text/plain; charset=utf-8", text))
}

pub fn feed_json(console: &Arc<Console>, _: &Call) -> Result<Reply, Refusal> {
    Ok(Reply::Json(console.host.blocks()))
}
