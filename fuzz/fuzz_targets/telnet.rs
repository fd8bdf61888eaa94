//! Any bytes as a telnet stream: the same said however they are cut, and no more text than bytes.
#![no_main]

use turncoat_wire::telnet::{Reader, Said, Side, terminal, variables, window};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((cut, data)) = data.split_first() else {
        return;
    };
    for side in [Side::Client, Side::Server] {
        let whole = Reader::new(side).read(data);
        let mut reader = Reader::new(side);
        let mut pieces: Vec<Said> = Vec::new();
        for piece in data.chunks(usize::from(*cut).max(1)) {
            for said in reader.read(piece) {
                match (pieces.last_mut(), said) {
                    (Some(Said::Text(a)), Said::Text(b)) => a.extend(b),
                    (_, said) => pieces.push(said),
                }
            }
        }
        assert_eq!(whole, pieces);
        let mut bytes = 0;
        for said in &whole {
            match said {
                Said::Text(text) => bytes += text.len(),
                Said::Sub(_, sub) => {
                    bytes += sub.len();
                    let told = variables(sub);
                    assert!(
                        told.iter()
                            .map(|(n, v)| n.len() + v.as_ref().map_or(0, Vec::len))
                            .sum::<usize>()
                            <= sub.len()
                    );
                    let _ = (window(sub), terminal(sub));
                }
                Said::Option(..) | Said::Command(_) => {}
            }
        }
        assert!(bytes <= data.len());
    }
});
