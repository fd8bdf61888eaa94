//! The pages that an image gives out. The only place that knows what a page is made of.

pub use turncoat_cpu::PageRef;

/// Bytes in a page.
pub const PAGE: usize = 4096;

/// Copies out of a page, from `off` on; what lies behind the page stays as it is.
pub(super) fn read(page: &PageRef, off: usize, out: &mut [u8]) {
    page.read(off, out);
}
