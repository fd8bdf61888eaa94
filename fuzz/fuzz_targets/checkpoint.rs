//! Any bytes as a world, taken back against a small machine and written again; and any bytes as a checkpoint.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use turncoat_decoys::journal::Checkpoint;
use turncoat_freeze::{In, Out};
use turncoat_kernel::net::Net;
use turncoat_kernel::vfs::boot::{Content, CoverFile, Plan};
use turncoat_kernel::vfs::{Timespec, makedev};
use turncoat_kernel::{Boot, Limits, World, net, sysfs};

fn boot() -> Boot {
    let stamp = Timespec::secs(1_600_000_000);
    let file = |path: &str, content| CoverFile::new(path, 0o755, stamp, content);
    let text = |t: &[u8]| Content::Bytes(t.to_vec().into());
    Boot {
        plan: Plan {
            root_dev: makedev(8, 1),
            root_source: "/dev/sda1".into(),
            blocks: 100_000,
            files: 10_000,
            installed: stamp,
            booted: stamp,
            limit_pages: 512,
            limit_inodes: 500,
            ..Plan::default()
        },
        files: vec![
            file("/tmp/a/b", text(b"c")),
            file("/etc/passwd", text(b"root:x:0:0::/root:/bin/sh\n")),
            file("/var/log/wtmp", text(b"")),
            file("/proc", Content::Dir),
            file("/sys", Content::Dir),
            file("/dev", Content::Dir),
            file("/run", Content::Dir),
        ],
        facts: sysfs::facts::Facts::default(),
        hostname: b"t".to_vec(),
        machine: Default::default(),
        boot_time: 1_700_000_000_000_000_000,
        now: 1_700_000_100_000_000_000,
        entropy: [3; 32],
        limits: Limits::default(),
        standins: Vec::new(),
        net: Net::new(net::facts::Facts::default()),
        sessions: 0,
        kmsg: Vec::new(),
    }
}

thread_local! {
    static START: RefCell<Option<World>> = const { RefCell::new(None) };
}

fuzz_target!(|bytes: &[u8]| {
    START.with_borrow_mut(|start| {
        let start = start.get_or_insert_with(|| World::boot(boot()));
        if let Ok(mut world) = World::thaw(start, &mut In::new(bytes, 16 << 20)) {
            let mut out = Out::new(64 << 20);
            world.freeze(start, &mut out);
            let _ = out.done();
        }
    });
    let _ = Checkpoint::place(bytes);
    let _ = Checkpoint::unpack(bytes);
});
