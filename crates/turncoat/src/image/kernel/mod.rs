//! What a kernel package's script makes when it is installed: module indexes, an initial RAM disk, links to the newest kernel.
//!
//! depmod(8) and update-initramfs(8) would take minutes in a world, so `depmod` and `initrd` do their work here. A tree
//! without a kernel package stays without all of it.

mod depmod;
mod elf;
mod index;
mod initrd;

use sha1::{Digest, Sha1};

use super::deb::hex;
use super::{BuildError, Draft, Progress, Report};
use depmod::Depmod;

/// As Debian's installer writes it.
const KERNEL_IMG_CONF: &str = "# Kernel image management overrides\n# See kernel-img.conf(5) for details\ndo_symlinks = yes\ndo_bootloader = no\ndo_initrd = yes\nlink_in_boot = no\n";

/// The same, where the person who installed asked for drivers of this machine only.
const DRIVER_POLICY: &str = "# Driver inclusion policy selected during installation\n# Note: this setting overrides the value set in the file\n# /etc/initramfs-tools/initramfs.conf\nMODULES=dep\n";

/// Finishes the installation of every kernel in `/boot`.
pub(super) fn install(draft: &mut Draft, report: Report<'_>) -> Result<(), BuildError> {
    let names = draft.names("/boot");
    let mut releases: Vec<String> = names
        .iter()
        .filter_map(|n| n.strip_prefix("vmlinuz-").map(str::to_owned))
        .filter(|r| draft.tree.is_dir(format!("/lib/modules/{r}").as_bytes()))
        .collect();
    releases.sort();
    for release in &releases {
        report(Progress::Stage(&format!("indexing the modules of {release}")));
        let modules = index(draft, release, report)?;
        if draft.tree.exists(b"/usr/share/initramfs-tools/init") {
            disk(draft, release, &modules)?;
        }
    }
    // linux-update-symlinks(1): the newest and the one before, which is the same on a machine with one kernel.
    if let Some(newest) = releases.last() {
        let older = releases.iter().rev().nth(1).unwrap_or(newest);
        for (link, release) in [("", newest), (".old", older)] {
            draft.link(&format!("/vmlinuz{link}"), &format!("boot/vmlinuz-{release}"))?;
            if draft
                .tree
                .exists(format!("/boot/initrd.img-{release}").as_bytes())
            {
                draft.link(
                    &format!("/initrd.img{link}"),
                    &format!("boot/initrd.img-{release}"),
                )?;
            }
        }
        draft.file("/etc/kernel-img.conf", 0o644, KERNEL_IMG_CONF)?;
    }
    Ok(())
}

/// Writes the indexes of depmod(8).
fn index(draft: &mut Draft, release: &str, report: Report<'_>) -> Result<Depmod, BuildError> {
    let base = format!("/lib/modules/{release}");
    let mut modules = Depmod::default();
    let mut paths = Vec::new();
    walk(draft, &base, "kernel", 0, &mut paths);
    for (i, path) in paths.iter().enumerate() {
        let file = draft.read(&format!("{base}/{path}"))?.unwrap_or_default();
        modules.add(path, &file);
        report(Progress::Step {
            done: i as u64 + 1,
            total: paths.len() as u64,
            bytes: 0,
            total_bytes: 0,
            item: path,
        });
    }
    modules.sort(&draft.text(&format!("{base}/modules.order"))?.unwrap_or_default());
    let builtin = draft
        .text(&format!("{base}/modules.builtin"))?
        .unwrap_or_default();
    let modinfo = draft
        .read(&format!("{base}/modules.builtin.modinfo"))?
        .unwrap_or_default();
    for (name, data) in modules.files(&builtin, &modinfo) {
        draft.file(&format!("{base}/{name}"), 0o644, data)?;
    }
    Ok(modules)
}

/// Deeper than any module lies.
const DEPTH: usize = 16;

/// The modules below a directory, as paths relative to `base`.
fn walk(draft: &Draft, base: &str, dir: &str, depth: usize, out: &mut Vec<String>) {
    for name in draft.names(&format!("{base}/{dir}")) {
        let path = format!("{dir}/{name}");
        if name.ends_with(".ko") {
            out.push(path);
        } else if depth < DEPTH && draft.tree.is_dir(format!("{base}/{path}").as_bytes()) {
            walk(draft, base, &path, depth + 1, out);
        }
    }
}

/// Writes the initial RAM disk and what update-initramfs(8) notes of it.
fn disk(draft: &mut Draft, release: &str, modules: &Depmod) -> Result<(), BuildError> {
    if let Some(text) = draft.text("/usr/share/initramfs-tools/modules")? {
        let kept: String = text
            .lines()
            .filter(|l| !l.starts_with("###"))
            .map(|l| format!("{l}\n"))
            .collect();
        draft.file("/etc/initramfs-tools/modules", 0o644, kept)?;
    }
    draft.file("/etc/initramfs-tools/conf.d/driver-policy", 0o644, DRIVER_POLICY)?;
    let path = format!("/boot/initrd.img-{release}");
    let data = initrd::make(draft, release, modules)?;
    let noted = format!("{}  {path}\n", hex(&Sha1::digest(&data)));
    draft.file(&path, 0o644, data)?;
    draft.dir("/var/lib/initramfs-tools", 0o755)?;
    draft.file(&format!("/var/lib/initramfs-tools/{release}"), 0o644, noted)?;
    Ok(())
}

#[cfg(test)]
mod tests;
