//! One session: what is known of it, its replay, and what happened in it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use maud::{Markup, html};
use turncoat_event::{Bytes, Direction, Event, Kind, SessionId, show};
use turncoat_intel::view;
use turncoat_store::{Filter, Reader, SessionRow};

use super::sessions::how_long;
use super::{Place, clock, event_rows, frame, when};
use crate::call::Call;
use crate::reply::{Refusal, Reply};
use crate::server::Console;
use crate::words::{self, his, text};

/// Events on a page.
const ROWS: usize = 200;

/// Events of each kind that the summaries look at.
const LOOKED: usize = 2_000;

/// Channels whose recordings are offered.
const CHANNELS: usize = 16;

/// Frames looked at to find the channels of a recording.
const FRAMES: usize = 20_000;

/// The session that a path names.
///
/// # Errors
/// There is none.
pub fn named(reader: &Reader, id: &str) -> Result<SessionRow, Refusal> {
    let absent = || Refusal::absent("there is no such session");
    let id: SessionId = id.parse().map_err(|_| absent())?;
    reader.session(id)?.ok_or_else(absent)
}

/// A session's events of these kinds, oldest first.
fn of(console: &Console, reader: &Reader, session: SessionId, kinds: &[&str]) -> Result<Vec<Event>, Refusal> {
    let filter = Filter {
        session: Some(session),
        kinds: kinds.iter().map(|k| (*k).to_owned()).collect(),
        ..Filter::default()
    };
    Ok(console.shown(reader.events(&filter, LOOKED)?.0))
}

/// The channels of a recording, and how many bytes of output each has among the frames looked at.
fn channels(reader: &Reader, session: SessionId) -> Vec<(u16, u64)> {
    let mut found: BTreeMap<u16, u64> = BTreeMap::new();
    if let Ok(Some(frames)) = reader.recording(session) {
        for frame in frames.take(FRAMES) {
            if found.len() < CHANNELS || found.contains_key(&frame.channel) {
                let bytes = found.entry(frame.channel).or_default();
                if frame.direction == Direction::Output {
                    *bytes += frame.bytes.len() as u64;
                }
            }
        }
    }
    found.into_iter().collect()
}

fn address(ip: Option<std::net::IpAddr>, port: Option<u16>) -> String {
    match (ip.map(|i| i.to_canonical()), port) {
        (Some(ip), Some(port)) => std::net::SocketAddr::new(ip, port).to_string(),
        (Some(ip), None) => ip.to_string(),
        _ => "-".into(),
    }
}

