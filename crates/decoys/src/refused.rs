//! Passwords that the machine refused lately, whoever tried them: its worlds have them in their logs when somebody looks.
//!
//! A server that stands in the internet has nothing in its log as often. The decoy refuses by itself, without a world; so what was refused
//! is kept here, each connection with the number of the process that would have served it, and a world that somebody is in takes from here
//! what its log has not got yet. Two worlds of one machine tell the same, to the last number.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use turncoat_cover::past::pids;
use turncoat_cover::past::refused::{Asked, Ending, Refused, Try, visible};
use turncoat_event::{Time, WorldId};

/// Tries that are kept. Each costs a world some 3 KiB of its journal.
const TRIES: usize = 120;
/// Bytes of a name that are kept: sshd's log cuts them, too.
const NAME: usize = 100;

/// One connection.
struct Kept {
    link: u64,
    refused: Refused,
    /// Somebody was let in on it at last.
    inside: bool,
    /// The world whose own programs log it.
    own: Option<WorldId>,
}

#[derive(Default)]
struct All {
    /// In the order in which they were first refused.
    kept: VecDeque<Kept>,
    /// The number of a process that was given last.
    pid: u32,
    /// Where that is due by then.
    moved: u32,
}

/// What was refused.
pub struct Ledger {
    /// When the machine was started, in seconds since the epoch.
    booted: i64,
    all: Mutex<All>,
}

/// Who is refused, and where.
pub struct Who<'a> {
    /// The client.
    pub from: SocketAddr,
    /// Its connection.
    pub link: u64,
    /// Who asked for the password.
    pub by: Asked,
    /// The world whose own programs log it.
    pub own: Option<WorldId>,
    /// The name that was given.
    pub user: &'a [u8],
    /// The machine has the account.
    pub known: bool,
}

fn micros(at: Time) -> u64 {
    u64::try_from(at.0 / 1_000).unwrap_or(0)
}

impl Ledger {
    /// For a machine that was started at this second since the epoch.
    pub fn new(booted: i64) -> Ledger {
        Ledger {
            booted,
            all: Mutex::default(),
        }
    }

    fn all(&self) -> std::sync::MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A password was refused; it is answered at `at`.
    pub fn note(&self, who: &Who<'_>, at: Time) {
        let all = &mut *self.all();
        let one = Try {
            at: micros(at),
            user: visible(who.user.get(..NAME).unwrap_or(who.user)),
            known: who.known,
        };
        if let Some(k) = all.kept.iter_mut().rev().find(|k| k.link == who.link) {
            k.refused.tries.push(one);
        } else {
            // The counter goes on with time, and each connection takes two.
            let here = pids::at(self.booted, at.seconds());
            all.pid = (all.pid + here.saturating_sub(all.moved) + 2).max(here);
            all.moved = here;
            all.kept.push_back(Kept {
                link: who.link,
                refused: Refused {
                    from: who.from,
                    by: who.by,
                    pid: all.pid,
                    tries: vec![one],
                    ended: None,
                    how: Ending::Closed,
                },
                inside: false,
                own: who.own,
            });
        }
        // The oldest go first, a connection at a time.
        let mut tries: usize = all.kept.iter().map(|k| k.refused.tries.len()).sum();
        while tries > TRIES
            && all.kept.len() > 1
            && let Some(first) = all.kept.pop_front()
        {
            tries -= first.refused.tries.len();
        }
    }

    /// The connection is over.
    pub fn ended(&self, link: u64, at: Time, how: Ending) {
        let all = &mut *self.all();
        if let Some(k) = all.kept.iter_mut().rev().find(|k| k.link == link && !k.inside) {
            k.refused.ended = Some(micros(at));
            k.refused.how = how;
        }
    }

    /// Somebody was let in on this connection after all. Gives the process that serves it, if its log has it already.
    pub fn let_in(&self, link: u64) -> Option<u32> {
        let all = &mut *self.all();
        let k = all.kept.iter_mut().rev().find(|k| k.link == link)?;
        k.inside = true;
        Some(k.refused.pid)
    }

    /// What has happened since `after` and is not in the log of this world by itself, in the order of its beginning.
    pub fn since(&self, after: Time, world: WorldId) -> Vec<Refused> {
        let after = micros(after);
        self.all()
            .kept
            .iter()
            .filter(|k| k.own != Some(world) && k.refused.last() > after)
            .map(|k| k.refused.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOTED: i64 = 1_000;

    fn who(n: u64, user: &[u8]) -> Who<'_> {
        Who {
            from: SocketAddr::from(([198, 51, 100, 7], 1000 + n as u16)),
            link: n,
            by: Asked::Sshd,
            own: None,
            user,
            known: true,
        }
    }

    fn second(n: u64) -> Time {
        Time((BOOTED + n as i64) * 1_000_000_000)
    }

    fn world(n: u8) -> WorldId {
        WorldId::new(Time(0), [n; 10])
    }

    #[test]
    fn the_last_are_kept_each_with_a_number_of_its_own() {
        let l = Ledger::new(BOOTED);
        for n in 0..TRIES as u64 + 70 {
            l.note(&who(n, b"root"), second(n));
            l.ended(n, second(n), Ending::Reset);
        }
        l.note(&who(900, b"a\nb"), second(901));
        let all = l.since(Time(0), world(1));
        assert_eq!(all.len(), TRIES);
        assert!(all.windows(2).all(|w| w[1].pid >= w[0].pid + 2));
        assert!(
            all.iter()
                .all(|r| r.pid >= pids::at(BOOTED, r.tries[0].at as i64 / 1_000_000))
        );
        let last = all.last().unwrap();
        assert_eq!((last.tries[0].user.as_str(), last.ended), ("a\\nb", None));
        assert_eq!(l.since(second(900), world(1)), std::slice::from_ref(last));
        assert_eq!(l.since(second(901), world(1)), []);
    }

    #[test]
    fn what_goes_on_is_told_as_far_as_it_is_and_who_is_let_in_does_not_end() {
        let l = Ledger::new(BOOTED);
        l.note(&who(1, b"root"), second(5));
        assert_eq!(l.since(Time(0), world(1))[0].ended, None);
        l.note(&who(1, b"root"), second(8));
        let pid = l.let_in(1).unwrap();
        l.ended(1, second(20), Ending::Closed);
        let all = l.since(second(5), world(1));
        assert_eq!(
            (all.len(), all[0].tries.len(), all[0].pid, all[0].ended),
            (1, 2, pid, None)
        );
        assert_eq!(l.let_in(2), None);
    }

    #[test]
    fn what_a_world_logs_itself_is_told_to_others_only() {
        let l = Ledger::new(BOOTED);
        let telnet = Who {
            by: Asked::Login,
            own: Some(world(1)),
            ..who(1, b"root")
        };
        l.note(&telnet, second(5));
        assert_eq!(l.since(Time(0), world(1)), []);
        assert_eq!(l.since(Time(0), world(2)).len(), 1);
    }
}
