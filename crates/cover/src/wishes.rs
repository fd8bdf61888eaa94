//! What the operator sets by hand, and what an install knows when a cover is made.

use crate::kernels::Kernel;
use crate::network::Receiving;
use serde::{Deserialize, Serialize};

/// The operator's wishes (`[cover]` in the configuration). Everything is optional; the rest stays coherent with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wishes {
    /// `bastion`, `backup` or `build`; drawn from the seed if absent.
    pub role: Option<String>,
    /// Host name without domain.
    pub hostname: Option<String>,
    /// Domain, may be empty.
    pub domain: Option<String>,
    /// Name of a zone that covers know.
    pub timezone: Option<String>,
    /// Accounts that must exist.
    pub users: Vec<UserWish>,
    /// Files that must lie there.
    pub files: Vec<FileWish>,
    /// Packages that must be installed.
    pub packages: Vec<String>,
}

/// A file that the operator wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileWish {
    /// Absolute path.
    pub path: String,
    /// Its content.
    pub content: Vec<u8>,
    /// Owner: an account of the machine, or root.
    pub owner: String,
    /// Permission bits.
    pub mode: u32,
}

/// An account that the operator wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserWish {
    /// Login name.
    pub name: String,
    /// Full name; drawn if empty.
    pub full_name: String,
    /// May use sudo.
    pub sudo: bool,
}

/// What is given from outside when a cover is made, and kept with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// When the cover was made, seconds since the epoch: its past lies before, its life after.
    pub made: i64,
    /// The receiving interface.
    pub receiving: Receiving,
    /// The operator's wishes.
    pub wishes: Wishes,
    /// The kernel that the image has installed. None: one is drawn, as if its package were there.
    #[serde(default)]
    pub kernel: Option<Kernel>,
}

/// Where other facts of the machine are written: a file there would contradict them. A name that ends in `/` stands for all below it,
/// one that ends in `.` for all that begins with it.
const FACTS: &[&str] = &[
    "/boot/",
    "/dev/",
    "/etc/debian_version",
    "/etc/default/locale",
    "/etc/fstab",
    "/etc/group",
    "/etc/group-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/issue",
    "/etc/issue.net",
    "/etc/localtime",
    "/etc/machine-id",
    "/etc/mailname",
    "/etc/network/interfaces",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/passwd-",
    "/etc/resolv.conf",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/ssh/",
    "/etc/subgid",
    "/etc/subuid",
    "/etc/timezone",
    "/lib/modules/",
    "/proc/",
    "/run/",
    "/sys/",
    "/usr/lib/modules/",
    "/usr/lib/os-release",
    "/var/backups/alternatives.tar.",
    "/var/backups/apt.extended_states.",
    "/var/backups/dpkg.",
    "/var/lib/apt/extended_states",
    "/var/lib/dpkg/",
    "/var/log/apt/",
    "/var/log/btmp",
    "/var/log/dpkg.log",
    "/var/log/journal/",
    "/var/log/lastlog",
    "/var/log/wtmp",
    "/var/run/",
];

/// The largest file that may be wished for, bytes.
pub const LARGEST_FILE: usize = 4 << 20;

fn normal_path(path: &str) -> bool {
    path.len() <= 4000
        && path.strip_prefix('/').is_some_and(|rest| {
            rest.split('/')
                .all(|p| !p.is_empty() && p != "." && p != ".." && p.len() <= 255 && !p.contains('\0'))
        })
}

/// True for a name that a Debian package can have (policy 5.6.1).
fn package_name(name: &str) -> bool {
    name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
}

/// Accounts that Debian makes itself.
const TAKEN: &[&str] = &[
    "root",
    "daemon",
    "bin",
    "sys",
    "sync",
    "games",
    "man",
    "lp",
    "mail",
    "news",
    "uucp",
    "proxy",
    "www-data",
    "backup",
    "list",
    "irc",
    "nobody",
    "_apt",
    "systemd-network",
    "systemd-timesync",
    "messagebus",
    "sshd",
    "sudo",
    "users",
    "adm",
];

