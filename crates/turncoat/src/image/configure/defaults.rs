//! Files, directories, owners and permissions that scripts set at a first installation, as tables.

use md5::{Digest, Md5};

use super::super::deb::hex;
use super::script;
use super::{BuildError, Draft, Package};

/// Where a file that a script copies comes from and goes to, with its permissions. Missing sources are passed over.
const COPIES: &[(&str, &str, u16)] = &[
    ("/usr/share/base-files/dot.profile", "/root/.profile", 0o644),
    ("/usr/share/base-files/dot.bashrc", "/root/.bashrc", 0o644),
    ("/usr/share/base-files/profile", "/etc/profile", 0o644),
    ("/usr/share/base-files/motd", "/etc/motd", 0o644),
    ("/usr/share/base-files/info.dir", "/usr/share/info/dir", 0o644),
    ("/usr/share/libc-bin/nsswitch.conf", "/etc/nsswitch.conf", 0o644),
    ("/usr/share/readline/inputrc", "/etc/inputrc", 0o644),
    ("/usr/share/openssh/sshd_config", "/etc/ssh/sshd_config", 0o644),
    (
        "/usr/share/rsyslog/50-default.conf",
        "/etc/rsyslog.d/50-default.conf",
        0o644,
    ),
    (
        "/usr/share/unattended-upgrades/20auto-upgrades",
        "/etc/apt/apt.conf.d/20auto-upgrades",
        0o644,
    ),
    (
        "/usr/share/unattended-upgrades/50unattended-upgrades",
        "/etc/apt/apt.conf.d/50unattended-upgrades",
        0o644,
    ),
];

/// Files that a package's script writes from a here-document.
const HERE_DOCUMENTS: &[(&str, &str, &str)] = &[
    ("openbsd-inetd", "preinst", "/etc/inetd.conf"),
    ("netbase", "postinst", "/etc/hosts"),
    ("netbase", "postinst", "/etc/networks"),
    ("libwrap0", "postinst", "/etc/hosts.allow"),
    ("libwrap0", "postinst", "/etc/hosts.deny"),
    ("kmod", "postinst", "/etc/modules"),
    ("python3", "postinst", "/etc/python3/debian_config"),
    ("ca-certificates", "postinst", "/etc/ca-certificates.conf"),
];

/// Package that makes it (empty: every system), path, permissions, text.
const FILES: &[(&str, &str, u16, &str)] = &[
    ("", "/etc/machine-id", 0o444, ""),
    ("libpam-modules", "/etc/environment", 0o644, ""),
    ("libpam-modules", "/etc/security/opasswd", 0o600, ""),
    ("login", "/etc/subuid", 0o644, ""),
    ("login", "/etc/subgid", 0o644, ""),
    ("login", "/var/log/faillog", 0o644, ""),
    ("tzdata", "/etc/timezone", 0o644, "Etc/UTC\n"),
    ("man-db", "/var/lib/man-db/auto-update", 0o644, ""),
    (
        "python3.11-minimal",
        "/var/lib/python/python3.11_installed",
        0o644,
        "",
    ),
    ("apt", "/var/lib/apt/extended_states", 0o644, ""),
    ("apt", "/var/cache/apt/archives/lock", 0o640, ""),
    ("apt", "/var/lib/apt/lists/lock", 0o640, ""),
    ("dpkg", "/var/lib/dpkg/lock", 0o640, ""),
    ("dpkg", "/var/lib/dpkg/lock-frontend", 0o640, ""),
    ("dpkg", "/var/lib/dpkg/triggers/Lock", 0o600, ""),
    ("dpkg", "/var/lib/dpkg/triggers/Unincorp", 0o644, ""),
    ("passwd", "/etc/.pwd.lock", 0o600, ""),
];

/// Path, permissions, group; made if missing. Those of `/usr/local` and the file system's standard stand in base-files' script.
const DIRECTORIES: &[(&str, u16)] = &[
    ("/mnt", 0o755),
    ("/srv", 0o755),
    ("/opt", 0o755),
    ("/media", 0o755),
    ("/etc/opt", 0o755),
    ("/var/opt", 0o755),
    ("/dev", 0o755),
    ("/proc", 0o755),
    ("/sys", 0o755),
    ("/run", 0o755),
    ("/tmp", 0o1777),
    ("/usr/local", 0o755),
    ("/usr/local/share", 0o755),
    ("/usr/local/share/man", 0o755),
    ("/usr/local/bin", 0o755),
    ("/usr/local/games", 0o755),
    ("/usr/local/lib", 0o755),
    ("/usr/local/include", 0o755),
    ("/usr/local/sbin", 0o755),
    ("/usr/local/src", 0o755),
    ("/usr/local/etc", 0o755),
    ("/var/lib/systemd", 0o755),
    ("/var/log", 0o755),
    ("/root", 0o700),
    ("/var/cache/apt/archives", 0o755),
    ("/var/cache/apt/archives/partial", 0o700),
    ("/var/lib/apt/lists/partial", 0o700),
];

