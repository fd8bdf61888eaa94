//! What can go wrong with the record, sorted by what the program does about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What a failure means for the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Problem {
    /// No space. New sessions wait; the batch is tried again.
    DiskFull,
    /// The directory cannot be written. As with [`Problem::DiskFull`].
    ReadOnly,
    /// The database is damaged. Nothing more is written; a person must look.
    Corrupt,
    /// Anything else. The batch is tried again.
    Other,
}

impl Problem {
    /// The name in `system.degraded` and `status`.
    pub fn name(self) -> &'static str {
        match self {
            Problem::DiskFull => "disk-full",
            Problem::ReadOnly => "read-only",
            Problem::Corrupt => "corrupt",
            Problem::Other => "store",
        }
    }
}

/// An error of the record.
#[derive(Debug)]
pub enum StoreError {
    /// A file could not be read or written.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database said no.
    Database(rusqlite::Error),
    /// Another process writes this record.
    InUse(PathBuf),
    /// The record was written by a newer version.
    Newer {
        /// Schema version found.
        found: u32,
        /// Highest version that this program knows.
        known: u32,
    },
    /// There is no record here.
    Absent(PathBuf),
    /// Something in the record is not what it must be.
    Damaged(String),
    /// The request makes no sense.
    Refused(String),
}

impl StoreError {
    pub(crate) fn io(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.as_ref().to_owned();
        move |source| StoreError::Io { path, source }
    }

    /// What the program does about it.
    pub fn problem(&self) -> Problem {
        use rusqlite::ErrorCode;
        match self {
            StoreError::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                    Problem::DiskFull
                }
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Problem::ReadOnly,
                _ => Problem::Other,
            },
            StoreError::Database(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => Problem::DiskFull,
                Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                    Problem::ReadOnly
                }
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Problem::Corrupt,
                _ => Problem::Other,
            },
            StoreError::Damaged(_) => Problem::Corrupt,
            _ => Problem::Other,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Io { path, source } => write!(f, "{}: {source}", path.display()),
            StoreError::Database(error) => match self.problem() {
                Problem::Corrupt => write!(
                    f,
                    "the record's database is damaged ({error}); move record.db aside, or bring a backup back with `turncoat restore`"
                ),
                _ => write!(f, "database: {error}"),
            },
            StoreError::InUse(path) => write!(f, "{} is in use by another process", path.display()),
            StoreError::Newer { found, known } => write!(
                f,
                "the record has schema {found}, this program knows up to {known}: use the newer program, or restore a backup made before the upgrade"
            ),
            StoreError::Absent(path) => write!(
                f,
                "there is no record in {}: has `turncoat run` ever run with this data directory?",
                path.display()
            ),
            StoreError::Damaged(what) => write!(f, "the record is damaged: {what}"),
            StoreError::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StoreError::Io { source, .. } => Some(source),
            StoreError::Database(error) => Some(error),
            _ => None,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        StoreError::Database(error)
    }
}
