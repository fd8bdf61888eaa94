//! Lines without what differs from install to install: figures, names and versions of packages.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Digits count as one, however many.
pub fn mask(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if !c.is_ascii_digit() {
            out.push(c);
        } else if !out.ends_with('#') {
            out.push('#');
        }
    }
    // Dates with times, and addresses, are figures too.
    for whole in ["#-#-# #:#:#", "#-#-#  #:#:#", "#.#.#.#"] {
        if out.contains(whole) {
            out = out.replace(whole, "*");
        }
    }
    out
}

/// What dpkg and apt say, without the names and versions of packages.
pub fn without_packages(line: &str, names: &HashSet<String>) -> String {
    let token = |word: &str| {
        let plain = word.trim_matches(['(', ')', ',', '.', '/']);
        let numbered = plain.trim_start_matches(|c: char| c.is_ascii_digit());
        let name = numbered
            .trim_start_matches('-')
            .split([':', '_'])
            .next()
            .unwrap_or_default();
        let version = plain.starts_with(|c: char| c.is_ascii_digit()) && plain.contains(['.', '-', '+', '~']);
        match names.contains(name) || name.starts_with("linux-image-") || version {
            true => word.replace(plain, "*"),
            false => word.to_owned(),
        }
    };
    let mut out = line.split(' ').map(token).collect::<Vec<_>>().join(" ");
    for many in ["* (*, *), ", "* (*), ", "* (*, automatic), "] {
        let one = format!("{many}{many}");
        while out.contains(&one) {
            out = out.replace(&one, many);
        }
        out = out.replace(
            &format!("{many}{}", many.trim_end_matches(", ")),
            many.trim_end_matches(", "),
        );
    }
    out
}

/// [`mask`] of what need not be text. The search for digits is in a crate that tests have optimised, too: there is a gigabyte of it.
pub fn mask_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    static NUMBERS: LazyLock<regex::bytes::Regex> =
        LazyLock::new(|| regex::bytes::Regex::new("(?-u)[0-9]+").expect("a pattern"));
    out.clear();
    out.reserve(bytes.len());
    let mut rest = 0;
    for number in NUMBERS.find_iter(bytes) {
        out.extend_from_slice(&bytes[rest..number.start()]);
        out.push(b'#');
        rest = number.end();
    }
    out.extend_from_slice(&bytes[rest..]);
}
