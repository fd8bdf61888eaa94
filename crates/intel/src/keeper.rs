//! Campaigns kept in the record: reads events by cursor, places sessions, writes what it found into tables of its own.
//!
//! [`Keeper`] runs in the process that writes the record, after the events are committed. Its tables (`intel_*`) are made here; what a
//! digest was placed with is logged, so that the linking state is rebuilt by doing the same again in the same order.

use crate::link::{CampaignId, Linker};
use crate::{Digest, Link, Outcome, Rules, Stage, Techniques};
use std::collections::BTreeMap;
use turncoat_event::{Event, Kind, SessionId, Time, kinds};
use turncoat_store::rusqlite::{Connection, Transaction, params};
use turncoat_store::{Result, StoreError};

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS intel_log (n INTEGER PRIMARY KEY, act TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS intel_campaign (
    id INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, stage TEXT,
    sessions INTEGER NOT NULL, sources INTEGER NOT NULL, tokens INTEGER NOT NULL, merged_into INTEGER);
CREATE TABLE IF NOT EXISTS intel_member (
    session TEXT PRIMARY KEY, campaign INTEGER NOT NULL, source TEXT, first INTEGER NOT NULL, last INTEGER NOT NULL,
    stage TEXT, tokens INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS intel_member_campaign ON intel_member(campaign);
CREATE TABLE IF NOT EXISTS intel_link (
    session TEXT NOT NULL, other TEXT NOT NULL, reason TEXT NOT NULL, weight REAL NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (session, other, reason)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS intel_sighting (
    session TEXT NOT NULL, rule TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (session, rule)) WITHOUT ROWID;
";

/// A session's evidence is dropped from memory this long after its last event, in seconds, if no close was seen.
const FORGOTTEN: i64 = 86_400;

/// What the keeper found out, for responses and the record.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The campaign.
    pub campaign: CampaignId,
    /// The session it came from.
    pub session: Option<SessionId>,
    /// `opened`, `joined`, `merged`, `stage`, `token`.
    pub what: &'static str,
    /// The stage reached so far.
    pub stage: Option<Stage>,
    /// The reason in words.
    pub reason: Option<String>,
    /// When the event that decided it happened.
    pub time: Time,
}

impl Change {
    /// The event that tells of it.
    pub fn kind(&self) -> Kind {
        kinds::CampaignChange {
            campaign: self.campaign.to_string(),
            change: self.what.to_string(),
            stage: self.stage.map(|s| s.name().to_string()),
            reason: self.reason.clone(),
        }
        .into()
    }
}

struct Live {
    digest: Digest,
    techniques: Techniques,
    placed: bool,
}

/// Campaigns of a record.
pub struct Keeper {
    rules: Rules,
    linker: Linker,
    live: BTreeMap<SessionId, Live>,
    stages: BTreeMap<CampaignId, Stage>,
}

/// The name of the keeper's cursor in the record.
pub const CURSOR: &str = "intel";

fn json<T: serde::Serialize>(v: &T) -> Result<String> {
    serde_json::to_string(v).map_err(|e| StoreError::Refused(format!("campaigns: {e}")))
}

impl Keeper {
    /// Opens the campaigns of a record and rebuilds the linking state.
    ///
    /// # Errors
    /// What the database says.
    pub fn open(db: &mut Connection, rules: Rules) -> Result<Keeper> {
        db.execute_batch(TABLES)?;
        let mut keeper = Keeper {
            rules,
            linker: Linker::default(),
            live: BTreeMap::new(),
            stages: BTreeMap::new(),
        };
        {
            let mut q = db.prepare("SELECT act, body FROM intel_log ORDER BY n")?;
            let mut rows = q.query([])?;
            while let Some(r) = rows.next()? {
                keeper.again(&r.get::<_, String>(0)?, &r.get::<_, String>(1)?);
            }
        }
        let mut q = db.prepare("SELECT id, stage FROM intel_campaign WHERE stage IS NOT NULL")?;
        let mut rows = q.query([])?;
        while let Some(r) = rows.next()? {
            if let Ok(stage) = r.get::<_, String>(1)?.parse() {
                keeper
                    .stages
                    .insert(CampaignId(r.get::<_, i64>(0)?.unsigned_abs()), stage);
            }
        }
        drop(rows);
        drop(q);
        Ok(keeper)
    }

    /// Does a logged act again. Acts that can no longer be read are passed over: their sessions stay where the tables say.
    fn again(&mut self, act: &str, body: &str) {
        match act {
            "place" => {
                if let Ok(d) = serde_json::from_str::<Digest>(body) {
                    self.linker.place(&d);
                }
            }
            "merge" => {
                if let Ok((a, b)) = serde_json::from_str::<(CampaignId, CampaignId)>(body) {
                    let _ = self.linker.merge(a, b);
                }
            }
            "split" => {
                if let Ok((from, sessions)) = serde_json::from_str::<(CampaignId, Vec<SessionId>)>(body) {
                    let _ = self.linker.split(from, &sessions);
                }
            }
            _ => {}
        }
    }

    /// Where a session is.
    pub fn campaign_of(&self, session: &SessionId) -> Option<CampaignId> {
        self.linker.campaign_of(session)
    }

    /// Takes in events that are committed, in order, and writes what follows from them together with the cursor.
    ///
    /// # Errors
    /// What the database says; nothing of the batch is kept then, and the caller opens the keeper anew.
    pub fn add(&mut self, db: &mut Connection, events: &[Event]) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        let tx = db.transaction()?;
        for e in events {
            self.event(&tx, e, &mut changes)?;
        }
        if let Some(last) = events.last() {
            tx.execute(
                "INSERT INTO cursor (name, seq) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET seq = excluded.seq",
                params![CURSOR, last.seq],
            )?;
            let old = last.time.seconds() - FORGOTTEN;
            self.live.retain(|_, l| l.digest.last.seconds() > old);
        }
        tx.commit()?;
        Ok(changes)
    }

    fn event(&mut self, tx: &Transaction<'_>, e: &Event, changes: &mut Vec<Change>) -> Result<()> {
        let Some(session) = e.origin.session else {
            return Ok(());
        };
        let live = self.live.entry(session).or_insert_with(|| Live {
            digest: Digest::new(session, e.time),
            techniques: Techniques::default(),
            placed: false,
        });
        live.digest.add(e);
        let fresh = live.techniques.add(&self.rules, e);
        let entered = matches!(&e.kind, Kind::AuthAttempt(a) if a.accepted && a.probe != Some(true));
        let token = matches!(&e.kind, Kind::TokenUsed(_));
        let told = matches!(
            &e.kind,
            Kind::SessionLink(_) | Kind::BaitRead(_) | Kind::FileArtifact(_)
        );
        let closed = matches!(&e.kind, Kind::SessionClose(_));
        if entered || token || (told && live.placed) || closed {
            self.place(tx, session, e.time, changes)?;
        }
        if closed {
            self.write_sightings(tx, &session)?;
            self.live.remove(&session);
            return Ok(());
        }
        let Some(campaign) = self.linker.campaign_of(&session) else {
            return Ok(());
        };
        if token {
            changes.push(self.change(campaign, session, "token", None, e.time));
        }
        if !fresh.is_empty() {
            self.write_sightings(tx, &session)?;
            for s in &fresh {
                if self.stages.get(&campaign).is_none_or(|now| s.stage > *now) {
                    self.stages.insert(campaign, s.stage);
                    let why = format!("{} ({}): {}", s.name, s.technique, s.why);
                    changes.push(self.change(campaign, session, "stage", Some(why), e.time));
                }
            }
            self.write_campaign(tx, campaign)?;
        }
        Ok(())
    }

    fn change(
        &self,
        campaign: CampaignId,
        session: SessionId,
        what: &'static str,
        reason: Option<String>,
        time: Time,
    ) -> Change {
        Change {
            campaign,
            session: Some(session),
            what,
            stage: self.stages.get(&campaign).copied(),
            reason,
            time,
        }
    }

    fn place(
        &mut self,
        tx: &Transaction<'_>,
        session: SessionId,
        now: Time,
        changes: &mut Vec<Change>,
    ) -> Result<()> {
        let Some(live) = self.live.get_mut(&session) else {
            return Ok(());
        };
        let digest = live.digest.clone();
        let before = self.linker.campaign_of(&session);
        let out: Outcome = self.linker.place(&digest);
        tx.prepare_cached("INSERT INTO intel_log (act, body) VALUES ('place', ?1)")?
            .execute([json(&digest)?])?;
        let Some(campaign) = out.campaign else {
            return Ok(());
        };
        live.placed = true;
        let stage = live.techniques.stage();
        for link in &out.links {
            self.write_link(tx, link)?;
        }
        self.write_member(tx, campaign, &digest, stage)?;
        for s in &out.drawn_in {
            tx.prepare_cached(
                "INSERT INTO intel_member (session, campaign, source, first, last, stage, tokens) \
                 SELECT uuid, ?2, src_ip, opened, coalesce(closed, opened), NULL, 0 FROM session WHERE uuid = ?1 \
                 ON CONFLICT (session) DO UPDATE SET campaign = excluded.campaign",
            )?
            .execute(params![s.to_string(), campaign.0])?;
        }
        for m in &out.merged {
            self.write_merge(tx, *m, campaign)?;
            let stage = self.stages.remove(m).max(self.stages.get(&campaign).copied());
            if let Some(s) = stage {
                self.stages.insert(campaign, s);
            }
        }
        let raised = stage.filter(|s| self.stages.get(&campaign).is_none_or(|now| s > now));
        if let Some(s) = raised {
            self.stages.insert(campaign, s);
        }
        self.write_campaign(tx, campaign)?;
        let why = out
            .links
            .first()
            .map(|l| format!("{}: {}", l.reason.text(), l.detail));
        if out.opened {
            changes.push(self.change(campaign, session, "opened", why.clone(), now));
        } else if before != Some(campaign) {
            changes.push(self.change(campaign, session, "joined", why.clone(), now));
        }
        if raised.is_some() && !out.opened {
            changes.push(self.change(campaign, session, "stage", None, now));
        }
        for m in &out.merged {
            changes.push(self.change(
                campaign,
                session,
                "merged",
                Some(format!("{m} is part of it: {}", why.clone().unwrap_or_default())),
                now,
            ));
        }
        Ok(())
    }

    fn write_link(&self, tx: &Transaction<'_>, l: &Link) -> Result<()> {
        let reason = json(&l.reason)?;
        tx.prepare_cached(
            "INSERT INTO intel_link (session, other, reason, weight, detail) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (session, other, reason) DO UPDATE SET weight = max(weight, excluded.weight)",
        )?
        .execute(params![
            l.session.to_string(),
            l.other.to_string(),
            reason.trim_matches('"'),
            l.weight,
            l.detail
        ])?;
        Ok(())
    }

    fn write_member(
        &self,
        tx: &Transaction<'_>,
        c: CampaignId,
        d: &Digest,
        stage: Option<Stage>,
    ) -> Result<()> {
        tx.prepare_cached(
            "INSERT INTO intel_member (session, campaign, source, first, last, stage, tokens) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
             ON CONFLICT (session) DO UPDATE SET campaign = excluded.campaign, last = excluded.last, stage = excluded.stage, tokens = excluded.tokens",
        )?
        .execute(params![
            d.session.to_string(),
            c.0,
            d.source.map(|s| s.to_canonical().to_string()),
            d.first.0,
            d.last.0,
            stage.map(Stage::name),
            d.tokens.len() as i64
        ])?;
        Ok(())
    }

    fn write_campaign(&self, tx: &Transaction<'_>, c: CampaignId) -> Result<()> {
        tx.prepare_cached(
            "INSERT INTO intel_campaign (id, first, last, stage, sessions, sources, tokens) \
             SELECT ?1, min(first), max(last), ?2, count(*), count(DISTINCT source), sum(tokens) FROM intel_member WHERE campaign = ?1 \
             HAVING count(*) > 0 \
             ON CONFLICT (id) DO UPDATE SET first = excluded.first, last = excluded.last, stage = excluded.stage, \
             sessions = excluded.sessions, sources = excluded.sources, tokens = excluded.tokens",
        )?
        .execute(params![c.0, self.stages.get(&c).map(|s| s.name())])?;
        Ok(())
    }

    fn write_merge(&self, tx: &Transaction<'_>, from: CampaignId, into: CampaignId) -> Result<()> {
        tx.execute(
            "UPDATE intel_member SET campaign = ?2 WHERE campaign = ?1",
            params![from.0, into.0],
        )?;
        tx.execute(
            "UPDATE intel_campaign SET merged_into = ?2, sessions = 0 WHERE id = ?1",
            params![from.0, into.0],
        )?;
        Ok(())
    }

    fn write_sightings(&self, tx: &Transaction<'_>, session: &SessionId) -> Result<()> {
        let Some(live) = self.live.get(session) else {
            return Ok(());
        };
        for s in live.techniques.seen() {
            tx.prepare_cached(
                "INSERT INTO intel_sighting (session, rule, body) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (session, rule) DO UPDATE SET body = excluded.body",
            )?
            .execute(params![session.to_string(), s.rule, json(s)?])?;
        }
        Ok(())
    }

    /// A person joins two campaigns.
    ///
    /// # Errors
    /// What is wrong with the two, or what the database says.
    pub fn merge(&mut self, db: &mut Connection, a: CampaignId, b: CampaignId) -> Result<CampaignId> {
        let (a, b) = (self.linker.resolve(a), self.linker.resolve(b));
        let into = self.linker.merge(a, b).map_err(StoreError::Refused)?;
        let stage = self.stages.remove(&b).max(self.stages.get(&into).copied());
        if let Some(s) = stage {
            self.stages.insert(into, s);
        }
        let tx = db.transaction()?;
        tx.execute(
            "INSERT INTO intel_log (act, body) VALUES ('merge', ?1)",
            [json(&(a, b))?],
        )?;
        self.write_merge(&tx, b, into)?;
        self.write_campaign(&tx, into)?;
        tx.commit()?;
        Ok(into)
    }

    /// A person takes sessions out of a campaign.
    ///
    /// # Errors
    /// What is wrong with the sessions, or what the database says.
    pub fn split(
        &mut self,
        db: &mut Connection,
        from: CampaignId,
        sessions: &[SessionId],
    ) -> Result<CampaignId> {
        let new = self.linker.split(from, sessions).map_err(StoreError::Refused)?;
        let tx = db.transaction()?;
        tx.execute(
            "INSERT INTO intel_log (act, body) VALUES ('split', ?1)",
            [json(&(from, sessions))?],
        )?;
        for s in sessions {
            tx.execute(
                "UPDATE intel_member SET campaign = ?2 WHERE session = ?1",
                params![s.to_string(), new.0],
            )?;
        }
        for c in [self.linker.resolve(from), new] {
            let stages = {
                let mut q =
                    tx.prepare("SELECT stage FROM intel_member WHERE campaign = ?1 AND stage IS NOT NULL")?;
                let rows = q.query_map([c.0], |r| r.get::<_, String>(0))?;
                rows.filter_map(|r| r.ok()?.parse::<Stage>().ok()).max()
            };
            match stages {
                Some(s) => self.stages.insert(c, s),
                None => self.stages.remove(&c),
            };
            self.write_campaign(&tx, c)?;
        }
        tx.commit()?;
        Ok(new)
    }
}
