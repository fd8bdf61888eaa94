//! A campaign told: what happened in plain words, with what it rests on. As Markdown, HTML, JSON or STIX 2.1.
//!
//! Every statement is marked *observed* (an event says so), *inferred* (with confidence and reason) or *claimed by the intruder* (his
//! own words). Text of an intruder is escaped for where it is shown and links are defanged.

mod render;
mod stix;

pub use render::{html, markdown};
pub use stix::stix;

use crate::networks::Networks;
use crate::view::{self, Campaign, LinkRow, Member};
use crate::{CampaignId, Sighting};
use serde::Serialize;
use std::collections::BTreeMap;
use turncoat_event::{Event, Kind, SessionId, Time, show};
use turncoat_store::{Filter, Reader, Result};

/// What a statement rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "basis", rename_all = "kebab-case")]
pub enum Basis {
    /// Events of the record say so.
    Observed,
    /// Concluded from events.
    Inferred {
        /// 0 to 100.
        confidence: u8,
        /// Why.
        reason: String,
    },
    /// The intruder's own words.
    Claimed,
}

/// One sentence of a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statement {
    /// When what it tells happened.
    pub time: Time,
    /// The session.
    pub session: Option<SessionId>,
    /// The sentence; text of the intruder in it is in `quoted`.
    pub text: String,
    /// Text of the intruder, raw.
    pub quoted: Option<String>,
    /// What it rests on.
    #[serde(flatten)]
    pub basis: Basis,
    /// Numbers of the events.
    pub evidence: Vec<u64>,
}

/// Something by which the intruder can be recognised elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Indicator {
    /// `ipv4`, `ipv6`, `sha256`, `url`, `domain`, `hassh`, `client`, `ssh-key`.
    pub kind: &'static str,
    /// The value, raw.
    pub value: String,
}

/// A technique with every session that showed it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Technique {
    /// As it was first seen; `count` is over all sessions, `evidence` the first events.
    #[serde(flatten)]
    pub seen: Sighting,
    /// The session it was first seen in.
    pub session: SessionId,
    /// Sessions that showed it.
    pub sessions: u64,
    /// Last session that showed it for the first time.
    pub last: Time,
}

/// One row for each rule, in the order in which they were first met.
fn grouped(sightings: Vec<(SessionId, Sighting)>) -> Vec<Technique> {
    let mut out: Vec<Technique> = Vec::new();
    for (session, s) in sightings {
        match out.iter_mut().find(|t| t.seen.rule == s.rule) {
            Some(t) => {
                t.sessions += 1;
                t.seen.count += s.count;
                t.last = t.last.max(s.first);
                let room = 16usize.saturating_sub(t.seen.evidence.len());
                t.seen.evidence.extend(s.evidence.into_iter().take(room));
            }
            None => out.push(Technique {
                session,
                sessions: 1,
                last: s.first,
                seen: s,
            }),
        }
    }
    out
}

/// A whole report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// When it was made.
    pub made: Time,
    /// The campaign.
    pub campaign: Campaign,
    /// What they wanted and how far they came, one or two sentences.
    pub summary: Vec<Statement>,
    /// What happened, by time.
    pub story: Vec<Statement>,
    /// Its sessions.
    pub sessions: Vec<Member>,
    /// Why the sessions belong together.
    pub links: Vec<LinkRow>,
    /// Techniques, each once.
    pub techniques: Vec<Technique>,
    /// Where the sources are, with the number of sessions; empty where no table of networks is named.
    pub networks: Vec<(String, u64)>,
    /// Indicators.
    pub indicators: Vec<Indicator>,
    /// Earlier campaigns that share an indicator.
    pub compared: Vec<String>,
    /// Something was left out because there was too much.
    pub shortened: bool,
}

/// Sessions told one by one.
const SESSIONS: usize = 200;
/// Events looked at in one session.
const EVENTS: usize = 5_000;
/// Sentences of the story.
const SENTENCES: usize = 2_000;

