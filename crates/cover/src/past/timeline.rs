//! Boots, logins and failed logins from the installation to now, drawn once; every log tells of these.

use super::pids;
use super::upgrades::Run;
use crate::clock::Civil;
use crate::cover::Cover;
use crate::kernels;
use std::net::Ipv4Addr;

/// One boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// When the kernel started.
    pub at: i64,
    /// When the machine went down; None for the one that runs.
    pub down: Option<i64>,
    /// `uname -r`.
    pub release: String,
}

/// One login by SSH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Index into the cover's users.
    pub user: usize,
    /// When.
    pub at: i64,
    /// Until when.
    pub until: i64,
    /// Process id of the session's sshd.
    pub pid: u32,
    /// Number of the pseudo-terminal.
    pub pts: u32,
    /// logind's number of the session.
    pub number: u32,
    /// From where.
    pub from: Ipv4Addr,
    /// The client's port.
    pub port: u16,
    /// Root's shell in it.
    pub root: Option<RootShell>,
}

/// By so much the number of the sshd that holds a session's terminal is higher than that of the one that let its user in.
pub(super) const LET_IN: u32 = 12;

/// `sudo -i` in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootShell {
    /// When.
    pub at: i64,
    /// Until when.
    pub until: i64,
}

/// One refused password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub at: i64,
    /// The name that was given.
    pub user: String,
    /// From where.
    pub from: Ipv4Addr,
    /// The client's port.
    pub port: u16,
    /// Process id of sshd.
    pub pid: u32,
}

/// Everything that happened, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// Boots.
    pub boots: Vec<Boot>,
    /// Logins.
    pub logins: Vec<Login>,
    /// Failed logins.
    pub failures: Vec<Failure>,
}

/// Where the people sit: one or two addresses each, in the network that their part of the house has.
pub fn desks(cover: &Cover) -> Vec<Vec<Ipv4Addr>> {
    let mut s = cover.stream("desks");
    let base = u32::from(cover.network.network());
    let near = s.chance(35);
    // Another /24 beside the machine's own, in the same private range.
    let office = if near || !cover.network.ipv4.is_private() {
        base
    } else {
        (base & 0xffff_0000) | ((s.range(1, 250) as u32) << 8)
    };
    let taken: Vec<u32> = cover
        .network
        .neighbours
        .iter()
        .map(|n| u32::from(n.1))
        .chain([u32::from(cover.network.ipv4), u32::from(cover.network.gateway)])
        .collect();
    let one = |s: &mut crate::Stream| loop {
        let a = (office & 0xffff_ff00) | s.range(20, 250) as u32;
        if !taken.contains(&a) {
            return Ipv4Addr::from(a);
        }
    };
    cover
        .users
        .iter()
        .map(|_| {
            let n = 1 + usize::from(s.chance(40));
            (0..n).map(|_| one(&mut s)).collect()
        })
        .collect()
}

/// A session as somebody's habits want it: from, to, whose.
type Wanted = (i64, i64, usize);

/// Beginnings and ends of sessions: each day by habit, and one around each run of apt.
fn wanted(cover: &Cover, runs: &[Run], now: i64) -> Vec<Wanted> {
    let mut s = cover.stream("logins");
    let weights: Vec<u64> = cover.users.iter().map(|_| 6 + s.below(40)).collect();
    let around = |r: &Run| {
        let mut s = cover.stream(&format!("login for apt {}", r.start));
        Some((r.start - s.range(30, 400), r.end + s.range(20, 900), r.by?))
    };
    let mut out: Vec<Wanted> = runs.iter().filter_map(around).collect();
    let zone = &cover.host.zone;
    let first = cover.host.installed.div_euclid(86_400);
    // East of Greenwich tomorrow begins today.
    for day in first..=now.div_euclid(86_400) + 1 {
        let mut s = cover.stream(&format!("day {day}"));
        let weekend = matches!(Civil::from_unix(day * 86_400).weekday, 0 | 6);
        for (u, w) in weights.iter().enumerate() {
            let per_cent = if weekend { w / 8 } else { *w };
            let times = u64::from(s.chance(per_cent)) + u64::from(s.chance(per_cent / 3));
            for _ in 0..times {
                let at = day * 86_400 + s.range(8 * 3600, 18 * 3600) - zone.offset_at(day * 86_400);
                let length = match s.below(10) {
                    0..=4 => s.range(20, 600),
                    5..=7 => s.range(600, 4000),
                    _ => s.range(4000, 20_000),
                };
                out.push((at, at + length, u));
            }
        }
    }
    out.sort_unstable();
    out
}

