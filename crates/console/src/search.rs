//! What is asked for, from the fields of a query; and events found by it, however it is asked.

use turncoat_event::{Event, Kind, SessionId, Time};
use turncoat_store::{Filter, Reader, Result, Source};

use crate::call::Fields;

/// The keys that may stand in the search box as `key:value`.
pub const KEYS: &[&str] = &["kind", "source", "session", "decoy", "since", "until"];

/// A question, and what of it was not understood.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The question.
    pub filter: Filter,
    /// What was not understood, for whoever asked.
    pub wrong: Vec<String>,
}

/// Reads a question: fields of the query, and `key:value` among the words of `q`.
pub fn asked(query: &Fields) -> Asked {
    let mut asked = Asked::default();
    let mut words = Vec::new();
    for word in query.text("q").unwrap_or_default().split_whitespace() {
        match word.split_once(':') {
            Some((key, value)) if KEYS.contains(&key) && !value.is_empty() => asked.set(key, value),
            _ => words.push(word),
        }
    }
    for key in KEYS {
        if let Some(value) = query.text(key) {
            asked.set(key, value);
        }
    }
    if !words.is_empty() {
        asked.filter.text = Some(words.join(" "));
    }
    asked.filter.before = query.parsed("before");
    asked.filter.after = query.parsed("after");
    asked
}

impl Asked {
    fn set(&mut self, key: &str, value: &str) {
        let filter = &mut self.filter;
        let fine = match key {
            "kind" => {
                let known = Kind::NAMES
                    .iter()
                    .any(|n| *n == value || (value.ends_with('.') && n.starts_with(value)));
                filter.kinds.push(value.to_owned());
                known
            }
            "source" => {
                filter.source = value.parse::<Source>().ok();
                filter.source.is_some()
            }
            "session" => {
                filter.session = value.parse::<SessionId>().ok();
                filter.session.is_some()
            }
            "decoy" => {
                filter.decoy = Some(value.to_owned());
                true
            }
            "since" => {
                filter.since = moment(value);
                filter.since.is_some()
            }
            "until" => {
                filter.until = moment(value);
                filter.until.is_some()
            }
            _ => false,
        };
        if !fine {
            self.wrong.push(format!("{key}:{value} is not understood"));
        }
    }
}

/// A time as a person or a form writes it: RFC 3339, or shorter forms of it, in UTC.
pub fn moment(text: &str) -> Option<Time> {
    let full = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_owned(),
    };
    full.replacen(' ', "T", 1).parse().ok()
}

/// Events by a question, newest first unless it has `after`, at most `limit`.
///
/// Several kinds are asked one by one: each has its own place in the index, so that the newest of all are found without looking at the rest.
///
/// # Errors
/// What the record says.
pub fn events(reader: &Reader, filter: &Filter, limit: usize) -> Result<Vec<Event>> {
    let mut filter = filter.clone();
    filter.newest_first = filter.after.is_none();
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
    if filter.kinds.is_empty() || filter.text.is_some() || filter.session.is_some() {
        return Ok(reader.events(&filter, limit)?.0);
    }
    let mut found = Vec::new();
    for kind in kinds {
        filter.kinds = vec![kind.to_owned()];
        found.extend(reader.events(&filter, limit)?.0);
    }
    found.sort_by_key(|e| e.seq);
    if filter.newest_first {
        found.reverse();
    }
    found.truncate(limit);
    Ok(found)
}

/// The newest events of these kinds.
///
/// # Errors
/// What the record says.
pub fn newest(reader: &Reader, kinds: &[&str], limit: usize) -> Result<Vec<Event>> {
    let filter = Filter {
        kinds: kinds.iter().map(|k| (*k).to_owned()).collect(),
        ..Filter::default()
    };
    events(reader, &filter, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_words_and_fields() {
        let asked = asked(&Fields::parse(
            b"q=wget+kind:auth.+source:192.0.2.0/24+http://x+since:2026-11-23&decoy=ssh&before=9",
        ));
        assert!(asked.wrong.is_empty(), "{:?}", asked.wrong);
        assert_eq!(asked.filter.text.as_deref(), Some("wget http://x"));
        assert_eq!(asked.filter.kinds, ["auth."]);
        assert_eq!(asked.filter.source.unwrap().to_string(), "192.0.2.0/24");
        assert_eq!(asked.filter.decoy.as_deref(), Some("ssh"));
        assert_eq!(asked.filter.before, Some(9));
        assert_eq!(asked.filter.since, "2026-11-23T00:00:00Z".parse().ok());
        let wrong = super::asked(&Fields::parse(b"q=kind:nope+source:x+session:y+until:soon"));
        assert_eq!(wrong.wrong.len(), 4);
    }

    #[test]
    fn times_may_be_short() {
        for (short, full) in [
            ("2026-11-23", "2026-11-23T00:00:00Z"),
            ("2026-11-23T12:30", "2026-11-23T12:30:00Z"),
            ("2026-11-23 12:30:01", "2026-11-23T12:30:01Z"),
            ("2026-11-23T12:30:01Z", "2026-11-23T12:30:01Z"),
        ] {
            assert_eq!(moment(short), full.parse().ok(), "{short}");
        }
        assert_eq!(moment("soon"), None);
    }
}
