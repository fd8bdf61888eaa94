//! Where the files of an image come from.

use std::path::PathBuf;
use std::str::FromStr;

use super::{BuildError, Draft, Options, Report, from_dir};

/// Where the files of an image come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A root file system in a directory, as debootstrap makes.
    Dir(PathBuf),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(s: &str) -> Result<Source, String> {
        match s.split_once(':') {
            Some(("dir", path)) if !path.is_empty() => Ok(Source::Dir(path.into())),
            _ => Err(format!("{s:?}: expected dir:PATH")),
        }
    }
}

/// Puts the files of the source into the draft.
pub(super) fn fill(draft: &mut Draft, options: &Options, report: Report<'_>) -> Result<(), BuildError> {
    match &options.source {
        Source::Dir(path) => from_dir::fill(draft, path, report),
    }
}
