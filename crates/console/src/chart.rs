//! Pictures, drawn here as SVG: nothing but classes, so that the page's style gives light and dark.

use std::collections::{BTreeMap, HashMap};

use maud::{Markup, html};
use turncoat_event::{SessionId, Time, show};
use turncoat_intel::view::{LinkRow, Member};
use turncoat_intel::{Sighting, Stage};

use crate::tally::{Counted, Span};
use crate::words;

/// A mark on a time line.
pub struct Mark {
    /// When.
    pub at: Time,
    /// Class of its colour.
    pub class: &'static str,
    /// What it says when pointed at.
    pub title: String,
}

fn hour(time: Time) -> String {
    let (_, _, _, h, m, _, _) = time.civil();
    format!("{h:02}:{m:02}")
}

fn day(time: Time) -> String {
    let (_, month, day, _, _, _, _) = time.civil();
    format!("{day}.{month}.")
}

/// Bars over time: contacts, and over them those that got in; marks above.
pub fn timeline(spans: &[Span], marks: &[Mark], by_day: bool) -> Markup {
    const WIDTH: i64 = 960;
    const HEIGHT: i64 = 120;
    const TOP: i64 = 20;
    let count = i64::try_from(spans.len()).unwrap_or(1).max(1);
    let most = spans.iter().map(|s| s.contacts).max().unwrap_or(0).max(1);
    let step = WIDTH as f64 / count as f64;
    let tall = |n: u64| {
        if n == 0 {
            0.0
        } else {
            (n as f64 / most as f64 * HEIGHT as f64).max(2.0)
        }
    };
    let start = spans.first().map_or(0, |s| s.from.0);
    let length = match spans {
        [a, b, ..] => b.from.since(a.from).max(1),
        _ => 1,
    };
    let place = |at: Time| (at.0 - start) as f64 / length as f64 * step;
    let label = |s: &Span| if by_day { day(s.from) } else { hour(s.from) };
    let every = if by_day { 5 } else { 12 };
    let total: u64 = spans.iter().map(|s| s.contacts).sum();
    let entered: u64 = spans.iter().map(|s| s.entered).sum();
    let title = format!("{total} contacts, {entered} got in");
    html! {
        svg.timeline viewBox=(format!("0 0 {WIDTH} {}", TOP + HEIGHT + 1)) role="img" aria-label=(title) preserveAspectRatio="none" {
            line.axis x1="0" x2=(WIDTH) y1=(TOP + HEIGHT) y2=(TOP + HEIGHT) {}
            @for (n, span) in spans.iter().enumerate() {
                @let x = n as f64 * step;
                @let (all, inside) = (tall(span.contacts), tall(span.entered));
                g {
                    title { (format!("{} {}: {} contacts, {} got in", day(span.from), hour(span.from), span.contacts, span.entered)) }
                    rect.hit x=(format!("{x:.1}")) y=(TOP) width=(format!("{step:.1}")) height=(HEIGHT) {}
                    rect.bar.quiet x=(format!("{:.1}", x + 1.0)) y=(format!("{:.1}", (TOP + HEIGHT) as f64 - all))
                        width=(format!("{:.1}", step - 2.0)) height=(format!("{all:.1}")) {}
                    rect.bar.inside x=(format!("{:.1}", x + 1.0)) y=(format!("{:.1}", (TOP + HEIGHT) as f64 - inside))
                        width=(format!("{:.1}", step - 2.0)) height=(format!("{inside:.1}")) {}
                }
            }
            @for mark in marks {
                @let x = place(mark.at);
                @if x >= 0.0 && x <= WIDTH as f64 {
                    g.mark.(mark.class) {
                        title { (words::text(&mark.title)) }
                        line x1=(format!("{x:.1}")) x2=(format!("{x:.1}")) y1="12" y2=(TOP + HEIGHT) {}
                        circle cx=(format!("{x:.1}")) cy="8" r="5" {}
                    }
                }
            }
        }
        div.ticks aria-hidden="true" { @for span in spans.iter().step_by(every) { span { (label(span)) } } }
    }
}

