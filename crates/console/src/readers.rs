//! A few open readers of the record, used in turn.

use std::sync::{Mutex, PoisonError};

use turncoat_store::{Layout, Reader, Result};

/// Readers that stay open between requests.
const KEPT: usize = 4;

/// The readers.
pub struct Readers {
    layout: Layout,
    free: Mutex<Vec<Reader>>,
}

impl Readers {
    /// None open yet.
    pub fn new(layout: Layout) -> Readers {
        Readers {
            layout,
            free: Mutex::default(),
        }
    }

    /// Does something with one of them.
    ///
    /// # Errors
    /// What the record says when a reader is opened.
    pub fn with<T>(&self, work: impl FnOnce(&Reader) -> T) -> Result<T> {
        let kept = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let reader = match kept {
            Some(reader) => reader,
            None => Reader::open(&self.layout)?,
        };
        let done = work(&reader);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(reader);
        }
        Ok(done)
    }
}
