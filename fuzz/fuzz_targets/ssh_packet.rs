//! Hostile bytes into the layer `Connection` of the SSH server.
#![no_main]

use turncoat_ssh::fuzzing::{Layer, drive};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    turncoat_ssh::fuzzing::packet_layer(data);
    drive(Layer::Connection, data);
});
