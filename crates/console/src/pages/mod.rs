//! The pages: one module each. What they share (frame, tables of events, small pieces) is here.

pub mod artifact;
pub mod campaign;
pub mod campaigns;
pub mod decoys;
pub mod login;
pub mod now;
pub mod report;
pub mod search;
pub mod session;
pub mod sessions;

use maud::{DOCTYPE, Markup, html};
use turncoat_event::{Event, SessionId, Time, show};
use turncoat_intel::Stage;

use crate::call::Call;
use crate::words::{self, Told};

/// Where in the console a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Now.
    Now,
    /// Campaigns.
    Campaigns,
    /// Sessions.
    Sessions,
    /// Search.
    Search,
    /// Decoys.
    Decoys,
}

/// Place, path, name, key.
const PLACES: &[(Place, &str, &str, &str)] = &[
    (Place::Now, "/", "Now", "1"),
    (Place::Campaigns, "/campaigns", "Campaigns", "2"),
    (Place::Sessions, "/sessions", "Sessions", "3"),
    (Place::Search, "/search", "Search", "4"),
    (Place::Decoys, "/decoys", "Decoys", "5"),
];

fn head(title: &str, scripts: &[&str]) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="format-detection" content="telephone=no, date=no, address=no, email=no";
            title { (title) " \u{b7} Turncoat" }
            link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
            link rel="stylesheet" href="/assets/console.css";
            @for script in scripts {
                script defer src=(format!("/assets/{script}")) {}
            }
        }
    }
}

/// A whole page.
pub fn frame(call: &Call, place: Place, title: &str, scripts: &[&str], body: Markup) -> Markup {
    let mut all = vec!["console.js"];
    all.extend_from_slice(scripts);
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title, &all))
            body {
                a.skip href="#main" { "Skip to content" }
                header.top {
                    a.brand href="/" { img src="/assets/icon.svg" alt="" width="22" height="22"; "Turncoat" }
                    nav aria-label="Pages" {
                        @for (this, path, name, key) in PLACES {
                            a href=(path) accesskey=(key) aria-current=[(*this == place).then_some("page")] { (name) }
                        }
                    }
                    form.find action="/search" role="search" {
                        input type="search" name="q" placeholder="Search  ( / )" aria-label="Search events" autocomplete="off" spellcheck="false";
                    }
                    form method="post" action="/logout" {
                        input type="hidden" name="csrf" value=(call.csrf());
                        button.plain title=(call.operator()) { "Log out" }
                    }
                }
                main id="main" tabindex="-1" { (body) }
                dialog.keys id="keys" aria-label="Keys" {
                    h2 { "Keys" }
                    dl {
                        dt { kbd { "1" } "\u{2026}" kbd { "5" } } dd { "the pages" }
                        dt { kbd { "/" } } dd { "search" }
                        dt { kbd { "j" } " " kbd { "k" } } dd { "next and previous row" }
                        dt { kbd { "Enter" } } dd { "open the row" }
                        dt { kbd { "Space" } } dd { "play, pause a replay" }
                        dt { kbd { "\u{2190}" } " " kbd { "\u{2192}" } } dd { "five seconds back, on" }
                        dt { kbd { "[" } " " kbd { "]" } } dd { "previous, next command" }
                        dt { kbd { "+" } " " kbd { "-" } } dd { "faster, slower" }
                        dt { kbd { "?" } } dd { "this" }
                    }
                    form method="dialog" { button { "Close" } }
                }
            }
        }
    }
}

/// A page for whoever is not logged in.
pub fn bare(title: &str, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title, &[]))
            body.bare {
                main.door id="main" {
                    img src="/assets/icon.svg" alt="" width="40" height="40";
                    (body)
                }
            }
        }
    }
}

/// The page that says why there is none.
pub fn refusal(status: u16, why: &str) -> Markup {
    let title = match status {
        404 => "Not there",
        401 | 403 | 421 => "Not allowed",
        429 => "Too fast",
        500.. => "Out of order",
        _ => "Not understood",
    };
    bare(
        title,
        html! {
            h1 { (title) }
            p { (words::text(why)) }
            p { a href="/" { "To the console" } }
        },
    )
}

/// A time, in UTC to the second; the script adds how long ago it is.
pub fn when(time: Time) -> Markup {
    html! { time datetime=(time.to_string()) { (show::time(time)) } }
}

/// The time of the day.
pub fn clock(time: Time) -> Markup {
    let (_, _, _, h, m, s, _) = time.civil();
    html! { time datetime=(time.to_string()) title=(show::time(time)) { (format!("{h:02}:{m:02}:{s:02}")) } }
}

/// A session's short name, leading to it.
pub fn session_link(session: SessionId) -> Markup {
    let id = session.to_string();
    html! { a.id href=(format!("/sessions/{id}")) title=(id) { (id.get(28..).unwrap_or(&id)) } }
}

/// A stage as a mark, coloured by how far it is.
pub fn stage_mark(stage: Option<Stage>) -> Markup {
    match stage {
        None => html! { span.stage.s0 { "contact" } },
        Some(stage) => {
            let n = Stage::ALL.iter().position(|s| *s == stage).unwrap_or(0);
            let step = match n {
                0..=1 => "s1",
                2..=3 => "s2",
                4..=6 => "s3",
                _ => "s4",
            };
            html! { span.stage.(step) { (stage.name().replace('-', " ")) } }
        }
    }
}

/// An event in plain words.
pub fn told(told: &Told) -> Markup {
    html! {
        span.what.(told.tone.class()) { (told.what) }
        @if let Some(quoted) = &told.quoted { " " code.his { (quoted) } }
    }
}

/// A list of events.
pub fn event_rows(events: &[Event], with_session: bool) -> Markup {
    html! {
        div.scroll {
            table.events {
                thead { tr {
                    th { "time (UTC)" }
                    @if with_session { th { "session" } th { "source" } }
                    th { "event" }
                    th { "what" }
                } }
                tbody {
                    @for event in events {
                        tr id=(format!("e{}", event.seq)) {
                            td { (when(event.time)) }
                            @if with_session {
                                td { @if let Some(s) = event.origin.session { (session_link(s)) } }
                                td.num { @if let Some(ip) = event.origin.src_ip { (ip.to_canonical()) } }
                            }
                            td { a.kind href=(format!("/search?kind={}", event.kind.name())) { (event.kind.name()) } }
                            td.wide {
                                (told(&words::tell(event)))
                                details { summary { "fields" } code.his.fields { (show::unlink(&show::fields(&event.kind))) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A headline number, by the name under which the script renews it.
pub fn figure(name: &str, key: &str, value: u64, tone: &str, title: &str) -> Markup {
    html! {
        div.figure.(tone) title=(title) {
            span.value data-figure=(key) { (words::number(value)) }
            span.name { (name) }
        }
    }
}
