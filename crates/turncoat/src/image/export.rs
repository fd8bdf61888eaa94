//! Unpacks an image into a directory of the host: to look at it, and to compare programs in a world with the same natively.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use turncoat_kernel::image::{Image, Ino, InodeMeta, Kind};

use super::{BuildError, Shelved};

/// What an export did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Files, directories and links made.
    pub files: u64,
    /// Whether owners, device nodes and attributes could be set; only root can.
    pub owners: bool,
}

/// Unpacks an image into a directory that must not exist yet.
pub fn export(image: &Shelved, to: &Path) -> Result<Exported, BuildError> {
    let image =
        Image::open(File::open(&image.path).map_err(BuildError::io(image.path.display().to_string()))?)?;
    fs::create_dir(to).map_err(BuildError::io(to.display().to_string()))?;
    let owners = rustix::process::geteuid().is_root();
    let mut job = Job {
        image: &image,
        done: Exported { files: 0, owners },
        links: HashMap::new(),
    };
    job.dir(Ino::ROOT, to)?;
    Ok(job.done)
}

struct Job<'a> {
    image: &'a Image,
    done: Exported,
    links: HashMap<Ino, PathBuf>,
}

impl Job<'_> {
    fn dir(&mut self, dir: Ino, host: &Path) -> Result<(), BuildError> {
        for entry in self.image.readdir(dir)? {
            // Names in an image have no slash and are not `..`, so this stays below `host`.
            let at = host.join(OsStr::from_bytes(entry.name));
            self.node(entry.ino, &at).map_err(|e| match e {
                BuildError::Io { what, error } if what == "image" => BuildError::Io {
                    what: at.display().to_string(),
                    error,
                },
                other => other,
            })?;
        }
        self.attributes(dir, self.image.inode(dir)?, host)
    }

    fn node(&mut self, ino: Ino, host: &Path) -> Result<(), BuildError> {
        let meta = self.image.inode(ino)?;
        self.done.files += 1;
        if meta.kind != Kind::Dir && meta.nlink > 1 {
            if let Some(first) = self.links.get(&ino) {
                return Ok(fs::hard_link(first, host)?);
            }
            self.links.insert(ino, host.to_owned());
        }
        match meta.kind {
            Kind::Dir => {
                fs::create_dir(host)?;
                return self.dir(ino, host);
            }
            Kind::File => self.file(ino, meta.size, host)?,
            Kind::Symlink => std::os::unix::fs::symlink(OsStr::from_bytes(self.image.readlink(ino)?), host)?,
            Kind::Fifo | Kind::Socket | Kind::Char | Kind::Block => {
                let kind = match meta.kind {
                    Kind::Char => FileType::CharacterDevice,
                    Kind::Block => FileType::BlockDevice,
                    Kind::Socket => FileType::Socket,
                    _ => FileType::Fifo,
                };
                if !self.done.owners && kind != FileType::Fifo {
                    return Ok(());
                }
                let device = rustix::fs::makedev(meta.rdev.0, meta.rdev.1);
                rustix::fs::mknodat(CWD, host, kind, Mode::from_raw_mode(u32::from(meta.perm)), device)
                    .map_err(std::io::Error::from)?;
            }
        }
        self.attributes(ino, meta, host)
    }

    fn file(&mut self, ino: Ino, size: u64, host: &Path) -> Result<(), BuildError> {
        let mut out = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(host)?;
        let mut buf = vec![0; 1 << 20];
        let mut at = 0;
        while at < size {
            let n = self.image.read(ino, at, &mut buf)?;
            out.write_all(buf.get(..n).unwrap_or_default())?;
            at += n.max(1) as u64;
        }
        Ok(())
    }

    fn attributes(&mut self, ino: Ino, meta: &InodeMeta, host: &Path) -> Result<(), BuildError> {
        let link = meta.kind == Kind::Symlink;
        if self.done.owners {
            rustix::fs::chownat(
                CWD,
                host,
                Some(Uid::from_raw(meta.uid)),
                Some(Gid::from_raw(meta.gid)),
                AtFlags::SYMLINK_NOFOLLOW,
            )
            .map_err(std::io::Error::from)?;
        }
        if !link {
            // Without owners, a set-user-id bit would be the wrong user's.
            let perm = if self.done.owners {
                meta.perm
            } else {
                meta.perm & 0o777
            };
            fs::set_permissions(host, fs::Permissions::from_mode(u32::from(perm)))?;
        }
        if self.done.owners {
            for (name, value) in self.image.xattrs(ino)? {
                rustix::fs::lsetxattr(host, name, value, XattrFlags::empty())
                    .map_err(std::io::Error::from)?;
            }
        }
        let time = Timespec {
            tv_sec: meta.mtime,
            tv_nsec: i64::from(meta.mtime_nsec),
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        rustix::fs::utimensat(CWD, host, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(std::io::Error::from)?;
        Ok(())
    }
}
