//! Whether so many sessions are busy at once that a batch is worth waiting for.
//!
//! A commit costs nearly the same for one event as for a hundred. One person at a keyboard is answered at once; a crowd that tries
//! passwords is answered some milliseconds later, the larger it is the later, and costs a fraction. It waits before it is sent to the
//! record, so that one batch goes all the way.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use turncoat_event::{Item, SessionId};

/// Sessions that make a crowd.
const CROWD: usize = 16;
/// The time in which they are counted.
const WINDOW: Duration = Duration::from_millis(100);
/// How long a batch waits for more, for each such number of sessions.
const GATHER: Duration = Duration::from_millis(5);
/// Beyond so many nobody waits longer.
const MOST: usize = CROWD * 5;

/// Counts the sessions that something happens in.
pub struct Crowd {
    begun: Instant,
    seen: HashSet<SessionId>,
    /// How many they were in the last whole window.
    last: usize,
}

impl Default for Crowd {
    fn default() -> Crowd {
        Crowd::new(Instant::now())
    }
}

impl Crowd {
    /// Nobody yet.
    pub fn new(now: Instant) -> Crowd {
        Crowd {
            begun: now,
            seen: HashSet::new(),
            last: 0,
        }
    }

    /// Looks at what comes.
    pub fn see(&mut self, item: &Item, now: Instant) {
        let passed = now.saturating_duration_since(self.begun);
        if passed >= WINDOW {
            self.last = if passed < WINDOW * 2 { self.seen.len() } else { 0 };
            self.seen.clear();
            self.begun = now;
        }
        let session = match item {
            Item::Event(draft) => draft.origin.session,
            Item::Frame(frame) => Some(frame.session),
            Item::Artifact(_) | Item::Journal(_) => None,
        };
        if self.seen.len() < MOST {
            self.seen.extend(session);
        }
    }

    /// How long to wait for more before a batch is sent off; zero while few are here.
    pub fn patience(&self) -> Duration {
        let here = self.last.max(self.seen.len()).min(MOST);
        GATHER * (here / CROWD) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turncoat_event::{Direction, Frame, Time};

    fn said(n: u8) -> Item {
        Item::Frame(Frame {
            session: SessionId::new(Time(0), [n; 10]),
            time: Time(0),
            channel: 0,
            direction: Direction::Input,
            bytes: vec![0],
        })
    }

    #[test]
    fn only_a_crowd_is_waited_for() {
        let begin = Instant::now();
        let mut crowd = Crowd::new(begin);
        // One session with much to say is no crowd.
        for _ in 0..100 {
            crowd.see(&said(1), begin);
        }
        assert_eq!(crowd.patience(), Duration::ZERO);
        let many: Vec<Item> = (0..CROWD as u8).map(said).collect();
        many.iter().for_each(|item| crowd.see(item, begin));
        assert_eq!(crowd.patience(), GATHER);
        // They are remembered for a window, and not longer.
        crowd.see(&said(1), begin + WINDOW);
        assert_eq!(crowd.patience(), GATHER);
        crowd.see(&said(1), begin + WINDOW * 2);
        assert_eq!(crowd.patience(), Duration::ZERO);
        let all: Vec<Item> = (0..=u8::MAX).map(said).collect();
        let later = begin + WINDOW * 2;
        all[..3 * CROWD].iter().for_each(|item| crowd.see(item, later));
        assert_eq!(crowd.patience(), GATHER * 3);
        all.iter().for_each(|item| crowd.see(item, later));
        assert_eq!(crowd.patience(), GATHER * 5, "nobody waits longer than that");
        crowd.see(&said(1), begin + WINDOW * 4);
        many.iter().for_each(|item| crowd.see(item, later));
        crowd.see(&said(1), begin + WINDOW * 9);
        assert_eq!(crowd.patience(), Duration::ZERO);
    }
}
