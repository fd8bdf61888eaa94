//! What a world's disk holds beyond the snapshot that it began as, in bytes that outlive the build that wrote them.
//!
//! [`Vfs::disk`] compares the root file system with the one that the world was cloned from ([`Base`]) and writes what differs: names
//! that came and went, and for each inode that changed its owner, mode, flags, times, attributes and whole content. Inodes of the
//! snapshot are named by path, so that the bytes can be laid over another snapshot ([`Vfs::restore`]): one of a later time, or of
//! another build. What lies in memory (tmpfs, /proc, files without a name) is not on a disk and not in here.
//!
//! # Format
//! [`MAGIC`], the length of the body (u32, little-endian), the body as one LZ4 block. Numbers are LEB128, signed ones with the sign in
//! the lowest bit; bytes are a number and so many bytes. The body: a count of inodes, then each; a count of names, then each.
//! An inode: its number; bits of `has`; with `KNOWN` a path in the snapshot; with `META` mode, uid, gid, links, device, flags,
//! generation, four times (seconds, nanoseconds: read, written, changed, made), a count of attributes (name, value) and the target of
//! a link; with `CONTENT` a length, a count of pages, then each: pages skipped since the one before, bytes (zeros at the end cut off).
//! A name: directory, name, inode (0: it is gone).
//!
//! The bytes come from storage: nothing in them is trusted, what does not fit is left out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};

use super::inode::{Dir, Fs, Inode, Node, Xattrs};
use super::types::*;
use super::{Vfs, ent};
use crate::object::{Objects, PAGE};
use crate::proc::view::KernelView;
use crate::{Errno, KResult};

/// First bytes of a disk.
pub const MAGIC: &[u8] = b"turncoat disk 1\n";
/// Most bytes of a body. Content past it is left out, the largest files first, as of files that were not yet written back.
pub const LARGEST: usize = 64 << 20;
/// Most inodes and names.
const MOST: u64 = 1 << 20;
/// The longest name, path or attribute.
const LONGEST: usize = 64 << 10;
/// Directories inside each other.
const DEEP: usize = 4096;

/// What an inode's record holds.
mod has {
    pub const KNOWN: u64 = 1;
    pub const META: u64 = 2;
    pub const CONTENT: u64 = 4;
}

/// Not a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadDisk(pub &'static str);

impl std::fmt::Display for BadDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the disk is damaged: {}", self.0)
    }
}
impl std::error::Error for BadDisk {}

/// The root file system that worlds were cloned from, to compare theirs with. Shared by all of them.
pub struct Base {
    fs: Arc<Fs>,
    objects: Objects,
    /// A directory and a name for each inode.
    names: OnceLock<BTreeMap<u64, (u64, Name)>>,
}

impl Base {
    fn names(&self) -> &BTreeMap<u64, (u64, Name)> {
        self.names.get_or_init(|| {
            let mut names = BTreeMap::new();
            let root = self.fs.root_num();
            let mut dirs = VecDeque::from([root]);
            let mut seen = BTreeSet::from([root]);
            while let Some(dir) = dirs.pop_front() {
                for (name, num, is_dir) in all(&self.fs, dir) {
                    names.entry(num).or_insert((dir, name));
                    if is_dir && seen.insert(num) {
                        dirs.push_back(num);
                    }
                }
            }
            names
        })
    }

    /// The path of an inode; `None` if it had no name.
    fn path(&self, num: u64) -> Option<Vec<u8>> {
        let mut parts: Vec<&[u8]> = Vec::new();
        let (mut at, root) = (num, self.fs.root_num());
        while at != root {
            let (dir, name) = self.names().get(&at)?;
            parts.push(name);
            at = *dir;
            if parts.len() > DEEP {
                return None;
            }
        }
        parts.reverse();
        Some(parts.join(&b'/'))
    }

    fn has(&self, num: u64) -> bool {
        num == self.fs.root_num() || self.names().contains_key(&num)
    }
}