/// Names with bars beside them.
pub fn bars(rows: &[Counted], link: impl Fn(&Counted) -> Option<String>) -> Markup {
    let most = rows.iter().map(|r| r.count).max().unwrap_or(1).max(1);
    html! {
        table.bars { tbody { @for row in rows { tr {
            td {
                @match link(row) {
                    Some(href) => a href=(href) { (words::text(&row.name)) },
                    None => (words::text(&row.name)),
                }
                @if let Some(about) = &row.about { " " span.quiet { (words::text(about)) } }
            }
            td.num { (words::number(row.count)) }
            td.meter { (meter(row.count, most)) }
        } } } }
    }
}

/// One bar, `count` of `most`.
pub fn meter(count: u64, most: u64) -> Markup {
    let width = (count as f64 / most.max(1) as f64 * 100.0).max(1.0);
    html! {
        svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" { rect.bar.quiet width=(format!("{width:.1}")) height="8" {} }
    }
}

/// Techniques of a campaign by stage and time.
pub fn stages(sightings: &[(SessionId, Sighting)], first: Time, last: Time) -> Markup {
    const LEFT: i64 = 170;
    const WIDTH: i64 = 960;
    const ROW: i64 = 26;
    let mut by: BTreeMap<Stage, Vec<&(SessionId, Sighting)>> = BTreeMap::new();
    for sighting in sightings {
        by.entry(sighting.1.stage).or_default().push(sighting);
    }
    let height = i64::try_from(by.len()).unwrap_or(0) * ROW;
    let length = last.since(first).max(1);
    let x = |t: Time| {
        LEFT as f64
            + 12.0
            + (t.since(first).clamp(0, length)) as f64 / length as f64 * (WIDTH - LEFT - 24) as f64
    };
    html! {
        svg.stages viewBox=(format!("0 0 {WIDTH} {}", height + 24)) role="img"
            aria-label=(format!("{} stages, {} sightings of techniques", by.len(), sightings.len())) {
            @for (n, (stage, seen)) in by.iter().enumerate() {
                @let y = n as i64 * ROW + ROW / 2;
                text.label.end x=(LEFT) y=(y + 4) { (stage.name().replace('-', " ")) }
                line.axis x1=(LEFT + 12) x2=(WIDTH) y1=(y) y2=(y) {}
                @for (session, sighting) in seen.iter().take(200) {
                    a href=(format!("/sessions/{session}")) {
                        circle.dot.(if sighting.observed { "seen" } else { "inferred" }) cx=(format!("{:.1}", x(sighting.first))) cy=(y) r="6" {
                            title { (words::text(&format!("{} {} ({}): {}", sighting.technique, sighting.name, sighting.first, sighting.why))) }
                        }
                    }
                }
            }
            text.label x=(LEFT + 12) y=(height + 16) { (show::time(first)) }
            text.label.end x=(WIDTH) y=(height + 16) { (show::time(last)) }
        }
    }
}

/// Nodes of the picture of links.
const NODES: usize = 60;

/// The reasons that have a colour of their own; others share one.
const REASONS: &[&str] = &[
    "token",
    "world",
    "key",
    "credential",
    "artifact",
    "script",
    "contact",
    "source",
    "client",
];

fn reason_class(reason: &str) -> String {
    let known = REASONS.iter().find(|r| reason.contains(**r)).unwrap_or(&"other");
    format!("r-{known}")
}

