//! Passwords that were refused, by source, until the machine that the source gets has them in its log.

use crate::auth::source_key;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use turncoat_cover::past::refused::{Ending, Refused, Try, visible};
use turncoat_event::Time;

/// Tries that are kept of a source.
const TRIES: usize = 50;
/// Sources whose tries are kept; past it, those of the one that began first are forgotten.
const SOURCES: usize = 4_096;
/// Bytes of a name that are kept: sshd's log cuts them, too.
const NAME: usize = 100;

#[derive(Default)]
struct Kept {
    sources: HashMap<IpAddr, VecDeque<(u64, Refused)>>,
    order: VecDeque<IpAddr>,
}

/// The tries of all sources.
#[derive(Default)]
pub struct Ledger(Mutex<Kept>);

fn micros(at: Time) -> u64 {
    u64::try_from(at.0 / 1_000).unwrap_or(0)
}

impl Ledger {
    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A password was refused on the connection `link`; it is answered at `at`.
    pub fn note(&self, from: SocketAddr, link: u64, at: Time, user: &[u8], known: bool) {
        let source = source_key(from.ip());
        let kept = &mut *self.kept();
        if !kept.sources.contains_key(&source) {
            if kept.order.len() >= SOURCES
                && let Some(first) = kept.order.pop_front()
            {
                kept.sources.remove(&first);
            }
            kept.order.push_back(source);
        }
        let all = kept.sources.entry(source).or_default();
        let one = Try {
            at: micros(at),
            user: visible(user.get(..NAME).unwrap_or(user)),
            known,
        };
        match all.iter_mut().find(|r| r.0 == link) {
            Some((_, r)) => r.tries.push(one),
            None => all.push_back((
                link,
                Refused {
                    from,
                    tries: vec![one],
                    ended: None,
                    how: Ending::Closed,
                },
            )),
        }
        // The oldest go first, a connection at a time.
        while all.len() > 1 && all.iter().map(|r| r.1.tries.len()).sum::<usize>() > TRIES {
            all.pop_front();
        }
    }

    /// The connection is over.
    pub fn ended(&self, from: SocketAddr, link: u64, at: Time, how: Ending) {
        let kept = &mut *self.kept();
        let of = kept.sources.get_mut(&source_key(from.ip()));
        if let Some((_, r)) = of.and_then(|all| all.iter_mut().find(|r| r.0 == link)) {
            r.ended = Some(micros(at));
            r.how = how;
        }
    }

    /// Takes what is kept of a source whose connection `link` was let in: what is over, and that connection's own.
    pub fn take(&self, from: SocketAddr, link: u64) -> Vec<Refused> {
        let source = source_key(from.ip());
        let kept = &mut *self.kept();
        let Some(all) = kept.sources.remove(&source) else {
            return Vec::new();
        };
        let (told, open): (VecDeque<_>, VecDeque<_>) = all
            .into_iter()
            .partition(|(l, r)| r.ended.is_some() || *l == link);
        if open.is_empty() {
            kept.order.retain(|s| *s != source);
        } else {
            kept.sources.insert(source, open);
        }
        told.into_iter().map(|r| r.1).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([198, 51, 100, 7], port))
    }

    #[test]
    fn the_last_of_a_source_are_kept_and_given_once() {
        let l = Ledger::default();
        for n in 0..70u64 {
            l.note(
                at(1000 + n as u16),
                n,
                Time(n as i64 * 1_000_000_000),
                b"root",
                true,
            );
            l.ended(
                at(1000 + n as u16),
                n,
                Time(n as i64 * 1_000_000_000 + 1),
                Ending::Reset,
            );
        }
        l.note(at(9), 900, Time(99_000_000_000), b"a\nb", false);
        let given = l.take(at(9), 900);
        assert_eq!(given.len(), TRIES);
        assert_eq!(given.first().unwrap().tries[0].at, 21_000_000);
        let last = given.last().unwrap();
        assert_eq!((last.tries[0].user.as_str(), last.ended), ("a\\nb", None));
        assert!(l.take(at(9), 900).is_empty());
    }

    #[test]
    fn what_goes_on_is_told_later_and_sources_are_bounded() {
        let l = Ledger::default();
        l.note(at(1), 1, Time(5), b"root", true);
        assert!(l.take(at(2), 2).is_empty());
        l.ended(at(1), 1, Time(7_000), Ending::Closed);
        assert_eq!(l.take(at(2), 2).len(), 1);
        for n in 0..SOURCES as u32 + 9 {
            let from = SocketAddr::from((std::net::Ipv4Addr::from(0xcb00_0000 + n), 5));
            l.note(from, u64::from(n), Time(1), b"x", false);
        }
        let kept = l.kept();
        assert_eq!((kept.sources.len(), kept.order.len()), (SOURCES, SOURCES));
    }
}
