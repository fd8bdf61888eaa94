//! Journals of worlds: any bytes are read to their end or refused, without panic and without growth.
#![no_main]

use libfuzzer_sys::fuzz_target;
use turncoat_decoys::journal::{Birth, Reader};

fuzz_target!(|data: &[u8]| {
    let birth = Birth {
        build: String::new(),
        image: String::new(),
        cover: String::new(),
        outside: String::new(),
        booted: turncoat_event::Time(0),
        snapshot: [0; 32],
        seed: [0; 32],
    };
    let _ = Reader::new(data);
    let whole = [birth.head(), data.to_vec()].concat();
    if let Ok(mut reader) = Reader::new(&whole) {
        while let Ok(Some(_)) = reader.next_entry() {}
    }
});
