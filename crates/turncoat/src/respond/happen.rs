//! From what was recorded to what rules are asked about: [`Happening`]s of campaigns and of single events.

use std::net::IpAddr;

use turncoat_event::{Bytes, Event, SessionId};
use turncoat_intel::networks::Networks;
use turncoat_intel::{CampaignId, Change, view};
use turncoat_store::Result;
use turncoat_store::rusqlite::{Connection, OptionalExtension};

use super::engine::Happening;
use super::when::Facts;

/// Name of the incidents that are about the sensor itself.
pub const SENSOR: &str = "sensor";

/// What rules are asked after a campaign changed.
///
/// # Errors
/// What the database says.
pub fn of_change(db: &Connection, change: &Change, networks: &Networks) -> Result<Option<Happening>> {
    let Ok(c) = view::find(db, change.campaign) else {
        return Ok(None);
    };
    let token = change.what == "token";
    let (source, port, decoy) = match change.session {
        Some(session) => reached(db, session)?,
        None => (None, 0, String::new()),
    };
    let mut what = match (&change.reason, change.what) {
        (Some(which), "token") => format!("a planted thing was used: {which}"),
        (Some(reason), what) => format!("{what}: {reason}"),
        (None, "token") => "a planted thing was used".into(),
        (None, what) => what.to_owned(),
    };
    if let Some(source) = source {
        what.push_str(&from(source, networks));
    }
    Ok(Some(Happening {
        facts: Facts {
            event: if token { "token.used" } else { "campaign.change" }.into(),
            decoy,
            port,
            source,
            techniques: view::techniques(db, c.id)?,
            stage: change.stage,
            sessions: c.sessions,
            sources: c.sources,
            tokens: c.tokens,
        },
        campaign: Some(c.id.to_string()),
        key: String::new(),
        grew: change.what == "merged",
        what,
    }))
}

/// What rules are asked about one event that they name. `campaign` is where its session is.
///
/// # Errors
/// What the database says.
pub fn of_event(
    db: &Connection,
    event: &Event,
    campaign: Option<CampaignId>,
    networks: &Networks,
) -> Result<Happening> {
    let o = &event.origin;
    let mut facts = Facts {
        event: event.kind.name().into(),
        decoy: o.decoy.clone().unwrap_or_default(),
        port: o.dst_port.map_or(0, u64::from),
        source: o.src_ip.map(|a| a.to_canonical()),
        ..Facts::default()
    };
    let mut known = None;
    if let Some(c) = campaign.and_then(|id| view::find(db, id).ok()) {
        facts.techniques = view::techniques(db, c.id)?;
        (facts.stage, facts.sessions) = (c.stage, c.sessions);
        (facts.sources, facts.tokens) = (c.sources, c.tokens);
        known = Some(c.id.to_string());
    }
    // Alerts leave this machine: a tried secret may be a colleague's.
    let mut kind = event.kind.clone();
    kind.mask_secrets(&|_| Bytes::from("***"));
    let mut what = format!("{}: {}", kind.name(), crate::show::fields(&kind));
    if let Some(source) = facts.source {
        what.push_str(&from(source, networks));
    }
    Ok(Happening {
        key: facts.source.map_or_else(|| SENSOR.to_owned(), |s| s.to_string()),
        campaign: known,
        grew: false,
        what,
        facts,
    })
}

/// A source in words, with its country and network where they are known.
fn from(source: IpAddr, networks: &Networks) -> String {
    match networks.told(source) {
        Some(network) => format!(" (from {source}, {network})"),
        None => format!(" (from {source})"),
    }
}

/// The source of a session, and the port and decoy that it reached.
fn reached(db: &Connection, session: SessionId) -> Result<(Option<IpAddr>, u64, String)> {
    let row = db
        .prepare_cached("SELECT src_ip, dst_port, decoy FROM session WHERE uuid = ?1")?
        .query_row([session.to_string()], |r| {
            Ok((
                r.get::<_, Option<String>>(0)?,
                r.get::<_, Option<u64>>(1)?,
                r.get::<_, Option<String>>(2)?,
            ))
        })
        .optional()?;
    let (source, port, decoy) = row.unwrap_or_default();
    let source = source
        .and_then(|s| s.parse::<IpAddr>().ok())
        .map(|a| a.to_canonical());
    Ok((source, port.unwrap_or(0), decoy.unwrap_or_default()))
}
