//! `/etc/ld.so.cache`, as ldconfig(8) writes it for 64-bit programs (format `glibc-ld.so.cache1.1` of glibc's `dl-cache.h`).

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use turncoat_kernel::image::{Content, NodeId, NodeKind};

use super::{BuildError, Draft, Package};

const MAGIC: &[u8; 20] = b"glibc-ld.so.cache1.1";
/// `FLAG_ELF_LIBC6 | FLAG_X8664_LIB64`.
const FLAGS: u32 = 0x0303;
const EXTENSION_MAGIC: u32 = 0xeaa4_2174;
/// A library's headers and dynamic strings lie within its first bytes; a larger one is read whole.
const PREFIX: usize = 256 << 10;

/// Writes the cache.
pub(super) fn write(draft: &mut Draft, packages: &[Package]) -> Result<(), BuildError> {
    let Some(libc) = packages.iter().find(|p| p.name() == "libc-bin") else {
        return Ok(());
    };
    let mut libraries: BTreeMap<String, String> = BTreeMap::new();
    let mut seen: BTreeSet<NodeId> = BTreeSet::new();
    for dir in directories(draft)? {
        let Ok(id) = draft.tree.find(dir.as_bytes(), true) else {
            continue;
        };
        if !seen.insert(id) {
            continue;
        }
        let names: Vec<String> = draft.names(&dir);
        for name in &names {
            if !(name.starts_with("lib") || name.starts_with("ld-")) || !name.contains(".so") {
                continue;
            }
            let Some(head) = head(draft, &format!("{dir}/{name}"))? else {
                continue;
            };
            let Some(soname) = elf_soname(&head) else { continue };
            let soname = soname.unwrap_or_else(|| name.clone());
            // A link for the linker, `libx.so`, is listed beside the name that programs ask for.
            if name.ends_with(".so") && is_link(draft, &format!("{dir}/{name}")) {
                libraries
                    .entry(name.clone())
                    .or_insert_with(|| format!("{dir}/{name}"));
            }
            if soname == *name || names.contains(&soname) {
                libraries
                    .entry(soname.clone())
                    .or_insert_with(|| format!("{dir}/{soname}"));
            }
        }
    }
    let vendor = draft.text("/etc/os-release")?.unwrap_or_default();
    let vendor = vendor
        .lines()
        .find_map(|l| l.strip_prefix("NAME="))
        .unwrap_or("Debian")
        .trim_matches('"');
    let vendor = vendor.split(' ').next().unwrap_or("Debian").to_owned();
    let version = libc.field("Version").unwrap_or_default();
    let upstream = version.split('-').next().unwrap_or_default();
    let generator = format!("ldconfig ({vendor} GLIBC {version}) stable release version {upstream}");
    draft.file("/etc/ld.so.cache", 0o644, encode(&libraries, &generator))?;
    draft.dir("/var/cache/ldconfig", 0o700)?;
    Ok(())
}

/// The directories of ld.so.conf(5) in order, then the built-in ones.
fn directories(draft: &Draft) -> Result<Vec<String>, BuildError> {
    let mut dirs = Vec::new();
    for line in draft.text("/etc/ld.so.conf")?.unwrap_or_default().lines() {
        let line = line.split('#').next().unwrap_or("").trim();
        match line.strip_prefix("include ") {
            Some(pattern) => {
                let (dir, glob) = pattern.trim().rsplit_once('/').unwrap_or(("", pattern));
                let suffix = glob.trim_start_matches('*');
                for name in draft.names(dir).iter().filter(|n| n.ends_with(suffix)) {
                    let text = draft.text(&format!("{dir}/{name}"))?.unwrap_or_default();
                    let lines = text
                        .lines()
                        .map(|l| l.split('#').next().unwrap_or("").trim().to_owned());
                    dirs.extend(lines.filter(|l| l.starts_with('/')));
                }
            }
            None if line.starts_with('/') => dirs.push(line.to_owned()),
            None => {}
        }
    }
    dirs.extend(["/lib", "/usr/lib", "/lib64", "/usr/lib64"].map(str::to_owned));
    Ok(dirs)
}

fn is_link(draft: &Draft, path: &str) -> bool {
    draft
        .tree
        .find(path.as_bytes(), false)
        .is_ok_and(|id| matches!(draft.tree.kind(id), NodeKind::Symlink(_)))
}

fn head(draft: &Draft, path: &str) -> Result<Option<Vec<u8>>, BuildError> {
    let Ok(id) = draft.tree.find(path.as_bytes(), true) else {
        return Ok(None);
    };
    match draft.tree.kind(id) {
        NodeKind::File(Content::Blob(blob)) => {
            let head = draft.writer.read_prefix(blob, PREFIX)?;
            if head.starts_with(b"\x7fELF") && elf_soname(&head).is_none() {
                return Ok(Some(draft.writer.read(blob)?));
            }
            Ok(Some(head))
        }
        NodeKind::File(Content::Bytes(bytes)) => Ok(Some(bytes.clone())),
        _ => Ok(None),
    }
}

