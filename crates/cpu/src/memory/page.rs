//! One page of guest memory, its decoded code, and who may write it in place.

use std::cell::UnsafeCell;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, Ordering};

use crate::dispatch::PageCode;

/// Bytes in a page.
pub const PAGE_SIZE: usize = 4096;

/// Nobody but the one holder can see this page: it may be written in place.
const EXCLUSIVE: u8 = 1;
/// The page is or was mapped shared and writable: its code is never kept.
const SHARED_WRITABLE: u8 = 2;

/// How many dispatchers keep decoded code of their own.
pub(crate) const CODE_KINDS: usize = 2;

/// Counts the times that decoded code was thrown away under a page that lives on. Caches of pointers into code
/// compare it before each run.
static INVALIDATIONS: AtomicU64 = AtomicU64::new(0);

/// The present value of the counter of invalidations.
pub(crate) fn invalidations() -> u64 {
    INVALIDATIONS.load(Ordering::Acquire)
}

#[repr(C, align(16))]
pub(crate) struct Page {
    bytes: UnsafeCell<[u8; PAGE_SIZE]>,
    code: [AtomicPtr<PageCode>; CODE_KINDS],
    flags: AtomicU8,
}

// SAFETY: `bytes` is the only field that is not already Sync; the module's rule (see `memory`) says that a page is
// never written by one thread while another can reach it.
unsafe impl Sync for Page {}
// SAFETY: a page owns its bytes and its boxes of code, which are Send.
unsafe impl Send for Page {}

impl Drop for Page {
    fn drop(&mut self) {
        for slot in &mut self.code {
            let code = std::mem::replace(slot.get_mut(), ptr::null_mut());
            if !code.is_null() {
                // SAFETY: the pointer came from `Box::into_raw` in `publish`, and is taken out once.
                drop(unsafe { Box::from_raw(code) });
            }
        }
    }
}

/// A shared handle of one page (4 KiB) of guest memory.
///
/// Cloning shares the page and ends its *exclusive* state: from then on a private mapping copies it before writing.
pub struct PageRef(Arc<Page>);

impl Clone for PageRef {
    fn clone(&self) -> Self {
        if self.0.flags.load(Ordering::Relaxed) & EXCLUSIVE != 0 {
            self.0.flags.fetch_and(!EXCLUSIVE, Ordering::Relaxed);
        }
        PageRef(Arc::clone(&self.0))
    }
}

impl std::fmt::Debug for PageRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PageRef({:p})", Arc::as_ptr(&self.0))
    }
}

impl PageRef {
    fn new(bytes: [u8; PAGE_SIZE]) -> PageRef {
        PageRef(Arc::new(Page {
            bytes: UnsafeCell::new(bytes),
            code: [const { AtomicPtr::new(ptr::null_mut()) }; CODE_KINDS],
            flags: AtomicU8::new(EXCLUSIVE),
        }))
    }

    /// A new page of zeros.
    pub fn zeroed() -> PageRef {
        PageRef::new([0; PAGE_SIZE])
    }

    /// A new page that begins with `bytes` (at most 4096 of them are taken) and is zero behind.
    pub fn from_slice(bytes: &[u8]) -> PageRef {
        let mut page = [0; PAGE_SIZE];
        let n = bytes.len().min(PAGE_SIZE);
        page[..n].copy_from_slice(&bytes[..n]);
        PageRef::new(page)
    }

    /// Copies bytes from offset `off` into `buf`; what lies beyond the page's end is left alone. Returns how many
    /// bytes were copied.
    pub fn read(&self, off: usize, buf: &mut [u8]) -> usize {
        if off >= PAGE_SIZE {
            return 0;
        }
        let n = buf.len().min(PAGE_SIZE - off);
        // SAFETY: off + n <= PAGE_SIZE, and `buf` is a distinct Rust buffer.
        unsafe { ptr::copy_nonoverlapping(self.as_ptr().add(off), buf.as_mut_ptr(), n) };
        n
    }

