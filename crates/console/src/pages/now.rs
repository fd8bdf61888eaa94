//! Now: what a person must know in five seconds, then what is going on.

use std::collections::BTreeMap;
use std::sync::Arc;

use maud::{Markup, html};
use serde::Serialize;
use turncoat_event::{Event, Kind, show};
use turncoat_store::{Filter, Reader, SessionRow};

use super::report::now;
use super::{Place, clock, figure, frame, session_link, told};
use crate::call::Call;
use crate::chart::{self, Mark};
use crate::reply::{Refusal, Reply};
use crate::search::newest;
use crate::server::Console;
use crate::tally::{self, Charts};
use crate::words::{self, number};

/// Live terminals on the page.
const TERMINALS: usize = 6;

/// Open sessions looked at.
const OPEN: usize = 200;

/// Lines of what happened.
const LINES: usize = 40;

/// Kinds that tell more than noise.
const NOTABLE: &[&str] = &[
    "command.input",
    "command.exec",
    "file.artifact",
    "user.change",
    "bait.read",
    "token.used",
    "net.connect",
    "campaign.change",
    "response.decide",
    "alert.open",
    "system.degraded",
    "system.recovered",
    "operator.action",
];

/// Incidents that are open: of each the newest title, and when it began.
fn incidents(reader: &Reader) -> Result<Vec<Event>, Refusal> {
    let mut open: BTreeMap<String, Event> = BTreeMap::new();
    let mut events = newest(reader, &["alert.open", "alert.update", "alert.close"], 200)?;
    events.reverse();
    for event in events {
        // Messages of an incident are numbered behind its name.
        let name = |alert: &str| alert.rsplit_once('/').map_or(alert, |(name, _)| name).to_owned();
        match &event.kind {
            Kind::AlertOpen(it) => drop(open.insert(name(&it.alert), event)),
            Kind::AlertClose(it) => drop(open.remove(&name(&it.alert))),
            _ => {}
        }
    }
    let mut all: Vec<Event> = open.into_values().collect();
    all.sort_by_key(|e| std::cmp::Reverse(e.seq));
    Ok(all)
}

/// What a person must know in five seconds.
#[derive(Debug, Clone, Serialize)]
pub struct Head {
    /// In one sentence.
    pub sentence: String,
    /// `good`, `inside` or `alarm`.
    pub tone: &'static str,
    /// Open sessions that got in.
    pub inside: u64,
    /// Open sessions that did not.
    pub knocking: u64,
    /// Incidents that are not over.
    pub alerts: u64,
    /// Sessions opened in the last day.
    pub contacts: u64,
    /// Of them, those that got in.
    pub entered: u64,
    /// Sources that are blocked.
    pub blocked: u64,
}

fn many(n: u64, one: &str, many: &str) -> String {
    if n == 1 {
        format!("1 {one}")
    } else {
        format!("{n} {many}")
    }
}

/// What the page is made from.
struct Seen {
    head: Head,
    inside: Vec<SessionRow>,
    alerts: Vec<Event>,
    charts: Arc<Charts>,
}

fn look(console: &Console, reader: &Reader) -> Result<Seen, Refusal> {
    let filter = Filter {
        newest_first: true,
        ..Filter::default()
    };
    let open = reader.sessions(&filter, true, OPEN)?;
    let all = open.len() as u64;
    let inside: Vec<SessionRow> = open.into_iter().filter(|s| s.logins > 0).collect();
    let alerts = incidents(reader)?;
    let charts = tally::charts(console, reader, now())?;
    let status = console.host.facts();
    let state = status["state"].as_str().unwrap_or("working");
    let (within, count) = (inside.len() as u64, alerts.len() as u64);
    let knocking = all - within;
    let mut sentence = String::new();
    if state != "working" {
        sentence.push_str(&format!("Turncoat is not well: {}. ", words::text(state)));
    }
    sentence.push_str(&match within {
        0 => "Nobody is inside.".into(),
        n => many(n, "intruder is inside.", "intruders are inside."),
    });
    if knocking > 0 {
        sentence.push(' ');
        sentence.push_str(&many(
            knocking,
            "connection is knocking.",
            "connections are knocking.",
        ));
    }
    sentence.push(' ');
    sentence.push_str(&match count {
        0 => "No alert is open.".into(),
        n => many(n, "alert is open.", "alerts are open."),
    });
    let tone = match (state, within, count) {
        ("working", 0, 0) => "good",
        ("working", _, 0) => "inside",
        _ => "alarm",
    };
    let head = Head {
        sentence,
        tone,
        inside: within,
        knocking,
        alerts: count,
        contacts: charts.day.iter().map(|s| s.contacts).sum(),
        entered: charts.day.iter().map(|s| s.entered).sum(),
        blocked: console.host.blocks()["blocks"].as_array().map_or(0, Vec::len) as u64,
    };
    Ok(Seen {
        head,
        inside,
        alerts,
        charts,
    })
}

/// `GET /api/v1/now`.
pub fn json(console: &Arc<Console>, reader: &Reader, _: &Call) -> Result<Reply, Refusal> {
    let head = look(console, reader)?.head;
    serde_json::to_value(head)
        .map(Reply::Json)
        .map_err(|e| Refusal::new(500, e.to_string()))
}

