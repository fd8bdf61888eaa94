//! A fixed tree of directories, links and attribute files: what sysfs, cgroup2, debugfs and their like are made of.

use std::collections::BTreeMap;
use std::sync::Arc;
use turncoat_freeze::Freeze;

use super::types::Name;

/// What an attribute says when it is read.
#[derive(Clone, Debug, Freeze)]
pub enum Text {
    /// Always this.
    Fixed(Arc<[u8]>),
    /// Made by `sysfs::dynamic` from the kernel's state; the string says which.
    Live(Arc<str>),
    /// Reading fails with this error number (EINVAL, EPERM, EIO).
    Fails(u16),
}

/// A node of a tree.
#[derive(Clone, Debug, Freeze)]
pub enum TreeNode {
    /// A directory.
    Dir(BTreeMap<Name, u32>),
    /// An attribute; `size` is what stat says.
    File {
        /// What it says.
        text: Text,
        /// st_size.
        size: u64,
    },
    /// A symbolic link.
    Link(Name),
}

/// A node with its place and permissions.
#[derive(Clone, Debug, Freeze)]
#[allow(missing_docs)]
pub struct TreeInode {
    pub parent: u32,
    pub name: Name,
    pub perm: u32,
    pub node: TreeNode,
}

/// A whole tree; node 0 is the root.
#[derive(Clone, Debug, Freeze)]
pub struct Tree {
    nodes: Vec<TreeInode>,
}

impl Tree {
    /// A tree with only a root of this mode.
    pub fn new(perm: u32) -> Tree {
        let root = TreeInode {
            parent: 0,
            name: Name::from([]),
            perm,
            node: TreeNode::Dir(BTreeMap::new()),
        };
        Tree { nodes: vec![root] }
    }

    /// The node with this number.
    pub fn get(&self, n: u32) -> Option<&TreeInode> {
        self.nodes.get(n as usize)
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never: there is a root.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The directory `path` (relative, `/` between names), made with mode 0755 where it is missing.
    pub fn dir(&mut self, path: &str) -> u32 {
        path.split('/').filter(|p| !p.is_empty()).fold(0, |at, part| {
            self.put(at, part, 0o755, TreeNode::Dir(BTreeMap::new()))
        })
    }

    fn put(&mut self, dir: u32, name: &str, perm: u32, node: TreeNode) -> u32 {
        let new = self.nodes.len() as u32;
        let Some(TreeInode {
            node: TreeNode::Dir(map),
            ..
        }) = self.nodes.get_mut(dir as usize)
        else {
            return dir;
        };
        if let Some(&old) = map.get(name.as_bytes()) {
            if !matches!(node, TreeNode::Dir(_))
                && let Some(n) = self.nodes.get_mut(old as usize)
            {
                (n.perm, n.node) = (perm, node);
            }
            return old;
        }
        map.insert(Name::from(name.as_bytes()), new);
        self.nodes.push(TreeInode {
            parent: dir,
            name: Name::from(name.as_bytes()),
            perm,
            node,
        });
        new
    }

    fn split(path: &str) -> (&str, &str) {
        path.rsplit_once('/').unwrap_or(("", path))
    }

    /// An attribute with fixed text.
    pub fn file(&mut self, path: &str, perm: u32, text: impl AsRef<[u8]>) {
        self.text(path, perm, 4096, Text::Fixed(Arc::from(text.as_ref())));
    }

    /// A binary attribute: its size shows.
    pub fn binary(&mut self, path: &str, perm: u32, data: &[u8]) {
        self.text(path, perm, data.len() as u64, Text::Fixed(Arc::from(data)));
    }

    /// An attribute of any kind.
    pub fn text(&mut self, path: &str, perm: u32, size: u64, text: Text) {
        let (dir, name) = Self::split(path);
        let dir = self.dir(dir);
        self.put(dir, name, perm, TreeNode::File { text, size });
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        let (dir, name) = Self::split(path);
        let dir = self.dir(dir);
        self.put(dir, name, 0o777, TreeNode::Link(Name::from(target.as_bytes())));
    }

    /// Sets the mode of a directory.
    pub fn chmod(&mut self, path: &str, perm: u32) {
        let n = self.dir(path);
        if let Some(i) = self.nodes.get_mut(n as usize) {
            i.perm = perm;
        }
    }
}
