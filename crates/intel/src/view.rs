//! Campaigns as people and pages read them: lists, members, links, techniques. Reads only.

use crate::{CampaignId, Sighting, Stage};
use serde::Serialize;
use turncoat_event::{SessionId, Time};
use turncoat_store::rusqlite::{Connection, OptionalExtension, Row, params};
use turncoat_store::{Result, StoreError};

/// One campaign in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Campaign {
    /// Its number.
    pub id: CampaignId,
    /// First event.
    pub first: Time,
    /// Last event.
    pub last: Time,
    /// The furthest stage.
    pub stage: Option<Stage>,
    /// Sessions.
    pub sessions: u64,
    /// Different sources.
    pub sources: u64,
    /// Planted things used.
    pub tokens: u64,
    /// The campaign that it became part of.
    pub merged_into: Option<CampaignId>,
}

/// A session of a campaign.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Member {
    /// The session.
    pub session: SessionId,
    /// Source address.
    pub source: Option<String>,
    /// First event.
    pub first: Time,
    /// Last event.
    pub last: Time,
    /// The furthest stage.
    pub stage: Option<Stage>,
}

/// Why two sessions belong together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LinkRow {
    /// The later session.
    pub session: SessionId,
    /// The earlier one.
    pub other: SessionId,
    /// Kind of evidence.
    pub reason: String,
    /// Weight.
    pub weight: f64,
    /// The evidence.
    pub detail: String,
}

fn has_tables(db: &Connection) -> Result<bool> {
    Ok(db
        .query_row(
            "SELECT 1 FROM sqlite_master WHERE name = 'intel_campaign'",
            [],
            |_| Ok(()),
        )
        .optional()?
        .is_some())
}

fn campaign(r: &Row<'_>) -> turncoat_store::rusqlite::Result<Campaign> {
    Ok(Campaign {
        id: CampaignId(r.get::<_, i64>(0)?.unsigned_abs()),
        first: Time(r.get(1)?),
        last: Time(r.get(2)?),
        stage: r.get::<_, Option<String>>(3)?.and_then(|s| s.parse().ok()),
        sessions: r.get(4)?,
        sources: r.get(5)?,
        tokens: r.get(6)?,
        merged_into: r.get::<_, Option<i64>>(7)?.map(|n| CampaignId(n.unsigned_abs())),
    })
}

const COLUMNS: &str = "id, first, last, stage, sessions, sources, tokens, merged_into";

/// Campaigns, latest first. Those that became part of another are left out.
///
/// # Errors
/// What the database says.
pub fn campaigns(db: &Connection, limit: usize) -> Result<Vec<Campaign>> {
    if !has_tables(db)? {
        return Ok(Vec::new());
    }
    let mut q = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM intel_campaign WHERE merged_into IS NULL AND sessions > 0 ORDER BY last DESC LIMIT ?1"
    ))?;
    let rows = q.query_map([limit as i64], campaign)?;
    Ok(rows.collect::<std::result::Result<_, _>>()?)
}

/// One campaign; one that became part of another leads there.
///
/// # Errors
/// What the database says, or that there is no such campaign.
pub fn find(db: &Connection, id: CampaignId) -> Result<Campaign> {
    let absent = || {
        StoreError::Refused(format!(
            "there is no campaign {id}; `turncoat campaigns` lists them"
        ))
    };
    if !has_tables(db)? {
        return Err(absent());
    }
    let mut at = id;
    // Each step leads to a campaign that absorbed the one before; the bound guards against a damaged table.
    for _ in 0..64 {
        let found = db
            .prepare_cached(&format!("SELECT {COLUMNS} FROM intel_campaign WHERE id = ?1"))?
            .query_row([at.0], campaign)
            .optional()?
            .ok_or_else(absent)?;
        match found.merged_into {
            Some(next) => at = next,
            None => return Ok(found),
        }
    }
    Err(absent())
}

