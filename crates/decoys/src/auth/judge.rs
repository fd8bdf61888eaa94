//! The judge: a policy and what it remembers, bounded.

use super::{Attempt, Policy, Verdict, source_key};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

/// How much a judge remembers.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sources whose tries are counted; beyond it the one that tried longest ago is forgotten.
    pub sources: usize,
    /// Accepted pairs remembered for each source.
    pub pairs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            sources: 65_536,
            pairs: 8,
        }
    }
}

/// Hashes of other worlds that are computed for one source's passwords.
const ELSEWHERE: u32 = 64;

/// What a planted credential does beside giving its user away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Opens {
    /// It lets in.
    #[default]
    Door,
    /// Nothing: the policy decides as if it were any other. So it is with what is stolen from a decoy and opens something else.
    Nothing,
    /// It lets in and gives nobody away: the operator's own audit.
    Audit,
}

/// A credential that was planted somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planted {
    /// Id of the token.
    pub id: String,
    /// User name; empty: any.
    pub user: Vec<u8>,
    /// Password, if it is one.
    pub secret: Option<Vec<u8>>,
    /// Fingerprint of the key (`SHA256:...`), if it is one.
    pub fingerprint: Option<String>,
    /// Where it was planted, in words.
    pub place: String,
    /// Its kind.
    pub kind: String,
    /// It no longer lets anybody in.
    pub revoked: bool,
    /// What it opens.
    pub opens: Opens,
}

impl Planted {
    fn of(&self, user: &[u8]) -> bool {
        self.user.is_empty() || self.user == user
    }

    /// It lets its bearer in.
    pub fn admits(&self) -> bool {
        !self.revoked && self.opens != Opens::Nothing
    }
}

type Pair = [u8; 32];

#[derive(Default)]
struct Source {
    tries: u32,
    /// Hashes of other worlds that were computed for it.
    elsewhere: u32,
    accepted: VecDeque<Pair>,
    last: u64,
}

/// Decides attempts by a policy.
pub struct Judge {
    policy: Policy,
    limits: Limits,
    key: [u8; 32],
    planted: Vec<Planted>,
    sources: BTreeMap<IpAddr, Source>,
    order: BTreeMap<u64, IpAddr>,
    clock: u64,
}

impl Judge {
    /// A judge for `policy`; `key` is a secret of the install from which each source's number of tries follows.
    pub fn new(policy: Policy, key: [u8; 32], limits: Limits) -> Judge {
        Judge {
            policy,
            limits,
            key,
            planted: Vec::new(),
            sources: BTreeMap::new(),
            order: BTreeMap::new(),
            clock: 0,
        }
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Replaces the planted credentials.
    pub fn set_planted(&mut self, planted: Vec<Planted>) {
        self.planted = planted;
    }

    fn pair(&self, user: &[u8], secret: &[u8]) -> Pair {
        let mut h = Sha256::new();
        h.update(self.key);
        h.update((user.len() as u64).to_le_bytes());
        h.update(user);
        h.update(secret);
        h.finalize().into()
    }

    /// The number of tries after which `source` is let in, between `min` and `max`.
    pub fn needed(&self, source: IpAddr, min: u32, max: u32) -> u32 {
        let mut h = Sha256::new();
        h.update(self.key);
        h.update(b"tries");
        h.update(source.to_string());
        let d = h.finalize();
        min + u32::from(d[0]) % (max.saturating_sub(min) + 1)
    }

    fn touch(&mut self, source: IpAddr) -> &mut Source {
        self.clock += 1;
        let now = self.clock;
        let fresh = !self.sources.contains_key(&source);
        if fresh
            && self.sources.len() >= self.limits.sources.max(1)
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.sources.remove(&oldest);
        }
        let entry = self.sources.entry(source).or_default();
        if !fresh {
            self.order.remove(&entry.last);
        }
        entry.last = now;
        self.order.insert(now, source);
        entry
    }

    /// Remembers that `source` was let in with this pair, so that it goes on working for it.
    pub fn remember(&mut self, source: IpAddr, user: &[u8], secret: &[u8]) {
        let pair = self.pair(user, secret);
        let most = self.limits.pairs;
        let entry = self.touch(source_key(source));
        if !entry.accepted.contains(&pair) {
            if entry.accepted.len() >= most {
                entry.accepted.pop_front();
            }
            entry.accepted.push_back(pair);
        }
    }

    /// Whether a password of `source` may be compared with one that another's world holds: that costs a hash, so only so often.
    pub fn may_ask_elsewhere(&mut self, source: IpAddr) -> bool {
        let entry = self.touch(source_key(source));
        entry.elsewhere = entry.elsewhere.saturating_add(1);
        entry.elsewhere <= ELSEWHERE
    }

    /// The planted credential that this pair is.
    pub fn planted_pair(&self, user: &[u8], secret: &[u8]) -> Option<&Planted> {
        self.planted
            .iter()
            .find(|p| p.of(user) && p.secret.as_deref() == Some(secret))
    }

    /// The planted key of this user with this fingerprint.
    pub fn planted_key(&self, user: &[u8], fingerprint: &str) -> Option<Planted> {
        self.planted
            .iter()
            .find(|p| p.of(user) && p.fingerprint.as_deref() == Some(fingerprint))
            .cloned()
    }

    /// Every planted thing that gives away the same credential as `one`: a data base's password stands in its dump and in a script.
    pub fn alike(&self, one: &Planted) -> Vec<Planted> {
        let same =
            |p: &&Planted| p.user == one.user && p.secret == one.secret && p.fingerprint == one.fingerprint;
        self.planted.iter().filter(same).cloned().collect()
    }

