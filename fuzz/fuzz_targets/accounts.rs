//! What an intruder writes into a world's account files: `passwd`, `shadow` and `authorized_keys`, and hashes.
#![no_main]

use turncoat_decoys::auth::{Accounts, Files, Seen, authorized_keys};

struct Three<'a>([&'a [u8]; 3]);

impl Files for Three<'_> {
    fn read(&mut self, path: &[u8]) -> Option<Vec<u8>> {
        let which = match path {
            b"/etc/passwd" => 0,
            b"/etc/shadow" => 1,
            _ => 2,
        };
        Some(self.0[which].to_vec())
    }
    fn look(&mut self, path: &[u8]) -> Option<Seen> {
        Some(Seen {
            path: path.to_vec(),
            mode: 0o100_755,
            uid: 0,
        })
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |b| *b == 0);
    let mut next = || parts.next().unwrap_or_default();
    let mut files = Three([next(), next(), next()]);
    let accounts = Accounts::read(&mut files);
    accounts.changes(&Accounts::default());
    for key in authorized_keys(data) {
        key.options.permits([192, 0, 2, 1].into(), 0);
        key.options.describe();
    }
});
