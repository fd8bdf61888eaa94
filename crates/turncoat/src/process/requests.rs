//! Requests of the command line to the running program, over a socket in the data directory.
//!
//! One JSON object a line each way: `{"ask": "status"}` gives `{"ok": ...}` or `{"error": "..."}`. Whoever may enter the data
//! directory may ask.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use turncoat_event::kinds::ResponseResult;
use turncoat_event::{Draft, SessionId};
use turncoat_intel::{CampaignId, view};
use turncoat_store::rusqlite::Connection;
use turncoat_store::{Source, StoreError, outbox};

use super::record::{Pen, Shared, operator_action};
use super::{now, thread};
use crate::respond::act::Act;
use crate::respond::engine::REFUSALS;
use crate::respond::memory::UNDO;
use crate::respond::net::Net;

/// The longest request, in bytes.
const LONGEST: u64 = 64 << 10;

/// Serves requests for ever.
pub fn serve(listener: &UnixListener, shared: &Arc<Shared>, pen: &Pen) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        let (shared, pen) = (shared.clone(), pen.clone());
        thread("request", move || {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            let _ = stream.set_write_timeout(Some(Duration::from_secs(10)));
            let mut text = String::new();
            let Ok(reading) = stream.try_clone() else { return };
            if BufReader::new(reading.take(LONGEST))
                .read_line(&mut text)
                .is_err()
            {
                return;
            }
            let answer = match serde_json::from_str::<Json>(&text) {
                Ok(request) => answer("local", &request, &shared, &pen),
                Err(_) => Err("a request is one JSON object on a line".into()),
            };
            let answer = match answer {
                Ok(it) => json!({"ok": it}),
                Err(why) => json!({"error": why}),
            };
            let mut stream = stream;
            let _ = writeln!(stream, "{answer}");
        });
    }
}

/// One request: what it does is one row. `operator` is who asks, as the record names him: `local` for the command line.
///
/// # Errors
/// One line for whoever asks.
pub fn answer(operator: &str, request: &Json, shared: &Shared, pen: &Pen) -> Result<Json, String> {
    let text = |key: &str| {
        request
            .get(key)
            .and_then(Json::as_str)
            .ok_or(format!("the request lacks {key}"))
    };
    match text("ask")? {
        "status" => Ok(shared.facts()),
        "forget" => {
            let source: Source = text("source")?.parse()?;
            let (gone, open) = pen
                .ask(move |writer| writer.forget(&source))
                .ok_or("the record has stopped")?
                .map_err(|e| e.to_string())?;
            // What was understood of its sessions goes with them.
            if let Err(why) = shared
                .minded
                .ask(pen, |mind, writer| mind.keeper.purge(writer.database()))
            {
                super::say("record", &format!("forgetting in campaigns: {why}"));
            }
            // Not which source: it is to be forgotten.
            pen.signed(operator_action(
                operator,
                "forget",
                Some(format!("{gone} sessions")),
            ));
            Ok(json!({"sessions": gone, "open": open}))
        }
        "console-link" => {
            let console = shared
                .console
                .get()
                .ok_or("the console listens nowhere; see console.listen")?;
            let link = console.link().ok_or("the system gives no random bytes")?;
            pen.signed(operator_action(operator, "console link", None));
            let at = console.settings.reached.first().map_or("", String::as_str);
            Ok(json!({"url": format!("{at}/in/{link}")}))
        }
        "alert-test" => alert_test(shared, pen),
        "blocks" => shared
            .minded
            .ask(pen, |mind, _| Ok(mind.engine.blocks.feed_json(now()))),
        "block" => block(operator, request, shared, pen),
        "lift" => {
            let net: Net = text("net")?.parse()?;
            let operator = operator.to_owned();
            let lifted = shared.minded.ask(pen, move |mind, writer| {
                let Some(block) = mind.engine.blocks.lift(&net) else {
                    return Ok(false);
                };
                let undone = ResponseResult {
                    response: format!("{}/{UNDO}{net}", block.by),
                    result: "undone".into(),
                    detail: Some(format!(
                        "an operator lifted it; no rule blocks it before {}",
                        block.until
                    )),
                };
                let events = vec![
                    Draft::of_system(now(), undone),
                    operator_action(&operator, "lift", Some(net.to_string())),
                ];
                writer.append_with(|_| Ok((true, events)))
            })?;
            shared.minded.changed.store(true, Ordering::Relaxed);
            Ok(json!({"lifted": lifted}))
        }
        "merge" => {
            let (a, b): (CampaignId, CampaignId) = (text("a")?.parse()?, text("b")?.parse()?);
            let left = shared.minded.ask(pen, move |mind, writer| {
                mind.keeper.merge(writer.database(), a, b)
            })?;
            pen.signed(operator_action(operator, "merge", Some(format!("{a} {b}"))));
            Ok(json!({"campaign": left.to_string()}))
        }
        "split" => {
            let from: CampaignId = text("campaign")?.parse()?;
            let sessions = request
                .get("sessions")
                .and_then(Json::as_array)
                .cloned()
                .unwrap_or_default();
            let sessions: Vec<SessionId> = sessions
                .iter()
                .filter_map(Json::as_str)
                .map(|s| s.parse().map_err(|_| format!("{s:?} is no session")))
                .collect::<Result<_, _>>()?;
            let n = sessions.len();
            let new = shared.minded.ask(pen, move |mind, writer| {
                mind.keeper.split(writer.database(), from, &sessions)
            })?;
            pen.signed(operator_action(
                operator,
                "split",
                Some(format!("{n} sessions of {from} into {new}")),
            ));
            Ok(json!({"campaign": new.to_string()}))
        }
        other => Err(format!("there is no request {}", crate::show::line(other))),
    }
}