/// Whether the wishes agree with the machine that was drawn for them.
///
/// # Errors
/// What contradicts what, in one line.
pub(crate) fn check(cover: &crate::Cover, w: &Wishes) -> Result<(), String> {
    if let Some(u) = w.users.iter().find(|u| TAKEN.contains(&u.name.as_str())) {
        return Err(format!(
            "users: {:?} is an account or group that every Debian has",
            u.name
        ));
    }
    let host = cover.host.fqdn();
    if host.len() > 64 {
        return Err(format!(
            "hostname: {host} is longer than the 64 bytes that Linux takes"
        ));
    }
    if let Some(p) = w.packages.iter().find(|p| !package_name(p)) {
        return Err(format!("packages: {p:?} is not a name that a package can have"));
    }
    if w.files.is_empty() {
        return Ok(());
    }
    let baits = cover.baits();
    for (i, f) in w.files.iter().enumerate() {
        let path = &f.path;
        if !normal_path(path) {
            return Err(format!(
                "files: {path:?} is not an absolute path in its shortest form"
            ));
        }
        if w.files.iter().take(i).any(|o| o.path == *path) {
            return Err(format!("files: {path} is named twice"));
        }
        let below = |o: &str, p: &str| p.strip_prefix(o).is_some_and(|r| r.starts_with('/'));
        if let Some(o) = w.files.iter().find(|o| below(&o.path, path)) {
            return Err(format!("files: {path} lies below {}, which is a file", o.path));
        }
        let fact = FACTS.iter().find(|k| {
            let below = k.ends_with(['/', '.']) && path.starts_with(**k);
            *path == **k || below || k.strip_suffix('/') == Some(path)
        });
        if let Some(k) = fact {
            return Err(format!(
                "files: {path} would contradict the rest of the machine ({k} is written from its facts; set hostname, users and the like instead)"
            ));
        }
        if cover
            .users
            .iter()
            .any(|u| u.home == *path || below(path, &u.home))
        {
            return Err(format!("files: {path} is a directory of people's homes"));
        }
        if let Some(b) = baits.iter().find(|b| b.path == *path || below(path, &b.path)) {
            return Err(format!("files: at {path} lies the bait {}", b.id));
        }
        if f.mode > 0o7777 {
            return Err(format!("files: {path}: mode {:o} is none", f.mode));
        }
        if f.content.len() > LARGEST_FILE {
            return Err(format!("files: {path} is larger than {LARGEST_FILE} bytes"));
        }
        if owner(cover, &f.owner).is_none() {
            let known: Vec<&str> = cover.users.iter().map(|u| u.name.as_str()).collect();
            return Err(format!(
                "files: {path}: there is no account {:?} (root, {}); name it in cover.users too",
                f.owner,
                known.join(", ")
            ));
        }
    }
    Ok(())
}

fn owner(cover: &crate::Cover, name: &str) -> Option<u32> {
    if name == "root" {
        return Some(0);
    }
    cover.users.iter().find(|u| u.name == name).map(|u| u.uid)
}

/// The files that are wished for; each has an age of its own.
pub(crate) fn files(cover: &crate::Cover, wanted: &[FileWish]) -> Vec<crate::File> {
    let one = |f: &FileWish| {
        let uid = owner(cover, &f.owner).unwrap_or(0);
        let from = cover
            .users
            .iter()
            .find(|u| u.uid == uid)
            .map_or(cover.host.installed, |u| u.since);
        let at = cover
            .stream(&format!("wished {}", f.path))
            .range(from + 3600, cover.made().max(from + 7200));
        crate::File {
            kind: crate::Kind::Regular(crate::Content::Bytes(f.content.clone())),
            ..crate::File::text(&f.path, f.mode, at.min(cover.made()), "").owned(uid, uid)
        }
    };
    wanted.iter().map(one).collect()
}
