//! Record, then answer: bytes for the network that wait until what they depend on is committed.
//!
//! Everything that a decoy hands to the record gets a [`Mark`]: a number that grows in the order of handing over,
//! over all sessions. The record tells through a [`Committer`] how far it has come; whoever waits holds a
//! [`Watermark`]. A decoy wraps what it wants to send in a [`Chunk`] that names the last mark it can depend on
//! and puts it into its connection's [`Gate`]. Out of the gate come only [`Released`] bytes, and a `Released`
//! is made nowhere else: a socket that takes nothing but `Released` cannot answer what is not on record.
//!
//! For a world, "can depend on" is the highest mark among all inputs and events of that world so far, whichever
//! connection they came from: an answer on one connection may show what another one did.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// A place in the stream of things handed to the record. Grows; `Mark::NONE` is before the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Mark(pub u64);

impl Mark {
    /// Depends on nothing.
    pub const NONE: Mark = Mark(0);

    /// The mark after this one.
    pub fn next(self) -> Mark {
        Mark(self.0.saturating_add(1))
    }
}

/// The record takes nothing more: what waits for a commit will wait in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the record has stopped")
    }
}
impl std::error::Error for Stopped {}

#[derive(Debug, Default)]
struct State {
    committed: Mark,
    stopped: bool,
    wakers: BTreeMap<(Mark, u64), Waker>,
    tickets: u64,
}

impl State {
    /// Has `waker` woken when `mark` is committed; the key under which it waits.
    fn enlist(&mut self, mark: Mark, waker: Waker) -> (Mark, u64) {
        self.tickets += 1;
        let key = (mark, self.tickets);
        self.wakers.insert(key, waker);
        key
    }
}

/// Wakes a thread that waits for its mark, and no other.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to say how far the record has come. There is one for each stream of marks; when it is dropped the stream has stopped.
#[derive(Debug)]
pub struct Committer(Arc<Shared>);

impl Committer {
    /// A new stream of marks: the one who commits and those who wait.
    pub fn new() -> (Committer, Watermark) {
        let shared = Arc::new(Shared::default());
        (Committer(shared.clone()), Watermark(shared))
    }

    /// Everything up to `mark` is committed. A lower mark than before changes nothing.
    pub fn committed(&self, mark: Mark) {
        let due = {
            let mut state = self.0.lock();
            if mark <= state.committed {
                return;
            }
            state.committed = mark;
            let later = state.wakers.split_off(&(mark.next(), 0));
            std::mem::replace(&mut state.wakers, later)
        };
        due.into_values().for_each(Waker::wake);
    }

    /// Nothing more will be committed; everybody who waits is told.
    pub fn stop(&self) {
        let all = {
            let mut state = self.0.lock();
            state.stopped = true;
            std::mem::take(&mut state.wakers)
        };
        all.into_values().for_each(Waker::wake);
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// How far the record has come, for those who wait. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Watermark(Arc<Shared>);

impl Watermark {
    /// The highest committed mark.
    pub fn committed(&self) -> Mark {
        self.0.lock().committed
    }

    /// The record takes nothing more.
    pub fn stopped(&self) -> bool {
        self.0.lock().stopped
    }

    /// Waits for `mark`. When the future is dropped, nothing of it stays behind.
    ///
    /// # Errors
    /// [`Stopped`] when the record ends before.
    pub fn reached(&self, mark: Mark) -> Reached<'_> {
        Reached {
            watermark: self,
            mark,
            place: None,
        }
    }

    /// Blocks this thread until `mark` is committed or `timeout` is over; says whether it is committed.
    ///
    /// # Errors
    /// [`Stopped`] when the record ends before.
    pub fn wait(&self, mark: Mark, timeout: Duration) -> Result<bool, Stopped> {
        let until = Instant::now().checked_add(timeout);
        let mut key = None;
        loop {
            let mut state = self.0.lock();
            let left = until.map(|u| u.saturating_duration_since(Instant::now()));
            let done = if state.committed >= mark {
                Ok(true)
            } else if state.stopped {
                Err(Stopped)
            } else if left.is_some_and(|l| l.is_zero()) {
                Ok(false)
            } else {
                key.get_or_insert_with(|| {
                    state.enlist(mark, Waker::from(Arc::new(Unpark(std::thread::current()))))
                });
                drop(state);
                // May return for no reason: then it is looked at again.
                match left {
                    Some(left) => std::thread::park_timeout(left),
                    None => std::thread::park(),
                }
                continue;
            };
            if let Some(key) = key {
                state.wakers.remove(&key);
            }
            return done;
        }
    }
}

/// Waits until a mark is committed: see [`Watermark::reached`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Reached<'a> {
    watermark: &'a Watermark,
    mark: Mark,
    /// Where this waits, once it does.
    place: Option<(Mark, u64)>,
}

impl Future for Reached<'_> {
    type Output = Result<(), Stopped>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.watermark.0.lock();
        if state.committed >= self.mark {
            return Poll::Ready(Ok(()));
        }
        if state.stopped {
            return Poll::Ready(Err(Stopped));
        }
        let place = match self.place.and_then(|place| state.wakers.get_mut(&place)) {
            Some(waker) => {
                waker.clone_from(cx.waker());
                self.place
            }
            None => Some(state.enlist(self.mark, cx.waker().clone())),
        };
        drop(state);
        self.place = place;
        Poll::Pending
    }
}

impl Drop for Reached<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let waker = self.watermark.0.lock().wakers.remove(&place);
            // Outside of the lock: it may be the last thing that holds a task.
            drop(waker);
        }
    }
}

