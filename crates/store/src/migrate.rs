//! The schema of the database and how an older one becomes the present one.

use rusqlite::Connection;

use crate::{Layout, Result, StoreError};

/// One file for each version, applied in order. Released ones are never edited.
const MIGRATIONS: &[&str] = &[include_str!("../migrations/0001.sql")];

/// The version that this program writes.
pub fn version() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// The version of an open database; 0 for an empty one.
pub fn found(db: &Connection) -> Result<u32> {
    Ok(db.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

/// Brings the database to the present version. An older one with content is copied to `record.db.schema-N` first.
/// Returns that copy's path.
///
/// # Errors
/// [`StoreError::Newer`] when the record is from a newer program; it is then left untouched.
pub fn migrate(db: &mut Connection, layout: &Layout) -> Result<Option<std::path::PathBuf>> {
    let (from, known) = (found(db)?, version());
    if from > known {
        return Err(StoreError::Newer { found: from, known });
    }
    if from == known {
        return Ok(None);
    }
    let mut copy = None;
    if from > 0 {
        let path = layout.root().join(format!("record.db.schema-{from}"));
        let _ = std::fs::remove_file(&path);
        db.execute("VACUUM INTO ?1", [path.to_string_lossy()])?;
        copy = Some(path);
    }
    let start = usize::try_from(from).unwrap_or(usize::MAX);
    let transaction = db.transaction()?;
    for sql in MIGRATIONS.iter().skip(start) {
        transaction.execute_batch(sql)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    Ok(copy)
}