/// The `DT_SONAME` of a 64-bit shared object: `None` if it is not one (or not readable), `Some(None)` if it has no name. elf(5).
fn elf_soname(elf: &[u8]) -> Option<Option<String>> {
    let u16_at = |at: usize| {
        Some(u16::from_le_bytes(
            elf.get(at..at.checked_add(2)?)?.try_into().ok()?,
        ))
    };
    let u32_at = |at: usize| {
        Some(u32::from_le_bytes(
            elf.get(at..at.checked_add(4)?)?.try_into().ok()?,
        ))
    };
    let u64_at = |at: usize| {
        let bytes = elf.get(at..at.checked_add(8)?)?.try_into().ok()?;
        usize::try_from(u64::from_le_bytes(bytes)).ok()
    };
    if elf.get(..6)? != b"\x7fELF\x02\x01" || u16_at(16)? != 3 || u16_at(18)? != 62 {
        return None;
    }
    let (table, size, count) = (u64_at(32)?, usize::from(u16_at(54)?), usize::from(u16_at(56)?));
    let headers: Vec<usize> = (0..count)
        .map(|i| table.checked_add(i * size))
        .collect::<Option<_>>()?;
    let mut loads = Vec::new();
    let mut dynamic = None;
    for at in headers {
        let segment = (
            u64_at(at.checked_add(8)?)?,
            u64_at(at.checked_add(16)?)?,
            u64_at(at.checked_add(32)?)?,
        );
        match u32_at(at)? {
            1 => loads.push(segment),
            2 => dynamic = Some(segment),
            _ => {}
        }
    }
    let (offset, _, len) = dynamic?;
    let (mut strings, mut name) = (None, None);
    for i in 0..len / 16 {
        let at = offset.checked_add(i * 16)?;
        match u64_at(at)? {
            0 => break,
            5 => strings = u64_at(at.checked_add(8)?),
            14 => name = u64_at(at.checked_add(8)?),
            _ => {}
        }
    }
    let Some(name) = name else { return Some(None) };
    let strings = strings?;
    let (offset, address, _) = *loads
        .iter()
        .find(|(_, a, l)| (*a..a.saturating_add(*l)).contains(&strings))?;
    let at = offset
        .checked_add(strings.checked_sub(address)?)?
        .checked_add(name)?;
    let text = elf.get(at..)?;
    let end = text.iter().position(|&b| b == 0)?;
    Some(Some(String::from_utf8(text.get(..end)?.to_vec()).ok()?))
}

/// The order of library names in the cache: numbers by value, digits behind everything else.
fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        match (a.first(), b.first()) {
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let number = |s: &mut &[u8]| {
                    let mut n = 0u64;
                    while let Some((d, rest)) = s.split_first().filter(|(d, _)| d.is_ascii_digit()) {
                        n = n.saturating_mul(10).saturating_add(u64::from(d - b'0'));
                        *s = rest;
                    }
                    n
                };
                match number(&mut a).cmp(&number(&mut b)) {
                    Ordering::Equal => {}
                    other => return other,
                }
            }
            (Some(x), Some(_)) if x.is_ascii_digit() => return Ordering::Greater,
            (Some(_), Some(y)) if y.is_ascii_digit() => return Ordering::Less,
            (Some(x), Some(y)) if x == y => {
                (a, b) = (a.get(1..).unwrap_or_default(), b.get(1..).unwrap_or_default())
            }
            (x, y) => return x.cmp(&y),
        }
    }
}

fn encode(libraries: &BTreeMap<String, String>, generator: &str) -> Vec<u8> {
    let mut entries: Vec<(&String, &String)> = libraries.iter().collect();
    entries.sort_by(|a, b| compare(b.0, a.0));
    // One copy of each string; a name is the tail of its path. They are ordered by their ends, descending, so that tails
    // follow what they are tails of.
    let mut paths: Vec<&String> = entries.iter().map(|(_, path)| *path).collect();
    paths.sort_by(|a, b| b.bytes().rev().cmp(a.bytes().rev()));
    let base = 48 + 24 * entries.len();
    let mut strings = Vec::new();
    let mut places = BTreeMap::new();
    for path in paths {
        places.insert(path.clone(), base + strings.len());
        strings.extend(path.bytes());
        strings.push(0);
    }
    let extension = (base + strings.len()).next_multiple_of(4);
    let mut out = Vec::new();
    let word = |out: &mut Vec<u8>, n: usize| out.extend((n as u32).to_le_bytes());
    out.extend(MAGIC);
    word(&mut out, entries.len());
    word(&mut out, strings.len());
    word(&mut out, 2); // little-endian
    word(&mut out, extension);
    out.extend([0; 12]);
    for (name, path) in &entries {
        let value = places.get(*path).copied().unwrap_or(base);
        word(&mut out, FLAGS as usize);
        word(&mut out, value + path.len() - name.len());
        word(&mut out, value);
        out.extend([0; 12]); // OS version, hardware capabilities
    }
    out.extend(strings);
    out.resize(extension, 0);
    word(&mut out, EXTENSION_MAGIC as usize);
    word(&mut out, 1);
    word(&mut out, 0); // the section that names the generator
    word(&mut out, 0);
    word(&mut out, extension + 24);
    word(&mut out, generator.len());
    out.extend(generator.bytes());
    out
}
