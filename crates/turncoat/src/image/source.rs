//! Where the files of an image come from.

use std::path::PathBuf;
use std::str::FromStr;

use super::{
    BuildError, Draft, Options, Progress, Report, apt, configure, deb, dpkg, from_dir, from_tar, neutral,
};

/// Where the files of an image come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The host's own package manager: these packages and all they depend on. `+NAME`
    /// adds to the default set, which stands alone if nothing is named.
    Apt(Vec<String>),
    /// Package files in a directory, all of them: for hosts that cannot ask for packages themselves.
    Packages(PathBuf),
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
            Some(("debs", path)) if !path.is_empty() => Ok(Source::Packages(path.into())),
            _ => Err(format!("{s:?}: expected dir:PATH, tar:PATH or debs:PATH")),
        }
    }
}

/// Puts the files of the source into the draft.
pub(super) fn fill(draft: &mut Draft, options: &Options, report: Report<'_>) -> Result<(), BuildError> {
    match &options.source {
        Source::Apt(packages) => {
            let packages = apt::wanted(packages);
            let files = apt::fetch(&options.cache, &packages, report)?;
            from_packages(draft, &files, report)
        }
        Source::Packages(dir) => {
            let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
                .and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect())
                .map_err(BuildError::io(dir.display().to_string()))?;
            files.retain(|p| p.extension().is_some_and(|e| e == "deb"));
            from_packages(draft, &files, report)
        }
        Source::Tar(path) => {
            from_tar::fill(draft, path, report)?;
            neutral::sources(draft, report)
        }
        Source::Dir(path) => {
            from_dir::fill(draft, path, report)?;
            neutral::sources(draft, report)
        }
    }
}

fn from_packages(draft: &mut Draft, files: &[PathBuf], report: Report<'_>) -> Result<(), BuildError> {
    deb::merged_usr(draft)?;
    let packages = deb::unpack(draft, files, report)?;
    report(Progress::Stage("configuring"));
    configure::apply(draft, &packages, report)?;
    dpkg::write(draft, &packages)?;
    draft.info.push(("source", "packages".into()));
    Ok(())
}
