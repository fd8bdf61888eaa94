//! Disks, partitions, file systems, swap.

use super::kernel::dmesg;
use super::{Check, Seen, c, hold, near, number, same};

/// Name and size in bytes of the block devices of lsblk; type and mount point.
fn blocks(s: &Seen) -> Result<Vec<(&str, i64, &str, &str)>, String> {
    let mut out = Vec::new();
    for l in s.lines("lsblk")? {
        let w: Vec<&str> = l.split_whitespace().collect();
        if let [name, size, kind, ..] = w.as_slice() {
            out.push((
                *name,
                size.parse().unwrap_or(0),
                *kind,
                w.get(3).copied().unwrap_or(""),
            ));
        }
    }
    Ok(out)
}

/// The device of the root file system, without `/dev/`.
fn root(s: &Seen) -> Result<&str, String> {
    s.lines("mounts")?
        .iter()
        .find_map(|l| {
            let w: Vec<&str> = l.split(' ').collect();
            (w.get(1) == Some(&"/")).then(|| w[0].trim_start_matches("/dev/"))
        })
        .ok_or("no root in /proc/mounts".into())
}

/// The UUID that fstab has for a mount point.
fn fstab<'a>(s: &'a Seen, place: &str, kind: &str) -> Result<&'a str, String> {
    s.lines("fstab")?
        .into_iter()
        .filter(|l| !l.starts_with('#'))
        .find_map(|l| {
            let w: Vec<&str> = l.split_whitespace().collect();
            (w.get(1) == Some(&place) && w.get(2) == Some(&kind)).then(|| w[0].trim_start_matches("UUID="))
        })
        .ok_or_else(|| format!("fstab has no {kind} at {place}"))
}

/// The device that /dev/disk/by-uuid has for a UUID.
fn by_uuid<'a>(s: &'a Seen, uuid: &str) -> Result<&'a str, String> {
    s.lines("blkid")?
        .into_iter()
        .find_map(|l| {
            let (name, target) = l.split_once(" -> ")?;
            name.ends_with(uuid).then(|| target.rsplit('/').next()).flatten()
        })
        .ok_or_else(|| format!("/dev/disk/by-uuid has no {uuid}"))
}

/// The swap device, its size and use in KiB.
fn swap(s: &Seen) -> Result<Option<(&str, i64, i64)>, String> {
    Ok(s.lines("swaps")?.get(1).and_then(|l| {
        let w: Vec<&str> = l.split_whitespace().collect();
        Some((
            w.first()?.trim_start_matches("/dev/"),
            w.get(2)?.parse().ok()?,
            w.get(3)?.parse().ok()?,
        ))
    }))
}