/// Whether somebody who may becomes root in a session from `at` to `until`. Who came to run apt does that alone.
fn root_shell(cover: &Cover, runs: &[Run], user: usize, at: i64, until: i64) -> Option<RootShell> {
    let mut s = cover.stream(&format!("root shell {at} {user}"));
    let habit = cover.stream(&format!("root shells {user}")).range(4, 20) as u64;
    let may = cover.users.get(user)?.sudo && until - at > 120 && s.chance(habit);
    if !may || runs.iter().any(|r| r.start < until && at < r.end) {
        return None;
    }
    let begun = at + s.range(10, (until - at) / 3);
    let ended = s.range(begun + 20, until - 15);
    Some(RootShell {
        at: begun,
        until: ended,
    })
}

impl Timeline {
    /// Draws the past up to `now`. What is past at one moment is so at every later one, to the last number.
    pub fn draw(cover: &Cover, runs: &[Run], now: i64) -> Timeline {
        let mut t = Timeline {
            boots: boots(cover, runs),
            ..Timeline::default()
        };
        let desks = desks(cover);
        let mut busy: Vec<(i64, u32)> = Vec::new();
        let (mut counted, mut number) = (0, 0);
        for (at, until, user) in wanted(cover, runs, now) {
            let Some(u) = cover.users.get(user) else { continue };
            let boot = t
                .boots
                .iter()
                .find(|b| b.at + 60 < at && b.down.is_none_or(|d| at + 15 < d));
            let Some(boot) = boot else { continue };
            let until = until.min(boot.down.unwrap_or(until));
            if at < u.since + 120 || at >= now {
                continue;
            }
            let mut s = cover.stream(&format!("login {at} {user}"));
            busy.retain(|b| b.0 > at);
            let pts = (0..64).find(|n| busy.iter().all(|b| b.1 != *n)).unwrap_or(0);
            busy.push((until, pts));
            number = if counted == boot.at { number + 1 } else { 1 };
            counted = boot.at;
            // Nobody is logged in when a world begins. People come and go as before while the decoy lives: who is met with another
            // world weeks later finds them in its logs.
            if until + 30 > now {
                continue;
            }
            let from = desks
                .get(user)
                .and_then(|d| d.get(usize::from(d.len() > 1 && s.chance(25))))
                .copied()
                .unwrap_or(cover.network.gateway);
            // The terminal's sshd is the child of the one that let him in, which ran what greets him before.
            let pid = pids::at(boot.at, at) + LET_IN + s.range(0, 5) as u32;
            if s.chance(4) {
                t.failures.push(Failure {
                    at: at - s.range(4, 12),
                    user: u.name.clone(),
                    from,
                    port: s.range(32_768, 60_999) as u16,
                    pid: pid.saturating_sub(LET_IN + 2),
                });
            }
            t.logins.push(Login {
                user,
                at,
                until,
                pid,
                pts,
                number,
                from,
                port: s.range(32_768, 60_999) as u16,
                root: root_shell(cover, runs, user, at, until),
            });
        }
        t.failures.sort_by_key(|f| f.at);
        t
    }

    /// The session in which a run of apt was called.
    pub fn session_of(&self, run: &Run) -> Option<&Login> {
        self.logins
            .iter()
            .find(|l| Some(l.user) == run.by && l.at < run.start && run.end < l.until)
    }
}

/// When the machine was started, oldest first.
pub(super) fn starts(cover: &Cover) -> Vec<i64> {
    let mut s = cover.stream("boots");
    let mut starts = vec![cover.host.installed + 30];
    let mut t = cover.host.installed + s.range(5, 60) * 86_400;
    while t < cover.host.booted - 8 * 86_400 {
        starts.push(crate::cover::work_hours(t, &cover.host.zone, &mut s));
        t += s.range(20, 130) * 86_400;
    }
    starts.push(cover.host.booted);
    starts
}

/// The newest kernel that a run of apt had installed by then; none on an image without kernel packages.
fn newest_installed(runs: &[Run], at: i64) -> Option<String> {
    let release = crate::Release::current();
    let (before, after) = release.kernel_package.split_once("{release}")?;
    let changes = runs.iter().filter(|r| r.end < at).flat_map(|r| &r.changes);
    changes
        .filter(|c| c.old.is_none() && c.package.name != release.kernel_meta)
        .filter_map(|c| c.package.name.strip_prefix(before)?.strip_suffix(after))
        .next_back()
        .map(str::to_owned)
}

fn boots(cover: &Cover, runs: &[Run]) -> Vec<Boot> {
    let mut s = cover.stream("going down");
    let starts = starts(cover);
    let n = starts.len();
    let mut out: Vec<Boot> = Vec::new();
    for (i, at) in starts.iter().enumerate() {
        let release = if i + 1 == n {
            cover.host.kernel.release.clone()
        } else {
            newest_installed(runs, *at).unwrap_or_else(|| kernels::newest_at(at - 2 * 86_400).release)
        };
        if let Some(l) = out.last_mut() {
            l.down = Some(at - s.range(14, 40));
        }
        out.push(Boot {
            at: *at,
            down: None,
            release,
        });
    }
    out
}
