//! What a blocked task waits for.
//!
//! A system call that cannot go on returns a set of keys; whoever changes the state behind a key wakes it, and the call is tried
//! again from its arguments. Keys name state by index, so waiting survives cloning and writing a world.

use turncoat_freeze::Freeze;

/// Something whose state a task can wait for. Waking a key wakes every task that waits for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Freeze)]
pub enum WaitKey {
    /// A pipe or FIFO (both directions), by slab index.
    Pipe(u32),
    /// A terminal's slave side: input for readers, room for writers.
    TtySlave(u32),
    /// A terminal's master side.
    TtyMaster(u32),
    /// A socket, by slab index.
    Socket(u32),
    /// A child of this process (thread group id) changed state.
    Child(u32),
    /// A futex word: (address-space or object id, offset or address).
    Futex(u64, u64),
    /// An eventfd, timerfd, signalfd, inotify or epoll object, by slab index.
    Event(u32),
    /// A signal arrived for this thread group.
    Signal(u32),
    /// A vfork parent waits for this child (thread group id) to exec or exit.
    Vfork(u32),
    /// A semaphore set or a message queue of System V, by its identifier: whoever waits is woken by name.
    Ipc(u32),
    /// An advisory lock on this inode was released.
    Lock(u64),
}
