//! What two runs of one program on one machine do not share either.

/// Something to make equal before two outputs are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// Digits become `N`, a run of them one.
    Numbers,
    /// Hexadecimal numbers of eight digits and more become `X`.
    Hex,
    /// Blanks are left out.
    Blanks,
    /// The order of lines.
    Order,
    /// Names that end in random letters: `tmp.` and ten letters.
    Temporary,
}

impl Mask {
    pub fn named(name: &str) -> Mask {
        match name {
            "numbers" => Mask::Numbers,
            "hex" => Mask::Hex,
            "blanks" => Mask::Blanks,
            "order" => Mask::Order,
            "temporary" => Mask::Temporary,
            other => panic!("there is no mask {other:?}"),
        }
    }
}

fn runs(bytes: &[u8], of: impl Fn(u8) -> bool, least: usize, with: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let n = bytes[at..].iter().take_while(|b| of(**b)).count();
        if n >= least {
            out.extend(with);
            at += n;
        } else {
            out.extend(&bytes[at..at + n.max(1)]);
            at += n.max(1);
        }
    }
    out
}

/// The bytes with all masks applied.
pub fn apply(masks: &[Mask], bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for mask in masks {
        bytes = match mask {
            Mask::Numbers => runs(&bytes, |b| b.is_ascii_digit(), 1, b"N"),
            Mask::Hex => runs(&bytes, |b| b.is_ascii_hexdigit(), 8, b"X"),
            Mask::Blanks => runs(&bytes, |b| b == b' ' || b == b'\t', 1, b""),
            Mask::Order => {
                let mut lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
                lines.sort();
                lines.join(&b'\n')
            }
            Mask::Temporary => {
                let mut out = Vec::new();
                let mut rest = &bytes[..];
                while let Some(at) = rest.windows(4).position(|w| w == b"tmp.") {
                    let (head, tail) = rest.split_at(at + 4);
                    out.extend(head);
                    out.push(b'X');
                    let n = tail
                        .iter()
                        .take(10)
                        .take_while(|b| b.is_ascii_alphanumeric())
                        .count();
                    rest = &tail[n..];
                }
                out.extend(rest);
                out
            }
        };
    }
    bytes
}
