//! How fast a session may make events: `limits.events_per_second`.
//!
//! Nothing is thinned out, since what an intruder saw answered must be on record. Whoever has made too much is slowed down: a connection
//! is not read, a world is not run, until the debt is paid ([`Pace::wait`]). A burst of one second's worth passes unhindered. What a world does
//! outside of any session (a program left running) has a share of its own.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use turncoat_event::{Origin, SessionId, WorldId};

/// Whose events are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Maker {
    Session(SessionId),
    World(WorldId),
}

impl Maker {
    fn of(origin: &Origin) -> Option<Maker> {
        origin
            .session
            .map(Maker::Session)
            .or_else(|| origin.world.map(Maker::World))
    }
}

/// A maker's account.
#[derive(Debug)]
struct Account {
    /// When everything so far would have been made at exactly the allowed rate (the virtual scheduling form of a leaky bucket).
    due: Instant,
    /// Its being slowed down was recorded.
    told: bool,
}

/// What may be ahead of the rate before anybody waits.
const BURST: Duration = Duration::from_secs(1);

/// An account that was even for so long is forgotten.
const IDLE: Duration = Duration::from_secs(60);

/// Accounts of all makers.
#[derive(Debug, Default)]
pub struct Pace {
    accounts: HashMap<Maker, Account>,
    /// The number of accounts at which the idle ones are looked for.
    crowded: usize,
}

impl Pace {
    /// Counts one event at `rate` per second (0: as many as it likes). True when its maker has to be slowed down and this is news.
    pub fn count(&mut self, origin: &Origin, rate: u64, now: Instant) -> bool {
        let (Some(maker), true) = (Maker::of(origin), rate > 0) else {
            return false;
        };
        if self.accounts.len() >= self.crowded.max(1024) {
            self.accounts.retain(|_, a| a.due + IDLE > now);
            self.crowded = self.accounts.len() * 2;
        }
        let account = self.accounts.entry(maker).or_insert(Account {
            due: now,
            told: false,
        });
        account.due = account.due.max(now) + Duration::from_nanos(1_000_000_000 / rate);
        let slow = account.due > now + BURST;
        let news = slow && !account.told;
        account.told |= slow;
        news
    }

    /// How long the maker waits.
    pub fn wait(&self, origin: &Origin, now: Instant) -> Duration {
        Maker::of(origin)
            .and_then(|maker| self.accounts.get(&maker))
            .map_or(Duration::ZERO, |a| a.due.saturating_duration_since(now + BURST))
    }

    /// The session is over.
    pub fn forget(&mut self, origin: &Origin) {
        if let Some(maker) = Maker::of(origin) {
            self.accounts.remove(&maker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(n: u8) -> Origin {
        Origin {
            session: Some(SessionId([n; 16])),
            ..Origin::default()
        }
    }

    #[test]
    fn a_burst_passes_and_what_is_beyond_it_waits_its_time() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for n in 0..100 {
            assert!(!pace.count(&session(1), 100, now), "event {n}");
        }
        assert_eq!(pace.wait(&session(1), now), Duration::ZERO);
        assert!(pace.count(&session(1), 100, now), "news");
        assert!(!pace.count(&session(1), 100, now), "no more news");
        assert_eq!(pace.wait(&session(1), now), Duration::from_millis(20));
        assert_eq!(
            pace.wait(&session(1), now + Duration::from_millis(15)),
            Duration::from_millis(5)
        );
        assert_eq!(
            pace.wait(&session(2), now),
            Duration::ZERO,
            "another session is free"
        );
        // At the rate itself nobody ever waits.
        let mut at = now + Duration::from_secs(3);
        for _ in 0..1000 {
            at += Duration::from_millis(10);
            pace.count(&session(1), 100, at);
            assert_eq!(pace.wait(&session(1), at), Duration::ZERO);
        }
        pace.forget(&session(1));
        assert!(pace.accounts.is_empty());
    }

    #[test]
    fn accounts_do_not_pile_up() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        for n in 0..100_000u64 {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&n.to_le_bytes());
            let origin = Origin {
                session: Some(SessionId(id)),
                ..Origin::default()
            };
            pace.count(&origin, 10, start + Duration::from_millis(n * 100));
            assert!(pace.accounts.len() <= 2048);
        }
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        (0..10_000).for_each(|_| assert!(!pace.count(&session(1), 0, now)));
        assert_eq!(pace.wait(&session(1), now), Duration::ZERO);
    }
}
