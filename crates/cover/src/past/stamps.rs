//! When the image's files came to the disk and were last read, as apt's runs, boots, logins and cron have it.
//!
//! An image has of each file the time that its package gives. Inode times are the machine's own: dpkg puts a file there when its package is
//! unpacked, and with `relatime` (the default of mount(8)) a file that is read has that on its inode once a day.

use super::Past;
use super::database::{DPKG, Database};
use super::upgrades::Run;
use crate::cover::{Cover, Image};
use std::collections::BTreeMap;

/// What a machine's inodes know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamps {
    /// When the file system was made, seconds since the epoch.
    pub made: i64,
    /// When the base system was there: what the packages' scripts made is as old.
    pub based: i64,
    /// Packages in the order of their unpacking.
    pub unpacked: Vec<Unpacked>,
    /// What an installation writes beside its package, with the time: a kernel's, and the groups of alternatives.
    pub written: Vec<(String, i64)>,
    /// When dpkg last wrote its state.
    pub state: i64,
    /// Files that are read by themselves, with the time.
    pub read: Vec<(String, i64)>,
}

/// A package as it came to the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// The list of its files (`dpkg -L`).
    pub list: String,
    /// When the machine had it first, seconds since the epoch.
    pub first: i64,
    /// When it was unpacked last.
    pub last: i64,
}

/// When dpkg unpacks the package of this number in a run.
pub(super) fn unpacks(r: &Run, i: usize) -> i64 {
    r.start + 1 + i as i64 * (span(r) / 2) / r.changes.len().max(1) as i64
}

/// When dpkg configures it.
pub(super) fn configures(r: &Run, i: usize) -> i64 {
    let half = span(r) / 2;
    r.start + 1 + half + i as i64 * (half - 1).max(0) / r.changes.len().max(1) as i64
}

/// Unpacking takes about half of the time, configuring the rest.
pub(super) fn span(r: &Run) -> i64 {
    (r.end - r.start).max(2)
}

/// Read when the machine boots.
const AT_BOOT: &[&str] = &[
    "/etc/fstab",
    "/etc/hostname",
    "/etc/crontab",
    "/etc/adjtime",
    "/etc/network/interfaces",
    "/etc/systemd/system.conf",
    "/etc/systemd/logind.conf",
    "/etc/systemd/journald.conf",
    "/etc/systemd/timesyncd.conf",
    "/etc/modules",
    "/etc/sysctl.conf",
    "/etc/udev/udev.conf",
    "/etc/default/ssh",
    "/etc/default/cron",
    "/etc/ssh/ssh_host_rsa_key",
    "/etc/ssh/ssh_host_ecdsa_key",
    "/etc/ssh/ssh_host_ed25519_key",
    "/etc/machine-id",
    "/usr/lib/systemd/systemd-journald",
    "/usr/lib/systemd/systemd-logind",
    "/usr/lib/systemd/systemd-timesyncd",
    "/usr/bin/udevadm",
    "/usr/bin/dbus-daemon",
    "/usr/sbin/agetty",
    "/usr/sbin/cron",
    "/usr/lib/systemd/system/ssh.service",
    "/usr/lib/systemd/system/cron.service",
    "/usr/lib/systemd/system/getty@.service",
];

/// Read each hour, by cron's job.
const BY_CRON: &[&str] = &[
    "/usr/bin/dash",
    "/usr/bin/run-parts",
    "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    "/usr/lib/x86_64-linux-gnu/libc.so.6",
    "/usr/lib/x86_64-linux-gnu/libpam.so.0",
    "/usr/lib/x86_64-linux-gnu/security/pam_unix.so",
    "/usr/lib/x86_64-linux-gnu/security/pam_env.so",
    "/usr/lib/x86_64-linux-gnu/security/pam_loginuid.so",
    "/etc/ld.so.cache",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/shadow",
    "/etc/login.defs",
    "/etc/environment",
    "/etc/default/locale",
    "/etc/pam.d/cron",
    "/etc/pam.d/common-account",
    "/etc/pam.d/common-session-noninteractive",
    "/etc/security/pam_env.conf",
    "/etc/security/limits.conf",
];

/// Read by each login.
const AT_LOGIN: &[&str] = &[
    "/usr/sbin/sshd",
    "/usr/bin/bash",
    "/usr/bin/uname",
    "/usr/bin/id",
    "/usr/bin/ls",
    "/usr/bin/dircolors",
    "/usr/bin/lesspipe",
    "/usr/bin/basename",
    "/usr/bin/dirname",
    "/usr/bin/mesg",
    "/usr/lib/x86_64-linux-gnu/libtinfo.so.6",
    "/usr/lib/x86_64-linux-gnu/libselinux.so.1",
    "/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
    "/usr/lib/x86_64-linux-gnu/security/pam_motd.so",
    "/usr/lib/x86_64-linux-gnu/security/pam_mail.so",
    "/etc/profile",
    "/etc/bash.bashrc",
    "/etc/motd",
    "/etc/update-motd.d/10-uname",
    "/etc/pam.d/sshd",
    "/etc/pam.d/common-auth",
    "/etc/pam.d/common-session",
    "/etc/group",
    "/etc/inputrc",
];

