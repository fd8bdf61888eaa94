//! Reading the record, beside the writer or without one.

use std::net::IpAddr;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params_from_iter};
use serde::Serialize;
use turncoat_event::{
    Bytes, Event, Kind, Origin, SCHEMA_VERSION, SensorId, SessionId, Sha256, Time, WorldId,
};

use crate::recording::{self, Frames};
use crate::{Filter, Layout, Result, Source, StoreError, artifact, migrate};

/// One session as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionRow {
    /// Its id.
    pub session: SessionId,
    /// The world it met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub world: Option<WorldId>,
    /// The source's address.
    pub src_ip: Option<IpAddr>,
    /// The source's port.
    pub src_port: Option<u16>,
    /// The address reached.
    pub dst_ip: Option<IpAddr>,
    /// The port reached.
    pub dst_port: Option<u16>,
    /// The decoy.
    pub decoy: Option<String>,
    /// When it began.
    pub opened: Time,
    /// When it ended; nothing while it is open.
    pub closed: Option<Time>,
    /// Why it ended.
    pub reason: Option<String>,
    /// Number of its first event.
    pub first_seq: u64,
    /// Number of its last event.
    pub last_seq: u64,
    /// Events.
    pub events: u64,
    /// Login attempts.
    pub attempts: u64,
    /// Logins let in.
    pub logins: u64,
    /// The user that was let in.
    pub user: Option<Bytes>,
    /// The client's version.
    pub client: Option<Bytes>,
    /// Commands.
    pub commands: u64,
    /// Artifacts.
    pub artifacts: u64,
    /// Bytes from the source.
    pub bytes_in: u64,
    /// Bytes to the source.
    pub bytes_out: u64,
    /// Bytes recorded.
    pub recorded: u64,
}

/// A read-only view of a record.
pub struct Reader {
    layout: Layout,
    db: Connection,
}

const EVENT_COLUMNS: &str = "e.seq, e.time, n.name, e.kind, s.uuid, coalesce(e.world, s.world), coalesce(e.src_ip, s.src_ip), \
     coalesce(e.src_port, s.src_port), coalesce(e.dst_ip, s.dst_ip), coalesce(e.dst_port, s.dst_port), \
     coalesce(e.decoy, s.decoy), e.fields";

const SESSION_COLUMNS: &str = "uuid, world, src_ip, src_port, dst_ip, dst_port, decoy, opened, closed, reason, first_seq, last_seq, \
     events, attempts, logins, user, client, commands, artifacts, bytes_in, bytes_out, recorded";

fn parsed<T: std::str::FromStr>(text: Option<String>) -> Option<T> {
    text.and_then(|t| t.parse().ok())
}

fn session_row(row: &Row<'_>) -> rusqlite::Result<Option<SessionRow>> {
    let uuid: String = row.get(0)?;
    let Ok(session) = uuid.parse() else {
        return Ok(None);
    };
    Ok(Some(SessionRow {
        session,
        world: parsed(row.get(1)?),
        src_ip: parsed(row.get(2)?),
        src_port: row.get(3)?,
        dst_ip: parsed(row.get(4)?),
        dst_port: row.get(5)?,
        decoy: row.get(6)?,
        opened: Time(row.get(7)?),
        closed: row.get::<_, Option<i64>>(8)?.map(Time),
        reason: row.get(9)?,
        first_seq: row.get(10)?,
        last_seq: row.get(11)?,
        events: row.get(12)?,
        attempts: row.get(13)?,
        logins: row.get(14)?,
        user: row.get::<_, Option<Vec<u8>>>(15)?.map(Bytes),
        client: row.get::<_, Option<Vec<u8>>>(16)?.map(Bytes),
        commands: row.get(17)?,
        artifacts: row.get(18)?,
        bytes_in: row.get(19)?,
        bytes_out: row.get(20)?,
        recorded: row.get(21)?,
    }))
}

