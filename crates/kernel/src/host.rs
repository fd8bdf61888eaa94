//! What the host does to a world from outside, without a process in it: keeping its accounts.

use crate::abi::{O_APPEND, O_CREAT, O_WRONLY};
use crate::vfs::Timespec;
use crate::world::World;

/// A file of the world as the host sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Its path without links.
    pub path: Vec<u8>,
    /// Type and permissions (`st_mode`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Bytes.
    pub size: u64,
    /// When its content changed last.
    pub mtime: Timespec,
}

impl World {
    /// Replaces the password field of an account in the world's `/etc/shadow`, if it has the account.
    pub fn set_password(&mut self, user: &[u8], hash: &[u8]) {
        self.rise();
        let Ok(text) = self.slurp(b"/etc/shadow") else {
            return;
        };
        let mut out = Vec::with_capacity(text.len() + hash.len());
        for line in text.split_inclusive(|b| *b == b'\n') {
            let mut fields: Vec<&[u8]> = line.split(|b| *b == b':').collect();
            if fields.len() > 2 && fields.first() == Some(&user) {
                if let Some(slot) = fields.get_mut(1) {
                    *slot = hash;
                }
                out.extend_from_slice(&fields.join(&b':'));
            } else {
                out.extend_from_slice(line);
            }
        }
        // What is written here is not an act of anybody inside: what they did before is told first, this is not.
        self.fs_effects();
        let path = b"/etc/shadow";
        let longer = out.len() >= text.len();
        let cut = self.fs(0, |v, c| {
            v.truncate(c, path, if longer { text.len() } else { out.len() } as i64)
        });
        if matches!(cut, Ok(Ok(()))) {
            let _ = self.scribble(path, Some(0), &out, None);
        }
        drop(self.vfs.take_changes());
    }

    /// Bytes of a file of the world.
    pub fn read_size(&mut self, path: &[u8]) -> Option<u64> {
        let root = self.vfs.root_path();
        let at = self.fs(0, |v, c| v.walk(c, &root, path, 0)).ok()?.ok()?;
        self.vfs.file_len(at.ino).ok()
    }

    /// Content of a file of the world, up to 1 MiB.
    pub fn read_file(&mut self, path: &[u8]) -> Option<Vec<u8>> {
        self.rise();
        self.slurp(path).ok()
    }

    /// Names in a directory of the world, in order, at most so many.
    pub fn list(&mut self, dir: &[u8], most: usize) -> Vec<Vec<u8>> {
        self.rise();
        let root = self.vfs.root_path();
        let mut names = Vec::new();
        let _ = self.fs(0, |v, c| {
            let at = v.walk(c, &root, dir, 0)?;
            v.getdents(c, &at, 0, &mut |e| {
                if !matches!(&e.name[..], b"." | b"..") {
                    names.push(e.name.to_vec());
                }
                names.len() < most
            })
        });
        names.sort();
        names
    }

    /// Whether something has happened since the last [`World::drain`] that this is true of.
    pub fn happened(&self, what: impl Fn(&crate::Fact) -> bool) -> bool {
        self.facts.iter().any(|f| what(&f.fact))
    }

    /// What stands at a path, links followed.
    pub fn look(&mut self, path: &[u8]) -> Option<Look> {
        self.rise();
        let root = self.vfs.root_path();
        let found = self.fs(0, |v, c| {
            let at = v.walk(c, &root, path, 0)?;
            let stat = v.fstat(c, &at)?;
            crate::KResult::Ok((v.full_path(c, &at), stat))
        });
        let Ok(Ok((path, stat))) = found else { return None };
        Some(Look {
            path,
            mode: stat.mode,
            uid: stat.uid,
            size: stat.size,
            mtime: stat.mtime,
        })
    }

    /// Adds a line to a file of the world that belongs to this user, making it and its directory as `ssh-copy-id` does.
    pub fn add_line(&mut self, dir: &[u8], name: &[u8], line: &[u8], owner: (u32, u32)) {
        self.rise();
        let path = [dir, b"/", name].concat();
        let root = self.vfs.root_path();
        let (uid, gid) = owner;
        let _ = self.fs(0, |v, c| {
            if v.mkdir(c, &root, dir, 0o700).is_ok() {
                v.chown(c, &root, dir, uid, gid, 0)?;
            }
            let fresh = v.walk(c, &root, &path, 0).is_err();
            let o = v.open(c, &root, &path, O_WRONLY | O_APPEND | O_CREAT, 0o600, 0)?;
            if fresh {
                v.chown_at(c, &o.path, uid, gid)?;
            }
            let end = v.file_len(o.path.ino)?;
            let text = [line, b"\n"].concat();
            v.write(c, &o.path, end, &text).map(drop)
        });
        // The host did this, not a program: it is not on record as one's doing.
        self.vfs.take_changes();
    }
}