/// Read when somebody becomes root.
const BY_SUDO: &[&str] = &[
    "/usr/bin/sudo",
    "/usr/libexec/sudo/sudoers.so",
    "/etc/sudoers",
    "/etc/sudo.conf",
    "/etc/pam.d/sudo",
    "/etc/hosts",
];

/// Of moments at which a file is read, oldest first, the last that stands on its inode.
fn kept(moments: impl Iterator<Item = i64>) -> i64 {
    moments.fold(0, |read, at| if at - read >= 86_400 { at } else { read })
}

impl Stamps {
    /// Those of `cover` at `now`.
    pub fn of(
        cover: &Cover,
        image: &dyn Image,
        past: &Past,
        records: Option<&Database<'_>>,
        now: i64,
    ) -> Stamps {
        let first = past.runs.first().map_or(cover.host.installed, |r| r.start);
        let mut of: BTreeMap<(&str, &str), (i64, i64)> = BTreeMap::new();
        let kernel = crate::Release::current().kernel_package(&cover.host.kernel.release);
        let mut written = Vec::new();
        for r in past.runs.iter().filter(|r| r.end <= now) {
            for (i, c) in r.changes.iter().enumerate().filter(|(_, c)| !c.new.is_empty()) {
                let at = unpacks(r, i);
                of.entry((&c.package.name, &c.package.arch)).or_insert((at, at)).1 = at;
                if c.package.name == kernel {
                    written = made_by_kernel(&cover.host.kernel.release, r.end - 1);
                }
            }
        }
        if let Some(db) = records {
            let groups = db.alternatives(db.runs().len()).into_iter();
            written.extend(groups.map(|a| (format!("{DPKG}/alternatives/{}", a.name), a.written)));
        }
        let mut unpacked: Vec<Unpacked> = of
            .into_iter()
            .map(|((name, arch), (first, last))| {
                let both = format!("/var/lib/dpkg/info/{name}:{arch}.list");
                let list = if image.has(&both) {
                    both
                } else {
                    format!("/var/lib/dpkg/info/{name}.list")
                };
                Unpacked { list, first, last }
            })
            .collect();
        unpacked.sort_by_key(|u| u.last);
        let ended = past.runs.iter().map(|r| r.end).filter(|t| *t <= now).max();
        Stamps {
            made: first - cover.stream("mke2fs").range(60, 200),
            based: past.runs.first().map_or(first, |r| r.end),
            unpacked,
            written,
            state: ended.unwrap_or(first),
            read: read(cover, past, now),
        }
    }
}

/// The initial disk, depmod's tables, and the links to the newest kernel.
fn made_by_kernel(release: &str, at: i64) -> Vec<(String, i64)> {
    const TABLES: &[&str] = &[
        "alias",
        "alias.bin",
        "builtin.alias.bin",
        "builtin.bin",
        "dep",
        "dep.bin",
        "devname",
        "softdep",
        "symbols",
        "symbols.bin",
    ];
    let tables = TABLES
        .iter()
        .map(|t| format!("/usr/lib/modules/{release}/modules.{t}"));
    let links = ["/vmlinuz", "/initrd.img", "/vmlinuz.old", "/initrd.img.old"];
    [format!("/boot/initrd.img-{release}")]
        .into_iter()
        .chain(tables)
        .chain(links.map(str::to_owned))
        .map(|path| (path, at))
        .collect()
}

fn read(cover: &Cover, past: &Past, now: i64) -> Vec<(String, i64)> {
    let booted = cover.host.booted + 7;
    let zone = &cover.host.zone;
    // cron starts its hourly job at 17 minutes past, of which a boot makes the first.
    let hourly =
        booted - booted.rem_euclid(3_600) + 3_600 + 17 * 60 + 1 - zone.offset_at(booted).rem_euclid(3_600);
    let days = (now - hourly).div_euclid(86_400);
    let by_cron = if days < 0 { booted } else { hourly + days * 86_400 };
    let mut logins: Vec<i64> = past.line.logins.iter().map(|l| l.at).collect();
    let mut roots: Vec<i64> = past.line.logins.iter().filter_map(|l| Some(l.root?.at)).collect();
    roots.extend(past.runs.iter().filter(|r| r.by.is_some()).map(|r| r.start - 2));
    logins.sort_unstable();
    roots.sort_unstable();
    let all = [
        (AT_BOOT, booted),
        (BY_CRON, by_cron),
        (AT_LOGIN, kept(logins.into_iter())),
        (BY_SUDO, kept(roots.into_iter())),
    ];
    all.into_iter()
        .filter(|(_, at)| *at > 0 && *at <= now)
        .flat_map(|(paths, at)| paths.iter().map(move |p| ((*p).to_owned(), at)))
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_file_that_is_read_often_has_it_on_its_inode_once_a_day() {
        let hour = 3_600;
        let kept = super::kept([100, 100 + hour, 100 + 24 * hour, 100 + 30 * hour].into_iter());
        assert_eq!(kept, 100 + 24 * hour);
    }
}
