//! What the linker remembers of earlier sessions, by evidence, within bounds.
//!
//! Each piece of evidence leads to the last few sessions that showed it and the campaigns they are in. When a table is full, the quarter of
//! it that was not met for longest goes: what ties sessions for certain (a planted thing, a key) goes last.

use super::{CampaignId, Reason};
use crate::hash;
use crate::script::Signature;
use std::collections::HashMap;
use turncoat_event::{SessionId, Time};

/// Places remembered for one piece of evidence.
pub const RECENT: usize = 12;
/// Campaigns remembered for one piece of evidence. What more of them share weighs next to nothing anyway.
const CAMPAIGNS: usize = 16;
/// Sources remembered for one credential: more than two make it a common one.
const SOURCES: usize = 3;

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Pieces of evidence.
    pub evidence: usize,
    /// Credentials that were tried.
    pub tried: usize,
    /// Different scripts.
    pub scripts: usize,
    /// Sessions.
    pub sessions: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            evidence: 300_000,
            tried: 400_000,
            scripts: 30_000,
            sessions: 400_000,
        }
    }
}

/// A session that showed a piece of evidence.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The session.
    pub session: SessionId,
    /// When it was last seen.
    pub when: Time,
    /// The campaign it was in then; where the session itself is forgotten, this is what is left.
    pub home: Option<CampaignId>,
}

/// Who showed a piece of evidence.
#[derive(Clone, Debug, Default)]
pub struct Posting {
    /// The last sessions.
    pub recent: Vec<Place>,
    /// Campaigns with the number of their sessions that showed it, capped.
    pub campaigns: Vec<(CampaignId, u32)>,
    last: Time,
}

impl Posting {
    fn note(&mut self, place: Place) {
        let known = self
            .recent
            .iter()
            .any(|p| p.session == place.session && p.home == place.home);
        self.recent.retain(|p| p.session != place.session);
        if self.recent.len() >= RECENT {
            self.recent.remove(0);
        }
        self.recent.push(place);
        if let Some(h) = place.home.filter(|_| !known) {
            let room = self.campaigns.len() < CAMPAIGNS;
            match self.campaigns.iter_mut().find(|(c, _)| *c == h) {
                Some((_, n)) => *n = n.saturating_add(1),
                None if room => self.campaigns.push((h, 1)),
                None => {}
            }
        }
        self.last = self.last.max(place.when);
    }
}

/// One script that sessions ran, told apart by its signature.
#[derive(Clone, Debug)]
pub struct Script {
    /// Its signature.
    pub signature: Signature,
    /// Who ran it.
    pub who: Posting,
    /// What those who ran it fetched or called, capped: the same script with another payload is another's use of a public tool.
    pub payload: Vec<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tried {
    sources: [u64; SOURCES],
    count: u8,
    last: Time,
}

/// The tables.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    bounds: Bounds,
    index: HashMap<(Reason, u64), Posting>,
    tried: HashMap<u64, Tried>,
    scripts: HashMap<u64, Script>,
    bands: HashMap<u64, Vec<u64>>,
}

/// The time before which the oldest quarter lies.
fn quarter(mut times: Vec<Time>) -> Time {
    let at = times.len() / 4;
    if times.is_empty() {
        return Time(i64::MIN);
    }
    *times.select_nth_unstable(at).1
}

impl Memory {
    /// Empty tables with these bounds.
    pub fn new(bounds: Bounds) -> Memory {
        Memory {
            bounds,
            ..Memory::default()
        }
    }

    /// The bounds.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Who showed this before.
    pub fn posting(&self, reason: Reason, key: u64) -> Option<&Posting> {
        self.index.get(&(reason, key))
    }

    /// From how many sources a credential was tried, capped.
    pub fn sources_of(&self, credential: u64) -> usize {
        self.tried.get(&credential).map_or(0, |t| usize::from(t.count))
    }

    /// Scripts that may be alike, each once.
    pub fn alike(&self, signature: &Signature) -> Vec<&Script> {
        let mut ids: Vec<u64> = signature
            .bands()
            .iter()
            .filter_map(|b| self.bands.get(b))
            .flatten()
            .copied()
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids.iter().filter_map(|id| self.scripts.get(id)).collect()
    }

    /// A session showed this.
    pub fn note(&mut self, reason: Reason, key: u64, place: Place) {
        self.index.entry((reason, key)).or_default().note(place);
        if self.index.len() > self.bounds.evidence {
            let weak = |r: &Reason| !r.ties();
            let cut = quarter(
                self.index
                    .iter()
                    .filter(|(k, _)| weak(&k.0))
                    .map(|(_, p)| p.last)
                    .collect(),
            );
            self.index.retain(|k, p| !weak(&k.0) || p.last > cut);
            // Should all of it tie for certain, the oldest of that goes too.
            if self.index.len() > self.bounds.evidence {
                let cut = quarter(self.index.values().map(|p| p.last).collect());
                self.index.retain(|_, p| p.last > cut);
            }
        }
    }

    /// A source tried this credential.
    pub fn tried(&mut self, credential: u64, source: u64, when: Time) {
        let t = self.tried.entry(credential).or_default();
        t.last = t.last.max(when);
        let known = usize::from(t.count);
        if known < SOURCES && !t.sources.iter().take(known).any(|s| *s == source) {
            if let Some(slot) = t.sources.get_mut(known) {
                *slot = source;
            }
            t.count += 1;
        }
        if self.tried.len() > self.bounds.tried {
            let cut = quarter(self.tried.values().map(|t| t.last).collect());
            self.tried.retain(|_, t| t.last > cut);
        }
    }

    /// A session ran this script.
    pub fn script(&mut self, signature: &Signature, payload: &[u64], place: Place) {
        let bytes: Vec<u8> = signature.mins.iter().flat_map(|m| m.to_le_bytes()).collect();
        let id = hash::of(&bytes);
        if !self.scripts.contains_key(&id) {
            for b in signature.bands() {
                let list = self.bands.entry(b).or_default();
                if list.len() >= RECENT {
                    list.remove(0);
                }
                list.push(id);
            }
        }
        let s = self.scripts.entry(id).or_insert_with(|| Script {
            signature: signature.clone(),
            who: Posting::default(),
            payload: Vec::new(),
        });
        s.who.note(place);
        for p in payload {
            if s.payload.len() < RECENT && !s.payload.contains(p) {
                s.payload.push(*p);
            }
        }
        if self.scripts.len() > self.bounds.scripts {
            let cut = quarter(self.scripts.values().map(|s| s.who.last).collect());
            self.scripts.retain(|_, s| s.who.last > cut);
            let scripts = &self.scripts;
            self.bands.retain(|_, list| {
                list.retain(|id| scripts.contains_key(id));
                !list.is_empty()
            });
        }
    }

    /// Sessions went into another campaign by a person's word: what is remembered of them follows.
    pub fn moved(&mut self, sessions: &std::collections::BTreeSet<SessionId>, to: CampaignId) {
        let all = self
            .index
            .values_mut()
            .chain(self.scripts.values_mut().map(|s| &mut s.who));
        for posting in all {
            for p in &mut posting.recent {
                if sessions.contains(&p.session) {
                    p.home = Some(to);
                }
            }
        }
    }

    /// Entries in all tables.
    pub fn len(&self) -> usize {
        self.index.len() + self.tried.len() + self.scripts.len() + self.bands.len()
    }

    /// True if nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