    /// Writes in place from offset `off`, whoever sees the page: for objects that a world owns. Code that was
    /// decoded from the page is forgotten. Must not be used on a page that another world can reach. Returns how many
    /// bytes were written (none beyond the page's end).
    pub fn write(&self, off: usize, bytes: &[u8]) -> usize {
        if off >= PAGE_SIZE {
            return 0;
        }
        let n = bytes.len().min(PAGE_SIZE - off);
        self.forget_code();
        // SAFETY: off + n <= PAGE_SIZE; nobody runs or reads this page now (the module's rule).
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.as_ptr().add(off), n) };
        n
    }

    /// A new page with the same bytes, exclusive and without code.
    pub fn copy(&self) -> PageRef {
        // SAFETY: the bytes are initialised and nobody writes them now (the module's rule).
        PageRef::new(unsafe { *self.0.bytes.get() })
    }

    /// Whether both are the same page (not: equal bytes).
    pub fn ptr_eq(&self, other: &PageRef) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A number that is unique to this page among those alive: the key of a futex or of a map.
    pub fn id(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    /// Whether every byte is zero.
    pub fn is_zero(&self) -> bool {
        // SAFETY: as in `copy`.
        unsafe { &*self.0.bytes.get() }.iter().all(|&b| b == 0)
    }

    /// Bytes of decoded code that is kept with this page.
    pub fn code_bytes(&self) -> usize {
        (0..CODE_KINDS)
            .filter_map(|k| self.code(k))
            .map(PageCode::bytes)
            .sum()
    }

    /// Flags to be written with the page.
    pub(super) fn flags(&self) -> u8 {
        self.0.flags.load(Ordering::Relaxed)
    }

    /// A page with these flags.
    pub(super) fn with_flags(bytes: [u8; PAGE_SIZE], flags: u8) -> PageRef {
        let page = PageRef::new(bytes);
        page.0
            .flags
            .store(flags & (EXCLUSIVE | SHARED_WRITABLE), Ordering::Relaxed);
        page
    }

    /// A second handle for the interpreter's own short use; does not end the exclusive state.
    pub(crate) fn clone_quiet(&self) -> PageRef {
        PageRef(Arc::clone(&self.0))
    }

    /// Whether this handle was never cloned since the page was made.
    pub(crate) fn exclusive(&self) -> bool {
        self.0.flags.load(Ordering::Relaxed) & EXCLUSIVE != 0
    }

    /// Whether this handle is the only one.
    pub(crate) fn sole(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// Ends the exclusive state, as a clone would.
    pub(crate) fn make_common(&self) {
        self.0.flags.fetch_and(!EXCLUSIVE, Ordering::Relaxed);
    }

    /// Marks a page that is mapped shared and writable: no code is kept for it from now on.
    pub(crate) fn set_shared_writable(&self) {
        if self.0.flags.fetch_or(SHARED_WRITABLE, Ordering::Relaxed) & SHARED_WRITABLE == 0 {
            self.forget_code();
        }
    }

    /// Whether decoded code may be kept with this page.
    pub(crate) fn keeps_code(&self) -> bool {
        self.0.flags.load(Ordering::Relaxed) & SHARED_WRITABLE == 0
    }

    /// Where the bytes are. Good as long as some handle of the page lives.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.0.bytes.get().cast()
    }

    /// The code decoded from this page for dispatcher `kind`, if any.
    pub(crate) fn code(&self, kind: usize) -> Option<&PageCode> {
        // SAFETY: a published pointer stays good until `take_code`, `forget_code` or drop. Those are called when
        // nobody of this world runs the page's code, or by the run itself, which keeps the box until its end; other
        // worlds cannot reach a page that is written (the module's rule).
        unsafe { self.0.code[kind].load(Ordering::Acquire).as_ref() }
    }

    /// Whether any code was decoded from this page.
    pub(crate) fn has_code(&self) -> bool {
        self.0.code.iter().any(|c| !c.load(Ordering::Relaxed).is_null())
    }

    /// Publishes a code table for dispatcher `kind`, or returns the one that somebody else was faster with.
    pub(crate) fn publish(&self, kind: usize, code: Box<PageCode>) -> &PageCode {
        let new = Box::into_raw(code);
        let slot = &self.0.code[kind];
        match slot.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: just published; see `code`.
            Ok(_) => unsafe { &*new },
            Err(other) => {
                // SAFETY: `new` was not published, so it is still ours alone; `other` is published.
                unsafe {
                    drop(Box::from_raw(new));
                    &*other
                }
            }
        }
    }

    /// Takes all code away from the page. The caller keeps it until no pointer into it is left.
    #[expect(clippy::vec_box, reason = "pointers into the boxes outlive the move")]
    pub(crate) fn take_code(&self) -> Vec<Box<PageCode>> {
        let mut taken = Vec::new();
        for slot in &self.0.code {
            if slot.load(Ordering::Relaxed).is_null() {
                continue;
            }
            let code = slot.swap(ptr::null_mut(), Ordering::AcqRel);
            if !code.is_null() {
                INVALIDATIONS.fetch_add(1, Ordering::AcqRel);
                // SAFETY: the pointer came from `Box::into_raw` in `publish`; the swap took it out once.
                taken.push(unsafe { Box::from_raw(code) });
            }
        }
        taken
    }

    /// Throws all code of the page away; for callers outside a run.
    pub(crate) fn forget_code(&self) {
        if self.has_code() {
            drop(self.take_code());
        }
    }
}
