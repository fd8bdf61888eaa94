//! The pages that an image gives out. The only place that knows what a page is made of.

use std::sync::Arc;

/// Bytes in a page.
pub const PAGE: usize = 4096;

/// One page of an image, shared with everybody who asked for it and never changed.
pub type PageRef = Arc<[u8; PAGE]>;

/// A page with these bytes; what is missing is zero.
pub(super) fn from_slice(bytes: &[u8]) -> PageRef {
    let mut page = [0; PAGE];
    for (to, from) in page.iter_mut().zip(bytes) {
        *to = *from;
    }
    Arc::new(page)
}

/// Copies out of a page, from `off` on.
pub(super) fn read(page: &PageRef, off: usize, out: &mut [u8]) {
    if let Some(from) = page.get(off..off + out.len()) {
        out.copy_from_slice(from);
    }
}