    /// Decides one attempt.
    pub fn judge(&mut self, a: &Attempt<'_>) -> Verdict {
        let source = source_key(a.source);
        let pair = self.pair(a.user, a.secret);
        let token = self
            .planted
            .iter()
            .find(|p| p.of(a.user) && p.secret.as_deref() == Some(a.secret))
            .cloned();
        let no = |reason| Verdict {
            accepted: false,
            reason,
            token: token.clone(),
        };
        let yes = |reason| Verdict {
            accepted: true,
            reason,
            token: token.clone(),
        };
        if matches!(self.policy, Policy::Never) {
            return no("never");
        }
        if let Some(t) = token.as_ref().filter(|t| t.opens != Opens::Nothing) {
            return if t.revoked {
                no("token-revoked")
            } else {
                yes("token")
            };
        }
        if self.touch(source).accepted.contains(&pair) {
            return if a.permitted {
                yes("remembered")
            } else {
                no("not-permitted")
            };
        }
        let verdict = match &self.policy {
            Policy::Never => no("never"),
            Policy::Tokens => no("tokens"),
            Policy::List(db) => match db.check(a.user, a.secret) {
                Some(true) => yes("list"),
                Some(false) => no("list"),
                None => no("not-listed"),
            },
            Policy::AfterTries { min, max } => {
                let needed = self.needed(source, *min, *max);
                if !a.exists {
                    no("no-such-user")
                } else if !a.permitted {
                    no("not-permitted")
                } else if a.secret.is_empty() {
                    no("empty")
                } else {
                    let entry = self.touch(source);
                    entry.tries = entry.tries.saturating_add(1);
                    if entry.tries >= needed {
                        entry.tries = 0;
                        yes("after-tries")
                    } else {
                        no("after-tries")
                    }
                }
            }
        };
        if verdict.accepted {
            self.remember(a.source, a.user, a.secret);
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::super::UserDb;
    use super::*;

    fn attempt<'a>(source: &str, user: &'a str, secret: &'a str) -> Attempt<'a> {
        Attempt {
            source: source.parse().unwrap(),
            user: user.as_bytes(),
            secret: secret.as_bytes(),
            exists: user != "ghost",
            permitted: true,
        }
    }

    #[test]
    fn after_some_tries_an_existing_user_is_in_and_the_pair_stays() {
        for key in 0..20u8 {
            let mut j = Judge::new(
                Policy::AfterTries { min: 2, max: 5 },
                [key; 32],
                Limits::default(),
            );
            for i in 0..10 {
                assert!(!j.judge(&attempt("192.0.2.1", "ghost", &format!("{i}"))).accepted);
            }
            let n = (1..)
                .find(|i| j.judge(&attempt("192.0.2.1", "root", &format!("p{i}"))).accepted)
                .unwrap();
            assert!((2..=5).contains(&n), "{n}");
            assert_eq!(
                j.judge(&attempt("192.0.2.1", "root", &format!("p{n}"))).reason,
                "remembered"
            );
            assert!(!j.judge(&attempt("192.0.2.2", "root", &format!("p{n}"))).accepted);
        }
    }

    #[test]
    fn tokens_work_whatever_the_list_says_but_not_under_never() {
        let planted = vec![Planted {
            id: "t1".into(),
            user: b"svc".to_vec(),
            secret: Some(b"s3".to_vec()),
            fingerprint: None,
            place: "laptop7".into(),
            kind: "credential".into(),
            revoked: false,
            opens: Opens::Door,
        }];
        let mut j = Judge::new(
            Policy::List(UserDb::parse(b"root:x:*").unwrap()),
            [0; 32],
            Limits::default(),
        );
        j.set_planted(planted.clone());
        let v = j.judge(&attempt("192.0.2.1", "svc", "s3"));
        assert!(v.accepted && v.token.as_ref().is_some_and(|t| t.id == "t1"));
        assert!(j.judge(&attempt("192.0.2.1", "root", "x")).accepted);
        assert!(!j.judge(&attempt("192.0.2.1", "svc", "no")).accepted);
        let mut j = Judge::new(Policy::Never, [0; 32], Limits::default());
        j.set_planted(planted);
        let v = j.judge(&attempt("192.0.2.1", "svc", "s3"));
        assert!(!v.accepted && v.token.is_some(), "recorded all the same");
    }

    #[test]
    fn what_opens_nothing_is_noted_and_the_policy_decides() {
        let bait = Planted {
            id: "dump".into(),
            user: Vec::new(),
            secret: Some(b"s3".to_vec()),
            fingerprint: None,
            place: "a decoy".into(),
            kind: "bait".into(),
            revoked: false,
            opens: Opens::Nothing,
        };
        let mut j = Judge::new(
            Policy::List(UserDb::parse(b"root:x:right").unwrap()),
            [0; 32],
            Limits::default(),
        );
        j.set_planted(vec![bait]);
        let v = j.judge(&attempt("192.0.2.1", "anybody", "s3"));
        assert!(!v.accepted && v.token.is_some_and(|t| t.id == "dump"));
        let v = j.judge(&attempt("192.0.2.1", "root", "right"));
        assert!(v.accepted && v.token.is_none());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut j = Judge::new(
            Policy::AfterTries { min: 1, max: 1 },
            [0; 32],
            Limits {
                sources: 10,
                pairs: 2,
            },
        );
        for i in 0..100 {
            for p in 0..5 {
                j.judge(&attempt(&format!("192.0.2.{i}"), "root", &format!("{p}")));
            }
        }
        assert!(j.sources.len() <= 10 && j.order.len() == j.sources.len());
        assert!(j.sources.values().all(|s| s.accepted.len() <= 2));
    }
}