/// Closes the protected side to the sources of a campaign (`campaign`), or to one source (`net`), for as long as `for` says. Only to
/// what a completed connection proves.
fn block(operator: &str, request: &Json, shared: &Shared, pen: &Pen) -> Result<Json, String> {
    let text = |key: &str| request.get(key).and_then(Json::as_str);
    let lasts = text("for").ok_or("the request lacks for")?;
    let Act::Block(duration) = format!("block {lasts}").parse()? else {
        return Err("a block needs a duration: 24h".into());
    };
    let campaign: Option<CampaignId> = text("campaign").map(str::parse).transpose()?;
    let net: Option<Net> = text("net").map(str::parse).transpose()?;
    if campaign.is_some() == net.is_some() {
        return Err("a block needs a campaign or an address".into());
    }
    let (operator, lasts) = (operator.to_owned(), lasts.to_owned());
    let done = shared.minded.ask(pen, move |mind, writer| {
        let (campaign, sources) = match (campaign, net) {
            (Some(id), _) => {
                let id = view::find(writer.database(), id)?.id;
                (Some(id.to_string()), view::sources(writer.database(), id)?)
            }
            (None, Some(net)) => (None, vec![proven(writer.database(), &net)?]),
            (None, None) => (None, Vec::new()),
        };
        let done = mind
            .engine
            .by_hand(&operator, campaign.as_deref(), &sources, duration, now());
        let whom = campaign.or(net.map(|n| n.to_string())).unwrap_or_default();
        let asked = operator_action(&operator, "block", Some(format!("{whom} for {lasts}")));
        let mut events = vec![asked];
        events.extend(done.events.iter().map(|k| Draft::of_system(now(), k.clone())));
        writer.append_with(|_| Ok((done, events)))
    })?;
    shared.minded.changed.store(true, Ordering::Relaxed);
    let blocked: Vec<Json> = done
        .blocked
        .iter()
        .map(|(net, until)| json!({"net": net, "until": until}))
        .collect();
    let mut refused: Vec<String> = done
        .refused
        .iter()
        .take(REFUSALS)
        .map(|(net, why)| format!("{net}: {why}"))
        .collect();
    if done.refused.len() > REFUSALS {
        refused.push(format!("and {} more", done.refused.len() - REFUSALS));
    }
    Ok(json!({"blocked": blocked, "refused": refused}))
}

/// The source that is meant by an address or by the /64 of one, if a completed connection of it is on record.
fn proven(db: &Connection, net: &Net) -> Result<IpAddr, StoreError> {
    if Net::of_source(net.address()).prefix() > net.prefix() {
        return Err(StoreError::Refused(format!(
            "{net} is more than one source; a block is of an address, or of the /64 of an IPv6 one"
        )));
    }
    let net = Net::of_source(net.address());
    let mut query = db.prepare("SELECT DISTINCT src_ip FROM session WHERE src_ip IS NOT NULL")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        if let Ok(source) = row.get::<_, String>(0)?.parse::<IpAddr>()
            && net.contains(source)
        {
            return Ok(source);
        }
    }
    Err(StoreError::Refused(format!(
        "no connection from {net} is on record; only what a completed connection proves is blocked"
    )))
}

/// Sends a test letter by every way and waits for what became of each, at most 100 seconds.
fn alert_test(shared: &Shared, pen: &Pen) -> Result<Json, String> {
    let ways = shared.minded.ask(pen, |mind, writer| mind.test(writer, now()))?;
    shared.bell.ring();
    let reader = turncoat_store::Reader::open(&shared.layout).map_err(|e| e.to_string())?;
    let until = Instant::now() + Duration::from_secs(100);
    let mut answers = Vec::new();
    for (way, key) in ways {
        let error = loop {
            match outbox::state(reader.database(), way, &key).map_err(|e| e.to_string())? {
                outbox::State::Gone => break None,
                outbox::State::Failed(why) => break Some(why),
                outbox::State::Waiting if Instant::now() > until => break Some("no answer yet".to_owned()),
                outbox::State::Waiting => std::thread::sleep(Duration::from_millis(50)),
            }
        };
        if error.is_some() {
            let key = key.clone();
            let _ = pen.ask(move |writer| outbox::withdraw(writer.database(), &key));
        }
        answers.push(json!({"way": way, "taken": error.is_none(), "error": error}));
    }
    Ok(Json::Array(answers))
}

/// Asks the running program.
///
/// # Errors
/// One line; [`NotRunning`] as `Ok(Err)` where no program listens.
pub fn ask(control: &Path, request: &Json) -> Result<Result<Json, NotRunning>, String> {
    let Ok(mut stream) = UnixStream::connect(control) else {
        return Ok(Err(NotRunning));
    };
    let tell = |e: std::io::Error| format!("asking the running program: {e}");
    stream
        .set_read_timeout(Some(Duration::from_secs(120)))
        .map_err(tell)?;
    writeln!(stream, "{request}").map_err(tell)?;
    let mut text = String::new();
    BufReader::new(stream).read_line(&mut text).map_err(tell)?;
    let answer: Json =
        serde_json::from_str(&text).map_err(|_| "the running program gave no answer".to_owned())?;
    match (answer.get("ok"), answer.get("error").and_then(Json::as_str)) {
        (Some(ok), _) => Ok(Ok(ok.clone())),
        (None, Some(error)) => Err(error.to_owned()),
        _ => Err("the running program gave no answer".into()),
    }
}

/// No program runs on this data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotRunning;