/// Bytes for the network, and the last mark they can depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// What to send.
    pub bytes: Vec<u8>,
    /// The highest mark that the bytes can depend on.
    pub after: Mark,
}

/// Bytes that may leave: everything they depend on is committed. Only a [`Gate`] makes these.
#[derive(Debug, PartialEq, Eq)]
pub struct Released(Vec<u8>);

impl Released {
    /// Gives the bytes up to the socket.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl AsRef<[u8]> for Released {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// What waits to be sent on one connection, in order.
#[derive(Debug)]
pub struct Gate {
    watermark: Watermark,
    waiting: VecDeque<Chunk>,
    bytes: usize,
}

impl Gate {
    /// An empty gate that opens as `watermark` rises.
    pub fn new(watermark: Watermark) -> Gate {
        Gate {
            watermark,
            waiting: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Puts bytes at the end of what waits.
    pub fn push(&mut self, chunk: Chunk) {
        if !chunk.bytes.is_empty() {
            self.bytes = self.bytes.saturating_add(chunk.bytes.len());
            self.waiting.push_back(chunk);
        }
    }

    /// Bytes that wait, released or not: a decoy stops reading and running while this is high.
    pub fn waiting_bytes(&self) -> usize {
        self.bytes
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Everything that may leave now, as one piece; `None` when that is nothing.
    pub fn take(&mut self) -> Option<Released> {
        let committed = self.watermark.committed();
        let mut out = Vec::new();
        while let Some(chunk) = self.waiting.pop_front_if(|c| c.after <= committed) {
            if out.is_empty() {
                out = chunk.bytes;
            } else {
                out.extend_from_slice(&chunk.bytes);
            }
        }
        self.bytes = self.bytes.saturating_sub(out.len());
        if out.is_empty() { None } else { Some(Released(out)) }
    }

    /// Waits for something that may leave: for ever while the gate is empty. Safe to drop and call again.
    ///
    /// # Errors
    /// [`Stopped`] when the record ends while bytes wait: they must never leave.
    pub async fn released(&mut self) -> Result<Released, Stopped> {
        let Some(first) = self.waiting.front() else {
            return pending().await;
        };
        self.watermark.reached(first.after).await?;
        match self.take() {
            Some(released) => Ok(released),
            None => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    fn chunk(bytes: &[u8], after: u64) -> Chunk {
        Chunk {
            bytes: bytes.to_vec(),
            after: Mark(after),
        }
    }

    #[test]
    fn nothing_leaves_before_its_mark_and_order_is_kept() {
        let (committer, watermark) = Committer::new();
        let mut gate = Gate::new(watermark);
        gate.push(chunk(b"a", 0));
        gate.push(chunk(b"b", 2));
        gate.push(chunk(b"c", 1));
        assert_eq!(gate.take().unwrap().as_ref(), b"a");
        assert_eq!(gate.take(), None);
        committer.committed(Mark(1));
        assert_eq!(gate.take(), None, "c waits behind b");
        committer.committed(Mark(2));
        assert_eq!(gate.take().unwrap().as_ref(), b"bc");
        assert_eq!(gate.waiting_bytes(), 0);
    }

    #[test]
    fn a_stopped_record_releases_nothing() {
        let (committer, watermark) = Committer::new();
        let mut gate = Gate::new(watermark.clone());
        gate.push(chunk(b"x", 1));
        drop(committer);
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(pin!(gate.released()).poll(&mut cx), Poll::Ready(Err(Stopped)));
        assert_eq!(gate.take(), None);
        assert_eq!(watermark.wait(Mark(1), Duration::ZERO), Err(Stopped));
    }

    #[test]
    fn a_thread_waits_for_its_own_mark_and_leaves_nothing_behind() {
        let (committer, watermark) = Committer::new();
        assert_eq!(watermark.wait(Mark(1), Duration::from_millis(5)), Ok(false));
        assert!(watermark.0.lock().wakers.is_empty());
        let threads: Vec<_> = (1..=20)
            .map(|n| {
                let watermark = watermark.clone();
                std::thread::spawn(move || watermark.wait(Mark(n), Duration::from_secs(60)))
            })
            .collect();
        for n in 1..=20 {
            committer.committed(Mark(n));
        }
        assert!(threads.into_iter().all(|t| t.join().unwrap() == Ok(true)));
        assert!(watermark.0.lock().wakers.is_empty());
        let (late, forever) = (watermark.clone(), watermark.clone());
        let late = std::thread::spawn(move || late.wait(Mark(99), Duration::MAX));
        drop(committer);
        assert_eq!(late.join().unwrap(), Err(Stopped));
        assert_eq!(forever.wait(Mark(20), Duration::ZERO), Ok(true));
    }

    #[test]
    fn waiters_are_woken_once_and_only_when_due() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        struct Count(AtomicUsize);
        impl std::task::Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        let (committer, watermark) = Committer::new();
        let mut due = pin!(watermark.reached(Mark(2)));
        for _ in 0..3 {
            assert_eq!(due.as_mut().poll(&mut cx), Poll::Pending);
        }
        committer.committed(Mark(1));
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        committer.committed(Mark(5));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(due.as_mut().poll(&mut cx), Poll::Ready(Ok(())));
    }

    #[test]
    fn who_waits_no_longer_leaves_nothing_behind() {
        let (_committer, watermark) = Committer::new();
        let mut gate = Gate::new(watermark.clone());
        gate.push(chunk(b"x", 7));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..100 {
            assert!(pin!(watermark.reached(Mark(9))).poll(&mut cx).is_pending());
            assert!(pin!(gate.released()).poll(&mut cx).is_pending());
        }
        assert!(watermark.0.lock().wakers.is_empty());
    }
}
