//! What maintainer scripts would have done at a first installation, done by us: scripts are read, never run.
//!
//! Most of it is said by the packages themselves in a form that can be read: `update-alternatives --install` calls, units with
//! `[Install]` sections, `sysusers.d`, `tmpfiles.d`, PAM profiles, here-documents. What is left (which file is copied where) is in
//! the tables of `defaults`. Not done here, because it takes the packages' own programs: byte-compiled Python modules, the
//! hardware and message databases of udev and systemd, the index of manual pages, debconf's database.

mod alternatives;
mod certs;
mod defaults;
mod ldcache;
mod pam;
mod script;
mod units;
mod users;

use turncoat_kernel::image::{Attr, Content, NodeId, NodeKind};

use super::deb::Package;
use super::{BuildError, Draft, Progress, Report};

/// Does it.
pub(super) fn apply(draft: &mut Draft, packages: &[Package], report: Report<'_>) -> Result<(), BuildError> {
    defaults::directories(draft)?;
    users::create(draft, packages)?;
    defaults::apply(draft, packages)?;
    alternatives::install(draft, packages)?;
    units::enable(draft, packages)?;
    pam::write(draft)?;
    let odd = certs::install(draft)?;
    if odd > 0 {
        report(Progress::Note(&format!(
            "{odd} certificates could not be read and have no hash link"
        )));
    }
    ldcache::write(draft, packages)?;
    Ok(())
}

impl Draft {
    /// Makes or replaces a file of root's with the time of the build.
    fn file(&mut self, path: &str, perm: u16, data: impl Into<Vec<u8>>) -> Result<NodeId, BuildError> {
        let attr = Attr::root(perm, self.stamp);
        Ok(self
            .tree
            .put(path.as_bytes(), attr, NodeKind::File(Content::Bytes(data.into())))?)
    }

    /// Makes or replaces a symbolic link.
    fn link(&mut self, path: &str, target: &str) -> Result<(), BuildError> {
        let attr = Attr::root(0o777, self.stamp);
        self.tree
            .put(path.as_bytes(), attr, NodeKind::Symlink(target.into()))?;
        Ok(())
    }

    /// Makes a directory of root's, if it is missing, with all its parents.
    fn dir(&mut self, path: &str, perm: u16) -> Result<NodeId, BuildError> {
        let existed = self.tree.exists(path.as_bytes());
        let id = self
            .tree
            .mkdir_all(path.as_bytes(), Attr::root(0o755, self.stamp))?;
        if !existed {
            self.tree.attr_mut(id).perm = perm;
        }
        Ok(id)
    }

    /// The bytes of a file, links followed; `None` if there is none.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, BuildError> {
        match self.tree.find(path.as_bytes(), true) {
            Ok(id) if matches!(self.tree.kind(id), NodeKind::File(_)) => {
                Ok(Some(self.writer.content(&self.tree, id)?))
            }
            _ => Ok(None),
        }
    }

    fn text(&self, path: &str) -> Result<Option<String>, BuildError> {
        Ok(self.read(path)?.map(|b| String::from_utf8_lossy(&b).into_owned()))
    }

    /// The names in a directory, sorted.
    fn names(&self, dir: &str) -> Vec<String> {
        match self.tree.find(dir.as_bytes(), true) {
            Ok(id) => self
                .tree
                .entries(id)
                .map(|(n, _)| String::from_utf8_lossy(n).into_owned())
                .collect(),
            Err(_) => Vec::new(),
        }
    }
}
