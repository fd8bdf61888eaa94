//! A world without an image, for one hand-made program: `/bin/p` is every account's shell.

use turncoat_kernel::vfs::boot::{Content, CoverFile, Plan};
use turncoat_kernel::vfs::{Timespec, makedev};
use turncoat_kernel::*;

const START: u64 = 1_700_000_000_000_000_000;

/// A static program: one segment at 0x400000, readable, writable and executable, and a page of zeros behind it.
#[allow(dead_code)]
pub fn elf(code: &[u8]) -> Vec<u8> {
    let mut e = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for n in [2u16, 62] {
        e.extend(n.to_le_bytes());
    }
    e.extend(1u32.to_le_bytes());
    for n in [0x40_0078u64, 64, 0] {
        e.extend(n.to_le_bytes());
    }
    e.extend(0u32.to_le_bytes());
    for n in [64u16, 56, 1, 0, 0, 0] {
        e.extend(n.to_le_bytes());
    }
    for n in [1u32, 7] {
        e.extend(n.to_le_bytes());
    }
    let len = 0x78 + code.len() as u64;
    for n in [0, 0x40_0000, 0x40_0000, len, len + 4096, 4096] {
        e.extend(n.to_le_bytes());
    }
    e.extend(code);
    e
}

fn file(path: &str, perm: u32, content: Content) -> CoverFile {
    CoverFile::new(path, perm, Timespec::secs(1_600_000_000), content)
}

/// Boots, logs in twice (a terminal, then pipes), and runs some forty slices; what the world then holds must be within its bounds.
pub fn run(program: Vec<u8>) {
    let stamp = Timespec::secs(1_600_000_000);
    let memory = 16 << 20;
    let mut world = World::boot(Boot {
        plan: Plan {
            image: None,
            lazy: None,
            root_dev: makedev(8, 1),
            root_source: "/dev/sda1".into(),
            root_options: String::new(),
            blocks: 100_000,
            blocks_used: 100,
            files: 10_000,
            installed: stamp,
            stamps: Default::default(),
            booted: stamp,
            limit_pages: 2048,
            limit_inodes: 500,
        },
        files: vec![
            file("/bin/p", 0o755, Content::Bytes(program.into())),
            file("/tmp", 0o1777, Content::Dir),
            file("/proc", 0o555, Content::Dir),
            file("/sys", 0o555, Content::Dir),
            file("/dev", 0o755, Content::Dir),
            file("/run", 0o755, Content::Dir),
            file(
                "/etc/passwd",
                0o644,
                Content::Bytes(b"root:x:0:0::/root:/bin/p\nu:x:1000:1000::/tmp:/bin/p\n".to_vec().into()),
            ),
        ],
        facts: sysfs::facts::Facts::default(),
        hostname: b"t".to_vec(),
        machine: turncoat_cpu::Machine::default(),
        boot_time: START - 1_000_000_000_000,
        now: START,
        entropy: [3; 32],
        limits: Limits { tasks: 60, memory, ..Limits::default() },
        standins: vec![StandInSpec::daemon("sshd", "/usr/sbin/sshd -D")],
        net: net::Net::new(net::facts::Facts::default()),
        sessions: 0,
        kmsg: Vec::new(),
    });
    for (user, tty) in [("root", true), ("u", false)] {
        let conn = world.open(Open {
            user: user.into(),
            account: None,
            env: Vec::new(),
            term: tty.then(|| Term {
                name: b"xterm".to_vec(),
                rows: 24,
                cols: 80,
                xpixel: 0,
                ypixel: 0,
                modes: Vec::new(),
            }),
            command: None,
            peer: "203.0.113.9:50022".parse().expect("an address"),
            local: "192.0.2.10:22".parse().expect("an address"),
            greet: false,
            method: String::new(),
            sshd: None,
        });
        for step in 0..20 {
            let slice = world.run(20_000, START + step * 1_000_000);
            world.drain();
            if let (Ok(conn), 5) = (&conn, step) {
                world.input(*conn, Input::Data(b"ab\x03\x1a\x04\n".to_vec()));
            }
            if matches!(slice, Slice::Dead) {
                break;
            }
        }
    }
    assert!(world.memory() < 4 * memory, "{}", world.memory());
}
