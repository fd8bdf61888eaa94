//! The cases: text files, a script after each line of the form
//!
//! ```text
//! == NAME [mask=MASK,...] [terminal] [from=N] [differs="why"]
//! ```
//!
//! `terminal`: the script runs on a terminal of 24 lines and 80 columns; lines that begin with `> ` are not part of it but typed, one after the
//! other when the screen rests, and the screen is compared after each. Escapes: `\r`, `\e`, `\t`, `\^X`, `\\`.
//! `from`: the first screen that is compared; the one before the first key is 0.
//! `differs`: a known difference, a row of `docs/differences.md`; such a case fails when it no longer differs.

use crate::mask::Mask;

/// One case.
pub struct Case {
    /// `file/name`.
    pub name: String,
    pub script: String,
    pub masks: Vec<Mask>,
    pub terminal: bool,
    pub keys: Vec<Vec<u8>>,
    pub from: usize,
    pub differs: String,
}

/// What a case did on one side.
#[derive(Default)]
pub struct Seen {
    pub out: Vec<u8>,
    pub err: Vec<u8>,
    pub status: i32,
    /// Files that came, changed or went: a line each.
    pub files: Vec<u8>,
    pub screens: Vec<String>,
}

fn typed(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend(c.to_string().as_bytes());
            continue;
        }
        match chars.next() {
            Some('r') => out.push(b'\r'),
            Some('e') => out.push(27),
            Some('t') => out.push(b'\t'),
            Some('^') => match chars.next().expect("a letter after \\^") {
                '?' => out.push(127),
                c => out.push(c as u8 & 31),
            },
            Some('\\') => out.push(b'\\'),
            other => panic!("no escape {other:?} in {text:?}"),
        }
    }
    out
}

fn header(file: &str, line: &str) -> Case {
    let (line, differs) = match line.split_once(" differs=\"") {
        Some((line, why)) => (
            line,
            why.strip_suffix('"')
                .unwrap_or_else(|| panic!("{file}: {line}: no end quote")),
        ),
        None => (line, ""),
    };
    let mut words = line.split_whitespace();
    let name = words
        .next()
        .unwrap_or_else(|| panic!("{file}: a case without a name"));
    let mut case = Case {
        name: format!("{file}/{name}"),
        script: String::new(),
        masks: Vec::new(),
        terminal: false,
        keys: Vec::new(),
        from: 0,
        differs: differs.to_owned(),
    };
    for word in words {
        match word.split_once('=') {
            Some(("mask", masks)) => case.masks = masks.split(',').map(Mask::named).collect(),
            Some(("from", n)) => case.from = n.parse().expect("a number after from="),
            None if word == "terminal" => case.terminal = true,
            _ => panic!("{file}/{name}: what is {word:?}?"),
        }
    }
    case
}

/// All cases of all files.
pub fn read() -> Vec<Case> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/native/data");
    let mut files: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    let mut all: Vec<Case> = Vec::new();
    for path in files {
        let file = path.file_stem().unwrap().to_string_lossy().into_owned();
        let before = all.len();
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            if let Some(rest) = line.strip_prefix("== ") {
                all.push(header(&file, rest));
            } else if all.len() > before {
                let case = all.last_mut().unwrap();
                match line.strip_prefix("> ") {
                    Some(keys) if case.terminal => case.keys.push(typed(keys)),
                    _ => {
                        case.script.push_str(line);
                        case.script.push('\n');
                    }
                }
            }
        }
    }
    for case in &mut all {
        case.script.truncate(case.script.trim_end().len());
    }
    all
}
