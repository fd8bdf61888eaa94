//! Unpacks packages into the tree as dpkg would, and remembers what its database has to say of them.
//!
//! Packages are decompressed by one thread for each processor, and enter the tree in one fixed order, so that the image does
//! not depend on which thread was faster.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};

use md5::{Digest, Md5};
use turncoat_kernel::image::{Attr, Content, NodeKind};

use super::archive::{Member, Tar, absolute, ar_members, decompress};
use super::from_tar::place;
use super::{BuildError, Draft, Progress, Report};

/// The largest unpacked package, in bytes.
const DATA_LIMIT: u64 = 3 << 30;

/// One file of a package's control archive.
#[derive(Clone, Debug)]
pub(super) struct ControlFile {
    pub data: Vec<u8>,
    pub perm: u16,
    pub mtime: i64,
}

/// One installed package.
#[derive(Clone, Debug)]
pub(super) struct Package {
    /// The fields of its control file, in their order; folded lines keep their line breaks.
    pub fields: Vec<(String, String)>,
    /// Scripts, `md5sums`, `conffiles`, ...; all but `control` itself.
    pub files: BTreeMap<String, ControlFile>,
    /// What it installed, `/.` first, as its `.list` has it.
    pub list: Vec<Vec<u8>>,
    /// Its configuration files with their MD5.
    pub conffiles: Vec<(String, String)>,
}

impl Package {
    pub fn field(&self, key: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(k, _)| k.eq_ignore_ascii_case(key))
            .map(|(_, v)| v.as_str())
    }

    pub fn name(&self) -> &str {
        self.field("Package").unwrap_or_default()
    }

    /// As its files in `/var/lib/dpkg/info` are called: with the architecture if several can be installed together.
    pub fn info_name(&self) -> String {
        match (self.field("Multi-Arch"), self.field("Architecture")) {
            (Some("same"), Some(arch)) => format!("{}:{arch}", self.name()),
            _ => self.name().to_owned(),
        }
    }

    pub fn script(&self, name: &str) -> Option<String> {
        self.files
            .get(name)
            .map(|f| String::from_utf8_lossy(&f.data).into_owned())
    }
}

/// A package taken apart, its data unpacked but still one archive.
struct Opened {
    package: Package,
    data: Vec<u8>,
}

/// Unpacks all packages; returns them in the order of their names.
pub(super) fn unpack(
    draft: &mut Draft,
    files: &[PathBuf],
    report: Report<'_>,
) -> Result<Vec<Package>, BuildError> {
    report(Progress::Stage("unpacking packages"));
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .clamp(1, 8);
    // base-files makes the directories that everything else goes to.
    let mut order: Vec<&PathBuf> = files.iter().collect();
    let first = |p: &Path| {
        !p.file_name()
            .and_then(|n| n.to_str())
            .is_some_and(|n| n.starts_with("base-files_"))
    };
    order.sort_by_key(|p| (first(p), p.file_name().map(std::ffi::OsStr::to_owned)));
    std::thread::scope(|scope| {
        let channels: Vec<Receiver<Result<Opened, BuildError>>> = (0..threads)
            .map(|t| {
                let (sender, receiver) = sync_channel(2);
                let mine: Vec<&PathBuf> = order.iter().skip(t).step_by(threads).copied().collect();
                scope.spawn(move || {
                    for path in mine {
                        if sender.send(open(path)).is_err() {
                            break;
                        }
                    }
                });
                receiver
            })
            .collect();
        let mut packages = Vec::with_capacity(order.len());
        let mut bytes = 0;
        for (i, receiver) in channels.iter().cycle().take(order.len()).enumerate() {
            let opened = receiver
                .recv()
                .map_err(|_| BuildError::format("package", "a thread that unpacks has stopped"))??;
            bytes += opened.data.len() as u64;
            let package = install(draft, opened)?;
            report(Progress::Step {
                done: i as u64 + 1,
                total: order.len() as u64,
                bytes,
                total_bytes: 0,
                item: package.name(),
            });
            packages.push(package);
        }
        packages.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(packages)
    })
}

