//! sysfs and its small relatives (cgroup2, debugfs, …): fixed trees of attributes, made once from the facts of the machine.
//!
//! `build` makes the trees, `live` the attributes that follow the kernel's state. Inode `n + 1` of such a file system is node `n`.

mod build;
pub mod facts;
mod live;

pub(crate) use build::tree;

use crate::proc::view::{Effect, KernelView};
use crate::vfs::inode::Attr;
use crate::vfs::tree::{Text, Tree, TreeInode, TreeNode};
use crate::vfs::types::{Name, Timespec, mode};
use crate::{Errno, KResult};

fn node(t: &Tree, num: u64) -> KResult<&TreeInode> {
    num.checked_sub(1)
        .and_then(|n| t.get(u32::try_from(n).ok()?))
        .ok_or(Errno::ENOENT)
}

pub(crate) fn attr(t: &Tree, made: Timespec, num: u64) -> KResult<Attr> {
    let n = node(t, num)?;
    let (kind, nlink, size) = match &n.node {
        TreeNode::Dir(map) => {
            let dirs = map
                .values()
                .filter(|&&c| t.get(c).is_some_and(|c| matches!(c.node, TreeNode::Dir(_))))
                .count();
            (mode::IFDIR, 2 + dirs as u32, 0)
        }
        TreeNode::File { size, .. } => (mode::IFREG, 1, *size),
        TreeNode::Link(_) => (mode::IFLNK, 1, 0),
    };
    Ok(Attr {
        mode: kind | n.perm,
        nlink,
        size,
        atime: made,
        mtime: made,
        ctime: made,
        ..Attr::default()
    })
}

pub(crate) fn lookup(t: &Tree, dir: u64, name: &[u8]) -> KResult<Option<u64>> {
    match &node(t, dir)?.node {
        TreeNode::Dir(map) => Ok(map.get(name).map(|&n| n as u64 + 1)),
        _ => Err(Errno::ENOTDIR),
    }
}

pub(crate) fn dir_place(t: &Tree, num: u64) -> Option<(u64, Name)> {
    let n = node(t, num).ok()?;
    Some((n.parent as u64 + 1, n.name.clone()))
}

pub(crate) fn readlink(t: &Tree, num: u64) -> KResult<Name> {
    match &node(t, num)?.node {
        TreeNode::Link(to) => Ok(to.clone()),
        _ => Err(Errno::EINVAL),
    }
}

/// Entries behind `pos`: position, name, number, type.
pub(crate) fn entries(t: &Tree, dir: u64, pos: u64) -> KResult<Vec<(u64, Name, u64, u8)>> {
    let TreeNode::Dir(map) = &node(t, dir)?.node else {
        return Err(Errno::ENOTDIR);
    };
    let mut out: Vec<_> = map
        .iter()
        .map(|(name, &n)| {
            let dtype = match t.get(n).map(|n| &n.node) {
                Some(TreeNode::Dir(_)) => 4,
                Some(TreeNode::Link(_)) => 10,
                _ => 8,
            };
            // kernfs lists in order of a hash of the name; any fixed order that is not alphabetic looks like it.
            (spread(n) + 2, name.clone(), n as u64 + 1, dtype)
        })
        .filter(|e| e.0 > pos)
        .collect();
    out.sort_by_key(|e| e.0);
    Ok(out)
}

/// A permutation of the 32-bit numbers.
fn spread(n: u32) -> u64 {
    let x = n.wrapping_add(1).wrapping_mul(0x9e37_79b1);
    (x ^ x >> 15) as u64 + 1
}

pub(crate) fn content(t: &Tree, view: &dyn KernelView, num: u64) -> KResult<Vec<u8>> {
    match &node(t, num)?.node {
        TreeNode::File {
            text: Text::Fixed(b), ..
        } => Ok(b.to_vec()),
        TreeNode::File {
            text: Text::Live(what),
            ..
        } => live::text(view, what),
        TreeNode::File {
            text: Text::Fails(e), ..
        } => Err(Errno(*e)),
        _ => Err(Errno::EISDIR),
    }
}

/// What a write leaves in the attribute (`None`: nothing), and what it asks of others.
pub(crate) fn write(
    t: &Tree,
    view: &dyn KernelView,
    num: u64,
    data: &[u8],
) -> KResult<(Option<Vec<u8>>, Option<Effect>)> {
    let n = node(t, num)?;
    if n.perm & 0o222 == 0 {
        return Err(Errno::EIO);
    }
    let path = || {
        let mut parts = Vec::new();
        let mut at = n.parent;
        while at != 0 {
            let Some(d) = t.get(at) else { break };
            parts.push(String::from_utf8_lossy(&d.name).into_owned());
            at = d.parent;
        }
        parts.reverse();
        format!("/{}", parts.join("/"))
    };
    if let TreeNode::File {
        text: Text::Live(what),
        ..
    } = &n.node
        && let Some((name, attribute)) = what.strip_prefix("nic:").and_then(|a| a.split_once('/'))
    {
        return Ok((None, live::set_nic(view, name, attribute, data)?));
    }
    match &*n.name {
        b"cgroup.procs" | b"cgroup.threads" => {
            let text = String::from_utf8_lossy(data);
            let pid: u32 = text.trim().parse().map_err(|_| Errno::EINVAL)?;
            let pid = if pid == 0 { view.current().0 } else { pid };
            view.task(pid).ok_or(Errno::ESRCH)?;
            Ok((None, Some(Effect::CgroupMove { pid, path: path() })))
        }
        b"cgroup.kill" => Ok((None, Some(Effect::CgroupKill { path: path() }))),
        b"uevent" | b"drop" | b"rescan" | b"bind" | b"unbind" | b"new_id" | b"remove" => Ok((None, None)),
        _ => {
            let mut text = data.to_vec();
            if text.last() != Some(&b'\n') {
                text.push(b'\n');
            }
            text.truncate(4096);
            Ok((Some(text), None))
        }
    }
}