/// Puts the report of a campaign together.
///
/// # Errors
/// What the record says, or that there is no such campaign.
pub fn build(reader: &Reader, id: CampaignId, made: Time) -> Result<Report> {
    build_with(reader, id, made, &Networks::default())
}

/// The same with a table of networks, by which it says where sources are.
///
/// # Errors
/// As for [`build`].
pub fn build_with(reader: &Reader, id: CampaignId, made: Time, networks: &Networks) -> Result<Report> {
    let db = reader.database();
    let campaign = view::find(db, id)?;
    let sessions = view::members(db, campaign.id, SESSIONS)?;
    let links = view::links(db, campaign.id, 500)?;
    let techniques = grouped(view::sightings(db, campaign.id)?);
    let mut story = Vec::new();
    let mut indicators = std::collections::BTreeSet::new();
    let mut shortened = campaign.sessions as usize > sessions.len();
    for m in &sessions {
        let filter = Filter {
            session: Some(m.session),
            ..Filter::default()
        };
        let (events, _) = reader.events(&filter, EVENTS)?;
        shortened |= events.len() >= EVENTS;
        for e in &events {
            note(e, &mut indicators);
        }
        story.extend(tell(m, &events));
    }
    story.sort_by_key(|s| s.time);
    if story.len() > SENTENCES {
        story.truncate(SENTENCES);
        shortened = true;
    }
    for t in &techniques {
        let s = &t.seen;
        if !s.observed {
            story.push(Statement {
                time: s.first,
                session: Some(t.session),
                text: match t.sessions {
                    1 => format!("{} ({})", s.name, s.technique),
                    n => format!("{} ({}), in {n} sessions", s.name, s.technique),
                },
                quoted: None,
                basis: Basis::Inferred {
                    confidence: 60,
                    reason: s.why.clone(),
                },
                evidence: s.evidence.clone(),
            });
        }
    }
    story.sort_by_key(|s| s.time);
    let summary = summarise(&campaign, &techniques, &links);
    let compared = compare(db, &campaign)?;
    let mut by_network: BTreeMap<String, u64> = BTreeMap::new();
    for m in &sessions {
        let source = m.source.as_ref().and_then(|s| s.parse().ok());
        let network = source.map(|s| networks.of(s)).unwrap_or_default();
        if !network.is_empty() {
            *by_network.entry(network.to_string()).or_default() += 1;
        }
    }
    let mut networks: Vec<(String, u64)> = by_network.into_iter().collect();
    networks.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    networks.truncate(20);
    Ok(Report {
        made,
        campaign,
        summary,
        story,
        sessions,
        links,
        techniques,
        networks,
        indicators: indicators.into_iter().collect(),
        compared,
        shortened,
    })
}

/// Earlier campaigns that share something with this one, and why that was too little to join them.
fn compare(db: &turncoat_store::rusqlite::Connection, campaign: &Campaign) -> Result<Vec<String>> {
    let ours = view::traits(db, campaign.id, SESSIONS)?;
    let mut out = Vec::new();
    for other in view::campaigns(db, 300)? {
        if other.id == campaign.id || other.first > campaign.first || out.len() >= 10 {
            continue;
        }
        let theirs = view::traits(db, other.id, 50)?;
        let mut shared: BTreeMap<&str, u64> = BTreeMap::new();
        for (kind, _) in ours.intersection(&theirs) {
            *shared.entry(*kind).or_default() += 1;
        }
        if shared.is_empty() {
            continue;
        }
        let words: Vec<String> = [
            ("file", "file", "files"),
            ("host", "contacted host", "contacted hosts"),
            ("key", "key", "keys"),
            ("address", "source address", "source addresses"),
        ]
        .iter()
        .filter_map(|(kind, one, many)| match shared.get(kind)? {
            1 => Some(format!("1 {one}")),
            n => Some(format!("{n} {many}")),
        })
        .collect();
        out.push(format!(
            "{} ({} sessions, stage {}, {} to {} UTC) shares {}; too little to join them",
            other.id,
            other.sessions,
            other.stage.map_or("none", |s| s.name()),
            show::time(other.first),
            show::time(other.last),
            words.join(", ")
        ));
    }
    Ok(out)
}

