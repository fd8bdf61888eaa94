//! Hostile bytes into the layer `KexInit` of the SSH server.
#![no_main]

use turncoat_ssh::fuzzing::{Layer, drive};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    drive(Layer::KexInit, data);
});
