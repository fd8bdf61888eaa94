//! Campaigns, latest first.

use std::sync::Arc;

use maud::html;
use turncoat_intel::view;
use turncoat_store::Reader;

use super::{Place, frame, stage_mark, when};
use crate::call::Call;
use crate::origins;
use crate::reply::{Refusal, Reply};
use crate::server::Console;
use crate::words::{number, text};

/// Rows on the page.
const ROWS: usize = 200;

/// `GET /campaigns`.
pub fn page(console: &Arc<Console>, reader: &Reader, call: &Call) -> Result<Reply, Refusal> {
    let all = view::campaigns(reader.database(), ROWS)?;
    let networks = console.host.networks();
    let located = !networks.is_empty();
    let mut rows = Vec::with_capacity(all.len());
    for c in &all {
        rows.push((c, origins::of_campaign(networks, reader, c.id)?));
    }
    let body = html! {
        h1 { "Campaigns" }
        @if all.is_empty() {
            p.empty { "None yet. A campaign begins when somebody gets in, or uses something planted." }
        } @else {
            div.scroll { table.rows {
                thead { tr { th { "campaign" } th { "last seen (UTC)" } th { "stage" } th.num { "sessions" } th.num { "sources" } @if located { th { "from" } } th.num { "planted used" } th { "first seen (UTC)" } } }
                tbody { @for (c, from) in &rows {
                    tr tabindex="0" data-open=(format!("/campaigns/{}", c.id)) class=[(c.tokens > 0).then_some("alarm")] {
                        td { a.id href=(format!("/campaigns/{}", c.id)) { (c.id) } }
                        td { (when(c.last)) }
                        td { (stage_mark(c.stage)) }
                        td.num { (number(c.sessions)) }
                        td.num { (number(c.sources)) }
                        @if located { td { (text(&origins::names(&from.countries))) @if !from.networks.is_empty() { " " span.quiet { (text(&origins::names(&from.networks))) } } } }
                        td.num { @if c.tokens > 0 { strong.alarm { (c.tokens) } } @else { span.quiet { "-" } } }
                        td { (when(c.first)) }
                    }
                } }
            } }
            @if all.len() >= ROWS { p.quiet { "The latest " (ROWS) "." } }
        }
    };
    Ok(Reply::Page(frame(call, Place::Campaigns, "Campaigns", &[], body)))
}
