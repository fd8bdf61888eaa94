//! The schema of the database and how an older one becomes the present one.

use rusqlite::Connection;

use crate::{Layout, Result, StoreError};

/// One file for each version, applied in order. Released ones are never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001.sql"),
    include_str!("../migrations/0002.sql"),
];

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
    forward(db, layout, MIGRATIONS)
}

fn forward(db: &mut Connection, layout: &Layout, steps: &[&str]) -> Result<Option<std::path::PathBuf>> {
    let known = u32::try_from(steps.len()).unwrap_or(u32::MAX);
    let from = found(db)?;
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
    for sql in steps.iter().skip(start) {
        transaction.execute_batch(sql)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> (Layout, Connection) {
        let dir = std::env::temp_dir().join(format!("turncoat-migrate-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let layout = Layout::new(dir);
        let db = Connection::open(layout.database()).unwrap();
        (layout, db)
    }

    const NOTE: &str = "INSERT INTO meta (name, value) VALUES ('kept', 'yes')";

    fn kept(db: &Connection) -> String {
        db.query_row("SELECT value FROM meta WHERE name = 'kept'", [], |r| r.get(0))
            .unwrap()
    }

    #[test]
    fn an_older_record_is_copied_and_brought_forward() {
        let (layout, mut db) = place("older");
        let first = &MIGRATIONS[..1];
        assert_eq!(
            forward(&mut db, &layout, first).unwrap(),
            None,
            "a new one needs no copy"
        );
        db.execute_batch(NOTE).unwrap();
        let newer = [
            first[0],
            "ALTER TABLE session ADD COLUMN mood TEXT",
            "CREATE TABLE more (a INTEGER)",
        ];
        let copy = forward(&mut db, &layout, &newer).unwrap().unwrap();
        assert_eq!(copy, layout.root().join("record.db.schema-1"));
        assert_eq!((found(&db).unwrap(), kept(&db).as_str()), (3, "yes"));
        db.execute_batch("SELECT mood FROM session; SELECT a FROM more")
            .unwrap();
        let before = Connection::open(copy).unwrap();
        assert_eq!((found(&before).unwrap(), kept(&before).as_str()), (1, "yes"));
        assert_eq!(forward(&mut db, &layout, &newer).unwrap(), None, "once is enough");
        std::fs::remove_dir_all(layout.root()).unwrap();
    }

    #[test]
    fn a_step_that_fails_leaves_the_record_as_it_was() {
        let (layout, mut db) = place("fails");
        forward(&mut db, &layout, &MIGRATIONS[..1]).unwrap();
        db.execute_batch(NOTE).unwrap();
        let steps = [MIGRATIONS[0], "CREATE TABLE more (a INTEGER)", "this is not SQL"];
        assert!(forward(&mut db, &layout, &steps).is_err());
        assert_eq!((found(&db).unwrap(), kept(&db).as_str()), (1, "yes"));
        assert!(
            db.execute_batch("SELECT a FROM more").is_err(),
            "no half of it stays"
        );
        std::fs::remove_dir_all(layout.root()).unwrap();
    }

    #[test]
    fn every_schema_that_was_ever_released_comes_forward() {
        for from in 1..=MIGRATIONS.len() {
            let (layout, mut db) = place(&format!("from-{from}"));
            forward(&mut db, &layout, &MIGRATIONS[..from]).unwrap();
            db.execute_batch(NOTE).unwrap();
            migrate(&mut db, &layout).unwrap();
            assert_eq!((found(&db).unwrap(), kept(&db).as_str()), (version(), "yes"));
            std::fs::remove_dir_all(layout.root()).unwrap();
        }
    }
}
