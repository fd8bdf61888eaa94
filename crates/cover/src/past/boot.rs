//! What the manager and sshd say while the machine boots. Names come from here, descriptions from the image's unit files.

use super::lines::{self, Line, Says};
use crate::cover::{Cover, Image};

/// What the manager says of units, in the order of a boot; an image without a unit has nothing of it.
const UNITS: &[(&str, &str)] = &[
    ("Created slice", "system-getty.slice"),
    ("Created slice", "user.slice"),
    ("Started", "systemd-ask-password-console.path"),
    ("Started", "systemd-ask-password-wall.path"),
    ("Set up automount", "proc-sys-fs-binfmt_misc.automount"),
    ("Reached target", "cryptsetup.target"),
    ("Reached target", "integritysetup.target"),
    ("Reached target", "paths.target"),
    ("Reached target", "remote-fs.target"),
    ("Reached target", "slices.target"),
    ("Reached target", "swap.target"),
    ("Reached target", "veritysetup.target"),
    ("Listening on", "systemd-initctl.socket"),
    ("Listening on", "systemd-journald-dev-log.socket"),
    ("Listening on", "systemd-journald.socket"),
    ("Listening on", "systemd-udevd-control.socket"),
    ("Listening on", "systemd-udevd-kernel.socket"),
    ("Mounting", "dev-hugepages.mount"),
    ("Mounting", "dev-mqueue.mount"),
    ("Mounting", "sys-kernel-debug.mount"),
    ("Mounting", "sys-kernel-tracing.mount"),
    ("Starting", "ifupdown-pre.service"),
    ("Starting", "kmod-static-nodes.service"),
    ("Starting", "systemd-journald.service"),
    ("Starting", "systemd-modules-load.service"),
    ("Starting", "systemd-udev-trigger.service"),
    ("Mounted", "dev-hugepages.mount"),
    ("Mounted", "dev-mqueue.mount"),
    ("Mounted", "sys-kernel-debug.mount"),
    ("Mounted", "sys-kernel-tracing.mount"),
    ("Finished", "ifupdown-pre.service"),
    ("Finished", "kmod-static-nodes.service"),
    ("Finished", "systemd-modules-load.service"),
    ("Mounting", "sys-fs-fuse-connections.mount"),
    ("Mounting", "sys-kernel-config.mount"),
    ("Starting", "systemd-random-seed.service"),
    ("Starting", "systemd-sysctl.service"),
    ("Starting", "systemd-tmpfiles-setup-dev.service"),
    ("Started", "systemd-journald.service"),
    ("Mounted", "sys-fs-fuse-connections.mount"),
    ("Mounted", "sys-kernel-config.mount"),
    ("Starting", "systemd-journal-flush.service"),
    ("Finished", "systemd-random-seed.service"),
    ("Finished", "systemd-sysctl.service"),
    ("Finished", "systemd-tmpfiles-setup-dev.service"),
    ("Starting", "systemd-udevd.service"),
    ("Finished", "systemd-udev-trigger.service"),
    ("Started", "systemd-udevd.service"),
    ("Finished", "systemd-journal-flush.service"),
    ("Reached target", "local-fs.target"),
    ("Starting", "networking.service"),
    ("Starting", "systemd-tmpfiles-setup.service"),
    ("Finished", "systemd-tmpfiles-setup.service"),
    ("Starting", "systemd-timesyncd.service"),
    ("Starting", "systemd-update-utmp.service"),
    ("Finished", "systemd-update-utmp.service"),
    ("Started", "systemd-timesyncd.service"),
    ("Reached target", "sysinit.target"),
    ("Started", "apt-daily.timer"),
    ("Started", "apt-daily-upgrade.timer"),
    ("Started", "dpkg-db-backup.timer"),
    ("Started", "e2scrub_all.timer"),
    ("Started", "fstrim.timer"),
    ("Started", "logrotate.timer"),
    ("Started", "man-db.timer"),
    ("Started", "systemd-tmpfiles-clean.timer"),
    ("Reached target", "time-set.target"),
    ("Reached target", "timers.target"),
    ("Listening on", "dbus.socket"),
    ("Reached target", "sockets.target"),
    ("Reached target", "basic.target"),
    ("Started", "cron.service"),
    ("Starting", "dbus.service"),
    ("Starting", "systemd-logind.service"),
    ("Started", "dbus.service"),
    ("Finished", "networking.service"),
    ("Reached target", "network.target"),
    ("Starting", "ssh.service"),
    ("Starting", "systemd-user-sessions.service"),
    ("Started", "unattended-upgrades.service"),
    ("Finished", "systemd-user-sessions.service"),
    ("Started", "getty@tty1.service"),
    ("Reached target", "getty.target"),
    ("Started", "systemd-logind.service"),
];

