//! A boot of the machine as the kernel wants it told: from cover and image.

use super::{Below, Outside, facts, kmsg, net, run, stamps};
use std::sync::Arc;
use turncoat_cover::{Cover, File, Kind};
use turncoat_cpu::Machine;
use turncoat_event::Time;
use turncoat_kernel::image::Image;
use turncoat_kernel::net::Net;
use turncoat_kernel::vfs::boot::{Content, CoverFile, Plan};
use turncoat_kernel::vfs::stamps::tick;
use turncoat_kernel::vfs::{Timespec, makedev};
use turncoat_kernel::{Boot, Caps, Creds, Limits, StandInSpec};

fn seconds(s: i64) -> Timespec {
    Timespec { sec: s, nsec: 0 }
}

/// A moment in this second at which the file at `path` was touched, no later than `now`; `which` tells its times apart.
pub fn moment(second: i64, path: &str, which: u64, now: Time) -> Timespec {
    let name = path
        .bytes()
        .fold(0u64, |h, b| h.wrapping_mul(131).wrapping_add(b.into()));
    let latest = Timespec {
        sec: now.seconds(),
        nsec: u32::try_from(now.0.rem_euclid(1_000_000_000)).unwrap_or(0),
    };
    tick(second, name.wrapping_mul(2) + which).min(latest)
}

/// A file of the cover's, which knows whole seconds; none is of a later moment than `now`.
pub fn file(f: &File, now: Time) -> CoverFile {
    let mtime = moment(f.mtime, &f.path, 0, now);
    CoverFile {
        path: f.path.clone().into_bytes(),
        perm: f.mode,
        uid: f.uid,
        gid: f.gid,
        mtime,
        atime: if f.atime == f.mtime {
            mtime
        } else {
            moment(f.atime, &f.path, 1, now)
        },
        bait: f.bait.as_deref().map(Arc::from),
        content: match &f.kind {
            Kind::Directory => Content::Dir,
            Kind::Symlink(target) => Content::Link(target.clone().into_bytes()),
            Kind::Regular(c) => Content::Bytes(Arc::from(&*c.bytes())),
        },
    }
}

/// Who a daemon runs as, by the image's own accounts.
fn creds(name: &str, passwd: &str) -> Creds {
    let ids = passwd.lines().find_map(|l| {
        let f: Vec<&str> = l.split(':').collect();
        if f.first() != Some(&name) {
            return None;
        }
        Some((f.get(2)?.parse::<u32>().ok()?, f.get(3)?.parse::<u32>().ok()?))
    });
    let root = Creds::root();
    match ids {
        None | Some((0, _)) => root,
        Some((uid, gid)) => Creds {
            uid,
            euid: uid,
            suid: uid,
            fsuid: uid,
            gid,
            egid: gid,
            sgid: gid,
            fsgid: gid,
            groups: vec![gid],
            permitted: Caps::default(),
            effective: Caps::default(),
            ..root
        },
    }
}

/// The cover as it is after a boot at this second since the epoch.
pub fn after_boot(cover: &Cover, booted: i64) -> Cover {
    let mut now = cover.clone();
    now.host.booted = booted;
    now.host.boot_id = cover.stream(&format!("booted again {booted}")).uuid();
    now
}

/// The kernel's workers, as they are at this moment.
fn workers(cover: &Cover, major: u32, now: Time) -> Vec<StandInSpec> {
    let up = (now.seconds() - cover.host.booted).max(0) as u64;
    let mut drawn = cover.stream(&format!("workers {}", now.seconds()));
    let cores = cover.hardware.cores;
    turncoat_cover::processes::workers(&mut drawn, cores, major, up)
        .into_iter()
        .map(|w| StandInSpec {
            pid: w.pid,
            start_ns: w.started * 1_000_000_000,
            ..StandInSpec::kthread(&w.name)
        })
        .collect()
}

