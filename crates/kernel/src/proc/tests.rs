//! Tests of procfs and sysfs.

use crate::vfs::tests::World;
use crate::vfs::{mode, wflag};
use crate::{Errno, KResult};

fn text(w: &mut World, path: &str) -> String {
    String::from_utf8(w.cat(path).unwrap()).unwrap()
}

/// Every file that root can open is read, every link is read, and every directory's entries are there.
#[test]
fn everything_listed_can_be_looked_at() {
    let mut w = World::new();
    w.view.facts.cgroups = vec!["/system.slice/ssh.service".to_owned(), "/init.scope".to_owned()];
    let mut todo = vec!["/proc".to_owned(), "/sys".to_owned(), "/dev".to_owned()];
    let (mut files, mut links) = (0, 0);
    while let Some(dir) = todo.pop() {
        let names: Vec<_> = w.with(|v, c| -> KResult<Vec<_>> {
            let p = v.walk(c, c.cwd, dir.as_bytes(), 0)?;
            let mut out = Vec::new();
            v.getdents(c, &p, 2, &mut |e| {
                out.push((String::from_utf8_lossy(&e.name).into_owned(), e.dtype));
                true
            })?;
            Ok(out)
        }).unwrap();
        for (name, dtype) in names {
            let path = format!("{dir}/{name}");
            let s = w.with(|v, c| v.stat(c, c.cwd, path.as_bytes(), wflag::NOFOLLOW)).unwrap_or_else(|e| panic!("{path}: {e:?}"));
            match s.mode & mode::IFMT {
                mode::IFDIR => todo.push(path.clone()),
                mode::IFLNK => {
                    links += 1;
                    let _ = w.with(|v, c| v.readlink(c, c.cwd, path.as_bytes()));
                }
                mode::IFREG if s.mode & 0o444 != 0 => {
                    files += 1;
                    let _ = w.cat(&path);
                }
                _ => {}
            }
            // On procfs and sysfs the type in the listing is that of the inode; what is mounted over it may differ.
            assert_eq!(u32::from(dtype), s.mode >> 12, "{path}");
        }
    }
    println!("{files} files, {links} links");
    assert!(files > 700 && links > 60, "{files} {links}");
}

#[test]
fn sysfs_links_lead_somewhere() {
    let mut w = World::new();
    for path in ["/sys/class/block/sda1/start", "/sys/block/sda/queue/rotational", "/sys/dev/block/8:1/partition", "/sys/class/dmi/id/sys_vendor"] {
        assert!(!text(&mut w, path).is_empty(), "{path}");
    }
    assert_eq!(text(&mut w, "/sys/devices/system/cpu/online"), "0-1\n");
}

#[test]
fn mount_table_reads_as_a_debian_servers() {
    let mut w = World::new();
    let info = text(&mut w, "/proc/self/mountinfo");
    let first: Vec<&str> = info.lines().take(6).collect();
    assert_eq!(first[0], "22 27 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:3 - sysfs sysfs rw");
    assert_eq!(first[5], "27 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro");
    let mounts = text(&mut w, "/proc/mounts");
    assert!(mounts.contains("/dev/sda1 / ext4 rw,relatime,errors=remount-ro 0 0\n"), "{mounts}");
    assert_eq!(mounts.lines().count(), info.lines().count());
}

#[test]
fn parameters_are_kept_and_checked() {
    let mut w = World::new();
    let write = |w: &mut World, path: &str, data: &[u8]| {
        w.with(|v, c| {
            let o = v.open(c, c.cwd, path.as_bytes(), 1, 0, 0)?;
            v.synthetic_write(c, o.path.ino, data)
        })
    };
    assert_eq!(write(&mut w, "/proc/sys/vm/swappiness", b"10\n"), Ok(3));
    assert_eq!(text(&mut w, "/proc/sys/vm/swappiness"), "10\n");
    assert_eq!(write(&mut w, "/proc/sys/vm/swappiness", b"x\n"), Err(Errno::EINVAL));
    assert_eq!(write(&mut w, "/proc/sys/kernel/osrelease", b"x\n"), Err(Errno::EACCES));
    w.user(1000);
    assert_eq!(write(&mut w, "/proc/sys/vm/swappiness", b"10\n"), Err(Errno::EACCES));
}

/// The shape of what this machine's kernel prints for itself: the same number of words in each line of `stat`, the same keys.
#[test]
fn formats_have_the_shape_of_this_machines() {
    let mut w = World::new();
    let words = |s: &str| s.split_whitespace().count();
    let host = std::fs::read_to_string("/proc/self/stat").unwrap();
    assert_eq!(words(&text(&mut w, "/proc/42/stat")), words(&host));
    let host = std::fs::read_to_string("/proc/self/statm").unwrap();
    assert_eq!(words(&text(&mut w, "/proc/42/statm")), words(&host));
    let host = std::fs::read_to_string("/proc/self/limits").unwrap();
    let mine = text(&mut w, "/proc/42/limits");
    for (a, b) in mine.lines().zip(host.lines()) {
        assert_eq!(a.get(..26), b.get(..26));
        assert_eq!(a.len(), b.len());
    }
    let keys = |s: &str| s.lines().filter_map(|l| l.split_once(':').map(|k| k.0.to_owned())).collect::<Vec<_>>();
    let host = keys(&std::fs::read_to_string("/proc/meminfo").unwrap());
    for k in keys(&text(&mut w, "/proc/meminfo")) {
        // Some keys depend on the kernel's configuration and version.
        let known = ["Zswap", "Zswapped", "NFS_Unstable", "HardwareCorrupted", "DirectMap4k", "DirectMap2M", "DirectMap1G", "WritebackTmp", "Bounce"];
        assert!(host.contains(&k) || known.contains(&k.as_str()) || k.contains("Huge") || k.contains("Pmd"), "{k}");
    }
    let host = keys(&std::fs::read_to_string("/proc/self/status").unwrap());
    let gone = ["CapAmb"];
    for k in keys(&text(&mut w, "/proc/42/status")) {
        assert!(host.contains(&k) || gone.contains(&k.as_str()) || k.starts_with("Specul"), "{k}");
    }
}
