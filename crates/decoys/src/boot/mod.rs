//! From cover and image to a booted machine, and the kernel's world as a [`Guest`].
//!
//! [`Snapshot`] is a booted, idle server without a login. Each world is a clone of it that goes its own way.

mod accounts;
mod events;
mod facts;
mod guest;
mod kmsg;
mod life;
mod net;
mod run;
mod streams;

pub use guest::KernelGuest;
pub use life::Life;
pub use turncoat_kernel::net::facts::Outside;

use crate::journal::Birth;
use crate::machine::Entropy;
use crate::worlds::Guest;
use std::sync::Arc;
use turncoat_cover::{Content as CoverContent, Cover, File, Kind};
use turncoat_cpu::Machine;
use turncoat_event::Time;
use turncoat_kernel::image::Image;
use turncoat_kernel::net::Net;
use turncoat_kernel::vfs::boot::{Content, CoverFile, Plan};
use turncoat_kernel::vfs::{Timespec, makedev};
use turncoat_kernel::{Boot, Caps, Creds, Limits, StandInSpec, World};

/// A booted machine that nobody has logged in to.
pub struct Snapshot {
    world: World,
    accounts: Arc<crate::auth::Accounts>,
    sshd: Vec<turncoat_kernel::net::SockId>,
    life: Life,
    /// What every world of it is made from; only the seed is its own.
    birth: Birth,
}

struct Below<'a>(&'a Image);

impl turncoat_cover::Image for Below<'_> {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        let ino = self.0.resolve(path.as_bytes()).ok()??;
        self.0.read_all(ino, 8 << 20).ok()
    }
    fn packages(&self) -> Vec<(String, String)> {
        self.0
            .packages()
            .into_iter()
            .map(|p| (p.name.to_string(), p.version.to_string()))
            .collect()
    }
}

fn seconds(s: i64) -> Timespec {
    Timespec { sec: s, nsec: 0 }
}

