//! Facts that move: pure functions of the cover and a moment, so that two sessions, or a program started anew, see one machine.
//!
//! Counters are integrals of slow waves that never fall below zero, hence monotone and smooth; figures that belong together
//! (CPU time, load, interrupts, packets) are made of the same waves.

use crate::cover::Cover;
use turncoat_freeze::Freeze;

/// What moves, at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// Seconds since boot.
    pub uptime: f64,
    /// Load averages of 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// `/proc/stat`'s first line in 1/100 s: user, nice, system, idle, iowait, irq, softirq, steal. All processors together.
    pub cpu: [u64; 8],
    /// Interrupts since boot.
    pub interrupts: u64,
    /// Context switches since boot.
    pub switches: u64,
    /// Memory in KiB.
    pub memory: Memory,
    /// Network interface: bytes received, packets received, bytes sent, packets sent.
    pub network: [u64; 4],
    /// Root disk: reads, sectors read, writes, sectors written.
    pub disk: [u64; 4],
}

/// Memory in KiB, the lines of `/proc/meminfo` that move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Memory {
    pub total: u64,
    pub free: u64,
    pub available: u64,
    pub buffers: u64,
    pub cached: u64,
    pub slab: u64,
}

/// Phase and height of the waves of one cover.
#[derive(Clone, Debug, PartialEq, Freeze)]
struct Waves {
    phase: [f64; 3],
    level: f64,
}

const PERIODS: [f64; 3] = [86_400.0, 5_417.0, 613.0];
const HEIGHTS: [f64; 3] = [0.35, 0.2, 0.15];

impl Waves {
    fn of(cover: &Cover, label: &str, low: i64, high: i64) -> Waves {
        let mut s = cover.stream(&format!("live {label}"));
        Waves {
            phase: std::array::from_fn(|_| s.below(6_283) as f64 / 1000.0),
            level: s.range(low, high) as f64,
        }
    }

    /// The rate at `t` seconds after boot; above zero, since the heights add up to less than one.
    fn rate(&self, t: f64) -> f64 {
        let w: f64 = (0..3)
            .map(|i| HEIGHTS[i] * (std::f64::consts::TAU * t / PERIODS[i] + self.phase[i]).sin())
            .sum();
        self.level * (1.0 + w)
    }

    /// The integral of the rate from boot to `t`.
    fn sum(&self, t: f64) -> f64 {
        let w: f64 = (0..3)
            .map(|i| {
                let k = std::f64::consts::TAU / PERIODS[i];
                HEIGHTS[i] / k * (self.phase[i].cos() - (k * t + self.phase[i]).cos())
            })
            .sum();
        self.level * (t + w)
    }
}

/// What a machine's moving facts are made of: plain data, so that whoever shows them needs no cover at hand.
#[derive(Clone, Debug, PartialEq, Freeze)]
pub struct Pulse {
    busy: Waves,
    traffic: Waves,
    writes: Waves,
    cores: f64,
    /// `MemTotal` in KiB.
    total: u64,
    /// KiB that the programs of the idle machine take.
    programs: u64,
    /// Interrupts and switches of context that come of a hundredth of a second's work.
    turns: (f64, f64),
}

impl Pulse {
    /// The pulse of `cover`.
    pub fn of(cover: &Cover) -> Pulse {
        let total = cover.hardware.mem_total_kib;
        let mut s = cover.stream("live memory");
        let programs = 70_000 + s.below(60_000).min(total / 12);
        let mut s = cover.stream("live turns");
        Pulse {
            // Busy hundredths of a second in a thousand seconds: a lightly used server is busy for 0.3 to 1.5 per cent.
            busy: Waves::of(cover, "cpu", 300, 1500),
            traffic: Waves::of(cover, "packets", 1, 9),
            writes: Waves::of(cover, "writes", 1, 3),
            cores: f64::from(cover.hardware.cores),
            total,
            programs,
            turns: (
                s.range(60, 110) as f64 / 1000.0,
                s.range(100, 220) as f64 / 1000.0,
            ),
        }
    }