/// Every entry of a directory: name, inode, whether that is a directory.
fn all(fs: &Fs, dir: u64) -> Vec<(Name, u64, bool)> {
    let mut out = Vec::new();
    let mut pos = 0;
    while let Ok(part) = fs.entries(dir, pos) {
        let Some(last) = part.last() else { break };
        pos = last.0;
        out.extend(part.into_iter().map(|(_, name, e)| (name, e.num, e.dtype == 4)));
    }
    out
}

struct Out(Vec<u8>);

impl Out {
    fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }
    fn bytes(&mut self, b: &[u8]) {
        self.number(b.len() as u64);
        self.0.extend_from_slice(b);
    }
    fn time(&mut self, t: Timespec) {
        self.number((t.sec.unsigned_abs() << 1) | u64::from(t.sec < 0));
        self.number(t.nsec.into());
    }
    fn meta(&mut self, i: &Inode) {
        for n in [i.mode, i.uid, i.gid, i.nlink] {
            self.number(n.into());
        }
        self.number(i.rdev);
        self.number(i.flags.into());
        self.number(i.generation.into());
        for t in [i.atime, i.mtime, i.ctime, i.btime] {
            self.time(t);
        }
        let none = Xattrs::new();
        let xattrs = i.xattrs.as_deref().unwrap_or(&none);
        self.number(xattrs.len() as u64);
        for (name, value) in xattrs {
            self.bytes(name);
            self.bytes(value);
        }
        if let Node::Link(target) = &i.node {
            self.bytes(target);
        }
    }
}

impl Vfs {
    /// The root file system as it is now, to compare later ones with.
    pub fn base(&mut self) -> Option<Base> {
        self.objects.seal();
        Some(Base {
            fs: self.fses.first()?.clone()?,
            objects: self.objects.clone(),
            names: OnceLock::new(),
        })
    }

