//! What is counted while the program runs: the credentials that were tried.
//!
//! Everything else that the charts show is asked of the record when it is looked at ([`charts`], kept for a few seconds). Credentials
//! stand inside the events' text; they are counted as they come, and from the newest ones at start.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use turncoat_event::{Event, Kind, Time};
use turncoat_intel::Rules;
use turncoat_intel::networks::Networks;
use turncoat_store::rusqlite::OptionalExtension;
use turncoat_store::{Filter, Reader, Result};

use crate::origins::{self, Origins};
use crate::server::Console;
use crate::words;

/// Different pairs that are counted; past it the rarest are forgotten.
pub const PAIRS: usize = 20_000;

/// Attempts of the past that are counted at start.
const WARM: usize = 100_000;

/// The longest part of a user or a secret that is told apart, in bytes.
const PART: usize = 64;

/// How long an answer of [`charts`] is given again.
const FRESH: Duration = Duration::from_secs(10);

type Pair = (Vec<u8>, Option<Vec<u8>>);

#[derive(Default)]
struct State {
    pairs: HashMap<Pair, u64>,
    attempts: u64,
    since: Option<Time>,
    charts: Option<(Instant, Arc<Charts>)>,
    rules: Option<Arc<HashMap<String, (String, String)>>>,
}

/// The counts.
#[derive(Default)]
pub struct Tally(Mutex<State>);

/// A pair of user and secret, and how often it was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// User, visible.
    pub user: String,
    /// Secret, visible; absent where a key was shown instead.
    pub secret: Option<String>,
    /// How often.
    pub count: u64,
}

/// Contacts in a span of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Span {
    /// When the span begins.
    pub from: Time,
    /// Sessions opened.
    pub contacts: u64,
    /// Of them, those that got in.
    pub entered: u64,
}

/// Something with how often it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// What.
    pub name: String,
    /// More about it.
    pub about: Option<String>,
    /// How often.
    pub count: u64,
}

/// Everything that the charts show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Charts {
    /// The last day in quarters of an hour.
    pub day: Vec<Span>,
    /// The last thirty days.
    pub month: Vec<Span>,
    /// Addresses with the most sessions in the last thirty days.
    pub sources: Vec<Counted>,
    /// Countries with the most sessions in that time, where they are known.
    pub countries: Vec<Counted>,
    /// Networks with the most sessions in that time, where they are known.
    pub networks: Vec<Counted>,
    /// Techniques seen, by sessions.
    pub techniques: Vec<Counted>,
    /// Credentials tried most.
    pub credentials: Vec<Tried>,
    /// Attempts that these are counted over.
    pub attempts: u64,
    /// When the first of them was.
    pub since: Option<Time>,
}

impl Tally {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in events.
    pub fn add(&self, events: &[Event]) {
        let part = |bytes: &[u8]| bytes.get(..PART.min(bytes.len())).unwrap_or_default().to_vec();
        let mut state = self.state();
        for event in events {
            let Kind::AuthAttempt(it) = &event.kind else {
                continue;
            };
            if it.method == "none" || it.probe == Some(true) {
                continue;
            }
            state.attempts += 1;
            state.since = Some(state.since.map_or(event.time, |s| s.min(event.time)));
            let pair = (
                part(it.user.as_slice()),
                it.secret.as_ref().map(|s| part(s.as_slice())),
            );
            *state.pairs.entry(pair).or_default() += 1;
            if state.pairs.len() > PAIRS {
                // The rarest half goes: whoever is tried often comes again.
                let mut counts: Vec<u64> = state.pairs.values().copied().collect();
                let middle = counts.len() / 2;
                let (_, bound, _) = counts.select_nth_unstable(middle);
                let bound = *bound;
                state.pairs.retain(|_, n| *n > bound);
            }
        }
    }

    /// The pairs tried most.
    fn most(&self, limit: usize, mask: bool) -> Vec<Tried> {
        let state = self.state();
        let mut all: Vec<(&Pair, u64)> = state.pairs.iter().map(|(p, n)| (p, *n)).collect();
        all.sort_unstable_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
        all.into_iter()
            .take(limit)
            .map(|((user, secret), count)| Tried {
                user: words::his(user),
                secret: secret
                    .as_ref()
                    .map(|s| if mask { "***".into() } else { words::his(s) }),
                count,
            })
            .collect()
    }
}

