//! The tables of an image in memory: inodes, directories, links, attributes, page numbers.
//!
//! [`Meta::parse`] checks everything once: every index lies in its table, names are names, every inode is reachable from the
//! root, link counts are true. Afterwards only the caller's own arguments (an inode number, a name) can be wrong.

use super::format::{Bytes, HOLE};
use super::{ImageError, PAGE};

/// The number of an inode in an image, from 1 (the root) on without holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ino(u32);

impl Ino {
    /// The root directory.
    pub const ROOT: Ino = Ino(1);

    /// An inode by its number; whether there is such a one shows when it is used.
    pub fn new(number: u32) -> Ino {
        Ino(number)
    }

    /// Its number.
    pub fn number(self) -> u32 {
        self.0
    }

    fn index(self) -> usize {
        (self.0 as usize).wrapping_sub(1)
    }
}

/// What an inode is. The numbers are those of `st_mode & S_IFMT`, inode(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Kind {
    /// A named pipe.
    Fifo = 0o010000,
    /// A character device.
    Char = 0o020000,
    /// A directory.
    Dir = 0o040000,
    /// A block device.
    Block = 0o060000,
    /// A regular file.
    File = 0o100000,
    /// A symbolic link.
    Symlink = 0o120000,
    /// A socket that nobody listens on.
    Socket = 0o140000,
}

impl Kind {
    const ALL: [Kind; 7] = [
        Kind::Fifo,
        Kind::Char,
        Kind::Dir,
        Kind::Block,
        Kind::File,
        Kind::Symlink,
        Kind::Socket,
    ];

    fn of_mode(mode: u32) -> Option<Kind> {
        Kind::ALL.into_iter().find(|&k| k as u32 == mode & 0o170000)
    }
}

/// What is known of an inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InodeMeta {
    /// What it is.
    pub kind: Kind,
    /// Permissions with setuid, setgid and sticky bits: `st_mode & 07777`.
    pub perm: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Hard links; of a directory two and one for each subdirectory, as ext4 counts.
    pub nlink: u32,
    /// Bytes of a file or of a link's target; the number of entries of a directory; else 0.
    pub size: u64,
    /// Time of the last change of content: seconds since 1970.
    pub mtime: i64,
    /// And nanoseconds.
    pub mtime_nsec: u32,
    /// Major and minor number of a device, else 0.
    pub rdev: (u32, u32),
    /// First page, first directory entry or first byte of a link's target in their tables.
    first: u32,
    /// A directory's parent.
    parent: u32,
    /// Where its attributes begin in the text table; `u32::MAX` for none.
    xattr: u32,
}

impl InodeMeta {
    /// `st_mode`: kind and permissions.
    pub fn mode(&self) -> u32 {
        self.kind as u32 | u32::from(self.perm)
    }

    /// Blocks of 512 bytes that ext4 would give a file of this size without holes.
    pub fn blocks(&self) -> u64 {
        match self.kind {
            Kind::File => self.size.div_ceil(PAGE as u64) * 8,
            Kind::Dir => 8,
            Kind::Symlink if self.size >= 60 => 8,
            _ => 0,
        }
    }
}

/// Extended attributes: names and values.
pub type Xattrs<'a> = Vec<(&'a [u8], &'a [u8])>;

/// One entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// The name: 1 to 255 bytes without `/` and NUL.
    pub name: &'a [u8],
    /// What it names.
    pub ino: Ino,
    /// What kind of inode that is.
    pub kind: Kind,
}

#[derive(Clone, Copy)]
struct Dent {
    name: u32,
    ino: u32,
    len: u8,
}

/// The checked tables.
pub(super) struct Meta {
    info: Vec<(String, String)>,
    inodes: Box<[InodeMeta]>,
    dents: Box<[Dent]>,
    names: Box<[u8]>,
    pages: Box<[u32]>,
    text: Box<[u8]>,
    /// By inode: what a directory's entries take ([`dirent_bytes`]).
    dir_bytes: Box<[u64]>,
}

/// Bytes of a directory entry with a name of so many bytes, as ext4 lays it down.
pub(crate) fn dirent_bytes(name: usize) -> u64 {
    (8 + name as u64).next_multiple_of(4)
}

/// The largest file that an image may hold, in bytes.
const FILE_LIMIT: u64 = 1 << 40;
/// Symbolic links that one lookup follows, as Linux does.
const LINK_LIMIT: u32 = 40;