fn plural(n: u64, one: &str, many: &str) -> String {
    if n == 1 {
        format!("1 {one}")
    } else {
        format!("{n} {many}")
    }
}

fn summarise(c: &Campaign, techniques: &[Technique], links: &[LinkRow]) -> Vec<Statement> {
    let say = |text: String, basis: Basis| Statement {
        time: c.last,
        session: None,
        text,
        quoted: None,
        basis,
        evidence: vec![],
    };
    let mut out = vec![say(
        format!(
            "{} from {}, {} to {} UTC; {}.",
            plural(c.sessions, "session", "sessions"),
            plural(c.sources, "source", "sources"),
            show::time(c.first),
            show::time(c.last),
            match c.tokens {
                0 => "nothing planted was used".to_owned(),
                n => format!("a planted thing was used {}", plural(n, "time", "times")),
            }
        ),
        Basis::Observed,
    )];
    if let Some(stage) = c.stage {
        let at: Vec<_> = techniques
            .iter()
            .filter(|t| t.seen.stage == stage)
            .map(|t| format!("{} ({})", t.seen.name, t.seen.technique))
            .collect();
        let mut names = at;
        names.dedup();
        out.push(say(
            format!("They came as far as {}: {}.", stage.name(), names.join(", ")),
            Basis::Observed,
        ));
    }
    let wanted = [
        ("T1496", "to use the machine's processors for themselves"),
        ("T1552", "to take secrets and use them elsewhere"),
        ("T1021", "to go on to other machines"),
        ("T1090", "to use the machine as a relay"),
        ("T1098", "to keep access for later"),
        ("T1105", "to install programs of their own"),
        ("T1082", "to find out what the machine is"),
        ("T1110", "to get in by guessing passwords"),
    ]
    .into_iter()
    .find(|(id, _)| {
        // Coming in by SSH is T1021 too, but only going on by it is what they wanted.
        techniques.iter().any(|t| {
            t.seen.technique.starts_with(id)
                && (*id != "T1021" || t.seen.stage == crate::Stage::LateralMovement)
        })
    });
    if let Some((id, what)) = wanted {
        out.push(say(
            format!("They wanted {what}."),
            Basis::Inferred {
                confidence: 70,
                reason: format!("technique {id} was seen"),
            },
        ));
    }
    if c.sessions > 1 {
        let mut by: BTreeMap<&str, usize> = BTreeMap::new();
        for l in links {
            *by.entry(&l.reason).or_default() += 1;
        }
        let reasons: Vec<_> = by.iter().map(|(r, n)| format!("{r} ({n})")).collect();
        let weight = links.iter().map(|l| l.weight).fold(0.0, f64::max);
        let confidence = (50.0 + weight * 4.0).clamp(0.0, 99.0) as u8;
        out.push(say(
            "The sessions belong to one intruder or one tool.".into(),
            Basis::Inferred {
                confidence,
                reason: format!("they share: {}", reasons.join(", ")),
            },
        ));
    }
    out
}

fn note(e: &Event, out: &mut std::collections::BTreeSet<Indicator>) {
    let mut add = |kind, value: String| {
        if out.len() < 5_000 {
            out.insert(Indicator { kind, value });
        }
    };
    match &e.kind {
        Kind::SessionOpen(_) => {
            if let Some(ip) = e.origin.src_ip {
                let ip = ip.to_canonical();
                add(if ip.is_ipv4() { "ipv4" } else { "ipv6" }, ip.to_string());
            }
        }
        Kind::FileArtifact(a) => add("sha256", a.sha256.to_string()),
        Kind::NetConnect(c) if !c.address.is_loopback() => {
            add(
                if c.address.is_ipv4() { "ipv4" } else { "ipv6" },
                c.address.to_string(),
            );
        }
        Kind::NetResolve(r) => add("domain", r.name.to_text_lossy().into_owned()),
        Kind::ClientKex(k) => add("hassh", k.hassh.clone()),
        Kind::ClientVersion(v) => add("client", v.version.to_text_lossy().into_owned()),
        Kind::AuthAttempt(a) => {
            if let Some(f) = &a.fingerprint {
                add("ssh-key", f.clone());
            }
        }
        _ => {}
    }
}

