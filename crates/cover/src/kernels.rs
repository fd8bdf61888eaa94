//! Kernels of Debian as published (`data/kernels.tsv`, made by tools/kernels.py), and the one that an image has.

use crate::cover::Image;
use crate::release::Release;
use serde::{Deserialize, Serialize};

/// One kernel package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// `uname -r`: `6.1.0-56-amd64`.
    pub release: String,
    /// Package version: `6.1.192-2`.
    pub package: String,
    /// `uname -v`.
    pub build: String,
    /// Who built it with what, as `/proc/version` says.
    pub compiler: String,
    /// When it was uploaded, seconds since the epoch.
    pub uploaded: i64,
}

impl Kernel {
    /// `uname -v`.
    pub fn version(&self) -> String {
        self.build.clone()
    }

    /// `/proc/version`.
    pub fn proc_version(&self) -> String {
        format!(
            "Linux version {} {} {}\n",
            self.release, self.compiler, self.build
        )
    }
}

/// The kernels of a table: ABI number, package version, date, upload time.
pub(crate) fn table(of: &Release, text: &str) -> Vec<Kernel> {
    let rows = text.lines().filter(|l| !l.starts_with('#'));
    rows.filter_map(|l| {
        let mut f = l.split('\t');
        let (abi, package, date) = (f.next()?, f.next()?, f.next()?);
        Some(Kernel {
            release: of.kernel_release.replace("{abi}", abi),
            package: package.to_string(),
            build: of
                .kernel_build
                .replace("{package}", package)
                .replace("{date}", date),
            compiler: of.kernel_compiler.clone(),
            uploaded: f.next()?.parse().ok()?,
        })
    })
    .collect()
}

/// All known kernels, oldest first.
pub fn all() -> Vec<Kernel> {
    Release::current().kernels()
}

/// The newest kernel that was in the archive for at least a day at `unix`; the oldest known one before that.
pub fn newest_at(unix: i64) -> Kernel {
    let all = all();
    let i = all.iter().rposition(|k| k.uploaded + 86_400 <= unix).unwrap_or(0);
    all[i].clone()
}

/// Where the boot protocol of x86 keeps the offset of the version's text, and from where that counts
/// (Documentation/x86/boot.rst, `kernel_version`).
const VERSION_AT: usize = 0x20e;
const VERSION_FROM: usize = 0x200;

/// The text that a kernel's file has of itself: `6.1.0-56-amd64 (debian-kernel@lists.debian.org) #1 SMP ...`.
fn said(file: &[u8]) -> Option<String> {
    let at = file.get(VERSION_AT..VERSION_AT + 2)?;
    let at = usize::from(u16::from_le_bytes([at[0], at[1]])) + VERSION_FROM;
    let text = file.get(at..)?.split(|&b| b == 0).next()?;
    String::from_utf8(text.get(..text.len().min(300))?.to_vec()).ok()
}

/// The kernel that `image` has installed: the newest one whose file lies in `/boot`. None for an image without a kernel package.
pub fn of(image: &dyn Image) -> Option<Kernel> {
    let release = Release::current();
    let (before, after) = release.kernel_package.split_once("{release}")?;
    let mut found: Vec<Kernel> = image
        .packages()
        .iter()
        .filter_map(|(name, version)| {
            let abi = name.strip_prefix(before)?.strip_suffix(after)?;
            if !abi.starts_with(|c: char| c.is_ascii_digit()) {
                return None;
            }
            let said = said(&image.head(&format!("/boot/vmlinuz-{abi}"), 64 << 10)?)?;
            let build = said.split_once(") ")?.1.trim().to_string();
            // `CONFIG_CC_VERSION_TEXT="gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0"`, `CONFIG_LD_VERSION=24000`.
            let config = image.read(&format!("/boot/config-{abi}")).unwrap_or_default();
            let config = String::from_utf8_lossy(&config);
            let value = |key: &str| {
                let line = config
                    .lines()
                    .find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
                line.map(|v| v.trim_matches('"').to_string())
            };
            let linker = value("CONFIG_LD_VERSION").and_then(|v| v.parse::<u32>().ok());
            let compiler = match (value("CONFIG_CC_VERSION_TEXT"), linker) {
                (Some(cc), Some(ld)) => format!(
                    "(debian-kernel@lists.debian.org) ({cc}, GNU ld (GNU Binutils for Debian) {}.{})",
                    ld / 10_000,
                    ld / 100 % 100
                ),
                _ => release.kernel_compiler.clone(),
            };
            let date = build.rsplit_once('(').and_then(|p| day(p.1));
            let uploaded = all()
                .into_iter()
                .find(|k| k.package == *version)
                .map(|k| k.uploaded);
            Some(Kernel {
                release: abi.to_string(),
                package: version.clone(),
                build,
                compiler,
                uploaded: uploaded.or(date)?,
            })
        })
        .collect();
    found.sort_by_key(|k| k.uploaded);
    found.pop()
}

/// The evening of a day: `2026-11-16)`.
fn day(text: &str) -> Option<i64> {
    let mut f = text.trim_end_matches(')').split('-');
    let (y, m, d) = (
        f.next()?.parse().ok()?,
        f.next()?.parse().ok()?,
        f.next()?.parse().ok()?,
    );
    Some(crate::clock::days_from_civil(y, m, d) * 86_400 + 20 * 3600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_in_order() {
        let all = super::all();
        assert!(all.len() > 30);
        assert!(all.windows(2).all(|w| w[0].uploaded < w[1].uploaded));
        assert_eq!(super::newest_at(all[3].uploaded + 90_000), all[3]);
    }

    /// An image with one kernel.
    struct One;

    impl Image for One {
        fn read(&self, path: &str) -> Option<Vec<u8>> {
            match path {
                "/boot/vmlinuz-6.1.0-99-amd64" => {
                    let mut file = vec![0; 0x400];
                    file[VERSION_AT..VERSION_AT + 2].copy_from_slice(&0x100u16.to_le_bytes());
                    file[0x300..0x362].fill(0);
                    let text = b"6.1.0-99-amd64 (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC Debian 6.1.999-1 (2027-03-04)";
                    file.splice(0x300..0x300 + text.len(), *text);
                    Some(file)
                }
                "/boot/config-6.1.0-99-amd64" => Some(
                    b"CONFIG_CC_VERSION_TEXT=\"gcc-12 (Debian 12.2.0-15) 12.2.0\"\nCONFIG_LD_VERSION=24100\n"
                        .to_vec(),
                ),
                _ => None,
            }
        }
        fn packages(&self) -> Vec<(String, String)> {
            vec![
                ("linux-image-6.1.0-99-amd64".into(), "6.1.999-1".into()),
                ("linux-image-amd64".into(), "6.1.999-1".into()),
            ]
        }
    }

    #[test]
    fn an_image_says_which_kernel_it_has() {
        let k = of(&One).expect("a kernel");
        assert_eq!(
            k.proc_version(),
            "Linux version 6.1.0-99-amd64 (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-15) 12.2.0, GNU ld (GNU Binutils for Debian) 2.41) #1 SMP PREEMPT_DYNAMIC Debian 6.1.999-1 (2027-03-04)\n"
        );
        assert_eq!(k.uploaded, 1_804_190_400);
    }
}
