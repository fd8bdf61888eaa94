//! What the processors did: times, interrupts, soft interrupts.

use crate::sysfs::facts::Interrupt;
use crate::vfs::types::Ctx;

pub(super) fn stat(ctx: &Ctx) -> String {
    let sys = ctx.view.system();
    let line = |name: String, c: [u64; 8]| format!("{name} {} 0 0\n", c.map(|v| v.to_string()).join(" "));
    let all: Vec<[u64; 8]> = sys
        .cpus
        .iter()
        .map(|c| {
            [
                c.user, c.nice, c.system, c.idle, c.iowait, c.irq, c.softirq, c.steal,
            ]
        })
        .collect();
    let mut sum = [0u64; 8];
    for c in &all {
        for (a, b) in sum.iter_mut().zip(c) {
            *a += b;
        }
    }
    let mut s = line("cpu ".to_owned(), sum);
    for (i, c) in all.iter().enumerate() {
        s += &line(format!("cpu{i}"), *c);
    }
    // The sum is of all; then come those that have a number, by number.
    let all: Vec<(Option<usize>, u64)> = irqs(ctx)
        .into_iter()
        .map(|(label, c, _)| (label.parse().ok(), c.iter().sum()))
        .collect();
    s += &format!("intr {}", all.iter().map(|i| i.1).sum::<u64>());
    for n in 0..=all.iter().filter_map(|i| i.0).max().unwrap_or(0) {
        let count = all.iter().find(|i| i.0 == Some(n)).map_or(0, |i| i.1);
        s += &format!(" {count}");
    }
    let soft = soft_counts(ctx);
    let softs: Vec<u64> = soft.iter().map(|(_, c)| c.iter().sum()).collect();
    s += &format!(
        "\nctxt {}\nbtime {}\nprocesses {}\nprocs_running {}\nprocs_blocked {}\nsoftirq {}",
        sys.context_switches,
        sys.btime,
        sys.forks,
        sys.running.max(1),
        sys.blocked,
        softs.iter().sum::<u64>()
    );
    for c in softs {
        s += &format!(" {c}");
    }
    s + "\n"
}

pub(super) fn interrupts(ctx: &Ctx) -> String {
    let n = ctx.view.facts().cpu.count();
    let mut s = " ".repeat(11);
    for c in 0..n {
        s += &format!("{:<11}", format!("CPU{c}"));
    }
    s.push('\n');
    for (label, counts, text) in irqs(ctx) {
        s += &format!("{label:>3}: ");
        // Errors are counted for the machine, not for each processor.
        if text.is_empty() {
            s += &format!("{:>10}\n", counts.iter().sum::<u64>());
            continue;
        }
        for c in counts {
            s += &format!("{c:>10} ");
        }
        s += &format!("  {text}\n");
    }
    s
}

/// Label, count for each processor, description.
fn irqs(ctx: &Ctx) -> Vec<(String, Vec<u64>, String)> {
    let (f, sys) = (ctx.view.facts(), ctx.view.system());
    let n = f.cpu.count() as u64;
    let secs = sys.uptime / 1_000_000_000;
    f.interrupts
        .iter()
        .enumerate()
        .map(
            |(
                i,
                Interrupt {
                    label,
                    base,
                    rate,
                    text,
                },
            )| {
                let all = base + secs * rate / 1000;
                let local = label.chars().any(|c| c.is_ascii_alphabetic());
                let counts = (0..n)
                    .map(|c| {
                        if local {
                            all / n + (c * 7919 + i as u64 * 104_729) % 97 * all / 9700
                        } else if i as u64 % n == c {
                            all
                        } else {
                            0
                        }
                    })
                    .collect();
                (label.clone(), counts, text.clone())
            },
        )
        .collect()
}

pub(super) fn softirqs(ctx: &Ctx) -> String {
    let n = ctx.view.facts().cpu.count();
    let mut s = " ".repeat(20);
    for c in 0..n {
        s += &format!("{:<11}", format!("CPU{c}"));
    }
    s.push('\n');
    for (name, counts) in soft_counts(ctx) {
        s += &format!("{:>12}:", name);
        for c in counts {
            s += &format!(" {c:>10}");
        }
        s.push('\n');
    }
    s
}

fn soft_counts(ctx: &Ctx) -> Vec<(&'static str, Vec<u64>)> {
    let sys = ctx.view.system();
    let n = ctx.view.facts().cpu.count() as u64;
    let secs = sys.uptime / 1_000_000_000;
    let rates = [
        ("HI", 0),
        ("TIMER", 19_000),
        ("NET_TX", 3),
        ("NET_RX", 2_100),
        ("BLOCK", 700),
        ("IRQ_POLL", 0),
        ("TASKLET", 90),
        ("SCHED", 30_000),
        ("HRTIMER", 0),
        ("RCU", 21_000),
    ];
    rates
        .iter()
        .map(|(name, r)| {
            (
                *name,
                (0..n)
                    .map(|c| secs * r / 1000 / n + (c * 31 + r) % 17 * u64::from(*r > 0))
                    .collect(),
            )
        })
        .collect()
}