/// The same, for a package.
const PACKAGE_DIRECTORIES: &[(&str, &str, u16)] = &[
    ("ca-certificates", "/usr/local/share/ca-certificates", 0o755),
    ("python3.11-minimal", "/usr/local/lib/python3.11", 0o755),
    (
        "python3.11-minimal",
        "/usr/local/lib/python3.11/dist-packages",
        0o755,
    ),
    ("dbus-daemon", "/var/lib/dbus", 0o755),
    ("systemd", "/var/log/journal", 0o755),
    ("ucf", "/var/lib/ucf/cache", 0o755),
];

/// Package, link, target.
const LINKS: &[(&str, &str, &str)] = &[
    ("base-files", "/var/run", "/run"),
    ("base-files", "/var/lock", "/run/lock"),
    ("base-files", "/var/spool/mail", "../mail"),
    ("base-files", "/usr/local/man", "share/man"),
    ("base-files", "/etc/dpkg/origins/default", "debian"),
    ("tzdata", "/etc/localtime", "/usr/share/zoneinfo/Etc/UTC"),
    ("openssh-server", "/etc/runit/runsvdir/default/ssh", "/etc/sv/ssh"),
];

/// Package, path, owner, group, permissions.
const OWNERS: &[(&str, &str, &str, &str, u16)] = &[
    ("openssh-client", "/usr/bin/ssh-agent", "root", "_ssh", 0o2755),
    (
        "cron-daemon-common",
        "/var/spool/cron/crontabs",
        "root",
        "crontab",
        0o1730,
    ),
    ("base-files", "/var/mail", "root", "mail", 0o2775),
    ("base-files", "/var/log/wtmp", "root", "utmp", 0o664),
    ("base-files", "/var/log/btmp", "root", "utmp", 0o660),
    ("base-files", "/var/log/lastlog", "root", "utmp", 0o664),
    ("systemd", "/var/log/journal", "root", "systemd-journal", 0o2755),
    ("man-db", "/var/cache/man", "man", "man", 0o755),
    (
        "unattended-upgrades",
        "/var/log/unattended-upgrades",
        "root",
        "adm",
        0o750,
    ),
    ("apt", "/var/cache/apt/archives/partial", "_apt", "root", 0o700),
    ("apt", "/var/lib/apt/lists/partial", "_apt", "root", 0o700),
];

/// Package, path, capabilities as setcap(8) packs them: version 2, effective, permitted mask. The set-user-id bit then goes.
const CAPABILITIES: &[(&str, &str, u32)] = &[("iputils-ping", "/usr/bin/ping", 1 << 13)];

/// Directories that everything else needs.
pub(super) fn directories(draft: &mut Draft) -> Result<(), BuildError> {
    for (path, perm) in DIRECTORIES {
        draft.dir(path, *perm)?;
    }
    Ok(())
}

