//! Images: the read-only file systems that worlds start from, one file each.
//!
//! An [`Image`] is opened from a file that somebody else opened (this crate opens no host path) and read with positioned reads
//! only. Its tables (inodes, directories, links, page numbers) are loaded once, checked completely, and shared by every world
//! through an `Arc`; the data of files stays in the file, in 64 KiB chunks, and comes back as 4 KiB pages out of one bounded,
//! hash-checked cache. The same page of the same image is the same [`PageRef`] for everybody as long as it is cached, so that
//! what was decoded from it is shared as well.
//!
//! Parts: `format` has the bytes of header and tables, `meta` the checked tables, `cache` the pages, `tree` and `writer` make
//! images, `error` says what was wrong with one. Nothing in an image file can make this module panic: it is hostile input
//! like everything else.

mod cache;
mod error;
mod format;
mod meta;
mod page;
#[cfg(test)]
mod tests;
mod tree;
mod writer;

use std::fs::File;
use std::sync::Arc;

pub use cache::CacheStats;
pub use error::ImageError;
pub use format::VERSION;
pub use meta::{DirEntry, Ino, InodeMeta, Kind, Xattrs};
pub use page::{PAGE, PageRef};
pub use tree::{Attr, Content, NodeId, NodeKind, Tree, TreeError};
pub use writer::{Blob, Writer};

use cache::Pages;
use meta::Meta;
pub(crate) use meta::dirent_bytes;

/// The identity of an image: SHA-256 over its header, which holds the hash of its tables, which hold the hash of every chunk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageId(pub [u8; 32]);

impl std::fmt::Display for ImageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl std::fmt::Debug for ImageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// How much page data the cache of one image may hold by default, in bytes.
pub const DEFAULT_CACHE: usize = 256 << 20;

/// One package that is installed in an image, as its dpkg database states it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub arch: String,
}

/// An opened image. Cheap to share, safe to use from any thread.
pub struct Image {
    id: ImageId,
    meta: Meta,
    pages: Pages,
}

impl Image {
    /// Opens an image: reads the tables, checks their hash and every number in them. File data is checked when it is read,
    /// or all at once by [`Image::verify`].
    pub fn open(file: File) -> Result<Arc<Image>, ImageError> {
        Image::open_with(file, DEFAULT_CACHE)
    }

    /// As [`Image::open`], with a bound in bytes for the page cache.
    pub fn open_with(file: File, cache_bytes: usize) -> Result<Arc<Image>, ImageError> {
        let (id, meta, chunks) = format::read(&file)?;
        Ok(Arc::new(Image {
            id,
            meta,
            pages: Pages::new(file, chunks, cache_bytes),
        }))
    }

    /// Its identity.
    pub fn id(&self) -> ImageId {
        self.id
    }

    /// The root directory.
    pub fn root(&self) -> Ino {
        Ino::ROOT
    }

    /// How many inodes it has; they are numbered from 1 without holes.
    pub fn inode_count(&self) -> u32 {
        self.meta.inode_count()
    }

    /// What is known of an inode.
    pub fn inode(&self, ino: Ino) -> Result<&InodeMeta, ImageError> {
        self.meta.inode(ino)
    }

    /// The inode that `name` means in directory `dir`; `None` if there is none. `.` and `..` are not entries.
    pub fn lookup(&self, dir: Ino, name: &[u8]) -> Result<Option<Ino>, ImageError> {
        self.meta.lookup(dir, name)
    }

    /// The entries of a directory in the order of their bytes, without `.` and `..`. The index of an entry is stable and
    /// serves as a cookie: `readdir(dir)?.skip(cookie)` goes on behind it at no cost.
    pub fn readdir(&self, dir: Ino) -> Result<impl ExactSizeIterator<Item = DirEntry<'_>> + '_, ImageError> {
        self.meta.readdir(dir)
    }

    /// Bytes that the entries of a directory take on ext4, `.` and `..` aside; 0 for what is no directory.
    pub fn dir_bytes(&self, dir: Ino) -> u64 {
        self.meta.dir_bytes(dir)
    }

    /// The directory that a directory lies in; the root's is the root.
    pub fn parent(&self, dir: Ino) -> Result<Ino, ImageError> {
        self.meta.parent(dir)
    }

    /// Where a symbolic link points.
    pub fn readlink(&self, ino: Ino) -> Result<&[u8], ImageError> {
        self.meta.readlink(ino)
    }

