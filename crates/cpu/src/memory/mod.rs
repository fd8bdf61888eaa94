//! Guest memory: pages, address spaces, and nothing of what is mapped why.
//!
//! `page` owns the 4 KiB unit and the rule who may write it in place; `space` owns page tables, copy-on-write
//! and the kernel's copies in and out; `rest` takes pages out of spaces that rest; `space::freeze` writes pages and spaces. The interpreter (`dispatch`) reaches bytes through pointers that a
//! [`Space`] hands out and that stay good as long as the space's generation does not change.
//!
//! # The rule that makes this sound
//! Bytes of a page are plain memory. A page is written only
//! 1. through a [`Space`] in which it is mapped `Private` while it is *exclusive* (no second [`PageRef`] was ever
//!    made since the page was), or
//! 2. through a `Shared` mapping or [`PageRef::write`], by the world that owns the object.
//!
//! A world is one `Send` value that is run by one thread at a time, and pages of kind 2 belong to one world, so
//! no page is written while another thread reads it. Pages that cross worlds (a snapshot's, an image's) are
//! never of kind 2 after they have been shared, and are not exclusive, so they are immutable.
#![allow(unsafe_code)]

mod page;
mod rest;
mod space;

pub use page::{PAGE_SIZE, PageRef};
pub use rest::Resting;
pub use space::{Expected, Prot, Share, Space, Stats};

pub(crate) use page::invalidations;

/// Gives the host back what the allocator of this process keeps although it is free: worlds are many small things, and after a crowd
/// has gone little of it would ever be at the end of a heap.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes the allocator's own locks and touches nothing that is in use; any thread may call it at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests;
