//! Stored bytes as people see them. Every stored byte is hostile: nothing of it reaches a terminal or a page as more than text.

use std::borrow::Cow;
use std::fmt::Write;

use crate::{Event, Kind, Time};

/// True for characters that a terminal, or a reader's eye, would be moved by: controls, and those that change direction or are invisible.
fn moves(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Text on one line: whatever would move a terminal stands as an escape.
pub fn line(text: &str) -> Cow<'_, str> {
    if !text.contains(moves) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if moves(c) && u32::from(c) < 0x100 => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if moves(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Bytes on one line: what is not UTF-8 stands as `\xNN`.
pub fn bytes(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out.push_str(&line(chunk.valid()));
        for b in chunk.invalid() {
            let _ = write!(out, "\\x{b:02x}");
        }
    }
    out
}

/// At most so many characters, with a mark where more were.
pub fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(most.saturating_sub(1)).collect();
    out.push('\u{2026}');
    out
}

/// A time as people read it, in UTC to the second.
pub fn time(t: Time) -> String {
    let (y, mo, d, h, m, s, _) = t.civil();
    format!("{y:04}-{mo:02}-{d:02} {h:02}:{m:02}:{s:02}")
}

/// A number of bytes as people read it.
pub fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ];
    match UNITS.iter().find(|(_, n)| bytes >= *n) {
        Some((unit, n)) => format!("{:.1} {unit}", bytes as f64 / *n as f64),
        None => format!("{bytes} B"),
    }
}

/// What happened in an event, on one line: its fields as `key=value`.
pub fn fields(kind: &Kind) -> String {
    let mut out = String::new();
    kind.each_field(&mut |field| {
        if field.value.absent() {
            return;
        }
        let mut text = String::new();
        field.value.text(&mut text);
        let text = short(&line(&text), 200);
        let quoted = text.is_empty() || text.contains([' ', '"', '=']);
        let _ = match quoted {
            true => write!(
                out,
                "{}{}=\"{}\"",
                if out.is_empty() { "" } else { " " },
                field.name,
                text.replace('"', "\\\"")
            ),
            false => write!(
                out,
                "{}{}={text}",
                if out.is_empty() { "" } else { " " },
                field.name
            ),
        };
    });
    out
}

/// An event on one line.
pub fn event(event: &Event) -> String {
    let source = event.origin.src_ip.map(|a| a.to_string()).unwrap_or_default();
    let session = event.origin.session.map(|s| s.to_string());
    let session = session.as_deref().and_then(|s| s.get(28..)).unwrap_or("-");
    format!(
        "{} {:>6} {session:8} {source:15} {:18} {}",
        time(event.time),
        event.seq,
        event.kind.name(),
        fields(&event.kind)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_a_terminal_comes_through() {
        let hostile = b"\x1b]0;owned\x07\x1b[2J\x9b31m\xc2\x9b31m \xe2\x80\xaeevil \xff\x00\n\r\tok";
        let shown = bytes(hostile);
        assert!(!shown.contains(moves), "{shown}");
        assert_eq!(bytes(b"\x1b[0m\xffx\n"), "\\x1b[0m\\xffx\\n");
        assert_eq!(line("plain text \u{e4}"), "plain text \u{e4}");
        for c in (0..=0x10_ffffu32).filter_map(char::from_u32) {
            assert!(!line(&c.to_string()).contains(moves));
        }
    }
}
