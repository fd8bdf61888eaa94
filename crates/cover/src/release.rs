//! What belongs to one version of Debian: dates, marks, names and versions (`data/debian-12.toml`). Nothing else in this crate knows
//! which version it is.

use crate::kernels::{self, Kernel};
use serde::Deserialize;

/// The facts of one version of Debian.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// `VERSION_ID`.
    pub number: String,
    /// `VERSION_CODENAME`.
    pub codename: String,
    /// When it was released, seconds since the epoch.
    pub released: i64,
    /// What stands in versions of packages that were changed after the release.
    pub stable_mark: String,
    /// `uname -r` with `{abi}`.
    pub kernel_release: String,
    /// `uname -v` with `{package}` and `{date}`.
    pub kernel_build: String,
    /// Who built the kernels with what, as `/proc/version` says.
    pub kernel_compiler: String,
    /// File of published kernels.
    pub kernels: String,
    /// The metapackage of kernels.
    pub kernel_meta: String,
    /// Name of one kernel's package with `{release}`.
    pub kernel_package: String,
    /// PostgreSQL's version in dumps.
    pub postgresql: String,
}

const DEBIAN_12: &str = include_str!("../data/debian-12.toml");
const KERNELS_12: &str = include_str!("../data/kernels.tsv");

impl Release {
    /// Reads the data of a version.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn parse(text: &str) -> Result<Release, String> {
        let r: Release = toml::from_str(text).map_err(|e| e.to_string().replace('\n', " "))?;
        for (key, text, hole) in [
            ("kernel_release", &r.kernel_release, "{abi}"),
            ("kernel_build", &r.kernel_build, "{package}"),
            ("kernel_package", &r.kernel_package, "{release}"),
        ] {
            if !text.contains(hole) {
                return Err(format!("{key}: {text:?} has no {hole}"));
            }
        }
        Ok(r)
    }

    /// The version that covers are made for.
    pub fn current() -> &'static Release {
        static ONE: std::sync::LazyLock<Release> = std::sync::LazyLock::new(|| {
            Release::parse(DEBIAN_12).expect("data/debian-12.toml: a test reads it")
        });
        &ONE
    }

    /// Its published kernels, oldest first.
    pub fn kernels(&self) -> Vec<Kernel> {
        kernels::table(self, KERNELS_12)
    }

    /// The package of the kernel `release`.
    pub fn kernel_package(&self, release: &str) -> String {
        self.kernel_package.replace("{release}", release)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_12_reads_and_says_what_it_said() {
        let r = Release::current();
        assert_eq!((r.number.as_str(), r.codename.as_str()), ("12", "bookworm"));
        assert!(r.kernels().len() > 30);
    }

    #[test]
    fn another_version_is_data_only() {
        let text = DEBIAN_12
            .replace("\"12\"", "\"14\"")
            .replace("bookworm", "forky")
            .replace("6.1.0-{abi}-amd64", "7.2.{abi}+deb14-amd64")
            .replace("deb12u", "deb14u")
            .replace("gcc-12", "gcc-16");
        let r = Release::parse(&text).expect("a version");
        let all = kernels::table(
            &r,
            "3\t7.2.3-1\t2028-01-02\t1830000000\n4\t7.2.4-1\t2028-02-02\t1832678400\n",
        );
        assert_eq!(all[1].release, "7.2.4+deb14-amd64");
        assert!(
            all[1]
                .proc_version()
                .starts_with("Linux version 7.2.4+deb14-amd64 (debian-kernel@lists.debian.org) (gcc-16")
        );
        assert_eq!(r.kernel_package(&all[0].release), "linux-image-7.2.3+deb14-amd64");
        assert!(
            Release::parse(&text.replace("{abi}", ""))
                .unwrap_err()
                .contains("{abi}")
        );
    }
}