/// An event from a row of [`EVENT_COLUMNS`]; `None` for a kind or a value that this version does not know.
fn event_row(row: &Row<'_>) -> rusqlite::Result<(u64, Option<Event>)> {
    let seq: u64 = row.get(0)?;
    let kind: String = row.get(3)?;
    let fields: String = row.get(11)?;
    let sensor: String = row.get(2)?;
    let (Some(Ok(kind)), Ok(sensor)) = (Kind::from_parts(&kind, &fields), sensor.parse::<SensorId>()) else {
        return Ok((seq, None));
    };
    let origin = Origin {
        session: parsed(row.get(4)?),
        world: parsed(row.get(5)?),
        src_ip: parsed(row.get(6)?),
        src_port: row.get(7)?,
        dst_ip: parsed(row.get(8)?),
        dst_port: row.get(9)?,
        decoy: row.get(10)?,
    };
    Ok((
        seq,
        Some(Event {
            schema: SCHEMA_VERSION,
            seq,
            time: Time(row.get(1)?),
            sensor,
            origin,
            kind,
        }),
    ))
}

/// The words that are asked for, where there are any.
fn words(filter: &Filter) -> Option<&str> {
    filter.text.as_deref().filter(|t| !t.trim().is_empty())
}

/// A query of FTS5 that means: all these words, whatever signs they have.
fn match_all(text: &str) -> String {
    let words: Vec<String> = text
        .split_whitespace()
        .map(|w| format!("\"{}\"", w.replace('"', "\"\"")))
        .collect();
    words.join(" ")
}

