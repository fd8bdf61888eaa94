//! Joins sessions into campaigns by what they share, and keeps every reason.
//!
//! Each piece of evidence of a session is looked up in what is remembered of earlier sessions ([`memory`]). What a campaign and the session
//! share is weighed: rare things weigh more, things that several campaigns share (a public tool, a NAT) weigh little; reasons of one
//! kind do not add up beyond a cap (`Reason::group`). A session joins the campaign it shares most with if the sum reaches [`JOIN`]; two
//! campaigns become one only on a reason that ties for certain. Two campaigns wrongly joined are worse than one left in two. Cost per
//! session and memory are bounded. `docs/campaigns.md` has the method and what was measured.

pub mod memory;

use crate::script::Signature;
use crate::{Digest, hash};
use memory::{Bounds, Memory, Place};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use turncoat_event::SessionId;

/// Sum of weights from which a session joins a campaign.
pub const JOIN: f64 = 6.0;
/// How long a source address tells anything, in seconds.
const SOURCE_SECONDS: i64 = 86_400;
/// Similarity of scripts from which they count as one script.
const ALIKE: f64 = 0.75;
/// Shingles from which a script is long: two people do not type it alike by chance.
const LONG: u32 = 40;

/// Most that the reasons of each group count together: certain ones, what was brought and called, where from, which tool.
const GROUPS: [f64; 4] = [f64::INFINITY, 7.0, 6.0, 6.0];
/// The group of tools.
const TOOL: usize = 3;
/// Most that tool and place count where both sessions brought something, and not the same: a public tool, or two behind one address.
const APART: f64 = 3.0;

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
    /// The same source address with the same client software within a day.
    Machine,
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
            Reason::Machine => 6.0,
            Reason::Source => 3.5,
            Reason::Script => 5.0,
            Reason::Wordlist => 3.0,
            Reason::Client => 2.0,
        }
    }

    /// One such reason may join two campaigns that already exist.
    pub fn ties(self) -> bool {
        matches!(
            self,
            Reason::Person | Reason::Token | Reason::World | Reason::Key | Reason::Credential
        )
    }

    /// Which group of reasons it is of. Those of a group tell much the same, so their sum counts up to the cap in [`GROUPS`].
    fn group(self) -> usize {
        match self {
            r if r.ties() => 0,
            Reason::Artifact | Reason::Contact => 1,
            Reason::Source | Reason::Machine => 2,
            _ => 3,
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
            Reason::Machine => "the same source with the same client software within a day",
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

/// The state of linking.
#[derive(Clone, Debug, Default)]
pub struct Linker {
    next: u64,
    memory: Memory,
    place: BTreeMap<SessionId, Option<CampaignId>>,
    sizes: HashMap<CampaignId, u64>,
    into: HashMap<CampaignId, CampaignId>,
    absorbed: HashMap<CampaignId, Vec<CampaignId>>,
    apart: BTreeSet<(CampaignId, CampaignId)>,
    pinned: BTreeSet<SessionId>,
}

/// What a session shares with one campaign.
#[derive(Default)]
struct Candidate {
    weights: BTreeMap<Reason, Link>,
    noise: BTreeSet<SessionId>,
    /// What each ran is the same tool with another payload.
    other_payload: bool,
}

impl Candidate {
    /// The same file and the same host: that is one hand, however many campaigns it was taken for so far.
    fn payload(&self) -> bool {
        self.weights.contains_key(&Reason::Artifact) && self.weights.contains_key(&Reason::Contact)
    }

    /// One reason alone would do to make one campaign of two.
    fn ties(&self) -> bool {
        self.payload()
            || self
                .weights
                .iter()
                .any(|(r, l)| r.ties() && l.weight >= r.weight())
    }

    fn score(&self) -> f64 {
        let mut groups = [0.0; GROUPS.len()];
        for (reason, link) in &self.weights {
            if let Some(g) = groups.get_mut(reason.group()) {
                *g += link.weight;
            }
        }
        let mut sum: f64 = groups.iter().zip(GROUPS).map(|(g, cap)| g.min(cap)).sum();
        if self.other_payload && groups.first() == Some(&0.0) && groups.get(1) == Some(&0.0) {
            sum = sum.min(APART);
        }
        if self.payload() { sum.max(JOIN) } else { sum }
    }
}

impl Linker {
    /// A linker with other bounds than the usual ones.
    pub fn with(bounds: Bounds) -> Linker {
        Linker {
            memory: Memory::new(bounds),
            ..Linker::default()
        }
    }

    /// Where `session` is, after merges; None if it is noise, or forgotten.
    pub fn campaign_of(&self, session: &SessionId) -> Option<CampaignId> {
        self.place
            .get(session)
            .copied()
            .flatten()
            .map(|c| self.resolve(c))
    }

    /// The campaign that `id` became part of, or itself.
    pub fn resolve(&self, id: CampaignId) -> CampaignId {
        self.into.get(&id).copied().unwrap_or(id)
    }

    /// All campaigns that are remembered.
    pub fn campaigns(&self) -> impl Iterator<Item = CampaignId> {
        self.sizes.keys().copied()
    }

    /// How much is remembered: entries and sessions.
    pub fn remembered(&self) -> (usize, usize) {
        (self.memory.len(), self.place.len())
    }

    fn evidence(d: &Digest) -> Vec<(Reason, u64, String)> {
        let mut out = Vec::new();
        let mut add = |reason, text: &str| out.push((reason, hash::of(text.as_bytes()), text.to_owned()));
        d.tokens
            .iter()
            .chain(&d.taken)
            .for_each(|t| add(Reason::Token, t));
        d.keys.iter().for_each(|k| add(Reason::Key, k));
        d.artifacts.iter().for_each(|a| add(Reason::Artifact, a));
        d.contacts.iter().for_each(|c| add(Reason::Contact, c));
        let client = d.hassh.as_ref().zip(d.client.as_ref()).map(|(h, c)| {
            let client = String::from_utf8_lossy(c).into_owned();
            (h.clone(), hash::parts(&[h.as_bytes(), c]), client)
        });
        if let Some(s) = d.source {
            let s = source(s);
            if let Some((_, k, client)) = &client {
                let both = hash::parts(&[s.as_bytes(), &k.to_le_bytes()]);
                out.push((Reason::Machine, both, format!("{s} with {client}")));
            }
            out.push((Reason::Source, hash::of(s.as_bytes()), s));
        }
        if let Some(c) = d.accepted {
            out.push((Reason::Credential, c, "accepted credential".into()));
        }
        if let Some(w) = d.wordlist() {
            out.push((
                Reason::Wordlist,
                w,
                format!("{} credentials", d.credentials.len()),
            ));
        }
        if let Some((h, k, _)) = client {
            out.push((Reason::Client, k, h));
        }
        out
    }

    /// How many sessions of each campaign showed something, after merges.
    fn shares<'a>(
        &self,
        campaigns: impl IntoIterator<Item = &'a (CampaignId, u32)>,
    ) -> BTreeMap<CampaignId, u32> {
        let mut shares = BTreeMap::new();
        for (c, n) in campaigns {
            *shares.entry(self.resolve(*c)).or_insert(0u32) += n;
        }
        shares
    }

    /// The weight that a piece of evidence has towards one campaign, by who else showed it.
    fn weight(
        &self,
        d: &Digest,
        reason: Reason,
        key: u64,
        shares: &BTreeMap<CampaignId, u32>,
        home: Option<CampaignId>,
    ) -> f64 {
        let shared = shares.len();
        if reason == Reason::Credential {
            // One that others try is in everybody's list, whoever got in with it. One that looks common may be, though nobody tried it yet.
            let common = self.memory.sources_of(key) > 2 || shared > 1;
            return match (common, d.rare) {
                (true, _) => 0.0,
                (false, true) => reason.weight(),
                (false, false) => reason.weight() / 4.0,
            };
        }
        if !reason.fades() || shared <= 1 {
            return reason.weight();
        }
        if reason.group() == TOOL {
            // A tool tells by whose it mostly is: one stray session of another does not make a botnet's script public.
            let all: u32 = shares.values().sum();
            let own = home.and_then(|h| shares.get(&h)).copied().unwrap_or(1);
            return reason.weight() * f64::from(own) / f64::from(all.max(1));
        }
        reason.weight() / shared as f64
    }

    /// Places a session that is over (or grew: a session may be placed again and keeps its campaign).
    pub fn place(&mut self, d: &Digest) -> Outcome {
        let evidence = Self::evidence(d);
        let signature = d.signature();
        let payload = d.payload();
        let found = self.candidates(d, &evidence, signature.as_ref(), &payload);
        let outcome = self.decide(d, found);
        self.remember(d, &evidence, signature.as_ref(), &payload, outcome.campaign);
        outcome
    }

    /// Puts a session back where it was placed before: after a restart.
    pub fn restore(&mut self, d: &Digest, home: Option<CampaignId>) {
        let evidence = Self::evidence(d);
        self.next = self.next.max(home.map_or(0, |h| h.0));
        if let Some(h) = home {
            self.put(d.session, h);
        }
        self.remember(d, &evidence, d.signature().as_ref(), &d.payload(), home);
    }

    /// The number of the newest campaign there ever was: after a restart.
    pub fn at_least(&mut self, newest: CampaignId) {
        self.next = self.next.max(newest.0);
    }

    /// The campaign that somebody who showed a piece of evidence is in now.
    fn home(&self, place: &Place) -> Option<CampaignId> {
        let home = match self.place.get(&place.session) {
            Some(home) => *home,
            None => place.home,
        };
        home.map(|c| self.resolve(c))
    }

    fn candidates(
        &self,
        d: &Digest,
        evidence: &[(Reason, u64, String)],
        signature: Option<&Signature>,
        payload: &[u64],
    ) -> HashMap<Option<CampaignId>, Candidate> {
        let mut found: HashMap<Option<CampaignId>, Candidate> = HashMap::new();
        let mut meet = |other: &Place, reason: Reason, weight: f64, detail: &str| {
            if other.session == d.session || weight <= 0.0 {
                return;
            }
            let home = self.home(other);
            let c = found.entry(home).or_default();
            if home.is_none() {
                c.noise.insert(other.session);
            }
            if c.weights.get(&reason).is_none_or(|old| old.weight < weight) {
                c.weights.insert(
                    reason,
                    Link {
                        session: d.session,
                        other: other.session,
                        reason,
                        weight,
                        detail: detail.to_string(),
                    },
                );
            }
        };
        for (reason, key, detail) in evidence {
            let Some(p) = self.memory.posting(*reason, *key) else {
                continue;
            };
            let shares = self.shares(&p.campaigns);
            let lately = matches!(reason, Reason::Source | Reason::Machine);
            for other in &p.recent {
                if !lately || d.first.seconds() - other.when.seconds() <= SOURCE_SECONDS {
                    let home = self.home(other);
                    meet(
                        other,
                        *reason,
                        self.weight(d, *reason, *key, &shares, home),
                        detail,
                    );
                }
            }
        }
        for (other, why) in &d.told {
            let reason = match why.as_str() {
                "token" => Reason::Token,
                "world" | "key" | "credential" => Reason::World,
                _ => continue,
            };
            if let Some(home) = self.place.get(other) {
                let place = Place {
                    session: *other,
                    when: d.first,
                    home: *home,
                };
                meet(&place, reason, reason.weight(), why);
            }
        }
        if let Some(sig) = signature {
            let alike: Vec<_> = self
                .memory
                .alike(sig)
                .into_iter()
                .map(|s| (s, sig.similarity(&s.signature)))
                .filter(|(_, alike)| *alike >= ALIKE)
                .collect();
            let shares = self.shares(alike.iter().flat_map(|(s, _)| &s.who.campaigns));
            let long = if sig.shingles >= LONG { 1.0 } else { 0.5 };
            for (s, alike) in &alike {
                let detail = format!("{:.0} % alike", alike * 100.0);
                for other in &s.who.recent {
                    let weight = self.weight(d, Reason::Script, 0, &shares, self.home(other));
                    meet(other, Reason::Script, weight * long * alike, &detail);
                }
            }
            for (s, _) in alike {
                let other = !payload.is_empty()
                    && !s.payload.is_empty()
                    && !payload.iter().any(|p| s.payload.contains(p));
                if other {
                    for (c, _) in &s.who.campaigns {
                        if let Some(c) = found.get_mut(&Some(self.resolve(*c))) {
                            c.other_payload = true;
                        }
                    }
                }
            }
        }
        found
    }

    fn decide(&mut self, d: &Digest, mut found: HashMap<Option<CampaignId>, Candidate>) -> Outcome {
        let before = self.campaign_of(&d.session);
        let noise = found.remove(&None);
        let mut ranked: Vec<(CampaignId, f64, Candidate)> = found
            .into_iter()
            .filter_map(|(h, c)| Some((h?, c.score(), c)))
            .collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let matters = d.matters();
        let mut out = Outcome::default();
        // A campaign that holds this session alone was opened at its login, when nothing was known of it: what it does since may
        // still say where it belongs.
        let mut alone = before.filter(|c| self.sizes.get(c) == Some(&1) && !self.pinned.contains(&d.session));
        let home = match before {
            Some(c) => Some(c),
            None => ranked
                .first()
                .filter(|(_, score, _)| *score >= JOIN)
                .map(|(h, ..)| *h),
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
        let mut absorbed = Vec::new();
        for (other, score, c) in &ranked {
            if *other == home {
                out.links.extend(c.weights.values().cloned());
            } else if *score >= JOIN
                && (alone == Some(home) || c.ties())
                && !self.apart.contains(&pair(home, *other))
                && !self.pinned.contains(&d.session)
            {
                out.links.extend(c.weights.values().cloned());
                // The older one stays, people know it by its number; one that holds this session alone never does.
                let (stays, goes) = if alone.take() == Some(home) || *other < home {
                    (*other, home)
                } else {
                    (home, *other)
                };
                absorbed.push(goes);
                home = stays;
            }
        }
        for goes in absorbed {
            // A campaign that was opened a moment ago and is part of an older one already never showed.
            if out.opened && goes == CampaignId(self.next) {
                self.into.insert(goes, home);
                self.absorbed.entry(home).or_default().push(goes);
            } else {
                self.join(home, goes);
                out.merged.push(goes);
            }
        }
        out.opened &= home == CampaignId(self.next);
        self.put(d.session, home);
        out.campaign = Some(home);
        if let Some(n) = noise.filter(|n| matters && n.score() >= JOIN) {
            for s in n.noise {
                if n.weights.values().any(|l| l.other == s) {
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
        let before = self.place.insert(session, Some(campaign)).flatten();
        let before = before.map(|b| self.resolve(b));
        let now = self.resolve(campaign);
        if before == Some(now) {
            return;
        }
        if let Some(n) = before.and_then(|b| self.sizes.get_mut(&b)) {
            *n = n.saturating_sub(1);
        }
        *self.sizes.entry(now).or_default() += 1;
    }

    fn join(&mut self, into: CampaignId, from: CampaignId) {
        let moved = self.sizes.remove(&from).unwrap_or(0);
        *self.sizes.entry(into).or_default() += moved;
        // Whatever led to the one leads to the other: never more than one step.
        let mut all = self.absorbed.remove(&from).unwrap_or_default();
        all.push(from);
        for c in &all {
            self.into.insert(*c, into);
        }
        self.absorbed.entry(into).or_default().extend(all);
    }

    /// Two campaigns that were joined before: after a restart.
    pub fn restore_join(&mut self, from: CampaignId, into: CampaignId) {
        let into = self.resolve(into);
        if from != into {
            self.join(into, from);
        }
    }

    /// What a person took apart before: after a restart.
    pub fn restore_split(&mut self, from: CampaignId, new: CampaignId, sessions: &[SessionId]) {
        self.pinned.extend(sessions.iter().copied());
        self.apart.insert(pair(from, new));
    }

    fn remember(
        &mut self,
        d: &Digest,
        evidence: &[(Reason, u64, String)],
        signature: Option<&Signature>,
        payload: &[u64],
        home: Option<CampaignId>,
    ) {
        self.place.entry(d.session).or_insert(None);
        let from = d.source.map_or(0, |s| hash::of(source(s).as_bytes()));
        // Where it opened the door it is evidence; where it was tried in vain it is in somebody's list.
        for c in d.credentials.iter().filter(|c| Some(**c) != d.accepted) {
            self.memory.tried(*c, from, d.last);
        }
        let place = Place {
            session: d.session,
            when: d.last,
            home,
        };
        for (reason, key, _) in evidence {
            self.memory.note(*reason, *key, place);
        }
        if let Some(sig) = signature {
            self.memory.script(sig, payload, place);
        }
        while self.place.len() > self.memory.bounds().sessions {
            // Ids begin with the time: the first one is the oldest.
            let Some(oldest) = self.place.keys().find(|s| !self.pinned.contains(s)).copied() else {
                break;
            };
            self.place.remove(&oldest);
        }
    }

    /// A person joins two campaigns; it stays so. Gives the one that is left.
    ///
    /// # Errors
    /// A campaign that does not exist, or one with itself.
    pub fn merge(&mut self, a: CampaignId, b: CampaignId) -> Result<CampaignId, String> {
        let (a, b) = (self.resolve(a), self.resolve(b));
        for c in [a, b] {
            if !self.sizes.contains_key(&c) {
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
        let size = *self
            .sizes
            .get(&from)
            .ok_or_else(|| format!("there is no campaign {from}"))?;
        let taken: BTreeSet<SessionId> = sessions.iter().copied().collect();
        // One that was forgotten here is where the record says.
        let elsewhere = |s: &&SessionId| self.place.contains_key(s) && self.campaign_of(s) != Some(from);
        if let Some(s) = taken.iter().find(elsewhere) {
            return Err(format!("session {s} is not in {from}"));
        }
        if taken.is_empty() || taken.len() as u64 >= size {
            return Err("a split must leave sessions on both sides".into());
        }
        self.next += 1;
        let new = CampaignId(self.next);
        for s in &taken {
            self.pinned.insert(*s);
            self.put(*s, new);
        }
        self.memory.moved(&taken, new);
        self.apart.insert(pair(from, new));
        Ok(new)
    }
}

/// A source as it counts: an IPv4 address, or an IPv6 /64.
fn source(address: std::net::IpAddr) -> String {
    match address.to_canonical() {
        std::net::IpAddr::V6(a) => {
            let g = a.segments();
            format!("{:x}:{:x}:{:x}:{:x}::/64", g[0], g[1], g[2], g[3])
        }
        v4 => v4.to_string(),
    }
}

fn pair(a: CampaignId, b: CampaignId) -> (CampaignId, CampaignId) {
    if a < b { (a, b) } else { (b, a) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turncoat_event::Time;

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
            d.rare = true;
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