/// The boot of the machine of `cover`, which the clock shows `now`; `past`: with the files that the cover lays over the image, which
/// a machine that boots again has on its disk.
pub fn boot(
    cover: &Cover,
    image: &Arc<Image>,
    outside: Outside,
    now: Time,
    seed: [u8; 32],
    past: bool,
) -> Boot {
    let booted = cover.host.booted;
    let below = Below(image);
    let hw = &cover.hardware;
    let root = hw
        .disks
        .first()
        .and_then(|d| d.partitions.iter().find(|p| p.mount == "/"));
    let (major, minor) = (
        hw.disks.first().map_or(8, |d| d.major),
        root.map_or(1, |p| p.minor),
    );
    let sectors = root.map_or(40_000_000, |p| p.sectors);
    // mke2fs: an inode for each 16 KiB, 256 bytes each, and the group tables; df shows the rest.
    let blocks = sectors / 8;
    let files = sectors / 32;
    let limits = Limits::default();
    let kmsg = kmsg::lines(cover);
    let (laid, sessions, told) = if past {
        let booted = cover.booted_at(&below, Some(&kmsg), now.seconds());
        (booted.files, booted.sessions, booted.stamps)
    } else {
        Default::default()
    };
    let plan = Plan {
        image: Some(image.clone()),
        lazy: None,
        root_dev: makedev(major, minor),
        root_source: format!("/dev/{}", root.map_or("sda1", |p| p.name.as_str())),
        root_options: "errors=remount-ro".into(),
        blocks: blocks - files / 16 - blocks / 512,
        blocks_used: 16_384 + blocks / 400,
        files,
        installed: tick(told.made, 2),
        stamps: Arc::new(stamps::of(image, &told)),
        booted: seconds(booted),
        limit_pages: 65_536,
        limit_inodes: 200_000,
    };
    let passwd = turncoat_cover::Image::read(&below, "/etc/passwd").unwrap_or_default();
    let passwd = String::from_utf8_lossy(&passwd);
    let uptime_hours = ((now.seconds() - booted).max(0) as u64) / 3600;
    let exists = |path: &str| matches!(image.resolve(path.as_bytes()), Ok(Some(_)));
    let processes = cover.processes(&exists);
    let left = run::files(&processes, booted);
    let standins = processes
        .into_iter()
        .map(|p| {
            let cpu = p.cpu_ms_per_hour * uptime_hours * 1_000_000;
            StandInSpec {
                pid: Some(p.pid),
                ppid: p.ppid,
                comm: p.comm.clone().into_bytes(),
                cmdline: p.argv.iter().flat_map(|a| a.bytes().chain([0])).collect(),
                exe: p.exe.clone().into_bytes(),
                creds: creds(p.user, &passwd),
                rss: p.rss_kib << 10,
                vsz: p.vsz_kib << 10,
                threads: p.threads,
                kthread: p.exe.is_empty(),
                nice: p.nice.into(),
                start_ns: p.started * 1_000_000_000 + u64::from(p.pid) * 3_000_000,
                utime_ns: cpu / 2,
                stime_ns: cpu - cpu / 2,
                // ifupdown's unit is one of an interface, which the client's last argument names.
                unit: match p.argv.last() {
                    Some(interface) if p.unit == "ifup@.service" => format!("ifup@{interface}.service"),
                    _ => p.unit.to_owned(),
                },
                ..StandInSpec::daemon(&p.comm, "")
            }
        })
        .chain(workers(cover, major, now))
        .collect();
    let mut machine = Machine::new(facts::cpuid(hw));
    // The time-stamp counter runs at the processor's clock; the world retires about a billion instructions a second of its time.
    machine.tsc_num = u32::try_from(hw.processor.khz / 1000).unwrap_or(2_000);
    machine.tsc_den = 1_000;
    let files: Vec<CoverFile> = laid.iter().map(|f| file(f, now)).chain(left).collect();
    Boot {
        plan,
        files,
        facts: facts::facts(cover, &Below(image)),
        hostname: cover.host.name.clone().into_bytes(),
        machine,
        boot_time: booted as u64 * 1_000_000_000,
        now: now.0.max(0) as u64,
        entropy: seed,
        limits,
        standins,
        net: Net::new(net::facts(cover, outside)),
        sessions,
        kmsg,
    }
}