/// Sessions in the order of time with an arc for each link. Past so many sessions each node is a source.
pub fn links(members: &[Member], links: &[LinkRow]) -> Markup {
    let by_source = members.len() > NODES;
    // What a node is called, and which node a session is.
    let mut nodes: Vec<(String, String, Option<Stage>)> = Vec::new();
    let mut of: HashMap<SessionId, usize> = HashMap::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for member in members {
        let id = member.session.to_string();
        let source = member.source.clone().unwrap_or_else(|| "?".into());
        let (key, href) = if by_source {
            (
                source.clone(),
                format!("/sessions?source={}", crate::call::encode(&source)),
            )
        } else {
            (id.clone(), format!("/sessions/{id}"))
        };
        let next = nodes.len();
        let node = *known.entry(key).or_insert(next);
        if node == next {
            if next >= NODES {
                continue;
            }
            nodes.push((source, href, member.stage));
        }
        if let Some(it) = nodes.get_mut(node) {
            it.2 = it.2.max(member.stage);
            of.insert(member.session, node);
        }
    }
    let mut arcs: BTreeMap<(usize, usize), (f64, Vec<String>, String)> = BTreeMap::new();
    for link in links {
        let (Some(a), Some(b)) = (of.get(&link.session), of.get(&link.other)) else {
            continue;
        };
        if a == b {
            continue;
        }
        let arc = arcs
            .entry((*a.min(b), *a.max(b)))
            .or_insert_with(|| (0.0, Vec::new(), reason_class(&link.reason)));
        if link.weight > arc.0 {
            (arc.0, arc.2) = (link.weight, reason_class(&link.reason));
        }
        if arc.1.len() < 12 {
            arc.1.push(format!(
                "{} ({:.1}): {}",
                link.reason,
                link.weight,
                words::text(&link.detail)
            ));
        }
    }
    let count = nodes.len().max(1);
    let step = (940.0 / count as f64).min(120.0);
    let x = |n: usize| 10.0 + step / 2.0 + n as f64 * step;
    let width = 20.0 + step * count as f64;
    let widest = arcs.keys().map(|(a, b)| b - a).max().unwrap_or(1);
    let top = (widest as f64 * step / 2.0).min(220.0) + 16.0;
    let used: Vec<&str> = REASONS
        .iter()
        .copied()
        .filter(|r| arcs.values().any(|a| a.2 == format!("r-{r}")))
        .collect();
    html! {
        div.scroll { svg.links viewBox=(format!("0 0 {width:.0} {:.0}", top + 70.0)) width=(format!("{width:.0}")) role="img"
            aria-label=(format!("{} linked pairs among {}", arcs.len(), if by_source { "sources" } else { "sessions" })) {
            @for ((a, b), (weight, why, class)) in &arcs {
                @let (xa, xb) = (x(*a), x(*b));
                @let ry = ((xb - xa) / 2.0).min(220.0);
                path.arc.(class) d=(format!("M {xa:.1} {top:.1} A {:.1} {ry:.1} 0 0 1 {xb:.1} {top:.1}", (xb - xa) / 2.0))
                    stroke-width=(format!("{:.1}", (weight / 2.5).clamp(1.0, 6.0))) {
                    title { (why.join("\n")) }
                }
            }
            @for (n, (name, href, stage)) in nodes.iter().enumerate() {
                a href=(href) {
                    circle.node.(node_class(*stage)) cx=(format!("{:.1}", x(n))) cy=(format!("{top:.1}")) r="7" {
                        title { (words::text(name)) ", " (stage.map_or("contact", Stage::name)) }
                    }
                    @if step >= 14.0 {
                        text.label transform=(format!("translate({:.1} {:.1}) rotate(35)", x(n) - 3.0, top + 20.0)) { (words::text(name)) }
                    }
                }
            }
        } }
        p.legend {
            @if by_source { "Each dot is a source. " }
            "Lines: " @for reason in &used { span.key.(format!("r-{reason}")) { (reason) } " " }
            @if members.len() > of.len() { span.quiet { "The first " (nodes.len()) " are drawn." } }
        }
    }
}

fn node_class(stage: Option<Stage>) -> &'static str {
    match stage.and_then(|s| Stage::ALL.iter().position(|x| *x == s)) {
        None => "s0",
        Some(0..=1) => "s1",
        Some(2..=3) => "s2",
        Some(4..=6) => "s3",
        Some(_) => "s4",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_hold_many_and_hostile_names() {
        let hostile = "<script>alert(1)</script>\u{202e}\"";
        let session = |n: u8| SessionId::new(Time(i64::from(n)), [n; 10]);
        let members: Vec<Member> = (0..200u8)
            .map(|n| Member {
                session: session(n),
                source: Some(format!("{hostile}{}", n % 70)),
                first: Time(0),
                last: Time(1),
                stage: Some(Stage::Execution),
            })
            .collect();
        let rows: Vec<LinkRow> = (1..200u8)
            .map(|n| LinkRow {
                session: session(n),
                other: session(n - 1),
                reason: "source".into(),
                weight: 3.0,
                detail: hostile.into(),
            })
            .collect();
        let picture = links(&members, &rows).into_string();
        assert!(!picture.contains("<script") && !picture.contains('\u{202e}'));
        assert_eq!(picture.matches("<circle").count(), NODES);
        for few in [0, 1, 2] {
            assert!(links(&members[..few], &rows).into_string().contains("<svg"));
        }
        assert!(timeline(&[], &[], true).into_string().contains("<svg"));
        assert!(stages(&[], Time(0), Time(0)).into_string().contains("<svg"));
    }
}
