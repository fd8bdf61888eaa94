//! Memory of resting processes, compressed against that of another of the same program.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use lz4_flex::block::{DecompressError, compress_with_dict, decompress_with_dict};
use turncoat_cpu::PAGE_SIZE;

/// Pages that are compressed as one: with the specimen's beside them they stay within LZ4's window of 64 KiB.
const BLOCK: usize = 8;
/// A process of more pages is neither compared nor kept: 4 MiB.
const PAGES: usize = 1024;
/// Specimens that are known.
const KNOWN: usize = 16;
/// Specimens that there are, with those that a resting world still needs though they are not known any more.
const ALIVE: usize = 32;
/// Specimens that a process is compared with.
const TRIED: usize = 3;
/// A process that is compressed to less than one part in so many is like its specimen.
const LIKE: usize = 12;

/// The memory of one process.
pub(super) struct Specimen {
    program: u64,
    /// Where its pages are, in order.
    places: Vec<u64>,
    bytes: Vec<u8>,
    alive: Arc<AtomicUsize>,
}

impl Specimen {
    /// Its pages at and around the places of a block.
    fn around(&self, block: &[u64]) -> &[u8] {
        let at = block
            .first()
            .map_or(0, |first| self.places.partition_point(|p| p < first));
        let end = (at + block.len() + 1).min(self.places.len());
        &self.bytes[at.saturating_sub(1) * PAGE_SIZE..end * PAGE_SIZE]
    }
}

impl Drop for Specimen {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The specimens of all worlds of this program.
static SHELF: LazyLock<Shelf> = LazyLock::new(Shelf::default);

/// Specimens that are known.
#[derive(Default)]
struct Shelf {
    /// The one that was of use last in front.
    known: Mutex<VecDeque<Arc<Specimen>>>,
    /// How many there are.
    alive: Arc<AtomicUsize>,
}

/// Compresses pages of a process of `program`, which lie at `places`; gives what they were compressed against.
pub(super) fn pack(program: u64, places: &[u64], bytes: &[u8]) -> (Option<Arc<Specimen>>, Box<[u8]>) {
    SHELF.pack(program, places, bytes)
}

impl Shelf {
    fn known(&self) -> MutexGuard<'_, VecDeque<Arc<Specimen>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pack(&self, program: u64, places: &[u64], bytes: &[u8]) -> (Option<Arc<Specimen>>, Box<[u8]>) {
        if places.len() > PAGES {
            return (None, pack_against(None, places, bytes));
        }
        let of_it = |s: &&Arc<Specimen>| s.program == program;
        let tried: Vec<Arc<Specimen>> = self.known().iter().filter(of_it).take(TRIED).cloned().collect();
        let mut best: Option<(Arc<Specimen>, Box<[u8]>)> = None;
        for specimen in tried {
            let packed = pack_against(Some(&specimen), places, bytes);
            if packed.len() <= bytes.len() / LIKE {
                self.of_use(&specimen);
                return (Some(specimen), packed);
            }
            if best.as_ref().is_none_or(|(_, b)| packed.len() < b.len()) {
                best = Some((specimen, packed));
            }
        }
        // Like none: the next of its kind may be like this one.
        self.add(program, places, bytes);
        match best {
            Some((specimen, packed)) => (Some(specimen), packed),
            None => (None, pack_against(None, places, bytes)),
        }
    }

    fn of_use(&self, specimen: &Arc<Specimen>) {
        let mut known = self.known();
        if let Some(n) = known.iter().position(|s| Arc::ptr_eq(s, specimen)) {
            known.swap(0, n);
        }
    }

    fn add(&self, program: u64, places: &[u64], bytes: &[u8]) {
        let one_more = |n| (n < ALIVE).then_some(n + 1);
        let counted = self
            .alive
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        if counted.is_err() {
            return;
        }
        let new = Specimen {
            program,
            places: places.to_vec(),
            bytes: bytes.to_vec(),
            alive: self.alive.clone(),
        };
        let mut known = self.known();
        known.push_front(Arc::new(new));
        known.truncate(KNOWN);
    }
}

