//! A file system that is being put together: what the writer turns into an image.
//!
//! Paths are bytes, absolute, and followed inside the tree only. Parents are found through symbolic links (`/bin/sh` lands in
//! `/usr/bin` where `/bin` is a link), the last part is not followed unless the operation says so.

use std::collections::BTreeMap;

use super::Blob;

/// One node of a [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

impl NodeId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Owner, permissions and time of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// `st_mode & 07777`.
    pub perm: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// And nanoseconds.
    pub mtime_nsec: u32,
}

impl Attr {
    /// Root's, with these permissions and time.
    pub fn root(perm: u16, mtime: i64) -> Attr {
        Attr {
            perm,
            uid: 0,
            gid: 0,
            mtime,
            mtime_nsec: 0,
        }
    }
}

/// The bytes of a file: already with the writer, or still here (and then they can be changed).
#[derive(Clone, Debug)]
pub enum Content {
    /// Written.
    Blob(Blob),
    /// Held in memory until the image is finished.
    Bytes(Vec<u8>),
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum NodeKind {
    /// A directory with its entries.
    Dir(BTreeMap<Vec<u8>, NodeId>),
    /// A regular file.
    File(Content),
    /// A symbolic link with its target.
    Symlink(Vec<u8>),
    /// A character device: major, minor.
    Char(u32, u32),
    /// A block device: major, minor.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

pub(super) struct Node {
    pub attr: Attr,
    pub kind: NodeKind,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Why an operation on a tree was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeError {
    /// Nothing there.
    NotFound(Vec<u8>),
    /// A part of the path is not a directory.
    NotADirectory(Vec<u8>),
    /// A directory is in the way, or was wanted and is not one.
    IsADirectory(Vec<u8>),
    /// Symbolic links go round.
    LinkLoop(Vec<u8>),
    /// A name that no file system takes.
    BadName(Vec<u8>),
    /// More nodes than an image can number.
    Full,
}

impl std::fmt::Display for TreeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (what, path) = match self {
            TreeError::NotFound(p) => ("no such file", p.as_slice()),
            TreeError::NotADirectory(p) => ("not a directory", p.as_slice()),
            TreeError::IsADirectory(p) => ("is a directory", p.as_slice()),
            TreeError::LinkLoop(p) => ("too many symbolic links", p.as_slice()),
            TreeError::BadName(p) => ("bad name", p.as_slice()),
            TreeError::Full => ("too many files", b"".as_slice()),
        };
        write!(f, "{what}: {:?}", String::from_utf8_lossy(path))
    }
}

impl std::error::Error for TreeError {}

/// A file system in memory.
pub struct Tree {
    nodes: Vec<Node>,
}

const LINK_LIMIT: u32 = 40;

impl Tree {
    /// A tree with nothing but its root.
    pub fn new(root: Attr) -> Tree {
        Tree {
            nodes: vec![Node {
                attr: root,
                kind: NodeKind::Dir(BTreeMap::new()),
                xattrs: BTreeMap::new(),
            }],
        }
    }

    /// The root.
    pub fn root(&self) -> NodeId {
        NodeId(0)
    }