    /// The extended attributes of an inode, sorted by name.
    pub fn xattrs(&self, ino: Ino) -> Result<Xattrs<'_>, ImageError> {
        self.meta.xattrs(ino)
    }

    /// Page `index` of a file, zero-filled behind its end; `None` for a page that lies wholly behind the end. Pages are
    /// immutable: whoever wants to write one copies it.
    pub fn page(&self, ino: Ino, index: u64) -> Result<Option<PageRef>, ImageError> {
        match self.meta.page_number(ino, index)? {
            None => Ok(None),
            Some(number) => self.pages.page(number).map(Some),
        }
    }

    /// Whether page `index` of a file is a hole (all zeroes, no space used).
    pub fn is_hole(&self, ino: Ino, index: u64) -> Result<bool, ImageError> {
        Ok(self.meta.page_number(ino, index)? == Some(format::HOLE))
    }

    /// How many of the first `pages` pages of a file are holes; all that lie behind its end are.
    pub fn holes(&self, ino: Ino, pages: u64) -> Result<u64, ImageError> {
        let numbers = self.meta.page_numbers(ino)?;
        let some = usize::try_from(pages).map_or(numbers, |n| numbers.get(..n).unwrap_or(numbers));
        let data = some.iter().filter(|n| **n != format::HOLE).count() as u64;
        Ok(pages - data)
    }

    /// Reads from a file at an offset; returns how many bytes there were, less than asked only at the end of the file.
    pub fn read(&self, ino: Ino, off: u64, buf: &mut [u8]) -> Result<usize, ImageError> {
        let size = self.meta.file_size(ino)?;
        let len = size.saturating_sub(off).min(buf.len() as u64) as usize;
        let mut done = 0;
        while done < len {
            let at = off + done as u64;
            let Some(page) = self.page(ino, at / PAGE as u64)? else {
                break;
            };
            let within = (at % PAGE as u64) as usize;
            let n = (PAGE - within).min(len - done);
            let Some(out) = buf.get_mut(done..done + n) else {
                break;
            };
            page::read(&page, within, out);
            done += n;
        }
        Ok(done)
    }

    /// The whole of a file, if it has at most `limit` bytes.
    pub fn read_all(&self, ino: Ino, limit: u64) -> Result<Vec<u8>, ImageError> {
        let size = self.meta.file_size(ino)?;
        if size > limit {
            return Err(ImageError::TooLarge { what: "file", limit });
        }
        let mut buf = vec![0; size as usize];
        let n = self.read(ino, 0, &mut buf)?;
        buf.truncate(n);
        Ok(buf)
    }

    /// The inode at a path, following symbolic links (also the last one) inside the image; `None` if there is none.
    pub fn resolve(&self, path: &[u8]) -> Result<Option<Ino>, ImageError> {
        self.meta.resolve(path)
    }

    /// A value that the builder left beside the file system (`arch`, `source`, ...); documented where it is written.
    pub fn info(&self, key: &str) -> Option<&str> {
        self.meta.info(key)
    }

    /// All such values.
    pub fn infos(&self) -> impl Iterator<Item = (&str, &str)> {
        self.meta.infos()
    }

    /// The pairs of `/etc/os-release`, unquoted; empty if there is no such file.
    pub fn os_release(&self) -> Vec<(String, String)> {
        let Ok(Some(ino)) = self.resolve(b"/etc/os-release") else {
            return Vec::new();
        };
        let Ok(text) = self.read_all(ino, 64 << 10) else {
            return Vec::new();
        };
        String::from_utf8_lossy(&text)
            .lines()
            .filter_map(|line| line.trim().split_once('='))
            .filter(|(key, _)| !key.starts_with('#'))
            .map(|(key, value)| (key.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
            .collect()
    }

    /// The installed packages that `/var/lib/dpkg/status` names, sorted; empty if there is no such file.
    pub fn packages(&self) -> Vec<Package> {
        let Ok(Some(ino)) = self.resolve(b"/var/lib/dpkg/status") else {
            return Vec::new();
        };
        let Ok(text) = self.read_all(ino, 64 << 20) else {
            return Vec::new();
        };
        let text = String::from_utf8_lossy(&text);
        let field = |stanza: &str, key: &str| {
            stanza
                .lines()
                .find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))
                .map(|v| v.trim().to_owned())
        };
        let mut all: Vec<Package> = text
            .split("\n\n")
            .filter(|s| field(s, "Status").is_some_and(|v| v.ends_with(" installed")))
            .filter_map(|s| {
                Some(Package {
                    name: field(s, "Package")?,
                    version: field(s, "Version")?,
                    arch: field(s, "Architecture")?,
                })
            })
            .collect();
        all.sort();
        all
    }

    /// Sizes as a file system would state them: bytes of all files as they are stored (each distinct page once), and in the
    /// image file.
    pub fn data_bytes(&self) -> (u64, u64) {
        self.pages.data_bytes()
    }

    /// How the page cache fares.
    pub fn cache_stats(&self) -> CacheStats {
        self.pages.stats()
    }

    /// Reads and checks everything; `progress` is told chunks done and chunks in all.
    pub fn verify(&self, mut progress: impl FnMut(u64, u64)) -> Result<(), ImageError> {
        let all = self.pages.chunk_count();
        for chunk in 0..all {
            self.pages.check(chunk)?;
            progress(u64::from(chunk) + 1, u64::from(all));
        }
        Ok(())
    }
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image({}, {} inodes)", self.id, self.inode_count())
    }
}
