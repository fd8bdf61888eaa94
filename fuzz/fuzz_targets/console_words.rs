//! Any bytes as an intruder's text: what pages show of it holds nothing that moves a reader's eye or leads anywhere.
#![no_main]

use libfuzzer_sys::fuzz_target;
use turncoat_console::words;

fuzz_target!(|bytes: &[u8]| {
    let shown = words::his(bytes);
    assert!(!shown.chars().any(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)));
    let lower = shown.to_ascii_lowercase();
    assert!(!lower.contains("http://") && !lower.contains("https://"));
    assert!(shown.chars().count() <= 400);
});
