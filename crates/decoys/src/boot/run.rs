//! What the daemons of a booted server leave under `/run`: their directories and pid files.

use turncoat_cover::processes::Process;
use turncoat_kernel::vfs::Timespec;
use turncoat_kernel::vfs::boot::{Content, CoverFile};

/// A daemon by its program, and what it makes: path, permissions, and what it holds.
const MADE: &[(&str, &str, u32, Holds)] = &[
    ("/usr/sbin/sshd", "/run/sshd", 0o755, Holds::Directory),
    ("/usr/sbin/sshd", "/run/sshd.pid", 0o644, Holds::Pid),
    ("/usr/sbin/cron", "/run/crond.pid", 0o644, Holds::Pid),
    ("/usr/sbin/cron", "/run/cron.reboot", 0o000, Holds::Nothing),
    ("/usr/sbin/inetd", "/run/inetd.pid", 0o644, Holds::Pid),
    ("/usr/bin/dbus-daemon", "/run/dbus", 0o755, Holds::Directory),
    ("/sbin/agetty", "/run/agetty.reload", 0o600, Holds::Nothing),
    ("/usr/sbin/agetty", "/run/agetty.reload", 0o600, Holds::Nothing),
    (
        "/usr/lib/systemd/systemd-journald",
        "/run/systemd/journal",
        0o755,
        Holds::Directory,
    ),
    (
        "/usr/lib/systemd/systemd-udevd",
        "/run/udev",
        0o755,
        Holds::Directory,
    ),
];

#[derive(Clone, Copy)]
enum Holds {
    Directory,
    Pid,
    Nothing,
}

/// The files of those daemons that run, made when each began.
pub fn files(processes: &[Process], booted: i64) -> Vec<CoverFile> {
    let mut out = Vec::new();
    for (program, path, perm, holds) in MADE {
        let Some(p) = processes.iter().find(|p| p.exe == *program) else {
            continue;
        };
        let at = Timespec {
            sec: booted + p.started as i64,
            nsec: 0,
        };
        let content = match holds {
            Holds::Directory => Content::Dir,
            Holds::Pid => Content::Bytes(format!("{}\n", p.pid).into_bytes().into()),
            Holds::Nothing => Content::Bytes([].into()),
        };
        out.push(CoverFile::new(*path, *perm, at, content));
    }
    out
}
