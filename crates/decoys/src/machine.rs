//! What all decoys of one machine share: the record, the worlds, the policy, the accounts, clock and entropy.

use crate::auth::{Account, Judge, Opens, Planted, shadow_hash, verify};
use crate::taken::Taken;
use crate::worlds::{Handle, Worlds};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use turncoat_event::{Recorder, Time, kinds};

/// Fills a buffer with random bytes.
pub type Entropy = Arc<dyn Fn(&mut [u8]) + Send + Sync>;
/// Tells the wall-clock time.
pub type Clock = Arc<dyn Fn() -> Time + Send + Sync>;

/// How long a refused password takes, as PAM has it: between the two, rather in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailDelay {
    /// Shortest.
    pub min: Duration,
    /// Longest.
    pub max: Duration,
}

impl FailDelay {
    /// `pam_unix` asks for 2 s and libpam takes from half to one and a half of it (pam_fail_delay(3)).
    pub const PAM: FailDelay = FailDelay {
        min: Duration::from_millis(1000),
        max: Duration::from_millis(3000),
    };
    /// None at all.
    pub const NONE: FailDelay = FailDelay {
        min: Duration::ZERO,
        max: Duration::ZERO,
    };

    /// The delay of an attempt that began in this second since 1970. libpam's generator (`_pam_compute_delay` in pam_delay.c) starts
    /// from the second, so all that are refused in one wait alike; it takes the mean of three draws.
    pub fn at(&self, second: i64) -> Duration {
        let mut state = second as u32;
        let drawn: u32 = (0..3)
            .map(|_| {
                state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
                (state / 65_536) % 32_768
            })
            .sum();
        let span = self.max.saturating_sub(self.min);
        self.min + span.mul_f64(f64::from(drawn) / 3.0 / 32_768.0)
    }
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
    /// Passwords that were refused, for the logs of worlds.
    pub refused: Arc<crate::refused::Ledger>,
    /// Turns for computing password hashes, which cost 10 ms and 16 MiB each.
    pub hashing: tokio::sync::Semaphore,
    /// Hashes of passwords that were accepted.
    pub hashes: Mutex<Hashes>,
    /// The clock.
    pub clock: Clock,
    /// Entropy.
    pub entropy: Entropy,
    /// What worlds start from, for the event `world.start`: image and cover.
    pub names: (String, String),
}

/// Hashes of accepted passwords, by account and digest of the password.
pub type Hashes = HashMap<(Vec<u8>, turncoat_event::Sha256), String>;

/// So many hashes are remembered.
const HASHES: usize = 4096;

impl Machine {
    /// The policy, for one decision. What another thread left when it panicked is as good as it was.
    pub fn judge(&self) -> MutexGuard<'_, Judge> {
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Computes something dear on another thread, when it is its turn.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let _turn = self.hashing.acquire().await.ok()?;
        tokio::task::spawn_blocking(f).await.ok()
    }

    /// Whether this is the account's password, by its hash.
    pub(crate) async fn is_password(&self, account: &Account, secret: &[u8]) -> bool {
        // sshd and login refuse empty passwords; what is no hash needs no thread.
        if secret.is_empty() || !account.hash.starts_with('$') {
            return false;
        }
        let (hash, secret) = (account.hash.clone(), secret.to_vec());
        self.compute(move || verify(&hash, &secret))
            .await
            .unwrap_or(false)
    }

    /// Writes a password that was accepted into the world, so that `login`, `sudo`, `su` and `passwd` know it; once for each.
    pub(crate) async fn give_password(&self, world: &Handle, user: &[u8], secret: Vec<u8>) {
        let digest = turncoat_event::Sha256(Sha256::digest(&secret).into());
        if world.has_password(user, digest) {
            return;
        }
        // An account of the machine has one hash, whosever world it is looked up in.
        let key = (user.to_vec(), digest);
        let Ok(_turn) = self.hashing.acquire().await else {
            return;
        };
        let made = self.hashes().get(&key).cloned();
        let hash = match made {
            Some(hash) => hash,
            None => {
                let entropy = self.entropy.clone();
                let Ok(hash) = tokio::task::spawn_blocking(move || shadow_hash(&secret, &entropy)).await
                else {
                    return;
                };
                let mut hashes = self.hashes();
                if hashes.len() >= HASHES {
                    hashes.clear();
                }
                hashes.insert(key, hash.clone());
                hash
            }
        };
        world.set_password(user, digest, hash);
    }

    fn hashes(&self) -> MutexGuard<'_, Hashes> {
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the use of a planted credential tells: everywhere that it stands, or where it was taken from.
    pub(crate) fn token_used(&self, p: &Planted) -> Vec<kinds::TokenUsed> {
        if p.opens == Opens::Audit {
            return Vec::new();
        }
        let mut used: Vec<_> = self
            .judge()
            .alike(p)
            .into_iter()
            .map(|p| (self.taken.by(&p.id), p))
            .collect();
        // Where it stands in several places it was taken from those that were read.
        if used.iter().any(|(by, _)| by.is_some()) {
            used.retain(|(by, _)| by.is_some());
        }
        used.truncate(if used.iter().any(|(by, _)| by.is_some()) {
            4
        } else {
            1
        });
        let told = |(taken_by, p): (_, Planted)| kinds::TokenUsed {
            token: p.id,
            kind: p.kind,
            planted: Some(p.place),
            taken_by,
        };
        used.into_iter().map(told).collect()
    }

    /// How long a password that is refused now takes.
    pub(crate) fn delay(&self) -> Duration {
        self.fail_delay.at((self.clock)().seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_second_has_one_delay_and_most_are_about_two() {
        let all: Vec<f64> = (1_790_000_000..1_790_010_000)
            .map(|s| FailDelay::PAM.at(s).as_secs_f64())
            .collect();
        assert!(all.iter().all(|d| (1.0..3.0).contains(d)));
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        assert!((1.98..2.02).contains(&mean), "{mean}");
        // The mean of three even draws lies in the middle third two times of three, an even draw one time.
        let middle = all.iter().filter(|d| (1.667..2.333).contains(*d)).count() as f64 / all.len() as f64;
        assert!(middle > 0.6, "{middle}");
        assert_eq!(FailDelay::PAM.at(7), FailDelay::PAM.at(7));
        assert_eq!(FailDelay::NONE.at(7), Duration::ZERO);
    }
}
