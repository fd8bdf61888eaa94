//! Search: words in what was typed and named, and fields.

use std::sync::Arc;

use maud::html;
use turncoat_event::Kind;
use turncoat_store::Reader;

use super::{Place, event_rows, frame};
use crate::call::Call;
use crate::reply::{Refusal, Reply};
use crate::search::{asked, events};
use crate::server::Console;
use crate::words;

/// Rows on a page.
const ROWS: usize = 50;

/// `GET /search`.
pub fn page(console: &Arc<Console>, reader: &Reader, call: &Call) -> Result<Reply, Refusal> {
    let asked = asked(&call.query);
    let found = if asked.wrong.is_empty() {
        console.shown(events(reader, &asked.filter, ROWS)?)
    } else {
        Vec::new()
    };
    let q = &call.query;
    let next = found.last().filter(|_| found.len() >= ROWS).map(|e| {
        let rest = q.without(&["before", "after"]);
        call.with_query(format!("{rest}&before={}", e.seq).trim_start_matches('&'))
    });
    let value = |name: &str| q.text(name).unwrap_or_default();
    let body = html! {
        h1 { "Search" }
        form.filter method="get" action="/search" {
            label.grow { "words" input type="search" name="q" value=(value("q")) autofocus spellcheck="false"
                placeholder="wget  source:192.0.2.0/24  kind:auth."; }
            label { "kind" input name="kind" value=(value("kind")) list="kinds" size="16" spellcheck="false"; }
            datalist id="kinds" { @for name in Kind::NAMES { option value=(name); } }
            label { "source" input name="source" value=(value("source")) size="16" spellcheck="false"; }
            label { "decoy" input name="decoy" value=(value("decoy")) size="8" spellcheck="false"; }
            label { "since" input name="since" value=(value("since")) placeholder="2026-11-23 12:00" size="16" spellcheck="false"; }
            label { "until" input name="until" value=(value("until")) size="16" spellcheck="false"; }
            button { "Search" }
        }
        @for wrong in &asked.wrong { p.alarm role="alert" { (words::text(wrong)) } }
        @if found.is_empty() {
            p.empty { "Nothing found." }
        } @else {
            (event_rows(&found, true))
        }
        @if let Some(next) = next { p.more { a href=(next) rel="next" { "Older events" } } }
    };
    Ok(Reply::Page(frame(call, Place::Search, "Search", &[], body)))
}
