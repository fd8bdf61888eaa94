//! The directory that images are kept in: `ID.image`, and `default`, a link to the one that is used when none is named.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use turncoat_kernel::image::{Image, ImageId};

use super::BuildError;

/// A directory of images.
#[derive(Clone, Debug)]
pub struct Shelf {
    dir: PathBuf,
}

/// One image on the shelf.
#[derive(Clone, Debug)]
pub struct Shelved {
    /// Its identity in hexadecimal, as in the file's name.
    pub id: String,
    /// Bytes of the file.
    pub size: u64,
    /// Whether it is the default.
    pub default: bool,
    /// The file.
    pub path: PathBuf,
}

const SUFFIX: &str = ".image";
const DEFAULT: &str = "default";

impl Shelf {
    /// Opens the directory, and makes it (for this user alone) if it is missing.
    pub fn open(dir: &Path) -> Result<Shelf, BuildError> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(BuildError::io(dir.display().to_string()))?;
        Ok(Shelf { dir: dir.to_owned() })
    }

    /// All images, by identity.
    pub fn list(&self) -> Result<Vec<Shelved>, BuildError> {
        let default = fs::read_link(self.dir.join(DEFAULT)).ok();
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(id) = name
                .to_str()
                .and_then(|n| n.strip_suffix(SUFFIX))
                .filter(|id| is_id(id))
            else {
                continue;
            };
            let default = default.as_deref() == Some(Path::new(&name));
            all.push(Shelved {
                id: id.to_owned(),
                size: entry.metadata()?.len(),
                default,
                path: entry.path(),
            });
        }
        all.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(all)
    }

    /// The image whose identity begins so (at least four digits), or the default if nothing is named.
    pub fn find(&self, prefix: Option<&str>) -> Result<Option<Shelved>, BuildError> {
        let all = self.list()?;
        let mut fits = all.into_iter().filter(|s| match prefix {
            Some(p) => p.len() >= 4 && s.id.starts_with(p),
            None => s.default,
        });
        match (fits.next(), fits.next()) {
            (Some(_), Some(_)) => Err(BuildError::format(
                prefix.unwrap_or_default(),
                "more than one image begins so",
            )),
            (one, _) => Ok(one),
        }
    }

    /// Reads and checks every byte of an image, its name included.
    pub fn verify(&self, image: &Shelved, progress: impl FnMut(u64, u64)) -> Result<(), BuildError> {
        let opened =
            Image::open(File::open(&image.path).map_err(BuildError::io(image.path.display().to_string()))?)?;
        if opened.id().to_string() != image.id {
            return Err(BuildError::format(
                &image.id,
                "the file's name is not its identity",
            ));
        }
        Ok(opened.verify(progress)?)
    }

    /// Takes an image away. Worlds that have it open keep it until they end.
    pub fn remove(&self, image: &Shelved) -> Result<(), BuildError> {
        if image.default {
            fs::remove_file(self.dir.join(DEFAULT))?;
        }
        fs::remove_file(&image.path).map_err(BuildError::io(image.path.display().to_string()))
    }

    /// Takes away what builds left behind that were killed.
    fn sweep(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let owner = name
                .to_str()
                .and_then(|n| n.strip_prefix(".draft-").or(n.strip_prefix(".default-")));
            if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// A new file for a build to write.
    pub(super) fn draft(&self) -> Result<DraftFile, BuildError> {
        use std::os::unix::fs::OpenOptionsExt;
        self.sweep();
        let path = self.dir.join(format!(".draft-{}", std::process::id()));
        File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(BuildError::io(path.display().to_string()))?;
        Ok(DraftFile {
            dir: self.dir.clone(),
            path,
            kept: false,
        })
    }
}

fn is_id(s: &str) -> bool {
    s.len() == 64 && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A file that is removed unless it became an image.
pub(super) struct DraftFile {
    dir: PathBuf,
    path: PathBuf,
    kept: bool,
}

impl DraftFile {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the finished file its name and makes it the default.
    pub fn keep(mut self, id: ImageId) -> Result<PathBuf, BuildError> {
        let name = format!("{id}{SUFFIX}");
        let path = self.dir.join(&name);
        fs::rename(&self.path, &path)?;
        self.kept = true;
        let link = self.dir.join(format!(".default-{}", std::process::id()));
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&name, &link)?;
        fs::rename(&link, self.dir.join(DEFAULT))?;
        File::open(&self.dir)?.sync_all()?;
        Ok(path)
    }
}

impl Drop for DraftFile {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}
