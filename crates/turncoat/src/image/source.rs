//! Where the files of an image come from.

use std::path::PathBuf;
use std::str::FromStr;

use super::{BuildError, Draft, Options, Progress, Report, apt, configure, deb, dpkg, from_dir, from_tar};

/// Where the files of an image come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The host's own package manager: these packages and all they depend on; the default set if there are none.
    Apt(Vec<String>),
    /// A root file system in a directory, as debootstrap makes.
    Dir(PathBuf),
    /// The same in a tar archive, perhaps compressed, as `docker export` makes.
    Tar(PathBuf),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(s: &str) -> Result<Source, String> {
        match s.split_once(':') {
            Some(("dir", path)) if !path.is_empty() => Ok(Source::Dir(path.into())),
            Some(("tar", path)) if !path.is_empty() => Ok(Source::Tar(path.into())),
            _ => Err(format!("{s:?}: expected dir:PATH or tar:PATH")),
        }
    }
}

/// Puts the files of the source into the draft.
pub(super) fn fill(draft: &mut Draft, options: &Options, report: Report<'_>) -> Result<(), BuildError> {
    match &options.source {
        Source::Apt(packages) => {
            let packages = if packages.is_empty() {
                apt::default_packages()
            } else {
                packages.clone()
            };
            let files = apt::fetch(&options.cache, &packages, report)?;
            deb::merged_usr(draft)?;
            let packages = deb::unpack(draft, &files, report)?;
            report(Progress::Stage("configuring"));
            configure::apply(draft, &packages, report)?;
            dpkg::write(draft, &packages)?;
            draft.info.push(("source", "packages".into()));
            Ok(())
        }
        Source::Tar(path) => from_tar::fill(draft, path, report),
        Source::Dir(path) => from_dir::fill(draft, path, report),
    }
}
