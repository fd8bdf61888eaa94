//! Parts of a frozen guest that are of other crates: written as JSON, as the record has them.

use serde::Serialize;
use serde::de::DeserializeOwned;
use turncoat_freeze::{Damaged, Freeze, In, Out};

/// Writes one.
pub(crate) fn put<T: Serialize>(one: &T, _: Option<&T>, out: &mut Out) {
    match serde_json::to_vec(one) {
        Ok(bytes) => bytes.put(None, out),
        Err(_) => out.fail(),
    }
}

/// Takes one back.
pub(crate) fn take<T: DeserializeOwned>(_: Option<&T>, from: &mut In<'_>) -> Result<T, Damaged> {
    let bytes = Vec::<u8>::take(None, from)?;
    serde_json::from_slice(&bytes).map_err(|_| Damaged("a part is not what it should be"))
}