    /// What the disk holds beyond `base`. `None` if there is no root.
    pub fn disk(&mut self, base: &Base) -> Option<Vec<u8>> {
        let fs = self.fses.first()?.clone()?;
        // Names that differ, and every inode that is spoken of.
        let mut entries: Vec<(u64, Name, u64)> = Vec::new();
        let mut told: BTreeSet<u64> = BTreeSet::new();
        let mut changed: BTreeSet<u64> = BTreeSet::new();
        let mut files: Vec<(u64, u64)> = Vec::new();
        for (num, i) in fs.inodes.iter() {
            let was = base.fs.inodes.get(num);
            let same_content = match &i.node {
                Node::File(o) => self.objects.same(&base.objects, *o),
                _ => true,
            };
            if i.nlink == 0 || was.is_some_and(|w| Arc::ptr_eq(w, i)) && same_content {
                continue;
            }
            changed.insert(num);
            told.insert(num);
            match &i.node {
                Node::File(o) if !same_content || !base.has(num) => files.push((self.objects.len(*o), num)),
                Node::Dir(d) => self.differences(&fs, base, num, d, &mut entries),
                _ => {}
            }
        }
        for (dir, _, num) in &entries {
            told.extend([*dir, *num].into_iter().filter(|n| *n != 0));
        }
        // What is moved somewhere else comes with all that it was.
        let mut body = Out(Vec::new());
        body.number(told.len() as u64);
        files.sort_unstable();
        let mut room = LARGEST;
        let mut whole = BTreeSet::new();
        for (_, num) in &files {
            let Ok(o) = fs.object(*num) else { continue };
            let bytes = (self.objects.pages_used(o) * (PAGE + 8)) as usize;
            match room.checked_sub(bytes) {
                Some(left) => {
                    room = left;
                    whole.insert(*num);
                }
                None => break,
            }
        }
        let files: BTreeSet<u64> = files.into_iter().map(|f| f.1).collect();
        for num in told {
            let known = base.path(num).filter(|_| base.has(num));
            let inode = fs.inodes.get(num).filter(|_| changed.contains(&num));
            let content = files.contains(&num);
            body.number(num);
            let bits = [
                (known.is_some(), has::KNOWN),
                (inode.is_some(), has::META),
                (content, has::CONTENT),
            ];
            body.number(bits.iter().filter(|b| b.0).map(|b| b.1).sum());
            if let Some(path) = known {
                body.bytes(&path);
            }
            if let Some(i) = inode {
                body.meta(i);
            }
            if content {
                self.content(&fs, num, whole.contains(&num), &mut body);
            }
        }
        body.number(entries.len() as u64);
        for (dir, name, num) in entries {
            body.number(dir);
            body.bytes(&name);
            body.number(num);
        }
        let body = body.0;
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&u32::try_from(body.len()).ok()?.to_le_bytes());
        out.extend(lz4_flex::block::compress(&body));
        Some(out)
    }

    /// Names of directory `num` that are not as they were.
    fn differences(&self, fs: &Fs, base: &Base, num: u64, d: &Dir, out: &mut Vec<(u64, Name, u64)>) {
        let was = base.fs.inodes.get(num).filter(|_| base.has(num));
        let was = match was.map(|i| &i.node) {
            Some(Node::Dir(w)) => Some(w),
            _ => None,
        };
        for (key, e) in &d.added {
            if was.and_then(|w| w.added.get(key)) != Some(e) {
                out.push((num, key.1.clone(), e.num));
            }
        }
        let gone = |name: &Name| !matches!(fs.lookup(num, name), Ok(Some(_)));
        let added = was.into_iter().flat_map(|w| w.added.keys().map(|k| &k.1));
        let removed = d
            .removed
            .iter()
            .filter(|n| was.is_none_or(|w| !w.removed.contains(*n)));
        let names: BTreeSet<&Name> = added.chain(removed).filter(|n| gone(n)).collect();
        out.extend(names.into_iter().map(|n| (num, n.clone(), 0)));
    }

    fn content(&mut self, fs: &Fs, num: u64, whole: bool, out: &mut Out) {
        let Ok(o) = fs.object(num) else {
            out.number(0);
            out.number(0);
            return;
        };
        let len = if whole { self.objects.len(o) } else { 0 };
        let end = len.div_ceil(PAGE);
        let mut pages = Vec::new();
        let mut at = 0;
        while let Some(idx) = self.objects.next_data(o, at, end) {
            pages.push(idx);
            at = idx + 1;
        }
        out.number(len);
        out.number(pages.len() as u64);
        let mut next = 0;
        let mut page = [0; PAGE as usize];
        for idx in pages {
            out.number(idx - next);
            next = idx + 1;
            page.fill(0);
            if let Some(p) = self.objects.page(o, idx) {
                p.read(0, &mut page);
            }
            let used = page.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
            out.bytes(page.get(..used).unwrap_or_default());
        }
    }

    /// Lays a disk over this root file system, which nobody has changed yet. What does not fit is left out.
    ///
    /// # Errors
    /// [`BadDisk`]: the bytes are none. What was read up to there is in place.
    pub fn restore(&mut self, view: &dyn KernelView, disk: &[u8]) -> Result<(), BadDisk> {
        let rest = disk
            .strip_prefix(MAGIC)
            .ok_or(BadDisk("it does not begin like one"))?;
        let (size, packed) = rest.split_first_chunk::<4>().ok_or(BadDisk("it has no length"))?;
        let size = u32::from_le_bytes(*size) as usize;
        if size > LARGEST + (32 << 20) {
            return Err(BadDisk("it is too large"));
        }
        let body = lz4_flex::block::decompress(packed, size).map_err(|_| BadDisk("it does not unpack"))?;
        let mut r = In(&body);
        let mut laying = Laying {
            nums: BTreeMap::new(),
            metas: Vec::new(),
            files: BTreeSet::new(),
            dirs: BTreeSet::new(),
        };
        for _ in 0..r.count()? {
            self.restore_node(view, &mut r, &mut laying)?;
        }
        let mut names = Vec::new();
        for _ in 0..r.count()? {
            names.push((r.number()?, Name::from(r.bytes()?), r.number()?));
        }
        self.restore_names(&names, &mut laying);
        for (num, meta) in std::mem::take(&mut laying.metas) {
            self.restore_meta(num, meta);
        }
        let nameless = |num: &u64| {
            let fs = self.fses.first().and_then(|f| f.as_deref());
            fs.and_then(|fs| fs.inodes.get(*num))
                .is_some_and(|i| i.nlink == 0)
        };
        let files: Vec<u64> = laying.files.into_iter().filter(nameless).collect();
        for num in files.into_iter().chain(laying.dirs) {
            self.bury(num);
        }
        Ok(())
    }

    fn restore_node(&mut self, view: &dyn KernelView, r: &mut In<'_>, l: &mut Laying) -> Result<(), BadDisk> {
        let told = r.number()?;
        let bits = r.number()?;
        let path = if bits & has::KNOWN != 0 {
            Some(r.bytes()?)
        } else {
            None
        };
        let meta = if bits & has::META != 0 {
            Some(r.meta()?)
        } else {
            None
        };
        let found = path.and_then(|p| self.find(p));
        let kind = meta.as_ref().map(|m| m.mode & mode::IFMT);
        let fits = found.is_some_and(|n| {
            let id = self.root_ino(n);
            kind.is_none_or(|k| self.attr(view, id).is_ok_and(|a| a.kind() == k))
        });
        let num = match (found.filter(|_| fits), &meta) {
            (Some(n), _) => Some(n),
            (None, Some(m)) => self.new_node(m).inspect(|n| {
                if kind == Some(mode::IFDIR) {
                    l.dirs.insert(*n);
                } else {
                    l.files.insert(*n);
                }
            }),
            // A directory that nobody changed and that this snapshot does not have.
            (None, None) => None,
        };
        let mut object = None;
        if let Some(n) = num {
            l.nums.insert(told, n);
            if bits & has::CONTENT != 0 {
                object = self.fs_root_mut().ok().and_then(|fs| {
                    // Content is changed where it is the inode's own.
                    fs.inode_mut(n).ok()?;
                    fs.object(n).ok()
                });
            }
            if let Some(m) = meta {
                l.metas.push((n, m));
            }
        }
        if bits & has::CONTENT == 0 {
            return Ok(());
        }
        let (len, pages) = (r.number()?, r.count()?);
        let before = object.map_or(0, |o| self.objects.pages_used(o));
        if let Some(o) = object {
            let _ = self.objects.truncate(o, 0);
            let _ = self.objects.truncate(o, len);
        }
        let mut next = 0u64;
        for _ in 0..pages {
            let idx = next
                .checked_add(r.number()?)
                .ok_or(BadDisk("a page is nowhere"))?;
            next = idx.checked_add(1).ok_or(BadDisk("a page is nowhere"))?;
            let bytes = r.bytes()?;
            if bytes.len() as u64 > PAGE {
                return Err(BadDisk("a page is too long"));
            }
            if let Some(o) = object
                && idx < len.div_ceil(PAGE)
                && let Ok(page) = self.objects.write_page(o, idx)
            {
                page.write(0, bytes);
            }
        }
        if let Some(o) = object {
            let after = self.objects.pages_used(o);
            if let Ok(fs) = self.fs_root_mut() {
                fs.blocks_used = (fs.blocks_used + after).saturating_sub(before);
            }
        }
        Ok(())
    }

    fn restore_names(&mut self, names: &[(u64, Name, u64)], l: &mut Laying) {
        let Ok(fs) = self.fs_root_mut() else { return };
        let now = Timespec::default();
        for (dir, name, _) in names {
            let Some(dir) = l.nums.get(dir) else { continue };
            if let Ok(old) = fs.remove_entry(*dir, name, now) {
                if old.dtype == 4 {
                    l.dirs.insert(old.num);
                } else if let Ok(i) = fs.inode_mut(old.num) {
                    i.nlink = i.nlink.saturating_sub(1);
                    l.files.insert(old.num);
                }
            }
        }
        for (dir, name, num) in names {
            let (Some(&dir), Some(&num)) = (l.nums.get(dir), l.nums.get(num)) else {
                continue;
            };
            let Ok(mode) = fs.inode_mut(num).map(|i| i.mode) else {
                continue;
            };
            if name.is_empty()
                || name.len() > 255
                || name.contains(&b'/')
                || matches!(&name[..], b"." | b"..")
            {
                continue;
            }
            // A directory has one name, and none inside itself.
            let is_dir = mode & mode::IFMT == mode::IFDIR;
            if is_dir && (!l.dirs.contains(&num) || fs.is_below(dir, num)) {
                continue;
            }
            if !matches!(fs.lookup(dir, name), Ok(None))
                || fs.add_entry(dir, name, ent(num, mode), now).is_err()
            {
                continue;
            }
            l.dirs.remove(&num);
            let Ok(i) = fs.inode_mut(num) else { continue };
            match &mut i.node {
                Node::Dir(d) => (d.parent, d.name) = (dir, name.clone()),
                _ => i.nlink += 1,
            }
        }
    }

    fn restore_meta(&mut self, num: u64, m: Meta) {
        let Ok(fs) = self.fs_root_mut() else { return };
        let Ok(i) = fs.inode_mut(num) else { return };
        if i.mode & mode::IFMT != m.mode & mode::IFMT {
            return;
        }
        (i.mode, i.uid, i.gid, i.rdev) = (m.mode, m.uid, m.gid, m.rdev);
        (i.flags, i.generation) = (m.flags, m.generation);
        [i.atime, i.mtime, i.ctime, i.btime] = m.times;
        i.xattrs = (!m.xattrs.is_empty()).then(|| Arc::new(m.xattrs));
        if let (Node::Link(t), Some(target)) = (&mut i.node, m.target) {
            *t = target;
        }
    }

    fn new_node(&mut self, m: &Meta) -> Option<u64> {
        if self.inode_budget == 0 {
            return None;
        }
        let node = match m.mode & mode::IFMT {
            mode::IFREG => Node::File(self.objects.create(0)),
            mode::IFDIR => Node::Special,
            mode::IFLNK => Node::Link(m.target.clone()?),
            mode::IFCHR | mode::IFBLK | mode::IFIFO | mode::IFSOCK => Node::Special,
            _ => return None,
        };
        self.inode_budget -= 1;
        let fs = self.fs_root_mut().ok()?;
        let num = fs.take_num().ok()?;
        let root = fs.root_num();
        let mut i = fs.dir_inode(
            num,
            root,
            Name::from([]),
            m.mode,
            m.uid,
            m.gid,
            Timespec::default(),
        );
        i.mode = m.mode;
        if m.mode & mode::IFMT != mode::IFDIR {
            i.node = node;
            i.nlink = 0;
        }
        fs.inodes.insert(num, Arc::new(i));
        Some(num)
    }

    fn fs_root_mut(&mut self) -> KResult<&mut Fs> {
        let slot = self.fses.first_mut().and_then(|f| f.as_mut()).ok_or(Errno::EIO)?;
        Ok(Arc::make_mut(slot))
    }

    fn root_ino(&self, num: u64) -> Ino {
        Ino::new(FsId(0), num)
    }

    /// The inode at a path of the root file system, no link followed and no mount entered.
    fn find(&self, path: &[u8]) -> Option<u64> {
        let fs = self.fses.first()?.as_deref()?;
        path.split(|b| *b == b'/')
            .filter(|p| !p.is_empty())
            .try_fold(fs.root_num(), |at, part| Some(fs.lookup(at, part).ok()??.num))
    }

    /// Empties a directory of the root file system, as systemd-tmpfiles does with `/tmp` when the machine boots.
    pub(crate) fn empty(&mut self, path: &[u8], now: Timespec) {
        let Some(dir) = self.find(path) else { return };
        let Some(fs) = self.fses.first().and_then(|f| f.as_deref()) else {
            return;
        };
        for (name, num, is_dir) in all(fs, dir) {
            let Ok(fs) = self.fs_root_mut() else { return };
            if fs.remove_entry(dir, &name, now).is_err() {
                continue;
            }
            let left = fs.inode_mut(num).map_or(0, |i| {
                i.nlink = i.nlink.saturating_sub(1);
                if is_dir { 0 } else { i.nlink }
            });
            if left == 0 {
                self.bury(num);
            }
        }
    }

    /// Takes an inode away that has lost its name, with all that is below it.
    fn bury(&mut self, num: u64) {
        let mut stack = vec![num];
        while let Some(num) = stack.pop() {
            let Some(fs) = self.fses.first().and_then(|f| f.as_deref()) else {
                return;
            };
            if num == fs.root_num() {
                continue;
            }
            let is_dir = match fs.inodes.get(num) {
                Some(i) => matches!(i.node, Node::Dir(_)),
                None => fs.lower(num).is_some() && fs.object(num).is_err(),
            };
            let below = if is_dir { all(fs, num) } else { Vec::new() };
            let Ok(fs) = self.fs_root_mut() else { return };
            for (name, child, _) in below {
                if fs.remove_entry(num, &name, Timespec::default()).is_err() {
                    continue;
                }
                let left = fs.inode_mut(child).map_or(0, |i| {
                    i.nlink = i.nlink.saturating_sub(1);
                    if matches!(i.node, Node::Dir(_)) {
                        0
                    } else {
                        i.nlink
                    }
                });
                if left == 0 {
                    stack.push(child);
                }
            }
            let Ok(i) = fs.inode_mut(num) else { continue };
            i.nlink = 0;
            let id = self.root_ino(num);
            self.drop_if_dead(id);
        }
    }
}

