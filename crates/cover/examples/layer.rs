//! Writes a cover's layer into a directory, above an image that was exported into another: `layer IMAGE OUT ROLE NUMBER`.
//! Prints how long the cover took and how large it is.

use std::path::{Path, PathBuf};
use turncoat_cover::{Cover, Given, Image, Kind, Seed, Wishes};

struct Dir(PathBuf);

impl Image for Dir {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        std::fs::read(self.0.join(path.trim_start_matches('/'))).ok()
    }
    fn list(&self, dir: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.join(dir.trim_start_matches('/')));
        let names = entries.into_iter().flatten().flatten().map(|e| e.file_name());
        names.filter_map(|n| n.into_string().ok()).collect()
    }
    fn packages(&self) -> Vec<(String, String)> {
        let status = self.read("/var/lib/dpkg/status").unwrap_or_default();
        let mut name = String::new();
        let mut out = Vec::new();
        for line in String::from_utf8_lossy(&status).lines() {
            if let Some(n) = line.strip_prefix("Package: ") {
                name = n.into();
            } else if let Some(v) = line.strip_prefix("Version: ") {
                out.push((name.clone(), v.into()));
            }
        }
        out
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, image, to, role, number] = &args[..] else {
        return Err("usage: layer IMAGE OUT ROLE NUMBER".into());
    };
    let image = Dir(image.into());
    let given = Given {
        made: 1_795_400_000,
        receiving: Default::default(),
        wishes: Wishes {
            role: Some(role.clone()),
            ..Default::default()
        },
        kernel: turncoat_cover::kernels::of(&image),
    };
    let begin = std::time::Instant::now();
    let cover = Cover::new(Seed([number.parse()?; 32]), &given)?;
    let files = cover.files(&image);
    let took = begin.elapsed();
    let mut bytes = 0;
    for f in &files {
        let at = Path::new(to).join(f.path.trim_start_matches('/'));
        if let Some(p) = at.parent() {
            std::fs::create_dir_all(p)?;
        }
        match &f.kind {
            Kind::Directory => std::fs::create_dir_all(&at)?,
            Kind::Symlink(t) => {
                let _ = std::os::unix::fs::symlink(t, &at);
            }
            Kind::Regular(content) => {
                let b = content.bytes();
                bytes += b.len();
                std::fs::write(&at, &b)?;
            }
        }
    }
    println!(
        "{} {}: {} files, {bytes} bytes, {took:?}",
        cover.role,
        cover.host.fqdn(),
        files.len()
    );
    for b in cover.baits() {
        println!("{b:?}");
    }
    Ok(())
}
