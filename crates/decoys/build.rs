//! Names the build for journals: a digest of the sources that a world's run depends on. A rerun needs the same.

use std::path::{Path, PathBuf};

/// Crates whose code decides what a world does.
const SOURCES: [&str; 5] = [
    "src",
    "../cpu/src",
    "../kernel/src",
    "../cover/src",
    "../event/src",
];

fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for path in entries.flatten().map(|e| e.path()) {
        if path.is_dir() {
            files(&path, out);
        } else {
            out.push(path);
        }
    }
}

fn main() {
    let mut all = vec![PathBuf::from("../../Cargo.lock")];
    for dir in SOURCES {
        println!("cargo:rerun-if-changed={dir}");
        files(Path::new(dir), &mut all);
    }
    println!("cargo:rerun-if-changed=../../Cargo.lock");
    all.sort();
    // FNV-1a with 128 bits: nobody attacks it, it only tells builds apart.
    let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    let mut add = |bytes: &[u8]| {
        for b in bytes {
            hash = (hash ^ u128::from(*b)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    };
    for path in all {
        add(path.to_string_lossy().as_bytes());
        add(&std::fs::read(&path).unwrap_or_default());
    }
    println!(
        "cargo:rustc-env=TURNCOAT_BUILD={}-{hash:032x}",
        env!("CARGO_PKG_VERSION")
    );
}
