//! From what the cover knows of packages and habits to times of the image's inodes.

use std::collections::HashMap;
use turncoat_cover::past::stamps::{Stamps as Told, Unpacked};
use turncoat_kernel::image::{Image, Ino, Kind};
use turncoat_kernel::vfs::stamps::{Stamp, Stamps};

/// dpkg's files about its state, which each run writes anew.
const STATE: &[&str] = &["/var/lib/dpkg/status"];
/// What it writes to without making it anew: its lock, and the directories in which files come and go.
const CHANGED: &[&str] = &[
    "/var/lib/dpkg/lock",
    "/var/lib/dpkg/info",
    "/var/lib/dpkg/updates",
];

/// Finds paths of package lists in the image; each directory is looked up once.
struct Finder<'a> {
    image: &'a Image,
    dirs: HashMap<Vec<u8>, Option<Ino>>,
}

impl Finder<'_> {
    /// The directory of a path and what the path itself names, links not followed.
    fn find(&mut self, path: &[u8]) -> Option<(Ino, Ino)> {
        let cut = path.iter().rposition(|b| *b == b'/')?;
        let (dir, name) = (path.get(..cut)?, path.get(cut + 1..)?);
        let image = self.image;
        let dir = match self.dirs.get(dir) {
            Some(known) => (*known)?,
            None => {
                let found = image
                    .resolve(if dir.is_empty() { b"/" } else { dir })
                    .ok()
                    .flatten();
                self.dirs.insert(dir.to_vec(), found);
                found?
            }
        };
        Some((dir, image.lookup(dir, name).ok()??))
    }

    fn read(&mut self, path: &str) -> Option<(Ino, Vec<u8>)> {
        let (_, ino) = self.find(path.as_bytes())?;
        Some((ino, self.image.read_all(ino, 8 << 20).ok()?))
    }
}

/// The times of the image's inodes on a machine of which `told` is known.
pub(super) fn of(image: &Image, told: &Told) -> Stamps {
    let mut finder = Finder {
        image,
        dirs: HashMap::new(),
    };
    let mut known: HashMap<u32, Stamp> = HashMap::new();
    let is_dir = |ino: Ino| image.inode(ino).is_ok_and(|m| m.kind == Kind::Dir);
    for Unpacked {
        list,
        first,
        last: at,
    } in &told.unpacked
    {
        let Some((ino, files)) = finder.read(list) else {
            continue;
        };
        // dpkg writes the list when it unpacks; the other files about the package come with it.
        let own = known.entry(ino.number()).or_default();
        (own.placed, own.written) = (Some(*at), Some(*at));
        let stem = list.strip_suffix("list").unwrap_or(list);
        let about = [
            "md5sums",
            "conffiles",
            "preinst",
            "postinst",
            "prerm",
            "postrm",
            "triggers",
            "shlibs",
            "symbols",
        ];
        let about = about.iter().map(|kind| format!("{stem}{kind}").into_bytes());
        let files = files.split(|b| *b == b'\n').map(<[u8]>::to_vec);
        for path in files.chain(about) {
            let Some((dir, ino)) = finder.find(&path) else {
                continue;
            };
            if is_dir(ino) {
                let d = known.entry(ino.number()).or_default();
                d.placed = Some(d.placed.map_or(*first, |p| p.min(*first)));
            } else {
                known.entry(ino.number()).or_default().placed = Some(*at);
                // What comes into a directory changes it.
                known.entry(dir.number()).or_default().written = Some(*at);
            }
        }
    }
    let state = STATE.iter().map(|path| (*path, told.state));
    for (path, at) in told.written.iter().map(|(p, at)| (p.as_str(), *at)).chain(state) {
        if let Some((dir, ino)) = finder.find(path.as_bytes()) {
            let s = known.entry(ino.number()).or_default();
            (s.placed, s.written) = (Some(at), Some(at));
            let d = known.entry(dir.number()).or_default();
            d.written = d.written.max(Some(at));
        }
    }
    for (_, ino) in CHANGED.iter().filter_map(|path| finder.find(path.as_bytes())) {
        known.entry(ino.number()).or_default().written = Some(told.state);
    }
    for (path, at) in &told.read {
        if let Some((_, ino)) = finder.find(path.as_bytes()) {
            known.entry(ino.number()).or_default().read = Some(*at);
        }
    }
    let builder = finder
        .find(b"/var/lib/dpkg/status")
        .and_then(|(_, ino)| image.inode(ino).ok())
        .map(|m| m.mtime);
    Stamps {
        known,
        placed: told.based,
        builder,
    }
}
