//! What a cover costs: `cargo bench -p turncoat --bench cover [-- IMAGE]`, over the image that the tests share or the one named.
//!
//! For each role: milliseconds and bytes of all files above the image (mean and most of ten installs), the journal apart. What is made
//! once for an install and kept in its `cover.json`, host keys and password fields, is apart, too; the fields are shown by themselves.

use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use turncoat_cover::{Cover, Given, Kind, Seed, Wishes, role};
use turncoat_decoys::boot::Below;
use turncoat_kernel::image::Image;

fn main() {
    let named = std::env::args().skip(1).find(|a| !a.starts_with("--"));
    let path = named.map_or_else(
        || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("turncoat-shared/images/default"),
        PathBuf::from,
    );
    let Ok(file) = std::fs::File::open(&path) else {
        eprintln!("no image at {}: run the tests once, or name one", path.display());
        return;
    };
    let image = Image::open(file).expect("an image");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock")
        .as_secs() as i64;
    let kernel = turncoat::machine::kernel(&image);
    for role in role::names() {
        let (mut times, mut sizes, mut fields) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..10u8 {
            let given = Given {
                made: now - 3 * 86_400,
                wishes: Wishes {
                    role: Some(role.into()),
                    ..Wishes::default()
                },
                kernel: kernel.clone(),
                ..Given::default()
            };
            let mut kept = Cover::new(Seed([n; 32]), &given).expect("a cover");
            let begun = Instant::now();
            kept.user_hashes = kept.password_fields();
            fields.push(begun.elapsed().as_secs_f64() * 1e3);
            let begun = Instant::now();
            let mut cover = Cover::new(Seed([n; 32]), &given).expect("a cover");
            cover.user_hashes = kept.user_hashes;
            let files = cover.files_at(&Below(&image), now);
            let bytes = |k: &Kind| match k {
                Kind::Regular(content) => content.bytes().len(),
                _ => 0,
            };
            sizes.push(files.iter().map(|f| bytes(&f.kind)).sum::<usize>());
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len() as f64;
        let most = |all: &[f64]| all.iter().copied().fold(0.0, f64::max);
        println!(
            "{role:<8} {:6.0} ms, most {:6.0} ms, most {:.1} MB; once: password fields {:6.0} ms, most {:6.0} ms",
            mean(&times),
            most(&times),
            sizes.iter().max().copied().unwrap_or(0) as f64 / 1e6,
            mean(&fields),
            most(&fields)
        );
    }
}