/// What it says when sshd listens.
const AT_LAST: &[(&str, &str)] = &[
    ("Started", "inetd.service"),
    ("Started", "ssh.service"),
    ("Reached target", "multi-user.target"),
    ("Reached target", "graphical.target"),
];

/// What a unit is for, by its file; `None` if the image has no such unit. The slice of a template has no file.
fn description(image: &dyn Image, unit: &str) -> Option<String> {
    if let Some(name) = unit
        .strip_prefix("system-")
        .and_then(|u| u.strip_suffix(".slice"))
    {
        return Some(format!("Slice /system/{name}"));
    }
    let (stem, instance) = match unit.split_once('@') {
        Some((stem, rest)) => {
            let (instance, kind) = rest.rsplit_once('.')?;
            (format!("{stem}@.{kind}"), instance)
        }
        None => (unit.to_owned(), ""),
    };
    let text = ["/usr/lib/systemd/system", "/etc/systemd/system"]
        .iter()
        .find_map(|dir| image.read(&format!("{dir}/{stem}")))?;
    let text = String::from_utf8_lossy(&text);
    let told = text.lines().find_map(|l| l.strip_prefix("Description="))?;
    Some(told.trim().replace("%I", instance).replace("%i", instance))
}

/// What the manager and sshd say at boot.
pub(super) fn started(cover: &Cover, image: &dyn Image) -> Vec<Line> {
    let booted = cover.host.booted.max(0) as u64 * 1_000_000;
    let processes = cover.processes(&|_| true);
    let sshd = processes.iter().find(|p| p.comm == "sshd").map_or(500, |p| p.pid);
    let mut s = cover.stream("started");
    let mut when = booted + 2_100_000u64;
    let mut out = Vec::new();
    let mut say = |says: Says, pid: u32, text: String| {
        // Early units follow each other closely.
        when += 2_000 + s.below(52_000);
        out.push(Line {
            at: when,
            says,
            pid,
            priority: 6,
            private: false,
            text,
        });
    };
    let told = |(verb, unit): &(&str, &str)| {
        let about = description(image, unit)?;
        // What goes on has three dots.
        let end = if verb.ends_with("ing") { "..." } else { "." };
        Some(format!("{verb} {unit} - {about}{end}"))
    };
    say(
        Says::Systemd,
        1,
        "Queued start job for default target graphical.target.".into(),
    );
    // An interface that udev brings up has a unit of its own.
    let interface = processes.iter().find(|p| p.unit == "ifup@.service");
    let interface = interface
        .and_then(|p| p.argv.last())
        .map(|i| format!("ifup@{i}.service"));
    for unit in UNITS {
        let plugged = interface
            .as_deref()
            .filter(|_| *unit == ("Starting", "networking.service"));
        let plugged = plugged.and_then(|unit| told(&("Started", unit)));
        for text in plugged.into_iter().chain(told(unit)) {
            say(Says::Systemd, 1, text);
        }
    }
    for port in cover.ssh_ports() {
        for any in ["0.0.0.0", "::"] {
            let text = format!("Server listening on {any} port {port}.");
            say(Says::Program(lines::SSHD), sshd, text);
        }
    }
    let at_last = AT_LAST.iter().filter(|u| cover.telnet || u.1 != "inetd.service");
    for text in at_last.filter_map(told) {
        say(Says::Systemd, 1, text);
    }
    out
}
