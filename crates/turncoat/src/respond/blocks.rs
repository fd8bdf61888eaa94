//! What is blocked, and until when. Protects the protected assets, never the decoy.
//!
//! Only an address that a completed TCP connection proved comes here. The allow-list wins over everything and cannot be emptied: our own
//! addresses, gateways and resolvers, and whoever administers now, are always on it. There is a cap; everything expires; everything can be undone.

use super::net::Net;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use turncoat_event::Time;

/// One block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// What is closed out.
    pub net: Net,
    /// Since when.
    pub since: Time,
    /// Until when.
    pub until: Time,
    /// The campaign that led to it.
    pub campaign: Option<String>,
    /// The rule or operator that wanted it.
    pub by: String,
}

/// Why nothing was blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// On the allow-list.
    Allowed(Net),
    /// As many blocks as there may be.
    Full(usize),
    /// The address is not one that can be an outsider (unspecified, multicast).
    NoSource,
    /// An operator lifted this block before its time: until then no rule closes it again.
    Undone(Time),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Allowed(n) => write!(f, "{n} is on the allow-list"),
            Refusal::Full(n) => write!(f, "there are {n} blocks already, the most allowed (block.most)"),
            Refusal::NoSource => f.write_str("not an address that a connection can come from"),
            Refusal::Undone(until) => write!(f, "an operator lifted it; no rule blocks it before {until}"),
        }
    }
}

/// What is blocked now.
#[derive(Clone, Debug)]
pub struct Blocks {
    allow: Vec<Net>,
    most: usize,
    list: BTreeMap<Net, Block>,
    undone: BTreeMap<Net, Time>,
}

impl Blocks {
    /// Nothing blocked. `always` are the addresses that are never blocked whatever the configuration says, `allow` those that it names.
    pub fn new(always: &[Net], allow: &[Net], most: usize) -> Blocks {
        Blocks {
            allow: always.iter().chain(allow).copied().collect(),
            most,
            list: BTreeMap::new(),
            undone: BTreeMap::new(),
        }
    }

    /// Adds to the allow-list (an administrator's address) and lifts what is blocked there.
    pub fn allow(&mut self, net: Net) -> Vec<Net> {
        self.allow.push(net);
        let lifted: Vec<Net> = self.list.keys().filter(|n| n.overlaps(&net)).copied().collect();
        for n in &lifted {
            self.list.remove(n);
        }
        lifted
    }

