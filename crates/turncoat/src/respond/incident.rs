//! Incidents, not events: one message opens, updates are bundled, one closes.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use turncoat_event::Time;

/// How urgent an incident is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Low,
    /// Worth a look today.
    Medium,
    /// Worth a look now.
    High,
    /// Something planted was used: somebody is inside.
    Top,
}

impl Severity {
    /// The name in alerts and events.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Top => "top",
        }
    }
}

/// What kind of message an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The first message of an incident.
    Open,
    /// What has happened since.
    Update,
    /// Nothing more for a while.
    Close,
}

/// A message for people. Text of an intruder in `lines` is raw: each way escapes it for its receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The incident, such as `I-7`: equal in all its messages, never given twice.
    pub incident: String,
    /// Number of the message in its incident, from 1. With `incident` it makes the message once-only.
    pub number: u64,
    /// Phase.
    pub phase: Phase,
    /// Severity so far.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// What happened since the last message.
    pub lines: Vec<String>,
    /// Lines that did not fit.
    pub more: u64,
    /// The campaign.
    pub campaign: Option<String>,
    /// When it was made.
    pub time: Time,
    /// When its incident was opened.
    pub opened: Time,
}

/// Timing of messages, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between an incident's messages.
    pub update: i64,
    /// Quiet time after which it is closed.
    pub close: i64,
    /// Messages in an hour, over all incidents; more wait.
    pub hourly: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            update: 900,
            close: 3600,
            hourly: 30,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Incident {
    id: String,
    key: String,
    title: String,
    campaign: Option<String>,
    severity: Severity,
    told: Option<Severity>,
    opened: Time,
    number: u64,
    last_event: Time,
    last_message: Time,
    lines: Vec<String>,
    more: u64,
}

impl Incident {
    /// The message that is due now, rate limits aside.
    fn next(&self, now: Time, pace: &Pace) -> Option<Phase> {
        let quiet = now.since(self.last_event) / 1_000_000_000;
        let waited = now.since(self.last_message) / 1_000_000_000;
        if self.told.is_none() {
            Some(Phase::Open)
        } else if !self.lines.is_empty() && (waited >= pace.update || self.told < Some(self.severity)) {
            Some(Phase::Update)
        } else if quiet >= pace.close {
            Some(Phase::Close)
        } else {
            None
        }
    }
}

/// Lines kept for one message.
const LINES: usize = 20;
/// An hour, in nanoseconds.
const HOUR: i64 = 3600 * 1_000_000_000;
/// Characters kept of one line or title.
const LINE: usize = 400;
/// Incidents open at once; beyond it the quietest one is closed.
const INCIDENTS: usize = 500;

/// All open incidents. Plain data; who owns it keeps it in the record ([`Incidents::changes`]).
#[derive(Clone, Debug, Default)]
pub struct Incidents {
    open: BTreeMap<String, Incident>,
    opened: u64,
    sent: Vec<Time>,
    touched: BTreeSet<String>,
}

impl Incidents {
    /// The incidents as they were kept: how many were ever opened, and each that is open.
    pub fn restore(opened: u64, rows: impl IntoIterator<Item = String>) -> Incidents {
        let open = rows
            .into_iter()
            .filter_map(|text| serde_json::from_str::<Incident>(&text).ok())
            .map(|i| (i.key.clone(), i))
            .collect();
        Incidents {
            open,
            opened,
            ..Incidents::default()
        }
    }

    /// How many were ever opened.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// What has changed since the last call, by key: the new state, or nothing where the incident is over.
    pub fn changes(&mut self) -> Vec<(String, Option<String>)> {
        std::mem::take(&mut self.touched)
            .into_iter()
            .map(|key| {
                let now = self.open.get(&key).and_then(|i| serde_json::to_string(i).ok());
                (key, now)
            })
            .collect()
    }

    /// Something that deserves an alert. `key` names what it belongs to (a campaign, a sensor).
    pub fn note(
        &mut self,
        key: &str,
        title: &str,
        campaign: Option<&str>,
        severity: Severity,
        line: String,
        now: Time,
    ) {
        if !self.open.contains_key(key) {
            if self.open.len() >= INCIDENTS {
                let quietest = self
                    .open
                    .values()
                    .min_by_key(|i| i.last_event)
                    .map(|i| i.key.clone());
                if let Some(k) = quietest {
                    self.open.remove(&k);
                    self.touched.insert(k);
                }
            }
            self.opened += 1;
            let incident = Incident {
                id: format!("I-{}", self.opened),
                key: key.to_string(),
                title: title.chars().take(LINE).collect(),
                campaign: campaign.map(str::to_string),
                severity,
                told: None,
                opened: now,
                number: 0,
                last_event: now,
                last_message: now,
                lines: vec![],
                more: 0,
            };
            self.open.insert(key.to_string(), incident);
        }
        self.touched.insert(key.to_string());
        if let Some(i) = self.open.get_mut(key) {
            i.last_event = i.last_event.max(now);
            i.severity = i.severity.max(severity);
            let line: String = line.chars().take(LINE).collect();
            if i.lines.contains(&line) {
                // Several rules may tell the same.
            } else if i.lines.len() < LINES {
                i.lines.push(line);
            } else {
                i.more += 1;
            }
        }
    }

