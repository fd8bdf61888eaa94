//! Which ATT&CK techniques the events of a session show, and the stage that was reached.
//!
//! Rules are data (`data/techniques/*.toml`, and files that an operator adds); each carries its own tests. A rule looks at what programs
//! really did (processes, files, sockets, accounts): its conditions are on the fields of one event, and it may ask for a number of such events.

mod rule;

pub use rule::{BadRules, Rule, Rules, Tested};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use turncoat_event::{Event, Time};

/// How far an intruder came, in the order in which an intrusion unfolds (the names are ATT&CK's tactics).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Looked from outside.
    Reconnaissance,
    /// Tried to get in, or got in.
    InitialAccess,
    /// Looked around inside.
    Discovery,
    /// Ran programs of his own or fetched some.
    Execution,
    /// Made sure to come back.
    Persistence,
    /// Became somebody with more rights.
    PrivilegeEscalation,
    /// Hid traces or switched guards off.
    DefenseEvasion,
    /// Took secrets.
    CredentialAccess,
    /// Went for other machines.
    LateralMovement,
    /// Gathered data.
    Collection,
    /// Spoke to a server of his.
    CommandAndControl,
    /// Sent data away.
    Exfiltration,
    /// Used or damaged the machine.
    Impact,
}

impl Stage {
    /// All stages in order.
    pub const ALL: [Stage; 13] = [
        Stage::Reconnaissance,
        Stage::InitialAccess,
        Stage::Discovery,
        Stage::Execution,
        Stage::Persistence,
        Stage::PrivilegeEscalation,
        Stage::DefenseEvasion,
        Stage::CredentialAccess,
        Stage::LateralMovement,
        Stage::Collection,
        Stage::CommandAndControl,
        Stage::Exfiltration,
        Stage::Impact,
    ];

    /// The name used in rules, events and pages.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Reconnaissance => "reconnaissance",
            Stage::InitialAccess => "initial-access",
            Stage::Discovery => "discovery",
            Stage::Execution => "execution",
            Stage::Persistence => "persistence",
            Stage::PrivilegeEscalation => "privilege-escalation",
            Stage::DefenseEvasion => "defense-evasion",
            Stage::CredentialAccess => "credential-access",
            Stage::LateralMovement => "lateral-movement",
            Stage::Collection => "collection",
            Stage::CommandAndControl => "command-and-control",
            Stage::Exfiltration => "exfiltration",
            Stage::Impact => "impact",
        }
    }
}

impl std::str::FromStr for Stage {
    type Err = String;
    fn from_str(s: &str) -> Result<Stage, String> {
        Stage::ALL.into_iter().find(|k| k.name() == s).ok_or_else(|| {
            let all: Vec<_> = Stage::ALL.iter().map(|k| k.name()).collect();
            format!("{s:?} is no stage; stages are {}", all.join(", "))
        })
    }
}

/// A technique that was seen, with where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// Id of the rule.
    pub rule: String,
    /// ATT&CK id, such as `T1053.003`.
    pub technique: String,
    /// Name of the technique.
    pub name: String,
    /// The stage it belongs to.
    pub stage: Stage,
    /// True if the event itself is the technique; false if it is inferred from it.
    pub observed: bool,
    /// Why the rule says so.
    pub why: String,
    /// Numbers of the events in the record, the first few.
    pub evidence: Vec<u64>,
    /// Time of the first one.
    pub first: Time,
    /// How many there were.
    pub count: u64,
}

/// Evidence numbers kept for one technique.
const EVIDENCE: usize = 16;

/// Collects the techniques of one session or campaign, event by event.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Techniques {
    counts: BTreeMap<String, (u64, Vec<u64>, Option<Time>)>,
    seen: BTreeMap<String, Sighting>,
}

impl Techniques {
    /// Looks at one event. Gives the rules that are fulfilled by it for the first time.
    pub fn add(&mut self, rules: &Rules, event: &Event) -> Vec<Sighting> {
        let mut fresh = Vec::new();
        let mut value = None;
        for rule in rules.for_event(event.kind.name()) {
            let value = value.get_or_insert_with(|| serde_json::to_value(&event.kind).unwrap_or_default());
            if !rule.matches(value) {
                continue;
            }
            let (count, evidence, first) = self.counts.entry(rule.id.clone()).or_default();
            *count += 1;
            if evidence.len() < EVIDENCE {
                evidence.push(event.seq);
            }
            let first = *first.get_or_insert(event.time);
            if *count < rule.at_least {
                continue;
            }
            if let Some(s) = self.seen.get_mut(&rule.id) {
                s.count = *count;
                s.evidence.clone_from(evidence);
                continue;
            }
            let s = Sighting {
                rule: rule.id.clone(),
                technique: rule.technique.clone(),
                name: rule.name.clone(),
                stage: rule.stage,
                observed: rule.observed,
                why: rule.why.clone(),
                evidence: evidence.clone(),
                first,
                count: *count,
            };
            self.seen.insert(rule.id.clone(), s.clone());
            fresh.push(s);
        }
        fresh
    }

    /// What was seen, by time.
    pub fn seen(&self) -> Vec<&Sighting> {
        let mut all: Vec<&Sighting> = self.seen.values().collect();
        all.sort_by_key(|s| (s.first, s.rule.clone()));
        all
    }

    /// The furthest stage.
    pub fn stage(&self) -> Option<Stage> {
        self.seen.values().map(|s| s.stage).max()
    }
}
