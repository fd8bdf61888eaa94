//! Joins sessions into campaigns by what they share, and keeps every reason.
//!
//! Each piece of evidence of a session is looked up in an index of what earlier sessions left. What a campaign and the session share is
//! weighed: rare things weigh more, things that several campaigns share (a public tool, a NAT) weigh little. A session joins the campaign it
//! shares most with if the sum reaches [`JOIN`]; two campaigns become one only on a strong reason. Two campaigns wrongly joined are
//! worse than one left in two. Cost per session is bounded: an index entry holds at most [`RECENT`] places.

use crate::Digest;
use crate::script::Signature;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use turncoat_event::{SessionId, Time};

/// Sum of weights from which a session joins a campaign.
pub const JOIN: f64 = 6.0;
/// Weight of a single reason that may join two campaigns that already exist.
pub const STRONG: f64 = 6.0;
/// Places remembered for one piece of evidence.
pub const RECENT: usize = 12;
/// How long a source address tells anything, in seconds.
const SOURCE_SECONDS: i64 = 86_400;
/// Similarity of scripts from which they count as one script.
const ALIKE: f64 = 0.75;

/// Number of a campaign in this install.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CampaignId(pub u64);

impl std::fmt::Display for CampaignId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "C-{}", self.0)
    }
}

impl std::str::FromStr for CampaignId {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let digits = s.strip_prefix("C-").or(s.strip_prefix("c-")).unwrap_or(s);
        digits
            .parse()
            .map(CampaignId)
            .map_err(|_| format!("{s:?} is no campaign; campaigns are called C-1, C-2 ..."))
    }
}

/// Kinds of reason for a link, with their weight when the evidence is rare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// A planted thing that one took and the other used, or both used.
    Token,
    /// Both met the world that one of them left a key, password or user in.
    World,
    /// A key that both showed.
    Key,
    /// A credential that worked and that nobody else ever tried.
    Credential,
    /// The same file.
    Artifact,
    /// The same host or URL contacted.
    Contact,
    /// The same script of commands, names aside.
    Script,
    /// The same list of credentials in the same order.
    Wordlist,
    /// The same source address within a day.
    Source,
    /// The same client software (hassh and identification).
    Client,
    /// A person said so.
    Person,
}

impl Reason {
    /// Weight of a rare piece of evidence of this kind.
    pub fn weight(self) -> f64 {
        match self {
            Reason::Person => 100.0,
            Reason::Token => 12.0,
            Reason::World => 9.0,
            Reason::Key => 8.0,
            Reason::Credential => 6.5,
            Reason::Artifact => 4.5,
            Reason::Contact => 4.5,
            Reason::Source => 4.0,
            Reason::Script => 3.0,
            Reason::Wordlist => 3.0,
            Reason::Client => 2.0,
        }
    }

    /// Evidence of this kind loses weight as more campaigns share it.
    fn fades(self) -> bool {
        !matches!(self, Reason::Token | Reason::World | Reason::Person)
    }

    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Reason::Token => "a planted thing was taken by the one and used by the other",
            Reason::World => "they met the same world by what one of them left in it",
            Reason::Key => "the same key",
            Reason::Credential => "a credential that nobody else tried",
            Reason::Artifact => "the same file",
            Reason::Contact => "the same host contacted",
            Reason::Script => "the same script of commands",
            Reason::Wordlist => "the same list of credentials",
            Reason::Source => "the same source within a day",
            Reason::Client => "the same client software",
            Reason::Person => "a person joined them",
        }
    }
}

/// Why a session belongs to a campaign: one reason and the session it is shared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The session that was placed.
    pub session: SessionId,
    /// The earlier session that shares the evidence.
    pub other: SessionId,
    /// Kind of evidence.
    pub reason: Reason,
    /// Weight it had when the link was made.
    pub weight: f64,
    /// The evidence in short.
    pub detail: String,
}

/// What placing a session did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The campaign it is in now; None while it is noise.
    pub campaign: Option<CampaignId>,
    /// True if the campaign is new.
    pub opened: bool,
    /// Reasons, heaviest first.
    pub links: Vec<Link>,
    /// Earlier sessions that were noise until now and belong to the campaign too.
    pub drawn_in: Vec<SessionId>,
    /// Campaigns that became part of `campaign`.
    pub merged: Vec<CampaignId>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Posting {
    recent: Vec<(SessionId, Time)>,
    /// Different campaigns that showed this evidence, counted when first seen there (saturating).
    campaigns: BTreeSet<CampaignId>,
    /// Different sources, capped.
    sources: BTreeSet<u64>,
}

