//! The files that a cover puts above the image: `/etc` as an administrator left it, homes, logs, bait.
//!
//! A file names its content either as bytes or as a [`Lazy`] recipe, which [`Cover::render`](crate::Cover::render) turns into bytes
//! when a world first reads it.

pub mod etc;
mod history;
pub mod homes;
pub mod job;
mod known_hosts;
pub mod system;

use crate::cover::Image;
use serde::Serialize;

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Kind {
    /// A regular file.
    Regular(Content),
    /// A directory.
    Directory,
    /// A symbolic link and its target.
    Symlink(String),
}

/// Content of a regular file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Content {
    /// The bytes themselves.
    Bytes(Vec<u8>),
    /// Made when first read: a recipe and the length it will have is not known before.
    Lazy(Lazy),
}

/// A recipe for content that is made when it is first read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Lazy {
    /// A log file, by path.
    Log(String),
}

/// One file of the cover layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct File {
    /// Absolute path.
    pub path: String,
    /// Permission bits, including setuid, setgid, sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since the epoch.
    pub mtime: i64,
    /// Access time.
    pub atime: i64,
    /// What it is.
    pub kind: Kind,
    /// Id of the bait it holds, if it is one.
    pub bait: Option<String>,
}

impl File {
    /// A text file of root.
    pub fn text(path: &str, mode: u32, mtime: i64, content: impl Into<String>) -> File {
        File {
            path: path.into(),
            mode,
            uid: 0,
            gid: 0,
            mtime,
            atime: mtime,
            kind: Kind::Regular(Content::Bytes(content.into().into_bytes())),
            bait: None,
        }
    }

    /// The same file with another owner and group.
    pub fn owned(mut self, uid: u32, gid: u32) -> File {
        self.uid = uid;
        self.gid = gid;
        self
    }

    /// A directory.
    pub fn dir(path: &str, mode: u32, mtime: i64) -> File {
        File {
            kind: Kind::Directory,
            ..File::text(path, mode, mtime, "")
        }
    }

    /// A symbolic link.
    pub fn link(path: &str, target: &str, mtime: i64) -> File {
        File {
            kind: Kind::Symlink(target.into()),
            ..File::text(path, 0o777, mtime, "")
        }
    }
}

/// Number of a group in the image, 0 if it is not there.
pub(crate) fn group(image: &dyn Image, name: &str) -> u32 {
    let text = image.read("/etc/group").unwrap_or_default();
    String::from_utf8_lossy(&text)
        .lines()
        .filter_map(|l| {
            l.strip_prefix(name)?
                .strip_prefix(':')?
                .split(':')
                .nth(1)?
                .parse()
                .ok()
        })
        .next()
        .unwrap_or(0)
}