fn open(path: &Path) -> Result<Opened, BuildError> {
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let whole = std::fs::read(path).map_err(BuildError::io(path.display().to_string()))?;
    let members = ar_members(&whole).map_err(BuildError::io(name.clone()))?;
    let member = |prefix: &str| {
        let found = members.iter().find(|(n, _)| n.starts_with(prefix));
        found
            .map(|(_, data)| *data)
            .ok_or_else(|| BuildError::format(&name, format!("no {prefix}* in the package")))
    };
    let package = control(member("control.tar")?).map_err(BuildError::io(name.clone()))?;
    if package.name().is_empty() {
        return Err(BuildError::format(&name, "no package name"));
    }
    let mut data = Vec::new();
    decompress(member("data.tar")?)
        .and_then(|r| r.take(DATA_LIMIT).read_to_end(&mut data))
        .map_err(BuildError::io(name.clone()))?;
    Ok(Opened { package, data })
}

fn control(archive: &[u8]) -> std::io::Result<Package> {
    let mut package = Package {
        fields: Vec::new(),
        files: BTreeMap::new(),
        list: Vec::new(),
        conffiles: Vec::new(),
    };
    let mut tar = Tar::new(decompress(archive)?);
    while let Some(entry) = tar.next()? {
        if entry.member != Member::File {
            continue;
        }
        let mut data = Vec::new();
        (&mut tar).take(16 << 20).read_to_end(&mut data)?;
        let path = entry.path();
        let name = String::from_utf8_lossy(path.get(1..).unwrap_or_default()).into_owned();
        if name == "control" {
            package.fields = parse_fields(&String::from_utf8_lossy(&data));
        } else if !name.contains('/') {
            package.files.insert(
                name,
                ControlFile {
                    data,
                    perm: entry.perm,
                    mtime: entry.mtime,
                },
            );
        }
    }
    Ok(package)
}

/// One stanza of deb822(5).
pub(super) fn parse_fields(text: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((key, value)) = line.split_once(':') {
            fields.push((key.to_owned(), value.trim_start().to_owned()));
        }
    }
    fields
}

fn install(draft: &mut Draft, opened: Opened) -> Result<Package, BuildError> {
    let Opened { mut package, data } = opened;
    let name = package.name().to_owned();
    let conffiles: Vec<String> = package
        .script("conffiles")
        .unwrap_or_default()
        .lines()
        .map(|l| l.trim().to_owned())
        .collect();
    let mut sums: BTreeMap<String, String> = BTreeMap::new();
    let mut tar = Tar::new(data.as_slice());
    while let Some(entry) = tar.next().map_err(BuildError::io(name.clone()))? {
        let path = entry.path();
        package.list.push(if path == b"/" {
            b"/.".to_vec()
        } else {
            path.clone()
        });
        draft.stamp = draft.stamp.max(entry.mtime);
        if entry.member == Member::Dir {
            // A directory that is there keeps its owner and permissions; a link to a directory stays a link.
            if path != b"/" && draft.tree.is_dir(&path) {
                continue;
            }
            place(draft, &entry, &path, None)?;
            continue;
        }
        let mut entry = entry;
        if let Member::Link(target) = &entry.member {
            entry.member = Member::Link(draft.diverted(&name, &absolute(target)));
        }
        let to = draft.diverted(&name, &path);
        let content = if entry.member == Member::File {
            let mut bytes = Vec::new();
            tar.read_to_end(&mut bytes)
                .map_err(BuildError::io(name.clone()))?;
            let text = String::from_utf8_lossy(&path).into_owned();
            if conffiles.contains(&text) {
                sums.insert(text, hex(&Md5::digest(&bytes)));
            }
            Some(Content::Blob(draft.writer.add(bytes.as_slice())?))
        } else {
            None
        };
        place(draft, &entry, &to, content)?;
    }
    package.conffiles = conffiles
        .into_iter()
        .filter_map(|c| sums.get(&c).map(|s| (c.clone(), s.clone())))
        .collect();
    Ok(package)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What a directory has that merges `/bin`, `/lib` and `/sbin` into `/usr`, as every system of today does; before anything else.
pub(super) fn merged_usr(draft: &mut Draft) -> Result<(), BuildError> {
    let attr = Attr::root(0o755, 0);
    for (link, target) in [
        ("/bin", "usr/bin"),
        ("/sbin", "usr/sbin"),
        ("/lib", "usr/lib"),
        ("/lib64", "usr/lib64"),
    ] {
        draft.tree.mkdir_all(format!("/{target}").as_bytes(), attr)?;
        draft.tree.put(
            link.as_bytes(),
            Attr::root(0o777, 0),
            NodeKind::Symlink(target.into()),
        )?;
    }
    Ok(())
}
