//! The bytes of an image file: header, chunks, tables.
//!
//! All numbers are little-endian. The file is `header | chunks | tables`, nothing else:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic |
//! | 8 | 4 | format version |
//! | 12 | 4 | length of the header (128) |
//! | 16 | 8 | where the tables begin; chunks fill the file from the header to here |
//! | 24 | 8 | bytes of the tables in the file, compressed as one LZ4 block |
//! | 32 | 8 | bytes of the tables unpacked |
//! | 40 | 32 | SHA-256 of the tables in the file |
//! | 72 | 56 | zero |
//!
//! A chunk is an LZ4 block of 16 pages (the last may have fewer), so page `n` lies in chunk `n / 16`. The tables are sections
//! in fixed order, each with a tag and a length: `INFO` key-value pairs, `CHNK` chunks with their SHA-256, `INOD` inodes,
//! `DENT` directory entries, `PAGE` page numbers of files, `TEXT` link targets and attributes.

use std::fs::File;
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};

use super::meta::Meta;
use super::{ImageError, ImageId, PAGE};

/// The version of the format that this code writes and reads.
pub const VERSION: u32 = 1;
/// The page number of a page of zeroes that is not stored.
pub(super) const HOLE: u32 = u32::MAX;
pub(super) const MAGIC: [u8; 8] = *b"TCIMG\r\n\x1a";
pub(super) const HEADER: usize = 128;
/// Pages in a chunk.
pub(super) const CHUNK_PAGES: u32 = 16;
/// Bytes of a whole chunk, unpacked.
pub(super) const CHUNK: usize = PAGE * CHUNK_PAGES as usize;
/// The largest tables that are read, in bytes.
const TABLES_LIMIT: u64 = 512 << 20;
pub(super) const SECTIONS: [[u8; 4]; 6] = [*b"INFO", *b"CHNK", *b"INOD", *b"DENT", *b"PAGE", *b"TEXT"];

/// Where a chunk lies in the file, and what it must hash to.
#[derive(Clone, Copy)]
pub(super) struct Chunk {
    pub off: u64,
    pub stored: u32,
    pub raw: u32,
    pub sha: [u8; 32],
}

/// Reads numbers and strings out of bytes that cannot be trusted.
pub(super) struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], ImageError> {
        match self.0.split_at_checked(n) {
            Some((head, tail)) => {
                self.0 = tail;
                Ok(head)
            }
            None => Err(ImageError::Truncated {
                what: "part of the tables",
            }),
        }
    }
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ImageError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }
    pub fn u8(&mut self) -> Result<u8, ImageError> {
        Ok(u8::from_le_bytes(self.array()?))
    }
    pub fn u32(&mut self) -> Result<u32, ImageError> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    pub fn u64(&mut self) -> Result<u64, ImageError> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    /// A length-prefixed string.
    pub fn string(&mut self) -> Result<&'a [u8], ImageError> {
        let n = self.u32()?;
        self.take(n as usize)
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The header of an image whose tables lie at `at`.
pub(super) fn header(at: u64, stored: &[u8], raw_len: u64) -> [u8; HEADER] {
    let mut out = Vec::with_capacity(HEADER);
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.extend((HEADER as u32).to_le_bytes());
    out.extend(at.to_le_bytes());
    out.extend((stored.len() as u64).to_le_bytes());
    out.extend(raw_len.to_le_bytes());
    out.extend(Sha256::digest(stored));
    out.resize(HEADER, 0);
    let mut header = [0; HEADER];
    header.copy_from_slice(&out);
    header
}

pub(super) fn id(header: &[u8; HEADER]) -> ImageId {
    ImageId(Sha256::digest(header).into())
}