/// Counts the newest attempts up to this event, in pieces, so that nobody waits for it.
pub fn warm(console: &Console, newest: u64) {
    let mut before = Some(newest.saturating_add(1));
    for _ in 0..WARM / 2_000 {
        let filter = Filter {
            kinds: vec!["auth.attempt".into()],
            before,
            newest_first: true,
            ..Filter::default()
        };
        let Ok(Ok((events, _))) = console.readers.with(|r| r.events(&filter, 2_000)) else {
            return;
        };
        console.tally.add(&events);
        match events.last() {
            Some(last) => before = Some(last.seq),
            None => return,
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

const DAY: i64 = 86_400_000_000_000;
const QUARTER: i64 = 900_000_000_000;

/// Sessions opened since `from`, in `count` spans of `length` nanoseconds.
fn spans(reader: &Reader, from: i64, length: i64, count: i64) -> Result<Vec<Span>> {
    let mut all: Vec<Span> = (0..count)
        .map(|n| Span {
            from: Time(from + n * length),
            contacts: 0,
            entered: 0,
        })
        .collect();
    let mut query = reader.database().prepare_cached(
        "SELECT (opened - ?1) / ?2, count(*), sum(logins > 0) FROM session WHERE opened >= ?1 GROUP BY 1",
    )?;
    let mut rows = query.query([from, length])?;
    while let Some(row) = rows.next()? {
        let n: i64 = row.get(0)?;
        if let Some(span) = usize::try_from(n).ok().and_then(|n| all.get_mut(n)) {
            (span.contacts, span.entered) = (row.get(1)?, row.get(2)?);
        }
    }
    Ok(all)
}

fn sources(reader: &Reader, since: i64) -> Result<Vec<Counted>> {
    let mut query = reader.database().prepare_cached(
        "SELECT src_ip, count(*) FROM session WHERE opened >= ?1 AND src_ip IS NOT NULL GROUP BY src_ip ORDER BY 2 DESC LIMIT 10",
    )?;
    let rows = query.query_map([since], |r| {
        Ok(Counted {
            name: r.get(0)?,
            about: None,
            count: r.get(1)?,
        })
    })?;
    Ok(rows.collect::<std::result::Result<_, _>>()?)
}

fn techniques(reader: &Reader, names: &HashMap<String, (String, String)>) -> Result<Vec<Counted>> {
    let db = reader.database();
    let there = db
        .query_row(
            "SELECT 1 FROM sqlite_master WHERE name = 'intel_sighting'",
            [],
            |_| Ok(()),
        )
        .optional()?;
    if there.is_none() {
        return Ok(Vec::new());
    }
    let mut query = db.prepare_cached("SELECT rule, count(*) FROM intel_sighting GROUP BY rule")?;
    let mut rows = query.query([])?;
    let mut by: HashMap<(String, String), u64> = HashMap::new();
    while let Some(row) = rows.next()? {
        let rule: String = row.get(0)?;
        let (technique, name) = names.get(&rule).cloned().unwrap_or((rule, String::new()));
        *by.entry((technique, name)).or_default() += row.get::<_, u64>(1)?;
    }
    let mut all: Vec<Counted> = by
        .into_iter()
        .map(|((name, about), count)| Counted {
            name,
            about: Some(about).filter(|a| !a.is_empty()),
            count,
        })
        .collect();
    all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
    all.truncate(12);
    Ok(all)
}

/// Sessions since a time by each source's country and network.
fn origins(reader: &Reader, since: i64, networks: &Networks) -> Result<Origins> {
    if networks.is_empty() {
        return Ok(Origins::default());
    }
    let mut query = reader.database().prepare_cached(
        "SELECT src_ip, count(*) FROM session WHERE opened >= ?1 AND src_ip IS NOT NULL GROUP BY src_ip",
    )?;
    let rows = query.query_map([since], |r| Ok((r.get::<_, String>(0)?, r.get::<_, u64>(1)?)))?;
    let known = rows.filter_map(|r| r.ok().and_then(|(source, n)| Some((source.parse().ok()?, n))));
    Ok(origins::count(networks, known))
}

/// What the charts show, at most ten seconds old.
///
/// # Errors
/// What the record says.
pub fn charts(console: &Console, reader: &Reader, now: Time) -> Result<Arc<Charts>> {
    let names = {
        let mut state = console.tally.state();
        if let Some((made, charts)) = &state.charts
            && made.elapsed() < FRESH
        {
            return Ok(charts.clone());
        }
        state
            .rules
            .get_or_insert_with(|| {
                let rules = Rules::built_in();
                let named = rules.iter().flat_map(Rules::all);
                Arc::new(
                    named
                        .map(|r| (r.id.clone(), (r.technique.clone(), r.name.clone())))
                        .collect(),
                )
            })
            .clone()
    };
    let quarter = now.0 - now.0 % QUARTER + QUARTER;
    let midnight = now.0 - now.0 % DAY + DAY;
    let month = midnight - 30 * DAY;
    let (attempts, since) = {
        let state = console.tally.state();
        (state.attempts, state.since)
    };
    let networks = console.host.networks();
    let from = origins(reader, month, networks)?;
    let mut most = sources(reader, month)?;
    for source in &mut most {
        source.about = source.name.parse().ok().and_then(|a| networks.told(a));
    }
    let charts = Charts {
        day: spans(reader, quarter - DAY, QUARTER, 96)?,
        month: spans(reader, month, DAY, 30)?,
        sources: most,
        countries: from.countries,
        networks: from.networks,
        techniques: techniques(reader, &names)?,
        credentials: console.tally.most(10, console.host.masks()),
        attempts,
        since,
    };
    let charts = Arc::new(charts);
    console.tally.state().charts = Some((Instant::now(), charts.clone()));
    Ok(charts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use turncoat_event::kinds::AuthAttempt;
    use turncoat_event::{Bytes, Draft};

    fn attempt(user: &str, secret: &str) -> Event {
        let kind = AuthAttempt {
            method: "password".into(),
            user: Bytes::from(user),
            secret: Some(Bytes::from(secret)),
            secret_hash: None,
            key_type: None,
            fingerprint: None,
            key: None,
            probe: None,
            accepted: false,
            policy: "never".into(),
        };
        Event::new(1, "t".parse().unwrap(), Draft::of_system(Time(5), kind))
    }

    #[test]
    fn pairs_are_counted_within_bounds() {
        let tally = Tally::default();
        for n in 0..PAIRS * 2 {
            tally.add(&[attempt("root", "often"), attempt("u", &n.to_string())]);
        }
        assert!(tally.state().pairs.len() <= PAIRS);
        let most = tally.most(1, false);
        assert_eq!((most[0].user.as_str(), most[0].count), ("root", PAIRS as u64 * 2));
        assert_eq!(most[0].secret.as_deref(), Some("often"));
        assert_eq!(tally.most(1, true)[0].secret.as_deref(), Some("***"));
    }
}
