//! Connections that have not logged in yet, and which new ones sshd turns away for them (`MaxStartups`).
//!
//! Counted for each machine that a source sees: where every source has a machine of its own, for each source.

use crate::auth::source_key;
use crate::worlds::Scope;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// `MaxStartups` of sshd_config(5): `begin:rate:full`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxStartups {
    /// From so many pending connections on, new ones are dropped by chance.
    pub begin: u32,
    /// With this chance in percent at `begin`; it grows evenly until `full`.
    pub rate: u32,
    /// From so many on, all new ones are dropped.
    pub full: u32,
}

impl MaxStartups {
    /// The default of Debian 12's sshd.
    pub const DEBIAN: MaxStartups = MaxStartups {
        begin: 10,
        rate: 30,
        full: 100,
    };
    /// More than will ever be pending.
    pub const NEVER: MaxStartups = MaxStartups {
        begin: 100_000,
        rate: 100,
        full: 100_000,
    };

    /// Reads `"10:30:100"`, `"10"` or `"off"`. The outer `None`: it is neither.
    pub fn parse(text: &str) -> Option<Option<MaxStartups>> {
        if text == "off" {
            return Some(None);
        }
        let numbers: Vec<u32> = text.split(':').map(|n| n.parse().ok()).collect::<Option<_>>()?;
        // The rules of servconf.c.
        let it = match numbers.as_slice() {
            [one] => MaxStartups {
                begin: *one,
                rate: 100,
                full: *one,
            },
            [begin, rate, full] => MaxStartups {
                begin: *begin,
                rate: *rate,
                full: *full,
            },
            _ => return None,
        };
        (it.begin >= 1 && it.begin <= it.full && (1..=100).contains(&it.rate)).then_some(Some(it))
    }

    /// Whether a new connection is dropped while `pending` have not logged in; `random` is drawn evenly from 0 to 99
    /// (should_drop_connection in sshd.c).
    pub fn drops(self, pending: u32, random: u32) -> bool {
        if pending < self.begin {
            return false;
        }
        if pending >= self.full || self.rate == 100 {
            return true;
        }
        let chance = (100 - self.rate) * (pending - self.begin) / (self.full - self.begin) + self.rate;
        random < chance
    }
}

impl fmt::Display for MaxStartups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.begin, self.rate, self.full)
    }
}

type Pending = Arc<Mutex<BTreeMap<IpAddr, u32>>>;

/// The connections that are pending now.
pub struct Startups {
    bound: MaxStartups,
    by_source: bool,
    pending: Pending,
}

/// One of them, until it is dropped.
pub(super) struct Startup {
    pending: Pending,
    machine: IpAddr,
}

impl Startups {
    /// None yet.
    pub fn new(bound: MaxStartups, scope: Scope) -> Startups {
        Startups {
            bound,
            by_source: scope == Scope::Source,
            pending: Pending::default(),
        }
    }

    /// Counts a new connection, or says how many stand in its way.
    pub(super) fn enter(&self, source: IpAddr, random: u64) -> Result<Startup, usize> {
        let machine = if self.by_source {
            source_key(source)
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        let mut all = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let pending = all.get(&machine).copied().unwrap_or_default();
        if self.bound.drops(pending, (random % 100) as u32) {
            return Err(pending as usize);
        }
        all.insert(machine, pending + 1);
        Ok(Startup {
            pending: self.pending.clone(),
            machine,
        })
    }
}

impl Drop for Startup {
    fn drop(&mut self) {
        let mut all = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = all.get_mut(&self.machine) {
            *n -= 1;
            if *n == 0 {
                all.remove(&self.machine);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chance_grows_as_sshd_has_it() {
        let m = MaxStartups::DEBIAN;
        let chance = |pending| (0..100).filter(|r| m.drops(pending, *r)).count();
        assert_eq!(
            [9, 10, 11, 50, 99, 100, 1000].map(chance),
            [0, 30, 30, 61, 99, 100, 100]
        );
        assert_eq!(MaxStartups::parse("10:30:100"), Some(Some(m)));
        assert_eq!(m.to_string(), "10:30:100");
        assert_eq!(MaxStartups::parse("off"), Some(None));
        assert!(MaxStartups::parse("5").unwrap().unwrap().drops(5, 99));
        for bad in ["", "0", "10:0:100", "10:101:100", "100:30:10", "1:2", "a:b:c"] {
            assert_eq!(MaxStartups::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn machines_are_counted_apart_and_who_leaves_counts_no_more() {
        let bound = MaxStartups {
            begin: 2,
            rate: 100,
            full: 2,
        };
        let (a, b) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let s = Startups::new(bound, Scope::Source);
        let held = [s.enter(a, 0), s.enter(a, 0)];
        assert_eq!(s.enter(a, 0).err(), Some(2));
        assert!(s.enter(b, 0).is_ok());
        drop(held);
        assert!(s.enter(a, 0).is_ok());
        assert!(s.pending.lock().unwrap().is_empty());
        let one = Startups::new(bound, Scope::Machine);
        let _held = [one.enter(a, 0), one.enter(b, 0)];
        assert!(one.enter(a, 0).is_err());
    }
}
