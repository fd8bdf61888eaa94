//! Times and memory of worlds in number: `world_bench IMAGE [SHELLS] [awake]`. Prints one line a measurement; times are the
//! processor's. Shells rest as the pool lays them to rest when nothing happens in them, unless `awake` is said.
//! `world_bench IMAGE checkpoint` writes and takes back worlds in which somebody is logged in.
//! `world_bench IMAGE LINE [TIMES]` only types a line at a prompt so many times, for a profiler.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use turncoat_kernel::image::Image;
use turncoat_kernel::vfs::boot::Plan;
use turncoat_kernel::vfs::{Timespec, makedev};
use turncoat_kernel::*;

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos() as u64)
}

/// What this thread has computed.
fn cpu() -> Duration {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

fn rss() -> u64 {
    let s = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    s.split(' ')
        .nth(1)
        .and_then(|v| v.parse::<u64>().ok())
        .unwrap_or(0)
        * 4096
}

/// Logs in, from an address and port of its own for each `n`.
fn open(w: &mut World, command: Option<&str>, n: usize) -> Conn {
    w.open(Open {
        user: b"root".to_vec(),
        account: None,
        env: Vec::new(),
        term: command.is_none().then(|| Term {
            name: b"xterm".to_vec(),
            rows: 24,
            cols: 80,
            xpixel: 0,
            ypixel: 0,
            modes: Vec::new(),
        }),
        command: command.map(|c| c.as_bytes().to_vec()),
        peer: SocketAddr::from((
            [203, 0, (n >> 8) as u8, n as u8],
            1024 + (n * 7919 % 64_000) as u16,
        )),
        local: "192.0.2.10:22".parse().expect("address"),
        greet: true,
        method: String::new(),
        sshd: None,
    })
    .expect("open")
}

fn settle(w: &mut World) -> Vec<u8> {
    let mut out = Vec::new();
    while w.run(300_000, now()) == Slice::Busy {
        for o in w.drain().0 {
            if let Out::Data { bytes, .. } = o.out {
                out.extend(bytes);
            }
        }
    }
    for o in w.drain().0 {
        if let Out::Data { bytes, .. } = o.out {
            out.extend(bytes);
        }
    }
    out
}

/// Types a line at the prompt of a logged-in shell, `times` times.
fn typed(snapshot: &mut World, line: &str, times: usize) {
    let mut w = snapshot.fork([50; 32]);
    let c = open(&mut w, None, 0);
    settle(&mut w);
    let (mut all, mut instructions) = (Vec::new(), 0);
    for _ in 0..times {
        let (t0, before) = (cpu(), w.retired());
        w.input(c, Input::Data(format!("{line}\r").into_bytes()));
        settle(&mut w);
        all.push((cpu() - t0).as_micros());
        instructions = w.retired() - before;
    }
    #[cfg(feature = "counts")]
    turncoat_cpu::print_counts();
    let first = all[0];
    all.sort_unstable();
    println!(
        "'{line}' typed at a prompt: {} us (median; {} the least, {first} the first time), {instructions} instructions",
        all[all.len() / 2],
        all[0]
    );
}

/// Writes and takes back a world after somebody has logged in, and after he did something.
fn checkpoints(snapshot: &mut World) {
    let start = snapshot.clone();
    let mut w = snapshot.fork([50; 32]);
    let c = open(&mut w, None, 0);
    settle(&mut w);
    let python = "python3 -c 'import time; x = list(range(10**6)); time.sleep(10**6)' &";
    for line in [
        "true",
        "for i in 1 2 3 4 5 6 7 8; do ls -la / > /tmp/$i; done",
        python,
    ] {
        w.input(c, Input::Data(format!("{line}\r").into_bytes()));
        settle(&mut w);
        let (mut put, mut pack, mut take) = (Vec::new(), Vec::new(), Vec::new());
        let (mut long, mut short) = (0, 0);
        for _ in 0..30 {
            let t0 = cpu();
            let mut out = turncoat_freeze::Out::new(usize::MAX);
            w.freeze(&start, &mut out);
            let bytes = out.done().expect("it has room");
            put.push(cpu() - t0);
            let t0 = cpu();
            let packed = lz4_flex::block::compress(&bytes);
            pack.push(cpu() - t0);
            (long, short) = (bytes.len(), packed.len());
            let t0 = cpu();
            let bytes = lz4_flex::block::decompress(&packed, long).expect("our own");
            let mut from = turncoat_freeze::In::new(&bytes, 1 << 30);
            World::thaw(&start, &mut from).expect("whole");
            take.push(cpu() - t0);
        }
        let median = |all: &mut Vec<Duration>| {
            all.sort_unstable();
            all[all.len() / 2].as_secs_f64() * 1e3
        };
        println!(
            "checkpoint after '{line}': {} KiB ({} compressed), {:.2} ms to write, {:.2} ms to compress, {:.2} ms to read",
            long >> 10,
            short >> 10,
            median(&mut put),
            median(&mut pack),
            median(&mut take),
        );
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let image = Image::open(std::fs::File::open(&args[1]).expect("image")).expect("image");
    let shells: usize = args.get(2).and_then(|s| s.parse().ok()).unwrap_or(200);
    let awake = args.iter().any(|a| a == "awake");
    let mut resting = Duration::ZERO;
    let t = now();
    let stamp = Timespec::secs((t / 1_000_000_000) as i64 - 86_400);
    let mut standins: Vec<StandInSpec> = (0..60)
        .map(|i| StandInSpec::kthread(&format!("kworker/{i}")))
        .collect();
    standins.extend((0..20).map(|i| StandInSpec::daemon("daemon", &format!("/usr/sbin/daemon{i}"))));
    let mut snapshot = World::boot(Boot {
        plan: Plan {
            image: Some(image),
            lazy: None,
            root_dev: makedev(8, 1),
            root_source: "/dev/sda1".into(),
            root_options: "errors=remount-ro".into(),
            blocks: 4_900_000,
            blocks_used: 30_000,
            files: 1_248_480,
            installed: stamp,
            stamps: Default::default(),
            booted: stamp,
            limit_pages: 65_536,
            limit_inodes: 100_000,
        },
        files: Vec::new(),
        facts: sysfs::facts::Facts::default(),
        hostname: b"srv01".to_vec(),
        machine: turncoat_cpu::Machine::default(),
        boot_time: t - 86_400_000_000_000,
        now: t,
        entropy: [7; 32],
        limits: Limits::default(),
        standins,
        net: net::Net::new(net::facts::Facts::default()),
        sessions: 0,
        kmsg: Vec::new(),
    });
    if args.get(2).is_some_and(|a| a == "checkpoint") {
        return checkpoints(&mut snapshot);
    }
    if let Some(line) = args.get(2).filter(|a| a.parse::<usize>().is_err()) {
        return typed(
            &mut snapshot,
            line,
            args.get(3).and_then(|n| n.parse().ok()).unwrap_or(1000),
        );
    }
    for cmd in ["true", "uname -a", "ls -la /", "ls -la / | wc -l"] {
        let (mut best, mut instructions) = (u128::MAX, 0);
        for i in 0..20 {
            let mut w = snapshot.fork([i; 32]);
            let (t0, before) = (cpu(), w.retired());
            open(&mut w, Some(cmd), 0);
            settle(&mut w);
            best = best.min((cpu() - t0).as_micros());
            instructions = w.retired() - before;
        }
        println!("bash -c '{cmd}', warm: {best} us, {instructions} instructions");
    }
    for line in ["echo", "/bin/true", "ls -la /"] {
        typed(&mut snapshot, line, 30);
    }
    let t0 = cpu();
    let clones: Vec<World> = (0..1000).map(|_| snapshot.fork([1; 32])).collect();
    println!(
        "clone of the snapshot: {:.1} us",
        (cpu() - t0).as_micros() as f64 / 1000.0
    );
    drop(clones);
    let before = rss();
    let t0 = cpu();
    let mut live: Vec<(World, Conn)> = Vec::new();
    for i in 0..shells {
        let mut entropy = [7; 32];
        entropy[..8].copy_from_slice(&i.to_le_bytes());
        let mut w = snapshot.fork(entropy);
        let c = open(&mut w, None, i);
        settle(&mut w);
        if awake {
            live.push((w, c));
            continue;
        }
        // What the pool does with a world in which nothing has happened for ten seconds.
        let t = cpu();
        w.rest();
        resting += cpu() - t;
        live.push((w, c));
    }
    println!(
        "{shells} logged-in idle shells, {}: {} KiB each, {:.1} ms each to log in, {:.2} ms to lay to rest",
        if awake { "awake" } else { "resting" },
        (rss() - before) / 1024 / shells as u64,
        ((cpu() - t0) - resting).as_secs_f64() * 1e3 / shells as f64,
        resting.as_secs_f64() * 1e3 / shells as f64,
    );
    if let Some((w, _)) = live.first_mut() {
        println!("one of them: {:?}", w.footprint());
    }
    let (mut good, mut slowest) = (0, Duration::ZERO);
    let mut times = Vec::with_capacity(shells);
    for (i, (w, c)) in live.iter_mut().enumerate() {
        let n = 1000 + i;
        let t = cpu();
        w.input(*c, Input::Data(format!("echo $(({n}*7))\r").into_bytes()));
        let out = settle(w);
        slowest = slowest.max(cpu() - t);
        times.push(cpu() - t);
        let want = format!("{}\r\n", n * 7);
        good += usize::from(out.windows(want.len()).any(|x| x == want.as_bytes()));
        if !awake {
            w.rest();
        }
    }
    times.sort_unstable();
    println!(
        "{good} of {shells} answered a command, {:.2} ms each (median), {:.1} ms the slowest",
        times[times.len() / 2].as_secs_f64() * 1e3,
        slowest.as_secs_f64() * 1e3
    );
    println!(
        "after it: {} KiB each, {} MiB in all",
        (rss() - before) / 1024 / shells as u64,
        rss() >> 20
    );
}
