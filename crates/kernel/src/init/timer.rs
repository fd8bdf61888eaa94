//! Timers (systemd.timer(5)): when they fire, and what they start then.
//!
//! Timers that the machine came with are told by its log and do not fire, so that an idle world wakes up for nothing; those that somebody
//! added or changed do.

use super::calendar::Calendar;
use super::jobs::{Later, Work};
use super::props::span;
use super::state::triggered;
use super::unit::{self, Unit};
use super::wire::Value;
use crate::time::SEC;
use crate::world::World;
use turncoat_cover::clock::{ZONES, Zone};
use turncoat_freeze::Freeze;

/// Microseconds of a second and of a minute.
pub(super) const USEC: u64 = 1_000_000;
pub(super) const MINUTE: u64 = 60 * USEC;
/// When the manager began, in microseconds after the kernel.
const USERSPACE: u64 = 1_200_000;
/// Least time between two turns of a timer, in microseconds: what it starts may end at once.
const LEAST: u64 = USEC / 10;
/// What a turn costs of the world's time, in instructions.
const COST: u64 = 400_000;
/// Where timers with `Persistent=` leave the moment of a turn, for their next start.
const STAMPS: &str = "/var/lib/systemd/timers";
/// The settings that say when a timer fires.
pub(super) const ELAPSES: [&str; 6] = [
    "OnCalendar",
    "OnActiveSec",
    "OnBootSec",
    "OnStartupSec",
    "OnUnitActiveSec",
    "OnUnitInactiveSec",
];

/// When a timer fires next on the wall clock and by the monotonic clock, and when it fired last on both, in microseconds; 0: not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Freeze)]
pub(crate) struct Elapses {
    pub realtime: u64,
    pub monotonic: u64,
    pub last: u64,
    pub last_monotonic: u64,
    /// When what it starts changed last, as far as it has been looked at.
    seen: u64,
}

/// A moment between two at which others wake up too: the same second of each minute, or of ten seconds, on one machine (sleep_between in
/// sd-event.c). Microseconds.
fn between(a: u64, b: u64, perturb: u64) -> u64 {
    if b <= a + 1 {
        return a;
    }
    for period in [MINUTE, 10 * USEC, USEC, USEC / 4] {
        let mut c = b / period * period + perturb % period;
        if c >= b {
            match c.checked_sub(period) {
                Some(earlier) => c = earlier,
                None => return b,
            }
        }
        if c >= a {
            return c;
        }
    }
    b
}

impl World {
    /// When a timer fires and fired: as it was reckoned, as the machine's log tells it, or by its calendar.
    pub(super) fn elapses(&mut self, u: &Unit) -> Elapses {
        if let Some(e) = self.init.runs.get(&u.name).and_then(|r| r.timer.as_deref()) {
            return *e;
        }
        let offset = self.clock.offset() / 1_000;
        let now = (self.clock.real() / SEC) as i64;
        let booted = (offset / USEC) as i64;
        let us = |s: i64| s.max(0) as u64 * USEC;
        let up = self.init.runs.get(&u.name).map_or(0, |r| r.active_enter / 1_000);
        let mut out = Elapses::default();
        if up == 0 || !self.was_there(u) {
            return out;
        }
        let service = triggered(u);
        let told = self.facts_of.timers.clone();
        if let Some((last, next)) = told.and_then(|t| Some((t.ran(&service, now)?, t.runs(&service, now)?))) {
            out.last = if last > booted { us(last) } else { 0 };
            out.last_monotonic = out.last.saturating_sub(offset);
            match u.get("Timer", "OnCalendar") {
                Some(_) => out.realtime = us(next),
                None => out.monotonic = us(next).saturating_sub(offset),
            }
            return out;
        }
        let zone = self.zone();
        if let Some(c) = u.get("Timer", "OnCalendar").and_then(Calendar::parse) {
            let late = (self.delay(u, 0) / USEC) as i64;
            out.realtime = c.step(now - late, &zone, false).map_or(0, |t| us(t + late));
            let last = c.step(now - late, &zone, true).map_or(0, |t| t + late);
            out.last = if last > booted { us(last) } else { 0 };
            out.last_monotonic = out.last.saturating_sub(offset);
        }
        let spans = [("OnBootSec", 0), ("OnStartupSec", 0), ("OnActiveSec", up)];
        let all = spans
            .into_iter()
            .filter_map(|(key, from)| Some(from + span(u.get("Timer", key)?)? / 1_000));
        let uptime = self.clock.mono() / 1_000;
        out.monotonic = all.filter(|t| *t > uptime).min().unwrap_or(0);
        out
    }

