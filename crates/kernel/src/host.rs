//! What the host does to a world from outside, without a process in it: furnishing it before its first login, and keeping its accounts.

use crate::KResult;
use crate::vfs::boot::CoverFile;
use crate::world::World;

impl World {
    /// Puts the cover's files above the image, then mounts what a Debian server mounts. Done once, before anybody logs in.
    pub fn furnish(&mut self, files: &[CoverFile]) -> KResult<()> {
        self.fs(0, |v, c| {
            for f in files {
                v.put(c, f)?;
            }
            v.mount_standard(c)
        })?
    }

    /// Replaces the password field of an account in the world's `/etc/shadow`, if it has the account.
    pub fn set_password(&mut self, user: &[u8], hash: &[u8]) {
        let Ok(text) = self.slurp(b"/etc/shadow") else { return };
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
        let _ = self.overwrite(b"/etc/shadow", &out);
    }

    /// Content of a file of the world, up to 1 MiB.
    pub fn file(&mut self, path: &[u8]) -> Option<Vec<u8>> {
        self.slurp(path).ok()
    }
}
