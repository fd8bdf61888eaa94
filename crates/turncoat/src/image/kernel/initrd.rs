//! The initial RAM disk, as mkinitramfs(8) puts it together with `MODULES=dep`: real files of the tree in a cpio archive.

use std::collections::BTreeMap;
use std::io::Write;

use turncoat_kernel::image::NodeKind;

use super::depmod::Depmod;
use super::elf::libraries;
use super::{BuildError, Draft};

/// What a virtual machine needs to find its root: buses, disks, network cards, keyboards, the file system.
const MODULES: &[&str] = &[
    "ext4",
    "crc32c_intel",
    "crc32c_generic",
    "virtio_pci",
    "virtio_blk",
    "virtio_scsi",
    "virtio_net",
    "vmw_pvscsi",
    "vmxnet3",
    "sd_mod",
    "sr_mod",
    "ahci",
    "ata_piix",
    "ata_generic",
    "uhci_hcd",
    "ehci_pci",
    "xhci_pci",
    "usbhid",
    "hid_generic",
    "psmouse",
    "i2c_piix4",
    "evdev",
    "button",
    "fan",
    "thermal",
];

/// Programs that the hooks of initramfs-tools, klibc-utils, kmod, busybox and udev copy, with the libraries that they name.
const PROGRAMS: &[&str] = &[
    "/usr/bin/busybox",
    "/usr/bin/kmod",
    "/usr/bin/udevadm",
    "/usr/lib/systemd/systemd-udevd",
    "/usr/sbin/blkid",
    "/usr/sbin/dumpe2fs",
    "/usr/sbin/fsck",
    "/usr/sbin/fsck.ext4",
    "/usr/sbin/logsave",
    "/usr/sbin/dmsetup",
    "/usr/lib/udev/ata_id",
    "/usr/lib/udev/scsi_id",
];

/// Directories whose files are copied as they are.
const COPIED: &[(&str, &str)] = &[
    ("/usr/share/initramfs-tools/scripts", "scripts"),
    ("/etc/modprobe.d", "etc/modprobe.d"),
    ("/usr/lib/modprobe.d", "usr/lib/modprobe.d"),
    ("/etc/ld.so.conf.d", "etc/ld.so.conf.d"),
    ("/usr/lib/klibc/bin", "usr/bin"),
];

/// Rules of udev that belong there (hook `udev`).
const RULES: &[&str] = &[
    "50-firmware.rules",
    "50-udev-default.rules",
    "60-block.rules",
    "60-persistent-storage.rules",
    "61-persistent-storage-android.rules",
    "71-seat.rules",
    "73-special-net-names.rules",
    "75-net-description.rules",
    "80-drivers.rules",
    "80-net-setup-link.rules",
];

const LINKS: &[(&str, &str)] = &[
    ("bin", "usr/bin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
    ("sbin", "usr/sbin"),
    ("etc/mtab", "/proc/mounts"),
    ("usr/bin/sh", "busybox"),
    ("usr/sbin/modprobe", "../bin/kmod"),
    ("usr/sbin/rmmod", "../bin/kmod"),
];

const EMPTY_DIRS: &[&str] = &[
    "conf/conf.d",
    "etc",
    "run",
    "scripts",
    "usr/bin",
    "usr/lib64",
    "usr/sbin",
];

enum Item {
    Dir,
    File(u16, i64, Vec<u8>),
    Link(String),
}

/// A tree on its way into an archive; the order of names is cpio's.
#[derive(Default)]
struct Archive(BTreeMap<String, Item>);

impl Archive {
    fn put(&mut self, path: &str, item: Item) {
        let parents = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        for dir in parents {
            self.0.entry(dir.to_owned()).or_insert(Item::Dir);
        }
        self.0.insert(path.to_owned(), item);
    }

    /// A copy of a file of the tree; nothing if there is none.
    fn copy(&mut self, draft: &Draft, from: &str, to: &str) -> Result<(), BuildError> {
        if let Ok(id) = draft.tree.find(from.as_bytes(), true)
            && matches!(draft.tree.kind(id), NodeKind::File(_))
        {
            let attr = draft.tree.attr(id);
            let data = draft.read(from)?.unwrap_or_default();
            self.put(to, Item::File(attr.perm, attr.mtime, data));
        }
        Ok(())
    }

    fn copy_all(&mut self, draft: &Draft, from: &str, to: &str, depth: usize) -> Result<(), BuildError> {
        for name in draft.names(from) {
            let (from, to) = (format!("{from}/{name}"), format!("{to}/{name}"));
            if depth > 0 && draft.tree.is_dir(from.as_bytes()) {
                self.copy_all(draft, &from, &to, depth - 1)?;
            } else {
                self.copy(draft, &from, &to)?;
            }
        }
        Ok(())
    }

    /// cpio(5), the "new" format without checksums.
    fn cpio(&self, stamp: i64) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |ino: usize, name: &str, mode: u32, links: u32, mtime: i64, data: &[u8]| {
            let head = [
                ino as u32,
                mode,
                0,
                0,
                links,
                mtime.max(0) as u32,
                data.len() as u32,
                0,
                0,
                0,
                0,
                name.len() as u32 + 1,
                0,
            ];
            out.extend(b"070701");
            head.iter().for_each(|n| out.extend(format!("{n:08X}").bytes()));
            out.extend(name.bytes().chain([0]));
            out.resize(out.len().next_multiple_of(4), 0);
            out.extend(data);
            out.resize(out.len().next_multiple_of(4), 0);
        };
        put(0, ".", 0o040_755, 2, stamp, &[]);
        for (ino, (name, item)) in self.0.iter().enumerate() {
            match item {
                Item::Dir => put(ino + 1, name, 0o040_755, 2, stamp, &[]),
                Item::File(perm, mtime, data) => {
                    put(ino + 1, name, 0o100_000 | u32::from(*perm), 1, *mtime, data);
                }
                Item::Link(to) => put(ino + 1, name, 0o120_777, 1, stamp, to.as_bytes()),
            }
        }
        put(0, "TRAILER!!!", 0, 1, 0, &[]);
        out.resize(out.len().next_multiple_of(512), 0);
        out
    }
}

