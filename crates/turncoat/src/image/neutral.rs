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
    "/var/cache/apt",
    "/var/lib/apt/lists",
    "/var/cache/man",
    "/var/cache/ldconfig",
    "/var/cache/debconf",
];

/// Files that the cover writes, or that a first boot makes.
const REMOVED: &[&str] = &[
    "/.dockerenv",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/var/lib/dbus/machine-id",
    "/var/lib/systemd/random-seed",
    "/var/lib/urandom/random-seed",
    "/root/.bash_history",
    "/etc/.pwd.lock",
    "/var/lib/dpkg/lock",
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/status-old",
    "/var/lib/dpkg/diversions-old",
    "/var/lib/dpkg/statoverride-old",
    "/etc/apt/apt.conf.d/99mmdebstrap",
    "/var/lib/dpkg/triggers/Lock",
    "/var/lib/dpkg/triggers/Unincorp",
    "/etc/apt/apt.conf.d/01proxy",
    "/etc/apt/auth.conf",
];

/// Does it.
pub(super) fn apply(draft: &mut Draft) -> Result<(), BuildError> {
    let tree = &mut draft.tree;
    for dir in EMPTIED {
        for name in names(tree, dir) {
            tree.remove(format!("{dir}/{name}").as_bytes())?;
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
