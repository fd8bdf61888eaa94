//! The kernel, by every name it has.

use super::who::package;
use super::{Check, Seen, c, hold, same};

fn release(s: &Seen) -> Result<&str, String> {
    s.line("uname")?
        .split(' ')
        .nth(1)
        .ok_or("uname says no release".into())
}

/// What stands between `#` and the machine type: `1 SMP PREEMPT_DYNAMIC Debian 6.1.190-1 (2026-10-16)`.
fn build(text: &str) -> Option<&str> {
    let text = text.split_once('#')?.1.trim();
    Some(text.split(" x86_64").next().unwrap_or(text))
}

/// The text of a line of dmesg.
pub(super) fn dmesg<'a>(s: &'a Seen, with: &str) -> Result<&'a str, String> {
    s.get("dmesg")?
        .lines()
        .find(|l| l.contains(with))
        .map(|l| l.split_once("] ").map_or(l, |p| p.1))
        .ok_or_else(|| format!("dmesg has no {with:?}"))
}

/// Modules by modinfo, with what they need. It says `depends` before `name`.
fn modinfo(s: &Seen) -> Result<Vec<(&str, &str)>, String> {
    let (mut out, mut needs) = (Vec::new(), "");
    for line in s.get("modinfo")?.lines() {
        match line.split_once(':').map(|(k, v)| (k, v.trim())) {
            Some(("depends", v)) => needs = v,
            Some(("name", v)) => out.push((v, std::mem::take(&mut needs))),
            _ => {}
        }
    }
    Ok(out)
}

pub(super) const CHECKS: &[Check] = &[
    c(
        "kernel-release",
        "uname and the kernel's parameter name one release",
        |s| same("uname", release(s)?, "kernel.osrelease", s.line("osrelease")?),
    ),
    c("kernel-version-release", "/proc/version names the release", |s| {
        let shown = s.line("proc.version")?.split(' ').nth(2).unwrap_or("");
        same("uname", release(s)?, "/proc/version", shown)
    }),
    c(
        "kernel-version-build",
        "uname -v is the build in /proc/version",
        |s| {
            let (a, b) = (build(s.line("uname")?), build(s.line("proc.version")?));
            same("uname", a.unwrap_or(""), "/proc/version", b.unwrap_or(""))
        },
    ),
    c("kernel-log", "the kernel's log begins with /proc/version", |s| {
        same(
            "/proc/version",
            s.line("proc.version")?,
            "dmesg",
            dmesg(s, "Linux version")?.trim(),
        )
    }),
    c(
        "kernel-image",
        "the kernel was booted from the image of its release",
        |s| {
            let image = format!("BOOT_IMAGE=/boot/vmlinuz-{}", release(s)?);
            same(
                "uname",
                image.as_str(),
                "/proc/cmdline",
                s.line("cmdline")?.split(' ').next().unwrap_or(""),
            )
        },
    ),
    c(
        "kernel-log-command",
        "the kernel's log has the command line",
        |s| {
            let told = dmesg(s, "Command line: ")?.trim_start_matches("Command line: ");
            same("/proc/cmdline", s.line("cmdline")?, "dmesg", told.trim())
        },
    ),
    c("kernel-boot", "/boot has the running kernel", |s| {
        let name = format!("vmlinuz-{}", release(s)?);
        hold(s.table("boot")?.concat().contains(&name.as_str()), || {
            format!("no {name} in /boot")
        })
    }),
    c("kernel-modules", "/lib/modules has the running kernel's", |s| {
        let r = release(s)?;
        hold(s.table("modules.dir")?.concat().contains(&r), || {
            format!("no {r} in /lib/modules")
        })
    }),
    c(
        "kernel-package",
        "dpkg has the running kernel's package in the version that the kernel names",
        |s| {
            let version = package(s, &format!("linux-image-{}", release(s)?))?;
            let words: Vec<&str> = s.line("proc.version")?.split(' ').collect();
            let built = words.iter().rev().nth(1).copied().unwrap_or("");
            same("dpkg", version, "/proc/version", built)
        },
    ),
    c(
        "kernel-loaded",
        "a disk driver and the root file system's module are loaded",
        |s| {
            let rows = s.table("lsmod")?;
            let has = |m: &str| rows.iter().any(|r| r.first() == Some(&m));
            hold(has("ext4") && (has("virtio_blk") || has("sd_mod")), || {
                format!("lsmod has {} lines", rows.len())
            })
        },
    ),
    c(
        "kernel-disk",
        "/boot has the running kernel's initial RAM disk",
        |s| {
            let name = format!("initrd.img-{}", release(s)?);
            hold(s.table("boot")?.concat().contains(&name.as_str()), || {
                format!("no {name} in /boot")
            })
        },
    ),
    c(
        "kernel-modinfo",
        "modinfo knows every module that is loaded",
        |s| {
            let known = modinfo(s)?;
            let rows = s.table("lsmod")?;
            for row in rows.iter().skip(1) {
                let name = row.first().copied().unwrap_or("");
                hold(known.iter().any(|k| k.0 == name), || {
                    format!("{name} is loaded, and modinfo has no such module")
                })?;
            }
            hold(rows.len() > 20, || format!("lsmod has {} lines", rows.len()))
        },
    ),
    c(
        "kernel-users",
        "what a module needs is loaded, and lsmod names it as a user",
        |s| {
            let rows = s.table("lsmod")?;
            for (user, needs) in modinfo(s)? {
                for need in needs.split(',').filter(|n| !n.is_empty()) {
                    let need = need.replace('-', "_");
                    let row = rows.iter().find(|r| r.first() == Some(&need.as_str()));
                    let users = row.and_then(|r| r.get(3)).copied().unwrap_or("");
                    hold(users.split(',').any(|u| u == user), || {
                        format!("{user} needs {need}, whose users are {users:?}")
                    })?;
                }
            }
            Ok(())
        },
    ),
];