/// The whole file for the kernel `release`.
pub(super) fn make(draft: &Draft, release: &str, modules: &Depmod) -> Result<Vec<u8>, BuildError> {
    let mut all = Archive::default();
    let text = |text: &str| Item::File(0o644, draft.stamp, text.as_bytes().to_vec());
    EMPTY_DIRS.iter().for_each(|d| all.put(d, Item::Dir));
    for (from, to) in COPIED {
        all.copy_all(draft, from, to, 3)?;
    }
    for (path, to) in LINKS {
        all.put(path, Item::Link((*to).to_owned()));
    }
    all.copy(draft, "/usr/share/initramfs-tools/init", "init")?;
    all.copy(
        draft,
        "/etc/initramfs-tools/initramfs.conf",
        "conf/initramfs.conf",
    )?;
    all.copy(
        draft,
        "/etc/initramfs-tools/conf.d/driver-policy",
        "conf/conf.d/driver-policy",
    )?;
    all.copy(draft, "/etc/ld.so.conf", "etc/ld.so.conf")?;
    all.put("conf/arch.conf", text("DPKG_ARCH=amd64\n"));
    all.put("etc/fstab", text(""));
    for rule in RULES {
        let path = format!("usr/lib/udev/rules.d/{rule}");
        all.copy(draft, &format!("/{path}"), &path)?;
    }
    for name in draft.names("/usr/lib").iter().filter(|n| n.starts_with("klibc-")) {
        all.copy(draft, &format!("/usr/lib/{name}"), &format!("usr/lib/{name}"))?;
    }
    programs(draft, &mut all)?;
    drivers(draft, release, modules, &mut all)?;
    let mut packed = flate2::GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), flate2::Compression::new(6));
    packed
        .write_all(&all.cpio(draft.stamp))
        .map_err(BuildError::io("initrd"))?;
    packed.finish().map_err(BuildError::io("initrd"))
}

/// Programs and the libraries that they need.
fn programs(draft: &Draft, all: &mut Archive) -> Result<(), BuildError> {
    let mut todo: Vec<String> = PROGRAMS.iter().map(|p| (*p).to_owned()).collect();
    let mut seen = std::collections::BTreeSet::new();
    while let Some(path) = todo.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let Some(data) = draft.read(&path)? else { continue };
        all.copy(draft, &path, path.trim_start_matches('/'))?;
        for library in libraries(&data) {
            for dir in [
                "/usr/lib/x86_64-linux-gnu",
                "/usr/lib/x86_64-linux-gnu/systemd",
                "/usr/lib64",
            ] {
                let path = format!("{dir}/{library}");
                if draft.tree.exists(path.as_bytes()) {
                    todo.push(path);
                    break;
                }
            }
        }
    }
    all.copy(
        draft,
        "/usr/lib64/ld-linux-x86-64.so.2",
        "usr/lib64/ld-linux-x86-64.so.2",
    )
}

/// The modules that are needed, with indexes of their own.
fn drivers(draft: &Draft, release: &str, modules: &Depmod, all: &mut Archive) -> Result<(), BuildError> {
    let from = format!("/lib/modules/{release}");
    let to = format!("usr/lib/modules/{release}");
    let mut own = Depmod::default();
    for name in MODULES {
        for path in modules.closure(name) {
            let data = draft.read(&format!("{from}/{path}"))?.unwrap_or_default();
            if !all.0.contains_key(&format!("{to}/{path}")) && own.add(&path, &data) {
                all.copy(draft, &format!("{from}/{path}"), &format!("{to}/{path}"))?;
            }
        }
    }
    let file = |name: &str| -> Result<Vec<u8>, BuildError> {
        Ok(draft.read(&format!("{from}/{name}"))?.unwrap_or_default())
    };
    for name in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
        all.copy(draft, &format!("{from}/{name}"), &format!("{to}/{name}"))?;
    }
    own.sort(&String::from_utf8_lossy(&file("modules.order")?));
    let builtin = file("modules.builtin")?;
    let files = own.files(
        &String::from_utf8_lossy(&builtin),
        &file("modules.builtin.modinfo")?,
    );
    for (name, data) in files {
        all.put(&format!("{to}/{name}"), Item::File(0o644, draft.stamp, data));
    }
    Ok(())
}