impl Reader {
    /// Opens the record for reading only.
    ///
    /// # Errors
    /// [`StoreError::Absent`] where there is none, [`StoreError::Newer`], or what the disk says.
    pub fn open(layout: &Layout) -> Result<Reader> {
        if !layout.database().exists() {
            return Err(StoreError::Absent(layout.root().to_owned()));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(layout.database(), flags)?;
        db.busy_timeout(std::time::Duration::from_secs(10))?;
        db.set_prepared_statement_cache_capacity(32);
        match (migrate::found(&db)?, migrate::version()) {
            (0, _) => return Err(StoreError::Absent(layout.root().to_owned())),
            (found, known) if found > known => return Err(StoreError::Newer { found, known }),
            (found, known) if found < known => {
                return Err(StoreError::Refused(format!(
                    "the record has schema {found}, this program reads {known}: start `turncoat run` once, it migrates after a backup"
                )));
            }
            _ => {}
        }
        Ok(Reader {
            layout: layout.clone(),
            db,
        })
    }

    /// Where the record lies.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The database, for those who keep tables of their own in the record.
    pub fn database(&self) -> &Connection {
        &self.db
    }

    /// The number of the newest event, 0 when there is none.
    pub fn last_seq(&self) -> Result<u64> {
        Ok(self
            .db
            .prepare_cached("SELECT coalesce(max(seq), 0) FROM event")?
            .query_row([], |r| r.get(0))?)
    }

    /// How many sessions there are: all, and open.
    pub fn session_counts(&self) -> Result<(u64, u64)> {
        let all = self
            .db
            .query_row("SELECT count(*) FROM session", [], |r| r.get(0))?;
        let open = self
            .db
            .query_row("SELECT count(*) FROM session WHERE closed IS NULL", [], |r| {
                r.get(0)
            })?;
        Ok((all, open))
    }

    /// Events that pass the filter, at most `limit`. Beside them the number up to which the record was looked through
    /// (the cursor for the next call), which may be beyond the last event returned.
    pub fn events(&self, filter: &Filter, limit: usize) -> Result<(Vec<Event>, u64)> {
        let (conditions, values) = self.conditions(filter)?;
        let order = if filter.newest_first { "DESC" } else { "ASC" };
        let newest = self.last_seq()?;
        // With words, the full-text index leads: it gives its matches in the order of their numbers, so that the first `limit` are
        // found without gathering all (a word that stands in half of the events is as quick as a rare one).
        let (from, by) = match words(filter) {
            Some(_) => ("typed t CROSS JOIN event e ON e.seq = t.rowid", "t.rowid"),
            None => ("event e", "e.seq"),
        };
        let sql = format!(
            "SELECT {EVENT_COLUMNS} FROM {from} JOIN sensor n ON n.id = e.sensor LEFT JOIN session s ON s.id = e.session \
             WHERE {conditions} ORDER BY {by} {order} LIMIT {limit}"
        );
        let mut query = self.db.prepare_cached(&sql)?;
        let mut rows = query.query(params_from_iter(values))?;
        let mut found = Vec::new();
        let mut seen = 0usize;
        let mut cursor = filter
            .after
            .unwrap_or(0)
            .max(if filter.newest_first { 0 } else { newest });
        while let Some(row) = rows.next()? {
            seen += 1;
            let (seq, event) = event_row(row)?;
            if seen == limit {
                cursor = seq;
            } else if !filter.newest_first {
                // It may have been committed after we looked for the newest.
                cursor = cursor.max(seq);
            }
            found.extend(event);
        }
        Ok((found, cursor))
    }

    fn conditions(&self, filter: &Filter) -> Result<(String, Vec<Value>)> {
        let mut conditions = vec!["1".to_owned()];
        let mut values: Vec<Value> = Vec::new();
        let number = |n: u64| Value::Integer(i64::try_from(n).unwrap_or(i64::MAX));
        let mut add = |condition: String, value: Value| {
            values.push(value);
            conditions.push(condition.replace("?#", &format!("?{}", values.len())));
        };
        let number_of = if words(filter).is_some() {
            "t.rowid"
        } else {
            "e.seq"
        };
        if let Some(after) = filter.after {
            add(format!("{number_of} > ?#"), number(after));
        }
        if let Some(before) = filter.before {
            add(format!("{number_of} < ?#"), number(before));
        }
        if let Some(session) = filter.session {
            add(
                "e.session = (SELECT id FROM session WHERE uuid = ?#)".into(),
                Value::Text(session.to_string()),
            );
        }
        if let Some(since) = filter.since {
            add("e.time >= ?#".into(), Value::Integer(since.0));
        }
        if let Some(until) = filter.until {
            add("e.time < ?#".into(), Value::Integer(until.0));
        }
        if let Some(decoy) = &filter.decoy {
            add(
                "coalesce(e.decoy, s.decoy) = ?#".into(),
                Value::Text(decoy.clone()),
            );
        }
        if let Some(text) = words(filter) {
            add("t.text MATCH ?#".into(), Value::Text(match_all(text)));
        }
        let sources = filter.source.map(|s| self.sources(&s)).transpose()?;
        let kinds: Vec<&str> = Kind::NAMES
            .iter()
            .copied()
            .filter(|name| {
                filter
                    .kinds
                    .iter()
                    .any(|k| k == name || (k.ends_with('.') && name.starts_with(k.as_str())))
            })
            .collect();
        if !filter.kinds.is_empty() {
            let list: Vec<String> = kinds.iter().map(|k| format!("'{k}'")).collect();
            conditions.push(format!("e.kind IN ({})", list.join(",")));
        }
        if let Some(sources) = sources {
            // Addresses parsed and printed by us: nothing of an outsider's text goes into the query.
            let list: Vec<String> = sources.iter().map(|a| format!("'{a}'")).collect();
            let list = list.join(",");
            conditions.push(format!(
                "(e.session IN (SELECT id FROM session WHERE src_ip IN ({list})) OR e.src_ip IN ({list}))"
            ));
        }
        Ok((conditions.join(" AND "), values))
    }

    /// The distinct addresses in the record that `source` means.
    pub fn sources(&self, source: &Source) -> Result<Vec<IpAddr>> {
        if let Some(address) = source.single() {
            return Ok(vec![address]);
        }
        let mut query = self.db.prepare(
            "SELECT DISTINCT src_ip FROM session WHERE src_ip IS NOT NULL UNION SELECT DISTINCT src_ip FROM event WHERE src_ip IS NOT NULL",
        )?;
        let rows = query.query_map([], |r| r.get::<_, String>(0))?;
        let mut found = Vec::new();
        for row in rows {
            found.extend(row?.parse::<IpAddr>().ok().filter(|a| source.contains(*a)));
        }
        Ok(found)
    }

    /// One session; `None` when it is not in the record.
    pub fn session(&self, id: SessionId) -> Result<Option<SessionRow>> {
        let sql = format!("SELECT {SESSION_COLUMNS} FROM session WHERE uuid = ?1");
        Ok(self
            .db
            .prepare_cached(&sql)?
            .query_row([id.to_string()], session_row)
            .optional()?
            .flatten())
    }

    /// The sessions whose id begins or ends with these characters, at most 20: what a person typed to name one.
    pub fn sessions_named(&self, part: &str) -> Result<Vec<SessionRow>> {
        let part: String = part
            .chars()
            .filter(|c| c.is_ascii_hexdigit() || *c == '-')
            .collect();
        if part.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT {SESSION_COLUMNS} FROM session WHERE uuid LIKE ?1 OR uuid LIKE ?2 ORDER BY opened DESC LIMIT 20"
        );
        let mut query = self.db.prepare(&sql)?;
        let rows = query.query_map([format!("{part}%"), format!("%{part}")], session_row)?;
        let mut found = Vec::new();
        for row in rows {
            found.extend(row?);
        }
        Ok(found)
    }

