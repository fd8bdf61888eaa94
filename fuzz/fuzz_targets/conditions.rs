//! Any text as the condition of a rule, and as a file of rules for techniques.
#![no_main]

use turncoat::respond::when::{Facts, When};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(when) = text.parse::<When>() {
        let _ = when.holds(&Facts::default());
        let _ = when.events();
    }
    let _ = turncoat_intel::Rules::default().read("rules", text);
});
