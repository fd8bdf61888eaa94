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

/// Letters or digits of any script: what stands around a dot that makes a link.
fn word(c: Option<char>) -> bool {
    c.is_some_and(char::is_alphanumeric)
}

/// Makes links dead and leaves everything else as it is: `hxxp[:]//192.0.2.7/x`. For pages of ours, where nothing else becomes a link.
pub fn unlink(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        let part_of_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '-');
        let (text, scheme) = before.split_at(before.trim_end_matches(part_of_scheme).len());
        out.push_str(text);
        out.push_str(&disarm(scheme, "http"));
        out.push_str("[:]//");
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Makes text harmless where other programs look for links, addresses and names of hosts in it, or for people to call: `hxxp[:]//192[.]0[.]2[.]7`,
/// `(at)here`. Characters that would move a terminal or a reader's eye stand as escapes. The ids of techniques (`T1098.004`) are left
/// as they are.
pub fn defang(text: &str) -> String {
    let text = line(text);
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len() + 16);
    for (i, &c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).and_then(|n| chars.get(n).copied());
        let after = chars.get(i + 1).copied();
        match c {
            '.' | '\u{3002}' | '\u{ff0e}' | '\u{ff61}'
                if word(before) && word(after) && !technique(&chars, i) =>
            {
                out.push_str("[.]");
            }
            ':' if after == Some('/') && chars.get(i + 2) == Some(&'/') => out.push_str("[:]"),
            '@' | '\u{ff20}' => out.push_str("(at)"),
            _ => out.push(c),
        }
    }
    // Schemes that a client makes links of without slashes.
    for scheme in ["http", "ftp", "mailto:", "tel:", "javascript:", "data:"] {
        out = disarm(&out, scheme);
    }
    out
}

/// The dot at `at` is the one of a technique's id.
fn technique(chars: &[char], at: usize) -> bool {
    let digits = |range: std::ops::Range<usize>| {
        chars
            .get(range)
            .is_some_and(|d| !d.is_empty() && d.iter().all(char::is_ascii_digit))
    };
    let Some(start) = at.checked_sub(5) else {
        return false;
    };
    chars.get(start) == Some(&'T')
        && digits(start + 1..at)
        && digits(at + 1..at + 4)
        && !word(chars.get(at + 4).copied())
        && !word(start.checked_sub(1).and_then(|n| chars.get(n).copied()))
}

/// Writes a scheme so that nothing takes it for one: `hxxp`, `fxp`, `mailto[:]`.
fn disarm(text: &str, scheme: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = lower.get(at..).and_then(|rest| rest.find(scheme)) {
        let (start, end) = (at + found, at + found + scheme.len());
        out.push_str(text.get(at..start).unwrap_or_default());
        let original = text.get(start..end).unwrap_or_default();
        match scheme {
            "http" => out.push_str("hxxp"),
            "ftp" => out.push_str("fxp"),
            _ => out.push_str(&original.replace(':', "[:]")),
        }
        at = end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
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

    #[test]
    fn links_are_dead_and_nothing_else_is_changed() {
        assert_eq!(
            unlink("wget http://a.b/c; curl -s HTTPS://x ftp://y 1://2 ://"),
            "wget hxxp[:]//a.b/c; curl -s hxxpS[:]//x ftp[:]//y 1[:]//2 [:]//"
        );
        assert_eq!(unlink("a:/b //c http a@b.c"), "a:/b //c http a@b.c");
    }

    #[test]
    fn any_text_is_defanged_in_bounds() {
        assert_eq!(defang("T1098.004 at 192.0.2.7."), "T1098.004 at 192[.]0[.]2[.]7.");
        assert_eq!(defang("xT1098.004"), "xT1098[.]004");
        assert_eq!(defang("mail a@b.c"), "mail a(at)b[.]c");
        let parts = [
            "http", "://", ".", "@", "T1098", ".004", "\u{e9}", "\n", "x", "\u{3002}", "ftp", "İ", "K",
        ];
        let mut x = 7u64;
        for _ in 0..5_000 {
            let mut t = String::new();
            for _ in 0..12 {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                t.push_str(parts[(x >> 33) as usize % parts.len()]);
            }
            let d = defang(&t);
            assert!(d.len() <= t.len() * 6, "{t} {d}");
            assert!(!d.to_ascii_lowercase().contains("http"), "{t} {d}");
            assert!(!unlink(&t).contains("://"), "{t}");
        }
    }
}
