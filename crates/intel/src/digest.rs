//! What of a session tells its intruder apart: made from its events, one at a time, bounded.

use crate::hash;
use crate::script::Signature;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::IpAddr;
use turncoat_event::{Event, Kind, SessionId, Time};

/// Entries kept of each kind of evidence.
const MAX_EACH: usize = 256;
/// Bytes of command lines kept.
const MAX_SCRIPT: usize = 64 << 10;

/// The evidence of one session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Digest {
    /// The session.
    pub session: SessionId,
    /// Source address.
    pub source: Option<IpAddr>,
    /// Time of its first event.
    pub first: Time,
    /// Time of its last event.
    pub last: Time,
    /// Logged in at least once.
    pub entered: bool,
    /// hassh of the client.
    pub hassh: Option<String>,
    /// Client's identification.
    pub client: Option<Vec<u8>>,
    /// Planted things that were used, and baits whose content was taken.
    pub tokens: BTreeSet<String>,
    /// Tokens that were taken here (bait that was read).
    pub taken: BTreeSet<String>,
    /// Sessions that the decoys say it is linked to, with the reason (`world`, `key`, `credential`, `token`).
    pub told: BTreeSet<(SessionId, String)>,
    /// Artifacts by SHA-256, hexadecimal.
    pub artifacts: BTreeSet<String>,
    /// Hosts, addresses and URLs it wanted to reach.
    pub contacts: BTreeSet<String>,
    /// Fingerprints of keys shown.
    pub keys: BTreeSet<String>,
    /// Credentials in the order tried (hash of user and secret).
    pub credentials: Vec<u64>,
    /// The credential that was accepted, if one was.
    pub accepted: Option<u64>,
    /// The accepted credential is one that is in nobody's list, by its look.
    #[serde(default)]
    pub rare: bool,
    /// Command lines, in order; nothing in a digest that was [compacted](Digest::compact).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub script: Vec<Vec<u8>>,
    /// Something was typed or run.
    #[serde(default)]
    pub typed: bool,
    /// The script's signature, in a digest that was compacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept: Option<Signature>,
    #[serde(default)]
    script_bytes: usize,
}

/// Hosts that anybody fetches from: going there tells nobody apart.
const PUBLIC_HOSTS: &str = include_str!("../data/public-hosts.txt");

/// True for a host that many unrelated people go to, or a part of one.
fn public(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    PUBLIC_HOSTS
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .any(|p| host == p || host.strip_suffix(p).is_some_and(|rest| rest.ends_with('.')))
}

/// True for a password that is unlikely to be in anybody's list: long, of several kinds of characters, and without the user's name.
fn rare(user: &[u8], secret: &[u8]) -> bool {
    let has = |kind: fn(&u8) -> bool| usize::from(secret.iter().any(kind));
    let kinds = has(u8::is_ascii_lowercase)
        + has(u8::is_ascii_uppercase)
        + has(u8::is_ascii_digit)
        + has(|b| !b.is_ascii_alphanumeric());
    let lower = secret.to_ascii_lowercase();
    let holds = |word: &[u8]| word.len() >= 3 && lower.windows(word.len()).any(|w| w == word);
    let listed = [
        "pass", "admin", "root", "qwe", "123", "asd", "abc", "welcome", "letmein", "p@ss",
    ];
    secret.len() >= 9
        && kinds >= 2
        && !holds(&user.to_ascii_lowercase())
        && !listed.iter().any(|w| holds(w.as_bytes()))
}

fn keep<T: Ord>(set: &mut BTreeSet<T>, value: T) {
    if set.len() < MAX_EACH {
        set.insert(value);
    }
}

impl Digest {
    /// An empty digest of a session that began at `first`.
    pub fn new(session: SessionId, first: Time) -> Digest {
        Digest {
            session,
            source: None,
            first,
            last: first,
            entered: false,
            hassh: None,
            client: None,
            tokens: BTreeSet::new(),
            taken: BTreeSet::new(),
            told: BTreeSet::new(),
            artifacts: BTreeSet::new(),
            contacts: BTreeSet::new(),
            keys: BTreeSet::new(),
            credentials: Vec::new(),
            accepted: None,
            rare: false,
            script: Vec::new(),
            typed: false,
            kept: None,
            script_bytes: 0,
        }
    }

    fn line(&mut self, line: &[u8]) {
        self.typed = true;
        if self.script_bytes + line.len() <= MAX_SCRIPT {
            self.script_bytes += line.len();
            self.script.push(line.to_vec());
        }
    }