/// Blocks, each with its length in front (u32, little-endian).
fn pack_against(specimen: Option<&Specimen>, places: &[u64], bytes: &[u8]) -> Box<[u8]> {
    let mut out = Vec::new();
    for (block, bytes) in places.chunks(BLOCK).zip(bytes.chunks(BLOCK * PAGE_SIZE)) {
        let packed = compress_with_dict(bytes, specimen.map_or(&[], |s| s.around(block)));
        out.extend_from_slice(&(packed.len() as u32).to_le_bytes());
        out.extend_from_slice(&packed);
    }
    out.into()
}

/// The pages at `places` again.
///
/// # Errors
/// The bytes are not what [`pack`] made.
pub(super) fn unpack(
    specimen: Option<&Specimen>,
    places: &[u64],
    mut packed: &[u8],
) -> Result<Vec<u8>, DecompressError> {
    let mut bytes = Vec::with_capacity(places.len() * PAGE_SIZE);
    for block in places.chunks(BLOCK) {
        let (length, rest) = packed
            .split_first_chunk::<4>()
            .ok_or(DecompressError::ExpectedAnotherByte)?;
        let (this, rest) = rest
            .split_at_checked(u32::from_le_bytes(*length) as usize)
            .ok_or(DecompressError::ExpectedAnotherByte)?;
        packed = rest;
        let around = specimen.map_or(&[][..], |s| s.around(block));
        bytes.extend(decompress_with_dict(this, block.len() * PAGE_SIZE, around)?);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn noise(seed: u8, pages: usize) -> Vec<u8> {
        let mut rng = Rng::new([seed; 32]);
        (0..pages * PAGE_SIZE / 8)
            .flat_map(|_| rng.u64().to_le_bytes())
            .collect()
    }

    #[test]
    fn pages_come_back_whatever_they_were_compressed_against() {
        let shelf = Shelf::default();
        let places: Vec<u64> = (0..100).map(|n| n * 4096).collect();
        let first = noise(1, 100);
        let (against, packed) = shelf.pack(5, &places, &first);
        assert!(against.is_none(), "the first of its kind is compressed alone");
        assert_eq!(unpack(None, &places, &packed).expect("whole"), first);
        // The same with a few words changed and a page less: like the first.
        let mut second = first.clone();
        second[5000..5008].fill(7);
        second.drain(40 * PAGE_SIZE..41 * PAGE_SIZE);
        let mut fewer = places.clone();
        fewer.remove(40);
        let (against, packed) = shelf.pack(5, &fewer, &second);
        let against = against.expect("it is like the first");
        assert!(packed.len() < second.len() / 50, "{} bytes", packed.len());
        assert_eq!(unpack(Some(&against), &fewer, &packed).expect("whole"), second);
        // Like neither, and so the next specimen.
        let third = noise(2, 100);
        let (_, packed) = shelf.pack(5, &places, &third);
        assert!(packed.len() > third.len() / 2);
        let (against, packed) = shelf.pack(5, &places, &third);
        assert!(packed.len() < third.len() / 50);
        assert_eq!(
            unpack(against.as_deref(), &places, &packed).expect("whole"),
            third
        );
        // Damage is told.
        assert!(unpack(against.as_deref(), &places, &packed[..packed.len() - 1]).is_err());
    }

    #[test]
    fn there_are_never_more_specimens_than_said() {
        let shelf = Shelf::default();
        let mut held = Vec::new();
        for n in 0..100 {
            let page = noise(n, 1);
            shelf.pack(u64::from(n), &[0], &page);
            held.extend(shelf.pack(u64::from(n), &[0], &page).0);
        }
        assert_eq!((shelf.known().len(), held.len()), (KNOWN, ALIVE));
        drop(held);
        assert_eq!(shelf.alive.load(Ordering::Relaxed), KNOWN);
    }
}
