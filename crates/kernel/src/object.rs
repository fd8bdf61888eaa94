//! Memory objects: what files, anonymous shared memory and memfds hold, page by page.
//!
//! The world owns objects; page tables only cache their pages. `read`, `write`, `truncate` and mappings go to the same pages. A
//! page that came with a clone of the world (or from the image) is shared with others and is replaced before its first change:
//! replaced and dropped pages are queued in `Objects::invalid`, so that `mm` can take them out of page tables that still show
//! them. Objects are named by number: untouched files of the image need no entry at all.

use std::sync::Arc;
use turncoat_freeze::Freeze;

use turncoat_cpu::PageRef;

use crate::image::{self, Image};
use crate::vfs::pmap::PMap;
use crate::{Errno, KResult};

/// Bytes in a page.
pub const PAGE: u64 = 4096;
/// Largest file (ext4 with 4 KiB blocks).
pub const MAX_LEN: u64 = 0xfff_ffff_f000;

const LOWER: u64 = 1 << 63;

/// The name of an object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Freeze)]
pub struct ObjectId(pub u64);

impl ObjectId {
    /// The content of file `n` of the image.
    pub fn lower(n: u32) -> ObjectId {
        ObjectId(LOWER | n as u64)
    }
}

/// Content that the cover makes when it is first looked at. Must always give the same bytes for the same index.
pub trait LazyContent: Send + Sync {
    /// The bytes of content `index`.
    fn content(&self, index: u32) -> Vec<u8>;
}

#[derive(Clone, Freeze)]
enum Base {
    Zero,
    Image(u32),
    Bytes(Arc<[u8]>),
    Lazy(u32),
}

#[derive(Clone, Freeze)]
struct Object {
    len: u64,
    base: Base,
    /// Bytes of `base` that still show (lowered by truncation).
    base_len: u64,
    /// Pages of our own, each with the generation that made it. A hole punched into a base is a page of zeros.
    pages: PMap<(PageRef, u32)>,
    /// How many of them lie where `base` shows.
    over: u64,
    refs: u32,
    /// A segment of System V: holders that come and go are told.
    segment: bool,
}

impl Object {
    /// Pages of the base that still show.
    fn base_pages(&self) -> u64 {
        match self.base {
            Base::Zero => 0,
            _ => self.base_len.div_ceil(PAGE),
        }
    }

    fn put(&mut self, idx: u64, page: PageRef, generation: u32) {
        let had = self.pages.len();
        self.pages.insert(idx, (page, generation));
        if idx < self.base_pages() {
            self.over += self.pages.len() - had;
        }
    }
}

/// Pages of an object that must leave the page tables: from the first index to the second (exclusive).
pub type Invalid = (ObjectId, u64, u64);

/// All objects of a world.
#[derive(Clone, Freeze)]
pub struct Objects {
    own: PMap<Arc<Object>>,
    changed: PMap<Arc<Object>>,
    next: u64,
    generation: u32,
    image: Option<Arc<Image>>,
    #[freeze(base)]
    lazy: Option<Arc<dyn LazyContent>>,
    zero: PageRef,
    /// Own pages in all objects.
    used: u64,
    /// Most own pages there may be.
    limit: u64,
    /// Pages to take out of page tables; `mm` drains it after each call.
    pub invalid: Vec<Invalid>,
    /// Segments that got a holder (true) or lost one; `ipc` drains it after each call.
    pub attachments: Vec<(ObjectId, bool)>,
}

impl Objects {
    /// No objects. `limit` bounds the pages that the world may own in them.
    pub fn new(image: Option<Arc<Image>>, lazy: Option<Arc<dyn LazyContent>>, limit: u64) -> Objects {
        Objects {
            own: PMap::new(),
            changed: PMap::new(),
            next: 1,
            generation: 1,
            image,
            lazy,
            zero: PageRef::zeroed(),
            used: 0,
            limit,
            invalid: Vec::new(),
            attachments: Vec::new(),
        }
    }

    /// To be called on both sides after a clone: pages that exist now are never again changed in place.
    pub fn seal(&mut self) {
        self.generation = self.generation.saturating_add(1);
    }

    /// Pages owned, and the most there may be.
    pub fn usage(&self) -> (u64, u64) {
        (self.used, self.limit)
    }

