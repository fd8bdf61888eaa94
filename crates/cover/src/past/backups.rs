//! `/var/backups`: what dpkg-db-backup(8) copies each night, and apt.systemd.daily whenever a timer of apt's starts it. Both copy what
//! has changed since the last time, and turn the copies with savelog(8).

use super::database::{Alternative, DPKG, Database, EXTENDED};
use super::lines::Timers;
use super::unattended;
use crate::cover::{Cover, Image};
use crate::files::{Content, File, Kind, Packed};

/// Where the copies are.
const DIR: &str = "/var/backups";
/// Where the alternatives' groups are.
const GROUPS: &str = "/var/lib/dpkg/alternatives";
/// Copies that are kept: the newest plain, the others packed.
pub const KEEP: usize = 7;

/// What is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Files, all of them if one has changed: from where and to where. A copy has a number behind it.
    Files(&'static [(&'static str, &'static str)]),
    /// A directory, with tar(1).
    Tree {
        /// Its path.
        from: &'static str,
        /// The archive.
        to: &'static str,
        /// Draws the order of what is in it ([`tar`]).
        order: u64,
    },
}

const OF_DPKG: Source = Source::Files(&[
    ("/var/lib/dpkg/arch", "/var/backups/dpkg.arch"),
    ("/var/lib/dpkg/status", "/var/backups/dpkg.status"),
    ("/var/lib/dpkg/diversions", "/var/backups/dpkg.diversions"),
    ("/var/lib/dpkg/statoverride", "/var/backups/dpkg.statoverride"),
]);
const OF_APT: Source = Source::Files(&[(EXTENDED, "/var/backups/apt.extended_states")]);
const ALTERNATIVES: &str = "/var/backups/alternatives.tar";

/// The alternatives of a machine.
fn tree(cover: &Cover) -> Source {
    Source::Tree {
        from: GROUPS,
        to: ALTERNATIVES,
        order: order(cover),
    }
}

/// Of a machine's archives.
fn order(cover: &Cover) -> u64 {
    cover.stream("alternatives.tar").u64()
}

/// Whether an image has the programs.
pub(super) fn on(image: &dyn Image) -> bool {
    ["/usr/libexec/dpkg/dpkg-db-backup", "/usr/bin/savelog"]
        .iter()
        .all(|path| image.has(path))
}

/// When dpkg-db-backup copies on a local day, in days since the epoch: the service takes a second.
fn of_night(timers: &Timers, day: i64) -> Vec<i64> {
    let at = timers.on("dpkg-db-backup.service", day);
    at.map(|at| at + 1).into_iter().collect()
}

/// When apt.systemd.daily does.
fn of_day(cover: &Cover, day: i64) -> Vec<i64> {
    let (seed, zone) = (cover.seed(), &cover.host.zone);
    let mut all = unattended::update_on(seed, zone, day).to_vec();
    all.push(unattended::upgrade_on(seed, zone, day));
    all.into_iter().map(|at| at + 1).collect()
}

/// The first of a timer's moments behind `after` and before `to`.
fn next(cover: &Cover, after: i64, to: i64, on: &dyn Fn(i64) -> Vec<i64>) -> Option<i64> {
    let day = (after + cover.host.zone.offset_at(after)).div_euclid(86_400);
    // What a timer starts late on one day comes on the next.
    let near = (day - 1..=day + 2).flat_map(on);
    near.filter(|at| (after + 1..to).contains(at)).min()
}

/// What is to be copied between two moments, with the time. Nothing else touches what is copied meanwhile: the first time is the only one.
pub(super) fn due(cover: &Cover, from: i64, to: i64) -> Vec<(i64, Source)> {
    let timers = Timers::of(cover);
    let night = next(cover, from - 1, to, &|day| of_night(&timers, day));
    let day = next(cover, from - 1, to, &|day| of_day(cover, day));
    let night = night.map(|at| [(at, OF_DPKG), (at, tree(cover))]);
    let day = day.map(|at| (at, OF_APT));
    night.into_iter().flatten().chain(day).collect()
}

/// One copy.
struct Copied {
    mtime: i64,
    bytes: Vec<u8>,
}

