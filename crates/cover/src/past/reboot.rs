//! `/run/reboot-required`: what packages that were upgraded or installed since the boot leave for whoever asks whether to boot again.

use super::database::kernel_of;
use super::stamps::configures;
use super::upgrades::{Change, Run};
use crate::cover::Image;
use crate::files::File;

/// The hook of unattended-upgrades, which a kernel's installation calls.
const HOOK: &str = "/etc/kernel/postinst.d/unattended-upgrades";

/// Whether a package asks for a reboot when it comes: a kernel, or one whose script says so on upgrades (dbus).
fn asks(image: &dyn Image, c: &Change) -> bool {
    let name = &c.package.name;
    match &c.old {
        _ if c.new.is_empty() => false,
        None => kernel_of(name).is_some() && image.has(HOOK),
        Some(_) => image
            .read(&format!("/var/lib/dpkg/info/{name}.postinst"))
            .is_some_and(|script| String::from_utf8_lossy(&script).contains("/run/reboot-required")),
    }
}

/// The two files, if something asks for a reboot since the machine was `booted`.
pub(super) fn files(image: &dyn Image, runs: &[Run], booted: i64) -> Vec<File> {
    let (mut names, mut touched, mut added) = (Vec::new(), 0, 0);
    for r in runs.iter().filter(|r| r.start > booted) {
        for (i, c) in r.changes.iter().enumerate().filter(|(_, c)| asks(image, c)) {
            touched = configures(r, i);
            if !names.contains(&c.package.name) {
                names.push(c.package.name.clone());
                added = touched;
            }
        }
    }
    if names.is_empty() {
        return Vec::new();
    }
    vec![
        File::text("/run/reboot-required", 0o644, touched, ""),
        File::text("/run/reboot-required.pkgs", 0o644, added, names.join("\n") + "\n"),
    ]
}