    /// The pages that objects hold beyond their base: object, index, page.
    pub fn own_pages(&self) -> impl Iterator<Item = (u64, u64, &PageRef)> {
        let own = self.own.iter();
        let changed = self.changed.iter().map(|(k, o)| (k | LOWER, o));
        own.chain(changed)
            .flat_map(|(k, o)| o.pages.iter().map(move |(i, (p, _))| (k, i, p)))
    }

    /// Sets the most pages that the world may own.
    pub fn set_limit(&mut self, pages: u64) {
        self.limit = pages;
    }

    fn make(&mut self, base: Base, len: u64) -> ObjectId {
        let id = self.next;
        self.next += 1;
        let o = Object {
            len,
            base_len: len,
            base,
            pages: PMap::new(),
            over: 0,
            refs: 1,
            segment: false,
        };
        self.own.insert(id, Arc::new(o));
        ObjectId(id)
    }

    /// A new object of `len` zero bytes with one reference.
    pub fn create(&mut self, len: u64) -> ObjectId {
        self.make(Base::Zero, len)
    }

    /// As `create`, for a segment of System V: its first holder is the table of segments.
    pub fn create_segment(&mut self, len: u64) -> ObjectId {
        let id = self.create(len);
        if let Some(o) = self.get_mut(id) {
            o.segment = true;
        }
        id
    }

    /// The table of segments lets go of one.
    pub fn release_segment(&mut self, id: ObjectId) {
        if let Some(o) = self.get_mut(id) {
            o.segment = false;
        }
        self.release(id);
    }

    /// A new object with these bytes.
    pub fn create_bytes(&mut self, bytes: Arc<[u8]>) -> ObjectId {
        let len = bytes.len() as u64;
        self.make(Base::Bytes(bytes), len)
    }

    /// A new object whose bytes the cover makes on first use; `len` is what they will be.
    pub fn create_lazy(&mut self, index: u32, len: u64) -> ObjectId {
        self.make(Base::Lazy(index), len)
    }

    fn get(&self, id: ObjectId) -> Option<&Object> {
        let map = if id.0 & LOWER != 0 {
            &self.changed
        } else {
            &self.own
        };
        map.get(id.0 & !LOWER).map(|o| &**o)
    }

    /// Whether an object is still what it was among `others`, which these were cloned from.
    pub(crate) fn same(&self, others: &Objects, id: ObjectId) -> bool {
        match (self.get(id), others.get(id)) {
            (Some(a), Some(b)) => std::ptr::eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        }
    }

    /// Keeps these and no others, each with one holder: what mappings and descriptors held goes with them.
    pub(crate) fn keep_only(&mut self, kept: &std::collections::BTreeSet<ObjectId>) {
        let gone: Vec<u64> = self
            .own
            .iter()
            .map(|(k, _)| k)
            .filter(|k| !kept.contains(&ObjectId(*k)))
            .collect();
        for k in gone {
            if let Some(o) = self.own.remove(k) {
                self.used -= o.pages.len();
            }
        }
        for id in kept {
            // An object that is as it was stays the same one.
            if id.0 & LOWER == 0
                && self.get(*id).is_some_and(|o| o.refs != 1)
                && let Some(o) = self.get_mut(*id)
            {
                o.refs = 1;
            }
        }
        self.invalid.clear();
        self.attachments.clear();
    }

    fn get_mut(&mut self, id: ObjectId) -> Option<&mut Object> {
        let n = id.0 & !LOWER;
        if id.0 & LOWER == 0 {
            return self.own.get_mut(n).map(Arc::make_mut);
        }
        if !self.changed.contains(n) {
            let len = self.lower_len(n as u32)?;
            let o = Object {
                len,
                base: Base::Image(n as u32),
                base_len: len,
                pages: PMap::new(),
                over: 0,
                refs: 1,
                segment: false,
            };
            self.changed.insert(n, Arc::new(o));
        }
        self.changed.get_mut(n).map(Arc::make_mut)
    }

    fn lower_len(&self, n: u32) -> Option<u64> {
        self.image
            .as_ref()?
            .inode(image::Ino::new(n))
            .ok()
            .map(|m| m.size)
    }

    /// One more holder (an inode, a mapping).
    pub fn retain(&mut self, id: ObjectId) {
        if id.0 & LOWER == 0
            && let Some(o) = self.get_mut(id)
        {
            o.refs += 1;
            if o.segment {
                self.attachments.push((id, true));
            }
        }
    }

