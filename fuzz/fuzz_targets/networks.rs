//! Any text as a table of networks.
#![no_main]

use turncoat_intel::networks::Networks;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut networks = Networks::default();
    let _ = networks.read("table", text);
    for address in ["192.0.2.7", "2001:db8::1", "255.255.255.255", "::"] {
        if let Ok(a) = address.parse() {
            let _ = networks.of(a).to_string();
        }
    }
});
