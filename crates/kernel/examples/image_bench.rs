//! Measures an image: `cargo run --release --example image_bench FILE`: opening, lookups, cold and warm pages.

use std::fs::File;
use std::time::Instant;

use turncoat_kernel::image::{Image, Ino, Kind, PAGE};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: image_bench FILE")?;
    let t = Instant::now();
    let image = Image::open(File::open(&path)?)?;
    println!(
        "open: {:?}, {} inodes, resident {} KiB",
        t.elapsed(),
        image.inode_count(),
        resident()
    );
    let t = Instant::now();
    for _ in 0..10_000 {
        std::hint::black_box(image.resolve(b"/usr/lib/x86_64-linux-gnu/libc.so.6")?);
    }
    println!("path look-up: {:?}", t.elapsed() / 10_000);
    for round in ["cold", "warm"] {
        let t = Instant::now();
        let mut pages = 0u32;
        for path in [
            "/usr/bin/bash",
            "/usr/lib/x86_64-linux-gnu/libc.so.6",
            "/usr/lib/x86_64-linux-gnu/libtinfo.so.6",
        ] {
            let Some(ino) = image.resolve(path.as_bytes())? else {
                continue;
            };
            for index in 0..image.inode(ino)?.size.div_ceil(PAGE as u64) {
                std::hint::black_box(image.page(ino, index)?);
                pages += 1;
            }
        }
        println!(
            "{round}: {pages} pages of bash and its libraries in {:?}",
            t.elapsed()
        );
    }
    let t = Instant::now();
    let (mut pages, mut files) = (0u64, 0u64);
    for number in 1..=image.inode_count() {
        let ino = Ino::new(number);
        let meta = image.inode(ino)?;
        if meta.kind == Kind::File {
            files += 1;
            for index in 0..meta.size.div_ceil(PAGE as u64) {
                std::hint::black_box(image.page(ino, index)?);
                pages += 1;
            }
        }
    }
    let took = t.elapsed();
    println!(
        "everything: {files} files, {pages} pages in {took:?} ({:.0} MB/s)",
        pages as f64 * PAGE as f64 / 1e6 / took.as_secs_f64()
    );
    println!("{:?}, resident {} KiB", image.cache_stats(), resident());
    Ok(())
}

/// `VmRSS` of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .unwrap_or_default();
    line.split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}