    /// One holder less; the last one's leaving frees the pages. Files of the image live as long as their inodes: a mapping holds those.
    pub fn release(&mut self, id: ObjectId) {
        if id.0 & LOWER != 0 {
            return;
        }
        let Some(o) = self.get_mut(id) else { return };
        o.refs = o.refs.saturating_sub(1);
        let last = o.refs == 0;
        if o.segment {
            self.attachments.push((id, false));
        }
        if last && let Some(o) = self.own.remove(id.0) {
            self.used -= o.pages.len();
        }
    }

    /// The file that this was the content of is gone.
    pub(crate) fn drop_file(&mut self, id: ObjectId) {
        if id.0 & LOWER == 0 {
            self.release(id);
        } else if let Some(o) = self.changed.remove(id.0 & !LOWER) {
            self.used -= o.pages.len();
        }
    }

    /// Length in bytes.
    pub fn len(&self, id: ObjectId) -> u64 {
        match self.get(id) {
            Some(o) => o.len,
            None if id.0 & LOWER != 0 => self.lower_len(id.0 as u32).unwrap_or(0),
            None => 0,
        }
    }

    /// The pages that may be written in place, object by object where that is not the one of `others`.
    pub(crate) fn writable<'a>(&'a self, others: &'a Objects) -> impl Iterator<Item = &'a PageRef> {
        let changed = |mine: &'a PMap<Arc<Object>>, theirs: &'a PMap<Arc<Object>>| {
            mine.iter()
                .filter(|(k, o)| theirs.get(*k).is_none_or(|t| !Arc::ptr_eq(o, t)))
                .flat_map(|(_, o)| o.pages.iter())
        };
        changed(&self.own, &others.own)
            .chain(changed(&self.changed, &others.changed))
            .filter(|(_, (_, g))| *g == self.generation)
            .map(|(_, (p, _))| p)
    }

    /// The image.
    pub(crate) fn image(&self) -> Option<&Arc<Image>> {
        self.image.as_ref()
    }

