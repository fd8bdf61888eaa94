//! Any bytes as the tables of an image, behind a header whose hash is right, then every question asked.
#![no_main]

use std::fs::File;
use std::io::Write;

use libfuzzer_sys::fuzz_target;
use rustix::fs::MemfdFlags;
use sha2::{Digest, Sha256};
use turncoat_kernel::image::{Image, Ino};

fuzz_target!(|tables: &[u8]| {
    let stored = lz4_flex::block::compress(tables);
    let mut file = b"TCIMG\r\n\x1a".to_vec();
    file.extend(1u32.to_le_bytes());
    file.extend(128u32.to_le_bytes());
    for n in [128, stored.len() as u64, tables.len() as u64] {
        file.extend(n.to_le_bytes());
    }
    file.extend(Sha256::digest(&stored));
    file.resize(128, 0);
    file.extend(&stored);
    let Ok(fd) = rustix::fs::memfd_create("image", MemfdFlags::empty()) else { return };
    let mut host = File::from(fd);
    if host.write_all(&file).is_err() {
        return;
    }
    let Ok(image) = Image::open(host) else { return };
    for n in 0..=image.inode_count().saturating_add(1).min(4096) {
        let ino = Ino::new(n);
        let _ = (image.readlink(ino), image.xattrs(ino), image.parent(ino), image.read_all(ino, 1 << 20));
        if let Ok(entries) = image.readdir(ino) {
            for e in entries.take(4096) {
                let _ = image.lookup(ino, e.name);
            }
        }
    }
    let _ = (image.os_release(), image.packages(), image.resolve(b"/a/../b"), image.verify(|_, _| {}));
});