/// All tables, for the packages that are there.
pub(super) fn apply(draft: &mut Draft, packages: &[Package]) -> Result<(), BuildError> {
    let has = |name: &str| name.is_empty() || packages.iter().any(|p| p.name() == name);
    for (package, path, perm) in PACKAGE_DIRECTORIES.iter().filter(|d| has(d.0)) {
        let _ = package;
        draft.dir(path, *perm)?;
    }
    for (from, to, perm) in COPIES {
        if let Some(data) = draft.read(from)?.filter(|_| !draft.tree.exists(to.as_bytes())) {
            parent(draft, to)?;
            // The scripts copy with `cp -p`.
            let time = draft.tree.find(from.as_bytes(), true).ok();
            let time = time.map(|id| (draft.tree.attr_mut(id).mtime, draft.tree.attr_mut(id).mtime_nsec));
            let id = draft.file(to, *perm, data)?;
            if let Some((sec, nsec)) = time {
                let attr = draft.tree.attr_mut(id);
                (attr.mtime, attr.mtime_nsec) = (sec, nsec);
            }
        }
    }
    for (package, script, path) in HERE_DOCUMENTS {
        let text = packages
            .iter()
            .find(|p| p.name() == *package)
            .and_then(|p| p.script(script));
        if let Some(text) = text.and_then(|t| script::here_document(&t, path)) {
            parent(draft, path)?;
            draft.file(path, 0o644, text)?;
        }
    }
    for (_, path, perm, text) in FILES
        .iter()
        .filter(|f| has(f.0) && !draft.tree.exists(f.1.as_bytes()))
        .collect::<Vec<_>>()
    {
        parent(draft, path)?;
        draft.file(path, *perm, *text)?;
    }
    for path in ["/var/log/wtmp", "/var/log/btmp", "/var/log/lastlog"] {
        draft.file(path, 0o664, "")?;
    }
    draft.dir("/var/mail", 0o2775)?;
    for (_, link, target) in LINKS.iter().filter(|l| has(l.0)) {
        if draft.tree.find(link.as_bytes(), false).is_ok() {
            draft.tree.remove(link.as_bytes())?;
        }
        parent(draft, link)?;
        draft.link(link, target)?;
    }
    tmpfiles(draft)?;
    for (_, path, user, group, perm) in OWNERS.iter().filter(|o| has(o.0)) {
        own(draft, path, user, group, *perm)?;
    }
    plain_commands(draft, packages)?;
    stat_overrides(draft, packages)?;
    for (_, path, mask) in CAPABILITIES.iter().filter(|c| has(c.0)) {
        if let Ok(id) = draft.tree.find(path.as_bytes(), true) {
            let words = [0x0200_0001u32, *mask, 0, 0, 0];
            let value: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
            draft.tree.set_xattr(id, b"security.capability", &value);
            draft.tree.attr_mut(id).perm &= !0o4000;
        }
    }
    if has("ifupdown") {
        interfaces(draft, packages)?;
    }
    if has("systemd") {
        journal_acl(draft)?;
    }
    if has("libnss-systemd") {
        name_services(draft)?;
    }
    diversions(draft, packages);
    shells(draft)?;
    ucf(draft)?;
    if let Some(text) = super::super::neutral::default_sources(draft)? {
        draft.file("/etc/apt/sources.list", 0o644, text)?;
    }
    Ok(())
}

fn parent(draft: &mut Draft, path: &str) -> Result<(), BuildError> {
    let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
    draft.dir(dir, 0o755).map(drop)
}

/// The number of a user or group in a file of the tree.
fn number(draft: &Draft, file: &str, name: &str) -> Result<Option<u32>, BuildError> {
    let text = draft.text(file)?.unwrap_or_default();
    Ok(text.lines().find_map(|l| {
        let mut fields = l.split(':');
        (fields.next() == Some(name))
            .then(|| fields.nth(1).and_then(|n| n.parse().ok()))
            .flatten()
    }))
}

fn own(draft: &mut Draft, path: &str, user: &str, group: &str, perm: u16) -> Result<(), BuildError> {
    let (uid, gid) = (
        number(draft, "/etc/passwd", user)?,
        number(draft, "/etc/group", group)?,
    );
    if let (Ok(id), Some(uid), Some(gid)) = (draft.tree.find(path.as_bytes(), true), uid, gid) {
        let attr = draft.tree.attr_mut(id);
        (attr.uid, attr.gid, attr.perm) = (uid, gid, perm);
    }
    Ok(())
}

