//! depmod's files and the initial RAM disk, against kmod's own programs where the host has them.

use std::path::Path;
use std::process::Command;

use super::depmod::Depmod;
use super::index::Index;

/// A relocatable ELF file with these pairs of information, exports and needs.
fn module(info: &[&str], exports: &[&str], needs: &[&str]) -> Vec<u8> {
    let (mut names, mut symbols) = (vec![0u8], vec![0u8; 24]);
    let mut symbol = |name: &str, section: u16| {
        symbols.extend((names.len() as u32).to_le_bytes());
        symbols.extend([0x10, 0]);
        symbols.extend(section.to_le_bytes());
        symbols.extend([0; 16]);
        names.extend(name.bytes().chain([0]));
    };
    for e in exports {
        symbol(&format!("__crc_{e}"), 0xfff1);
        symbol(e, 1);
    }
    needs.iter().for_each(|n| symbol(n, 0));
    let modinfo: Vec<u8> = info.iter().flat_map(|i| i.bytes().chain([0])).collect();
    let titles = b"\0.modinfo\0.symtab\0.strtab\0.shstrtab\0".to_vec();
    let parts: [(u32, u32, &[u8], u32, u64); 4] = [
        (1, 1, &modinfo, 0, 0),
        (10, 2, &symbols, 3, 24),
        (18, 3, &names, 0, 0),
        (26, 3, &titles, 0, 0),
    ];
    let mut body = vec![0u8; 64];
    let mut headers = vec![0u8; 64];
    for (name, kind, data, link, entry) in parts {
        body.resize(body.len().next_multiple_of(8), 0);
        headers.extend(name.to_le_bytes());
        headers.extend(kind.to_le_bytes());
        headers.extend([0; 16]);
        headers.extend((body.len() as u64).to_le_bytes());
        headers.extend((data.len() as u64).to_le_bytes());
        headers.extend(link.to_le_bytes());
        headers.extend(1u32.to_le_bytes());
        headers.extend(8u64.to_le_bytes());
        headers.extend(entry.to_le_bytes());
        body.extend(data);
    }
    body.resize(body.len().next_multiple_of(8), 0);
    let at = body.len() as u64;
    body.extend(headers);
    body[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    body[16..24].copy_from_slice(&[1, 0, 62, 0, 1, 0, 0, 0]);
    body[0x28..0x30].copy_from_slice(&at.to_le_bytes());
    body[0x34..0x40].copy_from_slice(&[64, 0, 0, 0, 0, 0, 64, 0, 5, 0, 4, 0]);
    body
}

fn three() -> (Depmod, Vec<(&'static str, Vec<u8>)>) {
    let all = vec![
        (
            "kernel/fs/top-fs.ko",
            module(
                &["alias=fs-top", "softdep=pre: low"],
                &["top_a"],
                &["mid_a", "low_a", "printk"],
            ),
        ),
        (
            "kernel/fs/mid.ko",
            module(
                &[
                    "alias=pci:v0000[A-F]d-1",
                    "alias=devname:mid",
                    "alias=char-major-10-77",
                ],
                &["mid_a"],
                &["low_a"],
            ),
        ),
        (
            "kernel/lib/low.ko",
            module(&["license=GPL"], &["low_a", "low_b"], &[]),
        ),
    ];
    let mut d = Depmod::default();
    for (path, file) in all.iter().rev() {
        assert!(d.add(path, file));
    }
    (d, all)
}

const ORDER: &str = "kernel/fs/top-fs.ko\nkernel/fs/mid.ko\nkernel/lib/low.ko\n";

#[test]
fn modules_are_joined_by_their_symbols() {
    let (mut d, _) = three();
    assert!(!d.add("kernel/x.ko", b"no module"));
    d.sort(ORDER);
    assert_eq!(
        d.closure("top_fs"),
        ["kernel/lib/low.ko", "kernel/fs/mid.ko", "kernel/fs/top-fs.ko"]
    );
    let files = d.files("kernel/b/built-in.ko\n", b"b.alias=x-y\0");
    let text = |name: &str| {
        let found = files.iter().find(|f| f.0 == name).unwrap();
        String::from_utf8(found.1.clone()).unwrap()
    };
    assert_eq!(
        text("modules.dep"),
        "kernel/fs/top-fs.ko: kernel/fs/mid.ko kernel/lib/low.ko\nkernel/fs/mid.ko: kernel/lib/low.ko\nkernel/lib/low.ko:\n"
    );
    assert!(text("modules.devname").ends_with("mid mid c10:77\n"));
    assert!(text("modules.softdep").ends_with("softdep top_fs pre: low\n"));
}

#[test]
fn a_trie_splits_where_keys_part() {
    let mut i = Index::default();
    i.insert(b"abc", b"one", 2);
    i.insert(b"abd", b"two", 1);
    i.insert(b"ab", b"top", 0);
    let file = i.file();
    assert_eq!(&file[..8], [0xb0, 7, 0xf4, 0x57, 0, 2, 0, 1]);
    // Two leaves of a value each, the node `ab` with both below `c` to `d`, and the root last.
    assert_eq!(&file[12..16], [0, 0, 0, 1]);
    assert!(file.windows(12).any(|w| w == b"\0\0\0\x01\0\0\0\0top\0"));
    assert_eq!(&file[file.len() - 6..file.len() - 4], b"aa");
}

/// kmod's own depmod over the same modules writes the same bytes.
#[test]
fn depmod_writes_the_same() {
    let (mut d, all) = three();
    let root = std::env::temp_dir().join(format!("turncoat-depmod-{}", std::process::id()));
    let base = root.join("lib/modules/6.1.0-0-test");
    for (path, file) in &all {
        let path = base.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, file).unwrap();
    }
    std::fs::write(base.join("modules.order"), ORDER).unwrap();
    std::fs::write(base.join("modules.builtin"), "kernel/b/built-in.ko\n").unwrap();
    std::fs::write(base.join("modules.builtin.modinfo"), b"built_in.alias=x-y\0").unwrap();
    let program = ["/sbin/depmod", "/usr/sbin/depmod"]
        .iter()
        .find(|p| Path::new(p).exists());
    if let Some(program) = program {
        let ran = Command::new(program)
            .arg("-b")
            .arg(&root)
            .arg("6.1.0-0-test")
            .status()
            .unwrap();
        assert!(ran.success());
        d.sort(ORDER);
        for (name, data) in d.files("kernel/b/built-in.ko\n", b"built_in.alias=x-y\0") {
            assert!(
                std::fs::read(base.join(name)).unwrap() == data,
                "{name} differs from depmod's"
            );
        }
    } else {
        eprintln!("skipped: this host has no depmod (package kmod)");
    }
    std::fs::remove_dir_all(&root).unwrap();
}
