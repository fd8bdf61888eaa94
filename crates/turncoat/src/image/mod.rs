//! Building images: from the host's own package manager, from a directory, from a tar archive; and keeping them.
//!
//! A build puts a [`Tree`](turncoat_kernel::image::Tree) together (`apt`, `deb`, `from_dir`, `from_tar`), does what maintainer
//! scripts would have done where they cannot run (`configure` and the modules below it), takes out what would tell of the
//! builder (`neutral`), and writes one file. No program of an image is ever run on the host. Images lie in one directory and
//! are named by their identity; a build writes beside and renames, so that there is never half an image under such a name.

mod apt;
mod archive;
mod configure;
mod deb;
mod dpkg;
mod draft;
mod error;
mod export;
mod from_dir;
mod from_tar;
mod kernel;
mod neutral;
mod shelf;
mod source;

use std::fs::File;
use std::path::PathBuf;

pub(crate) use draft::Draft;
pub use error::BuildError;
pub use export::{Exported, export};
pub use shelf::{Shelf, Shelved};
pub use source::Source;

use turncoat_kernel::image::ImageId;

/// What is being built.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the files come from.
    pub source: Source,
    /// Where images are kept.
    pub shelf: PathBuf,
    /// Where packages and lists are cached between builds.
    pub cache: PathBuf,
}

/// How far a build is.
#[derive(Clone, Debug)]
pub enum Progress<'a> {
    /// A new stage has begun.
    Stage(&'a str),
    /// Items done and in all, bytes done and in all, and the one at hand.
    Step {
        /// Packages or files done.
        done: u64,
        /// Packages or files in all, 0 if that is not known.
        total: u64,
        /// Bytes done.
        bytes: u64,
        /// Bytes in all, 0 if that is not known.
        total_bytes: u64,
        /// What is at hand.
        item: &'a str,
    },
    /// Something that the user should know and that does not end the build.
    Note(&'a str),
}

/// Told how far a build is.
pub type Report<'r> = &'r mut dyn FnMut(Progress<'_>);

/// Builds an image and puts it on the shelf.
pub fn build(options: &Options, report: Report<'_>) -> Result<ImageId, BuildError> {
    let shelf = Shelf::open(&options.shelf)?;
    let draft_file = shelf.draft()?;
    let file = File::options().read(true).write(true).open(draft_file.path())?;
    let mut draft = Draft::new(file);
    source::fill(&mut draft, options, report)?;
    neutral::apply(&mut draft)?;
    report(Progress::Stage("writing the image"));
    let info: Vec<(&str, &str)> = draft.info.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let id = draft.writer.finish(&draft.tree, &info)?;
    draft_file.keep(id)?;
    Ok(id)
}

/// The default image of a shelf; built from the host's packages if there is none yet.
pub fn default_or_build(options: &Options, report: Report<'_>) -> Result<Shelved, BuildError> {
    let shelf = Shelf::open(&options.shelf)?;
    if let Some(image) = shelf.find(None)? {
        return Ok(image);
    }
    build(options, report)?;
    shelf
        .find(None)?
        .ok_or_else(|| BuildError::format("image", "it was built and is gone again"))
}
