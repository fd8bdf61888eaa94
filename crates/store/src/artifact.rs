//! Artifacts on disk: encoded, so that nothing can start them and no scanner takes them away.
//!
//! A file holds a line that names the format, a line with nonce and length, and the content combined with a
//! stream of bytes made from the nonce. That is no encryption: it keeps the content from being what it was, not from being known.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256 as Hasher};
use turncoat_event::Sha256;

use crate::layout::make_private;
use crate::{Layout, Result, StoreError};

const MAGIC: &[u8] = b"turncoat artifact 1\n";

/// SHA-256 of these bytes.
pub fn sha256(content: &[u8]) -> Sha256 {
    Sha256(Hasher::digest(content).into())
}

/// A stream of bytes from a nonce (the SplitMix64 generator), eight at a time.
fn combine(nonce: u64, content: &mut [u8]) {
    let mut state = nonce;
    for group in content.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        for (byte, key) in group.iter_mut().zip((z ^ (z >> 31)).to_le_bytes()) {
            *byte ^= key;
        }
    }
}

/// The encoded form of a file.
pub fn encode(sha: Sha256, content: &[u8]) -> Vec<u8> {
    let nonce = sha
        .0
        .iter()
        .rev()
        .take(8)
        .fold(0u64, |n, b| n << 8 | u64::from(*b))
        | 1;
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(format!("{nonce:016x} {}\n", content.len()).as_bytes());
    let start = out.len();
    out.extend_from_slice(content);
    if let Some(body) = out.get_mut(start..) {
        combine(nonce, body);
    }
    out
}

/// The inverse of [`encode`]; `None` when it is not such a file, or not whole.
pub fn decode(encoded: &[u8]) -> Option<Vec<u8>> {
    let rest = encoded.strip_prefix(MAGIC)?;
    let end = rest.iter().take(64).position(|b| *b == b'\n')?;
    let (nonce, length) = std::str::from_utf8(rest.get(..end)?).ok()?.split_once(' ')?;
    let nonce = u64::from_str_radix(nonce, 16).ok()?;
    let mut content = rest.get(end + 1..)?.to_vec();
    if length.parse() != Ok(content.len()) {
        return None;
    }
    combine(nonce, &mut content);
    Some(content)
}

/// Keeps a file. True when it was not there before.
pub(crate) fn keep(layout: &Layout, sha: Sha256, content: &[u8], sync: bool) -> Result<bool> {
    let path = layout.artifact(sha);
    if path.exists() {
        return Ok(false);
    }
    let Some(dir) = path.parent() else {
        return Ok(false);
    };
    make_private(dir)?;
    let temporary = path.with_extension("part");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(&encode(sha, content))?;
        if sync {
            file.sync_all()?;
        }
        fs::rename(&temporary, &path)?;
        if sync {
            File::open(dir)?.sync_all()?;
        }
        Ok(())
    };
    write().map_err(|source| {
        let _ = fs::remove_file(&temporary);
        StoreError::Io {
            path: path.clone(),
            source,
        }
    })?;
    Ok(true)
}

/// Reads an artifact back, whole and checked.
pub fn read(path: &Path, sha: Sha256) -> Result<Vec<u8>> {
    let mut encoded = Vec::new();
    File::open(path)
        .and_then(|mut f| f.read_to_end(&mut encoded))
        .map_err(StoreError::io(path))?;
    match decode(&encoded) {
        Some(content) if sha256(&content) == sha => Ok(content),
        _ => Err(StoreError::Damaged(format!(
            "{} does not hold what its name says",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_looks_like_nothing() {
        let eicar_like = b"\x7fELF\x02\x01\x01 #!/bin/sh\necho hello\n".repeat(50);
        let sha = sha256(&eicar_like);
        let encoded = encode(sha, &eicar_like);
        assert!(!encoded.windows(4).any(|w| w == b"\x7fELF"));
        assert!(!encoded.windows(9).any(|w| w == b"#!/bin/sh"));
        assert_eq!(decode(&encoded).unwrap(), eicar_like);
        assert_eq!(decode(&encoded[..encoded.len() - 1]), None);
        assert_eq!(decode(b""), None);
        assert_eq!(decode(&encode(sha256(b""), b"")).unwrap(), b"");
    }
}
