//! `#[freeze(with = turncoat_freeze::empty)]`: what holds nothing whenever a state is written, since it was handed out or undone before.

use crate::{Damaged, In, Out};

/// Writes nothing; a state in which there is something cannot be written.
pub fn put<T>(all: &[T], _: Option<&Vec<T>>, out: &mut Out) {
    if !all.is_empty() {
        out.fail();
    }
}

/// Nothing.
///
/// # Errors
/// Never: it is as the others.
pub fn take<T>(_: Option<&Vec<T>>, _: &mut In<'_>) -> Result<Vec<T>, Damaged> {
    Ok(Vec::new())
}
