//! A root file system in a directory of the host becomes the tree of an image.
//!
//! Links are read, never followed; other file systems mounted below are left out.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use turncoat_kernel::image::{Attr, Content, NodeId, NodeKind};

use super::{BuildError, Draft, Progress, Report};

struct Walk<'a, 'r> {
    draft: &'a mut Draft,
    device: u64,
    links: HashMap<u64, NodeId>,
    done: u64,
    bytes: u64,
    report: Report<'r>,
}

/// Puts everything below `root` into the draft.
pub(super) fn fill(draft: &mut Draft, root: &Path, report: Report<'_>) -> Result<(), BuildError> {
    report(Progress::Stage("reading the directory"));
    let meta = fs::symlink_metadata(root).map_err(BuildError::io(root.display().to_string()))?;
    if !meta.is_dir() {
        return Err(BuildError::format(root.display().to_string(), "not a directory"));
    }
    let top = draft.tree.root();
    *draft.tree.attr_mut(top) = attr(&meta);
    let mut walk = Walk {
        draft,
        device: meta.dev(),
        links: HashMap::new(),
        done: 0,
        bytes: 0,
        report,
    };
    walk.dir(root, &mut Vec::new())?;
    draft.info.push(("source", "directory".into()));
    Ok(())
}

fn attr(meta: &Metadata) -> Attr {
    Attr {
        perm: (meta.mode() & 0o7777) as u16,
        uid: meta.uid(),
        gid: meta.gid(),
        mtime: meta.mtime(),
        mtime_nsec: meta.mtime_nsec() as u32,
    }
}

/// The numbers in a `dev_t` of Linux, makedev(3).
fn device_numbers(dev: u64) -> (u32, u32) {
    (rustix::fs::major(dev), rustix::fs::minor(dev))
}

impl Walk<'_, '_> {
    fn dir(&mut self, host: &Path, path: &mut Vec<u8>) -> Result<(), BuildError> {
        let mut entries = fs::read_dir(host)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(BuildError::io(host.display().to_string()))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let at = entry.path();
            let here = path.len();
            path.push(b'/');
            path.extend(entry.file_name().as_bytes());
            self.node(&at, path).map_err(|e| match e {
                BuildError::Io { what, error } if what == "image" => BuildError::Io {
                    what: at.display().to_string(),
                    error,
                },
                other => other,
            })?;
            path.truncate(here);
        }
        Ok(())
    }

    fn node(&mut self, host: &Path, path: &mut Vec<u8>) -> Result<(), BuildError> {
        let meta = fs::symlink_metadata(host)?;
        let kind = meta.file_type();
        if let Some(&first) = self.links.get(&meta.ino()).filter(|_| !kind.is_dir()) {
            return Ok(self.draft.tree.link(first, path)?);
        }
        let (major, minor) = device_numbers(meta.rdev());
        let what = if kind.is_dir() {
            NodeKind::Dir(BTreeMap::new())
        } else if kind.is_symlink() {
            NodeKind::Symlink(fs::read_link(host)?.as_os_str().as_bytes().to_vec())
        } else if kind.is_char_device() {
            NodeKind::Char(major, minor)
        } else if kind.is_block_device() {
            NodeKind::Block(major, minor)
        } else if kind.is_fifo() {
            NodeKind::Fifo
        } else if kind.is_socket() {
            NodeKind::Socket
        } else {
            let blob = self.draft.writer.add(File::open(host)?)?;
            self.bytes += blob.size();
            NodeKind::File(Content::Blob(blob))
        };
        let id = self.draft.tree.put(path, attr(&meta), what)?;
        if !kind.is_dir() && meta.nlink() > 1 {
            self.links.insert(meta.ino(), id);
        }
        self.xattrs(host, id)?;
        self.done += 1;
        if self.done.is_multiple_of(256) {
            let item = String::from_utf8_lossy(path);
            (self.report)(Progress::Step {
                done: self.done,
                total: 0,
                bytes: self.bytes,
                total_bytes: 0,
                item: &item,
            });
        }
        if kind.is_dir() && meta.dev() == self.device {
            self.dir(host, path)?;
        }
        Ok(())
    }

    /// File capabilities and the like; a host file system without attributes has none.
    fn xattrs(&mut self, host: &Path, id: NodeId) -> Result<(), BuildError> {
        let mut names = vec![0u8; 64 << 10];
        let n = match rustix::fs::llistxattr(host, &mut names) {
            Ok(n) => n,
            Err(rustix::io::Errno::NOTSUP) => return Ok(()),
            Err(e) => return Err(std::io::Error::from(e).into()),
        };
        names.truncate(n);
        for name in names.split(|&c| c == 0).filter(|n| !n.is_empty()) {
            // What a security module of the host wrote tells of the host.
            if matches!(
                name,
                b"security.selinux" | b"security.apparmor" | b"security.ima" | b"security.evm"
            ) {
                continue;
            }
            let mut value = vec![0u8; 64 << 10];
            let n = rustix::fs::lgetxattr(host, name, &mut value).map_err(std::io::Error::from)?;
            value.truncate(n);
            self.draft.tree.set_xattr(id, name, &value);
        }
        Ok(())
    }
}