/// The sentences of one session.
fn tell(m: &Member, events: &[Event]) -> Vec<Statement> {
    let mut out = Vec::new();
    let mut refused: Vec<u64> = Vec::new();
    let mut first_refused = m.first;
    for e in events {
        let mut say = |text: String, quoted: Option<String>, basis: Basis| {
            out.push(Statement {
                time: e.time,
                session: Some(m.session),
                text,
                quoted,
                basis,
                evidence: vec![e.seq],
            });
        };
        let lossy = |b: &turncoat_event::Bytes| Some(b.to_text_lossy().into_owned());
        match &e.kind {
            Kind::SessionOpen(_) => say(
                format!(
                    "{} connected to {}",
                    m.source.as_deref().unwrap_or("somebody"),
                    e.origin.decoy.as_deref().unwrap_or("a decoy")
                ),
                None,
                Basis::Observed,
            ),
            Kind::ClientVersion(v) => say(
                "the client calls itself".into(),
                lossy(&v.version),
                Basis::Claimed,
            ),
            Kind::AuthAttempt(a) if a.accepted && a.probe != Some(true) => {
                say(
                    format!("logged in by {} as", a.method),
                    lossy(&a.user),
                    Basis::Observed,
                );
            }
            Kind::AuthAttempt(a) if a.method != "none" => {
                if refused.is_empty() {
                    first_refused = e.time;
                }
                refused.push(e.seq);
            }
            Kind::CommandInput(c) => say("typed".into(), lossy(&c.line), Basis::Observed),
            Kind::CommandExec(c) => say("ran the command".into(), lossy(&c.command), Basis::Observed),
            Kind::SubsystemRequest(s) => {
                say("asked for the subsystem".into(), lossy(&s.name), Basis::Observed)
            }
            Kind::BaitRead(b) => say(
                format!("read the bait {} in", b.bait),
                lossy(&b.path),
                Basis::Observed,
            ),
            Kind::TokenUsed(t) => say(
                format!(
                    "used the planted {} {}, planted at {}",
                    t.kind,
                    t.token,
                    t.planted.as_deref().unwrap_or("an unnoted place")
                ),
                None,
                Basis::Observed,
            ),
            Kind::FileArtifact(a) => say(
                match a.how.as_str() {
                    "written" => format!("a file was written, {} bytes, SHA-256 {}:", a.size, a.sha256),
                    how => format!(
                        "brought a file ({how}) of {} bytes, SHA-256 {}, as",
                        a.size, a.sha256
                    ),
                },
                lossy(&a.path),
                Basis::Observed,
            ),
            Kind::FileRemove(f) => say("removed".into(), lossy(&f.path), Basis::Observed),
            Kind::NetConnect(c) => say(
                format!(
                    "a program wanted to connect to {} port {} ({}); it met: {}",
                    c.address, c.port, c.protocol, c.answer
                ),
                None,
                Basis::Observed,
            ),
            Kind::NetResolve(r) => say(
                "a program looked up the name".into(),
                lossy(&r.name),
                Basis::Observed,
            ),
            Kind::UserChange(u) => say(
                format!("an account was changed ({}):", u.change),
                lossy(&u.user),
                Basis::Observed,
            ),
            Kind::ForwardRequest(f) => say(
                format!("asked to be connected ({}, port {}) to", f.request, f.port),
                lossy(&f.host),
                Basis::Observed,
            ),
            Kind::SessionClose(c) => say(
                format!("left after {} s ({})", c.duration_ms / 1000, c.reason),
                None,
                Basis::Observed,
            ),
            _ => {}
        }
    }
    if !refused.is_empty() {
        let n = refused.len();
        refused.truncate(16);
        out.push(Statement {
            time: first_refused,
            session: Some(m.session),
            text: format!("refused: {}", plural(n as u64, "login attempt", "login attempts")),
            quoted: None,
            basis: Basis::Observed,
            evidence: refused,
        });
    }
    out
}
