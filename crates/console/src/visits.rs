//! Who is logged in. A *visit* is one operator's login, kept in memory only: a restart ends all of them.
//!
//! A visit begins with a link that works once, or with the password. Both are bounded by `Brake`, for each address and in all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::secret::{trace, word};

/// Logins at once; beyond it the one unused for longest ends.
pub const MOST: usize = 64;

/// Links that wait to be used; beyond it the oldest no longer works.
pub const MOST_LINKS: usize = 16;

/// How long a link works, unless it was used.
pub const LINK_LASTS: Duration = Duration::from_secs(3600);

/// How long a login lasts however much it is used.
pub const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// An operator's login, as a request sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// Who, as the record names him: how and from where he logged in.
    pub operator: String,
    /// What every form must carry.
    pub csrf: String,
}

struct Entry {
    visit: Visit,
    began: Instant,
    used: Instant,
}

#[derive(Default)]
struct State {
    links: Vec<([u8; 32], Instant)>,
    visits: HashMap<[u8; 32], Entry>,
    brake: Brake,
}

/// All logins.
pub struct Visits {
    idle: Duration,
    state: Mutex<State>,
}

impl Visits {
    /// Nobody yet. A login ends after `idle` without use.
    pub fn new(idle: Duration) -> Visits {
        Visits {
            idle,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets this word be used once.
    pub fn allow(&self, link: &str, now: Instant) {
        let mut state = self.state();
        if state.links.len() >= MOST_LINKS {
            state.links.remove(0);
        }
        state.links.push((trace(link), now));
    }

    /// True while the address may try again; each try that [`Visits::failed`] tells of counts.
    pub fn may_try(&self, from: IpAddr, now: Instant) -> bool {
        self.state().brake.open(from, now)
    }

    /// A try that failed.
    pub fn failed(&self, from: IpAddr, now: Instant) {
        self.state().brake.count(from, now);
    }

    /// Uses a link up. True when it works.
    pub fn use_link(&self, link: &str, now: Instant) -> bool {
        let trace = trace(link);
        let mut state = self.state();
        state
            .links
            .retain(|(_, made)| now.saturating_duration_since(*made) < LINK_LASTS);
        let before = state.links.len();
        state.links.retain(|(known, _)| *known != trace);
        state.links.len() < before
    }

    /// Begins a login and gives the word for its cookie. `None` when the system gives no random bytes.
    pub fn begin(&self, operator: String, now: Instant) -> Option<String> {
        let (cookie, csrf) = (word()?, word()?);
        let mut state = self.state();
        if state.visits.len() >= MOST
            && let Some(oldest) = state.visits.iter().min_by_key(|(_, e)| e.used).map(|(k, _)| *k)
        {
            state.visits.remove(&oldest);
        }
        let visit = Visit { operator, csrf };
        let entry = Entry {
            visit,
            began: now,
            used: now,
        };
        state.visits.insert(trace(&cookie), entry);
        Some(cookie)
    }

    /// The login of a cookie.
    pub fn of(&self, cookie: &str, now: Instant) -> Option<Visit> {
        let key = trace(cookie);
        let mut state = self.state();
        let entry = state.visits.get_mut(&key)?;
        let over = now.saturating_duration_since(entry.used) > self.idle
            || now.saturating_duration_since(entry.began) > LONGEST;
        if over {
            state.visits.remove(&key);
            return None;
        }
        entry.used = now;
        Some(entry.visit.clone())
    }

    /// True while the login of this cookie lasts; that is no use of it.
    pub fn known(&self, cookie: &str) -> bool {
        self.state().visits.contains_key(&trace(cookie))
    }

    /// Ends a login.
    pub fn end(&self, cookie: &str) {
        self.state().visits.remove(&trace(cookie));
    }
}

/// Tries that failed: five from an address, then one in half a minute; twenty in all, then one in five seconds.
#[derive(Default)]
struct Brake {
    all: Bucket,
    by_address: HashMap<IpAddr, Bucket>,
}

#[derive(Default, Clone, Copy)]
struct Bucket {
    full: f64,
    at: Option<Instant>,
}

const ONE: (f64, f64) = (5.0, 30.0);
const ALL: (f64, f64) = (20.0, 5.0);
const MOST_ADDRESSES: usize = 1024;

impl Bucket {
    fn level(&self, now: Instant, seconds_each: f64) -> f64 {
        let passed = self
            .at
            .map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        (self.full - passed / seconds_each).max(0.0)
    }

    fn add(&mut self, now: Instant, seconds_each: f64) {
        self.full = self.level(now, seconds_each) + 1.0;
        self.at = Some(now);
    }
}

impl Brake {
    fn open(&self, from: IpAddr, now: Instant) -> bool {
        let one = self.by_address.get(&from).map_or(0.0, |b| b.level(now, ONE.1));
        one + 1.0 <= ONE.0 && self.all.level(now, ALL.1) + 1.0 <= ALL.0
    }

    fn count(&mut self, from: IpAddr, now: Instant) {
        if self.by_address.len() >= MOST_ADDRESSES {
            self.by_address.retain(|_, b| b.level(now, ONE.1) > 0.0);
        }
        if self.by_address.len() < MOST_ADDRESSES {
            self.by_address.entry(from).or_default().add(now, ONE.1);
        }
        self.all.add(now, ALL.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_works_once_and_not_for_ever() {
        let (visits, now) = (Visits::new(Duration::from_secs(60)), Instant::now());
        visits.allow("a", now);
        visits.allow("b", now);
        assert!(!visits.use_link("c", now));
        assert!(visits.use_link("a", now));
        assert!(!visits.use_link("a", now));
        assert!(!visits.use_link("b", now + LINK_LASTS));
    }

    #[test]
    fn a_login_ends_by_disuse_age_and_wish() {
        let (visits, now) = (Visits::new(Duration::from_secs(60)), Instant::now());
        let cookie = visits.begin("me".into(), now).unwrap();
        assert_eq!(
            visits
                .of(&cookie, now + Duration::from_secs(59))
                .unwrap()
                .operator,
            "me"
        );
        assert!(visits.of("other", now).is_none());
        assert!(visits.of(&cookie, now + Duration::from_secs(180)).is_none());
        let cookie = visits.begin("me".into(), now).unwrap();
        let mut at = now;
        while at < now + LONGEST {
            assert!(visits.of(&cookie, at).is_some());
            at += Duration::from_secs(50);
        }
        assert!(visits.of(&cookie, at + Duration::from_secs(50)).is_none());
        let cookie = visits.begin("me".into(), now).unwrap();
        visits.end(&cookie);
        assert!(visits.of(&cookie, now).is_none());
        let first = visits.begin("first".into(), now).unwrap();
        for n in 0..MOST as u64 {
            visits
                .begin("x".into(), now + Duration::from_millis(n + 1))
                .unwrap();
        }
        assert!(visits.of(&first, now + Duration::from_secs(1)).is_none());
    }

    #[test]
    fn guessing_is_slow_for_one_and_for_all() {
        let (visits, now) = (Visits::new(Duration::from_secs(60)), Instant::now());
        let ip = |n: u8| IpAddr::from([192, 0, 2, n]);
        for _ in 0..5 {
            assert!(visits.may_try(ip(1), now));
            visits.failed(ip(1), now);
        }
        assert!(!visits.may_try(ip(1), now) && visits.may_try(ip(2), now));
        assert!(visits.may_try(ip(1), now + Duration::from_secs(31)));
        for n in 2..17 {
            visits.failed(ip(n), now);
        }
        assert!(!visits.may_try(ip(200), now), "twenty failed in all");
        assert!(visits.may_try(ip(200), now + Duration::from_secs(6)));
    }
}
