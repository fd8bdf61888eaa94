//! Addresses relative to the mapping they point into.
//!
//! Two processes that did the same hold the same bytes but for addresses, which the kernel drew at random. A word that points
//! into a mapping is written as the mapping's number and the offset there; then they hold the same bytes.

use crate::mm::{Back, Mm};

/// The top byte of a word that was an address. A page in which a word has it already stays as it is.
const MARK: u64 = 0xf5;
/// Bits of an offset.
const OFFSET: u32 = 40;
/// A process with more mappings than that is none of those that are alike.
const MOST: usize = 64;

/// Where an address space has something: parts that keep their distance wherever they are put.
pub(super) struct Regions(Vec<(u64, u64)>);

impl Regions {
    /// Of an address space: mappings that touch each other, or are of one file, are one part.
    pub(super) fn of(m: &Mm) -> Regions {
        let mut parts: Vec<(u64, u64)> = Vec::new();
        let mut file = 0;
        for v in m.vmas.values() {
            let of = match &v.back {
                Back::Obj { obj, .. } => obj.0,
                Back::Anon => 0,
            };
            match parts.last_mut() {
                Some(part) if part.1 == v.start || (of != 0 && of == file) => part.1 = v.end,
                _ => parts.push((v.start, v.end)),
            }
            if of != 0 {
                file = of;
            }
        }
        parts.retain(|(start, end)| end - start < 1 << OFFSET);
        if parts.len() > MOST {
            parts.clear();
        }
        Regions(parts)
    }

    fn find(&self, va: u64) -> Option<(usize, u64)> {
        let n = self.0.partition_point(|part| part.0 <= va).checked_sub(1)?;
        let (start, end) = self.0[n];
        (va < end).then_some((n, start))
    }

    /// Where an address is, in a form that is the same in a process that did the same; in order of address.
    pub(super) fn place(&self, va: u64) -> u64 {
        self.find(va)
            .map_or(va, |(n, start)| (n as u64 + 1) << 48 | (va - start))
    }

    /// Makes a page's addresses relative; false if the page cannot be told from one that is, and stays as it was.
    pub(super) fn relate(&self, page: &mut [u8]) -> bool {
        let (words, _) = page.as_chunks_mut::<8>();
        if words.iter().any(|w| u64::from(w[7]) == MARK) {
            return false;
        }
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else {
            return true;
        };
        for w in words {
            let va = u64::from_le_bytes(*w);
            if (first.0..last.1).contains(&va)
                && let Some((n, start)) = self.find(va)
            {
                *w = (MARK << 56 | (n as u64) << OFFSET | (va - start)).to_le_bytes();
            }
        }
        true
    }

    /// Undoes [`Regions::relate`].
    pub(super) fn restore(&self, page: &mut [u8]) {
        let (words, _) = page.as_chunks_mut::<8>();
        for w in words.iter_mut().filter(|w| u64::from(w[7]) == MARK) {
            let word = u64::from_le_bytes(*w);
            let (n, offset) = (word >> OFFSET & 0xffff, word & ((1 << OFFSET) - 1));
            if let Some((start, _)) = self.0.get(n as usize) {
                *w = (start + offset).to_le_bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_comes_back_as_it_was() {
        let here = Regions(vec![
            (0x5555_0000, 0x5556_0000),
            (0x7fff_0000_0000, 0x7fff_0010_0000),
        ]);
        let there = Regions(vec![
            (0x6666_0000, 0x6667_0000),
            (0x7ffe_0000_0000, 0x7ffe_0010_0000),
        ]);
        let mut words: Vec<u64> = vec![0, 1, 0x5554_ffff, 0x5555_0000, 0x5555_ffff, 0x5556_0000, u64::MAX];
        words.extend([0x7fff_0000_0008, 0x7fff_000f_ffff, 0x7fff_0010_0000, 0xf400 << 48]);
        let bytes = |words: &[u64]| -> Vec<u8> { words.iter().flat_map(|w| w.to_le_bytes()).collect() };
        let page = bytes(&words);
        let mut related = page.clone();
        assert!(here.relate(&mut related));
        assert_ne!(related, page);
        // The same in a process that lies elsewhere: its addresses differ, what is written does not.
        for w in &mut words {
            if let Some((n, start)) = here.find(*w) {
                *w = *w - start + there.0[n].0;
            }
        }
        let mut other = bytes(&words);
        assert!(there.relate(&mut other));
        assert_eq!(other, related);
        assert_eq!(here.place(0x5555_1000), there.place(0x6666_1000));
        here.restore(&mut related);
        assert_eq!(related, page);
        // Whoever writes words that look like ours gets them back.
        let mut forged = bytes(&[0x5555_0000, MARK << 56 | 1]);
        let before = forged.clone();
        assert!(!here.relate(&mut forged));
        assert_eq!(forged, before);
    }
}