pub(super) const CHECKS: &[Check] = &[
    c(
        "disk-sizes",
        "lsblk and /proc/partitions have the same devices in the same sizes",
        |s| {
            let mut a: Vec<String> = blocks(s)?
                .iter()
                .filter(|b| b.2 != "rom")
                .map(|b| format!("{}={}", b.0, b.1 / 1024))
                .collect();
            let mut b: Vec<String> = s
                .table("partitions")?
                .iter()
                .skip(1)
                .filter(|r| r.len() == 4 && !r[3].starts_with("sr"))
                .map(|r| format!("{}={}", r[3], r[2]))
                .collect();
            a.sort();
            b.sort();
            same("lsblk", a.join(" "), "/proc/partitions", b.join(" "))
        },
    ),
    c(
        "disk-root",
        "df and /proc/mounts name one device for the root",
        |s| {
            let rows = s.table("df")?;
            let shown = rows.get(1).and_then(|r| r.first()).copied().unwrap_or("");
            same("df", shown.trim_start_matches("/dev/"), "/proc/mounts", root(s)?)
        },
    ),
    c(
        "disk-root-mount",
        "lsblk shows the root where it is mounted",
        |s| {
            let shown = blocks(s)?
                .into_iter()
                .find(|b| b.3 == "/")
                .map_or("nothing", |b| b.0);
            same("lsblk", shown, "/proc/mounts", root(s)?)
        },
    ),
    c(
        "disk-root-fits",
        "the root file system fills its partition and not more",
        |s| {
            let rows = s.table("df")?;
            let kib = rows
                .get(1)
                .and_then(|r| r.get(1))
                .and_then(|n| n.parse::<i64>().ok())
                .unwrap_or(0);
            let device = root(s)?;
            let size = blocks(s)?
                .iter()
                .find(|b| b.0 == device)
                .map_or(0, |b| b.1 / 1024);
            hold(kib < size && kib * 100 > size * 90, || {
                format!("df says {kib} KiB, the partition has {size}")
            })
        },
    ),
    c(
        "disk-root-sum",
        "what df shows as used and free fits into the file system",
        |s| {
            let rows = s.table("df")?;
            let n = |i: usize| {
                rows.get(1)
                    .and_then(|r| r.get(i))
                    .and_then(|n| n.parse::<i64>().ok())
                    .unwrap_or(-1)
            };
            hold(n(2) > 0 && n(3) > 0 && n(2) + n(3) <= n(1), || {
                format!("{} + {} of {}", n(2), n(3), n(1))
            })
        },
    ),
    c("disk-uuid", "the kernel was given the root that fstab has", |s| {
        let line = s.line("cmdline")?;
        let given = line
            .split(' ')
            .find_map(|w| w.strip_prefix("root=UUID="))
            .unwrap_or("");
        same("/proc/cmdline", given, "fstab", fstab(s, "/", "ext4")?)
    }),
    c("disk-uuid-device", "the root's UUID leads to its device", |s| {
        same(
            "/dev/disk/by-uuid",
            by_uuid(s, fstab(s, "/", "ext4")?)?,
            "/proc/mounts",
            root(s)?,
        )
    }),
    c("disk-log", "the kernel's log has the size of the disk", |s| {
        let told = dmesg(s, "512-byte logical blocks")?;
        let sectors = told
            .split(" 512-byte")
            .next()
            .and_then(|t| t.rsplit(' ').next())
            .and_then(number);
        let disk = blocks(s)?
            .into_iter()
            .find(|b| b.2 == "disk")
            .map_or(0, |b| b.1 / 512);
        same("dmesg", sectors.unwrap_or(0), "lsblk", disk)
    }),
    c("disk-parts", "the partitions fit on the disk", |s| {
        let all = blocks(s)?;
        let disk = all.iter().find(|b| b.2 == "disk").map_or(0, |b| b.1);
        let parts: i64 = all.iter().filter(|b| b.2 == "part").map(|b| b.1).sum();
        hold(parts < disk && parts * 100 > disk * 90, || {
            format!("{parts} of {disk} bytes")
        })
    }),
    c(
        "disk-counters",
        "/proc/diskstats counts the devices of /proc/partitions",
        |s| {
            let mut a: Vec<&str> = s
                .table("diskstats")?
                .iter()
                .filter_map(|r| r.get(2).copied())
                .collect();
            let mut b: Vec<&str> = s
                .table("partitions")?
                .iter()
                .skip(1)
                .filter_map(|r| r.get(3).copied())
                .collect();
            a.retain(|n| !n.starts_with("loop") && !n.starts_with("sr"));
            b.retain(|n| !n.starts_with("sr"));
            a.sort_unstable();
            b.sort_unstable();
            same("/proc/diskstats", a.join(" "), "/proc/partitions", b.join(" "))
        },
    ),
    c(
        "disk-made",
        "the root file system has the directory that mke2fs makes, as old as itself",
        |s| {
            let rows = s.table("birth")?;
            let birth = |i: usize| {
                rows.get(i)
                    .and_then(|r| r.first())
                    .and_then(|n| n.parse::<i64>().ok())
                    .unwrap_or(-1)
            };
            near("/", birth(0), "/lost+found", birth(1), 60)
        },
    ),
    c(
        "swap-size",
        "free, /proc/meminfo and /proc/swaps have one size of swap",
        |s| {
            let size = swap(s)?.map_or(0, |w| w.1);
            same("free", s.number("free", "Swap")?, "/proc/swaps", size)?;
            same(
                "/proc/meminfo",
                s.number("meminfo", "SwapTotal")?,
                "/proc/swaps",
                size,
            )
        },
    ),
    c(
        "swap-used",
        "free and /proc/swaps say as much swap is used",
        |s| {
            let used = swap(s)?.map_or(0, |w| w.2);
            let free = s
                .value("free", "Swap")?
                .split_whitespace()
                .nth(1)
                .and_then(number)
                .unwrap_or(-1);
            near("free", free, "/proc/swaps", used, 64)
        },
    ),
    c(
        "swap-device",
        "the swap of fstab is the one in use, and it fits its partition",
        |s| {
            let Some((device, size, _)) = swap(s)? else {
                return hold(fstab(s, "none", "swap").is_err(), || {
                    "fstab has swap, /proc/swaps none".into()
                });
            };
            same(
                "/dev/disk/by-uuid",
                by_uuid(s, fstab(s, "none", "swap")?)?,
                "/proc/swaps",
                device,
            )?;
            let part = blocks(s)?
                .iter()
                .find(|b| b.0 == device)
                .map_or(0, |b| b.1 / 1024);
            hold(size < part && part - size < 16, || {
                format!("{size} KiB of swap on {part} KiB")
            })
        },
    ),
];