/// `GET /`.
pub fn page(console: &Arc<Console>, reader: &Reader, call: &Call) -> Result<Reply, Refusal> {
    let Seen {
        head,
        inside,
        alerts,
        charts,
    } = look(console, reader)?;
    let lines = console.shown(newest(reader, NOTABLE, LINES)?);
    let body = html! {
        p.sentence.(head.tone) role="status" data-show="sentence" { (head.sentence) }
        div.figures {
            (figure("inside now", "inside", head.inside, if head.inside > 0 { "inside" } else { "" }, "open sessions that got in"))
            (figure("alerts open", "alerts", head.alerts, if head.alerts > 0 { "alarm" } else { "" }, "incidents that are not over"))
            (figure("contacts, 24 h", "contacts", head.contacts, "", "sessions opened in the last day"))
            (figure("got in, 24 h", "entered", head.entered, "", "of them, those that got in"))
            (figure("blocked", "blocked", head.blocked, "", "sources that the protected side is closed to"))
        }
        section { h2 { "The last day" } (chart::timeline(&charts.day, &marks(reader, charts.day.first().map(|s| s.from))?, false))
            p.legend { span.key.quiet { "contact" } " " span.key.inside { "got in" } " " span.key.stagemark { "came further" } " " span.key.alarm { "alert" } }
        }
        @if !alerts.is_empty() {
            section.alerts { h2 { "Alerts" }
                ul.plainlist { @for event in &alerts { @if let Kind::AlertOpen(it) = &event.kind { li {
                    (clock(event.time)) " " strong.alarm { (words::text(&it.severity)) } " "
                    @if let Some(c) = &it.campaign { a href=(format!("/campaigns/{}", crate::call::encode(c))) { (words::text(c)) } " " }
                    code.his { (words::text(&it.title)) }
                } } } }
            }
        }
        section { h2 { "Inside now " span.count { (inside.len()) } }
            @if inside.is_empty() { p.empty { "Nobody. Whoever gets in is seen here as he types." } }
            div.terminals { @for s in inside.iter().take(TERMINALS) { (terminal(s)) } }
            @if inside.len() > TERMINALS { p.more { a href="/sessions?open=1&in=1" { "All " (inside.len()) } } }
        }
        section { h2 { "What happens " span.count data-show="rate" { } }
            div.scroll { table.events.feed { tbody data-show="feed" aria-live="off" {
                @for event in &lines { (feed_row(event)) }
            } } }
            p.more { label.check { input type="checkbox" data-do="noise"; "with noise (scans, refused logins, every program)" } }
        }
        (charts_section(&charts))
    };
    Ok(Reply::Page(frame(
        call,
        Place::Now,
        "Now",
        &["terminal.js", "live.js"],
        body,
    )))
}

fn feed_row(event: &Event) -> Markup {
    let t = words::tell(event);
    html! {
        tr.(t.tone.class()) {
            td { (clock(event.time)) }
            td { @if let Some(s) = event.origin.session { (session_link(s)) } }
            td.num { @if let Some(ip) = event.origin.src_ip { (ip.to_canonical()) } }
            td.wide { (told(&t)) }
        }
    }
}

fn terminal(s: &SessionRow) -> Markup {
    html! {
        article.terminal data-session=(s.session) {
            header {
                (session_link(s.session)) " "
                span.mono { (s.src_ip.map(|i| i.to_canonical().to_string()).unwrap_or_default()) }
                @if let Some(user) = &s.user { " as " code.his { (show::short(&words::his(user.as_slice()), 24)) } }
                " " span.quiet { (s.commands) " commands" }
            }
            div.screen.small data-show="screen" {}
        }
    }
}

/// What stands over the bars: stages that campaigns reached, and alerts.
fn marks(reader: &Reader, from: Option<turncoat_event::Time>) -> Result<Vec<Mark>, Refusal> {
    let events = newest(reader, &["alert.open", "campaign.change", "token.used"], 300)?;
    let all = events
        .iter()
        .filter(|e| from.is_none_or(|f| e.time >= f))
        .filter_map(|event| {
            let class = match &event.kind {
                Kind::AlertOpen(_) | Kind::TokenUsed(_) => "alarm",
                Kind::CampaignChange(it) if it.change == "stage" => "stagemark",
                _ => return None,
            };
            let t = words::tell(event);
            Some(Mark {
                at: event.time,
                class,
                title: format!(
                    "{}: {} {}",
                    show::time(event.time),
                    t.what,
                    t.quoted.unwrap_or_default()
                ),
            })
        });
    Ok(all.take(100).collect())
}

fn charts_section(charts: &Charts) -> Markup {
    let source = |c: &tally::Counted| Some(format!("/sessions?source={}", crate::call::encode(&c.name)));
    html! {
        section { h2 { "Thirty days" } (chart::timeline(&charts.month, &[], true)) }
        div.columns.three {
            section { h2 { "Sources, 30 days" } @if charts.sources.is_empty() { p.empty { "None." } } (chart::bars(&charts.sources, source))
                @if !charts.countries.is_empty() { h2 { "Countries" } (chart::bars(&charts.countries, |_| None)) }
                @if !charts.networks.is_empty() { h2 { "Networks" } (chart::bars(&charts.networks, |_| None)) }
            }
            section { h2 { "Techniques" } @if charts.techniques.is_empty() { p.empty { "None seen." } } (chart::bars(&charts.techniques, |_| None)) }
            section { h2 { "Credentials tried" }
                @if charts.credentials.is_empty() { p.empty { "None." } }
                table.bars { tbody { @for t in &charts.credentials { tr {
                    td { code.his { (show::short(&t.user, 24)) } @if let Some(s) = &t.secret { " / " code.his { (show::short(s, 24)) } } @else { span.quiet { " key" } } }
                    td.num { (number(t.count)) }
                    td.meter { (chart::meter(t.count, charts.credentials.first().map_or(1, |f| f.count))) }
                } } } }
                @if charts.attempts > 0 { p.quiet { "Of " (number(charts.attempts)) " attempts counted." } }
            }
        }
    }
}
