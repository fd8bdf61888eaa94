//! What a mail server or a web server may answer to an alert.
#![no_main]

use turncoat::alert::{mail, webhook};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = mail::answers(data);
    let _ = webhook::status(data);
    let _ = turncoat_event::show::defang(&String::from_utf8_lossy(data));
});
