//! What is in the kernel: file systems, drivers of terminals, symbols, ciphers; and the locks that it holds for programs.

use crate::vfs::Vfs;
use crate::vfs::types::{Ctx, cap};

pub(super) const FILESYSTEMS: &[&str] = &[
    "sysfs",
    "tmpfs",
    "bdev",
    "proc",
    "cgroup",
    "cgroup2",
    "cpuset",
    "devtmpfs",
    "configfs",
    "debugfs",
    "tracefs",
    "securityfs",
    "sockfs",
    "bpf",
    "pipefs",
    "ramfs",
    "hugetlbfs",
    "devpts",
    "mqueue",
    "pstore",
    "autofs",
    "ext3",
    "ext2",
    "ext4",
    "efivarfs",
    "fuseblk",
    "fuse",
    "fusectl",
];

pub(super) const TTY_DRIVERS: &str = "/dev/tty             /dev/tty        5       0 system:/dev/tty
/dev/console         /dev/console    5       1 system:console
/dev/ptmx            /dev/ptmx       5       2 system
/dev/vc/0            /dev/vc/0       4       0 system:vtmaster
serial               /dev/ttyS       4 64-95 serial
pty_slave            /dev/pts      136 0-1048575 pty:slave
pty_master           /dev/ptm      128 0-1048575 pty:master
unknown              /dev/tty        4 1-63 console
";

pub(super) fn kallsyms(ctx: &Ctx) -> String {
    let base = ctx.view.facts().kernel_base;
    let seen = ctx.creds.capable(cap::SYSLOG) && base != 0;
    const SYMBOLS: &[(&str, char, u64)] = &[
        ("fixed_percpu_data", 'A', 0),
        ("startup_64", 'T', 0),
        ("_stext", 'T', 0),
        ("_text", 'T', 0),
        ("secondary_startup_64", 'T', 0x60),
        ("do_one_initcall", 'T', 0x1d40),
        ("__x64_sys_read", 'T', 0x37_4b20),
        ("__x64_sys_write", 'T', 0x37_4d10),
        ("__x64_sys_open", 'T', 0x37_0f60),
        ("__x64_sys_execve", 'T', 0x37_f9e0),
        ("commit_creds", 'T', 0xd_0b40),
        ("prepare_kernel_cred", 'T', 0xd_0ea0),
        ("sys_call_table", 'D', 0x100_02e0),
        ("_etext", 'T', 0xe0_27a1),
    ];
    SYMBOLS
        .iter()
        .map(|&(n, t, off)| format!("{:016x} {t} {n}\n", if seen && t != 'A' { base + off } else { 0 }))
        .collect()
}

pub(super) fn locks(vfs: &Vfs, ctx: &Ctx) -> String {
    use crate::vfs::LockKind;
    let mut s = String::new();
    for (i, (ino, l)) in vfs.locks().enumerate() {
        let (kind, how) = match l.owner {
            LockKind::Posix(_) => ("POSIX ", "ADVISORY "),
            LockKind::Ofd(_) => ("OFDLCK", "ADVISORY "),
            LockKind::Flock(_) => ("FLOCK ", "ADVISORY "),
        };
        let pid = if matches!(l.owner, LockKind::Ofd(_)) {
            -1
        } else {
            l.pid as i64
        };
        let dev = vfs.dev_number(ino);
        let (ma, mi) = crate::vfs::types::devnum(dev);
        let end = if l.range.end == u64::MAX {
            "EOF".to_owned()
        } else {
            l.range.end.to_string()
        };
        let mode = if l.write { "WRITE" } else { "READ " };
        s += &format!(
            "{}: {kind} {how} {mode} {pid} {ma:02x}:{mi:02x}:{} {} {end}\n",
            i + 1,
            vfs.st_ino(ino),
            l.range.start
        );
    }
    let _ = ctx;
    s
}

pub(super) fn crypto() -> String {
    let mut s = String::new();
    for (name, driver, kind, size) in [
        ("crc32c", "crc32c-intel", "shash", 4),
        ("sha256", "sha256-generic", "shash", 32),
        ("sha1", "sha1-generic", "shash", 20),
        ("md5", "md5-generic", "shash", 16),
    ] {
        s += &format!(
            "name         : {name}\ndriver       : {driver}\nmodule       : kernel\npriority     : 100\nrefcnt       : 1\nselftest     : passed\ninternal     : no\ntype         : {kind}\nblocksize    : 64\ndigestsize   : {size}\n\n"
        );
    }
    s
}
