//! Campaigns kept in the record: reads events by cursor, places sessions, writes what it found into tables of its own.
//!
//! [`Keeper`] runs in the process that writes the record, after the events are committed. Its tables (`intel_*`) are made here; what a
//! session was placed by is kept beside where it was placed, so that the linker's memory is filled again after a restart without deciding
//! anything anew: what people know of campaigns stays as it is.

use crate::link::{CampaignId, Linker};
use crate::{Digest, Link, Outcome, Rules, Stage, Techniques};
use std::collections::BTreeMap;
use turncoat_event::{Event, Kind, SessionId, Time, kinds};
use turncoat_store::rusqlite::{Connection, Transaction, params};
use turncoat_store::{Result, StoreError};

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS intel_log (n INTEGER PRIMARY KEY, act TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS intel_evidence (n INTEGER PRIMARY KEY, session TEXT NOT NULL UNIQUE, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS intel_campaign (
    id INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, stage TEXT,
    sessions INTEGER NOT NULL, sources INTEGER NOT NULL, tokens INTEGER NOT NULL, merged_into INTEGER);
CREATE INDEX IF NOT EXISTS intel_campaign_last ON intel_campaign(last) WHERE merged_into IS NULL;
CREATE TABLE IF NOT EXISTS intel_technique (
    campaign INTEGER NOT NULL, technique TEXT NOT NULL, PRIMARY KEY (campaign, technique)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS intel_member (
    session TEXT PRIMARY KEY, campaign INTEGER NOT NULL, source TEXT, first INTEGER NOT NULL, last INTEGER NOT NULL,
    stage TEXT, tokens INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS intel_member_source ON intel_member(campaign, source);
CREATE INDEX IF NOT EXISTS intel_member_first ON intel_member(campaign, first);
CREATE TABLE IF NOT EXISTS intel_link (
    session TEXT NOT NULL, other TEXT NOT NULL, reason TEXT NOT NULL, weight REAL NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (session, other, reason)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS intel_sighting (
    session TEXT NOT NULL, rule TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (session, rule)) WITHOUT ROWID;
";

/// Sessions whose evidence is read back after a restart, the latest ones. Older ones stay where the tables say.
const EVIDENCE: usize = 300_000;
/// Sessions that are read at once: what is open and did not close for a day is dropped, and past this the quietest.
const LIVE: usize = 20_000;

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
}

/// The name of the keeper's cursor in the record.
pub const CURSOR: &str = "intel";

fn json<T: serde::Serialize>(v: &T) -> Result<String> {
    serde_json::to_string(v).map_err(|e| StoreError::Refused(format!("campaigns: {e}")))
}

impl Keeper {
    /// Opens the campaigns of a record and fills the linker's memory.
    ///
    /// # Errors
    /// What the database says.
    pub fn open(db: &mut Connection, rules: Rules) -> Result<Keeper> {
        db.execute_batch(TABLES)?;
        convert(db)?;
        let mut keeper = Keeper {
            rules,
            linker: Linker::default(),
            live: BTreeMap::new(),
        };
        let newest: u64 = db.query_row("SELECT coalesce(max(id), 0) FROM intel_campaign", [], |r| {
            r.get(0)
        })?;
        keeper.linker.at_least(CampaignId(newest));
        let mut q = db.prepare(
            "SELECT id, merged_into FROM intel_campaign WHERE merged_into IS NOT NULL ORDER BY id DESC",
        )?;
        let mut rows = q.query([])?;
        while let Some(r) = rows.next()? {
            keeper
                .linker
                .restore_join(CampaignId(r.get(0)?), CampaignId(r.get(1)?));
        }
        let mut q = db.prepare(
            "SELECT e.body, m.campaign FROM (SELECT n, session, body FROM intel_evidence ORDER BY n DESC LIMIT ?1) e \
             LEFT JOIN intel_member m ON m.session = e.session ORDER BY e.n",
        )?;
        let mut rows = q.query([EVIDENCE as i64])?;
        while let Some(r) = rows.next()? {
            let home = r.get::<_, Option<u64>>(1)?.map(CampaignId);
            // Of a later version, or damaged: its session stays where the tables say.
            if let Ok(d) = serde_json::from_str::<Digest>(&r.get::<_, String>(0)?) {
                keeper.linker.restore(&d, home);
            }
        }
        let mut q = db.prepare("SELECT body FROM intel_log WHERE act = 'split' ORDER BY n")?;
        let mut rows = q.query([])?;
        while let Some(r) = rows.next()? {
            let body: String = r.get(0)?;
            if let Ok((from, new, sessions)) =
                serde_json::from_str::<(CampaignId, CampaignId, Vec<SessionId>)>(&body)
            {
                keeper.linker.restore_split(from, new, &sessions);
            }
        }
        drop(rows);
        drop(q);
        Ok(keeper)
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
        let tx = db.transaction()?;
        let changes = self.add_in(&tx, events)?;
        tx.commit()?;
        Ok(changes)
    }

    /// The same within a transaction of the caller, who writes what he does about the changes in it too: after a crash both are
    /// there or neither. Should the transaction fail, the keeper must be opened anew.
    ///
    /// # Errors
    /// What the database says.
    pub fn add_in(&mut self, tx: &Transaction<'_>, events: &[Event]) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        for e in events {
            self.event(tx, e, &mut changes)?;
        }
        if let Some(last) = events.last() {
            tx.prepare_cached(
                "INSERT INTO cursor (name, seq) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET seq = excluded.seq",
            )?
            .execute(params![CURSOR, last.seq])?;
            let old = last.time.seconds() - FORGOTTEN;
            self.live.retain(|_, l| l.digest.last.seconds() > old);
            if self.live.len() > LIVE {
                let mut quiet: Vec<_> = self.live.iter().map(|(s, l)| (l.digest.last, *s)).collect();
                quiet.sort_unstable();
                for (_, s) in quiet.into_iter().take(LIVE / 4) {
                    self.live.remove(&s);
                }
            }
        }
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
        let token = match &e.kind {
            Kind::TokenUsed(t) => Some(t),
            _ => None,
        };
        let told = matches!(
            &e.kind,
            Kind::SessionLink(_) | Kind::BaitRead(_) | Kind::FileArtifact(_)
        );
        let closed = matches!(&e.kind, Kind::SessionClose(_));
        if entered || token.is_some() || (told && live.placed) || closed {
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
        if let Some(t) = token {
            let mut which = format!("{} {}", t.kind, t.token);
            if let Some(place) = &t.planted {
                which.push_str(&format!(", planted at {place}"));
            }
            if let Some(by) = t.taken_by {
                which.push_str(&format!(", taken in session {by}"));
            }
            changes.push(self.change(tx, campaign, session, "token", Some(which), e.time)?);
        }
        if !fresh.is_empty() {
            self.write_sightings(tx, &session)?;
            let stage = self.live.get(&session).and_then(|l| l.techniques.stage());
            tx.prepare_cached("UPDATE intel_member SET stage = ?2 WHERE session = ?1")?
                .execute(params![session.to_string(), stage.map(Stage::name)])?;
            for f in &fresh {
                add_technique(tx, campaign, &f.technique)?;
                if stage_of(tx, campaign)?.is_none_or(|now| f.stage > now) {
                    set_stage(tx, campaign, f.stage)?;
                    let why = format!("{} ({}): {}", f.name, f.technique, f.why);
                    changes.push(self.change(tx, campaign, session, "stage", Some(why), e.time)?);
                }
            }
        }
        Ok(())
    }

    fn change(
        &self,
        tx: &Transaction<'_>,
        campaign: CampaignId,
        session: SessionId,
        what: &'static str,
        reason: Option<String>,
        time: Time,
    ) -> Result<Change> {
        Ok(Change {
            campaign,
            session: Some(session),
            what,
            stage: stage_of(tx, campaign)?,
            reason,
            time,
        })
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
        tx.prepare_cached(
            "INSERT INTO intel_evidence (session, body) VALUES (?1, ?2) \
             ON CONFLICT (session) DO UPDATE SET body = excluded.body",
        )?
        .execute(params![session.to_string(), json(&digest.compact())?])?;
        let Some(campaign) = out.campaign else {
            return Ok(());
        };
        live.placed = true;
        let stage = live.techniques.stage();
        let seen: Vec<String> = live
            .techniques
            .seen()
            .iter()
            .map(|s| s.technique.clone())
            .collect();
        for link in &out.links {
            self.write_link(tx, link)?;
        }
        for m in &out.merged {
            write_merge(tx, *m, campaign)?;
        }
        write_member(tx, campaign, &digest, stage)?;
        for s in &out.drawn_in {
            let added = tx
                .prepare_cached(
                    "INSERT INTO intel_member (session, campaign, source, first, last, stage, tokens) \
                     SELECT uuid, ?2, src_ip, opened, coalesce(closed, opened), NULL, 0 FROM session WHERE uuid = ?1 \
                     ON CONFLICT (session) DO NOTHING",
                )?
                .execute(params![s.to_string(), campaign.0])?;
            if added > 0 {
                count(tx, campaign, 1, 0, 0)?;
            }
        }
        for technique in &seen {
            add_technique(tx, campaign, technique)?;
        }
        let raised = match stage {
            Some(s) if stage_of(tx, campaign)?.is_none_or(|now| s > now) => {
                set_stage(tx, campaign, s)?;
                true
            }
            _ => false,
        };
        let why = out
            .links
            .first()
            .map(|l| format!("{}: {}", l.reason.text(), l.detail));
        if out.opened {
            changes.push(self.change(tx, campaign, session, "opened", why.clone(), now)?);
        } else if before != Some(campaign) {
            changes.push(self.change(tx, campaign, session, "joined", why.clone(), now)?);
        }
        if raised && !out.opened {
            changes.push(self.change(tx, campaign, session, "stage", None, now)?);
        }
        for m in &out.merged {
            let text = format!("{m} is part of it: {}", why.clone().unwrap_or_default());
            changes.push(self.change(tx, campaign, session, "merged", Some(text), now)?);
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
        let tx = db.transaction()?;
        let into = self.linker.merge(a, b).map_err(StoreError::Refused)?;
        tx.execute(
            "INSERT INTO intel_log (act, body) VALUES ('merge', ?1)",
            [json(&(a, b))?],
        )?;
        write_merge(&tx, b, into)?;
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
        let from = self.linker.resolve(from);
        let tx = db.transaction()?;
        for s in sessions {
            let there: bool = tx.query_row(
                "SELECT EXISTS (SELECT 1 FROM intel_member WHERE session = ?1 AND campaign = ?2)",
                params![s.to_string(), from.0],
                |r| r.get(0),
            )?;
            if !there {
                return Err(StoreError::Refused(format!("session {s} is not in {from}")));
            }
        }
        let new = self.linker.split(from, sessions).map_err(StoreError::Refused)?;
        tx.execute(
            "INSERT INTO intel_log (act, body) VALUES ('split', ?1)",
            [json(&(from, new, sessions))?],
        )?;
        for s in sessions {
            tx.execute(
                "UPDATE intel_member SET campaign = ?2 WHERE session = ?1",
                params![s.to_string(), new.0],
            )?;
        }
        tx.execute(
            "INSERT OR IGNORE INTO intel_campaign (id, first, last, sessions, sources, tokens) VALUES (?1, 0, 0, 0, 0, 0)",
            [new.0],
        )?;
        for c in [from, new] {
            recount(&tx, c)?;
            restage(&tx, c)?;
        }
        tx.commit()?;
        Ok(new)
    }

    /// Removes what is kept of sessions that are no longer in the record: they were forgotten, or grew too old.
    ///
    /// # Errors
    /// What the database says.
    pub fn purge(&mut self, db: &mut Connection) -> Result<u64> {
        let tx = db.transaction()?;
        let gone = "NOT IN (SELECT uuid FROM session)";
        let touched: Vec<u64> = {
            let mut q = tx.prepare(&format!(
                "SELECT DISTINCT campaign FROM intel_member WHERE session {gone}"
            ))?;
            let rows = q.query_map([], |r| r.get(0))?;
            rows.collect::<std::result::Result<_, _>>()?
        };
        let mut n = 0;
        for table in ["intel_member", "intel_evidence", "intel_sighting"] {
            n += tx.execute(&format!("DELETE FROM {table} WHERE session {gone}"), [])? as u64;
        }
        tx.execute(
            &format!("DELETE FROM intel_link WHERE session {gone} OR other {gone}"),
            [],
        )?;
        for c in touched {
            recount(&tx, CampaignId(c))?;
        }
        tx.commit()?;
        Ok(n)
    }
}

/// A record of an early version kept every act in one log: brings it into the present form.
fn convert(db: &mut Connection) -> Result<()> {
    let old: bool = db.query_row(
        "SELECT EXISTS (SELECT 1 FROM intel_log WHERE act = 'place')",
        [],
        |r| r.get(0),
    )?;
    if !old {
        return Ok(());
    }
    let tx = db.transaction()?;
    {
        let mut q = tx.prepare("SELECT body FROM intel_log WHERE act = 'place' ORDER BY n")?;
        let mut rows = q.query([])?;
        while let Some(r) = rows.next()? {
            if let Ok(d) = serde_json::from_str::<Digest>(&r.get::<_, String>(0)?) {
                tx.execute(
                    "INSERT INTO intel_evidence (session, body) VALUES (?1, ?2) \
                     ON CONFLICT (session) DO UPDATE SET body = excluded.body",
                    params![d.session.to_string(), json(&d.compact())?],
                )?;
            }
        }
    }
    tx.execute("DELETE FROM intel_log WHERE act = 'place'", [])?;
    let mut sightings = Vec::new();
    {
        let mut q = tx.prepare(
            "SELECT m.campaign, s.body FROM intel_sighting s JOIN intel_member m ON m.session = s.session",
        )?;
        let mut rows = q.query([])?;
        while let Some(r) = rows.next()? {
            if let Ok(s) = serde_json::from_str::<crate::Sighting>(&r.get::<_, String>(1)?) {
                sightings.push((CampaignId(r.get(0)?), s.technique));
            }
        }
    }
    for (campaign, technique) in sightings {
        add_technique(&tx, campaign, &technique)?;
    }
    tx.commit()?;
    Ok(())
}

fn stage_of(db: &Connection, c: CampaignId) -> Result<Option<Stage>> {
    use turncoat_store::rusqlite::OptionalExtension;
    let found: Option<Option<String>> = db
        .prepare_cached("SELECT stage FROM intel_campaign WHERE id = ?1")?
        .query_row([c.0], |r| r.get(0))
        .optional()?;
    Ok(found.flatten().and_then(|s| s.parse().ok()))
}

fn set_stage(db: &Connection, c: CampaignId, stage: Stage) -> Result<()> {
    db.prepare_cached("UPDATE intel_campaign SET stage = ?2 WHERE id = ?1")?
        .execute(params![c.0, stage.name()])?;
    Ok(())
}

fn add_technique(db: &Connection, c: CampaignId, technique: &str) -> Result<()> {
    db.prepare_cached("INSERT OR IGNORE INTO intel_technique (campaign, technique) VALUES (?1, ?2)")?
        .execute(params![c.0, technique])?;
    Ok(())
}

/// Adds to what a campaign counts. The cost does not grow with it.
fn count(db: &Connection, c: CampaignId, sessions: i64, sources: i64, tokens: i64) -> Result<()> {
    db.prepare_cached(
        "UPDATE intel_campaign SET sessions = sessions + ?2, sources = sources + ?3, tokens = tokens + ?4 WHERE id = ?1",
    )?
    .execute(params![c.0, sessions, sources, tokens])?;
    Ok(())
}

fn write_member(db: &Connection, c: CampaignId, d: &Digest, stage: Option<Stage>) -> Result<()> {
    use turncoat_store::rusqlite::OptionalExtension;
    let session = d.session.to_string();
    let source = d.source.map(|s| s.to_canonical().to_string());
    let tokens = d.tokens.len() as i64;
    let known: Option<(u64, i64)> = db
        .prepare_cached("SELECT campaign, tokens FROM intel_member WHERE session = ?1")?
        .query_row([&session], |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?;
    db.prepare_cached(
        "INSERT INTO intel_campaign (id, first, last, sessions, sources, tokens) VALUES (?1, ?2, ?3, 0, 0, 0) \
         ON CONFLICT (id) DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last)",
    )?
    .execute(params![c.0, d.first.0, d.last.0])?;
    let new_source = match &source {
        Some(s) => !db
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM intel_member WHERE campaign = ?1 AND source = ?2)")?
            .query_row(params![c.0, s], |r| r.get::<_, bool>(0))?,
        None => false,
    };
    db.prepare_cached(
        "INSERT INTO intel_member (session, campaign, source, first, last, stage, tokens) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
         ON CONFLICT (session) DO UPDATE SET campaign = excluded.campaign, last = excluded.last, stage = excluded.stage, tokens = excluded.tokens",
    )?
    .execute(params![session, c.0, source, d.first.0, d.last.0, stage.map(Stage::name), tokens])?;
    match known {
        Some((home, before)) if home == c.0 => count(db, c, 0, 0, tokens - before),
        Some((home, _)) => {
            recount(db, CampaignId(home))?;
            recount(db, c)
        }
        None => count(db, c, 1, i64::from(new_source), tokens),
    }
}

/// One campaign becomes part of another.
fn write_merge(db: &Connection, from: CampaignId, into: CampaignId) -> Result<()> {
    db.execute(
        "UPDATE intel_member SET campaign = ?2 WHERE campaign = ?1",
        params![from.0, into.0],
    )?;
    db.execute(
        "INSERT OR IGNORE INTO intel_technique (campaign, technique) SELECT ?2, technique FROM intel_technique WHERE campaign = ?1",
        params![from.0, into.0],
    )?;
    let stage = stage_of(db, from)?.max(stage_of(db, into)?);
    if let Some(s) = stage {
        set_stage(db, into, s)?;
    }
    db.execute(
        "UPDATE intel_campaign SET merged_into = ?2, sessions = 0 WHERE id = ?1",
        params![from.0, into.0],
    )?;
    recount(db, into)
}

/// Counts a campaign anew: after merges and splits, which are seldom.
fn recount(db: &Connection, c: CampaignId) -> Result<()> {
    db.execute(
        "UPDATE intel_campaign SET (first, last, sessions, sources, tokens) = \
         (SELECT coalesce(min(first), intel_campaign.first), coalesce(max(last), intel_campaign.last), count(*), \
          count(DISTINCT source), coalesce(sum(tokens), 0) FROM intel_member WHERE campaign = ?1) WHERE id = ?1",
        [c.0],
    )?;
    Ok(())
}

/// Takes a campaign's stage and techniques anew from its sessions: after a split.
fn restage(db: &Connection, c: CampaignId) -> Result<()> {
    let stage = {
        let mut q =
            db.prepare("SELECT DISTINCT stage FROM intel_member WHERE campaign = ?1 AND stage IS NOT NULL")?;
        let rows = q.query_map([c.0], |r| r.get::<_, String>(0))?;
        rows.filter_map(|r| r.ok()?.parse::<Stage>().ok()).max()
    };
    db.execute(
        "UPDATE intel_campaign SET stage = ?2 WHERE id = ?1",
        params![c.0, stage.map(Stage::name)],
    )?;
    db.execute("DELETE FROM intel_technique WHERE campaign = ?1", [c.0])?;
    db.execute(
        "INSERT OR IGNORE INTO intel_technique (campaign, technique) \
         SELECT ?1, json_extract(s.body, '$.technique') FROM intel_sighting s JOIN intel_member m ON m.session = s.session \
         WHERE m.campaign = ?1",
        [c.0],
    )?;
    Ok(())
}
