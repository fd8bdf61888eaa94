//! The files that a cover puts above the image: `/etc` as an administrator left it, homes, logs, bait.
//!
//! A file names its content either as bytes or as what is to be [`Packed`]: that takes its time, and who only asks what a cover says needs
//! not wait for it.

pub mod etc;
mod history;
pub mod homes;
pub mod job;
mod known_hosts;
pub mod system;

use crate::cover::Image;
use flate2::{Compression, GzBuilder};
use serde::Serialize;
use std::borrow::Cow;
use std::io::Write;

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
    /// Packed when the machine is put together.
    Packed(Packed),
}

impl Content {
    /// What a program reads in the file.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Content::Bytes(b) => b.into(),
            Content::Packed(p) => p.bytes().into(),
        }
    }
}

/// What `gzip -9 NAME` makes of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Packed {
    /// Name of the file, as it is in the header.
    pub name: String,
    /// Its time, seconds since the epoch.
    pub mtime: i64,
    /// What it held.
    pub plain: Vec<u8>,
}

impl Packed {
    /// The packed file.
    pub fn bytes(&self) -> Vec<u8> {
        let head = GzBuilder::new().filename(self.name.as_bytes());
        gzip(head, Compression::best(), self.mtime, &self.plain)
    }
}

/// What gzip makes on this system of what was written at a time, seconds since the epoch.
pub(crate) fn gzip(head: GzBuilder, level: Compression, mtime: i64, plain: &[u8]) -> Vec<u8> {
    let mut w = head
        .mtime(u32::try_from(mtime).unwrap_or(0))
        .operating_system(3)
        .write(Vec::new(), level);
    // Writing to memory does not fail.
    let _ = w.write_all(plain);
    w.finish().unwrap_or_default()
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
