//! What programs of the machine that only stand in do to files: the nightly job, logrotate, apt's timers. Nobody inside did it, so nothing
//! of it is on record as somebody's deed, and each thing has the time at which it would have been done.

use crate::KResult;
use crate::abi::{O_APPEND, O_CREAT, O_TRUNC, O_WRONLY};
use crate::vfs::attr::SetTime;
use crate::vfs::boot::{Content, CoverFile};
use crate::vfs::{Ctx, Path, Stat, Timespec, Vfs, mode, wflag};
use crate::world::World;
use turncoat_cover::past::rotate::{Log, gzip};

/// What is longer is not read: a log is turned and stays plain, a record is not copied.
const LARGEST: u64 = 4 << 20;

/// A regular file as it is.
pub(crate) struct Held {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is: Stat,
}

impl Held {
    /// A file of the same owner, mode and time with other bytes.
    pub(crate) fn with(&self, path: &str, bytes: Vec<u8>) -> CoverFile {
        let (perm, content) = (self.is.mode & 0o7777, Content::Bytes(bytes.into()));
        CoverFile {
            uid: self.is.uid,
            gid: self.is.gid,
            ..CoverFile::new(path, perm, self.is.mtime, content)
        }
    }
}

impl World {
    /// Adds to the end of a file that is there.
    pub(crate) fn append_at(&mut self, path: &[u8], bytes: &[u8], now: Timespec) {
        self.at(now, |v, c, root| {
            let o = v.open(c, root, path, O_WRONLY | O_APPEND, 0, 0)?;
            let end = v.file_len(o.path.ino)?;
            v.write(c, &o.path, end, bytes).map(drop)
        });
    }

    /// Asks something of the file system as root at a moment that is over.
    pub(crate) fn at<R>(
        &mut self,
        now: Timespec,
        f: impl FnOnce(&mut Vfs, &Ctx, &Path) -> KResult<R>,
    ) -> Option<R> {
        self.rise();
        let root = self.vfs.root_path();
        let recording = self.vfs.record(false);
        // The world's clock may be behind: it goes on when the world runs.
        let done = self.fs(0, |v, c| {
            let (root, cwd, umask) = (&root, &root, 0);
            f(
                v,
                &Ctx {
                    now,
                    root,
                    cwd,
                    umask,
                    ..*c
                },
                root,
            )
        });
        self.vfs.record(recording);
        done.ok()?.ok()
    }

    /// Adds the bytes of `f` to the file at its path, as `>>` does at its time.
    pub fn append_as(&mut self, f: &CoverFile) {
        self.write_with(f, O_APPEND);
    }

    /// Writes the file anew, as `>` does at its time.
    pub fn write_as(&mut self, f: &CoverFile) {
        self.write_with(f, O_TRUNC);
    }

    fn write_with(&mut self, f: &CoverFile, flag: u32) {
        let Content::Bytes(bytes) = &f.content else { return };
        self.at(f.mtime, |v, c, root| {
            if v.walk(c, root, &f.path, 0).is_err() {
                // Without its directory it cannot be made.
                v.walk(c, root, directory(&f.path), wflag::DIRECTORY)?;
                return v.put(c, f);
            }
            let o = v.open(c, root, &f.path, O_WRONLY | O_CREAT | flag, f.perm, 0)?;
            let end = v.file_len(o.path.ino)?;
            v.write(c, &o.path, end, bytes).map(drop)
        });
    }

    /// Gives what is there the times of `f`, and makes a file if nothing is.
    pub fn touch_as(&mut self, f: &CoverFile) {
        let there = self.at(f.mtime, |v, c, root| {
            let at = v.walk(c, root, &f.path, 0)?;
            v.utimens_at(c, &at, SetTime::Omit, SetTime::At(f.mtime))
        });
        if there.is_none() && matches!(f.content, Content::Bytes(_)) {
            self.write_as(f);
        }
    }

