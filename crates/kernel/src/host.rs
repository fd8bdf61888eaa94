//! What the host does to a world from outside, without a process in it: keeping its accounts.

use crate::world::World;

impl World {
    /// Replaces the password field of an account in the world's `/etc/shadow`, if it has the account.
    pub fn set_password(&mut self, user: &[u8], hash: &[u8]) {
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
        let path = b"/etc/shadow";
        let longer = out.len() >= text.len();
        let cut = self.fs(0, |v, c| {
            v.truncate(c, path, if longer { text.len() } else { out.len() } as i64)
        });
        if matches!(cut, Ok(Ok(()))) {
            let _ = self.scribble(path, Some(0), &out, None);
        }
    }

    /// Bytes of a file of the world.
    pub fn read_size(&mut self, path: &[u8]) -> Option<u64> {
        let root = self.vfs.root_path();
        let at = self.fs(0, |v, c| v.walk(c, &root, path, 0)).ok()?.ok()?;
        self.vfs.file_len(at.ino).ok()
    }

    /// Content of a file of the world, up to 1 MiB.
    pub fn read_file(&mut self, path: &[u8]) -> Option<Vec<u8>> {
        self.slurp(path).ok()
    }
}
