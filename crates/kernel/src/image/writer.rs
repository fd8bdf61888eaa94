//! Writes images. The same tree and the same order of data give the same bytes.
//!
//! Data is handed over first, as [`Blob`]s, in any amount; [`Writer::finish`] then lays out the tables of a [`Tree`] whose
//! files refer to them. The file is not an image before `finish` has written its header, so a build that stopped half-way
//! leaves nothing that could be taken for one.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::format::{self, CHUNK, CHUNK_PAGES, Chunk, HEADER, HOLE, SECTIONS};
use super::meta::{InodeMeta, Kind, Places, encode_inode};
use super::tree::{Content, Node, NodeId, NodeKind, Tree};
use super::{ImageError, ImageId, PAGE, cache};

/// The bytes of one file, as the writer has them.
#[derive(Clone, Debug)]
pub struct Blob {
    size: u64,
    pages: Arc<[u32]>,
}

impl Blob {
    /// How many bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// Writes one image into a file.
pub struct Writer {
    file: File,
    at: u64,
    pending: Vec<u8>,
    chunks: Vec<Chunk>,
    known: HashMap<[u8; 32], u32>,
    next_page: u32,
}

impl Writer {
    /// Starts an image in an empty file that is open for reading and writing.
    pub fn new(file: File) -> Writer {
        Writer {
            file,
            at: HEADER as u64,
            pending: Vec::with_capacity(CHUNK),
            chunks: Vec::new(),
            known: HashMap::new(),
            next_page: 0,
        }
    }

    /// Takes the bytes of a file.
    pub fn add(&mut self, mut data: impl Read) -> Result<Blob, ImageError> {
        let mut pages = Vec::new();
        let mut size = 0;
        let mut page = [0; PAGE];
        loop {
            let mut n = 0;
            while let Some(rest) = page.get_mut(n..).filter(|r| !r.is_empty()) {
                match data.read(rest) {
                    Ok(0) => break,
                    Ok(k) => n += k,
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(e.into()),
                }
            }
            if n == 0 {
                break;
            }
            if let Some(rest) = page.get_mut(n..) {
                rest.fill(0);
            }
            size += n as u64;
            pages.push(self.add_page(&page)?);
            if n < PAGE {
                break;
            }
        }
        Ok(Blob {
            size,
            pages: pages.into(),
        })
    }

    fn add_page(&mut self, page: &[u8; PAGE]) -> Result<u32, ImageError> {
        if page.iter().all(|&b| b == 0) {
            return Ok(HOLE);
        }
        let sha: [u8; 32] = Sha256::digest(page).into();
        if let Some(&number) = self.known.get(&sha) {
            return Ok(number);
        }
        let number = self.next_page;
        self.next_page = number
            .checked_add(1)
            .filter(|&n| n != HOLE)
            .ok_or(ImageError::TooLarge {
                what: "data of all files",
                limit: u64::from(HOLE) * PAGE as u64,
            })?;
        self.known.insert(sha, number);
        self.pending.extend_from_slice(page);
        if self.pending.len() == CHUNK {
            self.flush()?;
        }
        Ok(number)
    }

    fn flush(&mut self) -> Result<(), ImageError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let stored = lz4_flex::block::compress(&self.pending);
        self.file.write_all_at(&stored, self.at)?;
        self.chunks.push(Chunk {
            off: self.at,
            stored: stored.len() as u32,
            raw: self.pending.len() as u32,
            sha: Sha256::digest(&stored).into(),
        });
        self.at += stored.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Reads the bytes of a file back.
    pub fn read(&self, blob: &Blob) -> Result<Vec<u8>, ImageError> {
        self.read_prefix(blob, usize::MAX)
    }