/// The state of linking. Plain data: it can be written and read back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Linker {
    next: u64,
    index: BTreeMap<(Reason, u64), Posting>,
    bands: BTreeMap<u64, Vec<SessionId>>,
    scripts: BTreeMap<SessionId, Signature>,
    place: BTreeMap<SessionId, Option<CampaignId>>,
    members: BTreeMap<CampaignId, BTreeSet<SessionId>>,
    into: BTreeMap<CampaignId, CampaignId>,
    apart: BTreeSet<(CampaignId, CampaignId)>,
    pinned: BTreeSet<SessionId>,
}

fn key(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

struct Candidate {
    weights: BTreeMap<Reason, Link>,
    noise: BTreeSet<SessionId>,
}

impl Linker {
    /// Where `session` is, after merges; None if it is noise or unknown.
    pub fn campaign_of(&self, session: &SessionId) -> Option<CampaignId> {
        self.place
            .get(session)
            .copied()
            .flatten()
            .map(|c| self.resolve(c))
    }

    /// The campaign that `id` became part of, or itself.
    pub fn resolve(&self, mut id: CampaignId) -> CampaignId {
        while let Some(next) = self.into.get(&id) {
            id = *next;
        }
        id
    }

    /// Sessions of a campaign.
    pub fn members(&self, id: CampaignId) -> impl Iterator<Item = &SessionId> {
        self.members.get(&self.resolve(id)).into_iter().flatten()
    }

    /// All campaigns that exist now.
    pub fn campaigns(&self) -> impl Iterator<Item = CampaignId> {
        self.members.keys().copied()
    }

    fn evidence(d: &Digest) -> Vec<(Reason, u64, String)> {
        let mut out = Vec::new();
        for t in d.tokens.iter().chain(&d.taken) {
            out.push((Reason::Token, key(t.as_bytes()), t.clone()));
        }
        for k in &d.keys {
            out.push((Reason::Key, key(k.as_bytes()), k.clone()));
        }
        if let Some(c) = d.accepted {
            out.push((Reason::Credential, c, "accepted credential".into()));
        }
        for a in &d.artifacts {
            out.push((Reason::Artifact, key(a.as_bytes()), a.clone()));
        }
        for c in &d.contacts {
            out.push((Reason::Contact, key(c.as_bytes()), c.clone()));
        }
        if let Some(w) = d.wordlist() {
            out.push((
                Reason::Wordlist,
                w,
                format!("{} credentials", d.credentials.len()),
            ));
        }
        if let Some(s) = d.source {
            let s = match s.to_canonical() {
                std::net::IpAddr::V6(a) => {
                    let g = a.segments();
                    format!("{:x}:{:x}:{:x}:{:x}::/64", g[0], g[1], g[2], g[3])
                }
                v4 => v4.to_string(),
            };
            out.push((Reason::Source, key(s.as_bytes()), s));
        }
        if let (Some(h), Some(c)) = (&d.hassh, &d.client) {
            let mut text = h.clone().into_bytes();
            text.extend_from_slice(c);
            out.push((Reason::Client, key(&text), h.clone()));
        }
        out
    }

    /// How much of a reason's weight is left when `campaigns` others show the same evidence from `sources` sources.
    fn rarity(reason: Reason, campaigns: usize, sources: usize) -> f64 {
        if !reason.fades() || campaigns <= 1 {
            // A credential that many sources try is in everybody's list, whoever got in with it.
            return if reason == Reason::Credential && sources > 2 {
                0.0
            } else {
                1.0
            };
        }
        match reason {
            Reason::Credential => 0.0,
            _ => 1.0 / (campaigns as f64),
        }
    }

    /// Places a session that is over (or grew: a session may be placed again and keeps its campaign).
    pub fn place(&mut self, d: &Digest) -> Outcome {
        let evidence = Self::evidence(d);
        let source_key = evidence.iter().find(|e| e.0 == Reason::Source).map_or(0, |e| e.1);
        let signature = d.signature();
        let mut found: BTreeMap<Option<CampaignId>, Candidate> = BTreeMap::new();
        let mut meet = |this: &Linker, other: SessionId, reason: Reason, weight: f64, detail: &str| {
            if other == d.session || weight <= 0.0 {
                return;
            }
            let Some(place) = this.place.get(&other) else {
                return;
            };
            let home = place.map(|c| this.resolve(c));
            let c = found.entry(home).or_insert_with(|| Candidate {
                weights: BTreeMap::new(),
                noise: BTreeSet::new(),
            });
            if home.is_none() {
                c.noise.insert(other);
            }
            let link = Link {
                session: d.session,
                other,
                reason,
                weight,
                detail: detail.to_string(),
            };
            match c.weights.get(&reason) {
                Some(old) if old.weight >= weight => {}
                _ => {
                    c.weights.insert(reason, link);
                }
            }
        };
        for (reason, k, detail) in &evidence {
            if let Some(p) = self.index.get(&(*reason, *k)) {
                let weight = reason.weight() * Self::rarity(*reason, p.campaigns.len(), p.sources.len());
                for (other, when) in &p.recent {
                    let near =
                        *reason != Reason::Source || d.first.seconds() - when.seconds() <= SOURCE_SECONDS;
                    if near {
                        meet(self, *other, *reason, weight, detail);
                    }
                }
            }
        }
        for (other, why) in &d.told {
            let reason = match why.as_str() {
                "token" => Reason::Token,
                "world" | "key" | "credential" => Reason::World,
                _ => continue,
            };
            meet(self, *other, reason, reason.weight(), why);
        }
        if let Some(sig) = &signature {
            let mut seen = BTreeSet::new();
            for b in sig.bands() {
                for other in self.bands.get(&b).into_iter().flatten() {
                    if seen.insert(*other) {
                        if let Some(s) = self.scripts.get(other) {
                            let alike = sig.similarity(s);
                            if alike >= ALIKE {
                                meet(
                                    self,
                                    *other,
                                    Reason::Script,
                                    Reason::Script.weight() * alike,
                                    &format!("{:.0} % alike", alike * 100.0),
                                );
                            }
                        }
                    }
                }
            }
            // A script that several campaigns run is a public tool.
            let homes = found
                .iter()
                .filter(|(h, c)| h.is_some() && c.weights.contains_key(&Reason::Script))
                .count();
            if homes > 1 {
                for c in found.values_mut() {
                    if let Some(l) = c.weights.get_mut(&Reason::Script) {
                        l.weight /= homes as f64;
                    }
                }
            }
        }
        let outcome = self.decide(d, found);
        self.remember(d, evidence, source_key, signature, outcome.campaign);
        outcome
    }

    fn decide(&mut self, d: &Digest, mut found: BTreeMap<Option<CampaignId>, Candidate>) -> Outcome {
        let score = |c: &Candidate| c.weights.values().map(|l| l.weight).sum::<f64>();
        let before = self.campaign_of(&d.session);
        let noise = found.remove(&None);
        let mut ranked: Vec<(CampaignId, Candidate)> =
            found.into_iter().filter_map(|(h, c)| Some((h?, c))).collect();
        ranked.sort_by(|a, b| score(&b.1).total_cmp(&score(&a.1)).then(a.0.cmp(&b.0)));
        let matters = d.entered || !d.tokens.is_empty() || !d.script.is_empty();
        let mut out = Outcome::default();
        let home = match before {
            Some(c) => Some(c),
            None => ranked.first().filter(|(_, c)| score(c) >= JOIN).map(|(h, _)| *h),
        };
        let mut home = match home {
            Some(h) => h,
            None if matters => {
                self.next += 1;
                out.opened = true;
                CampaignId(self.next)
            }
            None => return out,
        };
        self.put(d.session, home);
        for (other, c) in &ranked {
            if *other == home {
                out.links.extend(c.weights.values().cloned());
            } else if score(c) >= JOIN
                && c.weights.values().any(|l| l.weight >= STRONG)
                && !self.apart.contains(&pair(home, *other))
                && !self.pinned.contains(&d.session)
            {
                out.links.extend(c.weights.values().cloned());
                // The older one stays: people know it by its number.
                let (stays, goes) = if *other < home {
                    (*other, home)
                } else {
                    (home, *other)
                };
                self.join(stays, goes);
                out.merged.push(goes);
                home = stays;
            }
        }
        // A campaign that was opened a moment ago and is part of an older one already never showed.
        if out.opened {
            let new = CampaignId(self.next);
            out.opened = home == new;
            out.merged.retain(|m| *m != new);
        }
        out.campaign = Some(home);
        if let Some(n) = noise.filter(|n| matters && score(n) >= JOIN) {
            for s in n.noise {
                let strong = n.weights.values().any(|l| l.other == s);
                if strong {
                    self.put(s, home);
                    out.drawn_in.push(s);
                }
            }
            out.links.extend(n.weights.into_values());
        }
        out.links
            .sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.reason.cmp(&b.reason)));
        out
    }

    fn put(&mut self, session: SessionId, campaign: CampaignId) {
        self.place.insert(session, Some(campaign));
        self.members.entry(campaign).or_default().insert(session);
    }

    fn join(&mut self, into: CampaignId, from: CampaignId) {
        let moved = self.members.remove(&from).unwrap_or_default();
        self.members.entry(into).or_default().extend(moved);
        self.into.insert(from, into);
    }

    fn remember(
        &mut self,
        d: &Digest,
        evidence: Vec<(Reason, u64, String)>,
        source: u64,
        signature: Option<Signature>,
        home: Option<CampaignId>,
    ) {
        self.place.entry(d.session).or_insert(None);
        let tried = d
            .credentials
            .iter()
            .map(|c| (Reason::Credential, *c))
            .collect::<BTreeSet<_>>();
        let known = evidence
            .into_iter()
            .map(|(r, k, _)| (r, k))
            .collect::<BTreeSet<_>>();
        for slot in known.union(&tried) {
            let p = self.index.entry(*slot).or_default();
            if p.sources.len() < RECENT {
                p.sources.insert(source);
            }
            if let Some(h) = home {
                if p.campaigns.len() < 64 {
                    p.campaigns.insert(h);
                }
            }
            // A credential links to where it was accepted, not to everybody who tried it.
            if !known.contains(slot) {
                continue;
            }
            p.recent.retain(|(s, _)| *s != d.session);
            if p.recent.len() >= RECENT {
                p.recent.remove(0);
            }
            p.recent.push((d.session, d.last));
        }
        if let Some(sig) = signature {
            for b in sig.bands() {
                let list = self.bands.entry(b).or_default();
                list.retain(|s| *s != d.session);
                if list.len() >= RECENT {
                    list.remove(0);
                }
                list.push(d.session);
            }
            self.scripts.insert(d.session, sig);
        }
    }

    /// A person joins two campaigns; it stays so. Gives the one that is left.
    ///
    /// # Errors
    /// A campaign that does not exist, or one with itself.
    pub fn merge(&mut self, a: CampaignId, b: CampaignId) -> Result<CampaignId, String> {
        let (a, b) = (self.resolve(a), self.resolve(b));
        for c in [a, b] {
            if !self.members.contains_key(&c) {
                return Err(format!("there is no campaign {c}"));
            }
        }
        if a == b {
            return Err(format!("both are {a} already"));
        }
        self.apart.remove(&pair(a, b));
        self.join(a, b);
        Ok(a)
    }

    /// A person takes sessions out of a campaign into a new one; they are never joined again by evidence.
    ///
    /// # Errors
    /// A campaign that does not exist, sessions that are not in it, or nothing left on one side.
    pub fn split(&mut self, from: CampaignId, sessions: &[SessionId]) -> Result<CampaignId, String> {
        let from = self.resolve(from);
        let members = self
            .members
            .get_mut(&from)
            .ok_or_else(|| format!("there is no campaign {from}"))?;
        if let Some(s) = sessions.iter().find(|s| !members.contains(s)) {
            return Err(format!("session {s} is not in {from}"));
        }
        let taken: BTreeSet<SessionId> = sessions.iter().copied().collect();
        if taken.is_empty() || taken.len() == members.len() {
            return Err("a split must leave sessions on both sides".into());
        }
        members.retain(|s| !taken.contains(s));
        self.next += 1;
        let new = CampaignId(self.next);
        for s in taken {
            self.pinned.insert(s);
            self.put(s, new);
        }
        self.apart.insert(pair(from, new));
        Ok(new)
    }
}

