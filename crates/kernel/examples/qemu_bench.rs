//! Programs in a world beside the same programs under qemu-user, in one run: `qemu_bench IMAGE [QEMU]`.
//!
//! The parent is xargs in a world, and is counted there; it is not under qemu.
//!
//! Run it on a Debian 12 host with the packages qemu-user, perl and mawk, so that both run the same binaries. Starts are
//! the processor's time that one more start takes in a warm world, and of a whole `qemu-x86_64 PROGRAM`. Loops run once each, a second
//! or more. Processor time, so that other load on the machine disturbs little.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use turncoat_kernel::image::Image;
use turncoat_kernel::vfs::boot::Plan;
use turncoat_kernel::vfs::{Timespec, makedev};
use turncoat_kernel::*;

/// Short programs: what runs in the world's loop, and its words for qemu.
const STARTS: &[(&str, &[&str])] = &[
    ("busybox true", &["/bin/busybox", "true"]),
    ("bash -c true", &["/bin/bash", "-c", "true"]),
    (
        "bash -c 'ls -la / | wc -l' > /dev/null",
        &["/bin/bash", "-c", "QEMU /usr/bin/ls -la / | QEMU /usr/bin/wc -l"],
    ),
    ("perl -e 1", &["/usr/bin/perl", "-e", "1"]),
];

/// Hot loops, for `bash -c` in a directory where `text` (8 MB of numbers) lies.
const LOOPS: &[(&str, &[&str])] = &[
    (
        "sha256sum text text text text",
        &["/usr/bin/sha256sum", "text", "text", "text", "text"],
    ),
    ("gzip -c text", &["/usr/bin/gzip", "-c", "text"]),
    (
        "perl -e '$i += $_ for 1..6000000'",
        &["/usr/bin/perl", "-e", "$i += $_ for 1..6000000"],
    ),
    (
        "mawk 'BEGIN { while (i < 6000000) i++ }'",
        &["/usr/bin/mawk", "BEGIN { while (i < 6000000) i++ }"],
    ),
    (
        "bash -c 'for ((i = 0; i < 400000; i++)); do :; done'",
        &["/bin/bash", "-c", "for ((i = 0; i < 400000; i++)); do :; done"],
    ),
    ("sort -r text", &["/usr/bin/sort", "-r", "text"]),
];

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos() as u64)
}

fn boot(image: std::sync::Arc<Image>) -> World {
    let t = now();
    let stamp = Timespec::secs((t / 1_000_000_000) as i64 - 86_400);
    World::boot(Boot {
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
        standins: Vec::new(),
        net: net::Net::new(net::facts::Facts::default()),
        kmsg: Vec::new(),
        sessions: 0,
    })
}

/// What this thread has computed.
fn cpu() -> Duration {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// What ended children have computed, to a hundredth of a second.
fn children() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("stat");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split(' ').collect();
    let ticks: u64 = fields[14..16]
        .iter()
        .map(|f| f.parse::<u64>().expect("ticks"))
        .sum();
    Duration::from_millis(ticks * 10)
}

/// Runs a command to its end in this world; what it cost.
fn run(w: &mut World, command: &str) -> Duration {
    let t = cpu();
    w.open(Open {
        user: b"root".to_vec(),
        account: None,
        env: Vec::new(),
        term: None,
        command: Some(command.as_bytes().to_vec()),
        peer: "203.0.113.9:50022".parse().expect("address"),
        local: "192.0.2.10:22".parse().expect("address"),
        greet: false,
        method: String::new(),
        sshd: None,
    })
    .expect("open");
    loop {
        let slice = w.run(1_000_000, now());
        let done = w.drain().0.iter().any(|o| matches!(o.out, Out::Close));
        if done || slice == Slice::Dead {
            return cpu() - t;
        }
        if let Slice::Idle { wake_at: None } = slice {
            return cpu() - t;
        }
    }
}

/// The cost of a command on this machine, run so many times.
fn native(words: &[&str], dir: &std::path::Path, times: u32) -> Duration {
    let t = children();
    for _ in 0..times {
        let status = Command::new(words[0])
            .args(&words[1..])
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.is_ok_and(|s| s.success()), "{words:?} runs");
    }
    (children() - t) / times
}

fn median(mut of: impl FnMut() -> Duration, times: usize) -> Duration {
    let mut all: Vec<Duration> = (0..times).map(|_| of()).collect();
    all.sort_unstable();
    all[times / 2]
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let image = Image::open(std::fs::File::open(&args[1]).expect("image")).expect("image");
    let qemu = args.get(2).map_or("qemu-x86_64", |q| q);
    let dir = std::env::temp_dir().join(format!("turncoat-qemu-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("directory");
    let text: String = (0..1_200_000u64)
        .map(|i| format!("{}\n", i * 2_654_435_761 % 1_000_003))
        .collect();
    std::fs::write(dir.join("text"), &text).expect("text");

    // The host's busybox may be another one (a static one): qemu gets the image's.
    let busybox = dir.join("busybox");
    let there = image
        .resolve(b"/bin/busybox")
        .ok()
        .flatten()
        .expect("busybox in the image");
    std::fs::write(&busybox, image.read_all(there, 8 << 20).expect("busybox")).expect("busybox");
    std::fs::set_permissions(&busybox, std::fs::Permissions::from_mode(0o755)).expect("mode");
    let busybox = busybox.to_str().expect("a name of letters").to_owned();
    let mut w = boot(image);
    println!(
        "{:<56} {:>10} {:>10} {:>8}",
        "start, one more", "world ms", "qemu ms", "faster"
    );
    for (shown, words) in STARTS {
        let words: Vec<String> = words
            .iter()
            .map(|w| w.replace("QEMU", qemu).replace("/bin/busybox", &busybox))
            .collect();
        let mut all = vec![qemu];
        all.extend(words.iter().map(String::as_str));
        let there = native(&all, &dir, 20);
        // A small parent starts them, one or twenty.
        let with = |each: u32| format!("seq 20 | xargs -n{each} {shown}");
        run(&mut w, &with(5));
        let here = median(
            || run(&mut w, &with(1)).saturating_sub(run(&mut w, &with(20))) / 19,
            5,
        );
        println!(
            "{shown:<56} {:>10.2} {:>10.2} {:>7.1}x",
            here.as_secs_f64() * 1e3,
            there.as_secs_f64() * 1e3,
            there.as_secs_f64() / here.as_secs_f64()
        );
    }
    run(
        &mut w,
        "mkdir /bench; seq 0 1199999 | mawk '{ print ($1 * 2654435) % 1000003 }' > /bench/text",
    );
    println!(
        "{:<56} {:>10} {:>10} {:>8}",
        "loop", "world s", "qemu s", "slower"
    );
    let mut product = 1.0;
    for (shown, words) in LOOPS {
        let mut all = vec![qemu];
        all.extend_from_slice(words);
        let there = native(&all, &dir, 1).as_secs_f64();
        let here = run(&mut w, &format!("cd /bench; {shown} > /dev/null")).as_secs_f64();
        product *= here / there;
        println!("{shown:<56} {here:>10.2} {there:>10.2} {:>7.1}x", here / there);
    }
    println!(
        "geometric mean: {:.2}x",
        f64::powf(product, 1.0 / LOOPS.len() as f64)
    );
    let _ = std::fs::remove_dir_all(dir);
}
