//! What an intruder made of the journal's file, and what his programs send to `/dev/log`: appending ends, without panic or growth.
#![no_main]

use turncoat_cover::journal::{Store, append};
use turncoat_cover::past::journal::{Boot, Machine, Sender};

/// A file that grows to a mebibyte and no further.
struct Bounded(Vec<u8>);

impl Store for Bounded {
    fn read(&mut self, at: u64, buf: &mut [u8]) {
        self.0.read(at, buf);
    }
    fn write(&mut self, at: u64, bytes: &[u8]) {
        if at.saturating_add(bytes.len() as u64) <= 1 << 20 {
            self.0.write(at, bytes);
        }
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let machine = Machine {
        machine_id: "0123456789abcdef0123456789abcdef".into(),
        host: "host".into(),
    };
    let boot = Boot {
        id: "fedcba9876543210fedcba9876543210".into(),
        at: 1_700_000_000_000_000,
    };
    let cut = data.first().map_or(0, |n| usize::from(*n) * 8).min(data.len());
    let (message, file) = data.split_at(cut);
    let by = Sender {
        pid: 7,
        ..Sender::default()
    };
    let mut store = Bounded(file.to_vec());
    for n in 0..3 {
        append(&mut store, &machine.message(&boot, boot.at + n, &by, message));
    }
});
