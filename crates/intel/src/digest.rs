//! What of a session tells its intruder apart: made from its events, one at a time, bounded.

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
    /// Command lines, in order.
    pub script: Vec<Vec<u8>>,
    script_bytes: usize,
}

fn hash(parts: &[&[u8]]) -> u64 {
    let mut h = 0xcbf2_9ce4_8422_2325u64;
    for p in parts {
        for b in *p {
            h = (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        h = (h ^ 0x1ff).wrapping_mul(0x0000_0100_0000_01b3);
    }
    h
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
            script: Vec::new(),
            script_bytes: 0,
        }
    }

    fn line(&mut self, line: &[u8]) {
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
                    let h = hash(&[a.user.as_slice(), s.as_slice()]);
                    if self.credentials.len() < MAX_EACH {
                        self.credentials.push(h);
                    }
                    if a.accepted {
                        self.accepted = Some(h);
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
            Kind::NetConnect(c) => keep(&mut self.contacts, c.address.to_string()),
            Kind::NetResolve(r) => keep(&mut self.contacts, r.name.to_text_lossy().into_owned()),
            Kind::CommandInput(c) => self.line(c.line.as_slice()),
            Kind::CommandExec(c) => self.line(c.command.as_slice()),
            _ => {}
        }
    }

    /// The signature of what was typed, if it is long enough to tell anything.
    pub fn signature(&self) -> Option<Signature> {
        Signature::of(self.script.iter().map(Vec::as_slice), 8)
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
        Some(hash(&[&bytes]))
    }
}
