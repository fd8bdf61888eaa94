//! Checkpoints: a guest as it was at one point of its journal, so that a rerun can begin there.
//!
//! A checkpoint is worth something only together with the journal that it stands in: it names the build and, by a digest, the birth
//! that the journal begins with, and where in the journal it stands ([`Entry::Checkpoint`](super::Entry::Checkpoint)). Whoever
//! cannot read one runs the journal from its birth instead: nothing is lost with it but time.
//!
//! # Format
//! [`MAGIC`]; the first half of the SHA-256 over all that follows; the position, 8 bytes; then (see `turncoat_freeze`) the build, the
//! birth's digest, the length of the rest before compression, and the rest as a block of LZ4: what stands beside the guest, and the
//! guest.

use sha2::{Digest, Sha256};
use turncoat_freeze::{Damaged, Freeze, In, Out};

use super::Birth;
use super::left::{Left, half};

/// First bytes of a checkpoint.
pub const MAGIC: &[u8] = b"turncoat checkpoint 1\n";

/// Longest state of a guest that is written, in bytes before compression.
pub const LONGEST: usize = 96 << 20;

/// A guest as it stood somewhere in its journal.
pub struct Checkpoint {
    /// Where it stands, in bytes from the beginning of the journal's file.
    pub at: u64,
    birth: [u8; 16],
    /// What stands beside the guest, and the guest.
    state: Vec<u8>,
}

/// Why a checkpoint is of no use: one line.
fn because(why: &str) -> String {
    format!("the checkpoint cannot be used: {why}")
}

impl Checkpoint {
    /// Of a guest that gave these bytes.
    pub(super) fn new(at: u64, left: &Left, guest: &[u8]) -> Option<Checkpoint> {
        let mut out = Out::new(LONGEST);
        left.put(&mut out);
        out.raw(guest);
        Some(Checkpoint {
            at,
            birth: left.birth,
            state: out.done()?,
        })
    }

    /// Bytes before compression.
    pub fn len(&self) -> usize {
        self.state.len()
    }

    /// Whether there is nothing in it; never.
    pub fn is_empty(&self) -> bool {
        self.state.is_empty()
    }

    /// As it lies on disk. Compressing takes some milliseconds.
    pub fn pack(&self) -> Vec<u8> {
        let mut out = Out::new(usize::MAX);
        out.raw(&self.at.to_le_bytes());
        crate::build().put(None, &mut out);
        self.birth.put(None, &mut out);
        self.state.len().put(None, &mut out);
        out.raw(&lz4_flex::block::compress(&self.state));
        let body = out.done().unwrap_or_default();
        [MAGIC, &digest(&body), &body].concat()
    }

    /// Where the checkpoint in these bytes says that it stands.
    pub fn place(bytes: &[u8]) -> Option<u64> {
        let rest = bytes.strip_prefix(MAGIC)?.get(16..)?;
        rest.first_chunk::<8>().map(|at| u64::from_le_bytes(*at))
    }

    /// Reads what [`Checkpoint::pack`] wrote.
    ///
    /// # Errors
    /// One line: it is damaged, or of another build.
    pub fn unpack(bytes: &[u8]) -> Result<Checkpoint, String> {
        let rest = bytes
            .strip_prefix(MAGIC)
            .ok_or_else(|| because("it does not begin like one"))?;
        let (sum, body) = rest
            .split_first_chunk::<16>()
            .ok_or_else(|| because("it is cut off"))?;
        if *sum != digest(body) {
            return Err(because("it is damaged"));
        }
        let mut from = In::new(body, 0);
        let mut head = || {
            let at = u64::from_le_bytes(Freeze::take(None, &mut from)?);
            let build = String::take(None, &mut from)?;
            let birth = Freeze::take(None, &mut from)?;
            let long = usize::take(None, &mut from)?;
            let packed = from.raw(from.left())?;
            Ok::<_, Damaged>((build, birth, at, long, packed))
        };
        let (build, birth, at, long, packed) = head().map_err(|e| because(e.0))?;
        let here = crate::build();
        if build != here {
            return Err(because(&format!(
                "it was written by build {build}, here is {here}"
            )));
        }
        if long > LONGEST {
            return Err(because("it is too large"));
        }
        let state = lz4_flex::block::decompress(packed, long).map_err(|_| because("it is damaged"))?;
        Ok(Checkpoint { at, birth, state })
    }

    /// What stands beside the guest, and the guest's own bytes, for a journal of this birth.
    pub(super) fn open(&self, birth: &Birth) -> Result<(Left, &[u8]), String> {
        let mut from = In::new(&self.state, 0);
        let left = Left::take(birth, &mut from).map_err(|e| because(e.0))?;
        if left.birth != self.birth {
            return Err(because("it belongs to another life of its world"));
        }
        let guest = from.raw(from.left()).map_err(|e| because(e.0))?;
        Ok((left, guest))
    }
}

fn digest(bytes: &[u8]) -> [u8; 16] {
    half(Sha256::digest(bytes))
}