impl Meta {
    pub fn parse(
        info: &[u8],
        inodes: &[u8],
        dirents: &[u8],
        pages: &[u8],
        text: &[u8],
        page_count: u32,
    ) -> Result<Meta, ImageError> {
        let info = parse_info(info)?;
        let inodes = parse_inodes(inodes)?;
        let (dents, names) = parse_dents(dirents, inodes.len())?;
        let (words, rest) = pages.as_chunks::<4>();
        let pages: Box<[u32]> = words.iter().map(|w| u32::from_le_bytes(*w)).collect();
        if !rest.is_empty() || pages.iter().any(|&p| p != HOLE && p >= page_count) {
            return Err(ImageError::Corrupt("page table"));
        }
        let mut meta = Meta {
            info,
            inodes,
            dents,
            names,
            pages,
            text: text.into(),
            dir_bytes: Box::default(),
        };
        meta.check_ranges()?;
        meta.check_tree()?;
        let bytes = |node: &InodeMeta| {
            let entries = (node.kind == Kind::Dir).then(|| meta.dent_range(node)).flatten();
            let lengths = entries.unwrap_or_default().iter().map(|d| usize::from(d.len));
            lengths.map(dirent_bytes).sum()
        };
        meta.dir_bytes = meta.inodes.iter().map(bytes).collect();
        Ok(meta)
    }

    /// Every inode's part of another table lies in that table.
    fn check_ranges(&self) -> Result<(), ImageError> {
        for (i, node) in self.inodes.iter().enumerate() {
            let ino = Ino(i as u32 + 1);
            let ok = match node.kind {
                Kind::File => node.size <= FILE_LIMIT && self.page_range(node).is_some(),
                Kind::Dir => self
                    .dent_range(node)
                    .is_some_and(|entries| entries.is_sorted_by(|a, b| self.name(a) < self.name(b))),
                Kind::Symlink => self
                    .target(node)
                    .is_some_and(|t| !t.is_empty() && t.len() < 4096 && !t.contains(&0)),
                _ => node.size == 0,
            };
            if !ok {
                return Err(ImageError::Corrupt("extent of an inode"));
            }
            self.xattrs(ino)?;
        }
        Ok(())
    }

    /// Every inode is reachable from the root, every directory at one place, and link counts are true.
    fn check_tree(&self) -> Result<(), ImageError> {
        if self
            .inodes
            .first()
            .is_none_or(|root| root.kind != Kind::Dir || root.parent != 1)
        {
            return Err(ImageError::Corrupt("root directory"));
        }
        let mut links = vec![0u32; self.inodes.len()];
        let mut seen = vec![false; self.inodes.len()];
        if let Some(first) = seen.first_mut() {
            *first = true;
        }
        let mut todo = vec![Ino::ROOT];
        while let Some(dir) = todo.pop() {
            let mut subdirs = 0;
            for entry in self.readdir(dir)? {
                let i = entry.ino.index();
                let again = seen.get_mut(i).is_none_or(|s| std::mem::replace(s, true));
                if entry.kind == Kind::Dir {
                    if again || self.inodes.get(i).is_none_or(|n| n.parent != dir.0) {
                        return Err(ImageError::Corrupt("directory in two places"));
                    }
                    subdirs += 1;
                    todo.push(entry.ino);
                } else if let Some(n) = links.get_mut(i) {
                    *n = n.saturating_add(1);
                }
            }
            if let Some(n) = links.get_mut(dir.index()) {
                *n = 2u32.saturating_add(subdirs);
            }
        }
        let true_counts = self.inodes.iter().zip(&links).all(|(node, &n)| node.nlink == n);
        if !true_counts || seen.contains(&false) {
            return Err(ImageError::Corrupt("link count"));
        }
        Ok(())
    }

    fn page_range(&self, node: &InodeMeta) -> Option<&[u32]> {
        let n = usize::try_from(node.size.div_ceil(PAGE as u64)).ok()?;
        let first = node.first as usize;
        self.pages.get(first..first.checked_add(n)?)
    }

    fn dent_range(&self, node: &InodeMeta) -> Option<&[Dent]> {
        let first = node.first as usize;
        self.dents
            .get(first..first.checked_add(usize::try_from(node.size).ok()?)?)
    }

    fn target(&self, node: &InodeMeta) -> Option<&[u8]> {
        let first = node.first as usize;
        self.text
            .get(first..first.checked_add(usize::try_from(node.size).ok()?)?)
    }

    fn name(&self, d: &Dent) -> &[u8] {
        let at = d.name as usize;
        self.names.get(at..at + usize::from(d.len)).unwrap_or_default()
    }

    pub fn inode_count(&self) -> u32 {
        self.inodes.len() as u32
    }