    /// The machine's time zone.
    pub(super) fn zone(&self) -> Zone {
        self.facts_of.zone.unwrap_or(ZONES[0].0)
    }

    /// What RandomizedDelaySec adds for a turn, in microseconds.
    fn delay(&self, u: &Unit, turn: u64) -> u64 {
        let most = u.get("Timer", "RandomizedDelaySec").and_then(span).unwrap_or(0) / 1_000;
        let turn = if u.flag("Timer", "FixedRandomDelay") == Some(true) {
            0
        } else {
            turn
        };
        let drawn = self.bus_guid().into_bytes().into_iter().chain(u.name.bytes());
        let drawn = drawn.chain(turn.to_le_bytes()).fold(7u64, |h, b| {
            h.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(b.into())
        });
        (drawn >> 8) % most.max(1)
    }

    /// Where in its minute this machine wakes up, by its boot id (initialize_perturb in sd-event.c). Microseconds.
    fn perturb(&self) -> u64 {
        let digits: Vec<u8> = self
            .facts_of
            .boot_id
            .bytes()
            .filter(u8::is_ascii_hexdigit)
            .collect();
        let digit = |b: &u8| char::from(*b).to_digit(16).unwrap_or(0) as u64;
        let bytes: Vec<u64> = digits
            .chunks_exact(2)
            .map(|d| digit(&d[0]) << 4 | digit(&d[1]))
            .collect();
        let word = |at: usize| bytes.iter().skip(at).take(8).rev().fold(0u64, |w, b| w << 8 | b);
        (word(0) ^ word(8)) % MINUTE
    }

    /// A timer starts: it reckons when it fires, if that is for it to do.
    pub(super) fn timer_starts(&mut self, u: &Unit) {
        if self.was_there(u) {
            return;
        }
        let mut e = Elapses::default();
        if u.flag("Timer", "Persistent") == Some(true) {
            let stamp = format!("{STAMPS}/stamp-{}", u.name);
            let now = self.clock.real() / 1_000;
            match self.look(stamp.as_bytes()) {
                Some(l) => {
                    let at = l.mtime.sec.max(0) as u64 * USEC + u64::from(l.mtime.nsec) / 1_000;
                    e.last = Some(at).filter(|at| *at < now).unwrap_or(0);
                }
                None => self.put_file(stamp.as_bytes(), b""),
            }
        }
        if let Some(r) = self.init.runs.get_mut(&u.name) {
            r.timer = Some(Box::new(e));
        }
        self.timer_waits(&u.name);
    }

