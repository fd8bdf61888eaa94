//! Sessions, newest first.

use std::sync::Arc;

use maud::{Markup, html};
use turncoat_event::show;
use turncoat_store::{Filter, Reader, Result, SessionRow};

use super::{Place, frame, session_link, when};
use crate::call::{Call, Fields};
use crate::reply::{Refusal, Reply};
use crate::search::{self, Asked};
use crate::server::Console;
use crate::words::{self, lasted};

/// Rows on a page.
const ROWS: usize = 50;

/// Events with the words that are asked for that are looked at for their sessions.
const MATCHES: usize = 2_000;

/// Sessions by a question. With words, those in which one of the newest matches stands.
///
/// # Errors
/// What the record says.
pub fn found(reader: &Reader, query: &Fields, limit: usize) -> Result<(Vec<SessionRow>, Asked)> {
    let mut asked = search::asked(query);
    asked.filter.entered = query.text("in").is_some();
    asked.filter.newest_first = true;
    let open_only = query.text("open").is_some();
    if asked.filter.text.is_none() {
        let rows = reader.sessions(&asked.filter, open_only, limit)?;
        return Ok((rows, asked));
    }
    let by_words = Filter {
        newest_first: true,
        ..asked.filter.clone()
    };
    let mut rows: Vec<SessionRow> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for event in search::events(reader, &by_words, MATCHES)? {
        let Some(session) = event.origin.session.filter(|s| seen.insert(*s)) else {
            continue;
        };
        if let Some(row) = reader.session(session)?
            && (!open_only || row.closed.is_none())
            && (!asked.filter.entered || row.logins > 0)
        {
            rows.push(row);
        }
        if rows.len() >= limit {
            break;
        }
    }
    rows.sort_by_key(|r| std::cmp::Reverse(r.opened));
    Ok((rows, asked))
}

/// A table of sessions.
pub fn table(rows: &[SessionRow]) -> Markup {
    html! {
        div.scroll {
            table.rows {
                thead { tr {
                    th { "session" } th { "opened (UTC)" } th { "lasted" } th { "source" } th { "decoy" } th { "client" }
                    th.num { "tries" } th { "got in as" } th.num { "commands" } th.num { "files" } th { "end" }
                } }
                tbody {
                    @for row in rows {
                        tr tabindex="0" data-open=(format!("/sessions/{}", row.session)) class=[(row.logins > 0).then_some("in")] {
                            td { (session_link(row.session)) }
                            td { (when(row.opened)) }
                            td.num { (how_long(row)) }
                            td.num { @if let Some(ip) = row.src_ip {
                                a href=(format!("/sessions?source={}", ip.to_canonical())) { (ip.to_canonical()) }
                            } }
                            td { (words::text(row.decoy.as_deref().unwrap_or("-"))) }
                            td.short { @if let Some(client) = &row.client { code.his { (words::his(client.as_slice())) } } }
                            td.num { (row.attempts) }
                            td { @if let Some(user) = &row.user { code.his { (show::short(&words::his(user.as_slice()), 24)) } } }
                            td.num { (row.commands) }
                            td.num { (row.artifacts) }
                            td {
                                @match &row.reason {
                                    Some(reason) => (words::text(reason)),
                                    None => span.open { "open" },
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How long a session lasted, or lasts.
pub fn how_long(row: &SessionRow) -> String {
    match row.closed {
        Some(closed) => lasted(u64::try_from(closed.since(row.opened) / 1_000_000).unwrap_or(0)),
        None => "\u{2026}".into(),
    }
}

/// `GET /sessions`.
pub fn page(_: &Arc<Console>, reader: &Reader, call: &Call) -> std::result::Result<Reply, Refusal> {
    let (rows, asked) = found(reader, &call.query, ROWS)?;
    let q = &call.query;
    let next = rows
        .last()
        .filter(|_| rows.len() >= ROWS && asked.filter.text.is_none())
        .map(|r| {
            let rest = q.without(&["until"]);
            let until = crate::call::encode(&r.opened.to_string());
            call.with_query(format!("{rest}&until={until}").trim_start_matches('&'))
        });
    let title = if q.text("open").is_some() {
        "Open sessions"
    } else {
        "Sessions"
    };
    let body = html! {
        h1 { (title) }
        form.filter method="get" action="/sessions" {
            label { "words" input type="search" name="q" value=(q.text("q").unwrap_or_default()) spellcheck="false"; }
            label { "source" input name="source" value=(q.text("source").unwrap_or_default()) placeholder="192.0.2.0/24" spellcheck="false"; }
            label { "decoy" input name="decoy" value=(q.text("decoy").unwrap_or_default()) size="8" spellcheck="false"; }
            label { "since" input name="since" value=(q.text("since").unwrap_or_default()) placeholder="2026-11-23" size="12" spellcheck="false"; }
            label.check { input type="checkbox" name="in" value="1" checked[q.text("in").is_some()]; "got in" }
            label.check { input type="checkbox" name="open" value="1" checked[q.text("open").is_some()]; "open" }
            button { "Show" }
        }
        @for wrong in &asked.wrong { p.alarm { (words::text(wrong)) } }
        @if rows.is_empty() {
            p.empty { "No sessions here." }
        } @else {
            (table(&rows))
        }
        @if let Some(next) = next { p.more { a href=(next) rel="next" { "Older sessions" } } }
        @if asked.filter.text.is_some() {
            p.quiet { "Sessions in which one of the " (words::number(MATCHES as u64)) " newest matching events stands." }
        }
    };
    Ok(Reply::Page(frame(call, Place::Sessions, title, &[], body)))
}
