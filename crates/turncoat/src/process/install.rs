//! The data directory as an install: where it is, its secret, and who uses it now.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use turncoat_store::Layout;

/// The data directory: as asked for, or by the XDG rules.
pub fn data_directory(asked: Option<PathBuf>) -> PathBuf {
    if let Some(dir) = asked {
        return dir;
    }
    let base = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|p| p.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".local/share")));
    base.map_or_else(|| PathBuf::from("/var/lib/turncoat"), |b| b.join("turncoat"))
}

/// Writes a private file of the data directory whole: after a crash the old content or the new one is there, never a part.
///
/// # Errors
/// One line for the operator.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), String> {
    let tell = |e: std::io::Error| format!("{}: {e}", path.display());
    let part = path.with_extension("part");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .map_err(tell)?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(tell)?;
    fs::rename(&part, path).map_err(tell)
}

/// The install's secret; made (from the system's entropy) when there is none.
///
/// # Errors
/// One line for the operator.
pub fn seed(layout: &Layout) -> Result<[u8; 32], String> {
    let path = layout.seed();
    let tell = |e: std::io::Error| format!("{}: {e}", path.display());
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse::<turncoat_event::Sha256>() {
            Ok(it) => Ok(it.0),
            Err(_) => Err(format!(
                "{}: expected 64 hexadecimal digits; restore it from a backup, or remove it to become a new install",
                path.display()
            )),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut seed = [0u8; 32];
            File::open("/dev/urandom")
                .and_then(|mut f| f.read_exact(&mut seed))
                .map_err(tell)?;
            let text = format!("{}\n", turncoat_event::Sha256(seed));
            replace(&path, text.as_bytes())?;
            Ok(seed)
        }
        Err(error) => Err(tell(error)),
    }
}

/// Held while a supervisor runs on this data directory.
pub struct Claim(#[allow(dead_code)] File);

/// Claims the data directory for this process.
///
/// # Errors
/// One line for the operator, for example that another is running.
pub fn claim(layout: &Layout) -> Result<Claim, String> {
    let path = layout.run().join("program");
    let tell = |e: std::io::Error| format!("{}: {e}", path.display());
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(tell)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            return Err(format!(
                "Turncoat already runs on {} (process {}); stop it, or use another directory with --data",
                layout.root().display(),
                crate::show::line(pid.trim())
            ));
        }
        Err(TryLockError::Error(error)) => return Err(tell(error)),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(tell)?;
    Ok(Claim(file))
}
