//! What can be wrong with an image, or with a question about one.

use super::Ino;

/// Why an image could not be opened, read or written.
#[derive(Debug)]
pub enum ImageError {
    /// The host could not read or write the file.
    Io(std::io::Error),
    /// The file does not begin as an image does.
    NotAnImage,
    /// The file is an image of another format version.
    Version {
        /// The version it states.
        found: u32,
    },
    /// The file ends before something that it says it has.
    Truncated {
        /// What is missing.
        what: &'static str,
    },
    /// A number in the file makes no sense.
    Corrupt(&'static str),
    /// The bytes are not those that were written.
    Hash {
        /// `tables` or `chunk`.
        what: &'static str,
        /// Which one.
        index: u64,
    },
    /// Something is larger than is allowed.
    TooLarge {
        /// What it is.
        what: &'static str,
        /// How large it may be.
        limit: u64,
    },
    /// There is no inode of this number.
    NoInode(Ino),
    /// The inode is of another kind than the question wants.
    WrongKind {
        /// The inode.
        ino: Ino,
        /// What was wanted.
        wanted: &'static str,
    },
    /// More symbolic links than a lookup follows.
    LinkLoop,
}

impl std::fmt::Display for ImageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ImageError::Io(e) => write!(f, "image file: {e}"),
            ImageError::NotAnImage => f.write_str("not an image file"),
            ImageError::Version { found } => {
                write!(
                    f,
                    "image format version {found}, this program reads version {}: build the image anew (`turncoat image build`)",
                    super::VERSION
                )
            }
            ImageError::Truncated { what } => write!(f, "image file is cut off: {what} is missing"),
            ImageError::Corrupt(what) => write!(f, "image file is damaged: {what}"),
            ImageError::Hash { what, index } => {
                write!(f, "image file is damaged: hash of {what} {index} differs")
            }
            ImageError::TooLarge { what, limit } => write!(f, "{what} is larger than {limit}"),
            ImageError::NoInode(ino) => write!(f, "no inode {}", ino.number()),
            ImageError::WrongKind { ino, wanted } => write!(f, "inode {} is not a {wanted}", ino.number()),
            ImageError::LinkLoop => f.write_str("too many symbolic links"),
        }
    }
}

impl std::error::Error for ImageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ImageError::Io(e) => Some(e),
            _ => None,
        }
    }
}

impl From<std::io::Error> for ImageError {
    fn from(e: std::io::Error) -> Self {
        ImageError::Io(e)
    }
}
