//! Takes out of a tree what tells of the machine it was made on, and what the cover writes.

use turncoat_kernel::image::{Content, NodeKind, Tree};

use super::{BuildError, Draft, Progress, Report};

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

/// A tree that somebody else made may name a mirror or a proxy of theirs: then the distribution's own servers stand instead.
pub(super) fn sources(draft: &mut Draft, report: Report<'_>) -> Result<(), BuildError> {
    for file in draft.names("/etc/apt/apt.conf.d") {
        let path = format!("/etc/apt/apt.conf.d/{file}");
        if draft
            .text(&path)?
            .unwrap_or_default()
            .to_ascii_lowercase()
            .contains("proxy")
        {
            draft.tree.remove(path.as_bytes())?;
        }
    }
    let mut files = vec!["/etc/apt/sources.list".to_owned()];
    files.extend(
        draft
            .names("/etc/apt/sources.list.d")
            .into_iter()
            .map(|f| format!("/etc/apt/sources.list.d/{f}")),
    );
    let Some(default) = default_sources(draft)? else {
        return Ok(());
    };
    let uris = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|l| !l.trim_start().starts_with('#'));
        lines
            .flat_map(str::split_whitespace)
            .filter(|w| w.contains("://"))
            .map(|w| w.trim_end_matches('/').to_owned())
            .collect()
    };
    let own = uris(&default);
    let mut foreign = false;
    for file in &files {
        foreign |= uris(&draft.text(file)?.unwrap_or_default())
            .iter()
            .any(|u| !own.contains(u));
    }
    if foreign {
        report(Progress::Note(
            "the tree's package sources name other servers than the distribution's own, and were replaced",
        ));
        for file in files
            .iter()
            .filter(|f| draft.tree.exists(f.as_bytes()))
            .collect::<Vec<_>>()
        {
            draft.tree.remove(file.as_bytes())?;
        }
        draft.file("/etc/apt/sources.list", 0o644, default)?;
    }
    Ok(())
}

/// `/etc/apt/sources.list` as an installation writes it: the distribution's own servers as apt's own example names them.
pub(super) fn default_sources(draft: &Draft) -> Result<Option<String>, BuildError> {
    let Some(example) = draft.text("/usr/share/doc/apt/examples/sources.list")? else {
        return Ok(None);
    };
    let release = draft.text("/etc/os-release")?.unwrap_or_default();
    let codename = release
        .lines()
        .find_map(|l| l.strip_prefix("VERSION_CODENAME="))
        .unwrap_or_default()
        .to_owned();
    let mut servers: Vec<(String, String)> = Vec::new();
    for line in example.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["deb", uri, suite, ..] = words.as_slice()
            && (suite.starts_with(&codename) || codename.is_empty())
        {
            servers.push(((*uri).to_owned(), (*suite).to_owned()));
        }
    }
    let Some((main, _)) = servers.first().cloned() else {
        return Ok(None);
    };
    let mut text = String::new();
    let mut put = |uri: &str, suite: &str| {
        for kind in ["deb", "deb-src"] {
            text.push_str(&format!("{kind} {uri} {suite} main non-free-firmware\n"));
        }
        text.push('\n');
    };
    put(&main, &codename);
    for (uri, suite) in servers.iter().filter(|(_, s)| s.ends_with("-security")) {
        put(uri, suite);
    }
    put(&main, &format!("{codename}-updates"));
    Ok(Some(text.trim_end().to_owned() + "\n"))
}