    /// Blocks a source. A block that is there already is only ever made longer.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn block(
        &mut self,
        source: IpAddr,
        now: Time,
        until: Time,
        campaign: Option<String>,
        by: &str,
    ) -> Result<&Block, Refusal> {
        let net = Net::of_source(source);
        if let Some(until) = self.undone.get(&net).filter(|u| **u > now) {
            return Err(Refusal::Undone(*until));
        }
        self.close(net, now, until, campaign, by)
    }

    /// Blocks a network, also one that an operator lifted before: for operators. Rules leave it alone as before, so it ends when he said.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn close(
        &mut self,
        net: Net,
        now: Time,
        until: Time,
        campaign: Option<String>,
        by: &str,
    ) -> Result<&Block, Refusal> {
        let source = net.address();
        if source.is_unspecified() || source.is_multicast() {
            return Err(Refusal::NoSource);
        }
        if let Some(a) = self.allow.iter().find(|a| a.overlaps(&net)) {
            return Err(Refusal::Allowed(*a));
        }
        if !self.list.contains_key(&net) && self.list.len() >= self.most {
            return Err(Refusal::Full(self.most));
        }
        let b = self.list.entry(net).or_insert_with(|| Block {
            net,
            since: now,
            until,
            campaign,
            by: by.to_string(),
        });
        b.until = b.until.max(until);
        Ok(b)
    }

    /// An operator lifts a block. No rule closes it again before it would have ended by itself.
    pub fn lift(&mut self, net: &Net) -> Option<Block> {
        let block = self.list.remove(net)?;
        let until = self.undone.entry(*net).or_insert(block.until);
        *until = block.until.max(*until);
        Some(block)
    }

    /// Removes what has expired and gives it.
    pub fn expire(&mut self, now: Time) -> Vec<Block> {
        self.undone.retain(|_, until| *until > now);
        let over: Vec<Net> = self
            .list
            .values()
            .filter(|b| b.until <= now)
            .map(|b| b.net)
            .collect();
        over.iter().filter_map(|n| self.list.remove(n)).collect()
    }

    /// When the next one expires.
    pub fn next_expiry(&self) -> Option<Time> {
        self.list.values().map(|b| b.until).min()
    }

    /// Everything that is blocked, by address.
    pub fn iter(&self) -> impl Iterator<Item = &Block> {
        self.list.values()
    }

    /// The feed as plain text: one network a line, nothing else, as firewalls import it.
    pub fn feed_text(&self, now: Time) -> String {
        self.list
            .values()
            .filter(|b| b.until > now)
            .map(|b| format!("{}\n", b.net))
            .collect()
    }

    /// The feed as JSON with expiry.
    pub fn feed_json(&self, now: Time) -> serde_json::Value {
        let blocks: Vec<_> = self
            .list
            .values()
            .filter(|b| b.until > now)
            .map(|b| serde_json::json!({"net": b.net, "since": b.since, "until": b.until, "campaign": b.campaign}))
            .collect();
        serde_json::json!({"version": 1, "made": now, "blocks": blocks})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(s: i64) -> Time {
        Time(s * 1_000_000_000)
    }

    #[test]
    fn blocks_are_bounded_expire_and_never_touch_the_allow_list() {
        let mut b = Blocks::new(
            &["127.0.0.0/8".parse().unwrap()],
            &["10.0.0.0/8".parse().unwrap()],
            2,
        );
        let ip = |s: &str| s.parse().unwrap();
        assert!(b.block(ip("192.0.2.1"), t(0), t(100), None, "r").is_ok());
        assert!(matches!(
            b.block(ip("::ffff:10.1.1.1"), t(0), t(100), None, "r"),
            Err(Refusal::Allowed(_))
        ));
        assert!(matches!(
            b.block(ip("127.0.0.5"), t(0), t(100), None, "r"),
            Err(Refusal::Allowed(_))
        ));
        assert!(matches!(
            b.block(ip("224.0.0.1"), t(0), t(100), None, "r"),
            Err(Refusal::NoSource)
        ));
        assert!(b.block(ip("2001:db8::7"), t(0), t(50), None, "r").is_ok());
        assert!(matches!(
            b.block(ip("192.0.2.9"), t(0), t(100), None, "r"),
            Err(Refusal::Full(2))
        ));
        assert_eq!(
            b.block(ip("192.0.2.1"), t(0), t(60), None, "r").unwrap().until,
            t(100),
            "never shorter"
        );
        assert_eq!(b.feed_text(t(10)), "192.0.2.1\n2001:db8::/64\n");
        assert_eq!(b.feed_text(t(70)), "192.0.2.1\n");
        assert_eq!(b.expire(t(70)).len(), 1);
        assert!(b.lift(&"192.0.2.1".parse().unwrap()).is_some() && b.feed_text(t(71)).is_empty());
        assert_eq!(
            b.block(ip("192.0.2.1"), t(72), t(900), None, "r"),
            Err(Refusal::Undone(t(100)))
        );
        assert!(b.expire(t(101)).is_empty());
        assert!(b.block(ip("192.0.2.1"), t(101), t(900), None, "r").is_ok());
        assert_eq!(b.allow("192.0.2.0/24".parse().unwrap()).len(), 1);
        assert!(b.feed_json(t(70))["blocks"].as_array().unwrap().is_empty());
    }
}