impl Fs {
    /// Whether directory `at` is `top` or below it.
    fn is_below(&self, mut at: u64, top: u64) -> bool {
        for _ in 0..DEEP {
            if at == top {
                return true;
            }
            match self.dir_place(at) {
                Some((parent, _)) if parent != at => at = parent,
                _ => return false,
            }
        }
        true
    }
}

/// A disk on its way onto a root file system.
struct Laying {
    /// Inodes by the number that they had.
    nums: BTreeMap<u64, u64>,
    metas: Vec<(u64, Meta)>,
    /// Files that may have no name in the end.
    files: BTreeSet<u64>,
    /// Directories without one.
    dirs: BTreeSet<u64>,
}

struct Meta {
    mode: u32,
    uid: u32,
    gid: u32,
    rdev: u64,
    flags: u32,
    generation: u32,
    times: [Timespec; 4],
    xattrs: Xattrs,
    target: Option<Name>,
}

struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn number(&mut self) -> Result<u64, BadDisk> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let (b, rest) = self.0.split_first().ok_or(BadDisk("it is cut off"))?;
            self.0 = rest;
            n |= u64::from(b & 0x7f) << shift;
            if b & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(BadDisk("a number is too long"))
    }
    fn short(&mut self) -> Result<u32, BadDisk> {
        u32::try_from(self.number()?).map_err(|_| BadDisk("a number is too large"))
    }
    fn count(&mut self) -> Result<u64, BadDisk> {
        let n = self.number()?;
        if n > MOST {
            return Err(BadDisk("there is too much of something"));
        }
        Ok(n)
    }
    fn bytes(&mut self) -> Result<&'a [u8], BadDisk> {
        let n = self.number()? as usize;
        if n > LONGEST {
            return Err(BadDisk("a text is too long"));
        }
        let (b, rest) = self.0.split_at_checked(n).ok_or(BadDisk("it is cut off"))?;
        self.0 = rest;
        Ok(b)
    }
    fn time(&mut self) -> Result<Timespec, BadDisk> {
        let sec = self.number()?;
        let size = (sec >> 1) as i64;
        let sec = if sec & 1 == 1 { size.wrapping_neg() } else { size };
        let nsec = self.short()?;
        if nsec >= 1_000_000_000 {
            return Err(BadDisk("a time is none"));
        }
        Ok(Timespec { sec, nsec })
    }
    fn meta(&mut self) -> Result<Meta, BadDisk> {
        let (mode, uid, gid, _links) = (self.short()?, self.short()?, self.short()?, self.short()?);
        let rdev = self.number()?;
        let (flags, generation) = (self.short()?, self.short()?);
        let times = [self.time()?, self.time()?, self.time()?, self.time()?];
        let mut xattrs = Xattrs::new();
        for _ in 0..self.count()? {
            xattrs.insert(Name::from(self.bytes()?), Arc::from(self.bytes()?));
        }
        let target = match mode & mode::IFMT {
            mode::IFLNK => Some(Name::from(self.bytes()?)),
            _ => None,
        };
        Ok(Meta {
            mode,
            uid,
            gid,
            rdev,
            flags,
            generation,
            times,
            xattrs,
            target,
        })
    }
}