    /// True if [`Incidents::due`] would give a message.
    pub fn is_due(&self, now: Time, pace: &Pace) -> bool {
        let lately = self.sent.iter().filter(|t| now.since(**t) < HOUR).count();
        self.open
            .values()
            .any(|i| i.next(now, pace).is_some() && (lately < pace.hourly || i.severity >= Severity::Top))
    }

    /// The messages that are due now.
    pub fn due(&mut self, now: Time, pace: &Pace) -> Vec<Message> {
        let mut out = Vec::new();
        self.sent.retain(|t| now.since(*t) < HOUR);
        let mut closed = Vec::new();
        let mut order: Vec<(std::cmp::Reverse<Severity>, String)> = self
            .open
            .values()
            .map(|i| (std::cmp::Reverse(i.severity), i.key.clone()))
            .collect();
        order.sort();
        for (_, key) in order {
            let Some(i) = self.open.get_mut(&key) else {
                continue;
            };
            let Some(phase) = i.next(now, pace) else {
                continue;
            };
            // A planted thing that was used is never held back.
            if self.sent.len() >= pace.hourly && i.severity < Severity::Top {
                continue;
            }
            self.sent.push(now);
            self.touched.insert(key.clone());
            i.number += 1;
            i.told = Some(i.severity);
            i.last_message = now;
            out.push(Message {
                incident: i.id.clone(),
                number: i.number,
                phase,
                severity: i.severity,
                title: i.title.clone(),
                lines: std::mem::take(&mut i.lines),
                more: std::mem::take(&mut i.more),
                campaign: i.campaign.clone(),
                time: now,
                opened: i.opened,
            });
            if phase == Phase::Close {
                closed.push(key);
            }
        }
        for k in closed {
            self.open.remove(&k);
        }
        out
    }

    /// No incident is open under this key.
    pub fn is_new(&self, key: &str) -> bool {
        !self.open.contains_key(key)
    }

    /// Open incidents.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// True if none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(s: i64) -> Time {
        Time(s * 1_000_000_000)
    }

    #[test]
    fn one_opens_updates_are_bundled_one_closes() {
        let mut i = Incidents::default();
        let pace = Pace::default();
        i.note(
            "C-1",
            "campaign C-1",
            Some("C-1"),
            Severity::High,
            "a".into(),
            t(0),
        );
        let first = i.due(t(0), &pace);
        assert_eq!(
            (first.len(), first[0].phase, first[0].number),
            (1, Phase::Open, 1)
        );
        for n in 0..50 {
            i.note(
                "C-1",
                "campaign C-1",
                Some("C-1"),
                Severity::High,
                format!("{n}"),
                t(n),
            );
        }
        assert!(i.due(t(60), &pace).is_empty(), "bundled");
        let update = i.due(t(1000), &pace);
        assert_eq!(
            (update[0].phase, update[0].lines.len(), update[0].more),
            (Phase::Update, 20, 30)
        );
        assert!(i.due(t(2000), &pace).is_empty());
        assert_eq!(i.due(t(4000), &pace)[0].phase, Phase::Close);
        assert!(i.is_empty());
    }

    #[test]
    fn incidents_go_on_after_a_restart() {
        let mut i = Incidents::default();
        let pace = Pace::default();
        i.note("C-1", "x", Some("C-1"), Severity::High, "a".into(), t(0));
        let first = i.due(t(0), &pace);
        i.note("C-1", "x", Some("C-1"), Severity::High, "b".into(), t(1));
        let kept: Vec<String> = i.changes().into_iter().filter_map(|(_, now)| now).collect();
        assert!(i.changes().is_empty());
        let mut again = Incidents::restore(i.opened(), kept);
        assert!(
            again.due(t(2), &pace).is_empty(),
            "what was told is not told again"
        );
        let update = again.due(t(1000), &pace);
        assert_eq!((update[0].phase, update[0].number), (Phase::Update, 2));
        assert_eq!(update[0].incident, first[0].incident);
        assert_eq!(again.due(t(9000), &pace)[0].phase, Phase::Close);
        assert!(again.changes().iter().any(|(k, now)| k == "C-1" && now.is_none()));
        again.note("C-1", "x", Some("C-1"), Severity::High, "c".into(), t(9001));
        assert_ne!(again.due(t(9001), &pace)[0].incident, first[0].incident);
    }

    #[test]
    fn what_becomes_worse_is_told_at_once_and_a_flood_is_held_back() {
        let mut i = Incidents::default();
        let pace = Pace {
            hourly: 3,
            ..Pace::default()
        };
        for n in 0..10 {
            i.note(&format!("C-{n}"), "x", None, Severity::Low, "l".into(), t(0));
        }
        assert_eq!(i.due(t(1), &pace).len(), 3);
        i.note("C-9", "x", None, Severity::Top, "token".into(), t(2));
        let due = i.due(t(2), &pace);
        assert_eq!((due.len(), due[0].severity), (1, Severity::Top));
        assert_eq!(i.due(t(4000), &pace).len(), 3, "the rest comes later");
    }
}
