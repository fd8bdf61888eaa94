//! The snapshot that new worlds are cloned from, which must not grow old: a clone makes up for all nights since the snapshot was booted.

use super::{Outside, Snapshot};
use crate::journal::Birth;
use crate::machine::{Clock, Entropy};
use crate::worlds::Guest;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use turncoat_cover::Cover;
use turncoat_event::Time;
use turncoat_kernel::image::Image;

/// A snapshot that is older than this is booted anew, in nanoseconds. A clone makes up for a night in 13 to 18 ms (measured in a build for
/// tests), and booting takes as long as 60 nights; a world that comes back from its journal needs the snapshot that it was born of, so
/// that there should be few.
const OLD: i64 = 7 * 86_400 * 1_000_000_000;

/// The machine as it stands, for whoever comes next.
pub struct Standing {
    cover: Cover,
    image: Arc<Image>,
    outside: Outside,
    clock: Clock,
    entropy: Entropy,
    snapshot: Mutex<Snapshot>,
    renewing: AtomicBool,
}

impl Standing {
    /// Boots the machine of `cover` now.
    ///
    /// # Errors
    /// One line: what could not be put together.
    pub fn boot(
        cover: Cover,
        image: Arc<Image>,
        outside: Outside,
        clock: Clock,
        entropy: Entropy,
    ) -> Result<Arc<Standing>, String> {
        let snapshot = Snapshot::boot(&cover, image.clone(), outside, clock(), &entropy)?;
        Ok(Arc::new(Standing {
            cover,
            image,
            outside,
            clock,
            entropy,
            snapshot: Mutex::new(snapshot),
            renewing: AtomicBool::new(false),
        }))
    }

    /// A world of its own, and what it was made from. Nobody waits for a new snapshot: who finds an old one takes it, and those who come
    /// when the new one has booted have that. Worlds that live keep theirs.
    pub fn fresh(self: &Arc<Self>) -> (Box<dyn Guest>, Birth) {
        let made = {
            let mut snapshot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
            snapshot.fresh(&self.entropy)
        };
        let now = (self.clock)();
        if now.0 - made.1.booted.0 > OLD && !self.renewing.swap(true, Ordering::AcqRel) {
            let own = self.clone();
            let name = std::thread::Builder::new().name("boot".into());
            if name.spawn(move || own.renew(now)).is_err() {
                self.renewing.store(false, Ordering::Release);
            }
        }
        made
    }

    fn renew(&self, now: Time) {
        // What could be put together once can be again; if not, the old one goes on.
        let booted = Snapshot::boot(&self.cover, self.image.clone(), self.outside, now, &self.entropy);
        if let Ok(new) = booted {
            *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = new;
        }
        self.renewing.store(false, Ordering::Release);
    }
}
