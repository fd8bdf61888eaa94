//! A campaign told in plain words; each sentence says what it rests on.

use std::sync::Arc;

use maud::{Markup, html};
use turncoat_event::Time;
use turncoat_intel::report::{self, Basis, Statement};
use turncoat_store::Reader;

use super::campaign::named;
use super::{Place, clock, frame, session_link, stage_mark, when};
use crate::call::Call;
use crate::reply::{Refusal, Reply};
use crate::server::Console;
use crate::words::{his, text};

/// Sentences on the page; the downloads have more.
const SENTENCES: usize = 500;

fn basis(s: &Statement) -> Markup {
    match &s.basis {
        Basis::Observed => html! { span.basis { "observed" } },
        Basis::Inferred { confidence, reason } => {
            html! { span.basis.inferred title=(text(reason)) { "inferred, " (confidence) "\u{202f}%" } }
        }
        Basis::Claimed => html! { span.basis.claimed { "claimed" } },
    }
}

/// The time by the system's clock.
pub fn now() -> Time {
    Time::from_system(std::time::SystemTime::now())
}

/// `GET /campaigns/{id}/report`.
pub fn page(console: &Arc<Console>, reader: &Reader, call: &Call) -> Result<Reply, Refusal> {
    let id = named(reader, call.part("id"))?.id;
    let r = report::build_with(reader, id, now(), console.host.networks())?;
    let body = html! {
        article.report {
            h1 { "Report on " a href=(format!("/campaigns/{id}")) { (id) } " " (stage_mark(r.campaign.stage)) }
            p.quiet { "First seen " (when(r.campaign.first)) ", last seen " (when(r.campaign.last)) ". Made " (when(r.made)) "." }
            h2 { "In short" }
            ul { @for s in &r.summary { li { (text(&s.text)) " " (basis(s)) @if let Basis::Inferred { reason, .. } = &s.basis { " " span.quiet { (text(reason)) } } } } }
            h2 { "What happened" }
            ol.story { @for s in r.story.iter().take(SENTENCES) { li {
                (clock(s.time)) " "
                @if let Some(session) = s.session { (session_link(session)) " " }
                (text(&s.text))
                @if let Some(q) = &s.quoted { " " code.his { (his(q.as_bytes())) } }
                " " (basis(s))
            } } }
            @if r.shortened || r.story.len() > SENTENCES { p.quiet { "There is more in the record than fits here." } }
            @if !r.networks.is_empty() {
                h2 { "Where the sources are" }
                ul.plainlist { @for (network, n) in &r.networks { li { (text(network)) " " span.quiet { (n) " sessions" } } } }
            }
            @if !r.indicators.is_empty() {
                h2 { "Indicators" }
                ul.plainlist { @for i in r.indicators.iter().take(SENTENCES) { li { span.quiet { (i.kind) } " " code.his { (text(&i.value)) } } } }
            }
            @if !r.compared.is_empty() {
                h2 { "Compared with earlier campaigns" }
                ul { @for line in &r.compared { li { (text(line)) } } }
            }
        }
    };
    Ok(Reply::Page(frame(
        call,
        Place::Campaigns,
        &format!("Report on {id}"),
        &[],
        body,
    )))
}
