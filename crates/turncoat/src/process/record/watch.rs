//! Threads that look now and then: heartbeats, the clock, a front that is silent, the quota.

use std::time::{Duration, Instant};

use turncoat_event::kinds::{Heartbeat, SystemRecovered};
use turncoat_event::{Draft, Time};
use turncoat_store::keep::Quota;

use super::{Pen, Shared, degraded};
use crate::config::Settings;
use crate::process::{now, say};

/// How far the system's clock may go wrong between two looks before that counts as a jump, in nanoseconds.
const JUMP: i64 = 300_000_000_000;

/// Compares the system's clock with one that never jumps.
struct Clock {
    wall: Time,
    steady: Instant,
}

impl Clock {
    /// Nanoseconds by which the clock jumped since the last look, forward or back; `None` when it did not.
    fn look(&mut self, wall: Time, steady: Instant) -> Option<i64> {
        let elapsed = steady.saturating_duration_since(self.steady).as_nanos();
        let jump = wall
            .since(self.wall)
            .saturating_sub(i64::try_from(elapsed).unwrap_or(i64::MAX));
        (self.wall, self.steady) = (wall, steady);
        (jump.saturating_abs() > JUMP).then_some(jump)
    }
}

/// Heartbeats, and a look at the clock.
pub(super) fn watch(shared: &Shared, pen: &Pen) {
    let (mut beat, mut steady) = (Instant::now(), Instant::now());
    let mut clock = Clock {
        wall: now(),
        steady: Instant::now(),
    };
    loop {
        std::thread::sleep(Duration::from_secs(1));
        if let Some(jump) = clock.look(now(), Instant::now()) {
            let text = format!(
                "the system's clock jumped by {} seconds; nothing is removed for its age for a day",
                jump / 1_000_000_000
            );
            say("record", &text);
            shared.status().clock_jumped = Some(Instant::now());
            pen.own(degraded("clock", &text));
        }
        if steady.elapsed() > Duration::from_secs(5) {
            // We stood still ourselves: what the front said meanwhile is not read yet.
            shared.status().front_seen = Some(Instant::now());
        }
        steady = Instant::now();
        look_at_front(shared, pen);
        let every = shared.settings().heartbeat.every;
        if every.0 > 0 && beat.elapsed() >= every.duration() {
            beat = Instant::now();
            let sessions = shared.status().open as u64;
            let uptime = shared.started.elapsed().as_secs();
            pen.own(Draft::of_system(
                now(),
                Heartbeat {
                    uptime,
                    sessions,
                    events: shared.committed.committed().0,
                },
            ));
        }
    }
}

/// The front says something every few seconds, if only that it works. One that is silent answers nobody.
fn look_at_front(shared: &Shared, pen: &Pen) {
    let patience = shared.settings().alert.silence.duration();
    let mut status = shared.status();
    let silent = !patience.is_zero() && status.front_seen.is_some_and(|t| t.elapsed() > patience);
    if silent == status.front_silent {
        return;
    }
    status.front_silent = silent;
    drop(status);
    if silent {
        let detail = format!(
            "the front process has said nothing for {} s: decoys do not answer",
            patience.as_secs()
        );
        say("record", &detail);
        pen.own(degraded("silent", &detail));
    } else {
        pen.own(Draft::of_system(
            now(),
            SystemRecovered {
                problem: "silent".into(),
                detail: "the front process works again".into(),
            },
        ));
    }
}

/// Keeps the record within its quota: soon after the start, then every ten minutes.
pub(super) fn keep(shared: &Shared, pen: &Pen) {
    std::thread::sleep(Duration::from_secs(20));
    loop {
        let quota = quota(&shared.settings(), shared.status().clock_jumped, Instant::now());
        let key = shared.source_key.clone();
        match pen.ask(move |writer| writer.keep_within(&quota, &key, now())) {
            Some(Ok(kept)) if kept.evicted + kept.aged > 0 => {
                if let Err(why) = shared
                    .minded
                    .ask(pen, |mind, writer| mind.keeper.purge(writer.database()))
                {
                    say("record", &format!("removing old sessions from campaigns: {why}"));
                }
                say(
                    "record",
                    &format!(
                        "{} sessions removed for their age, {} for want of space",
                        kept.aged, kept.evicted
                    ),
                );
            }
            Some(Err(error)) => say("record", &format!("keeping the quota: {error}")),
            Some(Ok(_)) => {}
            None => return,
        }
        std::thread::sleep(Duration::from_secs(600));
    }
}

/// What the record may hold by the settings. For a day after the clock `jumped` nobody knows how old anything is.
fn quota(settings: &Settings, jumped: Option<Instant>, now: Instant) -> Quota {
    let sure = jumped.is_none_or(|t| now.saturating_duration_since(t) >= Duration::from_secs(86_400));
    Quota {
        bytes: settings.record.max_size.0,
        age: settings.record.max_age.nanos().filter(|_| sure),
        pseudonymise: settings.record.pseudonymise_after.nanos().filter(|_| sure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_is_noticed_and_makes_nothing_old() {
        let (wall, steady) = (Time(1_795_000_000_000_000_000), Instant::now());
        let mut clock = Clock { wall, steady };
        let second = Duration::from_secs(1);
        assert_eq!(clock.look(wall.plus_nanos(1_000_000_000), steady + second), None);
        // A correction by a minute is none; half a year forward, and back again, is.
        assert_eq!(
            clock.look(wall.plus_nanos(62_000_000_000), steady + second * 2),
            None
        );
        let year = 15_000_000_000_000_000;
        let forward = clock.look(wall.plus_nanos(year), steady + second * 3).unwrap();
        assert!(forward > year - 100_000_000_000, "{forward}");
        assert!(clock.look(wall, steady + second * 4).unwrap() < -year);
        assert_eq!(
            clock.look(wall.plus_nanos(1_000_000_000), steady + second * 5),
            None
        );
        assert!(clock.look(Time(i64::MIN), steady + second * 6).is_some());

        let mut settings = Settings::default();
        settings.record.max_age = "30d".parse().unwrap();
        settings.record.pseudonymise_after = "7d".parse().unwrap();
        let jumped = |ago: u64| quota(&settings, Some(steady), steady + Duration::from_secs(ago));
        assert_eq!((jumped(10).age, jumped(10).pseudonymise), (None, None));
        assert!(jumped(86_400).age.is_some() && jumped(86_400).pseudonymise.is_some());
        assert!(quota(&settings, None, steady).age.is_some());
    }
}
