//! Why an image was not built.

use turncoat_kernel::image::{ImageError, TreeError};

/// Why an image was not built.
#[derive(Debug)]
pub enum BuildError {
    /// The host could not read or write something.
    Io {
        /// What was being done, with the path.
        what: String,
        /// What the host said.
        error: std::io::Error,
    },
    /// The image file.
    Image(ImageError),
    /// A path in a package or archive that cannot be.
    Tree(TreeError),
    /// A package or archive that is not what it should be.
    Format {
        /// Its name.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// The host's package manager did not do what was asked.
    Apt(String),
    /// This host has no package manager that can be asked.
    NoApt,
}

impl BuildError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> BuildError {
        let what = what.into();
        move |error| BuildError::Io { what, error }
    }

    pub(crate) fn format(name: impl Into<String>, what: impl Into<String>) -> BuildError {
        BuildError::Format {
            name: name.into(),
            what: what.into(),
        }
    }
}

impl std::fmt::Display for BuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BuildError::Io { what, error } => write!(f, "{what}: {error}"),
            BuildError::Image(e) => e.fmt(f),
            BuildError::Tree(e) => e.fmt(f),
            BuildError::Format { name, what } => write!(f, "{name}: {what}"),
            BuildError::Apt(what) => write!(f, "apt-get: {what}"),
            BuildError::NoApt => f.write_str(
                "this host has no apt-get; build from a tree instead: --from dir:PATH (debootstrap) or --from tar:PATH (docker export)",
            ),
        }
    }
}

impl std::error::Error for BuildError {}

impl From<ImageError> for BuildError {
    fn from(e: ImageError) -> Self {
        BuildError::Image(e)
    }
}

impl From<TreeError> for BuildError {
    fn from(e: TreeError) -> Self {
        BuildError::Tree(e)
    }
}

impl From<std::io::Error> for BuildError {
    fn from(error: std::io::Error) -> Self {
        BuildError::Io {
            what: "image".into(),
            error,
        }
    }
}