    /// True if no object was ever made or changed.
    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.changed.is_empty()
    }

    fn image_page(&self, n: u32, idx: u64) -> Option<PageRef> {
        let page = self.image.as_ref()?.page(image::Ino::new(n), idx).ok()??;
        Some(page)
    }

    fn base_page(&self, o: &Object, idx: u64) -> PageRef {
        let off = idx * PAGE;
        if off >= o.base_len {
            return self.zero.clone();
        }
        let room = o.base_len - off;
        let slice = |b: &[u8]| {
            let from = (off as usize).min(b.len());
            let to = (from + PAGE.min(room) as usize).min(b.len());
            PageRef::from_slice(&b[from..to])
        };
        match &o.base {
            Base::Zero => self.zero.clone(),
            Base::Image(n) => match self.image_page(*n, idx) {
                Some(p) if room >= PAGE || self.lower_len(*n) == Some(o.base_len) => p,
                Some(p) => {
                    let p = p.copy();
                    p.write(room as usize, &[0; PAGE as usize][room as usize..]);
                    p
                }
                None => self.zero.clone(),
            },
            Base::Bytes(b) => slice(b),
            Base::Lazy(i) => self
                .lazy
                .as_ref()
                .map_or_else(|| self.zero.clone(), |l| slice(&l.content(*i))),
        }
    }

    /// Page `idx` for reading; zeros in holes. `None` behind the end (SIGBUS).
    pub fn page(&mut self, id: ObjectId, idx: u64) -> Option<PageRef> {
        if idx >= self.len(id).div_ceil(PAGE) {
            return None;
        }
        let lower = id.0 & LOWER != 0;
        let Some(o) = self.get(id) else {
            return if lower {
                self.image_page(id.0 as u32, idx)
                    .or_else(|| Some(self.zero.clone()))
            } else {
                None
            };
        };
        if let Some((p, _)) = o.pages.get(idx) {
            return Some(p.clone());
        }
        if let Base::Lazy(i) = o.base {
            let bytes: Arc<[u8]> = self
                .lazy
                .as_ref()
                .map(|l| l.content(i))
                .unwrap_or_default()
                .into();
            if let Some(o) = self.get_mut(id) {
                o.base = Base::Bytes(bytes);
            }
        }
        self.get(id).map(|o| self.base_page(o, idx))
    }

    /// Page `idx` for change in place, made our own first. ENOSPC when the world owns too much, EINVAL behind the end.
    pub fn write_page(&mut self, id: ObjectId, idx: u64) -> KResult<PageRef> {
        if idx >= self.len(id).div_ceil(PAGE) {
            return Err(Errno::EINVAL);
        }
        self.own_page(id, idx)
    }

    fn own_page(&mut self, id: ObjectId, idx: u64) -> KResult<PageRef> {
        let generation = self.generation;
        let have = self.get(id).and_then(|o| o.pages.get(idx)).cloned();
        let page = match have {
            Some((p, g)) if g == generation => return Ok(p),
            Some((p, _)) => p.copy(),
            None => {
                if self.used >= self.limit {
                    return Err(Errno::ENOSPC);
                }
                let p = self.page(id, idx).map_or_else(PageRef::zeroed, |p| p.copy());
                self.used += 1;
                p
            }
        };
        self.invalid.push((id, idx, idx + 1));
        let o = self.get_mut(id).ok_or(Errno::EIO)?;
        o.put(idx, page.clone(), generation);
        Ok(page)
    }

    /// Copies bytes out; 0 at or behind the end.
    pub fn read(&mut self, id: ObjectId, off: u64, buf: &mut [u8]) -> usize {
        let len = self.len(id);
        if off >= len {
            return 0;
        }
        let n = (len - off).min(buf.len() as u64) as usize;
        let mut done = 0;
        while done < n {
            let at = off + done as u64;
            let in_page = (at % PAGE) as usize;
            let take = (PAGE as usize - in_page).min(n - done);
            let Some(part) = buf.get_mut(done..done + take) else {
                break;
            };
            match self.page(id, at / PAGE) {
                Some(p) => {
                    p.read(in_page, part);
                }
                None => part.fill(0),
            }
            done += take;
        }
        n
    }

    /// Writes bytes, growing the object. Short when room runs out after some bytes, else ENOSPC or EFBIG.
    pub fn write(&mut self, id: ObjectId, off: u64, buf: &[u8]) -> KResult<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        if off >= MAX_LEN {
            return Err(Errno::EFBIG);
        }
        let n = (MAX_LEN - off).min(buf.len() as u64) as usize;
        let mut done = 0;
        while done < n {
            let at = off + done as u64;
            let in_page = (at % PAGE) as usize;
            let take = (PAGE as usize - in_page).min(n - done);
            let page = match self.own_page(id, at / PAGE) {
                Ok(p) => p,
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
            };
            page.write(in_page, buf.get(done..done + take).unwrap_or(&[]));
            done += take;
        }
        if let Some(o) = self.get_mut(id) {
            o.len = o.len.max(off + done as u64);
        }
        Ok(done)
    }

    /// Sets the length; what is cut off is zero when it comes back.
    pub fn truncate(&mut self, id: ObjectId, len: u64) -> KResult<()> {
        if len > MAX_LEN {
            return Err(Errno::EFBIG);
        }
        let old = self.len(id);
        if len == old {
            return Ok(());
        }
        let in_page = (len % PAGE) as usize;
        if len < old && in_page != 0 && self.get(id).is_some_and(|o| o.pages.contains(len / PAGE)) {
            let p = self.own_page(id, len / PAGE)?;
            p.write(in_page, &[0; PAGE as usize][in_page..]);
        }
        let o = self.get_mut(id).ok_or(Errno::EIO)?;
        o.len = len;
        let mut freed = 0;
        if len < old {
            o.pages.split_off(len.div_ceil(PAGE), |_, _| freed += 1);
            if len < o.base_len {
                o.base_len = len;
                o.over = if matches!(o.base, Base::Zero) {
                    0
                } else {
                    o.pages.len()
                };
            }
            self.invalid.push((id, len / PAGE, u64::MAX));
        }
        self.used -= freed;
        Ok(())
    }

    /// Makes a range read as zeros and frees whole pages of it. The length stays.
    pub fn punch(&mut self, id: ObjectId, off: u64, end: u64) -> KResult<()> {
        let end = end.min(self.len(id).next_multiple_of(PAGE));
        let mut at = off;
        while at < end {
            let in_page = (at % PAGE) as usize;
            let take = (PAGE - in_page as u64).min(end - at);
            let idx = at / PAGE;
            if take == PAGE {
                let o = self.get_mut(id).ok_or(Errno::EIO)?;
                if at >= o.base_len || matches!(o.base, Base::Zero) {
                    // Jump over what is a hole already.
                    match o.pages.range(idx).next().map(|(k, _)| k) {
                        Some(k) if k == idx => {
                            o.pages.remove(idx);
                            self.used -= 1;
                        }
                        Some(k) => {
                            at = (k * PAGE).max(at + PAGE);
                            continue;
                        }
                        None => break,
                    }
                } else {
                    let p = self.own_page(id, idx)?;
                    p.write(0, &[0; PAGE as usize]);
                }
            } else if self.has_data(id, idx) {
                let p = self.own_page(id, idx)?;
                p.write(in_page, &[0; PAGE as usize][..take as usize]);
            }
            at += take;
        }
        self.invalid.push((id, off / PAGE, end.div_ceil(PAGE)));
        Ok(())
    }

    /// Gives every page of a range a place of its own (fallocate); pages with content stay as they are.
    pub fn reserve(&mut self, id: ObjectId, off: u64, end: u64) -> KResult<()> {
        let need = end.div_ceil(PAGE) - off / PAGE;
        if self.used.saturating_add(need) > self.limit {
            return Err(Errno::ENOSPC);
        }
        for idx in off / PAGE..end.div_ceil(PAGE) {
            if !self.has_data(id, idx) {
                let zero = self.zero.clone();
                let o = self.get_mut(id).ok_or(Errno::EIO)?;
                // The shared page of zeros counts as of no generation, and is replaced at the first write.
                o.put(idx, zero, 0);
                self.used += 1;
            }
        }
        Ok(())
    }

    /// True if page `idx` is not a hole.
    pub fn has_data(&self, id: ObjectId, idx: u64) -> bool {
        let n = id.0 & !LOWER;
        match self.get(id) {
            Some(o) => {
                o.pages.contains(idx)
                    || idx * PAGE < o.base_len
                        && match o.base {
                            Base::Zero => false,
                            Base::Image(n) => !self.image_hole(n, idx),
                            _ => true,
                        }
            }
            None => id.0 & LOWER != 0 && idx * PAGE < self.len(id) && !self.image_hole(n as u32, idx),
        }
    }

    fn image_hole(&self, n: u32, idx: u64) -> bool {
        self.image
            .as_ref()
            .is_none_or(|i| i.is_hole(image::Ino::new(n), idx).unwrap_or(true))
    }

    /// Holes among the first `pages` pages of an image's file.
    fn image_holes(&self, n: u32, pages: u64) -> u64 {
        self.image
            .as_ref()
            .and_then(|i| i.holes(image::Ino::new(n), pages).ok())
            .unwrap_or(pages)
    }

    /// Next page with data at or behind `idx`, below `end`.
    pub fn next_data(&self, id: ObjectId, idx: u64, end: u64) -> Option<u64> {
        if let Some(o) = self.get(id)
            && (matches!(o.base, Base::Zero) || idx * PAGE >= o.base_len)
        {
            return o.pages.range(idx).next().map(|(k, _)| k).filter(|&k| k < end);
        }
        (idx..end).find(|&i| self.has_data(id, i))
    }

    /// Pages that take room, for st_blocks.
    pub fn pages_used(&self, id: ObjectId) -> u64 {
        match self.get(id) {
            Some(o) => {
                let base = o.base_pages();
                let holes = match o.base {
                    Base::Image(n) => match self.image_holes(n, base) {
                        0 => 0,
                        _ => (0..base)
                            .filter(|&i| !o.pages.contains(i) && self.image_hole(n, i))
                            .count() as u64,
                    },
                    _ => 0,
                };
                base - holes + (o.pages.len() - o.over)
            }
            None if id.0 & LOWER != 0 => {
                let n = id.0 as u32;
                let pages = self.len(id).div_ceil(PAGE);
                pages - self.image_holes(n, pages)
            }
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_used_are_those_that_have_data() {
        let mut seed = 7u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        let mut objects = Objects::new(None, None, 10_000);
        let text: Arc<[u8]> = vec![7; 9 * PAGE as usize + 5].into();
        for id in [objects.create(0), objects.create_bytes(text)] {
            for _ in 0..3000 {
                let (at, n) = (random(20 * PAGE), 1 + random(3 * PAGE));
                let (mut at, mut end) = (at, at + n);
                if random(2) == 0 {
                    (at, end) = (at / PAGE * PAGE, end.div_ceil(PAGE) * PAGE);
                }
                match random(4) {
                    0 => drop(objects.write(id, at, &vec![1; (end - at) as usize])),
                    1 => objects.truncate(id, at).expect("truncate"),
                    2 => objects.punch(id, at, end).expect("punch"),
                    _ => objects.reserve(id, at, end).expect("reserve"),
                }
                let data = (0..30).filter(|&i| objects.has_data(id, i)).count() as u64;
                assert_eq!(objects.pages_used(id), data);
            }
        }
    }
}
