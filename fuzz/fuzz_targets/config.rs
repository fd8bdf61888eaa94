//! Any text as a configuration file: settings or mistakes, never a panic; what is taken can be written and taken again.
#![no_main]

use std::path::Path;

use turncoat::config::Settings;
use turncoat::config::parse::apply_file;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (mut settings, mut mistakes) = (Settings::default(), Vec::new());
    apply_file(&mut settings, Path::new("t.toml"), text, &mut mistakes);
    mistakes.iter().for_each(|m| drop(m.to_string()));
    let written = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&written).unwrap(), settings);
});
