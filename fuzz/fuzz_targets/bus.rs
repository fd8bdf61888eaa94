#![no_main]
//! What programs say to init on its bus: the conversation that begins it, and the messages.
use libfuzzer_sys::fuzz_target;
use turncoat_kernel::init::bus::Talk;
use turncoat_kernel::init::wire;

fuzz_target!(|data: &[u8]| {
    if let wire::Read::Whole(m, n) = wire::read(data) {
        assert!(n <= data.len());
        // What was understood can be said again.
        assert!(matches!(wire::read(&wire::write(&m)), wire::Read::Whole(..)));
    }
    let (mut said, mut talk) = (Vec::new(), Talk::new(0));
    for piece in data.chunks(97) {
        if talk.hear(piece, "0123", &mut said).is_err() {
            break;
        }
    }
    assert!(said.len() <= data.len() * 8 + 64);
});