    // Ids are only made by this tree and nodes are never taken away, so an id of this tree always has its node.
    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.index()]
    }

    /// What a node is.
    pub fn kind(&self, id: NodeId) -> &NodeKind {
        &self.node(id).kind
    }

    /// Its owner, permissions and time.
    pub fn attr(&self, id: NodeId) -> Attr {
        self.node(id).attr
    }

    /// The same, to change.
    pub fn attr_mut(&mut self, id: NodeId) -> &mut Attr {
        &mut self.node_mut(id).attr
    }

    /// Sets an extended attribute.
    pub fn set_xattr(&mut self, id: NodeId, name: &[u8], value: &[u8]) {
        self.node_mut(id).xattrs.insert(name.to_vec(), value.to_vec());
    }

    /// Extended attributes by name.
    pub fn xattrs(&self, id: NodeId) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.node(id).xattrs
    }

    /// Replaces the bytes of a file.
    pub fn set_content(&mut self, id: NodeId, content: Content) {
        if let NodeKind::File(old) = &mut self.node_mut(id).kind {
            *old = content;
        }
    }

    /// The entries of a directory, sorted; empty for anything else.
    pub fn entries(&self, id: NodeId) -> impl Iterator<Item = (&[u8], NodeId)> {
        let map = match &self.node(id).kind {
            NodeKind::Dir(map) => Some(map),
            _ => None,
        };
        map.into_iter().flatten().map(|(name, id)| (name.as_slice(), *id))
    }

    /// The node at a path; `follow` says whether a link at its end is followed.
    pub fn find(&self, path: &[u8], follow: bool) -> Result<NodeId, TreeError> {
        let mut trail = vec![self.root()];
        let mut todo: Vec<Vec<u8>> = parts(path).map(<[u8]>::to_vec).collect();
        todo.reverse();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == b".." {
                if trail.len() > 1 {
                    trail.pop();
                }
                continue;
            }
            let at = trail.last().copied().unwrap_or(self.root());
            let NodeKind::Dir(map) = &self.node(at).kind else {
                return Err(TreeError::NotADirectory(path.to_vec()));
            };
            let Some(&next) = map.get(&part) else {
                return Err(TreeError::NotFound(path.to_vec()));
            };
            match &self.node(next).kind {
                NodeKind::Symlink(target) if follow || !todo.is_empty() => {
                    links += 1;
                    if links > LINK_LIMIT {
                        return Err(TreeError::LinkLoop(path.to_vec()));
                    }
                    if target.starts_with(b"/") {
                        trail.truncate(1);
                    }
                    todo.extend(
                        parts(target)
                            .map(<[u8]>::to_vec)
                            .collect::<Vec<_>>()
                            .into_iter()
                            .rev(),
                    );
                }
                _ => trail.push(next),
            }
        }
        Ok(trail.last().copied().unwrap_or(self.root()))
    }

    /// Whether there is something at a path (a dangling link is something).
    pub fn exists(&self, path: &[u8]) -> bool {
        self.find(path, false).is_ok()
    }

    /// Whether there is a directory, perhaps behind links.
    pub fn is_dir(&self, path: &[u8]) -> bool {
        self.find(path, true)
            .is_ok_and(|id| matches!(self.kind(id), NodeKind::Dir(_)))
    }

    /// Puts a node at a path. What was there is replaced; a directory onto a directory changes its attributes only, and any
    /// other meeting with a directory is refused. The parent must be there.
    pub fn put(&mut self, path: &[u8], attr: Attr, kind: NodeKind) -> Result<NodeId, TreeError> {
        let (dir, name) = self.parent_of(path)?;
        let old = self.child(dir, &name);
        if let Some(old) = old {
            match (&self.node(old).kind, &kind) {
                (NodeKind::Dir(_), NodeKind::Dir(_)) => {
                    self.node_mut(old).attr = attr;
                    return Ok(old);
                }
                (NodeKind::Dir(_), _) => return Err(TreeError::IsADirectory(path.to_vec())),
                _ => {}
            }
        }
        let id = self.add(attr, kind)?;
        self.enter(dir, name, id);
        Ok(id)
    }

    /// A directory at a path with all its parents; those that are missing get `attr`. Links to directories are followed.
    pub fn mkdir_all(&mut self, path: &[u8], attr: Attr) -> Result<NodeId, TreeError> {
        let mut so_far = Vec::new();
        let mut id = self.root();
        for part in parts(path).map(<[u8]>::to_vec).collect::<Vec<_>>() {
            so_far.push(b'/');
            so_far.extend(part);
            id = match self.find(&so_far, true) {
                Ok(id) => id,
                Err(TreeError::NotFound(_)) => self.put(&so_far, attr, NodeKind::Dir(BTreeMap::new()))?,
                Err(e) => return Err(e),
            };
        }
        match self.node(id).kind {
            NodeKind::Dir(_) => Ok(id),
            _ => Err(TreeError::NotADirectory(path.to_vec())),
        }
    }

    /// A second name for a node that is not a directory.
    pub fn link(&mut self, node: NodeId, path: &[u8]) -> Result<(), TreeError> {
        if matches!(self.node(node).kind, NodeKind::Dir(_)) {
            return Err(TreeError::IsADirectory(path.to_vec()));
        }
        let (dir, name) = self.parent_of(path)?;
        if self
            .child(dir, &name)
            .is_some_and(|old| matches!(self.node(old).kind, NodeKind::Dir(_)))
        {
            return Err(TreeError::IsADirectory(path.to_vec()));
        }
        self.enter(dir, name, node);
        Ok(())
    }

    /// Takes away a name (with everything below it).
    pub fn remove(&mut self, path: &[u8]) -> Result<(), TreeError> {
        let (dir, name) = self.parent_of(path)?;
        match &mut self.node_mut(dir).kind {
            NodeKind::Dir(map) => map
                .remove(&name)
                .map(drop)
                .ok_or_else(|| TreeError::NotFound(path.to_vec())),
            _ => Err(TreeError::NotFound(path.to_vec())),
        }
    }

    /// Gives a node another name; what had that name is replaced.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), TreeError> {
        let id = self.find(from, false)?;
        let (dir, name) = self.parent_of(to)?;
        self.remove(from)?;
        self.enter(dir, name, id);
        Ok(())
    }

    fn add(&mut self, attr: Attr, kind: NodeKind) -> Result<NodeId, TreeError> {
        let id = u32::try_from(self.nodes.len())
            .ok()
            .filter(|&n| n < u32::MAX - 1)
            .ok_or(TreeError::Full)?;
        self.nodes.push(Node {
            attr,
            kind,
            xattrs: BTreeMap::new(),
        });
        Ok(NodeId(id))
    }

    fn child(&self, dir: NodeId, name: &[u8]) -> Option<NodeId> {
        match &self.node(dir).kind {
            NodeKind::Dir(map) => map.get(name).copied(),
            _ => None,
        }
    }

    fn enter(&mut self, dir: NodeId, name: Vec<u8>, id: NodeId) {
        if let NodeKind::Dir(map) = &mut self.node_mut(dir).kind {
            map.insert(name, id);
        }
    }

    /// The directory that a path's last part lies in, and that part.
    fn parent_of(&self, path: &[u8]) -> Result<(NodeId, Vec<u8>), TreeError> {
        let all: Vec<&[u8]> = parts(path).collect();
        let bad = || TreeError::BadName(path.to_vec());
        let (name, dirs) = all.split_last().ok_or_else(bad)?;
        if *name == b".." || name.len() > 255 || name.contains(&0) {
            return Err(bad());
        }
        let dir = self.find(&dirs.join(&b'/'), true)?;
        match self.node(dir).kind {
            NodeKind::Dir(_) => Ok((dir, name.to_vec())),
            _ => Err(TreeError::NotADirectory(path.to_vec())),
        }
    }
}

fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&c| c == b'/').filter(|p| !p.is_empty() && *p != b".")
}