/// Copies as savelog leaves them, the newest first.
fn turned(path: &str, copies: impl Iterator<Item = Copied>) -> Vec<File> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let one = |(n, c): (usize, Copied)| {
        let (path, content) = match n {
            0 => (format!("{path}.0"), Content::Bytes(c.bytes)),
            _ => (
                format!("{path}.{n}.gz"),
                Content::Packed(Packed {
                    // It was the newest when it was packed.
                    name: format!("{name}.0"),
                    mtime: c.mtime,
                    plain: c.bytes,
                }),
            ),
        };
        File {
            kind: Kind::Regular(content),
            ..File::text(&path, 0o644, c.mtime, "")
        }
    };
    copies.take(KEEP).enumerate().map(one).collect()
}

/// dpkg's and apt's records of before the last run, and the copies, at `now`.
pub(super) fn files(cover: &Cover, image: &dyn Image, db: &Database<'_>, now: i64) -> Vec<File> {
    let (runs, mut out) = (db.runs(), Vec::new());
    let (first, all) = (runs.first().map_or(0, |r| r.end), runs.len());
    if let Some((text, at)) = db.status_before(all) {
        out.push(File::text(&format!("{DPKG}/status-old"), 0o644, at, text));
    }
    out.extend(before(cover, image, first));
    // debootstrap says how packages come to dselect(1).
    let begun = runs.first().map_or(0, |r| r.start);
    out.push(File::text(&format!("{DPKG}/cmethopt"), 0o644, begun, "apt apt\n"));
    // They come and go with each run of dpkg.
    let written = runs.last().map_or(0, |r| r.end);
    out.push(File::dir(DPKG, 0o755, written));
    if let Some((text, at)) = db.extended(all) {
        out.push(File::text(EXTENDED, 0o644, at, text));
    }
    if !on(image) {
        return out;
    }
    let timers = Timers::of(cover);
    let night = |day| of_night(&timers, day);
    let day = |day| of_day(cover, day);
    // After each run, when it was copied and how many runs were over then; of several before one copy the last counts.
    let copied = |on: &dyn Fn(i64) -> Vec<i64>, changed: &dyn Fn(usize) -> bool| {
        let mut at: Vec<(i64, usize)> = Vec::new();
        for (i, r) in runs.iter().enumerate().filter(|(i, _)| changed(*i)) {
            let Some(moment) = next(cover, r.end, now, on) else {
                continue;
            };
            at.retain(|l| l.0 != moment);
            at.push((moment, i + 1));
        }
        at.reverse();
        at.truncate(KEEP);
        at
    };
    let mut last = 0;
    let of_dpkg = copied(&night, &|_| true);
    last = last.max(of_dpkg.first().map_or(0, |l| l.0));
    for name in ["arch", "status", "diversions", "statoverride"] {
        let constant = (name != "status").then(|| image.read(&format!("{DPKG}/{name}")));
        let copy = |(_, n): &(i64, usize)| match &constant {
            // Nothing but the installation writes them.
            Some(text) => Copied {
                mtime: first,
                bytes: text.clone().unwrap_or_default(),
            },
            None => Copied {
                mtime: runs.get(n - 1).map_or(first, |r| r.end),
                bytes: db.status(*n).into_bytes(),
            },
        };
        out.extend(turned(&format!("{DIR}/dpkg.{name}"), of_dpkg.iter().map(copy)));
    }
    let of_alternatives = copied(&night, &|i| {
        i == 0 || db.alternatives(i) != db.alternatives(i + 1)
    });
    last = last.max(of_alternatives.first().map_or(0, |l| l.0));
    let copy = |(at, n): &(i64, usize)| {
        let all = db.alternatives(*n);
        let changed = all.iter().map(|a| a.written).max().unwrap_or(first);
        Copied {
            mtime: *at,
            bytes: tar("alternatives", changed, &all, order(cover)),
        }
    };
    out.extend(turned(ALTERNATIVES, of_alternatives.iter().map(copy)));
    let of_apt = copied(&day, &|i| db.changes_automatic(i));
    last = last.max(of_apt.first().map_or(0, |l| l.0));
    let copy = |(_, n): &(i64, usize)| {
        let (text, mtime) = db.extended(*n).unwrap_or_default();
        Copied {
            mtime,
            bytes: text.into_bytes(),
        }
    };
    out.extend(turned(
        &format!("{DIR}/apt.extended_states"),
        of_apt.iter().map(copy),
    ));
    if last > 0 {
        out.push(File::dir(DIR, 0o755, last));
    }
    out
}