    /// The facts `t` seconds after boot.
    pub fn at(&self, t: f64) -> Live {
        let t = t.max(0.0);
        let (busy, cores, total) = (&self.busy, self.cores, self.total);
        let load = |span: f64| {
            let from = (t - span).max(0.0);
            let mean = (busy.sum(t) - busy.sum(from)) / (t - from).max(1.0) / 100_000.0;
            (mean * cores * 2.0 * 100.0).round() / 100.0
        };
        let used = busy.sum(t) / 1000.0 * cores;
        let all = t * 100.0 * cores;
        let part = |share: f64| (used * share) as u64;
        let start = 900.0 * cores;
        let (user, system, wait, soft) = (part(0.55), part(0.33), part(0.08), part(0.04));
        let busy_now = user + system + wait + soft + start as u64;
        let idle = (all as u64).saturating_sub(busy_now);
        let packets = self.traffic.sum(t);
        let writes = self.writes.sum(t);
        // The page cache fills up within days and then stays.
        let fill = 1.0 - (-t / 200_000.0).exp();
        let wave = (busy.rate(t) / busy.level - 1.0) * 900.0;
        let cached = ((total as f64) * (0.10 + 0.42 * fill)) as u64;
        let buffers = ((total as f64) * 0.03 * fill) as u64 + 9_000;
        let slab = 28_000 + (cached / 24);
        let taken = (self.programs as f64 + wave) as u64 + cached + buffers + slab;
        let free = total.saturating_sub(taken) / 4 * 4;
        let memory = Memory {
            total,
            free,
            available: (free + (cached + buffers) * 9 / 10).min(total) / 4 * 4,
            buffers: buffers / 4 * 4,
            cached: cached / 4 * 4,
            slab: slab / 8 * 8,
        };
        Live {
            uptime: t,
            // What runs now and then is never all gone from the mean of a quarter of an hour.
            load: [load(60.0), load(300.0), load(900.0).max(0.01)],
            cpu: [
                user + start as u64 / 2,
                0,
                system + start as u64 / 2,
                idle,
                wait,
                0,
                soft,
                0,
            ],
            interrupts: 80_000 + (busy.sum(t) * self.turns.0 + packets * 1.1) as u64,
            switches: 150_000 + (busy.sum(t) * self.turns.1 + packets * 1.7) as u64,
            memory,
            network: [
                (packets * 131.0) as u64 + 4_000,
                packets as u64 + 40,
                (packets * 0.8 * 243.0) as u64 + 3_000,
                (packets * 0.8) as u64 + 30,
            ],
            disk: [
                9_000 + (writes / 40.0) as u64,
                700_000 + (writes * 1.3) as u64,
                2_000 + writes as u64,
                60_000 + (writes * 19.0) as u64,
            ],
        }
    }
}

impl Live {
    /// The facts of `cover` at `now` (seconds since the epoch, fractions allowed) if it booted at `booted`.
    pub fn at(cover: &Cover, booted: i64, now: f64) -> Live {
        Pulse::of(cover).at(now - booted as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Given, Seed, Wishes};

    #[test]
    fn counters_rise_and_agree() {
        for i in 0..30u8 {
            let g = Given {
                made: 1_795_400_000,
                receiving: Default::default(),
                wishes: Wishes::default(),
                kernel: None,
            };
            let c = Cover::new(Seed([i; 32]), &g).unwrap();
            let mut last = Live::at(&c, c.host.booted, c.host.booted as f64 + 20.0);
            for step in 1..400 {
                let now = c.host.booted as f64 + 20.0 + f64::from(step * step) * 7.0;
                let l = Live::at(&c, c.host.booted, now);
                assert!(l.cpu.iter().zip(last.cpu).all(|(a, b)| *a >= b), "{i} {step}");
                assert!(l.interrupts >= last.interrupts && l.switches >= last.switches);
                assert!(l.network.iter().zip(last.network).all(|(a, b)| *a >= b));
                let sum: u64 = l.cpu.iter().sum();
                let all = l.uptime * 100.0 * f64::from(c.hardware.cores);
                assert!(
                    (sum as f64) < all + 2_000.0 * f64::from(c.hardware.cores) && sum as f64 > all - 10.0
                );
                assert!(
                    l.memory.free > 0
                        && l.memory.free < l.memory.total
                        && l.memory.available >= l.memory.free
                );
                assert!(l.load[0] < f64::from(c.hardware.cores));
                last = l;
            }
        }
    }
}