    /// Reads at most the first `limit` bytes of a file back.
    pub fn read_prefix(&self, blob: &Blob, limit: usize) -> Result<Vec<u8>, ImageError> {
        let len = usize::try_from(blob.size).unwrap_or(usize::MAX).min(limit);
        let mut out = Vec::with_capacity(len);
        let mut last: Option<(u32, Vec<u8>)> = None;
        for &number in blob.pages.iter() {
            if out.len() >= len {
                break;
            }
            if number == HOLE {
                out.resize(out.len() + PAGE, 0);
                continue;
            }
            let at = (number % CHUNK_PAGES) as usize * PAGE;
            let index = number / CHUNK_PAGES;
            let raw = match self.chunks.get(index as usize) {
                None => &self.pending,
                Some(c) => {
                    if last.as_ref().is_none_or(|(i, _)| *i != index) {
                        let mut stored = vec![0; c.stored as usize];
                        self.file.read_exact_at(&mut stored, c.off)?;
                        last = Some((index, cache::unpack(c, index, &stored)?));
                    }
                    last.as_ref().map_or(&self.pending, |(_, raw)| raw)
                }
            };
            out.extend_from_slice(raw.get(at..at + PAGE).ok_or(ImageError::Corrupt("page number"))?);
        }
        out.truncate(len);
        Ok(out)
    }

    /// The bytes of a file of a tree, wherever they are.
    pub fn content(&self, tree: &Tree, id: NodeId) -> Result<Vec<u8>, ImageError> {
        match tree.kind(id) {
            NodeKind::File(Content::Bytes(bytes)) => Ok(bytes.clone()),
            NodeKind::File(Content::Blob(blob)) => self.read(blob),
            _ => Err(ImageError::Corrupt("not a regular file")),
        }
    }

    /// Bytes in the file so far.
    pub fn written(&self) -> u64 {
        self.at
    }