/// What dpkg-divert(1) and dpkg-statoverride(1) put aside when they added the newest, which stands first: three lines and one.
fn before(cover: &Cover, image: &dyn Image, installed: i64) -> Vec<File> {
    let mut s = cover.stream("diversions-old");
    let mut out = Vec::new();
    for (name, lines) in [("diversions", 3), ("statoverride", 1)] {
        let text = image.read(&format!("{DPKG}/{name}")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let old: String = text.split_inclusive('\n').skip(lines).collect();
        if !old.is_empty() {
            let at = installed - s.range(2, 30);
            out.push(File::text(&format!("{DPKG}/{name}-old"), 0o644, at, old));
        }
    }
    out
}

/// Bytes of a block of tar's, and of a record.
const BLOCK: usize = 512;
const RECORD: usize = 20 * BLOCK;

/// `tar -cf` of a directory of root's that holds these files (GNU tar's form). tar has them as the directory gives them, which is no order:
/// `order` draws one that stays.
pub fn tar(dir: &str, changed: i64, files: &[Alternative], order: u64) -> Vec<u8> {
    let mut out = header(&format!("{dir}/"), 0o755, b'5', 0, changed);
    let place = |f: &&Alternative| {
        let mix = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3).rotate_left(29);
        f.name.bytes().fold(order, mix)
    };
    let mut sorted: Vec<&Alternative> = files.iter().collect();
    sorted.sort_by_cached_key(|f| (place(f), f.name.clone()));
    for f in sorted {
        out.extend(header(
            &format!("{dir}/{}", f.name),
            0o644,
            b'0',
            f.text.len(),
            f.written,
        ));
        out.extend(&f.text);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.resize((out.len() + 2 * BLOCK).next_multiple_of(RECORD), 0);
    out
}

/// Whether two archives hold the same, in whichever order.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    members(one) == members(other)
}

/// Headers of an archive with what is behind them, sorted.
fn members(mut archive: &[u8]) -> Vec<&[u8]> {
    let mut out = Vec::new();
    // The first empty block ends it.
    while let Some(head) = archive.get(..BLOCK).filter(|h| h[0] != 0) {
        let len = std::str::from_utf8(&head[124..135]).ok();
        let len = len.and_then(|t| usize::from_str_radix(t, 8).ok()).unwrap_or(0);
        let all = BLOCK + len.next_multiple_of(BLOCK);
        let Some((member, rest)) = archive.split_at_checked(all) else {
            break;
        };
        out.push(member);
        archive = rest;
    }
    out.sort_unstable();
    out
}

fn header(name: &str, mode: u32, kind: u8, len: usize, mtime: i64) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    let mut put = |at: usize, most: usize, bytes: &[u8]| {
        let bytes = &bytes[..bytes.len().min(most)];
        block[at..at + bytes.len()].copy_from_slice(bytes);
    };
    put(0, 100, name.as_bytes());
    put(100, 8, format!("{mode:07o}").as_bytes());
    put(108, 8, b"0000000");
    put(116, 8, b"0000000");
    put(124, 12, format!("{len:011o}").as_bytes());
    put(136, 12, format!("{mtime:011o}").as_bytes());
    put(148, 8, b"        ");
    put(156, 1, &[kind]);
    put(257, 8, b"ustar  \0");
    put(265, 32, b"root");
    put(297, 32, b"root");
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_the_same_in_any_order_and_no_bytes_do_harm() {
        let file = |name: &str, text: &str| Alternative {
            name: name.into(),
            text: text.into(),
            written: 1_700_000_000,
        };
        let two = [file("editor", "auto\n"), file("pager", &"x".repeat(600))];
        let other = [file("editor", "auto\n"), file("pager", &"y".repeat(600))];
        let all: Vec<Vec<u8>> = (0..8).map(|order| tar("a", 5, &two, order)).collect();
        assert!(all.iter().any(|t| *t != all[0]));
        assert!(all.iter().all(|t| same(t, &all[0]) && t.len() == RECORD));
        assert!(!same(&all[0], &tar("a", 5, &other, 0)) && !same(&all[0], &tar("a", 6, &two, 0)));
        for cut in [0, 1, 511, 512, 700, 1_600] {
            assert!(!same(&all[0], &all[0][..cut]));
        }
        let mut long = all[0].clone();
        long[124..135].fill(b'7');
        assert!(!same(&long, &all[0]));
    }
}