/// Reads header and tables; everything that comes back has been checked.
pub(super) fn read(file: &File) -> Result<(ImageId, Meta, Box<[Chunk]>), ImageError> {
    let file_len = file.metadata()?.len();
    let mut head = [0; HEADER];
    if file_len < HEADER as u64 {
        return Err(ImageError::NotAnImage);
    }
    file.read_exact_at(&mut head, 0)?;
    let mut b = Bytes(&head);
    if b.array::<8>()? != MAGIC {
        return Err(ImageError::NotAnImage);
    }
    let version = b.u32()?;
    if version != VERSION {
        return Err(ImageError::Version { found: version });
    }
    let header_len = b.u32()?;
    let (at, stored_len, raw_len) = (b.u64()?, b.u64()?, b.u64()?);
    let sha = b.array::<32>()?;
    if header_len as usize != HEADER || b.0.iter().any(|&x| x != 0) || at < HEADER as u64 {
        return Err(ImageError::Corrupt("header"));
    }
    if stored_len > TABLES_LIMIT || raw_len > TABLES_LIMIT {
        return Err(ImageError::TooLarge {
            what: "tables",
            limit: TABLES_LIMIT,
        });
    }
    // One byte of LZ4 stands for at most 255.
    if raw_len > stored_len.saturating_mul(255) {
        return Err(ImageError::Corrupt("length of the tables"));
    }
    match at.checked_add(stored_len) {
        Some(end) if end == file_len => {}
        Some(end) if end < file_len => return Err(ImageError::Corrupt("bytes behind the tables")),
        _ => return Err(ImageError::Truncated { what: "tables" }),
    }
    let mut stored = vec![0; stored_len as usize];
    file.read_exact_at(&mut stored, at)?;
    if <[u8; 32]>::from(Sha256::digest(&stored)) != sha {
        return Err(ImageError::Hash {
            what: "tables",
            index: 0,
        });
    }
    let mut raw = vec![0; raw_len as usize];
    match lz4_flex::block::decompress_into(&stored, &mut raw) {
        Ok(n) if n == raw.len() => {}
        _ => return Err(ImageError::Corrupt("compressed tables")),
    }
    drop(stored);
    let (meta, chunks) = tables(&raw, at)?;
    Ok((id(&head), meta, chunks))
}

/// Takes the unpacked tables apart; chunks lie between the header and `data_end`.
pub(super) fn tables(raw: &[u8], data_end: u64) -> Result<(Meta, Box<[Chunk]>), ImageError> {
    let mut b = Bytes(raw);
    let mut sections = [[].as_slice(); SECTIONS.len()];
    for (tag, section) in SECTIONS.iter().zip(&mut sections) {
        if b.array::<4>()? != *tag {
            return Err(ImageError::Corrupt("order of the tables"));
        }
        let len = b.u64()?;
        let len = usize::try_from(len).map_err(|_| ImageError::Corrupt("length of a table"))?;
        *section = b.take(len)?;
    }
    if !b.is_empty() {
        return Err(ImageError::Corrupt("bytes behind the last table"));
    }
    let [info, chunks, inodes, dirents, pages, text] = sections;
    let (chunks, page_count) = read_chunks(chunks, data_end)?;
    let meta = Meta::parse(info, inodes, dirents, pages, text, page_count)?;
    Ok((meta, chunks))
}

/// The chunk table and the number of pages that all chunks have together.
fn read_chunks(section: &[u8], data_end: u64) -> Result<(Box<[Chunk]>, u32), ImageError> {
    const RECORD: usize = 48;
    let n = section.len() / RECORD;
    let mut b = Bytes(section);
    let mut chunks = Vec::with_capacity(n);
    let mut next = HEADER as u64;
    let mut pages = 0u32;
    for i in 0..n {
        let c = Chunk {
            off: b.u64()?,
            stored: b.u32()?,
            raw: b.u32()?,
            sha: b.array()?,
        };
        let whole = c.raw as usize == CHUNK;
        let sized = c.raw != 0 && c.raw as usize <= CHUNK && (c.raw as usize).is_multiple_of(PAGE);
        if !sized || (i + 1 < n && !whole) {
            return Err(ImageError::Corrupt("size of a chunk"));
        }
        if c.off != next || c.stored as usize > CHUNK * 2 {
            return Err(ImageError::Corrupt("place of a chunk"));
        }
        next = c.off + u64::from(c.stored);
        pages = pages
            .checked_add(c.raw / PAGE as u32)
            .ok_or(ImageError::Corrupt("number of chunks"))?;
        chunks.push(c);
    }
    if !b.is_empty() || next != data_end || pages == HOLE {
        return Err(ImageError::Corrupt("chunk table"));
    }
    Ok((chunks.into(), pages))
}