/// The sessions of a campaign by time.
///
/// # Errors
/// What the database says.
pub fn members(db: &Connection, id: CampaignId, limit: usize) -> Result<Vec<Member>> {
    let mut q = db.prepare_cached(
        "SELECT session, source, first, last, stage FROM intel_member WHERE campaign = ?1 ORDER BY first LIMIT ?2",
    )?;
    let mut rows = q.query(params![id.0, limit as i64])?;
    let mut out = Vec::new();
    while let Some(r) = rows.next()? {
        let Ok(session) = r.get::<_, String>(0)?.parse() else {
            continue;
        };
        out.push(Member {
            session,
            source: r.get(1)?,
            first: Time(r.get(2)?),
            last: Time(r.get(3)?),
            stage: r.get::<_, Option<String>>(4)?.and_then(|s| s.parse().ok()),
        });
    }
    Ok(out)
}

/// The links inside a campaign, heaviest first.
///
/// # Errors
/// What the database says.
pub fn links(db: &Connection, id: CampaignId, limit: usize) -> Result<Vec<LinkRow>> {
    let mut q = db.prepare_cached(
        "SELECT l.session, l.other, l.reason, l.weight, l.detail FROM intel_link l \
         JOIN intel_member a ON a.session = l.session JOIN intel_member b ON b.session = l.other \
         WHERE a.campaign = ?1 AND b.campaign = ?1 ORDER BY l.weight DESC, l.session LIMIT ?2",
    )?;
    let mut rows = q.query(params![id.0, limit as i64])?;
    let mut out = Vec::new();
    while let Some(r) = rows.next()? {
        let (Ok(session), Ok(other)) = (r.get::<_, String>(0)?.parse(), r.get::<_, String>(1)?.parse())
        else {
            continue;
        };
        out.push(LinkRow {
            session,
            other,
            reason: r.get(2)?,
            weight: r.get(3)?,
            detail: r.get(4)?,
        });
    }
    Ok(out)
}

/// The techniques seen in a campaign, each with the session, by time.
///
/// # Errors
/// What the database says.
pub fn sightings(db: &Connection, id: CampaignId) -> Result<Vec<(SessionId, Sighting)>> {
    let mut q = db.prepare_cached(
        "SELECT s.session, s.body FROM intel_sighting s JOIN intel_member m ON m.session = s.session WHERE m.campaign = ?1",
    )?;
    let mut rows = q.query([id.0])?;
    let mut out: Vec<(SessionId, Sighting)> = Vec::new();
    while let Some(r) = rows.next()? {
        let (Ok(session), Ok(body)) = (
            r.get::<_, String>(0)?.parse(),
            serde_json::from_str(&r.get::<_, String>(1)?),
        ) else {
            continue;
        };
        out.push((session, body));
    }
    out.sort_by_key(|(_, s)| (s.first, s.rule.clone()));
    Ok(out)
}

/// The ids of the techniques seen in a campaign.
///
/// # Errors
/// What the database says.
pub fn techniques(db: &Connection, id: CampaignId) -> Result<Vec<String>> {
    let mut q =
        db.prepare_cached("SELECT technique FROM intel_technique WHERE campaign = ?1 ORDER BY technique")?;
    let rows = q.query_map([id.0], |r| r.get(0))?;
    Ok(rows.collect::<std::result::Result<_, _>>()?)
}

/// Sessions that belong to no campaign: scanners, and logins that failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Noise {
    /// Sessions.
    pub sessions: u64,
    /// Different sources.
    pub sources: u64,
    /// Login attempts.
    pub attempts: u64,
    /// Sessions that did not try to log in at all.
    pub scans: u64,
    /// The clients they named most often, with the number of sessions.
    pub clients: Vec<(String, u64)>,
}