    pub fn inode(&self, ino: Ino) -> Result<&InodeMeta, ImageError> {
        self.inodes.get(ino.index()).ok_or(ImageError::NoInode(ino))
    }

    fn of_kind(&self, ino: Ino, kind: Kind, wanted: &'static str) -> Result<&InodeMeta, ImageError> {
        let node = self.inode(ino)?;
        if node.kind == kind {
            Ok(node)
        } else {
            Err(ImageError::WrongKind { ino, wanted })
        }
    }

    fn entries(&self, dir: Ino) -> Result<&[Dent], ImageError> {
        let node = self.of_kind(dir, Kind::Dir, "directory")?;
        Ok(self.dent_range(node).unwrap_or_default())
    }

    pub fn dir_bytes(&self, dir: Ino) -> u64 {
        self.dir_bytes.get(dir.index()).copied().unwrap_or(0)
    }

    pub fn lookup(&self, dir: Ino, name: &[u8]) -> Result<Option<Ino>, ImageError> {
        let entries = self.entries(dir)?;
        let found = entries.binary_search_by(|d| self.name(d).cmp(name));
        Ok(found.ok().and_then(|i| entries.get(i)).map(|d| Ino(d.ino)))
    }

    pub fn readdir(&self, dir: Ino) -> Result<impl ExactSizeIterator<Item = DirEntry<'_>> + '_, ImageError> {
        let entries = self.entries(dir)?;
        Ok(entries.iter().map(|d| {
            let ino = Ino(d.ino);
            // Entries of no inode were refused by `parse_dents`.
            let kind = self.inodes.get(ino.index()).map_or(Kind::File, |n| n.kind);
            DirEntry {
                name: self.name(d),
                ino,
                kind,
            }
        }))
    }

    pub fn parent(&self, dir: Ino) -> Result<Ino, ImageError> {
        Ok(Ino(self.of_kind(dir, Kind::Dir, "directory")?.parent))
    }

    pub fn readlink(&self, ino: Ino) -> Result<&[u8], ImageError> {
        let node = self.of_kind(ino, Kind::Symlink, "symbolic link")?;
        Ok(self.target(node).unwrap_or_default())
    }

