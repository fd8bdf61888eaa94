//! The ELF loader (and `#!`): any bytes as a program, and a good header with any bytes behind it.
#![no_main]

mod small;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (how, rest) = data.split_first().unwrap_or((&0, &[]));
    let program = match how % 4 {
        0 => rest.to_vec(),
        1 => [b"#!", rest].concat(),
        2 => [&small::elf(&[])[..0x40], rest].concat(),
        // Fields of a good program are overwritten: offset, value.
        _ => {
            let mut it = small::elf(&[0xeb, 0xfe]);
            for change in rest.chunks_exact(9) {
                let at = change[0] as usize % 0x78;
                for (to, from) in it[at..].iter_mut().zip(&change[1..]) {
                    *to = *from;
                }
            }
            it
        }
    };
    small::run(program);
});
