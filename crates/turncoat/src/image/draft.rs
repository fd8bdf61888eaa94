//! A tree on its way to an image, and the small operations that everybody who configures it needs.

use std::fs::File;

use turncoat_kernel::image::{Attr, Content, NodeId, NodeKind, Tree, Writer};

use super::BuildError;

/// A tree on its way, with the writer that holds its data.
pub(crate) struct Draft {
    pub tree: Tree,
    pub writer: Writer,
    pub info: Vec<(&'static str, String)>,
    /// The time of everything that the build itself makes: the newest time in any package.
    pub stamp: i64,
    /// Diversions as dpkg-divert(1) has them: path, where it goes, whose file stays.
    pub diversions: Vec<(String, String, String)>,
    /// Lines of dpkg-statoverride(1).
    pub stat_overrides: Vec<String>,
}

impl Draft {
    /// An empty tree whose data goes into this file.
    pub fn new(file: File) -> Draft {
        Draft {
            tree: Tree::new(Attr::root(0o755, 0)),
            writer: Writer::new(file),
            info: vec![("arch", "amd64".into())],
            stamp: 0,
            diversions: Vec::new(),
            stat_overrides: Vec::new(),
        }
    }

    /// Where a file of a package goes.
    pub fn diverted(&self, package: &str, path: &[u8]) -> Vec<u8> {
        let hit = self
            .diversions
            .iter()
            .find(|(from, _, by)| from.as_bytes() == path && by != package);
        hit.map_or_else(|| path.to_vec(), |(_, to, _)| to.clone().into_bytes())
    }

    /// Makes or replaces a file of root's with the time of the build.
    pub fn file(&mut self, path: &str, perm: u16, data: impl Into<Vec<u8>>) -> Result<NodeId, BuildError> {
        let attr = Attr::root(perm, self.stamp);
        Ok(self
            .tree
            .put(path.as_bytes(), attr, NodeKind::File(Content::Bytes(data.into())))?)
    }

    /// Makes or replaces a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> Result<(), BuildError> {
        let attr = Attr::root(0o777, self.stamp);
        self.tree
            .put(path.as_bytes(), attr, NodeKind::Symlink(target.into()))?;
        Ok(())
    }

    /// Makes a directory of root's, if it is missing, with all its parents.
    pub fn dir(&mut self, path: &str, perm: u16) -> Result<NodeId, BuildError> {
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
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, BuildError> {
        match self.tree.find(path.as_bytes(), true) {
            Ok(id) if matches!(self.tree.kind(id), NodeKind::File(_)) => {
                Ok(Some(self.writer.content(&self.tree, id)?))
            }
            _ => Ok(None),
        }
    }

    pub fn text(&self, path: &str) -> Result<Option<String>, BuildError> {
        Ok(self.read(path)?.map(|b| String::from_utf8_lossy(&b).into_owned()))
    }

    /// The names in a directory, sorted.
    pub fn names(&self, dir: &str) -> Vec<String> {
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
