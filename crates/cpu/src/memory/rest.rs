//! Pages taken out of a space that rests, so that they can lie compressed until it is used again.
//!
//! Only pages that nothing but the space's own table holds are taken: whoever else sees a page goes on seeing it. Counts and
//! generations come back as they were, so that a rest changes nothing that a program or the kernel could tell.

use super::page::{PAGE_SIZE, PageRef};
use super::space::Space;

/// Where pages of a resting space belong, in order of address: page numbers, each with a bit below that says whether it may be
/// written in place.
#[derive(Clone, Debug, Default)]
pub struct Resting(Vec<u64>);

impl Resting {
    /// Pages that were taken.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The addresses of the pages.
    pub fn addresses(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|page| (page >> 1) * PAGE_SIZE as u64)
    }
}

impl Space {
    /// Takes every page out that only this space holds and appends their bytes to `bytes`, 4096 each, in order of address. The
    /// space must not be used before [`Space::rise`].
    pub fn rest(&mut self, bytes: &mut Vec<u8>) -> Resting {
        let mut taken = Vec::new();
        self.take_sole(&mut |vpn, page| {
            let from = bytes.len();
            bytes.resize(from + PAGE_SIZE, 0);
            page.read(0, &mut bytes[from..]);
            taken.push(vpn << 1 | u64::from(page.exclusive()));
        });
        taken.shrink_to_fit();
        Resting(taken)
    }

    /// Puts the pages back that [`Space::rest`] took; `bytes` are the same.
    pub fn rise(&mut self, resting: &Resting, bytes: &[u8]) {
        for (taken, page) in resting.0.iter().zip(bytes.chunks(PAGE_SIZE)) {
            let page = PageRef::from_slice(page);
            if taken & 1 == 0 {
                page.make_common();
            }
            self.put_back(taken >> 1, page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Prot, Share};
    use super::*;

    const RW: Prot = Prot::from_bits(3);

    #[test]
    fn a_rest_changes_nothing_that_can_be_seen() {
        let mut a = Space::new();
        let shared = PageRef::zeroed();
        for i in 0..100u64 {
            a.map(
                0x10_0000 + i * 4096,
                PageRef::from_slice(&[i as u8; 50]),
                RW,
                Share::Private,
            );
        }
        a.map(0x20_0000, shared.clone(), RW, Share::Shared);
        let image = PageRef::from_slice(b"image");
        a.map(0x30_0000, image.clone(), Prot::READ, Share::Private);
        // A child that is gone leaves pages that are copied once more.
        let child = a.fork();
        a.write(0x10_0000, b"own").expect("mapped");
        let before = a.stats();
        let mut bytes = Vec::new();
        let r = a.rest(&mut bytes);
        assert_eq!(r.len(), 1, "the child still sees the others");
        a.rise(&r, &bytes);
        drop(child);
        bytes.clear();
        a.settle();
        let r = a.rest(&mut bytes);
        assert_eq!((r.len(), bytes.len()), (100, 100 * 4096));
        assert!(!r.is_empty());
        a.rise(&r, &bytes);
        let after = a.stats();
        assert_eq!((before.present, before.owned), (after.present, after.owned));
        for i in 1..100u64 {
            let mut b = [0; 50];
            a.read(0x10_0000 + i * 4096, &mut b).expect("mapped");
            assert_eq!(b, [i as u8; 50]);
        }
        a.write(0x10_0000, b"in place").expect("mapped");
        assert_eq!(a.stats().copied, 0);
        a.write(0x10_1000, b"copied").expect("mapped");
        assert_eq!(a.stats().copied, 1);
        shared.write(0, b"seen");
        assert_eq!(
            a.read_u32(0x20_0000).expect("mapped"),
            u32::from_le_bytes(*b"seen")
        );
    }
}