    /// Reckons when a timer fires next (timer_enter_waiting in timer.c).
    fn timer_waits(&mut self, name: &str) {
        let (now, real) = (self.clock.mono() / 1_000, self.clock.real() / 1_000);
        let offset = self.clock.offset() / 1_000;
        let Some((u, mut e, since)) = self.init.runs.get(name).and_then(|r| {
            let e = **r.timer.as_ref()?;
            Some((r.unit.clone(), e, r.inactive_exit / 1_000))
        }) else {
            return;
        };
        let what = self.real_name(&triggered(&u));
        let (began, ended, seen) = (self.init.runs.get(&what)).map_or((0, 0, 0), |r| {
            (r.inactive_exit / 1_000, r.inactive_enter / 1_000, r.changed)
        });
        let zone = self.zone();
        let from = if e.last != 0 { e.last } else { since + offset };
        let calendars = u.all("Timer", "OnCalendar").into_iter().take(32);
        let realtime = calendars
            .filter_map(Calendar::parse)
            .filter_map(|c| c.step((from / USEC) as i64, &zone, false))
            .map(|t| (t.max(0) as u64 * USEC).max(offset + USERSPACE))
            .min();
        let mut monotonic: Option<u64> = None;
        for key in ELAPSES.into_iter().skip(1) {
            let base = match key {
                "OnActiveSec" => Some(since),
                "OnBootSec" => Some(0),
                "OnStartupSec" => Some(USERSPACE),
                "OnUnitActiveSec" => Some(began.max(e.last_monotonic)).filter(|b| *b > 0),
                _ if ended > 0 => Some(ended),
                _ => Some(e.last_monotonic).filter(|b| *b > 0),
            };
            for value in u.all("Timer", key).into_iter().take(32).filter_map(span) {
                let Some(at) = base.map(|b| b.saturating_add(value / 1_000)) else {
                    continue;
                };
                // What counts from a moment that does not come again has one turn.
                let once = !key.starts_with("OnUnit") && e.last_monotonic != 0 && at < now;
                if !once {
                    monotonic = Some(monotonic.map_or(at, |m| m.min(at)));
                }
            }
        }
        e.realtime = realtime.map_or(0, |t| t + self.delay(&u, t));
        e.monotonic = monotonic.map_or(0, |t| t + self.delay(&u, t));
        e.seen = seen;
        let accuracy = u.get("Timer", "AccuracySec").and_then(span).unwrap_or(60 * SEC) / 1_000;
        let perturb = self.perturb();
        let wakes = |at: u64, now: u64| between(at.max(now), at.saturating_add(accuracy).max(now), perturb);
        let by_clock = (e.realtime != 0).then(|| wakes(e.realtime, real).saturating_sub(offset));
        let by_span = (e.monotonic != 0).then(|| wakes(e.monotonic, now));
        let due = by_clock.into_iter().chain(by_span).min();
        let over = u.flag("Timer", "RemainAfterElapse") == Some(false);
        self.forget_timer(name);
        let at = self.clock.mono();
        if let Some(r) = self.init.runs.get_mut(name) {
            r.timer = Some(Box::new(e));
            match due {
                Some(_) => r.set("active", "waiting", at),
                None if over => r.set("inactive", "dead", at),
                None => r.set("active", "elapsed", at),
            }
        }
        if let Some(due) = due {
            let due = due.max(match e.last_monotonic {
                0 => now,
                last => last + LEAST,
            });
            self.init_later(due.saturating_mul(1_000).max(at), Later::Elapse(name.to_owned()));
        }
    }

    /// A timer does not wait any more.
    pub(super) fn forget_timer(&mut self, name: &str) {
        self.init
            .later
            .retain(|(_, l)| !matches!(l, Later::Elapse(n) if n == name));
    }

    /// A timer has its turn.
    pub(super) fn timer_fires(&mut self, name: &str) {
        let now = self.clock.mono();
        let (mono, real) = (now / 1_000, self.clock.real() / 1_000);
        let Some(r) = self.init.runs.get_mut(name).filter(|r| r.sub == "waiting") else {
            return;
        };
        let Some(e) = r.timer.as_deref_mut() else { return };
        let ripe = |at: u64, now: u64| at != 0 && at <= now;
        if !ripe(e.realtime, real) && !ripe(e.monotonic, mono) {
            // The wall clock was set.
            return self.timer_waits(name);
        }
        (e.last, e.last_monotonic) = (real, mono);
        r.set("active", "running", now);
        self.init.spent += COST;
        let Some(r) = self.init.runs.get(name) else { return };
        let u = r.unit.clone();
        if u.flag("Timer", "Persistent") == Some(true) {
            self.put_file(format!("{STAMPS}/stamp-{name}").as_bytes(), b"");
        }
        let what = triggered(&u);
        match self.known(&what).filter(|u| !u.masked) {
            Some(started) => {
                self.queue(&started, Work::Start);
                self.began_itself("timer", &u.path, &started);
            }
            None => {
                let why = format!("Unit {what} not found.");
                self.init_says(4, format!("{name}: Failed to queue unit startup job: {why}"));
                self.init_says(4, format!("{name}: Failed with result 'resources'."));
                if let Some(r) = self.init.runs.get_mut(name) {
                    r.result = "resources";
                    r.set("failed", "failed", now);
                }
            }
        }
    }

