//! What dpkg-db-backup(8) and apt.systemd.daily do in a world: they copy records that have changed, and turn the copies as savelog(8) does.

use crate::chores::{Held, directory};
use crate::vfs::attr::SetTime;
use crate::vfs::boot::{Content, CoverFile};
use crate::vfs::{Timespec, wflag};
use crate::world::World;
use turncoat_cover::Packed;
use turncoat_cover::past::backups::{KEEP, Source, same, tar};
use turncoat_cover::past::database::Alternative;

/// Most files of a directory that is archived.
const MOST: usize = 1_000;

impl World {
    /// Copies `what` at a moment, if it is not as the newest copy has it.
    pub fn save(&mut self, what: &Source, now: Timespec) {
        match what {
            Source::Files(files) => self.save_files(files, now),
            Source::Tree { from, to, order } => self.save_tree(from, to, *order, now),
        }
    }

    fn save_files(&mut self, files: &[(&str, &str)], now: Timespec) {
        let held: Vec<Option<Held>> = files.iter().map(|(from, _)| self.held(from, now)).collect();
        let unchanged = |world: &mut World, (file, (_, to)): (&Option<Held>, &(&str, &str))| {
            let copy = world.held(&format!("{to}.0"), now);
            // One that is not there is like an empty one.
            let bytes = |h: &Option<Held>| h.as_ref().map(|h| h.bytes.clone()).unwrap_or_default();
            bytes(&copy) == bytes(file)
        };
        if held.iter().zip(files).all(|pair| unchanged(self, pair)) {
            return;
        }
        for (file, (_, to)) in held.into_iter().zip(files) {
            let empty = Content::Bytes([].into());
            let copy = match file {
                Some(mut h) => {
                    let bytes = std::mem::take(&mut h.bytes);
                    h.with(&format!("{to}.0"), bytes)
                }
                None => CoverFile::new(format!("{to}.0"), 0o644, now, empty),
            };
            self.put_copy(to, &copy, now);
        }
    }

    fn save_tree(&mut self, from: &str, to: &str, order: u64, now: Timespec) {
        let Some((names, changed)) = self.at(now, |v, c, root| {
            let at = v.walk(c, root, from.as_bytes(), wflag::DIRECTORY)?;
            let mut names = Vec::new();
            v.getdents(c, &at, 0, &mut |e| {
                names.push(String::from_utf8_lossy(e.name.as_ref()).into_owned());
                names.len() < MOST
            })?;
            Ok((names, v.fstat(c, &at)?.mtime.sec))
        }) else {
            return;
        };
        let mut files = Vec::new();
        for name in names.into_iter().filter(|n| n != "." && n != "..") {
            if let Some(h) = self.held(&format!("{from}/{name}"), now) {
                files.push(Alternative {
                    name,
                    text: h.bytes,
                    written: h.is.mtime.sec,
                });
            }
        }
        let name = from.rsplit('/').next().unwrap_or(from);
        let archive = tar(name, changed, &files, order);
        let there = self.held(&format!("{to}.0"), now);
        if there.is_none_or(|h| !same(&h.bytes, &archive)) {
            let content = Content::Bytes(archive.into());
            let copy = CoverFile::new(format!("{to}.0"), 0o644, now, content);
            self.put_copy(to, &copy, now);
        }
    }

    /// Puts the newest copy in its place; the others go one number up, and the one that was the newest is packed.
    fn put_copy(&mut self, path: &str, copy: &CoverFile, now: Timespec) {
        let dir = directory(path.as_bytes());
        let there = self.at(now, |v, c, root| v.walk(c, root, dir, wflag::DIRECTORY).map(drop));
        if there.is_none() {
            return;
        }
        for kind in [".gz", ""] {
            self.push_up(KEEP - 1, &|n| format!("{path}.{n}{kind}"), now);
        }
        let newest = format!("{path}.0");
        let name = newest.rsplit('/').next().unwrap_or(&newest);
        let packed = |h: &Held| {
            let packed = Packed {
                name: name.to_owned(),
                mtime: h.is.mtime.sec,
                plain: h.bytes.clone(),
            };
            packed.bytes()
        };
        self.pack(&newest, &format!("{path}.1.gz"), &packed, now);
        self.at(now, |v, c, root| {
            v.put(c, copy)?;
            // A copy is as old as what it is of, its directory is not.
            let at = v.walk(c, root, dir, wflag::DIRECTORY)?;
            v.utimens_at(c, &at, SetTime::Omit, SetTime::At(now))
        });
    }
}