    pub fn xattrs(&self, ino: Ino) -> Result<Xattrs<'_>, ImageError> {
        let node = self.inode(ino)?;
        if node.xattr == u32::MAX {
            return Ok(Vec::new());
        }
        let bytes = self
            .text
            .get(node.xattr as usize..)
            .ok_or(ImageError::Corrupt("attributes"))?;
        let mut b = Bytes(bytes);
        let n = b.u32()?;
        (0..n).map(|_| Ok((b.string()?, b.string()?))).collect()
    }

    pub fn file_size(&self, ino: Ino) -> Result<u64, ImageError> {
        Ok(self.of_kind(ino, Kind::File, "regular file")?.size)
    }

    /// The number of page `index` of a file, [`HOLE`] if it has no bytes, `None` behind the end.
    pub fn page_number(&self, ino: Ino, index: u64) -> Result<Option<u32>, ImageError> {
        let pages = self.page_numbers(ino)?;
        Ok(usize::try_from(index).ok().and_then(|i| pages.get(i)).copied())
    }

    /// The numbers of all pages of a file.
    pub fn page_numbers(&self, ino: Ino) -> Result<&[u32], ImageError> {
        let node = self.of_kind(ino, Kind::File, "regular file")?;
        Ok(self.page_range(node).unwrap_or_default())
    }

    pub fn resolve(&self, path: &[u8]) -> Result<Option<Ino>, ImageError> {
        let mut todo: Vec<&[u8]> = path.split(|&c| c == b'/').rev().collect();
        let mut at = Ino::ROOT;
        let mut links = 0;
        while let Some(part) = todo.pop() {
            match part {
                b"" | b"." => continue,
                b".." => {
                    at = self.parent(at)?;
                    continue;
                }
                _ => {}
            }
            if self.inode(at)?.kind != Kind::Dir {
                return Ok(None);
            }
            let Some(next) = self.lookup(at, part)? else {
                return Ok(None);
            };
            match self.inode(next)?.kind {
                Kind::Symlink => {
                    links += 1;
                    if links > LINK_LIMIT {
                        return Err(ImageError::LinkLoop);
                    }
                    let target = self.readlink(next)?;
                    if target.starts_with(b"/") {
                        at = Ino::ROOT;
                    }
                    todo.extend(target.split(|&c| c == b'/').rev());
                }
                Kind::Dir => at = next,
                _ if todo.iter().all(|p| p.is_empty() || *p == b".") => return Ok(Some(next)),
                _ => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    pub fn info(&self, key: &str) -> Option<&str> {
        self.infos().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    pub fn infos(&self) -> impl Iterator<Item = (&str, &str)> {
        self.info.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
}

fn parse_info(section: &[u8]) -> Result<Vec<(String, String)>, ImageError> {
    let text = |s: &[u8]| String::from_utf8(s.to_vec()).map_err(|_| ImageError::Corrupt("information"));
    let mut b = Bytes(section);
    let mut info = Vec::new();
    while !b.is_empty() {
        info.push((text(b.string()?)?, text(b.string()?)?));
    }
    Ok(info)
}

/// Bytes of an inode in its table.
pub(super) const INODE_RECORD: usize = 64;

/// The record of an inode in its table.
pub(super) fn encode_inode(node: &InodeMeta, out: &mut Vec<u8>) {
    let InodeMeta {
        uid,
        gid,
        nlink,
        size,
        mtime,
        mtime_nsec,
        rdev,
        first,
        parent,
        xattr,
        ..
    } = node;
    for word in [node.mode(), *uid, *gid, *nlink] {
        out.extend(word.to_le_bytes());
    }
    out.extend(size.to_le_bytes());
    out.extend(mtime.to_le_bytes());
    for word in [*mtime_nsec, rdev.0, rdev.1, *first, *parent, *xattr, 0, 0] {
        out.extend(word.to_le_bytes());
    }
}

/// What the writer knows of an inode beyond what everybody may see.
pub(super) struct Places {
    pub first: u32,
    pub parent: u32,
    pub xattr: u32,
}

impl InodeMeta {
    /// An inode as the writer puts it together; the places are filled in when the tables are laid out.
    pub(super) fn at(mut self, places: &Places) -> InodeMeta {
        (self.first, self.parent, self.xattr) = (places.first, places.parent, places.xattr);
        self
    }

    /// An inode without places.
    pub(super) fn unplaced(kind: Kind, perm: u16, uid: u32, gid: u32, mtime: (i64, u32)) -> InodeMeta {
        InodeMeta {
            kind,
            perm: perm & 0o7777,
            uid,
            gid,
            nlink: 0,
            size: 0,
            mtime: mtime.0,
            mtime_nsec: mtime.1,
            rdev: (0, 0),
            first: 0,
            parent: 0,
            xattr: u32::MAX,
        }
    }
}

fn parse_inodes(section: &[u8]) -> Result<Box<[InodeMeta]>, ImageError> {
    let n = section.len() / INODE_RECORD;
    if u32::try_from(n).is_err() {
        return Err(ImageError::Corrupt("number of inodes"));
    }
    let mut b = Bytes(section);
    let mut inodes = Vec::with_capacity(n);
    for _ in 0..n {
        let mode = b.u32()?;
        let kind = Kind::of_mode(mode).ok_or(ImageError::Corrupt("kind of an inode"))?;
        let node = InodeMeta {
            kind,
            perm: (mode & 0o7777) as u16,
            uid: b.u32()?,
            gid: b.u32()?,
            nlink: b.u32()?,
            size: b.u64()?,
            mtime: b.u64()?.cast_signed(),
            mtime_nsec: b.u32()?,
            rdev: (b.u32()?, b.u32()?),
            first: b.u32()?,
            parent: b.u32()?,
            xattr: b.u32()?,
        };
        if b.u64()? != 0 || mode >> 16 != 0 || node.mtime_nsec >= 1_000_000_000 {
            return Err(ImageError::Corrupt("fields of an inode"));
        }
        inodes.push(node);
    }
    if !b.is_empty() {
        return Err(ImageError::Corrupt("inode table"));
    }
    Ok(inodes.into())
}

/// Entries and, in one piece, their names.
type Dents = (Box<[Dent]>, Box<[u8]>);

fn parse_dents(section: &[u8], inodes: usize) -> Result<Dents, ImageError> {
    let mut b = Bytes(section);
    let (mut dents, mut names) = (Vec::new(), Vec::new());
    while !b.is_empty() {
        let ino = b.u32()?;
        let len = b.u8()?;
        let name = b.take(usize::from(len))?;
        if ino == 0 || ino as usize > inodes {
            return Err(ImageError::Corrupt("directory entry of no inode"));
        }
        if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') || name.contains(&0) {
            return Err(ImageError::Corrupt("name of a directory entry"));
        }
        let at = u32::try_from(names.len()).map_err(|_| ImageError::Corrupt("length of all names"))?;
        names.extend_from_slice(name);
        dents.push(Dent { name: at, ino, len });
    }
    Ok((dents.into(), names.into()))
}
