//! What all decoys of one machine share: the record, the worlds, the policy, the accounts, clock and entropy.

use crate::auth::Judge;
use crate::taken::Taken;
use crate::worlds::Worlds;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use turncoat_event::{Recorder, Time};

/// Fills a buffer with random bytes.
pub type Entropy = Arc<dyn Fn(&mut [u8]) + Send + Sync>;
/// Tells the wall-clock time.
pub type Clock = Arc<dyn Fn() -> Time + Send + Sync>;

/// How long a refused password takes, as PAM has it: a time drawn evenly between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailDelay {
    /// Shortest.
    pub min: Duration,
    /// Longest.
    pub max: Duration,
}

impl FailDelay {
    /// `pam_unix` asks for 2 s and libpam draws from half to one and a half of it (pam_fail_delay(3)).
    pub const PAM: FailDelay = FailDelay {
        min: Duration::from_millis(1000),
        max: Duration::from_millis(3000),
    };
    /// None at all.
    pub const NONE: FailDelay = FailDelay {
        min: Duration::ZERO,
        max: Duration::ZERO,
    };
}

/// One machine that outsiders meet.
pub struct Machine {
    /// The record.
    pub recorder: Arc<dyn Recorder>,
    /// The worlds.
    pub worlds: Worlds,
    /// The policy for passwords.
    pub judge: Mutex<Judge>,
    /// Which session took which bait.
    pub taken: Arc<Taken>,
    /// Accounts with a login shell.
    pub accounts: RwLock<BTreeSet<Vec<u8>>>,
    /// How long a refused password takes.
    pub fail_delay: FailDelay,
    /// Turns for computing password hashes, which cost 10 ms and 16 MiB each.
    pub hashing: tokio::sync::Semaphore,
    /// The clock.
    pub clock: Clock,
    /// Entropy.
    pub entropy: Entropy,
    /// What worlds start from, for the event `world.start`: image and cover.
    pub names: (String, String),
}

impl Machine {
    /// Computes something dear on another thread, when it is its turn.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let _turn = self.hashing.acquire().await.ok()?;
        tokio::task::spawn_blocking(f).await.ok()
    }

    /// A moment of random length between the bounds of the delay.
    pub(crate) fn delay(&self) -> Duration {
        let mut b = [0; 8];
        (self.entropy)(&mut b);
        let span = self
            .fail_delay
            .max
            .saturating_sub(self.fail_delay.min)
            .as_micros() as u64;
        self.fail_delay.min + Duration::from_micros(u64::from_le_bytes(b) % (span + 1))
    }
}