    /// Timers whose service has ended, or was started by somebody else, reckon anew.
    pub(super) fn look_at_timers(&mut self) {
        let armed = self.init.runs.iter().filter(|(_, r)| r.timer.is_some());
        let all: Vec<(String, String)> = armed
            .filter(|(_, r)| r.active == "active")
            .map(|(n, r)| (n.clone(), triggered(&r.unit)))
            .collect();
        for (name, what) in all {
            let what = self.real_name(&what);
            let (changed, down) = (self.init.runs.get(&what)).map_or((0, true), |r| {
                (r.changed, matches!(r.active, "inactive" | "failed"))
            });
            let Some(r) = self.init.runs.get(&name) else {
                continue;
            };
            let follows = || r.timer.as_ref().is_some_and(|e| e.seen != changed);
            if r.sub == "running" && down || r.sub != "running" && follows() {
                self.timer_waits(&name);
            }
        }
    }

    /// A unit that a timer or the boot has started goes on record.
    pub(super) fn began_itself(&mut self, by: &'static str, path: &str, u: &Unit) {
        let ran = self
            .init
            .runs
            .get(&u.name)
            .and_then(|r| r.ran.last().map(|x| x.pid));
        let user = u.get("Service", "User").unwrap_or("root");
        let fact = crate::Fact::Job {
            by,
            path: path.as_bytes().to_vec(),
            user: user.as_bytes().to_vec(),
            command: u
                .get("Service", "ExecStart")
                .unwrap_or_default()
                .as_bytes()
                .to_vec(),
            pid: ran.filter(|p| *p != 0),
        };
        self.fact(1, fact);
    }
}

/// Whether a timer says when it fires.
pub(super) fn says_when(u: &Unit) -> bool {
    ELAPSES.iter().any(|k| !u.all("Timer", k).is_empty())
}

/// The properties TimersCalendar and TimersMonotonic of a timer: each setting with the moment that is next.
pub(super) fn settings(u: &Unit, e: &Elapses) -> [Value; 2] {
    let calendars = u.all("Timer", "OnCalendar").into_iter().map(|c| {
        Value::Struct(vec![
            Value::str("OnCalendar"),
            Value::str(c),
            Value::U64(e.realtime),
        ])
    });
    let mut spans = Vec::new();
    for key in ELAPSES.into_iter().skip(1) {
        for span in u.all("Timer", key).into_iter().filter_map(span) {
            spans.push(Value::Struct(vec![
                Value::str(monotonic_name(key)),
                Value::U64(span / 1_000),
                Value::U64(e.monotonic),
            ]));
        }
    }
    [
        Value::Array("(sst)".into(), calendars.collect()),
        Value::Array("(stt)".into(), spans),
    ]
}

fn monotonic_name(key: &'static str) -> &'static str {
    match key {
        "OnActiveSec" => "OnActiveUSec",
        "OnBootSec" => "OnBootUSec",
        "OnStartupSec" => "OnStartupUSec",
        "OnUnitActiveSec" => "OnUnitActiveUSec",
        _ => "OnUnitInactiveUSec",
    }
}

impl World {
    /// Whether a unit is as it was before anybody came: the machine's own timers do not fire.
    pub(super) fn was_there(&mut self, u: &Unit) -> bool {
        let own = self.init.own.clone();
        if own.get(&u.name) != Some(u) {
            return false;
        }
        if unit::kind(&u.name) != Some("timer") {
            return true;
        }
        let what = triggered(u);
        match own.get(&what) {
            Some(was) => self.unit(&what).as_ref() == Some(was),
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wakes_fall_together() {
        let p = 17 * USEC + 250_000;
        assert_eq!(between(100 * USEC, 160 * USEC, p), 137_250_000);
        assert_eq!(between(100 * USEC, 100 * USEC, p), 100 * USEC);
        assert_eq!(between(100 * USEC, 101 * USEC, p), 100_250_000);
        assert_eq!(between(140 * USEC, 155 * USEC, p), 147_250_000);
    }
}
