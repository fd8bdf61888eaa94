//! From cover and image to a booted machine, and the kernel's world as a [`Guest`].
//!
//! [`Snapshot`] is a booted, idle server without a login. Each world is a clone of it that goes its own way.

mod accounts;
mod events;
mod facts;
mod freeze;
mod guest;
mod jobs;
mod kmsg;
mod life;
mod net;
mod parts;
mod run;
mod schedule;
mod stamps;
mod standing;
mod streams;

pub use guest::KernelGuest;
pub use kmsg::lines as kernel_log;
pub use life::Life;
pub use standing::Standing;
pub use turncoat_kernel::net::facts::Outside;

use crate::journal::Birth;
use crate::machine::Entropy;
use crate::worlds::Guest;
use std::sync::Arc;
use turncoat_cover::Cover;
use turncoat_event::Time;
use turncoat_kernel::World;
use turncoat_kernel::image::Image;

/// A booted machine that nobody has logged in to.
pub struct Snapshot {
    world: World,
    accounts: Arc<crate::auth::Accounts>,
    sshd: Vec<turncoat_kernel::net::SockId>,
    life: Life,
    ground: Arc<Ground>,
    /// What every world of it is made from; only the seed is its own.
    birth: Birth,
}

/// What a machine stands on while its worlds live: from it they boot again, and against it their disks are compared.
pub(crate) struct Ground {
    cover: Cover,
    image: Arc<Image>,
    outside: Outside,
    /// What starts by itself on the machine as it was.
    known: jobs::Known,
    base: turncoat_kernel::Base,
    /// The booted machine: what its worlds are written against.
    start: World,
}

/// An image as the cover looks at it.
pub struct Below<'a>(pub &'a Image);

impl turncoat_cover::Image for Below<'_> {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        let ino = self.0.resolve(path.as_bytes()).ok()??;
        self.0.read_all(ino, 8 << 20).ok()
    }
    fn has(&self, path: &str) -> bool {
        matches!(self.0.resolve(path.as_bytes()), Ok(Some(_)))
    }
    fn head(&self, path: &str, len: usize) -> Option<Vec<u8>> {
        let ino = self.0.resolve(path.as_bytes()).ok()??;
        let mut head = vec![0; len];
        let n = self.0.read(ino, 0, &mut head).ok()?;
        head.truncate(n);
        Some(head)
    }
    fn list(&self, dir: &str) -> Vec<String> {
        let entries = || self.0.readdir(self.0.resolve(dir.as_bytes()).ok()??).ok();
        let name = |e: turncoat_kernel::image::DirEntry<'_>| String::from_utf8(e.name.to_vec()).ok();
        entries().into_iter().flatten().filter_map(name).collect()
    }
    fn packages(&self) -> Vec<(String, String)> {
        self.0
            .packages()
            .into_iter()
            .map(|p| (p.name.to_string(), p.version.to_string()))
            .collect()
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
            build: crate::build(),
            image: image.id().to_string(),
            cover: digest(cover),
            outside: outside.name().to_owned(),
            booted: now,
            snapshot: seed,
            seed: [0; 32],
        };
        let mut world = World::boot(parts::boot(cover, &image, outside, now, seed, true));
        let path = turncoat_cover::past::journal::Machine::of(cover).path();
        let used = world.read_size(path.as_bytes()).unwrap_or(0);
        world.stretch(
            path.as_bytes(),
            used.next_multiple_of(turncoat_cover::journal::STEP),
        );
        let life = Life::new(cover, &image, now.seconds());
        let accounts = Arc::new(accounts::read(&mut world).as_start());
        // An image without journald has no journal either.
        let _ = world.daemon_log();
        world.init_listens();
        world.init_knows();
        let sshd = streams::serve_ssh(&mut world, &cover.ssh_ports());
        if cover.telnet {
            // An image without inetd has none that listens; who starts the decoy has looked.
            let _ = world.inetd_listen("telnet", std::net::SocketAddr::from(([0, 0, 0, 0], 23)));
        }
        // What the host did in the world is nobody's deed.
        world.drain();
        let ground = Ground {
            cover: cover.clone(),
            image,
            outside,
            known: jobs::Known::of(&mut world, cover),
            base: world.disk_base().ok_or("the machine has no disk")?,
            start: world.clone(),
        };
        Ok(Snapshot {
            world,
            accounts,
            sshd,
            life,
            ground: Arc::new(ground),
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
            .on(self.ground.clone())
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
