//! What lies where in the data directory.
//!
//! ```text
//! seed                     the install's secret (32 bytes in hexadecimal): covers and keyed hashes come from it
//! record.db                events, sessions, search (SQLite, WAL)
//! recordings/xx/ID.raw     a session's recording; ID.raw.gz once it is closed, unless it is small
//! journals/xx/WORLD.raw    what came into a world that lives; WORLD.raw.gz once it is over
//! journals/xx/WORLD.disk   what its disk held when it was last written down
//! journals/xx/WORLD.AT.checkpoint  the world as it was at byte AT of its journal
//! artifacts/xx/SHA256.art  files that intruders brought, encoded
//! images/                  images that worlds start from
//! run/                     lock, control socket: only while the program runs
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use turncoat_event::{SessionId, Sha256, WorldId};

use crate::{Result, StoreError};

/// Paths inside one data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout of this data directory, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Layout {
        Layout { root: root.into() }
    }

    /// The data directory.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// The install's secret.
    pub fn seed(&self) -> PathBuf {
        self.root.join("seed")
    }
    /// The database.
    pub fn database(&self) -> PathBuf {
        self.root.join("record.db")
    }
    /// All recordings.
    pub fn recordings(&self) -> PathBuf {
        self.root.join("recordings")
    }
    /// All journals of worlds.
    pub fn journals(&self) -> PathBuf {
        self.root.join("journals")
    }
    /// All artifacts.
    pub fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }
    /// All images.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }
    /// What is there only while the program runs.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }
    /// Locked by the process that writes the record.
    pub fn lock(&self) -> PathBuf {
        self.run().join("lock")
    }
    /// The socket on which the running program takes requests of the command line.
    pub fn control(&self) -> PathBuf {
        self.run().join("control")
    }

    /// A running session's recording. The last two digits of the id spread the files over 256 directories.
    pub fn recording(&self, session: SessionId) -> PathBuf {
        let name = session.to_string();
        let shard = name.get(34..).unwrap_or("00");
        self.recordings().join(shard).join(format!("{name}.raw"))
    }

    /// A closed session's recording.
    pub fn recording_closed(&self, session: SessionId) -> PathBuf {
        self.recording(session).with_extension("raw.gz")
    }

    /// The journal of a world that lives.
    pub fn journal(&self, world: WorldId) -> PathBuf {
        let name = world.to_string();
        let shard = name.get(34..).unwrap_or("00");
        self.journals().join(shard).join(format!("{name}.raw"))
    }

    /// The journal of a world that is over.
    pub fn journal_closed(&self, world: WorldId) -> PathBuf {
        self.journal(world).with_extension("raw.gz")
    }

    /// An artifact.
    pub fn artifact(&self, sha256: Sha256) -> PathBuf {
        let name = sha256.to_string();
        let shard = name.get(..2).unwrap_or("00");
        self.artifacts().join(shard).join(format!("{name}.art"))
    }

    /// Makes the directories, closed to everybody else.
    pub fn create(&self) -> Result<()> {
        for dir in [
            self.root.clone(),
            self.recordings(),
            self.journals(),
            self.artifacts(),
            self.images(),
            self.run(),
        ] {
            make_private(&dir)?;
        }
        Ok(())
    }
}

/// Makes a directory (and its parents) that only we may enter; one that is there stays as it is.
pub fn make_private(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(StoreError::io(dir))
}