fn file(f: &File) -> CoverFile {
    CoverFile {
        path: f.path.clone().into_bytes(),
        perm: f.mode,
        uid: f.uid,
        gid: f.gid,
        mtime: seconds(f.mtime),
        atime: seconds(f.atime),
        bait: f.bait.as_deref().map(Arc::from),
        content: match &f.kind {
            Kind::Directory => Content::Dir,
            Kind::Symlink(target) => Content::Link(target.clone().into_bytes()),
            Kind::Regular(CoverContent::Bytes(b)) => Content::Bytes(Arc::from(b.as_slice())),
            Kind::Regular(CoverContent::Lazy(_)) => Content::Bytes(Arc::from([])),
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

impl Snapshot {
    /// Boots the machine of `cover` on `image` at wall-clock time `now`.
    ///
    /// # Errors
    /// One line: what could not be put together.
    pub fn boot(
        cover: &Cover,
        image: Arc<Image>,
        outside: Outside,
        now: Time,
        entropy: &Entropy,
    ) -> Result<Snapshot, String> {
        let mut seed = [0u8; 32];
        entropy(&mut seed);
        Snapshot::boot_with(cover, image, outside, now, seed)
    }

    /// Boots the machine that `birth` names, so that a world of it can be run again.
    ///
    /// # Errors
    /// One line: what is not as it was, or what could not be put together.
    pub fn boot_again(cover: &Cover, image: Arc<Image>, birth: &Birth) -> Result<Snapshot, String> {
        let outside = Outside::named(&birth.outside).ok_or("its journal names no known world outside")?;
        let snapshot = Snapshot::boot_with(cover, image, outside, birth.booted, birth.snapshot)?;
        match birth.differs_from(&snapshot.birth) {
            Some(why) => Err(why),
            None => Ok(snapshot),
        }
    }

    fn boot_with(
        cover: &Cover,
        image: Arc<Image>,
        outside: Outside,
        now: Time,
        seed: [u8; 32],
    ) -> Result<Snapshot, String> {
        let birth = Birth {
            build: crate::BUILD.to_owned(),
            image: image.id().to_string(),
            cover: digest(cover),
            outside: outside.name().to_owned(),
            booted: now,
            snapshot: seed,
            seed: [0; 32],
        };
        let below = Below(&image);
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
        let plan = Plan {
            image: Some(image.clone()),
            lazy: None,
            root_dev: makedev(major, minor),
            root_source: format!("/dev/{}", root.map_or("sda1", |p| p.name.as_str())),
            root_options: "errors=remount-ro".into(),
            blocks: blocks - files / 16 - blocks / 512,
            blocks_used: 16_384 + blocks / 400,
            files,
            installed: seconds(cover.host.installed),
            booted: seconds(cover.host.booted),
            limit_pages: 65_536,
            limit_inodes: 200_000,
        };
        let passwd = turncoat_cover::Image::read(&below, "/etc/passwd").unwrap_or_default();
        let passwd = String::from_utf8_lossy(&passwd);
        let uptime_hours = ((now.seconds() - cover.host.booted).max(0) as u64) / 3600;
        let exists = |path: &str| matches!(image.resolve(path.as_bytes()), Ok(Some(_)));
        let processes = cover.processes(&exists);
        let left = run::files(&processes, cover.host.booted);
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
                    ..StandInSpec::daemon(&p.comm, "")
                }
            })
            .collect();
        let mut machine = Machine::new(facts::cpuid(hw));
        // The time-stamp counter runs at the processor's clock; the world retires about a billion instructions a second of its time.
        machine.tsc_num = u32::try_from(hw.processor.khz / 1000).unwrap_or(2_000);
        machine.tsc_den = 1_000;
        let kmsg = kmsg::lines(cover);
        let (files, sessions) = cover.booted_at(&below, Some(&kmsg), now.seconds());
        let files: Vec<CoverFile> = files.iter().map(file).chain(left).collect();
        let mut world = World::boot(Boot {
            plan,
            files,
            facts: facts::facts(cover),
            hostname: cover.host.name.clone().into_bytes(),
            machine,
            boot_time: cover.host.booted as u64 * 1_000_000_000,
            now: now.0.max(0) as u64,
            entropy: seed,
            limits,
            standins,
            net: Net::new(net::facts(cover, outside)),
            sessions,
            kmsg,
        });
        let path = turncoat_cover::past::journal::Machine::of(cover).path();
        let used = world.read_size(path.as_bytes()).unwrap_or(0);
        world.stretch(
            path.as_bytes(),
            used.next_multiple_of(turncoat_cover::journal::STEP),
        );
        let life = Life::new(cover, now.seconds());
        let accounts = Arc::new(accounts::read(&mut world).as_start());
        let sshd = streams::serve_ssh(&mut world, &cover.ssh_ports());
        if cover.telnet {
            // An image without inetd has none that listens; who starts the decoy has looked.
            let _ = world.inetd_listen("telnet", std::net::SocketAddr::from(([0, 0, 0, 0], 23)));
        }
        // What the host did in the world is nobody's deed.
        world.drain();
        Ok(Snapshot {
            world,
            accounts,
            sshd,
            life,
            birth,
        })
    }

    /// A world of its own, and what it was made from.
    pub fn fresh(&mut self, entropy: &Entropy) -> (Box<dyn Guest>, Birth) {
        let mut seed = [0u8; 32];
        entropy(&mut seed);
        let birth = Birth {
            seed,
            ..self.birth.clone()
        };
        (Box::new(self.guest(seed)), birth)
    }

    /// The world of this seed.
    pub fn guest(&mut self, seed: [u8; 32]) -> KernelGuest {
        KernelGuest::new(self.world.fork(seed), self.accounts.clone(), self.sshd.clone())
            .living(self.life.clone())
    }

    /// A world of its own, as the kernel has it.
    pub fn world(&mut self, seed: [u8; 32]) -> World {
        self.world.fork(seed)
    }
}

/// SHA-256 over everything that a cover says, in hexadecimal.
fn digest(cover: &Cover) -> String {
    use sha2::Digest;
    let said = serde_json::to_vec(cover).unwrap_or_default();
    sha2::Sha256::digest(said)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}
