//! Whole sequences of system calls by a guest: the readers of guest memory (paths, iovecs, socket addresses, netlink, ioctls) get noise.
#![no_main]

mod small;

/// The data behind the code, where pointers point.
const NOISE: u64 = 0x40_0078;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Each call takes 13 bytes: its number, and six arguments of a kind and a value.
    let (noise, calls) = data.split_at(data.len().min(512));
    let mut code = vec![0xe9, 0, 2, 0, 0]; // over the noise
    code.extend(noise);
    code.resize(5 + 512, 0);
    for call in calls.chunks_exact(13).take(200) {
        let mut load = |register: &[u8], value: u64| {
            code.extend(register);
            code.extend(value.to_le_bytes());
        };
        load(&[0x48, 0xb8], u64::from(call[0]) + if call[1] & 0x80 == 0 { 0 } else { 200 });
        let registers: [[u8; 2]; 6] =
            [[0x48, 0xbf], [0x48, 0xbe], [0x48, 0xba], [0x49, 0xba], [0x49, 0xb8], [0x49, 0xb9]];
        for (register, argument) in registers.iter().zip(call[1..].chunks_exact(2)) {
            let n = u64::from(argument[1]);
            load(register, match argument[0] & 7 {
                0 => n % 12,
                1..=3 => NOISE + 5 + 2 * n,
                4 => n << 12,
                5 => 1 << (n % 64),
                6 => n.wrapping_neg(),
                _ => n,
            });
        }
        code.extend([0x0f, 0x05]);
    }
    code.extend([0xeb, 0xfe]);
    small::run(small::elf(&code));
});