fn pair(a: CampaignId, b: CampaignId) -> (CampaignId, CampaignId) {
    if a < b { (a, b) } else { (b, a) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(n: u64) -> SessionId {
        SessionId::new(Time(n as i64 * 1_000_000_000), [n as u8; 10])
    }

    fn digest(n: u64, source: &str) -> Digest {
        let mut d = Digest::new(session(n), Time(n as i64 * 1_000_000_000));
        d.source = source.parse().ok();
        d.entered = true;
        d.hassh = Some("h".into());
        d.client = Some(b"SSH-2.0-x".to_vec());
        d
    }

    #[test]
    fn a_token_joins_and_a_client_does_not() {
        let mut l = Linker::default();
        let mut a = digest(1, "192.0.2.1");
        a.taken.insert("bait-1".into());
        let a = l.place(&a);
        let b = l.place(&digest(2, "192.0.2.2"));
        assert_ne!(a.campaign, b.campaign, "the same client software is no reason");
        let mut c = digest(3, "192.0.2.3");
        c.tokens.insert("bait-1".into());
        let c = l.place(&c);
        assert_eq!(c.campaign, a.campaign);
        assert_eq!(c.links[0].reason, Reason::Token);
    }

    #[test]
    fn a_nat_joins_only_those_with_more_in_common() {
        let mut l = Linker::default();
        let a = l.place(&digest(1, "192.0.2.1"));
        let mut other = digest(2, "192.0.2.1");
        other.hassh = Some("another".into());
        let other = l.place(&other);
        assert_ne!(a.campaign, other.campaign);
        let mut late = digest(3, "192.0.2.1");
        late.first = Time(200_000 * 1_000_000_000);
        assert_ne!(l.place(&late).campaign, a.campaign);
    }

    #[test]
    fn a_credential_of_ones_own_joins_and_a_common_one_does_not() {
        let mut l = Linker::default();
        let with = |n, s: &str, c| {
            let mut d = digest(n, s);
            d.hassh = Some(format!("{n}"));
            d.credentials = vec![c];
            d.accepted = Some(c);
            d
        };
        let a = l.place(&with(1, "192.0.2.1", 77));
        assert_eq!(l.place(&with(2, "192.0.2.2", 77)).campaign, a.campaign);
        for n in 10..20 {
            let mut d = with(n, &format!("198.51.100.{n}"), 5);
            d.entered = false;
            d.accepted = None;
            l.place(&d);
        }
        let b = l.place(&with(30, "192.0.2.30", 5));
        let c = l.place(&with(31, "192.0.2.31", 5));
        assert_ne!(b.campaign, c.campaign);
    }

    #[test]
    fn what_a_person_says_stays() {
        let mut l = Linker::default();
        let mut ds: Vec<Digest> = (1..=4).map(|n| digest(n, &format!("192.0.2.{n}"))).collect();
        for d in &mut ds {
            d.tokens.insert("t".into());
        }
        let c = l.place(&ds[0]).campaign.unwrap();
        for d in &ds[1..3] {
            assert_eq!(l.place(d).campaign, Some(c));
        }
        let new = l.split(c, &[ds[1].session]).unwrap();
        l.place(&ds[3]);
        assert_eq!(l.campaign_of(&ds[1].session), Some(new));
        assert_ne!(l.campaign_of(&ds[0].session), Some(new));
        assert_eq!(l.place(&ds[1]).merged, vec![]);
        assert!(l.split(c, &[]).is_err() && l.merge(c, c).is_err());
        assert_eq!(l.merge(c, new).unwrap(), c);
        assert_eq!(l.campaign_of(&ds[1].session), Some(c));
    }

    #[test]
    fn failed_logins_are_noise_until_somebody_enters() {
        let mut l = Linker::default();
        let mut n = digest(1, "192.0.2.1");
        n.entered = false;
        assert_eq!(l.place(&n).campaign, None);
        let e = l.place(&digest(2, "192.0.2.1"));
        assert_eq!(e.drawn_in, vec![n.session]);
        assert_eq!(l.campaign_of(&n.session), e.campaign);
    }
}
