//! Where a world stands between its pool's threads: one of them runs it, and whatever happens meanwhile is seen by that one.

use std::sync::atomic::{AtomicU8, Ordering};

/// Nothing is to be done.
const IDLE: u8 = 0;
/// It waits in the queue for a thread.
const WAITS: u8 = 1;
/// A thread runs it.
const RUNS: u8 = 2;
/// A thread runs it, and something has come in since that thread last looked.
const STIRRED: u8 = 3;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Turn(AtomicU8);

impl Turn {
    /// Something has come in. True if the caller is to queue the world.
    pub fn stir(&self) -> bool {
        let before = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| match now {
                IDLE => Some(WAITS),
                RUNS => Some(STIRRED),
                _ => None,
            });
        before == Ok(IDLE)
    }

    /// Its thread is about to look what has come in, and to run it.
    pub fn begin(&self) {
        self.0.store(RUNS, Ordering::Release);
    }

    /// Its thread puts it back into the queue.
    pub fn wait(&self) {
        self.0.store(WAITS, Ordering::Release);
    }

    /// Its thread has nothing more to do. False if something has come in meanwhile: then it is still that thread's.
    pub fn end(&self) -> bool {
        self.0
            .compare_exchange(RUNS, IDLE, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Turn;

    #[test]
    fn what_comes_in_is_seen_by_the_thread_that_runs_it_or_queues_it_once() {
        let t = Turn::default();
        assert!(t.stir(), "an idle one is queued");
        assert!(!t.stir(), "once");
        t.begin();
        assert!(!t.stir(), "its thread looks again");
        assert!(!t.end());
        t.begin();
        assert!(t.end());
        assert!(t.stir());
        t.begin();
        t.wait();
        assert!(!t.stir(), "it is in the queue");
    }
}