/// Commands whose arguments say everything: `chmod MODE PATH` of what is there, `install --mode MODE /dev/null PATH`.
fn plain_commands(draft: &mut Draft, packages: &[Package]) -> Result<(), BuildError> {
    for package in packages {
        for command in script::commands(&package.script("postinst").unwrap_or_default()) {
            match command.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["chmod", mode, path, ..] if mode.len() >= 3 && path.starts_with('/') => {
                    let perm = u16::from_str_radix(mode, 8);
                    if let (Ok(perm), Ok(id)) = (perm, draft.tree.find(path.as_bytes(), true)) {
                        draft.tree.attr_mut(id).perm = perm & 0o7777;
                    }
                }
                ["install", "--mode", mode, "/dev/null", path, ..] if path.starts_with('/') => {
                    if let (Ok(perm), false) =
                        (u16::from_str_radix(mode, 8), draft.tree.exists(path.as_bytes()))
                    {
                        parent(draft, path)?;
                        draft.file(path, perm & 0o7777, "")?;
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// `dpkg-statoverride --update --add USER GROUP MODE PATH`.
fn stat_overrides(draft: &mut Draft, packages: &[Package]) -> Result<(), BuildError> {
    for package in packages {
        for command in script::commands(&package.script("postinst").unwrap_or_default()) {
            let from = command.iter().position(|w| w == "dpkg-statoverride");
            let Some([update, add, user, group, mode, path, ..]) = from.and_then(|i| command.get(i + 1..))
            else {
                continue;
            };
            let Ok(perm) = u16::from_str_radix(mode, 8) else {
                continue;
            };
            if update == "--update" && add == "--add" {
                own(draft, path, user, group, perm)?;
                draft
                    .stat_overrides
                    .push(format!("{user} {group} {mode} {path}\n"));
            }
        }
    }
    Ok(())
}

/// What `systemd-tmpfiles --create` makes outside of `/run` and the kernel's file systems, tmpfiles.d(5).
fn tmpfiles(draft: &mut Draft) -> Result<(), BuildError> {
    for file in draft.names("/usr/lib/tmpfiles.d") {
        let text = draft
            .text(&format!("/usr/lib/tmpfiles.d/{file}"))?
            .unwrap_or_default();
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [kind, path, rest @ ..] = words.as_slice() else {
                continue;
            };
            let below = ["/run", "/dev", "/proc", "/sys", "/tmp"]
                .iter()
                .any(|d| path.starts_with(d));
            if below || path.contains('%') || !path.starts_with('/') || kind.contains('!') {
                continue;
            }
            let field = |i: usize| {
                rest.get(i)
                    .copied()
                    .filter(|w| *w != "-")
                    .map(|w| w.trim_start_matches(':'))
            };
            let perm = field(0).and_then(|m| u16::from_str_radix(m, 8).ok());
            match kind.trim_end_matches(['-', '+', '=', '~']) {
                "d" | "D" | "q" | "Q" | "v" if !draft.tree.exists(path.as_bytes()) => {
                    draft.dir(path, perm.unwrap_or(0o755))?;
                    if let Some(perm) = perm {
                        own(
                            draft,
                            path,
                            field(1).unwrap_or("root"),
                            field(2).unwrap_or("root"),
                            perm,
                        )?;
                    }
                }
                "f" if !draft.tree.exists(path.as_bytes()) => {
                    parent(draft, path)?;
                    draft.file(path, perm.unwrap_or(0o644), "")?;
                    own(
                        draft,
                        path,
                        field(1).unwrap_or("root"),
                        field(2).unwrap_or("root"),
                        perm.unwrap_or(0o644),
                    )?;
                }
                "L" if !draft.tree.exists(path.as_bytes()) => {
                    if let Some(target) = rest.last().filter(|t| **t != "-") {
                        parent(draft, path)?;
                        draft.link(path, target)?;
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// ifupdown's script writes its file line by line.
fn interfaces(draft: &mut Draft, packages: &[Package]) -> Result<(), BuildError> {
    let script = packages
        .iter()
        .find(|p| p.name() == "ifupdown")
        .and_then(|p| p.script("postinst"))
        .unwrap_or_default();
    let mut text = String::new();
    for line in script.lines() {
        let Some((echo, to)) = line.rsplit_once('>') else {
            continue;
        };
        if to.trim() == "/etc/network/interfaces"
            && let Some(quoted) = echo.split('"').nth(1)
        {
            text.push_str(quoted);
            text.push('\n');
        }
    }
    if !text.is_empty() && !draft.tree.exists(b"/etc/network/interfaces") {
        parent(draft, "/etc/network/interfaces")?;
        draft.file("/etc/network/interfaces", 0o644, text)?;
    }
    Ok(())
}

/// Members of adm may read the journal: the access list of systemd.conf in tmpfiles.d, as acl(5) is kept in an attribute.
fn journal_acl(draft: &mut Draft) -> Result<(), BuildError> {
    const NO_ID: u32 = u32::MAX;
    let Some(adm) = number(draft, "/etc/group", "adm")? else {
        return Ok(());
    };
    let Ok(id) = draft.tree.find(b"/var/log/journal", true) else {
        return Ok(());
    };
    // USER_OBJ rwx, GROUP_OBJ r-x, GROUP adm r-x, MASK r-x, OTHER r-x.
    let entries = [
        (1u16, 7u16, NO_ID),
        (4, 5, NO_ID),
        (8, 5, adm),
        (16, 5, NO_ID),
        (32, 5, NO_ID),
    ];
    let mut value = 2u32.to_le_bytes().to_vec();
    for (tag, perm, who) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(perm.to_le_bytes());
        value.extend(who.to_le_bytes());
    }
    draft.tree.set_xattr(id, b"system.posix_acl_access", &value);
    draft.tree.set_xattr(id, b"system.posix_acl_default", &value);
    Ok(())
}

/// libnss-systemd adds itself behind the files.
fn name_services(draft: &mut Draft) -> Result<(), BuildError> {
    let text = draft.text("/etc/nsswitch.conf")?.unwrap_or_default();
    let line = |l: &str| {
        let database = l.split(':').next().unwrap_or_default();
        let joined = matches!(database, "passwd" | "group" | "shadow" | "gshadow");
        format!("{l}{}\n", if joined { " systemd" } else { "" })
    };
    draft.file(
        "/etc/nsswitch.conf",
        0o644,
        text.lines().map(line).collect::<String>(),
    )?;
    Ok(())
}

/// dash stands in for `sh` and says so in dpkg's diversions.
fn diversions(draft: &mut Draft, packages: &[Package]) {
    let script = packages
        .iter()
        .find(|p| p.name() == "dash")
        .and_then(|p| p.script("postinst"))
        .unwrap_or_default();
    if script.contains("dpkg-divert") {
        for (from, to) in [
            (
                "/usr/share/man/man1/sh.1.gz",
                "/usr/share/man/man1/sh.distrib.1.gz",
            ),
            ("/bin/sh", "/bin/sh.distrib"),
        ] {
            draft.diversions.push((from.into(), to.into(), "dash".into()));
        }
    }
}

/// update-shells(8): the list, and what it has seen already. With merged `/usr` every shell has two names.
fn shells(draft: &mut Draft) -> Result<(), BuildError> {
    let Some(list) = draft.text("/usr/share/debianutils/shells")? else {
        return Ok(());
    };
    let mut shells: Vec<String> = Vec::new();
    let mut state: Vec<String> = Vec::new();
    let mut add = |line: &str| {
        let line = line.trim();
        if line.starts_with('/') && !state.iter().any(|s| s == line) {
            state.push(line.to_owned());
            if line.starts_with("/bin/") {
                state.push(format!("/usr{line}"));
            }
        }
    };
    list.lines().for_each(&mut add);
    for file in draft.names("/usr/share/debianutils/shells.d") {
        draft
            .text(&format!("/usr/share/debianutils/shells.d/{file}"))?
            .unwrap_or_default()
            .lines()
            .for_each(&mut add);
    }
    let known: Vec<&str> = list.lines().collect();
    shells.extend(state.iter().filter(|s| !known.contains(&s.as_str())).cloned());
    let text = list.clone() + &shells.iter().map(|s| format!("{s}\n")).collect::<String>();
    draft.file("/etc/shells", 0o644, text)?;
    draft.file(
        "/var/lib/shells.state",
        0o644,
        state.iter().map(|s| format!("{s}\n")).collect::<String>(),
    )?;
    Ok(())
}

/// What packages have ucf(1) put into `/etc`, in the order in which they are configured: package, source, path.
const UCF: &[(&str, &str, &str)] = &[
    (
        "openssh-server",
        "/usr/share/openssh/sshd_config",
        "/etc/ssh/sshd_config",
    ),
    (
        "unattended-upgrades",
        "/usr/share/unattended-upgrades/20auto-upgrades",
        "/etc/apt/apt.conf.d/20auto-upgrades",
    ),
    (
        "unattended-upgrades",
        "/usr/share/unattended-upgrades/50unattended-upgrades",
        "/etc/apt/apt.conf.d/50unattended-upgrades",
    ),
];

/// ucf(1)'s record of the files that it installs. Each call keeps the state before it under the next number.
fn ucf(draft: &mut Draft) -> Result<(), BuildError> {
    if !draft.tree.is_dir(b"/var/lib/ucf") {
        return Ok(());
    }
    let (mut hashes, mut registry) = (vec![String::new()], vec![String::new()]);
    let add = |states: &mut Vec<String>, line: String| {
        let last = states.last().cloned().unwrap_or_default();
        states.push(last + &line);
    };
    for (package, source, path) in UCF {
        let (Some(config), Some(shipped)) = (draft.read(path)?, draft.read(source)?) else {
            continue;
        };
        let md5 = hex(&Md5::digest(&shipped));
        add(&mut hashes, format!("{md5}  {path}\n"));
        add(&mut registry, format!("{package} \t {path}\n"));
        let cached = path.replace('/', ":");
        draft.file(&format!("/var/lib/ucf/cache/{cached}"), 0o644, config)?;
    }
    if hashes.len() == 1 {
        return Ok(());
    }
    for (name, states) in [("hashfile", hashes), ("registry", registry)] {
        for (n, text) in states.into_iter().rev().enumerate() {
            let number = n.checked_sub(1).map_or(String::new(), |n| format!(".{n}"));
            draft.file(&format!("/var/lib/ucf/{name}{number}"), 0o644, text)?;
        }
    }
    Ok(())
}