    /// Sessions, newest first, at most `limit`; only from a source, in a time, or those that are still open, where asked for.
    pub fn sessions(&self, filter: &Filter, open_only: bool, limit: usize) -> Result<Vec<SessionRow>> {
        let mut conditions = vec!["1".to_owned()];
        if open_only {
            conditions.push("closed IS NULL".into());
        }
        if let Some(since) = filter.since {
            conditions.push(format!("opened >= {}", since.0));
        }
        if let Some(until) = filter.until {
            conditions.push(format!("opened < {}", until.0));
        }
        if let Some(source) = filter.source {
            let list: Vec<String> = self.sources(&source)?.iter().map(|a| format!("'{a}'")).collect();
            conditions.push(format!("src_ip IN ({})", list.join(",")));
        }
        let mut values: Vec<String> = Vec::new();
        if let Some(decoy) = &filter.decoy {
            values.push(decoy.clone());
            conditions.push(format!("decoy = ?{}", values.len()));
        }
        if filter.entered {
            conditions.push("logins > 0".into());
        }
        if let Some(text) = words(filter) {
            values.push(match_all(text));
            conditions.push(format!(
                "id IN (SELECT session FROM event WHERE seq IN (SELECT rowid FROM typed WHERE typed MATCH ?{}))",
                values.len()
            ));
        }
        let order = if filter.newest_first { "DESC" } else { "ASC" };
        // Open sessions are few and have an index of their own; without the sign all sessions would be looked through by time.
        let by = if open_only { "+opened" } else { "opened" };
        let sql = format!(
            "SELECT * FROM (SELECT {SESSION_COLUMNS} FROM session WHERE {} ORDER BY {by} DESC LIMIT {limit}) ORDER BY opened {order}",
            conditions.join(" AND ")
        );
        let mut query = self.db.prepare(&sql)?;
        let rows = query.query_map(params_from_iter(values), session_row)?;
        let mut found = Vec::new();
        for row in rows {
            found.extend(row?);
        }
        Ok(found)
    }

    /// The frames of a session's recording, `None` where it has none.
    pub fn recording(&self, session: SessionId) -> Result<Option<Frames>> {
        recording::open(&self.layout, session)
    }

    /// An artifact's content, checked against its name.
    pub fn artifact(&self, sha256: Sha256) -> Result<Vec<u8>> {
        artifact::read(&self.layout.artifact(sha256), sha256)
    }

    /// The artifacts that a session brought.
    pub fn artifacts_of(&self, session: SessionId) -> Result<Vec<Sha256>> {
        let mut query = self.db.prepare_cached(
            "SELECT b.sha256 FROM brought b JOIN session s ON s.id = b.session WHERE s.uuid = ?1 ORDER BY b.sha256",
        )?;
        let rows = query.query_map([session.to_string()], |r| r.get::<_, String>(0))?;
        let mut found = Vec::new();
        for row in rows {
            found.extend(row?.parse::<Sha256>().ok());
        }
        Ok(found)
    }

    /// Looks through the whole database for damage: what is wrong, or nothing.
    pub fn damage(&self) -> Result<Option<String>> {
        let said: String = self.db.query_row("PRAGMA quick_check(1)", [], |r| r.get(0))?;
        Ok((said != "ok").then_some(said))
    }
}
