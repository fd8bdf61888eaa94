//! Takes out of a tree what tells of the machine it was made on, and what the cover writes.

use turncoat_kernel::image::{Content, NodeKind, Tree};

use super::{BuildError, Draft};

/// Directories whose content belongs to a running machine, to a cache or to the past.
const EMPTIED: &[&str] = &[
    "/dev",
    "/proc",
    "/sys",
    "/run",
    "/tmp",
    "/var/tmp",
    "/var/cache/ldconfig",
];

/// Directories whose files are somebody's downloads; the directories in them stay.
const DOWNLOADS: &[&str] = &[
    "/var/cache/apt",
    "/var/cache/apt/archives",
    "/var/cache/apt/archives/partial",
    "/var/lib/apt/lists",
];

/// Files that the cover writes, or that a first boot makes, or that only the tool that made the tree leaves behind.
const REMOVED: &[&str] = &[
    "/.dockerenv",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/etc/apt/auth.conf",
    "/etc/apt/apt.conf.d/01proxy",
    "/etc/apt/apt.conf.d/99mmdebstrap",
    "/root/.bash_history",
    "/var/lib/dbus/machine-id",
    "/var/lib/dpkg/status-old",
    "/var/lib/systemd/random-seed",
    "/var/lib/urandom/random-seed",
];

/// Does it.
pub(super) fn apply(draft: &mut Draft) -> Result<(), BuildError> {
    let tree = &mut draft.tree;
    for dir in EMPTIED {
        for name in names(tree, dir) {
            tree.remove(format!("{dir}/{name}").as_bytes())?;
        }
    }
    for dir in DOWNLOADS {
        for name in names(tree, dir) {
            let path = format!("{dir}/{name}");
            if name != "lock" && !tree.is_dir(path.as_bytes()) {
                tree.remove(path.as_bytes())?;
            }
        }
    }
    for file in REMOVED {
        if tree.exists(file.as_bytes()) {
            tree.remove(file.as_bytes())?;
        }
    }
    for name in names(tree, "/etc/ssh") {
        if name.starts_with("ssh_host_") {
            tree.remove(format!("/etc/ssh/{name}").as_bytes())?;
        }
    }
    logs(tree)?;
    if let Ok(id) = tree.find(b"/etc/machine-id", false)
        && matches!(tree.kind(id), NodeKind::File(_))
    {
        tree.set_content(id, Content::Bytes(Vec::new()));
    }
    Ok(())
}

fn names(tree: &Tree, dir: &str) -> Vec<String> {
    match tree.find(dir.as_bytes(), true) {
        Ok(id) => tree
            .entries(id)
            .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
            .collect(),
        Err(_) => Vec::new(),
    }
}

/// Logs are emptied or, if an installation only leaves them behind, taken away.
fn logs(tree: &mut Tree) -> Result<(), BuildError> {
    const KEPT_EMPTY: &[&str] = &["btmp", "faillog", "lastlog", "wtmp"];
    for name in names(tree, "/var/log") {
        let path = format!("/var/log/{name}").into_bytes();
        let id = tree.find(&path, false)?;
        match tree.kind(id) {
            NodeKind::File(_) if KEPT_EMPTY.contains(&name.as_str()) => {
                tree.set_content(id, Content::Bytes(Vec::new()));
            }
            NodeKind::File(_) => tree.remove(&path)?,
            _ => {}
        }
    }
    for name in names(tree, "/var/log/apt") {
        tree.remove(format!("/var/log/apt/{name}").as_bytes())?;
    }
    Ok(())
}
