//! The mount tables: mounts, mountinfo, mountstats.

use crate::vfs::Vfs;
use crate::vfs::mount::{Mount, ms};
use crate::vfs::types::{Ctx, Name, Path, devnum};

/// Blanks and backslashes as the kernel writes them.
fn mangle(s: &[u8], out: &mut Vec<u8>) {
    for &b in s {
        match b {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => out.extend(format!("\\{b:03o}").bytes()),
            _ => out.push(b),
        }
    }
}

/// Where a mount shows below `root`; `None` if it does not.
fn place(vfs: &Vfs, ctx: &Ctx, root: &Path, m: &Mount) -> Option<Vec<u8>> {
    let at = Path { mnt: m.id, ino: m.root, parent: m.root, name: Name::from([]) };
    let (text, reached, _) = vfs.d_path(ctx, root, &at);
    reached.then_some(text)
}

fn options(m: &Mount) -> String {
    let mut s = String::from(if m.flags & ms::RDONLY != 0 { "ro" } else { "rw" });
    if !m.options.is_empty() {
        s.push(',');
        s.push_str(&m.options);
    }
    s
}

/// /proc/PID/mounts.
pub(super) fn mounts(vfs: &Vfs, ctx: &Ctx, root: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    for m in vfs.mounts().iter() {
        let Some(at) = place(vfs, ctx, root, m) else { continue };
        mangle(m.source.as_bytes(), &mut out);
        out.push(b' ');
        mangle(&at, &mut out);
        let extra = if m.options.is_empty() { String::new() } else { format!(",{}", m.options) };
        out.extend(format!(" {} {}{extra} 0 0\n", m.fstype, m.flag_text()).bytes());
    }
    out
}

/// /proc/PID/mountinfo.
pub(super) fn mountinfo(vfs: &Vfs, ctx: &Ctx, root: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    for m in vfs.mounts().iter() {
        let Some(at) = place(vfs, ctx, root, m) else { continue };
        let (major, minor) = devnum(vfs.dev_of(m));
        let parent = if m.parent == m.id { 1 } else { m.parent.0 };
        out.extend(format!("{} {parent} {major}:{minor} ", m.id.0).bytes());
        mangle(&vfs.inside(ctx, m), &mut out);
        out.push(b' ');
        mangle(&at, &mut out);
        let shared = if m.shared == 0 { String::new() } else { format!(" shared:{}", m.shared) };
        out.extend(format!(" {}{shared} - {} ", m.flag_text(), m.fstype).bytes());
        mangle(m.source.as_bytes(), &mut out);
        out.extend(format!(" {}\n", options(m)).bytes());
    }
    out
}

/// /proc/PID/mountstats.
pub(super) fn mountstats(vfs: &Vfs, ctx: &Ctx, root: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    for m in vfs.mounts().iter() {
        let Some(at) = place(vfs, ctx, root, m) else { continue };
        out.extend_from_slice(b"device ");
        mangle(m.source.as_bytes(), &mut out);
        out.extend_from_slice(b" mounted on ");
        mangle(&at, &mut out);
        out.extend(format!(" with fstype {}\n", m.fstype).bytes());
    }
    out
}