/// `GET /sessions/{id}`.
pub fn page(console: &Arc<Console>, reader: &Reader, call: &Call) -> Result<Reply, Refusal> {
    let row = named(reader, call.part("id"))?;
    let session = row.session;
    let campaign = view::campaign_of(reader.database(), session)?;
    let commands = of(console, reader, session, &["command.input", "command.exec"])?;
    let programs = of(console, reader, session, &["process.exec"])?;
    let files = of(
        console,
        reader,
        session,
        &[
            "file.create",
            "file.write",
            "file.remove",
            "file.rename",
            "file.attribute",
        ],
    )?;
    let artifacts = of(console, reader, session, &["file.artifact"])?;
    let network = of(
        console,
        reader,
        session,
        &[
            "net.connect",
            "net.listen",
            "net.resolve",
            "net.bytes",
            "forward.request",
            "forward.bytes",
        ],
    )?;
    let after: u64 = call.query.parsed("after").unwrap_or(0);
    let filter = Filter {
        session: Some(session),
        after: Some(after),
        ..Filter::default()
    };
    let events = console.shown(reader.events(&filter, ROWS)?.0);
    let channels = channels(reader, session);
    let id = session.to_string();
    let short = id.get(28..).unwrap_or(&id).to_owned();
    let more = events.last().filter(|e| e.seq < row.last_seq).map(|e| e.seq);

    let body = html! {
        h1 { "Session " span.mono { (short) } @if row.closed.is_none() { " " span.open { "open" } } }
        dl.facts {
            div { dt { "source" } dd.mono { a href=(format!("/sessions?source={}", row.src_ip.map(|i| i.to_canonical().to_string()).unwrap_or_default())) {
                (address(row.src_ip, row.src_port)) } } }
            @if let Some(whose) = row.src_ip.and_then(|ip| console.host.networks().told(ip)) { div { dt { "network" } dd { (words::text(&whose)) } } }
            div { dt { "decoy" } dd { (words::text(row.decoy.as_deref().unwrap_or("-"))) " at " span.mono { (address(row.dst_ip, row.dst_port)) } } }
            @if let Some(client) = &row.client { div { dt { "client" } dd { code.his { (his(client.as_slice())) } } } }
            @if let Some(user) = &row.user { div { dt { "got in as" } dd { code.his { (his(user.as_slice())) } } } }
            div { dt { "opened" } dd { (when(row.opened)) } }
            div { dt { "lasted" } dd { (how_long(&row)) @if let Some(r) = &row.reason { ", ended by " (words::text(r)) } } }
            div { dt { "tries" } dd { (row.attempts) } }
            div { dt { "traffic" } dd { (show::size(row.bytes_in)) " in, " (show::size(row.bytes_out)) " out" } }
            @if let Some(c) = campaign { div { dt { "campaign" } dd { a href=(format!("/campaigns/{c}")) { (c) } } } }
            @if let Some(w) = row.world { div { dt { "world" } dd.mono.small { (w) } } }
        }
        @if !channels.is_empty() {
            section.replay id="replay" data-session=(id) data-live=(if row.closed.is_none() { "1" } else { "" }) {
                div.screenbox {
                    div.bar {
                        button.plain data-do="play" title="Space" { "Play" }
                        button.plain data-do="prev" title="[" { "\u{2039} command" }
                        button.plain data-do="next" title="]" { "command \u{203a}" }
                        label { "speed" select data-do="speed" aria-label="Speed" {
                            @for speed in ["0.5", "1", "2", "4", "8", "32"] { option value=(speed) selected[speed == "1"] { (speed) "\u{d7}" } }
                        } }
                        label.check { input type="checkbox" data-do="skip" checked; "skip pauses" }
                        @if channels.len() > 1 {
                            label { "channel" select data-do="channel" aria-label="Channel" {
                                @for (n, bytes) in &channels { option value=(n) { (n) " (" (show::size(*bytes)) ")" } }
                            } }
                        }
                        label.grow { input type="search" data-do="find" placeholder="Search in the replay" aria-label="Search in the replay" spellcheck="false"; }
                        span.found data-show="found" aria-live="polite" {}
                    }
                    div.screen data-show="screen" data-channel=(channels.first().map_or(0, |c| c.0)) {}
                    div.bar {
                        input.track type="range" min="0" max="1000" value="0" data-do="seek" aria-label="Place in the recording";
                        span.clock data-show="clock" { "0:00 / 0:00" }
                    }
                    noscript { p { "The replay needs the console's own script. " code { "turncoat replay " (short) } " plays it on a terminal." } }
                }
                aside.commands aria-label="Commands" {
                    h2 { "Commands " span.count { (row.commands) } }
                    ol {
                        @for event in &commands {
                            @if let Some(line) = line_of(event) {
                                li { button.plain.command data-at=(event.time.millis()) { (clock(event.time)) " " code.his { (his(line.as_slice())) } } }
                            }
                        }
                    }
                    @if commands.is_empty() { p.empty { "None." } }
                }
            }
        } @else if !commands.is_empty() {
            section {
                h2 { "Commands " span.count { (row.commands) } }
                ol.plainlist { @for event in &commands { @if let Some(line) = line_of(event) {
                    li { (clock(event.time)) " " code.his { (his(line.as_slice())) } }
                } } }
            }
        }
        div.columns {
            section {
                h2 { "Programs " span.count { (programs.len()) } }
                @if programs.is_empty() { p.empty { "None started." } } @else { (tree(&programs)) }
            }
            section {
                h2 { "Files " span.count { (files.len()) } }
                (short_list(&files, "None touched."))
                h2 { "Artifacts " span.count { (artifacts.len()) } }
                @if artifacts.is_empty() { p.empty { "None brought." } }
                ul.plainlist { @for event in &artifacts { @if let Kind::FileArtifact(a) = &event.kind {
                    li {
                        (clock(event.time)) " "
                        a href=(format!("/artifacts/{}", a.sha256)) { span.mono { (a.sha256.to_string().get(..12).unwrap_or_default()) "\u{2026}" } }
                        " " (show::size(a.size)) ", " (words::text(&a.how)) " " code.his { (his(a.path.as_slice())) }
                    }
                } } }
                h2 { "Network " span.count { (network.len()) } }
                (short_list(&network, "Nothing wanted. Nothing leaves a world in any case."))
            }
        }
        section {
            h2 id="events" { "Events " span.count { (words::number(row.events)) } }
            @if after > 0 { p.more { a href=(format!("/sessions/{id}#events")) { "First events" } } }
            (event_rows(&events, false))
            @if let Some(last) = more { p.more { a rel="next" href=(format!("/sessions/{id}?after={last}#events")) { "Later events" } } }
        }
    };
    let scripts: &[&str] = if channels.is_empty() {
        &[]
    } else {
        &["terminal.js", "replay.js"]
    };
    Ok(Reply::Page(frame(
        call,
        Place::Sessions,
        &format!("Session {short}"),
        scripts,
        body,
    )))
}

fn line_of(event: &Event) -> Option<&Bytes> {
    match &event.kind {
        Kind::CommandInput(it) => Some(&it.line),
        Kind::CommandExec(it) => Some(&it.command),
        _ => None,
    }
}

fn short_list(events: &[Event], none: &str) -> Markup {
    html! {
        @if events.is_empty() { p.empty { (none) } }
        ul.plainlist {
            @for event in events.iter().take(200) {
                li { (clock(event.time)) " " (super::told(&words::tell(event))) }
            }
        }
        @if events.len() > 200 { p.quiet { "The first 200; all are among the events below." } }
    }
}

/// Levels of the tree that are indented; deeper ones stand at the last.
const DEEP: usize = 12;

/// Programs by who started them. A process id is used again in time: a program hangs below the latest earlier one with its parent's id.
fn tree(programs: &[Event]) -> Markup {
    let mut depth: HashMap<u32, usize> = HashMap::new();
    let mut rows = Vec::new();
    for event in programs {
        let Kind::ProcessExec(it) = &event.kind else {
            continue;
        };
        let level = depth.get(&it.ppid).map_or(0, |d| (d + 1).min(DEEP));
        // An exec of the same process stays where the process is.
        let level = depth
            .get(&it.pid)
            .copied()
            .filter(|_| !depth.contains_key(&it.ppid))
            .unwrap_or(level);
        depth.insert(it.pid, level);
        rows.push((event, it, level));
    }
    html! {
        ol.tree {
            @for (event, it, level) in rows {
                li class=(format!("d{level}")) title=(text(&format!("{} pid {} ppid {} uid {}", it.path.to_text_lossy(), it.pid, it.ppid, it.uid))) {
                    (clock(event.time)) " " span.num { (it.pid) } " "
                    code.his { (his(&it.argv.iter().map(Bytes::as_slice).collect::<Vec<_>>().join(&b' '))) }
                    @if it.uid != 0 { span.quiet { " uid " (it.uid) } }
                }
            }
        }
    }
}
