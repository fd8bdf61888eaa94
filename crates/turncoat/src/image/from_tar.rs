//! A root file system in a tar archive (of `docker export`, of debootstrap's `--make-tarball`) becomes the tree of an image.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use turncoat_kernel::image::{Attr, Content, NodeKind};

use super::archive::{Entry, Member, Tar, absolute, decompress};
use super::{BuildError, Draft, Progress, Report};

/// Puts everything in the archive into the draft.
pub(super) fn fill(draft: &mut Draft, path: &Path, report: Report<'_>) -> Result<(), BuildError> {
    let name = path.display().to_string();
    report(Progress::Stage("reading the archive"));
    let file = File::open(path).map_err(BuildError::io(name.clone()))?;
    let mut tar = Tar::new(decompress(file).map_err(BuildError::io(name.clone()))?);
    let (mut done, mut bytes) = (0u64, 0);
    while let Some(entry) = tar.next().map_err(BuildError::io(name.clone()))? {
        let content = match entry.member {
            Member::File => {
                bytes += entry.size;
                Some(Content::Blob(draft.writer.add(&mut tar)?))
            }
            _ => None,
        };
        place(draft, &entry, &entry.path(), content)?;
        done += 1;
        if done.is_multiple_of(256) {
            let item = String::from_utf8_lossy(&entry.name);
            report(Progress::Step {
                done,
                total: 0,
                bytes,
                total_bytes: 0,
                item: &item,
            });
        }
    }
    draft.info.push(("source", "archive".into()));
    Ok(())
}

/// Puts a member of an archive at a path of the tree. Directories on the way that the archive does not have are made.
pub(super) fn place(
    draft: &mut Draft,
    entry: &Entry,
    path: &[u8],
    content: Option<Content>,
) -> Result<(), BuildError> {
    let attr = Attr {
        perm: entry.perm,
        uid: entry.uid,
        gid: entry.gid,
        mtime: entry.mtime,
        mtime_nsec: 0,
    };
    let tree = &mut draft.tree;
    if path == b"/" {
        let root = tree.root();
        *tree.attr_mut(root) = attr;
        return Ok(());
    }
    let parent = path
        .iter()
        .rposition(|&b| b == b'/')
        .and_then(|at| path.get(..at))
        .unwrap_or_default();
    tree.mkdir_all(parent, Attr::root(0o755, entry.mtime))?;
    let kind = match &entry.member {
        Member::File => NodeKind::File(content.unwrap_or(Content::Bytes(Vec::new()))),
        Member::Link(target) => {
            let first = tree.find(&absolute(target), false)?;
            return Ok(tree.link(first, path)?);
        }
        Member::Symlink(target) => NodeKind::Symlink(target.clone()),
        Member::Char(major, minor) => NodeKind::Char(*major, *minor),
        Member::Block(major, minor) => NodeKind::Block(*major, *minor),
        Member::Dir => NodeKind::Dir(BTreeMap::new()),
        Member::Fifo => NodeKind::Fifo,
    };
    let id = tree.put(path, attr, kind)?;
    for (name, value) in &entry.xattrs {
        tree.set_xattr(id, name, value);
    }
    Ok(())
}
