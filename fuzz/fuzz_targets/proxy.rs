//! Any bytes as a PROXY header, as they come one by one: an answer within its longest form, and the same answer for what is read at once.
#![no_main]

use turncoat_wire::proxy::{LONGEST, Refused, parse};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for end in 1..=data.len().min(LONGEST + 1) {
        match parse(&data[..end]) {
            Err(Refused::More) => assert!(end < LONGEST, "it would read for ever"),
            Ok(header) => {
                assert_eq!(header.length, end, "the byte that completes a header is its last");
                // What follows is the client's and changes nothing.
                let whole = parse(data).map(|h| (h.length, h.addresses));
                assert_eq!(whole.ok(), Some((end, header.addresses)));
                return;
            }
            Err(_) => return,
        }
    }
});