    /// Takes in one event of this session. Events of other sessions are ignored.
    pub fn add(&mut self, event: &Event) {
        if event.origin.session != Some(self.session) {
            return;
        }
        self.source = self.source.or(event.origin.src_ip);
        self.last = self.last.max(event.time);
        match &event.kind {
            Kind::ClientVersion(v) => {
                self.client = Some(v.version.as_slice().iter().take(256).copied().collect())
            }
            Kind::ClientKex(k) => self.hassh = Some(k.hassh.clone()),
            Kind::AuthAttempt(a) => {
                if let Some(s) = &a.secret {
                    let h = hash::parts(&[a.user.as_slice(), s.as_slice()]);
                    if self.credentials.len() < MAX_EACH {
                        self.credentials.push(h);
                    }
                    if a.accepted {
                        self.accepted = Some(h);
                        self.rare = rare(a.user.as_slice(), s.as_slice());
                    }
                }
                if let Some(f) = &a.fingerprint {
                    keep(&mut self.keys, f.clone());
                }
                self.entered |= a.accepted && a.probe != Some(true);
            }
            Kind::TokenUsed(t) => {
                keep(&mut self.tokens, t.token.clone());
                if let Some(by) = t.taken_by {
                    keep(&mut self.told, (by, "token".into()));
                }
            }
            Kind::BaitRead(b) => keep(&mut self.taken, b.bait.clone()),
            Kind::SessionLink(l) => {
                if let Some(other) = l.other {
                    keep(&mut self.told, (other, l.reason.clone()));
                }
            }
            Kind::FileArtifact(a) => keep(&mut self.artifacts, a.sha256.to_string()),
            Kind::NetConnect(c) => {
                let address = c.address.to_canonical();
                let name = c.name.as_ref().map(|n| n.to_text_lossy().into_owned());
                let inside = address.is_loopback() || address.is_unspecified();
                if !inside && !public(&address.to_string()) && !name.is_some_and(|n| public(&n)) {
                    keep(&mut self.contacts, address.to_string());
                }
            }
            Kind::NetResolve(r) => {
                let name = r.name.to_text_lossy().into_owned();
                if !public(&name) {
                    keep(&mut self.contacts, name);
                }
            }
            Kind::CommandInput(c) => self.line(c.line.as_slice()),
            Kind::CommandExec(c) => self.line(c.command.as_slice()),
            _ => {}
        }
    }

    /// True if the session is more than noise: somebody entered, used something planted, or ran something.
    pub fn matters(&self) -> bool {
        self.entered || !self.tokens.is_empty() || self.typed || !self.script.is_empty()
    }

    /// The signature of what was typed, if it is long enough to tell anything.
    pub fn signature(&self) -> Option<Signature> {
        self.kept
            .clone()
            .or_else(|| Signature::of(self.script.iter().map(Vec::as_slice), 8))
    }

    /// The same evidence without the text it was taken from: what is kept for a restart.
    pub fn compact(&self) -> Digest {
        let mut d = self.clone();
        d.kept = self.signature();
        d.typed |= !d.script.is_empty();
        d.script = Vec::new();
        d.script_bytes = 0;
        d
    }

    /// What the session fetched or called, as keys.
    pub fn payload(&self) -> Vec<u64> {
        self.contacts
            .iter()
            .chain(&self.artifacts)
            .map(|t| hash::of(t.as_bytes()))
            .collect()
    }

    /// The list of credentials with its order, if it is long enough to tell anything.
    pub fn wordlist(&self) -> Option<u64> {
        if self.credentials.len() < 5 {
            return None;
        }
        let bytes: Vec<u8> = self
            .credentials
            .iter()
            .take(32)
            .flat_map(|c| c.to_le_bytes())
            .collect();
        Some(hash::parts(&[&bytes]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_anybody_has_is_told_from_what_one_has() {
        assert!(public("github.com") && public("raw.githubusercontent.com") && public("GITHUB.com."));
        assert!(!public("notgithub.com") && !public("evil.example") && public("8.8.8.8"));
        assert!(rare(b"root", b"hG7-kk2Lmw0q") && rare(b"deploy", b"7gxWMY9pqYev9w5R"));
        for common in [
            "123456",
            "root1234567",
            "Passw0rd!2024",
            "admin@2023xx",
            "qwertyuiop",
            "aaaaaaaaaaaa",
        ] {
            assert!(!rare(b"root", common.as_bytes()), "{common}");
        }
    }
}