    /// Takes a file away at a moment, if it is still the one that was made as `f`.
    pub fn remove_as(&mut self, f: &CoverFile, now: Timespec) {
        let Content::Bytes(bytes) = &f.content else { return };
        self.at(now, |v, c, root| {
            let at = v.walk(c, root, &f.path, wflag::NOFOLLOW)?;
            let is = v.fstat(c, &at)?;
            let same = is.mode & mode::IFMT == mode::IFREG
                && is.mtime.sec == f.mtime.sec
                && is.size == bytes.len() as u64;
            if same { v.unlink(c, root, &f.path) } else { Ok(()) }
        });
    }

    /// Turns a log as logrotate does at a moment: old files go one number up, the newest is compressed as the rule has it, and an empty one
    /// takes the log's place.
    pub fn turn(&mut self, log: &Log, now: Timespec) {
        let (path, rule) = (log.path.as_bytes(), log.rule);
        let Some((size, perm, uid, gid)) = self
            .at(now, |v, c, root| {
                let at = v.walk(c, root, path, wflag::NOFOLLOW)?;
                let is = v.fstat(c, &at)?;
                let regular = is.mode & mode::IFMT == mode::IFREG;
                Ok(regular.then_some((is.size, is.mode & 0o7777, is.uid, is.gid)))
            })
            .flatten()
        else {
            return;
        };
        if rule.skip_empty && size == 0 || size < rule.least as u64 {
            return;
        }
        let name = |n: usize, packed: bool| format!("{}.{n}{}", log.path, if packed { ".gz" } else { "" });
        for packed in [false, true] {
            self.push_up(rule.keep, &|n| name(n, packed), now);
        }
        self.moved(&log.path, &name(1, false), now);
        let packs = if rule.delay { 2 } else { 1 };
        if rule.compress && packs <= rule.keep {
            self.pack(
                &name(packs, false),
                &name(packs, true),
                &|h| gzip(h.is.mtime.sec, &h.bytes),
                now,
            );
        }
        let empty = Content::Bytes([].into());
        let file = CoverFile {
            uid,
            gid,
            ..CoverFile::new(path, perm, now, empty)
        };
        self.at(now, |v, c, _| v.put(c, &file));
    }

    /// Old files go one number up; the last goes away.
    pub(crate) fn push_up(&mut self, last: usize, name: &dyn Fn(usize) -> String, now: Timespec) {
        self.at(now, |v, c, root| v.unlink(c, root, name(last).as_bytes()));
        for n in (1..last).rev() {
            self.moved(&name(n), &name(n + 1), now);
        }
    }

    fn moved(&mut self, from: &str, to: &str, now: Timespec) {
        self.at(now, |v, c, root| {
            v.rename(c, root, from.as_bytes(), root, to.as_bytes(), 0)
        });
    }

    /// A regular file that is there and not too long.
    pub(crate) fn held(&mut self, path: &str, now: Timespec) -> Option<Held> {
        self.at(now, |v, c, root| {
            let at = v.walk(c, root, path.as_bytes(), wflag::NOFOLLOW)?;
            let is = v.fstat(c, &at)?;
            if is.mode & mode::IFMT != mode::IFREG || is.size > LARGEST {
                return Ok(None);
            }
            let mut bytes = vec![0; is.size as usize];
            let n = v.read(c, &at, 0, &mut bytes)?;
            bytes.truncate(n);
            Ok(Some(Held { bytes, is }))
        })
        .flatten()
    }

    /// Compresses a file and takes it away. The new one has its times and owner.
    pub(crate) fn pack(&mut self, from: &str, to: &str, packed: &dyn Fn(&Held) -> Vec<u8>, now: Timespec) {
        let Some(held) = self.held(from, now) else {
            return;
        };
        let file = held.with(to, packed(&held));
        self.at(now, |v, c, root| {
            v.put(c, &file)?;
            v.unlink(c, root, from.as_bytes())
        });
    }
}

/// The directory that a path is in.
pub(crate) fn directory(path: &[u8]) -> &[u8] {
    let at = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
    path.get(..at.max(1)).unwrap_or(b"/")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_path_has_a_directory() {
        assert_eq!(super::directory(b"/a/b"), b"/a");
        assert_eq!(super::directory(b"/a"), b"/");
    }
}