    /// Writes the tables and the header and makes everything durable. `info` is kept beside the file system.
    pub fn finish(mut self, tree: &Tree, info: &[(&str, &str)]) -> Result<ImageId, ImageError> {
        let layout = Layout::of(tree);
        let mut blobs: HashMap<NodeId, Blob> = HashMap::new();
        for &id in &layout.order {
            match tree.kind(id) {
                NodeKind::File(Content::Bytes(bytes)) => blobs.insert(id, self.add(bytes.as_slice())?),
                NodeKind::File(Content::Blob(blob)) => blobs.insert(id, blob.clone()),
                _ => None,
            };
        }
        self.flush()?;
        let raw = tables(tree, &layout, &blobs, &self.chunks, info)?;
        let stored = lz4_flex::block::compress(&raw);
        self.file.write_all_at(&stored, self.at)?;
        let header = format::header(self.at, &stored, raw.len() as u64);
        self.file.write_all_at(&header, 0)?;
        self.file.sync_all()?;
        Ok(format::id(&header))
    }
}

/// Which node gets which inode number: breadth first, so that what lies together is numbered together.
struct Layout {
    order: Vec<NodeId>,
    number: HashMap<NodeId, u32>,
    links: HashMap<NodeId, u32>,
    parent: HashMap<NodeId, u32>,
}

impl Layout {
    fn of(tree: &Tree) -> Layout {
        let root = tree.root();
        let mut l = Layout {
            order: vec![root],
            number: HashMap::from([(root, 1)]),
            links: HashMap::from([(root, 2)]),
            parent: HashMap::from([(root, 1)]),
        };
        let mut next = 0;
        while let Some(&dir) = l.order.get(next) {
            next += 1;
            let dir_number = next as u32;
            for (_, id) in tree.entries(dir) {
                if !l.number.contains_key(&id) {
                    l.order.push(id);
                    l.number.insert(id, l.order.len() as u32);
                }
                if matches!(tree.kind(id), NodeKind::Dir(_)) {
                    l.links.insert(id, 2);
                    l.parent.insert(id, dir_number);
                    *l.links.entry(dir).or_default() += 1;
                } else {
                    *l.links.entry(id).or_default() += 1;
                }
            }
        }
        l
    }
}

fn table_index(n: usize, what: &'static str) -> Result<u32, ImageError> {
    u32::try_from(n).map_err(|_| ImageError::TooLarge {
        what,
        limit: u64::from(u32::MAX),
    })
}

fn put_string(out: &mut Vec<u8>, s: &[u8]) {
    out.extend((s.len() as u32).to_le_bytes());
    out.extend(s);
}

fn put_xattrs(text: &mut Vec<u8>, node: &Node) -> Result<u32, ImageError> {
    if node.xattrs.is_empty() {
        return Ok(u32::MAX);
    }
    let at = table_index(text.len(), "text table")?;
    text.extend((node.xattrs.len() as u32).to_le_bytes());
    for (name, value) in &node.xattrs {
        put_string(text, name);
        put_string(text, value);
    }
    Ok(at)
}

fn tables(
    tree: &Tree,
    layout: &Layout,
    blobs: &HashMap<NodeId, Blob>,
    chunks: &[Chunk],
    info: &[(&str, &str)],
) -> Result<Vec<u8>, ImageError> {
    let mut s: [Vec<u8>; SECTIONS.len()] = Default::default();
    let [infos, chunk_table, inodes, dents, pages, text] = &mut s;
    for (key, value) in info {
        put_string(infos, key.as_bytes());
        put_string(infos, value.as_bytes());
    }
    for c in chunks {
        chunk_table.extend(c.off.to_le_bytes());
        chunk_table.extend(c.stored.to_le_bytes());
        chunk_table.extend(c.raw.to_le_bytes());
        chunk_table.extend(c.sha);
    }
    let mut entry_count = 0;
    for &id in &layout.order {
        let node = tree.node(id);
        let a = node.attr;
        let (kind, size, first, rdev) = match &node.kind {
            NodeKind::Dir(map) => {
                let first = table_index(entry_count, "directory table")?;
                entry_count += map.len();
                for (name, child) in map {
                    dents.extend(layout.number.get(child).copied().unwrap_or(0).to_le_bytes());
                    dents.push(name.len() as u8);
                    dents.extend(name);
                }
                (Kind::Dir, map.len() as u64, first, (0, 0))
            }
            NodeKind::File(_) => {
                let first = table_index(pages.len() / 4, "page table")?;
                let blob = blobs.get(&id);
                pages.extend(
                    blob.iter()
                        .flat_map(|b| b.pages.iter())
                        .flat_map(|p| p.to_le_bytes()),
                );
                (Kind::File, blob.map_or(0, Blob::size), first, (0, 0))
            }
            NodeKind::Symlink(target) => {
                let first = table_index(text.len(), "text table")?;
                text.extend(target);
                (Kind::Symlink, target.len() as u64, first, (0, 0))
            }
            NodeKind::Char(major, minor) => (Kind::Char, 0, 0, (*major, *minor)),
            NodeKind::Block(major, minor) => (Kind::Block, 0, 0, (*major, *minor)),
            NodeKind::Fifo => (Kind::Fifo, 0, 0, (0, 0)),
            NodeKind::Socket => (Kind::Socket, 0, 0, (0, 0)),
        };
        let xattr = put_xattrs(text, node)?;
        let mut inode = InodeMeta::unplaced(kind, a.perm, a.uid, a.gid, (a.mtime, a.mtime_nsec));
        (inode.size, inode.rdev) = (size, rdev);
        inode.nlink = layout.links.get(&id).copied().unwrap_or(0);
        let parent = layout.parent.get(&id).copied().unwrap_or(0);
        encode_inode(&inode.at(&Places { first, parent, xattr }), inodes);
    }
    let mut out = Vec::new();
    for (tag, section) in SECTIONS.iter().zip(&s) {
        out.extend(tag);
        out.extend((section.len() as u64).to_le_bytes());
        out.extend(section);
    }
    Ok(out)
}