/// Counts what belongs to no campaign.
///
/// # Errors
/// What the database says.
pub fn noise(db: &Connection) -> Result<Noise> {
    let apart = if has_tables(db)? {
        "NOT EXISTS (SELECT 1 FROM intel_member m WHERE m.session = s.uuid)"
    } else {
        "1"
    };
    let (sessions, sources, attempts, scans) = db
        .prepare_cached(&format!(
            "SELECT count(*), count(DISTINCT src_ip), coalesce(sum(attempts), 0), coalesce(sum(attempts = 0), 0) \
             FROM session s WHERE closed IS NOT NULL AND {apart}"
        ))?
        .query_row([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))?;
    let mut q = db.prepare_cached(&format!(
        "SELECT client, count(*) FROM session s WHERE closed IS NOT NULL AND client IS NOT NULL AND {apart} \
         GROUP BY client ORDER BY 2 DESC, 1 LIMIT 5"
    ))?;
    let rows = q.query_map([], |r| Ok((r.get::<_, Vec<u8>>(0)?, r.get(1)?)))?;
    let clients = rows
        .map(|r| r.map(|(c, n)| (String::from_utf8_lossy(&c).into_owned(), n)))
        .collect::<std::result::Result<_, _>>()?;
    Ok(Noise {
        sessions,
        sources,
        attempts,
        scans,
        clients,
    })
}

/// What sessions of a campaign left that tells them apart, by kind: `file`, `host`, `key`, `address`. At most `limit` sessions are looked at.
///
/// # Errors
/// What the database says.
pub fn traits(
    db: &Connection,
    id: CampaignId,
    limit: usize,
) -> Result<std::collections::BTreeSet<(&'static str, String)>> {
    let mut out = std::collections::BTreeSet::new();
    let mut q = db.prepare_cached(
        "SELECT e.body FROM intel_member m JOIN intel_evidence e ON e.session = m.session WHERE m.campaign = ?1 ORDER BY m.first LIMIT ?2",
    )?;
    let rows = q.query_map(params![id.0, limit as i64], |r| r.get::<_, String>(0))?;
    for row in rows {
        let Ok(d) = serde_json::from_str::<crate::Digest>(&row?) else {
            continue;
        };
        out.extend(d.artifacts.into_iter().map(|a| ("file", a)));
        out.extend(d.contacts.into_iter().map(|c| ("host", c)));
        out.extend(d.keys.into_iter().map(|k| ("key", k)));
        out.extend(d.source.map(|s| ("address", s.to_canonical().to_string())));
    }
    Ok(out)
}

/// The different sources of a campaign.
///
/// # Errors
/// What the database says.
pub fn sources(db: &Connection, id: CampaignId) -> Result<Vec<std::net::IpAddr>> {
    let mut q = db.prepare_cached(
        "SELECT DISTINCT source FROM intel_member WHERE campaign = ?1 AND source IS NOT NULL",
    )?;
    let rows = q.query_map([id.0], |r| r.get::<_, String>(0))?;
    Ok(rows.filter_map(|r| r.ok()?.parse().ok()).collect())
}

/// How many sessions of a campaign came from each source, most first, at most `limit` of them.
///
/// # Errors
/// What the database says.
pub fn by_source(db: &Connection, id: CampaignId, limit: usize) -> Result<Vec<(std::net::IpAddr, u64)>> {
    let mut q = db.prepare_cached(
        "SELECT source, count(*) FROM intel_member WHERE campaign = ?1 AND source IS NOT NULL \
         GROUP BY source ORDER BY 2 DESC, 1 LIMIT ?2",
    )?;
    let rows = q.query_map(params![id.0, limit as i64], |r| {
        Ok((r.get::<_, String>(0)?, r.get::<_, u64>(1)?))
    })?;
    Ok(rows
        .filter_map(|r| r.ok().and_then(|(source, n)| Some((source.parse().ok()?, n))))
        .collect())
}

/// The campaign of a session.
///
/// # Errors
/// What the database says.
pub fn campaign_of(db: &Connection, session: SessionId) -> Result<Option<CampaignId>> {
    if !has_tables(db)? {
        return Ok(None);
    }
    Ok(db
        .prepare_cached("SELECT campaign FROM intel_member WHERE session = ?1")?
        .query_row([session.to_string()], |r| r.get::<_, i64>(0))
        .optional()?
        .map(|n| CampaignId(n.unsigned_abs())))
}
